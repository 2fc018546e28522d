/* What there is to say of a stage. */
#include "runner/stage_private.h"
#include "stage/steps.h"

#include <jansson.h>
#include <stdlib.h>

bool stage_is_away(const struct runner_stage *stage)
{
    for (const struct feed *feed = stage->feeds; feed; feed = feed->next)
        if (!client_link_connected(feed->link))
            return true;
    return false;
}

/* What it does now, and *WHY. */
static const char *state_of(const struct runner_stage *stage, const char **why)
{
    *why = "";
    if (stage->broken) {
        *why = fault_text(&stage->fault);
        return "failed";
    }
    if (stage->phase != PHASE_WORK)
        return stage->phase == PHASE_STOPPED ? "stopped" : "stopping";
    if (stage->has_breaker && stage->breaker.state == BREAKER_OPEN) {
        *why = stage_is_falling_back(stage) ? "its command failed too often: messages go to the fallback"
                                            : "its command failed too often: it waits before it tries again";
        return "open";
    }
    if (stage->paused[0] != '\0') {
        *why = stage->paused;
        return "paused";
    }
    if (stage->full[0] != '\0') {
        *why = stage->full;
        return "full";
    }
    if (stage_is_away(stage)) {
        *why = "the relay is away";
        return "waiting";
    }
    return "running";
}

static json_t *outputs_of(const struct runner_stage *stage)
{
    json_t *to = json_object();
    for (uint32_t i = 0; i < stage->destinations_count; i++)
        if (stage->destinations[i].first)
            json_object_set_new(to, stage->destinations[i].topic,
                                json_integer((json_int_t)stage->destinations[i].messages));
    return to;
}

/* How long its work took: for those who watch the relay. */
static json_t *times_of(const struct runner_stage *stage)
{
    json_t *cells = json_array();
    for (size_t i = 0; i <= BUCKETS; i++)
        json_array_append_new(cells, json_integer((json_int_t)stage->worked_for.cells[i]));
    return json_pack("{s:I,s:o}", "sum_us", (json_int_t)stage->worked_for.sum, "cells", cells);
}

/* What steps did with messages that no counter of the stage tells. */
static json_t *steps_of(const struct runner_stage *stage)
{
    struct stage_counts all = {0};
    for (const struct feed *feed = stage->feeds; feed; feed = feed->next) {
        const struct stage_counts *counts = feed->steps ? stage_steps_counts(feed->steps) : NULL;
        if (!counts || (!stage->has_windows && feed != stage->feeds))
            continue; /* without windows all feeds have the same steps */
        all.skipped += counts->skipped;
        all.duplicates += counts->duplicates;
        all.forgotten += counts->forgotten;
        all.windows += counts->windows;
        all.early += counts->early;
    }
    return json_pack("{s:I,s:I,s:I,s:I,s:I}", "skipped", (json_int_t)all.skipped, "duplicates",
                     (json_int_t)all.duplicates, "forgotten", (json_int_t)all.forgotten, "windows",
                     (json_int_t)all.windows, "early", (json_int_t)all.early);
}

json_t *runner_stage_describe(const struct runner_stage *stage)
{
    const struct stage_counters *counters = &stage->counters;
    const char *why, *state = state_of(stage, &why);
    unsigned running = stage->hands.operations ? stage->hands.operations->running(stage->hands.object) : 0;
    if (stage->fallback.operations)
        running += stage->fallback.operations->running(stage->fallback.object);
    json_t *said = json_pack(
        "{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:i,s:I,s:I,s:s,s:s,s:o}", "name", stage->model->name, "kind",
        stage->model->sink ? "sink" : "stage", "in", (json_int_t)counters->in, "done", (json_int_t)counters->done,
        "out", (json_int_t)counters->out, "failed", (json_int_t)counters->failed, "dead", (json_int_t)counters->dead,
        "running", (int)running, "p50_us", (json_int_t)histogram_quantile(&stage->times, 0.5), "p99_us",
        (json_int_t)histogram_quantile(&stage->times, 0.99), "state", state, "why", why, "to", outputs_of(stage));
    if (said && counters->retraced > 0)
        json_object_set_new(said, "retraced", json_integer((json_int_t)counters->retraced));
    const char *breaker = stage_breaker_state(stage);
    if (said && stage->hands.operations)
        json_object_set_new(said, "times", times_of(stage));
    if (said && stage->has_steps)
        json_object_set_new(said, "steps", steps_of(stage));
    if (said && breaker)
        json_object_set_new(said, "breaker", json_string(breaker));
    return said;
}
