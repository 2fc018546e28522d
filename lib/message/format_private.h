/*
 * format_private.h: what the formats' files share among themselves.
 */
#ifndef MESSAGE_FORMAT_PRIVATE_H
#define MESSAGE_FORMAT_PRIVATE_H

#include "message/formats.h"

#include "message/attributes.h"
#include "message/json_scan.h"

/* Appends a number with its thousands set apart, "1,048,576", to the terminated TEXT of SIZE bytes. */
enum { FORMAT_NUMBER_TEXT = 32 };
void format_number_text(uint64_t number, char text[FORMAT_NUMBER_TEXT]);

/* A limit in words: "1 MiB (1,048,576 bytes)". */
enum { FORMAT_LIMIT_TEXT = 64 };
void format_limit_text(uint64_t bytes, char text[FORMAT_LIMIT_TEXT]);

/*
 * Takes the line of SIZE bytes, without its newline, apart as a CloudEvent. reader->number is its number already.
 * MP_ERR_FORMAT, MP_ERR_TOO_LARGE (the body), MP_ERR_MEMORY.
 */
enum mp_error format_json_read(struct format_reader *reader, const uint8_t *line, size_t size,
                               struct format_message *message, struct fault *fault);

/* Appends ITEM as a CloudEvent, without a newline. On failure OUT may have more bytes than before. */
enum mp_error format_json_write(const struct format_item *item, struct buffer *out, struct fault *fault);

/* Whether a datacontenttype says JSON: a subtype `json` or `…+json`, whatever the case and the parameters. */
bool format_is_json_type(const char *type, size_t size);

/*
 * As format_pointer_read(), for all kinds of values, with no words and without copying: FOUND points into TEXT, or, where
 * it is `escaped`, behind what was in SCRATCH.
 */
enum mp_error format_pointer_find(struct format_pointer *pointer, const uint8_t *text, size_t size,
                                  struct buffer *scratch, struct json_extent *found);

/* The names of what a relay knows of a message, which a reader drops. */
#define FORMAT_TOPIC "msgpipetopic"
#define FORMAT_OFFSET "msgpipeoffset"
#define FORMAT_ATTEMPT "msgpipeattempt"
bool format_is_relay_name(const char *name, size_t size);

/* Whether TEXT is a CloudEvents integer: JSON's spelling, 32 bits with a sign. */
bool format_is_integer(const char *text, size_t size);

/* Letters, digits, '_' and '-', of which the names of attributes are. */
static inline bool format_is_name_letter(char letter)
{
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') ||
           letter == '_' || letter == '-';
}

static inline bool format_same(const void *text, size_t size, const char *word)
{
    return size == strlen(word) && memcmp(text, word, size) == 0;
}

#endif
