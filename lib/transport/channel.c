/*
 * channel.c: the channel over sockets that speak the REQ side of the SP protocols (server.h says what that looks like).
 *
 * There are no threads: a lane goes on when its owner sends or receives. A request is kept, as the bytes on the wire,
 * until its reply has come; when the connection ends before, it is written again on the next one, with the same id. A
 * reply whose id is not that of the request under way is dropped.
 *
 * Why not libnng's REQ socket: with libnng 1.5.2 a connection that ends while a request is being written can stop the
 * thread that makes new ones, for good (seen after 1,000 to 3,000 such ends), and so can nng_close() while something
 * arrives (seen within 300). Measured on two cores, ipc, libnng's first: a round trip 87-105 and 56-73 µs, 1 MiB
 * requests 3.1 and 4.0 GB/s, the same on four lanes at once 1.3 and 4.4 GB/s.
 */
#include "transport/channel.h"

#include "base/clock.h"
#include "base/memory.h"
#include "transport/address.h"
#include "transport/channel_poll.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    GREETING = 8,
    PREFIX_MAXIMUM = 1 + 8 + 4, /* IPC's byte, the length, the id */
    SCRATCH = 16 * 1024,
    KEPT_MEMORY = 2 * 1024 * 1024, /* a request's memory up to this size is used for the next one */
    SEND_BUFFER = 2 * 1024 * 1024, /* so that a frame goes out in one piece; the system may allow less */
    /* The largest frame is that of the largest message, and a reply can hold one and a little more. */
    REPLY_MAXIMUM = 64 * 1024 * 1024 + 1024 * 1024
};

/* Microseconds. */
#define RETRY_MINIMUM INT64_C(10000)
#define RETRY_MAXIMUM INT64_C(250000)
#define CONNECT_MAXIMUM INT64_C(5000000)

enum stage {
    ABSENT,     /* no connection, and none is tried */
    RETRYING,   /* none, and one is tried when it is due */
    CONNECTING, /* TCP's connect() is under way, until it is due */
    GREETS,     /* the other end's greeting is awaited */
    READY
};

struct lane {
    struct channel_sockets *channel;
    enum channel_lane lane;
    enum stage stage;
    int descriptor;
    int64_t due;
    int64_t retry;          /* the next delay */
    struct addrinfo *found; /* TCP: what the host's name stands for */
    struct addrinfo *next;  /* the next of them to be tried */

    bool busy;
    uint32_t id;
    uint8_t *request; /* as it goes over the wire */
    size_t request_size;
    size_t request_memory;
    size_t written;
    bool watched; /* for room to write the rest */

    struct channel_reply *incoming;
    size_t incoming_size; /* bytes of it that are there */
    uint32_t incoming_id;
    size_t stash_size;
    uint8_t stash[PREFIX_MAXIMUM];
};

struct channel_sockets {
    struct channel channel;
    struct address address;
    struct channel_poll poll;
    struct lane lanes[CHANNEL_LANES];
    unsigned short dice[3];
};

static struct channel_sockets *sockets_of(struct channel *channel)
{
    return (struct channel_sockets *)channel;
}

void channel_reply_free(struct channel_reply *reply)
{
    if (reply != NULL) {
        if (reply->release != NULL) {
            reply->release(reply->owner);
        }
        memory_release(reply);
    }
}

/* ---- connections ---------------------------------------------------------------------------------------------- */

static void disconnect(struct lane *lane)
{
    if (lane->descriptor >= 0) {
        close(lane->descriptor);
    }
    lane->descriptor = -1;
    lane->stage = ABSENT;
    lane->due = CLOCK_NEVER;
    lane->stash_size = 0;
    lane->written = 0;
    lane->watched = false;
    channel_reply_free(lane->incoming);
    lane->incoming = NULL;
}

/* The connection has ended, or could not be made. Without a request there is no need for another. */
static void lost(struct lane *lane)
{
    disconnect(lane);
    if (!lane->busy) {
        return;
    }
    /* Not all clients at once. */
    int64_t part = (int64_t)(erand48(lane->channel->dice) * (double)lane->retry / 2);
    lane->stage = RETRYING;
    lane->due = clock_monotonic() + lane->retry - part;
    lane->retry = lane->retry * 2 < RETRY_MAXIMUM ? lane->retry * 2 : RETRY_MAXIMUM;
}

static void tune(int descriptor, enum address_kind kind)
{
    int on = 1;
    int size = SEND_BUFFER;

    /* What cannot be set only makes it slower, or later to notice that the other host has gone. */
    if (kind == ADDRESS_IPC) {
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    } else {
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
#ifdef TCP_KEEPIDLE
        int idle = 30;
        int interval = 10;
        setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
        setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
#endif
#ifdef TCP_USER_TIMEOUT
        unsigned timeout = 60000;
        setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
#endif
    }
#ifdef SO_NOSIGPIPE
    setsockopt(descriptor, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
#endif
}

static int send_flags(void)
{
#ifdef MSG_NOSIGNAL
    return MSG_NOSIGNAL;
#else
    return 0;
#endif
}

/* The connection is made: says who this is. A new socket has room for it. */
static bool greet(struct lane *lane)
{
    static const uint8_t greeting[GREETING] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};

    if (send(lane->descriptor, greeting, sizeof(greeting), send_flags()) != GREETING) {
        return false;
    }
    lane->stage = GREETS;
    lane->due = CLOCK_NEVER;
    return true;
}

/* Starts to connect; false when that has failed already. */
static bool connect_to(struct lane *lane, int family, const struct sockaddr *name, socklen_t size)
{
    lane->descriptor = socket(family, SOCK_STREAM, 0);
    if (lane->descriptor < 0 || fcntl(lane->descriptor, F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(lane->descriptor, F_SETFL, O_NONBLOCK) != 0) {
        return false;
    }
    tune(lane->descriptor, lane->channel->address.kind);
    bool done = connect(lane->descriptor, name, size) == 0;
    if (!done && errno != EINPROGRESS) {
        return false;
    }
    if (!channel_poll_add(&lane->channel->poll, lane->descriptor, !done, lane)) {
        return false;
    }
    if (done) {
        return greet(lane);
    }
    lane->stage = CONNECTING;
    lane->due = clock_monotonic() + CONNECT_MAXIMUM;
    return true;
}

/* The next of the addresses that the host's name stands for. A name is looked up again when none of them answered. */
static bool connect_tcp(struct lane *lane)
{
    const struct address *address = &lane->channel->address;

    if (lane->next == NULL) {
        if (lane->found != NULL) {
            freeaddrinfo(lane->found);
            lane->found = NULL;
        }
        if (address_look_up(address, false, &lane->found) != 0) {
            return false;
        }
        lane->next = lane->found;
    }
    const struct addrinfo *info = lane->next;
    lane->next = info->ai_next;
    return connect_to(lane, info->ai_family, info->ai_addr, info->ai_addrlen);
}

static bool connect_ipc(struct lane *lane)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    memcpy(name.sun_path, lane->channel->address.path, sizeof(name.sun_path));
    return connect_to(lane, AF_UNIX, (const struct sockaddr *)&name, sizeof(name));
}

static void start_connecting(struct lane *lane)
{
    bool ipc = lane->channel->address.kind == ADDRESS_IPC;

    if (!(ipc ? connect_ipc(lane) : connect_tcp(lane))) {
        lost(lane);
    }
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

/* Writes what the socket takes, and waits for room when some is left; false when the connection has ended. */
static bool write_request(struct lane *lane)
{
    bool full = false;

    while (lane->busy && lane->written < lane->request_size && !full) {
        ssize_t count =
            send(lane->descriptor, lane->request + lane->written, lane->request_size - lane->written, send_flags());
        if (count >= 0) {
            lane->written += (size_t)count;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) {
            full = true;
        } else if (errno != EINTR) {
            return false;
        }
    }
    if (full != lane->watched) {
        lane->watched = full;
        return channel_poll_change(&lane->channel->poll, lane->descriptor, full, lane);
    }
    return true;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

static uint64_t load_big_endian(const uint8_t *at, int bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static size_t smaller(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* Begins a reply with the prefix at DATA; *USED is its size, or 0 when it is not all there. False: nonsense. */
static bool take_prefix(struct lane *lane, const uint8_t *data, size_t size, size_t *used)
{
    size_t type = lane->channel->address.kind == ADDRESS_IPC ? 1 : 0;

    *used = 0;
    if (size > 0 && type == 1 && data[0] != 1) {
        return false;
    }
    if (size < type + 8 + 4) {
        return true;
    }
    uint64_t length = load_big_endian(data + type, 8);
    if (length < 4 || length > REPLY_MAXIMUM) {
        return false;
    }
    size_t payload = (size_t)length - 4;
    struct channel_reply *reply = memory_reallocate(NULL, sizeof(*reply) + payload);
    if (reply == NULL) {
        return false; /* the request is sent again; by then there may be memory */
    }
    *reply = (struct channel_reply){.lane = lane->lane, .data = (uint8_t *)(reply + 1), .size = payload};
    lane->incoming = reply;
    lane->incoming_size = 0;
    lane->incoming_id = (uint32_t)load_big_endian(data + type + 8, 4);
    *used = type + 8 + 4;
    return true;
}

/* The reply that has come whole, if it is the one that is awaited. */
static struct channel_reply *take_reply(struct lane *lane)
{
    struct channel_reply *reply = lane->incoming;

    if (reply == NULL || lane->incoming_size < reply->size) {
        return NULL;
    }
    lane->incoming = NULL;
    if (!lane->busy || lane->incoming_id != lane->id || lane->written < lane->request_size) {
        channel_reply_free(reply);
        return NULL;
    }
    lane->busy = false;
    lane->retry = RETRY_MINIMUM; /* only now: one that greets and closes is no good connection */
    if (lane->request_memory > KEPT_MEMORY) {
        memory_release(lane->request);
        lane->request = NULL;
        lane->request_memory = 0;
    }
    return reply;
}

/* Takes SIZE bytes apart; the reply in *REPLY. False: nonsense. */
static bool take_bytes(struct lane *lane, const uint8_t *data, size_t size, struct channel_reply **reply)
{
    while (size > 0) {
        size_t used;
        if (!take_prefix(lane, data, size, &used)) {
            return false;
        }
        if (used == 0) {
            memcpy(lane->stash, data, size);
            lane->stash_size = size;
            return true;
        }
        size_t there = smaller(size - used, lane->incoming->size);
        memcpy((uint8_t *)(lane->incoming + 1), data + used, there);
        lane->incoming_size = there;
        data += used + there;
        size -= used + there;
        struct channel_reply *whole = take_reply(lane);
        if (whole != NULL) {
            *reply = whole; /* there is only one: the lane is idle now */
        }
    }
    return true;
}

/* Reads once; false when the connection has ended. */
static bool read_replies(struct lane *lane, struct channel_reply **reply)
{
    uint8_t scratch[SCRATCH];
    ssize_t count;

    if (lane->incoming != NULL) {
        count = recv(lane->descriptor, (uint8_t *)(lane->incoming + 1) + lane->incoming_size,
                     lane->incoming->size - lane->incoming_size, 0);
        if (count > 0) {
            lane->incoming_size += (size_t)count;
            *reply = take_reply(lane);
        }
    } else {
        size_t stashed = lane->stash_size;
        memcpy(scratch, lane->stash, stashed);
        count = recv(lane->descriptor, scratch + stashed, sizeof(scratch) - stashed, 0);
        if (count > 0) {
            lane->stash_size = 0;
            return take_bytes(lane, scratch, stashed + (size_t)count, reply);
        }
    }
    return count > 0 || (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
}

/* Reads the other end's greeting, and no further; then the request goes out. */
static bool read_greeting(struct lane *lane)
{
    static const uint8_t wanted[GREETING] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    ssize_t count = recv(lane->descriptor, lane->stash + lane->stash_size, GREETING - lane->stash_size, 0);

    if (count <= 0) {
        return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    }
    lane->stash_size += (size_t)count;
    if (memcmp(lane->stash, wanted, lane->stash_size) != 0) {
        return false;
    }
    if (lane->stash_size == GREETING) {
        lane->stash_size = 0;
        lane->stage = READY;
        lane->next = NULL;
        return write_request(lane);
    }
    return true;
}

/* ---- going on ------------------------------------------------------------------------------------------------- */

static bool connect_outcome(int descriptor)
{
    int number = 0;
    socklen_t size = sizeof(number);

    return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &number, &size) == 0 && number == 0;
}

/* Something can be done on LANE's socket. */
static void lane_ready(struct lane *lane, struct channel_reply **reply)
{
    bool good = true;

    switch (lane->stage) {
    case ABSENT:
    case RETRYING:
        return;
    case CONNECTING:
        good = connect_outcome(lane->descriptor) &&
               channel_poll_change(&lane->channel->poll, lane->descriptor, false, lane) && greet(lane);
        break;
    case GREETS:
        good = read_greeting(lane);
        break;
    case READY:
        good = read_replies(lane, reply) && (!lane->watched || write_request(lane));
        break;
    }
    if (!good) {
        lost(lane);
    }
}

static void lanes_due(struct channel_sockets *sockets)
{
    int64_t next = CLOCK_NEVER;
    int64_t now = 0; /* read only when there is something to wait for */

    for (int i = 0; i < CHANNEL_LANES; i++) {
        struct lane *lane = &sockets->lanes[i];
        if (lane->due == CLOCK_NEVER) {
            continue;
        }
        now = now != 0 ? now : clock_monotonic();
        if (lane->due <= now) {
            if (lane->stage == CONNECTING) {
                lost(lane);
            } else {
                lane->due = CLOCK_NEVER;
                start_connecting(lane);
            }
        }
        next = lane->due < next ? lane->due : next;
    }
    channel_poll_timer(&sockets->poll, next);
}

static struct channel_reply *sockets_receive(struct channel *channel)
{
    struct channel_sockets *sockets = sockets_of(channel);
    struct channel_reply *reply = NULL;
    struct lane *lane;

    while (reply == NULL && (lane = channel_poll_next(&sockets->poll)) != NULL) {
        lane_ready(lane, &reply);
    }
    lanes_due(sockets);
    return reply;
}

/* ---- sending -------------------------------------------------------------------------------------------------- */

/* Keeps the request in LANE's memory, as it goes over the wire. */
static bool keep_request(struct lane *lane, const struct iovec *parts, int count)
{
    size_t payload = 4;
    for (int i = 0; i < count; i++) {
        payload += parts[i].iov_len;
    }
    if (payload + PREFIX_MAXIMUM > lane->request_memory) {
        uint8_t *memory = memory_reallocate(NULL, payload + PREFIX_MAXIMUM);
        if (memory == NULL) {
            return false;
        }
        memory_release(lane->request);
        lane->request = memory;
        lane->request_memory = payload + PREFIX_MAXIMUM;
    }
    uint8_t *at = lane->request;
    if (lane->channel->address.kind == ADDRESS_IPC) {
        *at++ = 1;
    }
    for (int shift = 56; shift >= 0; shift -= 8) {
        *at++ = (uint8_t)((uint64_t)payload >> shift);
    }
    lane->id = (lane->id + 1) | 0x80000000U;
    for (int shift = 24; shift >= 0; shift -= 8) {
        *at++ = (uint8_t)(lane->id >> shift);
    }
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len > 0) {
            memcpy(at, parts[i].iov_base, parts[i].iov_len);
            at += parts[i].iov_len;
        }
    }
    lane->request_size = (size_t)(at - lane->request);
    lane->written = 0;
    return true;
}

static enum mp_error sockets_send(struct channel *channel, enum channel_lane number, const struct iovec *parts,
                                  int count, struct fault *fault)
{
    struct channel_sockets *sockets = sockets_of(channel);
    struct lane *lane = &sockets->lanes[number];

    if (lane->busy) {
        return fault_set(fault, MP_ERR_INTERNAL, "a request is under way on lane %d already", (int)number);
    }
    if (!keep_request(lane, parts, count)) {
        return fault_memory(fault);
    }
    lane->busy = true;
    if (lane->stage == READY && !write_request(lane)) {
        lost(lane);
    } else if (lane->stage == ABSENT) {
        start_connecting(lane);
    }
    lanes_due(sockets);
    return MP_OK;
}

/* Half a request on the wire cannot be taken back: then only the connection can end. */
static void sockets_forget(struct channel *channel, enum channel_lane number)
{
    struct lane *lane = &sockets_of(channel)->lanes[number];

    if (!lane->busy) {
        return;
    }
    lane->busy = false;
    if (lane->stage == RETRYING || (lane->written > 0 && lane->written < lane->request_size)) {
        disconnect(lane);
    }
    lane->written = 0;
    lane->request_size = 0;
    lanes_due(sockets_of(channel));
}

static int sockets_descriptor(const struct channel *channel)
{
    return ((const struct channel_sockets *)channel)->poll.descriptor;
}

static bool sockets_connected(const struct channel *channel, enum channel_lane lane)
{
    return ((const struct channel_sockets *)channel)->lanes[lane].stage == READY;
}

static void drop_request(struct lane *lane)
{
    memory_release(lane->request);
    lane->request = NULL;
    lane->request_memory = 0;
}

static void sockets_trim(struct channel *channel)
{
    struct channel_sockets *sockets = sockets_of(channel);

    for (int i = 0; i < CHANNEL_LANES; i++) {
        struct lane *lane = &sockets->lanes[i];
        if (!lane->busy && lane->written == lane->request_size) {
            drop_request(lane);
            lane->written = lane->request_size = 0;
        }
    }
}

static void sockets_close(struct channel *channel)
{
    struct channel_sockets *sockets = sockets_of(channel);

    for (int i = 0; i < CHANNEL_LANES; i++) {
        struct lane *lane = &sockets->lanes[i];
        disconnect(lane);
        memory_release(lane->request);
        if (lane->found != NULL) {
            freeaddrinfo(lane->found);
        }
    }
    channel_poll_close(&sockets->poll);
    memory_release(sockets);
}

static const struct channel_operations operations = {
    .send = sockets_send,
    .receive = sockets_receive,
    .forget = sockets_forget,
    .descriptor = sockets_descriptor,
    .connected = sockets_connected,
    .trim = sockets_trim,
    .close = sockets_close,
};

enum mp_error channel_open(const char *url, struct channel **channel, struct fault *fault)
{
    struct address address;
    enum mp_error error = address_parse(url, &address, fault);

    *channel = NULL;
    if (error != MP_OK) {
        return error;
    }
    if (address.kind == ADDRESS_TCP &&
        (address.port == 0 || address.host[0] == '\0' || strcmp(address.host, "*") == 0)) {
        return fault_set(fault, MP_ERR_INVALID, "%s: to connect, a host and a port are needed: write tcp://host:port",
                         address.text);
    }
    struct channel_sockets *sockets = memory_allocate(sizeof(*sockets));
    if (sockets == NULL) {
        return fault_memory(fault);
    }
    sockets->channel.operations = &operations;
    sockets->address = address;
    if (!channel_poll_open(&sockets->poll)) {
        error = fault_system(fault, MP_ERR_IO, errno, "cannot connect to %s", address.text);
        memory_release(sockets);
        return error;
    }
    /* What a request's id is does not matter; that those of two clients differ helps whoever reads a trace. */
    uint64_t seed = (uint64_t)clock_monotonic() ^ (uint64_t)getpid() << 32;
    memcpy(sockets->dice, &seed, sizeof(sockets->dice));
    for (int i = 0; i < CHANNEL_LANES; i++) {
        struct lane *lane = &sockets->lanes[i];
        lane->channel = sockets;
        lane->lane = (enum channel_lane)i;
        lane->descriptor = -1;
        lane->due = CLOCK_NEVER;
        lane->retry = RETRY_MINIMUM;
        lane->id = (uint32_t)nrand48(sockets->dice);
    }
    *channel = &sockets->channel;
    return MP_OK;
}
