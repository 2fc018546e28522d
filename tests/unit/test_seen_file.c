/* What was done, across restarts. */
#include "folder.h"

#include "cli/seen_file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define HOUR (INT64_C(3600) * 1000000)

enum { RECORD = 32, ID = 1, KEY = 2 };

struct rig {
    char directory[FOLDER_PATH];
    char path[FOLDER_PATH + 16];
    struct seen seen;
    struct seen_file file;
    struct fault fault;
};

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    folder_make(rig->directory);
    snprintf(rig->path, sizeof(rig->path), "%s/file", rig->directory);
    rig->file.descriptor = -1;
    rig->seen.window = HOUR;
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    seen_file_close(&rig->file);
    seen_free(&rig->seen);
    folder_remove(rig->directory);
    free(rig);
    return 0;
}

static enum mp_error reopen(struct rig *rig, uint64_t what, int64_t now)
{
    seen_file_close(&rig->file);
    seen_free(&rig->seen);
    return seen_file_open(&rig->file, rig->path, what, &rig->seen, now, &rig->fault);
}

static struct seen_id id_of(const struct rig *rig, unsigned number)
{
    return seen_id_of(&number, sizeof(number), rig->file.seed);
}

static void do_one(struct rig *rig, unsigned number, int64_t now)
{
    assert_int_equal(seen_add(&rig->seen, id_of(rig, number), 0, now), MP_OK);
    assert_int_equal(seen_file_add(&rig->file, id_of(rig, number)), MP_OK);
    assert_int_equal(seen_file_flush(&rig->file, now, &rig->fault), MP_OK);
}

static off_t size_of(const struct rig *rig)
{
    struct stat status;
    assert_int_equal(stat(rig->path, &status), 0);
    return status.st_size;
}

static void what_was_done_is_known_after_a_restart_for_the_window(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(reopen(rig, ID, 100), MP_OK);
    for (unsigned i = 0; i < 5000; i++)
        do_one(rig, i, 100);
    uint64_t seed = rig->file.seed;
    assert_int_equal(reopen(rig, ID, 7 * HOUR), MP_OK); /* another clock: the machine was started again */
    assert_int_equal(rig->file.seed, seed);
    for (unsigned i = 0; i < 5000; i++)
        assert_true(seen_has(&rig->seen, id_of(rig, i), 7 * HOUR));
    assert_false(seen_has(&rig->seen, id_of(rig, 5000), 7 * HOUR));
    assert_false(seen_has(&rig->seen, id_of(rig, 0), 8 * HOUR));
    rig->seen.window = 1;
    assert_int_equal(reopen(rig, ID, 7 * HOUR), MP_OK);
    assert_int_equal(rig->seen.used, 0);
}

static void a_torn_end_and_a_damaged_record_cost_only_themselves(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(reopen(rig, ID, 100), MP_OK);
    for (unsigned i = 0; i < 3; i++)
        do_one(rig, i, 100);
    assert_int_equal(truncate(rig->path, size_of(rig) - 5), 0);
    int descriptor = open(rig->path, O_WRONLY);
    assert_int_equal(pwrite(descriptor, "x", 1, RECORD + 3), 1);
    close(descriptor);
    assert_int_equal(reopen(rig, ID, 100), MP_OK);
    assert_false(seen_has(&rig->seen, id_of(rig, 0), 100));
    assert_true(seen_has(&rig->seen, id_of(rig, 1), 100));
    assert_false(seen_has(&rig->seen, id_of(rig, 2), 100));
    do_one(rig, 3, 100);
    assert_int_equal(size_of(rig), 4 * RECORD);
    assert_int_equal(reopen(rig, ID, 100), MP_OK);
    assert_true(seen_has(&rig->seen, id_of(rig, 3), 100));
    /* In the header: as if it had never been written. */
    seen_file_close(&rig->file);
    assert_int_equal(truncate(rig->path, 11), 0);
    assert_int_equal(reopen(rig, ID, 100), MP_OK);
    assert_int_equal(rig->seen.used, 0);
    assert_int_equal(size_of(rig), RECORD);
}

/* What another process gets that opens the file. */
static int opened_by_another(const struct rig *rig)
{
    struct seen seen = {.window = HOUR};
    struct seen_file file;
    int status;
    pid_t other = fork();
    if (other == 0)
        _exit((int)seen_file_open(&file, rig->path, ID, &seen, 0, NULL));
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void files_of_others_are_left_alone(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(reopen(rig, ID, 100), MP_OK);
    assert_int_equal(opened_by_another(rig), MP_ERR_BUSY);
    assert_int_equal(reopen(rig, KEY, 100), MP_ERR_INVALID);
    seen_file_close(&rig->file);
    FILE *text = fopen(rig->path, "w");
    fputs("precious\n", text);
    fclose(text);
    assert_int_equal(reopen(rig, ID, 100), MP_ERR_INVALID);
    assert_int_equal(size_of(rig), 9);
}

static void its_size_is_bounded_by_the_window(void **state)
{
    struct rig *rig = *state;
    rig->seen.window = 1000;
    assert_int_equal(reopen(rig, ID, 0), MP_OK);
    off_t largest = 0;
    for (unsigned i = 0; i < 60000; i++) {
        assert_int_equal(seen_add(&rig->seen, id_of(rig, i), 0, i), MP_OK);
        assert_int_equal(seen_file_add(&rig->file, id_of(rig, i)), MP_OK);
        if (i % 500 == 499)
            assert_int_equal(seen_file_flush(&rig->file, i, &rig->fault), MP_OK);
        largest = i % 500 == 499 && size_of(rig) > largest ? size_of(rig) : largest;
    }
    assert_in_range(largest, 16384 * RECORD, 20000 * RECORD);
    assert_int_equal(access(rig->path, R_OK), 0);
    assert_true(seen_has(&rig->seen, id_of(rig, 59999), 59999));
    assert_int_equal(opened_by_another(rig), MP_ERR_BUSY); /* the new one, too */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_done_is_known_after_a_restart_for_the_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_torn_end_and_a_damaged_record_cost_only_themselves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_of_others_are_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(its_size_is_bounded_by_the_window, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
