#include "trace/find.h"

#include "base/memory.h"
#include "base/units.h"
#include "message/attributes.h"
#include "message/names.h"
#include "message/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends a walk when there is enough. */
#define ENOUGH MP_ERR_INTERRUPTED

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

static bool is_same_place(const struct trace_match *one, const struct trace_match *other)
{
    return one->topic == other->topic && one->offset == other->offset && one->scheduled == other->scheduled;
}

enum mp_error trace_matches_add(struct trace_matches *matches, const struct trace_match *match)
{
    if (matches->count == matches->capacity) {
        size_t capacity = matches->capacity ? 2 * matches->capacity : 8;
        struct trace_match *items = memory_reallocate(matches->items, capacity * sizeof *items);
        if (!items)
            return MP_ERR_MEMORY;
        matches->items = items;
        matches->capacity = capacity;
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

static enum mp_error search_lineage(struct searching *searching, const struct lineage *lineage)
{
    const struct trace_search *search = searching->search;
    enum mp_error error = MP_OK;
    searching->row = searching->matches->count;
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

/* Looks into EVENT, and ends the walk when it had what is meant. */
static enum mp_error take_first(void *context, const struct store_event *event)
{
    struct searching *searching = context;
    enum mp_error error = search_event(context, event);
    return !error && searching->matches->count > 0 ? ENOUGH : error;
}

enum { BARE = 24 }; /* bytes of a lineage that says nothing of its messages but who they are */

/* Whether what COLUMN says can follow from who a message is. */
static bool can_follow(const struct trace_wanted *wanted)
{
    return wanted->from.kind == LINEAGE_EXACT &&
           (wanted->column == LINEAGE_ORIGIN || wanted->column == LINEAGE_ID || wanted->column == LINEAGE_TRACE);
}

static enum mp_error search_log(struct searching *searching, struct fault *fault)
{
    const struct trace_search *search = searching->search;
    uint64_t producers[STORE_PREFIXES];
    struct store_event_filter filter = {.after = search->after,
                                        .below = search->below,
                                        .kinds = 1u << EVENT_PUBLISHED,
                                        .topics = search->topics,
                                        .topics_count = search->topics_count,
                                        .note_above = BARE,
                                        .prefixes = producers,
                                        .light = true};
    for (size_t i = 0; i < search->wanted_count && filter.note_above; i++) {
        const struct trace_wanted *wanted = &search->wanted[i];
        if (!can_follow(wanted))
            continue;
        if (wanted->from.high != wanted->to.high || filter.prefixes_count == STORE_PREFIXES)
            filter.note_above = 0; /* all have to be looked at */
        else
            producers[filter.prefixes_count++] = wanted->from.high; /* a lineage begins with it */
    }
    return trace_log_each(searching->log, &filter, search_event, searching, fault);
}

/*
 * Nearly all ids are derived from the session that published the message, whose lower half is the second in which it was
 * made, in relay time: so ID is looked for among its publications, from there on, up to the one that is meant.
 */
static enum mp_error search_session(struct trace_log *log, const struct lineage_value *id,
                                    struct trace_matches *matches, struct fault *fault)
{
    enum { MARGIN = 60 };
    const struct trace_wanted wanted = trace_wanted_value(LINEAGE_ID, id);
    const struct trace_search search = {.wanted = &wanted, .wanted_count = 1, .most = 1};
    struct searching searching = {.log = log, .search = &search, .matches = matches};
    struct store_event_filter filter = {.kinds = 1u << EVENT_PUBLISHED, .session = id->high, .light = true};
    int64_t made = (int64_t)(id->high & UINT32_MAX), now = trace_log_now(log) / 1000000;
    if (made > now + MARGIN) /* nobody's session */
        return MP_OK;
    enum mp_error error = trace_log_at(log, (made - MARGIN) * 1000000, &filter.after, fault);
    if (error)
        return error;
    filter.after = filter.after > 0 ? filter.after - 1 : 0;
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
    enum mp_error error = lineage_encode(&frame, &searching->note);
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
    if (search->newest && matches->count > search->most)
        forget_oldest(&searching, search->most);
    if (error == MP_ERR_MEMORY)
        return fault_memory(fault);
    return error == ENOUGH ? MP_OK : error;
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

/* ---- places
 * ---------------------------------------------------------------------------------------------------
 */

static enum mp_error take_place(void *context, const struct store_event *event)
{
    struct searching *searching = context;
    return event->kind == EVENT_PUBLISHED && !trace_match_read(event, searching->match.offset, &searching->match)
               ? ENOUGH
               : MP_OK;
}

enum mp_error trace_find_place(struct trace_log *log, uint32_t topic, uint64_t offset, struct trace_match *match,
                               struct fault *fault)
{
    struct searching searching = {.log = log, .match = {.topic = topic, .offset = offset}};
    struct store_frame row;
    struct blob *blob;
    struct store_event_filter filter = {
        .kinds = 1u << EVENT_PUBLISHED, .topics = &topic, .topics_count = 1, .covers = true, .offset = offset};
    enum mp_error error = store_find_frame(trace_log_store(log), topic, offset, &row, fault);
    bool is_kept = !error && row.first <= offset;
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    if (is_kept) { /* its event is one of that time */
        uint64_t id;
        if ((error = trace_log_at(log, row.time, &id, fault)))
            return error;
        filter.after = id > 0 ? id - 1 : 0;
    }
    error = trace_log_each(log, &filter, take_place, &searching, fault);
    *match = searching.match;
    if (error)
        return error == ENOUGH ? MP_OK : error;
    if (!is_kept)
        return fault_set(fault, MP_ERR_NOT_FOUND, "there is nothing at that place");
    if ((error = store_read_frame(trace_log_store(log), topic, offset, &row, &blob, fault)))
        return error;
    const struct trace_search search = {.most = 1};
    struct frame frame;
    struct lineage lineage;
    searching.search = &search;
    if (!(error = frame_open(&frame, row.data, row.size, true, fault)) &&
        !(error = lineage_encode(&frame, &searching.note)) &&
        !(error = lineage_open(&lineage, searching.note.data, searching.note.size, frame.count))) {
        *match = match_of_frame(&row);
        match->offset = offset;
        match->together = frame.count;
        describe(match, &lineage, (uint32_t)(offset - row.first));
    }
    buffer_free(&searching.note);
    blob_drop(blob);
    return error;
}

/* ---- ids
 * ------------------------------------------------------------------------------------------------------
 */

/* SIZE hex digits at TEXT as the beginning of 32: the lowest and the highest of those. */
static bool read_prefix(const char *text, size_t size, struct lineage_value *from, struct lineage_value *to)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t low[2] = {0}, high[2] = {0};
    if (size == 0 || size > 32 || strspn(text, digits) != size)
        return false;
    for (size_t i = 0; i < 32; i++) {
        uint64_t digit = i < size ? (uint64_t)(strchr(digits, text[i]) - digits) : 0;
        low[i / 16] = low[i / 16] << 4 | digit;
        high[i / 16] = high[i / 16] << 4 | (i < size ? digit : 15);
    }
    *from = (struct lineage_value){LINEAGE_EXACT, low[0], low[1]};
    *to = (struct lineage_value){LINEAGE_EXACT, high[0], high[1]};
    return true;
}

static enum mp_error nothing_found(const struct trace_log *log, const char *what, const char *text, struct fault *fault)
{
    char since[UNITS_TIME_TEXT], quoted[FAULT_QUOTE];
    fault_quote(quoted, text, strlen(text));
    if (trace_log_since(log) == 0)
        return fault_set(fault, MP_ERR_NOT_FOUND, "%s has no message with %s %s: nothing has happened in it yet",
                         trace_log_path(log), what, quoted);
    units_time_text(trace_log_wall(log, trace_log_since(log)), since);
    return fault_set(fault, MP_ERR_NOT_FOUND,
                     "no message with %s %s: looked in the log of %s, which has "
                     "events since %s, among the messages "
                     "that are kept there, and in its schedule",
                     what, quoted, trace_log_path(log), since);
}

enum mp_error trace_read_message(struct trace_log *log, const struct trace_match *match, struct trace_message *message)
{
    return match->scheduled ? trace_log_scheduled(log, match->scheduled, (uint32_t)match->offset, message, NULL)
                            : trace_log_message(log, match->topic, match->offset, message, NULL);
}

/* Ids that are no hex digits are kept as hashes: their beginnings are looked for among the messages that are there. */
struct beginning {
    struct searching searching;
    const char *text;
    size_t size;
};

/* Those of the row that is looked at, whose lineage this is. */
static enum mp_error search_beginnings(struct beginning *beginning, const struct lineage *lineage)
{
    struct searching *searching = &beginning->searching;
    enum mp_error error = MP_OK;
    searching->row = searching->matches->count;
    for (uint32_t i = 0; !error && lineage->columns[LINEAGE_ID] && i < lineage->count; i++) {
        struct trace_match match = searching->match;
        struct trace_message message;
        char text[FRAME_ID_TEXT];
        size_t size;
        match.offset += i;
        if (trace_read_message(searching->log, &match, &message))
            break; /* gone */
        const char *id = frame_record_id(&message.record, text, &size);
        if (size >= beginning->size && memcmp(id, beginning->text, beginning->size) == 0)
            error = take_match(searching, lineage, i);
    }
    return error;
}

static enum mp_error take_beginning(void *context, const struct store_event *event)
{
    struct beginning *beginning = context;
    struct lineage lineage;
    if (lineage_open(&lineage, event->note, event->note_size, event->count))
        return MP_OK;
    beginning->searching.match = match_of(event);
    beginning->searching.is_light = true;
    enum mp_error error = search_beginnings(beginning, &lineage);
    beginning->searching.is_light = false;
    return error;
}

static enum mp_error schedule_beginnings(struct beginning *beginning, struct fault *fault)
{
    struct searching *searching = &beginning->searching;
    struct store_scheduled row = {0};
    struct blob *blob;
    enum mp_error error;
    while (!(error = store_next_scheduled(trace_log_store(searching->log), row.id, &row, &blob, fault))) {
        struct frame frame;
        struct lineage lineage;
        searching->match = match_of_scheduled(&row);
        searching->note.size = 0;
        if (!frame_open(&frame, row.data, row.size, true, NULL) &&
            !(error = lineage_encode(&frame, &searching->note)) &&
            !lineage_open(&lineage, searching->note.data, searching->note.size, frame.count))
            error = search_beginnings(beginning, &lineage);
        blob_drop(blob);
        if (error)
            return error;
    }
    return error == MP_ERR_NOT_FOUND ? MP_OK : error;
}

static enum mp_error find_beginning(struct trace_log *log, const char *text, const struct trace_search *search,
                                    struct trace_matches *matches, struct fault *fault)
{
    struct beginning beginning = {{.log = log, .search = search, .matches = matches}, text, strlen(text)};
    const struct store_event_filter filter = {.kinds = 1u << EVENT_PUBLISHED, .light = true, .newest_first = true};
    enum mp_error error = trace_log_each(log, &filter, take_beginning, &beginning, fault);
    if (!error)
        error = schedule_beginnings(&beginning, fault);
    buffer_free(&beginning.searching.note);
    return error == ENOUGH ? MP_OK : error;
}

/* Whether it is written as a place, of a topic that there may be or not. */
static bool looks_like_place(const char *text)
{
    const char *at = strrchr(text, '@');
    return at && at[1] != '\0' && at[1 + strspn(at + 1, "0123456789")] == '\0' &&
           !name_check_topic(text, (size_t)(at - text), NULL);
}

/* TOPIC@OFFSET; false: it is something else, an id with an `@` perhaps. */
static bool read_place(const struct trace_log *log, const char *text, const struct trace_topic **topic,
                       uint64_t *offset)
{
    char name[NAME_MAX_BYTES + 1];
    const char *at = strrchr(text, '@');
    if (!looks_like_place(text))
        return false;
    snprintf(name, sizeof name, "%.*s", (int)(at - text), text);
    *topic = trace_log_find_topic(log, name);
    return *topic && !units_number("an offset", at + 1, 0, (UINT64_C(1) << 44) - 1, offset, NULL);
}

static enum mp_error find_place(struct trace_log *log, const struct trace_topic *topic, uint64_t offset,
                                struct trace_matches *matches, struct fault *fault)
{
    struct trace_match match;
    char since[UNITS_TIME_TEXT];
    uint64_t end;
    enum mp_error error = trace_find_place(log, topic->id, offset, &match, fault);
    if (!error)
        return trace_matches_add(matches, &match) ? fault_memory(fault) : MP_OK;
    if (error != MP_ERR_NOT_FOUND)
        return error;
    if ((error = trace_log_end(log, topic->id, &end, fault)))
        return error;
    if (offset >= end)
        return fault_set(fault, MP_ERR_NOT_FOUND,
                         "%s has no message at offset %" PRIu64 " yet: the next one will be %" PRIu64, topic->name,
                         offset, end);
    units_time_text(trace_log_wall(log, trace_log_since(log)), since);
    return fault_set(fault, MP_ERR_NOT_FOUND,
                     "the message at offset %" PRIu64 " of %s is gone, and the log of %s has events since %s only",
                     offset, topic->name, trace_log_path(log), since);
}

enum mp_error trace_find(struct trace_log *log, const char *text, size_t most, struct trace_matches *matches,
                         struct fault *fault)
{
    const struct trace_topic *topic;
    uint64_t offset;
    size_t size = strlen(text);
    if (read_place(log, text, &topic, &offset))
        return find_place(log, topic, offset, matches, fault);
    struct lineage_value exact = lineage_value_of(LINEAGE_ID, text, size), from, to;
    struct trace_wanted wanted[2] = {trace_wanted_value(LINEAGE_ID, &exact)};
    struct trace_search search = {.wanted = wanted, .wanted_count = 1, .most = most};
    if (exact.kind == LINEAGE_HASH && read_prefix(text, size, &from, &to))
        wanted[search.wanted_count++] = (struct trace_wanted){LINEAGE_ID, from, to};
    enum mp_error error = exact.kind == LINEAGE_EXACT ? search_session(log, &exact, matches, fault) : MP_OK;
    if (!error && matches->count == 0)
        error = trace_search(log, &search, matches, fault);
    if (error || matches->count > 0)
        return error;
    if (read_prefix(text, size, &from, &to)) {
        wanted[0] = (struct trace_wanted){LINEAGE_TRACE, from, to};
        search.wanted_count = 1;
        error = trace_search(log, &search, matches, fault);
    }
    if (!error && matches->count == 0)
        error = find_beginning(log, text, &search, matches, fault);
    if (error)
        return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
    if (matches->count == 0 && looks_like_place(text))
        return fault_set(fault, MP_ERR_NOT_FOUND, "there is no topic %.*s in %s, and no message with the id %s",
                         (int)(strrchr(text, '@') - text), text, trace_log_path(log), text);
    return matches->count == 0 ? nothing_found(log, "the id", text, fault) : MP_OK;
}

/* ---- keys
 * -----------------------------------------------------------------------------------------------------
 */

enum mp_error trace_find_key(struct trace_log *log, const char *text, size_t most, struct trace_matches *matches,
                             struct fault *fault)
{
    struct lineage_value key = lineage_value_of(LINEAGE_KEY, text, strlen(text));
    const struct trace_wanted wanted = trace_wanted_value(LINEAGE_KEY, &key);
    const struct trace_search search = {.wanted = &wanted, .wanted_count = 1, .newest = true, .most = most};
    enum mp_error error = trace_search(log, &search, matches, fault);
    return !error && matches->count == 0 ? nothing_found(log, "the key", text, fault) : error;
}

/* ---- what was found
 * -------------------------------------------------------------------------------------------
 */

bool trace_is_one(const struct trace_matches *matches)
{
    for (size_t i = 1; i < matches->count; i++)
        if (!trace_value_is(&matches->items[i].id, &matches->items[0].id))
            return false;
    return matches->count > 0;
}

enum mp_error trace_id_text(struct trace_log *log, const struct trace_match *match, struct buffer *out)
{
    struct trace_message message;
    char text[FRAME_ID_TEXT];
    const char *id = text;
    size_t size = 0;
    out->size = 0;
    if (match->id.kind == LINEAGE_EXACT) {
        frame_origin_text(match->id.high, match->id.low, text);
        size = strlen(text);
    } else if (!trace_read_message(log, match, &message)) {
        id = frame_record_id(&message.record, text, &size);
    }
    enum mp_error error = buffer_append(out, id, size);
    if (!error && !(error = buffer_append(out, "", 1)))
        out->size--;
    return error;
}
