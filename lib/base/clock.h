/*
 * clock.h: the clocks of the machine. Nothing below the queue's door reads them: time is an argument there.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* What the clocks say at one moment. Deadlines are kept in `monotonic`, what is shown is `wall`. */
struct moment {
    int64_t monotonic; /* microseconds since some start, those of a machine that sleeps too; never steps */
    int64_t wall;      /* microseconds since 1970-01-01T00:00:00Z; may step */
    /*
     * What `monotonic` counts from: two moments with the same number, not 0, count from the same start, also when they
     * were taken by different processes. 0: not known.
     */
    uint64_t boot;
};

struct moment clock_moment(void);
int64_t clock_monotonic(void); /* microseconds */
int64_t clock_wall(void);      /* microseconds since the epoch */
uint64_t clock_boot(void);     /* as in struct moment; read once a process */

/* Words for a "never" among deadlines. */
#define CLOCK_NEVER INT64_MAX

#endif
