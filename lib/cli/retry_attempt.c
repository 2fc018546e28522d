/* Attempts: a command runs for a job, and how it ends says what becomes of the job. */
#include "cli/retry_work.h"

#include "base/memory.h"
#include "base/random.h"
#include "base/units.h"
#include "cli/child_groups.h"
#include "cli/exit.h"
#include "message/letter.h"
#include "stage/command.h"
#include "stage/tail.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OUTPUT_AT_ONCE = 256 * 1024 }; /* bytes of output that a command is ahead of what is kept */

struct retry_worker {
    struct retry_work *work;
    struct stage_command *command; /* NULL: idle */
    struct retry_job *job;
    struct buffer input;
    struct stage_tail tail;
    bool ended;
    struct stage_result result;
};

/* ---- words ---------------------------------------------------------------------------------------------------- */

static void name_job(const struct retry_job *job, char *text, size_t size)
{
    if (job->count == 1)
        snprintf(text, size, "message %" PRIu64, job->messages[0].number);
    else
        snprintf(text, size, "messages %" PRIu64 " to %" PRIu64, job->messages[0].number,
                 job->messages[job->count - 1].number);
}

/* "message 3: ./bill.sh exited with 1" */
static void name_failure(const struct retry_worker *worker, char *text, size_t size)
{
    const struct retry_work *work = worker->work;
    const struct stage_result *result = &worker->result;
    const char *command = work->command ? work->command[0] : "the command";
    char which[80];
    char time[24];
    name_job(worker->job, which, sizeof(which));
    if (result->timed_out) {
        units_duration_text(work->policy->timeout, time, sizeof(time));
        snprintf(text, size, "%s: %.100s took longer than %s (--timeout)", which, command, time);
    } else if (result->signal) {
        snprintf(text, size, "%s: %.100s was ended by signal %d (%s)", which, command, result->signal,
                 strsignal(result->signal));
    } else {
        snprintf(text, size, "%s: %.100s exited with %d", which, command, result->code);
    }
}

/* " (attempt 2 of 6)" */
static void name_attempt(const struct retry_work *work, const struct retry_job *job, char *text, size_t size)
{
    if (work->policy->max_retries == RETRY_UNLIMITED)
        snprintf(text, size, " (attempt %" PRIu32 ")", job->attempts);
    else if (work->policy->max_retries > 0)
        snprintf(text, size, " (attempt %" PRIu32 " of %" PRIu64 ")", job->attempts,
                 (uint64_t)work->policy->max_retries + 1);
    else
        *text = '\0';
}

/* ---- how it ended --------------------------------------------------------------------------------------------- */

/* The attempt failed: the job waits for another, or is hopeless. */
static void fail_attempt(struct retry_worker *worker, bool rejected, int64_t now)
{
    struct retry_work *work = worker->work;
    struct retry_job *job = worker->job;
    const struct retry_policy *policy = work->policy;
    char what[200 + FAULT_QUOTE];
    char attempt[64];
    char time[24];
    size_t size;
    job->code = worker->result.code;
    job->last = clock_wall();
    job->first = job->first ? job->first : job->last;
    job->note.size = 0;
    const char *tail = stage_tail_text(&worker->tail, &size);
    letter_note(tail, size, &job->note); /* without memory there is none */
    name_failure(worker, what, sizeof(what));
    name_attempt(work, job, attempt, sizeof(attempt));
    if (!rejected && (policy->max_retries == RETRY_UNLIMITED || job->attempts <= policy->max_retries)) {
        int64_t delay = backoff_delay(policy->backoff, policy->initial_interval, policy->max_interval, policy->jitter,
                                      job->attempts, random_next(&work->random));
        job->state = RETRY_DELAYED;
        job->due = now + delay;
        units_duration_text(delay, time, sizeof(time));
        if (work->stopped)
            tell("%s%s", what, attempt);
        else
            tell("%s%s: again in %s", what, attempt, time);
        return;
    }
    job->state = RETRY_DYING;
    job->reason = letter_reasons[rejected ? 0 : 1];
    if (work->source.dead)
        tell("%s%s: %s", what, rejected ? "" : attempt, work->source.to);
    else
        tell("%s%s: stopping: with --dead-file FILE such messages are kept there, and the others go on", what,
             rejected ? "" : attempt);
}

/* It could not be run: no attempt is charged. */
static void not_begun(struct retry_job *job)
{
    job->attempts--;
    job->state = RETRY_WAITING;
}

static void succeed(struct retry_work *work, struct retry_job *job, int64_t now)
{
    struct fault fault = {0};
    enum mp_error error = MP_OK;
    job->state = RETRY_DONE;
    work->done += job->count;
    for (uint32_t i = 0; !error && i < job->count; i++) {
        const struct retry_message *message = &job->messages[i];
        if (work->seen && message->has_id && seen_add(work->seen, message->id, 0, now))
            error = fault_memory(&fault);
        if (!error && work->source.done)
            error = work->source.done(work->source.context, message, &fault);
    }
    retry_work_release(work, job);
    if (error)
        retry_work_fail(work, &fault);
}

static void judge(struct retry_worker *worker, int64_t now)
{
    struct retry_work *work = worker->work;
    struct retry_job *job = worker->job;
    const struct stage_result *result = &worker->result;
    bool by_itself = !result->signal && !result->timed_out && !result->ended_early;
    if (by_itself && result->code == EXIT_DONE) {
        succeed(work, job, now);
        return;
    }
    retry_output_clear(&job->output);
    if (result->ended_early) {
        job->state = RETRY_STOPPED;
    } else if (by_itself && work->shell && (result->code == EXIT_CANNOT_RUN || result->code == EXIT_NOT_FOUND)) {
        if (!work->stopped)
            tell("the shell cannot run '%.200s' (it exited with %d)", work->shell, result->code);
        not_begun(job);
        retry_work_end(work, result->code);
    } else {
        fail_attempt(worker, by_itself && result->code == EXIT_REJECTED, now);
    }
}

static void set_group(const struct retry_worker *worker)
{
    child_groups_set((size_t)(worker - worker->work->workers),
                     worker->command && !worker->ended ? stage_command_group(worker->command) : 0);
}

void retry_work_reap(struct retry_work *work, int64_t now)
{
    for (unsigned i = 0; i < work->workers_count && work->running; i++) {
        struct retry_worker *worker = &work->workers[i];
        if (!worker->command || !worker->ended)
            continue;
        judge(worker, now);
        stage_command_free(worker->command);
        worker->command = NULL;
        worker->job = NULL;
        work->running--;
        set_group(worker);
    }
}

/* ---- while it runs -------------------------------------------------------------------------------------------- */

static void on_output(void *context)
{
    struct retry_worker *worker = context;
    struct fault fault = {0};
    const struct buffer *output = stage_command_output(worker->command);
    size_t size = output->size;
    if (retry_output_add(&worker->job->output, output->data, size, &fault)) {
        retry_work_fail(worker->work, &fault);
        stage_command_end(worker->command);
    }
    stage_command_taken(worker->command, size);
}

/* What a command says goes to the user, and its end into the letter. */
static void on_error(void *context, const void *data, size_t size)
{
    struct retry_worker *worker = context;
    stage_tail_add(&worker->tail, data, size);
    progress_erase();
    (void)!write(STDERR_FILENO, data, size);
}

static void on_ended(void *context, const struct stage_result *result)
{
    struct retry_worker *worker = context;
    worker->ended = true;
    worker->result = *result;
    worker->result.ended_early |= worker->job->output.torn; /* whatever it says itself */
    set_group(worker);
}

/* ---- starting ------------------------------------------------------------------------------------------------- */

/* Puts a batch together. */
static enum mp_error put_batch(struct retry_worker *worker, struct fault *fault)
{
    enum format format = worker->work->format;
    enum mp_error error = MP_OK;
    worker->input.size = 0;
    for (uint32_t i = 0; !error && i < worker->job->count; i++) {
        struct format_item item = retry_job_item(worker->job, &worker->job->messages[i]);
        error = format_write(format, &item, &worker->input, fault);
        if (error == MP_ERR_FORMAT && format != FORMAT_JSON) {
            /* The separator is in the body: it goes in as it is, as it goes into a pipe. */
            error = buffer_append(&worker->input, item.record.body, item.record.size);
            if (!error)
                error = buffer_append(&worker->input, format == FORMAT_LINES ? "\n" : "", 1);
        }
    }
    return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
}

static enum mp_error start(struct retry_worker *worker, int *code, struct fault *fault)
{
    struct retry_work *work = worker->work;
    struct retry_job *job = worker->job;
    bool batch = work->mode == RETRY_BATCH;
    struct format_item item = retry_job_item(job, &job->messages[0]);
    enum mp_error error = batch ? put_batch(worker, fault) : MP_OK;
    if (!error)
        error = stage_environment_set(&work->environment, &item, batch ? job->count : 0, fault);
    *code = EXIT_FAILED;
    if (error)
        return error;
    struct stage_command_settings command = {
        .children = work->children,
        .argv = work->argv,
        .environment = work->environment.entries,
        .signals = loop_child_signals,
        .input = batch ? worker->input.data : item.record.body,
        .input_size = batch ? worker->input.size : item.record.size,
        .output_limit = OUTPUT_AT_ONCE,
        .keep_error = true,
        .timeout = work->policy->timeout,
        .context = worker,
        .output = on_output,
        .error = on_error,
        .ended = on_ended,
    };
    worker->tail.size = 0;
    worker->ended = false;
    return stage_command_start(&command, &worker->command, code, fault);
}

void retry_work_start(struct retry_work *work, struct retry_job *job, int64_t now)
{
    struct retry_worker *worker = work->workers;
    struct fault fault = {0};
    int code;
    while (worker->command)
        worker++;
    worker->job = job;
    job->attempts++;
    job->state = RETRY_RUNNING;
    enum mp_error error = start(worker, &code, &fault);
    if (!error) {
        work->running++;
        set_group(worker);
        return;
    }
    not_begun(job);
    worker->job = NULL;
    if (error == MP_ERR_BUSY) {
        if (work->later == 0)
            tell("%s: trying again", fault_text(&fault));
        work->later = now + RETRY_RATHER_LATER;
        return;
    }
    tell("%s", fault_text(&fault));
    retry_work_end(work, code);
}

void retry_work_terminate(struct retry_work *work)
{
    for (unsigned i = 0; i < work->workers_count; i++)
        if (work->workers[i].command)
            stage_command_end(work->workers[i].command);
}

enum mp_error retry_workers_open(struct retry_work *work, struct fault *fault)
{
    work->workers = memory_allocate_array(work->workers_count, sizeof(*work->workers));
    if (!work->workers)
        return fault_memory(fault);
    for (unsigned i = 0; i < work->workers_count; i++)
        work->workers[i].work = work;
    return stage_children_open(work->loop->base, &work->children, fault);
}

void retry_workers_close(struct retry_work *work)
{
    for (unsigned i = 0; work->workers && i < work->workers_count; i++) {
        struct retry_worker *worker = &work->workers[i];
        stage_command_free(worker->command);
        worker->command = NULL;
        set_group(worker);
        buffer_free(&worker->input);
    }
    memory_release(work->workers);
    stage_children_free(work->children);
}
