#include "trace/tree.h"

#include "base/memory.h"
#include "message/trace.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 6, WANTED = 96, COMPANIONS = 64 };

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

/* ---- what belongs together
 * -------------------------------------------------------------------------------------
 */

struct gathering {
    struct trace_log *log;
    struct trace_wanted wanted[WANTED];
    size_t wanted_count;
    size_t searched; /* of these, before this round */
};

static void want(struct gathering *gathering, enum lineage_column column, const struct lineage_value *value)
{
    if (value->kind == LINEAGE_NONE || gathering->wanted_count == WANTED)
        return;
    for (size_t i = 0; i < gathering->wanted_count; i++)
        if (gathering->wanted[i].column == column && trace_value_is(&gathering->wanted[i].from, value))
            return;
    gathering->wanted[gathering->wanted_count++] = trace_wanted_value(column, value);
}

static bool is_searched(const struct gathering *gathering, enum lineage_column column,
                        const struct lineage_value *value)
{
    for (size_t i = 0; i < gathering->searched; i++)
        if (gathering->wanted[i].column == column && trace_value_is(&gathering->wanted[i].from, value))
            return true;
    return false;
}

/* What belongs to MATCH: its trace; what names it as its cause or its request; its own cause and request. */
static void want_around(struct gathering *gathering, const struct trace_match *match, bool asked)
{
    bool is_new = !is_searched(gathering, LINEAGE_TRACE, &match->trace);
    want(gathering, LINEAGE_TRACE, &match->trace);
    if (is_new || asked) {
        want(gathering, LINEAGE_CAUSE, &match->id);
        want(gathering, LINEAGE_CORRELATION, &match->id);
        want(gathering, LINEAGE_ID, &match->cause);
        want(gathering, LINEAGE_ID, &match->correlation);
    }
}

/* Where what belongs to the message begins: with itself, when its own client began its trace with it. */
static uint64_t begins(const struct trace_match *match)
{
    bool is_first = trace_value_is(&match->trace, &match->origin) && match->cause.kind == LINEAGE_NONE &&
                    match->correlation.kind == LINEAGE_NONE && match->origin.high == match->session;
    return is_first && match->event > 0 ? match->event - 1 : 0;
}

static enum mp_error gather(struct trace_log *log, struct trace_matches *matches, size_t most, struct fault *fault)
{
    struct gathering gathering = {.log = log};
    size_t asked = matches->count, done = 0;
    uint64_t after = asked ? UINT64_MAX : 0;
    for (size_t i = 0; i < asked; i++)
        after = begins(&matches->items[i]) < after ? begins(&matches->items[i]) : after;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (; done < matches->count; done++)
            want_around(&gathering, &matches->items[done], done < asked);
        if (gathering.wanted_count == gathering.searched)
            return MP_OK;
        const struct trace_search search = {.wanted = gathering.wanted + gathering.searched,
                                            .wanted_count = gathering.wanted_count - gathering.searched,
                                            .after = round > 0 ? 0 : after,
                                            .log_only = round > 0,
                                            .most = most};
        enum mp_error error = trace_search(log, &search, matches, fault);
        if (error)
            return error;
        gathering.searched = gathering.wanted_count;
    }
    return MP_OK;
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

/* Whether NODE was published together with a settlement of OTHER. */
static bool is_settled_with(const struct trace_node *node, const struct trace_node *other)
{
    if (node->match.session == 0)
        return false;
    for (size_t i = 0; i < other->history.count; i++) {
        const struct trace_passage *passage = &other->history.passages[i];
        for (size_t at = 0; at < passage->attempts_count; at++) {
            const struct trace_attempt *attempt = &passage->attempts[at];
            if (attempt->ended && attempt->session == node->match.session && attempt->request == node->match.request)
                return true;
        }
    }
    return false;
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
            if (trace_span(match->origin.high, match->origin.low, &place) == node->match.parent.low)
                return true;
        }
    }
    return false;
}

/* How the message at AT can have come of the one at OTHER, which was before it. */
static enum trace_relation relate(const struct trace_log *log, const struct trace_node *node,
                                  const struct trace_node *other)
{
    const struct trace_topic *topic = trace_log_topic(log, node->match.topic);
    if (trace_value_is(&node->match.origin, &other->match.origin)) {
        const struct trace_topic *before = trace_log_topic(log, other->match.topic);
        if (topic && topic->letters)
            return TRACE_LETTER;
        return before && before->letters ? TRACE_REPLAY : TRACE_EFFECT; /* a stage can hand it on as it is */
    }
    if (trace_value_is(&node->match.cause, &other->match.id))
        return TRACE_EFFECT;
    if (is_settled_with(node, other) || is_parent(log, node, other))
        return TRACE_EFFECT;
    if (trace_value_is(&node->match.correlation, &other->match.id) ||
        trace_value_is(&node->match.correlation, &other->match.correlation))
        return TRACE_REPLY;
    return TRACE_ROOT;
}

/*
 * How near OTHER is: the same message elsewhere is nearest, then a cause, then a request; of two the one that was settled
 * together with the publication of NODE, then the later one.
 */
static unsigned rank(enum trace_relation relation, const struct trace_node *node, const struct trace_node *other)
{
    unsigned nearness = relation == TRACE_REPLY ? 1 : 3;
    if (trace_value_is(&node->match.origin, &other->match.origin))
        nearness = 5;
    return nearness + is_settled_with(node, other);
}

static void find_parent(struct trace_tree *tree, const struct trace_log *log, size_t at)
{
    struct trace_node *node = &tree->nodes[at];
    unsigned best = 0;
    node->parent = SIZE_MAX;
    for (size_t i = at; i-- > 0;) {
        enum trace_relation relation = relate(log, node, &tree->nodes[i]);
        unsigned nearness = relation == TRACE_ROOT ? 0 : rank(relation, node, &tree->nodes[i]);
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

static enum mp_error choose(struct trace_tree *tree, bool whole)
{
    bool *roots = memory_allocate_array(tree->count + 1, sizeof *roots);
    if (!roots)
        return MP_ERR_MEMORY;
    for (size_t i = 0; i < tree->count; i++)
        if (whole || tree->nodes[i].asked)
            roots[root_of(tree, i)] = true;
    enum mp_error error = arrange(tree, roots);
    memory_release(roots);
    return error;
}

static enum mp_error make_nodes(struct trace_tree *tree, struct trace_log *log, const struct trace_matches *matches,
                                size_t asked, struct fault *fault)
{
    struct trace_history **histories = memory_allocate_array(matches->count + 1, sizeof *histories);
    tree->nodes = memory_allocate_array(matches->count + 1, sizeof *tree->nodes);
    size_t count = 0;
    enum mp_error error = histories && tree->nodes ? MP_OK : fault_memory(fault);
    for (size_t i = 0; !error && i < matches->count; i++) {
        struct trace_node *node = &tree->nodes[tree->count++];
        node->match = node->history.match = matches->items[i];
        node->asked = i < asked;
        if (!node->match.scheduled)
            histories[count++] = &node->history;
    }
    if (!error)
        error = trace_history_follow(histories, count, log, fault);
    memory_release(histories);
    return error;
}

/* What was published together with a settlement: found among the events of its moment. */
struct companion {
    struct trace_matches *matches;
    uint64_t request;
};

static enum mp_error take_companion(void *context, const struct store_event *event)
{
    struct companion *companion = context;
    struct trace_match match;
    for (uint32_t i = 0; event->request == companion->request && i < event->count && i < COMPANIONS; i++) {
        if (trace_match_read(event, event->first + i, &match))
            return MP_OK;
        enum mp_error error = trace_matches_add(companion->matches, &match);
        if (error)
            return error;
    }
    return MP_OK;
}

static bool has_companion(const struct trace_tree *tree, const struct trace_attempt *attempt)
{
    for (size_t i = 0; i < tree->count; i++)
        if (tree->nodes[i].match.session == attempt->session && tree->nodes[i].match.request == attempt->request)
            return true;
    return false;
}

static enum mp_error find_companions(const struct trace_tree *tree, struct trace_log *log,
                                     const struct trace_attempt *attempt, struct trace_matches *matches,
                                     struct fault *fault)
{
    struct companion companion = {matches, attempt->request};
    struct store_event_filter filter = {.kinds = 1u << EVENT_PUBLISHED, .session = attempt->session};
    if (attempt->outcome != EVENT_ACKED || attempt->request == 0 || has_companion(tree, attempt))
        return MP_OK;
    enum mp_error error = trace_log_at(log, attempt->ended, &filter.after, fault);
    if (!error)
        error = trace_log_at(log, attempt->ended + 1, &filter.below, fault);
    if (error)
        return error;
    filter.after = filter.after > 0 ? filter.after - 1 : 0;
    return trace_log_each(log, &filter, take_companion, &companion, fault);
}

/*
 * An aggregate names no cause and begins a trace: what it makes of messages is known by their being settled with it.
 * Adds such publications to MATCHES.
 */
static enum mp_error gather_companions(const struct trace_tree *tree, struct trace_log *log,
                                       struct trace_matches *matches, struct fault *fault)
{
    unsigned looked = 0;
    enum mp_error error = MP_OK;
    for (size_t i = 0; i < tree->count; i++)
        for (size_t at = 0; at < tree->nodes[i].history.count; at++) {
            const struct trace_passage *passage = &tree->nodes[i].history.passages[at];
            for (size_t each = 0; !error && each < passage->attempts_count && looked < COMPANIONS; each++, looked++)
                error = find_companions(tree, log, &passage->attempts[each], matches, fault);
        }
    return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
}

enum mp_error trace_tree_open(struct trace_tree *tree, struct trace_log *log, const struct trace_matches *asked,
                              bool whole, size_t most, struct fault *fault)
{
    struct trace_matches matches = {0};
    *tree = (struct trace_tree){0};
    if (!(matches.items = memory_allocate_array(asked->count + 1, sizeof *matches.items)))
        return fault_memory(fault);
    memcpy(matches.items, asked->items, asked->count * sizeof *matches.items);
    matches.count = asked->count;
    matches.capacity = asked->count + 1;
    enum mp_error error = MP_OK;
    for (unsigned round = 0; !error && round < ROUNDS; round++) {
        trace_tree_free(tree);
        if (!(error = gather(log, &matches, most, fault)))
            error = make_nodes(tree, log, &matches, asked->count, fault);
        size_t before = matches.count;
        if (!error)
            error = gather_companions(tree, log, &matches, fault);
        if (matches.count == before)
            break;
    }
    tree->more = matches.more || asked->more;
    trace_matches_free(&matches);
    if (!error) {
        qsort(tree->nodes, tree->count, sizeof *tree->nodes, compare);
        for (size_t i = 0; i < tree->count; i++)
            find_parent(tree, log, i);
        error = choose(tree, whole) ? fault_memory(fault) : MP_OK;
    }
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
