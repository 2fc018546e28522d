/*
 * Messages appended to a file, in a format. What was added since the last flush is written together and flushed once, in a
 * thread of its own; then it is done. While the disk is full, or the file cannot be opened, everything waits.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "base/turn.h"
#include "runner/flusher.h"
#include "runner/sink_private.h"
#include "runner/sink_rotate.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    HELD_MAX = 65536,         /* tasks */
    CHUNK = 1024 * 1024,      /* bytes of one write */
    BATCH = 16 * 1024 * 1024, /* bytes of one flush */
    AGAIN = 1000000           /* microseconds until it is tried again */
};

struct sink_file {
    struct sink *sink;
    struct sink_rotated file; /* which nobody touches while it is flushed */
    struct flusher *flusher;
    bool flushing;
    enum format format;
    struct turn turn;
    struct task_queue waiting;
    struct task_queue gathered; /* their bytes are in `out`, */
    struct task_queue written;  /* or in the file, not flushed */
    struct buffer out;
    uint64_t unflushed; /* bytes */
    int64_t again;      /* when it is tried again after a fault; 0: at once */
    bool ended;
};

static void move(struct task_queue *to, struct task_queue *from)
{
    struct stage_task *task;
    while ((task = task_queue_shift(from)) != NULL)
        task_queue_push(to, task);
}

/* Nothing of what is not flushed counts; it is written again later. */
static void fail(struct sink_file *file, const struct fault *fault)
{
    task_queue_prepend(&file->waiting, &file->gathered);
    task_queue_prepend(&file->waiting, &file->written);
    file->out.size = 0;
    file->unflushed = 0;
    file->again = clock_monotonic() + AGAIN;
    sink_pause(file->sink, fault_text(fault));
}

static void tell_mended(struct sink_file *file)
{
    char text[256];
    if (!file->file.mended)
        return;
    file->file.mended = false;
    if (file->file.torn)
        snprintf(text, sizeof(text), "the last %" PRIu64 " bytes of %s were a part of a message, and are cut off",
                 file->file.torn, file->file.path);
    else
        snprintf(text, sizeof(text), "the last line of %s was not complete, and is ended", file->file.path);
    sink_warn(file->sink, "file mended", text);
}

/* Writes what was gathered. */
static enum mp_error write_out(struct sink_file *file, struct fault *fault)
{
    if (!file->out.size) {
        move(&file->written, &file->gathered); /* bodies of format `whole` may be empty */
        return MP_OK;
    }
    enum mp_error error = sink_rotated_prepare(&file->file, file->out.size, fault);
    if (!error) {
        tell_mended(file);
        error = sink_rotated_write(&file->file, file->out.data, file->out.size, fault);
    }
    if (error)
        return error;
    file->unflushed += file->out.size;
    file->out.size = 0;
    move(&file->written, &file->gathered);
    return MP_OK;
}

/* Adds TASK's messages to what is gathered. MP_ERR_FORMAT: one does not fit the format. */
static enum mp_error gather(struct sink_file *file, const struct stage_task *task, struct fault *fault)
{
    size_t before = file->out.size;
    enum mp_error error = MP_OK;
    for (uint32_t i = 0; i < task->count && !error; i++)
        error = format_write(file->format, &task->items[i], &file->out, fault);
    if (error)
        file->out.size = before;
    return error;
}

/* Whether what is gathered is to be written before SIZE more bytes are, so that no file gets larger than it should. */
static bool is_enough(const struct sink_file *file, size_t before)
{
    const struct sink_rotated *rotated = &file->file;
    size_t size = file->out.size;
    return size >= CHUNK ||
           (rotated->limit && before && (size > rotated->limit || rotated->size > rotated->limit - size));
}

/* Gathers and writes a batch. */
static enum mp_error work(struct sink_file *file, struct fault *fault)
{
    struct stage_task *task;
    enum mp_error error = MP_OK;
    while (!error && file->unflushed < BATCH && (task = task_queue_shift(&file->waiting)) != NULL) {
        size_t before = file->out.size;
        struct fault why = {0};
        error = gather(file, task, &why);
        if (error == MP_ERR_FORMAT) {
            sink_finish(file->sink, task, STAGE_MALFORMED, fault_text(&why));
            error = MP_OK;
            continue;
        }
        if (error) {
            struct task_queue one = {task, task, 1};
            task_queue_prepend(&file->waiting, &one);
            return fault_set(fault, error, "%s", mp_error_text(error));
        }
        if (is_enough(file, before) && before) {
            /* This one begins the next write. */
            struct task_queue one = {task, task, 1};
            file->out.size = before;
            task_queue_prepend(&file->waiting, &one);
            error = write_out(file, fault);
            continue;
        }
        task_queue_push(&file->gathered, task);
        if (file->out.size >= CHUNK)
            error = write_out(file, fault);
    }
    return error ? error : write_out(file, fault);
}

/* What is written is on the disk. */
static void finish_written(struct sink_file *file)
{
    struct stage_task *task;
    file->again = 0;
    file->unflushed = 0;
    sink_pause(file->sink, NULL);
    /* What is given back may bring new ones. */
    struct task_queue done = file->written;
    file->written = (struct task_queue){0};
    while ((task = task_queue_shift(&done)) != NULL)
        sink_finish(file->sink, task, STAGE_SUCCEEDED, NULL);
    turn_soon(&file->turn);
}

static void on_flushed(void *context, int number)
{
    struct sink_file *file = context;
    struct fault fault = {0};
    file->flushing = false;
    if (!number) {
        finish_written(file);
        return;
    }
    (void)sink_rotated_flush_failed(&file->file, number, &fault);
    fail(file, &fault);
    turn_soon(&file->turn);
}

static void on_turn(void *context)
{
    struct sink_file *file = context;
    struct fault fault = {0};
    struct stage_task *task;
    int64_t now = clock_monotonic();
    while (file->ended && (task = task_queue_shift(&file->waiting)) != NULL)
        sink_finish(file->sink, task, STAGE_NOT_BEGUN, NULL);
    if (!file->waiting.first || file->flushing)
        return;
    if (now < file->again) {
        turn_by(&file->turn, file->again);
        return;
    }
    if (work(file, &fault)) {
        fail(file, &fault);
        turn_by(&file->turn, file->again);
    } else if (file->unflushed > 0) {
        file->flushing = true;
        flusher_start(file->flusher, file->file.descriptor);
    } else {
        finish_written(file); /* no byte came of them */
    }
}

/* ---- what the owner calls ------------------------------------------------------------------------------------- */

static enum mp_error open_file(struct sink *sink, const struct sink_settings *settings, void **state,
                               struct fault *fault)
{
    const struct pipeline_stage *stage = settings->stage;
    struct sink_file *file = memory_allocate(sizeof(*file));
    if (!file)
        return fault_memory(fault);
    *state = file;
    file->sink = sink;
    file->format = stage->format;
    sink_rotated_open(&file->file, stage->file, stage->format, stage->rotate, stage->keep);
    if (turn_open(&file->turn, settings->base, on_turn, file))
        return fault_memory(fault);
    return flusher_open(settings->base, on_flushed, file, &file->flusher, fault);
}

static void free_file(void *state)
{
    struct sink_file *file = state;
    turn_close(&file->turn);
    flusher_close(file->flusher);
    sink_rotated_close(&file->file);
    buffer_free(&file->out);
    memory_release(file);
}

static uint32_t room_of_file(const void *state)
{
    const struct sink_file *file = state;
    uint32_t held = file->waiting.count + file->written.count;
    return file->again || held >= HELD_MAX ? 0 : HELD_MAX - held;
}

static void add_to_file(void *state, struct stage_task *task)
{
    struct sink_file *file = state;
    task_queue_push(&file->waiting, task);
    turn_soon(&file->turn);
}

static void stop_file(void *state)
{
    (void)state;
}

static void end_file(void *state)
{
    struct sink_file *file = state;
    file->ended = true;
    turn_soon(&file->turn);
}

static bool idle_file(const void *state)
{
    const struct sink_file *file = state;
    return !file->waiting.first && !file->flushing;
}

const struct sink_kind sink_kind_file = {
    .open = open_file,
    .room = room_of_file,
    .add = add_to_file,
    .stop = stop_file,
    .end = end_file,
    .idle = idle_file,
    .free = free_file,
};
