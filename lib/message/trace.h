/*
 * trace.h: W3C Trace Context (https://www.w3.org/TR/trace-context/, level 1): the traceparent of a message, and the
 * spans that follow from what is known of it anyway, so that they need no room.
 */
#ifndef MESSAGE_TRACE_H
#define MESSAGE_TRACE_H

#include "base/buffer.h"

#include <stdbool.h>

enum { TRACE_PARENT_TEXT = 56, TRACE_ID_TEXT = 33, TRACE_SPAN_TEXT = 17 }; /* with their NUL */

struct trace_parent {
    uint64_t trace[2]; /* the more significant half first; not both 0 */
    uint64_t span;     /* not 0 */
    uint8_t flags;     /* 1: sampled */
};

/*
 * Reads SIZE bytes at TEXT (`00-TRACE-SPAN-FLAGS`, lower-case hex digits). Of a version that is not known, what stands
 * behind the flags is passed by, as the specification says. False: it is none, and is to be taken for absent.
 */
bool trace_parent_read(const char *text, size_t size, struct trace_parent *parent);

/* Writes it as version 00. */
void trace_parent_write(const struct trace_parent *parent, char text[TRACE_PARENT_TEXT]);

/* Reads 32 lower-case hex digits that are not all 0. */
bool trace_id_read(const char *text, size_t size, uint64_t trace[2]);
void trace_id_write(const uint64_t trace[2], char text[TRACE_ID_TEXT]);
void trace_span_write(uint64_t span, char text[TRACE_SPAN_TEXT]);

/* Where something is done with a message: it is stored there (no group), or delivered to a group. */
struct trace_place {
    const char *topic; /* NULL: none, in direct mode */
    uint64_t offset;
    const char *group; /* NULL: none */
    uint32_t attempt;
    uint64_t delivery; /* trace_delivery(): which of them, where one that was settled is given again (a group's move) */
};

/* A delivery by a relay's lease: the session that it was given to, and the number of that one's fetch. 0: SESSION is. */
uint64_t trace_delivery(uint64_t session, uint64_t lease);

/*
 * The span of what is done at PLACE with the message of this origin. Never 0. From one message to the next (of origin
 * and offset) it grows by TRACE_SPAN_STEP, modulo 2^64, so that the spans of many can be told by that of the first.
 */
uint64_t trace_span(uint64_t producer, uint64_t sequence, const struct trace_place *place);
#define TRACE_SPAN_STEP (UINT64_C(0x9e3779b97f4a7c15) + UINT64_C(0xc2b2ae3d27d4eb4f))

/* Whether SIZE bytes at TEXT are a tracestate: 32 members of a key and a value at most. */
bool trace_state_check(const char *text, size_t size);

/* Whether a block's traceparent and tracestate, if it has them, are such; a tracestate goes with a traceparent only. */
bool trace_is_sound(const uint8_t *block, size_t size);

/* Takes out of BLOCK what is not. True: something was. The message is then of the trace of its origin, or of who takes
 * it over. */
bool trace_mend(struct buffer *block);

/* Mends messages on their way, and counts those that it had to. Zeroed it is ready; free its buffer. */
struct trace_mender {
    struct buffer block;
    uint64_t count;
};
/* *BLOCK of *SIZE bytes becomes a mended copy, good until the next call, if it is not sound. MP_ERR_MEMORY. */
enum mp_error trace_mender_apply(struct trace_mender *mender, const uint8_t **block, size_t *size);

#endif
