#include "model.h"

struct group *trial_real(struct trial *trial, unsigned group)
{
    if (trial->real[group] || trial->now.groups[group].subscription == NOBODY)
        return trial->real[group];
    const struct group_model *model = &trial->now.groups[group];
    const char *name = topic_name(model->topic), *wanted = subscription_group(model->subscription);
    struct topic *topic = local_topic(local_of(trial->engine), name, strlen(name));
    for (size_t i = 0; topic && i < topic->groups.count; i++) {
        struct group *real = topic->groups.items[i];
        if (strcmp(real->name, wanted) == 0 && real->subscription &&
            strcmp(real->subscription->shared.topic, subscription_on(model->subscription)) == 0)
            return trial->real[group] = real;
    }
    return NULL;
}

static const char *const state_names[STATE_COUNT] = {"waiting", "delayed", "leased",    "acked",  "dead",
                                                     "expired", "dropped", "duplicate", "foreign"};

static _Noreturn void tell_difference(struct trial *trial, unsigned group, uint64_t offset, const struct cell *cell,
                                      const struct state_value *value)
{
    const struct group_model *model = &trial->now.groups[group];
    trial_fail(trial,
               "offset %llu of %s for group %s on %s is %s (attempt %u, suspect %u, failed %lld, due %lld, session "
               "%llx, lease %llu) in the engine and %s (attempt %u, suspect %u, failed %lld, due %lld, session %llx, "
               "lease %llu) in the model",
               (unsigned long long)offset, topic_name(model->topic), subscription_group(model->subscription),
               subscription_on(model->subscription), state_names[value->state], value->attempt, value->suspect,
               (long long)value->failed, (long long)(value->state == STATE_DELAYED ? value->due + trial->offset : 0),
               (unsigned long long)value->session, (unsigned long long)value->lease, state_names[cell->state],
               cell->attempt, cell->suspect, (long long)cell->failed,
               (long long)(cell->state == STATE_DELAYED ? cell->due : 0), (unsigned long long)cell->session,
               (unsigned long long)cell->lease);
}

static bool is_same(const struct trial *trial, const struct cell *cell, const struct state_value *value)
{
    if (cell->state != value->state)
        return false;
    if (cell_is_settled(cell))
        return true;
    if (cell->state == STATE_LEASED && (cell->session != value->session || cell->lease != value->lease))
        return false;
    if (cell->state == STATE_DELAYED && cell->due != value->due + trial->offset)
        return false;
    return cell->attempt == value->attempt && cell->suspect == value->suspect && cell->failed == value->failed;
}

/* What ends by itself is found to have ended when somebody looks, or by a sweep: the engine's to choose. */
static void take_end(struct trial *trial, unsigned group, uint64_t offset, enum state state)
{
    if (cell_may_end(trial, group, offset, state))
        cell_set(trial, group, offset, &(struct cell){.state = state});
}

static const enum state own_ends[] = {STATE_FOREIGN, STATE_DUPLICATE, STATE_EXPIRED};

/* The one way in which a cell may have ended by itself; STATE_COUNT: there are several. */
static enum state only_end(const struct trial *trial, unsigned group, uint64_t offset)
{
    enum state found = STATE_WAITING;
    for (unsigned i = 0; i < 3; i++)
        if (cell_may_end(trial, group, offset, own_ends[i]))
            found = found == STATE_WAITING ? own_ends[i] : STATE_COUNT;
    return found;
}

/*
 * Below the floor only totals tell in which states messages ended. What the reference has not ended yet has expired, was
 * a duplicate or not for the group; where it may be several of these, it is what the totals still lack.
 */
static void take_ends_below(struct trial *trial, unsigned group, const struct states *states)
{
    struct group_model *model = &trial->now.groups[group];
    const struct cell *cells = trial->cells[group];
    uint64_t open = 0;
    for (uint64_t offset = model->checked; offset < states->floor; offset++) {
        if (!cell_is_settled(&cells[offset]))
            take_end(trial, group, offset, only_end(trial, group, offset));
        if (cell_is_settled(&cells[offset]))
            model->totals[cells[offset].state]++;
        else
            open++;
    }
    for (uint64_t offset = model->checked; open > 0 && offset < states->floor; offset++) {
        for (unsigned i = 0; i < 3 && !cell_is_settled(&cells[offset]); i++) {
            if (model->totals[own_ends[i]] >= states->totals[own_ends[i]])
                continue;
            take_end(trial, group, offset, own_ends[i]);
            model->totals[own_ends[i]] += cell_is_settled(&cells[offset]);
        }
    }
}

/* What the group's cells say together. */
struct totals {
    uint64_t leased;
    int64_t due; /* when something of it ends by time */
};

static void count_cell(struct trial *trial, unsigned group, const struct cell *cell, struct totals *totals)
{
    if (cell->state == STATE_WAITING)
        trial->waiting[group]++;
    if (cell->state == STATE_LEASED) {
        totals->leased++;
        if (cell->deadline < totals->due)
            totals->due = cell->deadline;
    }
    if (cell->state == STATE_DELAYED && cell->due + WAKE_STEP - trial->offset < totals->due)
        totals->due = cell->due + WAKE_STEP - trial->offset;
}

/* What lies below the engine's floor is settled in the reference, too, and was counted by the state that it ended in. */
static void compare_totals(struct trial *trial, unsigned group, const struct states *states)
{
    struct group_model *model = &trial->now.groups[group];
    const struct cell *cells = trial->cells[group];
    take_ends_below(trial, group, states);
    for (; model->checked < states->floor; model->checked++)
        if (!cell_is_settled(&cells[model->checked]))
            tell_difference(trial, group, model->checked, &cells[model->checked],
                            &(struct state_value){.state = STATE_ACKED});
    if (model->checked > states->floor)
        trial_fail(trial, "the floor of group %u fell to %llu", group, (unsigned long long)states->floor);
    for (unsigned state = 0; state < STATE_COUNT; state++)
        if (states->totals[state] != model->totals[state])
            trial_fail(trial, "group %u has ended %llu messages as %s instead of %llu", group,
                       (unsigned long long)states->totals[state], state_names[state],
                       (unsigned long long)model->totals[state]);
}

static bool same_number(double one, double other)
{
    return one >= other && one <= other;
}

static bool same_topic_settings(const struct topic_settings *one, const struct topic_settings *other)
{
    return one->ttl == other->ttl && one->dedupe_by == other->dedupe_by && one->dedupe_window == other->dedupe_window &&
           one->max_messages == other->max_messages && one->max_bytes == other->max_bytes &&
           same_number(one->rate, other->rate) && one->overflow == other->overflow &&
           one->retain_age == other->retain_age && one->retain_bytes == other->retain_bytes;
}

static bool same_group_settings(const struct group_settings *one, const struct group_settings *other)
{
    return one->max_retries == other->max_retries && one->backoff == other->backoff &&
           one->initial_interval == other->initial_interval && one->max_interval == other->max_interval &&
           strcmp(one->dead_letter, other->dead_letter) == 0 && one->max_in_flight == other->max_in_flight &&
           one->order_by_key == other->order_by_key && one->expire == other->expire &&
           same_number(one->rate, other->rate) && one->hold_on_dead == other->hold_on_dead;
}

static void compare_group(struct trial *trial, unsigned group, struct totals *totals)
{
    struct group_model *model = &trial->now.groups[group];
    const struct group *real = trial_real(trial, group);
    uint64_t end = trial->now.topics[model->topic].end;
    struct fault fault = {0};
    if (!real)
        trial_fail(trial, "group %s on %s is not there for %s", subscription_group(model->subscription),
                   subscription_on(model->subscription), topic_name(model->topic));
    const struct states *states = &real->states;
    if (!same_group_settings(&real->subscription->settings, &trial->now.subscriptions[model->subscription].settings))
        trial_fail(trial, "group %s on %s has other settings", real->name, real->subscription->shared.topic);
    if (states_check(states, &fault))
        trial_fail(trial, "group %s on %s: %s", real->name, real->topic->name, fault_text(&fault));
    if (real->start != model->start || states->floor < model->start || states->frontier > end)
        trial_fail(trial, "group %s on %s reaches from %llu (start %llu) to %llu", real->name, real->topic->name,
                   (unsigned long long)states->floor, (unsigned long long)real->start,
                   (unsigned long long)states->frontier);
    compare_totals(trial, group, states);
    const struct cell *cells = trial->cells[group];
    trial->waiting[group] = 0;
    struct state_run run = {.first = states->floor};
    for (uint64_t offset = states->floor; offset < end; offset++) {
        if (offset >= states->frontier)
            run.value = (struct state_value){.state = STATE_WAITING};
        else if (offset >= run.first + run.count && !states_get(states, offset, &run))
            trial_fail(trial, "offset %llu of group %s on %s is in no state", (unsigned long long)offset, real->name,
                       real->topic->name);
        if (cells[offset].state != run.value.state)
            take_end(trial, group, offset, run.value.state);
        if (!is_same(trial, &cells[offset], &run.value))
            tell_difference(trial, group, offset, &cells[offset], &run.value);
        count_cell(trial, group, &cells[offset], totals);
    }
    while (model->low < end && cell_is_settled(&cells[model->low]))
        model->low++;
    if (states->floor != model->low)
        trial_fail(trial, "the floor of group %s on %s is %llu instead of %llu", real->name, real->topic->name,
                   (unsigned long long)states->floor, (unsigned long long)model->low);
}

static void compare_topics(struct trial *trial)
{
    const struct local *local = local_of(trial->engine);
    size_t there = 0, groups = 0;
    for (unsigned i = 0; i < TOPICS; i++) {
        const struct topic_model *model = &trial->now.topics[i];
        const struct topic *real = local_topic(local_of(trial->engine), topic_name(i), strlen(topic_name(i)));
        there += model->exists;
        if ((real != NULL) != model->exists)
            trial_fail(trial, "topic %s is %s", topic_name(i), real ? "there" : "not there");
        if (real && (real->letters != model->letters || !same_topic_settings(&real->settings, &model->settings)))
            trial_fail(trial, "topic %s has other settings", topic_name(i));
        if (real)
            retention_take_first(trial, i, real);
        if (real && (real->first != model->first || real->end != model->end))
            trial_fail(trial, "topic %s reaches from %llu to %llu instead of %llu to %llu", topic_name(i),
                       (unsigned long long)real->first, (unsigned long long)real->end, (unsigned long long)model->first,
                       (unsigned long long)model->end);
    }
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        groups += trial->now.groups[group].subscription != NOBODY;
    if (local->topics.count != there || local->groups.count != groups)
        trial_fail(trial, "there are %zu topics and %zu groups", local->topics.count, local->groups.count);
}

static uint64_t leased_by_engine(const struct trial *trial)
{
    const struct local *local = local_of(trial->engine);
    size_t at = 0;
    uint64_t leased = 0;
    const struct lease *lease;
    while ((lease = map_next(&local->leases, &at)))
        leased += lease->unsettled;
    return leased;
}

/* Who waits for the group of subscription INDEX and was not told gets nothing; or not yet, for the group's rate. */
static void compare_waiter(struct trial *trial, unsigned index, struct totals *totals)
{
    const struct subscription *subscription = (const struct subscription *)trial->handles[index];
    double rate = trial->now.subscriptions[index].settings.rate;
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        if (trial->now.groups[group].subscription != index || trial->waiting[group] == 0 ||
            trial->real[group]->goes_on || in_flight_left(trial, index) == 0 || !has_grantable(trial, group))
            continue;
        if (rate <= 0)
            trial_fail(trial, "nobody tells who waits for group %s on %s that %llu messages are there",
                       subscription->shared.group, subscription->shared.topic,
                       (unsigned long long)trial->waiting[group]);
        int64_t next = rate_due(&subscription->rate, rate, trial->moment.monotonic);
        if (next < totals->due)
            totals->due = next;
    }
}

/* Whoever waits is told when there is something, or when time brings it. */
static void compare_wakers(struct trial *trial, struct totals *totals)
{
    const struct engine_subscription *handle;
    bool ready = local_of(trial->engine)->ready != NULL;
    for (unsigned index = 0; index < SUBSCRIPTIONS; index++) {
        if (!(handle = trial->handles[index]))
            continue;
        if (!trial->waits[index] || handle->ready)
            continue;
        if (local_of(trial->engine)->held_up && totals->leased > 0)
            continue; /* there is something, but not for everybody; who settles wakes the others */
        if (handle->group[0] != '\0')
            compare_waiter(trial, index, totals);
        for (unsigned topic = 0; topic < TOPICS && handle->group[0] == '\0'; topic++)
            if (reference_is_of(trial, index, topic) && trial->now.topics[topic].end > trial->news[topic])
                trial_fail(trial, "nobody tells the readers of %s that there are new messages", handle->topic);
    }
    int64_t due = trial->call->due(trial->engine);
    if (due > totals->due && due > trial->moment.monotonic)
        trial_fail(trial, "the engine is due at %lld, and should be at %lld", (long long)due, (long long)totals->due);
    if (trial->ticked && !ready && due <= trial->moment.monotonic)
        trial_fail(trial, "the engine is still due at %lld after a tick at %lld", (long long)due,
                   (long long)trial->moment.monotonic);
}

void trial_compare(struct trial *trial)
{
    struct totals totals = {.due = CLOCK_NEVER};
    schedule_compare(trial, &totals.due);
    letters_look(trial);
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        if (trial->now.groups[group].subscription != NOBODY)
            compare_group(trial, group, &totals);
    compare_topics(trial);
    if (leased_by_engine(trial) != totals.leased)
        trial_fail(trial, "leases hold %llu messages instead of %llu", (unsigned long long)leased_by_engine(trial),
                   (unsigned long long)totals.leased);
    compare_wakers(trial, &totals);
}
