#include "failing.h"

#include "power.h"

#include <errno.h>
#include <stdlib.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WORKS 1
#else
#define WORKS 0
#endif

static uint64_t asked, at, failed;
static bool always;

bool failing_memory_works(void)
{
    return WORKS;
}

void failing_memory(uint64_t nth, bool forever)
{
    at = nth;
    always = forever;
    asked = failed = 0;
}

void failing_memory_end(void)
{
    at = 0;
}

uint64_t failing_memory_counted(void)
{
    return asked;
}

uint64_t failing_memory_refused(void)
{
    return failed;
}

#if WORKS
/* glibc's own, under the names that it has for those who replace malloc(). */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

static bool is_refused(void)
{
    if (!product_runs())
        return false;
    asked++;
    if (at == 0 || asked < at || (asked > at && !always))
        return false;
    failed++;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return is_refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return is_refused() ? NULL : __libc_realloc(memory, size);
}
#endif
