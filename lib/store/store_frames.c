#include "store/private.h"

#include "message/frame.h"

/*
 * A frame carries a checksum of its own bytes; the row's covers that one together with the columns, so that storing
 * and reading a frame need not hash it a second time. Who reads the bytes checks the frame's own.
 */
static int64_t row_checksum_of(const struct store_frame *frame, uint64_t own)
{
    struct row_hash hash = {.count = 0};
    row_number(&hash, (uint64_t)store_key(frame->topic, frame->first));
    row_number(&hash, frame->count);
    row_number(&hash, frame->session);
    row_number(&hash, frame->request);
    row_number(&hash, (uint64_t)frame->time);
    row_number(&hash, frame->size);
    row_number(&hash, own);
    row_later_number(&hash, 1, frame->target);
    row_later_bytes(&hash, 2, frame->marks, frame->marks_size);
    return row_checksum(&hash);
}

static int64_t frame_checksum(const struct store_frame *frame)
{
    return row_checksum_of(frame, frame->size >= FRAME_HEADER ? load_u64(frame->data + FRAME_HEADER - 8) : 0);
}

enum mp_error store_add_frame(struct store *store, const struct store_frame *frame, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_ADD_FRAME, fault))
        return row_unopened(fault);
    sqlite3_stmt *statement = row.statement;
    sqlite3_bind_int64(statement, 1, store_key(frame->topic, frame->first));
    sqlite3_bind_int64(statement, 2, frame->count);
    sqlite3_bind_int64(statement, 3, (int64_t)frame->session);
    sqlite3_bind_int64(statement, 4, (int64_t)frame->request);
    sqlite3_bind_int64(statement, 5, frame->time);
    sqlite3_bind_int64(statement, 6, frame_checksum(frame));
    sqlite3_bind_int64(statement, 7, frame->target);
    if (frame->marks_size > 0)
        sqlite3_bind_blob64(statement, 8, frame->marks, frame->marks_size, SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 9, frame->data, frame->size, SQLITE_STATIC);
    return row_run(&row, "store a frame", fault);
}

/* A number that no row has fits no checksum either. */
static uint32_t narrow(int64_t value)
{
    return value < 0 || value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

/* Takes the columns of a row of frames, in the order of the SQL_FRAME statements. */
static void take_frame(sqlite3_stmt *statement, struct store_frame *frame, int64_t *checksum)
{
    uint64_t key = (uint64_t)sqlite3_column_int64(statement, 0);
    *frame = (struct store_frame){
        .topic = (uint32_t)(key >> STORE_OFFSET_BITS),
        .first = key & STORE_OFFSET_MASK,
        .count = narrow(sqlite3_column_int64(statement, 1)),
        .session = (uint64_t)sqlite3_column_int64(statement, 2),
        .request = (uint64_t)sqlite3_column_int64(statement, 3),
        .time = sqlite3_column_int64(statement, 4),
        .size = (size_t)sqlite3_column_int64(statement, 6),
        .target = narrow(sqlite3_column_int64(statement, 7)),
        .marks_size = (size_t)sqlite3_column_int64(statement, 8),
    };
    if (checksum)
        *checksum = sqlite3_column_int64(statement, 5);
}

static enum mp_error frame_damaged(struct store *store, const struct store_frame *frame, struct fault *fault)
{
    store->broken = true;
    return fault_set(fault, MP_ERR_DAMAGED, "%s: the frame of offset %llu in topic number %u is damaged", store->path,
                     (unsigned long long)frame->first, frame->topic);
}

enum mp_error store_each_frame(struct store *store, uint32_t topic, uint64_t first,
                               enum mp_error (*each)(void *, const struct store_frame *), void *context,
                               struct fault *fault)
{
    sqlite3_stmt *statement = store_statement(store, SQL_EACH_FRAME, fault);
    if (!statement)
        return row_unopened(fault);
    sqlite3_bind_int64(statement, 1, store_key(topic, first));
    sqlite3_bind_int64(statement, 2, store_key(topic + 1, 0));
    enum mp_error error = MP_OK;
    int result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct store_frame frame;
        int64_t checksum;
        take_frame(statement, &frame, &checksum);
        frame.marks = sqlite3_column_blob(statement, 9);
        frame.marks_size = frame.marks ? (size_t)sqlite3_column_bytes(statement, 9) : 0;
        /* The statement's last column is the frame's own checksum: its bytes need not be read for that. */
        const uint8_t *own = sqlite3_column_blob(statement, 10);
        bool whole = frame.size >= FRAME_HEADER && own && sqlite3_column_bytes(statement, 10) == 8;
        if (frame.count == 0 || row_checksum_of(&frame, whole ? load_u64(own) : 0) != checksum)
            error = row_damaged(store, "frames", sqlite3_column_int64(statement, 0), NULL)
                        ? MP_OK
                        : frame_damaged(store, &frame, fault);
        else
            error = each(context, &frame);
        if (error)
            break;
    }
    sqlite3_reset(statement);
    if (error)
        return error;
    return result == SQLITE_DONE ? MP_OK : store_failed(store, result, "read frames", fault);
}

/* Runs WHICH with the keys LOW and HIGH and takes its one row, if there is one. */
static enum mp_error find_frame(struct store *store, enum statement which, int64_t low, int64_t high,
                                struct store_frame *frame, int64_t *checksum, struct fault *fault)
{
    sqlite3_stmt *statement = store_statement(store, which, fault);
    if (!statement)
        return row_unopened(fault);
    sqlite3_bind_int64(statement, 1, low);
    sqlite3_bind_int64(statement, 2, high);
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        take_frame(statement, frame, checksum);
    sqlite3_reset(statement);
    if (result == SQLITE_DONE)
        return MP_ERR_NOT_FOUND;
    if (result != SQLITE_ROW)
        return store_failed(store, result, "find a frame", fault);
    return frame->count > 0 ? MP_OK : frame_damaged(store, frame, fault); /* who walks by counts would not get on */
}

static enum mp_error locate(struct store *store, uint32_t topic, uint64_t offset, struct store_frame *frame,
                            int64_t *checksum, struct fault *fault)
{
    enum mp_error error =
        find_frame(store, SQL_FRAME_AT, store_key(topic, 0), store_key(topic, offset), frame, checksum, fault);
    if (!error && offset - frame->first < frame->count)
        return MP_OK;
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    return find_frame(store, SQL_FRAME_AFTER, store_key(topic, offset), store_key(topic + 1, 0), frame, checksum,
                      fault);
}

enum mp_error store_find_frame(struct store *store, uint32_t topic, uint64_t offset, struct store_frame *frame,
                               struct fault *fault)
{
    return locate(store, topic, offset, frame, NULL, fault);
}

enum mp_error store_last_frame(struct store *store, uint32_t topic, struct store_frame *frame, struct fault *fault)
{
    return find_frame(store, SQL_FRAME_LAST, store_key(topic, 0), store_key(topic + 1, 0), frame, NULL, fault);
}

/* Reading a blob by its handle goes straight from SQLite's pages into our bytes. */
static enum mp_error read_column(struct store *store, const char *column, const struct store_frame *frame,
                                 uint8_t *bytes, size_t size, struct fault *fault)
{
    sqlite3_blob *handle = NULL;
    int code =
        sqlite3_blob_open(store->database, "main", "frames", column, store_key(frame->topic, frame->first), 0, &handle);
    if (code == SQLITE_OK && (size_t)sqlite3_blob_bytes(handle) != size)
        code = SQLITE_CORRUPT;
    if (code == SQLITE_OK)
        code = sqlite3_blob_read(handle, bytes, (int)size, 0);
    sqlite3_blob_close(handle);
    return code == SQLITE_OK ? MP_OK : store_failed(store, code, "read a frame", fault);
}

enum mp_error store_read_frame(struct store *store, uint32_t topic, uint64_t offset, struct store_frame *frame,
                               struct blob **result, struct fault *fault)
{
    int64_t checksum;
    enum mp_error error = locate(store, topic, offset, frame, &checksum, fault);
    if (error)
        return error;
    uint8_t *bytes;
    struct blob *blob = blob_make(frame->size + frame->marks_size, &bytes);
    if (!blob)
        return fault_memory(fault);
    error = read_column(store, "frame", frame, bytes, frame->size, fault);
    if (!error && frame->marks_size > 0)
        error = read_column(store, "marks", frame, bytes + frame->size, frame->marks_size, fault);
    frame->data = bytes;
    frame->marks = frame->marks_size > 0 ? bytes + frame->size : NULL;
    if (!error && frame_checksum(frame) != checksum)
        error = frame_damaged(store, frame, fault);
    if (error) {
        blob_drop(blob);
        return error;
    }
    *result = blob;
    return MP_OK;
}

enum mp_error store_list_frames(struct store *store, uint32_t topic, uint64_t first, uint64_t below,
                                enum mp_error (*each)(void *, const struct store_frame *), void *context,
                                struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_LIST_FRAMES, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)store_key(topic, first));
    bind_number(&row, (uint64_t)store_key(topic, below));
    enum mp_error error = MP_OK;
    while (!error && row_next(&row, "list frames", &error, fault)) {
        struct store_frame frame;
        take_frame(row.statement, &frame, NULL);
        error = each(context, &frame);
    }
    return row_end(&row, error);
}

enum mp_error store_sum_frames(struct store *store, uint32_t topic, uint64_t first, uint64_t *bytes,
                               struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_SUM_FRAMES, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)store_key(topic, first));
    bind_number(&row, (uint64_t)store_key(topic + 1, 0));
    enum mp_error error = MP_OK;
    *bytes = 0;
    if (row_next(&row, "count the bytes of frames", &error, fault))
        *bytes = take_number(&row);
    return row_end(&row, error);
}

/* The lowest topic at or above FROM that has hashes. */
static enum mp_error hashes_topic(struct store *store, uint32_t from, uint32_t *topic, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_HASHES_TOPIC, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)store_key(from, 0));
    enum mp_error error = MP_ERR_NOT_FOUND;
    if (row_next(&row, "find hashes", &error, fault)) {
        error = MP_OK;
        *topic = (uint32_t)(take_number(&row) >> STORE_OFFSET_BITS);
    }
    return row_end(&row, error);
}

enum mp_error store_messages_topic(struct store *store, uint32_t from, uint32_t *topic, struct fault *fault)
{
    struct store_frame frame;
    uint32_t other = 0;
    if (from >> (63 - STORE_OFFSET_BITS)) /* there is no higher one, and its key would be below all others */
        return MP_ERR_NOT_FOUND;
    enum mp_error error = find_frame(store, SQL_FRAME_AFTER, store_key(from, 0), INT64_MAX, &frame, NULL, fault);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    enum mp_error hashes = hashes_topic(store, from, &other, fault);
    if (hashes && (error || hashes != MP_ERR_NOT_FOUND))
        return hashes;
    *topic = !error && (hashes || frame.topic < other) ? frame.topic : other;
    return MP_OK;
}
