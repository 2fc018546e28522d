#include "trace/tail.h"

void trace_tail_open(struct trace_tail *tail, struct trace_log *log, const struct trace_select *select, uint64_t after)
{
    *tail = (struct trace_tail){.log = log, .select = select, .seen = after, .behind = TRACE_TAIL_BEHIND};
}

/* Passes over what is not there any more, and what is too far behind. */
static void skip(struct trace_tail *tail, uint64_t newest)
{
    uint64_t oldest = trace_log_first(tail->log), from = tail->seen;
    if (oldest > tail->seen + 1)
        from = oldest - 1;
    if (!tail->patient && newest - from > tail->behind)
        from = newest - (tail->behind < TRACE_TAIL_LOOK ? tail->behind : TRACE_TAIL_LOOK);
    tail->gap = from - tail->seen;
    tail->lost += tail->gap;
    tail->seen = from;
}

struct looking {
    struct trace_tail *tail;
    enum mp_error (*each)(void *, const struct store_event *);
    void *context;
};

static enum mp_error give(void *context, const struct store_event *event)
{
    struct looking *looking = context;
    looking->tail->seen = event->id;
    return looking->each(looking->context, event);
}

enum mp_error trace_tail_look(struct trace_tail *tail, struct moment now,
                              enum mp_error (*each)(void *, const struct store_event *), void *context,
                              struct fault *fault)
{
    uint64_t newest;
    tail->gap = 0;
    tail->more = false;
    enum mp_error error = store_last_event(trace_log_store(tail->log), &newest, fault);
    if (error || newest <= tail->seen)
        return error;
    if ((error = trace_log_refresh(tail->log, now, fault)))
        return error;
    newest = trace_log_last(tail->log);
    skip(tail, newest);
    uint64_t end = newest - tail->seen > TRACE_TAIL_LOOK ? tail->seen + TRACE_TAIL_LOOK : newest;
    struct looking looking = {tail, each, context};
    struct store_event_filter filter = trace_select_filter(tail->select, 0);
    filter.after = tail->seen;
    filter.below = end + 1;
    error = trace_log_each(tail->log, &filter, give, &looking, fault);
    if (!error)
        tail->seen = end;
    tail->more = !error && end < newest;
    return error;
}
