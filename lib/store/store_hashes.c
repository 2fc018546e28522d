#include "store/private.h"

#include <string.h>

enum mp_error store_add_hashes(struct store *store, const struct store_hashes *hashes, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_ADD_HASHES, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)store_key(hashes->topic, hashes->first));
    bind_number(&row, (uint64_t)hashes->time);
    bind_number(&row, hashes->count);
    bind_bytes(&row, hashes->hashes, (size_t)hashes->count * STORE_HASH);
    bind_checksum(&row);
    digest_added(store, DIGEST_HASHES, row.checksum);
    return row_run(&row, "store the hashes of a frame", fault);
}

static bool take_hashes(struct row *row, struct store_hashes *hashes, enum mp_error *error, struct fault *fault)
{
    uint64_t key = take_number(row);
    size_t size;
    *hashes = (struct store_hashes){.topic = (uint32_t)(key >> STORE_OFFSET_BITS), .first = key & STORE_OFFSET_MASK};
    hashes->time = (int64_t)take_number(row);
    hashes->count = (uint32_t)take_number(row);
    hashes->hashes = take_bytes(row, &size);
    if (!row_fits(row, "hashes", error, fault))
        return false;
    if (size == (size_t)hashes->count * STORE_HASH)
        return true;
    if (row_damaged(row->store, "hashes", (int64_t)key, NULL))
        return false;
    *error = fault_set(fault, MP_ERR_DAMAGED, "%s: row %llu of hashes has the wrong length", row->store->path,
                       (unsigned long long)key);
    return false;
}

enum mp_error store_each_hashes(struct store *store, uint32_t topic, int64_t since,
                                enum mp_error (*each)(void *, const struct store_hashes *), void *context,
                                struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_EACH_HASHES, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)store_key(topic, 0));
    bind_number(&row, (uint64_t)store_key(topic + 1, 0));
    bind_number(&row, (uint64_t)since);
    enum mp_error error = MP_OK;
    while (row_next(&row, "read hashes", &error, fault)) {
        struct store_hashes hashes;
        if (take_hashes(&row, &hashes, &error, fault))
            error = each(context, &hashes);
        if (error)
            break;
    }
    return row_end(&row, error);
}

enum mp_error store_read_hashes(struct store *store, uint32_t topic, uint64_t offset, struct store_hashes *hashes,
                                struct blob **blob, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_HASHES_AT, fault))
        return row_unopened(fault);
    bind_number(&row, (uint64_t)store_key(topic, 0));
    bind_number(&row, (uint64_t)store_key(topic, offset));
    enum mp_error error = MP_ERR_NOT_FOUND;
    if (row_next(&row, "read hashes", &error, fault)) {
        error = MP_OK;
        uint8_t *bytes;
        if (!take_hashes(&row, hashes, &error, fault)) {
            error = MP_ERR_DAMAGED;
        } else if (offset - hashes->first >= hashes->count) {
            error = MP_ERR_NOT_FOUND;
        } else {
            size_t size = (size_t)hashes->count * STORE_HASH;
            *blob = blob_make(size, &bytes);
            if (*blob)
                hashes->hashes = memcpy(bytes, hashes->hashes, size);
            else
                error = fault_memory(fault);
        }
    }
    return row_end(&row, error);
}
