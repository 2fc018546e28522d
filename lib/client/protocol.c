#include "client/protocol_private.h"

enum { REQUEST_MAGIC = 'm', REPLY_MAGIC = 'M' };

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
    return flags == 0 || (type == PROTOCOL_SETTLE && flags == PROTOCOL_ATOMIC) ||
           (type == PROTOCOL_FETCH && flags == PROTOCOL_FETCH_PEEK) ||
           ((type == PROTOCOL_PUBLISH || type == PROTOCOL_ROOM) && flags == PROTOCOL_DIVISIBLE);
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
    request->attempt = (uint32_t)data[5] | (uint32_t)data[6] << 8 | (uint32_t)data[7] << 16;
    if ((request->attempt != 0 && request->lane == PROTOCOL_LANE_CONTROL) || !lane_fits(request->type, request->lane) ||
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

void protocol_set_attempt(struct buffer *out, size_t at, uint32_t attempt)
{
    uint8_t *header = out->data + at;
    header[5] = (uint8_t)attempt;
    header[6] = (uint8_t)(attempt >> 8);
    header[7] = (uint8_t)(attempt >> 16);
}

enum { ATTEMPT_MASK = 0xffffff };

uint32_t protocol_next_attempt(uint32_t attempt)
{
    return attempt < ATTEMPT_MASK ? attempt + 1 : 1;
}

bool protocol_is_later(uint32_t attempt, uint32_t before)
{
    uint32_t ahead = (attempt - before) & ATTEMPT_MASK;
    return ahead > 0 && ahead <= ATTEMPT_MASK / 2;
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

enum mp_error protocol_put_hello(struct buffer *out, const char *client, uint32_t keep)
{
    if (buffer_reserve(out, 2 + NAME_MAX_BYTES + 4) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    enum mp_error error = protocol_put_name(out, client, strlen(client));
    return error != MP_OK ? error : buffer_put_u32(out, keep);
}

enum mp_error protocol_read_hello(const struct protocol_request *request, const char **client, size_t *client_size,
                                  uint32_t *keep)
{
    struct reader reader = reader_of(request->body, request->body_size);
    *client = reader_string(&reader, client_size);
    *keep = reader_u32(&reader);
    return *keep > PROTOCOL_KEEP_MAX ? MP_ERR_FORMAT : protocol_done(&reader);
}

enum mp_error protocol_put_welcome(struct buffer *out, const struct protocol_welcome *welcome)
{
    size_t relay = strnlen(welcome->relay, sizeof welcome->relay);
    size_t version = strnlen(welcome->version, sizeof welcome->version);
    if (buffer_reserve(out, 32 + 4 + relay + version) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    buffer_put_u64(out, welcome->session);
    buffer_put_u64(out, welcome->instance);
    buffer_put_u64(out, welcome->published);
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
    welcome->published = reader_u64(&reader);
    welcome->max_message = reader_u32(&reader);
    welcome->lease = reader_u32(&reader);
    if (!take_string(&reader, welcome->relay, sizeof welcome->relay) ||
        !take_string(&reader, welcome->version, sizeof welcome->version) || welcome->session == 0) {
        return MP_ERR_FORMAT;
    }
    return protocol_done(&reader);
}

enum mp_error protocol_put_room(struct buffer *out, const struct protocol_room *room)
{
    if (buffer_reserve(out, 2 + NAME_MAX_BYTES + 12) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    enum mp_error error = protocol_put_name(out, room->topic, room->topic_size);
    if (error != MP_OK) {
        return error;
    }
    buffer_put_u32(out, room->wait);
    buffer_put_u32(out, room->messages);
    return buffer_put_u32(out, room->bytes);
}

enum mp_error protocol_read_room(const struct protocol_request *request, struct protocol_room *room)
{
    struct reader reader = reader_of(request->body, request->body_size);
    room->topic = reader_string(&reader, &room->topic_size);
    room->wait = reader_u32(&reader);
    room->messages = reader_u32(&reader);
    room->bytes = reader_u32(&reader);
    return protocol_done(&reader);
}

enum mp_error protocol_put_u32(struct buffer *out, uint32_t value)
{
    return buffer_put_u32(out, value);
}

static enum mp_error read_u32(const uint8_t *body, size_t size, uint32_t *value)
{
    struct reader reader = reader_of(body, size);
    *value = reader_u32(&reader);
    return protocol_done(&reader);
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
    return protocol_done(&reader);
}
