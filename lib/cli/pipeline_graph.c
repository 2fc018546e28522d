#include "cli/pipeline_graph.h"

#include "base/clock.h"
#include "base/units.h"
#include "cli/admin_ask.h"
#include "cli/exit.h"
#include "cli/draw.h"
#include "cli/pipeline_file.h"
#include "pipeline/graph.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BETWEEN = 1000 }; /* milliseconds between the two looks that a rate is made of */

/* ---- what flows ------------------------------------------------------------------------------------------------ */

/* What every runner's part NAME counts as KEY, or of TO, which is not NULL then, under "to". */
static uint64_t part_count(const json_t *status, const char *name, const char *key, const char *to)
{
    uint64_t count = 0;
    size_t i, j;
    const json_t *runner, *part;
    json_array_foreach(json_object_get(status, "runners"), i, runner)
    {
        json_array_foreach(json_object_get(runner, "stages"), j, part)
        {
            if (strcmp(admin_string(part, "name"), name) == 0)
                count += to ? admin_number(json_object_get(part, "to"), to) : admin_number(part, key);
        }
    }
    return count;
}

/* What GROUP has done with the messages of TOPIC: KEY of its counts; NULL: all that it is done with. */
static uint64_t group_count(const json_t *status, const char *topic, const char *group, const char *key)
{
    static const char *const done[] = {"acked", "dead", "expired", "dropped"};
    size_t index;
    const json_t *item;
    json_array_foreach(json_object_get(status, "groups"), index, item)
    {
        uint64_t count = 0;
        if (strcmp(admin_string(item, "topic"), topic) != 0 || strcmp(admin_string(item, "group"), group) != 0)
            continue;
        if (key)
            return admin_number(item, key);
        for (size_t i = 0; i < sizeof done / sizeof *done; i++)
            count += admin_number(item, done[i]);
        return count;
    }
    return 0;
}

/* Whether the node at INDEX takes from one topic alone. */
static bool takes_one(const struct graph *graph, size_t index)
{
    size_t edges = 0;
    for (size_t i = 0; i < graph->edges_count; i++)
        edges += graph->edges[i].to == index;
    return edges == 1;
}

/*
 * Parts count since their runner has begun, groups since there is one. So that arrows can be compared, it is the part
 * that is asked wherever it knows: not for each of several topics.
 */
static uint64_t edge_count(const json_t *status, const struct graph *graph, const struct graph_edge *edge)
{
    const struct graph_node *from = &graph->nodes[edge->from], *to = &graph->nodes[edge->to];
    if (from->kind == GRAPH_TOPIC && takes_one(graph, edge->to) && json_array_size(json_object_get(status, "runners")))
        return part_count(status, to->name, "done", NULL) + part_count(status, to->name, "dead", NULL);
    if (from->kind == GRAPH_TOPIC)
        return group_count(status, from->name, to->name, NULL);
    if (edge->aside && edge->what && strcmp(edge->what, "dead") == 0) {
        uint64_t dead = 0;
        for (size_t i = 0; i < graph->edges_count; i++)
            if (graph->edges[i].to == edge->from)
                dead += group_count(status, graph->nodes[graph->edges[i].from].name, from->name, "dead");
        return dead;
    }
    return part_count(status, from->name, NULL, to->name);
}

/* Messages of TOPIC that wait for somebody: for the group for which most do. */
static uint64_t depth_of(const json_t *status, const char *topic)
{
    uint64_t most = 0;
    size_t index;
    const json_t *item;
    json_array_foreach(json_object_get(status, "groups"), index, item)
    {
        uint64_t waiting = admin_number(item, "waiting") + admin_number(item, "delayed") + admin_number(item, "leased");
        if (strcmp(admin_string(item, "topic"), topic) == 0 && waiting > most)
            most = waiting;
    }
    return most;
}

/* Why a part does not work as it should; "": it does. */
static const char *trouble_of(const json_t *status, const char *name)
{
    size_t i, j;
    const json_t *runner, *part;
    json_array_foreach(json_object_get(status, "runners"), i, runner)
    {
        json_array_foreach(json_object_get(runner, "stages"), j, part)
        {
            const char *why = admin_string(part, "why");
            if (strcmp(admin_string(part, "name"), name) == 0 && *why)
                return why;
        }
    }
    return "";
}

static void annotate(struct graph *graph, const json_t *before, const json_t *now, double seconds)
{
    for (size_t i = 0; i < graph->edges_count; i++) {
        struct graph_edge *edge = &graph->edges[i];
        uint64_t count = edge_count(now, graph, edge), earlier = edge_count(before, graph, edge);
        double rate = count > earlier ? (double)(count - earlier) / seconds : 0;
        if (rate > 0)
            graph_set(graph, &edge->note, "%" PRIu64 ", %.3g/s", count, rate);
        else
            graph_set(graph, &edge->note, "%" PRIu64, count);
    }
    for (size_t i = 0; i < graph->nodes_count; i++) {
        struct graph_node *node = &graph->nodes[i];
        uint64_t depth = node->kind == GRAPH_TOPIC ? depth_of(now, node->name) : 0;
        const char *trouble = node->kind == GRAPH_TOPIC ? "" : trouble_of(now, node->name);
        if (depth)
            graph_set(graph, &node->note, "%" PRIu64 " waiting", depth);
        else if (*trouble)
            graph_set(graph, &node->note, "%s", trouble);
    }
}

static int look(const struct pipeline_graph_settings *settings, const char *relay, json_t **status)
{
    char start[FAULT_TEXT];
    const char *name = settings->relay, *given = name ? name : "";
    snprintf(start, sizeof start, "mrelay run%s%s %s", name ? " -r " : "", given, settings->file);
    struct admin_settings admin = {
        .relay = relay, .start = strstr(given, "://") ? NULL : start, .wait = settings->wait};
    return admin_ask_soon(&admin, json_pack("{s:s}", "verb", "status"), status);
}

static int add_flow(const struct pipeline_graph_settings *settings, const struct pipeline *pipeline,
                    struct graph *graph)
{
    const char *relay = settings->relay ? settings->relay : pipeline->name;
    json_t *before, *now;
    int64_t since = clock_monotonic();
    int code = look(settings, relay, &before);
    if (code)
        return code;
    poll(NULL, 0, BETWEEN);
    code = look(settings, relay, &now);
    if (!code)
        annotate(graph, before, now, (double)(clock_monotonic() - since) / 1e6);
    json_decref(before);
    if (!code)
        json_decref(now);
    return code;
}

int pipeline_graph(const struct pipeline_graph_settings *settings)
{
    struct pipeline *pipeline = NULL;
    struct graph graph = {0};
    struct fault fault = {0};
    if (pipeline_file_load(settings->file, false, &pipeline, &fault))
        return pipeline_file_exit(&fault);
    graph_of_pipeline(&graph, pipeline);
    int code = settings->live ? add_flow(settings, pipeline, &graph) : EXIT_DONE;
    if (!code)
        code = draw_graph(&graph, pipeline->name, settings->format, settings->svg);
    graph_free(&graph);
    pipeline_free(pipeline);
    return code;
}
