/*
 * fault.h: errors with words.
 *
 * A function that can fail returns an mp_error and, when the caller gave a struct fault, writes there what happened,
 * where, and what to do, in words that a user knows. Nothing in lib/ writes to stderr by itself.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include "msgpipe.h"

#include <stdarg.h>

enum { FAULT_TEXT = 512 };

struct fault {
    enum mp_error code;
    char text[FAULT_TEXT]; /* always terminated; cut when longer, never inside a character */
};

/*
 * Records CODE and a formatted text in FAULT (NULL is allowed) and returns CODE. An argument may be fault->text itself,
 * to put words around what was said before.
 */
enum mp_error fault_set(struct fault *fault, enum mp_error code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with ": " and the words for errno value NUMBER at the end. */
enum mp_error fault_system(struct fault *fault, enum mp_error code, int number, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* "no memory", recorded. */
enum mp_error fault_memory(struct fault *fault);

/* The text, or the general words for the code when there is none. */
const char *fault_text(const struct fault *fault);

/*
 * SIZE bytes that a stranger or a user gave, as they can stand in a fault's text: what is not printable ASCII or well
 * formed UTF-8 is written \xNN, and what does not fit into TEXT is cut and ends in "...". Returns TEXT.
 */
enum { FAULT_QUOTE = 96 };
const char *fault_quote(char text[FAULT_QUOTE], const char *bytes, size_t size);

#endif
