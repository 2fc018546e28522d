#include "fake_relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- events ------------------------------------------------------------------------------- */

enum { RESEND = 1000000, POLL = 100000 }; /* microseconds */

enum event_kind { EVENT_REQUEST, EVENT_REPLY, EVENT_AGAIN };

struct fake_event {
    struct fake_event *next;
    enum event_kind kind;
    int64_t time;
    struct fake_channel *channel;
    enum channel_lane lane;
    uint64_t id;   /* of the request on its channel */
    int64_t until; /* a long poll's end; 0: it has not begun */
    size_t size;
    uint8_t data[];
};

struct fake_lane {
    bool busy;
    uint64_t id;
    struct buffer request;
};

struct fake_channel {
    struct channel base;
    struct fake_network *network;
    uint64_t ids;
    struct fake_lane lanes[CHANNEL_LANES];
    struct channel_reply *first;
    struct channel_reply **last;
    int pipe[2]; /* always readable */
};

uint32_t fake_random(struct fake_network *network, uint32_t limit)
{
    network->random ^= network->random << 13;
    network->random ^= network->random >> 7;
    network->random ^= network->random << 17;
    return (uint32_t)((network->random >> 32) % limit);
}

static bool happens(struct fake_network *network, unsigned per_thousand)
{
    return fake_random(network, 1000) < per_thousand;
}

static void add_event(struct fake_channel *channel, enum event_kind kind, enum channel_lane lane, uint64_t id,
                      const struct buffer *bytes, int64_t wait, int64_t until)
{
    size_t size = bytes != NULL ? bytes->size : 0;
    struct fake_event *event = malloc(sizeof *event + size);
    assert_non_null(event);
    *event = (struct fake_event){.next = channel->network->events,
                                 .kind = kind,
                                 .time = channel->network->now + wait,
                                 .channel = channel,
                                 .lane = lane,
                                 .id = id,
                                 .until = until,
                                 .size = size};
    if (size > 0) {
        memcpy(event->data, bytes->data, size);
    }
    channel->network->events = event;
}

/* One copy of BYTES sets out, or two, or none. */
static void launch(struct fake_channel *channel, enum event_kind kind, enum channel_lane lane, uint64_t id,
                   const struct buffer *bytes)
{
    struct fake_network *network = channel->network;
    int copies = 1 + (happens(network, network->repeat) ? 1 : 0);
    for (int i = 0; i < copies; i++) {
        int64_t wait = 30 + (network->delay > 0 ? fake_random(network, (uint32_t)network->delay) : 0);
        if (!happens(network, network->lose) && !network->cut && !(network->cut_replies && kind == EVENT_REPLY)) {
            add_event(channel, kind, lane, id, bytes, wait, 0);
        }
    }
}

/* ---- the channel -------------------------------------------------------------------------- */

static enum mp_error channel_send(struct channel *base, enum channel_lane lane, const struct iovec *parts, int count,
                                  struct fault *fault)
{
    struct fake_channel *channel = (struct fake_channel *)base;
    struct fake_lane *state = &channel->lanes[lane];
    if (channel->network->live) {
        channel->network->now = clock_monotonic();
    }
    assert_false(state->busy);
    state->busy = true;
    state->id = ++channel->ids;
    state->request.size = 0;
    for (int i = 0; i < count; i++) {
        if (buffer_append(&state->request, parts[i].iov_base, parts[i].iov_len) != MP_OK) {
            state->busy = false;
            return fault_memory(fault);
        }
    }
    launch(channel, EVENT_REQUEST, lane, state->id, &state->request);
    add_event(channel, EVENT_AGAIN, lane, state->id, NULL, RESEND + fake_random(channel->network, RESEND), 0);
    return MP_OK;
}

static void catch_up(struct fake_network *network)
{
    if (network->live) {
        network->now = clock_monotonic();
        fake_happen(network);
    }
}

static struct channel_reply *channel_receive(struct channel *base)
{
    struct fake_channel *channel = (struct fake_channel *)base;
    catch_up(channel->network);
    struct channel_reply *reply = channel->first;
    if (reply != NULL) {
        channel->first = reply->next;
        if (channel->first == NULL) {
            channel->last = &channel->first;
        }
    }
    return reply;
}

static void channel_forget(struct channel *base, enum channel_lane lane)
{
    ((struct fake_channel *)base)->lanes[lane].busy = false;
}

static int channel_descriptor(const struct channel *base)
{
    return ((const struct fake_channel *)base)->pipe[0];
}

static bool channel_connected(const struct channel *base, enum channel_lane lane)
{
    (void)lane;
    return !((const struct fake_channel *)base)->network->cut;
}

static void release_reply(void *owner)
{
    free(owner);
}

static void channel_close(struct channel *base)
{
    struct fake_channel *channel = (struct fake_channel *)base;
    struct fake_event **at = &channel->network->events;
    while (*at != NULL) {
        struct fake_event *event = *at;
        if (event->channel == channel) {
            *at = event->next;
            free(event);
        } else {
            at = &event->next;
        }
    }
    struct channel_reply *reply;
    while ((reply = channel->first) != NULL) {
        channel->first = reply->next;
        channel_reply_free(reply);
    }
    for (int lane = 0; lane < CHANNEL_LANES; lane++) {
        buffer_free(&channel->lanes[lane].request);
    }
    close(channel->pipe[0]);
    close(channel->pipe[1]);
    free(channel);
}

static const struct channel_operations operations = {.send = channel_send,
                                                     .receive = channel_receive,
                                                     .forget = channel_forget,
                                                     .descriptor = channel_descriptor,
                                                     .connected = channel_connected,
                                                     .close = channel_close};

struct channel *fake_channel_open(struct fake_network *network)
{
    struct fake_channel *channel = calloc(1, sizeof *channel);
    assert_non_null(channel);
    channel->base.operations = &operations;
    channel->network = network;
    channel->last = &channel->first;
    assert_int_equal(pipe(channel->pipe), 0);
    assert_int_equal(write(channel->pipe[1], "", 1), 1);
    return &channel->base;
}

/* A reply has reached the client's end; only the first one to the request under way counts. */
static void deliver(const struct fake_event *event)
{
    struct fake_lane *lane = &event->channel->lanes[event->lane];
    if (!lane->busy || lane->id != event->id) {
        return;
    }
    lane->busy = false;
    struct channel_reply *reply = malloc(sizeof *reply);
    uint8_t *data = malloc(event->size);
    assert_non_null(reply);
    assert_non_null(data);
    memcpy(data, event->data, event->size);
    *reply = (struct channel_reply){
        .lane = event->lane, .data = data, .size = event->size, .owner = data, .release = release_reply};
    *event->channel->last = reply;
    event->channel->last = &reply->next;
}

/* ---- the relay ---------------------------------------------------------------------------- */

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
                                       .instance = 1,
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
        if (!grouped || !happens(network, network->gaps)) {
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
static bool is_too_much(const struct fake_network *network, const struct protocol_request *request)
{
    struct protocol_publication publication;
    struct frame frame;
    if (network->takes == 0 || request->type != PROTOCOL_PUBLISH || request->flags != PROTOCOL_DIVISIBLE) {
        return false;
    }
    assert_int_equal(protocol_read_publish(request, &publication), MP_OK);
    assert_int_equal(frame_open(&frame, publication.frame, publication.frame_size, true, NULL), MP_OK);
    return frame.count > network->takes;
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

static enum mp_error serve(struct fake_network *network, const struct protocol_request *request, struct buffer *out,
                           uint32_t *wait)
{
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
    if (happens(network, network->again)) {
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

static void arrive(struct fake_network *network, const struct fake_event *event)
{
    struct protocol_request request;
    struct buffer out = {0};
    uint32_t wait = 0;
    assert_int_equal(protocol_read_request(event->data, event->size, &request), MP_OK);
    assert_int_equal(request.lane, event->lane);
    if (network->stranger > 0 && event->size > network->stranger && find_session(network, request.session) == NULL) {
        return; /* its connection is closed */
    }
    if (event->until == 0) {
        count_request(network, request.type);
    }
    enum mp_error error = serve(network, &request, &out, &wait);
    int64_t until = event->until != 0 ? event->until : network->now + (int64_t)wait * 1000;
    if (error == MP_ERR_AGAIN && network->now < until) {
        struct buffer bytes = {.data = (uint8_t *)event->data, .size = event->size};
        int64_t step = until - network->now < POLL ? until - network->now : POLL;
        add_event(event->channel, EVENT_REQUEST, event->lane, event->id, &bytes, step, until);
    } else {
        if (network->version != 0) {
            out.data[1] = (uint8_t)network->version;
        }
        launch(event->channel, EVENT_REPLY, event->lane, event->id, &out);
    }
    buffer_free(&out);
}

/* ---- time --------------------------------------------------------------------------------- */

static void resend(const struct fake_event *event)
{
    struct fake_lane *lane = &event->channel->lanes[event->lane];
    if (lane->busy && lane->id == event->id) {
        launch(event->channel, EVENT_REQUEST, event->lane, event->id, &lane->request);
        add_event(event->channel, EVENT_AGAIN, event->lane, event->id, NULL,
                  RESEND + fake_random(event->channel->network, RESEND), 0);
    }
}

static struct fake_event **earliest(struct fake_network *network)
{
    struct fake_event **found = &network->events;
    for (struct fake_event **at = &network->events; *at != NULL; at = &(*at)->next) {
        if ((*at)->time < (*found)->time) {
            found = at;
        }
    }
    return found;
}

int64_t fake_next(const struct fake_network *network)
{
    struct fake_event *event = *earliest((struct fake_network *)network);
    return event == NULL ? CLOCK_NEVER : event->time;
}

void fake_happen(struct fake_network *network)
{
    while (fake_next(network) <= network->now) {
        struct fake_event **at = earliest(network);
        struct fake_event *event = *at;
        *at = event->next;
        switch (event->kind) {
        case EVENT_REQUEST:
            arrive(network, event);
            break;
        case EVENT_REPLY:
            deliver(event);
            break;
        case EVENT_AGAIN:
            resend(event);
            break;
        }
        free(event);
    }
}

struct fake_network *fake_network_new(uint64_t seed)
{
    struct fake_network *network = calloc(1, sizeof *network);
    assert_non_null(network);
    network->now = 1000000;
    network->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    network->lease = 30000;
    network->session_life = INT64_C(3600000000);
    return network;
}

void fake_network_free(struct fake_network *network)
{
    assert_null(network->events);
    for (unsigned i = 0; i < network->sessions_count; i++) {
        if (!network->sessions[i].ended) {
            end_session(network, &network->sessions[i]);
        }
    }
    free(network);
}
