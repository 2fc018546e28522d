/*
 * frame.h: the frame, the unit of transport and of storage.
 *
 * A frame holds messages of one producer. Its sender builds it once; everyone else checks, stores and hands on the
 * same bytes. All integers are little-endian.
 *
 *     offset size  header
 *          0    4  magic "mpf1"; the digit is the version: raise it when a reader of the old form would err
 *          4    4  flags: FRAME_CUT, FRAME_TIMED; all other bits are zero
 *          8    8  producer      who gave the messages their identity; not 0
 *         16    8  sequence      of the first message; the others follow by one, and sequence + count fits 64 bits
 *         24    8  time          when the first message was taken, microseconds since the epoch, 0 to FRAME_TIME_MAX
 *         32    4  count         messages, 1 to FRAME_COUNT_MAX
 *         36    4  size          bytes of the records
 *         40    4  longest       bytes of the longest body
 *         44    4  attributes    how many records have attributes
 *         48    8  (zero)
 *         56    8  checksum      XXH3-64 of the records, seeded with XXH3-64 (seed 0) of bytes 0 to 55
 *
 * A record is a 32-bit word, then the attribute block if there is one, then the body. The word's low 31 bits are the
 * body's length in bytes. Its top bit says that a 16-bit length, not 0, and an attribute block (attributes.h) stand
 * between.
 * So a message without attributes costs four bytes beyond its body and the frame's 64.
 *
 * Identity: a message is (producer, sequence), its origin; 32 hex digits of it are its id and its trace id unless
 * attributes say otherwise. A record that came from another frame carries ATTRIBUTE_ORIGIN.
 */
#ifndef MESSAGE_FRAME_H
#define MESSAGE_FRAME_H

#include "base/buffer.h"
#include "base/fault.h"

enum {
    FRAME_HEADER = 64,
    FRAME_COUNT_MAX = 65536,
    FRAME_TARGET = 1024 * 1024, /* a sender closes a frame before it grows past this, unless one message does */
    FRAME_ID_TEXT = 33          /* 32 hex digits and a NUL */
};
#define FRAME_BODY_MAX ((size_t)0x3fffffff)              /* 1 GiB - 1: no limit allows more */
#define FRAME_TIME_MAX ((int64_t)253402300799 * 1000000) /* the end of the year 9999 */

enum frame_flags {
    FRAME_CUT = 1,  /* a part of a stored frame: FRAME_TARGET and the count may be below what was sent */
    FRAME_TIMED = 2 /* messages of it may have an expirytime; without it only those of an older sender do */
};

/* A frame that was checked; it points into the bytes that it was opened on. */
struct frame {
    const uint8_t *data; /* the header */
    size_t size;         /* of header and records */
    uint64_t producer;
    uint64_t sequence;
    int64_t time;
    uint32_t count;
    uint32_t longest;
    uint32_t attributes;
    uint32_t flags;
};

/* One message inside a frame. */
struct record {
    const uint8_t *body;
    size_t size;
    const uint8_t *attributes; /* a block; NULL when there is none */
    size_t attributes_size;
    uint64_t producer; /* its origin */
    uint64_t sequence;
};

/* Walks over a frame's records. */
struct frame_cursor {
    const struct frame *frame;
    size_t at;      /* bytes from the start of the frame to the next record */
    uint32_t index; /* of the next record, from 0 */
};

/*
 * Opens SIZE bytes at DATA from a stranger: checks header, checksum, and with DEEP each record and attribute block, so
 * that walking it later cannot fail, and FRAME's flags have FRAME_TIMED if a message has an expirytime, whatever the
 * header says. FRAME points into DATA. MP_ERR_FORMAT, MP_ERR_VERSION, MP_ERR_DAMAGED, and
 * MP_ERR_TOO_LARGE for attributes over their limits. (A frame that was opened deep before and whose checksum fits needs
 * no second deep look: store it, then open it shallow.)
 */
enum mp_error frame_open(struct frame *frame, const uint8_t *data, size_t size, bool deep, struct fault *fault);

/*
 * FRAME from SIZE bytes that were opened before and did not change since (a row's own checksum says so): nothing is
 * checked. Walking and cutting stay inside the bytes even so. SIZE is FRAME_HEADER at least.
 */
void frame_trust(struct frame *frame, const uint8_t *data, size_t size);

/* Whether these bytes begin like a frame: for receivers that take raw bodies and frames. */
bool frame_recognise(const uint8_t *data, size_t size);

/* A cursor on the first record. FRAME must stay where it is as long as the cursor is in use. */
static inline struct frame_cursor frame_cursor(const struct frame *frame)
{
    return (struct frame_cursor){.frame = frame, .at = FRAME_HEADER};
}

/* frame_next() for records with attributes, and for the end. */
bool frame_next_full(struct frame_cursor *cursor, struct record *record);

/* The next record; false at the end. Never leaves the frame's bytes, even when they were not opened deep. */
static inline bool frame_next(struct frame_cursor *cursor, struct record *record)
{
    const struct frame *frame = cursor->frame;
    const uint8_t *at = frame->data + cursor->at;
    size_t left = frame->size - cursor->at;

    if (cursor->index >= frame->count || left < 4)
        return false;
    size_t size = load_u32(at); /* with the top bit set it is more than what can be left of a record without */
    if (size > FRAME_BODY_MAX || size > left - 4)
        return frame_next_full(cursor, record);
    *record = (struct record){
        .body = at + 4,
        .size = size,
        .producer = frame->producer,
        .sequence = frame->sequence + cursor->index,
    };
    cursor->at += 4 + size;
    cursor->index++;
    return true;
}

/* Moves the cursor over COUNT records without looking into them; false when there are fewer (it is at the end then). */
bool frame_skip(struct frame_cursor *cursor, uint32_t count);

/*
 * Appends to OUT a frame of the COUNT records at the cursor, and moves the cursor behind them. At most what is left is
 * taken, and no more than LIMIT bytes of records, but one record at least. When that is the whole frame it is copied as
 * it is; otherwise the result has FRAME_CUT, and the producer, time and sequences of the frame. The frame must not lie
 * in OUT. MP_ERR_INVALID when COUNT is 0 or nothing is left, MP_ERR_MEMORY; nothing is appended or moved then.
 */
enum mp_error frame_cut(struct frame_cursor *cursor, uint32_t count, size_t limit, struct buffer *out);

/*
 * Appends to OUT a frame of those of the SPAN records at the cursor whose bit is set in MASK (base/bits.h), and moves
 * the cursor behind the last that was taken. Each has ATTRIBUTE_ORIGIN, so that it is known by itself. No more than LIMIT
 * bytes of records are taken, but one record at least. The result has FRAME_CUT and the flags and the time of the frame,
 * which must not lie in OUT. *COUNT: how many. MP_ERR_INVALID when there is none to take, MP_ERR_MEMORY; nothing is
 * appended or moved then.
 */
enum mp_error frame_gather(struct frame_cursor *cursor, uint32_t span, const uint8_t *mask, size_t limit,
                           struct buffer *out, uint32_t *count);

/* An origin as text: 32 lower-case hex digits, the producer first, and a NUL. */
void frame_origin_text(uint64_t producer, uint64_t sequence, char text[FRAME_ID_TEXT]);

/* Whether SIZE bytes at TEXT are such a text, of a producer that is not 0. */
bool frame_origin_parse(const char *text, size_t size, uint64_t *producer, uint64_t *sequence);

/* The id of a record: its `id` attribute, or its origin, written into TEXT. *SIZE bytes, not terminated. */
const char *frame_record_id(const struct record *record, char text[FRAME_ID_TEXT], size_t *size);

/* The `expirytime` of a record, microseconds since the epoch by its sender's clock; false when it has none. */
bool frame_record_expiry(const struct record *record, int64_t *time);

/*
 * frame_builder: builds a frame. Zero it, then frame_begin(); the bytes stay with the builder until it is begun again
 * or freed with frame_builder_free().
 */
struct frame_builder {
    struct buffer bytes;
    uint64_t producer;
    uint64_t sequence;
    uint32_t count;
    uint32_t longest;
    uint32_t attributes;
    uint32_t flags;
};

void frame_builder_free(struct frame_builder *builder);

/*
 * Begins a frame whose first message will be SEQUENCE of PRODUCER; the buffer of the frame before is used again.
 * MP_ERR_INVALID when PRODUCER is 0 or SEQUENCE within FRAME_COUNT_MAX of the end of 64 bits; MP_ERR_MEMORY.
 */
enum mp_error frame_begin(struct frame_builder *builder, uint64_t producer, uint64_t sequence);

/* Whether a message of these sizes still belongs into this frame, by FRAME_TARGET and FRAME_COUNT_MAX. */
static inline bool frame_has_room(const struct frame_builder *builder, size_t size, size_t attributes_size)
{
    return builder->count == 0 || (builder->count < FRAME_COUNT_MAX && size <= FRAME_TARGET &&
                                   builder->bytes.size + size + attributes_size + 6 <= FRAME_TARGET);
}

/* frame_add() for all that is not small, plain and within the buffer's capacity. */
enum mp_error frame_add_full(struct frame_builder *builder, const void *body, size_t size, const uint8_t *attributes,
                             size_t attributes_size);

/*
 * Appends a message. ATTRIBUTES: a canonical block, or NULL (or ATTRIBUTES_SIZE 0) for none. MP_ERR_TOO_LARGE: SIZE is
 * over FRAME_BODY_MAX, the block over ATTRIBUTE_BLOCK_MAX, or the frame has FRAME_COUNT_MAX messages or 4 GiB already.
 * MP_ERR_MEMORY. After an error the frame is as it was.
 */
static inline enum mp_error frame_add(struct frame_builder *builder, const void *body, size_t size,
                                      const uint8_t *attributes, size_t attributes_size)
{
    struct buffer *bytes = &builder->bytes;

    if (attributes_size > 0 || size > FRAME_TARGET || bytes->size > FRAME_TARGET ||
        size + 4 > bytes->capacity - bytes->size || builder->count >= FRAME_COUNT_MAX)
        return frame_add_full(builder, body, size, attributes, attributes_size);
    store_u32(bytes->data + bytes->size, (uint32_t)size);
    if (size > 0)
        memcpy(bytes->data + bytes->size + 4, body, size);
    bytes->size += 4 + size;
    builder->count++;
    if (size > builder->longest)
        builder->longest = (uint32_t)size;
    return MP_OK;
}

/*
 * Closes the frame: writes header and checksum; its bytes are then builder->bytes. Needs one message at least. TIME:
 * microseconds since the epoch; one outside of 0 to FRAME_TIME_MAX (a clock that is not set) becomes the nearest inside.
 */
void frame_finish(struct frame_builder *builder, int64_t time);

#endif
