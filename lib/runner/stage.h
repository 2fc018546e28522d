/*
 * stage.h: one stage or sink of a pipeline at work: its feeds, its steps, its command or sink, where its outputs go.
 *
 * A stage whose command cannot be started, or whose circuit breaker is open without a fallback, fetches nothing, gives
 * back what it has, and says why. A stage with a full output begins nothing new, and says so.
 */
#ifndef RUNNER_STAGE_H
#define RUNNER_STAGE_H

#include "base/fault.h"
#include "pipeline/model.h"
#include "runner/staging.h"

#include <jansson.h>

struct event_base;
struct runner_stage;
struct stage_children;

struct runner_stage_settings {
    struct event_base *base;
    struct stage_children *children;
    const char *url;                    /* of the relay; stays */
    const struct pipeline *pipeline;    /* stays as long as the stage, with its model */
    const struct pipeline_stage *model; /* what it does */
    struct staging *staging;            /* scratch that all stages share */
    int (*signals)(posix_spawnattr_t *attributes);
    void *context;
    /* Something of its report has changed, or it has stopped, or failed. From the loop, never out of a function here. */
    void (*changed)(void *context);
};

/* MP_ERR_INVALID, MP_ERR_BUSY (a sink's address is in use), MP_ERR_IO, MP_ERR_MEMORY. */
enum mp_error runner_stage_open(const struct runner_stage_settings *settings, struct runner_stage **stage,
                                struct fault *fault);
/* At once. NULL is allowed. */
void runner_stage_free(struct runner_stage *stage);

/*
 * Begins nothing more, and gives back what it has not begun. What runs comes to its end, or is ended at DEADLINE, in
 * monotonic microseconds; then it leaves the relay. An earlier deadline replaces the one before.
 */
void runner_stage_stop(struct runner_stage *stage, int64_t deadline);
bool runner_stage_has_stopped(const struct runner_stage *stage);

/* Messages that wait in its windows. */
uint64_t runner_stage_windowed(const struct runner_stage *stage);
/* Ends its windows. */
void runner_stage_end_windows(struct runner_stage *stage);
/* Whether nothing of it is in hand. */
bool runner_stage_is_idle(const struct runner_stage *stage);

/* Why it cannot go on at all: the relay refuses it; NULL: it can. */
const struct fault *runner_stage_failure(const struct runner_stage *stage);
/* Messages that died in it. */
uint64_t runner_stage_dead(const struct runner_stage *stage);
/* Grows with everything that its report says. */
uint64_t runner_stage_changes(const struct runner_stage *stage);

/* What there is to say of it, for the runner's report. NULL: no memory. */
json_t *runner_stage_describe(const struct runner_stage *stage);

#endif
