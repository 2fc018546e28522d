/* A graph, and that of a pipeline. */
#include "pipeline/graph.h"

#include "base/memory.h"
#include "message/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WHAT_BYTES = 400 };

/* ---- nodes and edges ------------------------------------------------------------------------------------------- */

void graph_free(struct graph *graph)
{
    for (size_t i = 0; i < graph->nodes_count; i++) {
        free(graph->nodes[i].name);
        free(graph->nodes[i].what);
        free(graph->nodes[i].note);
    }
    for (size_t i = 0; i < graph->edges_count; i++) {
        free(graph->edges[i].what);
        free(graph->edges[i].note);
    }
    memory_release(graph->nodes);
    memory_release(graph->edges);
    *graph = (struct graph){0};
}

/* Room for one more of SIZE bytes; the array, or NULL. */
static void *grow(struct graph *graph, void *all, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return all;
    void *grown = memory_grow(all, capacity, size, 16);
    graph->failed |= !grown;
    return grown;
}

void graph_set(struct graph *graph, char **text, const char *format, ...)
{
    char *written = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&written, format, arguments) < 0) {
        written = NULL;
        graph->failed = true;
    }
    va_end(arguments);
    free(*text);
    *text = written;
}

size_t graph_add_node(struct graph *graph, enum graph_kind kind, const char *name)
{
    for (size_t i = 0; i < graph->nodes_count; i++)
        if ((graph->nodes[i].kind == GRAPH_TOPIC) == (kind == GRAPH_TOPIC) && strcmp(graph->nodes[i].name, name) == 0)
            return i;
    struct graph_node *nodes =
        grow(graph, graph->nodes, graph->nodes_count, &graph->nodes_capacity, sizeof *graph->nodes);
    char *copy = nodes ? memory_copy_text(name, strlen(name)) : NULL;
    graph->nodes = nodes ? nodes : graph->nodes;
    if (!copy) {
        graph->failed = true;
        return 0;
    }
    nodes[graph->nodes_count] = (struct graph_node){.kind = kind, .name = copy};
    return graph->nodes_count++;
}

static bool is_same(const char *one, const char *other)
{
    return one && other ? strcmp(one, other) == 0 : one == other;
}

size_t graph_add_edge(struct graph *graph, size_t from, size_t to, const char *what, bool aside)
{
    if (what && !*what)
        what = NULL;
    if (from >= graph->nodes_count || to >= graph->nodes_count)
        return 0; /* there was no memory for them */
    for (size_t i = 0; i < graph->edges_count; i++)
        if (graph->edges[i].from == from && graph->edges[i].to == to && graph->edges[i].aside == aside &&
            is_same(graph->edges[i].what, what))
            return i;
    struct graph_edge *edges =
        grow(graph, graph->edges, graph->edges_count, &graph->edges_capacity, sizeof *graph->edges);
    if (!edges)
        return 0;
    graph->edges = edges;
    edges[graph->edges_count] = (struct graph_edge){.from = from, .to = to, .aside = aside};
    if (what)
        graph_set(graph, &edges[graph->edges_count].what, "%s", what);
    return graph->edges_count++;
}

/* ---- what a part does ------------------------------------------------------------------------------------------ */

/* Appends to TEXT, as far as there is room. */
static void say(char text[WHAT_BYTES], const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(char text[WHAT_BYTES], const char *format, ...)
{
    size_t size = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + size, WHAT_BYTES - size, format, arguments);
    va_end(arguments);
}

/* The first line of WORD. */
static void say_line(char text[WHAT_BYTES], const char *word)
{
    size_t size = strcspn(word, "\n");
    say(text, "%.*s%s", (int)size, word, word[size] && word[size + 1] ? " ..." : "");
}

static void say_command(char text[WHAT_BYTES], const struct pipeline_command *command)
{
    if (command->shell)
        say_line(text, command->shell);
    for (char **word = command->argv; word && *word; word++) {
        say(text, "%s", word == command->argv ? "" : " ");
        say_line(text, *word);
    }
}

/* A file's name without its folders, which are the pipeline's mostly. */
static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void say_socket(char text[WHAT_BYTES], const struct pipeline_socket *socket)
{
    say(text, "%s %s %s", peer_pattern_name(socket->pattern), socket->role == PEER_LISTEN ? "at" : "to", socket->url);
}

static void say_source(char text[WHAT_BYTES], const struct pipeline_source *source)
{
    switch (source->kind) {
    case PIPELINE_COMMAND:
        break;
    case PIPELINE_EVERY:
        say(text, "every %g s: ", (double)source->every / 1e6);
        break;
    case PIPELINE_CRON:
        say(text, "cron %s: ", source->cron);
        break;
    case PIPELINE_FILE:
        say(text, "file %s%s", base_of(source->file), source->follow ? ", followed" : "");
        break;
    case PIPELINE_SOCKET:
        say_socket(text, &source->socket);
        break;
    }
    say_command(text, &source->command);
}

static void say_steps(char text[WHAT_BYTES], const struct stage_step *steps, size_t count)
{
    static const char *const names[] = {
        [STAGE_STEP_WHERE] = "where",           [STAGE_STEP_SET] = "set",
        [STAGE_STEP_RENAME] = "rename",         [STAGE_STEP_REMOVE] = "remove",
        [STAGE_STEP_RATE_LIMIT] = "rate limit", [STAGE_STEP_LOG] = "log",
        [STAGE_STEP_DEDUPE] = "dedupe",         [STAGE_STEP_SPLIT] = "split",
        [STAGE_STEP_AGGREGATE] = "aggregate",
    };
    for (size_t i = 0; i < count; i++) {
        say(text, "%s%s", *text ? ", " : "", names[steps[i].kind]);
        if (steps[i].kind == STAGE_STEP_RATE_LIMIT)
            say(text, " %g/s", steps[i].rate);
    }
}

static void say_stage(char text[WHAT_BYTES], const struct pipeline_stage *stage)
{
    static const char *const modes[] = {[STAGE_EACH] = "each", [STAGE_STREAM] = "stream", [STAGE_BATCH] = "batch"};
    say_steps(text, stage->steps, stage->steps_count);
    if (stage->end == PIPELINE_TO_FILE)
        say(text, "%sfile %s", *text ? "; " : "", base_of(stage->file));
    if (stage->end == PIPELINE_TO_SOCKET) {
        say(text, "%s", *text ? "; " : "");
        say_socket(text, &stage->socket);
    }
    if (!stage->command.argv && !stage->command.shell)
        return;
    say(text, "%s%s: ", *text ? "; " : "", modes[stage->mode]);
    say_command(text, &stage->command);
}

/* "type=order.vip, region=eu|us" */
static void say_where(char text[WHAT_BYTES], const struct stage_where *where)
{
    static const char *const signs[] = {
        [STAGE_EQUAL] = "=", [STAGE_GLOB] = "=",  [STAGE_REGEX] = "~",
        [STAGE_EXISTS] = "", [STAGE_ABOVE] = ">", [STAGE_BELOW] = "<",
    };
    for (size_t i = 0; i < where->count; i++) {
        const struct stage_condition *condition = &where->conditions[i];
        say(text, "%s%s%s%s", i ? ", " : "", condition->negate ? "not " : "", condition->name, signs[condition->match]);
        for (size_t j = 0; j < condition->count; j++)
            say(text, "%s%s", j ? "|" : "", condition->values[j]);
    }
}

/* ---- the pipeline's graph -------------------------------------------------------------------------------------- */

static void add_what(struct graph *graph, size_t node, const char *what)
{
    if (*what && node < graph->nodes_count)
        graph_set(graph, &graph->nodes[node].what, "%s", what);
}

static void add_source(struct graph *graph, const struct pipeline_source *source)
{
    char what[WHAT_BYTES] = "";
    say_source(what, source);
    size_t node = graph_add_node(graph, GRAPH_SOURCE, source->name);
    add_what(graph, node, what);
    graph_add_edge(graph, node, graph_add_node(graph, GRAPH_TOPIC, source->to.topic), NULL, false);
}

/* What a stage takes from a pattern comes from all topics that match; from the pattern itself if none does. */
static void add_inputs(struct graph *graph, const struct pipeline *pipeline, size_t node, const char *from)
{
    bool any = false;
    if (!strpbrk(from, "*>")) {
        graph_add_edge(graph, graph_add_node(graph, GRAPH_TOPIC, from), node, NULL, false);
        return;
    }
    for (size_t i = 0; i < pipeline->topics_count; i++) {
        if (!name_matches(from, pipeline->topics[i].name))
            continue;
        any = true;
        graph_add_edge(graph, graph_add_node(graph, GRAPH_TOPIC, pipeline->topics[i].name), node, NULL, false);
    }
    if (!any)
        graph_add_edge(graph, graph_add_node(graph, GRAPH_TOPIC, from), node, NULL, false);
}

static void add_output(struct graph *graph, size_t node, const char *topic, const char *what, bool aside)
{
    graph_add_edge(graph, node, graph_add_node(graph, GRAPH_TOPIC, topic), what, aside);
}

static void add_stage(struct graph *graph, const struct pipeline *pipeline, const struct pipeline_stage *stage)
{
    char what[WHAT_BYTES] = "";
    say_stage(what, stage);
    size_t node = graph_add_node(graph, stage->sink ? GRAPH_SINK : GRAPH_STAGE, stage->name);
    add_what(graph, node, what);
    for (size_t i = 0; i < stage->from.count; i++)
        add_inputs(graph, pipeline, node, stage->from.all[i].topic);
    for (size_t i = 0; i < stage->to.count; i++)
        add_output(graph, node, stage->to.all[i].topic, NULL, false);
    for (size_t i = 0; i < stage->routes_count; i++) {
        char where[WHAT_BYTES] = "";
        say_where(where, &stage->routes[i].where);
        add_output(graph, node, stage->routes[i].to.topic, *where ? where : i ? "else" : "", false);
    }
    if (stage->breaker.set && stage->breaker.fallback == PIPELINE_FALLBACK_TOPIC)
        add_output(graph, node, stage->breaker.to.topic, "fallback", true);
    if (stage->group.dead_letter[0])
        add_output(graph, node, stage->group.dead_letter, "dead", true);
}

void graph_of_pipeline(struct graph *graph, const struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->sources_count; i++)
        add_source(graph, &pipeline->sources[i]);
    for (size_t i = 0; i < pipeline->topics_count; i++)
        graph_add_node(graph, GRAPH_TOPIC, pipeline->topics[i].name);
    for (size_t i = 0; i < pipeline->stages_count; i++)
        add_stage(graph, pipeline, &pipeline->stages[i]);
}
