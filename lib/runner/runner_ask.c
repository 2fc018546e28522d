/* What the runner asks of the relay, one thing after the other, and what it reports. */
#include "base/memory.h"
#include "runner/runner_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    GROUPS_FIRST = 20000,  /* microseconds until it is asked again whether all is done, */
    GROUPS_LAST = 1000000, /* doubled up to this */
    REPORT_BUSY = 1000000, /* between reports while something moves */
    REPORT_IDLE = 15000000 /* else */
};

/* ---- reports -------------------------------------------------------------------------------------------------- */

static json_t *describe_source(const struct member *member)
{
    static const char *const states[] = {[SOURCE_RUNNING] = "running",
                                         [SOURCE_WAITING] = "waiting",
                                         [SOURCE_ENDED] = "ended",
                                         [SOURCE_FAILED] = "failed"};
    struct source_report report = source_report(member->source);
    json_t *said = json_pack(
        "{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:i,s:i,s:i,s:i,s:s,s:s,s:{s:I}}", "name", member->source_model->name, "kind",
        "source", "in", (json_int_t)report.in, "done", (json_int_t)report.out, "out", (json_int_t)report.out, "failed",
        (json_int_t)report.rejected, "skipped", (json_int_t)(report.skipped + report.missed), "dead", 0, "running", 0,
        "p50_us", 0, "p99_us", 0, "state", states[report.state], "why", report.why ? report.why : "", "to",
        member->source_model->to.topic, (json_int_t)report.out);
    if (said && report.retraced > 0)
        json_object_set_new(said, "retraced", json_integer((json_int_t)report.retraced));
    return said;
}

/* What is not there yet. */
static json_t *describe_absent(const struct member *member)
{
    bool source = member->source_model;
    return json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:s,s:s,s:{}}", "name",
                     source ? member->source_model->name : member->stage_model->name, "kind",
                     source                      ? "source"
                     : member->stage_model->sink ? "sink"
                                                 : "stage",
                     "in", 0, "done", 0, "out", 0, "failed", 0, "dead", 0, "running", 0, "p50_us", 0, "p99_us", 0,
                     "state", member->why ? "failed" : "starting", "why", member->why ? member->why : "", "to");
}

/*
 * {"stages":[{"name","kind":"source|stage|sink","in","done","out","failed","dead","running","p50_us","p99_us",
 * "state":"running|paused|open|full|waiting|stopping|ended|failed","why","to":{TOPIC:MESSAGES…}}]}; of stages also
 * "breaker", "times", "steps" and "retraced", where there is something to say. NULL: no memory.
 */
static json_t *describe(const struct runner *runner)
{
    json_t *stages = json_array();
    for (const struct member *member = runner->members; stages && member; member = member->next) {
        json_t *one = member->stage    ? runner_stage_describe(member->stage)
                      : member->source ? describe_source(member)
                                       : describe_absent(member);
        if (one && json_array_append_new(stages, one))
            break;
    }
    return json_pack("{s:o}", "stages", stages);
}

static enum mp_error put_report(const struct runner *runner, struct buffer *out)
{
    char host[200] = "";
    char name[256];
    json_t *report = describe(runner);
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "%s:%ld", host, (long)getpid());
    if (report) {
        json_object_set_new(report, "verb", json_string("report"));
        json_object_set_new(report, "runner", json_string(name));
        json_object_set_new(report, "uptime_us", json_integer(clock_monotonic() - runner->started));
        json_object_set_new(report, "pipeline", json_string(runner->generation->pipeline->name));
    }
    char *text = report ? json_dumps(report, JSON_COMPACT) : NULL;
    enum mp_error error = text ? buffer_append_string(out, text) : MP_ERR_MEMORY;
    free(text);
    json_decref(report);
    return error;
}

/* ---- whether all is done -------------------------------------------------------------------------------------- */

/* Whether GROUP, as the relay describes it, is one of the pipeline's. */
static bool is_ours(const struct runner *runner, const char *topic, const char *group)
{
    const struct pipeline_stage *stage = pipeline_stage(runner->generation->pipeline, group);
    if (!stage || (runner->settings.only && strcmp(runner->settings.only, group) != 0) ||
        (stage->sink && runner->settings.no_sinks))
        return false;
    for (size_t i = 0; i < stage->from.count; i++)
        if (strcmp(stage->from.all[i].topic, topic) == 0 || name_matches(stage->from.all[i].topic, topic))
            return true;
    return false;
}

static void take_groups(struct runner *runner, const char *text, size_t size)
{
    json_t *answer = json_loadb(text, size, 0, NULL), *group;
    json_int_t waiting = 0, leased = 0;
    size_t index;
    json_array_foreach(json_object_get(answer, "groups"), index, group)
    {
        const char *topic = json_string_value(json_object_get(group, "topic"));
        const char *name = json_string_value(json_object_get(group, "group"));
        if (!topic || !name || !is_ours(runner, topic, name))
            continue;
        waiting += json_integer_value(json_object_get(group, "waiting")) +
                   json_integer_value(json_object_get(group, "delayed"));
        leased += json_integer_value(json_object_get(group, "leased"));
    }
    uint64_t windowed = runner_members_windowed(runner);
    bool moved = runner->moves != runner->moves_asked;
    runner->quiet = answer && waiting == 0 && leased == 0 && !moved;
    /* What is left waits for windows to end. Without sources somebody else sends, and may go on. */
    bool ends = runner->draining || runner_members_have_sources(runner);
    if (answer && ends && waiting == 0 && windowed > 0 && leased == (json_int_t)windowed && !moved)
        runner_members_end_windows(runner);
    json_decref(answer);
}

/* When to ask whether all is done: when sources have ended and no stage has anything to do. */
static int64_t groups_due(struct runner *runner, int64_t now)
{
    if (runner->phase != PHASE_RUN || runner->quiet || !runner_members_sources_have_ended(runner) ||
        !runner_members_are_idle(runner)) {
        runner->groups_at = CLOCK_NEVER;
        return CLOCK_NEVER;
    }
    if (runner->moved) {
        runner->groups_pause = 0;
        runner->groups_at = CLOCK_NEVER;
        runner->moved = false;
    }
    if (runner->groups_at == CLOCK_NEVER) {
        runner->groups_at = now + runner->groups_pause;
        int64_t next = runner->groups_pause ? runner->groups_pause * 2 : GROUPS_FIRST;
        runner->groups_pause = next < GROUPS_LAST ? next : GROUPS_LAST;
    }
    return runner->groups_at;
}

static int64_t report_due(const struct runner *runner)
{
    if (runner->phase == PHASE_START)
        return CLOCK_NEVER;
    return runner->reported + (runner->changes != runner->changes_reported ? REPORT_BUSY : REPORT_IDLE);
}

/* ---- asking --------------------------------------------------------------------------------------------------- */

static void ask(struct runner *runner, enum runner_question what, int64_t now)
{
    struct buffer text = {0};
    struct fault fault = {0};
    enum mp_error error = MP_OK;
    switch (what) {
    case ASK_CONFIGURE:
        runner->configure = false;
        error = pipeline_configure(runner->coming ? runner->coming->pipeline : runner->generation->pipeline,
                                   runner->settings.only, &text);
        break;
    case ASK_GROUPS:
        runner->groups_at = CLOCK_NEVER;
        runner->moves_asked = runner->moves;
        error = buffer_append_string(&text, "{\"verb\":\"groups\"}");
        break;
    case ASK_REPORT:
        if (runner->changes == runner->changes_reported && !runner->trimmed)
            memory_trim(); /* nothing has moved for a while */
        runner->trimmed = runner->changes == runner->changes_reported;
        runner->reported = now;
        runner->changes_reported = runner->changes;
        error = put_report(runner, &text);
        break;
    case ASK_NOTHING:
        break;
    }
    if (!error)
        error = client_ask(client_link_use(runner->link), (const char *)text.data, text.size, &fault);
    if (!error)
        runner->asking = what;
    else if (what == ASK_CONFIGURE)
        runner_configured(runner, error, mp_error_text(error));
    buffer_free(&text);
}

int64_t runner_ask(struct runner *runner, int64_t now)
{
    if (runner->asking || !client_is_welcome(client_link_client(runner->link)))
        return CLOCK_NEVER;
    int64_t groups = groups_due(runner, now), report = report_due(runner);
    if (runner->configure)
        ask(runner, ASK_CONFIGURE, now);
    else if (groups <= now)
        ask(runner, ASK_GROUPS, now);
    else if (report <= now)
        ask(runner, ASK_REPORT, now);
    if (runner->asking)
        return CLOCK_NEVER;
    return groups < report ? groups : report;
}

static void on_welcomed(void *context, const struct protocol_welcome *welcome)
{
    (void)welcome;
    struct runner *runner = context;
    turn_soon(&runner->turn);
}

static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    struct runner *runner = context;
    enum runner_question asked = runner->asking;
    char words[FAULT_TEXT];
    runner->asking = ASK_NOTHING;
    turn_soon(&runner->turn);
    if (asked == ASK_CONFIGURE) {
        snprintf(words, sizeof words, "%.*s", (int)(size < FAULT_TEXT ? size : FAULT_TEXT - 1), text);
        runner_configured(runner, status, words);
    } else if (asked == ASK_GROUPS && status == MP_OK) {
        take_groups(runner, text, size);
    }
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct fault fault;
    fault_set(&fault, error, "%s", text);
    runner_fail(context, &fault);
}

enum mp_error runner_ask_open(struct runner *runner, struct fault *fault)
{
    char name[64];
    snprintf(name, sizeof name, "mrelay run %ld", (long)getpid());
    const struct client_settings settings = {
        .name = name,
        .context = runner,
        .welcomed = on_welcomed,
        .answered = on_answered,
        .failed = on_failed,
    };
    return client_link_open(runner->settings.base, runner->address.text, &settings, &runner->link, fault);
}
