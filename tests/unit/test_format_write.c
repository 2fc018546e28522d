/* Output: lines, null, length and whole; templates; what a terminal may show. */
#include "message/attributes.h"
#include "message/formats.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct format_item item_of(const void *body, size_t size)
{
    return (struct format_item){
        .record = {.body = body, .size = size, .producer = UINT64_C(0xabc), .sequence = 1},
        .topic = "orders.new",
        .offset = 42,
        .attempt = 3,
        .time = INT64_C(1700000000123456),
    };
}

static void expect_bytes(struct buffer *out, const void *bytes, size_t size)
{
    assert_int_equal(out->size, size);
    assert_memory_equal(out->data, bytes, size);
    buffer_free(out);
}

static void bodies_are_followed_by_their_separator(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct format_item one = item_of("one", 3);
    struct format_item empty = item_of(NULL, 0);
    assert_int_equal(format_write(FORMAT_LINES, &one, &out, NULL), MP_OK);
    assert_int_equal(format_write(FORMAT_LINES, &empty, &out, NULL), MP_OK);
    expect_bytes(&out, "one\n\n", 5);
    assert_int_equal(format_write(FORMAT_NULL, &one, &out, NULL), MP_OK);
    assert_int_equal(format_write(FORMAT_NULL, &empty, &out, NULL), MP_OK);
    expect_bytes(&out, "one\0\0", 5);
    assert_int_equal(format_write(FORMAT_LENGTH, &one, &out, NULL), MP_OK);
    assert_int_equal(format_write(FORMAT_LENGTH, &empty, &out, NULL), MP_OK);
    expect_bytes(&out, "\0\0\0\3one\0\0\0\0", 11);
    assert_int_equal(format_write(FORMAT_WHOLE, &one, &out, NULL), MP_OK);
    assert_int_equal(format_write(FORMAT_WHOLE, &empty, &out, NULL), MP_OK);
    expect_bytes(&out, "one", 3);
}

static void a_body_with_the_separator_is_refused(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct fault fault;
    struct format_item item = item_of("a\nb\0c", 5);
    assert_int_equal(format_write(FORMAT_LINES, &item, &out, &fault), MP_ERR_FORMAT);
    assert_string_equal(fault.text, "message 0000000000000abc0000000000000001 holds a newline, which ends a message in "
                                    "this format: take the format length or json");
    assert_int_equal(format_write(FORMAT_NULL, &item, &out, &fault), MP_ERR_FORMAT);
    assert_int_equal(out.size, 0);
    assert_int_equal(format_write(FORMAT_LENGTH, &item, &out, &fault), MP_OK);
    expect_bytes(&out, "\0\0\0\5a\nb\0c", 9);
}

/* ---- templates -------------------------------------------------------------------------------------------------- */

static void expect_template(const char *text, const struct format_item *item, const char *result)
{
    struct format_template *template;
    struct buffer out = {0};
    struct fault fault = {.text = ""};
    if (format_template_parse(text, &template, &fault) != MP_OK)
        fail_msg("%s: %s", text, fault.text);
    assert_int_equal(format_template_write(template, item, &out), MP_OK);
    format_template_free(template);
    expect_bytes(&out, result, strlen(result));
}

static void a_template_is_filled_in(void **state)
{
    (void)state;
    struct buffer block = {0};
    struct format_item item = item_of("the body", 8);
    expect_template("%{id} %{topic} %{body}\\n", &item, "0000000000000abc0000000000000001 orders.new the body\n");
    expect_template("%{offset}/%{attempt}/%{size}", &item, "42/3/8");
    expect_template("%{time}", &item, "2023-11-14T22:13:20.123456Z");
    expect_template("[%{key}%{type}%{X-None_1}]", &item, "[]");
    expect_template("100%% \\t\\r\\\\ {id} }é", &item, "100% \t\r\\ {id} }é");
    expect_template("x", &item, "x");

    static const char *const attributes[][2] = {
        {"id", "7"}, {"time", "2026-11-20T17:00:00Z"}, {"partitionkey", "k"}, {"X-User", "Ada"}};
    for (size_t index = 0; index < sizeof(attributes) / sizeof(*attributes); index++)
        assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, attributes[index][0], strlen(attributes[index][0]),
                                        attributes[index][1], strlen(attributes[index][1]), NULL),
                         MP_OK);
    item.record.attributes = block.data;
    item.record.attributes_size = block.size;
    expect_template("%{id},%{time},%{key},%{partitionkey},%{X-User}", &item, "7,2026-11-20T17:00:00Z,k,k,Ada");
    buffer_free(&block);
}

static void a_template_takes_values_out_of_json(void **state)
{
    (void)state;
    static const char body[] =
        "{\"order\":{\"id\":17,\"who\":\"Ad\\u0061\",\"lines\":[1,[2]],\"x/y\":true},\"n\":null}";
    struct format_item item = item_of(body, sizeof(body) - 1);
    expect_template("%{/order/id} %{/order/who},%{/order/lines},%{/order/lines/0},%{/order/x~1y}", &item,
                    "17 Ada,[1,[2]],1,true");
    expect_template("<%{/n}%{/order/nothing}%{/order/id/deeper}>", &item, "<>");
    struct format_item text = item_of("{\"order\": no JSON", 17);
    expect_template("<%{/order}>", &text, "<>");
    struct format_item empty = item_of("", 0);
    expect_template("<%{/order}>", &empty, "<>");
}

static void a_template_can_write_nul_bytes(void **state)
{
    (void)state;
    struct format_template *template;
    struct buffer out = {0};
    struct format_item item = item_of("b", 1);
    assert_int_equal(format_template_parse("%{body}\\0%{attempt}\\0", &template, NULL), MP_OK);
    assert_int_equal(format_template_write(template, &item, &out), MP_OK);
    format_template_free(template);
    expect_bytes(&out, "b\0003\0", 4);
}

static void an_empty_template_writes_nothing(void **state)
{
    (void)state;
    struct format_template *template;
    struct buffer out = {0};
    struct format_item item = item_of("b", 1);
    assert_int_equal(format_template_parse("", &template, NULL), MP_OK);
    assert_int_equal(format_template_write(template, &item, &out), MP_OK);
    assert_int_equal(out.size, 0);
    format_template_free(template);
}

static void a_wrong_template_is_told_where(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"%{id} 5%\\n", "character 8 of the template: a '%' stands before {name}; write %% for a percent sign"},
        {"%id", "character 1 of the template: a '%' stands before {name}; write %% for a percent sign"},
        {"é%", "character 2 of the template: a '%' stands before {name}; write %% for a percent sign"},
        {"a\\q", "character 2 of the template: \\q is no escape: \\n \\t \\r \\0 and \\\\ are"},
        {"a\\é", "character 2 of the template: this is no escape: \\n \\t \\r \\0 and \\\\ are"},
        {"a\\", "the template ends with a backslash, character 2: write \\\\ for one"},
        {"a%{id", "character 2 of the template: \"%{\" without its \"}\""},
        {"%{}", "character 1 of the template: %{} names nothing; %{body}, %{id}, %{topic}, …"},
        {"%{a b}", "character 4 of the template: a name has letters, digits, '_' and '-', and ends with '}'"},
        {"%{/a~}",
         "character 1 of the template: '/a~' is no JSON pointer: behind '~' stands 0 (for '~') or 1 (for '/')"},
        {"%{aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}",
         "character 1 of the template: a name has 64 characters at most"},
    };
    for (size_t index = 0; index < sizeof(cases) / sizeof(*cases); index++) {
        struct format_template *template = NULL;
        struct fault fault;
        assert_int_equal(format_template_parse(cases[index][0], &template, &fault), MP_ERR_INVALID);
        assert_null(template);
        assert_string_equal(fault.text, cases[index][1]);
    }
    format_template_free(NULL);
}

static void want_of_memory_leaves_no_half_message(void **state)
{
    (void)state;
    struct format_item item = item_of("a body that takes more than what an empty buffer begins with, sixty-four", 72);
    for (unsigned long nth = 1;; nth++) {
        struct format_template *template = NULL;
        struct buffer out = {0};
        memory_fail(nth);
        enum mp_error error = format_template_parse("%{id} %{body}", &template, NULL);
        if (error == MP_OK)
            error = format_template_write(template, &item, &out);
        const bool failed = memory_failed() != 0;
        memory_fail(0);
        assert_int_equal(error, failed ? MP_ERR_MEMORY : MP_OK);
        assert_int_equal(out.size, failed ? 0 : 32 + 1 + 72);
        format_template_free(template);
        buffer_free(&out);
        if (!failed) {
            assert_true(nth > 4);
            break;
        }
    }
}

/* ---- terminals -------------------------------------------------------------------------------------------------- */

static void expect_escaped(const char *text, const char *shown)
{
    struct buffer out = {0};
    assert_int_equal(format_escape((const uint8_t *)text, strlen(text), &out), MP_OK);
    expect_bytes(&out, shown, strlen(shown));
}

static void text_is_shown_as_it_is(void **state)
{
    (void)state;
    expect_escaped("plain \\ text, é€😀\n", "plain \\ text, é€😀\n");
    expect_escaped("", "");
    expect_escaped("\n", "\n");
}

static void control_characters_are_shown(void **state)
{
    (void)state;
    expect_escaped("a\nb\r\tc\n\n", "a\\nb\\r\\tc\\n\n");
    expect_escaped("\x1b[31mred\x1b[0m\x07\x7f", "\\x1b[31mred\\x1b[0m\\x07\\x7f");
    expect_escaped("csi \xc2\x9b nel \xc2\x85 nbsp \xc2\xa0", "csi \\u009b nel \\u0085 nbsp \xc2\xa0");
    struct buffer out = {0};
    assert_int_equal(format_escape((const uint8_t *)"a\0b", 3, &out), MP_OK);
    expect_bytes(&out, "a\\x00b", 6);
}

static void what_is_not_utf8_is_shown(void **state)
{
    (void)state;
    expect_escaped("\xff\x80 \xc3", "\\xff\\x80 \\xc3");
    expect_escaped("\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80", "\\xc0\\xaf \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80");
    expect_escaped("\xe2\x82\n", "\\xe2\\x82\n");
}

static void what_reorders_text_is_shown(void **state)
{
    (void)state;
    expect_escaped("\u202a\u202b\u202c\u202d\u202e", "\\u202a\\u202b\\u202c\\u202d\\u202e");
    expect_escaped("\u2066\u2067\u2068\u2069", "\\u2066\\u2067\\u2068\\u2069");
    expect_escaped("\u2029\u202f\u2065\u206a", "\u2029\u202f\u2065\u206a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_followed_by_their_separator),
        cmocka_unit_test(a_body_with_the_separator_is_refused),
        cmocka_unit_test(a_template_is_filled_in),
        cmocka_unit_test(a_template_takes_values_out_of_json),
        cmocka_unit_test(a_template_can_write_nul_bytes),
        cmocka_unit_test(an_empty_template_writes_nothing),
        cmocka_unit_test(a_wrong_template_is_told_where),
        cmocka_unit_test(want_of_memory_leaves_no_half_message),
        cmocka_unit_test(text_is_shown_as_it_is),
        cmocka_unit_test(control_characters_are_shown),
        cmocka_unit_test(what_is_not_utf8_is_shown),
        cmocka_unit_test(what_reorders_text_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
