#include "store/private.h"

enum mp_error store_put_block(struct store *store, uint32_t group, uint32_t block, const void *data, size_t size,
                              struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_PUT_BLOCK, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)group << 32 | block);
    bind_bytes(&row, data, size);
    bind_checksum(&row);
    return row_put(&row, DIGEST_BLOCKS, (int64_t)((uint64_t)group << 32 | block), "write a block", fault);
}

enum mp_error store_each_block(struct store *store, uint32_t group,
                               enum mp_error (*each)(void *, uint32_t block, const uint8_t *data, size_t size),
                               void *context, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_BLOCK, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)group << 32);
    bind_number(&row, ((uint64_t)group + 1) << 32);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read a group's blocks", &error, fault)) {
        uint64_t id = take_number(&row);
        size_t size;
        const uint8_t *data = take_bytes(&row, &size);
        if (row_fits(&row, "blocks", &error, fault))
            error = each(context, (uint32_t)id, data, size);
        if (error)
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_blocks_group(struct store *store, uint32_t from, uint32_t *group, struct fault *fault)
{
    struct row row;
    if (from > INT32_MAX) /* there is no higher one, and its key would be below all others */
        return MP_ERR_NOT_FOUND;
    if (!row_open(&row, store, SQL_BLOCKS_GROUP, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)from << 32);
    enum mp_error error = MP_ERR_NOT_FOUND;
    if (row_next(&row, "find blocks", &error, fault)) {
        error = MP_OK;
        *group = (uint32_t)(take_number(&row) >> 32);
    }
    return row_end(&row, error);
}

enum mp_error store_add_event(struct store *store, const struct store_event *event, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_ADD_EVENT, fault))
        return row_unopened(fault);
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
    bind_later_number(&row, event->span == event->count ? 0 : event->span);
    bind_later_bytes(&row, event->mask, event->mask_size);
    bind_later_bytes(&row, event->note, event->note_size);
    bind_checksum(&row);
    return row_run(&row, "write an event", fault);
}

void store_take_event(struct row *row, struct store_event *event)
{
    event->id = take_number(row);
    event->kind = (enum store_event_kind)take_number(row);
    event->topic = (uint32_t)take_number(row);
    event->group = (uint32_t)take_number(row);
    event->session = take_number(row);
    event->request = take_number(row);
    event->first = take_number(row);
    event->count = (uint32_t)take_number(row);
    event->attempt = (uint32_t)take_number(row);
    event->time = (int64_t)take_number(row);
    event->due = (int64_t)take_number(row);
    event->lease = take_number(row);
    event->code = (int32_t)take_number(row);
    event->span = (uint32_t)take_later_number(row);
    if (event->span == 0)
        event->span = event->count;
    event->mask = take_later_bytes(row, &event->mask_size);
    event->note = take_later_bytes(row, &event->note_size);
}

enum mp_error store_each_event(struct store *store, uint64_t after,
                               enum mp_error (*each)(void *, const struct store_event *), void *context,
                               struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_EVENT, fault))
        return row_unopened(fault);
    bind_number(&row, after);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read the events", &error, fault)) {
        struct store_event event;
        store_take_event(&row, &event);
        if (row_fits(&row, "events", &error, fault))
            error = each(context, &event);
        if (error)
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_find_event(struct store *store, uint64_t id, struct store_event *event, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_FIRST_EVENT, fault))
        return row_unopened(fault);
    bind_number(&row, id);
    enum mp_error error = MP_ERR_NOT_FOUND;
    if (row_next(&row, "read an event", &error, fault)) {
        error = MP_OK;
        store_take_event(&row, event);
        if (!row_fits(&row, "events", &error, fault))
            error = MP_ERR_DAMAGED;
        event->mask = NULL;
        event->note = NULL;
    }
    return row_end(&row, error);
}

enum mp_error store_sum_events(struct store *store, uint64_t last, uint64_t *bytes, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_SUM_EVENTS, fault))
        return row_unopened(fault);
    bind_number(&row, last);
    enum mp_error error = MP_OK;
    *bytes = 0;
    if (row_next(&row, "count the bytes of events", &error, fault))
        *bytes = take_number(&row) * STORE_EVENT_BYTES + take_number(&row);
    return row_end(&row, error);
}

enum mp_error store_last_event(struct store *store, uint64_t *id, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_LAST_EVENT, fault))
        return row_unopened(fault);
    int result = sqlite3_step(row.statement);
    *id = result == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(row.statement, 0) : 0;
    sqlite3_reset(row.statement);
    return result == SQLITE_ROW ? MP_OK : store_failed(store, result, "read the last event", fault);
}
