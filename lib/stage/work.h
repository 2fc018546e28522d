/*
 * work.h: a stage's command at work on messages, in one of three modes.
 *
 *   each    a process a message: the body is its stdin, byte by byte (or the message in a format); its exit code settles
 *   stream  a process that lives long: each message is a line in, its answer one line out, in order; an empty line:
 *           nothing to emit. Matching is by count. With format json a command that repeats `id` in its answers proves
 *           that they belong together; another id is a failure as below
 *   batch   a process for a task of many messages: all on its stdin, one exit code for all
 *
 * A stream's process is at fault when it ends, prints a surplus answer or a part of one, prints none within the timeout,
 * or another's id. It is ended then, and started anew, with a growing delay when it answers nothing time and again. Of
 * what it had, messages that it had not been given yet just wait on; the others are given to the next process one by
 * one, so that at its next death one message stands alone: that one is charged, its neighbours are not. To be charged
 * without having stood alone takes being the only one. A process that ends with code 0 after it has answered something
 * leaves by right: what it had goes to the next one as if nothing had been.
 *
 * Since counting cannot tell an answer from a surplus one as long as messages are under way, a new process gets one
 * message, whose answer counts when nothing follows it for some milliseconds, then two, four, and so on up to what it
 * answers within 50 ms; and about once a second a busy stream is let run empty (not with format json).
 *
 * Work comes as tasks. The owner keeps a task and its messages until finished() gives it back. What becomes of messages
 * (settlements, retries) is the owner's business. All callbacks come from the event loop, never out of a function here;
 * out of them every function here may be called but stage_work_free().
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
    STAGE_MALFORMED, /* a body holds the separator of the format, or an answer is not in it: hopeless */
    STAGE_NOT_BEGUN  /* it was never begun, cannot have been at fault, or its command cannot be started: not charged */
};

struct stage_outcome {
    enum stage_end end;
    /* Code -1: no process ended; of an answer `duration` is how long it took, other messages before it included. */
    struct stage_result result;
    const uint8_t *output; /* SUCCEEDED: all that was printed; of a stream the answer without its separator */
    size_t output_size;
    struct buffer
        *whole;       /* what holds the output: to keep it, take the bytes out (blob_of_buffer); NULL: of a stream */
    const char *note; /* words and the tail of stderr, STAGE_TAIL bytes at most; not terminated */
    size_t note_size;
    /*
     * A batch: ascending numbers of items that the command was not given, since a body holds the separator of the
     * format. They are hopeless whatever END, which holds for the others; with MALFORMED there are no others.
     */
    const uint32_t *malformed;
    size_t malformed_count;
};

struct stage_work;

enum {
    STAGE_WINDOW = 1024,                  /* messages that one process of a stream may have */
    STAGE_WINDOW_BYTES = 1024 * 1024,     /* and their bytes, where it is more than one */
    STAGE_OUTPUT_LIMIT = 64 * 1024 * 1024 /* bytes of one output */
};

struct stage_work_settings {
    struct event_base *base;
    struct stage_children *children;
    char *const *argv;                             /* one of these; ends with NULL */
    const char *shell;                             /* for /bin/sh -c */
    const char *directory;                         /* where commands run; NULL: here */
    char *const *environment;                      /* what is added to this program's; ends with NULL; NULL: nothing */
    int (*signals)(posix_spawnattr_t *attributes); /* as in stage_command_settings */
    enum stage_mode mode;
    enum format format;  /* what commands read and print. EACH with lines: the body as it is. STREAM: not whole */
    unsigned workers;    /* processes at once at most; 0: 1 */
    uint32_t window;     /* STREAM: messages that one process may have; 0: STAGE_WINDOW */
    int64_t timeout;     /* microseconds of one run, of a stream's oldest answer; 0: none */
    int64_t grace;       /* from TERM to KILL; 0: STAGE_GRACE */
    size_t output_limit; /* bytes of one output; more is a failure that says so; 0: STAGE_OUTPUT_LIMIT */
    void *context;
    void (*finished)(void *context, struct stage_task *task, const struct stage_outcome *outcome);
    /* What a command wrote to stderr, a line without its newline at a time, long ones in pieces. May be NULL. */
    void (*said)(void *context, const char *line, size_t size);
    /*
     * The command cannot be started (with `shell`: it ends with 126 or 127): EXIT and FAULT as stage_command_start()
     * sets them. Tasks come back as NOT_BEGUN, there is no room for a while (100 ms, doubled up to 30 s), and ready()
     * says when it can be tried again. EXIT 0: it could be started again. May be NULL.
     */
    void (*paused)(void *context, int exit, const struct fault *fault);
    /*
     * Whether TASK, which no process has had, may be begun NOW (monotonic): it may have waited for too long. If not it
     * comes back as NOT_BEGUN. NULL: always.
     */
    bool (*may_begin)(void *context, const struct stage_task *task, int64_t now);
    /* There is room again after a pause. May be NULL. */
    void (*ready)(void *context);
    /*
     * STREAM, in words for the user: a process was at fault, or died, and no message is charged for it; or it has not
     * answered its first message for 5 seconds. May be NULL.
     */
    void (*broke)(void *context, const struct fault *fault);
};

/* The settings are copied, but for what they point to. MP_ERR_INVALID (STREAM with whole), MP_ERR_MEMORY. */
enum mp_error stage_work_open(const struct stage_work_settings *settings, struct stage_work **work,
                              struct fault *fault);
/* Kills what still runs; tasks are not given back. NULL is allowed. */
void stage_work_free(struct stage_work *work);

/*
 * How many more tasks it takes now: about twice what its workers can begin at once, which for a stream is what it has
 * shown that it can do. 0 also while it is paused.
 */
uint32_t stage_work_room(const struct stage_work *work);
/* Takes TASK; there must be room. */
void stage_work_add(struct stage_work *work, struct stage_task *task);

/* What no process has comes back as NOT_BEGUN: to be worked upon elsewhere, or not now. */
void stage_work_return(struct stage_work *work);
/* Nothing more is begun: stage_work_return(); streams get no more input, and end at its end. */
void stage_work_stop(struct stage_work *work);
/*
 * What runs is ended: TERM, then KILL after the grace. What it had comes back as FAILED with `ended_early`; of a stream
 * that is the message which is due, the others are NOT_BEGUN.
 */
void stage_work_end(struct stage_work *work);
/* Whether it has no task and no process (a stream's process may wait for the next message, until stop). */
bool stage_work_idle(const struct stage_work *work);
/* How many processes run. */
unsigned stage_work_running(const struct stage_work *work);
/* The process group of worker INDEX, below `workers`; 0: none. */
pid_t stage_work_group(const struct stage_work *work, unsigned index);

#endif
