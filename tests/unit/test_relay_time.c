/* Relay time: through steps of the wall clock, restarts, other boots; through the engine too. */
#include "sessionless.h"

#include "queue/local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)
#define WALL (1700000000 * SECOND)

static struct moment at(int64_t monotonic, int64_t wall, uint64_t boot)
{
    return (struct moment){.monotonic = monotonic, .wall = wall, .boot = boot};
}

static int64_t begin(struct moment now, const struct relay_time *stored, int64_t newest, struct relay_time *clock)
{
    *clock = relay_time_begin(&now, stored, newest);
    assert_int_equal(clock->boot, now.boot);
    return now.monotonic + clock->offset;
}

static void the_first_relay_takes_the_wall_clock(void **state)
{
    struct relay_time clock;
    (void)state;
    assert_int_equal(begin(at(5 * SECOND, WALL, 7), NULL, 0, &clock), WALL);
    assert_int_equal(begin(at(5 * SECOND, WALL, 0), NULL, 0, &clock), WALL);
    /* ... unless the rows of an older relay are later. */
    assert_int_equal(begin(at(5 * SECOND, WALL, 7), NULL, WALL + DAY, &clock), WALL + DAY);
}

static void a_restart_in_the_same_boot_does_not_look_at_the_wall_clock(void **state)
{
    const struct relay_time stored = {.boot = 7, .offset = WALL - 5 * SECOND};
    const int64_t steps[] = {0, DAY, -DAY, -WALL, 40000 * DAY};
    struct relay_time clock;
    (void)state;
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
        int64_t time = begin(at(65 * SECOND, WALL + 60 * SECOND + steps[i], 7), &stored, WALL + SECOND, &clock);
        assert_int_equal(time, WALL + 60 * SECOND);
        assert_int_equal(clock.offset, stored.offset);
    }
}

static void another_boot_takes_the_wall_clock_and_never_goes_back(void **state)
{
    const struct relay_time stored = {.boot = 7, .offset = WALL - 5 * SECOND};
    struct relay_time clock;
    (void)state;
    assert_int_equal(begin(at(SECOND, WALL + DAY, 8), &stored, WALL + SECOND, &clock), WALL + DAY);
    assert_int_equal(begin(at(SECOND, 0, 8), &stored, WALL + SECOND, &clock), WALL + SECOND);
    /* A boot that cannot be told is another one. */
    assert_int_equal(begin(at(SECOND, WALL + DAY, 0), &(struct relay_time){.boot = 0, .offset = 1}, 0, &clock),
                     WALL + DAY);
}

static void time_that_has_passed_is_never_ahead(void **state)
{
    const struct relay_time stored = {.boot = 7, .offset = WALL - 5 * SECOND};
    struct relay_time clock;
    (void)state;
    /* A saved image of the machine was started again: the same boot, but less of it. */
    assert_int_equal(begin(at(2 * SECOND, WALL, 7), &stored, WALL + 9 * SECOND, &clock), WALL + 9 * SECOND);
}

/* ---- through the engine --------------------------------------------------------------------------------------- */

struct rig {
    struct store *store;
    struct engine *engine;
    struct moment now;
};

static enum mp_error not_applied(void *context, const struct engine_origin *origin, int64_t time, uint64_t result,
                                 uint32_t count)
{
    (void)origin;
    (void)result;
    (void)count;
    *(int64_t *)context = time;
    return MP_OK;
}

/* Starts a relay; the time that the last applied request came at, on the wall; 0: none. */
static int64_t start(struct rig *rig)
{
    const struct engine_local_settings settings = {.keep_store = true, .snapshot_every = 2};
    int64_t applied = 0;
    struct engine_load load = {.context = &applied, .session = sessionless_session, .applied = not_applied};
    struct fault fault = {0};
    assert_int_equal(engine_local_open(rig->store, &settings, &rig->engine, &fault), MP_OK);
    if (rig->engine->operations->load(rig->engine, rig->now, &load, &fault))
        fail_msg("%s", fault_text(&fault));
    return applied;
}

static void stop(struct rig *rig)
{
    rig->engine->operations->close(rig->engine);
}

static void set_up(struct rig *rig)
{
    *rig = (struct rig){.now = at(5 * SECOND, WALL, 7)};
    assert_int_equal(store_open(":memory:", &rig->store, NULL), MP_OK);
    start(rig);
}

static void pass(struct rig *rig, int64_t monotonic, int64_t wall)
{
    rig->now.monotonic += monotonic;
    rig->now.wall += wall;
}

/* The engine's time at rig->now. */
static int64_t time_now(struct rig *rig)
{
    rig->engine->operations->begin(rig->engine, rig->now);
    return rig->engine->operations->time(rig->engine);
}

static void change(struct rig *rig, bool commit)
{
    const struct engine_operations *engine = rig->engine->operations;
    int64_t applied = 0;
    struct engine_load load = {.context = &applied, .session = sessionless_session, .applied = not_applied};
    struct fault fault = {0};
    engine->begin(rig->engine, rig->now);
    struct engine_subscription *subscription;
    char group[24];
    snprintf(group, sizeof group, "g%lld", (long long)rig->now.monotonic);
    assert_int_equal(engine->subscribe(rig->engine, "t", 1, false, group, strlen(group), 1, ENGINE_FROM_START, 0,
                                       &subscription, &fault),
                     MP_OK);
    if (commit) {
        assert_int_equal(engine->commit(rig->engine, sessionless_snapshot, NULL, &fault), MP_OK);
    } else {
        assert_int_equal(engine->rollback(rig->engine, &fault), MP_OK);
        assert_int_equal(engine->load(rig->engine, rig->now, &load, &fault), MP_OK);
    }
}

static void steps_of_the_wall_clock_do_not_touch_a_running_relay(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig);
    assert_int_equal(time_now(&rig), WALL);
    pass(&rig, 10 * SECOND, DAY);
    assert_int_equal(time_now(&rig), WALL + 10 * SECOND);
    change(&rig, true);
    pass(&rig, 10 * SECOND, -3 * DAY);
    assert_int_equal(time_now(&rig), WALL + 20 * SECOND);
    change(&rig, false);
    pass(&rig, SECOND, 0);
    assert_int_equal(time_now(&rig), WALL + 21 * SECOND);
    stop(&rig);
    store_close(rig.store);
}

static void restarts_keep_the_time(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig);
    /* Nothing was written: the wall clock is all there is. */
    stop(&rig);
    pass(&rig, SECOND, DAY);
    start(&rig);
    assert_int_equal(time_now(&rig), WALL + DAY);
    for (int i = 0; i < 5; i++) {
        pass(&rig, SECOND, i % 2 ? 9 * DAY : -8 * DAY);
        change(&rig, true);
        stop(&rig);
        pass(&rig, SECOND, i % 2 ? -9 * DAY : 8 * DAY);
        start(&rig);
        assert_int_equal(time_now(&rig), WALL + DAY + (i + 1) * 2 * SECOND);
    }
    /* Another boot, with a clock that is not set. */
    stop(&rig);
    rig.now = at(SECOND, 3 * SECOND, 8);
    start(&rig);
    int64_t time = time_now(&rig);
    assert_true(time <= WALL + DAY + 10 * SECOND && time >= WALL + DAY);
    change(&rig, true);
    pass(&rig, SECOND, DAY);
    assert_int_equal(time_now(&rig), time + SECOND);
    stop(&rig);
    start(&rig);
    assert_int_equal(time_now(&rig), time + SECOND);
    stop(&rig);
    store_close(rig.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_relay_takes_the_wall_clock),
        cmocka_unit_test(a_restart_in_the_same_boot_does_not_look_at_the_wall_clock),
        cmocka_unit_test(another_boot_takes_the_wall_clock_and_never_goes_back),
        cmocka_unit_test(time_that_has_passed_is_never_ahead),
        cmocka_unit_test(steps_of_the_wall_clock_do_not_touch_a_running_relay),
        cmocka_unit_test(restarts_keep_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
