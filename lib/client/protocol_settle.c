#include "client/protocol_private.h"

/* ---- writing ------------------------------------------------------------------------------ */

static void put_item(struct buffer *out, const struct protocol_settlement *item)
{
    buffer_put_u32(out, item->group);
    buffer_put_u64(out, item->lease);
    buffer_put_u64(out, item->first);
    buffer_put_u32(out, item->count);
    buffer_put_u32(out, item->span == 0 ? item->count : item->span);
    buffer_put_u8(out, (uint8_t)item->action);
    buffer_put_u8(out, (uint8_t)item->reason);
    buffer_put_u16(out, 0);
    buffer_put_u32(out, item->delay);
    buffer_put_u32(out, (uint32_t)item->exit_code);
}

enum mp_error protocol_put_settle(struct buffer *out, const struct protocol_settlement *items, uint32_t count,
                                  uint16_t publishes)
{
    uint16_t notes = 0;
    if (count > PROTOCOL_SETTLEMENTS_MAX) {
        return MP_ERR_TOO_LARGE;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (items[i].note_size > PROTOCOL_NOTE_MAX) {
            return MP_ERR_TOO_LARGE;
        }
        notes = (uint16_t)(notes + (items[i].note_size > 0));
    }
    if (buffer_reserve(out, PROTOCOL_SETTLE_HEAD + (size_t)count * PROTOCOL_SETTLEMENT_SIZE) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_u32(out, count);
    buffer_put_u16(out, publishes);
    buffer_put_u16(out, notes);
    for (uint32_t i = 0; i < count; i++) {
        put_item(out, &items[i]);
    }
    return MP_OK;
}

enum mp_error protocol_put_settle_publish(struct buffer *out, const struct protocol_publication *publication)
{
    size_t size = publication->frame_size;
    if (size > UINT32_MAX) {
        return MP_ERR_TOO_LARGE;
    }
    if (buffer_reserve(out, 4 * (size_t)NAME_MAX_BYTES + size) != MP_OK) { /* more than it takes: all or nothing */
        return MP_ERR_MEMORY;
    }
    enum mp_error error = protocol_put_publish(out, publication);
    if (error != MP_OK) {
        return error;
    }
    buffer_put_u32(out, (uint32_t)size);
    return buffer_append(out, publication->frame, size);
}

enum mp_error protocol_put_settle_notes(struct buffer *out, const struct protocol_settlement *items, uint32_t count)
{
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        size += items[i].note_size > 0 ? 6 + (size_t)items[i].note_size : 0;
    }
    if (buffer_reserve(out, size) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (items[i].note_size > 0) {
            buffer_put_u32(out, i);
            buffer_put_string(out, items[i].note, items[i].note_size);
        }
    }
    return MP_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

bool protocol_settle_item(const struct protocol_settle *settle, uint32_t index, struct protocol_settlement *item)
{
    if (index >= settle->count) {
        return false;
    }
    const uint8_t *at = settle->items + (size_t)index * PROTOCOL_SETTLEMENT_SIZE;
    unsigned action = at[28];
    unsigned reason = at[29];
    *item = (struct protocol_settlement){
        .group = load_u32(at),
        .lease = load_u64(at + 4),
        .first = load_u64(at + 12),
        .count = load_u32(at + 20),
        .span = load_u32(at + 24),
        .action = (enum protocol_action)action,
        .reason = (enum protocol_reason)reason,
        .delay = load_u32(at + 32),
        .exit_code = (int32_t)load_u32(at + 36),
    };
    bool reasoned = action == PROTOCOL_DEAD ? reason <= PROTOCOL_REASON_OVERFLOW : reason == PROTOCOL_REASON_NONE;
    return action >= PROTOCOL_ACK && action <= PROTOCOL_DEAD && reasoned && load_u16(at + 30) == 0 && item->count > 0 &&
           item->span >= item->count && item->first <= UINT64_MAX - item->span;
}

static bool take_publish(struct reader *reader, struct protocol_publication *publication)
{
    if (!protocol_take_publication(reader, publication)) {
        return false;
    }
    publication->frame_size = reader_u32(reader);
    publication->frame = reader_bytes(reader, publication->frame_size);
    return !reader->failed;
}

bool protocol_settle_publish(struct protocol_settle *settle, struct protocol_publication *publication)
{
    return settle->rest.left > 0 && take_publish(&settle->rest, publication);
}

/* Walks over the notes of SETTLE, whose items must be there and ascend. */
static enum mp_error check_notes(const struct protocol_settle *settle)
{
    struct reader reader = settle->words;
    uint32_t next = 0;
    for (unsigned i = 0; i < settle->notes; i++) {
        size_t size;
        uint32_t item = reader_u32(&reader);
        reader_string(&reader, &size);
        if (reader.failed || item < next || item >= settle->count || size == 0 || size > PROTOCOL_NOTE_MAX) {
            return MP_ERR_FORMAT;
        }
        next = item + 1;
    }
    return protocol_done(&reader);
}

bool protocol_settle_note(struct reader *words, uint32_t index, const char **note, uint16_t *size)
{
    if (words->left < 4 || load_u32(words->data) != index) {
        return false;
    }
    size_t bytes;
    reader_u32(words);
    *note = reader_string(words, &bytes);
    *size = (uint16_t)bytes;
    return *note != NULL;
}

enum mp_error protocol_read_settle(const struct protocol_request *request, struct protocol_settle *settle)
{
    struct reader reader = reader_of(request->body, request->body_size);
    memset(settle, 0, sizeof *settle);
    settle->count = reader_u32(&reader);
    settle->publishes = reader_u16(&reader);
    settle->notes = reader_u16(&reader);
    if (reader.failed || settle->count > PROTOCOL_SETTLEMENTS_MAX) {
        return MP_ERR_FORMAT;
    }
    settle->items = reader_bytes(&reader, (size_t)settle->count * PROTOCOL_SETTLEMENT_SIZE);
    struct protocol_settlement item;
    for (uint32_t i = 0; i < settle->count && !reader.failed; i++) {
        if (!protocol_settle_item(settle, i, &item)) {
            return MP_ERR_FORMAT;
        }
    }
    settle->rest = reader;
    struct protocol_publication publication;
    for (unsigned i = 0; i < settle->publishes; i++) {
        take_publish(&reader, &publication);
    }
    if (reader.failed) {
        return MP_ERR_FORMAT;
    }
    settle->words = reader;
    settle->rest.left -= reader.left;
    return check_notes(settle);
}
