#include "model.h"

/* ---- settlements ----------------------------------------------------------------------------------------------- */

static bool is_held(const struct cell *cell, uint64_t session, uint64_t lease)
{
    return cell->state == STATE_LEASED && cell->session == session && cell->lease == lease;
}

static const struct group_settings *policy_of(const struct trial *trial, unsigned group)
{
    return &trial->now.subscriptions[trial->now.groups[group].subscription].settings;
}

static bool is_exhausted(const struct trial *trial, unsigned group, const struct cell *cell)
{
    uint32_t most = policy_of(trial, group)->max_retries;
    return most != GROUP_RETRIES_UNLIMITED && cell->attempt > most;
}

static struct cell failed_cell(const struct trial *trial, const struct cell *before, int64_t delay)
{
    struct cell after = {.state = STATE_WAITING,
                         .attempt = before->attempt,
                         .failed = before->failed ? before->failed : relay_time(trial)};
    if (delay <= 0)
        return after;
    after.state = STATE_DELAYED;
    after.delay = delay;
    after.due = relay_time(trial) + delay;
    return after;
}

/* Dead, or where there are no letters of letters, tried again as late as the policy knows. */
static struct cell dead_cell(struct trial *trial, unsigned group, uint64_t offset, const struct message *letter)
{
    const struct cell *before = cell_at(trial, group, offset);
    const struct group_settings *policy = policy_of(trial, group);
    struct message death = *letter;
    death.attempts = before->attempt;
    if (reference_bury(trial, group, offset, &death))
        return (struct cell){.state = STATE_DEAD};
    return failed_cell(trial, before,
                       policy->max_interval > policy->initial_interval ? policy->max_interval
                                                                       : policy->initial_interval);
}

/* Its attempt does not count. */
static struct cell released_cell(const struct cell *before)
{
    return (struct cell){
        .state = STATE_WAITING, .attempt = before->attempt - 1, .suspect = before->suspect, .failed = before->failed};
}

/*
 * The delay that the policy chooses, which is known when the request is at its end: until then it is CHOICE. Then what the
 * engine has chosen is taken over when it is between the shortest and the longest that it may be.
 */
#define CHOICE INT64_MAX

static void choose_delay(struct trial *trial, unsigned group, uint64_t offset)
{
    const struct cell *cell = cell_at(trial, group, offset);
    const struct group_settings *policy = policy_of(trial, group);
    double delay = (double)policy->initial_interval, most = (double)policy->max_interval;
    for (uint32_t i = 1; policy->backoff == BACKOFF_EXPONENTIAL && i < cell->attempt && delay < most; i++)
        delay *= 2;
    if (policy->backoff == BACKOFF_LINEAR)
        delay *= cell->attempt;
    if (policy->backoff != BACKOFF_NONE && delay > most)
        delay = most;
    double low = delay * (1 - policy->jitter), high = delay * (1 + policy->jitter);
    if (policy->backoff != BACKOFF_NONE && high > most)
        high = most;
    struct state_run run;
    const struct group *real = trial_real(trial, group);
    int64_t chosen = 0;
    if (states_get(&real->states, offset, &run)) {
        chosen = run.value.state == STATE_DELAYED ? run.value.due + trial->offset - relay_time(trial) : 0;
        if ((double)chosen < low - 1 || (double)chosen > high + 1)
            trial_fail(trial, "offset %llu of group %u is to wait %lld us after attempt %u, and should %.0f to %.0f",
                       (unsigned long long)offset, group, (long long)chosen, cell->attempt, low, high);
    }
    struct cell after = failed_cell(trial, cell, chosen);
    cell_set(trial, group, offset, &after);
}

void reference_settled(struct trial *trial, size_t changes)
{
    for (size_t i = changes, end = trial->changes_count; i < end; i++) {
        struct change change = trial->changes[i];
        const struct cell *cell = cell_at(trial, change.group, change.offset);
        if (cell->state == STATE_DELAYED && cell->delay == CHOICE)
            choose_delay(trial, change.group, change.offset);
    }
}

static struct cell settled_cell(struct trial *trial, unsigned group, uint64_t offset,
                                const struct engine_settlement *settlement)
{
    const struct cell *before = cell_at(trial, group, offset);
    struct message letter = {.reason = (uint8_t)(settlement->reason ? settlement->reason : ENGINE_REASON_REJECTED),
                             .noted = settlement->note_size > 0,
                             .code = settlement->exit_code};
    switch (settlement->action) {
    case ENGINE_ACK:
        return (struct cell){.state = STATE_ACKED};
    case ENGINE_DEAD:
        return dead_cell(trial, group, offset, &letter);
    case ENGINE_RELEASE:
        return released_cell(before);
    case ENGINE_RETRY:
        break;
    }
    letter.reason = ENGINE_REASON_RETRIES;
    if (is_exhausted(trial, group, before))
        return dead_cell(trial, group, offset, &letter);
    if (settlement->delay == ENGINE_DELAY_POLICY) {
        struct cell after = failed_cell(trial, before, 1);
        after.delay = CHOICE;
        return after;
    }
    return failed_cell(trial, before, (int64_t)settlement->delay * MILLISECOND);
}

uint32_t reference_settle(struct trial *trial, unsigned group, uint64_t session,
                          const struct engine_settlement *settlement, uint32_t span, bool change)
{
    const struct group_model *model = &trial->now.groups[group];
    uint64_t end = settlement->first + span, top = trial->now.topics[model->topic].end;
    uint32_t applied = 0;
    for (uint64_t offset = settlement->first < model->low ? model->low : settlement->first;
         offset < end && offset < top; offset++) {
        if (!is_held(cell_at(trial, group, offset), session, settlement->lease))
            continue;
        applied++;
        if (change) {
            struct cell after = settled_cell(trial, group, offset, settlement);
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

/* ---- consumers that leave, or die ------------------------------------------------------------------------------ */

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

uint64_t reference_held(struct trial *trial, uint64_t session, uint64_t *suspects)
{
    struct held held = {0};
    each_leased(trial, session, count_held, &held);
    *suspects = held.suspects;
    return held.count;
}

static void release_held(struct trial *trial, unsigned group, uint64_t offset, void *context)
{
    struct cell after = released_cell(cell_at(trial, group, offset));
    cell_set(trial, group, offset, &after);
    ++*(uint64_t *)context;
}

uint64_t reference_release(struct trial *trial, uint64_t session)
{
    uint64_t released = 0;
    each_leased(trial, session, release_held, &released);
    return released;
}

/* A lease has lapsed when its session held HELD messages: one of several charges nobody, and makes all suspects. */
static struct cell lapsed_cell(struct trial *trial, unsigned group, uint64_t offset, uint64_t held)
{
    const struct cell *cell = cell_at(trial, group, offset);
    const struct message letter = {.reason = ENGINE_REASON_RETRIES, .code = -1};
    if (held > 1 || cell->several) {
        struct cell after = released_cell(cell);
        after.suspect = held < 32 ? 1 : (uint32_t)(held / 16);
        return after;
    }
    if (is_exhausted(trial, group, cell))
        return dead_cell(trial, group, offset, &letter);
    struct cell after = failed_cell(trial, cell, 0);
    after.suspect = 1;
    return after;
}

static void lapse_held(struct trial *trial, unsigned group, uint64_t offset, void *context)
{
    const struct held *held = context;
    struct cell *cell = cell_at(trial, group, offset);
    if (cell->deadline <= trial->moment.monotonic) {
        struct cell after = lapsed_cell(trial, group, offset, held->count);
        cell_set(trial, group, offset, &after);
    } else {
        cell->several |= held->count > 1;
    }
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

/* Several that are due one after the other may be woken together, a little late: as the engine says, if it has the group. */
static bool is_still_delayed(struct trial *trial, unsigned group, uint64_t offset)
{
    if (idle_has_gone(trial, trial->now.groups[group].subscription))
        return false; /* in this very tick */
    const struct group *real = trial_real(trial, group);
    struct state_run run;
    return relay_time(trial) < cell_at(trial, group, offset)->due + WAKE_STEP && real &&
           states_get(&real->states, offset, &run) && run.value.state == STATE_DELAYED;
}

static void wake_delayed(struct trial *trial, unsigned group)
{
    const struct group_model *model = &trial->now.groups[group];
    for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
        const struct cell *cell = cell_at(trial, group, offset);
        if (cell->state != STATE_DELAYED || cell->due > relay_time(trial) || is_still_delayed(trial, group, offset))
            continue;
        struct cell after = {
            .state = STATE_WAITING, .attempt = cell->attempt, .failed = cell->failed, .delay = cell->delay};
        cell_set(trial, group, offset, &after);
    }
}

void reference_tick(struct trial *trial)
{
    reference_move_scheduled(trial);
    for (unsigned session = 0; session < SESSIONS; session++) {
        struct held held = {0};
        each_leased(trial, trial->sessions[session], count_held, &held);
        if (held.lapsed > 0)
            each_leased(trial, trial->sessions[session], lapse_held, &held);
    }
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        wake_delayed(trial, group);
}
