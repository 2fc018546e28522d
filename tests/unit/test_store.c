/* store/store.h: rows that come back as they went, damage that is found and named, files that are refused. */
#include "store_rig.h"

#include "message/frame.h"
#include "store/private.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const struct store_topic topic = {.id = 3,
                                         .name = "orders.new",
                                         .first = 5,
                                         .end = 90,
                                         .created = 1234567,
                                         .settings = "max_messages=5\n",
                                         .letters = true,
                                         .counters = (const uint8_t *)"counters",
                                         .counters_size = 8};
static const struct store_pattern pattern = {
    .id = 4, .pattern = "orders.>", .group = "bill", .created = -7, .settings = "rate=5\n"};
static const struct store_group group = {.id = 9,
                                         .topic = 3,
                                         .name = "bill",
                                         .pattern = 4,
                                         .start = 5,
                                         .floor = 17,
                                         .frontier = 60,
                                         .event = 1234,
                                         .created = 99,
                                         .settings = "max_in_flight=7\n",
                                         .totals = (const uint8_t *)"totals",
                                         .totals_size = 6,
                                         .used = 1700000000000007};
static const struct store_session session = {.id = UINT64_C(0xfedcba9876543210),
                                             .created = 1,
                                             .used = 2,
                                             .numbers = {3, 4, 5},
                                             .results = {6, 7, 8},
                                             .counts = {9, 10, 0},
                                             .keep = 2592000};
static const struct store_event event = {.id = 1,
                                         .kind = EVENT_RETRIED,
                                         .topic = 3,
                                         .group = 9,
                                         .session = UINT64_C(0xfedcba9876543210),
                                         .request = UINT64_C(1) << 62 | 17,
                                         .first = 20,
                                         .count = 30,
                                         .attempt = 2,
                                         .time = 1700000000000000,
                                         .due = 1700000001000000,
                                         .lease = 5,
                                         .code = -1,
                                         .span = 40,
                                         .mask = (const uint8_t *)"\xff\xff\x3f\xff\x0f",
                                         .mask_size = 5};
static const struct store_hashes hashes = {.topic = 3,
                                           .first = 86,
                                           .time = 1700000000000001,
                                           .count = 2,
                                           .hashes = (const uint8_t *)"0123456789abcdef0123456789ABCDEF"};
static const uint8_t ranges[] = {1, 2, 3, 0, 255};

/* A row in each table. */
static void fill(struct rig *rig)
{
    struct buffer bytes = rig_frame(42, 4);
    struct store_frame frame = {.topic = 3,
                                .first = 86,
                                .count = 4,
                                .session = 42,
                                .request = 7,
                                .time = 1700000000000001,
                                .data = bytes.data,
                                .size = bytes.size,
                                .target = 9,
                                .marks = (const uint8_t *)"\x05",
                                .marks_size = 1};
    struct store_scheduled scheduled = {.due = 1700000000000002,
                                        .topic = 3,
                                        .session = 42,
                                        .request = 8,
                                        .count = 4,
                                        .target = 9,
                                        .time = 1700000000000001,
                                        .data = bytes.data,
                                        .size = bytes.size};
    struct fault fault = {0};
    assert_int_equal(store_begin(rig->store, &fault), MP_OK);
    assert_int_equal(store_put_number(rig->store, "snapshot_event", -12345678901, &fault), MP_OK);
    assert_int_equal(store_put_topic(rig->store, &topic, &fault), MP_OK);
    assert_int_equal(store_put_pattern(rig->store, &pattern, &fault), MP_OK);
    assert_int_equal(store_put_group(rig->store, &group, &fault), MP_OK);
    assert_int_equal(store_put_session(rig->store, &session, &fault), MP_OK);
    assert_int_equal(store_put_block(rig->store, 9, 2, ranges, sizeof ranges, &fault), MP_OK);
    assert_int_equal(store_add_frame(rig->store, &frame, &fault), MP_OK);
    assert_int_equal(store_add_event(rig->store, &event, &fault), MP_OK);
    assert_int_equal(store_add_scheduled(rig->store, &scheduled, &fault), MP_OK);
    assert_int_equal(store_add_hashes(rig->store, &hashes, &fault), MP_OK);
    assert_int_equal(store_commit(rig->store, &fault), MP_OK);
    assert_false(store_is_writing(rig->store));
    buffer_free(&bytes);
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

static unsigned seen;

static enum mp_error see_topic(void *context, const struct store_topic *row)
{
    (void)context;
    seen++;
    assert_int_equal(row->id, topic.id);
    assert_string_equal(row->name, topic.name);
    assert_true(row->first == topic.first && row->end == topic.end && row->created == topic.created);
    assert_string_equal(row->settings, topic.settings);
    assert_true(row->letters);
    assert_int_equal(row->counters_size, topic.counters_size);
    assert_memory_equal(row->counters, topic.counters, topic.counters_size);
    return MP_OK;
}

static enum mp_error see_pattern(void *context, const struct store_pattern *row)
{
    (void)context;
    seen++;
    assert_string_equal(row->pattern, pattern.pattern);
    assert_string_equal(row->group, pattern.group);
    assert_string_equal(row->settings, pattern.settings);
    assert_true(row->id == pattern.id && row->created == pattern.created);
    return MP_OK;
}

static enum mp_error see_group(void *context, const struct store_group *row)
{
    (void)context;
    seen++;
    assert_string_equal(row->name, group.name);
    assert_true(row->id == group.id && row->topic == group.topic && row->pattern == group.pattern &&
                row->start == group.start && row->floor == group.floor && row->frontier == group.frontier &&
                row->event == group.event && row->created == group.created && row->used == group.used);
    assert_string_equal(row->settings, group.settings);
    assert_int_equal(row->totals_size, group.totals_size);
    assert_memory_equal(row->totals, group.totals, group.totals_size);
    return MP_OK;
}

static enum mp_error see_session(void *context, const struct store_session *row)
{
    (void)context;
    seen++;
    assert_memory_equal(row, &session, sizeof session);
    return MP_OK;
}

static enum mp_error see_block(void *context, uint32_t block, const uint8_t *data, size_t size)
{
    (void)context;
    seen++;
    assert_int_equal(block, 2);
    assert_int_equal(size, sizeof ranges);
    assert_memory_equal(data, ranges, size);
    return MP_OK;
}

static enum mp_error see_event(void *context, const struct store_event *row)
{
    (void)context;
    seen++;
    assert_true(row->id == event.id && row->kind == event.kind && row->topic == event.topic &&
                row->group == event.group && row->session == event.session && row->request == event.request &&
                row->first == event.first && row->count == event.count && row->attempt == event.attempt &&
                row->time == event.time && row->due == event.due && row->lease == event.lease &&
                row->code == event.code && row->span == event.span && row->mask_size == event.mask_size);
    assert_memory_equal(row->mask, event.mask, event.mask_size);
    return MP_OK;
}

static enum mp_error see_frame(void *context, const struct store_frame *row)
{
    (void)context;
    seen++;
    assert_true(row->topic == 3 && row->first == 86 && row->count == 4 && row->session == 42 && row->request == 7 &&
                row->time == 1700000000000001 && row->target == 9 && row->marks_size == 1 && row->marks[0] == 5);
    assert_null(row->data);
    return MP_OK;
}

static enum mp_error see_scheduled(void *context, const struct store_scheduled *row)
{
    (void)context;
    seen++;
    assert_true(row->due == 1700000000000002 && row->topic == 3 && row->session == 42 && row->request == 8 &&
                row->count == 4 && row->target == 9 && row->time == 1700000000000001 && row->size > 0);
    assert_null(row->data);
    return MP_OK;
}

static enum mp_error see_hashes(void *context, const struct store_hashes *row)
{
    (void)context;
    seen++;
    assert_true(row->topic == 3 && row->first == 86 && row->time == hashes.time && row->count == 2);
    assert_memory_equal(row->hashes, hashes.hashes, 32);
    return MP_OK;
}

/* Reads everything; the first error, with the words of FAULT. */
static enum mp_error read_all(struct rig *rig, struct fault *fault)
{
    struct store *store = rig->store;
    int64_t number;
    struct store_frame frame;
    struct blob *blob = NULL;
    enum mp_error error;
    seen = 0;
    if ((error = store_get_number(store, "snapshot_event", &number, fault)))
        return error;
    assert_true(number == -12345678901);
    if ((error = store_each_topic(store, see_topic, NULL, fault)) ||
        (error = store_each_pattern(store, see_pattern, NULL, fault)) ||
        (error = store_each_group(store, see_group, NULL, fault)) ||
        (error = store_each_session(store, see_session, NULL, fault)) ||
        (error = store_each_block(store, 9, see_block, NULL, fault)) ||
        (error = store_each_event(store, 0, see_event, NULL, fault)) ||
        (error = store_each_frame(store, 3, 0, see_frame, NULL, fault)) ||
        (error = store_each_scheduled(store, 0, see_scheduled, NULL, fault)) ||
        (error = store_each_hashes(store, 3, 0, see_hashes, NULL, fault)) ||
        (error = store_read_frame(store, 3, 87, &frame, &blob, fault)))
        return error;
    struct frame opened;
    error = frame_open(&opened, frame.data, frame.size, true, fault);
    if (!error)
        assert_true(frame.target == 9 && frame.marks_size == 1 && frame.marks[0] == 5);
    blob_drop(blob);
    return error;
}

static void rows_come_back_as_they_went(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    rig_open(rig);
    fill(rig);
    assert_int_equal(read_all(rig, &fault), MP_OK);
    assert_int_equal(seen, 9);
    rig_close(rig);
    rig_open(rig);
    assert_int_equal(read_all(rig, &fault), MP_OK);
    assert_int_equal(seen, 9);
    int64_t number;
    uint64_t last;
    assert_int_equal(store_get_number(rig->store, "nothing", &number, &fault), MP_ERR_NOT_FOUND);
    assert_int_equal(store_last_event(rig->store, &last, &fault), MP_OK);
    assert_int_equal(last, 1);
    seen = 0;
    assert_int_equal(store_each_event(rig->store, 1, see_event, NULL, &fault), MP_OK);
    assert_int_equal(store_each_block(rig->store, 8, see_block, NULL, &fault), MP_OK);
    assert_int_equal(store_each_frame(rig->store, 2, 0, see_frame, NULL, &fault), MP_OK);
    assert_int_equal(store_delete_blocks(rig->store, 9, 3, &fault), MP_OK);
    assert_int_equal(store_each_block(rig->store, 9, see_block, NULL, &fault), MP_OK);
    assert_int_equal(store_delete_session(rig->store, session.id, &fault), MP_OK);
    assert_int_equal(store_each_session(rig->store, see_session, NULL, &fault), MP_OK);
    assert_int_equal(seen, 0);
}

static void a_frame_is_found_by_any_of_its_offsets(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    struct store_frame frame;
    rig_open(rig);
    assert_int_equal(store_last_frame(rig->store, 1, &frame, &fault), MP_ERR_NOT_FOUND);
    for (unsigned i = 0; i < 10; i++) {
        struct buffer bytes = rig_frame(1, 5);
        struct store_frame row = {.topic = 1 + i % 2,
                                  .first = (uint64_t)(i / 2) * 5 + (i / 2 > 2 ? 100 : 0),
                                  .count = 5,
                                  .data = bytes.data,
                                  .size = bytes.size};
        assert_int_equal(store_add_frame(rig->store, &row, &fault), MP_OK);
        buffer_free(&bytes);
    }
    for (uint64_t offset = 0; offset < 125; offset++) {
        enum mp_error error = store_find_frame(rig->store, 1, offset, &frame, &fault);
        assert_int_equal(error, MP_OK);
        assert_int_equal(frame.topic, 1);
        assert_int_equal(frame.first, offset < 15 ? offset / 5 * 5 : offset < 115 ? 115 : offset / 5 * 5);
    }
    assert_int_equal(store_find_frame(rig->store, 1, 125, &frame, &fault), MP_ERR_NOT_FOUND);
    assert_int_equal(store_last_frame(rig->store, 1, &frame, &fault), MP_OK);
    assert_int_equal(frame.first, 120);
}

/* ---- damage ---------------------------------------------------------------------------------------------------- */

static void damage_is_found_in_each_column_and_named(void **state)
{
    static const struct {
        const char *table, *columns, *name; /* of columns: $ before what is not a number */
    } tables[] = {
        {"numbers", "value", "numbers"},
        {"topics", "id $name first end created $settings letters $counters", "topics"},
        {"patterns", "id $pattern $name created $settings", "patterns"},
        {"groups", "id topic $name pattern start floor frontier event created $settings $totals used", "groups"},
        {"sessions", "id created used number0 number1 number2 result0 result1 result2 count0 count1 keep", "sessions"},
        {"blocks", "id $ranges", "blocks"},
        {"events", "id kind topic grp session request first count attempt time due lease code span $mask", "events"},
        {"frames", "id count session request time target $marks", "frame"},
        {"schedule", "id topic session request count target time", "schedule"},
        {"hashes", "id time count $hashes", "hashes"},
    };
    struct rig *rig = *state;
    for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++) {
        char columns[120], *rest = columns;
        snprintf(columns, sizeof columns, "%s checksum", tables[i].columns);
        for (char *column; (column = strtok_r(rest, " ", &rest));) {
            char text[300];
            bool bytes = column[0] == '$';
            column += bytes;
            struct fault fault = {0};
            rig_open(rig);
            fill(rig);
            rig_close(rig);
            snprintf(text, sizeof text, bytes ? "UPDATE %s SET %s = %s || 'x'" : "UPDATE %s SET %s = %s + 1",
                     tables[i].table, column, column);
            if (i == 0) /* those without which a store cannot be opened are damaged elsewhere */
                snprintf(text + strlen(text), sizeof text - strlen(text), " WHERE name NOT LIKE 'rows%%'");
            rig_execute(rig, text);
            rig_open(rig);
            if (read_all(rig, &fault) != MP_ERR_DAMAGED)
                fail_msg("%s: not found", text);
            assert_non_null(strstr(fault_text(&fault), tables[i].name));
            assert_non_null(strstr(fault_text(&fault), rig->path));
            rig_close(rig);
            unlink(rig->path);
        }
    }
}

static enum mp_error see_digest(void *context, const struct store_digest *digest)
{
    const char *wrong = context;
    bool fits = digest->known && digest->fits && digest->rows == digest->rows_written;
    if (fits == (strcmp(digest->table, wrong) == 0))
        fail_msg("%s: %d, %u rows of %u", digest->table, (int)digest->fits, digest->rows, digest->rows_written);
    return MP_OK;
}

static void check_digests(struct rig *rig, const char *wrong)
{
    rig_open(rig);
    assert_int_equal(store_each_digest(rig->store, see_digest, (void *)(uintptr_t)wrong, NULL), MP_OK);
    rig_close(rig);
}

/* Also through changes, deletions, and a turn that is undone. */
static void a_row_that_is_removed_or_put_back_is_known(void **state)
{
    static const char *const tables[] = {"numbers",  "topics", "patterns", "groups",
                                         "sessions", "blocks", "schedule", "hashes"};
    struct rig *rig = *state;
    for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++) {
        char text[300];
        rig_open(rig);
        fill(rig);
        rig_close(rig);
        check_digests(rig, "");
        snprintf(text, sizeof text, "CREATE TABLE kept AS SELECT * FROM %s", tables[i]);
        rig_execute(rig, text);
        rig_open(rig);
        assert_int_equal(store_begin(rig->store, NULL), MP_OK);
        struct store_topic changed = topic;
        changed.first++;
        assert_int_equal(store_put_topic(rig->store, &changed, NULL), MP_OK);
        assert_int_equal(store_delete_session(rig->store, session.id, NULL), MP_OK);
        assert_int_equal(store_rollback(rig->store, NULL), MP_OK);
        assert_int_equal(store_begin(rig->store, NULL), MP_OK);
        assert_int_equal(store_put_topic(rig->store, &changed, NULL), MP_OK);
        assert_int_equal(store_put_number(rig->store, "other", 5, NULL), MP_OK);
        assert_int_equal(store_commit(rig->store, NULL), MP_OK);
        rig_close(rig);
        check_digests(rig, "");
        if (i == 1) { /* as it was before */
            rig_execute(rig, "REPLACE INTO topics SELECT * FROM kept");
            check_digests(rig, "topics");
        }
        snprintf(text, sizeof text, "DELETE FROM %s WHERE rowid IN (SELECT rowid FROM %s LIMIT 1)", tables[i],
                 tables[i]);
        rig_execute(rig, i == 0 ? "DELETE FROM numbers WHERE name = 'other'" : text);
        check_digests(rig, tables[i]);
        unlink(rig->path);
    }
}

static void a_frame_whose_bytes_are_damaged_is_found(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    rig_open(rig);
    fill(rig);
    rig_close(rig);
    rig_execute(rig, "UPDATE frames SET frame = substr(frame, 1, 70) || x'ff' || substr(frame, 72)");
    rig_open(rig);
    assert_int_equal(read_all(rig, &fault), MP_ERR_DAMAGED);
}

/* Who goes from frame to frame would not get on. */
static void a_frame_of_no_messages_is_damaged(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    struct buffer bytes = rig_frame(1, 5);
    struct store_frame frame = {.topic = 3, .first = 7, .data = bytes.data, .size = bytes.size};
    struct blob *blob;
    rig_open(rig);
    assert_int_equal(store_add_frame(rig->store, &frame, &fault), MP_OK);
    assert_int_equal(store_find_frame(rig->store, 3, 7, &frame, &fault), MP_ERR_DAMAGED);
    assert_int_equal(store_read_frame(rig->store, 3, 0, &frame, &blob, &fault), MP_ERR_DAMAGED);
    assert_int_equal(store_last_frame(rig->store, 3, &frame, &fault), MP_ERR_DAMAGED);
    assert_int_equal(store_each_frame(rig->store, 3, 0, NULL, NULL, &fault), MP_ERR_DAMAGED);
    buffer_free(&bytes);
}

/* Of what stands at the very end of the keys nothing comes after it. */
static void walks_over_topics_and_groups_end(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    struct buffer bytes = rig_frame(1, 5);
    const struct store_frame frame = {.topic = 0x7ffff, .count = 5, .data = bytes.data, .size = bytes.size};
    uint32_t number = 0;
    rig_open(rig);
    assert_int_equal(store_add_frame(rig->store, &frame, &fault), MP_OK);
    assert_int_equal(store_put_block(rig->store, 0x7fffffff, 0, "x", 1, &fault), MP_OK);
    assert_int_equal(store_messages_topic(rig->store, 0, &number, &fault), MP_OK);
    assert_int_equal(number, 0x7ffff);
    assert_int_equal(store_messages_topic(rig->store, number + 1, &number, &fault), MP_ERR_NOT_FOUND);
    assert_int_equal(store_blocks_group(rig->store, 0, &number, &fault), MP_OK);
    assert_int_equal(number, 0x7fffffff);
    assert_int_equal(store_blocks_group(rig->store, number + 1, &number, &fault), MP_ERR_NOT_FOUND);
    buffer_free(&bytes);
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

static void expect_refusal(struct rig *rig, enum mp_error error, const char *words)
{
    struct fault fault = {0};
    struct store *store = NULL;
    assert_int_equal(store_open(rig->path, &store, &fault), error);
    if (!strstr(fault_text(&fault), words))
        fail_msg("no \"%s\" in: %s", words, fault_text(&fault));
    assert_non_null(strstr(fault_text(&fault), rig->path));
}

static void a_store_has_one_writer(void **state)
{
    struct rig *rig = *state;
    int up[2], down[2];
    char byte, pid[32];
    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(down), 0);
    pid_t child = fork();
    if (child == 0) {
        struct store *store;
        close(up[0]);
        close(down[1]);
        byte = store_open(rig->path, &store, NULL) == MP_OK;
        (void)!write(up[1], &byte, 1);
        (void)!read(down[0], &byte, 1);
        _exit(0);
    }
    close(up[1]);
    close(down[0]);
    assert_int_equal(read(up[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    snprintf(pid, sizeof pid, "process %ld", (long)child);
    expect_refusal(rig, MP_ERR_BUSY, pid);
    close(down[1]);
    waitpid(child, NULL, 0);
    rig_open(rig); /* the lock goes with its holder */
    close(up[0]);
}

static void a_store_is_for_its_owner_alone(void **state)
{
    struct rig *rig = *state;
    struct stat status;
    rig_open(rig);
    assert_int_equal(stat(rig->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    rig_close(rig);
    assert_int_equal(chmod(rig->path, 0644), 0);
    expect_refusal(rig, MP_ERR_DENIED, "644");
    assert_int_equal(chmod(rig->path, 0600), 0);
    rig_open(rig);
}

static void what_is_no_store_is_refused(void **state)
{
    struct rig *rig = *state;
    char text[4096];
    int file = open(rig->path, O_WRONLY | O_CREAT, 0600);
    memset(text, 'x', sizeof text);
    assert_int_equal(write(file, text, sizeof text), sizeof text);
    close(file);
    expect_refusal(rig, MP_ERR_DAMAGED, "not a store");
    unlink(rig->path);
    file = open(rig->path, O_WRONLY | O_CREAT, 0600);
    close(file);
    rig_execute(rig, "CREATE TABLE songs(title TEXT); PRAGMA application_id=77");
    expect_refusal(rig, MP_ERR_DAMAGED, "another program");
    unlink(rig->path);
    assert_int_equal(mkdir(rig->path, 0700), 0);
    struct store *store;
    assert_int_not_equal(store_open(rig->path, &store, NULL), MP_OK);
    rmdir(rig->path);
}

static void a_store_of_another_version_is_refused(void **state)
{
    struct rig *rig = *state;
    rig_open(rig);
    rig_close(rig);
    rig_execute(rig, "PRAGMA user_version=77");
    expect_refusal(rig, MP_ERR_VERSION, "version 77");
}

/* ---- transactions ---------------------------------------------------------------------------------------------- */

static enum mp_error count_topic(void *context, const struct store_topic *row)
{
    (void)row;
    (*(unsigned *)context)++;
    return MP_OK;
}

static unsigned topics(struct rig *rig)
{
    unsigned count = 0;
    assert_int_equal(store_each_topic(rig->store, count_topic, &count, NULL), MP_OK);
    return count;
}

static void what_is_rolled_back_was_never_there(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    rig_open(rig);
    assert_int_equal(store_begin(rig->store, &fault), MP_OK);
    assert_int_equal(store_put_topic(rig->store, &topic, &fault), MP_OK);
    assert_true(store_is_writing(rig->store));
    assert_int_equal(topics(rig), 1);
    assert_int_equal(store_rollback(rig->store, &fault), MP_OK);
    assert_int_equal(topics(rig), 0);
    assert_int_equal(store_commit(rig->store, &fault), MP_OK); /* of nothing */
}

static void a_commit_that_fails_keeps_nothing(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    rig_open(rig);
    store_fail_commit(rig->store, 2);
    assert_int_equal(store_begin(rig->store, &fault), MP_OK);
    assert_int_equal(store_put_topic(rig->store, &topic, &fault), MP_OK);
    assert_int_equal(store_commit(rig->store, &fault), MP_OK);
    struct store_topic other = topic;
    other.id = 8;
    other.name = "other";
    assert_int_equal(store_begin(rig->store, &fault), MP_OK);
    assert_int_equal(store_put_topic(rig->store, &other, &fault), MP_OK);
    assert_int_equal(store_commit(rig->store, &fault), MP_ERR_IO);
    assert_int_equal(store_rollback(rig->store, &fault), MP_OK);
    assert_int_equal(topics(rig), 1);
    assert_int_equal(store_begin(rig->store, &fault), MP_OK);
    assert_int_equal(store_put_topic(rig->store, &other, &fault), MP_OK);
    assert_int_equal(store_commit(rig->store, &fault), MP_OK);
    rig_close(rig);
    rig_open(rig);
    assert_int_equal(topics(rig), 2);
}

/* A full disk does that. What came later would be committed by itself. */
static void nothing_is_written_when_the_transaction_has_ended_by_itself(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    rig_open(rig);
    assert_int_equal(store_begin(rig->store, &fault), MP_OK);
    assert_int_equal(sqlite3_exec(rig->store->database, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_put_topic(rig->store, &topic, &fault), MP_ERR_IO);
    assert_non_null(strstr(fault_text(&fault), "the transaction had ended early"));
    assert_int_equal(store_commit(rig->store, &fault), MP_ERR_IO);
    assert_int_equal(store_rollback(rig->store, &fault), MP_OK);
    assert_int_equal(topics(rig), 0);
    assert_int_equal(store_begin(rig->store, &fault), MP_OK);
    assert_int_equal(store_put_topic(rig->store, &topic, &fault), MP_OK);
    assert_int_equal(store_commit(rig->store, &fault), MP_OK);
    assert_int_equal(topics(rig), 1);
}

/* A writer that dies in a transaction leaves what was committed before. */
static void a_writer_that_dies_leaves_what_was_committed(void **state)
{
    struct rig *rig = *state;
    pid_t child = fork();
    if (child == 0) {
        struct store *store;
        struct store_topic other = topic;
        other.id = 8;
        other.name = "other";
        if (store_open(rig->path, &store, NULL) == MP_OK && store_begin(store, NULL) == MP_OK &&
            store_put_topic(store, &topic, NULL) == MP_OK && store_commit(store, NULL) == MP_OK &&
            store_begin(store, NULL) == MP_OK && store_put_topic(store, &other, NULL) == MP_OK)
            raise(SIGKILL);
        _exit(1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    rig_open(rig);
    assert_int_equal(topics(rig), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_come_back_as_they_went, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_frame_is_found_by_any_of_its_offsets, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(damage_is_found_in_each_column_and_named, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_row_that_is_removed_or_put_back_is_known, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_frame_whose_bytes_are_damaged_is_found, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_frame_of_no_messages_is_damaged, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(walks_over_topics_and_groups_end, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_store_has_one_writer, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_store_is_for_its_owner_alone, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_store_is_refused, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_store_of_another_version_is_refused, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_is_rolled_back_was_never_there, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_commit_that_fails_keeps_nothing, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_written_when_the_transaction_has_ended_by_itself, rig_set_up,
                                        rig_tear_down),
        cmocka_unit_test_setup_teardown(a_writer_that_dies_leaves_what_was_committed, rig_set_up, rig_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
