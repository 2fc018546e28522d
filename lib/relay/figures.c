#include "relay/figures.h"

#include "base/memory.h"
#include "relay/admin.h"

enum {
    STAGES_MAX = 16384,
    FRESH = 45000000, /* microseconds: a runner that is not older has reported to this relay from its start on */
    KEY_BYTES = 3 * 256
};

const char *const core_stage_states[CORE_STAGE_STATES] = {"starting", "running", "waiting", "full",     "paused",
                                                          "open",     "failed",  "ended",   "stopping", "stopped"};

static const char *const count_names[CORE_STAGE_COUNTS] = {[CORE_STAGE_IN] = "in",
                                                           [CORE_STAGE_DONE] = "done",
                                                           [CORE_STAGE_OUT] = "out",
                                                           [CORE_STAGE_FAILED] = "failed",
                                                           [CORE_STAGE_DEAD] = "dead",
                                                           [CORE_STAGE_SKIPPED] = "skipped",
                                                           [CORE_STAGE_RETRACED] = "retraced"};

/* A stage with its names, which lie behind it: the key of the map. */
struct measured_stage {
    struct core_stage shared; /* first */
    size_t key_size;
    char key[];
};

/* ---- the relay ------------------------------------------------------------------------------------------------ */

void core_figures(const struct core *core, struct core_figures *figures)
{
    const struct core_counters *counters = &core->counters;
    *figures = (struct core_figures){.name = core->name,
                                     .version = core->settings.version,
                                     .sessions = core->sessions.count,
                                     .invalid = counters->invalid,
                                     .gaps = counters->gaps,
                                     .refused_full = counters->refused_full,
                                     .repeats = counters->repeats,
                                     .stale = counters->stale,
                                     .greeted = counters->hellos,
                                     .evicted = counters->evicted,
                                     .undone = counters->undone,
                                     .turns = &core->measures.turns,
                                     .commits = &core->measures.commits};
    memcpy(figures->requests, counters->types, sizeof figures->requests);
}

struct engine *core_engine(const struct core *core)
{
    return core->unloaded ? NULL : core->engine;
}

enum mp_error core_has_space(struct core *core, struct fault *fault)
{
    return core->unloaded ? MP_OK : core->engine->operations->accepts(core->engine, fault);
}

enum mp_error core_ready(struct core *core, struct moment now, struct fault *fault)
{
    const struct engine_operations *engine = core->engine->operations;
    if (core->draining)
        return fault_set(fault, MP_ERR_AGAIN, "the relay is shutting down");
    if (core->damage.turns > 0)
        return fault_set(fault, MP_ERR_DAMAGED, "the store is damaged: %s", fault_text(&core->damage.fault));
    if (core->unloaded)
        return fault_set(fault, MP_ERR_IO, "the store cannot be read: it is loaded again as soon as it can be");
    if (core->in_trouble)
        return fault_set(fault, MP_ERR_IO, "the store could not be written: it is tried again");
    engine->begin(core->engine, now);
    return engine->accepts(core->engine, fault);
}

/* ---- stages --------------------------------------------------------------------------------------------------- */

size_t core_stages(struct core *core, struct moment now)
{
    core->now = now;
    core_reports_tidy(core);
    return core->measures.stages_count;
}

const struct core_stage *core_stage_at(const struct core *core, size_t index)
{
    return &core->measures.stages[index]->shared;
}

void core_measures_free(struct core_measures *measures)
{
    for (size_t i = 0; i < measures->stages_count; i++)
        memory_release(measures->stages[i]);
    memory_release(measures->stages);
    map_free(&measures->stages_by_name);
}

static bool add_stage(struct core_measures *measures, struct measured_stage *stage)
{
    if (measures->stages_count == measures->stages_capacity) {
        struct measured_stage **stages = memory_grow(measures->stages, &measures->stages_capacity, sizeof *stages, 16);
        if (!stages)
            return false;
        measures->stages = stages;
    }
    if (map_put(&measures->stages_by_name, stage->key, stage->key_size, stage))
        return false;
    measures->stages[measures->stages_count++] = stage;
    return true;
}

/* The stage that SAID, of PIPELINE, is about; NULL: it makes no sense, or there are too many. */
static struct core_stage *stage_of(struct core_measures *measures, const char *pipeline, const json_t *said)
{
    const char *name = json_string_value(json_object_get(said, "name"));
    const char *kind = json_string_value(json_object_get(said, "kind"));
    char key[KEY_BYTES];
    if (!pipeline || !name || !kind)
        return NULL;
    size_t first = strlen(pipeline) + 1, second = strlen(name) + 1, third = strlen(kind) + 1;
    size_t size = first + second + third;
    if (size > KEY_BYTES)
        return NULL;
    memcpy(key, pipeline, first);
    memcpy(key + first, name, second);
    memcpy(key + first + second, kind, third);
    struct measured_stage *stage = map_get(&measures->stages_by_name, key, size);
    if (stage)
        return &stage->shared;
    if (measures->stages_count >= STAGES_MAX || !(stage = memory_allocate(sizeof *stage + size)))
        return NULL;
    memcpy(stage->key, key, size);
    stage->key_size = size;
    stage->shared.pipeline = stage->key;
    stage->shared.name = stage->key + first;
    stage->shared.kind = stage->key + first + second;
    if (add_stage(measures, stage))
        return &stage->shared;
    memory_release(stage);
    return NULL;
}

static uint64_t number_of(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    return value > 0 ? (uint64_t)value : 0;
}

/* What has come to NOW since BEFORE; what has fallen began anew. */
static uint64_t grown(uint64_t now, uint64_t before)
{
    return now >= before ? now - before : now;
}

static void count_times(struct buckets *buckets, const json_t *now, const json_t *before)
{
    const json_t *cells = json_object_get(now, "cells"), *old = json_object_get(before, "cells");
    if (json_array_size(cells) != BUCKETS + 1)
        return;
    /* All or none of it has begun anew. */
    bool anew = number_of(now, "sum_us") < number_of(before, "sum_us");
    for (size_t i = 0; i <= BUCKETS; i++) {
        uint64_t had = anew ? 0 : (uint64_t)json_integer_value(json_array_get(old, i));
        buckets->cells[i] += grown((uint64_t)json_integer_value(json_array_get(cells, i)), had);
    }
    buckets->sum += grown(number_of(now, "sum_us"), anew ? 0 : number_of(before, "sum_us"));
}

/* What REPORT says of the stage that SAID is about; NULL: nothing. */
static const json_t *same_stage(const json_t *report, const json_t *said)
{
    const json_t *name = json_object_get(said, "name"), *kind = json_object_get(said, "kind");
    const json_t *other;
    size_t index;
    json_array_foreach(json_object_get(report, "stages"), index, other)
    {
        if (json_equal(json_object_get(other, "name"), name) && json_equal(json_object_get(other, "kind"), kind))
            return other;
    }
    return NULL;
}

void core_measure_report(struct core *core, const json_t *now, const json_t *before)
{
    const char *pipeline = json_string_value(json_object_get(now, "pipeline"));
    const json_t *said;
    size_t index;
    if (!core->settings.stopwatch)
        return;
    /* Of an older runner nobody knows what this relay has counted already, or the one before it. */
    if (!before && number_of(now, "uptime_us") > FRESH)
        before = now;
    if (!before && !json_object_get(now, "uptime_us"))
        before = now;
    json_array_foreach(json_object_get(now, "stages"), index, said)
    {
        struct core_stage *stage = stage_of(&core->measures, pipeline, said);
        /* Runners tell their stages in one order as long as they have the same. */
        const json_t *old = json_array_get(json_object_get(before, "stages"), index);
        if (!json_equal(json_object_get(old, "name"), json_object_get(said, "name")))
            old = same_stage(before, said);
        for (unsigned i = 0; stage && i < CORE_STAGE_COUNTS; i++)
            stage->counts[i] += grown(number_of(said, count_names[i]), number_of(old, count_names[i]));
        if (stage)
            count_times(&stage->working, json_object_get(said, "times"), json_object_get(old, "times"));
    }
}

void core_measure_present(struct core *core, const json_t *report, int sign)
{
    const char *pipeline = json_string_value(json_object_get(report, "pipeline"));
    const json_t *said;
    size_t index;
    if (!core->settings.stopwatch)
        return;
    json_array_foreach(json_object_get(report, "stages"), index, said)
    {
        struct core_stage *stage = stage_of(&core->measures, pipeline, said);
        const char *state = json_string_value(json_object_get(said, "state"));
        const char *breaker = json_string_value(json_object_get(said, "breaker"));
        if (!stage)
            continue;
        stage->running += sign * (int64_t)number_of(said, "running");
        stage->breakers += breaker ? sign : 0;
        stage->open += breaker && strcmp(breaker, "open") == 0 ? sign : 0;
        for (unsigned i = 0; state && i < CORE_STAGE_STATES; i++)
            stage->states[i] += strcmp(state, core_stage_states[i]) == 0 ? sign : 0;
    }
}
