/* Waking the loop. That a sleeping machine's time counts can only be tried on one that sleeps. */
#include "relay/alarm.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

enum { PATIENCE = 20 }; /* seconds */

static struct event_base *base;
static struct alarm *alarm_of_test;

static void too_late(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    *(bool *)context = true;
}

/* Waits until the loop is woken; how long that took, at PATIENCE seconds -1. */
static int64_t wait_for_it(void)
{
    bool late = false;
    struct timeval patience = {.tv_sec = PATIENCE};
    struct event *guard = event_new(base, -1, 0, too_late, &late);
    assert_non_null(guard);
    assert_int_equal(event_add(guard, &patience), 0);
    int64_t begun = clock_monotonic();
    assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
    int64_t took = clock_monotonic() - begun;
    event_free(guard);
    return late ? -1 : took;
}

static int set_up(void **state)
{
    (void)state;
    base = event_base_new();
    return base && alarm_new(base, &alarm_of_test, NULL) == MP_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    alarm_free(alarm_of_test);
    event_base_free(base);
    return 0;
}

static void it_wakes_at_its_time_and_not_before(void **state)
{
    (void)state;
    int64_t time = clock_monotonic() + 30000;
    alarm_set(alarm_of_test, time);
    assert_true(wait_for_it() >= 0);
    assert_true(clock_monotonic() >= time - 1000); /* a loop's own timer counts milliseconds */
}

static void a_time_that_has_passed_is_now(void **state)
{
    const int64_t past[] = {0, -5, 1, 999};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        alarm_set(alarm_of_test, i == 3 ? clock_monotonic() - 1 : past[i]);
        assert_in_range(wait_for_it(), 0, PATIENCE * 1000000);
    }
    /* Again the same: what has rung can be set again. */
    alarm_set(alarm_of_test, 1);
    assert_in_range(wait_for_it(), 0, PATIENCE * 1000000);
}

static void the_last_time_counts(void **state)
{
    (void)state;
    alarm_set(alarm_of_test, clock_monotonic() + INT64_C(3600000000));
    alarm_set(alarm_of_test, clock_monotonic() + 1000);
    assert_in_range(wait_for_it(), 0, PATIENCE * 1000000);
    /* What was to ring and is taken back does not. */
    alarm_set(alarm_of_test, clock_monotonic() - 1);
    alarm_set(alarm_of_test, CLOCK_NEVER);
    assert_int_equal(event_base_loop(base, EVLOOP_NONBLOCK), 0);
    int64_t time = clock_monotonic() + 20000;
    alarm_set(alarm_of_test, time);
    assert_true(wait_for_it() >= 0);
    assert_true(clock_monotonic() >= time - 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_wakes_at_its_time_and_not_before),
        cmocka_unit_test(a_time_that_has_passed_is_now),
        cmocka_unit_test(the_last_time_counts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
