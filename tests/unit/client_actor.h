/*
 * client_actor.h: a program with a client on the fake relay, for tests: publishes numbers, and settles what it fetches.
 */
#ifndef CLIENT_ACTOR_H
#define CLIENT_ACTOR_H

#include "fake_relay.h"

enum { SECOND = 1000000, BUILT_MAX = 40, PENDING_MAX = 4096 };

/* A program with a client: publishes the numbers below TOTAL, and settles what it fetches. */
struct actor {
    struct fake_network *network;
    struct client *client;

    uint32_t total;
    uint32_t next;              /* the next number to put into a frame */
    struct frame_builder frame; /* built while the one before is under way */
    struct frame_builder output;
    uint32_t stored;
    uint64_t last_producer;
    uint64_t last_sequence;

    bool consumes;
    bool starved;   /* an allocation in each turn fails */
    bool lazy;      /* never settles by itself */
    unsigned retry; /* per thousand */
    uint32_t read;  /* the next number that a reader expects */
    struct protocol_settlement pending[PENDING_MAX];
    uint32_t pending_count;

    unsigned welcomes, refusals, full_began, full_ended, done_empty;
    uint32_t received, applied, stale;
    bool commits; /* settles with outputs */
    bool committing;
    uint32_t committed, uncommitted; /* messages */
    uint32_t commit_count;           /* of the one under way */
    enum mp_error commit_error;      /* the last that was not OK */
    char answer[64];
    enum mp_error answer_status;
    enum mp_error refusal;
    enum mp_error failure;
    char words[FAULT_TEXT];
};

struct actor *actor_new(struct fake_network *network);
/* With what SESSION says about the session; nothing else of it is used. */
struct actor *actor_keep(struct fake_network *network, const struct client_settings *session);
void actor_free(struct actor *actor);

/* From now on the actor fetches; a GROUP of NULL makes it a reader. */
void actor_subscribe(struct actor *actor, const char *group);

/* Builds the next frame, under whatever session there is, and hands it over when it can be. */
void actor_produce(struct actor *actor);

/* Settles the pending message at INDEX. */
void actor_settle(struct actor *actor, uint32_t index, enum protocol_action action);

/* Settles the first COUNT pending messages with a message for each that has its number, in one step. */
void actor_commit(struct actor *actor, uint32_t count);

/*
 * Lets COUNT actors and their network live until DONE says so of the first one, for at most LIMIT microseconds. False:
 * it did not.
 */
bool actors_live(struct actor **actors, unsigned count, bool (*done)(struct actor *actor), int64_t limit);

#endif
