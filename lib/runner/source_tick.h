/*
 * source_tick.h: when a source of `every` or `cron` sends: arithmetic of (state, now). No clock is read.
 *
 * every   The first tick comes at once, then one each interval by the monotonic clock, whatever is done to the other
 *         one. After a restart the interval since the last tick is waited for first. Of ticks that are missed (the machine
 *         slept, or the topic was full) one is made up for, at once; the others are counted.
 * cron    By the wall clock, as policy/cron.h says. A tick that is late by more than a minute is missed, and counted, and
 *         so are those while the runner did not run. A clock that is set back by less than three hours brings no tick
 *         again; one that is set back further is a clock that was wrong before.
 */
#ifndef RUNNER_SOURCE_TICK_H
#define RUNNER_SOURCE_TICK_H

#include <stdbool.h>
#include <stdint.h>

struct source_tick {
    int64_t every;                                   /* microseconds; 0: by cron */
    int64_t (*next)(const void *cron, int64_t wall); /* the first time after WALL; CLOCK_NEVER */
    const void *cron;
    int64_t due;  /* every: monotonic; cron: wall */
    int64_t seen; /* cron: the latest wall clock */
};

/*
 * Begins: `every`, or `next` and `cron`, are set. LAST: when the last tick was, by the wall clock, before a restart; 0:
 * never. Times are microseconds.
 */
void source_tick_begin(struct source_tick *tick, int64_t last, int64_t now, int64_t wall);

/* Whether it is time: *AT is the wall clock for which it is. *MISSED: so many before it were missed. */
bool source_tick_look(struct source_tick *tick, int64_t now, int64_t wall, int64_t *at, uint64_t *missed);

/* When to look again, by the monotonic clock: half a minute at most by cron, for the wall clock may step. */
int64_t source_tick_due(const struct source_tick *tick, int64_t now, int64_t wall);

#endif
