/* Quantiles of a histogram. */
#include "base/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void an_empty_one_knows_nothing(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    for (int value = 1; value <= 10; value++) {
        histogram_add(&histogram, value % 8, 1);
    }
    assert_int_equal(histogram.count, 10);
    assert_int_equal(histogram_quantile(&histogram, 0.1), 0);
    assert_int_equal(histogram_quantile(&histogram, 1), 7);
}

static void quantiles_are_within_an_eighth(void **state)
{
    (void)state;
    for (int64_t scale = 1; scale < INT64_C(1) << 28; scale *= 7) {
        struct histogram histogram = {0};
        for (int64_t value = 1; value <= 1000; value++) {
            histogram_add(&histogram, value * scale, 1);
        }
        const double shares[] = {0.01, 0.5, 0.99, 1};
        for (unsigned i = 0; i < 4; i++) {
            double truth = shares[i] * 1000 * (double)scale;
            double said = (double)histogram_quantile(&histogram, shares[i]);
            assert_true(said >= truth - 0.5);
            assert_true(said <= truth * 1.125 + 1);
        }
    }
}

static void values_out_of_range_count_at_the_ends(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    histogram_add(&histogram, -5, 1);
    assert_int_equal(histogram_quantile(&histogram, 1), 0);
    histogram_add(&histogram, INT64_MAX, 1);
    assert_true(histogram_quantile(&histogram, 1) >= INT64_C(1) << 41);
}

static void a_full_cell_fades(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    histogram_add(&histogram, 3, UINT32_MAX);
    histogram_add(&histogram, 3, UINT32_MAX);
    assert_true(histogram.count >= UINT32_MAX);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 3);
}

static void what_is_new_weighs_more(void **state)
{
    (void)state;
    struct histogram histogram = {0};
    histogram_add(&histogram, 1, 1000);
    for (int i = 0; i < 4; i++) {
        histogram_fade(&histogram);
    }
    histogram_add(&histogram, 7, 100);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_one_knows_nothing),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(quantiles_are_within_an_eighth),
        cmocka_unit_test(values_out_of_range_count_at_the_ends),
        cmocka_unit_test(a_full_cell_fades),
        cmocka_unit_test(what_is_new_weighs_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
