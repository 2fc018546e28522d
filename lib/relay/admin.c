/*
 * admin.c: what `mrelay status`, `topics`, `groups` and `wait` ask a running relay. Requests and replies are JSON:
 *
 *     {"verb":"status"}   {"relay":…,"version":…,"pid":…,"uptime_us":…,"sessions":…,"counters":{…},"engine":…,
 *                          "topics":[…],"groups":[…],"pipeline":…,"runners":[…]}; "damaged" and "full" say what is wrong
 *     {"verb":"topics"}   {"topics":[{"name","first","end","messages","bytes_in","bytes","groups","letters","created_us",
 *                          "last_time_us","dropped":{reason:…},"settings":{key:…}}]}: settings that are not the default
 *     {"verb":"groups"}   {"groups":[{"topic","group","pattern","waiting","leased","delayed","settled_to","given_to",
 *                          "acked","dead","expired","dropped","duplicates","foreign","oldest_time_us","used_us","in_use",
 *                          "settings":{key:…}}]}
 *     {"verb":"wait","topic":T,"group":G,"wait_ms":N}
 *                         {"drained":true} when G has settled all of T; {"drained":false} after the wait
 *     {"verb":"nearest","topic":T}
 *                         {"nearest":N}: the other topic whose name is so near to T that it may have been meant; "" if none
 *
 * Those that change something are in admin_change.c, those of pipelines in admin_pipeline.c, those of traces in
 * admin_trace.c.
 */
#include "relay/admin.h"

#include "relay/figures.h"

#include <stdlib.h>
#include <unistd.h>

enum { WAIT_BYTES = 4096 };

static enum mp_error put_counters(const struct core *core, struct buffer *out)
{
    const struct core_counters *counters = &core->counters;
    const struct {
        const char *name;
        uint64_t value;
    } all[] = {
        {"turns", counters->turns},
        {"undone", counters->undone},
        {"requests", counters->requests},
        {"invalid", counters->invalid},
        {"published", counters->published},
        {"published_frames", counters->published_frames},
        {"published_bytes", counters->published_bytes},
        {"delivered", counters->delivered},
        {"settled", counters->settled},
        {"stale", counters->stale},
        {"repeats", counters->repeats},
        {"gaps", counters->gaps},
        {"refused_full", counters->refused_full},
        {"hellos", counters->hellos},
        {"evicted", counters->evicted},
    };
    enum mp_error error = buffer_append_string(out, "\"counters\":{");
    for (size_t i = 0; !error && i < sizeof all / sizeof *all; i++)
        error = buffer_append_format(out, "%s\"%s\":%llu", i ? "," : "", all[i].name, (unsigned long long)all[i].value);
    return error ? error : buffer_append_string(out, "},");
}

static enum mp_error put_words(const char *name, const struct fault *fault, struct buffer *out)
{
    json_t *words = json_string(fault_text(fault));
    char *text = words ? json_dumps(words, JSON_ENCODE_ANY) : NULL;
    enum mp_error error = buffer_append_format(out, "\"%s\":%s,", name, text ? text : "\"\"");
    json_decref(words);
    free(text);
    return error;
}

static enum mp_error put_status(struct core *core, struct buffer *out)
{
    const struct engine_operations *engine = core->engine->operations;
    struct fault space = {0};
    enum mp_error error = buffer_append_format(
        out, "{\"relay\":\"%s\",\"version\":\"%s\",\"pid\":%ld,\"uptime_us\":%lld,\"sessions\":%zu,", core->name,
        core->settings.version, (long)getpid(), (long long)(core->now.monotonic - core->started), core->sessions.count);
    if (!error && core->damage.turns > 0)
        error = put_words("damaged", &core->damage.fault, out);
    if (!error && core_has_space(core, &space) == MP_ERR_FULL)
        error = put_words("full", &space, out);
    if (!error && core->settings.describe && !(error = core->settings.describe(core->settings.context, out)))
        error = buffer_append_string(out, ",");
    if (!error)
        error = put_counters(core, out);
    if (error || (error = engine->describe(core->engine, out)) || (error = buffer_append_string(out, ",\"topics\":")) ||
        (error = engine->describe_topics(core->engine, out)) || (error = buffer_append_string(out, ",\"groups\":")) ||
        (error = engine->describe_groups(core->engine, out)) || (error = buffer_append_string(out, ",")) ||
        (error = core_put_pipeline(core, out)))
        return error;
    return buffer_append_string(out, "}");
}

static enum mp_error put_list(const struct core *core, const char *name,
                              enum mp_error (*describe)(struct engine *engine, struct buffer *out), struct buffer *out)
{
    enum mp_error error = buffer_append_format(out, "{\"%s\":", name);
    if (!error)
        error = describe(core->engine, out);
    return error ? error : buffer_append_string(out, "}");
}

void core_admin_reply(struct core *core, const struct request *request, struct buffer *json, enum mp_error error)
{
    struct reply *reply = error ? NULL : core_reply(core, request, MP_OK);
    if (error)
        core_reply_text(core, request, error, mp_error_text(error));
    core->answering += json->size;
    if (reply)
        buffer_append(&reply->head, json->data, json->size);
    buffer_free(json);
}

static void reply_nearest(struct core *core, const struct request *request, json_t *asked)
{
    const char *topic = json_string_value(json_object_get(asked, "topic"));
    struct fault detail = {0};
    struct buffer out = {0};
    bool pattern;
    enum mp_error error = topic ? name_check_pattern(topic, strlen(topic), &pattern, &detail)
                                : fault_set(&detail, MP_ERR_INVALID, "nearest needs a topic");
    if (error) {
        core_reply_text(core, request, error, fault_text(&detail));
        return;
    }
    const char *nearest = core->engine->operations->nearest_topic(core->engine, topic, true);
    error = buffer_append_format(&out, "{\"nearest\":\"%s\"}", nearest ? nearest : "");
    core_admin_reply(core, request, &out, error);
}

void core_admin_hint(struct core *core, const char *topic, const char *group, struct fault *fault)
{
    const struct engine_operations *engine = core->engine->operations;
    const struct engine_subscription *near = group ? engine->nearest_group(core->engine, topic, group) : NULL;
    const char *name = near ? NULL : engine->nearest_topic(core->engine, topic, false);
    if (name && strcmp(name, topic) == 0)
        name = NULL; /* it is there, and has no such group */
    if (near)
        fault_set(fault, MP_ERR_NOT_FOUND, "there is no group %s on %s: did you mean %s on %s?", group, topic,
                  near->group, near->topic);
    else
        fault_set(fault, MP_ERR_NOT_FOUND, "there is no %s%s%s%s%s%s%s", group ? "group " : "topic ",
                  group ? group : topic, group ? " on " : "", group ? topic : "", name ? ": did you mean " : "",
                  name ? name : "", name ? "?" : "");
}

/* True when the request was answered. A second call for the same request is the last: its wait is over. */
static bool wait_for_group(struct core *core, struct request *request, json_t *asked)
{
    const char *topic = json_string_value(json_object_get(asked, "topic"));
    const char *group = json_string_value(json_object_get(asked, "group"));
    int64_t wait = json_integer_value(json_object_get(asked, "wait_ms"));
    struct fault detail = {0};
    bool pattern, drained = false;
    enum mp_error error = topic && group ? name_check_pattern(topic, strlen(topic), &pattern, &detail)
                                         : fault_set(&detail, MP_ERR_INVALID, "wait needs a topic and a group");
    /* It is read again in each turn while it waits. */
    if (request->head.body_size > WAIT_BYTES)
        error = fault_set(&detail, MP_ERR_TOO_LARGE, "a request to wait takes %d bytes at most", WAIT_BYTES);
    if (!error)
        error = name_check_group(group, strlen(group), &detail);
    if (!error)
        error = core->engine->operations->drained(core->engine, topic, group, &drained, &detail);
    if (error == MP_ERR_NOT_FOUND)
        core_admin_hint(core, topic, group, &detail);
    if (error) {
        core_reply_text(core, request, error, fault_text(&detail));
        return true;
    }
    bool over = request->list && request->deadline <= core->now.monotonic;
    if (!drained && !over && wait != 0 && (request->list || core_may_wait(core, request))) {
        if (wait > UINT32_MAX)
            wait = UINT32_MAX;
        request->session = NULL; /* it may be gone before the wait is over */
        if (!request->list)
            core_wait(core, request, &core->waits, wait < 0 ? CLOCK_NEVER : core->now.monotonic + wait * 1000);
        return false;
    }
    struct buffer out = {0};
    error = buffer_append_string(&out, drained ? "{\"drained\":true}" : "{\"drained\":false}");
    core_admin_reply(core, request, &out, error);
    return true;
}

bool core_admin(struct core *core, struct request *request, struct fault *fault)
{
    const struct engine_operations *engine = core->engine->operations;
    json_error_t wrong;
    json_t *asked = json_loadb((const char *)request->head.body, request->head.body_size, 0, &wrong);
    const char *verb = json_string_value(json_object_get(asked, "verb"));
    struct buffer out = {0};
    bool answered = true;
    if (!verb)
        core_reply_text(core, request, MP_ERR_FORMAT, "an administrative request has to be a JSON object with a verb");
    else if (strcmp(verb, "status") == 0)
        core_admin_reply(core, request, &out, put_status(core, &out));
    else if (strcmp(verb, "topics") == 0)
        core_admin_reply(core, request, &out, put_list(core, "topics", engine->describe_topics, &out));
    else if (strcmp(verb, "groups") == 0)
        core_admin_reply(core, request, &out, put_list(core, "groups", engine->describe_groups, &out));
    else if (strcmp(verb, "nearest") == 0)
        reply_nearest(core, request, asked);
    else if (strcmp(verb, "wait") == 0)
        answered = wait_for_group(core, request, asked);
    else if (!core_admin_change(core, request, asked, verb, fault) &&
             !core_admin_pipeline(core, request, asked, verb, fault) &&
             !core_admin_trace(core, request, asked, verb, &answered))
        core_reply_text(core, request, MP_ERR_UNSUPPORTED, "this relay does not know that administrative request");
    json_decref(asked);
    return answered;
}

void core_check_waits(struct core *core)
{
    for (struct request *request = core->waits.first, *next; request; request = next) {
        next = request->next;
        struct fault fault = {0};
        if (core_admin(core, request, &fault))
            core_request_free(core, request);
    }
}
