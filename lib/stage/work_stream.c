/* The mode stream: processes that live long, what they are given, and what becomes of it when they die. */
#include "stage/work_stream.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"
#include "policy/backoff.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    RESTART_FIRST = 100 * 1000, /* microseconds */
    RESTART_MAX = 5 * 1000 * 1000,
    ROOM_LEAST = 16, /* messages that a worker may have waiting */
    PIPE_SIZE = 256 * 1024
};

/* ---- faults and time ------------------------------------------------------------------------------------------ */

void work_stream_break(struct work_stream *stream)
{
    stream->broken = true;
    stage_command_end(stream->worker->command);
}

static int64_t earlier(int64_t one, int64_t other)
{
    return one && one < other ? one : other;
}

void work_stream_schedule(struct work_stream *stream, int64_t now)
{
    int64_t timeout = stream->worker->work->settings.timeout;
    int64_t due = CLOCK_NEVER;
    if (!stream->worker->command) {
        due = stream->restart_at > now ? stream->restart_at : due;
    } else if (!stream->broken) {
        due = earlier(stream->listen_until, due);
        due = earlier(stream->leave_at, due);
        if (timeout > 0 && work_stream_under_way(stream))
            due = earlier(stream->since + timeout, due);
        if (!stream->believed && !stream->silent && work_stream_under_way(stream))
            due = earlier(stream->since + WORK_SILENT, due);
    }
    /* A timer that comes too early is set again then: answers need not touch it. */
    if (due == CLOCK_NEVER || (stream->timer_at && stream->timer_at <= due))
        return;
    int64_t after = due > now ? due - now : 0;
    struct timeval wait = {.tv_sec = (time_t)(after / 1000000), .tv_usec = (suseconds_t)(after % 1000000)};
    stream->timer_at = due;
    event_add(stream->timer, &wait);
}

/* Nothing more followed. */
static void end_listening(struct work_stream *stream, int64_t now)
{
    stream->listen_until = 0;
    stream->listened_at = now;
    if (work_stream_under_way(stream) && !stream->believed) {
        stream->believed = true;
        work_stream_answers(stream, now);
    }
    work_wake(stream->worker->work);
}

static void check_timeout(struct work_stream *stream, int64_t now)
{
    const struct stage_work *work = stream->worker->work;
    char text[24];
    if (stream->broken || stream->listen_until || work->settings.timeout <= 0 || !work_stream_under_way(stream) ||
        now < stream->since + work->settings.timeout)
        return;
    units_duration_text(work->settings.timeout, text, sizeof(text));
    fault_set(&stream->why, MP_ERR_TIMEOUT, "gave no answer within %s", text);
    stream->timed_out = true;
    work_stream_break(stream);
}

/* The usual reason is a command that keeps its output until there is more of it. */
static void check_silence(struct work_stream *stream, int64_t now)
{
    const struct stage_work_settings *settings = &stream->worker->work->settings;
    struct fault fault = {0};
    if (stream->broken || stream->believed || stream->silent || stream->listen_until ||
        !work_stream_under_way(stream) || now < stream->since + WORK_SILENT)
        return;
    stream->silent = true;
    fault_set(&fault, MP_ERR_TIMEOUT,
              "the command has not answered its first message for %d seconds: it has to answer each one, if only with "
              "an empty line, and to flush that (jq --unbuffered, sed -u, stdbuf -oL)",
              WORK_SILENT / 1000000);
    if (settings->broke)
        settings->broke(settings->context, &fault);
}

static void on_timer(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct work_stream *stream = context;
    struct work_worker *worker = stream->worker;
    int64_t now = clock_monotonic();
    stream->timer_at = 0;
    if (!worker->command) {
        work_stream_schedule(stream, now);
        work_wake(worker->work);
        return;
    }
    stage_command_read(worker->command); /* what is there came in time */
    if (!stream->broken && stream->listen_until && now >= stream->listen_until)
        end_listening(stream, now);
    check_timeout(stream, now);
    check_silence(stream, now);
    if (!stream->broken && stream->leave_at && now >= stream->leave_at) {
        fault_set(&stream->why, MP_ERR_CLOSED, "stopped reading its input");
        work_stream_break(stream);
    }
    work_stream_schedule(stream, now);
}

/* ---- the input ------------------------------------------------------------------------------------------------ */

/* Writes what the pipe takes, and closes it behind the last message when the work stops. */
static void flush(struct work_stream *stream, int64_t now)
{
    struct work_worker *worker = stream->worker;
    size_t left = stream->input.size - stream->written;
    if (left && !stream->broken) {
        size_t done = stage_command_write(worker->command, stream->input.data + stream->written, left);
        stream->written += done;
        stream->passed += done;
    }
    if (stream->written == stream->input.size || stream->written >= STAGE_WINDOW_BYTES / 2) {
        buffer_consume(&stream->input, stream->written);
        stream->written = 0;
    }
    if (!stage_command_reads(worker->command)) {
        if (!stream->leave_at && !worker->work->stopped) {
            stream->leave_at = now + (worker->work->settings.grace ? worker->work->settings.grace : STAGE_GRACE);
            work_stream_schedule(stream, now);
        }
    } else if (worker->work->stopped && stream->input.size == 0) {
        stage_command_close_input(worker->command);
    }
}

/* How many messages the process may be given now. */
static uint32_t room(struct work_stream *stream, int64_t now)
{
    const struct stage_work *work = stream->worker->work;
    uint32_t under_way = work_stream_under_way(stream);
    if (!stream->worker->command || stream->broken || stream->listen_until || work->stopped ||
        !stage_command_reads(stream->worker->command))
        return 0;
    if (stream->careful || !stream->believed)
        return under_way ? 0 : 1;
    if (work->settings.format != FORMAT_JSON && now - stream->listened_at > WORK_LISTEN_EVERY) {
        if (under_way)
            return 0;
        stream->listened_at = now;
        if (now - stream->empty_since < WORK_LISTEN) {
            stream->listen_until = now + WORK_LISTEN;
            work_stream_schedule(stream, now);
            return 0;
        }
    }
    if (under_way >= stream->window || (under_way && stream->put - stream->done >= STAGE_WINDOW_BYTES)) {
        stream->limited = true;
        return 0;
    }
    return stream->window - under_way;
}

/*
 * Puts TASK into the input; false: the format cannot hold its body, there is no memory, or it may not be begun any more,
 * and it went back.
 */
static bool give(struct work_stream *stream, struct stage_task *task, int64_t now)
{
    struct work_worker *worker = stream->worker;
    struct stage_work *work = worker->work;
    struct fault fault = {0};
    size_t before = stream->input.size;
    if (!work_may_begin(work, task, now))
        return false;
    enum mp_error error = format_write(work->settings.format, task->items, &stream->input, &fault);
    if (error == MP_ERR_MEMORY) {
        work_return(work, task);
        return false;
    }
    if (error) {
        struct stage_outcome outcome = {.end = STAGE_MALFORMED, .result = {.code = -1}};
        outcome.note = fault.text;
        outcome.note_size = strlen(fault.text);
        work_finish(work, task, &outcome);
        return false;
    }
    if (stream->first == stream->next) {
        stream->since = now;
        worker->tail.size = 0;
    }
    task->worker = worker->index;
    stream->put += stream->input.size - before;
    *work_stream_slot(stream, stream->next++) = (struct work_slot){.task = task, .end = stream->put, .given = now};
    return true;
}

/* Gives the process COUNT messages of QUEUE at most. */
static void fill(struct work_stream *stream, struct task_queue *queue, uint32_t count, int64_t now)
{
    uint32_t most = room(stream, now);
    count = count < most ? count : most;
    while (count > 0 && queue->first &&
           (!work_stream_under_way(stream) || stream->put - stream->done < STAGE_WINDOW_BYTES))
        count -= give(stream, task_queue_shift(queue), now);
    flush(stream, now);
    work_stream_schedule(stream, now);
}

/* ---- the end of a process ------------------------------------------------------------------------------------- */

/* What a process leaves behind. */
struct remains {
    struct task_queue begun; /* messages that it had been given, some of their bytes at least */
    struct task_queue fresh; /* and that it had not */
};

static struct remains take_remains(struct work_stream *stream)
{
    struct remains remains = {0};
    uint64_t from = stream->done;
    for (; stream->first < stream->next; stream->first++) {
        struct work_slot *slot = work_stream_slot(stream, stream->first);
        task_queue_push(from < stream->passed ? &remains.begun : &remains.fresh, slot->task);
        from = slot->end;
    }
    return remains;
}

static void return_all(struct stage_work *work, struct task_queue *queue)
{
    struct stage_task *task;
    while ((task = task_queue_shift(queue)))
        work_return(work, task);
}

/* Why it ended, in words that fit behind "the command". */
static void explain(struct work_stream *stream, const struct stage_result *result)
{
    char words[96];
    if (stream->broken || stream->ended)
        return;
    if (work_ended_words(stream->worker->work, result, words, sizeof(words)))
        fault_set(&stream->why, MP_ERR_CLOSED, "%s", words);
    else
        fault_set(&stream->why, MP_ERR_CLOSED, "exited with %d", result->code);
    if (stage_command_output(stream->worker->command)->size)
        fault_set(&stream->why, MP_ERR_FORMAT, "%s within an answer", stream->why.text);
}

/* The one message that can have been at fault goes back. */
static void charge(struct work_stream *stream, struct stage_task *task, const struct stage_result *result)
{
    struct buffer note = {0};
    struct stage_outcome outcome = {.end = STAGE_FAILED, .result = *result};
    bool by_itself = !result->signal && !stream->broken && !stream->ended;
    if (stream->malformed)
        outcome.end = STAGE_MALFORMED;
    else if (by_itself && result->code == WORK_REJECTED)
        outcome.end = STAGE_REJECTED;
    outcome.result.timed_out = stream->timed_out;
    outcome.result.ended_early = stream->ended;
    work_note(stream->worker, stream->why.code ? stream->why.text : NULL, &note);
    outcome.note = (const char *)note.data;
    outcome.note_size = note.size;
    work_finish(stream->worker->work, task, &outcome);
    buffer_free(&note);
}

/* What the process had under way goes where it belongs. */
static void settle_remains(struct work_stream *stream, const struct stage_result *result)
{
    struct stage_work *work = stream->worker->work;
    struct remains remains = take_remains(stream);
    struct fault fault = {0};
    uint32_t count = remains.begun.count;
    bool clean = !stream->broken && !stream->ended && result->code == 0 && stream->answered > 0;
    if (stream->ended) {
        if (remains.begun.first)
            charge(stream, task_queue_shift(&remains.begun), result);
        return_all(work, &remains.begun);
    } else if (stream->answered == 0 && work_shell_failed(work, result, &fault)) {
        return_all(work, &remains.begun);
        return_all(work, &remains.fresh);
        work_pause(work, result->code, &fault);
        return;
    } else if (count == 1 && !clean) {
        charge(stream, task_queue_shift(&remains.begun), result);
    } else if (clean && !stream->careful) {
        task_queue_prepend(&work->waiting, &remains.fresh);
        task_queue_prepend(&work->waiting, &remains.begun);
    } else {
        task_queue_prepend(&stream->suspects, &remains.begun);
    }
    task_queue_prepend(&work->waiting, &remains.fresh);
    if (!stream->ended && !clean && count != 1 && (count || !work->stopped) && work->settings.broke) {
        fault_set(&fault, stream->why.code, "the command %s, with %" PRIu32 " messages under way: it is started anew",
                  stream->why.text, count);
        work->settings.broke(work->settings.context, &fault);
    }
}

/* Forgets the process. */
static void reset(struct work_stream *stream)
{
    format_reader_free(&stream->reader);
    stream->first = stream->next = 0;
    stream->input.size = stream->written = 0;
    stream->put = stream->passed = stream->done = stream->answered = 0;
    stream->listen_until = stream->leave_at = 0;
    stream->believed = stream->broken = stream->malformed = stream->timed_out = stream->ended = stream->silent = false;
    stream->why = (struct fault){0};
}

static void on_ended(void *context, const struct stage_result *result)
{
    struct work_worker *worker = context;
    struct work_stream *stream = worker->stream;
    struct stage_work *work = worker->work;
    int64_t now = clock_monotonic();
    if (!stream->believed && work_stream_under_way(stream)) {
        stream->believed = true; /* nothing can follow its first answer */
        work_stream_answers(stream, now);
    }
    explain(stream, result);
    stream->deaths = stream->answered ? 0 : stream->deaths + 1;
    stream->restart_at = 0;
    if (stream->deaths > 1)
        stream->restart_at =
            now + backoff_delay(BACKOFF_EXPONENTIAL, RESTART_FIRST, RESTART_MAX, 0, stream->deaths - 1, 0);
    settle_remains(stream, result);
    stream->careful = stream->suspects.first;
    work_worker_ended(worker);
    reset(stream);
    if (work->stopped || work->paused)
        work_stream_return(worker);
    if (work->stopped)
        stage_work_return(work);
    work_stream_schedule(stream, now);
    work_wake(work);
}

static void on_output(void *context)
{
    struct work_worker *worker = context;
    work_stream_answers(worker->stream, clock_monotonic());
}

static void on_writable(void *context)
{
    struct work_worker *worker = context;
    flush(worker->stream, clock_monotonic());
}

/* ---- the start of a process ----------------------------------------------------------------------------------- */

enum mp_error work_stream_open(struct work_worker *worker, struct fault *fault)
{
    struct work_stream *stream = memory_allocate(sizeof(*stream));
    worker->stream = stream;
    if (!stream)
        return fault_memory(fault);
    stream->worker = worker;
    stream->window = worker->work->settings.window < 2 ? 1 : 2;
    stream->capacity = 1;
    while (stream->capacity < worker->work->settings.window)
        stream->capacity *= 2;
    stream->timer = evtimer_new(worker->work->settings.base, on_timer, stream);
    return stream->timer ? MP_OK : fault_memory(fault);
}

void work_stream_free(struct work_worker *worker)
{
    struct work_stream *stream = worker->stream;
    if (!stream)
        return;
    if (stream->timer)
        event_free(stream->timer);
    format_reader_free(&stream->reader);
    buffer_free(&stream->input);
    memory_release(stream->slots);
    memory_release(stream->spans);
    memory_release(stream);
    worker->stream = NULL;
}

static enum mp_error start_command(struct work_worker *worker, int *exit, struct fault *fault)
{
    struct work_stream *stream = worker->stream;
    struct stage_work *work = worker->work;
    enum format format = work->settings.format;
    *exit = WORK_CANNOT_RUN;
    if (!stream->slots)
        stream->slots = memory_allocate_array(stream->capacity, sizeof(*stream->slots));
    if (!stream->spans)
        stream->spans = memory_allocate_array(stream->capacity, sizeof(*stream->spans));
    if (!stream->slots || !stream->spans)
        return fault_memory(fault);
    struct stage_command_settings command = work_command(worker);
    command.stays = true;
    command.pipe_size = PIPE_SIZE;
    command.output_limit += STAGE_WINDOW_BYTES; /* so that an answer over the limit is seen to be so */
    command.output = on_output;
    command.writable = on_writable;
    command.ended = on_ended;
    stream->reader = (struct format_reader){.format = format == FORMAT_JSON ? FORMAT_LINES : format,
                                            .limit = work->settings.output_limit};
    return stage_command_start(&command, &worker->command, exit, fault);
}

/* Starts the process of WORKER, if one may be started now. */
static bool start(struct work_worker *worker, int64_t now)
{
    struct work_stream *stream = worker->stream;
    struct stage_work *work = worker->work;
    struct fault fault = {0};
    int exit;
    if (worker->command || work->stopped || work->paused || now < stream->restart_at)
        return false;
    if (start_command(worker, &exit, &fault)) {
        work_pause(work, exit, &fault);
        return false;
    }
    work->running++;
    stream->empty_since = stream->listened_at = now;
    stream->round = 1;
    if (!work->settings.shell)
        work_started(work);
    return true;
}

/* ---- giving --------------------------------------------------------------------------------------------------- */

/* Suspects come first, each to the worker whose process died of them. */
static void pump_suspects(struct work_stream *stream, int64_t now)
{
    stream->careful = stream->suspects.first || (stream->careful && work_stream_under_way(stream));
    if (!stream->worker->command && stream->suspects.first)
        start(stream->worker, now);
    if (stream->worker->command && stream->careful)
        fill(stream, &stream->suspects, 1, now);
}

/* Whether WORKER could have messages: RUNS and EMPTY as said, or not at all RUNS. */
static bool is_free(struct work_worker *worker, bool runs, bool empty, int64_t now)
{
    struct work_stream *stream = worker->stream;
    if (stream->careful || (worker->command != NULL) != runs)
        return false;
    if (!runs)
        return now >= stream->restart_at;
    return (work_stream_under_way(stream) == 0) == empty && room(stream, now) > 0;
}

/*
 * What waits is shared out among those that could have it: first those that have nothing to do, then such as are not
 * started yet, then the others.
 */
static void pump_waiting(struct stage_work *work, int64_t now)
{
    static const struct {
        bool runs, empty;
    } passes[] = {{true, true}, {false, false}, {true, false}};
    uint32_t able = 0;
    for (unsigned i = 0; i < work->settings.workers; i++)
        for (size_t pass = 0; pass < sizeof(passes) / sizeof(*passes); pass++)
            able += is_free(&work->workers[i], passes[pass].runs, passes[pass].empty, now);
    uint32_t share = able ? (work->waiting.count + able - 1) / able : 0;
    for (size_t pass = 0; pass < sizeof(passes) / sizeof(*passes); pass++)
        for (unsigned i = 0; i < work->settings.workers && work->waiting.first && !work->paused; i++) {
            struct work_worker *worker = &work->workers[i];
            if (is_free(worker, passes[pass].runs, passes[pass].empty, now) &&
                (passes[pass].runs || start(worker, now)))
                fill(worker->stream, &work->waiting, share, now);
        }
}

void work_stream_pump(struct stage_work *work)
{
    int64_t now = clock_monotonic();
    for (unsigned i = 0; i < work->settings.workers && !work->paused; i++)
        pump_suspects(work->workers[i].stream, now);
    if (work->waiting.first && !work->stopped)
        pump_waiting(work, now);
}

/* ---- what the owner does -------------------------------------------------------------------------------------- */

uint64_t work_stream_room(const struct work_worker *worker)
{
    const struct work_stream *stream = worker->stream;
    if (stream->deaths > 1)
        return 1;
    uint64_t most = (uint64_t)stream->window * 2;
    return most > ROOM_LEAST ? most : ROOM_LEAST;
}

void work_stream_return(struct work_worker *worker)
{
    struct work_stream *stream = worker->stream;
    return_all(worker->work, &stream->suspects);
    stream->careful = stream->careful && work_stream_under_way(stream);
}

void work_stream_stop(struct work_worker *worker)
{
    if (worker->command)
        flush(worker->stream, clock_monotonic());
}

void work_stream_end(struct work_worker *worker)
{
    struct work_stream *stream = worker->stream;
    if (!worker->command)
        return;
    stream->ended = stream->ended || !stream->broken;
    stage_command_end(worker->command);
}
