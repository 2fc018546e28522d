/*
 * server.h: an SP server on libevent: serves nng's and nanomsg's sockets without threads.
 *
 * It speaks the wire format of the SP protocols (sp-tcp-mapping-01 and sp-ipc of nanomsg; for request/reply
 * sp-request-reply-01): a greeting of 8 bytes each way (00 53 50 00, the 16-bit protocol number, 00 00), then messages:
 * over TCP a 64-bit big-endian length and the payload, over IPC the same behind a byte 01. For REQ, REP, SURVEYOR and
 * RESPONDENT the payload begins with 32-bit ids of which the last has its top bit set; the reply repeats them. For
 * PAIR1 it begins with one word, the number of hops. The server strips and keeps them.
 *
 * What arrives is given to the owner message by message, in the loop's thread. All callbacks come from the loop, never
 * from inside a call of a function of this header, and may call all of them but server_free().
 *
 * Memory: idle connections keep no buffer; the payloads that are being received or wait for their owner share one
 * budget, and reading stops while it is spent. It can be exceeded by one message and 256 KiB. What waits to be written
 * is not counted; of a connection with more than unsent_limit of it, no more is read. An owner that answers in another
 * turn asks server_unsent() first: a peer can have sent thousands of small requests at once and read none of the
 * replies.
 */
#ifndef TRANSPORT_SERVER_H
#define TRANSPORT_SERVER_H

#include "base/fault.h"
#include "transport/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct event_base;
struct server;

/* SP protocol numbers (nanomsg's and nng's). */
enum server_protocol {
    SERVER_PAIR0 = 0x10,
    SERVER_PAIR1 = 0x11,
    SERVER_PUB = 0x20,
    SERVER_SUB = 0x21,
    SERVER_REQ = 0x30,
    SERVER_REP = 0x31,
    SERVER_PUSH = 0x50,
    SERVER_PULL = 0x51,
    SERVER_SURVEYOR = 0x62,
    SERVER_RESPONDENT = 0x63,
    SERVER_BUS = 0x70
};

enum { SERVER_HEAD = 64, SERVER_HOPS = 8 };

/* Names a connection; never used twice. */
typedef uint64_t server_connection;

/* A received message. The owner that takes it frees it with server_message_free(). */
struct server_message {
    struct server_message *next; /* the owner's */
    struct server *server;
    server_connection connection;
    uint32_t ids[SERVER_HOPS]; /* as received: REP, RESPONDENT: to be repeated; REQ, SURVEYOR: what is answered; PAIR1:
                                  the hops; big-endian bytes as on the wire */
    unsigned ids_count;
    size_t size;
    uint8_t data[]; /* without the ids */
};

/* A part of a message to be sent. RELEASE(owner) is called once when the bytes are no longer needed. */
struct server_part {
    const void *data;
    size_t size;
    void (*release)(void *owner); /* NULL: the bytes are copied before server_send returns */
    void *owner;
};

struct server_settings {
    enum server_protocol protocol;
    size_t max_message;       /* bytes; a longer one closes its connection */
    size_t stranger_message;  /* bytes allowed before the owner called server_trust(); 0: as max_message */
    size_t read_budget;       /* bytes read of one connection in a turn of the loop; 0: 256 KiB */
    size_t total_budget;      /* bytes of payloads held in all; 0: 64 MiB */
    unsigned max_connections; /* 0: no limit but the descriptors */
    size_t unsent_limit;      /* bytes that wait to be written to a peer at which no more is read from it; 0: 4 MiB */
    int64_t greeting_timeout; /* microseconds a peer has to send its greeting; 0: 5 s */
    int64_t stall_timeout;    /* microseconds in which a peer in the middle of a message has to send 16 KiB of it, while
                                 others wait for memory; 0: 5 s */

    /*
     * Microseconds after which another host that acknowledges nothing counts as gone, whether something is on its way to
     * it or not, and its connection ends (TCP; where the system can be told so). Also one that answers, but has taken
     * nothing of what it is sent for that long. 0: as long as the system waits, which can be hours.
     */
    int64_t silence_timeout;

    void *context;
    /* A peer greeted rightly. */
    void (*connected)(void *context, server_connection connection);
    /*
     * A connection has ended; nothing more comes from it, and what is sent to it is dropped. Called before the parts
     * that were not wholly written are released, so that the owner can tell them from those that were.
     */
    void (*disconnected)(void *context, server_connection connection);
    /*
     * May be NULL. A message longer than stranger_message from a connection that is not trusted begins with these
     * (up to SERVER_HEAD) bytes: true to receive it, false to close the connection.
     */
    bool (*admit)(void *context, server_connection connection, const uint8_t *head, size_t size, uint64_t total);
    /* The owner takes MESSAGE. */
    void (*received)(void *context, struct server_message *message);
    /* May be NULL: a connection was closed for what it sent, or could not be accepted; one line for the log. */
    void (*trouble)(void *context, const char *what, const char *peer);
};

struct server_counters {
    uint64_t accepted, refused, closed_by_fault, received, received_bytes, sent, sent_bytes;
    unsigned connections;
    size_t held; /* bytes of messages held, with what goes with each */
};

/*
 * Makes a server on BASE; free it with server_free(), which closes its listeners and connections, and calls nobody.
 * Messages that the owner still has stay good until they are freed.
 */
enum mp_error server_new(struct event_base *base, const struct server_settings *settings, struct server **server,
                         struct fault *fault);
void server_free(struct server *server);

/* Listens on ADDRESS as address_listen() does; the socket file is removed by server_free(). */
enum mp_error server_listen(struct server *server, struct address *address, struct fault *fault);

/* Takes over a listening DESCRIPTOR (of systemd, say) of that kind. */
enum mp_error server_adopt(struct server *server, int descriptor, enum address_kind kind, struct fault *fault);

void server_message_free(struct server_message *message);

/* The connection may now send messages up to max_message unasked. */
void server_trust(struct server *server, server_connection connection);

/*
 * Sends a message of COUNT parts to CONNECTION, behind IDS for the protocols that have them. Each part's release is
 * called once, also when the connection has gone (false is returned then). It is written at once as far as the socket
 * takes it.
 */
bool server_send(struct server *server, server_connection connection, const uint32_t *ids, unsigned ids_count,
                 const struct server_part *parts, unsigned count);

/* The name of an SP protocol's number, "pull" for 0x51; NULL for an unknown one. */
const char *server_protocol_name(unsigned protocol);

/* Bytes that wait to be written to CONNECTION; 0 when it has gone. */
size_t server_unsent(const struct server *server, server_connection connection);

/*
 * For direct mode (peer.h), whose diallers and listeners are both served by this:
 *
 * server_join() takes over a connected DESCRIPTOR, non-blocking, that the owner dialled; *CONNECTION names it from now
 * on. For a joined connection `disconnected` is called however it ends, also when it never greeted. When it fails
 * DESCRIPTOR stays with the caller. MP_ERR_MEMORY, MP_ERR_IO.
 */
enum mp_error server_join(struct server *server, int descriptor, enum address_kind kind, server_connection *connection,
                          struct fault *fault);

/*
 * While a server is corked, server_send() only queues. Uncorking writes what every connection has queued, many messages
 * in a call of the system.
 */
void server_cork(struct server *server, bool cork);

/*
 * Bytes that the other end has not taken: those that wait to be written, and, where the system can tell (SIOCOUTQ,
 * SO_NWRITE), those that it has not read (IPC) or not acknowledged (TCP). 0 when the connection has gone.
 */
size_t server_unread(const struct server *server, server_connection connection);

/*
 * Tells the other end that nothing more comes (a half-close); what it still sends is received. SP programs close the
 * connection when they have read that far, which `disconnected` then tells. Only when nothing is unsent.
 */
void server_half_close(struct server *server, server_connection connection);

/* Stops accepting (drain), or goes on. */
void server_accept(struct server *server, bool accept);

void server_close(struct server *server, server_connection connection);

struct server_counters server_counters(const struct server *server);

#endif
