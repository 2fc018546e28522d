/*
 * trace_list.h: the words that `mtrace list` takes.
 */
#ifndef CLI_TRACE_LIST_H
#define CLI_TRACE_LIST_H

#include "cli/trace.h"
#include "trace/list.h"

extern const char *const trace_states[]; /* in the order of enum state */
extern const char *const trace_sorts[];  /* in the order of enum trace_sort */

#endif
