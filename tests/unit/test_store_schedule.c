/* The schedule: publications by their time, thousands of them at one time too. */
#include "store_rig.h"

#include <string.h>

static struct buffer bytes;

static uint64_t add(struct rig *rig, int64_t due, uint64_t request)
{
    struct fault fault = {0};
    struct store_scheduled row = {
        .due = due, .topic = 1, .session = 5, .request = request, .count = 3, .data = bytes.data, .size = bytes.size};
    if (store_add_scheduled(rig->store, &row, &fault))
        fail_msg("%s", fault_text(&fault));
    return row.id;
}

static int set_up(void **state)
{
    bytes = rig_frame(1, 3);
    return rig_set_up(state);
}

static int tear_down(void **state)
{
    buffer_free(&bytes);
    return rig_tear_down(state);
}

static void the_next_one_due_is_first(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    struct store_scheduled row;
    struct blob *blob;
    rig_open(rig);
    assert_int_equal(store_next_scheduled(rig->store, 0, &row, &blob, &fault), MP_ERR_NOT_FOUND);
    add(rig, 3000, 3);
    add(rig, 1000, 1);
    add(rig, 1000, 2);
    rig_close(rig);
    rig_open(rig);
    uint64_t after = 0, rows, messages;
    assert_int_equal(store_count_scheduled(rig->store, &rows, &messages, &fault), MP_OK);
    assert_true(rows == 3 && messages == 9);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(store_next_scheduled(rig->store, after, &row, &blob, &fault), MP_OK);
        assert_true(row.request == i && row.due == (i < 3 ? 1000 : 3000) && row.count == 3);
        assert_int_equal(row.size, bytes.size);
        assert_memory_equal(row.data, bytes.data, bytes.size);
        blob_drop(blob);
        after = row.id;
    }
    assert_int_equal(store_next_scheduled(rig->store, after, &row, &blob, &fault), MP_ERR_NOT_FOUND);
    assert_int_equal(store_delete_scheduled(rig->store, after, &fault), MP_OK);
    assert_int_equal(store_count_scheduled(rig->store, &rows, &messages, &fault), MP_OK);
    assert_int_equal(rows, 2);
}

static enum mp_error in_order(void *context, const struct store_scheduled *row)
{
    uint64_t *next = context;
    assert_int_equal(row->request, *next);
    assert_in_range((uintmax_t)row->due, 5000, 5000 + *next / 1024 + 1);
    ++*next;
    return MP_OK;
}

/* A crowd at one time keeps its order, across a restart too, and goes out a few microseconds later at most. */
static void a_crowd_at_one_time_keeps_its_order(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    uint64_t last = 0, next = 0;
    rig_open(rig);
    for (uint64_t i = 0; i < 20000; i++) {
        if (i % 512 == 0) {
            assert_int_equal(store_commit(rig->store, &fault), MP_OK);
            if (i % 4096 == 2048) {
                rig_close(rig);
                rig_open(rig);
            }
            assert_int_equal(store_begin(rig->store, &fault), MP_OK);
        }
        if (i % 3 == 0) /* others come in between */
            assert_int_equal(store_delete_scheduled(rig->store, add(rig, 9000000, 0), &fault), MP_OK);
        uint64_t id = add(rig, 5000, i);
        assert_true(id > last);
        last = id;
    }
    assert_int_equal(store_commit(rig->store, &fault), MP_OK);
    assert_int_equal(store_each_scheduled(rig->store, 0, in_order, &next, &fault), MP_OK);
    assert_int_equal(next, 20000);
}

static void a_time_out_of_range_is_refused(void **state)
{
    struct rig *rig = *state;
    struct store_scheduled row = {.due = -1, .data = bytes.data, .size = bytes.size};
    rig_open(rig);
    assert_int_equal(store_add_scheduled(rig->store, &row, NULL), MP_ERR_INVALID);
    row.due = INT64_MAX;
    assert_int_equal(store_add_scheduled(rig->store, &row, NULL), MP_ERR_INVALID);
    row.due = INT64_C(8999999999999999); /* 2255 */
    assert_int_equal(store_add_scheduled(rig->store, &row, NULL), MP_OK);
    assert_true(row.id >> 10 == 8999999999999999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_next_one_due_is_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_crowd_at_one_time_keeps_its_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_time_out_of_range_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
