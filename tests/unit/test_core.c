/* relay/core.h: the rules of sessions, numbers and leases, one by one. */
#include "core_rig.h"

static void expect_published(struct rig *rig, uint32_t id, uint64_t first, uint32_t count)
{
    uint64_t offset;
    uint32_t messages, duplicates;
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(protocol_read_published(rig_reply(rig, id), &offset, &messages, &duplicates), MP_OK);
    assert_int_equal(offset, first);
    assert_int_equal(messages, count);
}

static void expect_settled(struct rig *rig, uint32_t id, uint32_t applied, uint32_t stale)
{
    uint32_t one, other;
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(protocol_read_settled(rig_reply(rig, id), &one, &other), MP_OK);
    assert_int_equal(one, applied);
    assert_int_equal(other, stale);
}

static void expect_gap(struct rig *rig, uint32_t id, uint64_t expected)
{
    uint64_t number;
    struct fault fault = {0};
    assert_int_equal(rig_status(rig, id), MP_ERR_GAP);
    assert_int_equal(protocol_read_error(rig_reply(rig, id), &number, &fault), MP_OK);
    assert_int_equal(number, expected);
}

/* A settlement of what CHUNK gave under LEASE. */
static struct protocol_settlement all_of(const struct protocol_chunk *chunk, uint64_t lease,
                                         enum protocol_action action)
{
    return (struct protocol_settlement){.group = chunk->group,
                                        .lease = lease,
                                        .first = chunk->first,
                                        .count = chunk->count,
                                        .action = action,
                                        .exit_code = -1};
}

/* Ten messages in topic t; group g's first fetch is given them. */
static struct protocol_chunk lease_ten(struct rig *rig, uint64_t session)
{
    struct protocol_chunk chunk;
    uint64_t producer = rig_hello(rig, 50);
    expect_published(rig, rig_publish(rig, 50, producer, 1, "t", 10), 0, 10);
    uint32_t id = rig_fetch(rig, 2, session, 1, "t", "g", 0, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_true(rig_chunk(rig, id, &chunk));
    assert_int_equal(chunk.count, 10);
    assert_int_equal(chunk.attempt, 1);
    return chunk;
}

/* The attempt of what SESSION's fetch NUMBER is given; 0: nothing. */
static unsigned attempt_of(struct rig *rig, uint64_t session, uint64_t number)
{
    struct protocol_chunk chunk;
    uint32_t id = rig_fetch(rig, 2, session, number, "t", "g", 0, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    return rig_chunk(rig, id, &chunk) ? chunk.attempt : 0;
}

/* ---- numbers --------------------------------------------------------------------------------------------------- */

static void a_repeat_gets_the_recorded_answer(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    expect_published(rig, rig_publish(rig, 1, session, 1, "t", 3), 0, 3);
    expect_published(rig, rig_publish(rig, 1, session, 1, "t", 3), 0, 3);
    uint32_t one = rig_publish(rig, 1, session, 2, "t", 4), other = rig_publish(rig, 7, session, 2, "t", 4);
    rig_turn(rig);
    expect_published(rig, one, 3, 4);
    expect_published(rig, other, 3, 4);
    assert_int_equal(rig_count(rig, "t"), 7);
    rig_restart(rig);
    expect_published(rig, rig_publish(rig, 1, session, 2, "t", 4), 3, 4);
    assert_int_equal(rig_count(rig, "t"), 7);
}

static void a_number_ahead_or_behind_is_refused(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    expect_gap(rig, rig_publish(rig, 1, session, 2, "t", 1), 1);
    expect_published(rig, rig_publish(rig, 1, session, 1, "t", 1), 0, 1);
    expect_published(rig, rig_publish(rig, 1, session, 2, "t", 1), 1, 1);
    expect_gap(rig, rig_publish(rig, 1, session, 1, "t", 1), 3);
    expect_gap(rig, rig_publish(rig, 1, session, 4, "t", 1), 3);
    expect_gap(rig, rig_publish(rig, 1, session, UINT64_MAX, "t", 1), 3);
    rig_restart(rig);
    expect_gap(rig, rig_publish(rig, 1, session, 4, "t", 1), 3);
    assert_int_equal(rig_count(rig, "t"), 2);
}

static void what_fails_uses_up_no_number(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "no/topic", 1)), MP_ERR_INVALID);
    rig->full = true;
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "t", 1)), MP_ERR_FULL);
    rig->full = false;
    store_fail_commit(rig->store, 1);
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "t", 1)), MP_ERR_AGAIN);
    assert_int_equal(rig_count(rig, "t"), 0);
    expect_published(rig, rig_publish(rig, 1, session, 1, "t", 1), 0, 1);
}

/* ---- sessions -------------------------------------------------------------------------------------------------- */

static void a_young_session_that_was_greeted_before_a_restart_goes_on(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    rig_restart(rig); /* nothing of it was kept */
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 2, "t", 1)), MP_ERR_SESSION);
    expect_published(rig, rig_publish(rig, 1, session, 1, "t", 1), 0, 1);
    expect_published(rig, rig_publish(rig, 1, session, 2, "t", 1), 1, 1);
}

static void a_session_that_was_evicted_is_told_so(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    expect_published(rig, rig_publish(rig, 1, session, 1, "t", 1), 0, 1);
    core_disconnected(rig->core, 1);
    rig_turn(rig);
    rig_pass(rig, 3601 * SECOND);
    rig_turn(rig);
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 2, "t", 1)), MP_ERR_SESSION);
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "t", 1)), MP_ERR_SESSION);
    assert_int_equal(rig_count(rig, "t"), 1);
}

static void a_session_in_use_is_not_evicted(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    for (uint64_t number = 1; number < 5; number++) {
        rig_pass(rig, 3000 * SECOND);
        rig_turn(rig);
        expect_published(rig, rig_publish(rig, 1, session, number, "t", 1), number - 1, 1);
        core_disconnected(rig->core, 1);
    }
}

static void a_clock_that_is_set_forward_forgets_nobody(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    for (uint64_t number = 1; number < 6; number++) /* so that there is a snapshot with its row */
        expect_published(rig, rig_publish(rig, 1, session, number, "t", 1), number - 1, 1);
    rig->now.wall += 100000 * SECOND;
    rig_restart(rig);
    rig_turn(rig);
    rig_pass(rig, 61 * SECOND);
    rig_turn(rig);
    expect_published(rig, rig_publish(rig, 1, session, 5, "t", 1), 4, 1);
}

static void a_clock_that_is_set_back_makes_no_session_young_again(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    expect_published(rig, rig_publish(rig, 2, rig_hello(rig, 2), 1, "t", 1), 0, 1);
    rig->now.wall += 4000 * SECOND;
    rig_restart(rig);
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "t", 1)), MP_ERR_SESSION);
    expect_published(rig, rig_publish(rig, 1, rig_hello(rig, 1), 1, "t", 1), 1, 1); /* so it was not applied */
    rig->now.wall -= 4000 * SECOND;
    rig_turn(rig);
    assert_int_equal(rig_status(rig, rig_publish(rig, 3, session, 1, "t", 1)), MP_ERR_SESSION); /* a late copy */
    rig_restart(rig);
    assert_int_equal(rig_status(rig, rig_publish(rig, 3, session, 1, "t", 1)), MP_ERR_SESSION);
    assert_int_equal(rig_count(rig, "t"), 2);
}

static void who_is_unknown_is_told_so(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, 12345, 1, "t", 1)), MP_ERR_SESSION);
    assert_int_equal(rig_status(rig, rig_fetch(rig, 1, UINT64_MAX, 1, "t", "g", 0, 0)), MP_ERR_SESSION);
}

/* ---- leases ---------------------------------------------------------------------------------------------------- */

static void a_repeated_fetch_returns_the_same_leases(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct protocol_chunk chunk = lease_ten(rig, session), again;
    uint32_t id = rig_fetch(rig, 3, session, 1, "t", "g", 0, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_true(rig_chunk(rig, id, &again));
    assert_true(again.first == chunk.first && again.count == 10 && again.attempt == 1);
    rig_restart(rig);
    id = rig_fetch(rig, 3, session, 1, "t", "g", 0, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(rig_messages(rig, id), 10);
    assert_int_equal(attempt_of(rig, session, 2), 0);
}

static void a_settlement_counts_once(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct protocol_chunk chunk = lease_ten(rig, session);
    struct protocol_settlement item = all_of(&chunk, 1, PROTOCOL_ACK);
    item.count = 4;
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, NULL), 4, 0);
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, NULL), 4, 0);
    item.count = 10; /* four are settled, six are leased */
    expect_settled(rig, rig_settle(rig, 1, session, 2, &item, NULL), 6, 4);
    rig_restart(rig);
    expect_settled(rig, rig_settle(rig, 1, session, 2, &item, NULL), 6, 4);
    expect_settled(rig, rig_settle(rig, 1, session, 3, &item, NULL), 0, 10);
    rig_restart(rig);
    expect_settled(rig, rig_settle(rig, 1, session, 3, &item, NULL), 0, 10);
    rig_pass(rig, 60 * SECOND);
    assert_int_equal(attempt_of(rig, session, 2), 0);
}

static void a_lease_that_has_ended_cannot_be_settled(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1), other = rig_hello(rig, 4);
    struct protocol_chunk chunk = lease_ten(rig, session);
    struct protocol_settlement item = all_of(&chunk, 1, PROTOCOL_ACK);
    rig_pass(rig, 10 * SECOND + 1);
    rig_turn(rig);
    assert_int_equal(attempt_of(rig, other, 1), 1); /* one of ten, none of which is charged */
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, NULL), 0, 10);
    expect_settled(rig, rig_settle(rig, 4, other, 1, &item, NULL), 1, 9);
}

static void a_lease_that_ended_is_not_the_next_one_of_the_same_session(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct protocol_chunk chunk = lease_ten(rig, session);
    struct protocol_settlement item = all_of(&chunk, 1, PROTOCOL_ACK);
    rig_pass(rig, 10 * SECOND + 1);
    rig_turn(rig);
    assert_int_equal(attempt_of(rig, session, 2), 1);
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, NULL), 0, 10);
    item.lease = 2;
    expect_settled(rig, rig_settle(rig, 1, session, 2, &item, NULL), 1, 9);
}

static void what_arrived_is_applied_before_leases_end(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct protocol_chunk chunk = lease_ten(rig, session);
    struct protocol_settlement item = all_of(&chunk, 1, PROTOCOL_ACK);
    rig_pass(rig, 20 * SECOND); /* no turn has looked since */
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, NULL), 10, 0);
}

static void a_turn_that_took_long_takes_no_time_from_leases(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1), other = rig_hello(rig, 4);
    struct protocol_chunk chunk = lease_ten(rig, session);
    int64_t lease = (int64_t)core_lease(rig->core) * 1000;
    core_stood_still(rig->core, 60 * SECOND);
    rig_pass(rig, 60 * SECOND + lease - 1);
    rig_turn(rig);
    struct protocol_settlement item = all_of(&chunk, 1, PROTOCOL_ACK);
    item.count = 4;
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, NULL), 4, 0);
    core_disconnected(rig->core, 1);
    core_disconnected(rig->core, 2);
    rig_turn(rig);
    core_stood_still(rig->core, 60 * SECOND); /* nobody is connected who could not extend its leases */
    rig_pass(rig, lease);
    rig_turn(rig);
    uint32_t id = rig_fetch(rig, 3, other, 1, "t", "g", 0, 0);
    rig_turn(rig);
    assert_int_equal(rig_messages(rig, id), 1); /* one at a time: any may be why they came to nothing */
}

static void retry_waits_and_charges_release_does_neither(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct protocol_chunk chunk = lease_ten(rig, session);
    struct protocol_settlement item = all_of(&chunk, 1, PROTOCOL_RELEASE);
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, NULL), 10, 0);
    assert_int_equal(attempt_of(rig, session, 2), 1);
    item.lease = 2;
    item.action = PROTOCOL_RETRY;
    item.delay = 5000;
    expect_settled(rig, rig_settle(rig, 1, session, 2, &item, NULL), 10, 0);
    assert_int_equal(attempt_of(rig, session, 3), 0);
    rig_pass(rig, 4 * SECOND);
    assert_int_equal(attempt_of(rig, session, 3), 0);
    rig_restart(rig);
    assert_int_equal(attempt_of(rig, session, 3), 0);
    rig_pass(rig, SECOND);
    rig_turn(rig); /* time's work comes after the requests of its turn */
    assert_int_equal(attempt_of(rig, session, 3), 2);
}

static void a_lease_that_is_extended_lasts(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct buffer body = {0};
    uint32_t leases;
    struct protocol_chunk chunk = lease_ten(rig, session);
    for (unsigned i = 0; i < 5; i++) {
        rig_pass(rig, 8 * SECOND);
        body.size = 0;
        assert_int_equal(protocol_put_u32(&body, 0), MP_OK);
        uint32_t id = rig_submit(rig, 1, PROTOCOL_EXTEND, PROTOCOL_LANE_CONTROL, session, i, 0, &body);
        assert_int_equal(rig_status(rig, id), MP_OK);
        assert_int_equal(protocol_read_u32(rig_reply(rig, id), &leases), MP_OK);
        assert_int_equal(leases, 1);
    }
    buffer_free(&body);
    struct protocol_settlement item = all_of(&chunk, 1, PROTOCOL_ACK);
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, NULL), 10, 0);
}

static void leases_outlive_a_connection_by_the_grace(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1), other = rig_hello(rig, 4);
    lease_ten(rig, session);
    core_disconnected(rig->core, 1);
    core_disconnected(rig->core, 2);
    rig_turn(rig);
    rig_pass(rig, 2 * SECOND - 1);
    rig_turn(rig);
    assert_int_equal(attempt_of(rig, other, 1), 0);
    core_disconnected(rig->core, 2); /* the other's fetch came on it */
    rig_pass(rig, 1);
    rig_turn(rig);
    assert_int_equal(attempt_of(rig, other, 1), 1);
}

static void who_comes_back_in_time_keeps_its_leases(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct protocol_chunk chunk = lease_ten(rig, session);
    core_disconnected(rig->core, 1);
    core_disconnected(rig->core, 2);
    rig_turn(rig);
    rig_pass(rig, SECOND);
    assert_int_equal(attempt_of(rig, session, 2), 0); /* a sign of life */
    rig_pass(rig, 9 * SECOND);
    rig_turn(rig);
    struct protocol_settlement item = all_of(&chunk, 1, PROTOCOL_ACK);
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, NULL), 10, 0);
}

static void a_restart_keeps_leases(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1), other = rig_hello(rig, 4);
    struct protocol_chunk chunk = lease_ten(rig, session);
    struct protocol_settlement item = all_of(&chunk, 1, PROTOCOL_ACK);
    rig_restart(rig);
    assert_int_equal(attempt_of(rig, other, 1), 0);
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, NULL), 10, 0);
}

static void who_leaves_gives_everything_back(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1), other = rig_hello(rig, 4);
    uint32_t messages;
    lease_ten(rig, session);
    uint32_t waiting = rig_fetch(rig, 2, session, 2, "t", "g", 0, 5000);
    rig_turn(rig);
    uint32_t id = rig_submit(rig, 1, PROTOCOL_LEAVE, PROTOCOL_LANE_CONTROL, session, 9, 0, &(struct buffer){.size = 0});
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(protocol_read_u32(rig_reply(rig, id), &messages), MP_OK);
    assert_int_equal(messages, 10);
    assert_int_equal(rig_status(rig, waiting), MP_ERR_SESSION);
    /* A late copy of its fetch is given nothing. */
    assert_int_equal(rig_status(rig, rig_fetch(rig, 2, session, 2, "t", "g", 0, 0)), MP_ERR_SESSION);
    assert_int_equal(attempt_of(rig, other, 1), 1);
}

/* ---- settling and publishing in one step ----------------------------------------------------------------------- */

static void settlement_and_publication_are_one(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct protocol_chunk chunk = lease_ten(rig, session);
    struct protocol_settlement item = all_of(&chunk, 1, PROTOCOL_ACK);
    item.count = 5;
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, "out"), 5, 0);
    assert_int_equal(rig_count(rig, "out"), 2);
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, "out"), 5, 0);
    rig_restart(rig);
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, "out"), 5, 0);
    assert_int_equal(rig_count(rig, "out"), 2);
    /* One message of them has no lease: nothing of it happens, and no number is used up. */
    item.first += 4;
    assert_int_equal(rig_status(rig, rig_settle(rig, 1, session, 2, &item, "out")), MP_ERR_STALE);
    assert_int_equal(rig_count(rig, "out"), 2);
    item.first += 1;
    rig->full = true;
    assert_int_equal(rig_status(rig, rig_settle(rig, 1, session, 2, &item, "out")), MP_ERR_FULL);
    rig->full = false;
    assert_int_equal(rig_status(rig, rig_settle(rig, 1, session, 2, &item, "no/topic")), MP_ERR_INVALID);
    store_fail_commit(rig->store, 1);
    assert_int_equal(rig_status(rig, rig_settle(rig, 1, session, 2, &item, "out")), MP_ERR_AGAIN);
    assert_int_equal(rig_count(rig, "out"), 2);
    expect_settled(rig, rig_settle(rig, 1, session, 2, &item, "out"), 5, 0);
    assert_int_equal(rig_count(rig, "out"), 4);
}

/* ---- waiting --------------------------------------------------------------------------------------------------- */

static void a_long_poll_is_answered_when_messages_come(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1), producer = rig_hello(rig, 5);
    uint32_t group = rig_fetch(rig, 2, session, 1, "t", "g", 0, 5000);
    uint32_t pattern = rig_fetch(rig, 3, rig_hello(rig, 3), 1, "t.>", "g", 0, 5000);
    uint32_t reader = rig_fetch(rig, 4, rig_hello(rig, 4), 0, "t", "", 0, 5000);
    rig_turn(rig);
    assert_null(rig_reply(rig, group));
    assert_null(rig_reply(rig, reader));
    assert_int_equal(core_due(rig->core), rig->now.monotonic + 5 * SECOND);
    rig_publish(rig, 5, producer, 1, "t", 3);
    rig_turn(rig);
    assert_int_equal(rig_messages(rig, group), 3);
    assert_int_equal(rig_messages(rig, reader), 3);
    assert_null(rig_reply(rig, pattern));
    rig_publish(rig, 5, producer, 2, "t.new", 2);
    rig_turn(rig);
    assert_int_equal(rig_messages(rig, pattern), 2);
}

static void a_long_poll_ends_empty(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    uint32_t id = rig_fetch(rig, 2, session, 1, "t", "g", 0, 5000);
    rig_turn(rig);
    rig_pass(rig, 5 * SECOND - 1);
    rig_turn(rig);
    assert_null(rig_reply(rig, id));
    rig_pass(rig, 1);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(rig_messages(rig, id), 0);
    assert_int_equal(attempt_of(rig, session, 1), 0); /* the number was not used up */
}

static void a_late_copy_of_an_older_fetch_leaves_nobody_waiting(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1), producer = rig_hello(rig, 5);
    struct protocol_chunk chunk = lease_ten(rig, session);
    (void)chunk;
    uint32_t waiting = rig_fetch(rig, 2, session, 2, "t", "g", 0, 5000);
    rig_turn(rig);
    assert_int_equal(rig_status(rig, rig_fetch(rig, 6, session, 1, "t", "g", 0, 5000)), MP_OK);
    rig_publish(rig, 5, producer, 1, "t", 1);
    assert_int_equal(rig_status(rig, waiting), MP_OK);
    assert_int_equal(rig_messages(rig, waiting), 1);
    /* The same request on two ways: whoever loses its place is told. */
    waiting = rig_fetch(rig, 2, session, 3, "t", "g", 0, 5000);
    rig_turn(rig);
    uint32_t copy = rig_fetch(rig, 6, session, 3, "t", "g", 0, 5000);
    assert_int_equal(rig_status(rig, waiting), MP_ERR_AGAIN);
    rig_publish(rig, 5, producer, 2, "t", 1);
    assert_int_equal(rig_status(rig, copy), MP_OK);
    assert_int_equal(rig_messages(rig, copy), 1);
}

static void who_waits_on_a_group_that_was_undone_is_told(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1), producer = rig_hello(rig, 5);
    store_fail_commit(rig->store, 1);
    uint32_t id = rig_fetch(rig, 2, session, 1, "t.*", "g", 0, 60000);
    assert_int_equal(rig_status(rig, id), MP_ERR_AGAIN);
    rig_publish(rig, 5, producer, 1, "t.a", 1); /* makes no group of a pattern that is not there */
    rig_turn(rig);
    id = rig_fetch(rig, 2, session, 1, "t.*", "g", 0, 60000);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(rig_messages(rig, id), 1);
    struct buffer groups = {0};
    assert_int_equal(rig->engine->operations->describe_groups(rig->engine, &groups), MP_OK);
    assert_int_equal(buffer_put_u8(&groups, 0), MP_OK);
    const char *first = strstr((const char *)groups.data, "\"t.a\"");
    assert_true(!first || !strstr(first + 1, "\"t.a\""));
    buffer_free(&groups);
}

static enum mp_error put_room(struct buffer *out, const char *topic, uint32_t wait)
{
    struct protocol_room room = {
        .topic = topic, .topic_size = strlen(topic), .wait = wait, .messages = 1, .bytes = 100};
    return protocol_put_room(out, &room);
}

static void who_asks_for_room_waits_for_it(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct buffer body = {0};
    assert_int_equal(put_room(&body, "t", 1000), MP_OK);
    assert_int_equal(rig_status(rig, rig_submit(rig, 1, PROTOCOL_ROOM, PROTOCOL_LANE_CONTROL, session, 1, 0, &body)),
                     MP_OK);
    rig->full = true;
    uint32_t id = rig_submit(rig, 1, PROTOCOL_ROOM, PROTOCOL_LANE_CONTROL, session, 2, 0, &body);
    rig_turn(rig);
    assert_null(rig_reply(rig, id));
    rig_pass(rig, SECOND / 2);
    rig_turn(rig);
    assert_null(rig_reply(rig, id));
    rig->full = false;
    assert_int_equal(rig_status(rig, id), MP_OK);
    rig->full = true;
    id = rig_submit(rig, 1, PROTOCOL_ROOM, PROTOCOL_LANE_CONTROL, session, 3, 0, &body);
    rig_turn(rig);
    rig_pass(rig, SECOND);
    assert_int_equal(rig_status(rig, id), MP_ERR_FULL);
    buffer_free(&body);
}

static void a_connection_takes_its_requests_with_it(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1), producer = rig_hello(rig, 5);
    uint32_t waiting = rig_fetch(rig, 2, session, 1, "t", "g", 0, 5000);
    rig_turn(rig);
    core_disconnected(rig->core, 2);
    uint32_t lost = rig_publish(rig, 5, producer, 1, "t", 1);
    core_disconnected(rig->core, 5);
    assert_int_equal(core_pending(rig->core), 0);
    rig_turn(rig);
    assert_null(rig_reply(rig, lost));
    expect_published(rig, rig_publish(rig, 6, producer, 1, "t", 1), 0, 1);
    assert_null(rig_reply(rig, waiting));
    assert_int_equal(attempt_of(rig, session, 1), 1);
}

/* ---- the rest -------------------------------------------------------------------------------------------------- */

static void garbage_is_answered_and_changes_nothing(void **state)
{
    struct rig *rig = *state;
    uint32_t ids[] = {77};
    uint8_t *bytes;
    struct blob *blob = blob_make(40, &bytes);
    assert_non_null(blob);
    memset(bytes, 0xa5, 40);
    core_submit(rig->core, 1, ids, 1, blob);
    assert_int_equal(rig_status(rig, 77), MP_ERR_FORMAT);
    uint64_t session = rig_hello(rig, 1);
    struct buffer body = {0};
    struct protocol_publication to = protocol_publication("t");
    assert_int_equal(protocol_put_publish(&body, &to), MP_OK);
    assert_int_equal(buffer_append(&body, "no frame", 8), MP_OK);
    uint32_t id = rig_submit(rig, 1, PROTOCOL_PUBLISH, PROTOCOL_LANE_PUBLISH, session, 1, 0, &body);
    assert_int_not_equal(rig_status(rig, id), MP_OK);
    buffer_free(&body);
    expect_published(rig, rig_publish(rig, 1, session, 1, "t", 1), 0, 1);
}

static void a_relay_that_drains_takes_nothing_new(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    struct protocol_chunk chunk = lease_ten(rig, session);
    struct protocol_settlement item = all_of(&chunk, 1, PROTOCOL_ACK);
    core_drain(rig->core);
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "t", 1)), MP_ERR_AGAIN);
    assert_int_equal(rig_status(rig, rig_fetch(rig, 2, session, 2, "t", "g", 0, 5000)), MP_ERR_AGAIN);
    expect_settled(rig, rig_settle(rig, 1, session, 1, &item, NULL), 10, 0);
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)

static enum mp_error load_without_memory(struct engine *engine, struct moment now, const struct engine_load *load,
                                         struct fault *fault)
{
    (void)engine, (void)now, (void)load, (void)fault;
    return MP_ERR_MEMORY;
}

static void a_start_that_fails_says_why(void **state)
{
    struct rig *rig = *state;
    struct engine *engine;
    struct core *core = NULL;
    struct fault fault = {0};
    assert_int_equal(engine_local_open(rig->store, &rig->local, &engine, &fault), MP_OK);
    struct engine_operations operations = *engine->operations;
    operations.load = load_without_memory;
    engine->operations = &operations;
    assert_int_equal(core_new(engine, &rig->settings, rig->now, &core, &fault), MP_ERR_MEMORY);
    assert_int_equal(fault.code, MP_ERR_MEMORY);
    assert_string_equal(fault_text(&fault), "the store could not be loaded: no memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGGED(a_repeat_gets_the_recorded_answer),
        RIGGED(a_number_ahead_or_behind_is_refused),
        RIGGED(what_fails_uses_up_no_number),
        RIGGED(a_young_session_that_was_greeted_before_a_restart_goes_on),
        RIGGED(a_session_that_was_evicted_is_told_so),
        RIGGED(a_session_in_use_is_not_evicted),
        RIGGED(a_clock_that_is_set_forward_forgets_nobody),
        RIGGED(a_clock_that_is_set_back_makes_no_session_young_again),
        RIGGED(who_is_unknown_is_told_so),
        RIGGED(a_repeated_fetch_returns_the_same_leases),
        RIGGED(a_settlement_counts_once),
        RIGGED(a_lease_that_has_ended_cannot_be_settled),
        RIGGED(a_lease_that_ended_is_not_the_next_one_of_the_same_session),
        RIGGED(what_arrived_is_applied_before_leases_end),
        RIGGED(a_turn_that_took_long_takes_no_time_from_leases),
        RIGGED(retry_waits_and_charges_release_does_neither),
        RIGGED(a_lease_that_is_extended_lasts),
        RIGGED(leases_outlive_a_connection_by_the_grace),
        RIGGED(who_comes_back_in_time_keeps_its_leases),
        RIGGED(a_restart_keeps_leases),
        RIGGED(who_leaves_gives_everything_back),
        RIGGED(settlement_and_publication_are_one),
        RIGGED(a_long_poll_is_answered_when_messages_come),
        RIGGED(a_long_poll_ends_empty),
        RIGGED(a_late_copy_of_an_older_fetch_leaves_nobody_waiting),
        RIGGED(who_waits_on_a_group_that_was_undone_is_told),
        RIGGED(who_asks_for_room_waits_for_it),
        RIGGED(a_connection_takes_its_requests_with_it),
        RIGGED(garbage_is_answered_and_changes_nothing),
        RIGGED(a_relay_that_drains_takes_nothing_new),
        RIGGED(a_start_that_fails_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
