#include "policy/window.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_window_is_full_by_count(void **state)
{
    (void)state;
    const struct window_policy policy = {.count = 3};
    struct window window = {.count = 0};
    for (int i = 0; i < 3; i++) {
        assert_false(window_full(&policy, &window));
        assert_true(window_fits(&policy, &window, UINT64_MAX));
        window_add(&window, 10, i);
    }
    assert_true(window_full(&policy, &window));
    assert_int_equal(window_due(&policy, &window), CLOCK_NEVER);
    window_take(&window, 10);
    assert_false(window_full(&policy, &window));
    assert_int_equal(window.size, 20);
}

static void a_window_is_full_by_size(void **state)
{
    (void)state;
    const struct window_policy policy = {.size = 100};
    struct window window = {.count = 0};
    assert_true(window_fits(&policy, &window, 1000)); /* alone */
    window_add(&window, 60, 0);
    assert_false(window_full(&policy, &window));
    assert_true(window_fits(&policy, &window, 40));
    assert_false(window_fits(&policy, &window, 41));
    assert_false(window_fits(&policy, &window, UINT64_MAX));
    window_add(&window, 40, 0);
    assert_true(window_full(&policy, &window));
}

static void a_window_ends_so_long_after_its_first(void **state)
{
    (void)state;
    const struct window_policy policy = {.duration = 1000};
    const struct window_policy forever = {.duration = INT64_MAX};
    struct window window = {.count = 0};
    assert_int_equal(window_due(&policy, &window), CLOCK_NEVER);
    window_add(&window, 1, 500);
    window_add(&window, 1, 900);
    assert_int_equal(window_due(&policy, &window), 1500);
    assert_int_equal(window_due(&forever, &window), CLOCK_NEVER);
    assert_false(window_full(&policy, &window));
    window_take(&window, 1);
    window_take(&window, 1);
    window_add(&window, 1, 2000);
    assert_int_equal(window_due(&policy, &window), 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_is_full_by_count),
        cmocka_unit_test(a_window_is_full_by_size),
        cmocka_unit_test(a_window_ends_so_long_after_its_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
