#include "kills.h"

#include <stdio.h>
#include <string.h>

#define RETRIES "retry.max_retries=3 retry.initial_interval=50ms retry.max_interval=400ms"

const struct plan_topic plan_topics[] = {
    {"t.one", "f", "", ""},
    {"t.two", "fd", "", ""},
    {"t.three", "f", "max_messages=60", "max=60"},
    {"t.large", "sk", "", ""},
    {"deadly", "K", "", ""},
    {"keys", "kh", "", ""},
    {"once", "i", "dedupe.by=id", "window=600000"},
    {"often", "i", "dedupe.by=id dedupe.window=1500ms", "window=1500"},
    {"brief", "e", "ttl=2500ms", "ttl=2500"},
    {"tools.lines", NULL, "max_messages=100", "max=100"},
    {"spooled", NULL, "", ""},
    {"p.in", "pk", "", ""},
};
const unsigned plan_topics_count = sizeof plan_topics / sizeof *plan_topics;

const struct plan_group plan_groups[] = {
    {"late", "brief", "", "", CONSUMER, 1, true, NULL},
    {"brief", "brief", "", "", CONSUMER, 1, false, NULL},
    {"group0", "t.*", RETRIES, "retries=3", CONSUMER, 2, false, NULL},
    {"group1", "t.*", RETRIES " retry.backoff=linear", "retries=3", CONSUMER, 2, false, NULL},
    {"deadly", "deadly", "retry.max_retries=1 retry.initial_interval=50ms", "retries=1", CONSUMER, 2, false, NULL},
    {"ordered", "keys", RETRIES " order=key", "retries=3 order", CONSUMER, 2, false, NULL},
    {"held", "keys", RETRIES " order=key on_dead=hold", "retries=3 order hold", CONSUMER, 1, false, NULL},
    {"once", "once", "", "", CONSUMER, 1, false, NULL},
    {"often", "often", "", "", CONSUMER, 1, false, NULL},
    {"middle", "p.mid", "", "", CONSUMER, 1, false, "+e"},
    {"piped", "p.out", "", "", CONSUMER, 2, false, "+e+s+b"},
    {"spooled", "spooled", RETRIES, "retries=3", CONSUMER, 1, false, NULL},
    {"tools", "tools.lines", RETRIES, "retries=3", MRECV, 2, false, NULL},
    {"tried", "tools.lines", RETRIES, "retries=3", MRETRY, 1, false, NULL},
};
const unsigned plan_groups_count = sizeof plan_groups / sizeof *plan_groups;

/* mrelay set topic TOPIC SETTINGS, or group PATTERN GROUP SETTINGS, which makes them. */
static void set(struct torture *torture, const char *topic, const char *group, const char *settings)
{
    char path[TOOL_BYTES], names[2][128], text[256];
    char *words[24] = {path, "set", "-r", "torture", group ? "group" : "topic", names[0]}, *rest;
    unsigned count = 6;
    torture_tool(torture, path, "mrelay");
    snprintf(names[0], sizeof names[0], "%s", topic);
    if (group) {
        snprintf(names[1], sizeof names[1], "%s", group);
        words[count++] = names[1];
    }
    snprintf(text, sizeof text, "%s", settings);
    for (char *word = strtok_r(text, " ", &rest); word && count < 23; word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    if (torture_run(torture, words, "set") != 0)
        torture_give_up(torture, "a topic or a group could not be made");
}

/* Groups that are there before the messages see all of them: what the others have settled is gone for later ones. */
void plan_make(struct torture *torture)
{
    char path[TOOL_BYTES];
    torture_tool(torture, path, "mrecv");
    for (unsigned i = 0; i < plan_topics_count; i++) {
        const struct plan_topic *topic = &plan_topics[i];
        if (topic->settings[0])
            set(torture, topic->name, NULL, topic->settings);
        history_write(torture->history, "topic", "%s %s", topic->name, topic->rule);
    }
    for (unsigned i = 0; i < plan_groups_count; i++) {
        const struct plan_group *group = &plan_groups[i];
        char name[64], pattern[64];
        snprintf(name, sizeof name, "%s", group->name);
        snprintf(pattern, sizeof pattern, "%s", group->pattern);
        char *words[] = {path, "-r", "torture", "-t", pattern, "-g", name, "-e", NULL};
        if (group->settings[0])
            set(torture, group->pattern, group->name, group->settings);
        else if (torture_run(torture, words, "groups") != 0)
            torture_give_up(torture, "a group could not be made");
        history_write(torture->history, "group", "%s %s %s", group->name, group->pattern, group->rule);
    }
    pipe_make(torture);
}

/* A producer that meets a full topic waits: only the first one has topics with a limit, and others go on. */
void plan_features(unsigned producer, char *text, size_t size)
{
    size_t used = 0;
    for (unsigned i = 0; i < plan_topics_count; i++)
        if (plan_topics[i].features && used < size && (producer == 0 || !strstr(plan_topics[i].rule, "max=")))
            used += (size_t)snprintf(text + used, size - used, "%s%s:%s", used ? "," : "", plan_topics[i].name,
                                     plan_topics[i].features);
}

void plan_add_members(struct torture *torture, bool late)
{
    unsigned numbers[ROLES] = {0};
    for (unsigned i = 0; i < torture->programs_count; i++)
        numbers[torture->programs[i].role]++;
    for (unsigned i = 0; i < plan_groups_count; i++)
        for (unsigned member = 0; plan_groups[i].late == late && member < plan_groups[i].members; member++)
            torture_add(torture, plan_groups[i].role, numbers[plan_groups[i].role]++, &plan_groups[i]);
}

json_t *plan_ask(struct torture *torture, const char *verb)
{
    char path[TOOL_BYTES], word[32], file[PATH_BYTES];
    torture_tool(torture, path, "mrelay");
    snprintf(word, sizeof word, "%s", verb);
    char *words[] = {path, word, "-r", "torture", "--json", "--wait", TORTURE_PATIENCE, NULL};
    snprintf(file, sizeof file, "%s/answer", torture->folder);
    remove(file);
    if (torture_run(torture, words, "answer") != 0)
        torture_give_up(torture, "the relay does not answer");
    json_t *answer = json_load_file(file, 0, NULL);
    if (!json_is_object(answer))
        torture_give_up(torture, "the relay's answer is no JSON");
    return answer;
}

json_t *plan_list(struct torture *torture, const char *verb)
{
    json_t *answer = plan_ask(torture, verb), *list = json_incref(json_object_get(answer, verb));
    json_decref(answer);
    return list;
}

static const struct plan_topic *limited(const char *name)
{
    for (unsigned i = 0; name && i < plan_topics_count; i++)
        if (strcmp(plan_topics[i].name, name) == 0 && strstr(plan_topics[i].rule, "max="))
            return &plan_topics[i];
    return NULL;
}

void plan_note_depths(struct torture *torture)
{
    json_t *groups = plan_list(torture, "groups"), *group;
    size_t i;
    json_array_foreach(groups, i, group)
    {
        const char *topic = json_string_value(json_object_get(group, "topic"));
        json_int_t depth = json_integer_value(json_object_get(group, "waiting")) +
                           json_integer_value(json_object_get(group, "leased")) +
                           json_integer_value(json_object_get(group, "delayed"));
        if (limited(topic))
            history_write(torture->history, "depth", "%s %s %lld", topic,
                          json_string_value(json_object_get(group, "group")), (long long)depth);
    }
    json_decref(groups);
}
