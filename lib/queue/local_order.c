#include "queue/local_order.h"
#include "queue/local_grant.h"

#include "message/attributes.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/*
 * What a grant looks at beside what it gives: frames whose messages are entered into the order. It looks no further when
 * a few hundred were given, many wait behind others already, or what was given lies in so many frames that half of the
 * cache is taken. The further it looks the wider apart lies what is open, until each frame is read from the disk again
 * for a few messages at a time: 2 million messages of 10,000 keys went out at 145 k/s where it looked for a full answer,
 * and at 1.0 M/s so.
 */
enum { SCAN_FRAMES = 16, SCAN_BYTES = 4 * 1024 * 1024, ENOUGH_WAITING = 65536, ENOUGH_GIVEN = 512 };

void local_order_free(struct group *group)
{
    if (group->order) {
        group->order->local->holding -= group->order->holds;
        order_free(&group->order->order);
    }
    free(group->order);
    group->order = NULL;
}

static enum order_state order_state_of(enum state state)
{
    switch (state) {
    case STATE_WAITING:
        return ORDER_WAITING;
    case STATE_DELAYED:
        return ORDER_DELAYED;
    case STATE_LEASED:
        return ORDER_LEASED;
    default:
        return ORDER_SETTLED;
    }
}

enum mp_error local_order_note(struct group *group, uint64_t first, uint32_t count, const struct state_value *value)
{
    struct group_order *order = group->order;
    if (order && order->holds && value->state == STATE_DEAD && first + count > order->scanned) {
        local_order_free(group); /* its key is not known: who begins anew reads it from the letter */
        return MP_OK;
    }
    if (!order || first >= order->scanned)
        return MP_OK;
    if (count > order->scanned - first)
        count = (uint32_t)(order->scanned - first);
    enum mp_error error = value->state == STATE_DEAD ? hold_dead(order, first, count) : MP_OK;
    return error ? error : order_change(&order->order, first, count, order_state_of(value->state));
}

/* ---- entering messages ------------------------------------------------------------------------------------------ */

uint64_t order_key_of(const struct record *record)
{
    struct attribute attribute;
    size_t at = 0;
    if (record->attributes_size == 0)
        return ORDER_NO_KEY;
    while (attribute_next(record->attributes, record->attributes_size, &at, &attribute) &&
           attribute.code <= ATTRIBUTE_PARTITIONKEY)
        if (attribute.code == ATTRIBUTE_PARTITIONKEY) {
            uint64_t hash = XXH3_64bits(attribute.value, attribute.value_size);
            return hash == ORDER_NO_KEY ? 1 : hash;
        }
    return ORDER_NO_KEY;
}

/* Enters what is open of CACHED from INDEX on. What will be passed over for good needs no order. */
static enum mp_error enter_frame(struct granting *granting, const struct cached_frame *cached, uint32_t index)
{
    struct group *group = granting->group;
    struct order *order = &group->order->order;
    bool foreign = cached->target != 0 && cached->target != group->id;
    struct frame frame;
    struct record record;
    struct state_run run = {0};
    frame_trust(&frame, cached->data, cached->size);
    struct frame_cursor cursor = frame_cursor(&frame);
    frame_skip(&cursor, index);
    enum mp_error error = MP_OK;
    for (uint64_t offset = cached->first + index; !error && frame_next(&cursor, &record); offset++, index++) {
        if (offset >= run.first + run.count && !states_get(&group->states, offset, &run))
            run = (struct state_run){.first = offset, .count = UINT32_MAX, .value = {.state = STATE_WAITING}};
        if (state_is_settled(run.value.state))
            continue;
        bool passed = foreign || (cached->marks && bits_get(cached->marks, index));
        error =
            order_add(order, offset, passed ? ORDER_NO_KEY : order_key_of(&record), order_state_of(run.value.state));
    }
    group->order->scanned = cached->first + cached->count;
    return error ? fault_memory(granting->giving.fault) : MP_OK;
}

/* Up to where messages may be entered: what cannot be granted anyway is not looked at. */
static uint64_t scan_end(const struct group *group)
{
    uint64_t end = group->states.frontier + states_room(&group->states);
    return end < group->topic->end ? end : group->topic->end;
}

/* What may still be looked at in this turn. */
struct scan {
    unsigned frames;
    size_t bytes;
};

/* Enters the next frame that has something open. *MORE: there is more, but not in this turn. False: there is none. */
static bool scan_next(struct granting *granting, struct scan *scan, bool *more, enum mp_error *error)
{
    struct group *group = granting->group;
    struct group_order *order = group->order;
    struct state_run run;
    if (order->scanned < group->states.floor)
        order->scanned = group->states.floor;
    while (states_get(&group->states, order->scanned, &run) && state_is_settled(run.value.state))
        order->scanned = run.first + run.count;
    if (order->scanned >= scan_end(group) || order_count(&order->order) >= ORDER_MESSAGES_MAX)
        return false;
    if (scan->frames == 0 || scan->bytes == 0) {
        *more = true;
        return false;
    }
    struct cached_frame cached;
    if ((*error = give_open(&granting->giving, order->scanned, &cached)))
        return false;
    scan->frames--;
    scan->bytes -= cached.size < scan->bytes ? cached.size : scan->bytes;
    *error = enter_frame(granting, &cached, (uint32_t)(order->scanned - cached.first));
    blob_drop(cached.blob);
    return !*error;
}

/* ---- granting --------------------------------------------------------------------------------------------------- */

/* The next message that may go out, at or above OFFSET. A claim looks for it in its range, as it is not the first. */
static bool next_ready(struct granting *granting, uint64_t offset, uint64_t *found)
{
    struct group *group = granting->group;
    struct order *order = &group->order->order;
    struct state_run run;
    if (granting->high == UINT64_MAX && granting->low == 0)
        return order_first(order, found);
    for (*found = offset > granting->low ? offset : granting->low; *found < granting->high; ++*found) {
        if (*found < group->states.frontier &&
            (!states_get(&group->states, *found, &run) || run.value.state != STATE_WAITING)) {
            if (!states_find(&group->states, STATE_WAITING, *found, &run))
                run.first = group->states.frontier;
            *found = run.first;
        }
        if (*found >= group->order->scanned || *found >= granting->high)
            return false;
        if (order_may_go(order, *found))
            return true;
    }
    return false;
}

static uint32_t attempt_of(const struct group *group, uint64_t offset, uint32_t *suspect)
{
    struct state_run run;
    *suspect = 0;
    if (!states_get(&group->states, offset, &run))
        return 1;
    *suspect = run.value.suspect;
    return run.value.attempt + 1;
}

/* Messages of one frame that go out together: all of one attempt. */
struct batch {
    struct cached_frame cached;
    uint64_t first;
    uint32_t span;
    uint32_t count;
    uint32_t attempt;
    uint32_t suspect;
    uint8_t mask[GIVE_MASK];
};

/* Takes what may go out of the frame with the first such message, up to MOST, out of the order. */
static void collect(struct granting *granting, struct batch *batch, uint64_t most)
{
    struct group *group = granting->group;
    uint64_t end = batch->cached.first + batch->cached.count, offset = batch->first;
    bool claim = granting->claim;
    uint32_t suspect;
    batch->count = 0;
    memset(batch->mask, 0, bits_size((size_t)(end - offset)));
    while (batch->count < most && next_ready(granting, offset, &offset) && offset < end &&
           attempt_of(group, offset, &suspect) == batch->attempt && suspect == batch->suspect) {
        bits_set(batch->mask, (size_t)(offset - batch->first));
        batch->count++;
        batch->span = (uint32_t)(offset - batch->first) + 1;
        if (claim)
            offset++;
        else
            order_take(&group->order->order);
    }
}

/* What was not given can be found again. */
static enum mp_error put_back(const struct batch *batch, const uint8_t *wanted, struct order *order)
{
    enum mp_error error = MP_OK;
    for (uint32_t i = 0; !error && i < batch->span; i++)
        if (bits_get(wanted, i))
            error = order_put_back(order, batch->first + i);
    return error;
}

/* Grants from the frame with the first message that may go out. */
static enum mp_error grant_batch(struct granting *granting, uint64_t first, bool *went_on)
{
    struct group *group = granting->group;
    struct giving *giving = &granting->giving;
    struct batch batch = {.first = first};
    uint8_t wanted[GIVE_MASK];
    batch.attempt = giving->attempt = attempt_of(group, first, &batch.suspect);
    bool pass; /* here nothing is passed by: what waits behind it may be of its key */
    uint32_t limit = UINT32_MAX;
    if (!granting->claim)
        limit = local_lease_limit(giving->local, group->subscription, granting->origin->session, batch.suspect, &pass);
    granting->suspect = batch.suspect;
    *went_on = limit > 0;
    if (limit == 0)
        return MP_OK;
    enum mp_error error = give_open(giving, first, &batch.cached);
    if (error)
        return error;
    granting->touched += batch.cached.size;
    uint64_t given = giving->deliveries->messages;
    collect(granting, &batch, limit < giving->most ? limit : giving->most);
    memcpy(wanted, batch.mask, bits_size(batch.span));
    error = grant_set(granting, &batch.cached, (uint32_t)(first - batch.cached.first), batch.span, batch.mask, went_on);
    blob_drop(batch.cached.blob);
    if (!error && put_back(&batch, wanted, &group->order->order))
        error = fault_memory(giving->fault);
    if (giving->deliveries->messages > given)
        granting->reached = first + batch.span;
    return error;
}

static enum mp_error grant_ready(struct granting *granting, bool *went_on)
{
    struct group *group = granting->group;
    uint64_t first, end = group->states.frontier + states_room(&group->states);
    enum mp_error error = MP_OK;
    *went_on = true;
    while (!error && *went_on && granting->passes > 0 && !give_is_full(&granting->giving) &&
           next_ready(granting, 0, &first)) {
        if (first >= end) {
            *went_on = false; /* too much is open */
            break;
        }
        if (first < granting->reached) {
            *went_on = false; /* behind what had expired, and between what was given: chunks of one lease lie apart */
            local_go_on(granting->giving.local, group);
            break;
        }
        error = grant_batch(granting, first, went_on);
    }
    return error;
}

/* Whether a grant that gave BEFORE messages before it came to this group looks no further. */
static bool has_enough(const struct granting *granting, uint64_t before)
{
    const struct engine_deliveries *given = granting->giving.deliveries;
    if (given->messages == before)
        return false;
    return given->messages - before >= ENOUGH_GIVEN || given->bytes >= granting->giving.limits->bytes / 2 ||
           granting->group->order->order.waiting >= ENOUGH_WAITING ||
           granting->touched >= granting->giving.local->settings.cache / 2;
}

static enum mp_error begin(struct granting *granting)
{
    struct group *group = granting->group;
    if (group->order)
        return MP_OK;
    if (!(group->order = calloc(1, sizeof *group->order)))
        return fault_memory(granting->giving.fault);
    order_begin(&group->order->order);
    group->order->scanned = group->states.floor;
    return hold_begin(granting->giving.local, group, group->order, granting->giving.fault);
}

enum mp_error grant_in_order(struct granting *granting)
{
    struct group *group = granting->group;
    struct giving *giving = &granting->giving;
    struct scan scan = {SCAN_FRAMES, SCAN_BYTES};
    uint64_t before = giving->deliveries->messages;
    bool more = false, went_on = true;
    enum mp_error error = begin(granting);
    granting->reached = 0;
    /* What dead messages hold, and what is in flight, must be known before anything goes out: its key may be any. */
    while (!error && !more && group->order->letters_next < group->order->letters_end) {
        error = hold_next(giving->local, group, &scan.bytes, giving->fault);
        more = scan.bytes == 0;
    }
    while (!error && !more && group->order->scanned < group->states.frontier)
        if (!scan_next(granting, &scan, &more, &error))
            break;
    if (!error && !more)
        error = grant_ready(granting, &went_on);
    while (!error && !more && went_on && granting->passes > 0 && !give_is_full(giving)) {
        if (has_enough(granting, before))
            break;
        if (scan_next(granting, &scan, &more, &error))
            error = grant_ready(granting, &went_on);
        else
            break;
    }
    if (!error && (more || granting->passes == 0) && giving->deliveries->messages == before)
        local_go_on(giving->local, group);
    return error;
}
