/* Messages to stdout. */
#include "cli/receive_output.h"

#include "base/memory.h"
#include "cli/exit.h"
#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUFFER = 256 * 1024, /* bytes that are gathered before they are written */
    LARGE = 64 * 1024,   /* bodies from here on are written from where they are */
    LOOK_FIRST = 1000,   /* microseconds until a pipe is looked at again, */
    LOOK_LAST = 32000    /* doubled up to this */
};

enum sink {
    SINK_FILE, /* never blocks for long: regular files, block devices, /dev/null */
    SINK_PIPE,
    SINK_SOCKET,
    SINK_TERMINAL
};

struct receive_output {
    struct receive_output_settings settings;
    enum sink sink;
    int descriptor;
    bool own;     /* a description of our own, which does not block */
    bool counted; /* the pipe tells how many bytes wait in it */
    bool blocked; /* until `writable` */
    bool gone;    /* the reader has gone */
    bool stopped;
    bool warned; /* of a body with the separator */
    struct event *writable;
    struct event *hangup;

    struct buffer buffer; /* to be written, from `at` on; then `large` */
    size_t at;
    const uint8_t *large;
    size_t large_size;
    bool trailer; /* the separator of the large body comes next */
    struct buffer scratch;
    struct buffer block;

    struct receive_queue queue;     /* what is not wholly handed over */
    struct receive_parcel *filling; /* the first of them that is not wholly taken */
    uint64_t made;                  /* bytes put into `buffer` and `large` since the start */
    uint64_t written;
    uint64_t synced;
    uint64_t freed;  /* where the last message of the parcels ends that are done with */
    int64_t look_at; /* when to look at the pipe again */
    int64_t pause;
};

/* ---- opening -------------------------------------------------------------------------------------------------- */

static void on_writable(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct receive_output *output = context;
    output->blocked = false;
}

/* A pipe's writing end is never readable: this tells that the last reader has gone. */
static void on_hangup(evutil_socket_t descriptor, short what, void *context)
{
    (void)what;
    struct receive_output *output = context;
    struct pollfd look = {.fd = descriptor};
    if (poll(&look, 1, 0) == 1 && (look.revents & (POLLERR | POLLHUP)) != 0) {
        output->gone = true;
        output->blocked = false;
    }
}

static enum sink sink_of(int descriptor)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return SINK_FILE;
    if (S_ISFIFO(status.st_mode))
        return SINK_PIPE;
    if (S_ISSOCK(status.st_mode))
        return SINK_SOCKET;
    return output_is_terminal(descriptor) ? SINK_TERMINAL : SINK_FILE;
}

/*
 * O_NONBLOCK belongs to the open description, which other programs share: the shell, and what else writes there. Linux
 * gives a description of one's own for a pipe or terminal.
 */
static void open_own(struct receive_output *output)
{
    if (output->sink != SINK_PIPE && output->sink != SINK_TERMINAL)
        return;
    int own = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own >= 0) {
        output->descriptor = own;
        output->own = true;
    }
}

static enum mp_error open_events(struct receive_output *output, struct fault *fault)
{
    struct event_base *base = output->settings.loop->base;
    if (output->sink == SINK_FILE)
        return MP_OK;
    output->writable = event_new(base, output->descriptor, EV_WRITE, on_writable, output);
    if (!output->writable)
        return fault_memory(fault);
    if (output->sink != SINK_PIPE)
        return MP_OK;
    output->hangup = event_new(base, output->descriptor, EV_READ, on_hangup, output);
    if (!output->hangup || event_add(output->hangup, NULL))
        return fault_memory(fault);
    return MP_OK;
}

enum mp_error receive_output_open(const struct receive_output_settings *settings, struct receive_output **result,
                                  struct fault *fault)
{
    int flags = fcntl(STDOUT_FILENO, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
        return output_error(STDOUT_FILENO, EBADF, fault);
    struct receive_output *output = memory_allocate(sizeof(*output));
    if (!output)
        return fault_memory(fault);
    output->settings = *settings;
    output->sink = sink_of(STDOUT_FILENO);
    output->descriptor = STDOUT_FILENO;
    output->look_at = CLOCK_NEVER;
    open_own(output);
    int waiting;
    output->counted = output->sink == SINK_PIPE && ioctl(output->descriptor, FIONREAD, &waiting) == 0;
    enum mp_error error = open_events(output, fault);
    if (!error && buffer_reserve(&output->buffer, BUFFER))
        error = fault_memory(fault);
    if (error) {
        receive_output_free(output);
        return error;
    }
    *result = output;
    return MP_OK;
}

void receive_output_free(struct receive_output *output)
{
    if (!output)
        return;
    if (output->writable)
        event_free(output->writable);
    if (output->hangup)
        event_free(output->hangup);
    if (output->own)
        close(output->descriptor);
    buffer_free(&output->buffer);
    buffer_free(&output->scratch);
    buffer_free(&output->block);
    receive_queue_free(&output->queue);
    memory_release(output);
}

enum mp_error receive_output_add(struct receive_output *output, struct receive_parcel *parcel, struct fault *fault)
{
    parcel->ends = memory_allocate_array(parcel->count, sizeof(*parcel->ends));
    if (!parcel->ends)
        return fault_memory(fault);
    receive_queue_add(&output->queue, parcel);
    if (!output->filling)
        output->filling = parcel;
    return MP_OK;
}

/* ---- building ------------------------------------------------------------------------------------------------- */

static int separator(const struct receive_output *output)
{
    return output->settings.format == FORMAT_LINES ? '\n' : '\0';
}

/* Whether a body is written as it stands, with no more than a length before it or a separator behind it. */
static bool is_plain(const struct receive_output *output)
{
    return !output->settings.template && output->settings.format != FORMAT_JSON && output->sink != SINK_TERMINAL;
}

static void warn(struct receive_output *output)
{
    output->warned = true;
    if (output->settings.format == FORMAT_LINES)
        tell("a message holds a newline, so that its end cannot be told from a line's: use -F null, length or json");
    else
        tell("a message holds a NUL byte, so that its end cannot be told from that of a message: use -F length or "
             "json");
}

/* Puts RECORD into the buffer as it is. False: no room now. */
static bool put_plain(struct receive_output *output, const struct record *record)
{
    struct buffer *buffer = &output->buffer;
    enum format format = output->settings.format;
    size_t head = format == FORMAT_LENGTH ? 4 : 0;
    size_t tail = format == FORMAT_LINES || format == FORMAT_NULL ? 1 : 0;
    bool large = record->size >= LARGE;
    size_t need = head + (large ? 0 : record->size + tail);
    if (need > BUFFER - buffer->size)
        return false;
    uint8_t *at = buffer->data + buffer->size;
    if (head) {
        at[0] = (uint8_t)(record->size >> 24);
        at[1] = (uint8_t)(record->size >> 16);
        at[2] = (uint8_t)(record->size >> 8);
        at[3] = (uint8_t)record->size;
    }
    if (large) {
        output->large = record->body;
        output->large_size = record->size;
        output->trailer = tail != 0;
    } else {
        if (record->size)
            memcpy(at + head, record->body, record->size);
        if (tail)
            at[head + record->size] = (uint8_t)separator(output);
    }
    buffer->size += need;
    output->made += head + record->size + tail;
    if (tail && !output->warned && record->size && memchr(record->body, separator(output), record->size))
        warn(output);
    return true;
}

/* Appends ITEM as it is to be shown. */
static enum mp_error put_item(struct receive_output *output, const struct format_item *item, struct fault *fault)
{
    const struct receive_output_settings *settings = &output->settings;
    bool terminal = output->sink == SINK_TERMINAL;
    struct buffer *out = terminal ? &output->scratch : &output->buffer;
    size_t before = output->buffer.size;
    enum mp_error error;
    output->scratch.size = 0;
    if (settings->template) {
        error = format_template_write(settings->template, item, out);
    } else {
        error = format_write(settings->format, item, out, fault);
        if (error == MP_ERR_FORMAT && settings->format != FORMAT_JSON) {
            /* On a terminal the separator inside is shown escaped. */
            char end = (char)separator(output);
            error = buffer_append(out, item->record.body, item->record.size);
            if (!error)
                error = buffer_append(out, &end, 1);
        }
    }
    if (!error && terminal)
        error = format_escape(output->scratch.data, output->scratch.size, &output->buffer);
    if (error == MP_ERR_MEMORY)
        fault_memory(fault);
    output->made += output->buffer.size - before;
    return error;
}

/* Fills the buffer from the parcels. */
static enum mp_error fill(struct receive_output *output, struct fault *fault)
{
    bool plain = is_plain(output);
    while (output->filling && !output->large) {
        struct receive_parcel *parcel = output->filling;
        struct frame_cursor cursor = parcel->cursor;
        struct record record;
        if (!plain && output->buffer.size >= BUFFER / 2)
            return MP_OK;
        uint32_t index = parcel->taken;
        if (!receive_parcel_take(parcel, &record)) {
            output->filling = parcel->next;
            continue;
        }
        if (!plain) {
            struct format_item item = receive_parcel_item(parcel, &record, index);
            enum mp_error error = put_item(output, &item, fault);
            if (error)
                return error;
        } else if (!put_plain(output, &record)) {
            parcel->cursor = cursor;
            parcel->taken--;
            return MP_OK;
        }
        parcel->ends[index] = output->made;
        output->queue.messages--;
    }
    return MP_OK;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

/* Writes some of SIZE bytes. MP_ERR_AGAIN: not now. */
static enum mp_error write_some(struct receive_output *output, const uint8_t *data, size_t size, size_t *done,
                                struct fault *fault)
{
    ssize_t written;
    if (output->sink == SINK_SOCKET) {
        written = send(output->descriptor, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        if (output->sink != SINK_FILE && !output->own) {
            /* A writable pipe takes PIPE_BUF bytes without blocking. */
            struct pollfd look = {.fd = output->descriptor, .events = POLLOUT};
            if (poll(&look, 1, 0) == 0)
                return MP_ERR_AGAIN;
            size = size < PIPE_BUF ? size : PIPE_BUF;
        }
        written = write(output->descriptor, data, size);
    }
    if (written >= 0) {
        *done = (size_t)written;
        output->written += (uint64_t)written;
        return MP_OK;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return MP_ERR_AGAIN;
    *done = 0;
    return errno == EINTR ? MP_OK : output_error(STDOUT_FILENO, errno, fault);
}

/* Writes buffer and large body. MP_OK: all of it. */
static enum mp_error flush(struct receive_output *output, struct fault *fault)
{
    size_t done = 0;
    while (output->at < output->buffer.size) {
        enum mp_error error =
            write_some(output, output->buffer.data + output->at, output->buffer.size - output->at, &done, fault);
        if (error)
            return error;
        output->at += done;
    }
    output->at = 0;
    output->buffer.size = 0;
    while (output->large) {
        enum mp_error error = write_some(output, output->large, output->large_size, &done, fault);
        if (error)
            return error;
        output->large += done;
        output->large_size -= done;
        if (output->large_size == 0)
            output->large = NULL;
    }
    if (output->trailer) {
        uint8_t end = (uint8_t)separator(output);
        output->trailer = false;
        return buffer_append(&output->buffer, &end, 1) ? fault_memory(fault) : MP_OK;
    }
    return MP_OK;
}

static enum mp_error write_all(struct receive_output *output, struct fault *fault)
{
    enum mp_error error = MP_OK;
    while (!error && !output->blocked) {
        if (!output->stopped)
            error = fill(output, fault);
        if (!error && output->buffer.size == 0 && !output->large)
            return MP_OK;
        if (!error)
            error = flush(output, fault);
    }
    if (error == MP_ERR_AGAIN) {
        output->blocked = true;
        error = event_add(output->writable, NULL) ? fault_memory(fault) : MP_OK;
    }
    return error;
}

/* ---- handing over --------------------------------------------------------------------------------------------- */

/* How many of the bytes written have been handed over. */
static enum mp_error handed_bytes(struct receive_output *output, uint64_t *bytes, struct fault *fault)
{
    *bytes = output->written;
    if (output->counted) {
        int waiting = 0;
        if (ioctl(output->descriptor, FIONREAD, &waiting) != 0)
            return fault_system(fault, MP_ERR_IO, errno, "cannot tell how much of the pipe was read");
        /* When others write there, too, some of this is theirs: then fewer are acknowledged, never more. */
        uint64_t unread = waiting > 0 ? (uint64_t)waiting : 0;
        *bytes = unread < output->written ? output->written - unread : 0;
    } else if (output->settings.sync && output->synced != output->written) {
        if (fdatasync(output->descriptor) != 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP)
            return output_error(STDOUT_FILENO, errno, fault);
        output->synced = output->written;
    }
    return MP_OK;
}

/* Tells what the first BYTES bytes make whole. */
static void hand_over(struct receive_output *output, uint64_t bytes)
{
    while (output->queue.first) {
        struct receive_parcel *parcel = output->queue.first;
        uint32_t before = parcel->passed;
        uint32_t passed = before;
        while (passed < parcel->taken && parcel->ends[passed] <= bytes)
            passed++;
        parcel->passed = passed;
        if (passed > before)
            output->settings.handed(output->settings.context, parcel, before, passed - before);
        if (passed < parcel->count)
            return;
        if (output->filling == parcel)
            output->filling = parcel->next;
        output->freed = parcel->ends[parcel->count - 1];
        receive_parcel_free(receive_queue_shift(&output->queue));
    }
}

/* Sees to it that the pipe is looked at again while bytes wait in it: soon, and less often when nothing happens. */
static void look_later(struct receive_output *output, uint64_t bytes, bool progress, int64_t now, int64_t *due)
{
    if (bytes >= output->written) {
        output->look_at = CLOCK_NEVER;
        return;
    }
    if (progress || output->look_at == CLOCK_NEVER)
        output->pause = LOOK_FIRST;
    else if (now >= output->look_at)
        output->pause = output->pause * 2 < LOOK_LAST ? output->pause * 2 : LOOK_LAST;
    if (progress || output->look_at == CLOCK_NEVER || now >= output->look_at)
        output->look_at = now + output->pause;
    *due = output->look_at < *due ? output->look_at : *due;
}

enum mp_error receive_output_pump(struct receive_output *output, int64_t now, int64_t *due, struct fault *fault)
{
    enum mp_error error = output->gone ? output_error(STDOUT_FILENO, EPIPE, fault) : write_all(output, fault);
    if (!output->queue.first)
        return error;
    uint64_t bytes = 0;
    struct fault other = {0};
    enum mp_error count_error = handed_bytes(output, &bytes, error ? &other : fault);
    if (!count_error) {
        struct receive_parcel *first = output->queue.first;
        uint32_t passed = first->passed;
        hand_over(output, bytes);
        look_later(output, bytes, output->queue.first != first || first->passed != passed, now, due);
    }
    return error ? error : count_error;
}

void receive_output_stop(struct receive_output *output)
{
    if (output->stopped)
        return;
    output->stopped = true;
    output->filling = NULL;
    uint64_t before = output->freed;
    /* The message at which `written` stands is the last one. */
    for (struct receive_parcel *parcel = output->queue.first; parcel; parcel = parcel->next) {
        uint32_t index = parcel->passed;
        while (index < parcel->taken && parcel->ends[index] <= output->written)
            index++;
        if (index == parcel->taken) {
            before = index > 0 ? parcel->ends[index - 1] : before;
            continue;
        }
        uint64_t start = index > 0 ? parcel->ends[index - 1] : before;
        uint64_t end = start == output->written ? start : parcel->ends[index];
        uint64_t keep = end - output->written;
        size_t left = output->buffer.size - output->at;
        if (keep <= left) {
            output->buffer.size = output->at + (size_t)keep;
            output->large = NULL;
            output->trailer = false;
        }
        output->made = end;
        return;
    }
}

size_t receive_output_bytes(const struct receive_output *output)
{
    return output->queue.bytes;
}

bool receive_output_idle(const struct receive_output *output)
{
    if (!output->stopped)
        return output->queue.first == NULL;
    return output->at == output->buffer.size && !output->large && output->look_at == CLOCK_NEVER;
}

uint64_t receive_output_written(const struct receive_output *output)
{
    return output->written;
}
