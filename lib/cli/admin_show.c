/* What a running relay tells about itself: status, topics, groups. */
#include "cli/admin_pipeline.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/table.h"
#include "message/names.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WATCH_PAUSE = 1000 }; /* milliseconds between two looks of `status --watch` */

/* A group with messages that wait is abandoned when it has had no consumer for so long: microseconds. */
#define ABANDONED ((int64_t)86400 * 1000000)

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

/* ---- what is chosen ------------------------------------------------------------------------------------------- */

/* Whether NAME is the one, or matches the pattern, that was asked for. */
static bool is_wanted(const char *asked, const char *name)
{
    return !asked || name_matches(asked, name) || !strcmp(asked, name);
}

static bool is_wanted_topic(const json_t *topic, const struct admin_settings *settings)
{
    return is_wanted(settings->topic, admin_string(topic, "name"));
}

static bool is_wanted_group(const json_t *group, const struct admin_settings *settings)
{
    const char *pattern = admin_string(group, "pattern");
    bool topic = is_wanted(settings->topic, admin_string(group, "topic")) || !strcmp(settings->topic, pattern);
    return topic && is_wanted(settings->group, admin_string(group, "group"));
}

/* Orders objects by NAME, then by OTHER: the relay gives them as it finds them. */
static int compare(const json_t *one, const json_t *two, const char *name, const char *other)
{
    int order = strcmp(admin_string(one, name), admin_string(two, name));
    return order ? order : strcmp(admin_string(one, other), admin_string(two, other));
}

static int compare_topics(const void *one, const void *two)
{
    return compare(*(json_t *const *)one, *(json_t *const *)two, "name", "name");
}

static int compare_groups(const void *one, const void *two)
{
    return compare(*(json_t *const *)one, *(json_t *const *)two, "topic", "group");
}

/*
 * The objects of ANSWER's array KEY that are wanted, in order: a new array, which also takes the old one's place.
 * NULL: no memory.
 */
static json_t *choose(json_t *answer, const char *key, const struct admin_settings *settings,
                      bool (*is_chosen)(const json_t *object, const struct admin_settings *settings),
                      int (*order)(const void *one, const void *two))
{
    const json_t *all = json_object_get(answer, key);
    size_t size = json_array_size(all);
    json_t **objects = memory_allocate_array(size + 1, sizeof(json_t *));
    json_t *chosen = json_array();
    size_t count = 0;
    for (size_t i = 0; objects && i < size; i++) {
        json_t *object = json_array_get(all, i);
        if (is_chosen(object, settings))
            objects[count++] = object;
    }
    if (objects && chosen)
        qsort(objects, count, sizeof(json_t *), order);
    bool failed = !objects || !chosen;
    for (size_t i = 0; !failed && i < count; i++)
        failed = json_array_append(chosen, objects[i]) != 0;
    memory_release(objects);
    if (!failed && json_object_set_new(answer, key, chosen) == 0)
        return chosen;
    if (failed)
        json_decref(chosen);
    tell("there is not enough memory to list them");
    return NULL;
}

/* ---- tables --------------------------------------------------------------------------------------------------- */

static uint64_t total_of(const json_t *counts)
{
    uint64_t total = 0;
    const char *reason;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)counts, reason, value)
    {
        total += (uint64_t)json_integer_value(value);
    }
    return total;
}

static void print_topics(const json_t *topics)
{
    static const char *const headings[] = {"TOPIC",   ">MESSAGES", ">FIRST",        ">END",
                                           ">GROUPS", ">DROPPED",  ">LAST MESSAGE", NULL};
    struct table table = table_of(headings);
    size_t index;
    const json_t *topic;
    json_array_foreach(topics, index, topic)
    {
        table_add(&table, "%s", admin_string(topic, "name"));
        add_count(&table, admin_number(topic, "messages"));
        add_count(&table, admin_number(topic, "first"));
        add_count(&table, admin_number(topic, "end"));
        add_count(&table, admin_number(topic, "groups"));
        add_count(&table, total_of(json_object_get(topic, "dropped")));
        add_age(&table, admin_number(topic, "last_time_us"));
    }
    table_print(&table);
    table_free(&table);
}

static void print_groups(const json_t *groups)
{
    static const char *const headings[] = {"TOPIC",  "GROUP", ">WAITING", ">LEASED", ">DELAYED",
                                           ">ACKED", ">DEAD", ">OLDEST",  NULL};
    struct table table = table_of(headings);
    size_t index;
    const json_t *group;
    json_array_foreach(groups, index, group)
    {
        table_add(&table, "%s", admin_string(group, "topic"));
        table_add(&table, "%s", admin_string(group, "group"));
        add_count(&table, admin_number(group, "waiting"));
        add_count(&table, admin_number(group, "leased"));
        add_count(&table, admin_number(group, "delayed"));
        add_count(&table, admin_number(group, "acked"));
        add_count(&table, admin_number(group, "dead"));
        add_age(&table, admin_number(group, "oldest_time_us"));
    }
    table_print(&table);
    table_free(&table);
}

/* What was dropped, by topic and reason. */
static void print_drops(const json_t *topics)
{
    static const char *const headings[] = {"TOPIC", "DROPPED BECAUSE", ">MESSAGES", NULL};
    struct table table = table_of(headings);
    size_t index;
    const json_t *topic;
    json_array_foreach(topics, index, topic)
    {
        const char *reason;
        json_t *value;
        json_object_foreach(json_object_get(topic, "dropped"), reason, value)
        {
            if (json_integer_value(value) <= 0)
                continue;
            table_add(&table, "%s", admin_string(topic, "name"));
            table_add(&table, "%s", reason);
            add_count(&table, (uint64_t)json_integer_value(value));
        }
    }
    if (table.rows) {
        putchar('\n');
        table_print(&table);
    }
    table_free(&table);
}

static void add_settings(struct table *table, const char *topic, const char *group, const json_t *settings)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)settings, key, value)
    {
        table_add(table, "%s", topic);
        table_add(table, "%s", group);
        table_add(table, "%s=%s", key, json_string_value(value) ? json_string_value(value) : "");
    }
}

/* What is not as it is without being set. A pattern's group has settings in one place, for all its topics. */
static void print_settings(const json_t *topics, const json_t *groups)
{
    static const char *const headings[] = {"TOPIC", "GROUP", "SETTING", NULL};
    struct table table = table_of(headings);
    json_t *told = json_object();
    size_t index;
    const json_t *item;
    json_array_foreach(topics, index, item)
    {
        add_settings(&table, admin_string(item, "name"), "-", json_object_get(item, "settings"));
    }
    json_array_foreach(groups, index, item)
    {
        const char *pattern = admin_string(item, "pattern");
        const char *group = admin_string(item, "group");
        char both[2 * NAME_MAX_BYTES + 2];
        snprintf(both, sizeof(both), "%s %s", pattern, group);
        if (*pattern && json_object_get(told, both))
            continue;
        if (*pattern)
            json_object_set_new(told, both, json_true());
        add_settings(&table, *pattern ? pattern : admin_string(item, "topic"), group,
                     json_object_get(item, "settings"));
    }
    if (table.rows) {
        putchar('\n');
        table_print(&table);
    }
    json_decref(told);
    table_free(&table);
}

/* Groups for which messages wait, and nobody has come for a day. */
static void print_abandoned(const json_t *groups)
{
    bool any = false;
    size_t index;
    const json_t *group;
    json_array_foreach(groups, index, group)
    {
        int64_t idle = clock_wall() - (int64_t)admin_number(group, "used_us");
        uint64_t waiting = admin_number(group, "waiting") + admin_number(group, "delayed");
        if (waiting == 0 || admin_number(group, "used_us") == 0 || json_is_true(json_object_get(group, "in_use")) ||
            idle < ABANDONED)
            continue;
        char age[24];
        units_duration_text(idle, age, sizeof(age));
        printf("%sabandoned  group %s on %s: no consumer for %s, and %" PRIu64 " messages wait: "
               "'mrelay groups delete %s %s' if nobody needs them\n",
               any ? "" : "\n", admin_string(group, "group"), admin_string(group, "topic"), age, waiting,
               admin_string(group, "topic"), admin_string(group, "group"));
        any = true;
    }
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* What waits for its time, and how long the next of it does. */
static void print_schedule(const json_t *status)
{
    uint64_t scheduled = admin_number(status, "scheduled");
    int64_t left = (int64_t)admin_number(status, "schedule_due_us") - clock_wall();
    char text[24];
    if (scheduled == 0)
        return;
    units_duration_text(left > 0 ? left : 0, text, sizeof(text));
    printf("scheduled  %" PRIu64 " message%s for later, the next in %s\n", scheduled, plural(scheduled), text);
}

static void print_relay(const json_t *status)
{
    char uptime[24];
    char size[24];
    const json_t *counters = json_object_get(status, "counters");
    uint64_t connections = admin_number(status, "connections");
    uint64_t sessions = admin_number(status, "sessions");
    units_duration_text((int64_t)admin_number(status, "uptime_us"), uptime, sizeof(uptime));
    units_size_text(admin_number(status, "store_bytes"), size, sizeof(size));
    printf("relay      %s (msgpipe %s), pid %" PRIu64 ", up %s\n", admin_string(status, "relay"),
           admin_string(status, "version"), admin_number(status, "pid"), uptime);
    printf("store      %s, %s\n", admin_string(status, "store"), size);
    size_t index;
    json_t *item;
    json_array_foreach(json_object_get(status, "listen"), index, item)
    {
        printf("%-9s  %s\n", index ? "" : "listening", json_string_value(item) ? json_string_value(item) : "");
    }
    if (*admin_string(status, "http"))
        printf("http       %s\n", admin_string(status, "http"));
    printf("clients    %" PRIu64 " connection%s, %" PRIu64 " session%s\n", connections, plural(connections), sessions,
           plural(sessions));
    printf("messages   %" PRIu64 " published, %" PRIu64 " delivered, %" PRIu64 " settled since the start\n",
           admin_number(counters, "published"), admin_number(counters, "delivered"), admin_number(counters, "settled"));
    print_schedule(status);
    if (*admin_string(status, "full"))
        printf("full       publications wait: %s\n", admin_string(status, "full"));
    if (*admin_string(status, "damaged"))
        printf("damaged    %s\n", admin_string(status, "damaged"));
    if (admin_number(counters, "undone") > 0)
        printf("trouble    %" PRIu64 " turn%s undone since the start, and sent again: the log says why\n",
               admin_number(counters, "undone"), plural(admin_number(counters, "undone")));
}

static void print_status(const json_t *status)
{
    const json_t *topics = json_object_get(status, "topics");
    const json_t *groups = json_object_get(status, "groups");
    print_relay(status);
    admin_print_pipeline(status);
    if (json_array_size(topics)) {
        putchar('\n');
        print_topics(topics);
    }
    if (json_array_size(groups)) {
        putchar('\n');
        print_groups(groups);
    }
    print_drops(topics);
    print_settings(topics, groups);
    print_abandoned(groups);
}

static void print_names(const json_t *array, const char *key)
{
    size_t index;
    const json_t *item;
    json_array_foreach(array, index, item)
    {
        puts(admin_string(item, key));
    }
}

/* ---- verbs ---------------------------------------------------------------------------------------------------- */

int admin_tell_no_topic(const char *topic, const json_t *all)
{
    const char *near = admin_nearest(all, "name", topic);
    if (strpbrk(topic, "*>"))
        tell("no topic matches %s", topic);
    else
        tell("there is no topic %s%s%s%s", topic, near ? ": did you mean " : "", near ? near : "", near ? "?" : "");
    return EXIT_NO_INPUT;
}

static int tell_no_group(const struct admin_settings *settings, const json_t *all)
{
    const char *topic = settings->topic;
    const char *group = settings->group;
    const char *near = group ? admin_nearest(all, "group", group) : NULL;
    if (near && !strcmp(near, group))
        near = NULL; /* it is there, on another topic */
    if (!near && topic && !admin_has(all, "topic", topic))
        near = admin_nearest(all, "topic", topic);
    tell("there is no group%s%s%s%s%s%s%s", group ? " " : "", group ? group : "", topic ? " on " : "",
         topic ? topic : "", near ? ": did you mean " : "", near ? near : "", near ? "?" : "");
    return EXIT_NO_INPUT;
}

static int ask_verb(const struct admin_settings *settings, const char *verb, json_t **answer)
{
    return admin_ask_soon(settings, json_pack("{s:s}", "verb", verb), answer);
}

static int show_status(const struct admin_settings *settings)
{
    json_t *answer;
    int code = ask_verb(settings, "status", &answer);
    if (code)
        return code;
    struct screen screen;
    bool drawn = settings->watch && screen_begin(&screen);
    if (settings->json)
        admin_print_json(answer);
    else if (choose(answer, "topics", settings, is_wanted_topic, compare_topics) &&
             choose(answer, "groups", settings, is_wanted_group, compare_groups))
        print_status(answer);
    else
        code = EXIT_FAILED;
    json_decref(answer);
    if (drawn)
        screen_end(&screen);
    return code;
}

int admin_status(const struct admin_settings *settings)
{
    int code = show_status(settings);
    while (!code && settings->watch && fflush(stdout) == 0) {
        poll(NULL, 0, WATCH_PAUSE);
        if (!settings->json && !output_is_terminal(STDOUT_FILENO))
            putchar('\n');
        code = show_status(settings);
    }
    return code ? code : admin_finish();
}

int admin_list_topics(const struct admin_settings *settings)
{
    json_t *answer;
    int code = ask_verb(settings, "topics", &answer);
    if (code)
        return code;
    json_t *all = json_incref(json_object_get(answer, "topics"));
    const json_t *topics = choose(answer, "topics", settings, is_wanted_topic, compare_topics);
    if (!topics)
        code = EXIT_FAILED;
    else if (settings->json)
        admin_print_json(answer);
    else if (settings->topic && !json_array_size(topics))
        code = admin_tell_no_topic(settings->topic, all);
    else if (settings->names)
        print_names(topics, "name");
    else
        print_topics(topics);
    json_decref(all);
    json_decref(answer);
    return code ? code : admin_finish();
}

int admin_list_groups(const struct admin_settings *settings)
{
    json_t *answer;
    int code = ask_verb(settings, "groups", &answer);
    if (code)
        return code;
    json_t *all = json_incref(json_object_get(answer, "groups"));
    const json_t *groups = choose(answer, "groups", settings, is_wanted_group, compare_groups);
    if (!groups)
        code = EXIT_FAILED;
    else if (settings->json)
        admin_print_json(answer);
    else if ((settings->topic || settings->group) && !json_array_size(groups))
        code = tell_no_group(settings, all);
    else if (settings->names)
        print_names(groups, "group");
    else
        print_groups(groups);
    json_decref(all);
    json_decref(answer);
    return code ? code : admin_finish();
}
