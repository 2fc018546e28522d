/* Repair of a topic (engine.h): what is damaged or missing is given up, and nothing else. */
#include "engine_rig.h"

#include <stdlib.h>
#include <string.h>

enum { TOPIC = 1 };

/* Three frames in t, of 3, 4 and 2 messages, before a group that has settled none. */
static void make_topic(struct rig *rig)
{
    rig_subscribe(rig, "t", "g", 2);
    assert_int_equal(rig_publish(rig, "t", 3), 0);
    assert_int_equal(rig_publish(rig, "t", 4), 3);
    assert_int_equal(rig_publish(rig, "t", 2), 7);
}

/* The row of the frame at FIRST is gone, as SQLite loses one with its page; memory knows nothing of it. */
static void lose(struct rig *rig, uint64_t first)
{
    assert_int_equal(store_begin(rig->store, NULL), MP_OK);
    assert_int_equal(store_delete_frame(rig->store, TOPIC, first, NULL), MP_OK);
    assert_int_equal(store_commit(rig->store, NULL), MP_OK);
}

static struct engine_repair repair(struct rig *rig, uint64_t from)
{
    struct engine_repair result;
    rig_begin(rig);
    if (rig->engine->operations->repair_topic(rig->engine, "t", from, &result, &rig->fault))
        fail_msg("%s", fault_text(&rig->fault));
    rig_commit(rig);
    return result;
}

static void expect(const struct engine_repair *result, uint64_t first, uint64_t count, uint64_t next, uint64_t dropped)
{
    assert_int_equal(result->first, first);
    assert_int_equal(result->count, count);
    assert_int_equal(result->next, next);
    assert_int_equal(result->end, 9);
    assert_int_equal(result->dropped, dropped);
}

static void a_sound_topic_stays_as_it_is(void **state)
{
    struct rig *rig = *state;
    make_topic(rig);
    struct engine_repair result = repair(rig, 0);
    expect(&result, 0, 0, 9, 0);
    result = repair(rig, 9); /* nothing is left to be looked at */
    expect(&result, 0, 0, 9, 0);
    result = repair(rig, 5); /* inside a frame */
    expect(&result, 0, 0, 9, 0);
    assert_int_equal(rig_read(rig, "t"), 9);
    rig_begin(rig);
    assert_int_equal(rig->engine->operations->repair_topic(rig->engine, "none", 0, &result, &rig->fault),
                     MP_ERR_NOT_FOUND);
    assert_int_equal(result.end, 0);
    rig_commit(rig);
}

static void a_frame_that_is_missing_is_given_up(void **state)
{
    struct rig *rig = *state;
    make_topic(rig);
    lose(rig, 3);
    rig_restart(rig);
    struct engine_repair result = repair(rig, 0);
    expect(&result, 3, 4, 7, 4);
    result = repair(rig, result.next);
    expect(&result, 0, 0, 9, 0);
    assert_int_equal(rig_read(rig, "t"), 5);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 5);
    assert_string_equal(rig_offsets(rig), "0 1 2 7 8 ");
    result = repair(rig, 0); /* what stands there now is sound */
    expect(&result, 0, 0, 9, 0);
    rig_restart(rig);
    assert_int_equal(rig_read(rig, "t"), 5);
}

static void a_first_and_a_last_frame_may_be_missing(void **state)
{
    struct rig *rig = *state;
    make_topic(rig);
    lose(rig, 0);
    lose(rig, 7);
    struct engine_repair result = repair(rig, 0);
    expect(&result, 0, 3, 3, 3);
    result = repair(rig, result.next);
    expect(&result, 7, 2, 9, 2);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 4);
    assert_string_equal(rig_offsets(rig), "3 4 5 6 ");
    assert_int_equal(rig_publish(rig, "t", 1), 9); /* offsets stay dense */
}

static void what_was_settled_of_it_is_not_dropped(void **state)
{
    struct rig *rig = *state;
    make_topic(rig);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 5), 5);
    assert_int_equal(rig_settle(rig, 2, 0, 5, ENGINE_ACK), 5);
    lose(rig, 3);
    struct engine_repair result = repair(rig, 3);
    expect(&result, 3, 4, 7, 2);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 2);
    assert_string_equal(rig_offsets(rig), "7 8 ");
}

/* A row that fits its checksum and says more than its frame has reaches into the next one, which stays. */
static void a_row_that_says_another_count_than_its_frame_is_given_up_to_the_next(void **state)
{
    struct rig *rig = *state;
    struct store_frame row;
    struct blob *blob;
    make_topic(rig);
    assert_int_equal(store_read_frame(rig->store, TOPIC, 3, &row, &blob, NULL), MP_OK);
    lose(rig, 3);
    row.count = 5;
    assert_int_equal(store_begin(rig->store, NULL), MP_OK);
    assert_int_equal(store_add_frame(rig->store, &row, NULL), MP_OK);
    assert_int_equal(store_commit(rig->store, NULL), MP_OK);
    blob_drop(blob);
    struct engine_repair result = repair(rig, 0);
    expect(&result, 3, 4, 7, 4);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 5);
    assert_string_equal(rig_offsets(rig), "0 1 2 7 8 ");
}

static void a_repair_that_is_undone_can_be_made_again(void **state)
{
    struct rig *rig = *state;
    struct engine_repair result;
    make_topic(rig);
    lose(rig, 3);
    rig_begin(rig);
    assert_int_equal(rig->engine->operations->repair_topic(rig->engine, "t", 0, &result, &rig->fault), MP_OK);
    expect(&result, 3, 4, 7, 4);
    rig_undo(rig);
    result = repair(rig, 0);
    expect(&result, 3, 4, 7, 4);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sound_topic_stays_as_it_is),
        TEST(a_frame_that_is_missing_is_given_up),
        TEST(a_first_and_a_last_frame_may_be_missing),
        TEST(what_was_settled_of_it_is_not_dropped),
        TEST(a_row_that_says_another_count_than_its_frame_is_given_up_to_the_next),
        TEST(a_repair_that_is_undone_can_be_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
