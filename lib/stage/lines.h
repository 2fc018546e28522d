/*
 * lines.h: what a command writes to stderr, line by line, for a log: without newlines, long lines in pieces. Zeroed it
 * is empty; it owns nothing.
 */
#ifndef STAGE_LINES_H
#define STAGE_LINES_H

#include <stddef.h>

enum { STAGE_LINE = 2048 }; /* bytes of a line that are told at once */

struct stage_lines {
    char bytes[STAGE_LINE]; /* of a line that is not complete */
    size_t size;
};

/* Adds SIZE bytes at DATA, and calls TELL for each line that ends in them. */
void stage_lines_add(struct stage_lines *lines, const void *data, size_t size,
                     void (*tell)(void *context, const char *line, size_t size), void *context);
/* The end: a line that is not complete counts. */
void stage_lines_end(struct stage_lines *lines, void (*tell)(void *context, const char *line, size_t size),
                     void *context);

#endif
