/* Starting processes: the descriptors that they get, where they run, and what keeps them from it. */
#include "folder.h"

#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[FOLDER_PATH];

static int make_folder(void **state)
{
    (void)state;
    folder_make(folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

/* Runs the line SCRIPT of a shell with SETTINGS, and returns its exit code. */
static int run(const struct spawn_settings *settings, const char *script)
{
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, (char *)(uintptr_t)script, NULL};
    struct spawn_settings with = *settings;
    pid_t pid;
    int status;
    with.argv = argv;
    assert_int_equal(spawn_start(&with, &pid), 0);
    while (waitpid(pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return spawn_exit_code(status);
}

static const char *read_all(int descriptor)
{
    static char text[256];
    size_t size = 0;
    ssize_t got;
    while ((got = read(descriptor, text + size, sizeof text - 1 - size)) > 0)
        size += (size_t)got;
    text[size] = '\0';
    return text;
}

/* Whatever number ours have: also when each stands where the other is to be. */
static void descriptors_change_places(void **state)
{
    int one[2], two[2];
    (void)state;
    assert_int_equal(spawn_pipe(one), 0);
    assert_int_equal(spawn_pipe(two), 0);
    int first = fcntl(one[1], F_DUPFD_CLOEXEC, 20), second = fcntl(two[1], F_DUPFD_CLOEXEC, 20);
    close(one[1]);
    close(two[1]);
    int kept[2] = {fcntl(3, F_DUPFD_CLOEXEC, 30), fcntl(4, F_DUPFD_CLOEXEC, 30)};
    assert_int_equal(dup2(first, 4), 4);
    assert_int_equal(dup2(second, 3), 3);
    const struct spawn_place places[] = {{3, 4, NULL, 0}, {4, 3, NULL, 0}};
    const struct spawn_settings settings = {.places = places, .places_count = 2};
    assert_int_equal(run(&settings, "echo first >&3; echo second >&4"), 0);
    for (int i = 0; i < 2; i++) {
        close(3 + i);
        if (kept[i] >= 0)
            assert_int_equal(dup2(kept[i], 3 + i), 3 + i);
        if (kept[i] >= 0)
            close(kept[i]);
    }
    close(first);
    close(second);
    assert_string_equal(read_all(one[0]), "first\n");
    assert_string_equal(read_all(two[0]), "second\n");
    close(one[0]);
    close(two[0]);
}

static void one_that_stands_there_already_is_kept(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(spawn_pipe(ends), 0);
    assert_int_equal(fcntl(ends[1], F_DUPFD_CLOEXEC, 9), 9);
    close(ends[1]);
    const struct spawn_place places[] = {{9, 9, NULL, 0}};
    const struct spawn_settings settings = {.places = places, .places_count = 1};
    assert_int_equal(run(&settings, "echo here >&9"), 0);
    close(9);
    assert_string_equal(read_all(ends[0]), "here\n");
    close(ends[0]);
}

static void files_are_opened_in_the_new_process(void **state)
{
    char path[FOLDER_PATH + 8];
    int ends[2];
    (void)state;
    snprintf(path, sizeof path, "%s/log", folder);
    const struct spawn_place writes[] = {{1, -1, path, O_WRONLY | O_CREAT | O_APPEND}};
    const struct spawn_settings writer = {.places = writes, .places_count = 1};
    assert_int_equal(run(&writer, "echo one"), 0);
    assert_int_equal(run(&writer, "echo two"), 0);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(spawn_pipe(ends), 0);
    const struct spawn_place reads[] = {{0, -1, path, O_RDONLY}, {1, ends[1], NULL, 0}};
    const struct spawn_settings reader = {.places = reads, .places_count = 2};
    assert_int_equal(run(&reader, "cat"), 0);
    close(ends[1]);
    assert_string_equal(read_all(ends[0]), "one\ntwo\n");
    close(ends[0]);
    unlink(path);
}

static void it_runs_where_it_is_told_to(void **state)
{
    const struct spawn_settings settings = {.directory = folder};
    char script[128];
    (void)state;
    snprintf(script, sizeof script, "[ \"$(pwd -P)\" = \"$(cd %s && pwd -P)\" ]", folder);
    assert_int_equal(run(&settings, script), 0);
}

static void a_group_of_its_own_is_its_leader(void **state)
{
    const struct spawn_settings settings = {.signals = spawn_default_signals, .group = SPAWN_OWN_GROUP};
    const struct spawn_settings session = {.group = SPAWN_OWN_SESSION};
    (void)state;
    assert_int_equal(run(&settings, "kill -s TERM -- -$$"), 128 + SIGTERM);
    assert_int_equal(run(&session, "kill -s KILL -- -$$"), 128 + SIGKILL);
}

static void what_went_wrong_has_words_and_a_code(void **state)
{
    char *argv[] = {(char[]){"no-such-command-here"}, NULL};
    struct spawn_settings settings = {.argv = argv};
    struct fault fault;
    pid_t pid;
    int code;
    (void)state;
    int number = spawn_start(&settings, &pid);
    assert_int_equal(spawn_explain(&settings, number, &code, &fault), MP_ERR_NOT_FOUND);
    assert_int_equal(code, SPAWN_NOT_FOUND);
    assert_string_equal(fault_text(&fault), "cannot run no-such-command-here: there is no such command");
    settings.program = "/";
    number = spawn_start(&settings, &pid);
    assert_int_equal(spawn_explain(&settings, number, &code, &fault), MP_ERR_IO);
    assert_int_equal(code, SPAWN_CANNOT_RUN);
    settings.program = "true";
    settings.directory = "/no/such/folder";
    number = spawn_start(&settings, &pid);
    assert_int_equal(spawn_explain(&settings, number, &code, &fault), MP_ERR_IO);
    assert_non_null(strstr(fault_text(&fault), "/no/such/folder"));
    assert_int_equal(spawn_explain(&settings, EAGAIN, &code, &fault), MP_ERR_BUSY);
    assert_int_equal(code, SPAWN_LATER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_change_places),           cmocka_unit_test(one_that_stands_there_already_is_kept),
        cmocka_unit_test(files_are_opened_in_the_new_process), cmocka_unit_test(it_runs_where_it_is_told_to),
        cmocka_unit_test(a_group_of_its_own_is_its_leader),    cmocka_unit_test(what_went_wrong_has_words_and_a_code),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
