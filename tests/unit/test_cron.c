#include "policy/cron.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Rules instead of names of zones: they need no tables on the machine. */
static const char utc[] = "UTC0";
static const char berlin[] = "CET-1CEST,M3.5.0,M10.5.0/3";
static const char lord_howe[] = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"; /* half an hour, at two in the morning */
static const char santiago[] = "<-04>4<-03>,M9.1.6/24,M4.1.6/24";       /* midnight is skipped */

static void zone(const char *name)
{
    assert_int_equal(setenv("TZ", name, 1), 0);
    tzset();
}

static struct cron cron_of(const char *text)
{
    struct cron cron;
    struct fault fault;
    if (cron_parse(text, &cron, &fault) != MP_OK)
        fail_msg("%s", fault.text);
    return cron;
}

/* "2026-11-20 17:00" in local time, the first or, with `+` behind it, the second of two. */
static int64_t at(const char *text)
{
    struct tm tm = {.tm_isdst = -1};
    assert_int_equal(sscanf(text, "%d-%d-%d %d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min), 5);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    tm.tm_isdst = text[16] == '+' ? 0 : -1;
    if (tm.tm_isdst < 0) {
        struct tm summer = tm, check;
        summer.tm_isdst = 1;
        const time_t time = mktime(&summer);
        localtime_r(&time, &check);
        if (check.tm_hour == tm.tm_hour && check.tm_min == tm.tm_min)
            return (int64_t)time * 1000000;
    }
    const time_t time = mktime(&tm);
    return (int64_t)time * 1000000;
}

/* From AFTER on it comes at the times that stand behind one another, separated by commas. */
static void expect(const char *text, const char *after, const char *times)
{
    const struct cron cron = cron_of(text);
    int64_t now = at(after);
    while (times != NULL) {
        const int64_t next = cron_next(&cron, now);
        assert_true(next > now);
        if (next != at(times)) {
            const time_t seconds = (time_t)(next / 1000000);
            fail_msg("'%s': %.17s was expected, it is %s", text, times, ctime(&seconds));
        }
        now = next;
        times = strchr(times, ',');
        times += times != NULL;
    }
}

static void fields_are_lists_ranges_steps_and_names(void **state)
{
    (void)state;
    zone(utc);
    expect("* * * * *", "2026-11-20 17:00", "2026-11-20 17:01,2026-11-20 17:02");
    expect("0 6 * * mon-fri", "2026-11-20 17:00", "2026-11-23 06:00,2026-11-24 06:00");
    expect("0,30 8-18/5 * * *", "2026-11-20 17:00", "2026-11-20 18:00,2026-11-20 18:30,2026-11-21 08:00");
    expect("*/20 * * * *", "2026-11-20 17:59", "2026-11-20 18:00,2026-11-20 18:20,2026-11-20 18:40");
    expect("5 4 1,15 JAN,jul *", "2026-11-20 17:00", "2027-01-01 04:05,2027-01-15 04:05,2027-07-01 04:05");
    expect("0 0 * * fri-sun", "2026-11-20 17:00", "2026-11-21 00:00,2026-11-22 00:00,2026-11-27 00:00");
    expect("0 0 * * 7", "2026-11-20 17:00", "2026-11-22 00:00,2026-11-29 00:00");
    expect("\t0  0 31 * *  ", "2026-11-20 17:00", "2026-12-31 00:00,2027-01-31 00:00,2027-03-31 00:00");
    expect("59 23 31 12 *", "2026-12-31 23:59", "2027-12-31 23:59");
}

static void words_stand_for_what_they_say(void **state)
{
    (void)state;
    zone(utc);
    expect("@hourly", "2026-11-20 17:00", "2026-11-20 18:00");
    expect("@daily", "2026-11-20 17:00", "2026-11-21 00:00");
    expect("@midnight", "2026-11-20 17:00", "2026-11-21 00:00");
    expect("@weekly", "2026-11-20 17:00", "2026-11-22 00:00");
    expect("@monthly", "2026-11-20 17:00", "2026-12-01 00:00");
    expect("@yearly", "2026-11-20 17:00", "2027-01-01 00:00");
    expect("@annually", "2026-11-20 17:00", "2027-01-01 00:00");
}

static void restricted_days_are_either(void **state)
{
    (void)state;
    zone(utc);
    expect("0 0 13 * fri", "2026-11-01 00:00",
           "2026-11-06 00:00,2026-11-13 00:00,2026-11-20 00:00,2026-11-27 00:00,"
           "2026-12-04 00:00,2026-12-11 00:00,2026-12-13 00:00");
    expect("0 0 */2 * fri", "2026-11-01 00:00", "2026-11-13 00:00,2026-11-27 00:00,2026-12-11 00:00");
}

static void rare_days_come(void **state)
{
    (void)state;
    zone(utc);
    expect("0 0 29 2 *", "2026-11-20 17:00", "2028-02-29 00:00,2032-02-29 00:00");
    expect("0 0 29 feb */7", "2026-11-20 17:00", "2032-02-29 00:00,2060-02-29 00:00"); /* a Sunday */
}

static void a_time_is_between_seconds(void **state)
{
    (void)state;
    zone(utc);
    const struct cron cron = cron_of("* * * * *");
    assert_int_equal(cron_next(&cron, 59999999), 60000000);
    assert_int_equal(cron_next(&cron, 60000000), 120000000);
    assert_int_equal(cron_next(&cron, 60000001), 120000000);
    assert_int_equal(cron_next(&cron, -1), 0);
    assert_int_equal(cron_next(&cron, -60000001), -60000000);
}

/* 2026-03-29 02:00 to 03:00 in Berlin. */
static void what_the_clock_skips_runs_once_behind_it(void **state)
{
    (void)state;
    zone(berlin);
    expect("30 2 * * *", "2026-03-28 12:00", "2026-03-29 03:00,2026-03-30 02:30");
    expect("*/15 2 * * *", "2026-03-29 01:59", "2026-03-29 03:00,2026-03-30 02:00");
    expect("0 * * * *", "2026-03-29 00:30", "2026-03-29 01:00,2026-03-29 03:00,2026-03-29 04:00");
    expect("*/30 * * * *", "2026-03-29 01:20", "2026-03-29 01:30,2026-03-29 03:00,2026-03-29 03:30");
    expect("30 2,3 * * *", "2026-03-29 00:00", "2026-03-29 03:00,2026-03-29 03:30,2026-03-30 02:30");
    zone(lord_howe);
    expect("15 2 * * *", "2026-10-03 12:00", "2026-10-04 02:30,2026-10-05 02:15");
    zone(santiago);
    expect("0 0 * * *", "2026-09-05 12:00", "2026-09-06 01:00,2026-09-07 00:00");
}

/* 2026-10-25 03:00 back to 02:00 in Berlin. */
static void what_the_clock_repeats_runs_once(void **state)
{
    (void)state;
    zone(berlin);
    expect("30 2 * * *", "2026-10-24 12:00", "2026-10-25 02:30,2026-10-26 02:30");
    expect("*/30 2,3 * * *", "2026-10-25 00:00", "2026-10-25 02:00,2026-10-25 02:30,2026-10-25 03:00,2026-10-25 03:30");
    expect("30 2 * * *", "2026-10-25 02:10+", "2026-10-26 02:30");
    /* What runs in every hour goes on. */
    expect("*/30 * * * *", "2026-10-25 01:30",
           "2026-10-25 02:00,2026-10-25 02:30,2026-10-25 02:00+,2026-10-25 02:30+,2026-10-25 03:00");
    expect("@hourly", "2026-10-25 01:30", "2026-10-25 02:00,2026-10-25 02:00+,2026-10-25 03:00");
    zone(lord_howe);
    expect("45 1 * * *", "2026-04-04 12:00", "2026-04-05 01:45,2026-04-06 01:45");
    expect("*/15 * * * *", "2026-04-05 01:30", "2026-04-05 01:45,2026-04-05 01:30+,2026-04-05 01:45+,2026-04-05 02:00");
}

/* Every next time is later, matches (or stands behind a gap), and none is left out: for a year, against a plain walk. */
static void a_year_of_minutes_agrees(void **state)
{
    (void)state;
    static const char *const texts[] = {"17 */3 * * *", "0,45 2 * * sun", "*/20 1-3 * 3,10 *", "5 * 25-31 * *"};
    zone(berlin);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        const struct cron cron = cron_of(texts[i]);
        const int64_t begin = at("2026-01-01 00:00"), end = at("2027-01-01 00:00");
        int64_t next = cron_next(&cron, begin - 1);
        bool shown[24 * 60] = {false}; /* times of this day that were passed: a repeated one is not new */
        int day = -1;
        for (int64_t now = begin; now < end; now += 60 * INT64_C(1000000)) {
            const time_t seconds = (time_t)(now / 1000000);
            struct tm local;
            localtime_r(&seconds, &local);
            if (local.tm_yday != day)
                memset(shown, 0, sizeof(shown));
            day = local.tm_yday;
            bool *before = &shown[local.tm_hour * 60 + local.tm_min];
            const bool by_day = (cron.days >> local.tm_mday & 1) && (cron.weekdays >> local.tm_wday & 1) &&
                                (cron.months >> (local.tm_mon + 1) & 1);
            bool due = by_day && (cron.hours >> local.tm_hour & 1) && (cron.minutes >> local.tm_min & 1) &&
                       (!*before || cron.hours == 0xffffff);
            *before = true;
            const bool behind_gap = local.tm_yday == 87 && local.tm_hour == 3 && local.tm_min == 0;
            if (behind_gap && by_day && (cron.hours >> 2 & 1))
                due = true;
            if (due != (now == next))
                fail_msg("'%s' at %s", texts[i], ctime(&seconds));
            if (now == next)
                next = cron_next(&cron, now);
        }
    }
}

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "'' has 0 of five fields: write minute, hour, day, month and day of the week, such as '0 6 * * mon-fri'"},
        {"* * *", "'* * *' has 3 of five fields: write minute, hour, day, month and day of the week, such as "
                  "'0 6 * * mon-fri'"},
        {"* * * * * *", "'* * * * * *' has more than five fields"},
        {"60 * * * *", "the minute '60': numbers go from 0 to 59"},
        {"* 24 * * *", "the hour '24': numbers go from 0 to 23"},
        {"* * 0 * *", "the day of the month '0': numbers go from 1 to 31"},
        {"* * * 13 *", "the month '13': numbers go from 1 to 12"},
        {"* * * * 8", "the day of the week '8': numbers go from 0 to 7"},
        {"99999999999999999999 * * * *", "the minute '99999999999999999999': numbers go from 0 to 59"},
        {"x * * * *", "the minute 'x': write *, numbers such as 5 or 1-5, */10, or a list of these"},
        {"* * * * mo", "the day of the week 'mo': write *, numbers, names such as jan or mon, 1-5, or a list of these"},
        {"* * * * monday", "the day of the week 'monday': it does not end there: see crontab(5)"},
        {"1, * * * *", "the minute '1,': write *, numbers such as 5 or 1-5, */10, or a list of these"},
        {"5-1 * * * *", "the minute '5-1': a range goes from the lower to the higher one"},
        {"5/15 * * * *", "the minute '5/15': a step stands behind a range: write 5-59/15 or */15"},
        {"*/0 * * * *", "the minute '*/0': a step is 1 at least"},
        {"*/x * * * *", "the minute '*/x': behind '/' stands a number"},
        {"*5 * * * *", "the minute '*5': it does not end there: see crontab(5)"},
        {"0 0 31 2 *", "'0 0 31 2 *' never comes: none of its months has such a day"},
        {"0 0 31 apr,jun */7", "'0 0 31 apr,jun */7' never comes: none of its months has such a day"},
        {"@reboot", "'@reboot' is none of @hourly, @daily, @weekly, @monthly and @yearly"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct cron cron;
        struct fault fault;
        assert_int_equal(cron_parse(cases[i].text, &cron, &fault), MP_ERR_INVALID);
        assert_string_equal(fault.text, cases[i].words);
    }
    (void)cron_of("0 0 30 2 fri"); /* Fridays come */
}

static void the_end_of_time_is_an_end(void **state)
{
    (void)state;
    zone(utc);
    const struct cron cron = cron_of("* * * * *");
    assert_int_equal(cron_next(&cron, INT64_MAX), CLOCK_NEVER);
    const int64_t next = cron_next(&cron, INT64_MIN);
    assert_true(next == CLOCK_NEVER || next > INT64_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_lists_ranges_steps_and_names),
        cmocka_unit_test(words_stand_for_what_they_say),
        cmocka_unit_test(restricted_days_are_either),
        cmocka_unit_test(rare_days_come),
        cmocka_unit_test(a_time_is_between_seconds),
        cmocka_unit_test(what_the_clock_skips_runs_once_behind_it),
        cmocka_unit_test(what_the_clock_repeats_runs_once),
        cmocka_unit_test(a_year_of_minutes_agrees),
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(the_end_of_time_is_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
