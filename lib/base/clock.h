/*
 * clock.h: the two clocks. Nothing below the queue's door reads them: time is an argument there.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Both times at one moment. Deadlines are kept in `monotonic`, what is stored and shown is `wall`. */
struct moment {
    int64_t monotonic; /* microseconds since some start; never steps */
    int64_t wall;      /* microseconds since 1970-01-01T00:00:00Z; may step */
};

struct moment clock_moment(void);
int64_t clock_monotonic(void); /* microseconds */
int64_t clock_wall(void);      /* microseconds since the epoch */

/* Words for a "never" among deadlines. */
#define CLOCK_NEVER INT64_MAX

#endif
