/*
 * time_rig.h: the local engine on a store in memory, for tests: each step is a turn of its own, time is as it is set.
 * A step whose commit fails is undone, and memory loaded again.
 */
#ifndef TIME_RIG_H
#define TIME_RIG_H

#include "queue/engine.h"
#include "queue/settings.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)
#define WALL (1700000000 * SECOND) /* when a rig is made */

struct time_rig {
    struct store *store;
    struct engine *engine;
    struct engine_operations operations; /* a copy that a test may change */
    struct moment now;
    bool undo; /* the next turn is undone before its commit */
    uint64_t session;
    uint64_t numbers[ENGINE_LANES];
    uint64_t producer, sequence; /* of the frames that it builds */
    uint64_t fetches;
    bool full; /* no topic has room */
};

void time_rig_begin(struct time_rig *rig);
void time_rig_end(struct time_rig *rig);
/* Ends the relay and starts it again on the same store, at rig->now. */
void time_rig_restart(struct time_rig *rig);
void time_rig_pass(struct time_rig *rig, int64_t microseconds);

/* A turn in which time does its work; *false* when it was undone. */
bool time_rig_tick(struct time_rig *rig);
/* Turns until nothing is due any more; how many. */
unsigned time_rig_settle_down(struct time_rig *rig);

/* A message: its body, and attributes by name and value, one after the other, NULL at the end. */
struct rig_message {
    const char *body;
    const char *attributes[7];
};

/* Publishes COUNT messages in one frame, due after DELAY (0: now), to TARGET ("": all). Its first offset. */
uint64_t time_rig_publish(struct time_rig *rig, const char *topic, const char *target, int64_t delay,
                          const struct rig_message *messages, uint32_t count, uint32_t *duplicates);
/* The same of COUNT messages without attributes, all with the body BODY. */
uint64_t time_rig_send(struct time_rig *rig, const char *topic, int64_t delay, const char *body, uint32_t count);

void time_rig_configure(struct time_rig *rig, const char *topic, const char *key, const char *value);

/* Makes GROUP on TOPIC, if it is not there. */
void time_rig_join(struct time_rig *rig, const char *topic, const char *group);
/*
 * Fetches up to MOST messages for GROUP and acknowledges them. TEXT gets their bodies, a blank behind each. How many
 * there were.
 */
uint32_t time_rig_consume(struct time_rig *rig, const char *topic, const char *group, uint32_t most, char *text,
                          size_t size);
/* Asserts that all that GROUP is given of TOPIC is EXPECTED. */
void time_rig_expect(struct time_rig *rig, const char *topic, const char *group, const char *expected);

#endif
