/* JSON Pointer (RFC 6901): keys and ids out of JSON bodies. */
#include "message/formats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static enum mp_error find(const char *text, const char *words, struct buffer *out, struct fault *fault)
{
    struct format_pointer *pointer;
    enum mp_error error = format_pointer_parse(words, strlen(words), &pointer, fault);
    if (error == MP_OK)
        error = format_pointer_read(pointer, (const uint8_t *)text, strlen(text), out, fault);
    format_pointer_free(pointer);
    return error;
}

static void expect_found(const char *text, const char *pointer, const char *value)
{
    struct buffer out = {0};
    struct fault fault = {.text = ""};
    assert_int_equal(buffer_append(&out, ">", 1), MP_OK);
    if (find(text, pointer, &out, &fault) != MP_OK)
        fail_msg("%s in %s: %s", pointer, text, fault.text);
    assert_int_equal(out.size, strlen(value) + 1);
    assert_memory_equal(out.data + 1, value, strlen(value));
    buffer_free(&out);
}

static void expect_error(const char *text, const char *pointer, enum mp_error error, const char *words)
{
    struct buffer out = {0};
    struct fault fault = {.text = ""};
    assert_int_equal(find(text, pointer, &out, &fault), error);
    assert_string_equal(fault.text, words);
    assert_int_equal(out.size, 0);
    buffer_free(&out);
}

static void a_pointer_finds_values(void **state)
{
    (void)state;
    static const char text[] = " { \"a\" : { \"b\" : \"k\" , \"n\" : [ 10 , 2.50e1 , [ true , \"\\u00e9\\n\" ] ] } , "
                               "\"f\" : false } ";
    expect_found(text, "/a/b", "k");
    expect_found(text, "/a/n/0", "10");
    expect_found(text, "/a/n/1", "2.50e1");
    expect_found(text, "/a/n/2/0", "true");
    expect_found(text, "/a/n/2/1", "é\n");
    expect_found(text, "/f", "false");
    expect_found("\"whole\"", "", "whole");
    expect_found("-0.0", "", "-0.0");
    expect_found("{\"a\":\"\"}", "/a", "");
}

static void the_examples_of_rfc_6901_hold(void **state)
{
    (void)state;
    static const char text[] = "{\"foo\": [\"bar\", \"baz\"],\"\": 0,\"a/b\": 1,\"c%d\": 2,\"e^f\": 3,\"g|h\": 4,"
                               "\"i\\\\j\": 5,\"k\\\"l\": 6,\" \": 7,\"m~n\": 8}";
    expect_found(text, "/foo/0", "bar");
    expect_found(text, "/", "0");
    expect_found(text, "/a~1b", "1");
    expect_found(text, "/c%d", "2");
    expect_found(text, "/e^f", "3");
    expect_found(text, "/g|h", "4");
    expect_found(text, "/i\\j", "5");
    expect_found(text, "/k\"l", "6");
    expect_found(text, "/ ", "7");
    expect_found(text, "/m~0n", "8");
    expect_found("{\"~1\":1,\"/\":2}", "/~01", "1");
}

static void names_are_compared_decoded(void **state)
{
    (void)state;
    expect_found("{\"\\u0061\":{\"\\u00e9\":1}}", "/a/é", "1");
    expect_found("{\"\\ud800\":1,\"b\":2}", "/b", "2");
}

static void of_a_repeated_name_the_last_counts(void **state)
{
    (void)state;
    expect_found("{\"a\":1,\"b\":2,\"a\":3}", "/a", "3");
}

static void what_is_not_there_is_told(void **state)
{
    (void)state;
    expect_error("{\"a\":1}", "/b", MP_ERR_NOT_FOUND, "JSON pointer '/b': no such member");
    expect_error("{\"a\":1}", "/a/b", MP_ERR_NOT_FOUND, "JSON pointer '/a/b': nothing is below a plain value");
    expect_error("{\"a\":null}", "/a", MP_ERR_NOT_FOUND, "JSON pointer '/a': null is there");
    expect_error("{}", "/a", MP_ERR_NOT_FOUND, "JSON pointer '/a': no such member");
    expect_error("[1]", "/1", MP_ERR_NOT_FOUND, "JSON pointer '/1': the array has fewer elements");
    expect_error("[]", "/0", MP_ERR_NOT_FOUND, "JSON pointer '/0': the array has fewer elements");
    static const char *const no_index[] = {"/", "/-", "/00", "/01", "/a", "/-1", "/1e0", "/99999999999"};
    for (size_t index = 0; index < sizeof(no_index) / sizeof(*no_index); index++) {
        char words[100];
        snprintf(words, sizeof(words), "JSON pointer '%s': an array is there, whose elements have numbers from 0",
                 no_index[index]);
        expect_error("[1,2]", no_index[index], MP_ERR_NOT_FOUND, words);
    }
}

static void objects_and_arrays_are_no_plain_values(void **state)
{
    (void)state;
    expect_error("{\"a\":{}}", "/a", MP_ERR_INVALID, "JSON pointer '/a': an object is there, not a plain value");
    expect_error("{\"a\":[]}", "/a", MP_ERR_INVALID, "JSON pointer '/a': an array is there, not a plain value");
}

static void a_wrong_pointer_is_told(void **state)
{
    (void)state;
    expect_error("{}", "a/b", MP_ERR_INVALID, "'a/b' is no JSON pointer, which begins with '/': write '/a/b'");
    expect_error("{}", "/a~2", MP_ERR_INVALID,
                 "'/a~2' is no JSON pointer: behind '~' stands 0 (for '~') or 1 (for '/')");
    expect_error("{}", "/a~", MP_ERR_INVALID, "'/a~' is no JSON pointer: behind '~' stands 0 (for '~') or 1 (for '/')");
}

static void what_is_no_json_is_told_with_its_place(void **state)
{
    (void)state;
    expect_error("{\"a\":1,\n \"é\":x}", "/a", MP_ERR_FORMAT, "no JSON: line 2, column 6: expected a value");
    expect_error("{\"a\":1} {}", "/a", MP_ERR_FORMAT, "no JSON: line 1, column 9: there is more behind the value");
    expect_error("", "/a", MP_ERR_FORMAT, "no JSON: line 1, column 1: breaks off before a value");
    expect_error("\n", "/a", MP_ERR_FORMAT, "no JSON: line 2, column 1: breaks off before a value");
    expect_error("plain text", "/a", MP_ERR_FORMAT, "no JSON: line 1, column 1: expected a value");
    expect_error("[\"\\ud83d\"]", "/0", MP_ERR_FORMAT,
                 "no JSON: line 1, column 3: half of a surrogate pair, which stands for no character");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pointer_finds_values),     cmocka_unit_test(the_examples_of_rfc_6901_hold),
        cmocka_unit_test(names_are_compared_decoded), cmocka_unit_test(of_a_repeated_name_the_last_counts),
        cmocka_unit_test(what_is_not_there_is_told),  cmocka_unit_test(objects_and_arrays_are_no_plain_values),
        cmocka_unit_test(a_wrong_pointer_is_told),    cmocka_unit_test(what_is_no_json_is_told_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
