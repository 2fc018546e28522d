#include "message/frame.h"

#include "base/bits.h"
#include "base/units.h"
#include "message/attributes.h"

/* The hash is inlined: a call would cost more than hashing a small frame. */
#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    AT_FLAGS = 4,
    AT_PRODUCER = 8,
    AT_SEQUENCE = 16,
    AT_TIME = 24,
    AT_COUNT = 32,
    AT_SIZE = 36,
    AT_LONGEST = 40,
    AT_ATTRIBUTES = 44,
    AT_ZERO = 48,
    AT_CHECKSUM = 56,
    WITH_ATTRIBUTES = 6, /* bytes of a record beside block and body */
    SMALL = 4096,        /* a builder's first buffer */
    AHEAD = 1024,        /* bytes between the record that is checked and the ones that are fetched */
    EXPIRY_TEXT = 64,    /* attributes_check() takes no longer time */
    MIDDLE = 64 * 1024   /* past this a frame is taken for a big one */
};

static const uint8_t magic[4] = {'m', 'p', 'f', '1'};

static uint64_t checksum_of(const uint8_t *frame, size_t size)
{
    return XXH3_64bits_withSeed(frame + FRAME_HEADER, size - FRAME_HEADER, XXH3_64bits(frame, AT_CHECKSUM));
}

/* ---- records -------------------------------------------------------------------------------- */

/* How a record's bytes divide. */
struct extent {
    size_t attributes; /* bytes of the block, 0 when there is none */
    size_t body;
    size_t size; /* of the whole record */
};

/* Measures the record at AT, of which LEFT bytes are there; false when it does not fit or is none. */
static inline bool measure(const uint8_t *at, size_t left, struct extent *extent)
{
    if (left < 4)
        return false;
    /* A walk waits for each word before it knows where the next one is: have the ones to come near. */
    if (left > AHEAD)
        __builtin_prefetch(at + AHEAD);
    uint32_t word = load_u32(at);
    size_t head = 4;
    extent->attributes = 0;
    extent->body = word & 0x7fffffff;
    if (__builtin_expect(word >> 31, 0)) {
        if (left < WITH_ATTRIBUTES)
            return false;
        extent->attributes = load_u16(at + 4);
        head = WITH_ATTRIBUTES + extent->attributes;
        if (extent->attributes == 0 || head > left)
            return false;
    }
    extent->size = head + extent->body; /* under 2^31 + 2^17 */
    return extent->body <= FRAME_BODY_MAX && extent->body <= left - head;
}

/* Writes a header, except for the checksum, which is to be made when the records are there. */
static void write_header(uint8_t *at, const struct frame *frame)
{
    memcpy(at, magic, sizeof magic);
    store_u32(at + AT_FLAGS, frame->flags);
    store_u64(at + AT_PRODUCER, frame->producer);
    store_u64(at + AT_SEQUENCE, frame->sequence);
    store_u64(at + AT_TIME, (uint64_t)frame->time);
    store_u32(at + AT_COUNT, frame->count);
    store_u32(at + AT_SIZE, (uint32_t)(frame->size - FRAME_HEADER));
    store_u32(at + AT_LONGEST, frame->longest);
    store_u32(at + AT_ATTRIBUTES, frame->attributes);
    store_u64(at + AT_ZERO, 0);
}

/* ---- opening -------------------------------------------------------------------------------- */

static enum mp_error refuse(struct fault *fault, const char *what)
{
    return fault_set(fault, MP_ERR_FORMAT, "not a frame: %s", what);
}

/* Checks what the header says, once its bytes are known to be those that were written. */
static enum mp_error check_header(const struct frame *frame, struct fault *fault)
{
    size_t records = frame->size - FRAME_HEADER;

    if ((frame->flags & ~(uint32_t)(FRAME_CUT | FRAME_TIMED)) != 0)
        return refuse(fault, "unknown flags");
    if (load_u64(frame->data + AT_ZERO) != 0)
        return refuse(fault, "reserved bytes are not zero");
    if (frame->producer == 0)
        return refuse(fault, "no producer");
    if (frame->count == 0 || frame->count > FRAME_COUNT_MAX)
        return refuse(fault, "an impossible count of messages");
    if (frame->sequence > UINT64_MAX - frame->count)
        return refuse(fault, "its sequence overflows");
    if (frame->time < 0 || frame->time > FRAME_TIME_MAX)
        return refuse(fault, "an impossible time");
    if (frame->attributes > frame->count || frame->longest > FRAME_BODY_MAX ||
        (uint64_t)frame->count * 4 + (uint64_t)frame->attributes * 2 + frame->longest > records)
        return refuse(fault, "its records do not fit into its size");
    return MP_OK;
}

static bool is_timed(const uint8_t *block, size_t size)
{
    struct attribute expiry;

    return attribute_known(block, size, ATTRIBUTE_EXPIRYTIME, &expiry);
}

static enum mp_error check_records(struct frame *frame, struct fault *fault)
{
    const uint8_t *at = frame->data + FRAME_HEADER;
    size_t left = frame->size - FRAME_HEADER;
    size_t longest = 0;
    uint32_t attributes = 0;

    for (uint32_t i = 0; i < frame->count; i++) {
        struct extent extent;
        if (!measure(at, left, &extent))
            return fault_set(fault, MP_ERR_FORMAT, "not a frame: message %u of %u does not fit into it", i + 1,
                             frame->count);
        if (__builtin_expect(extent.attributes > 0, 0)) {
            enum mp_error error = attributes_check(at + WITH_ATTRIBUTES, extent.attributes, fault);
            if (error != MP_OK)
                return error;
            attributes++;
            if (is_timed(at + WITH_ATTRIBUTES, extent.attributes))
                frame->flags |= FRAME_TIMED;
        }
        if (extent.body > longest)
            longest = extent.body;
        at += extent.size;
        left -= extent.size;
    }
    if (left != 0)
        return refuse(fault, "there are bytes behind its last message");
    if (longest != frame->longest || attributes != frame->attributes)
        return refuse(fault, "the header does not fit the messages");
    return MP_OK;
}

void frame_trust(struct frame *frame, const uint8_t *data, size_t size)
{
    *frame = (struct frame){
        .data = data,
        .size = size,
        .producer = load_u64(data + AT_PRODUCER),
        .sequence = load_u64(data + AT_SEQUENCE),
        .time = (int64_t)load_u64(data + AT_TIME),
        .count = load_u32(data + AT_COUNT),
        .longest = load_u32(data + AT_LONGEST),
        .attributes = load_u32(data + AT_ATTRIBUTES),
        .flags = load_u32(data + AT_FLAGS),
    };
}

enum mp_error frame_open(struct frame *frame, const uint8_t *data, size_t size, bool deep, struct fault *fault)
{
    if (size < FRAME_HEADER)
        return refuse(fault, "shorter than a header");
    if (memcmp(data, magic, 3) != 0)
        return refuse(fault, "it does not begin like one");
    if (data[3] != magic[3]) {
        char shown[FAULT_QUOTE];
        return fault_set(fault, MP_ERR_VERSION, "a frame of version '%s': this program knows version '1' only",
                         fault_quote(shown, (const char *)data + 3, 1));
    }
    if (size - FRAME_HEADER != load_u32(data + AT_SIZE))
        return refuse(fault, "bytes are missing, or there are too many");
    if (checksum_of(data, size) != load_u64(data + AT_CHECKSUM))
        return fault_set(fault, MP_ERR_DAMAGED, "a damaged frame: its checksum does not fit");
    frame_trust(frame, data, size);
    enum mp_error error = check_header(frame, fault);
    if (error == MP_OK && deep)
        error = check_records(frame, fault);
    return error;
}

bool frame_recognise(const uint8_t *data, size_t size)
{
    return size > FRAME_HEADER && memcmp(data, magic, 3) == 0 && size - FRAME_HEADER == load_u32(data + AT_SIZE);
}

/* ---- walking -------------------------------------------------------------------------------- */

bool frame_next_full(struct frame_cursor *cursor, struct record *record)
{
    const struct frame *frame = cursor->frame;
    const uint8_t *at = frame->data + cursor->at;
    struct extent extent;

    if (cursor->index >= frame->count || !measure(at, frame->size - cursor->at, &extent))
        return false;
    *record = (struct record){
        .body = at + extent.size - extent.body,
        .size = extent.body,
        .producer = frame->producer,
        .sequence = frame->sequence + cursor->index,
    };
    if (extent.attributes > 0) {
        record->attributes = at + WITH_ATTRIBUTES;
        record->attributes_size = extent.attributes;
        attributes_origin(record->attributes, record->attributes_size, &record->producer, &record->sequence);
    }
    cursor->at += extent.size;
    cursor->index++;
    return true;
}

bool frame_skip(struct frame_cursor *cursor, uint32_t count)
{
    const struct frame *frame = cursor->frame;
    struct extent extent;

    for (; count > 0 && cursor->index < frame->count; count--) {
        if (!measure(frame->data + cursor->at, frame->size - cursor->at, &extent))
            break;
        cursor->at += extent.size;
        cursor->index++;
    }
    return count == 0;
}

enum mp_error frame_cut(struct frame_cursor *cursor, uint32_t count, size_t limit, struct buffer *out)
{
    const struct frame *frame = cursor->frame;
    const size_t start = cursor->at;
    size_t at = start, longest = 0;
    uint32_t taken = 0, attributes = 0;

    while (taken < count && cursor->index + taken < frame->count) {
        struct extent extent;
        if (!measure(frame->data + at, frame->size - at, &extent))
            break;
        if (taken > 0 && (at - start > limit || extent.size > limit - (at - start)))
            break;
        attributes += extent.attributes > 0;
        if (extent.body > longest)
            longest = extent.body;
        at += extent.size;
        taken++;
    }
    if (taken == 0)
        return MP_ERR_INVALID;
    if (taken == frame->count) {
        enum mp_error error = buffer_append(out, frame->data, frame->size);
        if (error != MP_OK)
            return error;
    } else {
        struct frame part = *frame;
        part.flags |= FRAME_CUT;
        part.sequence += cursor->index;
        part.count = taken;
        part.size = FRAME_HEADER + at - start;
        part.longest = (uint32_t)longest;
        part.attributes = attributes;
        enum mp_error error = buffer_reserve(out, part.size);
        if (error != MP_OK)
            return error;
        uint8_t *bytes = out->data + out->size;
        write_header(bytes, &part);
        memcpy(bytes + FRAME_HEADER, frame->data + start, at - start);
        store_u64(bytes + AT_CHECKSUM, checksum_of(bytes, part.size));
        out->size += part.size;
    }
    cursor->at = at;
    cursor->index += taken;
    return MP_OK;
}

/* Bytes of the record at CURSOR in a gathered frame, where it has an origin; *OWN: it has one here. */
static size_t gathered_size(const struct extent *extent, const uint8_t *at, bool *own)
{
    *own = extent->attributes > 0 && at[WITH_ATTRIBUTES] == ATTRIBUTE_ORIGIN;
    if (*own)
        return extent->size;
    return extent->size + ATTRIBUTE_ORIGIN_SIZE + (extent->attributes > 0 ? 0 : WITH_ATTRIBUTES - 4);
}

/* Copies the record at FROM to TO with the origin PRODUCER and SEQUENCE, which it does not have. */
static void copy_with_origin(uint8_t *to, const uint8_t *from, const struct extent *extent, uint64_t producer,
                             uint64_t sequence)
{
    const uint8_t *rest = from + extent->size - extent->body - extent->attributes;

    store_u32(to, (uint32_t)extent->body | UINT32_C(1) << 31);
    store_u16(to + 4, (uint16_t)(extent->attributes + ATTRIBUTE_ORIGIN_SIZE));
    to[WITH_ATTRIBUTES] = ATTRIBUTE_ORIGIN;
    store_u16(to + WITH_ATTRIBUTES + 1, ATTRIBUTE_ORIGIN_SIZE - 3);
    store_u64(to + WITH_ATTRIBUTES + 3, producer);
    store_u64(to + WITH_ATTRIBUTES + 11, sequence);
    memcpy(to + WITH_ATTRIBUTES + ATTRIBUTE_ORIGIN_SIZE, rest, extent->attributes + extent->body);
}

/* Appends to OUT, behind PART's header, what frame_gather() takes; PART gets count, size, longest and sequence. */
static enum mp_error gather(struct frame_cursor *cursor, uint32_t span, const uint8_t *mask, size_t limit,
                            struct buffer *out, struct frame *part)
{
    const struct frame *frame = cursor->frame;
    struct frame_cursor at = *cursor, last = *cursor;
    struct extent extent;

    part->size = FRAME_HEADER;
    part->count = part->longest = 0;
    for (uint32_t i = 0; i < span && at.index < frame->count; i++) {
        const uint8_t *record = frame->data + at.at;
        bool own;
        if (!measure(record, frame->size - at.at, &extent))
            break;
        uint64_t sequence = frame->sequence + at.index;
        at.at += extent.size;
        at.index++;
        if (!bits_get(mask, i))
            continue;
        size_t size = gathered_size(&extent, record, &own), taken = part->size - FRAME_HEADER;
        if (part->count > 0 && (taken > limit || size > limit - taken))
            break;
        if (size > UINT32_MAX - taken)
            break;
        enum mp_error error = buffer_reserve(out, part->size + size);
        if (error != MP_OK)
            return error;
        if (own)
            memcpy(out->data + out->size + part->size, record, size);
        else
            copy_with_origin(out->data + out->size + part->size, record, &extent, frame->producer, sequence);
        if (part->count++ == 0)
            part->sequence = sequence;
        if (extent.body > part->longest)
            part->longest = (uint32_t)extent.body;
        part->size += size;
        last = at;
    }
    if (part->count == 0)
        return MP_ERR_INVALID;
    *cursor = last;
    return MP_OK;
}

enum mp_error frame_gather(struct frame_cursor *cursor, uint32_t span, const uint8_t *mask, size_t limit,
                           struct buffer *out, uint32_t *count)
{
    struct frame part = *cursor->frame;
    enum mp_error error = gather(cursor, span, mask, limit, out, &part);

    if (error != MP_OK)
        return error;
    part.flags |= FRAME_CUT;
    part.attributes = part.count;
    uint8_t *bytes = out->data + out->size;
    write_header(bytes, &part);
    store_u64(bytes + AT_CHECKSUM, checksum_of(bytes, part.size));
    out->size += part.size;
    *count = part.count;
    return MP_OK;
}

/* ---- identity ------------------------------------------------------------------------------- */

static void put_hex(uint64_t value, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (int shift = 60; shift >= 0; shift -= 4)
        *text++ = digits[value >> shift & 15];
}

void frame_origin_text(uint64_t producer, uint64_t sequence, char text[FRAME_ID_TEXT])
{
    put_hex(producer, text);
    put_hex(sequence, text + 16);
    text[FRAME_ID_TEXT - 1] = '\0';
}

static bool take_hex(const char *text, uint64_t *value)
{
    uint64_t sum = 0;

    for (int i = 0; i < 16; i++) {
        if (text[i] >= '0' && text[i] <= '9')
            sum = sum << 4 | (uint64_t)(text[i] - '0');
        else if (text[i] >= 'a' && text[i] <= 'f')
            sum = sum << 4 | (uint64_t)(text[i] - 'a' + 10);
        else
            return false;
    }
    *value = sum;
    return true;
}

bool frame_origin_parse(const char *text, size_t size, uint64_t *producer, uint64_t *sequence)
{
    return size == FRAME_ID_TEXT - 1 && take_hex(text, producer) && take_hex(text + 16, sequence) && *producer != 0;
}

const char *frame_record_id(const struct record *record, char text[FRAME_ID_TEXT], size_t *size)
{
    struct attribute id;

    if (record->attributes_size > 0 && attribute_find(record->attributes, record->attributes_size, "id", 2, &id)) {
        *size = id.value_size;
        return id.value;
    }
    frame_origin_text(record->producer, record->sequence, text);
    *size = FRAME_ID_TEXT - 1;
    return text;
}

bool frame_record_expiry(const struct record *record, int64_t *time)
{
    struct attribute expiry;
    char text[EXPIRY_TEXT];

    if (record->attributes_size == 0 ||
        !attribute_known(record->attributes, record->attributes_size, ATTRIBUTE_EXPIRYTIME, &expiry) ||
        expiry.value_size >= sizeof text)
        return false;
    memcpy(text, expiry.value, expiry.value_size);
    text[expiry.value_size] = '\0';
    return units_time(text, time, NULL) == MP_OK;
}

/* ---- building ------------------------------------------------------------------------------- */

void frame_builder_free(struct frame_builder *builder)
{
    buffer_free(&builder->bytes);
    *builder = (struct frame_builder){0};
}

enum mp_error frame_begin(struct frame_builder *builder, uint64_t producer, uint64_t sequence)
{
    if (producer == 0 || sequence > UINT64_MAX - FRAME_COUNT_MAX)
        return MP_ERR_INVALID;
    builder->bytes.size = 0;
    if (builder->bytes.capacity > 4 * FRAME_TARGET) /* that one message was large is no reason to keep so much */
        buffer_free(&builder->bytes);
    enum mp_error error = buffer_reserve(&builder->bytes, SMALL);
    if (error != MP_OK)
        return error;
    builder->bytes.size = FRAME_HEADER;
    builder->producer = producer;
    builder->sequence = sequence;
    builder->count = 0;
    builder->longest = 0;
    builder->attributes = 0;
    builder->flags = 0;
    return MP_OK;
}

/* Room for EXTRA bytes. A frame that has grown past MIDDLE gets all that it will need: untouched pages cost nothing. */
static enum mp_error make_room(struct buffer *bytes, size_t extra)
{
    if (extra > bytes->capacity - bytes->size && bytes->size + extra > MIDDLE && bytes->size + extra < FRAME_TARGET)
        extra = FRAME_TARGET - bytes->size;
    return buffer_reserve(bytes, extra);
}

enum mp_error frame_add_full(struct frame_builder *builder, const void *body, size_t size, const uint8_t *attributes,
                             size_t attributes_size)
{
    struct buffer *bytes = &builder->bytes;

    if (size > FRAME_BODY_MAX || attributes_size > ATTRIBUTE_BLOCK_MAX || builder->count >= FRAME_COUNT_MAX)
        return MP_ERR_TOO_LARGE;
    size_t record = size + (attributes_size > 0 ? WITH_ATTRIBUTES + attributes_size : 4);
    if (record > UINT32_MAX - (bytes->size - FRAME_HEADER))
        return MP_ERR_TOO_LARGE;
    enum mp_error error = make_room(bytes, record);
    if (error != MP_OK)
        return error;
    uint8_t *at = bytes->data + bytes->size;
    store_u32(at, (uint32_t)size | (attributes_size > 0 ? UINT32_C(1) << 31 : 0));
    at += 4;
    if (attributes_size > 0) {
        store_u16(at, (uint16_t)attributes_size);
        memcpy(at + 2, attributes, attributes_size);
        at += 2 + attributes_size;
        builder->attributes++;
        if (is_timed(attributes, attributes_size))
            builder->flags |= FRAME_TIMED;
    }
    if (size > 0)
        memcpy(at, body, size);
    bytes->size += record;
    builder->count++;
    if (size > builder->longest)
        builder->longest = (uint32_t)size;
    return MP_OK;
}

void frame_finish(struct frame_builder *builder, int64_t time)
{
    struct frame frame = {
        .size = builder->bytes.size,
        .producer = builder->producer,
        .sequence = builder->sequence,
        .time = time < 0                ? 0
                : time > FRAME_TIME_MAX ? FRAME_TIME_MAX
                                        : time,
        .count = builder->count,
        .longest = builder->longest,
        .attributes = builder->attributes,
        .flags = builder->flags,
    };

    write_header(builder->bytes.data, &frame);
    store_u64(builder->bytes.data + AT_CHECKSUM, checksum_of(builder->bytes.data, frame.size));
}
