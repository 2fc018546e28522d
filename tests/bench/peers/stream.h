/*
 * A connected byte stream with an output buffer, for the peers that are spoken to in their own protocol: what is
 * written gathers until the next read would wait, so that many requests travel together.
 */
#ifndef MSGPIPE_TESTS_BENCH_STREAM_H
#define MSGPIPE_TESTS_BENCH_STREAM_H

#include <stdbool.h>
#include <stddef.h>

enum { STREAM_BUFFER = 256 * 1024 };

struct stream {
    int descriptor;
    int patience_ms; /* how long a read waits before it fails */
    size_t out_length;
    size_t in_begin, in_end;
    char out[STREAM_BUFFER];
    char in[STREAM_BUFFER];
};

/* Connects to a Unix socket. The stream is freed with `stream_close`. Exits 1 when it cannot. */
struct stream *stream_open(const char *path);
void stream_close(struct stream *stream);

/*
 * Takes `length` bytes, at most STREAM_BUFFER. When the buffer is full it is written first; meanwhile what the peer
 * sends is read, so that two full directions cannot block each other.
 */
void stream_put(struct stream *stream, const void *bytes, size_t length);
void stream_flush(struct stream *stream);

/* The next `length` bytes, valid until the next call; NULL when they did not come within the patience. */
const char *stream_get(struct stream *stream, size_t length);

/* The next line up to and without its CR LF; NULL when it did not come within the patience. */
const char *stream_get_line(struct stream *stream, size_t *length);

#endif
