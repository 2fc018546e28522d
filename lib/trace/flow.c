#include "trace/flow.h"

#include "base/histogram.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/units.h"
#include "message/names.h"
#include "queue/engine.h"
#include "queue/settings.h"
#include "trace/pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What went one way. */
struct way {
    uint32_t topic;
    uint32_t group; /* topic → group; 0: somebody → topic */
    uint64_t session;
    bool settled; /* published together with a settlement: a stage's work */
    bool delayed; /* from the schedule */
    uint64_t messages, failed, dead;
    struct histogram times; /* from publication to the acknowledgement */
};

struct flowing {
    struct trace_log *log;
    const struct trace_select *select;
    struct trace_pair *pair;
    struct way **ways;
    size_t count, capacity;
    struct map groups; /* the ways to groups by group */
    struct way *last;  /* of what was published last */
    int64_t since, until;
    struct fault *fault;
};

/* ---- counting -------------------------------------------------------------------------------------------------- */

static struct way *add_way(struct flowing *flowing, const struct way *way)
{
    if (flowing->count == flowing->capacity) {
        struct way **ways = memory_grow(flowing->ways, &flowing->capacity, sizeof *ways, 64);
        if (!ways)
            return NULL;
        flowing->ways = ways;
    }
    struct way *added = malloc(sizeof *added);
    if (!added)
        return NULL;
    *added = *way;
    return flowing->ways[flowing->count++] = added;
}

static bool is_same(const struct way *a, const struct way *b)
{
    return a->topic == b->topic && a->session == b->session && a->settled == b->settled && a->delayed == b->delayed;
}

/* One session publishes much: the last way is tried first, then those of its topic. */
static struct way *way_in(struct flowing *flowing, const struct way *wanted)
{
    if (flowing->last && is_same(flowing->last, wanted))
        return flowing->last;
    for (size_t i = 0; i < flowing->count; i++)
        if (flowing->ways[i]->group == 0 && is_same(flowing->ways[i], wanted))
            return flowing->last = flowing->ways[i];
    return flowing->last = add_way(flowing, wanted);
}

static struct way *way_out(struct flowing *flowing, const struct trace_passage *passage)
{
    struct way *way = map_get(&flowing->groups, &passage->group, sizeof passage->group);
    if (way)
        return way;
    way = add_way(flowing, &(struct way){.topic = passage->topic, .group = passage->group});
    if (way && map_put(&flowing->groups, &way->group, sizeof way->group, way))
        return NULL;
    return way;
}

static enum mp_error on_passage(void *context, const struct trace_passage *passage)
{
    struct flowing *flowing = context;
    bool counts = passage->end == EVENT_ACKED || passage->end == EVENT_RETRIED || passage->end == EVENT_LAPSED ||
                  passage->end == EVENT_DEAD;
    if (!counts || passage->ended < flowing->select->since || !trace_select_group(flowing->select, passage->group))
        return MP_OK;
    struct way *way = way_out(flowing, passage);
    if (!way)
        return fault_memory(flowing->fault);
    if (passage->end == EVENT_ACKED)
        way->messages += passage->count;
    else
        way->failed += passage->count;
    if (passage->end == EVENT_DEAD)
        way->dead += passage->count;
    way->session = passage->session;
    if (passage->end == EVENT_ACKED && passage->publication)
        histogram_add(&way->times, passage->ended - passage->publication->time, passage->count);
    return MP_OK;
}

static enum mp_error on_event(void *context, const struct store_event *event)
{
    struct flowing *flowing = context;
    if (flowing->since == 0)
        flowing->since = event->time;
    flowing->until = event->time;
    bool letters = event->kind == EVENT_PUBLISHED && event->session == 0 && event->due == 0;
    if (event->kind == EVENT_PUBLISHED && event->time >= flowing->select->since && !letters) {
        struct way *way = way_in(flowing, &(struct way){.topic = event->topic,
                                                        .session = event->session,
                                                        .settled = event->request >> 62 == ENGINE_LANE_SETTLE,
                                                        .delayed = event->session == 0});
        if (!way)
            return fault_memory(flowing->fault);
        way->messages += event->count;
    }
    return trace_pair_event(flowing->pair, event, flowing->fault);
}

/* ---- drawing --------------------------------------------------------------------------------------------------- */

/* The group for which SESSION works; NULL: it is no stage's. */
static const struct way *work_of(const struct flowing *flowing, uint64_t session)
{
    for (size_t i = 0; i < flowing->count; i++)
        if (flowing->ways[i]->group > 0 && flowing->ways[i]->session == session)
            return flowing->ways[i];
    return NULL;
}

static bool is_stage(const struct flowing *flowing, const struct way *group)
{
    for (size_t i = 0; i < flowing->count; i++)
        if (flowing->ways[i]->group == 0 && flowing->ways[i]->settled && flowing->ways[i]->session == group->session)
            return true;
    return false;
}

static size_t topic_node(const struct flowing *flowing, struct graph *graph, uint32_t topic)
{
    char name[TRACE_NAME_TEXT];
    return graph_add_node(graph, GRAPH_TOPIC, trace_log_topic_name(flowing->log, topic, name));
}

static size_t group_node(const struct flowing *flowing, struct graph *graph, const struct way *way)
{
    char name[TRACE_NAME_TEXT];
    return graph_add_node(graph, is_stage(flowing, way) ? GRAPH_STAGE : GRAPH_SINK,
                          trace_log_group_name(flowing->log, way->group, name));
}

/* The first word of what a client calls itself; "a client" when that is not known any more. */
static size_t client_node(const struct flowing *flowing, struct graph *graph, const struct way *way)
{
    char name[64];
    const char *client = way->delayed ? "delayed" : trace_log_session(flowing->log, way->session);
    int size = (int)strcspn(client, " ");
    snprintf(name, sizeof name, "%.*s", size, client);
    return graph_add_node(graph, GRAPH_SOURCE, name[0] ? name : "a client");
}

static void rate_text(const struct flowing *flowing, uint64_t count, char *text, size_t size)
{
    double seconds = (double)(flowing->until - flowing->since) / 1e6, rate = seconds > 0 ? (double)count / seconds : 0;
    char shown[24], each[24];
    units_count_text(count, shown, sizeof shown);
    units_count_text((uint64_t)rate, each, sizeof each);
    if (rate >= 10)
        snprintf(text, size, "%s, %s/s", shown, each);
    else
        snprintf(text, size, "%s, %.1f/s", shown, rate);
}

static void note_edge(const struct flowing *flowing, struct graph *graph, size_t edge, const struct way *way)
{
    char rate[64], failed[32] = "", time[32], p50[48] = "";
    rate_text(flowing, way->messages, rate, sizeof rate);
    if (way->failed > 0)
        snprintf(failed, sizeof failed, ", %llu failed", (unsigned long long)way->failed);
    if (way->times.count > 0) {
        units_duration_text(histogram_quantile(&way->times, 0.5), time, sizeof time);
        snprintf(p50, sizeof p50, ", p50 %s", time);
    }
    graph_set(graph, &graph->edges[edge].note, "%s%s%s", rate, failed, p50);
}

/* Where the letters of WAY's group go. */
static void letters_name(const struct flowing *flowing, const struct way *way, char name[NAME_MAX_BYTES + 1])
{
    const struct trace_group *group = trace_log_group(flowing->log, way->group);
    struct group_settings settings;
    char topic[TRACE_NAME_TEXT];
    name[0] = '\0';
    if (group && group->settings && !settings_group_read(&settings, group->settings, strlen(group->settings), NULL))
        snprintf(name, NAME_MAX_BYTES + 1, "%s", settings.dead_letter);
    if (name[0] == '\0')
        snprintf(name, NAME_MAX_BYTES + 1, "%s.dead", trace_log_topic_name(flowing->log, way->topic, topic));
}

static void draw_group(const struct flowing *flowing, struct graph *graph, const struct way *way)
{
    size_t node = group_node(flowing, graph, way);
    size_t edge = graph_add_edge(graph, topic_node(flowing, graph, way->topic), node, NULL, false);
    if (graph->failed)
        return;
    note_edge(flowing, graph, edge, way);
    if (way->dead == 0)
        return;
    char name[NAME_MAX_BYTES + 1];
    letters_name(flowing, way, name);
    edge = graph_add_edge(graph, node, graph_add_node(graph, GRAPH_TOPIC, name), NULL, true);
    if (!graph->failed)
        graph_set(graph, &graph->edges[edge].note, "%llu", (unsigned long long)way->dead);
}

/* Several sessions may be one node: what is on its edge already is counted with it. */
static uint64_t sum_of(const struct flowing *flowing, struct graph *graph, const struct way *way, size_t node)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < flowing->count; i++) {
        const struct way *other = flowing->ways[i];
        if (other->group > 0 || other->topic != way->topic)
            continue;
        const struct way *work = other->settled ? work_of(flowing, other->session) : NULL;
        size_t from = work ? group_node(flowing, graph, work) : client_node(flowing, graph, other);
        sum += from == node ? other->messages : 0;
    }
    return sum;
}

static void draw_publisher(const struct flowing *flowing, struct graph *graph, const struct way *way)
{
    char rate[64];
    const struct way *work = way->settled ? work_of(flowing, way->session) : NULL;
    size_t node = work ? group_node(flowing, graph, work) : client_node(flowing, graph, way);
    size_t edges = graph->edges_count;
    size_t edge = graph_add_edge(graph, node, topic_node(flowing, graph, way->topic), NULL, false);
    if (graph->failed || graph->edges_count == edges)
        return;
    rate_text(flowing, sum_of(flowing, graph, way, node), rate, sizeof rate);
    graph_set(graph, &graph->edges[edge].note, "%s", rate);
}

static void draw(const struct flowing *flowing, struct graph *graph)
{
    for (size_t i = 0; i < flowing->count && !graph->failed; i++)
        if (flowing->ways[i]->group == 0)
            draw_publisher(flowing, graph, flowing->ways[i]);
    for (size_t i = 0; i < flowing->count && !graph->failed; i++)
        if (flowing->ways[i]->group > 0)
            draw_group(flowing, graph, flowing->ways[i]);
}

enum mp_error trace_flow(struct trace_log *log, const struct trace_select *select, struct graph *graph,
                         struct fault *fault)
{
    struct flowing flowing = {.log = log, .select = select, .fault = fault};
    const struct trace_pair_calls calls = {.context = &flowing, .passage = on_passage};
    struct store_event_filter filter;
    enum mp_error error = trace_select_passages(select, &filter, fault);
    if (!error)
        error = trace_pair_open(log, &calls, &flowing.pair, fault);
    if (!error)
        error = trace_log_each(log, &filter, on_event, &flowing, fault);
    if (select->since > 0)
        flowing.since = select->since;
    if (!error)
        draw(&flowing, graph);
    if (!error && graph->failed)
        error = fault_memory(fault);
    trace_pair_close(flowing.pair);
    for (size_t i = 0; i < flowing.count; i++)
        free(flowing.ways[i]);
    free(flowing.ways);
    map_free(&flowing.groups);
    return error;
}
