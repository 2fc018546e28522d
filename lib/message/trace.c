#include "message/trace.h"

#include "message/attributes.h"

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

uint64_t trace_delivery(uint64_t session, uint64_t lease)
{
    const uint64_t parts[2] = {session, lease};
    return session ? XXH3_64bits(parts, sizeof parts) : 0;
}

uint64_t trace_span(uint64_t producer, uint64_t sequence, const struct trace_place *place)
{
    const uint64_t of_sequence = UINT64_C(0x9e3779b97f4a7c15), of_offset = UINT64_C(0xc2b2ae3d27d4eb4f),
                   of_attempt = UINT64_C(0x165667b19e3779f9);
    uint64_t span =
        producer + sequence * of_sequence + place->offset * of_offset + place->attempt * of_attempt + place->delivery;
    if (place->topic)
        span += XXH3_64bits_withSeed(place->topic, strlen(place->topic), 1);
    if (place->group)
        span += XXH3_64bits_withSeed(place->group, strlen(place->group), 2);
    return span > 0 ? span : 1;
}

/* ---- what messages say ----------------------------------------------------------------------------------------- */

static bool is_key_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '*' || c == '/' || c == '@';
}

/* `key=value`, without the spaces around it. */
static bool is_member(const char *text, size_t size)
{
    enum { PART_MAX = 256 };
    const char *equals = memchr(text, '=', size);
    if (!equals || equals == text || equals - text > PART_MAX)
        return false;
    for (const char *c = text; c < equals; c++)
        if (!is_key_letter(*c))
            return false;
    size_t value = size - (size_t)(equals - text) - 1;
    if (value == 0 || value > PART_MAX)
        return false;
    for (const char *c = equals + 1; c < text + size; c++)
        if (*c < ' ' || *c > '~' || *c == '=')
            return false;
    return true;
}

bool trace_state_check(const char *text, size_t size)
{
    enum { MEMBERS_MAX = 32 };
    const char *at = text, *end = text + size;
    unsigned members = 0;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end, *last = stop;
        while (at < last && (*at == ' ' || *at == '\t'))
            at++;
        while (last > at && (last[-1] == ' ' || last[-1] == '\t'))
            last--;
        if (last > at && (++members > MEMBERS_MAX || !is_member(at, (size_t)(last - at))))
            return false;
        at = comma ? comma + 1 : end;
    }
    return members > 0;
}

/* Which of the two are there and are not what they should be. */
static void look(const uint8_t *block, size_t size, bool *parent_bad, bool *state_bad)
{
    struct attribute attribute;
    struct trace_parent parent;
    bool has_parent = attribute_known(block, size, ATTRIBUTE_TRACEPARENT, &attribute);
    *parent_bad = has_parent && !trace_parent_read(attribute.value, attribute.value_size, &parent);
    *state_bad = attribute_known(block, size, ATTRIBUTE_TRACESTATE, &attribute) &&
                 (!has_parent || *parent_bad || !trace_state_check(attribute.value, attribute.value_size));
}

bool trace_is_sound(const uint8_t *block, size_t size)
{
    bool parent_bad, state_bad;
    if (size == 0)
        return true;
    look(block, size, &parent_bad, &state_bad);
    return !parent_bad && !state_bad;
}

bool trace_mend(struct buffer *block)
{
    bool parent_bad, state_bad;
    if (block->size == 0)
        return false;
    look(block->data, block->size, &parent_bad, &state_bad);
    if (parent_bad)
        attributes_remove(block, "traceparent", 11);
    if (state_bad)
        attributes_remove(block, "tracestate", 10);
    return parent_bad || state_bad;
}

enum mp_error trace_mender_apply(struct trace_mender *mender, const uint8_t **block, size_t *size)
{
    if (trace_is_sound(*block, *size))
        return MP_OK;
    mender->block.size = 0;
    enum mp_error error = buffer_append(&mender->block, *block, *size);
    if (error)
        return error;
    trace_mend(&mender->block);
    mender->count++;
    *size = mender->block.size;
    *block = *size > 0 ? mender->block.data : NULL;
    return MP_OK;
}
