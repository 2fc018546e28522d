#include "policy/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { MS = 1000, MINUTE = 60 * 1000 * 1000 };

static int64_t plain(enum backoff kind, uint32_t attempt)
{
    return backoff_delay(kind, 100 * MS, MINUTE, 0, attempt, 12345);
}

static void each_kind_grows_as_it_says(void **state)
{
    (void)state;
    static const int64_t exponential[] = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000};
    for (uint32_t i = 0; i < sizeof exponential / sizeof *exponential; i++) {
        assert_int_equal(plain(BACKOFF_EXPONENTIAL, i + 1), exponential[i] * MS);
        assert_int_equal(plain(BACKOFF_LINEAR, i + 1), (i + 1) * 100 * MS);
        assert_int_equal(plain(BACKOFF_NONE, i + 1), 100 * MS);
    }
    assert_int_equal(plain(BACKOFF_LINEAR, 600), MINUTE);
    assert_int_equal(plain(BACKOFF_LINEAR, 601), MINUTE);
}

static void nothing_overflows(void **state)
{
    (void)state;
    assert_int_equal(plain(BACKOFF_EXPONENTIAL, UINT32_MAX), MINUTE);
    assert_int_equal(plain(BACKOFF_LINEAR, UINT32_MAX), MINUTE);
    assert_int_equal(backoff_delay(BACKOFF_EXPONENTIAL, INT64_MAX / 2 + 1, INT64_MAX, 0, 9, 0), INT64_MAX);
    assert_int_equal(backoff_delay(BACKOFF_LINEAR, INT64_MAX / 2 + 1, INT64_MAX, 0, 9, 0), INT64_MAX);
    assert_int_equal(backoff_delay(BACKOFF_NONE, INT64_MAX, 0, 1, 9, UINT64_MAX), INT64_MAX);
    assert_int_equal(backoff_delay(BACKOFF_EXPONENTIAL, 1, INT64_MAX, 0, UINT32_MAX, 0), INT64_MAX);
    assert_int_equal(backoff_delay(BACKOFF_EXPONENTIAL, 0, MINUTE, 0.2, UINT32_MAX, 7), 0);
}

/* An attempt that nobody counted is the first. */
static void attempt_zero_is_the_first(void **state)
{
    (void)state;
    for (enum backoff kind = BACKOFF_EXPONENTIAL; kind <= BACKOFF_NONE; kind++)
        assert_int_equal(plain(kind, 0), plain(kind, 1));
}

static void jitter_spreads_and_keeps_the_bounds(void **state)
{
    (void)state;
    assert_int_equal(backoff_delay(BACKOFF_EXPONENTIAL, 1000, MINUTE, 0.2, 1, 0), 800);
    assert_int_equal(backoff_delay(BACKOFF_EXPONENTIAL, 1000, MINUTE, 0.2, 1, UINT64_C(1) << 63), 1000);
    assert_int_equal(backoff_delay(BACKOFF_EXPONENTIAL, 1000, MINUTE, 0.2, 1, UINT64_MAX), 1200);
    assert_int_equal(backoff_delay(BACKOFF_NONE, 1000, 0, 0.2, 1, UINT64_MAX), 1200); /* MAX is not for it */
    /* At the maximum it only gets shorter, and what comes out is not all the same. */
    assert_int_equal(backoff_delay(BACKOFF_EXPONENTIAL, 1000, MINUTE, 0.2, 40, 0), MINUTE / 5 * 4);
    assert_in_range(backoff_delay(BACKOFF_EXPONENTIAL, 1000, MINUTE, 0.2, 40, UINT64_MAX), MINUTE - 1, MINUTE);
    assert_in_range(backoff_delay(BACKOFF_EXPONENTIAL, 1000, MINUTE, 0.2, 40, UINT64_C(1) << 63), MINUTE / 10 * 9 - 1,
                    MINUTE / 10 * 9 + 1);
    assert_int_equal(backoff_delay(BACKOFF_EXPONENTIAL, 1000, MINUTE, 1, 1, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_grows_as_it_says),
        cmocka_unit_test(nothing_overflows),
        cmocka_unit_test(attempt_zero_is_the_first),
        cmocka_unit_test(jitter_spreads_and_keeps_the_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
