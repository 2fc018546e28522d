/*
 * failing.h: allocations that fail. Where the C library allows it (glibc, without sanitizers) this program has malloc()
 * and its like itself, so that those of SQLite and all other libraries are counted as well. Only what the product asks
 * for fails (product_runs()).
 */
#ifndef TORTURE_FAILING_H
#define TORTURE_FAILING_H

#include <stdbool.h>
#include <stdint.h>

bool failing_memory_works(void);
/* From now on the NTH allocation fails (1: the next; 0: none), and with FOREVER all after it; counts from 0 on. */
void failing_memory(uint64_t nth, bool forever);
/* No more fail; they are counted on. */
void failing_memory_end(void);
uint64_t failing_memory_counted(void);
uint64_t failing_memory_refused(void);

#endif
