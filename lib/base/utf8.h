/*
 * utf8.h: well-formed UTF-8 (RFC 3629), and what of it is safe to show.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The length in bytes (1 to 4) of the character that SIZE bytes at AT begin with, or 0 when that is none: a stray or
 * missing continuation, an overlong form, a surrogate, past U+10FFFF, or SIZE is 0. CODE (NULL is allowed) gets it.
 */
size_t utf8_next(const uint8_t *at, size_t size, uint32_t *code);

/* Control characters: U+0000 to U+001F and U+007F to U+009F. */
static inline bool utf8_is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

/*
 * How many of SIZE bytes at TEXT are well-formed UTF-8 without control characters, from the start: SIZE when all are.
 */
size_t utf8_plain(const uint8_t *text, size_t size);

#endif
