/* A ring of ids, oldest first, and a table of open addressing with linear probing that finds them in it. */
#include "policy/seen.h"

#include "base/memory.h"

#include <xxhash.h>

#define SEEN_FREE INT64_MIN
enum { SEEN_SMALLEST = 64, SEEN_LARGEST = 1 << 30 };

struct seen_id seen_id_of(const void *bytes, size_t size, uint64_t seed)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(bytes, size, seed);
    return (struct seen_id){hash.low64, hash.high64};
}

void seen_free(struct seen *seen)
{
    memory_release(seen->ring);
    memory_release(seen->slots);
    *seen = (struct seen){.window = seen->window, .limit = seen->limit};
}

static struct seen_entry *entry_at(const struct seen *seen, uint64_t number)
{
    return &seen->ring[number & (seen->capacity - 1)];
}

static size_t mask_of(const struct seen *seen)
{
    return seen->capacity * 2 - 1;
}

/* The slot of ID, or the free one where it belongs. There is always a free one. */
static size_t slot_of(const struct seen *seen, struct seen_id id)
{
    size_t slot = (size_t)id.low & mask_of(seen);
    while (seen->slots[slot] != 0 && !seen_same(seen->ring[seen->slots[slot] - 1].id, id))
        slot = (slot + 1) & mask_of(seen);
    return slot;
}

/* Frees SLOT; those behind it that its being taken has pushed away move up. */
static void free_slot(struct seen *seen, size_t slot)
{
    const size_t mask = mask_of(seen);
    for (size_t at = (slot + 1) & mask; seen->slots[at] != 0; at = (at + 1) & mask) {
        const size_t home = (size_t)seen->ring[seen->slots[at] - 1].id.low & mask;
        if (((at - home) & mask) >= ((at - slot) & mask)) {
            seen->slots[slot] = seen->slots[at];
            slot = at;
        }
    }
    seen->slots[slot] = 0;
}

static void drop_slot(struct seen *seen, size_t slot)
{
    seen->ring[seen->slots[slot] - 1].time = SEEN_FREE;
    free_slot(seen, slot);
    seen->used--;
}

static bool is_old(const struct seen *seen, const struct seen_entry *entry, int64_t now)
{
    return now - entry->time >= seen->window;
}

const struct seen_entry *seen_find(const struct seen *seen, struct seen_id id, int64_t now)
{
    if (seen->used == 0)
        return NULL;
    const size_t slot = slot_of(seen, id);
    const struct seen_entry *entry = seen->slots[slot] != 0 ? &seen->ring[seen->slots[slot] - 1] : NULL;
    return entry != NULL && !is_old(seen, entry, now) ? entry : NULL;
}

/* Forgets what is old, and when there are too many what is oldest. */
static void forget(struct seen *seen, int64_t now)
{
    while (seen->oldest < seen->newest) {
        const struct seen_entry *entry = entry_at(seen, seen->oldest);
        if (entry->time != SEEN_FREE) {
            const bool full = seen->limit > 0 && seen->used >= seen->limit;
            if (!full && !is_old(seen, entry, now))
                return;
            seen->lost += !is_old(seen, entry, now);
            drop_slot(seen, slot_of(seen, entry->id));
        }
        seen->oldest++;
    }
}

/* A new ring, without those that were removed, at least half of which is free. */
static enum mp_error renew(struct seen *seen)
{
    struct seen grown = *seen;
    grown.capacity = SEEN_SMALLEST;
    while (grown.capacity / 2 < seen->used)
        grown.capacity *= 2;
    if (grown.capacity > SEEN_LARGEST)
        return MP_ERR_MEMORY;
    grown.ring = memory_allocate_array(grown.capacity, sizeof(*grown.ring));
    grown.slots = memory_allocate_array(grown.capacity * 2, sizeof(*grown.slots));
    if (grown.ring == NULL || grown.slots == NULL) {
        memory_release(grown.ring);
        memory_release(grown.slots);
        return MP_ERR_MEMORY;
    }
    grown.oldest = grown.newest = 0;
    for (uint64_t number = seen->oldest; number < seen->newest; number++) {
        const struct seen_entry *entry = entry_at(seen, number);
        if (entry->time == SEEN_FREE)
            continue;
        grown.ring[grown.newest++] = *entry;
        grown.slots[slot_of(&grown, entry->id)] = (uint32_t)grown.newest;
    }
    memory_release(seen->ring);
    memory_release(seen->slots);
    *seen = grown;
    return MP_OK;
}

enum mp_error seen_add(struct seen *seen, struct seen_id id, uint64_t tag, int64_t now)
{
    forget(seen, now);
    if (seen->newest - seen->oldest == seen->capacity && renew(seen) != MP_OK)
        return MP_ERR_MEMORY;
    seen_remove(seen, id);
    const size_t slot = slot_of(seen, id);
    *entry_at(seen, seen->newest) = (struct seen_entry){.id = id, .time = now, .tag = tag};
    seen->slots[slot] = (uint32_t)(seen->newest & (seen->capacity - 1)) + 1;
    seen->newest++;
    seen->used++;
    return MP_OK;
}

void seen_remove(struct seen *seen, struct seen_id id)
{
    if (seen->used == 0)
        return;
    const size_t slot = slot_of(seen, id);
    if (seen->slots[slot] != 0)
        drop_slot(seen, slot);
}

bool seen_next(const struct seen *seen, size_t *at, int64_t now, struct seen_entry *entry)
{
    while (*at < seen->newest - seen->oldest) {
        const struct seen_entry *next = entry_at(seen, seen->oldest + (*at)++);
        if (next->time == SEEN_FREE || is_old(seen, next, now))
            continue;
        *entry = *next;
        return true;
    }
    return false;
}
