/*
 * local.h: what the files of the local engine share.
 *
 * State in memory is what the rows say: groups change by events only. An event is written, then applied
 * (local_apply()); after a start the same function applies the events that are newer than the last snapshot. So what
 * a trace shows and what happened cannot differ.
 */
#ifndef QUEUE_LOCAL_H
#define QUEUE_LOCAL_H

#include "base/map.h"
#include "message/names.h"
#include "policy/rate.h"
#include "queue/engine.h"
#include "queue/figures.h"
#include "queue/states.h"
#include "store/store.h"

/* Ids are below TOPICS_MAX: the key of the last one's successor, which ends its range, has to fit 63 bits as well. */
enum { TOPICS_MAX = (1 << 19) - 1, CACHE_SLOTS = 64 };
#define OFFSET_MAX ((UINT64_C(1) << 44) - 1)

struct topic;
struct group;
struct deduper;
struct settling;
struct failed_runs;

/*
 * Relay time is a clock that never steps: microseconds since the epoch as the wall clock had it when the store was made,
 * counted on by the machine's steady clock. Everything in the store that is a time is relay time. While the machine
 * runs, restarts of the relay do not touch it; another boot sets it to the wall clock, but never back.
 */
struct relay_time {
    uint64_t boot;  /* struct moment's; 0: not known */
    int64_t offset; /* relay time is monotonic + offset */
};

/* A subscription and what is behind it: groups, one a topic, or for readers topics. */
struct member_list {
    void **items;
    size_t count;
    size_t capacity;
};

struct subscription {
    struct engine_subscription shared; /* first: the relay's view */
    uint32_t pattern_id;               /* of a group's pattern */
    int64_t pattern_created;
    struct group_settings settings;   /* of groups */
    uint64_t taker;                   /* the session that is to take suspects when it holds nothing; 0: none */
    struct rate rate;                 /* of groups: what was given */
    int64_t used;                     /* of groups: relay time of the last fetch or settlement */
    bool made;                        /* the group's rows are there */
    struct member_list members;       /* struct group, or struct topic for readers */
    size_t turn;                      /* where the next grant begins, so that topics take turns */
    char key[2 * NAME_MAX_BYTES + 4]; /* group, a newline, topic or pattern */
    size_t key_size;
};

/* Where a walk inside a frame stopped, so that cutting a frame message by message is not quadratic. */
struct cut_hint {
    uint64_t frame; /* first offset of the frame; UINT64_MAX: none */
    uint32_t index;
    size_t at;
};

/* Why messages of a topic were given to nobody, or to some group not. The order is on disk: add at the end. */
enum dropped { DROPPED_OVERFLOW, DROPPED_PURGED, DROPPED_EXPIRED, DROPPED_DUPLICATE, DROPPED_DAMAGED, DROPPED_REASONS };

/* What is counted of a topic for as long as it is there. */
struct topic_counters {
    uint64_t dropped[DROPPED_REASONS]; /* duplicates once, all else for each group */
    uint64_t kept_bytes;               /* of the frames that are there */
};
/* As the topic's row has them; the bytes stand behind the first four, and rows from before the fifth end there. */
enum { COUNTERS_BYTES = (DROPPED_REASONS + 1) * 8, COUNTERS_KEPT = 4, COUNTERS_LEAST = (COUNTERS_KEPT + 1) * 8 };

/* Of which sizes the messages are that are not settled: BYTES of the frames from LOW on. */
struct topic_flow {
    struct rate rate; /* of publications */
    uint64_t low;     /* where a frame begins, not above the lowest unsettled offset */
    uint64_t bytes;
};

struct topic {
    uint32_t id;
    char name[NAME_MAX_BYTES + 1];
    uint64_t first;
    uint64_t end;
    uint64_t saved_end; /* as of the last snapshot */
    int64_t created;
    int64_t last_time;
    uint64_t bytes; /* published since the start of the relay */
    bool dirty;
    bool letters; /* serves as a dead-letter topic */
    struct topic_settings settings;
    int64_t expire_due;  /* relay time: when the sweep looks for what has expired, */
    int64_t expire_look; /* and when it does if there is a turn anyway */
    uint64_t timed_end;  /* from here on no message has an expirytime */
    uint64_t swept;      /* without a group: as there */
    int64_t sweep_due;
    struct topic_counters counters, saved_counters; /* the latter as of the last snapshot */
    struct topic_flow flow;
    uint64_t oldest_end; /* where the oldest frame in the store ends; 0: not known */
    uint64_t kept;       /* bytes of frames from `first` on, if kept_known */
    bool kept_known;
    bool looking, dead; /* on the list of those to look at, and of those that have frames below `first` */
    struct topic *look_next, *dead_next;
    struct cut_hint hint; /* of readers */
    struct member_list groups;
    struct member_list readers; /* struct subscription */
};

/* The frame that holds the oldest message that a group has not settled, when somebody asked last. */
struct oldest {
    uint64_t first;
    uint32_t count;
    int64_t time;
};

struct group {
    uint32_t id;
    struct topic *topic;
    struct subscription *subscription;
    uint32_t pattern_id;
    char name[NAME_MAX_BYTES + 1];
    uint64_t start;
    int64_t created;
    uint64_t event; /* the last that was applied */
    bool dirty;
    uint64_t dead; /* messages that were dead-lettered */
    struct states states;
    struct group_order *order; /* NULL: not ordered, or nobody has asked since the start */
    struct cut_hint hint;
    struct oldest oldest;
    bool goes_on;              /* a turn has done enough for it: it is ready again in the next */
    uint64_t swept;            /* the floor that the sweep looked at last, */
    int64_t sweep_due;         /* and when its message expires by itself */
    struct cut_hint dead_hint; /* where the last dead letter came from */
};

struct lease_key {
    uint64_t session;
    uint64_t number; /* of the fetch */
    uint64_t group;  /* its id; no byte of a key is padding */
};

/* Messages of one group that one fetch was given; UNSETTLED of them are still out. */
struct lease {
    struct lease *next, *previous; /* of its holder */
    struct lease_key key;
    struct group *group;
    uint64_t first, end; /* they lie between */
    uint64_t unsettled;
    bool suspect; /* one of them may have killed a consumer */
    bool several; /* another lease of its holder lapsed, which held several messages then */
    int64_t deadline;
    int64_t granted; /* monotonic; 0: before this relay began */
};

/* A session that holds leases. */
struct holder {
    uint64_t session;
    struct lease *leases;
    uint32_t count;
    uint32_t suspects; /* leases of suspects: nothing else is granted to it meanwhile */
};

struct letter_box;

struct cached_frame {
    uint32_t topic;
    uint64_t first;
    uint32_t count;
    struct blob *blob;
    const uint8_t *data;
    size_t size;
    const uint8_t *marks; /* in BLOB: bit i: message i is a duplicate; NULL: none is */
    uint32_t target;      /* the group that alone sees it; 0: all */
    int64_t expires;      /* relay time: none of its messages expires earlier by what it says itself; CLOCK_NEVER */
    int64_t time;         /* of its being stored */
    int64_t waited;       /* microseconds that it was in the schedule before */
};

struct local_range {
    uint64_t first;
    uint32_t count;
};

struct local {
    struct engine engine; /* first */
    struct store *store;
    struct engine_local_settings settings;
    struct moment now;
    int64_t time; /* of the turn: relay time, microseconds since the epoch; never falls */
    struct relay_time clock;
    bool clock_known, clock_saved;
    bool trace_saved; /* the store says whether publications have events */

    struct map topics; /* by name */
    struct map topics_by_id;
    struct map groups;        /* by id */
    struct map subscriptions; /* by key */
    struct map holders;       /* by session */
    struct map leases;        /* by lease_key */
    struct subscription *patterns_list[4096];
    size_t patterns_count;
    uint32_t next_topic, next_group, next_pattern;
    uint64_t last_event;

    struct engine_subscription *ready;

    struct cached_frame cache[CACHE_SLOTS];
    unsigned cache_next;
    size_t cache_bytes;

    int64_t lease_due;        /* no lease ends earlier */
    int64_t delay_due;        /* no delay ends earlier */
    int64_t woke;             /* monotonic: when those that were due were woken last */
    int64_t rate_due;         /* no group whose rate holds it up is given something earlier */
    int64_t schedule_due;     /* relay time: no publication of the schedule is due earlier */
    uint64_t schedule_after;  /* the row of the schedule that was looked at last, when a turn had enough of them */
    uint64_t scheduled;       /* messages in the schedule, */
    uint64_t scheduled_saved; /* and as the store says */
    uint32_t turns;           /* changing ones since the last snapshot */
    bool snapshot_wanted;     /* by the next commit */
    uint64_t unsaved;         /* bytes of frames since the last snapshot */
    uint64_t snapshot_event;  /* the last event that it contains */
    struct topic *look;       /* what retention is to look at */
    struct topic *dead;       /* topics that have frames below `first` */
    uint32_t *gone;           /* numbers of deleted topics that have rows yet */
    size_t gone_count, gone_capacity;
    uint64_t reclaim_bytes; /* published since it was looked whether there is space to use again */
    uint32_t reclaim_turns; /* and turns since then */
    int64_t age_due;        /* monotonic: nothing that is held for its age only is old enough earlier */
    int64_t started;        /* relay time of the first load */
    int64_t idle_due;       /* relay time: no group that nobody uses goes earlier */
    uint64_t first_event;   /* the oldest that is kept */
    int64_t events_due;     /* monotonic: the oldest one's age is looked at no earlier */
    uint64_t event_bytes;   /* of their rows, about; and as of the last snapshot, without what went since: */
    uint64_t saved_event_bytes;
    struct failed_runs *failed_runs; /* local_events.c's; NULL: no sample is taken, or nothing has failed */
    uint64_t sampled_event;          /* up to here only a sample is kept */
    bool sample_more;                /* a step was not enough */
    uint64_t sampled_snapshots;      /* that were taken when it was looked at last */
    int64_t reclaim_due;             /* monotonic: when it is looked in any case, for the disk is nearly full */
    int64_t space_checked;
    bool has_space;
    bool writing;
    unsigned holding;           /* groups whose dead messages hold their keys, and whose order is known */
    struct local_range *let_go; /* letters that an event has settled */
    size_t let_go_count;
    int64_t expire_due, expire_look; /* relay time: no topic's is earlier */
    struct deduper *deduper;         /* NULL until a topic looks for duplicates */
    int64_t dedupe_due;              /* relay time: when it forgets some */
    bool goes_on;                    /* a group does */
    uint64_t commits, snapshots, lapsed, expired;
    bool held_up; /* somebody was given nothing since the last session ran out of leases */

    struct buffer lineage; /* of the publication that is being traced */
    struct meter *meter;   /* NULL: nobody counts */

    struct settling *settling;  /* settlements that become events together; NULL: there were none yet */
    struct letter_box *letters; /* dead letters of this turn */
    uint64_t letters_producer;  /* of the frames that they are in; 0: none yet */
    uint64_t letters_sequence;
};

static inline struct local *local_of(struct engine *engine)
{
    return (struct local *)engine;
}

enum mp_error members_add(struct member_list *list, void *item);
void members_remove(struct member_list *list, const void *item);

/* local.c: begins the store's transaction with the turn's first change. */
enum mp_error local_write(struct local *local, struct fault *fault);

/* local_save.c */

/* Writes TOPIC's row, with its end as of the last snapshot. */
enum mp_error local_topic_save(struct local *local, const struct topic *topic, struct fault *fault);
/* Writes the row and the blocks of GROUP as they are now. */
enum mp_error local_group_save(struct local *local, struct group *group, struct fault *fault);
/* A snapshot: everything that changed since the last one. */
enum mp_error local_save(struct local *local, struct fault *fault);
enum mp_error local_rest(struct engine *engine, struct fault *fault);

/* local_time.c */

/*
 * The relay time of a relay that starts at NOW: STORED is what the relay before it kept (NULL: none did), NEWEST a time
 * that has passed (0: none is known). Pure.
 */
struct relay_time relay_time_begin(const struct moment *now, const struct relay_time *stored, int64_t newest);
/* Finds relay time in the store at the first load, after the topics were read; later ones change nothing. */
enum mp_error local_time_load(struct local *local, struct fault *fault);
/* Writes what local_time_load() reads, once; with the first change that the relay makes. */
enum mp_error local_time_save(struct local *local, struct fault *fault);
int64_t local_time(const struct engine *engine);
/* Between relay time and the wall clock as it is now, for what users say and see. 0, "none", stays. */
int64_t local_time_to_wall(const struct local *local, int64_t time);
int64_t local_time_of_wall(const struct local *local, int64_t wall);
/* When the steady clock will show relay time TIME. */
int64_t local_time_to_monotonic(const struct local *local, int64_t time);
/* The turn's moment, with relay time for the wall clock: what is written to rows is that. */
struct moment local_moment(const struct local *local);

/* local_topic.c */
struct topic *local_topic(struct local *local, const char *name, size_t size);
/* LETTERS: a dead-letter topic. */
enum mp_error local_topic_make(struct local *local, const char *name, size_t size, bool letters, struct topic **topic,
                               struct fault *fault);
enum mp_error local_topic_add(struct local *local, const struct store_topic *row, struct topic **topic);
void local_topic_free(struct topic *topic);
enum mp_error local_room(struct engine *engine, const char *topic, size_t size, uint64_t messages, uint64_t bytes,
                         uint64_t session, struct fault *fault);
uint64_t local_fits(struct engine *engine, const char *topic, size_t size, uint64_t messages, uint64_t bytes,
                    bool waiting);
/* The first offset of TOPIC that was stored at TIME or later. */
enum mp_error local_offset_at(struct local *local, const struct topic *topic, int64_t time, uint64_t *offset,
                              struct fault *fault);

/* local_publish.c */

/* Where a frame comes from, as its row says it. */
struct local_frame_origin {
    uint64_t session; /* 0: the engine's own (a dead letter), or the schedule's */
    uint64_t request; /* the lane in the two top bits; without a session: how long it waited in the schedule, in us */
    uint32_t target;  /* the group that alone sees it; 0: all */
    bool dedupe;      /* looked for among what the topic had, if the topic does that and all see it */
};
/*
 * Puts FRAME, opened deep, at the end of TOPIC; all that does so goes this way. *DUPLICATES of its messages were known
 * already (where the topic looks for them: not in replays and not in what is the engine's own).
 */
enum mp_error local_add_frame(struct local *local, struct topic *topic, const struct local_frame_origin *origin,
                              const struct frame *frame, struct blob *blob, uint64_t *first, uint32_t *duplicates,
                              struct fault *fault);
enum mp_error local_publish(struct engine *engine, const struct engine_publication *publication,
                            const struct engine_origin *origin, uint64_t *first, uint32_t *duplicates,
                            struct fault *fault);
enum mp_error local_check_target(struct engine *engine, const struct engine_publication *publication,
                                 struct fault *fault);

/* local_events.c */
void local_events_settings(struct engine_local_settings *settings);
/* Writes EVENT, which gets its id and its time; a span of 0 is its count. */
enum mp_error local_events_add(struct local *local, struct store_event *event, struct fault *fault);
/* An event was found at a start. */
void local_events_added(struct local *local, const struct store_event *event);
enum mp_error local_events_save(struct local *local, struct fault *fault); /* with a snapshot */
/* Deletes what is kept no longer, a part of it. */
enum mp_error local_events_tick(struct local *local, struct fault *fault);
/* As of the snapshot; the events since then are added by local_events_added(). */
enum mp_error local_events_load_bytes(struct local *local, struct fault *fault);

/* local_trace.c */
/* With the first change and each snapshot: whether each publication has its event from then on. */
enum mp_error local_trace_save(struct local *local, struct fault *fault);
/* Writes who ORIGIN's session is, if that has to be said. */
enum mp_error local_trace_session(struct local *local, const struct engine_origin *origin, struct fault *fault);
/* Writes that ROW, the bytes of FRAME, came to its topic. */
enum mp_error local_trace_published(struct local *local, const struct store_frame *row, const struct frame *frame,
                                    uint32_t duplicates, struct fault *fault);
/* Bytes of what a command wrote to stderr that the event of its failure keeps. */
enum { LOCAL_TRACE_NOTE = 256 };

/* local_dedupe.c */
/*
 * Looks for the messages of FRAME, which goes to the end of TOPIC at TIME, among those of the topic's window, and notes
 * the others. *MARKS: bit i: message i is one of the *DUPLICATES; NULL: none is; good until the next call.
 */
enum mp_error local_dedupe_frame(struct local *local, const struct topic *topic, const struct frame *frame,
                                 int64_t time, const uint8_t **marks, uint32_t *duplicates, struct fault *fault);
/* Forgets what is over, as much as belongs in a turn. */
enum mp_error local_dedupe_tick(struct local *local, struct fault *fault);
enum mp_error local_dedupe_load(struct local *local, struct fault *fault);
void local_dedupe_free(struct local *local);
/* Rows of hashes that were kept in memory may be gone. */
void local_dedupe_forget(struct local *local);
size_t local_dedupe_bytes(const struct local *local);

/* local_expire.c */
/*
 * Sets bit i of MASK, which is zero, for each message INDEX + i of CACHED that has expired, of COUNT. Whether it did. No
 * walk where nothing can expire.
 */
bool local_expired_mask(struct local *local, const struct topic *topic, const struct cached_frame *cached,
                        uint32_t index, uint32_t count, uint8_t *mask);
/* When the first message of FRAME, stored at TIME after it WAITED in the schedule, expires by what it says itself. */
int64_t local_frame_expires(const struct frame *frame, int64_t time, int64_t waited);
/* CACHED was put into TOPIC. */
void local_expire_added(struct local *local, struct topic *topic, const struct cached_frame *cached);
/* Looks at TOPIC in this turn or the next: its ttl is another, or a group's floor moved back. */
void local_expire_soon(struct local *local, struct topic *topic);
enum mp_error local_expire_tick(struct local *local, struct fault *fault);
void local_expire_load(struct local *local);

/* local_schedule.c */
/* Keeps PUBLICATION until it is due. */
enum mp_error local_schedule_add(struct local *local, const struct topic *topic,
                                 const struct local_frame_origin *origin, const struct engine_publication *publication,
                                 struct fault *fault);
/* Moves publications that are due into their topics, as many as belong in a turn. */
enum mp_error local_schedule_tick(struct local *local, struct fault *fault);
enum mp_error local_schedule_load(struct local *local, struct fault *fault);
/* When the next one is due, by the wall clock as it is now; 0: there is none. */
int64_t local_schedule_due(const struct local *local);
/* Writes how many messages there are, before a commit. */
enum mp_error local_schedule_save(struct local *local, struct fault *fault);

/* local_flow.c */

/* Messages of GROUP that are waiting, delayed, leased, or were never given to it. */
uint64_t local_unsettled(const struct group *group);
/*
 * Whether TOPIC takes MESSAGES of BYTES now: MP_OK, MP_ERR_FULL, MP_ERR_OVERFLOW. What the engine itself puts into a
 * topic (dead letters) need not ask.
 */
enum mp_error local_flow_room(struct local *local, struct topic *topic, uint64_t messages, uint64_t bytes,
                              struct fault *fault);
/* How many of MESSAGES of BYTES it takes now; WAITING: if it is worth while. */
uint64_t local_flow_fits(struct local *local, struct topic *topic, uint64_t messages, uint64_t bytes, bool waiting);
/* The frame of ROW is at the end of TOPIC: counts it, and drops what is too old where the topic is told to. */
enum mp_error local_flow_added(struct local *local, struct topic *topic, const struct store_frame *row,
                               struct fault *fault);
/* The same when loading: only counts. */
void local_flow_frame(struct topic *topic, const struct store_frame *row);
/* Counts what EVENT, of TOPIC, has dropped; each event once, when it is written or found by the load. */
void local_flow_event(struct local *local, struct topic *topic, const struct store_event *event);
/* How many messages the rate of SUBSCRIPTION's group lets out now; when there are none, it is ready again later. */
uint64_t local_flow_left(struct local *local, struct subscription *subscription);
/* So many were given. */
void local_flow_granted(struct local *local, struct subscription *subscription, uint64_t messages);
/* Makes groups ready that had to wait for their rate. */
void local_flow_tick(struct local *local);
/* The frame at FIRST of OLD bytes makes way for others of BYTES. */
void local_flow_replaced(struct topic *topic, uint64_t first, uint64_t old, uint64_t bytes);
/* Frames were deleted. local_topic_save() has to follow in the same transaction. */
void local_flow_deleted(struct topic *topic, const struct store_deleted *deleted);
void local_counters_write(const struct topic_counters *counters, uint8_t row[COUNTERS_BYTES]);
/* What ROW of TOPIC, which was just added, says; an older relay's says nothing, and its frames are looked at. */
enum mp_error local_counters_read(struct local *local, struct topic *topic, const struct store_topic *row,
                                  struct fault *fault);

/* local_frames.c */
/* The frame with OFFSET of TOPIC or the first behind it; the caller drops FRAME->blob. MP_ERR_NOT_FOUND. */
enum mp_error local_frame(struct local *local, const struct topic *topic, uint64_t offset, struct cached_frame *frame,
                          struct fault *fault);
/* Keeps FRAME, which holds a reference to its blob that stays the caller's, or a copy of it. */
void local_cache_add(struct local *local, const struct cached_frame *frame);
void local_cache_clear(struct local *local);

/* local_group.c */
enum mp_error local_subscribe(struct engine *engine, const char *topic, size_t topic_size, bool pattern,
                              const char *group, size_t group_size, uint64_t session, enum engine_from from,
                              uint64_t value, struct engine_subscription **subscription, struct fault *fault);
void local_forget(struct engine *engine, struct engine_subscription *subscription);
void local_group_free(struct group *group);
/* NULL: nobody has asked for it. Groups are there only when it is `made`. */
struct subscription *local_subscription(struct local *local, const char *topic, size_t topic_size, const char *group,
                                        size_t group_size);
/* SUBSCRIPTION's group, or topic, is gone: it is no longer known, and goes when nobody waits on it. */
void local_subscription_gone(struct local *local, struct subscription *subscription);
/* Joins TOPIC, which is new, with every pattern that matches it; MAKE: makes the groups that are missing. */
enum mp_error local_topic_join(struct local *local, struct topic *topic, bool make, struct fault *fault);
/* TOPIC: the row's; NULL: it is not there. */
enum mp_error local_group_load(struct local *local, const struct store_group *row, struct topic *topic,
                               struct fault *fault);
enum mp_error local_pattern_load(struct local *local, const struct store_pattern *row, struct fault *fault);
void local_subscriptions_detach(struct local *local);
/* Finds the topics of every readers' subscription again. */
enum mp_error local_readers_attach(struct local *local);
void local_mark_ready(struct local *local, struct subscription *subscription);
void local_mark_topic(struct local *local, struct topic *topic);
struct engine_subscription *local_next_ready(struct engine *engine);
enum mp_error local_position(struct local *local, const struct topic *topic, enum engine_from from, uint64_t value,
                             uint64_t *offset, struct fault *fault);
enum mp_error local_drained(struct engine *engine, const char *topic, const char *group, bool *drained,
                            struct fault *fault);
uint64_t local_group_waiting(const struct group *group);

/* local_grant.c */
enum mp_error local_grant(struct engine *engine, struct engine_subscription *subscription,
                          const struct engine_origin *origin, const struct engine_limits *limits, uint32_t lease,
                          struct engine_deliveries *deliveries, struct fault *fault);
enum mp_error local_regrant(struct engine *engine, struct engine_subscription *subscription,
                            const struct engine_origin *origin, const struct engine_limits *limits,
                            struct engine_deliveries *deliveries, struct fault *fault);
enum mp_error local_read(struct engine *engine, struct engine_subscription *subscription,
                         const struct engine_position *positions, size_t positions_count, enum engine_from from,
                         uint64_t value, const struct engine_limits *limits, struct engine_deliveries *deliveries,
                         struct fault *fault);

/* local_apply.c */
/* Applies EVENT to GROUP: the only way in which a group changes. */
enum mp_error local_apply(struct local *local, struct group *group, const struct store_event *event);

/*
 * Of EVENT, which did not fit (local_apply() failed) because something before it is lost: what was settled stays settled, but
 * only where it says exactly what it means. Anything else is given again. MP_ERR_MEMORY.
 */
enum mp_error local_apply_settled(struct group *group, const struct store_event *event);
/* Writes EVENT (its id, time, topic and group are filled in) and applies it. */
enum mp_error local_event(struct local *local, struct group *group, struct store_event *event, struct fault *fault);

/* local_order.c */
void local_order_free(struct group *group);
/* COUNT messages of GROUP from FIRST on are in VALUE's state now. */
enum mp_error local_order_note(struct group *group, uint64_t first, uint32_t count, const struct state_value *value);

/* local_hold.c: the keys that dead messages hold */
/* COUNT letters from FIRST on were settled by GROUP; local_hold_let_go() then frees the keys. MP_ERR_MEMORY. */
enum mp_error local_hold_note(struct local *local, const struct group *group, uint64_t first, uint32_t count);
enum mp_error local_hold_let_go(struct local *local, const struct topic *letters, struct fault *fault);
/* Letters have gone otherwise: what they held is found again. */
void local_hold_forget(struct local *local);

/* GROUP has more to do than belongs in a turn. */
static inline void local_go_on(struct local *local, struct group *group)
{
    group->goes_on = local->goes_on = true;
}

/* local_settle.c */
/* What was gathered in a turn that is undone. */
void local_settling_forget(struct local *local);
uint32_t local_held(struct engine *engine, uint64_t session, const struct engine_settlement *settlement);
enum mp_error local_settle(struct engine *engine, const struct engine_origin *origin,
                           const struct engine_settlement *settlement, uint32_t *applied, struct fault *fault);

/* Whether a message whose ATTEMPT-th attempt failed has had all that its group's policy allows. */
bool local_is_exhausted(const struct group *group, uint32_t attempt);
/* When what can only be tried again, because there can be no dead letter, may be granted: relay time. */
int64_t local_retry_late(const struct local *local, const struct group *group);

/* local_dead.c */
/*
 * Makes the dead letters of RUN, leased messages of GROUP, for what DEATH says of reason, exit code and note. The caller
 * writes the event that says that they are dead. *BURIED false, and nothing was changed: there can be no letters, since
 * the topic holds dead letters itself, a frame cannot be read any more, or there can be no more topics. Where only some
 * can be buried RUN is shortened to its first messages of which the same can be said.
 */
enum mp_error local_bury(struct local *local, struct group *group, struct state_run *run,
                         const struct engine_settlement *death, bool *buried, struct fault *fault);
/* Where GROUP's dead letters go. */
void local_letters_name(const struct group *group, char name[NAME_MAX_BYTES + 1]);
/* Stores the turn's letters: before it is committed. */
enum mp_error local_letters_send(struct local *local, struct fault *fault);
/* Forgets them: the turn is undone. */
void local_letters_forget(struct local *local);

/* local_lease.c */
struct lease *local_lease(struct local *local, uint64_t session, uint64_t number, const struct group *group);
/* COUNT messages of the SPAN offsets from FIRST on. */
enum mp_error local_lease_add(struct local *local, uint64_t session, uint64_t number, struct group *group,
                              uint64_t first, uint32_t span, uint32_t count, bool suspect, int64_t deadline);
/* Whether SESSION gets nothing of SUBSCRIPTION until it holds nothing: it holds suspects, or is to take some. */
bool local_lease_drains(struct local *local, struct subscription *subscription, uint64_t session);
/*
 * How many messages of which SUSPECT may be granted together (0: no limit) SESSION may be given now; UINT32_MAX: any
 * number. 0: none; what comes behind them only if *PASS.
 */
uint32_t local_lease_limit(struct local *local, struct subscription *subscription, uint64_t session, uint32_t suspect,
                           bool *pass);
/* EVENT of GROUP has ended a lease of some of its messages, or all. */
void local_lease_settled(struct local *local, const struct group *group, const struct store_event *event);
void local_leases_clear(struct local *local);
/* Forgets all leases of GROUP. */
void local_leases_forget(struct local *local, const struct group *group);
/* After loading: leases from the states of every group. */
enum mp_error local_leases_rebuild(struct local *local);
/* After loading: when the next delay ends. */
void local_delays_rebuild(struct local *local);
uint32_t local_extend(struct engine *engine, uint64_t session, uint32_t milliseconds);
void local_shorten(struct engine *engine, uint64_t session, uint32_t milliseconds);
enum mp_error local_release(struct engine *engine, uint64_t session, uint64_t *messages, struct fault *fault);
enum mp_error local_tick(struct engine *engine, struct fault *fault);
int64_t local_due(const struct engine *engine);

/* local_drop.c */

/*
 * Drops for GROUP what is neither settled nor leased among the offsets from FIRST on to END (which is not above the
 * topic's end); *DROPPED messages.
 */
enum mp_error local_drop(struct local *local, struct group *group, uint64_t first, uint64_t end,
                         enum drop_reason reason, uint64_t *dropped, struct fault *fault);

/* local_remove.c */
enum mp_error local_repair_topic(struct engine *engine, const char *topic, uint64_t from, struct engine_repair *result,
                                 struct fault *fault);
enum mp_error local_purge_topic(struct engine *engine, const char *topic, uint64_t below, uint64_t *messages,
                                struct fault *fault);
enum mp_error local_delete_topic(struct engine *engine, const char *topic, bool force, uint64_t *messages,
                                 struct fault *fault);
enum mp_error local_seek_group(struct engine *engine, const char *topic, const char *group, enum engine_from from,
                               uint64_t value, bool force, struct fault *fault);
enum mp_error local_delete_group(struct engine *engine, const char *topic, const char *group, bool force,
                                 struct fault *fault);
/* Deletes GROUP, on the disk and in memory; its subscription stays. */
enum mp_error local_group_remove(struct local *local, struct group *group, struct fault *fault);
/* Deletes groups that nobody has used for as long as their settings say. */
enum mp_error local_idle_tick(struct local *local, struct fault *fault);
void local_idle_load(struct local *local);
/* Applies the event that moves a group. */
enum mp_error local_apply_moved(struct local *local, struct group *group, const struct store_event *event);
/* Numbers that were given out are not given out again, also when what had the highest is gone. */
enum mp_error local_ids_load(struct local *local, struct fault *fault);

/* local_config.c */
enum mp_error local_configure_topic(struct engine *engine, const char *topic, size_t size,
                                    const struct topic_settings *settings, struct fault *fault);
enum mp_error local_keep_letters(struct engine *engine, const char *name, size_t size, bool *letters,
                                 struct fault *fault);
enum mp_error local_configure_group(struct engine *engine, const char *topic, size_t topic_size, bool pattern,
                                    const char *group, size_t group_size, const struct group_settings *settings,
                                    struct fault *fault);
enum mp_error local_topic_settings(struct engine *engine, const char *topic, size_t size,
                                   struct topic_settings *settings, struct fault *fault);
enum mp_error local_group_settings(struct engine *engine, const char *topic, size_t topic_size, const char *group,
                                   size_t group_size, struct group_settings *settings, struct fault *fault);
/* What a row says; NULL and "": the defaults. MP_ERR_DAMAGED. */
enum mp_error local_topic_settings_read(struct local *local, struct topic *topic, const char *text,
                                        struct fault *fault);
enum mp_error local_group_settings_read(struct local *local, struct subscription *subscription, const char *text,
                                        struct fault *fault);
/* Puts what a row says of them into TEXT, in place of what was there, terminated. MP_ERR_MEMORY. */
enum mp_error local_topic_settings_write(const struct topic *topic, struct buffer *text);
enum mp_error local_group_settings_write(const struct subscription *subscription, struct buffer *text);
/*
 * The dead-letter topic NAME: made if it is not there; one that is there becomes one, and patterns go on without it but
 * for groups that were given something of it. The group `mretry` is made on it.
 */
enum mp_error local_letters_topic(struct local *local, const char *name, size_t size, struct topic **topic,
                                  struct fault *fault);

/* local_nearest.c */
const char *local_nearest_topic(struct engine *engine, const char *name, bool other);
const struct engine_subscription *local_nearest_group(struct engine *engine, const char *topic, const char *name);

/* local_retain.c */

/* Makes this turn look at TOPIC: a floor has moved, or what is to be retained has changed. */
void local_retain_look(struct local *local, struct topic *topic);
/* TOPIC may have something that can be deleted: `first` has moved, or a snapshot was taken. */
void local_retain_delete(struct local *local, struct topic *topic);
/* Nobody is given what lies below FIRST any more. */
void local_retain_from(struct local *local, struct topic *topic, uint64_t first);
/* A frame of SIZE bytes was published. */
void local_retain_published(struct local *local, struct topic *topic, size_t size);
/* Whether the disk has room for a publication; if it has not, what can be deleted will be. */
bool local_retain_has_space(struct local *local);
/* TOPIC goes, and what it has in the store after it. MP_ERR_MEMORY. */
enum mp_error local_retain_forget(struct local *local, struct topic *topic);
/* After loading: where topics begin, and what is to be deleted. */
enum mp_error local_retain_load(struct local *local, struct fault *fault);
enum mp_error local_retain_tick(struct local *local, struct fault *fault);
/* When that has something to do (monotonic). */
int64_t local_retain_due(const struct local *local);

/* local_meter.c: what others than the meter's own files count */

/* EVENT of GROUP was written. */
void local_meter_event(struct local *local, const struct group *group, const struct store_event *event);
/* Messages of LEASE came to the end that EVENT says. */
void local_meter_lease(struct local *local, const struct lease *lease, const struct store_event *event);
enum mp_error local_list(const struct engine *engine, bool groups, uint32_t **ids, size_t *count);
bool local_topic_figures(const struct engine *engine, uint32_t topic, struct figures_topic *figures);
bool local_group_figures(const struct engine *engine, uint32_t group, struct figures_group *figures);
int64_t local_group_oldest(struct engine *engine, uint32_t group);
void local_figures(struct engine *engine, struct figures_engine *figures);
enum mp_error local_accepts(struct engine *engine, struct fault *fault);

/* local_describe.c */
/* When the oldest message that GROUP has not settled was published, relay time; 0: there is none. */
int64_t local_oldest_time(const struct local *local, struct group *group);
enum mp_error local_describe_topics(struct engine *engine, struct buffer *out);
enum mp_error local_describe_groups(struct engine *engine, struct buffer *out);
enum mp_error local_describe(struct engine *engine, struct buffer *out);

#endif
