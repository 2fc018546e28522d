/*
 * bits.h: sets of small numbers as bitmaps: number i is bit (i mod 8), the lowest first, of byte i / 8.
 *
 * So they are on disk and on the wire. A bitmap of N numbers has bits_size(N) bytes; what its last byte has beyond is
 * not looked at.
 */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline size_t bits_size(size_t count)
{
    return count / 8 + (count % 8 != 0);
}

static inline bool bits_get(const uint8_t *bits, size_t number)
{
    return bits[number / 8] >> (number % 8) & 1;
}

static inline void bits_set(uint8_t *bits, size_t number)
{
    bits[number / 8] |= (uint8_t)(1u << (number % 8));
}

static inline void bits_clear(uint8_t *bits, size_t number)
{
    bits[number / 8] &= (uint8_t) ~(1u << (number % 8));
}

/* Sets COUNT numbers from FIRST on. */
void bits_set_range(uint8_t *bits, size_t first, size_t count);

/* How many of the COUNT numbers from FIRST on are in the set. */
size_t bits_count(const uint8_t *bits, size_t first, size_t count);

/* The length of the run of numbers from FIRST on, below END, that are all in the set or all not, as FIRST is. */
size_t bits_run(const uint8_t *bits, size_t first, size_t end);

/* Copies COUNT bits from number FROM of SOURCE to the beginning of TARGET; the rest of its last byte becomes zero. */
void bits_copy(uint8_t *target, const uint8_t *source, size_t from, size_t count);

#endif
