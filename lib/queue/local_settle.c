#include "queue/local.h"

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
    group->subscription->used = local->time;
    /* Runs that follow one another with the same attempt become one event; where attempts do not matter, all do. */
    bool alike = event.kind == EVENT_ACKED || event.kind == EVENT_RELEASED;
    struct state_run run;
    while (offset < end && states_find(&group->states, STATE_LEASED, offset, &run) && run.first < end) {
        bool held = run_is_held(&run, origin->session, settlement);
        offset = run.first + run.count;
        if (!held)
            continue;
        *applied += run.count;
        bool joins = alike || (run.first == event.first + event.count && run.value.attempt == event.attempt);
        if (event.count > 0 && joins) {
            event.count += run.count;
            event.span = (uint32_t)(offset - event.first);
            continue;
        }
        if (event.count > 0 && (error = local_event(local, group, &event, fault)))
            return error;
        event.first = run.first;
        event.count = event.span = run.count;
        event.attempt = run.value.attempt;
    }
    return event.count > 0 ? local_event(local, group, &event, fault) : MP_OK;
}
