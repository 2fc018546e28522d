/* Deletion, in steps: what goes, what stays, and what is told of it. */
#include "store_rig.h"

static void add_frames(struct rig *rig, uint32_t topic, unsigned frames)
{
    struct buffer bytes = rig_frame(1, 5);
    for (unsigned i = 0; i < frames; i++) {
        struct store_frame row = {
            .topic = topic, .first = (uint64_t)i * 5, .count = 5, .data = bytes.data, .size = bytes.size};
        assert_int_equal(store_add_frame(rig->store, &row, NULL), MP_OK);
    }
    buffer_free(&bytes);
}

static uint64_t first_of(struct rig *rig, uint32_t topic)
{
    struct store_frame frame;
    enum mp_error error = store_find_frame(rig->store, topic, 0, &frame, NULL);
    assert_true(error == MP_OK || error == MP_ERR_NOT_FOUND);
    return error ? UINT64_MAX : frame.first;
}

static void frames_go_from_the_oldest_on(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    struct store_deleted deleted;
    struct buffer bytes = rig_frame(1, 5);
    rig_open(rig);
    for (uint32_t topic = 1; topic <= 3; topic++)
        add_frames(rig, topic, 10);
    assert_int_equal(store_delete_frames(rig->store, 2, 4, 100, UINT64_MAX, &deleted, &fault), MP_OK);
    assert_true(deleted.rows == 0 && deleted.bytes == 0 && deleted.end == 0); /* a part of a frame is none */
    assert_int_equal(store_delete_frames(rig->store, 2, 24, 3, UINT64_MAX, &deleted, &fault), MP_OK);
    assert_true(deleted.rows == 3 && deleted.bytes == 3 * bytes.size && deleted.end == 15);
    assert_int_equal(first_of(rig, 2), 15);
    assert_int_equal(store_delete_frames(rig->store, 2, 24, 3, UINT64_MAX, &deleted, &fault), MP_OK);
    assert_true(deleted.rows == 1 && deleted.end == 20);
    assert_int_equal(store_delete_frames(rig->store, 2, UINT64_C(1) << 43, 100, UINT64_MAX, &deleted, &fault), MP_OK);
    assert_true(deleted.rows == 6 && deleted.end == 50);
    uint64_t sum;
    assert_int_equal(store_sum_frames(rig->store, 3, 0, &sum, &fault), MP_OK);
    assert_true(sum == 10 * bytes.size);
    assert_int_equal(store_delete_frames(rig->store, 3, 50, 100, bytes.size + 1, &deleted, &fault), MP_OK);
    assert_true(deleted.rows == 2 && deleted.end == 10);
    assert_int_equal(store_sum_frames(rig->store, 3, 0, &sum, &fault), MP_OK);
    assert_true(sum == 8 * bytes.size);
    assert_int_equal(store_sum_frames(rig->store, 3, 45, &sum, &fault), MP_OK);
    assert_true(sum == bytes.size);
    assert_true(first_of(rig, 2) == UINT64_MAX);
    assert_true(first_of(rig, 1) == 0 && first_of(rig, 3) == 10);
    buffer_free(&bytes);
}

/* Bytes 52 and 64 of the file tell (sqlite.org/fileformat2.html, 1.3): without it, deleting a frame reads all its pages. */
static void a_new_store_has_a_map_of_its_pages(void **state)
{
    struct rig *rig = *state;
    uint8_t head[100];
    rig_open(rig);
    rig_close(rig);
    FILE *file = fopen(rig->path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(head, 1, sizeof head, file), sizeof head);
    fclose(file);
    assert_true(head[52] | head[53] | head[54] | head[55]);
    assert_int_equal(head[67], 1); /* pages are moved when they are asked to, not at each commit */
}

static void topics_of_messages_are_found(void **state)
{
    struct rig *rig = *state;
    uint32_t topic;
    rig_open(rig);
    assert_int_equal(store_messages_topic(rig->store, 0, &topic, NULL), MP_ERR_NOT_FOUND);
    add_frames(rig, 4, 3);
    add_frames(rig, 524287, 2);
    assert_int_equal(store_messages_topic(rig->store, 0, &topic, NULL), MP_OK);
    assert_int_equal(topic, 4);
    assert_int_equal(store_messages_topic(rig->store, 4, &topic, NULL), MP_OK);
    assert_int_equal(topic, 4);
    assert_int_equal(store_messages_topic(rig->store, 5, &topic, NULL), MP_OK);
    assert_int_equal(topic, 524287);
    struct store_hashes hashes = {.topic = 17, .count = 1, .hashes = (const uint8_t *)"0123456789abcdef"};
    assert_int_equal(store_add_hashes(rig->store, &hashes, NULL), MP_OK);
    assert_int_equal(store_messages_topic(rig->store, 5, &topic, NULL), MP_OK);
    assert_int_equal(topic, 17);
    assert_int_equal(store_messages_topic(rig->store, 18, &topic, NULL), MP_OK);
    assert_int_equal(topic, 524287);
}

static void events_go_from_the_oldest_on(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    struct store_event event = {.kind = EVENT_ACKED, .count = 1};
    struct store_deleted deleted;
    rig_open(rig);
    assert_int_equal(store_delete_events(rig->store, 100, 10, &deleted, &fault), MP_OK);
    assert_int_equal(deleted.rows, 0);
    assert_int_equal(store_find_event(rig->store, 0, &event, &fault), MP_ERR_NOT_FOUND);
    for (event.id = 1; event.id <= 20; event.id++)
        assert_int_equal(store_add_event(rig->store, &event, &fault), MP_OK);
    assert_int_equal(store_delete_events(rig->store, 15, 10, &deleted, &fault), MP_OK);
    assert_int_equal(deleted.rows, 10);
    assert_int_equal(store_find_event(rig->store, 0, &event, &fault), MP_OK);
    assert_int_equal(event.id, 11);
    assert_int_equal(store_delete_events(rig->store, 15, 10, &deleted, &fault), MP_OK);
    assert_int_equal(deleted.rows, 4);
    assert_int_equal(store_find_event(rig->store, 0, &event, &fault), MP_OK);
    assert_int_equal(event.id, 15);
    assert_int_equal(store_find_event(rig->store, 21, &event, &fault), MP_ERR_NOT_FOUND);
}

static enum mp_error count_hashes(void *context, const struct store_hashes *row)
{
    unsigned *count = context;
    assert_int_equal(row->topic, 7);
    assert_int_equal(row->hashes[17], 'b');
    ++*count;
    return MP_OK;
}

static void hashes_go_by_their_time(void **state)
{
    static const uint8_t bytes[] = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbcccccccccccccccc";
    struct rig *rig = *state;
    struct fault fault = {0};
    struct store_hashes found;
    struct blob *blob;
    unsigned count = 0;
    uint32_t deleted;
    rig_open(rig);
    for (unsigned i = 0; i < 30; i++) {
        struct store_hashes row = {
            .topic = 7 + i % 2, .first = (uint64_t)(i / 2) * 4, .time = 1000 + i / 2, .count = 3, .hashes = bytes};
        assert_int_equal(store_add_hashes(rig->store, &row, &fault), MP_OK);
    }
    assert_int_equal(store_each_hashes(rig->store, 7, 1010, count_hashes, &count, &fault), MP_OK);
    assert_int_equal(count, 5);
    assert_int_equal(store_read_hashes(rig->store, 7, 6, &found, &blob, &fault), MP_OK);
    assert_true(found.first == 4 && found.time == 1001 && found.count == 3);
    assert_memory_equal(found.hashes, bytes, 48);
    blob_drop(blob);
    assert_int_equal(store_read_hashes(rig->store, 7, 7, &found, &blob, &fault), MP_ERR_NOT_FOUND);
    assert_int_equal(store_delete_hashes(rig->store, 7, 1010, 6, &deleted, &fault), MP_OK);
    assert_int_equal(deleted, 6);
    assert_int_equal(store_delete_hashes(rig->store, 7, 1010, 6, &deleted, &fault), MP_OK);
    assert_int_equal(deleted, 4);
    count = 0;
    assert_int_equal(store_each_hashes(rig->store, 7, 0, count_hashes, &count, &fault), MP_OK);
    assert_int_equal(count, 5);
    assert_int_equal(store_read_hashes(rig->store, 7, 6, &found, &blob, &fault), MP_ERR_NOT_FOUND);
    assert_int_equal(store_read_hashes(rig->store, 8, 6, &found, &blob, &fault), MP_OK);
    blob_drop(blob);
}

static enum mp_error count_group(void *context, const struct store_group *row)
{
    *(unsigned *)context += row->id;
    return MP_OK;
}

static enum mp_error count_block(void *context, uint32_t block, const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    *(unsigned *)context += 1 + block;
    return MP_OK;
}

static enum mp_error count_topic(void *context, const struct store_topic *row)
{
    *(unsigned *)context += row->id;
    return MP_OK;
}

static enum mp_error count_pattern(void *context, const struct store_pattern *row)
{
    *(unsigned *)context += row->id;
    return MP_OK;
}

static void a_group_goes_with_its_blocks(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    unsigned groups = 0, blocks = 0;
    rig_open(rig);
    for (uint32_t id = 1; id <= 3; id++) {
        struct store_group row = {.id = id, .topic = 1, .name = "g"};
        assert_int_equal(store_put_group(rig->store, &row, &fault), MP_OK);
        for (uint32_t block = 0; block < 3; block++)
            assert_int_equal(store_put_block(rig->store, id, block, "x", 1, &fault), MP_OK);
    }
    assert_int_equal(store_delete_group(rig->store, 2, &fault), MP_OK);
    assert_int_equal(store_delete_group(rig->store, 77, &fault), MP_OK);
    assert_int_equal(store_each_group(rig->store, count_group, &groups, &fault), MP_OK);
    assert_int_equal(groups, 4);
    assert_int_equal(store_each_block(rig->store, 2, count_block, &blocks, &fault), MP_OK);
    assert_int_equal(blocks, 0);
    assert_int_equal(store_each_block(rig->store, 3, count_block, &blocks, &fault), MP_OK);
    assert_int_equal(blocks, 6);
}

static void topics_and_patterns_go_alone(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    unsigned topics = 0, patterns = 0;
    rig_open(rig);
    for (uint32_t id = 1; id <= 3; id++) {
        char name[8];
        snprintf(name, sizeof name, "a.%u", id);
        struct store_topic topic = {.id = id, .name = name};
        struct store_pattern pattern = {.id = id, .pattern = name, .group = "g"};
        assert_int_equal(store_put_topic(rig->store, &topic, &fault), MP_OK);
        assert_int_equal(store_put_pattern(rig->store, &pattern, &fault), MP_OK);
        add_frames(rig, id, 2);
    }
    assert_int_equal(store_delete_topic(rig->store, 2, &fault), MP_OK);
    assert_int_equal(store_delete_pattern(rig->store, 3, &fault), MP_OK);
    assert_int_equal(store_each_topic(rig->store, count_topic, &topics, &fault), MP_OK);
    assert_int_equal(store_each_pattern(rig->store, count_pattern, &patterns, &fault), MP_OK);
    assert_int_equal(topics, 4);
    assert_int_equal(patterns, 3);
    assert_int_equal(first_of(rig, 2), 0);
    struct store_topic again = {.id = 9, .name = "a.2"}; /* its name is free */
    assert_int_equal(store_put_topic(rig->store, &again, &fault), MP_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_go_from_the_oldest_on, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_new_store_has_a_map_of_its_pages, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(topics_of_messages_are_found, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(events_go_from_the_oldest_on, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(hashes_go_by_their_time, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_group_goes_with_its_blocks, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(topics_and_patterns_go_alone, rig_set_up, rig_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
