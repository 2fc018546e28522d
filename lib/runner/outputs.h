/*
 * outputs.h: messages on their way out of a stage, gathered into frames: for each destination one that is being filled,
 * and those before it.
 *
 * A message that passes through keeps its origin. The frame takes that of its first one, so those that came in one run
 * leave in one run, as they were; others carry theirs as an attribute. New messages are of the session that publishes:
 * their frames get its numbers when they are sent.
 *
 * A zeroed struct is empty. Topics' names are not copied.
 */
#ifndef RUNNER_OUTPUTS_H
#define RUNNER_OUTPUTS_H

#include "client/client.h"
#include "message/formats.h"
#include "message/trace.h"

struct output {
    const char *topic;
    bool kept;    /* the frame has an origin of its own: it is `fixed` */
    int64_t time; /* of its first message */
    struct frame_builder frame;
};

struct outputs {
    struct output *all; /* the first COUNT are in use, the others are kept for their buffers */
    uint32_t count;
    uint32_t capacity;
    uint32_t *filling; /* by number of destination: 1 and the index of the one that is being filled; 0: none */
    uint32_t destinations;
    size_t bytes; /* of all frames */
    uint64_t messages;
    struct buffer block;        /* scratch: attributes with an origin */
    struct trace_mender mender; /* of what is neither a traceparent nor a tracestate */
};

void outputs_free(struct outputs *outputs);

/*
 * Adds ITEM for TOPIC, which is destination NUMBER. KEPT: it passes through, with its origin and about its time; else it
 * is new. On failure nothing of it was added: MP_ERR_MEMORY, MP_ERR_TOO_LARGE (there are 65,535 frames already: send
 * them first).
 */
enum mp_error outputs_add(struct outputs *outputs, uint32_t number, const char *topic, const struct format_item *item,
                          bool kept);

/* Finishes the frames, and makes LIST of them, which has room for outputs->count. */
void outputs_finish(struct outputs *outputs, struct client_output *list);

/* Empties it. Small buffers are kept for the next time; with TRIM nothing is. */
void outputs_clear(struct outputs *outputs, bool trim);

#endif
