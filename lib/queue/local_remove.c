#include "queue/local.h"

/* The highest numbers that were given out; what is deleted might have had them. */
static const char topics_name[] = STORE_TOPICS_MADE, groups_name[] = "groups_made", patterns_name[] = "patterns_made";

static enum mp_error id_load(struct local *local, const char *name, uint32_t *next, struct fault *fault)
{
    int64_t made = 0;
    enum mp_error error = store_get_number(local->store, name, &made, fault);
    if (error)
        return error == MP_ERR_NOT_FOUND ? MP_OK : error;
    if (made >= *next && made < INT32_MAX)
        *next = (uint32_t)made + 1;
    return MP_OK;
}

enum mp_error local_ids_load(struct local *local, struct fault *fault)
{
    enum mp_error error = id_load(local, topics_name, &local->next_topic, fault);
    if (!error)
        error = id_load(local, groups_name, &local->next_group, fault);
    return error ? error : id_load(local, patterns_name, &local->next_pattern, fault);
}

/* In the transaction of a deletion: a kill cannot come between. */
static enum mp_error ids_save(struct local *local, struct fault *fault)
{
    enum mp_error error = store_put_number(local->store, topics_name, (int64_t)local->next_topic - 1, fault);
    if (!error)
        error = store_put_number(local->store, groups_name, (int64_t)local->next_group - 1, fault);
    return error ? error : store_put_number(local->store, patterns_name, (int64_t)local->next_pattern - 1, fault);
}

/* ---- groups --------------------------------------------------------------------------------------------------- */

static enum mp_error find_group(struct local *local, const char *topic, const char *name,
                                struct subscription **subscription, struct fault *fault)
{
    *subscription = local_subscription(local, topic, strlen(topic), name, strlen(name));
    if (*subscription && (*subscription)->made && name[0] != '\0')
        return MP_OK;
    return fault_set(fault, MP_ERR_NOT_FOUND, "no group %s on topic %s", name, topic);
}

/* MP_ERR_BUSY when somebody holds messages of GROUP. */
static enum mp_error check_leases(const struct group *group, struct fault *fault)
{
    uint64_t leased = group->states.counts[STATE_LEASED];
    if (leased == 0)
        return MP_OK;
    return fault_set(fault, MP_ERR_BUSY, "group %s of topic %s is in use: consumers hold %llu of its messages",
                     group->name, group->topic->name, (unsigned long long)leased);
}

static enum mp_error check_waiters(const struct subscription *subscription, struct fault *fault)
{
    if (!subscription->shared.waiters)
        return MP_OK;
    return fault_set(fault, MP_ERR_BUSY, "group %s of %s %s is in use: a consumer waits for messages",
                     subscription->shared.group, subscription->shared.pattern ? "pattern" : "topic",
                     subscription->shared.topic);
}

static enum mp_error check_members(const struct subscription *subscription, struct fault *fault)
{
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < subscription->members.count; i++)
        error = check_leases(subscription->members.items[i], fault);
    return error;
}

/* Deletes GROUP from the disk and from memory. */
static enum mp_error group_remove(struct local *local, struct group *group, struct fault *fault)
{
    enum mp_error error = store_delete_group(local->store, group->id, fault);
    if (error)
        return error;
    meter_group_gone(local->meter, group->id);
    local_leases_forget(local, group);
    local_retain_look(local, group->topic);
    members_remove(&group->topic->groups, group);
    if (group->subscription) {
        members_remove(&group->subscription->members, group);
        local_mark_ready(local, group->subscription); /* what was leased of it held others back */
    }
    /* Where the topic begins was found by its groups' floors so far. */
    error = local_topic_save(local, group->topic, fault);
    map_remove(&local->groups, &group->id, sizeof group->id);
    if (group->topic->letters)
        local_hold_forget(local);
    local_group_free(group);
    return error;
}

enum mp_error local_group_remove(struct local *local, struct group *group, struct fault *fault)
{
    enum mp_error error = local_write(local, fault);
    if (!error)
        error = ids_save(local, fault);
    return error ? error : group_remove(local, group, fault);
}

/* Deletes SUBSCRIPTION's group in all its topics; the subscription too, unless somebody waits on it. */
static enum mp_error subscription_remove(struct local *local, struct subscription *subscription, struct fault *fault)
{
    enum mp_error error = local_write(local, fault);
    if (!error)
        error = ids_save(local, fault);
    while (!error && subscription->members.count > 0)
        error = group_remove(local, subscription->members.items[0], fault);
    if (!error && subscription->pattern_id)
        error = store_delete_pattern(local->store, subscription->pattern_id, fault);
    if (!error)
        local_subscription_gone(local, subscription);
    return error;
}

enum mp_error local_delete_group(struct engine *engine, const char *topic, const char *name, bool force,
                                 struct fault *fault)
{
    struct local *local = local_of(engine);
    struct subscription *subscription;
    enum mp_error error = find_group(local, topic, name, &subscription, fault);
    if (!error && !force && !(error = check_waiters(subscription, fault)))
        error = check_members(subscription, fault);
    return error ? error : subscription_remove(local, subscription, fault);
}

/* ---- groups that nobody uses ---------------------------------------------------------------------------------- */

/*
 * After a start who uses a group gets so long to come back, whatever the row says: it was written with the last snapshot
 * in which something of the group had changed.
 */
#define COME_BACK (INT64_C(3600) * 1000 * 1000)
enum { EXPIRE_MOST = 16, LOOK_AGAIN = 10 * 1000 * 1000 };

/* When SUBSCRIPTION's group goes if nobody uses it until then; relay time. */
static int64_t idle_end(const struct local *local, const struct subscription *subscription)
{
    int64_t expire = subscription->settings.expire;
    if (!subscription->made || expire == 0)
        return CLOCK_NEVER;
    int64_t end = subscription->used + expire, earliest = local->started + (expire < COME_BACK ? expire : COME_BACK);
    return end > earliest ? end : earliest;
}

static bool is_used(const struct subscription *subscription)
{
    return check_waiters(subscription, NULL) || check_members(subscription, NULL);
}

void local_idle_load(struct local *local)
{
    size_t at = 0;
    const struct subscription *subscription;
    if (local->started == 0)
        local->started = local->time;
    local->idle_due = CLOCK_NEVER;
    while ((subscription = map_next(&local->subscriptions, &at))) {
        int64_t end = idle_end(local, subscription);
        if (end < local->idle_due)
            local->idle_due = end;
    }
}

enum mp_error local_idle_tick(struct local *local, struct fault *fault)
{
    size_t at = 0;
    unsigned removed = 0;
    struct subscription *subscription;
    enum mp_error error = MP_OK;
    if (local->idle_due > local->time)
        return MP_OK;
    local->idle_due = CLOCK_NEVER;
    while (!error && (subscription = map_next(&local->subscriptions, &at))) {
        int64_t end = idle_end(local, subscription);
        if (end <= local->time && is_used(subscription))
            end = local->time + LOOK_AGAIN;
        if (end <= local->time && removed < EXPIRE_MOST) {
            error = subscription_remove(local, subscription, fault);
            removed++;
            at = 0; /* it is another map now */
        } else if (end < local->idle_due) {
            local->idle_due = end;
        }
    }
    return error;
}

/* ---- moving --------------------------------------------------------------------------------------------------- */

enum mp_error local_apply_moved(struct local *local, struct group *group, const struct store_event *event)
{
    if (event->first > group->topic->end)
        return MP_ERR_DAMAGED;
    local_leases_forget(local, group);
    local_order_free(group);
    if (group->topic->letters)
        local_hold_forget(local);
    states_free(&group->states);
    states_begin(&group->states, event->first);
    group->start = event->first;
    group->dead = 0;
    group->hint.frame = UINT64_MAX;
    group->sweep_due = 0;
    local_expire_soon(local, group->topic);
    return MP_OK;
}

/*
 * The group's row is written at once: its blocks are of before the move, and a start must not meet them. From then on
 * the row contains the event.
 */
static enum mp_error group_move(struct local *local, struct group *group, uint64_t start, struct fault *fault)
{
    struct store_event event = {.kind = EVENT_GRANTED, .first = start, .code = -1};
    enum mp_error error = local_event(local, group, &event, fault);
    if (!error)
        error = store_delete_group(local->store, group->id, fault);
    return error ? error : local_group_save(local, group, fault);
}

enum mp_error local_seek_group(struct engine *engine, const char *topic, const char *name, enum engine_from from,
                               uint64_t value, bool force, struct fault *fault)
{
    struct local *local = local_of(engine);
    struct subscription *subscription;
    enum mp_error error = find_group(local, topic, name, &subscription, fault);
    if (!error && !force)
        error = check_members(subscription, fault);
    for (size_t i = 0; !error && i < subscription->members.count; i++) {
        struct group *group = subscription->members.items[i];
        uint64_t start;
        error = local_position(local, group->topic, from, value, &start, fault);
        if (!error)
            error = group_move(local, group, start, fault);
    }
    return error;
}

/* ---- topics --------------------------------------------------------------------------------------------------- */

static enum mp_error find_topic(struct local *local, const char *name, struct topic **topic, struct fault *fault)
{
    *topic = local_topic(local, name, strlen(name));
    return *topic ? MP_OK : fault_set(fault, MP_ERR_NOT_FOUND, "no topic %s", name);
}

enum mp_error local_purge_topic(struct engine *engine, const char *name, uint64_t below, uint64_t *messages,
                                struct fault *fault)
{
    struct local *local = local_of(engine);
    struct topic *topic;
    *messages = 0;
    enum mp_error error = find_topic(local, name, &topic, fault);
    if (error || (error = local_write(local, fault)))
        return error;
    uint64_t end = below < topic->end ? below : topic->end, first = end;
    for (size_t i = 0; !error && i < topic->groups.count; i++) {
        struct group *group = topic->groups.items[i];
        uint64_t dropped;
        error = local_drop(local, group, group->states.floor, end, DROP_PURGED, &dropped, fault);
        if (group->states.floor < first)
            first = group->states.floor;
        if (dropped > *messages)
            *messages = dropped;
    }
    if (error)
        return error;
    if (first > topic->first) {
        if (first - topic->first > *messages)
            *messages = first - topic->first;
        if (topic->groups.count == 0) {
            topic->counters.dropped[DROPPED_PURGED] += first - topic->first;
            local->snapshot_wanted = true; /* no event tells of them */
        }
        local_retain_from(local, topic, first);
    }
    /* What lies below `first` is gone for readers too, also after a kill before its frames are. */
    return local_topic_save(local, topic, fault);
}

static enum mp_error check_topic(const struct topic *topic, struct fault *fault)
{
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < topic->groups.count; i++) {
        const struct group *group = topic->groups.items[i];
        error = check_leases(group, fault);
        if (!error && !group->pattern_id)
            error = check_waiters(group->subscription, fault);
    }
    return error;
}

static void topic_forget(struct local *local, struct topic *topic)
{
    for (size_t i = 0; i < topic->readers.count; i++) {
        struct subscription *readers = topic->readers.items[i];
        members_remove(&readers->members, topic);
        readers->shared.known = readers->shared.pattern;
    }
    map_remove(&local->topics, topic->name, strlen(topic->name));
    map_remove(&local->topics_by_id, &topic->id, sizeof topic->id);
    local_topic_free(topic);
}

enum mp_error local_delete_topic(struct engine *engine, const char *name, bool force, uint64_t *messages,
                                 struct fault *fault)
{
    struct local *local = local_of(engine);
    struct topic *topic;
    *messages = 0;
    enum mp_error error = find_topic(local, name, &topic, fault);
    if (!error && !force)
        error = check_topic(topic, fault);
    if (error || (error = local_write(local, fault)) || (error = ids_save(local, fault)))
        return error;
    *messages = topic->end - topic->first;
    while (!error && topic->groups.count > 0) {
        struct group *group = topic->groups.items[0];
        struct subscription *subscription = group->pattern_id ? NULL : group->subscription;
        error = group_remove(local, group, fault);
        if (!error && subscription)
            local_subscription_gone(local, subscription);
    }
    if (!error)
        error = store_delete_topic(local->store, topic->id, fault);
    if (error)
        return error;
    if (local_retain_forget(local, topic))
        return fault_memory(fault);
    meter_topic_gone(local->meter, topic->id);
    topic_forget(local, topic);
    /* A start will not look at its frames, by which it would know what sessions have published since the snapshot. */
    local->snapshot_wanted = true;
    return MP_OK;
}
