/* The relay of fake_relay.h. */
#include "fake_relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static struct fake_session *find_session(struct fake_network *network, uint64_t id)
{
    for (unsigned i = 0; i < network->sessions_count; i++) {
        if (network->sessions[i].id == id && !network->sessions[i].ended) {
            return &network->sessions[i];
        }
    }
    return NULL;
}

static void end_session(struct fake_network *network, struct fake_session *session)
{
    session->ended = true;
    for (int lane = 0; lane < PROTOCOL_LANES; lane++) {
        buffer_free(&session->recorded[lane]);
    }
    for (uint32_t i = 0; i < network->messages_count; i++) {
        struct fake_message *message = &network->messages[i];
        if (message->state == FAKE_LEASED && message->session == session->id) {
            message->state = FAKE_WAITING;
        }
    }
}

void fake_forget_sessions(struct fake_network *network, int64_t before)
{
    for (unsigned i = 0; i < network->sessions_count; i++) {
        if (!network->sessions[i].ended && network->sessions[i].used < before) {
            end_session(network, &network->sessions[i]);
        }
    }
}

static void expire_leases(struct fake_network *network)
{
    for (uint32_t i = 0; i < network->messages_count; i++) {
        struct fake_message *message = &network->messages[i];
        if (message->state == FAKE_LEASED) {
            struct fake_session *session = find_session(network, message->session);
            if (session == NULL || session->lease_until < network->now) {
                message->state = FAKE_WAITING;
            }
        }
    }
}

static void serve_hello(struct fake_network *network, const struct protocol_request *request, struct buffer *out)
{
    network->hellos++;
    if (network->deny) {
        protocol_put_error(out, request->type, MP_ERR_DENIED, request->number, 0, "not you");
        return;
    }
    const char *name;
    size_t size;
    assert_int_equal(protocol_read_hello(request, &name, &size, &network->keep), MP_OK);
    struct fake_session *session = request->session != 0 ? find_session(network, request->session) : NULL;
    if (request->session != 0 && session == NULL) {
        protocol_put_error(out, request->type, MP_ERR_SESSION, request->number, 0, "not known");
        return;
    }
    if (session == NULL) {
        assert_true(network->sessions_count < FAKE_SESSIONS);
        session = &network->sessions[network->sessions_count++];
        *session = (struct fake_session){.id = 1000 + network->sessions_count, .used = network->now};
    }
    struct protocol_welcome welcome = {.session = session->id,
                                       .instance = 1 + network->restarts,
                                       .published = session->numbers[PROTOCOL_LANE_PUBLISH],
                                       .max_message = 1000000,
                                       .lease = network->lease,
                                       .relay = "fake",
                                       .version = "1"};
    protocol_put_reply(out, PROTOCOL_HELLO, MP_OK, request->number);
    protocol_put_welcome(out, &welcome);
}

static void serve_publish(struct fake_network *network, const struct protocol_request *request, struct buffer *out)
{
    struct protocol_publication publication;
    struct frame frame;
    struct record record;
    assert_int_equal(protocol_read_publish(request, &publication), MP_OK);
    assert_int_equal(frame_open(&frame, publication.frame, publication.frame_size, true, NULL), MP_OK);
    assert_true(frame.producer == request->session);
    network->delayed += publication.when == PROTOCOL_WHEN_DELAY;
    uint32_t first = network->messages_count;
    struct frame_cursor cursor = frame_cursor(&frame);
    while (frame_next(&cursor, &record)) {
        assert_true(network->messages_count < FAKE_MESSAGES && record.size >= 4);
        network->messages[network->messages_count++] = (struct fake_message){
            .value = load_u32(record.body), .producer = record.producer, .sequence = record.sequence};
    }
    protocol_put_reply(out, PROTOCOL_PUBLISH, MP_OK, request->number);
    protocol_put_published(out, first, frame.count, 0);
}

enum { SPAN_MAX = 128 };

/* A chunk that is being made: messages of one attempt, with gaps where the relay is in the mood for them. */
struct making {
    struct frame_builder frame;
    uint32_t first;
    uint32_t span;
    uint8_t mask[SPAN_MAX / 8];
};

static void add_message(struct making *making, const struct fake_message *message, uint32_t at)
{
    uint8_t body[4];
    if (making->frame.count == 0) {
        frame_begin(&making->frame, message->producer, message->sequence);
        making->first = at;
    }
    store_u32(body, message->value);
    frame_add(&making->frame, body, sizeof body, NULL, 0);
    making->span = at - making->first + 1;
    making->mask[(making->span - 1) / 8] |= (uint8_t)(1U << (making->span - 1) % 8);
}

/* Makes a chunk of what is there from *AT on, LIMIT messages at most, and moves *AT behind it. */
static void make_chunk(struct fake_network *network, bool grouped, uint32_t limit, uint32_t end, uint32_t *at,
                       struct making *making)
{
    uint16_t attempt = network->messages[*at].attempt;
    for (; *at < end && making->frame.count < limit; (*at)++) {
        const struct fake_message *message = &network->messages[*at];
        if ((grouped && message->state != FAKE_WAITING) || message->attempt != attempt ||
            (making->frame.count > 0 && *at - making->first >= SPAN_MAX)) {
            break;
        }
        if (!grouped || !fake_happens(network, network->gaps)) {
            add_message(making, message, *at);
        }
    }
    if (making->frame.count == 0) {
        ++*at;
    }
}

static void lease_chunk(struct fake_network *network, const struct protocol_request *request,
                        const struct making *making)
{
    for (uint32_t i = 0; i < making->span; i++) {
        if ((making->mask[i / 8] >> i % 8 & 1) != 0) {
            struct fake_message *message = &network->messages[making->first + i];
            message->state = FAKE_LEASED;
            message->session = request->session;
            message->lease = request->number;
            message->attempt++;
        }
    }
}

/* The chunks of an answer; false when there are none. */
static bool put_chunks(struct fake_network *network, const struct protocol_request *request,
                       const struct protocol_fetch *fetch, uint32_t from, struct buffer *out)
{
    bool grouped = request->number > 0;
    bool exact = fetch->from == PROTOCOL_FROM_EXACT;
    struct buffer chunks = {0};
    uint32_t given = 0;
    uint32_t count = 0;
    uint32_t limit = fetch->max_messages != 0 ? fetch->max_messages : 50;
    uint32_t end = network->messages_count;
    if (exact) {
        from = (uint32_t)fetch->value;
        end = from + limit < end ? from + limit : end;
    }
    for (uint32_t i = from; i < end && given < limit && count < 20;) {
        struct making making = {0};
        make_chunk(network, grouped, limit - given, end, &i, &making);
        if (making.frame.count > 0) {
            frame_finish(&making.frame, 1);
            given += making.frame.count;
            struct protocol_chunk chunk = {.topic = 1,
                                           .group = grouped ? 1 : 0,
                                           .first = making.first,
                                           .count = making.frame.count,
                                           .span = making.span,
                                           .mask = making.mask,
                                           .attempt = (uint16_t)(network->messages[making.first].attempt + 1),
                                           .name = "t",
                                           .name_size = 1,
                                           .frame_size = (uint32_t)making.frame.bytes.size};
            if (grouped) {
                lease_chunk(network, request, &making);
            } else {
                chunk.attempt = 0;
            }
            protocol_put_chunk(&chunks, &chunk);
            if (network->damage) {
                making.frame.bytes.data[making.frame.bytes.size - 1] ^= 1;
                network->damage = false;
            }
            buffer_append(&chunks, making.frame.bytes.data, making.frame.bytes.size);
            count++;
        }
        frame_builder_free(&making.frame);
    }
    protocol_put_reply(out, PROTOCOL_FETCH, MP_OK, request->number);
    protocol_put_fetched(out, count == 0 ? PROTOCOL_FETCH_END : 0, 0, count);
    buffer_append(out, chunks.data, chunks.size);
    buffer_free(&chunks);
    return count > 0;
}

/* MP_ERR_AGAIN: nothing is there, and it is to be asked again after *WAIT milliseconds at most. */
static enum mp_error serve_fetch(struct fake_network *network, const struct protocol_request *request,
                                 struct buffer *out, uint32_t *wait)
{
    struct protocol_fetch fetch;
    uint32_t from = 0;
    assert_int_equal(protocol_read_fetch(request, &fetch), MP_OK);
    bool peeks = (request->flags & PROTOCOL_FETCH_PEEK) != 0;
    assert_true(peeks ? fetch.group_size > 0 : (fetch.group_size > 0) == (request->number > 0));
    if (request->number == 0) {
        network->peeks += peeks;
        for (uint32_t i = 0; i < fetch.positions_count; i++) {
            from = (uint32_t)protocol_fetch_position(&fetch, i).next;
        }
    }
    expire_leases(network);
    *wait = fetch.wait;
    if (put_chunks(network, request, &fetch, from, out)) {
        find_session(network, request->session)->lease_until = network->now + (int64_t)network->lease * 1000;
        return MP_OK;
    }
    return MP_ERR_AGAIN;
}

/* How many messages of ITEM are leased as it says; settles them, if APPLY. */
static uint32_t settle_item(struct fake_network *network, const struct protocol_request *request,
                            const struct protocol_settlement *item, bool apply)
{
    uint32_t held = 0;
    for (uint64_t at = item->first; at < item->first + item->span; at++) {
        assert_true(at < network->messages_count);
        struct fake_message *message = &network->messages[at];
        if (message->state == FAKE_LEASED && message->session == request->session && message->lease == item->lease) {
            held++;
        } else {
            continue;
        }
        if (apply) {
            message->state = item->action == PROTOCOL_ACK ? FAKE_ACKED : FAKE_WAITING;
            network->acked += item->action == PROTOCOL_ACK;
        }
    }
    return held;
}

/* What is published with a settlement goes into another topic: it is counted by its values. */
static void serve_outputs(struct fake_network *network, struct protocol_settle settle)
{
    struct protocol_publication to;
    struct frame frame;
    struct record record;
    while (protocol_settle_publish(&settle, &to)) {
        assert_int_equal(frame_open(&frame, to.frame, to.frame_size, true, NULL), MP_OK);
        assert_true(frame.sequence > network->output_sequence || frame.producer != network->output_producer);
        network->output_producer = frame.producer;
        network->output_sequence = frame.sequence + frame.count - 1;
        snprintf(network->target, sizeof network->target, "%.*s", (int)to.target_size, to.target);
        struct frame_cursor cursor = frame_cursor(&frame);
        while (frame_next(&cursor, &record)) {
            network->outputs[load_u32(record.body) % FAKE_MESSAGES]++;
        }
    }
}

/* MP_ERR_STALE: refused, and nothing was done. */
static enum mp_error serve_settle(struct fake_network *network, const struct protocol_request *request,
                                  struct buffer *out)
{
    struct protocol_settle settle;
    struct protocol_settlement item;
    uint32_t applied = 0;
    uint32_t stale = 0;
    assert_int_equal(protocol_read_settle(request, &settle), MP_OK);
    assert_true(settle.publishes == 0 || request->flags == PROTOCOL_ATOMIC);
    expire_leases(network);
    for (uint32_t i = 0; request->flags == PROTOCOL_ATOMIC && i < settle.count; i++) {
        assert_true(protocol_settle_item(&settle, i, &item));
        if (settle_item(network, request, &item, false) != item.count) {
            return MP_ERR_STALE;
        }
    }
    struct reader words = settle.words;
    for (uint32_t i = 0; i < settle.count; i++) {
        assert_true(protocol_settle_item(&settle, i, &item));
        if (protocol_settle_note(&words, i, &item.note, &item.note_size)) {
            snprintf(network->note, sizeof network->note, "%.*s", (int)item.note_size, item.note);
            network->note_size = item.note_size;
            network->notes++;
        }
        network->settlements++;
        network->last = item;
        uint32_t some = settle_item(network, request, &item, true);
        applied += some;
        stale += item.count - some;
    }
    serve_outputs(network, settle);
    protocol_put_reply(out, PROTOCOL_SETTLE, MP_OK, request->number);
    protocol_put_settled(out, applied, stale);
    return MP_OK;
}

/* Whether a publication has more messages than the relay takes at a time. */
static bool is_too_much(struct fake_network *network, const struct protocol_request *request)
{
    struct protocol_publication publication;
    struct frame frame;
    if (network->takes == 0 || request->type != PROTOCOL_PUBLISH || request->flags != PROTOCOL_DIVISIBLE) {
        return false;
    }
    assert_int_equal(protocol_read_publish(request, &publication), MP_OK);
    assert_int_equal(frame_open(&frame, publication.frame, publication.frame_size, true, NULL), MP_OK);
    return frame.count > network->takes && !fake_happens(network, network->roomy);
}

static enum mp_error serve_room(const struct fake_network *network, const struct protocol_request *request,
                                struct buffer *out)
{
    struct protocol_room room;
    assert_int_equal(protocol_read_room(request, &room), MP_OK);
    protocol_put_reply(out, request->type, MP_OK, request->number);
    bool less = network->takes > 0 && request->flags == PROTOCOL_DIVISIBLE && room.messages > network->takes;
    return protocol_put_u32(out, less ? network->takes : room.messages);
}

static enum mp_error commit_mood(struct fake_network *network, const struct protocol_request *request)
{
    enum mp_error status = network->refuse_commit;
    if (request->flags != PROTOCOL_ATOMIC) {
        return MP_OK;
    }
    network->commits++;
    network->refuse_commit = MP_OK;
    return network->full ? MP_ERR_FULL : status;
}

static enum mp_error serve_numbered(struct fake_network *network, struct fake_session *session,
                                    const struct protocol_request *request, struct buffer *out, uint32_t *wait)
{
    unsigned lane = request->lane;
    enum mp_error error = MP_OK;
    if (request->type == PROTOCOL_PUBLISH && network->forget_numbers) {
        return protocol_put_error(out, request->type, MP_ERR_GAP, request->number, 1, NULL);
    }
    if (request->number == session->numbers[lane]) {
        return buffer_append(out, session->recorded[lane].data, session->recorded[lane].size);
    }
    if (request->number != session->numbers[lane] + 1) {
        return protocol_put_error(out, request->type, MP_ERR_GAP, request->number, session->numbers[lane] + 1, NULL);
    }
    bool full = network->full || is_too_much(network, request);
    if (request->type == PROTOCOL_PUBLISH && (full || network->refuse != MP_OK)) {
        enum mp_error status = full ? MP_ERR_FULL : network->refuse;
        network->refuse = MP_OK;
        return protocol_put_error(out, request->type, status, request->number, 0, "no");
    }
    if (request->type == PROTOCOL_PUBLISH) {
        serve_publish(network, request, out);
    } else if (request->type == PROTOCOL_SETTLE) {
        enum mp_error status = commit_mood(network, request);
        status = status == MP_OK ? serve_settle(network, request, out) : status;
        if (status != MP_OK) {
            return protocol_put_error(out, request->type, status, request->number, 0, "no");
        }
    } else if (network->lapse) {
        network->lapse = false;
        protocol_put_reply(out, PROTOCOL_FETCH, MP_OK, request->number);
        protocol_put_fetched(out, PROTOCOL_FETCH_LAPSED, 0, 0);
    } else {
        error = serve_fetch(network, request, out, wait);
    }
    if (error == MP_OK) {
        session->numbers[lane] = request->number;
        session->recorded[lane].size = 0;
        buffer_append(&session->recorded[lane], out->data, out->size);
    }
    return error;
}

static void count_request(struct fake_network *network, enum protocol_type type)
{
    network->publishes += type == PROTOCOL_PUBLISH;
    network->fetches += type == PROTOCOL_FETCH;
    network->settles += type == PROTOCOL_SETTLE;
    network->extends += type == PROTOCOL_EXTEND;
    network->rooms += type == PROTOCOL_ROOM;
    network->leaves += type == PROTOCOL_LEAVE;
    network->asks += type == PROTOCOL_ADMIN;
}

bool fake_admits(struct fake_network *network, const struct protocol_request *request, size_t size)
{
    return network->stranger == 0 || size <= network->stranger || find_session(network, request->session) != NULL;
}

enum mp_error fake_serve(struct fake_network *network, const struct protocol_request *request, bool first,
                         struct buffer *out, uint32_t *wait)
{
    if (first) {
        count_request(network, request->type);
    }
    if (request->type == PROTOCOL_HELLO) {
        serve_hello(network, request, out);
        return MP_OK;
    }
    fake_forget_sessions(network, network->now - network->session_life);
    struct fake_session *session = find_session(network, request->session);
    if (session == NULL || network->knows_nobody) {
        return protocol_put_error(out, request->type, MP_ERR_SESSION, request->number, 0, NULL);
    }
    session->used = network->now;
    if (fake_happens(network, network->again)) {
        return protocol_put_error(out, request->type, MP_ERR_AGAIN, request->number, 0, NULL);
    }
    switch (request->type) {
    case PROTOCOL_FETCH:
        if (request->number == 0) {
            return serve_fetch(network, request, out, wait);
        }
        return serve_numbered(network, session, request, out, wait);
    case PROTOCOL_PUBLISH:
    case PROTOCOL_SETTLE:
        return serve_numbered(network, session, request, out, wait);
    case PROTOCOL_ROOM:
        *wait = 1000;
        if (network->full) {
            protocol_put_error(out, request->type, MP_ERR_FULL, request->number, 0, NULL);
            return MP_ERR_AGAIN;
        }
        return serve_room(network, request, out);
    case PROTOCOL_LEAVE:
        end_session(network, session);
        break;
    case PROTOCOL_EXTEND:
        session->lease_until = network->now + (int64_t)network->lease * 1000;
        break;
    case PROTOCOL_HELLO:
        break;
    case PROTOCOL_ADMIN:
        protocol_put_reply(out, request->type, MP_OK, request->number);
        return buffer_append(out, request->body, request->body_size);
    }
    protocol_put_reply(out, request->type, MP_OK, request->number);
    return protocol_put_u32(out, 1);
}
