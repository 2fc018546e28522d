/* Topics that look for duplicates: what is one, for how long, and what it costs to know. */
#include "time_rig.h"

#include "base/bits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rig_message with_id(const char *id)
{
    return (struct rig_message){.body = id, .attributes = {"id", id}};
}

/* Publishes messages with these ids, one a word, in one frame. Returns a letter each: D for a duplicate, n for new. */
static const char *send_ids(struct time_rig *rig, int64_t delay, const char *words)
{
    static char told[64];
    struct rig_message messages[32];
    char copy[256], *at = copy;
    uint32_t count = 0, duplicates, marked = 0;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok(at, " "); word; word = strtok(NULL, " "))
        messages[count++] = with_id(word);
    uint64_t first = time_rig_publish(rig, "t", "", delay, messages, count, &duplicates);
    if (first == ENGINE_SCHEDULED)
        return "";
    struct store_frame row;
    struct blob *blob;
    assert_int_equal(store_read_frame(rig->store, 1, first, &row, &blob, NULL), MP_OK);
    assert_int_equal(row.first, first);
    for (uint32_t i = 0; i < count; i++) {
        bool mark = row.marks && bits_get(row.marks, i);
        told[i] = mark ? 'D' : 'n';
        marked += mark;
    }
    told[count] = '\0';
    assert_int_equal(marked, duplicates);
    blob_drop(blob);
    return told;
}

static void set_up(struct time_rig *rig, const char *by)
{
    time_rig_begin(rig);
    time_rig_configure(rig, "t", "dedupe.by", by);
    time_rig_configure(rig, "t", "dedupe.window", "100s");
}

static void they_are_found_in_a_frame_and_across_frames(void **state)
{
    struct time_rig rig;
    (void)state;
    set_up(&rig, "id");
    assert_string_equal(send_ids(&rig, 0, "a b a c b a"), "nnDnDD");
    assert_string_equal(send_ids(&rig, 0, "d c d e"), "nDDn");
    assert_string_equal(send_ids(&rig, 0, "a b c d e"), "DDDDD");
    assert_string_equal(send_ids(&rig, 0, "f"), "n");
    time_rig_end(&rig);
}

static void nobody_is_given_one(void **state)
{
    struct time_rig rig;
    (void)state;
    set_up(&rig, "id");
    time_rig_join(&rig, "t", "g");
    send_ids(&rig, 0, "a b a c b a d");
    send_ids(&rig, 0, "a b");
    send_ids(&rig, 0, "c e d");
    time_rig_expect(&rig, "t", "g", "a b c d e ");
    time_rig_restart(&rig);
    send_ids(&rig, 0, "a a f");
    time_rig_expect(&rig, "t", "g", "f ");
    /* One that is fetched message by message. */
    send_ids(&rig, 0, "g h g i h");
    char text[64] = "";
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(time_rig_consume(&rig, "t", "g", 1, text, sizeof text), 1);
    assert_string_equal(text, "g h i ");
    assert_int_equal(time_rig_consume(&rig, "t", "g", 1, text, sizeof text), 0);
    time_rig_end(&rig);
}

static void the_window_is_kept_to_the_microsecond(void **state)
{
    struct time_rig rig;
    (void)state;
    set_up(&rig, "id");
    assert_string_equal(send_ids(&rig, 0, "a"), "n");
    time_rig_pass(&rig, 100 * SECOND - 1);
    assert_string_equal(send_ids(&rig, 0, "a b"), "Dn"); /* that it came again does not make its time longer */
    time_rig_pass(&rig, 1);
    assert_string_equal(send_ids(&rig, 0, "a b"), "nD");
    time_rig_pass(&rig, 99 * SECOND);
    time_rig_settle_down(&rig);
    assert_string_equal(send_ids(&rig, 0, "b a"), "DD");
    time_rig_pass(&rig, SECOND);
    time_rig_settle_down(&rig);
    assert_string_equal(send_ids(&rig, 0, "b a"), "nn");
    time_rig_end(&rig);
}

static void restarts_and_steps_of_the_clock_forget_nothing(void **state)
{
    const int64_t steps[] = {0, DAY, -DAY, -WALL / 2};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct time_rig rig;
        set_up(&rig, "id");
        assert_string_equal(send_ids(&rig, 0, "a b a"), "nnD");
        rig.now.wall += steps[i];
        time_rig_restart(&rig);
        assert_string_equal(send_ids(&rig, 0, "c b"), "nD");
        rig.now.wall -= 2 * steps[i];
        time_rig_pass(&rig, 99 * SECOND);
        time_rig_restart(&rig);
        time_rig_settle_down(&rig);
        assert_string_equal(send_ids(&rig, 0, "a b c d"), "DDDn");
        time_rig_pass(&rig, SECOND);
        time_rig_restart(&rig);
        time_rig_settle_down(&rig);
        assert_string_equal(send_ids(&rig, 0, "a b c d"), "nnnD");
        time_rig_end(&rig);
    }
}

/* What was not stored was not seen: neither the message nor that topics look for duplicates. */
static void an_undone_turn_was_not(void **state)
{
    struct time_rig rig;
    (void)state;
    set_up(&rig, "id");
    rig.undo = true;
    time_rig_publish(&rig, "t", "", 0, (struct rig_message[]){with_id("a"), with_id("b")}, 2, NULL);
    assert_string_equal(send_ids(&rig, 0, "b a"), "nn");
    rig.undo = true;
    time_rig_publish(&rig, "t", "", 0, (struct rig_message[]){with_id("x"), with_id("c"), with_id("a")}, 3, NULL);
    assert_string_equal(send_ids(&rig, 0, "c x a x"), "nnDD");
    time_rig_restart(&rig);
    assert_string_equal(send_ids(&rig, 0, "a b c x"), "DDDD");
    time_rig_end(&rig);
}

static void a_message_without_an_id_has_its_origin(void **state)
{
    struct time_rig rig;
    struct rig_message plain[2] = {{.body = "p"}, {.body = "q"}};
    uint32_t duplicates;
    (void)state;
    set_up(&rig, "id");
    time_rig_publish(&rig, "t", "", 0, plain, 2, &duplicates);
    assert_int_equal(duplicates, 0);
    time_rig_publish(&rig, "t", "", 0, plain, 2, &duplicates);
    assert_int_equal(duplicates, 0);
    rig.sequence -= 3; /* the second of the first two, and both of the others, come again */
    time_rig_publish(&rig, "t", "", 0, (struct rig_message[]){plain[0], plain[1], plain[0], plain[0]}, 4, &duplicates);
    assert_int_equal(duplicates, 3);
    char text[FRAME_ID_TEXT];
    frame_origin_text(rig.producer, 1, text); /* as text it is the same */
    time_rig_publish(&rig, "t", "", 0, (struct rig_message[]){with_id(text)}, 1, &duplicates);
    assert_int_equal(duplicates, 1);
    time_rig_end(&rig);
}

static void by_key_a_message_without_one_is_new(void **state)
{
    struct time_rig rig;
    struct rig_message messages[] = {{.body = "1", .attributes = {"partitionkey", "k"}},
                                     {.body = "2"},
                                     {.body = "3", .attributes = {"partitionkey", "k"}},
                                     {.body = "4"},
                                     {.body = "5", .attributes = {"partitionkey", "l", "id", "k"}}};
    uint32_t duplicates;
    (void)state;
    set_up(&rig, "key");
    time_rig_publish(&rig, "t", "", 0, messages, 5, &duplicates);
    assert_int_equal(duplicates, 1);
    time_rig_publish(&rig, "t", "", 0, messages, 5, &duplicates);
    assert_int_equal(duplicates, 3);
    /* Keys are not ids. */
    time_rig_configure(&rig, "t", "dedupe.by", "id");
    time_rig_publish(&rig, "t", "", 0, (struct rig_message[]){with_id("k")}, 1, &duplicates);
    assert_int_equal(duplicates, 0);
    time_rig_end(&rig);
}

static void a_replay_is_none(void **state)
{
    struct time_rig rig;
    struct rig_message message = with_id("a");
    uint32_t duplicates;
    (void)state;
    set_up(&rig, "id");
    time_rig_join(&rig, "t", "g");
    assert_string_equal(send_ids(&rig, 0, "a"), "n");
    time_rig_publish(&rig, "t", "g", 0, &message, 1, &duplicates);
    assert_int_equal(duplicates, 0);
    time_rig_publish(&rig, "t", "g", 0, (struct rig_message[]){with_id("b")}, 1, &duplicates);
    assert_string_equal(send_ids(&rig, 0, "a b"), "Dn"); /* nor does it make one */
    time_rig_end(&rig);
}

/* A delayed message is looked for when it is due. */
static void what_waits_in_the_schedule_is_not_known_yet(void **state)
{
    struct time_rig rig;
    (void)state;
    set_up(&rig, "id");
    time_rig_join(&rig, "t", "g");
    send_ids(&rig, 50 * SECOND, "a b");
    assert_string_equal(send_ids(&rig, 0, "a"), "n");
    time_rig_pass(&rig, 50 * SECOND);
    time_rig_settle_down(&rig);
    assert_string_equal(send_ids(&rig, 0, "c b"), "nD");
    struct store_frame row;
    struct blob *blob;
    assert_int_equal(store_read_frame(rig.store, 1, 1, &row, &blob, NULL), MP_OK);
    assert_int_equal(row.count, 2);
    assert_non_null(row.marks);
    assert_int_equal(row.marks[0] & 3, 1);
    blob_drop(blob);
    time_rig_end(&rig);
}

static void a_topic_that_does_not_look_finds_none(void **state)
{
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    assert_string_equal(send_ids(&rig, 0, "a a"), "nn");
    time_rig_configure(&rig, "t", "dedupe.by", "id");
    assert_string_equal(send_ids(&rig, 0, "a a"), "nD");
    time_rig_configure(&rig, "t", "dedupe.by", "none");
    assert_string_equal(send_ids(&rig, 0, "a"), "n");
    time_rig_configure(&rig, "t", "dedupe.by", "id");
    assert_string_equal(send_ids(&rig, 0, "a b"), "Dn");
    time_rig_end(&rig);
}

static enum mp_error count_row(void *context, const struct store_hashes *row)
{
    *(uint64_t *)context += row->count;
    return MP_OK;
}

static uint64_t stored_hashes(struct time_rig *rig)
{
    uint64_t count = 0;
    assert_int_equal(store_each_hashes(rig->store, 1, INT64_MIN, count_row, &count, NULL), MP_OK);
    return count;
}

static void what_is_over_is_deleted(void **state)
{
    struct time_rig rig;
    (void)state;
    set_up(&rig, "id");
    for (unsigned i = 0; i < 300; i++) {
        time_rig_send(&rig, "t", 0, "x", 10);
        time_rig_pass(&rig, SECOND);
        time_rig_settle_down(&rig);
    }
    assert_in_range(stored_hashes(&rig), 1000, 1100);
    time_rig_restart(&rig);
    time_rig_pass(&rig, 110 * SECOND);
    time_rig_settle_down(&rig);
    assert_int_equal(stored_hashes(&rig), 0);
    /* Nobody is woken for nothing. */
    assert_int_equal(rig.engine->operations->due(rig.engine), CLOCK_NEVER);
    time_rig_send(&rig, "t", 0, "x", 10);
    time_rig_configure(&rig, "t", "dedupe.window", "");
    time_rig_configure(&rig, "t", "dedupe.by", "none");
    time_rig_restart(&rig);
    time_rig_settle_down(&rig);
    assert_int_equal(stored_hashes(&rig), 0);
    time_rig_end(&rig);
}

/* Frames of 2,500: rows of hashes are cut at 1,000. Half of each frame was in one of before. */
static void large_frames_are_compared_with_large_frames(void **state)
{
    enum { COUNT = 2500, ROUNDS = 12 };
    struct time_rig rig;
    struct rig_message *messages = calloc(COUNT, sizeof *messages);
    char(*ids)[16] = calloc(COUNT, sizeof *ids);
    uint32_t duplicates;
    (void)state;
    assert_true(messages && ids);
    set_up(&rig, "id");
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            unsigned number = i % 2 == 0 ? round * COUNT + i : (round > 0 ? round - 1 : 0) * COUNT + i - 1;
            snprintf(ids[i], sizeof ids[i], "%u", number);
            messages[i] = with_id(ids[i]);
        }
        time_rig_publish(&rig, "t", "", 0, messages, COUNT, &duplicates);
        assert_int_equal(duplicates, COUNT / 2);
        if (round == 5)
            time_rig_restart(&rig);
    }
    free(messages);
    free(ids);
    time_rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_found_in_a_frame_and_across_frames),
        cmocka_unit_test(nobody_is_given_one),
        cmocka_unit_test(the_window_is_kept_to_the_microsecond),
        cmocka_unit_test(restarts_and_steps_of_the_clock_forget_nothing),
        cmocka_unit_test(an_undone_turn_was_not),
        cmocka_unit_test(a_message_without_an_id_has_its_origin),
        cmocka_unit_test(by_key_a_message_without_one_is_new),
        cmocka_unit_test(a_replay_is_none),
        cmocka_unit_test(what_waits_in_the_schedule_is_not_known_yet),
        cmocka_unit_test(a_topic_that_does_not_look_finds_none),
        cmocka_unit_test(what_is_over_is_deleted),
        cmocka_unit_test(large_frames_are_compared_with_large_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
