/*
 * engine.h: the seam: what keeps topics and groups. lib/relay talks to an engine and knows no more of it.
 *
 * An engine is a table of functions. All are called by one thread, inside a turn: begin() gives the turn its time,
 * commit() makes everything of the turn durable at once, rollback() undoes all of it. Between commit() and the next
 * begin() nothing is called but due() and close(). Nothing here waits for anything but the disk.
 *
 * Ownership: what a call is given stays the caller's; deliveries hold a reference to their blob, which the caller drops.
 */
#ifndef QUEUE_ENGINE_H
#define QUEUE_ENGINE_H

#include "base/blob.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/fault.h"
#include "message/frame.h"
#include "queue/settings.h"

/* Who asks, and under which number: written with what is done, so that a repeat is known after a restart. */
struct engine_origin {
    uint64_t session;
    uint64_t number;
    unsigned lane;
    const char *name; /* what its client calls itself, not empty, to be written with this; NULL: that was done */
    bool *named;      /* set when it was */
};

enum { ENGINE_LANE_PUBLISH = 0, ENGINE_LANE_SETTLE = 1, ENGINE_LANE_FETCH = 2, ENGINE_LANES = 3 };

/* What the relay keeps of a session across restarts. */
struct engine_session {
    uint64_t id;
    int64_t created; /* microseconds since the epoch */
    int64_t used;
    uint32_t keep;                  /* seconds that it is kept unused; 0: as long as any */
    uint64_t numbers[ENGINE_LANES]; /* the last applied */
    uint64_t results[ENGINE_LANES]; /* publish: first offset, ENGINE_SCHEDULED; settle: messages applied */
    uint32_t counts[ENGINE_LANES];  /* publish: messages; settle: stale ones */
};

/*
 * A consumer group on a topic or a pattern, or with an empty group the readers of one. Made by subscribe(); it stays
 * until forget(), or for good when it is a group. The fields are the relay's to read, `waiters` its own.
 */
struct engine_subscription {
    char *topic; /* or pattern */
    char *group;
    bool pattern;
    bool created;     /* the group was made now; the relay clears it when it has told */
    bool topic_made;  /* and its topic with it */
    uint64_t creator; /* the session that made the group; 0: not known any more */
    bool known;       /* readers: the topic exists (patterns: always); groups: it is there, and was not undone */
    void *waiters;    /* the relay's */
    bool ready;       /* on the engine's list of those that may have something */
    struct engine_subscription *next_ready;
};

/*
 * Messages of one frame that go to a consumer: COUNT of the SPAN offsets from FIRST on, those whose bit is set in MASK
 * (bit i of the bytes: offset first + i). Where all are meant MASK is NULL, and SPAN equals COUNT.
 */
struct engine_delivery {
    uint32_t topic;
    uint32_t group; /* 0: a reader's */
    uint64_t first;
    uint32_t count;
    uint32_t span;
    const uint8_t *mask; /* inside of BLOB or of MASK_BLOB */
    uint32_t attempt;
    const char *name;    /* the topic's; good until the end of the turn */
    struct blob *blob;   /* holds the bytes; NULL: only tells where a reader stands */
    const uint8_t *data; /* a frame */
    size_t size;
    struct blob *mask_blob; /* holds the mask when BLOB does not; NULL otherwise */
};

struct engine_deliveries {
    struct engine_delivery *items;
    size_t count;
    size_t capacity;
    size_t bytes;
    uint64_t messages;
    uint64_t waiting; /* what is there and was not given */
    bool passed;      /* a reader was brought past messages that are not for it: tell it where it stands */
    bool end;         /* nothing more is there, waiting, delayed or leased to others */
};

/* How much a grant or a read may give: one message at least, whatever its size. */
struct engine_limits {
    uint32_t messages; /* 0: no limit but the bytes */
    size_t bytes;
    size_t chunks;
    uint64_t only_first; /* a grant: only what waits of the ONLY_COUNT offsets from here on, be it out of turn */
    uint64_t only_count; /* 0: all */
    bool sets;           /* deliveries may have masks: who takes them knows what to do with that */
};

/* Where a reader or a new group begins (client/protocol.h has the same numbers). */
enum engine_from {
    ENGINE_FROM_DEFAULT = 0,
    ENGINE_FROM_START = 1,
    ENGINE_FROM_NEW = 2,
    ENGINE_FROM_OFFSET = 3,
    ENGINE_FROM_LAST = 4,
    ENGINE_FROM_TIME = 5
};

struct engine_position {
    uint32_t topic;
    uint64_t next;
};

/*
 * A frame that goes into a topic, which is made if it is not there. All that is pointed to stays the caller's; BLOB
 * holds the frame's bytes.
 */
struct engine_publication {
    const char *topic; /* not terminated, checked */
    size_t topic_size;
    const char *target; /* the group that alone sees it (a replay); not terminated, checked; empty: all */
    size_t target_size;
    int64_t due; /* relay time at which it goes into the topic, microseconds since the epoch; 0: now */
    const struct frame *frame;
    struct blob *blob;
};

/* What publish() says of a publication that waits for its time: it has no offset yet. */
#define ENGINE_SCHEDULED UINT64_MAX

enum engine_action { ENGINE_ACK = 1, ENGINE_RETRY = 2, ENGINE_RELEASE = 3, ENGINE_DEAD = 4 };

/* Why a message died. The numbers are on disk and on the wire: add at the end. */
enum engine_reason {
    ENGINE_REASON_NONE = 0,
    ENGINE_REASON_REJECTED = 1, /* its consumer said so (a command by exiting with 65) */
    ENGINE_REASON_RETRIES = 2,  /* as often as the group's policy allows it was tried */
    ENGINE_REASON_FORMAT = 3,   /* its body cannot be written in the format that was asked for */
    ENGINE_REASON_UNROUTED = 4, /* no route took it */
    ENGINE_REASON_OVERFLOW = 5, /* what it was to go into is full */
    ENGINE_REASONS = 6
};

/* A settlement's delay that leaves it to the group's policy. */
#define ENGINE_DELAY_POLICY UINT32_MAX
enum { ENGINE_NOTE_MAX = 4096 };

/*
 * What became of messages that one fetch leased. It means those of the SPAN offsets from FIRST on that the lease still
 * holds, and says that there are COUNT: what is missing is stale.
 */
struct engine_settlement {
    uint32_t group;
    uint64_t lease; /* the number of the fetch that gave it */
    uint64_t first;
    uint32_t count;
    uint32_t span; /* COUNT at least; 0: the same as COUNT */
    enum engine_action action;
    enum engine_reason reason; /* for dead; NONE is REJECTED */
    uint32_t delay;            /* milliseconds, for retry; ENGINE_DELAY_POLICY */
    int32_t exit_code;         /* of the command; -1: none */
    const char *note; /* what a dead letter keeps of the error (the tail of stderr): any bytes, not terminated */
    size_t note_size; /* ENGINE_NOTE_MAX at most */
    bool more;        /* another one of the same request follows, at once: this one may take effect with that */
};

/* Bytes of a frame that an engine stores: SQLite takes 10^9 in a row. */
#define ENGINE_FRAME_MAX ((size_t)999000000)

struct engine;
struct figures_topic;
struct figures_group;
struct figures_engine;

enum engine_capability {
    ENGINE_ATOMIC = 1 /* a turn's settlements and publications become durable together */
};

struct engine_repair {
    uint64_t next, end;    /* it is looked at up to here; of the topic */
    uint64_t first, count; /* of the messages that were given up; 0 and 0: none */
    uint64_t dropped;      /* of these, by each group */
};

/* What load() calls back. */
struct engine_load {
    void *context;
    /* A session as of the last snapshot. */
    enum mp_error (*session)(void *context, const struct engine_session *session);
    /* A request that was applied since: NUMBER on LANE, publish: RESULT and COUNT as in engine_session; settle: COUNT
     * more messages were applied. */
    enum mp_error (*applied)(void *context, const struct engine_origin *origin, int64_t time, uint64_t result,
                             uint32_t count);
};

struct engine_operations {
    const char *name;
    unsigned capabilities;

    void (*close)(struct engine *engine);

    /* Reads everything from the disk; once after opening, and again after a rollback. LOAD NULL: only to be looked at. */
    enum mp_error (*load)(struct engine *engine, struct moment now, const struct engine_load *load,
                          struct fault *fault);

    void (*begin)(struct engine *engine, struct moment now);
    /* Durable when it returns MP_OK. SNAPSHOT is called, if the engine wants sessions saved, before it commits: the
     * relay then calls put_session() and delete_session(). */
    enum mp_error (*commit)(struct engine *engine, enum mp_error (*snapshot)(void *context), void *context,
                            struct fault *fault);
    /* Forgets the turn. Nothing in memory is valid afterwards until load(). Subscriptions stay, without members; those
     * of groups that were made in the turn are not `known` after the load. */
    enum mp_error (*rollback)(struct engine *engine, struct fault *fault);
    /* Before the last commit, when nothing comes any more: it will bring all that is in memory to the disk. */
    enum mp_error (*rest)(struct engine *engine, struct fault *fault);
    /* Whether the turn has changed anything. */
    bool (*changed)(const struct engine *engine);

    enum mp_error (*put_session)(struct engine *engine, const struct engine_session *session, struct fault *fault);
    enum mp_error (*delete_session)(struct engine *engine, uint64_t id, struct fault *fault);

    /*
     * Whether TOPIC takes MESSAGES of BYTES from SESSION now: MP_OK; MP_ERR_FULL, with the reason: later;
     * MP_ERR_OVERFLOW: the topic's settings say that it refuses what does not fit.
     */
    enum mp_error (*room)(struct engine *engine, const char *topic, size_t size, uint64_t messages, uint64_t bytes,
                          uint64_t session, struct fault *fault);
    /*
     * How many of MESSAGES, BYTES in all, the topic takes now, from whom could send them in parts. WAITING: 0 also when
     * so few fit that it is better to wait on.
     */
    uint64_t (*fits)(struct engine *engine, const char *topic, size_t size, uint64_t messages, uint64_t bytes,
                     bool waiting);

    /* Whether the group that PUBLICATION is for is there: MP_OK, also when it is for all; MP_ERR_NOT_FOUND. Without a
     * frame. To be asked before publish(), for which it is an error. */
    enum mp_error (*check_target)(struct engine *engine, const struct engine_publication *publication,
                                  struct fault *fault);

    /*
     * Stores PUBLICATION, whose frame was opened deep. *FIRST is the offset of its first message, or ENGINE_SCHEDULED;
     * *DUPLICATES how many of them the topic had already (they keep their offsets, and nobody is given them).
     */
    enum mp_error (*publish)(struct engine *engine, const struct engine_publication *publication,
                             const struct engine_origin *origin, uint64_t *first, uint32_t *duplicates,
                             struct fault *fault);

    /*
     * The subscription of GROUP on TOPIC (checked names; both not terminated). A group that is not there is made for
     * SESSION, starting at FROM and VALUE; for one that is there MP_ERR_EXISTS when FROM is other than the default,
     * unless this session made it. An empty group makes nothing. MP_ERR_TOO_LARGE: a limit, before anything changed.
     */
    enum mp_error (*subscribe)(struct engine *engine, const char *topic, size_t topic_size, bool pattern,
                               const char *group, size_t group_size, uint64_t session, enum engine_from from,
                               uint64_t value, struct engine_subscription **subscription, struct fault *fault);
    /* Frees a subscription that nobody waits on: a readers', or a group's that is gone. No effect on groups. */
    void (*forget)(struct engine *engine, struct engine_subscription *subscription);

    /*
     * Tells TOPIC what to do; it is made if it is not there. MP_ERR_INVALID: the settings make no sense; MP_ERR_TOO_LARGE:
     * there are too many topics. Both before anything changed.
     */
    enum mp_error (*configure_topic)(struct engine *engine, const char *topic, size_t size,
                                     const struct topic_settings *settings, struct fault *fault);
    /*
     * The same for GROUP (not empty) on TOPIC, or on a pattern, where they hold for what matches now and later. It is made
     * if it is not there, as by subscribe(). Also MP_ERR_INVALID when its dead letters would go to where they come from.
     */
    enum mp_error (*configure_group)(struct engine *engine, const char *topic, size_t topic_size, bool pattern,
                                     const char *group, size_t group_size, const struct group_settings *settings,
                                     struct fault *fault);
    /*
     * Has TOPIC hold dead letters that a client sends: it is made as a dead-letter topic if it is not there, with the group
     * `mretry`. One that has other messages gets the group, and stays what it is: *LETTERS false. MP_ERR_TOO_LARGE.
     */
    enum mp_error (*keep_letters)(struct engine *engine, const char *topic, size_t size, bool *letters,
                                  struct fault *fault);
    /* What they were told, or the defaults. MP_ERR_NOT_FOUND. */
    enum mp_error (*topic_settings)(struct engine *engine, const char *topic, size_t size,
                                    struct topic_settings *settings, struct fault *fault);
    enum mp_error (*group_settings)(struct engine *engine, const char *topic, size_t topic_size, const char *group,
                                    size_t group_size, struct group_settings *settings, struct fault *fault);

    /* Leases messages to ORIGIN for LEASE milliseconds, and appends them. */
    enum mp_error (*grant)(struct engine *engine, struct engine_subscription *subscription,
                           const struct engine_origin *origin, const struct engine_limits *limits, uint32_t lease,
                           struct engine_deliveries *deliveries, struct fault *fault);
    /* What is still leased to ORIGIN, again, within LIMITS. */
    enum mp_error (*regrant)(struct engine *engine, struct engine_subscription *subscription,
                             const struct engine_origin *origin, const struct engine_limits *limits,
                             struct engine_deliveries *deliveries, struct fault *fault);
    /*
     * Reads without leasing: each topic from its position (ascending by topic), or from FROM and VALUE. With a group's
     * subscription: what it has not settled, from the positions, ENGINE_FROM_OFFSET or the oldest on.
     */
    enum mp_error (*read)(struct engine *engine, struct engine_subscription *subscription,
                          const struct engine_position *positions, size_t positions_count, enum engine_from from,
                          uint64_t value, const struct engine_limits *limits, struct engine_deliveries *deliveries,
                          struct fault *fault);

    /* How many of the messages of SETTLEMENT are leased as it says; no change. Not to be asked behind one with `more`. */
    uint32_t (*held)(struct engine *engine, uint64_t session, const struct engine_settlement *settlement);
    /* Settles those. */
    enum mp_error (*settle)(struct engine *engine, const struct engine_origin *origin,
                            const struct engine_settlement *settlement, uint32_t *applied, struct fault *fault);

    /* Leases of SESSION end in MILLISECONDS from now, not earlier than they would have. Returns how many there are. */
    uint32_t (*extend)(struct engine *engine, uint64_t session, uint32_t milliseconds);
    /* Leases of SESSION end in MILLISECONDS from now at the latest (its connections have gone). */
    void (*shorten)(struct engine *engine, uint64_t session, uint32_t milliseconds);
    /* Gives back everything that is leased to SESSION, as never begun. */
    enum mp_error (*release)(struct engine *engine, uint64_t session, uint64_t *messages, struct fault *fault);

    /*
     * Relay time of the turn: microseconds since the epoch that never step, by which all is kept that lasts. It is what
     * the wall clock said once, and may be another time than what it says now: `now.wall` + d is `time() + d`.
     */
    int64_t (*time)(const struct engine *engine);
    /* Does what time has brought: ends leases, wakes delayed messages. */
    enum mp_error (*tick)(struct engine *engine, struct fault *fault);
    /* When tick() has something to do again: monotonic microseconds, or CLOCK_NEVER. */
    int64_t (*due)(const struct engine *engine);

    /* The next subscription that may have something for its waiters, taken off the list; NULL when none is left. */
    struct engine_subscription *(*next_ready)(struct engine *engine);

    /* Whether GROUP has settled everything in TOPIC (or in what the pattern matches). MP_ERR_NOT_FOUND. */
    enum mp_error (*drained)(struct engine *engine, const char *topic, const char *group, bool *drained,
                             struct fault *fault);

    /*
     * What an administrator does; names are checked and terminated, a pattern is allowed where a group is meant. These
     * tell before the first change that there is no such thing (MP_ERR_NOT_FOUND), that it is in use (MP_ERR_BUSY) or that
     * it makes no sense (MP_ERR_INVALID); any other error means that the turn has to be undone.
     *
     * In use is a group when somebody waits for its messages or holds some; a topic when one of its groups is. FORCE does
     * it all the same: leases are forgotten, and settlements of them are stale. A subscription whose group or topic is
     * gone is no longer `known`: its waiters are the relay's to answer.
     */

    /* Forgets what TOPIC has below the offset BELOW: for each group what no consumer holds is dropped, and what is held
     * stays until it is settled. *MESSAGES that went. */
    enum mp_error (*purge_topic)(struct engine *engine, const char *topic, uint64_t below, uint64_t *messages,
                                 struct fault *fault);
    /*
     * Reads some of TOPIC's frames from the offset FROM on, and gives up the first that is damaged or missing: nobody is
     * given its messages, and each group drops those that it has not settled. RESULT: how far it came. To be repeated
     * until it has come to the end.
     */
    enum mp_error (*repair_topic)(struct engine *engine, const char *topic, uint64_t from, struct engine_repair *result,
                                  struct fault *fault);
    /* Deletes TOPIC, its groups, and of patterns' groups what they have of it. Its name is free at once. */
    enum mp_error (*delete_topic)(struct engine *engine, const char *topic, bool force, uint64_t *messages,
                                  struct fault *fault);
    /* Moves GROUP to FROM and VALUE, in each of its topics; what lies before that is settled, what lies behind it is not.
     * Here a group is in use only when messages are held; who waits gets what there is now. */
    enum mp_error (*seek_group)(struct engine *engine, const char *topic, const char *group, enum engine_from from,
                                uint64_t value, bool force, struct fault *fault);
    enum mp_error (*delete_group)(struct engine *engine, const char *topic, const char *group, bool force,
                                  struct fault *fault);

    /* Appends JSON: an array of topics or groups, or members ("name":value) of the engine for `status`. */
    enum mp_error (*describe_topics)(struct engine *engine, struct buffer *out);
    enum mp_error (*describe_groups)(struct engine *engine, struct buffer *out);
    enum mp_error (*describe)(struct engine *engine, struct buffer *out);

    /*
     * Numbers for those who watch (figures.h). These may also be called between turns, when what is in memory is what
     * load() and the turns since have made it. What they point to is good until the next turn.
     */
    /* Puts the numbers of all topics, or groups, into *IDS, ascending, the caller's to free(); *COUNT. MP_ERR_MEMORY. */
    enum mp_error (*list)(const struct engine *engine, bool groups, uint32_t **ids, size_t *count);
    /* False: there is no such topic or group (any more). */
    bool (*topic_figures)(const struct engine *engine, uint32_t topic, struct figures_topic *figures);
    bool (*group_figures)(const struct engine *engine, uint32_t group, struct figures_group *figures);
    /* When the oldest message that GROUP has not settled was published; 0: there is none. May ask the store. */
    int64_t (*group_oldest)(struct engine *engine, uint32_t group);
    void (*figures)(struct engine *engine, struct figures_engine *figures);
    /* Whether publications are taken, but for what single topics say: MP_OK; MP_ERR_FULL, with the reason. */
    enum mp_error (*accepts)(struct engine *engine, struct fault *fault);

    /* The name of a topic near to NAME that exists, or NULL; NAME itself if there is one, unless OTHER. */
    const char *(*nearest_topic)(struct engine *engine, const char *name, bool other);
    /* The group that may have been meant by NAME on TOPIC (or a pattern), which is not there; or NULL. */
    const struct engine_subscription *(*nearest_group)(struct engine *engine, const char *topic, const char *name);
};

struct engine {
    const struct engine_operations *operations;
};

void engine_deliveries_clear(struct engine_deliveries *deliveries); /* drops the blobs, keeps the room */
void engine_deliveries_free(struct engine_deliveries *deliveries);
/* Appends; takes the reference to the blob in any case. MP_ERR_MEMORY. */
enum mp_error engine_deliveries_add(struct engine_deliveries *deliveries, const struct engine_delivery *delivery);

/* ---- the local engine: one SQLite file ------------------------------------------------------------------------ */

/* Why messages were dropped, the `code` of their event. Numbers are on disk: add at the end. */
enum drop_reason { DROP_OVERFLOW = 1, DROP_PURGED = 2, DROP_DAMAGED = 3, DROP_REASONS = 4 };

struct store;

struct engine_local_settings {
    uint32_t snapshot_every; /* changing turns between two snapshots; 0: 1,024 */
    size_t cache;            /* bytes of frames kept in memory; 0: 16 MiB */
    uint32_t lease;          /* milliseconds that leases get after a start; 0: 30,000 */
    int64_t trace_age;       /* microseconds that events are kept; 0: a day */
    uint64_t trace_bytes;    /* of the rows of events, about; 0: 1 GiB */
    double trace_drop;       /* the share of messages of which no more than failures is kept, 0 to 1 */
    uint64_t events;         /* so many are kept at most; 0: no such limit */
    uint32_t events_step;    /* so many are deleted together; 0: 4,096 */
    bool untraced;           /* nothing is written for traces alone, to see what it costs */
    bool measure;            /* counts what `figures` says of topics and groups: meter.h */
    bool keep_store;         /* close() leaves the store open, to be opened again */
    /*
     * Examination (queue/examine.h): load() brings topics and groups to where a start would, of a store that is only read,
     * tells PROBLEM what does not fit, passes it over, and leaves the rest alone. TOPIC, GROUP: numbers; 0: of none.
     */
    void (*problem)(void *context, uint32_t topic, uint32_t group, uint64_t offset, const char *words);
    void *problem_context;
    /*
     * Of a store that was put together from what a damaged one had left (queue/recover.h): events that do not fit are applied
     * as far as they say what was settled, and `rest` saves all, so that nothing is to be replayed any more.
     */
    bool mend;
};

/* Takes STORE, also when it fails. */
enum mp_error engine_local_open(struct store *store, const struct engine_local_settings *settings,
                                struct engine **engine, struct fault *fault);

#endif
