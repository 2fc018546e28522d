#include "queue/states.h"

#include <stdlib.h>

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

static bool same_value(const struct state_value *a, const struct state_value *b)
{
    return a->state == b->state && a->attempt == b->attempt && (a->state != STATE_DELAYED || a->due == b->due) &&
           (a->state != STATE_LEASED || (a->session == b->session && a->lease == b->lease));
}

static bool is_settled(enum state state)
{
    return state == STATE_ACKED || state == STATE_DEAD;
}

void states_begin(struct states *states, uint64_t start)
{
    *states = (struct states){.floor = start, .frontier = start};
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
    *states = (struct states){0};
}

uint64_t states_room(const struct states *states)
{
    if (states->runs >= STATES_RUNS_MAX)
        return 0;
    uint64_t limit = ((states->floor >> STATES_BLOCK_BITS) + STATES_BLOCKS_MAX) << STATES_BLOCK_BITS;
    return states->frontier < limit ? limit - states->frontier : 0;
}

static struct states_block *block_at(const struct states *states, uint64_t offset)
{
    uint64_t index = (offset >> STATES_BLOCK_BITS) - (states->floor >> STATES_BLOCK_BITS);
    return index < states->blocks_count ? states->blocks[index] : NULL;
}

/* Makes blocks up to that of OFFSET. */
static enum mp_error blocks_reach(struct states *states, uint64_t offset)
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

/* Room for two more runs: setting a range inside a run cuts it in three. */
static enum mp_error block_reserve(struct states_block *block)
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

/* The first run that ends behind POSITION. */
static uint32_t run_index(const struct states_block *block, uint32_t position)
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

static void count_change(struct states *states, struct states_block *block, enum state state, int64_t change)
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
    if ((uint32_t)run->start + run->count != next->start || !same_value(&run->value, &next->value))
        return;
    run->count = (uint16_t)(run->count + next->count);
    memmove(next, next + 1, (block->count - index - 2) * sizeof *next);
    block->count--;
}

/* Sets positions START to END (exclusive); block_reserve() was called. */
static void block_set(struct states *states, struct states_block *block, uint32_t start, uint32_t end,
                      const struct state_value *value)
{
    uint32_t before = block->count;
    uint32_t from = run_index(block, start), to = from;
    struct run head = {0}, tail = {0};
    while (to < block->count && block->runs[to].start < end) {
        struct run *run = &block->runs[to++];
        uint32_t run_end = (uint32_t)run->start + run->count;
        uint32_t low = run->start > start ? run->start : start;
        uint32_t high = run_end < end ? run_end : end;
        count_change(states, block, run->value.state, -(int64_t)(high - low));
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
    count_change(states, block, value->state, end - start);
    run_join(block, middle);
    if (middle > 0)
        run_join(block, middle - 1);
    if (value->state == STATE_DELAYED && value->due < block->due)
        block->due = value->due;
    block->dirty = true;
    states->runs += block->count;
    states->runs -= before;
}

/* Forgets what lies below the new floor. */
static void floor_move(struct states *states, uint64_t floor)
{
    uint64_t gone = (floor >> STATES_BLOCK_BITS) - (states->floor >> STATES_BLOCK_BITS);
    if (gone > states->blocks_count)
        gone = states->blocks_count;
    for (uint64_t i = 0; i < gone; i++) {
        struct states_block *block = states->blocks[i];
        for (unsigned state = 0; state < STATE_COUNT; state++)
            states->counts[state] -= block->of_state[state];
        states->runs -= block->count;
        block_free(block);
    }
    states->blocks_count -= gone;
    memmove(states->blocks, states->blocks + gone, states->blocks_count * sizeof(struct states_block *));
    states->floor = floor;
    struct states_block *block = block_at(states, floor);
    if (!block)
        return;
    uint32_t position = (uint32_t)(floor & (STATES_BLOCK - 1));
    uint32_t drop = run_index(block, position);
    for (uint32_t i = 0; i < drop; i++)
        count_change(states, block, block->runs[i].value.state, -(int64_t)block->runs[i].count);
    if (drop > 0) {
        memmove(block->runs, block->runs + drop, (block->count - drop) * sizeof *block->runs);
        block->count -= drop;
        states->runs -= drop;
        block->dirty = true;
    }
    if (block->count > 0 && block->runs[0].start < position) {
        struct run *run = &block->runs[0];
        uint32_t cut = position - run->start;
        count_change(states, block, run->value.state, -(int64_t)cut);
        run->start = (uint16_t)position;
        run->count = (uint16_t)(run->count - cut);
        block->dirty = true;
    }
}

static void floor_advance(struct states *states)
{
    uint64_t floor = states->floor;
    struct state_run run;
    while (floor < states->frontier) {
        const struct states_block *block = block_at(states, floor);
        if (!block)
            break;
        uint32_t index = run_index(block, (uint32_t)(floor & (STATES_BLOCK - 1)));
        if (index >= block->count || !is_settled(block->runs[index].value.state))
            break;
        run.first = (floor & ~(uint64_t)(STATES_BLOCK - 1)) + block->runs[index].start;
        if (run.first > floor)
            break;
        floor = run.first + block->runs[index].count;
    }
    if (floor > states->floor)
        floor_move(states, floor);
}

enum mp_error states_set(struct states *states, uint64_t first, uint32_t count, const struct state_value *value)
{
    if (count == 0)
        return MP_OK;
    uint64_t end = first + count;
    if (first < states->floor || first > states->frontier || end < first)
        return MP_ERR_INVALID;
    enum mp_error error = blocks_reach(states, end - 1);
    for (uint64_t at = first; !error && at < end; at = (at | (STATES_BLOCK - 1)) + 1)
        error = block_reserve(block_at(states, at));
    if (error)
        return error;
    for (uint64_t at = first; at < end;) {
        uint64_t next = (at | (STATES_BLOCK - 1)) + 1;
        uint64_t stop = next < end ? next : end;
        uint32_t start = (uint32_t)(at & (STATES_BLOCK - 1));
        block_set(states, block_at(states, at), start, start + (uint32_t)(stop - at), value);
        at = stop;
    }
    if (end > states->frontier)
        states->frontier = end;
    if (is_settled(value->state) && first <= states->floor)
        floor_advance(states);
    return MP_OK;
}

static void run_out(const struct states *states, uint64_t offset, const struct run *run, struct state_run *out)
{
    uint64_t base = offset & ~(uint64_t)(STATES_BLOCK - 1);
    uint64_t first = base + run->start;
    uint64_t end = first + run->count;
    if (first < offset)
        first = offset;
    (void)states;
    *out = (struct state_run){.first = first, .count = (uint32_t)(end - first), .value = run->value};
}

bool states_get(const struct states *states, uint64_t offset, struct state_run *run)
{
    if (offset < states->floor || offset >= states->frontier)
        return false;
    const struct states_block *block = block_at(states, offset);
    uint32_t position = (uint32_t)(offset & (STATES_BLOCK - 1));
    uint32_t index = block ? run_index(block, position) : 0;
    if (!block || index >= block->count || block->runs[index].start > position)
        return false;
    run_out(states, offset, &block->runs[index], run);
    return true;
}

bool states_find(const struct states *states, enum state state, uint64_t offset, struct state_run *run)
{
    if (states->counts[state] == 0)
        return false;
    if (offset < states->floor)
        offset = states->floor;
    while (offset < states->frontier) {
        const struct states_block *block = block_at(states, offset);
        if (block && block->of_state[state] > 0) {
            uint32_t index = run_index(block, (uint32_t)(offset & (STATES_BLOCK - 1)));
            for (; index < block->count; index++)
                if (block->runs[index].value.state == state) {
                    run_out(states, offset, &block->runs[index], run);
                    return true;
                }
        }
        offset = (offset | (STATES_BLOCK - 1)) + 1;
    }
    return false;
}

int64_t states_due(const struct states *states)
{
    int64_t due = CLOCK_NEVER;
    if (states->counts[STATE_DELAYED] == 0)
        return due;
    for (size_t i = 0; i < states->blocks_count; i++)
        if (states->blocks[i]->of_state[STATE_DELAYED] > 0 && states->blocks[i]->due < due)
            due = states->blocks[i]->due;
    return due;
}

/* Waiting after a delay that has passed is the same on disk as the delay itself: the block does not become dirty. */
static uint64_t block_wake(struct states *states, struct states_block *block, int64_t now)
{
    uint64_t woken = 0;
    uint32_t before = block->count;
    int64_t due = CLOCK_NEVER;
    for (uint32_t i = 0; i < block->count; i++) {
        struct run *run = &block->runs[i];
        if (run->value.state != STATE_DELAYED)
            continue;
        if (run->value.due > now) {
            if (run->value.due < due)
                due = run->value.due;
            continue;
        }
        run->value = (struct state_value){.state = STATE_WAITING, .attempt = run->value.attempt};
        count_change(states, block, STATE_DELAYED, -(int64_t)run->count);
        count_change(states, block, STATE_WAITING, run->count);
        woken += run->count;
    }
    block->due = due;
    for (uint32_t i = block->count; woken > 0 && i-- > 0;)
        run_join(block, i);
    states->runs += block->count;
    states->runs -= before;
    return woken;
}

uint64_t states_wake(struct states *states, int64_t now)
{
    uint64_t woken = 0;
    for (size_t i = 0; states->counts[STATE_DELAYED] > 0 && i < states->blocks_count; i++) {
        struct states_block *block = states->blocks[i];
        if (block->of_state[STATE_DELAYED] > 0 && block->due <= now)
            woken += block_wake(states, block, now);
    }
    return woken;
}

void states_set_frontier(struct states *states, uint64_t frontier)
{
    states->frontier = frontier;
}

/*
 * A block's row: a version byte (1), u64 wall time of its being written, then per run: u16 start, u16 count, u8 state,
 * u32 attempt; delayed: u64 due (wall microseconds); leased: u64 session, u64 lease. Raise the version when a field
 * changes. Due less the time of writing is how long a delay lasts at most, whatever the wall clock does meanwhile.
 */
enum { BLOCK_VERSION = 1 };

static enum mp_error block_encode(const struct states_block *block, struct moment now, struct buffer *out)
{
    out->size = 0;
    enum mp_error error = buffer_put_u8(out, BLOCK_VERSION);
    if (!error)
        error = buffer_put_u64(out, (uint64_t)now.wall);
    for (uint32_t i = 0; !error && i < block->count; i++) {
        const struct run *run = &block->runs[i];
        const struct state_value *value = &run->value;
        if ((error = buffer_put_u16(out, run->start)) || (error = buffer_put_u16(out, run->count)) ||
            (error = buffer_put_u8(out, (uint8_t)value->state)) || (error = buffer_put_u32(out, value->attempt)))
            break;
        if (value->state == STATE_DELAYED)
            error = buffer_put_u64(out, (uint64_t)(now.wall + (value->due - now.monotonic)));
        else if (value->state == STATE_LEASED && !(error = buffer_put_u64(out, value->session)))
            error = buffer_put_u64(out, value->lease);
    }
    return error;
}

enum mp_error states_save(struct states *states, struct moment now,
                          enum mp_error (*put)(void *context, uint32_t block, const void *data, size_t size),
                          void *context)
{
    struct buffer out = {0};
    enum mp_error error = MP_OK;
    uint64_t base = states->floor >> STATES_BLOCK_BITS;
    for (size_t i = 0; !error && i < states->blocks_count; i++) {
        struct states_block *block = states->blocks[i];
        if (!block->dirty)
            continue;
        if (!(error = block_encode(block, now, &out)))
            error = put(context, (uint32_t)(base + i), out.data, out.size);
        if (!error)
            block->dirty = false;
    }
    buffer_free(&out);
    return error;
}

static int64_t delay_left(int64_t due, int64_t written, int64_t wall)
{
    int64_t left = due - (wall > written ? wall : written);
    return left > 0 ? left : 0;
}

enum mp_error states_load(struct states *states, struct moment now, uint32_t number, const uint8_t *data, size_t size)
{
    uint64_t base = (uint64_t)number << STATES_BLOCK_BITS;
    if (base + STATES_BLOCK <= states->floor)
        return MP_OK; /* settled since, and not yet deleted */
    if (base >= states->frontier)
        return MP_ERR_DAMAGED;
    struct reader reader = reader_of(data, size);
    if (reader_u8(&reader) != BLOCK_VERSION)
        return MP_ERR_DAMAGED;
    int64_t written = (int64_t)reader_u64(&reader);
    if (reader.failed)
        return MP_ERR_DAMAGED;
    enum mp_error error = blocks_reach(states, base < states->floor ? states->floor : base);
    if (error)
        return error;
    struct states_block *block = block_at(states, base < states->floor ? states->floor : base);
    uint32_t position = 0;
    while (reader.left > 0) {
        uint32_t start = reader_u16(&reader), count = reader_u16(&reader);
        struct state_value value = {.state = (enum state)reader_u8(&reader)};
        value.attempt = reader_u32(&reader);
        if (value.state == STATE_DELAYED)
            value.due = now.monotonic + delay_left((int64_t)reader_u64(&reader), written, now.wall);
        if (value.state == STATE_LEASED) {
            value.session = reader_u64(&reader);
            value.lease = reader_u64(&reader);
        }
        if (reader.failed || count == 0 || start < position || start + count > STATES_BLOCK ||
            value.state >= STATE_COUNT)
            return MP_ERR_DAMAGED;
        position = start + count;
        if ((error = block_reserve(block)))
            return error;
        block_set(states, block, start, start + count, &value);
    }
    block->dirty = false;
    if (base < states->floor)
        floor_move(states, states->floor);
    return MP_OK;
}

enum mp_error states_check(const struct states *states, struct fault *fault)
{
    uint64_t counts[STATE_COUNT] = {0};
    struct state_run run;
    uint64_t offset = states->floor;
    for (; offset < states->frontier; offset += run.count) {
        if (!states_get(states, offset, &run))
            return fault_set(fault, MP_ERR_DAMAGED, "offset %llu is in no state", (unsigned long long)offset);
        counts[run.value.state] += run.count;
    }
    if (offset != states->frontier)
        return fault_set(fault, MP_ERR_DAMAGED, "states reach beyond offset %llu", (unsigned long long)offset);
    for (unsigned state = 0; state < STATE_COUNT; state++)
        if (counts[state] != states->counts[state])
            return fault_set(fault, MP_ERR_DAMAGED, "%llu messages in state %u where %llu were counted",
                             (unsigned long long)counts[state], state, (unsigned long long)states->counts[state]);
    return MP_OK;
}
