/* Retries by a group's policy, dead letters, and consumers that die. */
#include "engine_rig.h"

#include "message/letter.h"

#include <stdio.h>

/* Group g of t, whose delays are just what its policy says. */
static struct rig *without_jitter(void **state)
{
    struct rig *rig = *state;
    rig_configure(rig, "t", "g", "retry.jitter", "0");
    return rig;
}

static struct engine_settlement dead(uint64_t first, uint32_t count, const char *note)
{
    return (struct engine_settlement){.first = first,
                                      .count = count,
                                      .action = ENGINE_DEAD,
                                      .delay = ENGINE_DELAY_POLICY,
                                      .exit_code = 65,
                                      .note = note,
                                      .note_size = note ? strlen(note) : 0};
}

/* How many letters TOPIC has; a topic that is not there has none. */
static uint64_t letters(struct rig *rig, const char *topic)
{
    return rig_read(rig, topic);
}

/* ---- retries --------------------------------------------------------------------------------------------------- */

static void retries_wait_as_the_policy_says(void **state)
{
    struct rig *rig = without_jitter(state);
    static const int64_t delays[] = {100, 200, 400, 800, 1600, 3200}; /* milliseconds */
    rig_publish(rig, "t", 1);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 1);
        assert_int_equal(rig->given.items[0].attempt, i + 1);
        assert_int_equal(rig_settle(rig, 2, 0, 1, ENGINE_RETRY), 1);
        rig_pass(rig, delays[i] * 1000 - 1);
        assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 0);
        if (i == 3)
            rig_restart(rig);
        rig_pass(rig, 1);
    }
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 1);
}

static void a_settlement_can_say_its_own_delay(void **state)
{
    struct rig *rig = without_jitter(state);
    rig_deal(rig, "t", 10, 10);
    struct engine_settlement retry = {.first = 0, .count = 5, .action = ENGINE_RETRY, .delay = 3000, .exit_code = 1};
    assert_int_equal(rig_settle_as(rig, 2, retry), 5);
    retry.first = 5;
    retry.delay = 0;
    assert_int_equal(rig_settle_as(rig, 2, retry), 5);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 5); /* at once */
    rig_pass(rig, 3 * SECOND);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 5);
}

/* One settlement of messages with different attempts: each gets what its own attempts are worth. */
static void a_span_of_different_attempts_is_settled_at_once(void **state)
{
    struct rig *rig = without_jitter(state);
    rig_configure(rig, "t", "g", "retry.max_retries", "1");
    rig_deal(rig, "t", 9, 9);
    assert_int_equal(rig_settle(rig, 2, 3, 3, ENGINE_RETRY), 3);
    assert_int_equal(rig_settle(rig, 2, 0, 9, ENGINE_RELEASE), 6);
    rig_pass(rig, 100000);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 9);
    struct engine_settlement all = {
        .first = 0, .count = 9, .span = 9, .action = ENGINE_RETRY, .delay = ENGINE_DELAY_POLICY, .exit_code = 7};
    assert_int_equal(rig_settle_as(rig, 2, all), 9);
    assert_int_equal(letters(rig, "t.dead"), 3);
    for (unsigned i = 0; i < 3; i++) {
        char offset[8];
        struct record record = rig_record(rig, i);
        snprintf(offset, sizeof offset, "%u", 3 + i);
        rig_assert_text(rig_attribute(&record, "deadoffset"), offset);
        rig_assert_text(rig_attribute(&record, "deadreason"), "retries");
        rig_assert_text(rig_attribute(&record, "deadattempts"), "2");
        rig_assert_text(rig_attribute(&record, "deadcode"), "7");
    }
    rig_pass(rig, 100000);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 6);
}

/* ---- letters --------------------------------------------------------------------------------------------------- */

static void a_letter_tells_everything(void **state)
{
    struct rig *rig = *state;
    struct buffer attributes = {0};
    assert_int_equal(attributes_set(&attributes, ATTRIBUTE_STRING, "colour", 6, "red", 3, NULL), MP_OK);
    rig_configure(rig, "orders", "bill", "retry.jitter", "0");
    rig_publish(rig, "orders", 3);
    rig_publish_one(rig, "orders", "the body", &attributes);
    buffer_free(&attributes);
    uint64_t sequence = rig->sequence;
    assert_int_equal(rig_fetch(rig, 2, "orders", "bill", 0), 4);
    assert_int_equal(rig_settle(rig, 2, 3, 1, ENGINE_RETRY), 1);
    rig_pass(rig, 5 * SECOND);
    assert_int_equal(rig_fetch(rig, 2, "orders", "bill", 0), 1);
    struct engine_settlement settlement = dead(3, 1, "first line\n\tcannot: \\ \x01\n");
    settlement.reason = ENGINE_REASON_FORMAT;
    assert_int_equal(rig_settle_as(rig, 2, settlement), 1);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(letters(rig, "orders.dead"), 1);
        struct record record = rig_record(rig, 0);
        assert_int_equal(record.size, 8);
        assert_memory_equal(record.body, "the body", 8);
        assert_int_equal(record.producer, 77);
        assert_int_equal(record.sequence, sequence);
        rig_assert_text(rig_attribute(&record, "colour"), "red");
        rig_assert_text(rig_attribute(&record, "deadtopic"), "orders");
        rig_assert_text(rig_attribute(&record, "deadgroup"), "bill");
        rig_assert_text(rig_attribute(&record, "deadoffset"), "3");
        rig_assert_text(rig_attribute(&record, "deadreason"), "format");
        rig_assert_text(rig_attribute(&record, "deadattempts"), "2");
        rig_assert_text(rig_attribute(&record, "deadfirst"), "2023-11-14T22:13:20.000000Z");
        rig_assert_text(rig_attribute(&record, "deadlast"), "2023-11-14T22:13:25.000000Z");
        rig_assert_text(rig_attribute(&record, "deadcode"), "65");
        rig_assert_text(rig_attribute(&record, "deaderror"), "first line\\n\\tcannot: \\\\ \\x01");
        rig_restart(rig);
    }
    /* It waits for mretry, and is settled where it came from. */
    assert_int_equal(rig_fetch(rig, 3, "orders.dead", "mretry", 0), 1);
    assert_int_equal(rig_fetch(rig, 3, "orders", "bill", 0), 0);
}

static void rejected_is_what_a_death_without_a_reason_is(void **state)
{
    struct rig *rig = *state;
    rig_deal(rig, "t", 2, 2);
    struct engine_settlement settlement = dead(0, 2, NULL);
    settlement.exit_code = -1;
    assert_int_equal(rig_settle_as(rig, 2, settlement), 2);
    assert_int_equal(letters(rig, "t.dead"), 2);
    struct record record = rig_record(rig, 1);
    rig_assert_text(rig_attribute(&record, "deadreason"), "rejected");
    rig_assert_text(rig_attribute(&record, "deadcode"), "");
    rig_assert_text(rig_attribute(&record, "deaderror"), "");
    rig_assert_text(rig_attribute(&record, "deadattempts"), "1");
}

static void letters_go_where_the_group_sends_them(void **state)
{
    struct rig *rig = *state;
    rig_configure(rig, "a.*", "g", "dead_letter", "morgue");
    rig_publish(rig, "a.1", 2);
    rig_publish(rig, "a.2", 3);
    assert_int_equal(rig_fetch(rig, 2, "a.*", "g", 0), 5);
    rig_begin(rig);
    for (size_t i = 0; i < rig->given.count; i++) {
        struct engine_settlement settlement = dead(0, rig->given.items[i].count, NULL);
        settlement.group = rig->given.items[i].group;
        assert_int_equal(rig_settle_as(rig, 2, settlement), rig->given.items[i].count);
    }
    rig_commit(rig);
    assert_int_equal(letters(rig, "morgue"), 5);
    assert_int_equal(rig_read(rig, ">"), 5); /* the sources alone: a pattern has no letters */
    assert_int_equal(rig_fetch(rig, 2, "a.*", "g", 0), 0);
}

static void a_turn_that_is_undone_leaves_no_letter(void **state)
{
    struct rig *rig = *state;
    rig_deal(rig, "t", 3, 3);
    struct engine_settlement settlement = dead(1, 1, NULL);
    settlement.group = rig->given.items[0].group;
    for (unsigned i = 0; i < 2; i++) {
        rig_begin(rig);
        assert_int_equal(rig_settle_as(rig, 2, settlement), 1);
        rig_undo(rig);
        assert_int_equal(letters(rig, "t.dead"), 0);
    }
    assert_int_equal(rig_settle_as(rig, 2, settlement), 1);
    rig_restart(rig);
    assert_int_equal(letters(rig, "t.dead"), 1);
    settlement.lease = 1;
    assert_int_equal(rig_settle_as(rig, 2, settlement), 0); /* it is dead already */
    assert_int_equal(letters(rig, "t.dead"), 1);
}

/* More than one frame has room for, and all of one turn. */
static void many_letters_of_a_turn_are_all_there(void **state)
{
    struct rig *rig = *state;
    uint64_t there = 0;
    for (unsigned i = 0; i < 10; i++)
        rig_publish(rig, "t", 2000);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 20000);
    rig_begin(rig);
    for (unsigned i = 0; i < 20000; i += 500)
        assert_int_equal(rig_settle_as(rig, 2, dead(i, 500, "an error that is some bytes long, as they are")), 500);
    rig_commit(rig);
    rig_restart(rig);
    while (rig_fetch(rig, 3, "t.dead", "mretry", 0) > 0) {
        for (unsigned i = 0; i < rig->given.messages; i += 317) {
            char offset[16], body[16];
            struct record record = rig_record(rig, i);
            snprintf(offset, sizeof offset, "%u", (unsigned)there + i);
            rig_assert_text(rig_attribute(&record, "deadoffset"), offset);
            int size = snprintf(body, sizeof body, "m%u", (unsigned)(there + i) % 2000);
            assert_int_equal(record.size, size);
            assert_memory_equal(record.body, body, (size_t)size);
        }
        there += rig->given.messages;
        rig_settle(rig, 3, rig->given.items[0].first, (uint32_t)rig->given.messages, ENGINE_ACK);
    }
    assert_int_equal(there, 20000);
}

static void a_message_with_all_the_attributes_there_can_be_becomes_a_letter(void **state)
{
    struct rig *rig = *state;
    static char value[ATTRIBUTE_VALUE_MAX], note[ENGINE_NOTE_MAX];
    struct buffer attributes = {0};
    memset(value, 'v', sizeof value);
    memset(note, 'e', sizeof note);
    for (unsigned i = 0; i < ATTRIBUTE_COUNT_MAX; i++) {
        char name[8];
        size_t size = (size_t)snprintf(name, sizeof name, "a%02u", i);
        size_t left = ATTRIBUTE_BLOCK_MAX - ATTRIBUTE_ORIGIN_SIZE - attributes.size, rest = ATTRIBUTE_COUNT_MAX - i - 1;
        size_t most = left - rest * 8 - 7 < sizeof value ? left - rest * 8 - 7 : sizeof value;
        assert_int_equal(attributes_set(&attributes, ATTRIBUTE_STRING, name, size, value, most, NULL), MP_OK);
    }
    assert_int_equal(attributes.size, ATTRIBUTE_BLOCK_MAX - ATTRIBUTE_ORIGIN_SIZE);
    rig_publish_one(rig, "t", "full", &attributes);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 1);
    struct engine_settlement settlement = dead(0, 1, NULL);
    settlement.note = note;
    settlement.note_size = sizeof note;
    assert_int_equal(rig_settle_as(rig, 2, settlement), 1);
    assert_int_equal(letters(rig, "t.dead"), 1);
    struct record record = rig_record(rig, 0);
    assert_memory_equal(record.body, "full", 4);
    for (unsigned i = 0; i < ATTRIBUTE_COUNT_MAX; i++) {
        char name[8];
        snprintf(name, sizeof name, "a%02u", i);
        assert_true(rig_attribute(&record, name)[0] == 'v');
    }
    buffer_free(&attributes);

    /* 64 short ones leave room for all that a letter tells. */
    for (unsigned i = 0; i < ATTRIBUTE_COUNT_MAX; i++) {
        char name[8];
        size_t size = (size_t)snprintf(name, sizeof name, "a%02u", i);
        assert_int_equal(attributes_set(&attributes, ATTRIBUTE_STRING, name, size, "v", 1, NULL), MP_OK);
    }
    rig_publish_one(rig, "t", "many", &attributes);
    buffer_free(&attributes);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 1);
    settlement.first = 1;
    assert_int_equal(rig_settle_as(rig, 2, settlement), 1);
    assert_int_equal(letters(rig, "t.dead"), 2);
    record = rig_record(rig, 1);
    rig_assert_text(rig_attribute(&record, "a63"), "v");
    rig_assert_text(rig_attribute(&record, "deadreason"), "rejected");
    assert_int_equal(strlen(rig_attribute(&record, "deaderror")), LETTER_NOTE_MAX);
}

static void letters_keep_the_time_of_their_message(void **state)
{
    struct rig *rig = *state;
    struct buffer attributes = {0};
    static const char own[] = "2001-02-03T04:05:06Z";
    struct frame frame;
    rig_publish(rig, "t", 2);
    rig_pass(rig, 7 * SECOND);
    rig_publish(rig, "t", 1);
    assert_int_equal(attributes_set(&attributes, ATTRIBUTE_STRING, "time", 4, own, sizeof own - 1, &rig->fault), MP_OK);
    rig_publish_one(rig, "t", "timed", &attributes);
    buffer_free(&attributes);
    rig_fetch(rig, 2, "t", "g", 0);
    rig_pass(rig, SECOND);
    assert_int_equal(rig_settle_as(rig, 2, dead(0, 4, NULL)), 4);
    assert_int_equal(letters(rig, "t.dead"), 4);
    assert_int_equal(rig->given.count, 1);
    assert_int_equal(frame_open(&frame, rig->given.items[0].data, rig->given.items[0].size, true, &rig->fault), MP_OK);
    assert_int_equal(frame.time, 1700000000 * SECOND);
    static const char *const times[] = {"", "", "2023-11-14T22:13:27.000000Z", own};
    for (unsigned i = 0; i < 4; i++) {
        struct record record = rig_record(rig, i);
        rig_assert_text(rig_attribute(&record, "time"), times[i]);
    }
}

/* The message had until then to be done; it died before. */
static void letters_outlive_the_time_of_their_message(void **state)
{
    struct rig *rig = *state;
    struct buffer attributes = {0};
    static const char soon[] = "2023-11-14T22:13:25Z"; /* five seconds from the start */
    assert_int_equal(
        attributes_set(&attributes, ATTRIBUTE_STRING, "expirytime", 10, soon, sizeof soon - 1, &rig->fault), MP_OK);
    rig_publish_one(rig, "t", "one", &attributes);
    rig_publish_one(rig, "t", "other", &attributes);
    buffer_free(&attributes);
    rig_fetch(rig, 2, "t", "g", 1);
    rig_settle_as(rig, 2, dead(0, 1, NULL));
    rig_pass(rig, 3600 * SECOND);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 0);
    assert_int_equal(letters(rig, "t.dead"), 1);
    rig_restart(rig);
    rig_pass(rig, 3600 * SECOND);
    assert_int_equal(rig_fetch(rig, 3, "t.dead", "mretry", 0), 1);
    struct record record = rig_record(rig, 0);
    rig_assert_text(rig_attribute(&record, "expirytime"), soon);
}

static void letters_breed_no_letters(void **state)
{
    struct rig *rig = *state;
    rig_deal(rig, "t", 1, 1);
    rig_settle_as(rig, 2, dead(0, 1, NULL));
    rig_configure(rig, "t.dead", "mretry", "retry.max_retries", "0");
    rig_configure(rig, "t.dead", "mretry", "retry.jitter", "0");
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rig_fetch(rig, 3, "t.dead", "mretry", 0), 1);
        if (i == 1)
            assert_int_equal(rig_settle(rig, 3, 0, 1, ENGINE_RETRY), 1);
        else
            assert_int_equal(rig_settle_as(rig, 3, dead(0, 1, NULL)), 1);
        rig_pass(rig, 60 * SECOND - 1);
        assert_int_equal(rig_fetch(rig, 3, "t.dead", "mretry", 0), 0);
        rig_pass(rig, 1);
        assert_int_equal(letters(rig, "t.dead"), 1);
        assert_int_equal(letters(rig, "t.dead.dead"), 0);
    }
}

static void the_longest_name_has_a_dead_letter_topic(void **state)
{
    struct rig *rig = *state;
    char name[NAME_MAX_BYTES + 1] = "", wanted[NAME_MAX_BYTES + 1];
    memset(name, 'n', NAME_MAX_BYTES);
    name[194] = '.'; /* where it is cut */
    rig_publish(rig, name, 1);
    rig_fetch(rig, 2, name, "g", 0);
    rig_settle_as(rig, 2, dead(0, 1, NULL));
    snprintf(wanted, sizeof wanted, "%.194s.dead", name);
    assert_int_equal(letters(rig, wanted), 1);
    struct record record = rig_record(rig, 0);
    rig_assert_text(rig_attribute(&record, "deadtopic"), name);
}

/* What cannot be read any more cannot be copied either: it stays, and is tried later, and the rest goes on. */
static void a_message_that_cannot_be_read_is_tried_later(void **state)
{
    struct rig *rig = without_jitter(state);
    struct store_deleted deleted;
    rig_publish(rig, "t", 1);
    rig_publish(rig, "t", 1);
    rig_deal(rig, "t", 1, 3);
    struct engine_settlement settlement = dead(0, 2, NULL);
    settlement.group = rig->given.items[0].group;
    rig_restart(rig); /* forgets what it has in memory */
    assert_int_equal(store_begin(rig->store, &rig->fault), MP_OK);
    assert_int_equal(store_delete_frames(rig->store, 1, 1, 1, UINT64_MAX, &deleted, &rig->fault), MP_OK);
    assert_int_equal(store_commit(rig->store, &rig->fault), MP_OK);
    assert_int_equal(deleted.rows, 1);
    assert_int_equal(rig_settle_as(rig, 2, settlement), 2);
    assert_int_equal(rig->fault.code, MP_OK); /* or the relay would undo the turn, and the next one, for ever */
    assert_int_equal(letters(rig, "t.dead"), 1);
    struct record record = rig_record(rig, 0);
    rig_assert_text(rig_attribute(&record, "deadoffset"), "1");
    rig_pass(rig, 61 * SECOND);
    rig_begin(rig);
    struct engine_subscription *subscription = rig_subscribe(rig, "t", "g", 3);
    struct engine_origin origin = {.session = 3, .number = 1, .lane = ENGINE_LANE_FETCH};
    struct engine_limits limits = {.bytes = 1000, .chunks = 10};
    engine_deliveries_clear(&rig->given);
    assert_int_equal(
        rig->engine->operations->grant(rig->engine, subscription, &origin, &limits, 1000, &rig->given, &rig->fault),
        MP_ERR_DAMAGED); /* it waits still */
    rig_commit(rig);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(retries_wait_as_the_policy_says),
        TEST(a_settlement_can_say_its_own_delay),
        TEST(a_span_of_different_attempts_is_settled_at_once),
        TEST(a_letter_tells_everything),
        TEST(rejected_is_what_a_death_without_a_reason_is),
        TEST(letters_go_where_the_group_sends_them),
        TEST(a_turn_that_is_undone_leaves_no_letter),
        TEST(many_letters_of_a_turn_are_all_there),
        TEST(a_message_with_all_the_attributes_there_can_be_becomes_a_letter),
        TEST(letters_keep_the_time_of_their_message),
        TEST(letters_outlive_the_time_of_their_message),
        TEST(letters_breed_no_letters),
        TEST(the_longest_name_has_a_dead_letter_topic),
        TEST(a_message_that_cannot_be_read_is_tried_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
