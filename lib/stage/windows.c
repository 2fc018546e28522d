#include "stage/windows.h"

#include "base/clock.h"
#include "base/memory.h"

/* What a message takes beside its bytes, about. */
enum { MESSAGE_WEIGHT = 128 };

/* ---- lists ---------------------------------------------------------------------------------- */

static void link_age(struct held_window **first, struct held_window **last, struct held_window *window)
{
    window->older = *last;
    window->younger = NULL;
    *(*last != NULL ? &(*last)->younger : first) = window;
    *last = window;
}

static void unlink_age(struct held_window **first, struct held_window **last, struct held_window *window)
{
    *(window->older != NULL ? &window->older->younger : first) = window->younger;
    *(window->younger != NULL ? &window->younger->older : last) = window->older;
}

static unsigned weight_of(const struct held_window *window)
{
    const uint64_t weight = window->window.count * MESSAGE_WEIGHT + window->window.size;
    return weight > 0 ? 63 - (unsigned)__builtin_clzll(weight) : 0;
}

static void link_weight(struct windows *windows, struct held_window *window)
{
    struct held_window **first = &windows->by_weight[window->weight];
    window->left = NULL;
    window->right = *first;
    if (*first != NULL)
        (*first)->left = window;
    *first = window;
    windows->weights |= UINT64_C(1) << window->weight;
}

static void unlink_weight(struct windows *windows, struct held_window *window)
{
    struct held_window **first = &windows->by_weight[window->weight];
    *(window->left != NULL ? &window->left->right : first) = window->right;
    if (window->right != NULL)
        window->right->left = window->left;
    if (*first == NULL)
        windows->weights &= ~(UINT64_C(1) << window->weight);
}

static void weigh(struct windows *windows, struct held_window *window)
{
    const unsigned weight = weight_of(window);
    if (weight == window->weight)
        return;
    unlink_weight(windows, window);
    window->weight = weight;
    link_weight(windows, window);
}

/* ---- windows -------------------------------------------------------------------------------- */

static void window_free(struct held_window *window)
{
    buffer_free(&window->bytes);
    memory_release(window);
}

void windows_free(struct windows *windows)
{
    windows_expire(windows, 0, true);
    while (windows->over != NULL)
        windows_drop(windows, windows->over);
    while (windows->spare != NULL) {
        struct held *held = windows->spare;
        windows->spare = held->behind;
        memory_release(held);
    }
    map_free(&windows->keys);
    map_free(&windows->tickets);
}

struct held_window *windows_open(struct windows *windows, const void *key, size_t size)
{
    struct held_window *window = map_get(&windows->keys, key, size);
    if (window != NULL || size > SIZE_MAX / 2)
        return window;
    window = memory_allocate(sizeof(*window) + size);
    if (window == NULL)
        return NULL;
    window->key_size = size;
    if (size > 0)
        memcpy(window->key, key, size);
    if (map_put(&windows->keys, window->key, size, window) != MP_OK) {
        memory_release(window);
        return NULL;
    }
    link_age(&windows->oldest, &windows->youngest, window);
    link_weight(windows, window);
    return window;
}

/* It is not among the open ones any more. */
static void close_window(struct windows *windows, struct held_window *window)
{
    map_remove(&windows->keys, window->key, window->key_size);
    unlink_age(&windows->oldest, &windows->youngest, window);
    unlink_weight(windows, window);
    windows->messages -= window->window.count;
    windows->bytes -= window->window.size;
}

void windows_end(struct windows *windows, struct held_window *window)
{
    close_window(windows, window);
    if (window->window.count == 0) {
        window_free(window);
        return;
    }
    window->over = true;
    link_age(&windows->over, &windows->last_over, window);
}

/* The heaviest one is over, and counted as early. */
static void relieve(struct windows *windows)
{
    const unsigned weight = 63 - (unsigned)__builtin_clzll(windows->weights);
    windows->early++;
    windows_end(windows, windows->by_weight[weight]);
}

void windows_expire(struct windows *windows, int64_t now, bool all)
{
    while (windows->oldest != NULL && (all || window_due(&windows->policy, &windows->oldest->window) <= now))
        windows_end(windows, windows->oldest);
}

int64_t windows_due(const struct windows *windows)
{
    if (windows->over != NULL)
        return INT64_MIN;
    return windows->oldest != NULL ? window_due(&windows->policy, &windows->oldest->window) : CLOCK_NEVER;
}

/* ---- messages ------------------------------------------------------------------------------- */

static struct held *take_held(struct windows *windows)
{
    struct held *held = windows->spare;
    if (held == NULL)
        return memory_allocate(sizeof(*held));
    windows->spare = held->behind;
    return held;
}

static void spare_held(struct windows *windows, struct held *held)
{
    held->behind = windows->spare;
    windows->spare = held;
}

static void keep_bounds(struct windows *windows)
{
    while (windows->messages >= windows->messages_max || windows->bytes > windows->bytes_max)
        relieve(windows);
}

enum mp_error windows_add(struct windows *windows, struct held_window *window, uint64_t ticket, size_t size,
                          int64_t now, int64_t wall)
{
    struct held *held = take_held(windows);
    if (held != NULL)
        *held = (struct held){.ticket = ticket,
                              .window = window,
                              .before = window->last,
                              .begin = window->bytes.size - size,
                              .size = size};
    if (held == NULL || map_put(&windows->tickets, &held->ticket, sizeof(held->ticket), held) != MP_OK) {
        window->bytes.size -= size;
        if (held != NULL)
            spare_held(windows, held);
        if (window->window.count == 0)
            windows_end(windows, window);
        return MP_ERR_MEMORY;
    }
    *(window->last != NULL ? &window->last->behind : &window->first) = held;
    window->last = held;
    if (window->window.count == 0)
        window->wall = wall;
    window_add(&window->window, size, now);
    windows->messages++;
    windows->bytes += size;
    weigh(windows, window);
    if (window_full(&windows->policy, &window->window))
        windows_end(windows, window);
    keep_bounds(windows);
    return MP_OK;
}

void windows_forget(struct windows *windows, uint64_t ticket)
{
    struct held *held = map_remove(&windows->tickets, &ticket, sizeof(ticket));
    if (held == NULL)
        return;
    struct held_window *window = held->window;
    *(held->before != NULL ? &held->before->behind : &window->first) = held->behind;
    *(held->behind != NULL ? &held->behind->before : &window->last) = held->before;
    window_take(&window->window, held->size);
    window->ragged = true;
    if (!window->over) {
        windows->messages--;
        windows->bytes -= held->size;
        weigh(windows, window);
    }
    spare_held(windows, held);
    if (window->window.count > 0)
        return;
    if (window->over)
        windows_drop(windows, window);
    else
        windows_end(windows, window);
}

void windows_mend(struct held_window *window)
{
    size_t size = 0;
    if (!window->ragged)
        return;
    for (struct held *held = window->first; held != NULL; held = held->behind) {
        memmove(window->bytes.data + size, window->bytes.data + held->begin, held->size);
        held->begin = size;
        size += held->size;
    }
    window->bytes.size = size;
    window->ragged = false;
}

void windows_drop(struct windows *windows, struct held_window *window)
{
    unlink_age(&windows->over, &windows->last_over, window);
    while (window->first != NULL) {
        struct held *held = window->first;
        window->first = held->behind;
        map_remove(&windows->tickets, &held->ticket, sizeof(held->ticket));
        spare_held(windows, held);
    }
    window_free(window);
}
