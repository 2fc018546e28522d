/*
 * private.h: what the client's files share. client.c has the life of the session and the control lane; each of
 * client_publish.c, client_fetch.c and client_settle.c has one lane; client_commit.c shares the last.
 *
 * A lane's file gives four functions: …_pump sends what is to be sent, when the lane is free; …_answered takes the
 * reply to its request; …_welcomed begins anew under a new session; …_due says when to pump next.
 *
 * When the relay does not know a session any more, each lane finds out by its own reply, and decides for its own
 * request what that means; see client_session_lost() for those to which no reply can come.
 */
#ifndef CLIENT_PRIVATE_H
#define CLIENT_PRIVATE_H

#include "client/client.h"

/*
 * The relay keeps a session for an hour after it applied a request. So a request that got MP_ERR_SESSION within this
 * time (microseconds) of being sent was not applied by an earlier copy of itself either.
 */
#define CLIENT_DOUBT INT64_C(60000000)

enum { CLIENT_NAME_MAX = NAME_MAX_BYTES, CLIENT_SESSIONS_IN_VAIN = 5 };

/* A lane of the channel and the request that is under way on it. */
struct client_lane {
    bool busy;
    enum protocol_type type;
    uint64_t number;
    uint64_t session;
    struct {
        uint64_t session;
        uint64_t number;
        uint32_t attempt;
    } numbered;       /* the last request that had a number */
    uint64_t proofs;  /* the client's, when it was sent */
    int64_t wake;     /* nothing is sent before */
    int64_t pause;    /* the last wait before a repeat; grows from one to the next */
    int64_t asked;    /* when the request was sent; -1: since the last client_process() */
    int64_t probe;    /* when to ask whether the session is known, as no answer comes */
    int64_t orphaned; /* when another lane heard that its session is not known; CLOCK_NEVER */
};

struct client_publishing {
    bool active;    /* FRAME is to be stored; else it is only a buffer for the next one */
    bool full;      /* the owner was told so */
    bool wait_room; /* the next request is `room` */
    bool fixed;     /* FRAME keeps its origin */
    char topic[NAME_MAX_BYTES + 1];
    char target[NAME_MAX_BYTES + 1];
    enum protocol_when when;
    int64_t value;
    struct frame_builder frame;
    /*
     * A frame of which only parts are taken at a time: FRAME is the part that is under way, cut out of WHOLE from
     * `part` to `rest`.
     */
    bool divided;
    bool narrow; /* this part was refused, though there was room for so many on the average: room is asked for it */
    struct frame_builder whole;
    struct frame opened; /* WHOLE */
    struct frame_cursor part, rest;
    uint64_t session;  /* under which FRAME goes out */
    uint64_t number;   /* of the publication that is under way, or of the next */
    uint64_t sequence; /* of the first message of the next frame */
    bool sent;         /* FRAME, or more of WHOLE, under this number and in this session: */
    int64_t since;     /* when, or when room was asked for that it still needed; -1: since the last client_process() */
    bool doubtful;     /* it waited for room when its session was lost, long after that */
    int64_t room_asked;
    uint64_t producer_was; /* the origin of what was stored last */
    uint64_t sequence_was;
};

struct client_fetch {
    bool subscribed;
    bool active;
    bool began;    /* the group had an answer, so it is there */
    bool claiming; /* what is under way is a claim of CLAIM_COUNT messages from CLAIM_FIRST on */
    uint64_t claim_first;
    uint32_t claim_count;
    char topic[NAME_MAX_BYTES + 1];
    char group[NAME_MAX_BYTES + 1]; /* "": a reader */
    struct client_subscription subscription;
    uint32_t messages;
    uint32_t wait;
    int64_t asked;       /* when the request was sent */
    uint64_t number;     /* of the next fetch */
    uint64_t lease_base; /* fetches of earlier sessions: the owner's lease numbers are never used twice */
    struct protocol_position *positions; /* ascending topics */
    uint32_t positions_count;
    uint32_t positions_capacity;
};

/* A settlement with publications, all or nothing. */
struct client_commit {
    bool active;
    bool
        under_way; /* it has the number of the settle lane that is due: until it is answered, nothing else may have it */
    bool yield;    /* one was done: settlements that wait come next */
    bool full;     /* the owner was told so */
    struct buffer request;
    uint32_t total; /* messages to be settled */
    int64_t since;  /* when it was first sent; -1: since the last client_process() */
};

struct client_settlements {
    struct protocol_settlement *waiting; /* with the owner's lease numbers, and notes of their own */
    uint32_t waiting_count;
    uint32_t waiting_capacity;
    struct buffer request;  /* the body of what is under way; empty: nothing is */
    uint32_t request_total; /* messages in it */
    bool request_quiet;     /* nobody is to be told which of them came too late */
    uint64_t number;
    uint32_t stale; /* messages to be reported as stale */
    struct client_commit commit;
};

struct client_control {
    uint64_t number;
    bool hello; /* to be said */
    bool extend;
    bool leaving;
    bool left;
    bool asking;
    struct buffer ask;
    int64_t extend_at;
    int64_t extend_sent;  /* the extension that was sent last */
    int64_t leased_until; /* what is held is leased at least until then, */
    uint64_t lapsed;      /* but for this lease and those before it, which may have ended */
};

struct client {
    struct channel *channel;
    struct client_settings settings;
    char name[CLIENT_NAME_MAX + 1];
    int64_t now;
    int64_t before;   /* `now` of the call before */
    bool broken;      /* failed() was called */
    bool greeted;     /* WELCOME is of a session that the relay knows */
    uint64_t proofs;  /* answers that only a relay gives that knows the session */
    unsigned in_vain; /* sessions that ended before anything was done in them */
    struct protocol_welcome welcome;
    uint64_t held; /* messages leased and not settled */
    struct client_lane lanes[CHANNEL_LANES];
    struct client_publishing publication;
    struct client_fetch fetch;
    struct client_settlements settlements;
    struct client_control control;
    struct buffer scratch; /* heads of requests */
};

struct client_hold {
    unsigned references;
    struct channel_reply *reply;
};

/* Whether LANE may send now. */
bool client_lane_free(const struct client *client, enum channel_lane lane);

/*
 * Sends a request on LANE, which is idle: the header with FLAGS, HEAD and REST (either may be NULL). The caller keeps
 * both for a repeat.
 */
enum mp_error client_send(struct client *client, enum channel_lane lane, enum protocol_type type, unsigned flags,
                          uint64_t number, const struct buffer *head, const struct buffer *rest, struct fault *fault);

/* The lane's next request waits, longer each time until client_calm(). */
void client_pause(struct client *client, enum channel_lane lane);
void client_calm(struct client *client, enum channel_lane lane);

/* Whether STATUS only asks to send the same again. */
bool client_is_passing(enum mp_error status);

/* Tells the owner, and ends all dealings. */
void client_fail(struct client *client, enum mp_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * LANE's request was answered with MP_ERR_SESSION: says hello again, unless that was done. A publication or settlement
 * that is under way, with a number above 1, can neither be applied nor, if it is large, be answered any more (a relay
 * closes the connection of a stranger who sends much): it is lost, too. Number 1 of a young session may be applied; it
 * is given CLIENT_DOUBT to be answered.
 */
void client_session_lost(struct client *client, enum channel_lane lane);

/* Milliseconds of a lease; 0: not known yet. */
uint32_t client_lease_time(const struct client *client);
/* LEASE has come, of messages that are not in `held` yet. */
void client_leased(struct client *client, uint64_t lease);
/* HELD has changed: begins or ends the extending of leases. */
void client_held(struct client *client);
/* MESSAGES fewer are held. */
void client_release(struct client *client, uint32_t messages);

/*
 * Gives FRAME, which is finished, the origin that this session's next frame must have, unless it has it: it may have
 * been built under another session. Only the header changes. What is not sent then is to be taken back by lowering the
 * publication's sequence.
 */
void client_adopt_frame(struct client *client, struct frame_builder *frame);

void client_publish_pump(struct client *client);
void client_publish_answered(struct client *client, const struct protocol_reply *reply);
/* The request that is under way meets a relay that does not know its session. */
void client_publish_lost(struct client *client);
void client_publish_welcomed(struct client *client, bool restarted);
void client_publish_trim(struct client *client);
void client_publish_free(struct client *client);

void client_fetch_pump(struct client *client);
void client_fetch_answered(struct client *client, const struct protocol_reply *reply, struct client_hold *hold);
void client_fetch_welcomed(struct client *client);
void client_fetch_free(struct client *client);

void client_settle_pump(struct client *client);
void client_settle_answered(struct client *client, const struct protocol_reply *reply);
void client_settle_lost(struct client *client);
void client_settle_welcomed(struct client *client);
void client_settle_trim(struct client *client);
void client_settle_free(struct client *client);

/* What client_settle.c asks client_commit.c, which shares its lane. */
bool client_commit_pump(struct client *client); /* true: it is its turn, nothing else goes out */
void client_commit_answered(struct client *client, const struct protocol_reply *reply, const struct fault *fault);
void client_commit_lost(struct client *client);
/* Ends it with ERROR, unless it is under way or there is none. */
void client_commit_drop(struct client *client, enum mp_error error);

#endif
