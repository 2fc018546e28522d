/*
 * states_private.h: what the files of the states share: blocks and the runs in them.
 */
#ifndef QUEUE_STATES_PRIVATE_H
#define QUEUE_STATES_PRIVATE_H

#include "queue/states.h"

/* A run inside a block; positions are offsets within it. */
struct run {
    uint16_t start;
    uint16_t count; /* 4096 fits */
    struct state_value value;
};

struct states_block {
    uint32_t count;
    uint32_t capacity;
    bool dirty;
    uint32_t of_state[STATE_COUNT]; /* messages */
    int64_t due;                    /* no delayed message of the block is due earlier */
    struct run *runs;               /* ascending, without overlap */
};

static inline void states_lower(struct states *states, enum state state, uint64_t offset)
{
    if (offset < states->lowest[state])
        states->lowest[state] = offset;
}

bool states_same_value(const struct state_value *a, const struct state_value *b);

/* The block of OFFSET, which lies at or above the floor; NULL when it is not there. */
struct states_block *states_block_at(const struct states *states, uint64_t offset);
/* Makes blocks up to that of OFFSET. */
enum mp_error states_blocks_reach(struct states *states, uint64_t offset);
/* Room for two more runs: setting a range inside a run cuts it in three. */
enum mp_error states_block_reserve(struct states_block *block);
/* Gives back what a block that was in pieces needs no more. */
void states_block_shrink(struct states_block *block);
/* The first run that ends behind POSITION. */
uint32_t states_run_index(const struct states_block *block, uint32_t position);
/* Sets positions START to END (exclusive); states_block_reserve() was called. */
void states_block_set(struct states *states, struct states_block *block, uint32_t start, uint32_t end,
                      const struct state_value *value);
void states_count(struct states *states, struct states_block *block, enum state state, int64_t change);
/* Forgets what lies below the new floor. */
void states_floor_move(struct states *states, uint64_t floor);
/* Moves the floor over what is settled. */
void states_floor_advance(struct states *states);

#endif
