/*
 * trace.h: W3C Trace Context (https://www.w3.org/TR/trace-context/, level 1): the traceparent of a message, and the
 * spans that follow from what is known of it anyway, so that they need no room.
 */
#ifndef MESSAGE_TRACE_H
#define MESSAGE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/*
 * The span of what was done with the message of this origin: its creation (GROUP NULL, ATTEMPT 0), or its ATTEMPTth
 * delivery to GROUP. Never 0.
 */
uint64_t trace_span(uint64_t producer, uint64_t sequence, const char *group, uint32_t attempt);

#endif
