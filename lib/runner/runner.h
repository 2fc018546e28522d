/*
 * runner.h: runs a pipeline's stages, sources and sinks against a relay: a client like any other, in one event loop.
 *
 * A stage's outputs and the settlement of its inputs are one transaction of the relay, so a message is in the next topic
 * exactly once, whatever is killed. Sinks and sources reach outside, where nothing can promise that: at least once.
 */
#ifndef RUNNER_RUNNER_H
#define RUNNER_RUNNER_H

#include "base/fault.h"
#include "pipeline/model.h"

struct event_base;
struct runner;

struct runner_settings {
    struct event_base *base;
    const char *relay; /* its name or address, as -r takes it; NULL: the default one */
    const char *state; /* a directory for what sources remember (how far a file was read); NULL: nothing */
    const char *only;  /* this stage or sink alone, without sources; NULL: all */
    bool no_sources;
    bool no_sinks;
    int64_t patience; /* microseconds that what runs is given when the runner ends it at a reload or drain; 0: 30 s */
    int (*signals)(posix_spawnattr_t *attributes); /* as in stage_command_settings */
    void *context;
    /* runner_state() or runner_dead() has changed, or runner_failure() is set. From the loop; may be NULL. */
    void (*changed)(void *context);
    /* How runner_reload() ended: FAULT NULL: it runs the new pipeline; else it goes on with the old one. May be NULL. */
    void (*reloaded)(void *context, const struct fault *fault);
};

enum runner_state {
    RUNNER_STARTING, /* until the relay has greeted and its topics are set up */
    RUNNER_RUNNING,
    RUNNER_DRAINED, /* all sources have ended, and nothing waits for any stage or sink; may become RUNNING again */
    RUNNER_STOPPED  /* after runner_stop() or runner_drain() */
};

/* A success takes PIPELINE, and frees it when nothing runs by it any more. MP_ERR_INVALID, MP_ERR_MEMORY, MP_ERR_IO. */
enum mp_error runner_open(const struct runner_settings *settings, struct pipeline *pipeline, struct runner **runner,
                          struct fault *fault);
/* At once: what is leased and not settled is handed out again by the relay. NULL is allowed. */
void runner_free(struct runner *runner);

enum runner_state runner_state(const struct runner *runner);
/* Why it cannot go on (the relay refuses it, a stage or source cannot be opened); NULL: it can. */
const struct fault *runner_failure(const struct runner *runner);

/*
 * Goes on with PIPELINE, which a success takes: what has the same text there keeps running, the rest comes to its end,
 * and new things begin. First the relay is asked to set up topics and groups; reloaded() tells how it ended. MP_ERR_BUSY:
 * a reload is under way, or the runner is stopping. MP_ERR_MEMORY.
 */
enum mp_error runner_reload(struct runner *runner, struct pipeline *pipeline, struct fault *fault);

/* Begins no new message, lets what runs come to its end for at most PATIENCE microseconds, leaves the relay. */
void runner_stop(struct runner *runner, int64_t patience);
/* Ends the sources, works until nothing waits, then stops. */
void runner_drain(struct runner *runner);

/* Messages that died in its stages and sinks since it began, or that its sources could not send. */
uint64_t runner_dead(const struct runner *runner);
/* Sources that have ended without having done what they should, such as a file that is not there. */
unsigned runner_failed_sources(const struct runner *runner);

#endif
