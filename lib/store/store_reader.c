#include "store/private.h"
#include "store/wal.h"

#include "base/path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether it is a store of the version that is known here. */
static enum mp_error check_version(struct store *store, struct fault *fault)
{
    int version;
    bool empty;
    enum mp_error error = store_check_kind(store, &version, &empty, fault);
    if (error == MP_ERR_VERSION)
        return fault_set(fault, error,
                         "%s: a store of version %d, and version %d is known here: use the tools of its relay",
                         store->path, version, STORE_VERSION);
    if (error)
        return error;
    if (empty)
        return fault_set(fault, MP_ERR_NOT_FOUND, "%s: there is nothing in it yet", store->path);
    if (version < STORE_VERSION)
        return fault_set(
            fault, MP_ERR_VERSION,
            "%s: a store of version %d, and version %d is known here: start its relay once, which brings it up",
            store->path, version, STORE_VERSION);
    return MP_OK;
}

/* A file without a log that lies where nothing can be made beside it, as on a medium that is read-only. */
static bool is_alone(const char *path)
{
    char directory[PATH_BYTES];
    return path_directory(path, directory) && access(directory, W_OK) != 0 && !store_has_log(path);
}

/* What is no store at all is not opened: a pipe would be waited for. */
static enum mp_error check_path(const char *path, struct fault *fault)
{
    struct stat status;
    if (stat(path, &status) != 0 || access(path, R_OK) != 0)
        return fault_system(fault,
                            errno == ENOENT || errno == ENOTDIR ? MP_ERR_NOT_FOUND
                            : errno == EACCES || errno == EPERM ? MP_ERR_DENIED
                                                                : MP_ERR_IO,
                            errno, "cannot read %s", path);
    if (!S_ISREG(status.st_mode))
        return fault_set(fault, MP_ERR_DAMAGED, "%s: not a store: %s", path,
                         S_ISDIR(status.st_mode) ? "a directory" : "not a regular file");
    enum mp_error error = store_check_file(path, fault);
    return error ? error : wal_check_at_rest(path, fault);
}

enum mp_error store_open_reader(const char *path, struct store **result, struct fault *fault)
{
    char uri[3 * PATH_BYTES + 64];
    enum mp_error error = check_path(path, fault);
    if (error)
        return error;
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        return fault_memory(fault);
    store->lock = -1;
    store->alone = is_alone(path);
    if (!(store->path = strdup(path)))
        error = fault_memory(fault);
    int code = SQLITE_OK;
    if (!error)
        code = store_uri(path, store->alone, uri, sizeof uri)
                   ? sqlite3_open_v2(
                         uri, &store->database,
                         SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL)
                   : SQLITE_CANTOPEN;
    if (code != SQLITE_OK)
        error = store_failed(store, code, "open", fault);
    if (!error) /* it waits for a writer that is just making or closing it */
        error = check_version(store, fault);
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
