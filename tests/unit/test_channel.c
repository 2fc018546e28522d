/* transport/channel.h, with the server of transport/server.h at the other end */
#include "server_rig.h"
#include "transport/channel.h"
#include "transport/channel_line.h"

#include "base/clock.h"
#include "base/memory.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct channel *open_channel(const char *url)
{
    struct channel *channel;
    struct fault fault = {0};

    if (channel_open(url, &channel, &fault) != MP_OK) {
        fail_msg("%s", fault.text);
    }
    return channel;
}

static void send_text(struct channel *channel, enum channel_lane lane, const char *text)
{
    struct fault fault = {0};
    const struct iovec part = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};

    assert_int_equal(channel->operations->send(channel, lane, &part, 1, &fault), MP_OK);
}

static struct channel_reply *early; /* came while something else was awaited */

/* Lets both ends go on, waiting for neither. */
static void turn_both(struct rig *rig, struct channel *channel)
{
    event_base_loop(rig->base, EVLOOP_NONBLOCK);
    if (early == NULL) {
        early = channel->operations->receive(channel);
    }
}

/* The same while CONDITION is false; the rig's watchdog ends it. */
#define turn_until(rig, channel, condition)                                                                            \
    do {                                                                                                               \
        while (!(condition))                                                                                           \
            turn_both(rig, channel);                                                                                   \
    } while (0)

static struct channel_reply *await_reply(struct rig *rig, struct channel *channel)
{
    struct pollfd readable = {.fd = channel->operations->descriptor(channel), .events = POLLIN};

    while (early == NULL) {
        event_base_loop(rig->base, EVLOOP_NONBLOCK);
        if (poll(&readable, 1, 0) == 1) { /* only when it says that there may be something */
            early = channel->operations->receive(channel);
        }
    }
    struct channel_reply *reply = early;
    early = NULL;
    return reply;
}

static void expect_reply(struct rig *rig, struct channel *channel, enum channel_lane lane, const char *text)
{
    struct channel_reply *reply = await_reply(rig, channel);

    assert_int_equal(reply->lane, lane);
    assert_int_equal(reply->size, strlen(text));
    assert_memory_equal(reply->data, text, reply->size);
    channel_reply_free(reply);
}

static void answer(struct rig *rig, const char *text)
{
    struct server_message *message = rig_take(rig);
    struct server_part part = {.data = text, .size = strlen(text)};

    assert_true(server_send(rig->server, message->connection, message->ids, message->ids_count, &part, 1));
    server_message_free(message);
}

static bool kept_is(const struct rig *rig, const char *text)
{
    return rig->kept > 0 && rig->first->size == strlen(text) && memcmp(rig->first->data, text, strlen(text)) == 0;
}

/* ---- requests ------------------------------------------------------------------------------------------------- */

static void requests_are_answered_on_every_lane(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct rig rig = {.echo = true};
        rig_open(&rig, kind == 0 ? ADDRESS_IPC : ADDRESS_TCP);
        struct channel *channel = open_channel(rig.address.text);
        for (int round = 0; round < 50; round++) {
            unsigned seen = 0;
            for (int lane = 0; lane < CHANNEL_LANES; lane++) {
                char text[32];
                snprintf(text, sizeof(text), "%d of lane %d", round, lane);
                send_text(channel, (enum channel_lane)lane, text);
            }
            for (int i = 0; i < CHANNEL_LANES; i++) {
                char text[32];
                struct channel_reply *reply = await_reply(&rig, channel);
                snprintf(text, sizeof(text), "%d of lane %d", round, (int)reply->lane);
                assert_int_equal(reply->size, strlen(text));
                assert_memory_equal(reply->data, text, reply->size);
                seen |= 1U << reply->lane;
                channel_reply_free(reply);
            }
            assert_int_equal(seen, 15);
            assert_null(channel->operations->receive(channel));
        }
        assert_int_equal(server_counters(rig.server).accepted, CHANNEL_LANES);
        channel->operations->close(channel);
        rig_until(&rig, rig.disconnected == CHANNEL_LANES);
        rig_close(&rig);
    }
}

static void only_lanes_that_are_used_connect(void **state)
{
    struct rig rig = {.echo = true};

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    struct channel *channel = open_channel(rig.address.text);
    rig_settle(&rig);
    assert_int_equal(server_counters(rig.server).accepted, 0);
    assert_false(channel->operations->connected(channel, CHANNEL_PUBLISH));
    send_text(channel, CHANNEL_PUBLISH, "x");
    expect_reply(&rig, channel, CHANNEL_PUBLISH, "x");
    assert_true(channel->operations->connected(channel, CHANNEL_PUBLISH));
    assert_false(channel->operations->connected(channel, CHANNEL_FETCH));
    assert_int_equal(server_counters(rig.server).accepted, 1);
    channel->operations->close(channel);
    rig_close(&rig);
}

static void parts_are_joined_and_copied(void **state)
{
    struct rig rig = {.echo = true};
    char first[] = "one ";
    char second[] = "two";
    const struct iovec parts[4] = {
        {.iov_base = first, .iov_len = 4}, {0}, {.iov_base = second, .iov_len = 3}, {.iov_base = first, .iov_len = 3}};

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    struct channel *channel = open_channel(rig.address.text);
    assert_int_equal(channel->operations->send(channel, CHANNEL_CONTROL, parts, 4, NULL), MP_OK);
    memset(first, '?', sizeof(first));
    memset(second, '?', sizeof(second));
    expect_reply(&rig, channel, CHANNEL_CONTROL, "one twoone");
    assert_int_equal(channel->operations->send(channel, CHANNEL_CONTROL, parts, 0, NULL), MP_OK);
    expect_reply(&rig, channel, CHANNEL_CONTROL, "");
    channel->operations->close(channel);
    rig_close(&rig);
}

static void large_requests_and_replies_pass(void **state)
{
    enum { SIZE = 15 * 1024 * 1024 };
    struct rig rig = {.echo = true};
    uint8_t *bytes = malloc(SIZE);

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] = (uint8_t)(i * 11 + i / 1000);
    }
    rig_open(&rig, ADDRESS_IPC);
    struct channel *channel = open_channel(rig.address.text);
    const struct iovec part = {.iov_base = bytes, .iov_len = SIZE};
    assert_int_equal(channel->operations->send(channel, CHANNEL_FETCH, &part, 1, NULL), MP_OK);
    struct channel_reply *reply = await_reply(&rig, channel);
    assert_int_equal(reply->size, SIZE);
    assert_int_equal(memcmp(reply->data, bytes, SIZE), 0);
    channel_reply_free(reply);
    free(bytes);
    channel->operations->close(channel);
    rig_close(&rig);
}

/* ---- connections that end ------------------------------------------------------------------------------------- */

/* A second server at the address of RIG, which has none now. */
static void serve_again(struct rig *rig)
{
    struct fault fault = {0};

    assert_int_equal(server_new(rig->base, &rig->settings, &rig->server, &fault), MP_OK);
    if (server_listen(rig->server, &rig->address, &fault) != MP_OK) {
        fail_msg("%s", fault.text);
    }
}

static void an_absent_relay_is_waited_for(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct rig rig = {.echo = true};
        rig_open(&rig, kind == 0 ? ADDRESS_IPC : ADDRESS_TCP);
        server_free(rig.server);
        struct channel *channel = open_channel(rig.address.text);
        send_text(channel, CHANNEL_PUBLISH, "patient");
        assert_false(channel->operations->connected(channel, CHANNEL_PUBLISH));
        serve_again(&rig);
        expect_reply(&rig, channel, CHANNEL_PUBLISH, "patient");
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
        struct channel *channel = open_channel(rig.address.text);
        send_text(channel, CHANNEL_PUBLISH, "first");
        turn_until(&rig, channel, kept_is(&rig, "first"));
        server_message_free(rig_take(&rig)); /* taken, and never answered */
        server_free(rig.server);
        serve_again(&rig);
        int64_t begin = clock_monotonic();
        turn_until(&rig, channel, kept_is(&rig, "first"));
        int64_t took = clock_monotonic() - begin;
        if (took > 500000) {
            print_message("it took %lld ms\n", (long long)took / 1000);
        }
        assert_true(took < 2000000); /* 260 ms at most when nothing else runs */
        answer(&rig, "done");
        expect_reply(&rig, channel, CHANNEL_PUBLISH, "done");
        channel->operations->close(channel);
        rig_close(&rig);
    }
}

static void a_connection_closed_again_and_again_loses_nothing(void **state)
{
    struct rig rig = {.close_on_message = true};

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    struct channel *channel = open_channel(rig.address.text);
    send_text(channel, CHANNEL_SETTLE, "stubborn");
    turn_until(&rig, channel, rig.kept == 10);
    rig.close_on_message = false;
    while (rig.kept > 0) {
        server_message_free(rig_take(&rig));
    }
    turn_until(&rig, channel, kept_is(&rig, "stubborn"));
    answer(&rig, "done");
    expect_reply(&rig, channel, CHANNEL_SETTLE, "done");
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
    channel_line_doubt = 3000000;
    channel_line_silence_for_test = NULL;
    rig_close(rig);
}

static void a_silent_host_is_asked_over_another_line(void **state)
{
    struct rig rig = {0};

    (void)state;
    open_silent(&rig, 50000);
    struct channel *channel = open_channel(rig.address.text);
    send_text(channel, CHANNEL_PUBLISH, "heard");
    turn_until(&rig, channel, kept_is(&rig, "heard"));
    struct server_message *first = rig_take(&rig);
    turn_until(&rig, channel, kept_is(&rig, "heard"));
    assert_true(rig.first->connection != first->connection);
    assert_int_equal(server_counters(rig.server).accepted, 2);
    struct server_part part = {.data = "late", .size = 4};
    server_send(rig.server, first->connection, first->ids, first->ids_count, &part, 1); /* nobody is there any more */
    server_message_free(first);
    answer(&rig, "done");
    expect_reply(&rig, channel, CHANNEL_PUBLISH, "done");
    rig_until(&rig, rig.disconnected == 1);
    silence = 0;
    send_text(channel, CHANNEL_PUBLISH, "next"); /* over the line that is there now */
    turn_until(&rig, channel, kept_is(&rig, "next"));
    answer(&rig, "done");
    expect_reply(&rig, channel, CHANNEL_PUBLISH, "done");
    assert_int_equal(server_counters(rig.server).accepted, 2);
    channel->operations->close(channel);
    close_silent(&rig);
}

static void a_host_that_is_slow_but_there_is_left_alone(void **state)
{
    struct rig rig = {0};

    (void)state;
    open_silent(&rig, 30000);
    struct channel *channel = open_channel(rig.address.text);
    send_text(channel, CHANNEL_FETCH, "slow");
    int64_t end = clock_monotonic() + 10 * channel_line_doubt;
    turn_until(&rig, channel, clock_monotonic() >= end);
    assert_int_equal(server_counters(rig.server).accepted, 1);
    answer(&rig, "done");
    expect_reply(&rig, channel, CHANNEL_FETCH, "done");
    channel->operations->close(channel);
    close_silent(&rig);
}

static void much_is_sent_again_less_and_less_often(void **state)
{
    struct rig rig = {0};
    static char much[64 * 1024];

    (void)state;
    open_silent(&rig, INT64_C(1000000000));
    struct channel *channel = open_channel(rig.address.text);
    memset(much, 'x', sizeof(much) - 1);
    send_text(channel, CHANNEL_SETTLE, much);
    int64_t end = clock_monotonic() + 12 * channel_line_doubt; /* 1, 2, 4, 8 of them: three changes */
    turn_until(&rig, channel, clock_monotonic() >= end);
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
    struct channel *channel = open_channel(rig.address.text);
    send_text(channel, CHANNEL_CONTROL, "forgotten");
    turn_until(&rig, channel, kept_is(&rig, "forgotten"));
    server_connection first = rig.first->connection;
    server_accept(rig.server, false); /* others connect and are not greeted */
    int64_t end = clock_monotonic() + 3 * channel_line_doubt;
    turn_until(&rig, channel, clock_monotonic() >= end);
    assert_int_equal(rig.kept, 1);
    assert_int_equal(rig.disconnected, 0); /* it has not left the first */
    answer(&rig, "done");
    expect_reply(&rig, channel, CHANNEL_CONTROL, "done");
    server_accept(rig.server, true);
    end = clock_monotonic() + 3 * channel_line_doubt;
    turn_until(&rig, channel, clock_monotonic() >= end);
    send_text(channel, CHANNEL_CONTROL, "next");
    turn_until(&rig, channel, kept_is(&rig, "next"));
    assert_true(rig.first->connection == first);
    answer(&rig, "done");
    expect_reply(&rig, channel, CHANNEL_CONTROL, "done");
    channel->operations->close(channel);
    close_silent(&rig);
}

/* ---- forgetting ----------------------------------------------------------------------------------------------- */

static void a_forgotten_requests_reply_is_dropped(void **state)
{
    struct rig rig = {0};

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    struct channel *channel = open_channel(rig.address.text);
    for (int round = 0; round < 100; round++) {
        send_text(channel, CHANNEL_FETCH, "old");
        turn_until(&rig, channel, kept_is(&rig, "old"));
        channel->operations->forget(channel, CHANNEL_FETCH);
        send_text(channel, CHANNEL_FETCH, "new");
        answer(&rig, "late");
        turn_until(&rig, channel, kept_is(&rig, "new"));
        answer(&rig, "right");
        expect_reply(&rig, channel, CHANNEL_FETCH, "right");
        assert_null(channel->operations->receive(channel));
    }
    assert_int_equal(server_counters(rig.server).accepted, 1); /* by the same connection */
    channel->operations->close(channel);
    rig_close(&rig);
}

static void a_reply_that_has_come_can_be_forgotten(void **state)
{
    struct rig rig = {0};

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    struct channel *channel = open_channel(rig.address.text);
    struct pollfd readable = {.fd = channel->operations->descriptor(channel), .events = POLLIN};
    send_text(channel, CHANNEL_FETCH, "unwanted");
    turn_until(&rig, channel, kept_is(&rig, "unwanted"));
    answer(&rig, "late");
    assert_int_equal(poll(&readable, 1, 0), 1);
    channel->operations->forget(channel, CHANNEL_FETCH);
    assert_null(channel->operations->receive(channel));
    assert_int_equal(poll(&readable, 1, 0), 0);
    send_text(channel, CHANNEL_FETCH, "wanted");
    turn_until(&rig, channel, kept_is(&rig, "wanted"));
    answer(&rig, "right");
    expect_reply(&rig, channel, CHANNEL_FETCH, "right");
    channel->operations->forget(channel, CHANNEL_FETCH); /* nothing is under way */
    channel->operations->forget(channel, CHANNEL_CONTROL);
    channel->operations->close(channel);
    rig_close(&rig);
}

static void a_forgotten_request_is_not_sent_when_the_relay_comes(void **state)
{
    struct rig rig = {0};

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    server_free(rig.server);
    struct channel *channel = open_channel(rig.address.text);
    for (int i = 0; i < 50; i++) {
        send_text(channel, CHANNEL_PUBLISH, "old");
        channel->operations->forget(channel, CHANNEL_PUBLISH);
    }
    send_text(channel, CHANNEL_PUBLISH, "new");
    serve_again(&rig);
    turn_until(&rig, channel, rig.kept > 0);
    assert_true(kept_is(&rig, "new"));
    answer(&rig, "done");
    expect_reply(&rig, channel, CHANNEL_PUBLISH, "done");
    assert_int_equal(rig.kept, 0);
    channel->operations->close(channel);
    rig_close(&rig);
}

/* What is half written can only be taken back with its connection. */
static void a_request_can_be_forgotten_half_written(void **state)
{
    enum { SIZE = 12 * 1024 * 1024 };
    struct rig rig = {0};
    uint8_t *bytes = calloc(1, SIZE);

    (void)state;
    assert_non_null(bytes);
    rig_open(&rig, ADDRESS_IPC);
    struct channel *channel = open_channel(rig.address.text);
    const struct iovec part = {.iov_base = bytes, .iov_len = SIZE};
    assert_int_equal(channel->operations->send(channel, CHANNEL_PUBLISH, &part, 1, NULL), MP_OK);
    turn_until(&rig, channel, server_counters(rig.server).held > 0); /* it has begun */
    assert_int_equal(rig.kept, 0);
    channel->operations->forget(channel, CHANNEL_PUBLISH);
    send_text(channel, CHANNEL_PUBLISH, "new");
    turn_until(&rig, channel, rig.kept > 0);
    assert_true(kept_is(&rig, "new"));
    answer(&rig, "done");
    expect_reply(&rig, channel, CHANNEL_PUBLISH, "done");
    assert_int_equal(server_counters(rig.server).accepted, 2);
    free(bytes);
    channel->operations->close(channel);
    rig_close(&rig);
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
    struct channel *channel = open_channel(rig.address.text);
    send_text(channel, CHANNEL_CONTROL, "ask");
    for (unsigned i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        int peer = accept_by_hand(&rig, listener, channel);
        assert_int_equal(write(peer, nonsense[i].bytes, nonsense[i].size), (ssize_t)nonsense[i].size);
        close(peer);
    }
    close(listener);
    unlink(rig.address.path);
    rig.echo = true;
    serve_again(&rig);
    expect_reply(&rig, channel, CHANNEL_CONTROL, "ask");
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
    struct channel *channel = open_channel(rig.address.text);
    send_text(channel, CHANNEL_CONTROL, "ask");
    int peer = accept_by_hand(&rig, listener, channel);
    uint8_t request[16];
    uint8_t reply[32];
    uint32_t id = 0;
    for (size_t split = 1; split < 13 + sizeof(body); split++) {
        /* The id is not known to the test but for its order: a request tells it. */
        channel->operations->forget(channel, CHANNEL_CONTROL);
        send_text(channel, CHANNEL_CONTROL, "ask");
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
    serve_again(&rig);
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
    channel = open_channel(rig.address.text);
    memory_fail(1);
    assert_int_equal(channel->operations->send(channel, CHANNEL_FETCH, &part, 1, &fault), MP_ERR_MEMORY);
    memory_fail(0);
    for (unsigned long nth = 1; nth < 8; nth++) { /* in the server, or for the reply */
        assert_int_equal(channel->operations->send(channel, CHANNEL_FETCH, &part, 1, &fault), MP_OK);
        memory_fail(nth);
        struct channel_reply *reply = await_reply(&rig, channel);
        memory_fail(0);
        assert_int_equal(reply->size, SIZE);
        channel_reply_free(reply);
    }
    channel->operations->close(channel);
    rig_close(&rig);
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static void channels_close_whatever_is_under_way(void **state)
{
    struct rig rig = {0};

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    for (int round = 0; round < 60; round++) {
        struct channel *channel = open_channel(rig.address.text);
        for (int lane = 0; lane <= round % CHANNEL_LANES; lane++) {
            send_text(channel, (enum channel_lane)lane, "x");
        }
        switch (round % 3) {
        case 0: /* not even connected */
            break;
        case 1: /* connected, and not greeted */
            rig_settle(&rig);
            break;
        case 2: /* answered, and not received */
            turn_until(&rig, channel, (int)rig.kept == round % CHANNEL_LANES + 1);
            while (rig.kept > 0) {
                struct server_message *message = rig_take(&rig);
                server_send(rig.server, message->connection, message->ids, message->ids_count, NULL, 0);
                server_message_free(message);
            }
            break;
        default:
            break;
        }
        channel->operations->close(channel);
        rig_settle(&rig);
        while (rig.kept > 0) {
            server_message_free(rig_take(&rig));
        }
    }
    rig_until(&rig, server_counters(rig.server).connections == 0);
    rig_close(&rig);
}

static void addresses_that_cannot_be_connected_to_are_refused(void **state)
{
    static const char *const wrong[] = {"", "relay", "tcp://*:7000", "tcp://:7000", "tcp://host:0", "ws://host:1"};

    (void)state;
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct channel *channel;
        struct fault fault = {0};
        assert_int_equal(channel_open(wrong[i], &channel, &fault), MP_ERR_INVALID);
        assert_null(channel);
        assert_true(strlen(fault.text) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered_on_every_lane),
        cmocka_unit_test(only_lanes_that_are_used_connect),
        cmocka_unit_test(parts_are_joined_and_copied),
        cmocka_unit_test(large_requests_and_replies_pass),
        cmocka_unit_test(an_absent_relay_is_waited_for),
        cmocka_unit_test(a_request_under_way_goes_to_the_next_relay),
        cmocka_unit_test(a_connection_closed_again_and_again_loses_nothing),
        cmocka_unit_test(a_silent_host_is_asked_over_another_line),
        cmocka_unit_test(a_host_that_is_slow_but_there_is_left_alone),
        cmocka_unit_test(much_is_sent_again_less_and_less_often),
        cmocka_unit_test(another_line_needs_a_relay_and_no_request_needs_another_line),
        cmocka_unit_test(a_forgotten_requests_reply_is_dropped),
        cmocka_unit_test(a_reply_that_has_come_can_be_forgotten),
        cmocka_unit_test(a_forgotten_request_is_not_sent_when_the_relay_comes),
        cmocka_unit_test(a_request_can_be_forgotten_half_written),
        cmocka_unit_test(nonsense_ends_the_connection_and_not_the_request),
        cmocka_unit_test(a_reply_may_be_split_at_every_byte),
        cmocka_unit_test(want_of_memory_is_told_or_overcome),
        cmocka_unit_test(channels_close_whatever_is_under_way),
        cmocka_unit_test(addresses_that_cannot_be_connected_to_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
