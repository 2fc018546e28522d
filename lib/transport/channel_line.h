/*
 * channel_line.h: one connection of a channel's lane, from the first try until requests can go over it.
 *
 * A line never waits: it goes on when its socket is ready, or when it is due.
 */
#ifndef TRANSPORT_CHANNEL_LINE_H
#define TRANSPORT_CHANNEL_LINE_H

#include "transport/address.h"
#include "transport/channel_poll.h"

#include <stddef.h>

enum {
    CHANNEL_LINE_GREETING = 8,
    CHANNEL_LINE_STASH = 1 + 8 + 4 /* what precedes a reply: IPC's byte, the length, the id */
};

/*
 * Microseconds. A host that is silent for so long beyond what the link takes (1.5 s; tests have less patience) is looked
 * for by another line. Until then TCP's own repeats, whose distances double, come soon enough: after 0.2, 0.6 and 1.4 s.
 */
extern int64_t channel_line_doubt;
/* Microseconds. Long enough for two tries of TCP's, of which the second comes after a second; short enough that the next line's
 * first one comes soon. */
#define CHANNEL_LINE_CONNECT INT64_C(2500000)

enum channel_line_stage {
    CHANNEL_LINE_ABSENT,     /* no connection, and none is tried, unless it is due */
    CHANNEL_LINE_CONNECTING, /* connect() is under way, until it is due */
    CHANNEL_LINE_GREETS,     /* the other end's greeting is awaited; whether it is still there is looked at when due */
    CHANNEL_LINE_READY
};

struct addrinfo;

struct channel_line {
    void *owner; /* the lane */
    const struct address *address;
    struct channel_poll *poll;
    enum channel_line_stage stage;
    int descriptor;         /* -1: none */
    int64_t due;            /* monotonic; CLOCK_NEVER */
    struct addrinfo *found; /* TCP: what the host's name stands for */
    struct addrinfo *next;  /* the next of them to be tried */
    size_t stash_size;
    uint8_t stash[CHANNEL_LINE_STASH];
};

void channel_line_open(struct channel_line *line, void *owner, const struct address *address,
                       struct channel_poll *poll);
void channel_line_close(struct channel_line *line);

/* Starts to connect; false when that has failed already. */
bool channel_line_start(struct channel_line *line);

/* Something can be done on its socket, which is connecting or greets; false when it has failed. It is READY at last. */
bool channel_line_ready(struct channel_line *line);

/* It is due while it connects or greets; false when it has failed. */
bool channel_line_due(struct channel_line *line, int64_t now);

/* Ends the connection; not due any more. */
void channel_line_end(struct channel_line *line);

/* LINE, which has ended, takes the connection of OTHER, which is READY and has none then. False: both have none. */
bool channel_line_take(struct channel_line *line, struct channel_line *other);

/*
 * For how many microseconds nothing was heard from the other host, which had been asked for a sign, beyond the time that
 * a sign takes on this link: a round trip and four times what it varies by, as TCP has it (RFC 6298). 0 where that is not
 * known, and on this machine. A process that stands still is not silent: its system answers.
 */
int64_t channel_line_silence(const struct channel_line *line);
/* For tests: says it instead, where it is not NULL. */
extern int64_t (*channel_line_silence_for_test)(int descriptor);

/* The flags of send(2) that spare this process a signal. */
int channel_line_send_flags(void);

#endif
