/*
 * server_read.c: from bytes to messages.
 *
 * All connections read into one scratch buffer, and what is whole there is copied out of it. A message of which only
 * the beginning was there gets its own memory, and the rest is read straight into it. What is too short to tell how
 * long the message is waits in the connection's stash, which is all the memory an idle connection has.
 */
#include "transport/server_private.h"

#include "base/buffer.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* How far a step of taking bytes apart came. */
enum progress { TAKEN, INCOMPLETE, ENDED };

static size_t smaller(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* Gives the message that was being received to the owner. */
static void deliver(struct connection *connection)
{
    struct server *server = connection->server;
    struct server_message *message = connection->incoming;

    connection->incoming = NULL;
    connection->incoming_size = 0;
    connection->incoming_mark = 0;
    connection->stalled = 0;
    connection->large = message->size >= SERVER_LARGE;
    server->counters.received++;
    server->counters.received_bytes += message->size;
    server->settings.received(server->settings.context, message);
}

/* What stands before a payload. */
struct prefix {
    size_t size;      /* bytes of it on the wire */
    uint64_t payload; /* bytes that follow */
    uint32_t ids[SERVER_HOPS];
    unsigned ids_count;
};

/* The ids of a request: words, of which the last has its top bit set. */
static enum progress take_ids(struct connection *connection, const uint8_t *data, size_t size, struct prefix *prefix)
{
    bool last = false;

    while (!last) {
        if (prefix->ids_count == SERVER_HOPS) {
            connection_fault(connection, "a request that came by more than %d others", SERVER_HOPS);
            return ENDED;
        }
        if (prefix->payload < 4) {
            connection_fault(connection, "a request without an id");
            return ENDED;
        }
        if (size < prefix->size + 4) {
            return INCOMPLETE;
        }
        /* A pair's one word is the number of hops. */
        last = (data[prefix->size] & 0x80) != 0 || connection->server->settings.protocol == SERVER_PAIR1;
        memcpy(&prefix->ids[prefix->ids_count++], data + prefix->size, 4);
        prefix->size += 4;
        prefix->payload -= 4;
    }
    return TAKEN;
}

static enum progress take_prefix(struct connection *connection, const uint8_t *data, size_t size, struct prefix *prefix)
{
    const struct server *server = connection->server;
    size_t type = connection->kind == ADDRESS_IPC ? 1 : 0;
    size_t limit = server->settings.max_message;

    if (type == 1 && data[0] != 1) {
        connection_fault(connection, "a message of the unknown kind %u", data[0]);
        return ENDED;
    }
    if (size < type + 8) {
        return INCOMPLETE;
    }
    prefix->size = type + 8;
    prefix->payload = load_big(data + type, 8);
    if (prefix->payload <= limit + (server->ids ? 4 * SERVER_HOPS : 0)) {
        enum progress progress = server->ids ? take_ids(connection, data, size, prefix) : TAKEN;
        if (progress != TAKEN) {
            return progress;
        }
    }
    if (prefix->payload > limit) {
        connection_fault(connection, "a message of %llu bytes, where %zu are allowed",
                         (unsigned long long)prefix->payload, limit);
        return ENDED;
    }
    return TAKEN;
}

/* Whether a long message of somebody unknown is welcome: its beginning has to be there to tell. */
static enum progress ask_owner(struct connection *connection, const uint8_t *data, size_t size,
                               const struct prefix *prefix)
{
    const struct server_settings *settings = &connection->server->settings;
    size_t head = smaller(SERVER_HEAD, (size_t)prefix->payload);

    if (connection->trusted || prefix->payload <= settings->stranger_message) {
        return TAKEN;
    }
    if (settings->admit != NULL) {
        if (size - prefix->size < head) {
            return INCOMPLETE;
        }
        if (settings->admit(settings->context, connection->id, data + prefix->size, head, prefix->payload)) {
            return connection_ended(connection) ? ENDED : TAKEN;
        }
    }
    connection_fault(connection, "a message of %llu bytes of a peer that has not said who it is",
                     (unsigned long long)prefix->payload);
    return ENDED;
}

/* Takes one message, or the beginning of one, from DATA; *USED says how many bytes that were. */
static enum progress take_message(struct connection *connection, const uint8_t *data, size_t size, size_t *used)
{
    struct prefix prefix = {0};
    enum progress progress = take_prefix(connection, data, size, &prefix);

    if (progress == TAKEN) {
        progress = ask_owner(connection, data, size, &prefix);
    }
    if (progress != TAKEN) {
        return progress;
    }
    struct server_message *message = server_message_new(connection->server, (size_t)prefix.payload);
    if (message == NULL) {
        connection_fault(connection, "no memory for a message of %llu bytes", (unsigned long long)prefix.payload);
        return ENDED;
    }
    message->connection = connection->id;
    message->ids_count = prefix.ids_count;
    memcpy(message->ids, prefix.ids, sizeof(prefix.ids));

    size_t there = smaller(size - prefix.size, message->size);
    memcpy(message->data, data + prefix.size, there);
    *used = prefix.size + there;
    connection->incoming = message;
    connection->incoming_size = there;
    if (there == message->size) {
        deliver(connection);
    }
    return connection_ended(connection) ? ENDED : TAKEN;
}

/* Takes SIZE bytes apart; what is left over is stashed. */
static void take_bytes(struct connection *connection, const uint8_t *data, size_t size)
{
    while (size > 0) {
        size_t used = 0;

        switch (take_message(connection, data, size, &used)) {
        case TAKEN:
            data += used;
            size -= used;
            break;
        case INCOMPLETE:
            memcpy(connection->stash, data, size); /* shorter than SERVER_STASH, or else it could be told apart */
            connection->stash_size = size;
            return;
        case ENDED:
            return;
        }
    }
}

/* What a read() said: the bytes, 0 when there is nothing now or the connection has ended. */
static size_t read_outcome(struct connection *connection, ssize_t count)
{
    if (count > 0) {
        return (size_t)count;
    }
    if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        connection_end(connection);
    }
    return 0;
}

/* Reads no further than the greeting. */
static void read_greeting(struct connection *connection)
{
    static const uint8_t start[4] = {0, 'S', 'P', 0};
    uint8_t *greeting = connection->stash;
    size_t wanted = SERVER_GREETING - connection->stash_size;

    connection->stash_size +=
        read_outcome(connection, read(connection->descriptor, greeting + connection->stash_size, wanted));
    if (connection_ended(connection)) {
        return;
    }
    if (memcmp(greeting, start, smaller(connection->stash_size, sizeof(start))) != 0) {
        connection_fault(connection, "not a greeting of the SP protocols");
        return;
    }
    if (connection->stash_size < SERVER_GREETING) {
        return;
    }
    uint64_t protocol = load_big(greeting + 4, 2);
    if (greeting[6] != 0 || greeting[7] != 0) {
        connection_fault(connection, "a greeting of an unknown version");
    } else if (protocol != connection->server->partner) {
        const char *name = server_protocol_name((unsigned)protocol);
        connection_fault(connection, "a peer of the wrong kind, %s (0x%02x), where %s is needed",
                         name != NULL ? name : "unknown", (unsigned)protocol,
                         server_protocol_name(connection->server->partner));
    } else {
        connection->stash_size = 0;
        connection_greeted(connection);
    }
}

/* The rest of the message under way, and with it, if there is memory for more, what follows: LOOK bytes in all. */
static size_t read_rest(struct connection *connection, size_t look, bool *drained)
{
    struct server *server = connection->server;
    struct server_message *message = connection->incoming;
    size_t wanted = message->size - connection->incoming_size;
    bool more = look > wanted && server->counters.held < server->settings.total_budget;
    size_t behind = more ? look - wanted : 0;
    struct iovec into[2] = {{.iov_base = message->data + connection->incoming_size, .iov_len = wanted},
                            {.iov_base = server->scratch, .iov_len = behind}};
    size_t count = read_outcome(connection, readv(connection->descriptor, into, more ? 2 : 1));

    *drained = count < wanted + behind;
    connection->incoming_size += smaller(count, wanted);
    if (count >= wanted) {
        deliver(connection);
        if (!connection_ended(connection)) {
            take_bytes(connection, server->scratch, count - wanted);
        }
    }
    return count;
}

/* LOOK bytes at most, with what is stashed. */
static size_t read_new(struct connection *connection, size_t look, bool *drained)
{
    uint8_t *scratch = connection->server->scratch;
    size_t stashed = connection->stash_size;
    size_t wanted = look - stashed;

    memcpy(scratch, connection->stash, stashed);
    size_t count = read_outcome(connection, read(connection->descriptor, scratch + stashed, wanted));
    *drained = count < wanted;
    if (count > 0) {
        connection->stash_size = 0;
        take_bytes(connection, scratch, stashed + count);
    }
    return count;
}

/*
 * Reads until the budget of a turn is spent; but a message that has begun is read to its end, if it is there. A message
 * may begin while any of the total budget is left, and once begun it is never stopped: so there is always one that can
 * end, and the budget is exceeded by no more than one message and the scratch buffer.
 */
void connection_readable(evutil_socket_t descriptor, short what, void *context)
{
    struct connection *connection = context;
    const struct server *server = connection->server;
    size_t taken = 0;
    bool drained = false;

    (void)descriptor;
    (void)what;
    if (!connection->greeted) {
        read_greeting(connection);
        return;
    }
    while (!drained && !connection_ended(connection)) {
        size_t left = taken < server->settings.read_budget ? server->settings.read_budget - taken : 0;
        size_t look = connection->large ? SERVER_LOOK : SERVER_SCRATCH;

        if (connection->unsent > server->settings.unsent_limit) {
            connection_pause(connection, PAUSED_BY_UNSENT);
            return;
        }
        if (connection->incoming != NULL) {
            size_t wanted = connection->incoming->size - connection->incoming_size;
            taken += read_rest(connection, smaller(left, wanted + look), &drained);
        } else if (server->counters.held >= server->settings.total_budget) {
            connection_pause(connection, PAUSED_BY_BUDGET);
            return;
        } else if (left > 0) {
            taken += read_new(connection, smaller(look, SERVER_STASH + left), &drained);
        } else {
            return;
        }
    }
}
