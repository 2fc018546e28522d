/*
 * The supervisor's states:
 *
 *   starting   the relay is started; when it serves, the runner
 *   running    both are there, or come back: what dies is started again, later each time
 *   draining   the runner was told to drain, and says when nothing waits any more
 *   stopping   the runner was told to stop, or has nothing more to do; when it has ended, the relay is ended
 *
 * Whoever dies first, nothing is lost: the relay has everything on its disk, and the runner's leases end with it.
 */
#include "cli/supervise.h"

#include "base/clock.h"
#include "base/log.h"
#include "cli/child.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/pipeline_file.h"
#include "cli/serve.h"
#include "policy/backoff.h"
#include "relay/notify.h"
#include "relay/relay.h"
#include "transport/address.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SIGNALS = 4,
    PATH_BYTES = 4096,
    ARGUMENTS = 2 * RELAY_LISTEN_MAX + 32,
    PATIENCE = 20 * 1000000,       /* microseconds that the runner may take to stop */
    FIRST_PAUSE = 100 * 1000,      /* before what died is started again, doubled */
    LAST_PAUSE = 10 * 1000 * 1000, /* up to this */
    HEALTHY = 30 * 1000 * 1000     /* what ran for so long begins with the first pause again */
};

enum state { STARTING, RUNNING, DRAINING, STOPPING };
static const char *const state_names[] = {"starting", "running", "draining", "stopping"};

/* The relay or the runner. */
struct part {
    struct supervisor *supervisor;
    const char *name;
    struct child *child;
    int64_t started;
    uint32_t deaths; /* in a row */
    bool ready;
    struct event *again;
};

struct supervisor {
    const struct supervise_settings *settings;
    struct pipeline *pipeline;
    char name[NAME_MAX_BYTES + 1]; /* the relay's; pipelines come and go */
    char *program;
    char file[PATH_BYTES];         /* the pipeline's, from the root */
    char state_folder[PATH_BYTES]; /* for what sources remember, beside the store */
    struct event_base *base;
    struct event *signals[SIGNALS];
    struct event *late;    /* stopping takes too long */
    struct event *over;    /* of `once`: its span */
    struct control *owner; /* who has started this, and would have it stop at its end; NULL: nobody */
    struct part relay, runner;
    enum state state;
    int answer; /* who started this in the background waits there; -1: nobody */
    int signal; /* that ended it */
    unsigned generation;
    char error[FAULT_TEXT]; /* of the last reload */
    uint64_t dead, failed;  /* messages; sources */
    int exit;
};

static void start_relay(struct supervisor *supervisor);
static void start_runner(struct supervisor *supervisor);

/* ---- telling --------------------------------------------------------------------------------------------------- */

/* The relay answers `pipeline` with this. */
static void describe(struct supervisor *supervisor)
{
    if (!supervisor->relay.child || !child_pid(supervisor->relay.child))
        return;
    json_t *said = json_pack("{s:s,s:s,s:i,s:i,s:s,s:s}", "name", supervisor->name, "file", supervisor->file, "pid",
                             (int)getpid(), "generation", (int)supervisor->generation, "state",
                             state_names[supervisor->state], "error", supervisor->error);
    char *text = said ? json_dumps(said, JSON_COMPACT) : NULL;
    if (text)
        control_send(child_control(supervisor->relay.child), "%s", text);
    free(text);
    json_decref(said);
}

static void log_event(const struct supervisor *supervisor, enum log_level level, const char *event, const char *reason)
{
    struct log_line line;
    log_begin(&line, level, event);
    log_field(&line, "pipeline", "%s", supervisor->name);
    if (reason && *reason)
        log_field(&line, "reason", "%s", reason);
    log_end(&line);
}

/* Tells who has started this. The first answer counts. */
static void answer(struct supervisor *supervisor, enum mp_error error, const char *text)
{
    notify_ready(supervisor->answer, error, text);
    supervisor->answer = -1;
}

/* ---- ending ---------------------------------------------------------------------------------------------------- */

static void end_relay(struct supervisor *supervisor)
{
    struct child *child = supervisor->relay.child;
    if (child && child_pid(child))
        child_signal(child, SIGTERM);
    else
        event_base_loopbreak(supervisor->base);
}

static void stop(struct supervisor *supervisor, int code)
{
    struct timeval patience = {.tv_sec = PATIENCE / 1000000};
    if (supervisor->exit < 0)
        supervisor->exit = code;
    if (supervisor->state == STOPPING)
        return;
    supervisor->state = STOPPING;
    notify_state("STOPPING=1");
    event_del(supervisor->relay.again);
    event_del(supervisor->runner.again);
    event_add(supervisor->late, &patience);
    describe(supervisor);
    struct child *runner = supervisor->runner.child;
    if (runner && child_pid(runner))
        control_send(child_control(runner), "stop");
    else
        end_relay(supervisor);
}

static void on_late(evutil_socket_t number, short what, void *context)
{
    struct supervisor *supervisor = context;
    struct child *runner = supervisor->runner.child;
    (void)number;
    (void)what;
    log_event(supervisor, LOG_WARNING, "killed: it takes too long to stop", "");
    if (runner && child_pid(runner))
        child_signal(runner, SIGKILL);
    else if (supervisor->relay.child)
        child_signal(supervisor->relay.child, SIGKILL);
}

/* Nothing waits any more; COUNTS says how many messages have died meanwhile, and how many sources have failed. */
static void on_drained(struct supervisor *supervisor, const char *counts)
{
    char *rest;
    if (supervisor->state == STOPPING)
        return;
    supervisor->dead = strtoull(counts, &rest, 10);
    supervisor->failed = strtoull(rest, NULL, 10);
    if (supervisor->settings->once)
        stop(supervisor, supervisor->failed ? EXIT_FAILED : supervisor->dead ? EXIT_REJECTED : EXIT_DONE);
    else if (supervisor->state == DRAINING)
        stop(supervisor, EXIT_DONE);
}

static void drain(struct supervisor *supervisor)
{
    if (supervisor->state == STOPPING)
        return;
    supervisor->state = DRAINING;
    describe(supervisor);
    log_event(supervisor, LOG_INFO, "draining", "");
    if (supervisor->runner.child && supervisor->runner.ready)
        control_send(child_control(supervisor->runner.child), "drain");
}

static void on_over(evutil_socket_t number, short what, void *context)
{
    (void)number;
    (void)what;
    drain(context);
}

/* ---- reloading ------------------------------------------------------------------------------------------------- */

static void refuse_reload(struct supervisor *supervisor, const char *why)
{
    snprintf(supervisor->error, sizeof supervisor->error, "%s", why);
    supervisor->generation++;
    log_event(supervisor, LOG_ERROR, "not reloaded: it goes on as before", why);
    describe(supervisor);
}

/* The new file is checked here, so that a mistake in it reaches neither the runner nor the relay. */
static void reload(struct supervisor *supervisor)
{
    struct fault fault = {0};
    struct pipeline *next = NULL;
    if (supervisor->state != RUNNING) {
        refuse_reload(supervisor, "it is not running");
        return;
    }
    if (pipeline_file_load(supervisor->file, false, &next, &fault)) {
        refuse_reload(supervisor, fault_text(&fault));
        return;
    }
    pipeline_free(supervisor->pipeline);
    supervisor->pipeline = next;
    if (supervisor->runner.child && supervisor->runner.ready)
        control_send(child_control(supervisor->runner.child), "reload");
}

static void on_reloaded(struct supervisor *supervisor)
{
    supervisor->error[0] = '\0';
    supervisor->generation++;
    log_event(supervisor, LOG_INFO, "reloaded", "");
    describe(supervisor);
}

/* ---- the two parts --------------------------------------------------------------------------------------------- */

static void set_running(struct supervisor *supervisor)
{
    if (supervisor->state == STARTING) {
        supervisor->state = RUNNING;
        supervisor->generation++;
        log_event(supervisor, LOG_INFO, "running", "");
        answer(supervisor, MP_OK, "");
    }
    describe(supervisor);
    if (supervisor->state == DRAINING)
        control_send(child_control(supervisor->runner.child), "drain");
}

static void on_runner_line(void *context, const char *line)
{
    struct part *part = context;
    struct supervisor *supervisor = part->supervisor;
    if (strcmp(line, "ready") == 0) {
        part->ready = true;
        set_running(supervisor);
    } else if (strncmp(line, "drained", 7) == 0) {
        on_drained(supervisor, line + 7);
    } else if (strcmp(line, "reloaded") == 0) {
        on_reloaded(supervisor);
    } else if (strncmp(line, "failed ", 7) == 0) {
        refuse_reload(supervisor, line + 7);
    }
}

static void on_relay_line(void *context, const char *line)
{
    struct part *part = context;
    if (strcmp(line, "reload") == 0)
        reload(part->supervisor);
    else if (strcmp(line, "drain") == 0)
        drain(part->supervisor);
}

static void on_relay_ready(void *context, const struct fault *fault)
{
    struct part *part = context;
    struct supervisor *supervisor = part->supervisor;
    part->ready = !fault->code;
    if (fault->code && supervisor->state == STARTING)
        answer(supervisor, fault->code, fault_text(fault));
    if (fault->code)
        return; /* it ends, and has told why in its own words */
    describe(supervisor);
    if (!supervisor->runner.child && supervisor->state != STOPPING)
        start_runner(supervisor);
}

/* Sets the time after which PART is started again. */
static void try_again(struct part *part)
{
    bool healthy = clock_monotonic() - part->started > HEALTHY;
    part->deaths = healthy ? 1 : part->deaths + 1;
    int64_t pause = backoff_delay(BACKOFF_EXPONENTIAL, FIRST_PAUSE, LAST_PAUSE, 0, part->deaths, 0);
    struct timeval wait = {.tv_sec = (time_t)(pause / 1000000), .tv_usec = (suseconds_t)(pause % 1000000)};
    event_add(part->again, &wait);
}

static void tell_death(const struct part *part, int status)
{
    struct log_line line;
    log_begin(&line, LOG_ERROR, "died, and is started again");
    log_field(&line, "part", "%s", part->name);
    if (WIFSIGNALED(status))
        log_field(&line, "signal", "%d", WTERMSIG(status));
    else
        log_field(&line, "exit", "%d", WEXITSTATUS(status));
    log_end(&line);
}

static void on_ended(void *context, int status)
{
    struct part *part = context;
    struct supervisor *supervisor = part->supervisor;
    bool is_relay = part == &supervisor->relay;
    bool was_ready = part->ready;
    child_free(part->child);
    part->child = NULL;
    part->ready = false;
    if (supervisor->state == STOPPING) {
        if (is_relay)
            event_base_loopbreak(supervisor->base);
        else
            end_relay(supervisor);
    } else if (supervisor->state == STARTING && part->deaths == 0 && !was_ready && WIFEXITED(status)) {
        /* It has said why it cannot run: trying again would not help. */
        answer(supervisor, MP_ERR_INTERNAL, "it could not be started: see the log");
        stop(supervisor, WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILED);
    } else {
        tell_death(part, status);
        try_again(part);
    }
}

static void on_again(evutil_socket_t number, short what, void *context)
{
    struct part *part = context;
    (void)number;
    (void)what;
    if (part == &part->supervisor->relay)
        start_relay(part->supervisor);
    else
        start_runner(part->supervisor);
}

static void start(struct part *part, const struct child_settings *settings)
{
    struct fault fault = {0};
    part->started = clock_monotonic();
    if (child_start(settings, &part->child, &fault) == MP_OK)
        return;
    log_event(part->supervisor, LOG_ERROR, "cannot be started", fault_text(&fault));
    try_again(part);
}

static void add_log(const struct supervise_settings *settings, const char **arguments, size_t *count)
{
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    arguments[(*count)++] = "--log-format";
    arguments[(*count)++] = settings->log_format ? "json" : "logfmt";
    arguments[(*count)++] = "--log-level";
    arguments[(*count)++] = levels[settings->log_level];
}

static void start_relay(struct supervisor *supervisor)
{
    const struct supervise_settings *settings = supervisor->settings;
    const struct pipeline *pipeline = supervisor->pipeline;
    const char *arguments[ARGUMENTS];
    size_t count = 0;
    char lease[32], rate[32], most[32];
    const char *store = settings->store ? settings->store : pipeline->relay.store;
    arguments[count++] = supervisor->program;
    arguments[count++] = "-r";
    arguments[count++] = supervisor->name;
    if (store) {
        arguments[count++] = "--store";
        arguments[count++] = store;
    }
    for (size_t i = 0; i < pipeline->relay.listen_count && i < RELAY_LISTEN_MAX; i++) {
        arguments[count++] = "--listen";
        arguments[count++] = pipeline->relay.listen[i];
    }
    if (pipeline->relay.max_message) {
        snprintf(most, sizeof most, "%" PRIu64, pipeline->relay.max_message);
        arguments[count++] = "--max-message";
        arguments[count++] = most;
    }
    if (pipeline->relay.lease) {
        snprintf(lease, sizeof lease, "%" PRId64 "us", pipeline->relay.lease);
        arguments[count++] = "--lease";
        arguments[count++] = lease;
    }
    if (pipeline->relay.client_rate > 0) {
        snprintf(rate, sizeof rate, "%.17g/s", pipeline->relay.client_rate);
        arguments[count++] = "--client-rate";
        arguments[count++] = rate;
    }
    if (pipeline->relay.insecure || settings->insecure)
        arguments[count++] = "--insecure";
    add_log(settings, arguments, &count);
    arguments[count] = NULL;
    struct child_settings child = {
        .base = supervisor->base,
        .argv = (char *const *)(uintptr_t)arguments,
        .tells_ready = true,
        .context = &supervisor->relay,
        .ready = on_relay_ready,
        .line = on_relay_line,
        .ended = on_ended,
    };
    start(&supervisor->relay, &child);
}

static void start_runner(struct supervisor *supervisor)
{
    const char *arguments[ARGUMENTS];
    size_t count = 0;
    struct address address;
    struct fault fault = {0};
    if (address_of_relay(supervisor->name, &address, &fault)) {
        log_event(supervisor, LOG_ERROR, "cannot be started", fault_text(&fault));
        return;
    }
    arguments[count++] = supervisor->program;
    arguments[count++] = "run";
    arguments[count++] = "--stages-only";
    arguments[count++] = "-r";
    arguments[count++] = address.text;
    add_log(supervisor->settings, arguments, &count);
    if (supervisor->state_folder[0]) {
        arguments[count++] = "--state";
        arguments[count++] = supervisor->state_folder;
    }
    arguments[count++] = supervisor->file;
    arguments[count] = NULL;
    struct child_settings child = {
        .base = supervisor->base,
        .argv = (char *const *)(uintptr_t)arguments,
        .context = &supervisor->runner,
        .line = on_runner_line,
        .ended = on_ended,
    };
    start(&supervisor->runner, &child);
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static void on_signal(evutil_socket_t number, short what, void *context)
{
    struct supervisor *supervisor = context;
    (void)what;
    if (number == SIGHUP) {
        reload(supervisor);
        return;
    }
    if (supervisor->state == STOPPING) { /* the second time: at once */
        if (supervisor->runner.child)
            child_signal(supervisor->runner.child, SIGKILL);
        if (supervisor->relay.child)
            child_signal(supervisor->relay.child, SIGTERM);
    }
    supervisor->signal = (int)number;
    stop(supervisor, EXIT_DONE);
}

static void on_owner_line(void *context, const char *line)
{
    (void)context;
    (void)line;
}

static void on_owner_gone(void *context)
{
    stop(context, EXIT_DONE);
}

static enum mp_error open_owner(struct supervisor *supervisor, struct fault *fault)
{
    struct control_settings settings = {.context = supervisor, .line = on_owner_line, .ended = on_owner_gone};
    int descriptor = control_inherited(RELAY_CONTROL);
    if (descriptor < 0)
        return MP_OK;
    return control_open(supervisor->base, descriptor, &settings, &supervisor->owner, fault);
}

static enum mp_error open_events(struct supervisor *supervisor, struct fault *fault)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    supervisor->base = event_base_new();
    if (!supervisor->base)
        return fault_memory(fault);
    bool failed = false;
    for (int i = 0; i < SIGNALS; i++) {
        if (exit_was_ignored(numbers[i]))
            continue;
        supervisor->signals[i] = evsignal_new(supervisor->base, numbers[i], on_signal, supervisor);
        failed = failed || !supervisor->signals[i] || event_add(supervisor->signals[i], NULL) != 0;
    }
    supervisor->late = evtimer_new(supervisor->base, on_late, supervisor);
    supervisor->over = evtimer_new(supervisor->base, on_over, supervisor);
    supervisor->relay.again = evtimer_new(supervisor->base, on_again, &supervisor->relay);
    supervisor->runner.again = evtimer_new(supervisor->base, on_again, &supervisor->runner);
    failed = failed || !supervisor->late || !supervisor->over || !supervisor->relay.again || !supervisor->runner.again;
    return failed ? fault_memory(fault) : MP_OK;
}

static void close_events(struct supervisor *supervisor)
{
    struct event *events[] = {supervisor->late, supervisor->over, supervisor->relay.again, supervisor->runner.again};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i])
            event_free(events[i]);
    for (int i = 0; i < SIGNALS; i++)
        if (supervisor->signals[i])
            event_free(supervisor->signals[i]);
    control_free(supervisor->owner);
    if (supervisor->base)
        event_base_free(supervisor->base);
}

static int run(struct supervisor *supervisor)
{
    struct fault fault = {0};
    if (open_events(supervisor, &fault) || open_owner(supervisor, &fault))
        return tell_fault(&fault);
    if (supervisor->settings->span > 0) {
        int64_t span = supervisor->settings->span;
        struct timeval time = {.tv_sec = (time_t)(span / 1000000), .tv_usec = (suseconds_t)(span % 1000000)};
        event_add(supervisor->over, &time);
    }
    start_relay(supervisor);
    event_base_loop(supervisor->base, EVLOOP_NO_EXIT_ON_EMPTY);
    child_free(supervisor->runner.child);
    child_free(supervisor->relay.child);
    if (supervisor->settings->once && supervisor->dead)
        tell("%" PRIu64 " %s: see above, or `mretry list -r %s -t TOPIC.dead`", supervisor->dead,
             supervisor->dead == 1 ? "message died" : "messages died", supervisor->name);
    if (supervisor->settings->once && supervisor->failed)
        tell("%" PRIu64 " %s: see above", supervisor->failed,
             supervisor->failed == 1 ? "source failed" : "sources failed");
    return supervisor->exit;
}

/* PATH from the root: children, and a reload much later, do not depend on where this was started. */
static enum mp_error from_root(const char *path, char text[PATH_BYTES], struct fault *fault)
{
    char here[PATH_BYTES] = "";
    if (*path != '/' && !getcwd(here, sizeof here))
        return fault_system(fault, MP_ERR_IO, errno, "cannot tell the working directory");
    int size = snprintf(text, PATH_BYTES, "%s%s%s", here, *here ? "/" : "", path);
    return size < PATH_BYTES ? MP_OK : fault_set(fault, MP_ERR_INVALID, "%s: the path is too long", path);
}

/* The folder beside the store that has its name. */
static enum mp_error set_state_folder(struct supervisor *supervisor, struct fault *fault)
{
    const char *given = supervisor->settings->store;
    const char *store = given ? given : supervisor->pipeline->relay.store;
    char path[PATH_BYTES];
    enum mp_error error =
        store ? from_root(store, path, fault) : address_store_path(supervisor->name, path, sizeof path, fault);
    if (error)
        return error;
    size_t size = strlen(path);
    if (size > 3 && strcmp(path + size - 3, ".db") == 0)
        path[size - 3] = '\0';
    int written = snprintf(supervisor->state_folder, PATH_BYTES, "%s.state", path);
    return written < PATH_BYTES ? MP_OK : fault_set(fault, MP_ERR_INVALID, "--store: the path is too long");
}

/* What cannot be, given this pipeline. */
static int check(const struct supervise_settings *settings, const struct pipeline *pipeline)
{
    const char *endless = pipeline_endless(pipeline);
    if (settings->once && endless && settings->span == 0) {
        tell("%s: source %s never ends: `mrelay run` runs it for ever, `mrelay once --for 5m` for so long",
             pipeline->file, endless);
        return EXIT_CONFIG;
    }
    return EXIT_DONE;
}

int supervise(const struct supervise_settings *settings, const struct options *options, char **argv)
{
    struct supervisor supervisor = {
        .settings = settings, .answer = relay_ready_descriptor(), .exit = -1, .program = argv[0]};
    struct fault fault = {0};
    supervisor.relay = (struct part){.supervisor = &supervisor, .name = "relay"};
    supervisor.runner = (struct part){.supervisor = &supervisor, .name = "runner"};
    if (settings->relay && strstr(settings->relay, "://"))
        return options_wrong(options, "-r: a relay has a name; for one that runs elsewhere there is --stages-only");
    if (strcmp(settings->file, "-") == 0)
        return options_wrong(options, "a pipeline is run from a file: it is read again when it is reloaded");
    enum mp_error error = from_root(settings->file, supervisor.file, &fault);
    if (error)
        return tell_fault(&fault);
    error = pipeline_file_load(settings->file, true, &supervisor.pipeline, &fault);
    if (error)
        return pipeline_file_exit(&fault);
    int code = check(settings, supervisor.pipeline);
    snprintf(supervisor.name, sizeof supervisor.name, "%s",
             settings->relay ? settings->relay : supervisor.pipeline->name);
    if (!code && set_state_folder(&supervisor, &fault))
        code = tell_fault(&fault);
    if (!code && settings->background && supervisor.answer < 0) {
        code = serve_in_background(supervisor.name,
                                   settings->store ? settings->store : supervisor.pipeline->relay.store, argv);
    } else if (!code) {
        log_setup((enum log_level)settings->log_level, settings->log_format == 1);
        code = run(&supervisor);
    }
    pipeline_free(supervisor.pipeline);
    close_events(&supervisor);
    if (supervisor.signal == SIGINT || supervisor.signal == SIGQUIT)
        exit_by_signal(supervisor.signal);
    return code;
}
