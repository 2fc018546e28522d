/*
 * library.h: what the files of the public library (msgpipe.h) share, and what its tests need beside that.
 *
 * A struct mp_client is a client (client.h) that is driven by the calls themselves: each of them lets the client do what
 * is due, and those that wait do so in poll(2). A message owns copies of its bytes, so that it can outlive its client.
 */
#ifndef CLIENT_LIBRARY_H
#define CLIENT_LIBRARY_H

#include "client/client.h"

#include <stdatomic.h>

/*
 * Between a client's session and the messages that came in it, which may be freed when the client is closed, and by
 * other threads: counts the messages that were freed without being settled.
 */
struct library_link {
    const struct mp_client *owner; /* only to be compared */
    uint64_t lease;                /* one of the session's leases */
    atomic_uint references;
    atomic_uint abandoned;
};

struct mp_message {
    struct buffer body;
    struct buffer attributes; /* a canonical block; with an origin only on its way to be published again */
    struct buffer values;     /* the block's values in its order, each terminated */

    bool received;
    uint64_t producer; /* if received: its origin */
    uint64_t sequence;
    char id[FRAME_ID_TEXT]; /* the origin, if received */
    char topic[NAME_MAX_BYTES + 1];
    uint64_t offset;
    unsigned attempt;
    uint32_t group;
    uint64_t lease;            /* 0: only read */
    struct library_link *link; /* if leased and not settled */
};

/* A frame to one topic; the last one in the queue still takes messages. */
struct library_outgoing {
    struct library_outgoing *next;
    char topic[NAME_MAX_BYTES + 1];
    int64_t time;  /* of its first message */
    int64_t delay; /* microseconds from when the relay takes it */
    struct frame_builder frame;
};

/* A chunk that was fetched; the first one's messages are handed out. */
struct library_incoming {
    struct library_incoming *next;
    struct protocol_chunk chunk;
    struct frame frame;
    struct frame_cursor cursor;
    uint64_t offset; /* of the next message, or one before it that is nobody's */
    uint64_t lease;
    struct library_link *link; /* if leased */
    struct client_hold *hold;
};

struct mp_client {
    struct client *client;
    char where[300];    /* the relay's address, for words */
    int64_t driven;     /* when library_drive() was called last */
    struct fault fault; /* what mp_reason() says */

    struct fault trouble; /* what the next call reports, */
    bool failed;          /* and if this is set all others, too */
    bool full;
    char full_text[FAULT_TEXT];

    struct library_outgoing *first, *last;
    struct library_outgoing *spare;
    size_t queued; /* bytes of all frames in the queue */

    struct library_incoming *fetched, **fetched_end;
    struct library_link *link; /* of this session */
    bool subscribed;
    bool grouped;
    uint32_t fetch_size; /* messages that are asked for */
    uint32_t fetch_got;  /* and that came */
    int64_t fetch_came;  /* when */
    uint32_t stale;      /* messages of the settlement under way */
};

/* ---- library.c */

/* Opens a client over CHANNEL, which it takes, also when it fails; WHERE is how errors call the relay. */
enum mp_error library_open(struct channel *channel, const char *where, int64_t wait, struct mp_client **client,
                           struct fault *fault);

/* Lets the client do what is due. */
void library_drive(struct mp_client *client);

/* When a wait of WAIT milliseconds from now ends, for library_wait(). */
int64_t library_end(int64_t wait);

/*
 * Waits until the client has something to do and lets it do that: what is waited for, or trouble, may have come. Look
 * for both before, as this looks for neither. MP_ERR_TIMEOUT: END has come.
 * MP_ERR_INTERRUPTED: a signal. MP_ERR_IO.
 */
enum mp_error library_wait(struct mp_client *client, int64_t end);

/* The trouble there is, for mp_reason() too: once, unless it ended the client. */
enum mp_error library_trouble(struct mp_client *client);

/* Has TEXT said by mp_reason(), and returns ERROR. */
enum mp_error library_tell(struct mp_client *client, enum mp_error error, const char *text);

/* ---- library_publish.c */

/* Hands over the first frame that waits, if that can be. */
void library_send(struct mp_client *client);
void library_publish_free(struct mp_client *client);

/* ---- library_consume.c */

/* client_settings.fetched and .settled */
void library_fetched(void *context, const struct protocol_chunk *chunk, const struct frame *frame, uint64_t lease,
                     struct client_hold *hold);
void library_settled(void *context, uint32_t applied, uint32_t stale);

/* The session has ended: what was leased in it and not handed out is dropped. It comes again. */
void library_forget_leases(struct mp_client *client);
void library_consume_free(struct mp_client *client);

/* ---- library_message.c */

/* A message of a frame in CHUNK; NULL when there is no memory. LINK: NULL for a reader's. */
struct mp_message *library_message(const struct protocol_chunk *chunk, const struct record *record, uint64_t offset,
                                   uint64_t lease, struct library_link *link);

/* The message was settled or published, or refused as stale: its lease is not abandoned when it is freed. */
void library_message_unlink(struct mp_message *message);

/* A link with one reference; NULL when there is no memory. */
struct library_link *library_link_new(const struct mp_client *owner);
struct library_link *library_link_hold(struct library_link *link);
void library_link_drop(struct library_link *link);

#endif
