/*
 * channel.c: the channel over sockets that speak the REQ side of the SP protocols (server.h says what that looks like).
 *
 * There are no threads: a lane goes on when its owner sends or receives. A request is kept, as the bytes on the wire,
 * until its reply has come; when the connection ends before, it is written again on the next one, with the same id. A
 * reply whose id is not that of the request under way is dropped.
 *
 * When a host falls silent while it owes a reply (a link that is cut, a machine that is gone, a firewall that has
 * forgotten the connection), TCP repeats what was not acknowledged after 0.2 s, then twice as late each time; a link that is
 * back after half a minute may be noticed half a minute later, and by the relay, which has only the old connection, not
 * earlier. So after a second and a half of silence the lane opens a second line beside the first, again and again. When that
 * is greeted the request goes out over it, and the first one ends.
 *
 * Why not libnng's REQ socket: with libnng 1.5.2 a connection that ends while a request is being written can stop the
 * thread that makes new ones, for good (seen after 1,000 to 3,000 such ends), and so can nng_close() while something
 * arrives (seen within 300). Measured on two cores, ipc, libnng's first: a round trip 87-105 and 56-73 µs, 1 MiB
 * requests 3.1 and 4.0 GB/s, the same on four lanes at once 1.3 and 4.4 GB/s.
 */
#include "transport/channel.h"

#include "base/clock.h"
#include "base/memory.h"
#include "transport/channel_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SCRATCH = 16 * 1024,
    MUCH = 32 * 1024,              /* a request over this size is not sent again lightly */
    KEPT_MEMORY = 2 * 1024 * 1024, /* a request's memory up to this size is used for the next one */
    /* The largest frame is that of the largest message, and a reply can hold one and a little more. */
    REPLY_MAXIMUM = 64 * 1024 * 1024 + 1024 * 1024
};

/* Microseconds. */
#define RETRY_MINIMUM INT64_C(10000)
#define RETRY_MAXIMUM INT64_C(250000)
#define DOUBT_MAXIMUM INT64_C(60000000)

struct lane {
    struct channel_sockets *channel;
    enum channel_lane lane;
    struct channel_line line; /* ABSENT and due: another is tried then; READY and due: the other host is listened for */
    struct channel_line other; /* beside a silent one; ABSENT and due: as above */
    int64_t retry;             /* the delay before the next line */
    int64_t doubt;             /* the silence after which there is another line */

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

/* The line has ended, or is another one: what was on its way over it is to begin anew. */
static void forget_progress(struct lane *lane)
{
    lane->written = 0;
    lane->watched = false;
    channel_reply_free(lane->incoming);
    lane->incoming = NULL;
}

static void disconnect(struct lane *lane)
{
    channel_line_end(&lane->line);
    channel_line_end(&lane->other);
    forget_progress(lane);
}

/* Not all clients at once. */
static int64_t next_try(struct lane *lane)
{
    int64_t part = (int64_t)(erand48(lane->channel->dice) * (double)lane->retry / 2);
    int64_t when = clock_monotonic() + lane->retry - part;

    lane->retry = lane->retry * 2 < RETRY_MAXIMUM ? lane->retry * 2 : RETRY_MAXIMUM;
    return when;
}

/* The connection has ended, or could not be made. Without a request there is no need for another. */
static void lost(struct lane *lane)
{
    disconnect(lane);
    if (lane->busy) {
        lane->line.due = next_try(lane);
    }
}

static void start_connecting(struct lane *lane)
{
    if (!channel_line_start(&lane->line)) {
        lost(lane);
    }
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

/* Writes what the socket takes, and waits for room when some is left; false when the connection has ended. */
static bool write_request(struct lane *lane)
{
    bool full = false;

    while (lane->busy && lane->written < lane->request_size && !full) {
        ssize_t count = send(lane->line.descriptor, lane->request + lane->written, lane->request_size - lane->written,
                             channel_line_send_flags());
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
        return channel_poll_change(&lane->channel->poll, lane->line.descriptor, full, &lane->line);
    }
    return true;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

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
    uint64_t length = load_big(data + type, 8);
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
    lane->incoming_id = (uint32_t)load_big(data + type + 8, 4);
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
    lane->doubt = channel_line_doubt;
    if (lane->request_memory > KEPT_MEMORY) {
        memory_release(lane->request);
        lane->request = NULL;
        lane->request_memory = 0;
    }
    return reply;
}

/* Bytes have come: no other line is needed. */
static void hear(struct lane *lane)
{
    if (lane->other.stage != CHANNEL_LINE_ABSENT || lane->other.due != CLOCK_NEVER) {
        channel_line_end(&lane->other);
    }
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
            memcpy(lane->line.stash, data, size);
            lane->line.stash_size = size;
            return true;
        }
        size_t there = size - used < lane->incoming->size ? size - used : lane->incoming->size;
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
        count = recv(lane->line.descriptor, (uint8_t *)(lane->incoming + 1) + lane->incoming_size,
                     lane->incoming->size - lane->incoming_size, 0);
        if (count > 0) {
            hear(lane);
            lane->incoming_size += (size_t)count;
            *reply = take_reply(lane);
        }
    } else {
        size_t stashed = lane->line.stash_size;
        memcpy(scratch, lane->line.stash, stashed);
        count = recv(lane->line.descriptor, scratch + stashed, sizeof(scratch) - stashed, 0);
        if (count > 0) {
            hear(lane);
            lane->line.stash_size = 0;
            return take_bytes(lane, scratch, stashed + (size_t)count, reply);
        }
    }
    return count > 0 || (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
}

/* ---- silence -------------------------------------------------------------------------------------------------- */

/*
 * A reply is awaited: from now on the other host is listened for. When it is already, that goes on. RESTED: nothing was
 * awaited over this line before, and how long the host has been silent meanwhile counts, as it was asked for signs.
 */
static void listen_for_host(struct lane *lane, bool rested)
{
    if (lane->line.due == CLOCK_NEVER && lane->channel->address.kind == ADDRESS_TCP) {
        int64_t silence = rested ? channel_line_silence(&lane->line) : 0;
        lane->line.due = clock_monotonic() + (silence < lane->doubt ? lane->doubt - silence : 0);
    }
}

static void try_other(struct lane *lane)
{
    channel_line_end(&lane->other);
    if (!channel_line_start(&lane->other)) {
        channel_line_end(&lane->other);
        lane->other.due = next_try(lane);
    }
}

/* Once there is another line, it is waited for whatever TCP hears: the other host may repeat its part much later. */
static void look_at_host(struct lane *lane, int64_t now)
{
    int64_t silence = lane->busy ? channel_line_silence(&lane->line) : 0;

    lane->line.due = lane->busy ? now + lane->doubt : CLOCK_NEVER;
    if (silence < lane->doubt) {
        lane->line.due -= lane->busy ? silence : 0;
    } else if (lane->other.stage == CHANNEL_LINE_ABSENT) {
        try_other(lane);
    }
}

/*
 * The other line is greeted: it is the lane's. Where much is under way, and every line falls silent before the reply has
 * come, the next one has to wait longer: so what takes long on a bad link does come to its end.
 */
static bool change_lines(struct lane *lane)
{
    if (lane->request_size > MUCH || lane->incoming != NULL) {
        lane->doubt = lane->doubt * 2 < DOUBT_MAXIMUM ? lane->doubt * 2 : DOUBT_MAXIMUM;
    }
    channel_line_end(&lane->line);
    forget_progress(lane);
    if (!channel_line_take(&lane->line, &lane->other)) {
        return false;
    }
    listen_for_host(lane, false);
    return write_request(lane);
}

/* ---- going on ------------------------------------------------------------------------------------------------- */

/* Something can be done on LINE's socket; false when it has failed. */
static bool line_ready(struct lane *lane, struct channel_line *line, struct channel_reply **reply)
{
    if (line->stage == CHANNEL_LINE_READY) {
        return read_replies(lane, reply) && (!lane->watched || write_request(lane));
    }
    if (!channel_line_ready(line)) {
        return false;
    }
    if (line->stage != CHANNEL_LINE_READY) {
        return true;
    }
    if (line == &lane->other) {
        if (!change_lines(lane)) {
            lost(lane);
        }
        return true;
    }
    if (lane->busy) {
        listen_for_host(lane, false);
    }
    return write_request(lane);
}

static void line_failed(struct lane *lane, struct channel_line *line)
{
    if (line == &lane->other) {
        channel_line_end(line);
        line->due = next_try(lane);
    } else {
        lost(lane);
    }
}

static void line_due(struct lane *lane, struct channel_line *line, int64_t now)
{
    bool other = line == &lane->other;

    if (line->stage == CHANNEL_LINE_READY) {
        look_at_host(lane, now);
    } else if (line->stage != CHANNEL_LINE_ABSENT && channel_line_due(line, now)) {
        return;
    } else if (other) {
        try_other(lane);
    } else if (line->stage == CHANNEL_LINE_ABSENT) {
        start_connecting(lane);
    } else {
        lost(lane);
    }
}

static void lanes_due(struct channel_sockets *sockets)
{
    int64_t next = CLOCK_NEVER;
    int64_t now = 0; /* read only when there is something to wait for */

    for (int i = 0; i < CHANNEL_LANES; i++) {
        struct lane *lane = &sockets->lanes[i];
        struct channel_line *const lines[] = {&lane->line, &lane->other};
        for (int j = 0; j < 2; j++) {
            if (lines[j]->due != CLOCK_NEVER) {
                now = now != 0 ? now : clock_monotonic();
                if (lines[j]->due <= now) {
                    line_due(lane, lines[j], now);
                }
            }
        }
        next = lane->line.due < next ? lane->line.due : next;
        next = lane->other.due < next ? lane->other.due : next;
    }
    channel_poll_timer(&sockets->poll, next);
}

static struct channel_reply *sockets_receive(struct channel *channel)
{
    struct channel_sockets *sockets = sockets_of(channel);
    struct channel_reply *reply = NULL;
    struct channel_line *line;

    while (reply == NULL && (line = channel_poll_next(&sockets->poll)) != NULL) {
        if (!line_ready(line->owner, line, &reply)) {
            line_failed(line->owner, line);
        }
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
    if (payload + CHANNEL_LINE_STASH > lane->request_memory) {
        uint8_t *memory = memory_reallocate(NULL, payload + CHANNEL_LINE_STASH);
        if (memory == NULL) {
            return false;
        }
        memory_release(lane->request);
        lane->request = memory;
        lane->request_memory = payload + CHANNEL_LINE_STASH;
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
    if (lane->line.stage == CHANNEL_LINE_READY) {
        listen_for_host(lane, true);
        if (!write_request(lane)) {
            lost(lane);
        }
    } else if (lane->line.stage == CHANNEL_LINE_ABSENT) {
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
    channel_line_end(&lane->other);
    if (lane->line.stage == CHANNEL_LINE_ABSENT || (lane->written > 0 && lane->written < lane->request_size)) {
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
    return ((const struct channel_sockets *)channel)->lanes[lane].line.stage == CHANNEL_LINE_READY;
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
        channel_line_close(&lane->line);
        channel_line_close(&lane->other);
        memory_release(lane->request);
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
        channel_line_open(&lane->line, lane, &sockets->address, &sockets->poll);
        channel_line_open(&lane->other, lane, &sockets->address, &sockets->poll);
        lane->retry = RETRY_MINIMUM;
        lane->doubt = channel_line_doubt;
        lane->id = (uint32_t)nrand48(sockets->dice);
    }
    *channel = &sockets->channel;
    return MP_OK;
}
