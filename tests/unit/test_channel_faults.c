/* transport/channel.h: relays that go, are silent or talk nonsense, and want of memory */
#include "channel_rig.h"
#include "transport/channel_line.h"

#include "base/clock.h"
#include "base/memory.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- connections that end ------------------------------------------------------------------------------------- */

static void an_absent_relay_is_waited_for(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct rig rig = {.echo = true};
        rig_open(&rig, kind == 0 ? ADDRESS_IPC : ADDRESS_TCP);
        server_free(rig.server);
        struct channel *channel = channel_rig_open(rig.address.text);
        channel_rig_send(channel, CHANNEL_PUBLISH, "patient");
        assert_false(channel->operations->connected(channel, CHANNEL_PUBLISH));
        channel_rig_serve_again(&rig);
        channel_rig_expect(&rig, channel, CHANNEL_PUBLISH, "patient");
        channel->operations->close(channel);
        rig_close(&rig);
    }
}

static void a_request_under_way_goes_to_the_next_relay(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct rig rig = {0};
        rig_open(&rig, round % 2 == 0 ? ADDRESS_IPC : ADDRESS_TCP);
        struct channel *channel = channel_rig_open(rig.address.text);
        channel_rig_send(channel, CHANNEL_PUBLISH, "first");
        channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "first"));
        server_message_free(rig_take(&rig)); /* taken, and never answered */
        server_free(rig.server);
        channel_rig_serve_again(&rig);
        int64_t begin = clock_monotonic();
        channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "first"));
        int64_t took = clock_monotonic() - begin;
        if (took > 500000) {
            print_message("it took %lld ms\n", (long long)took / 1000);
        }
        assert_true(took < 2000000); /* 260 ms at most when nothing else runs */
        channel_rig_answer(&rig, "done");
        channel_rig_expect(&rig, channel, CHANNEL_PUBLISH, "done");
        channel->operations->close(channel);
        rig_close(&rig);
    }
}

static void a_connection_closed_again_and_again_loses_nothing(void **state)
{
    struct rig rig = {.close_on_message = true};

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    struct channel *channel = channel_rig_open(rig.address.text);
    channel_rig_send(channel, CHANNEL_SETTLE, "stubborn");
    channel_rig_until(&rig, channel, rig.kept == 10);
    rig.close_on_message = false;
    while (rig.kept > 0) {
        server_message_free(rig_take(&rig));
    }
    channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "stubborn"));
    channel_rig_answer(&rig, "done");
    channel_rig_expect(&rig, channel, CHANNEL_SETTLE, "done");
    channel->operations->close(channel);
    rig_close(&rig);
}

/* ---- silence -------------------------------------------------------------------------------------------------- */

static int64_t silence;

static int64_t be_silent(int descriptor)
{
    (void)descriptor;
    return silence;
}

static void open_silent(struct rig *rig, int64_t for_so_long)
{
    channel_line_doubt = 40000;
    channel_line_silence_for_test = be_silent;
    silence = for_so_long;
    rig_open(rig, ADDRESS_TCP);
}

static void close_silent(struct rig *rig)
{
    channel_line_doubt = 1500000;
    channel_line_silence_for_test = NULL;
    rig_close(rig);
}

static void a_silent_host_is_asked_over_another_line(void **state)
{
    struct rig rig = {0};

    (void)state;
    open_silent(&rig, 50000);
    struct channel *channel = channel_rig_open(rig.address.text);
    channel_rig_send(channel, CHANNEL_PUBLISH, "heard");
    channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "heard"));
    struct server_message *first = rig_take(&rig);
    channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "heard"));
    assert_true(rig.first->connection != first->connection);
    assert_int_equal(server_counters(rig.server).accepted, 2);
    struct server_part part = {.data = "late", .size = 4};
    server_send(rig.server, first->connection, first->ids, first->ids_count, &part, 1); /* nobody is there any more */
    server_message_free(first);
    channel_rig_answer(&rig, "done");
    channel_rig_expect(&rig, channel, CHANNEL_PUBLISH, "done");
    rig_until(&rig, rig.disconnected == 1);
    silence = 0;
    channel_rig_send(channel, CHANNEL_PUBLISH, "next"); /* over the line that is there now */
    channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "next"));
    channel_rig_answer(&rig, "done");
    channel_rig_expect(&rig, channel, CHANNEL_PUBLISH, "done");
    assert_int_equal(server_counters(rig.server).accepted, 2);
    channel->operations->close(channel);
    close_silent(&rig);
}

static void a_host_that_fell_silent_while_nothing_was_asked_is_asked_over_another_line_at_once(void **state)
{
    const int64_t longer = INT64_C(300000000); /* than the test has patience */
    struct rig rig = {0};

    (void)state;
    open_silent(&rig, 0);
    struct channel *channel = channel_rig_open(rig.address.text);
    channel_rig_send(channel, CHANNEL_SETTLE, "first");
    channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "first"));
    int64_t end = clock_monotonic() + 3 * channel_line_doubt;
    channel_line_doubt = longer; /* from the reply on */
    channel_rig_answer(&rig, "done");
    channel_rig_expect(&rig, channel, CHANNEL_SETTLE, "done");
    channel_rig_until(&rig, channel, clock_monotonic() >= end); /* what was awaited is forgotten */
    silence = longer;
    channel_rig_send(channel, CHANNEL_SETTLE, "next");
    channel_rig_until(&rig, channel, server_counters(rig.server).accepted == 2);
    channel->operations->close(channel);
    close_silent(&rig);
}

static void a_host_that_is_slow_but_there_is_left_alone(void **state)
{
    struct rig rig = {0};

    (void)state;
    open_silent(&rig, 30000);
    struct channel *channel = channel_rig_open(rig.address.text);
    channel_rig_send(channel, CHANNEL_FETCH, "slow");
    int64_t end = clock_monotonic() + 10 * channel_line_doubt;
    channel_rig_until(&rig, channel, clock_monotonic() >= end);
    assert_int_equal(server_counters(rig.server).accepted, 1);
    channel_rig_answer(&rig, "done");
    channel_rig_expect(&rig, channel, CHANNEL_FETCH, "done");
    channel->operations->close(channel);
    close_silent(&rig);
}

static void much_is_sent_again_less_and_less_often(void **state)
{
    struct rig rig = {0};
    static char much[64 * 1024];

    (void)state;
    open_silent(&rig, INT64_C(1000000000));
    struct channel *channel = channel_rig_open(rig.address.text);
    memset(much, 'x', sizeof(much) - 1);
    channel_rig_send(channel, CHANNEL_SETTLE, much);
    int64_t end = clock_monotonic() + 12 * channel_line_doubt; /* 1, 2, 4, 8 of them: three changes */
    channel_rig_until(&rig, channel, clock_monotonic() >= end);
    assert_in_range(server_counters(rig.server).accepted, 2, 4);
    channel->operations->forget(channel, CHANNEL_SETTLE);
    channel->operations->close(channel);
    close_silent(&rig);
}

static void another_line_needs_a_relay_and_no_request_needs_another_line(void **state)
{
    struct rig rig = {0};

    (void)state;
    open_silent(&rig, 50000);
    struct channel *channel = channel_rig_open(rig.address.text);
    channel_rig_send(channel, CHANNEL_CONTROL, "forgotten");
    channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "forgotten"));
    server_connection first = rig.first->connection;
    server_accept(rig.server, false); /* others connect and are not greeted */
    int64_t end = clock_monotonic() + 3 * channel_line_doubt;
    channel_rig_until(&rig, channel, clock_monotonic() >= end);
    assert_int_equal(rig.kept, 1);
    assert_int_equal(rig.disconnected, 0); /* it has not left the first */
    channel_rig_answer(&rig, "done");
    channel_rig_expect(&rig, channel, CHANNEL_CONTROL, "done");
    server_accept(rig.server, true);
    end = clock_monotonic() + 3 * channel_line_doubt;
    channel_rig_until(&rig, channel, clock_monotonic() >= end);
    silence = 0; /* it was heard */
    channel_rig_send(channel, CHANNEL_CONTROL, "next");
    channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "next"));
    assert_true(rig.first->connection == first);
    channel_rig_answer(&rig, "done");
    channel_rig_expect(&rig, channel, CHANNEL_CONTROL, "done");
    channel->operations->close(channel);
    close_silent(&rig);
}

/* ---- the other end's faults ----------------------------------------------------------------------------------- */

/* A listener without a server, which the test plays by hand. */
static int accept_by_hand(const struct rig *rig, int listener, struct channel *channel)
{
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, SERVER_REP, 0, 0};
    uint8_t got[64];
    size_t done = 0;

    (void)rig;
    while (poll(&waiting, 1, 1) == 0) {
        assert_null(channel->operations->receive(channel));
    }
    int peer = accept(listener, NULL, NULL);
    assert_true(peer >= 0);
    for (size_t i = 0; i < sizeof(greeting); i++) { /* byte by byte */
        assert_int_equal(write(peer, greeting + i, 1), 1);
        assert_null(channel->operations->receive(channel));
    }
    while (done < 8 + 13 + 3) { /* its greeting, and the request "ask" */
        ssize_t count = read(peer, got + done, sizeof(got) - done);
        assert_true(count > 0);
        done += (size_t)count;
    }
    assert_memory_equal(got + 8 + 13, "ask", 3);
    memcpy(got, got + 8 + 9, 4); /* the id */
    assert_int_equal(got[0] & 0x80, 0x80);
    return peer;
}

static void nonsense_ends_the_connection_and_not_the_request(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } nonsense[] = {
        {"\2", 1},                                      /* an unknown kind */
        {"\1\0\0\0\0\0\0\0\3abcd", 13},                 /* too short for an id */
        {"\1\377\377\377\377\377\377\377\377abcd", 13}, /* endless */
        {"\1\0\0\0\0\0\0\0\7\200\0\0\0old\2", 17},      /* a reply to another request is no nonsense; 2 is */
        {"\1\0\0\0\0\0\0\0\11\200\0", 11},              /* dies in a reply */
    };
    struct rig rig = {0};
    int listener;

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    server_free(rig.server);
    assert_int_equal(address_listen(&rig.address, &listener, NULL), MP_OK);
    struct channel *channel = channel_rig_open(rig.address.text);
    channel_rig_send(channel, CHANNEL_CONTROL, "ask");
    for (unsigned i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        int peer = accept_by_hand(&rig, listener, channel);
        assert_int_equal(write(peer, nonsense[i].bytes, nonsense[i].size), (ssize_t)nonsense[i].size);
        close(peer);
    }
    close(listener);
    unlink(rig.address.path);
    rig.echo = true;
    channel_rig_serve_again(&rig);
    channel_rig_expect(&rig, channel, CHANNEL_CONTROL, "ask");
    channel->operations->close(channel);
    rig_close(&rig);
}

static void a_reply_may_be_split_at_every_byte(void **state)
{
    static const uint8_t body[] = "a reply";
    struct rig rig = {0};
    int listener;

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    server_free(rig.server);
    assert_int_equal(address_listen(&rig.address, &listener, NULL), MP_OK);
    struct channel *channel = channel_rig_open(rig.address.text);
    channel_rig_send(channel, CHANNEL_CONTROL, "ask");
    int peer = accept_by_hand(&rig, listener, channel);
    uint8_t request[16];
    uint8_t reply[32];
    uint32_t id = 0;
    for (size_t split = 1; split < 13 + sizeof(body); split++) {
        /* The id is not known to the test but for its order: a request tells it. */
        channel->operations->forget(channel, CHANNEL_CONTROL);
        channel_rig_send(channel, CHANNEL_CONTROL, "ask");
        for (size_t done = 0; done < 16;) {
            ssize_t count = read(peer, request + done, sizeof(request) - done);
            if (count < 0) {
                assert_null(channel->operations->receive(channel));
                continue;
            }
            assert_true(count > 0);
            done += (size_t)count;
        }
        memcpy(&id, request + 9, 4);
        size_t size = rig_prefix(&rig, 4 + sizeof(body), reply);
        memcpy(reply + size, &id, 4);
        memcpy(reply + size + 4, body, sizeof(body));
        assert_int_equal(write(peer, reply, split), (ssize_t)split);
        assert_null(channel->operations->receive(channel));
        assert_int_equal(write(peer, reply + split, 13 + sizeof(body) - split), (ssize_t)(13 + sizeof(body) - split));
        struct channel_reply *whole = channel->operations->receive(channel);
        assert_non_null(whole);
        assert_int_equal(whole->size, sizeof(body));
        assert_memory_equal(whole->data, body, sizeof(body));
        channel_reply_free(whole);
    }
    close(peer);
    close(listener);
    unlink(rig.address.path);
    channel_rig_serve_again(&rig);
    channel->operations->close(channel);
    rig_close(&rig);
}

static void want_of_memory_is_told_or_overcome(void **state)
{
    enum { SIZE = 100000 };
    struct rig rig = {.echo = true};
    static uint8_t bytes[SIZE];
    const struct iovec part = {.iov_base = bytes, .iov_len = SIZE};
    struct channel *channel;
    struct fault fault = {0};

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    memory_fail(1);
    assert_int_equal(channel_open(rig.address.text, &channel, &fault), MP_ERR_MEMORY);
    memory_fail(0);
    channel = channel_rig_open(rig.address.text);
    memory_fail(1);
    assert_int_equal(channel->operations->send(channel, CHANNEL_FETCH, &part, 1, &fault), MP_ERR_MEMORY);
    memory_fail(0);
    for (unsigned long nth = 1; nth < 8; nth++) { /* in the server, or for the reply */
        assert_int_equal(channel->operations->send(channel, CHANNEL_FETCH, &part, 1, &fault), MP_OK);
        memory_fail(nth);
        struct channel_reply *reply = channel_rig_await(&rig, channel);
        memory_fail(0);
        assert_int_equal(reply->size, SIZE);
        channel_reply_free(reply);
    }
    channel->operations->close(channel);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_absent_relay_is_waited_for),
        cmocka_unit_test(a_request_under_way_goes_to_the_next_relay),
        cmocka_unit_test(a_connection_closed_again_and_again_loses_nothing),
        cmocka_unit_test(a_silent_host_is_asked_over_another_line),
        cmocka_unit_test(a_host_that_fell_silent_while_nothing_was_asked_is_asked_over_another_line_at_once),
        cmocka_unit_test(a_host_that_is_slow_but_there_is_left_alone),
        cmocka_unit_test(much_is_sent_again_less_and_less_often),
        cmocka_unit_test(another_line_needs_a_relay_and_no_request_needs_another_line),
        cmocka_unit_test(nonsense_ends_the_connection_and_not_the_request),
        cmocka_unit_test(a_reply_may_be_split_at_every_byte),
        cmocka_unit_test(want_of_memory_is_told_or_overcome),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
