/* mrelay alone: being the relay, here or in the background. */
#include "cli/serve.h"

#include "base/control.h"
#include "base/units.h"
#include "base/log.h"
#include "base/path.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "relay/relay.h"
#include "transport/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int tell_failure(const struct fault *fault)
{
    tell("%s", fault_text(fault));
    switch (fault->code) {
    case MP_ERR_FORMAT: /* the store is no input of which a part was rejected */
    case MP_ERR_TOO_LARGE:
        return EXIT_FAILED;
    case MP_ERR_NOT_FOUND: /* the store's directory: it cannot be written */
        return EXIT_IO;
    default:
        return exit_code_of(fault->code);
    }
}

/* The paths of the store and of the log, which lies beside it. */
static enum mp_error find_paths(const struct relay_settings *relay, char store[PATH_BYTES], char log[PATH_BYTES],
                                struct fault *fault)
{
    enum mp_error error = MP_OK;
    if (!relay->store)
        error = address_store_path(relay->name ? relay->name : "default", store, PATH_BYTES, fault);
    else if ((size_t)snprintf(store, PATH_BYTES, "%s", relay->store) >= PATH_BYTES)
        error = fault_set(fault, MP_ERR_TOO_LARGE, "the store's path is too long");
    return error ? error : path_beside(store, ".log", log, fault);
}

/* Starts this program again in the background, with its log beside the store. */
static int go_background(const struct relay_settings *relay, char **argv)
{
    struct fault fault = {0};
    char store[PATH_BYTES], log[PATH_BYTES];
    bool idle = false;
    int pid = 0;
    enum mp_error error = find_paths(relay, store, log, &fault);
    if (!error && !relay->store)
        error = address_make_directory(log, &fault);
    if (!error)
        error = relay_background(argv, log, &pid, &idle, &fault);
    /* A start that came to nothing leaves nothing; where there is a store, the log may be another's that made it. */
    if (idle && access(store, F_OK) != 0)
        unlink(log);
    if (error)
        return tell_failure(&fault);
    if (output_is_terminal(STDERR_FILENO))
        tell("it serves: pid %d, log in %s", pid, log);
    return EXIT_DONE;
}

static int check(const struct serve_settings *settings, const struct options *options)
{
    struct fault fault = {0};
    double share;
    if (settings->trace_sample && units_share(settings->trace_sample, &share, &fault))
        return options_wrong(options, "--trace-sample: %s", fault_text(&fault));
    if (settings->name && strstr(settings->name, "://"))
        return options_wrong(options, "-r: a relay has a name: addresses to listen at are given with --listen");
    if (options_given(options, "lease") && (settings->lease < 1000000 || settings->lease > INT64_C(86400) * 1000000))
        return options_wrong(options, "--lease: a lease takes from 1s to 24h");
    struct address http;
    if (settings->http && address_parse_http(settings->http, &http, &fault))
        return options_wrong(options, "--http: %s", fault_text(&fault));
    if (settings->listen.count > RELAY_LISTEN_MAX)
        return options_wrong(options, "--listen: %d addresses at most", RELAY_LISTEN_MAX);
    return OPTIONS_GO;
}

int serve_in_background(const char *name, const char *store, char **argv)
{
    char text[PATH_BYTES];
    struct fault fault = {0};
    struct relay_settings relay = {.name = name, .store = store ? text : NULL};
    if (store && path_from_root(store, text, &fault))
        return tell_failure(&fault);
    return go_background(&relay, argv);
}

/* What a sample of that share, which was checked, leaves out. */
static double drop_of(const char *sample)
{
    double share = 1;
    if (sample)
        units_share(sample, &share, NULL);
    return 1 - share;
}

int serve(const struct serve_settings *settings, const struct options *options, char **argv)
{
    struct fault fault = {0};
    char store[PATH_BYTES];
    bool given = settings->store && *settings->store;
    struct relay_settings relay = {
        .name = settings->name,
        .store = given ? store : settings->store,
        .insecure = settings->insecure,
        .http = settings->http,
        .web = settings->web,
        .max_message = (uint32_t)settings->max_message,
        .max_connections = (unsigned)settings->max_connections,
        .lease = (uint32_t)(settings->lease / 1000),
        .client_rate = settings->client_rate,
        .trace_age = settings->trace_age,
        .trace_bytes = settings->trace_bytes,
        .trace_drop = drop_of(settings->trace_sample),
        .untraced = settings->no_trace,
        .control = control_inherited(RELAY_CONTROL),
        .ready = relay_ready_descriptor(),
    };
    int code = check(settings, options);
    if (code != OPTIONS_GO)
        return code;
    /* What the relay says of itself has to be right for those who are elsewhere. */
    if (given && path_from_root(settings->store, store, &fault))
        return tell_failure(&fault);
    for (size_t i = 0; i < settings->listen.count; i++)
        relay.listen[relay.listen_count++] = settings->listen.values[i];
    if (settings->background && relay.ready < 0)
        return go_background(&relay, argv);
    log_setup((enum log_level)settings->log_level, settings->log_format == 1);
    return relay_serve(&relay, &fault) ? tell_failure(&fault) : EXIT_DONE;
}
