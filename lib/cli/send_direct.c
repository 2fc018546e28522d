/*
 * msend straight to peers: each message's body as it is, so that any program on nng or nanomsg understands it, or
 * (--framed) frames, which carry attributes and many messages at once.
 *
 * It begins when enough peers are there (--await), and ends when everything is written and, as far as the system can
 * tell, read. Replies to requests and surveys are printed in the format of the input.
 */
#include "cli/send_engine.h"

#include "base/memory.h"
#include "base/units.h"
#include "cli/exit.h"
#include "message/formats.h"
#include "message/frame.h"
#include "transport/peer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A frame, being filled, with the peer, or spare. */
struct send_slot {
    struct send_slot *next; /* among the spare ones */
    struct send_direct *direct;
    struct frame_builder frame;
};

struct send_direct {
    struct send_engine *engine;
    struct peer *peer;
    enum peer_pattern pattern;
    bool begun;   /* enough peers were there */
    bool blocked; /* the peer takes nothing now */
    bool finishing;
    bool finished;
    struct peer_result result;

    uint64_t producer;
    uint64_t sequence;
    struct send_slot *filling; /* NULL: none */
    struct send_slot *spare;
    uint64_t with_peer; /* messages in frames that the peer still needs */

    uint64_t passed;  /* messages that the peer took */
    uint64_t replies; /* that came */
    struct buffer out;
    int64_t since; /* the last thing that happened, for --wait; monotonic microseconds */
};

/* ---- what the peer tells -------------------------------------------------------------------------------------- */

static void print_body(struct send_direct *direct, const struct record *record)
{
    enum format format = (enum format)direct->engine->settings->format;
    struct format_item item = {.record = *record, .topic = "", .time = clock_wall()};
    struct fault fault = {0};
    /* An answer may hold the separator: it is printed as it is, as one sees it with a terminal. */
    if (format_write(format, &item, &direct->out, &fault) == MP_ERR_FORMAT) {
        buffer_append(&direct->out, record->body, record->size);
        buffer_append(&direct->out, format == FORMAT_NULL ? "" : "\n", 1);
    }
}

/* What was printed into `out`, line by line, as a terminal may show it. */
static enum mp_error escape_lines(struct send_direct *direct)
{
    struct buffer shown = {0};
    enum mp_error error = MP_OK;
    for (size_t at = 0, size; !error && at < direct->out.size; at += size) {
        const uint8_t *line = direct->out.data + at;
        const uint8_t *end = memchr(line, '\n', direct->out.size - at);
        size = end ? (size_t)(end - line) + 1 : direct->out.size - at;
        error = format_escape(line, size, &shown);
    }
    buffer_free(&direct->out);
    direct->out = shown;
    return error;
}

static void print_reply(struct send_direct *direct, const uint8_t *data, size_t size)
{
    struct frame frame;
    struct record record = {.body = data, .size = size, .producer = direct->producer, .sequence = direct->replies};
    struct fault fault = {0};
    direct->out.size = 0;
    if (frame_recognise(data, size) && frame_open(&frame, data, size, true, &fault) == MP_OK) {
        struct frame_cursor cursor = frame_cursor(&frame);
        while (frame_next(&cursor, &record))
            print_body(direct, &record);
    } else {
        print_body(direct, &record);
    }
    enum mp_error error = output_is_terminal(STDOUT_FILENO) ? escape_lines(direct) : MP_OK;
    error = error ? fault_memory(&fault) : output_write(STDOUT_FILENO, direct->out.data, direct->out.size, &fault);
    if (error == MP_ERR_CLOSED)
        send_engine_end(direct->engine, exit_by_pipe());
    else if (error)
        send_engine_end(direct->engine, tell_fault(&fault));
}

static void on_received(void *context, struct peer_message *message, const struct peer_token *token)
{
    (void)token;
    struct send_direct *direct = context;
    size_t size;
    const uint8_t *data = peer_message_data(message, &size);
    direct->replies++;
    direct->since = clock_monotonic();
    if (direct->pattern == PEER_REQ || direct->pattern == PEER_SURVEYOR)
        print_reply(direct, data, size);
    peer_message_free(message);
}

static void on_writable(void *context)
{
    struct send_direct *direct = context;
    direct->blocked = false;
    direct->since = clock_monotonic();
}

static void on_finished(void *context, const struct peer_result *result)
{
    struct send_direct *direct = context;
    direct->finished = true;
    direct->result = *result;
}

/* ---- frames --------------------------------------------------------------------------------------------------- */

static void release_slot(void *owner)
{
    struct send_slot *slot = owner;
    struct send_direct *direct = slot->direct;
    direct->with_peer -= slot->frame.count;
    slot->next = direct->spare;
    direct->spare = slot;
}

static struct send_slot *take_slot(struct send_direct *direct)
{
    struct send_slot *slot = direct->spare;
    if (slot)
        direct->spare = slot->next;
    else
        slot = memory_allocate(sizeof(*slot));
    if (slot)
        slot->direct = direct;
    return slot;
}

static void free_slot(struct send_slot *slot)
{
    frame_builder_free(&slot->frame);
    memory_release(slot);
}

/* Adds the item to the frame. MP_ERR_TOO_LARGE: it does not fit any more, the frame is to go first. */
static enum mp_error add_to_frame(struct send_direct *direct, struct fault *fault)
{
    const struct send_item *item = &direct->engine->item;
    if (!direct->filling) {
        direct->filling = take_slot(direct);
        if (!direct->filling || frame_begin(&direct->filling->frame, direct->producer, direct->sequence))
            return fault_memory(fault);
    }
    struct frame_builder *frame = &direct->filling->frame;
    if (!frame_has_room(frame, item->size, item->attributes_size))
        return MP_ERR_TOO_LARGE;
    if (frame_add(frame, item->body, item->size, item->attributes, item->attributes_size))
        return fault_memory(fault);
    return MP_OK;
}

static enum mp_error send_frame(struct send_direct *direct, struct fault *fault)
{
    struct send_slot *slot = direct->filling;
    if (!slot || !slot->frame.count)
        return MP_OK;
    frame_finish(&slot->frame, clock_wall());
    struct peer_part part = {slot->frame.bytes.data, slot->frame.bytes.size, release_slot, slot};
    direct->with_peer += slot->frame.count;
    uint32_t count = slot->frame.count;
    enum mp_error error = peer_send(direct->peer, &part, fault);
    if (error) {
        direct->with_peer -= count;
        return error;
    }
    direct->filling = NULL;
    direct->sequence += count;
    direct->passed += count;
    return MP_OK;
}

/* ---- steps ---------------------------------------------------------------------------------------------------- */

/* Passes on one item; MP_ERR_AGAIN: the peer takes nothing now, the item is kept. */
static enum mp_error pass_item(struct send_direct *direct, struct fault *fault)
{
    struct send_engine *engine = direct->engine;
    enum mp_error error;
    if (engine->settings->framed) {
        error = add_to_frame(direct, fault);
        if (error == MP_ERR_TOO_LARGE) {
            error = send_frame(direct, fault);
            if (!error)
                error = add_to_frame(direct, fault);
        }
    } else {
        struct peer_part part = {.data = engine->item.body, .size = engine->item.size};
        error = peer_send(direct->peer, &part, fault);
        direct->passed += error == MP_OK;
    }
    if (error == MP_OK)
        engine->has_item = false;
    return error;
}

/* Moves what there is from the source to the peer. */
static enum mp_error advance(struct send_direct *direct, int64_t now, int64_t *due, struct fault *fault)
{
    struct send_engine *engine = direct->engine;
    enum { TURN = 8192 }; /* items between two looks at the sockets */
    for (unsigned items = 0; !direct->blocked; items++) {
        if (items == TURN) {
            *due = now;
            return MP_OK;
        }
        enum mp_error error = send_engine_take(engine, now, due, fault);
        bool idle = error == MP_ERR_AGAIN || error == MP_ERR_CLOSED;
        if (idle)
            error = send_frame(direct, fault);
        else if (!error && !send_engine_single(engine, direct->passed + (direct->filling != NULL)))
            return MP_OK;
        else if (!error)
            error = pass_item(direct, fault);
        if (error == MP_ERR_AGAIN) {
            direct->blocked = true;
            direct->since = now;
            return MP_OK;
        }
        if (error || idle)
            return error;
    }
    return MP_OK;
}

/* How many messages the peer took and did not write. */
static uint64_t left_over(const struct send_direct *direct)
{
    return direct->engine->settings->framed ? direct->with_peer : direct->result.left;
}

static const char *nobody(const struct send_direct *direct)
{
    const char *trouble = peer_trouble(direct->peer);
    return *trouble ? trouble : "nobody is connected";
}

/* --wait: for peers, for a reply, for a peer that reads. */
static bool check_waits(struct send_direct *direct, int64_t now, int64_t *due)
{
    struct send_engine *engine = direct->engine;
    int64_t wait = engine->settings->wait;
    bool asking = direct->pattern == PEER_REQ && peer_pending(direct->peer);
    if (wait < 0 || (direct->begun && !direct->blocked && !asking))
        return true;
    if (now - direct->since < wait) {
        *due = direct->since + wait < *due ? direct->since + wait : *due;
        return true;
    }
    char text[24];
    units_duration_text(wait, text, sizeof(text));
    if (peer_count(direct->peer) == 0 || !direct->begun) {
        tell("waited %s (--wait) for %s at %s: %s", text, peer_pattern_other(direct->pattern), peer_url(direct->peer),
             nobody(direct));
        send_engine_end(engine, EXIT_NO_RELAY);
    } else {
        tell("waited %s (--wait) in vain for %s", text, asking ? "a reply" : "the other end to read");
        send_engine_end(engine, EXIT_TIMEOUT);
    }
    return false;
}

static void summarize(struct send_direct *direct, const char *why)
{
    struct send_engine *engine = direct->engine;
    uint64_t left = left_over(direct);
    engine->done = direct->passed > left ? direct->passed - left : 0;
    engine->gone = engine->settings->skip + engine->done + send_source_counts(engine->source)->rejected;
    send_engine_summary(engine, why, 0);
}

static const char *messages(uint64_t count)
{
    return count == 1 ? "message" : "messages";
}

/* The peer has come to its end: what is to be said of it. */
static void judge(struct send_direct *direct)
{
    struct send_engine *engine = direct->engine;
    struct peer_counters counters = peer_counters(direct->peer);
    uint64_t left = left_over(direct);
    if (engine->loop.interrupted) {
        summarize(direct, "interrupted");
        send_engine_end(engine, EXIT_FAILED);
        return;
    }
    if (left || direct->result.unread) {
        if (left && peer_count(direct->peer) == 0)
            tell("%" PRIu64 " %s could not be delivered: %s", left, messages(left), nobody(direct));
        else if (left && direct->pattern == PEER_REQ)
            tell("waited (--wait) in vain for a reply to %" PRIu64 " %s", left, messages(left));
        else if (left)
            tell("%" PRIu64 " %s could not be delivered: the other end does not read", left, messages(left));
        else
            tell("the other end has not read the last %" PRIu64 " bytes", direct->result.unread);
        send_engine_end(engine, EXIT_TIMEOUT);
    }
    if (counters.dropped) {
        tell("%" PRIu64 " %s dropped, because a peer was too slow or had gone", counters.dropped,
             counters.dropped == 1 ? "message was" : "messages were");
        send_engine_end(engine, EXIT_REJECTED);
    }
    if (counters.unheard) {
        tell("%" PRIu64 " %s sent while nobody was connected", counters.unheard,
             counters.unheard == 1 ? "message was" : "messages were");
        if (engine->settings->await_peers)
            send_engine_end(engine, EXIT_REJECTED);
    }
    if (direct->pattern == PEER_SURVEYOR && direct->passed && !direct->replies) {
        tell("nobody answered");
        send_engine_end(engine, EXIT_NO_RELAY);
    }
}

static void finish(struct send_direct *direct, int64_t linger)
{
    if (!direct->finishing)
        peer_finish(direct->peer, linger);
    direct->finishing = true;
}

static bool step(void *context, int64_t now, int64_t *due)
{
    struct send_direct *direct = context;
    struct send_engine *engine = direct->engine;
    struct fault fault = {0};
    if (engine->exit >= 0)
        return false;
    if (direct->finished) {
        judge(direct);
        return false;
    }
    if (engine->loop.interrupted) {
        finish(direct, direct->begun ? SEND_LINGER / 5 : 0);
        return true;
    }
    if (!direct->begun) {
        direct->begun = peer_count(direct->peer) >= engine->settings->await_peers;
        if (!direct->begun)
            return check_waits(direct, now, due);
        direct->since = now;
    }
    enum mp_error error = direct->finishing ? MP_OK : advance(direct, now, due, &fault);
    if (error) {
        tell("%s", fault_text(&fault));
        send_engine_end(engine, send_source_exit(engine->source, error));
        return false;
    }
    if (engine->exit >= 0)
        return false;
    progress_show(&engine->progress, "sent", send_source_counts(engine->source)->bytes, direct->passed, now);
    if (engine->ended && !engine->has_item && !direct->filling)
        finish(direct, engine->settings->wait);
    return check_waits(direct, now, due);
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static enum mp_error open_peer(struct send_direct *direct, struct fault *fault)
{
    const struct send_settings *settings = direct->engine->settings;
    struct peer_settings peer = {
        .pattern = direct->pattern,
        .role = settings->dial ? PEER_DIAL : PEER_LISTEN,
        .url = settings->dial ? settings->dial : settings->listen,
        .max_message = (size_t)settings->max_message,
        .survey_time = settings->wait > 0 ? settings->wait : 0,
        .context = direct,
        .received = on_received,
        .writable = on_writable,
        .finished = on_finished,
    };
    enum mp_error error = peer_open(direct->engine->loop.base, &peer, &direct->peer, fault);
    if (!error && output_is_terminal(STDERR_FILENO) && settings->listen && strstr(settings->listen, ":0"))
        tell("listening at %s", peer_url(direct->peer));
    return error;
}

int send_directly(struct send_engine *engine)
{
    struct send_direct direct = {
        .engine = engine,
        .pattern = (enum peer_pattern)engine->settings->pattern,
        .sequence = 1,
        .since = clock_monotonic(),
    };
    struct fault fault = {0};
    direct.producer = ((uint64_t)clock_wall() << 20 ^ (uint64_t)getpid()) | 1;
    if (engine->settings->max_message)
        send_source_limit(engine->source, (size_t)engine->settings->max_message);
    enum mp_error error = open_peer(&direct, &fault);
    if (!error)
        error = loop_run(&engine->loop, step, &direct, &fault);
    if (error)
        send_engine_end(engine, tell_fault(&fault));
    peer_free(direct.peer);
    if (direct.filling)
        free_slot(direct.filling);
    while (direct.spare) {
        struct send_slot *slot = direct.spare;
        direct.spare = slot->next;
        free_slot(slot);
    }
    buffer_free(&direct.out);
    if (engine->exit >= 0)
        return engine->exit;
    send_source_summary(engine->source);
    return send_source_counts(engine->source)->rejected ? EXIT_REJECTED : EXIT_DONE;
}
