#include "transport/peer_internal.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* After peer_finish(): how often it looks whether the other ends have read, in microseconds. */
#define LOOK_MIN INT64_C(500)
#define LOOK_MAX INT64_C(20000)

static struct timeval time_of(int64_t microseconds)
{
    return (struct timeval){.tv_sec = (time_t)(microseconds / 1000000),
                            .tv_usec = (suseconds_t)(microseconds % 1000000)};
}

void peer_schedule(struct peer *peer)
{
    if (peer->scheduled || peer->freeing)
        return;
    struct timeval at_once = {0, 0};
    peer->scheduled = true;
    evtimer_add(peer->turn, &at_once);
}

void peer_flush(struct peer *peer)
{
    peer->gathered = 0;
    server_cork(peer->server, false);
    server_cork(peer->server, true);
}

void peer_complain(struct peer *peer, const char *format, ...)
{
    char text[PEER_TROUBLE_TEXT];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (strcmp(text, peer->trouble) == 0)
        return;
    memcpy(peer->trouble, text, sizeof text);
    if (peer->settings.trouble != NULL)
        peer->settings.trouble(peer->settings.context, peer->trouble);
}

/* ---- what the server calls ---- */

static void tell_peers(struct peer *peer)
{
    if (peer->settings.peers != NULL)
        peer->settings.peers(peer->settings.context, peer->links_count);
}

static void on_connected(void *context, server_connection connection)
{
    struct peer *peer = context;
    enum peer_pattern pattern = peer->settings.pattern;

    if (peer->links_count > 0 && (pattern == PEER_PAIR || pattern == PEER_PAIR1)) {
        peer_complain(peer, "%s: refused a second program: a pair has two ends only", peer->address.text);
        server_close(peer->server, connection);
        return;
    }
    if (link_add(peer, connection) != MP_OK) {
        peer_complain(peer, "%s: refused a connection: no memory", peer->address.text);
        server_close(peer->server, connection);
        return;
    }
    server_trust(peer->server, connection);
    peer->counters.connections++;
    if (peer->dial != NULL) {
        peer->trouble[0] = '\0';
        dial_connected(peer->dial);
    }
    peer_schedule(peer);
    tell_peers(peer);
}

static void on_disconnected(void *context, server_connection connection)
{
    struct peer *peer = context;

    if (peer->freeing)
        return;
    struct peer_link *link = link_find(peer, connection);
    if (link != NULL)
        link_end(link);
    if (peer->dial != NULL)
        dial_disconnected(peer->dial, connection);
    if (link != NULL)
        tell_peers(peer);
}

static void give(struct peer *peer, struct server_message *message)
{
    struct peer_token token;

    if (!rules_admit(peer, message, &token)) {
        server_message_free(message);
        return;
    }
    peer->counters.received++;
    peer->counters.received_bytes += message->size;
    peer->settings.received(peer->settings.context, (struct peer_message *)message, &token);
}

static void on_received(void *context, struct server_message *message)
{
    struct peer *peer = context;

    if (peer->freeing) {
        server_message_free(message);
        return;
    }
    if (peer->receiving && peer->inbox == NULL && !peer->delivering) {
        give(peer, message);
        return;
    }
    message->next = NULL;
    *peer->inbox_end = message;
    peer->inbox_end = &message->next;
}

static struct server_message *inbox_pop(struct peer *peer)
{
    struct server_message *message = peer->inbox;

    peer->inbox = message->next;
    if (peer->inbox == NULL)
        peer->inbox_end = &peer->inbox;
    return message;
}

static void on_trouble(void *context, const char *what, const char *other)
{
    struct peer *peer = context;

    (void)other;
    peer->explained = true;
    if (!peer->freeing)
        peer_complain(peer, "%s: %s", peer->address.text, what);
}

/* ---- the turn ---- */

static size_t unread(const struct peer *peer)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < peer->links_count; i++)
        bytes += server_unread(peer->server, peer->links[i]->connection);
    return bytes;
}

/* The other ends that were given something over TCP and have not read to its end: only that they close tells. */
static unsigned unconfirmed(const struct peer *peer)
{
    unsigned count = 0;

    for (unsigned i = 0; i < peer->links_count; i++)
        count += peer->links[i]->used && peer->address.kind == ADDRESS_TCP;
    return count;
}

/* Tells those ends that nothing more comes; from now on nobody connects. */
static void part(struct peer *peer)
{
    peer->parting = true;
    server_accept(peer->server, false);
    for (unsigned i = 0; i < peer->links_count; i++) {
        if (peer->links[i]->used)
            server_half_close(peer->server, peer->links[i]->connection);
    }
}

static void finish_look(struct peer *peer)
{
    bool late = clock_monotonic() >= peer->finish_by;
    if (late)
        rules_out_of_time(peer);
    uint64_t left = rules_pending(peer);
    size_t bytes = 0;
    unsigned silent = 0;

    if (left == 0 || late) {
        bytes = unread(peer);
        silent = unconfirmed(peer);
    }
    if (left == 0 && bytes == 0 && silent > 0)
        part(peer);
    if (!late && (left > 0 || bytes > 0 || silent > 0)) {
        struct timeval look = time_of(peer->look_after);
        evtimer_add(peer->closing, &look);
        if (peer->look_after < LOOK_MAX)
            peer->look_after *= 2;
        return;
    }
    peer->finished = true;
    evtimer_del(peer->closing);
    struct peer_result result = {
        .left = left, .unread = bytes, .unconfirmed = silent, .timed_out = left > 0 || bytes > 0 || silent > 0};
    if (peer->settings.finished != NULL)
        peer->settings.finished(peer->settings.context, &result);
}

static void deliver(struct peer *peer)
{
    peer->delivering = true;
    while (peer->receiving && peer->inbox != NULL)
        give(peer, inbox_pop(peer));
    peer->delivering = false;
}

static void on_turn(evutil_socket_t descriptor, short what, void *context)
{
    struct peer *peer = context;

    (void)descriptor;
    (void)what;
    peer->scheduled = false;
    rules_dispatch(peer);
    peer_flush(peer);

    deliver(peer);
    if (peer->blocked && !peer->finishing && rules_can_take(peer)) {
        peer->blocked = false;
        if (peer->settings.writable != NULL)
            peer->settings.writable(peer->settings.context);
    }
    bool busy = rules_pending(peer) > 0;
    bool became_idle = peer->busy && !busy;
    peer->busy = busy;
    if (became_idle && peer->settings.drained != NULL)
        peer->settings.drained(peer->settings.context);
    if (peer->finishing && !peer->finished)
        finish_look(peer);
}

static void on_timer(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    rules_timer(context);
}

static void on_closing(evutil_socket_t descriptor, short what, void *context)
{
    struct peer *peer = context;

    (void)descriptor;
    (void)what;
    if (!peer->finished)
        finish_look(peer);
}

/* ---- opening and closing ---- */

static enum mp_error copy_subscriptions(struct peer *peer, const struct peer_settings *settings)
{
    size_t count = settings->subscriptions_count;
    size_t size, bytes = 0;

    if (count == 0)
        return MP_OK;
    for (size_t i = 0; i < count; i++) {
        if (__builtin_add_overflow(bytes, settings->subscriptions[i].size, &bytes))
            return MP_ERR_MEMORY;
    }
    if (__builtin_mul_overflow(count, sizeof *peer->prefixes, &size) || __builtin_add_overflow(size, bytes, &size))
        return MP_ERR_MEMORY;
    peer->prefixes = memory_allocate(size);
    if (peer->prefixes == NULL)
        return MP_ERR_MEMORY;
    uint8_t *at = (uint8_t *)(peer->prefixes + count);
    for (size_t i = 0; i < count; i++) {
        const struct peer_prefix *prefix = &settings->subscriptions[i];
        if (prefix->size > 0)
            memcpy(at, prefix->data, prefix->size);
        peer->prefixes[i] = (struct peer_prefix){at, prefix->size};
        at += prefix->size;
    }
    return MP_OK;
}

static void set_defaults(struct peer_settings *settings)
{
    if (settings->max_message == 0)
        settings->max_message = 64 * MIB;
    if (settings->send_limit == 0)
        settings->send_limit = 4 * MIB;
    if (settings->receive_limit == 0)
        settings->receive_limit = 8 * MIB;
    if (settings->window == 0)
        settings->window = 1;
    if (settings->window > PEER_WINDOW_MAX)
        settings->window = PEER_WINDOW_MAX;
    if (settings->survey_time <= 0)
        settings->survey_time = 1000000;
    if (settings->resend_time == 0)
        settings->resend_time = 60000000;
    switch (settings->pattern) {
    case PEER_PUSH:
    case PEER_REQ:
    case PEER_PAIR:
    case PEER_PAIR1:
        if (settings->await_peers == 0)
            settings->await_peers = 1;
        break;
    default:
        break;
    }
}

static enum mp_error open_server(struct peer *peer, struct fault *fault)
{
    struct server_settings settings = {
        .protocol = rules_protocol(peer->settings.pattern),
        .max_message = peer->settings.max_message,
        .total_budget = peer->settings.receive_limit,
        .unsent_limit = SIZE_MAX, /* two ends that both wait for the other to read would never end */
        .context = peer,
        .connected = on_connected,
        .disconnected = on_disconnected,
        .received = on_received,
        .trouble = on_trouble,
    };
    enum mp_error error = server_new(peer->base, &settings, &peer->server, fault);

    if (error != MP_OK)
        return error;
    server_cork(peer->server, true);
    if (peer->settings.role == PEER_DIAL)
        return dial_new(peer, &peer->dial, fault);
    return server_listen(peer->server, &peer->address, fault);
}

enum mp_error peer_open(struct event_base *base, const struct peer_settings *settings, struct peer **made,
                        struct fault *fault)
{
    struct peer *peer = memory_allocate(sizeof *peer);
    enum mp_error error;

    if (peer == NULL)
        return fault_memory(fault);
    peer->settings = *settings;
    peer->base = base;
    peer->queue_end = &peer->queue;
    peer->inbox_end = &peer->inbox;
    peer->receiving = true;
    set_defaults(&peer->settings);

    error = address_parse(settings->url, &peer->address, fault);
    if (error != MP_OK)
        goto fail;
    error = copy_subscriptions(peer, settings);
    peer->turn = evtimer_new(base, on_turn, peer);
    peer->timer = evtimer_new(base, on_timer, peer);
    peer->closing = evtimer_new(base, on_closing, peer);
    if (settings->pattern == PEER_REQ)
        peer->requests = memory_allocate_array(peer->settings.window, sizeof *peer->requests);
    if (error != MP_OK || peer->turn == NULL || peer->timer == NULL || peer->closing == NULL ||
        (settings->pattern == PEER_REQ && peer->requests == NULL)) {
        error = fault_memory(fault);
        goto fail;
    }
    error = open_server(peer, fault);
    if (error != MP_OK)
        goto fail;
    *made = peer;
    return MP_OK;

fail:
    peer_free(peer);
    return error;
}

void peer_free(struct peer *peer)
{
    if (peer == NULL)
        return;
    peer->freeing = true;
    dial_free(peer->dial);
    while (peer->inbox != NULL)
        server_message_free(inbox_pop(peer));
    server_free(peer->server); /* releases every part */
    links_free(peer);
    rules_free(peer);
    if (peer->turn != NULL)
        event_free(peer->turn);
    if (peer->timer != NULL)
        event_free(peer->timer);
    if (peer->closing != NULL)
        event_free(peer->closing);
    memory_release(peer->prefixes);
    memory_release(peer);
}

void peer_finish(struct peer *peer, int64_t linger)
{
    if (peer->finishing)
        return;
    int64_t now = clock_monotonic();
    peer->finishing = true;
    peer->look_after = LOOK_MIN;
    if (linger < 0 || __builtin_add_overflow(now, linger, &peer->finish_by))
        peer->finish_by = CLOCK_NEVER;
    peer_schedule(peer);
}

/* ---- what the tools call ---- */

const char *peer_url(const struct peer *peer)
{
    return peer->address.text;
}

enum mp_error peer_send(struct peer *peer, const struct peer_part *part, struct fault *fault)
{
    uint32_t id = 0;

    if (!peer_pattern_sends(peer->settings.pattern))
        return fault_set(fault, MP_ERR_UNSUPPORTED, "%s only receives", peer_pattern_name(peer->settings.pattern));
    if (peer->finishing)
        return fault_set(fault, MP_ERR_CLOSED, "%s: closed", peer->address.text);
    if (part->size > peer->settings.max_message)
        return fault_set(fault, MP_ERR_TOO_LARGE, "a message of %zu bytes: the limit is %zu", part->size,
                         peer->settings.max_message);
    if (!rules_can_take(peer)) {
        peer->blocked = true;
        return MP_ERR_AGAIN;
    }

    struct peer_outgoing *outgoing = outgoing_new(part, &id, rules_ids(peer));
    if (outgoing == NULL)
        return fault_memory(fault);
    outgoing->number = peer->next_number++;
    rules_take(peer, outgoing);
    peer->busy = true;
    rules_dispatch(peer);
    peer_schedule(peer);
    return MP_OK;
}

enum mp_error peer_reply(struct peer *peer, const struct peer_token *token, const struct peer_part *part,
                         struct fault *fault)
{
    if (peer->settings.pattern != PEER_REP && peer->settings.pattern != PEER_RESPONDENT)
        return fault_set(fault, MP_ERR_UNSUPPORTED, "%s does not reply", peer_pattern_name(peer->settings.pattern));
    if (part->size > peer->settings.max_message)
        return fault_set(fault, MP_ERR_TOO_LARGE, "a reply of %zu bytes: the limit is %zu", part->size,
                         peer->settings.max_message);
    struct peer_link *link = link_find(peer, token->connection);
    if (link == NULL || link->queued >= peer->settings.send_limit) {
        if (link != NULL)
            peer->counters.dropped++;
        if (part->release != NULL)
            part->release(part->owner);
        return fault_set(fault, MP_ERR_CLOSED,
                         link == NULL ? "whom this answers has gone" : "whom this answers does not read its replies");
    }
    struct peer_outgoing *outgoing = outgoing_new(part, token->ids, token->ids_count);
    if (outgoing == NULL)
        return fault_memory(fault);
    bool given = link_give(link, outgoing);
    if (!given && !link->leaving)
        outgoing->release = NULL; /* it stays with the caller */
    outgoing_drop(outgoing);
    if (!given)
        return link->leaving ? fault_set(fault, MP_ERR_CLOSED, "whom this answers has gone") : fault_memory(fault);
    peer->busy = true;
    if (peer->gathered >= PEER_GATHER)
        peer_flush(peer);
    peer_schedule(peer);
    return MP_OK;
}

void peer_receive(struct peer *peer, bool receive)
{
    peer->receiving = receive;
    if (receive && peer->inbox != NULL)
        peer_schedule(peer);
}

unsigned peer_count(const struct peer *peer)
{
    return peer->links_count;
}

uint64_t peer_pending(const struct peer *peer)
{
    return rules_pending(peer);
}

const char *peer_trouble(const struct peer *peer)
{
    return peer->trouble;
}

struct peer_counters peer_counters(const struct peer *peer)
{
    return peer->counters;
}

const void *peer_message_data(const struct peer_message *message, size_t *size)
{
    const struct server_message *received = (const struct server_message *)message;

    *size = received->size;
    return received->data;
}

void peer_message_free(struct peer_message *message)
{
    server_message_free((struct server_message *)message);
}
