/*
 * server_accept.c: listeners, and what happens when there are too many connections.
 *
 * Without a free descriptor the loop would be told of a waiting connection again and again and could do nothing. So a
 * spare one is kept: it is given up to accept and close one connection, which tells its peer, and then accepting rests.
 */
#include "transport/server_private.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTS_A_TURN = 64,
    REST = 100 * 1000 /* microseconds */
};

static int accept_descriptor(int listener)
{
#if defined(__linux__) || defined(__FreeBSD__) || defined(__OpenBSD__) || defined(__NetBSD__)
    return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    int descriptor = accept(listener, NULL, NULL);
    if (descriptor >= 0) {
        fcntl(descriptor, F_SETFD, FD_CLOEXEC);
        fcntl(descriptor, F_SETFL, O_NONBLOCK);
    }
    return descriptor;
#endif
}

void server_listeners_update(struct server *server)
{
    for (struct listener *listener = server->listeners; listener != NULL; listener = listener->next) {
        if (server->accepting && !server->resting) {
            event_add(listener->acceptable, NULL);
        } else {
            event_del(listener->acceptable);
        }
    }
}

void server_rested(evutil_socket_t descriptor, short what, void *context)
{
    struct server *server = context;

    (void)descriptor;
    (void)what;
    server->resting = false;
    if (server->spare < 0) {
        server->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    server_listeners_update(server);
}

static void rest(struct server *server)
{
    const struct timeval wait = {.tv_usec = REST};

    server->resting = true;
    server_listeners_update(server);
    event_add(server->rested, &wait);
}

/* There is no descriptor, or no memory for one (NUMBER is the errno). The owner is told once until it has passed. */
static void shed(struct server *server, const struct listener *listener, int number)
{
    if (server->spare >= 0) {
        close(server->spare);
        int descriptor = accept_descriptor(listener->descriptor);
        if (descriptor >= 0) {
            close(descriptor);
            server->counters.refused++;
        }
        server->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    if (!server->shedding) {
        char what[128];
        snprintf(what, sizeof(what), "cannot accept connections: %s", strerror(number));
        server->shedding = true;
        server_trouble(server, what, -1);
    }
    rest(server);
}

static void welcome(struct server *server, int descriptor, enum address_kind kind)
{
    unsigned limit = server->settings.max_connections;

    if (limit != 0 && server->counters.connections >= limit) {
        char what[64];
        snprintf(what, sizeof(what), "refused: there are %u connections already", limit);
        server->counters.refused++;
        server_trouble(server, what, descriptor);
        close(descriptor);
        return;
    }
    switch (connection_new(server, descriptor, kind)) {
    case MP_OK:
        server->counters.accepted++;
        break;
    case MP_ERR_CLOSED:
        server->counters.accepted++;
        close(descriptor);
        break;
    default:
        server->counters.refused++;
        server_trouble(server, "refused: no memory", descriptor);
        close(descriptor);
        break;
    }
}

static void acceptable(evutil_socket_t descriptor, short what, void *context)
{
    struct listener *listener = context;
    struct server *server = listener->server;

    (void)descriptor;
    (void)what;
    for (int i = 0; i < ACCEPTS_A_TURN && server->accepting; i++) {
        int accepted = accept_descriptor(listener->descriptor);
        if (accepted >= 0) {
            server->shedding = false;
            welcome(server, accepted, listener->kind);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            shed(server, listener, errno);
            return;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } /* anything else was the fate of that one connection */
    }
}

static enum mp_error add_listener(struct server *server, int descriptor, enum address_kind kind, const char *path,
                                  struct fault *fault)
{
    struct listener *listener = memory_allocate(sizeof(*listener));
    struct stat status;

    if (listener == NULL) {
        return fault_memory(fault);
    }
    listener->server = server;
    listener->descriptor = descriptor;
    listener->kind = kind;
    listener->acceptable = event_new(server->base, descriptor, EV_READ | EV_PERSIST, acceptable, listener);
    if (listener->acceptable == NULL) {
        memory_release(listener);
        return fault_memory(fault);
    }
    if (path != NULL && lstat(path, &status) == 0) {
        listener->device = status.st_dev;
        listener->inode = status.st_ino;
        listener->path = memory_copy_text(path, strlen(path)); /* without memory the file stays: no harm */
    }
    listener->next = server->listeners;
    server->listeners = listener;
    server_listeners_update(server);
    return MP_OK;
}

enum mp_error server_listen(struct server *server, struct address *address, struct fault *fault)
{
    int descriptor;
    enum mp_error error = address_listen(address, &descriptor, fault);

    if (error != MP_OK) {
        return error;
    }
    error = add_listener(server, descriptor, address->kind, address->kind == ADDRESS_IPC ? address->path : NULL, fault);
    if (error != MP_OK) {
        close(descriptor);
        if (address->kind == ADDRESS_IPC) {
            unlink(address->path);
        }
    }
    return error;
}

enum mp_error server_adopt(struct server *server, int descriptor, enum address_kind kind, struct fault *fault)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof(name);

    if (getsockname(descriptor, (struct sockaddr *)&name, &size) != 0) {
        return fault_system(fault, MP_ERR_INVALID, errno, "descriptor %d is no socket", descriptor);
    }
    bool local = name.ss_family == AF_UNIX;
    if (local != (kind == ADDRESS_IPC) || (!local && name.ss_family != AF_INET && name.ss_family != AF_INET6)) {
        return fault_set(fault, MP_ERR_INVALID, "descriptor %d is no %s socket", descriptor,
                         kind == ADDRESS_IPC ? "Unix" : "TCP");
    }
#ifdef SO_ACCEPTCONN
    int listening = 0;
    size = sizeof(listening);
    if (getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && !listening) {
        return fault_set(fault, MP_ERR_INVALID, "descriptor %d does not listen", descriptor);
    }
#endif
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0) {
        return fault_system(fault, MP_ERR_IO, errno, "descriptor %d", descriptor);
    }
    return add_listener(server, descriptor, kind, NULL, fault);
}

enum mp_error server_join(struct server *server, int descriptor, enum address_kind kind, server_connection *id,
                          struct fault *fault)
{
    enum mp_error error = connection_new(server, descriptor, kind);

    if (error == MP_ERR_CLOSED) {
        return fault_set(fault, MP_ERR_IO, "the connection was closed at once");
    }
    if (error != MP_OK) {
        return fault_memory(fault);
    }
    struct connection *connection = server->greeting.last;
    connection->joined = true;
    *id = connection->id;
    return MP_OK;
}

void server_listeners_free(struct server *server)
{
    struct listener *listener;
    struct stat status;

    while ((listener = server->listeners) != NULL) {
        server->listeners = listener->next;
        event_free(listener->acceptable);
        /* Somebody else's may be there by now. */
        if (listener->path != NULL && lstat(listener->path, &status) == 0 && status.st_dev == listener->device &&
            status.st_ino == listener->inode) {
            unlink(listener->path);
        }
        close(listener->descriptor);
        memory_release(listener->path);
        memory_release(listener);
    }
}

void server_accept(struct server *server, bool accept)
{
    server->accepting = accept;
    server_listeners_update(server);
}
