/*
 * peer_internal.h: what the files of peer.h share.
 *
 *     peer.c        opening and closing, what the tools call, the turn
 *     peer_rules.c  the patterns: who gets which message, and whose a received one is
 *     peer_link.c   one connection, and the messages that it was given and has not written
 *     peer_dial.c   connecting, again and again
 *
 * Both roles are served by server.h; a dialler hands its connected sockets to it. libnng does not dial here, because it
 * cannot say when a message has left: 5,000 messages sent through its PUB, each reported as sent, and then nng_close(),
 * gave 1,870 at a reader that read at once and 278 at one that was late; BUS is no better.
 *
 * A message on its way out is one struct peer_outgoing, counted by references: the queue holds one, each link that it
 * was given to, and a request under way. A turn is a zero timer: it hands out what is queued, uncorks the server, and
 * calls the owner back. So nothing is called from inside the owner's calls, and messages share writes.
 */
#ifndef TRANSPORT_PEER_INTERNAL_H
#define TRANSPORT_PEER_INTERNAL_H

#include "transport/peer.h"
#include "transport/server.h"

#include <event2/event.h>

enum {
    PEER_LINK_TARGET = 256 * 1024, /* bytes given to one connection of PUSH; the rest may still go to another one */
    PEER_GATHER = 64 * 1024,       /* bytes queued before they are written without waiting for the turn's end */
    PEER_MESSAGE_COST = 128,       /* bytes that a message costs beyond its own, roughly */
    PEER_WINDOW_MAX = 4096,
    PEER_TROUBLE_TEXT = 512
};

/* A message on its way out. The ids stand behind it, then the bytes if they were copied. */
struct peer_outgoing {
    struct peer_outgoing *next; /* in the queue */
    const uint8_t *data;
    size_t size;
    void (*release)(void *owner);
    void *owner;
    uint64_t number; /* which message of peer_send() */
    unsigned references;
    unsigned ids_count;
    uint32_t ids[];
};

/* What a message counts for in limits. */
static inline size_t outgoing_cost(const struct peer_outgoing *outgoing)
{
    return outgoing->size + PEER_MESSAGE_COST;
}

/* A connection, and in a ring the messages that it was given and has not wholly written, the oldest first. */
struct peer_link {
    struct peer *peer;
    server_connection connection;
    struct peer_outgoing **ring;
    size_t capacity; /* a power of two */
    size_t first;
    size_t count;
    size_t queued;     /* cost of what is in the ring */
    size_t unreleased; /* parts that the server holds: the link lives until they are back */
    bool used;         /* it was given something */
    bool giving;       /* inside link_give() */
    bool leaving;      /* the server takes nothing for it any more; the end will be told */
    bool ended;        /* the connection has gone; only releases will come */
};

/* REQ: a request under way. */
struct peer_request {
    struct peer_outgoing *outgoing; /* NULL: free */
    server_connection connection;   /* that it was given to; 0: to none yet */
    int64_t given;                  /* monotonic µs */
};

struct peer_dial;

struct peer {
    struct peer_settings settings;
    struct peer_prefix *prefixes; /* SUB: a copy, one block with their bytes */
    struct event_base *base;
    struct server *server;
    struct address address;
    struct peer_dial *dial; /* NULL: a listener */
    bool explained;         /* the server has said why the connection ends */

    struct peer_link **links; /* in the order of their connections' numbers */
    unsigned links_count, links_capacity;
    unsigned next_link; /* where the round robin goes on */

    struct peer_outgoing *queue, **queue_end; /* taken, and given to no connection */
    uint64_t queue_count;
    size_t queue_cost;
    size_t gathered;      /* bytes given to the corked server */
    uint64_t next_number; /* of the next message */
    uint64_t linked;      /* messages in all rings, a broadcast once for each */
    size_t linked_cost;

    struct peer_request *requests; /* REQ: settings.window of them */
    unsigned requests_active, requests_unsent;
    uint32_t next_id;    /* REQ, SURVEYOR */
    bool survey_running; /* SURVEYOR */
    uint32_t survey_id;
    uint64_t survey_number;
    bool impatient; /* PUB, BUS: every peer is full and took nothing for a second: drop */

    struct server_message *inbox, **inbox_end; /* received while the owner did not want it */
    bool receiving;
    bool delivering; /* the inbox is being given: what comes now goes behind it */

    struct event *turn;    /* zero timer */
    struct event *timer;   /* resending, survey, patience: by the pattern */
    struct event *closing; /* looks whether all is done after peer_finish() */
    bool scheduled;        /* the turn will come */
    bool blocked;          /* peer_send() said MP_ERR_AGAIN */
    bool busy;             /* something was pending at the last turn */
    bool finishing, finished, freeing;
    bool parting;       /* finishing: all is written, the other ends are to close */
    int64_t finish_by;  /* monotonic µs */
    int64_t look_after; /* µs */

    struct peer_counters counters;
    char trouble[PEER_TROUBLE_TEXT];
};

/* peer.c */
void peer_schedule(struct peer *peer);
/* Writes what was given to connections. May end connections. */
void peer_flush(struct peer *peer);
/* Records words for the user, and tells them if they are new. */
void peer_complain(struct peer *peer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* peer_link.c */
/* Takes PART if it succeeds; NULL: no memory. The maker holds the one reference. */
struct peer_outgoing *outgoing_new(const struct peer_part *part, const uint32_t *ids, unsigned ids_count);
void outgoing_drop(struct peer_outgoing *outgoing);
enum mp_error link_add(struct peer *peer, server_connection connection);
struct peer_link *link_find(const struct peer *peer, server_connection connection);
/* The connection has gone: tells the rules of each message that was not wholly written. */
void link_end(struct peer_link *link);
/* Frees the links when the server has gone. */
void links_free(struct peer *peer);
/*
 * Gives OUTGOING, of which the link takes a reference of its own. False: no memory, or the connection is about to end;
 * a release or the end will come, and with it the next turn.
 */
bool link_give(struct peer_link *link, struct peer_outgoing *outgoing);

/* peer_rules.c */
enum server_protocol rules_protocol(enum peer_pattern pattern);
/* How many ids stand before a message on the wire: those of REQ and SURVEYOR are filled in when it is taken. */
unsigned rules_ids(const struct peer *peer);
/* Whether peer_send() may take a message now. */
bool rules_can_take(const struct peer *peer);
/* Takes a message that rules_can_take() allowed. */
void rules_take(struct peer *peer, struct peer_outgoing *outgoing);
/* Gives to connections what can be given. */
void rules_dispatch(struct peer *peer);
/* A connection has ended before OUTGOING was wholly written: called for the newest first, with the link's reference. */
void rules_unwritten(struct peer *peer, struct peer_outgoing *outgoing);
/* The connection has gone; called after the above. */
void rules_link_ended(struct peer *peer, server_connection connection);
/* A message was wholly written. */
void rules_written(struct peer *peer);
/* Whether MESSAGE is for the owner; fills TOKEN. */
bool rules_admit(struct peer *peer, const struct server_message *message, struct peer_token *token);
/* peer->timer has fired. */
void rules_timer(struct peer *peer);
uint64_t rules_pending(const struct peer *peer);
/* Finishing takes no longer: a survey that is under way ends now; whoever wanted to answer has had the time. */
void rules_out_of_time(struct peer *peer);
void rules_free(struct peer *peer);

/* peer_dial.c */
enum mp_error dial_new(struct peer *peer, struct peer_dial **dial, struct fault *fault);
void dial_free(struct peer_dial *dial);
void dial_connected(struct peer_dial *dial);
/* CONNECTION has ended, greeted or not; dials again when it was ours. */
void dial_disconnected(struct peer_dial *dial, server_connection connection);

#endif
