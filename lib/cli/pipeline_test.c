#include "cli/pipeline_test.h"

#include "base/clock.h"
#include "base/units.h"
#include "cli/exit.h"
#include "cli/loop.h"
#include "cli/output.h"
#include "cli/pipeline_compare.h"
#include "cli/pipeline_file.h"
#include "cli/sandbox.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct tests {
    const struct pipeline_test_settings *settings;
    const struct pipeline *pipeline;
    size_t chosen, number, failed;
    bool colour;
};

/* How a test ended. */
struct outcome {
    bool passed;
    struct buffer words; /* why not: lines */
    int64_t duration;
    bool ended; /* the trial has */
};

/* ---- telling --------------------------------------------------------------------------------------------------- */

static void tell_tap(const struct tests *tests, const struct pipeline_test *test, const struct outcome *outcome)
{
    printf("%sok %zu - %s # time=%.3fms\n", outcome->passed ? "" : "not ", tests->number, test->name,
           (double)outcome->duration / 1e3);
    if (!outcome->passed)
        fwrite(outcome->words.data, 1, outcome->words.size, stdout);
}

static void tell_person(const struct tests *tests, const struct pipeline_test *test, const struct outcome *outcome)
{
    const char *on = !tests->colour ? "" : outcome->passed ? "\033[32m" : "\033[31m";
    char time[24];
    units_duration_text(outcome->duration, time, sizeof time);
    printf("%s%s%s %s (%s)\n", on, outcome->passed ? "ok    " : "FAILED", tests->colour ? "\033[0m" : "", test->name,
           time);
    if (outcome->passed)
        return;
    printf("       %s:%u\n", test->file, test->place.line);
    fwrite(outcome->words.data, 1, outcome->words.size, stdout);
}

/* ---- one test -------------------------------------------------------------------------------------------------- */

static void on_ended(void *context)
{
    struct outcome *outcome = context;
    outcome->ended = true;
}

static void say(const struct tests *tests, struct outcome *outcome, const struct fault *fault)
{
    buffer_append_format(&outcome->words, "%s%s\n", tests->settings->tap ? "# " : "       ", fault_text(fault));
}

static enum mp_error judge(const struct tests *tests, const struct pipeline_test *test, const struct trial *trial,
                           struct outcome *outcome)
{
    size_t count;
    if (trial_fault(trial)) {
        say(tests, outcome, trial_fault(trial));
        return MP_OK;
    }
    const struct trial_topic *topics = trial_topics(trial, &count);
    return pipeline_compare(test, topics, count, tests->settings->tap ? "# " : "       ", &outcome->words,
                            &outcome->passed);
}

static enum mp_error try_test(const struct tests *tests, size_t index, struct event_base *base, const char *relay,
                              struct outcome *outcome, struct fault *fault)
{
    struct trial *trial = NULL;
    struct pipeline *taken = NULL;
    enum mp_error error = pipeline_file_load_tests(tests->settings->file, &taken, fault);
    if (error || index >= taken->tests_count) {
        pipeline_free(taken);
        return error ? error : fault_set(fault, MP_ERR_INVALID, "the file has changed meanwhile");
    }
    struct trial_settings settings = {
        .base = base,
        .relay = relay,
        .pipeline = tests->pipeline,
        .test = index,
        .taken = taken,
        .signals = loop_child_signals,
        .context = outcome,
        .ended = on_ended,
    };
    error = trial_open(&settings, &trial, fault);
    if (error) { /* this test cannot be carried out; others may */
        say(tests, outcome, fault);
        return MP_OK;
    }
    while (!outcome->ended && event_base_loop(base, EVLOOP_ONCE) == 0)
        ;
    error = judge(tests, &tests->pipeline->tests[index], trial, outcome);
    trial_free(trial);
    return error ? fault_memory(fault) : MP_OK;
}

/* False: nothing more can be tested; *EXIT says why. */
static bool run_test(struct tests *tests, size_t index, struct event_base *base, int *code)
{
    const struct pipeline_test *test = &tests->pipeline->tests[index];
    struct sandbox sandbox;
    struct outcome outcome = {0};
    struct fault fault = {0};
    enum mp_error error = sandbox_open(&sandbox, base, tests->settings->program, NULL, true, &fault);
    int64_t since = clock_monotonic();
    if (!error)
        error = try_test(tests, index, base, sandbox.url, &outcome, &fault);
    outcome.duration = clock_monotonic() - since;
    sandbox_close(&sandbox);
    tests->number++;
    tests->failed += !outcome.passed;
    if (error)
        *code = tell_fault(&fault);
    else if (tests->settings->tap)
        tell_tap(tests, test, &outcome);
    else
        tell_person(tests, test, &outcome);
    fflush(stdout);
    buffer_free(&outcome.words);
    return !error;
}

/* ---- all of them ----------------------------------------------------------------------------------------------- */

static bool is_chosen(const struct tests *tests, size_t index)
{
    const char *filter = tests->settings->filter;
    return !filter || strstr(tests->pipeline->tests[index].name, filter);
}

static int tell_none(const struct tests *tests)
{
    if (tests->pipeline->tests_count == 0)
        tell("%s has no tests: they stand under `tests:` in it, or in a file beside it whose name ends in _test.yaml",
             tests->settings->file);
    else
        tell("no test of %s has '%s' in its name", tests->settings->file, tests->settings->filter);
    return EXIT_NO_INPUT;
}

static int run_tests(struct tests *tests)
{
    struct event_base *base = event_base_new();
    struct fault fault = {0};
    int code = EXIT_DONE;
    if (!base) {
        fault_memory(&fault);
        return tell_fault(&fault);
    }
    if (tests->settings->tap)
        printf("TAP version 14\n1..%zu\n", tests->chosen);
    for (size_t i = 0; i < tests->pipeline->tests_count; i++)
        if (is_chosen(tests, i) && !run_test(tests, i, base, &code))
            break;
    event_base_free(base);
    if (!tests->settings->tap)
        printf("%zu passed, %zu failed\n", tests->number - tests->failed, tests->failed);
    if (!code && output_close(&fault))
        code = tell_fault(&fault);
    return code ? code : tests->failed ? EXIT_FAILED : EXIT_DONE;
}

int pipeline_test(const struct pipeline_test_settings *settings)
{
    struct tests tests = {.settings = settings, .colour = output_colour(STDOUT_FILENO)};
    struct pipeline *pipeline = NULL;
    struct fault fault = {0};
    if (pipeline_file_load_tests(settings->file, &pipeline, &fault))
        return pipeline_file_exit(&fault);
    tests.pipeline = pipeline;
    for (size_t i = 0; i < pipeline->tests_count; i++)
        tests.chosen += is_chosen(&tests, i);
    int code = tests.chosen ? run_tests(&tests) : tell_none(&tests);
    pipeline_free(pipeline);
    return code;
}
