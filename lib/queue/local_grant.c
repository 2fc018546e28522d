#include "queue/local_grant.h"

/* Frames in which a turn finds nothing for the group; the rest is for the next turn. */
enum { PASSES = 256 };

/* How many messages of the subscription's groups may be leased beside those that are. */
static uint64_t in_flight_left(const struct subscription *subscription)
{
    uint64_t most = subscription->settings.max_in_flight, leased = 0;
    if (most == 0)
        return UINT64_MAX;
    for (size_t i = 0; i < subscription->members.count; i++)
        leased += ((const struct group *)subscription->members.items[i])->states.counts[STATE_LEASED];
    return leased < most ? most - leased : 0;
}

/* Messages in a row that can be granted together. */
struct next_run {
    uint64_t first;
    uint64_t count;
    uint32_t attempt; /* that this is */
    uint32_t suspect;
    bool fresh;     /* never granted before */
    bool scattered; /* more of the kind follow behind others */
};

static bool is_alike(const struct state_run *run, const struct state_run *other)
{
    return run->value.attempt == other->value.attempt && run->value.suspect == other->value.suspect;
}

/* A block's end cuts runs that are one. */
static void join_runs(struct states *states, uint64_t high, struct next_run *next, const struct state_run *first)
{
    struct state_run run;
    uint64_t end = next->first + next->count;
    while (end < high && next->count < UINT32_MAX / 2 && states_get(states, end, &run) &&
           run.value.state == STATE_WAITING && is_alike(first, &run)) {
        end += run.count;
        next->count += run.count;
    }
    if (end > high)
        next->count = high - next->first;
    next->scattered = end < high && states_find(states, STATE_WAITING, end, &run) && run.first < high &&
                      run.first - next->first < FRAME_COUNT_MAX && is_alike(first, &run);
}

/* What can be granted next: messages that were given back first, then new ones. False: nothing. */
static bool next_run(const struct granting *granting, struct next_run *next)
{
    struct group *group = granting->group;
    struct states *states = &group->states;
    struct state_run run;
    *next = (struct next_run){0};
    if (states_find(states, STATE_WAITING, granting->low, &run) && run.first < granting->high) {
        next->first = run.first;
        next->count = run.count;
        next->attempt = run.value.attempt + 1;
        next->suspect = run.value.suspect;
        join_runs(states, granting->high, next, &run);
        return true;
    }
    uint64_t end = states->frontier + states_room(states);
    if (end > group->topic->end)
        end = group->topic->end;
    if (end > granting->high)
        end = granting->high;
    next->first = states->frontier > granting->low ? states->frontier : granting->low;
    next->attempt = 1;
    next->fresh = true;
    next->count = end > next->first ? end - next->first : 0;
    return next->count > 0;
}

enum mp_error grant_event(struct granting *granting, enum store_event_kind kind, uint64_t first, uint32_t span,
                          const uint8_t *mask)
{
    struct giving *giving = &granting->giving;
    struct local *local = giving->local;
    uint8_t shifted[GIVE_MASK];
    uint32_t begin = 0, count = span;
    if (mask) {
        begin = bits_get(mask, 0) ? 0 : (uint32_t)bits_run(mask, 0, span);
        while (span > begin && !bits_get(mask, span - 1))
            span--;
        count = (uint32_t)bits_count(mask, begin, span - begin);
    }
    if (count == 0)
        return MP_OK;
    struct store_event event = {.kind = kind, .first = first + begin, .count = count, .span = span - begin, .code = -1};
    if (count < event.span) {
        bits_copy(shifted, mask, begin, event.span);
        event.mask = shifted;
        event.mask_size = bits_size(event.span);
    }
    if (kind != EVENT_LEASED)
        return local_event(local, granting->group, &event, giving->fault);
    const struct engine_origin *origin = granting->origin;
    event.session = origin->session;
    event.request = (uint64_t)origin->lane << 62 | origin->number;
    event.attempt = giving->attempt;
    event.due = local->time + (int64_t)granting->lease * 1000;
    event.lease = origin->number;
    enum mp_error error = local_trace_session(local, origin, giving->fault);
    if (!error)
        error = local_event(local, granting->group, &event, giving->fault);
    if (!error &&
        local_lease_add(local, origin->session, origin->number, granting->group, event.first, event.span, event.count,
                        granting->suspect > 0, local->now.monotonic + (int64_t)granting->lease * 1000))
        error = fault_memory(giving->fault);
    return error;
}

/* Sets the bits of those of SPAN messages from FIRST on that wait as NEXT does, up to one that waits otherwise. */
static uint32_t collect(struct group *group, const struct next_run *next, uint32_t span, uint8_t *mask)
{
    uint64_t offset = next->first, end = next->first + span;
    struct state_run run;
    memset(mask, 0, bits_size(span));
    while (offset < end && states_find(&group->states, STATE_WAITING, offset, &run) && run.first < end) {
        if (run.value.attempt + 1 != next->attempt || run.value.suspect != next->suspect)
            return (uint32_t)(run.first - next->first);
        offset = run.first + run.count < end ? run.first + run.count : end;
        bits_set_range(mask, (size_t)(run.first - next->first), (size_t)(offset - run.first));
    }
    return span;
}

enum mp_error grant_set(struct granting *granting, const struct cached_frame *cached, uint32_t index, uint32_t span,
                        uint8_t *mask, bool *went_on)
{
    struct giving *giving = &granting->giving;
    struct give_passed passed;
    uint64_t first = cached->first + index;
    uint32_t taken = span, given = 0;
    uint64_t dropped;
    size_t delivered = giving->deliveries->count;
    enum mp_error error = MP_OK;
    *went_on = true;
    give_choose(giving, cached, index, span, mask, &passed);
    if (passed.foreign && cached->target == STORE_LOST)
        error = local_drop(giving->local, granting->group, first, first + span, DROP_DAMAGED, &dropped, giving->fault);
    else if (passed.foreign)
        error = grant_event(granting, EVENT_FOREIGN, first, span, mask);
    else
        error = give_set(giving, cached, index, span, mask, &taken, &given);
    if (given == 0)
        granting->passes -= granting->passes > 0;
    if (error || passed.foreign)
        return error;
    *went_on = taken > 0;
    if (passed.duplicates && taken > 0)
        error = grant_event(granting, EVENT_DUPLICATE, first, taken, passed.duplicate_mask);
    if (!error && passed.expired && taken > 0)
        error = grant_event(granting, EVENT_EXPIRED, first, taken, passed.expired_mask);
    if (error || given == 0)
        return error;
    const struct engine_delivery *last = &giving->deliveries->items[delivered];
    return grant_event(granting, EVENT_LEASED, last->first, last->span, last->mask);
}

/* Grants what NEXT has in its first frame. *WENT_ON: something was given, or passed over for good. */
static enum mp_error grant_from_frame(struct granting *granting, const struct next_run *next, bool *went_on)
{
    uint8_t mask[GIVE_MASK];
    struct cached_frame cached;
    enum mp_error error = give_open(&granting->giving, next->first, &cached);
    if (error)
        return error;
    uint32_t index = (uint32_t)(next->first - cached.first), span = cached.count - index;
    if (next->fresh || !next->scattered) {
        span = next->count < span ? (uint32_t)next->count : span;
        memset(mask, 0, bits_size(span));
        bits_set_range(mask, 0, span);
    } else {
        if (granting->high - next->first < span)
            span = (uint32_t)(granting->high - next->first);
        span = collect(granting->group, next, span, mask);
    }
    error = grant_set(granting, &cached, index, span, mask, went_on);
    blob_drop(cached.blob);
    return error;
}

/* Grants one run, or a part of it: LIMIT messages at most. */
static enum mp_error grant_run(struct granting *granting, struct next_run *next, uint32_t limit, bool *went_on)
{
    struct giving *giving = &granting->giving;
    uint64_t before = giving->most, allowed = limit < before ? limit : before;
    uint32_t given = 0;
    bool plain = false;
    enum mp_error error = MP_OK;
    giving->attempt = next->attempt;
    giving->most = allowed;
    granting->suspect = next->suspect;
    if (!next->scattered) {
        uint64_t most = next->count < UINT32_MAX / 2 ? next->count : UINT32_MAX / 2;
        error = give_range(giving, next->first, most, &given, &plain);
    }
    *went_on = given > 0;
    if (!error && given > 0)
        error = grant_event(granting, EVENT_LEASED, next->first, given, NULL);
    else if (!error && !plain)
        error = grant_from_frame(granting, next, went_on);
    giving->most = before - (allowed - giving->most);
    return error;
}

static enum mp_error grant_of_group(struct granting *granting, struct group *group)
{
    struct giving *giving = &granting->giving;
    struct next_run next;
    enum mp_error error = MP_OK;
    bool went_on = true;
    uint64_t low = granting->low;
    granting->group = group;
    giving->topic = group->topic;
    giving->group = giving->target = group->id;
    giving->hint = &group->hint;
    if (group->subscription->settings.order_by_key)
        return grant_in_order(granting);
    local_order_free(group);
    while (!error && went_on && !give_is_full(giving) && next_run(granting, &next)) {
        if (granting->passes == 0) {
            local_go_on(giving->local, group);
            break;
        }
        bool pass = false;
        uint32_t limit = UINT32_MAX;
        if (!granting->claim)
            limit =
                local_lease_limit(giving->local, group->subscription, granting->origin->session, next.suspect, &pass);
        if (limit > 0) {
            error = grant_run(granting, &next, limit, &went_on);
        } else if (pass) {
            granting->low = next.first + next.count;
            granting->passes--;
        } else {
            break;
        }
    }
    granting->low = low;
    return error;
}

static uint64_t least(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

/* What is left in the subscription's groups, and whether that is all there is for this session. */
static void count_left(const struct local *local, const struct subscription *subscription, uint64_t session,
                       struct engine_deliveries *deliveries)
{
    uint64_t elsewhere = 0;
    deliveries->waiting = 0;
    for (size_t i = 0; i < subscription->members.count; i++) {
        const struct group *group = subscription->members.items[i];
        deliveries->waiting += local_group_waiting(group);
        elsewhere += group->states.counts[STATE_LEASED] + group->states.counts[STATE_DELAYED];
    }
    deliveries->end = false;
    if (deliveries->waiting > 0) /* the leases need not be counted */
        return;
    const struct holder *holder = map_get(&local->holders, &session, sizeof session);
    for (const struct lease *lease = holder ? holder->leases : NULL; lease; lease = lease->next)
        if (lease->group->subscription == subscription)
            elsewhere -= lease->unsettled;
    deliveries->end = elsewhere == 0;
}

enum mp_error local_grant(struct engine *engine, struct engine_subscription *shared, const struct engine_origin *origin,
                          const struct engine_limits *limits, uint32_t lease, struct engine_deliveries *deliveries,
                          struct fault *fault)
{
    struct local *local = local_of(engine);
    struct subscription *subscription = (struct subscription *)shared;
    struct granting granting = {
        .giving = {.local = local,
                   .leases = true,
                   .most = least(in_flight_left(subscription), local_flow_left(local, subscription)),
                   .limits = limits,
                   .deliveries = deliveries,
                   .fault = fault},
        .origin = origin,
        .lease = lease,
        .high = UINT64_MAX,
        .passes = PASSES};
    size_t members = subscription->members.count;
    uint64_t before = deliveries->messages;
    subscription->used = local->time;
    enum mp_error error = MP_OK;
    bool damaged = false;
    if (limits->only_count > 0) {
        granting.claim = true;
        granting.low = limits->only_first;
        if (limits->only_count < UINT64_MAX - limits->only_first)
            granting.high = limits->only_first + limits->only_count;
    }
    if (!granting.claim && local_lease_drains(local, subscription, origin->session))
        members = 0;
    for (size_t i = 0; !error && i < members && !give_is_full(&granting.giving); i++) {
        error = grant_of_group(&granting, subscription->members.items[(subscription->turn + i) % members]);
        if (give_pass_damage(error, &damaged))
            error = MP_OK;
    }
    subscription->turn++;
    local_flow_granted(local, subscription, deliveries->messages - before);
    if (damaged && !error && deliveries->messages == 0)
        return MP_ERR_DAMAGED; /* FAULT has the words of the last */
    if (!error)
        count_left(local, subscription, origin->session, deliveries);
    return error;
}

/* The messages of one lease that are given again: a run of one attempt, or the part of a frame where they lie apart. */
struct again {
    struct group *group;
    const struct engine_origin *origin;
    uint64_t end; /* of the lease */
};

static bool is_held(const struct again *again, const struct state_run *run)
{
    return run->value.state == STATE_LEASED && run->value.session == again->origin->session &&
           run->value.lease == again->origin->number;
}

/* The first run from *OFFSET on that the lease holds, up to where the attempt changes or others lie between. */
static bool next_held(const struct again *again, uint64_t *offset, struct state_run *run)
{
    struct states *states = &again->group->states;
    struct state_run more;
    for (;; *offset = run->first + run->count) {
        if (*offset >= again->end || !states_find(states, STATE_LEASED, *offset, run) || run->first >= again->end)
            return false;
        if (is_held(again, run))
            break;
    }
    uint64_t end = run->first + run->count;
    while (end < again->end && states_get(states, end, &more) && is_held(again, &more) &&
           more.value.attempt == run->value.attempt)
        end = more.first + more.count;
    run->count = (uint32_t)((end < again->end ? end : again->end) - run->first);
    return true;
}

/* Gives what the lease holds of CACHED from RUN on, with the same attempt. *NEXT: behind it. */
static enum mp_error give_held(struct giving *giving, const struct again *again, const struct cached_frame *cached,
                               const struct state_run *run, uint64_t *next)
{
    uint8_t mask[GIVE_MASK];
    uint32_t index = (uint32_t)(run->first - cached->first), span = cached->count - index, taken, given;
    uint64_t offset = run->first, end = run->first + span;
    struct state_run held;
    memset(mask, 0, bits_size(span));
    while (offset < end && next_held(again, &offset, &held) && held.first < end &&
           held.value.attempt == run->value.attempt) {
        uint64_t stop = held.first + held.count < end ? held.first + held.count : end;
        bits_set_range(mask, (size_t)(held.first - run->first), (size_t)(stop - held.first));
        offset = stop;
    }
    span = (uint32_t)((offset < end ? offset : end) - run->first);
    enum mp_error error = give_set(giving, cached, index, span, mask, &taken, &given);
    *next = run->first + taken;
    return error;
}

static enum mp_error regrant_of_group(struct giving *giving, struct again *again, uint64_t offset)
{
    struct state_run run;
    enum mp_error error = MP_OK;
    while (!error && !give_is_full(giving) && next_held(again, &offset, &run)) {
        struct cached_frame cached;
        uint64_t next = offset;
        giving->attempt = run.value.attempt;
        if ((error = give_open(giving, run.first, &cached)))
            break;
        error = give_held(giving, again, &cached, &run, &next);
        blob_drop(cached.blob);
        if (next <= run.first)
            break; /* no room */
        offset = next;
    }
    return error;
}

enum mp_error local_regrant(struct engine *engine, struct engine_subscription *shared,
                            const struct engine_origin *origin, const struct engine_limits *limits,
                            struct engine_deliveries *deliveries, struct fault *fault)
{
    struct local *local = local_of(engine);
    struct subscription *subscription = (struct subscription *)shared;
    struct cut_hint hint;
    struct giving giving = {
        .local = local, .most = UINT64_MAX, .hint = &hint, .limits = limits, .deliveries = deliveries, .fault = fault};
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < subscription->members.count && !give_is_full(&giving); i++) {
        struct group *group = subscription->members.items[i];
        const struct lease *lease = local_lease(local, origin->session, origin->number, group);
        if (!lease)
            continue;
        struct again again = {group, origin, lease->end};
        giving.topic = group->topic;
        giving.group = giving.target = group->id;
        hint.frame = UINT64_MAX;
        error = regrant_of_group(&giving, &again, lease->first);
    }
    if (!error)
        count_left(local, subscription, origin->session, deliveries);
    return error;
}
