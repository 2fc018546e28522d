/*
 * channel.h: a client's way to a relay: requests go out on lanes, replies come back, in any order among lanes.
 *
 * A lane carries one request at a time. The channel sends it again by itself when the connection was lost; it never
 * gives up, and it promises nothing about how often or in which order requests of different lanes arrive: sessions and
 * numbers (client/protocol.h) settle that. Each lane has a socket and connection of its own, opened at the first use,
 * so that none waits behind another's bytes.
 *
 * A channel is a table, so that tests and the simulation can put a network of their own in its place.
 */
#ifndef TRANSPORT_CHANNEL_H
#define TRANSPORT_CHANNEL_H

#include "base/buffer.h"
#include "base/fault.h"

#include <sys/uio.h>

enum channel_lane {
    CHANNEL_PUBLISH = 0,
    CHANNEL_SETTLE = 1,
    CHANNEL_FETCH = 2,
    CHANNEL_CONTROL = 3,
    CHANNEL_LANES = 4
};

/* A reply; free it with channel_reply_free(). */
struct channel_reply {
    struct channel_reply *next;
    enum channel_lane lane;
    const uint8_t *data;
    size_t size;
    void *owner;
    void (*release)(void *owner);
};

struct channel;

struct channel_operations {
    /* Sends a request made of PARTS on LANE, which must be idle. The bytes are copied. MP_ERR_MEMORY, MP_ERR_IO. */
    enum mp_error (*send)(struct channel *channel, enum channel_lane lane, const struct iovec *parts, int count,
                          struct fault *fault);
    /* Goes on with what is under way, without waiting; the next reply that has come, or NULL. */
    struct channel_reply *(*receive)(struct channel *channel);
    /* Forgets the request under way on LANE; its reply, if it comes, is dropped. The lane is idle then. */
    void (*forget)(struct channel *channel, enum channel_lane lane);
    /* A descriptor that is readable when receive() may have something. */
    int (*descriptor)(const struct channel *channel);
    /* Whether LANE has a connection now. For words to users only: it may change at any time. */
    bool (*connected)(const struct channel *channel, enum channel_lane lane);
    /* Gives back memory that is kept for later requests. NULL: there is none. */
    void (*trim)(struct channel *channel);
    void (*close)(struct channel *channel);
};

struct channel {
    const struct channel_operations *operations;
};

void channel_reply_free(struct channel_reply *reply);

/*
 * Opens a channel over SP sockets (REQ) to URL. Nothing is connected before the first request. All work is done inside
 * send() and receive(), in the caller's thread: call receive() until it says NULL, whenever the descriptor is readable.
 * A host's name is looked up there too, which can block. MP_ERR_INVALID, MP_ERR_MEMORY, MP_ERR_IO.
 */
enum mp_error channel_open(const char *url, struct channel **channel, struct fault *fault);

#endif
