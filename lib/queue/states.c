#include "queue/states_private.h"

#include <stdlib.h>

bool states_same_value(const struct state_value *a, const struct state_value *b)
{
    if (a->state != b->state || state_is_settled(a->state))
        return a->state == b->state;
    return a->attempt == b->attempt && a->suspect == b->suspect && a->failed == b->failed &&
           (a->state != STATE_DELAYED || a->due == b->due) &&
           (a->state != STATE_LEASED || (a->session == b->session && a->lease == b->lease));
}

void states_begin(struct states *states, uint64_t start)
{
    *states = (struct states){.start = start, .floor = start, .frontier = start};
}

static void block_free(struct states_block *block)
{
    if (block)
        free(block->runs);
    free(block);
}

void states_free(struct states *states)
{
    for (size_t i = 0; i < states->blocks_count; i++)
        block_free(states->blocks[i]);
    free(states->blocks);
    free(states->scratch);
    *states = (struct states){0};
}

uint64_t states_room(const struct states *states)
{
    if (states->runs >= STATES_RUNS_MAX)
        return 0;
    uint64_t limit = ((states->floor >> STATES_BLOCK_BITS) + STATES_BLOCKS_MAX) << STATES_BLOCK_BITS;
    return states->frontier < limit ? limit - states->frontier : 0;
}

struct states_block *states_block_at(const struct states *states, uint64_t offset)
{
    uint64_t index = (offset >> STATES_BLOCK_BITS) - (states->floor >> STATES_BLOCK_BITS);
    return index < states->blocks_count ? states->blocks[index] : NULL;
}

enum mp_error states_blocks_reach(struct states *states, uint64_t offset)
{
    uint64_t needed = (offset >> STATES_BLOCK_BITS) - (states->floor >> STATES_BLOCK_BITS) + 1;
    if (needed > states->blocks_capacity) {
        size_t capacity = states->blocks_capacity ? states->blocks_capacity * 2 : 8;
        while (capacity < needed)
            capacity *= 2;
        struct states_block **blocks = realloc(states->blocks, capacity * sizeof(struct states_block *));
        if (!blocks)
            return MP_ERR_MEMORY;
        states->blocks = blocks;
        states->blocks_capacity = capacity;
    }
    while (states->blocks_count < needed) {
        struct states_block *block = calloc(1, sizeof *block);
        if (!block)
            return MP_ERR_MEMORY;
        block->due = CLOCK_NEVER;
        states->blocks[states->blocks_count++] = block;
    }
    return MP_OK;
}

enum mp_error states_block_reserve(struct states_block *block)
{
    if (block->count + 2 <= block->capacity)
        return MP_OK;
    uint32_t capacity = block->capacity ? block->capacity * 2 : 4;
    struct run *runs = realloc(block->runs, capacity * sizeof *runs);
    if (!runs)
        return MP_ERR_MEMORY;
    block->runs = runs;
    block->capacity = capacity;
    return MP_OK;
}

void states_block_shrink(struct states_block *block)
{
    if (block->capacity <= 16 || block->count + 2 > block->capacity / 4)
        return;
    uint32_t capacity = (block->count + 2) * 2;
    struct run *runs = realloc(block->runs, capacity * sizeof *runs);
    if (!runs)
        return;
    block->runs = runs;
    block->capacity = capacity;
}

uint32_t states_run_index(const struct states_block *block, uint32_t position)
{
    uint32_t low = 0, high = block->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct run *run = &block->runs[middle];
        if ((uint32_t)run->start + run->count <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void states_count(struct states *states, struct states_block *block, enum state state, int64_t change)
{
    states->counts[state] += (uint64_t)change;
    block->of_state[state] += (uint32_t)change;
}

/* Joins the run at INDEX with its right neighbour where they are alike. */
static void run_join(struct states_block *block, uint32_t index)
{
    if (index + 1 >= block->count)
        return;
    struct run *run = &block->runs[index], *next = run + 1;
    if ((uint32_t)run->start + run->count != next->start || !states_same_value(&run->value, &next->value))
        return;
    run->count = (uint16_t)(run->count + next->count);
    memmove(next, next + 1, (block->count - index - 2) * sizeof *next);
    block->count--;
}

/* Joins all neighbours that are alike, in one pass. */
static void runs_join(struct states_block *block)
{
    uint32_t kept = 0;
    for (uint32_t i = 1; i < block->count; i++) {
        struct run *last = &block->runs[kept];
        const struct run *run = &block->runs[i];
        if ((uint32_t)last->start + last->count == run->start && states_same_value(&last->value, &run->value))
            last->count = (uint16_t)(last->count + run->count);
        else
            block->runs[++kept] = *run;
    }
    block->count = block->count > 0 ? kept + 1 : 0;
}

void states_block_set(struct states *states, struct states_block *block, uint32_t start, uint32_t end,
                      const struct state_value *value)
{
    uint32_t before = block->count;
    uint32_t from = states_run_index(block, start), to = from;
    struct run head = {0}, tail = {0};
    while (to < block->count && block->runs[to].start < end) {
        struct run *run = &block->runs[to++];
        uint32_t run_end = (uint32_t)run->start + run->count;
        uint32_t low = run->start > start ? run->start : start;
        uint32_t high = run_end < end ? run_end : end;
        states_count(states, block, run->value.state, -(int64_t)(high - low));
        if (run->start < start)
            head = (struct run){run->start, (uint16_t)(start - run->start), run->value};
        if (run_end > end)
            tail = (struct run){(uint16_t)end, (uint16_t)(run_end - end), run->value};
    }
    struct run fresh[3];
    uint32_t count = 0, middle = from;
    if (head.count) {
        fresh[count++] = head;
        middle++;
    }
    fresh[count++] = (struct run){(uint16_t)start, (uint16_t)(end - start), *value};
    if (tail.count)
        fresh[count++] = tail;
    memmove(&block->runs[from + count], &block->runs[to], (block->count - to) * sizeof *block->runs);
    memcpy(&block->runs[from], fresh, count * sizeof *fresh);
    block->count = block->count - (to - from) + count;
    states_count(states, block, value->state, end - start);
    run_join(block, middle);
    if (middle > 0)
        run_join(block, middle - 1);
    if (value->state == STATE_DELAYED && value->due < block->due)
        block->due = value->due;
    block->dirty = true;
    states->runs += block->count;
    states->runs -= before;
    states_block_shrink(block);
}

static void count_below(struct states *states, struct states_block *block, enum state state, uint32_t count)
{
    states_count(states, block, state, -(int64_t)count);
    states->totals[state] += count;
}

static void blocks_drop(struct states *states, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct states_block *block = states->blocks[i];
        for (unsigned state = 0; state < STATE_COUNT; state++) {
            states->counts[state] -= block->of_state[state];
            states->totals[state] += block->of_state[state];
        }
        states->runs -= block->count;
        block_free(block);
    }
    states->blocks_count -= count;
    memmove(states->blocks, states->blocks + count, states->blocks_count * sizeof(struct states_block *));
}

void states_floor_move(struct states *states, uint64_t floor)
{
    uint64_t gone = (floor >> STATES_BLOCK_BITS) - (states->floor >> STATES_BLOCK_BITS);
    if (gone > 0)
        blocks_drop(states, gone < states->blocks_count ? gone : states->blocks_count);
    states->floor = floor;
    struct states_block *block = states_block_at(states, floor);
    if (!block)
        return;
    uint32_t position = (uint32_t)(floor & (STATES_BLOCK - 1));
    uint32_t drop = states_run_index(block, position);
    for (uint32_t i = 0; i < drop; i++)
        count_below(states, block, block->runs[i].value.state, block->runs[i].count);
    if (drop > 0) {
        memmove(block->runs, block->runs + drop, (block->count - drop) * sizeof *block->runs);
        block->count -= drop;
        states->runs -= drop;
        block->dirty = true;
    }
    if (block->count > 0 && block->runs[0].start < position) {
        struct run *run = &block->runs[0];
        uint32_t cut = position - run->start;
        count_below(states, block, run->value.state, cut);
        run->start = (uint16_t)position;
        run->count = (uint16_t)(run->count - cut);
        block->dirty = true;
    }
}

void states_floor_advance(struct states *states)
{
    uint64_t floor = states->floor;
    struct state_run run;
    while (floor < states->frontier) {
        const struct states_block *block = states_block_at(states, floor);
        if (!block)
            break;
        uint32_t index = states_run_index(block, (uint32_t)(floor & (STATES_BLOCK - 1)));
        if (index >= block->count || !state_is_settled(block->runs[index].value.state))
            break;
        run.first = (floor & ~(uint64_t)(STATES_BLOCK - 1)) + block->runs[index].start;
        if (run.first > floor)
            break;
        floor = run.first + block->runs[index].count;
    }
    if (floor > states->floor)
        states_floor_move(states, floor);
}

enum mp_error states_set(struct states *states, uint64_t first, uint32_t count, const struct state_value *value)
{
    if (count == 0)
        return MP_OK;
    uint64_t end = first + count;
    if (first < states->floor || first > states->frontier || end < first)
        return MP_ERR_INVALID;
    enum mp_error error = states_blocks_reach(states, end - 1);
    for (uint64_t at = first; !error && at < end; at = (at | (STATES_BLOCK - 1)) + 1)
        error = states_block_reserve(states_block_at(states, at));
    if (error)
        return error;
    for (uint64_t at = first; at < end;) {
        uint64_t next = (at | (STATES_BLOCK - 1)) + 1;
        uint64_t stop = next < end ? next : end;
        uint32_t start = (uint32_t)(at & (STATES_BLOCK - 1));
        states_block_set(states, states_block_at(states, at), start, start + (uint32_t)(stop - at), value);
        at = stop;
    }
    if (end > states->frontier)
        states->frontier = end;
    states_lower(states, value->state, first);
    if (state_is_settled(value->state) && first <= states->floor)
        states_floor_advance(states);
    return MP_OK;
}

static void run_out(uint64_t offset, const struct run *run, struct state_run *out)
{
    uint64_t base = offset & ~(uint64_t)(STATES_BLOCK - 1);
    uint64_t first = base + run->start;
    uint64_t end = first + run->count;
    if (first < offset)
        first = offset;
    *out = (struct state_run){.first = first, .count = (uint32_t)(end - first), .value = run->value};
}

bool states_get(const struct states *states, uint64_t offset, struct state_run *run)
{
    if (offset < states->floor || offset >= states->frontier)
        return false;
    const struct states_block *block = states_block_at(states, offset);
    uint32_t position = (uint32_t)(offset & (STATES_BLOCK - 1));
    uint32_t index = block ? states_run_index(block, position) : 0;
    if (!block || index >= block->count || block->runs[index].start > position)
        return false;
    run_out(offset, &block->runs[index], run);
    return true;
}

bool states_find(struct states *states, enum state state, uint64_t offset, struct state_run *run)
{
    if (states->counts[state] == 0)
        return false;
    uint64_t *lowest = &states->lowest[state];
    if (*lowest < states->floor)
        *lowest = states->floor;
    bool from_lowest = offset <= *lowest;
    if (from_lowest)
        offset = *lowest;
    while (offset < states->frontier) {
        const struct states_block *block = states_block_at(states, offset);
        if (block && block->of_state[state] > 0) {
            uint32_t index = states_run_index(block, (uint32_t)(offset & (STATES_BLOCK - 1)));
            for (; index < block->count; index++)
                if (block->runs[index].value.state == state) {
                    run_out(offset, &block->runs[index], run);
                    if (from_lowest)
                        *lowest = run->first;
                    return true;
                }
        }
        offset = (offset | (STATES_BLOCK - 1)) + 1;
    }
    return false;
}

/* The blocks before it have no message in STATE. */
static size_t first_block_of(const struct states *states, enum state state)
{
    uint64_t lowest = states->lowest[state] > states->floor ? states->lowest[state] : states->floor;
    return (lowest >> STATES_BLOCK_BITS) - (states->floor >> STATES_BLOCK_BITS);
}

int64_t states_due(const struct states *states)
{
    int64_t due = CLOCK_NEVER;
    if (states->counts[STATE_DELAYED] == 0)
        return due;
    for (size_t i = first_block_of(states, STATE_DELAYED); i < states->blocks_count; i++)
        if (states->blocks[i]->of_state[STATE_DELAYED] > 0 && states->blocks[i]->due < due)
            due = states->blocks[i]->due;
    return due;
}

/* Who wakes messages, and who wants to hear of it. */
struct waking {
    struct states *states;
    int64_t now;
    void (*woken)(void *context, uint64_t first, uint32_t count);
    void *context;
};

/* Waiting after a delay that has passed is the same on disk as the delay itself: the block does not become dirty. */
static uint64_t block_wake(const struct waking *waking, struct states_block *block, uint64_t base)
{
    struct states *states = waking->states;
    uint64_t woken = 0;
    uint32_t before = block->count;
    int64_t due = CLOCK_NEVER;
    for (uint32_t i = 0; i < block->count; i++) {
        struct run *run = &block->runs[i];
        if (run->value.state != STATE_DELAYED)
            continue;
        if (run->value.due > waking->now) {
            if (run->value.due < due)
                due = run->value.due;
            continue;
        }
        run->value.state = STATE_WAITING;
        states_count(states, block, STATE_DELAYED, -(int64_t)run->count);
        states_count(states, block, STATE_WAITING, run->count);
        if (woken == 0)
            states_lower(states, STATE_WAITING, base + run->start);
        woken += run->count;
        if (waking->woken)
            waking->woken(waking->context, base + run->start, run->count);
    }
    block->due = due;
    if (woken > 0)
        runs_join(block);
    states->runs += block->count;
    states->runs -= before;
    return woken;
}

uint64_t states_wake(struct states *states, int64_t now, void (*woken)(void *context, uint64_t first, uint32_t count),
                     void *context)
{
    struct waking waking = {states, now, woken, context};
    uint64_t base = states->floor >> STATES_BLOCK_BITS, sum = 0;
    for (size_t i = first_block_of(states, STATE_DELAYED);
         states->counts[STATE_DELAYED] > 0 && i < states->blocks_count; i++) {
        struct states_block *block = states->blocks[i];
        if (block->of_state[STATE_DELAYED] > 0 && block->due <= now)
            sum += block_wake(&waking, block, (base + i) << STATES_BLOCK_BITS);
    }
    return sum;
}
