/*
 * work_private.h: what the files of stage/work share. A worker has one process at most: for a run of its task (each,
 * batch: work_run.c), or for as long as it serves (stream: work_stream.c, work_answer.c).
 */
#ifndef STAGE_WORK_PRIVATE_H
#define STAGE_WORK_PRIVATE_H

#include "stage/environment.h"
#include "stage/lines.h"
#include "stage/tail.h"
#include "stage/task_queue.h"

#include <event2/event.h>

enum {
    WORK_PIPE = 1024 * 1024, /* bytes that pipes hold where much goes through them */
    WORK_REJECTED = 65,      /* the exit codes that mean something */
    WORK_CANNOT_RUN = 126,
    WORK_NOT_FOUND = 127
};

struct work_stream;

struct work_worker {
    struct stage_work *work;
    unsigned index;
    struct stage_command *command; /* NULL: none runs */
    struct stage_tail tail;        /* of its stderr */
    struct stage_lines lines;      /* the same, cut */
    struct work_stream *stream;    /* STREAM */

    /* of a run */
    struct stage_task *task;
    struct buffer input;
    uint32_t *malformed; /* items that the input does not have */
    size_t malformed_count;
    bool overflowed; /* it has printed more than the limit */
};

struct stage_work {
    struct stage_work_settings settings;
    struct stage_environment environment;
    char *shell[4];
    char *const *argv;
    struct work_worker *workers;
    unsigned running;
    struct task_queue waiting;  /* no worker has them */
    struct task_queue returned; /* to be given back as not begun */
    uint32_t held;              /* tasks that are here at all */
    struct event *pump;
    struct event *resume; /* the end of a pause */
    unsigned failures;    /* starts that failed, in a row */
    bool paused;
    bool stopped;
    struct format_pointer *id; /* of an answer in JSON */
};

/* ---- work.c --------------------------------------------------------------------------------------------------- */

/* Has the loop look soon what is to be done. */
void work_wake(struct stage_work *work);
/* From the loop only: TASK goes back to its owner. */
void work_finish(struct stage_work *work, struct stage_task *task, const struct stage_outcome *outcome);
/* TASK comes back as not begun. */
void work_return(struct stage_work *work, struct stage_task *task);
/* Whether TASK, which is in no queue, may be begun; if not, it comes back as not begun. */
bool work_may_begin(struct stage_work *work, struct stage_task *task, int64_t now);
/* From the loop only: the command cannot be started. */
void work_pause(struct stage_work *work, int exit, const struct fault *fault);
/* It could be started. */
void work_started(struct stage_work *work);

/* What all commands of WORKER have in common. */
struct stage_command_settings work_command(struct work_worker *worker);
/* What its stderr ended with is told, and the process is forgotten. */
void work_worker_ended(struct work_worker *worker);
/* Whether the shell could not run what it was to run; FAULT says so then. */
bool work_shell_failed(const struct stage_work *work, const struct stage_result *result, struct fault *fault);
/* What stands in a dead letter: WORDS (NULL: none), and the tail of stderr, in NOTE. */
void work_note(const struct work_worker *worker, const char *words, struct buffer *note);
/* A process that did not end by itself with an exit code, in words; false: it did. */
bool work_ended_words(const struct stage_work *work, const struct stage_result *result, char *words, size_t size);

/* ---- the modes ------------------------------------------------------------------------------------------------ */

/* Begins what can be begun. From the loop only. */
void work_run_pump(struct stage_work *work);
void work_stream_pump(struct stage_work *work);

/* A worker's part in the functions of work.h. */
enum mp_error work_stream_open(struct work_worker *worker, struct fault *fault);
void work_stream_free(struct work_worker *worker);
uint64_t work_stream_room(const struct work_worker *worker);
void work_stream_return(struct work_worker *worker);
void work_stream_stop(struct work_worker *worker);
void work_stream_end(struct work_worker *worker);

#endif
