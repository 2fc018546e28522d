#include "queue/local.h"

#include <stdlib.h>

static struct holder *holder_of(const struct local *local, uint64_t session)
{
    return map_get(&local->holders, &session, sizeof session);
}

struct lease *local_lease(struct local *local, uint64_t session, uint64_t number, const struct group *group)
{
    struct lease_key key = {session, number, group->id};
    return map_get(&local->leases, &key, sizeof key);
}

enum mp_error local_lease_add(struct local *local, uint64_t session, uint64_t number, struct group *group,
                              uint64_t first, uint32_t span, uint32_t count, bool suspect, int64_t deadline)
{
    struct lease *lease = local_lease(local, session, number, group);
    if (deadline < local->lease_due)
        local->lease_due = deadline;
    if (lease) {
        if (first < lease->first)
            lease->first = first;
        if (first + span > lease->end)
            lease->end = first + span;
        lease->unsettled += count;
        if (suspect && !lease->suspect) {
            lease->suspect = true;
            holder_of(local, session)->suspects++;
        }
        return MP_OK;
    }
    struct holder *holder = map_make(&local->holders, &session, sizeof session, sizeof *holder);
    if (!holder)
        return MP_ERR_MEMORY;
    if (!(lease = calloc(1, sizeof *lease)))
        return MP_ERR_MEMORY;
    *lease = (struct lease){.next = holder->leases,
                            .key = {session, number, group->id},
                            .group = group,
                            .first = first,
                            .end = first + span,
                            .unsettled = count,
                            .suspect = suspect,
                            .deadline = deadline,
                            .granted = local->now.monotonic};
    if (map_put(&local->leases, &lease->key, sizeof lease->key, lease)) {
        free(lease);
        return MP_ERR_MEMORY; /* the turn is undone, and with it a holder without leases */
    }
    if (lease->next)
        lease->next->previous = lease;
    holder->leases = lease;
    holder->count++;
    holder->suspects += suspect;
    return MP_OK;
}

/* Somebody was given nothing because of what he held, or somebody: whoever waits is looked at again. */
static void wake_held_up(struct local *local)
{
    size_t at = 0;
    struct subscription *subscription;
    local->held_up = false;
    while ((subscription = map_next(&local->subscriptions, &at)))
        if (subscription->shared.waiters)
            local_mark_ready(local, subscription);
}

static void lease_remove(struct local *local, struct holder *holder, struct lease *lease)
{
    if (lease->previous)
        lease->previous->next = lease->next;
    else
        holder->leases = lease->next;
    if (lease->next)
        lease->next->previous = lease->previous;
    if (lease->suspect)
        holder->suspects--;
    map_remove(&local->leases, &lease->key, sizeof lease->key);
    free(lease);
    if (--holder->count == 0) {
        map_remove(&local->holders, &holder->session, sizeof holder->session);
        free(holder);
        if (local->held_up)
            wake_held_up(local);
    }
}

void local_lease_settled(struct local *local, const struct group *group, const struct store_event *event)
{
    struct lease *lease = local_lease(local, event->session, event->lease, group);
    if (!lease)
        return;
    local_meter_lease(local, lease, event);
    lease->unsettled -= event->count < lease->unsettled ? event->count : lease->unsettled;
    if (lease->unsettled == 0)
        lease_remove(local, holder_of(local, event->session), lease);
}

void local_leases_forget(struct local *local, const struct group *group)
{
    size_t at = 0;
    struct lease *lease;
    while (group->states.counts[STATE_LEASED] > 0 && (lease = map_next(&local->leases, &at)))
        if (lease->group == group) {
            lease_remove(local, holder_of(local, lease->key.session), lease);
            at--; /* a removal moves others towards its place, none past it: look there again */
        }
}

void local_leases_clear(struct local *local)
{
    size_t at = 0;
    struct holder *holder;
    while ((holder = map_next(&local->holders, &at))) {
        while (holder->leases) {
            struct lease *lease = holder->leases;
            holder->leases = lease->next;
            free(lease);
        }
        free(holder);
    }
    map_free(&local->holders);
    map_free(&local->leases);
    local->lease_due = CLOCK_NEVER;
}

/*
 * Who held a lease when the relay ended gets the time of a lease to come back: its connection, and so a sign of life,
 * may take a while.
 */
enum mp_error local_leases_rebuild(struct local *local)
{
    size_t at = 0;
    struct group *group;
    int64_t deadline = local->now.monotonic + (int64_t)local->settings.lease * 1000;
    while ((group = map_next(&local->groups, &at))) {
        struct state_run run;
        uint64_t offset = group->states.floor;
        for (; states_find(&group->states, STATE_LEASED, offset, &run); offset = run.first + run.count)
            if (local_lease_add(local, run.value.session, run.value.lease, group, run.first, run.count, run.count,
                                run.value.suspect > 0, deadline))
                return MP_ERR_MEMORY;
    }
    at = 0;
    struct lease *lease;
    while ((lease = map_next(&local->leases, &at)))
        lease->granted = 0; /* nobody knows */
    return MP_OK;
}

/* Delays that came from rows, not from events, have told nobody when they end. */
void local_delays_rebuild(struct local *local)
{
    size_t at = 0;
    const struct group *group;
    while ((group = map_next(&local->groups, &at))) {
        int64_t due = states_due(&group->states);
        if (due < local->delay_due)
            local->delay_due = due;
    }
}

uint32_t local_extend(struct engine *engine, uint64_t session, uint32_t milliseconds)
{
    struct local *local = local_of(engine);
    const struct holder *holder = holder_of(local, session);
    int64_t deadline = local->now.monotonic + (int64_t)milliseconds * 1000;
    for (struct lease *lease = holder ? holder->leases : NULL; lease; lease = lease->next)
        if (lease->deadline < deadline)
            lease->deadline = deadline;
    return holder ? holder->count : 0;
}

void local_shorten(struct engine *engine, uint64_t session, uint32_t milliseconds)
{
    struct local *local = local_of(engine);
    const struct holder *holder = holder_of(local, session);
    int64_t deadline = local->now.monotonic + (int64_t)milliseconds * 1000;
    if (!holder)
        return;
    for (struct lease *lease = holder->leases; lease; lease = lease->next)
        if (lease->deadline > deadline)
            lease->deadline = deadline;
    if (deadline < local->lease_due)
        local->lease_due = deadline;
}

/* The first run that LEASE still holds; false when a lease without messages is there, which must not be. */
static bool first_held(const struct lease *lease, struct state_run *run)
{
    uint64_t offset = lease->first;
    while (states_find(&lease->group->states, STATE_LEASED, offset, run)) {
        if (run->value.session == lease->key.session && run->value.lease == lease->key.number)
            return true;
        offset = run->first + run->count;
    }
    return false;
}

/* Ends LEASE of SESSION in one step: all that is unsettled of it. */
static enum mp_error lease_end(struct local *local, uint64_t session, const struct lease *lease,
                               enum store_event_kind kind, int32_t code, uint64_t *messages, struct fault *fault)
{
    struct state_run run;
    if (!first_held(lease, &run) || lease->unsettled > UINT32_MAX)
        return MP_OK;
    struct store_event event = {.kind = kind,
                                .session = session,
                                .first = lease->first,
                                .count = (uint32_t)lease->unsettled,
                                .span = (uint32_t)(lease->end - lease->first),
                                .attempt = run.value.attempt,
                                .lease = lease->key.number,
                                .code = code};
    *messages += event.count;
    return local_event(local, lease->group, &event, fault);
}

enum mp_error local_release(struct engine *engine, uint64_t session, uint64_t *messages, struct fault *fault)
{
    struct local *local = local_of(engine);
    const struct holder *holder;
    enum mp_error error = MP_OK;
    *messages = 0;
    while (!error && (holder = holder_of(local, session))) {
        uint64_t before = *messages;
        error = lease_end(local, session, holder->leases, EVENT_RELEASED, -1, messages, fault);
        if (!error && *messages == before)
            return fault_set(fault, MP_ERR_INTERNAL, "a lease without messages");
    }
    return error;
}

/* ---- consumers that die ---------------------------------------------------------------------------------------- */

/*
 * Which of the messages that it held has killed a consumer, nobody knows, unless it held just one: that one's attempt
 * counts. Otherwise none does, and all are suspects: a sixteenth of them is granted together at most, to a consumer
 * that holds nothing else and gets nothing else meanwhile. So a message that kills is alone after as many deaths as its
 * neighbours' number has hexadecimal digits, and they are never charged.
 *
 * A consumer that always holds something would never get suspects. So the first one that meets them, the taker, gets
 * nothing more until it holds nothing, and then them; meanwhile the others pass them by.
 */
enum { SUSPECTS_SPLIT = 16 };

static uint64_t holder_unsettled(const struct holder *holder)
{
    uint64_t unsettled = 0;
    for (const struct lease *lease = holder->leases; lease; lease = lease->next)
        unsettled += lease->unsettled;
    return unsettled;
}

/* The last message of LEASE has killed its consumer, or was too much for it. */
static enum mp_error lapse_one(struct local *local, uint64_t session, const struct lease *lease, uint64_t *messages,
                               struct fault *fault)
{
    struct group *group = lease->group;
    const struct engine_settlement death = {.reason = ENGINE_REASON_RETRIES, .exit_code = -1};
    struct store_event event = {.kind = EVENT_LAPSED, .session = session, .lease = lease->key.number, .code = -1};
    struct state_run run;
    if (!first_held(lease, &run))
        return MP_OK;
    event.first = run.first;
    event.count = run.count = 1;
    event.attempt = run.value.attempt;
    if (local_is_exhausted(group, run.value.attempt)) {
        bool buried;
        enum mp_error error = local_bury(local, group, &run, &death, &buried, fault);
        if (error)
            return error;
        event.kind = buried ? EVENT_DEAD : EVENT_RETRIED;
        event.due = buried ? (int64_t)ENGINE_REASON_RETRIES : local_retry_late(local, group);
    }
    *messages += 1;
    return local_event(local, group, &event, fault);
}

/* Ends the leases of one holder that are over; the holder goes with its last one. */
static enum mp_error lapse_holder(struct local *local, struct holder *holder, bool *changed, struct fault *fault)
{
    const uint64_t session = holder->session, held = holder_unsettled(holder);
    const struct lease *next;
    bool over = false;
    *changed = false;
    for (const struct lease *lease = holder->leases; lease; lease = lease->next)
        over |= lease->deadline <= local->now.monotonic;
    for (struct lease *lease = holder->leases; over && held > 1 && lease; lease = lease->next)
        lease->several = true; /* also what is left when these are gone is not charged alone */
    for (const struct lease *lease = holder->leases; lease; lease = next) {
        next = lease->next;
        if (lease->deadline > local->now.monotonic) {
            if (lease->deadline < local->lease_due)
                local->lease_due = lease->deadline;
            continue;
        }
        *changed = true;
        uint64_t share = held / SUSPECTS_SPLIT, messages = 0;
        int32_t suspect = share == 0 ? 1 : share > INT32_MAX ? INT32_MAX : (int32_t)share;
        enum mp_error error = lease->several ? lease_end(local, session, lease, EVENT_LAPSED, suspect, &messages, fault)
                                             : lapse_one(local, session, lease, &messages, fault);
        local->lapsed += messages;
        if (error || messages == 0)
            return error ? error : fault_set(fault, MP_ERR_INTERNAL, "a lease without messages");
    }
    return MP_OK;
}

bool local_lease_drains(struct local *local, struct subscription *subscription, uint64_t session)
{
    const struct holder *holder = holder_of(local, session);
    bool taker = subscription->taker == session;
    if (!holder) {
        if (taker)
            subscription->taker = 0;
        return false;
    }
    if (!taker && holder->suspects == 0)
        return false;
    local->held_up = true;
    return true;
}

uint32_t local_lease_limit(struct local *local, struct subscription *subscription, uint64_t session, uint32_t suspect,
                           bool *pass)
{
    const struct holder *holder = holder_of(local, session);
    *pass = false;
    if (!holder || (suspect == 0 && holder->suspects == 0))
        return suspect > 0 ? suspect : UINT32_MAX;
    local->held_up = true;
    if (holder->suspects > 0)
        return 0;
    const struct holder *taker = subscription->taker ? holder_of(local, subscription->taker) : NULL;
    if (taker && taker != holder)
        *pass = true;
    else
        subscription->taker = session;
    return 0;
}

static enum mp_error lapse(struct local *local, struct fault *fault)
{
    size_t at = 0;
    struct holder *holder;
    local->lease_due = CLOCK_NEVER;
    while ((holder = map_next(&local->holders, &at))) {
        bool changed;
        enum mp_error error = lapse_holder(local, holder, &changed, fault);
        if (error)
            return error;
        if (changed)
            at--; /* a removal moves others towards its place, none past it: look there again */
    }
    return MP_OK;
}

/* Microseconds between two looks at what is delayed: many that are due one after the other are granted together. */
enum { WAKE_STEP = 5000 };

/* Without memory the order is forgotten: the next grant finds it again. */
static void woken(void *context, uint64_t first, uint32_t count)
{
    static const struct state_value waiting = {.state = STATE_WAITING};
    if (local_order_note(context, first, count, &waiting))
        local_order_free(context);
}

static void wake(struct local *local)
{
    size_t at = 0;
    struct group *group;
    local->delay_due = CLOCK_NEVER;
    while ((group = map_next(&local->groups, &at))) {
        if (group->states.counts[STATE_DELAYED] == 0)
            continue;
        if (states_wake(&group->states, local->now.monotonic, woken, group) > 0)
            local_mark_ready(local, group->subscription);
        int64_t due = states_due(&group->states);
        if (due < local->delay_due)
            local->delay_due = due;
    }
    local->woke = local->now.monotonic;
}

/* When delayed messages are to be woken. */
static int64_t wake_due(const struct local *local)
{
    int64_t earliest = local->woke + WAKE_STEP;
    if (local->delay_due == CLOCK_NEVER)
        return CLOCK_NEVER;
    return local->delay_due > earliest ? local->delay_due : earliest;
}

/* Groups for which the last turn had done enough. */
static void go_on(struct local *local)
{
    size_t at = 0;
    struct group *group;
    local->goes_on = false;
    while ((group = map_next(&local->groups, &at))) {
        if (group->goes_on)
            local_mark_ready(local, group->subscription);
        group->goes_on = false;
    }
}

enum mp_error local_tick(struct engine *engine, struct fault *fault)
{
    struct local *local = local_of(engine);
    if (local->goes_on)
        go_on(local);
    if (wake_due(local) <= local->now.monotonic)
        wake(local);
    local_flow_tick(local);
    enum mp_error error = local_schedule_tick(local, fault);
    if (error || (error = local_expire_tick(local, fault)) || (error = local_dedupe_tick(local, fault)))
        return error;
    if (local->lease_due <= local->now.monotonic && (error = lapse(local, fault)))
        return error;
    if ((error = local_idle_tick(local, fault)))
        return error;
    return local_retain_tick(local, fault);
}

int64_t local_due(const struct engine *engine)
{
    const struct local *local = (const struct local *)engine;
    if (local->ready || local->goes_on)
        return local->now.monotonic; /* a turn that had answered enough left them */
    int64_t due = local_retain_due(local), wakes = wake_due(local);
    if (local->lease_due < due)
        due = local->lease_due;
    if (wakes < due)
        due = wakes;
    if (local->rate_due < due)
        due = local->rate_due;
    int64_t time = local->schedule_due < local->expire_due ? local->schedule_due : local->expire_due;
    if (local->dedupe_due < time)
        time = local->dedupe_due;
    if (local->idle_due < time)
        time = local->idle_due;
    if (time == CLOCK_NEVER)
        return due;
    int64_t monotonic = local_time_to_monotonic(local, time);
    return monotonic < due ? monotonic : due;
}
