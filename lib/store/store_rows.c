#include "store/private.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

void row_bytes(struct row_hash *hash, const void *bytes, size_t size)
{
    row_number(hash, XXH3_64bits(bytes, size));
}

int64_t row_checksum(const struct row_hash *hash)
{
    return (int64_t)XXH3_64bits(hash->columns, hash->count * sizeof hash->columns[0]);
}

/*
 * A statement that is being bound or read, column by column: what is bound or read is hashed as well, and the last
 * column is the checksum.
 */
struct row {
    struct store *store;
    sqlite3_stmt *statement;
    int column;
    struct row_hash hash;
};

static bool row_open(struct row *row, struct store *store, enum statement which, struct fault *fault)
{
    *row = (struct row){.store = store, .statement = store_statement(store, which, fault)};
    return row->statement != NULL;
}

static void bind_number(struct row *row, uint64_t value)
{
    sqlite3_bind_int64(row->statement, ++row->column, (int64_t)value);
    row_number(&row->hash, value);
}

static void bind_text(struct row *row, const char *text)
{
    size_t size = strlen(text);
    sqlite3_bind_text(row->statement, ++row->column, text, (int)size, SQLITE_STATIC);
    row_bytes(&row->hash, text, size);
}

static void bind_blob(struct row *row, const void *data, size_t size)
{
    sqlite3_bind_blob64(row->statement, ++row->column, data, size, SQLITE_STATIC);
}

static void bind_checksum(struct row *row)
{
    sqlite3_bind_int64(row->statement, ++row->column, row_checksum(&row->hash));
}

static enum mp_error row_run(struct row *row, const char *doing, struct fault *fault)
{
    int result = sqlite3_step(row->statement);
    sqlite3_reset(row->statement);
    return result == SQLITE_DONE ? MP_OK : store_failed(row->store, result, doing, fault);
}

static uint64_t take_number(struct row *row)
{
    uint64_t value = (uint64_t)sqlite3_column_int64(row->statement, row->column++);
    row_number(&row->hash, value);
    return value;
}

static const char *take_text(struct row *row)
{
    const char *text = (const char *)sqlite3_column_text(row->statement, row->column);
    int size = sqlite3_column_bytes(row->statement, row->column++);
    row_bytes(&row->hash, text ? text : "", (size_t)size);
    return text ? text : "";
}

static bool checksum_fits(struct row *row)
{
    return sqlite3_column_int64(row->statement, row->column++) == row_checksum(&row->hash);
}

/* Whether the row that was taken fits its checksum, its next column; *ERROR says it otherwise. */
static bool row_fits(struct row *row, const char *table, enum mp_error *error, struct fault *fault)
{
    if (checksum_fits(row))
        return true;
    *error = fault_set(fault, MP_ERR_DAMAGED, "%s: row %lld of %s is damaged: its checksum does not fit",
                       row->store->path, (long long)sqlite3_column_int64(row->statement, 0), table);
    return false;
}

static enum mp_error no_statement(const struct fault *fault)
{
    return fault && fault->code ? fault->code : MP_ERR_IO;
}

/* The next row of a walk, to be taken column by column; false at the end, and with *ERROR when it cannot be had. */
static bool row_next(struct row *row, const char *doing, enum mp_error *error, struct fault *fault)
{
    int result = sqlite3_step(row->statement);
    row->column = 0;
    row->hash.count = 0;
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        *error = store_failed(row->store, result, doing, fault);
    return result == SQLITE_ROW;
}

static enum mp_error row_end(const struct row *row, enum mp_error error)
{
    sqlite3_reset(row->statement);
    return error;
}

enum mp_error store_get_number(struct store *store, const char *name, int64_t *value, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_GET_NUMBER, fault))
        return no_statement(fault);
    bind_text(&row, name);
    int result = sqlite3_step(row.statement);
    bool fits = true;
    row.column = 0;
    if (result == SQLITE_ROW) {
        *value = (int64_t)take_number(&row);
        fits = checksum_fits(&row);
    }
    sqlite3_reset(row.statement);
    if (result == SQLITE_DONE)
        return MP_ERR_NOT_FOUND;
    if (!fits)
        return fault_set(fault, MP_ERR_DAMAGED, "%s: row %s of numbers is damaged: its checksum does not fit",
                         store->path, name);
    return result == SQLITE_ROW ? MP_OK : store_failed(store, result, "read a number", fault);
}

enum mp_error store_put_number(struct store *store, const char *name, int64_t value, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_PUT_NUMBER, fault))
        return no_statement(fault);
    bind_text(&row, name);
    bind_number(&row, (uint64_t)value);
    bind_checksum(&row);
    return row_run(&row, "write a number", fault);
}

enum mp_error store_put_topic(struct store *store, const struct store_topic *topic, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_PUT_TOPIC, fault))
        return no_statement(fault);
    bind_number(&row, topic->id);
    bind_text(&row, topic->name);
    bind_number(&row, topic->first);
    bind_number(&row, topic->end);
    bind_number(&row, (uint64_t)topic->created);
    bind_checksum(&row);
    return row_run(&row, "write a topic", fault);
}

enum mp_error store_each_topic(struct store *store, enum mp_error (*each)(void *, const struct store_topic *),
                               void *context, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_TOPIC, fault))
        return no_statement(fault);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read the topics", &error, fault)) {
        struct store_topic topic;
        topic.id = (uint32_t)take_number(&row);
        topic.name = take_text(&row);
        topic.first = take_number(&row);
        topic.end = take_number(&row);
        topic.created = (int64_t)take_number(&row);
        if (!row_fits(&row, "topics", &error, fault) || (error = each(context, &topic)))
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_put_pattern(struct store *store, const struct store_pattern *pattern, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_PUT_PATTERN, fault))
        return no_statement(fault);
    bind_number(&row, pattern->id);
    bind_text(&row, pattern->pattern);
    bind_text(&row, pattern->group);
    bind_number(&row, (uint64_t)pattern->created);
    bind_checksum(&row);
    return row_run(&row, "write a pattern", fault);
}

enum mp_error store_each_pattern(struct store *store, enum mp_error (*each)(void *, const struct store_pattern *),
                                 void *context, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_PATTERN, fault))
        return no_statement(fault);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read the patterns", &error, fault)) {
        struct store_pattern pattern;
        pattern.id = (uint32_t)take_number(&row);
        pattern.pattern = take_text(&row);
        pattern.group = take_text(&row);
        pattern.created = (int64_t)take_number(&row);
        if (!row_fits(&row, "patterns", &error, fault) || (error = each(context, &pattern)))
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_put_group(struct store *store, const struct store_group *group, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_PUT_GROUP, fault))
        return no_statement(fault);
    bind_number(&row, group->id);
    bind_number(&row, group->topic);
    bind_text(&row, group->name);
    bind_number(&row, group->pattern);
    bind_number(&row, group->start);
    bind_number(&row, group->floor);
    bind_number(&row, group->frontier);
    bind_number(&row, group->dead);
    bind_number(&row, group->event);
    bind_number(&row, (uint64_t)group->created);
    bind_checksum(&row);
    return row_run(&row, "write a group", fault);
}

enum mp_error store_each_group(struct store *store, enum mp_error (*each)(void *, const struct store_group *),
                               void *context, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_GROUP, fault))
        return no_statement(fault);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read the groups", &error, fault)) {
        struct store_group group;
        group.id = (uint32_t)take_number(&row);
        group.topic = (uint32_t)take_number(&row);
        group.name = take_text(&row);
        group.pattern = (uint32_t)take_number(&row);
        group.start = take_number(&row);
        group.floor = take_number(&row);
        group.frontier = take_number(&row);
        group.dead = take_number(&row);
        group.event = take_number(&row);
        group.created = (int64_t)take_number(&row);
        if (!row_fits(&row, "groups", &error, fault) || (error = each(context, &group)))
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_put_session(struct store *store, const struct store_session *session, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_PUT_SESSION, fault))
        return no_statement(fault);
    bind_number(&row, session->id);
    bind_number(&row, (uint64_t)session->created);
    bind_number(&row, (uint64_t)session->used);
    for (unsigned lane = 0; lane < 3; lane++)
        bind_number(&row, session->numbers[lane]);
    for (unsigned lane = 0; lane < 3; lane++)
        bind_number(&row, session->results[lane]);
    for (unsigned lane = 0; lane < 2; lane++)
        bind_number(&row, session->counts[lane]);
    bind_checksum(&row);
    return row_run(&row, "write a session", fault);
}

enum mp_error store_delete_session(struct store *store, uint64_t id, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_DELETE_SESSION, fault))
        return no_statement(fault);
    bind_number(&row, id);
    return row_run(&row, "delete a session", fault);
}

enum mp_error store_each_session(struct store *store, enum mp_error (*each)(void *, const struct store_session *),
                                 void *context, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_SESSION, fault))
        return no_statement(fault);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read the sessions", &error, fault)) {
        struct store_session session = {0};
        session.id = take_number(&row);
        session.created = (int64_t)take_number(&row);
        session.used = (int64_t)take_number(&row);
        for (unsigned lane = 0; lane < 3; lane++)
            session.numbers[lane] = take_number(&row);
        for (unsigned lane = 0; lane < 3; lane++)
            session.results[lane] = take_number(&row);
        for (unsigned lane = 0; lane < 2; lane++)
            session.counts[lane] = (uint32_t)take_number(&row);
        if (!row_fits(&row, "sessions", &error, fault) || (error = each(context, &session)))
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_put_block(struct store *store, uint32_t group, uint32_t block, const void *data, size_t size,
                              struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_PUT_BLOCK, fault))
        return no_statement(fault);
    bind_number(&row, (uint64_t)group << 32 | block);
    bind_blob(&row, data, size);
    row_bytes(&row.hash, data, size);
    bind_checksum(&row);
    return row_run(&row, "write a block", fault);
}

enum mp_error store_delete_blocks(struct store *store, uint32_t group, uint32_t block, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_DELETE_BLOCKS, fault))
        return no_statement(fault);
    bind_number(&row, (uint64_t)group << 32);
    bind_number(&row, (uint64_t)group << 32 | block);
    return row_run(&row, "delete blocks", fault);
}

enum mp_error store_each_block(struct store *store, uint32_t group,
                               enum mp_error (*each)(void *, uint32_t block, const uint8_t *data, size_t size),
                               void *context, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_BLOCK, fault))
        return no_statement(fault);
    bind_number(&row, (uint64_t)group << 32);
    bind_number(&row, ((uint64_t)group + 1) << 32);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read a group's blocks", &error, fault)) {
        uint64_t id = take_number(&row);
        const void *data = sqlite3_column_blob(row.statement, row.column);
        size_t size = (size_t)sqlite3_column_bytes(row.statement, row.column++);
        row_bytes(&row.hash, data ? data : "", size);
        if (!row_fits(&row, "blocks", &error, fault) || (error = each(context, (uint32_t)id, data, size)))
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_add_event(struct store *store, const struct store_event *event, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_ADD_EVENT, fault))
        return no_statement(fault);
    bind_number(&row, event->id);
    bind_number(&row, (uint64_t)event->kind);
    bind_number(&row, event->topic);
    bind_number(&row, event->group);
    bind_number(&row, event->session);
    bind_number(&row, event->request);
    bind_number(&row, event->first);
    bind_number(&row, event->count);
    bind_number(&row, event->attempt);
    bind_number(&row, (uint64_t)event->time);
    bind_number(&row, (uint64_t)event->due);
    bind_number(&row, event->lease);
    bind_number(&row, (uint64_t)event->code);
    bind_checksum(&row);
    return row_run(&row, "write an event", fault);
}

enum mp_error store_each_event(struct store *store, uint64_t after,
                               enum mp_error (*each)(void *, const struct store_event *), void *context,
                               struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_EVENT, fault))
        return no_statement(fault);
    bind_number(&row, after);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read the events", &error, fault)) {
        struct store_event event;
        event.id = take_number(&row);
        event.kind = (enum store_event_kind)take_number(&row);
        event.topic = (uint32_t)take_number(&row);
        event.group = (uint32_t)take_number(&row);
        event.session = take_number(&row);
        event.request = take_number(&row);
        event.first = take_number(&row);
        event.count = (uint32_t)take_number(&row);
        event.attempt = (uint32_t)take_number(&row);
        event.time = (int64_t)take_number(&row);
        event.due = (int64_t)take_number(&row);
        event.lease = take_number(&row);
        event.code = (int32_t)take_number(&row);
        if (!row_fits(&row, "events", &error, fault) || (error = each(context, &event)))
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_last_event(struct store *store, uint64_t *id, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_LAST_EVENT, fault))
        return no_statement(fault);
    int result = sqlite3_step(row.statement);
    *id = result == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(row.statement, 0) : 0;
    sqlite3_reset(row.statement);
    return result == SQLITE_ROW ? MP_OK : store_failed(store, result, "read the last event", fault);
}
