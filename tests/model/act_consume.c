#include "model.h"

/* ---- subscriptions --------------------------------------------------------------------------------------------- */

unsigned choose_subscription(struct trial *trial, bool readers)
{
    const struct flavour *flavour = &trial->flavour;
    unsigned place = (unsigned)trial_below(trial, flavour->topics + flavour->patterns);
    if (place >= flavour->topics)
        place = TOPICS + place - flavour->topics;
    unsigned group = readers ? 0 : 1 + (unsigned)trial_below(trial, flavour->groups);
    return place * (GROUP_NAMES + 1) + group;
}

/* On the wall clock: some time of the last hour, or that of a message. */
static uint64_t choose_time(struct trial *trial)
{
    unsigned topic = (unsigned)trial_below(trial, trial->flavour.topics);
    uint64_t end = trial->now.topics[topic].end;
    if (end == 0 || trial_chance(trial, 30))
        return (uint64_t)trial->moment.wall - trial_below(trial, 3600 * (uint64_t)SECOND);
    int64_t time = trial->messages[topic][trial_below(trial, end)].time;
    return (uint64_t)(time - relay_time(trial) + trial->moment.wall);
}

enum engine_from choose_from(struct trial *trial, uint64_t *value)
{
    enum engine_from from = trial_chance(trial, 50) ? ENGINE_FROM_DEFAULT : (enum engine_from)trial_below(trial, 6);
    *value = trial_below(trial, trial_chance(trial, 50) ? 10 : trial->flavour.topic_max);
    if (from == ENGINE_FROM_TIME)
        *value = choose_time(trial);
    return from;
}

/* Whether messages of subscription INDEX are known to have been granted (given back unbegun they do not tell). */
static bool was_used(struct trial *trial, unsigned index)
{
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        if (model->subscription != index)
            continue;
        for (uint64_t offset = model->start; offset < trial->now.topics[model->topic].end; offset++)
            if (cell_is_settled(cell_at(trial, group, offset)) || cell_at(trial, group, offset)->attempt > 0)
                return true;
    }
    return false;
}

static struct engine_subscription *subscribe(struct trial *trial, unsigned index, unsigned session,
                                             enum engine_from from, uint64_t value)
{
    const char *on = subscription_on(index), *group = subscription_group(index);
    struct subscription_model *model = &trial->now.subscriptions[index];
    struct engine_subscription *handle = NULL;
    struct fault fault = {0};
    uint64_t id = trial->sessions[session];
    bool reader = group[0] == '\0', made = model->made;
    enum mp_error error = trial->call->subscribe(trial->engine, on, strlen(on), subscription_is_pattern(index), group,
                                                 strlen(group), id, from, value, &handle, &fault);
    if (error == MP_ERR_EXISTS && made && from != ENGINE_FROM_DEFAULT && model->creator != id)
        return trial->handles[index] = handle;
    if (error)
        trial_fail(trial, "subscribing to %s for group %s: %s", on, group, fault_text(&fault));
    if (made && from != ENGINE_FROM_DEFAULT && model->creator != id && (model->creator != 0 || was_used(trial, index)))
        trial_fail(trial, "group %s on %s may be moved by a stranger", group, on);
    if (!reader && !made) {
        reference_make_groups(trial, index, session, from, value);
        trial_say(trial, "make group %s on %s from %u, %llu", group, on, (unsigned)from, (unsigned long long)value);
    }
    if (trial->handles[index] && trial->handles[index] != handle)
        trial_fail(trial, "a second subscription of %s on %s", group, on);
    if (!reader && (!handle->known || (!made && !handle->created)))
        trial_fail(trial, "group %s on %s is not known to be there", group, on);
    return trial->handles[index] = handle;
}

void act_subscribe(struct trial *trial)
{
    uint64_t value;
    unsigned index = choose_subscription(trial, trial_chance(trial, 10));
    enum engine_from from = choose_from(trial, &value);
    subscribe(trial, index, (unsigned)trial_below(trial, trial->flavour.sessions), from, value);
}

static void set_waits(struct trial *trial, unsigned index, bool waits)
{
    trial->waits[index] = waits;
    trial->handles[index]->waiters = waits ? trial : NULL;
}

/* ---- leases ---------------------------------------------------------------------------------------------------- */

static struct engine_limits choose_limits(struct trial *trial)
{
    struct engine_limits limits = {.bytes = (size_t)1 << 20, .chunks = 1024};
    if (trial_chance(trial, 70))
        limits.messages = 1 + (uint32_t)trial_below(trial, trial_chance(trial, 50) ? 8 : 200);
    if (trial_chance(trial, 15))
        limits.bytes = (size_t)trial_below(trial, 4000);
    if (trial_chance(trial, 10))
        limits.chunks = 1 + (size_t)trial_below(trial, 4);
    return limits;
}

/* Whether something was left for want of room, as far as the limits tell. */
static bool is_limited(const struct trial *trial, const struct engine_limits *limits)
{
    const struct engine_deliveries *given = &trial->deliveries;
    return (limits->messages > 0 && given->messages >= limits->messages) || given->count >= limits->chunks ||
           given->bytes + trial->flavour.body_max + (size_t)65 * 1024 >=
               limits->bytes; /* whole frames may be kept back */
}

/* The first offset that may be granted next to GROUP; the topic's end: none. */
static uint64_t next_grantable(struct trial *trial, unsigned group, uint64_t from)
{
    const struct group_model *model = &trial->now.groups[group];
    uint64_t end = trial->now.topics[model->topic].end;
    for (uint64_t offset = from < model->low ? model->low : from; offset < end; offset++)
        if (cell_at(trial, group, offset)->state == STATE_WAITING)
            return offset;
    return end;
}

/* What may be granted together: suspects to a session that holds nothing, and nothing with them. */
struct company {
    uint64_t held, suspects; /* by the session before */
    uint64_t granted;
    uint32_t limit; /* of the suspects that are granted; 0: none are */
};

static void check_company(struct trial *trial, struct company *company, const struct cell *cell)
{
    if (cell->suspect > 0 && company->granted == 0)
        company->limit = cell->suspect;
    if (company->suspects > 0)
        trial_fail(trial, "a grant to a session that holds suspects");
    if (cell->suspect > 0 && (company->held > 0 || company->granted >= company->limit))
        trial_fail(trial, "a suspect (%u) was granted to a session that holds %llu, with %llu others", cell->suspect,
                   (unsigned long long)company->held, (unsigned long long)company->granted);
    if (cell->suspect == 0 && company->limit > 0)
        trial_fail(trial, "others were granted together with suspects");
    company->granted++;
}

/* Whether what is next, CELL, has to wait until the session holds nothing any more. */
static bool is_kept_back(const struct company *company, const struct cell *cell)
{
    return company->suspects > 0 || company->limit > 0 || (cell->suspect > 0 && company->held + company->granted > 0);
}

/* Takes a delivery of new leases over: it has to be what is first in its group. */
static void take_delivery(struct trial *trial, unsigned index, const struct engine_delivery *delivery,
                          const struct cell *leased, struct company *company, uint64_t next[GROUPS_MAX])
{
    unsigned group = delivery_group(trial, index, delivery);
    uint64_t offset;
    delivery_check(trial, trial->now.groups[group].topic, delivery);
    for (uint32_t at = 0; delivery_next(delivery, &at, &offset);) {
        const struct cell *cell = cell_at(trial, group, offset);
        uint64_t wanted = next_grantable(trial, group, next[group]);
        if (offset != wanted)
            trial_fail(trial, "offset %llu of %s was granted where %llu is next", (unsigned long long)offset,
                       delivery->name, (unsigned long long)wanted);
        if (delivery->attempt != cell->attempt + 1)
            trial_fail(trial, "offset %llu of %s was granted as attempt %u instead of %u", (unsigned long long)offset,
                       delivery->name, delivery->attempt, cell->attempt + 1);
        check_company(trial, company, cell);
        struct cell after = *leased;
        after.attempt = cell->attempt + 1;
        after.suspect = cell->suspect;
        after.failed = cell->failed;
        cell_set(trial, group, offset, &after);
        next[group] = offset + 1;
    }
}

static void remember_grant(struct trial *trial, unsigned session, unsigned index, uint64_t number)
{
    trial->grants[trial->grants_count++ % GRANTS] = (struct grant_record){session, index, number};
}

void grant_messages(struct trial *trial, unsigned index, unsigned session, const struct engine_limits *limits)
{
    struct lane *lane = &trial->now.lanes[session][ENGINE_LANE_FETCH];
    struct engine_origin origin = {trial->sessions[session], lane->number + 1, ENGINE_LANE_FETCH};
    uint32_t lease = (uint32_t)(1 + trial_below(trial, 60000));
    uint64_t next[GROUPS_MAX] = {0};
    struct fault fault = {0};
    struct company company = {0};
    company.held = reference_held(trial, origin.session, &company.suspects);
    engine_deliveries_clear(&trial->deliveries);
    if (trial->call->grant(trial->engine, trial->handles[index], &origin, limits, lease, &trial->deliveries, &fault))
        trial_fail(trial, "a grant: %s", fault_text(&fault));
    struct cell leased = {.state = STATE_LEASED,
                          .session = origin.session,
                          .lease = origin.number,
                          .deadline = trial->moment.monotonic + (int64_t)lease * MILLISECOND};
    uint64_t messages = 0;
    for (size_t i = 0; i < trial->deliveries.count; i++) {
        take_delivery(trial, index, &trial->deliveries.items[i], &leased, &company, next);
        messages += trial->deliveries.items[i].count;
    }
    if (limits->messages > 0 && messages > limits->messages)
        trial_fail(trial, "%llu messages were granted where %u were asked for", (unsigned long long)messages,
                   limits->messages);
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        if (model->subscription != index || (messages > 0 && is_limited(trial, limits)))
            continue;
        uint64_t left = next_grantable(trial, group, next[group]);
        if (left < trial->now.topics[model->topic].end && !is_kept_back(&company, cell_at(trial, group, left)))
            trial_fail(trial, "%llu messages were granted, and not offset %llu of %s", (unsigned long long)messages,
                       (unsigned long long)left, topic_name(model->topic));
    }
    deliveries_check_rest(trial, index, origin.session);
    set_waits(trial, index, messages == 0);
    if (messages == 0)
        return;
    lane->number = origin.number;
    remember_grant(trial, session, index, origin.number);
    trial_say(trial, "grant %llu of group %s on %s from %llu to session %u, lease %llu of %u ms",
              (unsigned long long)messages, subscription_group(index), subscription_on(index),
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

/* What is left of a lease, to the end or to the limits. */
static uint64_t take_regrant(struct trial *trial, const struct grant_record *record)
{
    uint64_t session = trial->sessions[record->session], given = 0;
    uint64_t next[GROUPS_MAX] = {0};
    for (size_t i = 0; i < trial->deliveries.count; i++) {
        const struct engine_delivery *delivery = &trial->deliveries.items[i];
        unsigned group = delivery_group(trial, record->subscription, delivery);
        delivery_check(trial, trial->now.groups[group].topic, delivery);
        if (delivery->first < next[group])
            trial_fail(trial, "offset %llu was given again out of order", (unsigned long long)delivery->first);
        uint64_t offset;
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

void act_regrant(struct trial *trial)
{
    if (trial->grants_count == 0)
        return;
    const struct grant_record *record =
        &trial->grants[trial_below(trial, trial->grants_count < GRANTS ? trial->grants_count : GRANTS)];
    uint64_t session = trial->sessions[record->session], held = 0;
    struct engine_limits limits = choose_limits(trial);
    bool all = trial_chance(trial, 70);
    struct fault fault = {0};
    if (all)
        limits = (struct engine_limits){.bytes = SIZE_MAX, .chunks = SIZE_MAX};
    if (!trial->now.subscriptions[record->subscription].made)
        return; /* it was undone */
    subscribe(trial, record->subscription, record->session, ENGINE_FROM_DEFAULT, 0);
    struct engine_origin origin = {session, record->number, ENGINE_LANE_FETCH};
    engine_deliveries_clear(&trial->deliveries);
    if (trial->call->regrant(trial->engine, trial->handles[record->subscription], &origin, &limits, &trial->deliveries,
                             &fault))
        trial_fail(trial, "a regrant: %s", fault_text(&fault));
    uint64_t given = take_regrant(trial, record);
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
            const struct cell *cell = cell_at(trial, group, offset);
            held += model->subscription == record->subscription && cell->state == STATE_LEASED &&
                    cell->session == session && cell->lease == record->number;
        }
    }
    if (given > held || (all && given < held) || (given == 0 && held > 0))
        trial_fail(trial, "%llu messages were given again of %llu", (unsigned long long)given,
                   (unsigned long long)held);
    deliveries_check_rest(trial, record->subscription, session);
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
    if (index == SUBSCRIPTIONS && strcmp(handle->group, "mretry") == 0)
        return; /* of dead letters */
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

void act_extend(struct trial *trial)
{
    uint64_t session = trial->sessions[trial_below(trial, trial->flavour.sessions)];
    uint32_t milliseconds = (uint32_t)trial_below(trial, 60000);
    int64_t deadline = trial->moment.monotonic + (int64_t)milliseconds * MILLISECOND;
    trial->call->extend(trial->engine, session, milliseconds);
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
            struct cell *cell = cell_at(trial, group, offset);
            if (cell->state == STATE_LEASED && cell->session == session && cell->deadline < deadline)
                cell->deadline = deadline;
        }
    }
    trial_say(trial, "extend session %llx by %u ms", (unsigned long long)session, milliseconds);
}

void act_shorten(struct trial *trial)
{
    uint64_t session = trial->sessions[trial_below(trial, trial->flavour.sessions)];
    uint32_t milliseconds = (uint32_t)trial_below(trial, 10000);
    int64_t deadline = trial->moment.monotonic + (int64_t)milliseconds * MILLISECOND;
    trial->call->shorten(trial->engine, session, milliseconds);
    for (unsigned group = 0; group < trial->now.groups_count; group++) {
        const struct group_model *model = &trial->now.groups[group];
        for (uint64_t offset = model->low; offset < trial->now.topics[model->topic].end; offset++) {
            struct cell *cell = cell_at(trial, group, offset);
            if (cell->state == STATE_LEASED && cell->session == session && cell->deadline > deadline)
                cell->deadline = deadline;
        }
    }
    trial_say(trial, "shorten session %llx to %u ms", (unsigned long long)session, milliseconds);
}

void act_release(struct trial *trial)
{
    unsigned session = (unsigned)trial_below(trial, trial->flavour.sessions);
    uint64_t messages = 0;
    struct fault fault = {0};
    if (trial->call->release(trial->engine, trial->sessions[session], &messages, &fault))
        trial_fail(trial, "a release: %s", fault_text(&fault));
    uint64_t wanted = reference_release(trial, trial->sessions[session]);
    if (messages != wanted)
        trial_fail(trial, "session %u gave back %llu messages instead of %llu", session, (unsigned long long)messages,
                   (unsigned long long)wanted);
    trial_say(trial, "release %llu of session %u", (unsigned long long)messages, session);
}

/* ---- looks ----------------------------------------------------------------------------------------------------- */

/* Reads on from where a reader stands in each topic, or from some place where it has not been. */
void act_read(struct trial *trial)
{
    unsigned index = choose_subscription(trial, true);
    uint64_t value, next[TOPICS], left = 0;
    enum engine_from from = choose_from(trial, &value);
    struct engine_limits limits = choose_limits(trial);
    struct engine_position positions[TOPICS];
    size_t count = 0;
    struct fault fault = {0};
    struct engine_subscription *handle = subscribe(trial, index, 0, ENGINE_FROM_DEFAULT, 0);
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        if (!trial->now.topics[topic].exists || !subscription_is_of(index, topic))
            continue;
        next[topic] = reference_position(trial, topic, from, value);
        if (trial_chance(trial, 30))
            continue;
        const struct topic *real = local_topic(local_of(trial->engine), topic_name(topic), strlen(topic_name(topic)));
        const struct topic_model *model = &trial->now.topics[topic];
        next[topic] = trial->positions[topic] < model->end ? trial->positions[topic] : model->end;
        if (next[topic] < model->first)
            next[topic] = model->first;
        positions[count++] = (struct engine_position){real->id, next[topic]};
        for (size_t i = count - 1; i > 0 && positions[i - 1].topic > positions[i].topic; i--) {
            struct engine_position swap = positions[i];
            positions[i] = positions[i - 1];
            positions[i - 1] = swap;
        }
    }
    engine_deliveries_clear(&trial->deliveries);
    if (trial->call->read(trial->engine, handle, positions, count, from, value, &limits, &trial->deliveries, &fault))
        trial_fail(trial, "reading %s: %s", subscription_on(index), fault_text(&fault));
    for (size_t i = 0; i < trial->deliveries.count; i++) {
        const struct engine_delivery *delivery = &trial->deliveries.items[i];
        unsigned topic = delivery_topic(trial, delivery);
        if (!subscription_is_of(index, topic) || delivery->first != next[topic])
            trial_fail(trial, "a reader of %s got %s from %llu instead of %llu", subscription_on(index), delivery->name,
                       (unsigned long long)delivery->first, (unsigned long long)next[topic]);
        if (delivery->blob)
            delivery_check(trial, topic, delivery);
        next[topic] += delivery->span;
        trial->positions[topic] = next[topic];
    }
    for (unsigned topic = 0; topic < TOPICS; topic++) {
        if (!trial->now.topics[topic].exists || !subscription_is_of(index, topic))
            continue;
        trial->news[topic] = trial->now.topics[topic].end;
        left += trial->now.topics[topic].end - next[topic];
    }
    if (!is_limited(trial, &limits) && left > 0)
        trial_fail(trial, "a reader of %s got %llu messages, and not %llu more", subscription_on(index),
                   (unsigned long long)trial->deliveries.messages, (unsigned long long)left);
    set_waits(trial, index, trial->deliveries.messages == 0 && left == 0);
    if (!trial->waits[index] && trial_chance(trial, 30)) {
        trial->call->forget(trial->engine, handle);
        trial->handles[index] = NULL;
    }
    trial_say(trial, "read %llu of %s", (unsigned long long)trial->deliveries.messages, subscription_on(index));
}

void act_drained(struct trial *trial)
{
    unsigned index = choose_subscription(trial, false);
    bool drained = false, wanted = true;
    struct fault fault = {0};
    enum mp_error error =
        trial->call->drained(trial->engine, subscription_on(index), subscription_group(index), &drained, &fault);
    if (!trial->now.subscriptions[index].made)
        return; /* it may be known from a turn that was undone */
    for (unsigned group = 0; group < trial->now.groups_count; group++)
        if (trial->now.groups[group].subscription == index)
            wanted &= trial->now.groups[group].low == trial->now.topics[trial->now.groups[group].topic].end;
    if (error || drained != wanted)
        trial_fail(trial, "group %s on %s is said to be %s", subscription_group(index), subscription_on(index),
                   error     ? fault_text(&fault)
                   : drained ? "drained"
                             : "not drained");
}
