#include "policy/breaker.h"

#include "base/clock.h"
#include "base/memory.h"

enum mp_error breaker_init(struct breaker *breaker, const struct breaker_settings *settings)
{
    *breaker = (struct breaker){.settings = *settings};
    if (settings->failures == 0 || settings->failures > BREAKER_FAILURES_MAX)
        return MP_ERR_INVALID;
    if (settings->interval > 0)
        breaker->times = memory_allocate_array(settings->failures, sizeof *breaker->times);
    return settings->interval > 0 && !breaker->times ? MP_ERR_MEMORY : MP_OK;
}

void breaker_free(struct breaker *breaker)
{
    memory_release(breaker->times);
    breaker->times = NULL;
}

enum breaker_state breaker_state(struct breaker *breaker, int64_t now)
{
    if (breaker->state == BREAKER_OPEN && now >= breaker->until) {
        breaker->state = BREAKER_TRYING;
        breaker->tries = false;
    }
    return breaker->state;
}

bool breaker_lets(struct breaker *breaker, int64_t now, bool *try)
{
    enum breaker_state state = breaker_state(breaker, now);
    *try = state == BREAKER_TRYING && !breaker->tries;
    if (*try)
        breaker->tries = true;
    return *try || state == BREAKER_CLOSED;
}

void breaker_not_tried(struct breaker *breaker)
{
    breaker->tries = false;
}

static void open_at(struct breaker *breaker, int64_t now)
{
    int64_t open = breaker->settings.open;
    breaker->state = BREAKER_OPEN;
    breaker->until = open > INT64_MAX - 1 - now ? INT64_MAX - 1 : now + open;
    breaker->count = 0;
    breaker->tries = false;
}

/* Counts a failure at NOW; true when that is one too many. */
static bool is_too_many(struct breaker *breaker, int64_t now)
{
    unsigned most = breaker->settings.failures;
    if (breaker->count < most)
        breaker->count++;
    if (!breaker->times)
        return breaker->count == most;
    breaker->times[breaker->next] = now;
    breaker->next = (breaker->next + 1) % most;
    /* The next place has the time of the failure that came `most` - 1 before this one. */
    return breaker->count == most && now - breaker->times[breaker->next] <= breaker->settings.interval;
}

void breaker_ended(struct breaker *breaker, int64_t now, bool succeeded, bool tried)
{
    if (breaker->state != BREAKER_CLOSED && !tried)
        return;
    if (breaker->state == BREAKER_CLOSED) {
        if (succeeded && !breaker->times)
            breaker->count = 0;
        else if (!succeeded && is_too_many(breaker, now))
            open_at(breaker, now);
    } else if (succeeded) {
        breaker->state = BREAKER_CLOSED;
        breaker->count = 0;
    } else {
        open_at(breaker, now);
    }
}

int64_t breaker_due(const struct breaker *breaker)
{
    return breaker->state == BREAKER_OPEN ? breaker->until : CLOCK_NEVER;
}
