/*
 * arena.h: memory that goes back all at once: a pipeline's, with everything that points into it.
 *
 * A zeroed struct arena is an empty one. What it gives is zeroed, aligned for any type, and stays where it is.
 */
#ifndef PIPELINE_ARENA_H
#define PIPELINE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t left; /* bytes of the newest block */
};

/* SIZE bytes; NULL when there is no memory. */
void *arena_allocate(struct arena *arena, size_t size);

/* COUNT things of SIZE bytes; NULL also when their product overflows. */
void *arena_allocate_array(struct arena *arena, size_t count, size_t size);

/* A terminated copy of SIZE bytes at TEXT. */
char *arena_copy(struct arena *arena, const void *text, size_t size);

void arena_free(struct arena *arena);

#endif
