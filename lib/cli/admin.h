/*
 * admin.h: the verbs of mrelay: asking a running relay about itself, and changing what it keeps.
 *
 * Each prints what it was asked for, and returns the exit code.
 */
#ifndef CLI_ADMIN_H
#define CLI_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct admin_settings {
    const char *relay; /* NULL: the default one */
    int64_t wait;      /* microseconds; -1: a second for the relay, for ever for admin_wait() */
    bool json;         /* print the reply as it is */
    bool names;        /* print names only, a line each */
    bool watch;        /* again and again */
    const char *topic; /* only this one; NULL: all */
    const char *group;
    const char *start; /* the command line that starts what is asked, for who finds no relay; NULL: a relay alone */
    const char *from;  /* where a group is moved to */
    const char *store; /* the store's file; NULL: as the relay or its name says */
    bool yes;          /* do not ask */
    bool force;        /* although it is in use */
    bool quiet;        /* tell nothing when nobody answers: the exit code says it */
    char **operands;   /* what stands behind the verb */
    size_t operands_count;
};

int admin_status(const struct admin_settings *settings);

/* Lists them, or `purge` and `delete` a topic. */
int admin_topics(const struct admin_settings *settings);

/* Lists them, or `seek` and `delete` a group. */
int admin_groups(const struct admin_settings *settings);

/* `topic T` or `group T G`: shows the settings, or changes those that are given as KEY=VALUE. */
int admin_set(const struct admin_settings *settings);

/* Copies the store into a file, also while the relay runs. */
int admin_backup(const struct admin_settings *settings);
/* Puts such a copy in the place of the store. */
int admin_restore(const struct admin_settings *settings);
/* Takes what is sound of a damaged store into a new one; 1 when something is missing. */
int admin_salvage(const struct admin_settings *settings);

/* Returns when the group has nothing waiting, delayed or leased; 124 after the wait. */
int admin_wait(const struct admin_settings *settings);

/* The names of the relays that run here, a line each; 69 when there are none. */
int admin_relays(const struct admin_settings *settings);

#endif
