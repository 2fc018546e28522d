/* A set that forgets. Open addressing, linear probing; what is old goes when the table is made anew. */
#include "cli/seen.h"

#include "base/memory.h"

#include <xxhash.h>

#define SEEN_FREE INT64_MIN
enum { SEEN_SMALLEST = 64 };

struct seen_id seen_id_of(const void *bytes, size_t size, uint64_t seed)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(bytes, size, seed);
    return (struct seen_id){hash.low64, hash.high64};
}

void seen_free(struct seen *seen)
{
    memory_release(seen->entries);
    *seen = (struct seen){.window = seen->window};
}

static bool is_old(const struct seen *seen, const struct seen_entry *entry, int64_t now)
{
    return now - entry->time >= seen->window;
}

/* Where ID is, or the free place where it belongs. There is always a free one. */
static struct seen_entry *find(const struct seen *seen, struct seen_id id)
{
    size_t at = (size_t)id.low & (seen->capacity - 1);
    while (seen->entries[at].time != SEEN_FREE && !seen_same(seen->entries[at].id, id))
        at = (at + 1) & (seen->capacity - 1);
    return &seen->entries[at];
}

bool seen_has(const struct seen *seen, struct seen_id id, int64_t now)
{
    if (seen->capacity == 0)
        return false;
    const struct seen_entry *entry = find(seen, id);
    return entry->time != SEEN_FREE && !is_old(seen, entry, now);
}

/* A new table, without what is old, in which at most half of the places are taken. */
static enum mp_error renew(struct seen *seen, int64_t now)
{
    struct seen grown = {.capacity = SEEN_SMALLEST, .window = seen->window};
    size_t live = 0;
    for (size_t i = 0; i < seen->capacity; i++)
        live += seen->entries[i].time != SEEN_FREE && !is_old(seen, &seen->entries[i], now);
    while (grown.capacity / 2 <= live)
        grown.capacity *= 2;
    grown.entries = memory_allocate_array(grown.capacity, sizeof(*grown.entries));
    if (!grown.entries)
        return MP_ERR_MEMORY;
    for (size_t i = 0; i < grown.capacity; i++)
        grown.entries[i].time = SEEN_FREE;
    for (size_t i = 0; i < seen->capacity; i++) {
        const struct seen_entry *entry = &seen->entries[i];
        if (entry->time == SEEN_FREE || is_old(seen, entry, now))
            continue;
        *find(&grown, entry->id) = *entry;
        grown.used++;
    }
    memory_release(seen->entries);
    *seen = grown;
    return MP_OK;
}

enum mp_error seen_add(struct seen *seen, struct seen_id id, int64_t now)
{
    if (seen->used + seen->capacity / 4 >= seen->capacity && renew(seen, now))
        return MP_ERR_MEMORY;
    struct seen_entry *entry = find(seen, id);
    seen->used += entry->time == SEEN_FREE;
    *entry = (struct seen_entry){id, now};
    return MP_OK;
}

bool seen_next(const struct seen *seen, size_t *at, int64_t now, struct seen_entry *entry)
{
    while (*at < seen->capacity) {
        const struct seen_entry *next = &seen->entries[(*at)++];
        if (next->time == SEEN_FREE || is_old(seen, next, now))
            continue;
        *entry = *next;
        return true;
    }
    return false;
}
