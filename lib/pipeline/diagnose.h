/*
 * diagnose.h: what is wrong with a pipeline's file, gathered, and printed as a compiler does.
 *
 * All mistakes of a file are told in one run, in the order in which they stand there, each once.
 */
#ifndef PIPELINE_DIAGNOSE_H
#define PIPELINE_DIAGNOSE_H

#include "base/buffer.h"
#include "pipeline/source.h"

enum { DIAGNOSE_FILES = 2, DIAGNOSE_MAX = 200 }; /* files of one pipeline; messages, the rest is counted */

struct diagnosis {
    struct pipeline_place place;
    bool error;
    size_t number; /* in the order of their coming */
    const char *text;
};

struct diagnostics {
    struct arena *arena;
    const struct source *sources[DIAGNOSE_FILES];
    struct diagnosis *all;
    size_t count;
    size_t errors;
    size_t warnings;
    size_t passed_over; /* beyond DIAGNOSE_MAX */
    bool no_memory;
};

/* Take note of an error, or a warning, at PLACE; line 0: of the whole file. */
void diagnose_error(struct diagnostics *diagnostics, const struct pipeline_place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void diagnose_warning(struct diagnostics *diagnostics, const struct pipeline_place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Appends all of it to OUT; COLOUR: with escape sequences. MP_ERR_MEMORY. */
enum mp_error diagnose_print(struct diagnostics *diagnostics, bool colour, struct buffer *out);

#endif
