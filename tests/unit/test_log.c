/* base/log.h: each line is caught in a pipe that stands in for stderr. */
#include "base/log.h"

#include "base/units.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int stderr_before;
static char caught[8192];

/* From here on what is written to stderr is caught. Nothing in between may fail an assertion: it would not be seen. */
static int catch_begin(void)
{
    int ends[2];

    if (pipe(ends) != 0)
        return -1;
    stderr_before = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    return ends[0];
}

/* The lines that were written since, terminated. Less than a pipe holds. */
static const char *catch_end(int end)
{
    size_t size = 0;
    ssize_t got;

    dup2(stderr_before, STDERR_FILENO);
    close(stderr_before);
    while ((got = read(end, caught + size, sizeof caught - 1 - size)) > 0)
        size += (size_t)got;
    close(end);
    caught[size] = '\0';
    return caught;
}

/* What a line with field "v" of VALUE looks like, from its event on. */
static const char *line_with(bool json, const char *value)
{
    struct log_line line;

    log_setup(LOG_INFO, json);
    int end = catch_begin();
    log_begin(&line, LOG_INFO, "e");
    log_field(&line, "v", "%s", value);
    log_end(&line);
    return strstr(catch_end(end), json ? "\"event\"" : "event");
}

static void a_logfmt_line_is_whole(void **state)
{
    struct log_line line;
    char time[28];
    int64_t found;

    (void)state;
    log_setup(LOG_DEBUG, false);
    int end = catch_begin();
    log_begin(&line, LOG_WARNING, "connection closed");
    log_field(&line, "reason", "%s %d", "no greeting", 5);
    log_field(&line, "bytes", "%zu", (size_t)17);
    log_end(&line);
    const char *text = catch_end(end);
    assert_memory_equal(text, "time=", 5);
    memcpy(time, text + 5, 27);
    time[27] = '\0';
    assert_int_equal(units_time(time, &found, NULL), MP_OK);
    assert_string_equal(text + 32, " level=warning event=\"connection closed\" reason=\"no greeting 5\" bytes=17\n");
}

static void a_json_line_is_whole(void **state)
{
    struct log_line line;

    (void)state;
    log_setup(LOG_DEBUG, true);
    int end = catch_begin();
    log_begin(&line, LOG_ERROR, "it broke");
    log_field(&line, "topic", "%s", "17");
    log_field(&line, "bytes", "%zu", (size_t)17);
    log_field(&line, "change", "%+d", 5);
    log_field(&line, "change2", "%d", -5);
    log_field(&line, "ratio", "%.2f", 0.25);
    log_field(&line, "nan", "%f", strtod("nan", NULL));
    log_field(&line, "mixed", "%d%%", 5);
    log_field(&line, "padded", "%03d", 5);
    log_end(&line);
    const char *text = catch_end(end);
    assert_memory_equal(text, "{\"time\":\"2", 10);
    assert_string_equal(text + 37, ",\"level\":\"error\",\"event\":\"it broke\",\"topic\":\"17\",\"bytes\":17,"
                                   "\"change\":\"+5\",\"change2\":-5,\"ratio\":0.25,\"nan\":\"nan\","
                                   "\"mixed\":\"5%\",\"padded\":\"005\"}\n");
}

static void values_are_quoted_when_they_must(void **state)
{
    (void)state;
    assert_string_equal(line_with(false, "plain-1/2:3"), "event=e v=plain-1/2:3\n");
    assert_string_equal(line_with(false, ""), "event=e v=\"\"\n");
    assert_string_equal(line_with(false, "a b"), "event=e v=\"a b\"\n");
    assert_string_equal(line_with(false, "a=b"), "event=e v=\"a=b\"\n");
    assert_string_equal(line_with(false, "say \"x\""), "event=e v=\"say \\\"x\\\"\"\n");
    assert_string_equal(line_with(false, "a\\b"), "event=e v=\"a\\\\b\"\n");
    assert_string_equal(line_with(false, "caf\xc3\xa9"), "event=e v=\"caf\xc3\xa9\"\n");
}

static void controls_and_broken_text_are_escaped(void **state)
{
    static const char nasty[] = "a\n\r\t\x01\x1b[2J\x7f\xc2\x9b\xff\xe2\x80\xa8\"\\";
    static const char shown[] = "\"a\\n\\r\\t\\u0001\\u001b[2J\\u007f\\u009b\\ufffd\\u2028\\\"\\\\\"";
    char expected[200];

    (void)state;
    snprintf(expected, sizeof expected, "event=e v=%s\n", shown);
    assert_string_equal(line_with(false, nasty), expected);
    snprintf(expected, sizeof expected, "\"event\":\"e\",\"v\":%s}\n", shown);
    assert_string_equal(line_with(true, nasty), expected);
}

static void lines_below_the_level_are_not_written(void **state)
{
    struct log_line line;

    (void)state;
    log_setup(LOG_WARNING, false);
    int end = catch_begin();
    log_begin(&line, LOG_INFO, "unheard");
    log_field(&line, "v", "x");
    log_end(&line);
    log_begin(&line, LOG_WARNING, "heard");
    log_end(&line);
    const char *text = catch_end(end);
    assert_null(strstr(text, "unheard"));
    assert_non_null(strstr(text, "event=heard\n"));
}

/* Whether a JSON line is closed as it should be: each quote and brace. */
static bool is_closed(const char *text)
{
    bool inside = false;
    size_t size = strlen(text);

    for (size_t i = 0; i < size; i++) {
        if (inside && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            inside = !inside;
    }
    return !inside && size > 2 && strcmp(text + size - 2, "}\n") == 0;
}

/* Fields of every length and kind of content: the line never runs over, and is closed wherever it is cut. */
static void long_lines_are_cut_and_stay_well_formed(void **state)
{
    static const char *const contents[] = {"x", "\n", "\x01", "\xc3\xa9", "\xff", "\""};
    static char value[3000];
    struct log_line line;

    (void)state;
    log_setup(LOG_INFO, true);
    for (size_t kind = 0; kind < sizeof contents / sizeof *contents; kind++) {
        size_t unit = strlen(contents[kind]);
        for (size_t i = 0; i + unit < sizeof value; i += unit)
            memcpy(value + i, contents[kind], unit);
        for (int length = 1; length < 2100; length += 7) {
            int end = catch_begin();
            log_begin(&line, LOG_INFO, "e");
            log_field(&line, "one", "%.*s", length, value);
            log_field(&line, "two", "%.*s", 37, value);
            for (int i = 0; i < 100; i++)
                log_field(&line, "more", "%d", i);
            log_end(&line);
            const char *text = catch_end(end);
            assert_true(strlen(text) <= sizeof line.text);
            assert_true(is_closed(text));
            assert_non_null(strstr(text, "\"one\":\""));
        }
    }
    assert_non_null(strstr(caught, "...\""));
}

static void a_closed_stderr_harms_nothing_and_errno_survives(void **state)
{
    struct log_line line;

    (void)state;
    log_setup(LOG_INFO, false);
    int end = catch_begin();
    close(STDERR_FILENO);
    errno = ENOENT;
    log_begin(&line, LOG_ERROR, "nobody hears it");
    log_end(&line);
    int after = errno;
    catch_end(end);
    assert_int_equal(after, ENOENT);
}

static void a_limit_lets_one_line_a_second_pass(void **state)
{
    struct log_limit limit = {0};
    struct log_line line;

    (void)state;
    assert_false(log_limited(&limit, 5000000));
    assert_int_equal(limit.suppressed, 0);
    assert_true(log_limited(&limit, 5000000));
    assert_true(log_limited(&limit, 5999999));
    assert_false(log_limited(&limit, 6000000));
    assert_int_equal(limit.suppressed, 2);
    log_setup(LOG_INFO, false);
    int end = catch_begin();
    log_begin(&line, LOG_INFO, "e");
    log_field_suppressed(&line, &limit);
    log_end(&line);
    assert_string_equal(strstr(catch_end(end), "event"), "event=e suppressed=2\n");
    assert_true(log_limited(&limit, 6999999));
    assert_false(log_limited(&limit, 9000000));
    assert_int_equal(limit.suppressed, 1);
    assert_false(log_limited(&limit, 10000000));
    assert_int_equal(limit.suppressed, 0);
    end = catch_begin();
    log_begin(&line, LOG_INFO, "e");
    log_field_suppressed(&line, &limit);
    log_end(&line);
    assert_string_equal(strstr(catch_end(end), "event"), "event=e\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_logfmt_line_is_whole),
        cmocka_unit_test(a_json_line_is_whole),
        cmocka_unit_test(values_are_quoted_when_they_must),
        cmocka_unit_test(controls_and_broken_text_are_escaped),
        cmocka_unit_test(lines_below_the_level_are_not_written),
        cmocka_unit_test(long_lines_are_cut_and_stay_well_formed),
        cmocka_unit_test(a_closed_stderr_harms_nothing_and_errno_survives),
        cmocka_unit_test(a_limit_lets_one_line_a_second_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
