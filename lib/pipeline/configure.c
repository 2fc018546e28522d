/* The administrative request that brings a relay to what the file says. */
#include "pipeline/pipeline.h"

#include "message/json_scan.h"

struct request {
    struct buffer *out;
    bool first; /* in the object or array that is open */
};

static enum mp_error put_name(struct request *request, const char *name)
{
    enum mp_error error = request->first ? MP_OK : buffer_append(request->out, ",", 1);
    request->first = false;
    return error != MP_OK ? error : json_scan_quote(request->out, name, strlen(name));
}

static enum mp_error put_setting(void *context, const char *key, const char *value, bool is_default)
{
    struct request *request = context;
    if (is_default)
        return MP_OK;
    enum mp_error error = put_name(request, key);
    if (error == MP_OK)
        error = buffer_append(request->out, ":", 1);
    return error != MP_OK ? error : json_scan_quote(request->out, value, strlen(value));
}

static enum mp_error open_object(struct request *request, const char *text)
{
    enum mp_error error = buffer_append_string(request->out, text);
    request->first = true;
    return error;
}

static enum mp_error close_object(struct request *request, const char *text)
{
    request->first = false;
    return buffer_append_string(request->out, text);
}

static enum mp_error put_topic(struct request *request, const struct pipeline_topic *topic)
{
    enum mp_error error = put_name(request, topic->name);
    if (error == MP_OK)
        error = open_object(request, ":{");
    if (error == MP_OK)
        error = settings_topic_each(&topic->settings, put_setting, request);
    return error != MP_OK ? error : close_object(request, "}");
}

static enum mp_error put_group(struct request *request, const struct pipeline_stage *stage, const char *topic)
{
    enum mp_error error = request->first ? MP_OK : buffer_append(request->out, ",", 1);
    if (error == MP_OK)
        error = open_object(request, "{\"topic\":");
    if (error == MP_OK)
        error = json_scan_quote(request->out, topic, strlen(topic));
    if (error == MP_OK)
        error = buffer_append_string(request->out, ",\"group\":");
    if (error == MP_OK)
        error = json_scan_quote(request->out, stage->name, strlen(stage->name));
    if (error == MP_OK)
        error = open_object(request, ",\"settings\":{");
    if (error == MP_OK)
        error = settings_group_each(&stage->group, put_setting, request);
    return error != MP_OK ? error : close_object(request, "}}");
}

/* Whether STAGE takes from TOPIC or sends there. */
static bool concerns(const struct pipeline_stage *stage, const char *topic)
{
    for (size_t i = 0; i < stage->from.count; i++)
        if (name_matches(stage->from.all[i].topic, topic))
            return true;
    for (size_t i = 0; i < stage->to.count; i++)
        if (strcmp(stage->to.all[i].topic, topic) == 0)
            return true;
    for (size_t i = 0; i < stage->routes_count; i++)
        if (strcmp(stage->routes[i].to.topic, topic) == 0)
            return true;
    return (stage->breaker.to.topic != NULL && strcmp(stage->breaker.to.topic, topic) == 0) ||
           strcmp(stage->group.dead_letter, topic) == 0;
}

static enum mp_error put_topics(struct request *request, const struct pipeline *pipeline,
                                const struct pipeline_stage *only)
{
    enum mp_error error = open_object(request, "{\"verb\":\"configure\",\"topics\":{");
    for (size_t i = 0; i < pipeline->topics_count && error == MP_OK; i++) {
        const struct pipeline_topic *topic = &pipeline->topics[i];
        /* One that is not declared belongs to others as much: its settings are theirs. */
        if (topic->place.line > 0 && (only == NULL || concerns(only, topic->name)))
            error = put_topic(request, topic);
    }
    return error;
}

static enum mp_error put_groups(struct request *request, const struct pipeline *pipeline,
                                const struct pipeline_stage *only)
{
    enum mp_error error = open_object(request, "},\"groups\":[");
    for (size_t i = 0; i < pipeline->stages_count; i++) {
        const struct pipeline_stage *stage = &pipeline->stages[i];
        for (size_t j = 0; j < stage->from.count && error == MP_OK && (only == NULL || only == stage); j++)
            error = put_group(request, stage, stage->from.all[j].topic);
    }
    return error != MP_OK ? error : buffer_append_string(request->out, "]}");
}

enum mp_error pipeline_configure(const struct pipeline *pipeline, const char *only, struct buffer *out)
{
    struct request request = {.out = out};
    const struct pipeline_stage *stage = only != NULL ? pipeline_stage(pipeline, only) : NULL;
    size_t before = out->size;
    enum mp_error error = put_topics(&request, pipeline, stage);
    if (error == MP_OK)
        error = put_groups(&request, pipeline, stage);
    if (error != MP_OK)
        out->size = before;
    return error;
}
