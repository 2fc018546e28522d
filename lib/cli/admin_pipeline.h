/*
 * admin_pipeline.h: what a running relay tells about its pipeline, and what is asked of it: `status`, `reload`, `drain`.
 */
#ifndef CLI_ADMIN_PIPELINE_H
#define CLI_ADMIN_PIPELINE_H

#include "cli/admin_ask.h"

/* Prints the pipeline and a table of its parts, if STATUS (the relay's answer) has any; an empty line goes before. */
void admin_print_pipeline(const json_t *status);

/* The pipeline is loaded again. 78: the file has mistakes, and it goes on as before. */
int admin_reload(const struct admin_settings *settings);

/* Its sources end, what waits is worked off, and it ends; 124 when --wait was not enough for that. */
int admin_drain(const struct admin_settings *settings);

#endif
