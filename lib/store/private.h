/* private.h: what the files of lib/store share. */
#ifndef STORE_PRIVATE_H
#define STORE_PRIVATE_H

#include "store/store.h"

#include <sqlite3.h>

enum statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_GET_NUMBER,
    SQL_PUT_NUMBER,
    SQL_PUT_TOPIC,
    SQL_PUT_PATTERN,
    SQL_PUT_GROUP,
    SQL_PUT_SESSION,
    SQL_DELETE_SESSION,
    SQL_PUT_BLOCK,
    SQL_DELETE_BLOCKS,
    SQL_ADD_FRAME,
    SQL_ADD_EVENT,
    SQL_EACH_TOPIC,
    SQL_EACH_PATTERN,
    SQL_EACH_GROUP,
    SQL_EACH_SESSION,
    SQL_EACH_BLOCK,
    SQL_EACH_EVENT,
    SQL_EACH_FRAME,
    SQL_FRAME_AT,
    SQL_FRAME_AFTER,
    SQL_FRAME_LAST,
    SQL_LAST_EVENT,
    SQL_COUNT
};

struct store {
    char *path;
    sqlite3 *database;
    sqlite3_stmt *statements[SQL_COUNT];
    int lock; /* descriptor of the lock file; -1 for ":memory:" */
    bool memory;
    bool writing;
    bool broken; /* an error of input or output: open again at the rollback */
    unsigned fail_commit;
};

/* The prepared statement, reset and without bindings; NULL with FAULT set when it cannot be prepared. */
sqlite3_stmt *store_statement(struct store *store, enum statement which, struct fault *fault);

/* Turns SQLite's result into an mp_error, with words. */
enum mp_error store_failed(struct store *store, int result, const char *doing, struct fault *fault);

/* Brings the database's settings and tables into place; AGAIN: there have to be tables (MP_ERR_DAMAGED). */
enum mp_error store_prepare_schema(struct store *store, bool again, struct fault *fault);

/* Takes the lock beside the file. MP_ERR_BUSY, MP_ERR_IO. */
enum mp_error store_take_lock(struct store *store, struct fault *fault);

/* MP_ERR_DENIED for a network file system. */
enum mp_error store_check_file_system(const char *path, struct fault *fault);

/* A row's checksum: XXH3-64 of its columns as 64-bit numbers, text and blobs by their own XXH3-64. */
struct row_hash {
    uint64_t columns[16];
    unsigned count;
};
static inline void row_number(struct row_hash *hash, uint64_t number)
{
    hash->columns[hash->count++] = number;
}
void row_bytes(struct row_hash *hash, const void *bytes, size_t size);
int64_t row_checksum(const struct row_hash *hash);

#endif
