/*
 * peer.h: direct mode: two or more programs joined by SP sockets, without a relay.
 *
 * A peer is one end of an SP pattern (sp-tcp-mapping-01, sp-ipc, sp-request-reply-01 of nanomsg, and what nanomsg and
 * nng do for the others), dialling or listening at one address. The other ends may be peers of ours or any program on
 * nng or nanomsg. A peer lives in an event loop, in one thread; all callbacks come from the loop, never from inside a
 * call of a function of this header, and they may call all of these functions but peer_free().
 *
 *     struct peer_settings settings = {.pattern = PEER_PUSH, .role = PEER_DIAL, .url = "ipc:///tmp/x", ...};
 *     peer_open(base, &settings, &peer, &fault);
 *     while (there is input && peer_send(peer, &(struct peer_part){line, size, NULL, NULL}, &fault) == MP_OK) ...
 *         MP_ERR_AGAIN: stop reading input until settings.writable is called
 *     at the end of the input: peer_finish(peer, 5 s); settings.finished says whether all of it went
 *
 * WHAT DIRECT MODE PROMISES. It is not acknowledged. A message that was taken by peer_send() waits in memory until a
 * connection can take it, and leaves it for good when the kernel has taken its last byte. What the kernel has taken is
 * lost without a word when the other end dies before it reads. So:
 *   - What was not wholly written when a connection ends is not lost: PUSH, PAIR and REQ keep it for the next one. (No
 *     peer can have seen a part of a message, so none gets it twice.) PUB, BUS and SURVEYOR count it as dropped.
 *   - peer_finish() waits until the queue is empty, every byte is written, and the other programs have read the bytes:
 *     over ipc the system tells (SIOCOUTQ, SO_NWRITE), over tcp the other end does by closing its side when it has read
 *     that nothing more comes, as nng and nanomsg do. If it ends without `timed_out` and with `dropped` 0, nothing was
 *     lost before the other programs' own memory, unless one of them died.
 *   - Only REQ and SURVEYOR know that a message was worked upon: their reply came.
 *
 * Patterns:
 *   PUSH        each message to one of the connected PULLs in turn, skipping those that are slow; waits for one
 *   PULL        receives from all
 *   PUB         each message to every SUB that is connected; a peer that is further behind than `send_limit` misses it,
 *               which is counted in `dropped`
 *   SUB         receives from all; keeps what begins with one of its subscriptions. A frame (message/frame.h) always
 *               passes: its receiver asks peer_subscribed() about each message inside
 *   REQ         each message to one REP in turn; the reply comes with the number of its request. Sent again when the
 *               connection ends before the reply or when `resend_time` has passed: a REP may see a request twice
 *   REP         receives requests; peer_reply() answers each by its token
 *   PAIR        one other end only; further ones are refused (pair version 0, as nanomsg's; PAIR1 is nng's version 1)
 *   BUS         each message to every other end, as PUB; receives from all
 *   SURVEYOR    each message to every RESPONDENT; replies are given until `survey_time` ends; one survey at a time
 *   RESPONDENT  as REP
 *
 * Memory is bounded: by `send_limit` for what waits to be sent, by `receive_limit` for what was received and not freed,
 * and one message of `max_message` bytes for each of them.
 */
#ifndef TRANSPORT_PEER_H
#define TRANSPORT_PEER_H

#include "base/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct peer;
struct peer_message;

enum peer_pattern {
    PEER_PUSH,
    PEER_PULL,
    PEER_PUB,
    PEER_SUB,
    PEER_REQ,
    PEER_REP,
    PEER_PAIR,
    PEER_PAIR1,
    PEER_BUS,
    PEER_SURVEYOR,
    PEER_RESPONDENT
};

enum peer_role { PEER_DIAL, PEER_LISTEN };

/* The pattern's name in words for users ("push"), and that of the other end ("pull"). */
const char *peer_pattern_name(enum peer_pattern pattern);
const char *peer_pattern_other(enum peer_pattern pattern);

/* Whether peer_send() is for this pattern, and whether messages are received by it. REP and RESPONDENT only reply. */
bool peer_pattern_sends(enum peer_pattern pattern);
bool peer_pattern_receives(enum peer_pattern pattern);

/* Says what a message belongs to. Copy it freely; it stays valid, but answers nobody, when the connection has gone. */
enum { PEER_TOKEN_IDS = 8 };
struct peer_token {
    uint64_t request;    /* REQ, SURVEYOR: which message this answers: 0 is the first that peer_send() took */
    uint64_t connection; /* from whom it came; never used twice */
    uint32_t ids[PEER_TOKEN_IDS];
    unsigned ids_count;
};

/* A run of bytes to send. RELEASE(owner) is called once when they are not needed any more; NULL: they are copied. */
struct peer_part {
    const void *data;
    size_t size;
    void (*release)(void *owner);
    void *owner;
};

/* A subscription: a message passes that begins with these bytes. They are copied by peer_open(). */
struct peer_prefix {
    const void *data;
    size_t size;
};

struct peer_result {
    uint64_t left;        /* messages that were taken and not wholly written; REQ: without a reply */
    uint64_t unread;      /* bytes that the other ends had not read (ipc) or their kernels not acknowledged (tcp) */
    unsigned unconfirmed; /* tcp: other ends that had not read to the end */
    bool timed_out;       /* the linger ended before all was done */
};

struct peer_settings {
    enum peer_pattern pattern;
    enum peer_role role;
    const char *url;                         /* ipc:///path, tcp://host:port; port 0 of a listener: see peer_url() */
    const struct peer_prefix *subscriptions; /* SUB; none: everything */
    size_t subscriptions_count;
    size_t max_message;   /* bytes; a longer one that comes closes its connection; 0: 64 MiB */
    size_t send_limit;    /* bytes that may wait to be sent (PUB, BUS: to each peer); 0: 4 MiB */
    size_t receive_limit; /* bytes received and not yet freed; reading stops there; 0: 8 MiB */
    unsigned await_peers; /* messages wait while fewer are connected; at least 1 for PUSH, REQ and PAIR */
    unsigned window;      /* REQ: requests under way at once; 0: 1 */
    int64_t survey_time;  /* microseconds; 0: 1 s */
    int64_t resend_time;  /* REQ: microseconds until a request without a reply is sent again; 0: 60 s; < 0: never */

    void *context;
    /* A message came. The owner takes MESSAGE and frees it with peer_message_free(). TOKEN is good during the call. */
    void (*received)(void *context, struct peer_message *message, const struct peer_token *token);
    /* After peer_send() said MP_ERR_AGAIN: it can take a message again. May be NULL. */
    void (*writable)(void *context);
    /* The number of connected peers has changed; comes before their first message. May be NULL. */
    void (*peers)(void *context, unsigned count);
    /* SURVEYOR: the survey of message REQUEST has ended. May be NULL. */
    void (*survey_ended)(void *context, uint64_t request);
    /* Everything that was taken is written (and answered, for REQ and SURVEYOR). Called when it becomes so. May be
     * NULL. */
    void (*drained)(void *context);
    /* peer_finish() has come to its end. */
    void (*finished)(void *context, const struct peer_result *result);
    /*
     * A connection was refused or closed for a fault, or could not be made: words for the user, once until they change.
     * A dialler that comes before its listener says so at once and goes on: worth showing when it lasts. May be NULL.
     */
    void (*trouble)(void *context, const char *what);
};

struct peer_counters {
    uint64_t sent, sent_bytes;         /* wholly written; PUB, BUS, SURVEYOR: counted for each peer */
    uint64_t received, received_bytes; /* given to the owner */
    uint64_t dropped;                  /* PUB, BUS, SURVEYOR: messages that a connected peer was not given */
    uint64_t unheard;                  /* PUB, BUS, SURVEYOR: messages sent while nobody was connected */
    uint64_t filtered;                 /* SUB: messages without a subscription */
    uint64_t resent;                   /* REQ: requests sent again; PUSH, PAIR: moved to another connection */
    uint64_t connections;              /* made, in all */
};

/*
 * Opens a peer on BASE. A listener listens when this returns; a dialler connects in the background, and again whenever
 * the connection ends, after 10 ms up to 1 s. MP_ERR_INVALID, MP_ERR_BUSY (somebody listens there), MP_ERR_EXISTS,
 * MP_ERR_IO, MP_ERR_MEMORY. The settings are copied.
 */
enum mp_error peer_open(struct event_base *base, const struct peer_settings *settings, struct peer **peer,
                        struct fault *fault);

/* Closes everything at once; what was not written is lost. A listener's socket file is removed. NULL is allowed. */
void peer_free(struct peer *peer);

/* The canonical address, with the port that a listener was given. It belongs to PEER. */
const char *peer_url(const struct peer *peer);

/*
 * Sends a message by the rules of the pattern. A successful send takes PART; a failed one leaves it with the caller.
 * MP_ERR_AGAIN: the queue is full (or the survey or the window of requests is), `writable` will be called.
 * MP_ERR_TOO_LARGE: over max_message. MP_ERR_UNSUPPORTED: the pattern only receives. MP_ERR_CLOSED: after
 * peer_finish(). MP_ERR_MEMORY. Small messages are gathered and written in one go at the end of the loop's turn.
 */
enum mp_error peer_send(struct peer *peer, const struct peer_part *part, struct fault *fault);

/*
 * REP, RESPONDENT: answers the message that came with TOKEN; takes PART, also when MP_ERR_CLOSED says that the asker
 * has gone. A requester that is never answered asks again (REQ) or waits in vain.
 */
enum mp_error peer_reply(struct peer *peer, const struct peer_token *token, const struct peer_part *part,
                         struct fault *fault);

/* Stops giving messages to `received` (at once) and reading (when receive_limit is reached), or goes on. */
void peer_receive(struct peer *peer, bool receive);

/* SUB: whether BYTES begin with a subscription. True for the other patterns. */
bool peer_subscribed(const struct peer *peer, const void *bytes, size_t size);

/* How many peers are connected (and have greeted rightly). */
unsigned peer_count(const struct peer *peer);

/* Messages that were taken and are not wholly written yet; REQ, SURVEYOR: those under way count too. */
uint64_t peer_pending(const struct peer *peer);

/* The words of the last trouble ("cannot connect to …: Connection refused"), or "" when all is well; for error texts.
 * They belong to PEER. */
const char *peer_trouble(const struct peer *peer);

/*
 * Takes no more messages to send, and calls `finished` (from the loop) when everything is written and read as said
 * above, or when LINGER microseconds have passed (0: at once; negative: no limit). Receiving goes on meanwhile. It is
 * right after the last reply of a REP, too. Then call peer_free().
 */
void peer_finish(struct peer *peer, int64_t linger);

struct peer_counters peer_counters(const struct peer *peer);

/* A received message: its bytes stay where they were received and belong to MESSAGE. */
const void *peer_message_data(const struct peer_message *message, size_t *size);
void peer_message_free(struct peer_message *message);

#endif
