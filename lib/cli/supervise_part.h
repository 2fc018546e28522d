/*
 * supervise_part.h: the two parts of a pipeline that runs, its relay and its runner: how each is started, and that one
 * which died is started again, later each time.
 */
#ifndef CLI_SUPERVISE_PART_H
#define CLI_SUPERVISE_PART_H

#include "base/path.h"
#include "cli/child.h"
#include "cli/supervise.h"
#include "message/names.h"
#include "pipeline/pipeline.h"

struct event;

/* What both are started with. */
struct part_origin {
    struct event_base *base;
    const struct supervise_settings *settings;
    struct pipeline *pipeline;     /* it comes and goes: the last that was good */
    const char *program;           /* argv[0] */
    char name[NAME_MAX_BYTES + 1]; /* the relay's; it stays */
    char file[PATH_BYTES];         /* the pipeline's, from the root */
    char state[PATH_BYTES];        /* the folder for what sources remember, beside the store */
};

struct part {
    const char *name; /* "relay" */
    const struct part_origin *origin;
    bool (*start)(struct part *part); /* part_start_relay() or part_start_runner() */
    void *context;
    void (*is_ready)(void *context, const struct fault *fault); /* the relay's; as in struct child_settings */
    void (*line)(void *context, const char *line);
    void (*ended)(void *context, int status); /* part_ended() first */
    struct child *child;                      /* NULL: it does not run */
    bool ready;                               /* its owner's note; false when it ends */
    int64_t started;
    uint32_t deaths; /* in a row */
    struct event *again;
};

/* Once, when its members up to `ended` are set. MP_ERR_MEMORY. */
enum mp_error part_open(struct part *part, struct fault *fault);
void part_close(struct part *part);

/* Starts it; when it cannot be started, that is logged, and tried again. */
void part_start(struct part *part);
bool part_start_relay(struct part *part);
bool part_start_runner(struct part *part);

/* Whether its process is there. */
bool part_lives(const struct part *part);
/* Sends it a line, or a signal, if it lives. */
void part_send(struct part *part, const char *line);
void part_signal(struct part *part, int number);

/* It has ended: forgets the child. */
void part_ended(struct part *part);
/* It should not have: logs how, by STATUS of waitpid(2), and starts it again in a while. */
void part_revive(struct part *part, int status);
/* It is not started again any more. */
void part_give_up(struct part *part);

#endif
