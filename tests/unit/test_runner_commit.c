/* runner/commit.h: what is done, settled with what came of it, by a client on the fake relay. */
#include "base/bits.h"
#include "base/memory.h"
#include "client_actor.h"
#include "runner/commit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { HELD = 60 };

static struct fake_network *network;
static struct actor *actor;
static struct commit commit;
static struct stage_parcel *parcels[HELD];
static uint8_t masks[HELD][HELD / 8 + 1];
static uint32_t parcels_count;

static bool holds_all(struct actor *one)
{
    return one->pending_count == HELD || one->failure != MP_OK;
}

static bool all_stored(struct actor *one)
{
    return one->stored == one->total || one->failure != MP_OK;
}

static bool has_settled(struct actor *one)
{
    return !client_is_settling(one->client) && !one->committing;
}

/* A client that holds HELD messages, all by one lease. */
static int set_up(void **state)
{
    (void)state;
    network = fake_network_new(7);
    actor = actor_new(network);
    actor->total = HELD;
    assert_true(actors_live(&actor, 1, all_stored, 60 * SECOND));
    actor->lazy = true;
    actor_subscribe(actor, "g");
    assert_true(actors_live(&actor, 1, holds_all, 60 * SECOND));
    for (uint32_t i = 0; i < HELD; i++)
        network->messages[i].lease = network->messages[0].lease;
    commit = (struct commit){.exit_code = 3};
    parcels_count = 0;
    memset(masks, 0, sizeof masks);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    commit_free(&commit);
    for (uint32_t i = 0; i < parcels_count; i++)
        stage_parcel_free(parcels[i]);
    actor_free(actor);
    fake_network_free(network);
    return 0;
}

static const struct protocol_settlement *pending_at(uint64_t offset)
{
    uint32_t i = 0;
    while (i < HELD - 1 && actor->pending[i].first != offset)
        i++;
    assert_int_equal(actor->pending[i].first, offset);
    return &actor->pending[i];
}

/* A parcel of the messages at COUNT offsets from FIRST on, each STEP behind the one before; between are another lease's. */
static struct stage_parcel *parcel_of(uint64_t first, uint32_t count, uint32_t step)
{
    struct stage_parcel *parcel = parcels[parcels_count] = stage_parcel_new();
    assert_non_null(parcel);
    const struct protocol_settlement *lease = pending_at(0);
    parcel->first = first;
    parcel->count = count;
    parcel->span = (count - 1) * step + 1;
    parcel->group = lease->group;
    parcel->lease = lease->lease;
    parcel->at = UINT32_MAX;
    if (step > 1) {
        uint8_t *mask = masks[parcels_count];
        for (uint32_t i = 0; i < parcel->span; i++)
            if (i % step == 0)
                mask[i / 8] |= (uint8_t)(1u << (i % 8));
            else
                network->messages[first + i].lease++;
        parcel->mask = mask;
    }
    parcels_count++;
    return parcel;
}

static void add(struct stage_parcel *parcel, uint32_t index, uint32_t count)
{
    const struct part part = {parcel, index, count};
    assert_int_equal(commit_reserve(&commit, 1), MP_OK);
    commit_add(&commit, &part, 1);
}

/* Something comes of it: the message VALUE. */
static void put_out(uint32_t value)
{
    uint8_t body[4];
    store_u32(body, value);
    const struct format_item item = {.record = {.body = body, .size = sizeof body}, .topic = "t", .time = 1};
    assert_int_equal(outputs_add(&commit.outputs, 0, "out", &item, false), MP_OK);
}

static void send_it(bool answered)
{
    struct fault fault = {0};
    bool waits = !answered;
    assert_int_equal(commit_send(&commit, actor->client, &waits, &fault), MP_OK);
    assert_true(waits == answered);
    actor->committing = answered;
    actor->commit_count = (uint32_t)commit.messages;
    assert_true(actors_live(&actor, 1, has_settled, 60 * SECOND));
    assert_int_equal(actor->failure, MP_OK);
}

/* Exactly the messages whose offsets WANTED says are settled. */
static void expect_acked(bool (*wanted)(uint32_t offset))
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < HELD; i++) {
        bool acked = network->messages[i].state == FAKE_ACKED;
        assert_true(acked == wanted(i));
        count += acked;
    }
    assert_int_equal(network->acked, count);
    assert_int_equal(actor->stale, 0);
}

static bool below_ten(uint32_t offset)
{
    return offset < 10;
}

static bool even_below_twenty(uint32_t offset)
{
    return offset % 2 == 0 && offset < 20;
}

static bool some(uint32_t offset)
{
    return (offset >= 2 && offset < 5) || offset == 8 || (offset >= 20 && offset < 26 && offset % 2 == 0);
}

/* ---- tests ---------------------------------------------------------------------------------------------------- */

static void neighbours_become_one_part(void **state)
{
    (void)state;
    struct stage_parcel *one = parcel_of(0, 10, 1), *other = parcel_of(10, 10, 1);
    assert_true(commit_is_empty(&commit));
    add(one, 0, 1);
    add(one, 1, 3);
    add(one, 5, 1); /* one is left out */
    add(other, 6, 2);
    add(one, 6, 1);
    assert_false(commit_is_empty(&commit));
    assert_int_equal(commit.count, 4);
    assert_int_equal(commit.parts[0].count, 4);
    assert_int_equal(commit.tasks, 5);
    assert_int_equal(commit.messages, 8);
    commit_clear(&commit, false);
    assert_true(commit_is_empty(&commit));
    assert_int_equal(commit.messages + commit.tasks, 0);
    assert_non_null(commit.parts);
    commit_clear(&commit, true);
    assert_null(commit.parts);
}

static void what_nothing_came_of_is_acknowledged_at_once(void **state)
{
    (void)state;
    struct stage_parcel *parcel = parcel_of(0, 10, 1);
    add(parcel, 5, 5);
    add(parcel, 0, 5);
    send_it(false);
    expect_acked(below_ten);
    assert_int_equal(network->commits, 0);
    assert_int_equal(network->last.exit_code, 3);
}

static void outputs_are_stored_with_the_settlement(void **state)
{
    (void)state;
    struct stage_parcel *parcel = parcel_of(0, 10, 1);
    for (uint32_t i = 0; i < 10; i++) {
        add(parcel, 9 - i, 1); /* in any order */
        put_out(i);
    }
    send_it(true);
    expect_acked(below_ten);
    assert_int_equal(network->commits, 1);
    assert_int_equal(network->settlements, 1); /* one range */
    assert_int_equal(actor->committed, 10);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(network->outputs[i], 1);
}

static void what_lies_between_is_left_alone(void **state)
{
    (void)state;
    struct stage_parcel *parcel = parcel_of(0, 10, 2);
    add(parcel, 0, 4);
    add(parcel, 4, 6);
    put_out(1);
    send_it(true);
    expect_acked(even_below_twenty);
}

static void parts_of_many_parcels_go_together(void **state)
{
    (void)state;
    struct stage_parcel *whole = parcel_of(0, 20, 1), *gaps = parcel_of(20, 10, 2);
    add(gaps, 2, 1);
    add(whole, 8, 1);
    add(gaps, 0, 2);
    add(whole, 2, 3);
    put_out(1);
    put_out(2);
    send_it(true);
    expect_acked(some);
    assert_int_equal(network->commits, 1);
}

static void a_part_is_settled_in_another_way(void **state)
{
    (void)state;
    struct stage_parcel *parcel = parcel_of(0, 10, 2);
    const struct part part = {parcel, 1, 3};
    const struct protocol_settlement how = {
        .action = PROTOCOL_DEAD, .reason = PROTOCOL_REASON_REJECTED, .exit_code = 65, .note = "why", .note_size = 3};
    assert_int_equal(part_settle(&part, actor->client, &how), MP_OK);
    assert_true(actors_live(&actor, 1, has_settled, 60 * SECOND));
    assert_int_equal(network->last.action, PROTOCOL_DEAD);
    assert_int_equal(network->last.exit_code, 65);
    assert_int_equal(network->last.first, 2);
    assert_int_equal(network->last.count, 3);
    assert_string_equal(network->note, "why");
}

static void without_memory_nothing_is_settled(void **state)
{
    (void)state;
    struct stage_parcel *parcel = parcel_of(0, 10, 2);
    enum mp_error error = MP_ERR_MEMORY;
    unsigned long nth = 0;
    bool answered = false;
    add(parcel, 0, 10);
    put_out(1);
    while (error == MP_ERR_MEMORY) {
        struct fault fault = {0};
        assert_int_equal(network->acked, 0);
        memory_fail(++nth);
        error = commit_send(&commit, actor->client, &answered, &fault);
        memory_fail(0);
    }
    assert_int_equal(error, MP_OK);
    assert_true(nth > 2);
    actor->committing = true;
    actor->commit_count = 10;
    assert_true(actors_live(&actor, 1, has_settled, 60 * SECOND));
    expect_acked(even_below_twenty);
}

int main(void)
{
#define commit_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        commit_test(neighbours_become_one_part),
        commit_test(what_nothing_came_of_is_acknowledged_at_once),
        commit_test(outputs_are_stored_with_the_settlement),
        commit_test(what_lies_between_is_left_alone),
        commit_test(parts_of_many_parcels_go_together),
        commit_test(a_part_is_settled_in_another_way),
        commit_test(without_memory_nothing_is_settled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
