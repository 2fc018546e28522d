/* stage/work.h: the modes each and batch, with real commands. */
#include "folder.h"
#include "work_rig.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct rig rig;

/* ---- each ----------------------------------------------------------------------------------------------------- */

static void each_message_has_a_process(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_EACH, "printf '%s: ' \"$MSG_OFFSET\"; cat");
    rig.settings.workers = 3;
    rig_start(&rig);
    struct rig_task *first = rig_message(&rig, "one\ntwo");
    struct rig_task *empty = rig_message(&rig, "");
    struct rig_task *binary = rig_message_of(&rig, "a\0b", 3);
    for (unsigned i = 0; i < 20; i++)
        rig_message(&rig, "more");
    rig_work(&rig);
    rig_assert(first, STAGE_SUCCEEDED, "41: one\ntwo");
    rig_assert(empty, STAGE_SUCCEEDED, "41: ");
    assert_int_equal(binary->output.size, 7);
    assert_memory_equal(binary->output.data, "41: a\0b", 7);
    for (unsigned i = 3; i < rig.count; i++)
        rig_assert(&rig.tasks[i], STAGE_SUCCEEDED, "41: more");
    assert_true(stage_work_idle(rig.work));
    assert_int_equal(first->result.code, 0);
    assert_true(first->result.duration > 0);
    rig_close(&rig);
}

static void exit_codes_settle(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_EACH, "read code; echo out; echo why >&2; exit $code");
    struct rig_task *done = rig_message(&rig, "0\n");
    struct rig_task *rejected = rig_message(&rig, "65\n");
    struct rig_task *failed = rig_message(&rig, "3\n");
    struct rig_task *missing = rig_message(&rig, "127\n");
    rig_work(&rig);
    rig_assert(done, STAGE_SUCCEEDED, "out\n");
    rig_assert(rejected, STAGE_REJECTED, "why\n");
    rig_assert(failed, STAGE_FAILED, "why\n");
    rig_assert(missing, STAGE_FAILED, "why\n");
    assert_int_equal(failed->result.code, 3);
    assert_int_equal(missing->result.code, 127);
    assert_int_equal(rig.said_count, 4);
    assert_int_equal(rig.paused, 0);
    rig_close(&rig);
}

static void a_signal_is_a_failure_with_its_name(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_EACH, "echo bye >&2; kill -KILL $$");
    struct rig_task *task = rig_message(&rig, "");
    rig_work(&rig);
    rig_assert(task, STAGE_FAILED, "was ended by signal 9 (Killed)\nbye\n");
    assert_int_equal(task->result.code, 137);
    rig_close(&rig);
}

static void formats_frame_the_message(void **state)
{
    (void)state;
    static const struct {
        enum format format;
        const char *text;
    } cases[] = {
        {FORMAT_LINES, "a b"},
        {FORMAT_WHOLE, "a b"},
        {FORMAT_NULL, "a b^@"},
        {FORMAT_LENGTH, "^@^@^@^Ca b"},
        {FORMAT_JSON, "\"data\":\"a b\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        rig_open_shell(&rig, STAGE_EACH, "cat -v");
        rig.settings.format = cases[i].format;
        rig_start(&rig);
        struct rig_task *task = rig_message(&rig, "a b");
        rig_work(&rig);
        assert_int_equal(task->end, STAGE_SUCCEEDED);
        assert_non_null(memmem(task->output.data, task->output.size, cases[i].text, strlen(cases[i].text)));
        rig_close(&rig);
    }
}

static void a_body_with_the_separator_has_no_process(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_EACH, "cat");
    rig.settings.format = FORMAT_NULL;
    rig_start(&rig);
    struct rig_task *bad = rig_message_of(&rig, "a\0b", 3);
    struct rig_task *good = rig_message(&rig, "");
    rig_work(&rig);
    rig_assert(bad, STAGE_MALFORMED, "holds a NUL");
    assert_int_equal(bad->result.code, -1);
    assert_int_equal(bad->malformed_count, 1);
    assert_int_equal(good->end, STAGE_SUCCEEDED);
    assert_int_equal(good->output.size, 1);
    rig_close(&rig);
}

static void large_messages_go_through(void **state)
{
    (void)state;
    static uint8_t body[5 * 1024 * 1024 + 3];
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (uint8_t)(i * 31 ^ i >> 7);
    rig_open_shell(&rig, STAGE_EACH, "cat");
    rig.keeps_whole = true;
    rig_start(&rig);
    struct rig_task *task = rig_message_of(&rig, body, sizeof(body));
    rig_work(&rig);
    assert_int_equal(task->end, STAGE_SUCCEEDED);
    assert_int_equal(task->output.size, sizeof(body));
    assert_memory_equal(task->output.data, body, sizeof(body));
    rig_close(&rig);
}

static void too_much_output_is_a_failure_that_says_so(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_EACH, "head -c $(cat) /dev/zero; :");
    rig.settings.output_limit = 100000;
    rig_start(&rig);
    struct rig_task *exactly = rig_message(&rig, "100000");
    struct rig_task *more = rig_message(&rig, "100001");
    struct rig_task *much = rig_message(&rig, "100000000");
    rig_work(&rig);
    assert_int_equal(exactly->end, STAGE_SUCCEEDED);
    assert_int_equal(exactly->output.size, 100000);
    rig_assert(more, STAGE_FAILED, "printed more than 100000 bytes");
    rig_assert(much, STAGE_FAILED, "printed more than 100000 bytes");
    assert_false(much->result.ended_early);
    rig_close(&rig);
}

static void stderr_comes_by_line(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_EACH, "printf 'one\\ntw' >&2; printf 'o\\n\\n' >&2; head -c 5000 /dev/zero | tr '\\0' x >&2");
    struct rig_task *task = rig_message(&rig, "");
    rig_work(&rig);
    assert_int_equal(task->end, STAGE_SUCCEEDED);
    assert_memory_equal(rig.said.data, "one\ntwo\n\nxxx", 12);
    assert_int_equal(rig.said_count, 3 + 3); /* the long one in pieces of 2048 bytes */
    assert_int_equal(rig.said.size, 9 + 5000 + 3);
    rig_close(&rig);
}

/* ---- time ----------------------------------------------------------------------------------------------------- */

static void a_timeout_ends_the_whole_group(void **state)
{
    (void)state;
    int ends[2];
    char script[128];
    assert_int_equal(pipe(ends), 0);
    snprintf(script, sizeof(script), "trap '' TERM; sh -c 'while :; do sleep 9; done' >&%d & echo up >&2; wait",
             ends[1]);
    rig_open_shell(&rig, STAGE_EACH, script);
    rig.settings.timeout = 600000;
    rig.settings.grace = 100000;
    rig_start(&rig);
    struct rig_task *task = rig_message(&rig, "");
    rig_work(&rig);
    rig_assert(task, STAGE_FAILED, "took longer than 600 ms\nup\n");
    assert_true(task->result.timed_out);
    assert_int_equal(task->result.signal, SIGKILL); /* it did not hear SIGTERM */
    rig_close(&rig);
    close(ends[1]);
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 0); /* its child has gone, too */
    close(ends[0]);
}

static void end_gives_back_what_runs(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_EACH, "echo up >&2; exec sleep 100");
    rig.settings.workers = 2;
    rig_start(&rig);
    for (unsigned i = 0; i < 4; i++)
        rig_message(&rig, "");
    rig_give(&rig);
    assert_int_equal(rig.added, 4);
    while (rig.said_count < 2)
        event_base_loop(rig.base, EVLOOP_ONCE);
    assert_int_equal(stage_work_running(rig.work), 2);
    assert_true(stage_work_group(rig.work, 0) > 1);
    stage_work_stop(rig.work);
    assert_int_equal(stage_work_room(rig.work), 0);
    assert_int_equal(rig.came, 0); /* not out of the call */
    stage_work_end(rig.work);
    rig_work(&rig);
    for (unsigned i = 0; i < 2; i++) {
        rig_assert(&rig.tasks[i], STAGE_FAILED, "");
        assert_true(rig.tasks[i].result.ended_early);
        assert_int_equal(rig.tasks[i].result.signal, SIGTERM);
        rig_assert(&rig.tasks[i + 2], STAGE_NOT_BEGUN, "");
        assert_int_equal(rig.tasks[i + 2].result.code, -1);
    }
    assert_true(stage_work_idle(rig.work));
    assert_int_equal(stage_work_group(rig.work, 0), 0);
    rig_close(&rig);
}

static void what_waits_can_be_had_back(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_EACH, "read go; echo done");
    struct rig_task *runs = rig_message(&rig, "go\n");
    struct rig_task *waits = rig_message(&rig, "go\n");
    rig_give(&rig);
    while (stage_work_running(rig.work) == 0)
        event_base_loop(rig.base, EVLOOP_ONCE);
    stage_work_return(rig.work);
    rig_work(&rig);
    rig_assert(runs, STAGE_SUCCEEDED, "done\n");
    rig_assert(waits, STAGE_NOT_BEGUN, "");
    /* It goes on all the same. */
    struct rig_task *later = rig_message(&rig, "go\n");
    rig_work(&rig);
    rig_assert(later, STAGE_SUCCEEDED, "done\n");
    rig_close(&rig);
}

static void free_kills_what_runs(void **state)
{
    (void)state;
    int ends[2];
    char script[64];
    assert_int_equal(pipe(ends), 0);
    snprintf(script, sizeof(script), "echo up >&2; exec sleep 100 >&%d", ends[1]);
    rig_begin(&rig, STAGE_EACH, script);
    rig_message(&rig, "");
    rig_give(&rig);
    while (rig.said_count == 0)
        event_base_loop(rig.base, EVLOOP_ONCE);
    rig_close(&rig);
    close(ends[1]);
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 0); /* nobody holds the other end any more */
    close(ends[0]);
}

/* ---- commands that cannot start ------------------------------------------------------------------------------- */

static bool is_ready(const struct rig *now)
{
    return now->ready > 0;
}

static void a_command_that_is_not_there_charges_nothing(void **state)
{
    (void)state;
    char directory[FOLDER_PATH];
    folder_make(directory);
    char *argv[] = {(char *)(uintptr_t) "./late", NULL};
    rig_open(&rig, STAGE_EACH, argv);
    rig.settings.directory = directory;
    rig_start(&rig);
    rig_message(&rig, "one");
    rig_message(&rig, "two");
    rig_work(&rig);
    rig_assert(&rig.tasks[0], STAGE_NOT_BEGUN, "");
    rig_assert(&rig.tasks[1], STAGE_NOT_BEGUN, "");
    assert_int_equal(rig.tasks[0].order, 1);
    assert_int_equal(rig.paused, 1);
    assert_int_equal(rig.exit, 127);
    assert_string_equal(rig.fault.text, "cannot run ./late: there is no such command");
    assert_int_equal(stage_work_room(rig.work), 0);

    /* When it is there, it runs after the pause. */
    char path[FOLDER_PATH + 8];
    snprintf(path, sizeof(path), "%s/late", directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("#!/bin/sh\necho here\n", file);
    fclose(file);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(rig.resumed, 0);
    rig_until(&rig, is_ready);
    struct rig_task *later = rig_message(&rig, "");
    rig_work(&rig);
    rig_assert(later, STAGE_SUCCEEDED, "here\n");
    assert_int_equal(rig.resumed, 1);
    rig_close(&rig);

    /* A script whose interpreter is not there is another matter. */
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("#!/nowhere/sh\n", file);
    fclose(file);
    argv[0] = path;
    rig_open(&rig, STAGE_EACH, argv);
    rig_start(&rig);
    rig_message(&rig, "one");
    rig_work(&rig);
    rig_assert(&rig.tasks[0], STAGE_NOT_BEGUN, "");
    assert_int_equal(rig.exit, 126);
    assert_non_null(strstr(rig.fault.text, "interpreter"));
    unlink(path);
    rmdir(directory);
    rig_close(&rig);
}

static void a_directory_that_is_not_there_says_so(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_EACH, "pwd");
    rig.settings.directory = "/nowhere/at/all";
    rig_start(&rig);
    struct rig_task *task = rig_message(&rig, "one");
    rig_work(&rig);
    rig_assert(task, STAGE_NOT_BEGUN, "");
    assert_int_equal(rig.exit, 126);
    assert_string_equal(rig.fault.text, "cannot run sh in /nowhere/at/all: No such file or directory");
    rig_close(&rig);
}

static void a_shell_that_finds_nothing_pauses_too(void **state)
{
    (void)state;
    rig_open(&rig, STAGE_EACH, NULL);
    rig.settings.shell = "no-such-command-anywhere --please";
    rig_start(&rig);
    rig_message(&rig, "one");
    rig_message(&rig, "two");
    rig_work(&rig);
    rig_assert(&rig.tasks[0], STAGE_NOT_BEGUN, "");
    rig_assert(&rig.tasks[1], STAGE_NOT_BEGUN, "");
    assert_int_equal(rig.paused, 1);
    assert_int_equal(rig.exit, 127);
    assert_non_null(strstr(rig.fault.text, "no-such-command-anywhere --please"));
    assert_int_equal(rig.resumed, 0);
    rig_close(&rig);
}

static void pauses_grow(void **state)
{
    (void)state;
    char *argv[] = {(char *)(uintptr_t) "/nowhere/command", NULL};
    rig_open(&rig, STAGE_EACH, argv);
    rig_start(&rig);
    int64_t from = clock_monotonic();
    for (unsigned i = 0; i < 3; i++) {
        rig.ready = 0;
        rig_message(&rig, "one");
        rig_work(&rig);
        assert_int_equal(rig.paused, i + 1);
        rig_until(&rig, is_ready);
        /* 100 ms, 200 ms, 400 ms; the loop's clock is a little coarse */
        assert_true(clock_monotonic() - from >= ((100000 << (i + 1)) - 100000) * 9 / 10);
    }
    rig_close(&rig);
}

/* ---- the surroundings ----------------------------------------------------------------------------------------- */

static void commands_have_their_surroundings(void **state)
{
    (void)state;
    char *added[] = {(char *)(uintptr_t) "COLOUR=blue", (char *)(uintptr_t) "HOME=/there",
                     (char *)(uintptr_t) "MSG_ID=forged", NULL};
    rig_open(&rig, STAGE_EACH, NULL);
    rig.settings.shell = "pwd; echo $COLOUR $HOME $MSG_ID $MSG_TOPIC $MSG_ATTEMPT; env | grep -c ^HOME=";
    rig.settings.environment = added;
    rig.settings.directory = "/";
    rig_start(&rig);
    struct rig_task *task = rig_message(&rig, "");
    rig_work(&rig);
    rig_assert(task, STAGE_SUCCEEDED, "/\nblue /there 11223344556677880000000000000001 orders.new 2\n1\n");
    rig_close(&rig);
}

/* ---- batch ---------------------------------------------------------------------------------------------------- */

static void a_batch_is_one_process(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_BATCH, "echo $MSG_COUNT $MSG_TOPIC $MSG_ATTEMPT $MSG_ID; cat");
    rig.settings.workers = 2;
    rig_start(&rig);
    struct rig_task *three = rig_message(&rig, "one");
    rig_join(three, "two");
    rig_join(three, "");
    struct rig_task *lone = rig_message(&rig, "lone");
    rig_work(&rig);
    rig_assert(three, STAGE_SUCCEEDED, "3 orders.new 2\none\ntwo\n\n");
    rig_assert(lone, STAGE_SUCCEEDED, "1 orders.new 2 11223344556677880000000000000002\nlone\n");
    assert_int_equal(three->malformed_count, 0);
    rig_close(&rig);
}

static void a_batch_tells_only_what_holds_for_all(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_BATCH, "echo $MSG_COUNT ${MSG_TOPIC-none} ${MSG_ATTEMPT-none}; cat >/dev/null");
    struct rig_task *topics = rig_message(&rig, "one");
    rig_join(topics, "two");
    topics->items[1].topic = "orders.old";
    struct rig_task *attempts = rig_message(&rig, "one");
    rig_join(attempts, "two");
    attempts->items[1].attempt = 1;
    rig_work(&rig);
    rig_assert(topics, STAGE_SUCCEEDED, "2 none 2\n");
    rig_assert(attempts, STAGE_SUCCEEDED, "2 orders.new none\n");
    rig_close(&rig);
}

static void a_batch_leaves_out_what_its_format_cannot_hold(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_BATCH, "echo $MSG_COUNT; cat; exit $(grep -c fail)");
    struct rig_task *mixed = rig_message(&rig, "bad\nlines");
    rig_join(mixed, "good");
    rig_join(mixed, "bad\n");
    rig_join(mixed, "also");
    struct rig_task *none = rig_message(&rig, "\n");
    rig_join(none, "\n\n");
    rig_work(&rig);
    rig_assert(mixed, STAGE_SUCCEEDED, "2\ngood\nalso\n");
    assert_int_equal(mixed->malformed_count, 2);
    assert_int_equal(mixed->malformed[0], 0);
    assert_int_equal(mixed->malformed[1], 2);
    rig_assert(none, STAGE_MALFORMED, "holds a newline");
    assert_int_equal(none->malformed_count, 2);
    rig_close(&rig);
}

static void a_batch_has_one_exit_code(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_BATCH, "echo $(wc -l) lines >&2; exit 9");
    struct rig_task *task = rig_message(&rig, "a");
    rig_join(task, "b");
    rig_work(&rig);
    rig_assert(task, STAGE_FAILED, "2 lines\n");
    assert_int_equal(task->result.code, 9);
    rig_close(&rig);
}

static void a_batch_larger_than_any_pipe_goes_through(void **state)
{
    (void)state;
    static char body[100 * 1024];
    memset(body, 'x', sizeof(body) - 1);
    rig_begin(&rig, STAGE_BATCH, "cat");
    struct rig_task *task = rig_message(&rig, body);
    for (unsigned i = 1; i < RIG_ITEMS; i++)
        rig_join(task, body);
    rig_work(&rig);
    assert_int_equal(task->end, STAGE_SUCCEEDED);
    assert_int_equal(task->output.size, RIG_ITEMS * sizeof(body));
    for (unsigned i = 0; i < RIG_ITEMS; i++) {
        assert_memory_equal(task->output.data + i * sizeof(body), body, sizeof(body) - 1);
        assert_int_equal(task->output.data[(i + 1) * sizeof(body) - 1], '\n');
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_has_a_process),
        cmocka_unit_test(exit_codes_settle),
        cmocka_unit_test(a_signal_is_a_failure_with_its_name),
        cmocka_unit_test(formats_frame_the_message),
        cmocka_unit_test(a_body_with_the_separator_has_no_process),
        cmocka_unit_test(large_messages_go_through),
        cmocka_unit_test(too_much_output_is_a_failure_that_says_so),
        cmocka_unit_test(stderr_comes_by_line),
        cmocka_unit_test(a_timeout_ends_the_whole_group),
        cmocka_unit_test(end_gives_back_what_runs),
        cmocka_unit_test(what_waits_can_be_had_back),
        cmocka_unit_test(free_kills_what_runs),
        cmocka_unit_test(a_command_that_is_not_there_charges_nothing),
        cmocka_unit_test(a_directory_that_is_not_there_says_so),
        cmocka_unit_test(a_shell_that_finds_nothing_pauses_too),
        cmocka_unit_test(pauses_grow),
        cmocka_unit_test(commands_have_their_surroundings),
        cmocka_unit_test(a_batch_is_one_process),
        cmocka_unit_test(a_batch_tells_only_what_holds_for_all),
        cmocka_unit_test(a_batch_leaves_out_what_its_format_cannot_hold),
        cmocka_unit_test(a_batch_has_one_exit_code),
        cmocka_unit_test(a_batch_larger_than_any_pipe_goes_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
