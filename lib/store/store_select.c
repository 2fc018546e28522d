#include "store/private.h"

#include "base/buffer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * Walks over the events that are meant. What does not match is passed over
 * inside SQLite, which then looks at the first columns of a row only; each walk
 * has a statement of its own, since its text follows from what is asked for.
 */

enum { TEXT_BYTES = 8192, LISTED_MOST = 256 };

struct text {
    char bytes[TEXT_BYTES];
    size_t size;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text->bytes + text->size, sizeof text->bytes - text->size, format, arguments);
    va_end(arguments);
    text->size += size > 0 ? (size_t)size : 0;
}

/* COLUMN is one of NUMBERS, or 0: it concerns none. More of them than fit are
 * left to the caller's look. */
static void add_list(struct text *text, const char *column, const uint32_t *numbers, size_t count)
{
    if (count == 0 || count > LISTED_MOST)
        return;
    add(text, " AND %s IN (0", column);
    for (size_t i = 0; i < count; i++)
        add(text, ",%u", (unsigned)numbers[i]);
    add(text, ")");
}

/* Few kinds have an index: with its condition, word by word, SQLite takes it.
 */
static void add_kinds(struct text *text, const struct store_event_filter *filter)
{
    const char *separator = "";
    if (filter->kinds == 0)
        return;
    add(text, " AND kind IN (");
    for (unsigned kind = 0; kind < 32; kind++)
        if (filter->kinds >> kind & 1) {
            add(text, "%s%u", separator, kind);
            separator = ",";
        }
    add(text, ")");
    if ((filter->kinds & ~(uint32_t)STORE_RARE_KINDS) == 0)
        add(text, " AND " STORE_RARE_CONDITION);
}

/* From where: its index, where what is meant is less than a part of what there is: each look from it costs as much. */
static const char *source_of(const struct store_event_filter *filter, bool few)
{
    return !filter->told ? "events" : few ? "events INDEXED BY told_events" : "events NOT INDEXED";
}

static void make_text(struct text *text, const struct store_event_filter *filter, bool few)
{
    add(text, "SELECT %s FROM %s WHERE id > ?1 AND id < ?2",
        filter->light ? "id, kind, topic, first, count, note" : store_event_columns, source_of(filter, few));
    add_kinds(text, filter);
    add_list(text, "topic", filter->topics, filter->topics_count);
    add_list(text, "grp", filter->groups, filter->groups_count);
    if (filter->session)
        add(text, " AND session = ?3");
    if (filter->covers)
        add(text, " AND (first <= ?5 AND first + max(span, count) > ?4 OR kind = %d)", EVENT_GRANTED);
    if (filter->told)
        add(text, " AND " STORE_TOLD_CONDITION);
    add(text, " ORDER BY id%s", filter->newest_first ? " DESC" : "");
}

static bool is_listed(uint32_t number, const uint32_t *numbers, size_t count)
{
    if (count <= LISTED_MOST || number == 0)
        return true;
    for (size_t i = 0; i < count; i++)
        if (numbers[i] == number)
            return true;
    return false;
}

static void bind_ends(sqlite3_stmt *statement, const struct store_event_filter *filter)
{
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)filter->after);
    sqlite3_bind_int64(statement, 2, filter->below ? (sqlite3_int64)filter->below : INT64_MAX);
}

/*
 * Whether it pays to go by the index: to look up a row that it leads to costs what passing over eight of them does. It
 * stops counting when it does not.
 */
static enum mp_error are_few(struct store *store, const struct store_event_filter *filter, bool *few,
                             struct fault *fault)
{
    static const char text[] =
        "WITH enough(rows) AS (SELECT max(0, ifnull(((SELECT max(id) FROM events WHERE id < ?2)"
        " - (SELECT min(id) FROM events WHERE id > ?1)) / 8, 0)))"
        " SELECT (SELECT count(*) FROM (SELECT 1 FROM events INDEXED BY told_events WHERE " STORE_TOLD_CONDITION
        " AND id > ?1 AND id < ?2 LIMIT 1 + (SELECT rows FROM enough))) <= (SELECT rows FROM enough)";
    sqlite3_stmt *statement;
    int result = sqlite3_prepare_v2(store->database, text, -1, &statement, NULL);
    if (result != SQLITE_OK)
        return store_failed(store, result, "look for events", fault);
    bind_ends(statement, filter);
    result = sqlite3_step(statement);
    *few = result == SQLITE_ROW && sqlite3_column_int(statement, 0);
    enum mp_error error = result == SQLITE_ROW ? MP_OK : store_failed(store, result, "look for events", fault);
    sqlite3_finalize(statement);
    return error;
}

static enum mp_error prepare(struct store *store, const struct store_event_filter *filter, struct row *row,
                             struct fault *fault)
{
    bool few = true;
    struct text text = {.size = 0};
    *row = (struct row){.store = store};
    enum mp_error error = filter->told ? are_few(store, filter, &few, fault) : MP_OK;
    if (error)
        return error;
    make_text(&text, filter, few);
    if (text.size >= sizeof text.bytes)
        return fault_set(fault, MP_ERR_INTERNAL, "%s: a question that is too long", store->path);
    int result = sqlite3_prepare_v2(store->database, text.bytes, (int)text.size, &row->statement, NULL);
    if (result != SQLITE_OK)
        return store_failed(store, result, "look for events", fault);
    bind_ends(row->statement, filter);
    if (filter->session)
        sqlite3_bind_int64(row->statement, 3, (sqlite3_int64)filter->session);
    if (filter->covers) {
        uint64_t to = filter->to > filter->offset ? filter->to : filter->offset;
        sqlite3_bind_int64(row->statement, 4, (sqlite3_int64)filter->offset);
        sqlite3_bind_int64(row->statement, 5, (sqlite3_int64)to);
    }
    return MP_OK;
}

static void take_light(sqlite3_stmt *statement, struct store_event *event)
{
    *event = (struct store_event){.id = (uint64_t)sqlite3_column_int64(statement, 0),
                                  .kind = (enum store_event_kind)sqlite3_column_int(statement, 1),
                                  .topic = (uint32_t)sqlite3_column_int64(statement, 2),
                                  .first = (uint64_t)sqlite3_column_int64(statement, 3),
                                  .count = (uint32_t)sqlite3_column_int64(statement, 4)};
    event->span = event->count;
    event->note = sqlite3_column_blob(statement, 5);
    event->note_size = (size_t)sqlite3_column_bytes(statement, 5);
}

enum mp_error store_select_events(struct store *store, const struct store_event_filter *filter,
                                  enum mp_error (*each)(void *, const struct store_event *), void *context,
                                  struct fault *fault)
{
    struct row row;
    enum mp_error error = prepare(store, filter, &row, fault);
    while (!error && row_next(&row, "look for events", &error, fault)) {
        struct store_event event;
        if (filter->light)
            take_light(row.statement, &event);
        else
            store_take_event(&row, &event);
        if ((filter->light || row_fits(&row, "events", &error, fault)) &&
            is_listed(event.topic, filter->topics, filter->topics_count) &&
            is_listed(event.group, filter->groups, filter->groups_count))
            error = each(context, &event);
    }
    sqlite3_finalize(row.statement);
    return error;
}
