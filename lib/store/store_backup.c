#include "store/private.h"

#include "base/path.h"
#include "message/frame.h"
#include "store/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEP_PAGES = 256 }; /* 4 MiB at a time */

/* ---- opening to read ------------------------------------------------------------------------------------------ */

/* A log beside it: somebody has it open, or has died with it. */
bool store_has_log(const char *path)
{
    char name[4200];
    struct stat status;
    int size = snprintf(name, sizeof name, "%s-wal", path);
    return size > 0 && (size_t)size < sizeof name && stat(name, &status) == 0;
}

/* PATH as a URI: what is not plain becomes %XX. */
bool store_uri(const char *path, bool alone, char *uri, size_t room)
{
    size_t size = (size_t)snprintf(uri, room, "file:");
    for (const unsigned char *at = (const unsigned char *)path; *at && size + 20 < room; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
                     strchr("/._-", *at);
        size += (size_t)snprintf(uri + size, room - size, plain ? "%c" : "%%%02X", *at);
    }
    if (size + 20 >= room)
        return false;
    snprintf(uri + size, room - size, "%s", alone ? "?immutable=1" : "");
    return true;
}

/* ALONE: nobody else has the file, and it has no log: nothing is made beside it. VERSION: the file's. */
static enum mp_error open_reading(const char *path, bool alone, int *version, struct store **result,
                                  struct fault *fault)
{
    char uri[16384];
    struct stat status;
    if (stat(path, &status) != 0)
        return fault_system(fault, errno == ENOENT ? MP_ERR_NOT_FOUND : MP_ERR_IO, errno, "cannot read %s", path);
    enum mp_error error = alone ? MP_OK : wal_check_at_rest(path, fault);
    if (error)
        return error;
    struct store *store = calloc(1, sizeof *store);
    if (!store || !(store->path = strdup(path))) {
        free(store);
        return fault_memory(fault);
    }
    store->lock = -1;
    int code = store_uri(path, alone, uri, sizeof uri)
                   ? sqlite3_open_v2(
                         uri, &store->database,
                         SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL)
                   : SQLITE_CANTOPEN;
    bool empty = false;
    error =
        code == SQLITE_OK ? store_check_kind(store, version, &empty, fault) : store_failed(store, code, "open", fault);
    if (!error && empty)
        error = fault_set(fault, MP_ERR_DAMAGED, "%s: not a store: an empty file", path);
    if (error) {
        store_close(store);
        return error;
    }
    *result = store;
    return MP_OK;
}

/* ---- checking ------------------------------------------------------------------------------------------------- */

static enum mp_error check_pages(struct store *store, struct fault *fault)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(store->database, "PRAGMA integrity_check(1)", -1, &statement, NULL);
    if (code != SQLITE_OK)
        return store_failed(store, code, "check the file", fault);
    enum mp_error error = MP_OK;
    code = sqlite3_step(statement);
    const char *text = code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (!text)
        error = store_failed(store, code, "check the file", fault);
    else if (strcmp(text, "ok") != 0)
        error = fault_set(fault, MP_ERR_DAMAGED, "%s: the file is damaged: %.200s", store->path, text);
    sqlite3_finalize(statement);
    return error;
}

struct checking {
    struct store *store;
    struct fault *fault;
};

static enum mp_error check_frame(const struct checking *checking, const char *table, uint64_t id, uint32_t count,
                                 const uint8_t *data, size_t size)
{
    struct frame frame;
    struct fault detail = {0};
    enum mp_error error = frame_open(&frame, data, size, true, &detail);
    if (!error && frame.count == count)
        return MP_OK;
    return fault_set(checking->fault, MP_ERR_DAMAGED, "%s: the frame in row %llu of %s is damaged: %s",
                     checking->store->path, (unsigned long long)id, table,
                     error ? fault_text(&detail) : "it has another number of messages");
}

static enum mp_error check_number_row(void *context, const char *name, int64_t value)
{
    (void)context;
    (void)name;
    (void)value;
    return MP_OK;
}

static enum mp_error check_topic_row(void *context, const struct store_topic *row)
{
    (void)context;
    (void)row;
    return MP_OK;
}

static enum mp_error check_pattern_row(void *context, const struct store_pattern *row)
{
    (void)context;
    (void)row;
    return MP_OK;
}

static enum mp_error check_block_row(void *context, uint32_t block, const uint8_t *data, size_t size)
{
    (void)context;
    (void)block;
    (void)data;
    (void)size;
    return MP_OK;
}

static enum mp_error check_group_row(void *context, const struct store_group *row)
{
    const struct checking *checking = context;
    return store_each_block(checking->store, row->id, check_block_row, NULL, checking->fault);
}

static enum mp_error check_session_row(void *context, const struct store_session *row)
{
    (void)context;
    (void)row;
    return MP_OK;
}

static enum mp_error check_event_row(void *context, const struct store_event *row)
{
    (void)context;
    (void)row;
    return MP_OK;
}

static enum mp_error check_hashes_row(void *context, const struct store_hashes *row)
{
    (void)context;
    (void)row;
    return MP_OK;
}

/* Frames of a topic, with their bytes, and its hashes. */
static enum mp_error check_messages(struct checking *checking, uint32_t topic)
{
    struct store *store = checking->store;
    struct store_frame row;
    struct blob *blob;
    uint64_t offset = 0;
    enum mp_error error;
    while (!(error = store_read_frame(store, topic, offset, &row, &blob, checking->fault))) {
        error = check_frame(checking, "frames", row.first, row.count, row.data, row.size);
        blob_drop(blob);
        if (error)
            return error;
        offset = row.first + row.count;
    }
    if (error != MP_ERR_NOT_FOUND)
        return error;
    return store_each_hashes(store, topic, INT64_MIN, check_hashes_row, NULL, checking->fault);
}

static enum mp_error check_rows(struct checking *checking)
{
    struct store *store = checking->store;
    struct fault *fault = checking->fault;
    enum mp_error error;
    if ((error = store_each_number(store, check_number_row, NULL, fault)) ||
        (error = store_each_topic(store, check_topic_row, NULL, fault)) ||
        (error = store_each_pattern(store, check_pattern_row, NULL, fault)) ||
        (error = store_each_group(store, check_group_row, checking, fault)) ||
        (error = store_each_session(store, check_session_row, NULL, fault)) ||
        (error = store_each_event(store, 0, check_event_row, NULL, fault)))
        return error;
    uint32_t topic = 0;
    while (!(error = store_messages_topic(store, topic, &topic, fault))) {
        if ((error = check_messages(checking, topic)))
            return error;
        topic++;
    }
    if (error != MP_ERR_NOT_FOUND)
        return error;
    struct store_scheduled scheduled = {.id = 0};
    struct blob *blob;
    while (!(error = store_next_scheduled(store, scheduled.id, &scheduled, &blob, fault))) {
        error = check_frame(checking, "schedule", scheduled.id, scheduled.count, scheduled.data, scheduled.size);
        blob_drop(blob);
        if (error)
            return error;
    }
    return error == MP_ERR_NOT_FOUND ? MP_OK : error;
}

static enum mp_error verify(const char *path, bool alone, struct fault *fault)
{
    struct store *store;
    int version;
    enum mp_error error = open_reading(path, alone, &version, &store, fault);
    if (error)
        return error;
    struct checking checking = {store, fault};
    if (version != STORE_VERSION)
        error = fault_set(fault, MP_ERR_VERSION, "%s: a store of version %d: start its relay once to bring it up", path,
                          version);
    else if (!(error = check_pages(store, fault)))
        error = check_rows(&checking);
    store_close(store);
    return error;
}

enum mp_error store_verify(const char *path, struct fault *fault)
{
    return verify(path, !store_has_log(path), fault);
}

/* ---- copying -------------------------------------------------------------------------------------------------- */

/* Copies FROM's pages, as of now, to the empty file NAME. */
static enum mp_error copy_pages(struct store *from, const char *name, store_progress *progress, void *context,
                                struct fault *fault)
{
    struct store target = {.path = (char *)(uintptr_t)name, .lock = -1};
    enum mp_error error = MP_OK;
    /* One read transaction for all steps: what a relay commits meanwhile does not begin it anew. */
    int code = sqlite3_exec(from->database, "BEGIN; SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return store_failed(from, code, "read", fault);
    code = sqlite3_open_v2(name, &target.database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                           NULL);
    if (code == SQLITE_OK) /* nobody sees the file before it is whole and flushed */
        code = sqlite3_exec(target.database, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", NULL, NULL, NULL);
    sqlite3_backup *backup =
        code == SQLITE_OK ? sqlite3_backup_init(target.database, "main", from->database, "main") : NULL;
    if (code != SQLITE_OK || !backup) {
        error = store_failed(&target, code != SQLITE_OK ? code : sqlite3_extended_errcode(target.database),
                             "make a copy", fault);
        sqlite3_close_v2(target.database);
        return error;
    }
    while (!error && (code = sqlite3_backup_step(backup, STEP_PAGES)) == SQLITE_OK) {
        uint64_t total = (uint64_t)sqlite3_backup_pagecount(backup);
        if (progress && !progress(context, total - (uint64_t)sqlite3_backup_remaining(backup), total))
            error = fault_set(fault, MP_ERR_INTERRUPTED, "interrupted: %s was not written", name);
    }
    sqlite3_backup_finish(backup);
    if (!error && code != SQLITE_DONE)
        error = store_failed(&target, code, "write a copy", fault);
    sqlite3_close_v2(target.database);
    sqlite3_exec(from->database, "COMMIT", NULL, NULL, NULL);
    return error;
}

static enum mp_error flush(const char *path, struct fault *fault)
{
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    bool flushed = descriptor >= 0 && fsync(descriptor) == 0;
    int problem = errno;
    if (descriptor >= 0)
        close(descriptor);
    return flushed ? MP_OK : fault_system(fault, MP_ERR_IO, problem, "cannot flush %s", path);
}

/* Brings the copy NAME, of an older version, up. */
static enum mp_error bring_copy_up(const char *name, struct fault *fault)
{
    struct store copy = {.path = (char *)(uintptr_t)name, .lock = -1};
    int code = sqlite3_open_v2(name, &copy.database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);
    enum mp_error error =
        code == SQLITE_OK ? store_prepare_schema(&copy, true, fault) : store_failed(&copy, code, "open", fault);
    store_close_database(&copy);
    return error;
}

/*
 * A copy of FROM in a new file beside TO, checked and flushed; its name in NAME, and nothing there after an error. LIVE: a
 * relay may have FROM, or come to have it.
 */
static enum mp_error copy_beside(const char *from, bool live, const char *to, char name[PATH_BYTES],
                                 store_progress *progress, void *context, struct fault *fault)
{
    struct store *store;
    int version;
    enum mp_error error = open_reading(from, !live && !store_has_log(from), &version, &store, fault);
    if (error)
        return error;
    if ((error = path_make_beside(to, name, fault))) {
        store_close(store);
        return error;
    }
    error = copy_pages(store, name, progress, context, fault);
    store_close(store);
    if (!error && version < STORE_VERSION)
        error = bring_copy_up(name, fault);
    if (!error && !(error = flush(name, fault)))
        error = verify(name, true, fault);
    if (error)
        unlink(name);
    return error;
}

static bool same_file(const char *one, const char *other)
{
    struct stat a, b;
    return stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

enum mp_error store_backup(const char *path, const char *to, store_progress *progress, void *context,
                           struct fault *fault)
{
    char name[PATH_BYTES];
    struct stat status;
    if (same_file(path, to))
        return fault_set(fault, MP_ERR_INVALID, "%s is the store itself: name another file", to);
    if (stat(to, &status) == 0 && !S_ISREG(status.st_mode))
        return fault_set(fault, MP_ERR_INVALID, "%s is no regular file: name another", to);
    enum mp_error error = copy_beside(path, true, to, name, progress, context, fault);
    if (error)
        return error;
    if (rename(name, to) != 0) {
        error = fault_system(fault, MP_ERR_IO, errno, "cannot write %s", to);
        unlink(name);
        return error;
    }
    return path_flush_directory(to, fault);
}

/* ---- restoring ------------------------------------------------------------------------------------------------ */

/*
 * Makes way for another file at PATH: what is there is kept as REPLACED. Its log must not stay, for SQLite would take it
 * for the new file's: one that can be opened brings its log into itself; the log of one that cannot, and one of which
 * SQLite would take a part only, is kept with it.
 */
static enum mp_error put_aside(const char *path, const char *replaced, struct fault *fault)
{
    char log[4200], kept[4200], words[FAULT_TEXT];
    struct stat status;
    if (stat(path, &status) != 0)
        return errno == ENOENT ? MP_OK : fault_system(fault, MP_ERR_IO, errno, "cannot look at %s", path);
    snprintf(log, sizeof log, "%s-wal", path);
    snprintf(kept, sizeof kept, "%s-wal", replaced);
    sqlite3 *database = NULL;
    int code = SQLITE_CORRUPT;
    if (wal_check(path, words, NULL) != MP_ERR_DAMAGED) {
        code = sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);
        if (code == SQLITE_OK)
            code = sqlite3_exec(database, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
        sqlite3_close_v2(database);
    }
    bool damaged = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
    if (!damaged && (code != SQLITE_OK || store_has_log(path)))
        return fault_set(fault, MP_ERR_BUSY, "%s: another program has it open", path);
    unlink(kept);
    if (rename(log, kept) != 0 && errno != ENOENT)
        return fault_system(fault, MP_ERR_IO, errno, "cannot move %s", log);
    if ((unlink(replaced) != 0 && errno != ENOENT) || link(path, replaced) != 0)
        return fault_system(fault, MP_ERR_IO, errno, "cannot keep %s as %s", path, replaced);
    return MP_OK;
}

enum mp_error store_restore(const char *from, const char *path, store_progress *progress, void *context,
                            struct fault *fault)
{
    char name[PATH_BYTES], replaced[4096], shared[4200];
    struct store holder = {.path = (char *)(uintptr_t)path, .lock = -1};
    if (same_file(from, path))
        return fault_set(fault, MP_ERR_INVALID, "%s is the store itself", from);
    if (snprintf(replaced, sizeof replaced, "%s.replaced", path) >= (int)sizeof replaced)
        return fault_set(fault, MP_ERR_TOO_LARGE, "a path of more than %zu bytes", sizeof replaced - 10);
    enum mp_error error = store_check_file_system(path, fault);
    if (!error && !(error = store_take_lock(&holder, fault)) &&
        !(error = copy_beside(from, false, path, name, progress, context, fault))) {
        snprintf(shared, sizeof shared, "%s-shm", path);
        if (!(error = put_aside(path, replaced, fault))) {
            unlink(shared);
            if (rename(name, path) != 0)
                error = fault_system(fault, MP_ERR_IO, errno, "cannot write %s", path);
        }
        if (error)
            unlink(name);
        else
            error = path_flush_directory(path, fault);
    }
    if (holder.lock >= 0)
        close(holder.lock);
    return error;
}
