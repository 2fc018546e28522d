/*
 * source.h: the text of a pipeline's file, and where in it something stands.
 */
#ifndef PIPELINE_SOURCE_H
#define PIPELINE_SOURCE_H

#include "base/fault.h"
#include "pipeline/arena.h"
#include "pipeline/model.h"

struct source {
    const char *name; /* as messages call it */
    const char *text; /* terminated */
    size_t size;
    unsigned number;     /* struct pipeline_place's `file` */
    const size_t *lines; /* where each begins; one more: the end */
    size_t lines_count;
};

/*
 * Reads a file ("-": stdin). MP_ERR_NOT_FOUND, MP_ERR_DENIED, MP_ERR_IO, MP_ERR_TOO_LARGE (PIPELINE_FILE_MAX),
 * MP_ERR_MEMORY.
 */
enum mp_error source_read(struct arena *arena, const char *file, struct source *source, struct fault *fault);

/* The same of SIZE bytes at TEXT, of which a copy is taken. */
enum mp_error source_take(struct arena *arena, const char *file, const void *text, size_t size, struct source *source,
                          struct fault *fault);

/* The line, the column and the length in characters of SIZE bytes from OFFSET on, as far as they are in one line. */
struct pipeline_place source_place(const struct source *source, size_t offset, size_t size);

/* The offset of PLACE, whose line is not 0. */
size_t source_offset(const struct source *source, const struct pipeline_place *place);

#endif
