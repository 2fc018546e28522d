/*
 * client.h: the client that the tools and the library use: a session with a relay, its publications, fetches and
 * settlements. Not a thread is blocked in here: the owner waits for client_descriptor() (poll or libevent) until
 * client_due(), then calls client_process(), which calls back.
 *
 * What it takes care of: hello, and hello again after the relay forgot a session that had nothing in doubt; numbers,
 * repeats after MP_ERR_AGAIN, polling for room after MP_ERR_FULL; joining settlements; extending the leases of what was
 * fetched and not settled, as long as client_process() is called when due. What it leaves to the owner: when to give up
 * waiting, and how far to fetch ahead.
 *
 * All call backs come out of client_process(), and may call anything here but client_process() and client_close().
 * The other functions take the NOW of the last client_process() for the time.
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
    void *context;    /* handed to each call back */

    /* The relay has greeted for the first time, or again after it had forgotten the session. May be NULL. */
    void (*welcomed)(void *context, const struct protocol_welcome *welcome);
    /* The publication is stored, COUNT messages at OFFSET and following; client_stored_origin() has its origin. May be
     * NULL. */
    void (*published)(void *context, uint64_t offset, uint32_t count);
    /* The relay refused the publication for good (not `full`): ERROR and its words. It is dropped. May be NULL. */
    void (*refused)(void *context, enum mp_error error, const char *text);
    /* `full` began (true) or ended. May be NULL. */
    void (*full)(void *context, bool full, const char *text);
    /*
     * Messages have come: CHUNK, whose frame was checked deep, under LEASE (0 for a reader), which a settlement names.
     * The bytes of chunk and frame are good until client_hold_free(HOLD), which the owner calls once for each call
     * back, also after client_close(). Not called for chunks without a frame. Needed for client_subscribe().
     */
    void (*fetched)(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                    struct client_hold *hold);
    /*
     * A fetch was answered, after all its chunks; FLAGS: enum protocol_fetch_flags. When client_is_fetching() still, no
     * message was in it, and the same is asked again, unless client_stop_fetching() is called now. May be NULL.
     */
    void (*fetch_done)(void *context, unsigned flags, uint64_t waiting);
    /* Settlements were recorded; STALE messages had lost their lease before. May be NULL. */
    void (*settled)(void *context, uint32_t applied, uint32_t stale);
    /* The answer to client_ask(): with MP_OK a JSON text, else words for people; not terminated. May be NULL. */
    void (*answered)(void *context, enum mp_error status, const char *text, size_t size);
    /*
     * Something that ends the client: the session was evicted with a publication in doubt (MP_ERR_SESSION), another
     * protocol version, a fetch that was refused, a damaged frame. Nothing is called back after it.
     */
    void (*failed)(void *context, enum mp_error error, const char *text);
};

/* Opens a client over CHANNEL, which it takes if it succeeds. Says hello at once. NOW: monotonic microseconds. */
enum mp_error client_open(struct channel *channel, const struct client_settings *settings, int64_t now,
                          struct client **client, struct fault *fault);

/* Closes at once: nothing is sent any more. NULL is allowed. */
void client_close(struct client *client);

/* Readable when client_process() is to be called. */
int client_descriptor(const struct client *client);
/* When it is to be called at the latest; CLOCK_NEVER. May be in the past. Ask again after each call of a function here. */
int64_t client_due(const struct client *client);
void client_process(struct client *client, int64_t now);

/* Whether the client has a session now. */
bool client_is_welcome(const struct client *client);
/* What the relay said last; zeroes before it did. */
const struct protocol_welcome *client_welcome(const struct client *client);

/* Whether a publication can be handed over now: one may be in flight and none wait. */
bool client_can_publish(const struct client *client);

/* The producer of new frames and the sequence that the next one's first message should have. Valid once welcome. */
void client_origin(const struct client *client, uint64_t *producer, uint64_t *sequence);

/*
 * Publishes FRAME, which is finished, to TOPIC. Needs client_can_publish(). A success takes the frame: its bytes are
 * exchanged for a buffer that is free, so that FRAME has to be begun anew; a failure leaves it with the caller. A frame
 * of another origin than client_origin() says, built before a session ended, is given that one.
 * MP_ERR_BUSY, MP_ERR_INVALID, MP_ERR_MEMORY, MP_ERR_IO.
 */
enum mp_error client_publish(struct client *client, const char *topic, struct frame_builder *frame,
                             struct fault *fault);

/* The origin of the first message of the frame that was stored last: inside published(), of the one it tells about. */
void client_stored_origin(const struct client *client, uint64_t *producer, uint64_t *sequence);

/* What a consumer wants. Strings are copied. */
struct client_subscription {
    const char *topic;
    const char *group; /* NULL: a reader */
    enum protocol_from from;
    uint64_t value;
    uint32_t max_messages; /* in one fetch; 0: as many as fit */
    uint32_t max_bytes;    /* in one fetch; 0: 1 MiB. One message comes whatever its size */
    uint32_t lease;        /* milliseconds; 0: the relay's */
};
/*
 * Where TEXT says that a consumer begins: "start", "new", an offset ("4096"), "-100" for the last hundred, a time (RFC
 * 3339 or "@epoch"), an age ("5m"); NULL or "" for the default. NOW: microseconds since the epoch. MP_ERR_INVALID.
 */
enum mp_error client_from(const char *text, int64_t now, enum protocol_from *from, uint64_t *value,
                          struct fault *fault);

/* Replaces an earlier subscription; not while fetching. MP_ERR_BUSY, MP_ERR_INVALID. */
enum mp_error client_subscribe(struct client *client, const struct client_subscription *subscription,
                               struct fault *fault);

/*
 * Asks for messages, at most MESSAGES (0: the subscription's). WAIT: how many milliseconds the relay waits for some;
 * 0 gets one answer, empty or not; otherwise it is asked again until messages came. One fetch is under way at a time.
 * After client_stop_fetching() the first answer may be what the relay had leased for the fetch that was stopped.
 * MP_ERR_BUSY, MP_ERR_INVALID (no subscription), MP_ERR_CLOSED.
 */
enum mp_error client_fetch(struct client *client, uint32_t messages, uint32_t wait, struct fault *fault);
bool client_is_fetching(const struct client *client);
/* Forgets the fetch under way; leases that it was given end with the session or by `leave`. */
void client_stop_fetching(struct client *client);

void client_hold_free(struct client_hold *hold);

/*
 * Adds a settlement of messages that came in one chunk, or in neighbouring ones, of one fetch; LEASE is what fetched()
 * gave. Settlements are joined and sent at the end of client_process(), or at the next one, when the request before was
 * answered; settled() tells. MP_ERR_INVALID, MP_ERR_MEMORY, MP_ERR_CLOSED.
 */
enum mp_error client_settle(struct client *client, const struct protocol_settlement *settlement);
/* Whether there are settlements that settled() has not told of. */
bool client_is_settling(const struct client *client);

/* MESSAGES of LEASE will never be settled: leases are not to be extended on their account. */
void client_abandon(struct client *client, uint64_t lease, uint32_t messages);

/*
 * Says good-bye, after the settlements that wait and the publication under way: everything leased and not settled is
 * released at once. Done when client_has_left(). MP_ERR_CLOSED.
 */
enum mp_error client_leave(struct client *client);
bool client_has_left(const struct client *client);

/* Sends an administrative request: a JSON text. One at a time. MP_ERR_BUSY, MP_ERR_MEMORY, MP_ERR_CLOSED. */
enum mp_error client_ask(struct client *client, const char *json, size_t size, struct fault *fault);

#endif
