/*
 * dedupe.h: which ids a topic has seen of late: an index from hashes to offsets, for a window of time.
 *
 * It holds eight bytes an id, in buckets of an eighth of the window, or of the ids when they come in a burst: the part
 * of the hash by which an id is found (36 bits) and where it was seen (28 bits, counted from the bucket's first offset).
 * A bucket is one table of open addressing that is kept in the order of its slots, so that growing and searching walk
 * memory forwards. A bucket whose window is over goes as a whole.
 *
 * What it finds are candidates: another id may have the same 36 bits (one lookup in 6,000 with ten million ids), what
 * was undone is not taken out, and a bucket stays until its last id is over. Who asks confirms each one by what is
 * stored at that offset. But what was added and is within the window is always among them.
 *
 * Pure: no clock, no store. Times are relay time in microseconds.
 */
#ifndef QUEUE_DEDUPE_H
#define QUEUE_DEDUPE_H

#include "base/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DEDUPE_BUCKETS = 8, DEDUPE_OFFSET_BITS = 28, DEDUPE_TAG_BITS = 64 - DEDUPE_OFFSET_BITS };

struct dedupe_bucket {
    uint64_t base;  /* offsets count from here */
    int64_t opened; /* when its first id was added, and its last */
    int64_t newest;
    uint64_t *slots; /* ascending, with gaps; 0: a gap. tag << 28 | offset - base + 1 */
    size_t capacity; /* homes; behind them is some room for what was pushed on */
    size_t count;
};

/* Zero it. */
struct dedupe {
    struct dedupe_bucket *buckets; /* the last one is filled */
    size_t count;
    size_t capacity;
};

void dedupe_free(struct dedupe *dedupe);

/*
 * Adds HASH, seen at OFFSET and TIME. WINDOW is what the next buckets are cut by; it may change. Times do not fall.
 * Adding the same again changes nothing. MP_ERR_MEMORY leaves all as it was.
 */
enum mp_error dedupe_add(struct dedupe *dedupe, int64_t window, uint64_t hash, uint64_t offset, int64_t time);

/* Lets the buckets go of which all ids were seen at BEFORE or earlier. */
void dedupe_expire(struct dedupe *dedupe, int64_t before);

/* A walk over candidates: dedupe_find(), then dedupe_next() until it is false. Nothing is added meanwhile. */
struct dedupe_cursor {
    const struct dedupe *dedupe;
    uint64_t tag;
    size_t bucket; /* counted from the newest */
    size_t at;
};
struct dedupe_cursor dedupe_find(const struct dedupe *dedupe, uint64_t hash);
bool dedupe_next(struct dedupe_cursor *cursor, uint64_t *offset);

/* Has what a lookup of HASH will look at come near: a few lookups ahead that makes them several times as fast. */
void dedupe_prefetch(const struct dedupe *dedupe, uint64_t hash);
/* The same for adding without a lookup. */
void dedupe_prefetch_add(const struct dedupe *dedupe, uint64_t hash);

/* Ids, and bytes of memory. */
uint64_t dedupe_count(const struct dedupe *dedupe);
size_t dedupe_bytes(const struct dedupe *dedupe);

#endif
