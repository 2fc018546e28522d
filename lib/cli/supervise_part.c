#include "cli/supervise_part.h"

#include "base/clock.h"
#include "base/log.h"
#include "policy/backoff.h"
#include "relay/relay.h"
#include "transport/address.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>

enum {
    ARGUMENTS = 2 * RELAY_LISTEN_MAX + 32,
    FIRST_PAUSE = 100 * 1000,      /* microseconds before what died is started again, doubled */
    LAST_PAUSE = 10 * 1000 * 1000, /* up to this */
    HEALTHY = 30 * 1000 * 1000     /* what ran for so long begins with the first pause again */
};

/* ---- what it is started with ----------------------------------------------------------------------------------- */

/* A command line. */
struct line {
    const char *words[ARGUMENTS + 1];
    size_t count;
};

static void add(struct line *line, const char *word)
{
    if (line->count < ARGUMENTS)
        line->words[line->count++] = word;
    line->words[line->count] = NULL;
}

static void add_option(struct line *line, const char *option, const char *value)
{
    if (!value || !*value)
        return;
    add(line, option);
    add(line, value);
}

static void add_log(struct line *line, const struct supervise_settings *settings)
{
    static const char *const levels[] = {"debug", "info", "warning", "error"};
    add_option(line, "--log-format", settings->log_format ? "json" : "logfmt");
    add_option(line, "--log-level", levels[settings->log_level]);
}

static void tell_failure(const struct part *part, const struct fault *fault)
{
    struct log_line line;
    log_begin(&line, LOG_ERROR, "cannot be started");
    log_field(&line, "part", "%s", part->name);
    log_field(&line, "reason", "%s", fault_text(fault));
    log_end(&line);
}

static bool start_child(struct part *part, const struct line *line, bool tells_ready)
{
    const struct child_settings settings = {
        .base = part->origin->base,
        .argv = (char *const *)(uintptr_t)line->words,
        .tells_ready = tells_ready,
        .context = part->context,
        .ready = part->is_ready,
        .line = part->line,
        .ended = part->ended,
    };
    struct fault fault = {0};
    if (child_start(&settings, &part->child, &fault) == MP_OK)
        return true;
    tell_failure(part, &fault);
    return false;
}

bool part_start_relay(struct part *part)
{
    const struct part_origin *origin = part->origin;
    const struct supervise_settings *settings = origin->settings;
    const struct pipeline *pipeline = origin->pipeline;
    char lease[32] = "", rate[32] = "", most[32] = "";
    char age[32] = "", bytes[32] = "", sample[32] = "";
    struct line line = {.count = 0};
    if (pipeline->trace.age)
        snprintf(age, sizeof age, "%" PRId64 "us", pipeline->trace.age);
    if (pipeline->trace.bytes)
        snprintf(bytes, sizeof bytes, "%" PRIu64, pipeline->trace.bytes);
    if (pipeline->trace.drop > 0)
        snprintf(sample, sizeof sample, "%.6f", 1 - pipeline->trace.drop);
    if (pipeline->relay.max_message)
        snprintf(most, sizeof most, "%" PRIu64, pipeline->relay.max_message);
    if (pipeline->relay.lease)
        snprintf(lease, sizeof lease, "%" PRId64 "us", pipeline->relay.lease);
    if (pipeline->relay.client_rate > 0)
        snprintf(rate, sizeof rate, "%.17g/s", pipeline->relay.client_rate);
    add(&line, origin->program);
    add_option(&line, "-r", origin->name);
    add_option(&line, "--store", settings->store ? settings->store : pipeline->relay.store);
    for (size_t i = 0; i < pipeline->relay.listen_count && i < RELAY_LISTEN_MAX; i++)
        add_option(&line, "--listen", pipeline->relay.listen[i]);
    add_option(&line, "--max-message", most);
    add_option(&line, "--lease", lease);
    add_option(&line, "--client-rate", rate);
    add_option(&line, "--http", pipeline->relay.http);
    add_option(&line, "--trace-age", age);
    add_option(&line, "--trace-bytes", bytes);
    add_option(&line, "--trace-sample", sample);
    if (pipeline->relay.insecure || settings->insecure)
        add(&line, "--insecure");
    add_log(&line, settings);
    return start_child(part, &line, true);
}

bool part_start_runner(struct part *part)
{
    const struct part_origin *origin = part->origin;
    struct line line = {.count = 0};
    struct address address;
    struct fault fault = {0};
    if (address_of_relay(origin->name, &address, &fault)) {
        tell_failure(part, &fault);
        return false;
    }
    add(&line, origin->program);
    add(&line, "run");
    add(&line, "--stages-only");
    add_option(&line, "-r", address.text);
    add_log(&line, origin->settings);
    add_option(&line, "--state", origin->state);
    add(&line, origin->file);
    return start_child(part, &line, false);
}

/* ---- its life -------------------------------------------------------------------------------------------------- */

/* Sets the time after which it is started again. */
static void try_again(struct part *part)
{
    bool healthy = clock_monotonic() - part->started > HEALTHY;
    part->deaths = healthy ? 1 : part->deaths + 1;
    int64_t pause = backoff_delay(BACKOFF_EXPONENTIAL, FIRST_PAUSE, LAST_PAUSE, 0, part->deaths, 0);
    struct timeval wait = {.tv_sec = (time_t)(pause / 1000000), .tv_usec = (suseconds_t)(pause % 1000000)};
    event_add(part->again, &wait);
}

static void on_again(evutil_socket_t number, short what, void *context)
{
    (void)number;
    (void)what;
    part_start(context);
}

enum mp_error part_open(struct part *part, struct fault *fault)
{
    part->again = evtimer_new(part->origin->base, on_again, part);
    return part->again ? MP_OK : fault_memory(fault);
}

void part_close(struct part *part)
{
    child_free(part->child);
    part->child = NULL;
    if (part->again)
        event_free(part->again);
    part->again = NULL;
}

void part_start(struct part *part)
{
    part->started = clock_monotonic();
    if (!part->start(part))
        try_again(part);
}

bool part_lives(const struct part *part)
{
    return part->child && child_pid(part->child);
}

void part_send(struct part *part, const char *line)
{
    if (part_lives(part))
        control_send(child_control(part->child), "%s", line);
}

void part_signal(struct part *part, int number)
{
    if (part_lives(part))
        child_signal(part->child, number);
}

void part_ended(struct part *part)
{
    child_free(part->child);
    part->child = NULL;
    part->ready = false;
}

void part_revive(struct part *part, int status)
{
    struct log_line line;
    log_begin(&line, LOG_ERROR, "died, and is started again");
    log_field(&line, "part", "%s", part->name);
    if (WIFSIGNALED(status))
        log_field(&line, "signal", "%d", WTERMSIG(status));
    else
        log_field(&line, "exit", "%d", WEXITSTATUS(status));
    log_end(&line);
    try_again(part);
}

void part_give_up(struct part *part)
{
    event_del(part->again);
}
