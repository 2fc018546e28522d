#include "base/buckets.h"

#define MS 1000
#define S (1000 * INT64_C(1000))

const int64_t buckets_wait[BUCKETS] = {100,   300,   1 * MS, 3 * MS, 10 * MS, 30 * MS,  100 * MS, 300 * MS,
                                       1 * S, 3 * S, 10 * S, 30 * S, 100 * S, 1000 * S, 10000 * S};
const int64_t buckets_turn[BUCKETS] = {10,      30,      100,      200,      500,   1 * MS, 2 * MS, 5 * MS,
                                       10 * MS, 30 * MS, 100 * MS, 300 * MS, 1 * S, 3 * S,  10 * S};

void buckets_add(struct buckets *buckets, const int64_t bounds[BUCKETS], int64_t microseconds, uint64_t count)
{
    unsigned cell = 0;
    if (microseconds < 0)
        microseconds = 0;
    while (cell < BUCKETS && microseconds > bounds[cell])
        cell++;
    buckets->cells[cell] += count;
    buckets->sum += (uint64_t)microseconds * count;
}

uint64_t buckets_count(const struct buckets *buckets)
{
    uint64_t count = 0;
    for (unsigned i = 0; i <= BUCKETS; i++)
        count += buckets->cells[i];
    return count;
}
