#include "queue/local.h"

#include <stdlib.h>

void local_mark_ready(struct local *local, struct subscription *subscription)
{
    if (subscription->shared.ready)
        return;
    subscription->shared.ready = true;
    subscription->shared.next_ready = local->ready;
    local->ready = &subscription->shared;
}

void local_mark_topic(struct local *local, struct topic *topic)
{
    for (size_t i = 0; i < topic->groups.count; i++) {
        struct group *group = topic->groups.items[i];
        if (group->subscription)
            local_mark_ready(local, group->subscription);
    }
    for (size_t i = 0; i < topic->readers.count; i++)
        local_mark_ready(local, topic->readers.items[i]);
}

struct engine_subscription *local_next_ready(struct engine *engine)
{
    struct local *local = local_of(engine);
    struct engine_subscription *subscription = local->ready;
    if (subscription) {
        local->ready = subscription->next_ready;
        subscription->ready = false;
        subscription->next_ready = NULL;
    }
    return subscription;
}

static bool is_reader(const struct subscription *subscription)
{
    return subscription->shared.group[0] == '\0';
}

static void subscription_free(struct subscription *subscription)
{
    free(subscription->members.items);
    free(subscription->shared.topic);
    free(subscription->shared.group);
    free(subscription);
}

/* The key under which a subscription is found: no name has a newline. */
static size_t make_key(char key[2 * NAME_MAX_BYTES + 4], const char *topic, size_t topic_size, const char *group,
                       size_t group_size)
{
    memcpy(key, group, group_size);
    key[group_size] = '\n';
    memcpy(key + group_size + 1, topic, topic_size);
    return group_size + 1 + topic_size;
}

struct subscription *local_subscription(struct local *local, const char *topic, size_t topic_size, const char *group,
                                        size_t group_size)
{
    char key[2 * NAME_MAX_BYTES + 4];
    return map_get(&local->subscriptions, key, make_key(key, topic, topic_size, group, group_size));
}

/* A new subscription without members. */
static enum mp_error subscription_make(struct local *local, const char *topic, size_t topic_size, bool pattern,
                                       const char *group, size_t group_size, struct subscription **result)
{
    struct subscription *subscription = calloc(1, sizeof *subscription);
    if (!subscription)
        return MP_ERR_MEMORY;
    subscription->shared.topic = strndup(topic, topic_size);
    subscription->shared.group = strndup(group, group_size);
    subscription->shared.pattern = pattern;
    settings_group_default(&subscription->settings);
    subscription->key_size = make_key(subscription->key, topic, topic_size, group, group_size);
    if (!subscription->shared.topic || !subscription->shared.group ||
        map_put(&local->subscriptions, subscription->key, subscription->key_size, subscription)) {
        subscription_free(subscription);
        return MP_ERR_MEMORY;
    }
    if (pattern)
        local->patterns_list[local->patterns_count++] = subscription;
    *result = subscription;
    return MP_OK;
}

static struct group *group_of_topic(const struct topic *topic, const char *name, uint32_t pattern)
{
    for (size_t i = 0; i < topic->groups.count; i++) {
        struct group *group = topic->groups.items[i];
        if (group->pattern_id == pattern && strcmp(group->name, name) == 0)
            return group;
    }
    return NULL;
}

void local_group_free(struct group *group)
{
    local_order_free(group);
    states_free(&group->states);
    free(group);
}

static enum mp_error group_add(struct local *local, const struct store_group *row, struct topic *topic,
                               struct subscription *subscription, struct group **result)
{
    struct group *group = calloc(1, sizeof *group);
    if (!group)
        return MP_ERR_MEMORY;
    enum mp_error error;
    group->id = row->id;
    group->topic = topic;
    group->subscription = subscription;
    group->pattern_id = row->pattern;
    memcpy(group->name, row->name, strlen(row->name));
    group->start = row->start;
    group->created = row->created;
    group->event = row->event;
    group->dead = row->dead;
    group->hint.frame = group->dead_hint.frame = UINT64_MAX;
    if (subscription && subscription->used < (row->used > 0 ? row->used : row->created))
        subscription->used = row->used > 0 ? row->used : row->created;
    uint64_t totals[STATE_COUNT] = {0};
    for (size_t i = 0; i < row->totals_size / 8 && i < STATE_COUNT; i++)
        totals[i] = load_u64(row->totals + i * 8);
    if ((error = states_restore(&group->states, row->start, row->floor, row->frontier, totals, STATE_COUNT)) ||
        (error = map_put(&local->groups, &group->id, sizeof group->id, group))) {
        free(group);
        return error;
    }
    if (row->id >= local->next_group)
        local->next_group = row->id + 1;
    *result = group;
    if (members_add(&topic->groups, group) || (subscription && members_add(&subscription->members, group)))
        return MP_ERR_MEMORY;
    return MP_OK;
}

/* A group of SUBSCRIPTION on TOPIC from offset START on, and its row. */
static enum mp_error group_make(struct local *local, struct topic *topic, struct subscription *subscription,
                                uint64_t start, struct fault *fault)
{
    struct store_group row = {
        .id = local->next_group,
        .topic = topic->id,
        .name = subscription->shared.group,
        .pattern = subscription->pattern_id,
        .start = start,
        .floor = start,
        .frontier = start,
        .event = local->last_event,
        .created = local->time,
    };
    enum mp_error error = local_write(local, fault);
    if (!error)
        error = store_put_group(local->store, &row, fault);
    if (error)
        return error;
    struct group *group;
    if (group_add(local, &row, topic, subscription, &group))
        return fault_memory(fault);
    local_expire_soon(local, topic);
    local_retain_look(local, topic);
    local_mark_ready(local, subscription);
    return MP_OK;
}

/* Whether TOPIC is one of those that a pattern's SUBSCRIPTION means: dead letters are not. */
static bool matches(const struct subscription *subscription, const struct topic *topic)
{
    return !topic->letters && name_matches(subscription->shared.topic, topic->name);
}

enum mp_error local_topic_join(struct local *local, struct topic *topic, bool make, struct fault *fault)
{
    enum mp_error error = MP_OK;
    char key[2 * NAME_MAX_BYTES + 4];
    size_t size = make_key(key, topic->name, strlen(topic->name), "", 0);
    struct subscription *readers = map_get(&local->subscriptions, key, size);
    if (readers) {
        readers->shared.known = true;
        if (members_add(&readers->members, topic) || members_add(&topic->readers, readers))
            return fault_memory(fault);
    }
    for (size_t i = 0; !error && i < local->patterns_count; i++) {
        struct subscription *subscription = local->patterns_list[i];
        if (!matches(subscription, topic) || (!is_reader(subscription) && !subscription->made))
            continue;
        if (is_reader(subscription)) {
            if (members_add(&subscription->members, topic) || members_add(&topic->readers, subscription))
                return fault_memory(fault);
        } else if (make && subscription->made &&
                   !group_of_topic(topic, subscription->shared.group, subscription->pattern_id)) {
            error = group_make(local, topic, subscription, topic->first, fault);
        }
    }
    return error;
}

enum mp_error local_position(struct local *local, const struct topic *topic, enum engine_from from, uint64_t value,
                             uint64_t *offset, struct fault *fault)
{
    uint64_t kept = topic->end - topic->first;
    switch (from) {
    case ENGINE_FROM_NEW:
        *offset = topic->end;
        return MP_OK;
    case ENGINE_FROM_OFFSET:
        *offset = value < topic->first ? topic->first : value > topic->end ? topic->end : value;
        return MP_OK;
    case ENGINE_FROM_LAST:
        *offset = topic->end - (value < kept ? value : kept);
        return MP_OK;
    case ENGINE_FROM_TIME:
        return local_offset_at(local, topic, local_time_of_wall(local, (int64_t)value), offset, fault);
    case ENGINE_FROM_DEFAULT:
    case ENGINE_FROM_START:
        break;
    }
    *offset = topic->first;
    return MP_OK;
}

/* Members of a readers' subscription: the topics that are there. */
static enum mp_error readers_fill(struct local *local, struct subscription *subscription)
{
    struct engine_subscription *shared = &subscription->shared;
    size_t at = 0;
    struct topic *topic;
    if (!shared->pattern) {
        topic = local_topic(local, shared->topic, strlen(shared->topic));
        shared->known = topic != NULL;
        if (topic && (members_add(&subscription->members, topic) || members_add(&topic->readers, subscription)))
            return MP_ERR_MEMORY;
        return MP_OK;
    }
    shared->known = true;
    while ((topic = map_next(&local->topics, &at)))
        if (matches(subscription, topic) &&
            (members_add(&subscription->members, topic) || members_add(&topic->readers, subscription)))
            return MP_ERR_MEMORY;
    return MP_OK;
}

/* The rows of a new group: on one topic, or a pattern and a group for each topic that it matches. */
static enum mp_error groups_make(struct local *local, struct subscription *subscription, enum engine_from from,
                                 uint64_t value, struct fault *fault)
{
    const char *name = subscription->shared.topic;
    struct topic *topic = NULL;
    uint64_t start;
    enum mp_error error = local_write(local, fault);
    if (error)
        return error;
    if (!subscription->shared.pattern) {
        topic = local_topic(local, name, strlen(name));
        if (!topic && (error = local_topic_make(local, name, strlen(name), false, &topic, fault)))
            return error;
        error = local_position(local, topic, from, value, &start, fault);
        return error ? error : group_make(local, topic, subscription, start, fault);
    }
    subscription->pattern_id = local->next_pattern++;
    subscription->pattern_created = local->time;
    struct store_pattern row = {
        .id = subscription->pattern_id, .pattern = name, .group = subscription->shared.group, .created = local->time};
    error = store_put_pattern(local->store, &row, fault);
    size_t at = 0;
    while (!error && (topic = map_next(&local->topics, &at))) {
        if (!matches(subscription, topic))
            continue;
        error = local_position(local, topic, from, value, &start, fault);
        if (!error)
            error = group_make(local, topic, subscription, start, fault);
    }
    return error;
}

/* Whether a group of SUBSCRIPTION was ever given a message. */
static bool was_used(const struct subscription *subscription)
{
    for (size_t i = 0; i < subscription->members.count; i++) {
        const struct group *group = subscription->members.items[i];
        if (group->states.frontier != group->start)
            return true;
    }
    return false;
}

/*
 * A client says where its group begins until it was given something. So the words of the session that made the group
 * are no contradiction; after a restart, when nobody knows who made it, a group that nobody used is taken for its own.
 */
static bool may_say_from(const struct subscription *subscription, uint64_t session)
{
    uint64_t creator = subscription->shared.creator;
    return creator == session || (creator == 0 && !was_used(subscription));
}

enum mp_error local_subscribe(struct engine *engine, const char *topic, size_t topic_size, bool pattern,
                              const char *group, size_t group_size, uint64_t session, enum engine_from from,
                              uint64_t value, struct engine_subscription **result, struct fault *fault)
{
    struct local *local = local_of(engine);
    char key[2 * NAME_MAX_BYTES + 4];
    size_t size = make_key(key, topic, topic_size, group, group_size);
    struct subscription *subscription = map_get(&local->subscriptions, key, size);
    if (!subscription) {
        if (pattern && local->patterns_count == sizeof local->patterns_list / sizeof *local->patterns_list)
            return fault_set(fault, MP_ERR_TOO_LARGE, "the relay has %zu patterns, and can have no more",
                             local->patterns_count);
        if (!pattern && group_size > 0 && local->next_topic >= TOPICS_MAX && !local_topic(local, topic, topic_size))
            return fault_set(fault, MP_ERR_TOO_LARGE, "the relay has %u topics, and can have no more", TOPICS_MAX - 1);
        if (subscription_make(local, topic, topic_size, pattern, group, group_size, &subscription) ||
            (group_size == 0 && readers_fill(local, subscription)))
            return fault_memory(fault);
    }
    *result = &subscription->shared;
    if (group_size == 0)
        return MP_OK;
    if (subscription->made) {
        if (from != ENGINE_FROM_DEFAULT && !may_say_from(subscription, session))
            return fault_set(fault, MP_ERR_EXISTS,
                             "group %s is there already and knows where it stands: leave out --from, or use another "
                             "group's name",
                             subscription->shared.group);
        return MP_OK;
    }
    bool there = pattern || local_topic(local, topic, topic_size);
    enum mp_error error = groups_make(local, subscription, from, value, fault);
    if (error)
        return error;
    subscription->shared.topic_made = !there;
    subscription->made = subscription->shared.known = subscription->shared.created = true;
    subscription->shared.creator = session;
    subscription->used = local->time; /* also a pattern's that matches nothing yet: its life begins now */
    return MP_OK;
}

static void subscription_remove(struct local *local, struct subscription *subscription)
{
    map_remove(&local->subscriptions, subscription->key, subscription->key_size);
    for (size_t i = 0; i < local->patterns_count; i++)
        if (local->patterns_list[i] == subscription)
            local->patterns_list[i] = local->patterns_list[--local->patterns_count];
    for (struct engine_subscription **at = &local->ready; *at; at = &(*at)->next_ready)
        if (*at == &subscription->shared) {
            *at = subscription->shared.next_ready;
            break;
        }
    subscription_free(subscription);
}

void local_forget(struct engine *engine, struct engine_subscription *shared)
{
    struct local *local = local_of(engine);
    struct subscription *subscription = (struct subscription *)shared;
    if (shared->waiters || (!is_reader(subscription) && subscription->made))
        return;
    for (size_t i = 0; is_reader(subscription) && i < subscription->members.count; i++)
        members_remove(&((struct topic *)subscription->members.items[i])->readers, subscription);
    subscription_remove(local, subscription);
}

void local_subscription_gone(struct local *local, struct subscription *subscription)
{
    subscription->made = false;
    subscription->pattern_id = 0;
    subscription->shared.known = subscription->shared.created = false;
    subscription->shared.creator = 0;
    settings_group_default(&subscription->settings);
    local_forget(&local->engine, &subscription->shared);
}

/* Before a reload: who waits goes on waiting, on subscriptions that find their members again. */
void local_subscriptions_detach(struct local *local)
{
    size_t at = 0;
    struct subscription *subscription;
    local->ready = NULL;
    while ((subscription = map_next(&local->subscriptions, &at))) {
        subscription->members.count = 0;
        subscription->turn = 0;
        subscription->shared.ready = false;
        subscription->shared.created = subscription->shared.known = false;
        subscription->shared.creator = 0;
        subscription->shared.known = false;
        subscription->made = false;
        subscription->pattern_id = 0;
        settings_group_default(&subscription->settings);
    }
}

enum mp_error local_readers_attach(struct local *local)
{
    size_t at = 0;
    struct subscription *subscription;
    while ((subscription = map_next(&local->subscriptions, &at))) {
        if (is_reader(subscription) && readers_fill(local, subscription))
            return MP_ERR_MEMORY;
        if (subscription->shared.waiters)
            local_mark_ready(local, subscription);
    }
    return MP_OK;
}

enum mp_error local_pattern_load(struct local *local, const struct store_pattern *row, struct fault *fault)
{
    char key[2 * NAME_MAX_BYTES + 4];
    size_t topic_size = strlen(row->pattern), group_size = strlen(row->group);
    if (topic_size > NAME_MAX_BYTES || group_size > NAME_MAX_BYTES)
        return fault_set(fault, MP_ERR_DAMAGED, "a pattern's name is too long");
    struct subscription *subscription =
        map_get(&local->subscriptions, key, make_key(key, row->pattern, topic_size, row->group, group_size));
    if (!subscription &&
        subscription_make(local, row->pattern, topic_size, true, row->group, group_size, &subscription))
        return fault_memory(fault);
    subscription->pattern_id = row->id;
    subscription->pattern_created = row->created;
    if (subscription->used < row->created)
        subscription->used = row->created;
    subscription->made = subscription->shared.known = true;
    if (row->id >= local->next_pattern)
        local->next_pattern = row->id + 1;
    return local_group_settings_read(local, subscription, row->settings, fault);
}

static struct subscription *pattern_by_id(const struct local *local, uint32_t id)
{
    for (size_t i = 0; i < local->patterns_count; i++)
        if (local->patterns_list[i]->pattern_id == id)
            return local->patterns_list[i];
    return NULL;
}

enum mp_error local_group_load(struct local *local, const struct store_group *row, struct topic *topic,
                               struct fault *fault)
{
    size_t size = strlen(row->name);
    struct subscription *subscription = row->pattern ? pattern_by_id(local, row->pattern) : NULL;
    if (!topic || size > NAME_MAX_BYTES || (row->pattern && !subscription))
        return fault_set(fault, MP_ERR_DAMAGED, "group %u belongs to a topic or pattern that is not there", row->id);
    if (!row->pattern) {
        char key[2 * NAME_MAX_BYTES + 4];
        size_t topic_size = strlen(topic->name);
        subscription = map_get(&local->subscriptions, key, make_key(key, topic->name, topic_size, row->name, size));
        if (!subscription && subscription_make(local, topic->name, topic_size, false, row->name, size, &subscription))
            return fault_memory(fault);
        subscription->made = subscription->shared.known = true;
        enum mp_error error = local_group_settings_read(local, subscription, row->settings, fault);
        if (error)
            return error;
    }
    struct group *group;
    enum mp_error error = group_add(local, row, topic, subscription, &group);
    if (error == MP_ERR_DAMAGED)
        return fault_set(fault, error, "the row of group %u makes no sense", row->id);
    return error ? fault_memory(fault) : MP_OK;
}

uint64_t local_group_waiting(const struct group *group)
{
    return group->topic->end - group->states.frontier + group->states.counts[STATE_WAITING];
}

enum mp_error local_drained(struct engine *engine, const char *topic, const char *name, bool *drained,
                            struct fault *fault)
{
    struct local *local = local_of(engine);
    char key[2 * NAME_MAX_BYTES + 4];
    size_t size = make_key(key, topic, strlen(topic), name, strlen(name));
    const struct subscription *subscription = map_get(&local->subscriptions, key, size);
    if (!subscription || name[0] == '\0')
        return fault_set(fault, MP_ERR_NOT_FOUND, "no group %s on topic %s", name, topic);
    *drained = true;
    for (size_t i = 0; i < subscription->members.count; i++) {
        const struct group *group = subscription->members.items[i];
        if (group->states.floor < group->topic->end)
            *drained = false;
    }
    return MP_OK;
}
