/*
 * pipeline_file.h: a pipeline's file as mrelay's verbs take it: what is wrong with it is told on stderr.
 */
#ifndef CLI_PIPELINE_FILE_H
#define CLI_PIPELINE_FILE_H

#include "pipeline/pipeline.h"

/*
 * Loads FILE for running it, and shows errors and warnings on stderr (WARNINGS: else errors only). The errors of
 * pipeline_load().
 */
enum mp_error pipeline_file_load(const char *file, bool warnings, struct pipeline **pipeline, struct fault *fault);

/* The same with its tests, and those of the files beside it; warnings are not shown. */
enum mp_error pipeline_file_load_tests(const char *file, struct pipeline **pipeline, struct fault *fault);

/* Tells FAULT, if what is wrong was not shown yet, and returns the exit code for it: 78 for a file with mistakes. */
int pipeline_file_exit(const struct fault *fault);

#endif
