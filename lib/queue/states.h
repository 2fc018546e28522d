/*
 * states.h: in which state each message of a group is.
 *
 * Offsets below `floor` are settled, offsets from `frontier` on were never granted. In between each offset is in one
 * state, kept as runs inside blocks of 4,096 offsets: what is done in order costs a run or two, and a change touches
 * one block, which is one row in the store.
 *
 * Pure: no clock, no store. Times are monotonic microseconds; the codec turns them into wall time and back.
 */
#ifndef QUEUE_STATES_H
#define QUEUE_STATES_H

#include "base/bits.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/fault.h"

enum { STATES_BLOCK_BITS = 12, STATES_BLOCK = 1 << STATES_BLOCK_BITS };

/*
 * How far delivery may run ahead of what is settled: 67,108,864 offsets and 131,072 runs. Beyond it new messages wait
 * (states_room() is 0), so that a group's memory is bounded whatever its consumers do. A block that is settled costs one
 * run, so one message that is not does not stop the others for long.
 */
enum { STATES_BLOCKS_MAX = 16384, STATES_RUNS_MAX = 131072 };

/* Numbers are on disk: add at the end. From STATE_ACKED on all are settled: nothing leads out of them. */
enum state {
    STATE_WAITING = 0,
    STATE_DELAYED = 1, /* waits until `due` */
    STATE_LEASED = 2,  /* with `session`, by its fetch `lease` */
    STATE_ACKED = 3,
    STATE_DEAD = 4,
    STATE_EXPIRED = 5,
    STATE_DROPPED = 6,
    STATE_DUPLICATE = 7,
    STATE_FOREIGN = 8, /* it was for another group alone */
    STATE_COUNT = 9
};

static inline bool state_is_settled(enum state state)
{
    return state >= STATE_ACKED;
}

/* Of a settled message only `state` means something. */
struct state_value {
    enum state state;
    uint32_t attempt; /* attempts charged; of a leased one, including this */
    uint32_t suspect; /* the most that may be granted together; 0: no limit */
    int64_t failed;   /* of the first failure: microseconds since the epoch; 0: none */
    int64_t due;      /* delayed: monotonic microseconds */
    uint64_t session; /* leased */
    uint64_t lease;
};

/* Offsets that are in the same state. */
struct state_run {
    uint64_t first;
    uint32_t count;
    struct state_value value;
};

struct states_block;
struct run;

struct states {
    uint64_t start; /* everything below is none of this group's; start + the sum of `totals` is the floor */
    uint64_t floor;
    uint64_t frontier;
    uint64_t counts[STATE_COUNT]; /* messages between floor and frontier, by state */
    uint64_t totals[STATE_COUNT]; /* messages below the floor, by the state in which they ended */
    uint64_t lowest[STATE_COUNT]; /* no message in that state lies below */
    size_t runs;
    struct states_block **blocks; /* from floor >> 12 on */
    size_t blocks_count;
    size_t blocks_capacity;
    struct run *scratch; /* where a block is made anew */
    size_t scratch_capacity;
};

/* Begins at START: everything below is settled as far as this group is concerned. */
void states_begin(struct states *states, uint64_t start);
void states_free(struct states *states);

/* How many offsets from the frontier on may be granted now. */
uint64_t states_room(const struct states *states);

/*
 * Puts COUNT offsets from FIRST on into VALUE. They lie at or above the floor; what lies at or above the frontier must
 * begin there, and moves it. Settled offsets at the floor move the floor. MP_ERR_MEMORY leaves all as it was.
 */
enum mp_error states_set(struct states *states, uint64_t first, uint32_t count, const struct state_value *value);

/* Moves the frontier to OFFSET if it is below: what lies between waits, as never granted. MP_ERR_MEMORY. */
enum mp_error states_reach(struct states *states, uint64_t offset);

/*
 * Puts those of the SPAN offsets from FIRST on into VALUE whose bit is set in MASK (base/bits.h), in one pass over each
 * block. The frontier is moved as by states_reach() to the span's end. MP_ERR_INVALID below the floor. After MP_ERR_MEMORY the
 * states are not to be relied on: load them again.
 */
enum mp_error states_set_mask(struct states *states, uint64_t first, uint32_t span, const uint8_t *mask,
                              const struct state_value *value);

/* What states_change() does, and to which messages: those in a state of FROM, leased ones only to SESSION by LEASE. */
struct states_change {
    unsigned from; /* 1 << state, joined by | */
    uint64_t session;
    uint64_t lease;
    const uint8_t *mask; /* only those whose bit is set, as in states_set_mask(); NULL: all */
    /* What the messages of RUN become. It may take note of them. */
    struct state_value (*become)(void *context, const struct state_run *run);
    void *context;
};

/*
 * Changes those among the SPAN offsets from FIRST on, in one pass over each block. *CHANGED: how many. What
 * lies below the floor or at and above the frontier is left alone. After an error the states are not to be relied on:
 * load them again.
 */
enum mp_error states_change(struct states *states, uint64_t first, uint32_t span, const struct states_change *change,
                            uint32_t *changed);

/* The run at OFFSET (from OFFSET on to the run's end inside its block); false below floor and from the frontier on. */
bool states_get(const struct states *states, uint64_t offset, struct state_run *run);

/* The first run in STATE at or after OFFSET; false when there is none. Runs end at a block's end. */
bool states_find(struct states *states, enum state state, uint64_t offset, struct state_run *run);

/* When the next delayed message is due; CLOCK_NEVER. May be early, never late. */
int64_t states_due(const struct states *states);

/*
 * Makes delayed messages that are due waiting ones. Returns how many. WOKEN, if it is not NULL, is called for each run
 * of them; it must not change the states.
 */
uint64_t states_wake(struct states *states, int64_t now, void (*woken)(void *context, uint64_t first, uint32_t count),
                     void *context);

/* ---- rows: a block as bytes (states_rows.c) -------------------------------------------------------------------- */

/* Calls PUT for every block that changed since the last call that ended well, encoded. */
enum mp_error states_save(struct states *states, struct moment now,
                          enum mp_error (*put)(void *context, uint32_t block, const void *data, size_t size),
                          void *context);

/*
 * Begins with what a group's row says, before its blocks are loaded. TOTALS: COUNT numbers by state; what they leave of
 * the offsets below the floor was acknowledged (rows of version 1 have none). MP_ERR_DAMAGED when they are too many, or
 * FLOOR and FRONTIER are not in order; offsets between those that no row covers are found by states_check().
 */
enum mp_error states_restore(struct states *states, uint64_t start, uint64_t floor, uint64_t frontier,
                             const uint64_t *totals, size_t count);

/* Loads a row. MP_ERR_DAMAGED, MP_ERR_MEMORY. */
enum mp_error states_load(struct states *states, struct moment now, uint32_t block, const uint8_t *data, size_t size);

/* Whether every offset between floor and frontier is in exactly one run, and the counts are right. */
enum mp_error states_check(const struct states *states, struct fault *fault);

#endif
