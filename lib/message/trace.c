#include "message/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* SIZE lower-case hex digits, 16 at most. */
static bool read_hex(const char *text, size_t size, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c >= '0' && c <= '9')
            *value = *value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *value = *value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    return true;
}

bool trace_id_read(const char *text, size_t size, uint64_t trace[2])
{
    return size == 32 && read_hex(text, 16, &trace[0]) && read_hex(text + 16, 16, &trace[1]) && (trace[0] || trace[1]);
}

bool trace_parent_read(const char *text, size_t size, struct trace_parent *parent)
{
    const size_t form = TRACE_PARENT_TEXT - 1;
    uint64_t version, flags;
    if (size < form || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return false;
    if (!read_hex(text, 2, &version) || version == 0xff || (version == 0 && size != form) ||
        (size > form && text[form] != '-'))
        return false;
    if (!trace_id_read(text + 3, 32, parent->trace) || !read_hex(text + 36, 16, &parent->span) || parent->span == 0 ||
        !read_hex(text + 53, 2, &flags))
        return false;
    parent->flags = (uint8_t)flags;
    return true;
}

void trace_parent_write(const struct trace_parent *parent, char text[TRACE_PARENT_TEXT])
{
    snprintf(text, TRACE_PARENT_TEXT, "00-%016" PRIx64 "%016" PRIx64 "-%016" PRIx64 "-%02x", parent->trace[0],
             parent->trace[1], parent->span, (unsigned)parent->flags);
}

void trace_id_write(const uint64_t trace[2], char text[TRACE_ID_TEXT])
{
    snprintf(text, TRACE_ID_TEXT, "%016" PRIx64 "%016" PRIx64, trace[0], trace[1]);
}

void trace_span_write(uint64_t span, char text[TRACE_SPAN_TEXT])
{
    snprintf(text, TRACE_SPAN_TEXT, "%016" PRIx64, span);
}

uint64_t trace_span(uint64_t producer, uint64_t sequence, const char *group, uint32_t attempt)
{
    uint64_t span = producer ^ (sequence + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ attempt;
    if (group)
        span ^= XXH3_64bits(group, strlen(group));
    return span > 0 ? span : 1;
}
