#include "queue/local.h"

/* Names are of [A-Za-z0-9_.*>-], so that none of them needs an escape in JSON. */

enum mp_error local_describe_topics(struct engine *engine, struct buffer *out)
{
    struct local *local = local_of(engine);
    size_t at = 0;
    const struct topic *topic;
    const char *separator = "";
    enum mp_error error = buffer_append_string(out, "[");
    while (!error && (topic = map_next(&local->topics, &at))) {
        error = buffer_append_format(
            out,
            "%s{\"name\":\"%s\",\"first\":%llu,\"end\":%llu,\"messages\":%llu,\"bytes_in\":%llu,\"groups\":%zu,"
            "\"created_us\":%lld,\"last_time_us\":%lld}",
            separator, topic->name, (unsigned long long)topic->first, (unsigned long long)topic->end,
            (unsigned long long)(topic->end - topic->first), (unsigned long long)topic->bytes, topic->groups.count,
            (long long)local_time_to_wall(local, topic->created),
            (long long)local_time_to_wall(local, topic->last_time));
        separator = ",";
    }
    return error ? error : buffer_append_string(out, "]");
}

/* When the oldest message that GROUP has not settled was published; 0: there is none. */
static int64_t oldest_time(const struct local *local, const struct group *group)
{
    struct store_frame frame;
    if (group->states.floor >= group->topic->end ||
        store_find_frame(local->store, group->topic->id, group->states.floor, &frame, NULL))
        return 0;
    return frame.time;
}

enum mp_error local_describe_groups(struct engine *engine, struct buffer *out)
{
    struct local *local = local_of(engine);
    size_t at = 0;
    const struct group *group;
    const char *separator = "";
    enum mp_error error = buffer_append_string(out, "[");
    while (!error && (group = map_next(&local->groups, &at))) {
        const struct states *states = &group->states;
        uint64_t settled = states->floor - group->start + states->counts[STATE_ACKED] + states->counts[STATE_DEAD];
        error = buffer_append_format(
            out,
            "%s{\"topic\":\"%s\",\"group\":\"%s\",\"pattern\":\"%s\",\"waiting\":%llu,\"leased\":%llu,\"delayed\":%llu,"
            "\"settled_to\":%llu,\"given_to\":%llu,\"acked\":%llu,\"dead\":%llu,\"oldest_time_us\":%lld}",
            separator, group->topic->name, group->name, group->pattern_id ? group->subscription->shared.topic : "",
            (unsigned long long)local_group_waiting(group), (unsigned long long)states->counts[STATE_LEASED],
            (unsigned long long)states->counts[STATE_DELAYED], (unsigned long long)states->floor,
            (unsigned long long)states->frontier, (unsigned long long)(settled - group->dead),
            (unsigned long long)group->dead, (long long)local_time_to_wall(local, oldest_time(local, group)));
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
                                "\"snapshots\":%llu,\"lapsed\":%llu,\"cache_bytes\":%zu,\"scheduled\":%llu",
                                path, (unsigned long long)store_size(local->store), (unsigned long long)local->commits,
                                (unsigned long long)local->snapshots, (unsigned long long)local->lapsed,
                                local->cache_bytes, (unsigned long long)local->scheduled);
}
