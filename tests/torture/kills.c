/*
 * kills: a relay, producers and consumers under load, killed with SIGKILL at random moments; the checker accounts for
 * every message at the end.
 *
 *     kills [--kills N] [--seed S] [--producers N] [--consumers N] [--rate N] [--keep] [--tools DIRECTORY]
 *
 * --tools: where mrelay, msend and mrecv are (default: in $PATH); the other programs stand beside this one. Everything is
 * in a new temporary folder, which is kept when something is wrong, or with --keep. Prints the checker's findings and
 * the longest time until a killed relay served again. Exits 0, 1 when something is wrong, 64, or 71.
 */
#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { PROGRAMS_MAX = 64, PATH_BYTES = 512 };

enum role { RELAY, PRODUCER, CONSUMER, SENDER, MRECV, ROLES };
static const char *const role_names[] = {"relay", "producer", "consumer", "sender", "mrecv"};

struct program {
    enum role role;
    unsigned number; /* among those of its role */
    unsigned life;   /* how often it was started */
    pid_t pid;       /* 0: it does not run */
};

struct torture {
    unsigned kills, producers, consumers, rate;
    bool keep;
    uint64_t random;
    char folder[PATH_BYTES / 2], here[PATH_BYTES], tools[PATH_BYTES];
    char histories[2][PATH_BYTES + 16]; /* of the library's programs, and of the tools */
    struct program programs[PROGRAMS_MAX];
    unsigned programs_count;
    unsigned killed[ROLES];
    int history[2];
    int64_t longest_start;
};

static uint32_t below(struct torture *torture, uint32_t limit)
{
    uint64_t mixed = (torture->random += UINT64_C(0x9e3779b97f4a7c15));
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((mixed ^ (mixed >> 31)) % limit);
}

/* ---- programs -------------------------------------------------------------------------------------------------- */

static void end_all(struct torture *torture)
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

static _Noreturn void give_up(struct torture *torture, const char *what)
{
    printf("kills: %s; what is there to see is in %s\n", what, torture->folder);
    end_all(torture);
    exit(1);
}

static pid_t spawn(struct torture *torture, char *const words[], const char *log)
{
    posix_spawn_file_actions_t actions;
    char path[PATH_BYTES + 40];
    pid_t pid;
    snprintf(path, sizeof path, "%s/%s.log", torture->folder, log);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    int error = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error) {
        errno = error;
        perror(words[0]);
        give_up(torture, "a program cannot be started");
    }
    return pid;
}

/* The path of one of the tools. */
static void tool(const struct torture *torture, char path[PATH_BYTES + 16], const char *name)
{
    snprintf(path, PATH_BYTES + 16, "%s%s%s", torture->tools, torture->tools[0] ? "/" : "", name);
}

static void start(struct torture *torture, struct program *program)
{
    char path[PATH_BYTES + 16], name[32], group[16], history[PATH_BYTES + 64], rate[16], log[48];
    char taker[PATH_BYTES + 16];
    bool tools = program->role == SENDER || program->role == MRECV;
    program->life++;
    snprintf(name, sizeof name, "%c%u.%u", role_names[program->role][0], program->number, program->life);
    snprintf(history, sizeof history, "%s/%s", torture->histories[tools], name);
    snprintf(log, sizeof log, "%s%u", role_names[program->role], program->number);
    snprintf(rate, sizeof rate, "%u", torture->rate);
    snprintf(group, sizeof group, "group%u", program->number % 2);
    snprintf(taker, sizeof taker, "%s/taker", torture->here);
    if (program->role == RELAY) {
        tool(torture, path, "mrelay");
        char *words[] = {path, "-r", "torture", "--lease", "4s", NULL};
        program->pid = spawn(torture, words, log);
    } else if (program->role == PRODUCER) {
        snprintf(path, sizeof path, "%s/producer", torture->here);
        char *words[] = {path, "torture", name, "t.one,t.two,t.three", history, rate, NULL};
        program->pid = spawn(torture, words, log);
    } else if (program->role == CONSUMER) {
        snprintf(path, sizeof path, "%s/consumer", torture->here);
        char *words[] = {path, "torture", name, group, "t.*", history, NULL};
        program->pid = spawn(torture, words, log);
    } else if (program->role == SENDER) {
        char msend[PATH_BYTES + 16];
        snprintf(path, sizeof path, "%s/sender", torture->here);
        tool(torture, msend, "msend");
        char *words[] = {path, msend, "torture", name, "tools.lines", history, rate, NULL};
        program->pid = spawn(torture, words, log);
    } else {
        tool(torture, path, "mrecv");
        char *words[] = {path,        "-r", "torture", "-t",  "tools.lines", "-g",    "tools",
                         "--workers", "2",  "--",      taker, "tools",       history, NULL};
        program->pid = spawn(torture, words, log);
    }
}

static void add(struct torture *torture, enum role role, unsigned number)
{
    if (torture->programs_count == PROGRAMS_MAX)
        give_up(torture, "too many programs");
    struct program *program = &torture->programs[torture->programs_count++];
    *program = (struct program){.role = role, .number = number};
    start(torture, program);
}

static int wait_for(struct program *program)
{
    int status = 0;
    while (waitpid(program->pid, &status, 0) < 0 && errno == EINTR)
        ;
    program->pid = 0;
    return status;
}

/* Runs a tool to its end; its exit code. */
static int run(struct torture *torture, char *const words[], const char *log)
{
    struct program program = {.pid = spawn(torture, words, log)};
    int status = wait_for(&program);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Programs end only when they are told: whoever is gone by itself has failed. */
static void check_all(struct torture *torture)
{
    for (unsigned i = 0; i < torture->programs_count; i++) {
        struct program *program = &torture->programs[i];
        int status;
        char text[120];
        if (program->pid == 0 || waitpid(program->pid, &status, WNOHANG) != program->pid)
            continue;
        program->pid = 0;
        snprintf(text, sizeof text, "%s %u has ended by itself, with status %d", role_names[program->role],
                 program->number, status);
        give_up(torture, text);
    }
}

/* ---- the torture ----------------------------------------------------------------------------------------------- */

static int ask_status(struct torture *torture)
{
    char path[PATH_BYTES + 16];
    tool(torture, path, "mrelay");
    char *words[] = {path, "status", "-r", "torture", "--wait", "10s", NULL};
    return run(torture, words, "status");
}

static void kill_one(struct torture *torture)
{
    /* The relay three times out of ten: all others feel that. */
    struct program *program = &torture->programs[0];
    if (below(torture, 10) >= 3)
        program = &torture->programs[1 + below(torture, torture->programs_count - 1)];
    for (unsigned i = 0; i < 2; i++)
        history_write(torture->history[i], "kill", "%s%u", role_names[program->role], program->number);
    kill(program->pid, SIGKILL);
    wait_for(program);
    torture->killed[program->role]++;
    if (below(torture, 4) == 0)
        poll(NULL, 0, (int)below(torture, 300)); /* for a while nobody is there */
    int64_t began = history_now();
    start(torture, program);
    if (program->role != RELAY)
        return;
    if (ask_status(torture) != 0)
        give_up(torture, "the relay does not serve again");
    if (history_now() - began > torture->longest_start)
        torture->longest_start = history_now() - began;
}

static void tell(struct torture *torture, enum role role)
{
    for (unsigned i = 0; i < torture->programs_count; i++)
        if (torture->programs[i].role == role)
            kill(torture->programs[i].pid, SIGTERM);
    for (unsigned i = 0; i < torture->programs_count; i++) {
        if (torture->programs[i].role != role)
            continue;
        int status = wait_for(&torture->programs[i]);
        /* mrecv tidies up and dies by the signal; so does what was started a moment ago and has not got to catching it. */
        bool by_signal = WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM;
        if (status != 0 && !by_signal)
            give_up(torture, "a program did not end well when it was told to");
    }
}

static const char *const groups[][2] = {{"group0", "t.*"}, {"group1", "t.*"}, {"tools", "tools.lines"}};
enum { GROUPS = sizeof groups / sizeof *groups };

/* Groups that are there before the messages see all of them: what the others have settled is gone for later ones. */
static void make_groups(struct torture *torture)
{
    char path[PATH_BYTES + 16], group[16], topic[16];
    tool(torture, path, "mrecv");
    for (unsigned i = 0; i < GROUPS; i++) {
        snprintf(group, sizeof group, "%s", groups[i][0]);
        snprintf(topic, sizeof topic, "%s", groups[i][1]);
        char *words[] = {path, "-r", "torture", "-t", topic, "-g", group, "-e", NULL};
        if (run(torture, words, "groups") != 0)
            give_up(torture, "a group could not be made");
    }
}

/* Producers end, groups work off what is there, consumers and the relay end. */
static void wind_up(struct torture *torture)
{
    char path[PATH_BYTES + 16], group[16], topic[16];
    tool(torture, path, "mrelay");
    tell(torture, PRODUCER);
    tell(torture, SENDER);
    for (unsigned i = 0; i < GROUPS; i++) {
        snprintf(group, sizeof group, "%s", groups[i][0]);
        snprintf(topic, sizeof topic, "%s", groups[i][1]);
        char *words[] = {path, "wait", "-r", "torture", "-t", topic, "-g", group, "--wait", "120s", NULL};
        if (run(torture, words, "wait") != 0)
            give_up(torture, "a group did not work off its topics");
    }
    tell(torture, CONSUMER);
    tell(torture, MRECV);
    tell(torture, RELAY);
}

static int check_histories(struct torture *torture)
{
    char command[4 * PATH_BYTES];
    int worst = 0;
    for (unsigned i = 0; i < 2; i++) {
        snprintf(command, sizeof command, "'%s/checker' --groups %u '%s'/*", torture->here, i ? 1 : 2,
                 torture->histories[i]);
        printf("%s: ", i ? "msend and mrecv" : "libmsgpipe");
        fflush(stdout);
        int status = system(command);
        worst |= WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }
    return worst;
}

static void remove_folder(const struct torture *torture)
{
    char command[2 * PATH_BYTES];
    snprintf(command, sizeof command, "rm -rf '%s'", torture->folder);
    if (system(command) != 0)
        printf("kills: %s stays\n", torture->folder);
}

static void prepare(struct torture *torture)
{
    const char *place = getenv("TMPDIR");
    char file[PATH_BYTES + 32];
    snprintf(torture->folder, sizeof torture->folder, "%.200s/msgpipe-kills.XXXXXX", place ? place : "/tmp");
    if (!mkdtemp(torture->folder)) {
        perror(torture->folder);
        exit(71);
    }
    snprintf(torture->histories[0], sizeof torture->histories[0], "%s/library", torture->folder);
    snprintf(torture->histories[1], sizeof torture->histories[1], "%s/tools", torture->folder);
    char command[4 * PATH_BYTES];
    snprintf(command, sizeof command, "mkdir -m 700 '%s' '%s' '%s/run' '%s/state'", torture->histories[0],
             torture->histories[1], torture->folder, torture->folder);
    if (system(command) != 0)
        exit(71);
    snprintf(file, sizeof file, "%s/run", torture->folder);
    setenv("XDG_RUNTIME_DIR", file, 1);
    snprintf(file, sizeof file, "%s/state", torture->folder);
    setenv("XDG_STATE_HOME", file, 1);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(file, sizeof file, "%s/kills", torture->histories[i]);
        torture->history[i] = history_open(file);
    }
}

static void read_options(struct torture *torture, int argc, char **argv)
{
    static const struct option options[] = {
        {"kills", required_argument, NULL, 'k'},     {"seed", required_argument, NULL, 's'},
        {"producers", required_argument, NULL, 'p'}, {"consumers", required_argument, NULL, 'c'},
        {"rate", required_argument, NULL, 'r'},      {"keep", no_argument, NULL, 'K'},
        {"tools", required_argument, NULL, 't'},     {NULL, 0, NULL, 0}};
    int letter;
    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        unsigned long number = optarg ? strtoul(optarg, NULL, 10) : 0;
        switch (letter) {
        case 'k':
            torture->kills = (unsigned)number;
            break;
        case 's':
            torture->random = number;
            break;
        case 'p':
            torture->producers = (unsigned)number;
            break;
        case 'c':
            torture->consumers = (unsigned)number;
            break;
        case 'r':
            torture->rate = (unsigned)number;
            break;
        case 'K':
            torture->keep = true;
            break;
        case 't':
            snprintf(torture->tools, sizeof torture->tools, "%s", optarg);
            break;
        default:
            exit(64);
        }
    }
}

int main(int argc, char **argv)
{
    struct torture torture = {
        .kills = 200, .producers = 4, .consumers = 4, .rate = 400, .random = (uint64_t)history_now()};
    char self[PATH_BYTES];
    snprintf(self, sizeof self, "%s", argv[0]);
    snprintf(torture.here, sizeof torture.here, "%s", dirname(self));
    read_options(&torture, argc, argv);
    printf("kills: %u kills, seed %" PRIu64 "\n", torture.kills, torture.random);
    prepare(&torture);
    running = &torture;
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    int64_t began = history_now();
    add(&torture, RELAY, 0);
    if (ask_status(&torture) != 0)
        give_up(&torture, "the relay does not serve");
    make_groups(&torture);
    for (unsigned i = 0; i < torture.consumers; i++)
        add(&torture, CONSUMER, i);
    for (unsigned i = 0; i < torture.producers; i++)
        add(&torture, PRODUCER, i);
    for (unsigned i = 0; i < 2; i++)
        add(&torture, MRECV, i);
    add(&torture, SENDER, 0);
    for (unsigned i = 0; i < torture.kills; i++) {
        poll(NULL, 0, (int)(30 + below(&torture, 350))); /* the moment of a kill is chance */
        check_all(&torture);
        kill_one(&torture);
    }
    wind_up(&torture);
    int status = check_histories(&torture);
    printf(
        "kills: killed %u relays, %u producers, %u consumers, %u pipes into msend, %u mrecv in %.1f s; a relay served "
        "again within %" PRId64 " ms\n",
        torture.killed[RELAY], torture.killed[PRODUCER], torture.killed[CONSUMER], torture.killed[SENDER],
        torture.killed[MRECV], (double)(history_now() - began) / 1e6, torture.longest_start / 1000);
    if (status != 0 || torture.keep)
        printf("kills: the histories are in %s\n", torture.folder);
    else
        remove_folder(&torture);
    return status;
}
