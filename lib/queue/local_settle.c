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

/* ---- what a settlement makes of messages ---------------------------------------------------------------------- */

struct settling {
    struct local *local;
    struct group *group;
    const struct engine_settlement *settlement;
    uint32_t attempt; /* the policy's delay is told once for messages of the same attempt: */
    int64_t due;      /* 0: not yet */
};

/* The event that ends the lease of some messages, and what an event keeps of why. */
struct fate {
    enum store_event_kind kind;
    int64_t due; /* store_event's */
};

/* Bits by which delays differ; the same again in a simulation from the same seed. */
static uint64_t chance(const struct local *local, const struct group *group)
{
    uint64_t bits = (local->last_event + 1) * UINT64_C(0x9e3779b97f4a7c15) + group->id + (uint64_t)local->time;
    bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
    return bits ^ bits >> 31;
}

static int64_t retry_due(struct settling *settling, uint32_t attempt)
{
    const struct local *local = settling->local;
    const struct group_settings *policy = &settling->group->subscription->settings;
    if (settling->settlement->delay != ENGINE_DELAY_POLICY)
        return local->time + (int64_t)settling->settlement->delay * 1000;
    if (settling->due == 0 || settling->attempt != attempt) {
        settling->attempt = attempt;
        settling->due = local->time + backoff_delay(policy->backoff, policy->initial_interval, policy->max_interval,
                                                    policy->jitter, attempt, chance(local, settling->group));
    }
    return settling->due;
}

bool local_is_exhausted(const struct group *group, uint32_t attempt)
{
    const struct group_settings *policy = &group->subscription->settings;
    return policy->max_retries != GROUP_RETRIES_UNLIMITED && attempt > policy->max_retries;
}

int64_t local_retry_late(const struct local *local, const struct group *group)
{
    const struct group_settings *policy = &group->subscription->settings;
    bool grows = policy->max_interval > policy->initial_interval;
    return local->time + (grows ? policy->max_interval : policy->initial_interval);
}

/* RUN, or its first messages, to which it is shortened, dies, unless there can be no letter of it: then it is tried again after the longest interval. */
static enum mp_error bury(const struct settling *settling, struct state_run *run, enum engine_reason reason,
                          struct fate *fate, struct fault *fault)
{
    struct engine_settlement death = *settling->settlement;
    bool buried;
    death.reason = reason;
    enum mp_error error = local_bury(settling->local, settling->group, run, &death, &buried, fault);
    *fate = buried ? (struct fate){EVENT_DEAD, reason}
                   : (struct fate){EVENT_RETRIED, local_retry_late(settling->local, settling->group)};
    return error;
}

/*
 * What becomes of RUN, all of whose messages are alike, or of its first ones, to which it is shortened. A letter is
 * written here, the event that goes with it later.
 */
static enum mp_error decide(struct settling *settling, struct state_run *run, struct fate *fate, struct fault *fault)
{
    enum engine_reason reason = settling->settlement->reason;
    switch (settling->settlement->action) {
    case ENGINE_ACK:
        *fate = (struct fate){EVENT_ACKED, 0};
        return MP_OK;
    case ENGINE_RELEASE:
        *fate = (struct fate){EVENT_RELEASED, 0};
        return MP_OK;
    case ENGINE_RETRY:
        if (local_is_exhausted(settling->group, run->value.attempt))
            return bury(settling, run, ENGINE_REASON_RETRIES, fate, fault);
        *fate = (struct fate){EVENT_RETRIED, retry_due(settling, run->value.attempt)};
        return MP_OK;
    case ENGINE_DEAD:
        break;
    }
    return bury(settling, run, reason == ENGINE_REASON_NONE ? ENGINE_REASON_REJECTED : reason, fate, fault);
}

enum mp_error local_settle(struct engine *engine, const struct engine_origin *origin,
                           const struct engine_settlement *settlement, uint32_t *applied, struct fault *fault)
{
    struct local *local = local_of(engine);
    struct group *group = group_by_id(local, settlement->group);
    uint64_t offset, end;
    enum mp_error error = MP_OK;
    struct settling settling = {.local = local, .group = group, .settlement = settlement};
    struct store_event event = {.session = origin->session,
                                .request = (uint64_t)origin->lane << 62 | origin->number,
                                .lease = settlement->lease,
                                .code = settlement->exit_code};
    *applied = 0;
    if (!group || !lease_overlaps(local, origin->session, settlement, group, &offset, &end))
        return MP_OK;
    group->subscription->used = local->time;
    /* Runs with the same fate become one event: it means all of its span that the lease holds. */
    struct state_run run;
    while (offset < end && states_find(&group->states, STATE_LEASED, offset, &run) && run.first < end) {
        bool held = run_is_held(&run, origin->session, settlement);
        struct fate fate;
        if (held && (error = decide(&settling, &run, &fate, fault)))
            return error;
        offset = run.first + run.count;
        if (!held)
            continue;
        *applied += run.count;
        if (event.count > 0 && fate.kind == event.kind && fate.due == event.due) {
            event.count += run.count;
            event.span = (uint32_t)(offset - event.first);
            continue;
        }
        if (event.count > 0 && (error = local_event(local, group, &event, fault)))
            return error;
        event.kind = fate.kind;
        event.due = fate.due;
        event.first = run.first;
        event.count = event.span = run.count;
        event.attempt = run.value.attempt;
    }
    return event.count > 0 ? local_event(local, group, &event, fault) : MP_OK;
}
