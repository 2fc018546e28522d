/* Messages with a time to live: the topic's, and their own. */
#include "time_rig.h"

#include "base/units.h"

#include <stdio.h>
#include <string.h>

/* The number of messages of GROUP in STATE, as it is shown. */
static unsigned long long shown(struct time_rig *rig, const char *group, const char *state)
{
    struct buffer text = {0};
    char words[64];
    unsigned long long count = 0;
    assert_int_equal(rig->engine->operations->describe_groups(rig->engine, &text), MP_OK);
    assert_int_equal(buffer_put_u8(&text, 0), MP_OK);
    snprintf(words, sizeof words, "\"group\":\"%s\"", group);
    const char *at = strstr((const char *)text.data, words);
    assert_non_null(at);
    snprintf(words, sizeof words, "\"%s\":", state);
    assert_non_null(at = strstr(at, words));
    assert_int_equal(sscanf(at + strlen(words), "%llu", &count), 1);
    buffer_free(&text);
    return count;
}

/* How many messages the topic keeps, as it is shown. */
static unsigned long long kept(struct time_rig *rig)
{
    struct buffer text = {0};
    unsigned long long count = 0;
    assert_int_equal(rig->engine->operations->describe_topics(rig->engine, &text), MP_OK);
    assert_int_equal(buffer_put_u8(&text, 0), MP_OK);
    const char *at = strstr((const char *)text.data, "\"messages\":");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "\"messages\":%llu", &count), 1);
    buffer_free(&text);
    return count;
}

/* Publishes one frame of messages that expire so many seconds from now by the sender's clock; 0: never. */
static void send_timed(struct time_rig *rig, int64_t sender, int64_t delay, const char *const *bodies,
                       const int64_t *seconds, uint32_t count)
{
    struct rig_message messages[8] = {{0}};
    char texts[8][UNITS_TIME_TEXT];
    int64_t wall = rig->now.wall;
    assert_true(count <= 8);
    for (uint32_t i = 0; i < count; i++) {
        messages[i].body = bodies[i];
        if (seconds[i] == 0)
            continue;
        units_time_text(sender + seconds[i] * SECOND, texts[i]);
        messages[i].attributes[0] = "expirytime";
        messages[i].attributes[1] = texts[i];
    }
    rig->now.wall = sender; /* the frame's time is that */
    int64_t difference = wall - sender;
    time_rig_publish(rig, "t", "", delay, messages, count, NULL);
    rig->now.wall += difference;
}

static void a_topic_has_a_ttl(void **state)
{
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    time_rig_configure(&rig, "t", "ttl", "10s");
    time_rig_join(&rig, "t", "g");
    time_rig_send(&rig, "t", 0, "a", 3);
    time_rig_pass(&rig, 4 * SECOND);
    time_rig_send(&rig, "t", 0, "b", 2);
    time_rig_pass(&rig, 6 * SECOND - 1);
    time_rig_tick(&rig);
    assert_int_equal(shown(&rig, "g", "waiting"), 5);
    /* The sweep comes a while behind. */
    int64_t due = rig.engine->operations->due(rig.engine);
    assert_in_range(due, rig.now.monotonic + 1, rig.now.monotonic + 2 * SECOND);
    time_rig_pass(&rig, due - rig.now.monotonic);
    time_rig_tick(&rig);
    assert_int_equal(shown(&rig, "g", "waiting"), 2);
    assert_int_equal(shown(&rig, "g", "settled_to"), 3);
    assert_in_range(rig.engine->operations->due(rig.engine), rig.now.monotonic + 3 * SECOND,
                    rig.now.monotonic + 6 * SECOND);
    time_rig_expect(&rig, "t", "g", "b b ");
    time_rig_end(&rig);
}

static void steps_of_the_wall_clock_expire_nothing(void **state)
{
    const int64_t steps[] = {DAY, -DAY, 9000 * DAY, -WALL / 2};
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct time_rig rig;
        time_rig_begin(&rig);
        time_rig_configure(&rig, "t", "ttl", "10s");
        time_rig_join(&rig, "t", "g");
        time_rig_join(&rig, "t", "h");
        time_rig_send(&rig, "t", 0, "a", 2);
        send_timed(&rig, rig.now.wall, 0, (const char *const[]){"b"}, (const int64_t[]){9}, 1);
        rig.now.wall += steps[i % 4];
        time_rig_pass(&rig, 9 * SECOND - 1);
        if (i >= 4)
            time_rig_restart(&rig);
        time_rig_tick(&rig);
        time_rig_expect(&rig, "t", "g", "a a b ");
        time_rig_pass(&rig, 1 + SECOND);
        rig.now.wall -= 3 * steps[i % 4];
        if (i >= 4)
            time_rig_restart(&rig);
        time_rig_tick(&rig);
        time_rig_pass(&rig, SECOND);
        time_rig_settle_down(&rig);
        assert_int_equal(shown(&rig, "h", "waiting"), 0);
        assert_int_equal(shown(&rig, "h", "settled_to"), 3);
        time_rig_end(&rig);
    }
}

/* What counts is how long it was to live, not whose clock is right. */
static void a_senders_clock_may_be_wrong(void **state)
{
    const int64_t off[] = {0, 400 * DAY, -400 * DAY};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct time_rig rig;
        time_rig_begin(&rig);
        time_rig_join(&rig, "t", "g");
        send_timed(&rig, WALL + off[i], 0, (const char *const[]){"a", "b", "c"}, (const int64_t[]){5, 9, 0}, 3);
        time_rig_pass(&rig, 5 * SECOND - 1);
        time_rig_tick(&rig);
        assert_int_equal(shown(&rig, "g", "waiting"), 3);
        time_rig_pass(&rig, 1 + SECOND);
        time_rig_settle_down(&rig);
        assert_int_equal(shown(&rig, "g", "waiting"), 2);
        time_rig_pass(&rig, 3 * SECOND);
        time_rig_settle_down(&rig);
        time_rig_expect(&rig, "t", "g", "c ");
        time_rig_end(&rig);
    }
}

static void what_has_expired_is_not_granted(void **state)
{
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    time_rig_join(&rig, "t", "g");
    send_timed(&rig, WALL, 0, (const char *const[]){"a", "b", "c", "d", "e"}, (const int64_t[]){0, 5, 0, 5, 60}, 5);
    time_rig_pass(&rig, 6 * SECOND);
    time_rig_expect(&rig, "t", "g", "a c e ");
    time_rig_restart(&rig);
    time_rig_settle_down(&rig);
    assert_int_equal(shown(&rig, "g", "settled_to"), 5);
    time_rig_end(&rig);
}

/* It may have to wait for its time longer than it lives: then it has expired when it gets its offset. */
static void an_expirytime_counts_from_the_sending(void **state)
{
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    time_rig_join(&rig, "t", "g");
    send_timed(&rig, WALL, 10 * SECOND, (const char *const[]){"a", "b", "c"}, (const int64_t[]){5, 15, 30}, 3);
    time_rig_pass(&rig, 10 * SECOND);
    time_rig_settle_down(&rig);
    assert_int_equal(shown(&rig, "g", "waiting"), 2);
    time_rig_restart(&rig);
    time_rig_pass(&rig, 5 * SECOND);
    time_rig_settle_down(&rig);
    assert_int_equal(shown(&rig, "g", "waiting"), 1);
    time_rig_expect(&rig, "t", "g", "c ");
    time_rig_end(&rig);
}

/* Without a group it is the topic that begins later; the event says so after a kill. */
static void a_topic_without_a_group_forgets_what_has_expired(void **state)
{
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    time_rig_configure(&rig, "t", "ttl", "10s");
    time_rig_send(&rig, "t", 0, "a", 3);
    time_rig_pass(&rig, 6 * SECOND);
    time_rig_send(&rig, "t", 0, "b", 1);
    send_timed(&rig, rig.now.wall, 0, (const char *const[]){"c", "d"}, (const int64_t[]){1, 8}, 2);
    time_rig_pass(&rig, 5 * SECOND);
    rig.undo = true;
    time_rig_tick(&rig);
    time_rig_tick(&rig);
    time_rig_restart(&rig);
    time_rig_settle_down(&rig);
    assert_int_equal(kept(&rig), 3);
    time_rig_pass(&rig, 5 * SECOND);
    time_rig_settle_down(&rig);
    time_rig_restart(&rig);
    assert_int_equal(kept(&rig), 0);
    time_rig_join(&rig, "t", "g");
    time_rig_send(&rig, "t", 0, "e", 1);
    time_rig_expect(&rig, "t", "g", "e ");
    time_rig_end(&rig);
}

/* Many frames, each of which has to be looked into: a few a turn, and one turn after the other. */
static void a_long_topic_without_a_group_forgets_all_that_has_expired(void **state)
{
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    for (unsigned i = 0; i < 200; i++)
        send_timed(&rig, rig.now.wall, 0, (const char *const[]){"a", "b"}, (const int64_t[]){1, 2}, 2);
    send_timed(&rig, rig.now.wall, 0, (const char *const[]){"c"}, (const int64_t[]){60}, 1);
    time_rig_pass(&rig, 4 * SECOND);
    assert_in_range(time_rig_settle_down(&rig), 10, 20);
    assert_int_equal(kept(&rig), 1);
    time_rig_end(&rig);
}

static void a_new_ttl_counts_at_once(void **state)
{
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    time_rig_join(&rig, "t", "g");
    time_rig_send(&rig, "t", 0, "a", 1);
    time_rig_pass(&rig, 20 * SECOND);
    time_rig_send(&rig, "t", 0, "b", 1);
    rig.undo = true;
    time_rig_configure(&rig, "t", "ttl", "10s");
    time_rig_tick(&rig);
    assert_int_equal(shown(&rig, "g", "waiting"), 2);
    time_rig_configure(&rig, "t", "ttl", "10s");
    assert_true(rig.engine->operations->due(rig.engine) <= rig.now.monotonic);
    rig.undo = true;
    time_rig_tick(&rig);
    assert_int_equal(shown(&rig, "g", "waiting"), 2);
    time_rig_tick(&rig);
    assert_int_equal(shown(&rig, "g", "waiting"), 1);
    /* A group that is made now begins with what is kept, and that has expired. */
    time_rig_join(&rig, "t", "late");
    time_rig_tick(&rig);
    assert_int_equal(shown(&rig, "late", "waiting"), 1);
    time_rig_configure(&rig, "t", "ttl", "");
    time_rig_pass(&rig, DAY);
    time_rig_settle_down(&rig);
    time_rig_expect(&rig, "t", "g", "b ");
    time_rig_end(&rig);
}

/* A million messages in frames of some hundred: the sweep's turns are few, and it needs no consumer. */
static void a_backlog_expires_in_bounded_turns(void **state)
{
    enum { FRAMES = 2000, EACH = 500 };
    struct time_rig rig;
    (void)state;
    time_rig_begin(&rig);
    time_rig_configure(&rig, "t", "ttl", "10s");
    time_rig_join(&rig, "t", "g");
    for (unsigned i = 0; i < FRAMES; i++)
        time_rig_send(&rig, "t", 0, "x", EACH);
    time_rig_pass(&rig, 11 * SECOND);
    assert_in_range(time_rig_settle_down(&rig), 1, 10);
    assert_int_equal(shown(&rig, "g", "settled_to"), FRAMES * EACH);
    time_rig_restart(&rig);
    time_rig_settle_down(&rig);
    assert_int_equal(shown(&rig, "g", "waiting"), 0);
    time_rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_has_a_ttl),
        cmocka_unit_test(steps_of_the_wall_clock_expire_nothing),
        cmocka_unit_test(a_senders_clock_may_be_wrong),
        cmocka_unit_test(what_has_expired_is_not_granted),
        cmocka_unit_test(an_expirytime_counts_from_the_sending),
        cmocka_unit_test(a_topic_without_a_group_forgets_what_has_expired),
        cmocka_unit_test(a_long_topic_without_a_group_forgets_all_that_has_expired),
        cmocka_unit_test(a_new_ttl_counts_at_once),
        cmocka_unit_test(a_backlog_expires_in_bounded_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
