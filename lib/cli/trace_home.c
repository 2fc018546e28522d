#include "cli/trace_home.h"

#include "cli/admin_ask.h"
#include "cli/exit.h"
#include "store/store.h"
#include "transport/address.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { READING_WAIT = 10000000 }; /* microseconds */

static bool is_url(const char *relay)
{
    return relay && strstr(relay, "://");
}

/* Whether the relay that -r means answers now. */
static bool is_running(const struct trace_settings *settings)
{
    struct address address;
    if (is_url(settings->relay) && strncmp(settings->relay, "tcp:", 4) == 0)
        return true; /* whoever is asked for by an address is asked */
    return !address_of_relay(settings->relay, &address, NULL) && address_probe(address.path) == ADDRESS_ANSWERS;
}

/* Who reads for somebody else has low priority, and time; and what the relay does not answer is missing, no more. */
static int ask(const struct trace_settings *settings, const char *verb, json_t **answer)
{
    const struct admin_settings asking = {.relay = settings->relay,
                                          .wait = settings->reading ? READING_WAIT : settings->wait,
                                          .quiet = settings->reading};
    return admin_ask_soon(&asking, json_pack("{s:s}", "verb", verb), answer);
}

json_t *trace_home_ask(const struct trace_home *home, const struct trace_settings *settings, const char *verb)
{
    json_t *answer = NULL;
    if (!home->status || ask(settings, verb, &answer))
        return NULL;
    return answer;
}

/*
 * A relay that was asked over the network may be another machine's, whose path means another store here, or none: its
 * process is the one that has the store. One of this machine may be another user's.
 */
static bool is_here(const struct trace_home *home, const struct trace_settings *settings)
{
    const char *relay = settings->relay;
    if (is_url(relay) && strncmp(relay, "ipc:", 4) != 0 &&
        (uint64_t)store_holder(home->path) != admin_number(home->status, "pid"))
        return false;
    return access(home->path, R_OK) == 0;
}

static int find_by_name(struct trace_home *home, const struct trace_settings *settings)
{
    struct fault fault = {0};
    struct address address;
    if (address_store_path(settings->relay, home->path, sizeof home->path, &fault))
        return tell_fault(&fault);
    if (access(home->path, F_OK) == 0) {
        tell("relay %s does not run: this is what its store has",
             settings->relay && *settings->relay ? settings->relay : "default");
        return EXIT_DONE;
    }
    fault_set(&fault, MP_ERR_NO_RELAY, "no relay runs, and there is no store %s", home->path);
    return address_of_relay(settings->relay, &address, NULL) ? tell_fault(&fault)
                                                             : tell_no_relay(settings->relay, NULL, &fault);
}

static int find(struct trace_home *home, const struct trace_settings *settings)
{
    const char *path = settings->store;
    if (!path && !is_url(settings->relay) && !is_running(settings))
        return find_by_name(home, settings);
    if (!path || (settings->reading && settings->asking && settings->relay && is_running(settings))) {
        int code = ask(settings, "status", &home->status);
        if (code && !path)
            return code;
    }
    if (!path)
        path = admin_string(home->status, "store");
    int size = snprintf(home->path, sizeof home->path, "%s", path);
    if (size <= 0 || (size_t)size >= sizeof home->path) {
        tell("the path of the store is too long, or the relay does not say it: give it with --store");
        return EXIT_USAGE;
    }
    return settings->store || is_here(home, settings) ? EXIT_DONE : TRACE_ELSEWHERE;
}

int trace_home_find(struct trace_home *home, const struct trace_settings *settings)
{
    if (!home->found)
        home->code = find(home, settings);
    home->found = true;
    home->given = settings->store;
    return home->code;
}

void trace_home_close(struct trace_home *home)
{
    json_decref(home->status);
    *home = (struct trace_home){0};
}

int trace_home_unreadable(struct trace_home *home, const struct fault *fault)
{
    bool other = fault->code == MP_ERR_DENIED || fault->code == MP_ERR_NOT_FOUND || fault->code == MP_ERR_VERSION;
    if (home->status && other && !home->given) {
        home->code = TRACE_ELSEWHERE;
        return home->code;
    }
    tell("%s", fault_text(fault));
    return fault->code == MP_ERR_IO ? EXIT_IO : fault->code == MP_ERR_DENIED ? EXIT_DENIED : EXIT_NO_INPUT;
}
