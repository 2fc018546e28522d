#include "trace/bisect.h"

/* Ends a walk: there is an answer. */
#define ANSWERED MP_ERR_INTERRUPTED

struct probe {
    trace_reached *reached;
    const void *context;
    uint64_t id; /* of the event that answered */
    int answer;
};

static enum mp_error ask(void *context, const struct store_event *event)
{
    struct probe *probe = context;
    probe->answer = probe->reached(probe->context, event);
    probe->id = event->id;
    return probe->answer < 0 ? MP_OK : ANSWERED;
}

enum mp_error trace_bisect(struct trace_log *log, const struct store_event_filter *filter, trace_reached *reached,
                           const void *context, uint64_t *id, struct fault *fault)
{
    uint64_t low = filter->after + 1 > trace_log_first(log) ? filter->after + 1 : trace_log_first(log);
    uint64_t high = filter->below && filter->below <= trace_log_last(log) ? filter->below : trace_log_last(log) + 1;
    bool found = false;
    while (low < high) {
        struct probe probe = {.reached = reached, .context = context};
        struct store_event_filter half = *filter;
        uint64_t middle = low + (high - low) / 2;
        half.after = middle > 0 ? middle - 1 : 0;
        half.below = high;
        half.light = true;
        enum mp_error error = trace_log_each(log, &half, ask, &probe, fault);
        if (error && error != ANSWERED)
            return error;
        if (error && probe.answer == 0) {
            low = probe.id + 1;
            continue;
        }
        if (error) {
            *id = probe.id;
            found = true;
        }
        high = middle;
    }
    return found ? MP_OK : MP_ERR_NOT_FOUND;
}
