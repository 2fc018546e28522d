/* relay/core.h: publications for later and for one group; sessions that are kept and gone on with; late copies. */
#include "core_rig.h"

/* Publishes one message as TO says. */
static uint32_t publish(struct rig *rig, uint64_t session, uint64_t number, struct protocol_publication to)
{
    return rig_publish_to(rig, 1, session, number, to, 1);
}

static struct protocol_publication later(int64_t microseconds)
{
    struct protocol_publication to = protocol_publication("t");
    to.when = PROTOCOL_WHEN_DELAY;
    to.value = microseconds;
    return to;
}

static void what_is_to_go_out_later_goes_out_then(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    assert_true(rig_offset(rig, publish(rig, session, 1, later(10 * SECOND))) == PROTOCOL_SCHEDULED);
    assert_int_equal(rig_count(rig, "t"), 0);
    rig_pass(rig, 9 * SECOND);
    rig_turn(rig);
    assert_int_equal(rig_count(rig, "t"), 0);
    assert_in_range(core_due(rig->core), rig->now.monotonic, rig->now.monotonic + SECOND);
    rig_pass(rig, SECOND + 2000);
    rig_turn(rig);
    assert_int_equal(rig_count(rig, "t"), 1);
}

static void a_time_on_the_wall_is_a_delay_from_now(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct protocol_publication to = protocol_publication("t");
    to.when = PROTOCOL_WHEN_AT;
    to.value = rig->now.wall - SECOND; /* over: now */
    assert_int_equal(rig_offset(rig, publish(rig, session, 1, to)), 0);
    to.value = rig->now.wall + 10 * SECOND;
    assert_true(rig_offset(rig, publish(rig, session, 2, to)) == PROTOCOL_SCHEDULED);
    rig->now.wall += 3600 * SECOND; /* the clock is set: nobody waits less for it */
    rig_turn(rig);
    assert_int_equal(rig_count(rig, "t"), 1);
    rig_pass(rig, 10 * SECOND + 2000);
    rig_turn(rig);
    assert_int_equal(rig_count(rig, "t"), 2);
    to.value = INT64_MAX; /* never, and no overflow */
    assert_true(rig_offset(rig, publish(rig, session, 3, to)) == PROTOCOL_SCHEDULED);
}

static void a_repeat_of_what_is_scheduled_is_known_after_a_restart(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    assert_int_equal(rig_offset(rig, publish(rig, session, 1, protocol_publication("t"))), 0);
    assert_true(rig_offset(rig, publish(rig, session, 2, later(10 * SECOND))) == PROTOCOL_SCHEDULED);
    assert_true(rig_offset(rig, publish(rig, session, 2, later(10 * SECOND))) == PROTOCOL_SCHEDULED);
    rig_restart(rig);
    rig_forget_replies(rig);
    assert_true(rig_offset(rig, publish(rig, session, 2, later(10 * SECOND))) == PROTOCOL_SCHEDULED);
    rig_pass(rig, 11 * SECOND);
    rig_turn(rig);
    assert_int_equal(rig_count(rig, "t"), 2);
}

static void what_is_for_a_group_that_is_not_there_is_refused_and_undoes_nothing(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct protocol_publication to = protocol_publication("t");
    to.target = "nobody";
    to.target_size = 6;
    uint32_t good = publish(rig, session, 1, protocol_publication("t"));
    uint32_t bad = publish(rig, session, 2, to);
    rig_turn(rig);
    assert_int_equal(rig_offset(rig, good), 0);
    assert_int_equal(rig_status(rig, bad), MP_ERR_NOT_FOUND);
    to.target = "no group";
    to.target_size = 8;
    assert_int_equal(rig_status(rig, publish(rig, session, 2, to)), MP_ERR_INVALID);
    assert_int_equal(rig_count(rig, "t"), 1);
}

static uint32_t hello_as(struct rig *rig, uint64_t connection, uint64_t session, uint32_t keep, const char *name)
{
    struct buffer body = {0};
    assert_int_equal(protocol_put_hello(&body, name, keep), MP_OK);
    uint32_t id = rig_submit(rig, connection, PROTOCOL_HELLO, PROTOCOL_LANE_CONTROL, session, 1, 0, &body);
    buffer_free(&body);
    rig_turn(rig);
    return id;
}

static uint32_t hello(struct rig *rig, uint64_t connection, uint64_t session, uint32_t keep)
{
    return hello_as(rig, connection, session, keep, "outbox");
}

static struct protocol_welcome welcome_of(struct rig *rig, uint32_t id)
{
    struct protocol_welcome welcome;
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(protocol_read_welcome(rig_reply(rig, id), &welcome), MP_OK);
    return welcome;
}

static void a_session_that_is_to_be_kept_outlives_days_and_restarts(void **state)
{
    struct rig *rig = *state;
    uint64_t kept = welcome_of(rig, hello(rig, 1, 0, 3 * 86400)).session;
    uint64_t other = welcome_of(rig, hello(rig, 2, 0, 0)).session;
    assert_int_equal(rig_offset(rig, publish(rig, kept, 1, protocol_publication("t"))), 0);
    assert_int_equal(rig_offset(rig, publish(rig, other, 1, protocol_publication("t"))), 1);
    core_disconnected(rig->core, 1);
    core_disconnected(rig->core, 2);
    for (unsigned day = 0; day < 2; day++) {
        rig_forget_replies(rig);
        rig_restart(rig);
        for (unsigned hour = 0; hour < 24; hour++) {
            rig_pass(rig, 3600 * SECOND);
            rig_turn(rig);
        }
    }
    assert_int_equal(rig_status(rig, hello(rig, 2, other, 0)), MP_ERR_SESSION);
    struct protocol_welcome welcome = welcome_of(rig, hello(rig, 1, kept, 3 * 86400));
    assert_true(welcome.session == kept);
    assert_int_equal(welcome.published, 1);
    assert_int_equal(rig_offset(rig, publish(rig, kept, 1, protocol_publication("t"))), 0); /* nothing twice */
    assert_int_equal(rig_offset(rig, publish(rig, kept, 2, protocol_publication("t"))), 2);
    core_disconnected(rig->core, 1);
    for (unsigned hour = 0; hour < 75; hour++) {
        rig_pass(rig, 3600 * SECOND);
        rig_turn(rig);
    }
    rig_forget_replies(rig);
    assert_int_equal(rig_status(rig, hello(rig, 1, kept, 0)), MP_ERR_SESSION);
}

/* Its row has what the last settlement applied, whether or not the events of that are counted again. */
static void a_settlement_is_remembered_beside_what_is_scheduled(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    uint32_t published = rig_publish(rig, 1, session, 1, "t", 5);
    rig_turn(rig);
    uint32_t fetched = rig_fetch(rig, 1, session, 1, "t", "g", 5, 0);
    assert_int_equal(rig_status(rig, published), MP_OK);
    struct protocol_chunk chunk;
    assert_int_equal(rig_status(rig, fetched), MP_OK);
    assert_true(rig_chunk(rig, fetched, &chunk));
    struct protocol_settlement item = {
        .group = chunk.group, .lease = 1, .first = 0, .count = 5, .action = PROTOCOL_ACK, .exit_code = -1};
    assert_int_equal(rig_status(rig, rig_settle(rig, 1, session, 1, &item, NULL)), MP_OK);
    for (unsigned turn = 2; turn < 9; turn++) { /* a snapshot is taken in each third turn */
        assert_true(rig_offset(rig, publish(rig, session, turn, later(10 * SECOND))) == PROTOCOL_SCHEDULED);
        rig_restart(rig);
        rig_forget_replies(rig);
        uint32_t applied, stale, id = rig_settle(rig, 1, session, 1, &item, NULL);
        assert_int_equal(rig_status(rig, id), MP_OK);
        assert_int_equal(protocol_read_settled(rig_reply(rig, id), &applied, &stale), MP_OK);
        assert_int_equal(applied, 5);
        assert_int_equal(stale, 0);
    }
}

/* ---- late copies of what was refused --------------------------------------------------------------------------- */

static void a_late_copy_of_a_refused_publication_is_not_stored_in_the_place_of_another(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    rig->full = true;
    for (rig->attempt = 1; rig->attempt <= 2; rig->attempt++)
        assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "t", 3)), MP_ERR_FULL);
    rig->full = false;
    for (rig->attempt = 1; rig->attempt <= 2; rig->attempt++)
        assert_int_equal(rig_status(rig, rig_publish(rig, 9, session, 1, "t", 3)), MP_ERR_AGAIN);
    assert_int_equal(rig_count(rig, "t"), 0);
    rig->attempt = 3; /* something else under the same number */
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "t", 5)), MP_OK);
    assert_int_equal(rig_count(rig, "t"), 5);
    rig->attempt = 1;
    assert_int_equal(rig_status(rig, rig_publish(rig, 9, session, 1, "t", 3)), MP_OK); /* a repeat as any */
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 2, "t", 1)), MP_OK); /* a number of its own */
    assert_int_equal(rig_count(rig, "t"), 6);
}

static void a_late_copy_of_a_refused_settlement_is_not_applied(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "t", 2)), MP_OK);
    uint32_t fetched = rig_fetch(rig, 1, session, 1, "t", "g", 2, 0);
    struct protocol_chunk chunk;
    assert_int_equal(rig_status(rig, fetched), MP_OK);
    assert_true(rig_chunk(rig, fetched, &chunk));
    struct protocol_settlement item = {
        .group = chunk.group, .lease = 1, .first = 0, .count = 2, .action = PROTOCOL_ACK, .exit_code = -1};
    rig->full = true;
    rig->attempt = 1;
    assert_int_equal(rig_status(rig, rig_settle(rig, 1, session, 1, &item, "out")), MP_ERR_FULL);
    rig->full = false;
    assert_int_equal(rig_status(rig, rig_settle(rig, 9, session, 1, &item, "out")), MP_ERR_AGAIN);
    rig->attempt = 2;
    item.action = PROTOCOL_RELEASE;
    assert_int_equal(rig_status(rig, rig_settle(rig, 1, session, 1, &item, NULL)), MP_OK);
    assert_int_equal(rig_count(rig, "out"), 0);
}

static enum mp_error ask_room(struct rig *rig, uint64_t session, uint64_t number)
{
    struct buffer body = {0};
    struct protocol_room room = {.topic = "t", .topic_size = 1, .messages = 1, .bytes = 100};
    assert_int_equal(protocol_put_room(&body, &room), MP_OK);
    uint32_t id = rig_submit(rig, 1, PROTOCOL_ROOM, PROTOCOL_LANE_PUBLISH, session, number, 0, &body);
    buffer_free(&body);
    return rig_status(rig, id);
}

static void who_waits_for_room_learns_that_a_late_copy_was_stored(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    rig->full = true;
    assert_int_equal(ask_room(rig, session, 1), MP_ERR_FULL);
    rig->full = false;
    assert_int_equal(rig_status(rig, rig_publish(rig, 9, session, 1, "t", 1)), MP_OK);
    rig->full = true;
    assert_int_equal(ask_room(rig, session, 1), MP_OK);
    assert_int_equal(ask_room(rig, session, 2), MP_ERR_FULL);
}

/* Nothing that is later believed of a session may be stored beside what its client, told that it is gone, sends anew. */
static void a_session_that_was_refused_something_leaves_a_trace_when_it_goes(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    rig->full = true;
    rig->attempt = 1;
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "t", 1)), MP_ERR_FULL);
    rig->full = false;
    core_disconnected(rig->core, 1);
    rig->now.monotonic += 3700 * SECOND; /* the wall's clock stands: the session still looks young */
    rig_turn(rig);
    assert_int_equal(rig_status(rig, rig_publish(rig, 9, session, 1, "t", 1)), MP_ERR_SESSION);
    assert_int_equal(rig_count(rig, "t"), 0);
}

static void a_late_copy_of_an_empty_fetch_takes_nothing_for_the_next(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct protocol_chunk chunk;
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "other", 1)), MP_OK);
    rig->attempt = 1;
    uint32_t empty = rig_fetch(rig, 1, session, 1, "t", "g", 5, 0);
    assert_int_equal(rig_status(rig, empty), MP_OK);
    assert_int_equal(rig_messages(rig, empty), 0);
    rig->attempt = 2;
    uint32_t waits = rig_fetch(rig, 1, session, 1, "t", "g", 3, 60000);
    rig_turn(rig);
    rig->attempt = 1;
    assert_int_equal(rig_status(rig, rig_fetch(rig, 2, session, 1, "t", "g", 5, 0)), MP_ERR_AGAIN);
    assert_null(rig_reply(rig, waits)); /* nor its place */
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 2, "t", 10)), MP_OK);
    assert_true(rig_chunk(rig, waits, &chunk));
    assert_int_equal(chunk.count, 3);
    rig->attempt = 3; /* a repeat, which is answered as before */
    uint32_t again = rig_fetch(rig, 2, session, 1, "t", "g", 9, 0);
    assert_int_equal(rig_status(rig, again), MP_OK);
    assert_int_equal(rig_messages(rig, again), 3);
}

static enum mp_error look_for_name(void *context, const struct store_event *event)
{
    char *name = context;
    if (event->kind == EVENT_SESSION && event->note_size < 64)
        memcpy(name, event->note, event->note_size);
    return MP_OK;
}

static void what_a_client_calls_itself_can_be_shown(void **state)
{
    struct rig *rig = *state;
    char name[64] = "";
    uint64_t session = welcome_of(rig, hello_as(rig, 1, 0, 0, "a\033[31m \302\233\n'b'")).session;
    assert_int_equal(rig_offset(rig, publish(rig, session, 1, protocol_publication("t"))), 0);
    assert_int_equal(store_each_event(rig->store, 0, look_for_name, name, NULL), MP_OK);
    assert_string_equal(name, "a?[31m ??"
                              "?'b'");
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGGED(what_is_to_go_out_later_goes_out_then),
        RIGGED(a_time_on_the_wall_is_a_delay_from_now),
        RIGGED(a_repeat_of_what_is_scheduled_is_known_after_a_restart),
        RIGGED(what_is_for_a_group_that_is_not_there_is_refused_and_undoes_nothing),
        RIGGED(a_session_that_is_to_be_kept_outlives_days_and_restarts),
        RIGGED(a_settlement_is_remembered_beside_what_is_scheduled),
        RIGGED(a_late_copy_of_a_refused_publication_is_not_stored_in_the_place_of_another),
        RIGGED(a_late_copy_of_an_empty_fetch_takes_nothing_for_the_next),
        RIGGED(a_late_copy_of_a_refused_settlement_is_not_applied),
        RIGGED(who_waits_for_room_learns_that_a_late_copy_was_stored),
        RIGGED(a_session_that_was_refused_something_leaves_a_trace_when_it_goes),
        RIGGED(what_a_client_calls_itself_can_be_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
