#include "client/protocol.h"

enum { REQUEST_MAGIC = 'm', REPLY_MAGIC = 'M', POSITION_SIZE = 12 };

/* ---- headers ------------------------------------------------------------------------------ */

/* The lane on which a type belongs; `room` may also come on the publish lane. */
static bool lane_fits(enum protocol_type type, unsigned lane)
{
    switch (type) {
    case PROTOCOL_PUBLISH:
        return lane == PROTOCOL_LANE_PUBLISH;
    case PROTOCOL_SETTLE:
        return lane == PROTOCOL_LANE_SETTLE;
    case PROTOCOL_FETCH:
        return lane == PROTOCOL_LANE_FETCH;
    case PROTOCOL_ROOM:
        return lane == PROTOCOL_LANE_CONTROL || lane == PROTOCOL_LANE_PUBLISH;
    case PROTOCOL_HELLO:
    case PROTOCOL_EXTEND:
    case PROTOCOL_ADMIN:
    case PROTOCOL_LEAVE:
        return lane == PROTOCOL_LANE_CONTROL;
    }
    return false;
}

static bool flags_fit(enum protocol_type type, unsigned flags)
{
    return flags == 0 || (type == PROTOCOL_SETTLE && flags == PROTOCOL_ATOMIC);
}

static bool type_is_known(unsigned type)
{
    return type >= PROTOCOL_HELLO && type <= PROTOCOL_LEAVE;
}

enum mp_error protocol_read_request(const uint8_t *data, size_t size, struct protocol_request *request)
{
    memset(request, 0, sizeof *request);
    if (size < 2 || data[0] != REQUEST_MAGIC) {
        return MP_ERR_FORMAT;
    }
    if (data[1] != PROTOCOL_VERSION) {
        return MP_ERR_VERSION;
    }
    if (size < PROTOCOL_REQUEST_HEADER || !type_is_known(data[2])) {
        return MP_ERR_FORMAT;
    }
    request->type = (enum protocol_type)data[2];
    request->flags = data[3];
    request->lane = data[4];
    if ((data[5] | data[6] | data[7]) != 0 || !lane_fits(request->type, request->lane) ||
        !flags_fit(request->type, request->flags)) {
        return MP_ERR_FORMAT;
    }
    request->session = load_u64(data + 8);
    request->number = load_u64(data + 16);
    request->body = data + PROTOCOL_REQUEST_HEADER;
    request->body_size = size - PROTOCOL_REQUEST_HEADER;
    return MP_OK;
}

enum mp_error protocol_read_reply(const uint8_t *data, size_t size, struct protocol_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    if (size < 2 || data[0] != REPLY_MAGIC) {
        return MP_ERR_FORMAT;
    }
    if (data[1] != PROTOCOL_VERSION) {
        return MP_ERR_VERSION;
    }
    if (size < PROTOCOL_REPLY_HEADER || !type_is_known(data[2]) || load_u32(data + 4) != 0) {
        return MP_ERR_FORMAT;
    }
    reply->type = (enum protocol_type)data[2];
    reply->status = (enum mp_error)data[3];
    reply->number = load_u64(data + 8);
    reply->body = data + PROTOCOL_REPLY_HEADER;
    reply->body_size = size - PROTOCOL_REPLY_HEADER;
    return MP_OK;
}

enum mp_error protocol_put_request(struct buffer *out, enum protocol_type type, unsigned lane, uint64_t session,
                                   uint64_t number)
{
    uint8_t header[PROTOCOL_REQUEST_HEADER] = {REQUEST_MAGIC, PROTOCOL_VERSION, (uint8_t)type, 0, (uint8_t)lane};
    store_u64(header + 8, session);
    store_u64(header + 16, number);
    return buffer_append(out, header, sizeof header);
}

void protocol_set_flags(struct buffer *out, size_t at, unsigned flags)
{
    out->data[at + 3] = (uint8_t)flags;
}

enum mp_error protocol_put_reply(struct buffer *out, enum protocol_type type, enum mp_error status, uint64_t number)
{
    uint8_t header[PROTOCOL_REPLY_HEADER] = {REPLY_MAGIC, PROTOCOL_VERSION, (uint8_t)type, (uint8_t)status};
    store_u64(header + 8, number);
    return buffer_append(out, header, sizeof header);
}

/* ---- errors ------------------------------------------------------------------------------- */

enum mp_error protocol_put_error(struct buffer *out, enum protocol_type type, enum mp_error status, uint64_t number,
                                 uint64_t expected, const char *text)
{
    if (text == NULL) {
        text = mp_error_text(status);
    }
    size_t size = strnlen(text, FAULT_TEXT);
    if (buffer_reserve(out, PROTOCOL_REPLY_HEADER + 8 + size) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    protocol_put_reply(out, type, status, number);
    if (status == MP_ERR_GAP) {
        buffer_put_u64(out, expected);
    }
    return buffer_append(out, text, size);
}

enum mp_error protocol_read_error(const struct protocol_reply *reply, uint64_t *expected, struct fault *fault)
{
    struct reader reader = reader_of(reply->body, reply->body_size);
    *expected = reply->status == MP_ERR_GAP ? reader_u64(&reader) : 0;
    if (reader.failed || reply->status == MP_OK) {
        return MP_ERR_FORMAT;
    }
    fault->code = reply->status;
    size_t size = 0;
    while (size < reader.left && size < sizeof fault->text - 1) {
        uint8_t byte = reader.data[size];
        fault->text[size++] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
    }
    fault->text[size] = '\0';
    return MP_OK;
}

/* ---- small bodies ------------------------------------------------------------------------- */

/* MP_OK when READER was read to its end, and not past it. */
static enum mp_error reader_done(const struct reader *reader)
{
    return reader->failed || reader->left != 0 ? MP_ERR_FORMAT : MP_OK;
}

static enum mp_error put_name(struct buffer *out, const char *name)
{
    size_t size = strlen(name);
    return size > NAME_MAX_BYTES ? MP_ERR_TOO_LARGE : buffer_put_string(out, name, size);
}

enum mp_error protocol_put_hello(struct buffer *out, const char *client)
{
    return put_name(out, client);
}

enum mp_error protocol_read_hello(const struct protocol_request *request, const char **client, size_t *client_size)
{
    struct reader reader = reader_of(request->body, request->body_size);
    *client = reader_string(&reader, client_size);
    return reader_done(&reader);
}

enum mp_error protocol_put_welcome(struct buffer *out, const struct protocol_welcome *welcome)
{
    size_t relay = strnlen(welcome->relay, sizeof welcome->relay);
    size_t version = strnlen(welcome->version, sizeof welcome->version);
    if (buffer_reserve(out, 24 + 4 + relay + version) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_u64(out, welcome->session);
    buffer_put_u64(out, welcome->instance);
    buffer_put_u32(out, welcome->max_message);
    buffer_put_u32(out, welcome->lease);
    buffer_put_string(out, welcome->relay, relay);
    return buffer_put_string(out, welcome->version, version);
}

/* Copies a string of the other end's, which must fit and hold no control characters. */
static bool take_string(struct reader *reader, char *text, size_t capacity)
{
    size_t size;
    const char *string = reader_string(reader, &size);
    if (string == NULL || size >= capacity) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)string[i];
        if (byte < 0x20 || byte == 0x7f) {
            return false;
        }
    }
    memcpy(text, string, size);
    text[size] = '\0';
    return true;
}

enum mp_error protocol_read_welcome(const struct protocol_reply *reply, struct protocol_welcome *welcome)
{
    struct reader reader = reader_of(reply->body, reply->body_size);
    welcome->session = reader_u64(&reader);
    welcome->instance = reader_u64(&reader);
    welcome->max_message = reader_u32(&reader);
    welcome->lease = reader_u32(&reader);
    if (!take_string(&reader, welcome->relay, sizeof welcome->relay) ||
        !take_string(&reader, welcome->version, sizeof welcome->version) || welcome->session == 0) {
        return MP_ERR_FORMAT;
    }
    return reader_done(&reader);
}

enum mp_error protocol_put_publish(struct buffer *out, const char *topic)
{
    return put_name(out, topic);
}

enum mp_error protocol_read_publish(const struct protocol_request *request, const char **topic, size_t *topic_size,
                                    const uint8_t **frame, size_t *frame_size)
{
    struct reader reader = reader_of(request->body, request->body_size);
    *topic = reader_string(&reader, topic_size);
    *frame = reader.data;
    *frame_size = reader.left;
    return reader.failed || reader.left == 0 ? MP_ERR_FORMAT : MP_OK;
}

enum mp_error protocol_put_published(struct buffer *out, uint64_t first, uint32_t count)
{
    if (buffer_reserve(out, 12) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_u64(out, first);
    return buffer_put_u32(out, count);
}

enum mp_error protocol_read_published(const struct protocol_reply *reply, uint64_t *first, uint32_t *count)
{
    struct reader reader = reader_of(reply->body, reply->body_size);
    *first = reader_u64(&reader);
    *count = reader_u32(&reader);
    return reader_done(&reader);
}

enum mp_error protocol_put_room(struct buffer *out, const char *topic, uint32_t wait)
{
    if (buffer_reserve(out, 2 + NAME_MAX_BYTES + 4) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    enum mp_error error = put_name(out, topic);
    return error != MP_OK ? error : buffer_put_u32(out, wait);
}

enum mp_error protocol_read_room(const struct protocol_request *request, const char **topic, size_t *topic_size,
                                 uint32_t *wait)
{
    struct reader reader = reader_of(request->body, request->body_size);
    *topic = reader_string(&reader, topic_size);
    *wait = reader_u32(&reader);
    return reader_done(&reader);
}

enum mp_error protocol_put_u32(struct buffer *out, uint32_t value)
{
    return buffer_put_u32(out, value);
}

static enum mp_error read_u32(const uint8_t *body, size_t size, uint32_t *value)
{
    struct reader reader = reader_of(body, size);
    *value = reader_u32(&reader);
    return reader_done(&reader);
}

enum mp_error protocol_read_extend(const struct protocol_request *request, uint32_t *milliseconds)
{
    return read_u32(request->body, request->body_size, milliseconds);
}

enum mp_error protocol_read_u32(const struct protocol_reply *reply, uint32_t *value)
{
    return read_u32(reply->body, reply->body_size, value);
}

enum mp_error protocol_put_settled(struct buffer *out, uint32_t applied, uint32_t stale)
{
    if (buffer_reserve(out, 8) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_u32(out, applied);
    return buffer_put_u32(out, stale);
}

enum mp_error protocol_read_settled(const struct protocol_reply *reply, uint32_t *applied, uint32_t *stale)
{
    struct reader reader = reader_of(reply->body, reply->body_size);
    *applied = reader_u32(&reader);
    *stale = reader_u32(&reader);
    return reader_done(&reader);
}

/* ---- fetch -------------------------------------------------------------------------------- */

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
    if (from > PROTOCOL_FROM_TIME || fetch->positions_count > PROTOCOL_POSITIONS_MAX) {
        return MP_ERR_FORMAT;
    }
    fetch->from = (enum protocol_from)from;
    return reader_done(&reader);
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

enum mp_error protocol_put_chunk(struct buffer *out, const struct protocol_chunk *chunk)
{
    if (chunk->name_size > NAME_MAX_BYTES) {
        return MP_ERR_TOO_LARGE;
    }
    if (buffer_reserve(out, 28 + chunk->name_size) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_u32(out, chunk->topic);
    buffer_put_u32(out, chunk->group);
    buffer_put_u64(out, chunk->first);
    buffer_put_u32(out, chunk->count);
    buffer_put_u16(out, chunk->attempt);
    buffer_put_u32(out, chunk->frame_size);
    return buffer_put_string(out, chunk->name, chunk->name_size);
}

/* Reads a chunk; false, with the reader failed, when it is no valid one. */
static bool take_chunk(struct reader *reader, struct protocol_chunk *chunk)
{
    chunk->topic = reader_u32(reader);
    chunk->group = reader_u32(reader);
    chunk->first = reader_u64(reader);
    chunk->count = reader_u32(reader);
    chunk->attempt = reader_u16(reader);
    chunk->frame_size = reader_u32(reader);
    chunk->name = reader_string(reader, &chunk->name_size);
    chunk->frame = reader_bytes(reader, chunk->frame_size);
    if (reader->failed || chunk->first > UINT64_MAX - chunk->count || (chunk->frame_size > 0 && chunk->count == 0) ||
        name_check_topic(chunk->name, chunk->name_size, NULL) != MP_OK) {
        reader->failed = true;
    }
    return !reader->failed;
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
    return reader_done(&reader);
}

bool protocol_next_chunk(struct protocol_fetched *fetched, struct protocol_chunk *chunk)
{
    return fetched->rest.left > 0 && take_chunk(&fetched->rest, chunk);
}

/* ---- settle ------------------------------------------------------------------------------- */

enum mp_error protocol_put_settle(struct buffer *out, const struct protocol_settlement *items, uint32_t count,
                                  uint16_t publishes)
{
    if (count > PROTOCOL_SETTLEMENTS_MAX) {
        return MP_ERR_TOO_LARGE;
    }
    if (buffer_reserve(out, 8 + (size_t)count * PROTOCOL_SETTLEMENT_SIZE) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_u32(out, count);
    buffer_put_u16(out, publishes);
    buffer_put_u16(out, 0);
    for (uint32_t i = 0; i < count; i++) {
        const struct protocol_settlement *item = &items[i];
        buffer_put_u32(out, item->group);
        buffer_put_u64(out, item->lease);
        buffer_put_u64(out, item->first);
        buffer_put_u32(out, item->count);
        buffer_put_u32(out, (uint32_t)item->action);
        buffer_put_u32(out, item->delay);
        buffer_put_u32(out, (uint32_t)item->exit_code);
    }
    return MP_OK;
}

enum mp_error protocol_put_settle_publish(struct buffer *out, const char *topic, const uint8_t *frame, uint32_t size)
{
    size_t topic_size = strlen(topic);
    if (topic_size > NAME_MAX_BYTES) {
        return MP_ERR_TOO_LARGE;
    }
    if (buffer_reserve(out, 2 + topic_size + 4 + (size_t)size) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_string(out, topic, topic_size);
    buffer_put_u32(out, size);
    return buffer_append(out, frame, size);
}

static bool take_settle_publish(struct reader *reader, const char **topic, size_t *topic_size, const uint8_t **frame,
                                uint32_t *size)
{
    *topic = reader_string(reader, topic_size);
    *size = reader_u32(reader);
    *frame = reader_bytes(reader, *size);
    return !reader->failed;
}

enum mp_error protocol_read_settle(const struct protocol_request *request, struct protocol_settle *settle)
{
    struct reader reader = reader_of(request->body, request->body_size);
    memset(settle, 0, sizeof *settle);
    settle->count = reader_u32(&reader);
    settle->publishes = reader_u16(&reader);
    unsigned zero = reader_u16(&reader);
    if (reader.failed || zero != 0 || settle->count > PROTOCOL_SETTLEMENTS_MAX) {
        return MP_ERR_FORMAT;
    }
    settle->items = reader_bytes(&reader, (size_t)settle->count * PROTOCOL_SETTLEMENT_SIZE);
    settle->rest = reader;
    struct protocol_settlement item;
    for (uint32_t i = 0; i < settle->count && !reader.failed; i++) {
        if (!protocol_settle_item(settle, i, &item)) {
            return MP_ERR_FORMAT;
        }
    }
    const char *topic;
    size_t topic_size;
    const uint8_t *frame;
    uint32_t size;
    for (unsigned i = 0; i < settle->publishes; i++) {
        take_settle_publish(&reader, &topic, &topic_size, &frame, &size);
    }
    return reader_done(&reader);
}

bool protocol_settle_item(const struct protocol_settle *settle, uint32_t index, struct protocol_settlement *item)
{
    if (index >= settle->count) {
        return false;
    }
    const uint8_t *at = settle->items + (size_t)index * PROTOCOL_SETTLEMENT_SIZE;
    uint32_t action = load_u32(at + 24);
    *item = (struct protocol_settlement){
        .group = load_u32(at),
        .lease = load_u64(at + 4),
        .first = load_u64(at + 12),
        .count = load_u32(at + 20),
        .action = (enum protocol_action)action,
        .delay = load_u32(at + 28),
        .exit_code = (int32_t)load_u32(at + 32),
    };
    return action >= PROTOCOL_ACK && action <= PROTOCOL_DEAD && item->count > 0 &&
           item->first <= UINT64_MAX - item->count;
}

bool protocol_settle_publish(struct protocol_settle *settle, const char **topic, size_t *topic_size,
                             const uint8_t **frame, uint32_t *size)
{
    return settle->rest.left > 0 && take_settle_publish(&settle->rest, topic, topic_size, frame, size);
}
