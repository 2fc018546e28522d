/* Direct mode: connections that come and go, and partners that are the wrong ones. */
#include "peer_ends.h"

#include "base/memory.h"
#include "message/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A dialler connects again when the listener is back, and what waited goes there. */
static void test_diallers_come_back(void **state)
{
    struct ends_world *world = *state;
    struct ends_end push = {0}, pull = {0};
    char url[ENDS_URL];

    ends_url(world, false, url);
    ends_open(world, &push, (struct peer_settings){.pattern = PEER_PUSH, .role = PEER_DIAL, .url = url});
    ends_send_number(&push, 0);
    ENDS_AWAIT(world, push.trouble[0] != '\0');
    assert_non_null(strstr(push.trouble, url));
    assert_string_equal(peer_trouble(push.peer), push.trouble);
    for (unsigned i = 0; i < 3; i++) {
        ends_open(world, &pull, (struct peer_settings){.pattern = PEER_PULL, .role = PEER_LISTEN, .url = url});
        ENDS_AWAIT(world, pull.got_count == 1);
        ends_expect_number(&pull, 0, i);
        assert_string_equal(peer_trouble(push.peer), "");
        ends_close(&pull);
        ENDS_AWAIT(world, push.peers == 0);
        ends_send_number(&push, i + 1);
    }
    assert_int_equal(peer_pending(push.peer), 1);
    peer_finish(push.peer, 0);
    ENDS_AWAIT(world, push.finished);
    assert_int_equal(push.result.left, 1);
    assert_true(push.result.timed_out);
    ends_close(&push);
}

/* What a connection had not wholly written when it ended goes to the next one: none lost, none twice. */
static void test_unwritten_messages_move_to_the_next_connection(void **state)
{
    struct ends_world *world = *state;
    struct ends_end push = {0}, pull = {0};
    char url[ENDS_URL];
    enum { TOTAL = 100 };

    ends_url(world, false, url);
    ends_open(
        world, &push,
        (struct peer_settings){.pattern = PEER_PUSH, .role = PEER_LISTEN, .url = url, .send_limit = 64 * 1024 * 1024});
    int stalled = ends_connect(url);
    ends_greet(world, stalled, 0x51);
    ENDS_AWAIT(world, push.peers == 1);
    char *body = malloc(100000);
    assert_non_null(body);
    for (unsigned i = 0; i < TOTAL; i++) {
        memset(body, 'x', 100000);
        snprintf(body, 100000, "%u", i);
        struct peer_part part = {body, 100000, NULL, NULL};
        assert_int_equal(peer_send(push.peer, &part, NULL), MP_OK);
    }
    free(body);
    ends_spin(world);
    unsigned written = (unsigned)peer_counters(push.peer).sent;
    assert_true(written < TOTAL);
    close(stalled);
    ENDS_AWAIT(world, push.peers == 0);
    ends_open(world, &pull, (struct peer_settings){.pattern = PEER_PULL, .role = PEER_DIAL, .url = url});
    ENDS_AWAIT(world, pull.got_count == TOTAL - written);
    ends_finish(world, &push);
    assert_int_equal(pull.got_count, TOTAL - written);
    for (unsigned i = 0; i < pull.got_count; i++)
        assert_int_equal(atoi(pull.got[i].text), written + i);
    assert_true(peer_counters(push.peer).resent > 0);
    ends_close(&push);
    ends_close(&pull);
}

/* Finishing waits until the other end has read, and says so when it did not. */
static void test_finishing_waits_for_the_reader(void **state)
{
    struct ends_world *world = *state;
    struct ends_end push = {0};
    char url[ENDS_URL], bytes[9 + 5];

    for (unsigned way = 0; way < 4; way++) {
        bool reads = way & 1, tcp = way & 2;
        ends_url(world, tcp, url);
        ends_open(world, &push, (struct peer_settings){.pattern = PEER_PUSH, .role = PEER_LISTEN, .url = url});
        int reader = ends_connect(peer_url(push.peer));
        ends_greet(world, reader, 0x51);
        ends_send(&push, "hello");
        ENDS_AWAIT(world, push.drained == 1);
        peer_finish(push.peer, reads ? 10000000 : 50000);
        struct peer_part part = {"late", 4, NULL, NULL};
        assert_int_equal(peer_send(push.peer, &part, NULL), MP_ERR_CLOSED);
        ends_spin(world);
        assert_false(push.finished);
        if (reads) {
            static const char wire[] = "\1\0\0\0\0\0\0\0\5hello";
            size_t kind = tcp ? 0 : 1; /* the byte that ipc has first */
            ends_read(world, reader, bytes, 13 + kind);
            assert_memory_equal(bytes, wire + 1 - kind, 13 + kind);
            if (tcp) { /* its kernel had acknowledged the bytes before; that it closes tells that it has read */
                ends_spin(world);
                assert_false(push.finished);
                ENDS_AWAIT(world, recv(reader, bytes, 1, MSG_DONTWAIT) == 0);
                shutdown(reader, SHUT_RDWR);
            }
        }
        ENDS_AWAIT(world, push.finished);
        assert_int_equal(push.result.left, 0);
        assert_int_equal(push.result.timed_out, !reads);
        assert_int_equal(push.result.unread > 0 || push.result.unconfirmed > 0, !reads);
        close(reader);
        ends_close(&push);
    }
}

static void test_requests_are_sent_again(void **state)
{
    struct ends_world *world = *state;
    struct ends_end req = {0}, rep = {0};
    char url[ENDS_URL];

    ends_url(world, false, url);
    ends_open(world, &req, (struct peer_settings){.pattern = PEER_REQ, .role = PEER_LISTEN, .url = url, .window = 3});
    ends_open(world, &rep, (struct peer_settings){.pattern = PEER_REP, .role = PEER_DIAL, .url = url});
    for (unsigned i = 0; i < 3; i++)
        ends_send_number(&req, i);
    struct peer_part part = {"more", 4, NULL, NULL};
    assert_int_equal(peer_send(req.peer, &part, NULL), MP_ERR_AGAIN);
    ENDS_AWAIT(world, rep.got_count == 3);
    ends_close(&rep); /* without an answer */
    ENDS_AWAIT(world, req.peers == 0);
    assert_int_equal(peer_pending(req.peer), 3);

    rep.echo = true;
    ends_open(world, &rep, (struct peer_settings){.pattern = PEER_REP, .role = PEER_DIAL, .url = url});
    ENDS_AWAIT(world, req.got_count == 3 && req.writable == 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(req.got[i].token.request, i);
    assert_int_equal(peer_counters(req.peer).resent, 3);
    ends_finish(world, &req);
    ends_close(&req);
    ends_close(&rep);
}

static void test_a_request_without_an_answer_is_sent_again_in_time(void **state)
{
    struct ends_world *world = *state;
    struct ends_end req = {0}, rep = {0};
    char url[ENDS_URL];

    ends_url(world, false, url);
    ends_open(world, &rep, (struct peer_settings){.pattern = PEER_REP, .role = PEER_LISTEN, .url = url});
    ends_open(world, &req,
              (struct peer_settings){.pattern = PEER_REQ, .role = PEER_DIAL, .url = url, .resend_time = 20000});
    ends_send(&req, "anybody?");
    ENDS_AWAIT(world, rep.got_count == 2);
    assert_string_equal(rep.got[1].text, "anybody?");
    /* Both are answered; the second answer has no request any more. */
    struct peer_part part = {"yes", 3, NULL, NULL};
    assert_int_equal(peer_reply(rep.peer, &rep.got[0].token, &part, NULL), MP_OK);
    assert_int_equal(peer_reply(rep.peer, &rep.got[1].token, &part, NULL), MP_OK);
    ENDS_AWAIT(world, req.got_count == 1);
    ends_send(&req, "again");
    ENDS_AWAIT(world, rep.got_count >= 3 && strcmp(rep.got[rep.got_count - 1].text, "again") == 0);
    assert_int_equal(req.got_count, 1);

    /* Whom it answers has gone. */
    struct peer_token token = rep.got[rep.got_count - 1].token;
    ends_close(&req);
    ENDS_AWAIT(world, rep.peers == 0);
    ends_releases = 0;
    part.release = ends_count_release;
    assert_int_equal(peer_reply(rep.peer, &token, &part, NULL), MP_ERR_CLOSED);
    assert_int_equal(ends_releases, 1);
    ends_close(&rep);
}

static void test_a_pair_has_two_ends(void **state)
{
    struct ends_world *world = *state;
    struct ends_end one = {0}, two = {0};
    char url[ENDS_URL], byte;

    ends_url(world, false, url);
    ends_open(world, &one, (struct peer_settings){.pattern = PEER_PAIR, .role = PEER_LISTEN, .url = url});
    ends_open(world, &two, (struct peer_settings){.pattern = PEER_PAIR, .role = PEER_DIAL, .url = url});
    ENDS_AWAIT(world, one.peers == 1);
    int third = ends_connect(url);
    ends_greet(world, third, 0x10);
    ENDS_AWAIT(world, recv(third, &byte, 1, MSG_DONTWAIT) == 0);
    close(third);
    assert_non_null(strstr(one.trouble, "second"));
    ends_send(&two, "still here");
    ENDS_AWAIT(world, one.got_count == 1);
    ends_close(&one);
    ends_close(&two);
}

static void test_wrong_settings_are_refused(void **state)
{
    struct ends_world *world = *state;
    struct ends_end one = {0};
    struct peer *peer = NULL;
    struct fault fault = {0};
    char url[ENDS_URL];

    ends_url(world, false, url);
    struct peer_settings settings = {.pattern = PEER_PULL, .role = PEER_LISTEN, .url = "http://x"};
    assert_int_equal(peer_open(world->base, &settings, &peer, &fault), MP_ERR_INVALID);
    settings.role = PEER_DIAL;
    settings.url = "tcp://127.0.0.1:0";
    assert_int_equal(peer_open(world->base, &settings, &peer, &fault), MP_ERR_INVALID);
    assert_non_null(strstr(fault.text, "port"));

    settings.role = PEER_LISTEN;
    settings.url = url;
    ends_open(world, &one, settings);
    assert_int_equal(peer_open(world->base, &settings, &peer, &fault), MP_ERR_BUSY);
    struct peer_part part = {"x", 1, NULL, NULL};
    assert_int_equal(peer_send(one.peer, &part, &fault), MP_ERR_UNSUPPORTED);
    ends_close(&one);

    settings.pattern = PEER_PUSH;
    settings.max_message = 10;
    ends_open(world, &one, settings);
    part.size = 11;
    assert_int_equal(peer_send(one.peer, &part, &fault), MP_ERR_TOO_LARGE);
    ends_close(&one);
}

/* The other end speaks another pattern: words, and no connection. */
static void test_a_wrong_partner_is_named(void **state)
{
    struct ends_world *world = *state;
    struct ends_end push = {0}, pub = {0};
    char url[ENDS_URL];

    ends_url(world, false, url);
    ends_open(world, &pub, (struct peer_settings){.pattern = PEER_PUB, .role = PEER_LISTEN, .url = url});
    ends_open(world, &push, (struct peer_settings){.pattern = PEER_PUSH, .role = PEER_DIAL, .url = url});
    ENDS_AWAIT(world, push.trouble[0] != '\0' && pub.trouble[0] != '\0');
    assert_non_null(strstr(push.trouble, "pull"));
    assert_non_null(strstr(pub.trouble, "sub"));
    assert_int_equal(peer_count(push.peer), 0);
    assert_int_equal(peer_count(pub.peer), 0);
    ends_close(&push);
    ends_close(&pub);
}

/* Half a message, and gone: nothing is given to the owner, and the next one is served. */
static void test_a_peer_that_dies_in_mid_message_leaves_nothing(void **state)
{
    struct ends_world *world = *state;
    struct ends_end pull = {0};
    static const char whole[] = "\1\0\0\0\0\0\0\0\5hello";
    char url[ENDS_URL];

    ends_url(world, false, url);
    ends_open(world, &pull, (struct peer_settings){.pattern = PEER_PULL, .role = PEER_LISTEN, .url = url});
    for (size_t cut = 1; cut < sizeof whole - 1; cut++) {
        int descriptor = ends_connect(url);
        ends_greet(world, descriptor, 0x50);
        ENDS_AWAIT(world, pull.peers == 1);
        assert_int_equal(send(descriptor, whole, sizeof whole - 1, MSG_NOSIGNAL), sizeof whole - 1);
        assert_int_equal(send(descriptor, whole, cut, MSG_NOSIGNAL), cut);
        close(descriptor);
        ENDS_AWAIT(world, pull.peers == 0);
        assert_int_equal(pull.got_count, cut);
    }
    /* Too long a message closes the connection, and is named. */
    int descriptor = ends_connect(url);
    ends_greet(world, descriptor, 0x50);
    assert_int_equal(send(descriptor, "\1\x7f\0\0\0\0\0\0\0", 9, MSG_NOSIGNAL), 9);
    ENDS_AWAIT(world, strstr(pull.trouble, "allowed") != NULL);
    close(descriptor);
    ends_close(&pull);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENDS_TEST(test_diallers_come_back),
        ENDS_TEST(test_unwritten_messages_move_to_the_next_connection),
        ENDS_TEST(test_finishing_waits_for_the_reader),
        ENDS_TEST(test_requests_are_sent_again),
        ENDS_TEST(test_a_request_without_an_answer_is_sent_again_in_time),
        ENDS_TEST(test_a_pair_has_two_ends),
        ENDS_TEST(test_wrong_settings_are_refused),
        ENDS_TEST(test_a_wrong_partner_is_named),
        ENDS_TEST(test_a_peer_that_dies_in_mid_message_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
