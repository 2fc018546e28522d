/* Direct mode with libnng on the other side: what msend and mrecv meet in nng's and nanomsg's programs. */
#include "peer_ends.h"

#include <nng/nng.h>
#include <nng/protocol/bus0/bus.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/protocol/pair1/pair.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/protocol/survey0/respond.h>
#include <nng/protocol/survey0/survey.h>

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MESSAGES = 20,
    SURVEYS = 6,
    SURVEY_TIME = 100000, /* microseconds */
    TRIES = 100           /* of a survey, whose answer comes too late when the machine is busy */
};

static const struct couple {
    enum peer_pattern ours;
    int (*theirs)(nng_socket *socket);
} couples[] = {
    {PEER_PUSH, nng_pull0_open},
    {PEER_PULL, nng_push0_open},
    {PEER_PUB, nng_sub0_open},
    {PEER_SUB, nng_pub0_open},
    {PEER_PAIR, nng_pair0_open},
    {PEER_PAIR1, nng_pair1_open},
    {PEER_BUS, nng_bus0_open},
    {PEER_REQ, nng_rep0_open},
    {PEER_REP, nng_req0_open},
    {PEER_SURVEYOR, nng_respondent0_open},
    {PEER_RESPONDENT, nng_surveyor0_open},
};

/* An nng socket in our loop. */
struct foreign {
    nng_socket socket;
    atomic_uint pipes; /* set by nng's threads */
    struct event *readable;
    char last[64];
    unsigned got;
    bool answers;
};

static void on_pipe(nng_pipe pipe, nng_pipe_ev what, void *context)
{
    struct foreign *foreign = context;

    (void)pipe;
    if (what == NNG_PIPE_EV_ADD_POST)
        atomic_fetch_add(&foreign->pipes, 1);
}

static void on_readable(evutil_socket_t descriptor, short what, void *context)
{
    struct foreign *foreign = context;
    nng_msg *message;

    (void)descriptor;
    (void)what;
    while (nng_recvmsg(foreign->socket, &message, NNG_FLAG_NONBLOCK) == 0) {
        snprintf(foreign->last, sizeof foreign->last, "%.*s", (int)nng_msg_len(message), (char *)nng_msg_body(message));
        foreign->got++;
        nng_msg_free(message);
        if (foreign->answers) {
            char text[80];
            snprintf(text, sizeof text, "re: %s", foreign->last);
            assert_int_equal(nng_send(foreign->socket, text, strlen(text), 0), 0);
        }
    }
}

static void foreign_open(struct ends_world *world, struct foreign *foreign, const struct couple *couple)
{
    int descriptor;

    assert_int_equal(couple->theirs(&foreign->socket), 0);
    assert_int_equal(nng_pipe_notify(foreign->socket, NNG_PIPE_EV_ADD_POST, on_pipe, foreign), 0);
    nng_socket_set_ms(foreign->socket, NNG_OPT_SENDTIMEO, 20000);
    if (couple->ours == PEER_RESPONDENT)
        assert_int_equal(nng_socket_set_ms(foreign->socket, NNG_OPT_SURVEYOR_SURVEYTIME, 20000), 0);
    if (couple->ours == PEER_PUB)
        assert_int_equal(nng_socket_set(foreign->socket, NNG_OPT_SUB_SUBSCRIBE, "", 0), 0);
    foreign->answers = couple->ours == PEER_REQ || couple->ours == PEER_SURVEYOR;
    if (peer_pattern_sends(couple->ours) || couple->ours == PEER_REP || couple->ours == PEER_RESPONDENT) {
        assert_int_equal(nng_socket_get_int(foreign->socket, NNG_OPT_RECVFD, &descriptor), 0);
        foreign->readable = event_new(world->base, descriptor, EV_READ | EV_PERSIST, on_readable, foreign);
        assert_non_null(foreign->readable);
        event_add(foreign->readable, NULL);
    }
}

static void foreign_close(struct foreign *foreign)
{
    if (foreign->readable != NULL)
        event_free(foreign->readable);
    nng_close(foreign->socket);
}

static void on_look(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    (void)context;
}

/* nng's threads do not wake our loop: look again every millisecond. */
static void await_pipe(struct ends_world *world, struct foreign *foreign)
{
    const struct timeval often = {0, 1000};
    struct event *look = event_new(world->base, -1, EV_PERSIST, on_look, NULL);

    assert_non_null(look);
    event_add(look, &often);
    ENDS_AWAIT(world, atomic_load(&foreign->pipes) > 0);
    event_free(look);
}

/* Sends TEXT; where the pattern has answers, one comes. A survey is held again if that came after its end. */
static void ask(struct ends_world *world, const struct couple *couple, struct ends_end *ours, struct foreign *foreign,
                const char *text)
{
    unsigned got = ours->got_count;

    for (unsigned tries = 0; tries == 0 || (foreign->answers && ours->got_count == got); tries++) {
        unsigned heard = foreign->got, surveys = ours->surveys;
        assert_true(tries < TRIES);
        ends_send(ours, text);
        ENDS_AWAIT(world, foreign->got == heard + 1);
        assert_string_equal(foreign->last, text);
        if (couple->ours == PEER_SURVEYOR)
            ENDS_AWAIT(world, ours->surveys == surveys + 1);
        else if (foreign->answers)
            ENDS_AWAIT(world, ours->got_count == got + 1);
    }
}

/* We send, and get answers where the pattern has them. */
static void we_send(struct ends_world *world, const struct couple *couple, struct ends_end *ours,
                    struct foreign *foreign)
{
    for (unsigned i = 0; i < (couple->ours == PEER_SURVEYOR ? SURVEYS : MESSAGES); i++) {
        char text[32];
        snprintf(text, sizeof text, "to nng %u", i);
        ask(world, couple, ours, foreign, text);
        if (!foreign->answers)
            continue;
        assert_int_equal(ours->got_count, i + 1);
        assert_memory_equal(ours->got[i].text, "re: ", 4);
        assert_string_equal(ours->got[i].text + 4, text);
    }
    peer_finish(ours->peer, 10000000);
    ENDS_AWAIT(world, ours->finished);
    assert_int_equal(ours->result.left, 0);
    assert_int_equal(ours->result.unread, 0);
}

static void they_send(struct ends_world *world, struct ends_end *ours, struct foreign *foreign)
{
    unsigned before = ours->got_count, heard = foreign->got;

    for (unsigned i = 0; i < MESSAGES; i++) {
        char text[32];
        snprintf(text, sizeof text, "from nng %u", i);
        assert_int_equal(nng_send(foreign->socket, text, strlen(text), 0), 0);
        ENDS_AWAIT(world, ours->got_count == before + i + 1);
        assert_string_equal(ours->got[before + i].text, text);
        if (ours->echo) {
            ENDS_AWAIT(world, foreign->got == heard + i + 1);
            assert_memory_equal(foreign->last, "re: ", 4);
            assert_string_equal(foreign->last + 4, text);
        }
    }
}

static void meet(struct ends_world *world, const struct couple *couple, bool we_listen, bool tcp)
{
    struct ends_end ours = {.echo = couple->ours == PEER_REP || couple->ours == PEER_RESPONDENT};
    struct foreign foreign = {0};
    struct peer_settings settings = {.pattern = couple->ours, .await_peers = 1, .survey_time = SURVEY_TIME};
    char url[ENDS_URL];

    ends_url(world, tcp, url);
    settings.url = url;
    foreign_open(world, &foreign, couple);
    if (we_listen) {
        settings.role = PEER_LISTEN;
        ends_open(world, &ours, settings);
        assert_int_equal(nng_dial(foreign.socket, peer_url(ours.peer), NULL, NNG_FLAG_NONBLOCK), 0);
    } else {
        nng_listener listener;
        nng_sockaddr at;
        assert_int_equal(nng_listen(foreign.socket, url, &listener, 0), 0);
        if (tcp) {
            assert_int_equal(nng_listener_get_addr(listener, NNG_OPT_LOCADDR, &at), 0);
            snprintf(url, sizeof url, "tcp://127.0.0.1:%u", (unsigned)ntohs(at.s_in.sa_port));
        }
        settings.role = PEER_DIAL;
        ends_open(world, &ours, settings);
    }
    ENDS_AWAIT(world, ours.peers == 1);
    await_pipe(world, &foreign);
    if (!peer_pattern_sends(couple->ours) || couple->ours == PEER_PAIR || couple->ours == PEER_PAIR1 ||
        couple->ours == PEER_BUS)
        they_send(world, &ours, &foreign);
    if (peer_pattern_sends(couple->ours))
        we_send(world, couple, &ours, &foreign);
    foreign_close(&foreign);
    ENDS_AWAIT(world, ours.peers == 0);
    ends_close(&ours);
}

static void test_every_pattern_meets_nng(void **state)
{
    for (size_t i = 0; i < sizeof couples / sizeof couples[0]; i++) {
        for (unsigned way = 0; way < 4; way++)
            meet(*state, &couples[i], way & 1, way & 2);
    }
}

/* nng, too, is served after rude visitors. */
static void test_rude_visitors_do_not_keep_nng_out(void **state)
{
    struct ends_world *world = *state;
    struct ends_end pull = {0};
    nng_socket push;
    char url[ENDS_URL];

    ends_url(world, false, url);
    ends_open(world, &pull, (struct peer_settings){.pattern = PEER_PULL, .role = PEER_LISTEN, .url = url});
    for (unsigned i = 0; i < 50; i++) {
        int descriptor = ends_connect(url);
        if (i % 8 > 0)
            assert_int_equal(send(descriptor, "\0SP\0\0\x50\0", i % 8, MSG_NOSIGNAL), i % 8);
        close(descriptor);
    }
    assert_int_equal(nng_push0_open(&push), 0);
    assert_int_equal(nng_dial(push, url, NULL, NNG_FLAG_NONBLOCK), 0);
    ENDS_AWAIT(world, pull.peers == 1);
    char hello[] = "hello";
    assert_int_equal(nng_send(push, hello, 5, 0), 0);
    ENDS_AWAIT(world, pull.got_count == 1);
    nng_close(push);
    ends_close(&pull);
}

/* A thousand small messages and some large ones keep their order and their bytes. */
static void test_large_and_small_messages_to_and_from_nng(void **state)
{
    struct ends_world *world = *state;
    struct ends_end ours = {0};
    struct foreign foreign = {0};
    static const struct couple pair = {PEER_PAIR, nng_pair0_open};
    enum { LARGE = 3 * 1024 * 1024 };
    char url[ENDS_URL];
    char *body = malloc(LARGE);

    assert_non_null(body);
    ends_url(world, false, url);
    foreign_open(world, &foreign, &pair);
    nng_socket_set_size(foreign.socket, NNG_OPT_RECVMAXSZ, 0);
    nng_socket_set_int(foreign.socket, NNG_OPT_RECVBUF, 8);
    ends_open(world, &ours, (struct peer_settings){.pattern = PEER_PAIR, .role = PEER_LISTEN, .url = url});
    assert_int_equal(nng_dial(foreign.socket, url, NULL, NNG_FLAG_NONBLOCK), 0);
    ENDS_AWAIT(world, ours.peers == 1);
    for (unsigned i = 0; i < LARGE; i++)
        body[i] = (char)('a' + i % 23);
    for (unsigned i = 0; i < 1000; i++) {
        struct peer_part part = {body, i == 500 || i == 700 ? LARGE : i, NULL, NULL};
        enum mp_error error;
        while ((error = peer_send(ours.peer, &part, NULL)) == MP_ERR_AGAIN) {
            unsigned before = ours.writable;
            ENDS_AWAIT(world, ours.writable > before);
        }
        assert_int_equal(error, MP_OK);
    }
    ENDS_AWAIT(world, foreign.got == 1000);
    nng_msg *message;
    assert_int_equal(nng_msg_alloc(&message, LARGE), 0);
    memcpy(nng_msg_body(message), body, LARGE);
    assert_int_equal(nng_sendmsg(foreign.socket, message, NNG_FLAG_NONBLOCK), 0);
    ENDS_AWAIT(world, ours.got_count == 1);
    assert_int_equal(strlen(ours.got[0].text), LARGE);
    assert_memory_equal(ours.got[0].text, body, LARGE);
    foreign_close(&foreign);
    ends_close(&ours);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENDS_TEST(test_every_pattern_meets_nng),
        ENDS_TEST(test_rude_visitors_do_not_keep_nng_out),
        ENDS_TEST(test_large_and_small_messages_to_and_from_nng),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    nng_fini();
    return failed;
}
