/* Rate limits, without a clock. */
#include "policy/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)

/* How many events pass from BEGIN to END when the owner comes as often as it is told to, and takes all it may. */
static uint64_t passed(struct rate *rate, double per_second, int64_t begin, int64_t end, unsigned *calls)
{
    uint64_t events = 0;
    unsigned count = 0;
    for (int64_t now = begin; now < end; count++) {
        uint64_t left = rate_left(rate, per_second, now);
        events += left;
        rate_take(rate, per_second, left, now);
        int64_t due = rate_due(rate, per_second, now);
        assert_true(due > now);
        /* Not before, and then surely. */
        if (due - 2 > now && left > 0)
            assert_true((double)rate_left(rate, per_second, due - 2) < (per_second < 40 ? 1 : per_second / 20));
        assert_true(rate_left(rate, per_second, due) > 0);
        now = due;
    }
    if (calls)
        *calls = count;
    return events;
}

static void test_the_rate_is_kept_on_the_long_run(void **state)
{
    (void)state;
    static const double rates[] = {0.5, 1, 7, 40, 1000, 123456.7, 5e6, 1e9};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct rate rate = {0};
        double wanted = rates[i] * 100;
        double got = (double)passed(&rate, rates[i], 5 * SECOND, 105 * SECOND, NULL);
        assert_true(got >= wanted - rates[i] / 20 - 1);
        assert_true(got <= wanted + rates[i] / 10 + 1);
    }
}

static void test_high_rates_come_in_portions(void **state)
{
    (void)state;
    struct rate rate = {0};
    unsigned calls;
    passed(&rate, 1e6, 0, 10 * SECOND, &calls);
    assert_in_range(calls, 100, 210);
    rate = (struct rate){0};
    passed(&rate, 10, 20 * SECOND, 30 * SECOND, &calls);
    assert_in_range(calls, 98, 102); /* evenly */
}

static void test_a_pause_is_not_made_up_for(void **state)
{
    (void)state;
    struct rate rate = {0};
    assert_int_equal(rate_left(&rate, 1000, 0), 100);
    rate_take(&rate, 1000, 100, 0);
    assert_int_equal(rate_left(&rate, 1000, 0), 0);
    assert_int_equal(rate_left(&rate, 1000, 10000), 10);
    assert_int_equal(rate_left(&rate, 1000, 3600 * SECOND), 100);
}

static void test_what_cannot_be_divided_is_made_up_for(void **state)
{
    (void)state;
    struct rate rate = {0};
    /* A frame of 65,536 messages at a thousand a second: more than a minute until the next. */
    rate_take(&rate, 1000, 65536, 0);
    assert_int_equal(rate_left(&rate, 1000, 0), 0);
    assert_in_range(rate_due(&rate, 1000, 0), 65486 * 1000, 65486 * 1000 + 1);
    assert_int_equal(rate_left(&rate, 1000, 65436 * 1000 - 1), 0);
    assert_int_equal(rate_left(&rate, 1000, 65437 * 1000), 1);
    /* A rate that is raised meanwhile makes up for it sooner. */
    assert_int_equal(rate_left(&rate, 65536, SECOND), 6553);
}

static void test_slow_rates_let_one_pass(void **state)
{
    (void)state;
    struct rate rate = {0};
    const double daily = 10.0 / 86400;
    assert_int_equal(rate_left(&rate, daily, 0), 1);
    rate_take(&rate, daily, 1, 0);
    assert_in_range(rate_due(&rate, daily, 0), 8640 * SECOND, 8640 * SECOND + 1);
    assert_int_equal(rate_left(&rate, daily, 8639 * SECOND), 0);
    assert_int_equal(rate_left(&rate, daily, 8640 * SECOND), 1);
}

static void test_without_a_limit(void **state)
{
    (void)state;
    struct rate rate = {0};
    rate_take(&rate, 0, 1000000, 5);
    assert_true(rate_left(&rate, 0, 5) == UINT64_MAX);
    assert_int_equal(rate_due(&rate, 0, 5), 5);
    /* A limit that is set then begins with an empty bucket. */
    assert_int_equal(rate_left(&rate, 50, 5), 5);
}

static void test_extremes(void **state)
{
    (void)state;
    struct rate rate = {0};
    rate_take(&rate, 1e-9, UINT64_MAX, 0);
    assert_int_equal(rate_due(&rate, 1e-9, 0), INT64_C(36525) * 86400 * SECOND);
    assert_int_equal(rate_left(&rate, 1e-9, INT64_MAX), 0);
    /* A clock that falls stands still, and gives nothing twice. */
    struct rate other = {0};
    rate_take(&other, 10, 1, 50 * SECOND);
    assert_int_equal(rate_left(&other, 10, 0), 0);
    assert_true(rate_due(&other, 10, 0) >= 50 * SECOND);
    rate_take(&other, 10, 1, 0);
    assert_int_equal(rate_left(&other, 10, 50 * SECOND + 100000), 0);
    assert_int_equal(rate_left(&other, 10, 50 * SECOND + 200000), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_rate_is_kept_on_the_long_run),
        cmocka_unit_test(test_high_rates_come_in_portions),
        cmocka_unit_test(test_a_pause_is_not_made_up_for),
        cmocka_unit_test(test_what_cannot_be_divided_is_made_up_for),
        cmocka_unit_test(test_slow_rates_let_one_pass),
        cmocka_unit_test(test_without_a_limit),
        cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
