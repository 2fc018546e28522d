/* The relay's figures: requests, turns, what runners report added up; and whether publications are taken. */
#include "core_rig.h"

#include "relay/figures.h"

#include <stdio.h>
#include <string.h>

static int64_t ticks;

/* Each look at it is 400 microseconds after the one before. */
static int64_t stopwatch(void *context)
{
    (void)context;
    return ticks += 400;
}

static int set_up(void **state)
{
    int failed = rig_set_up(state);
    struct rig *rig = *state;
    rig->settings.stopwatch = stopwatch;
    rig_restart(rig);
    return failed;
}

static enum mp_error report(struct rig *rig, uint64_t session, const char *runner, int64_t uptime, const char *stages)
{
    struct buffer body = {0};
    rig_forget_replies(rig);
    assert_int_equal(buffer_append_format(&body,
                                          "{\"verb\":\"report\",\"runner\":\"%s\",\"pipeline\":\"p\",\"uptime_us\":"
                                          "%lld,\"stages\":[%s]}",
                                          runner, (long long)uptime, stages),
                     MP_OK);
    uint32_t id = rig_submit(rig, 1, PROTOCOL_ADMIN, PROTOCOL_LANE_CONTROL, session, 0, 0, &body);
    buffer_free(&body);
    rig_turn(rig);
    return rig_status(rig, id);
}

static char words[600];

/* What a runner says of stage NAME. */
static const char *stage(const char *name, unsigned in, unsigned failed, const char *state)
{
    snprintf(words, sizeof words,
             "{\"name\":\"%s\",\"kind\":\"stage\",\"in\":%u,\"failed\":%u,\"running\":2,\"state\":\"%s\","
             "\"breaker\":\"%s\",\"times\":{\"sum_us\":%u,\"cells\":[%u,0,0,0,0,0,0,0,0,0,0,0,0,0,0,%u]}}",
             name, in, failed, state, strcmp(state, "open") ? "closed" : "open", in * 10, in, failed);
    return words;
}

static const struct core_stage *only_stage(struct rig *rig)
{
    assert_int_equal(core_stages(rig->core, rig->now), 1);
    return core_stage_at(rig->core, 0);
}

static int64_t in_state(const struct core_stage *of, const char *state)
{
    for (unsigned i = 0; i < CORE_STAGE_STATES; i++)
        if (strcmp(core_stage_states[i], state) == 0)
            return of->states[i];
    fail_msg("no state %s", state);
    return 0;
}

static void requests_are_counted_by_type(void **state)
{
    struct rig *rig = *state;
    struct core_figures figures;
    uint64_t session = rig_hello(rig, 1);
    rig_publish(rig, 1, session, 1, "t", 3);
    rig_turn(rig);
    rig_publish(rig, 1, session, 1, "t", 3);
    rig_turn(rig);
    core_figures(rig->core, &figures);
    assert_string_equal(figures.name, "test");
    assert_int_equal(figures.requests[PROTOCOL_HELLO], 1);
    assert_int_equal(figures.requests[PROTOCOL_PUBLISH], 2);
    assert_int_equal(figures.repeats, 1);
    assert_int_equal(figures.greeted, 1);
    assert_int_equal(figures.sessions, 1);
}

static void turns_and_commits_are_timed(void **state)
{
    struct rig *rig = *state;
    struct core_figures figures;
    uint64_t session = rig_hello(rig, 1);
    core_figures(rig->core, &figures);
    uint64_t turns = buckets_count(figures.turns), sum = figures.turns->sum;
    assert_int_equal(buckets_count(figures.commits), 0);
    rig_publish(rig, 1, session, 1, "t", 3);
    rig_turn(rig);
    assert_int_equal(buckets_count(figures.turns), turns + 1);
    assert_int_equal(buckets_count(figures.commits), 1);
    assert_int_equal(figures.commits->sum, 400);
    assert_int_equal(figures.turns->sum - sum, 1200);
}

static void what_runners_have_done_is_added_up(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    assert_int_equal(report(rig, session, "h:1", SECOND, stage("s", 10, 1, "running")), MP_OK);
    assert_int_equal(report(rig, session, "h:2", SECOND, stage("s", 5, 0, "open")), MP_OK);
    assert_int_equal(report(rig, session, "h:1", 2 * SECOND, stage("s", 12, 1, "running")), MP_OK);
    const struct core_stage *of = only_stage(rig);
    assert_string_equal(of->pipeline, "p");
    assert_string_equal(of->name, "s");
    assert_string_equal(of->kind, "stage");
    assert_int_equal(of->counts[CORE_STAGE_IN], 17);
    assert_int_equal(of->counts[CORE_STAGE_FAILED], 1);
    assert_int_equal(of->working.cells[0], 17);
    assert_int_equal(of->working.cells[BUCKETS], 1);
    assert_int_equal(of->working.sum, 170);
    assert_int_equal(of->running, 4);
    assert_int_equal(in_state(of, "running"), 1);
    assert_int_equal(in_state(of, "open"), 1);
    assert_int_equal(of->breakers, 2);
    assert_int_equal(of->open, 1);
}

static void what_begins_anew_is_added_too(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    assert_int_equal(report(rig, session, "h:1", SECOND, stage("s", 10, 1, "running")), MP_OK);
    assert_int_equal(report(rig, session, "h:1", 2 * SECOND, stage("s", 3, 0, "running")), MP_OK); /* it was reloaded */
    assert_int_equal(report(rig, session, "h:2", SECOND, stage("s", 4, 0, "running")), MP_OK);
    const struct core_stage *of = only_stage(rig);
    assert_int_equal(of->counts[CORE_STAGE_IN], 17);
    assert_int_equal(of->working.sum, 170);
    assert_int_equal(of->counts[CORE_STAGE_FAILED], 1);
}

static void an_old_runner_that_comes_counts_from_then_on(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    assert_int_equal(report(rig, session, "h:1", 3600 * SECOND, stage("s", 1000, 1, "running")), MP_OK);
    assert_int_equal(only_stage(rig)->counts[CORE_STAGE_IN], 0);
    assert_int_equal(report(rig, session, "h:1", 3601 * SECOND, stage("s", 1007, 1, "running")), MP_OK);
    assert_int_equal(only_stage(rig)->counts[CORE_STAGE_IN], 7);
}

static void a_runner_that_is_silent_is_not_there(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    assert_int_equal(report(rig, session, "h:1", SECOND, stage("s", 10, 1, "paused")), MP_OK);
    assert_int_equal(in_state(only_stage(rig), "paused"), 1);
    rig_pass(rig, 60 * SECOND);
    const struct core_stage *of = only_stage(rig);
    assert_int_equal(in_state(of, "paused"), 0);
    assert_int_equal(of->running, 0);
    assert_int_equal(of->breakers, 0);
    assert_int_equal(of->counts[CORE_STAGE_IN], 10);
    /* What it did in between nobody knows to be new. */
    session = rig_hello(rig, 1);
    assert_int_equal(report(rig, session, "h:1", 62 * SECOND, stage("s", 12, 1, "running")), MP_OK);
    assert_int_equal(only_stage(rig)->counts[CORE_STAGE_IN], 10);
}

static void nonsense_of_runners_is_left_out(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    static const char nonsense[] = "7,{},{\"name\":\"a\"},{\"name\":\"a\",\"kind\":\"stage\",\"in\":-5,\"state\":7,"
                                   "\"times\":{\"cells\":[1,2]}}";
    assert_int_equal(report(rig, session, "h:1", SECOND, nonsense), MP_OK);
    assert_int_equal(only_stage(rig)->counts[CORE_STAGE_IN], 0);
    assert_int_equal(buckets_count(&only_stage(rig)->working), 0);
}

static void without_a_stopwatch_nothing_is_added_up(void **state)
{
    struct rig *rig = *state;
    rig->settings.stopwatch = NULL;
    rig_restart(rig);
    uint64_t session = rig_hello(rig, 1);
    assert_int_equal(report(rig, session, "h:1", SECOND, stage("s", 10, 1, "running")), MP_OK);
    assert_int_equal(core_stages(rig->core, rig->now), 0);
}

static void ready_is_who_takes_publications(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    uint64_t session = rig_hello(rig, 1);
    assert_int_equal(core_ready(rig->core, rig->now, &fault), MP_OK);
    store_fail_commit(rig->store, 1);
    rig_publish(rig, 1, session, 1, "t", 3);
    rig_turn(rig);
    assert_int_not_equal(core_ready(rig->core, rig->now, &fault), MP_OK);
    assert_non_null(strstr(fault_text(&fault), "the store could not be written"));
    rig_pass(rig, SECOND);
    rig_publish(rig, 1, session, 1, "t", 3);
    rig_turn(rig);
    assert_int_equal(core_ready(rig->core, rig->now, &fault), MP_OK);
    core_drain(rig->core);
    assert_int_equal(core_ready(rig->core, rig->now, &fault), MP_ERR_AGAIN);
    assert_non_null(strstr(fault_text(&fault), "shutting down"));
}

int main(void)
{
#define RIGGED(test) cmocka_unit_test_setup_teardown(test, set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        RIGGED(requests_are_counted_by_type),
        RIGGED(turns_and_commits_are_timed),
        RIGGED(what_runners_have_done_is_added_up),
        RIGGED(what_begins_anew_is_added_too),
        RIGGED(an_old_runner_that_comes_counts_from_then_on),
        RIGGED(a_runner_that_is_silent_is_not_there),
        RIGGED(nonsense_of_runners_is_left_out),
        RIGGED(without_a_stopwatch_nothing_is_added_up),
        RIGGED(ready_is_who_takes_publications),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
