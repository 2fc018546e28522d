#include "store/private.h"

#include "base/log.h"
#include "base/path.h"
#include "store/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum mp_error store_failed(struct store *store, int result, const char *doing, struct fault *fault)
{
    int code = result & 0xff;
    const char *where = store->path;
    switch (code) {
    case SQLITE_FULL:
        return fault_set(fault, MP_ERR_FULL, "%s: the disk is full (%s)", where, doing);
    case SQLITE_NOMEM:
        return fault_set(fault, MP_ERR_MEMORY, "%s: no memory (%s)", where, doing);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return fault_set(fault, MP_ERR_BUSY, "%s: another program holds it (%s)", where, doing);
    case SQLITE_CORRUPT:
        store->broken = true;
        return fault_set(fault, MP_ERR_DAMAGED, "%s: the file is damaged (%s)", where, doing);
    case SQLITE_NOTADB:
        store->broken = true;
        return fault_set(fault, MP_ERR_DAMAGED, "%s: not a store: a file of something else", where);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return fault_set(fault, MP_ERR_DENIED, "%s: no permission to write (%s)", where, doing);
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        store->broken = true;
        return fault_set(fault, MP_ERR_IO, "%s: %s (%s)", where, sqlite3_errstr(result), doing);
    default:
        return fault_set(fault, MP_ERR_INTERNAL, "%s: %s (%s)", where,
                         store->database ? sqlite3_errmsg(store->database) : sqlite3_errstr(result), doing);
    }
}

sqlite3_stmt *store_statement(struct store *store, enum statement which, struct fault *fault)
{
    sqlite3_stmt *statement = store->statements[which];
    /* A full disk ends the transaction by itself: what is run then is no part of one, and stays. */
    if (store->writing && store->database && sqlite3_get_autocommit(store->database)) {
        fault_set(fault, MP_ERR_IO, "%s: the transaction had ended early", store->path);
        return NULL;
    }
    if (statement)
        return statement;
    if (!store->database) {
        fault_set(fault, MP_ERR_IO, "%s: the store is not open", store->path);
        return NULL;
    }
    const char *text = store_statement_text(which);
    int result = sqlite3_prepare_v3(store->database, text, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (result == SQLITE_ERROR) { /* the text is ours: what it speaks of is not there */
        fault_set(fault, MP_ERR_DAMAGED, "%s: the file is damaged: its tables are not as they were made: %s",
                  store->path, sqlite3_errmsg(store->database));
        return NULL;
    }
    if (result != SQLITE_OK) {
        store_failed(store, result, text, fault);
        return NULL;
    }
    store->statements[which] = statement;
    return statement;
}

static enum mp_error run_plain(struct store *store, enum statement which, const char *doing, struct fault *fault)
{
    sqlite3_stmt *statement = store_statement(store, which, fault);
    if (!statement)
        return fault ? fault->code : MP_ERR_IO;
    int result = sqlite3_step(statement);
    sqlite3_reset(statement);
    return result == SQLITE_DONE ? MP_OK : store_failed(store, result, doing, fault);
}

void store_close_database(struct store *store)
{
    for (unsigned i = 0; i < SQL_COUNT; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    sqlite3_close_v2(store->database);
    store->database = NULL;
}

/* AGAIN: the file was a store before, and one that is gone or empty now is no new one. */
static enum mp_error open_database(struct store *store, bool again, struct fault *fault)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if (!again)
        flags |= SQLITE_OPEN_CREATE;
    int result = sqlite3_open_v2(store->path, &store->database, flags, NULL);
    if (result != SQLITE_OK) {
        enum mp_error error = store_failed(store, result, "open", fault);
        store_close_database(store);
        return error;
    }
    enum mp_error error = store_prepare_schema(store, again, fault);
    if (!error)
        error = digests_load(store, fault);
    if (error)
        store_close_database(store);
    return error;
}

/* The file, made with mode 0600; one that others may read is refused. */
static enum mp_error prepare_file(const char *path, struct fault *fault)
{
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0)
        return fault_system(fault, errno == EACCES || errno == EROFS ? MP_ERR_DENIED : MP_ERR_IO, errno,
                            "cannot open the store %s", path);
    struct stat status;
    enum mp_error error = MP_OK;
    if (fstat(descriptor, &status) != 0)
        error = fault_system(fault, MP_ERR_IO, errno, "cannot look at the store %s", path);
    else if (!S_ISREG(status.st_mode))
        error = fault_set(fault, MP_ERR_INVALID, "%s: not a store: not a regular file: name another", path);
    else if (status.st_mode & 077)
        error = fault_set(fault, MP_ERR_DENIED,
                          "%s: others may read or write it (mode %03o): run `chmod 600 %s` if that is right", path,
                          (unsigned)(status.st_mode & 0777), path);
    close(descriptor);
    return error;
}

/* What SQLite would leave out of the log without a word. */
static enum mp_error check_log(const struct store *store, struct fault *fault)
{
    char words[FAULT_TEXT];
    struct log_line line;
    enum mp_error error = store->memory ? MP_OK : wal_check(store->path, words, fault);
    if (store->memory || error || words[0] == '\0')
        return error;
    log_begin(&line, LOG_WARNING, "the log of the store is not whole");
    log_field(&line, "reason", "%s", words);
    log_end(&line);
    return MP_OK;
}

enum mp_error store_open(const char *path, struct store **result, struct fault *fault)
{
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        return fault_memory(fault);
    enum mp_error error;
    store->lock = -1;
    store->memory = strcmp(path, ":memory:") == 0;
    store->path = strdup(path);
    if (!store->path) {
        error = fault_memory(fault);
        goto fail;
    }
    if (!store->memory) {
        static const char *const endings[] = {"", "-wal", "-shm", "-journal", ".lock", NULL};
        if ((error = store_check_file_system(path, fault)) || (error = path_check_place(path, endings, fault)) ||
            (error = store_check_file(path, fault)) || (error = store_take_lock(store, fault)) ||
            (error = prepare_file(path, fault)))
            goto fail;
    }
    if ((error = check_log(store, fault)) || (error = open_database(store, false, fault)))
        goto fail;
    *result = store;
    return MP_OK;
fail:
    store_close(store);
    return error;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    store_close_database(store);
    if (store->lock >= 0)
        close(store->lock);
    free(store->path);
    free(store);
}

enum mp_error store_begin(struct store *store, struct fault *fault)
{
    if (store->writing)
        return MP_OK;
    enum mp_error error = run_plain(store, SQL_BEGIN, "begin", fault);
    if (!error)
        store->writing = true;
    return error;
}

enum mp_error store_commit(struct store *store, struct fault *fault)
{
    if (!store->writing)
        return MP_OK;
    if (store->fail_commit > 0 && --store->fail_commit == 0)
        return fault_set(fault, MP_ERR_IO, "%s: a failure that a test asked for (commit)", store->path);
    /* A full disk ends the transaction by itself; committing "nothing" must not look like success. */
    if (sqlite3_get_autocommit(store->database))
        return fault_set(fault, MP_ERR_IO, "%s: the transaction had ended early", store->path);
    enum mp_error error = digests_save(store, fault);
    if (error || (error = run_plain(store, SQL_COMMIT, "commit", fault)))
        return error;
    store->writing = false;
    memcpy(store->saved_digests, store->digests, sizeof store->digests);
    return MP_OK;
}

enum mp_error store_rollback(struct store *store, struct fault *fault)
{
    store->writing = false;
    memcpy(store->digests, store->saved_digests, sizeof store->digests);
    enum mp_error error = MP_OK;
    for (unsigned i = 0; i < SQL_COUNT; i++)
        if (store->statements[i])
            sqlite3_reset(store->statements[i]);
    if (store->database && !sqlite3_get_autocommit(store->database))
        error = run_plain(store, SQL_ROLLBACK, "roll back", fault);
    if (store->memory || (!store->broken && !error && store->database))
        return error;
    store_close_database(store);
    store->broken = false;
    if ((error = check_log(store, fault)) || (error = open_database(store, true, fault)))
        store->broken = true;
    return error;
}

bool store_is_writing(const struct store *store)
{
    return store->writing;
}

void store_fail_commit(struct store *store, unsigned nth)
{
    store->fail_commit = nth;
}

const char *store_path(const struct store *store)
{
    return store->path;
}

uint64_t store_free_space(const struct store *store)
{
    struct statvfs status;
    if (store->memory || statvfs(store->path, &status) != 0)
        return UINT64_MAX;
    return (uint64_t)status.f_bavail * (uint64_t)status.f_frsize;
}

uint64_t store_size(const struct store *store)
{
    if (store->memory)
        return 0;
    uint64_t bytes = 0;
    char name[4200];
    static const char *const endings[] = {"", "-wal"};
    for (unsigned i = 0; i < 2; i++) {
        struct stat status;
        int size = snprintf(name, sizeof name, "%s%s", store->path, endings[i]);
        if (size > 0 && (size_t)size < sizeof name && stat(name, &status) == 0)
            bytes += (uint64_t)status.st_size;
    }
    return bytes;
}

enum mp_error store_reusable(struct store *store, uint64_t *bytes, struct fault *fault)
{
    struct row row;
    if (!row_open(&row, store, SQL_FREE_PAGES, fault))
        return row_unopened(fault);
    enum mp_error error = MP_OK;
    *bytes = 0;
    if (row_next(&row, "count free pages", &error, fault))
        *bytes = take_number(&row) * STORE_PAGE;
    return row_end(&row, error);
}
