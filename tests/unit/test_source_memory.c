/* runner/source_memory.h: what was saved is there again, also after a save that broke off. */
#include "folder.h"

#include "runner/source_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char place[FOLDER_PATH];
static char directory[FOLDER_PATH + 8];
static char path[FOLDER_PATH + 32];

static int set_up(void **state)
{
    (void)state;
    folder_make(place);
    snprintf(directory, sizeof(directory), "%s/state", place);
    snprintf(path, sizeof(path), "%s/source-hits", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove(place);
    return 0;
}

static struct source_memory *open_memory(void)
{
    struct source_memory *memory = NULL;
    struct fault fault = {0};
    if (source_memory_open(directory, "hits", &memory, &fault))
        fail_msg("%s", fault_text(&fault));
    return memory;
}

static void save(struct source_memory *memory, const char *text)
{
    struct fault fault = {0};
    if (source_memory_save(memory, text, &fault))
        fail_msg("%s", fault_text(&fault));
}

static void what_was_saved_last_is_there_again(void **state)
{
    (void)state;
    struct source_memory *memory = open_memory();
    assert_string_equal(source_memory_text(memory), "");
    for (int i = 1; i <= 7; i++) {
        char text[32];
        snprintf(text, sizeof(text), "offset=%d", i);
        save(memory, text);
        assert_string_equal(source_memory_text(memory), text);
    }
    source_memory_free(memory);
    memory = open_memory();
    assert_string_equal(source_memory_text(memory), "offset=7");
    save(memory, "8");
    source_memory_free(memory);
    memory = open_memory();
    assert_string_equal(source_memory_text(memory), "8");
    source_memory_free(memory);
}

/* Damages one byte somewhere; either the last text or the one before is there. */
static void a_save_that_broke_off_leaves_the_one_before(void **state)
{
    (void)state;
    struct source_memory *memory = open_memory();
    save(memory, "one");
    save(memory, "two");
    save(memory, "three"); /* in the place of "one" */
    source_memory_free(memory);
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    char line[256] = {0};
    off_t at = -1;
    for (off_t start = 0; start <= 4096; start += 4096)
        if (pread(descriptor, line, sizeof(line) - 1, start) > 0 && strstr(line, "three"))
            at = start + (strstr(line, "three") - line);
    assert_true(at >= 0);
    assert_int_equal(pwrite(descriptor, "X", 1, at + 2), 1);
    close(descriptor);
    memory = open_memory();
    assert_string_equal(source_memory_text(memory), "two");
    save(memory, "four");
    source_memory_free(memory);
    memory = open_memory();
    assert_string_equal(source_memory_text(memory), "four");
    source_memory_free(memory);
    assert_int_equal(truncate(path, 10), 0);
    memory = open_memory();
    assert_string_equal(source_memory_text(memory), "");
    source_memory_free(memory);
}

static void two_runners_do_not_share_one(void **state)
{
    (void)state;
    struct source_memory *memory = open_memory();
    struct source_memory *second = NULL;
    struct fault fault = {0};
    assert_int_equal(source_memory_open(directory, "hits", &second, &fault), MP_ERR_BUSY);
    assert_non_null(strstr(fault_text(&fault), "another runner reads for source hits"));
    source_memory_free(memory);
}

static void names_and_texts_have_their_limits(void **state)
{
    (void)state;
    struct source_memory *memory = NULL;
    struct fault fault = {0};
    char text[SOURCE_MEMORY_TEXT + 1];
    char odd[160];
    assert_int_equal(source_memory_open(directory, "a/..\x01", &memory, &fault), MP_OK);
    memset(text, 'x', sizeof(text));
    text[SOURCE_MEMORY_TEXT] = '\0';
    assert_int_equal(source_memory_save(memory, text, &fault), MP_ERR_TOO_LARGE);
    text[SOURCE_MEMORY_TEXT - 1] = '\0';
    save(memory, text);
    source_memory_free(memory);
    assert_int_equal(source_memory_open(directory, "a/..\x01", &memory, &fault), MP_OK);
    assert_string_equal(source_memory_text(memory), text);
    source_memory_free(memory);
    snprintf(odd, sizeof(odd), "%s/source-a%%2f..%%01", directory);
    assert_int_equal(unlink(odd), 0);
}

static void a_directory_that_cannot_be_made_is_told(void **state)
{
    (void)state;
    struct source_memory *memory = NULL;
    struct fault fault = {0};
    assert_int_equal(source_memory_open("/proc/none/here", "hits", &memory, &fault), MP_ERR_IO);
    assert_non_null(strstr(fault_text(&fault), "/proc/none/here/source-hits"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_saved_last_is_there_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_save_that_broke_off_leaves_the_one_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_runners_do_not_share_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_and_texts_have_their_limits, set_up, tear_down),
        cmocka_unit_test(a_directory_that_cannot_be_made_is_told),
    };
    return cmocka_run_group_tests_name("source_memory", tests, NULL, NULL);
}
