#include "queue/local.h"

#include <stdlib.h>

static void delivery_drop(const struct engine_delivery *delivery)
{
    blob_drop(delivery->blob);
    blob_drop(delivery->mask_blob);
}

void engine_deliveries_clear(struct engine_deliveries *deliveries)
{
    for (size_t i = 0; i < deliveries->count; i++)
        delivery_drop(&deliveries->items[i]);
    deliveries->count = 0;
    deliveries->bytes = 0;
    deliveries->messages = 0;
    deliveries->waiting = 0;
    deliveries->end = false;
}

void engine_deliveries_free(struct engine_deliveries *deliveries)
{
    engine_deliveries_clear(deliveries);
    free(deliveries->items);
    *deliveries = (struct engine_deliveries){0};
}

enum mp_error engine_deliveries_add(struct engine_deliveries *deliveries, const struct engine_delivery *delivery)
{
    if (deliveries->count == deliveries->capacity) {
        size_t capacity = deliveries->capacity ? deliveries->capacity * 2 : 16;
        struct engine_delivery *items = realloc(deliveries->items, capacity * sizeof *items);
        if (!items) {
            delivery_drop(delivery);
            return MP_ERR_MEMORY;
        }
        deliveries->items = items;
        deliveries->capacity = capacity;
    }
    deliveries->items[deliveries->count++] = *delivery;
    deliveries->bytes += delivery->size;
    deliveries->messages += delivery->count;
    return MP_OK;
}

/* What a grant or a read is doing. */
struct giving {
    struct local *local;
    struct topic *topic;
    uint32_t group;
    uint32_t attempt;
    struct cut_hint *hint; /* NULL: none is kept */
    const struct engine_limits *limits;
    struct engine_deliveries *deliveries;
    struct fault *fault;
};

static bool is_full(const struct giving *giving)
{
    const struct engine_deliveries *given = giving->deliveries;
    const struct engine_limits *limits = giving->limits;
    return given->count >= limits->chunks ||
           (given->messages > 0 &&
            ((limits->messages > 0 && given->messages >= limits->messages) || given->bytes >= limits->bytes));
}

/* Puts CURSOR on message INDEX of the frame that begins at offset FIRST, from where the hint was, if that helps. */
static void seek(struct frame_cursor *cursor, uint64_t first, uint32_t index, const struct cut_hint *hint)
{
    if (hint && hint->frame == first && hint->index <= index) {
        cursor->at = hint->at;
        cursor->index = hint->index;
    }
    frame_skip(cursor, index - cursor->index);
}

/* Gives up to COUNT messages of one frame from INDEX on, as a new frame. *GIVEN 0: no room. */
static enum mp_error give_part(struct giving *giving, const struct cached_frame *cached, uint32_t index, uint32_t count,
                               size_t room, uint32_t *given)
{
    struct frame frame;
    frame_trust(&frame, cached->data, cached->size);
    struct frame_cursor cursor = frame_cursor(&frame);
    seek(&cursor, cached->first, index, giving->hint);
    *given = 0;
    struct frame_cursor look = cursor;
    struct record record;
    if (giving->deliveries->messages > 0 && frame_next(&look, &record) && look.at - cursor.at > room)
        return MP_OK; /* only the first message of all may be over the limit */
    struct buffer bytes = {0};
    enum mp_error error = frame_cut(&cursor, count, room, &bytes);
    struct blob *blob = error ? NULL : blob_of_buffer(&bytes);
    if (!blob) {
        buffer_free(&bytes);
        return fault_memory(giving->fault);
    }
    if (giving->hint)
        *giving->hint = (struct cut_hint){cached->first, cursor.index, cursor.at};
    *given = cursor.index - index;
    struct engine_delivery delivery = {.topic = giving->topic->id,
                                       .group = giving->group,
                                       .first = cached->first + index,
                                       .count = *given,
                                       .span = *given,
                                       .attempt = giving->attempt,
                                       .name = giving->topic->name,
                                       .blob = blob,
                                       .data = blob->data,
                                       .size = blob->size};
    return engine_deliveries_add(giving->deliveries, &delivery) ? fault_memory(giving->fault) : MP_OK;
}

static enum mp_error give_whole(struct giving *giving, const struct cached_frame *cached)
{
    struct engine_delivery delivery = {.topic = giving->topic->id,
                                       .group = giving->group,
                                       .first = cached->first,
                                       .count = cached->count,
                                       .span = cached->count,
                                       .attempt = giving->attempt,
                                       .name = giving->topic->name,
                                       .blob = blob_hold(cached->blob),
                                       .data = cached->data,
                                       .size = cached->size};
    return engine_deliveries_add(giving->deliveries, &delivery) ? fault_memory(giving->fault) : MP_OK;
}

/* Gives messages of the frame that holds OFFSET, up to COUNT. *GIVEN 0: no room. */
static enum mp_error give_from_frame(struct giving *giving, uint64_t offset, uint64_t count, uint32_t *given)
{
    const struct engine_limits *limits = giving->limits;
    struct engine_deliveries *deliveries = giving->deliveries;
    struct cached_frame cached;
    enum mp_error error = local_frame(giving->local, giving->topic, offset, &cached, giving->fault);
    if (error == MP_ERR_NOT_FOUND || (!error && cached.first > offset)) {
        if (!error)
            blob_drop(cached.blob);
        return fault_set(giving->fault, MP_ERR_DAMAGED, "%s: offset %llu of topic %s is missing",
                         store_path(giving->local->store), (unsigned long long)offset, giving->topic->name);
    }
    if (error)
        return error;
    uint32_t index = (uint32_t)(offset - cached.first);
    uint64_t take = cached.count - index;
    if (take > count)
        take = count;
    if (limits->messages > 0 && take > limits->messages - deliveries->messages)
        take = limits->messages - deliveries->messages;
    size_t room = limits->bytes > deliveries->bytes ? limits->bytes - deliveries->bytes : 0;
    *given = 0;
    bool whole = index == 0 && take == cached.count;
    if (whole && (cached.size <= room || (deliveries->messages == 0 && cached.count == 1))) {
        error = give_whole(giving, &cached);
        *given = cached.count;
    } else if (deliveries->messages == 0 || room > (size_t)64 * 1024 || !whole) {
        error = give_part(giving, &cached, index, (uint32_t)take, room, given);
    }
    blob_drop(cached.blob);
    return error;
}

/*
 * Gives up to COUNT messages from FIRST on. *GIVEN is how many. Those that stand before a damaged frame are given; the
 * damage is told when it comes first.
 */
static enum mp_error give(struct giving *giving, uint64_t first, uint64_t count, uint32_t *given)
{
    enum mp_error error = MP_OK;
    *given = 0;
    while (!error && *given < count && !is_full(giving)) {
        uint32_t part = 0;
        error = give_from_frame(giving, first + *given, count - *given, &part);
        if (error || part == 0)
            break;
        *given += part;
    }
    return error == MP_ERR_DAMAGED && *given > 0 ? MP_OK : error;
}

/* One topic's damage keeps no other's messages back: it is told when there is nothing else to give. */
static bool pass_over(enum mp_error error, bool *damaged)
{
    *damaged |= error == MP_ERR_DAMAGED;
    return error == MP_ERR_DAMAGED;
}

/* What GROUP can give next: messages that were given back first, then new ones. False: nothing. */
static bool next_of_group(struct group *group, uint64_t *first, uint64_t *count, uint32_t *attempt)
{
    struct state_run run;
    if (states_find(&group->states, STATE_WAITING, 0, &run)) {
        *first = run.first;
        *count = run.count;
        *attempt = run.value.attempt + 1;
        return true;
    }
    *first = group->states.frontier;
    *attempt = 1;
    uint64_t there = group->topic->end - group->states.frontier;
    uint64_t room = states_room(&group->states);
    *count = there < room ? there : room;
    return *count > 0;
}

static enum mp_error grant_of_group(struct giving *giving, struct group *group, const struct engine_origin *origin,
                                    uint32_t lease)
{
    struct local *local = giving->local;
    enum mp_error error = MP_OK;
    uint64_t first, count;
    giving->topic = group->topic;
    giving->group = group->id;
    giving->hint = &group->hint;
    while (!error && !is_full(giving) && next_of_group(group, &first, &count, &giving->attempt)) {
        uint32_t given;
        error = give(giving, first, count > UINT32_MAX ? UINT32_MAX : count, &given);
        if (error || given == 0)
            break;
        struct store_event event = {.kind = EVENT_LEASED,
                                    .session = origin->session,
                                    .request = (uint64_t)origin->lane << 62 | origin->number,
                                    .first = first,
                                    .count = given,
                                    .attempt = giving->attempt,
                                    .due = local->time + (int64_t)lease * 1000,
                                    .lease = origin->number,
                                    .code = -1};
        error = local_event(local, group, &event, giving->fault);
        if (!error && local_lease_add(local, origin->session, origin->number, group, first, given,
                                      local->now.monotonic + (int64_t)lease * 1000))
            error = fault_memory(giving->fault);
    }
    return error;
}

/* What is left in the subscription's groups, and whether that is all there is for this session. */
static void count_left(const struct local *local, const struct subscription *subscription, uint64_t session,
                       struct engine_deliveries *deliveries)
{
    uint64_t elsewhere = 0;
    deliveries->waiting = 0;
    for (size_t i = 0; i < subscription->members.count; i++) {
        const struct group *group = subscription->members.items[i];
        deliveries->waiting += local_group_waiting(group);
        elsewhere += group->states.counts[STATE_LEASED] + group->states.counts[STATE_DELAYED];
    }
    deliveries->end = false;
    if (deliveries->waiting > 0) /* the leases need not be counted */
        return;
    const struct holder *holder = map_get(&local->holders, &session, sizeof session);
    for (const struct lease *lease = holder ? holder->leases : NULL; lease; lease = lease->next)
        if (lease->group->subscription == subscription)
            elsewhere -= lease->unsettled;
    deliveries->end = elsewhere == 0;
}

enum mp_error local_grant(struct engine *engine, struct engine_subscription *shared, const struct engine_origin *origin,
                          const struct engine_limits *limits, uint32_t lease, struct engine_deliveries *deliveries,
                          struct fault *fault)
{
    struct local *local = local_of(engine);
    struct subscription *subscription = (struct subscription *)shared;
    struct giving giving = {.local = local, .limits = limits, .deliveries = deliveries, .fault = fault};
    size_t members = subscription->members.count;
    subscription->used = local->time;
    enum mp_error error = MP_OK;
    bool damaged = false;
    for (size_t i = 0; !error && i < members && !is_full(&giving); i++) {
        error = grant_of_group(&giving, subscription->members.items[(subscription->turn + i) % members], origin, lease);
        if (pass_over(error, &damaged))
            error = MP_OK;
    }
    subscription->turn++;
    if (damaged && !error && deliveries->messages == 0)
        return MP_ERR_DAMAGED; /* FAULT has the words of the last */
    if (!error)
        count_left(local, subscription, origin->session, deliveries);
    return error;
}

enum mp_error local_regrant(struct engine *engine, struct engine_subscription *shared,
                            const struct engine_origin *origin, const struct engine_limits *limits,
                            struct engine_deliveries *deliveries, struct fault *fault)
{
    struct local *local = local_of(engine);
    struct subscription *subscription = (struct subscription *)shared;
    struct cut_hint hint;
    struct giving giving = {.local = local, .hint = &hint, .limits = limits, .deliveries = deliveries, .fault = fault};
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < subscription->members.count && !is_full(&giving); i++) {
        struct group *group = subscription->members.items[i];
        const struct lease *lease = local_lease(local, origin->session, origin->number, group);
        uint64_t offset = lease ? lease->first : 0, end = lease ? lease->end : 0;
        struct state_run run;
        giving.topic = group->topic;
        giving.group = group->id;
        hint.frame = UINT64_MAX;
        while (!error && offset < end && !is_full(&giving) && states_find(&group->states, STATE_LEASED, offset, &run) &&
               run.first < end) {
            offset = run.first + run.count;
            if (run.value.session != origin->session || run.value.lease != origin->number)
                continue;
            /* A block's end cuts runs that are one: give them in one piece. */
            struct state_run next;
            while (offset < end && states_get(&group->states, offset, &next) && next.value.state == STATE_LEASED &&
                   next.value.session == origin->session && next.value.lease == origin->number &&
                   next.value.attempt == run.value.attempt)
                offset = next.first + next.count;
            uint32_t given;
            giving.attempt = run.value.attempt;
            error = give(&giving, run.first, offset - run.first, &given);
        }
    }
    if (!error)
        count_left(local, subscription, origin->session, deliveries);
    return error;
}

static bool position_of(const struct topic *topic, const struct engine_position *positions, size_t count,
                        uint64_t *offset)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (positions[middle].topic < topic->id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == count || positions[low].topic != topic->id)
        return false;
    *offset = positions[low].next < topic->first ? topic->first : positions[low].next;
    return true;
}

enum mp_error local_read(struct engine *engine, struct engine_subscription *shared,
                         const struct engine_position *positions, size_t positions_count, enum engine_from from,
                         uint64_t value, const struct engine_limits *limits, struct engine_deliveries *deliveries,
                         struct fault *fault)
{
    struct local *local = local_of(engine);
    struct subscription *subscription = (struct subscription *)shared;
    struct giving giving = {.local = local, .limits = limits, .deliveries = deliveries, .fault = fault};
    size_t members = subscription->members.count;
    enum mp_error error = MP_OK;
    bool damaged = false, all = true;
    deliveries->waiting = 0;
    for (size_t i = 0; !error && i < members; i++) {
        struct topic *topic = subscription->members.items[(subscription->turn + i) % members];
        uint64_t offset;
        bool known = position_of(topic, positions, positions_count, &offset);
        if (!known && deliveries->count >= limits->chunks) {
            all = false; /* no room to tell where it stands: the next read will */
            continue;
        }
        if (!known && (error = local_position(local, topic, from, value, &offset, fault)))
            break;
        uint32_t given = 0;
        giving.topic = topic;
        giving.hint = &topic->hint;
        if (offset < topic->end && !is_full(&giving) &&
            pass_over(error = give(&giving, offset, topic->end - offset, &given), &damaged))
            error = MP_OK;
        deliveries->waiting += topic->end > offset ? topic->end - offset - given : 0;
        if (error || given > 0 || known)
            continue;
        struct engine_delivery stand = {.topic = topic->id, .first = offset, .name = topic->name};
        error = engine_deliveries_add(deliveries, &stand) ? fault_memory(fault) : MP_OK;
    }
    subscription->turn++;
    deliveries->end = deliveries->waiting == 0 && all;
    return damaged && !error && deliveries->messages == 0 ? MP_ERR_DAMAGED : error;
}
