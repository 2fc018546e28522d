/*
 * msend by way of a relay: items become frames, and frames are published one after the other.
 *
 * While one frame is in flight the next one fills. When none is, what there is goes at once, so a lone line does not
 * wait for others, and a flood goes in big frames: batching needs no timer. When the next frame is full, too, nothing is
 * read: memory stays bounded, and the pipe into msend slows its writer down.
 */
#include "cli/send_engine.h"

#include "base/units.h"
#include "cli/exit.h"
#include "cli/relay_link.h"
#include "message/attributes.h"
#include "message/formats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEAST_WAIT = 100000 }; /* microseconds: one round trip takes this, also with --wait 0 */

struct send_relay {
    struct send_engine *engine;
    struct relay_link *link;
    bool welcome;

    struct frame_builder filling;
    struct buffer ids;   /* --print-id: a line for each message in `filling`; empty for an id by origin */
    int64_t filled_from; /* wall clock at its first message */
    uint64_t upto;       /* messages of the input up to its last one */
    bool full;
    bool idle; /* the source has nothing now */

    uint64_t flying; /* messages in flight */
    uint64_t flying_upto;
    struct buffer flying_ids;
    int64_t flying_since;

    bool topic_full;
    int64_t topic_full_since;
    int64_t stop_at; /* interrupted: when to give up on what is in flight */
};

/* ---- what the client tells ------------------------------------------------------------------------------------ */

/* Prints the ids of the next COUNT messages in flight, which are stored. */
static void print_ids(struct send_relay *relay, uint32_t count)
{
    uint64_t producer;
    uint64_t sequence;
    struct buffer out = {0};
    struct fault fault = {0};
    client_stored_origin(relay_link_client(relay->link), &producer, &sequence);
    const char *line = (const char *)relay->flying_ids.data;
    const char *end = line + relay->flying_ids.size;
    enum mp_error error = MP_OK;
    for (; line < end && count > 0 && !error; sequence++, count--) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        char text[FRAME_ID_TEXT];
        frame_origin_text(producer, sequence, text);
        if (newline == line)
            error = buffer_append(&out, text, FRAME_ID_TEXT - 1);
        if (!error)
            error = buffer_append(&out, line, (size_t)(newline - line) + 1);
        line = newline + 1;
    }
    if (error)
        fault_memory(&fault);
    else
        error = output_write(STDOUT_FILENO, out.data, out.size, &fault);
    buffer_free(&out);
    buffer_consume(&relay->flying_ids, (size_t)(line - (const char *)relay->flying_ids.data));
    if (error == MP_ERR_CLOSED) {
        send_engine_end(relay->engine, exit_by_pipe());
    } else if (error) {
        send_engine_end(relay->engine, tell_fault(&fault));
        send_engine_summary(relay->engine, "the messages are stored, but their ids could not be printed", 0);
    }
}

static void on_published(void *context, uint64_t offset, uint32_t count, uint32_t duplicates)
{
    (void)offset;
    (void)duplicates;
    struct send_relay *relay = context;
    struct send_engine *engine = relay->engine;
    /* A full topic takes a frame in parts; what was rejected of the input is counted when it is done with. */
    relay->flying -= count < relay->flying ? count : relay->flying;
    relay->topic_full_since = relay->flying_since = clock_monotonic();
    engine->done += count;
    engine->gone = relay->flying ? engine->gone + count : relay->flying_upto;
    if (engine->settings->print_id)
        print_ids(relay, count);
}

static void on_refused(void *context, enum mp_error error, const char *text)
{
    struct send_relay *relay = context;
    relay->flying = 0;
    tell("the relay refused the messages: %s", text);
    send_engine_summary(relay->engine, "given up", 0);
    send_engine_end(relay->engine, exit_code_of(error));
}

static void on_full(void *context, bool full, const char *text)
{
    struct send_relay *relay = context;
    relay->topic_full = full;
    relay->topic_full_since = clock_monotonic();
    if (full && output_is_terminal(STDERR_FILENO))
        tell("%s: waiting for room", text);
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct send_relay *relay = context;
    tell("%s", text);
    send_engine_summary(relay->engine, "given up", error == MP_ERR_SESSION ? relay->flying : 0);
    send_engine_end(relay->engine, exit_code_of(error));
}

/* ---- frames --------------------------------------------------------------------------------------------------- */

/* Notes the item's id for --print-id. */
static enum mp_error note_id(struct send_relay *relay, const struct send_item *item)
{
    struct attribute id;
    uint64_t producer;
    uint64_t sequence;
    char text[FRAME_ID_TEXT];
    enum mp_error error = MP_OK;
    if (item->attributes_size && attribute_find(item->attributes, item->attributes_size, "id", 2, &id)) {
        error = buffer_append(&relay->ids, id.value, id.value_size);
    } else if (item->attributes_size &&
               attributes_origin(item->attributes, item->attributes_size, &producer, &sequence)) {
        frame_origin_text(producer, sequence, text);
        error = buffer_append_string(&relay->ids, text);
    }
    return error ? error : buffer_append(&relay->ids, "\n", 1);
}

/* Fills the frame as far as the source and its size allow. */
static enum mp_error fill(struct send_relay *relay, int64_t now, int64_t *due, struct fault *fault)
{
    struct send_engine *engine = relay->engine;
    struct frame_builder *frame = &relay->filling;
    const struct send_source_counts *counts = send_source_counts(engine->source);
    const struct send_item *item = &engine->item;
    relay->idle = false;
    while (!relay->full) {
        enum mp_error error = send_engine_take(engine, now, due, fault);
        if (error == MP_ERR_AGAIN)
            relay->idle = true;
        if (error == MP_ERR_AGAIN || error == MP_ERR_CLOSED)
            return MP_OK;
        if (error)
            return error;
        if (frame->count == 0) {
            uint64_t producer;
            uint64_t sequence;
            client_origin(relay_link_client(relay->link), &producer, &sequence);
            error = frame_begin(frame, producer, sequence);
            relay->filled_from = clock_wall();
            relay->ids.size = 0;
        }
        if (!frame_has_room(frame, item->size, item->attributes_size)) {
            relay->full = true;
            return MP_OK;
        }
        if (!send_engine_single(engine, frame->count))
            return MP_OK;
        if (!error)
            error = frame_add(frame, item->body, item->size, item->attributes, item->attributes_size);
        if (!error && engine->settings->print_id)
            error = note_id(relay, item);
        if (error)
            return fault_set(fault, error, "%s", mp_error_text(error));
        engine->has_item = false;
        relay->upto = counts->taken;
    }
    return MP_OK;
}

static enum mp_error publish(struct send_relay *relay, int64_t now, struct fault *fault)
{
    struct frame_builder *frame = &relay->filling;
    uint32_t count = frame->count;
    frame_finish(frame, relay->filled_from);
    const struct send_engine *engine = relay->engine;
    struct client_publication to = {
        .topic = engine->settings->topic, .when = engine->when, .value = engine->when_value};
    enum mp_error error = client_publish(relay_link_client(relay->link), &to, frame, fault);
    if (error)
        return error;
    frame->count = 0;
    relay->full = false;
    relay->flying = count;
    relay->flying_upto = relay->upto;
    relay->flying_since = now;
    struct buffer spare = relay->flying_ids;
    relay->flying_ids = relay->ids;
    relay->ids = spare;
    return MP_OK;
}

/* Whether the frame goes now: an --id must be the only message, which only the end can tell. */
static bool may_publish(const struct send_relay *relay)
{
    const struct send_engine *engine = relay->engine;
    if (relay->filling.count == 0 || !client_can_publish(relay_link_client(relay->link)))
        return false;
    if (engine->settings->id)
        return engine->ended;
    return relay->full || relay->idle || engine->ended;
}

/* ---- steps ---------------------------------------------------------------------------------------------------- */

/* An interrupted tool waits a little for what is in flight. */
static bool stop(struct send_relay *relay, int64_t now, int64_t *due)
{
    if (!relay->stop_at)
        relay->stop_at = now + SEND_LINGER;
    if (relay->flying && relay_link_connected(relay->link) && now < relay->stop_at) {
        *due = relay->stop_at;
        return true;
    }
    send_engine_summary(relay->engine, "interrupted", relay->flying);
    send_engine_end(relay->engine, EXIT_FAILED);
    return false;
}

/* --wait: nobody waits for longer than this for an answer, or for room. */
static bool check_waits(struct send_relay *relay, int64_t now, int64_t *due)
{
    int64_t wait = relay->engine->settings->wait;
    if (wait < 0 || !relay->flying)
        return true;
    if (wait < LEAST_WAIT)
        wait = LEAST_WAIT;
    int64_t since = relay->topic_full ? relay->topic_full_since : relay->flying_since;
    if (now - since < wait) {
        *due = since + wait < *due ? since + wait : *due;
        return true;
    }
    char text[24];
    units_duration_text(wait, text, sizeof(text));
    if (relay->topic_full)
        tell("topic %s had no room for %s (--wait): try again later", relay->engine->settings->topic, text);
    else
        tell("the relay has not acknowledged anything for %s (--wait)", text);
    send_engine_summary(relay->engine, "given up", relay->topic_full ? 0 : relay->flying);
    send_engine_end(relay->engine, relay->topic_full ? EXIT_LATER : EXIT_TIMEOUT);
    return false;
}

static enum mp_error advance(struct send_relay *relay, int64_t now, int64_t *due, struct fault *fault)
{
    struct client *client = relay_link_client(relay->link);
    if (!client_is_welcome(client))
        return MP_OK;
    if (!relay->welcome) {
        const struct send_settings *settings = relay->engine->settings;
        size_t limit = client_welcome(client)->max_message;
        send_source_limit(relay->engine->source, settings->max_message && settings->max_message < limit
                                                     ? (size_t)settings->max_message
                                                     : limit);
        relay->welcome = true;
    }
    enum mp_error error = fill(relay, now, due, fault);
    if (error || relay->engine->exit >= 0 || !may_publish(relay))
        return error;
    error = publish(relay, now, fault);
    return error ? error : fill(relay, now, due, fault);
}

static bool step(void *context, int64_t now, int64_t *due)
{
    struct send_relay *relay = context;
    struct send_engine *engine = relay->engine;
    struct fault fault = {0};
    if (engine->exit >= 0)
        return false;
    enum mp_error error = relay_link_check(relay->link, now, &fault);
    if (engine->exit >= 0)
        return false;
    if (error) {
        send_engine_end(engine, relay_link_tell(engine->settings->relay, &fault));
        if (relay->welcome)
            send_engine_summary(engine, "given up", relay->flying);
        return false;
    }
    if (engine->loop.interrupted)
        return stop(relay, now, due);
    error = advance(relay, now, due, &fault);
    if (error) {
        send_engine_end(engine, send_source_exit(engine->source, error));
        tell("%s", fault_text(&fault));
        if (engine->done || relay->flying)
            send_engine_summary(engine, "given up", relay->flying);
        return false;
    }
    if (engine->exit >= 0)
        return false;
    const struct send_source_counts *counts = send_source_counts(engine->source);
    progress_show(&engine->progress, "acknowledged", counts->bytes, engine->done, now);
    if (engine->ended && !engine->has_item && !relay->filling.count && !relay->flying)
        return false;
    return check_waits(relay, now, due);
}

int send_by_relay(struct send_engine *engine)
{
    struct send_relay relay = {.engine = engine};
    struct fault fault = {0};
    struct relay_link_settings link = {
        .loop = &engine->loop,
        .relay = engine->settings->relay,
        .wait = engine->settings->wait,
        .client =
            {.context = &relay, .published = on_published, .refused = on_refused, .full = on_full, .failed = on_failed},
    };
    enum mp_error error = relay_link_open(&link, &relay.link, &fault);
    if (error)
        return relay_link_tell(engine->settings->relay, &fault);
    error = loop_run(&engine->loop, step, &relay, &fault);
    if (error)
        send_engine_end(engine, tell_fault(&fault));
    relay_link_close(relay.link);
    frame_builder_free(&relay.filling);
    buffer_free(&relay.ids);
    buffer_free(&relay.flying_ids);
    if (engine->exit >= 0)
        return engine->exit;
    send_source_summary(engine->source);
    return send_source_counts(engine->source)->rejected ? EXIT_REJECTED : EXIT_DONE;
}
