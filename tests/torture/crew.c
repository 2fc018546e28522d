#include "crew.h"

#include "history.h"

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { WORDS_MAX = 32 };

void crew_open(struct crew *crew, struct stand *stand, const char *program)
{
    char self[STAND_PATH], file[STAND_PATH + 16];
    *crew = (struct crew){.stand = stand};
    snprintf(self, sizeof self, "%s", program);
    snprintf(crew->here, sizeof crew->here, "%s", dirname(self));
    snprintf(crew->folder, sizeof crew->folder, "%s/histories", stand->folder);
    if (mkdir(crew->folder, 0700) != 0)
        stand_give_up(stand, "%s: %s", crew->folder, strerror(errno));
    snprintf(file, sizeof file, "%s/trial", crew->folder);
    crew->history = history_open(file);
}

/* ---- members --------------------------------------------------------------------------------------------------- */

static struct crew_member *add(struct crew *crew, const char *const prefix[], const char *program,
                               const char *const words[], struct crew_member *member)
{
    const char *argv[WORDS_MAX];
    char path[2 * STAND_PATH], log[64];
    unsigned count = 0;
    for (unsigned i = 0; prefix && prefix[i]; i++)
        argv[count++] = prefix[i];
    snprintf(path, sizeof path, "%s/%s", crew->here, program);
    argv[count++] = path;
    for (unsigned i = 0; words[i] && count < WORDS_MAX - 1; i++)
        argv[count++] = words[i];
    argv[count] = NULL;
    snprintf(log, sizeof log, "%s.log", member->name);
    member->pid = stand_start(crew->stand, argv, log);
    return member;
}

static struct crew_member *new_member(struct crew *crew, const char *name, const char *group)
{
    if (crew->count == CREW_MAX)
        stand_give_up(crew->stand, "the crew is too large");
    struct crew_member *member = &crew->members[crew->count++];
    *member = (struct crew_member){.pid = 0};
    snprintf(member->name, sizeof member->name, "%s", name);
    snprintf(member->group, sizeof member->group, "%s", group);
    snprintf(member->history, sizeof member->history, "%.400s/%s", crew->folder, name);
    return member;
}

struct crew_member *crew_produce(struct crew *crew, const char *const prefix[], const char *relay, const char *name,
                                 const char *topics, unsigned rate)
{
    struct crew_member *member = new_member(crew, name, "");
    char number[16];
    snprintf(number, sizeof number, "%u", rate);
    const char *const words[] = {relay, member->name, topics, member->history, number, NULL};
    return add(crew, prefix, "producer", words, member);
}

struct crew_member *crew_consume(struct crew *crew, const char *const prefix[], const char *relay, const char *name,
                                 const char *group, const char *pattern)
{
    struct crew_member *member = new_member(crew, name, group);
    const char *const words[] = {relay, member->name, group, pattern, member->history, "", NULL};
    return add(crew, prefix, "consumer", words, member);
}

void crew_make_group(struct crew *crew, const char *group, const char *pattern, const char *setting, const char *rule)
{
    struct stand *stand = crew->stand;
    const char *const make[] = {"mrecv", "-r", stand->relay_name, "-t", pattern, "-g", group, "-e", NULL};
    const char *const set[] = {"mrelay", "set", "-r", stand->relay_name, "group", pattern, group, setting, NULL};
    if (stand_run(stand, setting[0] ? set : make, "made") != 0)
        stand_give_up(stand, "group %s cannot be made", group);
    history_write(crew->history, "group", "%s %s %s", group, pattern, rule);
}

void crew_signal(struct crew *crew, const struct crew_member *member, int number)
{
    if (member->pid > 0 && kill(member->pid, number) != 0)
        stand_find(crew->stand, "%s cannot be sent a signal: %s", member->name, strerror(errno));
}

void crew_look(struct crew *crew)
{
    for (unsigned i = 0; i < crew->count; i++) {
        struct crew_member *member = &crew->members[i];
        int status;
        if (member->pid == 0 || waitpid(member->pid, &status, WNOHANG) != member->pid)
            continue;
        member->pid = 0;
        stand_find(crew->stand, "%s has ended by itself, with status %d", member->name, status);
    }
}

void crew_excuse(struct crew *crew, const struct crew_member *member, const char *event, bool charged)
{
    if (member->group[0])
        history_write(crew->history, event, "%s %s", member->name, charged ? member->group : "-");
}

/* ---- who goes on ----------------------------------------------------------------------------------------------- */

int64_t crew_confirmed(struct crew_member *member, int64_t time)
{
    const char *event = member->group[0] ? "acked" : "ok";
    char line[HISTORY_LINE], word[16];
    int64_t when, found = 0;
    FILE *file = fopen(member->history, "re");
    if (!file)
        return 0;
    fseek(file, member->read, SEEK_SET);
    while (!found && fgets(line, sizeof line, file) && strchr(line, '\n')) {
        if (sscanf(line, "%15s %" SCNd64, word, &when) == 2 && strcmp(word, event) == 0 && when > time)
            found = when;
        else
            member->read = ftell(file);
    }
    fclose(file);
    return found;
}

int64_t crew_await(struct crew *crew, struct crew_member *member, int64_t time, int64_t limit)
{
    int64_t when;
    while ((when = crew_confirmed(member, time)) == 0) {
        if (history_now() - time > limit)
            return -1;
        crew_look(crew);
        if (member->pid == 0)
            return -1;
        poll(NULL, 0, 5); /* a history tells nobody that it has grown */
    }
    return when - time;
}

unsigned crew_count(const struct crew_member *member, const char *event)
{
    char line[HISTORY_LINE];
    unsigned count = 0;
    size_t size = strlen(event);
    FILE *file = fopen(member->history, "re");
    while (file && fgets(line, sizeof line, file))
        count += strncmp(line, event, size) == 0 && line[size] == ' ';
    if (file)
        fclose(file);
    return count;
}

bool crew_is_at(const struct crew_member *member, const char *event)
{
    char tail[2 * HISTORY_LINE];
    FILE *file = fopen(member->history, "re");
    if (!file)
        return false;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    fseek(file, size > (long)sizeof tail - 1 ? -(long)sizeof tail + 1 : -size, SEEK_END);
    tail[fread(tail, 1, sizeof tail - 1, file)] = '\0';
    fclose(file);
    char *end = strrchr(tail, '\n');
    if (!end)
        return false;
    *end = '\0';
    const char *line = strrchr(tail, '\n');
    return strncmp(line ? line + 1 : tail, event, strlen(event)) == 0;
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

static void end_members(struct crew *crew, bool producers)
{
    for (unsigned i = 0; i < crew->count; i++)
        if (crew->members[i].pid > 0 && (crew->members[i].group[0] == '\0') == producers)
            kill(crew->members[i].pid, SIGTERM);
    for (unsigned i = 0; i < crew->count; i++) {
        struct crew_member *member = &crew->members[i];
        int status = 0;
        if (member->pid == 0 || (member->group[0] == '\0') != producers)
            continue;
        while (waitpid(member->pid, &status, 0) < 0 && errno == EINTR)
            ;
        member->pid = 0;
        /* What was started a moment ago has not got to catching it. */
        if (status != 0 && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM))
            stand_find(crew->stand, "%s did not end well: status %d", member->name, status);
    }
}

/* Waits until what was delayed has its place. */
static void await_schedule(struct crew *crew, unsigned patience)
{
    struct stand *stand = crew->stand;
    int64_t end = stand_now() + patience * INT64_C(1000000);
    while (stand_status(stand, "scheduled") > 0) {
        if (stand_now() > end) {
            stand_find(stand, "what was to come later stays where it is");
            return;
        }
        poll(NULL, 0, 50);
    }
}

/* Waits for each group that the trial has made. */
static void await_groups(struct crew *crew, unsigned patience)
{
    char path[STAND_PATH + 16], line[HISTORY_LINE], group[64], pattern[64], wait[24];
    struct stand *stand = crew->stand;
    snprintf(path, sizeof path, "%s/trial", crew->folder);
    snprintf(wait, sizeof wait, "%us", patience);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "group %*s %63s %63s", group, pattern) != 2)
            continue;
        const char *const words[] = {"mrelay", "wait", "-r", stand->relay_name, "-t", pattern, "-g", group,
                                     "--wait", wait,   NULL};
        if (stand_run(stand, words, "waited") != 0)
            stand_find(stand, "group %s does not work off what there is", group);
        else
            history_write(crew->history, "drained", "%s", group);
    }
    if (file)
        fclose(file);
}

static void check(struct crew *crew, char *counts, size_t size)
{
    char command[4 * STAND_PATH], line[HISTORY_LINE];
    snprintf(command, sizeof command, "'%s/checker' '%s'/* 2>&1", crew->here, crew->folder);
    FILE *output = popen(command, "re");
    counts[0] = '\0';
    while (output && fgets(line, sizeof line, output)) {
        line[strcspn(line, "\n")] = '\0';
        printf("%s: checker: %s\n", crew->stand->name, line);
        if (strstr(line, " sent: "))
            snprintf(counts, size, "%s", line);
    }
    char *groups = strstr(counts, " groups"); /* what follows is what was found */
    if (groups)
        groups[strlen(" groups")] = '\0';
    if (!output || pclose(output) != 0)
        stand_find(crew->stand, "the checker finds something");
}

void crew_wind_up(struct crew *crew, unsigned patience, char *counts, size_t size)
{
    struct stand *stand = crew->stand;
    const char *const audit[] = {"mtrace", "audit", "-r", stand->relay_name, NULL};
    crew_look(crew);
    end_members(crew, true);
    await_schedule(crew, patience);
    await_groups(crew, patience);
    end_members(crew, false);
    check(crew, counts, size);
    if (stand_run(stand, audit, "audit") != 0)
        stand_find(stand, "the audit finds something");
}
