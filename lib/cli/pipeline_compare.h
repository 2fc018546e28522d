/*
 * pipeline_compare.h: what came out of a pipeline's test beside what was expected.
 */
#ifndef CLI_PIPELINE_COMPARE_H
#define CLI_PIPELINE_COMPARE_H

#include "runner/trial.h"

/*
 * Compares TEST's expectations with what came out. OUT gets a difference for each topic where it is not the same, lines
 * that begin with PREFIX:
 *
 *     topic orders.priced: 2 messages came, 2 were expected
 *       {"type":"order.new","data":{"id":1}}
 *     - {"data":{"id":2,"total":20}}
 *     + {"data":{"id":2,"total":21}}
 *
 * In each topic that the trial has read exactly what is expected has to be, in this order (`unordered`: in any): a body
 * that is the same, as a JSON value where it was given as one, and the attributes that are named. *SAME: it was.
 * MP_ERR_MEMORY.
 */
enum mp_error pipeline_compare(const struct pipeline_test *test, const struct trial_topic *topics, size_t count,
                               const char *prefix, struct buffer *out, bool *same);

#endif
