/*
 * mrecv straight from peers: bare bodies from any program on nng or nanomsg, and frames, which are recognised by
 * themselves. Nothing is acknowledged; requests and surveys are answered by a command's output.
 */
#include "cli/receive_engine.h"

#include "base/memory.h"
#include "base/units.h"
#include "cli/exit.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { HELD_MAX = 4 * 1024 * 1024 }; /* bytes of messages; beyond that no more are taken */

struct receive_direct {
    struct receive_engine *engine;
    struct peer *peer;
    enum peer_pattern pattern;
    bool receiving;
    bool finishing;
    bool finished;
    bool warned;       /* of a frame that could not be opened */
    uint64_t producer; /* of the frames that answer frames */
    uint64_t sequence;
    uint64_t surplus; /* messages of frames beyond --count */
    int64_t give_up;
};

static void fail_memory(struct receive_direct *direct)
{
    struct fault fault = {0};
    fault_memory(&fault);
    receive_engine_fail(direct->engine, &fault);
}

/* ---- messages come -------------------------------------------------------------------------------------------- */

static void free_message(void *owner)
{
    peer_message_free(owner);
}

static void free_bytes(void *owner)
{
    buffer_free(owner);
    memory_release(owner);
}

/* Hands PARCEL on, or as much of it as is wanted. */
static void add(struct receive_direct *direct, struct stage_parcel *parcel, const struct peer_token *token)
{
    uint64_t wanted = receive_engine_wanted(direct->engine);
    if (parcel->count > wanted) {
        direct->surplus += parcel->count - wanted;
        parcel->count = (uint32_t)wanted;
    }
    parcel->token = *token;
    if (parcel->count)
        receive_engine_add(direct->engine, parcel, clock_monotonic());
    else
        stage_parcel_free(parcel);
}

/* A parcel of COUNT records at CURSOR, with bytes of its own. */
static void add_part(struct receive_direct *direct, struct frame_cursor *cursor, uint32_t count,
                     const struct peer_token *token)
{
    struct stage_parcel *parcel = stage_parcel_new();
    struct buffer *bytes = memory_allocate(sizeof(*bytes));
    if (!parcel || !bytes || frame_cut(cursor, count, SIZE_MAX, bytes)) {
        if (bytes)
            free_bytes(bytes);
        memory_release(parcel);
        fail_memory(direct);
        return;
    }
    struct frame frame;
    frame_trust(&frame, bytes->data, bytes->size);
    stage_parcel_frame(parcel, &frame);
    parcel->release = free_bytes;
    parcel->owner = bytes;
    add(direct, parcel, token);
}

/* SUB: a frame may hold messages that were not subscribed to. Runs of the others become parcels. */
static void add_subscribed(struct receive_direct *direct, const struct frame *frame, const struct peer_token *token)
{
    struct frame_cursor cursor = frame_cursor(frame);
    struct frame_cursor start = cursor;
    struct record record;
    uint32_t run = 0;
    while (frame_next(&cursor, &record)) {
        if (peer_subscribed(direct->peer, record.body, record.size)) {
            run++;
            continue;
        }
        if (run)
            add_part(direct, &start, run, token);
        start = cursor;
        run = 0;
    }
    if (run)
        add_part(direct, &start, run, token);
}

static void add_frame(struct receive_direct *direct, struct peer_message *message, const struct frame *frame,
                      const struct peer_token *token)
{
    if (direct->pattern == PEER_SUB && direct->engine->settings->subscribe.count) {
        add_subscribed(direct, frame, token);
        peer_message_free(message);
        return;
    }
    struct stage_parcel *parcel = stage_parcel_new();
    if (!parcel) {
        peer_message_free(message);
        fail_memory(direct);
        return;
    }
    stage_parcel_frame(parcel, frame);
    parcel->release = free_message;
    parcel->owner = message;
    add(direct, parcel, token);
}

static void on_received(void *context, struct peer_message *message, const struct peer_token *token)
{
    struct receive_direct *direct = context;
    size_t size;
    const uint8_t *data = peer_message_data(message, &size);
    struct frame frame;
    struct fault fault = {0};
    if (receive_engine_wanted(direct->engine) == 0 || direct->finishing || direct->engine->exit >= 0) {
        direct->surplus++;
        peer_message_free(message);
        return;
    }
    if (frame_recognise(data, size)) {
        if (frame_open(&frame, data, size, true, &fault) == MP_OK) {
            add_frame(direct, message, &frame, token);
            return;
        }
        /* It may as well be a body that begins like one. */
        if (!direct->warned)
            tell("what came looks like a frame, but is none (%s): taken as a bare body", fault_text(&fault));
        direct->warned = true;
    }
    struct stage_parcel *parcel = stage_parcel_new();
    if (!parcel) {
        peer_message_free(message);
        fail_memory(direct);
        return;
    }
    stage_parcel_bare(parcel, data, size, clock_wall());
    parcel->release = free_message;
    parcel->owner = message;
    add(direct, parcel, token);
}

static void on_finished(void *context, const struct peer_result *result)
{
    (void)result;
    struct receive_direct *direct = context;
    direct->finished = true;
}

/* ---- answers -------------------------------------------------------------------------------------------------- */

/* The reply to a frame is a frame, with an answer to each of its messages in their order. */
static enum mp_error frame_of_answers(struct receive_direct *direct, const struct stage_parcel *parcel,
                                      struct frame_builder *frame)
{
    enum mp_error error = frame_begin(frame, direct->producer, direct->sequence);
    for (uint32_t i = 0; !error && i < parcel->count; i++)
        error = frame_add(frame, parcel->answers[i].data, parcel->answers[i].size, NULL, 0);
    if (error)
        return error;
    frame_finish(frame, clock_wall());
    direct->sequence += parcel->count;
    return MP_OK;
}

static enum mp_error reply(struct receive_direct *direct, const struct stage_parcel *parcel, struct fault *fault)
{
    struct frame_builder frame = {0};
    const struct buffer *bytes = &parcel->answers[0];
    enum mp_error error = MP_OK;
    if (!parcel->bare) {
        error = frame_of_answers(direct, parcel, &frame);
        bytes = &frame.bytes;
    }
    struct peer_part part = {.data = bytes->data, .size = bytes->size};
    if (error)
        error = fault_set(fault, error, "cannot build an answer: %s", mp_error_text(error));
    else
        error = peer_reply(direct->peer, &parcel->token, &part, fault);
    frame_builder_free(&frame);
    return error == MP_ERR_CLOSED ? MP_OK : error; /* who asked has gone */
}

/* With -F lines and without -F, the end of the output's last line is not part of the answer. */
static size_t trimmed(const struct receive_direct *direct, const uint8_t *output, size_t size)
{
    int format = direct->engine->settings->format;
    bool lines = format == RECEIVE_FORMAT_UNSET || format == FORMAT_LINES;
    return lines && size > 0 && output[size - 1] == '\n' ? size - 1 : size;
}

/* Answers when there is one for each message of the request. Without a command's success there is none. */
static void answer(void *context, struct stage_parcel *parcel, uint32_t index, const void *output, size_t size)
{
    struct receive_direct *direct = context;
    struct fault fault = {0};
    enum mp_error error = MP_OK;
    if (!parcel->answers)
        parcel->answers = memory_allocate_array(parcel->count, sizeof(*parcel->answers));
    if (!parcel->answers || buffer_append(&parcel->answers[index], output, trimmed(direct, output, size)))
        error = fault_memory(&fault);
    else if (++parcel->answered == parcel->count)
        error = reply(direct, parcel, &fault);
    if (error)
        tell("%s", fault_text(&fault));
}

static void settle(void *context, struct stage_parcel *parcel, uint32_t index, uint32_t count,
                   const struct protocol_settlement *how)
{
    (void)context;
    (void)parcel;
    (void)index;
    (void)count;
    (void)how;
}

/* ---- steps ---------------------------------------------------------------------------------------------------- */

/* No more than what is wanted is taken; the rest waits at the other end. */
static void control_flow(struct receive_direct *direct)
{
    struct receive_engine *engine = direct->engine;
    bool receive = receive_engine_room(engine) > 0 && engine->exit < 0 && !direct->finishing;
    if (receive != direct->receiving)
        peer_receive(direct->peer, receive);
    direct->receiving = receive;
}

static void finish(struct receive_direct *direct, int64_t linger)
{
    if (!direct->finishing)
        peer_finish(direct->peer, linger);
    direct->finishing = true;
}

/* --wait: whether all the while nobody could be reached, which is another thing than that nothing came. */
static bool is_alone(struct receive_direct *direct, int64_t now)
{
    struct receive_engine *engine = direct->engine;
    int64_t wait = engine->settings->wait;
    const char *trouble = peer_trouble(direct->peer);
    if (!engine->settings->dial || wait < 0 || now - engine->since < wait)
        return false;
    if (engine->came || peer_count(direct->peer) || !*trouble)
        return false;
    char text[24];
    units_duration_text(wait, text, sizeof(text));
    tell("waited %s (--wait) for a peer at %s: %s", text, peer_url(direct->peer), trouble);
    receive_engine_end(engine, EXIT_NO_RELAY);
    return true;
}

static bool step(void *context, int64_t now, int64_t *due)
{
    struct receive_direct *direct = context;
    struct receive_engine *engine = direct->engine;
    if (engine->exit >= 0 || direct->finished)
        return false;
    if (engine->loop.interrupted && !direct->give_up) {
        direct->give_up = now + (engine->runner ? 2 * RECEIVE_PATIENCE : RECEIVE_LINGER);
        receive_engine_stop(engine);
    }
    receive_engine_pump(engine, now, due);
    control_flow(direct);
    if (engine->exit >= 0)
        return false;
    bool wanted = receive_engine_wanted(engine) > 0 && !engine->loop.interrupted;
    if (!wanted && (receive_engine_idle(engine) || (direct->give_up && now >= direct->give_up)))
        finish(direct, RECEIVE_LINGER / 2);
    else if (direct->give_up)
        *due = direct->give_up < *due ? direct->give_up : *due;
    else if (!is_alone(direct, now))
        receive_engine_check_wait(engine, now, due);
    return engine->exit < 0;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static enum mp_error open_peer(struct receive_direct *direct, struct fault *fault)
{
    const struct receive_settings *settings = direct->engine->settings;
    struct peer_prefix *prefixes = NULL;
    size_t count = settings->subscribe.count;
    if (count) {
        prefixes = memory_allocate_array(count, sizeof(*prefixes));
        if (!prefixes)
            return fault_memory(fault);
    }
    for (size_t i = 0; i < count; i++)
        prefixes[i] = (struct peer_prefix){settings->subscribe.values[i], strlen(settings->subscribe.values[i])};
    struct peer_settings peer = {
        .pattern = direct->pattern,
        .role = settings->dial ? PEER_DIAL : PEER_LISTEN,
        .url = settings->dial ? settings->dial : settings->listen,
        .subscriptions = prefixes,
        .subscriptions_count = count,
        .max_message = (size_t)settings->max_message,
        .receive_limit = HELD_MAX,
        .context = direct,
        .received = on_received,
        .finished = on_finished,
    };
    enum mp_error error = peer_open(direct->engine->loop.base, &peer, &direct->peer, fault);
    memory_release(prefixes);
    if (!error && settings->listen && strstr(settings->listen, ":0") && output_is_terminal(STDERR_FILENO))
        tell("listening at %s", peer_url(direct->peer));
    return error;
}

void receive_directly(struct receive_engine *engine)
{
    struct receive_direct direct = {
        .engine = engine, .pattern = (enum peer_pattern)engine->settings->pattern, .receiving = true, .sequence = 1};
    struct fault fault = {0};
    direct.producer = ((uint64_t)clock_wall() << 20 ^ (uint64_t)getpid()) | 1;
    engine->settle = settle;
    engine->answer = answer;
    engine->context = &direct;
    enum mp_error error = open_peer(&direct, &fault);
    if (!error)
        error = loop_run(&engine->loop, step, &direct, &fault);
    if (error)
        receive_engine_fail(engine, &fault);
    if (direct.surplus)
        tell("lost: %" PRIu64 " %s came beyond the %" PRIu64 " that were wanted (-n)", direct.surplus,
             direct.surplus == 1 ? "message" : "messages", engine->settings->count);
    peer_free(direct.peer);
}
