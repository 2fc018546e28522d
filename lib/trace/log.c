#include "trace/log.h"

#include "base/bits.h"
#include "base/map.h"
#include "base/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct session {
    uint64_t id;
    char name[]; /* terminated */
};

/* The frame that was looked into last, and how far. */
struct opened {
    uint32_t topic;     /* 0: none, or */
    uint64_t scheduled; /* the row of the schedule */
    struct store_frame row;
    struct blob *blob;
    struct frame frame;
    struct frame_cursor cursor;
};

struct trace_log {
    struct store *store;
    bool borrowed; /* the store is the caller's */
    struct moment now;
    int64_t offset;    /* relay time is wall time plus it, to the millisecond */
    int64_t relay_now; /* `now` in relay time */
    struct trace_topic *topics;
    size_t topics_count;
    struct trace_group *groups;
    size_t groups_count;
    struct map sessions;
    uint64_t sessions_read; /* the event up to which they were */
    uint64_t first;
    uint64_t last;
    int64_t since;
    struct opened opened;
};

/* ---- kinds ---------------------------------------------------------------------------------------------------- */

static const char *const kinds[] = {
    [EVENT_LEASED] = "leased",       [EVENT_ACKED] = "acked",         [EVENT_RETRIED] = "retried",
    [EVENT_RELEASED] = "released",   [EVENT_LAPSED] = "lapsed",       [EVENT_DEAD] = "dead",
    [EVENT_EXPIRED] = "expired",     [EVENT_DROPPED] = "dropped",     [EVENT_REPLAYED] = "replayed",
    [EVENT_GRANTED] = "granted",     [EVENT_DUPLICATE] = "duplicate", [EVENT_FOREIGN] = "foreign",
    [EVENT_PUBLISHED] = "published", [EVENT_SESSION] = "session",
};
enum { KINDS = sizeof kinds / sizeof *kinds };

const char *trace_kind_name(enum store_event_kind kind)
{
    return kind > 0 && (size_t)kind < KINDS ? kinds[kind] : "event";
}

enum store_event_kind trace_kind_of(const char *name)
{
    for (size_t i = 1; i < KINDS; i++)
        if (kinds[i] && strcmp(kinds[i], name) == 0)
            return (enum store_event_kind)i;
    return (enum store_event_kind)0;
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

static void forget_names(struct trace_log *log)
{
    for (size_t i = 0; i < log->topics_count; i++) {
        free(log->topics[i].name);
        free(log->topics[i].settings);
    }
    for (size_t i = 0; i < log->groups_count; i++) {
        free(log->groups[i].name);
        free(log->groups[i].settings);
    }
    memory_release(log->topics);
    memory_release(log->groups);
    log->topics = NULL;
    log->groups = NULL;
    log->topics_count = log->groups_count = 0;
}

/* Makes room for one more of SIZE bytes at ITEMS, by doubling. */
static void *room(void *items, size_t count, size_t size)
{
    if (count == 0)
        return memory_reallocate(items, 8 * size);
    return count >= 8 && (count & (count - 1)) == 0 ? memory_reallocate(items, 2 * count * size) : items;
}

static enum mp_error take_topic(void *context, const struct store_topic *row)
{
    struct trace_log *log = context;
    struct trace_topic *topics = room(log->topics, log->topics_count, sizeof *topics);
    if (!topics)
        return MP_ERR_MEMORY;
    log->topics = topics;
    struct trace_topic *topic = &topics[log->topics_count];
    *topic = (struct trace_topic){
        .id = row->id,
        .name = memory_copy_text(row->name, strlen(row->name)),
        .letters = row->letters,
        .first = row->first,
        .end = row->end,
        .created = row->created,
        .settings = memory_copy_text(row->settings ? row->settings : "", row->settings ? strlen(row->settings) : 0)};
    log->topics_count++;
    return topic->name && topic->settings ? MP_OK : MP_ERR_MEMORY;
}

static enum mp_error take_group(void *context, const struct store_group *row)
{
    struct trace_log *log = context;
    struct trace_group *groups = room(log->groups, log->groups_count, sizeof *groups);
    if (!groups)
        return MP_ERR_MEMORY;
    log->groups = groups;
    struct trace_group *group = &groups[log->groups_count];
    *group = (struct trace_group){
        .id = row->id,
        .topic = row->topic,
        .name = memory_copy_text(row->name, strlen(row->name)),
        .pattern = row->pattern,
        .start = row->start,
        .floor = row->floor,
        .frontier = row->frontier,
        .event = row->event,
        .created = row->created,
        .settings = memory_copy_text(row->settings ? row->settings : "", row->settings ? strlen(row->settings) : 0)};
    log->groups_count++;
    return group->name && group->settings ? MP_OK : MP_ERR_MEMORY;
}

static int compare_id(const void *key, const void *item)
{
    uint32_t id = *(const uint32_t *)key, other = *(const uint32_t *)item; /* `id` is the first member of both */
    return (id > other) - (id < other);
}

const struct trace_topic *trace_log_topic(const struct trace_log *log, uint32_t id)
{
    return log->topics_count ? bsearch(&id, log->topics, log->topics_count, sizeof *log->topics, compare_id) : NULL;
}

const struct trace_group *trace_log_group(const struct trace_log *log, uint32_t id)
{
    return log->groups_count ? bsearch(&id, log->groups, log->groups_count, sizeof *log->groups, compare_id) : NULL;
}

const char *trace_log_topic_name(const struct trace_log *log, uint32_t id, char text[TRACE_NAME_TEXT])
{
    const struct trace_topic *topic = trace_log_topic(log, id);
    if (!topic)
        snprintf(text, TRACE_NAME_TEXT, "topic %" PRIu32, id);
    return topic ? topic->name : text;
}

const char *trace_log_group_name(const struct trace_log *log, uint32_t id, char text[TRACE_NAME_TEXT])
{
    const struct trace_group *group = trace_log_group(log, id);
    if (!group)
        snprintf(text, TRACE_NAME_TEXT, "group %" PRIu32, id);
    return group ? group->name : text;
}

const struct trace_topic *trace_log_find_topic(const struct trace_log *log, const char *name)
{
    for (size_t i = 0; i < log->topics_count; i++)
        if (strcmp(log->topics[i].name, name) == 0)
            return &log->topics[i];
    return NULL;
}

const struct trace_topic *trace_log_topics(const struct trace_log *log, size_t *count)
{
    *count = log->topics_count;
    return log->topics;
}

const struct trace_group *trace_log_groups(const struct trace_log *log, size_t *count)
{
    *count = log->groups_count;
    return log->groups;
}

/* ---- sessions ------------------------------------------------------------------------------------------------- */

static enum mp_error take_session(void *context, const struct store_event *event)
{
    struct trace_log *log = context;
    struct session *session = memory_allocate(sizeof *session + event->note_size + 1);
    if (!session)
        return MP_ERR_MEMORY;
    session->id = event->session;
    if (event->note_size > 0)
        memcpy(session->name, event->note, event->note_size);
    memory_release(map_remove(&log->sessions, &session->id, sizeof session->id));
    enum mp_error error = map_put(&log->sessions, &session->id, sizeof session->id, session);
    if (error)
        memory_release(session);
    if (event->id > log->sessions_read)
        log->sessions_read = event->id;
    return error;
}

/* Without memory, or in a damaged log, names are just not known. */
const char *trace_log_session(struct trace_log *log, uint64_t id)
{
    const struct session *session = map_get(&log->sessions, &id, sizeof id);
    if (session || log->sessions_read == log->last)
        return session ? session->name : "";
    struct store_event_filter filter = {.after = log->sessions_read, .kinds = 1u << EVENT_SESSION};
    if (store_select_events(log->store, &filter, take_session, log, NULL) == MP_OK && log->sessions_read < log->last)
        log->sessions_read = log->last;
    session = map_get(&log->sessions, &id, sizeof id);
    return session ? session->name : "";
}

size_t trace_log_sessions(struct trace_log *log, uint64_t from, uint64_t to, uint64_t *sessions, size_t most)
{
    size_t at = 0, count = 0;
    (void)trace_log_session(log, 0); /* reads the names */
    for (const struct session *session; count < most && (session = map_next(&log->sessions, &at));)
        if (session->id >= from && session->id <= to)
            sessions[count++] = session->id;
    return count;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static void close_frame(struct opened *opened)
{
    blob_drop(opened->blob);
    *opened = (struct opened){0};
}

static enum mp_error find_ends(struct trace_log *log, struct fault *fault)
{
    struct store_event event;
    log->first = log->last = 0;
    log->since = 0;
    enum mp_error error = store_last_event(log->store, &log->last, fault);
    if (error || log->last == 0)
        return error;
    if ((error = store_find_event(log->store, 0, &event, fault)))
        return error;
    log->first = event.id;
    log->since = event.time;
    return MP_OK;
}

/* The two clocks are read one after the other: without this the same event had another microsecond each time. */
static int64_t in_milliseconds(int64_t time)
{
    return (time + (time < 0 ? -500 : 500)) / 1000 * 1000;
}

/* As local_time_load() does at a start: another boot of the machine had the wall clock's time. */
static enum mp_error find_offset(struct trace_log *log, struct fault *fault)
{
    int64_t boot = 0, offset = 0;
    enum mp_error error = store_get_number(log->store, "time_boot", &boot, fault);
    if (!error)
        error = store_get_number(log->store, "time_offset", &offset, fault);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    bool same = !error && boot != 0 && (uint64_t)boot == log->now.boot;
    log->relay_now = same ? log->now.monotonic + offset : log->now.wall;
    log->offset = in_milliseconds(log->relay_now - log->now.wall);
    return MP_OK;
}

enum mp_error trace_log_refresh(struct trace_log *log, struct moment now, struct fault *fault)
{
    enum mp_error error;
    log->now = now;
    forget_names(log);
    close_frame(&log->opened);
    if (!(error = store_each_topic(log->store, take_topic, log, fault)))
        error = store_each_group(log->store, take_group, log, fault);
    if (!error)
        error = find_offset(log, fault);
    if (!error)
        error = find_ends(log, fault);
    return error == MP_ERR_MEMORY ? fault_memory(fault) : error;
}

static enum mp_error make(struct store *store, bool borrowed, struct moment now, struct trace_log **result,
                          struct fault *fault)
{
    struct trace_log *log = memory_allocate(sizeof *log);
    if (!log)
        return fault_memory(fault);
    log->store = store;
    log->borrowed = borrowed;
    enum mp_error error = trace_log_refresh(log, now, fault);
    if (!error) {
        *result = log;
        return MP_OK;
    }
    log->borrowed = true;
    trace_log_close(log);
    return error;
}

enum mp_error trace_log_open(const char *path, struct moment now, struct trace_log **log, struct fault *fault)
{
    struct store *store;
    enum mp_error error = store_open_reader(path, &store, fault);
    if (!error && (error = make(store, false, now, log, fault)))
        store_close(store);
    return error;
}

enum mp_error trace_log_of_store(struct store *store, struct moment now, struct trace_log **log, struct fault *fault)
{
    return make(store, true, now, log, fault);
}

void trace_log_close(struct trace_log *log)
{
    if (!log)
        return;
    size_t at = 0;
    for (void *session; (session = map_next(&log->sessions, &at));)
        memory_release(session);
    map_free(&log->sessions);
    close_frame(&log->opened);
    forget_names(log);
    if (!log->borrowed)
        store_close(log->store);
    memory_release(log);
}

enum mp_error trace_log_hold(struct trace_log *log, struct fault *fault)
{
    enum mp_error error = store_hold(log->store, fault);
    return error ? error : trace_log_refresh(log, log->now, fault);
}

void trace_log_let_go(struct trace_log *log)
{
    store_let_go(log->store);
}

struct store *trace_log_store(struct trace_log *log)
{
    return log->store;
}

const char *trace_log_path(const struct trace_log *log)
{
    return store_path(log->store);
}

/* ---- times and places ----------------------------------------------------------------------------------------- */

int64_t trace_log_wall(const struct trace_log *log, int64_t time)
{
    return time == 0 ? 0 : time - log->offset;
}

int64_t trace_log_time(const struct trace_log *log, int64_t wall)
{
    int64_t time;
    return wall == 0 || __builtin_add_overflow(wall, log->offset, &time) ? wall : time;
}

int64_t trace_log_now(const struct trace_log *log)
{
    return log->relay_now;
}

uint64_t trace_log_first(const struct trace_log *log)
{
    return log->first;
}

uint64_t trace_log_last(const struct trace_log *log)
{
    return log->last;
}

int64_t trace_log_since(const struct trace_log *log)
{
    return log->since;
}

enum mp_error trace_log_at(struct trace_log *log, int64_t time, uint64_t *id, struct fault *fault)
{
    uint64_t low = log->first, high = log->last + 1; /* times never fall: it is in low..high */
    while (low < high) {
        struct store_event event;
        uint64_t middle = low + (high - low) / 2;
        enum mp_error error = store_find_event(log->store, middle, &event, fault);
        if (error && error != MP_ERR_NOT_FOUND)
            return error;
        if (error || event.time >= time)
            high = middle;
        else
            low = event.id + 1;
    }
    *id = low;
    return MP_OK;
}

enum mp_error trace_log_end(struct trace_log *log, uint32_t id, uint64_t *end, struct fault *fault)
{
    const struct trace_topic *topic = trace_log_topic(log, id);
    struct store_frame frame;
    *end = topic ? topic->end : 0;
    enum mp_error error = store_last_frame(log->store, id, &frame, fault);
    if (error)
        return error == MP_ERR_NOT_FOUND ? MP_OK : error;
    if (frame.first + frame.count > *end)
        *end = frame.first + frame.count;
    return MP_OK;
}

enum mp_error trace_log_each(struct trace_log *log, const struct store_event_filter *filter,
                             enum mp_error (*each)(void *, const struct store_event *), void *context,
                             struct fault *fault)
{
    return store_select_events(log->store, filter, each, context, fault);
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

static enum mp_error open_frame(struct trace_log *log, uint32_t topic, uint64_t offset, struct fault *fault)
{
    struct opened *opened = &log->opened;
    const struct store_frame *row = &opened->row;
    if (opened->topic == topic && offset >= row->first && offset < row->first + row->count)
        return MP_OK;
    close_frame(opened);
    enum mp_error error = store_read_frame(log->store, topic, offset, &opened->row, &opened->blob, fault);
    if (error)
        return error;
    if (row->first > offset) {
        close_frame(opened);
        return MP_ERR_NOT_FOUND;
    }
    if ((error = frame_open(&opened->frame, row->data, row->size, false, fault))) {
        close_frame(opened);
        return error;
    }
    opened->cursor = frame_cursor(&opened->frame);
    opened->topic = topic;
    return MP_OK;
}

/* The message INDEX of the frame that is open. */
static enum mp_error take_message(struct trace_log *log, uint32_t index, struct trace_message *message,
                                  struct fault *fault)
{
    struct opened *opened = &log->opened;
    const struct store_frame *row = &opened->row;
    if (opened->cursor.index > index)
        opened->cursor = frame_cursor(&opened->frame);
    *message =
        (struct trace_message){.time = row->time,
                               .session = row->session,
                               .request = row->request,
                               .target = row->target,
                               .first = row->first,
                               .count = opened->frame.count,
                               .duplicate = row->marks && index < 8 * row->marks_size && bits_get(row->marks, index)};
    if (!frame_skip(&opened->cursor, index - opened->cursor.index) || !frame_next(&opened->cursor, &message->record))
        return fault_set(fault, MP_ERR_DAMAGED, "%s: a frame ends before its messages do", store_path(log->store));
    return MP_OK;
}

enum mp_error trace_log_message(struct trace_log *log, uint32_t topic, uint64_t offset, struct trace_message *message,
                                struct fault *fault)
{
    enum mp_error error = open_frame(log, topic, offset, fault);
    return error ? error : take_message(log, (uint32_t)(offset - log->opened.row.first), message, fault);
}

static enum mp_error open_scheduled(struct trace_log *log, uint64_t id, struct fault *fault)
{
    struct opened *opened = &log->opened;
    struct store_scheduled row;
    if (opened->scheduled == id)
        return MP_OK;
    close_frame(opened);
    enum mp_error error = store_next_scheduled(log->store, id - 1, &row, &opened->blob, fault);
    if (!error && row.id != id)
        error = MP_ERR_NOT_FOUND;
    if (!error)
        error = frame_open(&opened->frame, row.data, row.size, false, fault);
    if (error) {
        close_frame(opened);
        return error;
    }
    opened->row = (struct store_frame){
        .time = row.time, .session = row.session, .request = row.request, .target = row.target, .count = row.count};
    opened->cursor = frame_cursor(&opened->frame);
    opened->scheduled = id;
    return MP_OK;
}

enum mp_error trace_log_scheduled(struct trace_log *log, uint64_t id, uint32_t index, struct trace_message *message,
                                  struct fault *fault)
{
    enum mp_error error = open_scheduled(log, id, fault);
    return error ? error : take_message(log, index, message, fault);
}
