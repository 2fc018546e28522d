#include "store/private.h"

#include "message/frame.h"

#include <string.h>

/*
 * The schedule: publications that are not due yet. The key is the time and a number within its microsecond, so that the
 * next one due is the first row; who finds a microsecond full (1,024 rows) goes to the next one.
 */
enum { NUMBER_BITS = STORE_DUE_BITS, NUMBERS = 1 << NUMBER_BITS };
#define DUE_MAX ((INT64_C(1) << (63 - NUMBER_BITS)) - 2)
_Static_assert(STORE_DUE_MAX < DUE_MAX - 100000, "a crowd at the last moment needs some of them");

/* The key behind the last one that is taken at or after DUE, within its microsecond; its end when that is full. */
static enum mp_error free_key(struct store *store, int64_t due, int64_t *key, struct fault *fault)
{
    struct row row;
    int64_t low = due << NUMBER_BITS;
    if (!row_open(&row, store, SQL_LAST_SCHEDULED, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)low);
    bind_number(&row, (uint64_t)(low + NUMBERS));
    enum mp_error error = MP_OK;
    *key = low;
    if (row_next(&row, "find a place in the schedule", &error, fault) &&
        sqlite3_column_type(row.statement, 0) != SQLITE_NULL)
        *key = sqlite3_column_int64(row.statement, 0) + 1;
    return row_end(&row, error);
}

/*
 * The first free key for DUE. A crowd at one time fills one microsecond after another, so its end is found by halving,
 * and is kept for the next of them.
 */
static enum mp_error place(struct store *store, int64_t due, int64_t *key, struct fault *fault)
{
    int64_t from = store->scheduled_due == due ? store->scheduled_next >> NUMBER_BITS : due;
    int64_t full = from - 1, open = from, step = 1;
    enum mp_error error;
    for (;; step *= 2) {
        if ((error = free_key(store, open, key, fault)))
            return error;
        if (*key >> NUMBER_BITS == open)
            break;
        full = open;
        if (open > DUE_MAX - step)
            return fault_set(fault, MP_ERR_FULL, "%s: too many publications are scheduled for one time", store->path);
        open += step;
    }
    while (open - full > 1) {
        int64_t middle = full + (open - full) / 2, found;
        if ((error = free_key(store, middle, &found, fault)))
            return error;
        if (found >> NUMBER_BITS == middle) {
            open = middle;
            *key = found;
        } else {
            full = middle;
        }
    }
    return MP_OK;
}

/* The frame's own checksum stands for its bytes, as in the table of frames. */
static uint64_t own_checksum(const uint8_t *data, size_t size)
{
    return size >= FRAME_HEADER ? load_u64(data + FRAME_HEADER - 8) : 0;
}

enum mp_error store_add_scheduled(struct store *store, struct store_scheduled *scheduled, struct fault *fault)
{
    struct row row;
    int64_t key;
    if (scheduled->due < 0 || scheduled->due > STORE_DUE_MAX)
        return fault_set(fault, MP_ERR_INVALID, "a time that the schedule cannot hold");
    enum mp_error error = place(store, scheduled->due, &key, fault);
    if (error)
        return error;
    if (!row_open(&row, store, SQL_ADD_SCHEDULED, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)key);
    bind_number(&row, scheduled->topic);
    bind_number(&row, scheduled->session);
    bind_number(&row, scheduled->request);
    bind_number(&row, scheduled->count);
    bind_number(&row, scheduled->target);
    bind_number(&row, (uint64_t)scheduled->time);
    row_number(&row.hash, scheduled->size);
    row_number(&row.hash, own_checksum(scheduled->data, scheduled->size));
    bind_checksum(&row);
    sqlite3_bind_blob64(row.statement, row.column + 1, scheduled->data, scheduled->size, SQLITE_STATIC);
    digest_added(store, DIGEST_SCHEDULE, row.checksum);
    if ((error = row_run(&row, "schedule a publication", fault)))
        return error;
    store->scheduled_due = scheduled->due;
    store->scheduled_next = key + 1;
    scheduled->id = (uint64_t)key;
    return MP_OK;
}

static void take_columns(struct row *row, struct store_scheduled *scheduled)
{
    *scheduled = (struct store_scheduled){.id = take_number(row)};
    scheduled->due = (int64_t)(scheduled->id >> NUMBER_BITS);
    scheduled->topic = (uint32_t)take_number(row);
    scheduled->session = take_number(row);
    scheduled->request = take_number(row);
    scheduled->count = (uint32_t)take_number(row);
    scheduled->target = (uint32_t)take_number(row);
    scheduled->time = (int64_t)take_number(row);
    scheduled->size = (size_t)sqlite3_column_int64(row->statement, row->column + 1);
}

/*
 * Takes a row: its columns, its checksum, the length of its frame and, as the last column, the frame or eight bytes of
 * it that are its own checksum.
 */
static bool take_scheduled(struct row *row, struct store_scheduled *scheduled, bool whole, enum mp_error *error,
                           struct fault *fault)
{
    take_columns(row, scheduled);
    int checksum = row->column;
    const uint8_t *bytes = sqlite3_column_blob(row->statement, checksum + 2);
    size_t size = bytes ? (size_t)sqlite3_column_bytes(row->statement, checksum + 2) : 0;
    uint64_t own = whole ? own_checksum(bytes, size) : size == 8 ? load_u64(bytes) : 0;
    row_number(&row->hash, scheduled->size);
    row_number(&row->hash, own);
    if (whole)
        scheduled->data = bytes;
    return row_fits(row, "schedule", error, fault);
}

enum mp_error store_next_scheduled(struct store *store, uint64_t after, struct store_scheduled *scheduled,
                                   struct blob **blob, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_NEXT_SCHEDULED, fault))
        return row_unopened(fault);
    bind_number(&row, after);
    enum mp_error error = MP_ERR_NOT_FOUND;
    if (row_next(&row, "read the schedule", &error, fault)) {
        error = MP_OK;
        uint8_t *bytes;
        if (take_scheduled(&row, scheduled, true, &error, fault)) {
            *blob = blob_make(scheduled->size, &bytes);
            if (*blob)
                scheduled->data = memcpy(bytes, scheduled->data, scheduled->size);
            else
                error = fault_memory(fault);
        } else {
            error = MP_ERR_DAMAGED;
        }
    }
    return row_end(&row, error);
}

enum mp_error store_find_scheduled(struct store *store, uint64_t after, struct store_scheduled *scheduled,
                                   struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_FIND_SCHEDULED, fault))
        return row_unopened(fault);
    bind_number(&row, after);
    enum mp_error error = MP_ERR_NOT_FOUND;
    if (row_next(&row, "read the schedule", &error, fault)) {
        error = MP_OK;
        take_columns(&row, scheduled);
    }
    return row_end(&row, error);
}

enum mp_error store_each_scheduled(struct store *store, uint64_t after,
                                   enum mp_error (*each)(void *, const struct store_scheduled *), void *context,
                                   struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_SCHEDULED, fault))
        return row_unopened(fault);
    bind_number(&row, after);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read the schedule", &error, fault)) {
        struct store_scheduled scheduled;
        if (take_scheduled(&row, &scheduled, false, &error, fault))
            error = each(context, &scheduled);
        if (error)
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_count_scheduled(struct store *store, uint64_t *rows, uint64_t *messages, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_COUNT_SCHEDULED, fault))
        return row_unopened(fault);
    enum mp_error error = MP_OK;
    *rows = *messages = 0;
    if (row_next(&row, "count the schedule", &error, fault)) {
        *rows = take_number(&row);
        *messages = take_number(&row);
    }
    return row_end(&row, error);
}
