#include "model.h"

#include <stdlib.h>

struct engine_limits choose_limits(struct trial *trial)
{
    struct engine_limits limits = {.bytes = (size_t)1 << 20, .chunks = 1024, .sets = trial_chance(trial, 80)};
    if (trial_chance(trial, 70))
        limits.messages = 1 + (uint32_t)trial_below(trial, trial_chance(trial, 50) ? 8 : 200);
    if (trial_chance(trial, 15))
        limits.bytes = (size_t)trial_below(trial, 4000);
    if (trial_chance(trial, 10))
        limits.chunks = 1 + (size_t)trial_below(trial, 4);
    return limits;
}

bool is_limited(const struct trial *trial, const struct engine_limits *limits)
{
    const struct engine_deliveries *given = &trial->deliveries;
    /* Whole frames may be kept back for a rest of 64 KiB. */
    return (limits->messages > 0 && given->messages >= limits->messages) || given->count >= limits->chunks ||
           given->bytes + trial->flavour.body_max + (size_t)65 * 1024 >= limits->bytes;
}

/* A grant that is being checked. */
struct granting {
    unsigned index;
    const struct engine_limits *limits;
    struct cell leased;
    uint64_t next[GROUPS_MAX]; /* all below was granted, or cannot be */
    uint64_t end;              /* of what was asked for */
    uint64_t held, suspects;   /* by the session before */
    uint64_t granted, most;
    uint32_t together;       /* of the suspects that are granted; 0: none are */
    bool *heads[GROUPS_MAX]; /* of groups with an order: what may be granted, */
    bool *sure[GROUPS_MAX];  /* and what must */
};

/* Suspects go to a session that holds nothing, and nothing goes with them. */
static void check_company(struct trial *trial, struct granting *granting, const struct cell *cell)
{
    granting->granted++;
    if (granting->limits->only_count > 0)
        return; /* a claim is for just these, whatever they are */
    if (cell->suspect > 0 && granting->granted == 1)
        granting->together = cell->suspect;
    if (granting->suspects > 0)
        trial_fail(trial, "a grant to a session that holds suspects");
    if (cell->suspect > 0 && (granting->held > 0 || granting->granted > granting->together))
        trial_fail(trial, "a suspect (%u) was granted to a session that holds %llu, with %llu others", cell->suspect,
                   (unsigned long long)granting->held, (unsigned long long)granting->granted);
    if (cell->suspect == 0 && granting->together > 0)
        trial_fail(trial, "others were granted together with suspects");
}

/* Whether what is next, at OFFSET, has to wait until the session holds nothing: for its own sake, or behind a suspect. */
static bool is_kept_back(struct trial *trial, const struct granting *granting, unsigned group, uint64_t offset)
{
    const struct subscription *subscription = (const struct subscription *)trial->handles[granting->index];
    if (granting->limits->only_count > 0)
        return false;
    if (granting->suspects > 0 || granting->together > 0)
        return true;
    if (granting->held > 0 && subscription->taker == granting->leased.session)
        return true; /* it is to take suspects when it holds nothing */
    /* A claim may have had others in one lease with suspects, which are settled now: the engine minds the lease. */
    const uint64_t session = granting->leased.session;
    const struct holder *holder = map_get(&local_of(trial->engine)->holders, &session, sizeof session);
    if (granting->held > 0 && holder && holder->suspects > 0)
        return true;
    for (uint64_t at = trial->now.groups[group].low; granting->held + granting->granted > 0 && at <= offset; at++) {
        const struct cell *cell = cell_at(trial, group, at);
        if (cell->state == STATE_WAITING && cell->suspect > 0)
            return true;
    }
    return false;
}

/* It has to be what is first in its group, or with an order, a head of its key. */
static void check_turn(struct trial *trial, const struct granting *granting, unsigned group, uint64_t offset)
{
    const char *name = topic_name(trial->now.groups[group].topic);
    const bool *heads = granting->heads[group];
    uint64_t wanted = heads ? offset : next_grantable(trial, group, granting->next[group], granting->end);
    while (wanted < offset && cell_at(trial, group, wanted)->suspect > 0 && granting->held + granting->granted > 0)
        wanted = next_grantable(trial, group, wanted + 1, granting->end); /* another session is to take these */
    if (offset != wanted)
        trial_fail(trial, "offset %llu of %s was granted where %llu is next", (unsigned long long)offset, name,
                   (unsigned long long)wanted);
    if (heads && (!heads[offset] || cell_at(trial, group, offset)->state != STATE_WAITING))
        trial_fail(trial, "offset %llu of %s, key %u, was granted out of order", (unsigned long long)offset, name,
                   trial->messages[trial->now.groups[group].topic][offset].key);
}

/* Takes a delivery of new leases over. */
static void take_delivery(struct trial *trial, struct granting *granting, const struct engine_delivery *delivery)
{
    unsigned group = delivery_group(trial, granting->index, delivery);
    uint64_t offset, *next = &granting->next[group];
    delivery_check(trial, trial->now.groups[group].topic, delivery);
    if (delivery->mask && !granting->limits->sets)
        trial_fail(trial, "a delivery with a mask to somebody who does not know masks");
    for (uint32_t at = 0; delivery_next(delivery, &at, &offset);) {
        const struct cell *cell = cell_at(trial, group, offset);
        check_turn(trial, granting, group, offset);
        if (delivery->attempt != cell->attempt + 1)
            trial_fail(trial, "offset %llu of %s was granted as attempt %u instead of %u", (unsigned long long)offset,
                       delivery->name, delivery->attempt, cell->attempt + 1);
        check_company(trial, granting, cell);
        struct cell after = granting->leased;
        after.attempt = cell->attempt + 1;
        after.suspect = cell->suspect;
        after.failed = cell->failed;
        cell_set(trial, group, offset, &after);
        if (offset >= *next)
            *next = offset + 1;
    }
}

/* Chunks of one grant and group lie apart. */
static void check_apart(struct trial *trial)
{
    const struct engine_deliveries *deliveries = &trial->deliveries;
    for (size_t i = 0; i < deliveries->count; i++)
        for (size_t k = i + 1; k < deliveries->count && k < i + 20; k++) {
            const struct engine_delivery *one = &deliveries->items[i], *other = &deliveries->items[k];
            if (one->group == other->group && one->first < other->first + other->span &&
                other->first < one->first + one->span)
                trial_fail(trial, "a delivery from %s at %llu reaches into that at %llu", one->name,
                           (unsigned long long)other->first, (unsigned long long)one->first);
        }
}

uint64_t in_flight_left(struct trial *trial, unsigned index)
{
    uint64_t most = trial->now.subscriptions[index].settings.max_in_flight, leased = 0;
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        if (trial->now.groups[group].subscription == index)
            leased += reference_count(trial, group, STATE_LEASED);
    return most == 0 ? UINT64_MAX : leased < most ? most - leased : 0;
}

/* The engine's own count is believed: what each grant does to it is checked. */
static const struct rate *pace_of(const struct trial *trial, unsigned index)
{
    return &((const struct subscription *)trial->handles[index])->rate;
}

uint64_t pace_left(const struct trial *trial, unsigned index)
{
    return rate_left(pace_of(trial, index), trial->now.subscriptions[index].settings.rate, trial->moment.monotonic);
}

/* GRANTED messages went out by a pace that was BEFORE. */
static void check_pace(struct trial *trial, unsigned index, struct rate before, uint64_t granted)
{
    double wanted = trial->now.subscriptions[index].settings.rate;
    int64_t now = trial->moment.monotonic;
    if (wanted > 0 && granted > 0)
        rate_take(&before, wanted, granted, now);
    uint64_t left = rate_left(&before, wanted, now);
    if (pace_left(trial, index) != left)
        trial_fail(trial, "%llu messages went out, and %llu may go out now instead of %llu",
                   (unsigned long long)granted, (unsigned long long)pace_left(trial, index), (unsigned long long)left);
}

/* A group with an order has granted something, if it could, or will be asked again. */
static void check_some(struct trial *trial, const struct granting *granting, unsigned group)
{
    uint64_t end = trial->now.topics[trial->now.groups[group].topic].end;
    if (granting->limits->only_count > 0)
        return; /* a claim looks at nothing before its range, also when it has expired */
    for (uint64_t offset = trial->now.groups[group].low; offset < end && granting->granted == 0; offset++)
        if (granting->sure[group][offset] && offset >= granting->next[group] && offset < granting->end &&
            !trial->real[group]->goes_on && !is_kept_back(trial, granting, group, offset))
            trial_fail(trial, "nothing was granted of group %s on %s, and offset %llu of %s is first of its key",
                       subscription_group(granting->index), subscription_on(granting->index),
                       (unsigned long long)offset, topic_name(trial->now.groups[group].topic));
}

static void heads_make(struct trial *trial, struct granting *granting)
{
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        if (trial->now.groups[group].subscription != granting->index || !group_is_ordered(trial, group))
            continue;
        uint64_t end = trial->now.topics[trial->now.groups[group].topic].end;
        granting->heads[group] = calloc(end + 1, sizeof(bool));
        granting->sure[group] = calloc(end + 1, sizeof(bool));
        if (!granting->heads[group] || !granting->sure[group])
            abort();
        find_heads(trial, group, false, granting->heads[group]);
        find_heads(trial, group, true, granting->sure[group]);
    }
}

static void heads_free(struct granting *granting)
{
    for (unsigned group = 0; group < GROUPS_MAX; group++) {
        free(granting->heads[group]);
        free(granting->sure[group]);
    }
}

/* Nothing that could be granted was left, unless there was no room. */
static void check_complete(struct trial *trial, const struct granting *granting)
{
    if (granting->granted >= granting->most || (granting->granted > 0 && is_limited(trial, granting->limits)))
        return;
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        if (model->subscription != granting->index)
            continue;
        if (granting->heads[group]) { /* each turn looks at some frames, and goes on as soon as something was taken */
            check_some(trial, granting, group);
            continue;
        }
        uint64_t left = next_grantable(trial, group, granting->next[group], granting->end);
        /* A turn looks at 256 frames in vain, then the rest waits for the next. */
        bool looked = left >= granting->next[group] + 250 && left >= model->low + 250;
        if (left < trial->now.topics[model->topic].end && !looked && !trial_real(trial, group)->goes_on &&
            !is_kept_back(trial, granting, group, left))
            trial_fail(trial,
                       "%llu messages of group %s on %s were granted of %llu that may be in flight, and not offset "
                       "%llu of %s, to session %llx that holds %llu, suspects %llu",
                       (unsigned long long)granting->granted, subscription_group(granting->index),
                       subscription_on(granting->index), (unsigned long long)granting->most, (unsigned long long)left,
                       topic_name(model->topic), (unsigned long long)granting->leased.session,
                       (unsigned long long)granting->held, (unsigned long long)granting->suspects);
    }
}

static void remember_grant(struct trial *trial, unsigned session, unsigned index, uint64_t number)
{
    trial->grants[trial->grants_count++ % GRANTS] = (struct grant_record){session, index, number};
}

void grant_messages(struct trial *trial, unsigned index, unsigned session, const struct engine_limits *limits)
{
    struct lane *lane = &trial->now.lanes[session][ENGINE_LANE_FETCH];
    struct engine_origin origin = {
        .session = trial->sessions[session], .number = lane->number + 1, .lane = ENGINE_LANE_FETCH};
    uint32_t lease = (uint32_t)(1 + trial_below(trial, 60000));
    struct granting granting = {.index = index,
                                .limits = limits,
                                .leased = {.state = STATE_LEASED,
                                           .session = origin.session,
                                           .lease = origin.number,
                                           .deadline = trial->moment.monotonic + (int64_t)lease * MILLISECOND},
                                .end = limits->only_count ? limits->only_first + limits->only_count : UINT64_MAX,
                                .most = in_flight_left(trial, index)};
    struct rate pace = *pace_of(trial, index);
    struct fault fault = {0};
    granting.held = reference_held(trial, origin.session, &granting.suspects);
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        granting.next[group] = limits->only_count ? limits->only_first : 0;
    if (pace_left(trial, index) < granting.most)
        granting.most = pace_left(trial, index);
    engine_deliveries_clear(&trial->deliveries);
    if (trial->call->grant(trial->engine, trial->handles[index], &origin, limits, lease, &trial->deliveries, &fault))
        trial_fail(trial, "a grant: %s", fault_text(&fault));
    letters_look(trial);
    heads_make(trial, &granting);
    for (size_t i = 0; i < trial->deliveries.count; i++)
        take_delivery(trial, &granting, &trial->deliveries.items[i]);
    if ((limits->messages > 0 && granting.granted > limits->messages) || granting.granted > granting.most)
        trial_fail(trial, "%llu messages were granted where %u were asked for, and %llu may be in flight",
                   (unsigned long long)granting.granted, limits->messages, (unsigned long long)granting.most);
    check_pace(trial, index, pace, granting.granted);
    check_apart(trial);
    check_complete(trial, &granting);
    heads_free(&granting);
    deliveries_check_rest(trial, index, origin.session);
    trial->used[index] = relay_time(trial);
    if (limits->only_count == 0)
        set_waits(trial, index, granting.granted == 0);
    if (granting.granted == 0)
        return;
    lane->number = origin.number;
    remember_grant(trial, session, index, origin.number);
    trial_say(trial, "grant %llu of group %s on %s from %llu to session %u, lease %llu of %u ms",
              (unsigned long long)granting.granted, subscription_group(index), subscription_on(index),
              (unsigned long long)trial->deliveries.items[0].first, session, (unsigned long long)origin.number, lease);
}

void act_grant(struct trial *trial)
{
    unsigned index = choose_subscription(trial, false);
    unsigned session = (unsigned)trial_below(trial, trial->flavour.sessions);
    struct engine_limits limits = choose_limits(trial);
    subscribe(trial, index, session, ENGINE_FROM_DEFAULT, 0);
    grant_messages(trial, index, session, &limits);
}

/* What waits in a range, be it out of turn. */
void act_claim(struct trial *trial)
{
    unsigned index = choose_subscription(trial, false);
    unsigned session = (unsigned)trial_below(trial, trial->flavour.sessions);
    struct engine_limits limits = choose_limits(trial);
    subscribe(trial, index, session, ENGINE_FROM_DEFAULT, 0);
    limits.only_first = trial_below(trial, trial_chance(trial, 50) ? 20 : trial->flavour.topic_max);
    limits.only_count = 1 + trial_below(trial, trial_chance(trial, 50) ? 4 : 400);
    grant_messages(trial, index, session, &limits);
}

/* What is left of a lease, to the end or to the limits. */
static uint64_t take_regrant(struct trial *trial, const struct grant_record *record)
{
    uint64_t session = trial->sessions[record->session], given = 0, offset;
    uint64_t next[GROUPS_MAX] = {0};
    for (size_t i = 0; i < trial->deliveries.count; i++) {
        const struct engine_delivery *delivery = &trial->deliveries.items[i];
        unsigned group = delivery_group(trial, record->subscription, delivery);
        delivery_check(trial, trial->now.groups[group].topic, delivery);
        if (delivery->first < next[group])
            trial_fail(trial, "offset %llu was given again out of order", (unsigned long long)delivery->first);
        for (uint32_t at = 0; delivery_next(delivery, &at, &offset);) {
            const struct cell *cell = cell_at(trial, group, offset);
            if (cell->state != STATE_LEASED || cell->session != session || cell->lease != record->number ||
                cell->attempt != delivery->attempt)
                trial_fail(trial, "offset %llu of %s was given again, attempt %u", (unsigned long long)offset,
                           delivery->name, delivery->attempt);
        }
        next[group] = delivery->first + delivery->span;
        given += delivery->count;
    }
    return given;
}

static uint64_t held_of(struct trial *trial, const struct grant_record *record)
{
    uint64_t held = 0;
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        if (model->subscription != record->subscription)
            continue;
        for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
            const struct cell *cell = cell_at(trial, group, offset);
            held += cell->state == STATE_LEASED && cell->session == trial->sessions[record->session] &&
                    cell->lease == record->number;
        }
    }
    return held;
}

void act_regrant(struct trial *trial)
{
    if (trial->grants_count == 0)
        return;
    const struct grant_record *record =
        &trial->grants[trial_below(trial, trial->grants_count < GRANTS ? trial->grants_count : GRANTS)];
    struct engine_origin origin = {
        .session = trial->sessions[record->session], .number = record->number, .lane = ENGINE_LANE_FETCH};
    struct engine_limits limits = choose_limits(trial);
    bool all = trial_chance(trial, 70);
    struct fault fault = {0};
    if (all)
        limits = (struct engine_limits){.bytes = SIZE_MAX, .chunks = SIZE_MAX, .sets = limits.sets};
    if (!trial->now.subscriptions[record->subscription].made)
        return; /* it was undone, or deleted */
    subscribe(trial, record->subscription, record->session, ENGINE_FROM_DEFAULT, 0);
    engine_deliveries_clear(&trial->deliveries);
    if (trial->call->regrant(trial->engine, trial->handles[record->subscription], &origin, &limits, &trial->deliveries,
                             &fault))
        trial_fail(trial, "a regrant: %s", fault_text(&fault));
    uint64_t given = take_regrant(trial, record), held = held_of(trial, record);
    if (given > held || (all && given < held) || (given == 0 && held > 0))
        trial_fail(trial, "%llu messages were given again of %llu", (unsigned long long)given,
                   (unsigned long long)held);
    deliveries_check_rest(trial, record->subscription, origin.session);
    trial_say(trial, "regrant %llu of lease %llu to session %u", (unsigned long long)given,
              (unsigned long long)record->number, record->session);
}

/* Does what the relay does for those who wait. */
void act_serve(struct trial *trial)
{
    struct engine_subscription *handle = trial->call->next_ready(trial->engine);
    unsigned session = (unsigned)trial_below(trial, trial->flavour.sessions), index = 0;
    struct engine_limits limits = choose_limits(trial);
    if (!handle)
        return;
    while (index < SUBSCRIPTIONS && (strcmp(handle->topic, subscription_on(index)) != 0 ||
                                     strcmp(handle->group, subscription_group(index)) != 0))
        index++;
    if (index == SUBSCRIPTIONS)
        trial_fail(trial, "group %s on %s is ready, and nobody made it", handle->group, handle->topic);
    if (trial->handles[index] && trial->handles[index] != handle)
        trial_fail(trial, "group %s on %s is ready twice", handle->group, handle->topic);
    trial->handles[index] = handle;
    if (handle->group[0] == '\0')
        set_waits(trial, index, false);
    else if (trial->now.subscriptions[index].made)
        grant_messages(trial, index, session, &limits);
}
