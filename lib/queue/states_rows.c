#include "queue/states_private.h"

/*
 * A block's row: a version byte (2), u64 wall time of its being written, then per run: u16 start, u16 count, u8 state
 * with ROW_FAILED and ROW_SUSPECT. For what is settled that is all; otherwise u32 attempt; delayed: u64 due (wall
 * microseconds); leased: u64 session, u64 lease; with ROW_FAILED u64 failed; with ROW_SUSPECT u32 suspect. Version 1 had
 * no flags, and an attempt for settled ones too. Raise the version when a field changes, and go on reading the old ones.
 * Due less the time of writing is how long a delay lasts at most, whatever the wall clock does meanwhile.
 */
enum { ROW_VERSION = 2, ROW_FAILED = 128, ROW_SUSPECT = 64, ROW_STATE = 63 };

static enum mp_error run_encode(const struct run *run, struct moment now, struct buffer *out)
{
    const struct state_value *value = &run->value;
    uint8_t state = (uint8_t)value->state;
    if (!state_is_settled(value->state))
        state |= (uint8_t)((value->failed ? ROW_FAILED : 0) | (value->suspect ? ROW_SUSPECT : 0));
    enum mp_error error = buffer_reserve(out, 64);
    if (error)
        return error;
    buffer_put_u16(out, run->start);
    buffer_put_u16(out, run->count);
    buffer_put_u8(out, state);
    if (state_is_settled(value->state))
        return MP_OK;
    buffer_put_u32(out, value->attempt);
    if (value->state == STATE_DELAYED)
        buffer_put_u64(out, (uint64_t)(now.wall + (value->due - now.monotonic)));
    if (value->state == STATE_LEASED) {
        buffer_put_u64(out, value->session);
        buffer_put_u64(out, value->lease);
    }
    if (value->failed)
        buffer_put_u64(out, (uint64_t)value->failed);
    if (value->suspect)
        buffer_put_u32(out, value->suspect);
    return MP_OK;
}

static enum mp_error block_encode(const struct states_block *block, struct moment now, struct buffer *out)
{
    out->size = 0;
    enum mp_error error = buffer_put_u8(out, ROW_VERSION);
    if (!error)
        error = buffer_put_u64(out, (uint64_t)now.wall);
    for (uint32_t i = 0; !error && i < block->count; i++)
        error = run_encode(&block->runs[i], now, out);
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

enum mp_error states_restore(struct states *states, uint64_t start, uint64_t floor, uint64_t frontier,
                             const uint64_t *totals, size_t count)
{
    states_begin(states, start);
    if (floor < start || frontier < floor || count > STATE_COUNT)
        return MP_ERR_DAMAGED;
    uint64_t rest = floor - start;
    for (size_t i = 0; i < count; i++) {
        if (totals[i] > rest)
            return MP_ERR_DAMAGED;
        rest -= totals[i];
        states->totals[i] = totals[i];
    }
    states->totals[STATE_ACKED] += rest;
    states->floor = floor;
    states->frontier = frontier;
    return MP_OK;
}

/* How rows are read: when they were written, and what has passed since. */
struct row_reader {
    struct reader reader;
    uint8_t version;
    int64_t written;
    struct moment now;
};

/* When a message is due that was due at DUE by the wall clock. False: that is no time. */
static bool due_again(const struct row_reader *row, int64_t due, int64_t *result)
{
    int64_t from = row->now.wall > row->written ? row->now.wall : row->written;
    *result = row->now.monotonic;
    return due >= 0 && (due <= from || !__builtin_add_overflow(row->now.monotonic, due - from, result));
}

/* The next run; false when it is none. */
static bool run_decode(struct row_reader *row, uint32_t *start, uint32_t *count, struct state_value *value)
{
    struct reader *reader = &row->reader;
    *start = reader_u16(reader);
    *count = reader_u16(reader);
    uint8_t state = reader_u8(reader), flags = 0;
    if (row->version > 1) {
        flags = (uint8_t)(state & ~ROW_STATE);
        state &= ROW_STATE;
    }
    *value = (struct state_value){.state = (enum state)state};
    if (state_is_settled(value->state)) {
        if (row->version == 1)
            reader_u32(reader);
        return !reader->failed && state < STATE_COUNT && flags == 0;
    }
    value->attempt = reader_u32(reader);
    if (value->state == STATE_DELAYED && !due_again(row, (int64_t)reader_u64(reader), &value->due))
        return false;
    if (value->state == STATE_LEASED) {
        value->session = reader_u64(reader);
        value->lease = reader_u64(reader);
    }
    if (flags & ROW_FAILED)
        value->failed = (int64_t)reader_u64(reader);
    if (flags & ROW_SUSPECT)
        value->suspect = reader_u32(reader);
    return !reader->failed;
}

enum mp_error states_load(struct states *states, struct moment now, uint32_t number, const uint8_t *data, size_t size)
{
    uint64_t base = (uint64_t)number << STATES_BLOCK_BITS;
    if (base + STATES_BLOCK <= states->floor)
        return MP_OK; /* settled since, and not yet deleted */
    if (base >= states->frontier)
        return MP_ERR_DAMAGED;
    struct row_reader row = {.reader = reader_of(data, size), .now = now};
    row.version = reader_u8(&row.reader);
    row.written = (int64_t)reader_u64(&row.reader);
    if (row.reader.failed || row.version < 1 || row.version > ROW_VERSION || row.written < 0)
        return MP_ERR_DAMAGED;
    uint64_t lowest = base < states->floor ? states->floor : base;
    enum mp_error error = states_blocks_reach(states, lowest);
    if (error)
        return error;
    struct states_block *block = states_block_at(states, lowest);
    uint32_t position = 0, floor = (uint32_t)(lowest - base), start, count;
    while (row.reader.left > 0) {
        struct state_value value;
        if (!run_decode(&row, &start, &count, &value) || count == 0 || start < position || start + count > STATES_BLOCK)
            return MP_ERR_DAMAGED;
        position = start + count;
        if (position <= floor)
            continue; /* what a block has below the floor is in the totals */
        if ((error = states_block_reserve(block)))
            return error;
        start = start > floor ? start : floor;
        states_block_set(states, block, start, position, &value);
    }
    block->dirty = false;
    return MP_OK;
}

enum mp_error states_check(const struct states *states, struct fault *fault)
{
    uint64_t counts[STATE_COUNT] = {0}, below = states->start;
    struct state_run run;
    uint64_t offset = states->floor;
    for (; offset < states->frontier; offset += run.count) {
        if (!states_get(states, offset, &run))
            return fault_set(fault, MP_ERR_DAMAGED, "offset %llu is in no state", (unsigned long long)offset);
        counts[run.value.state] += run.count;
        if (run.first < states->lowest[run.value.state])
            return fault_set(fault, MP_ERR_DAMAGED, "offset %llu would not be found", (unsigned long long)offset);
    }
    if (offset != states->frontier)
        return fault_set(fault, MP_ERR_DAMAGED, "states reach beyond offset %llu", (unsigned long long)offset);
    for (unsigned state = 0; state < STATE_COUNT; state++) {
        below += states->totals[state];
        if (counts[state] != states->counts[state])
            return fault_set(fault, MP_ERR_DAMAGED, "%llu messages in state %u where %llu were counted",
                             (unsigned long long)counts[state], state, (unsigned long long)states->counts[state]);
    }
    if (below != states->floor)
        return fault_set(fault, MP_ERR_DAMAGED, "%llu messages below the floor where %llu were counted",
                         (unsigned long long)(states->floor - states->start),
                         (unsigned long long)(below - states->start));
    return MP_OK;
}
