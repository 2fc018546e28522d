/* What an engine counts of its topics and groups: what happened, once, and nothing that was undone. */
#include "engine_rig.h"

#include "queue/figures.h"

#include <stdlib.h>

static int set_up(void **state)
{
    rig_set_up(state);
    struct rig *rig = *state;
    rig->local.measure = true;
    rig_restart(rig);
    return 0;
}

static uint32_t only(struct rig *rig, bool groups, size_t number)
{
    uint32_t *ids, id;
    size_t count;
    assert_int_equal(rig->engine->operations->list(rig->engine, groups, &ids, &count), MP_OK);
    assert_true(count > number);
    id = ids[number];
    free(ids);
    return id;
}

static struct figures_topic topic(struct rig *rig)
{
    struct figures_topic figures;
    assert_true(rig->engine->operations->topic_figures(rig->engine, only(rig, false, 0), &figures));
    return figures;
}

static struct figures_group group(struct rig *rig)
{
    struct figures_group figures;
    assert_true(rig->engine->operations->group_figures(rig->engine, only(rig, true, 0), &figures));
    return figures;
}

static uint64_t count(struct rig *rig, enum meter_count what)
{
    const struct meter_group *counted = group(rig).counted;
    return counted ? counted->counts[what] : 0;
}

static void what_is_published_is_counted(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "t", 10);
    rig_publish(rig, "t", 5);
    struct figures_topic figures = topic(rig);
    assert_string_equal(figures.name, "t");
    assert_int_equal(figures.end, 15);
    assert_int_equal(figures.counted->messages, 15);
    assert_int_equal(figures.counted->frames, 2);
    assert_int_equal(figures.counted->bytes, figures.bytes);
}

static void times_are_weighted_by_messages(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "t", 10);
    rig_pass(rig, 2 * SECOND);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 6), 6);
    rig_pass(rig, 3 * SECOND);
    assert_int_equal(rig_settle(rig, 2, 0, 4, ENGINE_ACK), 4);
    struct figures_group figures = group(rig);
    assert_int_equal(figures.waiting, 4);
    assert_int_equal(figures.leased, 2);
    assert_int_equal(figures.counted->counts[METER_LEASED], 6);
    assert_int_equal(figures.counted->counts[METER_ACKED], 4);
    assert_int_equal(buckets_count(&figures.counted->waiting), 6);
    assert_int_equal(figures.counted->waiting.sum, 12 * SECOND);
    assert_int_equal(buckets_count(&figures.counted->working), 4);
    assert_int_equal(figures.counted->working.sum, 12 * SECOND);
    int64_t oldest = rig->engine->operations->group_oldest(rig->engine, only(rig, true, 0));
    assert_int_equal(rig->now.wall - oldest, 5 * SECOND);
}

static void each_end_has_its_counter(void **state)
{
    struct rig *rig = *state;
    rig_configure(rig, "t", "g", "retry.max_retries", "1");
    rig_configure(rig, "t", "g", "retry.initial_interval", "1s");
    rig_configure(rig, "t", "g", "retry.jitter", "0");
    rig_publish(rig, "t", 8);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 8);
    assert_int_equal(rig_settle(rig, 2, 0, 2, ENGINE_RETRY), 2);
    assert_int_equal(rig_settle(rig, 2, 2, 3, ENGINE_RELEASE), 3);
    assert_int_equal(rig_settle(rig, 2, 5, 1, ENGINE_DEAD), 1);
    assert_int_equal(rig_settle(rig, 2, 6, 2, ENGINE_ACK), 2);
    rig_pass(rig, 2 * SECOND);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 5);
    assert_int_equal(rig_settle(rig, 2, 0, 2, ENGINE_RETRY), 2); /* once too often */
    assert_int_equal(count(rig, METER_LEASED), 13);
    assert_int_equal(count(rig, METER_ACKED), 2);
    assert_int_equal(count(rig, METER_RETRIED), 2);
    assert_int_equal(count(rig, METER_RELEASED), 3);
    assert_int_equal(count(rig, METER_DEAD + ENGINE_REASON_REJECTED), 1);
    assert_int_equal(count(rig, METER_DEAD + ENGINE_REASON_RETRIES), 2);
    /* A release does no work, and a second attempt has not waited since its publication. */
    assert_int_equal(buckets_count(&group(rig).counted->working), 7);
    assert_int_equal(buckets_count(&group(rig).counted->waiting), 11);
}

static void what_is_given_again_is_not_counted_again(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "t", 4);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 4);
    assert_int_equal(rig_fetch_again(rig, 2, "t", "g"), 4);
    assert_int_equal(rig_peek(rig, "t", "g", 0), 4);
    assert_int_equal(rig_read(rig, "t"), 4);
    assert_int_equal(count(rig, METER_LEASED), 4);
    assert_int_equal(buckets_count(&group(rig).counted->waiting), 4);
}

static void a_turn_that_is_undone_counts_nothing(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "t", 4);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 1), 1);
    rig_begin(rig);
    rig_publish(rig, "t", 4);
    rig_fetch(rig, 3, "t", "g", 0);
    rig_undo(rig);
    assert_int_equal(topic(rig).counted->messages, 4);
    assert_int_equal(count(rig, METER_LEASED), 1);
    assert_int_equal(buckets_count(&group(rig).counted->waiting), 1);
    rig_publish(rig, "t", 1);
    assert_int_equal(topic(rig).counted->messages, 5);
}

static void a_start_begins_anew(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "t", 4);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 4);
    rig_restart(rig);
    assert_null(topic(rig).counted);
    assert_null(group(rig).counted);
    assert_int_equal(topic(rig).end, 4);
    /* When it was handed out nobody knows any more. */
    assert_int_equal(rig_settle(rig, 2, 0, 4, ENGINE_ACK), 4);
    assert_int_equal(count(rig, METER_ACKED), 4);
    assert_int_equal(buckets_count(&group(rig).counted->working), 0);
}

static void what_is_deleted_is_forgotten(void **state)
{
    struct rig *rig = *state;
    uint64_t messages;
    rig_publish(rig, "t", 4);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 4);
    uint32_t id = only(rig, true, 0);
    struct figures_group figures;
    rig_begin(rig);
    assert_int_equal(rig->engine->operations->delete_topic(rig->engine, "t", true, &messages, &rig->fault), MP_OK);
    rig_commit(rig);
    assert_false(rig->engine->operations->group_figures(rig->engine, id, &figures));
    rig_publish(rig, "t", 3);
    assert_int_equal(topic(rig).counted->messages, 3);
}

static void who_does_not_measure_counts_nothing(void **state)
{
    struct rig *rig = *state;
    rig->local.measure = false;
    rig_restart(rig);
    rig_publish(rig, "t", 4);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 4);
    assert_null(topic(rig).counted);
    assert_null(group(rig).counted);
    assert_int_equal(group(rig).leased, 4);
}

int main(void)
{
#define MEASURED(test) cmocka_unit_test_setup_teardown(test, set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        MEASURED(what_is_published_is_counted),
        MEASURED(times_are_weighted_by_messages),
        MEASURED(each_end_has_its_counter),
        MEASURED(what_is_given_again_is_not_counted_again),
        MEASURED(a_turn_that_is_undone_counts_nothing),
        MEASURED(a_start_begins_anew),
        MEASURED(what_is_deleted_is_forgotten),
        MEASURED(who_does_not_measure_counts_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
