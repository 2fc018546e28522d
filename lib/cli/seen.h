/*
 * seen.h: which ids were seen lately: a set of 128-bit hashes that forgets what is older than its window.
 *
 * It takes 24 bytes an id, and up to three times as much while it grows: its size is that of the window, never that of
 * the input.
 */
#ifndef CLI_SEEN_H
#define CLI_SEEN_H

#include "base/fault.h"

#include <stdbool.h>
#include <stddef.h>

struct seen_id {
    uint64_t low, high;
};

struct seen_entry {
    struct seen_id id;
    int64_t time; /* when it was added; SEEN_FREE: nothing is here */
};

struct seen {
    struct seen_entry *entries;
    size_t capacity; /* a power of two, or 0 */
    size_t used;     /* entries that are not free, old ones too */
    int64_t window;  /* microseconds */
};

/* The id of SIZE bytes. SEED: of the process's own, so that ids cannot be chosen to collide. */
struct seen_id seen_id_of(const void *bytes, size_t size, uint64_t seed);

static inline bool seen_same(struct seen_id one, struct seen_id other)
{
    return one.low == other.low && one.high == other.high;
}

/* Zero a struct seen and set its window. Free it with seen_free(). */
void seen_free(struct seen *seen);

/* Whether ID was added less than the window before NOW (microseconds, any clock that never steps back). */
bool seen_has(const struct seen *seen, struct seen_id id, int64_t now);

/* Adds ID at NOW, or renews it. MP_ERR_MEMORY, with the set as it was. */
enum mp_error seen_add(struct seen *seen, struct seen_id id, int64_t now);

/*
 * Goes through what was added less than the window before NOW: *AT is 0 at first. False: that was all. Nothing may be
 * added meanwhile.
 */
bool seen_next(const struct seen *seen, size_t *at, int64_t now, struct seen_entry *entry);

#endif
