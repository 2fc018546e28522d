/*
 * histogram.h: how often values of which size came, and what most of them stay below. Eight steps to each power of two:
 * what histogram_quantile() says is within an eighth of the truth. Zeroed it is empty; it owns nothing.
 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS = 8, HISTOGRAM_CELLS = 40 * HISTOGRAM_STEPS }; /* up to 2^42 */

struct histogram {
    uint32_t cells[HISTOGRAM_CELLS];
    uint64_t count;
};

/* Adds COUNT values VALUE; what is negative counts as 0, what is too large as the largest. */
void histogram_add(struct histogram *histogram, int64_t value, uint32_t count);

/* A value that SHARE (0 to 1) of those added do not exceed; 0 when there are none. */
int64_t histogram_quantile(const struct histogram *histogram, double share);

/* Halves what was counted, so that what comes now weighs more than what came once. */
void histogram_fade(struct histogram *histogram);

#endif
