/*
 * memory.h: allocation that tests can make fail.
 *
 * The same as malloc and its relatives, and memory from here can go to free() and back. A test asks for the nth
 * allocation from now to fail, and sees whether what it tests comes through.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

/* SIZE bytes, zeroed; NULL when there is no memory. */
void *memory_allocate(size_t size);

/* COUNT things of SIZE bytes, zeroed; NULL also when their product overflows. */
void *memory_allocate_array(size_t count, size_t size);

/* MEMORY (or NULL) moved to a place of SIZE bytes, 1 at least; NULL leaves it as it was. */
void *memory_reallocate(void *memory, size_t size);

/*
 * Room for more in an array: ALL (or NULL), *CAPACITY things of SIZE bytes, moved to where there are twice as many, or
 * FIRST if it had none; *CAPACITY says how many. NULL, and nothing has changed: there is no memory.
 */
void *memory_grow(void *all, size_t *capacity, size_t size, size_t first);

/* A terminated copy of SIZE bytes at TEXT; NULL when there is no memory. */
char *memory_copy_text(const char *text, size_t size);

void memory_release(void *memory);

/* How often there was no memory, since the start. */
unsigned long memory_refusals(void);

/* Gives memory that is free back to the system, as far as the C library can: for a program that has come to rest. */
void memory_trim(void);

/*
 * For tests, before other threads start: the NTH allocation from now fails (1 is the next), later ones succeed; 0 turns
 * it off. memory_failed() says whether it came to that since.
 */
void memory_fail(unsigned long nth);
int memory_failed(void);

#endif
