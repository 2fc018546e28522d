#include "client/protocol_private.h"

enum { POSITION_SIZE = 12, CHUNK_SIZE = 32 }; /* a chunk besides its name, mask and frame */

enum mp_error protocol_put_fetch(struct buffer *out, const struct protocol_fetch *fetch,
                                 const struct protocol_position *positions)
{
    if (fetch->topic_size > NAME_MAX_BYTES || fetch->group_size > NAME_MAX_BYTES ||
        fetch->positions_count > PROTOCOL_POSITIONS_MAX) {
        return MP_ERR_TOO_LARGE;
    }
    size_t size = 4 + fetch->topic_size + fetch->group_size + 27 + (size_t)fetch->positions_count * POSITION_SIZE;
    if (buffer_reserve(out, size) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_string(out, fetch->topic, fetch->topic_size);
    buffer_put_string(out, fetch->group, fetch->group_size);
    buffer_put_u8(out, (uint8_t)fetch->from);
    buffer_put_u64(out, fetch->value);
    buffer_put_u32(out, fetch->max_messages);
    buffer_put_u32(out, fetch->max_bytes);
    buffer_put_u32(out, fetch->wait);
    buffer_put_u32(out, fetch->lease);
    buffer_put_u16(out, (uint16_t)fetch->positions_count);
    for (uint32_t i = 0; i < fetch->positions_count; i++) {
        buffer_put_u32(out, positions[i].topic);
        buffer_put_u64(out, positions[i].next);
    }
    return MP_OK;
}

enum mp_error protocol_read_fetch(const struct protocol_request *request, struct protocol_fetch *fetch)
{
    struct reader reader = reader_of(request->body, request->body_size);
    memset(fetch, 0, sizeof *fetch);
    fetch->topic = reader_string(&reader, &fetch->topic_size);
    fetch->group = reader_string(&reader, &fetch->group_size);
    unsigned from = reader_u8(&reader);
    fetch->value = reader_u64(&reader);
    fetch->max_messages = reader_u32(&reader);
    fetch->max_bytes = reader_u32(&reader);
    fetch->wait = reader_u32(&reader);
    fetch->lease = reader_u32(&reader);
    fetch->positions_count = reader_u16(&reader);
    fetch->positions = reader_bytes(&reader, (size_t)fetch->positions_count * POSITION_SIZE);
    if (from > PROTOCOL_FROM_EXACT || fetch->positions_count > PROTOCOL_POSITIONS_MAX) {
        return MP_ERR_FORMAT;
    }
    fetch->from = (enum protocol_from)from;
    return protocol_done(&reader);
}

struct protocol_position protocol_fetch_position(const struct protocol_fetch *fetch, uint32_t index)
{
    const uint8_t *at = fetch->positions + (size_t)index * POSITION_SIZE;
    return (struct protocol_position){.topic = load_u32(at), .next = load_u64(at + 4)};
}

enum mp_error protocol_put_fetched(struct buffer *out, unsigned flags, uint64_t waiting, uint32_t chunks)
{
    if (chunks > PROTOCOL_CHUNKS_MAX) {
        return MP_ERR_TOO_LARGE;
    }
    if (buffer_reserve(out, 11) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_u8(out, (uint8_t)flags);
    buffer_put_u64(out, waiting);
    return buffer_put_u16(out, (uint16_t)chunks);
}

/* ---- chunks ------------------------------------------------------------------------------- */

static size_t mask_bytes(uint32_t span)
{
    return ((size_t)span + 7) / 8;
}

static unsigned bits_of(uint8_t byte)
{
    return (unsigned)__builtin_popcount(byte);
}

/* Whether MASK has COUNT bits below SPAN, and none above. */
static bool mask_fits(const uint8_t *mask, uint32_t span, uint32_t count)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < mask_bytes(span); i++) {
        bits += bits_of(mask[i]);
    }
    unsigned used = span % 8;
    bool clear = used == 0 || mask[span / 8] >> used == 0;
    return bits == count && clear;
}

enum mp_error protocol_put_chunk(struct buffer *out, const struct protocol_chunk *chunk)
{
    uint32_t span = chunk->span == 0 ? chunk->count : chunk->span;
    size_t mask = span != chunk->count ? mask_bytes(span) : 0;
    if (chunk->name_size > NAME_MAX_BYTES || (mask > 0 && span > FRAME_COUNT_MAX)) {
        return MP_ERR_TOO_LARGE;
    }
    if (buffer_reserve(out, CHUNK_SIZE + chunk->name_size + mask) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_u32(out, chunk->topic);
    buffer_put_u32(out, chunk->group);
    buffer_put_u64(out, chunk->first);
    buffer_put_u32(out, chunk->count);
    buffer_put_u32(out, span);
    buffer_put_u16(out, chunk->attempt);
    buffer_put_u32(out, chunk->frame_size);
    buffer_put_string(out, chunk->name, chunk->name_size);
    return buffer_append(out, chunk->mask, mask);
}

/* Reads the mask that a chunk has when its span is not its count. */
static bool take_mask(struct reader *reader, struct protocol_chunk *chunk)
{
    chunk->mask = NULL;
    if (chunk->span == chunk->count) {
        return true;
    }
    if (chunk->span < chunk->count || chunk->span > FRAME_COUNT_MAX || chunk->count == 0) {
        return false;
    }
    chunk->mask = reader_bytes(reader, mask_bytes(chunk->span));
    return chunk->mask != NULL && mask_fits(chunk->mask, chunk->span, chunk->count);
}

/* Reads a chunk; false, with the reader failed, when it is no valid one. */
static bool take_chunk(struct reader *reader, struct protocol_chunk *chunk)
{
    chunk->topic = reader_u32(reader);
    chunk->group = reader_u32(reader);
    chunk->first = reader_u64(reader);
    chunk->count = reader_u32(reader);
    chunk->span = reader_u32(reader);
    chunk->attempt = reader_u16(reader);
    chunk->frame_size = reader_u32(reader);
    chunk->name = reader_string(reader, &chunk->name_size);
    bool masked = take_mask(reader, chunk);
    chunk->frame = reader_bytes(reader, chunk->frame_size);
    if (reader->failed || !masked || chunk->first > UINT64_MAX - chunk->span ||
        (chunk->frame_size > 0 && chunk->count == 0) ||
        name_check_topic(chunk->name, chunk->name_size, NULL) != MP_OK) {
        reader->failed = true;
    }
    return !reader->failed;
}

uint64_t protocol_chunk_next(const struct protocol_chunk *chunk, uint64_t offset)
{
    uint64_t end = chunk->first + chunk->span;
    if (offset < chunk->first) {
        offset = chunk->first;
    }
    if (chunk->mask == NULL || offset >= end) {
        return offset < end ? offset : end;
    }
    uint32_t at = (uint32_t)(offset - chunk->first);
    unsigned byte = (unsigned)chunk->mask[at / 8] >> at % 8 << at % 8;
    size_t index = at / 8;
    while (byte == 0 && ++index < mask_bytes(chunk->span)) {
        byte = chunk->mask[index];
    }
    return byte == 0 ? end : chunk->first + index * 8 + (unsigned)__builtin_ctz(byte);
}

uint64_t protocol_chunk_offset(const struct protocol_chunk *chunk, uint32_t index)
{
    if (chunk->mask == NULL) {
        return chunk->first + index;
    }
    size_t at = 0;
    while (at < mask_bytes(chunk->span) && bits_of(chunk->mask[at]) <= index) {
        index -= bits_of(chunk->mask[at++]);
    }
    uint64_t offset = protocol_chunk_next(chunk, chunk->first + at * 8);
    while (index-- > 0) {
        offset = protocol_chunk_next(chunk, offset + 1);
    }
    return offset;
}

enum mp_error protocol_read_fetched(const struct protocol_reply *reply, struct protocol_fetched *fetched)
{
    struct reader reader = reader_of(reply->body, reply->body_size);
    fetched->flags = reader_u8(&reader);
    fetched->waiting = reader_u64(&reader);
    fetched->chunks = reader_u16(&reader);
    fetched->rest = reader;
    if (fetched->chunks > PROTOCOL_CHUNKS_MAX) {
        return MP_ERR_FORMAT;
    }
    struct protocol_chunk chunk;
    for (uint32_t i = 0; i < fetched->chunks; i++) {
        if (!take_chunk(&reader, &chunk)) {
            return MP_ERR_FORMAT;
        }
    }
    return protocol_done(&reader);
}

bool protocol_next_chunk(struct protocol_fetched *fetched, struct protocol_chunk *chunk)
{
    return fetched->rest.left > 0 && take_chunk(&fetched->rest, chunk);
}
