/* base/buffer.h and base/memory.h */
#include "base/buffer.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void a_zeroed_buffer_is_empty_and_can_be_freed(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    buffer_free(&buffer);
    buffer_consume(&buffer, 5);
    assert_int_equal(buffer_append(&buffer, NULL, 0), MP_OK);
    assert_int_equal(buffer.size, 0);
    buffer_free(&buffer);
}

static void appending_keeps_all_bytes_in_order(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        assert_int_equal(buffer_append(&buffer, &byte, 1), MP_OK);
    }
    assert_int_equal(buffer.size, 5000);
    assert_true(buffer.capacity >= buffer.size);
    for (unsigned i = 0; i < 5000; i++)
        assert_int_equal(buffer.data[i], (uint8_t)(i * 7));
    buffer_free(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.capacity, 0);
}

static void growth_is_geometric(void **state)
{
    struct buffer buffer = {0};
    unsigned moves = 0;

    (void)state;
    for (unsigned i = 0; i < 1 << 20; i++) {
        size_t before = buffer.capacity;
        assert_int_equal(buffer_put_u8(&buffer, 1), MP_OK);
        moves += buffer.capacity != before;
    }
    assert_true(moves <= 16);
    buffer_free(&buffer);
}

static void reserving_makes_room_and_changes_nothing_else(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    assert_int_equal(buffer_append_string(&buffer, "abc"), MP_OK);
    assert_int_equal(buffer_reserve(&buffer, 1000), MP_OK);
    assert_true(buffer.capacity - buffer.size >= 1000);
    assert_int_equal(buffer.size, 3);
    assert_memory_equal(buffer.data, "abc", 3);
    size_t capacity = buffer.capacity;
    assert_int_equal(buffer_reserve(&buffer, 1000), MP_OK);
    assert_int_equal(buffer.capacity, capacity);
    buffer_free(&buffer);
}

static void impossible_sizes_are_no_memory(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    assert_int_equal(buffer_append_string(&buffer, "abc"), MP_OK);
    assert_int_equal(buffer_reserve(&buffer, SIZE_MAX), MP_ERR_MEMORY);
    assert_int_equal(buffer_reserve(&buffer, SIZE_MAX - 2), MP_ERR_MEMORY);
    assert_int_equal(buffer_reserve(&buffer, SIZE_MAX / 2), MP_ERR_MEMORY);
    assert_int_equal(buffer.size, 3);
    assert_memory_equal(buffer.data, "abc", 3);
    assert_null(memory_allocate_array(SIZE_MAX / 2, 3));
    buffer_free(&buffer);
}

static void a_failed_allocation_leaves_the_content(void **state)
{
    struct buffer buffer = {0};
    static const uint8_t much[1000];

    (void)state;
    assert_int_equal(buffer_append_string(&buffer, "abc"), MP_OK);
    memory_fail(1);
    assert_int_equal(buffer_append(&buffer, much, sizeof much), MP_ERR_MEMORY);
    assert_true(memory_failed());
    memory_fail(1);
    assert_int_equal(buffer_append_format(&buffer, "%0500d", 1), MP_ERR_MEMORY);
    memory_fail(1);
    assert_int_equal(buffer_put_string(&buffer, (const char *)much, sizeof much), MP_ERR_MEMORY);
    memory_fail(1);
    assert_int_equal(buffer_replace(&buffer, 1, 1, much, sizeof much), MP_ERR_MEMORY);
    assert_int_equal(buffer.size, 3);
    assert_memory_equal(buffer.data, "abc", 3);
    memory_fail(2);
    assert_int_equal(buffer_append(&buffer, much, sizeof much), MP_OK);
    assert_false(memory_failed());
    memory_fail(0);
    buffer_free(&buffer);
}

static void formatted_text_is_appended_without_its_nul(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    assert_int_equal(buffer_append_format(&buffer, "%d-%s", 42, "x"), MP_OK);
    assert_int_equal(buffer_append_format(&buffer, "%s", ""), MP_OK);
    assert_int_equal(buffer_append_format(&buffer, "%0200d", 7), MP_OK);
    assert_int_equal(buffer.size, 4 + 200);
    assert_memory_equal(buffer.data, "42-x000", 7);
    assert_int_equal(buffer.data[203], '7');
    buffer_free(&buffer);
}

static void consuming_moves_the_rest_to_the_front(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    assert_int_equal(buffer_append_string(&buffer, "abcdef"), MP_OK);
    buffer_consume(&buffer, 0);
    buffer_consume(&buffer, 2);
    assert_int_equal(buffer.size, 4);
    assert_memory_equal(buffer.data, "cdef", 4);
    buffer_consume(&buffer, 100);
    assert_int_equal(buffer.size, 0);
    buffer_free(&buffer);
}

static void replacing_grows_shrinks_and_inserts(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    assert_int_equal(buffer_replace(&buffer, 0, 0, "ad", 2), MP_OK);
    assert_int_equal(buffer_replace(&buffer, 1, 0, "bc", 2), MP_OK);
    assert_memory_equal(buffer.data, "abcd", 4);
    assert_int_equal(buffer_replace(&buffer, 1, 2, "-long-", 6), MP_OK);
    assert_int_equal(buffer.size, 8);
    assert_memory_equal(buffer.data, "a-long-d", 8);
    assert_int_equal(buffer_replace(&buffer, 0, 7, NULL, 0), MP_OK);
    assert_int_equal(buffer.size, 1);
    assert_memory_equal(buffer.data, "d", 1);
    buffer_free(&buffer);
}

static void integers_are_little_endian_and_come_back(void **state)
{
    static const uint8_t expected[] = {0xab, 0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 0xf0,
                                       0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12};
    struct buffer buffer = {0};

    (void)state;
    assert_int_equal(buffer_put_u8(&buffer, 0xab), MP_OK);
    assert_int_equal(buffer_put_u16(&buffer, 0x1234), MP_OK);
    assert_int_equal(buffer_put_u32(&buffer, 0x12345678), MP_OK);
    assert_int_equal(buffer_put_u64(&buffer, 0x123456789abcdef0), MP_OK);
    assert_int_equal(buffer.size, sizeof expected);
    assert_memory_equal(buffer.data, expected, sizeof expected);

    struct reader reader = reader_of(buffer.data, buffer.size);
    assert_int_equal(reader_u8(&reader), 0xab);
    assert_int_equal(reader_u16(&reader), 0x1234);
    assert_int_equal(reader_u32(&reader), 0x12345678);
    assert_true(reader_u64(&reader) == 0x123456789abcdef0);
    assert_int_equal(reader.left, 0);
    assert_false(reader.failed);
    buffer_free(&buffer);
}

static void strings_have_a_16_bit_length(void **state)
{
    struct buffer buffer = {0};
    static const char large[65536];
    size_t size;

    (void)state;
    assert_int_equal(buffer_put_string(&buffer, large, 65536), MP_ERR_TOO_LARGE);
    assert_int_equal(buffer.size, 0);
    assert_int_equal(buffer_put_string(&buffer, large, 65535), MP_OK);
    assert_int_equal(buffer_put_string(&buffer, "", 0), MP_OK);
    assert_int_equal(buffer_put_string(&buffer, "hello", 5), MP_OK);
    struct reader reader = reader_of(buffer.data, buffer.size);
    assert_non_null(reader_string(&reader, &size));
    assert_int_equal(size, 65535);
    assert_non_null(reader_string(&reader, &size));
    assert_int_equal(size, 0);
    assert_memory_equal(reader_string(&reader, &size), "hello", 5);
    assert_int_equal(size, 5);
    assert_false(reader.failed);
    buffer_free(&buffer);
}

static void a_reader_cannot_overrun_and_stays_failed(void **state)
{
    static const uint8_t bytes[] = {5, 0, 'a', 'b'};
    size_t size = 99;

    (void)state;
    struct reader reader = reader_of(bytes, sizeof bytes);
    assert_null(reader_string(&reader, &size));
    assert_int_equal(size, 0);
    assert_true(reader.failed);
    assert_int_equal(reader_u8(&reader), 0);
    assert_null(reader_bytes(&reader, 0));

    reader = reader_of(bytes, 3);
    assert_int_equal(reader_u32(&reader), 0);
    assert_true(reader.failed);
    assert_int_equal(reader_u16(&reader), 0);
    assert_true(reader_u64(&reader) == 0);

    reader = reader_of(NULL, 0);
    assert_null(reader_bytes(&reader, 0));
    assert_false(reader.failed);
    assert_null(reader_bytes(&reader, SIZE_MAX));
    assert_true(reader.failed);
}

static void allocation_is_zeroed_and_fails_on_demand(void **state)
{
    (void)state;
    uint8_t *memory = memory_allocate(64);
    for (int i = 0; i < 64; i++)
        assert_int_equal(memory[i], 0);
    memory_release(memory);
    char *copy = memory_copy_text("abcdef", 3);
    assert_string_equal(copy, "abc");
    memory_release(copy);
    memory_fail(1);
    assert_null(memory_allocate(1));
    assert_true(memory_failed());
    memory_fail(1);
    assert_null(memory_copy_text("a", 1));
    memory_fail(1);
    assert_null(memory_allocate_array(1, 1));
    memory_fail(0);
    memory_release(NULL);
}

/* memory.h */
static void an_array_grows_twofold_and_stays_when_there_is_no_memory(void **state)
{
    size_t capacity = 0, endless = SIZE_MAX / 4;
    uint64_t *all = memory_grow(NULL, &capacity, sizeof *all, 3), *more;
    (void)state;
    assert_non_null(all);
    assert_int_equal(capacity, 3);
    all[2] = 7;
    memory_fail(1);
    assert_null(memory_grow(all, &capacity, sizeof *all, 3));
    memory_fail(0);
    assert_int_equal(capacity, 3);
    assert_non_null(more = memory_grow(all, &capacity, sizeof *all, 3));
    assert_int_equal(capacity, 6);
    assert_int_equal(more[2], 7);
    memory_release(more);
    assert_null(memory_grow(NULL, &endless, sizeof *all, 3));
    assert_int_equal(endless, SIZE_MAX / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_grows_twofold_and_stays_when_there_is_no_memory),
        cmocka_unit_test(a_zeroed_buffer_is_empty_and_can_be_freed),
        cmocka_unit_test(appending_keeps_all_bytes_in_order),
        cmocka_unit_test(growth_is_geometric),
        cmocka_unit_test(reserving_makes_room_and_changes_nothing_else),
        cmocka_unit_test(impossible_sizes_are_no_memory),
        cmocka_unit_test(a_failed_allocation_leaves_the_content),
        cmocka_unit_test(formatted_text_is_appended_without_its_nul),
        cmocka_unit_test(consuming_moves_the_rest_to_the_front),
        cmocka_unit_test(replacing_grows_shrinks_and_inserts),
        cmocka_unit_test(integers_are_little_endian_and_come_back),
        cmocka_unit_test(strings_have_a_16_bit_length),
        cmocka_unit_test(a_reader_cannot_overrun_and_stays_failed),
        cmocka_unit_test(allocation_is_zeroed_and_fails_on_demand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
