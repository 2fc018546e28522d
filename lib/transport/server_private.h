/*
 * server_private.h: what the parts of the SP server share.
 *
 * server.c makes, finds and ends connections and counts memory; server_accept.c gets them from listeners;
 * server_read.c turns bytes into messages; server_write.c turns messages into bytes.
 *
 * A connection that ends is closed and taken out of its slot at once, so that its id finds nothing any more. The struct
 * itself is freed, and the owner told, by an event of its own, when nobody can be in the middle of using it. Whoever
 * calls the owner asks connection_ended() afterwards.
 */
#ifndef TRANSPORT_SERVER_PRIVATE_H
#define TRANSPORT_SERVER_PRIVATE_H

#include "transport/server.h"

#include <event2/event.h>
#include <sys/stat.h>

enum {
    SERVER_GREETING = 8,
    /* What precedes the payload at most: a byte, the length, the ids. And, for admit(), the payload's beginning. */
    SERVER_PREFIX = 1 + 8 + 4 * SERVER_HOPS,
    SERVER_STASH = SERVER_PREFIX + SERVER_HEAD,
    SERVER_SCRATCH = 256 * 1024,
    /* After a message of SERVER_LARGE bytes another one is expected: the first read takes only so much of it that
     * little has to be copied from the scratch buffer to its own memory. */
    SERVER_LARGE = 64 * 1024,
    SERVER_LOOK = 4 * 1024,
    /* A peer that reads so slowly gets no more of its requests read. */
    SERVER_UNSENT_LIMIT = 4 * 1024 * 1024, /* the default */
    SERVER_SLOT_BITS = 20
};

/* Why reading a connection has stopped. */
enum { PAUSED_BY_BUDGET = 1, PAUSED_BY_UNSENT = 2 };

/* A message that could not be written at once, or the rest of one; parts before AT are gone. */
struct output {
    struct output *next;
    unsigned at;
    unsigned count;
    struct server_part parts[];
};

struct connection {
    struct connection *next; /* in one of the server's lists, or in none */
    struct connection *previous;
    struct connection_list *list;
    struct server *server;
    server_connection id;
    int descriptor; /* -1: ended */
    enum address_kind kind;
    bool greeted;
    bool joined; /* dialled by the owner */
    bool trusted;
    bool large;       /* the last message was */
    unsigned paused;  /* PAUSED_BY_… */
    unsigned stalled; /* checks in a row without progress in a message, while others wait for memory */
    int64_t deadline; /* of the greeting, monotonic microseconds */
    struct event *readable;
    struct event *writable;

    struct server_message *incoming; /* being received */
    size_t incoming_size;            /* bytes of it that are there */
    size_t incoming_mark;            /* those that were there at the last check */
    size_t stash_size;
    uint8_t stash[SERVER_STASH]; /* the beginning of a greeting or message */

    struct output *first; /* waiting to be written */
    struct output *last;
    size_t unsent;
    bool corked; /* in the list of those that are to be written when the server is uncorked */
    struct connection *next_corked;
};

struct connection_list {
    struct connection *first;
    struct connection *last;
};

struct slot {
    struct connection *connection;
    uint32_t next_free;
};

struct listener {
    struct listener *next;
    struct server *server;
    int descriptor;
    enum address_kind kind;
    struct event *acceptable;
    char *path; /* of the socket file that is to be removed, or NULL */
    dev_t device;
    ino_t inode;
};

struct server {
    struct event_base *base;
    struct server_settings settings;
    struct server_counters counters;
    uint16_t partner; /* the protocol that peers must have */
    bool ids;         /* messages begin with ids */
    bool corked;
    struct connection *corked_first; /* what has been queued for since */
    bool freed;                      /* by its owner; messages are still out */
    uint8_t *scratch;

    struct slot *slots;
    uint32_t slots_count;
    uint32_t first_free; /* slots_count: none */
    uint64_t serial;

    struct listener *listeners;
    bool accepting; /* as the owner wants it */
    bool resting;   /* no descriptors left; until rested comes */
    bool shedding;  /* the owner was told so */
    int spare;      /* a descriptor to give up then */
    struct event *rested;

    struct connection_list greeting; /* in the order of their deadlines */
    struct connection_list waiting;  /* paused by the budget */
    struct connection_list ended;
    struct event *greeting_due;
    struct event *stall_due;
    struct event *funeral;
    size_t messages; /* not yet freed */
};

static inline bool connection_ended(const struct connection *connection)
{
    return connection->descriptor < 0;
}

/* The memory that a message of SIZE bytes takes from the budget. */
static inline size_t message_cost(size_t size)
{
    return sizeof(struct server_message) + size;
}

/* server.c */
struct connection *server_find(const struct server *server, server_connection id);
enum mp_error connection_new(struct server *server, int descriptor, enum address_kind kind);
void connection_enlist(struct connection *connection, struct connection_list *list); /* NULL: in none */
void connection_pause(struct connection *connection, unsigned reason);
void connection_resume(struct connection *connection, unsigned reason);
void connection_greeted(struct connection *connection);
/* Ends it. With words (as printf) it is its peer's fault. */
void connection_end(struct connection *connection);
void connection_fault(struct connection *connection, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct server_message *server_message_new(struct server *server, size_t size);
void server_trouble(struct server *server, const char *what, int descriptor);

/* server_accept.c */
void server_listeners_update(struct server *server);
void server_listeners_free(struct server *server);
void server_rested(evutil_socket_t descriptor, short what, void *context);

/* server_read.c */
void connection_readable(evutil_socket_t descriptor, short what, void *context);

/* server_write.c */
void connection_writable(evutil_socket_t descriptor, short what, void *context);
void connection_drop_output(struct connection *connection);
void connection_uncork(struct connection *connection); /* takes it out of the list */

#endif
