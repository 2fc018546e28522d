#include "queue/local.h"

/*
 * What expires: all messages of a topic with a ttl, counted from when they got their offsets, and messages with an
 * expirytime. That one is a time of its sender's clock; what counts is how far ahead of the frame's time it is, from when
 * the relay took the frame. Of a dead letter it does not count: it was the message's, whose time is over, and a letter
 * goes by the topic's ttl alone, if somebody has set one.
 *
 * Nothing that has expired is granted: who grants asks for each frame. Beside that a sweep moves the groups' floors over
 * what has expired (without a group, the topic's beginning), so that nobody has to ask for it and retention can delete
 * it. It looks at the heads only: what lies behind a head that is not settled cannot be deleted anyway.
 */

enum {
    SWEEP_TOPICS = 64,       /* looked at in a turn */
    SWEEP_FRAMES = 16,       /* of which messages are looked at in a turn */
    SWEEP_SPAN = 1024 * 1024 /* messages that one event says have expired */
};
/*
 * A head may be settled at any time, and what follows it may have expired before: so look now and then. And look so much
 * after something has expired, or an eighth of the ttl: what expires one by one is then swept together.
 */
#define SWEEP_PERIOD (INT64_C(1000000))

static int64_t patience(const struct topic *topic)
{
    int64_t part = topic->settings.ttl / 8;
    return topic->settings.ttl > 0 && part < SWEEP_PERIOD ? part : SWEEP_PERIOD;
}

int64_t local_frame_expires(const struct frame *frame, int64_t time, int64_t waited)
{
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    int64_t earliest = CLOCK_NEVER, expiry;
    if (!(frame->flags & FRAME_TIMED))
        return CLOCK_NEVER;
    while (frame_next(&cursor, &record))
        if (frame_record_expiry(&record, &expiry) && expiry < earliest)
            earliest = expiry;
    return earliest == CLOCK_NEVER ? CLOCK_NEVER : time - waited + (earliest - frame->time);
}

/* When a record of CACHED expires by what it says itself. */
static int64_t record_expires(const struct cached_frame *cached, const struct frame *frame, const struct record *record)
{
    int64_t expiry;
    if (!frame_record_expiry(record, &expiry))
        return CLOCK_NEVER;
    return cached->time - cached->waited + (expiry - frame->time);
}

bool local_expired_mask(struct local *local, const struct topic *topic, const struct cached_frame *cached,
                        uint32_t index, uint32_t count, uint8_t *mask)
{
    int64_t ttl = topic->settings.ttl;
    bool any = false;
    if (ttl > 0 && local->time - cached->time >= ttl) {
        bits_set_range(mask, 0, count);
        return count > 0;
    }
    if (local->time < cached->expires)
        return false;
    struct frame frame;
    struct record record;
    frame_trust(&frame, cached->data, cached->size);
    struct frame_cursor cursor = frame_cursor(&frame);
    frame_skip(&cursor, index);
    for (uint32_t i = 0; i < count && frame_next(&cursor, &record); i++) {
        if (record_expires(cached, &frame, &record) > local->time)
            continue;
        bits_set(mask, i);
        any = true;
    }
    return any;
}

/* ---- when to look --------------------------------------------------------------------------------------------- */

static void look_at(struct local *local, struct topic *topic, int64_t time)
{
    if (time < topic->expire_due)
        topic->expire_due = time;
    if (time < local->expire_due)
        local->expire_due = time;
}

/* Looks in the first turn after a while: what lies behind a head comes to its turn when the head goes, and not before. */
static void look_later(struct local *local, struct topic *topic)
{
    topic->expire_look = local->time + SWEEP_PERIOD;
    if (topic->expire_look < local->expire_look)
        local->expire_look = topic->expire_look;
}

/* The head expires by itself at TIME, and may go before. */
static void look_at_head(struct local *local, struct topic *topic, int64_t time)
{
    look_later(local, topic);
    if (time > local->time && time != CLOCK_NEVER)
        look_at(local, topic, time + patience(topic));
}

void local_expire_soon(struct local *local, struct topic *topic)
{
    if (topic->settings.ttl > 0 || topic->timed_end > topic->first)
        look_at(local, topic, local->time);
}

void local_expire_added(struct local *local, struct topic *topic, const struct cached_frame *cached)
{
    if (topic->settings.ttl > 0)
        look_at(local, topic, cached->time + topic->settings.ttl + patience(topic));
    if (cached->expires == CLOCK_NEVER)
        return;
    topic->timed_end = cached->first + cached->count;
    look_at(local, topic, cached->expires + patience(topic));
}

void local_expire_load(struct local *local)
{
    size_t at = 0;
    struct topic *topic;
    while ((topic = map_next(&local->topics, &at))) {
        topic->timed_end = topic->end; /* nobody knows better before he has looked */
        local_expire_soon(local, topic);
    }
}

/* ---- the sweep ------------------------------------------------------------------------------------------------ */

struct sweep {
    struct local *local;
    struct topic *topic;
    uint64_t end;    /* below, all has expired by the topic's ttl */
    unsigned frames; /* that may still be looked into */
    bool more;       /* there was more to do than belongs in a turn */
    struct fault *fault;
};

/* How far the messages from the floor of GROUP on to END are neither leased nor settled. */
static uint64_t open_end(const struct group *group, uint64_t end)
{
    uint64_t offset = group->states.floor;
    struct state_run run;
    while (offset < end && states_get(&group->states, offset, &run)) {
        if (run.value.state != STATE_WAITING && run.value.state != STATE_DELAYED)
            return offset;
        offset = run.first + run.count;
    }
    return end; /* from the frontier on nothing was ever granted */
}

/* Ends what lies between the floor and END and can be ended. */
static enum mp_error expire_to(struct sweep *sweep, struct group *group, uint64_t end)
{
    while (group->states.floor < end) {
        uint64_t floor = group->states.floor, stop = open_end(group, end);
        if (stop == floor)
            return MP_OK; /* leased: who has it may still settle it */
        if (stop - floor > SWEEP_SPAN)
            stop = floor + SWEEP_SPAN;
        struct store_event event = {
            .kind = EVENT_EXPIRED, .first = floor, .count = (uint32_t)(stop - floor), .code = -1};
        enum mp_error error = local_event(sweep->local, group, &event, sweep->fault);
        if (error)
            return error;
        sweep->local->expired += event.count;
    }
    return MP_OK;
}

/*
 * Looks into the frame at the floor. *END is behind those of its messages at the floor that have expired by themselves;
 * *NEXT when the first of the others does.
 */
static enum mp_error look_into(struct sweep *sweep, uint64_t floor, uint64_t *end, int64_t *next)
{
    struct local *local = sweep->local;
    struct cached_frame cached;
    struct frame frame;
    struct record record;
    struct fault detail = {0};
    *end = floor;
    *next = CLOCK_NEVER;
    enum mp_error error = local_frame(local, sweep->topic, floor, &cached, &detail);
    if (error == MP_ERR_DAMAGED || error == MP_ERR_NOT_FOUND)
        return MP_OK; /* who fetches is told */
    if (error) {
        if (sweep->fault)
            *sweep->fault = detail;
        return error;
    }
    frame_trust(&frame, cached.data, cached.size);
    struct frame_cursor cursor = frame_cursor(&frame);
    if (cached.expires != CLOCK_NEVER && cached.first <= floor && frame_skip(&cursor, (uint32_t)(floor - cached.first)))
        while (frame_next(&cursor, &record)) {
            *next = record_expires(&cached, &frame, &record);
            if (*next > local->time)
                break;
            *end += 1;
        }
    blob_drop(cached.blob);
    return MP_OK;
}

/* Ends messages at the floor of GROUP that have expired by what they say themselves. */
static enum mp_error sweep_timed(struct sweep *sweep, struct group *group)
{
    struct local *local = sweep->local;
    while (group->states.floor < sweep->topic->timed_end) {
        uint64_t floor = group->states.floor, end;
        if (floor == group->swept && local->time < group->sweep_due)
            break;
        if (sweep->frames == 0) {
            sweep->more = true;
            return MP_OK;
        }
        sweep->frames--;
        enum mp_error error = look_into(sweep, floor, &end, &group->sweep_due);
        group->swept = floor;
        if (!error)
            error = expire_to(sweep, group, end);
        if (error)
            return error;
        if (group->states.floor == floor)
            break;
    }
    if (group->states.floor < sweep->topic->timed_end)
        look_at_head(local, sweep->topic, group->sweep_due);
    return MP_OK;
}

/* When the head at FLOOR, which has not, expires by the topic's ttl. */
static enum mp_error next_by_ttl(struct sweep *sweep, uint64_t floor)
{
    struct local *local = sweep->local;
    struct topic *topic = sweep->topic;
    struct store_frame row;
    if (topic->settings.ttl == 0 || floor >= topic->end)
        return MP_OK;
    enum mp_error error = store_find_frame(local->store, topic->id, floor, &row, sweep->fault);
    if (error)
        return error == MP_ERR_NOT_FOUND || error == MP_ERR_DAMAGED ? MP_OK : error;
    int64_t time = row.time + topic->settings.ttl + patience(topic);
    if (time > local->time)
        look_at(local, topic, time);
    else /* somebody has it */
        look_later(local, topic);
    return MP_OK;
}

/* Without a group there is no state to change: the topic begins later. The event says so after a kill. */
static enum mp_error sweep_without_group(struct sweep *sweep)
{
    struct local *local = sweep->local;
    struct topic *topic = sweep->topic;
    uint64_t end = sweep->end > topic->first ? sweep->end : topic->first, next = end;
    enum mp_error error = MP_OK;
    bool known = end == topic->swept && local->time < topic->sweep_due;
    for (; !error && !known && sweep->frames > 0 && end < topic->timed_end; end = next) {
        sweep->frames--;
        topic->swept = end;
        error = look_into(sweep, end, &next, &topic->sweep_due);
        if (next == end)
            break;
    }
    if (!known && sweep->frames == 0 && end < topic->timed_end)
        sweep->more = true;
    else if (end < topic->timed_end)
        look_at_head(local, topic, topic->sweep_due);
    while (!error && topic->first < end) {
        struct store_event event = {.kind = EVENT_EXPIRED, .topic = topic->id, .first = topic->first, .code = -1};
        event.count = (uint32_t)(end - topic->first < SWEEP_SPAN ? end - topic->first : SWEEP_SPAN);
        if ((error = local_events_add(local, &event, sweep->fault)))
            break;
        local->expired += event.count;
        local_flow_event(local, topic, &event);
    }
    return error ? error : next_by_ttl(sweep, topic->first);
}

static enum mp_error sweep_topic(struct sweep *sweep)
{
    struct local *local = sweep->local;
    struct topic *topic = sweep->topic;
    int64_t ttl = topic->settings.ttl;
    enum mp_error error = MP_OK;
    topic->expire_due = topic->expire_look = CLOCK_NEVER;
    sweep->end = 0;
    if (ttl > 0)
        error = local_offset_at(local, topic, local->time - ttl + 1, &sweep->end, sweep->fault);
    if (error == MP_ERR_DAMAGED) {
        look_at(local, topic, local->time + 60 * SWEEP_PERIOD);
        return MP_OK;
    }
    if (!error && topic->groups.count == 0)
        error = sweep_without_group(sweep);
    for (size_t i = 0; !error && i < topic->groups.count; i++) {
        struct group *group = topic->groups.items[i];
        if (!(error = expire_to(sweep, group, sweep->end)) && !(error = sweep_timed(sweep, group)))
            error = next_by_ttl(sweep, group->states.floor);
    }
    if (sweep->more)
        look_at(local, topic, local->time);
    return error;
}

enum mp_error local_expire_tick(struct local *local, struct fault *fault)
{
    struct sweep sweep = {.local = local, .frames = SWEEP_FRAMES, .fault = fault};
    unsigned topics = 0;
    size_t at = 0;
    struct topic *topic;
    enum mp_error error = MP_OK;
    if (local->expire_due > local->time && local->expire_look > local->time)
        return MP_OK;
    local->expire_due = local->expire_look = CLOCK_NEVER;
    while (!error && (topic = map_next(&local->topics, &at))) {
        bool is_due = topic->expire_due <= local->time || topic->expire_look <= local->time;
        if (is_due && topics < SWEEP_TOPICS) {
            topics++;
            sweep.topic = topic;
            sweep.more = false;
            error = sweep_topic(&sweep);
        }
        if (topic->expire_due < local->expire_due)
            local->expire_due = topic->expire_due;
        if (topic->expire_look < local->expire_look)
            local->expire_look = topic->expire_look;
    }
    return error;
}
