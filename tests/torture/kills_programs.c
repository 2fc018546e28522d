#include "kills.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

const char *torture_role(enum role role)
{
    static const char *const names[] = {"relay", "producer", "consumer", "sender", "spooler",
                                        "mrecv", "mretry",   "runner",   "replay", "command"};
    return names[role];
}

void torture_end_all(struct torture *torture)
{
    for (unsigned i = 0; i < torture->programs_count; i++)
        if (torture->programs[i].pid > 0) {
            kill(torture->programs[i].pid, SIGKILL);
            waitpid(torture->programs[i].pid, NULL, 0);
            torture->programs[i].pid = 0;
        }
}

/* Who ends this program ends what it has started. */
static struct torture *running;

static void on_signal(int number)
{
    for (unsigned i = 0; i < running->programs_count; i++)
        if (running->programs[i].pid > 0)
            kill(running->programs[i].pid, SIGKILL);
    _exit(128 + number);
}

void torture_catch_signals(struct torture *torture)
{
    running = torture;
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
}

void torture_find(struct torture *torture, const char *what)
{
    enum { SHOWN = 30 };
    torture->red = true;
    if (++torture->sums.found <= SHOWN)
        printf("kills: %s; what is there to see is in %s\n", what, torture->folder);
}

_Noreturn void torture_give_up(struct torture *torture, const char *what)
{
    printf("kills: %s: this cannot go on; what is there to see is in %s\n", what, torture->folder);
    torture_end_all(torture);
    exit(1);
}

/* OUTPUT: the file in the folder to which its output is appended; errors go to one beside it. */
static pid_t spawn(struct torture *torture, char *const words[], const char *output)
{
    posix_spawn_file_actions_t actions;
    char path[PATH_BYTES + 40], errors[PATH_BYTES + 40];
    pid_t pid;
    snprintf(path, sizeof path, "%s/%s", torture->folder, output);
    snprintf(errors, sizeof errors, "%s/%s.err", torture->folder, output);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int error = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error) {
        errno = error;
        perror(words[0]);
        torture_give_up(torture, "a program cannot be started");
    }
    return pid;
}

void torture_tool(const struct torture *torture, char path[TOOL_BYTES], const char *name)
{
    snprintf(path, TOOL_BYTES, "%s%s%s", torture->tools, torture->tools[0] ? "/" : "", name);
}

static void start_relay(struct torture *torture, struct program *program, const char *log)
{
    char path[TOOL_BYTES];
    torture_tool(torture, path, "mrelay");
    if (torture->relay)
        snprintf(path, sizeof path, "%s", torture->relay);
    char *words[] = {path, "-r", "torture", "--lease", "3s", NULL};
    program->pid = spawn(torture, words, log);
    int64_t took = kill_await_relay(torture);
    if (took > torture->sums.longest_start)
        torture->sums.longest_start = took;
}

static void start_producer(struct torture *torture, struct program *program, char *history, const char *log)
{
    char path[PATH_BYTES + 16], features[400], rate[16];
    snprintf(path, sizeof path, "%s/producer", torture->here);
    snprintf(rate, sizeof rate, "%u", torture->rate);
    plan_features(program->number, features, sizeof features);
    char *words[] = {path, "torture", program->name, features, history, rate, NULL};
    program->pid = spawn(torture, words, log);
}

static void start_consumer(struct torture *torture, struct program *program, char *history, const char *log)
{
    char path[PATH_BYTES + 16], group[64], pattern[64], added[16];
    snprintf(path, sizeof path, "%s/consumer", torture->here);
    snprintf(group, sizeof group, "%s", program->group->name);
    snprintf(pattern, sizeof pattern, "%s", program->group->pattern);
    snprintf(added, sizeof added, "%s", program->group->added ? program->group->added : "");
    char *calm = torture->calm ? "calm" : NULL;
    char *words[] = {path, "torture", program->name, group, pattern, history, added, calm, NULL};
    program->pid = spawn(torture, words, log);
}

void torture_spool(const struct torture *torture, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/outbox", torture->folder);
}

static void start_sender(struct torture *torture, struct program *program, char *history, const char *log)
{
    char path[PATH_BYTES + 16], msend[TOOL_BYTES], rate[16], spool[PATH_BYTES];
    bool spools = program->role == SPOOLER;
    snprintf(path, sizeof path, "%s/sender", torture->here);
    snprintf(rate, sizeof rate, "%u", torture->lines);
    torture_tool(torture, msend, "msend");
    torture_spool(torture, spool);
    char *words[] = {
        path, msend, "torture", program->name, spools ? "spooled" : "tools.lines", history, rate, spools ? spool : NULL,
        NULL};
    program->pid = spawn(torture, words, log);
}

/* mrecv or mretry, which runs the taker for each message. */
static void start_tool(struct torture *torture, struct program *program, char *history, const char *log)
{
    char path[TOOL_BYTES], taker[TOOL_BYTES], topic[64], group[64];
    char *calm = torture->calm ? "calm" : NULL;
    snprintf(taker, sizeof taker, "%s/taker", torture->here);
    snprintf(topic, sizeof topic, "%s", program->group->pattern);
    snprintf(group, sizeof group, "%s", program->group->name);
    torture_tool(torture, path, torture_role(program->role));
    char *words[] = {path, "-r",     "torture",        "-t", topic, "-g",  group,   "--workers",
                     "2",  "--wait", TORTURE_PATIENCE, "--", taker, group, history, program->name,
                     calm, NULL};
    program->pid = spawn(torture, words, log);
}

static void start_runner(struct torture *torture, struct program *program, const char *log)
{
    char path[TOOL_BYTES], pipeline[PATH_BYTES];
    torture_tool(torture, path, "mrelay");
    pipe_path(torture, pipeline);
    char *words[] = {path, "run", "--stages-only", "-r", "torture", pipeline, NULL};
    program->pid = spawn(torture, words, log);
}

static void start_replay(struct torture *torture, struct program *program, const char *log)
{
    char path[TOOL_BYTES];
    torture_tool(torture, path, "mretry");
    char *words[] = {path,     "replay", "-r",     "torture",        "-t", program->topic, "--all",
                     "--rate", "1000/s", "--wait", TORTURE_PATIENCE, NULL};
    program->pid = spawn(torture, words, log);
}

void torture_start(struct torture *torture, struct program *program)
{
    char history[PATH_BYTES], log[NAME_BYTES];
    program->life++;
    program->start = 0;
    snprintf(log, sizeof log, "%s%u.log", torture_role(program->role), program->number);
    snprintf(program->name, sizeof program->name, "%s%u.%u", torture_role(program->role), program->number,
             program->life);
    snprintf(history, sizeof history, "%s/%s", torture->histories, program->name);
    switch (program->role) {
    case RELAY:
        start_relay(torture, program, log);
        break;
    case PRODUCER:
        start_producer(torture, program, history, log);
        break;
    case CONSUMER:
        start_consumer(torture, program, history, log);
        break;
    case SENDER:
    case SPOOLER:
        start_sender(torture, program, history, log);
        break;
    case RUNNER:
        start_runner(torture, program, log);
        break;
    case REPLAY:
        start_replay(torture, program, log);
        break;
    default:
        start_tool(torture, program, history, log);
    }
}

struct program *torture_add(struct torture *torture, enum role role, unsigned number, const struct plan_group *group)
{
    if (torture->programs_count == PROGRAMS_MAX)
        torture_give_up(torture, "too many programs");
    struct program *program = &torture->programs[torture->programs_count++];
    *program = (struct program){.role = role, .number = number, .group = group, .ends = role == REPLAY};
    if (role != REPLAY)
        torture_start(torture, program);
    return program;
}

int torture_end_of(struct torture *torture, struct program *program)
{
    int status;
    int64_t end = history_now() + (int64_t)torture->patience * 1000000;
    while (waitpid(program->pid, &status, WNOHANG) != program->pid) {
        poll(NULL, 0, 2);
        torture_check_all(torture); /* it may wait for a relay */
        if (history_now() > end)
            kill(program->pid, SIGKILL);
    }
    program->pid = 0;
    return status;
}

int torture_wait_for(struct program *program)
{
    int status = 0;
    while (waitpid(program->pid, &status, 0) < 0 && errno == EINTR)
        ;
    program->pid = 0;
    return status;
}

int torture_run(struct torture *torture, char *const words[], const char *output)
{
    int status;
    pid_t pid = spawn(torture, words, output);
    int64_t end = history_now() + (int64_t)torture->patience * 1000000;
    while (waitpid(pid, &status, WNOHANG) != pid) {
        poll(NULL, 0, 3); /* its end is looked for, beside that of the others */
        torture_check_all(torture);
        if (history_now() > end)
            kill(pid, SIGKILL);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Programs end only when they are told, or of a message that kills: whoever else is gone has failed. */
static void check_program(struct torture *torture, struct program *program)
{
    int status;
    char text[120];
    if (program->pid == 0 || program->ends || waitpid(program->pid, &status, WNOHANG) != program->pid)
        return;
    program->pid = 0;
    program->start = history_now();
    if (program->role == CONSUMER && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        torture->sums.died++;
        history_write(torture->history, "kill", "%s -", program->name);
        return;
    }
    snprintf(text, sizeof text, "%s has ended by itself, with status %d", program->name, status);
    torture_find(torture, text);
    program->start += 200000;
}

void torture_check_all(struct torture *torture)
{
    for (unsigned i = 0; i < torture->programs_count; i++) {
        struct program *program = &torture->programs[i];
        check_program(torture, program);
        if (program->start > 0 && program->start <= history_now())
            torture_start(torture, program);
    }
}

void torture_tell(struct torture *torture, enum role role)
{
    char text[120];
    for (unsigned i = 0; i < torture->programs_count; i++) {
        if (torture->programs[i].role != role)
            continue;
        torture->programs[i].start = 0;
        torture->programs[i].ends = true;
        if (torture->programs[i].pid > 0)
            kill(torture->programs[i].pid, SIGTERM);
    }
    for (unsigned i = 0; i < torture->programs_count; i++) {
        if (torture->programs[i].role != role || torture->programs[i].pid == 0)
            continue;
        int status = torture_end_of(torture, &torture->programs[i]);
        /* The tools tidy up and die by the signal; so does what was started a moment ago and has not got to catching it. */
        bool by_signal = WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;
        snprintf(text, sizeof text, "%s did not end well when it was told to: status %d", torture->programs[i].name,
                 status);
        if (status != 0 && !by_signal)
            torture_find(torture, text);
    }
}
