/*
 * Commands that stay (--mode stream), on stage/work.h: each message is a line to one of them, its answer a line to
 * stdout. A message is acknowledged when its answer was written, or given to the peer that asked.
 */
#include "cli/receive_runner_private.h"

#include "base/memory.h"
#include "cli/child_groups.h"
#include "stage/work.h"

#include <stdio.h>
#include <string.h>

enum { UNPRINTED_MAX = 1024 * 1024 }; /* bytes of answers, beyond which no message is begun */

/* A message that a command has, or whose answer is not printed yet. */
struct receive_job {
    struct stage_task task; /* the first member */
    struct format_item item;
    struct receive_part part;
    uint64_t end; /* where its answer ends, in bytes printed since the start */
};

struct receive_stream {
    struct receive_runner *runner;
    struct stage_work *work;
    struct stage_task *idle; /* jobs without a message */
    struct buffer output;
    size_t written;  /* bytes of `output` */
    uint64_t put;    /* bytes put into the output since the start */
    uint64_t passed; /* and written */
    bool closing;    /* nobody is there any more to whom it could be told what becomes of messages */
    struct stage_task *printed;
    struct stage_task **printed_last; /* jobs whose answers are in the output, in its order */
};

/* ---- what becomes of messages --------------------------------------------------------------------------------- */

static struct receive_job *job_of(struct stage_task *task)
{
    return (struct receive_job *)task;
}

static void put_away(struct receive_stream *stream, struct stage_task *task)
{
    task->next = stream->idle;
    stream->idle = task;
}

/* Nothing more can be done. */
static void give_up(struct receive_runner *runner, int code, const struct fault *fault)
{
    if (runner->code >= 0)
        return;
    runner->code = code;
    runner->fault = *fault;
    stage_work_stop(runner->stream->work);
}

/* Appends an answer as the format has it; an empty one stands for nothing. */
static enum mp_error put_answer(struct receive_stream *stream, const struct stage_outcome *outcome)
{
    struct fault fault = {0};
    struct format_item item = {.record = {.body = outcome->output, .size = outcome->output_size}};
    size_t before = stream->output.size;
    int format = stream->runner->settings.format;
    if (outcome->output_size == 0)
        return MP_OK;
    /* An event stays the text that it is. */
    bool lines = format == RECEIVE_FORMAT_UNSET || format == FORMAT_JSON;
    enum mp_error error = format_write(lines ? FORMAT_LINES : (enum format)format, &item, &stream->output, &fault);
    stream->put += stream->output.size - before;
    return error;
}

static void on_answered(struct receive_stream *stream, struct receive_job *job, const struct stage_outcome *outcome)
{
    struct receive_runner *runner = stream->runner;
    struct fault fault = {0};
    if (runner->settings.answers) {
        runner->settings.answered(runner->settings.context, job->part.parcel, job->part.index, outcome->output,
                                  outcome->output_size);
    } else if (put_answer(stream, outcome)) {
        fault_memory(&fault);
        give_up(runner, EXIT_FAILED, &fault);
        return;
    }
    job->end = stream->put;
    job->task.next = NULL;
    *stream->printed_last = &job->task;
    stream->printed_last = &job->task.next;
}

/* What befell the command, in words: the first line of what goes with a dead letter. */
static void tell_failure(const struct receive_stream *stream, const struct receive_job *job,
                         const struct stage_outcome *outcome, const struct protocol_settlement *how)
{
    const char *newline = outcome->note_size ? memchr(outcome->note, '\n', outcome->note_size) : NULL;
    int size = (int)(newline ? newline - outcome->note : (ptrdiff_t)outcome->note_size);
    char text[FRAME_ID_TEXT];
    char what[FAULT_TEXT + NAME_MAX_BYTES];
    size_t id_size;
    const char *id = frame_record_id(&job->item.record, text, &id_size);
    if (outcome->end == STAGE_MALFORMED && outcome->result.code < 0)
        snprintf(what, sizeof(what), "%.*s", size, outcome->note); /* which names the message */
    else
        snprintf(what, sizeof(what), "message %.*s: %s %.*s", (int)id_size, id, receive_runner_name(stream->runner),
                 size, size ? outcome->note : "");
    receive_runner_tell(stream->runner, job->part.parcel, how, what);
}

static void on_failed(struct receive_stream *stream, struct receive_job *job, const struct stage_outcome *outcome)
{
    const struct stage_parcel *parcel = job->part.parcel;
    struct protocol_settlement how = {.action = PROTOCOL_RETRY, .exit_code = outcome->result.code};
    if (outcome->end == STAGE_NOT_BEGUN) {
        how.action = PROTOCOL_RELEASE;
    } else {
        bool hopeless = outcome->end != STAGE_FAILED && !parcel->letters;
        how.action = hopeless ? PROTOCOL_DEAD : PROTOCOL_RETRY;
        if (hopeless && outcome->end == STAGE_MALFORMED)
            how.reason = PROTOCOL_REASON_FORMAT;
        how.delay = hopeless || outcome->result.ended_early ? 0 : PROTOCOL_DELAY_POLICY;
        how.note = outcome->note;
        how.note_size = (uint16_t)outcome->note_size;
        if (!outcome->result.ended_early)
            tell_failure(stream, job, outcome, &how);
    }
    receive_runner_settle(stream->runner, &job->part, &how);
    stream->runner->running--;
    put_away(stream, &job->task);
}

/* The job's message is not settled: it comes again. */
static void drop(struct receive_stream *stream, struct receive_job *job)
{
    struct stage_parcel *parcel = job->part.parcel;
    if (++parcel->settled == parcel->count)
        stage_parcel_free(parcel);
    put_away(stream, &job->task);
}

static bool may_begin(void *context, const struct stage_task *task, int64_t now)
{
    const struct receive_runner_settings *settings = &((const struct receive_stream *)context)->runner->settings;
    return settings->holds(settings->context, ((const struct receive_job *)task)->part.parcel, now);
}

static void on_finished(void *context, struct stage_task *task, const struct stage_outcome *outcome)
{
    struct receive_stream *stream = context;
    if (stream->closing)
        drop(stream, job_of(task));
    else if (outcome->end == STAGE_SUCCEEDED)
        on_answered(stream, job_of(task), outcome);
    else
        on_failed(stream, job_of(task), outcome);
}

static void on_said(void *context, const char *line, size_t size)
{
    (void)context;
    receive_runner_say(line, size);
    receive_runner_say("\n", 1);
}

static void on_paused(void *context, int exit, const struct fault *fault)
{
    struct receive_stream *stream = context;
    if (exit)
        give_up(stream->runner, exit, fault);
}

static void on_broke(void *context, const struct fault *fault)
{
    (void)context;
    tell("%s", fault_text(fault));
}

/* ---- the output ----------------------------------------------------------------------------------------------- */

static enum mp_error print(struct receive_stream *stream, struct fault *fault)
{
    struct receive_runner *runner = stream->runner;
    enum mp_error error = MP_OK;
    while (!error && stream->written < stream->output.size) {
        size_t done;
        error = receive_sink_write(&runner->sink, stream->output.data + stream->written,
                                   stream->output.size - stream->written, &done, fault);
        stream->written += done;
        stream->passed += done;
    }
    if (stream->written == stream->output.size || stream->written >= UNPRINTED_MAX) {
        buffer_consume(&stream->output, stream->written);
        stream->written = 0;
    }
    return error == MP_ERR_AGAIN ? MP_OK : error;
}

/* What was written is done: neighbours are settled together. */
static void settle_printed(struct receive_stream *stream)
{
    struct receive_runner *runner = stream->runner;
    const struct protocol_settlement how = {.action = PROTOCOL_ACK, .exit_code = -1};
    while (stream->printed && job_of(stream->printed)->end <= stream->passed) {
        struct receive_part part = job_of(stream->printed)->part;
        part.count = 0;
        do {
            struct stage_task *task = stream->printed;
            stream->printed = task->next;
            part.count++;
            runner->running--;
            put_away(stream, task);
        } while (stream->printed && job_of(stream->printed)->end <= stream->passed &&
                 job_of(stream->printed)->part.parcel == part.parcel &&
                 job_of(stream->printed)->part.index == part.index + part.count);
        if (!stream->printed)
            stream->printed_last = &stream->printed;
        receive_runner_settle(runner, &part, &how);
    }
}

/* ---- the input ------------------------------------------------------------------------------------------------ */

/* Has the next message of the queue worked upon; false: no memory. */
static bool give(struct receive_stream *stream)
{
    struct receive_runner *runner = stream->runner;
    struct stage_parcel *parcel = runner->queue.first;
    struct receive_job *job = stream->idle ? job_of(stream->idle) : memory_allocate(sizeof(*job));
    struct record record;
    if (!job)
        return false;
    if (stream->idle)
        stream->idle = job->task.next;
    job->part = (struct receive_part){parcel, parcel->taken, 1};
    stage_parcel_take(parcel, &record);
    if (job->part.index == 0)
        receive_runner_look(parcel, &record);
    job->item = stage_parcel_item(parcel, &record, job->part.index);
    if (parcel->taken == parcel->count)
        stage_queue_shift(&runner->queue);
    job->task = (struct stage_task){.items = &job->item, .count = 1};
    runner->running++;
    stage_work_add(stream->work, &job->task);
    return true;
}

enum mp_error receive_stream_pump(struct receive_runner *runner, struct fault *fault)
{
    struct receive_stream *stream = runner->stream;
    enum mp_error error = print(stream, fault);
    settle_printed(stream);
    if (error)
        return error;
    if (runner->sink.gone)
        return fault_set(fault, MP_ERR_CLOSED, "stdout's reader has gone");
    uint32_t room = stage_work_room(stream->work);
    if (runner->code >= 0 || runner->stopped || stream->output.size > UNPRINTED_MAX)
        room = 0;
    for (; room && runner->queue.first; room--)
        if (!give(stream))
            return fault_memory(fault);
    for (unsigned i = 0; i < runner->settings.workers; i++)
        child_groups_set(i, stage_work_group(stream->work, i));
    return MP_OK;
}

uint32_t receive_stream_room(const struct receive_runner *runner)
{
    uint64_t most = (uint64_t)stage_work_room(runner->stream->work) + runner->running;
    uint64_t limit = runner->settings.max_in_flight;
    most = limit && limit < most ? limit : most;
    return runner->held < most ? (uint32_t)(most - runner->held) : 0;
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

enum mp_error receive_stream_open(struct receive_runner *runner, struct fault *fault)
{
    const struct receive_runner_settings *settings = &runner->settings;
    struct receive_stream *stream = memory_allocate(sizeof(*stream));
    if (!stream)
        return fault_memory(fault);
    struct stage_work_settings work = {
        .base = settings->loop->base,
        .children = runner->children,
        .argv = settings->command,
        .shell = settings->shell,
        .signals = loop_child_signals,
        .mode = STAGE_STREAM,
        .format = settings->format == RECEIVE_FORMAT_UNSET ? FORMAT_LINES : (enum format)settings->format,
        .workers = settings->workers,
        .timeout = settings->timeout,
        .output_limit = RECEIVE_ANSWER_MAX,
        .context = stream,
        .finished = on_finished,
        .may_begin = may_begin,
        .said = on_said,
        .paused = on_paused,
        .broke = on_broke,
    };
    stream->runner = runner;
    stream->printed_last = &stream->printed;
    runner->stream = stream;
    return stage_work_open(&work, &stream->work, fault);
}

/* Has processes end at the end of their input, or ends them after some time. */
static void let_end(struct receive_stream *stream)
{
    struct loop *loop = stream->runner->settings.loop;
    int64_t until = clock_monotonic() + RECEIVE_PATIENCE;
    stage_work_stop(stream->work);
    while (!stage_work_idle(stream->work)) {
        struct timeval wait = {.tv_usec = 100000};
        if (clock_monotonic() > until || loop->interrupted)
            stage_work_end(stream->work);
        event_base_loopexit(loop->base, &wait);
        if (event_base_loop(loop->base, EVLOOP_ONCE))
            break;
    }
}

static void free_jobs(struct receive_stream *stream)
{
    struct stage_task *next;
    for (struct stage_task *task = stream->printed; task; task = next) {
        next = task->next;
        drop(stream, job_of(task));
    }
    for (struct stage_task *task = stream->idle; task; task = next) {
        next = task->next;
        memory_release(job_of(task));
    }
}

void receive_stream_free(struct receive_runner *runner)
{
    struct receive_stream *stream = runner->stream;
    stream->closing = true;
    if (stream->work)
        let_end(stream);
    stage_work_free(stream->work);
    for (unsigned i = 0; i < runner->settings.workers; i++)
        child_groups_set(i, 0);
    free_jobs(stream);
    buffer_free(&stream->output);
    memory_release(stream);
    runner->stream = NULL;
}

void receive_stream_stop(struct receive_runner *runner)
{
    stage_work_stop(runner->stream->work);
}

void receive_stream_end(struct receive_runner *runner)
{
    stage_work_end(runner->stream->work);
}
