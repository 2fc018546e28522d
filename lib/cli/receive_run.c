/*
 * A command for a message, or for a batch.
 *
 * With one worker a command writes to mrecv's stdout itself. With several its output is kept, and written when the
 * command has ended, so that outputs do not mix. When more is kept than is good for memory, that command gets to speak
 * at once, and the others wait: they are not read from meanwhile, which slows them down and costs nothing.
 */
#include "cli/receive_runner_private.h"

#include "base/memory.h"
#include "base/units.h"
#include "cli/child_groups.h"
#include "stage/environment.h"
#include "stage/tail.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { KEPT_MAX = 256 * 1024 }; /* bytes of a command's output that are kept */

extern char **environ;

struct receive_worker {
    struct receive_runner *runner;
    struct stage_command *command; /* NULL: idle */
    struct receive_part *parts;    /* what it works on */
    size_t parts_count;
    size_t parts_capacity;
    uint32_t messages;
    struct buffer input;
    char id[NAME_MAX_BYTES]; /* of its message, for words */
    bool ended;
    struct stage_result result;
    struct stage_tail tail;   /* of its stderr */
    struct retry_output kept; /* with `only_success`: what it has printed */
};

static void note_group(const struct receive_worker *worker)
{
    size_t index = (size_t)(worker - worker->runner->workers);
    child_groups_set(index, worker->command ? stage_command_group(worker->command) : 0);
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

static void tell_outcome(const struct receive_worker *worker, const struct protocol_settlement *how)
{
    const struct receive_runner *runner = worker->runner;
    const struct stage_result *result = &worker->result;
    char what[120];
    char which[NAME_MAX_BYTES + 64];
    char all[NAME_MAX_BYTES + 512];
    char time[24];
    if (result->timed_out) {
        units_duration_text(runner->settings.timeout, time, sizeof(time));
        snprintf(what, sizeof(what), "took longer than %s (--timeout)", time);
    } else if (result->signal) {
        snprintf(what, sizeof(what), "was ended by signal %d (%s)", result->signal, strsignal(result->signal));
    } else {
        snprintf(what, sizeof(what), "exited with %d", result->code);
    }
    if (worker->messages > 1)
        snprintf(which, sizeof(which), "%" PRIu32 " messages", worker->messages);
    else
        snprintf(which, sizeof(which), "message %s", worker->id);
    snprintf(all, sizeof(all), "%s: %s %s", which, receive_runner_name(runner), what);
    receive_runner_tell(runner, worker->parts[0].parcel, how, all);
}

/* What a command's end means for its messages. */
static struct protocol_settlement outcome(struct receive_worker *worker)
{
    const struct receive_runner *runner = worker->runner;
    const struct stage_result *result = &worker->result;
    struct protocol_settlement how = {.exit_code = result->code};
    bool by_itself = !result->signal && !result->timed_out && !result->ended_early;
    if (by_itself && result->code == EXIT_DONE) {
        how.action = PROTOCOL_ACK;
    } else if (by_itself && result->code == EXIT_REJECTED && !worker->parts[0].parcel->letters) {
        how.action = PROTOCOL_DEAD;
    } else if (by_itself && runner->settings.shell &&
               (result->code == EXIT_CANNOT_RUN || result->code == EXIT_NOT_FOUND)) {
        how.action = PROTOCOL_RELEASE; /* the shell did not find what it was to run */
    } else {
        how.action = PROTOCOL_RETRY;
        how.delay = result->ended_early ? 0 : PROTOCOL_DELAY_POLICY;
    }
    if (how.action == PROTOCOL_RETRY || how.action == PROTOCOL_DEAD) {
        size_t size;
        how.note = stage_tail_text(&worker->tail, &size);
        how.note_size = (uint16_t)size;
    }
    return how;
}

static void settle_worker(struct receive_worker *worker)
{
    struct receive_runner *runner = worker->runner;
    struct protocol_settlement how = outcome(worker);
    if (how.action == PROTOCOL_RELEASE) {
        if (runner->code < 0)
            fault_set(&runner->fault, MP_ERR_NOT_FOUND, "the shell cannot run '%s' (it exited with %d)",
                      runner->settings.shell, worker->result.code);
        runner->code = runner->code < 0 ? worker->result.code : runner->code;
    } else if (how.action != PROTOCOL_ACK && !worker->result.ended_early) {
        tell_outcome(worker, &how);
    }
    for (size_t i = 0; i < worker->parts_count; i++)
        receive_runner_settle(runner, &worker->parts[i], &how);
    stage_command_free(worker->command);
    worker->command = NULL;
    worker->parts_count = 0;
    worker->ended = false;
    runner->running--;
    note_group(worker);
}

/* ---- output --------------------------------------------------------------------------------------------------- */

static void on_output(void *context)
{
    struct receive_worker *worker = context;
    struct receive_runner *runner = worker->runner;
    if (!runner->settings.only_success)
        return; /* it ends the loop's wait, and the step sees what there is */
    const struct buffer *output = stage_command_output(worker->command);
    struct fault fault = {0};
    if (retry_output_add(&worker->kept, output->data, output->size, &fault)) {
        runner->fault = runner->code < 0 ? fault : runner->fault;
        runner->code = runner->code < 0 ? EXIT_IO : runner->code;
        stage_command_end(worker->command);
    }
    stage_command_taken(worker->command, output->size);
}

/* What a command says goes on to the user, and its end with the message if that fails. */
static void on_error(void *context, const void *data, size_t size)
{
    struct receive_worker *worker = context;
    stage_tail_add(&worker->tail, data, size);
    receive_runner_say(data, size);
}

static void on_ended(void *context, const struct stage_result *result)
{
    struct receive_worker *worker = context;
    worker->ended = true;
    worker->result = *result;
    worker->result.ended_early |= worker->kept.torn; /* whatever it says itself */
    child_groups_set((size_t)(worker - worker->runner->workers), 0);
}

static struct receive_worker *next_speaker(struct receive_runner *runner)
{
    struct receive_worker *full = NULL;
    for (unsigned i = 0; i < runner->settings.workers; i++) {
        struct receive_worker *worker = &runner->workers[i];
        if (!worker->command)
            continue;
        if (worker->ended)
            return worker;
        if (!full && !runner->settings.only_success && stage_command_output(worker->command)->size >= KEPT_MAX)
            full = worker;
    }
    return full;
}

/* Writes what is left of the speaker's output. MP_ERR_AGAIN: not now. */
static enum mp_error print(struct receive_runner *runner, struct receive_worker *worker, struct fault *fault)
{
    const struct buffer *output = stage_command_output(worker->command);
    if (runner->settings.only_success) {
        enum mp_error error = MP_OK;
        if (outcome(worker).action == PROTOCOL_ACK)
            error = retry_output_print(&worker->kept, &runner->sink, fault);
        if (error != MP_ERR_AGAIN)
            retry_output_clear(&worker->kept);
        return error;
    }
    while (output->size) {
        size_t done;
        enum mp_error error = receive_sink_write(&runner->sink, output->data, output->size, &done, fault);
        if (error)
            return error;
        stage_command_taken(worker->command, done);
    }
    return MP_OK;
}

/* Writes what commands have printed, one after the other, and settles what they had. */
static enum mp_error speak(struct receive_runner *runner, struct fault *fault)
{
    while (runner->speaker || (runner->speaker = next_speaker(runner))) {
        struct receive_worker *worker = runner->speaker;
        enum mp_error error = print(runner, worker, fault);
        if (error)
            return error == MP_ERR_AGAIN ? MP_OK : error;
        if (!worker->ended)
            return MP_OK;
        settle_worker(worker);
        runner->speaker = NULL;
    }
    return MP_OK;
}

/* The output of commands is for the other end. */
static void give_answers(struct receive_runner *runner)
{
    for (unsigned i = 0; i < runner->settings.workers; i++) {
        struct receive_worker *worker = &runner->workers[i];
        if (!worker->command)
            continue;
        const struct buffer *output = stage_command_output(worker->command);
        if (output->size >= RECEIVE_ANSWER_MAX)
            stage_command_end(worker->command);
        if (!worker->ended)
            continue;
        const struct receive_part *part = &worker->parts[0];
        if (outcome(worker).action == PROTOCOL_ACK)
            runner->settings.answered(runner->settings.context, part->parcel, part->index, output->data, output->size);
        settle_worker(worker);
    }
}

static enum mp_error reap(struct receive_runner *runner, struct fault *fault)
{
    if (runner->settings.answers) {
        give_answers(runner);
        return MP_OK;
    }
    if (runner->collects)
        return speak(runner, fault);
    for (unsigned i = 0; i < runner->settings.workers; i++)
        if (runner->workers[i].command && runner->workers[i].ended)
            settle_worker(&runner->workers[i]);
    return runner->sink.gone ? fault_set(fault, MP_ERR_CLOSED, "stdout's reader has gone") : MP_OK;
}

/* ---- starting ------------------------------------------------------------------------------------------------- */

static enum mp_error add_part(struct receive_worker *worker, struct stage_parcel *parcel, uint32_t index)
{
    struct receive_part *last = worker->parts_count ? &worker->parts[worker->parts_count - 1] : NULL;
    if (last && last->parcel == parcel) {
        last->count++;
        return MP_OK;
    }
    if (worker->parts_count == worker->parts_capacity) {
        struct receive_part *parts = memory_grow(worker->parts, &worker->parts_capacity, sizeof *parts, 4);
        if (!parts)
            return MP_ERR_MEMORY;
        worker->parts = parts;
    }
    worker->parts[worker->parts_count++] = (struct receive_part){parcel, index, 1};
    return MP_OK;
}

/* Appends a message to the command's input. */
static enum mp_error put(struct receive_worker *worker, const struct format_item *item, struct fault *fault)
{
    const struct receive_runner_settings *settings = &worker->runner->settings;
    enum format format = settings->format == RECEIVE_FORMAT_UNSET ? FORMAT_LINES : (enum format)settings->format;
    enum mp_error error;
    if (settings->template)
        error = format_template_write(settings->template, item, &worker->input);
    else
        error = format_write(format, item, &worker->input, fault);
    if (error == MP_ERR_FORMAT && format != FORMAT_JSON) {
        /* The separator is in the body: it goes in as it is, as it goes into a pipe. */
        error = buffer_append(&worker->input, item->record.body, item->record.size);
        if (!error)
            error = buffer_append(&worker->input, format == FORMAT_LINES ? "\n" : "", 1);
    }
    return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
}

/* Whether another message may join those that the worker has. */
static bool joins(const struct receive_worker *worker, const struct stage_parcel *parcel)
{
    const struct stage_parcel *first = worker->parts[0].parcel;
    return first == parcel || (first->attempt == parcel->attempt && strcmp(first->topic, parcel->topic) == 0);
}

/*
 * Takes messages for the worker off the queue. *BARE: the only one's body, when the command is to read it as it is.
 * *FIRST: what is known of the first.
 */
static enum mp_error take(struct receive_worker *worker, struct format_item *first, struct record *bare,
                          struct fault *fault)
{
    struct receive_runner *runner = worker->runner;
    bool batch = runner->settings.mode == RECEIVE_BATCH;
    bool as_it_is = !batch && runner->settings.format == RECEIVE_FORMAT_UNSET && !runner->settings.template;
    uint32_t most = batch ? runner->settings.batch : 1;
    enum mp_error error = MP_OK;
    worker->messages = 0;
    worker->input.size = 0;
    while (!error && worker->messages < most && runner->queue.first) {
        struct stage_parcel *parcel = runner->queue.first;
        struct record record;
        uint32_t index = parcel->taken;
        if (worker->messages && !joins(worker, parcel))
            break;
        stage_parcel_take(parcel, &record);
        if (parcel->taken == parcel->count)
            stage_queue_shift(&runner->queue);
        error = add_part(worker, parcel, index);
        if (error)
            return fault_memory(fault);
        struct format_item item = stage_parcel_item(parcel, &record, index);
        if (worker->messages++ == 0)
            *first = item;
        if (as_it_is)
            *bare = record;
        else
            error = put(worker, &item, fault);
    }
    return error;
}

/* Gives back what the worker was to have. */
static void give_back(struct receive_worker *worker)
{
    struct protocol_settlement how = {.action = PROTOCOL_RELEASE, .exit_code = -1};
    for (size_t i = 0; i < worker->parts_count; i++)
        receive_runner_settle(worker->runner, &worker->parts[i], &how);
    worker->parts_count = 0;
}

static void note_id(struct receive_worker *worker, const struct format_item *item)
{
    char text[FRAME_ID_TEXT];
    size_t size;
    const char *id = frame_record_id(&item->record, text, &size);
    snprintf(worker->id, sizeof(worker->id), "%.*s", (int)(size < sizeof(worker->id) ? size : 0), id);
}

static enum mp_error start(struct receive_worker *worker, int *code, struct fault *fault)
{
    struct receive_runner *runner = worker->runner;
    struct format_item first = {0};
    struct record bare = {0};
    enum mp_error error = take(worker, &first, &bare, fault);
    if (!error)
        error = stage_environment_set(runner->environment, &first,
                                      runner->settings.mode == RECEIVE_BATCH ? worker->messages : 0, fault);
    struct stage_command_settings command = {
        .children = runner->children,
        .argv = runner->argv,
        .environment = runner->environment->entries,
        .signals = loop_child_signals,
        .input = bare.body ? bare.body : worker->input.data,
        .input_size = bare.body ? bare.size : worker->input.size,
        .output_limit = runner->settings.answers ? RECEIVE_ANSWER_MAX
                        : runner->collects       ? KEPT_MAX
                                                 : 0,
        .timeout = runner->settings.timeout,
        .context = worker,
        .output = on_output,
        .keep_error = runner->settings.keep_error,
        .error = on_error,
        .ended = on_ended,
    };
    worker->tail.size = 0;
    *code = EXIT_FAILED;
    if (!error)
        error = stage_command_start(&command, &worker->command, code, fault);
    if (error) {
        give_back(worker);
        return error;
    }
    note_id(worker, &first);
    note_group(worker);
    receive_runner_look(worker->parts[0].parcel, &first.record);
    runner->running++;
    return MP_OK;
}

enum mp_error receive_run_pump(struct receive_runner *runner, int *code, struct fault *fault)
{
    enum mp_error error = reap(runner, fault);
    if (error)
        return error;
    for (unsigned i = 0; i < runner->settings.workers && !runner->stopped && runner->code < 0; i++) {
        struct receive_worker *worker = &runner->workers[i];
        if (worker->command || !runner->queue.first)
            continue;
        int why;
        error = start(worker, &why, fault);
        if (error && runner->running) {
            /* Those that run are let finish first. */
            runner->code = why;
            runner->fault = *fault;
        } else if (error) {
            *code = why;
            return error;
        }
    }
    return MP_OK;
}

void receive_run_end(struct receive_runner *runner)
{
    for (unsigned i = 0; i < runner->settings.workers; i++)
        if (runner->workers[i].command)
            stage_command_end(runner->workers[i].command);
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

enum mp_error receive_run_open(struct receive_runner *runner, struct fault *fault)
{
    const struct receive_runner_settings *settings = &runner->settings;
    runner->collects = (settings->workers > 1 || settings->only_success) && !settings->answers;
    runner->shell[0] = (char *)(uintptr_t) "/bin/sh";
    runner->shell[1] = (char *)(uintptr_t) "-c";
    runner->shell[2] = (char *)(uintptr_t)settings->shell;
    runner->argv = settings->command ? settings->command : runner->shell;
    runner->workers = memory_allocate_array(settings->workers, sizeof(*runner->workers));
    runner->environment = memory_allocate(sizeof(*runner->environment));
    if (!runner->workers || !runner->environment)
        return fault_memory(fault);
    for (unsigned i = 0; i < settings->workers; i++) {
        runner->workers[i].runner = runner;
        runner->workers[i].kept = retry_output_of(&runner->budget);
    }
    return stage_environment_open(runner->environment, environ, NULL, fault);
}

/* Drops what the worker has, without settling it. */
static void drop(struct receive_worker *worker)
{
    stage_command_free(worker->command);
    worker->command = NULL;
    note_group(worker);
    for (size_t i = 0; i < worker->parts_count; i++) {
        struct receive_part *part = &worker->parts[i];
        part->parcel->settled += part->count;
        if (part->parcel->settled == part->parcel->count)
            stage_parcel_free(part->parcel);
    }
    memory_release(worker->parts);
    buffer_free(&worker->input);
    retry_output_clear(&worker->kept);
}

void receive_run_free(struct receive_runner *runner)
{
    for (unsigned i = 0; runner->workers && i < runner->settings.workers; i++)
        if (runner->workers[i].runner)
            drop(&runner->workers[i]);
    if (runner->environment)
        stage_environment_free(runner->environment);
    memory_release(runner->environment);
    memory_release(runner->workers);
}
