#include "policy/rate.h"

static const double burst_seconds = 0.1;
static const double longest = 36525.0 * 86400 * 1e6; /* microseconds: a hundred years */
/* What rounding may have taken from a whole event. */
static const double grain = 1e-9;

static double capacity(double per_second)
{
    double events = per_second * burst_seconds;
    return events > 1 ? events : 1;
}

static double used_at(const struct rate *rate, double per_second, int64_t now)
{
    double passed = now > rate->time ? (double)now - (double)rate->time : 0;
    double used = rate->used - passed * per_second / 1e6;
    return used > 0 ? used : 0;
}

uint64_t rate_left(const struct rate *rate, double per_second, int64_t now)
{
    if (!(per_second > 0))
        return UINT64_MAX;
    double left = capacity(per_second) - used_at(rate, per_second, now) + grain;
    return left < 1 ? 0 : left < 1e18 ? (uint64_t)left : UINT64_MAX;
}

void rate_take(struct rate *rate, double per_second, uint64_t count, int64_t now)
{
    if (!(per_second > 0)) {
        *rate = (struct rate){.time = now};
        return;
    }
    rate->used = used_at(rate, per_second, now) + (double)count;
    if (now > rate->time)
        rate->time = now;
}

int64_t rate_due(const struct rate *rate, double per_second, int64_t now)
{
    if (!(per_second > 0))
        return now;
    double wanted = capacity(per_second) / 2;
    if (wanted < 1)
        wanted = 1;
    double excess = used_at(rate, per_second, now) - (capacity(per_second) - wanted);
    if (excess <= grain)
        return now;
    double wait = excess / per_second * 1e6 + 1; /* rounded up */
    /* A clock that fell stands still until it is where it was. */
    int64_t from = now > rate->time ? now : rate->time;
    return from + (int64_t)(wait < longest ? wait : longest);
}
