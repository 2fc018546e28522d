/* runner/feed.h: when commits are sent, with a relay that is a fake. */
#include "link_rig.h"

#include "base/clock.h"
#include "runner/feed.h"

enum { MESSAGES = 20 };

static struct link_rig relay;
static struct feed *feed;
static bool welcome;
static uint64_t committed;

static void on_woken(void *context)
{
    assert_ptr_equal(context, &relay);
    welcome = true;
}

static void on_committed(void *context, const struct commit *commit)
{
    (void)context;
    committed += commit->messages;
}

static void on_refused(void *context, uint64_t messages, const char *words)
{
    (void)context;
    (void)messages;
    print_message("%s\n", words);
    fail();
}

static void on_full(void *context, const char *words)
{
    (void)context;
    (void)words;
}

static void on_lost(void *context, struct feed *lost)
{
    (void)context;
    feed_drop_windows(lost);
}

static void on_failed(void *context, const struct fault *fault)
{
    (void)context;
    print_message("%s\n", fault_text(fault));
    fail();
}

/* A feed that has MESSAGES in hand, and fetches no more. */
static int set_up(void **state)
{
    (void)state;
    static const struct feed_calls calls = {.context = &relay,
                                            .woken = on_woken,
                                            .committed = on_committed,
                                            .refused = on_refused,
                                            .full = on_full,
                                            .lost = on_lost,
                                            .failed = on_failed};
    struct fault fault = {0};
    welcome = false;
    committed = 0;
    link_rig_open(&relay);
    assert_int_equal(feed_open(relay.rig.base, relay.url, "test", "t", "g", &calls, &feed, &fault), MP_OK);
    link_rig_until(&relay, welcome);
    link_rig_publish(client_link_use(feed->link), MESSAGES);
    link_rig_until(&relay, relay.network->messages_count == MESSAGES);
    feed->want = MESSAGES;
    while (feed->queue.messages < MESSAGES) {
        (void)feed_pump(feed, clock_monotonic());
        rig_turn(&relay.rig);
        link_rig_serve(&relay);
    }
    feed->want = 1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    feed_close(feed);
    link_rig_close(&relay);
    return 0;
}

/* COUNT messages are worked upon, and done, with nothing that comes of them. */
static void finish(uint32_t count)
{
    for (; count > 0; count--) {
        struct part part = {.count = 1};
        assert_non_null(feed_look(feed, &part.parcel, &part.index));
        feed_take(feed);
        assert_int_equal(commit_reserve(&feed->open, 1), MP_OK);
        feed_commit(feed, &part, 1);
    }
}

static void a_commit_waits_for_more_while_messages_wait(void **state)
{
    (void)state;
    feed->gathers = true;
    finish(2);
    int64_t now = feed->open_since, due = feed_pump(feed, now);
    assert_true(due > now && due <= now + 20000);
    finish(3);
    assert_int_equal(feed_pump(feed, now + 1), due); /* it counts from the first of them */
    assert_int_equal(committed, 0);
    assert_int_equal(feed_pump(feed, due), CLOCK_NEVER);
    link_rig_until(&relay, relay.network->acked == 5);
    assert_int_equal(committed, 5);
    assert_int_equal(relay.network->settles, 1);
}

static void it_is_sent_when_fewer_wait_than_it_has(void **state)
{
    (void)state;
    feed->gathers = true;
    finish(MESSAGES / 2 - 1);
    assert_true(feed_pump(feed, feed->open_since) < CLOCK_NEVER);
    finish(1);
    assert_int_equal(feed_pump(feed, feed->open_since), CLOCK_NEVER);
    link_rig_until(&relay, relay.network->acked == MESSAGES / 2);
    /* The last ones wait for nobody. */
    finish(MESSAGES / 2);
    assert_int_equal(feed_pump(feed, feed->open_since), CLOCK_NEVER);
    link_rig_until(&relay, relay.network->acked == MESSAGES);
    assert_int_equal(committed, MESSAGES);
    assert_true(feed_is_idle(feed));
}

static void where_nothing_is_gathered_it_is_sent_at_once(void **state)
{
    (void)state;
    finish(1);
    assert_int_equal(feed_pump(feed, feed->open_since), CLOCK_NEVER);
    link_rig_until(&relay, relay.network->acked == 1);
}

static void who_leaves_sends_what_is_done_and_gives_back_the_rest(void **state)
{
    (void)state;
    feed->gathers = true;
    finish(4);
    feed_return(feed);
    assert_int_equal(feed_pump(feed, feed->open_since), CLOCK_NEVER);
    feed_leave(feed);
    link_rig_until(&relay, feed_has_left(feed));
    assert_int_equal(relay.network->acked, 4);
    for (uint32_t i = 4; i < MESSAGES; i++)
        assert_int_equal(relay.network->messages[i].state, FAKE_WAITING);
}

int main(void)
{
#define feed_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        feed_test(a_commit_waits_for_more_while_messages_wait),
        feed_test(it_is_sent_when_fewer_wait_than_it_has),
        feed_test(where_nothing_is_gathered_it_is_sent_at_once),
        feed_test(who_leaves_sends_what_is_done_and_gives_back_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
