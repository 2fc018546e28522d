/*
 * tail.h: the last bytes of what a command wrote to stderr, kept for its message's dead letter. Zeroed it is empty; it
 * owns nothing.
 */
#ifndef STAGE_TAIL_H
#define STAGE_TAIL_H

#include <stddef.h>

enum { STAGE_TAIL = 4096 }; /* bytes; what letter_note() can use of it at most */

struct stage_tail {
    char bytes[2 * STAGE_TAIL];
    size_t size; /* the last STAGE_TAIL of them count */
};

/* Adds SIZE bytes at DATA. */
void stage_tail_add(struct stage_tail *tail, const void *data, size_t size);

/* The tail; *SIZE bytes, not terminated. */
const char *stage_tail_text(const struct stage_tail *tail, size_t *size);

#endif
