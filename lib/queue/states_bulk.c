#include "queue/states_private.h"

#include <stdlib.h>

/* A block that is made anew in one pass: its runs go through here, and pieces of them change on the way. */
struct remake {
    struct states *states;
    struct states_block *block;
    uint64_t base; /* offset of the block's first message */
    uint32_t count;
    bool changed;
};

/* Room for MORE runs than are there. */
static enum mp_error scratch_reserve(struct remake *remake, uint32_t more)
{
    struct states *states = remake->states;
    if (remake->count + more <= states->scratch_capacity)
        return MP_OK;
    size_t capacity = states->scratch_capacity ? states->scratch_capacity * 2 : 64;
    while (capacity < remake->count + more)
        capacity *= 2;
    struct run *scratch = realloc(states->scratch, capacity * sizeof *scratch);
    if (!scratch)
        return MP_ERR_MEMORY;
    states->scratch = scratch;
    states->scratch_capacity = capacity;
    return MP_OK;
}

/* Appends positions START to END in VALUE, joined with what is before them. */
static enum mp_error remake_add(struct remake *remake, uint32_t start, uint32_t end, const struct state_value *value)
{
    if (start == end)
        return MP_OK;
    struct run *last = remake->count > 0 ? &remake->states->scratch[remake->count - 1] : NULL;
    if (last && (uint32_t)last->start + last->count == start && states_same_value(&last->value, value)) {
        last->count = (uint16_t)(last->count + (end - start));
        return MP_OK;
    }
    enum mp_error error = scratch_reserve(remake, 1);
    if (error)
        return error;
    remake->states->scratch[remake->count++] = (struct run){(uint16_t)start, (uint16_t)(end - start), *value};
    return MP_OK;
}

/* The same for positions that were in OLD and change. */
static enum mp_error remake_change(struct remake *remake, uint32_t start, uint32_t end, const struct run *old,
                                   const struct state_value *value)
{
    struct states_block *block = remake->block;
    states_count(remake->states, block, old->value.state, -(int64_t)(end - start));
    states_count(remake->states, block, value->state, end - start);
    states_lower(remake->states, value->state, remake->base + start);
    if (value->state == STATE_DELAYED && value->due < block->due)
        block->due = value->due;
    remake->changed = true;
    return remake_add(remake, start, end, value);
}

/* Puts the new runs into the block. */
static enum mp_error remake_finish(struct remake *remake)
{
    struct states_block *block = remake->block;
    if (!remake->changed)
        return MP_OK;
    if (remake->count > block->capacity) {
        struct run *runs = realloc(block->runs, (remake->count + 2) * sizeof *runs);
        if (!runs)
            return MP_ERR_MEMORY;
        block->runs = runs;
        block->capacity = remake->count + 2;
    }
    remake->states->runs += remake->count;
    remake->states->runs -= block->count;
    memcpy(block->runs, remake->states->scratch, remake->count * sizeof *block->runs);
    block->count = remake->count;
    block->dirty = true;
    states_block_shrink(block);
    return MP_OK;
}

/* How a run's part between two positions changes. */
typedef enum mp_error (*remake_part)(struct remake *remake, const struct run *run, uint32_t start, uint32_t end,
                                     const void *context);

/* Makes the block of offset FIRST anew: what lies from there on below END goes through PART. */
static enum mp_error remake_block(struct states *states, uint64_t first, uint64_t end, remake_part part,
                                  const void *context)
{
    struct remake remake = {
        .states = states, .block = states_block_at(states, first), .base = first & ~(uint64_t)(STATES_BLOCK - 1)};
    if (!remake.block)
        return MP_ERR_INVALID; /* a row that should be there was not */
    uint32_t low = (uint32_t)(first - remake.base);
    uint32_t high = end - remake.base < STATES_BLOCK ? (uint32_t)(end - remake.base) : STATES_BLOCK;
    enum mp_error error = MP_OK;
    for (uint32_t i = 0; !error && i < remake.block->count; i++) {
        const struct run *run = &remake.block->runs[i];
        uint32_t start = run->start, stop = start + run->count;
        uint32_t from = start > low ? start : low, to = stop < high ? stop : high;
        if (from >= to) {
            error = remake_add(&remake, start, stop, &run->value);
            continue;
        }
        if (!(error = remake_add(&remake, start, from, &run->value)) &&
            !(error = part(&remake, run, from, to, context)))
            error = remake_add(&remake, to, stop, &run->value);
    }
    return error ? error : remake_finish(&remake);
}

static enum mp_error remake_range(struct states *states, uint64_t first, uint64_t end, remake_part part,
                                  const void *context)
{
    enum mp_error error = MP_OK;
    for (uint64_t at = first; !error && at < end; at = (at | (STATES_BLOCK - 1)) + 1)
        error = remake_block(states, at, end, part, context);
    states_floor_advance(states);
    return error;
}

enum mp_error states_reach(struct states *states, uint64_t offset)
{
    static const struct state_value waiting = {.state = STATE_WAITING};
    enum mp_error error = MP_OK;
    while (!error && states->frontier < offset) {
        uint64_t count = offset - states->frontier;
        error = states_set(states, states->frontier, count > UINT32_MAX ? UINT32_MAX : (uint32_t)count, &waiting);
    }
    return error;
}

struct masking {
    uint64_t first;
    uint32_t span;
    const uint8_t *mask;
    const struct state_value *value;
};

static enum mp_error mask_part(struct remake *remake, const struct run *run, uint32_t start, uint32_t end,
                               const void *context)
{
    const struct masking *masking = context;
    size_t from = (size_t)(remake->base + start - masking->first), to = from + (end - start), length;
    enum mp_error error = MP_OK;
    for (size_t at = from; !error && at < to; at += length) {
        uint32_t position = start + (uint32_t)(at - from);
        length = bits_run(masking->mask, at, to);
        if (bits_get(masking->mask, at))
            error = remake_change(remake, position, position + (uint32_t)length, run, masking->value);
        else
            error = remake_add(remake, position, position + (uint32_t)length, &run->value);
    }
    return error;
}

enum mp_error states_set_mask(struct states *states, uint64_t first, uint32_t span, const uint8_t *mask,
                              const struct state_value *value)
{
    struct masking masking = {first, span, mask, value};
    if (first < states->floor || first + span < first)
        return MP_ERR_INVALID;
    enum mp_error error = states_reach(states, first + span);
    return error ? error : remake_range(states, first, first + span, mask_part, &masking);
}

struct changing {
    const struct states_change *change;
    uint64_t first; /* of the mask */
    uint32_t *changed;
};

static bool is_meant(const struct states_change *change, const struct state_value *value)
{
    return (change->from >> value->state & 1) != 0 &&
           (value->state != STATE_LEASED || (value->session == change->session && value->lease == change->lease));
}

/* Positions START to END of RUN, which are all meant. */
static enum mp_error change_piece(struct remake *remake, const struct run *run, uint32_t start, uint32_t end,
                                  const struct changing *changing)
{
    struct state_run piece = {.first = remake->base + start, .count = end - start, .value = run->value};
    struct state_value value = changing->change->become(changing->change->context, &piece);
    *changing->changed += end - start;
    return remake_change(remake, start, end, run, &value);
}

static enum mp_error change_part(struct remake *remake, const struct run *run, uint32_t start, uint32_t end,
                                 const void *context)
{
    const struct changing *changing = context;
    const uint8_t *mask = changing->change->mask;
    if (!is_meant(changing->change, &run->value))
        return remake_add(remake, start, end, &run->value);
    if (!mask)
        return change_piece(remake, run, start, end, changing);
    size_t from = (size_t)(remake->base + start - changing->first), to = from + (end - start), length;
    enum mp_error error = MP_OK;
    for (size_t at = from; !error && at < to; at += length) {
        uint32_t position = start + (uint32_t)(at - from);
        length = bits_run(mask, at, to);
        if (bits_get(mask, at))
            error = change_piece(remake, run, position, position + (uint32_t)length, changing);
        else
            error = remake_add(remake, position, position + (uint32_t)length, &run->value);
    }
    return error;
}

/* What is one run needs no block made anew. */
static bool change_whole(struct states *states, uint64_t first, uint32_t span, const struct states_change *change,
                         uint32_t *changed, enum mp_error *error)
{
    struct state_run run;
    if (change->mask || !states_get(states, first, &run) || run.count < span || !is_meant(change, &run.value))
        return false;
    run.count = *changed = span;
    struct state_value value = change->become(change->context, &run);
    *error = states_set(states, first, span, &value);
    return true;
}

enum mp_error states_change(struct states *states, uint64_t first, uint32_t span, const struct states_change *change,
                            uint32_t *changed)
{
    struct changing changing = {change, first, changed};
    uint64_t end = first + span < states->frontier ? first + span : states->frontier;
    enum mp_error error = MP_OK;
    *changed = 0;
    if (change_whole(states, first, span, change, changed, &error))
        return error;
    if (first < states->floor)
        first = states->floor;
    return remake_range(states, first, end, change_part, &changing);
}
