#include "message/format_private.h"

#include "base/utf8.h"

#include <stdio.h>

enum { ESCAPE_MAX = 8 };

/* Characters that change the order in which those around them are shown, and so can make a text look like another. */
static bool reorders(uint32_t code)
{
    return (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/* Writes what stands for a control character into TEXT and returns its length. */
static size_t write_escape(uint32_t code, char text[ESCAPE_MAX])
{
    switch (code) {
    case '\n':
        memcpy(text, "\\n", 2);
        return 2;
    case '\t':
        memcpy(text, "\\t", 2);
        return 2;
    case '\r':
        memcpy(text, "\\r", 2);
        return 2;
    default:
        return (size_t)snprintf(text, ESCAPE_MAX, code < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)(code & 0xffff));
    }
}

enum mp_error format_escape(const uint8_t *text, size_t size, struct buffer *out)
{
    const size_t before = out->size;
    size_t end = size;
    if (size > 0 && text[size - 1] == '\n')
        end--;
    enum mp_error error = MP_OK;
    size_t shown = 0; /* up to here the text is in OUT */
    for (size_t at = 0; at < end && error == MP_OK;) {
        uint32_t code = 0;
        const size_t length = utf8_next(text + at, end - at, &code);
        const size_t passed = length == 0 ? 1 : length;
        if (length > 0 && !utf8_is_control(code) && !reorders(code)) {
            at += passed;
            continue;
        }
        char escape[ESCAPE_MAX];
        const size_t escape_size = length > 0 ? write_escape(code, escape)
                                              : (size_t)snprintf(escape, sizeof(escape), "\\x%02x", (unsigned)text[at]);
        if (at > shown)
            error = buffer_append(out, text + shown, at - shown);
        if (error == MP_OK)
            error = buffer_append(out, escape, escape_size);
        at += passed;
        shown = at;
    }
    if (error == MP_OK && size > shown)
        error = buffer_append(out, text + shown, size - shown);
    if (error != MP_OK)
        out->size = before;
    return error;
}
