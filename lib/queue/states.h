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

#include "base/buffer.h"
#include "base/clock.h"
#include "base/fault.h"

enum { STATES_BLOCK_BITS = 12, STATES_BLOCK = 1 << STATES_BLOCK_BITS };

/*
 * How far delivery may run ahead of what is settled: 4,194,304 offsets and 131,072 runs. Beyond it new messages wait
 * (states_room() is 0), so that a group's memory is bounded whatever its consumers do.
 */
enum { STATES_BLOCKS_MAX = 1024, STATES_RUNS_MAX = 131072 };

/* Numbers are on disk: add at the end. */
enum state {
    STATE_WAITING = 0,
    STATE_DELAYED = 1, /* waits until `due` */
    STATE_LEASED = 2,  /* with `session`, by its fetch `lease` */
    STATE_ACKED = 3,
    STATE_DEAD = 4,
    STATE_COUNT = 5
};

struct state_value {
    enum state state;
    uint32_t attempt; /* attempts charged; of a leased one, including this */
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

struct states {
    uint64_t floor;
    uint64_t frontier;
    uint64_t counts[STATE_COUNT]; /* messages between floor and frontier, by state */
    size_t runs;
    struct states_block **blocks; /* from floor >> 12 on */
    size_t blocks_count;
    size_t blocks_capacity;
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

/* The run at OFFSET (from OFFSET on to the run's end inside its block); false below floor and from the frontier on. */
bool states_get(const struct states *states, uint64_t offset, struct state_run *run);

/* The first run in STATE at or after OFFSET; false when there is none. Runs end at a block's end. */
bool states_find(const struct states *states, enum state state, uint64_t offset, struct state_run *run);

/* When the next delayed message is due; CLOCK_NEVER. May be early, never late. */
int64_t states_due(const struct states *states);

/* Makes delayed messages that are due waiting ones. Returns how many. */
uint64_t states_wake(struct states *states, int64_t now);

/* ---- rows: a block as bytes ----------------------------------------------------------------------------------- */

/* Calls PUT for every block that changed since the last call that ended well, encoded. */
enum mp_error states_save(struct states *states, struct moment now,
                          enum mp_error (*put)(void *context, uint32_t block, const void *data, size_t size),
                          void *context);

/* Loads a row; before it states_begin(floor) and the frontier (states_set_frontier). MP_ERR_DAMAGED, MP_ERR_MEMORY. */
enum mp_error states_load(struct states *states, struct moment now, uint32_t block, const uint8_t *data, size_t size);

/* For loading: FRONTIER at or above the floor; offsets up to it that no row covers are MP_ERR_DAMAGED by
 * states_check(). */
void states_set_frontier(struct states *states, uint64_t frontier);

/* Whether every offset between floor and frontier is in exactly one run, and the counts are right. */
enum mp_error states_check(const struct states *states, struct fault *fault);

#endif
