/* stdout, written to without blocking. */
#include "cli/receive_sink.h"

#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void on_writable(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct receive_sink *sink = context;
    sink->blocked = false;
}

/* A pipe's writing end is never readable: this tells that the last reader has gone. */
static void on_hangup(evutil_socket_t descriptor, short what, void *context)
{
    (void)what;
    struct receive_sink *sink = context;
    if (output_has_gone(descriptor)) {
        sink->gone = true;
        sink->blocked = false;
    }
}

static enum sink_kind kind_of(int descriptor)
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
static void open_own(struct receive_sink *sink)
{
    if (sink->kind != SINK_PIPE && sink->kind != SINK_TERMINAL)
        return;
    int own = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own >= 0) {
        sink->descriptor = own;
        sink->own = true;
    }
}

enum mp_error receive_sink_check(struct fault *fault)
{
    int flags = fcntl(STDOUT_FILENO, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
        return output_error(STDOUT_FILENO, EBADF, fault);
    return MP_OK;
}

enum mp_error receive_sink_open(struct receive_sink *sink, struct loop *loop, struct fault *fault)
{
    int waiting;
    *sink = (struct receive_sink){.kind = kind_of(STDOUT_FILENO), .descriptor = STDOUT_FILENO};
    open_own(sink);
    sink->counted = sink->kind == SINK_PIPE && ioctl(sink->descriptor, FIONREAD, &waiting) == 0;
    if (sink->kind == SINK_FILE)
        return MP_OK;
    sink->writable = event_new(loop->base, sink->descriptor, EV_WRITE, on_writable, sink);
    if (!sink->writable)
        return fault_memory(fault);
    if (sink->kind != SINK_PIPE)
        return MP_OK;
    sink->hangup = event_new(loop->base, sink->descriptor, EV_READ, on_hangup, sink);
    return !sink->hangup || event_add(sink->hangup, NULL) ? fault_memory(fault) : MP_OK;
}

void receive_sink_close(struct receive_sink *sink)
{
    if (sink->writable)
        event_free(sink->writable);
    if (sink->hangup)
        event_free(sink->hangup);
    if (sink->own)
        close(sink->descriptor);
    *sink = (struct receive_sink){0};
}

/* write(2), as it can be done without blocking. */
static ssize_t attempt(struct receive_sink *sink, const void *data, size_t size)
{
    if (sink->kind == SINK_SOCKET)
        return send(sink->descriptor, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sink->kind != SINK_FILE && !sink->own) {
        /* A writable pipe takes PIPE_BUF bytes without blocking. */
        struct pollfd look = {.fd = sink->descriptor, .events = POLLOUT};
        if (poll(&look, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        size = size < PIPE_BUF ? size : PIPE_BUF;
    }
    return write(sink->descriptor, data, size);
}

enum mp_error receive_sink_write(struct receive_sink *sink, const void *data, size_t size, size_t *done,
                                 struct fault *fault)
{
    *done = 0;
    if (sink->gone)
        return output_error(STDOUT_FILENO, EPIPE, fault);
    if (sink->blocked)
        return MP_ERR_AGAIN;
    ssize_t written = attempt(sink, data, size);
    if (written >= 0) {
        *done = (size_t)written;
        sink->written += (uint64_t)written;
        return MP_OK;
    }
    if (errno == EINTR)
        return MP_OK;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        sink->blocked = true;
        return !sink->writable || event_add(sink->writable, NULL) ? fault_memory(fault) : MP_ERR_AGAIN;
    }
    sink->gone = errno == EPIPE;
    return output_error(STDOUT_FILENO, errno, fault);
}

enum mp_error receive_sink_handed(struct receive_sink *sink, bool sync, uint64_t *bytes, struct fault *fault)
{
    *bytes = sink->written;
    if (sink->counted) {
        int waiting = 0;
        if (ioctl(sink->descriptor, FIONREAD, &waiting) != 0)
            return fault_system(fault, MP_ERR_IO, errno, "cannot tell how much of the pipe was read");
        /* When others write there, too, some of this is theirs: then fewer are acknowledged, never more. */
        uint64_t unread = waiting > 0 ? (uint64_t)waiting : 0;
        *bytes = unread < sink->written ? sink->written - unread : 0;
    } else if (sync && sink->synced != sink->written) {
        if (fdatasync(sink->descriptor) != 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP) {
            *bytes = sink->synced;
            return output_error(STDOUT_FILENO, errno, fault);
        }
        sink->synced = sink->written;
    }
    return MP_OK;
}
