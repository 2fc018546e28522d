/*
 * msgpipe.h: durable, acknowledged messages for C programs.
 *
 * A program opens a client on a relay, publishes messages to topics, and consumes them, alone or as a member of a
 * consumer group:
 *
 *     struct mp_client *client;
 *     if (mp_open(&client, NULL, 1000) != MP_OK) ...          // the default relay, waiting a second for it
 *     mp_publish(client, "orders.new", mp_message_new("42", 2));
 *     if (mp_flush(client, 5000) != MP_OK)                     // now it is on the relay's disk
 *         fprintf(stderr, "%s\n", mp_reason(client));
 *
 * Ownership: a successful call takes the message; a failed one leaves it with the caller.
 * Times are 64-bit milliseconds; a wait of -1 is without a limit, 0 does not wait.
 * Threads: a client is used by one thread at a time; different clients are independent.
 * Errors: every function that can fail returns an mp_error; mp_reason() says more in words.
 */
#ifndef MSGPIPE_H
#define MSGPIPE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What went wrong. The numbers are part of the relay's protocol: never change one, add at the end.
 */
enum mp_error {
    MP_OK = 0,
    MP_ERR_MEMORY = 1,       /* no memory */
    MP_ERR_INVALID = 2,      /* an argument that makes no sense */
    MP_ERR_FORMAT = 3,       /* data that are not what they should be */
    MP_ERR_TOO_LARGE = 4,    /* over a limit */
    MP_ERR_NO_RELAY = 5,     /* no relay there, or nobody answers */
    MP_ERR_TIMEOUT = 6,      /* waited in vain */
    MP_ERR_FULL = 7,         /* the topic or the disk is full: nothing was kept, try later */
    MP_ERR_DENIED = 8,       /* not permitted */
    MP_ERR_IO = 9,           /* reading or writing failed */
    MP_ERR_CLOSED = 10,      /* the other end has gone */
    MP_ERR_SESSION = 11,     /* the relay no longer knows the session: the outcome is unknown */
    MP_ERR_STALE = 12,       /* the lease had ended: the settlement was refused */
    MP_ERR_GAP = 13,         /* a request ahead of its turn: send the missing one first */
    MP_ERR_AGAIN = 14,       /* outcome unknown: send the same request again */
    MP_ERR_EXISTS = 15,      /* it is there already */
    MP_ERR_NOT_FOUND = 16,   /* no such topic, group or file */
    MP_ERR_BUSY = 17,        /* in use by somebody else */
    MP_ERR_VERSION = 18,     /* made by an unknown version */
    MP_ERR_DAMAGED = 19,     /* a checksum does not fit */
    MP_ERR_UNSUPPORTED = 20, /* this end or the other cannot do it */
    MP_ERR_INTERRUPTED = 21, /* a signal asked to stop */
    MP_ERR_INTERNAL = 22,    /* a fault in msgpipe itself */
    MP_ERR_OVERFLOW = 23     /* the topic is full and refuses what does not fit: nothing was kept */
};

/* A few words for ERROR, never NULL; a constant string. */
const char *mp_error_text(enum mp_error error);

/* The library's version, such as "0.1.0"; a constant string. */
const char *mp_version(void);

/* ---- messages ------------------------------------------------------------------------------------------------- */

/* Attributes and a body of bytes. */
struct mp_message;

/* A message with a copy of SIZE bytes at BODY; NULL when there is no memory. Free it with mp_message_free(). */
struct mp_message *mp_message_new(const void *body, size_t size);

/* Frees MESSAGE; NULL is allowed. A received message that was not settled stays leased until its lease ends. */
void mp_message_free(struct mp_message *message);

/*
 * Sets attribute NAME (a CloudEvents 1.0 attribute, a published extension such as "partitionkey", or a header of your
 * own: 1 to 64 characters of [A-Za-z0-9_-]) to VALUE (UTF-8 without control characters, at most 8,192 bytes), which is
 * copied; NULL removes it. MP_ERR_INVALID, MP_ERR_TOO_LARGE, MP_ERR_MEMORY.
 */
enum mp_error mp_message_set(struct mp_message *message, const char *name, const char *value);

/* The value of attribute NAME, or NULL. It belongs to MESSAGE and is good until the next change of it. "id" is always
 * there once a message was received. */
const char *mp_message_get(const struct mp_message *message, const char *name);

/* The body of MESSAGE and, in *SIZE, its length in bytes. It belongs to MESSAGE. */
const void *mp_message_body(const struct mp_message *message, size_t *size);

/* Of a received message: its topic, its offset there, and which attempt this is (1 is the first; 0 for a reader). */
const char *mp_message_topic(const struct mp_message *message);
uint64_t mp_message_offset(const struct mp_message *message);
unsigned mp_message_attempt(const struct mp_message *message);

/* ---- clients -------------------------------------------------------------------------------------------------- */

struct mp_client;

/*
 * Opens a client on RELAY: a relay's name, an address (ipc:///path, tcp://host:port), or NULL for $MSGPIPE_RELAY and
 * then "default". Waits up to WAIT milliseconds for the relay to answer. On success *CLIENT is to be closed with
 * mp_close(). MP_ERR_NO_RELAY, MP_ERR_INVALID, MP_ERR_MEMORY; mp_reason(NULL) tells more.
 */
enum mp_error mp_open(struct mp_client **client, const char *relay, int64_t wait);

/* Closes CLIENT; NULL is allowed. What was published and not flushed may be lost; leases are released. */
void mp_close(struct mp_client *client);

/* What the last failed call on CLIENT (NULL: the last failed mp_open of this thread) has to say; never NULL. */
const char *mp_reason(const struct mp_client *client);

/*
 * Publishes MESSAGE to TOPIC (dot-separated tokens of [A-Za-z0-9_-], 200 bytes at most) and takes it. Returns when it
 * is queued; messages are sent in batches, as fast as the relay acknowledges them, in order. Blocks while 4 MiB wait
 * to be sent. An error of an earlier message is reported by the next call.
 */
enum mp_error mp_publish(struct mp_client *client, const char *topic, struct mp_message *message);

/*
 * The same, but the message gets its place in TOPIC only DELAY milliseconds after the relay has taken it: until then
 * the relay keeps it, on its disk, and nobody sees it. MP_ERR_INVALID for a negative delay.
 */
enum mp_error mp_publish_delayed(struct mp_client *client, const char *topic, struct mp_message *message,
                                 int64_t delay);

/*
 * Waits up to WAIT milliseconds until everything published is acknowledged, that is, on the relay's disk.
 * MP_ERR_TIMEOUT: not yet, call again. MP_ERR_SESSION: the relay has forgotten this client; whether the last messages
 * were stored is unknown.
 */
enum mp_error mp_flush(struct mp_client *client, int64_t wait);

/*
 * Subscribes CLIENT to TOPIC, a topic or a pattern (`*` one token, `>` the rest). With a GROUP, messages are leased and
 * must be settled; with NULL they are only read. FROM says where a reader or a new group starts: NULL or "start",
 * "new", an offset, "-100", an RFC 3339 time, "@epoch", or an age such as "5m". One subscription a client.
 */
enum mp_error mp_subscribe(struct mp_client *client, const char *topic, const char *group, const char *from);

/*
 * Waits up to WAIT milliseconds for a message, which then belongs to the caller. MP_ERR_TIMEOUT when none came: with a
 * WAIT of 0 the first call only asks the relay, and a later one gets what has come. MP_ERR_INTERRUPTED: a signal came.
 * Leases are extended by any call on CLIENT: make one in each third of a lease (30 s unless the relay says otherwise),
 * a mp_receive() with a WAIT of 0 if nothing else is to be done.
 */
enum mp_error mp_receive(struct mp_client *client, struct mp_message **message, int64_t wait);

/*
 * Settles MESSAGE and takes it: ack (done), retry (again, DELAY milliseconds from now, or with -1 when the group's
 * policy says, and dead when it was tried too often), release (not begun: again at once), reject (dead: to the group's
 * dead-letter topic, with WHY in words, of which 4,096 bytes are kept, or NULL). They return when the relay has recorded it, however long that takes. MP_ERR_STALE: its lease had ended, somebody
 * else has it or will; the message is still the caller's, to be freed.
 */
enum mp_error mp_ack(struct mp_client *client, struct mp_message *message);
enum mp_error mp_retry(struct mp_client *client, struct mp_message *message, int64_t delay);
enum mp_error mp_release(struct mp_client *client, struct mp_message *message);
enum mp_error mp_reject(struct mp_client *client, struct mp_message *message, const char *why);

#ifdef __cplusplus
}
#endif
#endif
