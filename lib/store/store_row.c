#include "store/private.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

void row_bytes(struct row_hash *hash, const void *bytes, size_t size)
{
    row_number(hash, XXH3_64bits(size > 0 ? bytes : "", size));
}

int64_t row_checksum(const struct row_hash *hash)
{
    return (int64_t)XXH3_64bits(hash->columns, hash->count * sizeof hash->columns[0]);
}

void row_later_number(struct row_hash *hash, unsigned column, uint64_t number)
{
    if (number == 0)
        return;
    row_number(hash, column);
    row_number(hash, number);
}

void row_later_bytes(struct row_hash *hash, unsigned column, const void *bytes, size_t size)
{
    if (size == 0)
        return;
    row_number(hash, column);
    row_bytes(hash, bytes, size);
}

bool row_open(struct row *row, struct store *store, enum statement which, struct fault *fault)
{
    *row = (struct row){.store = store, .statement = store_statement(store, which, fault)};
    return row->statement != NULL;
}

enum mp_error row_unopened(const struct fault *fault)
{
    return fault && fault->code ? fault->code : MP_ERR_IO;
}

/* ---- binding -------------------------------------------------------------------------------------------------- */

void bind_number(struct row *row, uint64_t value)
{
    sqlite3_bind_int64(row->statement, ++row->column, (int64_t)value);
    row_number(&row->hash, value);
}

void bind_text(struct row *row, const char *text)
{
    size_t size = strlen(text);
    sqlite3_bind_text(row->statement, ++row->column, text, (int)size, SQLITE_STATIC);
    row_bytes(&row->hash, text, size);
}

void bind_bytes(struct row *row, const void *data, size_t size)
{
    sqlite3_bind_blob64(row->statement, ++row->column, data, size, SQLITE_STATIC);
    row_bytes(&row->hash, data, size);
}

void bind_later_number(struct row *row, uint64_t value)
{
    sqlite3_bind_int64(row->statement, ++row->column, (int64_t)value);
    row_later_number(&row->hash, ++row->later, value);
}

void bind_later_text(struct row *row, const char *text)
{
    size_t size = text ? strlen(text) : 0;
    sqlite3_bind_text(row->statement, ++row->column, text ? text : "", (int)size, SQLITE_STATIC);
    row_later_bytes(&row->hash, ++row->later, text, size);
}

void bind_later_bytes(struct row *row, const void *data, size_t size)
{
    if (size > 0)
        sqlite3_bind_blob64(row->statement, ++row->column, data, size, SQLITE_STATIC);
    else
        sqlite3_bind_null(row->statement, ++row->column);
    row_later_bytes(&row->hash, ++row->later, data, size);
}

void bind_checksum(struct row *row)
{
    row->checksum = row_checksum(&row->hash);
    sqlite3_bind_int64(row->statement, ++row->column, row->checksum);
}

enum mp_error row_run(struct row *row, const char *doing, struct fault *fault)
{
    int result = sqlite3_step(row->statement);
    sqlite3_reset(row->statement);
    sqlite3_clear_bindings(row->statement); /* bytes are the caller's: keep no pointer to them */
    return result == SQLITE_DONE ? MP_OK : store_failed(row->store, result, doing, fault);
}

enum mp_error row_put(struct row *row, enum digest digest, int64_t key, const char *doing, struct fault *fault)
{
    enum mp_error error = digest_removing(row->store, digest, key, key, fault);
    if (error)
        return error;
    digest_added(row->store, digest, row->checksum);
    return row_run(row, doing, fault);
}

/* ---- taking --------------------------------------------------------------------------------------------------- */

bool row_next(struct row *row, const char *doing, enum mp_error *error, struct fault *fault)
{
    int result = sqlite3_step(row->statement);
    row->column = 0;
    row->later = 0;
    row->hash.count = 0;
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        *error = store_failed(row->store, result, doing, fault);
    return result == SQLITE_ROW;
}

uint64_t take_number(struct row *row)
{
    uint64_t value = (uint64_t)sqlite3_column_int64(row->statement, row->column++);
    row_number(&row->hash, value);
    return value;
}

const char *take_text(struct row *row)
{
    const char *text = (const char *)sqlite3_column_text(row->statement, row->column);
    int size = sqlite3_column_bytes(row->statement, row->column++);
    row_bytes(&row->hash, text, text ? (size_t)size : 0);
    return text ? text : "";
}

const uint8_t *take_bytes(struct row *row, size_t *size)
{
    const uint8_t *data = sqlite3_column_blob(row->statement, row->column);
    *size = data ? (size_t)sqlite3_column_bytes(row->statement, row->column) : 0;
    row->column++;
    row_bytes(&row->hash, data, *size);
    return data;
}

uint64_t take_later_number(struct row *row)
{
    uint64_t value = (uint64_t)sqlite3_column_int64(row->statement, row->column++);
    row_later_number(&row->hash, ++row->later, value);
    return value;
}

const char *take_later_text(struct row *row)
{
    const char *text = (const char *)sqlite3_column_text(row->statement, row->column);
    int size = sqlite3_column_bytes(row->statement, row->column++);
    row_later_bytes(&row->hash, ++row->later, text, text ? (size_t)size : 0);
    return text ? text : "";
}

const uint8_t *take_later_bytes(struct row *row, size_t *size)
{
    const uint8_t *data = sqlite3_column_blob(row->statement, row->column);
    *size = data ? (size_t)sqlite3_column_bytes(row->statement, row->column) : 0;
    row->column++;
    row_later_bytes(&row->hash, ++row->later, data, *size);
    return *size > 0 ? data : NULL;
}

bool checksum_fits(struct row *row)
{
    bool fits = sqlite3_column_int64(row->statement, row->column++) == row_checksum(&row->hash);
    if (!fits)
        row->store->broken = true; /* it may have been read wrongly: it is to be read from the disk again */
    return fits;
}

bool row_fits(struct row *row, const char *table, enum mp_error *error, struct fault *fault)
{
    if (checksum_fits(row))
        return true;
    if (row_damaged(row->store, table, sqlite3_column_int64(row->statement, 0), NULL))
        return false; /* *ERROR is MP_OK: the walk goes on */
    *error = fault_set(fault, MP_ERR_DAMAGED, "%s: row %lld of %s is damaged: its checksum does not fit",
                       row->store->path, (long long)sqlite3_column_int64(row->statement, 0), table);
    return false;
}

bool row_damaged(const struct store *store, const char *table, int64_t key, const char *name)
{
    if (store->damage)
        store->damage(store->damage_context, table, key, name);
    return store->damage != NULL;
}

enum mp_error row_end(const struct row *row, enum mp_error error)
{
    sqlite3_reset(row->statement);
    return error;
}
