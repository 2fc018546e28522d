#include "client/protocol_private.h"

enum { PUBLICATION_SIZE = 2 + 2 + 1 + 8 }; /* besides the names */

enum mp_error protocol_put_publish(struct buffer *out, const struct protocol_publication *publication)
{
    if (publication->topic_size > NAME_MAX_BYTES || publication->target_size > NAME_MAX_BYTES) {
        return MP_ERR_TOO_LARGE;
    }
    if (buffer_reserve(out, PUBLICATION_SIZE + publication->topic_size + publication->target_size) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_string(out, publication->topic, publication->topic_size);
    buffer_put_string(out, publication->target, publication->target_size);
    buffer_put_u8(out, (uint8_t)publication->when);
    return buffer_put_u64(out, (uint64_t)publication->value);
}

bool protocol_take_publication(struct reader *reader, struct protocol_publication *publication)
{
    memset(publication, 0, sizeof *publication);
    publication->topic = reader_string(reader, &publication->topic_size);
    publication->target = reader_string(reader, &publication->target_size);
    unsigned when = reader_u8(reader);
    uint64_t value = reader_u64(reader);
    if (when > PROTOCOL_WHEN_AT || value > INT64_MAX || (when == PROTOCOL_WHEN_NOW && value != 0)) {
        reader->failed = true;
        return false;
    }
    publication->when = (enum protocol_when)when;
    publication->value = (int64_t)value;
    return !reader->failed;
}

enum mp_error protocol_read_publish(const struct protocol_request *request, struct protocol_publication *publication)
{
    struct reader reader = reader_of(request->body, request->body_size);
    if (!protocol_take_publication(&reader, publication)) {
        return MP_ERR_FORMAT;
    }
    publication->frame = reader.data;
    publication->frame_size = reader.left;
    return reader.left == 0 ? MP_ERR_FORMAT : MP_OK;
}

enum mp_error protocol_put_published(struct buffer *out, uint64_t first, uint32_t count, uint32_t duplicates)
{
    if (buffer_reserve(out, 16) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_u64(out, first);
    buffer_put_u32(out, count);
    return buffer_put_u32(out, duplicates);
}

enum mp_error protocol_read_published(const struct protocol_reply *reply, uint64_t *first, uint32_t *count,
                                      uint32_t *duplicates)
{
    struct reader reader = reader_of(reply->body, reply->body_size);
    *first = reader_u64(&reader);
    *count = reader_u32(&reader);
    *duplicates = reader_u32(&reader);
    return *duplicates > *count ? MP_ERR_FORMAT : protocol_done(&reader);
}
