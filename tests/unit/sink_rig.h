/*
 * sink_rig.h: a sink at work on messages of a test, in a loop.
 */
#ifndef TESTS_SINK_RIG_H
#define TESTS_SINK_RIG_H

#include "base/buffer.h"
#include "runner/sink.h"

#include <event2/event.h>

enum { SINK_RIG_TASKS = 1024 };

struct sink_rig {
    struct event_base *base;
    struct pipeline_stage stage;
    struct sink *sink;
    struct stage_task tasks[SINK_RIG_TASKS];
    struct format_item items[SINK_RIG_TASKS];
    char texts[SINK_RIG_TASKS][64];
    size_t count;
    size_t ended[STAGE_NOT_BEGUN + 1]; /* tasks that came back, by their ends */
    struct buffer order;               /* their bodies, each with a newline, as they came back */
    char note[256];                    /* of the last failure */
    char paused[512];                  /* "": it is not */
};

/* A zeroed rig, whose `stage` is then set and sink_rig_open() called. */
void sink_rig_new(struct sink_rig *rig);
void sink_rig_open(struct sink_rig *rig);
/* Frees the sink, if there is one. */
void sink_rig_close(struct sink_rig *rig);
void sink_rig_free(struct sink_rig *rig);

/* Adds a message of this body, of up to 63 bytes. */
void sink_rig_add(struct sink_rig *rig, const char *body);

/* Runs the loop until CONDITION, 20 s at most. */
#define sink_rig_until(rig, condition)                                                                                 \
    do {                                                                                                               \
        int64_t sink_rig_limit = sink_rig_patience();                                                                  \
        while (!(condition))                                                                                           \
            sink_rig_turn(rig, sink_rig_limit, #condition);                                                            \
    } while (0)
int64_t sink_rig_patience(void);
void sink_rig_turn(struct sink_rig *rig, int64_t limit, const char *condition);

#endif
