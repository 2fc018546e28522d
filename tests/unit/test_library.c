/* The public library's calls, on a relay in the same process. */
#include "client/library.h"
#include "fake_relay.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct fake_network *new_network(void)
{
    struct fake_network *network = fake_network_new(1);
    network->live = true;
    network->now = clock_monotonic();
    return network;
}

static struct mp_client *open_client(struct fake_network *network)
{
    struct mp_client *client;
    struct fault fault;
    assert_int_equal(library_open(fake_channel_open(network), "fake", 5000, &client, &fault), MP_OK);
    return client;
}

static void publish(struct mp_client *client, uint32_t value)
{
    uint8_t body[4];
    store_u32(body, value);
    assert_int_equal(mp_publish(client, "t", mp_message_new(body, sizeof body)), MP_OK);
}

static void publish_all(struct fake_network *network, uint32_t count)
{
    struct mp_client *client = open_client(network);
    for (uint32_t i = 0; i < count; i++) {
        publish(client, i);
    }
    assert_int_equal(mp_flush(client, 60000), MP_OK);
    mp_close(client);
    assert_int_equal(network->messages_count, count);
}

static uint32_t value_of(const struct mp_message *message)
{
    size_t size;
    const uint8_t *body = mp_message_body(message, &size);
    assert_int_equal(size, 4);
    return load_u32(body);
}

static struct mp_message *receive(struct mp_client *client)
{
    struct mp_message *message;
    assert_int_equal(mp_receive(client, &message, 5000), MP_OK);
    return message;
}

static void a_message_keeps_copies_of_its_attributes(void **state)
{
    (void)state;
    char value[] = "a";
    struct mp_message *message = mp_message_new(NULL, 0);
    size_t size = 1;
    assert_non_null(mp_message_body(message, &size));
    assert_int_equal(size, 0);
    assert_null(mp_message_get(message, "id"));
    assert_int_equal(mp_message_set(message, "partitionkey", "k"), MP_OK);
    assert_int_equal(mp_message_set(message, "region", value), MP_OK);
    assert_int_equal(mp_message_set(message, "type", "order"), MP_OK);
    value[0] = 'z';
    assert_string_equal(mp_message_get(message, "region"), "a");
    assert_string_equal(mp_message_get(message, "partitionkey"), "k");
    assert_string_equal(mp_message_get(message, "type"), "order");
    assert_null(mp_message_get(message, "subject"));
    assert_int_equal(mp_message_set(message, "region", "b"), MP_OK);
    assert_string_equal(mp_message_get(message, "region"), "b");
    assert_int_equal(mp_message_set(message, "partitionkey", NULL), MP_OK);
    assert_null(mp_message_get(message, "partitionkey"));
    assert_string_equal(mp_message_get(message, "region"), "b");
    assert_int_equal(mp_message_set(message, "not a name", "b"), MP_ERR_INVALID);
    assert_int_equal(mp_message_set(message, "region", "two\nlines"), MP_ERR_INVALID);
    assert_string_equal(mp_message_get(message, "region"), "b");
    mp_message_free(message);
    mp_message_free(NULL);
}

static void one_message_costs_one_request(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    struct mp_client *client = open_client(network);
    for (uint32_t i = 0; i < 5; i++) {
        publish(client, i);
        assert_int_equal(mp_flush(client, 5000), MP_OK);
        assert_int_equal(network->publishes, i + 1);
    }
    mp_close(client);
    assert_int_equal(network->hellos, 1);
    assert_int_equal(network->leaves, 1);
    fake_network_free(network);
}

static void many_messages_go_in_few_frames_and_in_order(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    publish_all(network, 15000);
    for (uint32_t i = 0; i < 15000; i++) {
        assert_int_equal(network->messages[i].value, i);
        assert_int_equal(network->messages[i].sequence, i + 1);
    }
    assert_true(network->publishes < 15000 / 10);
    fake_network_free(network);
}

static void a_group_gets_each_message_once(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    publish_all(network, 200);
    struct mp_client *one = open_client(network);
    struct mp_client *other = open_client(network);
    struct mp_message *message;
    assert_int_equal(mp_receive(one, &message, 0), MP_ERR_INVALID);
    assert_int_equal(mp_subscribe(one, "t", "g", NULL), MP_OK);
    assert_int_equal(mp_subscribe(other, "t", "g", NULL), MP_OK);
    assert_int_equal(mp_subscribe(other, "u", "g", NULL), MP_ERR_BUSY);
    bool seen[200] = {false};
    for (int i = 0; i < 200; i++) {
        struct mp_client *client = i % 2 == 0 ? one : other;
        if (mp_receive(client, &message, 200) != MP_OK) {
            client = client == one ? other : one;
            message = receive(client);
        }
        assert_false(seen[value_of(message)]);
        seen[value_of(message)] = true;
        assert_string_equal(mp_message_topic(message), "t");
        assert_int_equal(mp_message_offset(message), value_of(message));
        assert_int_equal(mp_message_attempt(message), 1);
        assert_int_equal(strlen(mp_message_get(message, "id")), 32);
        struct mp_client *stranger = client == one ? other : one;
        assert_int_equal(mp_ack(stranger, message), MP_ERR_INVALID);
        assert_int_equal(mp_publish(client, "u", message), MP_ERR_INVALID);
        assert_int_equal(mp_ack(client, message), MP_OK);
    }
    assert_int_equal(network->acked, 200);
    assert_int_equal(mp_receive(one, &message, 20), MP_ERR_TIMEOUT);
    assert_string_equal(mp_reason(one), "no message came");
    mp_close(one);
    mp_close(other);
    fake_network_free(network);
}

static void what_is_released_or_retried_comes_again(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    publish_all(network, 1);
    struct mp_client *client = open_client(network);
    assert_int_equal(mp_subscribe(client, "t", "g", "start"), MP_OK);
    assert_int_equal(mp_release(client, receive(client)), MP_OK);
    struct mp_message *message = receive(client);
    assert_int_equal(mp_retry(client, message, -2), MP_ERR_INVALID);
    assert_int_equal(mp_retry(client, message, 0), MP_OK);
    message = receive(client);
    assert_int_equal(value_of(message), 0);
    assert_int_equal(mp_message_attempt(message), 3);
    assert_int_equal(mp_ack(client, message), MP_OK);
    mp_close(client);
    fake_network_free(network);
}

static void policies_and_reasons_go_to_the_relay(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    publish_all(network, 1);
    struct mp_client *client = open_client(network);
    assert_int_equal(mp_subscribe(client, "t", "g", "start"), MP_OK);
    assert_int_equal(mp_retry(client, receive(client), -1), MP_OK);
    assert_int_equal(network->last.action, PROTOCOL_RETRY);
    assert_int_equal(network->last.delay, PROTOCOL_DELAY_POLICY);
    assert_int_equal(mp_reject(client, receive(client), "no such customer"), MP_OK);
    assert_int_equal(network->last.action, PROTOCOL_DEAD);
    assert_string_equal(network->note, "no such customer");
    assert_int_equal(mp_reject(client, receive(client), NULL), MP_OK);
    assert_int_equal(network->notes, 1);
    struct mp_message *message = mp_message_new("late", 4);
    assert_int_equal(mp_publish_delayed(client, "t", message, -1), MP_ERR_INVALID);
    assert_int_equal(mp_publish_delayed(client, "t", message, 5000), MP_OK);
    assert_int_equal(mp_publish(client, "t", mp_message_new("soon", 4)), MP_OK);
    assert_int_equal(mp_flush(client, 5000), MP_OK);
    assert_int_equal(network->delayed, 1);
    assert_int_equal(network->publishes, 3); /* two frames of two times, and what publish_all() sent */
    mp_close(client);
    fake_network_free(network);
}

static void a_stale_message_stays_with_the_caller(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    publish_all(network, 2);
    struct mp_client *client = open_client(network);
    assert_int_equal(mp_subscribe(client, "t", "g", NULL), MP_OK);
    struct mp_message *message = receive(client);
    fake_forget_sessions(network, INT64_MAX);
    assert_int_equal(mp_ack(client, message), MP_ERR_STALE);
    assert_int_equal(value_of(message), 0);
    assert_int_equal(mp_ack(client, message), MP_ERR_INVALID);
    mp_message_free(message);
    /* The second message of the old session is not handed out: both come anew. */
    for (uint32_t i = 0; i < 2; i++) {
        message = receive(client);
        assert_int_equal(value_of(message), i);
        assert_int_equal(mp_message_attempt(message), 2);
        assert_int_equal(mp_ack(client, message), MP_OK);
    }
    mp_close(client);
    fake_network_free(network);
}

static void what_others_may_have_by_now_is_not_handed_out(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    publish_all(network, 4);
    network->lease = 60;
    struct mp_client *client = open_client(network), *other = open_client(network);
    assert_int_equal(mp_subscribe(client, "t", "g", NULL), MP_OK);
    assert_int_equal(mp_subscribe(other, "t", "g", NULL), MP_OK);
    struct mp_message *message = receive(client), *next;
    assert_int_equal(value_of(message), 0);
    for (uint32_t i = 0; i < 4; i++) { /* the first has fetched all of them, and stands still meanwhile */
        next = receive(other);
        assert_int_equal(value_of(next), i);
        assert_int_equal(mp_ack(other, next), MP_OK);
    }
    assert_int_equal(mp_receive(client, &next, 100), MP_ERR_TIMEOUT);
    assert_int_equal(mp_ack(client, message), MP_ERR_STALE);
    mp_message_free(message);
    publish(other, 4);
    assert_int_equal(mp_flush(other, 5000), MP_OK);
    message = receive(client);
    assert_int_equal(value_of(message), 4);
    assert_int_equal(mp_ack(client, message), MP_OK);
    mp_close(client);
    mp_close(other);
    fake_network_free(network);
}

static void what_was_given_back_is_not_taken_for_what_is_settled(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    publish_all(network, 3);
    network->lease = 60;
    struct mp_client *client = open_client(network);
    assert_int_equal(mp_subscribe(client, "t", "g", NULL), MP_OK);
    struct mp_message *message = receive(client);
    int64_t end = clock_monotonic() + 80000;
    while (clock_monotonic() < end) { /* it stands still */
    }
    mp_message_free(message);
    for (uint32_t i = 0; i < 3;
         i++) { /* the relay has seen that the leases had ended, or had not: they come all the same */
        message = receive(client);
        assert_int_equal(mp_ack(client, message), MP_OK);
    }
    mp_close(client);
    fake_network_free(network);
}

static void a_message_outlives_its_client(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    publish_all(network, 1);
    struct mp_client *client = open_client(network);
    assert_int_equal(mp_subscribe(client, "t", "g", NULL), MP_OK);
    struct mp_message *message = receive(client);
    mp_close(client);
    assert_int_equal(network->messages[0].state, FAKE_WAITING); /* leaving released it */
    assert_int_equal(value_of(message), 0);
    assert_int_equal(strlen(mp_message_get(message, "id")), 32);
    mp_message_free(message);
    fake_network_free(network);
}

static void a_reader_passes_messages_on_with_their_origin(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    publish_all(network, 3);
    struct mp_client *client = open_client(network);
    assert_int_equal(mp_subscribe(client, "t", NULL, "somewhere"), MP_ERR_INVALID);
    assert_non_null(strstr(mp_reason(client), "somewhere"));
    assert_int_equal(mp_subscribe(client, "t", NULL, NULL), MP_OK);
    for (uint32_t i = 0; i < 3; i++) {
        struct mp_message *message = receive(client);
        assert_int_equal(value_of(message), i);
        assert_int_equal(mp_message_attempt(message), 0);
        assert_int_equal(mp_ack(client, message), MP_ERR_INVALID);
        assert_int_equal(mp_message_set(message, "seen", "yes"), MP_OK);
        assert_int_equal(mp_publish(client, "t", message), MP_OK);
    }
    assert_int_equal(mp_flush(client, 5000), MP_OK);
    assert_int_equal(network->messages_count, 6);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(network->messages[i].producer == network->messages[i + 3].producer);
        assert_true(network->messages[i].sequence == network->messages[i + 3].sequence);
    }
    mp_close(client);
    fake_network_free(network);
}

static void trouble_is_told_once_by_the_next_call(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    struct mp_client *client = open_client(network);
    network->refuse = MP_ERR_DENIED;
    publish(client, 0);
    assert_int_equal(mp_flush(client, 5000), MP_ERR_DENIED);
    assert_string_equal(mp_reason(client), "the relay refused messages: no");
    assert_int_equal(mp_flush(client, 5000), MP_OK);
    publish(client, 0);
    assert_int_equal(mp_flush(client, 5000), MP_OK);

    struct mp_message *message = mp_message_new("x", 1);
    assert_int_equal(mp_publish(client, "a..b", message), MP_ERR_INVALID);
    mp_message_free(message);
    static const char large[1000001];
    message = mp_message_new(large, sizeof large);
    assert_int_equal(mp_publish(client, "t", message), MP_ERR_TOO_LARGE);
    assert_non_null(strstr(mp_reason(client), "1000000"));
    mp_message_free(message);

    network->full = true;
    publish(client, 1);
    assert_int_equal(mp_flush(client, 30), MP_ERR_TIMEOUT);
    assert_string_equal(mp_reason(client), "no");
    network->full = false;
    assert_int_equal(mp_flush(client, 10000), MP_OK);
    assert_int_equal(network->messages_count, 2);
    mp_close(client);
    fake_network_free(network);
}

static void what_ended_the_client_is_told_each_time(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    struct mp_client *client = open_client(network);
    network->forget_numbers = true;
    publish(client, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mp_flush(client, 5000), MP_ERR_SESSION);
    }
    struct mp_message *message = mp_message_new("x", 1);
    assert_int_equal(mp_publish(client, "t", message), MP_ERR_SESSION);
    mp_message_free(message);
    mp_close(client);
    fake_network_free(network);
}

static void nobody_there_is_said_in_time(void **state)
{
    (void)state;
    struct fake_network *network = new_network();
    struct mp_client *client = NULL;
    struct fault fault;
    network->cut = true;
    int64_t before = clock_monotonic();
    assert_int_equal(library_open(fake_channel_open(network), "fake", 50, &client, &fault), MP_ERR_NO_RELAY);
    assert_in_range(clock_monotonic() - before, 50000, 5000000);
    assert_non_null(strstr(fault.text, "fake"));
    fake_network_free(network);

    assert_int_equal(mp_open(&client, "ipc:///nonexistent/msgpipe.sock", 20), MP_ERR_NO_RELAY);
    assert_null(client);
    assert_non_null(strstr(mp_reason(NULL), "/nonexistent/msgpipe.sock"));
    assert_int_equal(mp_open(&client, "http://example.org", 20), MP_ERR_INVALID);
    mp_close(NULL);
}

static void places_to_begin_are_understood(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum protocol_from from;
        uint64_t value;
    } cases[] = {
        {"", PROTOCOL_FROM_DEFAULT, 0},
        {NULL, PROTOCOL_FROM_DEFAULT, 0},
        {"start", PROTOCOL_FROM_START, 0},
        {"new", PROTOCOL_FROM_NEW, 0},
        {"0", PROTOCOL_FROM_OFFSET, 0},
        {"4096", PROTOCOL_FROM_OFFSET, 4096},
        {"-100", PROTOCOL_FROM_LAST, 100},
        {"@10", PROTOCOL_FROM_TIME, 10000000},
        {"2026-11-20T17:00:00Z", PROTOCOL_FROM_TIME, UINT64_C(1795194000000000)},
        {"5m", PROTOCOL_FROM_TIME, UINT64_C(1000000000000)},
        {"30000d", PROTOCOL_FROM_TIME, 0},
    };
    struct fault fault;
    enum protocol_from from;
    uint64_t value;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (client_from(cases[i].text, 1000300000000, &from, &value, &fault) != MP_OK) {
            fail_msg("%s: %s", cases[i].text, fault.text);
        }
        assert_int_equal(from, cases[i].from);
        assert_true(value == cases[i].value);
    }
    static const char *const wrong[] = {"yesterday",           "-", "--1", "1x", "@", "2026-13-01T00:00:00Z",
                                        "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(client_from(wrong[i], 0, &from, &value, &fault), MP_ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_keeps_copies_of_its_attributes),
        cmocka_unit_test(one_message_costs_one_request),
        cmocka_unit_test(many_messages_go_in_few_frames_and_in_order),
        cmocka_unit_test(a_group_gets_each_message_once),
        cmocka_unit_test(what_is_released_or_retried_comes_again),
        cmocka_unit_test(policies_and_reasons_go_to_the_relay),
        cmocka_unit_test(a_stale_message_stays_with_the_caller),
        cmocka_unit_test(what_others_may_have_by_now_is_not_handed_out),
        cmocka_unit_test(what_was_given_back_is_not_taken_for_what_is_settled),
        cmocka_unit_test(a_message_outlives_its_client),
        cmocka_unit_test(a_reader_passes_messages_on_with_their_origin),
        cmocka_unit_test(trouble_is_told_once_by_the_next_call),
        cmocka_unit_test(what_ended_the_client_is_told_each_time),
        cmocka_unit_test(nobody_there_is_said_in_time),
        cmocka_unit_test(places_to_begin_are_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
