/* One run of a source's command. */
#include "runner/source_process.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "stage/environment.h"
#include "stage/lines.h"

#include <stdio.h>

enum { OUTPUT_KEPT = 256 * 1024 }; /* bytes of its output that are read ahead */

extern char **environ;

struct source_process {
    struct source *source;
    const char *name;
    struct stage_command *command;
    struct stage_environment environment;
    struct stage_lines lines;
    char *shell[4];
    struct format_reader reader;
    struct buffer input;
    size_t begin; /* of what is not used yet in `input` */
    bool ended;
    bool torn; /* what was left at its end was told */
    struct stage_result result;
};

static void on_output(void *context)
{
    struct source_process *process = context;
    source_wake(process->source);
}

static void on_line(void *context, const char *text, size_t size)
{
    const struct source_process *process = context;
    struct log_line line;
    log_begin(&line, LOG_INFO, "stderr");
    log_field(&line, "source", "%s", process->name);
    log_field(&line, "line", "%.*s", (int)size, text);
    log_end(&line);
}

static void on_error(void *context, const void *data, size_t size)
{
    struct source_process *process = context;
    stage_lines_add(&process->lines, data, size, on_line, process);
}

static void on_ended(void *context, const struct stage_result *result)
{
    struct source_process *process = context;
    stage_lines_end(&process->lines, on_line, process);
    process->ended = true;
    process->result = *result;
    source_wake(process->source);
}

enum mp_error source_process_start(struct source *source, const struct source_settings *settings,
                                   struct source_process **result, int *exit, struct fault *fault)
{
    static char shell[] = "/bin/sh";
    static char option[] = "-c";
    const struct pipeline_command *what = &settings->source->command;
    struct source_process *process = memory_allocate(sizeof(*process));
    *exit = 75;
    if (!process)
        return fault_memory(fault);
    process->source = source;
    process->name = settings->source->name;
    process->reader.format = settings->source->format;
    process->reader.limit = source_limit(source);
    process->shell[0] = shell;
    process->shell[1] = option;
    process->shell[2] = (char *)(uintptr_t)what->shell; /* posix_spawn() does not write there */
    enum mp_error error = stage_environment_open(&process->environment, environ, what->environment, fault);
    const struct stage_command_settings command = {
        .children = settings->children,
        .argv = what->shell ? process->shell : what->argv,
        .environment = process->environment.entries,
        .directory = what->directory,
        .signals = settings->signals,
        .output_limit = OUTPUT_KEPT,
        .keep_error = true,
        .context = process,
        .output = on_output,
        .error = on_error,
        .ended = on_ended,
    };
    if (!error)
        error = stage_command_start(&command, &process->command, exit, fault);
    if (error) {
        source_process_free(process);
        return error;
    }
    *result = process;
    return MP_OK;
}

void source_process_free(struct source_process *process)
{
    if (!process)
        return;
    stage_command_free(process->command);
    stage_environment_free(&process->environment);
    format_reader_free(&process->reader);
    buffer_free(&process->input);
    memory_release(process);
}

/* Moves what was printed to the end of the input. False: nothing was. */
static bool move_output(struct source_process *process, enum mp_error *error)
{
    const struct buffer *output = stage_command_output(process->command);
    size_t size = output->size;
    *error = MP_OK;
    if (!size)
        return false;
    buffer_consume(&process->input, process->begin);
    process->begin = 0;
    *error = buffer_append(&process->input, output->data, size);
    if (*error)
        return false;
    stage_command_taken(process->command, size);
    return true;
}

/* Whether the end of its output is an end. */
static bool is_whole(const struct source_process *process)
{
    return process->ended && process->result.code == 0;
}

/* What it did not print completely. */
static enum mp_error leave_rest(struct source_process *process, struct fault *fault)
{
    size_t rest = process->input.size - process->begin;
    bool told = process->torn || !rest;
    process->torn = true;
    process->begin = process->input.size;
    if (told)
        return MP_ERR_CLOSED;
    char words[96];
    source_process_words(process, words, sizeof(words));
    return fault_set(fault, MP_ERR_FORMAT, "%s in the middle of a message: its last %zu bytes are left out", words,
                     rest);
}

enum mp_error source_process_next(struct source_process *process, struct format_item *item, struct fault *fault)
{
    for (;;) {
        struct format_message message;
        size_t used = 0;
        bool empty = stage_command_output(process->command)->size == 0;
        struct buffer *input = &process->input;
        enum mp_error error =
            format_read(&process->reader, input->data ? input->data + process->begin : NULL,
                        input->size - process->begin, empty && is_whole(process), &used, &message, fault);
        process->begin += used;
        if (error == MP_OK) {
            *item = format_item_of(&message, clock_wall());
            return MP_OK;
        }
        if (error != MP_ERR_AGAIN)
            return error;
        if (move_output(process, &error))
            continue;
        if (error)
            return fault_memory(fault);
        return process->ended ? leave_rest(process, fault) : MP_ERR_AGAIN;
    }
}

const struct stage_result *source_process_result(const struct source_process *process)
{
    return &process->result;
}

void source_process_words(const struct source_process *process, char *words, size_t size)
{
    const struct stage_result *result = &process->result;
    if (result->signal)
        snprintf(words, size, "the command was ended by signal %d", result->signal);
    else
        snprintf(words, size, "the command exited with %d", result->code);
}

void source_process_end(struct source_process *process)
{
    if (!process->ended)
        stage_command_end(process->command);
}
