/*
 * private.h: what the files of the core share.
 *
 * A request lives from core_submit() to its reply; one that waits (a long poll) is on a list meanwhile. A reply is
 * built during the turn and sent after the commit.
 */
#ifndef RELAY_PRIVATE_H
#define RELAY_PRIVATE_H

#include "base/buckets.h"
#include "base/map.h"
#include "policy/rate.h"
#include "relay/core.h"

enum { ANSWER_BYTES = 16 * 1024 * 1024 }; /* of messages in a turn's replies, exceeded by one reply at most */

struct session;

struct request_list {
    struct request *first, *last;
};

struct request {
    struct request *next, *previous;           /* of the list that it is on */
    struct request_list *list;                 /* NULL: none */
    struct request *next_poll, *previous_poll; /* of all that wait with a deadline */
    bool polling, waiting;
    uint64_t connection;
    uint32_t ids[SERVER_HOPS];
    unsigned ids_count;
    struct blob *blob;
    struct protocol_request head;
    struct session *session; /* NULL before it is applied, and while it waits for other than messages */
    int64_t deadline;        /* of a long poll, monotonic */
    struct engine_subscription *subscription; /* whose waiters are the list */
};

/* A piece of a reply: bytes of its head, or of a blob. */
struct piece {
    size_t offset, size; /* in the head */
    struct blob *blob;
    const uint8_t *data;
};

struct reply {
    struct reply *next;
    uint64_t connection;
    uint32_t ids[SERVER_HOPS];
    unsigned ids_count;
    enum protocol_type type;
    uint64_t number;
    bool harmless; /* stays right when the turn is undone */
    struct buffer head;
    struct piece *pieces;
    unsigned pieces_count;
    size_t pieces_capacity;
};

enum { SESSION_NAME = 40 }; /* what is kept of how a client calls itself */

struct session {
    uint64_t id;
    int64_t created; /* relay time */
    int64_t used;    /* monotonic */
    uint64_t numbers[ENGINE_LANES];
    uint64_t results[ENGINE_LANES];
    uint32_t counts[ENGINE_LANES];
    struct {
        uint64_t number;
        uint32_t attempt;    /* 0: none */
    } refused[ENGINE_LANES]; /* the last request that was */
    uint32_t duplicates;     /* of the last publication, as far as is known */
    uint32_t keep;           /* seconds; 0: as long as any */
    unsigned connections;
    bool dirty;
    bool unsaved_settle; /* the events of its last settlement are newer than the snapshot: they are counted again */
    bool saved;          /* has a row */
    bool left;
    struct request *fetching;
    struct rate rate; /* of what it publishes */
    bool named;       /* traces know what its client calls itself, since: */
    int64_t named_at; /* monotonic */
    char name[SESSION_NAME];
};

/* Which session a connection speaks for. */
struct binding {
    uint64_t connection;
    struct session *session;
    bool shared; /* it spoke for others before */
};

struct core_counters {
    uint64_t turns, undone, requests, invalid, published, published_frames, published_bytes, delivered, settled, stale,
        repeats, gaps, refused_full, hellos, evicted;
    uint64_t types[PROTOCOL_LEAVE + 1]; /* requests, by enum protocol_type */
};

/* What is measured where there is a stopwatch: figures.h. */
struct core_measures {
    struct buckets turns, commits;
    struct measured_stage **stages; /* in the order of their first report */
    size_t stages_count, stages_capacity;
    struct map stages_by_name;
};

struct core {
    struct engine *engine;
    struct core_settings settings;
    char *name;
    uint64_t instance;
    struct moment now;
    int64_t started; /* monotonic */
    bool draining;
    bool in_trouble;
    int64_t retry_at; /* monotonic: while in trouble, nothing that is due is tried before */
    bool unloaded;    /* what is in memory is not what is on the disk: load before anything else */
    struct core_damage {
        uint32_t turns;      /* that failed because something in the store is damaged */
        int64_t first, last; /* monotonic: of these */
        struct fault fault;  /* of the last */
    } damage;

    struct request_list submitted, publications;
    size_t pending;
    bool more; /* there are requests that a turn could apply now */

    size_t answering; /* bytes of messages and texts in the turn's replies */
    struct reply *replies, *replies_last;

    struct map sessions; /* by id */
    struct map bindings; /* by connection */
    int64_t horizon;     /* sessions made before this and unknown were evicted; relay time */
    int64_t evict_due;   /* monotonic */
    int64_t surplus_due; /* monotonic: when there are too many, they are looked at no earlier */
    uint64_t *evicted;   /* ids whose rows are to be deleted */
    size_t evicted_count, evicted_capacity;
    uint64_t *dropped; /* sessions that lost their last connection */
    size_t dropped_count, dropped_capacity;

    size_t waiting;        /* bytes of requests that wait */
    struct request *polls; /* everything that waits with a deadline */
    int64_t poll_due;      /* none of them ends earlier */
    struct request_list rooms, waits;
    struct request_list readings; /* those who wait for what is read for them */

    struct report *reports; /* of runners: admin_pipeline.c */

    struct engine_deliveries deliveries; /* room that is used again */
    struct core_counters counters;
    struct core_measures measures;
};

/* core.c: replies. All take memory for granted no more than they must: without it the client gets no answer and asks
 * again. */
struct reply *core_reply(struct core *core, const struct request *request, enum mp_error status);
void core_reply_text(struct core *core, const struct request *request, enum mp_error status, const char *text);
/* Makes REPLY, which cannot be given as it is, tell the client to send the request again. */
void core_reply_again(struct reply *reply, const char *text);
/* The bytes that were put into the head since the last piece become one. */
enum mp_error core_reply_blob(struct core *core, struct reply *reply, struct blob *blob, const uint8_t *data,
                              size_t size);
void core_request_free(struct core *core, struct request *request);
/*
 * Whether REQUEST may wait. Requests that wait keep the bytes that they came in, which count against what the server
 * may hold: past a quarter of that they are answered at once, as if their wait was over.
 */
bool core_may_wait(const struct core *core, const struct request *request);
/* Answers who waits for messages of groups that are not there any more. */
void core_send_back(struct core *core, enum mp_error status, const char *text);
/* Puts REQUEST at the end of LIST, to wait until DEADLINE (monotonic; CLOCK_NEVER: without an end). */
void core_wait(struct core *core, struct request *request, struct request_list *list, int64_t deadline);
/* Takes it off. */
void core_unwait(struct core *core, struct request *request);
/* The waiters of SUBSCRIPTION, made at the first use; NULL: no memory. core_unwait() frees an empty list. */
struct request_list *core_waiters(struct engine_subscription *subscription);

/* core_session.c */
void core_hello(struct core *core, struct request *request, struct fault *fault);
/* Finds the request's session and binds its connection; false: it was answered. */
bool core_session(struct core *core, struct request *request);
enum core_turn { TURN_NOW, TURN_REPEAT, TURN_ANSWERED };
/*
 * Whether the request's number is the next of its lane, a repeat of the last, or none that can be applied: neither can
 * a late copy of one that core_refused() was told of.
 */
enum core_turn core_number(struct core *core, const struct request *request);
/* REQUEST gets an error, or no messages: its number may come again with something else. */
void core_refused(const struct request *request);
void core_applied(struct core *core, const struct request *request, uint64_t result, uint32_t count);
/* Writes SESSION's row in this turn, for what has no other row to be known by after a restart. */
enum mp_error core_session_keep(struct core *core, const struct session *session, struct fault *fault);
/* The session ID, or NULL. */
const struct session *core_session_find(const struct core *core, uint64_t id);
void core_sessions_tick(struct core *core);
void core_sessions_reset(struct core *core);
void core_sessions_free(struct core *core);
enum mp_error core_session_load(void *context, const struct engine_session *row);
/* Who asks REQUEST on LANE; now and then with what its client calls itself. */
struct engine_origin core_origin(const struct core *core, const struct request *request, unsigned lane);

enum mp_error core_session_applied(void *context, const struct engine_origin *origin, int64_t time, uint64_t result,
                                   uint32_t count);
enum mp_error core_sessions_save(void *context);
void core_leave(struct core *core, struct request *request, struct fault *fault);

/* core_publish.c. All of these: true when the request was answered, false when it waits; FAULT is set when the turn
 * has to be undone. */
bool core_publish(struct core *core, struct request *request, struct fault *fault);
bool core_room(struct core *core, struct request *request);
/* Whether there is what REQUEST, a `room` that is well formed, asks for; *MESSAGES: how many. */
enum mp_error core_has_room(struct core *core, const struct request *request, uint32_t *messages, struct fault *detail);
/*
 * Checks a publication of SESSION, and whether there is room for it: what MP_OK is said of can be published. FRAME is
 * opened deep.
 */
enum mp_error core_check_publication(struct core *core, uint64_t session, const struct protocol_publication *to,
                                     struct frame *frame, struct fault *fault);
/* Publishes it, and counts it. Any error undoes the turn. */
enum mp_error core_store(struct core *core, const struct request *request, const struct protocol_publication *to,
                         const struct frame *frame, uint64_t *first, uint32_t *duplicates, struct fault *fault);

/* core_fetch.c */
bool core_fetch(struct core *core, struct request *request, struct fault *fault);
/* Gives ready subscriptions' messages to those who wait for them. */
void core_serve(struct core *core, struct fault *fault);
/* Answers what has waited long enough. */
void core_expire(struct core *core);

/* core_settle.c */
bool core_settle(struct core *core, struct request *request, struct fault *fault);
void core_extend(struct core *core, struct request *request);

/* admin.c. FAULT as above; a request that waits, or is over, sets none. */
bool core_admin(struct core *core, struct request *request, struct fault *fault);
/* Forgets what runners have reported that were silent since. */
void core_reports_tidy(struct core *core);
/* Forgets what runners have reported. */
void core_reports_free(struct core *core);
/* figures.c */
void core_measures_free(struct core_measures *measures);

/* Answers `wait` requests whose group has drained. */
void core_check_waits(struct core *core);
/* Answers who waits for what is read for him: admin_trace.c. */
void core_check_readings(struct core *core);
/* Forgets those who waited on CONNECTION, which has ended. */
void core_leave_readings(struct core *core, uint64_t connection);

#endif
