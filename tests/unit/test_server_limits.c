/* transport/server.h: memory, slow readers, descriptors, listeners */
#include "server_rig.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1024 * 1024 };

static void fill(uint8_t *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 255 + seed);
    }
}

/* ---- slow readers --------------------------------------------------------------------------------------------- */

static void count_release(void *owner)
{
    ++*(unsigned *)owner;
}

static void a_slow_reader_gets_everything_in_the_end(void **state)
{
    enum { COUNT = 64, SIZE = 200 * 1024 };
    struct rig rig = {0};
    uint8_t request[64];
    uint8_t *held = malloc(SIZE);
    unsigned released = 0;

    (void)state;
    assert_non_null(held);
    fill(held, SIZE, 0);
    rig_open(&rig, ADDRESS_IPC);
    int peer = rig_greet(&rig, SERVER_REQ);
    rig_write(&rig, peer, request, rig_request(&rig, 5, "go", 2, request));
    rig_until(&rig, rig.kept == 1);
    for (unsigned i = 0; i < COUNT; i++) {
        char number[8];
        snprintf(number, sizeof(number), "%06u", i);
        /* copied, held, empty, copied */
        struct server_part parts[4] = {{number, 6, NULL, NULL},
                                       {held, SIZE, count_release, &released},
                                       {NULL, 0, NULL, NULL},
                                       {"end", 3, NULL, NULL}};
        assert_true(server_send(rig.server, rig.last_connection, rig.first->ids, 1, parts, 4));
        memset(number, '?', sizeof(number)); /* it was copied */
    }
    assert_true(released < COUNT);
    assert_true(server_unsent(rig.server, rig.last_connection) > 4 * MIB);
    for (unsigned i = 0; i < COUNT; i++) {
        char number[8];
        uint8_t *wanted = malloc(SIZE + 9);
        assert_non_null(wanted);
        snprintf(number, sizeof(number), "%06u", i);
        memcpy(wanted, number, 6);
        memcpy(wanted + 6, held, SIZE);
        memcpy(wanted + 6 + SIZE, "end", 3);
        rig_expect_reply(&rig, peer, 5, wanted, SIZE + 9);
        free(wanted);
    }
    rig_until(&rig, server_unsent(rig.server, rig.last_connection) == 0);
    assert_int_equal(released, COUNT);
    free(held);
    close(peer);
    rig_close(&rig);
}

static void no_requests_are_read_of_one_that_reads_no_replies(void **state)
{
    enum { SIZE = 512 * 1024, COUNT = 40 };
    struct rig rig = {.echo = true};
    uint8_t *request = malloc(SIZE + 64);
    uint8_t *body = malloc(SIZE);
    size_t done = 0;

    (void)state;
    assert_non_null(request);
    assert_non_null(body);
    rig_open(&rig, ADDRESS_IPC);
    int peer = rig_greet(&rig, SERVER_REQ);
    fill(body, SIZE, 3);
    size_t size = rig_request(&rig, 9, body, SIZE, request);
    unsigned asked = 0;
    for (int idle = 0; idle < 20 && asked < COUNT;) {
        size_t now = rig_write_some(peer, request + done, size - done);
        done += now;
        idle = now > 0 ? 0 : idle + 1;
        if (done == size) {
            asked++;
            done = 0;
        }
        event_base_loop(rig.base, EVLOOP_NONBLOCK);
    }
    assert_true(asked < COUNT);
    assert_true(server_unsent(rig.server, rig.last_connection) > 4 * MIB);
    assert_true(server_unsent(rig.server, rig.last_connection) < 6 * MIB);

    for (unsigned answered = 0; answered < COUNT;) { /* once it reads, the rest is taken too */
        if (answered < asked) {
            rig_expect_reply(&rig, peer, 9, body, SIZE);
            answered++;
        }
        event_base_loop(rig.base, EVLOOP_NONBLOCK);
        if (asked < COUNT) {
            done += rig_write_some(peer, request + done, size - done);
            asked += done == size ? 1 : 0;
            done = done == size ? 0 : done;
        }
    }
    assert_int_equal(server_counters(rig.server).received, COUNT);
    free(request);
    free(body);
    close(peer);
    rig_close(&rig);
}

static void what_waits_for_one_that_leaves_is_released(void **state)
{
    struct rig rig = {0};
    uint8_t *held = malloc(4 * MIB);
    unsigned released = 0;

    (void)state;
    assert_non_null(held);
    fill(held, 4 * MIB, 0);
    rig_open(&rig, ADDRESS_IPC);
    int peer = rig_greet(&rig, SERVER_REQ);
    const uint32_t id = 0x80;
    for (int i = 0; i < 3; i++) {
        struct server_part part = {held, 4 * MIB, count_release, &released};
        assert_true(server_send(rig.server, rig.last_connection, &id, 1, &part, 1));
    }
    assert_int_equal(released, 0);
    close(peer);
    rig_until(&rig, rig.disconnected == 1);
    assert_int_equal(released, 3);
    free(held);
    rig_close(&rig);
}

static void a_message_of_many_parts_arrives_whole(void **state)
{
    enum { PARTS = 1000 };
    struct rig rig = {0};
    struct server_part parts[PARTS];
    uint8_t bytes[PARTS];
    unsigned released = 0;
    const uint32_t id = 0x80; /* in memory as on the wire: 80 00 00 00 on a little-endian machine */
    uint8_t wire[4];

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    int peer = rig_greet(&rig, SERVER_REQ);
    fill(bytes, PARTS, 1);
    for (size_t i = 0; i < PARTS; i++) {
        parts[i] = (struct server_part){bytes + i, 1, i % 2 == 0 ? count_release : NULL, &released};
    }
    assert_true(server_send(rig.server, rig.last_connection, &id, 1, parts, PARTS));
    uint8_t head[9];
    uint8_t got[PARTS];
    rig_read(&rig, peer, head, sizeof(head));
    rig_read(&rig, peer, wire, sizeof(wire));
    assert_memory_equal(wire, &id, 4);
    rig_read(&rig, peer, got, PARTS);
    assert_memory_equal(got, bytes, PARTS);
    assert_int_equal(released, PARTS / 2);
    close(peer);
    rig_close(&rig);
}

/* ---- the budget ----------------------------------------------------------------------------------------------- */

/* A peer that writes requests of SIZE bytes as long as the server reads them; the number written. */
static unsigned pour(struct rig *rig, int peer, uint8_t *request, size_t size, unsigned most)
{
    unsigned written = 0;
    size_t done = 0;

    for (int idle = 0; idle < 20 && written < most;) {
        size_t now = rig_write_some(peer, request + done, size - done);
        done += now;
        idle = now > 0 ? 0 : idle + 1;
        if (done == size) {
            written++;
            done = 0;
        }
        event_base_loop(rig->base, EVLOOP_NONBLOCK);
    }
    return written;
}

static void reading_stops_when_the_budget_is_spent(void **state)
{
    enum { SIZE = 100 * 1024, TOTAL = MIB };
    struct rig rig = {.settings = {.total_budget = TOTAL}};
    uint8_t *request = malloc(SIZE + 64);
    uint8_t *body = malloc(SIZE);

    (void)state;
    assert_non_null(request);
    assert_non_null(body);
    fill(body, SIZE, 5);
    rig_open(&rig, ADDRESS_IPC);
    int one = rig_greet(&rig, SERVER_REQ);
    int other = rig_greet(&rig, SERVER_REQ);
    size_t size = rig_request(&rig, 1, body, SIZE, request);

    pour(&rig, one, request, size, 1000);
    unsigned kept = rig.kept;
    assert_true(server_counters(rig.server).held >= TOTAL);
    assert_true(server_counters(rig.server).held <= TOTAL + SIZE + 256 * 1024);
    assert_true(kept >= TOTAL / SIZE - 1 && kept <= TOTAL / SIZE + 4);

    rig_write(&rig, other, request, 100); /* the other one has to wait too */
    rig_settle(&rig);
    assert_int_equal(rig.kept, kept);

    while (rig.kept > 0) { /* and both go on when the owner has freed some */
        assert_memory_equal(rig.first->data, body, SIZE);
        server_message_free(rig_take(&rig));
    }
    rig_until(&rig, rig.kept > 0);
    unsigned long received = (unsigned long)server_counters(rig.server).received;
    rig_write(&rig, other, request + 100, size - 100);
    rig_until(&rig, server_counters(rig.server).received > received);
    bool seen = false;
    for (struct server_message *message = rig.first; message != NULL; message = message->next) {
        seen = seen || message->connection == rig.last_connection;
    }
    assert_true(seen);
    free(request);
    free(body);
    close(one);
    close(other);
    rig_close(&rig);
}

static void what_has_begun_can_end_when_the_budget_is_spent(void **state)
{
    enum { LARGE = 3 * MIB, TOTAL = MIB };
    struct rig rig = {.settings = {.total_budget = TOTAL}};
    uint8_t *request = malloc(LARGE + 64);
    uint8_t *body = malloc(LARGE);

    (void)state;
    assert_non_null(request);
    assert_non_null(body);
    fill(body, LARGE, 8);
    rig_open(&rig, ADDRESS_IPC);
    int large = rig_greet(&rig, SERVER_REQ);
    int small = rig_greet(&rig, SERVER_REQ);
    size_t size = rig_request(&rig, 1, body, LARGE, request);
    rig_write(&rig, large, request, 1000); /* it takes more than there is */
    rig_until(&rig, server_counters(rig.server).held > TOTAL);

    uint8_t little[64];
    rig_write(&rig, small, little, rig_request(&rig, 2, "x", 1, little));
    rig_settle(&rig);
    assert_int_equal(rig.kept, 0);

    rig_write(&rig, large, request + 1000, size - 1000);
    rig_until(&rig, rig.kept == 1);
    assert_int_equal(rig.first->size, LARGE);
    assert_memory_equal(rig.first->data, body, LARGE);
    server_message_free(rig_take(&rig));
    rig_until(&rig, rig.kept == 1);
    assert_int_equal(rig.first->size, 1);
    free(request);
    free(body);
    close(large);
    close(small);
    rig_close(&rig);
}

static void who_stops_in_a_message_while_others_wait_is_closed(void **state)
{
    enum { TOTAL = MIB };
    struct rig rig = {.settings = {.total_budget = TOTAL, .stall_timeout = 50 * 1000}};
    uint8_t request[128];
    uint8_t body[64] = {0};

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    int stalled = rig_greet(&rig, SERVER_REQ);
    int other = rig_greet(&rig, SERVER_REQ);
    size_t at = rig_prefix(&rig, 2 * MIB, request);
    memcpy(request + at, "\x80\0\0\1 half", 9);
    rig_write(&rig, stalled, request, at + 9);
    rig_until(&rig, server_counters(rig.server).held > TOTAL);
    rig_write(&rig, other, request, rig_request(&rig, 1, body, sizeof(body), request));
    rig_until(&rig, rig.kept == 1);
    assert_non_null(strstr(rig.trouble, "stopped in the middle of a message"));
    rig_read_end(&rig, stalled);
    close(other);
    rig_close(&rig);
}

static void a_turn_reads_no_more_of_one_than_its_budget(void **state)
{
    enum { COUNT = 1000, BUDGET = 4096 };
    struct rig rig = {.settings = {.read_budget = BUDGET}};
    uint8_t *requests = malloc(COUNT * 128);
    uint8_t body[100] = {0};
    size_t size = 0;

    (void)state;
    assert_non_null(requests);
    rig_open(&rig, ADDRESS_IPC);
    int peer = rig_greet(&rig, SERVER_REQ);
    for (unsigned i = 0; i < COUNT; i++) {
        size += rig_request(&rig, i, body, sizeof(body), requests + size);
    }
    assert_int_equal(rig_write_some(peer, requests, size), size);
    for (unsigned before = 0; rig.kept < COUNT; before = rig.kept) {
        event_base_loop(rig.base, EVLOOP_ONCE);
        assert_true(rig.kept > before);
        assert_true((rig.kept - before) * 113 <= 2 * BUDGET + 200);
    }
    free(requests);
    close(peer);
    rig_close(&rig);
}

/* ---- strangers ------------------------------------------------------------------------------------------------ */

static void long_messages_of_strangers_are_asked_about(void **state)
{
    struct rig rig = {.settings = {.stranger_message = 100}};
    uint8_t request[512];
    uint8_t body[300];

    (void)state;
    fill(body, sizeof(body), 2);
    for (int kind = 0; kind < 2; kind++) {
        struct rig again = rig;
        rig_open(&again, kind == 0 ? ADDRESS_IPC : ADDRESS_TCP);
        int peer = rig_greet(&again, SERVER_REQ);
        rig_write(&again, peer, request, rig_request(&again, 1, body, 100, request)); /* as long as it may be */
        rig_until(&again, again.kept == 1);
        assert_int_equal(again.admit_calls, 0);

        again.admits = true;
        size_t size = rig_request(&again, 1, body, 101, request);
        rig_write(&again, peer, request, size - 60);
        rig_settle(&again);
        assert_int_equal(again.admit_calls, 0); /* its beginning is not there yet */
        rig_write(&again, peer, request + size - 60, 60);
        rig_until(&again, again.kept == 2);
        assert_int_equal(again.admit_calls, 1);
        assert_int_equal(again.head_size, SERVER_HEAD);
        assert_memory_equal(again.head, body, SERVER_HEAD);

        again.admits = false;
        server_trust(again.server, again.last_connection);
        rig_write(&again, peer, request, rig_request(&again, 1, body, 300, request));
        rig_until(&again, again.kept == 3);
        assert_int_equal(again.admit_calls, 1);

        int stranger = rig_greet(&again, SERVER_REQ);
        rig_write(&again, stranger, request, rig_request(&again, 1, body, 101, request));
        rig_read_end(&again, stranger);
        assert_non_null(strstr(again.trouble, "not said who it is"));
        assert_int_equal(again.kept, 3);
        close(peer);
        rig_close(&again);
    }
}

/* ---- too many ------------------------------------------------------------------------------------------------- */

static void there_is_a_limit_of_connections(void **state)
{
    struct rig rig = {.settings = {.max_connections = 3}};
    int peers[3];

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    for (int i = 0; i < 3; i++) {
        peers[i] = rig_greet(&rig, SERVER_REQ);
    }
    rig_read_end(&rig, rig_connect(&rig));
    assert_int_equal(server_counters(rig.server).refused, 1);
    assert_non_null(strstr(rig.trouble, "3 connections already"));
    close(peers[0]);
    rig_until(&rig, rig.disconnected == 1);
    peers[0] = rig_greet(&rig, SERVER_REQ);
    for (int i = 0; i < 3; i++) {
        close(peers[i]);
    }
    rig_close(&rig);
}

/* In a process of its own, which has few descriptors. The other ends were opened before, in the parent's name. */
static void live_without_descriptors(struct rig *rig)
{
    enum { PEERS = 40 };
    int peers[PEERS];
    int low = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct rlimit limit;

    close(low);
    for (int i = 0; i < PEERS; i++) {
        peers[i] = rig_connect(rig);
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)(low + PEERS + 10); /* ten more can be had */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    rig_until(rig, rig->troubles > 0);
    assert_non_null(strstr(rig->trouble, "cannot accept connections"));
    assert_int_equal(rig->troubles, 1);
    assert_int_equal(server_counters(rig->server).refused, 1);
    assert_true(server_counters(rig->server).connections >= 5);

    unsigned turns = 0; /* the loop does not spin while it can do nothing */
    while (server_counters(rig->server).refused < 4) {
        rig_turn(rig);
        turns++;
    }
    assert_true(turns <= 12);
    assert_int_equal(rig->troubles, 1); /* it was told once */

    for (int i = 0; i < PEERS; i++) {
        close(peers[i]);
    }
    rig_until(rig, server_counters(rig->server).accepted + server_counters(rig->server).refused == PEERS);
    int peer = rig_greet(rig, SERVER_REQ); /* and it recovers */
    close(peer);
    rig_until(rig, server_counters(rig->server).connections == 0);
}

static void it_lives_on_without_descriptors(void **state)
{
    struct rig rig = {0};
    int status;

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    pid_t child = fork();
    if (child == 0) {
        event_reinit(rig.base);
        live_without_descriptors(&rig);
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    rig_close(&rig);
}

static void accepting_can_be_stopped_and_go_on(void **state)
{
    struct rig rig = {0};
    uint8_t request[64];

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    int before = rig_greet(&rig, SERVER_REQ);
    server_accept(rig.server, false);
    int waiting = rig_connect(&rig);
    rig_settle(&rig);
    assert_int_equal(server_counters(rig.server).accepted, 1);
    rig_write(&rig, before, request, rig_request(&rig, 1, "x", 1, request)); /* who is there is served */
    rig_until(&rig, rig.kept == 1);
    server_accept(rig.server, true);
    rig_until(&rig, server_counters(rig.server).accepted == 2);
    close(before);
    close(waiting);
    rig_close(&rig);
}

/* ---- listeners ------------------------------------------------------------------------------------------------ */

static void a_listening_descriptor_is_taken_over(void **state)
{
    struct rig rig = {0};
    struct rig listener = {0};
    struct address address;
    struct fault fault = {0};
    int descriptor;
    int pair[2];

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    assert_int_equal(address_parse("tcp://127.0.0.1:0", &address, &fault), MP_OK);
    assert_int_equal(address_listen(&address, &descriptor, &fault), MP_OK);
    assert_int_equal(server_adopt(rig.server, descriptor, ADDRESS_IPC, &fault), MP_ERR_INVALID);
    assert_int_equal(server_adopt(rig.server, descriptor, ADDRESS_TCP, &fault), MP_OK);
    listener = rig;
    listener.address = address;
    close(rig_connect(&listener));
    rig_until(&rig, server_counters(rig.server).accepted == 1);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(server_adopt(rig.server, pair[0], ADDRESS_IPC, &fault), MP_ERR_INVALID);
    close(pair[0]);
    close(pair[1]);
    rig_close(&rig);
}

static void only_its_own_socket_file_is_removed(void **state)
{
    struct rig rig = {0};
    struct fault fault = {0};
    struct address address;
    int descriptor;

    (void)state;
    rig_open(&rig, ADDRESS_IPC);
    address = rig.address;
    unlink(address.path);
    assert_int_equal(address_listen(&address, &descriptor, &fault), MP_OK); /* another process's, say */
    server_free(rig.server);
    assert_int_equal(access(address.path, F_OK), 0);
    close(descriptor);
    unlink(address.path);
    event_free(rig.watchdog);
    event_base_free(rig.base);
    rmdir(rig.directory);
}

/* ---- without memory ------------------------------------------------------------------------------------------- */

static void no_message(void *context, struct server_message *message)
{
    (void)context;
    server_message_free(message);
}

/* A server, a peer, a request and an answer that has to wait; false as soon as a step says that it failed. */
static bool serve_once(unsigned *released)
{
    struct rig rig = {0};
    static uint8_t large[2 * MIB];
    uint8_t request[64];
    bool good = false;

    rig_open(&rig, ADDRESS_IPC);
    int peer = rig_connect(&rig);
    const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, SERVER_REQ, 0, 0};
    rig_write_some(peer, greeting, sizeof(greeting));
    rig_settle(&rig);
    if (rig.connected == 1) {
        rig_write_some(peer, request, rig_request(&rig, 1, "x", 1, request));
        rig_settle(&rig);
    }
    if (rig.kept == 1) {
        struct server_part part = {large, sizeof(large), count_release, released};
        good = server_send(rig.server, rig.last_connection, rig.first->ids, 1, &part, 1);
        if (good) {
            uint8_t got[4096];
            while (server_unsent(rig.server, rig.last_connection) > 0) {
                assert_true(recv(peer, got, sizeof(got), 0) > 0);
                event_base_loop(rig.base, EVLOOP_NONBLOCK);
            }
        }
        assert_int_equal(*released, 1);
    }
    close(peer);
    rig_settle(&rig);
    assert_int_equal(server_counters(rig.server).connections, 0);
    rig_close(&rig);
    return good;
}

static void making_a_server_without_memory_says_so(void **state)
{
    struct event_base *base = event_base_new();
    struct server_settings settings = {.protocol = SERVER_REP, .max_message = 10, .received = no_message};
    struct server *server;
    struct fault fault = {0};

    (void)state;
    for (unsigned long nth = 1; nth <= 2; nth++) {
        memory_fail(nth);
        assert_int_equal(server_new(base, &settings, &server, &fault), MP_ERR_MEMORY);
        assert_null(server);
    }
    memory_fail(0);
    settings.max_message = 0;
    assert_int_equal(server_new(base, &settings, &server, &fault), MP_ERR_INVALID);
    settings.max_message = 10;
    settings.protocol = (enum server_protocol)0x99;
    assert_int_equal(server_new(base, &settings, &server, &fault), MP_ERR_INVALID);
    event_base_free(base);
}

static void want_of_memory_costs_a_connection_at_most(void **state)
{
    bool good = false;
    int reached = 0;

    (void)state;
    /* The first four are those of server_new() and server_listen(), which say so themselves. */
    for (unsigned long nth = 5;; nth++) {
        unsigned released = 0;
        memory_fail(nth);
        good = serve_once(&released);
        if (!memory_failed()) {
            break;
        }
        reached++;
    }
    memory_fail(0);
    assert_true(good);
    assert_true(reached >= 3); /* a connection, a message, what waits to be written */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_reader_gets_everything_in_the_end),
        cmocka_unit_test(no_requests_are_read_of_one_that_reads_no_replies),
        cmocka_unit_test(what_waits_for_one_that_leaves_is_released),
        cmocka_unit_test(a_message_of_many_parts_arrives_whole),
        cmocka_unit_test(reading_stops_when_the_budget_is_spent),
        cmocka_unit_test(what_has_begun_can_end_when_the_budget_is_spent),
        cmocka_unit_test(who_stops_in_a_message_while_others_wait_is_closed),
        cmocka_unit_test(a_turn_reads_no_more_of_one_than_its_budget),
        cmocka_unit_test(long_messages_of_strangers_are_asked_about),
        cmocka_unit_test(there_is_a_limit_of_connections),
        cmocka_unit_test(it_lives_on_without_descriptors),
        cmocka_unit_test(accepting_can_be_stopped_and_go_on),
        cmocka_unit_test(a_listening_descriptor_is_taken_over),
        cmocka_unit_test(only_its_own_socket_file_is_removed),
        cmocka_unit_test(making_a_server_without_memory_says_so),
        cmocka_unit_test(want_of_memory_costs_a_connection_at_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
