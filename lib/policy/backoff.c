#include "policy/backoff.h"

static int64_t grown(enum backoff kind, int64_t initial, int64_t max, uint32_t attempt)
{
    int64_t delay = initial;
    switch (kind) {
    case BACKOFF_NONE:
        return initial;
    case BACKOFF_LINEAR:
        if (__builtin_mul_overflow(initial, (int64_t)attempt, &delay))
            delay = max;
        break;
    case BACKOFF_EXPONENTIAL:
        /* 2^62 µs are 146,000 years: the loop ends early for whatever INITIAL. */
        for (uint32_t i = 1; i < attempt && delay > 0 && delay < max; i++)
            if (__builtin_mul_overflow(delay, (int64_t)2, &delay))
                delay = max;
        break;
    }
    return delay < max ? delay : max;
}

int64_t backoff_delay(enum backoff kind, int64_t initial, int64_t max, double jitter, uint32_t attempt, uint64_t random)
{
    int64_t delay = grown(kind, initial, max, attempt > 0 ? attempt : 1);
    double share = (double)(random >> 11) / (double)(UINT64_C(1) << 53); /* 0 to 1, without 1 */
    double low = (double)delay * (1 - jitter), high = (double)delay * (1 + jitter);
    if (kind != BACKOFF_NONE && high > (double)max)
        high = (double)max;
    if (jitter <= 0 || high >= (double)INT64_MAX)
        return delay;
    return (int64_t)(low + (high - low) * share);
}
