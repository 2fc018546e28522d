/*
 * kills: a relay, producers and consumers under load, killed with SIGKILL at random moments, with retries, dead letters,
 * order by key, ids, times to live, delays and limits (kills_plan.c); then the dead letters are replayed, under kills as
 * well. The checker accounts for every message at the end.
 *
 *     kills [--kills N] [--seed S] [--producers N] [--rate N] [--keep] [--tools DIRECTORY]
 *
 * --tools: where mrelay, msend, mrecv and mretry are (default: in $PATH); the other programs stand beside this one.
 * Everything is in a new temporary folder, which is kept when something is wrong, or with --keep. Prints the checker's
 * findings and the longest time until a killed relay served again. Exits 0, 1 when something is wrong, 64, or 71.
 */
#include "kills.h"

#include <getopt.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

uint32_t torture_below(struct torture *torture, uint32_t limit)
{
    uint64_t mixed = (torture->random += UINT64_C(0x9e3779b97f4a7c15));
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((mixed ^ (mixed >> 31)) % limit);
}

static int ask_status(struct torture *torture)
{
    char path[TOOL_BYTES];
    torture_tool(torture, path, "mrelay");
    char *words[] = {path, "status", "-r", "torture", "--wait", TORTURE_PATIENCE, NULL};
    return torture_run(torture, words, "status");
}

void torture_kill(struct torture *torture, struct program *program)
{
    history_write(torture->history, "kill", "%s%u %s", torture_role(program->role), program->number,
                  program->group ? program->group->name : "-");
    kill(program->pid, SIGKILL);
    torture_wait_for(program);
    torture->killed[program->role]++;
    if (program->role == REPLAY)
        return;
    if (torture_below(torture, 4) == 0)
        poll(NULL, 0, (int)torture_below(torture, 300)); /* for a while nobody is there */
    int64_t began = history_now();
    torture_start(torture, program);
    if (program->role != RELAY)
        return;
    if (ask_status(torture) != 0)
        torture_give_up(torture, "the relay does not serve again");
    if (history_now() - began > torture->longest_start)
        torture->longest_start = history_now() - began;
}

/* The relay three times out of ten: all others feel that. */
static void kill_one(struct torture *torture)
{
    struct program *program = &torture->programs[0];
    if (torture_below(torture, 10) >= 3)
        program = &torture->programs[1 + torture_below(torture, torture->programs_count - 1)];
    torture_kill(torture, program);
}

static int check_histories(struct torture *torture)
{
    char command[4 * PATH_BYTES];
    snprintf(command, sizeof command, "'%s/checker' '%s'/*", torture->here, torture->histories);
    fflush(stdout);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
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
    char file[PATH_BYTES], command[4 * PATH_BYTES];
    snprintf(torture->folder, sizeof torture->folder, "%.200s/msgpipe-kills.XXXXXX", place ? place : "/tmp");
    if (!mkdtemp(torture->folder)) {
        perror(torture->folder);
        exit(71);
    }
    snprintf(torture->histories, sizeof torture->histories, "%s/histories", torture->folder);
    snprintf(command, sizeof command, "mkdir -m 700 '%s' '%s/run' '%s/state'", torture->histories, torture->folder,
             torture->folder);
    if (system(command) != 0)
        exit(71);
    snprintf(file, sizeof file, "%s/run", torture->folder);
    setenv("XDG_RUNTIME_DIR", file, 1);
    snprintf(file, sizeof file, "%s/state", torture->folder);
    setenv("XDG_STATE_HOME", file, 1);
    snprintf(file, sizeof file, "%s/kills", torture->histories);
    torture->history = history_open(file);
}

static void read_options(struct torture *torture, int argc, char **argv)
{
    static const struct option options[] = {{"kills", required_argument, NULL, 'k'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"producers", required_argument, NULL, 'p'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"keep", no_argument, NULL, 'K'},
                                            {"tools", required_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
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

static void load(struct torture *torture)
{
    for (unsigned i = 0; i < torture->producers; i++)
        torture_add(torture, PRODUCER, i, NULL);
    torture_add(torture, SENDER, 0, NULL);
    plan_add_members(torture, false);
    for (unsigned i = 0; i < torture->kills; i++) {
        poll(NULL, 0, (int)(30 + torture_below(torture, 350))); /* the moment of a kill is chance */
        torture_check_all(torture);
        kill_one(torture);
        if (i % 4 == 3)
            plan_note_depths(torture);
        if (i % 8 == 7)
            end_audit(torture); /* under load, and soon after a kill */
    }
}

int main(int argc, char **argv)
{
    struct torture torture = {.kills = 200, .producers = 3, .rate = 400, .random = (uint64_t)history_now()};
    char self[PATH_BYTES];
    snprintf(self, sizeof self, "%s", argv[0]);
    snprintf(torture.here, sizeof torture.here, "%s", dirname(self));
    read_options(&torture, argc, argv);
    printf("kills: %u kills, seed %" PRIu64 "\n", torture.kills, torture.random);
    prepare(&torture);
    torture_catch_signals(&torture);
    int64_t began = history_now();
    torture_add(&torture, RELAY, 0, NULL);
    if (ask_status(&torture) != 0)
        torture_give_up(&torture, "the relay does not serve");
    plan_make(&torture);
    load(&torture);
    end_wind_up(&torture);
    int status = check_histories(&torture);
    const unsigned *killed = torture.killed;
    printf(
        "kills: killed %u relays, %u producers, %u consumers, %u pipes into msend, %u mrecv, %u mretry, %u replays; %u "
        "consumers died of a message; %.1f s; a relay served again within %" PRId64 " ms\n",
        killed[RELAY], killed[PRODUCER], killed[CONSUMER], killed[SENDER], killed[MRECV], killed[MRETRY],
        killed[REPLAY], torture.died, (double)(history_now() - began) / 1e6, torture.longest_start / 1000);
    if (status != 0 || torture.keep)
        printf("kills: the histories are in %s\n", torture.folder);
    else
        remove_folder(&torture);
    return status;
}
