/* queue/states.h against a plain array: random operations from a seed, the same on both, compared after each. */
#include "queue/states.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { SPAN = 5 * STATES_BLOCK, SEEDS = 3000, STEPS = 60, ROWS_MAX = 16 };

struct model {
    uint64_t start, floor, frontier;
    struct state_value values[SPAN]; /* from START on */
    uint64_t totals[STATE_COUNT];
};

struct row {
    uint32_t block;
    uint8_t *data;
    size_t size;
};

struct rig {
    uint64_t random;
    struct moment now;
    struct states states;
    struct model model;
    uint64_t heard;            /* messages that were told to be woken */
    struct row rows[ROWS_MAX]; /* what was saved: the store */
    unsigned rows_count;
    uint64_t saved_floor, saved_frontier, saved_totals[STATE_COUNT];
};

static uint64_t next_random(struct rig *rig)
{
    return random_next(&rig->random);
}

static uint64_t below(struct rig *rig, uint64_t limit)
{
    return next_random(rig) % limit;
}

static struct state_value *model_at(struct model *model, uint64_t offset)
{
    return &model->values[offset - model->start];
}

static void model_set(struct model *model, uint64_t first, uint32_t count, const struct state_value *value)
{
    for (uint64_t offset = first; offset < first + count; offset++)
        *model_at(model, offset) = *value;
    if (first + count > model->frontier)
        model->frontier = first + count;
    for (; model->floor < model->frontier && state_is_settled(model_at(model, model->floor)->state); model->floor++)
        model->totals[model_at(model, model->floor)->state]++;
}

static bool same(const struct state_value *one, const struct state_value *other)
{
    if (one->state != other->state || state_is_settled(one->state))
        return one->state == other->state;
    return one->attempt == other->attempt && one->suspect == other->suspect && one->failed == other->failed &&
           (one->state != STATE_DELAYED || one->due == other->due) &&
           (one->state != STATE_LEASED || (one->session == other->session && one->lease == other->lease));
}

static void compare(struct rig *rig)
{
    struct model *model = &rig->model;
    struct states *states = &rig->states;
    uint64_t counts[STATE_COUNT] = {0}, found[STATE_COUNT] = {0};
    struct state_run run;
    struct fault fault = {0};
    assert_int_equal(states_check(states, &fault), MP_OK);
    assert_int_equal(states->floor, model->floor);
    assert_int_equal(states->frontier, model->frontier);
    for (uint64_t offset = model->floor; offset < model->frontier; offset += run.count) {
        assert_true(states_get(states, offset, &run));
        assert_true(run.first == offset && run.count > 0);
        for (uint64_t i = offset; i < offset + run.count; i++)
            assert_true(same(&run.value, model_at(model, i)));
        counts[run.value.state] += run.count;
    }
    assert_false(states_get(states, model->frontier, &run));
    assert_true(model->floor == 0 || !states_get(states, model->floor - 1, &run));
    for (unsigned state = 0; state < STATE_COUNT; state++) {
        assert_int_equal(states->counts[state], counts[state]);
        assert_int_equal(states->totals[state], model->totals[state]);
        uint64_t offset = model->floor;
        for (; states_find(states, (enum state)state, offset, &run); offset = run.first + run.count) {
            assert_true(run.first >= offset && run.value.state == (enum state)state);
            for (uint64_t i = offset; i < run.first; i++)
                assert_true(model_at(model, i)->state != (enum state)state);
            found[state] += run.count;
        }
        assert_int_equal(found[state], counts[state]);
    }
}

static struct state_value any_value(struct rig *rig)
{
    struct state_value value = {.state = (enum state)below(rig, STATE_COUNT), .attempt = (uint32_t)below(rig, 3)};
    if (value.state == STATE_DELAYED)
        value.due = rig->now.monotonic + (int64_t)below(rig, 1000);
    if (value.state == STATE_LEASED) {
        value.session = 1 + below(rig, 2);
        value.lease = 1 + below(rig, 2);
    }
    if (below(rig, 4) == 0)
        value.suspect = 1 + (uint32_t)below(rig, 2);
    if (below(rig, 4) == 0)
        value.failed = 1 + (int64_t)below(rig, 2);
    return value;
}

/* A range, mostly a short one, that begins between floor and frontier or at most GAP behind that. */
static void any_range(struct rig *rig, uint64_t gap, uint64_t *first, uint32_t *count)
{
    const struct model *model = &rig->model;
    uint64_t last = model->start + SPAN;
    *first = model->frontier + (gap ? below(rig, gap) : 0);
    if (below(rig, 3) > 0 && model->frontier > model->floor)
        *first = model->floor + below(rig, model->frontier - model->floor);
    if (*first > last)
        *first = last;
    uint64_t most = below(rig, 10) == 0 ? 2 * STATES_BLOCK : 40;
    *count = 1 + (uint32_t)below(rig, most);
    if (*first + *count > last)
        *count = (uint32_t)(last - *first);
}

static void step_set(struct rig *rig)
{
    struct model *model = &rig->model;
    struct state_value value = any_value(rig);
    uint64_t first;
    uint32_t count;
    any_range(rig, 0, &first, &count);
    assert_int_equal(states_set(&rig->states, first, count, &value), MP_OK);
    if (count > 0)
        model_set(model, first, count, &value);
}

static void model_reach(struct model *model, uint64_t offset)
{
    static const struct state_value waiting = {.state = STATE_WAITING};
    if (offset > model->frontier)
        model_set(model, model->frontier, (uint32_t)(offset - model->frontier), &waiting);
}

/* Dense, full or thin; for the longest range. */
static const uint8_t *any_mask(struct rig *rig)
{
    static uint8_t mask[2 * STATES_BLOCK / 8 + 1];
    uint64_t dice = below(rig, 3);
    for (uint32_t at = 0; at < sizeof mask; at++)
        mask[at] = (uint8_t)(dice == 0 ? next_random(rig) : dice == 1 ? 0xff : UINT64_C(1) << below(rig, 20));
    return mask;
}

static void step_mask(struct rig *rig)
{
    struct state_value value = any_value(rig);
    uint64_t first;
    uint32_t span;
    any_range(rig, 100, &first, &span);
    const uint8_t *mask = any_mask(rig);
    assert_int_equal(states_set_mask(&rig->states, first, span, mask, &value), MP_OK);
    model_reach(&rig->model, first + span);
    for (uint32_t i = 0; i < span; i++)
        if (mask[i / 8] >> i % 8 & 1)
            *model_at(&rig->model, first + i) = value;
    model_set(&rig->model, first, 0, &value); /* the floor moves */
}

/* What one lease holds becomes something else, which depends on what it was. */
struct becoming {
    struct rig *rig;
    struct state_value value;
    uint64_t heard; /* messages */
};

static struct state_value become(void *context, const struct state_run *run)
{
    struct becoming *becoming = context;
    struct state_value value = becoming->value;
    value.attempt = run->value.attempt + 1;
    for (uint64_t offset = run->first; offset < run->first + run->count; offset++)
        assert_true(same(&run->value, model_at(&becoming->rig->model, offset)));
    becoming->heard += run->count;
    return value;
}

static void step_change(struct rig *rig)
{
    struct model *model = &rig->model;
    struct becoming becoming = {.rig = rig, .value = any_value(rig)};
    struct states_change change = {.session = 1 + below(rig, 2),
                                   .lease = 1 + below(rig, 2),
                                   .from = (unsigned)below(rig, 1 << STATE_ACKED),
                                   .become = become,
                                   .context = &becoming};
    uint64_t first, expected = 0;
    uint32_t span, changed;
    any_range(rig, 100, &first, &span);
    if (below(rig, 3) == 0)
        change.mask = any_mask(rig);
    if (below(rig, 2) == 0 && first - model->start > 50)
        first -= 50;
    assert_int_equal(states_change(&rig->states, first, span, &change, &changed), MP_OK);
    for (uint64_t offset = first; offset < first + span; offset++) {
        struct state_value *value = model_at(model, offset);
        if (offset < model->floor || offset >= model->frontier || !(change.from >> value->state & 1) ||
            (value->state == STATE_LEASED && (value->session != change.session || value->lease != change.lease)) ||
            (change.mask && !bits_get(change.mask, offset - first)))
            continue;
        uint32_t attempt = value->attempt + 1;
        *value = becoming.value;
        value->attempt = attempt;
        expected++;
    }
    model_set(model, model->start, 0, &becoming.value);
    assert_int_equal(changed, expected);
    assert_int_equal(becoming.heard, expected);
}

static void count_woken(void *context, uint64_t first, uint32_t count)
{
    struct rig *rig = context;
    for (uint64_t offset = first; offset < first + count; offset++)
        assert_int_equal(model_at(&rig->model, offset)->state, STATE_WAITING);
    rig->heard += count;
}

static void step_wake(struct rig *rig)
{
    uint64_t woken = 0;
    int64_t passed = (int64_t)below(rig, 700);
    rig->now.monotonic += passed;
    rig->now.wall += passed;
    int64_t due = CLOCK_NEVER;
    for (uint64_t offset = rig->model.floor; offset < rig->model.frontier; offset++) {
        const struct state_value *value = model_at(&rig->model, offset);
        if (value->state == STATE_DELAYED && value->due < due)
            due = value->due;
    }
    assert_true(states_due(&rig->states) <= due); /* it may be early, never late */
    for (uint64_t offset = rig->model.floor; offset < rig->model.frontier; offset++) {
        struct state_value *value = model_at(&rig->model, offset);
        if (value->state != STATE_DELAYED || value->due > rig->now.monotonic)
            continue;
        value->state = STATE_WAITING;
        woken++;
    }
    rig->heard = 0;
    assert_int_equal(states_wake(&rig->states, rig->now.monotonic, count_woken, rig), woken);
    assert_int_equal(rig->heard, woken);
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

static enum mp_error put(void *context, uint32_t block, const void *data, size_t size)
{
    struct rig *rig = context;
    struct row *row = NULL;
    for (unsigned i = 0; i < rig->rows_count; i++)
        if (rig->rows[i].block == block)
            row = &rig->rows[i];
    if (!row) {
        assert_true(rig->rows_count < ROWS_MAX);
        row = &rig->rows[rig->rows_count++];
        *row = (struct row){.block = block};
    }
    row->data = realloc(row->data, size);
    assert_non_null(row->data);
    memcpy(row->data, data, size);
    row->size = size;
    return MP_OK;
}

static void save(struct rig *rig)
{
    assert_int_equal(states_save(&rig->states, rig->now, put, rig), MP_OK);
    rig->saved_floor = rig->states.floor;
    rig->saved_frontier = rig->states.frontier;
    memcpy(rig->saved_totals, rig->states.totals, sizeof rig->saved_totals);
}

/* Saves and loads into new states: what comes back is what was there. */
static void step_reload(struct rig *rig)
{
    save(rig);
    states_free(&rig->states);
    assert_int_equal(states_restore(&rig->states, rig->model.start, rig->saved_floor, rig->saved_frontier,
                                    rig->saved_totals, STATE_COUNT),
                     MP_OK);
    for (unsigned i = 0; i < rig->rows_count; i++)
        assert_int_equal(states_load(&rig->states, rig->now, rig->rows[i].block, rig->rows[i].data, rig->rows[i].size),
                         MP_OK);
    /* A delay that is over comes back as one that ends now. */
    for (uint64_t offset = rig->model.floor; offset < rig->model.frontier; offset++) {
        struct state_value *value = model_at(&rig->model, offset);
        if (value->state == STATE_DELAYED && value->due < rig->now.monotonic)
            value->due = rig->now.monotonic;
    }
}

static void free_rows(struct rig *rig)
{
    for (unsigned i = 0; i < rig->rows_count; i++)
        free(rig->rows[i].data);
    rig->rows_count = 0;
}

/* Woken messages are not written again: in the rows they are delayed, until a moment that has passed. */
static void wake_all_due(struct rig *rig)
{
    states_wake(&rig->states, rig->now.monotonic, NULL, NULL);
    for (uint64_t offset = rig->model.floor; offset < rig->model.frontier; offset++) {
        struct state_value *value = model_at(&rig->model, offset);
        if (value->state == STATE_DELAYED && value->due <= rig->now.monotonic)
            value->state = STATE_WAITING;
    }
}

static void run_seed(uint64_t seed)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->random = seed;
    rig->now = (struct moment){.monotonic = 1000000, .wall = 5000000};
    rig->model.start = rig->model.floor = rig->model.frontier = below(rig, 3) == 0 ? 0 : below(rig, 3 * STATES_BLOCK);
    states_begin(&rig->states, rig->model.start);
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t dice = below(rig, 12);
        if (dice < 5)
            step_set(rig);
        else if (dice < 7)
            step_mask(rig);
        else if (dice < 9)
            step_change(rig);
        else if (dice < 11)
            step_wake(rig);
        else {
            step_reload(rig);
            wake_all_due(rig);
        }
        if (i % 8 == 0 || i == STEPS - 1)
            compare(rig);
    }
    states_free(&rig->states);
    free_rows(rig);
    free(rig);
}

static void states_are_what_a_plain_array_says(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

/* ---- by hand --------------------------------------------------------------------------------------------------- */

static const struct state_value leased = {.state = STATE_LEASED, .attempt = 1, .session = 7, .lease = 3};
static const struct state_value acked = {.state = STATE_ACKED};

static struct state_value become_acked(void *context, const struct state_run *run)
{
    struct becoming *becoming = context;
    becoming->heard += run->count;
    return becoming->value;
}

static void settling_in_order_costs_a_run(void **state)
{
    struct states states;
    (void)state;
    states_begin(&states, 0);
    assert_int_equal(states_set(&states, 0, 100000, &leased), MP_OK);
    assert_int_equal(states.runs, (100000 + STATES_BLOCK - 1) / STATES_BLOCK);
    for (uint64_t offset = 0; offset < 100000; offset++)
        assert_int_equal(states_set(&states, offset, 1, &acked), MP_OK);
    assert_int_equal(states.floor, 100000);
    assert_int_equal(states.runs, 0);
    states_free(&states);
}

static void delivery_waits_when_too_much_is_open(void **state)
{
    struct states states;
    uint64_t room;
    (void)state;
    states_begin(&states, 5);
    assert_int_equal(states_room(&states), (uint64_t)STATES_BLOCKS_MAX * STATES_BLOCK - 5);
    while ((room = states_room(&states)) > 0)
        assert_int_equal(states_set(&states, states.frontier, room > 1000000 ? 1000000 : (uint32_t)room, &leased),
                         MP_OK);
    assert_int_equal(states.frontier, (uint64_t)STATES_BLOCKS_MAX * STATES_BLOCK);
    assert_int_equal(states_set(&states, 5, STATES_BLOCK - 5, &acked), MP_OK);
    assert_int_equal(states_room(&states), STATES_BLOCK);
    states_free(&states);
    /* The same for exceptions: every other message done. */
    states_begin(&states, 0);
    for (uint64_t offset = 0; states_room(&states) > 0; offset += 2) {
        assert_int_equal(states_set(&states, offset, 2, &leased), MP_OK);
        assert_int_equal(states_set(&states, offset + 1, 1, &acked), MP_OK);
    }
    assert_true(states.runs >= STATES_RUNS_MAX && states.runs < STATES_RUNS_MAX + 4);
    states_free(&states);
}

static void nothing_is_set_out_of_place(void **state)
{
    struct states states;
    (void)state;
    states_begin(&states, 10);
    assert_int_equal(states_set(&states, 9, 1, &leased), MP_ERR_INVALID);
    assert_int_equal(states_set(&states, 11, 1, &leased), MP_ERR_INVALID);
    assert_int_equal(states_set(&states, 10, 0, &leased), MP_OK);
    assert_int_equal(states.frontier, 10);
    states_free(&states);
}

static void a_clock_that_is_set_back_makes_no_delay_longer(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct state_value delayed = {.state = STATE_DELAYED, .attempt = 1};
    (void)state;
    assert_non_null(rig);
    rig->now = (struct moment){.monotonic = 1000, .wall = 5000000000};
    delayed.due = rig->now.monotonic + 300;
    states_begin(&rig->states, 0);
    assert_int_equal(states_set(&rig->states, 0, 1, &delayed), MP_OK);
    save(rig);
    states_free(&rig->states);
    assert_int_equal(states_restore(&rig->states, 0, 0, 1, NULL, 0), MP_OK);
    struct moment later = {.monotonic = 70000, .wall = 1000};
    assert_int_equal(states_load(&rig->states, later, 0, rig->rows[0].data, rig->rows[0].size), MP_OK);
    assert_int_equal(states_due(&rig->states), later.monotonic + 300);
    states_free(&rig->states);
    free_rows(rig);
    free(rig);
}

/* Each byte of a row changed: it is refused, or what it says is sound. */
static void a_wrong_row_is_refused_or_sound(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    (void)state;
    assert_non_null(rig);
    rig->now = (struct moment){.monotonic = 1000, .wall = 5000};
    states_begin(&rig->states, 3);
    assert_int_equal(states_set(&rig->states, 3, 50, &leased), MP_OK);
    assert_int_equal(states_set(&rig->states, 10, 5, &acked), MP_OK);
    save(rig);
    states_free(&rig->states);
    struct row *row = &rig->rows[0];
    unsigned refused = 0;
    for (size_t at = 0; at < row->size; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            row->data[at] ^= (uint8_t)(1u << bit);
            assert_int_equal(states_restore(&rig->states, 3, 3, 53, NULL, 0), MP_OK);
            if (states_load(&rig->states, rig->now, 0, row->data, row->size) || states_check(&rig->states, NULL))
                refused++;
            states_free(&rig->states);
            row->data[at] ^= (uint8_t)(1u << bit);
        }
    assert_true(refused > 50);
    for (size_t size = 0; size < row->size; size++) {
        assert_int_equal(states_restore(&rig->states, 3, 3, 53, NULL, 0), MP_OK);
        assert_true(states_load(&rig->states, rig->now, 0, row->data, size) || states_check(&rig->states, NULL));
        states_free(&rig->states);
    }
    free_rows(rig);
    free(rig);
}

/* A row as the first version of the store wrote it: a delayed, a leased and an acknowledged run. */
static void a_row_of_version_1_is_read(void **state)
{
    static const uint64_t too_many[] = {0, 0, 0, 4};
    struct buffer row = {0};
    struct states states;
    struct state_run run;
    struct moment now = {.monotonic = 500, .wall = 2000};
    (void)state;
    buffer_put_u8(&row, 1);
    buffer_put_u64(&row, 1500); /* written */
    for (uint16_t i = 0; i < 3; i++) {
        buffer_put_u16(&row, (uint16_t)(3 + i));
        buffer_put_u16(&row, 1);
        buffer_put_u8(&row, (uint8_t)(1 + i));
        buffer_put_u32(&row, 2u + i);
        if (i == 0)
            buffer_put_u64(&row, 2300);
        if (i == 1) {
            buffer_put_u64(&row, 7);
            buffer_put_u64(&row, 9);
        }
    }
    assert_int_equal(states_restore(&states, 0, 3, 6, too_many, 4), MP_ERR_DAMAGED);
    assert_int_equal(states_restore(&states, 0, 3, 6, NULL, 0), MP_OK);
    assert_int_equal(states.totals[STATE_ACKED], 3);
    assert_int_equal(states_load(&states, now, 0, row.data, row.size), MP_OK);
    assert_int_equal(states_check(&states, NULL), MP_OK);
    assert_true(states_get(&states, 3, &run) && run.value.state == STATE_DELAYED && run.value.due == 800);
    assert_int_equal(run.value.attempt, 2);
    assert_true(states_get(&states, 4, &run) && run.value.state == STATE_LEASED && run.value.session == 7);
    assert_true(run.value.lease == 9 && run.value.attempt == 3);
    assert_true(states_get(&states, 5, &run) && run.value.state == STATE_ACKED);
    states_free(&states);
    buffer_free(&row);
}

/* Blocks that were in thousands of pieces give their memory back; a message that stays open is found at once. */
static void one_open_message_costs_little(void **state)
{
    static uint8_t odd[STATES_BLOCK / 8];
    struct states states;
    struct state_run run;
    uint32_t changed;
    (void)state;
    memset(odd, 0xaa, sizeof odd);
    states_begin(&states, 0);
    for (uint64_t base = 0; base < 100 * STATES_BLOCK; base += STATES_BLOCK) {
        assert_int_equal(states_set_mask(&states, base, STATES_BLOCK, odd, &leased), MP_OK);
        assert_int_equal(states.runs, base / STATES_BLOCK + STATES_BLOCK);
        assert_int_equal(states_set(&states, base, STATES_BLOCK, base ? &acked : &leased), MP_OK);
    }
    assert_int_equal(states.floor, 0);
    assert_int_equal(states.runs, 100);
    struct becoming becoming = {.value = {.state = STATE_ACKED}};
    struct states_change change = {
        .from = 1 << STATE_LEASED, .session = 7, .lease = 3, .become = become_acked, .context = &becoming};
    assert_int_equal(states_change(&states, 1, STATES_BLOCK, &change, &changed), MP_OK);
    assert_int_equal(changed, STATES_BLOCK - 1);
    assert_true(states_find(&states, STATE_LEASED, 0, &run) && run.first == 0 && run.count == 1);
    assert_false(states_find(&states, STATE_LEASED, 1, &run));
    assert_int_equal(states_change(&states, 0, 1, &change, &changed), MP_OK);
    assert_int_equal(states.floor, 100 * STATES_BLOCK);
    assert_int_equal(states.totals[STATE_ACKED], 100 * STATES_BLOCK);
    states_free(&states);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_what_a_plain_array_says),
        cmocka_unit_test(settling_in_order_costs_a_run),
        cmocka_unit_test(delivery_waits_when_too_much_is_open),
        cmocka_unit_test(nothing_is_set_out_of_place),
        cmocka_unit_test(a_clock_that_is_set_back_makes_no_delay_longer),
        cmocka_unit_test(a_row_of_version_1_is_read),
        cmocka_unit_test(one_open_message_costs_little),
        cmocka_unit_test(a_wrong_row_is_refused_or_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
