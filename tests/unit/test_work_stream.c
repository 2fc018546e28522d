/* stage/work.h: the mode stream, with real commands. */
#include "folder.h"
#include "work_rig.h"

#include "base/clock.h"
#include "base/memory.h"
#include "message/attributes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rig rig;
static char texts[RIG_MAX][24];

/* The next COUNT messages: their numbers. */
static void number_messages(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        snprintf(texts[rig.count], sizeof(texts[0]), "%u", rig.count);
        rig_message(&rig, texts[rig.count]);
    }
}

/* That all but EXCEPT came back once, with their own texts. */
static void assert_echoed(const struct rig_task *except)
{
    for (unsigned i = 0; i < rig.count; i++)
        if (&rig.tasks[i] != except)
            rig_assert(&rig.tasks[i], STAGE_SUCCEEDED, texts[i]);
}

/* ---- answers -------------------------------------------------------------------------------------------------- */

static void each_line_is_answered_in_order(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_STREAM, "exec cat -u");
    number_messages(4000);
    rig_work(&rig);
    assert_echoed(NULL);
    for (unsigned i = 0; i < rig.count; i++)
        assert_int_equal(rig.tasks[i].order, i + 1);
    assert_int_equal(rig.tasks[7].result.code, -1);
    assert_int_equal(rig.broke, 0);
    assert_int_equal(stage_work_running(rig.work), 1);
    assert_true(stage_work_idle(rig.work)); /* its process waits for more */
    rig_close(&rig);
}

static void an_empty_line_is_an_answer(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_STREAM, "exec sed -u 's/^drop.*//'");
    struct rig_task *dropped = rig_message(&rig, "drop this");
    struct rig_task *kept = rig_message(&rig, "keep this");
    struct rig_task *empty = rig_message(&rig, "");
    rig_work(&rig);
    rig_assert(dropped, STAGE_SUCCEEDED, "");
    rig_assert(kept, STAGE_SUCCEEDED, "keep this");
    rig_assert(empty, STAGE_SUCCEEDED, "");
    rig_close(&rig);
}

static void all_workers_work(void **state)
{
    (void)state;
    /* None answers before all have got something: they meet at a fifo. */
    char directory[FOLDER_PATH];
    char script[256];
    folder_make(directory);
    snprintf(script, sizeof(script),
             "read line; cd %s && mkdir $line && while [ $(ls | wc -l) -lt 3 ]; do :; done; echo $line; exec cat -u",
             directory);
    rig_open_shell(&rig, STAGE_STREAM, script);
    rig.settings.workers = 3;
    rig_start(&rig);
    number_messages(300);
    rig_work(&rig);
    assert_echoed(NULL);
    assert_int_equal(stage_work_running(rig.work), 3);
    rig_close(&rig);
    folder_remove(directory);
}

static void large_messages_never_lock_the_pipes(void **state)
{
    (void)state;
    static char body[200 * 1024];
    memset(body, 'x', sizeof(body) - 1);
    rig_begin(&rig, STAGE_STREAM, "exec cat -u");
    for (unsigned i = 0; i < 100; i++)
        rig_message(&rig, body);
    rig_work(&rig);
    for (unsigned i = 0; i < rig.count; i++)
        rig_assert(&rig.tasks[i], STAGE_SUCCEEDED, body);
    rig_close(&rig);
}

static void formats_frame_both_ways(void **state)
{
    (void)state;
    static const enum format formats[] = {FORMAT_NULL, FORMAT_LENGTH};
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        rig_open_shell(&rig, STAGE_STREAM, "exec cat -u");
        rig.settings.format = formats[i];
        rig_start(&rig);
        struct rig_task *two = rig_message(&rig, "one\ntwo");
        struct rig_task *empty = rig_message(&rig, "");
        struct rig_task *binary = rig_message_of(&rig, "a\0b", 3);
        rig_work(&rig);
        rig_assert(two, STAGE_SUCCEEDED, "one\ntwo");
        rig_assert(empty, STAGE_SUCCEEDED, "");
        if (formats[i] == FORMAT_NULL) {
            rig_assert(binary, STAGE_MALFORMED, "holds a NUL");
        } else {
            assert_int_equal(binary->output.size, 3);
            assert_memory_equal(binary->output.data, "a\0b", 3);
        }
        rig_close(&rig);
    }
}

static void a_body_with_the_separator_is_malformed(void **state)
{
    (void)state;
    static const unsigned places[] = {0, 1, 9, 19};
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        rig_begin(&rig, STAGE_STREAM, "exec cat -u");
        number_messages(20);
        struct rig_task *bad = &rig.tasks[places[i]];
        bad->items[0].record.body = (const uint8_t *)"two\nlines";
        bad->items[0].record.size = 9;
        rig_work(&rig);
        rig_assert(bad, STAGE_MALFORMED, "holds a newline");
        assert_echoed(bad);
        rig_close(&rig);
    }
}

static void whole_is_no_format_of_a_stream(void **state)
{
    (void)state;
    struct fault fault = {0};
    rig_open_shell(&rig, STAGE_STREAM, "exec cat -u");
    rig.settings.format = FORMAT_WHOLE;
    assert_int_equal(stage_work_open(&rig.settings, &rig.work, &fault), MP_ERR_INVALID);
    assert_non_null(strstr(fault.text, "whole"));
    rig_close(&rig);
}

/* ---- who is at fault ------------------------------------------------------------------------------------------ */

static void only_the_one_that_kills_is_charged(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_STREAM,
              "while read -r line; do case $line in die) echo why >&2; exit 3; esac; echo $line; done");
    number_messages(600);
    struct rig_task *poison = &rig.tasks[357];
    poison->items[0].record.body = (const uint8_t *)"die";
    poison->items[0].record.size = 3;
    rig_work(&rig);
    rig_assert(poison, STAGE_FAILED, "exited with 3\nwhy\n");
    assert_int_equal(poison->result.code, 3);
    assert_echoed(poison);
    assert_true(rig.broke <= 1); /* the first time it stood among others, as a rule */
    assert_true(rig.broke == 0 || strstr(rig.fault.text, "the command exited with 3, with "));
    rig_close(&rig);
}

/* A process that has read ahead, and printed nothing of it, dies: the oldest one is not the one. */
static void one_that_was_not_due_is_found_too(void **state)
{
    (void)state;
    static char *argv[] = {"bash", "-c",
                           "read -r line; echo $line; while read -r line; do [ $line = die ] && kill -SEGV $$; "
                           "read -t 0.2 -r next && [ $next = die ] && kill -SEGV $$; "
                           "echo $line; [ $next ] && echo $next; next=; done",
                           NULL};
    rig_open(&rig, STAGE_STREAM, argv);
    rig_start(&rig);
    number_messages(4);
    struct rig_task *poison = &rig.tasks[2];
    poison->items[0].record.body = (const uint8_t *)"die";
    poison->items[0].record.size = 3;
    rig_work(&rig);
    rig_assert(poison, STAGE_FAILED, "was ended by signal 11");
    assert_echoed(poison);
    rig_close(&rig);
}

/* It is given again each time, among others, until it has failed often enough. */
static void retry(struct rig *now, struct rig_task *task)
{
    if (task->end != STAGE_FAILED || task->finished == 5)
        return;
    assert_ptr_equal(task, &now->tasks[100]);
    now->came--;
    stage_work_add(now->work, &task->task);
}

static void it_may_come_again_and_again(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_STREAM,
                   "while read -r line; do case $line in die) kill -KILL $$; esac; echo $line; done");
    rig.settings.workers = 2;
    rig.on_finished = retry;
    rig_start(&rig);
    number_messages(2000);
    struct rig_task *poison = &rig.tasks[100];
    poison->items[0].record.body = (const uint8_t *)"die";
    poison->items[0].record.size = 3;
    rig_work(&rig);
    assert_int_equal(poison->finished, 5);
    assert_int_equal(poison->end, STAGE_FAILED);
    assert_int_equal(poison->result.signal, SIGKILL);
    assert_echoed(poison);
    rig_close(&rig);
}

static void exit_code_65_rejects_it(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_STREAM, "while read -r line; do [ $line = bad ] && exit 65; echo $line; done");
    number_messages(50);
    struct rig_task *bad = &rig.tasks[30];
    bad->items[0].record.body = (const uint8_t *)"bad";
    bad->items[0].record.size = 3;
    rig_work(&rig);
    rig_assert(bad, STAGE_REJECTED, "exited with 65");
    assert_echoed(bad);
    rig_close(&rig);
}

static void an_answer_that_takes_too_long_is_a_timeout(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_STREAM,
                   "trap '' TERM; while read -r line; do [ $line = slow ] && sleep 100; echo $line; done");
    rig.settings.timeout = 1000000;
    rig.settings.grace = 50000;
    rig_start(&rig);
    number_messages(50);
    struct rig_task *slow = &rig.tasks[30];
    slow->items[0].record.body = (const uint8_t *)"slow";
    slow->items[0].record.size = 4;
    rig_work(&rig);
    rig_assert(slow, STAGE_FAILED, "gave no answer within 1.0 s");
    assert_true(slow->result.timed_out);
    assert_false(slow->result.ended_early);
    assert_echoed(slow);
    rig_close(&rig);
}

static bool has_broken(const struct rig *now)
{
    return now->broke > 0;
}

static void one_that_does_not_flush_is_told(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_STREAM, "exec sed s/^/x/");
    number_messages(3);
    rig_until(&rig, has_broken);
    assert_int_equal(rig.came, 0);
    assert_non_null(strstr(rig.fault.text, "flush"));
    stage_work_stop(rig.work); /* the end of its input makes it speak */
    rig_work(&rig);
    assert_int_equal(rig.broke, 1);
    rig_assert(&rig.tasks[0], STAGE_SUCCEEDED, "x0");
    rig_assert(&rig.tasks[1], STAGE_NOT_BEGUN, "");
    rig_close(&rig);
}

static void a_process_that_leaves_by_right_charges_nobody(void **state)
{
    (void)state;
    static char *argv[] = {"sed", "-u", "7q", NULL};
    rig_open(&rig, STAGE_STREAM, argv);
    rig_start(&rig);
    number_messages(100);
    rig_work(&rig);
    assert_echoed(NULL);
    assert_int_equal(rig.broke, 0);
    for (unsigned i = 0; i < rig.count; i++)
        assert_int_equal(rig.tasks[i].order, i + 1);
    rig_close(&rig);
}

static void one_that_never_answers_is_started_less_and_less_often(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_STREAM, "exec true");
    number_messages(4);
    int64_t from = clock_monotonic();
    rig_work(&rig);
    for (unsigned i = 0; i < rig.count; i++)
        rig_assert(&rig.tasks[i], STAGE_FAILED, "exited with 0");
    assert_true(clock_monotonic() - from >= (100000 + 200000) * 9 / 10);
    assert_true(stage_work_room(rig.work) <= 1);
    rig_close(&rig);
}

static void part_of_an_answer_is_none(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_STREAM, "read -r line; echo $line; read -r line; printf part");
    number_messages(2);
    rig_work(&rig);
    rig_assert(&rig.tasks[0], STAGE_SUCCEEDED, "0");
    rig_close(&rig);

    rig_begin(&rig, STAGE_STREAM, "read -r line; printf part");
    number_messages(1);
    rig_work(&rig);
    rig_assert(&rig.tasks[0], STAGE_FAILED, "exited with 0 within an answer");
    rig_close(&rig);
}

static void two_answers_to_the_first_are_none(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_STREAM, "while read -r line; do printf '%s\\nagain\\n' $line; done");
    number_messages(3);
    rig_work(&rig);
    for (unsigned i = 0; i < rig.count; i++)
        rig_assert(&rig.tasks[i], STAGE_FAILED, "printed more than one answer to a message");
    rig_close(&rig);
}

static void a_later_surplus_answer_is_noticed(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_STREAM, "while read -r line; do [ $line = twice ] && printf 'a\\na\\n' || echo $line; done");
    number_messages(1);
    rig_work(&rig);
    struct rig_task *twice = rig_message(&rig, "twice");
    rig_work(&rig);
    rig_assert(&rig.tasks[0], STAGE_SUCCEEDED, "0");
    rig_assert(twice, STAGE_FAILED, "printed more than one answer to a message");
    rig_close(&rig);
}

/* There are always more to come: the stream never rests by itself. */
static void keep_busy(struct rig *now, struct rig_task *task)
{
    if (now->broke)
        return;
    task->finished = 0;
    task->output.size = 0;
    now->came--;
    stage_work_add(now->work, &task->task);
}

static void a_busy_stream_is_listened_to(void **state)
{
    (void)state;
    /* From some message on each answer is to the one before. */
    rig_open_shell(
        &rig, STAGE_STREAM,
        "while read -r line; do echo $line; [ $line = 100 ] && [ -z $extra ] && extra=1 && echo surplus; done");
    rig.on_finished = keep_busy;
    rig_start(&rig);
    number_messages(2000);
    rig_until(&rig, has_broken);
    assert_non_null(strstr(rig.fault.text, "printed more than one answer to a message"));
    rig_close(&rig);
}

static void an_answer_has_its_limit(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_STREAM, "while read -r size; do head -c $size /dev/zero | tr '\\0' x; echo; done");
    rig.settings.output_limit = 100000;
    rig_start(&rig);
    struct rig_task *exactly = rig_message(&rig, "100000");
    struct rig_task *more = rig_message(&rig, "100001");
    struct rig_task *much = rig_message(&rig, "100000000");
    rig_work(&rig);
    assert_int_equal(exactly->end, STAGE_SUCCEEDED);
    assert_int_equal(exactly->output.size, 100000);
    rig_assert(more, STAGE_FAILED, "larger than is allowed");
    rig_assert(much, STAGE_FAILED, "larger than is allowed");
    rig_close(&rig);
}

/* What failed is given again. */
static void again(struct rig *now, struct rig_task *task)
{
    if (task->end == STAGE_SUCCEEDED)
        return;
    assert_true(task->end == STAGE_FAILED || task->end == STAGE_NOT_BEGUN);
    task->finished--;
    task->note.size = 0;
    now->came--;
    stage_work_add(now->work, &task->task);
}

static void one_that_stops_reading_is_ended(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_STREAM, "read -r line; echo $line; exec <&-; exec sleep 100");
    rig.settings.grace = 50000;
    rig.on_finished = again; /* what it had in its pipe then */
    rig_start(&rig);
    number_messages(3);
    rig_work(&rig);
    assert_echoed(NULL);
    rig_close(&rig);
}

static void one_that_stops_reading_is_ended_though_there_is_no_more_to_write(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_STREAM, "read -r one; echo $one; read -r two; exec <&-; exec sleep 100");
    rig.settings.grace = 50000;
    rig.on_finished = again; /* what it had in its pipe then */
    rig_start(&rig);
    number_messages(2);
    rig_work(&rig);
    assert_echoed(NULL);
    rig_close(&rig);
}

static void whatever_processes_do_each_message_is_answered_once(void **state)
{
    (void)state;
    static char *argv[] = {"bash", "-c",
                           "while read -r line; do case $((RANDOM % 200)) in 0) exit 1;; 1) kill -KILL $$;; "
                           "2) sleep 100;; 3) exit 0;; 4) printf '%s\\nsurplus\\n' $line; continue;; esac; "
                           "echo $line; done",
                           NULL};
    rig_open(&rig, STAGE_STREAM, argv);
    rig.settings.workers = 3;
    rig.settings.timeout = 200000;
    rig.settings.grace = 50000;
    rig.on_finished = again;
    rig_start(&rig);
    number_messages(600);
    rig_work(&rig);
    for (unsigned i = 0; i < rig.count; i++)
        assert_int_equal(rig.tasks[i].finished, 1);
    stage_work_stop(rig.work);
    while (!stage_work_idle(rig.work))
        event_base_loop(rig.base, EVLOOP_ONCE);
    rig_close(&rig);
}

/* ---- json ----------------------------------------------------------------------------------------------------- */

static void an_id_proves_the_answer(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_STREAM, "exec cat -u");
    rig.settings.format = FORMAT_JSON;
    rig_start(&rig);
    number_messages(100);
    struct buffer block = {0};
    struct fault fault = {0};
    assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, "id", 2, "q\"uote", 6, &fault), MP_OK);
    rig.tasks[50].items[0].record.attributes = block.data;
    rig.tasks[50].items[0].record.attributes_size = block.size;
    rig_work(&rig);
    for (unsigned i = 0; i < rig.count; i++) {
        assert_int_equal(rig.tasks[i].end, STAGE_SUCCEEDED);
        assert_int_equal(rig.tasks[i].output.data[0], '{');
        assert_int_equal(rig.tasks[i].output.data[rig.tasks[i].output.size - 1], '}');
    }
    rig_close(&rig);
    buffer_free(&block);
}

static void another_id_is_a_fault(void **state)
{
    (void)state;
    rig_open_shell(&rig, STAGE_STREAM, "exec sed -u '/\"data\":[0-9]*3}/s/\"id\":\"[^\"]*\"/\"id\":\"other\"/'");
    rig.settings.format = FORMAT_JSON;
    rig_start(&rig);
    number_messages(50);
    rig_work(&rig);
    for (unsigned i = 0; i < rig.count; i++)
        if (i % 10 == 3)
            rig_assert(&rig.tasks[i], STAGE_FAILED, "answered with the id other where 11223344556677880000000000");
        else
            assert_int_equal(rig.tasks[i].end, STAGE_SUCCEEDED);
    rig_close(&rig);
}

static void an_answer_that_is_not_json_is_malformed(void **state)
{
    (void)state;
    rig_open_shell(
        &rig, STAGE_STREAM,
        "exec sed -u '/\"data\":3,*}*$/s/.*/oops/; /\"data\":4}*$/s/.*//; /\"data\":5}*$/s/.*/{\"data\":5}/'");
    rig.settings.format = FORMAT_JSON;
    rig_start(&rig);
    number_messages(20);
    rig_work(&rig);
    for (unsigned i = 0; i < rig.count; i++)
        if (i == 3)
            rig_assert(&rig.tasks[i], STAGE_MALFORMED, "printed what is not JSON");
        else if (i == 4)
            rig_assert(&rig.tasks[i], STAGE_SUCCEEDED, "");
        else if (i == 5)
            rig_assert(&rig.tasks[i], STAGE_SUCCEEDED, "{\"data\":5}");
        else
            assert_int_equal(rig.tasks[i].end, STAGE_SUCCEEDED);
    rig_close(&rig);
}

/* ---- stopping ------------------------------------------------------------------------------------------------- */

static void stop_lets_it_answer_what_it_has(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_STREAM, "while read -r line; do echo $line; done; echo end >&2");
    number_messages(200);
    while (rig.came < 20) {
        rig_give(&rig);
        event_base_loop(rig.base, EVLOOP_ONCE);
    }
    stage_work_stop(rig.work);
    rig.count = rig.added;
    rig_work(&rig);
    unsigned answered = 0;
    for (unsigned i = 0; i < rig.count; i++) {
        assert_int_equal(rig.tasks[i].finished, 1);
        assert_true(rig.tasks[i].end == STAGE_SUCCEEDED || rig.tasks[i].end == STAGE_NOT_BEGUN);
        answered += rig.tasks[i].end == STAGE_SUCCEEDED;
    }
    assert_true(answered >= 20);
    while (!stage_work_idle(rig.work))
        event_base_loop(rig.base, EVLOOP_ONCE);
    assert_int_equal(stage_work_running(rig.work), 0);
    assert_memory_equal(rig.said.data, "end\n", 4);
    assert_int_equal(rig.broke, 0);
    rig_close(&rig);
}

static void end_charges_the_one_that_is_due(void **state)
{
    (void)state;
    rig_begin(&rig, STAGE_STREAM, "read -r line; echo $line; while read -r line; do echo up >&2; sleep 100; done");
    number_messages(5);
    rig_give(&rig);
    while (rig.said_count == 0)
        event_base_loop(rig.base, EVLOOP_ONCE);
    stage_work_stop(rig.work);
    stage_work_end(rig.work);
    rig_work(&rig);
    rig_assert(&rig.tasks[0], STAGE_SUCCEEDED, "0");
    rig_assert(&rig.tasks[1], STAGE_FAILED, "up\n");
    assert_true(rig.tasks[1].result.ended_early);
    for (unsigned i = 2; i < rig.count; i++)
        rig_assert(&rig.tasks[i], STAGE_NOT_BEGUN, "");
    assert_true(stage_work_idle(rig.work));
    rig_close(&rig);
}

/* ---- commands that cannot start ------------------------------------------------------------------------------- */

static bool is_ready(const struct rig *now)
{
    return now->ready > 0;
}

static void a_stream_that_cannot_start_charges_nothing(void **state)
{
    (void)state;
    static char *argv[] = {"/nowhere/command", NULL};
    rig_open(&rig, STAGE_STREAM, argv);
    rig_start(&rig);
    number_messages(5);
    rig_work(&rig);
    for (unsigned i = 0; i < rig.count; i++)
        rig_assert(&rig.tasks[i], STAGE_NOT_BEGUN, "");
    assert_int_equal(rig.paused, 1);
    assert_int_equal(rig.exit, 127);
    rig_until(&rig, is_ready);
    rig_close(&rig);

    rig_open(&rig, STAGE_STREAM, NULL);
    rig.settings.shell = "exec /nowhere/command";
    rig_start(&rig);
    number_messages(5);
    rig_work(&rig);
    for (unsigned i = 0; i < rig.count; i++)
        rig_assert(&rig.tasks[i], STAGE_NOT_BEGUN, "");
    assert_int_equal(rig.exit, 127);
    rig_close(&rig);
}

/* Whichever allocation fails: each message comes back once. */
static void no_memory_loses_nothing(void **state)
{
    (void)state;
    for (unsigned long nth = 1;; nth++) {
        struct fault fault = {0};
        rig_open_shell(&rig, STAGE_STREAM, "exec cat -u");
        memory_fail(nth);
        if (stage_work_open(&rig.settings, &rig.work, &fault) == MP_OK) {
            number_messages(10);
            rig_work(&rig);
            for (unsigned i = 0; i < rig.count; i++) {
                assert_int_equal(rig.tasks[i].finished, 1);
                assert_true(rig.tasks[i].end != STAGE_MALFORMED && rig.tasks[i].end != STAGE_REJECTED);
            }
        }
        bool failed = memory_failed();
        memory_fail(0);
        rig_close(&rig);
        if (!failed)
            break;
        rig.work = NULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line_is_answered_in_order),
        cmocka_unit_test(an_empty_line_is_an_answer),
        cmocka_unit_test(all_workers_work),
        cmocka_unit_test(large_messages_never_lock_the_pipes),
        cmocka_unit_test(formats_frame_both_ways),
        cmocka_unit_test(a_body_with_the_separator_is_malformed),
        cmocka_unit_test(whole_is_no_format_of_a_stream),
        cmocka_unit_test(only_the_one_that_kills_is_charged),
        cmocka_unit_test(one_that_was_not_due_is_found_too),
        cmocka_unit_test(it_may_come_again_and_again),
        cmocka_unit_test(exit_code_65_rejects_it),
        cmocka_unit_test(an_answer_that_takes_too_long_is_a_timeout),
        cmocka_unit_test(one_that_does_not_flush_is_told),
        cmocka_unit_test(a_process_that_leaves_by_right_charges_nobody),
        cmocka_unit_test(one_that_never_answers_is_started_less_and_less_often),
        cmocka_unit_test(part_of_an_answer_is_none),
        cmocka_unit_test(two_answers_to_the_first_are_none),
        cmocka_unit_test(a_later_surplus_answer_is_noticed),
        cmocka_unit_test(a_busy_stream_is_listened_to),
        cmocka_unit_test(an_answer_has_its_limit),
        cmocka_unit_test(one_that_stops_reading_is_ended),
        cmocka_unit_test(one_that_stops_reading_is_ended_though_there_is_no_more_to_write),
        cmocka_unit_test(whatever_processes_do_each_message_is_answered_once),
        cmocka_unit_test(an_id_proves_the_answer),
        cmocka_unit_test(another_id_is_a_fault),
        cmocka_unit_test(an_answer_that_is_not_json_is_malformed),
        cmocka_unit_test(stop_lets_it_answer_what_it_has),
        cmocka_unit_test(end_charges_the_one_that_is_due),
        cmocka_unit_test(a_stream_that_cannot_start_charges_nothing),
        cmocka_unit_test(no_memory_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
