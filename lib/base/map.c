#include "base/map.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t chosen_seed;

static uint64_t seed(void)
{
    if (chosen_seed == 0)
        chosen_seed = ((uint64_t)clock_wall() * UINT64_C(0x9E3779B97F4A7C15)) ^ (uint64_t)getpid() ^
                      (uint64_t)(uintptr_t)&chosen_seed;
    return chosen_seed;
}

void map_seed(uint64_t value)
{
    chosen_seed = value;
}

static uint64_t hash_of(const void *key, size_t size)
{
    return XXH3_64bits_withSeed(key, size, seed());
}

void map_free(struct map *map)
{
    free(map->entries);
    *map = (struct map){0};
}

/* The place of KEY, or the free place where it would go. The map has a free place. */
static struct map_entry *place_of(const struct map *map, const void *key, size_t size, uint64_t hash)
{
    size_t mask = map->capacity - 1;
    for (size_t at = (size_t)hash & mask;; at = (at + 1) & mask) {
        struct map_entry *entry = &map->entries[at];
        if (!entry->value || (entry->hash == hash && entry->size == size &&
                              (size == 0 || memcmp(entry->key, key, size) == 0))) /* an empty key may be NULL */
            return entry;
    }
}

void *map_get(const struct map *map, const void *key, size_t size)
{
    return map->count ? place_of(map, key, size, hash_of(key, size))->value : NULL;
}

static enum mp_error grow(struct map *map)
{
    struct map larger = {.capacity = map->capacity ? map->capacity * 2 : 16, .count = map->count};
    larger.entries = memory_allocate_array(larger.capacity, sizeof *larger.entries);
    if (!larger.entries)
        return MP_ERR_MEMORY;
    for (size_t i = 0; i < map->capacity; i++) {
        const struct map_entry *entry = &map->entries[i];
        if (entry->value)
            *place_of(&larger, entry->key, entry->size, entry->hash) = *entry;
    }
    free(map->entries);
    *map = larger;
    return MP_OK;
}

enum mp_error map_put(struct map *map, const void *key, size_t size, void *value)
{
    if ((map->count + 1) * 4 > map->capacity * 3) {
        enum mp_error error = grow(map);
        if (error)
            return error;
    }
    uint64_t hash = hash_of(key, size);
    struct map_entry *entry = place_of(map, key, size, hash);
    map->count += !entry->value;
    *entry = (struct map_entry){.key = key, .size = size, .hash = hash, .value = value};
    return MP_OK;
}

void *map_make(struct map *map, const void *key, size_t size, size_t value_size)
{
    void *value = map_get(map, key, size);
    if (value || !(value = memory_allocate(value_size)))
        return value;
    memcpy(value, key, size);
    if (map_put(map, value, size, value) == MP_OK)
        return value;
    memory_release(value);
    return NULL;
}

void *map_remove(struct map *map, const void *key, size_t size)
{
    if (map->count == 0)
        return NULL;
    struct map_entry *entry = place_of(map, key, size, hash_of(key, size));
    void *value = entry->value;
    if (!value)
        return NULL;
    map->count--;
    /* Close the gap: whoever was pushed past it by a collision moves back. */
    size_t mask = map->capacity - 1;
    size_t gap = (size_t)(entry - map->entries);
    for (size_t at = (gap + 1) & mask; map->entries[at].value; at = (at + 1) & mask) {
        size_t home = (size_t)map->entries[at].hash & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            map->entries[gap] = map->entries[at];
            gap = at;
        }
    }
    map->entries[gap] = (struct map_entry){0};
    return value;
}

void *map_next(const struct map *map, size_t *at)
{
    while (*at < map->capacity) {
        void *value = map->entries[(*at)++].value;
        if (value)
            return value;
    }
    return NULL;
}
