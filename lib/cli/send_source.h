/*
 * send_source.h: where msend's messages come from: `-d` data, files, stdin, or a command's output; and what dresses
 * them: headers, keys and ids.
 *
 * It never blocks for long: a file is read as it is, anything else only after its descriptor was said to be readable.
 * An item belongs to the source and is good until the next call.
 */
#ifndef CLI_SEND_SOURCE_H
#define CLI_SEND_SOURCE_H

#include "base/buffer.h"
#include "base/fault.h"
#include "cli/send.h"

struct send_source;

struct send_item {
    const uint8_t *body;
    size_t size;
    const uint8_t *attributes; /* a canonical block, or NULL */
    size_t attributes_size;
};

/*
 * Checks the settings and opens the source. Everything that can be known to be wrong is told by the fault:
 * MP_ERR_INVALID (usage), MP_ERR_NOT_FOUND (an input cannot be read). Free it with send_source_free(), which ends a
 * command that still runs.
 */
enum mp_error send_source_open(const struct send_settings *settings, const struct options *options,
                               struct send_source **source, struct fault *fault);
void send_source_free(struct send_source *source);

/* Bodies may have LIMIT bytes. Call it before the first send_source_next(). */
void send_source_limit(struct send_source *source, size_t limit);

/*
 * The next message. MP_ERR_AGAIN: not yet: wait for send_source_descriptor() and then call send_source_readable(), or
 * until *DUE, whichever comes first. MP_ERR_CLOSED: the end. Other errors end the tool with send_source_exit(). An input
 * that is no message or too large is told at once, counted, and skipped.
 */
enum mp_error send_source_next(struct send_source *source, struct send_item *item, int64_t now, int64_t *due,
                               struct fault *fault);

/* What to wait for after MP_ERR_AGAIN; -1: nothing but the time. */
int send_source_descriptor(const struct send_source *source);
void send_source_readable(struct send_source *source);

/* The exit code for an error of send_source_open() or send_source_next(). SOURCE may be NULL. */
int send_source_exit(const struct send_source *source, enum mp_error error);

struct send_source_counts {
    uint64_t taken;    /* messages of the input that were given out, skipped or rejected: for --skip */
    uint64_t rejected; /* of them */
    uint64_t bytes;    /* of input that were taken */
    uint64_t total;    /* bytes of input; 0: not known */
};
/* They belong to SOURCE and change with it. */
const struct send_source_counts *send_source_counts(const struct send_source *source);

/* Tells how many were rejected, if more than were named one by one, and whose traceparents were none. */
void send_source_summary(const struct send_source *source);

/* Whether running the tool again with --skip can go on from where this run ended. */
bool send_source_resumable(const struct send_source *source);

#endif
