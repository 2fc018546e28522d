/*
 * kin.h: what belongs to messages: what is in their trace, what names them as its cause, what was settled together with
 * what it became.
 *
 * A stage publishes its outputs in the request that settles its inputs. Most outputs name their cause; what an aggregate
 * or a batch makes has many, names none and begins a trace: then the request alone tells what it was made of, or, where
 * a request settled several of them, what it was made of at most.
 */
#ifndef TRACE_KIN_H
#define TRACE_KIN_H

#include "trace/history.h"

enum { TRACE_KIN_MOST = 64 }; /* of one request */

/* Adds to MATCHES, until there are MOST, what is in the traces of those, or names them as its cause or its request. */
enum mp_error trace_kin_search(struct trace_log *log, struct trace_matches *matches, size_t most, struct fault *fault);

/* Whether MATCH is of the kind that names no cause: its sender began its trace with it. */
bool trace_kin_is_nameless(const struct trace_match *match);

/* Whether MATCH was published in a request that settled the message of HISTORY. */
bool trace_kin_is_settled_with(const struct trace_match *match, const struct trace_history *history);

/* Adds the nameless publications of the request that ATTEMPT was acknowledged by. */
enum mp_error trace_kin_add_outputs(struct trace_log *log, const struct trace_attempt *attempt,
                                    struct trace_matches *matches, struct fault *fault);

/* Adds what the request that published MATCH may have acknowledged: their histories tell. */
enum mp_error trace_kin_add_inputs(struct trace_log *log, const struct trace_match *match,
                                   struct trace_matches *matches, struct fault *fault);

#endif
