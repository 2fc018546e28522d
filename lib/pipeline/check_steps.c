/* The last word on steps is that of those who take messages through them. */
#include "pipeline/check.h"

static void check(struct load *load, const struct pipeline_place *place, const char *name,
                  const struct stage_step *steps, size_t count)
{
    struct stage_steps *opened;
    struct fault fault;
    if (count == 0)
        return;
    if (stage_steps_open(&(struct stage_steps_settings){.steps = steps, .count = count}, &opened, &fault))
        diagnose_error(load->diagnostics, place, "%s: steps: %s", name, fault.text);
    else
        stage_steps_free(opened);
}

static void check_route(struct load *load, const struct pipeline_route *route)
{
    struct stage_matcher *matcher;
    struct fault fault;
    if (stage_matcher_open(&route->where, &matcher, &fault))
        diagnose_error(load->diagnostics, &route->to.place, "route: %s", fault.text);
    else
        stage_matcher_free(matcher);
}

void check_steps(struct load *load)
{
    const struct pipeline *pipeline = load->pipeline;
    if (load->diagnostics->errors > 0)
        return;
    for (size_t i = 0; i < pipeline->sources_count; i++) {
        const struct pipeline_source *source = &pipeline->sources[i];
        check(load, &source->place, source->name, source->steps, source->steps_count);
    }
    for (size_t i = 0; i < pipeline->stages_count; i++) {
        const struct pipeline_stage *stage = &pipeline->stages[i];
        check(load, &stage->place, stage->name, stage->steps, stage->steps_count);
        for (size_t j = 0; j < stage->routes_count; j++)
            check_route(load, &stage->routes[j]);
    }
}
