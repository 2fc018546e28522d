/*
 * pipeline_rig.h: pipelines in a folder of their own, for tests: files, loading them, and what is said about them.
 */
#ifndef TESTS_PIPELINE_RIG_H
#define TESTS_PIPELINE_RIG_H

#include "folder.h"

#include "pipeline/pipeline.h"

struct pipeline_rig {
    char folder[FOLDER_PATH]; /* the current directory while it is open */
    char before[4096];
    struct pipeline *pipeline;
    struct buffer said; /* terminated */
    struct fault fault;
    char *const *environment; /* NULL: the program's */
    bool commands;            /* check that they are there */
};

/* Makes a folder and goes there. */
void pipeline_rig_open(struct pipeline_rig *rig);
void pipeline_rig_close(struct pipeline_rig *rig);
/* The same for a CMUnitTest whose initial state is a rig. */
int pipeline_rig_set_up(void **state);
int pipeline_rig_tear_down(void **state);

/* Writes a file; MODE 0755 for a command. */
void pipeline_rig_file(const char *name, const char *text, unsigned mode);

/* Writes TEXT to p.yaml and loads it; what was said is in `said`. */
enum mp_error pipeline_rig_load(struct pipeline_rig *rig, const char *text);
/* The same of a file that is there. */
enum mp_error pipeline_rig_load_file(struct pipeline_rig *rig, const char *name);

/* Loads TEXT, which must be good, without a warning; the pipeline stays until the next load. */
const struct pipeline *pipeline_rig_good(struct pipeline_rig *rig, const char *text);

/* Loads TEXT; the first lines of what is said must be SAID (its last newline may be missing). */
void pipeline_rig_says(struct pipeline_rig *rig, const char *text, const char *said);

#endif
