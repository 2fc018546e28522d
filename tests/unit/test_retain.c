/* Retention: what goes when every group has settled it, what stays, and what a start must still find. */
#include "core_rig.h"

#include "relay/private.h"

#include <stdio.h>
#include <stdlib.h>

static int set_up(void **state)
{
    int result = rig_set_up(state);
    struct rig *rig = *state;
    rig->local.snapshot_every = 20;
    rig->settings.max_message = 4 * 1024 * 1024;
    rig_restart(rig);
    return result;
}

/* Publishes frames of TEN messages each; numbers from NUMBER on. */
static void publish(struct rig *rig, uint64_t session, uint64_t number, unsigned count, const char *topic)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t id = rig_publish(rig, 1, session, number + i, topic, 10);
        assert_int_equal(rig_status(rig, id), MP_OK);
        rig_forget_replies(rig);
    }
}

/* GROUP settles up to MESSAGES of TOPIC, by the fetch and the settlement of that number. */
static uint32_t consume(struct rig *rig, uint64_t session, uint64_t number, const char *topic, const char *group,
                        uint32_t messages)
{
    struct protocol_fetched fetched;
    struct protocol_chunk chunk;
    struct protocol_settlement items[64];
    uint32_t count = 0, total = 0, applied, stale;
    uint32_t id = rig_fetch(rig, 2, session, number, topic, group, messages, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(protocol_read_fetched(rig_reply(rig, id), &fetched), MP_OK);
    while (protocol_next_chunk(&fetched, &chunk)) {
        assert_true(count < 64);
        items[count++] = (struct protocol_settlement){.group = chunk.group,
                                                      .lease = number,
                                                      .first = chunk.first,
                                                      .count = chunk.count,
                                                      .action = PROTOCOL_ACK,
                                                      .exit_code = -1};
        total += chunk.count;
    }
    rig_forget_replies(rig);
    if (count == 0)
        return 0;
    struct buffer body = {0};
    assert_int_equal(protocol_put_settle(&body, items, count, 0), MP_OK);
    id = rig_submit(rig, 2, PROTOCOL_SETTLE, PROTOCOL_LANE_SETTLE, session, number, 0, &body);
    buffer_free(&body);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(protocol_read_settled(rig_reply(rig, id), &applied, &stale), MP_OK);
    assert_int_equal(applied, total);
    rig_forget_replies(rig);
    return total;
}

static enum mp_error count_frame(void *context, const struct store_frame *row)
{
    (void)row;
    ++*(unsigned *)context;
    return MP_OK;
}

/* Frames of the first topic in the store. */
static unsigned frames(struct rig *rig)
{
    unsigned count = 0;
    assert_int_equal(store_each_frame(rig->store, 1, 0, count_frame, &count, NULL), MP_OK);
    return count;
}

/* Messages of the only topic, as `mrelay topics` tells. */
static unsigned long messages(struct rig *rig)
{
    static const char name[] = "\"messages\":";
    struct buffer out = {0};
    assert_int_equal(rig->real->describe_topics(rig->engine, &out), MP_OK);
    assert_int_equal(buffer_append(&out, "", 1), MP_OK);
    const char *at = strstr((const char *)out.data, name);
    assert_non_null(at);
    unsigned long number = strtoul(at + sizeof name - 1, NULL, 10);
    buffer_free(&out);
    return number;
}

/* Lets the relay do what is due in the next DURATION; it sleeps as long as it says that it may. */
static void let_pass(struct rig *rig, int64_t duration)
{
    int64_t end = rig->now.monotonic + duration;
    for (unsigned turns = 0; turns < 10000; turns++) {
        int64_t due = core_due(rig->core);
        if (due > end)
            break;
        if (due > rig->now.monotonic)
            rig_pass(rig, due - rig->now.monotonic);
        rig_turn(rig);
        assert_true(turns < 9999);
    }
    rig_pass(rig, end - rig->now.monotonic);
}

/* A topic beside it, in which something happens: what can be deleted is. */
static void stir(struct rig *rig)
{
    uint64_t session = rig_hello(rig, 3);
    for (uint64_t i = 1; i <= 64; i++) {
        uint32_t id = rig_publish(rig, 3, session, i, "beside", 1);
        assert_int_equal(rig_status(rig, id), MP_OK);
        rig_forget_replies(rig);
    }
}

static void set_topic(struct rig *rig, const char *topic, const char *key, const char *value)
{
    struct topic_settings settings;
    struct fault fault = {0};
    settings_topic_default(&settings);
    assert_int_equal(settings_topic_set(&settings, key, value, &fault), MP_OK);
    rig->real->begin(rig->engine, rig->now);
    assert_int_equal(rig->real->configure_topic(rig->engine, topic, strlen(topic), &settings, &fault), MP_OK);
    assert_int_equal(rig->real->commit(rig->engine, core_sessions_save, rig->core, &fault), MP_OK);
}

/* ---- what goes ------------------------------------------------------------------------------------------------- */

static void what_every_group_has_settled_goes(void **state)
{
    struct rig *rig = *state;
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    publish(rig, producer, 1, 20, "t");
    assert_int_equal(consume(rig, consumer, 1, "t", "one", 195), 195);
    assert_int_equal(rig_count(rig, "t"), 5); /* at once, to the message */
    assert_int_equal(consume(rig, consumer, 2, "t", "one", 5), 5);
    assert_int_equal(rig_count(rig, "t"), 0);
    stir(rig);
    assert_int_equal(frames(rig), 0);
    rig_restart(rig); /* that finds no frame: offsets go on */
    publish(rig, producer, 21, 1, "t");
    uint32_t id = rig_fetch(rig, 2, consumer, 3, "t", "one", 0, 0);
    struct protocol_chunk chunk;
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_true(rig_chunk(rig, id, &chunk));
    assert_int_equal(chunk.first, 200);
}

static void what_one_group_has_not_settled_stays(void **state)
{
    struct rig *rig = *state;
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    assert_int_equal(consume(rig, consumer, 1, "t", "one", 0), 0);
    assert_int_equal(consume(rig, consumer, 1, "t", "two", 0), 0);
    publish(rig, producer, 1, 20, "t");
    assert_int_equal(consume(rig, consumer, 1, "t", "one", 0), 200);
    assert_int_equal(rig_count(rig, "t"), 200);
    assert_int_equal(consume(rig, consumer, 2, "t", "two", 105), 105);
    assert_int_equal(rig_count(rig, "t"), 95);
    stir(rig);
    assert_int_equal(frames(rig), 10); /* one of them half settled */
    rig_restart(rig);
    assert_int_equal(rig_count(rig, "t"), 95);
    assert_int_equal(consume(rig, consumer, 3, "t", "two", 0), 95);
    assert_int_equal(rig_count(rig, "t"), 0);
    stir(rig);
    assert_int_equal(frames(rig), 0);
}

static void without_a_group_everything_stays(void **state)
{
    struct rig *rig = *state;
    uint64_t producer = rig_hello(rig, 1);
    publish(rig, producer, 1, 20, "t");
    stir(rig);
    rig_restart(rig);
    stir(rig);
    assert_int_equal(frames(rig), 20);
}

/* A group that is made later begins with what is left. */
static void a_new_group_begins_at_the_oldest_that_is_kept(void **state)
{
    struct rig *rig = *state;
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    publish(rig, producer, 1, 20, "t");
    assert_int_equal(consume(rig, consumer, 1, "t", "one", 145), 145);
    assert_int_equal(consume(rig, consumer, 2, "t", "two", 0), 55);
    rig_restart(rig);
    assert_int_equal(consume(rig, consumer, 3, "t", "three", 0), 55);
}

/* ---- what a start needs ---------------------------------------------------------------------------------------- */

/* Every request of a session is known after a restart, wherever the sweep was: nothing is stored twice. */
static void a_repeat_after_a_kill_is_known_though_its_frame_is_gone(void **state)
{
    struct rig *rig = *state;
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    for (uint64_t i = 0; i < 6; i++) {
        publish(rig, producer, i + 1, 1, "t");
        assert_int_equal(consume(rig, consumer, i + 1, "t", "g", 0), 10);
        if (i % 2) {
            stir(rig);
            assert_int_equal(frames(rig), 0);
        }
        rig_restart(rig);
        uint32_t id = rig_publish(rig, 1, producer, i + 1, "t", 10); /* the reply was lost */
        uint64_t first;
        uint32_t count, duplicates;
        assert_int_equal(rig_status(rig, id), MP_OK);
        assert_int_equal(protocol_read_published(rig_reply(rig, id), &first, &count, &duplicates), MP_OK);
        assert_true(first == i * 10 && count == 10);
        rig_forget_replies(rig);
    }
    assert_int_equal(consume(rig, consumer, 7, "t", "g", 0), 0);
}

/* Only what the last snapshot knows of may go: before it, nothing does. */
static void nothing_goes_before_a_snapshot_knows_of_it(void **state)
{
    struct rig *rig = *state;
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    rig->local.snapshot_every = 150;
    rig_restart(rig); /* the first change after which takes a snapshot */
    publish(rig, producer, 1, 20, "t");
    assert_int_equal(consume(rig, consumer, 1, "t", "g", 0), 200);
    stir(rig);
    assert_in_range(frames(rig), 19, 20);
    stir(rig);
    stir(rig);
    assert_int_equal(frames(rig), 0);
}

/* ---- what is held ---------------------------------------------------------------------------------------------- */

static void settled_messages_stay_for_their_age(void **state)
{
    struct rig *rig = *state;
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    set_topic(rig, "t", "retain.age", "1h");
    publish(rig, producer, 1, 5, "t");
    let_pass(rig, 1800 * SECOND);
    producer = rig_hello(rig, 1);
    publish(rig, producer, 1, 5, "t");
    assert_int_equal(consume(rig, consumer, 1, "t", "g", 0), 100);
    let_pass(rig, 1700 * SECOND);
    assert_int_equal(rig_count(rig, "t"), 100);
    let_pass(rig, 200 * SECOND);
    assert_int_equal(rig_count(rig, "t"), 50);
    rig_restart(rig); /* the clock goes on from where it was */
    assert_int_equal(rig_count(rig, "t"), 50);
    stir(rig);
    assert_int_equal(frames(rig), 5);
    let_pass(rig, 1750 * SECOND);
    assert_int_equal(rig_count(rig, "t"), 0);
}

static void settled_messages_stay_up_to_their_bytes(void **state)
{
    struct rig *rig = *state;
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    struct store_frame last;
    publish(rig, producer, 1, 1, "t");
    assert_int_equal(store_last_frame(rig->store, 1, &last, NULL), MP_OK);
    char text[24];
    snprintf(text, sizeof text, "%zu", last.size * 4);
    set_topic(rig, "t", "retain.bytes", text);
    publish(rig, producer, 2, 9, "t");
    assert_int_equal(rig_count(rig, "t"), 100); /* not settled: nothing to do with it */
    assert_int_equal(consume(rig, consumer, 1, "t", "g", 35), 35);
    assert_int_equal(rig_count(rig, "t"), 70);
    assert_int_equal(consume(rig, consumer, 2, "t", "g", 65), 65);
    assert_int_equal(rig_count(rig, "t"), 40);
    stir(rig);
    assert_int_equal(frames(rig), 4);
    rig_restart(rig);
    publish(rig, producer, 11, 2, "t");
    assert_int_equal(consume(rig, consumer, 3, "t", "g", 0), 20);
    assert_int_equal(rig_count(rig, "t"), 40);
    set_topic(rig, "t", "retain.bytes", "");
    let_pass(rig, SECOND);
    assert_int_equal(rig_count(rig, "t"), 0);
}

static void what_is_published_takes_the_place_of_what_is_settled(void **state)
{
    struct rig *rig = *state;
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    struct store_frame last;
    publish(rig, producer, 1, 1, "t");
    assert_int_equal(store_last_frame(rig->store, 1, &last, NULL), MP_OK);
    char text[24];
    snprintf(text, sizeof text, "%zu", last.size * 4);
    set_topic(rig, "t", "retain.bytes", text);
    publish(rig, producer, 2, 3, "t");
    assert_int_equal(consume(rig, consumer, 1, "t", "g", 40), 40);
    assert_int_equal(rig_count(rig, "t"), 40);
    publish(rig, producer, 5, 3, "t");
    let_pass(rig, SECOND);
    assert_int_equal(rig_count(rig, "t"), 40); /* though nothing more was settled */
}

/* More frames than a turn looks at. */
static void much_that_is_held_goes_in_steps(void **state)
{
    struct rig *rig = *state;
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    set_topic(rig, "t", "retain.age", "1h");
    publish(rig, producer, 1, 700, "t");
    for (uint64_t i = 1, total = 0; total < 7000; i++)
        total += consume(rig, consumer, i, "t", "g", 600);
    let_pass(rig, 3500 * SECOND);
    assert_int_equal(messages(rig), 7000);
    let_pass(rig, 110 * SECOND);
    assert_int_equal(messages(rig), 0);
}

/* ---- events ---------------------------------------------------------------------------------------------------- */

static enum mp_error count_event(void *context, const struct store_event *row)
{
    uint64_t *range = context;
    if (range[0] == 0)
        range[0] = row->id;
    range[1] = row->id;
    return MP_OK;
}

static void events_are_kept_up_to_their_number(void **state)
{
    struct rig *rig = *state;
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2), range[2] = {0};
    rig->local.events = 100;
    rig->local.snapshot_every = 50;
    rig_restart(rig);
    publish(rig, producer, 1, 420, "t");
    for (uint64_t i = 0; i < 4200; i++)
        assert_int_equal(consume(rig, consumer, i + 1, "t", "g", 1), 1);
    let_pass(rig, 60 * SECOND);
    assert_int_equal(store_each_event(rig->store, 0, count_event, range, NULL), MP_OK);
    assert_in_range(range[1] - range[0] + 1, 100, 4300);
    assert_int_equal(range[1], 420 + 8400);
    rig_restart(rig);
    publish(rig, producer, 421, 1, "t");
    assert_int_equal(consume(rig, consumer, 4201, "t", "g", 0), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_every_group_has_settled_goes, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_one_group_has_not_settled_stays, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(without_a_group_everything_stays, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_new_group_begins_at_the_oldest_that_is_kept, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_repeat_after_a_kill_is_known_though_its_frame_is_gone, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(nothing_goes_before_a_snapshot_knows_of_it, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(settled_messages_stay_for_their_age, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(settled_messages_stay_up_to_their_bytes, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_is_published_takes_the_place_of_what_is_settled, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(much_that_is_held_goes_in_steps, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(events_are_kept_up_to_their_number, set_up, rig_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
