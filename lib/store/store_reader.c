#include "store/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether it is a store of the version that is known here. */
static enum mp_error check_version(struct store *store, struct fault *fault)
{
    sqlite3_stmt *statement;
    int version = -1;
    int result = sqlite3_prepare_v2(store->database, "PRAGMA user_version", -1, &statement, NULL);
    if (result == SQLITE_OK && (result = sqlite3_step(statement)) == SQLITE_ROW)
        version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    if (result != SQLITE_ROW)
        return store_failed(store, result, "look at the store", fault);
    if (version == 0)
        return fault_set(fault, MP_ERR_NOT_FOUND, "%s: there is nothing in it yet", store->path);
    if (version != STORE_VERSION)
        return fault_set(fault, MP_ERR_VERSION, "%s: a store of version %d, and version %d is known here", store->path,
                         version, STORE_VERSION);
    return MP_OK;
}

enum mp_error store_open_reader(const char *path, struct store **result, struct fault *fault)
{
    if (access(path, F_OK) != 0)
        return fault_system(fault, errno == ENOENT ? MP_ERR_NOT_FOUND : MP_ERR_IO, errno, "cannot read %s", path);
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        return fault_memory(fault);
    store->lock = -1;
    enum mp_error error = MP_OK;
    if (!(store->path = strdup(path)))
        error = fault_memory(fault);
    int code = error ? SQLITE_OK
                     : sqlite3_open_v2(path, &store->database,
                                       SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code != SQLITE_OK)
        error = store_failed(store, code, "open", fault);
    if (!error) {
        sqlite3_busy_timeout(store->database, 2000); /* for a writer that is just making or closing it */
        error = check_version(store, fault);
    }
    if (error) {
        store_close(store);
        return error;
    }
    *result = store;
    return MP_OK;
}

void store_on_damage(struct store *store,
                     void (*damage)(void *context, const char *table, int64_t key, const char *name), void *context)
{
    store->damage = damage;
    store->damage_context = context;
}
