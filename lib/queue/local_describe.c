#include "queue/local.h"

/* Names are of [A-Za-z0-9_.*>-], so that none of them needs an escape in JSON. */

/* Settings that differ from the defaults: members of an object, and so their values need no escape either. */
static enum mp_error put_setting(void *context, const char *key, const char *value, bool is_default)
{
    struct buffer *out = context;
    if (is_default)
        return MP_OK;
    const char *separator = out->size > 0 && out->data[out->size - 1] != '{' ? "," : "";
    return buffer_append_format(out, "%s\"%s\":\"%s\"", separator, key, value);
}

static enum mp_error put_dropped(const struct topic_counters *counters, struct buffer *out)
{
    static const char *const reasons[DROPPED_REASONS] = {
        [DROPPED_OVERFLOW] = "overflow",   [DROPPED_PURGED] = "purged",   [DROPPED_EXPIRED] = "expired",
        [DROPPED_DUPLICATE] = "duplicate", [DROPPED_DAMAGED] = "damaged",
    };
    enum mp_error error = MP_OK;
    for (unsigned i = 0; !error && i < DROPPED_REASONS; i++)
        error = buffer_append_format(out, "%s\"%s\":%llu", i ? "," : "", reasons[i],
                                     (unsigned long long)counters->dropped[i]);
    return error;
}

static enum mp_error describe_topic(const struct local *local, const struct topic *topic, struct buffer *out)
{
    enum mp_error error = buffer_append_format(
        out,
        "{\"name\":\"%s\",\"first\":%llu,\"end\":%llu,\"messages\":%llu,\"bytes_in\":%llu,\"bytes\":%llu,"
        "\"groups\":%zu,\"letters\":%s,\"created_us\":%lld,\"last_time_us\":%lld,\"dropped\":{",
        topic->name, (unsigned long long)topic->first, (unsigned long long)topic->end,
        (unsigned long long)(topic->end - topic->first), (unsigned long long)topic->bytes,
        (unsigned long long)topic->counters.kept_bytes, topic->groups.count, topic->letters ? "true" : "false",
        (long long)local_time_to_wall(local, topic->created), (long long)local_time_to_wall(local, topic->last_time));
    if (error || (error = put_dropped(&topic->counters, out)) ||
        (error = buffer_append_string(out, "},\"settings\":{")) ||
        (error = settings_topic_each(&topic->settings, put_setting, out)))
        return error;
    return buffer_append_string(out, "}}");
}

enum mp_error local_describe_topics(struct engine *engine, struct buffer *out)
{
    struct local *local = local_of(engine);
    size_t at = 0;
    const struct topic *topic;
    const char *separator = "";
    enum mp_error error = buffer_append_string(out, "[");
    while (!error && (topic = map_next(&local->topics, &at))) {
        if (!(error = buffer_append_string(out, separator)))
            error = describe_topic(local, topic, out);
        separator = ",";
    }
    return error ? error : buffer_append_string(out, "]");
}

/*
 * When the oldest message that GROUP has not settled was published; 0: there is none. What was found for a frame holds
 * for all its messages, so that a group that stands still costs no query.
 */
int64_t local_oldest_time(const struct local *local, struct group *group)
{
    struct store_frame frame;
    uint64_t floor = group->states.floor;
    if (floor >= group->topic->end)
        return 0;
    if (floor - group->oldest.first < group->oldest.count)
        return group->oldest.time;
    if (store_find_frame(local->store, group->topic->id, floor, &frame, NULL))
        return 0;
    group->oldest = (struct oldest){frame.first, frame.count, frame.time};
    return frame.time;
}

/* Messages that GROUP has settled in STATE. */
static uint64_t settled_as(const struct group *group, enum state state)
{
    return group->states.totals[state] + group->states.counts[state];
}

/* All that GROUP has settled and that ended in no other way was acknowledged. */
static uint64_t acked(const struct group *group)
{
    const struct states *states = &group->states;
    uint64_t settled = states->floor - group->start;
    for (unsigned state = STATE_ACKED; state < STATE_COUNT; state++)
        settled += states->counts[state];
    return settled - group->dead - settled_as(group, STATE_EXPIRED) - settled_as(group, STATE_DROPPED) -
           settled_as(group, STATE_DUPLICATE) - settled_as(group, STATE_FOREIGN);
}

static enum mp_error describe_group(const struct local *local, struct group *group, struct buffer *out)
{
    const struct states *states = &group->states;
    const struct subscription *subscription = group->subscription;
    enum mp_error error = buffer_append_format(
        out,
        "{\"topic\":\"%s\",\"group\":\"%s\",\"pattern\":\"%s\",\"waiting\":%llu,\"leased\":%llu,\"delayed\":%llu,"
        "\"settled_to\":%llu,\"given_to\":%llu,\"acked\":%llu,\"dead\":%llu,\"expired\":%llu,\"dropped\":%llu,"
        "\"duplicates\":%llu,\"foreign\":%llu,\"oldest_time_us\":%lld,\"used_us\":%lld,\"in_use\":%s,\"settings\":{",
        group->topic->name, group->name, group->pattern_id ? subscription->shared.topic : "",
        (unsigned long long)local_group_waiting(group), (unsigned long long)states->counts[STATE_LEASED],
        (unsigned long long)states->counts[STATE_DELAYED], (unsigned long long)states->floor,
        (unsigned long long)states->frontier, (unsigned long long)acked(group), (unsigned long long)group->dead,
        (unsigned long long)settled_as(group, STATE_EXPIRED), (unsigned long long)settled_as(group, STATE_DROPPED),
        (unsigned long long)settled_as(group, STATE_DUPLICATE), (unsigned long long)settled_as(group, STATE_FOREIGN),
        (long long)local_time_to_wall(local, local_oldest_time(local, group)),
        (long long)local_time_to_wall(local, subscription->used),
        subscription->shared.waiters || states->counts[STATE_LEASED] > 0 ? "true" : "false");
    if (error || (error = settings_group_each(&subscription->settings, put_setting, out)))
        return error;
    return buffer_append_string(out, "}}");
}

enum mp_error local_describe_groups(struct engine *engine, struct buffer *out)
{
    struct local *local = local_of(engine);
    size_t at = 0;
    struct group *group;
    const char *separator = "";
    enum mp_error error = buffer_append_string(out, "[");
    while (!error && (group = map_next(&local->groups, &at))) {
        if (!(error = buffer_append_string(out, separator)))
            error = describe_group(local, group, out);
        separator = ",";
    }
    return error ? error : buffer_append_string(out, "]");
}

enum mp_error local_describe(struct engine *engine, struct buffer *out)
{
    const struct local *local = local_of(engine);
    char path[4096];
    size_t size = 0;
    /* A path may hold anything: what is not plain is shown as '?'. */
    for (const char *at = store_path(local->store); *at && size < sizeof path - 1; at++)
        path[size++] = (unsigned char)*at < 0x20 || *at == '"' || *at == '\\' ? '?' : *at;
    path[size] = '\0';
    return buffer_append_format(out,
                                "\"engine\":\"local\",\"store\":\"%s\",\"store_bytes\":%llu,\"commits\":%llu,"
                                "\"snapshots\":%llu,\"lapsed\":%llu,\"cache_bytes\":%zu,\"scheduled\":%llu,\"schedule_"
                                "due_us\":%lld,\"dedupe_bytes\":%zu,\"event_bytes\":%llu",
                                path, (unsigned long long)store_size(local->store), (unsigned long long)local->commits,
                                (unsigned long long)local->snapshots, (unsigned long long)local->lapsed,
                                local->cache_bytes, (unsigned long long)local->scheduled,
                                (long long)local_schedule_due(local), local_dedupe_bytes(local),
                                (unsigned long long)local->event_bytes);
}
