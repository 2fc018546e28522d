/* store/wal.h: what a log says of itself, and which of it a crash may have left; and a store that was being made then. */
#include "store_rig.h"

#include "base/log.h"
#include "store/wal.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>

enum { TURNS = 5, FRAME = WAL_PAGE_HEADER + 16384, AT_SALTS = 16, AT_CHECKSUM = 24 };

/* The files of a store whose process was killed; what is empty is not there. */
struct left {
    struct buffer database, log, index;
};

static void read_file(const struct rig *rig, const char *ending, struct buffer *out)
{
    char path[FOLDER_PATH + 32];
    uint8_t block[4096];
    size_t got;
    snprintf(path, sizeof path, "%s%s", rig->path, ending);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    while ((got = fread(block, 1, sizeof block, file)) > 0)
        assert_int_equal(buffer_append(out, block, got), MP_OK);
    fclose(file);
}

/* So many turns, a page each, of which none is in the database yet. */
static struct left leave(struct rig *rig, int64_t turns)
{
    struct left left = {0};
    rig_open(rig);
    rig_close(rig); /* the tables are in the database */
    rig_open(rig);
    for (int64_t i = 1; i <= turns; i++) {
        assert_int_equal(store_begin(rig->store, NULL), MP_OK);
        assert_int_equal(store_put_number(rig->store, "turns", i, NULL), MP_OK);
        assert_int_equal(store_commit(rig->store, NULL), MP_OK);
    }
    read_file(rig, "", &left.database);
    read_file(rig, "-wal", &left.log);
    read_file(rig, "-shm", &left.index);
    rig_close(rig);
    return left;
}

static void write_file(const struct rig *rig, const char *ending, const struct buffer *bytes)
{
    char path[FOLDER_PATH + 32];
    snprintf(path, sizeof path, "%s%s", rig->path, ending);
    unlink(path);
    if (bytes->size == 0)
        return;
    int file = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(file, bytes->data, bytes->size), bytes->size);
    close(file);
}

static void put(const struct rig *rig, const struct left *left)
{
    write_file(rig, "", &left->database);
    write_file(rig, "-wal", &left->log);
    write_file(rig, "-shm", &left->index);
}

static void free_left(struct left *left)
{
    buffer_free(&left->database);
    buffer_free(&left->log);
    buffer_free(&left->index);
}

static struct wal_look look_at(const struct rig *rig, const struct left *left)
{
    struct wal_look look;
    struct fault fault = {0};
    put(rig, left);
    assert_int_equal(wal_walk(rig->path, &look, NULL, NULL, &fault), MP_OK);
    return look;
}

/* It is in order, and WORDS are told, or nothing (NULL). */
static void passes(const struct rig *rig, const struct left *left, const char *words)
{
    char text[FAULT_TEXT];
    struct fault fault = {0};
    put(rig, left);
    assert_int_equal(wal_check(rig->path, text, &fault), MP_OK);
    if (words)
        assert_non_null(strstr(text, words));
    else
        assert_string_equal(text, "");
}

/* Turns would be lost: it is refused with WORDS, also by who opens the store. */
static void is_refused(struct rig *rig, const struct left *left, const char *words)
{
    struct fault fault = {0};
    put(rig, left);
    assert_int_equal(store_open(rig->path, &rig->store, &fault), MP_ERR_DAMAGED);
    if (!strstr(fault_text(&fault), words))
        fail_msg("%s, and not: %s", fault_text(&fault), words);
    rig->store = NULL;
}

/* The last turn that a store has which opens. */
static int64_t turns_of(struct rig *rig, const struct left *left)
{
    int64_t turns = 0;
    put(rig, left);
    rig_open(rig);
    (void)store_get_number(rig->store, "turns", &turns, NULL);
    rig_close(rig);
    return turns;
}

static uint32_t pages_of(const struct left *left)
{
    return (uint32_t)((left->log.size - WAL_HEADER) / FRAME);
}

static uint8_t *page_of(const struct left *left, uint32_t number)
{
    return left->log.data + WAL_HEADER + (size_t)number * FRAME;
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static void a_sound_log_is_served_to_its_end(void **state)
{
    struct left left = leave(*state, TURNS);
    struct wal_look look = look_at(*state, &left);
    assert_true(look.there && look.header_fits && !look.cut);
    assert_int_equal(look.pages, TURNS);
    assert_int_equal(look.served, TURNS);
    assert_int_equal(look.newest, TURNS);
    assert_int_equal(look.known, TURNS);
    assert_int_equal(look.misfit, UINT32_MAX);
    assert_int_equal(look.behind, 0);
    passes(*state, &left, NULL);
    assert_int_equal(turns_of(*state, &left), TURNS);
    free_left(&left);
}

static void a_last_page_that_is_torn_is_what_a_crash_leaves(void **state)
{
    static const size_t lacks[] = {1, 5000, FRAME - WAL_PAGE_HEADER - 1, FRAME - WAL_PAGE_HEADER, FRAME - 1};
    struct left left = leave(*state, TURNS);
    size_t whole = left.log.size;
    left.index.size = 0;
    for (size_t i = 0; i < sizeof lacks / sizeof *lacks; i++) {
        left.log.size = whole - lacks[i];
        struct wal_look look = look_at(*state, &left);
        assert_true(look.cut);
        assert_int_equal(look.served, TURNS - 1);
        /* Of a head without a byte of its page nothing can be said. */
        assert_int_equal(look.pages, TURNS - (lacks[i] >= FRAME - WAL_PAGE_HEADER));
        passes(*state, &left, "the last turn in the log is not whole");
        assert_int_equal(turns_of(*state, &left), TURNS - 1);
    }
    /* A page less is a log that ends earlier, of which nobody can know. */
    left.log.size = whole - FRAME;
    passes(*state, &left, NULL);
    free_left(&left);
}

static void a_torn_page_that_was_on_the_disk_is_damage(void **state)
{
    struct left left = leave(*state, TURNS);
    left.log.size -= 5000;
    is_refused(*state, &left, "5 pages were on the disk, and it is sound up to page 4");
    left.log.size -= FRAME; /* it is not missed by its tear alone */
    is_refused(*state, &left, "5 pages were on the disk, and it is sound up to page 3");
    free_left(&left);
}

static void turns_behind_a_damaged_page_are_not_lost_without_a_word(void **state)
{
    struct left left = leave(*state, TURNS);
    left.index.size = 0;
    page_of(&left, 3)[WAL_PAGE_HEADER + 7000] ^= 1;
    struct wal_look look = look_at(*state, &left);
    assert_int_equal(look.misfit, 3);
    assert_int_equal(look.behind, 2);
    assert_int_equal(look.served, 3);
    assert_int_equal(look.newest, TURNS);
    is_refused(*state, &left, "damaged at page 4, and 2 turns from there on would be lost");
    left.log.size -= FRAME; /* the last one alone may be a crash's */
    passes(*state, &left, "the last turn in the log is not whole");
    assert_int_equal(turns_of(*state, &left), 3);
    free_left(&left);
}

/* As SQLite's checksum of a log's header is made, of words in the order that its magic number says. */
static void fit_header(uint8_t *header)
{
    uint32_t sums[2] = {0, 0};
    bool big = header[3] & 1;
    for (unsigned i = 0; i < AT_CHECKSUM; i += 4) {
        const uint8_t *at = header + i;
        uint32_t word =
            big ? (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3] : load_u32(at);
        sums[i / 4 % 2] += word + sums[1 - i / 4 % 2];
    }
    for (unsigned i = 0; i < 8; i++)
        header[AT_CHECKSUM + i] = (uint8_t)(sums[i / 4] >> (24 - i % 4 * 8));
}

static void pages_of_another_writing_are_no_part_of_a_log(void **state)
{
    struct left left = leave(*state, TURNS);
    left.index.size = 0;
    /* The log was begun anew, and only its header has come to the disk. */
    left.log.data[AT_SALTS] ^= 1;
    fit_header(left.log.data);
    struct wal_look look = look_at(*state, &left);
    assert_true(look.header_fits);
    assert_int_equal(look.pages, TURNS);
    assert_int_equal(look.served, 0);
    assert_int_equal(look.newest, 0);
    assert_int_equal(look.misfit, UINT32_MAX);
    passes(*state, &left, NULL);
    assert_int_equal(turns_of(*state, &left), 0);
    free_left(&left);
}

static void a_page_of_another_writing_among_those_of_one_is_damage(void **state)
{
    struct left left = leave(*state, TURNS);
    left.index.size = 0;
    page_of(&left, 1)[8] ^= 1; /* its salt */
    struct wal_look look = look_at(*state, &left);
    assert_int_equal(look.misfit, 1);
    assert_int_equal(look.served, 1);
    assert_int_equal(look.behind, 3);
    is_refused(*state, &left, "damaged at page 2, and 3 turns from there on would be lost");
    /* At the end it is of the writing before, whose pages lie behind those of the new one. */
    page_of(&left, 1)[8] ^= 1;
    page_of(&left, TURNS - 1)[8] ^= 1;
    look = look_at(*state, &left);
    assert_int_equal(look.misfit, UINT32_MAX);
    assert_int_equal(look.served, TURNS - 1);
    passes(*state, &left, NULL);
    free_left(&left);
}

static void a_damaged_header_is_one_where_pages_follow_from_each_other(void **state)
{
    struct left left = leave(*state, TURNS);
    left.index.size = 0;
    left.log.data[AT_SALTS + 2] ^= 1;
    struct wal_look look = look_at(*state, &left);
    assert_false(look.header_fits);
    assert_int_equal(look.served, 0);
    assert_int_equal(look.newest, TURNS); /* as the pages say whose they are */
    is_refused(*state, &left, "the log's header is damaged, and 5 pages behind it would be lost");
    left.log.size = WAL_HEADER + FRAME; /* the first page follows from the header only */
    passes(*state, &left, NULL);
    left.log.size = WAL_HEADER - 3;
    passes(*state, &left, NULL);
    free_left(&left);
}

static void a_log_that_is_gone_is_missed_as_long_as_its_index_is_there(void **state)
{
    struct left left = leave(*state, TURNS);
    left.log.size = 0;
    is_refused(*state, &left, "the log is gone, and 5 pages of it with it");
    left.index.data[100] ^= 1; /* of the second copy of its header: nothing that it says counts */
    left.index.data[60] ^= 1;
    passes(*state, &left, NULL);
    left.index.size = 0;
    passes(*state, &left, NULL);
    assert_int_equal(turns_of(*state, &left), 0);
    free_left(&left);
}

/* What is called by wal_walk() ends it. */
static enum mp_error end_at_third(void *context, const struct wal_page *page, const uint8_t *bytes)
{
    unsigned *pages = context;
    assert_non_null(bytes);
    assert_true(page->fits && page->whole && page->commit > 0);
    return ++*pages == 3 ? MP_ERR_INTERRUPTED : MP_OK;
}

static void a_walk_ends_when_it_is_told_to(void **state)
{
    const struct rig *rig = *state;
    struct left left = leave(*state, TURNS);
    struct wal_look look;
    unsigned pages = 0;
    put(rig, &left);
    assert_int_equal(wal_walk(rig->path, &look, end_at_third, &pages, NULL), MP_ERR_INTERRUPTED);
    assert_int_equal(pages, 3);
    assert_int_equal(pages_of(&left), TURNS);
    free_left(&left);
}

/* SQLite's journal while it makes a file: it says that there was nothing before. */
static void a_store_that_was_being_made_is_made_again(void **state)
{
    static const uint8_t head[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, 0, 0, 0, 0, 0,    0,
                                   0,    7,    0,    0,    0,    0,    0,    0,    2, 0, 0, 0, 0x40, 0};
    struct rig *rig = *state;
    struct buffer page = {0}, journal = {0};
    struct fault fault = {0};
    assert_int_equal(buffer_reserve(&page, 16384), MP_OK);
    assert_int_equal(buffer_reserve(&journal, 512), MP_OK);
    memset(page.data, 0, page.size = 16384);
    memset(journal.data, 0, journal.size = 512);
    memcpy(journal.data, head, sizeof head);
    write_file(rig, "", &page);
    assert_int_equal(store_open(rig->path, &rig->store, &fault), MP_ERR_DAMAGED);
    assert_non_null(strstr(fault_text(&fault), "a file of something else"));
    write_file(rig, "-journal", &journal);
    rig_open(rig);
    assert_int_equal(store_begin(rig->store, NULL), MP_OK);
    assert_int_equal(store_put_number(rig->store, "turns", 1, NULL), MP_OK);
    assert_int_equal(store_commit(rig->store, NULL), MP_OK);
    rig_close(rig);
    /* A journal that is none does not make a store of anything. */
    memset(journal.data, 0, journal.size);
    write_file(rig, "", &page);
    write_file(rig, "-journal", &journal);
    assert_int_equal(store_open(rig->path, &rig->store, &fault), MP_ERR_DAMAGED);
    rig->store = NULL;
    buffer_free(&page);
    buffer_free(&journal);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sound_log_is_served_to_its_end),
        TEST(a_last_page_that_is_torn_is_what_a_crash_leaves),
        TEST(a_torn_page_that_was_on_the_disk_is_damage),
        TEST(turns_behind_a_damaged_page_are_not_lost_without_a_word),
        TEST(pages_of_another_writing_are_no_part_of_a_log),
        TEST(a_page_of_another_writing_among_those_of_one_is_damage),
        TEST(a_damaged_header_is_one_where_pages_follow_from_each_other),
        TEST(a_log_that_is_gone_is_missed_as_long_as_its_index_is_there),
        TEST(a_walk_ends_when_it_is_told_to),
        TEST(a_store_that_was_being_made_is_made_again),
    };
    log_setup(LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
