/*
 * local_meter.c: what is counted while the engine works, and its figures.
 */
#include "queue/local.h"

#include <assert.h>
#include <stdlib.h>

/* ---- counting ------------------------------------------------------------------------------------------------- */

static enum meter_count what_of(const struct store_event *event)
{
    switch (event->kind) {
    case EVENT_LEASED:
        return METER_LEASED;
    case EVENT_ACKED:
        return METER_ACKED;
    case EVENT_RETRIED:
        return METER_RETRIED;
    case EVENT_RELEASED:
        return METER_RELEASED;
    case EVENT_LAPSED:
        return METER_LAPSED;
    case EVENT_EXPIRED:
        return METER_EXPIRED;
    case EVENT_DUPLICATE:
        return METER_DUPLICATE;
    case EVENT_FOREIGN:
        return METER_FOREIGN;
    case EVENT_DROPPED:
        return event->code == DROP_PURGED ? METER_PURGED : event->code == DROP_DAMAGED ? METER_DAMAGED : METER_OVERFLOW;
    case EVENT_DEAD:
        return event->due > 0 && event->due < ENGINE_REASONS ? (enum meter_count)(METER_DEAD + event->due) : METER_DEAD;
    default:
        return METER_COUNTS; /* it ends nothing and gives nothing */
    }
}

void local_meter_event(struct local *local, const struct group *group, const struct store_event *event)
{
    enum meter_count what = local->meter ? what_of(event) : METER_COUNTS;
    if (what < METER_COUNTS)
        meter_count(local->meter, group->id, what, event->count);
}

/* Work was done where somebody says what came of it: not when messages were given back unbegun, or a lease ended. */
void local_meter_lease(struct local *local, const struct lease *lease, const struct store_event *event)
{
    bool worked = event->kind == EVENT_ACKED || event->kind == EVENT_RETRIED || event->kind == EVENT_DEAD;
    if (worked && lease->granted > 0)
        meter_worked(local->meter, lease->group->id, local->now.monotonic - lease->granted, event->count);
}

/* ---- figures -------------------------------------------------------------------------------------------------- */

static int ascending(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

enum mp_error local_list(const struct engine *engine, bool groups, uint32_t **ids, size_t *count)
{
    const struct local *local = (const struct local *)engine;
    const struct map *map = groups ? &local->groups : &local->topics_by_id;
    size_t at = 0;
    const void *item;
    *count = 0;
    *ids = calloc(map->count + 1, sizeof **ids);
    if (!*ids)
        return MP_ERR_MEMORY;
    while ((item = map_next(map, &at)))
        (*ids)[(*count)++] = groups ? ((const struct group *)item)->id : ((const struct topic *)item)->id;
    qsort(*ids, *count, sizeof **ids, ascending);
    return MP_OK;
}

bool local_topic_figures(const struct engine *engine, uint32_t id, struct figures_topic *figures)
{
    const struct local *local = (const struct local *)engine;
    const struct topic *topic = map_get(&local->topics_by_id, &id, sizeof id);
    if (!topic)
        return false;
    *figures = (struct figures_topic){.name = topic->name,
                                      .first = topic->first,
                                      .end = topic->end,
                                      .bytes = topic->counters.kept_bytes,
                                      .last_time = local_time_to_wall(local, topic->last_time),
                                      .letters = topic->letters,
                                      .counted = meter_topic(local->meter, id)};
    static_assert((int)FIGURES_DROPS == DROPPED_REASONS && (int)FIGURES_OVERFLOW == DROPPED_OVERFLOW &&
                      (int)FIGURES_PURGED == DROPPED_PURGED && (int)FIGURES_EXPIRED == DROPPED_EXPIRED &&
                      (int)FIGURES_DUPLICATE == DROPPED_DUPLICATE && (int)FIGURES_DAMAGED == DROPPED_DAMAGED,
                  "the reasons are the same");
    memcpy(figures->dropped, topic->counters.dropped, sizeof figures->dropped);
    return true;
}

static struct group *group_of(const struct local *local, uint32_t id)
{
    return map_get(&local->groups, &id, sizeof id);
}

bool local_group_figures(const struct engine *engine, uint32_t id, struct figures_group *figures)
{
    const struct local *local = (const struct local *)engine;
    const struct group *group = group_of(local, id);
    if (!group)
        return false;
    *figures = (struct figures_group){.topic = group->topic->name,
                                      .name = group->name,
                                      .pattern = group->pattern_id ? group->subscription->shared.topic : "",
                                      .waiting = local_group_waiting(group),
                                      .leased = group->states.counts[STATE_LEASED],
                                      .delayed = group->states.counts[STATE_DELAYED],
                                      .counted = meter_group(local->meter, id)};
    return true;
}

int64_t local_group_oldest(struct engine *engine, uint32_t id)
{
    struct local *local = local_of(engine);
    struct group *group = group_of(local, id);
    return group ? local_time_to_wall(local, local_oldest_time(local, group)) : 0;
}

void local_figures(struct engine *engine, struct figures_engine *figures)
{
    struct local *local = local_of(engine);
    *figures = (struct figures_engine){.store_bytes = store_size(local->store),
                                       .free_bytes = store_free_space(local->store),
                                       .commits = local->commits,
                                       .snapshots = local->snapshots,
                                       .cache_bytes = local->cache_bytes,
                                       .dedupe_bytes = local_dedupe_bytes(local),
                                       .scheduled = local->scheduled,
                                       .events_written = local->last_event,
                                       .event_bytes = local->event_bytes,
                                       .counted = *meter_all(local->meter)};
    struct store_event oldest;
    if (store_find_event(local->store, local->first_event, &oldest, NULL) == MP_OK)
        figures->oldest_event = local_time_to_wall(local, oldest.time);
    if (store_reusable(local->store, &figures->reusable_bytes, NULL))
        figures->reusable_bytes = 0;
}

enum mp_error local_accepts(struct engine *engine, struct fault *fault)
{
    if (local_retain_has_space(local_of(engine)))
        return MP_OK;
    return fault_set(fault, MP_ERR_FULL, "the disk of the relay's store is nearly full: less than 64 MiB are free");
}
