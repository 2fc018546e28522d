/* A graph in the languages of drawing programs: DOT (Graphviz) and Mermaid. */
#include "pipeline/graph.h"

#include <string.h>

/* ---- DOT ------------------------------------------------------------------------------------------------------- */

/* TEXT inside a quoted string of DOT: quotes and backslashes are escaped, so \n and the like mean nothing. */
static enum mp_error put_quoted(struct buffer *out, const char *text)
{
    enum mp_error error = MP_OK;
    for (; !error && *text; text++) {
        if (*text == '"' || *text == '\\')
            error = buffer_append_string(out, "\\");
        if (!error)
            error = (uint8_t)*text < ' ' ? buffer_append_string(out, " ") : buffer_append(out, text, 1);
    }
    return error;
}

/* Those of TEXTS that are there, each on a line of its own. */
static enum mp_error put_label(struct buffer *out, const char *const texts[3])
{
    enum mp_error error = buffer_append_string(out, "label=\"");
    bool first = true;
    for (int i = 0; i < 3 && !error; i++) {
        if (!texts[i])
            continue;
        if (!first)
            error = buffer_append_string(out, "\\n");
        if (!error)
            error = put_quoted(out, texts[i]);
        first = false;
    }
    return error ? error : buffer_append_string(out, "\"");
}

enum mp_error graph_write_dot(const struct graph *graph, const char *title, struct buffer *out)
{
    static const char *const shapes[] = {
        [GRAPH_SOURCE] = "shape=cds, style=filled, fillcolor=\"#e8f5e9\"",
        [GRAPH_TOPIC] = "shape=cylinder, style=filled, fillcolor=\"#fff8e1\"",
        [GRAPH_STAGE] = "shape=box, style=\"rounded,filled\", fillcolor=\"#e3f2fd\"",
        [GRAPH_SINK] = "shape=note, style=filled, fillcolor=\"#f3e5f5\"",
    };
    if (graph->failed)
        return MP_ERR_MEMORY;
    enum mp_error error = buffer_append_string(out, "digraph \"");
    if (!error)
        error = put_quoted(out, title);
    if (!error)
        error = buffer_append_string(out, "\" {\n    rankdir=LR;\n    node [fontname=\"sans-serif\", fontsize=11];\n"
                                          "    edge [fontname=\"sans-serif\", fontsize=10];\n");
    for (size_t i = 0; i < graph->nodes_count && !error; i++) {
        const struct graph_node *node = &graph->nodes[i];
        error = buffer_append_format(out, "    n%zu [%s, ", i, shapes[node->kind]);
        if (!error)
            error = put_label(out, (const char *const[3]){node->name, node->what, node->note});
        if (!error)
            error = buffer_append_string(out, "];\n");
    }
    for (size_t i = 0; i < graph->edges_count && !error; i++) {
        const struct graph_edge *edge = &graph->edges[i];
        error = buffer_append_format(out, "    n%zu -> n%zu [%s", edge->from, edge->to,
                                     edge->aside ? "style=dashed, " : "");
        if (!error)
            error = put_label(out, (const char *const[3]){edge->what, edge->note, NULL});
        if (!error)
            error = buffer_append_string(out, "];\n");
    }
    return error ? error : buffer_append_string(out, "}\n");
}

/* ---- Mermaid --------------------------------------------------------------------------------------------------- */

/* TEXT inside a quoted string of Mermaid, where characters that mean something are entities. */
static enum mp_error put_entities(struct buffer *out, const char *text)
{
    enum mp_error error = MP_OK;
    for (; !error && *text; text++) {
        if (strchr("\"&<>#;\\`{}|", *text))
            error = buffer_append_format(out, "#%d;", (uint8_t)*text);
        else
            error = (uint8_t)*text < ' ' ? buffer_append_string(out, " ") : buffer_append(out, text, 1);
    }
    return error;
}

static enum mp_error put_lines(struct buffer *out, const char *const texts[3])
{
    enum mp_error error = MP_OK;
    bool first = true;
    for (int i = 0; i < 3 && !error; i++) {
        if (!texts[i])
            continue;
        if (!first)
            error = buffer_append_string(out, "<br>");
        if (!error)
            error = put_entities(out, texts[i]);
        first = false;
    }
    return error;
}

enum mp_error graph_write_mermaid(const struct graph *graph, struct buffer *out)
{
    static const char *const open[] = {
        [GRAPH_SOURCE] = "([\"", [GRAPH_TOPIC] = "[(\"", [GRAPH_STAGE] = "[\"", [GRAPH_SINK] = "[/\""};
    static const char *const close[] = {
        [GRAPH_SOURCE] = "\"])", [GRAPH_TOPIC] = "\")]", [GRAPH_STAGE] = "\"]", [GRAPH_SINK] = "\"/]"};
    if (graph->failed)
        return MP_ERR_MEMORY;
    enum mp_error error = buffer_append_string(out, "flowchart LR\n");
    for (size_t i = 0; i < graph->nodes_count && !error; i++) {
        const struct graph_node *node = &graph->nodes[i];
        error = buffer_append_format(out, "    n%zu%s", i, open[node->kind]);
        if (!error)
            error = put_lines(out, (const char *const[3]){node->name, node->what, node->note});
        if (!error)
            error = buffer_append_format(out, "%s\n", close[node->kind]);
    }
    for (size_t i = 0; i < graph->edges_count && !error; i++) {
        const struct graph_edge *edge = &graph->edges[i];
        error = buffer_append_format(out, "    n%zu %s", edge->from, edge->aside ? "-.->" : "-->");
        if (!error && (edge->what || edge->note)) {
            error = buffer_append_string(out, "|\"");
            if (!error)
                error = put_lines(out, (const char *const[3]){edge->what, edge->note, NULL});
            if (!error)
                error = buffer_append_string(out, "\"|");
        }
        if (!error)
            error = buffer_append_format(out, " n%zu\n", edge->to);
    }
    return error;
}
