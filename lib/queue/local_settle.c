#include "queue/local.h"

#include "base/random.h"

#include <stdlib.h>

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

enum {
    OPEN_EVENTS = 4,
    MASK_SPAN = 65536 /* offsets of an event with a mask */
};

/* What will be one event: messages of one lease with the same fate. */
struct open_event {
    struct store_event event;
    bool masked; /* the lease holds more between its messages */
    uint8_t note[LOCAL_TRACE_NOTE];
    uint8_t mask[MASK_SPAN / 8]; /* kept while the span fits */
};

/*
 * The settlements of a request, gathered: a consumer of which every tenth message fails tells of each by itself, and
 * this makes two events a lease of it. What is gathered is of one lease, and in ascending offsets in each event, so
 * nothing is meant twice; what comes otherwise finds written what came before.
 */
struct settling {
    struct group *group;
    struct engine_origin origin;
    uint64_t lease;
    uint64_t upto;           /* below, everything was looked at */
    struct open_event *last; /* between it and `upto` the lease holds nothing; NULL: that is not known */
    uint32_t attempt;        /* the policy's delay is told once for messages of the same attempt: */
    int64_t due;             /* 0: not yet */
    unsigned count;
    struct open_event events[OPEN_EVENTS];
};

/* The event that ends the lease of some messages, and what an event keeps of why. */
struct fate {
    enum store_event_kind kind;
    int64_t due; /* store_event's */
};

/* Bits by which delays differ; the same again in a simulation from the same seed. */
static uint64_t chance(const struct local *local, const struct group *group)
{
    return random_mix((local->last_event + 1) * UINT64_C(0x9e3779b97f4a7c15) + group->id + (uint64_t)local->time);
}

static int64_t retry_due(const struct local *local, const struct engine_settlement *settlement, uint32_t attempt)
{
    struct settling *settling = local->settling;
    const struct group_settings *policy = &settling->group->subscription->settings;
    if (settlement->delay != ENGINE_DELAY_POLICY)
        return local->time + (int64_t)settlement->delay * 1000;
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

/*
 * RUN, or its first messages, to which it is shortened, dies, unless there can be no letter of it: then it is tried again
 * after the longest interval.
 */
static enum mp_error bury(struct local *local, const struct engine_settlement *settlement, struct state_run *run,
                          enum engine_reason reason, struct fate *fate, struct fault *fault)
{
    struct group *group = local->settling->group;
    struct engine_settlement death = *settlement;
    bool buried;
    death.reason = reason;
    enum mp_error error = local_bury(local, group, run, &death, &buried, fault);
    *fate = buried ? (struct fate){EVENT_DEAD, reason} : (struct fate){EVENT_RETRIED, local_retry_late(local, group)};
    return error;
}

/*
 * What becomes of RUN, all of whose messages are alike, or of its first ones, to which it is shortened. A letter is
 * written here, the event that goes with it later.
 */
static enum mp_error decide(struct local *local, const struct engine_settlement *settlement, struct state_run *run,
                            struct fate *fate, struct fault *fault)
{
    enum engine_reason reason = settlement->reason;
    switch (settlement->action) {
    case ENGINE_ACK:
        *fate = (struct fate){EVENT_ACKED, 0};
        return MP_OK;
    case ENGINE_RELEASE:
        *fate = (struct fate){EVENT_RELEASED, 0};
        return MP_OK;
    case ENGINE_RETRY:
        if (local_is_exhausted(local->settling->group, run->value.attempt))
            return bury(local, settlement, run, ENGINE_REASON_RETRIES, fate, fault);
        *fate = (struct fate){EVENT_RETRIED, retry_due(local, settlement, run->value.attempt)};
        return MP_OK;
    case ENGINE_DEAD:
        break;
    }
    return bury(local, settlement, run, reason == ENGINE_REASON_NONE ? ENGINE_REASON_REJECTED : reason, fate, fault);
}

/* ---- gathering ------------------------------------------------------------------------------------------------- */

/* Writes what was gathered. */
static enum mp_error write_events(struct local *local, struct fault *fault)
{
    struct settling *settling = local->settling;
    enum mp_error error = MP_OK;
    for (unsigned i = 0; !error && i < settling->count; i++) {
        struct open_event *open = &settling->events[i];
        open->event.mask = open->masked ? open->mask : NULL;
        open->event.mask_size = open->masked ? bits_size(open->event.span) : 0;
        error = local_event(local, settling->group, &open->event, fault);
    }
    settling->count = 0;
    settling->last = NULL;
    return error;
}

struct span {
    const uint8_t *bytes;
    size_t size;
};

/* What an event keeps of a failure's note. */
static struct span note_of(const struct engine_settlement *settlement)
{
    struct span note = {(const uint8_t *)settlement->note, settlement->note_size};
    if (settlement->action == ENGINE_ACK || settlement->action == ENGINE_RELEASE)
        note.size = 0;
    while (note.size > 0 && (note.bytes[note.size - 1] == '\n' || note.bytes[note.size - 1] == '\r'))
        note.size--;
    if (note.size > LOCAL_TRACE_NOTE) {
        note.bytes += note.size - LOCAL_TRACE_NOTE;
        note.size = LOCAL_TRACE_NOTE;
    }
    return note;
}

static struct open_event *find_open(struct settling *settling, const struct fate *fate, int32_t code, struct span note)
{
    for (unsigned i = 0; i < settling->count; i++) {
        const struct store_event *event = &settling->events[i].event;
        if (event->kind == fate->kind && event->due == fate->due && event->code == code &&
            event->note_size == note.size && (note.size == 0 || memcmp(event->note, note.bytes, note.size) == 0))
            return &settling->events[i];
    }
    return NULL;
}

/* Whether RUN can go behind what is in OPEN. */
static bool takes(const struct settling *settling, const struct open_event *open, const struct state_run *run)
{
    uint64_t span = run->first + run->count - open->event.first;
    bool masked = open->masked || open != settling->last;
    return span <= (masked ? MASK_SPAN : UINT32_MAX);
}

static void extend(struct open_event *open, const struct state_run *run)
{
    struct store_event *event = &open->event;
    uint64_t at = run->first - event->first, span = at + run->count;
    if (span <= MASK_SPAN) {
        size_t had = bits_size(event->span);
        memset(open->mask + had, 0, bits_size(span) - had);
        bits_set_range(open->mask, at, run->count);
    }
    event->count += run->count;
    event->span = (uint32_t)span;
}

/* The messages of RUN, which the lease holds, come to FATE. */
static enum mp_error gather(struct local *local, const struct state_run *run, const struct fate *fate,
                            const struct engine_settlement *settlement, struct fault *fault)
{
    struct settling *settling = local->settling;
    struct span note = note_of(settlement);
    struct open_event *open = find_open(settling, fate, settlement->exit_code, note);
    if ((open && !takes(settling, open, run)) || (!open && settling->count == OPEN_EVENTS)) {
        enum mp_error error = write_events(local, fault);
        if (error)
            return error;
        open = NULL;
    }
    if (!open) {
        const struct engine_origin *origin = &settling->origin;
        open = settling->last = &settling->events[settling->count++];
        open->masked = false;
        open->event = (struct store_event){.kind = fate->kind,
                                           .session = origin->session,
                                           .request = (uint64_t)origin->lane << 62 | origin->number,
                                           .lease = settling->lease,
                                           .first = run->first,
                                           .attempt = run->value.attempt,
                                           .due = fate->due,
                                           .note = open->note,
                                           .note_size = note.size,
                                           .code = settlement->exit_code};
        if (note.size > 0)
            memcpy(open->note, note.bytes, note.size);
    }
    open->masked |= open != settling->last;
    settling->last = open;
    extend(open, run);
    return MP_OK;
}

/* Goes on with SETTLEMENT of GROUP: what was gathered is written, unless this can be added to it. */
static enum mp_error go_on(struct local *local, const struct engine_origin *origin,
                           const struct engine_settlement *settlement, struct group *group, struct fault *fault)
{
    struct settling *settling = local->settling;
    enum mp_error error = MP_OK;
    if (!settling && !(local->settling = settling = calloc(1, sizeof *settling)))
        return fault_memory(fault);
    bool same = settling->count > 0 && settling->group == group && settling->lease == settlement->lease &&
                settling->origin.session == origin->session && settling->origin.number == origin->number;
    if (same && settlement->first > settling->upto)
        settling->last = NULL;
    if (same && settlement->first >= settling->upto)
        return MP_OK;
    error = write_events(local, fault);
    settling->group = group;
    settling->origin = *origin;
    settling->lease = settlement->lease;
    settling->upto = 0;
    settling->due = 0;
    return error;
}

static enum mp_error settle(struct local *local, const struct engine_origin *origin,
                            const struct engine_settlement *settlement, uint32_t *applied, struct fault *fault)
{
    struct group *group = group_by_id(local, settlement->group);
    uint64_t offset, end;
    struct state_run run;
    enum mp_error error = MP_OK;
    if (!group || (error = go_on(local, origin, settlement, group, fault)) ||
        !lease_overlaps(local, origin->session, settlement, group, &offset, &end))
        return error;
    group->subscription->used = local->time;
    while (offset < end && states_find(&group->states, STATE_LEASED, offset, &run) && run.first < end) {
        bool held = run_is_held(&run, origin->session, settlement);
        struct fate fate;
        if (held && (error = decide(local, settlement, &run, &fate, fault)))
            return error;
        offset = run.first + run.count;
        if (!held)
            continue;
        *applied += run.count;
        if ((error = local_trace_session(local, origin, fault)))
            return error;
        if ((error = gather(local, &run, &fate, settlement, fault)))
            return error;
    }
    local->settling->upto = end;
    return MP_OK;
}

enum mp_error local_settle(struct engine *engine, const struct engine_origin *origin,
                           const struct engine_settlement *settlement, uint32_t *applied, struct fault *fault)
{
    struct local *local = local_of(engine);
    *applied = 0;
    enum mp_error error = settle(local, origin, settlement, applied, fault);
    return error || settlement->more || !local->settling ? error : write_events(local, fault);
}

void local_settling_forget(struct local *local)
{
    free(local->settling);
    local->settling = NULL;
}
