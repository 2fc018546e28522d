#include "trace/list.h"

#include "base/bits.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

/* Ends a walk when a chunk is full. */
#define ENOUGH MP_ERR_INTERRUPTED

enum { CHUNK_LEAST = 64, CHUNK_MOST = 65536, LOOK_MOST = 4 * 1024 * 1024 };

/* A listing under way. */
struct listing {
    struct trace_log *log;
    const struct trace_list_wanted *wanted;
    struct trace_list *list;
    struct trace_history *chunk;  /* the candidates that are looked at together */
    struct trace_history **order; /* the same, as they are followed */
    size_t chunk_size;
    size_t count;
    uint64_t event;       /* where the walk is: the event, */
    uint32_t index;       /* and of its messages those below are left */
    struct buffer chosen; /* which messages of that are meant: bits */
    bool by_failure;      /* candidates are those of failures */
    bool over;            /* there are no more candidates */
};

void trace_list_free(struct trace_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        memory_release(list->rows[i].passage.attempts);
    memory_release(list->rows);
    *list = (struct trace_list){0};
}

/* ---- candidates
 * ------------------------------------------------------------------------------------------------
 */

enum {
    GONE_STATES = 1 << STATE_DEAD | 1 << STATE_EXPIRED | 1 << STATE_DROPPED,
    RETRIES = 1 << EVENT_RETRIED | 1 << EVENT_LAPSED,
    FAILURES = RETRIES | 1 << EVENT_DEAD | 1 << EVENT_EXPIRED | 1 << EVENT_DROPPED
};

/* The kinds of events by which what is wanted is found; 0: by publications. */
static uint32_t kinds_of(const struct trace_list_wanted *wanted)
{
    uint32_t kinds = 0;
    if (wanted->states && (wanted->states & ~(unsigned)GONE_STATES) == 0) {
        kinds |= wanted->states & 1u << STATE_DEAD ? 1u << EVENT_DEAD : 0;
        kinds |= wanted->states & 1u << STATE_EXPIRED ? 1u << EVENT_EXPIRED : 0;
        kinds |= wanted->states & 1u << STATE_DROPPED ? 1u << EVENT_DROPPED : 0;
        return kinds;
    }
    if (wanted->retried)
        return RETRIES;
    return wanted->failed ? FAILURES : 0;
}

/*
 * Notes in `chosen` which messages of EVENT are meant. They are gone through from the first to the last, as frames are
 * read; they are taken the other way.
 */
static enum mp_error choose(struct listing *listing, const struct store_event *event)
{
    const struct trace_select *select = listing->wanted->select;
    struct lineage lineage;
    bool has_lineage =
        event->kind == EVENT_PUBLISHED && lineage_open(&lineage, event->note, event->note_size, event->count) == MP_OK;
    bool by_message = trace_select_by_message(select);
    size_t size = bits_size(event->span);
    listing->chosen.size = 0;
    if (buffer_reserve(&listing->chosen, size + 1))
        return MP_ERR_MEMORY;
    uint8_t *chosen = listing->chosen.data;
    memset(chosen, 0, size + 1);
    for (uint32_t i = 0; i < event->span; i++)
        if ((!event->mask || (i < 8 * event->mask_size && bits_get(event->mask, i))) &&
            (!by_message ||
             trace_select_message(select, has_lineage ? &lineage : NULL, i, event->topic, event->first + i)))
            bits_set(chosen, i);
    return MP_OK;
}

/* Takes the messages of EVENT, the last ones first, until the chunk is full. */
static enum mp_error take_event(void *context, const struct store_event *event)
{
    struct listing *listing = context;
    uint32_t index = event->id == listing->event ? listing->index : event->span;
    enum mp_error error = event->id == listing->event ? MP_OK : choose(listing, event);
    if (error)
        return error;
    if (event->id != listing->event)
        listing->list->looked += event->span;
    listing->event = event->id;
    while (index > 0 && listing->count < listing->chunk_size) {
        if (!bits_get(listing->chosen.data, --index))
            continue;
        struct trace_history *history = &listing->chunk[listing->count++];
        *history = (struct trace_history){.match = {.topic = event->topic, .offset = event->first + index}};
        if (event->kind == EVENT_PUBLISHED)
            history->match.event = event->id - 1; /* it is told from there on */
    }
    listing->index = index;
    return listing->count == listing->chunk_size ? ENOUGH : MP_OK;
}

static enum mp_error gather(struct listing *listing, struct fault *fault)
{
    uint32_t kinds = kinds_of(listing->wanted);
    struct store_event_filter filter =
        trace_select_filter(listing->wanted->select, kinds ? kinds : 1u << EVENT_PUBLISHED);
    filter.newest_first = true;
    filter.light = !listing->by_failure;
    if (listing->event > 0)
        filter.below = listing->event + 1;
    listing->count = 0;
    enum mp_error error = trace_log_each(listing->log, &filter, take_event, listing, fault);
    listing->over = !error;
    return error == ENOUGH ? MP_OK : error;
}

/* ---- what is wanted of them
 * ------------------------------------------------------------------------------------
 */

static bool has_failed(const struct trace_passage *passage)
{
    for (size_t i = 0; i < passage->attempts_count; i++) {
        enum store_event_kind outcome = passage->attempts[i].outcome;
        if (outcome == EVENT_RETRIED || outcome == EVENT_LAPSED || outcome == EVENT_DEAD)
            return true;
    }
    return passage->state == STATE_EXPIRED || passage->state == STATE_DROPPED;
}

/* Attempts that were begun: what was given back unbegun is none. */
static size_t tries_of(const struct trace_passage *passage)
{
    size_t tries = 0;
    for (size_t i = 0; i < passage->attempts_count; i++)
        tries += passage->attempts[i].outcome != EVENT_RELEASED;
    return tries;
}

static void measure(struct trace_row *row, int64_t now)
{
    const struct trace_passage *passage = &row->passage;
    int64_t end = trace_is_settled(passage) ? passage->since : now;
    row->took = passage->group ? end - row->match.time : 0;
    row->waited = passage->group ? (passage->attempts_count ? passage->attempts[0].leased : end) - row->match.time : 0;
    row->worked = 0;
    for (size_t i = 0; i < passage->attempts_count; i++) {
        const struct trace_attempt *attempt = &passage->attempts[i];
        row->worked += (attempt->ended ? attempt->ended : now) - attempt->leased;
    }
}

static bool is_wanted(const struct trace_list_wanted *wanted, const struct trace_row *row)
{
    const struct trace_passage *passage = &row->passage;
    if (passage->group == 0)
        return !wanted->states && !wanted->failed && !wanted->retried && wanted->slower == 0 &&
               wanted->select->every_group;
    if (passage->skipped || passage->state == STATE_FOREIGN || !trace_select_group(wanted->select, passage->group))
        return false;
    if (wanted->states && !(wanted->states >> passage->state & 1))
        return false;
    if ((wanted->failed && !has_failed(passage)) || (wanted->retried && tries_of(passage) < 2))
        return false;
    return wanted->slower == 0 || row->took >= wanted->slower;
}

static bool is_listed(const struct trace_list *list, const struct trace_row *row)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct trace_row *other = &list->rows[i];
        if (other->match.topic == row->match.topic && other->match.offset == row->match.offset &&
            other->passage.group == row->passage.group)
            return true;
    }
    return false;
}

/* Takes ROW with its attempts. */
static enum mp_error add_row(struct trace_list *list, const struct trace_row *row)
{
    if (list->count == list->capacity) {
        struct trace_row *rows = memory_grow(list->rows, &list->capacity, sizeof *rows, 64);
        if (!rows)
            return MP_ERR_MEMORY;
        list->rows = rows;
    }
    list->rows[list->count++] = *row;
    return MP_OK;
}

static enum mp_error add_passage(struct listing *listing, const struct trace_match *match,
                                 struct trace_passage *passage)
{
    struct trace_row row = {.match = *match, .passage = *passage};
    measure(&row, trace_log_now(listing->log));
    if (!is_wanted(listing->wanted, &row) || (listing->by_failure && is_listed(listing->list, &row)))
        return MP_OK;
    enum mp_error error = add_row(listing->list, &row);
    if (!error)
        *passage = (struct trace_passage){0}; /* its attempts are the row's */
    return error;
}

static enum mp_error add_rows(struct listing *listing, struct trace_history *history, struct fault *fault)
{
    struct trace_passage none = {.since = history->match.time};
    enum mp_error error = MP_OK;
    if (history->match.time == 0) /* from before the oldest event */
        error = trace_find_place(listing->log, history->match.topic, history->match.offset, &history->match, fault);
    if (error) /* it is gone, and so is all that was known of it */
        return error == MP_ERR_NOT_FOUND ? MP_OK : error;
    for (size_t i = 0; !error && i < history->count; i++)
        error = add_passage(listing, &history->match, &history->passages[i]);
    if (history->count == 0)
        error = add_passage(listing, &history->match, &none);
    return error;
}

/* ---- order
 * -----------------------------------------------------------------------------------------------------
 */

static int newest_first(const struct trace_row *one, const struct trace_row *other)
{
    if (one->match.time != other->match.time)
        return one->match.time > other->match.time ? -1 : 1;
    if (one->match.topic != other->match.topic)
        return one->match.topic < other->match.topic ? -1 : 1;
    if (one->match.offset != other->match.offset)
        return one->match.offset > other->match.offset ? -1 : 1;
    return (one->passage.group > other->passage.group) - (one->passage.group < other->passage.group);
}

static int larger_first(int64_t one, int64_t other, const struct trace_row *first, const struct trace_row *second)
{
    return one != other ? (one > other ? -1 : 1) : newest_first(first, second);
}

static int by_time(const void *one, const void *other)
{
    return newest_first(one, other);
}

static int by_took(const void *one, const void *other)
{
    const struct trace_row *first = one, *second = other;
    return larger_first(first->took, second->took, first, second);
}

static int by_waited(const void *one, const void *other)
{
    const struct trace_row *first = one, *second = other;
    return larger_first(first->waited, second->waited, first, second);
}

static int by_worked(const void *one, const void *other)
{
    const struct trace_row *first = one, *second = other;
    return larger_first(first->worked, second->worked, first, second);
}

static int by_attempts(const void *one, const void *other)
{
    const struct trace_row *first = one, *second = other;
    return larger_first((int64_t)tries_of(&first->passage), (int64_t)tries_of(&second->passage), first, second);
}

/* Puts rows into order, and leaves as many as are wanted. */
static void cut(struct trace_list *list, const struct trace_list_wanted *wanted)
{
    static int (*const orders[])(const void *, const void *) = {[TRACE_BY_TIME] = by_time,
                                                                [TRACE_BY_TOOK] = by_took,
                                                                [TRACE_BY_WAITED] = by_waited,
                                                                [TRACE_BY_WORKED] = by_worked,
                                                                [TRACE_BY_ATTEMPTS] = by_attempts};
    if (list->count > 0)
        qsort(list->rows, list->count, sizeof *list->rows, orders[wanted->sort]);
    for (; list->count > wanted->most; list->count--) {
        memory_release(list->rows[list->count - 1].passage.attempts);
        list->more = true;
    }
}

/* ---- the listing
 * -----------------------------------------------------------------------------------------------
 */

/* Histories of a chunk that mean the same message come of two failures: one is enough. */
static size_t drop_doubles(struct trace_history **order, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        const struct trace_match *match = &order[i]->match;
        bool is_new = true;
        for (size_t before = left; is_new && before-- > 0;)
            is_new = order[before]->match.topic != match->topic || order[before]->match.offset != match->offset;
        if (is_new)
            order[left++] = order[i];
    }
    return left;
}

static enum mp_error look_at_chunk(struct listing *listing, struct fault *fault)
{
    size_t count = listing->count;
    for (size_t i = 0; i < count; i++)
        listing->order[i] = &listing->chunk[i];
    if (listing->by_failure)
        count = drop_doubles(listing->order, count);
    enum mp_error error = trace_history_follow(listing->order, count, listing->log, fault);
    for (size_t i = 0; !error && i < count; i++)
        error = add_rows(listing, listing->order[i], fault);
    for (size_t i = 0; i < listing->count; i++)
        trace_history_free(&listing->chunk[i]);
    cut(listing->list, listing->wanted);
    return error;
}

static enum mp_error list_all(struct listing *listing, struct fault *fault)
{
    struct trace_list *list = listing->list;
    const struct trace_list_wanted *wanted = listing->wanted;
    while (!listing->over) {
        enum mp_error error = gather(listing, fault);
        if (!error)
            error = look_at_chunk(listing, fault);
        if (error)
            return error;
        if (wanted->sort == TRACE_BY_TIME && list->count >= wanted->most) {
            list->more |= !listing->over;
            return MP_OK;
        }
        if (list->looked >= LOOK_MOST) {
            list->cut = !listing->over;
            return MP_OK;
        }
        if (listing->chunk_size < (listing->by_failure ? 4096 : CHUNK_MOST))
            listing->chunk_size *= 4;
    }
    return MP_OK;
}

enum mp_error trace_list_open(struct trace_list *list, struct trace_log *log, const struct trace_list_wanted *wanted,
                              struct fault *fault)
{
    struct listing listing = {.log = log, .wanted = wanted, .list = list, .chunk_size = CHUNK_LEAST};
    *list = (struct trace_list){0};
    listing.by_failure = kinds_of(wanted) != 0;
    listing.chunk = memory_allocate_array(CHUNK_MOST, sizeof *listing.chunk);
    listing.order = memory_allocate_array(CHUNK_MOST, sizeof *listing.order);
    enum mp_error error = listing.chunk && listing.order ? list_all(&listing, fault) : fault_memory(fault);
    memory_release(listing.chunk);
    memory_release(listing.order);
    buffer_free(&listing.chosen);
    if (error)
        trace_list_free(list);
    return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
}
