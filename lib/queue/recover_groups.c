/* The groups of a recovery: what of their states is known, and what is taken for not settled. */
#include "queue/recover_private.h"

#include "base/memory.h"
#include "queue/states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A group that there is. */
struct recovered_group {
    uint32_t id, topic;
    uint64_t frontier; /* as its row says */
    char name[NAME_MAX_BYTES + 1];
};

static bool has_group(const struct recovery *recovery, uint32_t topic, const char *name)
{
    const struct recovered_group *group;
    size_t at = 0;
    while ((group = map_next(&recovery->groups, &at)))
        if (group->topic == topic && strcmp(group->name, name) == 0)
            return true;
    return false;
}

static enum mp_error find_group(void *context, const struct salvage_row *row)
{
    struct recovery *recovery = context;
    const struct store_group *group = &row->of.group;
    enum mp_error error = MP_OK;
    if (group->id > recovery->groups_most && group->id < INT32_MAX)
        recovery->groups_most = group->id;
    struct recovered_topic *topic = recover_topic(recovery, group->topic, &error);
    if (!topic || strlen(group->name) > NAME_MAX_BYTES || has_group(recovery, group->topic, group->name))
        return error;
    struct recovered_group *found = calloc(1, sizeof *found);
    if (!found)
        return MP_ERR_MEMORY;
    found->id = group->id;
    found->topic = group->topic;
    found->frontier = group->frontier;
    memcpy(found->name, group->name, strlen(group->name) + 1);
    if (group->floor < topic->needed)
        topic->needed = group->floor;
    if (group->frontier > topic->end)
        topic->end = group->frontier;
    return map_put(&recovery->groups, &found->id, sizeof found->id, found);
}

enum mp_error recover_find_groups(struct recovery *recovery)
{
    /* A lost group's events still name its topic. */
    return salvage_each(recovery->salvage, SALVAGE_GROUPS, recovery->least[SALVAGE_GROUPS], find_group, recovery,
                        recovery->fault);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------- */

/* The blocks of all groups: which there are, by key. */
struct blocks {
    struct recovery *recovery;
    uint64_t *keys; /* in their order */
    size_t count, capacity;
};

static enum mp_error write_block(void *context, const struct salvage_row *row)
{
    struct blocks *blocks = context;
    struct recovery *recovery = blocks->recovery;
    uint32_t group = row->of.block.group;
    const struct recovered_group *found = map_get(&recovery->groups, &group, sizeof group);
    if (!found || (uint64_t)row->of.block.block << STATES_BLOCK_BITS >= found->frontier)
        return MP_OK; /* of a group that was deleted, or newer than the row that is left */
    if (blocks->count == blocks->capacity) {
        uint64_t *keys = memory_grow(blocks->keys, &blocks->capacity, sizeof *keys, 64);
        if (!keys)
            return MP_ERR_MEMORY;
        blocks->keys = keys;
    }
    blocks->keys[blocks->count++] = (uint64_t)row->key;
    return store_put_block(recovery->store, group, row->of.block.block, row->of.block.data, row->of.block.size,
                           recovery->fault);
}

static int compare_keys(const void *one, const void *two)
{
    const uint64_t *a = one, *b = two;
    return *a < *b ? -1 : *a > *b;
}

/* A block that is lost becomes one whose messages all wait. */
struct waiting {
    struct recovery *recovery;
    uint32_t group;
};

static enum mp_error put_block(void *context, uint32_t block, const void *data, size_t size)
{
    const struct waiting *waiting = context;
    return store_put_block(waiting->recovery->store, waiting->group, block, data, size, waiting->recovery->fault);
}

static enum mp_error write_waiting(struct recovery *recovery, const struct store_group *group, uint64_t block)
{
    struct states states = {0};
    struct waiting waiting = {recovery, group->id};
    const struct moment now = {.wall = 0};
    uint64_t first = block << STATES_BLOCK_BITS, end = first + STATES_BLOCK;
    if (first < group->floor)
        first = group->floor;
    if (end > group->frontier)
        end = group->frontier;
    states_begin(&states, first);
    enum mp_error error = states_reach(&states, end);
    if (!error)
        error = states_save(&states, now, put_block, &waiting);
    states_free(&states);
    return error;
}

/* Sees to it that every message between floor and frontier has a block. A group that has settled all has none. */
static enum mp_error fill_blocks(struct blocks *blocks, const struct store_group *group, uint64_t *lost)
{
    enum mp_error error = MP_OK;
    uint64_t block = group->floor >> STATES_BLOCK_BITS;
    *lost = 0;
    if (group->floor >= group->frontier)
        return MP_OK;
    for (; !error && block << STATES_BLOCK_BITS < group->frontier; block++) {
        uint64_t key = (uint64_t)group->id << 32 | block;
        if (bsearch(&key, blocks->keys, blocks->count, sizeof key, compare_keys))
            continue;
        ++*lost;
        error = write_waiting(blocks->recovery, group, block);
    }
    return error;
}

/* ---- groups ------------------------------------------------------------------------------------------------------- */

static enum mp_error tell_group(struct recovery *recovery, const struct store_group *group, const char *words)
{
    const struct recovered_topic *topic = map_get(&recovery->topics, &group->topic, sizeof group->topic);
    const struct recover_loss loss = {.topic = topic ? topic->name : "", .group = group->name, .words = words};
    recover_tell(recovery, &loss);
    return MP_OK;
}

static enum mp_error write_group(void *context, const struct salvage_row *row)
{
    struct blocks *blocks = context;
    struct recovery *recovery = blocks->recovery;
    struct store_group group = row->of.group;
    const struct recovered_group *found = map_get(&recovery->groups, &group.id, sizeof group.id);
    char words[FAULT_TEXT];
    uint64_t lost;
    if (!found || found->topic != group.topic || strcmp(found->name, group.name) != 0)
        return MP_OK; /* of two with one name the other one is there */
    if (group.pattern && !map_get(&recovery->patterns, &group.pattern, sizeof group.pattern)) {
        tell_group(recovery, &group,
                   "the row of its pattern is lost: it is a group of this topic alone, with default settings");
        group.pattern = 0;
    }
    enum mp_error error = fill_blocks(blocks, &group, &lost);
    if (!error && row->rank < SALVAGE_LOOSE && !recovery->complete[SALVAGE_GROUPS])
        tell_group(recovery, &group,
                   "its row is lost: it is as an earlier one says, and given again what it settled since");
    if (!error && lost > 0) {
        snprintf(words, sizeof words, "its states of up to %llu messages are lost: it is given these again",
                 (unsigned long long)lost * STATES_BLOCK);
        tell_group(recovery, &group, words);
    }
    recovery->report->groups++;
    return error ? error : store_put_group(recovery->store, &group, recovery->fault);
}

enum mp_error recover_write_groups(struct recovery *recovery)
{
    struct blocks blocks = {.recovery = recovery};
    /* An older block may be of before the group was moved. */
    enum salvage_rank rank = recovery->least[SALVAGE_BLOCKS];
    if (rank < SALVAGE_LOOSE && !recovery->complete[SALVAGE_BLOCKS])
        rank = SALVAGE_LOOSE;
    enum mp_error error = salvage_each(recovery->salvage, SALVAGE_BLOCKS, rank, write_block, &blocks, recovery->fault);
    if (!error)
        error = salvage_each(recovery->salvage, SALVAGE_GROUPS, recovery->least[SALVAGE_GROUPS], write_group, &blocks,
                             recovery->fault);
    free(blocks.keys);
    return error;
}
