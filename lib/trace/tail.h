/*
 * tail.h: follows a log: what is written into it, as it comes, in short looks between which nothing is held.
 *
 * Who is slow loses events rather than that it would come later and later: what is more than TRACE_TAIL_BEHIND events
 * behind the newest is passed over, and counted. So is what the relay has deleted meanwhile.
 */
#ifndef TRACE_TAIL_H
#define TRACE_TAIL_H

#include "trace/log.h"
#include "trace/select.h"

enum { TRACE_TAIL_BEHIND = 200000, TRACE_TAIL_LOOK = 4096 };

struct trace_tail {
    struct trace_log *log;
    const struct trace_select *select;
    uint64_t seen;   /* the last event that was given, or passed over */
    uint64_t lost;   /* events that were passed over, in all */
    uint64_t gap;    /* those that were since the look before */
    bool more;       /* there are events that the last look left for the next one */
    uint64_t behind; /* TRACE_TAIL_BEHIND, unless it is changed */
    bool patient;    /* never passes over what is there */
};

/* Follows LOG from AFTER on (an event's id; 0: all that is kept). LOG and SELECT stay the caller's. */
void trace_tail_open(struct trace_tail *tail, struct trace_log *log, const struct trace_select *select, uint64_t after);

/*
 * Gives EACH what is new, TRACE_TAIL_LOOK events at most, and tells in `gap` how many were lost just before them. A
 * return of EACH other than MP_OK ends the look and is returned; the next one begins behind that event.
 */
enum mp_error trace_tail_look(struct trace_tail *tail, struct moment now,
                              enum mp_error (*each)(void *context, const struct store_event *event), void *context,
                              struct fault *fault);

#endif
