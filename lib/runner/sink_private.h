/*
 * sink_private.h: what the kinds of sinks are to sink.c. Both keep the tasks that were added, in order, in a queue.
 */
#ifndef RUNNER_SINK_PRIVATE_H
#define RUNNER_SINK_PRIVATE_H

#include "runner/sink.h"
#include "stage/task_queue.h"

struct sink_kind {
    enum mp_error (*open)(struct sink *sink, const struct sink_settings *settings, void **state, struct fault *fault);
    uint32_t (*room)(const void *state);
    void (*add)(void *state, struct stage_task *task);
    void (*stop)(void *state);
    void (*end)(void *state);
    bool (*idle)(const void *state);
    void (*free)(void *state);
};

extern const struct sink_kind sink_kind_file;
extern const struct sink_kind sink_kind_socket;

/* From the loop: TASK goes back. WORDS: why it failed; NULL: nothing to say. */
void sink_finish(struct sink *sink, struct stage_task *task, enum stage_end end, const char *words);
/* It cannot go on, in words, or it can again (NULL); told when it changes. */
void sink_pause(struct sink *sink, const char *words);
/* A warning into the log under the sink's name, at most one a second. */
void sink_warn(struct sink *sink, const char *event, const char *why);

#endif
