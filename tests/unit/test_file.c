/* Files: all of what is read and written. */
#include "base/file.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void a_file_is_written_and_read_at_a_place(void **state)
{
    char folder[] = "/tmp/msgpipe-path.XXXXXX", path[64], text[8] = "";
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    int file = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(file >= 0);
    assert_true(file_write(file, "abc", 3));
    assert_true(file_write(file, "def", 3));
    assert_true(file_write_at(file, "X", 1, 1));
    assert_int_equal(file_read_at(file, text, sizeof text, 0), 6);
    assert_string_equal(text, "aXcdef");
    assert_int_equal(file_read_at(file, text, 2, 4), 2);
    assert_memory_equal(text, "ef", 2);
    assert_int_equal(file_read_at(file, text, 2, 6), 0);
    close(file);
    assert_true((file = open(path, O_RDONLY)) >= 0);
    assert_false(file_write(file, "g", 1));
    assert_int_equal(errno, EBADF);
    assert_false(file_write_at(file, "g", 1, 0));
    close(file);
    assert_int_equal(file_read_at(file, text, 1, 0), -1);
    assert_true((file = open("/dev/full", O_WRONLY)) >= 0 || errno == ENOENT);
    assert_true(file < 0 || (!file_write(file, "g", 1) && errno == ENOSPC));
    if (file >= 0)
        close(file);
    assert_true(path_remove_folder(folder));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_file_is_written_and_read_at_a_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
