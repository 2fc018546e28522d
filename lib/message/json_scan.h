/*
 * json_scan.h: a strict scanner of JSON (RFC 8259) that tells where values stand in a text, so that they can be taken
 * from it to the byte. It builds no tree and takes no memory; it keeps spelling, order and repetition of what it passes
 * over, and knows the place of an error, which is why it is here in place of a library. Its names are ones that Jansson
 * does not use, so that a program can have both.
 */
#ifndef MESSAGE_JSON_SCAN_H
#define MESSAGE_JSON_SCAN_H

#include "base/buffer.h"

enum { SCAN_DEPTH_MAX = 512 }; /* levels of objects and arrays inside a value */

/*
 * Scans from `at` to `end`. A function that returns false has set `problem`, words for what is wrong at `at`; the
 * scanner is then of no further use.
 */
struct json_scanner {
    const uint8_t *at;
    const uint8_t *end;
    const char *problem;
};

static inline struct json_scanner json_scanner(const uint8_t *text, size_t size)
{
    return (struct json_scanner){.at = text, .end = text + size};
}

enum scan_kind {
    SCAN_NONE, /* the end, or what begins no value */
    SCAN_OBJECT,
    SCAN_ARRAY,
    SCAN_STRING,
    SCAN_NUMBER,
    SCAN_TRUE,
    SCAN_FALSE,
    SCAN_NULL
};

/* A stretch of the text: a value, or the inside of a string between its quotes. */
struct json_extent {
    const uint8_t *text;
    size_t size;
    bool escaped; /* of a string: it holds a backslash, and must be decoded */
};

/* Passes over white space. */
void json_scan_space(struct json_scanner *scanner);

/* What kind of value begins at `at`. */
enum scan_kind json_scan_kind(const struct json_scanner *scanner);

/* Passes over CHARACTER, or says that it was expected. */
bool json_scan_expect(struct json_scanner *scanner, char character);

/* Passes over a string, whose characters must be UTF-8, and tells its inside. */
bool json_scan_string(struct json_scanner *scanner, struct json_extent *inside);

/* Passes over a value of any kind and tells its extent. White space before it is the caller's to pass over. */
bool json_scan_value(struct json_scanner *scanner, struct json_extent *value);

/* Whether TEXT is one value and nothing else, not even white space around it. */
bool json_scan_is_value(const uint8_t *text, size_t size);

/*
 * Appends the characters of a string that json_scan_string() passed. MP_ERR_FORMAT: one half of a surrogate pair,
 * *WRONG is its place. MP_ERR_MEMORY.
 */
enum mp_error json_scan_decode(const struct json_extent *inside, struct buffer *out, const uint8_t **wrong);

/* Appends SIZE bytes of UTF-8 as a JSON string with its quotes. MP_ERR_MEMORY. */
enum mp_error json_scan_quote(struct buffer *out, const void *text, size_t size);

#endif
