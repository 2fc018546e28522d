#include "store/private.h"

#include <time.h>

/*
 * The writer's log begins anew at STORE_LOG_PAGES, in a moment in which nobody reads. Readers that come one after the other,
 * or are several, leave no such moment: the log would grow for as long as they ask. So a reader that finds the log longer
 * than that lets the writer go first.
 */
enum {
    LOOK = 500,           /* microseconds from one look at the log to the next */
    QUIET = 10 * 1000,    /* nothing was written for that long: there is nobody to wait for */
    PATIENCE = 100 * 1000 /* it waits for that long at most */
};

/*
 * The count of pages in the log as its index says it (sqlite.org/walformat.html, 2.1: mxFrame, in the machine's order), or
 * NULL where there is no index. SQLite's own mapping: a descriptor of ours would end SQLite's locks when it is closed
 * (fcntl(2)).
 */
static const uint32_t *find_pages(struct store *store)
{
    enum { REGION = 32768, AT_LAST = 16 };
    sqlite3_file *file = NULL;
    void volatile *index = NULL;
    if (sqlite3_file_control(store->database, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || !file ||
        !file->pMethods || file->pMethods->iVersion < 2 || !file->pMethods->xShmMap ||
        file->pMethods->xShmMap(file, 0, REGION, 0, &index) != SQLITE_OK || !index)
        return NULL;
    return (const uint32_t *)((const char *)index + AT_LAST);
}

/* Whether it is kept with a log, as each store is that a relay has opened: asked for an index, SQLite makes one. */
static bool has_log(struct store *store)
{
    static const char text[] = "SELECT journal_mode = 'wal' FROM pragma_journal_mode";
    sqlite3_stmt *statement;
    bool has = sqlite3_prepare_v2(store->database, text, -1, &statement, NULL) == SQLITE_OK &&
               sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_int(statement, 0) != 0;
    sqlite3_finalize(statement);
    return has;
}

static void let_log_begin(struct store *store)
{
    const struct timespec look = {.tv_nsec = LOOK * 1000};
    const uint32_t *pages = !store->alone && has_log(store) ? find_pages(store) : NULL;
    uint32_t seen = pages ? __atomic_load_n(pages, __ATOMIC_RELAXED) : 0;
    for (int waited = 0, quiet = 0; seen >= STORE_LOG_PAGES && quiet < QUIET && waited < PATIENCE; waited += LOOK) {
        nanosleep(&look, NULL);
        uint32_t now = __atomic_load_n(pages, __ATOMIC_RELAXED);
        quiet = now == seen ? quiet + LOOK : 0;
        seen = now;
    }
}

enum mp_error store_hold(struct store *store, struct fault *fault)
{
    let_log_begin(store);
    int result = sqlite3_exec(store->database, "BEGIN", NULL, NULL, NULL);
    return result == SQLITE_OK ? MP_OK : store_failed(store, result, "read", fault);
}

void store_let_go(struct store *store)
{
    if (!sqlite3_get_autocommit(store->database))
        sqlite3_exec(store->database, "ROLLBACK", NULL, NULL, NULL);
}
