/*
 * draw.h: a graph (pipeline/graph.h) on stdout, or as a picture by Graphviz.
 */
#ifndef CLI_DRAW_H
#define CLI_DRAW_H

#include "pipeline/graph.h"

enum draw_format { DRAW_TEXT, DRAW_DOT, DRAW_MERMAID };

/*
 * Writes GRAPH to stdout in FORMAT (enum draw_format), or has Graphviz draw it into the file SVG (NULL: none). TITLE is
 * for Graphviz. The exit code; what is wrong was told.
 */
int draw_graph(const struct graph *graph, const char *title, int format, const char *svg);

/* Has Graphviz draw DOT, a graph in its language, into FILE. The exit code; what is wrong was told. */
int draw_svg(const char *file, const struct buffer *dot);

#endif
