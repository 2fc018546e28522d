#include "policy/window.h"

#include "base/clock.h"

bool window_fits(const struct window_policy *policy, const struct window *window, uint64_t size)
{
    uint64_t sum;
    if (window->count == 0 || policy->size == 0)
        return true;
    return !__builtin_add_overflow(window->size, size, &sum) && sum <= policy->size;
}

void window_add(struct window *window, uint64_t size, int64_t now)
{
    if (window->count == 0)
        window->begun = now;
    window->count++;
    window->size += size;
}

void window_take(struct window *window, uint64_t size)
{
    window->count--;
    window->size -= size;
}

bool window_full(const struct window_policy *policy, const struct window *window)
{
    return (policy->count > 0 && window->count >= policy->count) || (policy->size > 0 && window->size >= policy->size);
}

int64_t window_due(const struct window_policy *policy, const struct window *window)
{
    int64_t due;
    if (policy->duration <= 0 || window->count == 0 || __builtin_add_overflow(window->begun, policy->duration, &due))
        return CLOCK_NEVER;
    return due;
}
