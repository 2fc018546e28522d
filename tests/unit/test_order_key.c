/* A group with `order: key`: random turns from a seed, and after each the promise: one message a key in flight. */
#include "engine_rig.h"

#include "base/random.h"
#include "queue/local.h"

#include <stdio.h>
#include <stdlib.h>

enum { SEEDS = 150, STEPS = 150, SESSIONS = 5, MESSAGES_MAX = 4000 };

static const char topic[] = "t", group[] = "g";

struct run {
    struct rig *rig;
    uint64_t random;
    char keys[MESSAGES_MAX]; /* by offset */
    bool settled[MESSAGES_MAX];
    uint64_t end;
    unsigned letters; /* keys in use */
};

static uint64_t below(struct run *run, uint64_t limit)
{
    return random_below(&run->random, limit);
}

static struct group *group_of(const struct rig *rig)
{
    struct local *local = local_of(rig->engine);
    size_t at = 0;
    struct group *found;
    while ((found = map_next(&local->groups, &at)))
        if (strcmp(found->name, group) == 0)
            return found;
    return NULL;
}

/* Of each key one message at most is leased or delayed, and it is the first that is not settled. */
static void check(struct run *run)
{
    const struct group *ordered = group_of(run->rig);
    bool open[256] = {false};
    struct state_run state;
    for (uint64_t offset = 0; offset < run->end; offset++) {
        bool known = states_get(&ordered->states, offset, &state);
        bool settled = offset < ordered->states.floor || (known && state_is_settled(state.value.state));
        assert_true(settled || !run->settled[offset]); /* nothing leads out of that */
        run->settled[offset] = settled;
        unsigned char key = (unsigned char)run->keys[offset];
        if (settled || key == '-')
            continue;
        if (known && (state.value.state == STATE_LEASED || state.value.state == STATE_DELAYED) && open[key])
            fail_msg("offset %llu of key %c is in flight behind another", (unsigned long long)offset, key);
        open[key] = true;
    }
}

static void step_publish(struct run *run)
{
    char keys[64];
    unsigned count = 1 + (unsigned)below(run, sizeof keys - 1);
    if (run->end + count > MESSAGES_MAX)
        return;
    for (unsigned i = 0; i < count; i++)
        keys[i] = below(run, 8) == 0 ? '-' : (char)('a' + below(run, run->letters));
    keys[count] = '\0';
    memcpy(run->keys + run->end, keys, count);
    assert_int_equal(rig_publish_keys(run->rig, topic, "", keys), run->end);
    run->end += count;
}

static void step_fetch(struct run *run)
{
    struct rig *rig = run->rig;
    rig->limits.bytes = below(run, 3) == 0 ? 200 : 1 << 20;
    rig->limits.sets = below(run, 4) > 0;
    if (below(run, 8) == 0) {
        rig->limits.only_first = below(run, run->end + 1);
        rig->limits.only_count = 1 + below(run, 50);
    }
    rig_fetch(rig, 2 + below(run, SESSIONS), topic, group, below(run, 3) == 0 ? 1 + (uint32_t)below(run, 5) : 0);
    rig->limits.only_first = rig->limits.only_count = 0;
    for (size_t i = 1; i < rig->given.count; i++)
        assert_true(rig->given.items[i].first >= rig->given.items[i - 1].first + rig->given.items[i - 1].span);
}

/* Settles a span of what a lease of a session holds. */
static void step_settle(struct run *run)
{
    struct local *local = local_of(run->rig->engine);
    uint64_t session = 2 + below(run, SESSIONS);
    const struct holder *holder = map_get(&local->holders, &session, sizeof session);
    if (!holder)
        return;
    const struct lease *lease = holder->leases;
    uint64_t first = lease->first + below(run, lease->end - lease->first);
    struct engine_settlement settlement = {.group = group_of(run->rig)->id,
                                           .lease = lease->key.number,
                                           .first = first,
                                           .count = 1,
                                           .span = 1 + (uint32_t)below(run, lease->end - first),
                                           .action = (enum engine_action)(1 + below(run, 4)),
                                           .delay = (uint32_t)below(run, 3) * 500,
                                           .exit_code = 1};
    rig_settle_as(run->rig, session, settlement);
}

static void step(struct run *run)
{
    switch (below(run, 12)) {
    case 0:
    case 1:
        step_publish(run);
        break;
    case 2:
    case 3:
    case 4:
        step_fetch(run);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        step_settle(run);
        break;
    case 9:
        rig_pass(run->rig, (int64_t)below(run, 10) == 0 ? 11 * SECOND : SECOND / 4);
        break;
    case 10:
        rig_release(run->rig, 2 + below(run, SESSIONS));
        break;
    default:
        if (below(run, 2) == 0) {
            rig_restart(run->rig);
        } else {
            bool settled[MESSAGES_MAX];
            memcpy(settled, run->settled, sizeof settled);
            rig_begin(run->rig);
            step_fetch(run);
            step_settle(run);
            if (run->rig->engine->operations->changed(run->rig->engine))
                rig_undo(run->rig);
            else
                rig_commit(run->rig);
            memcpy(run->settled, settled, sizeof settled);
        }
        break;
    }
}

/* Everything gets done: each key in the order in which it was published. */
static void finish(struct run *run)
{
    struct rig *rig = run->rig;
    uint64_t last[256] = {0};
    rig->limits = (struct engine_limits){.bytes = 1 << 20, .chunks = 1000, .sets = true};
    for (unsigned idle = 0; idle < 3;) {
        rig_pass(rig, 61 * SECOND);
        rig_fetch(rig, 9, topic, group, 0);
        idle = rig->given.messages == 0 ? idle + 1 : 0;
        for (size_t i = 0; i < rig->given.count; i++) {
            const struct engine_delivery *given = &rig->given.items[i];
            for (uint32_t at = 0; at < given->span; at++) {
                uint64_t offset = given->first + at;
                unsigned char key = (unsigned char)run->keys[offset];
                if (given->mask && !bits_get(given->mask, at))
                    continue;
                assert_true(key == '-' || last[key] <= offset);
                last[key] = offset;
            }
            assert_int_equal(rig_settle_as(rig, 9,
                                           (struct engine_settlement){.group = given->group,
                                                                      .first = given->first,
                                                                      .count = given->count,
                                                                      .span = given->span,
                                                                      .action = ENGINE_ACK}),
                             given->count);
        }
        check(run);
    }
    assert_int_equal(group_of(rig)->states.floor, run->end);
}

static void one_message_a_key_is_in_flight(void **state)
{
    struct rig *rig = *state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        void *fresh = NULL;
        rig_set_up(&fresh);
        struct run *run = calloc(1, sizeof *run);
        assert_non_null(run);
        *run = (struct run){.rig = fresh, .random = seed, .letters = 1 + (unsigned)seed % 20};
        rig_configure(fresh, topic, group, "order", "key");
        for (unsigned i = 0; i < STEPS; i++) {
            step(run);
            check(run);
        }
        finish(run);
        free(run);
        rig_tear_down(&fresh);
    }
    (void)rig;
}

static void other_keys_go_on(void **state)
{
    struct rig *rig = *state;
    rig_configure(rig, topic, group, "order", "key");
    rig_publish_keys(rig, topic, "", "aab-ab");
    rig_fetch(rig, 2, topic, group, 0);
    assert_string_equal(rig_offsets(rig), "0 2 3 ");
    assert_int_equal(rig->given.count, 1);
    /* A retry keeps its key, and lets it go when it was done. */
    rig_settle_as(
        rig, 2,
        (struct engine_settlement){.first = 0, .count = 1, .action = ENGINE_RETRY, .delay = 5000, .exit_code = 1});
    rig_settle_as(rig, 2, (struct engine_settlement){.first = 2, .count = 1, .action = ENGINE_ACK});
    rig_fetch(rig, 3, topic, group, 0);
    assert_string_equal(rig_offsets(rig), "5 ");
    rig_restart(rig);
    rig_fetch(rig, 4, topic, group, 0);
    assert_string_equal(rig_offsets(rig), "");
    rig_pass(rig, 6 * SECOND);
    rig_fetch(rig, 4, topic, group, 0);
    assert_string_equal(rig_offsets(rig), "0 ");
    rig_settle_as(rig, 4, (struct engine_settlement){.first = 0, .count = 1, .action = ENGINE_ACK});
    rig_fetch(rig, 4, topic, group, 0);
    assert_string_equal(rig_offsets(rig), "1 ");
}

/* A key that is blocked before 300,000 of its kind stops nobody, and a fetch behind them is found in a few turns. */
static void a_hot_key_blocks_nobody(void **state)
{
    struct rig *rig = *state;
    static char hot[5001];
    rig_configure(rig, topic, group, "order", "key");
    memset(hot, 'h', sizeof hot - 1);
    for (unsigned i = 0; i < 60; i++)
        rig_publish_keys(rig, topic, "", hot);
    rig_publish_keys(rig, topic, "", "xy");
    rig_fetch(rig, 2, topic, group, 1);
    assert_string_equal(rig_offsets(rig), "0 ");
    unsigned turns = 0;
    while (rig_fetch(rig, 3, topic, group, 0) == 0 && ++turns < 20)
        rig_pass(rig, 1000);
    assert_string_equal(rig_offsets(rig), "300000 300001 ");
    assert_in_range(turns, 1, 10);
    rig_settle_as(rig, 3, (struct engine_settlement){.first = 300000, .count = 2, .action = ENGINE_ACK});
    assert_int_equal(rig_fetch(rig, 3, topic, group, 0), 0);
    rig_publish_keys(rig, topic, "", "zh");
    assert_int_equal(rig_fetch(rig, 3, topic, group, 0), 1);
    assert_int_equal(rig->given.items[0].first, 300002);
}

/* What was in flight when the order was asked for is waited for. */
static void turning_it_on_waits_for_what_is_in_flight(void **state)
{
    struct rig *rig = *state;
    rig_publish_keys(rig, topic, "", "aaab");
    rig_fetch(rig, 2, topic, group, 0);
    rig_settle_as(
        rig, 2, (struct engine_settlement){.first = 0, .count = 1, .action = ENGINE_RETRY, .delay = 0, .exit_code = 1});
    rig_configure(rig, topic, group, "order", "key");
    assert_int_equal(rig_fetch(rig, 3, topic, group, 0), 0);
    rig_settle_as(rig, 2, (struct engine_settlement){.group = 1, .first = 1, .count = 2, .action = ENGINE_ACK});
    rig_fetch(rig, 3, topic, group, 0);
    assert_string_equal(rig_offsets(rig), "0 ");
    rig_publish_keys(rig, topic, "", "aa");
    rig_configure(rig, topic, group, "order", "none");
    rig_fetch(rig, 3, topic, group, 0);
    assert_string_equal(rig_offsets(rig), "4 5 ");
}

/* The offsets of topic t that are given to SESSION now. */
static const char *fetch(struct rig *rig, uint64_t session)
{
    rig_fetch(rig, session, topic, group, 0);
    return rig_offsets(rig);
}

static void die(struct rig *rig, uint64_t session, uint64_t first)
{
    assert_int_equal(rig_settle_as(rig, session,
                                   (struct engine_settlement){
                                       .group = 1, .first = first, .count = 1, .action = ENGINE_DEAD, .exit_code = 65}),
                     1);
}

static void a_dead_message_frees_its_key(void **state)
{
    struct rig *rig = *state;
    rig_configure(rig, topic, group, "order", "key");
    rig_publish_keys(rig, topic, "", "aab");
    assert_string_equal(fetch(rig, 2), "0 2 ");
    die(rig, 2, 0);
    assert_string_equal(fetch(rig, 3), "1 ");
}

static void or_holds_it_until_its_letter_is_settled(void **state)
{
    struct rig *rig = *state;
    rig_configure(rig, topic, group, "order", "key");
    rig_configure(rig, topic, group, "on_dead", "hold");
    rig_publish_keys(rig, topic, "", "aabba-");
    assert_string_equal(fetch(rig, 2), "0 2 5 ");
    die(rig, 2, 0);
    die(rig, 2, 5); /* without a key it holds nothing */
    assert_string_equal(fetch(rig, 3), "");
    /* Other keys go on, and new messages of this one wait too; a restart changes nothing. */
    rig_publish_keys(rig, topic, "", "ac");
    assert_string_equal(fetch(rig, 3), "7 ");
    rig_restart(rig);
    assert_string_equal(fetch(rig, 4), "");
    assert_int_equal(
        rig_settle_as(rig, 2, (struct engine_settlement){.group = 1, .first = 2, .count = 1, .action = ENGINE_ACK}), 1);
    assert_string_equal(fetch(rig, 4), "3 ");
    /* The letter is with somebody, given back, and settled at last. */
    assert_int_equal(rig_fetch(rig, 5, "t.dead", "mretry", 0), 2);
    uint32_t letters = rig->given.items[0].group;
    assert_string_equal(fetch(rig, 6), "");
    rig_settle_as(rig, 5,
                  (struct engine_settlement){.group = letters, .first = 0, .count = 2, .action = ENGINE_RELEASE});
    assert_string_equal(fetch(rig, 6), "");
    assert_int_equal(rig_fetch(rig, 5, "t.dead", "mretry", 0), 2);
    rig_begin(rig);
    rig_settle_as(rig, 5, (struct engine_settlement){.group = letters, .first = 0, .count = 2, .action = ENGINE_ACK});
    rig_undo(rig);
    assert_string_equal(fetch(rig, 6), "");
    while (rig->engine->operations->next_ready(rig->engine)) {
    }
    assert_int_equal(
        rig_settle_as(rig, 5,
                      (struct engine_settlement){.group = letters, .first = 0, .count = 2, .action = ENGINE_ACK}),
        2);
    assert_non_null(rig->engine->operations->next_ready(rig->engine)); /* who waits is asked again */
    assert_string_equal(fetch(rig, 6), "1 ");
    /* Two that died in a row hold it both; with another setting nothing is held. */
    die(rig, 6, 1);
    assert_string_equal(fetch(rig, 7), "");
    rig_configure(rig, topic, group, "on_dead", "continue");
    assert_string_equal(fetch(rig, 7), "4 ");
    rig_configure(rig, topic, group, "on_dead", "hold");
    assert_int_equal(
        rig_settle_as(rig, 7, (struct engine_settlement){.group = 1, .first = 4, .count = 1, .action = ENGINE_RELEASE}),
        1);
    assert_string_equal(fetch(rig, 8), "");
    assert_int_equal(rig_fetch(rig, 5, "t.dead", "mretry", 0), 1);
    rig_settle_as(rig, 5, (struct engine_settlement){.group = letters, .first = 2, .count = 1, .action = ENGINE_ACK});
    assert_string_equal(fetch(rig, 8), "4 ");
}

static void a_letter_that_went_elsewhere_frees_no_key(void **state)
{
    struct rig *rig = *state;
    rig_configure(rig, topic, group, "order", "key");
    rig_configure(rig, topic, group, "on_dead", "hold");
    rig_publish_keys(rig, topic, "", "aaa");
    assert_string_equal(fetch(rig, 2), "0 ");
    die(rig, 2, 0);
    rig_configure(rig, topic, group, "dead_letter", "elsewhere"); /* nothing there holds anything yet */
    assert_string_equal(fetch(rig, 3), "1 ");
    die(rig, 3, 1);
    assert_string_equal(fetch(rig, 4), "");
    assert_int_equal(rig_fetch(rig, 5, "t.dead", "mretry", 0), 1);
    uint32_t letters = rig->given.items[0].group;
    rig_settle_as(rig, 5, (struct engine_settlement){.group = letters, .first = 0, .count = 1, .action = ENGINE_ACK});
    assert_string_equal(fetch(rig, 4), "");
    assert_int_equal(rig_fetch(rig, 5, "elsewhere", "mretry", 0), 1);
    letters = rig->given.items[0].group;
    rig_settle_as(rig, 5, (struct engine_settlement){.group = letters, .first = 0, .count = 1, .action = ENGINE_ACK});
    assert_string_equal(fetch(rig, 4), "2 ");
}

/* A grant looks at 16 frames: what was in flight before there was an order may be behind them. */
static void what_dies_before_it_was_looked_at_holds_its_key(void **state)
{
    struct rig *rig = *state;
    char key[2] = "a";
    for (; key[0] < 'a' + 20; key[0]++)
        rig_publish_keys(rig, topic, "", key);
    assert_int_equal(rig_fetch(rig, 2, topic, group, 0), 20);
    rig_publish_keys(rig, topic, "", "t"); /* as the last of them */
    rig_configure(rig, topic, group, "order", "key");
    rig_configure(rig, topic, group, "on_dead", "hold");
    assert_string_equal(fetch(rig, 3), "");
    die(rig, 2, 19);
    assert_string_equal(fetch(rig, 3), "");
    assert_string_equal(fetch(rig, 3), "");
    rig_configure(rig, topic, group, "on_dead", "continue");
    fetch(rig, 3);
    assert_string_equal(fetch(rig, 3), "20 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_message_a_key_is_in_flight, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_dead_message_frees_its_key, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(or_holds_it_until_its_letter_is_settled, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_letter_that_went_elsewhere_frees_no_key, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_dies_before_it_was_looked_at_holds_its_key, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(other_keys_go_on, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_hot_key_blocks_nobody, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(turning_it_on_waits_for_what_is_in_flight, rig_set_up, rig_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
