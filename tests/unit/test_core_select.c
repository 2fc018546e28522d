/* relay/core.h: looks and claims, frames with gaps, and settlements of spans with outputs for one group. */
#include "core_rig.h"

/* Asks for messages of topic t and group g. */
static uint32_t ask(struct rig *rig, uint64_t session, uint64_t number, unsigned flags, struct protocol_fetch fetch)
{
    struct buffer body = {0};
    if (!fetch.topic) {
        fetch.topic = "t";
        fetch.topic_size = 1;
        fetch.group = "g";
        fetch.group_size = 1;
    }
    fetch.max_bytes = 100000;
    assert_int_equal(protocol_put_fetch(&body, &fetch, NULL), MP_OK);
    uint32_t id = rig_submit(rig, 1, PROTOCOL_FETCH, PROTOCOL_LANE_FETCH, session, number, flags, &body);
    buffer_free(&body);
    return id;
}

static uint32_t look(struct rig *rig, uint64_t session)
{
    return ask(rig, session, 0, PROTOCOL_FETCH_PEEK, (struct protocol_fetch){.wait = 10000});
}

static uint32_t claim(struct rig *rig, uint64_t session, uint64_t number, uint64_t first, uint32_t count)
{
    return ask(
        rig, session, number, 0,
        (struct protocol_fetch){.from = PROTOCOL_FROM_EXACT, .value = first, .max_messages = count, .wait = 10000});
}

/* A session, ten messages in t, and group g there, whose first fetch leased all and gave them back. */
static uint64_t begin(struct rig *rig)
{
    uint64_t other = rig_hello(rig, 2), session = rig_hello(rig, 1);
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "t", 10)), MP_OK);
    uint32_t id = rig_fetch(rig, 2, other, 1, "t", "g", 10, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(rig_messages(rig, id), 10);
    struct buffer none = {0};
    id = rig_submit(rig, 2, PROTOCOL_LEAVE, PROTOCOL_LANE_CONTROL, other, 1, 0, &none);
    assert_int_equal(rig_status(rig, id), MP_OK);
    rig_forget_replies(rig);
    return session;
}

static struct protocol_chunk only_chunk(struct rig *rig, uint32_t id, uint32_t messages)
{
    struct protocol_chunk chunk;
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_true(rig_chunk(rig, id, &chunk));
    assert_int_equal(chunk.count, messages);
    assert_int_equal(rig_messages(rig, id), messages);
    return chunk;
}

static void who_looks_is_answered_at_once_and_holds_nothing(void **state)
{
    struct rig *rig = *state;
    uint64_t session = begin(rig);
    assert_int_equal(only_chunk(rig, look(rig, session), 10).group, 0);
    struct protocol_chunk chunk = only_chunk(rig, claim(rig, session, 1, 2, 3), 3);
    assert_int_equal(chunk.first, 2);
    struct protocol_settlement item = {
        .group = chunk.group, .lease = 1, .first = 2, .count = 3, .action = PROTOCOL_ACK, .exit_code = -1};
    assert_int_equal(rig_status(rig, rig_settle(rig, 1, session, 1, &item, NULL)), MP_OK);
    chunk = only_chunk(rig, look(rig, session), 7); /* what is settled is not there */
    assert_int_equal(chunk.span, 10);
    assert_int_equal(protocol_chunk_offset(&chunk, 2), 5);
    item.first = 0;
    uint32_t id = rig_fetch(rig, 1, session, 2, "t", "g", 10, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    item.lease = 2;
    item.count = 7;
    item.span = 10;
    assert_int_equal(rig_status(rig, rig_settle(rig, 1, session, 2, &item, NULL)), MP_OK);
    id = look(rig, session); /* answered though it was ready to wait */
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(rig_messages(rig, id), 0);
}

static void a_claim_gives_just_what_waits_there(void **state)
{
    struct rig *rig = *state;
    uint64_t session = begin(rig);
    assert_int_equal(only_chunk(rig, claim(rig, session, 1, 4, 2), 2).first, 4);
    struct protocol_chunk chunk = only_chunk(rig, claim(rig, session, 2, 3, 5), 3); /* two of them are out */
    assert_int_equal(protocol_chunk_offset(&chunk, 0), 3);
    assert_int_equal(protocol_chunk_offset(&chunk, 1), 6);
    chunk = only_chunk(rig, claim(rig, session, 2, 3, 5), 3); /* a repeat gives the same */
    assert_int_equal(protocol_chunk_offset(&chunk, 2), 7);
    uint32_t nothing = claim(rig, session, 3, 3, 5);
    assert_int_equal(rig_status(rig, nothing), MP_OK);
    assert_int_equal(rig_messages(rig, nothing), 0);
    assert_int_equal(only_chunk(rig, claim(rig, session, 3, 8, 100), 2).first, 8);
}

static void neither_looking_nor_claiming_makes_a_group(void **state)
{
    struct rig *rig = *state;
    uint64_t session = rig_hello(rig, 1);
    assert_int_equal(rig_status(rig, rig_publish(rig, 1, session, 1, "t", 10)), MP_OK);
    assert_int_equal(rig_status(rig, look(rig, session)), MP_ERR_NOT_FOUND);
    assert_int_equal(rig_status(rig, claim(rig, session, 1, 0, 5)), MP_ERR_NOT_FOUND);
    uint32_t id = rig_fetch(rig, 1, session, 1, "t", "g", 10, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    struct protocol_fetched fetched;
    assert_int_equal(protocol_read_fetched(rig_reply(rig, id), &fetched), MP_OK);
    assert_true(fetched.flags & PROTOCOL_FETCH_NEW_GROUP);
}

static void looks_and_claims_that_make_no_sense_are_refused(void **state)
{
    struct rig *rig = *state;
    uint64_t session = begin(rig);
    static const struct protocol_fetch nobody = {.topic = "t", .topic_size = 1, .group = ""};
    assert_int_equal(rig_status(rig, ask(rig, session, 0, PROTOCOL_FETCH_PEEK, nobody)), MP_ERR_INVALID);
    assert_int_equal(rig_status(rig, claim(rig, session, 1, 0, 0)), MP_ERR_INVALID);
    struct protocol_fetch all = {.topic = "*", .topic_size = 1, .group = "g", .group_size = 1};
    all.from = PROTOCOL_FROM_EXACT;
    all.max_messages = 5;
    assert_int_equal(rig_status(rig, ask(rig, session, 1, 0, all)), MP_ERR_INVALID);
    assert_int_equal(rig_status(rig, ask(rig, session, 0, PROTOCOL_FETCH_PEEK, all)), MP_ERR_INVALID);
}

/* Settles a span together with a message for group g alone. */
static uint32_t settle_with_output(struct rig *rig, uint64_t session, const struct protocol_settlement *item,
                                   const char *target)
{
    struct buffer body = {0};
    struct frame_builder frame = {0};
    struct protocol_publication to = protocol_publication("t");
    assert_int_equal(frame_begin(&frame, session, 5000), MP_OK);
    assert_int_equal(frame_add(&frame, "again", 5, NULL, 0), MP_OK);
    frame_finish(&frame, 1);
    to.target = target;
    to.target_size = strlen(target);
    to.frame = frame.bytes.data;
    to.frame_size = frame.bytes.size;
    assert_int_equal(protocol_put_settle(&body, item, 1, 1), MP_OK);
    assert_int_equal(protocol_put_settle_publish(&body, &to), MP_OK);
    uint32_t id = rig_submit(rig, 1, PROTOCOL_SETTLE, PROTOCOL_LANE_SETTLE, session, 1, PROTOCOL_ATOMIC, &body);
    buffer_free(&body);
    frame_builder_free(&frame);
    return id;
}

static void a_span_is_settled_with_its_output_or_nothing_is_done(void **state)
{
    struct rig *rig = *state;
    uint64_t session = begin(rig);
    only_chunk(rig, claim(rig, session, 1, 4, 2), 2);
    struct protocol_chunk chunk = only_chunk(rig, claim(rig, session, 2, 3, 5), 3);
    struct protocol_settlement item = {
        .group = chunk.group, .lease = 2, .first = 3, .count = 4, .span = 5, .action = PROTOCOL_ACK, .exit_code = -1};
    /* The lease holds three of them. */
    assert_int_equal(rig_status(rig, settle_with_output(rig, session, &item, "g")), MP_ERR_STALE);
    item.count = 3;
    assert_int_equal(rig_status(rig, settle_with_output(rig, session, &item, "nobody")), MP_ERR_NOT_FOUND);
    assert_int_equal(rig_count(rig, "t"), 10);
    for (unsigned time = 0; time < 2; time++) { /* and once only */
        uint32_t applied, stale, id = settle_with_output(rig, session, &item, "g");
        assert_int_equal(rig_status(rig, id), MP_OK);
        assert_int_equal(protocol_read_settled(rig_reply(rig, id), &applied, &stale), MP_OK);
        assert_int_equal(applied, 3);
        assert_int_equal(stale, 0);
        rig_forget_replies(rig);
        rig_restart(rig);
    }
    /* Group g sees it; readers and other groups do not. */
    assert_int_equal(rig_count(rig, "t"), 10);
    item = (struct protocol_settlement){
        .group = chunk.group, .lease = 1, .first = 4, .count = 2, .action = PROTOCOL_RELEASE, .exit_code = -1};
    assert_int_equal(rig_status(rig, rig_settle(rig, 1, session, 2, &item, NULL)), MP_OK);
    uint32_t id = rig_fetch(rig, 1, session, 3, "t", "g", 100, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(rig_messages(rig, id), 10 - 3 + 1);
    id = rig_fetch(rig, 1, rig_hello(rig, 1), 1, "t", "h", 100, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(rig_messages(rig, id), 10);
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGGED(who_looks_is_answered_at_once_and_holds_nothing),
        RIGGED(a_claim_gives_just_what_waits_there),
        RIGGED(neither_looking_nor_claiming_makes_a_group),
        RIGGED(looks_and_claims_that_make_no_sense_are_refused),
        RIGGED(a_span_is_settled_with_its_output_or_nothing_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
