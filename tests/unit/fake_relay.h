/*
 * fake_relay.h: a network with virtual time, and a small honest relay at its far end, for tests of the client.
 *
 * The network loses, repeats, delays and so reorders what goes either way; like nng's REQ sockets, a channel sends its
 * request again until it was answered, and an answered request's late copies still reach the relay. The relay keeps
 * sessions and their numbers by the rules in client/protocol.h, one topic, and one group.
 */
#ifndef FAKE_RELAY_H
#define FAKE_RELAY_H

#include "client/client.h"

enum { FAKE_MESSAGES = 20000, FAKE_SESSIONS = 64, FAKE_CHANNELS = 8 };

enum fake_state { FAKE_WAITING, FAKE_LEASED, FAKE_ACKED };

struct fake_message {
    uint32_t value; /* the body */
    uint64_t producer;
    uint64_t sequence;
    enum fake_state state;
    uint64_t session; /* of the lease */
    uint64_t lease;
    uint16_t attempt;
};

struct fake_session {
    uint64_t id;
    int64_t used;
    int64_t lease_until;
    bool ended;
    uint64_t numbers[PROTOCOL_LANES]; /* applied last */
    struct buffer recorded[PROTOCOL_LANES];
};

struct fake_event;
struct fake_channel;

struct fake_network {
    int64_t now;
    bool live; /* NOW is the real time, and what is due happens when a client looks for replies */
    uint64_t random;
    struct fake_event *events;
    struct fake_channel *channels[FAKE_CHANNELS];

    /* The weather: per thousand, and microseconds. */
    unsigned lose;
    unsigned repeat;
    int64_t delay; /* at most */
    bool cut;      /* nothing passes */
    bool cut_replies;

    /* The relay's moods, per thousand. */
    unsigned again;
    bool full;
    uint32_t takes;              /* messages that a publication may have, if its client can divide it; 0: any */
    unsigned roomy;              /* for once it takes all, whatever TAKES says; per thousand */
    enum mp_error refuse;        /* the answer to the next publication, once */
    bool forget_numbers;         /* the relay's answer to publications is a gap */
    bool lapse;                  /* the next fetch of the group is said to have lapsed */
    bool damage;                 /* the next frame that is given out has a wrong byte */
    unsigned version;            /* of the replies; 0: the right one */
    size_t stranger;             /* what a session that is not known may send, in bytes; 0: no limit */
    unsigned gaps;               /* messages left out of a group's chunks, to be given later; per thousand */
    enum mp_error refuse_commit; /* the answer to the next settlement that is atomic, once */
    bool deny;                   /* the answer to hello */
    bool knows_nobody;           /* every session is forgotten at once */
    unsigned restarts;           /* of the relay, as greetings tell */
    uint32_t lease;              /* milliseconds */
    int64_t session_life;        /* microseconds */

    struct fake_session sessions[FAKE_SESSIONS];
    unsigned sessions_count;
    struct fake_message messages[FAKE_MESSAGES];
    uint32_t messages_count;
    uint32_t acked;

    /* What came with the last settlements; outputs by the value of their bodies. */
    uint8_t outputs[FAKE_MESSAGES];
    uint64_t output_producer, output_sequence;
    char target[NAME_MAX_BYTES + 1];
    struct protocol_settlement last;
    char note[PROTOCOL_NOTE_MAX + 1];
    size_t note_size;
    uint32_t keep; /* of the last hello */

    /* Counters. */
    unsigned hellos, publishes, fetches, settles, extends, rooms, leaves, asks, settlements, notes, peeks, commits,
        delayed;
};

struct fake_network *fake_network_new(uint64_t seed);
void fake_network_free(struct fake_network *network);

struct channel *fake_channel_open(struct fake_network *network);

/* A number below LIMIT, at least 1. */
uint32_t fake_random(struct fake_network *network, uint32_t limit);
bool fake_happens(struct fake_network *network, unsigned per_thousand);

/* When the next event is; CLOCK_NEVER. */
int64_t fake_next(const struct fake_network *network);

/* Lets everything happen that is due at network->now. */
void fake_happen(struct fake_network *network);

/* Forgets all sessions that were not used since BEFORE, and their leases. */
void fake_forget_sessions(struct fake_network *network, int64_t before);

/* ---- fake_relay.c: the far end ---- */

/* Whether a request of SIZE bytes is listened to at all. */
bool fake_admits(struct fake_network *network, const struct protocol_request *request, size_t size);

/*
 * Answers REQUEST in OUT. MP_ERR_AGAIN: there is something to wait for, *WAIT milliseconds at most; OUT is the answer if
 * it does not come. FIRST: it is not such a wait that goes on.
 */
enum mp_error fake_serve(struct fake_network *network, const struct protocol_request *request, bool first,
                         struct buffer *out, uint32_t *wait);

#endif
