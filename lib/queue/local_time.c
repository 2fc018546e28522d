#include "queue/local.h"

/*
 * The numbers in the store: the boot and the offset of the relay that wrote last, and relay time as of the last
 * snapshot, for what it knew of times may be gone from the other tables.
 */
static const char boot_name[] = "time_boot", offset_name[] = "time_offset", snapshot_name[] = "time_snapshot";

struct relay_time relay_time_begin(const struct moment *now, const struct relay_time *stored, int64_t newest)
{
    struct relay_time clock = {.boot = now->boot, .offset = now->wall - now->monotonic};
    if (stored && now->boot != 0 && stored->boot == now->boot)
        clock.offset = stored->offset;
    /* In another boot the wall clock may be one that is not set yet; in the same one this only bounds a fault. */
    if (now->monotonic + clock.offset < newest)
        clock.offset = newest - now->monotonic;
    return clock;
}

static void later(int64_t *newest, int64_t time)
{
    if (time > *newest)
        *newest = time;
}

static enum mp_error later_event(void *context, const struct store_event *event)
{
    later(context, event->time);
    return MP_OK;
}

/* The newest time that the store knows: each kind of row is written in the order of time. */
static enum mp_error newest_time(const struct local *local, int64_t *newest, struct fault *fault)
{
    uint64_t event = 0;
    int64_t snapshot = 0;
    *newest = 0;
    enum mp_error error = store_get_number(local->store, snapshot_name, &snapshot, fault);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    later(newest, snapshot);
    if ((error = store_last_event(local->store, &event, fault)) ||
        (event > 0 && (error = store_each_event(local->store, event - 1, later_event, newest, fault))))
        return error;
    size_t at = 0;
    const struct topic *topic;
    while ((topic = map_next(&local->topics, &at))) {
        later(newest, topic->created);
        later(newest, topic->last_time);
    }
    return MP_OK;
}

enum mp_error local_time_load(struct local *local, struct fault *fault)
{
    if (local->clock_known) /* a turn was undone: time goes on */
        return MP_OK;
    struct relay_time stored = {0};
    int64_t boot = 0, newest;
    enum mp_error error = store_get_number(local->store, boot_name, &boot, fault);
    bool known = !error;
    if (!error)
        error = store_get_number(local->store, offset_name, &stored.offset, fault);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    known = known && !error;
    stored.boot = (uint64_t)boot;
    if ((error = newest_time(local, &newest, fault)))
        return error;
    local->clock = relay_time_begin(&local->now, known ? &stored : NULL, newest);
    local->clock_known = true;
    local->clock_saved = known && stored.boot == local->clock.boot && stored.offset == local->clock.offset;
    local->time = local->now.monotonic + local->clock.offset;
    return MP_OK;
}

enum mp_error local_time_save(struct local *local, struct fault *fault)
{
    enum mp_error error = store_put_number(local->store, boot_name, (int64_t)local->clock.boot, fault);
    if (!error)
        error = store_put_number(local->store, offset_name, local->clock.offset, fault);
    if (!error)
        error = store_put_number(local->store, snapshot_name, local->time, fault);
    return error;
}

int64_t local_time(const struct engine *engine)
{
    return ((const struct local *)engine)->time;
}

int64_t local_time_to_wall(const struct local *local, int64_t time)
{
    return time == 0 ? 0 : time - local->time + local->now.wall;
}

int64_t local_time_of_wall(const struct local *local, int64_t wall)
{
    int64_t time;
    if (wall == 0 ||
        __builtin_add_overflow(wall, local->time - local->now.wall, &time)) /* any number may be asked for */
        return wall;
    return time;
}

int64_t local_time_to_monotonic(const struct local *local, int64_t time)
{
    return time - local->clock.offset;
}

struct moment local_moment(const struct local *local)
{
    return (struct moment){.monotonic = local->now.monotonic, .wall = local->time, .boot = local->now.boot};
}
