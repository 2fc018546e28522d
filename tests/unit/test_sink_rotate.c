/* runner/sink_rotate.h: a file that is appended to, rotated, moved away, torn, and on a full disk. */
#include "folder.h"

#include "runner/sink_rotate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char place[FOLDER_PATH];
static char path[FOLDER_PATH + 16];

static int set_up(void **state)
{
    (void)state;
    folder_make(place);
    snprintf(path, sizeof(path), "%s/out", place);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove(place);
    return 0;
}

static const char *numbered(unsigned number)
{
    static char name[128];
    snprintf(name, sizeof(name), number ? "%s.%u" : "%s", path, number);
    return name;
}

/* What the file FILE.NUMBER holds; "-": it is not there. */
static const char *content(unsigned number)
{
    static char bytes[4096];
    int descriptor = open(numbered(number), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return "-";
    ssize_t size = read(descriptor, bytes, sizeof(bytes) - 1);
    close(descriptor);
    assert_true(size >= 0);
    bytes[size] = '\0';
    return bytes;
}

static void put(const char *text, size_t size)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_int_equal(write(descriptor, text, size), (ssize_t)size);
    close(descriptor);
}

static void append(struct sink_rotated *file, const char *text)
{
    struct fault fault = {0};
    if (sink_rotated_prepare(file, strlen(text), &fault) || sink_rotated_write(file, text, strlen(text), &fault) ||
        sink_rotated_flush(file, &fault))
        fail_msg("%s", fault_text(&fault));
}

static void what_is_there_is_added_to(void **state)
{
    (void)state;
    struct sink_rotated file;
    put("old\n", 4);
    sink_rotated_open(&file, path, FORMAT_LINES, 0, 0);
    append(&file, "one\n");
    append(&file, "two\n");
    assert_false(file.mended);
    sink_rotated_close(&file);
    assert_string_equal(content(0), "old\none\ntwo\n");
}

static void a_full_file_is_rotated(void **state)
{
    (void)state;
    struct sink_rotated file;
    sink_rotated_open(&file, path, FORMAT_LINES, 8, 0);
    append(&file, "one\n");
    append(&file, "two\n");
    assert_string_equal(content(1), "-");
    append(&file, "three\n");
    append(&file, "a message that is longer than a file\n");
    append(&file, "five\n");
    sink_rotated_close(&file);
    assert_string_equal(content(0), "five\n");
    assert_string_equal(content(1), "a message that is longer than a file\n");
    assert_string_equal(content(2), "three\n");
    assert_string_equal(content(3), "one\ntwo\n");
}

static void no_more_files_are_kept_than_are_wanted(void **state)
{
    (void)state;
    struct sink_rotated file;
    char text[16];
    sink_rotated_open(&file, path, FORMAT_LINES, 3, 2);
    for (int i = 0; i < 10; i++) {
        snprintf(text, sizeof(text), "%d\n", i);
        append(&file, text);
    }
    sink_rotated_close(&file);
    assert_string_equal(content(0), "9\n");
    assert_string_equal(content(1), "8\n");
    assert_string_equal(content(2), "7\n");
    assert_string_equal(content(3), "-");
}

/* As after a kill between two of the renames of a rotation. */
static void a_rotation_that_broke_off_loses_nothing(void **state)
{
    (void)state;
    struct sink_rotated file;
    sink_rotated_open(&file, path, FORMAT_LINES, 4, 0);
    append(&file, "one\n");
    append(&file, "two\n");
    append(&file, "three\n");
    sink_rotated_close(&file);
    char from[128];
    snprintf(from, sizeof(from), "%s", numbered(1));
    assert_int_equal(rename(from, numbered(3)), 0); /* 2 is "one", 3 is "two", 1 is missing */
    sink_rotated_open(&file, path, FORMAT_LINES, 4, 0);
    append(&file, "four\n");
    sink_rotated_close(&file);
    assert_string_equal(content(0), "four\n");
    assert_string_equal(content(1), "three\n");
    assert_string_equal(content(2), "one\n");
    assert_string_equal(content(3), "two\n");
}

static void a_file_that_was_moved_away_is_made_anew(void **state)
{
    (void)state;
    struct sink_rotated file;
    sink_rotated_open(&file, path, FORMAT_LINES, 0, 0);
    append(&file, "one\n");
    assert_int_equal(rename(path, numbered(7)), 0);
    append(&file, "two\n");
    assert_string_equal(content(7), "one\n");
    assert_string_equal(content(0), "two\n");
    assert_int_equal(truncate(path, 0), 0);
    append(&file, "three\n");
    assert_string_equal(content(0), "three\n");
    assert_int_equal(unlink(path), 0);
    append(&file, "four\n");
    assert_string_equal(content(0), "four\n");
    sink_rotated_close(&file);
}

static void a_torn_line_is_ended(void **state)
{
    (void)state;
    struct sink_rotated file;
    put("one\ntw", 6);
    sink_rotated_open(&file, path, FORMAT_JSON, 0, 0);
    append(&file, "three\n");
    assert_true(file.mended);
    assert_int_equal(file.torn, 0);
    sink_rotated_close(&file);
    assert_string_equal(content(0), "one\ntw\nthree\n");
}

static void a_torn_record_is_cut_off(void **state)
{
    (void)state;
    struct sink_rotated file;
    char bytes[200000] = {0};
    size_t size = 0;
    for (int i = 0; i < 1000; i++) {
        bytes[size + 3] = 100;
        size += 104;
    }
    memcpy(bytes + size, "\0\0\0\5abcd", 8);
    put(bytes, size + 8);
    sink_rotated_open(&file, path, FORMAT_LENGTH, 0, 0);
    struct fault fault = {0};
    assert_int_equal(sink_rotated_prepare(&file, 1, &fault), MP_OK);
    assert_true(file.mended);
    assert_int_equal(file.torn, 8);
    assert_int_equal(file.size, size);
    sink_rotated_close(&file);
    assert_int_equal(sink_rotated_prepare(&file, 1, &fault), MP_OK);
    assert_false(file.mended);
    /* A head that broke off. */
    put("\0\0", 2);
    sink_rotated_close(&file);
    assert_int_equal(sink_rotated_prepare(&file, 1, &fault), MP_OK);
    assert_int_equal(file.torn, 2);
    sink_rotated_close(&file);
}

/* A limit on the size of files does what a full disk does: a part is written, then nothing. */
static void what_was_written_in_part_is_undone(void **state)
{
    (void)state;
    struct sink_rotated file;
    struct rlimit old;
    struct fault fault = {0};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    sink_rotated_open(&file, path, FORMAT_LINES, 0, 0);
    append(&file, "one\n");
    struct rlimit small = {.rlim_cur = 6, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum mp_error prepared = sink_rotated_prepare(&file, 6, &fault);
    enum mp_error written = sink_rotated_write(&file, "three\n", 6, &fault);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(prepared, MP_OK);
    assert_int_equal(written, MP_ERR_IO);
    assert_non_null(strstr(fault_text(&fault), "cannot write to"));
    assert_string_equal(content(0), "one\n");
    append(&file, "three\n");
    assert_string_equal(content(0), "one\nthree\n");
    sink_rotated_close(&file);
}

static void what_cannot_be_opened_is_told(void **state)
{
    (void)state;
    struct sink_rotated file;
    struct fault fault = {0};
    sink_rotated_open(&file, place, FORMAT_LINES, 0, 0);
    assert_int_equal(sink_rotated_prepare(&file, 1, &fault), MP_ERR_IO);
    sink_rotated_open(&file, "/proc/none/out", FORMAT_LINES, 0, 0);
    assert_int_equal(sink_rotated_prepare(&file, 1, &fault), MP_ERR_IO);
    assert_non_null(strstr(fault_text(&fault), "cannot open /proc/none/out"));
    sink_rotated_open(&file, "/dev/null", FORMAT_LINES, 0, 0);
    assert_int_equal(sink_rotated_prepare(&file, 1, &fault), MP_ERR_IO);
    assert_non_null(strstr(fault_text(&fault), "not a regular file"));
}

int main(void)
{
#define rotate_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        rotate_test(what_is_there_is_added_to),
        rotate_test(a_full_file_is_rotated),
        rotate_test(no_more_files_are_kept_than_are_wanted),
        rotate_test(a_rotation_that_broke_off_loses_nothing),
        rotate_test(a_file_that_was_moved_away_is_made_anew),
        rotate_test(a_torn_line_is_ended),
        rotate_test(a_torn_record_is_cut_off),
        rotate_test(what_was_written_in_part_is_undone),
        rotate_test(what_cannot_be_opened_is_told),
    };
    return cmocka_run_group_tests_name("sink_rotate", tests, NULL, NULL);
}
