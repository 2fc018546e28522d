/* Frames of what comes out of a stage, and what commands print. */
#include "message/attributes.h"
#include "runner/outputs.h"
#include "runner/staging.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct format_item item(const char *body, uint64_t producer, uint64_t sequence)
{
    return (struct format_item){
        .record = {.body = (const uint8_t *)body, .size = strlen(body), .producer = producer, .sequence = sequence},
        .topic = "in",
        .time = 1000000,
    };
}

static void add(struct outputs *outputs, uint32_t number, const struct format_item *one, bool kept)
{
    static const char *const topics[] = {"a", "b", "c"};
    assert_int_equal(outputs_add(outputs, number, topics[number], one, kept), MP_OK);
}

/* Opens frame INDEX of OUTPUTS, which is finished. */
static struct frame open_frame(struct client_output *list, uint32_t index)
{
    struct frame frame;
    struct fault fault = {0};
    const struct buffer *bytes = &list[index].frame->bytes;
    assert_int_equal(frame_open(&frame, bytes->data, bytes->size, true, &fault), MP_OK);
    return frame;
}

static void a_run_keeps_its_origins_without_attributes(void **state)
{
    (void)state;
    struct outputs outputs = {0};
    struct client_output list[4];
    for (uint64_t i = 0; i < 5; i++) {
        struct format_item one = item("x", 7, 100 + i);
        add(&outputs, 0, &one, true);
    }
    assert_int_equal(outputs.count, 1);
    outputs_finish(&outputs, list);
    assert_true(list[0].publication.fixed);
    struct frame frame = open_frame(list, 0);
    assert_int_equal(frame.producer, 7);
    assert_int_equal(frame.sequence, 100);
    assert_int_equal(frame.attributes, 0);
    assert_int_equal(frame.time, 1000000);
    outputs_free(&outputs);
}

static void each_message_keeps_its_origin(void **state)
{
    (void)state;
    static const uint64_t origins[][2] = {{7, 100}, {7, 102}, {9, 1}, {7, 103}, {3, 9}};
    struct outputs outputs = {0};
    struct client_output list[4];
    struct record record;
    for (unsigned i = 0; i < 5; i++) {
        struct format_item one = item("x", origins[i][0], origins[i][1]);
        add(&outputs, 0, &one, true);
    }
    assert_int_equal(outputs.count, 1);
    outputs_finish(&outputs, list);
    struct frame frame = open_frame(list, 0);
    struct frame_cursor cursor = frame_cursor(&frame);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(frame_next(&cursor, &record));
        assert_int_equal(record.producer, origins[i][0]);
        assert_int_equal(record.sequence, origins[i][1]);
    }
    outputs_free(&outputs);
}

static void destinations_and_kinds_have_frames_of_their_own(void **state)
{
    (void)state;
    struct outputs outputs = {0};
    struct client_output list[8];
    struct format_item kept = item("kept", 7, 1), new = item("new", 0, 0);
    add(&outputs, 2, &kept, true);
    add(&outputs, 0, &new, false);
    add(&outputs, 2, &kept, true);
    add(&outputs, 2, &new, false);
    assert_int_equal(outputs.count, 3);
    assert_int_equal(outputs.messages, 4);
    outputs_finish(&outputs, list);
    assert_string_equal(list[0].publication.topic, "c");
    assert_int_equal(list[0].frame->count, 2);
    assert_true(list[0].publication.fixed);
    assert_string_equal(list[1].publication.topic, "a");
    assert_false(list[1].publication.fixed);
    assert_string_equal(list[2].publication.topic, "c");
    assert_false(list[2].publication.fixed);
    outputs_free(&outputs);
}

static void messages_of_other_times_are_apart(void **state)
{
    (void)state;
    struct outputs outputs = {0};
    struct format_item one = item("x", 7, 1);
    add(&outputs, 0, &one, true);
    one.time += 50000;
    add(&outputs, 0, &one, true);
    assert_int_equal(outputs.count, 1);
    one.time += 3600000000;
    add(&outputs, 0, &one, true);
    assert_int_equal(outputs.count, 2);
    outputs_free(&outputs);
}

static void it_is_used_again_when_cleared(void **state)
{
    (void)state;
    struct outputs outputs = {0};
    struct client_output list[2];
    struct format_item one = item("first", 7, 1), other = item("other", 8, 2);
    add(&outputs, 0, &one, true);
    add(&outputs, 1, &one, true);
    outputs_clear(&outputs, false);
    assert_int_equal(outputs.count, 0);
    assert_int_equal(outputs.bytes, 0);
    add(&outputs, 1, &other, true);
    outputs_finish(&outputs, list);
    struct frame frame = open_frame(list, 0);
    assert_int_equal(frame.count, 1);
    assert_int_equal(frame.producer, 8);
    assert_string_equal(list[0].publication.topic, "b");
    outputs_free(&outputs);
}

static void a_large_message_has_a_frame_of_its_own(void **state)
{
    (void)state;
    struct outputs outputs = {0};
    size_t size = 2 * FRAME_TARGET;
    char *body = test_calloc(1, size + 1);
    memset(body, 'x', size);
    struct format_item small = item("x", 7, 1), large = item(body, 7, 2);
    add(&outputs, 0, &small, true);
    add(&outputs, 0, &large, true);
    add(&outputs, 0, &small, true);
    assert_int_equal(outputs.count, 3);
    outputs_free(&outputs);
    test_free(body);
}

/* ---- what commands print -------------------------------------------------------------------------------------- */

static void decode(struct staging *staging, const char *output, enum format format, bool stream,
                   const struct format_item *input, enum mp_error expected)
{
    struct fault fault = {0};
    assert_int_equal(staging_add_output(staging, output, strlen(output), format, stream, 100, input, 5000000, &fault),
                     expected);
}

static void assert_body(const struct staging *staging, size_t index, const char *body)
{
    const struct record *record = &staging->all[index].item.record;
    assert_int_equal(record->size, strlen(body));
    assert_memory_equal(record->body, body, record->size);
    assert_false(staging->all[index].kept);
}

static void assert_attribute(const struct staging *staging, size_t index, const char *name, const char *value)
{
    const struct record *record = &staging->all[index].item.record;
    struct attribute attribute;
    assert_true(attribute_find(record->attributes, record->attributes_size, name, strlen(name), &attribute));
    assert_int_equal(attribute.value_size, strlen(value));
    assert_memory_equal(attribute.value, value, attribute.value_size);
}

static void lines_become_messages(void **state)
{
    (void)state;
    struct staging staging = {0};
    decode(&staging, "one\n\ntwo", FORMAT_LINES, false, NULL, MP_OK);
    assert_int_equal(staging.count, 3);
    assert_body(&staging, 0, "one");
    assert_body(&staging, 1, "");
    assert_body(&staging, 2, "two");
    assert_int_equal(staging.all[0].item.record.attributes_size, 0);
    staging_free(&staging);
}

static void nothing_printed_is_no_message(void **state)
{
    (void)state;
    struct staging staging = {0};
    for (int format = FORMAT_LINES; format <= FORMAT_JSON; format++) {
        decode(&staging, "", (enum format)format, false, NULL, MP_OK);
        decode(&staging, "", (enum format)format, format != FORMAT_WHOLE, NULL, MP_OK);
    }
    assert_int_equal(staging.count, 0);
    staging_free(&staging);
}

static void messages_inherit_of_their_input(void **state)
{
    (void)state;
    struct staging staging = {0};
    struct buffer block = {0};
    struct fault fault = {0};
    assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, "id", 2, "first", 5, &fault), MP_OK);
    assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, "partitionkey", 12, "k", 1, &fault), MP_OK);
    struct format_item input = item("x", 7, 1);
    input.record.attributes = block.data;
    input.record.attributes_size = block.size;
    decode(&staging, "one\ntwo\n", FORMAT_LINES, false, &input, MP_OK);
    for (size_t i = 0; i < 2; i++) {
        assert_attribute(&staging, i, "causationid", "first");
        assert_attribute(&staging, i, "partitionkey", "k");
    }
    decode(&staging, "{\"specversion\":\"1.0\",\"id\":\"own\",\"partitionkey\":\"other\",\"data\":\"a\\\"b\"}\n",
           FORMAT_JSON, true, &input, MP_OK);
    assert_body(&staging, 2, "a\"b");
    assert_attribute(&staging, 2, "id", "own");
    assert_attribute(&staging, 2, "partitionkey", "other");
    assert_attribute(&staging, 2, "causationid", "first");
    buffer_free(&block);
    staging_free(&staging);
}

static void bodies_of_json_stay_apart(void **state)
{
    (void)state;
    struct staging staging = {0};
    decode(&staging, "{\"specversion\":\"1.0\",\"data\":\"a\\nb\"}\n{\"specversion\":\"1.0\",\"data\":\"c\\nd\"}\n",
           FORMAT_JSON, false, NULL, MP_OK);
    assert_int_equal(staging.count, 2);
    assert_body(&staging, 0, "a\nb");
    assert_body(&staging, 1, "c\nd");
    staging_free(&staging);
}

static void what_is_not_in_the_format_is_told(void **state)
{
    (void)state;
    struct staging staging = {0};
    decode(&staging, "no json\n", FORMAT_JSON, false, NULL, MP_ERR_FORMAT);
    char large[120];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    decode(&staging, large, FORMAT_LINES, false, NULL, MP_ERR_TOO_LARGE);
    decode(&staging, large, FORMAT_LINES, true, NULL, MP_ERR_TOO_LARGE);
    staging_free(&staging);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_keeps_its_origins_without_attributes),
        cmocka_unit_test(each_message_keeps_its_origin),
        cmocka_unit_test(destinations_and_kinds_have_frames_of_their_own),
        cmocka_unit_test(messages_of_other_times_are_apart),
        cmocka_unit_test(it_is_used_again_when_cleared),
        cmocka_unit_test(a_large_message_has_a_frame_of_its_own),
        cmocka_unit_test(lines_become_messages),
        cmocka_unit_test(nothing_printed_is_no_message),
        cmocka_unit_test(messages_inherit_of_their_input),
        cmocka_unit_test(bodies_of_json_stay_apart),
        cmocka_unit_test(what_is_not_in_the_format_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
