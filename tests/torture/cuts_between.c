#include "cuts.h"

#include "base/memory.h"
#include "client/protocol.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024, HEAD = 1 + 8 + 4 + PROTOCOL_REQUEST_HEADER + 6, PATIENCE_MS = 5000 };

/* Where one way of a connection stands among its messages. */
struct stream {
    bool greeted;
    uint64_t position, length; /* in the message, or in the greeting; length 0: not known yet */
    uint64_t begin;            /* of all bytes that went this way */
    enum cut_kind kind;
    bool kind_known;
    size_t head_size;
    uint8_t head[HEAD];
};

/* A client's connection and the one to the relay that goes with it. */
struct joint {
    struct joint *next;
    struct between *between;
    int sides[2]; /* by whence bytes come: TO_RELAY's is the client's; -1: closed */
    struct event *readable[2];
    struct stream streams[WAYS];
    enum cut_kind asked; /* the request that was seen last: its reply is of the same kind */
    struct event *timer; /* when what is late goes out */
    struct buffer late;
};

/* ---- what passes ----------------------------------------------------------------------------------------------- */

static uint64_t big_endian(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | at[i];
    return value;
}

static enum cut_kind request_kind(const uint8_t *request)
{
    enum protocol_type type = request[2];
    if (type == PROTOCOL_FETCH && request[3] & PROTOCOL_FETCH_PEEK)
        return KIND_PEEK;
    if (type == PROTOCOL_SETTLE && load_u16(request + PROTOCOL_REQUEST_HEADER + 4) > 0)
        return KIND_COMMIT;
    return (enum cut_kind)type;
}

/* The message's head has all that tells what it is, or all of the message. */
static void recognise(struct joint *joint, enum way way, struct stream *stream)
{
    size_t prefix = joint->between->relay.kind == ADDRESS_IPC ? 9 : 8;
    if (stream->length == 0 && stream->head_size >= prefix)
        stream->length = prefix + big_endian(stream->head + prefix - 8);
    if (stream->length == 0 || stream->kind_known)
        return;
    size_t wanted = stream->length < sizeof stream->head ? (size_t)stream->length : sizeof stream->head;
    if (way == TO_CLIENT)
        stream->kind = joint->asked;
    else if (stream->head_size >= wanted)
        stream->kind = request_kind(stream->head + prefix + 4);
    else
        return;
    stream->kind_known = true;
}

static void remember(struct joint *joint, enum way way, const struct stream *stream)
{
    struct between *between = joint->between;
    if (between->record && between->passages_count < PASSAGES_MAX)
        between->passages[between->passages_count++] =
            (struct passage){way, stream->kind, stream->begin, stream->begin + stream->length};
}

/* Moves STREAM over SIZE bytes; a message that has come to its end stays until the next byte. AT: of all bytes. */
static void follow(struct joint *joint, enum way way, struct stream *stream, const uint8_t *data, size_t size,
                   uint64_t at)
{
    for (size_t i = 0; i < size; i++) {
        bool ended = stream->length > 0 && stream->position == stream->length;
        if (ended || (stream->position == 0 && !stream->greeted)) {
            bool greeting = !ended;
            *stream = (struct stream){.greeted = true, .begin = at + i};
            if (greeting) {
                stream->kind_known = true;
                stream->length = 8;
            }
        }
        stream->position++;
        if (stream->kind_known && stream->kind == KIND_GREETING)
            continue;
        if (stream->head_size < sizeof stream->head)
            stream->head[stream->head_size++] = data[i];
        recognise(joint, way, stream);
    }
}

/* ---- cutting --------------------------------------------------------------------------------------------------- */

static void close_side(struct joint *joint, int side, bool reset)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (joint->sides[side] < 0)
        return;
    if (joint->readable[side])
        event_free(joint->readable[side]);
    joint->readable[side] = NULL;
    if (reset)
        setsockopt(joint->sides[side], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(joint->sides[side]);
    joint->sides[side] = -1;
}

static void joint_free(struct joint *joint)
{
    struct joint **at = &joint->between->joints;
    while (*at != joint)
        at = &(*at)->next;
    *at = joint->next;
    close_side(joint, TO_RELAY, false);
    close_side(joint, TO_CLIENT, false);
    if (joint->timer)
        event_free(joint->timer);
    buffer_free(&joint->late);
    free(joint);
}

/* Writes all of it, which the other end takes, or has gone. */
static void write_all(int descriptor, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t count = send(descriptor, data, size, MSG_NOSIGNAL);
        struct pollfd room = {.fd = descriptor, .events = POLLOUT};
        if (count > 0) {
            data += count;
            size -= (size_t)count;
        } else if (errno != EAGAIN || poll(&room, 1, PATIENCE_MS) != 1)
            return;
    }
}

static void on_late(evutil_socket_t descriptor, short what, void *context)
{
    struct joint *joint = context;
    (void)descriptor;
    (void)what;
    write_all(joint->sides[TO_CLIENT], joint->late.data, joint->late.size);
    joint_free(joint);
}

/* REST: what was read and does not pass. */
static void cut(struct joint *joint, enum way way, const uint8_t *rest, size_t size)
{
    struct between *between = joint->between;
    struct stream ahead = joint->streams[way];
    between->armed = false;
    between->cut = stand_now();
    between->position = ahead.position;
    if (!ahead.kind_known)
        follow(joint, way, &ahead, rest, size, 0);
    between->kind = ahead.kind;
    between->length = ahead.length;
    if (between->manner != CUT_LATE) {
        close_side(joint, TO_RELAY, between->manner == CUT_RESET);
        close_side(joint, TO_CLIENT, between->manner == CUT_RESET);
        joint_free(joint);
        return;
    }
    const struct timeval wait = {.tv_usec = (suseconds_t)between->late * 1000};
    close_side(joint, TO_RELAY, false);
    event_del(joint->readable[TO_CLIENT]);
    if (way == TO_RELAY)
        (void)buffer_append(&joint->late, rest, size);
    joint->timer = evtimer_new(between->base, on_late, joint);
    event_add(joint->timer, &wait);
}

static void on_readable(evutil_socket_t descriptor, short what, void *context)
{
    struct joint *joint = context;
    struct between *between = joint->between;
    enum way way = descriptor == joint->sides[TO_RELAY] ? TO_RELAY : TO_CLIENT;
    static uint8_t chunk[CHUNK];
    ssize_t count = recv(descriptor, chunk, sizeof chunk, 0);
    (void)what;
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN)
            joint_free(joint);
        return;
    }
    size_t size = (size_t)count, pass = size;
    bool now = between->armed && between->way == way && between->at <= between->passed[way] + size;
    if (now)
        pass = (size_t)(between->at - between->passed[way]);
    struct stream *stream = &joint->streams[way];
    follow(joint, way, stream, chunk, pass, between->passed[way]);
    if (way == TO_RELAY && stream->kind_known)
        joint->asked = stream->kind;
    if (stream->length > 0 && stream->position == stream->length)
        remember(joint, way, stream);
    between->passed[way] += pass;
    write_all(joint->sides[!way], chunk, pass);
    if (now)
        cut(joint, way, chunk + pass, size - pass);
}

/* ---- connections ----------------------------------------------------------------------------------------------- */

static int connect_to_relay(const struct between *between)
{
    int descriptor = -1;
    if (between->relay.kind == ADDRESS_IPC) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        memcpy(name.sun_path, between->relay.path, sizeof name.sun_path);
        descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(descriptor, (struct sockaddr *)&name, sizeof name) == 0)
            return descriptor;
    } else {
        struct addrinfo *list;
        int on = 1;
        if (address_look_up(&between->relay, false, &list) != 0)
            return -1;
        descriptor = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int failed = connect(descriptor, list->ai_addr, list->ai_addrlen);
        freeaddrinfo(list);
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (failed == 0)
            return descriptor;
    }
    close(descriptor);
    return -1;
}

static void on_acceptable(evutil_socket_t descriptor, short what, void *context)
{
    struct between *between = context;
    int client = accept4(descriptor, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), size = 1 << 20;
    (void)what;
    if (client < 0)
        return;
    struct joint *joint = calloc(1, sizeof *joint);
    int relay = joint ? connect_to_relay(between) : -1;
    if (relay < 0) {
        close(client);
        free(joint);
        return;
    }
    fcntl(relay, F_SETFL, O_NONBLOCK);
    setsockopt(client, SOL_SOCKET, SO_SNDBUF, &size, sizeof size); /* what this program writes, this program reads */
    *joint = (struct joint){.next = between->joints, .between = between, .sides = {client, relay}};
    between->joints = joint;
    for (int side = 0; side < 2; side++) {
        joint->readable[side] = event_new(between->base, joint->sides[side], EV_READ | EV_PERSIST, on_readable, joint);
        event_add(joint->readable[side], NULL);
    }
}

void between_open(struct between *between, struct stand *stand, struct event_base *base, const char *relay)
{
    char text[STAND_PATH];
    struct fault fault = {0};
    *between = (struct between){.base = base};
    snprintf(text, sizeof text, "ipc://%s/between.sock", stand->folder);
    if (address_parse(relay, &between->relay, &fault) ||
        address_parse(between->relay.kind == ADDRESS_IPC ? text : "tcp://127.0.0.1:0", &between->listen, &fault) ||
        address_listen(&between->listen, &between->listener, &fault))
        stand_give_up(stand, "%s", fault.text);
    between->acceptable = event_new(base, between->listener, EV_READ | EV_PERSIST, on_acceptable, between);
    event_add(between->acceptable, NULL);
}

void between_close(struct between *between)
{
    between_begin(between);
    event_free(between->acceptable);
    close(between->listener);
    if (between->listen.kind == ADDRESS_IPC)
        unlink(between->listen.path);
}

void between_begin(struct between *between)
{
    while (between->joints)
        if (between->joints->timer)
            on_late(-1, 0, between->joints);
        else
            joint_free(between->joints);
    between->armed = false;
    between->cut = 0;
    between->passages_count = 0;
    memset(between->passed, 0, sizeof between->passed);
}

void between_arm(struct between *between, enum way way, uint64_t at, enum cut_manner manner, unsigned late)
{
    between->armed = true;
    between->way = way;
    between->at = at;
    between->manner = manner;
    between->late = late;
}
