/*
 * windows.h: the windows that an aggregate step holds: by key those that are open, in order of age and by size, and those
 * that are over and wait to be emitted.
 *
 * A window's bytes are what its messages add to what comes of it, one behind the other. Memory is that of what is held;
 * places of messages are used again.
 */
#ifndef STAGE_WINDOWS_H
#define STAGE_WINDOWS_H

#include "base/buffer.h"
#include "base/map.h"
#include "policy/window.h"

/* A message in a window. */
struct held {
    uint64_t ticket;
    struct held_window *window;
    struct held *before, *behind; /* in the order in which they came */
    size_t begin;                 /* of its bytes in the window's */
    size_t size;
};

struct held_window {
    struct window window;
    struct buffer bytes;
    bool ragged; /* messages were taken out: their bytes are still there */
    bool over;
    int64_t wall; /* when it began */
    struct held *first, *last;
    struct held_window *older, *younger; /* open: by age; over: in the order in which they ended */
    struct held_window *left, *right;    /* open: of the same weight */
    unsigned weight;                     /* open: a logarithm of what it takes */
    size_t key_size;
    char key[];
};

enum { WINDOWS_WEIGHTS = 64 };

/* Zero it and set policy and bounds. */
struct windows {
    struct window_policy policy;
    uint64_t messages_max; /* of open windows; with so many the heaviest is over, */
    uint64_t bytes_max;    /* or with more bytes */
    uint64_t messages;
    uint64_t bytes;
    uint64_t early; /* windows that were over for want of room */
    struct map keys;
    struct map tickets;
    struct held_window *oldest, *youngest;
    struct held_window *over, *last_over;
    struct held_window *by_weight[WINDOWS_WEIGHTS];
    uint64_t weights; /* which of these there are: a bit each */
    struct held *spare;
};

void windows_free(struct windows *windows);

/* The open window of KEY, or a new one. NULL: no memory. */
struct held_window *windows_open(struct windows *windows, const void *key, size_t size);

/*
 * The message of TICKET, whose SIZE bytes were put behind those of WINDOW, is in it from now on. Windows may be over by
 * that. MP_ERR_MEMORY: it is not in it, its bytes are gone.
 */
enum mp_error windows_add(struct windows *windows, struct held_window *window, uint64_t ticket, size_t size,
                          int64_t now, int64_t wall);

/* WINDOW, an open one, is over; one without messages is gone. */
void windows_end(struct windows *windows, struct held_window *window);
/* All that are over at NOW are over. */
void windows_expire(struct windows *windows, int64_t now, bool all);
/* When windows_expire() has something to do; CLOCK_NEVER. INT64_MIN: windows are over. */
int64_t windows_due(const struct windows *windows);

/* The message of TICKET leaves its window, if it is in one. */
void windows_forget(struct windows *windows, uint64_t ticket);

/* Makes a ragged window's bytes those of its messages. */
void windows_mend(struct held_window *window);
/* WINDOW, which is over, is done with. */
void windows_drop(struct windows *windows, struct held_window *window);

#endif
