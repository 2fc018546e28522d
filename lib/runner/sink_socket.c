/*
 * Messages to a socket that any program on nng or nanomsg can read: their bodies as they are, or with format json each
 * as a CloudEvents JSON object. sink.h says what counts as done.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "base/turn.h"
#include "runner/sink_private.h"
#include "transport/peer.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    HELD_MAX = 4096, /* tasks */
    AGAIN = 100000,  /* microseconds until there may be memory again */
    LINGER = 5000000 /* microseconds for the other ends to read */
};

/* A message that the peer has. */
struct sending {
    struct sending *next;
    struct sink_socket *socket;
    struct stage_task *task;
    uint64_t number; /* of the message, as the peer counts */
    struct buffer text;
    bool replied;
    bool done; /* it goes back with the next turn */
    enum stage_end end;
};

struct sink_socket {
    struct sink *sink;
    struct peer *peer;
    struct turn turn;
    enum peer_pattern pattern;
    bool asks;     /* a reply settles it: req, surveyor */
    bool waits;    /* for somebody to send to */
    bool troubled; /* it was said why nobody is there */
    bool json;
    struct task_queue waiting;
    struct sending *first; /* in the order of their numbers */
    struct sending **end_of_list;
    uint32_t held;
    uint64_t numbers;
    uint64_t dropped; /* of them was told */
    bool blocked;
    bool stopped;
    bool finishing;
    bool over;
    bool ended;
};

/* ---- what the peer tells -------------------------------------------------------------------------------------- */

/* The last byte was taken (or nobody is left who would), or the peer was freed. */
static void on_released(void *owner)
{
    struct sending *sending = owner;
    sending->end = sending->socket->ended ? STAGE_NOT_BEGUN : STAGE_SUCCEEDED;
    sending->done = true;
    turn_soon(&sending->socket->turn);
}

static struct sending *find(const struct sink_socket *socket, uint64_t number)
{
    struct sending *sending = socket->first;
    while (sending && sending->number != number)
        sending = sending->next;
    return sending;
}

static void on_received(void *context, struct peer_message *message, const struct peer_token *token)
{
    struct sink_socket *socket = context;
    struct sending *sending = socket->asks ? find(socket, token->request) : NULL;
    if (sending) {
        sending->replied = true;
        sending->end = STAGE_SUCCEEDED;
        sending->done = sending->done || socket->pattern == PEER_REQ;
        turn_soon(&socket->turn);
    }
    peer_message_free(message);
}

static void on_survey_ended(void *context, uint64_t request)
{
    struct sink_socket *socket = context;
    struct sending *sending = find(socket, request);
    if (!sending)
        return;
    sending->done = true;
    turn_soon(&socket->turn);
}

static void on_writable(void *context)
{
    struct sink_socket *socket = context;
    socket->blocked = false;
    turn_soon(&socket->turn);
}

static void on_finished(void *context, const struct peer_result *result)
{
    (void)result;
    struct sink_socket *socket = context;
    socket->over = true;
}

static void on_peers(void *context, unsigned count)
{
    (void)count;
    struct sink_socket *socket = context;
    socket->troubled = false;
    turn_soon(&socket->turn);
}

static void on_trouble(void *context, const char *what)
{
    struct sink_socket *socket = context;
    if (!socket->waits || peer_count(socket->peer) > 0) {
        sink_warn(socket->sink, "connection", what);
        return;
    }
    socket->troubled = true;
    sink_pause(socket->sink, what);
}

/* ---- sending -------------------------------------------------------------------------------------------------- */

static void forget(struct sink_socket *socket, struct sending **link)
{
    struct sending *sending = *link;
    *link = sending->next;
    if (!sending->next)
        socket->end_of_list = link;
    socket->held--;
    buffer_free(&sending->text);
    memory_release(sending);
}

/* Gives TASK's message to the peer. */
static enum mp_error send_task(struct sink_socket *socket, struct stage_task *task, struct fault *fault)
{
    const struct format_item *item = task->items;
    struct sending *sending = memory_allocate(sizeof(*sending));
    if (!sending)
        return fault_memory(fault);
    sending->socket = socket;
    sending->task = task;
    sending->number = socket->numbers;
    sending->end = STAGE_FAILED;
    struct peer_part part = {.data = item->record.body, .size = item->record.size};
    enum mp_error error = MP_OK;
    if (socket->json) {
        error = format_write(FORMAT_JSON, item, &sending->text, fault);
        part.data = sending->text.data;
        part.size = sending->text.size ? sending->text.size - 1 : 0; /* without the newline */
    }
    /* A task's bytes stay until it is finished: they need not be copied, unless a reply may come before they are let go. */
    if (!socket->asks) {
        part.release = on_released;
        part.owner = sending;
    }
    if (!error)
        error = peer_send(socket->peer, &part, fault);
    if (error) {
        buffer_free(&sending->text);
        memory_release(sending);
        return error;
    }
    socket->numbers++;
    socket->held++;
    *socket->end_of_list = sending;
    socket->end_of_list = &sending->next;
    return MP_OK;
}

static void send_all(struct sink_socket *socket)
{
    while (!socket->blocked && socket->waiting.first) {
        struct fault fault = {0};
        struct stage_task *task = socket->waiting.first;
        enum mp_error error = send_task(socket, task, &fault);
        if (error == MP_ERR_AGAIN) {
            socket->blocked = true;
            return;
        }
        if (error == MP_ERR_MEMORY) {
            turn_by(&socket->turn, clock_monotonic() + AGAIN);
            return;
        }
        task_queue_shift(&socket->waiting);
        if (error)
            sink_finish(socket->sink, task, error == MP_ERR_CLOSED ? STAGE_NOT_BEGUN : STAGE_MALFORMED,
                        fault_text(&fault));
    }
}

/* Gives back what is done. */
static void finish_done(struct sink_socket *socket)
{
    struct sending **link = &socket->first;
    while (*link) {
        struct sending *sending = *link;
        if (!sending->done) {
            link = &sending->next;
            continue;
        }
        struct stage_task *task = sending->task;
        enum stage_end end = sending->end;
        forget(socket, link);
        sink_finish(socket->sink, task, end,
                    end == STAGE_FAILED && !socket->ended ? "nobody answered the survey" : NULL);
    }
}

static void tell_dropped(struct sink_socket *socket)
{
    struct peer_counters counters = peer_counters(socket->peer);
    char text[128];
    if (counters.dropped == socket->dropped)
        return;
    snprintf(text, sizeof(text), "%" PRIu64 " messages so far were not given to peers that are too slow",
             counters.dropped);
    socket->dropped = counters.dropped;
    sink_warn(socket->sink, "messages dropped", text);
}

/* All goes back: what nobody can have seen as not begun. */
static void give_up(struct sink_socket *socket)
{
    struct stage_task *task;
    peer_free(socket->peer);
    socket->peer = NULL;
    socket->over = true;
    bool unseen = socket->pattern == PEER_PUSH || socket->pattern == PEER_PAIR || socket->pattern == PEER_PAIR1;
    for (struct sending *sending = socket->first; sending; sending = sending->next) {
        if (!sending->done || !unseen)
            sending->end = sending->done && sending->end == STAGE_SUCCEEDED ? STAGE_SUCCEEDED : STAGE_FAILED;
        sending->done = true;
    }
    finish_done(socket);
    while ((task = task_queue_shift(&socket->waiting)) != NULL)
        sink_finish(socket->sink, task, STAGE_NOT_BEGUN, NULL);
}

static void on_turn(void *context)
{
    struct sink_socket *socket = context;
    if (socket->ended) {
        if (socket->peer)
            give_up(socket);
        return;
    }
    if (peer_count(socket->peer) > 0 || !socket->waits)
        sink_pause(socket->sink, NULL);
    else if (!socket->troubled)
        sink_pause(socket->sink, "nobody is connected");
    finish_done(socket);
    send_all(socket);
    tell_dropped(socket);
    if (socket->stopped && !socket->first && !socket->waiting.first && !socket->finishing) {
        socket->finishing = true;
        peer_finish(socket->peer, LINGER);
    }
}

/* ---- what the owner calls ------------------------------------------------------------------------------------- */

static enum mp_error open_socket(struct sink *sink, const struct sink_settings *settings, void **state,
                                 struct fault *fault)
{
    const struct pipeline_stage *stage = settings->stage;
    struct sink_socket *socket = memory_allocate(sizeof(*socket));
    if (!socket)
        return fault_memory(fault);
    *state = socket;
    socket->sink = sink;
    socket->pattern = stage->socket.pattern;
    socket->asks = socket->pattern == PEER_REQ || socket->pattern == PEER_SURVEYOR;
    socket->waits = socket->pattern != PEER_PUB && socket->pattern != PEER_BUS && socket->pattern != PEER_SURVEYOR;
    socket->json = stage->format == FORMAT_JSON;
    socket->end_of_list = &socket->first;
    if (turn_open(&socket->turn, settings->base, on_turn, socket))
        return fault_memory(fault);
    turn_soon(&socket->turn);
    const struct peer_settings peer = {
        .pattern = socket->pattern,
        .role = stage->socket.role,
        .url = stage->socket.url,
        .max_message = FRAME_BODY_MAX,
        .window = stage->workers,
        .survey_time = stage->timeout,
        .resend_time = stage->timeout,
        .context = socket,
        .received = on_received,
        .writable = on_writable,
        .peers = on_peers,
        .survey_ended = on_survey_ended,
        .finished = on_finished,
        .trouble = on_trouble,
    };
    return peer_open(settings->base, &peer, &socket->peer, fault);
}

static void free_socket(void *state)
{
    struct sink_socket *socket = state;
    socket->ended = true;
    peer_free(socket->peer);
    turn_close(&socket->turn);
    while (socket->first)
        forget(socket, &socket->first);
    memory_release(socket);
}

static uint32_t room_of_socket(const void *state)
{
    const struct sink_socket *socket = state;
    uint32_t held = socket->held + socket->waiting.count;
    return held < HELD_MAX ? HELD_MAX - held : 0;
}

static void add_to_socket(void *state, struct stage_task *task)
{
    struct sink_socket *socket = state;
    task_queue_push(&socket->waiting, task);
    turn_soon(&socket->turn);
}

static void stop_socket(void *state)
{
    struct sink_socket *socket = state;
    socket->stopped = true;
    turn_soon(&socket->turn);
}

static void end_socket(void *state)
{
    struct sink_socket *socket = state;
    socket->ended = true;
    turn_soon(&socket->turn);
}

static bool idle_socket(const void *state)
{
    const struct sink_socket *socket = state;
    return !socket->first && !socket->waiting.first && (!socket->stopped || socket->over);
}

const struct sink_kind sink_kind_socket = {
    .open = open_socket,
    .room = room_of_socket,
    .add = add_to_socket,
    .stop = stop_socket,
    .end = end_socket,
    .idle = idle_socket,
    .free = free_socket,
};
