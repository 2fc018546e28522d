/* When a source of `every` or `cron` sends. */
#include "runner/source_tick.h"

#include "base/clock.h"

static const int64_t late_most = 60000000;             /* of cron: a minute */
static const int64_t back_most = INT64_C(10800000000); /* three hours */
static const int64_t look_often = 30000000;

enum { COUNT_MOST = 100000 }; /* ticks that are counted one by one */

void source_tick_begin(struct source_tick *tick, int64_t last, int64_t now, int64_t wall)
{
    tick->seen = wall;
    if (!tick->every) {
        tick->due = tick->next(tick->cron, wall);
        return;
    }
    int64_t passed = wall - last; /* less than nothing, if the clock was set back */
    bool waits = last > 0 && passed < tick->every;
    tick->due = !waits ? now : passed < 0 ? now + tick->every : now + tick->every - passed;
}

static bool look_every(struct source_tick *tick, int64_t now, int64_t wall, int64_t *at, uint64_t *missed)
{
    if (now < tick->due)
        return false;
    int64_t over = (now - tick->due) / tick->every;
    tick->due += (over + 1) * tick->every;
    *missed = (uint64_t)over;
    *at = wall;
    return true;
}

static bool look_cron(struct source_tick *tick, int64_t wall, int64_t *at, uint64_t *missed)
{
    if (wall < tick->seen - back_most) {
        tick->seen = wall;
        tick->due = tick->next(tick->cron, wall);
    }
    tick->seen = wall > tick->seen ? wall : tick->seen;
    if (wall < tick->due)
        return false;
    /* The last of those that have come, and how many came before it. */
    int64_t latest = tick->due;
    for (int count = 0; count < COUNT_MOST; count++) {
        int64_t next = tick->next(tick->cron, latest);
        if (next > wall)
            break;
        latest = next;
        (*missed)++;
    }
    tick->due = tick->next(tick->cron, wall);
    *at = latest;
    if (wall - latest <= late_most)
        return true;
    (*missed)++;
    return false;
}

bool source_tick_look(struct source_tick *tick, int64_t now, int64_t wall, int64_t *at, uint64_t *missed)
{
    *missed = 0;
    *at = wall;
    return tick->every ? look_every(tick, now, wall, at, missed) : look_cron(tick, wall, at, missed);
}

int64_t source_tick_due(const struct source_tick *tick, int64_t now, int64_t wall)
{
    if (tick->every)
        return tick->due;
    int64_t rest = tick->due - wall;
    if (tick->due == CLOCK_NEVER || rest > look_often)
        rest = look_often;
    return now + (rest > 0 ? rest : 0);
}
