/*
 * readers.h: reading the store for those who cannot open it: mtrace(1), run by the relay, its output handed on.
 *
 * A *reading* is one run of the program `mtrace` beside this one, on the relay's store, with a verb and options that its
 * client asks for: none but those that only read (readers_arguments.h). It is known by 128 random bits that its client
 * has chosen, so that a request to start it can be repeated. What it prints is fetched in numbered pieces; a repeat of
 * the last number gets the same piece again. All of it is JSON, see admin_trace.c.
 *
 * Nothing here blocks the loop: pipes are read as they fill, up to a bound, and a client that does not fetch makes the
 * process stand. It has the lowest priority. When nobody has asked for READERS_IDLE, it is killed.
 */
#ifndef RELAY_READERS_H
#define RELAY_READERS_H

#include "base/buffer.h"
#include "base/clock.h"
#include "base/fault.h"

#include <jansson.h>

struct event_base;
struct readers;

enum {
    READERS_RUNNING = 16,        /* processes at a time */
    READERS_KEPT = 32,           /* readings, with those that have ended and whose last piece may be asked for again */
    READERS_IDLE = 5000000,      /* microseconds */
    READERS_LEFT = 2000000,      /* the same where the connection has ended on which it was asked for */
    READERS_WAIT = 5000000,      /* microseconds that one question for a piece may wait */
    READERS_ID = 32,             /* hex digits */
    READERS_OUTPUT = 128 * 1024, /* bytes of a piece, at most: what was printed to stdout */
    READERS_ERRORS = 16 * 1024   /* and to stderr */
};

struct readers_settings {
    struct event_base *base;
    const char *store; /* its path; copied */
};

/* MP_ERR_MEMORY. */
enum mp_error readers_open(const struct readers_settings *settings, struct readers **readers, struct fault *fault);
/* Kills what runs, and waits for it. NULL is allowed. */
void readers_close(struct readers *readers);

/*
 * Starts what ASKED wants, unless it has been. RELAY: the URL at which the relay can be asked what it does; NULL: none is
 * known. NOW: monotonic microseconds. MP_ERR_INVALID, MP_ERR_TOO_LARGE: it asks for what it may not.
 * MP_ERR_BUSY: as many run as may, or too many were started just now. MP_ERR_NOT_FOUND: mtrace is not installed here.
 * MP_ERR_MEMORY, MP_ERR_IO.
 */
enum mp_error readers_start(struct readers *readers, const json_t *asked, const char *relay, int64_t now,
                            struct fault *fault);

/*
 * Appends the piece that ASKED wants to OUT. When there is none yet: MP_ERR_AGAIN while MAY_WAIT, which counts as asking
 * up to READERS_WAIT from now; else a piece of nothing, whose number is that of the last one. MP_ERR_NOT_FOUND: there is
 * no such reading, or not any more. MP_ERR_INVALID, MP_ERR_MEMORY.
 */
enum mp_error readers_read(struct readers *readers, const json_t *asked, int64_t now, bool may_wait, struct buffer *out,
                           struct fault *fault);

/* Who waited for a piece of what ASKED names has gone: unless he comes back within READERS_LEFT, it is ended. */
void readers_left(struct readers *readers, const json_t *asked, int64_t now);

/* Whether there is something new for anybody since this was asked last. */
bool readers_changed(struct readers *readers);

#endif
