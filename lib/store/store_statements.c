#include "store/private.h"

/*
 * Columns are named everywhere: a file that was brought up from version 1 has the later ones at the end of its tables.
 * The order here is the one in which rows are bound and taken: the first columns, the later ones, the checksum.
 */
#define TOPIC "id, name, first, end, created, settings, letters, counters, checksum"
#define PATTERN "id, pattern, name, created, settings, checksum"
#define GROUP "id, topic, name, pattern, start, floor, frontier, dead, event, created, settings, totals, used, checksum"
#define SESSION                                                                                                        \
    "id, created, used, number0, number1, number2, result0, result1, result2, count0, count1, keep, checksum"
#define EVENT                                                                                                          \
    "id, kind, topic, grp, session, request, first, count, attempt, time, due, lease, code, span, mask, note, "        \
    "checksum"
#define SCHEDULED "id, topic, session, request, count, target, time, checksum"
#define HASHES "id, time, count, hashes, checksum"
#define FRAME "id, count, session, request, time, checksum, length(frame), target, length(marks)"

const char store_event_columns[] = EVENT;

static const char *const texts[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_GET_NUMBER] = "SELECT value, checksum FROM numbers WHERE name = ?1",
    [SQL_PUT_NUMBER] = "INSERT OR REPLACE INTO numbers(name, value, checksum) VALUES (?1, ?2, ?3)",
    [SQL_EACH_NUMBER] = "SELECT name, value, checksum FROM numbers",
    [SQL_PUT_TOPIC] = "INSERT OR REPLACE INTO topics(" TOPIC ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [SQL_PUT_PATTERN] = "INSERT OR REPLACE INTO patterns(" PATTERN ") VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [SQL_PUT_GROUP] = "INSERT OR REPLACE INTO groups(" GROUP ")"
                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    [SQL_PUT_SESSION] = "INSERT OR REPLACE INTO sessions(" SESSION ")"
                        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    [SQL_PUT_BLOCK] = "INSERT OR REPLACE INTO blocks(id, ranges, checksum) VALUES (?1, ?2, ?3)",
    [SQL_ADD_FRAME] = "INSERT INTO frames(id, count, session, request, time, checksum, target, marks, frame)"
                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [SQL_ADD_EVENT] = "INSERT INTO events(" EVENT ")"
                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    [SQL_ADD_SCHEDULED] = "INSERT INTO schedule(" SCHEDULED ", frame) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [SQL_ADD_HASHES] = "INSERT INTO hashes(" HASHES ") VALUES (?1, ?2, ?3, ?4, ?5)",
    [SQL_EACH_TOPIC] = "SELECT " TOPIC " FROM topics ORDER BY id",
    [SQL_EACH_PATTERN] = "SELECT " PATTERN " FROM patterns ORDER BY id",
    [SQL_EACH_GROUP] = "SELECT " GROUP " FROM groups ORDER BY id",
    [SQL_EACH_SESSION] = "SELECT " SESSION " FROM sessions ORDER BY id",
    [SQL_EACH_BLOCK] = "SELECT id, ranges, checksum FROM blocks WHERE id >= ?1 AND id < ?2 ORDER BY id",
    [SQL_EACH_EVENT] = "SELECT " EVENT " FROM events WHERE id > ?1 ORDER BY id",
    [SQL_EACH_FRAME] = "SELECT " FRAME ", marks, substr(frame, 57, 8) FROM frames"
                       " WHERE id >= ?1 AND id < ?2 ORDER BY id",
    [SQL_EACH_SCHEDULED] = "SELECT " SCHEDULED ", length(frame), substr(frame, 57, 8) FROM schedule"
                           " WHERE id > ?1 ORDER BY id",
    [SQL_EACH_HASHES] = "SELECT " HASHES " FROM hashes WHERE id >= ?1 AND id < ?2 AND time >= ?3 ORDER BY id",
    [SQL_FRAME_AT] = "SELECT " FRAME " FROM frames WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1",
    [SQL_FRAME_AFTER] = "SELECT " FRAME " FROM frames WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1",
    [SQL_FRAME_LAST] = "SELECT " FRAME " FROM frames WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT 1",
    [SQL_LIST_FRAMES] = "SELECT " FRAME " FROM frames WHERE id >= ?1 AND id < ?2 ORDER BY id",
    [SQL_FREE_PAGES] = "PRAGMA freelist_count",
    [SQL_SUM_FRAMES] = "SELECT coalesce(sum(length(frame)), 0) FROM frames WHERE id >= ?1 AND id < ?2",
    [SQL_HASHES_AT] = "SELECT " HASHES " FROM hashes WHERE id >= ?1 AND id <= ?2 ORDER BY id DESC LIMIT 1",
    [SQL_HASHES_TOPIC] = "SELECT id FROM hashes WHERE id >= ?1 ORDER BY id LIMIT 1",
    [SQL_FIRST_EVENT] = "SELECT " EVENT " FROM events WHERE id >= ?1 ORDER BY id LIMIT 1",
    [SQL_SUM_EVENTS] = "SELECT count(*), coalesce(sum(ifnull(length(mask), 0) + ifnull(length(note), 0)), 0)"
                       " FROM events WHERE id <= ?1",
    [SQL_LAST_EVENT] = "SELECT max(id) FROM events",
    [SQL_COUNT_SCHEDULED] = "SELECT count(*), coalesce(sum(count), 0) FROM schedule",
    [SQL_LAST_SCHEDULED] = "SELECT max(id) FROM schedule WHERE id >= ?1 AND id < ?2",
    [SQL_FIND_SCHEDULED] = "SELECT " SCHEDULED ", length(frame) FROM schedule WHERE id > ?1 ORDER BY id LIMIT 1",
    [SQL_NEXT_SCHEDULED] = "SELECT " SCHEDULED ", length(frame), frame FROM schedule"
                           " WHERE id > ?1 ORDER BY id LIMIT 1",
    [SQL_FRAMES_BELOW] = "SELECT id, count, length(frame) FROM frames WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
    [SQL_HASHES_BELOW] = "SELECT id, time FROM hashes WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
    [SQL_EVENTS_BELOW] = "SELECT max(id), count(*), sum(bytes) FROM"
                         " (SELECT id, ifnull(length(mask), 0) + ifnull(length(note), 0) AS bytes"
                         " FROM events WHERE id < ?1 ORDER BY id LIMIT ?2)",
    [SQL_DELETE_FRAMES] = "DELETE FROM frames WHERE id >= ?1 AND id < ?2",
    [SQL_DELETE_HASHES] = "DELETE FROM hashes WHERE id >= ?1 AND id <= ?2",
    [SQL_DELETE_EVENT] = "DELETE FROM events WHERE id = ?1",
    [SQL_DELETE_EVENTS] = "DELETE FROM events WHERE id <= ?1",
    [SQL_DELETE_BLOCKS] = "DELETE FROM blocks WHERE id >= ?1 AND id < ?2",
    [SQL_DELETE_TOPIC] = "DELETE FROM topics WHERE id = ?1",
    [SQL_DELETE_PATTERN] = "DELETE FROM patterns WHERE id = ?1",
    [SQL_DELETE_GROUP] = "DELETE FROM groups WHERE id = ?1",
    [SQL_DELETE_SESSION] = "DELETE FROM sessions WHERE id = ?1",
    [SQL_DELETE_SCHEDULED] = "DELETE FROM schedule WHERE id = ?1",
    [SQL_SUM_NUMBERS] = "SELECT checksum FROM numbers WHERE name <> 'rows_numbers'",
    [SQL_SUM_TOPICS] = "SELECT checksum FROM topics WHERE id >= ?1 AND id <= ?2",
    [SQL_SUM_PATTERNS] = "SELECT checksum FROM patterns WHERE id >= ?1 AND id <= ?2",
    [SQL_SUM_GROUPS] = "SELECT checksum FROM groups WHERE id >= ?1 AND id <= ?2",
    [SQL_SUM_SESSIONS] = "SELECT checksum FROM sessions WHERE id >= ?1 AND id <= ?2",
    [SQL_SUM_BLOCKS] = "SELECT checksum FROM blocks WHERE id >= ?1 AND id <= ?2",
    [SQL_SUM_SCHEDULE] = "SELECT checksum FROM schedule WHERE id >= ?1 AND id <= ?2",
    [SQL_SUM_HASHES] = "SELECT checksum FROM hashes WHERE id >= ?1 AND id <= ?2",
    [SQL_BLOCKS_GROUP] = "SELECT id FROM blocks WHERE id >= ?1 ORDER BY id LIMIT 1",
};

const char *store_statement_text(enum statement which)
{
    return texts[which];
}
