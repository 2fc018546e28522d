/*
 * client.h: the client that the tools and the library use: a session with a relay, its publications, fetches and
 * settlements. Not a thread is blocked in here: the owner waits for client_descriptor() (poll or libevent) until
 * client_due(), then calls client_process(), which calls back.
 *
 * What it takes care of: hello, and hello again after the relay forgot a session that had nothing in flight; numbers,
 * repeats after MP_ERR_AGAIN and MP_ERR_GAP, polling for room after MP_ERR_FULL; fetching ahead; joining settlements;
 * extending leases. What it leaves to the owner: when to give up waiting.
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "base/clock.h"
#include "client/protocol.h"
#include "transport/channel.h"

struct client;
struct client_hold;

struct client_settings {
    const char *name; /* how it calls itself to the relay, "msend 4711"; copied */
    void *context;

    /* The relay has greeted for the first time, or again after it had forgotten the session. May be NULL. */
    void (*welcomed)(void *context, const struct protocol_welcome *welcome);
    /* The publication that was handed over first is stored at OFFSET and following. May be NULL. */
    void (*published)(void *context, uint64_t offset, uint32_t count);
    /* The relay refused it for good (not `full`): ERROR and its words. It is dropped. */
    void (*refused)(void *context, enum mp_error error, const char *text);
    /* `full` began (true) or ended. May be NULL. */
    void (*full)(void *context, bool full, const char *text);
    /*
     * Messages have come: CHUNK (its frame was checked, deep) came with fetch LEASE. The frame's bytes are good until
     * client_hold_free(HOLD), which the owner calls once for each call back. Not called for chunks without a frame.
     */
    void (*fetched)(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                    struct client_hold *hold);
    /* A fetch was answered in full (after its chunks). FLAGS: enum protocol_fetch_flags. May be NULL. */
    void (*fetch_done)(void *context, unsigned flags, uint64_t waiting);
    /* Settlements were recorded; STALE messages of them had lost their lease. May be NULL. */
    void (*settled)(void *context, uint32_t applied, uint32_t stale);
    /* An administrative reply. */
    void (*answered)(void *context, enum mp_error status, const char *text, size_t size);
    /* Something that ends the client: the session was evicted with requests in flight, another protocol version, … */
    void (*failed)(void *context, enum mp_error error, const char *text);
};

/* Opens a client over CHANNEL, which it takes. Says hello at once. NOW: monotonic microseconds. */
enum mp_error client_open(struct channel *channel, const struct client_settings *settings, int64_t now,
                          struct client **client, struct fault *fault);

/* Closes at once: nothing is sent any more. */
void client_close(struct client *client);

int client_descriptor(const struct client *client);
int64_t client_due(const struct client *client);
void client_process(struct client *client, int64_t now);

bool client_is_welcome(const struct client *client);
const struct protocol_welcome *client_welcome(const struct client *client);

/* Whether a publication can be handed over now: one may be in flight and none wait. */
bool client_can_publish(const struct client *client);

/* The producer of new frames and the sequence that their first message must have. Valid once welcome. */
void client_origin(const struct client *client, uint64_t *producer, uint64_t *sequence);

/*
 * Publishes a finished FRAME to TOPIC. The bytes are copied into the channel and kept for a repeat.
 * Needs client_can_publish().
 */
enum mp_error client_publish(struct client *client, const char *topic, const struct frame_builder *frame,
                             struct fault *fault);

/* What a consumer wants. Strings are copied. MAX_BYTES 0: 1 MiB. */
struct client_subscription {
    const char *topic;
    const char *group; /* NULL: a reader */
    enum protocol_from from;
    uint64_t value;
    uint32_t max_messages;
    uint32_t max_bytes;
    uint32_t lease; /* milliseconds; 0: the relay's */
};
enum mp_error client_subscribe(struct client *client, const struct client_subscription *subscription,
                               struct fault *fault);

/* Asks for at most MESSAGES more (0: as many as fit); one fetch is under way at a time. WAIT: the long poll's
 * milliseconds. Repeats by itself until messages came or the relay said end and STOP_AT_END. */
enum mp_error client_fetch(struct client *client, uint32_t messages, uint32_t wait, struct fault *fault);
bool client_is_fetching(const struct client *client);
/* Forgets the fetch under way; leases that it was given end with the session or by `leave`. */
void client_stop_fetching(struct client *client);

void client_hold_free(struct client_hold *hold);

/* Adds a settlement; neighbours are joined; they are sent as soon as the one in flight was answered. */
enum mp_error client_settle(struct client *client, const struct protocol_settlement *settlement);
/* Settlements that are not yet recorded by the relay. */
bool client_is_settling(const struct client *client);

/* Says good-bye: everything leased and not settled is released at once. Done when client_has_left(). */
enum mp_error client_leave(struct client *client);
bool client_has_left(const struct client *client);

/* Sends an administrative request: a JSON text. One at a time. */
enum mp_error client_ask(struct client *client, const char *json, size_t size, struct fault *fault);

#endif
