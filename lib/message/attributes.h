/*
 * attributes.h: what is known of a message beside its body, in the form that a frame's record carries.
 *
 * An attribute block is a run of entries. An entry is a byte that says what it is, a 16-bit little-endian length, and
 * that many bytes. For the attributes of CloudEvents 1.0 and its extensions that byte is the name; for any other it is
 * one of ATTRIBUTE_STRING, ATTRIBUTE_INTEGER, ATTRIBUTE_BOOLEAN (the CloudEvents types; the value is text in each
 * case), and a length byte and the name stand before the value. ATTRIBUTE_ORIGIN holds 16 bytes: the producer and the
 * sequence of a message that is not its frame's own.
 *
 * Entries stand in ascending order of their codes, one of each known code; all others behind them, in ascending order
 * of the bytes of their names whatever their types, each name once. So a block is canonical: two messages with the same
 * attributes have the same bytes.
 *
 * Values are UTF-8 (RFC 3629) without control characters (U+0000 to U+001F, U+007F to U+009F). Those of known
 * attributes are not empty, `time` and `expirytime` are RFC 3339, an integer is in decimal from -2147483648 to
 * 2147483647, a boolean is "true" or "false". Names are [A-Za-z0-9_-] and matched exactly; "specversion", "data" and
 * "data_base64" are CloudEvents' own and cannot be attributes.
 *
 * The origin does not count against the limits, so that it can always be set; what a dead letter says of its death
 * (letter.h) does not count against the number.
 */
#ifndef MESSAGE_ATTRIBUTES_H
#define MESSAGE_ATTRIBUTES_H

#include "base/buffer.h"
#include "base/fault.h"

enum attribute_code {
    ATTRIBUTE_ORIGIN = 1,
    ATTRIBUTE_ID = 2,
    ATTRIBUTE_SOURCE = 3,
    ATTRIBUTE_TYPE = 4,
    ATTRIBUTE_SUBJECT = 5,
    ATTRIBUTE_TIME = 6, /* RFC 3339, as the sender wrote it */
    ATTRIBUTE_DATACONTENTTYPE = 7,
    ATTRIBUTE_DATASCHEMA = 8,
    ATTRIBUTE_TRACEPARENT = 9,
    ATTRIBUTE_TRACESTATE = 10,
    ATTRIBUTE_PARTITIONKEY = 11,
    ATTRIBUTE_CORRELATIONID = 12,
    ATTRIBUTE_CAUSATIONID = 13,
    ATTRIBUTE_EXPIRYTIME = 14,
    ATTRIBUTE_STRING = 64,
    ATTRIBUTE_INTEGER = 65,
    ATTRIBUTE_BOOLEAN = 66
};

enum {
    ATTRIBUTE_NAME_MAX = 64,     /* bytes of a name: [A-Za-z0-9_-] */
    ATTRIBUTE_VALUE_MAX = 8192,  /* bytes of a value: UTF-8 without control characters */
    ATTRIBUTE_COUNT_MAX = 64,    /* attributes of a message, without the origin and those of a dead letter */
    ATTRIBUTE_BLOCK_MAX = 65535, /* bytes of a block with an origin; ATTRIBUTE_ORIGIN_SIZE fewer without */
    ATTRIBUTE_ORIGIN_SIZE = 19   /* bytes of the origin's entry */
};

struct attribute {
    enum attribute_code code;
    const char *name; /* not terminated; a constant string for known codes, "" for the origin */
    size_t name_size;
    const char *value; /* not terminated, inside the block; the origin's 16 bytes are no text */
    size_t value_size;
};

/* The name of a known code ("partitionkey"), or NULL for the others and ATTRIBUTE_ORIGIN, which has none. */
const char *attribute_name(enum attribute_code code);

/* The code of NAME: a known one, or ATTRIBUTE_STRING. */
enum attribute_code attribute_code_of(const char *name, size_t size);

/* Those that letter.h describes. */
enum attribute_of_letter {
    LETTER_NONE,
    LETTER_TOPIC,
    LETTER_GROUP,
    LETTER_OFFSET,
    LETTER_REASON,
    LETTER_ATTEMPTS,
    LETTER_FIRST,
    LETTER_LAST,
    LETTER_CODE,
    LETTER_ERROR
};
/* Which one of them it is; LETTER_NONE: none. */
enum attribute_of_letter attribute_of_letter(const struct attribute *attribute);

/*
 * Reads the entry at *AT (0 to begin with) of BLOCK and moves *AT behind it. False at the end, and for what is not an
 * entry; attributes_check() tells the two apart.
 */
bool attribute_next(const uint8_t *block, size_t size, size_t *at, struct attribute *attribute);

/* Looks NAME up. The origin is not found by any name. */
bool attribute_find(const uint8_t *block, size_t size, const char *name, size_t name_size, struct attribute *attribute);

/* The known attribute CODE, without a look at what stands behind it: entries are in the order of their codes. */
bool attribute_known(const uint8_t *block, size_t size, enum attribute_code code, struct attribute *attribute);

/* Whether BLOCK, from a stranger, is a canonical one within the limits. MP_ERR_FORMAT, MP_ERR_TOO_LARGE. */
enum mp_error attributes_check(const uint8_t *block, size_t size, struct fault *fault);

/*
 * Sets NAME to VALUE in BLOCK (an empty buffer is an empty block), keeping it canonical; an entry of that name is
 * replaced. CODE is used for names that are not known: ATTRIBUTE_STRING, _INTEGER or _BOOLEAN. Checks both and says
 * what is wrong with them. MP_ERR_INVALID, MP_ERR_TOO_LARGE, MP_ERR_MEMORY.
 */
enum mp_error attributes_set(struct buffer *block, enum attribute_code code, const char *name, size_t name_size,
                             const char *value, size_t value_size, struct fault *fault);

/* Removes NAME if it is there. */
void attributes_remove(struct buffer *block, const char *name, size_t name_size);

/* Sets or replaces the origin. PRODUCER is not 0. MP_ERR_INVALID, MP_ERR_TOO_LARGE, MP_ERR_MEMORY. */
enum mp_error attributes_set_origin(struct buffer *block, uint64_t producer, uint64_t sequence);

/* The origin in BLOCK; false when there is none. */
bool attributes_origin(const uint8_t *block, size_t size, uint64_t *producer, uint64_t *sequence);

#endif
