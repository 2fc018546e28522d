/* stage/command.h and stage/environment.h: real commands, run to their ends. */
#include "message/trace.h"
#include "stage/command.h"
#include "stage/environment.h"

#include "base/clock.h"
#include "base/memory.h"
#include "message/attributes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE = 20 }; /* seconds until a loop that does not end is a failure */

static struct event_base *base;
static struct stage_children *children;

/* A run, and what came of it. */
struct run {
    struct stage_command *command;
    struct stage_result result;
    struct buffer output;
    struct buffer error;
    size_t most; /* bytes that were kept at once */
    bool lazy;   /* takes nothing until the end */
    bool ended;
};

static void on_output(void *context)
{
    struct run *run = context;
    const struct buffer *kept = stage_command_output(run->command);
    run->most = kept->size > run->most ? kept->size : run->most;
    if (run->lazy)
        return;
    assert_int_equal(buffer_append(&run->output, kept->data, kept->size), MP_OK);
    stage_command_taken(run->command, kept->size);
}

static void on_error(void *context, const void *data, size_t size)
{
    struct run *run = context;
    assert_int_equal(buffer_append(&run->error, data, size), MP_OK);
}

static void on_ended(void *context, const struct stage_result *result)
{
    struct run *run = context;
    const struct buffer *kept = stage_command_output(run->command);
    assert_false(run->ended);
    assert_int_equal(buffer_append(&run->output, kept->data, kept->size), MP_OK);
    run->result = *result;
    run->ended = true;
    event_base_loopbreak(base);
}

static struct stage_command_settings settings_of(struct run *run, char *const *argv)
{
    return (struct stage_command_settings){
        .children = children,
        .argv = argv,
        .output_limit = 1024 * 1024,
        .keep_error = true,
        .context = run,
        .output = on_output,
        .error = on_error,
        .ended = on_ended,
    };
}

static void start(struct run *run, const struct stage_command_settings *settings)
{
    struct fault fault = {0};
    int code;
    if (stage_command_start(settings, &run->command, &code, &fault) != MP_OK)
        fail_msg("%s", fault_text(&fault));
}

static void await(struct run *run)
{
    struct timeval patience = {.tv_sec = PATIENCE};
    int64_t from = clock_monotonic();
    while (!run->ended) {
        event_base_loopexit(base, &patience);
        event_base_dispatch(base);
        if (clock_monotonic() - from > (int64_t)PATIENCE * 1000000)
            fail_msg("the command has not ended");
    }
}

static void finish(struct run *run)
{
    stage_command_free(run->command);
    buffer_free(&run->output);
    buffer_free(&run->error);
}

static void run_shell(struct run *run, const char *script)
{
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)script, NULL};
    struct stage_command_settings settings = settings_of(run, argv);
    start(run, &settings);
    await(run);
}

#define assert_text(buffer, text)                                                                                      \
    do {                                                                                                               \
        assert_int_equal((buffer).size, strlen(text));                                                                 \
        assert_memory_equal((buffer).data, text, strlen(text));                                                        \
    } while (0)

static int setup(void **state)
{
    (void)state;
    struct fault fault = {0};
    signal(SIGPIPE, SIG_IGN);
    base = event_base_new();
    return base && stage_children_open(base, &children, &fault) == MP_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    stage_children_free(children);
    event_base_free(base);
    return 0;
}

/* ---- input and output ----------------------------------------------------------------------------------------- */

static void what_there_is_no_memory_for_is_read_a_little_later(void **state)
{
    (void)state;
    char *argv[] = {"echo", "hello", NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    siginfo_t info;
    start(&run, &settings);
    assert_int_equal(waitid(P_PID, (id_t)stage_command_group(run.command), &info, WEXITED | WNOWAIT), 0);
    memory_fail(1);
    await(&run);
    assert_true(memory_failed());
    memory_fail(0);
    assert_int_equal(run.result.code, 0);
    assert_text(run.output, "hello\n");
    finish(&run);
}

static void all_input_comes_out_of_cat(void **state)
{
    (void)state;
    static uint8_t input[3 * 1024 * 1024 + 17];
    for (size_t i = 0; i < sizeof(input); i++)
        input[i] = (uint8_t)(i * 7 ^ i >> 9);
    char *argv[] = {"cat", NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    settings.input = input;
    settings.input_size = sizeof(input);
    start(&run, &settings);
    await(&run);
    assert_int_equal(run.result.code, 0);
    assert_int_equal(run.output.size, sizeof(input));
    assert_memory_equal(run.output.data, input, sizeof(input));
    finish(&run);
}

static void input_that_is_not_read_is_no_fault(void **state)
{
    (void)state;
    static const char input[1024 * 1024];
    char *argv[] = {"true", NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    settings.input = input;
    settings.input_size = sizeof(input);
    start(&run, &settings);
    await(&run);
    assert_int_equal(run.result.code, 0);
    assert_int_equal(run.result.signal, 0);
    finish(&run);
}

static void no_input_is_an_empty_one(void **state)
{
    (void)state;
    struct run run = {0};
    run_shell(&run, "wc -c | tr -d ' '");
    assert_text(run.output, "0\n");
    finish(&run);
}

static void stdout_and_stderr_are_kept_apart(void **state)
{
    (void)state;
    struct run run = {0};
    run_shell(&run, "echo out; echo err >&2; echo more");
    assert_text(run.output, "out\nmore\n");
    assert_text(run.error, "err\n");
    finish(&run);
}

static void output_is_kept_within_its_limit(void **state)
{
    (void)state;
    char *argv[] = {"sh", "-c", "head -c 1000000 /dev/zero", NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    settings.output_limit = 10000;
    start(&run, &settings);
    await(&run);
    assert_int_equal(run.result.code, 0);
    assert_int_equal(run.output.size, 1000000);
    assert_true(run.most <= 10000);
    finish(&run);
}

static void output_that_nobody_takes_stops_the_command(void **state)
{
    (void)state;
    char *argv[] = {"sh", "-c", "head -c 1000000 /dev/zero; echo end >&2", NULL};
    struct run run = {.lazy = true};
    struct stage_command_settings settings = settings_of(&run, argv);
    settings.output_limit = 10000;
    start(&run, &settings);
    while (stage_command_output(run.command)->size < 10000)
        event_base_loop(base, EVLOOP_ONCE);
    stage_command_end(run.command);
    /* Only taking what was kept brings it to its end, though it has been ended long since. */
    while (stage_command_group(run.command))
        event_base_loop(base, EVLOOP_ONCE);
    assert_false(run.ended);
    run.lazy = false;
    on_output(&run);
    await(&run);
    assert_true(run.result.ended_early);
    assert_int_equal(run.error.size, 0);
    finish(&run);
}

static void a_daemon_that_keeps_the_pipes_is_not_waited_for(void **state)
{
    (void)state;
    char *argv[] = {"sh", "-c", "sleep 60 & echo started", NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    start(&run, &settings);
    pid_t group = stage_command_group(run.command);
    await(&run);
    assert_text(run.output, "started\n");
    assert_true(run.result.duration < 30000000);
    assert_int_equal(kill(-group, SIGKILL), 0); /* it was left alone */
    finish(&run);
}

/* ---- ends ----------------------------------------------------------------------------------------------------- */

static void exit_codes_are_told(void **state)
{
    (void)state;
    static const int codes[] = {0, 1, 65, 75, 126, 127, 255};
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        char script[32];
        struct run run = {0};
        snprintf(script, sizeof(script), "exit %d", codes[i]);
        run_shell(&run, script);
        assert_int_equal(run.result.code, codes[i]);
        assert_int_equal(run.result.signal, 0);
        assert_false(run.result.timed_out);
        finish(&run);
    }
}

static void a_signal_is_told_as_a_shell_would(void **state)
{
    (void)state;
    struct run run = {0};
    run_shell(&run, "kill -KILL $$");
    assert_int_equal(run.result.code, 128 + SIGKILL);
    assert_int_equal(run.result.signal, SIGKILL);
    assert_false(run.result.ended_early);
    finish(&run);
}

static void a_command_that_takes_too_long_is_terminated(void **state)
{
    (void)state;
    char *argv[] = {"sleep", "60", NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    settings.timeout = 100000;
    start(&run, &settings);
    await(&run);
    assert_true(run.result.timed_out);
    assert_int_equal(run.result.signal, SIGTERM);
    assert_true(run.result.duration >= 100000);
    finish(&run);
}

static void one_that_does_not_hear_is_killed(void **state)
{
    (void)state;
    char *argv[] = {"sh", "-c", "trap '' TERM; echo up; sleep 60; sleep 60", NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    settings.grace = 100000;
    start(&run, &settings);
    while (run.output.size < 3)
        event_base_loop(base, EVLOOP_ONCE);
    stage_command_end(run.command);
    await(&run);
    assert_true(run.result.ended_early);
    assert_int_equal(run.result.signal, SIGKILL);
    finish(&run);
}

static void one_that_is_stopped_is_ended_too(void **state)
{
    (void)state;
    char *argv[] = {"sh", "-c", "kill -STOP $$; exit 0", NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    settings.timeout = 200000;
    start(&run, &settings);
    await(&run);
    assert_true(run.result.timed_out);
    assert_int_equal(run.result.signal, SIGTERM);
    finish(&run);
}

/* Whether a group has no more processes, within some seconds: init reaps orphans in its own time. */
static bool group_goes(pid_t group)
{
    int64_t until = clock_monotonic() + 10000000;
    while (kill(-group, 0) == 0) {
        if (clock_monotonic() > until)
            return false;
        struct timeval soon = {.tv_usec = 5000};
        event_base_loopexit(base, &soon);
        event_base_dispatch(base);
    }
    return errno == ESRCH;
}

static void the_whole_group_is_ended(void **state)
{
    (void)state;
    /* The shell goes at once; its child does not hear SIGTERM. */
    char *argv[] = {"sh", "-c", "(trap '' TERM; echo up; sleep 61; sleep 61) & wait", NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    start(&run, &settings);
    pid_t group = stage_command_group(run.command);
    while (run.output.size < 3)
        event_base_loop(base, EVLOOP_ONCE);
    stage_command_end(run.command);
    await(&run);
    assert_true(run.result.ended_early);
    assert_false(run.result.timed_out);
    assert_true(group_goes(group));
    finish(&run);
}

static void freeing_a_command_kills_it(void **state)
{
    (void)state;
    char *argv[] = {"sh", "-c", "sleep 62; sleep 62", NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    start(&run, &settings);
    pid_t group = stage_command_group(run.command);
    assert_true(group > 0);
    finish(&run);
    assert_true(group_goes(group));
}

static void many_run_at_once(void **state)
{
    (void)state;
    enum { MANY = 40 };
    struct run runs[MANY] = {0};
    char scripts[MANY][64];
    for (int i = 0; i < MANY; i++) {
        snprintf(scripts[i], sizeof(scripts[i]), "cat; exit %d", i);
        char *argv[] = {"sh", "-c", scripts[i], NULL};
        struct stage_command_settings settings = settings_of(&runs[i], argv);
        settings.input = scripts[i];
        settings.input_size = strlen(scripts[i]);
        start(&runs[i], &settings);
    }
    for (int i = 0; i < MANY; i++) {
        await(&runs[i]);
        assert_int_equal(runs[i].result.code, i);
        assert_text(runs[i].output, scripts[i]);
        finish(&runs[i]);
    }
}

/* ---- what it is given ----------------------------------------------------------------------------------------- */

static void a_command_that_is_not_there_is_127(void **state)
{
    (void)state;
    char *argv[] = {"no-such-command-anywhere", NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    struct fault fault = {0};
    int code = 0;
    assert_int_equal(stage_command_start(&settings, &run.command, &code, &fault), MP_ERR_NOT_FOUND);
    assert_int_equal(code, 127);
    assert_string_equal(fault_text(&fault), "cannot run no-such-command-anywhere: there is no such command");
}

static void a_file_that_is_no_command_is_126(void **state)
{
    (void)state;
    char path[] = "/tmp/msgpipe-test-command.XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    char *argv[] = {path, NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    struct fault fault = {0};
    int code = 0;
    enum mp_error error = stage_command_start(&settings, &run.command, &code, &fault);
    unlink(path);
    assert_int_equal(error, MP_ERR_IO);
    assert_int_equal(code, 126);
    assert_non_null(strstr(fault_text(&fault), path));
}

static void signals_are_as_a_command_expects_them(void **state)
{
    (void)state;
    sigset_t blocked;
    sigset_t before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    struct run masked = {0};
    run_shell(&masked, "kill -USR1 $$; exit 0");
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(masked.result.signal, SIGUSR1);
    finish(&masked);

    /* This program ignores SIGPIPE; what it runs does not. */
    struct run ignored = {0};
    run_shell(&ignored, "kill -PIPE $$; exit 0");
    assert_int_equal(ignored.result.signal, SIGPIPE);
    finish(&ignored);
}

/* How many descriptors a command has. */
static int count_descriptors(void)
{
    struct run run = {0};
    run_shell(&run, "ls /proc/self/fd | wc -l");
    assert_int_equal(buffer_append(&run.output, "", 1), MP_OK);
    int count = atoi((const char *)run.output.data);
    finish(&run);
    return count;
}

static void no_descriptor_leaks_from_one_command_to_another(void **state)
{
    (void)state;
    if (access("/proc/self/fd", R_OK) != 0)
        skip();
    int alone = count_descriptors();
    char *argv[] = {"sleep", "63", NULL};
    struct run other = {0};
    struct stage_command_settings settings = settings_of(&other, argv);
    static const char input[1024 * 1024]; /* so much that its pipe stays open */
    settings.input = input;
    settings.input_size = sizeof(input);
    start(&other, &settings);
    assert_int_equal(count_descriptors(), alone);
    finish(&other);
}

static void its_group_is_its_own(void **state)
{
    (void)state;
    struct run run = {0};
    char *argv[] = {"sh", "-c", "kill -0 -$$ && echo leads", NULL};
    struct stage_command_settings settings = settings_of(&run, argv);
    start(&run, &settings);
    pid_t group = stage_command_group(run.command);
    await(&run);
    assert_text(run.output, "leads\n");
    assert_int_not_equal(group, getpgrp());
    assert_int_equal(stage_command_group(run.command), 0);
    finish(&run);
}

/* ---- the environment ------------------------------------------------------------------------------------------ */

static const char *value_of(const struct stage_environment *environment, const char *name)
{
    size_t size = strlen(name);
    for (char **entry = environment->entries; *entry; entry++)
        if (strncmp(*entry, name, size) == 0 && (*entry)[size] == '=')
            return *entry + size + 1;
    return NULL;
}

static void set(struct buffer *block, const char *name, const char *value)
{
    struct fault fault = {0};
    if (attributes_set(block, attribute_code_of(name, strlen(name)), name, strlen(name), value, strlen(value), &fault))
        fail_msg("%s", fault_text(&fault));
}

static struct format_item item_of(const struct buffer *block)
{
    return (struct format_item){
        .record = {.body = (const uint8_t *)"x",
                   .size = 1,
                   .attributes = block->data,
                   .attributes_size = block->size,
                   .producer = 0x1122334455667788,
                   .sequence = 9},
        .topic = "orders.new",
        .offset = 41,
        .attempt = 3,
        .group = "bill",
        .delivery = 77,
    };
}

/* The span of the delivery of item_of(). */
static const char *span_text(char text[TRACE_SPAN_TEXT])
{
    const struct trace_place place = {"orders.new", 41, "bill", 3, 77};
    trace_span_write(trace_span(0x1122334455667788, 9, &place), text);
    return text;
}

static void a_message_is_told_in_variables(void **state)
{
    (void)state;
    char *own[] = {"PATH=/bin", "MSG_KEY=of another", "MSG_OLD=1", "TRACEPARENT=old", "MSGPIPE_RELAY=r", NULL};
    struct stage_environment environment;
    struct fault fault = {0};
    struct buffer block = {0};
    set(&block, "partitionkey", "k=1");
    set(&block, "type", "order.new");
    set(&block, "x-Colour_1", "b l\"u'e");
    set(&block, "topic", "not this one");
    struct format_item item = item_of(&block);
    assert_int_equal(stage_environment_open(&environment, own, NULL, &fault), MP_OK);
    assert_int_equal(stage_environment_set(&environment, &item, 0, &fault), MP_OK);
    assert_string_equal(value_of(&environment, "PATH"), "/bin");
    assert_string_equal(value_of(&environment, "MSGPIPE_RELAY"), "r");
    assert_string_equal(value_of(&environment, "MSG_ID"), "11223344556677880000000000000009");
    assert_string_equal(value_of(&environment, "MSG_TOPIC"), "orders.new");
    assert_string_equal(value_of(&environment, "MSG_OFFSET"), "41");
    assert_string_equal(value_of(&environment, "MSG_ATTEMPT"), "3");
    assert_string_equal(value_of(&environment, "MSG_KEY"), "k=1");
    assert_string_equal(value_of(&environment, "MSG_PARTITIONKEY"), "k=1");
    assert_string_equal(value_of(&environment, "MSG_TYPE"), "order.new");
    assert_string_equal(value_of(&environment, "MSG_X_COLOUR_1"), "b l\"u'e");
    assert_null(value_of(&environment, "MSG_OLD"));
    assert_null(value_of(&environment, "MSG_COUNT"));
    const char *trace = value_of(&environment, "TRACEPARENT");
    assert_memory_equal(trace, "00-11223344556677880000000000000009-", 36);
    assert_int_equal(strlen(trace), 55);
    char span[TRACE_SPAN_TEXT];
    assert_memory_equal(trace + 36, span_text(span), 16);
    assert_string_equal(trace + 52, "-01");
    stage_environment_free(&environment);
    buffer_free(&block);
}

static void the_next_message_has_nothing_of_the_last_one(void **state)
{
    (void)state;
    char *own[] = {NULL};
    struct stage_environment environment;
    struct fault fault = {0};
    struct buffer first = {0};
    struct buffer second = {0};
    set(&first, "partitionkey", "k");
    set(&first, "colour", "blue");
    set(&second, "id", "mine");
    set(&second, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    set(&second, "tracestate", "a=b");
    struct format_item item = item_of(&first);
    assert_int_equal(stage_environment_open(&environment, own, NULL, &fault), MP_OK);
    assert_int_equal(stage_environment_set(&environment, &item, 0, &fault), MP_OK);
    item = item_of(&second);
    assert_int_equal(stage_environment_set(&environment, &item, 0, &fault), MP_OK);
    assert_null(value_of(&environment, "MSG_KEY"));
    assert_null(value_of(&environment, "MSG_COLOUR"));
    assert_string_equal(value_of(&environment, "MSG_ID"), "mine");
    /* Its own trace, and what is done now in it. */
    char wanted[TRACE_PARENT_TEXT] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", span[TRACE_SPAN_TEXT];
    memcpy(wanted + 36, span_text(span), 16);
    assert_string_equal(value_of(&environment, "TRACEPARENT"), wanted);
    assert_string_equal(value_of(&environment, "TRACESTATE"), "a=b");
    stage_environment_free(&environment);
    buffer_free(&first);
    buffer_free(&second);
}

static void a_batch_is_told_what_holds_for_all(void **state)
{
    (void)state;
    char *own[] = {NULL};
    struct stage_environment environment;
    struct fault fault = {0};
    struct buffer block = {0};
    set(&block, "partitionkey", "k");
    struct format_item item = item_of(&block);
    assert_int_equal(stage_environment_open(&environment, own, NULL, &fault), MP_OK);
    assert_int_equal(stage_environment_set(&environment, &item, 7, &fault), MP_OK);
    assert_string_equal(value_of(&environment, "MSG_COUNT"), "7");
    assert_string_equal(value_of(&environment, "MSG_TOPIC"), "orders.new");
    assert_string_equal(value_of(&environment, "MSG_ATTEMPT"), "3");
    assert_null(value_of(&environment, "MSG_ID"));
    assert_null(value_of(&environment, "MSG_KEY"));
    assert_null(value_of(&environment, "TRACEPARENT"));
    stage_environment_free(&environment);
    buffer_free(&block);
}

static void a_command_gets_its_environment(void **state)
{
    (void)state;
    char *argv[] = {"/bin/sh", "-c", "echo \"$MSG_ID $HOME\"", NULL};
    char *variables[] = {"MSG_ID=42", "HOME=/nowhere", NULL};
    struct run run = {0};
    struct stage_command_settings settings = settings_of(&run, argv);
    settings.environment = variables;
    start(&run, &settings);
    await(&run);
    assert_text(run.output, "42 /nowhere\n");
    finish(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_input_comes_out_of_cat),
        cmocka_unit_test(input_that_is_not_read_is_no_fault),
        cmocka_unit_test(no_input_is_an_empty_one),
        cmocka_unit_test(stdout_and_stderr_are_kept_apart),
        cmocka_unit_test(output_is_kept_within_its_limit),
        cmocka_unit_test(output_that_nobody_takes_stops_the_command),
        cmocka_unit_test(a_daemon_that_keeps_the_pipes_is_not_waited_for),
        cmocka_unit_test(exit_codes_are_told),
        cmocka_unit_test(a_signal_is_told_as_a_shell_would),
        cmocka_unit_test(a_command_that_takes_too_long_is_terminated),
        cmocka_unit_test(one_that_does_not_hear_is_killed),
        cmocka_unit_test(one_that_is_stopped_is_ended_too),
        cmocka_unit_test(the_whole_group_is_ended),
        cmocka_unit_test(freeing_a_command_kills_it),
        cmocka_unit_test(many_run_at_once),
        cmocka_unit_test(a_command_that_is_not_there_is_127),
        cmocka_unit_test(a_file_that_is_no_command_is_126),
        cmocka_unit_test(signals_are_as_a_command_expects_them),
        cmocka_unit_test(no_descriptor_leaks_from_one_command_to_another),
        cmocka_unit_test(its_group_is_its_own),
        cmocka_unit_test(a_message_is_told_in_variables),
        cmocka_unit_test(the_next_message_has_nothing_of_the_last_one),
        cmocka_unit_test(a_batch_is_told_what_holds_for_all),
        cmocka_unit_test(a_command_gets_its_environment),
        cmocka_unit_test(what_there_is_no_memory_for_is_read_a_little_later),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
