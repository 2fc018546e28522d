/* mtrace graph: what flowed where, as it was observed. */
#include "trace/flow.h"

#include "cli/admin_ask.h"
#include "cli/draw.h"
#include "cli/exit.h"
#include "cli/trace_view.h"

#include <stdio.h>

int trace_graph(const struct trace_settings *settings, const struct options *options)
{
    struct trace_view view;
    struct trace_select select = {0};
    struct graph graph = {0};
    struct fault fault = {0};
    (void)options;
    int code = trace_view_open(&view, settings);
    if (!code)
        code = trace_view_select(&view, &select);
    if (!code && (trace_log_hold(view.log, &fault) || trace_flow(view.log, &select, &graph, &fault)))
        code = tell_fault(&fault);
    if (!code)
        trace_log_let_go(view.log); /* who reads slowly holds nothing */
    if (!code && graph.nodes_count == 0)
        tell("nothing happened in that time");
    else if (!code)
        code = draw_graph(&graph, trace_log_path(view.log), settings->format, settings->svg);
    graph_free(&graph);
    trace_select_free(&select);
    trace_view_close(&view);
    return code ? code : admin_finish();
}
