/*
 * map.h: a hash map from bytes to pointers.
 *
 * A zeroed struct map is an empty one. The map owns neither keys nor values: a key must stay where it is while its
 * entry is there (usually it is a field of the value). Hashed with XXH3-64 and a seed of the process's own, so that
 * names from outside cannot be chosen to collide.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "msgpipe.h"

struct map_entry {
    const void *key;
    size_t size;
    uint64_t hash;
    void *value; /* NULL: a free place */
};

struct map {
    struct map_entry *entries;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

void map_free(struct map *map);

/* The value at KEY, or NULL. */
void *map_get(const struct map *map, const void *key, size_t size);

/* Sets KEY to VALUE (not NULL), replacing one that is there. MP_ERR_MEMORY. */
enum mp_error map_put(struct map *map, const void *key, size_t size, void *value);

/* The value at KEY; where there is none one is made: VALUE_SIZE zeroed bytes (memory.h) that begin with KEY. NULL: no memory. */
void *map_make(struct map *map, const void *key, size_t size, size_t value_size);

/* Removes KEY and returns its value, or NULL. */
void *map_remove(struct map *map, const void *key, size_t size);

/* For the simulation, whose runs repeat exactly: hashes with SEED (not 0) from now on. No map may have an entry. */
void map_seed(uint64_t seed);

/* Walks: *AT is 0 at first; NULL at the end. The map must not change meanwhile. */
void *map_next(const struct map *map, size_t *at);

#endif
