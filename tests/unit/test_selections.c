/* What of a frame is given to whom: scattered messages, replays to one group, claims, looks, and how many in flight. */
#include "engine_rig.h"

#include "queue/local.h"

#include <stdlib.h>

static const char topic[] = "t", group[] = "g";

/* The offsets that a fetch of MESSAGES at most (0: all) gives to SESSION. */
static const char *fetch(struct rig *rig, uint64_t session, uint32_t messages)
{
    rig_fetch(rig, session, topic, group, messages);
    return rig_offsets(rig);
}

/* Acknowledges, retries at once, … what the last fetch of SESSION gave: SPAN offsets from FIRST on. */
static uint32_t settle_span(struct rig *rig, uint64_t session, uint64_t first, uint32_t span, enum engine_action action)
{
    return rig_settle_as(rig, session,
                         (struct engine_settlement){
                             .first = first, .count = 1, .span = span, .action = action, .exit_code = -1, .group = 1});
}

static void scattered_messages_go_out_as_one_frame(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, topic, 20);
    assert_int_equal(rig_fetch(rig, 2, topic, group, 0), 20);
    for (uint64_t offset = 1; offset < 20; offset += 3)
        assert_int_equal(rig_settle_as(rig, 2,
                                       (struct engine_settlement){
                                           .first = offset, .count = 1, .action = ENGINE_RETRY, .exit_code = 1}),
                         1);
    assert_string_equal(fetch(rig, 3, 0), "1 4 7 10 13 16 19 ");
    assert_int_equal(rig->given.count, 1);
    assert_int_equal(rig->given.items[0].attempt, 2);
    struct record record = rig_record(rig, 2);
    assert_memory_equal(record.body, "m7", record.size);
    assert_int_equal(record.producer, 77);
    assert_int_equal(record.sequence, 100000 + 7);
    /* The same again, and after a restart. */
    assert_int_equal(rig_fetch_again(rig, 3, topic, group), 7);
    assert_string_equal(rig_offsets(rig), "1 4 7 10 13 16 19 ");
    rig_restart(rig);
    assert_int_equal(rig_fetch_again(rig, 3, topic, group), 7);
    assert_string_equal(rig_offsets(rig), "1 4 7 10 13 16 19 ");
    /* A span settles what its lease holds there, and nothing of the other's. */
    assert_int_equal(settle_span(rig, 3, 0, 12, ENGINE_ACK), 4);
    assert_int_equal(rig_fetch_again(rig, 3, topic, group), 3);
    assert_string_equal(rig_offsets(rig), "13 16 19 ");
    assert_int_equal(settle_span(rig, 2, 0, 20, ENGINE_ACK), 13);
    assert_int_equal(settle_span(rig, 3, 5, 15, ENGINE_ACK), 3);
    assert_int_equal(rig_peek(rig, topic, group, 0), 0);
    assert_true(rig->given.end);
}

static void limits_cut_sets_too(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, topic, 20);
    assert_int_equal(rig_fetch(rig, 2, topic, group, 0), 20);
    for (uint64_t offset = 1; offset < 20; offset += 2)
        rig_settle_as(rig, 2,
                      (struct engine_settlement){.first = offset, .count = 1, .action = ENGINE_RETRY, .exit_code = 1});
    assert_string_equal(fetch(rig, 3, 3), "1 3 5 ");
    assert_int_equal(rig->given.waiting, 7);
    rig->limits.bytes = 100; /* a frame's header, and a record or two */
    assert_string_equal(fetch(rig, 4, 0), "7 9 11 ");
    rig->limits.bytes = 1;
    assert_string_equal(fetch(rig, 5, 0), "13 ");
    rig->limits.bytes = 1 << 20;
    rig->limits.sets = false; /* who does not know masks gets one run after the other */
    assert_string_equal(fetch(rig, 6, 0), "15 17 19 ");
    assert_int_equal(rig->given.count, 3);
}

static void what_was_tried_more_often_is_a_frame_of_its_own(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, topic, 6);
    rig_fetch(rig, 2, topic, group, 0);
    rig_settle_as(rig, 2, (struct engine_settlement){.first = 2, .count = 1, .action = ENGINE_RETRY, .exit_code = 1});
    rig_settle_as(rig, 2,
                  (struct engine_settlement){.first = 0, .count = 6, .action = ENGINE_RELEASE, .exit_code = -1});
    assert_string_equal(fetch(rig, 3, 0), "0 1 2 3 4 5 ");
    assert_int_equal(rig->given.count, 3);
    assert_int_equal(rig->given.items[1].first, 2);
    assert_int_equal(rig->given.items[1].attempt, 2);
    assert_int_equal(rig->given.items[2].attempt, 1);
}

static const struct group *group_of(const struct rig *rig, const char *name)
{
    struct local *local = local_of(rig->engine);
    size_t at = 0;
    const struct group *found;
    while ((found = map_next(&local->groups, &at)))
        if (strcmp(found->name, name) == 0)
            return found;
    return NULL;
}

static void a_replay_is_for_its_group_alone(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, topic, 2);
    rig_fetch(rig, 2, topic, group, 1);
    rig_fetch(rig, 3, topic, "other", 1);
    rig_publish_keys(rig, topic, group, "---"); /* 2, 3, 4 */
    rig_publish(rig, topic, 1);
    assert_string_equal(fetch(rig, 4, 0), "1 2 3 4 5 ");
    rig_fetch(rig, 5, topic, "other", 0);
    assert_string_equal(rig_offsets(rig), "1 5 ");
    assert_int_equal(group_of(rig, "other")->states.counts[STATE_FOREIGN], 3);
    assert_int_equal(group_of(rig, group)->states.counts[STATE_FOREIGN], 0);
    /* A reader does not see it, and neither does a look for the other group. */
    assert_int_equal(rig_read(rig, topic), 3);
    assert_string_equal(rig_offsets(rig), "0 1 5 ");
    rig_peek(rig, topic, "other", 0);
    assert_string_equal(rig_offsets(rig), "0 1 5 ");
    rig_restart(rig);
    assert_int_equal(group_of(rig, "other")->states.counts[STATE_FOREIGN], 3);
    /* A topic that ends with replays to another group is done. */
    rig_publish_keys(rig, topic, group, "----");
    assert_int_equal(rig_fetch(rig, 6, topic, "other", 0), 0);
    assert_int_equal(rig->given.waiting, 0);
}

/* Readers are told where they stand when all that came is not for them. */
static void a_reader_is_brought_past_replays(void **state)
{
    struct rig *rig = *state;
    rig_fetch(rig, 2, topic, group, 1);
    for (unsigned i = 0; i < 300; i++)
        rig_publish_keys(rig, topic, group, "--");
    rig_publish(rig, topic, 1);
    rig_read(rig, topic);
    assert_int_equal(rig->given.messages, 0);
    assert_true(rig->given.passed);
    assert_true(rig->given.waiting > 0 && !rig->given.end);
    assert_int_equal(rig->given.items[0].first, 512);
    /* A group, too, is done with many in more than one turn. */
    rig_fetch(rig, 3, topic, "other", 0);
    assert_int_equal(rig->given.messages, 0);
    assert_true(rig->engine->operations->due(rig->engine) <= rig->now.monotonic);
    rig_pass(rig, 1);
    rig_fetch(rig, 4, topic, "other", 0);
    assert_string_equal(rig_offsets(rig), "600 ");
}

static void a_claim_takes_what_waits_out_of_turn(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, topic, 10);
    rig_publish(rig, topic, 10);
    assert_string_equal(fetch(rig, 2, 3), "0 1 2 ");
    rig->limits.only_first = 12;
    rig->limits.only_count = 2;
    assert_string_equal(fetch(rig, 3, 0), "12 13 ");
    assert_string_equal(fetch(rig, 4, 0), ""); /* they are out */
    rig->limits.only_first = 2;
    rig->limits.only_count = 4;
    assert_string_equal(fetch(rig, 4, 0), "3 4 5 ");
    rig->limits.only_first = 19;
    rig->limits.only_count = UINT64_MAX;
    assert_string_equal(fetch(rig, 5, 0), "19 ");
    rig->limits.only_first = rig->limits.only_count = 0;
    rig_restart(rig);
    /* What was passed by was not tried. */
    assert_string_equal(fetch(rig, 6, 0), "6 7 8 9 10 11 14 15 16 17 18 ");
    assert_int_equal(rig->given.items[0].attempt, 1);
}

static void a_look_shows_what_is_not_settled_and_leases_nothing(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, topic, 6);
    rig_fetch(rig, 2, topic, group, 4);
    rig_settle_as(rig, 2, (struct engine_settlement){.first = 0, .count = 1, .action = ENGINE_ACK, .exit_code = 0});
    rig_settle_as(rig, 2, (struct engine_settlement){.first = 2, .count = 1, .action = ENGINE_ACK, .exit_code = 0});
    assert_int_equal(rig_peek(rig, topic, group, 0), 4);
    assert_string_equal(rig_offsets(rig), "1 3 4 5 ");
    assert_int_equal(rig->given.items[0].group, 0);
    assert_true(rig->given.end);
    rig->limits.messages = 2;
    rig_peek(rig, topic, group, 0);
    assert_string_equal(rig_offsets(rig), "1 3 ");
    assert_int_equal(rig->given.waiting, 2);
    assert_false(rig->given.end);
    rig_peek(rig, topic, group, 4);
    assert_string_equal(rig_offsets(rig), "4 5 ");
    assert_int_equal(group_of(rig, group)->states.counts[STATE_LEASED], 2);
}

static void no_more_are_in_flight_than_allowed(void **state)
{
    struct rig *rig = *state;
    rig_configure(rig, topic, group, "max_in_flight", "3");
    rig_publish(rig, topic, 10);
    assert_string_equal(fetch(rig, 2, 2), "0 1 ");
    assert_string_equal(fetch(rig, 3, 0), "2 ");
    assert_string_equal(fetch(rig, 4, 0), "");
    assert_int_equal(rig->given.waiting, 7);
    while (rig->engine->operations->next_ready(rig->engine)) {
    }
    assert_int_equal(rig_settle_as(rig, 2,
                                   (struct engine_settlement){
                                       .first = 0, .count = 2, .action = ENGINE_ACK, .exit_code = 0, .group = 1}),
                     2);
    assert_non_null(rig->engine->operations->next_ready(rig->engine)); /* who waits is asked again */
    assert_string_equal(fetch(rig, 4, 0), "3 4 ");
    rig_restart(rig);
    assert_string_equal(fetch(rig, 5, 0), "");
    rig_configure(rig, topic, group, "max_in_flight", "");
    assert_string_equal(fetch(rig, 5, 0), "5 6 7 8 9 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scattered_messages_go_out_as_one_frame, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(limits_cut_sets_too, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_was_tried_more_often_is_a_frame_of_its_own, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_replay_is_for_its_group_alone, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_reader_is_brought_past_replays, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_claim_takes_what_waits_out_of_turn, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_look_shows_what_is_not_settled_and_leases_nothing, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(no_more_are_in_flight_than_allowed, rig_set_up, rig_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
