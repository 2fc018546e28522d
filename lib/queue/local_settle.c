#include "queue/local.h"

/* When a retry that is due may be granted: no later than its delay from now. */
static int64_t retry_due(const struct local *local, const struct store_event *event)
{
    int64_t delay = event->due - event->time, left = event->due - local->time;
    if (left > delay)
        left = delay;
    return local->now.monotonic + (left > 0 ? left : 0);
}

enum mp_error local_apply(struct local *local, struct group *group, const struct store_event *event)
{
    struct state_value value = {.state = STATE_WAITING, .attempt = event->attempt};
    enum mp_error error;
    switch (event->kind) {
    case EVENT_LEASED:
        value.state = STATE_LEASED;
        value.session = event->session;
        value.lease = event->lease;
        break;
    case EVENT_ACKED:
        value = (struct state_value){.state = STATE_ACKED};
        break;
    case EVENT_DEAD:
        value = (struct state_value){.state = STATE_DEAD};
        break;
    case EVENT_RETRIED:
        if (event->due > event->time) {
            value.state = STATE_DELAYED;
            value.due = retry_due(local, event);
            if (value.due < local->delay_due)
                local->delay_due = value.due;
        }
        break;
    case EVENT_RELEASED:
        value.attempt = event->attempt > 0 ? event->attempt - 1 : 0;
        break;
    case EVENT_LAPSED:
        break;
    case EVENT_DROPPED:
    case EVENT_GRANTED:
        break;
    case EVENT_EXPIRED:
    case EVENT_REPLAYED:
        return MP_ERR_DAMAGED; /* not written by this version */
    }
    if (event->kind == EVENT_DROPPED)
        error = local_apply_dropped(group, event);
    else if (event->kind == EVENT_GRANTED)
        error = local_apply_moved(local, group, event);
    else
        error = states_set(&group->states, event->first, event->count, &value);
    if (error)
        return error == MP_ERR_MEMORY ? error : MP_ERR_DAMAGED;
    if (event->kind == EVENT_DEAD)
        group->dead += event->count;
    group->event = event->id;
    group->dirty = true;
    return MP_OK;
}

enum mp_error local_event(struct local *local, struct group *group, struct store_event *event, struct fault *fault)
{
    enum mp_error error = local_write(local, fault);
    if (error)
        return error;
    event->id = local->last_event + 1;
    event->time = local->time;
    event->topic = group->topic->id;
    event->group = group->id;
    if (event->span == 0)
        event->span = event->count;
    if ((error = store_add_event(local->store, event, fault)))
        return error;
    local->last_event = event->id;
    if ((error = local_apply(local, group, event)))
        return error == MP_ERR_MEMORY
                   ? fault_memory(fault)
                   : fault_set(fault, MP_ERR_INTERNAL, "group %s: an event that does not fit", group->name);
    if (event->kind == EVENT_LEASED)
        return MP_OK;
    local_lease_settled(local, event->session, event->lease, group, event->count);
    /* Given back, or room for more. */
    if (event->kind != EVENT_ACKED || group->states.frontier < group->topic->end)
        local_mark_ready(local, group->subscription);
    return MP_OK;
}

static uint64_t end_of(const struct engine_settlement *settlement)
{
    return settlement->first + (settlement->span > 0 ? settlement->span : settlement->count);
}

/* The part of RUN that lies before END, when it is leased as SETTLEMENT says; false otherwise. */
static bool run_is_held(struct state_run *run, uint64_t session, const struct engine_settlement *settlement)
{
    uint64_t end = end_of(settlement);
    if (run->first + run->count > end)
        run->count = (uint32_t)(end - run->first);
    return run->value.state == STATE_LEASED && run->value.session == session && run->value.lease == settlement->lease;
}

static struct group *group_by_id(const struct local *local, uint32_t id)
{
    return map_get(&local->groups, &id, sizeof id);
}

/*
 * The part of SETTLEMENT's range that lies within its lease: a stranger's settlement over all offsets there are costs
 * nothing.
 */
static bool lease_overlaps(struct local *local, uint64_t session, const struct engine_settlement *settlement,
                           const struct group *group, uint64_t *offset, uint64_t *end)
{
    const struct lease *lease = local_lease(local, session, settlement->lease, group);
    if (!lease)
        return false;
    *offset = settlement->first > lease->first ? settlement->first : lease->first;
    *end = end_of(settlement) < lease->end ? end_of(settlement) : lease->end;
    return true;
}

uint32_t local_held(struct engine *engine, uint64_t session, const struct engine_settlement *settlement)
{
    struct local *local = local_of(engine);
    struct group *group = group_by_id(local, settlement->group);
    uint64_t offset, end;
    if (!group || !lease_overlaps(local, session, settlement, group, &offset, &end))
        return 0;
    uint32_t held = 0;
    struct state_run run;
    while (offset < end && states_find(&group->states, STATE_LEASED, offset, &run) && run.first < end) {
        if (run_is_held(&run, session, settlement))
            held += run.count;
        offset = run.first + run.count;
    }
    return held;
}

static enum store_event_kind kind_of(enum engine_action action)
{
    switch (action) {
    case ENGINE_ACK:
        return EVENT_ACKED;
    case ENGINE_RETRY:
        return EVENT_RETRIED;
    case ENGINE_RELEASE:
        return EVENT_RELEASED;
    case ENGINE_DEAD:
        break;
    }
    return EVENT_DEAD;
}

enum mp_error local_settle(struct engine *engine, const struct engine_origin *origin,
                           const struct engine_settlement *settlement, uint32_t *applied, struct fault *fault)
{
    struct local *local = local_of(engine);
    struct group *group = group_by_id(local, settlement->group);
    uint64_t offset, end;
    enum mp_error error = MP_OK;
    struct store_event event = {.kind = kind_of(settlement->action),
                                .session = origin->session,
                                .request = (uint64_t)origin->lane << 62 | origin->number,
                                .lease = settlement->lease,
                                .code = settlement->exit_code};
    if (event.kind == EVENT_RETRIED && settlement->delay > 0)
        event.due = local->time + (int64_t)settlement->delay * 1000;
    *applied = 0;
    if (!group || !lease_overlaps(local, origin->session, settlement, group, &offset, &end))
        return MP_OK;
    /* Runs that follow one another with the same attempt become one event. */
    struct state_run run;
    while (offset < end && states_find(&group->states, STATE_LEASED, offset, &run) && run.first < end) {
        bool held = run_is_held(&run, origin->session, settlement);
        offset = run.first + run.count;
        if (!held)
            continue;
        *applied += run.count;
        if (event.count > 0 && run.first == event.first + event.count && run.value.attempt == event.attempt) {
            event.count += run.count;
            continue;
        }
        if (event.count > 0 && (error = local_event(local, group, &event, fault)))
            return error;
        event.first = run.first;
        event.count = run.count;
        event.attempt = run.value.attempt;
    }
    return event.count > 0 ? local_event(local, group, &event, fault) : MP_OK;
}
