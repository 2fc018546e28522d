/* runner/source_tick.h: ticks, missed ones, and clocks that jump. */
#include "runner/source_tick.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const int64_t second = 1000000;
static const int64_t minute = 60000000;
static const int64_t hour = 3600 * (int64_t)1000000;

/* "cron": each full multiple of the minutes that CRON points to. */
static int64_t next_multiple(const void *cron, int64_t wall)
{
    int64_t step = *(const int64_t *)cron * minute;
    return (wall / step + 1) * step;
}

static int64_t never(const void *cron, int64_t wall)
{
    (void)cron;
    (void)wall;
    return CLOCK_NEVER;
}

static void expect(struct source_tick *tick, int64_t now, int64_t wall, bool comes, int64_t at, uint64_t missed)
{
    int64_t when;
    uint64_t count;
    assert_int_equal(source_tick_look(tick, now, wall, &when, &count), comes);
    assert_int_equal(count, missed);
    if (comes)
        assert_int_equal(when, at);
}

static void every_comes_at_once_and_each_interval(void **state)
{
    (void)state;
    struct source_tick tick = {.every = 10 * second};
    int64_t now = 5 * hour;
    int64_t wall = 100 * hour;
    source_tick_begin(&tick, 0, now, wall);
    expect(&tick, now, wall, true, wall, 0);
    expect(&tick, now, wall, false, 0, 0);
    assert_int_equal(source_tick_due(&tick, now, wall), now + 10 * second);
    expect(&tick, now + 10 * second - 1, wall, false, 0, 0);
    expect(&tick, now + 10 * second + 3, wall + 3, true, wall + 3, 0); /* a little late: the grid stays */
    expect(&tick, now + 20 * second, wall, true, wall, 0);
}

static void every_does_not_heed_the_wall_clock(void **state)
{
    (void)state;
    struct source_tick tick = {.every = 10 * second};
    source_tick_begin(&tick, 0, 0, 100 * hour);
    expect(&tick, 0, 100 * hour, true, 100 * hour, 0);
    expect(&tick, 1, 200 * hour, false, 0, 0);
    expect(&tick, 10 * second, 50 * hour, true, 50 * hour, 0);
}

static void every_makes_up_for_one_that_was_missed(void **state)
{
    (void)state;
    struct source_tick tick = {.every = 10 * second};
    source_tick_begin(&tick, 0, 0, 0);
    expect(&tick, 0, 0, true, 0, 0);
    expect(&tick, 45 * second, 0, true, 0, 3); /* 10, 20 and 30; for 40 there is this one */
    expect(&tick, 49 * second, 0, false, 0, 0);
    expect(&tick, 50 * second, 0, true, 0, 0);
}

static void every_waits_for_its_interval_after_a_restart(void **state)
{
    (void)state;
    struct source_tick tick = {.every = hour};
    source_tick_begin(&tick, 100 * hour, 7, 100 * hour + 10 * minute);
    expect(&tick, 7, 100 * hour + 10 * minute, false, 0, 0);
    assert_int_equal(source_tick_due(&tick, 7, 0), 7 + 50 * minute);
    source_tick_begin(&tick, 100 * hour, 7, 102 * hour);
    expect(&tick, 7, 102 * hour, true, 102 * hour, 0);
    source_tick_begin(&tick, 100 * hour, 7, 50 * hour); /* the clock was set back */
    assert_int_equal(source_tick_due(&tick, 7, 0), 7 + hour);
}

static void cron_comes_when_it_is_time(void **state)
{
    (void)state;
    int64_t five = 5;
    struct source_tick tick = {.next = next_multiple, .cron = &five};
    int64_t wall = 1000 * hour + 4 * minute;
    source_tick_begin(&tick, 0, 0, wall);
    expect(&tick, 0, wall, false, 0, 0);
    assert_int_equal(source_tick_due(&tick, 9, wall), 9 + 30 * second);
    assert_int_equal(source_tick_due(&tick, 9, wall + minute - second), 9 + second);
    assert_int_equal(source_tick_due(&tick, 9, wall + 2 * minute), 9);
    expect(&tick, 0, wall + minute, true, 1000 * hour + 5 * minute, 0);
    expect(&tick, 0, wall + minute + 1, false, 0, 0);
    expect(&tick, 0, wall + 6 * minute + 59 * second, true, 1000 * hour + 10 * minute, 0);
}

static void cron_leaves_out_what_is_late(void **state)
{
    (void)state;
    int64_t five = 5;
    struct source_tick tick = {.next = next_multiple, .cron = &five};
    source_tick_begin(&tick, 0, 0, 1000 * hour);
    expect(&tick, 0, 1000 * hour + 12 * minute, false, 0, 2); /* 5 and 10 */
    expect(&tick, 0, 1000 * hour + 15 * minute, true, 1000 * hour + 15 * minute, 0);
    expect(&tick, 0, 1000 * hour + 30 * minute, true, 1000 * hour + 30 * minute, 2);
}

static void cron_brings_no_tick_twice_when_the_clock_is_set_back_a_little(void **state)
{
    (void)state;
    int64_t five = 5;
    struct source_tick tick = {.next = next_multiple, .cron = &five};
    source_tick_begin(&tick, 0, 0, 1000 * hour);
    expect(&tick, 0, 1000 * hour + 5 * minute, true, 1000 * hour + 5 * minute, 0);
    expect(&tick, 0, 999 * hour, false, 0, 0);
    expect(&tick, 0, 1000 * hour, false, 0, 0);
    expect(&tick, 0, 1000 * hour + 5 * minute, false, 0, 0);
    expect(&tick, 0, 1000 * hour + 10 * minute, true, 1000 * hour + 10 * minute, 0);
    /* By more than three hours: it was wrong. */
    expect(&tick, 0, 500 * hour, false, 0, 0);
    expect(&tick, 0, 500 * hour + 5 * minute, true, 500 * hour + 5 * minute, 0);
}

static void cron_may_never_come(void **state)
{
    (void)state;
    struct source_tick tick = {.next = never};
    source_tick_begin(&tick, 0, 0, 1000 * hour);
    expect(&tick, 0, 1001 * hour, false, 0, 0);
    assert_int_equal(source_tick_due(&tick, 9, 1001 * hour), 9 + 30 * second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_comes_at_once_and_each_interval),
        cmocka_unit_test(every_does_not_heed_the_wall_clock),
        cmocka_unit_test(every_makes_up_for_one_that_was_missed),
        cmocka_unit_test(every_waits_for_its_interval_after_a_restart),
        cmocka_unit_test(cron_comes_when_it_is_time),
        cmocka_unit_test(cron_leaves_out_what_is_late),
        cmocka_unit_test(cron_brings_no_tick_twice_when_the_clock_is_set_back_a_little),
        cmocka_unit_test(cron_may_never_come),
    };
    return cmocka_run_group_tests_name("source_tick", tests, NULL, NULL);
}
