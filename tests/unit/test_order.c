/* queue/order.h against plain arrays: random operations from a seed, the same on both. */
#include "queue/order.h"

#include "base/random.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

enum { MESSAGES = 400, KEYS = 9, SEEDS = 2000, STEPS = 500 };

struct message {
    uint64_t offset;
    uint64_t key;
    enum order_state state;
    bool taken; /* out of those that are found */
};

struct rig {
    uint64_t random;
    struct order order;
    struct message messages[MESSAGES];
    unsigned count;
    unsigned held[KEYS + 1];
    uint64_t next; /* offset */
};

static uint64_t below(struct rig *rig, uint64_t limit)
{
    return random_below(&rig->random, limit);
}

static bool may_go(const struct rig *rig, unsigned index)
{
    const struct message *message = &rig->messages[index];
    if (message->state != ORDER_WAITING)
        return false;
    if (message->key == ORDER_NO_KEY)
        return true;
    for (unsigned i = 0; i < rig->count; i++) {
        const struct message *other = &rig->messages[i];
        if (other->key != message->key)
            continue;
        if ((i < index && other->state != ORDER_SETTLED) || other->state == ORDER_LEASED)
            return false;
    }
    return rig->held[message->key] == 0;
}

static void compare(struct rig *rig)
{
    unsigned count = 0, waiting = 0;
    uint64_t lowest = UINT64_MAX, found = UINT64_MAX;
    for (unsigned i = 0; i < rig->count; i++) {
        const struct message *message = &rig->messages[i];
        bool may = may_go(rig, i);
        assert_int_equal(order_may_go(&rig->order, message->offset), may);
        count += message->state != ORDER_SETTLED;
        waiting += message->state == ORDER_WAITING;
        if (may && !message->taken && message->offset < lowest)
            lowest = message->offset;
        if (message->state != ORDER_SETTLED)
            assert_int_equal(order_key(&rig->order, message->offset), message->key);
    }
    assert_int_equal(rig->order.waiting, waiting);
    assert_true(order_count(&rig->order) >= count);
    if (order_first(&rig->order, &found))
        assert_int_equal(found, lowest);
    else
        assert_int_equal(lowest, UINT64_MAX);
}

/* What lets a message go that could not brings it back to be found. */
static void set_state(struct rig *rig, unsigned index, enum order_state state)
{
    bool could[MESSAGES];
    for (unsigned i = 0; i < rig->count; i++)
        could[i] = may_go(rig, i);
    if (rig->messages[index].state != state)
        rig->messages[index].state = state;
    for (unsigned i = 0; i < rig->count; i++)
        if (!could[i] && may_go(rig, i))
            rig->messages[i].taken = false;
}

static void step_add(struct rig *rig)
{
    if (rig->count == MESSAGES)
        return;
    struct message *message = &rig->messages[rig->count++];
    rig->next += 1 + (below(rig, 5) == 0 ? below(rig, 9000) : 0);
    *message = (struct message){.offset = rig->next,
                                .key = below(rig, KEYS + 1),
                                .state = below(rig, 4) == 0 ? (enum order_state)below(rig, 3) : ORDER_WAITING};
    assert_int_equal(order_add(&rig->order, message->offset, message->key, message->state), MP_OK);
}

static void step_change(struct rig *rig)
{
    if (rig->count == 0)
        return;
    unsigned index = (unsigned)below(rig, rig->count), count = below(rig, 4) == 0 ? 3 : 1;
    enum order_state state = (enum order_state)below(rig, 4);
    uint64_t first = rig->messages[index].offset;
    for (unsigned i = index; i < rig->count && rig->messages[i].offset < first + count; i++)
        if (rig->messages[i].state == ORDER_SETTLED && state != ORDER_SETTLED)
            return; /* nothing leads out of that */
    assert_int_equal(order_change(&rig->order, first, count, state), MP_OK);
    for (unsigned i = index; i < rig->count && rig->messages[i].offset < first + count; i++)
        set_state(rig, i, state);
}

/* Takes the first and leases it, puts it back, or forgets about it. */
static void step_take(struct rig *rig)
{
    uint64_t offset;
    if (!order_first(&rig->order, &offset))
        return;
    unsigned index = 0;
    while (rig->messages[index].offset != offset)
        index++;
    order_take(&rig->order);
    rig->messages[index].taken = true;
    if (below(rig, 2) == 0) {
        assert_int_equal(order_change(&rig->order, offset, 1, ORDER_LEASED), MP_OK);
        set_state(rig, index, ORDER_LEASED);
    } else {
        assert_int_equal(order_put_back(&rig->order, offset), MP_OK);
        rig->messages[index].taken = false;
    }
}

static void step_hold(struct rig *rig)
{
    uint64_t key = 1 + below(rig, KEYS);
    bool could[MESSAGES];
    if (below(rig, 2) == 0) {
        assert_int_equal(order_hold(&rig->order, key), MP_OK);
        rig->held[key]++;
        return;
    }
    for (unsigned i = 0; i < rig->count; i++)
        could[i] = may_go(rig, i);
    assert_int_equal(order_let_go(&rig->order, key), MP_OK);
    rig->held[key] -= rig->held[key] > 0;
    for (unsigned i = 0; i < rig->count; i++)
        if (!could[i] && may_go(rig, i))
            rig->messages[i].taken = false;
}

static void the_order_is_what_plain_arrays_say(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rig rig = {.random = seed, .next = seed % 7 * 4096};
        order_begin(&rig.order);
        for (unsigned i = 0; i < STEPS; i++) {
            uint64_t dice = below(&rig, 20);
            if (dice < 6)
                step_add(&rig);
            else if (dice < 13)
                step_change(&rig);
            else if (dice < 18)
                step_take(&rig);
            else
                step_hold(&rig);
            if (i % 16 == 0)
                compare(&rig);
        }
        compare(&rig);
        order_free(&rig.order);
    }
}

/* What is settled is forgotten, whatever came and went. */
static void memory_is_used_again(void **state)
{
    struct order order;
    (void)state;
    order_begin(&order);
    for (uint64_t offset = 0; offset < 300000; offset++) {
        uint64_t key = offset % 1000 + 1;
        assert_int_equal(order_add(&order, offset, key, ORDER_WAITING), MP_OK);
        if (offset >= 2000)
            assert_int_equal(order_change(&order, offset - 2000, 1, ORDER_SETTLED), MP_OK);
    }
    assert_int_equal(order_count(&order), 2000);
    assert_true(order.entries_capacity <= 4096 && order.by_offset.capacity <= 8192 && order.by_key.capacity <= 4096);
    assert_int_equal(order_change(&order, 0, 300000, ORDER_SETTLED), MP_OK);
    assert_int_equal(order_count(&order), 0);
    assert_int_equal(order.by_key.count, 0);
    order_free(&order);
}

/* A key that is blocked before a million others: what a step costs does not depend on them. */
static void a_blocked_key_costs_nothing(void **state)
{
    struct order order;
    uint64_t found;
    (void)state;
    order_begin(&order);
    assert_int_equal(order_add(&order, 0, 7, ORDER_LEASED), MP_OK);
    for (uint64_t offset = 1; offset < 1000000; offset++)
        assert_int_equal(order_add(&order, offset, 7, ORDER_WAITING), MP_OK);
    order.steps = 0;
    for (uint64_t offset = 1000000; offset < 1001000; offset++) {
        assert_false(order_first(&order, &found));
        assert_int_equal(order_add(&order, offset, 8 + offset, ORDER_WAITING), MP_OK);
        assert_true(order_first(&order, &found) && found == offset);
        order_take(&order);
        assert_int_equal(order_change(&order, offset, 1, ORDER_LEASED), MP_OK);
        assert_int_equal(order_change(&order, offset, 1, ORDER_SETTLED), MP_OK);
    }
    assert_true(order.steps <= 8 * 1000);
    assert_int_equal(order_change(&order, 0, 1, ORDER_SETTLED), MP_OK);
    assert_true(order_first(&order, &found) && found == 1);
    order_free(&order);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_is_what_plain_arrays_say),
        cmocka_unit_test(memory_is_used_again),
        cmocka_unit_test(a_blocked_key_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
