/* mrelay run --stages-only. */
#include "cli/pipeline_stages.h"

#include "base/control.h"
#include "base/hangup.h"
#include "base/log.h"
#include "cli/exit.h"
#include "cli/loop.h"
#include "cli/output.h"
#include "cli/pipeline_file.h"
#include "relay/relay.h"
#include "runner/runner.h"

#include <event2/event.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

enum {
    PATIENCE = 10000000, /* microseconds that commands have to finish */
    SIGNALS = 2
};

struct stages {
    const struct pipeline_stages_settings *settings;
    struct event_base *base;
    struct event *signals[SIGNALS];
    struct hangup *hangup;
    struct control *control; /* NULL: nobody supervises */
    struct runner *runner;
    struct event *waiting; /* for the relay to answer */
    enum runner_state told;
    bool is_ready;
    int exit;
};

static void say(const struct stages *stages, enum log_level level, const char *event, const char *reason)
{
    struct log_line line;
    log_begin(&line, level, event);
    if (reason)
        log_field(&line, "reason", "%s", reason);
    log_end(&line);
    (void)stages;
}

/* ---- what the runner says ------------------------------------------------------------------------------------- */

static void on_changed(void *context)
{
    struct stages *stages = context;
    const struct fault *failure = runner_failure(stages->runner);
    enum runner_state state = runner_state(stages->runner);
    if (failure && stages->exit < 0) {
        stages->exit = exit_code_of(failure->code);
        tell("%s", fault_text(failure));
        event_base_loopbreak(stages->base);
        return;
    }
    if ((state == RUNNER_RUNNING || state == RUNNER_DRAINED) && !stages->is_ready) {
        stages->is_ready = true;
        say(stages, LOG_INFO, "stages run", NULL);
        if (stages->control)
            control_send(stages->control, "ready");
    }
    /* Whoever drains stops at once when nothing is left: the runner has not been DRAINED then, or not for long. */
    if (state != stages->told && (state == RUNNER_DRAINED || state == RUNNER_STOPPED) && stages->control)
        control_send(stages->control, "drained %" PRIu64 " %u", runner_dead(stages->runner),
                     runner_failed_sources(stages->runner));
    stages->told = state;
    if (state == RUNNER_STOPPED)
        event_base_loopbreak(stages->base);
}

/* A supervisor has started the relay itself, and knows better. */
static void on_waiting(evutil_socket_t descriptor, short what, void *context)
{
    struct stages *stages = context;
    struct log_line line;
    (void)descriptor;
    (void)what;
    if (stages->is_ready || stages->control)
        return;
    log_begin(&line, LOG_WARNING, "no relay answers: it is waited for");
    if (stages->settings->relay)
        log_field(&line, "relay", "%s", stages->settings->relay);
    log_end(&line);
}

static void on_reloaded(void *context, const struct fault *fault)
{
    struct stages *stages = context;
    if (fault)
        say(stages, LOG_ERROR, "not reloaded: it goes on as before", fault_text(fault));
    else
        say(stages, LOG_INFO, "reloaded", NULL);
    if (!stages->control)
        return;
    if (fault)
        control_send(stages->control, "failed %s", fault_text(fault));
    else
        control_send(stages->control, "reloaded");
}

/* ---- what it is told ------------------------------------------------------------------------------------------ */

static void reload(struct stages *stages)
{
    struct fault fault = {0};
    struct pipeline *pipeline = NULL;
    enum mp_error error = pipeline_file_load(stages->settings->file, false, &pipeline, &fault);
    if (!error && (error = runner_reload(stages->runner, pipeline, &fault)))
        pipeline_free(pipeline);
    if (error)
        on_reloaded(stages, &fault);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
    struct stages *stages = context;
    (void)number;
    (void)what;
    /* The next one finds the default again, which kills. */
    for (size_t i = 0; i < SIGNALS; i++)
        if (stages->signals[i])
            event_del(stages->signals[i]);
    runner_stop(stages->runner, PATIENCE);
}

static void on_hangup(void *context)
{
    reload(context);
}

static void on_terminal_gone(void *context)
{
    struct stages *stages = context;
    say(stages, LOG_INFO, "its terminal has gone", NULL);
    runner_stop(stages->runner, PATIENCE);
}

static void on_line(void *context, const char *line)
{
    struct stages *stages = context;
    if (strcmp(line, "reload") == 0)
        reload(stages);
    else if (strcmp(line, "drain") == 0)
        runner_drain(stages->runner);
    else if (strcmp(line, "stop") == 0)
        runner_stop(stages->runner, PATIENCE);
}

static void on_orphaned(void *context)
{
    struct stages *stages = context;
    control_free(stages->control);
    stages->control = NULL;
    runner_stop(stages->runner, PATIENCE);
}

/* ---- running -------------------------------------------------------------------------------------------------- */

static enum mp_error watch(struct stages *stages, struct fault *fault)
{
    static const int numbers[SIGNALS] = {SIGINT, SIGTERM};
    const struct timeval shortly = {.tv_sec = 1};
    const struct hangup_settings hangup = {.context = stages, .reload = on_hangup, .gone = on_terminal_gone};
    for (size_t i = 0; i < SIGNALS; i++) {
        if (exit_was_ignored(numbers[i]))
            continue;
        stages->signals[i] = evsignal_new(stages->base, numbers[i], on_signal, stages);
        if (!stages->signals[i] || event_add(stages->signals[i], NULL))
            return fault_memory(fault);
    }
    stages->waiting = evtimer_new(stages->base, on_waiting, stages);
    if (!stages->waiting || event_add(stages->waiting, &shortly))
        return fault_memory(fault);
    return hangup_watch(stages->base, &hangup, &stages->hangup, fault);
}

static enum mp_error open_base(struct stages *stages, struct fault *fault)
{
    struct event_config *config = event_config_new();
    if (config) {
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER);
        stages->base = event_base_new_with_config(config);
        event_config_free(config);
    }
    return stages->base ? MP_OK : fault_memory(fault);
}

static enum mp_error begin(struct stages *stages, struct fault *fault)
{
    const struct pipeline_stages_settings *settings = stages->settings;
    const struct control_settings control = {.context = stages, .line = on_line, .ended = on_orphaned};
    int descriptor = control_inherited(RELAY_CONTROL);
    struct pipeline *pipeline = NULL;
    enum mp_error error = pipeline_file_load(settings->file, descriptor < 0, &pipeline, fault);
    if (!error)
        error = open_base(stages, fault);
    if (!error && descriptor >= 0)
        error = control_open(stages->base, descriptor, &control, &stages->control, fault);
    if (!error)
        error = watch(stages, fault);
    const struct runner_settings runner = {
        .base = stages->base,
        .relay = settings->relay || !pipeline ? settings->relay : pipeline->name,
        .state = settings->state,
        .signals = loop_child_signals,
        .context = stages,
        .changed = on_changed,
        .reloaded = on_reloaded,
    };
    if (!error)
        error = runner_open(&runner, pipeline, &stages->runner, fault);
    if (error)
        pipeline_free(pipeline);
    return error;
}

int pipeline_stages_run(const struct pipeline_stages_settings *settings)
{
    struct stages stages = {.settings = settings, .exit = -1};
    struct fault fault = {0};
    log_setup((enum log_level)settings->log_level, settings->log_format == 1);
    if (begin(&stages, &fault))
        stages.exit = pipeline_file_exit(&fault);
    else
        event_base_dispatch(stages.base);
    runner_free(stages.runner);
    control_free(stages.control);
    for (size_t i = 0; i < SIGNALS; i++)
        if (stages.signals[i])
            event_free(stages.signals[i]);
    hangup_free(stages.hangup);
    if (stages.waiting)
        event_free(stages.waiting);
    if (stages.base)
        event_base_free(stages.base);
    return stages.exit < 0 ? EXIT_DONE : stages.exit;
}
