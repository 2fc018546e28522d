/* When a circuit breaker opens, tries and closes. */
#include "base/clock.h"
#include "policy/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct breaker begin(unsigned failures, int64_t interval, int64_t open)
{
    const struct breaker_settings settings = {failures, interval, open};
    struct breaker breaker;
    assert_int_equal(breaker_init(&breaker, &settings), MP_OK);
    return breaker;
}

static bool lets(struct breaker *breaker, int64_t now)
{
    bool try;
    bool passes = breaker_lets(breaker, now, &try);
    assert_false(try && !passes);
    return passes;
}

static void failures_in_a_row_open_it(void **state)
{
    (void)state;
    struct breaker breaker = begin(3, 0, 100);
    breaker_ended(&breaker, 1, false, false);
    breaker_ended(&breaker, 2, false, false);
    breaker_ended(&breaker, 3, true, false);
    breaker_ended(&breaker, 4, false, false);
    breaker_ended(&breaker, 5, false, false);
    assert_true(lets(&breaker, 5));
    breaker_ended(&breaker, 6, false, false);
    assert_false(lets(&breaker, 6));
    assert_int_equal(breaker_due(&breaker), 106);
    assert_false(lets(&breaker, 105));
}

static void failures_within_an_interval_open_it_whatever_succeeds(void **state)
{
    (void)state;
    struct breaker breaker = begin(3, 50, 100);
    breaker_ended(&breaker, 0, false, false);
    breaker_ended(&breaker, 20, false, false);
    breaker_ended(&breaker, 30, true, false);
    breaker_ended(&breaker, 60, false, false); /* the first is too old */
    assert_true(lets(&breaker, 60));
    breaker_ended(&breaker, 70, false, false); /* 20, 60, 70 */
    assert_false(lets(&breaker, 70));
    breaker_free(&breaker);
}

static void one_tries_and_closes_it(void **state)
{
    (void)state;
    struct breaker breaker = begin(1, 0, 100);
    bool try;
    breaker_ended(&breaker, 0, false, false);
    assert_int_equal(breaker_state(&breaker, 99), BREAKER_OPEN);
    assert_true(breaker_lets(&breaker, 100, &try));
    assert_true(try);
    assert_false(lets(&breaker, 100));         /* one only */
    breaker_ended(&breaker, 110, true, false); /* a straggler from before does not count */
    assert_int_equal(breaker_state(&breaker, 110), BREAKER_TRYING);
    breaker_ended(&breaker, 120, true, true);
    assert_int_equal(breaker_state(&breaker, 120), BREAKER_CLOSED);
    assert_int_equal(breaker_due(&breaker), CLOCK_NEVER);
    assert_true(lets(&breaker, 120));
}

static void one_that_tries_and_fails_keeps_it_open(void **state)
{
    (void)state;
    struct breaker breaker = begin(1, 0, 100);
    bool try;
    breaker_ended(&breaker, 0, false, false);
    assert_true(breaker_lets(&breaker, 150, &try));
    breaker_ended(&breaker, 160, false, true);
    assert_int_equal(breaker_due(&breaker), 260);
    assert_false(lets(&breaker, 259));
    assert_true(lets(&breaker, 260));
}

static void one_that_was_not_begun_leaves_it_to_the_next(void **state)
{
    (void)state;
    struct breaker breaker = begin(1, 0, 100);
    bool try;
    breaker_ended(&breaker, 0, false, false);
    assert_true(breaker_lets(&breaker, 100, &try));
    breaker_not_tried(&breaker);
    assert_true(breaker_lets(&breaker, 101, &try));
    assert_true(try);
}

static void a_time_without_end_does_not_overflow(void **state)
{
    (void)state;
    struct breaker breaker = begin(1, 0, INT64_MAX);
    breaker_ended(&breaker, 1000, false, false);
    assert_false(lets(&breaker, INT64_MAX / 2));
}

static void no_failures_are_no_setting(void **state)
{
    (void)state;
    const struct breaker_settings none = {0, 0, 1}, many = {BREAKER_FAILURES_MAX + 1, 0, 1};
    struct breaker breaker;
    assert_int_equal(breaker_init(&breaker, &none), MP_ERR_INVALID);
    assert_int_equal(breaker_init(&breaker, &many), MP_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row_open_it),
        cmocka_unit_test(failures_within_an_interval_open_it_whatever_succeeds),
        cmocka_unit_test(one_tries_and_closes_it),
        cmocka_unit_test(one_that_tries_and_fails_keeps_it_open),
        cmocka_unit_test(one_that_was_not_begun_leaves_it_to_the_next),
        cmocka_unit_test(a_time_without_end_does_not_overflow),
        cmocka_unit_test(no_failures_are_no_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
