/* transport/server.h: what goes over the wire */
#include "server_rig.h"

#include <arpa/inet.h>
#include <nng/nng.h>
#include <nng/protocol/pipeline0/push.h>
#include <nng/protocol/reqrep0/req.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const enum address_kind kinds[] = {ADDRESS_IPC, ADDRESS_TCP};

static void each_kind(void (*test)(struct rig *rig), struct server_settings settings)
{
    for (int i = 0; i < 2; i++) {
        struct rig rig = {.settings = settings};
        rig_open(&rig, kinds[i]);
        test(&rig);
        rig_close(&rig);
    }
}

#define EACH_KIND(test) each_kind(test, (struct server_settings){0})

/* ---- greeting ------------------------------------------------------------------------------------------------- */

static void come_and_go(struct rig *rig)
{
    int peer = rig_greet(rig, SERVER_REQ);

    assert_int_equal(server_counters(rig->server).connections, 1);
    assert_int_equal(rig->disconnected, 0);
    close(peer);
    rig_until(rig, rig->disconnected == 1);
    assert_true(rig->last_disconnected == rig->last_connection);
    assert_int_equal(server_counters(rig->server).connections, 0);
    assert_int_equal(server_counters(rig->server).closed_by_fault, 0);
    assert_int_equal(rig->troubles, 0);
}

static void a_peer_greets_and_leaves(void **state)
{
    (void)state;
    EACH_KIND(come_and_go);
}

static void greet_wrongly(struct rig *rig)
{
    static const uint8_t wrong[][8] = {
        {'G', 'E', 'T', ' ', '/', ' ', 'H', 'T'}, /* not SP */
        {0, 'S', 'P', 1, 0, SERVER_REQ, 0, 0},    /* of another version */
        {0, 'S', 'P', 0, 0, SERVER_REQ, 0, 1},    /* reserved bytes */
        {0, 'S', 'P', 0, 0, SERVER_REP, 0, 0},    /* two servers */
        {0, 'S', 'P', 0, 0, SERVER_SUB, 0, 0},    /* of another pattern */
        {0, 'S', 'P', 0, 1, SERVER_REQ, 0, 0},    /* a protocol of 16 bits */
    };

    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int peer = rig_connect(rig);
        rig_write(rig, peer, wrong[i], sizeof(wrong[i]));
        rig_read_end(rig, peer);
        assert_int_equal(server_counters(rig->server).closed_by_fault, i + 1);
        assert_int_equal(rig->troubles, i + 1);
    }
    assert_int_equal(rig->connected, 0);
    assert_int_equal(rig->disconnected, 0); /* they never were connected */
    assert_int_equal(server_counters(rig->server).connections, 0);
}

static void wrong_greetings_are_closed_and_told(void **state)
{
    (void)state;
    EACH_KIND(greet_wrongly);
}

static void the_words_about_a_wrong_peer_say_what_is_wrong(void **state)
{
    struct rig rig = {0};
    const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, SERVER_PUSH, 0, 0};
    char peer_text[64];

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    int peer = rig_connect(&rig);
    rig_write(&rig, peer, greeting, sizeof(greeting));
    rig_read_end(&rig, peer);
    assert_non_null(strstr(rig.trouble, "of the wrong kind, push (0x50), where req is needed"));
#ifdef __linux__
    snprintf(peer_text, sizeof(peer_text), "process %ld of user %lu", (long)getpid(), (unsigned long)getuid());
    assert_non_null(strstr(rig.trouble, peer_text));
#else
    (void)peer_text;
#endif
    rig_close(&rig);
}

static void die_greeting(struct rig *rig)
{
    const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, SERVER_REQ, 0, 0};

    for (size_t size = 0; size < sizeof(greeting); size++) {
        int peer = rig_connect(rig);
        rig_write(rig, peer, greeting, size);
        rig_until(rig, server_counters(rig->server).connections == 1);
        rig_settle(rig);
        close(peer);
        rig_until(rig, server_counters(rig->server).connections == 0);
    }
    assert_int_equal(rig->connected, 0);
    come_and_go(rig);
}

static void peers_that_die_while_greeting_do_no_harm(void **state)
{
    (void)state;
    EACH_KIND(die_greeting);
}

static void greet_in_pieces(struct rig *rig)
{
    const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, SERVER_REQ, 0, 0};

    for (size_t split = 1; split < sizeof(greeting); split++) {
        unsigned before = rig->connected;
        int peer = rig_connect(rig);
        rig_write(rig, peer, greeting, split);
        rig_until(rig, server_counters(rig->server).connections == 1);
        rig_settle(rig);
        rig_write(rig, peer, greeting + split, sizeof(greeting) - split);
        rig_until(rig, rig->connected == before + 1);
        close(peer);
        rig_until(rig, server_counters(rig->server).connections == 0);
    }
}

static void a_greeting_may_come_in_pieces(void **state)
{
    (void)state;
    EACH_KIND(greet_in_pieces);
}

static void wait_silently(struct rig *rig)
{
    const uint8_t half[4] = {0, 'S', 'P', 0};
    int silent = rig_connect(rig);
    int slow = rig_connect(rig);

    rig_write(rig, slow, half, sizeof(half));
    int good = rig_greet(rig, SERVER_REQ);
    rig_read_end(rig, silent);
    rig_read_end(rig, slow);
    assert_non_null(strstr(rig->trouble, "no greeting in time"));
    assert_int_equal(server_counters(rig->server).closed_by_fault, 2);
    assert_int_equal(server_counters(rig->server).connections, 1);
    close(good);
    rig_until(rig, rig->disconnected == 1);
}

static void a_silent_peer_is_closed_after_a_while(void **state)
{
    (void)state;
    each_kind(wait_silently, (struct server_settings){.greeting_timeout = 30 * 1000});
}

static void connect_and_close(struct rig *rig)
{
    for (int i = 0; i < 200; i++) {
        close(rig_connect(rig));
        if (i % 50 == 49) {
            rig_settle(rig);
        }
    }
    rig_until(rig, server_counters(rig->server).accepted == 200 && server_counters(rig->server).connections == 0);
    rig->echo = true;
    come_and_go(rig);
}

static void two_hundred_peers_connect_and_close(void **state)
{
    (void)state;
    EACH_KIND(connect_and_close);
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

static void ask_and_answer(struct rig *rig)
{
    uint8_t request[64];
    int peer = rig_greet(rig, SERVER_REQ);

    rig->echo = true;
    rig_write(rig, peer, request, rig_request(rig, 7, "hello", 5, request));
    rig_expect_reply(rig, peer, 7, "hello", 5);
    rig_write(rig, peer, request, rig_request(rig, 0x7fffffff, "", 0, request));
    rig_expect_reply(rig, peer, 0x7fffffff, "", 0);
    assert_int_equal(server_counters(rig->server).received, 2);
    assert_int_equal(server_counters(rig->server).received_bytes, 5);
    assert_int_equal(server_counters(rig->server).sent_bytes, 5);
    assert_int_equal(server_counters(rig->server).held, 0);
    close(peer);
}

static void a_request_is_answered(void **state)
{
    (void)state;
    EACH_KIND(ask_and_answer);
}

static void set_done(void *done)
{
    atomic_store((atomic_bool *)done, true);
}

/* Turns the loop while nng is at work in its threads. */
static void await_nng(struct rig *rig, nng_aio *aio, atomic_bool *done)
{
    while (!atomic_load(done)) {
        event_base_loop(rig->base, EVLOOP_NONBLOCK);
    }
    nng_aio_wait(aio);
    assert_int_equal(nng_aio_result(aio), 0);
    atomic_store(done, false);
}

/* By libnng, with bodies of all sizes around those at which the server reads differently. */
static void ask_by_libnng(struct rig *rig)
{
    static const size_t sizes[] = {0,     1,      100,    4083,   4096,    65535,   65536,
                                   65537, 262131, 262144, 262145, 1048576, 1048577, 5000000};
    nng_socket socket;
    nng_aio *aio;
    atomic_bool done = false;

    rig->echo = true;
    assert_int_equal(nng_req0_open(&socket), 0);
    assert_int_equal(nng_dial(socket, rig->address.text, NULL, NNG_FLAG_NONBLOCK), 0);
    assert_int_equal(nng_aio_alloc(&aio, set_done, &done), 0);
    for (unsigned i = 0; i < 3 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t size = sizes[i * 5 % (sizeof(sizes) / sizeof(sizes[0]))];
        nng_msg *request;
        assert_int_equal(nng_msg_alloc(&request, size), 0);
        for (size_t k = 0; k < size; k++) {
            ((uint8_t *)nng_msg_body(request))[k] = (uint8_t)(k * 31 + i + k / 256);
        }
        nng_msg *copy;
        assert_int_equal(nng_msg_dup(&copy, request), 0);
        nng_aio_set_msg(aio, request);
        nng_send_aio(socket, aio);
        await_nng(rig, aio, &done);
        nng_recv_aio(socket, aio);
        await_nng(rig, aio, &done);
        nng_msg *reply = nng_aio_get_msg(aio);
        assert_int_equal(nng_msg_len(reply), size);
        assert_int_equal(memcmp(nng_msg_body(reply), nng_msg_body(copy), size), 0);
        nng_msg_free(reply);
        nng_msg_free(copy);
    }
    nng_aio_free(aio);
    nng_close(socket);
    rig_until(rig, rig->disconnected == 1);
    assert_int_equal(server_counters(rig->server).held, 0);
}

static void libnng_asks_and_is_answered(void **state)
{
    (void)state;
    EACH_KIND(ask_by_libnng);
}

static void split_everywhere(struct rig *rig)
{
    uint8_t request[256];
    uint8_t body[120];
    int peer = rig_greet(rig, SERVER_REQ);

    for (size_t i = 0; i < sizeof(body); i++) {
        body[i] = (uint8_t)(i * 13);
    }
    rig->echo = true;
    size_t size = rig_request(rig, 99, body, sizeof(body), request);
    for (size_t split = 1; split < size; split++) {
        rig_write(rig, peer, request, split);
        rig_settle(rig);
        assert_int_equal(server_counters(rig->server).received, split - 1);
        rig_write(rig, peer, request + split, size - split);
        rig_expect_reply(rig, peer, 99, body, sizeof(body));
    }
    for (size_t i = 0; i < size; i++) { /* and byte by byte */
        rig_write(rig, peer, request + i, 1);
        event_base_loop(rig->base, EVLOOP_NONBLOCK);
    }
    rig_expect_reply(rig, peer, 99, body, sizeof(body));
    close(peer);
}

static void a_message_may_be_split_at_every_byte(void **state)
{
    (void)state;
    EACH_KIND(split_everywhere);
    /* also when its beginning has to wait in the stash for admit() to be asked */
    each_kind(split_everywhere, (struct server_settings){.read_budget = 1});
}

static void write_many_at_once(struct rig *rig)
{
    enum { COUNT = 2000 };
    uint8_t *bytes = malloc(COUNT * 32);
    size_t size = 0;
    int peer = rig_greet(rig, SERVER_REQ);

    assert_non_null(bytes);
    for (uint32_t i = 0; i < COUNT; i++) {
        size += rig_request(rig, i, "0123456789", i % 11, bytes + size);
    }
    rig_write(rig, peer, bytes, size);
    rig_until(rig, rig->kept == COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        struct server_message *message = rig_take(rig);
        uint32_t id;
        memcpy(&id, message->ids, 4);
        assert_int_equal(message->ids_count, 1);
        assert_int_equal(ntohl(id), 0x80000000U | i);
        assert_int_equal(message->size, i % 11);
        assert_memory_equal(message->data, "0123456789", message->size);
        server_message_free(message);
    }
    free(bytes);
    close(peer);
}

static void many_messages_come_in_one_write(void **state)
{
    (void)state;
    EACH_KIND(write_many_at_once);
}

/* Eight words are ids, the last with its top bit set. */
static void hop(struct rig *rig)
{
    uint8_t request[9 + 4 * 9 + 2];
    uint8_t reply[sizeof(request)];

    rig->echo = true;
    for (size_t hops = 1; hops <= SERVER_HOPS + 1; hops++) {
        int peer = rig_greet(rig, SERVER_REQ);
        size_t size = rig_prefix(rig, 4 * hops + 2, request);
        for (size_t i = 0; i < hops; i++) {
            const uint8_t id[4] = {i + 1 == hops ? 0x80 : 0x7f, 0, (uint8_t)hops, (uint8_t)i};
            memcpy(request + size, id, 4);
            size += 4;
        }
        memcpy(request + size, "hi", 2);
        size += 2;
        rig_write(rig, peer, request, size);
        if (hops <= SERVER_HOPS) {
            rig_read(rig, peer, reply, size);
            assert_memory_equal(reply, request, size);
            close(peer);
        } else {
            rig_read_end(rig, peer);
            assert_non_null(strstr(rig->trouble, "more than 8 others"));
        }
    }
    assert_int_equal(server_counters(rig->server).closed_by_fault, 1);
}

static void eight_hops_are_repeated_and_nine_closed(void **state)
{
    (void)state;
    EACH_KIND(hop);
}

static void send_nonsense(struct rig *rig)
{
    struct {
        uint64_t size;
        uint8_t payload[8];
        size_t payload_size;
        const char *words;
    } wrong[] = {
        {UINT64_MAX, {0}, 0, "18446744073709551615 bytes, where 1000 are allowed"},
        {UINT64_MAX / 2, {0x80}, 4, "are allowed"},
        {1000 + 4 + 1, {0x80}, 4, "1001 bytes"},
        {1000 + 4 * SERVER_HOPS + 1, {0}, 0, "are allowed"},
        {0, {0}, 0, "without an id"},
        {3, {0x80}, 3, "without an id"},
        {6, {0, 0, 0, 1, 0x80, 0}, 6, "without an id"},
    };

    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t bytes[32];
        int peer = rig_greet(rig, SERVER_REQ);
        size_t size = rig_prefix(rig, wrong[i].size, bytes);
        memcpy(bytes + size, wrong[i].payload, wrong[i].payload_size);
        rig_write(rig, peer, bytes, size + wrong[i].payload_size);
        rig_read_end(rig, peer);
        assert_non_null(strstr(rig->trouble, wrong[i].words));
        assert_int_equal(server_counters(rig->server).closed_by_fault, i + 1);
    }
    assert_int_equal(rig->kept, 0);
    rig_until(rig, rig->disconnected == rig->connected);

    uint8_t *longest = malloc(1100); /* the limit itself is fine */
    uint8_t body[1000] = {0};
    assert_non_null(longest);
    int peer = rig_greet(rig, SERVER_REQ);
    rig_write(rig, peer, longest, rig_request(rig, 1, body, sizeof(body), longest));
    rig_until(rig, rig->kept == 1);
    free(longest);
    close(peer);
}

static void messages_too_long_or_without_ids_are_closed(void **state)
{
    (void)state;
    each_kind(send_nonsense, (struct server_settings){.max_message = 1000});
}

static void a_message_of_an_unknown_kind_is_closed(void **state)
{
    struct rig rig = {0};
    const uint8_t kind = 2;

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    int peer = rig_greet(&rig, SERVER_REQ);
    rig_write(&rig, peer, &kind, 1);
    rig_read_end(&rig, peer);
    assert_non_null(strstr(rig.trouble, "unknown kind 2"));
    rig_close(&rig);
}

static void push(struct rig *rig)
{
    nng_socket socket;

    assert_int_equal(nng_push0_open(&socket), 0);
    assert_int_equal(nng_dial(socket, rig->address.text, NULL, NNG_FLAG_NONBLOCK), 0);
    rig_until(rig, rig->connected == 1);
    assert_int_equal(nng_send(socket, (void *)(uintptr_t) "\0\1\2\3hello", 9, 0), 0);
    rig_until(rig, rig->kept == 1);
    assert_int_equal(rig->first->size, 9); /* nothing is taken for an id */
    assert_int_equal(rig->first->ids_count, 0);
    assert_memory_equal(rig->first->data, "\0\1\2\3hello", 9);
    nng_close(socket);
}

static void a_push_peer_is_served_by_pull(void **state)
{
    (void)state;
    each_kind(push, (struct server_settings){.protocol = SERVER_PULL});
}

/* ---- closing -------------------------------------------------------------------------------------------------- */

static void close_within(struct rig *rig)
{
    uint8_t requests[64];
    int peer = rig_greet(rig, SERVER_REQ);

    rig->close_on_message = true;
    size_t size = rig_request(rig, 1, "a", 1, requests);
    size += rig_request(rig, 2, "b", 1, requests + size);
    rig_write(rig, peer, requests, size);
    rig_read_end(rig, peer);
    assert_int_equal(rig->kept, 1); /* nothing comes of a closed connection */
    rig_until(rig, rig->disconnected == 1);
    server_close(rig->server, rig->last_connection); /* again */

    rig->close_on_connect = true;
    peer = rig_connect(rig);
    const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, SERVER_REQ, 0, 0};
    rig_write(rig, peer, greeting, sizeof(greeting));
    rig_until(rig, rig->disconnected == 2);
    rig_read_end(rig, peer);
    assert_int_equal(server_counters(rig->server).connections, 0);
}

static void the_owner_may_close_within_a_callback(void **state)
{
    (void)state;
    EACH_KIND(close_within);
}

static void count_release(void *owner)
{
    ++*(unsigned *)owner;
}

static void answer_nobody(struct rig *rig)
{
    uint8_t request[64];
    unsigned released = 0;
    int peer = rig_greet(rig, SERVER_REQ);

    rig_write(rig, peer, request, rig_request(rig, 1, "a", 1, request));
    rig_until(rig, rig->kept == 1);
    close(peer);
    rig_until(rig, rig->disconnected == 1);
    int other = rig_greet(rig, SERVER_REQ); /* takes the same slot, but not the id */
    assert_true(rig->last_connection != rig->first->connection);

    struct server_part parts[2] = {{"x", 1, count_release, &released}, {"y", 1, count_release, &released}};
    struct server_message *message = rig_take(rig);
    assert_false(server_send(rig->server, message->connection, message->ids, message->ids_count, parts, 2));
    assert_int_equal(released, 2);
    assert_int_equal(server_unsent(rig->server, message->connection), 0);
    server_trust(rig->server, message->connection);
    server_message_free(message);
    assert_int_equal(server_counters(rig->server).sent, 0);
    close(other);
}

static void sending_to_one_that_has_gone_says_so(void **state)
{
    (void)state;
    EACH_KIND(answer_nobody);
}

static void messages_outlive_the_server(void **state)
{
    struct rig rig = {0};
    uint8_t request[64];

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    int peer = rig_greet(&rig, SERVER_REQ);
    rig_write(&rig, peer, request, rig_request(&rig, 1, "still", 5, request));
    rig_until(&rig, rig.kept == 1);
    struct server_message *message = rig_take(&rig);
    rig_close(&rig);
    assert_memory_equal(message->data, "still", 5);
    server_message_free(message);
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_greets_and_leaves),
        cmocka_unit_test(wrong_greetings_are_closed_and_told),
        cmocka_unit_test(the_words_about_a_wrong_peer_say_what_is_wrong),
        cmocka_unit_test(peers_that_die_while_greeting_do_no_harm),
        cmocka_unit_test(a_greeting_may_come_in_pieces),
        cmocka_unit_test(a_silent_peer_is_closed_after_a_while),
        cmocka_unit_test(two_hundred_peers_connect_and_close),
        cmocka_unit_test(a_request_is_answered),
        cmocka_unit_test(libnng_asks_and_is_answered),
        cmocka_unit_test(a_message_may_be_split_at_every_byte),
        cmocka_unit_test(many_messages_come_in_one_write),
        cmocka_unit_test(eight_hops_are_repeated_and_nine_closed),
        cmocka_unit_test(messages_too_long_or_without_ids_are_closed),
        cmocka_unit_test(a_message_of_an_unknown_kind_is_closed),
        cmocka_unit_test(a_push_peer_is_served_by_pull),
        cmocka_unit_test(the_owner_may_close_within_a_callback),
        cmocka_unit_test(sending_to_one_that_has_gone_says_so),
        cmocka_unit_test(messages_outlive_the_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
