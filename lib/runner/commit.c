#include "runner/commit.h"

#include "base/memory.h"

#include <stdlib.h>

/* Messages of one part with offsets in a row. */
struct run {
    struct protocol_settlement item;
    const struct stage_parcel *parcel;
    uint32_t next; /* the number behind its last message */
    uint32_t index;
};

struct runs {
    struct run *all;
    size_t count;
    size_t capacity;
};

void commit_free(struct commit *commit)
{
    outputs_free(&commit->outputs);
    memory_release(commit->parts);
    *commit = (struct commit){0};
}

enum mp_error commit_reserve(struct commit *commit, uint32_t count)
{
    if (count <= commit->capacity - commit->count)
        return MP_OK;
    if (commit->count > UINT32_MAX / 2 - count)
        return MP_ERR_MEMORY;
    uint32_t capacity = (commit->count + count) * 2;
    struct part *parts = memory_reallocate(commit->parts, capacity * sizeof *parts);
    if (!parts)
        return MP_ERR_MEMORY;
    commit->parts = parts;
    commit->capacity = capacity;
    return MP_OK;
}

void commit_add(struct commit *commit, const struct part *parts, uint32_t count)
{
    commit->tasks++;
    for (uint32_t i = 0; i < count; i++) {
        struct part *last = commit->count ? &commit->parts[commit->count - 1] : NULL;
        commit->messages += parts[i].count;
        if (last && last->parcel == parts[i].parcel && last->index + last->count == parts[i].index)
            last->count += parts[i].count;
        else
            commit->parts[commit->count++] = parts[i];
    }
}

/* ---- settlements ---------------------------------------------------------------------------------------------- */

static enum mp_error add_run(struct runs *runs, const struct part *part, uint32_t index, uint32_t count)
{
    if (runs->count == runs->capacity) {
        struct run *all = memory_grow(runs->all, &runs->capacity, sizeof *all, 16);
        if (!all)
            return MP_ERR_MEMORY;
        runs->all = all;
    }
    struct stage_parcel *parcel = part->parcel;
    runs->all[runs->count++] = (struct run){
        .item = {.group = parcel->group,
                 .lease = parcel->lease,
                 .first = stage_parcel_offset(parcel, index),
                 .count = count,
                 .span = count,
                 .action = PROTOCOL_ACK},
        .parcel = parcel,
        .index = index,
        .next = index + count,
    };
    return MP_OK;
}

/* What a parcel has not all offsets of may lie between the messages of another one: it goes in pieces. */
static enum mp_error add_part(struct runs *runs, const struct part *part)
{
    if (!part->parcel->mask)
        return add_run(runs, part, part->index, part->count);
    uint32_t begin = part->index, end = part->index + part->count;
    enum mp_error error = MP_OK;
    for (uint32_t at = begin + 1; !error && at <= end; at++) {
        if (at < end && stage_parcel_offset(part->parcel, at) == stage_parcel_offset(part->parcel, at - 1) + 1)
            continue;
        error = add_run(runs, part, begin, at - begin);
        begin = at;
    }
    return error;
}

static int compare(const void *left, const void *right)
{
    const struct protocol_settlement *one = &((const struct run *)left)->item;
    const struct protocol_settlement *other = &((const struct run *)right)->item;
    if (one->group != other->group)
        return one->group < other->group ? -1 : 1;
    return one->first < other->first ? -1 : one->first > other->first;
}

/*
 * Joins neighbours. What lies between two messages that follow one another in a parcel is not of its lease, and nothing
 * that is settled here lies between two neighbours: a span may reach over it.
 */
static void join(struct runs *runs)
{
    size_t kept = 0;
    for (size_t i = 0; i < runs->count; i++) {
        struct run *last = kept ? &runs->all[kept - 1] : NULL, *run = &runs->all[i];
        uint64_t end = run->item.first + run->item.span;
        if (last && last->item.group == run->item.group && last->item.lease == run->item.lease &&
            ((last->parcel == run->parcel && last->next == run->index) ||
             last->item.first + last->item.span == run->item.first) &&
            end - last->item.first <= UINT32_MAX) {
            last->item.count += run->item.count;
            last->item.span = (uint32_t)(end - last->item.first);
            last->parcel = run->parcel;
            last->next = run->next;
        } else {
            runs->all[kept++] = *run;
        }
    }
    runs->count = kept;
}

static enum mp_error make_settlements(const struct commit *commit, struct protocol_settlement **items, uint32_t *count)
{
    struct runs runs = {0};
    enum mp_error error = MP_OK;
    for (uint32_t i = 0; !error && i < commit->count; i++)
        error = add_part(&runs, &commit->parts[i]);
    if (!error) {
        qsort(runs.all, runs.count, sizeof *runs.all, compare);
        join(&runs);
        *items = memory_allocate_array(runs.count, sizeof **items);
        error = *items ? MP_OK : MP_ERR_MEMORY;
    }
    for (size_t i = 0; !error && i < runs.count; i++) {
        (*items)[i] = runs.all[i].item;
        (*items)[i].exit_code = commit->exit_code;
    }
    *count = (uint32_t)runs.count;
    memory_release(runs.all);
    return error;
}

enum mp_error part_settle(const struct part *part, struct client *client, const struct protocol_settlement *how)
{
    struct stage_parcel *parcel = part->parcel;
    struct protocol_settlement settlement = *how;
    settlement.group = parcel->group;
    settlement.lease = parcel->lease;
    settlement.first = stage_parcel_offset(parcel, part->index);
    settlement.count = part->count;
    settlement.span = (uint32_t)(stage_parcel_offset(parcel, part->index + part->count) - settlement.first);
    return client_settle(client, &settlement);
}

enum mp_error commit_send(struct commit *commit, struct client *client, bool *answered, struct fault *fault)
{
    const struct protocol_settlement how = {.action = PROTOCOL_ACK, .exit_code = commit->exit_code};
    struct protocol_settlement *items = NULL;
    uint32_t count = 0;
    enum mp_error error = MP_OK;
    *answered = commit->outputs.count > 0;
    if (!*answered) {
        for (uint32_t i = 0; !error && i < commit->count; i++)
            error = part_settle(&commit->parts[i], client, &how);
        return error ? fault_set(fault, error, "%s", mp_error_text(error)) : MP_OK;
    }
    struct client_output *outputs = memory_allocate_array(commit->outputs.count, sizeof *outputs);
    error = outputs ? make_settlements(commit, &items, &count) : MP_ERR_MEMORY;
    if (error) {
        fault_memory(fault);
    } else {
        outputs_finish(&commit->outputs, outputs);
        error = client_settle_publish(client, items, count, outputs, commit->outputs.count, fault);
    }
    memory_release(items);
    memory_release(outputs);
    return error;
}

void commit_clear(struct commit *commit, bool trim)
{
    enum { PARTS_KEPT = 1024 };
    outputs_clear(&commit->outputs, trim);
    if (trim || commit->capacity > PARTS_KEPT) {
        memory_release(commit->parts);
        commit->parts = NULL;
        commit->capacity = 0;
    }
    commit->count = 0;
    commit->tasks = 0;
    commit->messages = 0;
}
