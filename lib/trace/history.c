#include "trace/history.h"

#include "base/bits.h"
#include "base/memory.h"
#include "queue/engine.h"

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

/* ---- the walk
 * -------------------------------------------------------------------------------------------------
 */

struct following {
    struct trace_log *log;
    struct trace_history **histories; /* in the order of topics and offsets */
    size_t count;
    size_t open; /* of them, that something can still happen to */
    bool moves;  /* groups were moved: then what is settled may be given again */
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
        struct trace_passage *passages = memory_grow(history->passages, &history->capacity, sizeof *passages, 4);
        if (!passages)
            return MP_ERR_MEMORY;
        history->passages = passages;
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
        struct trace_attempt *attempts =
            memory_grow(passage->attempts, &passage->attempts_capacity, sizeof *attempts, 2);
        if (!attempts)
            return MP_ERR_MEMORY;
        passage->attempts = attempts;
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

/* The group begins anew at an offset. What it had settled below that is told as it was. */
static void move(struct trace_passage *passage, const struct store_event *event, uint64_t offset)
{
    if (offset < event->first && state_is_settled(passage->state))
        return;
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
        passage->damaged = is_open && event->code == DROP_DAMAGED;
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
static bool is_over(const struct following *following, const struct trace_history *history)
{
    for (size_t i = 0; i < history->count; i++)
        if (!trace_is_settled(&history->passages[i]) && trace_log_group(following->log, history->passages[i].group))
            return false;
    return history->count > 0;
}

static enum mp_error follow_one(struct following *following, struct trace_history *history,
                                const struct store_event *event)
{
    struct trace_passage *passage = passage_of(history, event->group);
    enum mp_error error = passage ? MP_OK : add_passage(history, event->group, &passage);
    bool was_over = !error && is_over(following, history);
    if (!error)
        error = apply(passage, event, history->match.offset);
    if (!error && is_over(following, history) != was_over)
        following->open += was_over ? 1 : SIZE_MAX; /* one less */
    return error;
}

/* Its publication, of which nothing was known but the place. */
static void publish(struct trace_history *history, const struct store_event *event)
{
    if (history->match.time != 0 || trace_match_read(event, history->match.offset, &history->match))
        return;
    for (size_t i = 0; i < history->count; i++) {
        history->passages[i].known = true;
        if (history->passages[i].since < event->time)
            history->passages[i].since = event->time;
    }
}

static bool is_below(const struct trace_history *history, uint32_t topic, uint64_t offset)
{
    return history->match.topic < topic || (history->match.topic == topic && history->match.offset < offset);
}

/* The first history at or behind OFFSET of TOPIC. */
static size_t find_history(const struct following *following, uint32_t topic, uint64_t offset)
{
    size_t low = 0, high = following->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_below(following->histories[middle], topic, offset))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static enum mp_error follow(void *context, const struct store_event *event)
{
    struct following *following = context;
    bool every = event->kind == EVENT_GRANTED;
    enum mp_error error = MP_OK;
    for (size_t i = find_history(following, event->topic, every ? 0 : event->first); !error && i < following->count;
         i++) {
        struct trace_history *history = following->histories[i];
        const struct trace_match *match = &history->match;
        if (match->topic != event->topic || (!every && match->offset >= event->first + event->span))
            break;
        if (event->kind == EVENT_PUBLISHED)
            publish(history, event);
        else if (event->group != 0 && event->id > match->event && (every || is_meant(event, match->offset)))
            error = follow_one(following, history, event);
    }
    return error ? error : following->open == 0 && !following->moves ? OVER : MP_OK;
}

/* ---- groups
 * ---------------------------------------------------------------------------------------------------
 */

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

static int compare_groups(const void *one, const void *two)
{
    uint32_t first = ((const struct trace_passage *)one)->group, second = ((const struct trace_passage *)two)->group;
    return (first > second) - (first < second);
}

static int compare_places(const void *one, const void *two)
{
    const struct trace_match *first = &(*(struct trace_history *const *)one)->match;
    const struct trace_match *second = &(*(struct trace_history *const *)two)->match;
    if (first->topic != second->topic)
        return first->topic < second->topic ? -1 : 1;
    return (first->offset > second->offset) - (first->offset < second->offset);
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

/* The topics of the histories, which are in order, each once; LIST has room. */
static size_t list_topics(const struct following *following, uint32_t *list)
{
    size_t count = 0;
    for (size_t i = 0; i < following->count; i++)
        if (count == 0 || list[count - 1] != following->histories[i]->match.topic)
            list[count++] = following->histories[i]->match.topic;
    return count;
}

static enum mp_error note_move(void *context, const struct store_event *event)
{
    struct following *following = context;
    (void)event;
    following->moves = true;
    return OVER;
}

static enum mp_error walk(struct following *following, struct fault *fault)
{
    uint32_t *topics = memory_allocate_array(following->count + 1, sizeof *topics);
    if (!topics)
        return MP_ERR_MEMORY;
    struct store_event_filter filter = {.after = UINT64_MAX,
                                        .topics = topics,
                                        .topics_count = list_topics(following, topics),
                                        .covers = true,
                                        .offset = UINT64_MAX};
    for (size_t i = 0; i < following->count; i++) {
        const struct trace_match *match = &following->histories[i]->match;
        if (match->event < filter.after)
            filter.after = match->event;
        following->open += !is_over(following, following->histories[i]);
        if (match->offset < filter.offset)
            filter.offset = match->offset;
        if (match->offset > filter.to)
            filter.to = match->offset;
    }
    const struct store_event_filter moved = {
        .after = filter.after, .kinds = 1u << EVENT_GRANTED, .topics = topics, .topics_count = filter.topics_count};
    enum mp_error error = trace_log_each(following->log, &moved, note_move, following, fault);
    if ((!error || error == OVER) && (following->open > 0 || following->moves))
        error = trace_log_each(following->log, &filter, follow, following, fault);
    memory_release(topics);
    return error == OVER ? MP_OK : error;
}

enum mp_error trace_history_follow(struct trace_history **histories, size_t count, struct trace_log *log,
                                   struct fault *fault)
{
    struct following following = {.log = log, .histories = histories, .count = count};
    enum mp_error error = MP_OK;
    if (count == 0)
        return MP_OK;
    qsort(histories, count, sizeof(*histories), compare_places);
    for (size_t i = 0; !error && i < count; i++)
        error = add_groups(histories[i], log);
    if (!error)
        error = walk(&following, fault);
    for (size_t i = 0; !error && i < count; i++) {
        fill_in(histories[i], log);
        if (histories[i]->count > 0)
            qsort(histories[i]->passages, histories[i]->count, sizeof(struct trace_passage), compare_groups);
    }
    return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
}

enum mp_error trace_history_open(struct trace_history *history, struct trace_log *log, const struct trace_match *match,
                                 struct fault *fault)
{
    *history = (struct trace_history){.match = *match};
    enum mp_error error = trace_history_follow(&history, 1, log, fault);
    if (error)
        trace_history_free(history);
    return error;
}

/* ---- waiting
 * --------------------------------------------------------------------------------------------------
 */

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
