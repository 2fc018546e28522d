/*
 * Ticks, of `every` and `cron`, at each of which a body is sent, with the tick's time as its `time`, or the output of a
 * command. A tick that comes while the command of the one before still runs is missed.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"
#include "message/attributes.h"
#include "policy/cron.h"
#include "runner/source_memory.h"
#include "runner/source_process.h"
#include "runner/source_tick.h"

#include <inttypes.h>
#include <stdio.h>

struct source_clock {
    struct source *source;
    const struct source_settings *settings;
    struct cron cron;
    struct source_tick tick;
    struct source_memory *memory;   /* of every; NULL: nothing is remembered */
    struct source_process *process; /* NULL: none runs */
    struct buffer attributes;
    int64_t at; /* the last tick, by the wall clock */
    uint64_t mark;
    bool has_command;
    bool stopped;
};

static int64_t next_of_cron(const void *cron, int64_t wall)
{
    return cron_next(cron, wall);
}

static void free_clock(void *state)
{
    struct source_clock *clock = state;
    source_process_free(clock->process);
    source_memory_free(clock->memory);
    buffer_free(&clock->attributes);
    memory_release(clock);
}

static enum mp_error open_clock(struct source *source, const struct source_settings *settings, void **state,
                                struct fault *fault)
{
    const struct pipeline_source *what = settings->source;
    struct source_clock *clock = memory_allocate(sizeof(*clock));
    if (!clock)
        return fault_memory(fault);
    *state = clock;
    clock->source = source;
    clock->settings = settings;
    clock->has_command = what->command.argv || what->command.shell;
    enum mp_error error = MP_OK;
    if (what->kind == PIPELINE_EVERY) {
        clock->tick.every = what->every > 0 ? what->every : 1;
        if (settings->state)
            error = source_memory_open(settings->state, what->name, &clock->memory, fault);
    } else {
        error = cron_parse(what->cron, &clock->cron, fault);
        clock->tick.next = next_of_cron;
        clock->tick.cron = &clock->cron;
    }
    if (error)
        return error;
    int64_t last = 0;
    if (clock->memory && sscanf(source_memory_text(clock->memory), "tick=%" SCNd64, &last) != 1)
        last = 0;
    source_tick_begin(&clock->tick, last, clock_monotonic(), clock_wall());
    return MP_OK;
}

/* The tick AT is done with: after a restart the interval counts from there. */
static void remember(struct source_clock *clock, int64_t at)
{
    char text[64];
    struct fault fault = {0};
    snprintf(text, sizeof(text), "tick=%" PRId64, at);
    if (clock->memory && source_memory_save(clock->memory, text, &fault))
        source_warn(clock->source, "tick not kept", fault_text(&fault));
}

/* The body, with the time of its tick. */
static enum mp_error body_item(struct source_clock *clock, struct format_item *item, struct fault *fault)
{
    const struct pipeline_source *what = clock->settings->source;
    char time[UNITS_TIME_TEXT];
    units_time_text(clock->at, time);
    clock->attributes.size = 0;
    enum mp_error error = attributes_set(&clock->attributes, ATTRIBUTE_STRING, "time", 4, time, strlen(time), fault);
    if (error)
        return error;
    *item = (struct format_item){.record = {.body = what->body ? what->body : (const uint8_t *)"",
                                            .size = what->body_size,
                                            .attributes = clock->attributes.data,
                                            .attributes_size = clock->attributes.size},
                                 .time = clock->at};
    return MP_OK;
}

/* The next message of the command that runs; MP_ERR_CLOSED: it has ended. */
static enum mp_error command_item(struct source_clock *clock, struct format_item *item, struct fault *fault)
{
    enum mp_error error = source_process_next(clock->process, item, fault);
    if (error != MP_ERR_CLOSED)
        return error;
    char words[96];
    if (source_process_result(clock->process)->code != 0 && !clock->stopped) {
        source_process_words(clock->process, words, sizeof(words));
        source_warn(clock->source, "command failed", words);
    }
    source_process_free(clock->process);
    clock->process = NULL;
    remember(clock, clock->at);
    return MP_ERR_CLOSED;
}

/* Looks whether it is time. A command that cannot be started misses its tick. */
static bool is_time(struct source_clock *clock, int64_t now, int64_t wall, struct fault *fault)
{
    uint64_t missed;
    int exit;
    int64_t at;
    bool time = source_tick_look(&clock->tick, now, wall, &at, &missed);
    source_missed(clock->source, missed, "the machine or the topic was not ready for them");
    if (!time)
        return false;
    if (clock->process) {
        source_missed(clock->source, 1, "the command of the one before still runs");
        return false;
    }
    clock->at = at;
    if (!clock->has_command)
        return true;
    if (source_process_start(clock->source, clock->settings, &clock->process, &exit, fault)) {
        source_wait(clock->source, "%s", fault_text(fault));
        source_missed(clock->source, 1, fault_text(fault));
        return false;
    }
    source_wait(clock->source, NULL);
    return true;
}

static enum mp_error next_of_clock(void *state, struct format_item *item, uint64_t *mark, int64_t now, int64_t *due,
                                   struct fault *fault)
{
    struct source_clock *clock = state;
    int64_t wall = clock_wall();
    bool time = !clock->stopped && is_time(clock, now, wall, fault);
    *mark = ++clock->mark;
    if (time && !clock->has_command)
        return body_item(clock, item, fault);
    enum mp_error error = clock->process ? command_item(clock, item, fault) : MP_ERR_CLOSED;
    if (error != MP_ERR_CLOSED && error != MP_ERR_AGAIN)
        return error;
    if (clock->stopped)
        return error;
    int64_t next = source_tick_due(&clock->tick, now, wall);
    *due = next < *due ? next : *due;
    return MP_ERR_AGAIN;
}

static void done_of_clock(void *state, uint64_t mark)
{
    (void)mark;
    struct source_clock *clock = state;
    if (!clock->has_command)
        remember(clock, clock->at);
}

static void stop_clock(void *state)
{
    struct source_clock *clock = state;
    clock->stopped = true;
    if (clock->process)
        source_process_end(clock->process);
}

const struct source_kind source_kind_clock = {
    .open = open_clock,
    .next = next_of_clock,
    .done = done_of_clock,
    .stop = stop_clock,
    .free = free_clock,
};
