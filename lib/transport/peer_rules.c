#include "transport/peer_internal.h"

#include "base/clock.h"
#include "base/memory.h"
#include "message/frame.h"

#include <arpa/inet.h>
#include <string.h>

/* How a pattern hands out messages. */
enum manner { MANNER_NONE, MANNER_ONE, MANNER_ALL, MANNER_REQUEST, MANNER_SURVEY };

static const struct rule {
    const char *name;
    enum peer_pattern other;
    enum server_protocol protocol;
    enum manner manner;
    bool receives;
} rules[] = {
    [PEER_PUSH] = {"push", PEER_PULL, SERVER_PUSH, MANNER_ONE, false},
    [PEER_PULL] = {"pull", PEER_PUSH, SERVER_PULL, MANNER_NONE, true},
    [PEER_PUB] = {"pub", PEER_SUB, SERVER_PUB, MANNER_ALL, false},
    [PEER_SUB] = {"sub", PEER_PUB, SERVER_SUB, MANNER_NONE, true},
    [PEER_REQ] = {"req", PEER_REP, SERVER_REQ, MANNER_REQUEST, true},
    [PEER_REP] = {"rep", PEER_REQ, SERVER_REP, MANNER_NONE, true},
    [PEER_PAIR] = {"pair", PEER_PAIR, SERVER_PAIR0, MANNER_ONE, true},
    [PEER_PAIR1] = {"pair1", PEER_PAIR1, SERVER_PAIR1, MANNER_ONE, true},
    [PEER_BUS] = {"bus", PEER_BUS, SERVER_BUS, MANNER_ALL, true},
    [PEER_SURVEYOR] = {"surveyor", PEER_RESPONDENT, SERVER_SURVEYOR, MANNER_SURVEY, true},
    [PEER_RESPONDENT] = {"respondent", PEER_SURVEYOR, SERVER_RESPONDENT, MANNER_NONE, true},
};

const char *peer_pattern_name(enum peer_pattern pattern)
{
    return rules[pattern].name;
}

const char *peer_pattern_other(enum peer_pattern pattern)
{
    return rules[rules[pattern].other].name;
}

bool peer_pattern_sends(enum peer_pattern pattern)
{
    return rules[pattern].manner != MANNER_NONE;
}

bool peer_pattern_receives(enum peer_pattern pattern)
{
    return rules[pattern].receives;
}

enum server_protocol rules_protocol(enum peer_pattern pattern)
{
    return rules[pattern].protocol;
}

/* How long PUB and BUS wait for their fastest peer before they drop for it, in microseconds. */
#define PATIENCE INT64_C(1000000)

static void timer_start(struct peer *peer, int64_t microseconds)
{
    struct timeval after = {.tv_sec = (time_t)(microseconds / 1000000),
                            .tv_usec = (suseconds_t)(microseconds % 1000000)};

    event_add(peer->timer, &after);
}

static bool enough_peers(const struct peer *peer)
{
    return peer->links_count >= peer->settings.await_peers;
}

/* ---- the queue ---- */

static void queue_append(struct peer *peer, struct peer_outgoing *outgoing)
{
    outgoing->next = NULL;
    *peer->queue_end = outgoing;
    peer->queue_end = &outgoing->next;
    peer->queue_count++;
    peer->queue_cost += outgoing_cost(outgoing);
}

static void queue_put_back(struct peer *peer, struct peer_outgoing *outgoing)
{
    outgoing->next = peer->queue;
    if (peer->queue == NULL)
        peer->queue_end = &outgoing->next;
    peer->queue = outgoing;
    peer->queue_count++;
    peer->queue_cost += outgoing_cost(outgoing);
}

static struct peer_outgoing *queue_pop(struct peer *peer)
{
    struct peer_outgoing *outgoing = peer->queue;

    peer->queue = outgoing->next;
    if (peer->queue == NULL)
        peer->queue_end = &peer->queue;
    peer->queue_count--;
    peer->queue_cost -= outgoing_cost(outgoing);
    return outgoing;
}

/* ---- to one: PUSH, PAIR ---- */

/* The next connection in turn that has room, or NULL. */
static struct peer_link *next_with_room(struct peer *peer, size_t room)
{
    for (unsigned tried = 0; tried < peer->links_count; tried++) {
        if (peer->next_link >= peer->links_count)
            peer->next_link = 0;
        struct peer_link *link = peer->links[peer->next_link++];
        if (link->queued < room && !link->leaving)
            return link;
    }
    return NULL;
}

static void dispatch_to_one(struct peer *peer)
{
    while (peer->queue != NULL && enough_peers(peer)) {
        struct peer_link *link = next_with_room(peer, PEER_LINK_TARGET);
        if (link == NULL)
            return;
        struct peer_outgoing *outgoing = queue_pop(peer);
        if (!link_give(link, outgoing)) {
            queue_put_back(peer, outgoing);
            return;
        }
        outgoing_drop(outgoing);
        if (peer->gathered >= PEER_GATHER)
            peer_flush(peer);
    }
}

/* ---- to all: PUB, BUS, and the surveys ---- */

/* Whether even the fastest peer is behind by as much as is allowed. */
static bool all_behind(const struct peer *peer)
{
    for (unsigned i = 0; i < peer->links_count; i++) {
        if (peer->links[i]->queued < peer->settings.send_limit)
            return false;
    }
    return peer->links_count > 0;
}

static void give_to_all(struct peer *peer, struct peer_outgoing *outgoing)
{
    if (peer->links_count == 0)
        peer->counters.unheard++;
    /* Downwards: a connection may end in here, which only moves those above it. */
    for (unsigned i = peer->links_count; i-- > 0;) {
        struct peer_link *link = i < peer->links_count ? peer->links[i] : NULL;
        if (link == NULL)
            continue;
        if (link->queued >= peer->settings.send_limit || !link_give(link, outgoing))
            peer->counters.dropped++;
    }
}

static void dispatch_to_all(struct peer *peer)
{
    while (peer->queue != NULL && enough_peers(peer)) {
        if (!peer->impatient && all_behind(peer)) {
            if (!evtimer_pending(peer->timer, NULL))
                timer_start(peer, PATIENCE);
            return;
        }
        struct peer_outgoing *outgoing = queue_pop(peer);
        give_to_all(peer, outgoing);
        outgoing_drop(outgoing);
        if (peer->gathered >= PEER_GATHER)
            peer_flush(peer);
    }
}

static uint32_t next_id(struct peer *peer)
{
    peer->next_id = (peer->next_id + 1) & UINT32_C(0x7fffffff);
    return htonl(peer->next_id | UINT32_C(0x80000000));
}

static void dispatch_survey(struct peer *peer)
{
    if (peer->queue == NULL || peer->survey_running || !enough_peers(peer))
        return;
    struct peer_outgoing *outgoing = queue_pop(peer);
    peer->survey_running = true;
    peer->survey_id = outgoing->ids[0];
    peer->survey_number = outgoing->number;
    timer_start(peer, peer->settings.survey_time);
    give_to_all(peer, outgoing);
    outgoing_drop(outgoing);
}

/* ---- requests ---- */

static void request_end(struct peer *peer, struct peer_request *request)
{
    outgoing_drop(request->outgoing);
    *request = (struct peer_request){0};
    peer->requests_active--;
}

static struct peer_request *request_find(struct peer *peer, uint32_t id)
{
    for (unsigned i = 0; i < peer->settings.window; i++) {
        struct peer_request *request = &peer->requests[i];
        if (request->outgoing != NULL && request->outgoing->ids[0] == id)
            return request;
    }
    return NULL;
}

/* The unsent request that was taken first. */
static struct peer_request *request_unsent(struct peer *peer)
{
    struct peer_request *first = NULL;

    for (unsigned i = 0; i < peer->settings.window; i++) {
        struct peer_request *request = &peer->requests[i];
        if (request->outgoing == NULL || request->connection != 0)
            continue;
        if (first == NULL || request->outgoing->number < first->outgoing->number)
            first = request;
    }
    return first;
}

static void resend_timer(struct peer *peer)
{
    int64_t earliest = INT64_MAX;

    if (peer->settings.resend_time < 0)
        return;
    for (unsigned i = 0; i < peer->settings.window; i++) {
        const struct peer_request *request = &peer->requests[i];
        if (request->outgoing != NULL && request->connection != 0 && request->given < earliest)
            earliest = request->given;
    }
    if (earliest == INT64_MAX)
        return;
    int64_t left = earliest + peer->settings.resend_time - clock_monotonic();
    timer_start(peer, left > 0 ? left : 0);
}

static void dispatch_requests(struct peer *peer)
{
    while (peer->requests_unsent > 0 && enough_peers(peer)) {
        struct peer_link *link = next_with_room(peer, peer->settings.send_limit);
        if (link == NULL)
            return;
        struct peer_request *request = request_unsent(peer);
        request->connection = link->connection;
        request->given = clock_monotonic();
        peer->requests_unsent--;
        if (!link_give(link, request->outgoing)) {
            request->connection = 0;
            peer->requests_unsent++;
            return;
        }
        if (peer->settings.resend_time >= 0 && !evtimer_pending(peer->timer, NULL))
            timer_start(peer, peer->settings.resend_time);
        if (peer->gathered >= PEER_GATHER)
            peer_flush(peer);
    }
}

static void request_again(struct peer *peer, struct peer_request *request)
{
    request->connection = 0;
    peer->requests_unsent++;
    peer->counters.resent++;
}

static void request_take(struct peer *peer, struct peer_outgoing *outgoing)
{
    struct peer_request *request = peer->requests;

    while (request->outgoing != NULL)
        request++;
    outgoing->ids[0] = next_id(peer);
    *request = (struct peer_request){.outgoing = outgoing};
    peer->requests_active++;
    peer->requests_unsent++;
}

/* ---- what peer.c and peer_link.c call ---- */

unsigned rules_ids(const struct peer *peer)
{
    switch (peer->settings.pattern) {
    case PEER_REQ:
    case PEER_SURVEYOR:
    case PEER_PAIR1:
        return 1;
    default:
        return 0;
    }
}

bool rules_can_take(const struct peer *peer)
{
    switch (rules[peer->settings.pattern].manner) {
    case MANNER_NONE:
        return false;
    case MANNER_ONE:
        return peer->queue_cost + peer->linked_cost < peer->settings.send_limit;
    case MANNER_ALL:
        return enough_peers(peer) ? peer->queue == NULL : peer->queue_cost < peer->settings.send_limit;
    case MANNER_REQUEST:
        return peer->requests_active < peer->settings.window;
    case MANNER_SURVEY:
        return peer->queue == NULL && !peer->survey_running;
    }
    return false;
}

void rules_take(struct peer *peer, struct peer_outgoing *outgoing)
{
    switch (rules[peer->settings.pattern].manner) {
    case MANNER_NONE:
        break;
    case MANNER_SURVEY:
        outgoing->ids[0] = next_id(peer);
        queue_append(peer, outgoing);
        break;
    case MANNER_ONE:
        if (peer->settings.pattern == PEER_PAIR1)
            outgoing->ids[0] = htonl(1); /* the hops that it has made */
        queue_append(peer, outgoing);
        break;
    case MANNER_ALL:
        queue_append(peer, outgoing);
        break;
    case MANNER_REQUEST:
        request_take(peer, outgoing);
        break;
    }
}

void rules_dispatch(struct peer *peer)
{
    switch (rules[peer->settings.pattern].manner) {
    case MANNER_NONE:
        break;
    case MANNER_ONE:
        dispatch_to_one(peer);
        break;
    case MANNER_ALL:
        dispatch_to_all(peer);
        break;
    case MANNER_REQUEST:
        dispatch_requests(peer);
        break;
    case MANNER_SURVEY:
        dispatch_survey(peer);
        break;
    }
}

void rules_unwritten(struct peer *peer, struct peer_outgoing *outgoing)
{
    switch (rules[peer->settings.pattern].manner) {
    case MANNER_ONE:
        queue_put_back(peer, outgoing);
        peer->counters.resent++;
        return;
    case MANNER_ALL:
    case MANNER_SURVEY:
    case MANNER_NONE: /* a reply */
        peer->counters.dropped++;
        break;
    case MANNER_REQUEST: /* the request itself stays */
        break;
    }
    outgoing_drop(outgoing);
}

void rules_link_ended(struct peer *peer, server_connection connection)
{
    if (rules[peer->settings.pattern].manner == MANNER_REQUEST) {
        for (unsigned i = 0; i < peer->settings.window; i++) {
            if (peer->requests[i].outgoing != NULL && peer->requests[i].connection == connection)
                request_again(peer, &peer->requests[i]);
        }
    }
    peer_schedule(peer);
}

void rules_written(struct peer *peer)
{
    if (rules[peer->settings.pattern].manner == MANNER_ALL) {
        peer->impatient = false;
        evtimer_del(peer->timer);
    }
    peer_schedule(peer);
}

bool peer_subscribed(const struct peer *peer, const void *bytes, size_t size)
{
    if (peer->settings.pattern != PEER_SUB || peer->settings.subscriptions_count == 0)
        return true;
    for (size_t i = 0; i < peer->settings.subscriptions_count; i++) {
        const struct peer_prefix *prefix = &peer->prefixes[i];
        if (prefix->size <= size && memcmp(prefix->data, bytes, prefix->size) == 0)
            return true;
    }
    return false;
}

bool rules_admit(struct peer *peer, const struct server_message *message, struct peer_token *token)
{
    token->connection = message->connection;
    token->request = 0;
    token->ids_count = message->ids_count;
    memcpy(token->ids, message->ids, message->ids_count * sizeof token->ids[0]);

    switch (peer->settings.pattern) {
    case PEER_SUB:
        if (peer_subscribed(peer, message->data, message->size) || frame_recognise(message->data, message->size))
            return true;
        peer->counters.filtered++;
        return false;
    case PEER_REQ: {
        struct peer_request *request = request_find(peer, message->ids[0]);
        if (request == NULL)
            return false; /* the second answer of a request that was sent twice */
        token->request = request->outgoing->number;
        if (request->connection == 0)
            peer->requests_unsent--;
        request_end(peer, request);
        peer_schedule(peer);
        return true;
    }
    case PEER_SURVEYOR:
        token->request = peer->survey_number;
        return peer->survey_running && message->ids[0] == peer->survey_id;
    default:
        return peer_pattern_receives(peer->settings.pattern);
    }
}

void rules_timer(struct peer *peer)
{
    switch (rules[peer->settings.pattern].manner) {
    case MANNER_NONE:
    case MANNER_ONE:
        break;
    case MANNER_ALL:
        peer->impatient = true;
        break;
    case MANNER_SURVEY:
        peer->survey_running = false;
        if (peer->settings.survey_ended != NULL)
            peer->settings.survey_ended(peer->settings.context, peer->survey_number);
        break;
    case MANNER_REQUEST: {
        int64_t now = clock_monotonic();
        for (unsigned i = 0; i < peer->settings.window; i++) {
            struct peer_request *request = &peer->requests[i];
            if (request->outgoing != NULL && request->connection != 0 &&
                now - request->given >= peer->settings.resend_time)
                request_again(peer, request);
        }
        resend_timer(peer);
        break;
    }
    }
    peer_schedule(peer);
}

void rules_out_of_time(struct peer *peer)
{
    if (rules[peer->settings.pattern].manner != MANNER_SURVEY || !peer->survey_running)
        return;
    evtimer_del(peer->timer);
    rules_timer(peer);
}

uint64_t rules_pending(const struct peer *peer)
{
    switch (rules[peer->settings.pattern].manner) {
    case MANNER_REQUEST:
        return peer->requests_active;
    case MANNER_SURVEY:
        return peer->queue_count + (peer->survey_running ? 1 : 0);
    case MANNER_NONE:
    case MANNER_ONE:
    case MANNER_ALL:
        break;
    }
    return peer->queue_count + peer->linked;
}

void rules_free(struct peer *peer)
{
    while (peer->queue != NULL)
        outgoing_drop(queue_pop(peer));
    for (unsigned i = 0; peer->requests != NULL && i < peer->settings.window; i++) {
        if (peer->requests[i].outgoing != NULL)
            request_end(peer, &peer->requests[i]);
    }
    memory_release(peer->requests);
}
