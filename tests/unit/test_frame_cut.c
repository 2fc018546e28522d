/* message/frame.h: walking and cutting. */
#include "message/frame.h"

#include "base/bits.h"
#include "base/memory.h"
#include "message/attributes.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { TIME = 1234567 };

static struct fault fault;

/* An attribute block with a key. */
static struct buffer block_of(const char *key)
{
    struct buffer block = {0};

    assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, "partitionkey", 12, key, strlen(key), NULL), MP_OK);
    return block;
}

/* A frame of COUNT messages "m<i>", each third with its number as key. */
static struct frame_builder numbered_frame(uint32_t count)
{
    struct frame_builder builder = {0};
    char body[16];

    assert_int_equal(frame_begin(&builder, 9, 1000), MP_OK);
    for (uint32_t i = 0; i < count; i++) {
        int size = snprintf(body, sizeof body, "m%u", i);
        struct buffer block = {0};
        if (i % 3 == 0)
            block = block_of(body);
        if (i % 6 == 0)
            assert_int_equal(attributes_set_origin(&block, 5, 50000 + i), MP_OK);
        assert_int_equal(frame_add(&builder, body, (size_t)size, block.data, block.size), MP_OK);
        buffer_free(&block);
    }
    frame_finish(&builder, TIME);
    return builder;
}

/* Checks that a frame holds COUNT messages of numbered_frame() from FIRST on. */
static void assert_numbered(const struct frame *frame, uint32_t first, uint32_t count)
{
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    char body[16];
    uint32_t longest = 0, attributes = 0;

    assert_int_equal(frame->count, count);
    assert_int_equal(frame->producer, 9);
    assert_int_equal(frame->sequence, 1000 + first);
    assert_int_equal(frame->time, TIME);
    for (uint32_t i = first; i < first + count; i++) {
        uint32_t size = (uint32_t)snprintf(body, sizeof body, "m%u", i);
        assert_true(frame_next(&cursor, &record));
        assert_int_equal(record.size, size);
        assert_memory_equal(record.body, body, size);
        assert_int_equal(record.producer, i % 6 == 0 ? 5 : 9);
        assert_int_equal(record.sequence, i % 6 == 0 ? 50000 + i : 1000 + i);
        assert_int_equal(record.attributes != NULL, i % 3 == 0);
        attributes += i % 3 == 0;
        longest = size > longest ? size : longest;
    }
    assert_false(frame_next(&cursor, &record));
    assert_int_equal(frame->longest, longest);
    assert_int_equal(frame->attributes, attributes);
}

static void cuts_are_frames_of_their_own(void **state)
{
    const uint32_t total = 25;
    struct frame_builder builder = numbered_frame(total);
    struct frame frame, part;

    (void)state;
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, &fault), MP_OK);
    for (uint32_t first = 0; first < total; first++) {
        for (uint32_t count = 1; count <= total + 1; count++) {
            struct buffer out = {0};
            struct frame_cursor cursor = frame_cursor(&frame);
            uint32_t left = total - first, taken = count < left ? count : left;
            assert_int_equal(buffer_append_string(&out, "before"), MP_OK);
            assert_true(frame_skip(&cursor, first));
            assert_int_equal(frame_cut(&cursor, count, SIZE_MAX, &out), MP_OK);
            assert_memory_equal(out.data, "before", 6);
            assert_int_equal(frame_open(&part, out.data + 6, out.size - 6, true, &fault), MP_OK);
            assert_int_equal(part.flags, taken == total ? 0 : FRAME_CUT);
            assert_numbered(&part, first, taken);
            assert_int_equal(cursor.index, first + taken);
            assert_int_equal(cursor.index == total, cursor.at == frame.size);
            buffer_free(&out);
        }
    }
    frame_builder_free(&builder);
}

static void a_cut_of_a_cut_keeps_its_identity(void **state)
{
    struct frame_builder builder = numbered_frame(20);
    struct frame frame, part, piece;
    struct buffer one = {0}, other = {0};

    (void)state;
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, &fault), MP_OK);
    struct frame_cursor cursor = frame_cursor(&frame);
    assert_true(frame_skip(&cursor, 5));
    assert_int_equal(frame_cut(&cursor, 10, SIZE_MAX, &one), MP_OK);
    assert_int_equal(frame_open(&part, one.data, one.size, true, &fault), MP_OK);
    cursor = frame_cursor(&part);
    assert_true(frame_skip(&cursor, 3));
    assert_int_equal(frame_cut(&cursor, 4, SIZE_MAX, &other), MP_OK);
    assert_int_equal(frame_open(&piece, other.data, other.size, true, &fault), MP_OK);
    assert_numbered(&piece, 8, 4);
    buffer_consume(&other, other.size);
    cursor = frame_cursor(&part);
    assert_int_equal(frame_cut(&cursor, 10, SIZE_MAX, &other), MP_OK);
    assert_int_equal(frame_open(&piece, other.data, other.size, true, &fault), MP_OK);
    assert_int_equal(piece.flags, FRAME_CUT); /* the whole of a cut is still a cut */
    assert_numbered(&piece, 5, 10);
    buffer_free(&one);
    buffer_free(&other);
    frame_builder_free(&builder);
}

static void a_cut_keeps_its_limit_but_holds_one_message(void **state)
{
    struct frame_builder builder = {0};
    struct frame frame, part;
    struct buffer out = {0};
    static const uint8_t body[100];

    (void)state;
    assert_int_equal(frame_begin(&builder, 1, 1), MP_OK);
    for (int i = 0; i < 10; i++)
        assert_int_equal(frame_add(&builder, body, 100, NULL, 0), MP_OK);
    frame_finish(&builder, TIME);
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, &fault), MP_OK);
    static const struct {
        size_t limit;
        uint32_t count;
    } cases[] = {{0, 1}, {1, 1}, {103, 1}, {104, 1}, {207, 1}, {208, 2}, {209, 2}, {1039, 9}, {1040, 10}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct frame_cursor cursor = frame_cursor(&frame);
        out.size = 0;
        assert_int_equal(frame_cut(&cursor, 10, cases[i].limit, &out), MP_OK);
        assert_int_equal(frame_open(&part, out.data, out.size, true, &fault), MP_OK);
        assert_int_equal(part.count, cases[i].count);
        assert_int_equal(cursor.index, cases[i].count);
    }
    buffer_free(&out);
    frame_builder_free(&builder);
}

/* What frame_gather() makes of the COUNT messages from FIRST on that MASK chooses, each with its identity. */
static void assert_gathered(const struct frame *part, uint32_t first, uint32_t span, const uint8_t *mask)
{
    struct frame_cursor cursor = frame_cursor(part);
    struct record record;
    struct attribute key;
    char body[16];
    uint32_t longest = 0;

    for (uint32_t i = 0; i < span; i++) {
        if (!bits_get(mask, i))
            continue;
        uint32_t number = first + i, size = (uint32_t)snprintf(body, sizeof body, "m%u", number);
        bool marked = number % 6 == 0, keyed = number % 3 == 0;
        assert_true(frame_next(&cursor, &record));
        assert_int_equal(record.size, size);
        assert_memory_equal(record.body, body, size);
        assert_int_equal(record.producer, marked ? 5 : 9);
        assert_int_equal(record.sequence, marked ? 50000 + number : 1000 + number);
        assert_int_equal(attribute_find(record.attributes, record.attributes_size, "partitionkey", 12, &key), keyed);
        longest = size > longest ? size : longest;
    }
    assert_false(frame_next(&cursor, &record));
    assert_int_equal(part->flags, FRAME_CUT);
    assert_int_equal(part->time, TIME);
    assert_int_equal(part->longest, longest);
    assert_int_equal(part->attributes, part->count);
}

static void any_set_is_gathered(void **state)
{
    const uint32_t total = 13;
    struct frame_builder builder = numbered_frame(total);
    struct frame frame, part;
    struct buffer out = {0};

    (void)state;
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, &fault), MP_OK);
    for (uint32_t first = 0; first < total; first += 3)
        for (uint32_t set = 0; set < 1u << 10; set++) {
            uint8_t mask[2] = {(uint8_t)set, (uint8_t)(set >> 8)};
            uint32_t span = total - first < 10 ? total - first : 10, count = 0, last = 0;
            struct frame_cursor cursor = frame_cursor(&frame);
            assert_true(frame_skip(&cursor, first));
            size_t expected = bits_count(mask, 0, span);
            for (uint32_t i = 0; i < span; i++)
                last = bits_get(mask, i) ? first + i + 1 : last;
            out.size = 0;
            enum mp_error error = frame_gather(&cursor, span, mask, SIZE_MAX, &out, &count);
            assert_int_equal(error, expected > 0 ? MP_OK : MP_ERR_INVALID);
            if (error)
                continue;
            assert_int_equal(count, expected);
            assert_int_equal(cursor.index, last);
            assert_int_equal(frame_open(&part, out.data, out.size, true, &fault), MP_OK);
            assert_gathered(&part, first, span, mask);
        }
    buffer_free(&out);
    frame_builder_free(&builder);
}

static void a_gathered_frame_keeps_its_limit(void **state)
{
    static const uint8_t mask[] = {0xbf, 0x03};
    struct frame_builder builder = numbered_frame(10);
    struct frame frame, part, piece;
    struct buffer out = {0}, again = {0};
    struct record record;
    uint32_t count;

    (void)state;
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, &fault), MP_OK);
    for (size_t limit = 0; limit < 400; limit++) {
        struct frame_cursor cursor = frame_cursor(&frame);
        out.size = 0;
        assert_int_equal(frame_gather(&cursor, 10, mask, limit, &out, &count), MP_OK);
        uint32_t span = cursor.index;
        assert_true(bits_get(mask, span - 1));
        assert_int_equal(bits_count(mask, 0, span), count);
        assert_int_equal(frame_open(&part, out.data, out.size, true, &fault), MP_OK);
        assert_gathered(&part, 0, span, mask);
        assert_true(count == 1 || part.size - FRAME_HEADER <= limit);
        if (count == 1)
            continue;
        /* A cut of it keeps the identities, too. */
        struct frame_cursor look = frame_cursor(&part);
        assert_true(frame_skip(&look, 1));
        again.size = 0;
        assert_int_equal(frame_cut(&look, count - 1, SIZE_MAX, &again), MP_OK);
        assert_int_equal(frame_open(&piece, again.data, again.size, true, &fault), MP_OK);
        look = frame_cursor(&piece);
        assert_true(frame_next(&look, &record));
        assert_int_equal(record.sequence, 1001);
    }
    struct frame_cursor cursor = frame_cursor(&frame);
    buffer_free(&out);
    memory_fail(1);
    assert_int_equal(frame_gather(&cursor, 10, mask, SIZE_MAX, &out, &count), MP_ERR_MEMORY);
    memory_fail(0);
    assert_int_equal(cursor.index, 0);
    assert_int_equal(out.size, 0);
    assert_int_equal(frame_gather(&cursor, 10, mask, SIZE_MAX, &out, &count), MP_OK);
    assert_int_equal(count, 9);
    buffer_free(&again);
    buffer_free(&out);
    frame_builder_free(&builder);
}

static void nothing_is_cut_from_nothing_or_without_memory(void **state)
{
    struct frame_builder builder = numbered_frame(10);
    struct frame frame;
    struct buffer out = {0};

    (void)state;
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, &fault), MP_OK);
    struct frame_cursor cursor = frame_cursor(&frame);
    assert_int_equal(frame_cut(&cursor, 0, SIZE_MAX, &out), MP_ERR_INVALID);
    for (uint32_t count = 5; count <= 10; count += 5) {
        memory_fail(1);
        assert_int_equal(frame_cut(&cursor, count, SIZE_MAX, &out), MP_ERR_MEMORY);
        memory_fail(0);
        assert_int_equal(cursor.index, 0);
        assert_int_equal(out.size, 0);
    }
    assert_false(frame_skip(&cursor, 11));
    assert_int_equal(cursor.index, 10);
    assert_int_equal(frame_cut(&cursor, 1, SIZE_MAX, &out), MP_ERR_INVALID);
    assert_true(frame_skip(&cursor, 0));
    assert_false(frame_skip(&cursor, 1));
    buffer_free(&out);
    frame_builder_free(&builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_are_frames_of_their_own),
        cmocka_unit_test(a_cut_of_a_cut_keeps_its_identity),
        cmocka_unit_test(a_cut_keeps_its_limit_but_holds_one_message),
        cmocka_unit_test(any_set_is_gathered),
        cmocka_unit_test(a_gathered_frame_keeps_its_limit),
        cmocka_unit_test(nothing_is_cut_from_nothing_or_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
