/* base/units.h and base/clock.h */
#include "base/units.h"

#include "base/clock.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void assert_duration(const char *text, int64_t expected)
{
    int64_t found = -1;

    assert_int_equal(units_duration(text, &found, NULL), MP_OK);
    assert_true(found == expected);
}

static void durations_are_read(void **state)
{
    (void)state;
    assert_duration("0", 0);
    assert_duration("5", 5000000);
    assert_duration("1.5", 1500000);
    assert_duration("20us", 20);
    assert_duration("20µs", 20);
    assert_duration("500ms", 500000);
    assert_duration("5s", 5000000);
    assert_duration("1.5s", 1500000);
    assert_duration("0.000001s", 1);
    assert_duration("0.0000019s", 1);
    assert_duration("1m", 60000000);
    assert_duration("2h", INT64_C(7200000000));
    assert_duration("7d", INT64_C(604800000000));
    assert_duration("1h30m", INT64_C(5400000000));
    assert_duration("1m30s500ms", 90500000);
    assert_duration("36525d", UNITS_DURATION_MAX);
}

static void wrong_durations_name_the_text_and_a_right_one(void **state)
{
    static const char *const wrong[] = {
        "",   "5x",   "s",    "-5s", "+5s",   "5 s",  "5s ",  "1.s", ".5s", "1.5.5s", "5ss",
        "5S", "1e3s", "0x5s", "5s3", "30m1h", "1s1s", "5,5s", "١s",  "nan", "inf",    "ms",
    };
    static const char *const large[] = {
        "36525.1d",
        "36526d",
        "36525d1us",
        "99999999999999999999s",
        "18446744073709551616",
        "18446744073709551615d",
        "307445734561825861m",
    };
    struct fault fault;
    int64_t found = 77;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(units_duration(wrong[i], &found, &fault), MP_ERR_INVALID);
        assert_non_null(strstr(fault.text, "is not a duration: write 500ms, 5s, 1m, 2h or 7d"));
    }
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        assert_int_equal(units_duration(large[i], &found, &fault), MP_ERR_INVALID);
        assert_non_null(strstr(fault.text, "is too long a duration: at most 36525d"));
    }
    assert_true(found == 77);
    assert_int_equal(units_duration("5x", &found, &fault), MP_ERR_INVALID);
    assert_string_equal(fault.text, "'5x' is not a duration: write 500ms, 5s, 1m, 2h or 7d");
}

static void assert_size(const char *text, uint64_t expected)
{
    uint64_t found = 1;

    assert_int_equal(units_size(text, &found, NULL), MP_OK);
    assert_true(found == expected);
}

static void sizes_are_read(void **state)
{
    (void)state;
    assert_size("0", 0);
    assert_size("512", 512);
    assert_size("512B", 512);
    assert_size("64KiB", 65536);
    assert_size("64K", 65536);
    assert_size("64k", 65536);
    assert_size("64kB", 64000);
    assert_size("1MiB", 1 << 20);
    assert_size("1M", 1 << 20);
    assert_size("1MB", 1000000);
    assert_size("1.5GiB", UINT64_C(1610612736));
    assert_size("1G", 1 << 30);
    assert_size("2GB", 2000000000);
    assert_size("1TiB", UINT64_C(1) << 40);
    assert_size("1TB", UINT64_C(1000000000000));
    assert_size("9223372036854775807", INT64_MAX);
}

static void wrong_sizes_name_the_text_and_a_right_one(void **state)
{
    static const char *const wrong[] = {"", "KiB", "-1", "1 KiB", "1Ki", "1X", "1KiBB", "1.K", "0x10"};
    static const char *const large[] = {"9223372036854775808", "99999999999999999999", "8388608TiB", "16777216TiB",
                                        "18446744073709551615K"};
    struct fault fault;
    uint64_t found;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(units_size(wrong[i], &found, &fault), MP_ERR_INVALID);
        assert_non_null(strstr(fault.text, "is not a size: write 512, 64KiB, 1MiB or 1GiB"));
    }
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        assert_int_equal(units_size(large[i], &found, &fault), MP_ERR_INVALID);
        assert_non_null(strstr(fault.text, "is too large a size"));
    }
}

static void numbers_are_whole_and_within_their_limits(void **state)
{
    static const char *const wrong[] = {
        "", "0", "65", "-1", "+1", "1.0", " 1", "1 ", "x", "0x1", "18446744073709551617"};
    struct fault fault;
    uint64_t found = 0;

    (void)state;
    assert_int_equal(units_number("--workers", "64", 1, 64, &found, &fault), MP_OK);
    assert_int_equal(found, 64);
    assert_int_equal(units_number("n", "18446744073709551615", 0, UINT64_MAX, &found, NULL), MP_OK);
    assert_true(found == UINT64_MAX);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(units_number("--workers", wrong[i], 1, 64, &found, &fault), MP_ERR_INVALID);
    units_number("--workers", "x\n", 1, 64, &found, &fault);
    assert_string_equal(fault.text, "--workers wants a whole number from 1 to 64, not 'x\\x0a'");
    units_number("--skip", "-3", 0, UINT64_MAX, &found, &fault);
    assert_string_equal(fault.text, "--skip wants a whole number, 0 or more, not '-3'");
}

static void shares_are_from_0_to_1(void **state)
{
    static const char *const wrong[] = {"", ".", "1.1", "2", "-0.1", "0.5x", "10%", "00002"};
    double share;
    (void)state;
    assert_int_equal(units_share("0.25", &share, NULL), MP_OK);
    assert_true(share > 0.249999 && share < 0.250001);
    assert_int_equal(units_share(".5", &share, NULL), MP_OK);
    assert_true(share > 0.499999 && share < 0.500001);
    assert_int_equal(units_share("1.0", &share, NULL), MP_OK);
    assert_true(share >= 1 && share <= 1);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(units_share(wrong[i], &share, NULL), MP_ERR_INVALID);
}

static void assert_rate(const char *text, double expected)
{
    double found = 0;

    assert_int_equal(units_rate(text, &found, NULL), MP_OK);
    assert_true(found > expected * 0.999999 && found < expected * 1.000001);
}

static void rates_are_events_a_second(void **state)
{
    static const char *const wrong[] = {"", "500", "/s", "500/", "500/x", "500/ s", "-1/s", "5//s"};
    static const char *const limits[] = {"0/s", "0.0000001/s", "1000000001/s", "99999999999999999999/s"};
    struct fault fault;
    double found;

    (void)state;
    assert_rate("500/s", 500);
    assert_rate("0.5/s", 0.5);
    assert_rate("30/m", 0.5);
    assert_rate("7200/h", 2);
    assert_rate("86400/d", 1);
    assert_rate("1000000000/s", 1e9);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(units_rate(wrong[i], &found, &fault), MP_ERR_INVALID);
        assert_non_null(strstr(fault.text, "is not a rate: write 500/s, 30/m or 7200/h"));
    }
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        assert_int_equal(units_rate(limits[i], &found, &fault), MP_ERR_INVALID);
        assert_non_null(strstr(fault.text, "is no possible rate"));
    }
}

static void assert_time(const char *text, int64_t expected)
{
    int64_t found = -1;

    assert_int_equal(units_time(text, &found, NULL), MP_OK);
    assert_true(found == expected);
}

static void times_are_read(void **state)
{
    (void)state;
    assert_time("1970-01-01T00:00:00Z", 0);
    assert_time("2026-11-20T17:00:00Z", INT64_C(1795194000000000));
    assert_time("2026-11-20t17:00:00z", INT64_C(1795194000000000));
    assert_time("2026-11-20T17:00:00.5Z", INT64_C(1795194000500000));
    assert_time("2026-11-20T17:00:00.1234567Z", INT64_C(1795194000123456));
    assert_time("2026-11-20T18:30:00+01:30", INT64_C(1795194000000000));
    assert_time("2026-11-20T12:00:00-05:00", INT64_C(1795194000000000));
    assert_time("2024-02-29T00:00:00Z", INT64_C(1709164800000000));
    assert_time("2000-02-29T00:00:00Z", INT64_C(951782400000000));
    assert_time("1969-12-31T23:59:59.999999Z", -1);
    assert_time("2016-12-31T23:59:60Z", INT64_C(1483228800000000));
    assert_time("9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999));
    assert_time("0000-01-01T00:00:00Z", INT64_C(-62167219200000000));
    assert_time("@0", 0);
    assert_time("@1795194000", INT64_C(1795194000000000));
    assert_time("@1795194000.25", INT64_C(1795194000250000));
}

static void wrong_times_name_the_text_and_a_right_one(void **state)
{
    static const char *const wrong[] = {
        "",
        "yesterday",
        "2026-11-20",
        "2026-11-20 17:00:00Z",
        "2026-11-20T17:00Z",
        "2026-11-20T17:00:00",
        "2026-11-20T17:00:00.Z",
        "2026-11-20T17:00:00Zx",
        "2026-13-20T17:00:00Z",
        "2026-00-20T17:00:00Z",
        "2026-11-31T17:00:00Z",
        "2026-11-00T17:00:00Z",
        "2025-02-29T17:00:00Z",
        "1900-02-29T17:00:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T17:60:00Z",
        "2026-11-20T17:00:61Z",
        "2026-11-20T17:00:00+24:00",
        "2026-11-20T17:00:00+01:60",
        "2026-11-20T17:00:00+0100",
        "2026-11-20T17:00:00+01:00x",
        "26-11-20T17:00:00Z",
        "12026-11-20T17:00:00Z",
    };
    static const char *const epochs[] = {"@", "@-1", "@x", "@1x", "@1.", "@9223372036855", "@99999999999999999999"};
    struct fault fault;
    int64_t found;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(units_time(wrong[i], &found, &fault), MP_ERR_INVALID);
        assert_non_null(strstr(fault.text, "is not a time: write 2026-11-20T17:00:00Z"));
    }
    for (size_t i = 0; i < sizeof epochs / sizeof *epochs; i++) {
        assert_int_equal(units_time(epochs[i], &found, &fault), MP_ERR_INVALID);
        assert_non_null(strstr(fault.text, "after @ stand the seconds since 1970"));
    }
}

/* Writes and reads a moment of each STEP days from FROM to TO. */
static void walk_days(int64_t from, int64_t to, int64_t step)
{
    const int64_t day = INT64_C(86400000000);
    char text[UNITS_TIME_TEXT], before[UNITS_TIME_TEXT] = "";
    int64_t found;

    for (int64_t number = from; number < to; number += step) {
        int64_t moment = number * day + (number * 7919 & 0xfffffff);
        units_time_text(moment, text);
        assert_int_equal(strlen(text), 27);
        assert_true(strcmp(before, text) < 0);
        assert_int_equal(units_time(text, &found, NULL), MP_OK);
        assert_true(found == moment);
        memcpy(before, text, sizeof text);
    }
}

static void days_of_ten_thousand_years_go_there_and_back(void **state)
{
    (void)state;
    walk_days(-719528, 2932897, 29);
    walk_days(-30000, 52000, 1); /* 1887 to 2112 */
}

static void times_are_written(void **state)
{
    char text[UNITS_TIME_TEXT];

    (void)state;
    units_time_text(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000000Z");
    units_time_text(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999999Z");
    units_time_text(INT64_C(1795194000000001), text);
    assert_string_equal(text, "2026-11-20T17:00:00.000001Z");
    units_time_text(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999999Z");
    units_time_text(INT64_MIN, text);
    assert_string_equal(text, "0000-01-01T00:00:00.000000Z");
}

static void assert_size_text(uint64_t bytes, const char *expected)
{
    char text[24];

    units_size_text(bytes, text, sizeof text);
    assert_string_equal(text, expected);
}

static void assert_count_text(uint64_t count, const char *expected)
{
    char text[24];

    units_count_text(count, text, sizeof text);
    assert_string_equal(text, expected);
}

static void durations_are_written_as_they_are_read(void **state)
{
    static const char *const texts[] = {"0", "1us", "1500us", "100ms", "1s", "1500ms", "90s", "2m", "25h", "7d"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char text[24];
        int64_t duration;
        struct fault fault;
        assert_int_equal(units_duration(texts[i], &duration, &fault), MP_OK);
        units_duration_write(duration, text, sizeof text);
        assert_string_equal(text, texts[i]);
    }
}

static void assert_duration_text(int64_t microseconds, const char *expected)
{
    char text[24];

    units_duration_text(microseconds, text, sizeof text);
    assert_string_equal(text, expected);
}

static void figures_for_people_are_short(void **state)
{
    (void)state;
    assert_size_text(0, "0 B");
    assert_size_text(1023, "1023 B");
    assert_size_text(1024, "1.0 KiB");
    assert_size_text(1536, "1.5 KiB");
    assert_size_text(10239, "10 KiB");
    assert_size_text(312 * 1024, "312 KiB");
    assert_size_text((1 << 20) - 1, "1.0 MiB");
    assert_size_text((1 << 20) - 1024, "1023 KiB");
    assert_size_text(UINT64_C(1610612736), "1.5 GiB");
    assert_size_text(UINT64_MAX, "16777216 TiB");
    assert_count_text(0, "0");
    assert_count_text(999, "999");
    assert_count_text(1000, "1.0 k");
    assert_count_text(2123456, "2.1 M");
    assert_count_text(999499, "999 k");
    assert_count_text(999500, "1.0 M");
    assert_count_text(UINT64_MAX, "18446744 T");
    assert_duration_text(-5, "0 µs");
    assert_duration_text(180, "180 µs");
    assert_duration_text(1500, "1.5 ms");
    assert_duration_text(3210000, "3.2 s");
    assert_duration_text(59400000, "59 s");
    assert_duration_text(59600000, "1m 0s");
    assert_duration_text(245000000, "4m 5s");
    assert_duration_text(INT64_C(7380000000), "2h 3m");
    assert_duration_text(INT64_C(273600000000), "3d 4h");
}

static void the_clocks_run(void **state)
{
    (void)state;
    struct moment one = clock_moment(), other = clock_moment();
    assert_true(other.monotonic >= one.monotonic);
    assert_true(one.wall > INT64_C(1600000000000000)); /* 2020 */
    assert_true(clock_monotonic() >= other.monotonic);
    assert_true(clock_wall() < INT64_C(253402300800000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(wrong_durations_name_the_text_and_a_right_one),
        cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(wrong_sizes_name_the_text_and_a_right_one),
        cmocka_unit_test(numbers_are_whole_and_within_their_limits),
        cmocka_unit_test(rates_are_events_a_second),
        cmocka_unit_test(shares_are_from_0_to_1),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(wrong_times_name_the_text_and_a_right_one),
        cmocka_unit_test(days_of_ten_thousand_years_go_there_and_back),
        cmocka_unit_test(times_are_written),
        cmocka_unit_test(figures_for_people_are_short),
        cmocka_unit_test(durations_are_written_as_they_are_read),
        cmocka_unit_test(the_clocks_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
