/*
 * flow.h: what flowed where in a time, as it was observed: who published, into which topics, which groups took it, and
 * what they published in turn, with rates, failures and how long it took.
 */
#ifndef TRACE_FLOW_H
#define TRACE_FLOW_H

#include "pipeline/graph.h"
#include "trace/log.h"
#include "trace/select.h"

/*
 * Draws into GRAPH, which must be empty, what LOG has of the topics, groups and times of SELECT. Clients are joined by the
 * first word of what they call themselves. A group that published in its settlements is a stage.
 */
enum mp_error trace_flow(struct trace_log *log, const struct trace_select *select, struct graph *graph,
                         struct fault *fault);

#endif
