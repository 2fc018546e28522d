/*
 * crew.h: producers and consumers (producer.c, consumer.c) at work for a trial that does something to them, and the
 * checker at the end. Their histories are in a folder of the stand's; the trial reads in them who goes on, and when.
 */
#ifndef CREW_H
#define CREW_H

#include "stand.h"

enum { CREW_MAX = 48, CREW_PREFIX = 12 };

struct crew_member {
    char name[32], group[32]; /* group "": a producer */
    char history[STAND_PATH];
    pid_t pid; /* 0: it does not run */
    long read; /* bytes of the history that were looked at */
};

struct crew {
    struct stand *stand;
    int history; /* the trial's own: kills, cuts, pauses, rules */
    char folder[STAND_PATH];
    char here[STAND_PATH]; /* where the programs are */
    struct crew_member members[CREW_MAX];
    unsigned count;
};

/* PROGRAM is argv[0] of the trial, beside which the others stand. Ends the trial if it cannot. */
void crew_open(struct crew *crew, struct stand *stand, const char *program);

/*
 * Start a member: PREFIX (words that end with NULL; NULL: none) runs it in another place. RELAY is a name or a URL. The
 * name of a message's producer is NAME. The member stays where it is.
 */
struct crew_member *crew_produce(struct crew *crew, const char *const prefix[], const char *relay, const char *name,
                                 const char *topics, unsigned rate);
struct crew_member *crew_consume(struct crew *crew, const char *const prefix[], const char *relay, const char *name,
                                 const char *group, const char *pattern);

/* Makes GROUP of PATTERN with SETTINGS ("" or one), and has the checker expect all messages in it. */
void crew_make_group(struct crew *crew, const char *group, const char *pattern, const char *setting, const char *rule);

/* When MEMBER first did something that the relay confirmed (`ok`, `acked`) after TIME; 0: not yet. */
int64_t crew_confirmed(struct crew_member *member, int64_t time);
/* The same, waiting LIMIT microseconds for it: how long after TIME it was, or -1. */
int64_t crew_await(struct crew *crew, struct crew_member *member, int64_t time, int64_t limit);

/* How many lines of EVENT there are in its history. */
unsigned crew_count(const struct crew_member *member, const char *event);

/* Whether the last line of its history is of EVENT. */
bool crew_is_at(const struct crew_member *member, const char *event);

/*
 * What MEMBER has got up to now others may get as well, because of an EVENT of history.h; once for each, of which the
 * first may be CHARGED to a message as an attempt.
 */
void crew_excuse(struct crew *crew, const struct crew_member *member, const char *event, bool charged);

/* A signal for a member; who has ended although nobody told is found. */
void crew_signal(struct crew *crew, const struct crew_member *member, int number);
void crew_look(struct crew *crew);

/*
 * Producers end, what is to come later comes, groups work off what there is (for PATIENCE seconds at most), consumers end; then the histories and the
 * store are checked. COUNTS: what the checker counted, in words.
 */
void crew_wind_up(struct crew *crew, unsigned patience, char *counts, size_t size);

#endif
