/* Settlements and publications on the wire: what is written is read again, and what is broken is refused. */
#include "protocol_ends.h"

static const struct protocol_settlement items[2] = {
    {.group = 1, .lease = 2, .first = 3, .count = 4, .action = PROTOCOL_ACK, .exit_code = -1},
    {.group = 5,
     .lease = 6,
     .first = 7,
     .count = 8,
     .span = 20,
     .action = PROTOCOL_DEAD,
     .reason = PROTOCOL_REASON_FORMAT,
     .delay = 9,
     .exit_code = 75,
     .note = "no such\nfile",
     .note_size = 12},
};

static void put_settle(struct buffer *out)
{
    struct protocol_publication to = {.topic = "next",
                                      .topic_size = 4,
                                      .target = "stats",
                                      .target_size = 5,
                                      .when = PROTOCOL_WHEN_DELAY,
                                      .value = 5000000,
                                      .frame = (const uint8_t *)"frame",
                                      .frame_size = 5};
    out->size = 0;
    protocol_put_request(out, PROTOCOL_SETTLE, PROTOCOL_LANE_SETTLE, 1, 1);
    assert_int_equal(protocol_put_settle(out, items, 2, 1), MP_OK);
    assert_int_equal(protocol_put_settle_publish(out, &to), MP_OK);
    assert_int_equal(protocol_put_settle_notes(out, items, 2), MP_OK);
}

static void settlements_are_read_as_written(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct protocol_settle settle;
    struct protocol_settlement item;
    put_settle(&out);
    struct protocol_request request = request_of(&out);
    assert_int_equal(protocol_read_settle(&request, &settle), MP_OK);
    assert_int_equal(settle.count, 2);
    assert_int_equal(settle.publishes, 1);
    assert_int_equal(settle.notes, 1);
    assert_true(protocol_settle_item(&settle, 0, &item));
    assert_int_equal(item.group, 1);
    assert_int_equal(item.lease, 2);
    assert_int_equal(item.first, 3);
    assert_int_equal(item.count, 4);
    assert_int_equal(item.span, 4); /* as many as count */
    assert_int_equal(item.action, PROTOCOL_ACK);
    assert_int_equal(item.exit_code, -1);
    assert_true(protocol_settle_item(&settle, 1, &item));
    assert_int_equal(item.span, 20);
    assert_int_equal(item.action, PROTOCOL_DEAD);
    assert_int_equal(item.reason, PROTOCOL_REASON_FORMAT);
    assert_int_equal(item.delay, 9);
    assert_int_equal(item.exit_code, 75);
    assert_false(protocol_settle_item(&settle, 2, &item));
    buffer_free(&out);
}

static void what_goes_with_a_settlement_is_read_as_written(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct protocol_settle settle;
    struct protocol_publication to;
    const char *note;
    uint16_t size;
    put_settle(&out);
    struct protocol_request request = request_of(&out);
    assert_int_equal(protocol_read_settle(&request, &settle), MP_OK);
    assert_true(protocol_settle_publish(&settle, &to));
    assert_int_equal(to.topic_size, 4);
    assert_memory_equal(to.topic, "next", 4);
    assert_int_equal(to.target_size, 5);
    assert_memory_equal(to.target, "stats", 5);
    assert_int_equal(to.when, PROTOCOL_WHEN_DELAY);
    assert_int_equal(to.value, 5000000);
    assert_int_equal(to.frame_size, 5);
    assert_memory_equal(to.frame, "frame", 5);
    assert_false(protocol_settle_publish(&settle, &to));
    struct reader words = settle.words;
    assert_false(protocol_settle_note(&words, 0, &note, &size));
    assert_true(protocol_settle_note(&words, 1, &note, &size));
    assert_int_equal(size, 12);
    assert_memory_equal(note, "no such\nfile", 12);
    assert_false(protocol_settle_note(&words, 1, &note, &size));
    buffer_free(&out);
}

static void a_settlement_is_refused_as_a_whole(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct protocol_settle settle;
    put_settle(&out);
    struct protocol_request request = request_of(&out);
    for (size_t size = 0; size < request.body_size; size++) {
        struct protocol_request cut = request;
        cut.body_size = size;
        assert_int_equal(protocol_read_settle(&cut, &settle), MP_ERR_FORMAT);
    }
    uint8_t *item = out.data + PROTOCOL_REQUEST_HEADER + 8;
    for (unsigned wrong = 0; wrong < 256; wrong++) {
        item[28] = (uint8_t)wrong;
        bool right = wrong >= PROTOCOL_ACK && wrong <= PROTOCOL_DEAD;
        assert_int_equal(protocol_read_settle(&request, &settle), right ? MP_OK : MP_ERR_FORMAT);
    }
    item[28] = PROTOCOL_ACK;
    item[29] = PROTOCOL_REASON_REJECTED; /* for what is dead only */
    assert_int_equal(protocol_read_settle(&request, &settle), MP_ERR_FORMAT);
    item[29] = 0;
    item[30] = 1;
    assert_int_equal(protocol_read_settle(&request, &settle), MP_ERR_FORMAT);
    item[30] = 0;
    item[24] = 3; /* a span below the count */
    assert_int_equal(protocol_read_settle(&request, &settle), MP_ERR_FORMAT);
    item[24] = 4;
    assert_int_equal(protocol_read_settle(&request, &settle), MP_OK);
    store_u32(item + 20, 0);
    assert_int_equal(protocol_read_settle(&request, &settle), MP_ERR_FORMAT);
    store_u32(item + 20, 4);
    memset(item + 12, 0xff, 8); /* offsets past the last one */
    assert_int_equal(protocol_read_settle(&request, &settle), MP_ERR_FORMAT);
    buffer_free(&out);
}

static void notes_belong_to_items_in_their_order(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct protocol_settle settle;
    put_settle(&out);
    struct protocol_request request = request_of(&out);
    uint8_t *index = out.data + out.size - 12 - 2 - 4;
    *index = 2;
    assert_int_equal(protocol_read_settle(&request, &settle), MP_ERR_FORMAT);
    *index = 0;
    assert_int_equal(protocol_read_settle(&request, &settle), MP_OK);
    buffer_put_u32(&out, 0); /* a second one for the same */
    buffer_put_string(&out, "again", 5);
    store_u16(out.data + PROTOCOL_REQUEST_HEADER + 6, 2);
    request = request_of(&out);
    assert_int_equal(protocol_read_settle(&request, &settle), MP_ERR_FORMAT);
    store_u32(out.data + out.size - 5 - 2 - 4, 1);
    assert_int_equal(protocol_read_settle(&request, &settle), MP_OK);
    struct protocol_settlement item = {.count = 1, .note = "", .note_size = PROTOCOL_NOTE_MAX + 1};
    assert_int_equal(protocol_put_settle(&out, &item, 1, 0), MP_ERR_TOO_LARGE);
    buffer_free(&out);
}

static void a_publication_is_read_as_written(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct protocol_publication to = {
        .topic = "orders.new", .topic_size = 10, .target = "bill", .target_size = 4, .when = PROTOCOL_WHEN_AT};
    struct protocol_publication read;
    to.value = INT64_C(1790000000000000);
    protocol_put_request(&out, PROTOCOL_PUBLISH, PROTOCOL_LANE_PUBLISH, 1, 1);
    assert_int_equal(protocol_put_publish(&out, &to), MP_OK);
    struct protocol_request request = request_of(&out);
    assert_int_equal(protocol_read_publish(&request, &read), MP_ERR_FORMAT); /* no frame */
    buffer_append(&out, "frame", 5);
    request = request_of(&out);
    assert_int_equal(protocol_read_publish(&request, &read), MP_OK);
    assert_int_equal(read.topic_size, 10);
    assert_memory_equal(read.topic, "orders.new", 10);
    assert_int_equal(read.target_size, 4);
    assert_memory_equal(read.target, "bill", 4);
    assert_int_equal(read.when, PROTOCOL_WHEN_AT);
    assert_true(read.value == to.value);
    assert_int_equal(read.frame_size, 5);
    uint8_t *when = out.data + PROTOCOL_REQUEST_HEADER + 2 + 10 + 2 + 4;
    for (unsigned wrong = 0; wrong < 256; wrong++) {
        *when = (uint8_t)wrong; /* now has no value, others are not known */
        bool right = wrong == PROTOCOL_WHEN_AT || wrong == PROTOCOL_WHEN_DELAY;
        assert_int_equal(protocol_read_publish(&request, &read), right ? MP_OK : MP_ERR_FORMAT);
    }
    *when = PROTOCOL_WHEN_DELAY;
    store_u64(when + 1, UINT64_MAX); /* the past */
    assert_int_equal(protocol_read_publish(&request, &read), MP_ERR_FORMAT);
    buffer_free(&out);
}

static void the_answer_to_a_publication_is_read_as_written(void **state)
{
    (void)state;
    struct buffer out = {0};
    uint64_t first;
    uint32_t count;
    uint32_t duplicates;
    protocol_put_reply(&out, PROTOCOL_PUBLISH, MP_OK, 1);
    protocol_put_published(&out, UINT64_C(1) << 40, 12, 3);
    struct protocol_reply reply = reply_of(&out);
    assert_int_equal(protocol_read_published(&reply, &first, &count, &duplicates), MP_OK);
    assert_true(first == UINT64_C(1) << 40);
    assert_int_equal(count, 12);
    assert_int_equal(duplicates, 3);
    assert_int_equal(protocol_read_settled(&reply, &count, &duplicates), MP_ERR_FORMAT);
    store_u32(out.data + out.size - 4, 13);
    assert_int_equal(protocol_read_published(&reply, &first, &count, &duplicates), MP_ERR_FORMAT);
    buffer_free(&out);
}

static void a_count_beyond_its_limit_is_refused_before_it_is_used(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct protocol_settle settle;
    struct protocol_fetched fetched;
    protocol_put_request(&out, PROTOCOL_SETTLE, PROTOCOL_LANE_SETTLE, 1, 1);
    buffer_put_u32(&out, UINT32_MAX);
    buffer_put_u32(&out, 0);
    struct protocol_request request = request_of(&out);
    assert_int_equal(protocol_read_settle(&request, &settle), MP_ERR_FORMAT);
    out.size = 0;
    protocol_put_reply(&out, PROTOCOL_FETCH, MP_OK, 1);
    assert_int_equal(protocol_put_fetched(&out, 0, 0, PROTOCOL_CHUNKS_MAX + 1), MP_ERR_TOO_LARGE);
    buffer_put_u8(&out, 0);
    buffer_put_u64(&out, 0);
    buffer_put_u16(&out, UINT16_MAX);
    struct protocol_reply reply = reply_of(&out);
    assert_int_equal(protocol_read_fetched(&reply, &fetched), MP_ERR_FORMAT);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settlements_are_read_as_written),
        cmocka_unit_test(what_goes_with_a_settlement_is_read_as_written),
        cmocka_unit_test(a_settlement_is_refused_as_a_whole),
        cmocka_unit_test(notes_belong_to_items_in_their_order),
        cmocka_unit_test(a_publication_is_read_as_written),
        cmocka_unit_test(the_answer_to_a_publication_is_read_as_written),
        cmocka_unit_test(a_count_beyond_its_limit_is_refused_before_it_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
