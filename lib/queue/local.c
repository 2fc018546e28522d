#include "queue/local.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SNAPSHOT_EVERY = 1024,
    SNAPSHOT_BYTES = 64 * 1024 * 1024, /* of frames: no more of them than that stay for the sake of a start */
    CACHE_BYTES = 16 * 1024 * 1024,
    LEASE = 30000,
    EVENTS_STEP = 4096
};

enum mp_error local_write(struct local *local, struct fault *fault)
{
    local->writing = true;
    enum mp_error error = store_begin(local->store, fault);
    if (!error && !local->clock_saved)
        error = local_time_save(local, fault);
    return error || local->trace_saved ? error : local_trace_save(local, fault);
}

static void local_begin(struct engine *engine, struct moment now)
{
    struct local *local = local_of(engine);
    local->now = now;
    local->time = now.monotonic + local->clock.offset;
}

static bool local_changed(const struct engine *engine)
{
    return ((const struct local *)engine)->writing;
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

static void forget_all(struct local *local)
{
    size_t at = 0;
    struct group *group;
    local_leases_clear(local);
    local_letters_forget(local);
    local_settling_forget(local);
    local->let_go_count = 0;
    while ((group = map_next(&local->groups, &at)))
        local_group_free(group);
    map_free(&local->groups);
    at = 0;
    struct topic *topic;
    while ((topic = map_next(&local->topics, &at)))
        local_topic_free(topic);
    map_free(&local->topics);
    map_free(&local->topics_by_id);
    local_cache_clear(local);
    local_subscriptions_detach(local);
    local->next_topic = local->next_group = local->next_pattern = 1;
    local->delay_due = local->rate_due = local->schedule_due = local->expire_due = local->expire_look =
        local->dedupe_due = CLOCK_NEVER;
    local->age_due = local->reclaim_due = CLOCK_NEVER;
    local->idle_due = CLOCK_NEVER;
    local->look = local->dead = NULL;
    local->gone_count = 0;
    local->snapshot_wanted = false;
    local->unsaved = 0;
    local->writing = false;
}

static void local_close(struct engine *engine)
{
    struct local *local = local_of(engine);
    forget_all(local);
    local_dedupe_free(local);
    size_t at = 0;
    struct subscription *subscription;
    while ((subscription = map_next(&local->subscriptions, &at))) {
        free(subscription->members.items);
        free(subscription->shared.topic);
        free(subscription->shared.group);
        free(subscription);
    }
    map_free(&local->subscriptions);
    buffer_free(&local->lineage);
    free(local->failed_runs);
    free(local->gone);
    free(local->let_go);
    meter_free(local->meter);
    if (!local->settings.keep_store)
        store_close(local->store);
    free(local);
}

/* ---- loading -------------------------------------------------------------------------------------------------- */

struct loading {
    struct local *local;
    const struct engine_load *load;
    struct fault *fault;
    struct topic *topic;
    struct group *group;
    struct map topics; /* by id */
    uint64_t snapshot; /* the last event that the snapshot contains */
};

/*
 * What is wrong with the rows: ERROR, with words, ends the load; an examination takes note of it, and goes on.
 */
static enum mp_error load_problem(const struct loading *loading, uint32_t topic, uint32_t group, uint64_t offset,
                                  const char *format, ...) __attribute__((format(printf, 5, 6)));
static enum mp_error load_problem(const struct loading *loading, uint32_t topic, uint32_t group, uint64_t offset,
                                  const char *format, ...)
{
    const struct engine_local_settings *settings = &loading->local->settings;
    char words[FAULT_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    if (!settings->problem)
        return fault_set(loading->fault, MP_ERR_DAMAGED, "%s: %s", store_path(loading->local->store), words);
    settings->problem(settings->problem_context, topic, group, offset, words);
    return MP_OK;
}

static enum mp_error load_session(void *context, const struct store_session *row)
{
    const struct loading *loading = context;
    struct engine_session session = {.id = row->id, .created = row->created, .used = row->used, .keep = row->keep};
    memcpy(session.numbers, row->numbers, sizeof session.numbers);
    memcpy(session.results, row->results, sizeof session.results);
    memcpy(session.counts, row->counts, sizeof session.counts);
    return loading->load->session(loading->load->context, &session);
}

static enum mp_error load_applied(const struct loading *loading, uint64_t session, uint64_t request, int64_t time,
                                  uint64_t result, uint32_t count)
{
    struct engine_origin origin = {
        .session = session, .number = request & (UINT64_MAX >> 2), .lane = (unsigned)(request >> 62)};
    if (session == 0 || origin.number == 0 || origin.lane >= ENGINE_LANES)
        return MP_OK;
    return loading->load->applied(loading->load->context, &origin, local_time_to_wall(loading->local, time), result,
                                  count);
}

/* A frame that is newer than its topic's row. */
static enum mp_error load_frame(void *context, const struct store_frame *row)
{
    const struct loading *loading = context;
    struct topic *topic = loading->topic;
    enum mp_error error = MP_OK;
    if (row->first != topic->end)
        error = load_problem(loading, topic->id, 0, topic->end, "offset %llu of topic %s is missing",
                             (unsigned long long)topic->end, topic->name);
    if (error)
        return error;
    topic->end = row->first + row->count;
    topic->dirty = true;
    local_flow_frame(topic, row);
    /* What was published together with a settlement tells its number; how many it settled, its events tell. */
    bool settled = row->request >> 62 != 0;
    if (!loading->load)
        return MP_OK;
    return load_applied(loading, row->session, row->request, row->time, settled ? 0 : row->first,
                        settled ? 0 : row->count);
}

static enum mp_error load_topic(void *context, const struct store_topic *row)
{
    struct loading *loading = context;
    struct topic *topic;
    enum mp_error error = local_topic_add(loading->local, row, &topic);
    if (error)
        return error == MP_ERR_DAMAGED
                   ? load_problem(loading, row->id, 0, 0, "topic %u has a name that is too long", row->id)
                   : error;
    error = local_topic_settings_read(loading->local, topic, row->settings, loading->fault);
    if (error == MP_ERR_DAMAGED)
        error = load_problem(loading, row->id, 0, 0, "the settings of topic %s make no sense", row->name);
    if (!error)
        error = local_counters_read(loading->local, topic, row, loading->fault);
    return error ? error : map_put(&loading->topics, &topic->id, sizeof topic->id, topic);
}

static enum mp_error load_pattern(void *context, const struct store_pattern *row)
{
    const struct loading *loading = context;
    enum mp_error error = local_pattern_load(loading->local, row, loading->fault);
    return error == MP_ERR_DAMAGED ? load_problem(loading, 0, 0, 0, "the row of pattern %u makes no sense", row->id)
                                   : error;
}

static enum mp_error load_group(void *context, const struct store_group *row)
{
    const struct loading *loading = context;
    enum mp_error error = local_group_load(loading->local, row,
                                           map_get(&loading->topics, &row->topic, sizeof row->topic), loading->fault);
    return error == MP_ERR_DAMAGED
               ? load_problem(loading, row->topic, row->id, 0,
                              "group %u makes no sense, or its topic or pattern is not there", row->id)
               : error;
}

static enum mp_error load_block(void *context, uint32_t block, const uint8_t *data, size_t size)
{
    const struct loading *loading = context;
    struct group *group = loading->group;
    enum mp_error error = states_load(&group->states, local_moment(loading->local), block, data, size);
    return error == MP_ERR_DAMAGED
               ? load_problem(loading, group->topic->id, group->id, (uint64_t)block << STATES_BLOCK_BITS,
                              "a block of group %s on topic %s is damaged", group->name, group->topic->name)
               : error;
}

static enum mp_error load_event(void *context, const struct store_event *row)
{
    const struct loading *loading = context;
    struct local *local = loading->local;
    enum mp_error error = MP_OK;
    if (row->id != local->last_event + 1 &&
        (error = load_problem(loading, 0, 0, 0, "event %llu is missing", (unsigned long long)local->last_event + 1)))
        return error;
    local->last_event = row->id;
    local_events_added(local, row);
    if (row->kind == EVENT_PUBLISHED || row->kind == EVENT_SESSION)
        return MP_OK; /* for traces alone: the frames say the same */
    struct topic *topic = map_get(&local->topics_by_id, &row->topic, sizeof row->topic);
    struct group *group = map_get(&local->groups, &row->group, sizeof row->group);
    if (topic)
        local_flow_event(local, topic, row);
    if (group && row->id > group->event)
        error = local_apply(local, group, row);
    if (error == MP_ERR_DAMAGED && local->settings.mend)
        return local_apply_settled(group, row) ? fault_memory(loading->fault) : MP_OK;
    if (error == MP_ERR_DAMAGED) {
        group->event = UINT64_MAX; /* an examination applies no more to it */
        error = load_problem(loading, row->topic, row->group, row->first,
                             "event %llu does not fit the state of group %s", (unsigned long long)row->id, group->name);
    }
    if (error || !loading->load)
        return error;
    uint64_t result = row->kind == EVENT_LEASED ? row->first : 0;
    return load_applied(loading, row->session, row->request, row->time, result, row->count);
}

/* Topics and their last times, by which the clock is found. */
static enum mp_error load_topics(struct loading *loading)
{
    struct local *local = loading->local;
    enum mp_error error = store_each_topic(local->store, load_topic, loading, loading->fault);
    size_t at = 0;
    struct topic *topic;
    while (!error && (topic = map_next(&local->topics, &at))) {
        struct store_frame last;
        error = store_last_frame(local->store, topic->id, &last, loading->fault);
        if (!error)
            topic->last_time = last.time;
        else if (error == MP_ERR_NOT_FOUND)
            error = MP_OK;
    }
    return error ? error : local_time_load(local, loading->fault);
}

/* What was published since the snapshot. */
static enum mp_error load_frames(struct loading *loading)
{
    struct local *local = loading->local;
    enum mp_error error = MP_OK;
    size_t at = 0;
    while (!error && (loading->topic = map_next(&local->topics, &at)))
        error = store_each_frame(local->store, loading->topic->id, loading->topic->end, load_frame, loading,
                                 loading->fault);
    return error;
}

static enum mp_error load_groups(struct loading *loading)
{
    struct local *local = loading->local;
    enum mp_error error = store_each_pattern(local->store, load_pattern, loading, loading->fault);
    if (!error)
        error = store_each_group(local->store, load_group, loading, loading->fault);
    size_t at = 0;
    while (!error && (loading->group = map_next(&local->groups, &at))) {
        error = store_each_block(local->store, loading->group->id, load_block, loading, loading->fault);
        if (error == MP_ERR_DAMAGED)
            fault_set(loading->fault, error, "%s: a block of group %s on topic %s is damaged", store_path(local->store),
                      loading->group->name, loading->group->topic->name);
    }
    if (!error)
        error = store_each_event(local->store, loading->snapshot, load_event, loading, loading->fault);
    return error;
}

static enum mp_error check_groups(const struct loading *loading)
{
    const struct local *local = loading->local;
    size_t at = 0;
    const struct group *group;
    while ((group = map_next(&local->groups, &at))) {
        struct fault detail = {0};
        if (!states_check(&group->states, &detail) && group->states.frontier <= group->topic->end)
            continue;
        enum mp_error error =
            load_problem(loading, group->topic->id, group->id, group->states.floor,
                         "the state of group %s on topic %s is damaged: %s", group->name, group->topic->name,
                         detail.code ? fault_text(&detail) : "it is ahead of its topic");
        if (error)
            return error;
    }
    return MP_OK;
}

static enum mp_error local_load(struct engine *engine, struct moment now, const struct engine_load *load,
                                struct fault *fault)
{
    struct local *local = local_of(engine);
    struct loading loading = {.local = local, .load = load, .fault = fault};
    int64_t snapshot = 0;
    forget_all(local);
    local_begin(engine, now);
    enum mp_error error = store_get_number(local->store, "snapshot_event", &snapshot, fault);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    loading.snapshot = local->last_event = local->snapshot_event = (uint64_t)snapshot;
    if ((error = local_events_load_bytes(local, fault)) && (load || error != MP_ERR_DAMAGED))
        return error;
    error = load ? store_each_session(local->store, load_session, &loading, fault) : MP_OK;
    if (!error && !(error = load_topics(&loading)) && !(error = load_frames(&loading)) &&
        !(error = load_groups(&loading)))
        error = local_ids_load(local, fault);
    if (!error)
        error = local_retain_load(local, fault);
    map_free(&loading.topics);
    if (error || (error = check_groups(&loading)) || !load)
        return error;
    if ((error = local_schedule_load(local, fault)) || (error = local_dedupe_load(local, fault)))
        return error;
    if (local_readers_attach(local) || local_leases_rebuild(local))
        return fault_memory(fault);
    local_delays_rebuild(local);
    local_idle_load(local);
    local_expire_load(local);
    local->turns = local->settings.snapshot_every; /* what was replayed now need not be replayed again */
    return MP_OK;
}

/* ---- the end of a turn ---------------------------------------------------------------------------------------- */

static enum mp_error local_commit(struct engine *engine, enum mp_error (*snapshot)(void *context), void *context,
                                  struct fault *fault)
{
    struct local *local = local_of(engine);
    if (!local->writing)
        return MP_OK;
    enum mp_error error = local_letters_send(local, fault);
    local->turns++;
    bool due = local->turns >= local->settings.snapshot_every || local->unsaved >= SNAPSHOT_BYTES;
    if (!error && (due || local->snapshot_wanted)) {
        if ((error = snapshot(context)) || (error = local_save(local, fault)))
            return error;
        local->turns = 0;
        local->snapshots++;
    }
    if (error || (error = local_schedule_save(local, fault)) || (error = store_commit(local->store, fault)))
        return error;
    local->commits++;
    meter_commit(local->meter);
    local->writing = false;
    local->clock_saved = local->trace_saved = true;
    return MP_OK;
}

static enum mp_error local_rollback(struct engine *engine, struct fault *fault)
{
    struct local *local = local_of(engine);
    local->writing = local->trace_saved = false;
    meter_undo(local->meter);
    return store_rollback(local->store, fault);
}

static enum mp_error local_put_session(struct engine *engine, const struct engine_session *session, struct fault *fault)
{
    struct store_session row = {
        .id = session->id, .created = session->created, .used = session->used, .keep = session->keep};
    memcpy(row.numbers, session->numbers, sizeof row.numbers);
    memcpy(row.results, session->results, sizeof row.results);
    memcpy(row.counts, session->counts, sizeof row.counts);
    enum mp_error error = local_write(local_of(engine), fault);
    return error ? error : store_put_session(local_of(engine)->store, &row, fault);
}

static enum mp_error local_delete_session(struct engine *engine, uint64_t id, struct fault *fault)
{
    enum mp_error error = local_write(local_of(engine), fault);
    return error ? error : store_delete_session(local_of(engine)->store, id, fault);
}

static const struct engine_operations operations = {
    .name = "local",
    .capabilities = ENGINE_ATOMIC,
    .close = local_close,
    .load = local_load,
    .begin = local_begin,
    .commit = local_commit,
    .rollback = local_rollback,
    .rest = local_rest,
    .changed = local_changed,
    .put_session = local_put_session,
    .delete_session = local_delete_session,
    .room = local_room,
    .fits = local_fits,
    .check_target = local_check_target,
    .publish = local_publish,
    .subscribe = local_subscribe,
    .forget = local_forget,
    .configure_topic = local_configure_topic,
    .configure_group = local_configure_group,
    .keep_letters = local_keep_letters,
    .topic_settings = local_topic_settings,
    .group_settings = local_group_settings,
    .grant = local_grant,
    .regrant = local_regrant,
    .read = local_read,
    .held = local_held,
    .settle = local_settle,
    .extend = local_extend,
    .shorten = local_shorten,
    .release = local_release,
    .time = local_time,
    .tick = local_tick,
    .due = local_due,
    .next_ready = local_next_ready,
    .drained = local_drained,
    .purge_topic = local_purge_topic,
    .repair_topic = local_repair_topic,
    .delete_topic = local_delete_topic,
    .seek_group = local_seek_group,
    .delete_group = local_delete_group,
    .describe_topics = local_describe_topics,
    .describe_groups = local_describe_groups,
    .describe = local_describe,
    .list = local_list,
    .topic_figures = local_topic_figures,
    .group_figures = local_group_figures,
    .group_oldest = local_group_oldest,
    .figures = local_figures,
    .accepts = local_accepts,
    .nearest_topic = local_nearest_topic,
    .nearest_group = local_nearest_group,
};

enum mp_error engine_local_open(struct store *store, const struct engine_local_settings *settings,
                                struct engine **engine, struct fault *fault)
{
    struct local *local = calloc(1, sizeof *local);
    if (local && settings && settings->measure && !(local->meter = meter_new())) {
        free(local);
        local = NULL;
    }
    if (!local) {
        store_close(store);
        return fault_memory(fault);
    }
    local->engine.operations = &operations;
    local->store = store;
    if (settings)
        local->settings = *settings;
    if (local->settings.snapshot_every == 0)
        local->settings.snapshot_every = SNAPSHOT_EVERY;
    if (local->settings.cache == 0)
        local->settings.cache = CACHE_BYTES;
    local_events_settings(&local->settings);
    if (local->settings.events_step == 0)
        local->settings.events_step = EVENTS_STEP;
    if (local->settings.lease == 0)
        local->settings.lease = LEASE;
    local->next_topic = local->next_group = local->next_pattern = 1;
    local->lease_due = local->delay_due = local->rate_due = local->schedule_due = local->expire_due =
        local->dedupe_due = CLOCK_NEVER;
    *engine = &local->engine;
    return MP_OK;
}
