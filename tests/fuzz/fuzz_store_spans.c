/* The spans of a store's events, for fuzz_store.c. */
#include "fuzz.h"

#include "trace/spans.h"

void fuzz_store_spans(struct trace_log *log);

static enum mp_error pass(void *context, const struct span *span)
{
    (void)context;
    MUST(span->start <= span->end);
    return MP_OK;
}

static enum mp_error step(void *context, const struct store_event *event)
{
    struct fault fault = {0};
    enum mp_error error = trace_spans_event(context, event, &fault);
    MUST(!error || fault.text[0] != '\0');
    return error;
}

void fuzz_store_spans(struct trace_log *log)
{
    const struct trace_spans_settings how = {.log = log, .span = pass};
    const struct store_event_filter all = {0};
    struct trace_spans *spans;
    MUST(trace_spans_open(&how, &spans, NULL) == MP_OK);
    (void)trace_log_each(log, &all, step, spans, NULL);
    trace_spans_close(spans);
}
