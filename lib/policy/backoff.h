/*
 * backoff.h: how long to wait before something that failed is tried again.
 *
 * Pure: the chance is an argument too, so that a test, or a simulation from a seed, gets the same delay each time.
 */
#ifndef POLICY_BACKOFF_H
#define POLICY_BACKOFF_H

#include <stdint.h>

/* Numbers are not on disk: settings are kept as words. */
enum backoff {
    BACKOFF_EXPONENTIAL = 0, /* twice as long each time: initial, 2 × initial, 4 × initial, … */
    BACKOFF_LINEAR = 1,      /* longer by the initial interval each time */
    BACKOFF_NONE = 2         /* the initial interval each time */
};

/*
 * Microseconds to wait after the ATTEMPT-th attempt (from 1) failed. INITIAL and MAX are microseconds, not negative. The
 * delay grows up to MAX (which does not hold for BACKOFF_NONE) and then differs by up to the share JITTER (0 to 1) of
 * itself, so that what failed together does not come back together; MAX still holds: there the delay only gets
 * shorter. RANDOM: 64 random bits.
 */
int64_t backoff_delay(enum backoff kind, int64_t initial, int64_t max, double jitter, uint32_t attempt,
                      uint64_t random);

#endif
