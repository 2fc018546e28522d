#include "model.h"

#include <stdlib.h>

bool cell_is_settled(const struct cell *cell)
{
    return cell->state != STATE_WAITING && cell->state != STATE_DELAYED && cell->state != STATE_LEASED;
}

static void *grow(void *items, size_t *capacity, size_t needed, size_t size)
{
    if (needed <= *capacity)
        return items;
    size_t more = *capacity ? *capacity * 2 : 256;
    while (more < needed)
        more *= 2;
    items = realloc(items, more * size);
    if (!items)
        abort();
    *capacity = more;
    return items;
}

struct cell *cell_at(struct trial *trial, unsigned group, uint64_t offset)
{
    const struct group_model *model = &trial->now.groups[group];
    if (offset < model->start || offset >= trial->now.topics[model->topic].end)
        trial_fail(trial, "offset %llu of group %u is none", (unsigned long long)offset, group);
    return &trial->cells[group][offset];
}

void cell_set(struct trial *trial, unsigned group, uint64_t offset, const struct cell *cell)
{
    struct cell *place = cell_at(trial, group, offset);
    trial->changes = grow(trial->changes, &trial->changes_capacity, trial->changes_count + 1, sizeof *trial->changes);
    trial->changes[trial->changes_count++] = (struct change){group, offset, *place};
    *place = *cell;
    if (cell_is_settled(cell))
        statistics.settled++;
}

/* ---- topics and groups ----------------------------------------------------------------------------------------- */

static void cells_reach(struct trial *trial, unsigned group, uint64_t first, uint64_t end)
{
    trial->cells[group] = grow(trial->cells[group], &trial->cells_capacity[group], end, sizeof(struct cell));
    if (end > first)
        memset(trial->cells[group] + first, 0, (end - first) * sizeof(struct cell));
}

/* Whether another message that TOPIC had within the window had the same id, or key. */
static bool is_duplicate(const struct trial *trial, unsigned topic, const struct message *message)
{
    const struct topic_model *model = &trial->now.topics[topic];
    enum dedupe_by by = model->settings.dedupe_by;
    uint8_t wanted = by == DEDUPE_ID ? message->name : message->key;
    if (by == DEDUPE_NONE || wanted == 0 || message->target != 0)
        return false;
    for (uint64_t offset = model->end; offset-- > 0;) {
        const struct message *other = &trial->messages[topic][offset];
        if (other->time <= model->last_time - model->settings.dedupe_window)
            break;
        if (!other->duplicate && other->target == 0 && (by == DEDUPE_ID ? other->name : other->key) == wanted)
            return true;
    }
    return false;
}

void reference_append(struct trial *trial, unsigned topic, const struct message *messages, uint32_t count,
                      int64_t waited)
{
    reference_make_topic(trial, topic, false);
    struct topic_model *model = &trial->now.topics[topic];
    uint64_t first = model->end;
    trial->messages[topic] =
        grow(trial->messages[topic], &trial->messages_capacity[topic], first + count, sizeof *trial->messages[topic]);
    if (relay_time(trial) > model->last_time)
        model->last_time = relay_time(trial); /* times never fall within a topic */
    for (model->end = first; model->end < first + count; model->end++) {
        struct message *message = &trial->messages[topic][model->end];
        *message = messages[model->end - first];
        message->time = model->last_time;
        message->expires = message->life > 0 ? model->last_time - waited + message->life : 0;
        message->duplicate = is_duplicate(trial, topic, message);
        message->frame = first;
    }
    rate_take(&trial->rates[topic], model->settings.rate, count, trial->moment.monotonic);
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        if (trial->now.groups[group].topic == topic)
            cells_reach(trial, group, first, model->end);
}

/* A place whose cells no rollback needs. */
static unsigned free_place(struct trial *trial)
{
    struct reference *now = &trial->now;
    for (unsigned group = 0; group < now->groups_count; group++)
        if (now->groups[group].subscription == NOBODY &&
            (group >= trial->committed.groups_count || trial->committed.groups[group].subscription == NOBODY))
            return group;
    if (now->groups_count == GROUPS_MAX)
        trial_fail(trial, "the model has too many groups");
    return now->groups_count++;
}

static void make_group(struct trial *trial, unsigned subscription, unsigned topic, uint64_t start)
{
    struct reference *now = &trial->now;
    unsigned group = free_place(trial);
    now->groups[group] = (struct group_model){
        .topic = topic, .subscription = subscription, .start = start, .low = start, .checked = start};
    trial->real[group] = NULL;
    trial->used[subscription] = relay_time(trial);
    cells_reach(trial, group, start, now->topics[topic].end);
}

bool reference_is_of(const struct trial *trial, unsigned index, unsigned topic)
{
    return subscription_is_of(index, topic) && !(subscription_is_pattern(index) && trial->now.topics[topic].letters);
}

void reference_make_topic(struct trial *trial, unsigned topic, bool letters)
{
    struct topic_model *model = &trial->now.topics[topic];
    if (model->exists)
        return;
    *model = (struct topic_model){.exists = true, .letters = letters};
    settings_topic_default(&model->settings);
    for (unsigned i = 0; i < SUBSCRIPTIONS; i++)
        if (trial->now.subscriptions[i].made && subscription_is_pattern(i) && reference_is_of(trial, i, topic))
            make_group(trial, i, topic, model->first);
}

void reference_letters_topic(struct trial *trial, unsigned topic)
{
    unsigned mretry = topic * (GROUP_NAMES + 1) + MRETRY;
    struct topic_model *model = &trial->now.topics[topic];
    if (model->exists && model->letters)
        return;
    reference_make_topic(trial, topic, true);
    model->letters = true;
    if (!trial->now.subscriptions[mretry].made)
        reference_make_groups(trial, mretry, SESSIONS, ENGINE_FROM_DEFAULT, 0);
}

unsigned reference_group(const struct trial *trial, unsigned index, unsigned topic)
{
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        if (trial->now.groups[group].subscription == index && trial->now.groups[group].topic == topic)
            return group;
    return GROUPS_MAX;
}

void reference_delete_group(struct trial *trial, unsigned group)
{
    trial->now.groups[group] = (struct group_model){.topic = NOWHERE, .subscription = NOBODY};
    trial->real[group] = NULL;
}

void reference_delete_topic(struct trial *trial, unsigned topic)
{
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        unsigned subscription = trial->now.groups[group].subscription;
        if (trial->now.groups[group].topic != topic)
            continue;
        if (!subscription_is_pattern(subscription))
            trial->now.subscriptions[subscription] = (struct subscription_model){0};
        reference_delete_group(trial, group);
    }
    trial->now.topics[topic] = (struct topic_model){0};
    trial->rates[topic] = (struct rate){0};
    for (unsigned i = 0; i < trial->now.schedule_count; i++)
        if (trial->now.schedule[i].topic == topic)
            trial->now.schedule[i].topic = NOWHERE;
    if (!trial->deleted[topic]) {
        trial->deleted[topic] = trial->messages[topic];
        trial->deleted_capacity[topic] = trial->messages_capacity[topic];
    } else {
        free(trial->messages[topic]); /* made and deleted in one turn */
    }
    trial->messages[topic] = NULL;
    trial->messages_capacity[topic] = 0;
}

void reference_move_group(struct trial *trial, unsigned group, uint64_t start)
{
    struct group_model *model = &trial->now.groups[group];
    if (model->start > start)
        model->start = start;
    for (uint64_t offset = model->start; offset < trial->now.topics[model->topic].end; offset++)
        cell_set(trial, group, offset, &(struct cell){.state = STATE_WAITING});
    *model = (struct group_model){
        .topic = model->topic, .subscription = model->subscription, .start = start, .low = start, .checked = start};
}

uint64_t reference_position(const struct trial *trial, unsigned topic, enum engine_from from, uint64_t value)
{
    const struct topic_model *model = &trial->now.topics[topic];
    uint64_t offset = model->first;
    switch (from) {
    case ENGINE_FROM_NEW:
        return model->end;
    case ENGINE_FROM_OFFSET:
        return value < model->first ? model->first : value > model->end ? model->end : value;
    case ENGINE_FROM_LAST:
        return value > model->end - model->first ? model->first : model->end - value;
    case ENGINE_FROM_TIME: /* the wall clock's */
        value += (uint64_t)(relay_time(trial) - trial->moment.wall);
        while (offset < model->end && trial->messages[topic][offset].time < (int64_t)value)
            offset++;
        return offset;
    case ENGINE_FROM_DEFAULT:
    case ENGINE_FROM_START:
        break;
    }
    return offset;
}

void reference_make_groups(struct trial *trial, unsigned subscription, unsigned session, enum engine_from from,
                           uint64_t value)
{
    struct subscription_model *model = &trial->now.subscriptions[subscription];
    *model = (struct subscription_model){.creator = session < SESSIONS ? trial->sessions[session] : 0};
    settings_group_default(&model->settings);
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        if (!reference_is_of(trial, subscription, topic))
            continue;
        if (!subscription_is_pattern(subscription))
            reference_make_topic(trial, topic, false);
        if (trial->now.topics[topic].exists)
            make_group(trial, subscription, topic, reference_position(trial, topic, from, value));
    }
    model->made = true;
    trial->used[subscription] = relay_time(trial);
}

/* ---- commits --------------------------------------------------------------------------------------------------- */

void reference_commit(struct trial *trial)
{
    trial->committed = trial->now;
    trial->changes_count = 0;
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        free(trial->deleted[topic]);
        trial->deleted[topic] = NULL;
    }
}

void reference_rollback(struct trial *trial)
{
    letters_forget(trial);
    while (trial->changes_count > 0) {
        const struct change *change = &trial->changes[--trial->changes_count];
        trial->cells[change->group][change->offset] = change->before;
    }
    trial->now = trial->committed;
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        if (!trial->deleted[topic])
            continue;
        free(trial->messages[topic]);
        trial->messages[topic] = trial->deleted[topic];
        trial->messages_capacity[topic] = trial->deleted_capacity[topic];
        trial->deleted[topic] = NULL;
    }
}

/*
 * What is delayed is due at the same relay time. When a reboot with a clock that had been set back made relay time go
 * back a little, it waits no longer than it was to wait at first. What was woken may be found delayed, and due.
 */
static void take_delay(struct trial *trial, unsigned group, uint64_t offset, struct cell *cell,
                       const struct state_run *run)
{
    int64_t now = relay_time(trial), due = run->value.due + trial->offset;
    int64_t wanted = cell->state == STATE_DELAYED && cell->due > now ? cell->due : now;
    if (due > now + cell->delay || (trial->exact && due != wanted))
        trial_fail(trial, "group %u: after a start offset %llu is due at %lld instead of %lld; it is %lld", group,
                   (unsigned long long)offset, (long long)due, (long long)wanted, (long long)now);
    cell->state = STATE_DELAYED;
    cell->due = due;
}

void reference_loaded(struct trial *trial)
{
    for (unsigned i = 0; i < SUBSCRIPTIONS; i++)
        trial->now.subscriptions[i].creator = trial->committed.subscriptions[i].creator = 0;
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        const struct group *real = trial_real(trial, group);
        for (uint64_t offset = model->low; real && offset < trial->now.topics[model->topic].end; offset++) {
            struct cell *cell = cell_at(trial, group, offset);
            struct state_run run;
            if (cell->state == STATE_LEASED)
                cell->deadline = trial->moment.monotonic + (int64_t)trial->settings.lease * MILLISECOND;
            cell->several = false;
            if ((cell->state == STATE_WAITING || cell->state == STATE_DELAYED) &&
                states_get(&real->states, offset, &run) && run.value.state == STATE_DELAYED)
                take_delay(trial, group, offset, cell, &run);
        }
    }
}
