/* What the engine writes for traces: publications with their lineages, and failures with what was said of them. */
#include "message/lineage.h"
#include "time_rig.h"

#include <stdlib.h>
#include <string.h>

struct seen {
    unsigned kinds[16];
    struct store_event last; /* of the kind that is looked for */
    enum store_event_kind wanted;
    char note[300];
};

static enum mp_error see(void *context, const struct store_event *event)
{
    struct seen *seen = context;
    seen->kinds[event->kind]++;
    if (event->kind != seen->wanted)
        return MP_OK;
    seen->last = *event;
    assert_true(event->note_size <= sizeof seen->note);
    if (event->note_size > 0)
        memcpy(seen->note, event->note, event->note_size);
    return MP_OK;
}

static struct seen look(const struct time_rig *rig, enum store_event_kind wanted)
{
    struct seen seen = {.wanted = wanted};
    struct fault fault;
    assert_int_equal(store_each_event(rig->store, 0, see, &seen, &fault), MP_OK);
    return seen;
}

static int setup(void **state)
{
    struct time_rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    time_rig_begin(rig);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    time_rig_end(*state);
    free(*state);
    return 0;
}

static void a_publication_tells_what_it_was_made_of(void **state)
{
    struct time_rig *rig = *state;
    const struct rig_message messages[] = {
        {"one", {"id", "first", "partitionkey", "k", NULL}},
        {"two", {"causationid", "0000000000000005000000000000000a", NULL}},
    };
    time_rig_publish(rig, "t", "", 0, messages, 2, NULL);
    struct seen seen = look(rig, EVENT_PUBLISHED);
    assert_int_equal(seen.kinds[EVENT_PUBLISHED], 1);
    assert_int_equal(seen.last.count, 2);
    assert_int_equal(seen.last.session, rig->session);
    assert_int_equal(seen.last.request & 0xffffffff, rig->numbers[ENGINE_LANE_PUBLISH]);
    struct lineage lineage;
    assert_int_equal(lineage_open(&lineage, (const uint8_t *)seen.note, seen.last.note_size, 2), MP_OK);
    assert_int_equal(lineage.producer, rig->producer);
    struct lineage_value id = lineage_id(&lineage, 0), wanted = lineage_value_of(LINEAGE_ID, "first", 5);
    assert_int_equal(id.kind, LINEAGE_HASH);
    assert_int_equal(id.low, wanted.low);
    struct lineage_value cause = lineage_value(&lineage, LINEAGE_CAUSE, 1);
    assert_int_equal(cause.kind, LINEAGE_EXACT);
    assert_int_equal(cause.low, 10);

    time_rig_join(rig, "t", "g");
    time_rig_restart(rig); /* which takes no notice of it */
    time_rig_expect(rig, "t", "g", "one two ");
}

static void a_delayed_one_tells_when_it_was_taken(void **state)
{
    struct time_rig *rig = *state;
    time_rig_send(rig, "t", 5 * SECOND, "later", 1);
    assert_int_equal(look(rig, EVENT_PUBLISHED).kinds[EVENT_PUBLISHED], 0);
    time_rig_pass(rig, 6 * SECOND);
    time_rig_settle_down(rig);
    struct seen seen = look(rig, EVENT_PUBLISHED);
    assert_int_equal(seen.kinds[EVENT_PUBLISHED], 1);
    assert_int_equal(seen.last.time - seen.last.due, 6 * SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_publication_tells_what_it_was_made_of, setup, teardown),
        cmocka_unit_test_setup_teardown(a_delayed_one_tells_when_it_was_taken, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
