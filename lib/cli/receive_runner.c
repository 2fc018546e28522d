/* Commands for messages: settling, words, and the end. */
#include "cli/receive_runner_private.h"

#include "base/memory.h"
#include "cli/child_groups.h"
#include "message/letter.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { BATCH = 100 };

/* ---- settling ------------------------------------------------------------------------------------------------- */

void receive_runner_settle(struct receive_runner *runner, const struct receive_part *part,
                           const struct protocol_settlement *how)
{
    struct stage_parcel *parcel = part->parcel;
    runner->settings.worked(runner->settings.context, parcel, part->index, part->count, how);
    parcel->settled += part->count;
    runner->held -= part->count;
    if (parcel->settled == parcel->count)
        stage_parcel_free(parcel);
}

/* Releases what is in the queue and may not be begun any more. */
static void check(struct receive_runner *runner, int64_t now)
{
    static const struct protocol_settlement how = {.action = PROTOCOL_RELEASE, .exit_code = -1};
    struct stage_parcel *parcel;
    while ((parcel = runner->queue.first) && !runner->settings.holds(runner->settings.context, parcel, now)) {
        struct receive_part rest = {parcel, parcel->taken, parcel->count - parcel->taken};
        parcel->taken = parcel->count;
        stage_queue_shift(&runner->queue);
        receive_runner_settle(runner, &rest, &how);
    }
}

void receive_runner_limit(struct receive_runner *runner, uint32_t max_retries)
{
    runner->max_retries = max_retries;
}

bool receive_runner_is_last(const struct receive_runner *runner, const struct stage_parcel *parcel,
                            const struct protocol_settlement *how)
{
    return runner && parcel->lease && !parcel->letters && how->action == PROTOCOL_RETRY &&
           parcel->attempt > runner->max_retries;
}

void receive_runner_look(struct stage_parcel *parcel, const struct record *record)
{
    struct letter letter;
    parcel->letters = record->attributes_size > 0 && letter_read(record->attributes, record->attributes_size, &letter);
}

/* ---- words ---------------------------------------------------------------------------------------------------- */

const char *receive_runner_name(const struct receive_runner *runner)
{
    return runner->settings.shell ? "the command" : runner->settings.command[0];
}

void receive_runner_tell(const struct receive_runner *runner, const struct stage_parcel *parcel,
                         const struct protocol_settlement *how, const char *what)
{
    char then[80] = "";
    if (parcel->lease && how->action == PROTOCOL_DEAD)
        snprintf(then, sizeof(then), ": dead-lettered");
    else if (receive_runner_is_last(runner, parcel, how))
        snprintf(then, sizeof(then), " at attempt %u, the last: dead-lettered", parcel->attempt);
    else if (parcel->lease)
        snprintf(then, sizeof(then), " at attempt %u: to be tried again%s", parcel->attempt,
                 parcel->letters ? ", as a dead letter does not die" : "");
    tell("%s%s", what, then);
}

void receive_runner_say(const void *data, size_t size)
{
    progress_erase();
    for (size_t done = 0; done < size;) {
        ssize_t some = write(STDERR_FILENO, (const char *)data + done, size - done);
        if (some < 0 && errno != EINTR)
            return; /* nobody listens */
        done += some > 0 ? (size_t)some : 0;
    }
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

/* After stop(): what runs for too long is ended. */
static void end_late(struct receive_runner *runner, int64_t now, int64_t *due)
{
    if (!runner->stopped || runner->ending || !runner->running)
        return;
    if (runner->end_at == 0) {
        runner->end_at = now + RECEIVE_PATIENCE;
        if (output_is_terminal(STDERR_FILENO))
            tell("waiting for what the command still does: %d seconds at most", RECEIVE_PATIENCE / 1000000);
    }
    if (now < runner->end_at) {
        *due = runner->end_at < *due ? runner->end_at : *due;
        return;
    }
    runner->ending = true;
    tell("commands still run: ending them");
    if (runner->stream)
        receive_stream_end(runner);
    else
        receive_run_end(runner);
}

enum mp_error receive_runner_pump(struct receive_runner *runner, int64_t now, int64_t *due, int *code,
                                  struct fault *fault)
{
    check(runner, now);
    enum mp_error error = runner->stream ? receive_stream_pump(runner, fault) : receive_run_pump(runner, code, fault);
    if (error)
        return error;
    end_late(runner, now, due);
    if (runner->code >= 0 && !runner->running) {
        *code = runner->code;
        *fault = runner->fault;
        return fault->code;
    }
    return MP_OK;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

enum mp_error receive_runner_open(const struct receive_runner_settings *settings, struct receive_runner **result,
                                  struct fault *fault)
{
    struct receive_runner *runner = memory_allocate(sizeof(*runner));
    if (!runner)
        return fault_memory(fault);
    runner->settings = *settings;
    runner->code = -1;
    runner->max_retries = UINT32_MAX;
    if (settings->batch == 0)
        runner->settings.batch = BATCH;
    if (settings->mode == RECEIVE_EACH)
        runner->settings.batch = 1;
    if (settings->max_in_flight == 0 && settings->mode != RECEIVE_STREAM)
        runner->settings.max_in_flight = runner->settings.batch * settings->workers * 2;
    enum mp_error error = stage_children_open(settings->loop->base, &runner->children, fault);
    if (!error)
        error = settings->mode == RECEIVE_STREAM ? receive_stream_open(runner, fault) : receive_run_open(runner, fault);
    if (!error) {
        runner->has_sink = true;
        error = receive_sink_open(&runner->sink, settings->loop, fault);
    }
    if (error) {
        receive_runner_free(runner);
        return error;
    }
    *result = runner;
    return MP_OK;
}

void receive_runner_free(struct receive_runner *runner)
{
    if (!runner)
        return;
    if (runner->stream)
        receive_stream_free(runner);
    receive_run_free(runner);
    stage_queue_free(&runner->queue);
    if (runner->has_sink)
        receive_sink_close(&runner->sink);
    stage_children_free(runner->children);
    memory_release(runner);
}

void receive_runner_add(struct receive_runner *runner, struct stage_parcel *parcel)
{
    stage_queue_add(&runner->queue, parcel);
    runner->held += parcel->count;
}

void receive_runner_stop(struct receive_runner *runner)
{
    if (!runner->stopped)
        child_groups_guard(runner->settings.loop->interrupted);
    runner->stopped = true;
    if (runner->stream)
        receive_stream_stop(runner);
}

uint32_t receive_runner_room(const struct receive_runner *runner)
{
    uint32_t most = runner->settings.max_in_flight;
    if (runner->stream && !runner->stopped && runner->code < 0)
        return receive_stream_room(runner);
    return runner->held < most && !runner->stopped && runner->code < 0 ? most - (uint32_t)runner->held : 0;
}

bool receive_runner_idle(const struct receive_runner *runner)
{
    return !runner->running && (runner->stopped || !runner->queue.first);
}
