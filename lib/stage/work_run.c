/* The modes each and batch: a process a task. */
#include "stage/work_private.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"

#include <stdio.h>
#include <string.h>

/* ---- input ---------------------------------------------------------------------------------------------------- */

/* The input is the body itself. */
static bool is_bare(const struct stage_work *work)
{
    enum format format = work->settings.format;
    return work->settings.mode == STAGE_EACH && (format == FORMAT_LINES || format == FORMAT_WHOLE);
}

static enum mp_error leave_out(struct work_worker *worker, uint32_t index, struct fault *fault)
{
    if (!worker->malformed)
        worker->malformed = memory_allocate_array(worker->task->count, sizeof(*worker->malformed));
    if (!worker->malformed)
        return fault_memory(fault);
    worker->malformed[worker->malformed_count++] = index;
    return MP_OK;
}

/* Puts all bodies together. WORDS: why the last of those that are left out cannot be in this format. */
static enum mp_error assemble(struct work_worker *worker, struct fault *words, struct fault *fault)
{
    const struct stage_task *task = worker->task;
    enum format format = worker->work->settings.format;
    size_t size = 0;
    for (uint32_t i = 0; i < task->count; i++)
        size += task->items[i].record.size + 4;
    if (buffer_reserve(&worker->input, size))
        return fault_memory(fault);
    for (uint32_t i = 0; i < task->count; i++) {
        enum mp_error error = format_write(format, &task->items[i], &worker->input, words);
        if (error == MP_ERR_MEMORY)
            return fault_memory(fault);
        if (error)
            error = leave_out(worker, i, fault);
        if (error)
            return error;
    }
    return MP_OK;
}

/* What holds for all that are given: topic and attempt are told only where they are the same. */
static struct format_item item_of_all(const struct work_worker *worker)
{
    const struct stage_task *task = worker->task;
    uint32_t first = 0;
    while (first < worker->malformed_count && worker->malformed[first] == first)
        first++;
    struct format_item item = task->items[first];
    for (uint32_t i = first + 1; i < task->count; i++) {
        const struct format_item *other = &task->items[i];
        if (item.topic && item.topic != other->topic && (!other->topic || strcmp(item.topic, other->topic) != 0))
            item.topic = NULL;
        if (item.attempt != other->attempt)
            item.attempt = 0;
    }
    return item;
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

/* The worker's task goes back. */
static void give_back(struct work_worker *worker, struct stage_outcome *outcome)
{
    struct stage_task *task = worker->task;
    worker->task = NULL;
    outcome->malformed = worker->malformed;
    outcome->malformed_count = worker->malformed_count;
    worker->malformed_count = 0;
    uint32_t *malformed = worker->malformed;
    worker->malformed = NULL;
    work_finish(worker->work, task, outcome);
    memory_release(malformed);
}

/* What the end of a process means. */
static enum stage_end judge(const struct work_worker *worker, const struct stage_result *result, char *words,
                            size_t size)
{
    *words = '\0';
    if (worker->overflowed) {
        snprintf(words, size, "printed more than %zu bytes", worker->work->settings.output_limit);
        return STAGE_FAILED;
    }
    if (work_ended_words(worker->work, result, words, size) || result->ended_early)
        return STAGE_FAILED;
    if (result->code == 0)
        return STAGE_SUCCEEDED;
    return result->code == WORK_REJECTED ? STAGE_REJECTED : STAGE_FAILED;
}

static void on_ended(void *context, const struct stage_result *result)
{
    struct work_worker *worker = context;
    struct stage_work *work = worker->work;
    struct buffer output = {0};
    struct buffer note = {0};
    struct fault fault = {0};
    char words[96];
    struct stage_outcome outcome = {.end = judge(worker, result, words, sizeof(words)), .result = *result};
    if (worker->overflowed)
        outcome.result.ended_early = false; /* nobody asked for it */
    stage_command_take_output(worker->command, &output);
    work_worker_ended(worker);
    bool cannot = outcome.end == STAGE_FAILED && work_shell_failed(work, result, &fault);
    if (cannot) {
        outcome.end = STAGE_NOT_BEGUN;
        work_pause(work, result->code, &fault);
    } else {
        work_started(work);
    }
    if (outcome.end == STAGE_SUCCEEDED) {
        outcome.output = output.data;
        outcome.output_size = output.size;
        outcome.whole = &output;
    } else if (!cannot) {
        work_note(worker, *words ? words : NULL, &note);
        outcome.note = (const char *)note.data;
        outcome.note_size = note.size;
    }
    give_back(worker, &outcome);
    buffer_free(&output);
    buffer_free(&note);
    if (!work->waiting.first)
        buffer_free(&worker->input); /* a stage at rest holds nothing */
    work_wake(work);
}

static void on_output(void *context)
{
    struct work_worker *worker = context;
    const struct buffer *output = stage_command_output(worker->command);
    if (!worker->overflowed && output->size <= worker->work->settings.output_limit)
        return;
    worker->overflowed = true;
    stage_command_end(worker->command);
    stage_command_taken(worker->command, output->size);
}

/* ---- the start ------------------------------------------------------------------------------------------------ */

/* Starts the process; its input is assembled. */
static enum mp_error start_command(struct work_worker *worker, uint32_t count, int *exit, struct fault *fault)
{
    struct stage_work *work = worker->work;
    struct format_item item = item_of_all(worker);
    bool batch = work->settings.mode == STAGE_BATCH;
    struct stage_command_settings command = work_command(worker);
    enum mp_error error = stage_environment_set(&work->environment, &item, batch ? count : 0, fault);
    *exit = WORK_CANNOT_RUN;
    if (error)
        return error;
    command.environment = work->environment.entries;
    command.input = is_bare(work) ? item.record.body : worker->input.data;
    command.input_size = is_bare(work) ? item.record.size : worker->input.size;
    command.pipe_size = command.input_size > WORK_PIPE / 16 ? WORK_PIPE : 0;
    command.output_limit++; /* so that more than the limit can be told from just as much */
    command.timeout = work->settings.timeout;
    command.output = on_output;
    command.ended = on_ended;
    return stage_command_start(&command, &worker->command, exit, fault);
}

static void start(struct work_worker *worker, struct stage_task *task)
{
    struct stage_work *work = worker->work;
    struct fault fault = {0};
    struct fault words = {0};
    int exit = WORK_CANNOT_RUN;
    worker->task = task;
    task->worker = worker->index;
    worker->input.size = 0;
    worker->overflowed = false;
    enum mp_error error = is_bare(work) ? MP_OK : assemble(worker, &words, &fault);
    if (!error && worker->malformed_count == task->count) {
        struct stage_outcome outcome = {.end = STAGE_MALFORMED, .result = {.code = -1}};
        outcome.note = words.text;
        outcome.note_size = strlen(words.text);
        give_back(worker, &outcome);
        return;
    }
    if (!error)
        error = start_command(worker, task->count - (uint32_t)worker->malformed_count, &exit, &fault);
    if (!error) {
        work->running++;
        if (!work->settings.shell)
            work_started(work);
        return;
    }
    worker->task = NULL;
    worker->malformed_count = 0;
    memory_release(worker->malformed);
    worker->malformed = NULL;
    work_return(work, task);
    work_pause(work, exit, &fault);
}

void work_run_pump(struct stage_work *work)
{
    for (unsigned i = 0; i < work->settings.workers; i++) {
        struct work_worker *worker = &work->workers[i];
        while (!worker->command && !work->paused && work->waiting.first) {
            struct stage_task *task = task_queue_shift(&work->waiting);
            if (work_may_begin(work, task, clock_monotonic()))
                start(worker, task);
        }
    }
}
