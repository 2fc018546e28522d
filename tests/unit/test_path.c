/* Paths: from the root, and beside a store. */
#include "base/path.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void a_path_from_the_root_stays(void **state)
{
    char text[PATH_BYTES];
    struct fault fault;
    (void)state;
    assert_int_equal(path_from_root("/var/x.db", text, &fault), MP_OK);
    assert_string_equal(text, "/var/x.db");
}

static void another_begins_at_the_working_directory(void **state)
{
    char text[PATH_BYTES], here[PATH_BYTES], wanted[PATH_BYTES + 8];
    struct fault fault;
    (void)state;
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(path_from_root("a/x.db", text, &fault), MP_OK);
    snprintf(wanted, sizeof wanted, "%s/a/x.db", here);
    assert_string_equal(text, wanted);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(path_from_root("x.db", text, &fault), MP_OK);
    assert_string_equal(text, "/x.db");
    assert_int_equal(chdir(here), 0);
}

static void what_is_beside_a_store_has_its_name(void **state)
{
    static const struct {
        const char *path, *beside;
    } cases[] = {{"/var/orders.db", "/var/orders.log"},
                 {"orders.db", "orders.log"},
                 {"orders", "orders.log"},
                 {"orders.db.db", "orders.db.log"},
                 {"/var/orders.db/x", "/var/orders.db/x.log"},
                 {".db", ".db.log"}};
    char text[PATH_BYTES];
    struct fault fault;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(path_beside(cases[i].path, ".log", text, &fault), MP_OK);
        assert_string_equal(text, cases[i].beside);
    }
}

static void a_program_of_the_package_is_found_by_its_place_and_by_how_this_one_is_called(void **state)
{
    char text[PATH_BYTES];
    struct fault fault = {0};
    (void)state;
    assert_int_equal(path_of_program("test_path", "test_path", "/nowhere", text, &fault), MP_OK);
    assert_non_null(strstr(text, "/test_path"));
    assert_int_equal(access(text, X_OK), 0);
    /* This one is called test_path: so a tool named "path" has been installed with a prefix. */
    assert_int_equal(path_of_program("path", "trace", "/nowhere", text, &fault), MP_ERR_NOT_FOUND);
    assert_string_equal(text, "/nowhere/test_trace");
    assert_non_null(strstr(fault_text(&fault), "/nowhere/test_trace"));
    /* And one whose name is another altogether says nothing of the others'. */
    assert_int_equal(path_of_program("mrelay", "mtrace", "/nowhere", text, &fault), MP_ERR_NOT_FOUND);
    assert_string_equal(text, "/nowhere/mtrace");
    assert_int_equal(path_of_program("mrelay", "sh", "/bin", text, &fault), MP_OK);
    assert_string_equal(text, "/bin/sh");
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    char path[PATH_BYTES + 8], text[PATH_BYTES];
    struct fault fault;
    (void)state;
    memset(path, 'a', sizeof path);
    path[0] = '/';
    path[PATH_BYTES] = '\0';
    assert_int_equal(path_from_root(path, text, &fault), MP_ERR_INVALID);
    assert_int_equal(path_beside(path, ".log", text, &fault), MP_ERR_INVALID);
    path[PATH_BYTES - 1] = '\0'; /* it fits, but nothing behind it */
    assert_int_equal(path_from_root(path, text, &fault), MP_OK);
    assert_int_equal(path_beside(path, ".log", text, &fault), MP_ERR_INVALID);
    assert_non_null(strstr(fault_text(&fault), "too long"));
}

static void a_directory_that_others_may_write_to_is_no_place(void **state)
{
    static const char *const endings[] = {"", ".lock", NULL};
    char folder[] = "/tmp/msgpipe-path.XXXXXX", path[64];
    struct fault fault = {0};
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.db", folder);
    assert_int_equal(path_check_place(path, endings, &fault), MP_OK);
    assert_int_equal(chmod(folder, 0777), 0);
    assert_int_equal(path_check_place(path, endings, &fault), MP_ERR_DENIED);
    assert_non_null(strstr(fault.text, "other users may write to"));
    assert_int_equal(chmod(folder, 01777), 0); /* as /tmp */
    assert_int_equal(path_check_place(path, endings, &fault), MP_OK);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(path_check_place(path, endings, &fault), MP_ERR_NOT_FOUND);
    assert_int_equal(path_check_place("x.db/y", endings, &fault), MP_ERR_NOT_FOUND);
    assert_int_equal(path_check_directory("/dev/null", &fault), MP_ERR_EXISTS);
}

static void the_directory_of_a_path_is_told_and_flushed(void **state)
{
    static const char *const paths[][2] = {{"x", "."},         {"a/x", "a"}, {"/x", "/"},
                                           {"/a/b/x", "/a/b"}, {"a/", "a"},  {"", "."}};
    char text[PATH_BYTES], long_path[PATH_BYTES + 8];
    struct fault fault = {0};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_true(path_directory(paths[i][0], text));
        assert_string_equal(text, paths[i][1]);
    }
    assert_int_equal(path_flush_directory("x", &fault), MP_OK); /* that of the program, not the root's */
    assert_int_equal(path_flush_directory("/nowhere/x", &fault), MP_ERR_IO);
    assert_non_null(strstr(fault_text(&fault), "cannot flush the directory of /nowhere/x"));
    memset(long_path, 'a', sizeof long_path);
    memcpy(long_path + PATH_BYTES, "/x", 3);
    assert_false(path_directory(long_path, text));
    assert_int_equal(path_flush_directory(long_path, NULL), MP_ERR_IO);
}

static void a_file_is_made_beside_another(void **state)
{
    char folder[] = "/tmp/msgpipe-path.XXXXXX", path[64], name[PATH_BYTES], other[PATH_BYTES], long_path[PATH_BYTES];
    struct stat status;
    struct fault fault = {0};
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.db", folder);
    assert_int_equal(path_make_beside(path, name, &fault), MP_OK);
    assert_int_equal(path_make_beside(path, other, &fault), MP_OK);
    assert_string_not_equal(name, other);
    assert_int_equal(strncmp(name, path, strlen(path)), 0);
    assert_int_equal(stat(name, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(status.st_size, 0);
    assert_true(path_remove_folder(folder));
    assert_int_equal(path_make_beside(path, name, &fault), MP_ERR_IO);
    assert_non_null(strstr(fault_text(&fault), "cannot write /tmp/msgpipe-path"));
    memset(long_path, 'a', sizeof long_path);
    long_path[PATH_BYTES - 4] = '\0';
    assert_int_equal(path_make_beside(long_path, name, &fault), MP_ERR_TOO_LARGE);
}

static void a_folder_goes_with_all_that_is_in_it_but_not_what_its_links_lead_to(void **state)
{
    char other[] = "/tmp/msgpipe-path.XXXXXX", folder[] = "/tmp/msgpipe-path.XXXXXX", path[64];
    (void)state;
    assert_non_null(mkdtemp(other));
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/link", folder);
    assert_int_equal(symlink(other, path), 0);
    snprintf(path, sizeof path, "%s/inner", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/inner/file", folder);
    int file = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(file >= 0);
    close(file);
    assert_true(path_remove_folder(folder));
    assert_int_not_equal(access(folder, F_OK), 0);
    assert_int_equal(rmdir(other), 0);
}

/* That it is flushed is for tests/torture/power_files to see; here, that it never stands in the way. */
static void a_name_is_flushed_where_that_can_be(void **state)
{
    (void)state;
    assert_int_equal(path_flush_name("x.db"), MP_OK);
    assert_int_equal(path_flush_name("/"), MP_OK);
    assert_int_equal(path_flush_name("/tmp/nothing/is/here"), MP_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_that_others_may_write_to_is_no_place),
        cmocka_unit_test(a_folder_goes_with_all_that_is_in_it_but_not_what_its_links_lead_to),
        cmocka_unit_test(the_directory_of_a_path_is_told_and_flushed),
        cmocka_unit_test(a_file_is_made_beside_another),
        cmocka_unit_test(a_path_from_the_root_stays),
        cmocka_unit_test(another_begins_at_the_working_directory),
        cmocka_unit_test(what_is_beside_a_store_has_its_name),
        cmocka_unit_test(a_program_of_the_package_is_found_by_its_place_and_by_how_this_one_is_called),
        cmocka_unit_test(a_path_that_is_too_long_is_refused),
        cmocka_unit_test(a_name_is_flushed_where_that_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
