/*
 * trial.h: one test of a pipeline's file: its messages go in, real stages work on them against a relay, and what comes
 * out is collected. Comparing it is the caller's business.
 *
 * A trial needs a relay of its own, without messages. The test's stage runs alone; without one all stages do. Sources and
 * sinks do not, unless the sink is what is tested. Topics keep what everybody is done with, so that all can be read.
 */
#ifndef RUNNER_TRIAL_H
#define RUNNER_TRIAL_H

#include "message/formats.h"
#include "pipeline/model.h"

#include <spawn.h>

struct event_base;
struct trial;

/* A message that came out. */
struct trial_message {
    struct buffer body;
    struct buffer attributes; /* a canonical block */
    struct format_item item;  /* the same, with what is known of it; its pointers lead into these */
};

struct trial_topic {
    char *name;
    bool letters; /* it takes dead letters */
    struct trial_message *messages;
    size_t count, capacity;
};

struct trial_settings {
    struct event_base *base;
    const char *relay;               /* its URL */
    const struct pipeline *pipeline; /* the caller's */
    size_t test;                     /* which of its tests */
    struct pipeline *taken;          /* the same once more, for the runner: taken, also by a failure, and changed */
    int (*signals)(posix_spawnattr_t *attributes);
    void *context;
    void (*ended)(void *context); /* there is a result; from the loop */
};

/* MP_ERR_INVALID (such as a message that cannot be), MP_ERR_MEMORY, MP_ERR_IO. */
enum mp_error trial_open(const struct trial_settings *settings, struct trial **trial, struct fault *fault);
/* NULL is allowed. */
void trial_free(struct trial *trial);

/* Once it has ended: why it could not be carried out (a time limit, a refusal); NULL: it was. */
const struct fault *trial_fault(const struct trial *trial);
/*
 * And what came out: the topics that the test expects something in, the outputs of its stage, and those for dead letters.
 * They belong to the trial.
 */
const struct trial_topic *trial_topics(const struct trial *trial, size_t *count);

#endif
