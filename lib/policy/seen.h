/*
 * seen.h: which ids were seen lately: a set of 128-bit hashes that forgets what is older than its window.
 *
 * It takes 40 bytes an id, and up to three times as much while it grows: its size is that of the window, or of the limit,
 * never that of the input.
 */
#ifndef POLICY_SEEN_H
#define POLICY_SEEN_H

#include "base/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seen_id {
    uint64_t low, high;
};

struct seen_entry {
    struct seen_id id;
    int64_t time; /* when it was added; SEEN_FREE: it was removed */
    uint64_t tag; /* the caller's: whose id it was */
};

/* Zero it and set window and limit. Free it with seen_free(). */
struct seen {
    int64_t window;          /* microseconds */
    size_t limit;            /* ids at most; past that the oldest is forgotten early; 0: none */
    uint64_t lost;           /* how often that was so */
    struct seen_entry *ring; /* in the order in which they were added; some were removed */
    uint32_t *slots;         /* twice as many, by hash: a place in the ring + 1; 0: free */
    size_t capacity;         /* of the ring: a power of two, or 0 */
    uint64_t oldest, newest; /* entries are at these numbers modulo the capacity; newest is the next one's */
    size_t used;             /* ids */
};

/* The id of SIZE bytes. SEED: of the process's own, so that ids cannot be chosen to collide. */
struct seen_id seen_id_of(const void *bytes, size_t size, uint64_t seed);

static inline bool seen_same(struct seen_id one, struct seen_id other)
{
    return one.low == other.low && one.high == other.high;
}

void seen_free(struct seen *seen);

/* ID's entry, if it was added less than the window before NOW (microseconds of a clock that never steps back), or NULL. */
const struct seen_entry *seen_find(const struct seen *seen, struct seen_id id, int64_t now);

static inline bool seen_has(const struct seen *seen, struct seen_id id, int64_t now)
{
    return seen_find(seen, id, now) != NULL;
}

/* Adds ID at NOW, or renews it. MP_ERR_MEMORY, with the set as it was. */
enum mp_error seen_add(struct seen *seen, struct seen_id id, uint64_t tag, int64_t now);

/*
 * Goes through what was added less than the window before NOW, oldest first: *AT is 0 at first. False: that was all.
 * Nothing may be added meanwhile.
 */
bool seen_next(const struct seen *seen, size_t *at, int64_t now, struct seen_entry *entry);

/* Removes ID if it is there. */
void seen_remove(struct seen *seen, struct seen_id id);

#endif
