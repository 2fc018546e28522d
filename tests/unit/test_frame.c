/* message/frame.h */
#include "message/frame.h"

#include "base/memory.h"
#include "message/attributes.h"

#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { TIME = 1234567 };

static struct fault fault;
static volatile uint8_t sink; /* so that every byte is read */

/* Offsets of the header's fields, from the table in frame.h: this test is the other reader of that page. */
enum {
    FLAGS = 4,
    PRODUCER = 8,
    SEQUENCE = 16,
    AT_TIME = 24,
    COUNT = 32,
    SIZE = 36,
    LONGEST = 40,
    ATTRIBUTES = 44,
    ZERO = 48,
    CHECKSUM = 56,
    RECORDS = 64
};

/* Makes the checksum fit again after a change. */
static void seal(uint8_t *data, size_t size)
{
    if (size >= RECORDS)
        store_u64(data + CHECKSUM, XXH3_64bits_withSeed(data + RECORDS, size - RECORDS, XXH3_64bits(data, CHECKSUM)));
}

/* An attribute block with a key. */
static struct buffer block_of(const char *key)
{
    struct buffer block = {0};

    assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, "partitionkey", 12, key, strlen(key), NULL), MP_OK);
    return block;
}

/* A frame of four messages: "one", one with a key and an empty body, one with an origin, "three". */
static struct frame_builder small_frame(void)
{
    struct frame_builder builder = {0};
    struct buffer keyed = block_of("k"), moved = block_of("other");

    assert_int_equal(attributes_set_origin(&moved, 0xabc, 0xdef), MP_OK);
    assert_int_equal(frame_begin(&builder, 7, 100), MP_OK);
    assert_int_equal(frame_add(&builder, "one", 3, NULL, 0), MP_OK);
    assert_int_equal(frame_add(&builder, NULL, 0, keyed.data, keyed.size), MP_OK);
    assert_int_equal(frame_add(&builder, "moved", 5, moved.data, moved.size), MP_OK);
    assert_int_equal(frame_add(&builder, "three", 5, moved.data, 0), MP_OK);
    frame_finish(&builder, TIME);
    buffer_free(&keyed);
    buffer_free(&moved);
    return builder;
}

/* Opens a copy in a piece of memory of just its size, and walks and cuts it in all ways: nothing may step outside. */
static enum mp_error try_open(const uint8_t *data, size_t size, bool deep)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(copy, data, size);
    struct frame frame;
    enum mp_error error = frame_open(&frame, copy, size, deep, &fault);
    if (error == MP_OK) {
        struct frame_cursor cursor = frame_cursor(&frame);
        struct record record;
        uint32_t count = 0;
        while (frame_next(&cursor, &record)) {
            for (size_t i = 0; i < record.size; i++)
                sink = sink ^ record.body[i];
            for (size_t i = 0; i < record.attributes_size; i++)
                sink = sink ^ record.attributes[i];
            count++;
        }
        if (deep) {
            assert_int_equal(count, frame.count);
            assert_int_equal(cursor.at, frame.size);
        }
        for (uint32_t start = 0; start <= 4; start++) {
            struct buffer out = {0};
            cursor = frame_cursor(&frame);
            frame_skip(&cursor, start);
            frame_cut(&cursor, 2, 1000, &out);
            buffer_free(&out);
        }
    }
    free(copy);
    return error;
}

static void an_empty_or_strange_run_is_no_frame(void **state)
{
    static const uint8_t zeros[100];
    struct frame_builder builder = small_frame();

    (void)state;
    assert_int_equal(try_open(zeros, 0, true), MP_ERR_FORMAT);
    assert_int_equal(try_open(zeros, 63, true), MP_ERR_FORMAT);
    assert_int_equal(try_open(zeros, 100, true), MP_ERR_FORMAT);
    assert_string_equal(fault.text, "not a frame: it does not begin like one");
    assert_false(frame_recognise(zeros, 100));
    assert_true(frame_recognise(builder.bytes.data, builder.bytes.size));
    assert_false(frame_recognise(builder.bytes.data, builder.bytes.size - 1));
    assert_false(frame_recognise(builder.bytes.data, 64));
    assert_false(frame_recognise(builder.bytes.data, 3));
    frame_builder_free(&builder);
}

static void what_was_built_is_read(void **state)
{
    struct frame_builder builder = small_frame();
    struct frame frame;
    struct record record;

    (void)state;
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, &fault), MP_OK);
    assert_ptr_equal(frame.data, builder.bytes.data);
    assert_int_equal(frame.size, builder.bytes.size);
    assert_int_equal(frame.producer, 7);
    assert_int_equal(frame.sequence, 100);
    assert_int_equal(frame.time, TIME);
    assert_int_equal(frame.count, 4);
    assert_int_equal(frame.longest, 5);
    assert_int_equal(frame.attributes, 2);
    assert_int_equal(frame.flags, 0);
    struct frame_cursor cursor = frame_cursor(&frame);
    assert_true(frame_next(&cursor, &record));
    assert_int_equal(record.size, 3);
    assert_memory_equal(record.body, "one", 3);
    assert_null(record.attributes);
    assert_int_equal(record.attributes_size, 0);
    assert_true(record.producer == 7 && record.sequence == 100);
    assert_true(frame_next(&cursor, &record));
    assert_int_equal(record.size, 0);
    assert_int_equal(record.attributes_size, 4);
    assert_true(record.producer == 7 && record.sequence == 101);
    assert_true(frame_next(&cursor, &record));
    assert_memory_equal(record.body, "moved", 5);
    assert_true(record.producer == 0xabc && record.sequence == 0xdef);
    assert_true(frame_next(&cursor, &record));
    assert_memory_equal(record.body, "three", 5);
    assert_null(record.attributes);
    assert_true(record.producer == 7 && record.sequence == 103);
    assert_false(frame_next(&cursor, &record));
    assert_false(frame_next(&cursor, &record));
    frame_builder_free(&builder);
}

static void a_trusted_frame_is_the_one_that_was_opened(void **state)
{
    struct frame_builder builder = small_frame();
    struct frame opened, trusted;

    (void)state;
    assert_int_equal(frame_open(&opened, builder.bytes.data, builder.bytes.size, true, &fault), MP_OK);
    frame_trust(&trusted, builder.bytes.data, builder.bytes.size);
    assert_ptr_equal(trusted.data, opened.data);
    assert_int_equal(trusted.size, opened.size);
    assert_int_equal(trusted.producer, opened.producer);
    assert_int_equal(trusted.sequence, opened.sequence);
    assert_int_equal(trusted.time, opened.time);
    assert_int_equal(trusted.count, opened.count);
    assert_int_equal(trusted.longest, opened.longest);
    assert_int_equal(trusted.attributes, opened.attributes);
    assert_int_equal(trusted.flags, opened.flags);
    frame_builder_free(&builder);
}

/* The bytes of a frame of one message, written down: what is stored today must be read for ever. */
static void the_format_does_not_change(void **state)
{
    static const uint8_t expected[] = {
        'm',  'p',  'f',  '1',  0,    0, 0, 0, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02,
        0x01, 0x18, 0x17, 0x16, 0x15, 0, 0, 0, 0,    0x87, 0xd6, 0x12, 0,    0,    0,
        0,    0,    1,    0,    0,    0, 9, 0, 0,    0,    5,    0,    0,    0,    0,
        0,    0,    0,    0,    0,    0, 0, 0, 0,    0,    0,    0x5e, 0xd0, 0x82, 0x02,
        0x03, 0xbd, 0xf6, 0x12, 5,    0, 0, 0, 'h',  'e',  'l',  'l',  'o',
    };
    struct frame_builder builder = {0};

    (void)state;
    assert_int_equal(frame_begin(&builder, 0x0102030405060708, 0x15161718), MP_OK);
    assert_int_equal(frame_add(&builder, "hello", 5, NULL, 0), MP_OK);
    frame_finish(&builder, TIME);
    assert_int_equal(builder.bytes.size, sizeof expected);
    assert_memory_equal(builder.bytes.data, expected, sizeof expected);
    frame_builder_free(&builder);
}

static void every_truncation_is_an_error(void **state)
{
    struct frame_builder builder = small_frame();
    struct buffer *bytes = &builder.bytes;

    (void)state;
    for (size_t size = 0; size < bytes->size; size++) {
        assert_int_equal(try_open(bytes->data, size, true), MP_ERR_FORMAT);
        assert_int_equal(try_open(bytes->data, size, false), MP_ERR_FORMAT);
    }
    /* The same with a header and a checksum that fit the truncated size. */
    for (size_t size = RECORDS; size < bytes->size; size++) {
        uint8_t *copy = malloc(size);
        memcpy(copy, bytes->data, size);
        store_u32(copy + SIZE, (uint32_t)(size - RECORDS));
        seal(copy, size);
        assert_int_equal(try_open(copy, size, true), MP_ERR_FORMAT);
        try_open(copy, size, false);
        free(copy);
    }
    assert_int_equal(buffer_put_u8(bytes, 0), MP_OK);
    assert_int_equal(try_open(bytes->data, bytes->size, true), MP_ERR_FORMAT);
    store_u32(bytes->data + SIZE, (uint32_t)(bytes->size - RECORDS));
    seal(bytes->data, bytes->size);
    assert_int_equal(try_open(bytes->data, bytes->size, true), MP_ERR_FORMAT);
    assert_string_equal(fault.text, "not a frame: there are bytes behind its last message");
    frame_builder_free(&builder);
}

static void every_flipped_bit_is_noticed(void **state)
{
    struct frame_builder builder = small_frame();
    uint8_t *data = builder.bytes.data;
    size_t size = builder.bytes.size;

    (void)state;
    for (size_t bit = 0; bit < size * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum mp_error error = try_open(data, size, bit % 2 == 0);
        if (bit < 24 || (bit >= SIZE * 8 && bit < LONGEST * 8))
            assert_int_equal(error, MP_ERR_FORMAT);
        else if (bit < 32)
            assert_int_equal(error, MP_ERR_VERSION);
        else
            assert_int_equal(error, MP_ERR_DAMAGED);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(try_open(data, size, true), MP_OK);
    frame_builder_free(&builder);
}

/* Somebody who can compute the checksum: whatever else he writes there, nothing steps outside. */
static void sealed_damage_is_judged_in_bounds(void **state)
{
    struct frame_builder builder = small_frame();
    uint8_t *data = builder.bytes.data;
    size_t size = builder.bytes.size;
    unsigned passed = 0;

    (void)state;
    for (size_t bit = 0; bit < size * 8; bit++) {
        if (bit >= CHECKSUM * 8 && bit < RECORDS * 8)
            continue;
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        seal(data, size);
        passed += try_open(data, size, true) == MP_OK;
        try_open(data, size, false);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(passed > 0 && passed < size * 8 / 2); /* bodies, producer, sequence and time are free */
    /* Two bytes at once, at random but always the same. */
    uint32_t random = 1;
    for (int turn = 0; turn < 20000; turn++) {
        uint8_t before[2];
        size_t at[2];
        for (int i = 0; i < 2; i++) {
            random = random * 1664525 + 1013904223;
            at[i] = (random >> 8) % size;
            before[i] = data[at[i]];
            data[at[i]] = (uint8_t)(random >> 24);
        }
        seal(data, size);
        try_open(data, size, turn % 2 == 0);
        data[at[1]] = before[1];
        data[at[0]] = before[0];
    }
    frame_builder_free(&builder);
}

/* Changes one field of a right frame and seals it. */
static enum mp_error open_with(size_t at, uint64_t value, size_t width)
{
    struct frame_builder builder = small_frame();
    uint8_t *data = builder.bytes.data;

    if (width == 8)
        store_u64(data + at, value);
    else
        store_u32(data + at, (uint32_t)value);
    seal(data, builder.bytes.size);
    enum mp_error error = try_open(data, builder.bytes.size, true);
    frame_builder_free(&builder);
    return error;
}

static void impossible_headers_are_refused(void **state)
{
    (void)state;
    assert_int_equal(open_with(PRODUCER, 8, 8), MP_OK);
    assert_int_equal(open_with(PRODUCER, 0, 8), MP_ERR_FORMAT);
    assert_string_equal(fault.text, "not a frame: no producer");
    assert_int_equal(open_with(COUNT, 0, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(COUNT, FRAME_COUNT_MAX + 1, 4), MP_ERR_FORMAT);
    assert_string_equal(fault.text, "not a frame: an impossible count of messages");
    assert_int_equal(open_with(COUNT, 3, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(COUNT, 5, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(COUNT, UINT32_MAX, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(SEQUENCE, UINT64_MAX - 4, 8), MP_OK);
    assert_int_equal(open_with(SEQUENCE, UINT64_MAX - 3, 8), MP_ERR_FORMAT);
    assert_int_equal(open_with(SEQUENCE, UINT64_MAX, 8), MP_ERR_FORMAT);
    assert_string_equal(fault.text, "not a frame: its sequence overflows");
    assert_int_equal(open_with(SEQUENCE, 0, 8), MP_OK);
    assert_int_equal(open_with(AT_TIME, 0, 8), MP_OK);
    assert_int_equal(open_with(AT_TIME, (uint64_t)FRAME_TIME_MAX, 8), MP_OK);
    assert_int_equal(open_with(AT_TIME, (uint64_t)FRAME_TIME_MAX + 1, 8), MP_ERR_FORMAT);
    assert_int_equal(open_with(AT_TIME, UINT64_MAX, 8), MP_ERR_FORMAT);
    assert_string_equal(fault.text, "not a frame: an impossible time");
    assert_int_equal(open_with(FLAGS, FRAME_CUT, 4), MP_OK);
    for (unsigned bit = 2; bit < 32; bit++)
        assert_int_equal(open_with(FLAGS, UINT32_C(1) << bit, 4), MP_ERR_FORMAT);
    assert_string_equal(fault.text, "not a frame: unknown flags");
    for (unsigned bit = 0; bit < 64; bit++)
        assert_int_equal(open_with(ZERO, UINT64_C(1) << bit, 8), MP_ERR_FORMAT);
    assert_string_equal(fault.text, "not a frame: reserved bytes are not zero");
    assert_int_equal(open_with(LONGEST, 4, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(LONGEST, 6, 4), MP_ERR_FORMAT);
    assert_string_equal(fault.text, "not a frame: the header does not fit the messages");
    assert_int_equal(open_with(LONGEST, UINT32_MAX, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(ATTRIBUTES, 1, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(ATTRIBUTES, 3, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(ATTRIBUTES, UINT32_MAX, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(SIZE, 0, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(SIZE, UINT32_MAX, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(0, 0x3266706d, 4), MP_ERR_VERSION);
    assert_string_equal(fault.text, "a frame of version '2': this program knows version '1' only");
}

static void impossible_records_are_refused(void **state)
{
    const size_t second = RECORDS + 4 + 3; /* has attributes: word, length, block of 4, no body */

    (void)state;
    assert_int_equal(open_with(RECORDS, 0x7fffffff, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(RECORDS, 0xffffffff, 4), MP_ERR_FORMAT);
    assert_int_equal(open_with(RECORDS, 0x40000000, 4), MP_ERR_FORMAT);
    assert_string_equal(fault.text, "not a frame: message 1 of 4 does not fit into it");
    struct frame_builder builder = small_frame();
    uint8_t *data = builder.bytes.data;
    store_u16(data + second + 4, 0); /* a top bit with an empty block; the body takes its place */
    store_u32(data + second, UINT32_C(0x80000000) | 4);
    seal(data, builder.bytes.size);
    assert_int_equal(try_open(data, builder.bytes.size, true), MP_ERR_FORMAT);
    assert_string_equal(fault.text, "not a frame: message 2 of 4 does not fit into it");
    store_u16(data + second + 4, 0xffff);
    seal(data, builder.bytes.size);
    assert_int_equal(try_open(data, builder.bytes.size, true), MP_ERR_FORMAT);
    store_u16(data + second + 4, 4);
    store_u32(data + second, UINT32_C(0x80000000));
    data[second + 6] = 63; /* an unknown attribute */
    seal(data, builder.bytes.size);
    assert_int_equal(try_open(data, builder.bytes.size, true), MP_ERR_FORMAT);
    assert_int_equal(try_open(data, builder.bytes.size, false), MP_OK);
    frame_builder_free(&builder);
}

static void origins_are_32_hex_digits(void **state)
{
    char text[FRAME_ID_TEXT];
    uint64_t producer, sequence;

    (void)state;
    frame_origin_text(0x0123456789abcdef, 0xfedcba9876543210, text);
    assert_string_equal(text, "0123456789abcdeffedcba9876543210");
    assert_true(frame_origin_parse(text, 32, &producer, &sequence));
    assert_true(producer == 0x0123456789abcdef && sequence == 0xfedcba9876543210);
    assert_false(frame_origin_parse(text, 31, &producer, &sequence));
    assert_false(frame_origin_parse(text, 33, &producer, &sequence));
    for (size_t i = 0; i < 32; i++) {
        static const char wrong[] = "gA/:`@\0 ";
        for (size_t j = 0; j < sizeof wrong; j++) {
            char before = text[i];
            text[i] = wrong[j];
            assert_false(frame_origin_parse(text, 32, &producer, &sequence));
            text[i] = before;
        }
    }
    assert_false(frame_origin_parse("00000000000000000000000000000001", 32, &producer, &sequence));
}

static void a_record_has_the_id_that_was_given_or_its_origin(void **state)
{
    struct frame_builder builder = {0};
    struct buffer block = {0};
    struct frame frame;
    struct record record;
    char text[FRAME_ID_TEXT];
    size_t size;

    (void)state;
    assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, "id", 2, "mine", 4, NULL), MP_OK);
    assert_int_equal(frame_begin(&builder, 1, 2), MP_OK);
    assert_int_equal(frame_add(&builder, "a", 1, block.data, block.size), MP_OK);
    assert_int_equal(frame_add(&builder, "b", 1, NULL, 0), MP_OK);
    frame_finish(&builder, TIME);
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, &fault), MP_OK);
    struct frame_cursor cursor = frame_cursor(&frame);
    assert_true(frame_next(&cursor, &record));
    assert_memory_equal(frame_record_id(&record, text, &size), "mine", 4);
    assert_int_equal(size, 4);
    assert_true(frame_next(&cursor, &record));
    assert_memory_equal(frame_record_id(&record, text, &size), "00000000000000010000000000000003", 32);
    assert_int_equal(size, 32);
    buffer_free(&block);
    frame_builder_free(&builder);
}

static void a_frame_tells_that_messages_expire(void **state)
{
    struct buffer plain = {0}, timed = {0};
    struct frame_builder builder = {0};
    struct frame frame;
    struct record record;
    int64_t time;

    (void)state;
    assert_int_equal(attributes_set(&plain, ATTRIBUTE_STRING, "zone", 4, "b", 1, NULL), MP_OK);
    assert_int_equal(attributes_set(&timed, ATTRIBUTE_STRING, "zone", 4, "b", 1, NULL), MP_OK);
    assert_int_equal(attributes_set(&timed, ATTRIBUTE_STRING, "expirytime", 10, "1970-01-01T00:00:07.5Z", 22, NULL),
                     MP_OK);
    assert_int_equal(frame_begin(&builder, 1, 2), MP_OK);
    assert_int_equal(frame_add(&builder, "a", 1, plain.data, plain.size), MP_OK);
    assert_int_equal(frame_add(&builder, "b", 1, timed.data, timed.size), MP_OK);
    frame_finish(&builder, 3);
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, false, NULL), MP_OK);
    assert_int_equal(frame.flags, FRAME_TIMED);
    struct frame_cursor cursor = frame_cursor(&frame);
    assert_true(frame_next(&cursor, &record));
    assert_false(frame_record_expiry(&record, &time));
    assert_true(frame_next(&cursor, &record));
    assert_true(frame_record_expiry(&record, &time));
    assert_int_equal(time, 7500000);

    /* A sender that did not know of it: found by who looks. */
    store_u32(builder.bytes.data + 4, 0);
    seal(builder.bytes.data, builder.bytes.size);
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, false, NULL), MP_OK);
    assert_int_equal(frame.flags, 0);
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, NULL), MP_OK);
    assert_int_equal(frame.flags, FRAME_TIMED);

    assert_int_equal(frame_begin(&builder, 1, 2), MP_OK);
    assert_int_equal(frame_add(&builder, "a", 1, plain.data, plain.size), MP_OK);
    frame_finish(&builder, 3);
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, NULL), MP_OK);
    assert_int_equal(frame.flags, 0);
    frame_builder_free(&builder);
    buffer_free(&plain);
    buffer_free(&timed);
}

static void builders_refuse_what_no_reader_takes(void **state)
{
    struct frame_builder builder = {0};
    static const uint8_t block[ATTRIBUTE_BLOCK_MAX + 1];

    (void)state;
    assert_int_equal(frame_begin(&builder, 0, 1), MP_ERR_INVALID);
    assert_int_equal(frame_begin(&builder, 1, UINT64_MAX), MP_ERR_INVALID);
    assert_int_equal(frame_begin(&builder, 1, UINT64_MAX - FRAME_COUNT_MAX + 1), MP_ERR_INVALID);
    assert_int_equal(frame_begin(&builder, 1, UINT64_MAX - FRAME_COUNT_MAX), MP_OK);
    assert_int_equal(frame_add(&builder, NULL, FRAME_BODY_MAX + 1, NULL, 0), MP_ERR_TOO_LARGE);
    assert_int_equal(frame_add(&builder, NULL, SIZE_MAX, NULL, 0), MP_ERR_TOO_LARGE);
    assert_int_equal(frame_add(&builder, "x", 1, block, sizeof block), MP_ERR_TOO_LARGE);
    assert_int_equal(builder.count, 0);
    for (int i = 0; i < FRAME_COUNT_MAX; i++)
        assert_int_equal(frame_add(&builder, NULL, 0, NULL, 0), MP_OK);
    assert_false(frame_has_room(&builder, 0, 0));
    assert_int_equal(frame_add(&builder, NULL, 0, NULL, 0), MP_ERR_TOO_LARGE);
    frame_finish(&builder, -5);
    assert_int_equal(try_open(builder.bytes.data, builder.bytes.size, true), MP_OK);
    frame_finish(&builder, INT64_MAX);
    assert_int_equal(try_open(builder.bytes.data, builder.bytes.size, true), MP_OK);
    frame_builder_free(&builder);
}

static void a_frame_has_room_up_to_its_target(void **state)
{
    struct frame_builder builder = {0};
    static const uint8_t body[100];
    struct frame frame;

    (void)state;
    assert_int_equal(frame_begin(&builder, 1, 1), MP_OK);
    assert_true(frame_has_room(&builder, FRAME_BODY_MAX, 0)); /* one large message alone */
    while (frame_has_room(&builder, sizeof body, 0))
        assert_int_equal(frame_add(&builder, body, sizeof body, NULL, 0), MP_OK);
    frame_finish(&builder, TIME);
    assert_true(builder.bytes.size <= FRAME_TARGET && builder.bytes.size > FRAME_TARGET - 110);
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, &fault), MP_OK);
    assert_false(frame_has_room(&builder, SIZE_MAX - 100, 0));
    assert_int_equal(builder.bytes.capacity, FRAME_TARGET);
    frame_builder_free(&builder);
}

/* A builder keeps its buffer from frame to frame, but not one that a single large message needed. */
static void a_builder_is_used_again(void **state)
{
    struct frame_builder builder = {0};
    const size_t large = 5 * FRAME_TARGET;
    uint8_t *body = calloc(1, large);
    struct frame frame;

    (void)state;
    for (uint64_t turn = 1; turn <= 3; turn++) {
        assert_int_equal(frame_begin(&builder, turn, turn * 10), MP_OK);
        assert_int_equal(frame_add(&builder, "small", 5, NULL, 0), MP_OK);
        frame_finish(&builder, TIME);
        assert_true(builder.bytes.capacity <= 4096);
        const uint8_t *before = builder.bytes.data;
        assert_int_equal(frame_begin(&builder, turn, turn * 10), MP_OK);
        assert_ptr_equal(builder.bytes.data, before);
        assert_int_equal(frame_add(&builder, body, large, NULL, 0), MP_OK);
        frame_finish(&builder, TIME);
        assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, &fault), MP_OK);
        assert_int_equal(frame.longest, large);
        assert_int_equal(frame.producer, turn);
        assert_int_equal(frame.count, 1);
    }
    free(body);
    frame_builder_free(&builder);
}

static void without_memory_a_frame_stays_as_it_was(void **state)
{
    struct frame_builder builder = {0};
    static const uint8_t body[10000];
    struct frame frame;

    (void)state;
    memory_fail(1);
    assert_int_equal(frame_begin(&builder, 1, 1), MP_ERR_MEMORY);
    memory_fail(0);
    assert_int_equal(frame_begin(&builder, 1, 1), MP_OK);
    assert_int_equal(frame_add(&builder, "kept", 4, NULL, 0), MP_OK);
    memory_fail(1);
    assert_int_equal(frame_add(&builder, body, sizeof body, NULL, 0), MP_ERR_MEMORY);
    assert_true(memory_failed());
    memory_fail(0);
    frame_finish(&builder, TIME);
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, &fault), MP_OK);
    assert_int_equal(frame.count, 1);
    frame_builder_free(&builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_or_strange_run_is_no_frame),
        cmocka_unit_test(what_was_built_is_read),
        cmocka_unit_test(a_trusted_frame_is_the_one_that_was_opened),
        cmocka_unit_test(the_format_does_not_change),
        cmocka_unit_test(every_truncation_is_an_error),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(sealed_damage_is_judged_in_bounds),
        cmocka_unit_test(impossible_headers_are_refused),
        cmocka_unit_test(impossible_records_are_refused),
        cmocka_unit_test(origins_are_32_hex_digits),
        cmocka_unit_test(a_record_has_the_id_that_was_given_or_its_origin),
        cmocka_unit_test(a_frame_tells_that_messages_expire),
        cmocka_unit_test(builders_refuse_what_no_reader_takes),
        cmocka_unit_test(a_frame_has_room_up_to_its_target),
        cmocka_unit_test(a_builder_is_used_again),
        cmocka_unit_test(without_memory_a_frame_stays_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
