/*
 * cuts.h: what the files of the trial `cuts` share: a go-between for a client and its relay, which cuts the connection
 * at a byte, and a client that does everything that a client can ask for, once (a play).
 */
#ifndef CUTS_H
#define CUTS_H

#include "stand.h"

#include "base/buffer.h"
#include "transport/address.h"

struct event;
struct event_base;

/* ---- cuts_between.c -------------------------------------------------------------------------------------------- */

/* Which way bytes go. */
enum way { TO_RELAY, TO_CLIENT, WAYS };

/* What a byte belongs to: the protocol's types (client/protocol.h) and these. */
enum cut_kind { KIND_GREETING = 0, KIND_PEEK = 9, KIND_COMMIT = 10, KINDS = 11 };

enum cut_manner {
    CUT_CLOSE, /* both ends see an orderly end */
    CUT_RESET, /* both see a reset, where it is TCP */
    CUT_LATE,  /* the client sees an end; what it had sent comes to the relay all the same, a little later */
    CUT_MANNERS
};

/* The place of one message, or of a connection's greetings, among all bytes that went one way. */
struct passage {
    enum way way;
    enum cut_kind kind;
    uint64_t begin, end;
};

enum { PASSAGES_MAX = 256 };

struct between {
    struct event_base *base;
    struct address relay;  /* to which it connects */
    struct address listen; /* at which it listens */
    int listener;
    struct event *acceptable;
    struct joint *joints;
    uint64_t passed[WAYS]; /* bytes since between_begin() */

    bool armed;
    enum way way;
    uint64_t at; /* so many bytes go this way, then it is cut */
    enum cut_manner manner;
    unsigned late; /* milliseconds, for CUT_LATE */

    /* What came of it. */
    int64_t cut; /* the moment; 0: not yet */
    enum cut_kind kind;
    uint64_t position, length; /* bytes of that message that had passed, of so many */

    bool record; /* passages are written down */
    struct passage passages[PASSAGES_MAX];
    unsigned passages_count;
};

/* Listens in FOLDER, or at a port of this machine, as RELAY is an ipc:// or a tcp:// URL. Ends the trial if it cannot. */
void between_open(struct between *between, struct stand *stand, struct event_base *base, const char *relay);
void between_close(struct between *between);
/* Ends all connections, what is late at once, and counts from 0 again; nothing is armed. */
void between_begin(struct between *between);
void between_arm(struct between *between, enum way way, uint64_t at, enum cut_manner manner, unsigned late);

/* ---- cuts_play.c ----------------------------------------------------------------------------------------------- */

/* What is in the store by now, as the plays have it: each topic's bodies are its offsets as text. */
struct stock {
    uint64_t in, out, later, tight, letters;
};

/* Everything but the extension of leases. What differs from STOCK is found. The longest wait for one step, in µs. */
int64_t play_all(struct stand *stand, struct between *between, struct stock *stock);
/* A lease that has to be extended. */
int64_t play_extension(struct stand *stand, struct between *between, struct stock *stock);

#endif
