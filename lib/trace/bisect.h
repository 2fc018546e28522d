/*
 * bisect.h: finds publications by halving the log: those of a topic stand in it in the order of their offsets, those of a
 * session in the order in which it counts its messages. What comes between costs as long a walk as there is of it.
 */
#ifndef TRACE_BISECT_H
#define TRACE_BISECT_H

#include "trace/log.h"

/* Whether what is looked for is in EVENT or before it, 1, or behind it, 0; -1: EVENT tells nothing of that. */
typedef int trace_reached(const void *context, const struct store_event *event);

/*
 * *ID: the first of the events that FILTER means, of which REACHED says 1. It says 0 of all before that. Errors:
 * MP_ERR_NOT_FOUND, there is none; those of store_select_events().
 */
enum mp_error trace_bisect(struct trace_log *log, const struct store_event_filter *filter, trace_reached *reached,
                           const void *context, uint64_t *id, struct fault *fault);

#endif
