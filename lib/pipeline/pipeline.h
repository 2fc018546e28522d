/*
 * pipeline.h: a pipeline's file to a model (model.h), with every mistake in it told as a compiler tells them.
 */
#ifndef PIPELINE_PIPELINE_H
#define PIPELINE_PIPELINE_H

#include "base/buffer.h"
#include "base/fault.h"
#include "pipeline/model.h"

enum { PIPELINE_FILE_MAX = 16 * 1024 * 1024 }; /* bytes of a file */

struct pipeline_load_settings {
    const char *file; /* "-": stdin */
    const char *text; /* `size` bytes that are taken for what is in the file; NULL: it is read */
    size_t size;
    char *const *environment; /* for ${VAR}; ends with NULL */
    bool tests;               /* read the file NAME_test.yaml beside NAME.yaml too, if there is one */
    bool commands;            /* check that commands are there and can be run */
    bool colour;              /* of the diagnostics, for a terminal */
};

/*
 * Loads and checks a file. DIAGNOSTICS gets everything there is to say, warnings too, one after the other, also when it
 * succeeds:
 *
 *     FILE:LINE:COLUMN: error: what is wrong: what would be right
 *         the line of the file
 *            ^~~~
 *
 * MP_ERR_INVALID: there are errors in it, FAULT counts them. MP_ERR_NOT_FOUND, MP_ERR_DENIED, MP_ERR_IO: the file
 * cannot be read. MP_ERR_TOO_LARGE, MP_ERR_MEMORY.
 */
enum mp_error pipeline_load(const struct pipeline_load_settings *settings, struct pipeline **pipeline,
                            struct buffer *diagnostics, struct fault *fault);

/* NULL is allowed. */
void pipeline_free(struct pipeline *pipeline);

/* The topic, stage or sink, source of that NAME; NULL: none. */
const struct pipeline_topic *pipeline_topic(const struct pipeline *pipeline, const char *name);
const struct pipeline_stage *pipeline_stage(const struct pipeline *pipeline, const char *name);
const struct pipeline_source *pipeline_source(const struct pipeline *pipeline, const char *name);

/* Whether a source of it never ends: `once` needs to know. NULL: none; else its name. */
const char *pipeline_endless(const struct pipeline *pipeline);

/*
 * The administrative request that brings the relay's topics and groups to what the file says: a JSON text appended to
 * OUT, see "configure" in relay/admin.c. ONLY: the stage whose group, and topics, it is about; NULL: all. MP_ERR_MEMORY.
 */
enum mp_error pipeline_configure(const struct pipeline *pipeline, const char *only, struct buffer *out);

/* The JSON Schema (draft 2020-12) of the language, from the same tables that load.c goes by. MP_ERR_MEMORY. */
enum mp_error pipeline_schema(struct buffer *out);

/* The keys of the language as they stand in mpipeline(5), mdoc, from the same tables. MP_ERR_MEMORY. */
enum mp_error pipeline_manual(struct buffer *out);

#endif
