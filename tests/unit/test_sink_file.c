/* runner/sink.h: files. */
#include "folder.h"
#include "sink_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char place[FOLDER_PATH];
static char path[FOLDER_PATH + 16];
static struct sink_rig rig;

static int set_up(void **state)
{
    (void)state;
    folder_make(place);
    snprintf(path, sizeof(path), "%s/out", place);
    sink_rig_new(&rig);
    rig.stage.end = PIPELINE_TO_FILE;
    rig.stage.file = path;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sink_rig_free(&rig);
    folder_remove(place);
    return 0;
}

static const char *content(const char *name)
{
    static char bytes[65536];
    int descriptor = open(name, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return "-";
    ssize_t size = read(descriptor, bytes, sizeof(bytes) - 1);
    close(descriptor);
    assert_true(size >= 0);
    bytes[size] = '\0';
    return bytes;
}

static void messages_are_appended_in_their_order(void **state)
{
    (void)state;
    struct buffer expected = {0};
    sink_rig_open(&rig);
    for (int i = 0; i < 1000; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        sink_rig_add(&rig, text);
        buffer_append_format(&expected, "%d\n", i);
    }
    assert_false(sink_idle(rig.sink));
    sink_rig_until(&rig, rig.ended[STAGE_SUCCEEDED] == 1000);
    assert_true(sink_idle(rig.sink));
    buffer_append(&expected, "", 1);
    buffer_append(&rig.order, "", 1);
    assert_string_equal(content(path), (char *)expected.data);
    assert_string_equal((char *)rig.order.data, (char *)expected.data);
    buffer_free(&expected);
}

static void a_body_that_does_not_fit_the_format_is_told_alone(void **state)
{
    (void)state;
    sink_rig_open(&rig);
    sink_rig_add(&rig, "one");
    sink_rig_add(&rig, "two\nlines");
    sink_rig_add(&rig, "three");
    sink_rig_until(&rig, rig.ended[STAGE_SUCCEEDED] == 2);
    assert_int_equal(rig.ended[STAGE_MALFORMED], 1);
    assert_true(rig.note[0] != '\0');
    assert_string_equal(content(path), "one\nthree\n");
}

static void json_keeps_all_of_a_message(void **state)
{
    (void)state;
    rig.stage.format = FORMAT_JSON;
    sink_rig_open(&rig);
    sink_rig_add(&rig, "two\nlines");
    sink_rig_until(&rig, rig.ended[STAGE_SUCCEEDED] == 1);
    assert_non_null(strstr(content(path), "\"data\":\"two\\nlines\""));
}

static void files_do_not_grow_over_their_limit(void **state)
{
    (void)state;
    char name[128];
    rig.stage.rotate = 20;
    sink_rig_open(&rig);
    for (int i = 0; i < 9; i++)
        sink_rig_add(&rig, "123456789"); /* two of them a file */
    sink_rig_until(&rig, rig.ended[STAGE_SUCCEEDED] == 9);
    assert_string_equal(content(path), "123456789\n");
    for (int i = 1; i <= 4; i++) {
        snprintf(name, sizeof(name), "%s.%d", path, i);
        assert_string_equal(content(name), "123456789\n123456789\n");
    }
}

static void what_cannot_be_written_waits(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path, 0700), 0); /* in the way */
    sink_rig_open(&rig);
    sink_rig_add(&rig, "one");
    sink_rig_add(&rig, "two");
    sink_rig_until(&rig, rig.paused[0] != '\0');
    assert_non_null(strstr(rig.paused, path));
    assert_int_equal(sink_room(rig.sink), 0);
    assert_false(sink_idle(rig.sink));
    assert_int_equal(rmdir(path), 0);
    sink_rig_until(&rig, rig.ended[STAGE_SUCCEEDED] == 2);
    assert_string_equal(rig.paused, "");
    assert_true(sink_room(rig.sink) > 0);
    assert_string_equal(content(path), "one\ntwo\n");
}

static void what_waits_goes_back_when_it_is_ended(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path, 0700), 0);
    sink_rig_open(&rig);
    sink_rig_add(&rig, "one");
    sink_rig_until(&rig, rig.paused[0] != '\0');
    sink_stop(rig.sink);
    sink_end(rig.sink);
    sink_rig_until(&rig, sink_idle(rig.sink));
    assert_int_equal(rig.ended[STAGE_NOT_BEGUN], 1);
    assert_int_equal(rmdir(path), 0);
}

int main(void)
{
#define sink_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        sink_test(messages_are_appended_in_their_order), sink_test(a_body_that_does_not_fit_the_format_is_told_alone),
        sink_test(json_keeps_all_of_a_message),          sink_test(files_do_not_grow_over_their_limit),
        sink_test(what_cannot_be_written_waits),         sink_test(what_waits_goes_back_when_it_is_ended),
    };
    return cmocka_run_group_tests_name("sink_file", tests, NULL, NULL);
}
