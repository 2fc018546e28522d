#include "queue/dedupe.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum {
    CAPACITY_MIN = 56,
    BUCKET_COUNT = 1000000,
    BEHIND = 200 /* slots behind the last home; when a run of neighbours reaches past them the table grows */
};
#define OFFSET_MASK ((UINT64_C(1) << DEDUPE_OFFSET_BITS) - 1)
/* Homes are found by a product of tag and capacity in 64 bits. */
#define CAPACITY_MAX ((size_t)1 << DEDUPE_OFFSET_BITS)

static uint64_t tag_of(uint64_t hash)
{
    return hash >> DEDUPE_OFFSET_BITS;
}

/* Where a tag belongs: greater tags have no smaller homes, so the order of the slots is that of their homes. */
static size_t home_of(const struct dedupe_bucket *bucket, uint64_t tag)
{
    return (size_t)(tag * bucket->capacity >> DEDUPE_TAG_BITS);
}

/* 80 % full at most: a search that finds nothing then looks at three slots. */
static size_t most(size_t capacity)
{
    return capacity / 5 * 4;
}

void dedupe_free(struct dedupe *dedupe)
{
    for (size_t i = 0; i < dedupe->count; i++)
        free(dedupe->buckets[i].slots);
    free(dedupe->buckets);
    *dedupe = (struct dedupe){0};
}

/* ---- one bucket ----------------------------------------------------------------------------------------------- */

/* A larger table; all slots go to it in their order. False when a run of neighbours does not fit. */
static bool move_slots(const struct dedupe_bucket *from, struct dedupe_bucket *to)
{
    size_t next = 0;
    for (size_t i = 0; i < from->capacity + BEHIND; i++) {
        uint64_t slot = from->slots[i];
        if (slot == 0)
            continue;
        size_t home = home_of(to, tag_of(slot));
        if (home > next)
            next = home;
        if (next >= to->capacity + BEHIND)
            return false;
        to->slots[next++] = slot;
    }
    return true;
}

static enum mp_error bucket_grow(struct dedupe_bucket *bucket)
{
    struct dedupe_bucket larger = *bucket;
    do {
        larger.capacity += larger.capacity / 4;
        if (larger.capacity > CAPACITY_MAX)
            return MP_ERR_MEMORY;
        if (!(larger.slots = calloc(larger.capacity + BEHIND, sizeof *larger.slots)))
            return MP_ERR_MEMORY;
        if (move_slots(bucket, &larger))
            break;
        free(larger.slots);
    } while (true);
    free(bucket->slots);
    *bucket = larger;
    return MP_OK;
}

/* Puts SLOT into its place, and moves what stands there and behind it up to the next gap. False: no gap is left. */
static bool bucket_insert(struct dedupe_bucket *bucket, uint64_t slot)
{
    size_t at = home_of(bucket, tag_of(slot)), end = bucket->capacity + BEHIND;
    uint64_t *slots = bucket->slots;
    while (at < end && slots[at] != 0 && slots[at] < slot)
        at++;
    if (at < end && slots[at] == slot)
        return true;
    size_t gap = at;
    while (gap < end && slots[gap] != 0)
        gap++;
    if (gap >= end)
        return false;
    memmove(&slots[at + 1], &slots[at], (gap - at) * sizeof *slots);
    slots[at] = slot;
    bucket->count++;
    return true;
}

static enum mp_error bucket_add(struct dedupe_bucket *bucket, uint64_t slot)
{
    enum mp_error error;
    if (bucket->count >= most(bucket->capacity) && (error = bucket_grow(bucket)))
        return error;
    while (!bucket_insert(bucket, slot))
        if ((error = bucket_grow(bucket)))
            return error;
    return MP_OK;
}

/* ---- all of them ---------------------------------------------------------------------------------------------- */

/* Opens a bucket; it is likely to hold about as many as the one before, and half of them is what it begins with. */
static enum mp_error open_bucket(struct dedupe *dedupe, uint64_t offset, int64_t time)
{
    if (dedupe->count == dedupe->capacity) {
        struct dedupe_bucket *buckets =
            memory_grow(dedupe->buckets, &dedupe->capacity, sizeof *buckets, DEDUPE_BUCKETS + 2);
        if (!buckets)
            return MP_ERR_MEMORY;
        dedupe->buckets = buckets;
    }
    struct dedupe_bucket bucket = {.base = offset, .opened = time, .newest = time, .capacity = CAPACITY_MIN};
    size_t before = dedupe->count > 0 ? dedupe->buckets[dedupe->count - 1].count : 0;
    if (before / 2 > CAPACITY_MIN)
        bucket.capacity = before / 2;
    if (!(bucket.slots = calloc(bucket.capacity + BEHIND, sizeof *bucket.slots)))
        return MP_ERR_MEMORY;
    dedupe->buckets[dedupe->count++] = bucket;
    return MP_OK;
}

/*
 * Whether LAST is not to take more. A burst fills several buckets, so that the copy which a growing one needs stays
 * small beside all of them: a million ids, or an eighth of what there is.
 */
static bool is_done(const struct dedupe *dedupe, const struct dedupe_bucket *last, int64_t window, uint64_t offset,
                    int64_t time)
{
    return time - last->opened > window / DEDUPE_BUCKETS || offset < last->base || offset - last->base >= OFFSET_MASK ||
           (last->count >= BUCKET_COUNT &&
            (last->count >= dedupe_count(dedupe) / DEDUPE_BUCKETS || last->count >= most(CAPACITY_MAX / 2)));
}

enum mp_error dedupe_add(struct dedupe *dedupe, int64_t window, uint64_t hash, uint64_t offset, int64_t time)
{
    const struct dedupe_bucket *last = dedupe->count > 0 ? &dedupe->buckets[dedupe->count - 1] : NULL;
    enum mp_error error;
    if ((!last || is_done(dedupe, last, window, offset, time)) && (error = open_bucket(dedupe, offset, time)))
        return error;
    struct dedupe_bucket *bucket = &dedupe->buckets[dedupe->count - 1];
    error = bucket_add(bucket, tag_of(hash) << DEDUPE_OFFSET_BITS | (offset - bucket->base + 1));
    if (!error && time > bucket->newest)
        bucket->newest = time;
    return error;
}

void dedupe_expire(struct dedupe *dedupe, int64_t before)
{
    size_t gone = 0;
    while (gone < dedupe->count && dedupe->buckets[gone].newest <= before)
        free(dedupe->buckets[gone++].slots);
    if (gone == 0)
        return;
    dedupe->count -= gone;
    if (dedupe->count == 0) {
        dedupe_free(dedupe);
        return;
    }
    memmove(dedupe->buckets, dedupe->buckets + gone, dedupe->count * sizeof *dedupe->buckets);
}

struct dedupe_cursor dedupe_find(const struct dedupe *dedupe, uint64_t hash)
{
    struct dedupe_cursor cursor = {.dedupe = dedupe, .tag = tag_of(hash)};
    if (dedupe->count > 0)
        cursor.at = home_of(&dedupe->buckets[dedupe->count - 1], cursor.tag);
    return cursor;
}

bool dedupe_next(struct dedupe_cursor *cursor, uint64_t *offset)
{
    const struct dedupe *dedupe = cursor->dedupe;
    while (cursor->bucket < dedupe->count) {
        const struct dedupe_bucket *bucket = &dedupe->buckets[dedupe->count - 1 - cursor->bucket];
        size_t end = bucket->capacity + BEHIND;
        while (cursor->at < end && bucket->slots[cursor->at] != 0 && tag_of(bucket->slots[cursor->at]) < cursor->tag)
            cursor->at++;
        uint64_t slot = cursor->at < end ? bucket->slots[cursor->at] : 0;
        if (slot != 0 && tag_of(slot) == cursor->tag) {
            cursor->at++;
            *offset = bucket->base + (slot & OFFSET_MASK) - 1;
            return true;
        }
        if (++cursor->bucket < dedupe->count)
            cursor->at = home_of(&dedupe->buckets[dedupe->count - 1 - cursor->bucket], cursor->tag);
    }
    return false;
}

void dedupe_prefetch(const struct dedupe *dedupe, uint64_t hash)
{
    for (size_t i = 0; i < dedupe->count; i++) {
        const struct dedupe_bucket *bucket = &dedupe->buckets[i];
        __builtin_prefetch(&bucket->slots[home_of(bucket, tag_of(hash))]);
    }
}

void dedupe_prefetch_add(const struct dedupe *dedupe, uint64_t hash)
{
    if (dedupe->count == 0)
        return;
    const struct dedupe_bucket *bucket = &dedupe->buckets[dedupe->count - 1];
    __builtin_prefetch(&bucket->slots[home_of(bucket, tag_of(hash))]);
}

uint64_t dedupe_count(const struct dedupe *dedupe)
{
    uint64_t count = 0;
    for (size_t i = 0; i < dedupe->count; i++)
        count += dedupe->buckets[i].count;
    return count;
}

size_t dedupe_bytes(const struct dedupe *dedupe)
{
    size_t bytes = dedupe->capacity * sizeof *dedupe->buckets;
    for (size_t i = 0; i < dedupe->count; i++)
        bytes += (dedupe->buckets[i].capacity + BEHIND) * sizeof *dedupe->buckets[i].slots;
    return bytes;
}
