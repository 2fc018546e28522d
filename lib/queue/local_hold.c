#include "message/letter.h"
#include "queue/local_order.h"

#include <stdlib.h>

/*
 * on_dead: hold. A message that died holds its key until its letter is settled by the group `mretry`: it was replayed or
 * discarded then. So what is held is what the letters say, and needs no row of its own: who begins reads those that are
 * not settled, and from then on hears of each death and of each letter that is settled.
 */

static const char mretry[] = "mretry";

static const struct group *mretry_of(const struct topic *topic)
{
    for (size_t i = 0; i < topic->groups.count; i++) {
        const struct group *group = topic->groups.items[i];
        if (strcmp(group->name, mretry) == 0)
            return group;
    }
    return NULL;
}

static bool same(const char *text, const char *other, size_t size)
{
    return strlen(text) == size && memcmp(text, other, size) == 0;
}

enum mp_error hold_begin(struct local *local, const struct group *group, struct group_order *order, struct fault *fault)
{
    char name[NAME_MAX_BYTES + 1];
    order->local = local;
    order->holds = group->subscription->settings.hold_on_dead;
    if (!order->holds)
        return MP_OK;
    local->holding++;
    /* The letters of those that died in this turn, of which nobody has heard. */
    enum mp_error error = local_letters_send(local, fault);
    if (error)
        return error;
    local_letters_name(group, name);
    const struct topic *letters = local_topic(local, name, strlen(name));
    const struct group *settles = letters ? mretry_of(letters) : NULL;
    if (settles) {
        order->letters_next = settles->states.floor;
        order->letters_end = letters->end;
    }
    return MP_OK;
}

/* Holds the keys of those letters of CACHED, from INDEX on, that are GROUP's and not settled. */
static enum mp_error hold_frame(const struct group *group, const struct group *settles,
                                const struct cached_frame *cached, uint32_t index)
{
    struct group_order *order = group->order;
    struct frame frame;
    struct record record;
    struct letter letter;
    struct state_run run;
    enum mp_error error = MP_OK;
    frame_trust(&frame, cached->data, cached->size);
    struct frame_cursor cursor = frame_cursor(&frame);
    frame_skip(&cursor, index);
    for (uint64_t offset = cached->first + index; !error && frame_next(&cursor, &record); offset++) {
        bool settled = offset < settles->states.floor ||
                       (states_get(&settles->states, offset, &run) && state_is_settled(run.value.state));
        uint64_t key = order_key_of(&record);
        if (!settled && key != ORDER_NO_KEY && letter_read(record.attributes, record.attributes_size, &letter) &&
            same(group->topic->name, letter.topic, letter.topic_size) &&
            same(group->name, letter.group, letter.group_size))
            error = order_hold(&order->order, key);
    }
    return error;
}

enum mp_error hold_next(struct local *local, const struct group *group, size_t *bytes, struct fault *fault)
{
    struct group_order *order = group->order;
    char name[NAME_MAX_BYTES + 1];
    local_letters_name(group, name);
    const struct topic *letters = local_topic(local, name, strlen(name));
    const struct group *settles = letters ? mretry_of(letters) : NULL;
    struct state_run run;
    if (!settles) {
        order->letters_next = order->letters_end; /* it was deleted, and its letters with it */
        return MP_OK;
    }
    if (order->letters_next < settles->states.floor)
        order->letters_next = settles->states.floor;
    while (states_get(&settles->states, order->letters_next, &run) && state_is_settled(run.value.state))
        order->letters_next = run.first + run.count;
    if (order->letters_next >= order->letters_end)
        return MP_OK;
    struct cached_frame cached;
    enum mp_error error = local_frame(local, letters, order->letters_next, &cached, fault);
    if (error == MP_ERR_NOT_FOUND)
        order->letters_next = order->letters_end;
    if (error)
        return error == MP_ERR_NOT_FOUND ? MP_OK : error;
    uint32_t index = order->letters_next > cached.first ? (uint32_t)(order->letters_next - cached.first) : 0;
    if (hold_frame(group, settles, &cached, index))
        error = fault_memory(fault);
    order->letters_next = cached.first + cached.count;
    *bytes -= cached.size < *bytes ? cached.size : *bytes;
    blob_drop(cached.blob);
    return error;
}

enum mp_error hold_dead(struct group_order *order, uint64_t first, uint32_t count)
{
    enum mp_error error = MP_OK;
    for (uint64_t offset = first; !error && order->holds && offset < first + count; offset++) {
        uint64_t key = order_key(&order->order, offset);
        if (key != ORDER_NO_KEY)
            error = order_hold(&order->order, key);
    }
    return error;
}

/* ---- letting go ------------------------------------------------------------------------------------------------- */

/* The letter RECORD at OFFSET of LETTERS is settled: its key is free, if the group's letters still go there. */
static enum mp_error let_go(struct local *local, const struct topic *letters, const struct record *record,
                            uint64_t offset)
{
    char name[NAME_MAX_BYTES + 1];
    struct letter letter;
    uint64_t key = order_key_of(record);
    if (key == ORDER_NO_KEY || !letter_read(record->attributes, record->attributes_size, &letter))
        return MP_OK;
    const struct topic *topic = local_topic(local, letter.topic, letter.topic_size);
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && topic && i < topic->groups.count; i++) {
        struct group *group = topic->groups.items[i];
        struct group_order *order = group->order;
        if (!order || !order->holds || !same(group->name, letter.group, letter.group_size))
            continue;
        if (offset >= order->letters_next && offset < order->letters_end)
            continue; /* it is not held yet, and will not be */
        local_letters_name(group, name);
        if (strcmp(name, letters->name) != 0)
            continue; /* it was made when they went elsewhere, and holds nothing any more */
        error = order_let_go(&order->order, key);
        local_mark_ready(local, group->subscription);
    }
    return error;
}

enum mp_error local_hold_note(struct local *local, const struct group *group, uint64_t first, uint32_t count)
{
    if (local->holding == 0 || !group->topic->letters || strcmp(group->name, mretry) != 0)
        return MP_OK;
    struct local_range *ranges = realloc(local->let_go, (local->let_go_count + 1) * sizeof *ranges);
    if (!ranges)
        return MP_ERR_MEMORY;
    local->let_go = ranges;
    ranges[local->let_go_count++] = (struct local_range){first, count};
    return MP_OK;
}

enum mp_error local_hold_let_go(struct local *local, const struct topic *letters, struct fault *fault)
{
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < local->let_go_count; i++) {
        uint64_t offset = local->let_go[i].first, end = offset + local->let_go[i].count;
        while (!error && offset < end) {
            struct cached_frame cached;
            struct frame frame;
            struct record record;
            if ((error = local_frame(local, letters, offset, &cached, fault)))
                break;
            frame_trust(&frame, cached.data, cached.size);
            struct frame_cursor cursor = frame_cursor(&frame);
            if (offset < cached.first)
                offset = cached.first;
            frame_skip(&cursor, (uint32_t)(offset - cached.first));
            for (; !error && offset < end && frame_next(&cursor, &record); offset++)
                if (let_go(local, letters, &record, offset))
                    error = fault_memory(fault);
            blob_drop(cached.blob);
        }
        if (error == MP_ERR_NOT_FOUND || error == MP_ERR_DAMAGED)
            error = MP_OK; /* what it held, nobody knows any more: the next start will not find it either */
    }
    local->let_go_count = 0;
    return error;
}

void local_hold_forget(struct local *local)
{
    size_t at = 0;
    struct group *group;
    while (local->holding > 0 && (group = map_next(&local->groups, &at)))
        if (group->order && group->order->holds) {
            local_order_free(group);
            local_mark_ready(local, group->subscription);
        }
    local->let_go_count = 0;
}
