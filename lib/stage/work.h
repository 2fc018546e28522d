/*
 * work.h: a stage's command at work on messages, in one of three modes.
 *
 *   each    a process a message: the body is its stdin, byte by byte (or the message in a format); its exit code settles
 *   stream  a process that lives long: each message is a line in, its answer one line out, in order. A surplus answer, a
 *           partial line, a timeout or an exit gives back everything it had, and it is started anew. With format json a
 *           command that repeats `id` in its answers proves that they belong together; another id is such a failure
 *   batch   a process for a task of many messages: all on its stdin, one exit code for all
 *
 * Work comes as tasks. The owner keeps a task and its messages until finished() gives it back. What becomes of messages
 * (settlements, retries) is the owner's business. All callbacks come from the event loop, never out of a function here.
 */
#ifndef STAGE_WORK_H
#define STAGE_WORK_H

#include "message/formats.h"
#include "stage/command.h"

enum stage_mode { STAGE_EACH, STAGE_STREAM, STAGE_BATCH };

/* Messages that succeed or fail together. */
struct stage_task {
    struct stage_task *next;         /* whoever has it may use it */
    const struct format_item *items; /* their bytes stay until finished() */
    uint32_t count;                  /* 1 in the modes each and stream */
    unsigned worker;                 /* which one has it; the work's */
};

enum stage_end {
    STAGE_SUCCEEDED, /* exit code 0, or an answer */
    STAGE_FAILED,    /* to be tried again */
    STAGE_REJECTED,  /* exit code 65: hopeless */
    STAGE_MALFORMED, /* a body holds the separator of the format, or an output is not in it: hopeless */
    STAGE_NOT_BEGUN  /* it was never begun, or its command cannot be started: no attempt is charged */
};

struct stage_outcome {
    enum stage_end end;
    struct stage_result result; /* code -1: no process ended */
    const uint8_t *output;      /* SUCCEEDED: all that was printed; of a stream the answer without its separator */
    size_t output_size;
    const char *note; /* the tail of stderr, or words; not terminated */
    size_t note_size;
};

struct stage_work;

struct stage_work_settings {
    struct event_base *base;
    struct stage_children *children;
    char *const *argv;                             /* one of these; ends with NULL */
    const char *shell;                             /* for /bin/sh -c */
    const char *directory;                         /* where commands run; NULL: here */
    char *const *environment;                      /* what is added to this program's; ends with NULL; NULL: nothing */
    int (*signals)(posix_spawnattr_t *attributes); /* as in stage_command_settings */
    enum stage_mode mode;
    enum format format;  /* what commands read and print. EACH with lines: the body as it is */
    unsigned workers;    /* processes at once at most */
    uint32_t window;     /* STREAM: messages that one process may have; 0: 1024 */
    int64_t timeout;     /* microseconds of one run, of a stream's oldest answer; 0: none */
    int64_t grace;       /* from TERM to KILL; 0: STAGE_GRACE */
    size_t output_limit; /* bytes of one output; more is a failure that says so; 0: 64 MiB */
    void *context;
    void (*finished)(void *context, struct stage_task *task, const struct stage_outcome *outcome);
    /* What a command wrote to stderr, a line without its newline at a time, long ones in pieces. May be NULL. */
    void (*said)(void *context, const char *line, size_t size);
    /*
     * The command cannot be started: EXIT and FAULT as stage_command_start() sets them. The work waits (100 ms, doubled
     * up to 30 s) and tries again; tasks come back as NOT_BEGUN. EXIT 0: it could be started again. May be NULL.
     */
    void (*paused)(void *context, int exit, const struct fault *fault);
};

/* The settings are copied, but for what they point to. MP_ERR_MEMORY. */
enum mp_error stage_work_open(const struct stage_work_settings *settings, struct stage_work **work,
                              struct fault *fault);
/* Kills what still runs; tasks are not given back. NULL is allowed. */
void stage_work_free(struct stage_work *work);

/* How many more tasks it takes now: about twice what its workers can begin at once. 0 also while it is paused. */
uint32_t stage_work_room(const struct stage_work *work);
/* Takes TASK; there must be room. */
void stage_work_add(struct stage_work *work, struct stage_task *task);

/* Nothing more is begun: tasks that wait come back as NOT_BEGUN; streams get no more input, and end at its end. */
void stage_work_stop(struct stage_work *work);
/* What runs is ended: TERM, then KILL after the grace. Its tasks come back as FAILED with `ended_early`. */
void stage_work_end(struct stage_work *work);
/* Whether it has no task and no process (after stop: also no stream any more). */
bool stage_work_idle(const struct stage_work *work);
/* How many processes run. */
unsigned stage_work_running(const struct stage_work *work);

#endif
