/* private.h: what the files of lib/store share. */
#ifndef STORE_PRIVATE_H
#define STORE_PRIVATE_H

#include "message/lineage.h"
#include "store/store.h"

#include <sqlite3.h>

/* The texts are in store_statements.c. */
enum statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_GET_NUMBER,
    SQL_PUT_NUMBER,
    SQL_EACH_NUMBER,
    SQL_PUT_TOPIC,
    SQL_PUT_PATTERN,
    SQL_PUT_GROUP,
    SQL_PUT_SESSION,
    SQL_PUT_BLOCK,
    SQL_ADD_FRAME,
    SQL_ADD_EVENT,
    SQL_ADD_SCHEDULED,
    SQL_ADD_HASHES,
    SQL_EACH_TOPIC,
    SQL_EACH_PATTERN,
    SQL_EACH_GROUP,
    SQL_EACH_SESSION,
    SQL_EACH_BLOCK,
    SQL_EACH_EVENT,
    SQL_EACH_FRAME,
    SQL_EACH_SCHEDULED,
    SQL_EACH_HASHES,
    SQL_FRAME_AT,
    SQL_FRAME_AFTER,
    SQL_FRAME_LAST,
    SQL_LIST_FRAMES,
    SQL_FREE_PAGES,
    SQL_SUM_FRAMES,
    SQL_HASHES_AT,
    SQL_HASHES_TOPIC,
    SQL_FIRST_EVENT,
    SQL_SUM_EVENTS,
    SQL_LAST_EVENT,
    SQL_COUNT_SCHEDULED,
    SQL_LAST_SCHEDULED,
    SQL_FIND_SCHEDULED,
    SQL_NEXT_SCHEDULED,
    SQL_FRAMES_BELOW,
    SQL_HASHES_BELOW,
    SQL_EVENTS_BELOW,
    SQL_DELETE_FRAMES,
    SQL_DELETE_HASHES,
    SQL_DELETE_EVENT,
    SQL_DELETE_EVENTS,
    SQL_DELETE_BLOCKS,
    SQL_DELETE_TOPIC,
    SQL_DELETE_PATTERN,
    SQL_DELETE_GROUP,
    SQL_DELETE_SESSION,
    SQL_DELETE_SCHEDULED,
    SQL_SUM_NUMBERS, /* from here on in the order of enum digest */
    SQL_SUM_TOPICS,
    SQL_SUM_PATTERNS,
    SQL_SUM_GROUPS,
    SQL_SUM_SESSIONS,
    SQL_SUM_BLOCKS,
    SQL_SUM_SCHEDULE,
    SQL_SUM_HASHES,
    SQL_BLOCKS_GROUP,
    SQL_COUNT
};
const char *store_statement_text(enum statement which);

/* The columns of an event in the order in which store_take_event() takes them; the row's checksum is the next one. */
extern const char store_event_columns[];
struct row;
void store_take_event(struct row *row, struct store_event *event);

/*
 * The kinds of events that stand in an index of their own, because they are few and are asked for alone: failures, what
 * was passed over, and the names of sessions. The index's condition has to be the query's.
 */
#define STORE_RARE_KINDS                                                                                               \
    (1u << EVENT_RETRIED | 1u << EVENT_LAPSED | 1u << EVENT_DEAD | 1u << EVENT_EXPIRED | 1u << EVENT_DROPPED |         \
     1u << EVENT_GRANTED | 1u << EVENT_SESSION)
#define STORE_RARE_CONDITION "kind IN (3, 5, 6, 7, 8, 10, 14)"

/* The same for publications whose lineage is not bare: what belongs to a message is looked for among them. */
#define STORE_TOLD_CONDITION "kind = 13 AND length(note) > 24"
_Static_assert(EVENT_PUBLISHED == 13 && LINEAGE_BARE == 24, "the condition above says so");

/* The tables whose rows are summed up (store_digest.c). */
enum digest {
    DIGEST_NUMBERS, /* last when they are written: it covers the others */
    DIGEST_TOPICS,
    DIGEST_PATTERNS,
    DIGEST_GROUPS,
    DIGEST_SESSIONS,
    DIGEST_BLOCKS,
    DIGEST_SCHEDULE,
    DIGEST_HASHES,
    DIGEST_COUNT
};

struct store {
    char *path;
    sqlite3 *database;
    sqlite3_stmt *statements[SQL_COUNT];
    int lock; /* descriptor of the lock file; -1 for ":memory:" */
    bool memory;
    bool alone; /* opened as a file that nobody else has */
    bool writing;
    bool broken; /* an error of input or output, or what looks like damage: open again at the rollback */
    unsigned fail_commit;
    int64_t scheduled_due;  /* the time of the last row of the schedule that was made, */
    int64_t scheduled_next; /* and the key that the next one of that time is tried with */
    uint64_t digests[DIGEST_COUNT], saved_digests[DIGEST_COUNT]; /* the latter as of the last commit */
    bool digests_missing;                                        /* no row says them yet */
    void (*damage)(void *context, const char *table, int64_t key, const char *name);
    void *damage_context;
};

/* The prepared statement, reset and without bindings; NULL with FAULT set when it cannot be prepared. */
sqlite3_stmt *store_statement(struct store *store, enum statement which, struct fault *fault);

/* Turns SQLite's result into an mp_error, with words. */
enum mp_error store_failed(struct store *store, int result, const char *doing, struct fault *fault);

/* Brings the database's settings and tables into place; AGAIN: there have to be tables (MP_ERR_DAMAGED). */
enum mp_error store_prepare_schema(struct store *store, bool again, struct fault *fault);

/* Whether the database is a store, and one that can be read: its version. MP_ERR_DAMAGED, MP_ERR_VERSION. */
enum mp_error store_check_kind(struct store *store, int *version, bool *empty, struct fault *fault);

/* Closes the database, and all statements before it. */
void store_close_database(struct store *store);

/* MP_ERR_DAMAGED when PATH is there and is something else. Nothing is changed. */
enum mp_error store_check_file(const char *path, struct fault *fault);
/* Takes the lock beside the file. MP_ERR_BUSY, MP_ERR_IO. */
enum mp_error store_take_lock(struct store *store, struct fault *fault);

/* MP_ERR_DENIED for a network file system. */
enum mp_error store_check_file_system(const char *path, struct fault *fault);

/* Whether PATH has a log beside it: somebody has it open, or has died with it. */
bool store_has_log(const char *path);
/* PATH as a URI; ALONE: nobody else has the file and it has no log, so nothing is made beside it. False: too long. */
bool store_uri(const char *path, bool alone, char *uri, size_t room);

/* The size of a page, which the schema sets. */
enum { STORE_PAGE = 16384 };
/* Pages of the log at which it is copied and begins anew, which the schema sets too. */
enum { STORE_LOG_PAGES = 1000 };

/* ---- keys ----------------------------------------------------------------------------------------------------- */

/* A scheduled publication's key is its time and so many bits of a number. */
enum { STORE_DUE_BITS = 10 };
enum { STORE_OFFSET_BITS = 44 };
#define STORE_OFFSET_MASK ((UINT64_C(1) << STORE_OFFSET_BITS) - 1)

/* The key of what begins with OFFSET of TOPIC: a topic's rows lie together, a new one at their end. */
static inline int64_t store_key(uint32_t topic, uint64_t offset)
{
    return (int64_t)((uint64_t)topic << STORE_OFFSET_BITS | (offset & STORE_OFFSET_MASK));
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

/* A row's checksum: XXH3-64 of its columns as 64-bit numbers, text and blobs by their own XXH3-64. */
struct row_hash {
    uint64_t columns[32];
    unsigned count;
};
static inline void row_number(struct row_hash *hash, uint64_t number)
{
    hash->columns[hash->count++] = number;
}
void row_bytes(struct row_hash *hash, const void *bytes, size_t size);
int64_t row_checksum(const struct row_hash *hash);

/*
 * A column that came with a later version of the schema counts only when it is not at its default (0 or empty), so that
 * a row of an earlier version keeps the checksum that it has. COLUMN, from 1 on, tells it from the others.
 */
void row_later_number(struct row_hash *hash, unsigned column, uint64_t number);
void row_later_bytes(struct row_hash *hash, unsigned column, const void *bytes, size_t size);

/*
 * A statement that is being bound or read, column by column: what is bound or read is hashed as well, and the last
 * column is the checksum. The columns that came later stand behind the first ones, in the order of their coming.
 */
struct row {
    struct store *store;
    sqlite3_stmt *statement;
    int column;
    unsigned later;
    struct row_hash hash;
    int64_t checksum; /* that was bound */
};

/* False when the statement cannot be had: row_unopened() is the error. */
bool row_open(struct row *row, struct store *store, enum statement which, struct fault *fault);
enum mp_error row_unopened(const struct fault *fault);

/* Text and blobs are kept by reference until the statement has run. */
void bind_number(struct row *row, uint64_t value);
void bind_text(struct row *row, const char *text);
void bind_bytes(struct row *row, const void *data, size_t size);
void bind_later_number(struct row *row, uint64_t value);
void bind_later_text(struct row *row, const char *text); /* NULL: "" */
void bind_later_bytes(struct row *row, const void *data, size_t size);
void bind_checksum(struct row *row);
/* Runs a statement that has no rows to give; forgets what was bound. */
enum mp_error row_run(struct row *row, const char *doing, struct fault *fault);
/* The same for one that puts a row with KEY into a table with a digest, in place of the one that may be there. */
enum mp_error row_put(struct row *row, enum digest digest, int64_t key, const char *doing, struct fault *fault);

/* The next row of a walk, to be taken column by column; false at the end, and with *ERROR when it cannot be had. */
bool row_next(struct row *row, const char *doing, enum mp_error *error, struct fault *fault);
/* What is taken points into SQLite's row: good until the next one, or row_end(). */
uint64_t take_number(struct row *row);
const char *take_text(struct row *row);
const uint8_t *take_bytes(struct row *row, size_t *size);
uint64_t take_later_number(struct row *row);
const char *take_later_text(struct row *row);
const uint8_t *take_later_bytes(struct row *row, size_t *size); /* NULL when there are none */
bool checksum_fits(struct row *row);
/* Whether the row that was taken fits its checksum, its next column; *ERROR says it otherwise. */
bool row_fits(struct row *row, const char *table, enum mp_error *error, struct fault *fault);
/* Tells whoever wants to hear of it that the row KEY (or NAME) of TABLE is damaged; false: nobody does. */
bool row_damaged(const struct store *store, const char *table, int64_t key, const char *name);
/* Ends a walk; ERROR. */
enum mp_error row_end(const struct row *row, enum mp_error error);

/* ---- digests (store_digest.c) --------------------------------------------------------------------------------- */

/* A row with CHECKSUM is new in DIGEST's table. */
void digest_added(struct store *store, enum digest digest, int64_t checksum);
/* The rows with keys from LOW to HIGH, both included, are about to go. */
enum mp_error digest_removing(struct store *store, enum digest digest, int64_t low, int64_t high, struct fault *fault);
/* A number is about to be put in the place of NAME's. */
enum mp_error digest_number(struct store *store, const char *name, int64_t checksum, struct fault *fault);
/* After the tables are there: takes what the rows say; what none says is found by walking over the tables. */
enum mp_error digests_load(struct store *store, struct fault *fault);
/* Writes what has changed: part of a commit. */
enum mp_error digests_save(struct store *store, struct fault *fault);

#endif
