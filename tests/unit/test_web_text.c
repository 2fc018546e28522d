/* Prometheus' text format: what is escaped, how numbers are written, and that histograms are cumulative. */
#include "web/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct text text;

static int set_up(void **state)
{
    (void)state;
    text = (struct text){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    text_free(&text);
    return 0;
}

static void assert_written(const char *wanted)
{
    assert_int_equal(text.error, MP_OK);
    assert_int_equal(buffer_append(&text.out, "", 1), MP_OK);
    assert_string_equal((const char *)text.out.data, wanted);
    text.out.size = 0;
}

static void a_family_has_help_and_type(void **state)
{
    (void)state;
    text_family(&text, "a_total", "counter", "What \"is\" C:\\\nand more.");
    assert_written("# HELP a_total What \"is\" C:\\\\\\nand more.\n# TYPE a_total counter\n");
}

static void label_values_are_escaped(void **state)
{
    (void)state;
    text_label(&text, "a", "q\"b\\n\nü");
    text_label(&text, "b", "");
    text_number(&text, "x", 1);
    assert_written("x{a=\"q\\\"b\\\\n\\nü\",b=\"\"} 1\n");
    text_no_labels(&text);
    text_number(&text, "x", 0);
    assert_written("x 0\n");
}

static void labels_come_and_go(void **state)
{
    (void)state;
    text_label(&text, "a", "1");
    size_t mark = text_mark(&text);
    text_label(&text, "b", "2");
    text_number(&text, "x", 1);
    text_return(&text, mark);
    text_number(&text, "x", 2);
    assert_written("x{a=\"1\",b=\"2\"} 1\nx{a=\"1\"} 2\n");
}

static void numbers_are_whole(void **state)
{
    (void)state;
    text_number(&text, "x", UINT64_MAX);
    assert_written("x 18446744073709551615\n");
}

static void seconds_are_exact(void **state)
{
    (void)state;
    static const struct {
        int64_t microseconds;
        const char *wanted;
    } all[] = {{0, "x 0\n"},
               {1, "x 0.000001\n"},
               {1500000, "x 1.5\n"},
               {60000000, "x 60\n"},
               {-1000001, "x -1.000001\n"},
               {1795232284007816, "x 1795232284.007816\n"},
               {INT64_MIN, "x -9223372036854.775808\n"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        text_seconds(&text, "x", all[i].microseconds);
        assert_written(all[i].wanted);
    }
}

/* The number behind the sample whose line begins with BEGIN. */
static unsigned long long sample(const char *begin)
{
    const char *at = strstr((const char *)text.out.data, begin);
    assert_non_null(at);
    return strtoull(at + strlen(begin), NULL, 10);
}

static void histograms_are_cumulative(void **state)
{
    (void)state;
    struct buckets buckets = {0};
    buckets_add(&buckets, buckets_wait, 100, 2); /* as long as the first bound: in it */
    buckets_add(&buckets, buckets_wait, 101, 3);
    buckets_add(&buckets, buckets_wait, 2000000, 5);
    buckets_add(&buckets, buckets_wait, INT64_C(20000) * 1000000, 7); /* beyond all bounds */
    buckets_add(&buckets, buckets_wait, -1, 1);
    assert_int_equal(buckets_count(&buckets), 18);
    text_label(&text, "t", "a");
    text_buckets(&text, "x", &buckets, buckets_wait);
    assert_int_equal(buffer_append(&text.out, "", 1), MP_OK);
    assert_int_equal(sample("x_bucket{t=\"a\",le=\"0.0001\"} "), 3);
    assert_int_equal(sample("x_bucket{t=\"a\",le=\"0.0003\"} "), 6);
    assert_int_equal(sample("x_bucket{t=\"a\",le=\"1\"} "), 6);
    assert_int_equal(sample("x_bucket{t=\"a\",le=\"3\"} "), 11);
    assert_int_equal(sample("x_bucket{t=\"a\",le=\"10000\"} "), 11);
    assert_int_equal(sample("x_bucket{t=\"a\",le=\"+Inf\"} "), 18);
    assert_int_equal(sample("x_count{t=\"a\"} "), 18);
    assert_non_null(strstr((const char *)text.out.data, "x_sum{t=\"a\"} 140010.000503\n"));
    assert_int_equal(text.labels.size, strlen("t=\"a\""));
}

static void bounds_ascend(void **state)
{
    (void)state;
    for (unsigned i = 1; i < BUCKETS; i++) {
        assert_true(buckets_wait[i] > buckets_wait[i - 1]);
        assert_true(buckets_turn[i] > buckets_turn[i - 1]);
    }
}

int main(void)
{
#define WRITTEN(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WRITTEN(a_family_has_help_and_type),
        WRITTEN(label_values_are_escaped),
        WRITTEN(labels_come_and_go),
        WRITTEN(numbers_are_whole),
        WRITTEN(seconds_are_exact),
        WRITTEN(histograms_are_cumulative),
        WRITTEN(bounds_ascend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
