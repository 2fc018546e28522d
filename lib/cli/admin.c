/* mrelay's verbs that only wait or list, and which way `topics` and `groups` go. */
#include "cli/admin_ask.h"

#include "base/clock.h"
#include "cli/exit.h"
#include "message/names.h"
#include "transport/address.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DRAIN_POLL = 10000 }; /* milliseconds that one `wait` request may take in the relay */

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
    bool drained = false;
    while (code == EXIT_DONE && !drained) {
        int64_t left = until == CLOCK_NEVER ? INT64_MAX : (until - clock_monotonic()) / 1000;
        int64_t poll = left < 0 ? 0 : left < DRAIN_POLL ? left : DRAIN_POLL;
        json_t *answer;
        code = admin_ask(settings,
                         json_pack("{s:s, s:s, s:s, s:I}", "verb", "wait", "topic", settings->topic, "group",
                                   settings->group, "wait_ms", (json_int_t)poll),
                         -1, (poll + DRAIN_POLL) * 1000, &answer);
        if (code)
            break;
        drained = json_is_true(json_object_get(answer, "drained"));
        if (settings->json && (drained || left <= poll))
            admin_print_json(answer);
        json_decref(answer);
        if (!drained && left <= poll) {
            tell("group %s has not drained topic %s in time (--wait)", settings->group, settings->topic);
            code = EXIT_TIMEOUT;
        }
    }
    return code ? code : admin_finish();
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
    int code = admin_finish();
    if (code)
        return code;
    return any ? EXIT_DONE : EXIT_NO_RELAY;
}

/* ---- topics and groups ---------------------------------------------------------------------------------------- */

struct action {
    const char *name;
    int (*run)(const struct admin_settings *settings);
};

enum { ACTIONS_MOST = 3 };

/* Runs what the first operand names, one of ACTIONS of VERB, which end with one without a name; without operands LIST. */
static int dispatch(const struct admin_settings *settings, const char *verb, const struct action *actions,
                    int (*list)(const struct admin_settings *settings))
{
    if (!settings->operands_count)
        return list(settings);
    struct admin_settings rest = *settings;
    const char *word = *rest.operands++;
    const char *words[ACTIONS_MOST];
    size_t count = 0;
    rest.operands_count--;
    for (; count < ACTIONS_MOST && actions[count].name; count++) {
        words[count] = actions[count].name;
        if (!strcmp(word, words[count]))
            return actions[count].run(&rest);
    }
    const char *near = name_nearest(word, words, count);
    if (near)
        tell("there is no command '%s %s': did you mean %s %s?", verb, word, verb, near);
    else
        tell("there is no command '%s %s': %s alone lists them, a name is given with -t", verb, word, verb);
    return EXIT_USAGE;
}

int admin_topics(const struct admin_settings *settings)
{
    static const struct action actions[] = {
        {"purge", admin_purge_topic}, {"delete", admin_delete_topic}, {"repair", admin_repair_topic}, {0}};
    return dispatch(settings, "topics", actions, admin_list_topics);
}

int admin_groups(const struct admin_settings *settings)
{
    static const struct action actions[] = {{"seek", admin_seek_group}, {"delete", admin_delete_group}, {0}};
    return dispatch(settings, "groups", actions, admin_list_groups);
}
