/*
 * A socket that any program on nng or nanomsg can send to. What comes is a message: its bytes as they are, or a frame
 * (of msend --framed), whose messages keep their attributes and their origin.
 *
 * What has come and was not published counts against the peer's receive_limit: when the relay takes nothing the other
 * ends are not read any more. A request (rep, respondent) is answered with the id of its message when that is on the
 * relay's disk, a frame with a frame that has an id for each of its messages; an empty answer says that it will not be
 * stored: a step dropped it, or the relay refuses it for good.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "message/frame.h"
#include "runner/source_private.h"
#include "transport/peer.h"

#include <inttypes.h>
#include <unistd.h>

enum {
    HELD_MAX = 4 * 1024 * 1024, /* bytes that have come and are not published */
    LINGER = 1000000            /* microseconds for the last answers */
};

/* What came in one piece. */
struct arrival {
    struct arrival *next;
    struct peer_message *message; /* NULL: all of it was taken */
    struct frame frame;
    struct frame_cursor cursor;
    bool framed;
    int64_t time;
    uint32_t count; /* messages that were given, */
    uint64_t mark;  /* the first of them under this mark, the others under those that follow */

    /* of a request */
    struct peer_token token;
    uint32_t settled;       /* of its messages */
    struct buffer *answers; /* one for each of them; NULL: none is there yet */
};

/* In the order of their marks. Emptied they are as new. */
struct arrivals {
    struct arrival *first;
    struct arrival **end;
};

struct source_socket {
    struct source *source;
    struct peer *peer;
    enum peer_pattern pattern;
    bool dials;
    bool replies;
    bool filters;            /* sub: messages of frames are to be looked at */
    struct arrivals coming;  /* not wholly taken */
    struct arrivals waiting; /* requests that are taken, and not answered */
    uint64_t marks;
    uint64_t producer; /* of the frames that answer */
    uint64_t sequence;
    bool stopped;
    bool finishing;
    bool over;
};

static void push(struct arrivals *arrivals, struct arrival *arrival)
{
    arrival->next = NULL;
    *arrivals->end = arrival;
    arrivals->end = &arrival->next;
}

static struct arrival *shift(struct arrivals *arrivals)
{
    struct arrival *arrival = arrivals->first;
    arrivals->first = arrival->next;
    if (!arrivals->first)
        arrivals->end = &arrivals->first;
    return arrival;
}

/* How many messages it has, those that are not wanted too. */
static uint32_t arrival_size(const struct arrival *arrival)
{
    return arrival->framed ? arrival->frame.count : 1;
}

static void arrival_free(struct arrival *arrival)
{
    if (!arrival)
        return;
    if (arrival->message)
        peer_message_free(arrival->message);
    for (uint32_t i = 0; arrival->answers && i < arrival_size(arrival); i++)
        buffer_free(&arrival->answers[i]);
    memory_release(arrival->answers);
    memory_release(arrival);
}

/* ---- what the peer tells -------------------------------------------------------------------------------------- */

static void on_received(void *context, struct peer_message *message, const struct peer_token *token)
{
    struct source_socket *socket = context;
    struct arrival *arrival = socket->stopped ? NULL : memory_allocate(sizeof(*arrival));
    if (!arrival) {
        if (!socket->stopped)
            source_warn(socket->source, "message lost", mp_error_text(MP_ERR_MEMORY));
        peer_message_free(message);
        return;
    }
    size_t size;
    const uint8_t *data = peer_message_data(message, &size);
    struct fault fault = {0};
    arrival->message = message;
    arrival->token = *token;
    arrival->time = clock_wall();
    if (frame_recognise(data, size)) {
        /* A body may begin like a frame and be none. */
        arrival->framed = frame_open(&arrival->frame, data, size, true, &fault) == MP_OK;
        if (!arrival->framed)
            source_warn(socket->source, "taken as a bare body, though it begins like a frame", fault_text(&fault));
        arrival->cursor = frame_cursor(&arrival->frame);
    }
    push(&socket->coming, arrival);
    source_wake(socket->source);
}

static void on_finished(void *context, const struct peer_result *result)
{
    (void)result;
    struct source_socket *socket = context;
    socket->over = true;
    source_wake(socket->source);
}

static void on_trouble(void *context, const char *what)
{
    struct source_socket *socket = context;
    if (socket->dials && peer_count(socket->peer) == 0)
        source_wait(socket->source, "%s", what);
    else
        source_warn(socket->source, "connection", what);
}

static void on_peers(void *context, unsigned count)
{
    struct source_socket *socket = context;
    if (count)
        source_wait(socket->source, NULL);
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static enum mp_error open_peer(struct source_socket *socket, const struct source_settings *settings,
                               struct fault *fault)
{
    const struct pipeline_socket *what = &settings->source->socket;
    struct peer_prefix *prefixes = NULL;
    size_t count = 0;
    while (what->subscriptions && what->subscriptions[count])
        count++;
    if (count) {
        prefixes = memory_allocate_array(count, sizeof(*prefixes));
        if (!prefixes)
            return fault_memory(fault);
    }
    for (size_t i = 0; i < count; i++)
        prefixes[i] = (struct peer_prefix){what->subscriptions[i], strlen(what->subscriptions[i])};
    socket->filters = count > 0 && what->pattern == PEER_SUB;
    const struct peer_settings peer = {
        .pattern = what->pattern,
        .role = what->role,
        .url = what->url,
        .subscriptions = prefixes,
        .subscriptions_count = count,
        .receive_limit = HELD_MAX,
        .context = socket,
        .received = on_received,
        .peers = on_peers,
        .finished = on_finished,
        .trouble = on_trouble,
    };
    enum mp_error error = peer_open(settings->base, &peer, &socket->peer, fault);
    memory_release(prefixes);
    return error;
}

static enum mp_error open_socket(struct source *source, const struct source_settings *settings, void **state,
                                 struct fault *fault)
{
    struct source_socket *socket = memory_allocate(sizeof(*socket));
    if (!socket)
        return fault_memory(fault);
    *state = socket;
    socket->source = source;
    socket->pattern = settings->source->socket.pattern;
    socket->replies = socket->pattern == PEER_REP || socket->pattern == PEER_RESPONDENT;
    socket->dials = settings->source->socket.role == PEER_DIAL;
    socket->coming.end = &socket->coming.first;
    socket->waiting.end = &socket->waiting.first;
    socket->producer = ((uint64_t)clock_wall() << 20 ^ (uint64_t)getpid()) | 1;
    socket->sequence = 1;
    return open_peer(socket, settings, fault);
}

static void free_socket(void *state)
{
    struct source_socket *socket = state;
    while (socket->coming.first)
        arrival_free(shift(&socket->coming));
    while (socket->waiting.first)
        arrival_free(shift(&socket->waiting));
    peer_free(socket->peer);
    memory_release(socket);
}

static void stop_socket(void *state)
{
    struct source_socket *socket = state;
    socket->stopped = true;
    if (socket->peer)
        peer_receive(socket->peer, false);
}

/* ---- answers -------------------------------------------------------------------------------------------------- */

/* The answer to a frame: the ids of its messages, in their order. */
static enum mp_error frame_of_answers(struct source_socket *socket, const struct arrival *arrival,
                                      struct frame_builder *frame)
{
    enum mp_error error = frame_begin(frame, socket->producer, socket->sequence);
    for (uint32_t i = 0; !error && i < arrival->count; i++)
        error = frame_add(frame, arrival->answers ? arrival->answers[i].data : NULL,
                          arrival->answers ? arrival->answers[i].size : 0, NULL, 0);
    if (error)
        return error;
    frame_finish(frame, clock_wall());
    socket->sequence += arrival->count;
    return MP_OK;
}

static void answer(struct source_socket *socket, const struct arrival *arrival)
{
    struct fault fault = {0};
    struct frame_builder frame = {0};
    const struct buffer *bytes = arrival->answers;
    enum mp_error error = MP_OK;
    if (arrival->framed) {
        error = frame_of_answers(socket, arrival, &frame);
        bytes = &frame.bytes;
    }
    const struct peer_part part = {.data = bytes && bytes->size ? (const char *)bytes->data : "",
                                   .size = bytes ? bytes->size : 0};
    if (error)
        fault_set(&fault, error, "%s", mp_error_text(error));
    else
        error = peer_reply(socket->peer, &arrival->token, &part, &fault);
    frame_builder_free(&frame);
    if (error && error != MP_ERR_CLOSED) /* who asked may have gone */
        source_warn(socket->source, "request not answered", fault_text(&fault));
}

/* Answers the requests at the front whose messages are all settled. */
static void answer_all(struct source_socket *socket)
{
    while (socket->waiting.first && socket->waiting.first->settled == socket->waiting.first->count) {
        struct arrival *arrival = shift(&socket->waiting);
        answer(socket, arrival);
        arrival_free(arrival);
    }
}

/* All messages of the first arrival are given, and not needed any more; a request stays until it is answered. */
static void take_away(struct source_socket *socket)
{
    struct arrival *arrival = shift(&socket->coming);
    if (!socket->replies) {
        arrival_free(arrival);
        return;
    }
    peer_message_free(arrival->message);
    arrival->message = NULL;
    push(&socket->waiting, arrival);
    answer_all(socket);
}

static bool has_mark(const struct arrival *arrival, uint64_t mark)
{
    return arrival && mark >= arrival->mark && mark - arrival->mark < arrival->count;
}

static void settled_of_socket(void *state, uint64_t mark, const char *id, size_t size)
{
    struct source_socket *socket = state;
    struct arrival *arrival = socket->waiting.first;
    while (arrival && !has_mark(arrival, mark))
        arrival = arrival->next;
    if (!arrival && has_mark(socket->coming.first, mark))
        arrival = socket->coming.first;
    if (!socket->replies || !arrival)
        return;
    if (!arrival->answers)
        arrival->answers = memory_allocate_array(arrival_size(arrival), sizeof(*arrival->answers));
    enum mp_error error =
        arrival->answers ? buffer_append(&arrival->answers[mark - arrival->mark], id, size) : MP_ERR_MEMORY;
    if (error)
        source_warn(socket->source, "request answered without an id", mp_error_text(error));
    arrival->settled++;
    if (arrival != socket->coming.first)
        answer_all(socket);
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

/* The next message of ARRIVAL. False: there is none any more. */
static bool next_record(struct source_socket *socket, struct arrival *arrival, struct record *record)
{
    if (!arrival->framed) {
        if (arrival->count)
            return false;
        size_t size;
        const uint8_t *data = peer_message_data(arrival->message, &size);
        *record = (struct record){.body = data, .size = size};
        return true;
    }
    while (frame_next(&arrival->cursor, record))
        if (!socket->filters || peer_subscribed(socket->peer, record->body, record->size))
            return true;
    return false;
}

static enum mp_error next_of_socket(void *state, struct format_item *item, uint64_t *mark, int64_t now, int64_t *due,
                                    struct fault *fault)
{
    (void)now;
    (void)due;
    struct source_socket *socket = state;
    while (socket->coming.first) {
        struct arrival *arrival = socket->coming.first;
        struct record record;
        if (!next_record(socket, arrival, &record)) {
            take_away(socket);
            continue;
        }
        *mark = ++socket->marks;
        if (!arrival->count++)
            arrival->mark = *mark;
        *item = (struct format_item){.record = record, .time = arrival->framed ? arrival->frame.time : arrival->time};
        if (record.size <= source_limit(socket->source))
            return MP_OK;
        settled_of_socket(socket, *mark, NULL, 0);
        return fault_set(fault, MP_ERR_TOO_LARGE, "a message of %zu bytes is over the relay's limit", record.size);
    }
    return socket->stopped ? MP_ERR_CLOSED : MP_ERR_AGAIN;
}

/* The last answers are on their way, or there was time enough. */
static bool is_idle(void *state)
{
    struct source_socket *socket = state;
    if (!socket->replies || socket->over)
        return true;
    if (!socket->finishing)
        peer_finish(socket->peer, LINGER);
    socket->finishing = true;
    return false;
}

const struct source_kind source_kind_socket = {
    .open = open_socket,
    .next = next_of_socket,
    .settled = settled_of_socket,
    .stop = stop_socket,
    .idle = is_idle,
    .free = free_socket,
};
