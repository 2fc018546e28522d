/* Asking a running relay about itself. */
#include "cli/admin.h"

#include "base/memory.h"
#include "base/units.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/relay_link.h"
#include "cli/table.h"
#include "message/names.h"
#include "transport/address.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DRAIN_POLL = 10000 }; /* milliseconds that one `wait` request may take in the relay */

/* One question and its answer. */
struct admin {
    const struct admin_settings *settings;
    struct loop loop;
    struct relay_link *link;
    const char *request;
    bool sent;
    bool done;
    char *reply;
    size_t reply_size;
    int64_t give_up; /* when to; monotonic microseconds */
    int exit;
};

static void on_answered(void *context, enum mp_error status, const char *text, size_t size)
{
    struct admin *admin = context;
    admin->done = true;
    if (status == MP_OK) {
        admin->reply = memory_copy_text(text, size);
        admin->reply_size = size;
        admin->exit = admin->reply ? EXIT_DONE : EXIT_FAILED;
    } else {
        tell("%.*s", (int)(size < FAULT_TEXT ? size : FAULT_TEXT), text);
        admin->exit = exit_code_of(status);
    }
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    struct admin *admin = context;
    admin->done = true;
    admin->exit = exit_code_of(error);
    tell("%s", text);
}

static bool step(void *context, int64_t now, int64_t *due)
{
    struct admin *admin = context;
    struct fault fault = {0};
    enum mp_error error = relay_link_check(admin->link, now, &fault);
    if (admin->done)
        return false;
    if (admin->loop.interrupted)
        exit_by_signal(admin->loop.interrupted);
    struct client *client = relay_link_client(admin->link);
    if (!error && client_is_welcome(client) && !admin->sent) {
        admin->sent = true;
        error = client_ask(client, admin->request, strlen(admin->request), &fault);
    }
    if (!error && now >= admin->give_up)
        error = fault_set(&fault, MP_ERR_TIMEOUT, "the relay has not answered in time");
    *due = admin->give_up;
    if (!error)
        return true;
    admin->exit = relay_link_tell(admin->settings->relay, &fault);
    return false;
}

/*
 * Asks REQUEST. Returns the exit code; with 0 *REPLY is to be freed with memory_release(). CONNECT is how long to wait
 * for the relay (-1: as all tools do), PATIENCE for its answer: microseconds.
 */
static int ask(const struct admin_settings *settings, const char *request, int64_t connect, int64_t patience,
               char **reply)
{
    struct admin admin = {.settings = settings, .request = request, .exit = EXIT_FAILED};
    struct fault fault = {0};
    enum mp_error error = loop_open(&admin.loop, &fault);
    if (error)
        return tell_fault(&fault);
    struct relay_link_settings link = {
        .loop = &admin.loop,
        .relay = settings->relay,
        .wait = connect,
        .client = {.context = &admin, .answered = on_answered, .failed = on_failed},
    };
    admin.give_up = clock_monotonic() + patience;
    error = relay_link_open(&link, &admin.link, &fault);
    if (error) {
        admin.exit = relay_link_tell(settings->relay, &fault);
    } else {
        error = loop_run(&admin.loop, step, &admin, &fault);
        if (error)
            admin.exit = tell_fault(&fault);
    }
    relay_link_close(admin.link);
    loop_close(&admin.loop);
    *reply = admin.reply;
    return admin.exit;
}

static int finish_output(void)
{
    struct fault fault = {0};
    enum mp_error error = output_close(&fault);
    if (error == MP_ERR_CLOSED)
        return exit_by_pipe();
    return error ? tell_fault(&fault) : EXIT_DONE;
}

/* ---- values --------------------------------------------------------------------------------------------------- */

static uint64_t number(const json_t *object, const char *name)
{
    json_int_t value = json_integer_value(json_object_get(object, name));
    return value > 0 ? (uint64_t)value : 0;
}

static const char *string(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static void add_count(struct table *table, uint64_t value)
{
    table_add(table, "%" PRIu64, value);
}

/* How long ago TIME was, in microseconds since the epoch; 0: never. */
static void add_age(struct table *table, uint64_t time)
{
    char text[24] = "-";
    int64_t age = clock_wall() - (int64_t)time;
    if (time)
        units_duration_text(age > 0 ? age : 0, text, sizeof(text));
    table_add(table, "%s%s", text, time ? " ago" : "");
}

/* Whether NAME is the one, or matches the pattern, that was asked for. */
static bool is_wanted(const char *asked, const char *name)
{
    return !asked || name_matches(asked, name) || !strcmp(asked, name);
}

/* Orders objects by NAME, then by OTHER: the relay gives them as it finds them. */
static int compare(const json_t *one, const json_t *two, const char *name, const char *other)
{
    int order = strcmp(string(one, name), string(two, name));
    return order ? order : strcmp(string(one, other), string(two, other));
}

static int compare_topics(const void *one, const void *two)
{
    return compare(*(json_t *const *)one, *(json_t *const *)two, "name", "name");
}

static int compare_groups(const void *one, const void *two)
{
    return compare(*(json_t *const *)one, *(json_t *const *)two, "topic", "group");
}

/* The objects of ARRAY in order, to be freed with memory_release(); they stay the array's. NULL: it is empty. */
static json_t **sorted(const json_t *array, int (*order)(const void *one, const void *two))
{
    size_t count = json_array_size(array);
    json_t **objects = count ? memory_allocate_array(count, sizeof(json_t *)) : NULL;
    for (size_t i = 0; objects && i < count; i++)
        objects[i] = json_array_get(array, i);
    if (count && !objects)
        tell("there is not enough memory to list them");
    if (objects)
        qsort(objects, count, sizeof(json_t *), order);
    return objects;
}

/* ---- what is printed ------------------------------------------------------------------------------------------ */

static void print_topics(const json_t *topics, const struct admin_settings *settings)
{
    static const char *const headings[] = {"TOPIC", ">MESSAGES", ">FIRST", ">END", ">GROUPS", ">LAST MESSAGE", NULL};
    struct table table = table_of(headings);
    json_t **objects = sorted(topics, compare_topics);
    for (size_t i = 0; objects && i < json_array_size(topics); i++) {
        const json_t *topic = objects[i];
        if (!is_wanted(settings->topic, string(topic, "name")))
            continue;
        if (settings->names)
            puts(string(topic, "name"));
        table_add(&table, "%s", string(topic, "name"));
        add_count(&table, number(topic, "messages"));
        add_count(&table, number(topic, "first"));
        add_count(&table, number(topic, "end"));
        add_count(&table, number(topic, "groups"));
        add_age(&table, number(topic, "last_time_us"));
    }
    if (!settings->names)
        table_print(&table);
    memory_release(objects);
    table_free(&table);
}

static void print_groups(const json_t *groups, const struct admin_settings *settings)
{
    static const char *const headings[] = {"TOPIC",  "GROUP", ">WAITING", ">LEASED", ">DELAYED",
                                           ">ACKED", ">DEAD", ">OLDEST",  NULL};
    struct table table = table_of(headings);
    json_t **objects = sorted(groups, compare_groups);
    for (size_t i = 0; objects && i < json_array_size(groups); i++) {
        const json_t *group = objects[i];
        if (!is_wanted(settings->topic, string(group, "topic")) || !is_wanted(settings->group, string(group, "group")))
            continue;
        if (settings->names)
            puts(string(group, "group"));
        table_add(&table, "%s", string(group, "topic"));
        table_add(&table, "%s", string(group, "group"));
        add_count(&table, number(group, "waiting"));
        add_count(&table, number(group, "leased"));
        add_count(&table, number(group, "delayed"));
        add_count(&table, number(group, "acked"));
        add_count(&table, number(group, "dead"));
        add_age(&table, number(group, "oldest_time_us"));
    }
    if (!settings->names)
        table_print(&table);
    memory_release(objects);
    table_free(&table);
}

static void print_relay(const json_t *status)
{
    char uptime[24];
    char size[24];
    units_duration_text((int64_t)number(status, "uptime_us"), uptime, sizeof(uptime));
    units_size_text(number(status, "store_bytes"), size, sizeof(size));
    printf("relay      %s (msgpipe %s), pid %" PRIu64 ", up %s\n", string(status, "relay"), string(status, "version"),
           number(status, "pid"), uptime);
    printf("store      %s, %s\n", string(status, "store"), size);
    size_t index;
    json_t *item;
    json_array_foreach(json_object_get(status, "listen"), index, item)
    {
        printf("%-9s  %s\n", index ? "" : "listening", json_string_value(item) ? json_string_value(item) : "");
    }
    printf("clients    %" PRIu64 " connections, %" PRIu64 " sessions\n", number(status, "connections"),
           number(status, "sessions"));
}

static void print_counters(const json_t *counters)
{
    static const char *const headings[] = {"COUNTER", ">SINCE THE START", NULL};
    struct table table = table_of(headings);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)counters, name, value)
    {
        table_add(&table, "%s", name);
        table_add(&table, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    }
    if (table.rows) {
        putchar('\n');
        table_print(&table);
    }
    table_free(&table);
}

static void print_status(const json_t *status, const struct admin_settings *settings)
{
    print_relay(status);
    const json_t *topics = json_object_get(status, "topics");
    const json_t *groups = json_object_get(status, "groups");
    if (json_array_size(topics)) {
        putchar('\n');
        print_topics(topics, settings);
    }
    if (json_array_size(groups)) {
        putchar('\n');
        print_groups(groups, settings);
    }
    print_counters(json_object_get(status, "counters"));
}

static void print_topics_reply(const json_t *reply, const struct admin_settings *settings)
{
    print_topics(json_object_get(reply, "topics"), settings);
}

static void print_groups_reply(const json_t *reply, const struct admin_settings *settings)
{
    print_groups(json_object_get(reply, "groups"), settings);
}

/* Asks VERB and prints the answer, with PRINT or as it came. */
static int show(const struct admin_settings *settings, const char *verb,
                void (*print)(const json_t *reply, const struct admin_settings *settings))
{
    char request[64];
    char *reply = NULL;
    int64_t patience = settings->wait >= 0 ? settings->wait : 10000000;
    snprintf(request, sizeof(request), "{\"verb\":\"%s\"}", verb);
    int code = ask(settings, request, settings->wait, patience, &reply);
    if (code)
        return code;
    json_error_t error;
    json_t *object = json_loads(reply, 0, &error);
    if (settings->json) {
        puts(reply);
    } else if (object) {
        print(object, settings);
    } else {
        tell("the relay's answer is no JSON: line %d, column %d: %s", error.line, error.column, error.text);
        code = EXIT_FAILED;
    }
    json_decref(object);
    memory_release(reply);
    return code ? code : finish_output();
}

int admin_status(const struct admin_settings *settings)
{
    return show(settings, "status", print_status);
}

int admin_topics(const struct admin_settings *settings)
{
    return show(settings, "topics", print_topics_reply);
}

int admin_groups(const struct admin_settings *settings)
{
    return show(settings, "groups", print_groups_reply);
}

/* ---- waiting until a group has drained ------------------------------------------------------------------------ */

static int check_names(const struct admin_settings *settings)
{
    struct fault fault = {0};
    bool pattern;
    if (!settings->topic || !settings->group) {
        tell("wait for what? Give a topic and a group: mrelay wait -t TOPIC -g GROUP");
        return EXIT_USAGE;
    }
    enum mp_error error = name_check_pattern(settings->topic, strlen(settings->topic), &pattern, &fault);
    if (!error)
        error = name_check_group(settings->group, strlen(settings->group), &fault);
    return error ? tell_fault(&fault) : EXIT_DONE;
}

int admin_wait(const struct admin_settings *settings)
{
    int code = check_names(settings);
    int64_t until = settings->wait < 0 ? CLOCK_NEVER : clock_monotonic() + settings->wait;
    while (code == EXIT_DONE) {
        int64_t left = until == CLOCK_NEVER ? INT64_MAX : (until - clock_monotonic()) / 1000;
        int64_t poll = left < 0 ? 0 : left < DRAIN_POLL ? left : DRAIN_POLL;
        char request[2 * NAME_MAX_BYTES + 100];
        char *reply = NULL;
        snprintf(request, sizeof(request),
                 "{\"verb\":\"wait\",\"topic\":\"%s\",\"group\":\"%s\",\"wait_ms\":%" PRId64 "}", settings->topic,
                 settings->group, poll);
        code = ask(settings, request, -1, (poll + DRAIN_POLL) * 1000, &reply);
        if (code)
            break;
        json_t *object = json_loads(reply, 0, NULL);
        bool drained = json_is_true(json_object_get(object, "drained"));
        if (settings->json && (drained || left <= poll))
            puts(reply);
        json_decref(object);
        memory_release(reply);
        if (drained)
            return finish_output();
        if (left <= poll) {
            tell("group %s has not drained topic %s in time (--wait)", settings->group, settings->topic);
            code = EXIT_TIMEOUT;
        }
    }
    return code;
}

/* ---- relays --------------------------------------------------------------------------------------------------- */

static void print_name(void *context, const char *name)
{
    *(bool *)context = true;
    puts(name);
}

int admin_relays(const struct admin_settings *settings)
{
    (void)settings;
    bool any = false;
    address_running_relays(print_name, &any);
    int code = finish_output();
    if (code)
        return code;
    return any ? EXIT_DONE : EXIT_NO_RELAY;
}
