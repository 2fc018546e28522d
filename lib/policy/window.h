/*
 * window.h: when a window of messages is over: after so many, so many bytes, or so long after its first.
 *
 * Arithmetic of (state, now). Times are microseconds of one clock that does not fall.
 */
#ifndef POLICY_WINDOW_H
#define POLICY_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

struct window_policy {
    uint64_t count;   /* messages; 0: no limit */
    uint64_t size;    /* bytes; 0: no limit */
    int64_t duration; /* from the first message; 0: no limit */
};

/* Zeroed: none has come yet. */
struct window {
    uint64_t count;
    uint64_t size;
    int64_t begun; /* when the first came */
};

/* Whether a message of SIZE bytes belongs into it: into an empty one always, else where it stays within the size. */
bool window_fits(const struct window_policy *policy, const struct window *window, uint64_t size);

/* A message of SIZE bytes has come. */
void window_add(struct window *window, uint64_t size, int64_t now);
/* One of them has gone again. */
void window_take(struct window *window, uint64_t size);

/* Whether it is over, whatever the time. */
bool window_full(const struct window_policy *policy, const struct window *window);

/* When it is over by time; CLOCK_NEVER: not by time, or it is empty. */
int64_t window_due(const struct window_policy *policy, const struct window *window);

#endif
