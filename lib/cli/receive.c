/* mrecv: what both ways of receiving share. */
#include "cli/receive.h"

#include "base/units.h"
#include "cli/exit.h"
#include "cli/receive_engine.h"
#include "cli/receive_runner.h"
#include "message/names.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { AHEAD = 1536 * 1024 }; /* bytes that are held while more is asked for */

void receive_engine_end(struct receive_engine *engine, int code)
{
    if (engine->exit < 0)
        engine->exit = code;
}

void receive_engine_fail(struct receive_engine *engine, const struct fault *fault)
{
    if (engine->exit >= 0)
        return;
    if (fault->code == MP_ERR_CLOSED) {
        engine->pipe = true;
        engine->exit = EXIT_IO;
    } else {
        engine->exit = tell_fault(fault);
    }
}

uint64_t receive_engine_wanted(const struct receive_engine *engine)
{
    uint64_t count = engine->settings->count;
    if (count == 0)
        return UINT64_MAX;
    return count > engine->came ? count - engine->came : 0;
}

/* ---- messages on their way ------------------------------------------------------------------------------------ */

/* The output handed messages over: they are done. */
static void on_handed(void *context, struct stage_parcel *parcel, uint32_t index, uint32_t count)
{
    struct receive_engine *engine = context;
    engine->done += count;
    engine->settle(engine->context, parcel, index, count,
                   &(struct protocol_settlement){.action = PROTOCOL_ACK, .exit_code = -1});
}

/* Messages were not begun, and go back: they come again. */
static void on_returned(void *context, struct stage_parcel *parcel, uint32_t index, uint32_t count)
{
    struct receive_engine *engine = context;
    engine->came -= count;
    engine->retried += count;
    engine->settle(engine->context, parcel, index, count,
                   &(struct protocol_settlement){.action = PROTOCOL_RELEASE, .exit_code = -1});
}

static bool on_holds(void *context, const struct stage_parcel *parcel, int64_t now)
{
    const struct receive_engine *engine = context;
    return !engine->holds || engine->holds(engine->context, parcel, now);
}

/* A command worked upon messages. */
static void on_worked(void *context, struct stage_parcel *parcel, uint32_t index, uint32_t count,
                      const struct protocol_settlement *how)
{
    struct receive_engine *engine = context;
    if (how->action == PROTOCOL_RELEASE) {
        on_returned(context, parcel, index, count);
        return;
    }
    engine->done += count;
    engine->since = clock_monotonic();
    bool last = receive_runner_is_last(engine->runner, parcel, how);
    bool again = how->action == PROTOCOL_RETRY && !last;
    if (how->action == PROTOCOL_RETRY)
        engine->retried += count;
    if (how->action == PROTOCOL_DEAD || last)
        engine->dead += count;
    if (again && parcel->lease)
        engine->tries += count;
    /* A message that was tried again leaves the account of those that are still to be done. */
    if (again && parcel->attempt <= 1)
        engine->undone += count;
    else if (!again && parcel->attempt > 1)
        engine->undone -= engine->undone < count ? engine->undone : count;
    engine->settle(engine->context, parcel, index, count, how);
}

static void on_answered(void *context, struct stage_parcel *parcel, uint32_t index, const void *output, size_t size)
{
    struct receive_engine *engine = context;
    engine->answer(engine->context, parcel, index, output, size);
}

void receive_engine_add(struct receive_engine *engine, struct stage_parcel *parcel, int64_t now)
{
    struct fault fault = {0};
    enum mp_error error = MP_OK;
    if (engine->output)
        receive_output_check(engine->output, now);
    engine->came += parcel->count;
    engine->bytes += parcel->bytes;
    engine->since = now;
    if (engine->runner)
        receive_runner_add(engine->runner, parcel);
    else
        error = receive_output_add(engine->output, parcel, &fault);
    if (error) {
        stage_parcel_free(parcel);
        receive_engine_fail(engine, &fault);
    }
}

void receive_engine_pump(struct receive_engine *engine, int64_t now, int64_t *due)
{
    struct fault fault = {0};
    enum mp_error error;
    if (engine->runner) {
        int code = -1;
        error = receive_runner_pump(engine->runner, now, due, &code, &fault);
        if (error && code >= 0) {
            tell("%s", fault_text(&fault));
            receive_engine_end(engine, code);
            return;
        }
    } else {
        error = receive_output_pump(engine->output, now, due, &fault);
    }
    if (error)
        receive_engine_fail(engine, &fault);
    progress_show(&engine->progress, "received", engine->bytes, engine->done, now);
}

void receive_engine_stop(struct receive_engine *engine)
{
    if (engine->runner)
        receive_runner_stop(engine->runner);
    else
        receive_output_stop(engine->output);
}

bool receive_engine_idle(const struct receive_engine *engine)
{
    return engine->runner ? receive_runner_idle(engine->runner) : receive_output_idle(engine->output);
}

uint32_t receive_engine_room(const struct receive_engine *engine)
{
    uint64_t wanted = receive_engine_wanted(engine);
    uint64_t room = UINT32_MAX;
    if (engine->runner)
        room = receive_runner_room(engine->runner);
    else if (receive_output_bytes(engine->output) > AHEAD)
        room = 0;
    room = room < wanted ? room : wanted;
    return room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
}

void receive_engine_check_wait(struct receive_engine *engine, int64_t now, int64_t *due)
{
    int64_t wait = engine->settings->wait;
    if (wait < 0 || !receive_engine_idle(engine) || receive_engine_wanted(engine) == 0)
        return;
    if (now - engine->since < wait) {
        *due = engine->since + wait < *due ? engine->since + wait : *due;
        return;
    }
    char text[24];
    units_duration_text(wait, text, sizeof(text));
    if (engine->settings->count)
        tell("waited %s (--wait) in vain for a message: %" PRIu64 " of %" PRIu64 " came", text, engine->came,
             engine->settings->count);
    else
        tell("waited %s (--wait) in vain for a message", text);
    receive_engine_end(engine, EXIT_TIMEOUT);
}

/* ---- running -------------------------------------------------------------------------------------------------- */

static enum mp_error open_output(struct receive_engine *engine, struct fault *fault)
{
    const struct receive_settings *settings = engine->settings;
    struct receive_output_settings output = {
        .loop = &engine->loop,
        .format = settings->format == RECEIVE_FORMAT_UNSET ? FORMAT_LINES : (enum format)settings->format,
        .template = engine->template,
        .sync = settings->sync,
        .slow_start = settings->group != NULL,
        .context = engine,
        .handed = on_handed,
        .returned = on_returned,
        .holds = on_holds,
    };
    return receive_output_open(&output, &engine->output, fault);
}

static enum mp_error open_runner(struct receive_engine *engine, struct fault *fault)
{
    const struct receive_settings *settings = engine->settings;
    struct receive_runner_settings runner = {
        .loop = &engine->loop,
        .command = engine->options->command,
        .shell = settings->shell,
        .mode = (enum receive_mode)settings->mode,
        .format = settings->format,
        .template = engine->template,
        .workers = (unsigned)settings->workers,
        .batch = (uint32_t)settings->batch,
        .max_in_flight = (uint32_t)settings->max_in_flight,
        .timeout = settings->timeout,
        .only_success = settings->only_success,
        .context = engine,
        .worked = on_worked,
        .holds = on_holds,
        .answered = on_answered,
        .keep_error = settings->group != NULL,
        .answers = settings->pattern == PEER_REP || settings->pattern == PEER_RESPONDENT,
    };
    return receive_runner_open(&runner, &engine->runner, fault);
}

/* Everything that can be known to be wrong before anything happens. */
static enum mp_error check(struct receive_engine *engine, struct fault *fault)
{
    const struct receive_settings *settings = engine->settings;
    enum mp_error error = MP_OK;
    bool pattern;
    if (settings->topic)
        error = name_check_pattern(settings->topic, strlen(settings->topic), &pattern, fault);
    if (!error && settings->group)
        error = name_check_group(settings->group, strlen(settings->group), fault);
    if (!error && settings->template) {
        error = format_template_parse(settings->template, &engine->template, fault);
        if (error)
            fault_set(fault, error, "--template: %s", fault->text);
    }
    return error;
}

/* The exit code, and what there is to say, when nothing has failed. */
static int judge(const struct receive_engine *engine)
{
    if (engine->dead) {
        uint64_t all = engine->done - engine->tries;
        tell("%" PRIu64 " of %" PRIu64 " %s %s", engine->dead, all, all == 1 ? "message was" : "messages were",
             engine->settings->group ? "dead-lettered" : "rejected by the command");
        return EXIT_REJECTED;
    }
    if (engine->undone && engine->settings->group) {
        tell("%" PRIu64 " %s failed and will be tried again", engine->undone,
             engine->undone == 1 ? "message" : "messages");
        return EXIT_LATER;
    }
    if (engine->undone) {
        tell("the command failed for %" PRIu64 " of %" PRIu64 " %s", engine->undone, engine->done,
             engine->done == 1 ? "message" : "messages");
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

static void run(struct receive_engine *engine)
{
    struct fault fault = {0};
    bool commands = engine->options->command || engine->settings->shell;
    enum mp_error error = commands ? open_runner(engine, &fault) : open_output(engine, &fault);
    if (error) {
        receive_engine_fail(engine, &fault);
        return;
    }
    engine->since = clock_monotonic();
    progress_begin(&engine->progress, 0, engine->since);
    if (output_is_terminal(STDOUT_FILENO))
        engine->progress.wanted = false;
    if (engine->settings->topic)
        receive_by_relay(engine);
    else
        receive_directly(engine);
    progress_end(&engine->progress);
}

int receive_run(const struct receive_settings *settings, const struct options *options)
{
    struct receive_engine engine = {.settings = settings, .options = options, .exit = -1};
    struct fault fault = {0};
    enum mp_error error = check(&engine, &fault);
    if (!error)
        error = loop_open(&engine.loop, &fault);
    if (!error)
        run(&engine);
    else
        engine.exit = tell_fault(&fault);
    receive_runner_free(engine.runner);
    receive_output_free(engine.output);
    format_template_free(engine.template);
    int signal_number = engine.loop.interrupted;
    loop_close(&engine.loop);
    if (engine.pipe)
        return exit_by_pipe();
    if (signal_number)
        exit_by_signal(signal_number);
    return engine.exit >= 0 ? engine.exit : judge(&engine);
}
