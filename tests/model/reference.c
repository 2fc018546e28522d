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
    memset(trial->cells[group] + first, 0, (end - first) * sizeof(struct cell));
}

void reference_append(struct trial *trial, unsigned topic, const struct message *messages, uint32_t count)
{
    reference_make_topic(trial, topic);
    struct topic_model *model = &trial->now.topics[topic];
    uint64_t first = model->end;
    trial->messages[topic] =
        grow(trial->messages[topic], &trial->messages_capacity[topic], first + count, sizeof *trial->messages[topic]);
    if (relay_time(trial) > model->last_time)
        model->last_time = relay_time(trial); /* times never fall within a topic */
    for (model->end = first; model->end < first + count; model->end++) {
        trial->messages[topic][model->end] = messages[model->end - first];
        trial->messages[topic][model->end].time = model->last_time;
    }
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
    cells_reach(trial, group, start, now->topics[topic].end);
}

void reference_make_topic(struct trial *trial, unsigned topic)
{
    struct topic_model *model = &trial->now.topics[topic];
    if (model->exists)
        return;
    model->exists = true;
    for (unsigned i = 0; i < SUBSCRIPTIONS; i++)
        if (trial->now.subscriptions[i].made && subscription_is_pattern(i) && subscription_is_of(i, topic))
            make_group(trial, i, topic, model->first);
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
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        if (!subscription_is_of(subscription, topic))
            continue;
        if (!subscription_is_pattern(subscription))
            reference_make_topic(trial, topic);
        if (trial->now.topics[topic].exists)
            make_group(trial, subscription, topic, reference_position(trial, topic, from, value));
    }
    model->made = true;
    model->creator = trial->sessions[session];
}

/* ---- what happens to messages ---------------------------------------------------------------------------------- */

static bool is_held(const struct cell *cell, uint64_t session, uint64_t lease)
{
    return cell->state == STATE_LEASED && cell->session == session && cell->lease == lease;
}

enum { RETRIES = 20 }; /* a group's, unless it is told otherwise */

static struct cell dead_cell(struct trial *trial, unsigned group)
{
    struct letters_model *letters = &trial->now.letters[trial->now.groups[group].topic];
    letters->exists = true;
    letters->letters++;
    return (struct cell){.state = STATE_DEAD};
}

/* Its attempt does not count. */
static struct cell released_cell(const struct cell *before)
{
    return (struct cell){
        .state = STATE_WAITING, .attempt = before->attempt - 1, .suspect = before->suspect, .failed = before->failed};
}

static struct cell settled_cell(struct trial *trial, unsigned group, const struct cell *before,
                                const struct engine_settlement *settlement)
{
    struct cell after = {.state = STATE_WAITING,
                         .attempt = before->attempt,
                         .failed = before->failed ? before->failed : relay_time(trial)};
    switch (settlement->action) {
    case ENGINE_ACK:
        return (struct cell){.state = STATE_ACKED};
    case ENGINE_DEAD:
        return dead_cell(trial, group);
    case ENGINE_RELEASE:
        return released_cell(before);
    case ENGINE_RETRY:
        break;
    }
    if (before->attempt > RETRIES)
        return dead_cell(trial, group);
    if (settlement->delay > 0) {
        after.state = STATE_DELAYED;
        after.delay = (int64_t)settlement->delay * MILLISECOND;
        after.due = relay_time(trial) + after.delay;
    }
    return after;
}

uint32_t reference_settle(struct trial *trial, unsigned group, uint64_t session,
                          const struct engine_settlement *settlement, uint32_t span, bool change)
{
    const struct group_model *model = &trial->now.groups[group];
    uint64_t end = settlement->first + span, top = trial->now.topics[model->topic].end;
    uint32_t applied = 0;
    for (uint64_t offset = settlement->first < model->low ? model->low : settlement->first;
         offset < end && offset < top; offset++) {
        const struct cell *cell = cell_at(trial, group, offset);
        if (!is_held(cell, session, settlement->lease))
            continue;
        applied++;
        if (change) {
            struct cell after = settled_cell(trial, group, cell, settlement);
            cell_set(trial, group, offset, &after);
        }
    }
    return applied;
}

uint64_t reference_count(struct trial *trial, unsigned group, enum state state)
{
    const struct group_model *model = &trial->now.groups[group];
    uint64_t count = 0;
    for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++)
        count += cell_at(trial, group, offset)->state == state;
    return count;
}

uint64_t reference_drop(struct trial *trial, unsigned group)
{
    const struct group_model *model = &trial->now.groups[group];
    uint64_t dropped = 0;
    for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
        enum state state = cell_at(trial, group, offset)->state;
        if (state != STATE_WAITING && state != STATE_DELAYED)
            continue;
        cell_set(trial, group, offset, &(struct cell){.state = STATE_DROPPED});
        dropped++;
    }
    return dropped;
}

uint64_t reference_release(struct trial *trial, uint64_t session)
{
    uint64_t released = 0;
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
            const struct cell *cell = cell_at(trial, group, offset);
            if (cell->state != STATE_LEASED || cell->session != session)
                continue;
            struct cell after = released_cell(cell);
            cell_set(trial, group, offset, &after);
            released++;
        }
    }
    return released;
}

/* The publication that is due first; SCHEDULE_MAX: none is. */
static unsigned next_scheduled(const struct trial *trial)
{
    const struct parcel *schedule = trial->now.schedule;
    unsigned next = SCHEDULE_MAX;
    for (unsigned i = 0; i < trial->now.schedule_count; i++)
        if (schedule[i].due <= relay_time(trial) && (next == SCHEDULE_MAX || schedule[i].due < schedule[next].due))
            next = i;
    return next;
}

static void move_scheduled(struct trial *trial)
{
    struct reference *now = &trial->now;
    unsigned next;
    while ((next = next_scheduled(trial)) < SCHEDULE_MAX) {
        const struct parcel *parcel = &now->schedule[next];
        if (parcel->topic != NOWHERE)
            reference_append(trial, parcel->topic, parcel->messages, parcel->count);
        now->schedule_count--;
        memmove(&now->schedule[next], &now->schedule[next + 1], (now->schedule_count - next) * sizeof *parcel);
    }
}

/* What becomes of CELL, whose lease has lapsed when its session held HELD messages. */
static struct cell lapsed_cell(struct trial *trial, unsigned group, const struct cell *cell, uint64_t held)
{
    if (held > 1 || cell->several) {
        struct cell after = released_cell(cell);
        after.suspect = held < 32 ? 1 : (uint32_t)(held / 16);
        return after;
    }
    if (cell->attempt > RETRIES)
        return dead_cell(trial, group);
    return (struct cell){.state = STATE_WAITING,
                         .attempt = cell->attempt,
                         .suspect = 1,
                         .failed = cell->failed ? cell->failed : relay_time(trial)};
}

/* Calls EACH for every cell that is leased to SESSION. */
static void each_leased(struct trial *trial, uint64_t session,
                        void (*each)(struct trial *trial, unsigned group, uint64_t offset, void *context),
                        void *context)
{
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
            const struct cell *cell = cell_at(trial, group, offset);
            if (cell->state == STATE_LEASED && cell->session == session)
                each(trial, group, offset, context);
        }
    }
}

/* What a session holds. */
struct held {
    uint64_t count, lapsed, suspects;
};

static void count_held(struct trial *trial, unsigned group, uint64_t offset, void *context)
{
    struct held *held = context;
    const struct cell *cell = cell_at(trial, group, offset);
    held->count++;
    held->suspects += cell->suspect > 0;
    held->lapsed += cell->deadline <= trial->moment.monotonic;
}

static void lapse_held(struct trial *trial, unsigned group, uint64_t offset, void *context)
{
    const struct held *held = context;
    struct cell *cell = cell_at(trial, group, offset);
    if (cell->deadline <= trial->moment.monotonic) {
        struct cell after = lapsed_cell(trial, group, cell, held->count);
        cell_set(trial, group, offset, &after);
    } else {
        cell->several |= held->count > 1;
    }
}

uint64_t reference_held(struct trial *trial, uint64_t session, uint64_t *suspects)
{
    struct held held = {0};
    each_leased(trial, session, count_held, &held);
    *suspects = held.suspects;
    return held.count;
}

void reference_tick(struct trial *trial)
{
    move_scheduled(trial);
    for (unsigned session = 0; session < SESSIONS; session++) {
        struct held held = {0};
        each_leased(trial, trial->sessions[session], count_held, &held);
        if (held.lapsed > 0)
            each_leased(trial, trial->sessions[session], lapse_held, &held);
    }
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
            const struct cell *cell = cell_at(trial, group, offset);
            if (cell->state != STATE_DELAYED || cell->due > relay_time(trial))
                continue;
            struct cell after = {
                .state = STATE_WAITING, .attempt = cell->attempt, .failed = cell->failed, .delay = cell->delay};
            cell_set(trial, group, offset, &after);
        }
    }
}

/* ---- commits --------------------------------------------------------------------------------------------------- */

void reference_commit(struct trial *trial)
{
    for (unsigned topic = 0; topic < TOPICS; topic++)
        trial->now.letters[topic].sent = trial->now.letters[topic].letters;
    trial->committed = trial->now;
    trial->changes_count = 0;
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        free(trial->deleted[topic]);
        trial->deleted[topic] = NULL;
    }
}

void reference_rollback(struct trial *trial)
{
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
