/*
 * rate.h: a rate limit: so many events a second on the long run, arithmetic of (state, now). No clock is read.
 *
 * A leaky bucket: what passes fills it, time empties it. It holds a tenth of a second's events (one at least), so that
 * after a pause no more than these pass at once. Events that cannot be divided, a frame of many messages, pass when
 * there is room for one; the bucket is then over full, and what comes next waits until that has been made up for.
 *
 * A zeroed struct rate is an empty bucket. The rate may be another at each call. Times are microseconds of one clock
 * that does not fall; one that does is taken to stand still.
 */
#ifndef POLICY_RATE_H
#define POLICY_RATE_H

#include <stdint.h>

struct rate {
    double used;  /* events in the bucket at `time`; more than it holds: made up for before anything passes */
    int64_t time; /* when that was */
};

/* How many events of PER_SECOND (0 or less: no limit) may pass at NOW: 0 none, UINT64_MAX without a limit. */
uint64_t rate_left(const struct rate *rate, double per_second, int64_t now);

/* COUNT events passed at NOW, whether there was room or not. */
void rate_take(struct rate *rate, double per_second, uint64_t count, int64_t now);

/*
 * When it is worth to ask again: at NOW when half of what the bucket holds may pass, else when that is so (a fortieth
 * of a second's events and more at a time, not one by one). NOW also without a limit.
 */
int64_t rate_due(const struct rate *rate, double per_second, int64_t now);

#endif
