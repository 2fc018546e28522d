/* Conditions on messages: where, and routes. */
#include "steps_rig.h"

#include "base/memory.h"
#include "stage/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define VALUES(...)                                                                                                    \
    .values = (const char *const[]){__VA_ARGS__}, .count = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)

static const char attributes[] = "id=o-7 type=order.new partitionkey=ada region=eu amount=12.50 note=a+b";
static const char body[] = "{\"qty\":3,\"who\":{\"name\":\"Ad\\u0061\",\"vip\":true},\"none\":null,\"list\":[1]}";

static bool holds_for(struct stage_condition condition, const char *text)
{
    struct stage_where where = {.conditions = &condition, .count = 1};
    struct stage_matcher *matcher;
    struct steps_message message;
    struct fault fault;
    bool matches;
    if (stage_matcher_open(&where, &matcher, &fault) != MP_OK)
        fail_msg("%s", fault.text);
    steps_message(&message, attributes, text);
    message.item.offset = 12;
    assert_int_equal(stage_matches(matcher, &message.item, &matches), MP_OK);
    condition.negate = !condition.negate;
    struct stage_matcher *opposite;
    bool other;
    assert_int_equal(stage_matcher_open(&where, &opposite, NULL), MP_OK);
    assert_int_equal(stage_matches(opposite, &message.item, &other), MP_OK);
    assert_int_equal(other, !matches);
    stage_matcher_free(matcher);
    stage_matcher_free(opposite);
    steps_message_free(&message);
    return matches;
}

static bool holds(struct stage_condition condition)
{
    return holds_for(condition, body);
}

static void values_are_compared_to_the_byte(void **state)
{
    (void)state;
    assert_true(holds((struct stage_condition){.name = "type", VALUES("order.new")}));
    assert_true(holds((struct stage_condition){.name = "type", VALUES("x", "order.new")}));
    assert_false(holds((struct stage_condition){.name = "type", VALUES("order.ne")}));
    assert_false(holds((struct stage_condition){.name = "type", VALUES("order.newer", "Order.new")}));
    assert_true(holds((struct stage_condition){.name = "note", VALUES("a b")}));
    assert_true(holds((struct stage_condition){.name = "region",
                                               VALUES("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "eu", "us")}));
    assert_false(holds((struct stage_condition){.name = "region",
                                                VALUES("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "e", "us")}));
}

static void everything_that_has_a_name_can_be_asked_for(void **state)
{
    (void)state;
    assert_true(holds((struct stage_condition){.name = "key", VALUES("ada")}));
    assert_true(holds((struct stage_condition){.name = "partitionkey", VALUES("ada")}));
    assert_true(holds((struct stage_condition){.name = "topic", VALUES("orders.new")}));
    assert_true(holds((struct stage_condition){.name = "attempt", VALUES("2")}));
    assert_true(holds((struct stage_condition){.name = "offset", VALUES("12")}));
    assert_true(holds((struct stage_condition){.name = "id", VALUES("o-7")}));
    assert_true(holds_for((struct stage_condition){.name = "body", VALUES("")}, ""));
    assert_true(holds_for((struct stage_condition){.name = "size", VALUES("4")}, "four"));
    assert_true(holds((struct stage_condition){.name = "/qty", VALUES("3")}));
    assert_true(holds((struct stage_condition){.name = "/who/name", VALUES("Ada")}));
    assert_true(holds((struct stage_condition){.name = "/who/vip", VALUES("true")}));
    assert_true(holds((struct stage_condition){.name = "/list", VALUES("[1]")}));
    struct steps_message message;
    struct stage_condition origin = {.name = "id", VALUES("00000000000000100000000000000020")};
    struct stage_where where = {.conditions = &origin, .count = 1};
    struct stage_matcher *matcher;
    bool matches;
    steps_message(&message, NULL, "");
    assert_int_equal(stage_matcher_open(&where, &matcher, NULL), MP_OK);
    assert_int_equal(stage_matches(matcher, &message.item, &matches), MP_OK);
    assert_true(matches);
    stage_matcher_free(matcher);
}

static void what_is_not_there_matches_nothing(void **state)
{
    (void)state;
    assert_false(holds((struct stage_condition){.name = "subject", VALUES("")}));
    assert_false(holds((struct stage_condition){.name = "subject", .match = STAGE_GLOB, VALUES("*")}));
    assert_false(holds((struct stage_condition){.name = "/none", .match = STAGE_REGEX, VALUES("")}));
    assert_false(holds((struct stage_condition){.name = "/qty/deeper", .match = STAGE_BELOW, VALUES("9")}));
    assert_false(holds_for((struct stage_condition){.name = "/qty", VALUES("3")}, "{\"qty\":3,"));
    assert_true(holds((struct stage_condition){.name = "region", .match = STAGE_EXISTS}));
    assert_true(holds((struct stage_condition){.name = "/who", .match = STAGE_EXISTS}));
    assert_false(holds((struct stage_condition){.name = "/none", .match = STAGE_EXISTS}));
    assert_false(holds((struct stage_condition){.name = "subject", .match = STAGE_EXISTS}));
}

static void numbers_are_above_and_below(void **state)
{
    (void)state;
    assert_true(holds((struct stage_condition){.name = "amount", .match = STAGE_ABOVE, VALUES("12.4")}));
    assert_false(holds((struct stage_condition){.name = "amount", .match = STAGE_ABOVE, VALUES("12.5")}));
    assert_false(holds((struct stage_condition){.name = "amount", .match = STAGE_BELOW, VALUES("12.5")}));
    assert_true(holds((struct stage_condition){.name = "amount", .match = STAGE_BELOW, VALUES("1.3e1")}));
    assert_true(holds((struct stage_condition){.name = "/qty", .match = STAGE_ABOVE, VALUES("-1")}));
    assert_true(holds((struct stage_condition){.name = "attempt", .match = STAGE_ABOVE, VALUES("1")}));
    /* What is no number is neither. */
    static const char *const others[] = {"", " 1", "1 ", "0x10", "inf", "nan", "1e999", "one", "1,5", "--1"};
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        assert_false(
            holds_for((struct stage_condition){.name = "body", .match = STAGE_ABOVE, VALUES("-9")}, others[i]));
        assert_false(
            holds_for((struct stage_condition){.name = "body", .match = STAGE_BELOW, VALUES("99")}, others[i]));
    }
}

static void regular_expressions_are_found_anywhere(void **state)
{
    (void)state;
    assert_true(holds((struct stage_condition){.name = "type", .match = STAGE_REGEX, VALUES("der")}));
    assert_false(holds((struct stage_condition){.name = "type", .match = STAGE_REGEX, VALUES("^der", "x")}));
    assert_true(
        holds((struct stage_condition){.name = "type", .match = STAGE_REGEX, VALUES("x", "^order\\.(new|old)$")}));
    assert_true(holds((struct stage_condition){.name = "key", .match = STAGE_REGEX, VALUES("^[a-z]{3}$")}));
    /* The value ends where it ends: what stands behind it in the block is not looked at. */
    assert_false(holds((struct stage_condition){.name = "id", .match = STAGE_REGEX, VALUES("7.")}));
    assert_true(holds((struct stage_condition){.name = "id", .match = STAGE_REGEX, VALUES("7$")}));
}

static void globs_are_those_of_the_shell(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"order.*", "order.new", true},
        {"order.*", "order", false},
        {"*", "", true},
        {"", "", true},
        {"", "a", false},
        {"?", "é", true},
        {"??", "é", false},
        {"?", "\xff", true},
        {"?", "", false},
        {"*.*", "a.b.c", true},
        {"*b*d", "abcbdd", true},
        {"*b*d", "abcbdde", false},
        {"a*a*a", "aa", false},
        {"a*a*a", "aaa", true},
        {"[abc]x", "bx", true},
        {"[a-c]x", "dx", false},
        {"[!a-c]x", "dx", true},
        {"[!a-c]x", "bx", false},
        {"[]]", "]", true},
        {"[]-]", "-", true},
        {"[a-]", "-", true},
        {"[ä-ü]", "ö", true},
        {"[ä-ü]", "o", false},
        {"\\*", "*", true},
        {"\\*", "x", false},
        {"[\\]]", "]", true},
        {"a/b*", "a/b/c\nd", true},
        {"x*", "ax", false},
        {"*x", "xa", false},
        {"[!]]", "a", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(glob_check(cases[i].pattern, strlen(cases[i].pattern), NULL), MP_OK);
        if (glob_matches(cases[i].pattern, strlen(cases[i].pattern), (const uint8_t *)cases[i].text,
                         strlen(cases[i].text)) != cases[i].matches)
            fail_msg("'%s' on '%s'", cases[i].pattern, cases[i].text);
    }
    assert_true(holds((struct stage_condition){.name = "type", .match = STAGE_GLOB, VALUES("x*", "order.*")}));
}

/* A pattern from hell takes the product of the lengths, not a power of them. */
static void a_glob_ends_soon(void **state)
{
    (void)state;
    static uint8_t text[20000];
    char pattern[] = "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b";
    memset(text, 'a', sizeof(text));
    assert_false(glob_matches(pattern, strlen(pattern), text, sizeof(text)));
}

static void all_conditions_hold(void **state)
{
    (void)state;
    struct stage_condition conditions[] = {
        {.name = "type", .match = STAGE_GLOB, VALUES("order.*")},
        {.name = "region", VALUES("eu", "us")},
        {.name = "key", .negate = true, VALUES("bob")},
    };
    struct stage_where where = {.conditions = conditions, .count = 3};
    struct stage_matcher *matcher;
    static const struct {
        const char *attributes;
        bool matches;
    } cases[] = {
        {"type=order.new region=eu", true},
        {"type=order.new region=us partitionkey=ada", true},
        {"type=order.new region=us partitionkey=bob", false},
        {"type=order.new region=ru", false},
        {"type=bill.new region=eu", false},
        {NULL, false},
    };
    assert_int_equal(stage_matcher_open(&where, &matcher, NULL), MP_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct steps_message message;
        bool matches;
        steps_message(&message, cases[i].attributes, "");
        assert_int_equal(stage_matches(matcher, &message.item, &matches), MP_OK);
        assert_int_equal(matches, cases[i].matches);
        steps_message_free(&message);
    }
    stage_matcher_free(matcher);
    /* None: everything. */
    bool matches;
    struct format_item item = {.attempt = 1};
    assert_int_equal(stage_matcher_open(&(struct stage_where){.count = 0}, &matcher, NULL), MP_OK);
    assert_int_equal(stage_matches(matcher, &item, &matches), MP_OK);
    assert_true(matches);
    stage_matcher_free(matcher);
}

static void wrong(struct stage_condition condition, const char *words)
{
    struct stage_where where = {.conditions = &condition, .count = 1};
    struct stage_matcher *matcher;
    struct fault fault;
    assert_int_equal(stage_matcher_open(&where, &matcher, &fault), MP_ERR_INVALID);
    assert_null(matcher);
    if (strncmp(fault.text, words, strlen(words)) != 0)
        fail_msg("%s", fault.text);
}

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    wrong((struct stage_condition){.name = "a b", VALUES("x")}, "a b: 'a b' is no name: ");
    wrong((struct stage_condition){.name = "", VALUES("x")}, ": '' names nothing: ");
    wrong((struct stage_condition){.name = "/a~", VALUES("x")}, "/a~: '/a~' is no JSON pointer: ");
    wrong((struct stage_condition){.name = "type", .match = STAGE_GLOB, VALUES("x", "[a")},
          "type: '[a' has a '[' without its ']'");
    wrong((struct stage_condition){.name = "type", .match = STAGE_GLOB, VALUES("a\\")},
          "type: 'a\\' ends with a backslash");
    wrong((struct stage_condition){.name = "type", .match = STAGE_REGEX, VALUES("x", "a(b")},
          "type: 'a(b' is no extended regular expression: ");
    wrong((struct stage_condition){.name = "type", .match = STAGE_ABOVE, VALUES("x")}, "type: 'x' is not a number: ");
    wrong((struct stage_condition){.name = "type", .match = STAGE_BELOW, VALUES("1", "2")}, "type: '' is not a number");
}

static void want_of_memory_is_told(void **state)
{
    (void)state;
    struct stage_condition conditions[] = {
        {.name = "type", VALUES("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")},
        {.name = "/who/name", .match = STAGE_GLOB, VALUES("A*")},
    };
    struct stage_where where = {.conditions = conditions, .count = 2};
    struct steps_message message;
    steps_message(&message, "type=3", body);
    for (unsigned long nth = 1;; nth++) {
        struct stage_matcher *matcher;
        bool matches = false;
        memory_fail(nth);
        enum mp_error error = stage_matcher_open(&where, &matcher, NULL);
        if (error == MP_OK)
            error = stage_matches(matcher, &message.item, &matches);
        const bool failed = memory_failed() != 0;
        memory_fail(0);
        assert_int_equal(error, failed ? MP_ERR_MEMORY : MP_OK);
        stage_matcher_free(matcher);
        if (!failed) {
            assert_true(matches && nth > 5);
            break;
        }
    }
    steps_message_free(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_compared_to_the_byte),
        cmocka_unit_test(everything_that_has_a_name_can_be_asked_for),
        cmocka_unit_test(what_is_not_there_matches_nothing),
        cmocka_unit_test(numbers_are_above_and_below),
        cmocka_unit_test(regular_expressions_are_found_anywhere),
        cmocka_unit_test(globs_are_those_of_the_shell),
        cmocka_unit_test(a_glob_ends_soon),
        cmocka_unit_test(all_conditions_hold),
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(want_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
