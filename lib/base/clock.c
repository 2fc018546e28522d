#include "base/clock.h"

#include <time.h>

static int64_t microseconds_of(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now); /* cannot fail with these two clocks */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic(void)
{
    return microseconds_of(CLOCK_MONOTONIC);
}

int64_t clock_wall(void)
{
    return microseconds_of(CLOCK_REALTIME);
}

struct moment clock_moment(void)
{
    return (struct moment){.monotonic = clock_monotonic(), .wall = clock_wall()};
}
