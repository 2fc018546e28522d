/*
 * fuzz.h: a fuzzer gives bytes from a stranger to the parsers of one module, and aborts when what must hold does not.
 *
 * Each fuzzer is built twice: with libFuzzer (--enable-fuzzing, `make fuzz`), and for `make check` with replay.c,
 * which runs it on its seeds and on a fixed number of mutations of each, the same ones every time.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "base/buffer.h"

#include <stdio.h>
#include <stdlib.h>

/* Runs the parsers on SIZE bytes at DATA; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Appends the valid input number INDEX, from 0, to OUT; false when there are no more. */
bool fuzz_seed(unsigned index, struct buffer *out);

/* How many mutations of each seed `make check` tries for each that a fast fuzzer tries: 1 in so many. A fuzzer that is slow
 * says so. */
unsigned fuzz_slowness(void);

/* What must hold, said by the line that says so; also where assert() is off. */
#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* A copy of exactly SIZE bytes, so that the sanitizers see each byte that is read past the end. The caller frees it. */
static inline uint8_t *fuzz_copy(const void *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    MUST(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

/* The same, terminated: for parsers of strings. */
static inline char *fuzz_string(const void *data, size_t size)
{
    char *copy = malloc(size + 1);
    MUST(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    return copy;
}

/* fuzz_seed() of a fuzzer whose seeds are COUNT texts. */
static inline bool fuzz_seed_text(unsigned index, const char *const seeds[], size_t count, struct buffer *out)
{
    if (index >= count)
        return false;
    MUST(buffer_append_string(out, seeds[index]) == MP_OK);
    return true;
}

#endif
