/*
 * staging.h: messages that came out of steps or of a command, before anything is done with them: all of a message's
 * outputs go on, or none.
 */
#ifndef RUNNER_STAGING_H
#define RUNNER_STAGING_H

#include "base/fault.h"
#include "message/formats.h"

/* Bytes that stay where they are until it is cleared. Zeroed it is empty. */
struct keep {
    struct keep_block *blocks;
};

/* A copy of SIZE bytes (not 0) at BYTES; NULL: no memory. */
const void *keep_copy(struct keep *keep, const void *bytes, size_t size);
void keep_clear(struct keep *keep);

struct staged {
    struct format_item item;
    uint32_t number; /* of its destination */
    bool kept;       /* it passes through, with the origin that it has */
};

struct staging {
    struct staged *all;
    size_t count;
    size_t capacity;
    struct keep keep;  /* bytes of messages that are nowhere else */
    uint64_t retraced; /* of those that a command printed: had a traceparent or tracestate that is none */
};

void staging_free(struct staging *staging);
/* Empties it; what a large one took is given back. */
void staging_clear(struct staging *staging);

/* Adds ITEM, whose bytes stay where they are; it is given a destination later. MP_ERR_MEMORY. */
enum mp_error staging_add(struct staging *staging, const struct format_item *item, bool kept);
/* The same for an item whose bytes go: body and attributes are copied but for what lies in SIZE bytes at STAYS. */
enum mp_error staging_add_copy(struct staging *staging, const struct format_item *item, const uint8_t *stays,
                               size_t size);

/*
 * Adds what a command printed, OUTPUT, in FORMAT: new messages, at NOW (since the epoch). A STREAM's is one answer,
 * without its separator. What is empty is no message. INPUT: whose attributes they inherit (stage/inherit.h); NULL:
 * none. The bytes of OUTPUT have to stay. MP_ERR_FORMAT, MP_ERR_TOO_LARGE (a body over LIMIT bytes), MP_ERR_MEMORY:
 * what was added stays.
 */
enum mp_error staging_add_output(struct staging *staging, const void *output, size_t size, enum format format,
                                 bool stream, size_t limit, const struct format_item *input, int64_t now,
                                 struct fault *fault);

#endif
