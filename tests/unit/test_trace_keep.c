/* How long what traces show is kept: by age, by bytes, and a sample of it. */
#include "engine_rig.h"

#define HOUR (3600 * SECOND)

struct kept {
    unsigned count;
    unsigned kinds[16];
    uint64_t first;
    uint64_t runs[64]; /* in which runs of 1,024 offsets something was published */
    uint64_t failed;   /* the run in which something failed */
    bool failed_is_whole;
};

static enum mp_error see(void *context, const struct store_event *event)
{
    struct kept *kept = context;
    if (kept->count++ == 0)
        kept->first = event->id;
    kept->kinds[event->kind]++;
    if (event->kind == EVENT_PUBLISHED) {
        kept->runs[event->first / 1024]++;
        kept->failed_is_whole |= event->first / 1024 == kept->failed;
    }
    return MP_OK;
}

static struct kept look(struct rig *rig, uint64_t failed)
{
    struct kept kept = {.failed = failed};
    assert_int_equal(store_each_event(rig->store, 0, see, &kept, NULL), MP_OK);
    return kept;
}

static void begin(struct rig *rig, struct engine_local_settings settings)
{
    settings.keep_store = true;
    settings.snapshot_every = 5;
    settings.events_step = 10;
    rig->local = settings;
    rig_restart(rig);
}

/* COUNT messages, one by one, each acknowledged. */
static void work(struct rig *rig, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        rig_begin(rig);
        uint64_t first = rig_publish(rig, "t", 1);
        assert_int_equal(rig->engine->operations->tick(rig->engine, &rig->fault), MP_OK);
        rig_commit(rig);
        assert_int_equal(rig_fetch(rig, 2, "t", "g", 1), 1);
        assert_int_equal(rig_settle(rig, 2, first, 1, ENGINE_ACK), 1);
    }
}

static void what_is_too_old_goes(void **state)
{
    struct rig *rig = *state;
    begin(rig, (struct engine_local_settings){.trace_age = HOUR});
    work(rig, 100);
    assert_int_equal(look(rig, 0).count, 300);
    rig_pass(rig, 2 * HOUR);
    work(rig, 100);
    struct kept kept = look(rig, 0);
    assert_in_range(kept.count, 300, 320);
    rig_restart(rig);
    work(rig, 1);
    rig_pass(rig, HOUR / 2);
    work(rig, 40);
    assert_in_range(look(rig, 0).count, 300 + 123, 320 + 123);
}

/* About so many bytes, through restarts, and never what a start needs. */
static void what_is_too_much_goes(void **state)
{
    struct rig *rig = *state;
    begin(rig, (struct engine_local_settings){.trace_bytes = (uint64_t)100 * STORE_EVENT_BYTES});
    for (unsigned i = 0; i < 8; i++) {
        work(rig, 100);
        assert_in_range(look(rig, 0).count, 60, 120);
        rig_restart(rig);
    }
    assert_int_equal(rig_read(rig, "t"), 0);
}

/* Of the runs that are not in the sample only those stay in which something failed; and all that was, works. */
static void a_sample_keeps_runs_in_whole_and_failures(void **state)
{
    struct rig *rig = *state;
    begin(rig, (struct engine_local_settings){.trace_drop = 1});
    work(rig, 10);
    for (unsigned run = 0; run < 8; run++) {
        for (unsigned i = 0; i < 8; i++) {
            rig_publish(rig, "u", 128);
            assert_int_equal(rig_fetch(rig, 2, "u", "g", 0), 128);
            uint64_t first = run * 1024 + i * 128;
            bool fails = run == 5 && i == 3;
            assert_int_equal(rig_settle(rig, 2, first, 128, fails ? ENGINE_DEAD : ENGINE_ACK), 128);
        }
    }
    unsigned all = look(rig, 5).count;
    rig_pass(rig, 61 * SECOND);
    for (unsigned i = 0; i < 60; i++)
        work(rig, 1);
    rig_restart(rig);
    struct kept kept = look(rig, 5);
    assert_true(kept.count < all);
    assert_int_equal(kept.kinds[EVENT_DEAD], 1);
    assert_true(kept.failed_is_whole);
    assert_int_equal(kept.runs[5], 8);
    assert_int_equal(kept.runs[4], 0);
    work(rig, 10);
    rig_restart(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_too_old_goes, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_is_too_much_goes, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_sample_keeps_runs_in_whole_and_failures, rig_set_up, rig_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
