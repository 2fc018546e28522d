/*
 * power.h: a relay's life on a disk in memory (disk.h), from a seed, and what it promised at which moment.
 *
 *     power_life.c    the store, the engine and the core; turns, kills, starts
 *     power_actor.c   sessions that publish, fetch and settle, as clients do
 *     power_facts.c   what was sent and what was acknowledged, and when
 *     power_old.c     an older relay's store, while it is brought up
 *     power_look.c    a store that is left: whether a relay can begin with it, and keeps what was promised
 *
 * A moment is a number of the disk's steps: what was acknowledged before the power was cut is what was acknowledged
 * when there were no more steps than the cut leaves.
 */
#ifndef TORTURE_POWER_H
#define TORTURE_POWER_H

#include "disk.h"

#include "client/protocol.h"
#include "queue/local.h"
#include "relay/core.h"
#include "store/store.h"

#define SECOND INT64_C(1000000)
#define MILLISECOND INT64_C(1000)
#define NEVER SIZE_MAX

enum { ACTORS = 6, TOPICS = 8, GROUPS = 64, HELD = 64, PATH_ROOM = 512, WORDS = 400 };

/* What is done wrong on purpose, beside what the disk does (disk_plant). */
enum power_plant { POWER_PLANT_SYNCHRONOUS_OFF = 16, POWER_PLANT_EARLY_REPLY = 32, POWER_PLANT_DEAF = 64 };

/* ---- facts ------------------------------------------------------------------------------------------------------ */

struct topic_plan {
    const char *name;
    const char *settings; /* the inside of a JSON object; NULL: the defaults */
    bool may_end;         /* messages end without anybody's doing: they expire, are dropped or are duplicates */
    bool loose;           /* it is purged and deleted: only that nothing is altered is looked at */
};
extern const struct topic_plan power_topics[TOPICS];

struct publication {
    uint32_t producer; /* the actor */
    uint64_t sequence; /* of its first message */
    uint32_t count;
    unsigned topic;
    size_t sent, acknowledged; /* moments; NEVER */
    uint64_t first;            /* offset; PROTOCOL_SCHEDULED */
    uint32_t seen;             /* messages of it that a look has found, */
    uint64_t seen_at;          /* and where the first of them is */
};

/* What may have become, and what has surely become, of an offset for a group. */
struct fate {
    size_t may_end, ended; /* moments */
};

/* A request that used up a number. */
struct deed {
    uint64_t number;
    size_t sent, acknowledged;
    struct buffer bytes;
    uint64_t result; /* first offset; applied */
    uint32_t count;
    uint32_t publication; /* its number, and one; 0: none */
};

struct committed {
    uint64_t digest;
    size_t at; /* the moment in which it was the disk's */
};

/* So much of `states` was told of by replies at the moment AT. */
struct mark {
    size_t at;
    size_t states; /* the store has to be as states[states - 1] or later */
    struct moment now;
};

/* In steps FROM to TO a turn was undone: until the next commit its rows may be there, or not. */
struct doubt {
    size_t from, to;
};

struct facts {
    struct publication *publications;
    size_t publications_count, publications_capacity;
    uint32_t *messages[ACTORS]; /* by sequence, from 1: the number of its publication */
    size_t messages_count[ACTORS], messages_capacity[ACTORS];
    struct fate *fates[GROUPS]; /* by the group's number and the offset */
    size_t fates_count[GROUPS];
    unsigned group_topics[GROUPS];
    struct deed *deeds[ACTORS][2]; /* of the lanes publish and settle */
    size_t deeds_count[ACTORS][2], deeds_capacity[ACTORS][2];
    struct committed *states;
    size_t states_count, states_capacity;
    struct mark *marks;
    size_t marks_count, marks_capacity;
    struct doubt *doubts;
    size_t doubts_count, doubts_capacity;
};

void facts_free(struct facts *facts);
uint32_t facts_publish(struct facts *facts, unsigned actor, unsigned topic, uint32_t count, size_t now);
struct fate *facts_fate(struct facts *facts, uint32_t group, uint64_t offset);
struct deed *facts_deed(struct facts *facts, unsigned actor, unsigned lane, uint64_t number);
void facts_state(struct facts *facts, uint64_t digest, size_t now);
void facts_mark(struct facts *facts, size_t states, size_t at, struct moment now);
void facts_doubt(struct facts *facts, size_t from, size_t to);
bool facts_are_in_doubt(const struct facts *facts, size_t moment);
/* A topic's place in power_topics; TOPICS: none (dead letters). */
unsigned facts_topic(const char *name, size_t size);
/* The message SEQUENCE of actor PRODUCER: appended to FRAME; or whether RECORD is it, byte by byte. */
void message_write(unsigned producer, uint64_t sequence, unsigned topic, struct frame_builder *frame);
bool message_is(unsigned producer, uint64_t sequence, const struct record *record);
/* The producer's number in frames of an actor. */
enum { PRODUCER_BASE = 1000 };

/* ---- a life ----------------------------------------------------------------------------------------------------- */

struct request_kind {
    enum protocol_type type;
    uint32_t publication;
    unsigned items; /* of a settlement, in `settled` */
};

struct settled_item {
    uint32_t group; /* GROUPS: nobody keeps account */
    uint64_t offset;
    enum protocol_action action;
};

/* A request that has had no answer yet; the next of its lane waits for it. */
struct pending {
    bool open, again;
    uint32_t id;
    struct request_kind kind;
    struct buffer bytes;
    uint64_t number;
    uint32_t attempt;
    struct settled_item settled[HELD];
};

/* Messages that an actor holds. */
struct held {
    uint32_t group;
    unsigned topic; /* as facts_topic() has it */
    uint64_t lease, offset;
};

struct actor {
    uint64_t session;
    uint64_t numbers[PROTOCOL_LANES]; /* used up */
    struct pending lanes[PROTOCOL_LANES + 1];
    struct held held[HELD];
    unsigned held_count;
    uint64_t sequence;
};

struct life {
    uint64_t seed, random;
    unsigned plants;
    char path[PATH_ROOM];
    struct disk disk;
    struct store *store;
    struct engine *engine;
    struct engine_operations operations;
    const struct engine_operations *real;
    struct engine_local_settings local;
    struct core_settings settings;
    struct core *core;    /* NULL: no relay runs */
    uint64_t connections; /* of the disk, when the last was prepared */
    int checkpoint;       /* pages of the log */
    bool spills;          /* SQLite has room for few pages: it writes some before the commit */
    struct moment now;
    bool early; /* a commit was put off, for POWER_PLANT_EARLY_REPLY */
    enum mp_error (*early_snapshot)(void *context);
    void *early_context;
    uint32_t next_id;
    struct actor actors[ACTORS];
    struct facts facts;
    unsigned plan;  /* how much of the topics' and groups' settings was made */
    bool replied;   /* by this turn */
    bool calm;      /* nothing new is begun */
    bool wordless;  /* there may be no memory for the words of an error */
    bool bad_reads; /* what is on the disk may look damaged */
    uint64_t messages, acknowledged, settled, turns, kills, undone, refusals;
    char trouble[WORDS]; /* the last words about it */
    char wrong[WORDS];   /* what must not be; "": nothing */
};

/* Says what is wrong, once: the first is what counts. */
void life_wrong(struct life *life, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t life_below(struct life *life, uint64_t limit);
bool life_chance(struct life *life, unsigned percent);

/* Opens no store yet: life_start() does. */
void life_begin(struct life *life, uint64_t seed, const char *path, unsigned plants);
void life_free(struct life *life);
enum mp_error life_start(struct life *life, struct fault *fault);
/* In good order, or as it is left by a kill. */
void life_end(struct life *life, bool in_order);
/* Requests, a turn, replies. */
void life_turn(struct life *life);
void life_pass(struct life *life, int64_t microseconds);
/* What the rows of CONNECTION's store are, in a number. */
uint64_t life_digest(sqlite3 *connection, enum mp_error *error);
/* The reply callback of the core: struct life is the context. */
void life_take_reply(void *context, uint64_t connection, const uint32_t *ids, unsigned ids_count,
                     const struct server_part *parts, unsigned count);

/* power_actor.c */
void actor_act(struct life *life, unsigned index);
void actor_reply(struct life *life, uint32_t id, const struct protocol_reply *reply);
/* What had no answer is sent again, as to a relay that was started anew. */
void actors_send_again(struct life *life);
bool actors_are_idle(const struct life *life);

/* ---- looks ------------------------------------------------------------------------------------------------------ */

struct look {
    struct life *life;
    size_t moment;     /* the cut */
    struct disk *disk; /* what it left */
    const char *path;
    bool go_on;   /* requests are sent again, and the relay works on */
    size_t state; /* of the life's states, that it was found to be: set */
    uint64_t repeats, messages;
    char words[WORDS]; /* what is wrong */
};
/* True: all is as it must be. */
bool look_at(struct look *look);
/* What happens when power is cut while the store of an older relay is brought up; see `wrong`. */
struct old {
    const char *path, *left_path;
    uint64_t images_max, images;
    char wrong[2 * WORDS];
};
void old_run(struct old *old, uint64_t seed);

/* The store of the running LIFE keeps what was promised to this moment. False: see `wrong`. */
bool look_inside(struct life *life);

#endif
