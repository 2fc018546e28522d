/*
 * graph.h: what flows where, as a picture: in text for a terminal, in DOT for Graphviz, in Mermaid for a README. Made
 * from a pipeline (graph_of_pipeline()), or node by node from what was observed.
 *
 * A graph owns its texts. Functions that add take no error: without memory the graph is `failed`, and writing it says so.
 */
#ifndef PIPELINE_GRAPH_H
#define PIPELINE_GRAPH_H

#include "base/buffer.h"
#include "base/fault.h"
#include "pipeline/model.h"

enum graph_kind { GRAPH_SOURCE, GRAPH_TOPIC, GRAPH_STAGE, GRAPH_SINK };

struct graph_node {
    enum graph_kind kind;
    char *name;
    char *what; /* what it does: "tail -F orders.ndjson"; NULL: nothing to say */
    char *note; /* how it is: "12 waiting"; NULL */
};

struct graph_edge {
    size_t from, to;
    char *what; /* what passes here: "type=order.vip"; NULL: everything */
    char *note; /* how much has: "204"; NULL */
    bool aside; /* not the usual way: dead letters, a fallback */
};

struct graph {
    struct graph_node *nodes;
    size_t nodes_count, nodes_capacity;
    struct graph_edge *edges;
    size_t edges_count, edges_capacity;
    bool failed;
};

void graph_free(struct graph *graph);

/* The node NAME: topics have names of their own, sources, stages and sinks share theirs. Added if it is not there. */
size_t graph_add_node(struct graph *graph, enum graph_kind kind, const char *name);
/* An edge; one between the same nodes that passes the same is not added twice. Its index. */
size_t graph_add_edge(struct graph *graph, size_t from, size_t to, const char *what, bool aside);
/* Sets a text of a node or an edge, `&node->note`, in the place of what it was. */
void graph_set(struct graph *graph, char **text, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The pipeline's sources, topics, stages and sinks. GRAPH must be empty. */
void graph_of_pipeline(struct graph *graph, const struct pipeline *pipeline);

/* How text is written. */
struct graph_style {
    bool colour;
    bool ascii;       /* no other characters than ASCII */
    unsigned columns; /* what a node does is cut to fit; 0: never */
};

/* A tree from each beginning; what stands in it already is not drawn again, but named. MP_ERR_MEMORY. */
enum mp_error graph_write_text(const struct graph *graph, const struct graph_style *style, struct buffer *out);
/* The DOT language of Graphviz. MP_ERR_MEMORY. */
enum mp_error graph_write_dot(const struct graph *graph, const char *title, struct buffer *out);
/* A Mermaid flowchart. MP_ERR_MEMORY. */
enum mp_error graph_write_mermaid(const struct graph *graph, struct buffer *out);

#endif
