/*
 * peers.h: what the files of the peers' kill trial share: the peers, and how one speaks with them.
 *
 * Each peer is spoken to in its own protocol over a plain socket, which shows more than its library would: which
 * acknowledgements had arrived when it was killed. A body is "<m", twelve digits, ">", so that it is found in any protocol's
 * bytes.
 */
#ifndef PEERS_H
#define PEERS_H

#include "stand.h"

enum { PEERS_BODY = 15, PEERS_INPUT = 1 << 20 };

struct peer;

/* A connection with a peer. */
struct talk {
    const struct peer *peer;
    int socket; /* -1: there is none */
    bool ended; /* the other end has */
    char *in;   /* PEERS_INPUT bytes */
    size_t have;
    uint64_t acknowledged; /* messages below this are; in order, as all of them answer */
};

struct peer {
    const char *name, *means; /* what an acknowledgement means, as its manual says */
    const char *program;      /* "": the relay of the tools */
    const char *words[8];     /* its arguments; %s is the folder */
    const char *configuration;
    bool tcp; /* it tells its port in a file of its own */
    /* Whatever comes before the first message, over a new connection. */
    void (*greet)(struct talk *talk);
    void (*put)(struct talk *talk, uint64_t number);
    /* Takes acknowledgements out of what has come. */
    void (*hear)(struct talk *talk);
    /* Reads all that is stored into the file DESCRIPTOR, as it comes. */
    void (*drain)(struct talk *talk, int descriptor);
};

extern const struct peer peers[];
extern const unsigned peers_count;

/* Writes all; a connection that has ended is noted. */
void talk_say(struct talk *talk, const void *bytes, size_t size);
void talk_format(struct talk *talk, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Reads what comes within MILLISECONDS; false: nothing did. */
bool talk_read(struct talk *talk, int milliseconds);
/* Forgets the first SIZE bytes that came. */
void talk_drop(struct talk *talk, size_t size);

#endif
