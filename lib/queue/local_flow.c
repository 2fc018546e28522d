/*
 * local_flow.c: how much goes into a topic and out to a group: limits, rates, and what is dropped where a limit says
 * so.
 *
 * A topic is as full as its fullest group: with what that has not settled; without groups, with all that it keeps. How
 * many bytes that is, is told from the average size of the messages from the lowest unsettled offset on: one message
 * that waits for its retry makes nothing full of what came and was settled behind it.
 */
#include "queue/local.h"

#include "base/bits.h"

enum { LOOK_AT = 256 }; /* frames that one look at a topic's sizes passes over at most */

uint64_t local_unsettled(const struct group *group)
{
    const struct states *states = &group->states;
    return group->topic->end - states->frontier + states->counts[STATE_WAITING] + states->counts[STATE_DELAYED] +
           states->counts[STATE_LEASED];
}

/* Messages in TOPIC that count. */
static uint64_t fill_of(const struct topic *topic)
{
    uint64_t most = topic->groups.count == 0 ? topic->end - topic->first : 0;
    for (size_t i = 0; i < topic->groups.count; i++) {
        uint64_t unsettled = local_unsettled(topic->groups.items[i]);
        if (unsettled > most)
            most = unsettled;
    }
    return most;
}

/* ---- bytes ---------------------------------------------------------------------------------------------------- */

/* Below it every offset is settled by every group. */
static uint64_t lowest_unsettled(const struct topic *topic)
{
    uint64_t lowest = topic->groups.count == 0 ? topic->first : topic->end;
    for (size_t i = 0; i < topic->groups.count; i++) {
        const struct group *group = topic->groups.items[i];
        if (group->states.floor < lowest)
            lowest = group->states.floor;
    }
    return lowest;
}

struct look {
    struct topic_flow *flow;
    uint64_t until;
    unsigned frames;
};

static enum mp_error pass_frame(void *context, const struct store_frame *row)
{
    struct look *look = context;
    if (row->first + row->count > look->until || look->frames++ == LOOK_AT)
        return MP_ERR_INTERRUPTED;
    look->flow->low = row->first + row->count;
    look->flow->bytes -= row->size < look->flow->bytes ? row->size : look->flow->bytes;
    return MP_OK;
}

/* Leaves out of the average what lies below the lowest unsettled offset; each frame is passed once. */
static void look_at_sizes(struct local *local, struct topic *topic)
{
    struct look look = {&topic->flow, lowest_unsettled(topic), 0};
    if (topic->flow.low < look.until)
        store_each_frame(local->store, topic->id, topic->flow.low, pass_frame, &look, NULL);
}

/* A group was moved back, or made behind others, and has what had been left out: that is counted again. */
static void take_back(struct local *local, struct topic *topic)
{
    struct store_frame frame;
    uint64_t lowest = lowest_unsettled(topic), bytes;
    if (lowest >= topic->flow.low || store_find_frame(local->store, topic->id, lowest, &frame, NULL) ||
        store_sum_frames(local->store, topic->id, frame.first, &bytes, NULL))
        return;
    topic->flow.low = frame.first;
    topic->flow.bytes = bytes;
}

/* Bytes of MESSAGES that are not settled. */
static uint64_t bytes_of(struct local *local, struct topic *topic, uint64_t messages)
{
    take_back(local, topic);
    uint64_t counted = topic->end - topic->flow.low;
    if (counted == 0 || messages >= counted)
        return topic->flow.bytes;
    return (uint64_t)((double)topic->flow.bytes * ((double)messages / (double)counted));
}

/* ---- what goes in --------------------------------------------------------------------------------------------- */

static enum mp_error refuse(const struct topic *topic, const char *limit, uint64_t most, struct fault *fault)
{
    if (topic->settings.overflow == OVERFLOW_REJECT)
        return fault_set(fault, MP_ERR_OVERFLOW, "topic %s is full, and refuses what is more than %s=%llu", topic->name,
                         limit, (unsigned long long)most);
    return fault_set(fault, MP_ERR_FULL, "topic %s is full (%s=%llu): its consumers have to settle first", topic->name,
                     limit, (unsigned long long)most);
}

enum mp_error local_flow_room(struct local *local, struct topic *topic, uint64_t messages, uint64_t bytes,
                              struct fault *fault)
{
    const struct topic_settings *settings = &topic->settings;
    if (rate_left(&topic->flow.rate, settings->rate, local->now.monotonic) == 0)
        return fault_set(fault, MP_ERR_FULL, "topic %s takes %g messages a second", topic->name, settings->rate);
    if (settings->overflow == OVERFLOW_DROP_OLDEST || (settings->max_messages == 0 && settings->max_bytes == 0))
        return MP_OK;
    uint64_t fill = fill_of(topic);
    if (fill == 0) /* also what is larger than the limit has to go in some time */
        return MP_OK;
    if (settings->max_messages > 0 && (fill >= settings->max_messages || messages > settings->max_messages - fill))
        return refuse(topic, "max_messages", settings->max_messages, fault);
    if (settings->max_bytes == 0 || bytes_of(local, topic, fill) + bytes <= settings->max_bytes)
        return MP_OK;
    look_at_sizes(local, topic);
    if (bytes_of(local, topic, fill) + bytes <= settings->max_bytes)
        return MP_OK;
    return refuse(topic, "max_bytes", settings->max_bytes, fault);
}

static uint64_t least(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

/* Messages of AVERAGE bytes that TOPIC has room for; *LIMIT: how many that would be if it were empty. */
static uint64_t room_for(struct local *local, struct topic *topic, double average, uint64_t *limit)
{
    const struct topic_settings *settings = &topic->settings;
    uint64_t fill = fill_of(topic), left = UINT64_MAX;
    *limit = UINT64_MAX;
    if (settings->max_messages > 0) {
        *limit = settings->max_messages;
        left = settings->max_messages > fill ? settings->max_messages - fill : 0;
    }
    if (settings->max_bytes > 0 && left > 0) {
        if (fill > 0)
            look_at_sizes(local, topic);
        uint64_t bytes = bytes_of(local, topic, fill);
        uint64_t free = settings->max_bytes > bytes ? settings->max_bytes - bytes : 0;
        *limit = least(*limit, (uint64_t)((double)settings->max_bytes / average));
        left = least(left, (uint64_t)((double)free / average));
    }
    return fill == 0 && left == 0 ? 1 : left; /* also what is larger than the limit has to go in some time */
}

uint64_t local_flow_fits(struct local *local, struct topic *topic, uint64_t messages, uint64_t bytes, bool waiting)
{
    const struct topic_settings *settings = &topic->settings;
    int64_t now = local->now.monotonic;
    double average = messages > 0 && bytes > messages ? (double)bytes / (double)messages : 1;
    uint64_t most = least(messages, rate_left(&topic->flow.rate, settings->rate, now)), limit;
    if (waiting && most < messages && rate_due(&topic->flow.rate, settings->rate, now) > now)
        return 0;
    if (settings->overflow == OVERFLOW_DROP_OLDEST || (settings->max_messages == 0 && settings->max_bytes == 0))
        return most;
    uint64_t left = room_for(local, topic, average, &limit);
    /* Not message by message, as they are settled: an eighth of what the topic takes. */
    if (waiting && left < most && left < limit / 8)
        return 0;
    return least(left, most);
}

/* ---- what is dropped for it ----------------------------------------------------------------------------------- */

/* How many of FILL unsettled messages are too many. The last one stays, whatever its size. */
static uint64_t surplus_of(struct local *local, struct topic *topic, uint64_t fill)
{
    const struct topic_settings *settings = &topic->settings;
    uint64_t most = fill;
    if (settings->max_messages > 0 && settings->max_messages < most)
        most = settings->max_messages;
    if (settings->max_bytes > 0 && bytes_of(local, topic, fill) > settings->max_bytes) {
        look_at_sizes(local, topic);
        uint64_t bytes = bytes_of(local, topic, fill);
        uint64_t fits = (uint64_t)((double)fill * ((double)settings->max_bytes / (double)(bytes > 0 ? bytes : 1)));
        if (bytes > settings->max_bytes && fits < most)
            most = fits;
    }
    if (most == 0)
        most = 1;
    return fill > most ? fill - most : 0;
}

/* The range that holds the oldest COUNT messages that can be dropped, or all that can be. */
static void find_oldest(struct group *group, uint64_t count, uint64_t *first, uint64_t *end)
{
    struct states *states = &group->states;
    struct state_run run;
    uint64_t offset = states->frontier;
    if (states_find(states, STATE_WAITING, 0, &run))
        offset = run.first;
    if (states_find(states, STATE_DELAYED, 0, &run) && run.first < offset)
        offset = run.first;
    *first = offset;
    while (count > 0 && states_get(states, offset, &run)) {
        bool drops = run.value.state == STATE_WAITING || run.value.state == STATE_DELAYED;
        uint64_t length = run.first + run.count - offset;
        if (drops && length > count)
            length = count;
        if (drops)
            count -= length;
        offset += length;
    }
    *end = offset + count < group->topic->end ? offset + count : group->topic->end;
}

/* Without a group there is no state to change: the topic begins later. The event says so after a kill. */
static enum mp_error drop_without_group(struct local *local, struct topic *topic, uint64_t count, struct fault *fault)
{
    enum mp_error error = MP_OK;
    while (!error && count > 0) {
        uint32_t part = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
        struct store_event event = {
            .kind = EVENT_DROPPED, .topic = topic->id, .first = topic->first, .count = part, .code = DROP_OVERFLOW};
        if ((error = local_events_add(local, &event, fault)))
            break;
        local_flow_event(local, topic, &event);
        count -= part;
    }
    return error;
}

/* Brings TOPIC to its limits, for every group. */
static enum mp_error drop_oldest(struct local *local, struct topic *topic, struct fault *fault)
{
    enum mp_error error = MP_OK;
    if (topic->groups.count == 0)
        return drop_without_group(local, topic, surplus_of(local, topic, topic->end - topic->first), fault);
    for (size_t i = 0; !error && i < topic->groups.count; i++) {
        struct group *group = topic->groups.items[i];
        uint64_t surplus = surplus_of(local, topic, local_unsettled(group)), first, end, dropped;
        if (surplus == 0)
            continue;
        find_oldest(group, surplus, &first, &end);
        error = local_drop(local, group, first, end, DROP_OVERFLOW, &dropped, fault);
    }
    return error;
}

/* ---- what goes out -------------------------------------------------------------------------------------------- */

uint64_t local_flow_left(struct local *local, struct subscription *subscription)
{
    double rate = subscription->settings.rate;
    uint64_t left = rate_left(&subscription->rate, rate, local->now.monotonic);
    if (left == 0) {
        int64_t due = rate_due(&subscription->rate, rate, local->now.monotonic);
        if (due < local->rate_due)
            local->rate_due = due;
    }
    return left;
}

void local_flow_granted(struct local *local, struct subscription *subscription, uint64_t messages)
{
    double rate = subscription->settings.rate;
    if (rate > 0 && messages > 0)
        rate_take(&subscription->rate, rate, messages, local->now.monotonic);
}

void local_flow_tick(struct local *local)
{
    size_t at = 0;
    struct subscription *subscription;
    if (local->rate_due > local->now.monotonic)
        return;
    /* Who still gets nothing says when it will. */
    local->rate_due = CLOCK_NEVER;
    while ((subscription = map_next(&local->subscriptions, &at)))
        if (subscription->settings.rate > 0 && subscription->shared.waiters)
            local_mark_ready(local, subscription);
}

/* ---- what is counted ------------------------------------------------------------------------------------------ */

enum mp_error local_flow_added(struct local *local, struct topic *topic, const struct store_frame *row,
                               struct fault *fault)
{
    const struct topic_settings *settings = &topic->settings;
    local_flow_frame(topic, row);
    rate_take(&topic->flow.rate, settings->rate, row->count, local->now.monotonic);
    if (settings->overflow != OVERFLOW_DROP_OLDEST || (settings->max_messages == 0 && settings->max_bytes == 0))
        return MP_OK;
    return drop_oldest(local, topic, fault);
}

void local_flow_frame(struct topic *topic, const struct store_frame *row)
{
    topic->counters.kept_bytes += row->size;
    topic->flow.bytes += row->size;
    if (row->marks)
        topic->counters.dropped[DROPPED_DUPLICATE] += bits_count(row->marks, 0, row->count);
}

void local_flow_event(struct local *local, struct topic *topic, const struct store_event *event)
{
    uint64_t *dropped = topic->counters.dropped;
    if (event->kind != EVENT_EXPIRED && event->kind != EVENT_DROPPED)
        return;
    topic->dirty = true;
    if (event->kind == EVENT_EXPIRED)
        dropped[DROPPED_EXPIRED] += event->count;
    else
        dropped[event->code == DROP_PURGED    ? DROPPED_PURGED
                : event->code == DROP_DAMAGED ? DROPPED_DAMAGED
                                              : DROPPED_OVERFLOW] += event->count;
    if (event->group == 0 && event->first + event->span > topic->first)
        local_retain_from(local, topic, event->first + event->span);
}

void local_flow_deleted(struct topic *topic, const struct store_deleted *deleted)
{
    uint64_t bytes = deleted->bytes;
    topic->counters.kept_bytes -= bytes < topic->counters.kept_bytes ? bytes : topic->counters.kept_bytes;
    topic->saved_counters.kept_bytes -=
        bytes < topic->saved_counters.kept_bytes ? bytes : topic->saved_counters.kept_bytes;
    if (deleted->end > topic->flow.low)
        topic->flow.low = deleted->end;
    if (topic->flow.bytes > topic->counters.kept_bytes)
        topic->flow.bytes = topic->counters.kept_bytes;
}

static void exchange(uint64_t *sum, uint64_t old, uint64_t bytes)
{
    *sum -= old < *sum ? old : *sum;
    *sum += bytes;
}

void local_flow_replaced(struct topic *topic, uint64_t first, uint64_t old, uint64_t bytes)
{
    exchange(&topic->counters.kept_bytes, old, bytes);
    if (first < topic->saved_end)
        exchange(&topic->saved_counters.kept_bytes, old, bytes);
    topic->kept_known = false;
    topic->dirty = true;
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

static size_t place_of(unsigned reason)
{
    return (size_t)(reason < COUNTERS_KEPT ? reason : reason + 1) * 8;
}

void local_counters_write(const struct topic_counters *counters, uint8_t row[COUNTERS_BYTES])
{
    for (unsigned i = 0; i < DROPPED_REASONS; i++)
        store_u64(row + place_of(i), counters->dropped[i]);
    store_u64(row + (size_t)COUNTERS_KEPT * 8, counters->kept_bytes);
}

static enum mp_error add_size(void *context, const struct store_frame *row)
{
    struct topic *topic = context;
    if (row->first >= topic->end)
        return MP_ERR_INTERRUPTED; /* what is newer than the topic's row comes later */
    local_flow_frame(topic, row);
    return MP_OK;
}

enum mp_error local_counters_read(struct local *local, struct topic *topic, const struct store_topic *row,
                                  struct fault *fault)
{
    struct topic_counters *counters = &topic->counters;
    enum mp_error error = MP_OK;
    if (row->counters_size >= COUNTERS_LEAST) {
        for (unsigned i = 0; i < DROPPED_REASONS && place_of(i) + 8 <= row->counters_size; i++)
            counters->dropped[i] = load_u64(row->counters + place_of(i));
        counters->kept_bytes = load_u64(row->counters + (size_t)COUNTERS_KEPT * 8);
    } else if (topic->end > 0) {
        /* A relay that did not count has written it. */
        error = store_each_frame(local->store, topic->id, 0, add_size, topic, fault);
    }
    topic->saved_counters = *counters;
    topic->flow.low = topic->first;
    topic->flow.bytes = counters->kept_bytes;
    return error == MP_ERR_INTERRUPTED ? MP_OK : error;
}
