#include "trace/tree.h"

#include "base/memory.h"
#include "message/trace.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 6 };

const char *trace_relation_name(enum trace_relation relation)
{
    static const char *const names[] = {
        [TRACE_ROOT] = "root",     [TRACE_EFFECT] = "effect", [TRACE_LETTER] = "dead letter",
        [TRACE_REPLAY] = "replay", [TRACE_REPLY] = "reply",
    };
    return names[relation];
}

void trace_tree_free(struct trace_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        trace_history_free(&tree->nodes[i].history);
    memory_release(tree->nodes);
    *tree = (struct trace_tree){0};
}

/* ---- who came of whom
 * ------------------------------------------------------------------------------------------
 */

static int compare(const void *one, const void *two)
{
    const struct trace_match *first = &((const struct trace_node *)one)->match;
    const struct trace_match *second = &((const struct trace_node *)two)->match;
    return trace_match_is_before(first, second) ? -1 : trace_match_is_before(second, first) ? 1 : 0;
}

/* Whether the parent that NODE's traceparent names is OTHER: what was done with it, at its publication or a delivery. */
static bool is_parent(const struct trace_log *log, const struct trace_node *node, const struct trace_node *other)
{
    char topic[TRACE_NAME_TEXT], group[TRACE_NAME_TEXT];
    const struct trace_match *match = &other->match;
    struct trace_place place = {.topic = trace_log_topic_name(log, match->topic, topic), .offset = match->offset};
    if (node->match.parent.kind == LINEAGE_NONE || match->scheduled)
        return false;
    for (size_t i = 0; i < other->history.count; i++) {
        const struct trace_passage *passage = &other->history.passages[i];
        place.group = trace_log_group_name(log, passage->group, group);
        for (size_t at = 0; at < passage->attempts_count; at++) {
            place.attempt = passage->attempts[at].number;
            place.delivery = trace_delivery(passage->attempts[at].session, passage->attempts[at].lease);
            if (trace_span(match->origin.high, match->origin.low, &place) == node->match.parent.low)
                return true;
        }
    }
    return false;
}

/* Whether NODE was published together with a settlement of OTHER; MADE: and was made of it, as far as that tells. */
static bool is_settled_with(const struct trace_node *node, const struct trace_node *other, bool made)
{
    return (!made || trace_kin_is_nameless(&node->match) || trace_value_is(&node->match.trace, &other->match.trace)) &&
           trace_kin_is_settled_with(&node->match, &other->history);
}

/*
 * How the message of NODE can have come of that of OTHER, which was before it, and how near that is: the same message
 * elsewhere is nearest, then a cause that it names, the delivery that its traceparent names, what was settled with it, a
 * request. Of two the one that was settled together with the publication of NODE is nearer, then the later one.
 */
static unsigned relate(const struct trace_log *log, const struct trace_node *node, const struct trace_node *other,
                       enum trace_relation *relation)
{
    const struct trace_topic *topic = trace_log_topic(log, node->match.topic);
    const struct trace_topic *before = trace_log_topic(log, other->match.topic);
    *relation = TRACE_EFFECT; /* a stage can hand a message on as it is */
    if (trace_value_is(&node->match.origin, &other->match.origin)) {
        if (topic && topic->letters)
            *relation = TRACE_LETTER;
        else if (before && before->letters)
            *relation = TRACE_REPLAY;
        return 8 + is_settled_with(node, other, false);
    }
    if (trace_value_is(&node->match.cause, &other->match.id))
        return 6 + is_settled_with(node, other, false);
    if (is_parent(log, node, other))
        return 4 + is_settled_with(node, other, false);
    if (is_settled_with(node, other, true))
        return 3;
    *relation = TRACE_REPLY;
    return trace_value_is(&node->match.correlation, &other->match.id) ||
           trace_value_is(&node->match.correlation, &other->match.correlation);
}

static void find_parent(struct trace_tree *tree, const struct trace_log *log, size_t at)
{
    struct trace_node *node = &tree->nodes[at];
    unsigned best = 0;
    node->parent = SIZE_MAX;
    for (size_t i = at; i-- > 0;) {
        enum trace_relation relation;
        unsigned nearness = relate(log, node, &tree->nodes[i], &relation);
        if (nearness > best) {
            best = nearness;
            node->parent = i;
            node->relation = relation;
        }
    }
}

/* ---- the order in which they are shown
 * -------------------------------------------------------------------------- */

/* Appends to ORDER what came of the node at AT, depth first. It was before what came of it, so this ends. */
static void put_below(struct trace_tree *tree, size_t at, size_t *order, size_t *count)
{
    size_t last = SIZE_MAX;
    order[(*count)++] = at;
    for (size_t i = at + 1; i < tree->count; i++)
        if (tree->nodes[i].parent == at) {
            tree->nodes[i].depth = tree->nodes[at].depth + 1;
            put_below(tree, i, order, count);
            last = i;
        }
    if (last != SIZE_MAX)
        tree->nodes[last].last = true;
}

static size_t root_of(const struct trace_tree *tree, size_t at)
{
    while (tree->nodes[at].parent != SIZE_MAX)
        at = tree->nodes[at].parent;
    return at;
}

/* Puts the nodes of the trees whose ROOTS are marked into order, and gives back the others. */
static enum mp_error arrange(struct trace_tree *tree, const bool *roots)
{
    size_t *order = memory_allocate_array(tree->count + 1, sizeof *order);
    size_t *places = memory_allocate_array(tree->count + 1, sizeof *places);
    struct trace_node *nodes = memory_allocate_array(tree->count + 1, sizeof *nodes);
    size_t count = 0;
    if (!order || !places || !nodes) {
        memory_release(order);
        memory_release(places);
        memory_release(nodes);
        return MP_ERR_MEMORY;
    }
    for (size_t i = 0; i < tree->count; i++)
        if (tree->nodes[i].parent == SIZE_MAX && roots[i])
            put_below(tree, i, order, &count);
    for (size_t i = 0; i < count; i++)
        places[order[i]] = i;
    for (size_t i = 0; i < count; i++) {
        nodes[i] = tree->nodes[order[i]];
        if (nodes[i].parent != SIZE_MAX)
            nodes[i].parent = places[nodes[i].parent];
        tree->nodes[order[i]].history = (struct trace_history){0};
    }
    for (size_t i = 0; i < tree->count; i++)
        trace_history_free(&tree->nodes[i].history);
    memory_release(tree->nodes);
    memory_release(order);
    memory_release(places);
    tree->nodes = nodes;
    tree->count = count;
    return MP_OK;
}

size_t trace_tree_made_of(const struct trace_tree *tree, size_t at, size_t *inputs, size_t most)
{
    const struct trace_node *node = &tree->nodes[at];
    size_t count = 0;
    for (size_t i = 0; i < tree->count && trace_kin_is_nameless(&node->match); i++) {
        if (i == at || !trace_kin_is_settled_with(&node->match, &tree->nodes[i].history))
            continue;
        if (count < most)
            inputs[count] = i;
        count++;
    }
    return count;
}

/* Marks the roots of what the node at AT, and all that it came of, was made of. What was before it was marked already. */
static void mark_roots(const struct trace_tree *tree, size_t at, bool *roots)
{
    size_t inputs[TRACE_KIN_MOST];
    roots[root_of(tree, at)] = true;
    for (; at != SIZE_MAX; at = tree->nodes[at].parent) {
        size_t count = trace_tree_made_of(tree, at, inputs, TRACE_KIN_MOST);
        for (size_t i = 0; i < count && i < TRACE_KIN_MOST; i++)
            roots[root_of(tree, inputs[i])] = true;
    }
}

static enum mp_error choose(struct trace_tree *tree, bool whole)
{
    bool *roots = memory_allocate_array(tree->count + 1, sizeof *roots);
    if (!roots)
        return MP_ERR_MEMORY;
    for (size_t i = 0; i < tree->count; i++)
        if (tree->nodes[i].asked)
            mark_roots(tree, i, roots);
        else if (whole && tree->nodes[i].traced)
            roots[root_of(tree, i)] = true;
    enum mp_error error = arrange(tree, roots);
    memory_release(roots);
    return error;
}

static enum mp_error make_nodes(struct trace_tree *tree, struct trace_log *log, const struct trace_matches *matches,
                                size_t asked, size_t traced, struct fault *fault)
{
    struct trace_history **histories = memory_allocate_array(matches->count + 1, sizeof *histories);
    tree->nodes = memory_allocate_array(matches->count + 1, sizeof *tree->nodes);
    size_t count = 0;
    enum mp_error error = histories && tree->nodes ? MP_OK : fault_memory(fault);
    for (size_t i = 0; !error && i < matches->count; i++) {
        struct trace_node *node = &tree->nodes[tree->count++];
        node->match = node->history.match = matches->items[i];
        node->asked = i < asked;
        node->traced = i < traced;
        if (!node->match.scheduled)
            histories[count++] = &node->history;
    }
    if (!error)
        error = trace_history_follow(histories, count, log, fault);
    memory_release(histories);
    return error;
}

/* What was asked for, and what that came of, may have been made of many. */
static enum mp_error add_inputs(const struct trace_tree *tree, struct trace_log *log, struct trace_matches *matches,
                                struct fault *fault)
{
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < tree->count; i++)
        for (size_t at = tree->nodes[i].asked ? i : SIZE_MAX; !error && at != SIZE_MAX; at = tree->nodes[at].parent)
            error = trace_kin_add_inputs(log, &tree->nodes[at].match, matches, fault);
    return error;
}

static bool has_output(const struct trace_tree *tree, const struct trace_attempt *attempt)
{
    for (size_t i = 0; i < tree->count; i++)
        if (tree->nodes[i].match.session == attempt->session && tree->nodes[i].match.request == attempt->request)
            return true;
    return false;
}

static enum mp_error add_outputs(const struct trace_tree *tree, struct trace_log *log, struct trace_matches *matches,
                                 struct fault *fault)
{
    unsigned looked = 0;
    enum mp_error error = MP_OK;
    for (size_t i = 0; i < tree->count; i++)
        for (size_t at = 0; at < tree->nodes[i].history.count; at++) {
            const struct trace_passage *passage = &tree->nodes[i].history.passages[at];
            for (size_t each = 0; !error && each < passage->attempts_count && looked < TRACE_KIN_MOST; each++, looked++)
                if (!has_output(tree, &passage->attempts[each]))
                    error = trace_kin_add_outputs(log, &passage->attempts[each], matches, fault);
        }
    return error;
}

/* The nodes of MATCHES, with their histories, each below the one that it came of: ASKED of them were asked for, and TRACED
 * are of the traces of those. */
static enum mp_error plant(struct trace_tree *tree, struct trace_log *log, const struct trace_matches *matches,
                           size_t asked, size_t traced, struct fault *fault)
{
    trace_tree_free(tree);
    enum mp_error error = make_nodes(tree, log, matches, asked, traced, fault);
    if (error)
        return error;
    qsort(tree->nodes, tree->count, sizeof *tree->nodes, compare);
    for (size_t i = 0; i < tree->count; i++)
        find_parent(tree, log, i);
    return MP_OK;
}

enum mp_error trace_tree_open(struct trace_tree *tree, struct trace_log *log, const struct trace_matches *asked,
                              bool whole, size_t most, struct fault *fault)
{
    struct trace_matches matches = {0};
    size_t traced = 0, before = SIZE_MAX;
    *tree = (struct trace_tree){0};
    if (!(matches.items = memory_allocate_array(asked->count + 1, sizeof *matches.items)))
        return fault_memory(fault);
    memcpy(matches.items, asked->items, asked->count * sizeof *matches.items);
    matches.count = asked->count;
    matches.capacity = asked->count + 1;
    enum mp_error error = MP_OK;
    for (unsigned round = 0; !error && round < ROUNDS && matches.count != before; round++) {
        error = trace_kin_search(log, &matches, most, fault);
        traced = round == 0 ? matches.count : traced;
        if (!error)
            error = plant(tree, log, &matches, asked->count, traced, fault);
        before = matches.count;
        if (!error && round + 1 < ROUNDS && !(error = add_inputs(tree, log, &matches, fault)))
            error = add_outputs(tree, log, &matches, fault);
    }
    tree->more = matches.more || asked->more;
    trace_matches_free(&matches);
    if (!error)
        error = choose(tree, whole) ? fault_memory(fault) : MP_OK;
    if (error)
        trace_tree_free(tree);
    return error;
}

/* ---- times
 * -----------------------------------------------------------------------------------------------------
 */

static void widen(int64_t time, int64_t *from, int64_t *to)
{
    if (time < *from)
        *from = time;
    if (time > *to)
        *to = time;
}

void trace_tree_span(const struct trace_tree *tree, const struct trace_log *log, int64_t *from, int64_t *to)
{
    *from = INT64_MAX;
    *to = 0;
    for (size_t i = 0; i < tree->count; i++) {
        const struct trace_node *node = &tree->nodes[i];
        if (node->match.scheduled) {
            widen(node->match.due, from, to);
            continue;
        }
        widen(node->match.due ? node->match.due : node->match.time, from, to);
        for (size_t at = 0; at < node->history.count; at++) {
            const struct trace_passage *passage = &node->history.passages[at];
            if (!passage->skipped && passage->state != STATE_FOREIGN)
                widen(trace_is_settled(passage) && passage->known ? passage->since : trace_log_now(log), from, to);
        }
    }
    if (*from > *to)
        *from = *to;
}
