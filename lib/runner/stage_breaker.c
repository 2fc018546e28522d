/* A stage's circuit breaker, and where messages go while it is open. */
#include "base/memory.h"
#include "runner/stage_private.h"

#include <stdio.h>

enum mp_error stage_open_breaker(struct runner_stage *stage, struct fault *fault)
{
    const struct pipeline_breaker *model = &stage->model->breaker;
    const struct breaker_settings settings = {model->failures, model->interval, model->open};
    if (!model->set || !stage->hands.operations)
        return MP_OK;
    enum mp_error error = breaker_init(&stage->breaker, &settings);
    if (error)
        return fault_set(fault, error, "stage %s: circuit_breaker: failures: %s", stage->model->name,
                         error == MP_ERR_MEMORY ? "no memory" : "from 1 to 100000");
    stage->has_breaker = true;
    return MP_OK;
}

static void tell_state(struct runner_stage *stage, enum breaker_state before, enum breaker_state after)
{
    struct log_line line;
    if (before == after)
        return;
    stage_log_begin(stage, &line, after == BREAKER_CLOSED ? LOG_INFO : LOG_WARNING, "circuit breaker");
    log_field(&line, "state", "%s", stage_breaker_state(stage));
    log_end(&line);
    stage_changed(stage);
}

/* Its state now. What it held back comes again. */
static enum breaker_state look(struct runner_stage *stage, int64_t now)
{
    enum breaker_state before = stage->breaker.state, after = breaker_state(&stage->breaker, now);
    tell_state(stage, before, after);
    return after;
}

bool stage_is_falling_back(const struct runner_stage *stage)
{
    return stage->has_breaker && stage->breaker.state == BREAKER_OPEN &&
           stage->model->breaker.fallback != PIPELINE_NO_FALLBACK;
}

enum stage_way stage_way(struct runner_stage *stage, int64_t now, bool *probe)
{
    *probe = false;
    if (!stage->has_breaker)
        return WAY_COMMAND;
    look(stage, now);
    if (breaker_lets(&stage->breaker, now, probe))
        return WAY_COMMAND;
    return stage->model->breaker.fallback == PIPELINE_NO_FALLBACK ? WAY_NONE : WAY_FALLBACK;
}

void stage_not_tried(struct runner_stage *stage, const struct bundle *bundle)
{
    if (bundle->probe)
        breaker_not_tried(&stage->breaker);
}

void stage_judge(struct runner_stage *stage, const struct bundle *bundle, bool succeeded)
{
    if (!stage->has_breaker || bundle->way != WAY_COMMAND)
        return;
    enum breaker_state before = stage->breaker.state;
    breaker_ended(&stage->breaker, clock_monotonic(), succeeded, bundle->probe);
    tell_state(stage, before, stage->breaker.state);
    if (before != BREAKER_OPEN && stage->breaker.state == BREAKER_OPEN)
        stage->hands.operations->give_back(stage->hands.object);
}

/* What goes out in the place of message ITEM. */
static enum mp_error stage_fallback(struct runner_stage *stage, const struct format_item *item)
{
    const struct pipeline_breaker *model = &stage->model->breaker;
    struct staging *staging = stage->settings.staging;
    struct fault fault;
    if (model->fallback == PIPELINE_FALLBACK_TOPIC)
        return staging_add(staging, item, item->record.producer != 0);
    return staging_add_output(staging, model->body, model->body_size, FORMAT_WHOLE, false, 0, item, clock_wall(),
                              &fault);
}

void stage_fall_back(struct runner_stage *stage, struct bundle *bundle)
{
    static const struct protocol_settlement again = {.action = PROTOCOL_RELEASE, .exit_code = -1};
    enum mp_error error = MP_OK;
    for (uint32_t i = 0; !error && i < bundle->items_count; i++)
        error = stage_fallback(stage, &bundle->items[i]);
    if (error) {
        stage_settle_bundle(stage, bundle, &again);
    } else {
        if (stage->model->breaker.fallback == PIPELINE_FALLBACK_TOPIC)
            stage_emit_to(stage, bundle->feed, bundle->parts, bundle->parts_count, stage->destinations_count - 1);
        else
            stage_emit(stage, bundle->feed, bundle->parts, bundle->parts_count);
        bundle_free(stage, bundle);
    }
    staging_clear(stage->settings.staging);
}

uint32_t stage_breaker_lets(struct runner_stage *stage, int64_t now, int64_t *due)
{
    *due = CLOCK_NEVER;
    if (!stage->has_breaker)
        return UINT32_MAX;
    enum breaker_state state = look(stage, now);
    *due = breaker_due(&stage->breaker);
    if (state == BREAKER_CLOSED || stage->model->breaker.fallback != PIPELINE_NO_FALLBACK)
        return UINT32_MAX;
    return state == BREAKER_TRYING ? 1 : 0;
}

const char *stage_breaker_state(const struct runner_stage *stage)
{
    static const char *const words[] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_TRYING] = "trying"};
    return stage->has_breaker ? words[stage->breaker.state] : NULL;
}
