#include "message/format_private.h"

/* A message's id in words, for what a user reads of an error. */
static void id_text(const struct format_item *item, char text[FRAME_ID_TEXT])
{
    frame_origin_text(item->record.producer, item->record.sequence, text);
}

static enum mp_error write_separated(const struct format_item *item, int separator, const char *separator_name,
                                     struct buffer *out, struct fault *fault)
{
    const size_t size = item->record.size;
    if (size > 0 && memchr(item->record.body, separator, size) != NULL) {
        char id[FRAME_ID_TEXT];
        id_text(item, id);
        return fault_set(fault, MP_ERR_FORMAT,
                         "message %s holds a %s, which ends a message in this format: take the "
                         "format length or json",
                         id, separator_name);
    }
    if (buffer_reserve(out, size + 1) != MP_OK)
        return fault_memory(fault);
    if (size > 0)
        memcpy(out->data + out->size, item->record.body, size);
    out->data[out->size + size] = (uint8_t)separator;
    out->size += size + 1;
    return MP_OK;
}

static enum mp_error write_length(const struct format_item *item, struct buffer *out, struct fault *fault)
{
    const size_t size = item->record.size;
    if (size > FRAME_BODY_MAX)
        return fault_set(fault, MP_ERR_TOO_LARGE, "a body of %zu bytes", size);
    const uint8_t length[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
    if (buffer_reserve(out, size + sizeof(length)) != MP_OK || buffer_append(out, length, sizeof(length)) != MP_OK ||
        (size > 0 && buffer_append(out, item->record.body, size) != MP_OK))
        return fault_memory(fault);
    return MP_OK;
}

static enum mp_error write_json(const struct format_item *item, struct buffer *out, struct fault *fault)
{
    const size_t before = out->size;
    enum mp_error error = format_json_write(item, out, fault);
    if (error == MP_OK && buffer_append(out, "\n", 1) != MP_OK)
        error = fault_memory(fault);
    if (error != MP_OK)
        out->size = before;
    return error;
}

enum mp_error format_write(enum format format, const struct format_item *item, struct buffer *out, struct fault *fault)
{
    switch (format) {
    case FORMAT_LINES:
        return write_separated(item, '\n', "newline", out, fault);
    case FORMAT_NULL:
        return write_separated(item, '\0', "NUL byte", out, fault);
    case FORMAT_LENGTH:
        return write_length(item, out, fault);
    case FORMAT_WHOLE:
        if (item->record.size > 0 && buffer_append(out, item->record.body, item->record.size) != MP_OK)
            return fault_memory(fault);
        return MP_OK;
    case FORMAT_JSON:
        return write_json(item, out, fault);
    }
    return fault_set(fault, MP_ERR_INTERNAL, "no such format");
}
