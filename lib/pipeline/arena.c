#include "pipeline/arena.h"

#include "base/memory.h"

#include <stdint.h>
#include <string.h>

enum { BLOCK = 16 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t size;
    max_align_t bytes[];
};

void *arena_allocate(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size_t need = ((size > 0 ? size : 1) + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (need > arena->left) {
        size_t room = need > BLOCK ? need : BLOCK;
        struct arena_block *block = memory_allocate(sizeof *block + room);
        if (block == NULL)
            return NULL;
        block->size = room;
        block->next = arena->blocks;
        arena->blocks = block;
        arena->left = room;
    }
    char *at = (char *)arena->blocks->bytes + (arena->blocks->size - arena->left);
    arena->left -= need;
    return at;
}

void *arena_allocate_array(struct arena *arena, size_t count, size_t size)
{
    return size > 0 && count > SIZE_MAX / 2 / size ? NULL : arena_allocate(arena, count * size);
}

char *arena_copy(struct arena *arena, const void *text, size_t size)
{
    char *copy = arena_allocate(arena, size + 1);
    if (copy != NULL && size > 0)
        memcpy(copy, text, size);
    return copy;
}

void arena_free(struct arena *arena)
{
    for (struct arena_block *block = arena->blocks, *next; block != NULL; block = next) {
        next = block->next;
        memory_release(block);
    }
    *arena = (struct arena){0};
}
