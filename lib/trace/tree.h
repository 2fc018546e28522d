/*
 * tree.h: messages and what came of them: what a stage made of a message, its dead letter and the replay of that, the
 * reply to a request, what a command sent while it worked on it.
 *
 * All that stage and command send is in their input's trace, so a trace is what is looked through: once for all that is
 * in it, and again only for causes that are in another one.
 */
#ifndef TRACE_TREE_H
#define TRACE_TREE_H

#include "trace/kin.h"

enum trace_relation {
    TRACE_ROOT = 0, /* nothing is known of what it came of */
    TRACE_EFFECT,   /* its cause is the parent: a stage made it of that */
    TRACE_LETTER,   /* the parent, dead */
    TRACE_REPLAY,   /* the parent again */
    TRACE_REPLY     /* the answer to the parent, a request */
};
const char *trace_relation_name(enum trace_relation relation); /* "effect", "dead letter"… */

struct trace_node {
    struct trace_match match;
    struct trace_history history; /* of one that is scheduled: empty */
    enum trace_relation relation;
    size_t parent; /* an index; SIZE_MAX: none */
    unsigned depth;
    bool asked;  /* it is one of those that were asked for, */
    bool traced; /* or in their traces */
    bool last;   /* of its parent's children */
};

struct trace_tree {
    struct trace_node *nodes; /* parents before children, in the order in which they are shown */
    size_t count;
    bool more; /* messages of the trace were left out: there are too many */
};

/*
 * The trees that the messages of ASKED stand in, MOST messages at most. WHOLE: of their traces all messages, not only
 * those that came of one another with them. Free it with trace_tree_free().
 */
enum mp_error trace_tree_open(struct trace_tree *tree, struct trace_log *log, const struct trace_matches *asked,
                              bool whole, size_t most, struct fault *fault);
void trace_tree_free(struct trace_tree *tree);

/*
 * What the node AT was made of, if it names no cause: the nodes that were settled with its publication, MOST of them at
 * most in INPUTS. Its parent is one of them. How many there are.
 */
size_t trace_tree_made_of(const struct trace_tree *tree, size_t at, size_t *inputs, size_t most);

/* When the first thing happened to its messages, and the last (or now, when something is under way): relay time. */
void trace_tree_span(const struct trace_tree *tree, const struct trace_log *log, int64_t *from, int64_t *to);

#endif
