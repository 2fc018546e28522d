#include "cli/trace_view.h"

#include "cli/admin_ask.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "transport/address.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool is_url(const char *relay)
{
    return relay && strstr(relay, "://");
}

/* Whether the relay that -r means answers now. */
static bool is_running(const struct trace_settings *settings)
{
    struct address address;
    if (is_url(settings->relay))
        return true; /* whoever is asked for by an address is asked */
    return !address_of_relay(settings->relay, &address, NULL) && address_probe(address.path) == ADDRESS_ANSWERS;
}

static int ask(const struct trace_settings *settings, const char *verb, json_t **answer)
{
    const struct admin_settings asking = {.relay = settings->relay, .wait = settings->wait};
    return admin_ask_soon(&asking, json_pack("{s:s}", "verb", verb), answer);
}

json_t *trace_view_ask(const struct trace_view *view, const char *verb)
{
    json_t *answer = NULL;
    if (!view->status || ask(view->settings, verb, &answer))
        return NULL;
    return answer;
}

/*
 * A relay that was asked over the network may be another machine's, whose path means another store here, or none: its
 * process is the one that has the store.
 */
static int check_machine(const struct trace_view *view)
{
    const char *relay = view->settings->relay;
    if (!is_url(relay) || strncmp(relay, "ipc:", 4) == 0 ||
        (uint64_t)store_holder(view->path) == admin_number(view->status, "pid"))
        return EXIT_DONE;
    tell("the store of that relay, %s, is not on this machine: run mtrace there", view->path);
    return EXIT_NO_INPUT;
}

/* The path of the store: --store, or what the relay says that runs, or what follows from its name. */
static int find_store(struct trace_view *view)
{
    const struct trace_settings *settings = view->settings;
    struct fault fault = {0};
    int size;
    if (settings->store) {
        size = snprintf(view->path, sizeof view->path, "%s", settings->store);
    } else if (is_running(settings)) {
        int code = ask(settings, "status", &view->status);
        if (code)
            return code;
        size = snprintf(view->path, sizeof view->path, "%s", admin_string(view->status, "store"));
    } else if (address_store_path(settings->relay, view->path, sizeof view->path, &fault)) {
        return tell_fault(&fault);
    } else if (access(view->path, F_OK) != 0) {
        struct address address;
        fault_set(&fault, MP_ERR_NO_RELAY, "no relay runs, and there is no store %s", view->path);
        return address_of_relay(settings->relay, &address, NULL) ? tell_fault(&fault)
                                                                 : tell_no_relay(settings->relay, NULL, &fault);
    } else {
        tell("relay %s does not run: this is what its store has",
             settings->relay && *settings->relay ? settings->relay : "default");
        return EXIT_DONE;
    }
    if (size > 0 && (size_t)size < sizeof view->path)
        return view->status ? check_machine(view) : EXIT_DONE;
    tell("the path of the store is too long, or the relay does not say it: give it with --store");
    return EXIT_USAGE;
}

/* A store that cannot be read is no input; what the relay has elsewhere is on its machine. */
int trace_view_unreadable(const struct trace_view *view, const struct fault *fault)
{
    if (is_url(view->settings->relay) && !view->settings->store && fault->code == MP_ERR_NOT_FOUND) {
        tell("the store of that relay, %s, is not on this machine: run mtrace there", view->path);
        return EXIT_NO_INPUT;
    }
    tell("%s", fault_text(fault));
    return fault->code == MP_ERR_IO ? EXIT_IO : fault->code == MP_ERR_DENIED ? EXIT_DENIED : EXIT_NO_INPUT;
}

int trace_view_find(struct trace_view *view, const struct trace_settings *settings)
{
    *view = (struct trace_view){.settings = settings,
                                .terminal = output_is_terminal(STDOUT_FILENO),
                                .colour = output_colour(STDOUT_FILENO),
                                .columns = output_columns(STDOUT_FILENO),
                                .now = clock_wall()};
    return find_store(view);
}

int trace_view_open(struct trace_view *view, const struct trace_settings *settings)
{
    struct fault fault = {0};
    struct moment now = clock_moment();
    int code = trace_view_find(view, settings);
    if (code)
        return code;
    return trace_log_open(view->path, now, &view->log, &fault) ? trace_view_unreadable(view, &fault) : EXIT_DONE;
}

void trace_view_close(struct trace_view *view)
{
    trace_log_close(view->log);
    json_decref(view->status);
    view->log = NULL;
    view->status = NULL;
}

int trace_view_select(const struct trace_view *view, struct trace_select *select)
{
    const struct trace_settings *settings = view->settings;
    const struct trace_select_settings wanted = {.topics = settings->topics.values,
                                                 .topics_count = settings->topics.count,
                                                 .groups = settings->groups.values,
                                                 .groups_count = settings->groups.count,
                                                 .kinds = settings->kinds.values,
                                                 .kinds_count = settings->kinds.count,
                                                 .attributes = settings->attributes.values,
                                                 .attributes_count = settings->attributes.count,
                                                 .key = settings->key,
                                                 .trace = settings->trace,
                                                 .since = settings->since,
                                                 .until = settings->until};
    struct fault fault = {0};
    return trace_select_open(select, &wanted, view->log, &fault) ? tell_fault(&fault) : EXIT_DONE;
}

const char *trace_colour(const struct trace_view *view, enum trace_colour colour)
{
    static const char *const sequences[TRACE_COLOURS] = {
        [TRACE_PLAIN] = "\033[0m", [TRACE_BOLD] = "\033[1m",  [TRACE_DIM] = "\033[2m",   [TRACE_GOOD] = "\033[32m",
        [TRACE_BAD] = "\033[31m",  [TRACE_SLOW] = "\033[33m", [TRACE_BUSY] = "\033[36m", [TRACE_NAME] = "\033[34m",
    };
    return view->colour ? sequences[colour] : "";
}

void trace_time_text(const struct trace_view *view, int64_t wall, char text[TRACE_TIME_TEXT])
{
    time_t second = (time_t)(wall / 1000000), today = (time_t)(view->now / 1000000);
    struct tm then, now;
    if (!localtime_r(&second, &then) || !localtime_r(&today, &now)) {
        snprintf(text, TRACE_TIME_TEXT, "%" PRId64, wall);
        return;
    }
    bool same = then.tm_year == now.tm_year && then.tm_yday == now.tm_yday;
    size_t size = strftime(text, TRACE_TIME_TEXT, same ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &then);
    snprintf(text + size, TRACE_TIME_TEXT - size, ".%06d", (int)(wall % 1000000));
}

void trace_print_json(json_t *object)
{
    admin_print_json(object);
    json_decref(object);
}
