/* Retries by a group's policy, dead letters, and consumers that die. */
#include "engine_rig.h"

#include "message/letter.h"

#include <stdio.h>

static void configure(struct rig *rig, const char *topic, const char *group, const char *const *settings)
{
    struct group_settings group_settings;
    settings_group_default(&group_settings);
    for (; settings[0]; settings += 2)
        assert_int_equal(settings_group_set(&group_settings, settings[0], settings[1], &rig->fault), MP_OK);
    rig_begin(rig);
    if (rig->engine->operations->configure_group(rig->engine, topic, strlen(topic), strpbrk(topic, "*>") != NULL, group,
                                                 strlen(group), &group_settings, &rig->fault))
        fail_msg("%s", fault_text(&rig->fault));
    rig_commit(rig);
}

static const char *const plain[] = {"retry.jitter", "0", NULL};
static const char *const twice[] = {"retry.jitter", "0", "retry.max_retries", "1", NULL};

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

static void assert_text(const char *text, const char *wanted)
{
    if (strcmp(text, wanted) != 0)
        fail_msg("'%s' instead of '%s'", text, wanted);
}

/* ---- retries --------------------------------------------------------------------------------------------------- */

static void retries_wait_as_the_policy_says(void **state)
{
    struct rig *rig = *state;
    static const int64_t delays[] = {100, 200, 400, 800, 1600, 3200}; /* milliseconds */
    configure(rig, "t", "g", plain);
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
    struct rig *rig = *state;
    configure(rig, "t", "g", plain);
    rig_publish(rig, "t", 10);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 10);
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
    struct rig *rig = *state;
    configure(rig, "t", "g", twice);
    rig_publish(rig, "t", 9);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 9);
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
        assert_text(rig_attribute(&record, "deadoffset"), offset);
        assert_text(rig_attribute(&record, "deadreason"), "retries");
        assert_text(rig_attribute(&record, "deadattempts"), "2");
        assert_text(rig_attribute(&record, "deadcode"), "7");
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
    configure(rig, "orders", "bill", plain);
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
        assert_text(rig_attribute(&record, "colour"), "red");
        assert_text(rig_attribute(&record, "deadtopic"), "orders");
        assert_text(rig_attribute(&record, "deadgroup"), "bill");
        assert_text(rig_attribute(&record, "deadoffset"), "3");
        assert_text(rig_attribute(&record, "deadreason"), "format");
        assert_text(rig_attribute(&record, "deadattempts"), "2");
        assert_text(rig_attribute(&record, "deadfirst"), "2023-11-14T22:13:20.000000Z");
        assert_text(rig_attribute(&record, "deadlast"), "2023-11-14T22:13:25.000000Z");
        assert_text(rig_attribute(&record, "deadcode"), "65");
        assert_text(rig_attribute(&record, "deaderror"), "first line\\n\\tcannot: \\\\ \\x01");
        rig_restart(rig);
    }
    /* It waits for mretry, and is settled where it came from. */
    assert_int_equal(rig_fetch(rig, 3, "orders.dead", "mretry", 0), 1);
    assert_int_equal(rig_fetch(rig, 3, "orders", "bill", 0), 0);
}

static void rejected_is_what_a_death_without_a_reason_is(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "t", 2);
    rig_fetch(rig, 2, "t", "g", 0);
    struct engine_settlement settlement = dead(0, 2, NULL);
    settlement.exit_code = -1;
    assert_int_equal(rig_settle_as(rig, 2, settlement), 2);
    assert_int_equal(letters(rig, "t.dead"), 2);
    struct record record = rig_record(rig, 1);
    assert_text(rig_attribute(&record, "deadreason"), "rejected");
    assert_text(rig_attribute(&record, "deadcode"), "");
    assert_text(rig_attribute(&record, "deaderror"), "");
    assert_text(rig_attribute(&record, "deadattempts"), "1");
}

static void letters_go_where_the_group_sends_them(void **state)
{
    struct rig *rig = *state;
    static const char *const elsewhere[] = {"dead_letter", "morgue", NULL};
    configure(rig, "a.*", "g", elsewhere);
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
    rig_publish(rig, "t", 3);
    rig_fetch(rig, 2, "t", "g", 0);
    uint32_t group = rig->given.items[0].group;
    for (unsigned i = 0; i < 2; i++) {
        struct engine_settlement settlement = dead(1, 1, NULL);
        settlement.group = group;
        rig_begin(rig);
        assert_int_equal(rig_settle_as(rig, 2, settlement), 1);
        rig_undo(rig);
        assert_int_equal(letters(rig, "t.dead"), 0);
    }
    struct engine_settlement settlement = dead(1, 1, NULL);
    settlement.group = group;
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
            assert_text(rig_attribute(&record, "deadoffset"), offset);
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
    assert_text(rig_attribute(&record, "a63"), "v");
    assert_text(rig_attribute(&record, "deadreason"), "rejected");
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
        assert_text(rig_attribute(&record, "time"), times[i]);
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
    assert_text(rig_attribute(&record, "expirytime"), soon);
}

static void letters_breed_no_letters(void **state)
{
    struct rig *rig = *state;
    static const char *const once[] = {"retry.max_retries", "0", "retry.jitter", "0", NULL};
    rig_publish(rig, "t", 1);
    rig_fetch(rig, 2, "t", "g", 0);
    rig_settle_as(rig, 2, dead(0, 1, NULL));
    configure(rig, "t.dead", "mretry", once);
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
    assert_text(rig_attribute(&record, "deadtopic"), name);
}

/* What cannot be read any more cannot be copied either: it stays, and is tried later, and the rest goes on. */
static void a_message_that_cannot_be_read_is_tried_later(void **state)
{
    struct rig *rig = *state;
    struct store_deleted deleted;
    configure(rig, "t", "g", plain);
    rig_publish(rig, "t", 1);
    rig_publish(rig, "t", 1);
    rig_publish(rig, "t", 1);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 3);
    struct engine_settlement settlement = dead(0, 2, NULL);
    settlement.group = rig->given.items[0].group;
    rig_restart(rig); /* forgets what it has in memory */
    assert_int_equal(store_begin(rig->store, &rig->fault), MP_OK);
    assert_int_equal(store_delete_frames(rig->store, 1, 1, 1, UINT64_MAX, &deleted, &rig->fault), MP_OK);
    assert_int_equal(store_commit(rig->store, &rig->fault), MP_OK);
    assert_int_equal(deleted.rows, 1);
    assert_int_equal(rig_settle_as(rig, 2, settlement), 2);
    assert_int_equal(letters(rig, "t.dead"), 1);
    struct record record = rig_record(rig, 0);
    assert_text(rig_attribute(&record, "deadoffset"), "1");
    rig_pass(rig, 61 * SECOND);
    struct engine_subscription *subscription;
    rig_begin(rig);
    assert_int_equal(rig->engine->operations->subscribe(rig->engine, "t", 1, false, "g", 1, 3, ENGINE_FROM_DEFAULT, 0,
                                                        &subscription, &rig->fault),
                     MP_OK);
    struct engine_origin origin = {.session = 3, .number = 1, .lane = ENGINE_LANE_FETCH};
    struct engine_limits limits = {.bytes = 1000, .chunks = 10};
    engine_deliveries_clear(&rig->given);
    assert_int_equal(
        rig->engine->operations->grant(rig->engine, subscription, &origin, &limits, 1000, &rig->given, &rig->fault),
        MP_ERR_DAMAGED); /* it waits still */
    rig_commit(rig);
}

/* ---- consumers that die ---------------------------------------------------------------------------------------- */

/* A fetch by SESSION, whose consumer dies of KILLER if it is among what it got, and does the rest. */
static unsigned consume(struct rig *rig, uint64_t session, const char *topic, uint64_t killer, unsigned *done)
{
    uint64_t count = rig_fetch(rig, session, topic, "g", 0);
    bool dies = false;
    for (size_t i = 0; i < rig->given.count; i++) {
        const struct engine_delivery *given = &rig->given.items[i];
        dies |= killer >= given->first && killer < given->first + given->count;
        if (killer != given->first || given->count > 1)
            assert_int_equal(given->attempt, 1); /* nobody else was ever charged */
    }
    if (!dies) {
        for (size_t i = 0; i < rig->given.count; i++)
            *done += rig_settle(rig, session, rig->given.items[i].first, rig->given.items[i].count, ENGINE_ACK);
        return 0;
    }
    rig_pass(rig, 11 * SECOND); /* its leases end */
    return count > 0;
}

static void a_killer_dies_and_its_neighbours_are_never_charged(void **state)
{
    struct rig *rig = *state;
    static const char *const thrice[] = {"retry.max_retries", "2", NULL};
    unsigned done = 0, deaths = 0;
    configure(rig, "t", "g", thrice);
    rig_publish(rig, "t", 1000);
    for (unsigned i = 0; i < 500 && done < 999; i++)
        deaths += consume(rig, 2 + i % 3, "t", 637, &done);
    assert_int_equal(done, 999);
    while (consume(rig, 2, "t", 637, &done))
        deaths++;
    assert_int_equal(letters(rig, "t.dead"), 1);
    struct record record = rig_record(rig, 0);
    assert_text(rig_attribute(&record, "deadoffset"), "637");
    assert_text(rig_attribute(&record, "deadreason"), "retries");
    assert_text(rig_attribute(&record, "deadattempts"), "3");
    /* 1000, 62 and 3 were suspected before it was alone; then three attempts. */
    assert_int_equal(deaths, 3 + 3);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 0);
}

static void suspects_are_alone(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "t", 40);
    rig_publish(rig, "u", 5);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 32), 32);
    rig_pass(rig, 11 * SECOND);
    /* Who holds something gets none of them, nor what comes behind them. */
    assert_int_equal(rig_fetch(rig, 3, "u", "g", 1), 1);
    uint32_t of_u = rig->given.items[0].group;
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 0);
    /* Who holds nothing gets two: a sixteenth; and then nothing, from anywhere, not even after a restart. */
    assert_int_equal(rig_fetch(rig, 4, "t", "g", 0), 2);
    uint32_t of_t = rig->given.items[0].group;
    assert_int_equal(rig_fetch(rig, 4, "t", "g", 0), 0);
    rig_restart(rig);
    assert_int_equal(rig_fetch(rig, 4, "u", "g", 0), 0);
    /* Who waits is told when that has changed. */
    struct engine_subscription *subscription;
    while ((subscription = rig->engine->operations->next_ready(rig->engine)))
        ;
    rig_begin(rig);
    assert_int_equal(rig->engine->operations->subscribe(rig->engine, "u", 1, false, "g", 1, 4, ENGINE_FROM_DEFAULT, 0,
                                                        &subscription, &rig->fault),
                     MP_OK);
    rig_commit(rig);
    subscription->waiters = rig;
    struct engine_settlement ack = {.group = of_t, .lease = 1, .first = 0, .count = 2, .action = ENGINE_ACK};
    assert_int_equal(rig_settle_as(rig, 4, ack), 2);
    assert_true(subscription->ready);
    subscription->waiters = NULL;
    assert_int_equal(rig_fetch(rig, 4, "u", "g", 0), 4);
    ack = (struct engine_settlement){.group = of_u, .lease = 1, .first = 0, .count = 1, .action = ENGINE_ACK};
    assert_int_equal(rig_settle_as(rig, 3, ack), 1);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 2);
}

/* One consumer stops to take them; those that are at work go on with the others. */
static void suspects_hold_up_one_consumer_alone(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "t", 40);
    rig_publish(rig, "u", 5);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 32), 32);
    rig_pass(rig, 11 * SECOND);
    assert_int_equal(rig_fetch(rig, 3, "u", "g", 1), 1);
    uint32_t of_u = rig->given.items[0].group;
    assert_int_equal(rig_fetch(rig, 4, "u", "g", 1), 1);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 0); /* it is to take them */
    assert_int_equal(rig_fetch(rig, 4, "t", "g", 3), 3);
    assert_int_equal(rig->given.items[0].first, 32);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 0);
    assert_int_equal(rig_fetch(rig, 4, "t", "g", 0), 5);
    struct engine_settlement ack = {.group = of_u, .lease = 1, .first = 0, .count = 1, .action = ENGINE_ACK};
    assert_int_equal(rig_settle_as(rig, 3, ack), 1);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 2);
    assert_int_equal(rig->given.items[0].first, 0);
    assert_int_equal(rig_settle(rig, 3, 0, 2, ENGINE_ACK), 2);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 2);
}

/* Who asks for certain messages does not begin all that he gets: mretry moves letters, and dies of none. */
static void a_claim_takes_suspects_like_others(void **state)
{
    struct rig *rig = *state;
    struct engine_subscription *subscription;
    rig_publish(rig, "t", 40);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 32), 32);
    rig_pass(rig, 11 * SECOND);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 2);
    rig_begin(rig);
    assert_int_equal(rig->engine->operations->subscribe(rig->engine, "t", 1, false, "g", 1, 3, ENGINE_FROM_DEFAULT, 0,
                                                        &subscription, &rig->fault),
                     MP_OK);
    struct engine_origin origin = {.session = 3, .number = 2, .lane = ENGINE_LANE_FETCH};
    struct engine_limits limits = {.bytes = 100000, .chunks = 100, .only_first = 10, .only_count = 25};
    engine_deliveries_clear(&rig->given);
    assert_int_equal(
        rig->engine->operations->grant(rig->engine, subscription, &origin, &limits, 1000, &rig->given, &rig->fault),
        MP_OK);
    assert_int_equal(rig->given.messages, 25);
    rig_commit(rig);
}

static void a_lone_message_is_charged_and_stays_alone(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "t", 3);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 1), 1);
    rig_pass(rig, 11 * SECOND);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 1);
    assert_int_equal(rig->given.items[0].attempt, 2);
    assert_int_equal(rig->given.items[0].first, 0);
    /* When its consumer says what became of it, it is no suspect any more. */
    assert_int_equal(rig_settle(rig, 2, 0, 1, ENGINE_RETRY), 1);
    rig_pass(rig, SECOND);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 3);
}

/* Leases of one session that end one after the other belong to one death. */
static void what_is_left_of_a_death_is_not_charged(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "t", 1);
    rig_publish(rig, "u", 1);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 1);
    rig_pass(rig, 5 * SECOND);
    assert_int_equal(rig_fetch(rig, 2, "u", "g", 0), 1);
    rig_pass(rig, 6 * SECOND); /* the first one's lease is over */
    rig_pass(rig, 5 * SECOND); /* and the other's */
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 1);
    assert_int_equal(rig->given.items[0].attempt, 1);
    assert_int_equal(rig_fetch(rig, 4, "u", "g", 0), 1);
    assert_int_equal(rig->given.items[0].attempt, 1);
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
        TEST(a_killer_dies_and_its_neighbours_are_never_charged),
        TEST(suspects_are_alone),
        TEST(suspects_hold_up_one_consumer_alone),
        TEST(a_claim_takes_suspects_like_others),
        TEST(a_lone_message_is_charged_and_stays_alone),
        TEST(what_is_left_of_a_death_is_not_charged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
