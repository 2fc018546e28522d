/*
 * buckets.h: how often times of which length came, by bounds that are fixed, as Prometheus wants them: nothing fades, and
 * the sum is exact. (histogram.h is finer, and for what was lately.) Zeroed it is empty; it owns nothing.
 */
#ifndef BASE_BUCKETS_H
#define BASE_BUCKETS_H

#include <stdint.h>

enum { BUCKETS = 15 };

struct buckets {
    uint64_t cells[BUCKETS + 1]; /* cell i: those that are in bound i and in none before; the last: those beyond all */
    uint64_t sum;                /* microseconds */
};

/* Microseconds, ascending: a time that equals a bound is in it. */
extern const int64_t buckets_wait[BUCKETS]; /* how long messages wait, and are worked on: 100 us to 10,000 s */
extern const int64_t buckets_turn[BUCKETS]; /* what a program does at once: 10 us to 10 s */

/* Adds COUNT times of MICROSECONDS (what is negative counts as 0). */
void buckets_add(struct buckets *buckets, const int64_t bounds[BUCKETS], int64_t microseconds, uint64_t count);

/* How many times were added. */
uint64_t buckets_count(const struct buckets *buckets);

#endif
