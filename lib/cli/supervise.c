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

#include "base/hangup.h"
#include "base/log.h"
#include "cli/exit.h"
#include "cli/pipeline_file.h"
#include "cli/serve.h"
#include "cli/supervise_part.h"
#include "relay/notify.h"
#include "relay/relay.h"
#include "transport/address.h"

#include <event2/event.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIGNALS = 3, PATIENCE = 20 }; /* seconds that the runner may take to stop */

enum state { STARTING, RUNNING, DRAINING, STOPPING };
static const char *const state_names[] = {"starting", "running", "draining", "stopping"};

struct supervisor {
    const struct supervise_settings *settings;
    struct part_origin origin;
    struct part relay, runner;
    struct event *signals[SIGNALS];
    struct hangup *hangup;
    struct event *late;    /* stopping takes too long */
    struct event *over;    /* of `once`: its span */
    struct control *owner; /* who has started this, and would have it stop at its end; NULL: nobody */
    enum state state;
    int answer; /* who started this in the background waits there; -1: nobody */
    int signal; /* that ended it */
    unsigned generation;
    char error[FAULT_TEXT]; /* of the last reload */
    uint64_t dead, failed;  /* messages; sources */
    int exit;
};

/* ---- telling --------------------------------------------------------------------------------------------------- */

/* The relay answers `pipeline` with this. */
static void describe(struct supervisor *supervisor)
{
    const struct part_origin *origin = &supervisor->origin;
    json_t *said = json_pack("{s:s,s:s,s:i,s:i,s:s,s:s}", "name", origin->name, "file", origin->file, "pid",
                             (int)getpid(), "generation", (int)supervisor->generation, "state",
                             state_names[supervisor->state], "error", supervisor->error);
    char *text = said ? json_dumps(said, JSON_COMPACT) : NULL;
    if (text)
        part_send(&supervisor->relay, text);
    free(text);
    json_decref(said);
}

static void log_event(const struct supervisor *supervisor, enum log_level level, const char *event, const char *reason)
{
    struct log_line line;
    log_begin(&line, level, event);
    log_field(&line, "pipeline", "%s", supervisor->origin.name);
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
    if (part_lives(&supervisor->relay))
        part_signal(&supervisor->relay, SIGTERM);
    else
        event_base_loopbreak(supervisor->origin.base);
}

static void stop(struct supervisor *supervisor, int code)
{
    struct timeval patience = {.tv_sec = PATIENCE};
    if (supervisor->exit < 0)
        supervisor->exit = code;
    if (supervisor->state == STOPPING)
        return;
    supervisor->state = STOPPING;
    log_event(supervisor, LOG_INFO, "stopping", "");
    notify_state("STOPPING=1");
    part_give_up(&supervisor->relay);
    part_give_up(&supervisor->runner);
    event_add(supervisor->late, &patience);
    describe(supervisor);
    if (part_lives(&supervisor->runner))
        part_send(&supervisor->runner, "stop");
    else
        end_relay(supervisor);
}

static void on_late(evutil_socket_t number, short what, void *context)
{
    struct supervisor *supervisor = context;
    (void)number;
    (void)what;
    log_event(supervisor, LOG_WARNING, "killed: it takes too long to stop", "");
    part_signal(part_lives(&supervisor->runner) ? &supervisor->runner : &supervisor->relay, SIGKILL);
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
    if (supervisor->runner.ready)
        part_send(&supervisor->runner, "drain");
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
    if (pipeline_file_load(supervisor->origin.file, false, &next, &fault)) {
        refuse_reload(supervisor, fault_text(&fault));
        return;
    }
    pipeline_free(supervisor->origin.pipeline);
    supervisor->origin.pipeline = next;
    if (supervisor->runner.ready)
        part_send(&supervisor->runner, "reload");
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
        part_send(&supervisor->runner, "drain");
}

static void on_runner_line(void *context, const char *line)
{
    struct supervisor *supervisor = context;
    if (strcmp(line, "ready") == 0) {
        supervisor->runner.ready = true;
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
    if (strcmp(line, "reload") == 0)
        reload(context);
    else if (strcmp(line, "drain") == 0)
        drain(context);
}

static void on_relay_ready(void *context, const struct fault *fault)
{
    struct supervisor *supervisor = context;
    supervisor->relay.ready = !fault->code;
    if (fault->code && supervisor->state == STARTING)
        answer(supervisor, fault->code, fault_text(fault));
    if (fault->code)
        return; /* it ends, and has told why in its own words */
    describe(supervisor);
    if (!supervisor->runner.child && supervisor->state != STOPPING)
        part_start(&supervisor->runner);
}

static void on_ended(struct supervisor *supervisor, struct part *part, int status)
{
    bool was_ready = part->ready;
    part_ended(part);
    if (supervisor->state == STOPPING && part == &supervisor->relay) {
        event_base_loopbreak(supervisor->origin.base);
    } else if (supervisor->state == STOPPING) {
        end_relay(supervisor);
    } else if (supervisor->state == STARTING && part->deaths == 0 && !was_ready && WIFEXITED(status)) {
        /* It has said why it cannot run: trying again would not help. */
        answer(supervisor, MP_ERR_INTERNAL, "it could not be started: see the log");
        stop(supervisor, WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILED);
    } else {
        part_revive(part, status);
    }
}

static void on_relay_ended(void *context, int status)
{
    struct supervisor *supervisor = context;
    on_ended(supervisor, &supervisor->relay, status);
}

static void on_runner_ended(void *context, int status)
{
    struct supervisor *supervisor = context;
    on_ended(supervisor, &supervisor->runner, status);
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static void on_signal(evutil_socket_t number, short what, void *context)
{
    struct supervisor *supervisor = context;
    (void)what;
    if (supervisor->state == STOPPING) { /* the second time: at once */
        part_signal(&supervisor->runner, SIGKILL);
        part_signal(&supervisor->relay, SIGTERM);
    }
    supervisor->signal = (int)number;
    stop(supervisor, EXIT_DONE);
}

static void on_hangup(void *context)
{
    reload(context);
}

static void on_terminal_gone(void *context)
{
    struct supervisor *supervisor = context;
    log_event(supervisor, LOG_INFO, "its terminal has gone", "");
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
    return control_open(supervisor->origin.base, descriptor, &settings, &supervisor->owner, fault);
}

static enum mp_error open_events(struct supervisor *supervisor, struct fault *fault)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGQUIT};
    const struct hangup_settings hangup = {.context = supervisor, .reload = on_hangup, .gone = on_terminal_gone};
    supervisor->origin.base = event_base_new();
    if (!supervisor->origin.base)
        return fault_memory(fault);
    bool failed = false;
    for (int i = 0; i < SIGNALS; i++) {
        if (exit_was_ignored(numbers[i]))
            continue;
        supervisor->signals[i] = evsignal_new(supervisor->origin.base, numbers[i], on_signal, supervisor);
        failed = failed || !supervisor->signals[i] || event_add(supervisor->signals[i], NULL) != 0;
    }
    supervisor->late = evtimer_new(supervisor->origin.base, on_late, supervisor);
    supervisor->over = evtimer_new(supervisor->origin.base, on_over, supervisor);
    failed = failed || !supervisor->late || !supervisor->over;
    failed = failed || hangup_watch(supervisor->origin.base, &hangup, &supervisor->hangup, fault);
    failed = failed || part_open(&supervisor->relay, fault) || part_open(&supervisor->runner, fault);
    return failed ? fault_memory(fault) : MP_OK;
}

static void close_events(struct supervisor *supervisor)
{
    struct event *events[] = {supervisor->late, supervisor->over};
    part_close(&supervisor->runner);
    part_close(&supervisor->relay);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i])
            event_free(events[i]);
    for (int i = 0; i < SIGNALS; i++)
        if (supervisor->signals[i])
            event_free(supervisor->signals[i]);
    hangup_free(supervisor->hangup);
    control_free(supervisor->owner);
    if (supervisor->origin.base)
        event_base_free(supervisor->origin.base);
}

/* What became of it, for who waited. The relay has gone with the pipeline; its store has what died. */
static void tell_end(const struct supervisor *supervisor)
{
    const struct part_origin *origin = &supervisor->origin;
    const char *store = supervisor->settings->store ? supervisor->settings->store : origin->pipeline->relay.store;
    if (supervisor->dead)
        tell("%" PRIu64 " %s: see above; to have it back: `mrelay -r %s%s%s --background`, then `mretry list -r %s -t "
             "TOPIC.dead`",
             supervisor->dead, supervisor->dead == 1 ? "message died" : "messages died", origin->name,
             store ? " --store " : "", store ? store : "", origin->name);
    if (supervisor->failed)
        tell("%" PRIu64 " %s: see above", supervisor->failed,
             supervisor->failed == 1 ? "source failed" : "sources failed");
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
    part_start(&supervisor->relay);
    event_base_loop(supervisor->origin.base, EVLOOP_NO_EXIT_ON_EMPTY);
    if (supervisor->settings->once)
        tell_end(supervisor);
    return supervisor->exit;
}

/* The folder beside the store that has its name. */
static enum mp_error set_state_folder(struct supervisor *supervisor, struct fault *fault)
{
    struct part_origin *origin = &supervisor->origin;
    const char *given = supervisor->settings->store;
    const char *store = given ? given : origin->pipeline->relay.store;
    char path[PATH_BYTES];
    enum mp_error error =
        store ? path_from_root(store, path, fault) : address_store_path(origin->name, path, sizeof path, fault);
    return error ? error : path_beside(path, ".state", origin->state, fault);
}

/* Whether a relay of that name runs, which would not let another one have its socket and its store. */
static bool is_taken(const char *name)
{
    struct address address;
    struct fault ignored = {0};
    return address_of_relay(name, &address, &ignored) == MP_OK && address.kind == ADDRESS_IPC &&
           address_probe(address.path) == ADDRESS_ANSWERS;
}

/* What cannot be, given this pipeline. */
static int check(const struct supervise_settings *settings, const struct pipeline *pipeline, const char *name)
{
    const char *endless = pipeline_endless(pipeline);
    if (settings->once && endless && settings->span == 0) {
        tell("%s: source %s never ends: `mrelay run` runs it for ever, `mrelay once --for 5m` for so long",
             pipeline->file, endless);
        return EXIT_CONFIG;
    }
    if (is_taken(name)) {
        tell("a relay named %s runs already: give the pipeline another name, by `name:` in %s or by -r NAME", name,
             pipeline->file);
        if (!settings->once)
            tell("or have its stages work for that relay: mrelay run --stages-only -r %s %s", name, pipeline->file);
        return EXIT_LATER;
    }
    return EXIT_DONE;
}

static void set_parts(struct supervisor *supervisor)
{
    supervisor->relay = (struct part){.name = "relay",
                                      .origin = &supervisor->origin,
                                      .start = part_start_relay,
                                      .context = supervisor,
                                      .is_ready = on_relay_ready,
                                      .line = on_relay_line,
                                      .ended = on_relay_ended};
    supervisor->runner = (struct part){.name = "runner",
                                       .origin = &supervisor->origin,
                                       .start = part_start_runner,
                                       .context = supervisor,
                                       .line = on_runner_line,
                                       .ended = on_runner_ended};
}

int supervise(const struct supervise_settings *settings, const struct options *options, char **argv)
{
    struct supervisor supervisor = {.settings = settings,
                                    .origin = {.settings = settings, .program = argv[0]},
                                    .answer = relay_ready_descriptor(),
                                    .exit = -1};
    struct part_origin *origin = &supervisor.origin;
    struct fault fault = {0};
    set_parts(&supervisor);
    if (settings->relay && strstr(settings->relay, "://"))
        return options_wrong(options, "-r: a relay has a name; for one that runs elsewhere there is --stages-only");
    if (strcmp(settings->file, "-") == 0)
        return options_wrong(options, "a pipeline is run from a file: it is read again when it is reloaded");
    enum mp_error error = path_from_root(settings->file, origin->file, &fault);
    if (error)
        return tell_fault(&fault);
    error = pipeline_file_load(settings->file, true, &origin->pipeline, &fault);
    if (error)
        return pipeline_file_exit(&fault);
    snprintf(origin->name, sizeof origin->name, "%s", settings->relay ? settings->relay : origin->pipeline->name);
    int code = check(settings, origin->pipeline, origin->name);
    if (!code && set_state_folder(&supervisor, &fault))
        code = tell_fault(&fault);
    if (!code && settings->background && supervisor.answer < 0) {
        code =
            serve_in_background(origin->name, settings->store ? settings->store : origin->pipeline->relay.store, argv);
    } else if (!code) {
        log_setup((enum log_level)settings->log_level, settings->log_format == 1);
        code = run(&supervisor);
    }
    pipeline_free(origin->pipeline);
    close_events(&supervisor);
    if (supervisor.signal == SIGINT || supervisor.signal == SIGQUIT)
        exit_by_signal(supervisor.signal);
    return code;
}
