/* A stage's command at work: tasks, pauses, and what the modes share. */
#include "stage/work_private.h"

#include "base/memory.h"
#include "base/units.h"
#include "policy/backoff.h"

#include <stdio.h>

enum { PAUSE_FIRST = 100 * 1000, PAUSE_MAX = 30 * 1000 * 1000 }; /* microseconds */

extern char **environ;

static bool is_stream(const struct stage_work *work)
{
    return work->settings.mode == STAGE_STREAM;
}

/* ---- tasks ---------------------------------------------------------------------------------------------------- */

void work_wake(struct stage_work *work)
{
    event_active(work->pump, EV_TIMEOUT, 1);
}

void work_finish(struct stage_work *work, struct stage_task *task, const struct stage_outcome *outcome)
{
    work->held--;
    work->settings.finished(work->settings.context, task, outcome);
}

void work_return(struct stage_work *work, struct stage_task *task)
{
    task_queue_push(&work->returned, task);
    work_wake(work);
}

bool work_may_begin(struct stage_work *work, struct stage_task *task, int64_t now)
{
    if (!work->settings.may_begin || work->settings.may_begin(work->settings.context, task, now))
        return true;
    work_return(work, task);
    return false;
}

static void finish_returned(struct stage_work *work)
{
    const struct stage_outcome outcome = {.end = STAGE_NOT_BEGUN, .result = {.code = -1}};
    struct task_queue returned = work->returned;
    struct stage_task *task;
    work->returned = (struct task_queue){0};
    while ((task = task_queue_shift(&returned)))
        work_finish(work, task, &outcome);
}

static void on_pump(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct stage_work *work = context;
    finish_returned(work);
    if (is_stream(work))
        work_stream_pump(work);
    else
        work_run_pump(work);
}

/* ---- pauses --------------------------------------------------------------------------------------------------- */

void work_pause(struct stage_work *work, int exit, const struct fault *fault)
{
    stage_work_return(work);
    if (work->paused || work->stopped)
        return;
    work->paused = true;
    int64_t delay = backoff_delay(BACKOFF_EXPONENTIAL, PAUSE_FIRST, PAUSE_MAX, 0, ++work->failures, 0);
    struct timeval after = {.tv_sec = (time_t)(delay / 1000000), .tv_usec = (suseconds_t)(delay % 1000000)};
    event_add(work->resume, &after);
    if (work->settings.paused)
        work->settings.paused(work->settings.context, exit, fault);
}

void work_started(struct stage_work *work)
{
    if (work->failures == 0)
        return;
    work->failures = 0;
    if (work->settings.paused)
        work->settings.paused(work->settings.context, 0, NULL);
}

static void on_resume(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct stage_work *work = context;
    work->paused = false;
    work_wake(work);
    if (work->settings.ready)
        work->settings.ready(work->settings.context);
}

bool work_shell_failed(const struct stage_work *work, const struct stage_result *result, struct fault *fault)
{
    bool by_itself = !result->signal && !result->timed_out && !result->ended_early;
    if (!work->settings.shell || !by_itself || (result->code != WORK_CANNOT_RUN && result->code != WORK_NOT_FOUND))
        return false;
    fault_set(fault, MP_ERR_NOT_FOUND, "the shell cannot run '%s' (it exited with %d)", work->settings.shell,
              result->code);
    return true;
}

/* ---- commands ------------------------------------------------------------------------------------------------- */

static void say(void *context, const char *line, size_t size)
{
    const struct work_worker *worker = context;
    const struct stage_work_settings *settings = &worker->work->settings;
    if (settings->said)
        settings->said(settings->context, line, size);
}

static void on_error(void *context, const void *data, size_t size)
{
    struct work_worker *worker = context;
    stage_tail_add(&worker->tail, data, size);
    stage_lines_add(&worker->lines, data, size, say, worker);
}

struct stage_command_settings work_command(struct work_worker *worker)
{
    const struct stage_work_settings *settings = &worker->work->settings;
    worker->tail.size = 0;
    return (struct stage_command_settings){
        .children = settings->children,
        .argv = worker->work->argv,
        .environment = worker->work->environment.entries,
        .directory = settings->directory,
        .signals = settings->signals,
        .output_limit = settings->output_limit,
        .keep_error = true,
        .grace = settings->grace,
        .context = worker,
        .error = on_error,
    };
}

void work_worker_ended(struct work_worker *worker)
{
    stage_lines_end(&worker->lines, say, worker);
    stage_command_free(worker->command);
    worker->command = NULL;
    worker->work->running--;
}

bool work_ended_words(const struct stage_work *work, const struct stage_result *result, char *words, size_t size)
{
    char time[24];
    if (result->timed_out) {
        units_duration_text(work->settings.timeout, time, sizeof(time));
        snprintf(words, size, "took longer than %s", time);
    } else if (result->signal) {
        snprintf(words, size, "was ended by signal %d (%s)", result->signal, strsignal(result->signal));
    } else {
        return false;
    }
    return true;
}

void work_note(const struct work_worker *worker, const char *words, struct buffer *note)
{
    size_t size;
    const char *text = stage_tail_text(&worker->tail, &size);
    if (words && (buffer_append_string(note, words) != MP_OK || (size && buffer_append(note, "\n", 1) != MP_OK)))
        return;
    size_t room = STAGE_TAIL - note->size;
    size_t kept = size < room ? size : room;
    (void)buffer_append(note, text + size - kept, kept); /* without memory the letter says less */
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static enum mp_error open_parts(struct stage_work *work, struct fault *fault)
{
    struct stage_work_settings *settings = &work->settings;
    work->workers = memory_allocate_array(settings->workers, sizeof(*work->workers));
    work->pump = evtimer_new(settings->base, on_pump, work);
    work->resume = evtimer_new(settings->base, on_resume, work);
    if (!work->workers || !work->pump || !work->resume)
        return fault_memory(fault);
    enum mp_error error = format_pointer_parse("/id", 3, &work->id, fault);
    for (unsigned i = 0; i < settings->workers && !error; i++) {
        work->workers[i].work = work;
        work->workers[i].index = i;
        if (is_stream(work))
            error = work_stream_open(&work->workers[i], fault);
    }
    return error ? error : stage_environment_open(&work->environment, environ, settings->environment, fault);
}

enum mp_error stage_work_open(const struct stage_work_settings *settings, struct stage_work **result,
                              struct fault *fault)
{
    if (settings->mode == STAGE_STREAM && settings->format == FORMAT_WHOLE)
        return fault_set(fault, MP_ERR_INVALID,
                         "the format whole tells no message from the next in a stream: take "
                         "lines, null, length or json");
    struct stage_work *work = memory_allocate(sizeof(*work));
    if (!work)
        return fault_memory(fault);
    work->settings = *settings;
    work->settings.workers = settings->workers ? settings->workers : 1;
    work->settings.window = settings->window ? settings->window : STAGE_WINDOW;
    work->settings.output_limit = settings->output_limit ? settings->output_limit : STAGE_OUTPUT_LIMIT;
    work->shell[0] = (char *)(uintptr_t) "/bin/sh";
    work->shell[1] = (char *)(uintptr_t) "-c";
    work->shell[2] = (char *)(uintptr_t)settings->shell;
    work->argv = settings->shell ? work->shell : settings->argv;
    enum mp_error error = open_parts(work, fault);
    if (error) {
        stage_work_free(work);
        return error;
    }
    *result = work;
    return MP_OK;
}

static void close_worker(struct work_worker *worker)
{
    stage_command_free(worker->command);
    work_stream_free(worker);
    buffer_free(&worker->input);
    memory_release(worker->malformed);
}

void stage_work_free(struct stage_work *work)
{
    if (!work)
        return;
    for (unsigned i = 0; work->workers && i < work->settings.workers; i++)
        close_worker(&work->workers[i]);
    memory_release(work->workers);
    if (work->pump)
        event_free(work->pump);
    if (work->resume)
        event_free(work->resume);
    format_pointer_free(work->id);
    stage_environment_free(&work->environment);
    memory_release(work);
}

/* ---- what the owner does -------------------------------------------------------------------------------------- */

uint32_t stage_work_room(const struct stage_work *work)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < work->settings.workers; i++)
        most += is_stream(work) ? work_stream_room(&work->workers[i]) : 2;
    if (work->paused || work->stopped || work->held >= most)
        return 0;
    return (uint32_t)(most - work->held < UINT32_MAX ? most - work->held : UINT32_MAX);
}

void stage_work_add(struct stage_work *work, struct stage_task *task)
{
    work->held++;
    task_queue_push(work->paused || work->stopped ? &work->returned : &work->waiting, task);
    work_wake(work);
}

void stage_work_return(struct stage_work *work)
{
    struct stage_task *task;
    for (unsigned i = 0; is_stream(work) && i < work->settings.workers; i++)
        work_stream_return(&work->workers[i]);
    while ((task = task_queue_shift(&work->waiting)))
        work_return(work, task);
}

void stage_work_stop(struct stage_work *work)
{
    work->stopped = true;
    stage_work_return(work);
    for (unsigned i = 0; is_stream(work) && i < work->settings.workers; i++)
        work_stream_stop(&work->workers[i]);
}

void stage_work_end(struct stage_work *work)
{
    for (unsigned i = 0; i < work->settings.workers; i++)
        if (is_stream(work))
            work_stream_end(&work->workers[i]);
        else if (work->workers[i].command)
            stage_command_end(work->workers[i].command);
}

bool stage_work_idle(const struct stage_work *work)
{
    return work->held == 0 && (work->running == 0 || (is_stream(work) && !work->stopped));
}

unsigned stage_work_running(const struct stage_work *work)
{
    return work->running;
}

pid_t stage_work_group(const struct stage_work *work, unsigned index)
{
    const struct stage_command *command = work->workers[index].command;
    return command ? stage_command_group(command) : 0;
}
