/* message/names.h */
#include "message/names.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static char long_name[NAME_MAX_BYTES + 2];

static void assert_topic_refused(const char *name, const char *expected)
{
    struct fault fault;

    assert_int_equal(name_check_topic(name, strlen(name), &fault), MP_ERR_INVALID);
    assert_string_equal(fault.text, expected);
}

static void assert_pattern_refused(const char *name, const char *expected)
{
    struct fault fault;
    bool pattern;

    assert_int_equal(name_check_pattern(name, strlen(name), &pattern, &fault), MP_ERR_INVALID);
    assert_string_equal(fault.text, expected);
}

static void good_topics_pass(void **state)
{
    static const char *const good[] = {"a", "orders.new", "A-b_c.0.9-", "-", "_", "web.hits.2026-11"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(name_check_topic(good[i], strlen(good[i]), NULL), MP_OK);
    assert_int_equal(name_check_topic(long_name, NAME_MAX_BYTES, NULL), MP_OK);
}

static void wrong_topics_say_what_and_where(void **state)
{
    struct fault fault;

    (void)state;
    assert_topic_refused("", "the topic's name is empty");
    assert_topic_refused("a..b", "topic 'a..b': empty token at character 3");
    assert_topic_refused(".a", "topic '.a': empty token at character 1");
    assert_topic_refused(".", "topic '.': empty token at character 1");
    assert_topic_refused("orders.", "topic 'orders.': ends in a dot: a topic's name does not");
    assert_topic_refused("a b", "topic 'a b': ' ' at character 2 is not allowed: use letters, "
                                "digits, '_' and '-', and dots between tokens");
    assert_topic_refused("a\n", "topic 'a\\x0a': '\\x0a' at character 2 is not allowed: use "
                                "letters, digits, '_' and '-', and dots between tokens");
    assert_topic_refused("caf\xc3\xa9", "topic 'caf\xc3\xa9': '\xc3\xa9' at character 4 is not allowed: use "
                                        "letters, digits, '_' and '-', and dots between tokens");
    assert_topic_refused("orders.*", "topic 'orders.*': that is a pattern: here a topic's full name is needed");
    assert_topic_refused(">", "topic '>': that is a pattern: here a topic's full name is needed");
    assert_int_equal(name_check_topic("a\0b", 3, &fault), MP_ERR_INVALID);
    assert_int_equal(name_check_topic(long_name, NAME_MAX_BYTES + 1, &fault), MP_ERR_INVALID);
    assert_non_null(strstr(fault.text, "a name of 201 bytes: the limit is 200"));
}

/* Every byte value is judged, whatever the sign of char. */
static void only_the_allowed_characters_are_allowed(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char name[3] = {'a', (char)byte, 'b'};
        bool token = byte != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                         "0123456789_-.",
                                         byte) != NULL;
        assert_int_equal(name_check_topic(name, 3, NULL), token ? MP_OK : MP_ERR_INVALID);
        assert_int_equal(name_check_group(name, 3, NULL), token ? MP_OK : MP_ERR_INVALID);
    }
}

static void patterns_are_told_from_topics(void **state)
{
    static const char *const good[] = {"*", ">", "orders.*", "orders.>", "*.*.new", "*.>", "a.*.b"};
    bool pattern = true;

    (void)state;
    assert_int_equal(name_check_pattern("orders.new", 10, &pattern, NULL), MP_OK);
    assert_false(pattern);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(name_check_pattern(good[i], strlen(good[i]), &pattern, NULL), MP_OK);
        assert_true(pattern);
    }
}

static void wrong_patterns_say_what_and_where(void **state)
{
    (void)state;
    assert_pattern_refused("orders.", "topic 'orders.': ends in a dot: was `>` unquoted?");
    assert_pattern_refused("*.", "pattern '*.': ends in a dot: was `>` unquoted?");
    assert_pattern_refused("a.>.b",
                           "pattern 'a.>.b': `>` stands for the rest and must be last, but it is at character 3");
    assert_pattern_refused("a.b*", "pattern 'a.b*': `*` and `>` stand alone between dots, but one is at character 4");
    assert_pattern_refused(">>", "pattern '>>': `*` and `>` stand alone between dots, but one is at character 1");
    assert_pattern_refused("*..a", "pattern '*..a': empty token at character 3");
    assert_pattern_refused("", "the topic's name is empty");
}

static void groups_are_one_token_in_which_dots_are_free(void **state)
{
    struct fault fault;

    (void)state;
    assert_int_equal(name_check_group("bill", 4, NULL), MP_OK);
    assert_int_equal(name_check_group("v1.2..x_-", 9, NULL), MP_OK);
    assert_int_equal(name_check_group(long_name, NAME_MAX_BYTES, NULL), MP_OK);
    assert_int_equal(name_check_group(long_name, NAME_MAX_BYTES + 1, NULL), MP_ERR_INVALID);
    assert_int_equal(name_check_group("", 0, &fault), MP_ERR_INVALID);
    assert_string_equal(fault.text, "the group's name is empty");
    assert_int_equal(name_check_group("a/b", 3, &fault), MP_ERR_INVALID);
    assert_string_equal(fault.text, "group 'a/b': '/' at character 2 is not allowed: use letters, "
                                    "digits, '_', '-' and '.'");
}

static void patterns_match_by_tokens(void **state)
{
    (void)state;
    assert_true(name_matches("a.b", "a.b"));
    assert_false(name_matches("a.b", "a.bc"));
    assert_false(name_matches("a.bc", "a.b"));
    assert_false(name_matches("a.b", "a"));
    assert_false(name_matches("a", "a.b"));
    assert_true(name_matches("*", "orders"));
    assert_false(name_matches("*", "orders.new"));
    assert_true(name_matches("orders.*", "orders.new"));
    assert_false(name_matches("orders.*", "orders"));
    assert_false(name_matches("orders.*", "orders.new.eu"));
    assert_false(name_matches("orders.*", "order.new"));
    assert_true(name_matches("*.new", "orders.new"));
    assert_false(name_matches("*.new", "orders.old"));
    assert_true(name_matches("*.*.c", "a.b.c"));
    assert_true(name_matches("a.*.c", "a.anything.c"));
    assert_true(name_matches(">", "a"));
    assert_true(name_matches(">", "a.b.c"));
    assert_true(name_matches("a.>", "a.b"));
    assert_true(name_matches("a.>", "a.b.c.d"));
    assert_false(name_matches("a.>", "a"));
    assert_false(name_matches("a.>", "ab.c"));
    assert_true(name_matches("*.>", "a.b"));
    assert_false(name_matches("*.>", "a"));
}

static void distances_count_slips(void **state)
{
    (void)state;
    assert_int_equal(name_distance("", ""), 0);
    assert_int_equal(name_distance("abc", "abc"), 0);
    assert_int_equal(name_distance("", "abc"), 3);
    assert_int_equal(name_distance("abc", ""), 3);
    assert_int_equal(name_distance("abc", "abxc"), 1);
    assert_int_equal(name_distance("abc", "ac"), 1);
    assert_int_equal(name_distance("abc", "axc"), 1);
    assert_int_equal(name_distance("abc", "acb"), 1);
    assert_int_equal(name_distance("format", "fromat"), 1);
    assert_int_equal(name_distance("kitten", "sitting"), 3);
    assert_int_equal(name_distance("abcd", "badc"), 2);
    assert_int_equal(name_distance(long_name, "a"), NAME_MAX_BYTES + 1);
}

static void the_nearest_word_is_a_likely_one_or_none(void **state)
{
    static const char *const words[] = {"lines", "null", "length", "whole", "json"};
    const size_t count = sizeof words / sizeof *words;

    (void)state;
    assert_string_equal(name_nearest("lnies", words, count), "lines");
    assert_string_equal(name_nearest("line", words, count), "lines");
    assert_string_equal(name_nearest("JSON", words, count), "json");
    assert_string_equal(name_nearest("jsno", words, count), "json");
    assert_string_equal(name_nearest("lenght", words, count), "length");
    assert_string_equal(name_nearest("hole", words, count), "whole");
    assert_null(name_nearest("xml", words, count));
    assert_null(name_nearest("x", words, count));
    assert_null(name_nearest("", words, count));
    assert_null(name_nearest("protobuf", words, count));
    assert_null(name_nearest("lines", words, 0));
    static const char *const topics[] = {"orders.new", "orders.now"};
    assert_string_equal(name_nearest("orders.nwe", topics, 2), "orders.new");
    assert_string_equal(name_nearest("orders.nxw", topics, 2), "orders.new");
    assert_string_equal(name_nearest("orders.now", topics, 2), "orders.now");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_topics_pass),
        cmocka_unit_test(wrong_topics_say_what_and_where),
        cmocka_unit_test(only_the_allowed_characters_are_allowed),
        cmocka_unit_test(patterns_are_told_from_topics),
        cmocka_unit_test(wrong_patterns_say_what_and_where),
        cmocka_unit_test(groups_are_one_token_in_which_dots_are_free),
        cmocka_unit_test(patterns_match_by_tokens),
        cmocka_unit_test(distances_count_slips),
        cmocka_unit_test(the_nearest_word_is_a_likely_one_or_none),
    };

    memset(long_name, 'x', sizeof long_name - 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
