/*
 * retry_work.h: a command for each message until it succeeds or is hopeless: workers, attempts, waits, output in order.
 * Where messages come from, and where dead ones go, is the source's business. Private to mretry.
 *
 * A job is in `jobs` from when its messages were taken until nothing of it is to be printed before it, then in
 * `printing` until its output is written. So jobs that are done stay behind one that is not, unless `unordered`.
 */
#ifndef CLI_RETRY_WORK_H
#define CLI_RETRY_WORK_H

#include "base/map.h"
#include "cli/loop.h"
#include "cli/output.h"
#include "cli/receive_sink.h"
#include "cli/retry.h"
#include "cli/retry_job.h"
#include "stage/environment.h"

enum {
    RETRY_BATCH_SIZE = 100,           /* messages for one command, unless --batch says otherwise */
    RETRY_JOBS = 4096,                /* messages that are held at once at most */
    RETRY_BYTES = 8 * 1024 * 1024,    /* bytes of their bodies; a larger one is held alone */
    RETRY_RATHER_LATER = 1000 * 1000, /* microseconds until a command is tried that cannot be started now */
};

/* Where messages come from and go to. A function that fails ends the tool with exit_code_of(), or `exit`. */
struct retry_source {
    void *context;
    /*
     * Sets MESSAGE, *BODY and *ATTRIBUTES, good until the next call. MP_ERR_AGAIN: not yet; the loop wakes when there may
     * be one. MP_ERR_CLOSED: no more. Else the input is at its end with that error, *EXIT the code for it.
     */
    enum mp_error (*next)(void *context, struct retry_message *message, const void **body, const void **attributes,
                          int64_t now, int64_t *due, int *exit, struct fault *fault);
    /* Called at the beginning of each step; an error ends the tool. May be NULL. */
    enum mp_error (*check)(void *context, int64_t now, struct fault *fault);
    /* The command did it. May be NULL. */
    enum mp_error (*done)(void *context, const struct retry_message *message, struct fault *fault);
    /* Called after done(), before anything is printed: what it told is to be on the disk. May be NULL. */
    enum mp_error (*flush)(void *context, int64_t now, struct fault *fault);
    /* JOB is hopeless, see its reason: MP_OK when it is dead for good. NULL: the first one ends the tool. */
    enum mp_error (*dead)(void *context, const struct retry_job *job, struct fault *fault);
    const char *to;        /* where dead ones go, as in "message 3: ./a exited with 65: it goes to bad.jsonl" */
    const uint64_t *bytes; /* of input that were taken, for the progress line; NULL: not known */
    const char *relay;     /* for words, when it cannot be reached; NULL: the default one */
    bool resumes;          /* --skip goes on where it ended */
};

struct retry_worker;

struct retry_work {
    struct loop *loop;
    const struct retry_policy *policy;
    struct retry_source source;
    char *const *command; /* NULL: `shell` */
    const char *shell;
    enum retry_mode mode;
    enum format format; /* of a batch */
    uint32_t batch;
    unsigned workers_count;
    bool unordered;
    struct seen *seen; /* what was done, or NULL: nothing is left out */

    struct stage_children *children;
    struct stage_environment environment;
    struct receive_sink sink;
    bool has_sink;
    char *words[4]; /* of `shell` */
    char *const *argv;
    struct retry_worker *workers;
    unsigned running;
    struct retry_budget budget;
    struct retry_list jobs;
    struct retry_list printing;
    struct map under_way; /* id: the job that others of that id wait for */
    struct progress progress;
    uint64_t random;

    bool ended;   /* the input */
    bool stopped; /* nothing more is begun */
    bool interrupted;
    bool pipe;     /* stdout's reader has gone */
    bool mute;     /* stdout cannot be written to: nothing more is printed */
    int64_t later; /* a command could not be started for now: not before this */
    uint64_t came, done, dead, duplicates;
    uint64_t last; /* number of the last message that was taken */
    int exit;      /* the code to end with; -1: not yet known */
};

/* Set everything down to `seen`; the rest is zero. MP_ERR_MEMORY. */
enum mp_error retry_work_open(struct retry_work *work, struct fault *fault);
void retry_work_close(struct retry_work *work);

/* The loop's step: false when all is done, or as much as could be. */
bool retry_work_step(void *context, int64_t now, int64_t *due);

/* Ends it with CODE, having let what runs finish. */
void retry_work_end(struct retry_work *work, int code);
void retry_work_fail(struct retry_work *work, const struct fault *fault);

/* JOB is done or dead: others with its ids need not wait for it any more. */
void retry_work_release(struct retry_work *work, const struct retry_job *job);

/* Tells which messages were not done, when the tool ends early: nothing if all were. */
void retry_work_tell_undone(const struct retry_work *work, const char *why);

/* ---- retry_attempt.c ---- */

/* Takes what has ended off its workers. */
void retry_work_reap(struct retry_work *work, int64_t now);

/* Starts JOB on an idle worker; there must be one. */
void retry_work_start(struct retry_work *work, struct retry_job *job, int64_t now);

/* Ends what runs, with SIGTERM. */
void retry_work_terminate(struct retry_work *work);

enum mp_error retry_workers_open(struct retry_work *work, struct fault *fault);
void retry_workers_close(struct retry_work *work);

#endif
