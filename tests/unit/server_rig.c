#include "server_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the owner ------------------------------------------------------------------------------------------------ */

static void connected(void *context, server_connection connection)
{
    struct rig *rig = context;

    rig->connected++;
    rig->last_connection = connection;
    if (rig->close_on_connect) {
        server_close(rig->server, connection);
    }
}

static void disconnected(void *context, server_connection connection)
{
    struct rig *rig = context;

    rig->disconnected++;
    rig->last_disconnected = connection;
}

static bool admit(void *context, server_connection connection, const uint8_t *head, size_t size, uint64_t total)
{
    struct rig *rig = context;

    (void)connection;
    assert_true(size <= SERVER_HEAD && size <= total);
    rig->admit_calls++;
    rig->head_size = size;
    memcpy(rig->head, head, size);
    return rig->admits;
}

static void received(void *context, struct server_message *message)
{
    struct rig *rig = context;
    server_connection connection = message->connection;

    if (rig->echo) {
        struct server_part part = {.data = message->data, .size = message->size};
        server_send(rig->server, connection, message->ids, message->ids_count, &part, 1);
        server_message_free(message);
    } else {
        message->next = NULL;
        *rig->end = message;
        rig->end = &message->next;
        rig->kept++;
    }
    if (rig->close_on_message) {
        server_close(rig->server, connection);
    }
}

static void trouble(void *context, const char *what, const char *peer)
{
    struct rig *rig = context;

    rig->troubles++;
    snprintf(rig->trouble, sizeof(rig->trouble), "%s (%s)", what, peer);
}

/* ---- the rig -------------------------------------------------------------------------------------------------- */

static void bark(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    (void)context;
    fail_msg("waited in vain");
}

void rig_open(struct rig *rig, enum address_kind kind)
{
    struct fault fault = {0};
    char url[128];
    const struct timeval wait = {.tv_sec = 20};

    folder_make(rig->directory);
    rig->base = event_base_new();
    rig->watchdog = event_new(rig->base, -1, 0, bark, NULL);
    event_add(rig->watchdog, &wait);
    rig->end = &rig->first;

    struct server_settings *settings = &rig->settings;
    settings->context = rig;
    settings->protocol = settings->protocol != 0 ? settings->protocol : SERVER_REP;
    settings->max_message = settings->max_message != 0 ? settings->max_message : 16 * 1024 * 1024;
    settings->connected = connected;
    settings->disconnected = disconnected;
    settings->admit = admit;
    settings->received = received;
    settings->trouble = trouble;
    assert_int_equal(server_new(rig->base, settings, &rig->server, &fault), MP_OK);
    snprintf(url, sizeof(url), "ipc://%s/socket", rig->directory);
    assert_int_equal(address_parse(kind == ADDRESS_IPC ? url : "tcp://127.0.0.1:0", &rig->address, &fault), MP_OK);
    if (server_listen(rig->server, &rig->address, &fault) != MP_OK) {
        fail_msg("%s", fault.text);
    }
}

void rig_close(struct rig *rig)
{
    while (rig->first != NULL) {
        server_message_free(rig_take(rig));
    }
    server_free(rig->server);
    event_free(rig->watchdog);
    event_base_free(rig->base);
    assert_int_equal(rmdir(rig->directory), 0); /* the socket file has gone */
}

void rig_turn(struct rig *rig)
{
    event_base_loop(rig->base, EVLOOP_ONCE);
}

void rig_settle(struct rig *rig)
{
    /* A turn can begin what the next one ends: a few of them without waiting see it all. */
    for (int i = 0; i < 50; i++) {
        event_base_loop(rig->base, EVLOOP_NONBLOCK);
    }
}

struct server_message *rig_take(struct rig *rig)
{
    struct server_message *message = rig->first;

    assert_non_null(message);
    rig->first = message->next;
    if (rig->first == NULL) {
        rig->end = &rig->first;
    }
    rig->kept--;
    return message;
}

/* ---- raw peers ------------------------------------------------------------------------------------------------ */

int rig_connect(struct rig *rig)
{
    int descriptor;

    if (rig->address.kind == ADDRESS_IPC) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        memcpy(name.sun_path, rig->address.path, sizeof(name.sun_path));
        descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(descriptor, (struct sockaddr *)&name, sizeof(name)), 0);
    } else {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(rig->address.port)};
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        descriptor = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(descriptor, (struct sockaddr *)&name, sizeof(name)), 0);
        int on = 1; /* small pieces go out as they are written */
        assert_int_equal(setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    }
    assert_int_equal(fcntl(descriptor, F_SETFL, O_NONBLOCK), 0);
    return descriptor;
}

int rig_greet(struct rig *rig, enum server_protocol peer)
{
    int descriptor = rig_connect(rig);
    const uint8_t mine[8] = {0, 'S', 'P', 0, 0, (uint8_t)peer, 0, 0};
    const uint8_t theirs[8] = {0, 'S', 'P', 0, 0, (uint8_t)rig->settings.protocol, 0, 0};
    uint8_t greeting[8];
    unsigned before = rig->connected;

    rig_write(rig, descriptor, mine, sizeof(mine));
    rig_read(rig, descriptor, greeting, sizeof(greeting));
    assert_memory_equal(greeting, theirs, sizeof(greeting));
    rig_until(rig, rig->connected == before + 1);
    return descriptor;
}

size_t rig_write_some(int descriptor, const void *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t count = send(descriptor, (const uint8_t *)data + done, size - done, MSG_NOSIGNAL);
        if (count <= 0) {
            assert_int_equal(errno, EAGAIN);
            break;
        }
        done += (size_t)count;
    }
    return done;
}

void rig_write(struct rig *rig, int descriptor, const void *data, size_t size)
{
    size_t done = rig_write_some(descriptor, data, size);

    while (done < size) {
        rig_turn(rig);
        done += rig_write_some(descriptor, (const uint8_t *)data + done, size - done);
    }
}

void rig_read(struct rig *rig, int descriptor, void *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t count = recv(descriptor, (uint8_t *)data + done, size - done, 0);
        if (count > 0) {
            done += (size_t)count;
            continue;
        }
        assert_true(count < 0 && errno == EAGAIN);
        event_base_loop(rig->base, EVLOOP_NONBLOCK); /* TCP's bytes come when they come: do not wait for an event */
    }
}

void rig_read_end(struct rig *rig, int descriptor)
{
    uint8_t skipped[4096];
    ssize_t count;

    while ((count = recv(descriptor, skipped, sizeof(skipped), 0)) != 0) {
        if (count < 0 && errno == ECONNRESET) {
            break;
        }
        assert_true(count > 0 || errno == EAGAIN);
        event_base_loop(rig->base, EVLOOP_NONBLOCK);
    }
    close(descriptor);
}

size_t rig_prefix(const struct rig *rig, uint64_t size, uint8_t *to)
{
    size_t at = 0;

    if (rig->address.kind == ADDRESS_IPC) {
        to[at++] = 1;
    }
    for (int shift = 56; shift >= 0; shift -= 8) {
        to[at++] = (uint8_t)(size >> shift);
    }
    return at;
}

static void put_id(uint32_t id, uint8_t *to)
{
    to[0] = (uint8_t)(0x80 | id >> 24);
    to[1] = (uint8_t)(id >> 16);
    to[2] = (uint8_t)(id >> 8);
    to[3] = (uint8_t)id;
}

size_t rig_request(const struct rig *rig, uint32_t id, const void *body, size_t size, uint8_t *to)
{
    size_t at = rig_prefix(rig, size + 4, to);

    put_id(id, to + at);
    memcpy(to + at + 4, body, size);
    return at + 4 + size;
}

void rig_expect_reply(struct rig *rig, int descriptor, uint32_t id, const void *body, size_t size)
{
    size_t length = size + 13;
    uint8_t *wanted = malloc(length);
    uint8_t *got = malloc(length);

    assert_non_null(wanted);
    assert_non_null(got);
    length = rig_request(rig, id, body, size, wanted);
    rig_read(rig, descriptor, got, length);
    assert_memory_equal(got, wanted, length);
    free(wanted);
    free(got);
}
