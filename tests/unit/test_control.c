/* Lines between a supervisor and its children. */
#include "base/control.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

struct side {
    struct control *control;
    char last[64];
    unsigned lines;
    bool ended;
    bool frees_itself;
};

static struct event_base *base;
static struct side one, other;

static void on_line(void *context, const char *line)
{
    struct side *side = context;
    snprintf(side->last, sizeof side->last, "%s", line);
    side->lines++;
    if (side->frees_itself) {
        control_free(side->control);
        side->control = NULL;
    }
}

static void on_ended(void *context)
{
    struct side *side = context;
    assert_false(side->ended);
    side->ended = true;
    if (side->frees_itself) {
        control_free(side->control);
        side->control = NULL;
    }
}

static int set_up(void **state)
{
    int ends[2];
    struct control_settings settings = {.context = &one, .line = on_line, .ended = on_ended};
    (void)state;
    one = other = (struct side){0};
    base = event_base_new();
    if (!base || control_pair(ends, NULL) || control_open(base, ends[0], &settings, &one.control, NULL))
        return 1;
    settings.context = &other;
    return control_open(base, ends[1], &settings, &other.control, NULL) != MP_OK;
}

static int tear_down(void **state)
{
    (void)state;
    control_free(one.control);
    control_free(other.control);
    event_base_free(base);
    return 0;
}

static void run(void)
{
    for (int i = 0; i < 20; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
}

static void lines_go_both_ways(void **state)
{
    (void)state;
    assert_true(control_send(one.control, "reload %d", 7));
    assert_true(control_send(other.control, "ready"));
    assert_true(control_send(other.control, "two\nlines"));
    run();
    assert_string_equal(other.last, "reload 7");
    assert_string_equal(one.last, "two lines");
    assert_int_equal(one.lines, 2);
}

static void what_was_said_before_the_end_comes(void **state)
{
    (void)state;
    control_send(other.control, "drained 3");
    control_free(other.control);
    other.control = NULL;
    run();
    assert_string_equal(one.last, "drained 3");
    assert_true(one.ended);
    assert_false(control_send(one.control, "nobody hears"));
}

static void it_may_be_freed_by_its_own_callbacks(void **state)
{
    (void)state;
    one.frees_itself = other.frees_itself = true;
    control_send(other.control, "a");
    control_send(other.control, "b");
    run();
    assert_int_equal(one.lines, 1);
    assert_null(one.control);
    assert_true(other.ended);
    assert_null(other.control);
}

static void a_line_without_an_end_ends_it(void **state)
{
    size_t size = CONTROL_LINE_MAX + 4096;
    char *text = malloc(size + 1);
    (void)state;
    assert_non_null(text);
    memset(text, 'x', size);
    text[size] = '\0';
    control_send(other.control, "%s", text);
    free(text);
    run();
    assert_int_equal(one.lines + one.ended, 1); /* it came as a whole, or was too much */
}

static void a_descriptor_is_inherited_by_its_number(void **state)
{
    char text[16];
    int ends[2];
    (void)state;
    unsetenv("TEST_FD");
    assert_int_equal(control_inherited("TEST_FD"), -1);
    static const char *const wrong[] = {"", "x", "2", "-3", "99999", "3 ", "1023"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        setenv("TEST_FD", wrong[i], 1);
        assert_int_equal(control_inherited("TEST_FD"), -1);
        assert_null(getenv("TEST_FD"));
    }
    assert_int_equal(control_pair(ends, NULL), MP_OK);
    snprintf(text, sizeof text, "%d", ends[0]);
    setenv("TEST_FD", text, 1);
    assert_int_equal(control_inherited("TEST_FD"), ends[0]);
    assert_null(getenv("TEST_FD"));
    close(ends[0]);
    close(ends[1]);
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGGED(lines_go_both_ways),
        RIGGED(what_was_said_before_the_end_comes),
        RIGGED(it_may_be_freed_by_its_own_callbacks),
        RIGGED(a_line_without_an_end_ends_it),
        cmocka_unit_test(a_descriptor_is_inherited_by_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
