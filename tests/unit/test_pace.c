/* Even rates, without a clock. */
#include "cli/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* How many events pass until END (microseconds) when the owner comes every GAP, and as often as it may. */
static unsigned passed(struct pace *pace, int64_t begin, int64_t end, int64_t gap)
{
    unsigned events = 0;
    for (int64_t now = begin; now < end; now += gap) {
        int64_t due = INT64_MAX;
        while (pace_ready(pace, now, &due)) {
            pace_take(pace, now);
            events++;
        }
        assert_true(due > now);
    }
    return events;
}

static void test_rate_is_kept(void **state)
{
    (void)state;
    struct pace pace = pace_of(100, 1000);
    assert_in_range(passed(&pace, 1000, 1000 + 1000000, 500), 99, 101);
    pace = pace_of(250000, 0);
    assert_in_range(passed(&pace, 0, 1000000, 1000), 249000, 251500);
}

static void test_due_is_the_next_event(void **state)
{
    (void)state;
    struct pace pace = pace_of(10, 0);
    int64_t due = INT64_MAX;
    assert_true(pace_ready(&pace, 0, &due));
    pace_take(&pace, 0);
    assert_false(pace_ready(&pace, 0, &due));
    assert_in_range(due, 100000, 100001);
    assert_true(pace_ready(&pace, due, &due));
    int64_t earlier = 50;
    assert_false(pace_ready(&pace, 0, &earlier));
    assert_int_equal(earlier, 50);
}

static void test_a_pause_is_not_caught_up(void **state)
{
    (void)state;
    struct pace pace = pace_of(1000, 0);
    assert_in_range(passed(&pace, 0, 100000, 1000), 99, 101);
    /* A minute of silence, then at most what belongs to the burst. */
    assert_in_range(passed(&pace, 60000000, 60000001, 1), 50, 52);
}

static void test_without_a_limit(void **state)
{
    (void)state;
    struct pace pace = pace_of(0, 0);
    int64_t due = INT64_MAX;
    for (int i = 0; i < 1000; i++) {
        assert_true(pace_ready(&pace, 0, &due));
        pace_take(&pace, 0);
    }
    assert_int_equal(due, INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate_is_kept),
        cmocka_unit_test(test_due_is_the_next_event),
        cmocka_unit_test(test_a_pause_is_not_caught_up),
        cmocka_unit_test(test_without_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
