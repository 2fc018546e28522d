#include "store/private.h"

/*
 * What goes in great numbers (frames, events, hashes) goes in steps: each call deletes a few of the oldest rows, so that
 * no turn is long because of it.
 */

/* Deletes the one row of WHICH with the key ID; one that is not there is fine. */
static enum mp_error delete_row(struct store *store, enum statement which, uint64_t id, const char *doing,
                                struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, which, fault))
        return row_unopened(fault);
    bind_number(&row, id);
    return row_run(&row, doing, fault);
}

/* The same in a table with a digest. */
static enum mp_error delete_summed(struct store *store, enum statement which, enum digest digest, uint64_t id,
                                   const char *doing, struct fault *fault)
{
    enum mp_error error = digest_removing(store, digest, (int64_t)id, (int64_t)id, fault);
    return error ? error : delete_row(store, which, id, doing, fault);
}

/* Deletes the rows of WHICH from LOW on to HIGH (the statement says whether that one goes, too). */
static enum mp_error delete_range(struct store *store, enum statement which, int64_t low, int64_t high,
                                  const char *doing, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, which, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)low);
    bind_number(&row, (uint64_t)high);
    return row_run(&row, doing, fault);
}

enum mp_error store_delete_topic(struct store *store, uint32_t id, struct fault *fault)
{
    return delete_summed(store, SQL_DELETE_TOPIC, DIGEST_TOPICS, id, "delete a topic", fault);
}

enum mp_error store_delete_pattern(struct store *store, uint32_t id, struct fault *fault)
{
    return delete_summed(store, SQL_DELETE_PATTERN, DIGEST_PATTERNS, id, "delete a pattern", fault);
}

enum mp_error store_delete_session(struct store *store, uint64_t id, struct fault *fault)
{
    return delete_summed(store, SQL_DELETE_SESSION, DIGEST_SESSIONS, id, "delete a session", fault);
}

enum mp_error store_delete_scheduled(struct store *store, uint64_t id, struct fault *fault)
{
    return delete_summed(store, SQL_DELETE_SCHEDULED, DIGEST_SCHEDULE, id, "delete a scheduled publication", fault);
}

/* Those with keys from LOW on and below HIGH. */
static enum mp_error delete_blocks(struct store *store, int64_t low, int64_t high, struct fault *fault)
{
    enum mp_error error = digest_removing(store, DIGEST_BLOCKS, low, high - 1, fault);
    return error ? error : delete_range(store, SQL_DELETE_BLOCKS, low, high, "delete blocks", fault);
}

enum mp_error store_delete_blocks(struct store *store, uint32_t group, uint32_t block, struct fault *fault)
{
    return delete_blocks(store, (int64_t)((uint64_t)group << 32), (int64_t)((uint64_t)group << 32 | block), fault);
}

enum mp_error store_delete_group(struct store *store, uint32_t id, struct fault *fault)
{
    enum mp_error error = delete_summed(store, SQL_DELETE_GROUP, DIGEST_GROUPS, id, "delete a group", fault);
    return error ? error
                 : delete_blocks(store, (int64_t)((uint64_t)id << 32), (int64_t)(((uint64_t)id + 1) << 32), fault);
}

enum mp_error store_delete_events(struct store *store, uint64_t below, uint32_t most, struct store_deleted *deleted,
                                  struct fault *fault)
{
    struct row row;
    *deleted = (struct store_deleted){0};
    if (!row_open(&row, store, SQL_EVENTS_BELOW, fault))
        return row_unopened(fault);
    bind_number(&row, below);
    bind_number(&row, most);
    enum mp_error error = MP_OK;
    uint64_t last = 0;
    if (row_next(&row, "find old events", &error, fault)) {
        last = take_number(&row);
        deleted->rows = (uint32_t)take_number(&row);
        deleted->bytes = take_number(&row) + (uint64_t)deleted->rows * STORE_EVENT_BYTES;
        deleted->end = last + 1;
    }
    row_end(&row, error);
    if (error || deleted->rows == 0 ||
        (error = store_put_number(store, STORE_EVENTS_FIRST, (int64_t)deleted->end, fault)))
        return error;
    return delete_row(store, SQL_DELETE_EVENTS, last, "delete events", fault);
}

enum mp_error store_delete_event(struct store *store, uint64_t id, struct fault *fault)
{
    return delete_row(store, SQL_DELETE_EVENT, id, "delete an event", fault);
}

enum mp_error store_delete_frames(struct store *store, uint32_t topic, uint64_t below, uint32_t most, uint64_t bytes,
                                  struct store_deleted *deleted, struct fault *fault)
{
    struct row row;
    *deleted = (struct store_deleted){0};
    if (!row_open(&row, store, SQL_FRAMES_BELOW, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)store_key(topic, 0));
    bind_number(&row, (uint64_t)store_key(topic, below));
    bind_number(&row, most);
    enum mp_error error = MP_OK;
    while (deleted->bytes < bytes && row_next(&row, "find old frames", &error, fault)) {
        uint64_t first = take_number(&row) & STORE_OFFSET_MASK, end = first + take_number(&row);
        if (end > below)
            break;
        deleted->rows++;
        deleted->bytes += take_number(&row);
        deleted->end = end;
    }
    row_end(&row, error);
    if (error || deleted->rows == 0)
        return error;
    return delete_range(store, SQL_DELETE_FRAMES, store_key(topic, 0), store_key(topic, deleted->end), "delete frames",
                        fault);
}

enum mp_error store_delete_frame(struct store *store, uint32_t topic, uint64_t first, struct fault *fault)
{
    return delete_range(store, SQL_DELETE_FRAMES, store_key(topic, first), store_key(topic, first) + 1,
                        "delete a frame", fault);
}

enum mp_error store_delete_hashes(struct store *store, uint32_t topic, int64_t before, uint32_t most, uint32_t *deleted,
                                  struct fault *fault)
{
    struct row row;
    *deleted = 0;
    if (!row_open(&row, store, SQL_HASHES_BELOW, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)store_key(topic, 0));
    bind_number(&row, (uint64_t)store_key(topic + 1, 0));
    bind_number(&row, most);
    enum mp_error error = MP_OK;
    int64_t last = 0;
    while (row_next(&row, "find old hashes", &error, fault)) {
        int64_t id = (int64_t)take_number(&row);
        if ((int64_t)take_number(&row) >= before)
            break;
        last = id;
        ++*deleted;
    }
    row_end(&row, error);
    if (error || *deleted == 0 || (error = digest_removing(store, DIGEST_HASHES, store_key(topic, 0), last, fault)))
        return error;
    return delete_range(store, SQL_DELETE_HASHES, store_key(topic, 0), last, "delete hashes", fault);
}

enum mp_error store_delete_hashes_of(struct store *store, uint32_t topic, uint64_t first, uint64_t end,
                                     struct fault *fault)
{
    int64_t low = store_key(topic, first), high = store_key(topic, end) - 1;
    enum mp_error error = digest_removing(store, DIGEST_HASHES, low, high, fault);
    return error ? error : delete_range(store, SQL_DELETE_HASHES, low, high, "delete hashes", fault);
}
