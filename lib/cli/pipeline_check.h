/*
 * pipeline_check.h: `mrelay check`: what is wrong with pipelines' files, as a compiler tells it.
 */
#ifndef CLI_PIPELINE_CHECK_H
#define CLI_PIPELINE_CHECK_H

#include <stdbool.h>
#include <stddef.h>

struct pipeline_check_settings {
    char *const *files;
    size_t files_count;
    bool schema; /* print the JSON Schema of the language instead */
};

/* 0: all are good, 78: there are mistakes, which were told on stderr; 66: one cannot be read. */
int pipeline_check(const struct pipeline_check_settings *settings);

#endif
