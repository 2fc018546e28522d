/* store/salvage.h: rows are found on pages of which nobody says what they are, and none is made up. */
#include "store_rig.h"

#include "base/log.h"
#include "store/salvage.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { TOPICS = 5, PAGE = 16384 };

/* A store with some topics, and a frame in the first of them. */
static void make_store(struct rig *rig)
{
    char name[32];
    struct buffer frame = rig_frame(7, 3);
    const struct store_frame row = {
        .topic = 1, .count = 3, .session = 7, .request = 1, .time = 1, .data = frame.data, .size = frame.size};
    rig_open(rig);
    assert_int_equal(store_begin(rig->store, NULL), MP_OK);
    for (uint32_t i = 1; i <= TOPICS; i++) {
        snprintf(name, sizeof name, "topic.%u", i);
        const struct store_topic topic = {.id = i, .name = name, .end = i};
        assert_int_equal(store_put_topic(rig->store, &topic, NULL), MP_OK);
    }
    assert_int_equal(store_add_frame(rig->store, &row, NULL), MP_OK);
    assert_int_equal(store_put_number(rig->store, "answer", 42, NULL), MP_OK);
    assert_int_equal(store_commit(rig->store, NULL), MP_OK);
    buffer_free(&frame);
}

/* The page at which TABLE begins. */
static long root_of(const struct rig *rig, const char *table)
{
    sqlite3 *database;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(rig->path, &database), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(database, "SELECT rootpage FROM sqlite_schema WHERE name=?", -1, &statement, NULL),
        SQLITE_OK);
    sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    long root = (long)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return root;
}

static void overwrite(const struct rig *rig, long place, const void *bytes, size_t size)
{
    int file = open(rig->path, O_WRONLY);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, bytes, size, (off_t)place), size);
    close(file);
}

static void wipe_page(const struct rig *rig, long page)
{
    static const uint8_t zeros[PAGE];
    overwrite(rig, (page - 1) * PAGE, zeros, PAGE);
}

/* ---- what was found --------------------------------------------------------------------------------------------- */

struct finds {
    unsigned topics[TOPICS + 1], frames, numbers, others;
    enum salvage_rank rank; /* the worst of a topic */
    uint64_t bytes;
};

static enum mp_error take_topic(void *context, const struct salvage_row *row)
{
    struct finds *finds = context;
    char name[32];
    uint32_t id = row->of.topic.id;
    snprintf(name, sizeof name, "topic.%u", id);
    if (id == 0 || id > TOPICS || strcmp(row->of.topic.name, name) != 0 || row->of.topic.end != id)
        finds->others++;
    else
        finds->topics[id]++;
    if (row->rank < finds->rank)
        finds->rank = row->rank;
    return MP_OK;
}

static enum mp_error take_frame(void *context, const struct salvage_row *row)
{
    struct finds *finds = context;
    finds->frames += row->of.frame.topic == 1 && row->of.frame.count == 3;
    finds->bytes += row->of.frame.size;
    return MP_OK;
}

static enum mp_error take_number(void *context, const struct salvage_row *row)
{
    struct finds *finds = context;
    finds->numbers += strcmp(row->of.number.name, "answer") == 0 && row->of.number.value == 42;
    return MP_OK;
}

static struct finds look(const struct rig *rig, struct salvage_figures *figures)
{
    struct salvage *salvage;
    struct fault fault = {0};
    struct finds finds = {.rank = SALVAGE_LIVE};
    if (salvage_open(rig->path, NULL, NULL, &salvage, &fault))
        fail_msg("%s", fault_text(&fault));
    assert_int_equal(salvage_each(salvage, SALVAGE_TOPICS, SALVAGE_HURT, take_topic, &finds, &fault), MP_OK);
    assert_int_equal(salvage_each(salvage, SALVAGE_FRAMES, SALVAGE_HURT, take_frame, &finds, &fault), MP_OK);
    assert_int_equal(salvage_each(salvage, SALVAGE_NUMBERS, SALVAGE_HURT, take_number, &finds, &fault), MP_OK);
    if (figures)
        *figures = *salvage_figures(salvage);
    salvage_close(salvage);
    return finds;
}

/* All of it is there, once, and a topic's rows are of RANK or better. */
static void finds_all(const struct rig *rig, enum salvage_rank rank)
{
    struct finds finds = look(rig, NULL);
    for (unsigned i = 1; i <= TOPICS; i++)
        assert_int_equal(finds.topics[i], 1);
    assert_int_equal(finds.others, 0);
    assert_int_equal(finds.frames, 1);
    assert_int_equal(finds.numbers, 1);
    assert_int_equal(finds.rank, rank);
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static void a_sound_store_is_read_by_its_directories(void **state)
{
    struct rig *rig = *state;
    struct salvage_figures figures;
    make_store(rig);
    rig_close(rig);
    finds_all(rig, SALVAGE_LIVE);
    look(rig, &figures);
    assert_int_equal(figures.sound[SALVAGE_TOPICS], TOPICS);
    assert_int_equal(figures.damaged[SALVAGE_TOPICS], 0);
    assert_int_equal(figures.log_pages, 0);
    assert_false(figures.log_damaged);
}

static void rows_on_a_page_of_an_unknown_type_are_found(void **state)
{
    static const uint8_t types[] = {0x00, 0x77, 0x0a, 0x05, 0x02};
    struct rig *rig = *state;
    make_store(rig);
    rig_close(rig);
    long place = (root_of(rig, "topics") - 1) * PAGE;
    for (size_t i = 0; i < sizeof types; i++) {
        overwrite(rig, place, &types[i], 1);
        finds_all(rig, SALVAGE_LOOSE);
    }
}

static void rows_of_a_table_whose_root_is_gone_are_found(void **state)
{
    struct rig *rig = *state;
    make_store(rig);
    rig_close(rig);
    rig_execute(rig, "PRAGMA writable_schema=ON; DELETE FROM sqlite_schema WHERE name='topics'");
    finds_all(rig, SALVAGE_LIVE); /* the map of pages says that it belongs to a table */
    wipe_page(rig, 1);
    finds_all(rig, SALVAGE_LIVE);
    wipe_page(rig, 2); /* and now nothing says anything of any page */
    finds_all(rig, SALVAGE_FREE);
}

static void a_table_whose_first_page_is_gone_costs_its_rows_alone(void **state)
{
    struct rig *rig = *state;
    struct salvage_figures figures;
    make_store(rig);
    rig_close(rig);
    wipe_page(rig, root_of(rig, "topics"));
    struct finds finds = look(rig, &figures);
    assert_int_equal(figures.sound[SALVAGE_TOPICS], 0);
    assert_int_equal(finds.frames, 1);
    assert_int_equal(finds.numbers, 1);
}

static void a_directory_that_is_wrong_hides_no_row_and_makes_none(void **state)
{
    static const uint8_t cells[][2] = {{0, 0}, {0, 2}, {0xff, 0xff}};
    static const uint8_t pointer[] = {0x00, 0x09};
    struct rig *rig = *state;
    make_store(rig);
    rig_close(rig);
    long place = (root_of(rig, "topics") - 1) * PAGE;
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        overwrite(rig, place + 3, cells[i], 2);
        finds_all(rig, i == 2 ? SALVAGE_LIVE : SALVAGE_LOOSE);
    }
    overwrite(rig, place + 3, (const uint8_t[]){0, TOPICS}, 2);
    overwrite(rig, place + 8 + 2, pointer, sizeof pointer); /* into the directory itself */
    finds_all(rig, SALVAGE_LOOSE);
}

/* What a log has of a page that is cut off, an older version of the page has. */
static void a_log_whose_last_page_is_torn_costs_its_last_turn_at_most(void **state)
{
    struct rig *rig = *state;
    char from[FOLDER_PATH + 32], to[FOLDER_PATH + 32];
    struct stat status;
    struct salvage_figures figures;
    make_store(rig);
    assert_int_equal(store_begin(rig->store, NULL), MP_OK);
    assert_int_equal(store_put_topic(rig->store, &(struct store_topic){.id = TOPICS + 1, .name = "last"}, NULL), MP_OK);
    assert_int_equal(store_commit(rig->store, NULL), MP_OK);
    /* As a process leaves it that was killed. */
    snprintf(from, sizeof from, "%s-wal", rig->path);
    snprintf(to, sizeof to, "%s.kept", rig->path);
    assert_int_equal(link(from, to), 0);
    int file = open(to, O_RDWR);
    assert_int_equal(fstat(file, &status), 0);
    uint8_t *log = malloc((size_t)status.st_size);
    assert_non_null(log);
    assert_int_equal(pread(file, log, (size_t)status.st_size, 0), status.st_size);
    close(file);
    rig_close(rig);
    rig_execute(rig, "DELETE FROM topics; DELETE FROM frames; DELETE FROM numbers; VACUUM; PRAGMA journal_mode=DELETE");
    file = open(from, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(file, log, (size_t)status.st_size - 1000), status.st_size - 1000);
    close(file);
    free(log);
    struct finds finds = look(rig, &figures);
    for (unsigned i = 1; i <= TOPICS; i++)
        assert_int_equal(finds.topics[i], 1);
    assert_true(finds.others <= 1);
    assert_int_equal(finds.frames, 1);
    assert_true(figures.log_pages > 0);
    assert_true(figures.log_damaged);
}

static void what_cannot_be_salvaged_is_told(void **state)
{
    struct rig *rig = *state;
    struct salvage *salvage;
    struct fault fault = {0};
    char lock[FOLDER_PATH + 32];
    assert_int_equal(salvage_open(rig->path, NULL, NULL, &salvage, &fault), MP_ERR_NOT_FOUND);
    assert_int_equal(salvage_open(rig->folder, NULL, NULL, &salvage, &fault), MP_ERR_INVALID);
    make_store(rig);
    rig_close(rig);
    snprintf(lock, sizeof lock, "%s.lock", rig->path);
    int file = open(lock, O_RDWR | O_CREAT, 0600);
    assert_int_equal(flock(file, LOCK_EX), 0);
    assert_int_equal(salvage_open(rig->path, NULL, NULL, &salvage, &fault), MP_ERR_BUSY);
    close(file);
    struct stat status;
    assert_int_equal(stat(rig->path, &status), 0);
    for (long page = 1; page <= status.st_size / PAGE; page++)
        wipe_page(rig, page);
    assert_int_equal(salvage_open(rig->path, NULL, NULL, &salvage, &fault), MP_ERR_DAMAGED);
    assert_true(fault.text[0] != '\0');
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sound_store_is_read_by_its_directories),
        TEST(rows_on_a_page_of_an_unknown_type_are_found),
        TEST(rows_of_a_table_whose_root_is_gone_are_found),
        TEST(a_table_whose_first_page_is_gone_costs_its_rows_alone),
        TEST(a_directory_that_is_wrong_hides_no_row_and_makes_none),
        TEST(a_log_whose_last_page_is_torn_costs_its_last_turn_at_most),
        TEST(what_cannot_be_salvaged_is_told),
    };
    log_setup(LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
