/*
 * admin.h: asking a running relay about itself: `mrelay status`, `topics`, `groups`, `wait`, `relays`.
 */
#ifndef CLI_ADMIN_H
#define CLI_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

struct admin_settings {
    const char *relay; /* NULL: the default one */
    int64_t wait;      /* microseconds; -1: a second for the relay, for ever for admin_wait() */
    bool json;         /* print the reply as it is */
    bool names;        /* print names only, a line each */
    const char *topic; /* only this one; NULL: all */
    const char *group;
};

/* Each prints what it was asked for, and returns the exit code. */
int admin_status(const struct admin_settings *settings);
int admin_topics(const struct admin_settings *settings);
int admin_groups(const struct admin_settings *settings);

/* Returns when the group has nothing waiting, delayed or leased; 124 after the wait. */
int admin_wait(const struct admin_settings *settings);

/* The names of the relays that run here, a line each; 69 when there are none. */
int admin_relays(const struct admin_settings *settings);

#endif
