/* The runner's stages, sources and sinks, and how a reload exchanges them. */
#include "base/log.h"
#include "base/memory.h"
#include "runner/runner_private.h"

#include <string.h>

enum {
    OPEN_AGAIN = 100000, /* microseconds until what another has still to leave is tried again, */
    OPEN_LATER = 3000000 /* and what cannot be opened */
};

struct generation *generation_new(struct pipeline *pipeline)
{
    struct generation *generation = memory_allocate(sizeof *generation);
    if (generation)
        *generation = (struct generation){pipeline, 1};
    return generation;
}

void generation_drop(struct generation *generation)
{
    if (!generation || --generation->uses > 0)
        return;
    pipeline_free(generation->pipeline);
    memory_release(generation);
}

static const char *name_of(const struct member *member)
{
    return member->stage_model ? member->stage_model->name : member->source_model->name;
}

static const char *kind_of(const struct member *member)
{
    return member->source_model ? "source" : member->stage_model->sink ? "sink" : "stage";
}

static const char *text_of(const struct member *member)
{
    return member->stage_model ? member->stage_model->text : member->source_model->text;
}

static void free_member(struct member *member)
{
    runner_stage_free(member->stage);
    source_free(member->source);
    generation_drop(member->generation);
    memory_release(member->why);
    memory_release(member);
}

/* ---- which there are ------------------------------------------------------------------------------------------ */

/* The member that does what MODEL, of a stage or a source, says, and is to go on with it. */
static struct member *find_same(const struct runner *runner, const struct pipeline_stage *stage,
                                const struct pipeline_source *source)
{
    const char *name = stage ? stage->name : source->name, *text = stage ? stage->text : source->text;
    for (struct member *member = runner->members; member; member = member->next)
        if (!member->leaving && !member->stage_model == !stage && strcmp(name_of(member), name) == 0 &&
            strcmp(text_of(member), text) == 0)
            return member;
    return NULL;
}

/* Sinks first, so that they are there when something is to go into them. */
static int rank(const struct member *member)
{
    return member->source_model ? 2 : member->stage_model->sink ? 0 : 1;
}

static enum mp_error add(struct runner *runner, struct generation *generation, const struct pipeline_stage *stage,
                         const struct pipeline_source *source)
{
    if (find_same(runner, stage, source))
        return MP_OK;
    struct member *member = memory_allocate(sizeof *member);
    if (!member)
        return MP_ERR_MEMORY;
    generation->uses++;
    *member = (struct member){.generation = generation, .stage_model = stage, .source_model = source};
    struct member **at = &runner->members;
    while (*at && rank(*at) <= rank(member))
        at = &(*at)->next;
    member->next = *at;
    *at = member;
    return MP_OK;
}

static bool is_wanted(const struct runner *runner, const struct pipeline_stage *stage)
{
    const char *only = runner->settings.only;
    if (only)
        return strcmp(only, stage->name) == 0;
    return !stage->sink || !runner->settings.no_sinks;
}

/* Takes out those of GENERATION that were not opened. */
static void remove_new(struct runner *runner, const struct generation *generation)
{
    for (struct member **at = &runner->members; *at;) {
        struct member *member = *at;
        if (member->generation == generation && !member->stage && !member->source) {
            *at = member->next;
            free_member(member);
        } else {
            at = &member->next;
        }
    }
}

enum mp_error runner_members_add(struct runner *runner, struct generation *generation)
{
    const struct pipeline *pipeline = generation->pipeline;
    bool sources = !runner->settings.only && !runner->settings.no_sources;
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < pipeline->stages_count; i++)
        if (is_wanted(runner, &pipeline->stages[i]))
            error = add(runner, generation, &pipeline->stages[i], NULL);
    for (size_t i = 0; !error && sources && i < pipeline->sources_count; i++)
        error = add(runner, generation, NULL, &pipeline->sources[i]);
    if (error)
        remove_new(runner, generation);
    return error;
}

static void stop_member(struct member *member, int64_t deadline)
{
    member->leaving = true;
    if (member->stage)
        runner_stage_stop(member->stage, deadline);
    if (member->source)
        source_stop(member->source, deadline);
}

static bool has_stopped(const struct member *member)
{
    return (!member->stage || runner_stage_has_stopped(member->stage)) &&
           (!member->source || source_has_ended(member->source));
}

static bool generation_has(const struct generation *generation, const struct member *member)
{
    const struct pipeline *pipeline = generation->pipeline;
    const struct pipeline_stage *stage = member->stage_model ? pipeline_stage(pipeline, name_of(member)) : NULL;
    const struct pipeline_source *source = member->source_model ? pipeline_source(pipeline, name_of(member)) : NULL;
    const char *text = stage ? stage->text : source ? source->text : NULL;
    return text && strcmp(text, text_of(member)) == 0;
}

void runner_members_exchange(struct runner *runner, const struct generation *generation, int64_t deadline)
{
    for (struct member *member = runner->members; member; member = member->next)
        if (!member->leaving && !generation_has(generation, member))
            stop_member(member, deadline);
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static void on_changed(void *context)
{
    struct runner *runner = context;
    turn_soon(&runner->turn);
}

static enum mp_error open_member(struct runner *runner, struct member *member, struct fault *fault)
{
    if (member->stage_model) {
        const struct runner_stage_settings settings = {
            .base = runner->settings.base,
            .children = runner->children,
            .url = runner->address.text,
            .pipeline = member->generation->pipeline,
            .model = member->stage_model,
            .staging = &runner->staging,
            .signals = runner->settings.signals,
            .context = runner,
            .changed = on_changed,
        };
        return runner_stage_open(&settings, &member->stage, fault);
    }
    const struct source_settings settings = {
        .base = runner->settings.base,
        .children = runner->children,
        .relay = runner->address.text,
        .source = member->source_model,
        .state = runner->settings.state,
        .signals = runner->settings.signals,
        .context = runner,
        .changed = on_changed,
    };
    return source_open(&settings, &member->source, fault);
}

/* Whether one of the same name is still to stop: the two would be one consumer too many, or want the same address. */
static bool waits_for_another(const struct runner *runner, const struct member *member)
{
    for (const struct member *other = runner->members; other; other = other->next)
        if (other != member && other->leaving && !other->stage_model == !member->stage_model &&
            strcmp(name_of(other), name_of(member)) == 0)
            return true;
    return false;
}

static bool is_any_leaving(const struct runner *runner)
{
    for (const struct member *member = runner->members; member; member = member->next)
        if (member->leaving)
            return true;
    return false;
}

/* It is told once, and tried again. */
static void note_failure(struct runner *runner, struct member *member, const struct fault *fault)
{
    struct log_line line;
    const char *text = fault_text(fault);
    if (member->why && strcmp(member->why, text) == 0)
        return;
    memory_release(member->why);
    member->why = memory_copy_text(text, strlen(text));
    runner->changes++;
    log_begin(&line, LOG_ERROR, "cannot be started, is tried again");
    log_field(&line, kind_of(member), "%s", name_of(member));
    log_field(&line, "reason", "%s", text);
    log_end(&line);
}

/* Opens MEMBER. False: it is to be tried again; FAULT is set when that is for no fault of another. */
static bool try_member(struct runner *runner, struct member *member, struct fault *fault)
{
    if (waits_for_another(runner, member))
        return false;
    struct fault why = {0};
    enum mp_error error = open_member(runner, member, &why);
    if (!error) {
        memory_release(member->why);
        member->why = NULL;
        return true;
    }
    /* What holds its address may be on its way out. */
    if (error == MP_ERR_BUSY && is_any_leaving(runner))
        return false;
    if (runner->began)
        note_failure(runner, member, &why);
    else
        fault_set(fault, error, "%s %s: %s", kind_of(member), name_of(member), fault_text(&why));
    return false;
}

static enum mp_error open_all(struct runner *runner, int64_t now, struct fault *fault)
{
    runner->open_again = CLOCK_NEVER;
    for (struct member *member = runner->members; member && !fault->code; member = member->next)
        if (!member->stage && !member->source && !member->leaving && !try_member(runner, member, fault))
            runner->open_again = now + (member->why ? OPEN_LATER : OPEN_AGAIN);
    runner->began = runner->began || (!fault->code && runner->open_again == CLOCK_NEVER);
    return fault->code;
}

static uint64_t changes_of(const struct member *member)
{
    if (member->stage)
        return runner_stage_changes(member->stage);
    if (!member->source)
        return 0;
    struct source_report report = source_report(member->source);
    return report.in + report.out + report.skipped + report.rejected + report.missed + (uint64_t)report.state;
}

/* Messages that died in MEMBER, or that it could not send. */
static uint64_t dead_of(const struct member *member)
{
    return member->stage    ? runner_stage_dead(member->stage)
           : member->source ? source_report(member->source).rejected
                            : 0;
}

static bool has_failed(const struct member *member)
{
    return member->source && source_report(member->source).state == SOURCE_FAILED;
}

enum mp_error runner_members_look(struct runner *runner, int64_t now, struct fault *fault)
{
    bool gone = false;
    for (struct member **at = &runner->members; *at;) {
        struct member *member = *at;
        uint64_t changes = changes_of(member);
        if (changes != member->changes) {
            member->changes = changes;
            runner->changes++;
            runner_moved(runner);
            runner->quiet = false;
        }
        if (member->stage && runner_stage_failure(member->stage)) {
            *fault = *runner_stage_failure(member->stage);
            return fault->code;
        }
        if (member->leaving && has_stopped(member)) {
            runner->dead += dead_of(member);
            runner->failed_sources += has_failed(member);
            *at = member->next;
            free_member(member);
            gone = true;
        } else {
            at = &member->next;
        }
    }
    if (now < runner->open_again && !gone)
        return MP_OK;
    return runner->phase == PHASE_RUN ? open_all(runner, now, fault) : MP_OK;
}

void runner_members_stop(struct runner *runner, int64_t deadline)
{
    for (struct member *member = runner->members; member; member = member->next)
        stop_member(member, deadline);
}

void runner_members_stop_sources(struct runner *runner)
{
    for (struct member *member = runner->members; member; member = member->next)
        if (member->source)
            source_stop(member->source, CLOCK_NEVER);
}

void runner_members_free(struct runner *runner)
{
    while (runner->members) {
        struct member *member = runner->members;
        runner->members = member->next;
        free_member(member);
    }
}

/* ---- what they are at ----------------------------------------------------------------------------------------- */

bool runner_members_have_stopped(const struct runner *runner)
{
    return !runner->members;
}

bool runner_members_have_sources(const struct runner *runner)
{
    for (const struct member *member = runner->members; member; member = member->next)
        if (member->source_model)
            return true;
    return false;
}

bool runner_members_sources_have_ended(const struct runner *runner)
{
    for (const struct member *member = runner->members; member; member = member->next)
        if (member->source_model && (!member->source || !source_has_ended(member->source)))
            return false;
    return true;
}

bool runner_members_are_idle(const struct runner *runner)
{
    for (const struct member *member = runner->members; member; member = member->next)
        if (member->stage_model && (!member->stage || !runner_stage_is_idle(member->stage)))
            return false;
    return true;
}

uint64_t runner_members_windowed(const struct runner *runner)
{
    uint64_t windowed = 0;
    for (const struct member *member = runner->members; member; member = member->next)
        windowed += member->stage ? runner_stage_windowed(member->stage) : 0;
    return windowed;
}

uint64_t runner_members_dead(const struct runner *runner)
{
    uint64_t dead = 0;
    for (const struct member *member = runner->members; member; member = member->next)
        dead += dead_of(member);
    return dead;
}

unsigned runner_failed_sources(const struct runner *runner)
{
    unsigned failed = runner->failed_sources;
    for (const struct member *member = runner->members; member; member = member->next)
        failed += has_failed(member);
    return failed;
}

/* Whether STAGE sends to a topic that OTHER takes from. */
static bool feeds(const struct pipeline_stage *stage, const struct pipeline_stage *other)
{
    for (size_t from = 0; from < other->from.count; from++) {
        const char *pattern = other->from.all[from].topic;
        for (size_t i = 0; i < stage->to.count; i++)
            if (name_matches(pattern, stage->to.all[i].topic))
                return true;
        for (size_t i = 0; i < stage->routes_count; i++)
            if (name_matches(pattern, stage->routes[i].to.topic))
                return true;
        if (stage->breaker.fallback == PIPELINE_FALLBACK_TOPIC && name_matches(pattern, stage->breaker.to.topic))
            return true;
    }
    return false;
}

/* Whether what FROM emits can come to TO. */
static bool reaches(struct runner *runner, struct member *from, const struct member *to)
{
    for (struct member *member = runner->members; member; member = member->next)
        member->reached = false;
    bool more = true;
    for (bool first = true; more; first = false) {
        more = false;
        for (const struct member *by = runner->members; by; by = by->next)
            for (struct member *member = runner->members; member; member = member->next)
                if (member->stage_model && by->stage_model && !member->reached && (first ? by == from : by->reached) &&
                    feeds(by->stage_model, member->stage_model))
                    more = member->reached = true;
    }
    return to->reached;
}

void runner_members_end_windows(struct runner *runner)
{
    struct member *any = NULL;
    for (struct member *member = runner->members; member; member = member->next) {
        if (!member->stage || runner_stage_windowed(member->stage) == 0)
            continue;
        any = member;
        bool last = true;
        for (struct member *other = runner->members; other && last; other = other->next)
            if (other != member && other->stage && runner_stage_windowed(other->stage) > 0)
                last = !reaches(runner, other, member);
        if (last) {
            runner_stage_end_windows(member->stage);
            return;
        }
    }
    if (any)
        runner_stage_end_windows(any->stage); /* they feed one another */
}
