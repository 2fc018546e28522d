/*
 * core_rig.h: the relay's core on a store in memory, for tests: requests as bytes, replies as they come, time as it is
 * set.
 */
#ifndef CORE_RIG_H
#define CORE_RIG_H

#include "relay/core.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define SECOND INT64_C(1000000)

enum { REPLIES_MAX = 64 };

struct rig_reply {
    uint64_t connection;
    uint32_t id;
    struct buffer bytes;
    struct protocol_reply head;
};

struct rig {
    struct store *store;
    struct engine *engine;
    struct engine_operations operations;
    const struct engine_operations *real;
    struct core *core;
    struct core_settings settings;
    struct engine_local_settings local;
    struct moment now;
    uint64_t random;
    uint32_t next_id;
    uint32_t attempt; /* of the publications and settlements to come */
    bool full;
    struct rig_reply replies[REPLIES_MAX];
    unsigned replies_count;
};

int rig_set_up(void **state);
int rig_tear_down(void **state);

/* Ends the relay and starts it again on the same store. */
void rig_restart(struct rig *rig);
void rig_pass(struct rig *rig, int64_t microseconds);

/* Hands over a request; its id. */
uint32_t rig_submit(struct rig *rig, uint64_t connection, enum protocol_type type, unsigned lane, uint64_t session,
                    uint64_t number, unsigned flags, const struct buffer *body);
void rig_turn(struct rig *rig);
/* The reply to ID, or NULL. */
const struct protocol_reply *rig_reply(const struct rig *rig, uint32_t id);
void rig_forget_replies(struct rig *rig);

/* Each hands over one request, without a turn. */
uint32_t rig_publish(struct rig *rig, uint64_t connection, uint64_t session, uint64_t number, const char *topic,
                     unsigned count);
uint32_t rig_publish_to(struct rig *rig, uint64_t connection, uint64_t session, uint64_t number,
                        struct protocol_publication to, unsigned count);
uint32_t rig_fetch(struct rig *rig, uint64_t connection, uint64_t session, uint64_t number, const char *topic,
                   const char *group, uint32_t messages, uint32_t wait);
uint32_t rig_settle(struct rig *rig, uint64_t connection, uint64_t session, uint64_t number,
                    const struct protocol_settlement *item, const char *publish);

/* With a turn: */
uint64_t rig_hello(struct rig *rig, uint64_t connection);
enum mp_error rig_status(struct rig *rig, uint32_t id); /* of the reply, which is there */
/* The offset of the one message that a publication has stored, by its reply. */
uint64_t rig_offset(struct rig *rig, uint32_t id);

/* The chunk of a fetch's reply, which has one; false when it has none. */
bool rig_chunk(const struct rig *rig, uint32_t id, struct protocol_chunk *chunk);
uint32_t rig_messages(const struct rig *rig, uint32_t id);
/* How many messages TOPIC has. */
uint64_t rig_count(struct rig *rig, const char *topic);

#endif
