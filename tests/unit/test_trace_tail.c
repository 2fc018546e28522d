/* Following a log: nothing twice, and what is missed is counted. */
#include "time_rig.h"
#include "trace/tail.h"

#include <stdlib.h>

struct followed {
    struct time_rig rig;
    struct trace_log *log;
    struct trace_select select;
    struct trace_tail tail;
    uint64_t seen[64]; /* first offsets of what was published */
    unsigned count;
    unsigned stop_after; /* events of a look; 0: all */
};

static int setup(void **state)
{
    static const struct trace_select_settings all = {.kinds_count = 0};
    struct followed *followed = calloc(1, sizeof *followed);
    struct fault fault;
    assert_non_null(followed);
    time_rig_begin(&followed->rig);
    time_rig_send(&followed->rig, "t", 0, "x", 1);
    assert_int_equal(trace_log_of_store(followed->rig.store, followed->rig.now, &followed->log, &fault), MP_OK);
    assert_int_equal(trace_select_open(&followed->select, &all, followed->log, &fault), MP_OK);
    trace_tail_open(&followed->tail, followed->log, &followed->select, trace_log_last(followed->log));
    *state = followed;
    return 0;
}

static int teardown(void **state)
{
    struct followed *followed = *state;
    trace_select_free(&followed->select);
    trace_log_close(followed->log);
    time_rig_end(&followed->rig);
    free(followed);
    return 0;
}

static enum mp_error see(void *context, const struct store_event *event)
{
    struct followed *followed = context;
    if (event->kind == EVENT_PUBLISHED)
        followed->seen[followed->count++] = event->first;
    return followed->stop_after > 0 && followed->count == followed->stop_after ? MP_ERR_CLOSED : MP_OK;
}

static enum mp_error look(struct followed *followed)
{
    struct fault fault = {0};
    followed->count = 0;
    return trace_tail_look(&followed->tail, followed->rig.now, see, followed, &fault);
}

static void publish(struct followed *followed, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        time_rig_send(&followed->rig, "t", 0, "x", 1);
}

static void what_is_new_comes_once(void **state)
{
    struct followed *followed = *state;
    assert_int_equal(look(followed), MP_OK);
    assert_int_equal(followed->count, 0);
    publish(followed, 3);
    assert_int_equal(look(followed), MP_OK);
    assert_int_equal(followed->count, 3);
    assert_int_equal(followed->seen[0], 1);
    assert_int_equal(look(followed), MP_OK);
    assert_int_equal(followed->count, 0);
    publish(followed, 5);
    followed->stop_after = 2;
    assert_int_equal(look(followed), MP_ERR_CLOSED);
    followed->stop_after = 0;
    assert_int_equal(look(followed), MP_OK);
    assert_int_equal(followed->count, 3);
    assert_int_equal(followed->seen[0], 6);
    assert_int_equal(followed->tail.lost, 0);
}

static void who_is_far_behind_loses_and_knows(void **state)
{
    struct followed *followed = *state;
    followed->tail.behind = 10;
    publish(followed, 10);
    assert_int_equal(look(followed), MP_OK);
    assert_int_equal(followed->count, 10);
    publish(followed, 30);
    assert_int_equal(look(followed), MP_OK);
    assert_int_equal(followed->count, 10);
    assert_int_equal(followed->seen[0], 31);
    assert_int_equal(followed->tail.gap, 20);
    followed->tail.patient = true;
    publish(followed, 30);
    assert_int_equal(look(followed), MP_OK);
    assert_int_equal(followed->count, 30);
    assert_int_equal(followed->tail.gap, 0);
    assert_int_equal(followed->tail.lost, 20);
}

static void what_was_deleted_is_counted(void **state)
{
    struct followed *followed = *state;
    struct store_deleted deleted;
    publish(followed, 20);
    uint64_t seen = followed->tail.seen;
    assert_int_equal(store_delete_events(followed->rig.store, seen + 8, 100, &deleted, NULL), MP_OK);
    assert_int_equal(look(followed), MP_OK);
    assert_int_equal(followed->tail.gap, 7);
    assert_int_equal(followed->count, 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_new_comes_once, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_far_behind_loses_and_knows, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_deleted_is_counted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
