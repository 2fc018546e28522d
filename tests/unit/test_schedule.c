/* The schedule: publications that wait for their time. */
#include "time_rig.h"

#include <stdio.h>
#include <string.h>

static void it_gets_its_offset_when_it_is_due(void **state)
{
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    time_rig_join(&rig, "t", "g");
    assert_true(time_rig_send(&rig, "t", 10 * SECOND, "late", 2) == ENGINE_SCHEDULED);
    assert_int_equal(time_rig_send(&rig, "t", 0, "now", 1), 0);
    assert_int_equal(rig.engine->operations->due(rig.engine), rig.now.monotonic + 10 * SECOND);
    time_rig_pass(&rig, 10 * SECOND - 1);
    time_rig_tick(&rig);
    time_rig_expect(&rig, "t", "g", "now ");
    time_rig_pass(&rig, 1);
    time_rig_tick(&rig);
    time_rig_expect(&rig, "t", "g", "late late ");
    assert_true(rig.engine->operations->due(rig.engine) > rig.now.monotonic);
    time_rig_end(&rig);
}

static void they_go_out_in_the_order_of_their_times(void **state)
{
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    time_rig_join(&rig, "t", "g");
    time_rig_send(&rig, "t", 30 * SECOND, "d", 1);
    time_rig_send(&rig, "t", 10 * SECOND, "a", 1);
    time_rig_send(&rig, "t", 20 * SECOND, "b", 1);
    time_rig_send(&rig, "t", 20 * SECOND, "c", 1);
    time_rig_pass(&rig, 60 * SECOND);
    time_rig_tick(&rig);
    time_rig_expect(&rig, "t", "g", "a b c d ");
    time_rig_end(&rig);
}

/* The wall clock is set while they wait, in this life of the relay and between two. */
static void steps_of_the_wall_clock_change_nothing(void **state)
{
    const int64_t steps[] = {DAY, -DAY, -WALL / 2, 9000 * DAY};
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct time_rig rig;
        time_rig_begin(&rig);
        time_rig_join(&rig, "t", "g");
        time_rig_send(&rig, "t", 10 * SECOND, "a", 1);
        rig.now.wall += steps[i % 4];
        time_rig_send(&rig, "t", 10 * SECOND, "b", 1);
        time_rig_pass(&rig, SECOND);
        if (i >= 4)
            time_rig_restart(&rig);
        time_rig_settle_down(&rig);
        rig.now.wall -= 2 * steps[i % 4];
        if (i >= 4)
            time_rig_restart(&rig);
        time_rig_pass(&rig, 9 * SECOND - 1);
        time_rig_settle_down(&rig);
        time_rig_expect(&rig, "t", "g", "");
        assert_int_equal(rig.engine->operations->due(rig.engine), rig.now.monotonic + 1);
        time_rig_pass(&rig, 1);
        time_rig_settle_down(&rig);
        time_rig_expect(&rig, "t", "g", "a b ");
        time_rig_end(&rig);
    }
}

static void an_undone_turn_moves_nothing(void **state)
{
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    time_rig_join(&rig, "t", "g");
    rig.undo = true;
    time_rig_send(&rig, "t", 5 * SECOND, "never", 1);
    assert_int_equal(rig.engine->operations->due(rig.engine), CLOCK_NEVER);
    time_rig_send(&rig, "t", 5 * SECOND, "once", 1);
    time_rig_pass(&rig, 5 * SECOND);
    rig.undo = true;
    assert_false(time_rig_tick(&rig));
    assert_true(rig.engine->operations->due(rig.engine) <= rig.now.monotonic);
    time_rig_tick(&rig);
    time_rig_expect(&rig, "t", "g", "once ");
    time_rig_restart(&rig);
    time_rig_settle_down(&rig);
    time_rig_expect(&rig, "t", "g", "");
    time_rig_end(&rig);
}

static void it_waits_for_room(void **state)
{
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    time_rig_join(&rig, "t", "g");
    time_rig_send(&rig, "t", SECOND, "a", 1);
    time_rig_send(&rig, "t", 2 * SECOND, "b", 1);
    rig.full = true;
    time_rig_pass(&rig, 3 * SECOND);
    time_rig_tick(&rig);
    time_rig_expect(&rig, "t", "g", "");
    int64_t due = rig.engine->operations->due(rig.engine);
    assert_in_range(due, rig.now.monotonic + 1, rig.now.monotonic + SECOND);
    rig.full = false;
    time_rig_pass(&rig, due - rig.now.monotonic);
    time_rig_settle_down(&rig);
    time_rig_expect(&rig, "t", "g", "a b ");
    assert_true(rig.engine->operations->due(rig.engine) > rig.now.monotonic);
    time_rig_end(&rig);
}

static uint64_t scheduled(struct time_rig *rig)
{
    struct buffer text = {0};
    unsigned long long count = 0;
    assert_int_equal(rig->engine->operations->describe(rig->engine, &text), MP_OK);
    assert_int_equal(buffer_put_u8(&text, 0), MP_OK);
    const char *at = strstr((const char *)text.data, "\"scheduled\":");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\"scheduled\":%llu", &count), 1);
    buffer_free(&text);
    return count;
}

/* A crowd at one moment: in bounded turns, in order, each once, across a restart; and it is counted. */
static void a_crowd_goes_out_in_bounded_turns(void **state)
{
    enum { CROWD = 3000 };
    struct time_rig rig;
    static char expected[CROWD * 6 + 1], text[CROWD * 6 + 1];
    (void)state;
    time_rig_begin(&rig);
    time_rig_join(&rig, "t", "g");
    for (unsigned i = 0; i < CROWD; i++) {
        char body[8];
        snprintf(body, sizeof body, "%05u", i);
        time_rig_send(&rig, "t", 10 * SECOND, body, 1);
        memcpy(expected + 6 * (size_t)i, body, 5);
        expected[6 * (size_t)i + 5] = ' ';
    }
    assert_int_equal(scheduled(&rig), CROWD);
    time_rig_pass(&rig, 10 * SECOND + 100);
    time_rig_tick(&rig);
    assert_true(rig.engine->operations->due(rig.engine) <= rig.now.monotonic);
    assert_in_range(scheduled(&rig), 1, CROWD - 1);
    time_rig_restart(&rig);
    assert_in_range(time_rig_settle_down(&rig), 2, 100);
    assert_int_equal(scheduled(&rig), 0);
    while (time_rig_consume(&rig, "t", "g", 0, text, sizeof text) > 0)
        ;
    assert_string_equal(text, expected);
    time_rig_end(&rig);
}

static void a_time_beyond_the_calendar_is_the_latest_there_is(void **state)
{
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    time_rig_join(&rig, "t", "g");
    assert_true(time_rig_send(&rig, "t", INT64_MAX - WALL - SECOND, "a", 1) == ENGINE_SCHEDULED);
    time_rig_restart(&rig);
    time_rig_settle_down(&rig);
    time_rig_expect(&rig, "t", "g", "");
    time_rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_gets_its_offset_when_it_is_due),
        cmocka_unit_test(they_go_out_in_the_order_of_their_times),
        cmocka_unit_test(steps_of_the_wall_clock_change_nothing),
        cmocka_unit_test(an_undone_turn_moves_nothing),
        cmocka_unit_test(it_waits_for_room),
        cmocka_unit_test(a_crowd_goes_out_in_bounded_turns),
        cmocka_unit_test(a_time_beyond_the_calendar_is_the_latest_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
