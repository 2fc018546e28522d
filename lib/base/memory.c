#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static unsigned long countdown; /* 0: nothing is to fail */
static int failed;
static unsigned long refusals;

static inline bool refused(void)
{
    if (__builtin_expect(countdown == 0, 1) || --countdown > 0)
        return false;
    failed = 1;
    return true;
}

/* MEMORY, which was asked for; NULL is counted, by whatever thread. */
static inline void *note(void *memory)
{
    if (__builtin_expect(memory == NULL, 0))
        __atomic_add_fetch(&refusals, 1, __ATOMIC_RELAXED);
    return memory;
}

void *memory_allocate(size_t size)
{
    return note(refused() ? NULL : calloc(1, size > 0 ? size : 1));
}

void *memory_allocate_array(size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / size)
        return NULL;
    return memory_allocate(count * size);
}

void *memory_reallocate(void *memory, size_t size)
{
    return note(refused() ? NULL : realloc(memory, size));
}

void *memory_grow(void *all, size_t *capacity, size_t size, size_t first)
{
    size_t more, bytes;
    if (__builtin_mul_overflow(*capacity, (size_t)2, &more))
        return NULL;
    if (more == 0)
        more = first;
    if (__builtin_mul_overflow(more, size, &bytes))
        return NULL;
    void *grown = memory_reallocate(all, bytes);
    if (grown)
        *capacity = more;
    return grown;
}

char *memory_copy_text(const char *text, size_t size)
{
    if (size == SIZE_MAX)
        return NULL;
    char *copy = note(refused() ? NULL : malloc(size + 1));
    if (copy == NULL)
        return NULL;
    if (size > 0)
        memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

void memory_release(void *memory)
{
    free(memory);
}

unsigned long memory_refusals(void)
{
    return __atomic_load_n(&refusals, __ATOMIC_RELAXED);
}

void memory_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void memory_fail(unsigned long nth)
{
    countdown = nth;
    failed = 0;
}

int memory_failed(void)
{
    return failed;
}
