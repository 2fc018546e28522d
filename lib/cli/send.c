/* msend: what both ways of sending share. */
#include "cli/send_engine.h"

#include "base/units.h"
#include "cli/exit.h"
#include "message/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void on_input(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct send_engine *engine = context;
    send_source_readable(engine->source);
}

/* Wakes the loop once when the source's descriptor is readable. */
static enum mp_error await_input(struct send_engine *engine, struct fault *fault)
{
    int descriptor = send_source_descriptor(engine->source);
    if (descriptor < 0)
        return MP_ERR_AGAIN;
    if (engine->input && engine->input_descriptor != descriptor) {
        event_free(engine->input);
        engine->input = NULL;
    }
    if (!engine->input)
        engine->input = event_new(engine->loop.base, descriptor, EV_READ, on_input, engine);
    engine->input_descriptor = descriptor;
    if (!engine->input || event_add(engine->input, NULL))
        return fault_memory(fault);
    return MP_ERR_AGAIN;
}

enum mp_error send_engine_take(struct send_engine *engine, int64_t now, int64_t *due, struct fault *fault)
{
    if (engine->ended && !engine->has_item)
        return MP_ERR_CLOSED;
    if (!engine->has_item) {
        enum mp_error error = send_source_next(engine->source, &engine->item, now, due, fault);
        engine->ended = error == MP_ERR_CLOSED;
        if (error)
            return error == MP_ERR_AGAIN ? await_input(engine, fault) : error;
        engine->has_item = true;
        engine->may_go = false;
    }
    /* Only then, so that the end of the input is not waited for. */
    if (!engine->may_go && !pace_ready(&engine->pace, now, due))
        return MP_ERR_AGAIN;
    if (!engine->may_go)
        pace_take(&engine->pace, now);
    engine->may_go = true;
    return MP_OK;
}

void send_engine_end(struct send_engine *engine, int code)
{
    if (engine->exit < 0)
        engine->exit = code;
}

bool send_engine_single(struct send_engine *engine, uint64_t count)
{
    if (!engine->settings->id || count == 0)
        return true;
    tell("--id names one message, and the input has more: take ids from the messages with --id-json, or send the "
         "whole input as one with -F whole; nothing was sent");
    send_engine_end(engine, EXIT_USAGE);
    return false;
}

/* ---- how to go on --------------------------------------------------------------------------------------------- */

static void append(char *text, size_t size, const char *more, size_t more_size)
{
    size_t used = strlen(text);
    if (used + more_size + 1 > size)
        return;
    memcpy(text + used, more, more_size);
    text[used + more_size] = '\0';
}

/* Appends WORD as a shell would read it back. */
static void append_quoted(char *text, size_t size, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";
    append(text, size, " ", 1);
    if (*word && word[strspn(word, plain)] == '\0') {
        append(text, size, word, strlen(word));
        return;
    }
    append(text, size, "'", 1);
    for (; *word; word++)
        if (*word == '\'')
            append(text, size, "'\\''", 4);
        else
            append(text, size, word, 1);
    append(text, size, "'", 1);
}

/* The command line again, with --skip. */
static void go_on_command(const struct send_engine *engine, char *text, size_t size)
{
    snprintf(text, size, "%s --skip %" PRIu64, exit_tool(), engine->gone);
    for (char **argument = engine->argv + 1; *argument; argument++) {
        if (!strncmp(*argument, "--sk", 4)) {
            if (!strchr(*argument, '=') && argument[1])
                argument++;
            continue;
        }
        append_quoted(text, size, *argument);
    }
    if (!engine->settings->data.count && !engine->options->operands_count)
        append(text, size, " < INPUT", 8);
}

void send_engine_summary(struct send_engine *engine, const char *why, uint64_t unknown)
{
    char command[1500];
    const char *deed = engine->settings->topic ? "acknowledged" : "sent";
    send_source_summary(engine->source);
    tell("%s: %" PRIu64 " %s %s%s", why, engine->done, engine->done == 1 ? "message was" : "messages were", deed,
         unknown ? "; whether those in flight were stored is not known" : "");
    if (unknown)
        tell("in flight: %" PRIu64 " %s", unknown, unknown == 1 ? "message" : "messages");
    if (engine->ended && !engine->has_item && engine->gone == send_source_counts(engine->source)->taken)
        return;
    if (engine->gone == 0 || !send_source_resumable(engine->source) ||
        output_is_terminal(send_source_descriptor(engine->source)))
        return;
    go_on_command(engine, command, sizeof(command));
    tell("to go on with the same input: %s", command);
}

/* ---- when -----------------------------------------------------------------------------------------------------*/

/* What the options say about times, in ENGINE. They must make sense together. */
static enum mp_error set_times(struct send_engine *engine, int64_t wall, struct fault *fault)
{
    const struct send_settings *settings = engine->settings;
    char ttl[24];
    char delay[24];
    int64_t wait = 0;
    if (settings->ttl == 0)
        return fault_set(fault, MP_ERR_INVALID, "--ttl 0: every message would have expired before it came");
    if (settings->delay > 0) {
        engine->when = PROTOCOL_WHEN_DELAY;
        engine->when_value = wait = settings->delay;
    }
    if (settings->at) {
        engine->when = PROTOCOL_WHEN_AT;
        enum mp_error error = units_time(settings->at, &engine->when_value, fault);
        if (error)
            return fault_set(fault, error, "--at: %s", fault->text);
        engine->when_value = engine->when_value > 0 ? engine->when_value : 0;
        wait = engine->when_value - wall;
    }
    if (settings->ttl < 0 || wait < settings->ttl)
        return MP_OK;
    units_duration_text(settings->ttl, ttl, sizeof(ttl));
    units_duration_text(wait, delay, sizeof(delay));
    return fault_set(fault, MP_ERR_INVALID, "--ttl %s is over before %s%s: every message would expire unseen", ttl,
                     settings->at ? "--at " : "--delay ", settings->at ? settings->at : delay);
}

/* ---- running -------------------------------------------------------------------------------------------------- */

int send_run(const struct send_settings *settings, const struct options *options, char **argv)
{
    struct send_engine engine = {
        .settings = settings, .options = options, .argv = argv, .gone = settings->skip, .exit = -1};
    struct fault fault = {0};
    enum mp_error error = MP_OK;
    if (settings->topic)
        error = name_check_topic(settings->topic, strlen(settings->topic), &fault);
    if (!error)
        error = set_times(&engine, clock_wall(), &fault);
    if (!error)
        error = send_source_open(settings, options, &engine.source, &fault);
    if (error) {
        tell("%s", fault_text(&fault));
        return send_source_exit(NULL, error);
    }
    int code;
    error = loop_open(&engine.loop, &fault);
    if (error) {
        code = tell_fault(&fault);
    } else {
        int64_t now = clock_monotonic();
        engine.pace = pace_of(settings->rate, now);
        progress_begin(&engine.progress, send_source_counts(engine.source)->total, now);
        /* Not across the line that somebody types. */
        if (!settings->data.count && !options->operands_count && output_is_terminal(STDIN_FILENO))
            engine.progress.wanted = false;
        if (settings->spool)
            code = settings->by_spool(&engine);
        else
            code = settings->topic ? send_by_relay(&engine) : send_directly(&engine);
        progress_end(&engine.progress);
    }
    if (engine.input)
        event_free(engine.input);
    send_source_free(engine.source);
    int signal_number = engine.loop.interrupted;
    loop_close(&engine.loop);
    if (signal_number && code != EXIT_DONE)
        exit_by_signal(signal_number);
    return code;
}
