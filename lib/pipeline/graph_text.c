/*
 * A graph as a tree in text:
 *
 *     incoming    tail -F orders.ndjson
 *     └─▶ orders.new
 *         └─▶ [price]    each: ./price.sh
 *             ├─▶ orders.priced
 *             │   └─▶ [triage]
 *             │       ├─ type=order.vip ─▶ orders.vip
 *             │       └─ else ─▶ orders.bulk
 *             └╌ dead ╌▶ orders.dead
 */
#include "pipeline/graph.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* The pieces that lines are made of. */
struct pieces {
    const char *bar, *gap;     /* in front of what is below */
    const char *branch, *last; /* where an edge begins */
    const char *line, *aside;  /* of what an edge is made */
    const char *arrow, *again, *cut;
};
static const struct pieces unicode = {"│   ", "    ", "├", "└", "─", "╌", "▶ ", " ↑", "…"};
static const struct pieces ascii = {"|   ", "    ", "+", "+", "-", ".", "> ", " (above)", "..."};

struct writer {
    const struct graph *graph;
    const struct graph_style *style;
    const struct pieces *pieces;
    struct buffer *out;
    struct buffer prefix; /* of the lines below the node that is written */
    bool *written;        /* which nodes are */
    enum mp_error error;
};

static void put(struct writer *writer, const char *text)
{
    if (!writer->error)
        writer->error = buffer_append_string(writer->out, text);
}

static void put_dim(struct writer *writer, const char *text)
{
    put(writer, writer->style->colour ? "\033[2m" : "");
    put(writer, text);
    put(writer, writer->style->colour ? "\033[0m" : "");
}

/* How many columns of the line that is written are used; characters count one each. */
static size_t columns_used(const struct writer *writer, size_t begin)
{
    size_t columns = 0;
    for (size_t i = begin; i < writer->out->size; i++) {
        uint8_t byte = writer->out->data[i];
        if (byte == '\033')
            while (i < writer->out->size && writer->out->data[i] != 'm')
                i++;
        else
            columns += (byte & 0xc0) != 0x80;
    }
    return columns;
}

/* What a node does, as far as there is room on the line. */
static void put_what(struct writer *writer, const char *what, size_t begin)
{
    size_t used = columns_used(writer, begin) + 4, size = strlen(what);
    size_t room = writer->style->columns > used ? writer->style->columns - used : 0;
    if (!writer->style->columns || size <= room) {
        put(writer, "    ");
        put_dim(writer, what);
    } else if (room >= 8) {
        char text[512];
        size_t end = room - 3;
        while (end > 0 && ((uint8_t)what[end] & 0xc0) == 0x80)
            end--; /* not inside of a character */
        snprintf(text, sizeof text, "    %.*s%s", (int)end, what, writer->pieces->cut);
        put_dim(writer, text);
    }
}

static void put_node(struct writer *writer, size_t index, size_t begin)
{
    static const char *const colours[] = {"\033[32m", "\033[1m", "\033[36m", "\033[35m"};
    static const char *const open[] = {"", "", "[", "("}, *const close[] = {"", "", "]", ")"};
    const struct graph_node *node = &writer->graph->nodes[index];
    put(writer, writer->style->colour ? colours[node->kind] : "");
    put(writer, open[node->kind]);
    put(writer, node->name);
    put(writer, close[node->kind]);
    put(writer, writer->style->colour ? "\033[0m" : "");
    if (writer->written[index]) {
        put_dim(writer, writer->pieces->again);
    } else if (node->note) {
        put(writer, "    ");
        put(writer, node->note);
    }
    if (!writer->written[index] && node->what)
        put_what(writer, node->what, begin);
    put(writer, "\n");
}

static void put_edge(struct writer *writer, const struct graph_edge *edge, bool last)
{
    const char *line = edge->aside ? writer->pieces->aside : writer->pieces->line;
    put(writer, last ? writer->pieces->last : writer->pieces->branch);
    put(writer, line);
    if (edge->what || edge->note) {
        put(writer, " ");
        put(writer, edge->what ? edge->what : "");
        put(writer, edge->what && edge->note ? ": " : "");
        put(writer, edge->note ? edge->note : "");
        put(writer, " ");
        put(writer, line);
    }
    put(writer, writer->pieces->arrow);
}

static const struct graph_edge *next_edge(const struct graph *graph, size_t from, size_t *at)
{
    while (*at < graph->edges_count)
        if (graph->edges[(*at)++].from == from)
            return &graph->edges[*at - 1];
    return NULL;
}

/* Writes what leads on from the node INDEX, whose own line is written. As deep as the graph is. */
static void put_tree(struct writer *writer, size_t index)
{
    size_t at = 0;
    const struct graph_edge *edge = next_edge(writer->graph, index, &at), *next;
    size_t prefix = writer->prefix.size;
    for (; edge && !writer->error; edge = next) {
        size_t begin = writer->out->size;
        next = next_edge(writer->graph, index, &at);
        writer->error = buffer_append(writer->out, writer->prefix.data, prefix);
        put_edge(writer, edge, !next);
        put_node(writer, edge->to, begin);
        if (writer->written[edge->to])
            continue;
        writer->written[edge->to] = true;
        if (!writer->error)
            writer->error = buffer_append_string(&writer->prefix, next ? writer->pieces->bar : writer->pieces->gap);
        put_tree(writer, edge->to);
        writer->prefix.size = prefix;
    }
}

static void put_root(struct writer *writer, size_t index)
{
    put_node(writer, index, writer->out->size);
    writer->written[index] = true;
    put_tree(writer, index);
}

static bool has_input(const struct graph *graph, size_t node)
{
    for (size_t i = 0; i < graph->edges_count; i++)
        if (graph->edges[i].to == node && graph->edges[i].from != node)
            return true;
    return false;
}

enum mp_error graph_write_text(const struct graph *graph, const struct graph_style *style, struct buffer *out)
{
    struct writer writer = {.graph = graph, .style = style, .pieces = style->ascii ? &ascii : &unicode, .out = out};
    if (graph->failed)
        return MP_ERR_MEMORY;
    if (graph->nodes_count == 0)
        return MP_OK;
    writer.written = memory_allocate_array(graph->nodes_count, sizeof *writer.written);
    if (!writer.written)
        return MP_ERR_MEMORY;
    for (size_t i = 0; i < graph->nodes_count; i++)
        if (!writer.written[i] && !has_input(graph, i))
            put_root(&writer, i);
    for (size_t i = 0; i < graph->nodes_count; i++)
        if (!writer.written[i]) /* in a circle */
            put_root(&writer, i);
    buffer_free(&writer.prefix);
    memory_release(writer.written);
    return writer.error;
}
