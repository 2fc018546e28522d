#include "queue/local.h"

/* When a retry that is due may be granted: no later than its delay from now. */
static int64_t retry_due(const struct local *local, const struct store_event *event)
{
    int64_t delay = event->due - event->time, left = event->due - local->time;
    if (left > delay)
        left = delay;
    return local->now.monotonic + (left > 0 ? left : 0);
}

/* An event that is being applied. */
struct applying {
    struct local *local;
    struct group *group;
    const struct store_event *event;
    enum mp_error error; /* of those that take note of it */
};

/* The order of keys hears of every change. */
static void note(struct applying *applying, uint64_t first, uint32_t count, const struct state_value *value)
{
    if (!applying->error)
        applying->error = local_order_note(applying->group, first, count, value);
    if (!applying->error && state_is_settled(value->state))
        applying->error = local_hold_note(applying->local, applying->group, first, count);
}

static void note_failure(struct state_value *value, const struct store_event *event)
{
    if (value->failed == 0)
        value->failed = event->time;
}

/* The attempt does not count: nothing of it was begun. */
static void give_back_attempt(struct state_value *value)
{
    if (value->attempt > 0)
        value->attempt--;
}

/* What leased messages become by an event that ends their lease. */
static struct state_value become(void *context, const struct state_run *run)
{
    struct applying *applying = context;
    const struct store_event *event = applying->event;
    struct state_value value = {.state = STATE_WAITING, .attempt = run->value.attempt, .failed = run->value.failed};
    switch (event->kind) {
    case EVENT_RETRIED:
        note_failure(&value, event);
        if (event->due > event->time) {
            value.state = STATE_DELAYED;
            value.due = retry_due(applying->local, event);
            if (value.due < applying->local->delay_due)
                applying->local->delay_due = value.due;
        }
        break;
    case EVENT_RELEASED:
        value.suspect = run->value.suspect;
        give_back_attempt(&value);
        break;
    case EVENT_LAPSED:
        if (event->code < 0) {
            note_failure(&value, event);
            value.suspect = 1; /* it was alone when its consumer died, and stays alone */
        } else {
            value.suspect = (uint32_t)event->code;
            give_back_attempt(&value);
        }
        break;
    default:
        value = (struct state_value){.state = event->kind == EVENT_DEAD ? STATE_DEAD : STATE_ACKED};
        break;
    }
    note(applying, run->first, run->count, &value);
    return value;
}

static bool mask_fits(const struct store_event *event)
{
    return !event->mask || event->mask_size >= bits_size(event->span);
}

/* An event that ends leases: it means what is leased as it says, and nothing else. */
static enum mp_error apply_ending(struct applying *applying)
{
    const struct store_event *event = applying->event;
    struct states_change change = {.from = 1 << STATE_LEASED,
                                   .session = event->session,
                                   .lease = event->lease,
                                   .mask = event->mask,
                                   .become = become,
                                   .context = applying};
    uint32_t changed;
    if (!mask_fits(event))
        return MP_ERR_DAMAGED;
    enum mp_error error = states_change(&applying->group->states, event->first, event->span, &change, &changed);
    if (!error && changed != event->count)
        return MP_ERR_DAMAGED;
    return error;
}

/* Waiting after a delay has no event of its own: at a start it can still look like the delay. */
enum { OPEN_STATES = 1 << STATE_WAITING | 1 << STATE_DELAYED };

static struct state_value become_leased(void *context, const struct state_run *run)
{
    struct applying *applying = context;
    const struct store_event *event = applying->event;
    struct state_value value = run->value;
    value.state = STATE_LEASED;
    value.attempt = event->attempt;
    value.session = event->session;
    value.lease = event->lease;
    note(applying, run->first, run->count, &value);
    return value;
}

/* What is granted waited, or was never granted: what is granted ahead of has been passed by, and waits then. */
static enum mp_error apply_leased(struct applying *applying)
{
    struct states *states = &applying->group->states;
    const struct store_event *event = applying->event;
    struct states_change change = {
        .from = OPEN_STATES, .mask = event->mask, .become = become_leased, .context = applying};
    uint32_t changed;
    enum mp_error error = mask_fits(event) ? states_reach(states, event->first) : MP_ERR_DAMAGED;
    if (error)
        return error;
    if (event->first == states->frontier && !event->mask) {
        struct state_run fresh = {event->first, event->count, {.state = STATE_WAITING}};
        struct state_value value = become_leased(applying, &fresh);
        return states_set(states, event->first, event->count, &value);
    }
    if (!(error = states_reach(states, event->first + event->span)))
        error = states_change(states, event->first, event->span, &change, &changed);
    return !error && changed != event->count ? MP_ERR_DAMAGED : error;
}

static struct state_value become_dropped(void *context, const struct state_run *run)
{
    const struct state_value value = {.state = STATE_DROPPED};
    note(context, run->first, run->count, &value);
    return value;
}

/* What is neither leased nor settled in the span goes. */
static enum mp_error apply_dropped(struct applying *applying)
{
    struct states *states = &applying->group->states;
    const struct store_event *event = applying->event;
    struct states_change change = {.from = OPEN_STATES, .become = become_dropped, .context = applying};
    uint32_t changed;
    if (event->first < states->floor)
        return MP_ERR_DAMAGED;
    enum mp_error error = states_reach(states, event->first + event->span);
    return error ? error : states_change(states, event->first, event->span, &change, &changed);
}

static void note_exact(struct applying *applying, const struct state_value *value)
{
    const struct store_event *event = applying->event;
    uint32_t length;
    for (uint32_t at = 0; at < event->span; at += length) {
        length = event->mask ? (uint32_t)bits_run(event->mask, at, event->span) : event->span;
        if (!event->mask || bits_get(event->mask, at))
            note(applying, event->first + at, length, value);
    }
}

/* An event that says exactly which offsets it means: those of its mask, or all. */
static enum mp_error apply_exact(struct applying *applying, const struct state_value *value)
{
    struct states *states = &applying->group->states;
    const struct store_event *event = applying->event;
    if (!mask_fits(event))
        return MP_ERR_DAMAGED;
    enum mp_error error = states_reach(states, event->first);
    if (error)
        return error;
    if (event->mask || event->span == event->count)
        note_exact(applying, value);
    if (event->mask)
        return states_set_mask(states, event->first, event->span, event->mask, value);
    return event->span == event->count ? states_set(states, event->first, event->count, value) : MP_ERR_DAMAGED;
}

static enum mp_error apply(struct applying *applying)
{
    const struct store_event *event = applying->event;
    struct state_value value = {.state = STATE_WAITING};
    switch (event->kind) {
    case EVENT_ACKED:
    case EVENT_RETRIED:
    case EVENT_RELEASED:
    case EVENT_LAPSED:
    case EVENT_DEAD:
        return apply_ending(applying);
    case EVENT_LEASED:
        return apply_leased(applying);
    case EVENT_EXPIRED:
        value.state = STATE_EXPIRED;
        break;
    case EVENT_DROPPED:
        return apply_dropped(applying);
    case EVENT_DUPLICATE:
        value.state = STATE_DUPLICATE;
        break;
    case EVENT_FOREIGN:
        value.state = STATE_FOREIGN;
        break;
    case EVENT_GRANTED:
        return local_apply_moved(applying->local, applying->group, event);
    case EVENT_REPLAYED:  /* not written by this version */
    case EVENT_PUBLISHED: /* those are no group's */
    case EVENT_SESSION:
        return MP_ERR_DAMAGED;
    }
    return apply_exact(applying, &value);
}

enum mp_error local_apply(struct local *local, struct group *group, const struct store_event *event)
{
    struct applying applying = {local, group, event, MP_OK};
    enum mp_error error = apply(&applying);
    if (!error)
        error = applying.error;
    if (error)
        return error == MP_ERR_MEMORY ? error : MP_ERR_DAMAGED;
    if (event->kind == EVENT_DEAD)
        group->dead += event->count;
    group->event = event->id;
    group->dirty = true;
    return MP_OK;
}

/* What EVENT makes of messages for good; false: nothing. */
static bool settled_by(const struct store_event *event, struct state_value *value)
{
    static const enum state states[] = {[EVENT_ACKED] = STATE_ACKED,
                                        [EVENT_DEAD] = STATE_DEAD,
                                        [EVENT_EXPIRED] = STATE_EXPIRED,
                                        [EVENT_DUPLICATE] = STATE_DUPLICATE,
                                        [EVENT_FOREIGN] = STATE_FOREIGN};
    *value = (struct state_value){.state = STATE_WAITING};
    if (event->kind < sizeof states / sizeof *states)
        value->state = states[event->kind];
    return state_is_settled(value->state);
}

enum mp_error local_apply_settled(struct group *group, const struct store_event *event)
{
    struct states *states = &group->states;
    struct state_value value;
    uint64_t end = event->first + event->span;
    bool exact = !event->mask || mask_fits(event);
    group->event = event->id;
    group->dirty = true;
    if (!settled_by(event, &value) || !exact || end > group->topic->end ||
        (event->mask ? bits_count(event->mask, 0, event->span) : event->span) != event->count)
        return MP_OK;
    enum mp_error error = states_reach(states, end);
    for (uint64_t at = event->first, stop; !error && at < end; at = stop) {
        struct state_run run;
        if (at < states->floor || !states_get(states, at, &run)) {
            stop = at < states->floor && states->floor < end ? states->floor : end;
            continue;
        }
        stop = run.first + run.count < end ? run.first + run.count : end;
        bool meant = true;
        if (event->mask) {
            size_t index = (size_t)(at - event->first);
            meant = bits_get(event->mask, index);
            stop = at + bits_run(event->mask, index, index + (size_t)(stop - at));
        }
        if (meant && !state_is_settled(run.value.state))
            error = states_set(states, at, (uint32_t)(stop - at), &value);
    }
    return error;
}

enum mp_error local_event(struct local *local, struct group *group, struct store_event *event, struct fault *fault)
{
    event->topic = group->topic->id;
    event->group = group->id;
    enum mp_error error = local_events_add(local, event, fault);
    if (error)
        return error;
    local_flow_event(local, group->topic, event);
    uint64_t floor = group->states.floor;
    if ((error = local_apply(local, group, event)))
        return error == MP_ERR_MEMORY
                   ? fault_memory(fault)
                   : fault_set(fault, MP_ERR_INTERNAL, "group %s: an event that does not fit", group->name);
    local_meter_event(local, group, event);
    if (group->states.floor != floor)
        local_retain_look(local, group->topic);
    if (event->kind == EVENT_LEASED)
        return MP_OK;
    if (local->let_go_count > 0 && (error = local_hold_let_go(local, group->topic, fault)))
        return error;
    local_lease_settled(local, group, event);
    /* Given back, or room for more. */
    bool bounded = group->subscription && group->subscription->settings.max_in_flight > 0; /* with its other topics */
    if (event->kind != EVENT_ACKED || bounded || local_group_waiting(group) > 0)
        local_mark_ready(local, group->subscription);
    return MP_OK;
}
