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
    uint32_t keep;    /* seconds without use after which the relay may forget the session; 0: an hour */
    /*
     * A session of an earlier client, to be gone on with, and the number that its next publication has, so that what
     * was sent before and perhaps not answered is stored once: in welcomed(), the relay's `published` tells how much of
     * it is, and the next one has the number behind that. When the relay does not know the session, the client fails
     * with MP_ERR_SESSION. 0: a new one.
     */
    uint64_t session;
    uint64_t publication;
    uint64_t sequence; /* of the next message, see client_origin(); 0: as in a new session */
    void *context;     /* handed to each call back */

    /* The relay has greeted for the first time, or again after it had forgotten the session. May be NULL. */
    void (*welcomed)(void *context, const struct protocol_welcome *welcome);
    /*
     * The publication is stored: COUNT messages at OFFSET and following (PROTOCOL_SCHEDULED: they get theirs when they
     * are due), DUPLICATES of which the topic had already, as far as is known. client_stored_origin() has its origin.
     * Of a frame for which there was not room at once it is called for each part, in order; it is done with when
     * client_can_publish() says so. May be NULL.
     */
    void (*published)(void *context, uint64_t offset, uint32_t count, uint32_t duplicates);
    /* The relay refused the publication for good (not `full`): ERROR and its words. It is dropped. May be NULL. */
    void (*refused)(void *context, enum mp_error error, const char *text);
    /* `full` began (true) or ended, of a publication or of a settlement that publishes. May be NULL. */
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
    /*
     * How client_settle_publish() ended. MP_OK: all is settled and stored. MP_ERR_SESSION: whether it is, is unknown.
     * Anything else: nothing was settled and nothing stored. MP_ERR_STALE: a lease had ended; MP_ERR_FULL: the client
     * is to leave, and had been waiting for room; others, with the relay's words: it refuses for good. What is leased
     * still is to be settled in another way, or abandoned. Needed for client_settle_publish().
     */
    void (*committed)(void *context, enum mp_error error, const char *text);
    /* The answer to client_ask(): with MP_OK a JSON text (see relay/admin_trace.c for one with
     * more behind it), else words for people; not terminated. May be NULL. */
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

/* Gives back memory that is kept for later requests: for an owner of many clients, most of which rest. */
void client_trim(struct client *client);

/* Whether the client has a session now. */
bool client_is_welcome(const struct client *client);
/* What the relay said last; zeroes before it did. */
const struct protocol_welcome *client_welcome(const struct client *client);

/* Whether a publication can be handed over now: one may be in flight and none wait. */
bool client_can_publish(const struct client *client);

/* The producer of new frames and the sequence that the next one's first message should have. Valid once welcome. */
void client_origin(const struct client *client, uint64_t *producer, uint64_t *sequence);

/* Where a frame goes, and when. */
struct client_publication {
    const char *topic;
    const char *target; /* the group that alone sees it; NULL or "": all do */
    enum protocol_when when;
    int64_t value; /* microseconds: see enum protocol_when */
    bool fixed;    /* the frame keeps the origin that it has: it is not one of this session's */
};

/*
 * Publishes FRAME, which is finished. Needs client_can_publish(). A success takes the frame: its bytes are exchanged
 * for a buffer that is free, so that FRAME has to be begun anew; a failure leaves it with the caller. A frame of
 * another origin than client_origin() says, built before a session ended, is given that one, unless it is fixed.
 * MP_ERR_BUSY, MP_ERR_INVALID, MP_ERR_MEMORY, MP_ERR_IO.
 */
enum mp_error client_publish(struct client *client, const struct client_publication *publication,
                             struct frame_builder *frame, struct fault *fault);

/* The origin of the first message of the frame that was stored last: inside published(), of the one it tells about. */
void client_stored_origin(const struct client *client, uint64_t *producer, uint64_t *sequence);

/* What a consumer wants. Strings are copied. */
struct client_subscription {
    const char *topic;
    const char *group; /* NULL: a reader */
    bool peek;         /* to read what GROUP, which is there, has not settled, without leasing it */
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
 * 0 gets one answer, empty or not; otherwise it is asked again until messages came. A member of a group waits for half a
 * lease at most each time: after a longer wait it could not tell when its leases began (client_lease_holds()). One fetch
 * is under way at a time.
 * After client_stop_fetching() the first answer may be what the relay had leased for the fetch that was stopped.
 * MP_ERR_BUSY, MP_ERR_INVALID (no subscription), MP_ERR_CLOSED.
 */
enum mp_error client_fetch(struct client *client, uint32_t messages, uint32_t wait, struct fault *fault);
bool client_is_fetching(const struct client *client);
/*
 * Asks for those of COUNT messages from offset FIRST on that wait for the group of the subscription, which is of one
 * topic: they are leased, in any order, and no others. One answer, empty or not, as after client_fetch() without a
 * wait; where more are there than fit into an answer, ask again. The same errors.
 */
enum mp_error client_claim(struct client *client, uint64_t first, uint32_t count, struct fault *fault);
/* Forgets the fetch under way; leases that it was given end with the session or by `leave`. */
void client_stop_fetching(struct client *client);

void client_hold_free(struct client_hold *hold);

/*
 * Adds a settlement of messages that came in one chunk, or in neighbouring ones, of one fetch; LEASE is what fetched()
 * gave. Its span may reach over offsets that the lease does not hold. Settlements are joined and sent at the end of
 * client_process(), or at the next one, when the request before was answered; settled() tells. The note is copied, and
 * one that is too long loses its beginning. MP_ERR_INVALID, MP_ERR_MEMORY, MP_ERR_CLOSED.
 */
enum mp_error client_settle(struct client *client, const struct protocol_settlement *settlement);
/*
 * The same for messages that were not begun, as their lease may have ended: they are released, where they are held still,
 * and settled() counts none of them as stale. SETTLEMENT says which they are. Without memory they are abandoned: they come
 * again when the lease ends.
 */
void client_give_back(struct client *client, const struct protocol_settlement *settlement);
/* What goes out with a settlement. The frame, which is finished, stays the caller's; it is given an origin as
 * client_publish() gives one. */
struct client_output {
    struct client_publication publication;
    struct frame_builder *frame;
};
/*
 * Settles and publishes in one step: all of it is done, or nothing; committed() tells. Needs client_can_commit(): one
 * is under way at a time. SETTLEMENTS, of messages held, in ascending order of group and offset and apart from one
 * another; OUTPUTS in the order in which they are stored, 65,535 at most. All is copied. While a topic is full it waits,
 * and so do other settlements. MP_ERR_STALE: a lease is of a session that has ended. MP_ERR_BUSY, MP_ERR_INVALID,
 * MP_ERR_TOO_LARGE, MP_ERR_MEMORY, MP_ERR_CLOSED.
 */
enum mp_error client_settle_publish(struct client *client, const struct protocol_settlement *settlements,
                                    uint32_t count, const struct client_output *outputs, uint32_t outputs_count,
                                    struct fault *fault);
bool client_can_commit(const struct client *client);

/* Whether there are settlements that settled() or committed() has not told of. */
bool client_is_settling(const struct client *client);

/* Which delivery LEASE, one of the session that there is, is to traces: trace_delivery(). */
uint64_t client_delivery(const struct client *client, uint64_t lease);

/* MESSAGES of LEASE will never be settled: leases are not to be extended on their account. */
void client_abandon(struct client *client, uint64_t lease, uint32_t messages);

/*
 * Whether LEASE holds for sure: false when its session has ended, or when no lease was given or extended for as long as
 * one takes, because this program, the link or the relay stood still; a lease of which that was true once is never
 * believed again. What has not been begun under it is to be given back (client_give_back()): others may have it, or have
 * done it. NOW: the monotonic time, as client_process() may have been called last before the program stood still. True
 * for 0, a reader's.
 */
bool client_lease_holds(const struct client *client, uint64_t lease, int64_t now);

/*
 * Says good-bye, after the settlements that wait and the publication under way: everything leased and not settled is
 * released at once. Done when client_has_left(). MP_ERR_CLOSED.
 */
enum mp_error client_leave(struct client *client);
bool client_has_left(const struct client *client);

/* Sends an administrative request: a JSON text. One at a time. MP_ERR_BUSY, MP_ERR_MEMORY, MP_ERR_CLOSED. */
enum mp_error client_ask(struct client *client, const char *json, size_t size, struct fault *fault);

#endif
