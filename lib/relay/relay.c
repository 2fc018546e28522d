#include "relay/relay.h"

#include "base/control.h"
#include "base/hangup.h"
#include "base/log.h"
#include "relay/alarm.h"
#include "relay/core.h"
#include "relay/figures.h"
#include "relay/notify.h"
#include "relay/readers.h"
#include "store/store.h"
#include "transport/server.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    STRANGER_MESSAGE = 64 * 1024,      /* bytes that a connection without a session may send */
    INBOUND_BUDGET = 64 * 1024 * 1024, /* bytes of requests held in all */
    REQUEST_SLACK = 8 * 1024 * 1024,   /* what a request may be longer than the longest body */
    SILENCE_TIMEOUT = 30 * 1000000,    /* microseconds: as long as leases live by default of which nothing is heard */
    STOOD_STILL = 50000,               /* microseconds that nothing is late by otherwise */
    TAKING = 500000,                   /* microseconds in which what has arrived is taken; others go on sending */
    LINGER = 1000000,                  /* microseconds for the last replies to go out */
    LAST_REPLIES = 1024,               /* that are waited for */
    SIGNALS = 2,
    DESCRIPTORS_MAX = 1 << 20 /* as many connections as the server can count */
};

struct relay {
    const struct relay_settings *settings;
    char name[NAME_MAX_BYTES + 1];
    char store[4096];
    struct event_base *base;
    struct server *server;
    struct core *core;
    struct alarm *alarm;
    struct event *signals[SIGNALS];
    struct hangup *hangup;
    struct address addresses[RELAY_LISTEN_MAX + 1];
    unsigned addresses_count;
    struct log_limit trouble_limit, undone_limit, full_limit;
    bool full;               /* publications are refused for want of space, and that was told */
    void *web;               /* what serves HTTP; NULL: nothing does */
    struct readers *readers; /* what reads the store for others */
    struct control *control; /* to what supervises this relay; NULL: nobody does */
    char *pipeline;          /* what that said last */
    bool stopping;
    server_connection last[LAST_REPLIES]; /* who was answered while stopping */
    unsigned last_count;
};

/* ---- between server and core ---------------------------------------------------------------------------------- */

static void release_message(void *message)
{
    server_message_free(message);
}

static void on_received(void *context, struct server_message *message)
{
    struct relay *relay = context;
    struct blob *blob = blob_wrap(message->data, message->size, release_message, message);
    if (!blob) {
        server_message_free(message); /* no answer: the client asks again */
        return;
    }
    core_submit(relay->core, message->connection, message->ids, message->ids_count, blob);
}

static void on_disconnected(void *context, server_connection connection)
{
    struct relay *relay = context;
    core_disconnected(relay->core, connection);
}

static bool on_admit(void *context, server_connection connection, const uint8_t *head, size_t size, uint64_t total)
{
    struct relay *relay = context;
    (void)connection;
    return core_admits(relay->core, head, size, total);
}

static void on_trouble(void *context, const char *what, const char *peer)
{
    struct relay *relay = context;
    struct log_line line;
    unsigned long suppressed = relay->trouble_limit.suppressed;
    if (log_limited(&relay->trouble_limit, clock_monotonic()))
        return;
    log_begin(&line, LOG_WARNING, what);
    if (peer && *peer)
        log_field(&line, "peer", "%s", peer);
    if (suppressed > 0)
        log_field(&line, "more_like_it", "%lu", suppressed);
    log_end(&line);
}

static void send_reply(void *context, uint64_t connection, const uint32_t *ids, unsigned ids_count,
                       const struct server_part *parts, unsigned count)
{
    struct relay *relay = context;
    server_send(relay->server, connection, ids, ids_count, parts, count);
    if (relay->stopping && relay->last_count < LAST_REPLIES)
        relay->last[relay->last_count++] = connection;
}

static size_t unsent(void *context, uint64_t connection)
{
    const struct relay *relay = context;
    return server_unsent(relay->server, connection);
}

static void trust(void *context, uint64_t connection)
{
    struct relay *relay = context;
    server_trust(relay->server, connection);
}

static uint64_t random_bits(void *context)
{
    uint64_t bits = 0;
    (void)context;
    if (getentropy(&bits, sizeof bits) != 0)
        bits = (uint64_t)clock_monotonic() * UINT64_C(0x9E3779B97F4A7C15) ^ (uint64_t)getpid();
    return bits;
}

static int64_t stopwatch(void *context)
{
    (void)context;
    return clock_monotonic();
}

static void core_trouble(void *context, enum mp_error error, const char *text)
{
    struct relay *relay = context;
    struct log_line line;
    if (error && log_limited(&relay->undone_limit, clock_monotonic()))
        return;
    log_begin(&line, error ? LOG_ERROR : LOG_INFO,
              error ? "a turn was undone, clients send again" : "the store works again");
    if (error) {
        log_field(&line, "reason", "%s", text);
        log_field_suppressed(&line, &relay->undone_limit);
    }
    log_end(&line);
}

static enum mp_error describe(void *context, struct buffer *out)
{
    struct relay *relay = context;
    struct server_counters counters = server_counters(relay->server);
    enum mp_error error = buffer_append_string(out, "\"listen\":[");
    for (unsigned i = 0; !error && i < relay->addresses_count; i++)
        error = buffer_append_format(out, "%s\"%s\"", i ? "," : "", relay->addresses[i].text);
    if (!error)
        error = buffer_append_format(out, "],\"http\":\"%s\"", relay->web ? relay->settings->web->url(relay->web) : "");
    if (error)
        return error;
    return buffer_append_format(out,
                                ",\"connections\":%u,\"accepted\":%llu,\"refused\":%llu,\"closed_by_fault\":%llu,"
                                "\"received_bytes\":%llu,\"sent_bytes\":%llu,\"held_bytes\":%zu",
                                counters.connections, (unsigned long long)counters.accepted,
                                (unsigned long long)counters.refused, (unsigned long long)counters.closed_by_fault,
                                (unsigned long long)counters.received_bytes, (unsigned long long)counters.sent_bytes,
                                counters.held);
}

/* ---- the supervisor ------------------------------------------------------------------------------------------- */

static enum mp_error pass_on(void *context, const char *verb, struct fault *fault)
{
    struct relay *relay = context;
    if (!relay->control)
        return fault_set(fault, MP_ERR_UNSUPPORTED, "nobody supervises this relay");
    return control_send(relay->control, "%s", verb)
               ? MP_OK
               : fault_set(fault, MP_ERR_CLOSED, "what supervises this relay has gone");
}

static const char *pipeline(void *context)
{
    const struct relay *relay = context;
    return relay->pipeline;
}

static void on_line(void *context, const char *line)
{
    struct relay *relay = context;
    char *copy = strdup(line);
    if (!copy)
        return;
    free(relay->pipeline);
    relay->pipeline = copy;
}

/* Without it a relay would be left over that nobody knows of. */
static void on_supervisor_gone(void *context)
{
    struct relay *relay = context;
    relay->stopping = true;
    event_base_loopbreak(relay->base);
}

static enum mp_error open_control(struct relay *relay, struct fault *fault)
{
    struct control_settings settings = {.context = relay, .line = on_line, .ended = on_supervisor_gone};
    if (relay->settings->control < 0)
        return MP_OK;
    return control_open(relay->base, relay->settings->control, &settings, &relay->control, fault);
}

/* ---- reading for others --------------------------------------------------------------------------------------- */

/* Where the relay can be asked from this machine; NULL: it is not known. */
static const char *own_address(struct relay *relay)
{
    const char *text = NULL;
    /* systemd's socket is most likely that of the name. */
    if (relay->addresses_count == 0 && !address_of_relay(relay->name, &relay->addresses[0], NULL))
        return relay->addresses[0].text;
    for (unsigned i = 0; i < relay->addresses_count; i++) {
        const struct address *address = &relay->addresses[i];
        if (address->kind == ADDRESS_IPC)
            return address->text;
        if (strcmp(address->host, "") != 0 && strcmp(address->host, "*") != 0)
            text = address->text;
    }
    return text;
}

static enum mp_error start_reading(void *context, const json_t *asked, int64_t now, struct fault *fault)
{
    struct relay *relay = context;
    return readers_start(relay->readers, asked, own_address(relay), now, fault);
}

static enum mp_error read_reading(void *context, const json_t *asked, int64_t now, bool may_wait, struct buffer *out,
                                  struct fault *fault)
{
    struct relay *relay = context;
    return readers_read(relay->readers, asked, now, may_wait, out, fault);
}

static void leave_reading(void *context, const json_t *asked, int64_t now)
{
    struct relay *relay = context;
    readers_left(relay->readers, asked, now);
}

static bool has_read(void *context)
{
    struct relay *relay = context;
    return readers_changed(relay->readers);
}

static const struct core_readers readers = {
    .start = start_reading, .read = read_reading, .left = leave_reading, .changed = has_read};

/* ---- signals and time ----------------------------------------------------------------------------------------- */

static void on_signal(evutil_socket_t number, short what, void *context)
{
    struct relay *relay = context;
    (void)number;
    (void)what;
    relay->stopping = true;
    event_base_loopbreak(relay->base);
}

static void on_reload(void *context)
{
    struct log_line line;
    (void)context;
    log_begin(&line, LOG_INFO, "SIGHUP: there is no configuration file to read again");
    log_end(&line);
}

static void on_terminal_gone(void *context)
{
    struct relay *relay = context;
    struct log_line line;
    log_begin(&line, LOG_INFO, "its terminal has gone");
    log_end(&line);
    relay->stopping = true;
    event_base_loopbreak(relay->base);
}

/*
 * Something was due long before NOW: this process stood still. What arrived meanwhile, an extension of each consumer's
 * leases, say, is to be applied before leases end. The loop looks at some of the connections at a time.
 */
static void take_what_arrived(struct relay *relay, int64_t now)
{
    uint64_t received;
    if (core_due(relay->core) > now - STOOD_STILL)
        return;
    do {
        received = server_counters(relay->server).received;
        event_base_loop(relay->base, EVLOOP_NONBLOCK);
    } while (server_counters(relay->server).received > received && clock_monotonic() - now < TAKING);
}

/* Who has to wait for the disk knows nothing of it, or is a script: who looks after the relay is to know. */
static void look_at_space(struct relay *relay, int64_t now)
{
    struct fault fault = {0};
    struct log_line line;
    bool full = core_has_space(relay->core, &fault) == MP_ERR_FULL;
    if (full == relay->full || log_limited(&relay->full_limit, now))
        return;
    relay->full = full;
    log_begin(&line, full ? LOG_WARNING : LOG_INFO, full ? "publications are refused" : "publications are taken again");
    if (full)
        log_field(&line, "reason", "%s", fault_text(&fault));
    log_end(&line);
}

static void run_turn(struct relay *relay)
{
    struct moment now = clock_moment(); /* before the last look at what has arrived until then */
    take_what_arrived(relay, now.monotonic);
    server_cork(relay->server, true); /* many replies, one write a connection */
    core_turn(relay->core, now);
    server_cork(relay->server, false);
    int64_t took = clock_monotonic() - now.monotonic;
    if (took > (int64_t)core_lease(relay->core) * 1000 / 4)
        core_stood_still(relay->core, took);
    look_at_space(relay, now.monotonic);
    alarm_set(relay->alarm, core_due(relay->core));
}

/* MP_ERR_DAMAGED: the store is damaged, and serving makes no sense any more. */
static enum mp_error serve(struct relay *relay, struct fault *fault)
{
    run_turn(relay);
    while (!relay->stopping && !core_is_ruined(relay->core, fault)) {
        event_base_loop(relay->base, EVLOOP_ONCE);
        run_turn(relay);
    }
    return fault->code;
}

static bool is_written(const struct relay *relay)
{
    for (unsigned i = 0; i < relay->last_count; i++)
        if (server_unsent(relay->server, relay->last[i]) > 0)
            return false;
    return true;
}

/* Answers what has come, and gives the replies a moment to go out. */
static void wind_down(struct relay *relay)
{
    notify_state("STOPPING=1");
    server_accept(relay->server, false);
    core_drain(relay->core);
    run_turn(relay);
    int64_t end = clock_monotonic() + LINGER;
    while (!is_written(relay) && clock_monotonic() < end) {
        alarm_set(relay->alarm, clock_monotonic() + 10000);
        event_base_loop(relay->base, EVLOOP_ONCE);
    }
}

/* ---- start ---------------------------------------------------------------------------------------------------- */

static enum mp_error add_address(struct relay *relay, const char *url, struct fault *fault)
{
    struct address *address = &relay->addresses[relay->addresses_count];
    enum mp_error error = address_parse(url, address, fault);
    if (error)
        return error;
    if (address->kind == ADDRESS_TCP && !relay->settings->insecure && !address_is_loopback(address))
        return fault_set(fault, MP_ERR_DENIED,
                         "%s can be reached from other machines, without encryption or a password: listen on "
                         "127.0.0.1, or add --insecure if the network is trusted",
                         address->text);
    if (address->kind == ADDRESS_IPC && (error = address_make_directory(address->path, fault)))
        return error;
    if ((error = server_listen(relay->server, address, fault)))
        return error;
    relay->addresses_count++;
    return MP_OK;
}

static enum mp_error listen_all(struct relay *relay, struct fault *fault)
{
    const struct relay_settings *settings = relay->settings;
    struct address own;
    enum mp_error error = MP_OK;
    unsigned adopted = 0;
    if ((error = notify_adopt(relay->server, &adopted, fault)))
        return error;
    if (adopted == 0 && !settings->only_listen && !(error = address_of_relay(relay->name, &own, fault)))
        error = add_address(relay, own.text, fault);
    for (unsigned i = 0; !error && i < settings->listen_count; i++)
        error = add_address(relay, settings->listen[i], fault);
    return error;
}

static enum mp_error find_store(struct relay *relay, struct fault *fault)
{
    const char *given = relay->settings->store;
    if (!given) {
        enum mp_error error = address_store_path(relay->name, relay->store, sizeof relay->store, fault);
        return error ? error : address_make_directory(relay->store, fault);
    }
    int size = snprintf(relay->store, sizeof relay->store, "%s", given);
    return size >= 0 && (size_t)size < sizeof relay->store
               ? MP_OK
               : fault_set(fault, MP_ERR_TOO_LARGE, "the store's path is too long");
}

static enum mp_error open_core(struct relay *relay, struct fault *fault)
{
    const struct readers_settings reading = {.base = relay->base, .store = relay->store};
    enum mp_error error = readers_open(&reading, &relay->readers, fault);
    if (error)
        return error;
    struct store *store;
    struct engine *engine;
    struct engine_local_settings local = {
        .lease = relay->settings->lease,
        .trace_age = relay->settings->trace_age,
        .trace_bytes = relay->settings->trace_bytes,
        .trace_drop = relay->settings->trace_drop,
        .measure = relay->settings->http != NULL,
        .untraced = relay->settings->untraced,
    };
    if ((error = store_open(relay->store, &store, fault)) || (error = engine_local_open(store, &local, &engine, fault)))
        return error;
    struct core_settings settings = {
        .name = relay->name,
        .version = mp_version(),
        .max_message = relay->settings->max_message,
        .lease = relay->settings->lease,
        .client_rate = relay->settings->client_rate,
        .context = relay,
        .random = random_bits,
        .reply = send_reply,
        .unsent = unsent,
        .trust = trust,
        .describe = describe,
        .control = pass_on,
        .pipeline = pipeline,
        .readers = &readers,
        .stopwatch = relay->settings->http ? stopwatch : NULL,
        .trouble = core_trouble,
    };
    return core_new(engine, &settings, clock_moment(), &relay->core, fault);
}

/* Adds what to do about a store that is damaged. */
static enum mp_error tell_damage(const struct relay *relay, enum mp_error error, struct fault *fault)
{
    char words[FAULT_TEXT];
    if (error != MP_ERR_DAMAGED)
        return error;
    snprintf(words, sizeof words, "%s", fault_text(fault));
    return fault_set(fault, error, "%s: `mrelay salvage FILE --store %s` takes what is sound into a new store", words,
                     relay->store);
}

static enum mp_error open_server(struct relay *relay, struct fault *fault)
{
    uint32_t longest = relay->settings->max_message ? relay->settings->max_message : 16 * 1024 * 1024;
    struct server_settings settings = {
        .protocol = SERVER_REP,
        .max_message = (size_t)longest + REQUEST_SLACK,
        .stranger_message = STRANGER_MESSAGE,
        .total_budget = longest > INBOUND_BUDGET / 2 ? (size_t)longest * 2 + REQUEST_SLACK : INBOUND_BUDGET,
        .max_connections = relay->settings->max_connections,
        .silence_timeout = SILENCE_TIMEOUT,
        .context = relay,
        .disconnected = on_disconnected,
        .admit = on_admit,
        .received = on_received,
        .trouble = on_trouble,
    };
    return server_new(relay->base, &settings, &relay->server, fault);
}

static enum mp_error open_web(struct relay *relay, struct fault *fault)
{
    const struct relay_settings *settings = relay->settings;
    const struct relay_view view = {.base = relay->base, .core = relay->core, .server = relay->server};
    struct log_line line;
    if (!settings->http)
        return MP_OK;
    enum mp_error error = settings->web->open(settings->http, &view, &relay->web, fault);
    if (error || settings->web->is_loopback(relay->web))
        return error;
    log_begin(&line, LOG_WARNING, "HTTP is served to other machines, without encryption or a password");
    log_field(&line, "url", "%s", settings->web->url(relay->web));
    log_end(&line);
    return MP_OK;
}

static enum mp_error open_events(struct relay *relay, struct fault *fault)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT};
    const struct hangup_settings hangup = {.context = relay, .reload = on_reload, .gone = on_terminal_gone};
    enum mp_error error = alarm_new(relay->base, &relay->alarm, fault);
    bool failed = false;
    if (error)
        return error;
    for (unsigned i = 0; i < SIGNALS; i++) {
        relay->signals[i] = evsignal_new(relay->base, numbers[i], on_signal, relay);
        failed = failed || !relay->signals[i] || event_add(relay->signals[i], NULL) != 0;
    }
    if (failed)
        return fault_set(fault, MP_ERR_MEMORY, "cannot set up the event loop");
    return hangup_watch(relay->base, &hangup, &relay->hangup, fault);
}

static void relay_close(struct relay *relay)
{
    if (relay->web)
        relay->settings->web->close(relay->web);
    readers_close(relay->readers);
    server_free(relay->server);
    core_free(relay->core);
    for (unsigned i = 0; i < SIGNALS; i++)
        if (relay->signals[i])
            event_free(relay->signals[i]);
    hangup_free(relay->hangup);
    alarm_free(relay->alarm);
    control_free(relay->control);
    free(relay->pipeline);
    if (relay->base)
        event_base_free(relay->base);
}

static enum mp_error set_name(struct relay *relay, struct fault *fault)
{
    const char *name = relay->settings->name;
    if (!name || !*name)
        name = getenv("MSGPIPE_RELAY");
    if (!name || !*name)
        name = "default";
    enum mp_error error = name_check_relay(name, strlen(name), fault);
    if (!error)
        snprintf(relay->name, sizeof relay->name, "%s", name);
    return error;
}

static void log_start(const struct relay *relay)
{
    struct log_line line;
    log_begin(&line, LOG_INFO, "serving");
    log_field(&line, "relay", "%s", relay->name);
    log_field(&line, "version", "%s", mp_version());
    for (unsigned i = 0; i < relay->addresses_count; i++)
        log_field(&line, "listen", "%s", relay->addresses[i].text);
    if (relay->web)
        log_field(&line, "http", "%s", relay->settings->web->url(relay->web));
    log_end(&line);
}

/* What is given by default, 1,024 mostly, is for programs that use select(2). A relay starts none. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur =
        limit.rlim_max == RLIM_INFINITY || limit.rlim_max > DESCRIPTORS_MAX ? DESCRIPTORS_MAX : limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void log_ruin(const struct fault *fault)
{
    struct log_line line;
    notify_state("STOPPING=1");
    log_begin(&line, LOG_ERROR, "the store is damaged: the relay ends");
    log_field(&line, "reason", "%s", fault_text(fault));
    log_end(&line);
}

/*
 * A store that is not there is made when its relay has its addresses: a start that does not get them leaves none behind.
 * One that is there is opened before, for that takes time, and those who connect are to find somebody who answers.
 */
static enum mp_error open_all(struct relay *relay, struct fault *fault)
{
    enum mp_error error;
    if ((error = open_events(relay, fault)) || (error = open_control(relay, fault)) ||
        (error = find_store(relay, fault)))
        return error;
    bool is_new = access(relay->store, F_OK) != 0;
    if (is_new && ((error = open_server(relay, fault)) || (error = listen_all(relay, fault))))
        return error;
    if ((error = tell_damage(relay, open_core(relay, fault), fault)))
        return error;
    if (!is_new && (error = open_server(relay, fault)))
        return error;
    if ((error = open_web(relay, fault)))
        return error;
    return is_new ? MP_OK : listen_all(relay, fault);
}

enum mp_error relay_serve(const struct relay_settings *settings, struct fault *fault)
{
    struct relay relay = {.settings = settings};
    struct fault own = {0};
    if (!fault)
        fault = &own;
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    relay.base = event_base_new();
    enum mp_error error = relay.base ? set_name(&relay, fault) : fault_memory(fault);
    if (error || (error = open_all(&relay, fault))) {
        notify_ready(settings->ready, error, fault_text(fault));
        relay_close(&relay);
        return error;
    }
    log_start(&relay);
    notify_ready(settings->ready, MP_OK, "");
    if ((error = tell_damage(&relay, serve(&relay, fault), fault))) {
        log_ruin(fault);
        relay_close(&relay);
        return fault_set(fault, MP_ERR_IO, "%s", fault_text(fault));
    }
    wind_down(&relay);
    core_rest(relay.core, clock_moment());
    relay_close(&relay);
    struct log_line line;
    log_begin(&line, LOG_INFO, "stopped");
    log_end(&line);
    return MP_OK;
}
