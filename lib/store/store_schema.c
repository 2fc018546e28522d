#include "store/private.h"

#include <stdio.h>

/*
 * A frame's key is its topic and its first offset, so that a topic's frames lie together, a new one goes to its end,
 * and no index beside the table is needed: id = topic << 44 | offset; the same for hashes. A block's is its group << 32 |
 * offset >> 12; a scheduled publication's is its time << 10 | a number.
 *
 * What is read without the blob stands before it: behind it, it would be found at the end of its pages.
 */
static const char tables[] =
    "CREATE TABLE numbers(name TEXT PRIMARY KEY, value INTEGER NOT NULL, checksum INTEGER)"
    " WITHOUT ROWID;"
    "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first INTEGER,"
    " end INTEGER, created INTEGER, checksum INTEGER, settings TEXT DEFAULT '', letters INTEGER DEFAULT 0,"
    " counters BLOB);"
    "CREATE TABLE patterns(id INTEGER PRIMARY KEY, pattern TEXT NOT NULL, name TEXT NOT NULL,"
    " created INTEGER, checksum INTEGER, settings TEXT DEFAULT '', UNIQUE(pattern, name));"
    "CREATE TABLE groups(id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, name TEXT NOT NULL,"
    " pattern INTEGER, start INTEGER, floor INTEGER, frontier INTEGER, dead INTEGER, event INTEGER,"
    " created INTEGER, checksum INTEGER, settings TEXT DEFAULT '', totals BLOB, used INTEGER DEFAULT 0);"
    "CREATE TABLE sessions(id INTEGER PRIMARY KEY, created INTEGER, used INTEGER,"
    " number0 INTEGER, number1 INTEGER, number2 INTEGER, result0 INTEGER, result1 INTEGER,"
    " result2 INTEGER, count0 INTEGER, count1 INTEGER, checksum INTEGER, keep INTEGER DEFAULT 0);"
    "CREATE TABLE blocks(id INTEGER PRIMARY KEY, ranges BLOB NOT NULL, checksum INTEGER);"
    "CREATE TABLE frames(id INTEGER PRIMARY KEY, count INTEGER, session INTEGER,"
    " request INTEGER, time INTEGER, checksum INTEGER, target INTEGER DEFAULT 0, marks BLOB, frame BLOB NOT NULL);"
    "CREATE TABLE events(id INTEGER PRIMARY KEY, kind INTEGER, topic INTEGER, grp INTEGER,"
    " session INTEGER, request INTEGER, first INTEGER, count INTEGER, attempt INTEGER,"
    " time INTEGER, due INTEGER, lease INTEGER, code INTEGER, checksum INTEGER, span INTEGER DEFAULT 0, mask BLOB,"
    " note BLOB);";

#define SCHEDULE                                                                                                       \
    "CREATE TABLE schedule(id INTEGER PRIMARY KEY, topic INTEGER, session INTEGER, request INTEGER,"                   \
    " count INTEGER, target INTEGER, time INTEGER, checksum INTEGER, frame BLOB NOT NULL);"
#define HASHES                                                                                                         \
    "CREATE TABLE hashes(id INTEGER PRIMARY KEY, time INTEGER, count INTEGER, checksum INTEGER,"                       \
    " hashes BLOB NOT NULL);"
#define RARE_EVENTS "CREATE INDEX rare_events ON events(kind) WHERE " STORE_RARE_CONDITION ";"
#define TOLD_EVENTS "CREATE INDEX told_events ON events(kind) WHERE " STORE_TOLD_CONDITION ";"
static const char later_tables[] = SCHEDULE HASHES RARE_EVENTS TOLD_EVENTS;

/*
 * From version 1 to 2, to 3, and to 4. Rows stay as they are: a later column at its default is not part of a row's
 * checksum, and in a row that was written before it is not there at all. Behind a blob an empty column costs no look at
 * the blob's pages.
 */
static const char to_2[] = "ALTER TABLE topics ADD COLUMN settings TEXT DEFAULT '';"
                           "ALTER TABLE topics ADD COLUMN letters INTEGER DEFAULT 0;"
                           "ALTER TABLE topics ADD COLUMN counters BLOB;"
                           "ALTER TABLE patterns ADD COLUMN settings TEXT DEFAULT '';"
                           "ALTER TABLE groups ADD COLUMN settings TEXT DEFAULT '';"
                           "ALTER TABLE groups ADD COLUMN totals BLOB;"
                           "ALTER TABLE groups ADD COLUMN used INTEGER DEFAULT 0;"
                           "ALTER TABLE sessions ADD COLUMN keep INTEGER DEFAULT 0;"
                           "ALTER TABLE frames ADD COLUMN target INTEGER DEFAULT 0;"
                           "ALTER TABLE frames ADD COLUMN marks BLOB;"
                           "ALTER TABLE events ADD COLUMN span INTEGER DEFAULT 0;"
                           "ALTER TABLE events ADD COLUMN mask BLOB;" SCHEDULE HASHES;
static const char to_3[] = "ALTER TABLE events ADD COLUMN note BLOB;" RARE_EVENTS;
static const char to_4[] = TOLD_EVENTS;

/* "msgp": so that file(1) and other relays know the file. */
static const int application = 0x6d736770;

static enum mp_error execute(struct store *store, const char *text, const char *doing, struct fault *fault)
{
    int result = sqlite3_exec(store->database, text, NULL, NULL, NULL);
    return result == SQLITE_OK ? MP_OK : store_failed(store, result, doing, fault);
}

static enum mp_error read_pragma(struct store *store, const char *text, int *value, struct fault *fault)
{
    sqlite3_stmt *statement;
    int result = sqlite3_prepare_v2(store->database, text, -1, &statement, NULL);
    if (result == SQLITE_OK) {
        result = sqlite3_step(statement);
        if (result == SQLITE_ROW)
            *value = sqlite3_column_int(statement, 0);
        sqlite3_finalize(statement);
    }
    return result == SQLITE_ROW ? MP_OK : store_failed(store, result, text, fault);
}

/*
 * Settings that belong to the connection; the page size and auto_vacuum count for a new file only. The latter is for the
 * map of pages that comes with it, by which SQLite finds the pages of a frame that it deletes without reading them; a file
 * without the map works as well, and slower. The log is 16 MiB and used again and again; one that has grown while somebody
 * read (a backup) is cut.
 */
static const char settings[] = "PRAGMA page_size=16384;"
                               "PRAGMA auto_vacuum=INCREMENTAL;"
                               "PRAGMA journal_mode=WAL;"
                               "PRAGMA synchronous=FULL;"
                               "PRAGMA secure_delete=OFF;"
                               "PRAGMA cache_size=-8192;"
                               "PRAGMA temp_store=MEMORY;"
                               "PRAGMA wal_autocheckpoint=1000;"
                               "PRAGMA journal_size_limit=67108864;"
                               "PRAGMA trusted_schema=OFF;"
                               "PRAGMA cell_size_check=ON;";

/*
 * What the log holds may be in the system's memory only: a relay that was killed between writing a commit and flushing
 * it, or whose flush failed, leaves it like that, and a repeat of its requests would be answered as stored. So nothing
 * is served before the log is flushed and copied into the database, which is flushed as well.
 */
static const char settle_log[] = "PRAGMA wal_checkpoint(PASSIVE);";

/* Asked for the log, SQLite answers with the mode that it could have. */
static enum mp_error check_journal(struct store *store, struct fault *fault)
{
    int is_log = 0;
    if (store->memory)
        return MP_OK;
    enum mp_error error = read_pragma(store, "SELECT journal_mode = 'wal' FROM pragma_journal_mode", &is_log, fault);
    if (error || is_log)
        return error;
    return fault_set(fault, MP_ERR_UNSUPPORTED,
                     "%s: its file system cannot keep a write-ahead log: "
                     "choose another directory with --store",
                     store->path);
}

/* Ends the transaction that has made or changed the tables: they, their digests and the version become visible together. */
static enum mp_error commit_version(struct store *store, struct fault *fault)
{
    char text[120];
    enum mp_error error = digests_load(store, fault);
    if (error || (error = digests_save(store, fault)))
        return error;
    snprintf(text, sizeof text, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT;", application,
             STORE_VERSION);
    return execute(store, text, "make the tables", fault);
}

static enum mp_error make_tables(struct store *store, struct fault *fault)
{
    enum mp_error error;
    if ((error = execute(store, "BEGIN IMMEDIATE", "make the tables", fault)) ||
        (error = execute(store, tables, "make the tables", fault)) ||
        (error = execute(store, later_tables, "make the tables", fault)))
        return error;
    return commit_version(store, fault);
}

/* What later relays say of events: which is the oldest, and that publications have none. */
static enum mp_error tell_of_events(struct store *store, struct fault *fault)
{
    struct store_event event;
    enum mp_error error = store_put_number(store, STORE_UNTRACED, 1, fault);
    if (error || (error = store_find_event(store, 0, &event, fault)))
        return error == MP_ERR_NOT_FOUND ? MP_OK : error;
    return event.id > 1 ? store_put_number(store, STORE_EVENTS_FIRST, (int64_t)event.id, fault) : MP_OK;
}

/* A kill in between leaves the file as it was: SQLite rolls back. */
static enum mp_error bring_up(struct store *store, int version, struct fault *fault)
{
    static const char doing[] = "bring the tables up to date";
    enum mp_error error = execute(store, "BEGIN IMMEDIATE", doing, fault);
    if (!error && version < 2)
        error = execute(store, to_2, doing, fault);
    if (!error && version < 3 && !(error = execute(store, to_3, doing, fault)))
        error = tell_of_events(store, fault);
    if (!error)
        error = execute(store, to_4, doing, fault);
    if (error)
        return error;
    return commit_version(store, fault);
}

enum mp_error store_check_kind(struct store *store, int *version, bool *empty, struct fault *fault)
{
    sqlite3_busy_timeout(store->database, 2000); /* for readers that recover the WAL */
    int id = 0, count = 0;
    enum mp_error error;
    *version = 0;
    if ((error = read_pragma(store, "PRAGMA application_id", &id, fault)) ||
        (error = read_pragma(store, "PRAGMA user_version", version, fault)) ||
        (error = read_pragma(store, "SELECT count(*) FROM sqlite_schema", &count, fault)))
        return error;
    *empty = count == 0;
    if (count > 0 && id != application)
        return fault_set(fault, MP_ERR_DAMAGED, "%s: not a store: a database of another program", store->path);
    if (count > 0 && (*version < 1 || *version > STORE_VERSION))
        return fault_set(fault, MP_ERR_VERSION,
                         "%s: a store of version %d, and this relay knows version %d: use the relay that made it",
                         store->path, *version, STORE_VERSION);
    return MP_OK;
}

enum mp_error store_prepare_schema(struct store *store, bool again, struct fault *fault)
{
    int version;
    bool empty;
    enum mp_error error = store_check_kind(store, &version, &empty, fault);
    if (error)
        return error;
    if (empty && again)
        return fault_set(fault, MP_ERR_DAMAGED, "%s: the store is empty now, and was not before", store->path);
    if ((error = execute(store, settings, "settings", fault)) || (error = check_journal(store, fault)))
        return error;
    if (!empty && (error = execute(store, settle_log, "bring the log's commits to the disk", fault)))
        return error;
    if (version == STORE_VERSION)
        return MP_OK;
    return empty ? make_tables(store, fault) : bring_up(store, version, fault);
}
