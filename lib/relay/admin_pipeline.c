/*
 * admin_pipeline.c: what runners ask of a relay, and what `mrelay status`, `reload` and `drain` ask about a pipeline.
 *
 *     {"verb":"configure","topics":{T:{KEY:VALUE…}…},"groups":[{"topic":T,"group":G,"settings":{KEY:VALUE…}}…]}
 *                          {"changed":N}: topics and groups are given exactly these settings, and made if they are not
 *                          there. What makes no sense is refused before anything is changed
 *     {"verb":"report","runner":R,"pipeline":P,"stages":[…]}
 *                          {}: kept, in memory, until R reports again or has been silent for REPORT_LIFE
 *     {"verb":"stages"}    {"runners":[{"runner":R,"pipeline":P,"age_us":N,"stages":[…]}…]}
 *     {"verb":"pipeline"}  {"file":F,"pid":P,"generation":N,"state":S,"error":E}: as its supervisor says
 *     {"verb":"reload"}, {"verb":"drain"}
 *                          {}: passed on to the supervisor; `pipeline` tells what came of it
 */
#include "relay/admin.h"

#include "base/memory.h"

#include <stdlib.h>

enum {
    REPORTS_MAX = 256,
    REPORT_BYTES = 1024 * 1024,
    RUNNER_BYTES = 256,    /* of a name */
    REPORT_LIFE = 45000000 /* microseconds: three times what a runner that has nothing to say lets pass */
};

struct report {
    struct report *next;
    char runner[RUNNER_BYTES];
    int64_t time; /* monotonic */
    json_t *said;
};

/* ---- reports -------------------------------------------------------------------------------------------------- */

static void free_report(struct report *report)
{
    json_decref(report->said);
    memory_release(report);
}

/* Forgets RUNNER's report, and those that are too old; *COUNT is how many are left. */
static void forget_reports(struct core *core, const char *runner, size_t *count)
{
    *count = 0;
    for (struct report **at = &core->reports, *report; (report = *at);) {
        if (strcmp(report->runner, runner) == 0 || core->now.monotonic - report->time > REPORT_LIFE) {
            *at = report->next;
            core_measure_present(core, report->said, -1);
            free_report(report);
        } else {
            at = &report->next;
            (*count)++;
        }
    }
}

static json_t *report_of(const struct core *core, const char *runner)
{
    const struct report *report = core->reports;
    while (report && strcmp(report->runner, runner) != 0)
        report = report->next;
    return report ? report->said : NULL;
}

void core_reports_tidy(struct core *core)
{
    size_t count;
    forget_reports(core, "", &count);
}

void core_reports_free(struct core *core)
{
    while (core->reports) {
        struct report *report = core->reports;
        core->reports = report->next;
        free_report(report);
    }
}

static enum mp_error take_report(struct core *core, const struct request *request, json_t *asked, struct fault *detail)
{
    const char *runner = json_string_value(json_object_get(asked, "runner"));
    size_t count;
    if (!runner || !*runner || strlen(runner) >= RUNNER_BYTES || !json_is_array(json_object_get(asked, "stages")))
        return fault_set(detail, MP_ERR_INVALID, "a report needs a runner's name and an array of stages");
    if (request->head.body_size > REPORT_BYTES)
        return fault_set(detail, MP_ERR_TOO_LARGE, "a report takes %d bytes at most", REPORT_BYTES);
    struct report *report = memory_allocate(sizeof *report);
    if (!report)
        return fault_memory(detail);
    json_t *before = json_incref(report_of(core, runner));
    forget_reports(core, runner, &count);
    if (count < REPORTS_MAX)
        core_measure_report(core, asked, before);
    json_decref(before);
    if (count >= REPORTS_MAX) {
        memory_release(report);
        return fault_set(detail, MP_ERR_TOO_LARGE, "%d runners report already", REPORTS_MAX);
    }
    snprintf(report->runner, sizeof report->runner, "%s", runner);
    report->time = core->now.monotonic;
    report->said = json_incref(asked);
    json_object_del(asked, "verb");
    report->next = core->reports;
    core->reports = report;
    core_measure_present(core, asked, 1);
    return MP_OK;
}

static enum mp_error put_reports(struct core *core, json_t *answer, struct fault *detail)
{
    json_t *runners = json_array();
    size_t count;
    forget_reports(core, "", &count);
    bool failed = !runners;
    for (const struct report *report = core->reports; report && !failed; report = report->next) {
        json_t *copy = json_copy(report->said);
        failed = !copy || json_object_set_new(copy, "age_us", json_integer(core->now.monotonic - report->time));
        failed = json_array_append_new(runners, copy) || failed;
    }
    failed = json_object_set_new(answer, "runners", runners) || failed;
    return failed ? fault_memory(detail) : MP_OK;
}

enum mp_error core_put_pipeline(struct core *core, struct buffer *out)
{
    const struct core_settings *settings = &core->settings;
    const char *pipeline = settings->pipeline ? settings->pipeline(settings->context) : NULL;
    struct fault detail = {0};
    json_t *answer = json_object();
    enum mp_error error = answer ? put_reports(core, answer, &detail) : MP_ERR_MEMORY;
    char *text = error ? NULL : json_dumps(json_object_get(answer, "runners"), JSON_COMPACT);
    if (!error)
        error = text ? buffer_append_format(out, "\"pipeline\":%s,\"runners\":", pipeline ? pipeline : "null")
                     : MP_ERR_MEMORY;
    if (!error)
        error = buffer_append_string(out, text);
    free(text);
    json_decref(answer);
    return error;
}

/* ---- topics and groups ---------------------------------------------------------------------------------------- */

/* Goes over all that the request names; CHECK: to look only. */
static enum mp_error configure(struct core *core, json_t *asked, bool check, json_int_t *changes, struct fault *detail)
{
    json_t *topics = json_object_get(asked, "topics"), *groups = json_object_get(asked, "groups");
    json_t *settings, *group;
    const char *topic;
    size_t index;
    bool changed;
    enum mp_error error = MP_OK;
    json_object_foreach(topics, topic, settings)
    {
        json_t *named = json_pack("{s:s,s:O}", "topic", topic, "settings", settings);
        error = named ? core_admin_settle_on(core, named, check, &changed, detail) : fault_memory(detail);
        json_decref(named);
        *changes += changed;
        if (error)
            return error;
    }
    json_array_foreach(groups, index, group)
    {
        error = core_admin_settle_on(core, group, check, &changed, detail);
        *changes += changed;
        if (error)
            return error;
    }
    return MP_OK;
}

static enum mp_error configure_all(struct core *core, json_t *asked, json_t *answer, struct fault *detail)
{
    json_int_t changes = 0;
    enum mp_error error = configure(core, asked, true, &changes, detail);
    if (!error)
        error = configure(core, asked, false, &changes, detail);
    if (!error && json_object_set_new(answer, "changed", json_integer(changes)))
        error = fault_memory(detail);
    return error;
}

/* ---- the supervisor ------------------------------------------------------------------------------------------- */

static enum mp_error no_pipeline(const struct core *core, struct fault *detail)
{
    return fault_set(detail, MP_ERR_UNSUPPORTED, "relay %s runs no pipeline: `mrelay run FILE` would", core->name);
}

static enum mp_error put_pipeline(struct core *core, json_t *answer, struct fault *detail)
{
    const struct core_settings *settings = &core->settings;
    const char *text = settings->pipeline ? settings->pipeline(settings->context) : NULL;
    if (!text)
        return no_pipeline(core, detail);
    json_t *said = json_loads(text, 0, NULL);
    enum mp_error error = said && json_object_update(answer, said) == 0 ? MP_OK : fault_memory(detail);
    json_decref(said);
    return error;
}

static enum mp_error pass_on(struct core *core, const char *verb, struct fault *detail)
{
    if (!core->settings.control)
        return no_pipeline(core, detail);
    enum mp_error error = core->settings.control(core->settings.context, verb, detail);
    return error == MP_ERR_UNSUPPORTED ? no_pipeline(core, detail) : error;
}

bool core_admin_pipeline(struct core *core, const struct request *request, json_t *asked, const char *verb,
                         struct fault *fault)
{
    struct fault detail = {0};
    json_t *answer = json_object();
    enum mp_error error = MP_OK;
    bool known = true;
    if (!answer)
        error = fault_memory(&detail);
    else if (strcmp(verb, "configure") == 0)
        error = configure_all(core, asked, answer, &detail);
    else if (strcmp(verb, "report") == 0)
        error = take_report(core, request, asked, &detail);
    else if (strcmp(verb, "stages") == 0)
        error = put_reports(core, answer, &detail);
    else if (strcmp(verb, "pipeline") == 0)
        error = put_pipeline(core, answer, &detail);
    else if (strcmp(verb, "reload") == 0 || strcmp(verb, "drain") == 0)
        error = pass_on(core, verb, &detail);
    else
        known = false;
    if (known)
        core_admin_answer(core, request, error, answer, &detail, fault);
    json_decref(answer);
    return known;
}
