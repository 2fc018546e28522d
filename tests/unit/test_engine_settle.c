/* The settlements of one request: what of them becomes one event, and that they mean what they mean one by one. */
#include "engine_rig.h"

#include <stdio.h>

enum { MANY = 40 };

/* Settlements of SESSION in one request; what each applied to is in APPLIED. */
static void settle_all(struct rig *rig, uint64_t session, struct engine_settlement *settlements, unsigned count,
                       uint32_t *applied)
{
    struct engine_origin origin = {
        .session = session, .number = ++rig->numbers[session][ENGINE_LANE_SETTLE], .lane = ENGINE_LANE_SETTLE};
    rig_begin(rig);
    for (unsigned i = 0; i < count; i++) {
        struct engine_settlement *settlement = &settlements[i];
        settlement->group = rig->given.items[0].group;
        settlement->lease = rig->numbers[session][ENGINE_LANE_FETCH];
        settlement->more = i + 1 < count;
        if (rig->engine->operations->settle(rig->engine, &origin, settlement, &applied[i], &rig->fault))
            fail_msg("%s", fault_text(&rig->fault));
    }
    rig_commit(rig);
}

static struct engine_settlement range(uint64_t first, uint32_t span, enum engine_action action)
{
    return (struct engine_settlement){
        .first = first, .count = span, .action = action, .delay = ENGINE_DELAY_POLICY, .exit_code = -1};
}

static uint64_t events(struct rig *rig)
{
    uint64_t last;
    assert_int_equal(store_last_event(rig->store, &last, NULL), MP_OK);
    return last;
}

static void what_fails_here_and_there_is_one_event(void **state)
{
    struct rig *rig = *state;
    struct engine_settlement requests[MANY];
    uint32_t applied[MANY];
    char wanted[400] = "";
    rig_publish(rig, "t", MANY * 5);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), MANY * 5);
    uint64_t before = events(rig);
    /* Acknowledged, in order, and then those to be tried again: so a client sends them. */
    for (unsigned i = 0; i < MANY / 2; i++)
        requests[i] = range(i * 10, 9, ENGINE_ACK);
    for (unsigned i = 0; i < MANY / 2; i++)
        requests[MANY / 2 + i] = range(i * 10 + 9, 1, ENGINE_RETRY);
    settle_all(rig, 2, requests, MANY, applied);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(applied[i], i < MANY / 2 ? 9 : 1);
    assert_int_equal(events(rig), before + 2);
    for (unsigned i = 0; i < MANY / 2; i++)
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%u ", i * 10 + 9);
    rig_restart(rig);
    rig_pass(rig, SECOND);
    before = events(rig);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), MANY / 2);
    assert_string_equal(rig_offsets(rig), wanted);
    assert_int_equal(rig->given.items[0].attempt, 2);
    assert_int_equal(events(rig), before + 1);
}

static void one_behind_the_other_they_go_together_too(void **state)
{
    struct rig *rig = *state;
    struct engine_settlement requests[MANY];
    uint32_t applied[MANY];
    rig_publish(rig, "t", MANY);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), MANY);
    uint64_t before = events(rig);
    static const enum engine_action actions[] = {ENGINE_ACK, ENGINE_RETRY, ENGINE_RELEASE, ENGINE_DEAD};
    for (unsigned i = 0; i < MANY; i++)
        requests[i] = range(i, 1, actions[i % 4]);
    settle_all(rig, 2, requests, MANY, applied);
    assert_int_equal(events(rig), before + 5);                  /* and the letters were published */
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), MANY / 4); /* those that were released */
    assert_int_equal(rig_read(rig, "t.dead"), MANY / 4);
    rig_pass(rig, SECOND);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), MANY / 4);
}

static void more_fates_than_fit_together_come_true_as_well(void **state)
{
    struct rig *rig = *state;
    struct engine_settlement requests[MANY];
    uint32_t applied[MANY];
    rig_publish(rig, "t", MANY);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), MANY);
    for (unsigned i = 0; i < MANY; i++) {
        requests[i] = range(i, 1, ENGINE_RETRY);
        requests[i].delay = 1000 * (1 + i % 7);
    }
    settle_all(rig, 2, requests, MANY, applied);
    for (unsigned i = 0; i < 7; i++) {
        rig_pass(rig, SECOND);
        assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), MANY / 7 + (i < MANY % 7));
    }
}

static void nothing_is_settled_twice_by_a_request(void **state)
{
    struct rig *rig = *state;
    struct engine_settlement requests[] = {range(0, 5, ENGINE_ACK), range(3, 5, ENGINE_RETRY),
                                           range(9, 300, ENGINE_ACK), range(0, 10, ENGINE_RELEASE),
                                           range(0, 10, ENGINE_ACK)};
    uint32_t applied[5];
    rig_publish(rig, "t", 10);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 10);
    settle_all(rig, 2, requests, 5, applied);
    assert_true(applied[0] == 5 && applied[1] == 3 && applied[2] == 1 && applied[3] == 1 && applied[4] == 0);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 1);
    assert_string_equal(rig_offsets(rig), "8 ");
}

/* Further apart than the mask of an event reaches. */
static void what_lies_far_apart_is_settled_and_nothing_between(void **state)
{
    struct rig *rig = *state;
    enum { FRAME = 40000, LEFT = 2 * FRAME - 4 };
    struct engine_settlement requests[] = {range(7, 1, ENGINE_ACK), range(FRAME, 1, ENGINE_ACK),
                                           range(FRAME + 30000, 2, ENGINE_ACK)};
    uint32_t applied[3];
    rig_publish(rig, "t", FRAME);
    rig_publish(rig, "t", FRAME);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 2 * FRAME);
    settle_all(rig, 2, requests, 3, applied);
    assert_true(applied[0] == 1 && applied[1] == 1 && applied[2] == 2);
    assert_int_equal(rig_fetch_again(rig, 2, "t", "g"), LEFT);
    /* What is left of the lease at once, with gaps as they are: one event. */
    struct engine_settlement rest = range(0, 2 * FRAME, ENGINE_ACK);
    uint64_t before = events(rig);
    settle_all(rig, 2, &rest, 1, applied);
    assert_int_equal(applied[0], LEFT);
    assert_int_equal(events(rig), before + 1);
    rig_restart(rig);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 0);
}

struct notes {
    unsigned count;
    char texts[4][300];
    uint64_t firsts[4];
};

static enum mp_error see_note(void *context, const struct store_event *event)
{
    struct notes *notes = context;
    if (event->kind != EVENT_RETRIED)
        return MP_OK;
    assert_true(notes->count < 4 && event->note_size < sizeof notes->texts[0]);
    if (event->note_size > 0)
        memcpy(notes->texts[notes->count], event->note, event->note_size);
    notes->firsts[notes->count++] = event->first;
    return MP_OK;
}

/* What was said of one failure is not told of another, and no more than its tail is kept. */
static void a_failure_keeps_what_was_said_of_it(void **state)
{
    struct rig *rig = *state;
    struct engine_settlement requests[4];
    uint32_t applied[4];
    struct notes notes = {0};
    char many[1001];
    memset(many, 'x', 1000);
    memcpy(many + 990, "the end\r\n\n", 10);
    rig_publish(rig, "t", 4);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 4);
    for (unsigned i = 0; i < 4; i++)
        requests[i] = range(i, 1, ENGINE_RETRY);
    requests[0].note = requests[1].note = "no such host\n";
    requests[0].note_size = requests[1].note_size = 13;
    requests[3].note = many;
    requests[3].note_size = 1000;
    settle_all(rig, 2, requests, 4, applied);
    assert_int_equal(store_each_event(rig->store, 0, see_note, &notes, NULL), MP_OK);
    assert_int_equal(notes.count, 3);
    assert_string_equal(notes.texts[0], "no such host");
    assert_string_equal(notes.texts[1], "");
    assert_int_equal(notes.firsts[1], 2);
    assert_int_equal(strlen(notes.texts[2]), 256);
    assert_string_equal(notes.texts[2] + 249, "the end");
    rig_restart(rig);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_fails_here_and_there_is_one_event),
        TEST(one_behind_the_other_they_go_together_too),
        TEST(more_fates_than_fit_together_come_true_as_well),
        TEST(nothing_is_settled_twice_by_a_request),
        TEST(what_lies_far_apart_is_settled_and_nothing_between),
        TEST(a_failure_keeps_what_was_said_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
