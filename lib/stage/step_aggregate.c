/*
 * aggregate: messages become one, a window of them by key at a time. They stay unsettled until the window has ended and
 * what came of it is stored: nothing is kept here that a restart could lose. What is held is bounded: past that the
 * largest window ends early.
 */
#include "stage/steps_private.h"

#include "base/memory.h"
#include "base/units.h"
#include "stage/windows.h"

#include <inttypes.h>
#include <stdio.h>

enum { HELD_MESSAGES = 65536, HELD_BYTES = 64 * 1024 * 1024, BODY_MAX = 16 * 1024 * 1024 };

struct state {
    struct format_value *by; /* NULL: one window for all */
    struct buffer scratch;
    struct windows windows;
    struct buffer block; /* the attributes of what comes of a window */
    struct buffer tickets;
    bool came_out; /* something came of the window that ends */
    bool telling;  /* of the window that ends, to the owner */
};

/* ---- making ready --------------------------------------------------------------------------- */

static void aggregate_close(struct step *step)
{
    struct state *state = step->state;
    format_value_free(state->by);
    windows_free(&state->windows);
    buffer_free(&state->scratch);
    buffer_free(&state->block);
    buffer_free(&state->tickets);
    memory_release(state);
}

static enum mp_error aggregate_open(struct step *step, struct fault *fault)
{
    const struct stage_step *declared = step->declared;
    const struct stage_steps_settings *settings = &step->steps->settings;
    if (declared->window <= 0 && declared->count == 0 && declared->size == 0)
        return fault_set(fault, MP_ERR_INVALID, "its windows never end: write window: 1m, count: 100 or size: 1MiB");
    struct state *state = memory_allocate(sizeof(*state));
    if (state == NULL)
        return fault_memory(fault);
    step->state = state;
    state->windows.policy =
        (struct window_policy){.count = declared->count, .size = declared->size, .duration = declared->window};
    state->windows.messages_max = settings->held_messages - 1 < HELD_MESSAGES ? settings->held_messages : HELD_MESSAGES;
    state->windows.bytes_max = settings->held_bytes > 0 ? settings->held_bytes : HELD_BYTES;
    if (declared->by == NULL)
        return MP_OK;
    enum mp_error error = format_value_parse(declared->by, strlen(declared->by), &state->by, fault);
    if (error != MP_OK)
        aggregate_close(step);
    return error;
}

/* ---- messages in ---------------------------------------------------------------------------- */

/* What ITEM adds to what comes of a window: behind OUT's bytes. MP_ERR_FORMAT: it cannot. */
static enum mp_error encode(const struct stage_step *declared, const struct format_item *item, struct buffer *out,
                            struct fault *fault)
{
    if (!declared->array)
        return format_write(declared->format, item, out, fault);
    const size_t before = out->size;
    enum mp_error error = buffer_append(out, ",", 1); /* the first becomes the bracket */
    if (error == MP_OK)
        error = format_json_value(&item->record, out);
    if (error == MP_OK)
        return MP_OK;
    out->size = before;
    return error == MP_ERR_FORMAT ? fault_set(fault, error, "the body is neither JSON nor text") : fault_memory(fault);
}

/* The attributes of what comes of WINDOW. */
static enum mp_error dress(struct state *state, const struct stage_step *declared, const struct held_window *window,
                           int64_t wall, struct fault *fault)
{
    struct buffer *block = &state->block;
    char begin[UNITS_TIME_TEXT], end[UNITS_TIME_TEXT], count[24];
    const char *key = attribute_name(ATTRIBUTE_PARTITIONKEY), *type = attribute_name(ATTRIBUTE_DATACONTENTTYPE);
    static const char json[] = "application/json";
    units_time_text(window->wall, begin);
    units_time_text(wall, end);
    snprintf(count, sizeof(count), "%" PRIu64, window->window.count);
    block->size = 0;
    enum mp_error error = attributes_set(block, ATTRIBUTE_INTEGER, "count", 5, count, strlen(count), fault);
    if (error == MP_OK)
        error = attributes_set(block, ATTRIBUTE_STRING, "windowstart", 11, begin, strlen(begin), fault);
    if (error == MP_OK)
        error = attributes_set(block, ATTRIBUTE_STRING, "windowend", 9, end, strlen(end), fault);
    if (error == MP_OK && window->key_size > 0)
        error = attributes_set(block, ATTRIBUTE_STRING, key, strlen(key), window->key, window->key_size, fault);
    if (error == MP_OK && declared->array)
        error = attributes_set(block, ATTRIBUTE_STRING, type, strlen(type), json, sizeof(json) - 1, fault);
    return error;
}

/* The key of PASSAGE's window, checked: it becomes an attribute. */
static enum mp_error read_key(struct state *state, const struct passage *passage, struct format_text *key,
                              struct fault *fault)
{
    *key = (struct format_text){.text = NULL};
    if (state->by == NULL)
        return MP_OK;
    state->scratch.size = 0;
    enum mp_error error = format_value_read(state->by, &passage->item, &state->scratch, key);
    if (error != MP_OK || key->size == 0)
        return error;
    const char *name = attribute_name(ATTRIBUTE_PARTITIONKEY);
    state->block.size = 0;
    return attributes_set(&state->block, ATTRIBUTE_STRING, name, strlen(name), (const char *)key->text, key->size,
                          fault);
}

/* Whether what WINDOW holds, SIZE bytes of it new, is too much for one message. */
static bool is_too_long(const struct step *step, const struct held_window *window)
{
    const size_t most = step->steps->settings.body_max;
    return window->bytes.size >= (most > 0 ? most : BODY_MAX); /* a bracket may come */
}

/* Puts the message into the window of KEY, or into the next one of that key where it does not fit any more. */
static enum mp_error put(struct step *step, struct passage *passage, const struct format_text *key, struct fault *fault)
{
    struct state *state = step->state;
    struct windows *windows = &state->windows;
    for (;;) {
        struct held_window *window = windows_open(windows, key->text, key->size);
        if (window == NULL)
            return MP_ERR_MEMORY;
        const size_t before = window->bytes.size;
        enum mp_error error = encode(step->declared, &passage->item, &window->bytes, fault);
        const size_t size = window->bytes.size - before;
        if (error == MP_OK && window_fits(&windows->policy, &window->window, size) && !is_too_long(step, window))
            return windows_add(windows, window, passage->ticket, size, passage->now, passage->wall);
        const bool alone = window->window.count == 0;
        window->bytes.size = before;
        if (error != MP_OK || alone) {
            if (alone)
                windows_end(windows, window);
            return error != MP_OK ? error
                                  : fault_set(fault, MP_ERR_TOO_LARGE, "the body is longer than a message may be");
        }
        windows_end(windows, window);
    }
}

static enum mp_error aggregate_apply(struct step *step, struct passage *passage, enum step_next *next)
{
    struct state *state = step->state;
    struct format_text key;
    struct fault fault = {0};
    if (passage->forget) {
        /* Those of the window that is being told of leave it with it. */
        if (!state->telling)
            windows_forget(&state->windows, passage->ticket);
        *next = STEP_SKIP;
        return MP_OK;
    }
    enum mp_error error = read_key(state, passage, &key, &fault);
    if (error == MP_OK)
        error = put(step, passage, &key, &fault);
    if (error == MP_ERR_MEMORY)
        return error;
    *next = STEP_HELD;
    if (error != MP_OK)
        *next = passage_dies(passage, error == MP_ERR_TOO_LARGE ? PROTOCOL_REASON_OVERFLOW : PROTOCOL_REASON_FORMAT,
                             "aggregate", fault_text(&fault));
    step->steps->counts.early = state->windows.early;
    return MP_OK;
}

/* ---- windows out ---------------------------------------------------------------------------- */

static enum mp_error collect(struct state *state, const struct held_window *window)
{
    enum mp_error error = MP_OK;
    state->tickets.size = 0;
    for (const struct held *held = window->first; error == MP_OK && held != NULL; held = held->behind)
        error = buffer_append(&state->tickets, &held->ticket, sizeof(held->ticket));
    return error;
}

static enum mp_error tell(const struct passage *passage, const struct format_item *item, bool dead)
{
    const struct stage_steps_settings *settings = &passage->steps->settings;
    struct state *state = passage->keeper->state;
    const struct stage_window ended = {
        .tickets = (const uint64_t *)(const void *)state->tickets.data,
        .count = state->tickets.size / sizeof(uint64_t),
        .item = item,
        .dead = dead,
        .result = passage->result,
    };
    state->telling = true;
    enum mp_error error = settings->window(settings->context, &ended);
    state->telling = false;
    return error;
}

static enum mp_error come_out(struct passage *passage, const struct format_item *item)
{
    struct state *state = passage->keeper->state;
    state->came_out = true;
    return tell(passage, item, false);
}

/* The bytes of WINDOW as a body. What is put behind them is not the window's. */
static enum mp_error finish(const struct stage_step *declared, struct held_window *window, struct record *record)
{
    windows_mend(window);
    *record = (struct record){.body = window->bytes.data, .size = window->bytes.size};
    if (!declared->array)
        return MP_OK;
    enum mp_error error = buffer_append(&window->bytes, "]", 1);
    if (error != MP_OK)
        return error;
    window->bytes.data[0] = '[';
    *record = (struct record){.body = window->bytes.data, .size = window->bytes.size--};
    return MP_OK;
}

static enum mp_error emit(struct step *step, struct held_window *window, int64_t now, int64_t wall)
{
    struct state *state = step->state;
    struct stage_result_of_steps result = {.reason = 0};
    struct passage passage = {.steps = step->steps,
                              .item = {.topic = "", .time = wall},
                              .now = now,
                              .wall = wall,
                              .result = &result,
                              .keeper = step,
                              .out = come_out};
    enum step_next next = STEP_SKIP;
    struct fault fault;
    enum mp_error error = finish(step->declared, window, &passage.item.record);
    if (error == MP_OK)
        error = collect(state, window);
    if (error == MP_OK)
        error = dress(state, step->declared, window, wall, &fault);
    if (error != MP_OK)
        return error;
    passage.given = &passage.item;
    passage_dress(&passage, &state->block);
    state->came_out = false;
    error = steps_run(&passage, step->index + 1, &next);
    return error == MP_OK && !state->came_out ? tell(&passage, NULL, next == STEP_DEAD) : error;
}

int64_t step_aggregate_due(const struct step *step)
{
    const struct state *state = step->state;
    return windows_due(&state->windows);
}

enum mp_error step_aggregate_tick(struct step *step, int64_t now, int64_t wall, bool all)
{
    struct state *state = step->state;
    struct windows *windows = &state->windows;
    windows_expire(windows, now, all);
    while (windows->over != NULL) {
        enum mp_error error = emit(step, windows->over, now, wall);
        if (error != MP_OK)
            return error;
        windows_drop(windows, windows->over);
        step->steps->counts.windows++;
    }
    return MP_OK;
}

const struct step_type step_aggregate = {.open = aggregate_open, .close = aggregate_close, .apply = aggregate_apply};
