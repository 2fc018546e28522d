/* Changing what a running relay keeps: settings, groups, topics. */
#include "cli/admin_ask.h"

#include "base/memory.h"
#include "cli/confirm.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/table.h"
#include "message/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- names ---------------------------------------------------------------------------------------------------- */

struct names {
    const char *topic;
    const char *group;
};

/*
 * The topic (or pattern), and with GROUP the group: those of -t and -g, else the first operands. *USED is how many
 * operands that were. USAGE is what a right command line looks like.
 */
static int take_names(const struct admin_settings *settings, bool group, const char *usage, struct names *names,
                      size_t *used)
{
    struct fault fault = {0};
    bool pattern = false;
    *used = 0;
    *names = (struct names){.topic = settings->topic, .group = settings->group};
    if (!names->topic && *used < settings->operands_count)
        names->topic = settings->operands[(*used)++];
    if (group && !names->group && *used < settings->operands_count)
        names->group = settings->operands[(*used)++];
    if (!names->topic || (group && !names->group)) {
        tell("%s missing: mrelay %s",
             names->topic ? "the group is"
             : group      ? "the topic and the group are"
                          : "the topic is",
             usage);
        return EXIT_USAGE;
    }
    enum mp_error error = name_check_pattern(names->topic, strlen(names->topic), &pattern, &fault);
    if (!error && group)
        error = name_check_group(names->group, strlen(names->group), &fault);
    if (!error && pattern && !group)
        error = fault_set(&fault, MP_ERR_INVALID, "%s is a pattern: give one topic", names->topic);
    return error ? tell_fault(&fault) : EXIT_DONE;
}

/* The same when nothing may stand behind the names. */
static int take_only_names(const struct admin_settings *settings, bool group, const char *usage, struct names *names)
{
    size_t used;
    int code = take_names(settings, group, usage, names, &used);
    if (!code && used < settings->operands_count) {
        tell("'%s' is too much: mrelay %s", settings->operands[used], usage);
        return EXIT_USAGE;
    }
    return code;
}

/* A request of VERB about NAMES. NULL: no memory. */
static json_t *request_of(const char *verb, const struct names *names)
{
    json_t *request = json_pack("{s:s, s:s}", "verb", verb, "topic", names->topic);
    if (request && names->group)
        json_object_set_new(request, "group", json_string(names->group));
    return request;
}

/* Sends REQUEST; its answer is worth no words but with --json. */
static int do_quietly(const struct admin_settings *settings, json_t *request)
{
    json_t *answer;
    int code = admin_ask_soon(settings, request, &answer);
    if (code)
        return code;
    if (settings->json)
        admin_print_json(answer);
    json_decref(answer);
    return admin_finish();
}

/* ---- set ------------------------------------------------------------------------------------------------------ */

/* KEY=VALUE operands as an object. */
static int take_pairs(char *const *operands, size_t count, json_t *pairs)
{
    for (size_t i = 0; i < count; i++) {
        const char *equals = strchr(operands[i], '=');
        if (!equals || equals == operands[i]) {
            tell("'%s' is no setting: write KEY=VALUE, or KEY= for the default", operands[i]);
            return EXIT_USAGE;
        }
        char *key = memory_copy_text(operands[i], (size_t)(equals - operands[i]));
        bool twice = key && json_object_get(pairs, key);
        json_t *value = json_string(equals + 1);
        bool failed = !key || !value;
        if (failed)
            tell("'%.40s' is not UTF-8, or there is no memory", operands[i]);
        else if (twice)
            tell("%s is given twice", key);
        else
            failed = json_object_set(pairs, key, value) != 0;
        json_decref(value);
        memory_release(key);
        if (failed || twice)
            return EXIT_USAGE;
    }
    return EXIT_DONE;
}

static void print_settings(const json_t *answer)
{
    static const char *const headings[] = {"SETTING", "VALUE", "DEFAULT", NULL};
    struct table table = table_of(headings);
    const json_t *defaults = json_object_get(answer, "defaults");
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(answer, "settings"), key, value)
    {
        const char *text = json_string_value(value);
        table_add(&table, "%s", key);
        table_add(&table, "%s", text ? text : "");
        table_add(&table, "%s", admin_string(defaults, key));
    }
    table_print(&table);
    table_free(&table);
}

static int show_settings(const struct admin_settings *settings, const struct names *names)
{
    json_t *answer;
    int code = admin_ask_soon(settings, request_of("settings", names), &answer);
    if (code)
        return code;
    if (settings->json)
        admin_print_json(answer);
    else
        print_settings(answer);
    json_decref(answer);
    return admin_finish();
}

/* A name that was wrong makes a topic of its own: say that it was made. */
static void tell_made(const json_t *answer, const struct names *names)
{
    const char *near = admin_string(answer, "nearest");
    if (!json_is_true(json_object_get(answer, "made")))
        return;
    if (names->group)
        tell("group %s on %s was not there and has been made", names->group, names->topic);
    else
        tell("topic %s was not there and has been made%s%s%s", names->topic, *near ? " (there is also " : "", near,
             *near ? ")" : "");
}

static int change_settings(const struct admin_settings *settings, const struct names *names, json_t *pairs)
{
    json_t *request = request_of("set", names);
    json_t *answer;
    if (request)
        json_object_set(request, "settings", pairs);
    int code = admin_ask_soon(settings, request, &answer);
    if (code)
        return code;
    tell_made(answer, names);
    if (settings->json)
        admin_print_json(answer);
    json_decref(answer);
    return admin_finish();
}

int admin_set(const struct admin_settings *settings)
{
    static const char topic_usage[] = "set topic TOPIC [KEY=VALUE]...";
    static const char group_usage[] = "set group TOPIC GROUP [KEY=VALUE]...";
    const char *words[] = {"topic", "group"};
    const char *word = settings->operands_count ? settings->operands[0] : "";
    bool group = !strcmp(word, "group");
    if (!group && strcmp(word, "topic") != 0) {
        const char *near = name_nearest(word, words, 2);
        if (near)
            tell("there is no command 'set %s': did you mean set %s?", word, near);
        else
            tell("set what? mrelay %s, or mrelay %s", topic_usage, group_usage);
        return EXIT_USAGE;
    }
    struct admin_settings rest = *settings;
    rest.operands++;
    rest.operands_count--;
    struct names names;
    size_t used;
    int code = take_names(&rest, group, group ? group_usage : topic_usage, &names, &used);
    if (!code && !group && names.group) {
        tell("-g does not go with a topic's settings: mrelay %s", group_usage);
        return EXIT_USAGE;
    }
    if (code)
        return code;
    if (used == rest.operands_count)
        return show_settings(settings, &names);
    json_t *pairs = json_object();
    code = take_pairs(rest.operands + used, rest.operands_count - used, pairs);
    if (!code)
        code = change_settings(settings, &names, pairs);
    json_decref(pairs);
    return code;
}

/* ---- groups --------------------------------------------------------------------------------------------------- */

int admin_seek_group(const struct admin_settings *settings)
{
    static const char usage[] = "groups seek TOPIC GROUP --from start|new|OFFSET|-COUNT|TIME|AGE";
    struct names names;
    int code = take_only_names(settings, true, usage, &names);
    if (code)
        return code;
    if (!settings->from) {
        tell("where to? mrelay %s", usage);
        return EXIT_USAGE;
    }
    json_t *request = request_of("seek", &names);
    if (request)
        json_object_set_new(request, "from", json_string(settings->from));
    if (request)
        json_object_set_new(request, "force", json_boolean(settings->force));
    return do_quietly(settings, request);
}

int admin_delete_group(const struct admin_settings *settings)
{
    struct names names;
    int code = take_only_names(settings, true, "groups delete TOPIC GROUP [--yes] [--force]", &names);
    /* It takes no messages with it: where nobody can be asked, it is done. */
    bool asks = output_is_terminal(STDIN_FILENO) && output_is_terminal(STDERR_FILENO);
    if (!code && asks)
        code = confirm(settings->yes, "delete group %s on %s", names.group, names.topic);
    if (code)
        return code;
    json_t *request = request_of("delete", &names);
    if (request)
        json_object_set_new(request, "force", json_boolean(settings->force));
    return do_quietly(settings, request);
}

/* ---- topics --------------------------------------------------------------------------------------------------- */

/* What the relay says of the topic NAME, in *TOPIC, to be given back with json_decref(). */
static int find_topic(const struct admin_settings *settings, const char *name, json_t **topic)
{
    json_t *answer;
    int code = admin_ask_soon(settings, json_pack("{s:s}", "verb", "topics"), &answer);
    if (code)
        return code;
    const json_t *topics = json_object_get(answer, "topics");
    size_t index;
    json_t *item;
    *topic = NULL;
    json_array_foreach(topics, index, item)
    {
        if (!strcmp(admin_string(item, "name"), name))
            *topic = json_incref(item);
    }
    if (!*topic)
        code = admin_tell_no_topic(name, topics);
    json_decref(answer);
    return code;
}

/*
 * What was seen is what is purged: a message that comes while the question is answered stays, and the request can be
 * sent twice without harm.
 */
int admin_purge_topic(const struct admin_settings *settings)
{
    struct names names;
    json_t *topic;
    int code = take_only_names(settings, false, "topics purge TOPIC [--yes]", &names);
    if (!code)
        code = find_topic(settings, names.topic, &topic);
    if (code)
        return code;
    uint64_t end = admin_number(topic, "end");
    uint64_t messages = admin_number(topic, "messages");
    json_decref(topic);
    code = confirm(settings->yes, "drop the %" PRIu64 " messages of topic %s", messages, names.topic);
    if (code)
        return code;
    json_t *request = request_of("purge", &names);
    if (request)
        json_object_set_new(request, "below", json_integer((json_int_t)end));
    json_t *answer;
    if ((code = admin_ask_soon(settings, request, &answer)))
        return code;
    messages = admin_number(answer, "messages");
    if (settings->json)
        admin_print_json(answer);
    else
        tell("topic %s: %" PRIu64 " %s dropped", names.topic, messages,
             messages == 1 ? "message was" : "messages were");
    json_decref(answer);
    return admin_finish();
}

int admin_delete_topic(const struct admin_settings *settings)
{
    struct names names;
    json_t *topic;
    int code = take_only_names(settings, false, "topics delete TOPIC [--yes] [--force]", &names);
    if (!code)
        code = find_topic(settings, names.topic, &topic);
    if (code)
        return code;
    uint64_t messages = admin_number(topic, "messages");
    uint64_t groups = admin_number(topic, "groups");
    json_t *request = request_of("delete", &names);
    if (request)
        json_object_set_new(request, "force", json_boolean(settings->force));
    json_decref(topic);
    code = confirm(settings->yes, "delete topic %s with its %" PRIu64 " messages and %" PRIu64 " groups", names.topic,
                   messages, groups);
    if (!code)
        return do_quietly(settings, request);
    json_decref(request);
    return code;
}

/* How far a repair has come, and what it gave up. */
struct repair {
    uint64_t next, end;
    uint64_t messages;
};

/* One step of it: what that gives up is told. */
static int repair_on(const struct admin_settings *settings, const struct names *names, struct repair *repair)
{
    json_t *answer, *request = request_of("repair", names);
    if (request)
        json_object_set_new(request, "from", json_integer((json_int_t)repair->next));
    int code = admin_ask_soon(settings, request, &answer);
    if (code)
        return code;
    uint64_t first = admin_number(answer, "first"), count = admin_number(answer, "messages");
    if (count > 0)
        printf("%s: gave up offsets %" PRIu64 " to %" PRIu64 " (%" PRIu64 " messages); groups dropped %" PRIu64 "\n",
               names->topic, first, first + count - 1, count, admin_number(answer, "dropped"));
    repair->messages += count;
    repair->next = admin_number(answer, "next");
    repair->end = admin_number(answer, "end");
    json_decref(answer);
    return EXIT_DONE;
}

int admin_repair_topic(const struct admin_settings *settings)
{
    struct names names;
    json_t *topic;
    int code = take_only_names(settings, false, "topics repair TOPIC [--yes]", &names);
    if (!code)
        code = find_topic(settings, names.topic, &topic);
    if (code)
        return code;
    struct repair repair = {.end = 1};
    json_decref(topic);
    code = confirm(settings->yes, "give up what is damaged in topic %s", names.topic);
    while (!code && repair.next < repair.end)
        code = repair_on(settings, &names, &repair);
    if (!code && repair.messages == 0)
        tell("topic %s: nothing is damaged", names.topic);
    else if (!code)
        tell("topic %s: %" PRIu64 " %s given up", names.topic, repair.messages,
             repair.messages == 1 ? "message was" : "messages were");
    return code ? code : admin_finish();
}
