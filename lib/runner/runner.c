/* A runner's life: starting, stopping, draining. */
#include "runner/runner.h"

#include "base/log.h"
#include "base/memory.h"
#include "runner/runner_private.h"

#include <sys/resource.h>

enum {
    PATIENCE = 30000000, /* microseconds */
    LEAVE_WITHIN = 2000000
};

static void tell_changed(struct runner *runner)
{
    if (runner->settings.changed)
        runner->settings.changed(runner->settings.context);
}

static void set_state(struct runner *runner, enum runner_state state)
{
    uint64_t dead = runner_dead(runner);
    bool changed = runner->state != state || runner->dead_told != dead;
    runner->state = state;
    runner->dead_told = dead;
    if (changed)
        tell_changed(runner);
}

void runner_fail(struct runner *runner, const struct fault *fault)
{
    if (runner->failed)
        return;
    runner->failed = true;
    runner->failure = *fault;
    tell_changed(runner);
}

static int64_t patience(const struct runner *runner)
{
    return runner->settings.patience > 0 ? runner->settings.patience : PATIENCE;
}

static int64_t deadline(int64_t now, int64_t after)
{
    return after > CLOCK_NEVER - 1 - now ? CLOCK_NEVER - 1 : now + after;
}

/* ---- reloading ------------------------------------------------------------------------------------------------ */

static void tell_reloaded(struct runner *runner, const struct fault *fault)
{
    if (runner->settings.reloaded)
        runner->settings.reloaded(runner->settings.context, fault);
}

static void exchange(struct runner *runner)
{
    struct fault fault = {0};
    struct generation *old = runner->generation;
    if (runner_members_add(runner, runner->coming)) {
        fault_memory(&fault);
        generation_drop(runner->coming);
        runner->coming = NULL;
        tell_reloaded(runner, &fault);
        return;
    }
    runner_members_exchange(runner, runner->coming, deadline(clock_monotonic(), patience(runner)));
    runner->generation = runner->coming;
    runner->coming = NULL;
    generation_drop(old);
    runner->quiet = false;
    runner->open_again = 0;
    turn_soon(&runner->turn);
    tell_reloaded(runner, NULL);
}

void runner_configured(struct runner *runner, enum mp_error error, const char *text)
{
    struct fault fault;
    turn_soon(&runner->turn);
    if (error)
        fault_set(&fault, error, "the relay does not set up the pipeline's topics: %s", text);
    if (runner->phase == PHASE_START && error) {
        runner_fail(runner, &fault);
    } else if (runner->phase == PHASE_START) {
        runner->phase = PHASE_RUN;
        runner->open_again = 0;
    } else if (runner->coming && error) {
        generation_drop(runner->coming);
        runner->coming = NULL;
        tell_reloaded(runner, &fault);
    } else if (runner->coming) {
        exchange(runner);
    }
}

enum mp_error runner_reload(struct runner *runner, struct pipeline *pipeline, struct fault *fault)
{
    if (runner->coming || runner->phase != PHASE_RUN || runner->draining)
        return fault_set(fault, MP_ERR_BUSY, runner->coming ? "a reload is under way" : "the runner is not running");
    runner->coming = generation_new(pipeline);
    if (!runner->coming)
        return fault_memory(fault);
    runner->configure = true;
    turn_soon(&runner->turn);
    return MP_OK;
}

/* ---- its turn ------------------------------------------------------------------------------------------------- */

static void stop(struct runner *runner, int64_t now, int64_t after)
{
    runner->phase = PHASE_STOP;
    generation_drop(runner->coming);
    runner->coming = NULL;
    runner_members_stop(runner, deadline(now, after));
}

/* Whether all is done, as far as is known. */
static bool is_drained(const struct runner *runner)
{
    return runner->quiet && runner_members_sources_have_ended(runner) && runner_members_are_idle(runner) &&
           runner_members_windowed(runner) == 0;
}

static void run(struct runner *runner, int64_t now)
{
    bool drained = is_drained(runner);
    if (drained && runner->draining)
        stop(runner, now, patience(runner));
    else
        set_state(runner, drained ? RUNNER_DRAINED : RUNNER_RUNNING);
}

/* Its members have stopped: the last to leave is what asked. */
static void leave(struct runner *runner, int64_t now)
{
    if (!runner_members_have_stopped(runner))
        return;
    if (!runner->left) {
        runner->left = true;
        runner->leave_by = now + LEAVE_WITHIN;
        client_leave(client_link_use(runner->link));
    }
    if (client_has_left(client_link_client(runner->link)) || now >= runner->leave_by) {
        runner->phase = PHASE_GONE;
        set_state(runner, RUNNER_STOPPED);
        return;
    }
    enum { LOOK_EVERY = 10000 };
    turn_by(&runner->turn, now + LOOK_EVERY);
}

static void on_turn(void *context)
{
    struct runner *runner = context;
    int64_t now = clock_monotonic();
    struct fault fault = {0};
    if (runner->phase == PHASE_GONE)
        return;
    if (runner->phase != PHASE_START && runner_members_look(runner, now, &fault))
        runner_fail(runner, &fault);
    if (runner->phase == PHASE_RUN)
        run(runner, now);
    if (runner->phase == PHASE_STOP)
        leave(runner, now);
    if (!runner->left)
        turn_by(&runner->turn, runner_ask(runner, now));
    turn_by(&runner->turn, runner->open_again);
}

void runner_stop(struct runner *runner, int64_t after)
{
    int64_t now = clock_monotonic();
    if (runner->phase == PHASE_STOP)
        runner_members_stop(runner, deadline(now, after));
    else if (runner->phase != PHASE_GONE)
        stop(runner, now, after);
    turn_soon(&runner->turn);
}

void runner_drain(struct runner *runner)
{
    runner->draining = true;
    runner->quiet = false;
    runner_moved(runner); /* who asks for it may have sent something just now */
    runner_members_stop_sources(runner);
    turn_soon(&runner->turn);
}

enum runner_state runner_state(const struct runner *runner)
{
    return runner->state;
}

const struct fault *runner_failure(const struct runner *runner)
{
    return runner->failed ? &runner->failure : NULL;
}

uint64_t runner_dead(const struct runner *runner)
{
    return runner->dead + runner_members_dead(runner);
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

/* A client takes some descriptors, a command three pipes: a large pipeline takes more than is given by default. */
static void raise_limits(const struct pipeline *pipeline)
{
    enum { FOR_ALL = 100, FOR_FEED = 7, FOR_WORKER = 8, FOR_SOURCE = 12 };
    struct rlimit limit;
    rlim_t needed = FOR_ALL + FOR_SOURCE * pipeline->sources_count;
    for (size_t i = 0; i < pipeline->stages_count; i++) {
        const struct pipeline_stage *stage = &pipeline->stages[i];
        needed += FOR_FEED * stage->from.count + (rlim_t)FOR_WORKER * stage->workers;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= needed)
        return;
    limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || needed < limit.rlim_max ? needed : limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* what cannot be opened then says so */
}

enum mp_error runner_open(const struct runner_settings *settings, struct pipeline *pipeline, struct runner **result,
                          struct fault *fault)
{
    struct runner *runner = memory_allocate(sizeof *runner);
    if (!runner)
        return fault_memory(fault);
    runner->settings = *settings;
    runner->configure = true;
    runner->started = clock_monotonic();
    runner->open_again = runner->groups_at = CLOCK_NEVER;
    raise_limits(pipeline);
    enum mp_error error = address_of_relay(settings->relay, &runner->address, fault);
    if (!error)
        error = stage_children_open(settings->base, &runner->children, fault);
    if (!error && turn_open(&runner->turn, settings->base, on_turn, runner))
        error = fault_memory(fault);
    if (!error)
        error = runner_ask_open(runner, fault);
    if (!error && !(runner->generation = generation_new(pipeline)))
        error = fault_memory(fault);
    if (!error && runner_members_add(runner, runner->generation))
        error = fault_memory(fault);
    if (error) {
        if (runner->generation)
            runner->generation->pipeline = NULL; /* it stays the caller's */
        runner_free(runner);
        return error;
    }
    turn_soon(&runner->turn);
    *result = runner;
    return MP_OK;
}

void runner_free(struct runner *runner)
{
    if (!runner)
        return;
    runner_members_free(runner);
    turn_close(&runner->turn);
    client_link_close(runner->link);
    generation_drop(runner->generation);
    generation_drop(runner->coming);
    staging_free(&runner->staging);
    stage_children_free(runner->children);
    memory_release(runner);
}
