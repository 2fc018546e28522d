/*
 * A command whose output becomes messages. When it ends it is started again as `restart` says: after 100 ms, doubled each
 * time up to 30 s, and 100 ms again after a run of 10 s.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"
#include "runner/source_process.h"

enum { GOOD_RUN = 10000000 }; /* microseconds of a run that was none of a row of failures */

struct source_command {
    struct source *source;
    const struct source_settings *settings;
    struct source_process *process; /* NULL: none runs */
    unsigned ends;                  /* in a row, each soon after its start */
    int64_t start_at;
    bool stopped;
};

static enum mp_error open_command(struct source *source, const struct source_settings *settings, void **state,
                                  struct fault *fault)
{
    struct source_command *command = memory_allocate(sizeof(*command));
    if (!command)
        return fault_memory(fault);
    command->source = source;
    command->settings = settings;
    *state = command;
    return MP_OK;
}

static void free_command(void *state)
{
    struct source_command *command = state;
    source_process_free(command->process);
    memory_release(command);
}

static void stop_command(void *state)
{
    struct source_command *command = state;
    command->stopped = true;
    if (command->process)
        source_process_end(command->process);
}

/* It ended, or could not be started, as WORDS say: again, or not. MP_ERR_AGAIN, MP_ERR_CLOSED, or for ever failed. */
static enum mp_error go_on(struct source_command *command, bool failed, int64_t duration, const char *words,
                           int64_t now, int64_t *due, struct fault *fault)
{
    enum pipeline_restart restart = command->settings->source->restart;
    source_process_free(command->process);
    command->process = NULL;
    if (command->stopped || (restart == PIPELINE_ON_FAILURE && !failed) || (restart == PIPELINE_NEVER && !failed))
        return MP_ERR_CLOSED;
    if (restart == PIPELINE_NEVER)
        return fault_set(fault, MP_ERR_IO, "%s", words);
    command->ends = duration >= GOOD_RUN ? 1 : command->ends + 1;
    int64_t pause = source_again(command->ends);
    char text[24];
    units_duration_text(pause, text, sizeof(text));
    command->start_at = now + pause;
    *due = command->start_at < *due ? command->start_at : *due;
    source_wait(command->source, "%s: again in %s", words, text);
    return MP_ERR_AGAIN;
}

static enum mp_error start(struct source_command *command, int64_t now, int64_t *due, struct fault *fault)
{
    int exit;
    if (command->stopped)
        return MP_ERR_CLOSED;
    if (now < command->start_at) {
        *due = command->start_at < *due ? command->start_at : *due;
        return MP_ERR_AGAIN;
    }
    if (source_process_start(command->source, command->settings, &command->process, &exit, fault)) {
        struct fault why = *fault;
        return go_on(command, true, 0, fault_text(&why), now, due, fault);
    }
    source_wait(command->source, NULL);
    return MP_OK;
}

static enum mp_error next_of_command(void *state, struct format_item *item, uint64_t *mark, int64_t now, int64_t *due,
                                     struct fault *fault)
{
    struct source_command *command = state;
    enum mp_error error = command->process ? MP_OK : start(command, now, due, fault);
    if (!error)
        error = source_process_next(command->process, item, fault);
    if (error == MP_OK)
        (*mark)++;
    if (error != MP_ERR_CLOSED || !command->process)
        return error;
    const struct stage_result *result = source_process_result(command->process);
    char words[96];
    source_process_words(command->process, words, sizeof(words));
    return go_on(command, result->code != 0, result->duration, words, now, due, fault);
}

const struct source_kind source_kind_command = {
    .open = open_command,
    .next = next_of_command,
    .stop = stop_command,
    .free = free_command,
};
