/*
 * pace.h: so many events a second, evenly. Arithmetic of (state, now): no clock is read.
 */
#ifndef CLI_PACE_H
#define CLI_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
    double gap;  /* microseconds between two events; 0: no limit */
    double next; /* when the next one is due, monotonic microseconds */
};

enum { PACE_BURST = 50000 }; /* microseconds that may be caught up after a late call */

/* PER_SECOND 0: no limit. */
static inline struct pace pace_of(double per_second, int64_t now)
{
    return (struct pace){.gap = per_second > 0 ? 1e6 / per_second : 0, .next = (double)now};
}

/* Whether an event may happen at NOW; if not, *DUE is brought forward to when it may. */
static inline bool pace_ready(const struct pace *pace, int64_t now, int64_t *due)
{
    if (pace->gap <= 0 || pace->next <= (double)now)
        return true;
    int64_t when = (int64_t)pace->next + 1;
    if (when < *due)
        *due = when;
    return false;
}

/* An event happened at NOW. */
static inline void pace_take(struct pace *pace, int64_t now)
{
    double earliest = (double)(now - PACE_BURST);
    if (pace->gap > 0)
        pace->next = (pace->next > earliest ? pace->next : earliest) + pace->gap;
}

#endif
