/*
 * server.c: the server as a whole: its settings, its connections by id, its memory.
 */
#include "transport/server_private.h"

#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    DEFAULT_READ_BUDGET = 256 * 1024,
    DEFAULT_TOTAL_BUDGET = 64 * 1024 * 1024,
    DEFAULT_GREETING_TIMEOUT = 5 * 1000 * 1000,
    KEEPALIVES = 3, /* unanswered ones after which the other host has gone */
    FIRST_SLOTS = 16,
    UNIX_BUFFER = 1024 * 1024, /* for replies to go out in one piece; its memory is taken only while they do */
    /* While others wait for memory, a peer in the middle of a message has to get on: so much in so many checks. */
    DEFAULT_STALL_TIMEOUT = 5 * 1000 * 1000,
    STALL_CHECKS = 5,
    STALL_BYTES = 16 * 1024
};

static uint16_t partner_of(enum server_protocol protocol)
{
    switch (protocol) {
    case SERVER_PAIR0:
    case SERVER_PAIR1:
    case SERVER_BUS:
        return (uint16_t)protocol;
    case SERVER_PUB:
        return SERVER_SUB;
    case SERVER_SUB:
        return SERVER_PUB;
    case SERVER_REQ:
        return SERVER_REP;
    case SERVER_REP:
        return SERVER_REQ;
    case SERVER_PUSH:
        return SERVER_PULL;
    case SERVER_PULL:
        return SERVER_PUSH;
    case SERVER_SURVEYOR:
        return SERVER_RESPONDENT;
    case SERVER_RESPONDENT:
        return SERVER_SURVEYOR;
    }
    return 0;
}

const char *server_protocol_name(unsigned protocol)
{
    switch ((enum server_protocol)protocol) {
    case SERVER_PAIR0:
        return "pair";
    case SERVER_PAIR1:
        return "pair1";
    case SERVER_PUB:
        return "pub";
    case SERVER_SUB:
        return "sub";
    case SERVER_REQ:
        return "req";
    case SERVER_REP:
        return "rep";
    case SERVER_PUSH:
        return "push";
    case SERVER_PULL:
        return "pull";
    case SERVER_SURVEYOR:
        return "surveyor";
    case SERVER_RESPONDENT:
        return "respondent";
    case SERVER_BUS:
        return "bus";
    }
    return NULL;
}

/* ---- words about a peer --------------------------------------------------------------------------------------- */

static void describe_unix_peer(int descriptor, char *text, size_t size)
{
#if defined(SO_PEERCRED) && defined(__linux__)
    struct ucred credentials;
    socklen_t length = sizeof(credentials);
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0) {
        snprintf(text, size, "process %ld of user %lu", (long)credentials.pid, (unsigned long)credentials.uid);
        return;
    }
#else
    uid_t user;
    gid_t group;
    if (getpeereid(descriptor, &user, &group) == 0) {
        snprintf(text, size, "a process of user %lu", (unsigned long)user);
        return;
    }
#endif
    snprintf(text, size, "a process of this machine");
}

static void describe_peer(int descriptor, char *text, size_t size)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof(name);
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];

    if (descriptor < 0 || getpeername(descriptor, (struct sockaddr *)&name, &length) != 0) {
        snprintf(text, size, "unknown");
    } else if (name.ss_family == AF_UNIX) {
        describe_unix_peer(descriptor, text, size);
    } else if (getnameinfo((const struct sockaddr *)&name, length, host, sizeof(host), port, sizeof(port),
                           NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        snprintf(text, size, strchr(host, ':') != NULL ? "[%.64s]:%.8s" : "%.64s:%.8s", host, port);
    } else {
        snprintf(text, size, "unknown");
    }
}

void server_trouble(struct server *server, const char *what, int descriptor)
{
    char peer[128];

    if (server->settings.trouble != NULL) {
        describe_peer(descriptor, peer, sizeof(peer));
        server->settings.trouble(server->settings.context, what, peer);
    }
}

/* ---- connections ---------------------------------------------------------------------------------------------- */

struct connection *server_find(const struct server *server, server_connection id)
{
    uint32_t slot = (uint32_t)(id & ((1U << SERVER_SLOT_BITS) - 1));

    if (slot >= server->slots_count || server->slots[slot].connection == NULL ||
        server->slots[slot].connection->id != id) {
        return NULL;
    }
    return server->slots[slot].connection;
}

static bool grow_slots(struct server *server)
{
    uint32_t count = server->slots_count == 0 ? FIRST_SLOTS : server->slots_count * 2;

    if (count > 1U << SERVER_SLOT_BITS) {
        return false;
    }
    struct slot *slots = memory_reallocate(server->slots, count * sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    for (uint32_t i = server->slots_count; i < count; i++) {
        slots[i] = (struct slot){.next_free = i + 1};
    }
    server->slots = slots;
    server->slots_count = count;
    return true;
}

void connection_enlist(struct connection *connection, struct connection_list *list)
{
    struct connection_list *old = connection->list;

    if (old != NULL) {
        *(connection->previous != NULL ? &connection->previous->next : &old->first) = connection->next;
        *(connection->next != NULL ? &connection->next->previous : &old->last) = connection->previous;
    }
    connection->list = list;
    connection->next = NULL;
    connection->previous = list != NULL ? list->last : NULL;
    if (list != NULL) {
        *(list->last != NULL ? &list->last->next : &list->first) = connection;
        list->last = connection;
    }
}

/* Half of SILENCE passes before the other host is asked for a sign; then it is asked often. */
static void tune_silence(int descriptor, int64_t silence)
{
#if defined(TCP_KEEPIDLE) && defined(TCP_KEEPINTVL) && defined(TCP_KEEPCNT)
    int64_t half = silence / 2 / 1000000;
    int idle = half > 1 ? (int)half : 1;
    int interval = idle > KEEPALIVES ? idle / KEEPALIVES : 1;
    int count = KEEPALIVES;
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
#endif
#ifdef TCP_USER_TIMEOUT
    unsigned timeout = (unsigned)(silence / 1000);
    setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
#endif
    (void)descriptor;
    (void)silence;
}

static void tune(const struct server *server, int descriptor, enum address_kind kind)
{
    int on = 1;
    int size = UNIX_BUFFER;

    /* What cannot be set only makes it slower. */
    if (kind == ADDRESS_TCP) {
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        if (server->settings.silence_timeout > 0) {
            tune_silence(descriptor, server->settings.silence_timeout);
        }
    } else {
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
#ifdef SO_NOSIGPIPE
    setsockopt(descriptor, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
#endif
}

static void connection_free(struct connection *connection)
{
    if (connection->readable != NULL) {
        event_free(connection->readable);
    }
    if (connection->writable != NULL) {
        event_free(connection->writable);
    }
    memory_release(connection);
}

static void arm_timer(struct event *timer, int64_t microseconds)
{
    struct timeval wait = {0};

    if (microseconds > 0) {
        wait.tv_sec = (time_t)(microseconds / 1000000);
        wait.tv_usec = (suseconds_t)(microseconds % 1000000);
    }
    event_add(timer, &wait);
}

/* The greeting of this end; a new socket has room for it. */
static bool send_greeting(const struct server *server, int descriptor)
{
    unsigned protocol = server->settings.protocol;
    const uint8_t greeting[SERVER_GREETING] = {0, 'S', 'P', 0, (uint8_t)(protocol >> 8), (uint8_t)protocol, 0, 0};
#ifdef MSG_NOSIGNAL
    int flags = MSG_NOSIGNAL;
#else
    int flags = 0;
#endif
    return send(descriptor, greeting, sizeof(greeting), flags) == (ssize_t)sizeof(greeting);
}

enum mp_error connection_new(struct server *server, int descriptor, enum address_kind kind)
{
    struct connection *connection = NULL;

    if (server->first_free >= server->slots_count && !grow_slots(server)) {
        goto fail;
    }
    connection = memory_allocate(sizeof(*connection));
    if (connection == NULL) {
        goto fail;
    }
    connection->server = server;
    connection->descriptor = descriptor;
    connection->kind = kind;
    connection->readable = event_new(server->base, descriptor, EV_READ | EV_PERSIST, connection_readable, connection);
    connection->writable = event_new(server->base, descriptor, EV_WRITE | EV_PERSIST, connection_writable, connection);
    if (connection->readable == NULL || connection->writable == NULL || event_add(connection->readable, NULL) != 0) {
        goto fail;
    }
    tune(server, descriptor, kind);
    if (!send_greeting(server, descriptor)) {
        connection_free(connection);
        return MP_ERR_CLOSED; /* it has gone already */
    }

    uint32_t slot = server->first_free;
    server->first_free = server->slots[slot].next_free;
    server->slots[slot].connection = connection;
    connection->id = ++server->serial << SERVER_SLOT_BITS | slot;
    connection->deadline = clock_monotonic() + server->settings.greeting_timeout;
    if (server->greeting.first == NULL) {
        arm_timer(server->greeting_due, server->settings.greeting_timeout);
    }
    connection_enlist(connection, &server->greeting);
    server->counters.connections++;
    return MP_OK;
fail:
    if (connection != NULL) {
        connection_free(connection);
    }
    return MP_ERR_MEMORY;
}

void connection_greeted(struct connection *connection)
{
    struct server *server = connection->server;

    connection->greeted = true;
    connection_enlist(connection, NULL);
    if (server->settings.connected != NULL) {
        server->settings.connected(server->settings.context, connection->id);
    }
}

void connection_end(struct connection *connection)
{
    struct server *server = connection->server;

    if (connection_ended(connection)) {
        return;
    }
    uint32_t slot = (uint32_t)(connection->id & ((1U << SERVER_SLOT_BITS) - 1));
    server->slots[slot] = (struct slot){.next_free = server->first_free};
    server->first_free = slot;
    server->counters.connections--;

    event_del(connection->readable);
    event_del(connection->writable);
    close(connection->descriptor);
    connection->descriptor = -1;
    connection_enlist(connection, &server->ended);
    event_active(server->funeral, EV_TIMEOUT, 1);

    connection_uncork(connection);
    server_message_free(connection->incoming);
    connection->incoming = NULL;
}

void connection_fault(struct connection *connection, const char *format, ...)
{
    struct server *server = connection->server;
    char what[256];
    va_list arguments;

    if (connection_ended(connection)) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    server->counters.closed_by_fault++;
    server_trouble(server, what, connection->descriptor);
    connection_end(connection);
}

/* Tells the owner of ended connections, and frees them. */
static void bury(evutil_socket_t descriptor, short what, void *context)
{
    struct server *server = context;
    struct connection *connection;

    (void)descriptor;
    (void)what;
    while ((connection = server->ended.first) != NULL) {
        connection_enlist(connection, NULL);
        if ((connection->greeted || connection->joined) && server->settings.disconnected != NULL) {
            server->settings.disconnected(server->settings.context, connection->id);
        }
        connection_drop_output(connection); /* now the owner knows that these were not written */
        connection_free(connection);
    }
}

static void end_silent(evutil_socket_t descriptor, short what, void *context)
{
    struct server *server = context;
    int64_t now = clock_monotonic();

    (void)descriptor;
    (void)what;
    while (server->greeting.first != NULL && server->greeting.first->deadline <= now) {
        connection_fault(server->greeting.first, "no greeting in time");
    }
    if (server->greeting.first != NULL) {
        arm_timer(server->greeting_due, server->greeting.first->deadline - now);
    }
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

void connection_pause(struct connection *connection, unsigned reason)
{
    struct server *server = connection->server;

    if (connection->paused == 0) {
        event_del(connection->readable);
    }
    connection->paused |= reason;
    if (reason == PAUSED_BY_BUDGET) {
        if (server->waiting.first == NULL) {
            arm_timer(server->stall_due, server->settings.stall_timeout / STALL_CHECKS);
        }
        connection_enlist(connection, &server->waiting);
    }
}

void connection_resume(struct connection *connection, unsigned reason)
{
    if ((connection->paused & reason) == 0) {
        return;
    }
    connection->paused &= ~reason;
    if (reason == PAUSED_BY_BUDGET) {
        connection_enlist(connection, NULL);
    }
    if (connection->paused == 0 && event_add(connection->readable, NULL) != 0) {
        connection_end(connection);
    }
}

/*
 * Memory that is held by messages which do not get on is not to stop everybody else: while there is none left, a peer
 * that is in the middle of a message and sends next to nothing is closed.
 */
static void end_stalled(evutil_socket_t descriptor, short what, void *context)
{
    struct server *server = context;

    (void)descriptor;
    (void)what;
    for (uint32_t i = 0; server->waiting.first != NULL && i < server->slots_count; i++) {
        struct connection *connection = server->slots[i].connection;
        if (connection == NULL || connection->incoming == NULL) {
            continue;
        }
        /* A new message in between counts as progress: its mark is 0. */
        bool moved = connection->incoming_size >= connection->incoming_mark + STALL_BYTES;
        connection->incoming_mark = connection->incoming_size;
        connection->stalled = moved ? 0 : connection->stalled + 1;
        if (connection->stalled >= STALL_CHECKS) {
            connection_fault(connection, "stopped in the middle of a message while others wait for memory");
        }
    }
    if (server->waiting.first != NULL) {
        arm_timer(server->stall_due, server->settings.stall_timeout / STALL_CHECKS);
    }
}

struct server_message *server_message_new(struct server *server, size_t size)
{
    /* Not zeroed: it is about to be filled. */
    struct server_message *message = memory_reallocate(NULL, message_cost(size));

    if (message == NULL) {
        return NULL;
    }
    memset(message, 0, sizeof(*message));
    message->server = server;
    message->size = size;
    server->counters.held += message_cost(size);
    server->messages++;
    return message;
}

void server_message_free(struct server_message *message)
{
    if (message == NULL) {
        return;
    }
    struct server *server = message->server;
    server->counters.held -= message_cost(message->size);
    server->messages--;
    memory_release(message);
    if (server->freed) {
        if (server->messages == 0) {
            memory_release(server);
        }
        return;
    }
    /* A quarter has to be free, or else reading would stop and go on with each message. */
    size_t total = server->settings.total_budget;
    while (server->waiting.first != NULL && server->counters.held <= total - total / 4) {
        connection_resume(server->waiting.first, PAUSED_BY_BUDGET);
    }
}

/* ---- the server ----------------------------------------------------------------------------------------------- */

static bool has_ids(enum server_protocol protocol)
{
    switch (protocol) {
    case SERVER_REQ:
    case SERVER_REP:
    case SERVER_SURVEYOR:
    case SERVER_RESPONDENT:
    case SERVER_PAIR1:
        return true;
    default:
        return false;
    }
}

static struct server_settings with_defaults(const struct server_settings *given)
{
    struct server_settings settings = *given;

    if (settings.stranger_message == 0) {
        settings.stranger_message = settings.max_message;
    }
    if (settings.read_budget == 0) {
        settings.read_budget = DEFAULT_READ_BUDGET;
    }
    if (settings.total_budget == 0) {
        settings.total_budget = DEFAULT_TOTAL_BUDGET;
    }
    if (settings.unsent_limit == 0) {
        settings.unsent_limit = SERVER_UNSENT_LIMIT;
    }
    if (settings.greeting_timeout == 0) {
        settings.greeting_timeout = DEFAULT_GREETING_TIMEOUT;
    }
    if (settings.stall_timeout == 0) {
        settings.stall_timeout = DEFAULT_STALL_TIMEOUT;
    }
    return settings;
}

enum mp_error server_new(struct event_base *base, const struct server_settings *settings, struct server **result,
                         struct fault *fault)
{
    *result = NULL;
    if (partner_of(settings->protocol) == 0 || settings->received == NULL || settings->max_message == 0 ||
        settings->max_message > SIZE_MAX / 4) {
        return fault_set(fault, MP_ERR_INVALID, "a server needs a protocol, a limit for messages and a receiver");
    }
    struct server *server = memory_allocate(sizeof(*server));
    if (server == NULL) {
        return fault_memory(fault);
    }
    server->base = base;
    server->settings = with_defaults(settings);
    server->partner = partner_of(settings->protocol);
    server->ids = has_ids(settings->protocol);
    server->accepting = true;
    server->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    server->scratch = memory_reallocate(NULL, SERVER_SCRATCH);
    server->rested = event_new(base, -1, 0, server_rested, server);
    server->greeting_due = event_new(base, -1, 0, end_silent, server);
    server->stall_due = event_new(base, -1, 0, end_stalled, server);
    server->funeral = event_new(base, -1, 0, bury, server);
    if (server->scratch == NULL || server->rested == NULL || server->greeting_due == NULL ||
        server->stall_due == NULL || server->funeral == NULL) {
        server_free(server);
        return fault_memory(fault);
    }
    *result = server;
    return MP_OK;
}

void server_free(struct server *server)
{
    if (server == NULL) {
        return;
    }
    server->settings.disconnected = NULL;
    server->settings.trouble = NULL;
    server_listeners_free(server);
    for (uint32_t i = 0; i < server->slots_count; i++) {
        if (server->slots[i].connection != NULL) {
            connection_end(server->slots[i].connection);
        }
    }
    bury(-1, 0, server);
    struct event *events[] = {server->rested, server->greeting_due, server->stall_due, server->funeral};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (events[i] != NULL) {
            event_free(events[i]);
        }
    }
    if (server->spare >= 0) {
        close(server->spare);
    }
    memory_release(server->scratch);
    memory_release(server->slots);
    server->freed = true;
    if (server->messages == 0) {
        memory_release(server);
    }
}

void server_trust(struct server *server, server_connection id)
{
    struct connection *connection = server_find(server, id);

    if (connection != NULL) {
        connection->trusted = true;
    }
}

size_t server_unsent(const struct server *server, server_connection id)
{
    const struct connection *connection = server_find(server, id);

    return connection != NULL ? connection->unsent : 0;
}

void server_close(struct server *server, server_connection id)
{
    struct connection *connection = server_find(server, id);

    if (connection != NULL) {
        connection_end(connection);
    }
}

struct server_counters server_counters(const struct server *server)
{
    return server->counters;
}
