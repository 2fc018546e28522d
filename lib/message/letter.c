/* The attributes of dead letters. */
#include "message/letter.h"

#include "base/units.h"
#include "base/utf8.h"
#include "message/attributes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const char *const letter_reasons[] = {"rejected", "retries", "format", "unrouted", "overflow", NULL};

void letter_strip(struct buffer *block)
{
    struct attribute attribute;
    size_t kept = 0, start = 0;
    for (size_t at = 0; attribute_next(block->data, block->size, &at, &attribute); start = at)
        if (attribute_of_letter(&attribute) == LETTER_NONE) {
            memmove(block->data + kept, block->data + start, at - start);
            kept += at - start;
        }
    block->size = kept;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

/* What does not fit is left out, which is no error. */
static enum mp_error set(struct buffer *block, enum attribute_code type, const char *name, const char *value,
                         size_t size)
{
    if (size == 0)
        return MP_OK;
    enum mp_error error = attributes_set(block, type, name, strlen(name), value, size, NULL);
    return error == MP_ERR_MEMORY ? error : MP_OK;
}

static enum mp_error set_number(struct buffer *block, enum attribute_code type, const char *name, uint64_t value)
{
    char text[24];
    int size = snprintf(text, sizeof(text), "%" PRIu64, value);
    return set(block, type, name, text, (size_t)size);
}

static enum mp_error set_time(struct buffer *block, const char *name, int64_t time)
{
    char text[UNITS_TIME_TEXT];
    if (time <= 0)
        return MP_OK;
    units_time_text(time, text);
    return set(block, ATTRIBUTE_STRING, name, text, strlen(text));
}

/* Moves *TEXT on until it has at most SIZE bytes and begins neither inside a character nor inside an escape. */
static size_t cut(const char **text, size_t size, size_t most)
{
    const char *at = *text, *end = *text + size;
    while ((size_t)(end - at) > most) {
        size_t step = utf8_next((const uint8_t *)at, (size_t)(end - at), NULL);
        if (at[0] == '\\' && end - at >= 2)
            step = at[1] == 'x' && end - at >= 4 ? 4 : 2;
        at += step ? step : 1;
    }
    *text = at;
    return (size_t)(end - at);
}

/* The error gets what the others left. */
static enum mp_error set_error(struct buffer *block, const struct letter *letter)
{
    static const char name[] = "deaderror";
    const size_t other = 3 + 1 + sizeof(name) - 1 + ATTRIBUTE_ORIGIN_SIZE; /* of its entry, and for the origin */
    size_t used = block->size + other;
    if (used >= ATTRIBUTE_BLOCK_MAX)
        return MP_OK;
    size_t room = ATTRIBUTE_BLOCK_MAX - used;
    const char *text = letter->error;
    size_t size = cut(&text, letter->error_size, room < LETTER_NOTE_MAX ? room : LETTER_NOTE_MAX);
    return set(block, ATTRIBUTE_STRING, name, text, size);
}

enum mp_error letter_write(struct buffer *block, const struct letter *letter)
{
    letter_strip(block);
    enum mp_error error = set(block, ATTRIBUTE_STRING, "deadtopic", letter->topic, letter->topic_size);
    if (!error)
        error = set(block, ATTRIBUTE_STRING, "deadgroup", letter->group, letter->group_size);
    if (!error && letter->topic_size)
        error = set_number(block, ATTRIBUTE_STRING, "deadoffset", letter->offset);
    if (!error)
        error = set(block, ATTRIBUTE_STRING, "deadreason", letter->reason, letter->reason_size);
    if (!error)
        error = set_number(block, ATTRIBUTE_INTEGER, "deadattempts",
                           letter->attempts < INT32_MAX ? letter->attempts : INT32_MAX);
    if (!error)
        error = set_time(block, "deadfirst", letter->first);
    if (!error)
        error = set_time(block, "deadlast", letter->last);
    if (!error && letter->code >= 0)
        error = set_number(block, ATTRIBUTE_INTEGER, "deadcode", (uint64_t)letter->code);
    if (!error && letter->error_size)
        error = set_error(block, letter);
    return error;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

static void get(const struct attribute *attribute, const char **text, size_t *size)
{
    *text = attribute->value;
    *size = attribute->value_size;
}

/* VALUE's number up to HIGH; NONE when it is not one. */
static uint64_t get_number(const struct attribute *attribute, uint64_t high, uint64_t none)
{
    char text[24];
    uint64_t value;
    if (attribute->value_size >= sizeof(text))
        return none;
    memcpy(text, attribute->value, attribute->value_size);
    text[attribute->value_size] = '\0';
    return units_number("", text, 0, high, &value, NULL) ? none : value;
}

static int64_t get_time(const struct attribute *attribute)
{
    char text[UNITS_TIME_TEXT];
    int64_t time;
    if (attribute->value_size >= sizeof(text))
        return 0;
    memcpy(text, attribute->value, attribute->value_size);
    text[attribute->value_size] = '\0';
    return units_time(text, &time, NULL) ? 0 : time;
}

static void take(struct letter *letter, const struct attribute *attribute)
{
    switch (attribute_of_letter(attribute)) {
    case LETTER_NONE:
        break;
    case LETTER_TOPIC:
        get(attribute, &letter->topic, &letter->topic_size);
        break;
    case LETTER_GROUP:
        get(attribute, &letter->group, &letter->group_size);
        break;
    case LETTER_OFFSET:
        letter->offset = get_number(attribute, UINT64_MAX, 0);
        break;
    case LETTER_REASON:
        get(attribute, &letter->reason, &letter->reason_size);
        break;
    case LETTER_ATTEMPTS:
        letter->attempts = (uint32_t)get_number(attribute, INT32_MAX, 0);
        break;
    case LETTER_FIRST:
        letter->first = get_time(attribute);
        break;
    case LETTER_LAST:
        letter->last = get_time(attribute);
        break;
    case LETTER_CODE:
        letter->code = (int32_t)get_number(attribute, INT32_MAX, UINT32_MAX);
        break;
    case LETTER_ERROR:
        get(attribute, &letter->error, &letter->error_size);
        break;
    }
}

bool letter_read(const uint8_t *block, size_t size, struct letter *letter)
{
    struct attribute attribute;
    size_t at = 0;
    *letter = (struct letter){.code = -1};
    while (attribute_next(block, size, &at, &attribute))
        take(letter, &attribute);
    return letter->reason_size > 0;
}

void letter_read_place(const uint8_t *block, size_t size, struct letter *letter)
{
    struct attribute attribute;
    size_t at = 0;
    *letter = (struct letter){.code = -1};
    while (attribute_next(block, size, &at, &attribute)) {
        enum attribute_of_letter which = attribute_of_letter(&attribute);
        if (which == LETTER_TOPIC || which == LETTER_GROUP)
            take(letter, &attribute);
    }
}

/* ---- notes ---------------------------------------------------------------------------------------------------- */

enum { ESCAPE = 8 };

/* What stands for the character at BYTES (of SIZE) in a note; *USED bytes of it are meant. Returns how many bytes. */
static size_t escape(const uint8_t *bytes, size_t size, size_t *used, char out[ESCAPE])
{
    static const char plain[] = "\n\t\r\\", letters[] = "ntr\\";
    const char *found = bytes[0] ? strchr(plain, bytes[0]) : NULL;
    uint32_t point;
    *used = 1;
    if (found) {
        out[0] = '\\';
        out[1] = letters[found - plain];
        return 2;
    }
    size_t length = utf8_next(bytes, size, &point);
    if (length && !utf8_is_control(point)) {
        memcpy(out, bytes, length);
        *used = length;
        return length;
    }
    snprintf(out, ESCAPE, "\\x%02X", bytes[0]);
    return 4;
}

enum mp_error letter_note(const void *data, size_t size, struct buffer *out)
{
    const uint8_t *bytes = data;
    char text[ESCAPE];
    size_t used, whole = 0, begin = 0;
    while (size && (bytes[size - 1] == '\n' || bytes[size - 1] == '\r'))
        size--;
    /* More than the limit of bytes cannot get in; what is cut then may begin inside a character. */
    if (size > LETTER_NOTE_MAX)
        begin = size - LETTER_NOTE_MAX;
    while (begin && begin < size && (bytes[begin] & 0xc0) == 0x80)
        begin++;
    for (size_t at = begin; at < size; at += used)
        whole += escape(bytes + at, size - at, &used, text);
    for (; whole > LETTER_NOTE_MAX; begin += used)
        whole -= escape(bytes + begin, size - begin, &used, text);
    enum mp_error error = buffer_reserve(out, whole);
    for (size_t at = begin; !error && at < size; at += used) {
        size_t length = escape(bytes + at, size - at, &used, text);
        error = buffer_append(out, text, length);
    }
    return error;
}

static int hexadecimal(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* The byte that the escape at NOTE stands for; returns its length, 0 when it is none. */
static size_t unescape(const char *note, size_t size, char *byte)
{
    if (size < 2 || note[0] != '\\')
        return 0;
    switch (note[1]) {
    case 'n':
        *byte = '\n';
        return 2;
    case 't':
        *byte = '\t';
        return 2;
    case 'r':
        *byte = '\r';
        return 2;
    case '\\':
        *byte = '\\';
        return 2;
    case 'x':
        if (size < 4 || hexadecimal(note[2]) < 0 || hexadecimal(note[3]) < 0)
            return 0;
        *byte = (char)(hexadecimal(note[2]) * 16 + hexadecimal(note[3]));
        return 4;
    default:
        return 0;
    }
}

enum mp_error letter_note_read(const char *note, size_t size, struct buffer *out)
{
    enum mp_error error = buffer_reserve(out, size);
    for (size_t at = 0; !error && at < size;) {
        char byte = note[at];
        size_t used = unescape(note + at, size - at, &byte);
        error = buffer_append(out, &byte, 1);
        at += used ? used : 1;
    }
    return error;
}
