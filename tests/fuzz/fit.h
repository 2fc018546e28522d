/*
 * fit.h: makes the checksums of frames fit: they would keep nearly all damage out, and a stranger can do that too.
 */
#ifndef TESTS_FUZZ_FIT_H
#define TESTS_FUZZ_FIT_H

#include "message/frame.h"

#include <xxhash.h>

enum { FIT_CHECKSUM = 56, FIT_RECORDS = 36 };

/* DATA is a frame. */
static inline void fuzz_fit(uint8_t *data, size_t size)
{
    if (size >= FRAME_HEADER)
        store_u64(data + FIT_CHECKSUM,
                  XXH3_64bits_withSeed(data + FRAME_HEADER, size - FRAME_HEADER, XXH3_64bits(data, FIT_CHECKSUM)));
}

/* The same for what begins as a frame in DATA: as long as it says that it is, or up to the end. */
static inline void fuzz_fit_all(uint8_t *data, size_t size)
{
    for (size_t at = 0; size >= FRAME_HEADER && at <= size - FRAME_HEADER; at++)
        if (memcmp(data + at, "mpf1", 4) == 0) {
            size_t records = load_u32(data + at + FIT_RECORDS), left = size - at - FRAME_HEADER;
            fuzz_fit(data + at, FRAME_HEADER + (records < left ? records : left));
        }
}

#endif
