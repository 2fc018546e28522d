/*
 * source_frames.h: the frames that a source fills, in order: the last one is being filled, those before it are full. Each
 * knows up to which mark its messages go, and, if somebody wants to be told of each message, whose they are.
 */
#ifndef RUNNER_SOURCE_FRAMES_H
#define RUNNER_SOURCE_FRAMES_H

#include "message/formats.h"
#include "message/frame.h"
#include "message/trace.h"

/* A message that somebody is to be told of. */
struct source_note {
    uint64_t mark;
    uint32_t index;   /* in its frame */
    uint32_t id_size; /* of its own id, in `ids`, one after the other; 0: it has its origin's */
};

struct source_frame {
    struct source_frame *next;
    struct frame_builder builder;
    int64_t time;  /* when its first message came, microseconds since the epoch */
    uint64_t mark; /* of its last message */
    struct source_note *notes;
    size_t notes_count, notes_capacity;
    struct buffer ids;
};

struct source_frames {
    struct source_frame *first;
    struct source_frame *last;
    struct source_frame *spare;
    size_t count;
    struct buffer block;        /* attributes with an origin */
    struct trace_mender mender; /* of what is neither a traceparent nor a tracestate */
};

/* Zeroed it is empty. */
void source_frames_free(struct source_frames *frames);

/*
 * Adds ITEM, which keeps its origin if it has one. NOTED: its mark and id are noted. PRODUCER: of new frames, whose
 * sequence is set when they are published. MP_ERR_MEMORY, MP_ERR_TOO_LARGE leave everything as it was.
 */
enum mp_error source_frames_add(struct source_frames *frames, const struct format_item *item, uint64_t mark, bool noted,
                                uint64_t producer, int64_t time);

/* Takes the first frame out; there must be one. It goes back by source_frames_return(). */
struct source_frame *source_frames_shift(struct source_frames *frames);
/* Puts it back to the front, as it was. */
void source_frames_unshift(struct source_frames *frames, struct source_frame *frame);
/* It is not needed any more. NULL is allowed. */
void source_frames_return(struct source_frames *frames, struct source_frame *frame);

#endif
