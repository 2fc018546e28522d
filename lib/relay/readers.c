#include "relay/readers.h"

#include "base/memory.h"
#include "base/spawn.h"
#include "policy/rate.h"
#include "relay/readers_process.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STREAMS = 2, CHUNK = 64 * 1024, LOOK_EVERY = 1, MOST_A_SECOND = 50 };

struct stream {
    int descriptor; /* -1: closed, there comes no more */
    struct event *readable;
    struct buffer got; /* and not fetched */
    size_t most;
    bool stands; /* as much as may be kept was not fetched */
};

struct reading {
    struct reading *next;
    struct readers *readers;
    char id[READERS_ID + 1];
    pid_t pid;     /* 0: it has ended, and */
    int exit;      /* this is its code */
    bool disowned; /* nobody may ask for it any more: it stays until its process has ended */
    struct stream streams[STREAMS];
    uint64_t number;     /* of the piece that was fetched last; 0: none was */
    struct buffer piece; /* that one */
    bool whole;          /* it was the last one */
    int64_t asked;       /* when somebody asked last, or how long he waits; monotonic */
};

struct readers {
    struct event_base *base;
    char *store;
    struct reading *first; /* the newest */
    struct event *children, *timer;
    bool timing;
    bool changed;
    struct rate starts;
};

/* ---- processes ------------------------------------------------------------------------------------------------ */

static void close_stream(struct stream *stream)
{
    if (stream->readable)
        event_free(stream->readable);
    if (stream->descriptor >= 0)
        close(stream->descriptor);
    stream->readable = NULL;
    stream->descriptor = -1;
}

static void on_readable(evutil_socket_t descriptor, short what, void *context)
{
    struct reading *reading = context;
    struct stream *stream = &reading->streams[reading->streams[0].descriptor == descriptor ? 0 : 1];
    size_t room = stream->most - stream->got.size;
    (void)what;
    if (buffer_reserve(&stream->got, room < CHUNK ? room : CHUNK)) {
        close_stream(stream); /* the process sees that nobody reads */
        return;
    }
    ssize_t got = read(descriptor, stream->got.data + stream->got.size, room < CHUNK ? room : CHUNK);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    reading->readers->changed = true;
    if (got <= 0) {
        close_stream(stream);
        return;
    }
    stream->got.size += (size_t)got;
    stream->stands = stream->got.size == stream->most;
    if (stream->stands)
        event_del(stream->readable);
}

static bool open_stream(struct reading *reading, int index, int descriptor)
{
    struct stream *stream = &reading->streams[index];
    stream->descriptor = descriptor;
    stream->most = index == 0 ? READERS_OUTPUT : READERS_ERRORS;
    stream->readable = event_new(reading->readers->base, descriptor, EV_READ | EV_PERSIST, on_readable, reading);
    return stream->readable && event_add(stream->readable, NULL) == 0;
}

static void free_reading(struct reading *reading)
{
    for (int i = 0; i < STREAMS; i++) {
        close_stream(&reading->streams[i]);
        buffer_free(&reading->streams[i].got);
    }
    buffer_free(&reading->piece);
    memory_release(reading);
}

/* Takes READING, which has no process, off the list. */
static void drop(struct readers *readers, struct reading *reading)
{
    for (struct reading **at = &readers->first; *at; at = &(*at)->next)
        if (*at == reading) {
            *at = reading->next;
            break;
        }
    free_reading(reading);
}

/* Nobody wants READING any more. It may be freed by this. */
static void disown(struct readers *readers, struct reading *reading)
{
    if (reading->pid > 0)
        kill(reading->pid, SIGKILL);
    reading->disowned = true;
    for (int i = 0; i < STREAMS; i++)
        close_stream(&reading->streams[i]);
    if (reading->pid == 0)
        drop(readers, reading);
}

static void reap(struct readers *readers, struct reading *reading, int options)
{
    int status = 0;
    pid_t ended;
    while ((ended = waitpid(reading->pid, &status, options)) < 0 && errno == EINTR)
        ;
    if (ended == 0)
        return;
    reading->exit = ended > 0 ? spawn_exit_code(status) : 128 + SIGKILL; /* somebody else has reaped it */
    reading->pid = 0;
    readers->changed = true;
    if (reading->disowned)
        drop(readers, reading);
}

static void on_child(evutil_socket_t number, short what, void *context)
{
    struct readers *readers = context;
    (void)number;
    (void)what;
    for (struct reading *reading = readers->first, *next; reading; reading = next) {
        next = reading->next;
        if (reading->pid > 0)
            reap(readers, reading, WNOHANG);
    }
}

/* ---- time ----------------------------------------------------------------------------------------------------- */

static void look_again(struct readers *readers)
{
    const struct timeval pause = {.tv_sec = LOOK_EVERY};
    if (!readers->timing && readers->first)
        readers->timing = event_add(readers->timer, &pause) == 0;
}

static void on_time(evutil_socket_t descriptor, short what, void *context)
{
    struct readers *readers = context;
    int64_t now = clock_monotonic();
    (void)descriptor;
    (void)what;
    readers->timing = false;
    for (struct reading *reading = readers->first, *next; reading; reading = next) {
        next = reading->next;
        if (!reading->disowned && now - reading->asked > READERS_IDLE)
            disown(readers, reading);
    }
    look_again(readers);
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

enum mp_error readers_open(const struct readers_settings *settings, struct readers **result, struct fault *fault)
{
    struct readers *readers = memory_allocate(sizeof *readers);
    if (!readers)
        return fault_memory(fault);
    readers->base = settings->base;
    readers->store = memory_copy_text(settings->store, strlen(settings->store));
    readers->children = evsignal_new(settings->base, SIGCHLD, on_child, readers);
    readers->timer = evtimer_new(settings->base, on_time, readers);
    if (!readers->store || !readers->children || !readers->timer || event_add(readers->children, NULL)) {
        readers_close(readers);
        return fault_memory(fault);
    }
    *result = readers;
    return MP_OK;
}

void readers_close(struct readers *readers)
{
    if (!readers)
        return;
    for (struct reading *reading = readers->first, *next; reading; reading = next) {
        next = reading->next;
        pid_t pid = reading->pid;
        disown(readers, reading);
        if (pid > 0)
            reap(readers, reading, 0);
    }
    if (readers->children)
        event_free(readers->children);
    if (readers->timer)
        event_free(readers->timer);
    memory_release(readers->store);
    memory_release(readers);
}

bool readers_changed(struct readers *readers)
{
    bool changed = readers->changed;
    readers->changed = false;
    return changed;
}

/* ---- starting ------------------------------------------------------------------------------------------------- */

/* The "reading" of ASKED; NULL: it is none. */
static const char *id_of(const json_t *asked)
{
    const char *id = json_string_value(json_object_get(asked, "reading"));
    return id && strlen(id) == READERS_ID && strspn(id, "0123456789abcdef") == READERS_ID ? id : NULL;
}

static struct reading *find(const struct readers *readers, const char *id)
{
    struct reading *reading = readers->first;
    while (reading && (reading->disowned || strcmp(reading->id, id) != 0))
        reading = reading->next;
    return reading;
}

/* Makes room, of readings that have ended, and says whether another one may run. */
static enum mp_error admit(struct readers *readers, int64_t now, struct fault *fault)
{
    size_t running = 0, count = 0;
    struct reading *ended = NULL;
    for (struct reading *reading = readers->first; reading; reading = reading->next) {
        count++;
        running += reading->pid > 0;
        if (reading->pid == 0)
            ended = reading; /* the oldest */
    }
    if (running >= READERS_RUNNING)
        return fault_set(fault, MP_ERR_BUSY, "%d others read through that relay now, as many as may: try again later",
                         READERS_RUNNING);
    if (rate_left(&readers->starts, MOST_A_SECOND, now) == 0)
        return fault_set(fault, MP_ERR_BUSY, "more than %d a second begin to read through that relay: try again later",
                         MOST_A_SECOND);
    if (count >= READERS_KEPT && ended)
        drop(readers, ended);
    return MP_OK;
}

enum mp_error readers_start(struct readers *readers, const json_t *asked, const char *relay, int64_t now,
                            struct fault *fault)
{
    const char *id = id_of(asked);
    int output[STREAMS];
    enum mp_error error;
    if (!id)
        return fault_set(fault, MP_ERR_INVALID, "a reading is named by %d hex digits", READERS_ID);
    struct reading *reading = find(readers, id);
    if (reading) {
        reading->asked = now;
        return MP_OK;
    }
    if ((error = admit(readers, now, fault)))
        return error;
    if (!(reading = memory_allocate(sizeof *reading)))
        return fault_memory(fault);
    memcpy(reading->id, id, READERS_ID);
    reading->readers = readers;
    reading->asked = now;
    reading->streams[0].descriptor = reading->streams[1].descriptor = -1;
    error = readers_process_start(asked, readers->store, relay, &reading->pid, output, fault);
    if (error) {
        memory_release(reading);
        return error;
    }
    rate_take(&readers->starts, MOST_A_SECOND, 1, now);
    reading->next = readers->first;
    readers->first = reading;
    look_again(readers);
    bool opened = open_stream(reading, 0, output[0]);
    if (open_stream(reading, 1, output[1]) && opened)
        return MP_OK;
    disown(readers, reading);
    return fault_memory(fault);
}

/* ---- pieces --------------------------------------------------------------------------------------------------- */

static bool is_over(const struct reading *reading)
{
    return reading->pid == 0 && reading->streams[0].descriptor < 0 && reading->streams[1].descriptor < 0;
}

static enum mp_error put_piece(const struct reading *reading, uint64_t number, size_t output, size_t errors, bool over,
                               struct buffer *out)
{
    enum mp_error error = buffer_append_format(out, "{\"number\":%llu,\"output\":%zu,\"errors\":%zu",
                                               (unsigned long long)number, output, errors);
    if (!error && over)
        error = buffer_append_format(out, ",\"exit\":%d", reading->exit);
    return error ? error : buffer_append_string(out, "}\n");
}

/* Makes what has come the piece behind the last one. What cannot be put into it stays where it is. */
static enum mp_error cut_piece(struct reading *reading)
{
    struct stream *streams = reading->streams;
    struct buffer *piece = &reading->piece;
    bool over = is_over(reading);
    piece->size = 0;
    enum mp_error error =
        put_piece(reading, reading->number + 1, streams[0].got.size, streams[1].got.size, over, piece);
    for (int i = 0; i < STREAMS && !error; i++)
        error = buffer_append(piece, streams[i].got.data, streams[i].got.size);
    if (error)
        return error;
    reading->number++;
    reading->whole = over;
    for (int i = 0; i < STREAMS; i++) {
        streams[i].got.size = 0;
        if (streams[i].stands && streams[i].readable)
            event_add(streams[i].readable, NULL);
        streams[i].stands = false;
    }
    return MP_OK;
}

enum mp_error readers_read(struct readers *readers, const json_t *asked, int64_t now, bool may_wait, struct buffer *out,
                           struct fault *fault)
{
    const char *id = id_of(asked);
    struct reading *reading = id ? find(readers, id) : NULL;
    json_int_t said = json_integer_value(json_object_get(asked, "number"));
    uint64_t number = said > 0 ? (uint64_t)said : 0;
    enum mp_error error = MP_OK;
    if (!reading)
        return fault_set(fault, MP_ERR_NOT_FOUND, "that relay knows no such reading, or has ended it");
    reading->asked = now;
    bool next = number == reading->number + 1 && !reading->whole;
    if (number == 0 || (!next && number != reading->number))
        return fault_set(fault, MP_ERR_INVALID, "piece %llu of that reading is not to be had",
                         (unsigned long long)number);
    if (json_is_true(json_object_get(asked, "keep")))
        return put_piece(reading, reading->number, 0, 0, false, out) ? fault_memory(fault) : MP_OK;
    bool some = reading->streams[0].got.size + reading->streams[1].got.size > 0;
    if (next && !some && !is_over(reading)) {
        if (!may_wait)
            error = put_piece(reading, reading->number, 0, 0, false, out);
        else
            reading->asked = now + READERS_WAIT;
        return error ? fault_memory(fault) : may_wait ? MP_ERR_AGAIN : MP_OK;
    }
    if (next)
        error = cut_piece(reading);
    if (!error)
        error = buffer_append(out, reading->piece.data, reading->piece.size);
    return error ? fault_memory(fault) : MP_OK;
}

void readers_left(struct readers *readers, const json_t *asked, int64_t now)
{
    const char *id = id_of(asked);
    struct reading *reading = id ? find(readers, id) : NULL;
    if (!reading)
        return;
    reading->asked = now - READERS_IDLE + READERS_LEFT;
    readers->changed = true; /* so that whoever waits for the same on another connection is heard again */
}
