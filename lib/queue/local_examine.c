#include "queue/examine.h"

#include "queue/local.h"

#include <stdlib.h>

struct examination {
    struct engine *engine;
    struct topic **topics; /* by name */
    size_t topics_count;
    struct group **groups; /* by topic, then by name */
    size_t groups_count;
};

static const struct local *engine_of(const struct examination *examination)
{
    return local_of(examination->engine);
}

static int compare_topics(const void *one, const void *two)
{
    return strcmp((*(struct topic *const *)one)->name, (*(struct topic *const *)two)->name);
}

static int compare_groups(const void *one, const void *two)
{
    const struct group *a = *(struct group *const *)one, *b = *(struct group *const *)two;
    int order = strcmp(a->topic->name, b->topic->name);
    if (order == 0)
        order = strcmp(a->name, b->name);
    return order ? order : a->id < b->id ? -1 : a->id > b->id;
}

static enum mp_error sort_all(struct examination *examination)
{
    const struct local *local = engine_of(examination);
    size_t at = 0;
    void *item;
    examination->topics = malloc((local->topics.count + 1) * sizeof(void *));
    examination->groups = malloc((local->groups.count + 1) * sizeof(void *));
    if (!examination->topics || !examination->groups)
        return MP_ERR_MEMORY;
    while ((item = map_next(&local->topics, &at)))
        examination->topics[examination->topics_count++] = item;
    at = 0;
    while ((item = map_next(&local->groups, &at)))
        examination->groups[examination->groups_count++] = item;
    qsort(examination->topics, examination->topics_count, sizeof(void *), compare_topics);
    qsort(examination->groups, examination->groups_count, sizeof(void *), compare_groups);
    return MP_OK;
}

enum mp_error examine_open(struct store *store, struct moment now, examine_problem *problem, void *context,
                           struct examination **result, struct fault *fault)
{
    const struct engine_local_settings settings = {
        .keep_store = true, .problem = problem, .problem_context = context, .cache = 1};
    struct examination *examination = calloc(1, sizeof *examination);
    if (!examination)
        return fault_memory(fault);
    enum mp_error error = engine_local_open(store, &settings, &examination->engine, fault);
    if (!error)
        error = examination->engine->operations->load(examination->engine, now, NULL, fault);
    if (!error && sort_all(examination))
        error = fault_memory(fault);
    if (error) {
        examine_close(examination);
        return error;
    }
    *result = examination;
    return MP_OK;
}

void examine_close(struct examination *examination)
{
    if (!examination)
        return;
    if (examination->engine)
        examination->engine->operations->close(examination->engine);
    free(examination->topics);
    free(examination->groups);
    free(examination);
}

static struct examined_topic describe_topic(const struct topic *topic)
{
    struct examined_topic result = {.id = topic->id,
                                    .name = topic->name,
                                    .letters = topic->letters,
                                    .first = topic->first,
                                    .end = topic->end,
                                    .saved_end = topic->saved_end,
                                    .kept_bytes = topic->saved_counters.kept_bytes,
                                    .needed = topic->end,
                                    .groups = topic->groups.count,
                                    .settings = &topic->settings};
    for (size_t i = 0; i < topic->groups.count; i++) {
        const struct group *group = topic->groups.items[i];
        if (group->states.floor < result.needed)
            result.needed = group->states.floor;
    }
    return result;
}

static struct examined_group describe_group(struct group *group)
{
    return (struct examined_group){.id = group->id,
                                   .name = group->name,
                                   .topic = group->topic->id,
                                   .topic_name = group->topic->name,
                                   .topic_end = group->topic->end,
                                   .pattern = group->pattern_id,
                                   .matches = group->pattern_id ? group->subscription->shared.topic : NULL,
                                   .start = group->start,
                                   .created = group->created,
                                   .dead = group->dead,
                                   .states = &group->states};
}

enum mp_error examine_each_topic(const struct examination *examination,
                                 enum mp_error (*each)(void *, const struct examined_topic *), void *context)
{
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < examination->topics_count; i++) {
        struct examined_topic topic = describe_topic(examination->topics[i]);
        error = each(context, &topic);
    }
    return error;
}

enum mp_error examine_each_group(const struct examination *examination,
                                 enum mp_error (*each)(void *, const struct examined_group *), void *context)
{
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < examination->groups_count; i++) {
        struct examined_group group = describe_group(examination->groups[i]);
        error = each(context, &group);
    }
    return error;
}

bool examine_topic(const struct examination *examination, uint32_t id, struct examined_topic *result)
{
    const struct topic *topic = map_get(&engine_of(examination)->topics_by_id, &id, sizeof id);
    if (topic)
        *result = describe_topic(topic);
    return topic != NULL;
}

bool examine_group(const struct examination *examination, uint32_t id, struct examined_group *result)
{
    struct group *group = map_get(&engine_of(examination)->groups, &id, sizeof id);
    if (group)
        *result = describe_group(group);
    return group != NULL;
}

bool examine_find_group(const struct examination *examination, const char *topic, size_t topic_size, const char *group,
                        size_t group_size, struct examined_group *result)
{
    const struct topic *found = map_get(&engine_of(examination)->topics, topic, topic_size);
    for (size_t i = 0; found && i < found->groups.count; i++) {
        struct group *candidate = found->groups.items[i];
        if (strlen(candidate->name) == group_size && memcmp(candidate->name, group, group_size) == 0) {
            *result = describe_group(candidate);
            return true;
        }
    }
    return false;
}

bool examine_find_group_of(const struct examination *examination, uint32_t id, const char *name, uint32_t pattern,
                           struct examined_group *result)
{
    const struct topic *topic = map_get(&engine_of(examination)->topics_by_id, &id, sizeof id);
    for (size_t i = 0; topic && i < topic->groups.count; i++) {
        struct group *group = topic->groups.items[i];
        if (group->pattern_id == pattern && strcmp(group->name, name) == 0) {
            *result = describe_group(group);
            return true;
        }
    }
    return false;
}

uint64_t examine_last_event(const struct examination *examination)
{
    return engine_of(examination)->last_event;
}

uint64_t examine_snapshot(const struct examination *examination)
{
    return engine_of(examination)->snapshot_event;
}

uint32_t examine_topics_made(const struct examination *examination)
{
    return engine_of(examination)->next_topic - 1;
}

uint32_t examine_groups_made(const struct examination *examination)
{
    return engine_of(examination)->next_group - 1;
}

int64_t examine_wall(const struct examination *examination, int64_t time)
{
    return local_time_to_wall(engine_of(examination), time);
}
