#include "trace/history.h"

#include "base/bits.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* Ends a walk: nothing more can happen to the message. */
#define OVER MP_ERR_INTERRUPTED

void trace_history_free(struct trace_history *history)
{
    for (size_t i = 0; i < history->count; i++)
        memory_release(history->passages[i].attempts);
    memory_release(history->passages);
    *history = (struct trace_history){0};
}

/* ---- the walk ------------------------------------------------------------------------------------------------- */

struct following {
    struct trace_log *log;
    struct trace_history *history;
};

static struct trace_passage *passage_of(struct trace_history *history, uint32_t group)
{
    for (size_t i = 0; i < history->count; i++)
        if (history->passages[i].group == group)
            return &history->passages[i];
    return NULL;
}

static enum mp_error add_passage(struct trace_history *history, uint32_t group, struct trace_passage **passage)
{
    if (history->count == history->capacity) {
        size_t capacity = history->capacity ? 2 * history->capacity : 4;
        struct trace_passage *passages = memory_reallocate(history->passages, capacity * sizeof *passages);
        if (!passages)
            return MP_ERR_MEMORY;
        history->passages = passages;
        history->capacity = capacity;
    }
    *passage = &history->passages[history->count++];
    **passage = (struct trace_passage){.group = group, .since = history->match.time, .known = history->match.event > 0};
    return MP_OK;
}

/* Whether EVENT's mask has the message; events without one mean all of their span, or what their lease holds. */
static bool is_meant(const struct store_event *event, uint64_t offset)
{
    uint64_t index = offset - event->first;
    if (offset < event->first || index >= event->span)
        return false;
    return !event->mask || (index < 8 * (uint64_t)event->mask_size && bits_get(event->mask, (size_t)index));
}

static enum mp_error lease(struct trace_passage *passage, const struct store_event *event)
{
    if (passage->attempts_count == passage->attempts_capacity) {
        size_t capacity = passage->attempts_capacity ? 2 * passage->attempts_capacity : 2;
        struct trace_attempt *attempts = memory_reallocate(passage->attempts, capacity * sizeof *attempts);
        if (!attempts)
            return MP_ERR_MEMORY;
        passage->attempts = attempts;
        passage->attempts_capacity = capacity;
    }
    passage->attempts[passage->attempts_count++] = (struct trace_attempt){.from = passage->since,
                                                                          .due = passage->due,
                                                                          .leased = event->time,
                                                                          .number = event->attempt,
                                                                          .session = event->session,
                                                                          .lease = event->lease,
                                                                          .code = -1};
    passage->state = STATE_LEASED;
    passage->since = event->time;
    passage->due = 0;
    return MP_OK;
}

static enum state state_after(const struct store_event *event)
{
    switch (event->kind) {
    case EVENT_RETRIED:
        return event->due > event->time ? STATE_DELAYED : STATE_WAITING;
    case EVENT_ACKED:
        return STATE_ACKED;
    case EVENT_DEAD:
        return STATE_DEAD;
    default:
        return STATE_WAITING;
    }
}

static void end_lease(struct trace_passage *passage, const struct store_event *event)
{
    struct trace_attempt *attempt = passage->attempts_count ? &passage->attempts[passage->attempts_count - 1] : NULL;
    if (passage->state != STATE_LEASED || !attempt || attempt->session != event->session ||
        attempt->lease != event->lease)
        return;
    size_t size = event->note_size < TRACE_NOTE ? event->note_size : TRACE_NOTE;
    attempt->ended = event->time;
    attempt->outcome = event->kind;
    attempt->request = event->request;
    attempt->code = event->kind == EVENT_LAPSED ? -1 : event->code;
    for (size_t i = 0; i < size; i++)
        attempt->note[i] = event->note[i] ? (char)event->note[i] : ' ';
    passage->state = state_after(event);
    passage->since = event->time;
    passage->due = passage->state == STATE_DELAYED ? event->due : 0;
    passage->reason = event->kind == EVENT_DEAD ? (unsigned)event->due : 0;
}

/* The group begins anew at an offset. */
static void move(struct trace_passage *passage, const struct store_event *event, uint64_t offset)
{
    passage->skipped = offset < event->first;
    passage->state = STATE_WAITING;
    passage->since = event->time;
    passage->due = 0;
    passage->known = true;
}

static enum mp_error apply(struct trace_passage *passage, const struct store_event *event, uint64_t offset)
{
    bool is_open = !trace_is_settled(passage) && passage->state != STATE_LEASED;
    enum state settled = STATE_WAITING;
    switch (event->kind) {
    case EVENT_LEASED:
        return lease(passage, event);
    case EVENT_ACKED:
    case EVENT_RETRIED:
    case EVENT_RELEASED:
    case EVENT_LAPSED:
    case EVENT_DEAD:
        end_lease(passage, event);
        return MP_OK;
    case EVENT_EXPIRED:
        settled = STATE_EXPIRED;
        break;
    case EVENT_DROPPED:
        settled = is_open ? STATE_DROPPED : STATE_WAITING;
        break;
    case EVENT_DUPLICATE:
        settled = STATE_DUPLICATE;
        break;
    case EVENT_FOREIGN:
        settled = STATE_FOREIGN;
        break;
    case EVENT_GRANTED:
        move(passage, event, offset);
        break;
    default:
        break;
    }
    if (settled != STATE_WAITING) {
        passage->state = settled;
        passage->since = event->time;
        passage->due = 0;
    }
    return MP_OK;
}

/* Whether all groups that there are have settled it. */
static bool is_over(const struct following *following)
{
    const struct trace_history *history = following->history;
    for (size_t i = 0; i < history->count; i++)
        if (!trace_is_settled(&history->passages[i]) && trace_log_group(following->log, history->passages[i].group))
            return false;
    return history->count > 0;
}

static enum mp_error follow(void *context, const struct store_event *event)
{
    struct following *following = context;
    struct trace_history *history = following->history;
    uint64_t offset = history->match.offset;
    if (event->group == 0 || event->kind == EVENT_PUBLISHED)
        return MP_OK;
    if (event->kind != EVENT_GRANTED && !is_meant(event, offset))
        return MP_OK;
    struct trace_passage *passage = passage_of(history, event->group);
    enum mp_error error = passage ? MP_OK : add_passage(history, event->group, &passage);
    if (!error)
        error = apply(passage, event, offset);
    return error ? error : is_over(following) ? OVER : MP_OK;
}

/* ---- groups --------------------------------------------------------------------------------------------------- */

/* A passage for each group of the topic that there is. */
static enum mp_error add_groups(struct trace_history *history, struct trace_log *log)
{
    const struct trace_match *match = &history->match;
    size_t count;
    const struct trace_group *groups = trace_log_groups(log, &count);
    for (size_t i = 0; i < count; i++) {
        struct trace_passage *passage;
        if (groups[i].topic != match->topic)
            continue;
        enum mp_error error = add_passage(history, groups[i].id, &passage);
        if (error)
            return error;
        if (groups[i].created > passage->since)
            passage->since = groups[i].created;
    }
    return MP_OK;
}

static int compare(const void *one, const void *two)
{
    uint32_t first = ((const struct trace_passage *)one)->group, second = ((const struct trace_passage *)two)->group;
    return (first > second) - (first < second);
}

/* What no event tells: the group began behind it, or settled it before the oldest event that is kept. */
static void fill_in(struct trace_history *history, const struct trace_log *log)
{
    for (size_t i = 0; i < history->count; i++) {
        struct trace_passage *passage = &history->passages[i];
        const struct trace_group *group = trace_log_group(log, passage->group);
        if (passage->state == STATE_DELAYED && passage->due <= trace_log_now(log)) /* that has no event */
            passage->state = STATE_WAITING;
        const bool is_touched = passage->attempts_count > 0 || passage->state != STATE_WAITING;
        if (!group || is_touched || passage->skipped)
            continue;
        passage->skipped = history->match.offset < group->start;
        if (history->match.target != 0 && history->match.target != passage->group)
            passage->state = STATE_FOREIGN;
        else if (history->match.event == 0 && history->match.offset < group->floor)
            passage->state = STATE_ACKED;
    }
}

enum mp_error trace_history_open(struct trace_history *history, struct trace_log *log, const struct trace_match *match,
                                 struct fault *fault)
{
    *history = (struct trace_history){.match = *match};
    struct following following = {.log = log, .history = history};
    const struct store_event_filter filter = {
        .after = match->event, .topics = &match->topic, .topics_count = 1, .covers = true, .offset = match->offset};
    enum mp_error error = add_groups(history, log);
    if (!error && (history->count > 0 || match->topic))
        error = trace_log_each(log, &filter, follow, &following, fault);
    if (error && error != OVER) {
        trace_history_free(history);
        return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
    }
    fill_in(history, log);
    if (history->count > 0)
        qsort(history->passages, history->count, sizeof *history->passages, compare);
    return MP_OK;
}

/* ---- waiting -------------------------------------------------------------------------------------------------- */

enum { BEFORE_MOST = 256 }; /* messages of the same key that are looked at */

/* The nearest message of the key before it that the group has not settled; with HELD a dead one counts. */
static enum mp_error find_before(struct trace_log *log, const struct trace_history *history, uint32_t group, bool held,
                                 struct trace_wait *wait, struct fault *fault)
{
    const struct trace_group *row = trace_log_group(log, group);
    const struct trace_match *match = &history->match;
    const struct trace_wanted wanted = trace_wanted_value(LINEAGE_KEY, &match->key);
    const struct trace_search search = {.wanted = &wanted,
                                        .wanted_count = 1,
                                        .topics = &match->topic,
                                        .topics_count = 1,
                                        .below = match->event,
                                        .log_only = true,
                                        .newest = true,
                                        .most = BEFORE_MOST};
    struct trace_matches matches = {0};
    enum mp_error error = trace_search(log, &search, &matches, fault);
    for (size_t i = matches.count; !error && i-- > 0 && wait->obstacle == TRACE_FREE;) {
        const struct trace_match *before = &matches.items[i];
        struct trace_history other;
        if (before->offset >= match->offset || (before->offset < row->floor && !held))
            continue;
        if ((error = trace_history_open(&other, log, before, fault)))
            break;
        const struct trace_passage *passage = passage_of(&other, group);
        if (passage && !trace_is_settled(passage))
            *wait = (struct trace_wait){.obstacle = TRACE_KEY, .offset = before->offset};
        else if (passage && held && passage->state == STATE_DEAD)
            *wait = (struct trace_wait){.obstacle = TRACE_HELD, .offset = before->offset};
        trace_history_free(&other);
    }
    trace_matches_free(&matches);
    return error;
}

static enum mp_error find_obstacle(struct trace_log *log, const struct trace_history *history,
                                   const struct trace_passage *passage, struct trace_wait *wait, struct fault *fault)
{
    struct group_settings settings;
    const struct trace_group *group = trace_log_group(log, passage->group);
    if (!group)
        return MP_OK;
    enum mp_error error = settings_group_read(&settings, group->settings, strlen(group->settings), fault);
    if (error)
        return error;
    if (history->match.key.kind && (settings.order_by_key || settings.hold_on_dead))
        error = find_before(log, history, passage->group, settings.hold_on_dead, wait, fault);
    if (!error && wait->obstacle == TRACE_FREE)
        wait->obstacle = TRACE_TURN;
    return error;
}

enum mp_error trace_history_wait(struct trace_log *log, const struct trace_history *history,
                                 const struct trace_passage *passage, struct trace_wait *wait, struct fault *fault)
{
    *wait = (struct trace_wait){0};
    if (trace_is_settled(passage) || passage->state == STATE_LEASED)
        return MP_OK;
    if (passage->state == STATE_DELAYED) {
        wait->obstacle = TRACE_DUE;
        wait->until = passage->due;
        return MP_OK;
    }
    return find_obstacle(log, history, passage, wait, fault);
}
