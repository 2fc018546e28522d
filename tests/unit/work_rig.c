/* An owner of a stage's work, for tests. */
#include "work_rig.h"

#include "base/blob.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE = 20 }; /* seconds until a loop that does not end is a failure */

/* Not by buffer_append(): an allocation that is made to fail is not to be one of the rig's. */
static void keep(struct buffer *buffer, const void *bytes, size_t size)
{
    if (size == 0)
        return;
    buffer->data = realloc(buffer->data, buffer->size + size);
    assert_non_null(buffer->data);
    memcpy(buffer->data + buffer->size, bytes, size);
    buffer->size += size;
    buffer->capacity = buffer->size;
}

static void on_finished(void *context, struct stage_task *task, const struct stage_outcome *outcome)
{
    struct rig *rig = context;
    struct rig_task *own = (struct rig_task *)task; /* the first member */
    own->finished++;
    own->order = ++rig->came;
    own->end = outcome->end;
    own->result = outcome->result;
    keep(&own->output, outcome->output, outcome->output_size);
    keep(&own->note, outcome->note, outcome->note_size);
    own->malformed_count = outcome->malformed_count;
    for (size_t i = 0; i < outcome->malformed_count; i++)
        own->malformed[i] = outcome->malformed[i];
    if (outcome->whole && rig->keeps_whole) {
        struct blob *blob = blob_of_buffer(outcome->whole);
        assert_non_null(blob);
        assert_int_equal(blob->size, own->output.size);
        assert_memory_equal(blob->data, own->output.data, blob->size);
        blob_drop(blob);
    }
    if (rig->on_finished)
        rig->on_finished(rig, own);
}

static void on_said(void *context, const char *line, size_t size)
{
    struct rig *rig = context;
    keep(&rig->said, line, size);
    keep(&rig->said, "\n", 1);
    rig->said_count++;
}

static void on_paused(void *context, int exit, const struct fault *fault)
{
    struct rig *rig = context;
    if (exit == 0) {
        rig->resumed++;
        return;
    }
    rig->paused++;
    rig->exit = exit;
    rig->fault = *fault;
}

static void on_ready(void *context)
{
    struct rig *rig = context;
    rig->ready++;
    assert_true(stage_work_room(rig->work) > 0);
}

static void on_broke(void *context, const struct fault *fault)
{
    struct rig *rig = context;
    rig->broke++;
    rig->fault = *fault;
}

void rig_open(struct rig *rig, enum stage_mode mode, char *const *command)
{
    struct fault fault = {0};
    signal(SIGPIPE, SIG_IGN);
    *rig = (struct rig){0};
    rig->base = event_base_new();
    assert_non_null(rig->base);
    assert_int_equal(stage_children_open(rig->base, &rig->children, &fault), MP_OK);
    rig->tasks = calloc(RIG_MAX, sizeof(*rig->tasks));
    assert_non_null(rig->tasks);
    rig->settings = (struct stage_work_settings){
        .base = rig->base,
        .children = rig->children,
        .argv = command,
        .mode = mode,
        .workers = 1,
        .context = rig,
        .finished = on_finished,
        .said = on_said,
        .paused = on_paused,
        .ready = on_ready,
        .broke = on_broke,
    };
}

void rig_open_shell(struct rig *rig, enum stage_mode mode, const char *line)
{
    rig_open(rig, mode, NULL);
    rig->line[0] = "sh";
    rig->line[1] = "-c";
    rig->line[2] = line;
    rig->settings.argv = (char *const *)(uintptr_t)rig->line;
}

void rig_begin(struct rig *rig, enum stage_mode mode, const char *line)
{
    rig_open_shell(rig, mode, line);
    rig_start(rig);
}

void rig_start(struct rig *rig)
{
    struct fault fault = {0};
    if (stage_work_open(&rig->settings, &rig->work, &fault) != MP_OK)
        fail_msg("%s", fault_text(&fault));
}

void rig_close(struct rig *rig)
{
    stage_work_free(rig->work);
    stage_children_free(rig->children);
    event_base_free(rig->base);
    for (unsigned i = 0; i < rig->count; i++) {
        buffer_free(&rig->tasks[i].output);
        buffer_free(&rig->tasks[i].note);
    }
    free(rig->tasks);
    buffer_free(&rig->said);
}

static void put(struct rig_task *task, const void *body, size_t size)
{
    assert_true(task->task.count < RIG_ITEMS);
    struct format_item *item = &task->items[task->task.count++];
    *item = (struct format_item){.topic = "orders.new", .offset = 41, .attempt = 2, .time = 1700000000000000};
    item->record = (struct record){.body = body, .size = size, .producer = UINT64_C(0x1122334455667788)};
}

struct rig_task *rig_message_of(struct rig *rig, const void *body, size_t size)
{
    assert_true(rig->count < RIG_MAX);
    struct rig_task *task = &rig->tasks[rig->count++];
    put(task, body, size);
    task->items[0].record.sequence = rig->count;
    task->task.items = task->items;
    return task;
}

struct rig_task *rig_message(struct rig *rig, const char *body)
{
    return rig_message_of(rig, body, strlen(body));
}

void rig_join(struct rig_task *task, const char *body)
{
    put(task, body, strlen(body));
}

void rig_give(struct rig *rig)
{
    while (rig->added < rig->count && stage_work_room(rig->work))
        stage_work_add(rig->work, &rig->tasks[rig->added++].task);
}

void rig_until(struct rig *rig, bool (*done)(const struct rig *rig))
{
    struct timeval patience = {.tv_sec = PATIENCE};
    int64_t from = clock_monotonic();
    event_base_loopexit(rig->base, &patience);
    while (rig_give(rig), !done(rig)) {
        event_base_loop(rig->base, EVLOOP_ONCE);
        if (clock_monotonic() - from > (int64_t)PATIENCE * 1000000)
            fail_msg("%u of %u tasks came back", rig->came, rig->count);
    }
}

static bool all_came(const struct rig *rig)
{
    return rig->came == rig->count;
}

void rig_work(struct rig *rig)
{
    rig_until(rig, all_came);
}

void rig_assert_text(const struct rig_task *task, const char *text)
{
    if (task->end == STAGE_SUCCEEDED) {
        assert_int_equal(task->output.size, strlen(text));
        assert_memory_equal(task->output.data ? task->output.data : (const uint8_t *)"", text, strlen(text));
        return;
    }
    assert_int_equal(task->output.size, 0);
    if (!memmem(task->note.data ? task->note.data : (const uint8_t *)"", task->note.size, text, strlen(text)))
        fail_msg("'%s' is not in '%.*s'", text, (int)task->note.size, (const char *)task->note.data);
}
