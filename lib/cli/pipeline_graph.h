/*
 * pipeline_graph.h: `mrelay graph FILE`: draws a pipeline, with what flows through it when it runs.
 */
#ifndef CLI_PIPELINE_GRAPH_H
#define CLI_PIPELINE_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

struct pipeline_graph_settings {
    const char *file;
    int format;        /* enum draw_format (cli/draw.h) */
    const char *svg;   /* draw into this file, by Graphviz; NULL: write to stdout */
    bool live;         /* ask the relay what flows */
    const char *relay; /* its name or URL; NULL: the pipeline's name */
    int64_t wait;      /* for the relay; microseconds; -1: as all tools do */
};

/* The exit code. */
int pipeline_graph(const struct pipeline_graph_settings *settings);

#endif
