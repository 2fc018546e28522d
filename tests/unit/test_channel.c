/* transport/channel.h, with the server of transport/server.h at the other end: requests, and what becomes of them */
#include "channel_rig.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- requests ------------------------------------------------------------------------------------------------- */

static void requests_are_answered_on_every_lane(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct rig rig = {.echo = true};
        rig_open(&rig, kind == 0 ? ADDRESS_IPC : ADDRESS_TCP);
        struct channel *channel = channel_rig_open(rig.address.text);
        for (int round = 0; round < 50; round++) {
            unsigned seen = 0;
            for (int lane = 0; lane < CHANNEL_LANES; lane++) {
                char text[32];
                snprintf(text, sizeof(text), "%d of lane %d", round, lane);
                channel_rig_send(channel, (enum channel_lane)lane, text);
            }
            for (int i = 0; i < CHANNEL_LANES; i++) {
                char text[32];
                struct channel_reply *reply = channel_rig_await(&rig, channel);
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
    struct channel *channel = channel_rig_open(rig.address.text);
    rig_settle(&rig);
    assert_int_equal(server_counters(rig.server).accepted, 0);
    assert_false(channel->operations->connected(channel, CHANNEL_PUBLISH));
    channel_rig_send(channel, CHANNEL_PUBLISH, "x");
    channel_rig_expect(&rig, channel, CHANNEL_PUBLISH, "x");
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
    struct channel *channel = channel_rig_open(rig.address.text);
    assert_int_equal(channel->operations->send(channel, CHANNEL_CONTROL, parts, 4, NULL), MP_OK);
    memset(first, '?', sizeof(first));
    memset(second, '?', sizeof(second));
    channel_rig_expect(&rig, channel, CHANNEL_CONTROL, "one twoone");
    assert_int_equal(channel->operations->send(channel, CHANNEL_CONTROL, parts, 0, NULL), MP_OK);
    channel_rig_expect(&rig, channel, CHANNEL_CONTROL, "");
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
    struct channel *channel = channel_rig_open(rig.address.text);
    const struct iovec part = {.iov_base = bytes, .iov_len = SIZE};
    assert_int_equal(channel->operations->send(channel, CHANNEL_FETCH, &part, 1, NULL), MP_OK);
    struct channel_reply *reply = channel_rig_await(&rig, channel);
    assert_int_equal(reply->size, SIZE);
    assert_int_equal(memcmp(reply->data, bytes, SIZE), 0);
    channel_reply_free(reply);
    free(bytes);
    channel->operations->close(channel);
    rig_close(&rig);
}

/* ---- forgetting ----------------------------------------------------------------------------------------------- */

static void a_forgotten_requests_reply_is_dropped(void **state)
{
    struct rig rig = {0};

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    struct channel *channel = channel_rig_open(rig.address.text);
    for (int round = 0; round < 100; round++) {
        channel_rig_send(channel, CHANNEL_FETCH, "old");
        channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "old"));
        channel->operations->forget(channel, CHANNEL_FETCH);
        channel_rig_send(channel, CHANNEL_FETCH, "new");
        channel_rig_answer(&rig, "late");
        channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "new"));
        channel_rig_answer(&rig, "right");
        channel_rig_expect(&rig, channel, CHANNEL_FETCH, "right");
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
    struct channel *channel = channel_rig_open(rig.address.text);
    struct pollfd readable = {.fd = channel->operations->descriptor(channel), .events = POLLIN};
    channel_rig_send(channel, CHANNEL_FETCH, "unwanted");
    channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "unwanted"));
    channel_rig_answer(&rig, "late");
    assert_int_equal(poll(&readable, 1, 0), 1);
    channel->operations->forget(channel, CHANNEL_FETCH);
    assert_null(channel->operations->receive(channel));
    assert_int_equal(poll(&readable, 1, 0), 0);
    channel_rig_send(channel, CHANNEL_FETCH, "wanted");
    channel_rig_until(&rig, channel, channel_rig_kept_is(&rig, "wanted"));
    channel_rig_answer(&rig, "right");
    channel_rig_expect(&rig, channel, CHANNEL_FETCH, "right");
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
    struct channel *channel = channel_rig_open(rig.address.text);
    for (int i = 0; i < 50; i++) {
        channel_rig_send(channel, CHANNEL_PUBLISH, "old");
        channel->operations->forget(channel, CHANNEL_PUBLISH);
    }
    channel_rig_send(channel, CHANNEL_PUBLISH, "new");
    channel_rig_serve_again(&rig);
    channel_rig_until(&rig, channel, rig.kept > 0);
    assert_true(channel_rig_kept_is(&rig, "new"));
    channel_rig_answer(&rig, "done");
    channel_rig_expect(&rig, channel, CHANNEL_PUBLISH, "done");
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
    struct channel *channel = channel_rig_open(rig.address.text);
    const struct iovec part = {.iov_base = bytes, .iov_len = SIZE};
    assert_int_equal(channel->operations->send(channel, CHANNEL_PUBLISH, &part, 1, NULL), MP_OK);
    channel_rig_until(&rig, channel, server_counters(rig.server).held > 0); /* it has begun */
    assert_int_equal(rig.kept, 0);
    channel->operations->forget(channel, CHANNEL_PUBLISH);
    channel_rig_send(channel, CHANNEL_PUBLISH, "new");
    channel_rig_until(&rig, channel, rig.kept > 0);
    assert_true(channel_rig_kept_is(&rig, "new"));
    channel_rig_answer(&rig, "done");
    channel_rig_expect(&rig, channel, CHANNEL_PUBLISH, "done");
    assert_int_equal(server_counters(rig.server).accepted, 2);
    free(bytes);
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
        struct channel *channel = channel_rig_open(rig.address.text);
        for (int lane = 0; lane <= round % CHANNEL_LANES; lane++) {
            channel_rig_send(channel, (enum channel_lane)lane, "x");
        }
        switch (round % 3) {
        case 0: /* not even connected */
            break;
        case 1: /* connected, and not greeted */
            rig_settle(&rig);
            break;
        case 2: /* answered, and not received */
            channel_rig_until(&rig, channel, (int)rig.kept == round % CHANNEL_LANES + 1);
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
        cmocka_unit_test(a_forgotten_requests_reply_is_dropped),
        cmocka_unit_test(a_reply_that_has_come_can_be_forgotten),
        cmocka_unit_test(a_forgotten_request_is_not_sent_when_the_relay_comes),
        cmocka_unit_test(a_request_can_be_forgotten_half_written),
        cmocka_unit_test(channels_close_whatever_is_under_way),
        cmocka_unit_test(addresses_that_cannot_be_connected_to_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
