/*
 * order.h: which messages of a group may go out when each key has one in flight at a time.
 *
 * It knows the messages that are not settled, in the order of their offsets, and links those of a key into a chain. Only
 * the head of a chain may go out, when it waits and no other of the chain is leased. Messages without a key are ordered
 * with nobody. What may go out is found in the order of offsets; a step costs the logarithm of how many may, however
 * many wait behind others.
 *
 * Pure: no clock, no store. Memory: 16 bytes a message, 24 a key and the tables that find them, 64 MiB at
 * ORDER_MESSAGES_MAX messages of as many keys.
 */
#ifndef QUEUE_ORDER_H
#define QUEUE_ORDER_H

#include "msgpipe.h"

#include <stdbool.h>
#include <stddef.h>

/* Who adds messages stops here: what is beyond waits until some are settled. */
enum { ORDER_MESSAGES_MAX = 1048576 };

#define ORDER_NO_KEY UINT64_C(0)

enum order_state {
    ORDER_WAITING = 0,
    ORDER_DELAYED = 1, /* it waits, and holds its key, until it is told to be waiting */
    ORDER_LEASED = 2,
    ORDER_SETTLED = 3 /* it is forgotten */
};

struct order_entry;
struct order_chain;

/* Places of entries or chains, found by a hash. */
struct order_table {
    uint32_t *slots; /* a place + 1; 0: free */
    uint32_t capacity;
    uint32_t count;
};

struct order {
    struct order_entry *entries;
    struct order_chain *chains;
    uint32_t entries_end, entries_capacity, entries_free; /* free places are linked; NONE */
    uint32_t chains_end, chains_capacity, chains_free;
    struct order_table by_offset, by_key;
    uint64_t *ready; /* a heap of offsets that may go out, or could when they were put in */
    size_t ready_count, ready_capacity;
    uint64_t waiting; /* messages in state ORDER_WAITING */
    uint64_t steps;   /* entries looked at, for tests: work, not time */
};

void order_begin(struct order *order);
void order_free(struct order *order);

/* Messages that it knows. */
static inline uint32_t order_count(const struct order *order)
{
    return order->by_offset.count;
}

/* Adds the message at OFFSET, above all that were added, with the hash of its KEY or ORDER_NO_KEY. MP_ERR_MEMORY. */
enum mp_error order_add(struct order *order, uint64_t offset, uint64_t key, enum order_state state);

/* Says that COUNT messages from FIRST on are in STATE now; those that it does not know are left out. MP_ERR_MEMORY. */
enum mp_error order_change(struct order *order, uint64_t first, uint32_t count, enum order_state state);

/* Whether the message at OFFSET may go out. */
bool order_may_go(const struct order *order, uint64_t offset);

/* The lowest offset that may go out; false: none. It stays until order_take() or a change. */
bool order_first(struct order *order, uint64_t *offset);
/* Takes that one out of those that are found, until order_put_back() or a change that lets it go out again. */
void order_take(struct order *order);
enum mp_error order_put_back(struct order *order, uint64_t offset);

/*
 * A key is held, once more, or once less: while it is, none of its messages may go out. Held keys are known while no
 * message of theirs is. MP_ERR_MEMORY.
 */
enum mp_error order_hold(struct order *order, uint64_t key);
enum mp_error order_let_go(struct order *order, uint64_t key);
/* The key of the message at OFFSET; ORDER_NO_KEY: it has none, or is not known. */
uint64_t order_key(const struct order *order, uint64_t offset);

#endif
