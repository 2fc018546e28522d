#include "kills.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { LETTERS_MAX = 32 };

/* The end of a round takes its patience in all; when it is used up, what has not come to an end by itself gets a second. */
static int64_t patience(const struct torture *torture)
{
    int64_t least = history_now() + 1000000;
    return torture->over > least ? torture->over : least;
}

static int64_t number_of(json_t *object, const char *name)
{
    return (int64_t)json_integer_value(json_object_get(object, name));
}

static int by_name(const void *one, const void *other)
{
    return strcmp(one, other);
}

/* The topics of dead letters, by name: those of topics with a limit, t.three and tools.lines, are of the second half. */
static unsigned letter_topics(struct torture *torture, char names[LETTERS_MAX][128])
{
    json_t *topics = plan_list(torture, "topics"), *topic;
    unsigned count = 0;
    size_t i;
    json_array_foreach(topics, i, topic)
    {
        if (json_is_true(json_object_get(topic, "letters")) && count < LETTERS_MAX)
            snprintf(names[count++], 128, "%s", json_string_value(json_object_get(topic, "name")));
    }
    json_decref(topics);
    qsort(names, count, sizeof names[0], by_name);
    return count;
}

/* How many messages are not settled by group NAME on TOPIC (NULL: on any; leased ones alone). */
static int64_t count_open(struct torture *torture, const char *name, const char *topic)
{
    json_t *groups = plan_list(torture, "groups"), *group;
    int64_t count = 0;
    size_t i;
    json_array_foreach(groups, i, group)
    {
        if (strcmp(json_string_value(json_object_get(group, "group")), name) != 0)
            continue;
        if (!topic)
            count += number_of(group, "leased");
        else if (strcmp(json_string_value(json_object_get(group, "topic")), topic) == 0)
            count += number_of(group, "waiting") + number_of(group, "leased") + number_of(group, "delayed");
    }
    json_decref(groups);
    return count;
}

/* Waits until nobody has messages of a group of the plan. */
static void wait_for_leases(struct torture *torture)
{
    int64_t end = patience(torture);
    for (unsigned i = 0; i < plan_groups_count; i++)
        while (count_open(torture, plan_groups[i].name, NULL) > 0) {
            if (history_now() > end) {
                torture_find(torture, "messages stay with consumers that are no more");
                return;
            }
            poll(NULL, 0, 50);
        }
}

/* Waits until what was delayed has its place. */
static void wait_for_schedule(struct torture *torture)
{
    int64_t end = patience(torture), scheduled;
    do {
        json_t *status = plan_ask(torture, "status");
        scheduled = number_of(status, "scheduled");
        json_decref(status);
        if (history_now() > end) {
            torture_find(torture, "delayed messages stay where they are");
            return;
        }
        if (scheduled > 0)
            poll(NULL, 0, 50);
    } while (scheduled > 0);
}

void end_wait_for_group(struct torture *torture, const char *name, const char *group_name)
{
    char path[TOOL_BYTES], group[64], topic[64], wait[24], text[120];
    torture_tool(torture, path, "mrelay");
    snprintf(group, sizeof group, "%s", group_name);
    snprintf(topic, sizeof topic, "%s", name);
    snprintf(wait, sizeof wait, "%" PRId64 "ms", (patience(torture) - history_now()) / 1000);
    char *words[] = {path, "wait", "-r", "torture", "-t", topic, "-g", group, "--wait", wait, NULL};
    snprintf(text, sizeof text, "group %s did not work off its topics", group);
    if (torture_run(torture, words, "wait") != 0)
        torture_find(torture, text);
    history_write(torture->history, "drained", "%s", group); /* what it has not got by now is lost */
}

static void wait_for_group(struct torture *torture, const struct plan_group *plan)
{
    end_wait_for_group(torture, plan->pattern, plan->name);
}

static bool holds(const struct plan_group *group)
{
    return strstr(group->rule, "hold") != NULL;
}

/* What the letters of TOPIC say becomes a history. */
static void read_letters(struct torture *torture, char *topic)
{
    char path[TOOL_BYTES];
    torture_tool(torture, path, "mrecv");
    char *words[] = {
        path,         "-r",
        "torture",    "-t",
        topic,        "-e",
        "--template", "letter 1 %{deadgroup} %{deadtopic} %{deadoffset} %{deadreason} %{deadattempts} %{id} %{body}\\n",
        NULL};
    if (torture_run(torture, words, "histories/letters") != 0)
        torture_find(torture, "letters could not be read");
}

/* The replay of one topic's letters, or one of the others, is killed. */
static void kill_while_replaying(struct torture *torture, struct program *replay)
{
    poll(NULL, 0, (int)(5 + torture_below(torture, 2 * torture->pace))); /* the moment of a kill is chance */
    torture_check_all(torture);
    uint32_t chance = torture_below(torture, 10);
    struct program *victim = replay;
    if (chance < 3)
        victim = &torture->programs[0];
    else if (chance < 5)
        victim = &torture->programs[1 + torture_below(torture, torture->programs_count - 1)];
    kill_program(torture, victim);
}

/* Has the letters of TOPIC replayed; KILLS: so many times something is killed meanwhile. */
static void replay_topic(struct torture *torture, struct program *replay, const char *topic, unsigned kills)
{
    int64_t end = patience(torture);
    snprintf(replay->topic, sizeof replay->topic, "%s", topic);
    for (unsigned i = 0; i < kills; i++) {
        if (replay->pid == 0)
            torture_start(torture, replay);
        kill_while_replaying(torture, replay);
        int status;
        if (replay->pid > 0 && waitpid(replay->pid, &status, WNOHANG) == replay->pid)
            replay->pid = 0;
    }
    int status = replay->pid > 0 ? torture_end_of(torture, replay) : 0;
    if (WIFSIGNALED(status))
        torture_find(torture, "a replay does not end");
    while (count_open(torture, "mretry", topic) > 0) { /* a killed one's letters are with it until its leases end */
        char path[TOOL_BYTES], name[128];
        torture_tool(torture, path, "mretry");
        snprintf(name, sizeof name, "%s", topic);
        char *words[] = {path, "replay", "-r", "torture", "-t", name, "--all", "--wait", TORTURE_PATIENCE, NULL};
        torture_run(torture, words, "replay.log");
        if (history_now() > end) {
            torture_find(torture, "letters could not be replayed");
            return;
        }
        poll(NULL, 0, 50);
    }
}

static void replay_all(struct torture *torture)
{
    char topics[LETTERS_MAX][128];
    unsigned count = letter_topics(torture, topics), kills = torture->round / 8 + 3;
    for (unsigned i = 0; i < count; i++)
        read_letters(torture, topics[i]);
    struct program *replay = torture_add(torture, REPLAY, 0, NULL);
    for (unsigned i = 0; i < count; i++) {
        if (i == count / 2) { /* what was replayed until then is read from the disk */
            kill_program(torture, &torture->programs[0]);
            plan_add_members(torture, false);
            plan_add_members(torture, true);
        }
        replay_topic(torture, replay, topics[i], kills / count + (i < kills % count));
    }
    history_write(torture->history, "replayed", "%s", "all");
}

/* The relay's last words on all groups and topics. */
static void note_numbers(struct torture *torture)
{
    json_t *groups = plan_list(torture, "groups"), *topics = plan_list(torture, "topics"), *item;
    size_t i;
    json_array_foreach(groups, i, item)
    {
        const char *group = json_string_value(json_object_get(item, "group"));
        if (strcmp(group, "mretry") == 0)
            continue;
        history_write(
            torture->history, "state",
            "%s %s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64,
            json_string_value(json_object_get(item, "topic")), group,
            number_of(item, "waiting") + number_of(item, "leased") + number_of(item, "delayed"),
            number_of(item, "acked"), number_of(item, "dead"), number_of(item, "expired"), number_of(item, "dropped"),
            number_of(item, "duplicates"), number_of(item, "foreign"), number_of(item, "given_to"));
    }
    json_array_foreach(topics, i, item)
        history_write(torture->history, "kept", "%s %" PRId64, json_string_value(json_object_get(item, "name")),
                      number_of(item, "messages"));
    json_decref(groups);
    json_decref(topics);
}

void end_audit(struct torture *torture)
{
    char path[TOOL_BYTES];
    torture_tool(torture, path, "mtrace");
    char *words[] = {path, "audit", "-r", "torture", "--wait", TORTURE_PATIENCE, NULL};
    if (torture_run(torture, words, "audit") != 0)
        torture_find(torture, "the audit found something: see audit in the folder");
}

/* What died is replayed, and comes to consumers that fail nothing any more. */
static void replay(struct torture *torture)
{
    torture->calm = true;
    history_write(torture->history, "calm", "%s", "all");
    replay_all(torture);
    for (unsigned i = 0; i < plan_groups_count; i++)
        wait_for_group(torture, &plan_groups[i]);
}

/* What killed processes have left in the spool goes to the relay; others may be at it still, and are waited for. */
static void empty_spool(struct torture *torture)
{
    char path[TOOL_BYTES], spool[PATH_BYTES];
    torture_tool(torture, path, "msend");
    torture_spool(torture, spool);
    char *deliver[] = {path, "-r", "torture", "--spool", spool, "--wait", TORTURE_PATIENCE, NULL};
    if (torture_run(torture, deliver, "spool") != 0)
        torture_find(torture, "what is in the spool is not delivered");
}

static void tell_consumers(struct torture *torture)
{
    torture_tell(torture, CONSUMER);
    torture_tell(torture, MRECV);
    torture_tell(torture, MRETRY);
}

void end_wind_up(struct torture *torture)
{
    uint64_t found = torture->sums.found;
    torture->over = history_now() + (int64_t)torture->patience * 1000000;
    for (unsigned i = 0; i < plan_groups_count; i++)
        if (plan_groups[i].late)
            history_write(torture->history, "late", "%s", plan_groups[i].name);
    plan_add_members(torture, true);
    torture_tell(torture, PRODUCER);
    for (unsigned i = 0; i < plan_groups_count; i++)
        if (plan_groups[i].late)
            wait_for_group(torture, &plan_groups[i]);
    torture_tell(torture, SENDER);
    torture_tell(torture, SPOOLER);
    empty_spool(torture);
    wait_for_schedule(torture);
    pipe_drain(torture);
    for (unsigned i = 0; i < plan_groups_count; i++)
        if (!holds(&plan_groups[i]))
            wait_for_group(torture, &plan_groups[i]);
    tell_consumers(torture);
    wait_for_leases(torture);
    torture->programs_count = 1;        /* the relay */
    if (torture->sums.found == found) { /* else there is enough to look at */
        replay(torture);
        tell_consumers(torture);
    }
    note_numbers(torture);
    end_audit(torture);
    torture_tell(torture, RELAY);
    end_audit(torture);
}
