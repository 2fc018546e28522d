/* Things of a pipeline by their names. */
#include "pipeline/pipeline.h"

#include <string.h>

const struct pipeline_topic *pipeline_topic(const struct pipeline *pipeline, const char *name)
{
    for (size_t i = 0; i < pipeline->topics_count; i++)
        if (strcmp(pipeline->topics[i].name, name) == 0)
            return &pipeline->topics[i];
    return NULL;
}

const struct pipeline_stage *pipeline_stage(const struct pipeline *pipeline, const char *name)
{
    for (size_t i = 0; i < pipeline->stages_count; i++)
        if (strcmp(pipeline->stages[i].name, name) == 0)
            return &pipeline->stages[i];
    return NULL;
}

const struct pipeline_source *pipeline_source(const struct pipeline *pipeline, const char *name)
{
    for (size_t i = 0; i < pipeline->sources_count; i++)
        if (strcmp(pipeline->sources[i].name, name) == 0)
            return &pipeline->sources[i];
    return NULL;
}

const char *pipeline_endless(const struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->sources_count; i++) {
        const struct pipeline_source *source = &pipeline->sources[i];
        bool ends = (source->kind == PIPELINE_COMMAND && source->restart != PIPELINE_ALWAYS) ||
                    (source->kind == PIPELINE_FILE && !source->follow);
        if (!ends)
            return source->name;
    }
    return NULL;
}
