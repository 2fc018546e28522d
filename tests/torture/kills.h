/*
 * kills.h: what the files of the kill trial share: its programs, its plan, its kills, its end.
 *
 * The trial goes in rounds, each with a store of its own: load under kills, then the end, in which all that was sent is
 * worked off and what died is replayed, under kills as well, then the checker's verdict.
 */
#ifndef KILLS_H
#define KILLS_H

#include "history.h"
#include "scratch.h"

#include <jansson.h>
#include <sys/types.h>

/* What tools wait for a relay, also one that was killed as they began, and for what comes: no end of a busy machine. */
#define TORTURE_PATIENCE "10m"

enum { PROGRAMS_MAX = 64, PATH_BYTES = 512, TOOL_BYTES = PATH_BYTES + 16, NAME_BYTES = 48 };

/* COMMAND: what a program of another role has started. SPOOLER: a sender by way of msend's spool. */
enum role { RELAY, PRODUCER, CONSUMER, SENDER, SPOOLER, MRECV, MRETRY, RUNNER, REPLAY, COMMAND, ROLES };

/* A topic of the plan, and what producers put into it (producer.c); NULL: they do not. */
struct plan_topic {
    const char *name, *features;
    const char *settings; /* as `mrelay set` takes them */
    const char *rule;     /* as the checker reads them */
};

/* A group of the plan; its members are programs of ROLE, late ones come when all has been sent. */
struct plan_group {
    const char *name, *pattern, *settings, *rule;
    enum role role;
    unsigned members;
    bool late;
    const char *added; /* what stages put behind the bodies of its topic; NULL: nothing */
};

extern const struct plan_topic plan_topics[];
extern const unsigned plan_topics_count;
extern const struct plan_group plan_groups[];
extern const unsigned plan_groups_count;

struct program {
    enum role role;
    unsigned number;       /* among those of its role */
    unsigned life;         /* how often it was started */
    char name[NAME_BYTES]; /* of this life, as histories have it */
    pid_t pid;             /* 0: it does not run */
    int64_t start;         /* it is to be started then; 0: it runs, or it is not to run */
    bool ends;             /* it was told to end, or does so when it has done its work */
    const struct plan_group *group;
    char topic[128]; /* whose letters are replayed */
};

/* What one round has done, or all. */
struct sums {
    unsigned killed[ROLES], died; /* died: of the messages that they got */
    unsigned together;            /* kills of more than one at a time */
    int64_t longest_start;        /* microseconds from a relay's start until it served */
    uint64_t acknowledged, deliveries;
    uint64_t found; /* by the trial itself; the checker's findings are `classes` */
    uint64_t lost, phantom, altered, reordered, duplicated, others;
};

struct torture {
    unsigned kills, round, producers, rate, lines, pace;
    uint64_t messages, waiting;
    uint64_t patience; /* seconds */
    int64_t over;      /* when a round's end is to be over */
    bool keep, until_red, calm, red;
    uint64_t random;
    const char *relay; /* what runs in the relay's place; NULL: mrelay of the tools */
    char folder[SCRATCH_PATH], here[PATH_BYTES], tools[PATH_BYTES];
    char histories[SCRATCH_PATH + 16];
    struct program programs[PROGRAMS_MAX];
    unsigned programs_count;
    struct sums sums;
    int history;
};

/* kills.c */
uint32_t torture_below(struct torture *torture, uint32_t limit);

/* kills_programs.c */

/* Something is not as it should be: says so; the trial goes on, and will end red. */
void torture_find(struct torture *torture, const char *what);
/* The trial cannot go on: says why, ends what runs, and exits with 1. */
_Noreturn void torture_give_up(struct torture *torture, const char *what);
const char *torture_role(enum role role);
void torture_tool(const struct torture *torture, char path[TOOL_BYTES], const char *name);
struct program *torture_add(struct torture *torture, enum role role, unsigned number, const struct plan_group *group);
void torture_start(struct torture *torture, struct program *program);
int torture_wait_for(struct program *program); /* that it is killed */
/* The directory of msend's spool. */
void torture_spool(const struct torture *torture, char path[PATH_BYTES]);
/* The status with which PROGRAM ends by itself; it is killed when all patience is used up. */
int torture_end_of(struct torture *torture, struct program *program);
/* Runs a tool to its end, its output going to the file OUTPUT in the folder; its exit code. One that does not end is
 * killed when all patience is used up. */
int torture_run(struct torture *torture, char *const words[], const char *output);
/* What has ended by itself is found, and started again; so are consumers that a message has killed, which is no finding;
 * and those whose time to start has come. */
void torture_check_all(struct torture *torture);
void torture_tell(struct torture *torture, enum role role); /* to end, and waits for it, as long */
void torture_end_all(struct torture *torture);
void torture_catch_signals(struct torture *torture);

/* kills_kill.c */
/* Kills PROGRAM, which is started again at once or a little later; a relay serves again when this returns, if at once. */
void kill_program(struct torture *torture, struct program *program);
/* Kills one to four at once, of all that run. */
void kill_some(struct torture *torture, unsigned most);
/* Waits until the relay serves. Microseconds that it took. */
int64_t kill_await_relay(struct torture *torture);
/* A relay with a million messages waiting is killed and serves again: the longest time until it stored a message, in
 * microseconds. */
int64_t kill_with_waiting(struct torture *torture, unsigned times);

/* kills_plan.c */
void plan_make(struct torture *torture);
void plan_features(unsigned producer, char *text, size_t size); /* for the producer of this number */
void plan_add_members(struct torture *torture, bool late);
/* The answer to `mrelay VERB --json`, and the list in it; to be given back with json_decref(). */
json_t *plan_ask(struct torture *torture, const char *verb);
json_t *plan_list(struct torture *torture, const char *verb);
/* How many messages each group has that are not settled, where there is a limit. */
void plan_note_depths(struct torture *torture);

/* kills_pipe.c: a pipeline of three stages, one in each mode: p.in, p.mid, p.up, p.out. */
void pipe_make(struct torture *torture);
/* The path of the file that a runner runs. */
void pipe_path(const struct torture *torture, char path[PATH_BYTES]);
/* Waits until all that came in went out; ends the runner. */
void pipe_drain(struct torture *torture);

/* kills_end.c: producers end, groups work off what is there, what died is replayed, all others end. */
void end_wind_up(struct torture *torture);
/* Waits until GROUP has settled all of TOPIC, and notes it. */
void end_wait_for_group(struct torture *torture, const char *topic, const char *group);
/* What the store has is accounted for, whether the relay runs or not. */
void end_audit(struct torture *torture);

/* kills_tell.c */
/* Has the checker read the histories, prints what it finds, and adds it to the sums; false: it is red. */
bool tell_verdict(struct torture *torture);
/* The trial's last lines. */
void tell_all(const struct torture *torture, double seconds, int64_t waiting);

#endif
