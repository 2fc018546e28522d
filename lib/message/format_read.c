#include "message/format_private.h"

#include <inttypes.h>

/* What a JSON line may have beyond its body: an attribute block in \u escapes, names, punctuation, and spaces. */
#define JSON_OVERHEAD ((size_t)1024 * 1024)

/* A body that goes on being skipped up to a separator. */
#define SKIP_TO_SEPARATOR UINT64_MAX

void format_reader_free(struct format_reader *reader)
{
    buffer_free(&reader->decoded);
    buffer_free(&reader->attributes);
}

static enum mp_error too_large(const struct format_reader *reader, struct fault *fault)
{
    char limit[FORMAT_LIMIT_TEXT];
    format_limit_text(format_reader_limit(reader), limit);
    switch (reader->format) {
    case FORMAT_LINES:
        return fault_set(fault, MP_ERR_TOO_LARGE, "line %" PRIu64 " is longer than the limit of %s", reader->number,
                         limit);
    case FORMAT_WHOLE:
        return fault_set(fault, MP_ERR_TOO_LARGE, "the input is longer than the limit of %s", limit);
    case FORMAT_JSON:
        return fault_set(fault, MP_ERR_TOO_LARGE, "line %" PRIu64 ": the data are longer than the limit of %s",
                         reader->number, limit);
    case FORMAT_NULL:
    case FORMAT_LENGTH:
        break;
    }
    return fault_set(fault, MP_ERR_TOO_LARGE, "message %" PRIu64 " is longer than the limit of %s", reader->number,
                     limit);
}

static enum mp_error take(struct format_reader *reader, const uint8_t *body, size_t size,
                          struct format_message *message)
{
    reader->scanned = 0;
    *message = (struct format_message){.body = body, .size = size};
    return MP_OK;
}

/* Goes on with skipping. True when that is over; *USED says how far it went. */
static bool skip(struct format_reader *reader, const uint8_t *data, size_t size, size_t *used)
{
    *used = size;
    if (reader->skip != SKIP_TO_SEPARATOR) {
        if (reader->skip > size) {
            reader->skip -= size;
            return false;
        }
        *used = (size_t)reader->skip;
        reader->skip = 0;
        return true;
    }
    if (size == 0)
        return false;
    const uint8_t *found = memchr(data, reader->format == FORMAT_NULL ? '\0' : '\n', size);
    if (found == NULL)
        return false;
    *used = (size_t)(found - data) + 1;
    reader->skip = 0;
    return true;
}

/*
 * Finds the end of the next piece of SIZE bytes at DATA, which is at most LIMIT bytes long without its separator.
 * MP_OK: *LENGTH and, in *USED, the same with the separator.
 */
static enum mp_error find_piece(struct format_reader *reader, const uint8_t *data, size_t size, bool end, size_t limit,
                                size_t *length, size_t *used, struct fault *fault)
{
    if (reader->scanned > size)
        reader->scanned = 0; /* not the bytes that were announced */
    const int separator = reader->format == FORMAT_NULL ? '\0' : '\n';
    const size_t left = size - reader->scanned;
    const uint8_t *found = left == 0 ? NULL : memchr(data + reader->scanned, separator, left);
    *length = found == NULL ? size : (size_t)(found - data);
    if (*length > limit) {
        *used = found == NULL ? size : *length + 1;
        reader->skip = found == NULL ? SKIP_TO_SEPARATOR : 0;
        reader->scanned = 0;
        reader->number++;
        return too_large(reader, fault);
    }
    if (found != NULL) {
        *used = *length + 1;
    } else if (end && size > 0) {
        *used = size;
    } else {
        reader->scanned = size;
        *used = 0;
        return end ? MP_ERR_CLOSED : MP_ERR_AGAIN;
    }
    reader->scanned = 0;
    reader->number++;
    return MP_OK;
}

static enum mp_error read_separated(struct format_reader *reader, const uint8_t *data, size_t size, bool end,
                                    size_t *used, struct format_message *message, struct fault *fault)
{
    size_t length;
    enum mp_error error = find_piece(reader, data, size, end, format_reader_limit(reader), &length, used, fault);
    return error == MP_OK ? take(reader, data, length, message) : error;
}

static bool is_blank(const uint8_t *line, size_t size)
{
    for (size_t at = 0; at < size; at++)
        if (line[at] != ' ' && line[at] != '\t' && line[at] != '\r')
            return false;
    return true;
}

static enum mp_error read_json(struct format_reader *reader, const uint8_t *data, size_t size, bool end, size_t *used,
                               struct format_message *message, struct fault *fault)
{
    const size_t body = format_reader_limit(reader);
    const size_t limit = body > (SIZE_MAX - JSON_OVERHEAD) / 6 ? SIZE_MAX : body * 6 + JSON_OVERHEAD;
    *used = 0;
    for (;;) {
        const uint8_t *line = data + *used;
        size_t length;
        size_t passed;
        enum mp_error error = find_piece(reader, line, size - *used, end, limit, &length, &passed, fault);
        *used += passed;
        if (error != MP_OK)
            return error;
        if (is_blank(line, length))
            continue;
        error = format_json_read(reader, line, length, message, fault);
        return error == MP_ERR_TOO_LARGE ? too_large(reader, fault) : error;
    }
}

/* A length that breaks the limit is often no length: the words of a text, read as one. */
static enum mp_error length_too_large(struct format_reader *reader, const uint8_t *data, uint32_t length,
                                      struct fault *fault)
{
    bool text = true;
    for (size_t at = 0; at < 4; at++)
        text = text && data[at] >= 0x20 && data[at] < 0x7f;
    if (!text)
        return too_large(reader, fault);
    char limit[FORMAT_LIMIT_TEXT];
    char number[FORMAT_NUMBER_TEXT];
    format_limit_text(format_reader_limit(reader), limit);
    format_number_text(length, number);
    return fault_set(fault, MP_ERR_TOO_LARGE,
                     "message %" PRIu64 " is longer than the limit of %s: its length, '%.4s', says %s "
                     "bytes; does the input have another format?",
                     reader->number, limit, (const char *)data, number);
}

static enum mp_error read_length(struct format_reader *reader, const uint8_t *data, size_t size, bool end, size_t *used,
                                 struct format_message *message, struct fault *fault)
{
    *used = 0;
    if (size < 4 && !end)
        return MP_ERR_AGAIN;
    if (size == 0)
        return MP_ERR_CLOSED;
    if (size < 4) {
        *used = size;
        reader->number++;
        return fault_set(fault, MP_ERR_FORMAT,
                         "message %" PRIu64 " breaks off in its length, which takes 4 bytes: %zu %s there",
                         reader->number, size, size == 1 ? "is" : "are");
    }
    const uint32_t length = (uint32_t)load_big(data, 4);
    const size_t there = size - 4;
    if (length > format_reader_limit(reader)) {
        const size_t passed = there < length ? there : length;
        reader->skip = length - passed;
        *used = 4 + passed;
        reader->number++;
        return length_too_large(reader, data, length, fault);
    }
    if (there < length && !end)
        return MP_ERR_AGAIN;
    reader->number++;
    if (there < length) {
        *used = size;
        return fault_set(fault, MP_ERR_FORMAT,
                         "message %" PRIu64 " breaks off: its length says %" PRIu32 " bytes, %zu are there",
                         reader->number, length, there);
    }
    *used = 4 + (size_t)length;
    return take(reader, data + 4, length, message);
}

static enum mp_error read_whole(struct format_reader *reader, const uint8_t *data, size_t size, bool end, size_t *used,
                                struct format_message *message, struct fault *fault)
{
    *used = 0;
    if (reader->number > 0) {
        *used = size;
        return end ? MP_ERR_CLOSED : MP_ERR_AGAIN;
    }
    if (size > format_reader_limit(reader)) {
        *used = size;
        reader->number = 1;
        return too_large(reader, fault);
    }
    if (!end)
        return MP_ERR_AGAIN;
    *used = size;
    reader->number = 1;
    return take(reader, data, size, message);
}

enum mp_error format_read_other(struct format_reader *reader, const uint8_t *data, size_t size, bool end, size_t *used,
                                struct format_message *message, struct fault *fault)
{
    size_t skipped = 0;
    if (data == NULL)
        data = (const uint8_t *)"";
    if (reader->skip > 0) {
        if (!skip(reader, data, size, &skipped)) {
            *used = skipped;
            return end ? MP_ERR_CLOSED : MP_ERR_AGAIN;
        }
        data += skipped;
        size -= skipped;
    }
    enum mp_error error = MP_ERR_INTERNAL;
    switch (reader->format) {
    case FORMAT_LINES:
    case FORMAT_NULL:
        error = read_separated(reader, data, size, end, used, message, fault);
        break;
    case FORMAT_LENGTH:
        error = read_length(reader, data, size, end, used, message, fault);
        break;
    case FORMAT_WHOLE:
        error = read_whole(reader, data, size, end, used, message, fault);
        break;
    case FORMAT_JSON:
        error = read_json(reader, data, size, end, used, message, fault);
        break;
    }
    *used += skipped;
    return error;
}
