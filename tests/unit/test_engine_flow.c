/* Limits of topics: what goes in, what is dropped, and what is counted. */
#include "engine_rig.h"

#include <stdio.h>
#include <stdlib.h>

static const struct engine_operations *call(const struct rig *rig)
{
    return rig->engine->operations;
}

/* "key=value key=value" for TOPIC, in place of what held before. */
static void configure(struct rig *rig, const char *topic, const char *text)
{
    struct topic_settings settings;
    char lines[200];
    snprintf(lines, sizeof lines, "%s%s", text, *text ? "\n" : "");
    for (char *at = lines; *at; at++)
        if (*at == ' ')
            *at = '\n';
    assert_int_equal(settings_topic_read(&settings, lines, strlen(lines), &rig->fault), MP_OK);
    rig_begin(rig);
    assert_int_equal(call(rig)->configure_topic(rig->engine, topic, strlen(topic), &settings, &rig->fault), MP_OK);
    rig_commit(rig);
}

static enum mp_error room(struct rig *rig, const char *topic, uint64_t messages, uint64_t bytes)
{
    rig_begin(rig);
    enum mp_error error = call(rig)->room(rig->engine, topic, strlen(topic), messages, bytes, 1, &rig->fault);
    rig_commit(rig);
    return error;
}

/* A number that the relay's description has of the first topic, or of the first group. */
static uint64_t described(struct rig *rig, bool groups, const char *name)
{
    struct buffer out = {0};
    char key[60];
    rig_begin(rig);
    assert_int_equal((groups ? call(rig)->describe_groups : call(rig)->describe_topics)(rig->engine, &out), MP_OK);
    rig_commit(rig);
    assert_int_equal(buffer_put_u8(&out, 0), MP_OK);
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr((const char *)out.data, key);
    assert_non_null(at);
    uint64_t value = strtoull(at + strlen(key), NULL, 10);
    buffer_free(&out);
    return value;
}

static uint64_t of_topic(struct rig *rig, const char *name)
{
    return described(rig, false, name);
}

static uint64_t of_group(struct rig *rig, const char *name)
{
    return described(rig, true, name);
}

static void ack_all(struct rig *rig, uint64_t session)
{
    for (size_t i = 0; i < rig->given.count; i++)
        rig_settle(rig, session, rig->given.items[i].first, rig->given.items[i].count, ENGINE_ACK);
}

static void a_topic_is_as_full_as_its_fullest_group(void **state)
{
    struct rig *rig = *state;
    configure(rig, "t", "max_messages=10");
    rig_fetch(rig, 2, "t", "slow", 0);
    rig_fetch(rig, 3, "t", "fast", 0);
    rig_publish(rig, "t", 8);
    assert_int_equal(room(rig, "t", 2, 1), MP_OK);
    assert_int_equal(room(rig, "t", 3, 1), MP_ERR_FULL);
    assert_int_equal(rig_fetch(rig, 3, "t", "fast", 0), 8);
    ack_all(rig, 3);
    assert_int_equal(room(rig, "t", 3, 1), MP_ERR_FULL);
    /* What is leased or waits for its retry counts. */
    assert_int_equal(rig_fetch(rig, 2, "t", "slow", 5), 5);
    assert_int_equal(room(rig, "t", 3, 1), MP_ERR_FULL);
    assert_int_equal(rig_settle(rig, 2, 0, 3, ENGINE_ACK), 3);
    assert_int_equal(room(rig, "t", 5, 1), MP_OK);
    assert_int_equal(room(rig, "t", 6, 1), MP_ERR_FULL);
    rig_restart(rig);
    assert_int_equal(room(rig, "t", 5, 1), MP_OK);
    assert_int_equal(room(rig, "t", 6, 1), MP_ERR_FULL);
}

static void without_groups_all_that_is_kept_counts(void **state)
{
    struct rig *rig = *state;
    configure(rig, "t", "max_messages=10 overflow=reject");
    rig_publish(rig, "t", 10);
    assert_int_equal(room(rig, "t", 1, 1), MP_ERR_OVERFLOW);
    assert_non_null(strstr(rig->fault.text, "max_messages=10"));
    rig_fetch(rig, 2, "t", "g", 0);
    ack_all(rig, 2);
    assert_int_equal(room(rig, "t", 10, 1), MP_OK);
}

static void what_is_larger_than_the_limit_goes_into_an_empty_topic(void **state)
{
    struct rig *rig = *state;
    configure(rig, "t", "max_messages=10 max_bytes=1000");
    rig_fetch(rig, 2, "t", "g", 0);
    assert_int_equal(room(rig, "t", 500, 5000), MP_OK);
    rig_publish(rig, "t", 1);
    assert_int_equal(room(rig, "t", 500, 5), MP_ERR_FULL);
    assert_int_equal(room(rig, "t", 5, 5000), MP_ERR_FULL);
    rig_fetch(rig, 2, "t", "g", 0);
    ack_all(rig, 2);
    assert_int_equal(room(rig, "t", 500, 5000), MP_OK);
}

static uint64_t fits_waiting(struct rig *rig, uint64_t messages, uint64_t bytes, bool waiting)
{
    rig_begin(rig);
    uint64_t count = call(rig)->fits(rig->engine, "t", 1, messages, bytes, waiting);
    rig_commit(rig);
    return count;
}

static uint64_t fits(struct rig *rig, uint64_t messages, uint64_t bytes)
{
    return fits_waiting(rig, messages, bytes, false);
}

static void what_can_be_divided_goes_in_as_far_as_there_is_room(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(fits(rig, 70000, 100), 70000);
    configure(rig, "t", "max_messages=80 max_bytes=100000");
    assert_int_equal(fits(rig, 500, 5000), 80);
    assert_int_equal(fits(rig, 500, 5000000), 10);
    assert_int_equal(fits(rig, 1, 200000), 1); /* larger than the limit, into an empty topic */
    rig_publish(rig, "t", 60);
    assert_int_equal(fits(rig, 500, 5000), 20);
    assert_int_equal(fits(rig, 5, 50), 5);
    assert_int_equal(fits(rig, 1, 200000), 0);
    rig_publish(rig, "t", 15);
    assert_int_equal(fits(rig, 500, 5000), 5);
    assert_int_equal(fits_waiting(rig, 500, 5000, true), 0); /* wait for more room */
    assert_int_equal(fits(rig, 5, 50), 5);
    configure(rig, "t", "max_messages=80 overflow=reject");
    assert_int_equal(fits(rig, 500, 5000), 5);
    configure(rig, "t", "max_messages=80 overflow=drop_oldest");
    assert_int_equal(fits(rig, 500, 5000), 500);
    configure(rig, "t", "rate=100/s");
    assert_int_equal(fits(rig, 500, 5000), 10);
    rig_publish(rig, "t", 8);
    assert_int_equal(fits(rig, 500, 5000), 2);
    assert_int_equal(fits_waiting(rig, 500, 5000, true), 0);
    assert_int_equal(fits_waiting(rig, 2, 20, true), 2);
}

static void a_limit_below_what_is_there_lets_nothing_in(void **state)
{
    struct rig *rig = *state;
    rig_fetch(rig, 2, "t", "g", 0);
    rig_publish(rig, "t", 100);
    configure(rig, "t", "max_messages=10");
    assert_int_equal(room(rig, "t", 1, 1), MP_ERR_FULL);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 95), 95);
    ack_all(rig, 2);
    assert_int_equal(room(rig, "t", 5, 1), MP_OK);
    configure(rig, "t", "");
    assert_int_equal(room(rig, "t", 1000000, 1), MP_OK);
}

static void bytes_are_those_of_what_is_not_settled(void **state)
{
    struct rig *rig = *state;
    struct buffer none = {0};
    char large[1001] = "";
    memset(large, 'x', sizeof large - 1);
    configure(rig, "t", "max_bytes=10000 retain.age=7d");
    rig_fetch(rig, 2, "t", "g", 0);
    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(room(rig, "t", 1, 1000), MP_OK);
        rig_publish_one(rig, "t", large, &none);
    }
    assert_int_equal(room(rig, "t", 1, 1000), MP_ERR_FULL);
    /* What is settled counts no more, though it is kept, and though a message before it waits for its retry. */
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 9);
    rig_settle(rig, 2, 1, 8, ENGINE_ACK);
    assert_int_equal(room(rig, "t", 1, 8000), MP_OK);
    assert_int_equal(room(rig, "t", 1, 9500), MP_ERR_FULL);
    rig_settle(rig, 2, 0, 1, ENGINE_ACK);
    for (unsigned i = 0; i < 30; i++)
        rig_publish_one(rig, "t", "small", &none);
    /* Thirty small ones: what was large before them is not looked at. */
    assert_int_equal(room(rig, "t", 1, 6000), MP_OK);
    rig_restart(rig);
    assert_int_equal(room(rig, "t", 1, 6000), MP_OK);
    assert_int_equal(room(rig, "t", 1, 9500), MP_ERR_FULL);
}

/* Its average was told from what lay behind them. */
static void what_a_group_is_moved_back_to_counts_again(void **state)
{
    struct rig *rig = *state;
    struct buffer none = {0};
    struct fault fault = {0};
    char large[1001] = "";
    memset(large, 'x', sizeof large - 1);
    configure(rig, "t", "max_bytes=10000 retain.age=7d");
    rig_fetch(rig, 2, "t", "g", 0);
    for (unsigned i = 0; i < 9; i++)
        rig_publish_one(rig, "t", large, &none);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 9);
    rig_settle(rig, 2, 0, 9, ENGINE_ACK);
    rig_publish_one(rig, "t", "small", &none);
    assert_int_equal(room(rig, "t", 1, 9950), MP_ERR_FULL); /* looks at the small one alone */
    assert_int_equal(room(rig, "t", 1, 9000), MP_OK);
    rig_begin(rig);
    assert_int_equal(call(rig)->seek_group(rig->engine, "t", "g", ENGINE_FROM_START, 0, false, &fault), MP_OK);
    rig_commit(rig);
    assert_int_equal(room(rig, "t", 1, 2000), MP_ERR_FULL);
    assert_int_equal(fits(rig, 5, 10000), 0);
}

static void the_oldest_are_dropped_but_not_what_is_leased(void **state)
{
    struct rig *rig = *state;
    configure(rig, "t", "max_messages=10 overflow=drop_oldest");
    rig_fetch(rig, 2, "t", "g", 0);
    rig_publish(rig, "t", 10);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 3), 3); /* offsets 0 to 2 */
    assert_int_equal(room(rig, "t", 4, 1), MP_OK);
    rig_publish(rig, "t", 4);
    assert_int_equal(of_topic(rig, "overflow"), 4);
    assert_int_equal(of_group(rig, "dropped"), 4);
    assert_int_equal(of_group(rig, "waiting"), 7);
    assert_int_equal(rig_settle(rig, 2, 0, 3, ENGINE_ACK), 3);
    rig_restart(rig);
    assert_int_equal(of_topic(rig, "overflow"), 4);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 7);
    assert_int_equal(rig->given.items[0].first, 7);
    ack_all(rig, 2);
    assert_int_equal(of_group(rig, "acked"), 10);
}

static void each_group_loses_only_what_is_too_much_for_itself(void **state)
{
    struct rig *rig = *state;
    configure(rig, "t", "max_messages=10 overflow=drop_oldest");
    rig_fetch(rig, 2, "t", "slow", 0);
    rig_fetch(rig, 3, "t", "fast", 0);
    rig_publish(rig, "t", 10);
    assert_int_equal(rig_fetch(rig, 3, "t", "fast", 0), 10);
    ack_all(rig, 3);
    rig_publish(rig, "t", 6);
    assert_int_equal(rig_fetch(rig, 3, "t", "fast", 0), 6);
    assert_int_equal(rig_fetch(rig, 2, "t", "slow", 0), 10);
    assert_int_equal(rig->given.items[0].first, 6);
    assert_int_equal(of_topic(rig, "overflow"), 6);
}

static void delayed_messages_are_dropped_too(void **state)
{
    struct rig *rig = *state;
    configure(rig, "t", "max_messages=4 overflow=drop_oldest");
    rig_publish(rig, "t", 4);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 2), 2);
    struct engine_settlement later = {.first = 0, .count = 2, .action = ENGINE_RETRY, .delay = 60000, .exit_code = -1};
    assert_int_equal(rig_settle_as(rig, 2, later), 2);
    rig_publish(rig, "t", 1);
    assert_int_equal(of_group(rig, "delayed"), 1);
    assert_int_equal(of_group(rig, "dropped"), 1);
    rig_publish(rig, "t", 100); /* more than the limit: the last of them are left */
    assert_int_equal(of_group(rig, "delayed"), 0);
    assert_int_equal(of_group(rig, "waiting"), 4);
    assert_int_equal(of_topic(rig, "overflow"), 101);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 4);
    assert_int_equal(rig->given.items[0].first, 101);
}

static void without_groups_the_topic_begins_later(void **state)
{
    struct rig *rig = *state;
    configure(rig, "t", "max_messages=10 overflow=drop_oldest");
    for (unsigned i = 0; i < 5; i++)
        rig_publish(rig, "t", 4);
    assert_int_equal(of_topic(rig, "first"), 10);
    assert_int_equal(of_topic(rig, "overflow"), 10);
    rig_restart(rig);
    assert_int_equal(of_topic(rig, "first"), 10);
    assert_int_equal(of_topic(rig, "overflow"), 10);
    assert_int_equal(rig_read(rig, "t"), 10);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 10);
}

static void the_oldest_go_by_bytes(void **state)
{
    struct rig *rig = *state;
    struct buffer none = {0};
    char large[1001] = "";
    memset(large, 'x', sizeof large - 1);
    configure(rig, "t", "max_bytes=10000 overflow=drop_oldest");
    rig_fetch(rig, 2, "t", "g", 0);
    for (unsigned i = 0; i < 30; i++)
        rig_publish_one(rig, "t", large, &none);
    assert_int_equal(of_group(rig, "waiting"), 9);
    assert_int_equal(of_topic(rig, "overflow"), 21);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 9);
    assert_int_equal(rig->given.items[0].first, 21);
}

static void a_turn_that_is_undone_drops_and_counts_nothing(void **state)
{
    struct rig *rig = *state;
    configure(rig, "t", "max_messages=10 overflow=drop_oldest");
    rig_fetch(rig, 2, "t", "g", 0);
    rig_publish(rig, "t", 10);
    rig_begin(rig);
    rig_publish(rig, "t", 5);
    rig_undo(rig);
    assert_int_equal(of_topic(rig, "overflow"), 0);
    assert_int_equal(of_group(rig, "waiting"), 10);
}

static void a_rate_lets_in_what_it_says(void **state)
{
    struct rig *rig = *state;
    configure(rig, "t", "rate=100/s");
    unsigned taken = 0;
    for (unsigned tenth = 0; tenth < 100; tenth++) {
        while (room(rig, "t", 1, 1) == MP_OK) {
            rig_publish(rig, "t", 1);
            taken++;
        }
        rig_pass(rig, SECOND / 10);
    }
    assert_in_range(taken, 995, 1011);
    assert_int_equal(room(rig, "t", 1000, 1), MP_OK);
    rig_publish(rig, "t", 1000); /* a frame is not divided: what follows waits for ten seconds */
    rig_pass(rig, 9 * SECOND);
    assert_int_equal(room(rig, "t", 1, 1), MP_ERR_FULL);
    rig_pass(rig, SECOND);
    assert_int_equal(room(rig, "t", 1, 1), MP_OK);
}

static void purged_messages_are_counted(void **state)
{
    struct rig *rig = *state;
    uint64_t messages;
    rig_publish(rig, "t", 10);
    rig_begin(rig);
    assert_int_equal(call(rig)->purge_topic(rig->engine, "t", 4, &messages, &rig->fault), MP_OK);
    rig_commit(rig);
    assert_int_equal(messages, 4);
    rig_restart(rig);
    assert_int_equal(of_topic(rig, "purged"), 4);
    rig_fetch(rig, 2, "t", "g", 1);
    rig_begin(rig);
    assert_int_equal(call(rig)->purge_topic(rig->engine, "t", UINT64_MAX, &messages, &rig->fault), MP_OK);
    rig_commit(rig);
    assert_int_equal(of_topic(rig, "purged"), 9);
    assert_int_equal(of_group(rig, "leased"), 1);
    rig_restart(rig);
    assert_int_equal(of_topic(rig, "purged"), 9);
}

static void a_groups_rate_lets_out_what_it_says(void **state)
{
    struct rig *rig = *state;
    struct group_settings settings;
    struct engine_subscription *ready;
    settings_group_default(&settings);
    settings.rate = 100;
    rig_publish(rig, "t", 3000);
    rig_begin(rig);
    assert_int_equal(call(rig)->configure_group(rig->engine, "t", 1, false, "g", 1, &settings, &rig->fault), MP_OK);
    rig_commit(rig);
    uint64_t given = rig_fetch(rig, 2, "t", "g", 0);
    assert_int_equal(given, 10);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 0);
    assert_false(rig->given.end);
    /* Somebody waits: the engine says when, and then that it is ready. */
    rig_begin(rig);
    assert_int_equal(
        call(rig)->subscribe(rig->engine, "t", 1, false, "g", 1, 2, ENGINE_FROM_DEFAULT, 0, &ready, &rig->fault),
        MP_OK);
    while (call(rig)->next_ready(rig->engine))
        ;
    rig_commit(rig);
    ready->waiters = rig;
    int64_t due = call(rig)->due(rig->engine);
    assert_in_range(due - rig->now.monotonic, 1, SECOND / 10);
    rig_pass(rig, due - rig->now.monotonic);
    rig_begin(rig);
    assert_ptr_equal(call(rig)->next_ready(rig->engine), ready);
    rig_commit(rig);
    ready->waiters = NULL;
    for (unsigned i = 0; i < 200; i++) {
        given += rig_fetch(rig, 2, "t", "g", 0);
        rig_pass(rig, SECOND / 20);
    }
    assert_in_range(given, 990, 1015);
}

/* What must hold whatever happened, and after a restart is as it was. */
static void check_sums(struct rig *rig, uint64_t published, uint64_t most)
{
    uint64_t waiting = of_group(rig, "waiting"), leased = of_group(rig, "leased"), delayed = of_group(rig, "delayed");
    uint64_t dropped = of_group(rig, "dropped");
    assert_int_equal(of_group(rig, "acked") + of_group(rig, "dead") + dropped + waiting + leased + delayed, published);
    assert_int_equal(of_topic(rig, "overflow"), dropped);
    assert_true(waiting + delayed <= most);
}

static void nothing_is_lost_uncounted(void **state)
{
    struct rig *rig = *state;
    uint64_t random = 88172645463325252, published = 0;
    configure(rig, "t", "max_messages=40 overflow=drop_oldest");
    rig_fetch(rig, 2, "t", "g", 0);
    for (unsigned step = 0; step < 3000; step++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        unsigned choice = random % 16, amount = 1 + (unsigned)(random >> 8) % 20;
        if (choice < 6) {
            rig_publish(rig, "t", amount);
            published += amount;
        } else if (choice < 10) {
            uint64_t session = 2 + (random >> 16) % 3;
            if (rig_fetch(rig, session, "t", "g", amount) > 0)
                rig_settle(rig, session, rig->given.items[0].first, rig->given.items[0].count,
                           random >> 32 & 1   ? ENGINE_ACK
                           : random >> 33 & 1 ? ENGINE_RETRY
                                              : ENGINE_RELEASE);
        } else if (choice < 12) {
            rig_pass(rig, (int64_t)amount * SECOND / 4);
        } else if (choice == 12) {
            rig_begin(rig);
            rig_publish(rig, "t", amount);
            rig_undo(rig);
        } else if (choice == 13) {
            uint64_t dropped = of_topic(rig, "overflow"), first = of_topic(rig, "first"),
                     bytes = of_topic(rig, "bytes");
            rig_restart(rig);
            assert_int_equal(of_topic(rig, "bytes"), bytes);
            assert_int_equal(of_topic(rig, "overflow"), dropped);
            assert_int_equal(of_topic(rig, "first"), first);
        }
        check_sums(rig, published, 40 + 3 * 20);
    }
    assert_true(of_topic(rig, "overflow") > 1000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_topic_is_as_full_as_its_fullest_group),
        TEST(without_groups_all_that_is_kept_counts),
        TEST(what_is_larger_than_the_limit_goes_into_an_empty_topic),
        TEST(what_can_be_divided_goes_in_as_far_as_there_is_room),
        TEST(a_limit_below_what_is_there_lets_nothing_in),
        TEST(bytes_are_those_of_what_is_not_settled),
        TEST(what_a_group_is_moved_back_to_counts_again),
        TEST(the_oldest_are_dropped_but_not_what_is_leased),
        TEST(each_group_loses_only_what_is_too_much_for_itself),
        TEST(delayed_messages_are_dropped_too),
        TEST(without_groups_the_topic_begins_later),
        TEST(the_oldest_go_by_bytes),
        TEST(a_turn_that_is_undone_drops_and_counts_nothing),
        TEST(a_rate_lets_in_what_it_says),
        TEST(purged_messages_are_counted),
        TEST(nothing_is_lost_uncounted),
        TEST(a_groups_rate_lets_out_what_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
