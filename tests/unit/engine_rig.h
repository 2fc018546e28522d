/*
 * engine_rig.h: the local engine on a store in memory, for tests: calls as the relay makes them, each in a turn of its
 * own unless one is under way, time as it is set.
 */
#ifndef ENGINE_RIG_H
#define ENGINE_RIG_H

#include "message/attributes.h"
#include "queue/engine.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define SECOND INT64_C(1000000)

struct rig {
    struct store *store;
    struct engine *engine;
    struct engine_local_settings local;
    struct moment now;
    struct fault fault;
    bool turn; /* one is under way */
    uint64_t sequence;
    struct engine_limits limits;        /* of what is fetched and read beside the messages of a fetch */
    uint64_t numbers[16][ENGINE_LANES]; /* by session */
    struct engine_deliveries given;     /* by the last fetch */
};

int rig_set_up(void **state);
int rig_tear_down(void **state);

void rig_begin(struct rig *rig);
void rig_commit(struct rig *rig);
/* Ends a turn whose commit fails: everything is undone and loaded again. */
void rig_undo(struct rig *rig);
/* Ends the engine and opens it again, as after a new boot. */
void rig_restart(struct rig *rig);
/* Time goes by, and what it brings happens. */
void rig_pass(struct rig *rig, int64_t microseconds);

/* Publishes COUNT messages to TOPIC, and gives the first GIVEN of what is there to session 2 of the group g. */
void rig_deal(struct rig *rig, const char *topic, uint32_t count, uint32_t given);

/* That TEXT is WANTED; shows both if not. */
void rig_assert_text(const char *text, const char *wanted);

/* Publishes COUNT messages "m0", "m1", …, of a producer of their own; the offset of the first. */
uint64_t rig_publish(struct rig *rig, const char *topic, unsigned count);
/*
 * Publishes a frame of messages "m0", "m1", … with the letters of KEYS as their keys ('-': none), for the group TARGET
 * ("": all).
 */
uint64_t rig_publish_keys(struct rig *rig, const char *topic, const char *target, const char *keys);
/* Publishes one message with these attributes. */
uint64_t rig_publish_one(struct rig *rig, const char *topic, const char *body, const struct buffer *attributes);
/* GROUP of TOPIC or of a pattern, made if it is not there, as SESSION gets it; "": a reader. */
struct engine_subscription *rig_subscribe(struct rig *rig, const char *topic, const char *group, uint64_t session);
/* A group's fetch by SESSION (below 16) of at most MESSAGES (0: all); how many it got, in rig->given. */
uint64_t rig_fetch(struct rig *rig, uint64_t session, const char *topic, const char *group, uint32_t messages);
/* What is still leased by the last fetch of SESSION, again. */
uint64_t rig_fetch_again(struct rig *rig, uint64_t session, const char *topic, const char *group);
/* How many messages GROUP has not settled are seen from the offset NEXT on, without leasing them. */
uint64_t rig_peek(struct rig *rig, const char *topic, const char *group, uint64_t next);
/* Gives back all that SESSION holds. */
uint64_t rig_release(struct rig *rig, uint64_t session);
/* Sets KEY of the group to VALUE. */
void rig_configure(struct rig *rig, const char *topic, const char *group, const char *key, const char *value);
/* The offsets that were given, each with a blank behind it. Static. */
const char *rig_offsets(const struct rig *rig);
/* How many a reader finds in TOPIC, in rig->given. */
uint64_t rig_read(struct rig *rig, const char *topic);
/* Settles COUNT messages from FIRST on of what SESSION's last fetch got; how many it applied to. */
uint32_t rig_settle(struct rig *rig, uint64_t session, uint64_t first, uint32_t count, enum engine_action action);
/* The same with everything said. `lease` is the last fetch's, `group` that of what was given. */
uint32_t rig_settle_as(struct rig *rig, uint64_t session, struct engine_settlement settlement);

/* The record number INDEX of all that was given. It points into rig->given. */
struct record rig_record(const struct rig *rig, unsigned index);
/* An attribute of a record, terminated, static; "" when there is none. */
const char *rig_attribute(const struct record *record, const char *name);

#endif
