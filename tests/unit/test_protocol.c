/* The relay's protocol: what is written is read again, and what is broken anywhere is refused. */
#include "protocol_ends.h"

static void headers_are_read_as_written(void **state)
{
    (void)state;
    struct buffer out = {0};
    assert_int_equal(protocol_put_request(&out, PROTOCOL_SETTLE, PROTOCOL_LANE_SETTLE, UINT64_MAX - 1, 7), MP_OK);
    assert_int_equal(out.size, PROTOCOL_REQUEST_HEADER);
    protocol_set_flags(&out, 0, PROTOCOL_ATOMIC);
    buffer_append(&out, "body", 4);
    struct protocol_request request = request_of(&out);
    assert_int_equal(request.type, PROTOCOL_SETTLE);
    assert_int_equal(request.flags, PROTOCOL_ATOMIC);
    assert_int_equal(request.lane, PROTOCOL_LANE_SETTLE);
    assert_true(request.session == UINT64_MAX - 1);
    assert_int_equal(request.number, 7);
    assert_int_equal(request.body_size, 4);
    assert_memory_equal(request.body, "body", 4);

    out.size = 0;
    assert_int_equal(protocol_put_reply(&out, PROTOCOL_FETCH, MP_OK, 9), MP_OK);
    assert_int_equal(out.size, PROTOCOL_REPLY_HEADER);
    struct protocol_reply reply = reply_of(&out);
    assert_int_equal(reply.type, PROTOCOL_FETCH);
    assert_int_equal(reply.status, MP_OK);
    assert_int_equal(reply.number, 9);
    assert_int_equal(reply.body_size, 0);
    buffer_free(&out);
}

static void a_request_is_refused_for_every_wrong_byte_of_its_header(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct protocol_request request;
    protocol_put_request(&out, PROTOCOL_PUBLISH, PROTOCOL_LANE_PUBLISH, 1, 1);
    for (size_t size = 0; size < out.size; size++) {
        assert_int_equal(protocol_read_request(out.data, size, &request), MP_ERR_FORMAT);
    }
    for (size_t at = 0; at < 5; at++) {
        uint8_t was = out.data[at];
        out.data[at] = 0xee;
        enum mp_error error = protocol_read_request(out.data, out.size, &request);
        assert_int_equal(error, at == 1 ? MP_ERR_VERSION : MP_ERR_FORMAT);
        out.data[at] = was;
    }
    out.data[2] = PROTOCOL_FETCH; /* on the publish lane */
    assert_int_equal(protocol_read_request(out.data, out.size, &request), MP_ERR_FORMAT);
    out.data[2] = PROTOCOL_ROOM;
    assert_int_equal(protocol_read_request(out.data, out.size, &request), MP_OK);
    out.data[3] = PROTOCOL_FETCH_PEEK; /* only a fetch can peek */
    assert_int_equal(protocol_read_request(out.data, out.size, &request), MP_ERR_FORMAT);
    out.data[2] = PROTOCOL_FETCH;
    out.data[4] = PROTOCOL_LANE_FETCH;
    assert_int_equal(protocol_read_request(out.data, out.size, &request), MP_OK);
    assert_int_equal(request.flags, PROTOCOL_FETCH_PEEK);
    protocol_set_attempt(&out, 0, 1);
    assert_int_equal(protocol_read_request(out.data, out.size, &request), MP_OK);
    out.data[2] = PROTOCOL_LEAVE; /* nothing on the lane control has some */
    out.data[3] = 0;
    out.data[4] = PROTOCOL_LANE_CONTROL;
    assert_int_equal(protocol_read_request(out.data, out.size, &request), MP_ERR_FORMAT);
    buffer_free(&out);
}

static void attempts_count_in_a_circle_without_the_zero(void **state)
{
    (void)state;
    struct buffer out = {0};
    protocol_put_request(&out, PROTOCOL_PUBLISH, PROTOCOL_LANE_PUBLISH, 1, 1);
    assert_int_equal(request_of(&out).attempt, 0);
    protocol_set_attempt(&out, 0, 0xabcdef);
    assert_int_equal(request_of(&out).attempt, 0xabcdef);
    assert_int_equal(request_of(&out).session, 1);
    buffer_free(&out);
    assert_int_equal(protocol_next_attempt(1), 2);
    assert_int_equal(protocol_next_attempt(0xffffff), 1);
    assert_true(protocol_is_later(2, 1));
    assert_true(protocol_is_later(1, 0xffffff));
    assert_false(protocol_is_later(7, 7));
    assert_false(protocol_is_later(7, 8));
    assert_false(protocol_is_later(0xffffff, 1));
}

static void an_error_carries_its_words_and_a_gap_its_number(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct fault fault;
    uint64_t expected;
    protocol_put_error(&out, PROTOCOL_PUBLISH, MP_ERR_GAP, 5, 77, "too \x1b[31mearly");
    struct protocol_reply reply = reply_of(&out);
    assert_int_equal(protocol_read_error(&reply, &expected, &fault), MP_OK);
    assert_int_equal(fault.code, MP_ERR_GAP);
    assert_int_equal(expected, 77);
    assert_string_equal(fault.text, "too ?[31mearly");

    out.size = 0;
    protocol_put_error(&out, PROTOCOL_PUBLISH, MP_ERR_FULL, 5, 77, NULL);
    reply = reply_of(&out);
    assert_int_equal(protocol_read_error(&reply, &expected, &fault), MP_OK);
    assert_int_equal(fault.code, MP_ERR_FULL);
    assert_int_equal(expected, 0);
    assert_string_equal(fault.text, mp_error_text(MP_ERR_FULL));

    char words[2 * FAULT_TEXT];
    memset(words, 'w', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    out.size = 0;
    protocol_put_error(&out, PROTOCOL_ADMIN, MP_ERR_IO, 1, 0, words);
    reply = reply_of(&out);
    assert_int_equal(protocol_read_error(&reply, &expected, &fault), MP_OK);
    assert_int_equal(strlen(fault.text), FAULT_TEXT - 1);

    out.size = 0; /* a gap without its number */
    protocol_put_reply(&out, PROTOCOL_PUBLISH, MP_ERR_GAP, 5);
    reply = reply_of(&out);
    assert_int_equal(protocol_read_error(&reply, &expected, &fault), MP_ERR_FORMAT);
    buffer_free(&out);
}

static void a_welcome_is_read_as_written_and_must_fit(void **state)
{
    (void)state;
    struct protocol_welcome welcome = {.session = 3,
                                       .instance = 4,
                                       .published = 77,
                                       .max_message = 5,
                                       .lease = 6,
                                       .relay = "orders",
                                       .version = "0.1.0"};
    struct protocol_welcome read;
    struct buffer out = {0};
    protocol_put_reply(&out, PROTOCOL_HELLO, MP_OK, 1);
    protocol_put_welcome(&out, &welcome);
    struct protocol_reply reply = reply_of(&out);
    assert_int_equal(protocol_read_welcome(&reply, &read), MP_OK);
    assert_int_equal(read.session, 3);
    assert_int_equal(read.instance, 4);
    assert_int_equal(read.published, 77);
    assert_int_equal(read.max_message, 5);
    assert_int_equal(read.lease, 6);
    assert_string_equal(read.relay, "orders");
    assert_string_equal(read.version, "0.1.0");
    for (size_t size = 0; size < reply.body_size; size++) {
        struct protocol_reply cut = reply;
        cut.body_size = size;
        assert_int_equal(protocol_read_welcome(&cut, &read), MP_ERR_FORMAT);
    }
    out.data[PROTOCOL_REPLY_HEADER + 34] = '\n'; /* the relay's name is shown on terminals */
    assert_int_equal(protocol_read_welcome(&reply, &read), MP_ERR_FORMAT);
    out.size = PROTOCOL_REPLY_HEADER;
    buffer_put_u64(&out, 3);
    buffer_put_u64(&out, 4);
    buffer_put_u64(&out, 5);
    buffer_put_u64(&out, 6);
    buffer_put_string(&out, "orders", 6);
    buffer_put_string(&out, "a version that is longer than the array is", 42);
    reply = reply_of(&out);
    assert_int_equal(protocol_read_welcome(&reply, &read), MP_ERR_FORMAT);
    buffer_free(&out);
}

static void a_fetch_is_read_as_written_and_refused_when_cut(void **state)
{
    (void)state;
    struct protocol_position positions[2] = {{.topic = 1, .next = 10}, {.topic = 9, .next = UINT64_MAX}};
    struct protocol_fetch fetch = {.topic = "web.>",
                                   .topic_size = 5,
                                   .group = "",
                                   .group_size = 0,
                                   .from = PROTOCOL_FROM_LAST,
                                   .value = 100,
                                   .max_messages = 1,
                                   .max_bytes = 2,
                                   .wait = 3,
                                   .lease = 4,
                                   .positions_count = 2};
    struct protocol_fetch read;
    struct buffer out = {0};
    protocol_put_request(&out, PROTOCOL_FETCH, PROTOCOL_LANE_FETCH, 1, 0);
    assert_int_equal(protocol_put_fetch(&out, &fetch, positions), MP_OK);
    struct protocol_request request = request_of(&out);
    assert_int_equal(protocol_read_fetch(&request, &read), MP_OK);
    assert_int_equal(read.topic_size, 5);
    assert_memory_equal(read.topic, "web.>", 5);
    assert_int_equal(read.group_size, 0);
    assert_int_equal(read.from, PROTOCOL_FROM_LAST);
    assert_int_equal(read.value, 100);
    assert_int_equal(read.max_messages, 1);
    assert_int_equal(read.max_bytes, 2);
    assert_int_equal(read.wait, 3);
    assert_int_equal(read.lease, 4);
    assert_int_equal(read.positions_count, 2);
    assert_int_equal(protocol_fetch_position(&read, 0).next, 10);
    assert_int_equal(protocol_fetch_position(&read, 1).topic, 9);
    assert_true(protocol_fetch_position(&read, 1).next == UINT64_MAX);
    for (size_t size = 0; size < request.body_size; size++) {
        struct protocol_request cut = request;
        cut.body_size = size;
        assert_int_equal(protocol_read_fetch(&cut, &read), MP_ERR_FORMAT);
    }
    out.data[PROTOCOL_REQUEST_HEADER + 2 + 5 + 2] = PROTOCOL_FROM_EXACT + 1;
    assert_int_equal(protocol_read_fetch(&request, &read), MP_ERR_FORMAT);
    fetch.positions_count = PROTOCOL_POSITIONS_MAX + 1;
    assert_int_equal(protocol_put_fetch(&out, &fetch, positions), MP_ERR_TOO_LARGE);
    buffer_free(&out);
}

static void small_bodies_are_read_as_written(void **state)
{
    (void)state;
    struct buffer out = {0};
    const char *name;
    size_t name_size;
    uint32_t one;
    uint32_t two;
    char long_name[NAME_MAX_BYTES + 2];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';

    protocol_put_request(&out, PROTOCOL_HELLO, PROTOCOL_LANE_CONTROL, 0, 1);
    assert_int_equal(protocol_put_hello(&out, long_name, 0), MP_ERR_TOO_LARGE);
    assert_int_equal(protocol_put_hello(&out, "msend 4711", PROTOCOL_KEEP_MAX), MP_OK);
    struct protocol_request request = request_of(&out);
    assert_int_equal(protocol_read_hello(&request, &name, &name_size, &one), MP_OK);
    assert_int_equal(one, PROTOCOL_KEEP_MAX);
    assert_int_equal(name_size, 10);
    assert_memory_equal(name, "msend 4711", 10);

    store_u32(out.data + out.size - 4, PROTOCOL_KEEP_MAX + 1);
    assert_int_equal(protocol_read_hello(&request, &name, &name_size, &one), MP_ERR_FORMAT);

    out.size = 0;
    protocol_put_request(&out, PROTOCOL_ROOM, PROTOCOL_LANE_PUBLISH, 1, 1);
    struct protocol_room room = {.topic = "t", .topic_size = 1, .wait = 1000, .messages = 20, .bytes = 3000};
    protocol_put_room(&out, &room);
    memset(&room, 0, sizeof room);
    request = request_of(&out);
    assert_int_equal(protocol_read_room(&request, &room), MP_OK);
    assert_int_equal(room.topic_size, 1);
    assert_int_equal(room.wait, 1000);
    assert_int_equal(room.messages, 20);
    assert_int_equal(room.bytes, 3000);

    out.size = 0;
    protocol_put_reply(&out, PROTOCOL_SETTLE, MP_OK, 1);
    protocol_put_settled(&out, 5, 6);
    struct protocol_reply reply = reply_of(&out);
    assert_int_equal(protocol_read_settled(&reply, &one, &two), MP_OK);
    assert_int_equal(one, 5);
    assert_int_equal(two, 6);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_read_as_written),
        cmocka_unit_test(a_request_is_refused_for_every_wrong_byte_of_its_header),
        cmocka_unit_test(attempts_count_in_a_circle_without_the_zero),
        cmocka_unit_test(an_error_carries_its_words_and_a_gap_its_number),
        cmocka_unit_test(a_welcome_is_read_as_written_and_must_fit),
        cmocka_unit_test(a_fetch_is_read_as_written_and_refused_when_cut),
        cmocka_unit_test(small_bodies_are_read_as_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
