/*
 * source_private.h: what the kinds of sources are to source.c, and what it does for them. Everything happens in one loop.
 */
#ifndef RUNNER_SOURCE_PRIVATE_H
#define RUNNER_SOURCE_PRIVATE_H

#include "message/formats.h"
#include "runner/source.h"

/* What can be taken in. A kind's state belongs to it, from `open` to `free`. */
struct source_kind {
    /* MP_ERR_INVALID, MP_ERR_BUSY, MP_ERR_IO, MP_ERR_MEMORY. What may come right by itself is said by source_wait(). */
    enum mp_error (*open)(struct source *source, const struct source_settings *settings, void **state,
                          struct fault *fault);
    /*
     * The next message: ITEM, good until the next call, and its MARK, which is the same or grows. MP_ERR_AGAIN: not now:
     * after source_wake(), or at *DUE. MP_ERR_CLOSED: the end. MP_ERR_FORMAT, MP_ERR_TOO_LARGE: something that is no
     * message: it is counted and told, and the next one asked for. Other errors: it has failed for good.
     */
    enum mp_error (*next)(void *state, struct format_item *item, uint64_t *mark, int64_t now, int64_t *due,
                          struct fault *fault);
    /*
     * A message of MARK is stored under its id (32 hex digits, or its attribute); NULL: it will not be, for a step dropped
     * it or the relay refused it. Once for each message. May be NULL.
     */
    void (*settled)(void *state, uint64_t mark, const char *id, size_t id_size);
    /* All messages up to MARK are done with. May be NULL. */
    void (*done)(void *state, uint64_t mark);
    /* Nothing more is to be taken in: `next` says MP_ERR_CLOSED when what is here was given. */
    void (*stop)(void *state);
    /* After the end, when all is stored: whether there is nothing to be waited for. NULL: there is nothing. */
    bool (*idle)(void *state);
    void (*free)(void *state);
};

extern const struct source_kind source_kind_command;
extern const struct source_kind source_kind_clock; /* every, cron */
extern const struct source_kind source_kind_file;
extern const struct source_kind source_kind_socket;

/* There may be something to take in. */
void source_wake(struct source *source);
/* It waits for something, in words; NULL: no more. */
void source_wait(struct source *source, const char *why, ...) __attribute__((format(printf, 2, 3)));
/* Bytes that a body may have. */
size_t source_limit(const struct source *source);
/* COUNT ticks came at which nothing was sent. */
void source_missed(struct source *source, uint64_t count, const char *why);
/* How long it is waited, in microseconds, after so many failures in a row: 100 ms, doubled, up to 30 s. */
int64_t source_again(unsigned failures);
/* A warning into the log under the source's name; at most one a second of them all. */
void source_warn(struct source *source, const char *event, const char *why);

#endif
