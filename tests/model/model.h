/*
 * model.h: the model-based test of the engine.
 *
 * A trial gives an engine (lib/queue/engine.h, on a store in memory, with a clock of the trial's own) random operations
 * from a seed, and the same operations to a reference: a topic is an array of messages, a group is an array of cells,
 * one an offset, and each rule is a loop over all of them. After every step both must say the same of every offset of
 * every group. Restarts, reboots, failed commits and rollbacks take the reference back to its last commit.
 *
 * Where the engine may choose (which topic of a pattern comes first, how long a delay with jitter is), the reference
 * checks that the choice is allowed, and takes it over.
 */
#ifndef TESTS_MODEL_H
#define TESTS_MODEL_H

#include "queue/local.h"

/* Behind the plain topics come those of their dead letters, and one for letters of any. */
enum { PLAIN_TOPICS = 6, LETTERS_TOPIC = 2 * PLAIN_TOPICS, TOPICS = LETTERS_TOPIC + 1, PATTERNS = 3 };
/* Group names are of users, but the last, which dead-letter topics have. */
enum { GROUP_NAMES = 4, MRETRY = GROUP_NAMES, SESSIONS = 5, GROUPS_MAX = 256, GRANTS = 16 };
/* Each group name, and none (readers), on each topic and pattern. */
enum { SUBSCRIPTIONS = (TOPICS + PATTERNS) * (GROUP_NAMES + 1) };

#define MILLISECOND INT64_C(1000)
#define SECOND INT64_C(1000000)
/* How late what is delayed may be woken. */
#define WAKE_STEP (5 * MILLISECOND)
/* When what is due and found no room is tried again. */
#define LOOK_AGAIN (100 * MILLISECOND)

/* ---- the reference --------------------------------------------------------------------------------------------- */

/* What a group knows of one offset. Zeroed: waiting, never granted. */
struct cell {
    enum state state;
    uint32_t attempt; /* charged; of a leased one, including this; of a settled one 0 */
    uint32_t suspect; /* how many like it may be granted together; 0: any number */
    int64_t failed;   /* when it failed first, relay time; 0: never */
    int64_t delay;    /* delayed, or waiting again after it: how long */
    int64_t due;      /* delayed: until when, relay time */
    uint64_t session; /* leased */
    uint64_t lease;
    int64_t deadline; /* of the lease: not on disk */
    bool several;     /* not on disk: its session held several messages when some of them lapsed */
};

struct message {
    uint64_t mark; /* the first eight bytes of its body: no two messages have the same */
    uint64_t producer, sequence;
    uint32_t size;
    uint8_t key;     /* 0: none */
    uint8_t name;    /* an id that others may have, too; 0: none */
    int64_t time;    /* of its row, relay time */
    int64_t life;    /* how long after its being sent it expires; 0: never by itself */
    int64_t expires; /* relay time */
    bool duplicate;
    uint64_t frame;  /* the first offset of its frame */
    double share;    /* bytes: its frame's, by the number of messages; not known of letters */
    uint32_t target; /* the engine's number of the group that alone sees it; 0: all */
    /* Of a dead letter: */
    uint8_t reason; /* 0: it is none */
    uint8_t group_name;
    uint8_t topic;
    bool noted;
    uint64_t offset;
    uint32_t attempts;
    int32_t code;
};

/* What a dead letter's note says. */
#define NOTE "out of order"

/* A publication that waits for its time. */
enum { PARCEL_MAX = 6, SCHEDULE_MAX = 24 };
struct parcel {
    unsigned topic; /* NOWHERE: it was deleted meanwhile */
    int64_t due;    /* relay time */
    int64_t sent;   /* relay time */
    uint32_t count;
    struct message messages[PARCEL_MAX];
};

struct topic_model {
    bool exists, letters;
    struct topic_settings settings;
    uint64_t first, end;
    uint64_t sure; /* a purge has taken all below: it does not come back with a start */
    int64_t last_time;
};

/* A group that is not there (any more) is one of no subscription on a topic that has nothing. */
enum { NOWHERE = TOPICS, NOBODY = SUBSCRIPTIONS };

struct group_model {
    unsigned topic, subscription;
    uint64_t start;
    uint64_t low;                 /* all below is settled */
    uint64_t checked;             /* all below was once found to be settled in the engine, too: */
    uint64_t totals[STATE_COUNT]; /* so many in each state */
};

struct subscription_model {
    bool made;
    uint64_t creator; /* 0: not known any more */
    struct group_settings settings;
};

struct lane {
    uint64_t number, result;
    uint32_t count;
};

/* All that a commit keeps but messages and cells, which `struct change` brings back. */
struct reference {
    struct topic_model topics[TOPICS + 1]; /* the last is NOWHERE */
    struct group_model groups[GROUPS_MAX];
    unsigned groups_count; /* no higher place was used */
    struct subscription_model subscriptions[SUBSCRIPTIONS];
    struct lane lanes[SESSIONS][ENGINE_LANES];
    uint64_t saved[SESSIONS]; /* settlements as of the last snapshot: the events of those are not read again */
    struct parcel schedule[SCHEDULE_MAX]; /* in the order in which they were published */
    unsigned schedule_count;
};

struct change {
    unsigned group;
    uint64_t offset;
    struct cell before;
};

/* ---- a trial --------------------------------------------------------------------------------------------------- */

struct options {
    uint64_t seed;
    uint64_t steps;
    uint64_t without; /* bit i: operation i does not happen */
    bool verbose;
    bool quiet; /* a failure is told by the exit code alone */
};

/* How this seed differs from others. */
struct flavour {
    unsigned weights[64]; /* of the operations */
    unsigned topics, patterns, groups, sessions;
    unsigned keys, names; /* 0: messages have none */
    uint32_t frame_max;   /* messages */
    uint32_t body_max;    /* bytes */
    uint64_t topic_max;   /* messages; a topic that has so many takes no more */
    int64_t quick, slow;  /* how far time moves between turns: usually, and sometimes */
    bool wall_steps;
    bool expires; /* messages have an expirytime */
    bool limits;  /* topics have limits */
};

struct grant_record {
    unsigned session, subscription;
    uint64_t number;
};

enum { SAID = 24, SAID_TEXT = 200 };

struct trial {
    const struct options *options;
    struct flavour flavour;
    uint64_t random;
    uint64_t step;
    struct reference now, committed;
    struct change *changes;
    size_t changes_count, changes_capacity;
    struct cell *cells[GROUPS_MAX];
    size_t cells_capacity[GROUPS_MAX];
    struct message *messages[TOPICS];
    size_t messages_capacity[TOPICS];
    struct message *deleted[TOPICS]; /* those of a topic that the turn deletes */
    size_t deleted_capacity[TOPICS];
    struct message *letters[TOPICS]; /* those of the turn that are not stored yet, by the topic that they go to */
    size_t letters_count[TOPICS], letters_capacity[TOPICS];
    bool boxes[TOPICS]; /* the turn has letters for it */
    uint64_t marks;
    uint64_t sequences[SESSIONS];
    uint64_t sessions[SESSIONS]; /* ids */

    struct store *store;
    struct engine *engine;
    const struct engine_operations *call; /* engine->operations */
    struct engine_local_settings settings;
    struct moment moment;
    int64_t offset;          /* relay time is the monotonic time and this */
    bool exact, went_back;   /* the last start knew relay time exactly */
    bool remembered;         /* a commit of this boot has told the store of it */
    bool ticked, loaded_now; /* by this step */
    struct engine_subscription *handles[SUBSCRIPTIONS];
    bool waits[SUBSCRIPTIONS];      /* somebody found nothing there, and waits */
    struct rate rates[TOPICS];      /* how much went into a topic; not on disk */
    bool moves;                     /* this tick looks at the schedule */
    int64_t started;                /* relay time of the first load of this process */
    int64_t used[SUBSCRIPTIONS];    /* relay time of the last grant or settlement; not on disk at once */
    int64_t busy[SUBSCRIPTIONS];    /* relay time when it was last seen in use */
    int64_t moved;                  /* monotonic: the last that did */
    uint64_t news[TOPICS];          /* readers: the ends when they found nothing */
    struct group *real[GROUPS_MAX]; /* the engine's; NULL: to be looked up */
    uint64_t waiting[GROUPS_MAX];   /* counted by trial_compare() */
    struct lane loaded[SESSIONS][ENGINE_LANES];
    struct grant_record grants[GRANTS];
    unsigned grants_count;
    uint64_t positions[TOPICS]; /* of one who reads */
    struct engine_deliveries deliveries;

    char said[SAID][SAID_TEXT];
    uint64_t said_count;
};

struct statistics {
    uint64_t steps, messages, deliveries, settled, commits, undone, restarts, expired;
};
extern struct statistics statistics;

/* main.c */
/* Says what failed and how to see it again, and ends the process with 1. */
_Noreturn void trial_fail(struct trial *trial, const char *format, ...) __attribute__((format(printf, 2, 3)));
void trial_say(struct trial *trial, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* trial.c */
void trial_run(const struct options *options);
uint64_t trial_random(struct trial *trial);
uint64_t trial_below(struct trial *trial, uint64_t limit); /* 0 to LIMIT - 1; 0 for 0 */
bool trial_chance(struct trial *trial, unsigned percent);
const char *topic_name(unsigned topic);
/* What subscription number INDEX is on, and its group ("" for readers). */
const char *subscription_on(unsigned index);
const char *subscription_group(unsigned index);
bool subscription_is_pattern(unsigned index);
bool subscription_is_of(unsigned index, unsigned topic); /* by its name */
/* One of those that the seed uses; now and then one of dead letters. */
unsigned choose_topic(struct trial *trial);

/* operations.c */
extern const struct operation {
    const char *name;
    unsigned weight;
    void (*run)(struct trial *trial);
} operations[];
unsigned operations_count(void);

/* act_….c: what a step can be. */
void act_publish(struct trial *trial);
void act_schedule(struct trial *trial);
void act_subscribe(struct trial *trial);
void act_grant(struct trial *trial);
void act_regrant(struct trial *trial);
void act_serve(struct trial *trial);
void act_settle(struct trial *trial);
void act_extend(struct trial *trial);
void act_shorten(struct trial *trial);
void act_release(struct trial *trial);
void act_tick(struct trial *trial);
void act_read(struct trial *trial);
void act_drained(struct trial *trial);
void act_replay(struct trial *trial);
void act_claim(struct trial *trial);
void act_peek(struct trial *trial);
void act_configure_topic(struct trial *trial);
void act_configure_group(struct trial *trial);
void act_purge(struct trial *trial);
void act_delete_topic(struct trial *trial);
void act_seek(struct trial *trial);
void act_delete_group(struct trial *trial);
void act_commit(struct trial *trial);
void act_fail_commit(struct trial *trial);
void act_undo(struct trial *trial);
void act_restart(struct trial *trial);
void act_reboot(struct trial *trial);
void act_step_wall(struct trial *trial);

/* What a grant or a read is limited to; whether it could not give all for that. */
struct engine_limits choose_limits(struct trial *trial);
bool is_limited(const struct trial *trial, const struct engine_limits *limits);
/* Messages of subscription INDEX that may be leased beside those that are; those that its rate lets out now. */
uint64_t in_flight_left(struct trial *trial, unsigned index);
uint64_t pace_left(const struct trial *trial, unsigned index);
/* The subscription number INDEX, which is made. */
struct engine_subscription *subscribe(struct trial *trial, unsigned index, unsigned session, enum engine_from from,
                                      uint64_t value);
void set_waits(struct trial *trial, unsigned index, bool waits);
/* act_subscribe.c: one of the subscriptions that the seed uses; with a group or, READERS, without. */
unsigned choose_subscription(struct trial *trial, bool readers);
enum engine_from choose_from(struct trial *trial, uint64_t *value);
/*
 * Publishes to TOPIC under ORIGIN, for DUE (0: now) and for one group (GROUPS_MAX: all); *RESULT is what the session keeps
 * of it. False: it is full.
 */
bool publish_frame(struct trial *trial, unsigned topic, unsigned session, const struct engine_origin *origin,
                   int64_t due, unsigned target, struct lane *result);
/* The row of a session that is written because of one request: ORIGIN's. */
void keep_number(struct trial *trial, unsigned session, const struct engine_origin *origin);
/* Opens the engine on the store and loads it. */
void engine_start(struct trial *trial);
/* Grants to SESSION from subscription INDEX, which is made, within LIMITS. */
void grant_messages(struct trial *trial, unsigned index, unsigned session, const struct engine_limits *limits);

/* Microseconds since the epoch, by the clock that never steps. */
int64_t relay_time(const struct trial *trial);

/* idle.c: groups that nobody uses have gone, if their settings say so; a tick has looked. */
void idle_look(struct trial *trial);
/* Whether the engine has no such subscription any more. */
bool idle_has_gone(struct trial *trial, unsigned index);
/* The relay's part when a group is gone: whoever waits is answered, and the subscription forgotten. */
void subscription_gone(struct trial *trial, unsigned index);

/* retention.c: takes over where a topic begins, if it may begin there. */
void retention_take_first(struct trial *trial, unsigned topic, const struct topic *real);

/* flow.c: what goes into topics. */
/* Whether ANSWER may be what a topic says to so many messages and bytes. */
bool flow_may_say(struct trial *trial, unsigned topic, uint64_t messages, double bytes, enum mp_error answer);
void flow_check_fits(struct trial *trial, unsigned topic, uint64_t messages, size_t bytes, bool waiting, uint64_t fits);
/* A topic that drops its oldest has dropped as many as are too many: of each group those that nobody holds. */
void flow_drop_oldest(struct trial *trial, unsigned topic);

/* schedule.c */
void reference_schedule(struct trial *trial, unsigned topic, int64_t due, const struct message *messages,
                        uint32_t count);
/* What is due has gone to its topic, if that had room. */
void reference_move_scheduled(struct trial *trial);
/* *DUE falls to when the engine has to look at the schedule. */
void schedule_compare(struct trial *trial, int64_t *due);

/* rules.c: what may be given to whom. */
bool message_is_expired(const struct trial *trial, unsigned topic, uint64_t offset);
/* Neither a duplicate nor, for a GROUP other than it (its number in the engine; 0: readers), a replay. */
bool message_is_for(const struct trial *trial, unsigned topic, uint64_t offset, uint32_t group);
/* The first offset from FROM on, below END, that may be granted to GROUP, which has no order; the topic's end: none. */
uint64_t next_grantable(struct trial *trial, unsigned group, uint64_t from, uint64_t end);
bool group_is_ordered(const struct trial *trial, unsigned group);
/*
 * For a group with `order: key`: sets HEADS[offset] for what may be granted, of each key the first that is open. What has
 * expired, and waits, is found to have when it is looked at, and stands in nobody's way. SURE: only for what may be
 * granted for sure.
 */
void find_heads(struct trial *trial, unsigned group, bool sure, bool *heads);
/* Whether GROUP can be granted anything, as far as its messages are concerned. */
bool has_grantable(struct trial *trial, unsigned group);
/*
 * Whether CELL may have become STATE without being asked: expired, a duplicate or not for the group, which is found
 * when somebody looks.
 */
bool cell_may_end(const struct trial *trial, unsigned group, uint64_t offset, enum state state);

/* letters.c: dead letters. */
/* Where GROUP's letters go; TOPICS: the model has no such topic. */
unsigned reference_letters_of(const struct trial *trial, unsigned group);
/* Whether messages of GROUP can become letters; if so OFFSET of it does: it is stored before the turn ends. */
bool reference_bury(struct trial *trial, unsigned group, uint64_t offset, const struct message *letter);
/* Stores letters: all, or COUNT of them that the engine was seen to have stored earlier. */
void letters_send(struct trial *trial);
void letters_take(struct trial *trial, unsigned topic, uint64_t count);
void letters_forget(struct trial *trial);
/* Takes over those that the engine has stored before the turn's end: a frame was full, or a group looks for its own. */
void letters_look(struct trial *trial);

/* reference.c: the rules. */
bool cell_is_settled(const struct cell *cell);
struct cell *cell_at(struct trial *trial, unsigned group, uint64_t offset);
/* Sets a cell; a rollback brings back what it was. */
void cell_set(struct trial *trial, unsigned group, uint64_t offset, const struct cell *cell);
/* Appends COUNT messages, a frame that WAITED in the schedule, to TOPIC, which is made if it is not there. */
void reference_append(struct trial *trial, unsigned topic, const struct message *messages, uint32_t count,
                      int64_t waited);
void reference_make_topic(struct trial *trial, unsigned topic, bool letters);
/* Subscription INDEX means TOPIC, as it is now: patterns do not mean dead letters. */
bool reference_is_of(const struct trial *trial, unsigned index, unsigned topic);
/* TOPIC serves for dead letters from now on, and has the group for them. */
void reference_letters_topic(struct trial *trial, unsigned topic);
void reference_make_groups(struct trial *trial, unsigned subscription, unsigned session, enum engine_from from,
                           uint64_t value);
/* The group of subscription INDEX on TOPIC; GROUPS_MAX: there is none. */
unsigned reference_group(const struct trial *trial, unsigned index, unsigned topic);
void reference_delete_group(struct trial *trial, unsigned group);
void reference_delete_topic(struct trial *trial, unsigned topic);
/* GROUP begins anew at START. */
void reference_move_group(struct trial *trial, unsigned group, uint64_t start);
uint64_t reference_position(const struct trial *trial, unsigned topic, enum engine_from from, uint64_t value);
/*
 * Settles what SETTLEMENT, SPAN offsets of it, means and SESSION holds; returns how many. CHANGE false: only counts. At the
 * request's end reference_settled() takes over which delays the engine has chosen since there were CHANGES.
 */
uint32_t reference_settle(struct trial *trial, unsigned group, uint64_t session,
                          const struct engine_settlement *settlement, uint32_t span, bool change);
void reference_settled(struct trial *trial, size_t changes);
/* Drops what waits of GROUP or is delayed; returns how many. */
uint64_t reference_drop(struct trial *trial, unsigned group);
/* How many of GROUP are in STATE. */
uint64_t reference_count(struct trial *trial, unsigned group, enum state state);
/* How many messages SESSION holds, and how many of them are suspects. */
uint64_t reference_held(struct trial *trial, uint64_t session, uint64_t *suspects);
uint64_t reference_release(struct trial *trial, uint64_t session);
void reference_tick(struct trial *trial);
void reference_commit(struct trial *trial);
/* Back to the last commit. */
void reference_rollback(struct trial *trial);
/* After a load: leases run anew, delays are what the engine says, if that is allowed. */
void reference_loaded(struct trial *trial);

/* deliveries.c */
/* Walks over the offsets that DELIVERY means; *AT is 0 at first. False: it is at the end. */
bool delivery_next(const struct engine_delivery *delivery, uint32_t *at, uint64_t *offset);
/* Checks one delivery's frame against the messages of its topic. */
void delivery_check(struct trial *trial, unsigned topic, const struct engine_delivery *delivery);
unsigned delivery_topic(struct trial *trial, const struct engine_delivery *delivery);
/* The reference's group of a delivery, which belongs to subscription INDEX. */
unsigned delivery_group(struct trial *trial, unsigned index, const struct engine_delivery *delivery);
/* What is left for others, as a grant to SESSION of subscription INDEX tells it. */
void deliveries_check_rest(struct trial *trial, unsigned index, uint64_t session);

/* compare.c */
/* The engine's group; NULL: it has none. */
struct group *trial_real(struct trial *trial, unsigned group);
/* Fails unless engine and reference say the same of every offset of every group. */
void trial_compare(struct trial *trial);

#endif
