/*
 * kills.h: what the files of the kill test share: its programs, its plan, its end.
 */
#ifndef KILLS_H
#define KILLS_H

#include "history.h"

#include <jansson.h>
#include <sys/types.h>

/* What tools wait for a relay, also one that was killed as they began, and for what comes: no end of a busy machine. */
#define TORTURE_PATIENCE "10m"

enum { PROGRAMS_MAX = 64, PATH_BYTES = 512, TOOL_BYTES = PATH_BYTES + 16 };

enum role { RELAY, PRODUCER, CONSUMER, SENDER, MRECV, MRETRY, REPLAY, ROLES };

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
};

extern const struct plan_topic plan_topics[];
extern const unsigned plan_topics_count;
extern const struct plan_group plan_groups[];
extern const unsigned plan_groups_count;

struct program {
    enum role role;
    unsigned number; /* among those of its role */
    unsigned life;   /* how often it was started */
    pid_t pid;       /* 0: it does not run */
    const struct plan_group *group;
    char topic[128]; /* whose letters are replayed */
};

struct torture {
    unsigned kills, producers, rate;
    bool keep, calm;
    uint64_t random;
    char folder[PATH_BYTES / 2], here[PATH_BYTES], tools[PATH_BYTES];
    char histories[PATH_BYTES / 2 + 16];
    struct program programs[PROGRAMS_MAX];
    unsigned programs_count;
    unsigned killed[ROLES], died; /* died: of the messages that they got */
    int history;
    int64_t longest_start;
};

/* kills.c */
uint32_t torture_below(struct torture *torture, uint32_t limit);
void torture_kill(struct torture *torture, struct program *program);

/* kills_programs.c: these end the whole test when something does not go as it should. */
_Noreturn void torture_give_up(struct torture *torture, const char *what);
const char *torture_role(enum role role);
void torture_tool(const struct torture *torture, char path[TOOL_BYTES], const char *name);
struct program *torture_add(struct torture *torture, enum role role, unsigned number, const struct plan_group *group);
void torture_start(struct torture *torture, struct program *program);
int torture_wait_for(struct program *program);
/* Runs a tool to its end, its output going to the file OUTPUT in the folder; its exit code. */
int torture_run(struct torture *torture, char *const words[], const char *output);
void torture_check_all(struct torture *torture);            /* consumers that a message has killed are started again */
void torture_tell(struct torture *torture, enum role role); /* to end, and waits for it */
void torture_end_all(struct torture *torture);
void torture_catch_signals(struct torture *torture);

/* kills_plan.c */
void plan_make(struct torture *torture);
void plan_features(char *text, size_t size); /* for producers */
void plan_add_members(struct torture *torture, bool late);
/* The answer to `mrelay VERB --json`, and the list in it; to be given back with json_decref(). */
json_t *plan_ask(struct torture *torture, const char *verb);
json_t *plan_list(struct torture *torture, const char *verb);
/* How many messages each group has that are not settled, where there is a limit. */
void plan_note_depths(struct torture *torture);

/* kills_end.c: producers end, groups work off what is there, what died is replayed, all others end. */
void end_wind_up(struct torture *torture);
/* What the store has is accounted for, whether the relay runs or not; else the test ends. */
void end_audit(struct torture *torture);

#endif
