#include "stage/steps_private.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdio.h>

static const struct {
    const char *name;
    const struct step_type *type;
} types[] = {
    [STAGE_STEP_WHERE] = {"where", &step_where},
    [STAGE_STEP_SET] = {"set", &step_set},
    [STAGE_STEP_RENAME] = {"rename", &step_rename},
    [STAGE_STEP_REMOVE] = {"remove", &step_remove},
    [STAGE_STEP_RATE_LIMIT] = {"rate_limit", &step_rate_limit},
    [STAGE_STEP_LOG] = {"log", &step_log},
    [STAGE_STEP_DEDUPE] = {"dedupe", &step_dedupe},
    [STAGE_STEP_SPLIT] = {"split", &step_split},
    [STAGE_STEP_AGGREGATE] = {"aggregate", &step_aggregate},
};

/* ---- making ready --------------------------------------------------------------------------- */

void stage_steps_free(struct stage_steps *steps)
{
    if (steps == NULL)
        return;
    for (size_t i = 0; i < steps->count; i++)
        steps->all[i].type->close(&steps->all[i]);
    buffer_free(&steps->blocks[0]);
    buffer_free(&steps->blocks[1]);
    memory_release(steps);
}

/*
 * A window's messages are settled in the one transaction that stores what came of it. So there is one window that a
 * message can be in, as a whole, and one message that comes of it, at once.
 */
static enum mp_error check_order(const struct stage_steps_settings *settings, struct fault *fault)
{
    bool split = false, aggregate = false;
    for (size_t i = 0; i < settings->count; i++) {
        const enum stage_step_kind kind = settings->steps[i].kind;
        if (aggregate && (kind == STAGE_STEP_AGGREGATE || kind == STAGE_STEP_SPLIT || kind == STAGE_STEP_DEDUPE ||
                          kind == STAGE_STEP_RATE_LIMIT))
            return fault_set(fault, MP_ERR_INVALID,
                             "%s cannot follow aggregate in a stage: put it into a stage of its own, behind this one",
                             types[kind].name);
        if (split && kind == STAGE_STEP_AGGREGATE)
            return fault_set(fault, MP_ERR_INVALID,
                             "aggregate cannot follow split in a stage: put it into a stage of its own, behind this "
                             "one");
        split |= kind == STAGE_STEP_SPLIT;
        aggregate |= kind == STAGE_STEP_AGGREGATE;
    }
    return MP_OK;
}

static enum mp_error step_open(struct step *step, struct fault *fault)
{
    const enum stage_step_kind kind = step->declared->kind;
    struct fault why = {0};
    step->type = types[kind].type;
    enum mp_error error = step->type->open(step, &why);
    if (error != MP_OK)
        return fault_set(fault, error, "%s: %s", types[kind].name, fault_text(&why));
    if (kind == STAGE_STEP_AGGREGATE)
        step->steps->aggregate = step;
    step->steps->remembers |= kind == STAGE_STEP_AGGREGATE || kind == STAGE_STEP_DEDUPE;
    return MP_OK;
}

enum mp_error stage_steps_open(const struct stage_steps_settings *settings, struct stage_steps **steps,
                               struct fault *fault)
{
    *steps = NULL;
    enum mp_error error = check_order(settings, fault);
    if (error != MP_OK)
        return error;
    struct stage_steps *made = memory_allocate(sizeof(*made) + settings->count * sizeof(made->all[0]));
    if (made == NULL)
        return fault_memory(fault);
    made->settings = *settings;
    for (size_t i = 0; error == MP_OK && i < settings->count; i++) {
        struct step *step = &made->all[i];
        *step = (struct step){.declared = &settings->steps[i], .steps = made, .index = i};
        error = step_open(step, fault);
        made->count += error == MP_OK;
    }
    if (error != MP_OK) {
        stage_steps_free(made);
        return error;
    }
    *steps = made;
    return MP_OK;
}

void stage_steps_limit(struct stage_steps *steps, size_t body_max)
{
    steps->settings.body_max = body_max;
}

/* ---- what steps share ----------------------------------------------------------------------- */

struct buffer *passage_copy(struct passage *passage)
{
    struct buffer *blocks = passage->steps->blocks;
    const struct record *record = &passage->item.record;
    struct buffer *block = &blocks[record->attributes_size > 0 && record->attributes == blocks[0].data];
    block->size = 0;
    return buffer_append(block, record->attributes, record->attributes_size) == MP_OK ? block : NULL;
}

void passage_dress(struct passage *passage, const struct buffer *block)
{
    passage->item.record.attributes = block->size > 0 ? block->data : NULL;
    passage->item.record.attributes_size = block->size;
}

enum step_next passage_dies(struct passage *passage, enum protocol_reason reason, const char *step, const char *words)
{
    passage->result->reason = (int)reason;
    snprintf(passage->result->note, sizeof(passage->result->note), "%s: %s", step, words);
    return STEP_DEAD;
}

const char *step_attribute(const char *name)
{
    return strcmp(name, "key") == 0 ? attribute_name(ATTRIBUTE_PARTITIONKEY) : name;
}

enum mp_error step_check_name(const char *name, struct fault *fault)
{
    static const char value[] = "2026-11-20T17:00:00Z"; /* good for all of them */
    struct buffer block = {0};
    const char *attribute = step_attribute(name);
    enum mp_error error =
        attributes_set(&block, ATTRIBUTE_STRING, attribute, strlen(attribute), value, sizeof(value) - 1, fault);
    buffer_free(&block);
    return error;
}

/* ---- messages on their way ------------------------------------------------------------------ */

enum mp_error steps_run(struct passage *passage, size_t index, enum step_next *next)
{
    struct stage_steps *steps = passage->steps;
    *next = STEP_ON;
    while (*next == STEP_ON && index < steps->count) {
        struct step *step = &steps->all[index++];
        enum mp_error error = step->type->apply(step, passage, next);
        if (error != MP_OK)
            return error;
    }
    if (*next != STEP_ON && *next != STEP_PASS)
        return MP_OK;
    *next = STEP_SKIP;
    return passage->out(passage, &passage->item);
}

static enum mp_error emit(struct passage *passage, const struct format_item *item)
{
    return passage->steps->settings.emit(passage->steps->settings.context, item);
}

static void settle(struct stage_steps *steps, bool kept, int64_t now)
{
    for (size_t i = 0; i < steps->count; i++)
        if (steps->all[i].type->settle != NULL)
            steps->all[i].type->settle(&steps->all[i], kept, now);
}

enum mp_error stage_steps_apply(struct stage_steps *steps, const struct format_item *item, uint64_t ticket, int64_t now,
                                int64_t wall, enum stage_verdict *verdict, struct stage_result_of_steps *result)
{
    struct passage passage = {.steps = steps,
                              .item = *item,
                              .given = item,
                              .ticket = ticket,
                              .now = now,
                              .wall = wall,
                              .result = result,
                              .out = emit};
    enum step_next next;
    result->reason = 0;
    result->note[0] = '\0';
    enum mp_error error = steps_run(&passage, 0, &next);
    if (error == MP_OK)
        *verdict = next == STEP_DEAD   ? STAGE_DEAD
                   : next == STEP_WAIT ? STAGE_WAIT
                   : next == STEP_HELD ? STAGE_HELD
                                       : STAGE_DONE;
    settle(steps, error == MP_OK && (*verdict == STAGE_DONE || *verdict == STAGE_HELD), now);
    return error;
}

int64_t stage_steps_due(const struct stage_steps *steps)
{
    return steps->aggregate != NULL ? step_aggregate_due(steps->aggregate) : CLOCK_NEVER;
}

enum mp_error stage_steps_tick(struct stage_steps *steps, int64_t now, int64_t wall, bool all)
{
    return steps->aggregate != NULL ? step_aggregate_tick(steps->aggregate, now, wall, all) : MP_OK;
}

static enum mp_error emit_nothing(struct passage *passage, const struct format_item *item)
{
    (void)passage, (void)item;
    return MP_OK;
}

/* The same way again, for what the steps have called it. Want of memory: it stays remembered, as if it were not lost. */
void stage_steps_forget(struct stage_steps *steps, const struct format_item *item, uint64_t ticket, int64_t now)
{
    struct stage_result_of_steps result;
    struct passage passage = {.steps = steps,
                              .item = *item,
                              .given = item,
                              .ticket = ticket,
                              .now = now,
                              .result = &result,
                              .out = emit_nothing,
                              .forget = true};
    enum step_next next;
    if (steps->remembers)
        (void)steps_run(&passage, 0, &next);
}

const struct stage_counts *stage_steps_counts(const struct stage_steps *steps)
{
    return &steps->counts;
}
