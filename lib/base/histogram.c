#include "base/histogram.h"

/* The cell of VALUE: those below 8 have one each; then eight to a power of two. */
static unsigned cell_of(uint64_t value)
{
    if (value < HISTOGRAM_STEPS) {
        return (unsigned)value;
    }
    unsigned power = 63 - (unsigned)__builtin_clzll(value); /* 3 at least */
    unsigned cell = (power - 2) * HISTOGRAM_STEPS + (unsigned)(value >> (power - 3) & (HISTOGRAM_STEPS - 1));
    return cell < HISTOGRAM_CELLS ? cell : HISTOGRAM_CELLS - 1;
}

/* The largest value of CELL. */
static int64_t end_of(unsigned cell)
{
    if (cell < HISTOGRAM_STEPS) {
        return cell;
    }
    unsigned power = cell / HISTOGRAM_STEPS + 2;
    uint64_t step = (uint64_t)1 << (power - 3);
    return (int64_t)((HISTOGRAM_STEPS + cell % HISTOGRAM_STEPS + 1) * step - 1);
}

void histogram_add(struct histogram *histogram, int64_t value, uint32_t count)
{
    uint32_t *cell = &histogram->cells[cell_of(value > 0 ? (uint64_t)value : 0)];
    while (*cell > UINT32_MAX - count) {
        histogram_fade(histogram);
    }
    *cell += count;
    histogram->count += count;
}

int64_t histogram_quantile(const struct histogram *histogram, double share)
{
    uint64_t passed = 0;
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
        passed += histogram->cells[i];
        if (passed > 0 && (double)passed >= share * (double)histogram->count) {
            return end_of(i);
        }
    }
    return 0;
}

void histogram_fade(struct histogram *histogram)
{
    histogram->count = 0;
    for (unsigned i = 0; i < HISTOGRAM_CELLS; i++) {
        histogram->cells[i] /= 2;
        histogram->count += histogram->cells[i];
    }
}
