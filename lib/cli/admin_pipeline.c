#include "cli/admin_pipeline.h"

#include "base/clock.h"
#include "base/units.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/table.h"
#include "transport/address.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    POLL = 50,                  /* milliseconds between two looks at what became of a request */
    RELOAD_PATIENCE = 30000000, /* microseconds, unless --wait says otherwise */
    SILENT = 20000000           /* a runner of which nothing was heard for so long is said to be silent */
};

/* ---- status ---------------------------------------------------------------------------------------------------- */

/* Messages that wait for GROUP, in all of its topics, and the time of the oldest; false: there is no such group. */
static bool look_up(const json_t *groups, const char *group, uint64_t *waiting, uint64_t *oldest)
{
    bool found = false;
    size_t index;
    const json_t *item;
    *waiting = *oldest = 0;
    json_array_foreach(groups, index, item)
    {
        if (strcmp(admin_string(item, "group"), group) != 0)
            continue;
        uint64_t time = admin_number(item, "oldest_time_us");
        found = true;
        *waiting += admin_number(item, "waiting") + admin_number(item, "delayed");
        if (time && (*oldest == 0 || time < *oldest))
            *oldest = time;
    }
    return found;
}

static void add_time(struct table *table, uint64_t microseconds)
{
    char text[24] = "-";
    if (microseconds)
        units_duration_text((int64_t)microseconds, text, sizeof text);
    table_add(table, "%s", text);
}

static void add_part(struct table *table, const json_t *part, const json_t *groups)
{
    const char *kind = admin_string(part, "kind"), *why = admin_string(part, "why");
    bool source = strcmp(kind, "source") == 0;
    uint64_t waiting, oldest;
    table_add(table, "%s", admin_string(part, "name"));
    table_add(table, "%s", kind);
    table_add(table, "%" PRIu64, admin_number(part, "in"));
    table_add(table, "%" PRIu64, admin_number(part, "out"));
    table_add(table, "%" PRIu64, admin_number(part, "failed"));
    table_add(table, "%" PRIu64, admin_number(part, "dead"));
    if (!source && look_up(groups, admin_string(part, "name"), &waiting, &oldest)) {
        int64_t age = oldest ? clock_wall() - (int64_t)oldest : 0;
        table_add(table, "%" PRIu64, waiting);
        add_time(table, age > 0 ? (uint64_t)age : 0);
    } else {
        table_add(table, "-");
        table_add(table, "-");
    }
    add_time(table, admin_number(part, "p50_us"));
    add_time(table, admin_number(part, "p99_us"));
    table_add(table, "%s%s%s", admin_string(part, "state"), *why ? ": " : "", why);
}

static void print_runner(const json_t *runner, const json_t *groups)
{
    static const char *const headings[] = {"PART",     "KIND",    ">IN",  ">OUT", ">FAILED", ">DEAD",
                                           ">WAITING", ">OLDEST", ">P50", ">P99", "STATE",   NULL};
    struct table table = table_of(headings);
    uint64_t age = admin_number(runner, "age_us");
    char text[24];
    size_t index;
    const json_t *part;
    json_array_foreach(json_object_get(runner, "stages"), index, part)
    {
        add_part(&table, part, groups);
    }
    units_duration_text((int64_t)age, text, sizeof text);
    printf("\nrunner     %s%s%s%s\n", admin_string(runner, "runner"), age > SILENT ? ", silent for " : "",
           age > SILENT ? text : "", age > SILENT ? ": it has died, or cannot reach the relay" : "");
    table_print(&table);
    table_free(&table);
}

void admin_print_pipeline(const json_t *status)
{
    const json_t *pipeline = json_object_get(status, "pipeline");
    const char *error = admin_string(pipeline, "error");
    size_t index;
    const json_t *runner;
    if (json_is_object(pipeline))
        printf("\npipeline   %s, %s%s%s\n", admin_string(pipeline, "file"), admin_string(pipeline, "state"),
               *error ? "; not reloaded: " : "", error);
    json_array_foreach(json_object_get(status, "runners"), index, runner)
    {
        print_runner(runner, json_object_get(status, "groups"));
    }
}

/* ---- reload and drain ------------------------------------------------------------------------------------------ */

static void pause_a_little(void)
{
    poll(NULL, 0, POLL);
}

static int ask(const struct admin_settings *settings, const char *verb, json_t **answer)
{
    struct admin_settings asked = *settings;
    asked.start = "mrelay run FILE";
    return admin_ask_soon(&asked, json_pack("{s:s}", "verb", verb), answer);
}

int admin_reload(const struct admin_settings *settings)
{
    json_t *answer;
    int64_t until = clock_monotonic() + (settings->wait >= 0 ? settings->wait : RELOAD_PATIENCE);
    int code = ask(settings, "pipeline", &answer);
    if (code)
        return code;
    uint64_t before = admin_number(answer, "generation");
    json_decref(answer);
    code = ask(settings, "reload", &answer);
    if (code)
        return code;
    json_decref(answer);
    for (;;) {
        code = ask(settings, "pipeline", &answer);
        if (code)
            return code;
        bool done = admin_number(answer, "generation") != before;
        const char *error = admin_string(answer, "error");
        if (done && *error) {
            tell("not reloaded, it goes on as before: %s: `mrelay check %s` says more", error,
                 admin_string(answer, "file"));
            code = EXIT_CONFIG;
        } else if (done && output_is_terminal(STDERR_FILENO)) {
            tell("%s has been reloaded", admin_string(answer, "file"));
        }
        json_decref(answer);
        if (done)
            return code;
        if (clock_monotonic() >= until) {
            tell("it was told to reload, but has not said that it has (--wait)");
            return EXIT_TIMEOUT;
        }
        pause_a_little();
    }
}

/* Whether nobody takes connections at ADDRESS, which is one of TCP. */
static bool is_refused(const struct address *address)
{
    struct addrinfo *list;
    bool refused = true;
    if (address_look_up(address, false, &list))
        return false;
    for (const struct addrinfo *at = list; at && refused; at = at->ai_next) {
        int descriptor = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        refused = descriptor < 0 || (connect(descriptor, at->ai_addr, at->ai_addrlen) != 0 && errno == ECONNREFUSED);
        if (descriptor >= 0)
            close(descriptor);
    }
    freeaddrinfo(list);
    return refused;
}

/* Whether nobody listens at the relay's address any more. */
static bool has_gone(const struct admin_settings *settings)
{
    struct address address;
    struct fault fault = {0};
    if (address_of_relay(settings->relay, &address, &fault))
        return false;
    if (address.kind == ADDRESS_TCP)
        return is_refused(&address);
    enum address_answer answer = address_probe(address.path);
    return answer == ADDRESS_DEAD || answer == ADDRESS_ABSENT;
}

int admin_drain(const struct admin_settings *settings)
{
    json_t *answer;
    int64_t until = settings->wait >= 0 ? clock_monotonic() + settings->wait : CLOCK_NEVER;
    int code = ask(settings, "drain", &answer);
    if (code)
        return code;
    json_decref(answer);
    while (!has_gone(settings)) {
        if (clock_monotonic() >= until) {
            tell("it drains, and has not come to the end in time (--wait): `mrelay status` shows what waits");
            return EXIT_TIMEOUT;
        }
        pause_a_little();
    }
    return EXIT_DONE;
}
