#include "stream.h"

#include "../bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct stream *stream_open(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stream *stream = bench_allocate(1, sizeof *stream);
    if (strlen(path) >= sizeof address.sun_path)
        bench_die("%s: too long for a socket's name", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    stream->patience_ms = BENCH_PATIENCE_MS;
    stream->descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    if (stream->descriptor < 0 || connect(stream->descriptor, (struct sockaddr *)&address, sizeof address) != 0)
        bench_die("%s: %s", path, strerror(errno));
    fcntl(stream->descriptor, F_SETFL, O_NONBLOCK);
    return stream;
}

void stream_close(struct stream *stream)
{
    close(stream->descriptor);
    free(stream);
}

/* Reads what there is. False when the input buffer is full or nothing is there. */
static bool stream_fill(struct stream *stream)
{
    if (stream->in_begin > 0) {
        memmove(stream->in, stream->in + stream->in_begin, stream->in_end - stream->in_begin);
        stream->in_end -= stream->in_begin;
        stream->in_begin = 0;
    }
    if (stream->in_end == STREAM_BUFFER)
        return false;
    ssize_t got = read(stream->descriptor, stream->in + stream->in_end, STREAM_BUFFER - stream->in_end);
    if (got == 0)
        bench_die("the peer closed the connection");
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR)
            bench_die("read: %s", strerror(errno));
        return false;
    }
    stream->in_end += (size_t)got;
    return true;
}

void stream_flush(struct stream *stream)
{
    size_t written = 0;
    while (written < stream->out_length) {
        ssize_t step = send(stream->descriptor, stream->out + written, stream->out_length - written, MSG_NOSIGNAL);
        if (step > 0) {
            written += (size_t)step;
            continue;
        }
        if (step < 0 && errno != EAGAIN && errno != EINTR)
            bench_die("write: %s", strerror(errno));
        struct pollfd wait = {.fd = stream->descriptor, .events = POLLOUT};
        if (stream->in_end - stream->in_begin < STREAM_BUFFER)
            wait.events |= POLLIN;
        if (poll(&wait, 1, stream->patience_ms) == 0)
            bench_die("the peer takes nothing any more");
        if (wait.revents & POLLIN)
            stream_fill(stream);
    }
    stream->out_length = 0;
}

void stream_put(struct stream *stream, const void *bytes, size_t length)
{
    if (stream->out_length + length > STREAM_BUFFER)
        stream_flush(stream);
    memcpy(stream->out + stream->out_length, bytes, length);
    stream->out_length += length;
}

/* Waits for more input, after sending what waits to be sent (which may already have brought some). */
static bool stream_await(struct stream *stream)
{
    if (stream_fill(stream))
        return true;
    size_t had = stream->in_end - stream->in_begin;
    stream_flush(stream);
    if (stream->in_end - stream->in_begin > had)
        return true;
    for (;;) {
        struct pollfd wait = {.fd = stream->descriptor, .events = POLLIN};
        if (poll(&wait, 1, stream->patience_ms) == 0)
            return false;
        if (stream_fill(stream))
            return true;
    }
}

const char *stream_get(struct stream *stream, size_t length)
{
    if (length > STREAM_BUFFER)
        bench_die("the peer's answer is too large");
    while (stream->in_end - stream->in_begin < length)
        if (!stream_await(stream))
            return NULL;
    const char *bytes = stream->in + stream->in_begin;
    stream->in_begin += length;
    return bytes;
}

const char *stream_get_line(struct stream *stream, size_t *length)
{
    for (;;) {
        const char *begin = stream->in + stream->in_begin;
        const char *end = memchr(begin, '\n', stream->in_end - stream->in_begin);
        if (end) {
            *length = (size_t)(end - begin) - (end > begin && end[-1] == '\r');
            stream->in_begin += (size_t)(end - begin) + 1;
            return begin;
        }
        if (stream->in_end - stream->in_begin == STREAM_BUFFER)
            bench_die("the peer's line is too long");
        if (!stream_await(stream))
            return NULL;
    }
}
