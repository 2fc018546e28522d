#include "sink_rig.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

static void on_finished(void *context, struct stage_task *task, const struct stage_outcome *outcome)
{
    struct sink_rig *rig = context;
    rig->ended[outcome->end]++;
    assert_int_equal(task->count, 1);
    assert_int_equal(buffer_append(&rig->order, task->items[0].record.body, task->items[0].record.size), MP_OK);
    assert_int_equal(buffer_append(&rig->order, "\n", 1), MP_OK);
    if (outcome->end != STAGE_SUCCEEDED)
        snprintf(rig->note, sizeof(rig->note), "%.*s", (int)outcome->note_size, outcome->note ? outcome->note : "");
}

static void on_paused(void *context, const char *why)
{
    struct sink_rig *rig = context;
    snprintf(rig->paused, sizeof(rig->paused), "%s", why ? why : "");
}

void sink_rig_new(struct sink_rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    rig->base = event_base_new();
    rig->stage.name = "there";
    rig->stage.sink = true;
    rig->stage.workers = 1;
    assert_non_null(rig->base);
}

void sink_rig_open(struct sink_rig *rig)
{
    struct fault fault = {0};
    const struct sink_settings settings = {
        .base = rig->base, .stage = &rig->stage, .context = rig, .finished = on_finished, .paused = on_paused};
    if (sink_open(&settings, &rig->sink, &fault))
        fail_msg("%s", fault_text(&fault));
}

void sink_rig_close(struct sink_rig *rig)
{
    sink_free(rig->sink);
    rig->sink = NULL;
}

void sink_rig_free(struct sink_rig *rig)
{
    sink_rig_close(rig);
    buffer_free(&rig->order);
    event_base_free(rig->base);
}

void sink_rig_add(struct sink_rig *rig, const char *body)
{
    size_t index = rig->count++;
    assert_true(index < SINK_RIG_TASKS);
    assert_true(sink_room(rig->sink) > 0);
    snprintf(rig->texts[index], sizeof(rig->texts[index]), "%s", body);
    rig->items[index] = (struct format_item){
        .record = {.body = (const uint8_t *)rig->texts[index],
                   .size = strlen(rig->texts[index]),
                   .producer = 1,
                   .sequence = index},
        .topic = "t",
        .offset = index,
        .attempt = 1,
    };
    rig->tasks[index] = (struct stage_task){.items = &rig->items[index], .count = 1};
    sink_add(rig->sink, &rig->tasks[index]);
}

int64_t sink_rig_patience(void)
{
    return clock_monotonic() + 20000000;
}

void sink_rig_turn(struct sink_rig *rig, int64_t limit, const char *condition)
{
    struct timeval pause = {.tv_usec = 20000};
    event_base_loopexit(rig->base, &pause);
    event_base_loop(rig->base, EVLOOP_ONCE);
    if (clock_monotonic() > limit)
        fail_msg("it never came to: %s", condition);
}
