/* What dead letters tell of their death. */
#include "message/letter.h"

#include "message/attributes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void set(struct buffer *block, const char *name, const char *value)
{
    assert_int_equal(attributes_set(block, ATTRIBUTE_STRING, name, strlen(name), value, strlen(value), NULL), MP_OK);
}

#define TEXT(member, text) .member = (text), .member##_size = sizeof(text) - 1

static const struct letter example = {
    TEXT(topic, "orders.new"),
    TEXT(group, "bill"),
    .offset = UINT64_MAX - 1,
    TEXT(reason, "retries"),
    .attempts = 21,
    .first = 1795194000000000,
    .last = 1795194600500000,
    TEXT(error, "no such order"),
    .code = 75,
};

static void assert_same(const struct letter *one, const struct letter *other)
{
    assert_int_equal(one->topic_size, other->topic_size);
    assert_memory_equal(one->topic, other->topic, one->topic_size);
    assert_int_equal(one->group_size, other->group_size);
    assert_memory_equal(one->group, other->group, one->group_size);
    assert_true(one->offset == other->offset);
    assert_int_equal(one->reason_size, other->reason_size);
    assert_memory_equal(one->reason, other->reason, one->reason_size);
    assert_int_equal(one->attempts, other->attempts);
    assert_int_equal(one->first, other->first);
    assert_int_equal(one->last, other->last);
    assert_int_equal(one->code, other->code);
    assert_int_equal(one->error_size, other->error_size);
    assert_memory_equal(one->error, other->error, one->error_size);
}

static void test_what_is_written_is_read_back(void **state)
{
    (void)state;
    struct buffer block = {0};
    struct letter letter;
    set(&block, "type", "order");
    set(&block, "dead", "not one of them");
    assert_false(letter_read(block.data, block.size, &letter));
    assert_int_equal(letter_write(&block, &example), MP_OK);
    assert_int_equal(attributes_check(block.data, block.size, NULL), MP_OK);
    assert_true(letter_read(block.data, block.size, &letter));
    assert_same(&letter, &example);
    buffer_free(&block);
}

static void test_the_message_comes_back_as_it_was(void **state)
{
    (void)state;
    struct buffer before = {0}, block = {0};
    set(&before, "type", "order");
    set(&before, "zone", "eu");
    set(&before, "deadline", "tomorrow");
    assert_int_equal(buffer_append(&block, before.data, before.size), MP_OK);
    assert_int_equal(letter_write(&block, &example), MP_OK);
    letter_strip(&block);
    assert_int_equal(block.size, before.size);
    assert_memory_equal(block.data, before.data, before.size);
    buffer_free(&block);
    buffer_free(&before);
}

static void test_a_second_death_replaces_the_first(void **state)
{
    (void)state;
    struct buffer block = {0};
    struct letter letter;
    struct letter second = {TEXT(reason, "rejected"), .attempts = 1, .code = -1};
    assert_int_equal(letter_write(&block, &example), MP_OK);
    assert_int_equal(letter_write(&block, &second), MP_OK);
    assert_true(letter_read(block.data, block.size, &letter));
    assert_same(&letter, &second);
    buffer_free(&block);
}

static void test_a_message_with_all_its_attributes_still_becomes_a_letter(void **state)
{
    (void)state;
    struct buffer block = {0};
    struct letter letter;
    char name[16];
    for (unsigned i = 0; i < ATTRIBUTE_COUNT_MAX; i++) {
        snprintf(name, sizeof(name), "x%u", i);
        set(&block, name, "y");
    }
    assert_int_equal(attributes_set_origin(&block, 1, 2), MP_OK);
    assert_int_equal(letter_write(&block, &example), MP_OK);
    assert_int_equal(attributes_check(block.data, block.size, NULL), MP_OK);
    assert_true(letter_read(block.data, block.size, &letter));
    assert_same(&letter, &example);
    /* That is no way round the limit for others. */
    assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, "x64", 3, "y", 1, NULL), MP_ERR_TOO_LARGE);
    buffer_free(&block);
}

static void test_a_full_block_cuts_the_error_first(void **state)
{
    (void)state;
    static char value[ATTRIBUTE_VALUE_MAX];
    static char note[LETTER_NOTE_MAX];
    memset(value, 'v', sizeof(value));
    memset(note, 'n', sizeof(note));
    struct letter whole = example;
    struct letter letter;
    whole.error = note;
    whole.error_size = sizeof(note);
    char name[16];
    for (size_t last = 0; last < 8000; last += 160) {
        struct buffer block = {0};
        for (unsigned i = 0; i < 7; i++) {
            snprintf(name, sizeof(name), "x%u", i);
            assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, name, 2, value, sizeof(value), NULL), MP_OK);
        }
        assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, "x7", 2, value, last, NULL), MP_OK);
        assert_int_equal(letter_write(&block, &whole), MP_OK);
        assert_int_equal(attributes_set_origin(&block, 1, 2), MP_OK);
        assert_int_equal(attributes_check(block.data, block.size, NULL), MP_OK);
        bool read = letter_read(block.data, block.size, &letter);
        size_t room = ATTRIBUTE_BLOCK_MAX - 7 * (sizeof(value) + 6) - last;
        if (room > 400) {
            assert_true(read);
            assert_int_equal(letter.code, 75);
        }
        if (room > 5000)
            assert_int_equal(letter.error_size, sizeof(note));
        buffer_free(&block);
    }
}

/* ---- notes ---------------------------------------------------------------------------------------------------- */

static void assert_note(const void *bytes, size_t size, const char *expected)
{
    struct buffer note = {0}, back = {0}, block = {0};
    assert_int_equal(letter_note(bytes, size, &note), MP_OK);
    assert_int_equal(note.size, strlen(expected));
    assert_memory_equal(note.data ? (char *)note.data : "", expected, note.size);
    assert_int_equal(letter_note_read((const char *)note.data, note.size, &back), MP_OK);
    assert_true(back.size <= size);
    assert_memory_equal(back.data ? (char *)back.data : "", bytes, back.size);
    if (note.size)
        assert_int_equal(
            attributes_set(&block, ATTRIBUTE_STRING, "deaderror", 9, (const char *)note.data, note.size, NULL), MP_OK);
    buffer_free(&note);
    buffer_free(&back);
    buffer_free(&block);
}

static void test_notes_are_text_that_an_attribute_can_hold(void **state)
{
    (void)state;
    assert_note("", 0, "");
    assert_note("\n\n", 2, "");
    assert_note("plain\n", 6, "plain");
    assert_note("two\nlines\tand\r\n", 15, "two\\nlines\\tand");
    assert_note("C:\\new", 6, "C:\\\\new");
    assert_note("\x1b[31mred", 8, "\\x1B[31mred");
    assert_note("a\0b", 3, "a\\x00b");
    assert_note("gr\xc3\xb6\xc3", 5, "gr\xc3\xb6\\xC3");
    assert_note("\xc2\x85", 2, "\\xC2\\x85");
}

static void test_notes_keep_the_tail(void **state)
{
    (void)state;
    static uint8_t bytes[3 * LETTER_NOTE_MAX];
    struct buffer note = {0};
    memset(bytes, 'a', sizeof(bytes));
    memcpy(bytes + sizeof(bytes) - 4, "last", 4);
    assert_int_equal(letter_note(bytes, sizeof(bytes), &note), MP_OK);
    assert_int_equal(note.size, LETTER_NOTE_MAX);
    assert_memory_equal(note.data + note.size - 4, "last", 4);
    buffer_free(&note);
    /* Escapes take four bytes for one, and are never cut. */
    memset(bytes, 1, sizeof(bytes));
    bytes[sizeof(bytes) - 1] = 'z';
    assert_int_equal(letter_note(bytes, sizeof(bytes), &note), MP_OK);
    assert_in_range(note.size, LETTER_NOTE_MAX - 3, LETTER_NOTE_MAX);
    assert_memory_equal(note.data, "\\x01", 4);
    buffer_free(&note);
    for (size_t i = 0; i + 1 < sizeof(bytes); i += 2)
        memcpy(bytes + i, "\xc3\xb6", 2);
    assert_int_equal(letter_note(bytes, sizeof(bytes) - 1, &note), MP_OK);
    assert_memory_equal(note.data, "\xc3\xb6", 2);
    assert_memory_equal(note.data + note.size - 4, "\\xC3", 4);
    buffer_free(&note);
}

static void test_what_is_no_escape_stands_for_itself(void **state)
{
    (void)state;
    static const char *const odd[] = {"\\", "\\q", "\\x", "\\x4", "\\xzz", "a\\"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        struct buffer back = {0};
        assert_int_equal(letter_note_read(odd[i], strlen(odd[i]), &back), MP_OK);
        assert_int_equal(back.size, strlen(odd[i]));
        assert_memory_equal(back.data, odd[i], back.size);
        buffer_free(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read_back),
        cmocka_unit_test(test_the_message_comes_back_as_it_was),
        cmocka_unit_test(test_a_second_death_replaces_the_first),
        cmocka_unit_test(test_a_message_with_all_its_attributes_still_becomes_a_letter),
        cmocka_unit_test(test_a_full_block_cuts_the_error_first),
        cmocka_unit_test(test_notes_are_text_that_an_attribute_can_hold),
        cmocka_unit_test(test_notes_keep_the_tail),
        cmocka_unit_test(test_what_is_no_escape_stands_for_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
