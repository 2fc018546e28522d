/* runner/source_follow.h: every byte of a file that grows and is rotated, in order, also over restarts. */
#include "folder.h"

#include "runner/source_follow.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECOND = 1000000 };

static char place[FOLDER_PATH];
static char path[FOLDER_PATH + 16];
static int64_t now;

/* What a reader has got: a cut is written as "|". */
struct reading {
    struct source_follow *follow;
    struct buffer got;
    unsigned cuts;
    int64_t due;
    struct fault fault;
};

static int set_up(void **state)
{
    (void)state;
    folder_make(place);
    snprintf(path, sizeof(path), "%s/log", place);
    now = 100 * SECOND;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove(place);
    return 0;
}

static const char *beside(const char *suffix)
{
    static char name[128];
    snprintf(name, sizeof(name), "%s%s", path, suffix);
    return name;
}

static void append_to(const char *name, const char *text)
{
    int descriptor = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
    close(descriptor);
}

static void rename_beside(const char *from, const char *to)
{
    char name[128];
    snprintf(name, sizeof(name), "%s", beside(from));
    rename(name, beside(to));
}

static void append(const char *text)
{
    append_to(path, text);
}

/* A coarse clock stamps files: waits for its next tick, so that what comes is later than what was. */
static void let_time_pass(void)
{
    struct stat status;
    const char *name = beside(".clock");
    int64_t first = 0;
    for (;;) {
        append_to(name, "x");
        assert_int_equal(stat(name, &status), 0);
        int64_t time = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
        if (first && time != first)
            break;
        first = first ? first : time;
    }
    unlink(name);
}

static void copy_and_truncate(const char *to)
{
    char bytes[65536];
    int from = open(path, O_RDWR | O_CLOEXEC);
    ssize_t size = read(from, bytes, sizeof(bytes));
    assert_true(size >= 0);
    int descriptor = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(write(descriptor, bytes, (size_t)size), size);
    close(descriptor);
    assert_int_equal(ftruncate(from, 0), 0);
    close(from);
}

static void begin(struct reading *reading, bool follow, const struct source_place *from)
{
    *reading = (struct reading){0};
    struct source_follow_settings settings = {.path = path, .follow = follow, .place = from};
    assert_int_equal(source_follow_open(&settings, &reading->follow, &reading->fault), MP_OK);
}

/* Reads until nothing is there now; the last event. */
static enum source_follow_event read_on(struct reading *reading, size_t most)
{
    for (;;) {
        reading->due = CLOCK_NEVER;
        size_t before = reading->got.size;
        enum source_follow_event event =
            source_follow_read(reading->follow, &reading->got, most, now, &reading->due, &reading->fault);
        if (event == SOURCE_FOLLOW_CUT) {
            reading->cuts++;
            assert_int_equal(buffer_append(&reading->got, "|", 1), MP_OK);
        } else if (event == SOURCE_FOLLOW_BYTES) {
            assert_true(reading->got.size > before && reading->got.size - before <= most);
        } else {
            assert_int_equal(reading->got.size, before);
            return event;
        }
    }
}

static void expect(struct reading *reading, enum source_follow_event event, const char *text)
{
    assert_int_equal(read_on(reading, 65536), event);
    assert_int_equal(buffer_append(&reading->got, "", 1), MP_OK);
    assert_string_equal((const char *)reading->got.data, text);
    reading->got.size = 0;
}

static void finish(struct reading *reading)
{
    source_follow_free(reading->follow);
    buffer_free(&reading->got);
    *reading = (struct reading){0};
}

/* As a runner that dies and is started anew: all that was given up to GIVEN is acknowledged. */
static void restart(struct reading *reading, uint64_t given, bool follow)
{
    char text[SOURCE_FOLLOW_TEXT];
    char again[SOURCE_FOLLOW_TEXT];
    struct source_place from = source_follow_place(reading->follow, given);
    struct source_place parsed;
    source_place_text(&from, text);
    assert_true(source_place_parse(text, &parsed));
    source_place_text(&parsed, again);
    assert_string_equal(text, again);
    finish(reading);
    begin(reading, follow, &parsed);
}

static void restart_behind_all(struct reading *reading)
{
    restart(reading, source_follow_given(reading->follow), true);
}

/* ---- one file ------------------------------------------------------------------------------------------------- */

static void a_file_is_read_once(void **state)
{
    (void)state;
    struct reading reading;
    append("one\ntwo\nthr");
    begin(&reading, false, NULL);
    expect(&reading, SOURCE_FOLLOW_END, "one\ntwo\nthr|");
    expect(&reading, SOURCE_FOLLOW_END, "");
    restart(&reading, 8, false);
    expect(&reading, SOURCE_FOLLOW_END, "thr|");
    restart(&reading, 3, false); /* 11 bytes of it are done with */
    append("ee\n");
    expect(&reading, SOURCE_FOLLOW_END, "ee\n|");
    finish(&reading);
}

static void another_file_of_that_name_is_read_from_its_beginning(void **state)
{
    (void)state;
    struct reading reading;
    append("one\n");
    begin(&reading, false, NULL);
    expect(&reading, SOURCE_FOLLOW_END, "one\n|");
    assert_int_equal(unlink(path), 0);
    append("two, which is longer\n");
    restart(&reading, 4, false);
    assert_non_null(strstr(fault_text(&reading.fault), "is there no more"));
    expect(&reading, SOURCE_FOLLOW_END, "two, which is longer\n|");
    finish(&reading);
}

static void a_file_that_is_missing_is_told_and_awaited(void **state)
{
    (void)state;
    struct reading reading;
    begin(&reading, true, NULL);
    assert_int_equal(read_on(&reading, 100), SOURCE_FOLLOW_FAILED);
    assert_non_null(strstr(fault_text(&reading.fault), "No such file"));
    assert_true(reading.due > now && reading.due <= now + SECOND);
    append("here\n");
    expect(&reading, SOURCE_FOLLOW_WAIT, "here\n");
    finish(&reading);
}

static void what_is_no_file_is_told(void **state)
{
    (void)state;
    struct reading reading;
    assert_int_equal(mkdir(path, 0700), 0);
    begin(&reading, true, NULL);
    assert_int_equal(read_on(&reading, 100), SOURCE_FOLLOW_FAILED);
    assert_non_null(strstr(fault_text(&reading.fault), "not a regular file"));
    finish(&reading);
    assert_int_equal(rmdir(path), 0);
}

static void a_file_is_followed_as_it_grows(void **state)
{
    (void)state;
    struct reading reading;
    append("a");
    begin(&reading, true, NULL);
    expect(&reading, SOURCE_FOLLOW_WAIT, "a");
    expect(&reading, SOURCE_FOLLOW_WAIT, "");
    assert_true(reading.due > now && reading.due <= now + SECOND);
    for (char letter = 'b'; letter <= 'f'; letter++) {
        char text[] = {letter, '\0'};
        append(text);
        expect(&reading, SOURCE_FOLLOW_WAIT, text);
    }
    assert_int_equal(source_follow_given(reading.follow), 6);
    finish(&reading);
}

/* ---- rotation ------------------------------------------------------------------------------------------------- */

static void a_renamed_file_is_read_to_its_end_first(void **state)
{
    (void)state;
    struct reading reading;
    append("one\n");
    begin(&reading, true, NULL);
    expect(&reading, SOURCE_FOLLOW_WAIT, "one\n");
    assert_int_equal(rename(path, beside(".1")), 0);
    append_to(beside(".1"), "two\n"); /* its writer has not noticed yet */
    expect(&reading, SOURCE_FOLLOW_WAIT, "two\n");
    append("");
    now += 10 * SECOND;
    expect(&reading, SOURCE_FOLLOW_WAIT, ""); /* the new one is empty: the writer may still be at the old one */
    append_to(beside(".1"), "three\n");
    expect(&reading, SOURCE_FOLLOW_WAIT, "three\n");
    append("four\n");
    expect(&reading, SOURCE_FOLLOW_WAIT, "");
    assert_int_equal(reading.due, now + SECOND);
    append_to(beside(".1"), "thr"); /* another writer is late, and is cut off */
    expect(&reading, SOURCE_FOLLOW_WAIT, "thr");
    now += SECOND;
    expect(&reading, SOURCE_FOLLOW_WAIT, "|four\n");
    restart_behind_all(&reading);
    expect(&reading, SOURCE_FOLLOW_WAIT, "");
    finish(&reading);
}

static void rotations_that_come_in_a_row_hide_no_file(void **state)
{
    (void)state;
    struct reading reading;
    append("one\n");
    begin(&reading, true, NULL);
    expect(&reading, SOURCE_FOLLOW_WAIT, "one\n");
    rename(path, beside(".1"));
    append("two\n");
    expect(&reading, SOURCE_FOLLOW_WAIT, "");
    rename(path, beside(".2"));
    append("three\n");
    expect(&reading, SOURCE_FOLLOW_WAIT, "");
    unlink(beside(".1"));
    unlink(beside(".2"));
    for (int i = 0; i < 3; i++) {
        now += SECOND;
        read_on(&reading, 100);
    }
    expect(&reading, SOURCE_FOLLOW_WAIT, "|two\n|three\n");
    finish(&reading);
}

static void a_truncated_file_is_read_anew(void **state)
{
    (void)state;
    struct reading reading;
    append("one\ntwo\n");
    begin(&reading, true, NULL);
    expect(&reading, SOURCE_FOLLOW_WAIT, "one\ntwo\n");
    assert_int_equal(truncate(path, 0), 0);
    append("new\n");
    expect(&reading, SOURCE_FOLLOW_WAIT, "|new\n");
    /* Over the length that was read, before anybody looked: its first bytes tell. */
    assert_int_equal(truncate(path, 0), 0);
    append("something longer\n");
    expect(&reading, SOURCE_FOLLOW_WAIT, "|something longer\n");
    finish(&reading);
}

/* A first line that is long enough to know a copy by. */
static const char header[] = "# a header that stands in the first line of this log and is more than 64 bytes long\n";

static void what_a_copy_has_more_is_read_from_it(void **state)
{
    (void)state;
    struct reading reading;
    append(header);
    append("one\n");
    begin(&reading, true, NULL);
    read_on(&reading, 65536);
    reading.got.size = 0;
    append("two\n");
    copy_and_truncate(beside(".1"));
    append("three\n");
    expect(&reading, SOURCE_FOLLOW_WAIT, "|two\n|three\n");
    restart_behind_all(&reading);
    expect(&reading, SOURCE_FOLLOW_WAIT, "");
    append("four\n");
    expect(&reading, SOURCE_FOLLOW_WAIT, "four\n");
    finish(&reading);
}

/* ---- restarts ------------------------------------------------------------------------------------------------- */

static void a_reader_goes_on_where_it_was_acknowledged(void **state)
{
    (void)state;
    struct reading reading;
    append("one\ntwo\nthree\n");
    begin(&reading, true, NULL);
    expect(&reading, SOURCE_FOLLOW_WAIT, "one\ntwo\nthree\n");
    restart(&reading, 4, true);
    expect(&reading, SOURCE_FOLLOW_WAIT, "two\nthree\n");
    restart(&reading, 4, true);
    expect(&reading, SOURCE_FOLLOW_WAIT, "three\n");
    finish(&reading);
}

static void files_that_were_rotated_meanwhile_are_read_in_order(void **state)
{
    (void)state;
    struct reading reading;
    append("one\n");
    begin(&reading, true, NULL);
    expect(&reading, SOURCE_FOLLOW_WAIT, "one\n");
    struct source_place from = source_follow_place(reading.follow, 4);
    finish(&reading);
    append_to(beside(".older"), "not a rotated one\n");
    append("two\n");
    rename(path, beside(".1"));
    let_time_pass();
    append("three\n");
    rename_beside(".1", ".2");
    rename(path, beside(".1"));
    let_time_pass();
    append_to(beside("-notes.txt"), "nor this\n");
    append("four\n");
    begin(&reading, true, &from);
    for (int i = 0; i < 4; i++) {
        read_on(&reading, 100);
        now += SECOND;
    }
    expect(&reading, SOURCE_FOLLOW_WAIT, "two\n|three\n|four\n");
    finish(&reading);
}

static void a_file_that_was_copied_and_truncated_meanwhile_is_found(void **state)
{
    (void)state;
    struct reading reading;
    append(header);
    begin(&reading, true, NULL);
    read_on(&reading, 65536);
    struct source_place from = source_follow_place(reading.follow, source_follow_given(reading.follow));
    finish(&reading);
    append("one\n");
    copy_and_truncate(beside("-20260120"));
    append("two\n");
    begin(&reading, true, &from);
    read_on(&reading, 100);
    now += SECOND;
    expect(&reading, SOURCE_FOLLOW_WAIT, "one\n|two\n");
    finish(&reading);
}

static void a_place_of_another_path_does_not_count(void **state)
{
    (void)state;
    struct reading reading;
    append("one\n");
    begin(&reading, true, NULL);
    expect(&reading, SOURCE_FOLLOW_WAIT, "one\n");
    struct source_place from = source_follow_place(reading.follow, 4);
    finish(&reading);
    from.path++;
    begin(&reading, true, &from);
    assert_int_equal(reading.fault.code, MP_OK);
    expect(&reading, SOURCE_FOLLOW_WAIT, "one\n");
    finish(&reading);
}

static void texts_that_are_no_places_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "device=1",
        "device=1 inode=2 offset=3 head=4:00 modified=5 path=6", /* more head than was read */
        "device=1 inode=2 offset=9999 head=1025:00 modified=5 path=6",
        "device=1 inode=2 offset=18446744073709551615 head=1:00 modified=5 path=6",
    };
    struct source_place parsed;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_false(source_place_parse(texts[i], &parsed));
}

/* ---- by chance ------------------------------------------------------------------------------------------------ */

static uint64_t chance;

static unsigned at_random(unsigned below)
{
    chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(chance >> 33) % below;
}

/* Lines come in order, each once: restarts are behind all that was counted. */
static void count_lines(struct reading *reading, unsigned *next)
{
    char *at = (char *)reading->got.data;
    char *end = at + reading->got.size;
    while (at < end) {
        if (*at == '|') {
            at++;
            continue;
        }
        char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline)
            break;
        unsigned number = (unsigned)strtoul(at, NULL, 10);
        if (number != *next)
            fail_msg("line %u came in the place of %u", number, *next);
        (*next)++;
        at = newline + 1;
    }
    buffer_consume(&reading->got, (size_t)(at - (char *)reading->got.data));
}

static void rotate_by_rename(void)
{
    for (int i = 60; i >= 1; i--) {
        char from[16];
        char to[16];
        snprintf(from, sizeof(from), ".%d", i);
        snprintf(to, sizeof(to), ".%d", i + 1);
        rename_beside(from, to);
    }
    rename(path, beside(".1"));
    let_time_pass();
}

/* Writes, rotates, reads and restarts at random: every line comes, in order, and none twice. */
static void no_line_is_lost_or_repeated_by_chance(void **state)
{
    (void)state;
    struct reading reading;
    unsigned written = 0;
    unsigned next = 0;
    begin(&reading, true, NULL);
    for (int round = 0; round < 400; round++) {
        char line[64];
        switch (at_random(10)) {
        case 0:
        case 1:
        case 2:
        case 3:
            for (unsigned count = at_random(4) + 1; count > 0; count--) {
                snprintf(line, sizeof(line), "%u and some words that fill the line\n", written++);
                append(line);
            }
            break;
        case 4:
        case 5:
        case 6:
            read_on(&reading, at_random(200) + 1);
            count_lines(&reading, &next);
            break;
        case 7:
            now += SECOND;
            break;
        case 8:
            if (access(path, F_OK) == 0 && at_random(2))
                rotate_by_rename();
            break;
        default:
            /* Only whole lines are acknowledged. */
            if (!reading.cuts || reading.got.size == 0) {
                restart(&reading, source_follow_given(reading.follow) - reading.got.size, true);
            }
            break;
        }
    }
    for (int i = 0; i < 50 && next < written; i++) {
        now += SECOND;
        read_on(&reading, 1000);
        count_lines(&reading, &next);
    }
    assert_int_equal(next, written);
    finish(&reading);
}

static void no_line_is_lost_by_chance(void **state)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        chance = seed;
        no_line_is_lost_or_repeated_by_chance(state);
        tear_down(state);
        set_up(state);
    }
}

int main(void)
{
#define follow_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        follow_test(a_file_is_read_once),
        follow_test(another_file_of_that_name_is_read_from_its_beginning),
        follow_test(a_file_that_is_missing_is_told_and_awaited),
        follow_test(what_is_no_file_is_told),
        follow_test(a_file_is_followed_as_it_grows),
        follow_test(a_renamed_file_is_read_to_its_end_first),
        follow_test(rotations_that_come_in_a_row_hide_no_file),
        follow_test(a_truncated_file_is_read_anew),
        follow_test(what_a_copy_has_more_is_read_from_it),
        follow_test(a_reader_goes_on_where_it_was_acknowledged),
        follow_test(files_that_were_rotated_meanwhile_are_read_in_order),
        follow_test(a_file_that_was_copied_and_truncated_meanwhile_is_found),
        follow_test(a_place_of_another_path_does_not_count),
        cmocka_unit_test(texts_that_are_no_places_are_refused),
        follow_test(no_line_is_lost_by_chance),
    };
    return cmocka_run_group_tests_name("source_follow", tests, NULL, NULL);
}
