/*
 * random.h: numbers that follow from a seed, by splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
 * generators, 2014). Any seed is a good one. Nothing that has to be secret may rest on them.
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

/* BITS mixed: those that differ by little become ones that have nothing in common. */
static inline uint64_t random_mix(uint64_t bits)
{
    bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
    return bits ^ bits >> 31;
}

/* The next number; *STATE is the seed at first. */
static inline uint64_t random_next(uint64_t *state)
{
    return random_mix(*state += UINT64_C(0x9e3779b97f4a7c15));
}

/* One below LIMIT, which is 1 at least. */
static inline uint64_t random_below(uint64_t *state, uint64_t limit)
{
    return random_next(state) % limit;
}

#endif
