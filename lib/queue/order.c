#include "queue/order.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct order_entry {
    uint64_t offset : 44;
    uint64_t state : 2;  /* enum order_state; settled in the midst of a chain: gone when it becomes the head */
    uint64_t heaped : 1; /* its offset is in the heap */
    uint32_t next;       /* of the chain, or of the free ones */
    uint32_t chain;      /* NONE: it has no key */
};

struct order_chain {
    uint64_t key;
    uint32_t head; /* NONE: no message; or the next free one */
    uint32_t tail;
    uint32_t leased; /* messages */
    uint32_t held;   /* how often */
};

void order_begin(struct order *order)
{
    *order = (struct order){.entries_free = NONE, .chains_free = NONE};
}

void order_free(struct order *order)
{
    free(order->entries);
    free(order->chains);
    free(order->by_offset.slots);
    free(order->by_key.slots);
    free(order->ready);
    order_begin(order);
}

/* ---- tables: linear probing, at most half full ------------------------------------------------------------------ */

/* Where a search begins. Eight offsets lie side by side; more would grow into one long row, which searches walk. */
static inline uint32_t home_of(bool keys, uint64_t hash)
{
    return keys ? (uint32_t)hash : (uint32_t)((hash >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 32) << 3 | (hash & 7);
}

static inline uint64_t hash_at(const struct order *order, bool keys, uint32_t place)
{
    return keys ? order->chains[place].key : order->entries[place].offset;
}

static inline uint32_t find(const struct order *order, bool keys, uint64_t hash)
{
    const struct order_table *table = keys ? &order->by_key : &order->by_offset;
    if (table->capacity == 0)
        return NONE;
    uint32_t mask = table->capacity - 1;
    for (uint32_t at = home_of(keys, hash) & mask; table->slots[at] != 0; at = (at + 1) & mask)
        if (hash_at(order, keys, table->slots[at] - 1) == hash)
            return table->slots[at] - 1;
    return NONE;
}

static void put(struct order *order, bool keys, uint32_t place)
{
    struct order_table *table = keys ? &order->by_key : &order->by_offset;
    uint32_t mask = table->capacity - 1, at = home_of(keys, hash_at(order, keys, place)) & mask;
    while (table->slots[at] != 0)
        at = (at + 1) & mask;
    table->slots[at] = place + 1;
    table->count++;
}

/* Room for one more. */
static enum mp_error table_reserve(struct order *order, bool keys)
{
    struct order_table *table = keys ? &order->by_key : &order->by_offset;
    if (table->count < table->capacity / 2)
        return MP_OK;
    struct order_table old = *table;
    uint32_t capacity = old.capacity ? old.capacity * 2 : 256;
    uint32_t *slots = calloc(capacity, sizeof *slots);
    if (!slots)
        return MP_ERR_MEMORY;
    *table = (struct order_table){.slots = slots, .capacity = capacity};
    for (uint32_t i = 0; i < old.capacity; i++)
        if (old.slots[i] != 0)
            put(order, keys, old.slots[i] - 1);
    free(old.slots);
    return MP_OK;
}

/* Takes PLACE out; what was displaced behind it moves up, so that no search ends early. */
static void take_out(struct order *order, bool keys, uint32_t place)
{
    struct order_table *table = keys ? &order->by_key : &order->by_offset;
    uint32_t mask = table->capacity - 1, hole = home_of(keys, hash_at(order, keys, place)) & mask;
    while (table->slots[hole] != place + 1)
        hole = (hole + 1) & mask;
    for (uint32_t at = (hole + 1) & mask; table->slots[at] != 0; at = (at + 1) & mask) {
        uint32_t home = home_of(keys, hash_at(order, keys, table->slots[at] - 1)) & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        table->slots[hole] = table->slots[at];
        hole = at;
    }
    table->slots[hole] = 0;
    table->count--;
}

/* ---- what may go out: a heap of offsets ------------------------------------------------------------------------- */

static enum mp_error heap_reserve(struct order *order)
{
    if (order->ready_count < order->ready_capacity)
        return MP_OK;
    uint64_t *ready = memory_grow(order->ready, &order->ready_capacity, sizeof *ready, 256);
    if (!ready)
        return MP_ERR_MEMORY;
    order->ready = ready;
    return MP_OK;
}

static void heap_push(struct order *order, uint64_t offset)
{
    size_t at = order->ready_count++;
    for (; at > 0 && order->ready[(at - 1) / 2] > offset; at = (at - 1) / 2)
        order->ready[at] = order->ready[(at - 1) / 2];
    order->ready[at] = offset;
}

static void heap_pop(struct order *order)
{
    uint64_t last = order->ready[--order->ready_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < order->ready_count) {
        child += child + 1 < order->ready_count && order->ready[child + 1] < order->ready[child];
        if (order->ready[child] >= last)
            break;
        order->ready[at] = order->ready[child];
        at = child;
    }
    if (order->ready_count > 0)
        order->ready[at] = last;
}

/* ---- chains ----------------------------------------------------------------------------------------------------- */

static bool may_go(const struct order *order, uint32_t place)
{
    const struct order_entry *entry = &order->entries[place];
    if (entry->state != ORDER_WAITING)
        return false;
    if (entry->chain == NONE)
        return true;
    const struct order_chain *chain = &order->chains[entry->chain];
    return chain->head == place && chain->leased == 0 && chain->held == 0;
}

/* Lets the entry at PLACE be found, if it may go. */
static enum mp_error offer(struct order *order, uint32_t place)
{
    if (place == NONE || order->entries[place].heaped || !may_go(order, place))
        return MP_OK;
    enum mp_error error = heap_reserve(order);
    if (error)
        return error;
    order->entries[place].heaped = 1;
    heap_push(order, order->entries[place].offset);
    return MP_OK;
}

static void entry_free(struct order *order, uint32_t place)
{
    take_out(order, false, place);
    order->entries[place].next = order->entries_free;
    order->entries_free = place;
}

static void chain_free_if_empty(struct order *order, uint32_t place)
{
    struct order_chain *chain = &order->chains[place];
    if (chain->head != NONE || chain->held > 0)
        return;
    take_out(order, true, place);
    chain->head = order->chains_free;
    order->chains_free = place;
}

/* Drops settled heads, and lets the next one be found. */
static enum mp_error chain_advance(struct order *order, uint32_t place)
{
    struct order_chain *chain = &order->chains[place];
    while (chain->head != NONE && order->entries[chain->head].state == ORDER_SETTLED) {
        uint32_t head = chain->head;
        chain->head = order->entries[head].next;
        entry_free(order, head);
        order->steps++;
    }
    enum mp_error error = offer(order, chain->head);
    chain_free_if_empty(order, place);
    return error;
}

/* The chain of KEY, made if it is not there. */
static enum mp_error chain_of(struct order *order, uint64_t key, uint32_t *place)
{
    if ((*place = find(order, true, key)) != NONE)
        return MP_OK;
    enum mp_error error = table_reserve(order, true);
    if (error)
        return error;
    if (order->chains_free != NONE) {
        *place = order->chains_free;
        order->chains_free = order->chains[*place].head;
    } else {
        if (order->chains_end == order->chains_capacity) {
            uint32_t capacity = order->chains_capacity ? order->chains_capacity * 2 : 256;
            struct order_chain *chains = realloc(order->chains, capacity * sizeof *chains);
            if (!chains)
                return MP_ERR_MEMORY;
            order->chains = chains;
            order->chains_capacity = capacity;
        }
        *place = order->chains_end++;
    }
    order->chains[*place] = (struct order_chain){.key = key, .head = NONE, .tail = NONE};
    put(order, true, *place);
    return MP_OK;
}

static enum mp_error entry_make(struct order *order, uint64_t offset, uint32_t chain, enum order_state state,
                                uint32_t *place)
{
    enum mp_error error = table_reserve(order, false);
    if (error)
        return error;
    if (order->entries_free != NONE) {
        *place = order->entries_free;
        order->entries_free = order->entries[*place].next;
    } else {
        if (order->entries_end == order->entries_capacity) {
            uint32_t capacity = order->entries_capacity ? order->entries_capacity * 2 : 256;
            struct order_entry *entries = realloc(order->entries, capacity * sizeof *entries);
            if (!entries)
                return MP_ERR_MEMORY;
            order->entries = entries;
            order->entries_capacity = capacity;
        }
        *place = order->entries_end++;
    }
    order->entries[*place] = (struct order_entry){
        .offset = offset & ((UINT64_C(1) << 44) - 1), .state = state & 3, .next = NONE, .chain = chain};
    put(order, false, *place);
    return MP_OK;
}

enum mp_error order_add(struct order *order, uint64_t offset, uint64_t key, enum order_state state)
{
    uint32_t place, chain = NONE;
    enum mp_error error = key == ORDER_NO_KEY ? MP_OK : chain_of(order, key, &chain);
    if (!error && (error = entry_make(order, offset, chain, state, &place)) && chain != NONE)
        chain_free_if_empty(order, chain);
    if (error)
        return error;
    order->steps++;
    order->waiting += state == ORDER_WAITING;
    if (chain != NONE) {
        struct order_chain *links = &order->chains[chain];
        if (links->head == NONE)
            links->head = place;
        else
            order->entries[links->tail].next = place;
        links->tail = place;
        links->leased += state == ORDER_LEASED;
    }
    return offer(order, place);
}

/* Puts the entry at PLACE into STATE. */
static enum mp_error change(struct order *order, uint32_t place, enum order_state state)
{
    struct order_entry *entry = &order->entries[place];
    enum order_state before = (enum order_state)entry->state;
    uint32_t chain = entry->chain;
    order->waiting += (uint64_t)(state == ORDER_WAITING) - (uint64_t)(before == ORDER_WAITING);
    entry->state = state & 3;
    if (chain == NONE) {
        if (state == ORDER_SETTLED) {
            entry_free(order, place);
            return MP_OK;
        }
        return offer(order, place);
    }
    order->chains[chain].leased += (uint32_t)(state == ORDER_LEASED) - (uint32_t)(before == ORDER_LEASED);
    return chain_advance(order, chain);
}

enum mp_error order_change(struct order *order, uint64_t first, uint32_t count, enum order_state state)
{
    enum mp_error error = MP_OK;
    for (uint64_t offset = first; !error && offset < first + count; offset++) {
        uint32_t place = find(order, false, offset);
        order->steps++;
        if (place != NONE && order->entries[place].state != (state & 3))
            error = change(order, place, state);
    }
    return error;
}

bool order_may_go(const struct order *order, uint64_t offset)
{
    uint32_t place = find(order, false, offset);
    return place != NONE && may_go(order, place);
}

bool order_first(struct order *order, uint64_t *offset)
{
    while (order->ready_count > 0) {
        uint32_t place = find(order, false, order->ready[0]);
        order->steps++;
        if (place != NONE && may_go(order, place)) {
            *offset = order->ready[0];
            return true;
        }
        if (place != NONE)
            order->entries[place].heaped = 0;
        heap_pop(order);
    }
    return false;
}

void order_take(struct order *order)
{
    uint32_t place = find(order, false, order->ready[0]);
    if (place != NONE)
        order->entries[place].heaped = 0;
    heap_pop(order);
}

enum mp_error order_put_back(struct order *order, uint64_t offset)
{
    return offer(order, find(order, false, offset));
}

enum mp_error order_hold(struct order *order, uint64_t key)
{
    uint32_t place;
    enum mp_error error = chain_of(order, key, &place);
    if (!error)
        order->chains[place].held++;
    return error;
}

enum mp_error order_let_go(struct order *order, uint64_t key)
{
    uint32_t place = find(order, true, key);
    if (place == NONE || order->chains[place].held == 0)
        return MP_OK;
    order->chains[place].held--;
    return chain_advance(order, place);
}

uint64_t order_key(const struct order *order, uint64_t offset)
{
    uint32_t place = find(order, false, offset);
    if (place == NONE || order->entries[place].chain == NONE)
        return ORDER_NO_KEY;
    return order->chains[order->entries[place].chain].key;
}
