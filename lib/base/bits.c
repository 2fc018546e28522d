#include "base/bits.h"

void bits_set_range(uint8_t *bits, size_t first, size_t count)
{
    size_t end = first + count;
    for (; first < end && first % 8 != 0; first++)
        bits_set(bits, first);
    for (; first + 8 <= end; first += 8)
        bits[first / 8] = 0xff;
    for (; first < end; first++)
        bits_set(bits, first);
}

size_t bits_count(const uint8_t *bits, size_t first, size_t count)
{
    size_t end = first + count, sum = 0;
    for (; first < end && first % 8 != 0; first++)
        sum += bits_get(bits, first);
    for (; first + 8 <= end; first += 8)
        sum += (unsigned)__builtin_popcount(bits[first / 8]);
    for (; first < end; first++)
        sum += bits_get(bits, first);
    return sum;
}

size_t bits_run(const uint8_t *bits, size_t first, size_t end)
{
    if (first >= end)
        return 0;
    bool value = bits_get(bits, first);
    uint8_t all = value ? 0xff : 0;
    size_t at = first + 1;
    while (at < end) {
        if (at % 8 == 0 && end - at >= 8 && bits[at / 8] == all)
            at += 8;
        else if (bits_get(bits, at) == value)
            at++;
        else
            break;
    }
    return at - first;
}

void bits_copy(uint8_t *target, const uint8_t *source, size_t from, size_t count)
{
    const uint8_t *at = source + from / 8;
    unsigned shift = from % 8;
    for (size_t left = count; left > 0; at++, target++) {
        size_t here = left < 8 ? left : 8;
        unsigned byte = at[0] >> shift;
        if (shift > 0 && here > 8 - shift)
            byte |= (unsigned)at[1] << (8 - shift);
        *target = (uint8_t)(byte & (0xffu >> (8 - here)));
        left -= here;
    }
}
