#include "transport/peer_internal.h"

#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Delays between attempts, and how long one may take, in microseconds. */
#define DELAY_MIN INT64_C(10000)
#define DELAY_MAX INT64_C(1000000)
#define ATTEMPT_MAX INT64_C(5000000)
/* A connection that lasted as long as this was a good one: the next attempt comes at once. */
#define LASTED INT64_C(1000000)

struct peer_dial {
    struct peer *peer;
    struct event *retry;
    struct event *connecting; /* on `descriptor`; NULL while none is being connected */
    int descriptor;
    struct addrinfo *found, *next; /* TCP: what the name stands for, and what is to be tried */
    server_connection connection;  /* 0: none */
    int64_t greeted;               /* when the other end had greeted; 0: it has not */
    int64_t delay;
};

static void attempt(struct peer_dial *dial);

static void after(struct event *event, int64_t microseconds)
{
    struct timeval time = {.tv_sec = (time_t)(microseconds / 1000000),
                           .tv_usec = (suseconds_t)(microseconds % 1000000)};

    event_add(event, &time);
}

static void again_later(struct peer_dial *dial)
{
    after(dial->retry, dial->delay);
    dial->delay = dial->delay * 2 < DELAY_MAX ? dial->delay * 2 : DELAY_MAX;
}

static void close_descriptor(struct peer_dial *dial)
{
    if (dial->connecting != NULL) {
        event_free(dial->connecting);
        dial->connecting = NULL;
    }
    if (dial->descriptor >= 0) {
        close(dial->descriptor);
        dial->descriptor = -1;
    }
}

/* This address did not work, for the reason NUMBER (errno): the next one, or all again later. */
static void failed(struct peer_dial *dial, int number)
{
    close_descriptor(dial);
    if (dial->next != NULL) {
        attempt(dial);
        return;
    }
    peer_complain(dial->peer, "cannot connect to %s: %s", dial->peer->address.text, strerror(number));
    again_later(dial);
}

static void join(struct peer_dial *dial)
{
    struct peer *peer = dial->peer;
    struct fault fault;

    if (peer->address.kind == ADDRESS_TCP) {
        int on = 1;
        setsockopt(dial->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (dial->connecting != NULL) {
        event_free(dial->connecting);
        dial->connecting = NULL;
    }
    int descriptor = dial->descriptor;
    dial->descriptor = -1;
    dial->greeted = 0;
    if (server_join(peer->server, descriptor, peer->address.kind, &dial->connection, &fault) == MP_OK)
        return;
    close(descriptor);
    dial->connection = 0;
    peer_complain(peer, "cannot connect to %s: %s", peer->address.text, fault_text(&fault));
    again_later(dial);
}

static void on_connecting(evutil_socket_t descriptor, short what, void *context)
{
    struct peer_dial *dial = context;
    int number = 0;
    socklen_t size = sizeof number;

    if (what & EV_TIMEOUT)
        number = ETIMEDOUT;
    else if (getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &size) != 0)
        number = errno;
    if (number != 0)
        failed(dial, number);
    else
        join(dial);
}

static void connect_to(struct peer_dial *dial, int family, const struct sockaddr *to, socklen_t size)
{
    int descriptor = socket(family, SOCK_STREAM, 0);

    if (descriptor < 0) {
        failed(dial, errno);
        return;
    }
    dial->descriptor = descriptor;
    if (evutil_make_socket_nonblocking(descriptor) != 0 || evutil_make_socket_closeonexec(descriptor) != 0) {
        failed(dial, errno);
        return;
    }
    if (connect(descriptor, to, size) == 0) {
        join(dial);
        return;
    }
    if (errno != EINPROGRESS) { /* EAGAIN: a Unix listener's queue is full */
        failed(dial, errno);
        return;
    }
    dial->connecting = event_new(dial->peer->base, descriptor, EV_WRITE, on_connecting, dial);
    if (dial->connecting == NULL) {
        failed(dial, ENOMEM);
        return;
    }
    after(dial->connecting, ATTEMPT_MAX);
}

/* Looks the name up; blocks as long as the resolver does. */
static bool look_up(struct peer_dial *dial)
{
    const struct address *address = &dial->peer->address;

    if (dial->found != NULL)
        freeaddrinfo(dial->found);
    dial->found = dial->next = NULL;
    int wrong = address_look_up(address, false, &dial->found);
    if (wrong != 0) {
        peer_complain(dial->peer, "cannot find %s: %s", address->host, gai_strerror(wrong));
        return false;
    }
    dial->next = dial->found;
    return true;
}

static void attempt(struct peer_dial *dial)
{
    const struct address *address = &dial->peer->address;

    if (address->kind == ADDRESS_IPC) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        memcpy(to.sun_path, address->path, sizeof to.sun_path);
        connect_to(dial, AF_UNIX, (const struct sockaddr *)&to, sizeof to);
        return;
    }
    if (dial->next == NULL && !look_up(dial)) {
        again_later(dial);
        return;
    }
    struct addrinfo *to = dial->next;
    dial->next = to->ai_next;
    connect_to(dial, to->ai_family, to->ai_addr, to->ai_addrlen);
}

static void on_retry(evutil_socket_t descriptor, short what, void *context)
{
    struct peer_dial *dial = context;

    (void)descriptor;
    (void)what;
    dial->next = NULL;
    attempt(dial);
}

enum mp_error dial_new(struct peer *peer, struct peer_dial **made, struct fault *fault)
{
    const struct address *address = &peer->address;

    if (address->kind == ADDRESS_TCP &&
        (address->port == 0 || address->host[0] == '\0' || strcmp(address->host, "*") == 0))
        return fault_set(fault, MP_ERR_INVALID, "%s: to dial needs a host and a port, as in tcp://127.0.0.1:7000",
                         address->text);
    struct peer_dial *dial = memory_allocate(sizeof *dial);
    if (dial == NULL)
        return fault_memory(fault);
    dial->peer = peer;
    dial->descriptor = -1;
    dial->delay = DELAY_MIN;
    dial->retry = evtimer_new(peer->base, on_retry, dial);
    if (dial->retry == NULL) {
        memory_release(dial);
        return fault_memory(fault);
    }
    after(dial->retry, 0); /* the first attempt too comes from the loop */
    *made = dial;
    return MP_OK;
}

void dial_free(struct peer_dial *dial)
{
    if (dial == NULL)
        return;
    close_descriptor(dial);
    event_free(dial->retry);
    if (dial->found != NULL)
        freeaddrinfo(dial->found);
    memory_release(dial);
}

void dial_connected(struct peer_dial *dial)
{
    dial->greeted = clock_monotonic();
}

void dial_disconnected(struct peer_dial *dial, server_connection connection)
{
    if (connection != dial->connection)
        return;
    dial->connection = 0;
    if (dial->peer->parting)
        return;
    if (dial->greeted == 0 && !dial->peer->explained)
        peer_complain(dial->peer, "%s closed the connection before it greeted: is a %s there?",
                      dial->peer->address.text, peer_pattern_other(dial->peer->settings.pattern));
    dial->peer->explained = false;
    if (dial->greeted != 0 && clock_monotonic() - dial->greeted >= LASTED)
        dial->delay = DELAY_MIN;
    again_later(dial);
}
