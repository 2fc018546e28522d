#include "relay/admin.h"

#include <stdio.h>
#include <stdlib.h>

enum { BYTES_DEFAULT = 1024 * 1024, BYTES_MAX = 8 * 1024 * 1024 };

static void reply_fetched(struct core *core, const struct request *request, unsigned flags)
{
    struct engine_deliveries *deliveries = &core->deliveries;
    struct engine_subscription *subscription = request->subscription;
    struct reply *reply = core_reply(core, request, MP_OK);
    if (!reply)
        return;
    if (deliveries->end)
        flags |= PROTOCOL_FETCH_END;
    if (subscription && subscription->created)
        flags |= PROTOCOL_FETCH_NEW_GROUP;
    if (subscription && (!subscription->known || (subscription->created && subscription->topic_made)))
        flags |= PROTOCOL_FETCH_NEW_TOPIC;
    enum mp_error error = protocol_put_fetched(&reply->head, flags, deliveries->waiting, (uint32_t)deliveries->count);
    for (size_t i = 0; !error && i < deliveries->count; i++) {
        const struct engine_delivery *delivery = &deliveries->items[i];
        struct protocol_chunk chunk = {.topic = delivery->topic,
                                       .group = delivery->group,
                                       .first = delivery->first,
                                       .count = delivery->count,
                                       .span = delivery->span,
                                       .mask = delivery->mask,
                                       .attempt =
                                           (uint16_t)(delivery->attempt > UINT16_MAX ? UINT16_MAX : delivery->attempt),
                                       .name = delivery->name,
                                       .name_size = strlen(delivery->name),
                                       .frame_size = (uint32_t)delivery->size};
        error = protocol_put_chunk(&reply->head, &chunk);
        if (!error && delivery->blob)
            error = core_reply_blob(core, reply, delivery->blob, delivery->data, delivery->size);
    }
    if (error)
        core_reply_again(reply, mp_error_text(error)); /* the number is used up: a repeat gets the same leases */
    core->counters.delivered += deliveries->messages;
    if (subscription)
        subscription->created = false;
}

/* Takes the request apart. False: it was answered. */
static bool read_fetch(struct core *core, const struct request *request, struct protocol_fetch *fetch, bool *pattern)
{
    struct fault detail = {0};
    enum mp_error error = protocol_read_fetch(&request->head, fetch);
    if (error)
        fault_set(&detail, error, "a fetch that is not well formed");
    if (!error)
        error = name_check_pattern(fetch->topic, fetch->topic_size, pattern, &detail);
    if (!error && fetch->group_size > 0)
        error = name_check_group(fetch->group, fetch->group_size, &detail);
    bool peeks = (request->head.flags & PROTOCOL_FETCH_PEEK) != 0, claims = fetch->from == PROTOCOL_FROM_EXACT;
    if (!error && peeks && fetch->group_size == 0)
        error = fault_set(&detail, MP_ERR_INVALID, "only what a group has not settled can be looked at");
    if (!error && claims && (peeks || *pattern || fetch->group_size == 0 || fetch->max_messages == 0))
        error = fault_set(&detail, MP_ERR_INVALID, "a claim is of a group's messages in one topic");
    if (!error && request->head.lane != PROTOCOL_LANE_FETCH)
        error = fault_set(&detail, MP_ERR_INVALID, "the request came on a lane that is not its own");
    if (!error)
        return true;
    core_reply_text(core, request, error, fault_text(&detail));
    return false;
}

/* Whether what is fetched is leased, and numbered. */
static bool leases(const struct request *request, const struct protocol_fetch *fetch)
{
    return fetch->group_size > 0 && (request->head.flags & PROTOCOL_FETCH_PEEK) == 0;
}

/* Whether the answer must not wait: who looks or claims wants to know what is there now. */
static bool is_urgent(const struct request *request, const struct protocol_fetch *fetch)
{
    return fetch->wait == 0 || (request->head.flags & PROTOCOL_FETCH_PEEK) != 0 || fetch->from == PROTOCOL_FROM_EXACT;
}

static struct engine_limits limits_of(const struct protocol_fetch *fetch)
{
    size_t bytes = fetch->max_bytes > 0 ? fetch->max_bytes : BYTES_DEFAULT;
    struct engine_limits limits = {.messages = fetch->max_messages,
                                   .bytes = bytes < BYTES_MAX ? bytes : BYTES_MAX,
                                   .chunks = PROTOCOL_CHUNKS_MAX,
                                   .sets = true};
    if (fetch->from == PROTOCOL_FROM_EXACT) {
        limits.only_first = fetch->value;
        limits.only_count = fetch->max_messages;
    }
    return limits;
}

/* Neither looking nor claiming makes a group. */
static enum mp_error check_group(struct core *core, const struct request *request, const struct protocol_fetch *fetch,
                                 struct fault *detail)
{
    char topic[NAME_MAX_BYTES + 1], group[NAME_MAX_BYTES + 1];
    bool drained;
    if (leases(request, fetch) ? fetch->from != PROTOCOL_FROM_EXACT : fetch->group_size == 0)
        return MP_OK;
    snprintf(topic, sizeof topic, "%.*s", (int)fetch->topic_size, fetch->topic);
    snprintf(group, sizeof group, "%.*s", (int)fetch->group_size, fetch->group);
    enum mp_error error = core->engine->operations->drained(core->engine, topic, group, &drained, detail);
    if (error == MP_ERR_NOT_FOUND)
        core_admin_hint(core, topic, group, detail);
    return error;
}

static int by_topic(const void *one, const void *other)
{
    uint32_t a = ((const struct engine_position *)one)->topic, b = ((const struct engine_position *)other)->topic;
    return a < b ? -1 : a > b;
}

/*
 * Fills core->deliveries for a reader. One that reads what is new, or the last few, is told at once where it stands in
 * the topics that are there. A topic that it has not heard of after that is a new one: all of it that came during the
 * session is for the reader.
 */
static enum mp_error read_messages(struct core *core, const struct request *request, const struct protocol_fetch *fetch,
                                   struct fault *fault)
{
    struct engine_position positions[PROTOCOL_POSITIONS_MAX];
    struct engine_limits limits = limits_of(fetch);
    uint32_t count = fetch->positions_count < PROTOCOL_POSITIONS_MAX ? fetch->positions_count : PROTOCOL_POSITIONS_MAX;
    bool ascending = true;
    for (uint32_t i = 0; i < count; i++) {
        struct protocol_position position = protocol_fetch_position(fetch, i);
        positions[i] = (struct engine_position){position.topic, position.next};
        ascending = ascending && (i == 0 || positions[i - 1].topic < position.topic);
    }
    if (!ascending)
        qsort(positions, count, sizeof *positions, by_topic);
    enum engine_from from = (enum engine_from)fetch->from;
    uint64_t value = fetch->value;
    if ((from == ENGINE_FROM_NEW || from == ENGINE_FROM_LAST) && (count > 0 || request->list)) {
        from = ENGINE_FROM_TIME;
        value = (uint64_t)(request->session->created - core->engine->operations->time(core->engine) + core->now.wall);
    }
    return core->engine->operations->read(core->engine, request->subscription, positions, count, from, value, &limits,
                                          &core->deliveries, fault);
}

/* Whether a reader has to know where it stands before it waits: the end moves, and a reply takes so many topics only. */
static bool must_tell(const struct protocol_fetch *fetch, const struct engine_deliveries *deliveries)
{
    bool moves = fetch->from == PROTOCOL_FROM_NEW || fetch->from == PROTOCOL_FROM_LAST;
    return deliveries->count > 0 && (moves || deliveries->passed || deliveries->count >= PROTOCOL_CHUNKS_MAX);
}

/*
 * Looks for messages for REQUEST and answers if there are some, or anyhow when LAST: nothing came within its wait.
 * True when it was answered.
 */
static bool try_fetch(struct core *core, struct request *request, bool last, struct fault *fault)
{
    struct protocol_fetch fetch;
    struct engine_deliveries *deliveries = &core->deliveries;
    struct fault detail = {0};
    bool pattern;
    if (!read_fetch(core, request, &fetch, &pattern))
        return true;
    engine_deliveries_clear(deliveries);
    enum mp_error error;
    bool leased = leases(request, &fetch);
    if (!leased) {
        error = read_messages(core, request, &fetch, &detail);
    } else {
        struct engine_origin origin = core_origin(core, request, PROTOCOL_LANE_FETCH);
        struct engine_limits limits = limits_of(&fetch);
        uint32_t lease = fetch.lease > 0 ? fetch.lease : core->settings.lease;
        error = core->engine->operations->grant(core->engine, request->subscription, &origin, &limits, lease,
                                                deliveries, &detail);
    }
    if (error == MP_ERR_DAMAGED) {
        /* Nothing was granted of what cannot be read; what was, is undone with the turn. */
        core_reply_text(core, request, error, fault_text(&detail));
        if (deliveries->messages > 0 && leased)
            *fault = detail;
    } else if (error) {
        *fault = detail;
        core_reply_text(core, request, MP_ERR_AGAIN, fault_text(&detail));
    } else if (deliveries->messages == 0 && !last && !must_tell(&fetch, deliveries)) {
        engine_deliveries_clear(deliveries);
        return false;
    } else {
        if (deliveries->messages > 0 && leased)
            core_applied(core, request, 0, 0);
        else if (leased)
            core_refused(request);
        reply_fetched(core, request, 0);
    }
    engine_deliveries_clear(deliveries);
    return true;
}

/* A repeat of the last fetch that was answered with messages: the same leases again. */
static void repeat_fetch(struct core *core, struct request *request, struct fault *fault)
{
    struct engine_origin origin = core_origin(core, request, PROTOCOL_LANE_FETCH);
    struct fault detail = {0};
    engine_deliveries_clear(&core->deliveries);
    static const struct engine_limits limits = {
        .messages = 0, .bytes = SIZE_MAX, .chunks = PROTOCOL_CHUNKS_MAX, .sets = true};
    enum mp_error error = core->engine->operations->regrant(core->engine, request->subscription, &origin, &limits,
                                                            &core->deliveries, &detail);
    if (!error)
        reply_fetched(core, request, core->deliveries.count == 0 ? PROTOCOL_FETCH_LAPSED : 0);
    else
        core_reply_text(core, request, error == MP_ERR_DAMAGED ? error : MP_ERR_AGAIN, fault_text(&detail));
    if (error && error != MP_ERR_DAMAGED)
        *fault = detail;
    engine_deliveries_clear(&core->deliveries);
}

/* Whether REQUEST is a late copy of what was asked under its number before WAITING. */
static bool is_older(const struct request *request, const struct request *waiting)
{
    return request->head.number == waiting->head.number && request->head.attempt != 0 && waiting->head.attempt != 0 &&
           protocol_is_later(waiting->head.attempt, request->head.attempt);
}

/*
 * WAITING makes place for REQUEST. It is its repeat, or what was asked before or, on a slow way, after it: whoever still
 * waits for an answer must get one. A late copy of an older fetch would else leave the newer one unanswered.
 */
static void displace(struct core *core, struct request *waiting, const struct request *request)
{
    if (waiting->connection != request->connection || waiting->ids_count != request->ids_count ||
        memcmp(waiting->ids, request->ids, request->ids_count * sizeof *request->ids) != 0)
        core_reply_text(core, waiting, MP_ERR_AGAIN, "another fetch of the session took its place");
    core_request_free(core, waiting);
}

/* What REQUEST is to be answered from; NULL: it was answered, or there is no memory for an answer. */
static struct engine_subscription *subscribe(struct core *core, struct request *request,
                                             const struct protocol_fetch *fetch, bool pattern, bool again,
                                             struct fault *fault)
{
    struct fault detail = {0};
    /* Who looks begins where he likes: it is no word about where the group does. */
    bool begins = !again && fetch->from != PROTOCOL_FROM_EXACT && leases(request, fetch);
    enum engine_from from = begins ? (enum engine_from)fetch->from : ENGINE_FROM_DEFAULT;
    struct engine_subscription *subscription = NULL;
    if (!again && check_group(core, request, fetch, &detail)) {
        core_reply_text(core, request, detail.code, fault_text(&detail));
        return NULL;
    }
    enum mp_error error = core->engine->operations->subscribe(core->engine, fetch->topic, fetch->topic_size, pattern,
                                                              fetch->group, fetch->group_size, request->session->id,
                                                              from, fetch->value, &subscription, &detail);
    if (!error)
        return subscription;
    bool refused = error == MP_ERR_EXISTS || error == MP_ERR_TOO_LARGE;
    if (!refused)
        *fault = detail;
    core_reply_text(core, request, refused ? error : MP_ERR_AGAIN, fault_text(&detail));
    return NULL;
}

bool core_fetch(struct core *core, struct request *request, struct fault *fault)
{
    struct session *session = request->session;
    struct protocol_fetch fetch;
    bool pattern;
    if (!read_fetch(core, request, &fetch, &pattern))
        return true;
    if (session->left) {
        core_reply_text(core, request, MP_ERR_SESSION, "the session has ended");
        return true;
    }
    enum core_turn turn = leases(request, &fetch) ? core_number(core, request) : TURN_NOW;
    if (turn == TURN_ANSWERED)
        return true;
    if (turn == TURN_NOW && session->fetching && is_older(request, session->fetching)) {
        core_reply_text(core, request, MP_ERR_AGAIN, "a copy of what was asked before came late");
        return true;
    }
    if (turn == TURN_NOW && session->fetching)
        displace(core, session->fetching, request);
    if (core->draining) {
        core_reply_text(core, request, MP_ERR_AGAIN, "the relay is about to end");
        return true;
    }
    struct engine_subscription *subscription = subscribe(core, request, &fetch, pattern, turn == TURN_REPEAT, fault);
    if (!subscription)
        return true;
    struct request_list *waiters = core_waiters(subscription);
    if (!waiters)
        return true; /* no memory, no answer */
    request->subscription = subscription;
    bool answered = true;
    if (turn == TURN_REPEAT)
        repeat_fetch(core, request, fault);
    else
        answered = try_fetch(core, request, is_urgent(request, &fetch) || !core_may_wait(core, request), fault);
    core_wait(core, request, waiters, answered ? CLOCK_NEVER : core->now.monotonic + (int64_t)fetch.wait * 1000);
    if (!answered)
        session->fetching = request;
    return answered; /* freeing it takes it off the list, and forgets readers that nobody waits on */
}

void core_serve(struct core *core, struct fault *fault)
{
    struct engine_subscription *subscription;
    while (!fault->code && core->answering < ANSWER_BYTES &&
           (subscription = core->engine->operations->next_ready(core->engine))) {
        struct request_list *waiters = subscription->waiters;
        struct request *request = waiters ? waiters->first : NULL;
        while (request && !fault->code) {
            struct request *next = request->next; /* NULL when the list goes with its last waiter */
            bool group = subscription->group[0] != '\0';
            bool answered = try_fetch(core, request, false, fault);
            if (answered)
                core_request_free(core, request);
            else if (group)
                break; /* nothing there for the first one, nothing for the others */
            request = next;
        }
    }
}

/* Answers a long poll that has come to its end. */
static void answer_expired(struct core *core, struct request *request)
{
    struct fault fault = {0};
    if (core->unloaded) {
        /* What is in memory is not what is there: it must not look like an end, or as if all were settled. */
        core_reply_text(core, request, MP_ERR_AGAIN, "the store cannot be read");
    } else if (request->head.type == PROTOCOL_FETCH) {
        struct protocol_fetch fetch;
        bool pattern;
        engine_deliveries_clear(&core->deliveries);
        if (read_fetch(core, request, &fetch, &pattern)) {
            if (fetch.group_size == 0)
                read_messages(core, request, &fetch, &fault);
            else if (leases(request, &fetch))
                core_refused(request);
            reply_fetched(core, request, 0);
        }
        engine_deliveries_clear(&core->deliveries);
    } else if (request->head.type == PROTOCOL_ROOM) {
        core_room(core, request);
    } else {
        core_admin(core, request, &fault);
    }
}

void core_expire(struct core *core)
{
    /* Whoever waits for room is asked each time; there are few. */
    for (struct request *request = core->rooms.first, *next; request; request = next) {
        next = request->next;
        struct fault detail = {0};
        uint32_t messages;
        if (core_has_room(core, request, &messages, &detail) != MP_ERR_FULL) {
            core_room(core, request);
            core_request_free(core, request);
        }
    }
    if (core->now.monotonic < core->poll_due)
        return;
    core->poll_due = CLOCK_NEVER;
    for (struct request *request = core->polls, *next; request; request = next) {
        next = request->next_poll;
        if (request->deadline > core->now.monotonic) {
            if (request->deadline < core->poll_due)
                core->poll_due = request->deadline;
            continue;
        }
        answer_expired(core, request);
        core_request_free(core, request);
    }
}
