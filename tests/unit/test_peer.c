/* Direct mode, our ends on both sides, and bare sockets that behave badly. */
#include "peer_ends.h"

#include "base/memory.h"
#include "message/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MANY = 2000,
    REQUESTS = 5,
    SURVEYS = 2,
    SURVEY_TIME = 600000 /* microseconds: its answers come within it, however busy the machine is */
};

static const struct couple {
    enum peer_pattern sender, receiver;
    unsigned protocol; /* the SP number of the receiver */
} couples[] = {
    {PEER_PUSH, PEER_PULL, 0x51},           {PEER_PUB, PEER_SUB, 0x21}, {PEER_PAIR, PEER_PAIR, 0x10},
    {PEER_PAIR1, PEER_PAIR1, 0x11},         {PEER_BUS, PEER_BUS, 0x70}, {PEER_REQ, PEER_REP, 0x31},
    {PEER_SURVEYOR, PEER_RESPONDENT, 0x63},
};
enum { COUPLES = sizeof couples / sizeof couples[0] };

static bool answers(enum peer_pattern pattern)
{
    return pattern == PEER_REQ || pattern == PEER_SURVEYOR;
}

/* Opens both ends: the listener first, the dialler with its address. */
static void open_couple(struct ends_world *world, const struct couple *couple, bool sender_dials, bool tcp,
                        struct ends_end *sender, struct ends_end *receiver)
{
    char url[ENDS_URL];
    struct peer_settings sends = {.pattern = couple->sender, .await_peers = 1, .survey_time = SURVEY_TIME};
    struct peer_settings receives = {.pattern = couple->receiver};

    ends_url(world, tcp, url);
    if (sender_dials) {
        receives.role = PEER_LISTEN;
        receives.url = url;
        ends_open(world, receiver, receives);
        sends.role = PEER_DIAL;
        sends.url = peer_url(receiver->peer);
        ends_open(world, sender, sends);
    } else {
        sends.role = PEER_LISTEN;
        sends.url = url;
        ends_open(world, sender, sends);
        receives.role = PEER_DIAL;
        receives.url = peer_url(sender->peer);
        ends_open(world, receiver, receives);
    }
}

/* One way: MANY messages arrive once, in order, and the sender knows when they were read. */
static void one_way(struct ends_world *world, const struct couple *couple, bool sender_dials, bool tcp)
{
    struct ends_end sender = {0}, receiver = {0};

    open_couple(world, couple, sender_dials, tcp, &sender, &receiver);
    for (unsigned i = 0; i < MANY; i++)
        ends_send_number(&sender, i);
    ENDS_AWAIT(world, receiver.got_count == MANY);
    for (unsigned i = 0; i < MANY; i++)
        ends_expect_number(&receiver, i, i);
    ends_finish(world, &sender);
    assert_int_equal(peer_counters(sender.peer).sent, MANY);
    assert_int_equal(peer_counters(sender.peer).dropped, 0);
    assert_true(sender.drained > 0);
    assert_int_equal(peer_counters(receiver.peer).received, MANY);
    ends_close(&sender);
    ENDS_AWAIT(world, receiver.peers == 0);
    ends_close(&receiver);
}

/* And back: an answer for each, with the number of its request. */
static void with_answers(struct ends_world *world, const struct couple *couple, bool sender_dials, bool tcp)
{
    struct ends_end sender = {0}, receiver = {.echo = true};

    open_couple(world, couple, sender_dials, tcp, &sender, &receiver);
    for (unsigned i = 0; i < (couple->sender == PEER_SURVEYOR ? SURVEYS : REQUESTS); i++) {
        ends_send_number(&sender, i);
        ENDS_AWAIT(world, sender.got_count == i + 1);
        char text[32];
        snprintf(text, sizeof text, "re: message %u", i);
        assert_string_equal(sender.got[i].text, text);
        assert_int_equal(sender.got[i].token.request, i);
        if (couple->sender == PEER_SURVEYOR) {
            struct peer_part part = {"early", 5, NULL, NULL};
            assert_int_equal(peer_send(sender.peer, &part, NULL), MP_ERR_AGAIN);
            ENDS_AWAIT(world, sender.surveys == i + 1 && sender.writable == i + 1);
        }
    }
    ends_finish(world, &sender);
    ends_close(&sender);
    ends_close(&receiver);
}

static void test_every_pattern_both_ways(void **state)
{
    struct ends_world *world = *state;

    for (unsigned i = 0; i < COUPLES; i++) {
        for (unsigned way = 0; way < 4; way++) {
            bool dials = way & 1, tcp = way & 2;
            if (answers(couples[i].sender))
                with_answers(world, &couples[i], dials, tcp);
            else
                one_way(world, &couples[i], dials, tcp);
        }
    }
}

static void test_pair_and_bus_speak_both_ways_at_once(void **state)
{
    struct ends_world *world = *state;
    const enum peer_pattern patterns[] = {PEER_PAIR, PEER_PAIR1, PEER_BUS};

    for (unsigned p = 0; p < 3; p++) {
        struct couple couple = {patterns[p], patterns[p], 0};
        struct ends_end one = {0}, other = {0};
        open_couple(world, &couple, true, false, &one, &other);
        ENDS_AWAIT(world, one.peers == 1 && other.peers == 1);
        for (unsigned i = 0; i < 100; i++) {
            ends_send_number(&one, i);
            ends_send_number(&other, 1000 + i);
        }
        ENDS_AWAIT(world, one.got_count == 100 && other.got_count == 100);
        ends_expect_number(&one, 99, 1099);
        ends_expect_number(&other, 99, 99);
        ends_close(&one);
        ends_close(&other);
    }
}

static void test_bus_and_pub_reach_everybody_and_push_shares(void **state)
{
    struct ends_world *world = *state;
    const enum peer_pattern patterns[] = {PEER_BUS, PEER_PUB, PEER_PUSH};

    for (unsigned p = 0; p < 3; p++) {
        struct ends_end hub = {0}, ends[3] = {{0}};
        char url[ENDS_URL];
        ends_url(world, false, url);
        ends_open(world, &hub,
                  (struct peer_settings){.pattern = patterns[p], .role = PEER_LISTEN, .url = url, .await_peers = 3});
        for (unsigned i = 0; i < 3; i++) {
            enum peer_pattern other = patterns[p] == PEER_BUS   ? PEER_BUS
                                      : patterns[p] == PEER_PUB ? PEER_SUB
                                                                : PEER_PULL;
            ends_open(world, &ends[i], (struct peer_settings){.pattern = other, .role = PEER_DIAL, .url = url});
        }
        /* Before anybody is there: nothing is lost, for three are awaited. */
        for (unsigned i = 0; i < 300; i++)
            ends_send_number(&hub, i);
        unsigned each = patterns[p] == PEER_PUSH ? 100 : 300;
        ENDS_AWAIT(world, ends[0].got_count == each && ends[1].got_count == each && ends[2].got_count == each);
        ends_finish(world, &hub);
        assert_int_equal(peer_counters(hub.peer).unheard, 0);
        ends_close(&hub);
        for (unsigned i = 0; i < 3; i++)
            ends_close(&ends[i]);
    }
}

static void test_pub_to_nobody_is_counted(void **state)
{
    struct ends_world *world = *state;
    struct ends_end pub = {0};
    char url[ENDS_URL];

    ends_url(world, false, url);
    ends_open(world, &pub, (struct peer_settings){.pattern = PEER_PUB, .role = PEER_LISTEN, .url = url});
    ends_send_number(&pub, 0);
    assert_int_equal(peer_counters(pub.peer).unheard, 1);
    ends_finish(world, &pub);
    ends_close(&pub);
}

static void test_sub_keeps_what_it_subscribed_to(void **state)
{
    struct ends_world *world = *state;
    struct ends_end pub = {0}, sub = {0};
    const struct peer_prefix prefixes[] = {{"log.", 4}, {"x", 1}};
    struct frame_builder builder = {0};
    char url[ENDS_URL];

    ends_url(world, false, url);
    ends_open(world, &pub,
              (struct peer_settings){.pattern = PEER_PUB, .role = PEER_LISTEN, .url = url, .await_peers = 1});
    ends_open(
        world, &sub,
        (struct peer_settings){
            .pattern = PEER_SUB, .role = PEER_DIAL, .url = url, .subscriptions = prefixes, .subscriptions_count = 2});
    ends_send(&pub, "log");
    ends_send(&pub, "log.one");
    ends_send(&pub, "");
    ends_send(&pub, "yx");
    ends_send(&pub, "x");
    assert_int_equal(frame_begin(&builder, 7, 1), MP_OK);
    assert_int_equal(frame_add(&builder, "y", 1, NULL, 0), MP_OK);
    frame_finish(&builder, 0);
    struct peer_part frame = {builder.bytes.data, builder.bytes.size, NULL, NULL};
    assert_int_equal(peer_send(pub.peer, &frame, NULL), MP_OK);
    frame_builder_free(&builder);

    ENDS_AWAIT(world, sub.got_count == 3);
    assert_string_equal(sub.got[0].text, "log.one");
    assert_string_equal(sub.got[1].text, "x");
    assert_int_equal(peer_counters(sub.peer).filtered, 3);
    assert_false(peer_subscribed(sub.peer, "y", 1));
    assert_true(peer_subscribed(sub.peer, "xy", 2));
    ends_close(&pub);
    ends_close(&sub);
}

/* Connects, behaves badly in the way that HOW says, and closes. */
static void be_rude(struct ends_world *world, const char *url, unsigned how)
{
    static const struct {
        const char *bytes;
        size_t size;
    } words[] = {
        {"", 0},                        /* says nothing */
        {"\0SP\0", 4},                  /* dies in mid-greeting */
        {"GET / HTTP/1.0\r\n\r\n", 18}, /* something else than SP */
        {"\0SP\0\0\x7f\0\0", 8},        /* a protocol that is no partner of any */
        {"", 0},                        /* goes when the other end had time to greet */
    };
    int descriptor = ends_connect(url);

    if (words[how].size > 0)
        assert_int_equal(send(descriptor, words[how].bytes, words[how].size, MSG_NOSIGNAL), words[how].size);
    if (how == 4)
        ends_spin(world);
    close(descriptor);
    ends_spin(world);
}

static void test_listeners_outlive_rude_peers(void **state)
{
    struct ends_world *world = *state;

    for (unsigned i = 0; i < 2 * COUPLES; i++) {
        const struct couple *couple = &couples[i / 2];
        for (unsigned tcp = 0; tcp < 2; tcp++) {
            struct ends_end listener = {0}, dialler = {0};
            bool sender_listens = i % 2;
            enum peer_pattern pattern = sender_listens ? couple->sender : couple->receiver;
            char url[ENDS_URL];
            ends_url(world, tcp, url);
            ends_open(world, &listener,
                      (struct peer_settings){.pattern = pattern, .role = PEER_LISTEN, .url = url, .await_peers = 1});
            for (unsigned how = 0; how < 5; how++)
                be_rude(world, peer_url(listener.peer), how);
            assert_int_equal(peer_count(listener.peer), 0);
            ends_open(world, &dialler,
                      (struct peer_settings){.pattern = sender_listens ? couple->receiver : couple->sender,
                                             .role = PEER_DIAL,
                                             .url = peer_url(listener.peer),
                                             .await_peers = 1});
            ends_send(sender_listens ? &listener : &dialler, "hello");
            struct ends_end *receiver = sender_listens ? &dialler : &listener;
            ENDS_AWAIT(world, receiver->got_count == 1);
            assert_string_equal(receiver->got[0].text, "hello");
            ends_close(&listener);
            ends_close(&dialler);
        }
    }
}

/* A receiver that takes nothing: the sender is told to wait, and both ends keep within their limits. */
static void test_push_waits_for_a_slow_receiver(void **state)
{
    struct ends_world *world = *state;
    struct ends_end push = {0}, pull = {0};
    char url[ENDS_URL];
    enum { LIMIT = 256 * 1024, SIZE = 10000 };
    char *body = malloc(SIZE);
    unsigned sent = 0;

    assert_non_null(body);
    memset(body, 'x', SIZE);
    ends_url(world, false, url);
    ends_open(world, &pull,
              (struct peer_settings){.pattern = PEER_PULL, .role = PEER_LISTEN, .url = url, .receive_limit = LIMIT});
    peer_receive(pull.peer, false);
    ends_open(world, &push,
              (struct peer_settings){.pattern = PEER_PUSH, .role = PEER_DIAL, .url = url, .send_limit = LIMIT});
    ENDS_AWAIT(world, push.peers == 1);
    struct peer_part part = {body, SIZE, NULL, NULL};
    for (unsigned idle = 0; idle < 50; idle++) {
        while (peer_send(push.peer, &part, NULL) == MP_OK) {
            sent++;
            idle = 0;
        }
        ends_spin(world);
    }
    assert_int_equal(pull.got_count, 0);
    /* Two limits, 256 KiB beyond the receiver's, and what the kernel holds for a Unix socket. */
    assert_true((size_t)sent * SIZE > LIMIT);
    assert_true((size_t)sent * SIZE < 3 * LIMIT + 3 * 1024 * 1024);

    peer_receive(pull.peer, true);
    ENDS_AWAIT(world, pull.got_count == sent && push.writable > 0);
    ends_finish(world, &push);
    ends_close(&push);
    ends_close(&pull);
    free(body);
}

/* PUB drops for a peer that reads nothing, counts what it drops, and the one that reads gets all. */
static void test_pub_drops_for_the_slow_and_counts_it(void **state)
{
    struct ends_world *world = *state;
    struct ends_end pub = {0}, sub = {0};
    char url[ENDS_URL], body[1000];
    enum { TOTAL = 3000 };

    memset(body, 'x', sizeof body);
    ends_releases = 0;
    ends_url(world, false, url);
    ends_open(world, &pub,
              (struct peer_settings){
                  .pattern = PEER_PUB, .role = PEER_LISTEN, .url = url, .send_limit = 100000, .await_peers = 2});
    ends_open(world, &sub, (struct peer_settings){.pattern = PEER_SUB, .role = PEER_DIAL, .url = url});
    int stalled = ends_connect(url);
    ends_greet(world, stalled, 0x21);
    ENDS_AWAIT(world, pub.peers == 2);
    for (unsigned i = 0; i < TOTAL; i++) {
        struct peer_part part = {body, sizeof body, ends_count_release, NULL};
        enum mp_error error;
        while ((error = peer_send(pub.peer, &part, NULL)) == MP_ERR_AGAIN) {
            unsigned before = pub.writable;
            ENDS_AWAIT(world, pub.writable > before);
        }
        assert_int_equal(error, MP_OK);
    }
    ENDS_AWAIT(world, sub.got_count == TOTAL);
    struct peer_counters counters = peer_counters(pub.peer);
    assert_true(counters.dropped > 0);
    assert_true(counters.dropped < TOTAL);
    assert_int_equal(counters.sent + counters.dropped + peer_pending(pub.peer), 2 * TOTAL);
    assert_true(peer_pending(pub.peer) <= 100);

    /* When the slow one goes, what it had not been given is counted too. */
    close(stalled);
    ENDS_AWAIT(world, pub.peers == 1);
    counters = peer_counters(pub.peer);
    assert_int_equal(counters.sent + counters.dropped, 2 * TOTAL);
    ends_close(&sub);
    ends_close(&pub);
    assert_int_equal(ends_releases, TOTAL);
}

/* With one subscriber, PUB goes at its pace: none is dropped. With one that is stuck it goes on after a second. */
static void test_pub_paces_itself_by_its_fastest_peer(void **state)
{
    struct ends_world *world = *state;
    struct ends_end pub = {0};
    char url[ENDS_URL], body[1000];
    unsigned again = 0;

    memset(body, 'x', sizeof body);
    ends_url(world, false, url);
    ends_open(world, &pub,
              (struct peer_settings){
                  .pattern = PEER_PUB, .role = PEER_LISTEN, .url = url, .send_limit = 100000, .await_peers = 1});
    int stalled = ends_connect(url);
    ends_greet(world, stalled, 0x21);
    ENDS_AWAIT(world, pub.peers == 1);
    struct peer_part part = {body, sizeof body, NULL, NULL};
    while (peer_counters(pub.peer).dropped == 0) {
        if (peer_send(pub.peer, &part, NULL) == MP_ERR_AGAIN) {
            again++;
            unsigned before = pub.writable;
            ENDS_AWAIT(world, pub.writable > before);
        }
    }
    assert_true(again > 0);
    close(stalled);
    ends_close(&pub);
}

/* Held messages stop the reading; freeing them lets it go on. */
static void test_held_messages_are_bounded(void **state)
{
    struct ends_world *world = *state;
    struct ends_end push = {0}, pull = {.hold = true};
    char url[ENDS_URL], body[10000];
    enum { TOTAL = 400, LIMIT = 500000 };

    memset(body, 'x', sizeof body);
    ends_url(world, false, url);
    ends_open(world, &pull,
              (struct peer_settings){.pattern = PEER_PULL, .role = PEER_LISTEN, .url = url, .receive_limit = LIMIT});
    ends_open(
        world, &push,
        (struct peer_settings){.pattern = PEER_PUSH, .role = PEER_DIAL, .url = url, .send_limit = 16 * 1024 * 1024});
    for (unsigned i = 0; i < TOTAL; i++) {
        struct peer_part part = {body, sizeof body, NULL, NULL};
        assert_int_equal(peer_send(push.peer, &part, NULL), MP_OK);
    }
    ENDS_AWAIT(world, pull.got_count >= LIMIT / sizeof body);
    ends_spin(world);
    assert_true(pull.got_count <= (LIMIT + 256 * 1024) / sizeof body + 1);
    while (pull.got_count < TOTAL) {
        unsigned before = pull.got_count;
        assert_true(pull.held_count > 0);
        peer_message_free(pull.held[--pull.held_count]);
        if (pull.held_count == 0)
            ENDS_AWAIT(world, pull.got_count > before);
    }
    ends_close(&push);
    ends_close(&pull);
}

/* Whatever allocation fails, nothing breaks, and what is sent afterwards arrives. */
static void test_a_lack_of_memory_is_survived(void **state)
{
    struct ends_world *world = *state;
    const struct couple *used[] = {&couples[0], &couples[1], &couples[5]};
    bool failed = true;

    for (unsigned long nth = 1; failed; nth += nth < 60 ? 1 : 9) {
        failed = false;
        for (unsigned i = 0; i < 3; i++) {
            struct ends_end sender = {0}, receiver = {0};
            struct fault fault;
            char url[ENDS_URL];
            ends_url(world, false, url);
            ends_open(world, &receiver,
                      (struct peer_settings){.pattern = used[i]->receiver, .role = PEER_LISTEN, .url = url});
            ends_open(
                world, &sender,
                (struct peer_settings){.pattern = used[i]->sender, .role = PEER_DIAL, .url = url, .await_peers = 1});
            receiver.echo = used[i]->receiver == PEER_REP;
            memory_fail(nth);
            for (unsigned n = 0; n < 100; n++) {
                struct peer_part part = {"early", 5, NULL, NULL};
                enum mp_error error = peer_send(sender.peer, &part, &fault);
                assert_true(error == MP_OK || error == MP_ERR_MEMORY || error == MP_ERR_AGAIN);
            }
            ends_spin(world);
            failed = memory_failed() || failed;
            memory_fail(0);
            /* The connection may have been given up for it, and messages with it; a new one is made. */
            const char *last = "";
            while (strcmp(last, "late") != 0) {
                struct peer_part part = {"late", 4, NULL, NULL};
                unsigned before = receiver.got_count, writable = sender.writable;
                if (peer_send(sender.peer, &part, &fault) == MP_ERR_AGAIN)
                    ENDS_AWAIT(world, sender.writable > writable);
                else
                    ENDS_AWAIT(world, receiver.got_count > before || sender.peers == 0);
                last = receiver.got_count > 0 ? receiver.got[receiver.got_count - 1].text : "";
            }
            ends_close(&sender);
            ends_close(&receiver);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENDS_TEST(test_every_pattern_both_ways),
        ENDS_TEST(test_pair_and_bus_speak_both_ways_at_once),
        ENDS_TEST(test_bus_and_pub_reach_everybody_and_push_shares),
        ENDS_TEST(test_pub_to_nobody_is_counted),
        ENDS_TEST(test_sub_keeps_what_it_subscribed_to),
        ENDS_TEST(test_listeners_outlive_rude_peers),
        ENDS_TEST(test_push_waits_for_a_slow_receiver),
        ENDS_TEST(test_pub_drops_for_the_slow_and_counts_it),
        ENDS_TEST(test_pub_paces_itself_by_its_fastest_peer),
        ENDS_TEST(test_held_messages_are_bounded),
        ENDS_TEST(test_a_lack_of_memory_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
