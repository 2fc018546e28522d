/*
 * source_memory.h: what a source remembers through restarts: a short text, kept in a file of two places that are written
 * in turn, each with its number and a checksum. A save that a kill or a power failure cuts off leaves the one before.
 *
 * Saves are not flushed: what a killed runner saved is there, and after a power failure it may be an older text. So it
 * has to be a text of which an older one does no harm, such as how far a file has been read.
 */
#ifndef RUNNER_SOURCE_MEMORY_H
#define RUNNER_SOURCE_MEMORY_H

#include "base/fault.h"

#include <stddef.h>

enum { SOURCE_MEMORY_TEXT = 1024 }; /* bytes of a text and its NUL */

struct source_memory;

/*
 * Opens or makes the memory of the source NAME in DIRECTORY, which is made if need be. MP_ERR_BUSY: another process has
 * it. A memory that is damaged is as empty as a new one. MP_ERR_IO, MP_ERR_DENIED, MP_ERR_MEMORY.
 */
enum mp_error source_memory_open(const char *directory, const char *name, struct source_memory **memory,
                                 struct fault *fault);
/* Flushes and closes it. NULL is allowed. */
void source_memory_free(struct source_memory *memory);

/* What was saved last; "": nothing. It belongs to MEMORY until the next save. */
const char *source_memory_text(const struct source_memory *memory);

/* Saves TEXT, which has no control characters and is shorter than SOURCE_MEMORY_TEXT. MP_ERR_TOO_LARGE, MP_ERR_IO. */
enum mp_error source_memory_save(struct source_memory *memory, const char *text, struct fault *fault);

#endif
