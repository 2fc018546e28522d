/*
 * text.h: runs of UTF-8 (RFC 3629; single characters: base/utf8.h) and base64 (RFC 4648, section 4), for the formats.
 */
#ifndef MESSAGE_TEXT_H
#define MESSAGE_TEXT_H

#include "base/buffer.h"

/* Whether SIZE bytes at TEXT are UTF-8 throughout. */
bool text_is_utf8(const uint8_t *text, size_t size);

/* Characters in SIZE bytes at TEXT; a byte that begins none counts with the one before it. */
size_t text_characters(const uint8_t *text, size_t size);

/*
 * How many bytes at AT (of LEFT) stand for themselves inside a JSON string: ASCII but for control characters, `"` and
 * backslash.
 */
size_t text_plain(const uint8_t *at, size_t left);

/* Writes code point POINT as UTF-8 into BYTES and returns its length. POINT is no surrogate and at most 0x10ffff. */
size_t text_encode(uint32_t point, uint8_t bytes[4]);

/* Appends SIZE bytes as base64 with padding. MP_ERR_MEMORY. */
enum mp_error base64_encode(const uint8_t *bytes, size_t size, struct buffer *out);

/*
 * Appends what SIZE characters of base64 stand for. They must be complete, with their padding, and without spaces.
 * MP_ERR_FORMAT: *WRONG is the place of the first wrong character. MP_ERR_MEMORY.
 */
enum mp_error base64_decode(const uint8_t *text, size_t size, struct buffer *out, size_t *wrong);

#endif
