/* How topics, stages, sources and sinks hang together. */
#include "pipeline/check.h"

#include <stdio.h>

enum { MATCHES_MAX = 4 * 1000 * 1000 }; /* patterns by topics that are compared */

/* What is known of a topic, by its number. */
struct knot {
    const struct pipeline_reference *feeder; /* the first that sends there */
    bool fed;                                /* also by dead letters */
    bool dead;                               /* it serves as a dead-letter topic */
    bool taken;
    uint32_t *takers; /* stages, by their numbers */
    size_t takers_count;
    size_t takers_room;
};

/* What is known of a stage. */
struct node {
    size_t *outputs; /* topics, by their numbers */
    size_t outputs_count;
    enum { NEW, OPEN, DONE } state;
    size_t position; /* OPEN: in the path */
    bool told;       /* it is in a cycle that was told */
};

struct graph {
    struct load *load;
    struct pipeline *pipeline;
    struct knot *knots;
    struct node *nodes;
    size_t *path; /* stages from the first to the one that is looked at */
    size_t *next; /* beside each: which of its arrows is the next */
};

static struct knot *knot_of(struct graph *graph, const char *name, size_t *number)
{
    const struct pipeline_topic *topic =
        name != NULL && *name != '\0' ? map_get(&graph->load->topics, name, strlen(name)) : NULL;
    if (topic == NULL)
        return NULL;
    size_t at = (size_t)(topic - graph->pipeline->topics);
    if (number != NULL)
        *number = at;
    return &graph->knots[at];
}

/* ---- building --------------------------------------------------------------------------------------------------- */

static void feed(struct graph *graph, const struct pipeline_reference *reference, struct node *node)
{
    size_t number;
    struct knot *knot = knot_of(graph, reference->topic, &number);
    if (knot == NULL)
        return;
    knot->fed = true;
    if (knot->feeder == NULL)
        knot->feeder = reference;
    if (node != NULL)
        node->outputs[node->outputs_count++] = number;
}

static void feed_dead(struct graph *graph, const char *name, struct node *node)
{
    size_t number;
    struct knot *knot = knot_of(graph, name, &number);
    if (knot == NULL)
        return;
    knot->fed = knot->dead = true;
    node->outputs[node->outputs_count++] = number;
}

static void feed_from_stage(struct graph *graph, const struct pipeline_stage *stage, struct node *node)
{
    char dead[NAME_MAX_BYTES + 8];
    node->outputs = load_allocate(graph->load, stage->to.count + stage->routes_count + stage->from.count + 2,
                                  sizeof *node->outputs);
    if (node->outputs == NULL)
        return;
    for (size_t i = 0; i < stage->to.count; i++)
        feed(graph, &stage->to.all[i], node);
    for (size_t i = 0; i < stage->routes_count; i++)
        feed(graph, &stage->routes[i].to, node);
    feed(graph, &stage->breaker.to, node);
    if (stage->group.dead_letter[0] != '\0') {
        feed_dead(graph, stage->group.dead_letter, node);
        return;
    }
    for (size_t i = 0; i < stage->from.count; i++) {
        snprintf(dead, sizeof dead, "%s.dead", stage->from.all[i].topic);
        feed_dead(graph, dead, node);
    }
}

static void take(struct graph *graph, struct knot *knot, size_t stage)
{
    knot->taken = true;
    if (knot->takers_count == knot->takers_room) {
        size_t room = knot->takers_room * 2 + 4;
        uint32_t *takers = load_allocate(graph->load, room, sizeof *takers);
        if (takers == NULL)
            return;
        if (knot->takers_count > 0)
            memcpy(takers, knot->takers, knot->takers_count * sizeof *takers);
        knot->takers = takers;
        knot->takers_room = room;
    }
    knot->takers[knot->takers_count++] = (uint32_t)stage;
}

/* ---- stages that nobody feeds ------------------------------------------------------------------------------------ */

/* Whether messages can come by way of a topic: a file without sources is fed from outside, by msend. */
static bool can_come(const struct graph *graph, size_t topic)
{
    return graph->load->loose || graph->pipeline->sources_count == 0 || graph->knots[topic].fed ||
           graph->pipeline->topics[topic].external;
}

static void take_one(struct graph *graph, size_t stage, const struct pipeline_reference *from)
{
    size_t number;
    struct knot *knot = knot_of(graph, from->topic, &number);
    if (knot == NULL)
        return;
    take(graph, knot, stage);
    if (!can_come(graph, number))
        diagnose_error(graph->load->diagnostics, &from->place,
                       "%s: nobody feeds it: no source or stage here sends to '%s' (if others do, say so: "
                       "%s: {external: true})",
                       graph->pipeline->stages[stage].name, from->topic, from->topic);
}

static void take_pattern(struct graph *graph, size_t stage, const struct pipeline_reference *from)
{
    bool matched = false, fed = false;
    for (size_t i = 0; i < graph->pipeline->topics_count; i++) {
        if (graph->knots[i].dead || !name_matches(from->topic, graph->pipeline->topics[i].name))
            continue;
        take(graph, &graph->knots[i], stage);
        matched = true;
        fed = fed || can_come(graph, i);
    }
    const char *name = graph->pipeline->stages[stage].name;
    if (!matched && graph->pipeline->strict && !graph->load->loose)
        diagnose_error(graph->load->diagnostics, &from->place,
                       "%s: nobody feeds it: no topic that is declared matches '%s'", name, from->topic);
    else if (!matched && !graph->load->loose)
        diagnose_warning(graph->load->diagnostics, &from->place, "%s: no topic that is named here matches '%s'", name,
                         from->topic);
    else if (matched && !fed)
        diagnose_error(graph->load->diagnostics, &from->place,
                       "%s: nobody feeds it: no source or stage here sends to a topic that '%s' matches", name,
                       from->topic);
}

static void take_all(struct graph *graph)
{
    const struct pipeline *pipeline = graph->pipeline;
    size_t patterns = 0;
    for (size_t i = 0; i < pipeline->stages_count; i++)
        for (size_t j = 0; j < pipeline->stages[i].from.count; j++) {
            const struct pipeline_reference *from = &pipeline->stages[i].from.all[j];
            if (strpbrk(from->topic, "*>") == NULL)
                take_one(graph, i, from);
            else if (++patterns * (pipeline->topics_count + 1) <= MATCHES_MAX)
                take_pattern(graph, i, from);
            else
                diagnose_error(graph->load->diagnostics, &from->place, "too many patterns on too many topics");
        }
}

/* ---- outputs that nobody takes ----------------------------------------------------------------------------------- */

static void check_outputs(struct graph *graph)
{
    struct diagnostics *diagnostics = graph->load->diagnostics;
    for (size_t i = 0; i < graph->pipeline->topics_count; i++) {
        const struct pipeline_topic *topic = &graph->pipeline->topics[i];
        const struct knot *knot = &graph->knots[i];
        if (knot->taken || knot->dead || topic->external)
            continue;
        if (knot->feeder != NULL)
            diagnose_warning(diagnostics, &knot->feeder->place,
                             "nobody takes what goes to '%s' (if others do, say so: %s: {external: true})", topic->name,
                             topic->name);
        else if (topic->place.line > 0)
            diagnose_warning(diagnostics, &topic->place,
                             "topic '%s' is not used: nobody sends to it, nobody takes "
                             "from it",
                             topic->name);
    }
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void check_names(struct graph *graph)
{
    struct map names = {0};
    for (size_t i = 0; i < graph->pipeline->stages_count; i++) {
        struct pipeline_stage *stage = &graph->pipeline->stages[i];
        const struct pipeline_stage *other = map_get(&names, stage->name, strlen(stage->name));
        if (other != NULL)
            diagnose_error(graph->load->diagnostics, &stage->place,
                           "'%s' is a stage already, in line %u, and its group: give the sink another name",
                           stage->name, other->place.line);
        else if (map_put(&names, stage->name, strlen(stage->name), stage))
            graph->load->no_memory = true;
    }
    map_free(&names);
}

/* ---- cycles ------------------------------------------------------------------------------------------------------ */

/* Arrow number INDEX of a stage: the topic by which it goes, and the stage to which. False: there are not so many. */
static bool arrow(const struct graph *graph, size_t stage, size_t index, size_t *topic, size_t *to)
{
    const struct node *node = &graph->nodes[stage];
    for (size_t i = 0; i < node->outputs_count; i++) {
        const struct knot *knot = &graph->knots[node->outputs[i]];
        if (index < knot->takers_count) {
            *topic = node->outputs[i];
            *to = knot->takers[index];
            return true;
        }
        index -= knot->takers_count;
    }
    return false;
}

/* The stages of the path from number FROM on, and back to the first of them. */
static void tell_cycle(struct graph *graph, size_t from, size_t length)
{
    const struct pipeline *pipeline = graph->pipeline;
    char text[800];
    size_t used = 0, topic, to;
    const struct pipeline_place *place = &pipeline->stages[graph->path[from]].place;
    for (size_t i = from; i < length; i++) {
        const struct pipeline_stage *stage = &pipeline->stages[graph->path[i]];
        graph->nodes[graph->path[i]].told = true;
        if (stage->place.line < place->line)
            place = &stage->place;
        if (arrow(graph, graph->path[i], graph->next[i] - 1, &topic, &to) && used < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s -> %s -> ", stage->name,
                                     pipeline->topics[topic].name);
    }
    if (used > 600)
        snprintf(text + 600, sizeof text - 600, "... -> ");
    diagnose_error(graph->load->diagnostics, place,
                   "a cycle: %s%s: messages could go round for ever, and block each other: if that is meant, one of "
                   "its stages says cycle: allowed",
                   text, pipeline->stages[graph->path[from]].name);
}

static bool is_skipped(const struct graph *graph, size_t stage)
{
    return graph->pipeline->stages[stage].cycle_allowed || graph->pipeline->stages[stage].sink;
}

/* One step of the search from the end of the path; returns the new length. */
static size_t search_step(struct graph *graph, size_t length)
{
    size_t stage = graph->path[length - 1], topic, to;
    if (!arrow(graph, stage, graph->next[length - 1]++, &topic, &to)) {
        graph->nodes[stage].state = DONE;
        return length - 1;
    }
    if (is_skipped(graph, to) || graph->nodes[to].state == DONE)
        return length;
    if (graph->nodes[to].state == OPEN) {
        if (!graph->nodes[to].told || !graph->nodes[stage].told)
            tell_cycle(graph, graph->nodes[to].position, length);
        return length;
    }
    graph->nodes[to].state = OPEN;
    graph->nodes[to].position = length;
    graph->path[length] = to;
    graph->next[length] = 0;
    return length + 1;
}

static void check_cycles(struct graph *graph)
{
    for (size_t i = 0; i < graph->pipeline->stages_count; i++) {
        if (graph->nodes[i].state != NEW || is_skipped(graph, i))
            continue;
        size_t length = 1;
        graph->path[0] = i;
        graph->next[0] = 0;
        graph->nodes[i].state = OPEN;
        graph->nodes[i].position = 0;
        while (length > 0)
            length = search_step(graph, length);
    }
}

void check_graph(struct load *load)
{
    struct pipeline *pipeline = load->pipeline;
    struct graph graph = {
        .load = load,
        .pipeline = pipeline,
        .knots = load_allocate(load, pipeline->topics_count, sizeof *graph.knots),
        .nodes = load_allocate(load, pipeline->stages_count, sizeof *graph.nodes),
        .path = load_allocate(load, pipeline->stages_count, sizeof *graph.path),
        .next = load_allocate(load, pipeline->stages_count, sizeof *graph.next),
    };
    if (load->no_memory)
        return;
    for (size_t i = 0; i < pipeline->sources_count; i++)
        feed(&graph, &pipeline->sources[i].to, NULL);
    for (size_t i = 0; i < pipeline->stages_count && !load->no_memory; i++)
        feed_from_stage(&graph, &pipeline->stages[i], &graph.nodes[i]);
    if (load->no_memory)
        return;
    take_all(&graph);
    if (!load->loose)
        check_outputs(&graph);
    check_names(&graph);
    check_cycles(&graph);
}
