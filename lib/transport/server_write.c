/*
 * server_write.c: from messages to bytes.
 *
 * A message is written at once, without a copy, as far as the socket takes it. What is left is queued: parts that come
 * with a release are held, the others copied.
 */
#include "transport/server_private.h"

#include "base/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif

enum {
    PARTS_A_WRITE = 512,
    WRITES_A_TURN = 8 /* a fast reader is not to keep the loop for itself */
};

static void release_part(struct server_part *part)
{
    if (part->release != NULL) {
        part->release(part->owner);
    }
}

static void release_parts(const struct server_part *parts, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct server_part part = parts[i];
        release_part(&part);
    }
}

static void output_free(struct output *output)
{
    for (; output->at < output->count; output->at++) {
        release_part(&output->parts[output->at]);
    }
    memory_release(output);
}

void connection_drop_output(struct connection *connection)
{
    struct output *output;

    while ((output = connection->first) != NULL) {
        connection->first = output->next;
        output_free(output);
    }
    connection->last = NULL;
    connection->unsent = 0;
}

/* Writes; the bytes taken are in *WRITTEN, 0 when the socket is full. False: the connection is broken. */
static bool write_some(const struct connection *connection, struct iovec *vector, size_t count, size_t *written)
{
    struct msghdr message = {.msg_iov = vector};
    ssize_t outcome;
#ifdef MSG_NOSIGNAL
    int flags = MSG_NOSIGNAL;
#else
    int flags = 0;
#endif

    message.msg_iovlen = (__typeof__(message.msg_iovlen))count;
    do {
        outcome = sendmsg(connection->descriptor, &message, flags);
    } while (outcome < 0 && errno == EINTR);
    *written = outcome > 0 ? (size_t)outcome : 0;
    return outcome >= 0 || errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS;
}

/* ---- the queue ------------------------------------------------------------------------------------------------ */

/* Takes WRITTEN bytes off the queue. */
static void advance(struct connection *connection, size_t written)
{
    connection->unsent -= written;
    while (connection->first != NULL) {
        struct output *output = connection->first;

        while (output->at < output->count && written >= output->parts[output->at].size) {
            written -= output->parts[output->at].size;
            release_part(&output->parts[output->at++]);
        }
        if (output->at < output->count) {
            struct server_part *part = &output->parts[output->at];
            part->data = (const uint8_t *)part->data + written;
            part->size -= written;
            return;
        }
        connection->first = output->next;
        memory_release(output);
    }
    connection->last = NULL;
}

static size_t gather(const struct connection *connection, struct iovec vector[PARTS_A_WRITE])
{
    size_t count = 0;

    for (const struct output *output = connection->first; output != NULL; output = output->next) {
        for (unsigned i = output->at; i < output->count; i++) {
            if (count == PARTS_A_WRITE) {
                return count;
            }
            vector[count++] =
                (struct iovec){.iov_base = (void *)(uintptr_t)output->parts[i].data, .iov_len = output->parts[i].size};
        }
    }
    return count;
}

void connection_writable(evutil_socket_t descriptor, short what, void *context)
{
    struct connection *connection = context;
    struct iovec vector[PARTS_A_WRITE];

    (void)descriptor;
    (void)what;
    for (int i = 0; i < WRITES_A_TURN && connection->first != NULL; i++) {
        size_t written;
        if (!write_some(connection, vector, gather(connection, vector), &written)) {
            connection_end(connection);
            return;
        }
        advance(connection, written);
        if (written == 0) {
            break;
        }
    }
    if (connection->first == NULL) {
        event_del(connection->writable);
    }
    if (connection->unsent <= connection->server->settings.unsent_limit / 2) {
        connection_resume(connection, PAUSED_BY_UNSENT);
    }
}

/*
 * Queues PARTS behind their first WRITTEN bytes. All of them are the queue's afterwards, also when there is no memory
 * for it (false).
 */
static bool enqueue(struct connection *connection, const struct server_part *parts, unsigned count, size_t written)
{
    size_t copied = 0;
    size_t skip = written;

    for (unsigned i = 0; i < count; i++) {
        size_t gone = skip < parts[i].size ? skip : parts[i].size;
        skip -= gone;
        copied += parts[i].release == NULL ? parts[i].size - gone : 0;
    }
    struct output *output = memory_reallocate(NULL, sizeof(*output) + count * sizeof(output->parts[0]) + copied);
    if (output == NULL) {
        release_parts(parts, count);
        return false;
    }
    *output = (struct output){.count = count};
    uint8_t *copy = (uint8_t *)&output->parts[count];
    for (unsigned i = 0; i < count; i++) {
        struct server_part part = parts[i];
        size_t gone = written < part.size ? written : part.size;
        written -= gone;
        part.size -= gone;
        part.data = part.size > 0 ? (const uint8_t *)part.data + gone : NULL;
        if (part.release == NULL && part.size > 0) {
            memcpy(copy, part.data, part.size);
            part.data = copy;
            copy += part.size;
        }
        output->parts[i] = part;
        connection->unsent += part.size;
    }
    *(connection->last != NULL ? &connection->last->next : &connection->first) = output;
    connection->last = output;
    advance(connection, 0); /* releases what is empty at the front */
    return true;
}

/* ---- corking -------------------------------------------------------------------------------------------------- */

static void cork(struct connection *connection)
{
    struct server *server = connection->server;

    if (!connection->corked) {
        connection->corked = true;
        connection->next_corked = server->corked_first;
        server->corked_first = connection;
    }
}

void connection_uncork(struct connection *connection)
{
    struct connection **at = &connection->server->corked_first;

    if (!connection->corked) {
        return;
    }
    while (*at != connection) {
        at = &(*at)->next_corked;
    }
    *at = connection->next_corked;
    connection->corked = false;
}

void server_cork(struct server *server, bool corked)
{
    struct connection *connection;

    server->corked = corked;
    while (!corked && (connection = server->corked_first) != NULL) {
        connection_uncork(connection);
        if (event_pending(connection->writable, EV_WRITE, NULL)) {
            continue; /* the socket was full, and the loop will tell */
        }
        /* Mostly all of it goes at once: the loop is asked to watch only for what is left. */
        connection_writable(connection->descriptor, EV_WRITE, connection);
        if (!connection_ended(connection) && connection->first != NULL && event_add(connection->writable, NULL) != 0) {
            connection_end(connection);
        }
    }
}

size_t server_unread(const struct server *server, server_connection id)
{
    const struct connection *connection = server_find(server, id);
    int outside = 0;

    if (connection == NULL) {
        return 0;
    }
#if defined(__linux__)
    if (ioctl(connection->descriptor, SIOCOUTQ, &outside) != 0) {
        outside = 0;
    }
#elif defined(SO_NWRITE)
    socklen_t size = sizeof(outside);
    if (getsockopt(connection->descriptor, SOL_SOCKET, SO_NWRITE, &outside, &size) != 0) {
        outside = 0;
    }
#endif
    return connection->unsent + (size_t)(outside > 0 ? outside : 0);
}

void server_half_close(struct server *server, server_connection id)
{
    const struct connection *connection = server_find(server, id);

    if (connection != NULL && connection->unsent == 0) {
        shutdown(connection->descriptor, SHUT_WR);
    }
}

/* ---- sending -------------------------------------------------------------------------------------------------- */

static size_t write_prefix(enum address_kind kind, const uint32_t *ids, unsigned ids_count, uint64_t payload,
                           uint8_t prefix[SERVER_PREFIX])
{
    size_t size = 0;
    uint64_t length = payload + 4U * ids_count;

    if (kind == ADDRESS_IPC) {
        prefix[size++] = 1;
    }
    for (int shift = 56; shift >= 0; shift -= 8) {
        prefix[size++] = (uint8_t)(length >> shift);
    }
    if (ids_count > 0) {
        memcpy(prefix + size, ids, 4U * ids_count);
    }
    return size + 4U * ids_count;
}

/* Writes or queues; the parts are no longer the caller's. */
static bool send_parts(struct connection *connection, const struct server_part *parts, unsigned count, size_t total)
{
    size_t written = 0;

    if (connection->first == NULL && count <= PARTS_A_WRITE && !connection->server->corked) {
        struct iovec vector[PARTS_A_WRITE];
        for (unsigned i = 0; i < count; i++) {
            vector[i] = (struct iovec){.iov_base = (void *)(uintptr_t)parts[i].data, .iov_len = parts[i].size};
        }
        if (!write_some(connection, vector, count, &written)) {
            release_parts(parts, count);
            return false;
        }
        if (written == total) {
            release_parts(parts, count);
            return true;
        }
    }
    bool waits = connection->first != NULL;
    if (!enqueue(connection, parts, count, written)) {
        return false;
    }
    if (connection->server->corked) {
        cork(connection);
        return true;
    }
    return waits || event_add(connection->writable, NULL) == 0;
}

bool server_send(struct server *server, server_connection id, const uint32_t *ids, unsigned ids_count,
                 const struct server_part *parts, unsigned count)
{
    enum { USUAL = 16 };
    struct connection *connection = server_find(server, id);
    struct server_part usual[USUAL];
    struct server_part *all = usual;
    uint8_t prefix[SERVER_PREFIX];
    size_t payload = 0;

    if (count >= USUAL) {
        all = memory_allocate_array((size_t)count + 1, sizeof(*all));
    }
    if (connection == NULL || !connection->greeted || ids_count > SERVER_HOPS || all == NULL) {
        release_parts(parts, count);
        if (all != usual) {
            memory_release(all);
        }
        if (connection != NULL) {
            connection_end(connection); /* what should go to it cannot: it would wait for ever */
        }
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        payload += parts[i].size;
        all[i + 1] = parts[i];
    }
    size_t size = write_prefix(connection->kind, ids, ids_count, payload, prefix);
    all[0] = (struct server_part){.data = prefix, .size = size};
    bool sent = send_parts(connection, all, count + 1, size + payload);
    if (all != usual) {
        memory_release(all);
    }
    if (sent) {
        server->counters.sent++;
        server->counters.sent_bytes += payload;
    } else {
        connection_end(connection);
    }
    return sent;
}
