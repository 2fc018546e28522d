#include "store/private.h"

#include <string.h>

/*
 * Digests: for each table from which a row could vanish without another telling of it, a number says what all of its rows
 * add up to. A row adds its checksum, shifted, and one: so the low 24 bits count the rows, and a row that is missing, too
 * many, or put back as it was earlier is known. They are kept up with each change and written by the commit, into rows
 * of `numbers`, which has its own. Frames and events, of which each turn adds some, have none: their keys are dense.
 */
enum { COUNT_BITS = 24 };

static const struct {
    const char *table;
    const char *number;
} digests[DIGEST_COUNT] = {
    [DIGEST_NUMBERS] = {"numbers", "rows_numbers"},    [DIGEST_TOPICS] = {"topics", "rows_topics"},
    [DIGEST_PATTERNS] = {"patterns", "rows_patterns"}, [DIGEST_GROUPS] = {"groups", "rows_groups"},
    [DIGEST_SESSIONS] = {"sessions", "rows_sessions"}, [DIGEST_BLOCKS] = {"blocks", "rows_blocks"},
    [DIGEST_SCHEDULE] = {"schedule", "rows_schedule"}, [DIGEST_HASHES] = {"hashes", "rows_hashes"},
};

uint64_t store_digest_share(int64_t checksum)
{
    return ((uint64_t)checksum << COUNT_BITS) + 1;
}

uint32_t store_digest_rows(uint64_t sum)
{
    return (uint32_t)(sum & ((1U << COUNT_BITS) - 1));
}

void digest_added(struct store *store, enum digest digest, int64_t checksum)
{
    store->digests[digest] += store_digest_share(checksum);
}

/* What the rows with keys from LOW to HIGH add up to. */
static enum mp_error sum_rows(struct store *store, enum digest digest, int64_t low, int64_t high, uint64_t *sum,
                              struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, (enum statement)(SQL_SUM_NUMBERS + digest), fault))
        return row_unopened(fault);
    if (digest != DIGEST_NUMBERS) {
        bind_number(&row, (uint64_t)low);
        bind_number(&row, (uint64_t)high);
    }
    enum mp_error error = MP_OK;
    *sum = 0;
    while (row_next(&row, "add up rows", &error, fault))
        *sum += store_digest_share((int64_t)take_number(&row));
    return row_end(&row, error);
}

enum mp_error digest_removing(struct store *store, enum digest digest, int64_t low, int64_t high, struct fault *fault)
{
    uint64_t sum;
    enum mp_error error = sum_rows(store, digest, low, high, &sum, fault);
    if (!error)
        store->digests[digest] -= sum;
    return error;
}

enum mp_error digest_number(struct store *store, const char *name, int64_t checksum, struct fault *fault)
{
    struct row row;
    if (strcmp(name, digests[DIGEST_NUMBERS].number) == 0)
        return MP_OK; /* it cannot cover itself */
    if (!row_open(&row, store, SQL_GET_NUMBER, fault))
        return row_unopened(fault);
    bind_text(&row, name);
    enum mp_error error = MP_OK;
    if (row_next(&row, "read a number", &error, fault)) {
        take_number(&row);
        store->digests[DIGEST_NUMBERS] -= store_digest_share((int64_t)take_number(&row));
    }
    if (!error)
        digest_added(store, DIGEST_NUMBERS, checksum);
    return row_end(&row, error);
}

/* A store from before digests, of this version, gets them with its first commit. */
enum mp_error digests_load(struct store *store, struct fault *fault)
{
    enum mp_error error = MP_OK;
    store->digests_missing = false;
    for (unsigned i = 0; !error && i < DIGEST_COUNT; i++) {
        int64_t value = 0;
        error = store_get_number(store, digests[i].number, &value, fault);
        store->digests[i] = (uint64_t)value;
        if (error != MP_ERR_NOT_FOUND)
            continue;
        store->digests_missing = true;
        error = sum_rows(store, (enum digest)i, INT64_MIN, INT64_MAX, &store->digests[i], fault);
    }
    memcpy(store->saved_digests, store->digests, sizeof store->digests);
    return error;
}

enum mp_error digests_save(struct store *store, struct fault *fault)
{
    for (unsigned i = DIGEST_COUNT; i-- > 0;) { /* that of the numbers comes last */
        if (store->digests[i] == store->saved_digests[i] && !store->digests_missing)
            continue;
        enum mp_error error = store_put_number(store, digests[i].number, (int64_t)store->digests[i], fault);
        if (error)
            return error;
    }
    store->digests_missing = false;
    return MP_OK;
}

enum mp_error store_each_digest(struct store *store, enum mp_error (*each)(void *, const struct store_digest *),
                                void *context, struct fault *fault)
{
    enum mp_error error = MP_OK;
    for (unsigned i = 0; !error && i < DIGEST_COUNT; i++) {
        struct store_digest digest = {.table = digests[i].table};
        int64_t written = 0;
        uint64_t sum;
        error = store_get_number(store, digests[i].number, &written, fault);
        digest.known = !error;
        if (error && error != MP_ERR_NOT_FOUND && error != MP_ERR_DAMAGED)
            return error;
        if ((error = sum_rows(store, (enum digest)i, INT64_MIN, INT64_MAX, &sum, fault)))
            return error;
        digest.rows_written = store_digest_rows((uint64_t)written);
        digest.rows = store_digest_rows(sum);
        digest.fits = digest.known && sum == (uint64_t)written;
        error = each(context, &digest);
    }
    return error;
}
