/*
 * trace_mark.h: what `mtrace --marks` puts between its lines: how far all before it goes, so that it can be gone on with
 * behind that (--after). A mark is a line that begins with a byte that nothing else printed has in it, and has an object of
 * JSON behind that: the position (trace/follow.h), and in "count" how much was printed since the mark before: steps of a
 * tail, spans of an export.
 */
#ifndef CLI_TRACE_MARK_H
#define CLI_TRACE_MARK_H

#include "trace/follow.h"

enum {
    TRACE_MARK = 0x1e,          /* ASCII's record separator */
    TRACE_MARK_EVERY = 1000000, /* microseconds between two of them when nothing is printed */
    TRACE_MARK_TEXT = TRACE_POSITION_TEXT + 40
};

/* The whole line. */
void trace_mark_text(const struct trace_position *position, uint64_t count, char text[TRACE_MARK_TEXT]);

/* Reads what stands between that byte and the newline, SIZE bytes. False: it is none. */
bool trace_mark_read(const char *text, size_t size, struct trace_position *position, uint64_t *count);

#endif
