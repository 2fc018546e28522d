#include "trace/search.h"

#include "base/memory.h"
#include "trace/bisect.h"

#include <stdlib.h>
#include <string.h>

/* Ends a walk when there is enough. */
#define ENOUGH MP_ERR_INTERRUPTED
#define MARGIN (INT64_C(60) * 1000 * 1000) /* by how much clocks may differ */

enum { SESSIONS_MOST = 64 };

void trace_matches_free(struct trace_matches *matches)
{
    memory_release(matches->items);
    *matches = (struct trace_matches){0};
}

bool trace_value_is(const struct lineage_value *one, const struct lineage_value *other)
{
    return one->kind != LINEAGE_NONE && one->kind == other->kind && one->high == other->high && one->low == other->low;
}

struct trace_wanted trace_wanted_value(enum lineage_column column, const struct lineage_value *value)
{
    return (struct trace_wanted){column, *value, *value};
}

/* ---- matches
 * --------------------------------------------------------------------------------------------------
 */

bool trace_match_is_before(const struct trace_match *one, const struct trace_match *other)
{
    if (!one->scheduled != !other->scheduled)
        return !one->scheduled;
    if (one->scheduled && one->scheduled != other->scheduled)
        return one->scheduled < other->scheduled;
    if (one->event != other->event)
        return one->event < other->event;
    return one->topic == other->topic ? one->offset < other->offset : one->time < other->time;
}

static int compare(const void *one, const void *other)
{
    return trace_match_is_before(one, other) ? -1 : trace_match_is_before(other, one) ? 1 : 0;
}

static bool is_same_place(const struct trace_match *one, const struct trace_match *other)
{
    return one->topic == other->topic && one->offset == other->offset && one->scheduled == other->scheduled;
}

enum mp_error trace_matches_add(struct trace_matches *matches, const struct trace_match *match)
{
    if (matches->count == matches->capacity) {
        struct trace_match *items = memory_grow(matches->items, &matches->capacity, sizeof *items, 8);
        if (!items)
            return MP_ERR_MEMORY;
        matches->items = items;
    }
    matches->items[matches->count++] = *match;
    return MP_OK;
}

static void describe(struct trace_match *match, const struct lineage *lineage, uint32_t index)
{
    match->sent = lineage->time;
    match->origin = lineage_origin(lineage, index);
    match->id = lineage_id(lineage, index);
    match->key = lineage_value(lineage, LINEAGE_KEY, index);
    match->trace = lineage_trace(lineage, index);
    match->parent = lineage_value(lineage, LINEAGE_PARENT, index);
    match->cause = lineage_value(lineage, LINEAGE_CAUSE, index);
    match->correlation = lineage_value(lineage, LINEAGE_CORRELATION, index);
}

/* A search under way, and the row that is looked at: MATCH is of its first message. */
struct searching {
    struct trace_log *log;
    const struct trace_search *search;
    struct trace_matches *matches;
    struct trace_match match;
    size_t before;      /* matches that were there before, */
    size_t row;         /* and before this row */
    bool is_light;      /* of `match` only the place is known */
    struct buffer note; /* where a lineage is made of a frame */
};

/* A message is met twice only in one row, by several wanted things; or it was there before. */
static bool is_there(const struct searching *searching, const struct trace_match *match)
{
    const struct trace_matches *matches = searching->matches;
    for (size_t i = searching->row; i < matches->count; i++)
        if (is_same_place(&matches->items[i], match))
            return true;
    for (size_t i = 0; i < searching->before && i < matches->count; i++)
        if (is_same_place(&matches->items[i], match))
            return true;
    return false;
}

/* Of the newest the older half goes when it is full. */
static void forget_oldest(struct searching *searching, size_t left)
{
    struct trace_matches *matches = searching->matches;
    size_t surplus = matches->count - left;
    memmove(matches->items, matches->items + surplus, left * sizeof *matches->items);
    matches->count = left;
    matches->more = true;
    searching->before = searching->before > surplus ? searching->before - surplus : 0;
    searching->row = searching->row > surplus ? searching->row - surplus : 0;
}

static struct trace_match match_of(const struct store_event *event)
{
    return (struct trace_match){.topic = event->topic,
                                .offset = event->first,
                                .event = event->id,
                                .time = event->time,
                                .due = event->due,
                                .session = event->session,
                                .request = event->request,
                                .target = event->group,
                                .together = event->count};
}

/* Reads what a light event did not tell. */
static enum mp_error complete(struct searching *searching)
{
    struct store_event event;
    enum mp_error error = store_find_event(trace_log_store(searching->log), searching->match.event, &event, NULL);
    if (!error && event.id == searching->match.event)
        searching->match = match_of(&event);
    searching->is_light = false;
    return error;
}

static enum mp_error take_match(struct searching *searching, const struct lineage *lineage, uint32_t index)
{
    enum mp_error error = searching->is_light ? complete(searching) : MP_OK;
    struct trace_match match = searching->match;
    match.offset += index;
    if (error || is_there(searching, &match))
        return error;
    if (searching->search->newest && searching->matches->count >= 2 * searching->search->most)
        forget_oldest(searching, searching->search->most);
    if (!searching->search->newest && searching->matches->count >= searching->search->most) {
        searching->matches->more = true;
        return ENOUGH;
    }
    describe(&match, lineage, index);
    return trace_matches_add(searching->matches, &match);
}

/* Ids that are no hex digits are kept as hashes: how they begin is asked of the messages that are there. */
static enum mp_error search_beginnings(struct searching *searching, const struct lineage *lineage)
{
    const char *beginning = searching->search->beginning;
    const size_t length = strlen(beginning);
    enum mp_error error = MP_OK;
    for (uint32_t i = 0; !error && lineage->columns[LINEAGE_ID] && i < lineage->count; i++) {
        struct trace_match match = searching->match;
        struct trace_message message;
        char text[FRAME_ID_TEXT];
        size_t size;
        match.offset += i;
        if (trace_read_message(searching->log, &match, &message))
            break; /* gone */
        const char *id = frame_record_id(&message.record, text, &size);
        if (size >= length && memcmp(id, beginning, length) == 0)
            error = take_match(searching, lineage, i);
    }
    return error;
}

static enum mp_error search_lineage(struct searching *searching, const struct lineage *lineage)
{
    const struct trace_search *search = searching->search;
    enum mp_error error = MP_OK;
    searching->row = searching->matches->count;
    if (search->beginning)
        return search_beginnings(searching, lineage);
    for (size_t i = 0; !error && i < search->wanted_count; i++) {
        const struct trace_wanted *wanted = &search->wanted[i];
        uint32_t index = 0;
        while (!error && lineage_find(lineage, wanted->column, &wanted->from, &wanted->to, &index))
            error = take_match(searching, lineage, index++);
    }
    return error;
}

/* ---- in the log
 * -----------------------------------------------------------------------------------------------
 */

/* EVENT is a light one: what it does not tell is read when something of it is meant. */
static enum mp_error search_event(void *context, const struct store_event *event)
{
    struct searching *searching = context;
    struct lineage lineage;
    if (lineage_open(&lineage, event->note, event->note_size, event->count))
        return MP_OK; /* the audit tells of what is damaged */
    searching->match = match_of(event);
    searching->is_light = true;
    enum mp_error error = search_lineage(searching, &lineage);
    searching->is_light = false;
    return error;
}

static struct store_event_filter filter_of(const struct trace_search *search)
{
    return (struct store_event_filter){.after = search->after,
                                       .below = search->below,
                                       .kinds = 1u << EVENT_PUBLISHED,
                                       .topics = search->topics,
                                       .topics_count = search->topics_count,
                                       .newest_first = search->beginning != NULL,
                                       .light = true};
}

/* Publications of a session, by its count of messages. */
struct counted {
    struct searching *searching;
    uint64_t session;
    uint64_t from;
    uint64_t to;
    unsigned beyond; /* publications that were behind `to` */
    bool ended;
};

static bool is_own(const struct counted *counted, const struct store_event *event)
{
    return event->note_size >= LINEAGE_BARE && load_u64(event->note) == counted->session;
}

static int has_reached(const void *context, const struct store_event *event)
{
    const struct counted *counted = context;
    if (!is_own(counted, event))
        return -1;
    uint64_t first = load_u64(event->note + 8);
    return first > counted->from || counted->from - first < event->count;
}

static enum mp_error take_counted(void *context, const struct store_event *event)
{
    enum { ASTRAY = 16 }; /* a publication that waited for room can be behind later ones */
    struct counted *counted = context;
    if (!is_own(counted, event))
        return MP_OK;
    counted->beyond += load_u64(event->note + 8) > counted->to;
    counted->ended = counted->beyond > ASTRAY;
    return counted->ended ? ENOUGH : search_event(counted->searching, event);
}

/* When SESSION began, in relay time: its lower half is the second in which it was made. */
static int64_t made_at(uint64_t session)
{
    return (int64_t)(session & UINT32_MAX) * 1000000;
}

static bool is_to_come(const struct trace_log *log, uint64_t session)
{
    return made_at(session) > trace_log_now(log) + MARGIN;
}

/* Looks among the publications of SESSION, from a margin before it was made on. */
static enum mp_error filter_session(struct trace_log *log, uint64_t session, struct store_event_filter *filter,
                                    struct fault *fault)
{
    uint64_t id;
    enum mp_error error = trace_log_at(log, made_at(session) - MARGIN, &id, fault);
    filter->session = session;
    if (!error && id > filter->after + 1)
        filter->after = id - 1;
    return error;
}

/* Those that follow from SESSION and its count from FROM to TO. */
static enum mp_error search_counted(struct searching *searching, uint64_t session, uint64_t from, uint64_t to,
                                    struct fault *fault)
{
    struct counted counted = {.searching = searching, .session = session, .from = from, .to = to};
    struct store_event_filter filter = filter_of(searching->search);
    uint64_t id;
    searching->before = searching->matches->count;
    enum mp_error error = filter_session(searching->log, session, &filter, fault);
    if (!error)
        error = trace_bisect(searching->log, &filter, has_reached, &counted, &id, fault);
    if (error)
        return error == MP_ERR_NOT_FOUND ? MP_OK : error;
    filter.after = id - 1;
    error = trace_log_each(searching->log, &filter, take_counted, &counted, fault);
    return counted.ended ? MP_OK : error;
}

/* Whether what COLUMN says can follow from who a message is. */
static bool can_follow(const struct trace_wanted *wanted)
{
    return wanted->from.kind == LINEAGE_EXACT &&
           (wanted->column == LINEAGE_ORIGIN || wanted->column == LINEAGE_ID || wanted->column == LINEAGE_TRACE);
}

/*
 * Whether PRODUCER, which may be the first half of any trace id from elsewhere, can be a session: its name is in the log,
 * or it has none and is of the log's time, or what is gone of the log had it.
 */
static bool is_session(struct trace_log *log, uint64_t producer)
{
    return !is_to_come(log, producer) && (*trace_log_session(log, producer) || trace_log_first(log) > 1 ||
                                          made_at(producer) > trace_log_since(log) - MARGIN);
}

/* Of all sessions between the two halves of a range: those that have names. SOME: there were any. */
static enum mp_error search_sessions(struct searching *searching, const struct trace_wanted *wanted,
                                     struct fault *fault)
{
    uint64_t sessions[SESSIONS_MOST];
    size_t count = trace_log_sessions(searching->log, wanted->from.high, wanted->to.high, sessions, SESSIONS_MOST);
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < count; i++)
        error = search_counted(searching, sessions[i], sessions[i] == wanted->from.high ? wanted->from.low : 0,
                               sessions[i] == wanted->to.high ? wanted->to.low : UINT64_MAX, fault);
    return error;
}

/* What is meant of the bare lineages, which no index has. */
static enum mp_error search_bare(struct searching *searching, struct fault *fault)
{
    const struct trace_search *search = searching->search;
    const size_t before = searching->matches->count;
    bool ranges = false;
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < search->wanted_count; i++) {
        const struct trace_wanted *wanted = &search->wanted[i];
        if (!can_follow(wanted))
            continue;
        if (wanted->from.high != wanted->to.high)
            error = search_sessions(searching, wanted, fault);
        else if (is_session(searching->log, wanted->from.high))
            error = search_counted(searching, wanted->from.high, wanted->from.low, wanted->to.low, fault);
        ranges |= wanted->from.high != wanted->to.high;
    }
    if (error || !ranges || searching->matches->count > before)
        return error;
    struct store_event_filter filter = filter_of(search); /* of sessions without names, or very many */
    searching->before = before;
    return trace_log_each(searching->log, &filter, search_event, searching, fault);
}

static enum mp_error search_log(struct searching *searching, struct fault *fault)
{
    struct store_event_filter filter = filter_of(searching->search);
    filter.told = true;
    enum mp_error error = trace_log_each(searching->log, &filter, search_event, searching, fault);
    return error ? error : search_bare(searching, fault);
}

/* Looks into EVENT, and ends the walk when it had what is meant. */
static enum mp_error take_first(void *context, const struct store_event *event)
{
    struct searching *searching = context;
    enum mp_error error = search_event(context, event);
    return !error && searching->matches->count > 0 ? ENOUGH : error;
}

enum mp_error trace_search_session(struct trace_log *log, const struct lineage_value *id, struct trace_matches *matches,
                                   struct fault *fault)
{
    const struct trace_wanted wanted = trace_wanted_value(LINEAGE_ID, id);
    const struct trace_search search = {.wanted = &wanted, .wanted_count = 1, .most = 1};
    struct searching searching = {.log = log, .search = &search, .matches = matches};
    if (is_to_come(log, id->high)) /* nobody's session */
        return MP_OK;
    enum mp_error error = search_counted(&searching, id->high, id->low, id->low, fault);
    if (error || matches->count > 0)
        return error == ENOUGH ? MP_OK : error;
    struct store_event_filter filter = filter_of(&search); /* it may count in an order of its own */
    if (!(error = filter_session(log, id->high, &filter, fault)))
        error = trace_log_each(log, &filter, take_first, &searching, fault);
    return error == ENOUGH ? MP_OK : error;
}

/* ---- among messages
 * -------------------------------------------------------------------------------------------
 */

/* Looks into SIZE bytes at DATA, a frame, whose row is searching->match. */
static enum mp_error search_frame(struct searching *searching, const uint8_t *data, size_t size)
{
    struct frame frame;
    struct lineage lineage;
    if (frame_open(&frame, data, size, true, NULL))
        return MP_OK;
    searching->note.size = 0;
    enum mp_error error = lineage_encode(&frame, frame.producer, &searching->note);
    if (error)
        return error;
    searching->match.together = frame.count;
    return lineage_open(&lineage, searching->note.data, searching->note.size, frame.count)
               ? MP_OK
               : search_lineage(searching, &lineage);
}

static bool is_meant(const struct trace_search *search, uint32_t topic)
{
    for (size_t i = 0; i < search->topics_count; i++)
        if (search->topics[i] == topic)
            return true;
    return search->topics_count == 0;
}

static struct trace_match match_of_scheduled(const struct store_scheduled *row)
{
    return (struct trace_match){.topic = row->topic,
                                .scheduled = row->id,
                                .time = row->due,
                                .due = row->time,
                                .session = row->session,
                                .request = row->request,
                                .target = row->target,
                                .together = row->count};
}

static enum mp_error search_schedule(struct searching *searching, struct fault *fault)
{
    struct store_scheduled row = {0};
    struct blob *blob;
    enum mp_error error;
    while (!(error = store_next_scheduled(trace_log_store(searching->log), row.id, &row, &blob, fault))) {
        searching->match = match_of_scheduled(&row);
        if (is_meant(searching->search, row.topic))
            error = search_frame(searching, row.data, row.size);
        blob_drop(blob);
        if (error)
            return error;
    }
    return error == MP_ERR_NOT_FOUND ? MP_OK : error;
}

static struct trace_match match_of_frame(const struct store_frame *row)
{
    return (struct trace_match){.topic = row->topic,
                                .offset = row->first,
                                .time = row->time,
                                .session = row->session,
                                .request = row->session ? row->request : 0,
                                .target = row->target,
                                .due = row->session == 0 && row->request > 0 ? row->time - (int64_t)row->request : 0};
}

/* Messages of before the oldest event that are still there: they wait for long, or are retained. */
static enum mp_error search_old(struct searching *searching, uint32_t topic, struct fault *fault)
{
    struct store *store = trace_log_store(searching->log);
    int64_t since = trace_log_since(searching->log);
    uint64_t offset = 0;
    enum mp_error error = MP_OK;
    while (!error) {
        struct store_frame row;
        struct blob *blob;
        if ((error = store_find_frame(store, topic, offset, &row, fault)) || (since > 0 && row.time >= since) ||
            (error = store_read_frame(store, topic, offset, &row, &blob, fault)))
            break;
        searching->match = match_of_frame(&row);
        error = search_frame(searching, row.data, row.size);
        offset = row.first + row.count;
        blob_drop(blob);
    }
    return error == MP_ERR_NOT_FOUND ? MP_OK : error;
}

enum mp_error trace_search(struct trace_log *log, const struct trace_search *search, struct trace_matches *matches,
                           struct fault *fault)
{
    struct searching searching = {.log = log, .search = search, .matches = matches, .before = matches->count};
    size_t count, before = matches->count;
    const struct trace_topic *topics = trace_log_topics(log, &count);
    enum mp_error error = search_log(&searching, fault);
    if (!error && !search->log_only)
        error = search_schedule(&searching, fault);
    /* This reads messages themselves: for what nothing else knows of. */
    for (size_t i = 0; !error && !search->log_only && matches->count == before && i < count; i++)
        if (is_meant(search, topics[i].id))
            error = search_old(&searching, topics[i].id, fault);
    buffer_free(&searching.note);
    if (matches->count > before) /* what is bare, and what is scheduled, was found for itself */
        qsort(matches->items + before, matches->count - before, sizeof *matches->items, compare);
    if (search->newest && matches->count > search->most)
        forget_oldest(&searching, search->most);
    if (error == MP_ERR_MEMORY)
        return fault_memory(fault);
    return error == ENOUGH ? MP_OK : error;
}

enum mp_error trace_match_kept(struct trace_log *log, uint32_t topic, uint64_t offset, struct trace_match *match,
                               struct fault *fault)
{
    struct store_frame row;
    struct blob *blob;
    struct frame frame;
    struct lineage lineage;
    struct buffer note = {0};
    enum mp_error error = store_read_frame(trace_log_store(log), topic, offset, &row, &blob, fault);
    if (error)
        return error;
    if (row.first > offset)
        error = MP_ERR_NOT_FOUND;
    if (!error && !(error = frame_open(&frame, row.data, row.size, true, fault)) &&
        !(error = lineage_encode(&frame, frame.producer, &note)) &&
        !(error = lineage_open(&lineage, note.data, note.size, frame.count))) {
        *match = match_of_frame(&row);
        match->offset = offset;
        match->together = frame.count;
        describe(match, &lineage, (uint32_t)(offset - row.first));
    }
    buffer_free(&note);
    blob_drop(blob);
    return error;
}

enum mp_error trace_read_message(struct trace_log *log, const struct trace_match *match, struct trace_message *message)
{
    return match->scheduled ? trace_log_scheduled(log, match->scheduled, (uint32_t)match->offset, message, NULL)
                            : trace_log_message(log, match->topic, match->offset, message, NULL);
}

enum mp_error trace_match_read(const struct store_event *event, uint64_t offset, struct trace_match *match)
{
    struct lineage lineage;
    enum mp_error error = lineage_open(&lineage, event->note, event->note_size, event->count);
    if (error)
        return error;
    *match = match_of(event);
    match->offset = offset;
    describe(match, &lineage, (uint32_t)(offset - event->first));
    return MP_OK;
}
