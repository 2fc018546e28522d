/* cli/spool.h: what a process has taken, another one delivers, in order; two handles stand for two processes. */
#include "folder.h"

#include "cli/letters_file.h"
#include "cli/spool.h"
#include "cli/spool_refused.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct folder {
    char path[FOLDER_PATH];
    char spool[FOLDER_PATH + 8];
};

static int setup(void **state)
{
    struct folder *folder = calloc(1, sizeof *folder);
    assert_non_null(folder);
    folder_make(folder->path);
    snprintf(folder->spool, sizeof folder->spool, "%s/out", folder->path);
    *state = folder;
    return 0;
}

static int teardown(void **state)
{
    struct folder *folder = *state;
    folder_remove(folder->path);
    free(folder);
    return 0;
}

static struct spool *open_spool(const struct folder *folder)
{
    struct spool *spool;
    struct fault fault = {0};
    if (spool_open(folder->spool, &spool, &fault))
        fail_msg("%s", fault_text(&fault));
    return spool;
}

/* Appends a frame of COUNT messages, each with TEXT as its body. */
static void append(struct spool *spool, const char *topic, const char *text, unsigned count)
{
    struct fault fault = {0};
    struct frame_builder frame = {0};
    uint64_t producer, sequence;
    assert_int_equal(spool_origin(spool, &producer, &sequence, &fault), MP_OK);
    assert_int_equal(frame_begin(&frame, producer, sequence), MP_OK);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(frame_add(&frame, text, strlen(text), NULL, 0), MP_OK);
    frame_finish(&frame, 1);
    if (spool_append(spool, topic, 0, &frame, &fault))
        fail_msg("%s", fault_text(&fault));
    frame_builder_free(&frame);
}

/* The next entry is a frame of COUNT messages for TOPIC with the body TEXT. */
static void expect(struct spool *spool, const char *topic, const char *text, unsigned count, uint64_t number)
{
    struct fault fault = {0};
    struct spool_entry entry;
    if (spool_next(spool, &entry, &fault))
        fail_msg("%s: %s", text, fault_text(&fault));
    assert_string_equal(entry.topic, topic);
    assert_int_equal(entry.count, count);
    assert_int_equal(entry.number, number);
    struct frame frame;
    struct record record;
    assert_int_equal(frame_open(&frame, entry.data, entry.size, true, &fault), MP_OK);
    struct frame_cursor cursor = frame_cursor(&frame);
    assert_true(frame_next(&cursor, &record));
    assert_int_equal(record.size, strlen(text));
    assert_memory_equal(record.body, text, record.size);
}

static enum mp_error next_error(struct spool *spool)
{
    struct spool_entry entry;
    struct fault fault = {0};
    return spool_next(spool, &entry, &fault);
}

static void delivered(struct spool *spool)
{
    struct fault fault = {0};
    assert_int_equal(spool_delivered(spool, &fault), MP_OK);
}

static unsigned files(const struct folder *folder)
{
    struct spool_status status;
    struct fault fault = {0};
    assert_int_equal(spool_look(folder->spool, &status, &fault), MP_OK);
    return status.segments;
}

static void test_it_is_a_queue(void **state)
{
    struct spool *spool = open_spool(*state);
    assert_int_equal(next_error(spool), MP_ERR_NOT_FOUND);
    append(spool, "a", "one", 1);
    append(spool, "b.c", "two", 3);
    expect(spool, "a", "one", 1, 0);
    expect(spool, "a", "one", 1, 0);
    delivered(spool);
    expect(spool, "b.c", "two", 3, 0);
    append(spool, "a", "three", 2);
    delivered(spool);
    expect(spool, "a", "three", 2, 0);
    delivered(spool);
    assert_int_equal(next_error(spool), MP_ERR_NOT_FOUND);
    assert_int_equal(files(*state), 0);
    append(spool, "a", "four", 1);
    expect(spool, "a", "four", 1, 0);
    delivered(spool);
    spool_close(spool);
    struct spool_status status;
    assert_int_equal(spool_look(((struct folder *)*state)->spool, &status, NULL), MP_OK);
    assert_int_equal(status.messages, 0);
}

static void test_what_is_left_is_taken_over_in_order(void **state)
{
    struct spool *first = open_spool(*state);
    append(first, "t", "1", 1);
    append(first, "t", "2", 1);
    spool_close(first);
    struct spool *second = open_spool(*state);
    append(second, "t", "3", 1);
    assert_int_equal(files(*state), 2);
    expect(second, "t", "1", 1, 0);
    delivered(second);
    expect(second, "t", "2", 1, 0);
    delivered(second);
    expect(second, "t", "3", 1, 0);
    delivered(second);
    assert_int_equal(next_error(second), MP_ERR_NOT_FOUND);
    spool_close(second);
    assert_int_equal(files(*state), 0);
}

static void test_a_process_waits_for_those_before_it(void **state)
{
    struct spool *first = open_spool(*state), *second = open_spool(*state);
    append(first, "t", "1", 1);
    append(second, "t", "2", 1);
    assert_int_equal(next_error(second), MP_ERR_BUSY);
    struct spool_status status;
    assert_int_equal(spool_look(((struct folder *)*state)->spool, &status, NULL), MP_OK);
    assert_int_equal(status.messages, 2);
    assert_int_equal(status.segments, 2);
    assert_int_equal(status.busy, 2);
    assert_int_equal(status.process, getpid());
    assert_true(status.oldest > 0);
    expect(first, "t", "1", 1, 0);
    delivered(first);
    /* A process that runs on makes way when it has nothing, and comes behind the other with what it takes then. */
    assert_int_equal(next_error(first), MP_ERR_NOT_FOUND);
    append(first, "t", "3", 1);
    assert_int_equal(next_error(first), MP_ERR_BUSY);
    expect(second, "t", "2", 1, 0);
    delivered(second);
    assert_int_equal(next_error(second), MP_ERR_NOT_FOUND);
    expect(first, "t", "3", 1, 0);
    delivered(first);
    spool_close(first);
    spool_close(second);
    assert_int_equal(files(*state), 0);
}

static void test_a_number_that_is_used_again_is_another_segment(void **state)
{
    struct spool *first = open_spool(*state), *second = open_spool(*state);
    append(first, "t", "1", 1);
    append(second, "t", "2", 1);
    expect(first, "t", "1", 1, 0);
    uint64_t before = spool_segment_of_next(first);
    delivered(first);
    assert_int_equal(next_error(first), MP_ERR_NOT_FOUND); /* makes way */
    expect(second, "t", "2", 1, 0);
    delivered(second);
    assert_int_equal(next_error(second), MP_ERR_NOT_FOUND);
    spool_close(second);
    append(first, "t", "3", 1);
    expect(first, "t", "3", 1, 0);
    assert_true(spool_segment_of_next(first) != before);
    delivered(first);
    spool_close(first);
}

static void test_a_killed_process_loses_nothing(void **state)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct spool *spool = open_spool(*state);
        struct fault fault = {0};
        uint64_t gone;
        append(spool, "t", "1", 1);
        append(spool, "t", "2", 2);
        append(spool, "t", "3", 1);
        expect(spool, "t", "1", 1, 0);
        if (spool_session(spool, 4711, 0, &gone, &fault) == MP_OK && gone == 0)
            delivered(spool);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    struct spool *spool = open_spool(*state);
    struct fault fault = {0};
    uint64_t gone;
    /* The row of the first was not removed yet: the session tells that the relay has it, and the second too. */
    expect(spool, "t", "1", 1, 1);
    assert_int_equal(spool_session_of_next(spool), 4711);
    assert_int_equal(spool_session(spool, 4711, 2, &gone, &fault), MP_OK);
    assert_int_equal(gone, 3);
    expect(spool, "t", "3", 1, 3);
    spool_close(spool);
    /* Another session begins with its own numbers. */
    spool = open_spool(*state);
    expect(spool, "t", "3", 1, 3);
    assert_int_equal(spool_session(spool, 4712, 0, &gone, &fault), MP_OK);
    expect(spool, "t", "3", 1, 1);
    append(spool, "t", "4", 1);
    delivered(spool);
    expect(spool, "t", "4", 1, 0);
    delivered(spool);
    spool_close(spool);
    assert_int_equal(files(*state), 0);
}

static void test_a_refused_frame_takes_no_number(void **state)
{
    struct spool *spool = open_spool(*state);
    struct fault fault = {0};
    uint64_t gone;
    append(spool, "t", "1", 1);
    append(spool, "t", "2", 1);
    append(spool, "t", "3", 1);
    expect(spool, "t", "1", 1, 0);
    assert_int_equal(spool_session(spool, 4711, 0, &gone, &fault), MP_OK);
    expect(spool, "t", "1", 1, 1);
    delivered(spool);
    expect(spool, "t", "2", 1, 2);
    assert_int_equal(spool_refused(spool, &fault), MP_OK);
    expect(spool, "t", "3", 1, 2);
    spool_close(spool);
    spool = open_spool(*state);
    expect(spool, "t", "3", 1, 2);
    spool_close(spool);
}

/* What DIR/refused.jsonl has: so many letters, and lines that are none. */
static void expect_refused(const struct folder *folder, unsigned letters, unsigned torn)
{
    char path[FOLDER_PATH + 32];
    struct letters_file file;
    struct letter_entry entry;
    struct fault fault = {0};
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/refused.jsonl", folder->spool);
    assert_int_equal(letters_file_open(&file, path, false, &fault), MP_OK);
    while (!letters_file_next(&file, &entry, &fault)) {
        assert_int_equal(entry.letter.topic_size, 1);
        assert_memory_equal(entry.letter.reason, "overflow", 8);
        assert_int_equal(entry.item.record.size, 3);
        count++;
    }
    assert_int_equal(count, letters);
    assert_int_equal(file.torn, torn);
    letters_file_close(&file);
}

static void test_what_is_refused_is_kept_behind_a_torn_line(void **state)
{
    const struct folder *folder = *state;
    struct spool *spool = open_spool(folder);
    struct spool_entry entry;
    struct fault fault = {0};
    append(spool, "t", "one", 3);
    assert_int_equal(spool_next(spool, &entry, &fault), MP_OK);
    assert_int_equal(spool_keep_refused(folder->spool, &entry, MP_ERR_OVERFLOW, "too large", &fault), MP_OK);
    expect_refused(folder, 3, 0);
    /* What a cut may have left of a line does not swallow the next one. */
    char path[FOLDER_PATH + 32];
    struct stat status;
    snprintf(path, sizeof path, "%s/refused.jsonl", folder->spool);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size - 7), 0);
    assert_int_equal(spool_keep_refused(folder->spool, &entry, MP_ERR_OVERFLOW, "too large", &fault), MP_OK);
    expect_refused(folder, 5, 1);
    /* What cannot be taken apart is not said to be kept. */
    uint8_t *damaged = malloc(entry.size);
    assert_non_null(damaged);
    memcpy(damaged, entry.data, entry.size);
    damaged[entry.size - 1] ^= 1;
    entry.data = damaged;
    assert_int_equal(spool_keep_refused(folder->spool, &entry, MP_ERR_OVERFLOW, "too large", &fault), MP_ERR_DAMAGED);
    assert_true(fault.text[0] != '\0');
    expect_refused(folder, 5, 1);
    free(damaged);
    spool_close(spool);
}

static void test_ids_stay(void **state)
{
    struct spool *spool = open_spool(*state);
    uint64_t producer, sequence, again, second;
    assert_int_equal(spool_origin(spool, &producer, &sequence, NULL), MP_OK);
    assert_int_not_equal(producer, 0);
    assert_int_equal(sequence, 1);
    append(spool, "t", "1", 5);
    assert_int_equal(spool_origin(spool, &again, &second, NULL), MP_OK);
    assert_true(again == producer);
    assert_int_equal(second, 6);
    spool_close(spool);
    spool = open_spool(*state);
    struct spool_entry entry;
    struct frame frame;
    struct fault fault = {0};
    assert_int_equal(spool_next(spool, &entry, &fault), MP_OK);
    assert_int_equal(frame_open(&frame, entry.data, entry.size, true, &fault), MP_OK);
    assert_true(frame.producer == producer && frame.sequence == 1);
    spool_close(spool);
}

static void test_many_frames_are_swept(void **state)
{
    struct spool *spool = open_spool(*state);
    for (unsigned i = 0; i < 200; i++) {
        append(spool, i % 2 ? "odd" : "even", "x", 1);
        if (i < 100)
            continue;
        expect(spool, (i - 100) % 2 ? "odd" : "even", "x", 1, 0);
        delivered(spool);
    }
    struct spool_status status;
    assert_int_equal(spool_look(((struct folder *)*state)->spool, &status, NULL), MP_OK);
    assert_in_range(status.messages, 100, 163);
    spool_close(spool);
    assert_int_equal(spool_look(((struct folder *)*state)->spool, &status, NULL), MP_OK);
    assert_int_equal(status.messages, 100);
}

static void test_wrong_directories_are_refused(void **state)
{
    struct folder *folder = *state;
    struct spool *spool;
    struct fault fault = {0};
    struct spool_status status;
    assert_int_equal(spool_look(folder->spool, &status, &fault), MP_ERR_NOT_FOUND);
    assert_int_equal(mkdir(folder->spool, 0700), 0);
    assert_int_equal(chmod(folder->spool, 0722), 0);
    assert_int_equal(spool_open(folder->spool, &spool, &fault), MP_ERR_DENIED);
    assert_non_null(strstr(fault_text(&fault), "chmod go-w"));
    assert_int_equal(spool_open("/dev/null", &spool, &fault), MP_ERR_IO);
    assert_int_equal(spool_open("/nowhere/at/all", &spool, &fault), MP_ERR_IO);
    /* What is not a segment is left alone; one that is damaged is named. */
    assert_int_equal(chmod(folder->spool, 0700), 0);
    spool = open_spool(folder);
    append(spool, "t", "1", 1);
    spool_close(spool);
    char path[120];
    snprintf(path, sizeof path, "%s/00000001.db", folder->spool);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fputs("this is no store any more", file);
    fclose(file);
    spool = open_spool(folder);
    struct spool_entry entry;
    assert_int_equal(spool_next(spool, &entry, &fault), MP_ERR_DAMAGED);
    assert_non_null(strstr(fault_text(&fault), "00000001.db"));
    spool_close(spool);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_it_is_a_queue),
        TEST(test_what_is_left_is_taken_over_in_order),
        TEST(test_a_process_waits_for_those_before_it),
        TEST(test_a_number_that_is_used_again_is_another_segment),
        TEST(test_a_killed_process_loses_nothing),
        TEST(test_a_refused_frame_takes_no_number),
        TEST(test_what_is_refused_is_kept_behind_a_torn_line),
        TEST(test_ids_stay),
        TEST(test_many_frames_are_swept),
        TEST(test_wrong_directories_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
