#include "queue/local.h"

/*
 * Rows of what is in memory. A snapshot writes all that changed, in the transaction of the turn that takes it. A group's
 * row can be written at any time: it says which events it contains. A topic's must keep the end and the counters as of the last snapshot:
 * from there on a start walks the frames, and finds by them what the sessions have published since.
 */

enum mp_error local_topic_save(struct local *local, const struct topic *topic, struct fault *fault)
{
    struct buffer settings = {0};
    if (local_topic_settings_write(topic, &settings)) {
        buffer_free(&settings);
        return fault_memory(fault);
    }
    uint8_t counters[COUNTERS_BYTES];
    local_counters_write(&topic->saved_counters, counters);
    struct store_topic row = {.id = topic->id,
                              .name = topic->name,
                              .first = topic->first,
                              .end = topic->saved_end,
                              .created = topic->created,
                              .settings = (const char *)settings.data,
                              .letters = topic->letters,
                              .counters = counters,
                              .counters_size = sizeof counters};
    enum mp_error error = store_put_topic(local->store, &row, fault);
    buffer_free(&settings);
    return error;
}

struct saving {
    struct local *local;
    const struct group *group;
    struct fault *fault;
};

static enum mp_error save_block(void *context, uint32_t block, const void *data, size_t size)
{
    const struct saving *saving = context;
    return store_put_block(saving->local->store, saving->group->id, block, data, size, saving->fault);
}

/* The totals as the row has them: a number by state. */
static void totals_encode(const struct states *states, uint8_t bytes[STATE_COUNT * 8])
{
    for (unsigned state = 0; state < STATE_COUNT; state++)
        store_u64(bytes + (size_t)state * 8, states->totals[state]);
}

enum mp_error local_group_save(struct local *local, struct group *group, struct fault *fault)
{
    struct saving saving = {local, group, fault};
    struct buffer settings = {0};
    uint8_t totals[STATE_COUNT * 8];
    totals_encode(&group->states, totals);
    /* Those of a pattern's group are in the pattern's row. */
    if (!group->pattern_id && local_group_settings_write(group->subscription, &settings)) {
        buffer_free(&settings);
        return fault_memory(fault);
    }
    struct store_group row = {
        .id = group->id,
        .topic = group->topic->id,
        .name = group->name,
        .pattern = group->pattern_id,
        .start = group->start,
        .floor = group->states.floor,
        .frontier = group->states.frontier,
        .dead = group->dead,
        .event = local->last_event,
        .created = group->created,
        .settings = (const char *)settings.data,
        .totals = totals,
        .totals_size = sizeof totals,
        .used = group->subscription->used,
    };
    enum mp_error error = states_save(&group->states, local_moment(local), save_block, &saving);
    if (!error)
        error = store_delete_blocks(local->store, group->id, (uint32_t)(row.floor >> STATES_BLOCK_BITS), fault);
    if (!error)
        error = store_put_group(local->store, &row, fault);
    buffer_free(&settings);
    if (!error) {
        group->event = local->last_event;
        group->dirty = false;
    }
    return error;
}

enum mp_error local_save(struct local *local, struct fault *fault)
{
    enum mp_error error = MP_OK;
    size_t at = 0;
    struct topic *topic;
    while (!error && (topic = map_next(&local->topics, &at))) {
        if (!topic->dirty)
            continue;
        topic->saved_end = topic->end;
        topic->saved_counters = topic->counters;
        local_retain_delete(local, topic);
        if (!(error = local_topic_save(local, topic, fault)))
            topic->dirty = false;
    }
    at = 0;
    struct group *group;
    while (!error && (group = map_next(&local->groups, &at)))
        if (group->dirty)
            error = local_group_save(local, group, fault);
    if (!error)
        error = store_put_number(local->store, "snapshot_event", (int64_t)local->last_event, fault);
    local->snapshot_event = local->last_event;
    local->snapshot_wanted = false;
    local->unsaved = 0;
    if (!error)
        error = local_events_save(local, fault);
    return error ? error : local_time_save(local, fault);
}

/* So a store that was left in good order has nothing to be replayed, and each of its rows is covered by another. */
enum mp_error local_rest(struct engine *engine, struct fault *fault)
{
    struct local *local = local_of(engine);
    void *item;
    for (size_t at = 0; local->settings.mend && (item = map_next(&local->topics, &at));)
        ((struct topic *)item)->dirty = true;
    for (size_t at = 0; local->settings.mend && (item = map_next(&local->groups, &at));)
        ((struct group *)item)->dirty = true;
    if (local->last_event == local->snapshot_event && local->unsaved == 0 && !local->settings.mend)
        return MP_OK;
    local->snapshot_wanted = true;
    return local_write(local, fault);
}
