/* A file of schema version 1 becomes one of the present version, and its rows stay what they were. */
#include "store_rig.h"

#include "message/lineage.h"

#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

/* What a relay of version 1 has written, with its checksums. */
static const char version_1[] =
    "CREATE TABLE numbers(name TEXT PRIMARY KEY, value INTEGER NOT NULL, checksum INTEGER) WITHOUT ROWID;"
    "INSERT INTO numbers VALUES('snapshot_event',-12345678901,-114407609556032568);"
    "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first INTEGER, end INTEGER,"
    " created INTEGER, checksum INTEGER);"
    "INSERT INTO topics VALUES(3,'orders.new',5,90,1234567,7747290837467877053);"
    "CREATE TABLE patterns(id INTEGER PRIMARY KEY, pattern TEXT NOT NULL, name TEXT NOT NULL, created INTEGER,"
    " checksum INTEGER, UNIQUE(pattern, name));"
    "INSERT INTO patterns VALUES(4,'orders.>','bill',-7,3059079732208230196);"
    "CREATE TABLE groups(id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, name TEXT NOT NULL, pattern INTEGER,"
    " start INTEGER, floor INTEGER, frontier INTEGER, dead INTEGER, event INTEGER, created INTEGER, checksum INTEGER);"
    "INSERT INTO groups VALUES(9,3,'bill',4,5,17,60,0,1234,99,-7012737163254584392);"
    "CREATE TABLE sessions(id INTEGER PRIMARY KEY, created INTEGER, used INTEGER, number0 INTEGER, number1 INTEGER,"
    " number2 INTEGER, result0 INTEGER, result1 INTEGER, result2 INTEGER, count0 INTEGER, count1 INTEGER,"
    " checksum INTEGER);"
    "INSERT INTO sessions VALUES(-81985529216486896,1,2,3,4,5,6,7,8,9,10,-8295373288660720634);"
    "CREATE TABLE blocks(id INTEGER PRIMARY KEY, ranges BLOB NOT NULL, checksum INTEGER);"
    "INSERT INTO blocks VALUES(38654705666,X'01020300ff',-1215323771495974012);"
    "CREATE TABLE frames(id INTEGER PRIMARY KEY, count INTEGER, session INTEGER, request INTEGER, time INTEGER,"
    " checksum INTEGER, frame BLOB NOT NULL);"
    "INSERT INTO frames VALUES(52776558133334,4,42,7,1700000000000001,6355957796338796368,"
    "X'"
    "6d706631000000002a00000000000000010000000000000000401e18240a0600040000003400000009000000000000000000000000000000"
    "decd9890b183cbb90900000061206d6573736167650900000061206d6573736167650900000061206d65737361676509000000"
    "61206d657373616765');"
    "CREATE TABLE events(id INTEGER PRIMARY KEY, kind INTEGER, topic INTEGER, grp INTEGER, session INTEGER,"
    " request INTEGER, first INTEGER, count INTEGER, attempt INTEGER, time INTEGER, due INTEGER, lease INTEGER,"
    " code INTEGER, checksum INTEGER);"
    "INSERT INTO events VALUES(1,3,3,9,-81985529216486896,4611686018427387921,20,30,2,1700000000000000,"
    "1700000001000000,5,-1,2785397178075242149);"
    "PRAGMA application_id=1836279664; PRAGMA user_version=1;";

static unsigned seen;

static enum mp_error see_topic(void *context, const struct store_topic *row)
{
    (void)context;
    seen++;
    assert_string_equal(row->name, "orders.new");
    assert_string_equal(row->settings, "");
    assert_true(row->id == 3 && row->first == 5 && row->end == 90 && row->created == 1234567 && !row->letters &&
                !row->counters && row->counters_size == 0);
    return MP_OK;
}

static enum mp_error see_pattern(void *context, const struct store_pattern *row)
{
    (void)context;
    seen++;
    assert_string_equal(row->pattern, "orders.>");
    assert_string_equal(row->group, "bill");
    assert_string_equal(row->settings, "");
    return MP_OK;
}

static enum mp_error see_group(void *context, const struct store_group *row)
{
    (void)context;
    seen++;
    assert_string_equal(row->name, "bill");
    assert_string_equal(row->settings, "");
    assert_true(row->id == 9 && row->floor == 17 && row->frontier == 60 && row->event == 1234 && !row->totals &&
                row->totals_size == 0 && row->used == 0);
    return MP_OK;
}

static enum mp_error see_session(void *context, const struct store_session *row)
{
    (void)context;
    seen++;
    assert_true(row->id == UINT64_C(0xfedcba9876543210) && row->numbers[2] == 5 && row->counts[1] == 10 &&
                row->keep == 0);
    return MP_OK;
}

static enum mp_error see_block(void *context, uint32_t block, const uint8_t *data, size_t size)
{
    (void)context;
    seen++;
    assert_true(block == 2 && size == 5 && data[4] == 255);
    return MP_OK;
}

static enum mp_error see_event(void *context, const struct store_event *row)
{
    (void)context;
    seen++;
    assert_true(row->id == 1 && row->kind == EVENT_RETRIED && row->first == 20 && row->count == 30 && row->span == 30 &&
                !row->mask && row->mask_size == 0 && row->code == -1);
    return MP_OK;
}

static enum mp_error see_frame(void *context, const struct store_frame *row)
{
    (void)context;
    seen++;
    assert_true(row->topic == 3 && row->first == 86 && row->count == 4 && row->target == 0 && !row->marks &&
                row->marks_size == 0);
    return MP_OK;
}

static enum mp_error see_nothing(void *context, const struct store_scheduled *row)
{
    (void)context;
    (void)row;
    fail_msg("a scheduled publication");
    return MP_OK;
}

static enum mp_error read_all(struct rig *rig, struct fault *fault)
{
    struct store *store = rig->store;
    int64_t number;
    struct store_frame frame;
    struct blob *blob = NULL;
    enum mp_error error;
    seen = 0;
    if ((error = store_get_number(store, "snapshot_event", &number, fault)) ||
        (error = store_each_topic(store, see_topic, NULL, fault)) ||
        (error = store_each_pattern(store, see_pattern, NULL, fault)) ||
        (error = store_each_group(store, see_group, NULL, fault)) ||
        (error = store_each_session(store, see_session, NULL, fault)) ||
        (error = store_each_block(store, 9, see_block, NULL, fault)) ||
        (error = store_each_event(store, 0, see_event, NULL, fault)) ||
        (error = store_each_frame(store, 3, 0, see_frame, NULL, fault)) ||
        (error = store_each_scheduled(store, 0, see_nothing, NULL, fault)) ||
        (error = store_read_frame(store, 3, 87, &frame, &blob, fault)))
        return error;
    struct frame opened;
    assert_true(number == -12345678901 && frame.target == 0 && !frame.marks);
    error = frame_open(&opened, frame.data, frame.size, true, fault);
    blob_drop(blob);
    return error;
}

static void make_version_1(struct rig *rig)
{
    rig_execute(rig, version_1);
    assert_int_equal(chmod(rig->path, 0600), 0);
}

static void rows_of_version_1_stay_what_they_were(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    make_version_1(rig);
    for (unsigned i = 0; i < 3; i++) { /* brought up once, then opened as it is */
        rig_open(rig);
        if (read_all(rig, &fault))
            fail_msg("%s", fault_text(&fault));
        assert_int_equal(seen, 7);
        rig_close(rig);
    }
}

static void rows_go_into_the_new_columns(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    struct buffer bytes = rig_frame(1, 300);
    struct store_frame frame = {.topic = 3,
                                .first = 90,
                                .count = 300,
                                .data = bytes.data,
                                .size = bytes.size,
                                .target = 9,
                                .marks = (const uint8_t *)"\x11\x01",
                                .marks_size = 2};
    make_version_1(rig);
    rig_open(rig);
    assert_int_equal(store_add_frame(rig->store, &frame, &fault), MP_OK);
    rig_close(rig);
    rig_open(rig);
    struct blob *blob;
    assert_int_equal(store_read_frame(rig->store, 3, 300, &frame, &blob, &fault), MP_OK);
    assert_true(frame.first == 90 && frame.target == 9 && frame.marks_size == 2 && frame.marks[0] == 0x11);
    assert_memory_equal(frame.data, bytes.data, bytes.size);
    blob_drop(blob);
    buffer_free(&bytes);
}

/* Each row of version 1 has to fit its checksum as much as one of today. */
static void damage_in_version_1_is_found(void **state)
{
    static const char *const damages[] = {
        "UPDATE numbers SET value = 7 WHERE name NOT LIKE 'rows%'",
        "UPDATE topics SET end = 91",
        "UPDATE patterns SET created = 0",
        "UPDATE groups SET floor = 18",
        "UPDATE sessions SET number1 = 5",
        "UPDATE blocks SET ranges = X'0102030000'",
        "UPDATE frames SET session = 43",
        "UPDATE events SET count = 31",
        "UPDATE topics SET letters = 1",
        "UPDATE groups SET used = 1",
        "UPDATE frames SET target = 1",
        "UPDATE frames SET marks = X'01'",
        "UPDATE events SET span = 1",
        "UPDATE events SET mask = X'01'",
        "UPDATE sessions SET keep = 60",
        "UPDATE patterns SET settings = 'rate=1'",
    };
    struct rig *rig = *state;
    for (unsigned i = 0; i < sizeof damages / sizeof *damages; i++) {
        struct fault fault = {0};
        make_version_1(rig);
        rig_open(rig);
        rig_close(rig);
        rig_execute(rig, damages[i]);
        rig_open(rig);
        if (read_all(rig, &fault) != MP_ERR_DAMAGED)
            fail_msg("not found: %s", damages[i]);
        rig_close(rig);
        unlink(rig->path);
    }
}

/* The tables of a file that was brought up, and of one that is new, have the same columns. */
static void both_ways_lead_to_the_same_tables(void **state)
{
    static const char all[] =
        "SELECT group_concat(line, char(10)) FROM (SELECT m.name || '.' || p.name || ' ' || p.type ||"
        " coalesce(p.dflt_value, '') AS line FROM sqlite_schema m, pragma_table_info(m.name) p"
        " WHERE m.type = 'table' UNION ALL SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        " ORDER BY line)";
    struct rig *rig = *state;
    char text[2][8192];
    for (unsigned i = 0; i < 2; i++) {
        sqlite3 *database;
        sqlite3_stmt *statement;
        if (i == 1)
            make_version_1(rig);
        rig_open(rig);
        rig_close(rig);
        assert_int_equal(sqlite3_open(rig->path, &database), SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(database, all, -1, &statement, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
        snprintf(text[i], sizeof text[i], "%s", (const char *)sqlite3_column_text(statement, 0));
        sqlite3_finalize(statement);
        sqlite3_close(database);
        unlink(rig->path);
    }
    assert_non_null(strstr(text[0], "frames.marks"));
    assert_non_null(strstr(text[0], "told_events"));
    assert_string_equal(text[0], text[1]);
}

static enum mp_error count(void *context, const struct store_event *event)
{
    (void)event;
    ++*(unsigned *)context;
    return MP_OK;
}

/* Its lineages come into the index, and it is not taken for one that has none. */
static void what_version_3_tells_is_found(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    static const uint8_t note[LINEAGE_BARE + 2] = {0};
    const struct store_event_filter told = {.told = true};
    unsigned found = 0;
    int64_t untraced = 0;
    rig_open(rig);
    for (uint64_t id = 1; id <= 100; id++) {
        const struct store_event event = {.id = id,
                                          .kind = EVENT_PUBLISHED,
                                          .topic = 1,
                                          .first = id,
                                          .count = 1,
                                          .span = 1,
                                          .note = note,
                                          .note_size = id == 50 ? sizeof note : LINEAGE_BARE};
        assert_int_equal(store_add_event(rig->store, &event, &fault), MP_OK);
    }
    assert_int_equal(store_commit(rig->store, &fault), MP_OK);
    rig_close(rig);
    rig_execute(rig, "DROP INDEX told_events; PRAGMA user_version=3");
    rig_open(rig);
    assert_int_equal(store_select_events(rig->store, &told, count, &found, &fault), MP_OK);
    assert_int_equal(found, 1);
    assert_int_equal(store_get_number(rig->store, STORE_UNTRACED, &untraced, &fault), MP_ERR_NOT_FOUND);
    rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_of_version_1_stay_what_they_were, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(rows_go_into_the_new_columns, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(damage_in_version_1_is_found, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_version_3_tells_is_found, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(both_ways_lead_to_the_same_tables, rig_set_up, rig_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
