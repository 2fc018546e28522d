/* What sinks have in common. */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "runner/sink_private.h"

#include <string.h>

struct sink {
    struct sink_settings settings;
    const struct sink_kind *kind;
    void *state;
    char why[FAULT_TEXT]; /* "": it goes on */
    struct log_limit limit;
};

void sink_finish(struct sink *sink, struct stage_task *task, enum stage_end end, const char *words)
{
    const struct stage_outcome outcome = {
        .end = end,
        .result = {.code = -1, .ended_early = end == STAGE_FAILED && !words},
        .note = words,
        .note_size = words ? strlen(words) : 0,
    };
    sink->settings.finished(sink->settings.context, task, &outcome);
}

void sink_pause(struct sink *sink, const char *words)
{
    if (strcmp(words ? words : "", sink->why) == 0)
        return;
    strncpy(sink->why, words ? words : "", sizeof(sink->why) - 1);
    if (sink->settings.paused)
        sink->settings.paused(sink->settings.context, words);
}

void sink_warn(struct sink *sink, const char *event, const char *why)
{
    struct log_line line;
    if (log_limited(&sink->limit, clock_monotonic()))
        return;
    log_begin(&line, LOG_WARNING, event);
    log_field(&line, "sink", "%s", sink->settings.stage->name);
    log_field(&line, "why", "%s", why);
    log_field_suppressed(&line, &sink->limit);
    log_end(&line);
}

enum mp_error sink_open(const struct sink_settings *settings, struct sink **result, struct fault *fault)
{
    struct sink *sink = memory_allocate(sizeof(*sink));
    if (!sink)
        return fault_memory(fault);
    sink->settings = *settings;
    sink->kind = settings->stage->end == PIPELINE_TO_FILE ? &sink_kind_file : &sink_kind_socket;
    enum mp_error error = sink->kind->open(sink, &sink->settings, &sink->state, fault);
    if (error) {
        sink_free(sink);
        return error;
    }
    *result = sink;
    return MP_OK;
}

void sink_free(struct sink *sink)
{
    if (!sink)
        return;
    if (sink->state)
        sink->kind->free(sink->state);
    memory_release(sink);
}

uint32_t sink_room(const struct sink *sink)
{
    return sink->kind->room(sink->state);
}

void sink_add(struct sink *sink, struct stage_task *task)
{
    sink->kind->add(sink->state, task);
}

void sink_stop(struct sink *sink)
{
    sink->kind->stop(sink->state);
}

void sink_end(struct sink *sink)
{
    sink->kind->end(sink->state);
}

bool sink_idle(const struct sink *sink)
{
    return sink->kind->idle(sink->state);
}
