/* message/attributes.h */
#include "message/attributes.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct fault fault;

static enum mp_error set_typed(struct buffer *block, enum attribute_code code, const char *name, const char *value)
{
    return attributes_set(block, code, name, strlen(name), value, strlen(value), &fault);
}

static enum mp_error set(struct buffer *block, const char *name, const char *value)
{
    return set_typed(block, ATTRIBUTE_STRING, name, value);
}

static void assert_set(struct buffer *block, const char *name, const char *value)
{
    assert_int_equal(set(block, name, value), MP_OK);
    assert_int_equal(attributes_check(block->data, block->size, NULL), MP_OK);
}

static void assert_value(const struct buffer *block, const char *name, const char *value)
{
    struct attribute attribute;
    bool found = attribute_find(block->data, block->size, name, strlen(name), &attribute);

    assert_int_equal(found, value != NULL);
    if (value != NULL) {
        assert_int_equal(attribute.value_size, strlen(value));
        assert_memory_equal(attribute.value, value, attribute.value_size);
        assert_int_equal(attribute.name_size, strlen(name));
        assert_memory_equal(attribute.name, name, attribute.name_size);
    }
}

/* Checks a block from a stranger, in a piece of memory of just its size, so that AddressSanitizer sees an overread. */
static enum mp_error check(const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(copy, bytes, size);
    enum mp_error error = attributes_check(copy, size, &fault);
    struct attribute attribute;
    for (size_t at = 0; attribute_next(copy, size, &at, &attribute);)
        assert_true((const uint8_t *)attribute.value + attribute.value_size <= copy + size);
    free(copy);
    return error;
}

static void known_names_have_codes(void **state)
{
    (void)state;
    assert_string_equal(attribute_name(ATTRIBUTE_PARTITIONKEY), "partitionkey");
    assert_null(attribute_name(ATTRIBUTE_ORIGIN));
    assert_null(attribute_name(ATTRIBUTE_STRING));
    assert_null(attribute_name((enum attribute_code)0));
    assert_null(attribute_name((enum attribute_code)15));
    for (int code = ATTRIBUTE_ID; code <= ATTRIBUTE_EXPIRYTIME; code++) {
        const char *name = attribute_name((enum attribute_code)code);
        assert_int_equal(attribute_code_of(name, strlen(name)), code);
        assert_int_equal(attribute_code_of(name, strlen(name) - 1), ATTRIBUTE_STRING);
    }
    assert_int_equal(attribute_code_of("ID", 2), ATTRIBUTE_STRING);
    assert_int_equal(attribute_code_of("", 0), ATTRIBUTE_STRING);
}

static void what_is_set_is_found(void **state)
{
    struct buffer block = {0};

    (void)state;
    assert_int_equal(check("", 0), MP_OK);
    assert_value(&block, "id", NULL);
    assert_set(&block, "id", "42");
    assert_set(&block, "region", "eu");
    assert_set(&block, "empty", "");
    assert_set(&block, "subject", "caf\xc3\xa9 \xf0\x9f\x98\x80");
    assert_value(&block, "id", "42");
    assert_value(&block, "region", "eu");
    assert_value(&block, "empty", "");
    assert_value(&block, "subject", "caf\xc3\xa9 \xf0\x9f\x98\x80");
    assert_value(&block, "ID", NULL);
    assert_value(&block, "regio", NULL);
    buffer_free(&block);
}

static void setting_again_replaces(void **state)
{
    struct buffer block = {0};

    (void)state;
    assert_set(&block, "id", "42");
    assert_set(&block, "x", "short");
    assert_set(&block, "y", "last");
    assert_set(&block, "x", "a good deal longer than before");
    assert_set(&block, "id", "7");
    assert_int_equal(set_typed(&block, ATTRIBUTE_INTEGER, "x", "12"), MP_OK);
    assert_int_equal(check(block.data, block.size), MP_OK);
    assert_value(&block, "id", "7");
    assert_value(&block, "x", "12");
    assert_value(&block, "y", "last");
    struct attribute attribute;
    assert_true(attribute_find(block.data, block.size, "x", 1, &attribute));
    assert_int_equal(attribute.code, ATTRIBUTE_INTEGER);
    assert_int_equal(block.size, (3 + 1) + (3 + 2 + 2) + (3 + 2 + 4));
    buffer_free(&block);
}

/* Whatever the order of setting: the same bytes. */
static void blocks_are_canonical(void **state)
{
    static const struct {
        enum attribute_code code;
        const char *name, *value;
    } entries[] = {
        {ATTRIBUTE_STRING, "id", "1"},      {ATTRIBUTE_STRING, "type", "order.new"},
        {ATTRIBUTE_BOOLEAN, "aa", "true"},  {ATTRIBUTE_INTEGER, "ab", "5"},
        {ATTRIBUTE_STRING, "a", "x"},       {ATTRIBUTE_STRING, "expirytime", "2026-11-20T17:00:00Z"},
        {ATTRIBUTE_STRING, "Z", "capital"},
    };
    enum { COUNT = sizeof entries / sizeof *entries };
    struct buffer first = {0};

    (void)state;
    for (unsigned turn = 0; turn < COUNT * COUNT; turn++) {
        struct buffer block = {0};
        for (unsigned i = 0; i < COUNT; i++) {
            unsigned which = (turn % COUNT + i * (1 + turn / COUNT % (COUNT - 1))) % COUNT;
            assert_int_equal(set_typed(&block, entries[which].code, entries[which].name, entries[which].value), MP_OK);
            if (turn % 3 == i % 3)
                assert_int_equal(attributes_set_origin(&block, 3, 4), MP_OK);
        }
        assert_int_equal(check(block.data, block.size), MP_OK);
        if (turn == 0) {
            first = block;
            continue;
        }
        assert_int_equal(block.size, first.size);
        assert_memory_equal(block.data, first.data, first.size);
        buffer_free(&block);
    }
    static const char *const order[] = {"", "id", "type", "expirytime", "Z", "a", "aa", "ab"};
    struct attribute attribute;
    size_t at = 0, number = 0;
    while (attribute_next(first.data, first.size, &at, &attribute)) {
        assert_int_equal(attribute.name_size, strlen(order[number]));
        assert_memory_equal(attribute.name, order[number], attribute.name_size);
        number++;
    }
    assert_int_equal(number, COUNT + 1);
    buffer_free(&first);
}

static void removing_takes_one_away(void **state)
{
    struct buffer block = {0};

    (void)state;
    attributes_remove(&block, "id", 2);
    assert_set(&block, "id", "42");
    assert_set(&block, "x", "1");
    assert_set(&block, "y", "2");
    attributes_remove(&block, "x", 1);
    attributes_remove(&block, "nothing", 7);
    attributes_remove(&block, "I", 1);
    assert_int_equal(check(block.data, block.size), MP_OK);
    assert_value(&block, "x", NULL);
    assert_value(&block, "y", "2");
    attributes_remove(&block, "id", 2);
    attributes_remove(&block, "y", 1);
    assert_int_equal(block.size, 0);
    buffer_free(&block);
}

static void the_origin_comes_first_and_has_no_name(void **state)
{
    struct buffer block = {0};
    uint64_t producer = 0, sequence = 0;

    (void)state;
    assert_false(attributes_origin(block.data, block.size, &producer, &sequence));
    assert_int_equal(attributes_set_origin(&block, 0, 1), MP_ERR_INVALID);
    assert_set(&block, "id", "42");
    assert_false(attributes_origin(block.data, block.size, &producer, &sequence));
    assert_int_equal(attributes_set_origin(&block, 1, 2), MP_OK);
    assert_int_equal(attributes_set_origin(&block, UINT64_MAX, 0x0123456789abcdef), MP_OK);
    assert_true(attributes_origin(block.data, block.size, &producer, &sequence));
    assert_true(producer == UINT64_MAX && sequence == 0x0123456789abcdef);
    assert_int_equal(block.size, ATTRIBUTE_ORIGIN_SIZE + 3 + 2);
    assert_int_equal(check(block.data, block.size), MP_OK);
    assert_value(&block, "id", "42");
    assert_value(&block, "origin", NULL);
    assert_value(&block, "", NULL);
    buffer_free(&block);
}

static void assert_refused(enum attribute_code code, const char *name, const char *value, enum mp_error error,
                           const char *text)
{
    struct buffer block = {0};

    assert_set(&block, "id", "42");
    struct buffer before = {0};
    assert_int_equal(buffer_append(&before, block.data, block.size), MP_OK);
    assert_int_equal(set_typed(&block, code, name, value), error);
    assert_int_equal(fault.code, error);
    assert_string_equal(fault.text, text);
    assert_int_equal(block.size, before.size);
    assert_memory_equal(block.data, before.data, before.size);
    buffer_free(&before);
    buffer_free(&block);
}

static void wrong_names_are_refused_in_words(void **state)
{
    char name[ATTRIBUTE_NAME_MAX + 2];
    struct buffer block = {0};

    (void)state;
    assert_refused(ATTRIBUTE_STRING, "", "x", MP_ERR_INVALID, "an attribute without a name");
    assert_refused(ATTRIBUTE_STRING, "a b", "x", MP_ERR_INVALID,
                   "attribute 'a b': character 2 is not allowed in a name: use letters, digits, "
                   "'_' and '-'");
    assert_refused(ATTRIBUTE_STRING, "\xc3\xa9", "x", MP_ERR_INVALID,
                   "attribute '\xc3\xa9': character 1 is not allowed in a name: use letters, "
                   "digits, '_' and '-'");
    assert_refused(ATTRIBUTE_STRING, "specversion", "1.0", MP_ERR_INVALID,
                   "attribute 'specversion': CloudEvents keeps this name for itself: take another");
    assert_int_equal(set(&block, "data", "x"), MP_ERR_INVALID);
    assert_int_equal(set(&block, "data_base64", "x"), MP_ERR_INVALID);
    assert_int_equal(set_typed(&block, ATTRIBUTE_ID, "x", "1"), MP_ERR_INVALID);
    memset(name, 'n', sizeof name);
    name[ATTRIBUTE_NAME_MAX] = '\0';
    assert_set(&block, name, "x");
    name[ATTRIBUTE_NAME_MAX] = 'n';
    name[ATTRIBUTE_NAME_MAX + 1] = '\0';
    assert_int_equal(set(&block, name, "x"), MP_ERR_TOO_LARGE);
    assert_non_null(strstr(fault.text, "a name of 65 characters: the limit is 64"));
    for (int byte = 1; byte < 256; byte++) {
        char one[3] = {'a', (char)byte, '\0'};
        bool allowed = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", byte) != NULL;
        attributes_remove(&block, one, 2);
        assert_int_equal(set(&block, one, "x"), allowed ? MP_OK : MP_ERR_INVALID);
        attributes_remove(&block, one, 2);
    }
    buffer_free(&block);
}

static void wrong_values_are_refused_in_words(void **state)
{
    static char large[ATTRIBUTE_VALUE_MAX + 2];
    struct buffer block = {0};

    (void)state;
    assert_refused(ATTRIBUTE_STRING, "subject", "", MP_ERR_INVALID,
                   "attribute 'subject' is empty: give it a value or leave it out");
    assert_refused(ATTRIBUTE_STRING, "x", "ab\tc", MP_ERR_INVALID,
                   "attribute 'x': byte 3 of the value is a control character: attributes hold "
                   "none");
    assert_refused(ATTRIBUTE_STRING, "x", "abcdefgh\xc2\x85", MP_ERR_INVALID,
                   "attribute 'x': byte 9 of the value is a control character: attributes hold "
                   "none");
    assert_refused(ATTRIBUTE_STRING, "x", "a\xed\xa0\x80", MP_ERR_INVALID,
                   "attribute 'x': byte 2 of the value is not valid UTF-8: attributes hold text "
                   "only");
    assert_refused(ATTRIBUTE_STRING, "time", "yesterday", MP_ERR_INVALID,
                   "attribute 'time' is not a time: write it as 2026-11-20T17:00:00Z");
    assert_refused(ATTRIBUTE_STRING, "expirytime", "@1795194000", MP_ERR_INVALID,
                   "attribute 'expirytime' is not a time: write it as 2026-11-20T17:00:00Z");
    assert_refused(ATTRIBUTE_BOOLEAN, "x", "True", MP_ERR_INVALID, "attribute 'x' is neither true nor false");
    assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, "x", 1, "a\0b", 3, &fault), MP_ERR_INVALID);
    memset(large, 'v', ATTRIBUTE_VALUE_MAX + 1);
    assert_int_equal(set(&block, "x", large), MP_ERR_TOO_LARGE);
    assert_string_equal(fault.text, "attribute 'x' has a value of 8193 bytes: the limit is 8192");
    large[ATTRIBUTE_VALUE_MAX] = '\0';
    assert_set(&block, "x", large);
    buffer_free(&block);
}

static void integers_are_canonical_and_have_32_bits(void **state)
{
    static const char *const good[] = {"0", "1", "-1", "2147483647", "-2147483648", "1000000000"};
    static const char *const wrong[] = {
        "",    "-",   "-0", "00",         "01",          "+1",         " 1",
        "1.0", "1e3", "x",  "2147483648", "-2147483649", "9999999999", "99999999999999999999"};
    struct buffer block = {0};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(set_typed(&block, ATTRIBUTE_INTEGER, "n", good[i]), MP_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(set_typed(&block, ATTRIBUTE_INTEGER, "n", wrong[i]), MP_ERR_INVALID);
        assert_string_equal(fault.text, "attribute 'n' is not an integer from -2147483648 to 2147483647");
    }
    buffer_free(&block);
}

static void a_message_has_64_attributes_at_most(void **state)
{
    struct buffer block = {0};
    char name[16];

    (void)state;
    for (int i = 0; i < ATTRIBUTE_COUNT_MAX; i++) {
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(set(&block, name, "v"), MP_OK);
    }
    assert_int_equal(set(&block, "more", "v"), MP_ERR_TOO_LARGE);
    assert_string_equal(fault.text, "a message with more than 64 attributes: that is the limit");
    assert_int_equal(set(&block, "n7", "replaced"), MP_OK);
    assert_int_equal(attributes_set_origin(&block, 1, 1), MP_OK);
    assert_int_equal(check(block.data, block.size), MP_OK);
    assert_int_equal(set(&block, "more", "v"), MP_ERR_TOO_LARGE);
    /* A stranger's block has one more. */
    static const uint8_t more[] = {ATTRIBUTE_STRING, 3, 0, 1, 'z', 'v'};
    assert_int_equal(buffer_append(&block, more, sizeof more), MP_OK);
    assert_int_equal(check(block.data, block.size), MP_ERR_TOO_LARGE);
    buffer_free(&block);
}

/* A block that is full still takes an origin. */
static void a_block_has_65516_bytes_and_an_origin_at_most(void **state)
{
    static char value[ATTRIBUTE_VALUE_MAX + 1];
    struct buffer block = {0};
    char name[] = "a";

    (void)state;
    memset(value, 'v', ATTRIBUTE_VALUE_MAX);
    for (; name[0] < 'h'; name[0]++)
        assert_set(&block, name, value);
    value[ATTRIBUTE_BLOCK_MAX - ATTRIBUTE_ORIGIN_SIZE - block.size - 5] = '\0';
    assert_set(&block, "h", value);
    assert_int_equal(block.size, ATTRIBUTE_BLOCK_MAX - ATTRIBUTE_ORIGIN_SIZE);
    assert_int_equal(set(&block, "i", ""), MP_ERR_TOO_LARGE);
    assert_non_null(strstr(fault.text, "the limit is 65516 for all of them"));
    assert_int_equal(attributes_set_origin(&block, 1, 1), MP_OK);
    assert_int_equal(block.size, ATTRIBUTE_BLOCK_MAX);
    assert_int_equal(check(block.data, block.size), MP_OK);
    assert_int_equal(set(&block, "i", ""), MP_ERR_TOO_LARGE);
    buffer_free(&block);
}

static void a_stranger_cannot_send_what_is_not_canonical(void **state)
{
#define CHECK(error, ...)                                                                                              \
    do {                                                                                                               \
        static const uint8_t bytes[] = {__VA_ARGS__};                                                                  \
        assert_int_equal(check(bytes, sizeof bytes), error);                                                           \
    } while (0)

    (void)state;
    CHECK(MP_OK, 2, 1, 0, 'x', 3, 1, 0, 'y');
    CHECK(MP_OK, 64, 3, 0, 1, 'a', 'v', 66, 6, 0, 1, 'b', 't', 'r', 'u', 'e', 65, 3, 0, 1, 'c', '1');
    CHECK(MP_ERR_FORMAT, 3, 1, 0, 'x', 2, 1, 0, 'y');                   /* order */
    CHECK(MP_ERR_FORMAT, 2, 1, 0, 'x', 2, 1, 0, 'y');                   /* twice */
    CHECK(MP_ERR_FORMAT, 64, 2, 0, 1, 'b', 64, 2, 0, 1, 'a');           /* order of names */
    CHECK(MP_ERR_FORMAT, 64, 2, 0, 2, 'b', 'a', 64, 2, 0, 1, 'b');      /* longer first */
    CHECK(MP_ERR_FORMAT, 64, 2, 0, 1, 'a', 64, 2, 0, 1, 'a');           /* a name twice */
    CHECK(MP_ERR_FORMAT, 64, 3, 0, 1, 'a', '1', 65, 3, 0, 1, 'a', '1'); /* with two types */
    CHECK(MP_ERR_FORMAT, 64, 2, 0, 1, 'a', 2, 1, 0, 'x');               /* a known one last */
    CHECK(MP_ERR_FORMAT, 64, 4, 0, 2, 'i', 'd', 'x');                   /* a known name */
    CHECK(MP_ERR_FORMAT, 64, 5, 0, 4, 'd', 'a', 't', 'a');              /* a reserved one */
    CHECK(MP_ERR_FORMAT, 64, 1, 0, 0);                                  /* no name */
    CHECK(MP_ERR_FORMAT, 64, 0, 0);                                     /* not even its length */
    CHECK(MP_ERR_FORMAT, 64, 2, 0, 2, 'a');                             /* name past the entry */
    CHECK(MP_ERR_FORMAT, 64, 2, 0, 1, ' ');                             /* character */
    CHECK(MP_ERR_FORMAT, 65, 3, 0, 1, 'a', 'x');                        /* no integer */
    CHECK(MP_ERR_FORMAT, 66, 3, 0, 1, 'a', '1');                        /* no boolean */
    CHECK(MP_ERR_FORMAT, 0, 1, 0, 'x');                                 /* unknown codes */
    CHECK(MP_ERR_FORMAT, 15, 1, 0, 'x');
    CHECK(MP_ERR_FORMAT, 63, 1, 0, 'x');
    CHECK(MP_ERR_FORMAT, 67, 2, 0, 1, 'x');
    CHECK(MP_ERR_FORMAT, 255, 1, 0, 'x');
    CHECK(MP_ERR_FORMAT, 2, 0, 0);       /* empty */
    CHECK(MP_ERR_FORMAT, 2, 1, 0, '\n'); /* control character */
    CHECK(MP_ERR_FORMAT, 2, 1, 0, 0xff); /* not UTF-8 */
    CHECK(MP_ERR_FORMAT, 6, 1, 0, 'x');  /* no time */
    CHECK(MP_ERR_FORMAT, 2, 2, 0, 'x');  /* cut short */
    CHECK(MP_ERR_FORMAT, 2, 1);
    CHECK(MP_ERR_FORMAT, 2);
    CHECK(MP_ERR_FORMAT, 2, 1, 0, 'x', 3);
    CHECK(MP_ERR_FORMAT, 1, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);    /* producer 0 */
    CHECK(MP_ERR_FORMAT, 1, 15, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0);       /* short */
    CHECK(MP_ERR_FORMAT, 1, 17, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0); /* long */
    CHECK(MP_OK, 1, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
#undef CHECK
}

/* Every cut and every flipped bit is judged without a step outside, and what passes can be walked to its end. */
static void damaged_blocks_are_judged_in_bounds(void **state)
{
    struct buffer block = {0};

    (void)state;
    assert_set(&block, "id", "42");
    assert_set(&block, "time", "2026-11-20T17:00:00Z");
    assert_set(&block, "region", "caf\xc3\xa9");
    assert_int_equal(set_typed(&block, ATTRIBUTE_INTEGER, "n", "-17"), MP_OK);
    assert_int_equal(attributes_set_origin(&block, 7, 8), MP_OK);
    unsigned passed = 0;
    for (size_t size = 0; size < block.size; size++)
        passed += check(block.data, size) == MP_OK;
    assert_int_equal(passed, 5); /* between the entries */
    for (size_t bit = 0; bit < block.size * 8; bit++) {
        block.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        check(block.data, block.size);
        block.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(check(block.data, block.size), MP_OK);
    buffer_free(&block);
}

static void no_memory_leaves_the_block(void **state)
{
    struct buffer block = {0};
    static char value[500];

    (void)state;
    memset(value, 'v', sizeof value - 1);
    assert_set(&block, "id", "42");
    memory_fail(1);
    assert_int_equal(set(&block, "x", value), MP_ERR_MEMORY);
    memory_fail(0);
    assert_string_equal(fault.text, "no memory");
    assert_int_equal(block.size, 5);
    assert_value(&block, "id", "42");
    buffer_free(&block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_names_have_codes),
        cmocka_unit_test(what_is_set_is_found),
        cmocka_unit_test(setting_again_replaces),
        cmocka_unit_test(blocks_are_canonical),
        cmocka_unit_test(removing_takes_one_away),
        cmocka_unit_test(the_origin_comes_first_and_has_no_name),
        cmocka_unit_test(wrong_names_are_refused_in_words),
        cmocka_unit_test(wrong_values_are_refused_in_words),
        cmocka_unit_test(integers_are_canonical_and_have_32_bits),
        cmocka_unit_test(a_message_has_64_attributes_at_most),
        cmocka_unit_test(a_block_has_65516_bytes_and_an_origin_at_most),
        cmocka_unit_test(a_stranger_cannot_send_what_is_not_canonical),
        cmocka_unit_test(damaged_blocks_are_judged_in_bounds),
        cmocka_unit_test(no_memory_leaves_the_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
