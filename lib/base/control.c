#include "base/control.h"

#include "base/memory.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct control {
    struct control_settings settings;
    struct bufferevent *socket;
    bool ended;
    bool busy;  /* a callback runs, */
    bool freed; /* and has freed this: it goes when the callback returns */
};

static void release(struct control *control)
{
    bufferevent_free(control->socket);
    memory_release(control);
}

/* True: a callback has freed it. */
static bool was_freed(struct control *control)
{
    control->busy = false;
    if (!control->freed)
        return false;
    release(control);
    return true;
}

static void end(struct control *control)
{
    if (control->ended)
        return;
    control->ended = true;
    bufferevent_disable(control->socket, EV_READ | EV_WRITE);
    control->busy = true;
    control->settings.ended(control->settings.context);
    was_freed(control);
}

static void on_readable(struct bufferevent *socket, void *context)
{
    struct control *control = context;
    struct evbuffer *input = bufferevent_get_input(socket);
    char *line;
    control->busy = true;
    while (!control->freed && (line = evbuffer_readln(input, NULL, EVBUFFER_EOL_LF))) {
        control->settings.line(control->settings.context, line);
        free(line);
    }
    if (!was_freed(control) && evbuffer_get_length(input) > CONTROL_LINE_MAX)
        end(control);
}

static void on_event(struct bufferevent *socket, short what, void *context)
{
    (void)socket;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        end(context);
}

enum mp_error control_open(struct event_base *base, int descriptor, const struct control_settings *settings,
                           struct control **result, struct fault *fault)
{
    struct control *control = memory_allocate(sizeof *control);
    if (!control || evutil_make_socket_nonblocking(descriptor) != 0 ||
        !(control->socket = bufferevent_socket_new(base, descriptor, BEV_OPT_CLOSE_ON_FREE))) {
        close(descriptor);
        memory_release(control);
        return fault_memory(fault);
    }
    control->settings = *settings;
    bufferevent_setcb(control->socket, on_readable, NULL, on_event, control);
    bufferevent_enable(control->socket, EV_READ | EV_WRITE);
    *result = control;
    return MP_OK;
}

/* Writes what waits, as far as the socket takes it at once. (A bufferevent's output can be read, but not drained.) */
static void send_rest(const struct control *control)
{
    enum { PIECES = 16 };
    struct evbuffer_iovec pieces[PIECES];
    int count = evbuffer_peek(bufferevent_get_output(control->socket), -1, NULL, pieces, PIECES);
    for (int i = 0; i < count && i < PIECES; i++)
        if (write(bufferevent_getfd(control->socket), pieces[i].iov_base, pieces[i].iov_len) !=
            (ssize_t)pieces[i].iov_len)
            return;
}

void control_free(struct control *control)
{
    if (!control)
        return;
    if (!control->ended)
        send_rest(control);
    control->freed = true;
    if (control->busy)
        bufferevent_disable(control->socket, EV_READ | EV_WRITE);
    else
        release(control);
}

bool control_send(struct control *control, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int size = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (size < 0)
        return false;
    for (char *at = text; (at = strchr(at, '\n')); at++)
        *at = ' ';
    bool sent = !control->ended && bufferevent_write(control->socket, text, (size_t)size) == 0 &&
                bufferevent_write(control->socket, "\n", 1) == 0;
    free(text);
    return sent;
}

enum mp_error control_pair(int ends[2], struct fault *fault)
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return fault_system(fault, MP_ERR_IO, errno, "cannot make a socket pair");
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    return MP_OK;
}

int control_inherited(const char *name)
{
    const char *text = getenv(name);
    if (!text)
        return -1;
    char *rest;
    long number = strtol(text, &rest, 10);
    bool good = rest > text && !*rest && number >= 3 && number <= 1024 && fcntl((int)number, F_GETFD) >= 0;
    unsetenv(name);
    if (!good)
        return -1;
    fcntl((int)number, F_SETFD, FD_CLOEXEC);
    return (int)number;
}
