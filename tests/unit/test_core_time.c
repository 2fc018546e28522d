/* Publications for later, through the relay: who waits gets them in time, and no number of a session is lost. */
#include "core_rig.h"

#include <string.h>

/* Hands over a publication of one message. */
static uint32_t publish(struct rig *rig, uint64_t session, uint64_t number, enum protocol_when when, int64_t value)
{
    struct protocol_publication to = protocol_publication("t");
    to.when = when;
    to.value = value;
    return rig_publish_to(rig, 1, session, number, to, 1);
}

static void who_waits_gets_it_when_it_is_due(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1), reader = rig_hello(rig, 2);
    assert_true(rig_offset(rig, publish(rig, session, 1, PROTOCOL_WHEN_DELAY, 10 * SECOND)) == ENGINE_SCHEDULED);
    uint32_t fetch = rig_fetch(rig, 2, reader, 1, "t", "g", 0, 60000);
    rig_turn(rig);
    assert_null(rig_reply(rig, fetch));
    assert_int_equal(core_due(rig->core), rig->now.monotonic + 10 * SECOND);
    rig_pass(rig, 10 * SECOND - 1);
    rig->now.wall -= 4000 * SECOND;
    rig_turn(rig);
    assert_null(rig_reply(rig, fetch));
    assert_int_equal(core_due(rig->core), rig->now.monotonic + 1);
    rig_pass(rig, 1);
    rig_turn(rig);
    assert_non_null(rig_reply(rig, fetch));
    assert_int_equal(rig_messages(rig, fetch), 1);
}

static void a_time_of_the_wall_clock_is_a_delay_from_now(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    rig->now.wall += 5000 * SECOND; /* it is not relay time */
    assert_true(rig_offset(rig, publish(rig, session, 1, PROTOCOL_WHEN_AT, rig->now.wall + 3 * SECOND)) ==
                ENGINE_SCHEDULED);
    assert_int_equal(rig_offset(rig, publish(rig, session, 2, PROTOCOL_WHEN_AT, rig->now.wall - SECOND)), 0);
    assert_int_equal(rig_offset(rig, publish(rig, session, 3, PROTOCOL_WHEN_AT, 0)), 1);
    rig_pass(rig, 3 * SECOND - 1);
    rig_turn(rig);
    assert_int_equal(rig_count(rig, "t"), 2);
    rig_pass(rig, 1);
    rig_turn(rig);
    assert_int_equal(rig_count(rig, "t"), 3);
    assert_true(rig_offset(rig, publish(rig, session, 4, PROTOCOL_WHEN_AT, INT64_MAX)) == ENGINE_SCHEDULED);
    assert_true(rig_offset(rig, publish(rig, session, 5, PROTOCOL_WHEN_DELAY, INT64_MAX)) == ENGINE_SCHEDULED);
}

/* The relay ends at once behind each step; what is asked again is answered as it was, and nothing is there twice. */
static void its_number_is_kept_across_restarts(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    assert_true(rig_offset(rig, publish(rig, session, 1, PROTOCOL_WHEN_DELAY, 10 * SECOND)) == ENGINE_SCHEDULED);
    rig_restart(rig);
    assert_true(rig_offset(rig, publish(rig, session, 1, PROTOCOL_WHEN_DELAY, 10 * SECOND)) == ENGINE_SCHEDULED);
    assert_int_equal(rig_count(rig, "t"), 0);
    rig_pass(rig, 10 * SECOND);
    rig_turn(rig);
    assert_int_equal(rig_count(rig, "t"), 1);
    rig_restart(rig);
    assert_true(rig_offset(rig, publish(rig, session, 1, PROTOCOL_WHEN_DELAY, 10 * SECOND)) == ENGINE_SCHEDULED);
    assert_int_equal(rig_offset(rig, publish(rig, session, 2, PROTOCOL_WHEN_NOW, 0)), 1);
    rig_pass(rig, 20 * SECOND);
    rig_turn(rig);
    assert_int_equal(rig_count(rig, "t"), 2);
}

/* A commit fails when it is scheduled, and when it is due. */
static void an_undone_turn_loses_and_doubles_nothing(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    store_fail_commit(rig->store, 1);
    assert_int_equal(rig_status(rig, publish(rig, session, 1, PROTOCOL_WHEN_DELAY, SECOND)), MP_ERR_AGAIN);
    assert_true(rig_offset(rig, publish(rig, session, 1, PROTOCOL_WHEN_DELAY, SECOND)) == ENGINE_SCHEDULED);
    store_fail_commit(rig->store, 1);
    rig_pass(rig, SECOND);
    rig_turn(rig);
    /* It is tried again by itself. */
    int64_t due = core_due(rig->core);
    assert_true(due > rig->now.monotonic && due < rig->now.monotonic + SECOND);
    rig_pass(rig, due - rig->now.monotonic);
    rig_turn(rig);
    assert_int_equal(rig_count(rig, "t"), 1);
    rig_restart(rig);
    rig_turn(rig);
    assert_int_equal(rig_count(rig, "t"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_waits_gets_it_when_it_is_due, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_time_of_the_wall_clock_is_a_delay_from_now, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(its_number_is_kept_across_restarts, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(an_undone_turn_loses_and_doubles_nothing, rig_set_up, rig_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
