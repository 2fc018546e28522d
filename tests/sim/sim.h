/*
 * sim.h: the simulation: the relay's core and real clients in one process, from one seed.
 *
 * Time is virtual and chance is a number: a run is repeated exactly by its seed. Clients are lib/client over channels of
 * a network that loses, delays, repeats and reorders what it carries and cuts connections; the relay is lib/relay's core
 * with the local engine on a store in memory, which crashes in the middle of turns and is started again on what it had
 * committed. Actors (producers, consumers, readers, a bridge that settles and publishes in one step) work through a
 * storm of faults; then comes a calm in which everything must be done, and the ledger accounts for every message.
 *
 *     world.c     time, chance, the order of what happens
 *     network.c   channels and connections
 *     broker.c    the relay: requests in, turns, replies out, crashes
 *     faults.c    the storm
 *     ledger.c    what was sent, and whether each reply and delivery is true
 *     audit.c     at the end: the store's rows against the ledger
 *     rules.c     the settings of topics and groups
 *     producer.c, consumer.c, bridge.c, stage.c, administrator.c    the actors
 */
#ifndef SIM_H
#define SIM_H

#include "base/blob.h"
#include "base/map.h"
#include "client/client.h"
#include "relay/core.h"
#include "store/store.h"

#define SECOND INT64_C(1000000)
#define MILLISECOND INT64_C(1000)

enum {
    TOPICS = 5,       /* a.0 a.1 b.2 b.3, and out.4 for the bridge */
    OUTPUT_TOPIC = 4, /* where the bridge publishes */
    ACTORS_MAX = 24,
    MAX_MESSAGE = 32 * 1024,
    STRANGER_MESSAGE = 4096 /* as the relay's server does: more is only taken from a session that is known */
};

extern const char *const topic_names[TOPICS];
/* The group that an administrator moves: what comes to it is looked at, what became of it is not. */
#define MOVED "moved"

struct world;
struct actor;

/* ---- world.c --------------------------------------------------------------------------------------------------- */

enum happening_kind {
    HAPPEN_REQUEST,     /* bytes reach the relay's end of CONNECTION */
    HAPPEN_REPLY,       /* bytes reach the client's end */
    HAPPEN_CLOSED,      /* the relay learns that CONNECTION has ended */
    HAPPEN_CUT,         /* the client learns it */
    HAPPEN_CONNECT,     /* LANE of LINK tries to connect */
    HAPPEN_RESEND,      /* the lane's request has had no answer for long */
    HAPPEN_RELAY_START, /* the relay is started again */
    HAPPEN_STROBE,      /* the wall clock is set to and fro */
    HAPPEN_FAULT        /* the next fault of the storm */
};

struct happening {
    int64_t at;
    uint64_t order; /* of two at the same time the older comes first */
    enum happening_kind kind;
    uint32_t link, lane;
    uint64_t connection;
    uint32_t id;
    struct blob *blob;
};

/* What the storm does, chosen by the seed: probabilities per thousand. */
struct weather {
    unsigned lose, repeat, late, slow, half_open;
    int64_t fault_every; /* microseconds between two faults, on the average */
    bool clock_steps, long_pauses, full_disks, broken_commits, relay_crashes, actor_crashes, cuts;
    bool pauses, strobes, dead_disks; /* only where WIDE */
};

/* What a topic's settings say, chosen by the seed; its messages are made to fit. */
struct topic_rules {
    bool keyed;            /* messages have keys */
    bool dedupes;          /* by id, for longer than a run: each message has one, and what is in doubt is sent again */
    unsigned delayed;      /* per thousand: frames that are delayed */
    int64_t ttl;           /* microseconds; 0: none */
    uint64_t max_messages; /* 0: no limit */
    uint64_t max_bytes;    /* the same */
    bool rejects, drops;   /* what is too much: refused, or the oldest goes */
    bool purged;           /* an administrator has purged it */
};

struct statistics {
    uint64_t steps, turns, requests, replies, crashes, undone, cuts, repeats, messages, deliveries, settlements;
    uint64_t pauses, strobes, dropped, refused, claims, peeks, changes;
};

/* The wall clock is set by SWING, back, and so on. */
struct strobe {
    int64_t swing;
    unsigned left;
};

struct broker;
struct network;
struct ledger;

struct world {
    uint64_t seed, random;
    int64_t now;         /* microseconds since the start */
    int64_t wall_offset; /* wall clock minus NOW */
    uint64_t order;
    bool wide;    /* also what came to the simulation later, so that the seeds without it stay what they are */
    bool calm;    /* the storm is over */
    bool stepped; /* the wall clock was set at least once */
    bool verbose;
    struct happening *heap;
    size_t heap_count, heap_capacity;
    struct weather weather;
    struct strobe strobe;
    struct topic_rules rules[TOPICS];
    struct broker *broker;
    struct network *network;
    struct ledger *ledger;
    struct actor *actors[ACTORS_MAX];
    unsigned actors_count;
    struct statistics *statistics;
};

uint64_t sim_random(struct world *world);
/* Below LIMIT, which is not 0. */
uint64_t sim_below(struct world *world, uint64_t limit);
bool sim_chance(struct world *world, unsigned per_thousand);
/* Mostly short: between 0 and LIMIT, small values more often. */
int64_t sim_delay(struct world *world, int64_t limit);

/* Lets HAPPENING happen at its time; takes its blob's reference. */
void sim_schedule(struct world *world, const struct happening *happening);

/* Ends the program: prints what is wrong and how to see it again. */
void sim_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
void sim_say(const struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One run. Returns when it went well. */
void sim_run(uint64_t seed, bool verbose, struct statistics *statistics);

/* ---- network.c ------------------------------------------------------------------------------------------------- */

struct network *network_new(void);
void network_free(struct network *network);
/* A channel of a client; it belongs to the client. *LINK is its number. */
struct channel *network_open(struct world *world, uint32_t *link);
/* Whether replies wait for the client of LINK. */
bool network_has_reply(const struct world *world, uint32_t link);
void network_happen(struct world *world, const struct happening *happening);
/* A reply of the relay; takes the blob. */
void network_reply(struct world *world, uint64_t connection, uint32_t id, struct blob *blob);
/* Whether the relay may still write to CONNECTION. */
bool network_is_open(const struct world *world, uint64_t connection);
/* Cuts one connection, chosen by chance, or all of them. */
void network_cut_one(struct world *world);
void network_cut_all(struct world *world, bool at_once);
/* The relay closes CONNECTION. */
void network_refuse(struct world *world, uint64_t connection);
/* No connection of a random link works for DURATION. */
void network_isolate(struct world *world, int64_t duration);
void network_heal(struct world *world);

/* ---- broker.c -------------------------------------------------------------------------------------------------- */

enum crash { CRASH_NONE, CRASH_BEFORE_COMMIT, CRASH_AFTER_COMMIT };

struct broker *broker_new(struct world *world);
void broker_free(struct broker *broker);
bool broker_is_up(const struct world *world);
void broker_start(struct world *world);
/* Ends it between two turns. */
void broker_crash(struct world *world);
/* The next turn that commits ends it. */
void broker_arm(struct world *world, enum crash crash);
void broker_fail_commit(struct world *world, unsigned nth);
void broker_set_full(struct world *world, bool full);
/* No turn that changes something can be committed. */
void broker_set_dead(struct world *world, bool dead);
/* Its process stands still, and what comes waits. */
void broker_pause(struct world *world, int64_t duration);
void broker_request(struct world *world, uint64_t connection, uint32_t id, struct blob *blob);
void broker_closed(struct world *world, uint64_t connection);
/* Time has passed in which nothing could be answered. */
void broker_sleep(struct world *world, int64_t duration);
/* When a turn is due; CLOCK_NEVER. */
int64_t broker_due(const struct world *world);
void broker_turn(struct world *world);
/* Below this offset TOPIC was deleted, or may be. */
uint64_t broker_first(const struct world *world, unsigned topic);
/* A store with every frame that was ever committed. */
struct store *broker_archive(const struct world *world);
struct store *broker_store(const struct world *world);
struct engine *broker_engine(const struct world *world);
uint32_t broker_shortest_lease(const struct world *world); /* milliseconds: no lease lapses earlier */
/* Whether every group has settled everything; if not, words about the first that has not. */
bool broker_is_drained(const struct world *world, char text[600]);
/* The states of every group are sound, and the leases fit them. */
void broker_check(struct world *world);
/* Whether OFFSET of GROUP is leased to SESSION by its fetch LEASE, as attempt ATTEMPT. */
bool broker_is_leased(const struct world *world, uint32_t group, uint64_t offset, uint64_t session, uint64_t lease,
                      uint32_t attempt);
/*
 * Whether a relay of this run may forget a session whose client still has something in doubt: after more than an hour,
 * by the wall clock too, or when there are too many.
 */
bool broker_forgets(const struct world *world);
uint64_t broker_turn_event(const struct world *world); /* the last event before this turn */

/* Has settings made before anybody comes; the groups of CONFIGURE are on topics or patterns. */
void broker_configure(struct world *world, void (*configure)(struct world *world, struct engine *engine));
/* Whether the group of this number is ordered by key. */
bool broker_is_ordered(const struct world *world, uint32_t group);

/* ---- rules.c --------------------------------------------------------------------------------------------------- */

/* Chooses the rules of the topics; where there is a limit or a time to live somebody consumes. */
void rules_choose(struct world *world, const char *const *topics, const char *const *groups, unsigned count);

/* ---- ledger.c, audit.c ----------------------------------------------------------------------------------------- */

enum fate {
    FATE_OPEN,    /* not handed over yet */
    FATE_SENT,    /* handed over; no answer so far */
    FATE_STORED,  /* acknowledged */
    FATE_REFUSED, /* must not be stored */
    FATE_UNKNOWN  /* its producer died or was told that nobody knows */
};

struct message {
    uint32_t size;
    uint32_t run; /* of its producer */
    uint8_t topic;
    uint8_t fate;
    bool labelled; /* its identity is an attribute */
    uint8_t key;   /* 0: none */
    bool again;    /* it was sent in two frames: in doubt, and then with the same id */
    int64_t due;   /* delayed: no earlier than that; 0: not delayed */
    uint32_t seen; /* times in the topics, at the end */
    uint64_t offset, origin_producer, origin_sequence;
};

struct ledger *ledger_new(void);
void ledger_free(struct ledger *ledger);
struct message *ledger_message(struct world *world, uint32_t producer, uint32_t number);
/* A new message of PRODUCER; its number. */
uint32_t ledger_add(struct world *world, uint32_t producer, uint8_t topic, uint32_t run);
uint32_t ledger_count(const struct world *world, uint32_t producer);
/* Appends message NUMBER of PRODUCER to FRAME. */
void ledger_write(struct world *world, uint32_t producer, uint32_t number, struct frame_builder *frame);
/* The bridge's outputs for the message at OFFSET of TOPIC. */
unsigned ledger_outputs(unsigned topic, uint64_t offset);
void ledger_write_output(struct world *world, unsigned topic, uint64_t offset, unsigned index,
                         struct frame_builder *frame);

/* What a record says that it is. OUTPUT: of the bridge, then PRODUCER is the topic and NUMBER the offset. */
struct identity {
    bool output;
    uint32_t producer;
    uint64_t number;
    unsigned index;
};
/* Who RECORD is; fails when it is nobody, or altered. */
struct identity ledger_identify(struct world *world, const struct record *record);
/* A message was delivered: it is what was sent, and where it is said to be. */
void ledger_delivered(struct world *world, const struct record *record, unsigned topic, uint64_t offset);

/* The relay answers REQUEST with REPLY: remembers what it promises, and compares it with what it said before. */
void ledger_reply(struct world *world, const struct protocol_request *request, const uint8_t *data, size_t size);

/* Messages of EVENT that a settlement or publication was said to have applied. */
struct promise {
    uint8_t key[24]; /* session, lane, number */
    uint64_t a, b;   /* publish: first, count; settle: applied, stale */
    uint64_t found;  /* by the audit */
};
struct promise *ledger_promise(struct world *world, uint64_t session, unsigned lane, uint64_t number, bool make);
/* A lease that a reply gave, to be found among the events. */
struct given {
    uint32_t group;
    uint64_t first;
    uint32_t count;
    uint64_t session, lease;
    uint32_t attempt;
    uint64_t
        event; /* 0: it was leased just so when the reply went out; else: not, and only a later event explains it */
};
const struct given *ledger_given(const struct world *world, size_t *count);
/* Calls EACH for all promises, in no order. */
void ledger_each_promise(struct world *world, void (*each)(struct world *world, struct promise *promise));

void audit(struct world *world);

/* ---- actors ---------------------------------------------------------------------------------------------------- */

struct actor_kind {
    const char *name;
    /* A new client. */
    void (*start)(struct actor *actor);
    /* Its client was just processed, or WAKE has come. */
    void (*turn)(struct actor *actor);
    /* Ends at once. */
    void (*crash)(struct actor *actor);
    /* Ends properly, as far as the network allows; NULL: no difference. */
    void (*leave)(struct actor *actor);
    /* Whether it has done all that it has to; words about what is left. */
    bool (*is_done)(struct actor *actor, char text[600]);
    void (*free)(struct actor *actor);
    /* What its client waits for; replies are handed to it. NULL: it has no struct client. */
    struct client *(*client)(const struct actor *actor);
};

struct actor {
    const struct actor_kind *kind;
    struct world *world;
    unsigned index;
    uint32_t link;
    uint32_t run;   /* how often it was started */
    bool up;        /* it has a client */
    int64_t wake;   /* CLOCK_NEVER */
    int64_t paused; /* its process stands still until then */
    int64_t start;  /* when it is started again */
    bool restarted; /* its client has failed: start again at once */
};

void actor_add(struct world *world, struct actor *actor);
struct actor *producer_new(struct world *world, uint32_t number);
struct actor *consumer_new(struct world *world, const char *topic, const char *group);
struct actor *reader_new(struct world *world, const char *topic);
/* Looks at what a group has not settled, and disturbs nobody. */
struct actor *peeker_new(struct world *world, const char *topic, const char *group);
/* Purges topics, changes their limits, and moves the group MOVED to and fro. */
struct actor *administrator_new(struct world *world);
struct actor *bridge_new(struct world *world);
struct actor *stage_new(struct world *world);

/* The number of TOPIC, by name. */
unsigned topic_number(struct world *world, const char *name, size_t size);

/* ---- faults.c -------------------------------------------------------------------------------------------------- */

void weather_choose(struct world *world);
void fault_happen(struct world *world);
void strobe_happen(struct world *world);

#endif
