/* Chunks of messages in the relay's answers: which offsets they have, and what is refused. */
#include "protocol_ends.h"

static void put_two_chunks(struct buffer *out)
{
    struct protocol_chunk chunk = {.topic = 1, .group = 2, .first = 30, .count = 4, .attempt = 5};
    chunk.name = "orders.new";
    chunk.name_size = 10;
    chunk.frame_size = 3;
    out->size = 0;
    protocol_put_reply(out, PROTOCOL_FETCH, MP_OK, 1);
    protocol_put_fetched(out, PROTOCOL_FETCH_END, 99, 2);
    protocol_put_chunk(out, &chunk);
    buffer_append(out, "abc", 3);
    chunk.first = 34;
    chunk.count = 0;
    chunk.frame_size = 0;
    protocol_put_chunk(out, &chunk);
}

static void chunks_are_read_as_written_and_refused_as_a_whole(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct protocol_fetched fetched;
    struct protocol_chunk chunk;
    put_two_chunks(&out);
    struct protocol_reply reply = reply_of(&out);
    assert_int_equal(protocol_read_fetched(&reply, &fetched), MP_OK);
    assert_int_equal(fetched.flags, PROTOCOL_FETCH_END);
    assert_int_equal(fetched.waiting, 99);
    assert_int_equal(fetched.chunks, 2);
    assert_true(protocol_next_chunk(&fetched, &chunk));
    assert_int_equal(chunk.topic, 1);
    assert_int_equal(chunk.group, 2);
    assert_int_equal(chunk.first, 30);
    assert_int_equal(chunk.count, 4);
    assert_int_equal(chunk.attempt, 5);
    assert_int_equal(chunk.name_size, 10);
    assert_memory_equal(chunk.name, "orders.new", 10);
    assert_int_equal(chunk.frame_size, 3);
    assert_memory_equal(chunk.frame, "abc", 3);
    assert_true(protocol_next_chunk(&fetched, &chunk));
    assert_int_equal(chunk.first, 34);
    assert_int_equal(chunk.frame_size, 0);
    assert_false(protocol_next_chunk(&fetched, &chunk));

    for (size_t size = 0; size < reply.body_size; size++) {
        struct protocol_reply cut = reply;
        cut.body_size = size;
        assert_int_equal(protocol_read_fetched(&cut, &fetched), MP_ERR_FORMAT);
    }
    buffer_append(&out, "x", 1);
    reply = reply_of(&out);
    assert_int_equal(protocol_read_fetched(&reply, &fetched), MP_ERR_FORMAT);
    put_two_chunks(&out);
    out.data[PROTOCOL_REPLY_HEADER + 11 + 32] = '\t'; /* in the topic's name */
    reply = reply_of(&out);
    assert_int_equal(protocol_read_fetched(&reply, &fetched), MP_ERR_FORMAT);
    put_two_chunks(&out);
    memset(out.data + PROTOCOL_REPLY_HEADER + 11 + 8, 0xff, 8); /* offsets past the last one */
    reply = reply_of(&out);
    assert_int_equal(protocol_read_fetched(&reply, &fetched), MP_ERR_FORMAT);
    buffer_free(&out);
}

/* Offsets 30, 32, 41 and 45 of [30, 46). */
static void put_masked_chunk(struct buffer *out, uint32_t count, uint32_t span, const uint8_t *mask)
{
    struct protocol_chunk chunk = {.topic = 1, .group = 2, .first = 30, .count = count, .span = span, .mask = mask};
    chunk.name = "t";
    chunk.name_size = 1;
    chunk.frame_size = 3;
    out->size = 0;
    protocol_put_reply(out, PROTOCOL_FETCH, MP_OK, 1);
    protocol_put_fetched(out, 0, 0, 1);
    assert_int_equal(protocol_put_chunk(out, &chunk), MP_OK);
    buffer_append(out, "abc", 3);
}

static void a_mask_tells_which_offsets_a_chunk_has(void **state)
{
    (void)state;
    static const uint8_t mask[2] = {0x05, 0x88};
    static const uint64_t offsets[4] = {30, 32, 41, 45};
    struct buffer out = {0};
    struct protocol_fetched fetched;
    struct protocol_chunk chunk;
    put_masked_chunk(&out, 4, 16, mask);
    struct protocol_reply reply = reply_of(&out);
    assert_int_equal(protocol_read_fetched(&reply, &fetched), MP_OK);
    assert_true(protocol_next_chunk(&fetched, &chunk));
    assert_int_equal(chunk.count, 4);
    assert_int_equal(chunk.span, 16);
    assert_memory_equal(chunk.mask, mask, 2);
    assert_memory_equal(chunk.frame, "abc", 3);
    uint64_t offset = 0;
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(protocol_chunk_offset(&chunk, i), offsets[i]);
        offset = protocol_chunk_next(&chunk, offset);
        assert_int_equal(offset++, offsets[i]);
    }
    assert_int_equal(protocol_chunk_next(&chunk, offset), 46);
    assert_int_equal(protocol_chunk_next(&chunk, 33), 41);
    for (size_t size = 0; size < reply.body_size; size++) {
        struct protocol_reply cut = reply;
        cut.body_size = size;
        assert_int_equal(protocol_read_fetched(&cut, &fetched), MP_ERR_FORMAT);
    }
    buffer_free(&out);
}

static void a_chunk_without_gaps_counts_by_itself(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct protocol_fetched fetched;
    struct protocol_chunk chunk;
    put_two_chunks(&out);
    struct protocol_reply reply = reply_of(&out);
    assert_int_equal(protocol_read_fetched(&reply, &fetched), MP_OK);
    assert_true(protocol_next_chunk(&fetched, &chunk));
    assert_int_equal(chunk.span, 4);
    assert_null(chunk.mask);
    assert_int_equal(protocol_chunk_offset(&chunk, 3), 33);
    assert_int_equal(protocol_chunk_next(&chunk, 0), 30);
    assert_int_equal(protocol_chunk_next(&chunk, 32), 32);
    assert_int_equal(protocol_chunk_next(&chunk, 34), 34);
    buffer_free(&out);
}

static void a_mask_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const uint8_t mask[2] = {0x05, 0x88};
    static const struct {
        uint32_t count, span;
    } wrong[] = {{3, 16}, {5, 16}, {4, 15}, {0, 16}, {4, FRAME_COUNT_MAX + 1}, {20, 16}};
    struct buffer out = {0};
    struct protocol_fetched fetched;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put_masked_chunk(&out, 4, 16, mask);
        store_u32(out.data + PROTOCOL_REPLY_HEADER + 11 + 16, wrong[i].count);
        store_u32(out.data + PROTOCOL_REPLY_HEADER + 11 + 20, wrong[i].span);
        struct protocol_reply reply = reply_of(&out);
        assert_int_equal(protocol_read_fetched(&reply, &fetched), MP_ERR_FORMAT);
    }
    struct protocol_chunk chunk = {.count = 4, .span = FRAME_COUNT_MAX + 1, .mask = mask, .name = "t", .name_size = 1};
    assert_int_equal(protocol_put_chunk(&out, &chunk), MP_ERR_TOO_LARGE);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_read_as_written_and_refused_as_a_whole),
        cmocka_unit_test(a_chunk_without_gaps_counts_by_itself),
        cmocka_unit_test(a_mask_tells_which_offsets_a_chunk_has),
        cmocka_unit_test(a_mask_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
