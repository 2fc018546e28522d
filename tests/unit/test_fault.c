/* base/fault.h, base/utf8.h and the words of errors in msgpipe.h */
#include "base/fault.h"
#include "base/utf8.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void every_error_has_words_of_its_own(void **state)
{
    (void)state;
    for (int one = MP_OK; one <= MP_ERR_OVERFLOW; one++) {
        assert_string_not_equal(mp_error_text((enum mp_error)one), "an unknown error");
        for (int other = MP_OK; other < one; other++)
            assert_string_not_equal(mp_error_text((enum mp_error)one), mp_error_text((enum mp_error)other));
    }
    assert_string_equal(mp_error_text((enum mp_error)(MP_ERR_OVERFLOW + 1)), "an unknown error");
    assert_true(mp_version()[0] != '\0');
}

static void a_fault_records_code_and_text(void **state)
{
    struct fault fault = {0};

    (void)state;
    assert_int_equal(fault_set(&fault, MP_ERR_FULL, "topic '%s' is full", "a"), MP_ERR_FULL);
    assert_int_equal(fault.code, MP_ERR_FULL);
    assert_string_equal(fault_text(&fault), "topic 'a' is full");
    assert_int_equal(fault_set(NULL, MP_ERR_IO, "unheard"), MP_ERR_IO);
    assert_int_equal(fault_memory(&fault), MP_ERR_MEMORY);
    assert_string_equal(fault_text(&fault), "no memory");
    fault = (struct fault){.code = MP_ERR_STALE};
    assert_string_equal(fault_text(&fault), mp_error_text(MP_ERR_STALE));
}

static void a_text_can_be_put_around_itself(void **state)
{
    struct fault fault = {0};

    (void)state;
    fault_set(&fault, MP_ERR_IO, "it broke");
    fault_set(&fault, fault.code, "line 3: %s", fault.text);
    assert_string_equal(fault.text, "line 3: it broke");
}

static void a_system_error_ends_in_words(void **state)
{
    struct fault fault = {0};

    (void)state;
    assert_int_equal(fault_system(&fault, MP_ERR_IO, ENOENT, "open '%s'", "x"), MP_ERR_IO);
    assert_string_equal(fault.text, "open 'x': No such file or directory");
    assert_int_equal(fault_system(NULL, MP_ERR_IO, ENOENT, "unheard"), MP_ERR_IO);
}

static void a_long_text_is_cut_between_characters(void **state)
{
    struct fault fault = {0};
    char text[2 * FAULT_TEXT];

    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t at = shift; at + 4 < sizeof text; at += 4)
            memcpy(text + at, "\xf0\x9f\x98\x80", 5);
        fault_set(&fault, MP_ERR_IO, "%s", text);
        size_t size = strlen(fault.text);
        assert_true(size > FAULT_TEXT - 5 && size < FAULT_TEXT);
        assert_int_equal(utf8_plain((const uint8_t *)fault.text, size), size);
        fault_system(&fault, MP_ERR_IO, ENOENT, "%s", text);
        size = strlen(fault.text);
        assert_int_equal(utf8_plain((const uint8_t *)fault.text, size), size);
    }
    memset(text, 'x', FAULT_TEXT);
    for (size_t size = FAULT_TEXT - 40; size < FAULT_TEXT; size++) {
        text[size] = '\0';
        fault_system(&fault, MP_ERR_IO, ENOENT, "%s", text);
        assert_true(strlen(fault.text) < FAULT_TEXT);
        assert_memory_equal(fault.text, text, size);
        text[size] = 'x';
    }
}

static void quoted_bytes_can_be_shown(void **state)
{
    char text[FAULT_QUOTE];
    static const char long_one[300] = {1};

    (void)state;
    assert_string_equal(fault_quote(text, "a b\xc3\xa9", 5), "a b\xc3\xa9");
    assert_string_equal(fault_quote(text, "\x1b[2J\n\x7f\xff", 7), "\\x1b[2J\\x0a\\x7f\\xff");
    assert_string_equal(fault_quote(text, "\xc2\x9b", 2), "\\xc2\\x9b");
    assert_string_equal(fault_quote(text, NULL, 0), "");
    fault_quote(text, long_one, sizeof long_one);
    assert_true(strlen(text) < FAULT_QUOTE);
    assert_string_equal(text + strlen(text) - 3, "...");
}

/* Whether the whole of SIZE bytes is one character. */
static bool is_one(const char *bytes, size_t size)
{
    return utf8_next((const uint8_t *)bytes, size, NULL) == size && size > 0;
}

static void utf8_is_strict(void **state)
{
    uint32_t code;

    (void)state;
    assert_int_equal(utf8_next((const uint8_t *)"\xe2\x82\xac", 3, &code), 3);
    assert_int_equal(code, 0x20ac);
    assert_true(is_one("a", 1));
    assert_true(is_one("\xc2\x80", 2));
    assert_true(is_one("\xdf\xbf", 2));
    assert_true(is_one("\xe0\xa0\x80", 3));
    assert_true(is_one("\xed\x9f\xbf", 3));
    assert_true(is_one("\xee\x80\x80", 3));
    assert_true(is_one("\xf0\x90\x80\x80", 4));
    assert_true(is_one("\xf4\x8f\xbf\xbf", 4));
    static const char *const wrong[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2\x20",
        "\xe0\x9f\xbf",
        "\xe0\xa0",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xe1\x80\x41",
        "\xe1\x41\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf0\x90\x80",
        "\xfe",
        "\xff",
        "\xf1\x80\x80\x41",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(utf8_next((const uint8_t *)wrong[i], strlen(wrong[i]), NULL), 0);
    assert_int_equal(utf8_next((const uint8_t *)"a", 0, NULL), 0);
}

/* The fast path looks at eight bytes at once: each byte value at each place must be judged as if it stood alone. */
static void plain_text_ends_at_the_first_wrong_byte(void **state)
{
    uint8_t text[24];

    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool plain = byte >= 0x20 && byte < 0x7f;
        for (size_t at = 0; at < sizeof text; at++) {
            for (size_t i = 0; i < sizeof text; i++)
                text[i] = i % 2 == 0 ? '~' : ' ';
            text[at] = (uint8_t)byte;
            assert_int_equal(utf8_plain(text, sizeof text), plain ? sizeof text : at);
        }
    }
    assert_int_equal(utf8_plain((const uint8_t *)"abcdefg\xc3\xa9\xc2\x85", 11), 9);
    assert_int_equal(utf8_plain(text, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_words_of_its_own),
        cmocka_unit_test(a_fault_records_code_and_text),
        cmocka_unit_test(a_text_can_be_put_around_itself),
        cmocka_unit_test(a_system_error_ends_in_words),
        cmocka_unit_test(a_long_text_is_cut_between_characters),
        cmocka_unit_test(quoted_bytes_can_be_shown),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(plain_text_ends_at_the_first_wrong_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
