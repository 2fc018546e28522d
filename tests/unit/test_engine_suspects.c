/* Consumers that die: whom that is charged to. */
#include "engine_rig.h"

/* A topic t with 40 messages, of which a consumer held 32 when it died. */
static void make_suspects(struct rig *rig)
{
    rig_deal(rig, "t", 40, 32);
    rig_pass(rig, 11 * SECOND);
}

/* A fetch by SESSION, whose consumer dies of KILLER if it is among what it got, and does the rest. */
static unsigned consume(struct rig *rig, uint64_t session, const char *topic, uint64_t killer, unsigned *done)
{
    uint64_t count = rig_fetch(rig, session, topic, "g", 0);
    bool dies = false;
    for (size_t i = 0; i < rig->given.count; i++) {
        const struct engine_delivery *given = &rig->given.items[i];
        dies |= killer >= given->first && killer < given->first + given->count;
        if (killer != given->first || given->count > 1)
            assert_int_equal(given->attempt, 1); /* nobody else was ever charged */
    }
    if (!dies) {
        for (size_t i = 0; i < rig->given.count; i++)
            *done += rig_settle(rig, session, rig->given.items[i].first, rig->given.items[i].count, ENGINE_ACK);
        return 0;
    }
    rig_pass(rig, 11 * SECOND); /* its leases end */
    return count > 0;
}

static void a_killer_dies_and_its_neighbours_are_never_charged(void **state)
{
    struct rig *rig = *state;
    unsigned done = 0, deaths = 0;
    rig_configure(rig, "t", "g", "retry.max_retries", "2");
    rig_publish(rig, "t", 1000);
    for (unsigned i = 0; i < 500 && done < 999; i++)
        deaths += consume(rig, 2 + i % 3, "t", 637, &done);
    assert_int_equal(done, 999);
    while (consume(rig, 2, "t", 637, &done))
        deaths++;
    assert_int_equal(rig_read(rig, "t.dead"), 1);
    struct record record = rig_record(rig, 0);
    rig_assert_text(rig_attribute(&record, "deadoffset"), "637");
    rig_assert_text(rig_attribute(&record, "deadreason"), "retries");
    rig_assert_text(rig_attribute(&record, "deadattempts"), "3");
    /* 1000, 62 and 3 were suspected before it was alone; then three attempts. */
    assert_int_equal(deaths, 3 + 3);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 0);
}

static void suspects_are_alone(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "u", 5);
    make_suspects(rig);
    /* Who holds something gets none of them, nor what comes behind them. */
    assert_int_equal(rig_fetch(rig, 3, "u", "g", 1), 1);
    uint32_t of_u = rig->given.items[0].group;
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 0);
    /* Who holds nothing gets two: a sixteenth; and then nothing, from anywhere, not even after a restart. */
    assert_int_equal(rig_fetch(rig, 4, "t", "g", 0), 2);
    uint32_t of_t = rig->given.items[0].group;
    assert_int_equal(rig_fetch(rig, 4, "t", "g", 0), 0);
    rig_restart(rig);
    assert_int_equal(rig_fetch(rig, 4, "u", "g", 0), 0);
    /* Who waits is told when that has changed. */
    struct engine_subscription *subscription;
    while ((subscription = rig->engine->operations->next_ready(rig->engine)))
        ;
    subscription = rig_subscribe(rig, "u", "g", 4);
    subscription->waiters = rig;
    struct engine_settlement ack = {.group = of_t, .lease = 1, .first = 0, .count = 2, .action = ENGINE_ACK};
    assert_int_equal(rig_settle_as(rig, 4, ack), 2);
    assert_true(subscription->ready);
    subscription->waiters = NULL;
    assert_int_equal(rig_fetch(rig, 4, "u", "g", 0), 4);
    ack = (struct engine_settlement){.group = of_u, .lease = 1, .first = 0, .count = 1, .action = ENGINE_ACK};
    assert_int_equal(rig_settle_as(rig, 3, ack), 1);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 2);
}

/* One consumer stops to take them; those that are at work go on with the others. */
static void suspects_hold_up_one_consumer_alone(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "u", 5);
    make_suspects(rig);
    assert_int_equal(rig_fetch(rig, 3, "u", "g", 1), 1);
    uint32_t of_u = rig->given.items[0].group;
    assert_int_equal(rig_fetch(rig, 4, "u", "g", 1), 1);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 0); /* it is to take them */
    assert_int_equal(rig_fetch(rig, 4, "t", "g", 3), 3);
    assert_int_equal(rig->given.items[0].first, 32);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 0);
    assert_int_equal(rig_fetch(rig, 4, "t", "g", 0), 5);
    struct engine_settlement ack = {.group = of_u, .lease = 1, .first = 0, .count = 1, .action = ENGINE_ACK};
    assert_int_equal(rig_settle_as(rig, 3, ack), 1);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 2);
    assert_int_equal(rig->given.items[0].first, 0);
    assert_int_equal(rig_settle(rig, 3, 0, 2, ENGINE_ACK), 2);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 2);
}

/* Who asks for certain messages does not begin all that he gets: mretry moves letters, and dies of none. */
static void a_claim_takes_suspects_like_others(void **state)
{
    struct rig *rig = *state;
    make_suspects(rig);
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 2);
    rig_begin(rig);
    struct engine_subscription *subscription = rig_subscribe(rig, "t", "g", 3);
    struct engine_origin origin = {.session = 3, .number = 2, .lane = ENGINE_LANE_FETCH};
    struct engine_limits limits = {.bytes = 100000, .chunks = 100, .only_first = 10, .only_count = 25};
    engine_deliveries_clear(&rig->given);
    assert_int_equal(
        rig->engine->operations->grant(rig->engine, subscription, &origin, &limits, 1000, &rig->given, &rig->fault),
        MP_OK);
    assert_int_equal(rig->given.messages, 25);
    rig_commit(rig);
}

static void a_lone_message_is_charged_and_stays_alone(void **state)
{
    struct rig *rig = *state;
    rig_deal(rig, "t", 3, 1);
    rig_pass(rig, 11 * SECOND);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 1);
    assert_int_equal(rig->given.items[0].attempt, 2);
    assert_int_equal(rig->given.items[0].first, 0);
    /* When its consumer says what became of it, it is no suspect any more. */
    assert_int_equal(rig_settle(rig, 2, 0, 1, ENGINE_RETRY), 1);
    rig_pass(rig, SECOND);
    assert_int_equal(rig_fetch(rig, 2, "t", "g", 0), 3);
}

/* Leases of one session that end one after the other belong to one death. */
static void what_is_left_of_a_death_is_not_charged(void **state)
{
    struct rig *rig = *state;
    rig_publish(rig, "u", 1);
    rig_deal(rig, "t", 1, 1);
    rig_pass(rig, 5 * SECOND);
    assert_int_equal(rig_fetch(rig, 2, "u", "g", 0), 1);
    rig_pass(rig, 6 * SECOND); /* the first one's lease is over */
    rig_pass(rig, 5 * SECOND); /* and the other's */
    assert_int_equal(rig_fetch(rig, 3, "t", "g", 0), 1);
    assert_int_equal(rig->given.items[0].attempt, 1);
    assert_int_equal(rig_fetch(rig, 4, "u", "g", 0), 1);
    assert_int_equal(rig->given.items[0].attempt, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_killer_dies_and_its_neighbours_are_never_charged),
        TEST(suspects_are_alone),
        TEST(suspects_hold_up_one_consumer_alone),
        TEST(a_claim_takes_suspects_like_others),
        TEST(a_lone_message_is_charged_and_stays_alone),
        TEST(what_is_left_of_a_death_is_not_charged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
