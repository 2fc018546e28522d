/* mretry's work: what is begun next, what is printed next, and when it is over. */
#include "cli/retry_work.h"

#include "base/map.h"
#include "base/memory.h"
#include "cli/child_groups.h"
#include "cli/exit.h"
#include "cli/relay_link.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

extern char **environ;

void retry_work_end(struct retry_work *work, int code)
{
    if (work->exit < 0)
        work->exit = code;
    if (!work->stopped)
        child_groups_guard(work->loop->interrupted);
    work->stopped = true;
}

void retry_work_fail(struct retry_work *work, const struct fault *fault)
{
    if (work->exit >= 0)
        return;
    if (fault->code == MP_ERR_CLOSED) {
        work->pipe = true;
        retry_work_end(work, EXIT_IO);
    } else {
        retry_work_end(work, relay_link_tell(work->source.relay, fault));
    }
    retry_work_terminate(work);
}

/* ---- ids under way -------------------------------------------------------------------------------------------- */

/* Where a message's id stands, behind its attributes: it stays there. */
static const void *id_key(const struct retry_message *message)
{
    return &message->bytes[message->size + message->attributes_size];
}

/* From now on other messages with these ids wait for JOB. */
static enum mp_error hold_ids(struct retry_work *work, struct retry_job *job, uint32_t from)
{
    enum mp_error error = MP_OK;
    for (uint32_t i = from; !error && work->seen && i < job->count; i++)
        if (job->messages[i].has_id)
            error = map_put(&work->under_way, id_key(&job->messages[i]), sizeof(struct seen_id), job);
    return error;
}

void retry_work_release(struct retry_work *work, const struct retry_job *job)
{
    for (uint32_t i = 0; work->seen && i < job->count; i++) {
        const void *key = id_key(&job->messages[i]);
        if (job->messages[i].has_id && map_get(&work->under_way, key, sizeof(struct seen_id)) == job)
            map_remove(&work->under_way, key, sizeof(struct seen_id));
    }
}

/* ---- what has finished ---------------------------------------------------------------------------------------- */

static bool is_finished(const struct retry_job *job)
{
    return job->state == RETRY_DONE || job->state == RETRY_DEAD;
}

/* Moves what may be printed now: all that is finished, in order up to the first that is not. True if any. */
static bool collect(struct retry_work *work)
{
    bool moved = false;
    bool any = work->unordered || (work->stopped && work->running == 0);
    for (struct retry_job *job = work->jobs.first, *next; job; job = next) {
        next = job->next;
        if (!is_finished(job) && !any)
            break;
        if (!is_finished(job))
            continue;
        retry_list_remove(&work->jobs, job);
        retry_list_add(&work->printing, job);
        moved = true;
    }
    return moved;
}

static void print(struct retry_work *work)
{
    struct fault fault = {0};
    while (work->printing.first) {
        struct retry_job *job = work->printing.first;
        enum mp_error error = retry_output_print(&job->output, &work->sink, &fault);
        if (error == MP_ERR_AGAIN)
            return;
        if (error) {
            work->mute = true;
            retry_work_fail(work, &fault);
            return;
        }
        retry_list_remove(&work->printing, job);
        retry_job_free(job);
    }
    if (work->sink.gone)
        retry_work_fail(work, &(struct fault){.code = MP_ERR_CLOSED});
}

/* Hopeless jobs become dead ones. */
static void bury(struct retry_work *work)
{
    for (struct retry_job *job = work->jobs.first; job; job = job->next) {
        struct fault fault = {0};
        if (job->state != RETRY_DYING)
            continue;
        if (!work->source.dead) {
            job->state = RETRY_STOPPED;
            retry_work_end(work, EXIT_FAILED);
            continue;
        }
        enum mp_error error = work->source.dead(work->source.context, job, &fault);
        if (error == MP_OK) {
            job->state = RETRY_DEAD;
            work->dead += job->count;
            retry_work_release(work, job);
        } else if (error != MP_ERR_AGAIN) {
            job->state = RETRY_STOPPED;
            retry_work_fail(work, &fault);
        }
    }
}

/* ---- what is begun next --------------------------------------------------------------------------------------- */

/* A message whose id is under way: it waits for what becomes of the other one. */
static enum mp_error add_held(struct retry_work *work, const struct retry_message *message, const void *body,
                              const void *attributes)
{
    struct retry_job *job = retry_job_new(&work->budget);
    if (!job)
        return MP_ERR_MEMORY;
    job->state = RETRY_HELD;
    enum mp_error error = retry_job_add(job, message, body, attributes);
    retry_list_add(&work->jobs, job);
    return error;
}

static bool has_room(const struct retry_work *work)
{
    return work->jobs.messages < RETRY_JOBS + work->batch && work->jobs.bytes < RETRY_BYTES &&
           !retry_budget_is_used(&work->budget);
}

enum taken { TAKEN_NOTHING, TAKEN_ADDED, TAKEN_LEFT_OUT, TAKEN_HELD };

/* The input has ended with ERROR. */
static enum taken end_input(struct retry_work *work, enum mp_error error, int code, const struct fault *fault)
{
    work->ended = true;
    if (error != MP_ERR_CLOSED && work->exit < 0) {
        tell("%s", fault_text(fault));
        work->exit = code >= 0 ? code : exit_code_of(error);
    }
    return TAKEN_NOTHING;
}

/* Takes the next message into JOB, the last one of `jobs`, or into one of its own behind it. */
static enum taken take(struct retry_work *work, struct retry_job *job, int64_t now, int64_t *due)
{
    struct retry_message message = {0};
    struct fault fault = {0};
    const void *body = NULL;
    const void *attributes = NULL;
    int code = -1;
    enum mp_error error =
        work->source.next(work->source.context, &message, &body, &attributes, now, due, &code, &fault);
    if (error)
        return error == MP_ERR_AGAIN ? TAKEN_NOTHING : end_input(work, error, code, &fault);
    work->came++;
    work->last = message.number;
    enum taken taken = TAKEN_ADDED;
    if (work->seen && message.has_id && seen_has(work->seen, message.id, now)) {
        work->duplicates++;
        return TAKEN_LEFT_OUT;
    }
    if (work->seen && message.has_id && map_get(&work->under_way, &message.id, sizeof(message.id))) {
        taken = TAKEN_HELD;
        error = add_held(work, &message, body, attributes);
    } else {
        error = retry_job_add(job, &message, body, attributes);
        if (!error) {
            work->jobs.messages++;
            work->jobs.bytes += message.size + message.attributes_size;
            error = hold_ids(work, job, job->count - 1);
        }
    }
    if (!error)
        return taken;
    fault_memory(&fault);
    retry_work_fail(work, &fault);
    return TAKEN_NOTHING;
}

/* A job from the input, among `jobs`; NULL: there is none now. */
static struct retry_job *take_job(struct retry_work *work, int64_t now, int64_t *due)
{
    struct retry_job *job = retry_job_new(&work->budget);
    enum taken taken = TAKEN_ADDED;
    if (!job) {
        struct fault fault = {0};
        fault_memory(&fault);
        retry_work_fail(work, &fault);
        return NULL;
    }
    retry_list_add(&work->jobs, job);
    while (taken != TAKEN_NOTHING && job->count < work->batch && has_room(work)) {
        taken = take(work, job, now, due);
        if (taken != TAKEN_HELD)
            continue;
        if (job->count)
            break; /* what comes now belongs behind the one that is held */
        retry_list_remove(&work->jobs, job);
        retry_list_add(&work->jobs, job);
    }
    if (job->count)
        return job;
    retry_list_remove(&work->jobs, job);
    retry_job_free(job);
    return NULL;
}

/* What a held message may do now that things have gone on. */
static void look_at_held(struct retry_work *work, struct retry_job *job, int64_t now)
{
    const struct retry_message *message = &job->messages[0];
    if (seen_has(work->seen, message->id, now)) {
        job->state = RETRY_DEAD;
        work->duplicates++;
    } else if (!map_get(&work->under_way, id_key(message), sizeof(struct seen_id))) {
        job->state = RETRY_WAITING;
        if (hold_ids(work, job, 0)) {
            struct fault fault = {0};
            fault_memory(&fault);
            retry_work_fail(work, &fault);
        }
    }
}

/* The first job that can be begun: one that was taken before, or a new one. */
static struct retry_job *next_job(struct retry_work *work, int64_t now, int64_t *due)
{
    for (struct retry_job *job = work->jobs.first; job; job = job->next) {
        if (job->state == RETRY_HELD)
            look_at_held(work, job, now);
        if (job->state == RETRY_WAITING || (job->state == RETRY_DELAYED && job->due <= now))
            return job;
        if (job->state == RETRY_DELAYED && job->due < *due)
            *due = job->due;
    }
    return work->ended ? NULL : take_job(work, now, due);
}

static void begin(struct retry_work *work, int64_t now, int64_t *due)
{
    while (!work->stopped && work->running < work->workers_count) {
        if (now < work->later) {
            *due = work->later < *due ? work->later : *due;
            return;
        }
        struct retry_job *job = next_job(work, now, due);
        if (!job)
            return;
        retry_work_start(work, job, now);
    }
}

/* ---- the loop ------------------------------------------------------------------------------------------------- */

static void interrupt(struct retry_work *work)
{
    retry_work_end(work, EXIT_FAILED);
    retry_work_terminate(work);
    work->interrupted = true;
}

bool retry_work_step(void *context, int64_t now, int64_t *due)
{
    struct retry_work *work = context;
    struct fault fault = {0};
    if (work->source.check && work->source.check(work->source.context, now, &fault))
        retry_work_fail(work, &fault);
    if (work->loop->interrupted && !work->interrupted)
        interrupt(work);
    retry_work_reap(work, now);
    if (work->source.flush && work->source.flush(work->source.context, now, &fault))
        retry_work_fail(work, &fault);
    bury(work);
    begin(work, now, due);
    if (collect(work))
        *due = now; /* there is room for more */
    if (!work->pipe && !work->mute)
        print(work);
    progress_show(&work->progress, "done", work->source.bytes ? *work->source.bytes : 0, work->done + work->dead, now);
    if (work->running)
        return true;
    if (work->pipe || work->mute || (work->stopped && !work->printing.first))
        return false;
    return !work->ended || work->jobs.first || work->printing.first;
}

enum mp_error retry_work_open(struct retry_work *work, struct fault *fault)
{
    work->exit = -1;
    work->words[0] = (char *)(uintptr_t) "/bin/sh";
    work->words[1] = (char *)(uintptr_t) "-c";
    work->words[2] = (char *)(uintptr_t)work->shell;
    work->argv = work->command ? work->command : work->words;
    enum mp_error error = receive_sink_check(fault);
    if (!error && getentropy(&work->random, sizeof(work->random)) != 0)
        work->random = (uint64_t)clock_wall();
    if (!error)
        error = retry_workers_open(work, fault);
    if (!error)
        error = stage_environment_open(&work->environment, environ, NULL, fault);
    if (!error) {
        work->has_sink = true;
        error = receive_sink_open(&work->sink, work->loop, fault);
    }
    return error;
}

void retry_work_close(struct retry_work *work)
{
    retry_workers_close(work);
    retry_list_free(&work->jobs);
    retry_list_free(&work->printing);
    if (work->has_sink)
        receive_sink_close(&work->sink);
    stage_environment_free(&work->environment);
    map_free(&work->under_way);
}

/* ---- what was not done ---------------------------------------------------------------------------------------- */

struct ranges {
    char text[FAULT_TEXT];
    size_t used;
    uint64_t first, last; /* the range that is being gathered; 0: none */
    uint64_t left;        /* ranges that do not fit into the text */
};

static void end_range(struct ranges *ranges)
{
    char text[64];
    if (ranges->first == 0)
        return;
    int size = ranges->first == ranges->last
                   ? snprintf(text, sizeof(text), "%s%" PRIu64, ranges->used ? ", " : "", ranges->first)
                   : snprintf(text, sizeof(text), "%s%" PRIu64 "-%" PRIu64, ranges->used ? ", " : "", ranges->first,
                              ranges->last);
    if (ranges->used + (size_t)size < sizeof(ranges->text))
        ranges->used += (size_t)snprintf(ranges->text + ranges->used, sizeof(ranges->text) - ranges->used, "%s", text);
    else
        ranges->left++;
    ranges->first = 0;
}

static void add_number(struct ranges *ranges, uint64_t number)
{
    if (ranges->first && number == ranges->last + 1) {
        ranges->last = number;
        return;
    }
    end_range(ranges);
    ranges->first = ranges->last = number;
}

/* Outputs of commands that have succeeded are lost when stdout fails: not so that nobody knows. */
static void tell_unprinted(const struct retry_work *work)
{
    struct ranges ranges = {.used = 0};
    for (const struct retry_job *job = work->printing.first; job; job = job->next)
        for (uint32_t i = 0; i < job->count && job->output.printed < job->output.size; i++)
            add_number(&ranges, job->messages[i].number);
    end_range(&ranges);
    if (ranges.used)
        tell("done, but not printed, or not all of it: %s%s", ranges.text, ranges.left ? " and others" : "");
}

void retry_work_tell_undone(const struct retry_work *work, const char *why)
{
    struct ranges ranges = {.used = 0};
    uint64_t first = 0;
    for (const struct retry_job *job = work->jobs.first; job; job = job->next)
        for (uint32_t i = 0; i < job->count && !is_finished(job); i++) {
            add_number(&ranges, job->messages[i].number);
            first = first ? first : job->messages[i].number;
        }
    end_range(&ranges);
    char rest[80] = "";
    if (!work->ended)
        snprintf(rest, sizeof(rest), "%swhat follows message %" PRIu64, ranges.used ? ", and " : "", work->last);
    tell("%s: %" PRIu64 " %s done, %" PRIu64 " %s; not done: %s%s%s", why, work->done,
         work->done == 1 ? "message was" : "messages were", work->dead, "died", ranges.used ? ranges.text : "",
         ranges.left ? " and others" : "", ranges.used || *rest ? rest : "nothing");
    tell_unprinted(work);
    uint64_t skip = first ? first - 1 : work->last;
    if (work->source.resumes && skip && (first || !work->ended))
        tell("to go on with the same input: add --skip %" PRIu64, skip);
}
