/* queue/engine.h: what an administrator removes and moves, and what a restart finds of it. */
#include "core_rig.h"

#include "relay/private.h"

#include <stdio.h>

/* A turn of its own for what CALL does; its error, in *RESULT. An error that is no refusal undoes the turn. */
#define ADMIN(rig, result, call)                                                                                       \
    do {                                                                                                               \
        begin(rig);                                                                                                    \
        (result) = (call);                                                                                             \
        end(rig);                                                                                                      \
    } while (0)

static void begin(struct rig *rig)
{
    rig_pass(rig, 1000);
    rig->real->begin(rig->engine, rig->now);
    rig->core->now = rig->now;
}

static void end(struct rig *rig)
{
    struct fault fault = {0};
    if (rig->real->commit(rig->engine, core_sessions_save, rig->core, &fault))
        fail_msg("%s", fault_text(&fault));
}

/* The store as a killed relay leaves it, without a snapshot since. */
static void crash(struct rig *rig)
{
    rig_restart(rig);
}

static struct protocol_chunk lease(struct rig *rig, uint64_t session, uint64_t number, const char *topic,
                                   const char *group, uint32_t messages)
{
    struct protocol_chunk chunk = {.count = 0};
    uint32_t id = rig_fetch(rig, 2, session, number, topic, group, messages, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    rig_chunk(rig, id, &chunk);
    rig_forget_replies(rig);
    return chunk;
}

/* Settles CHUNK; how many messages were held. */
static uint32_t ack(struct rig *rig, uint64_t session, uint64_t number, const struct protocol_chunk *chunk,
                    uint64_t fetch)
{
    struct protocol_settlement item = {.group = chunk->group,
                                       .lease = fetch,
                                       .first = chunk->first,
                                       .count = chunk->count,
                                       .action = PROTOCOL_ACK,
                                       .exit_code = -1};
    uint32_t applied, stale;
    uint32_t id = rig_settle(rig, 2, session, number, &item, NULL);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(protocol_read_settled(rig_reply(rig, id), &applied, &stale), MP_OK);
    rig_forget_replies(rig);
    return applied;
}

static void publish(struct rig *rig, uint64_t session, uint64_t number, const char *topic, unsigned count,
                    uint64_t expected)
{
    uint64_t first;
    uint32_t messages, duplicates;
    uint32_t id = rig_publish(rig, 1, session, number, topic, count);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(protocol_read_published(rig_reply(rig, id), &first, &messages, &duplicates), MP_OK);
    assert_int_equal(first, expected);
    assert_int_equal(messages, count);
    rig_forget_replies(rig);
}

static int set_up(void **state)
{
    int result = rig_set_up(state);
    struct rig *rig = *state;
    rig->local.snapshot_every = 1000;
    rig_restart(rig);
    return result;
}

/* ---- purge ----------------------------------------------------------------------------------------------------- */

static void a_purge_takes_what_nobody_holds(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    uint64_t messages, producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    enum mp_error error;
    publish(rig, producer, 1, "t", 10, 0);
    publish(rig, producer, 2, "t", 10, 10);
    struct protocol_chunk held = lease(rig, consumer, 1, "t", "g", 3);
    assert_int_equal(held.count, 3);
    ADMIN(rig, error, rig->real->purge_topic(rig->engine, "t", UINT64_MAX, &messages, &fault));
    assert_int_equal(error, MP_OK);
    assert_int_equal(messages, 17);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(lease(rig, consumer, 2, "t", "g", 0).count, 0);
        crash(rig);
    }
    publish(rig, producer, 3, "t", 5, 20);
    struct protocol_chunk next = lease(rig, consumer, 2, "t", "g", 0);
    assert_true(next.first == 20 && next.count == 5);
    assert_int_equal(ack(rig, consumer, 1, &held, 1), 3);
    assert_int_equal(ack(rig, consumer, 2, &next, 2), 5);
}

static void a_purge_without_groups_is_for_readers_too(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    uint64_t messages, producer = rig_hello(rig, 1);
    enum mp_error error;
    publish(rig, producer, 1, "t", 10, 0);
    ADMIN(rig, error, rig->real->purge_topic(rig->engine, "t", UINT64_MAX, &messages, &fault));
    assert_int_equal(error, MP_OK);
    assert_int_equal(messages, 10);
    crash(rig);
    assert_int_equal(rig_count(rig, "t"), 0);
    publish(rig, producer, 2, "t", 4, 10);
    assert_int_equal(rig_count(rig, "t"), 4);
    ADMIN(rig, error, rig->real->purge_topic(rig->engine, "nothing", UINT64_MAX, &messages, &fault));
    assert_int_equal(error, MP_ERR_NOT_FOUND);
    assert_non_null(strstr(fault_text(&fault), "no topic nothing"));
}

/* ---- topics ---------------------------------------------------------------------------------------------------- */

static void a_deleted_topic_leaves_its_name_and_not_its_number(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    uint64_t messages, producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    enum mp_error error;
    publish(rig, producer, 1, "t", 10, 0);
    struct protocol_chunk held = lease(rig, consumer, 1, "t", "g", 3);
    ADMIN(rig, error, rig->real->delete_topic(rig->engine, "t", false, &messages, &fault));
    assert_int_equal(error, MP_ERR_BUSY);
    assert_non_null(strstr(fault_text(&fault), "group g"));
    ADMIN(rig, error, rig->real->delete_topic(rig->engine, "t", true, &messages, &fault));
    assert_int_equal(error, MP_OK);
    assert_int_equal(messages, 10);
    assert_int_equal(ack(rig, consumer, 1, &held, 1), 0);
    crash(rig); /* before its frames are swept */
    assert_int_equal(rig_count(rig, "t"), 0);
    /* The session's number is known although the frame that tells it belongs to no topic. */
    publish(rig, producer, 1, "t", 10, 0);
    assert_int_equal(rig_count(rig, "t"), 0);
    publish(rig, producer, 2, "t", 4, 0);
    struct protocol_chunk next = lease(rig, consumer, 2, "t", "g", 0);
    assert_true(next.first == 0 && next.count == 4);
    assert_true(next.topic > held.topic && next.group > held.group);
    assert_int_equal(ack(rig, consumer, 2, &held, 1), 0);
    ADMIN(rig, error, rig->real->delete_topic(rig->engine, "u", true, &messages, &fault));
    assert_int_equal(error, MP_ERR_NOT_FOUND);
}

static enum mp_error count_frame(void *context, const struct store_frame *row)
{
    (void)row;
    ++*(unsigned *)context;
    return MP_OK;
}

static unsigned frames(struct rig *rig, uint32_t topic)
{
    unsigned count = 0;
    assert_int_equal(store_each_frame(rig->store, topic, 0, count_frame, &count, NULL), MP_OK);
    return count;
}

/* Lets the relay do what is due in the next ten seconds. */
static void let_pass(struct rig *rig)
{
    for (unsigned i = 0; i < 200; i++) {
        rig_pass(rig, SECOND / 20);
        rig_turn(rig);
    }
}

static void what_a_deleted_topic_had_is_swept_also_after_a_kill(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    uint64_t messages, producer = rig_hello(rig, 1);
    enum mp_error error;
    for (uint64_t i = 0; i < 300; i++)
        publish(rig, producer, i + 1, i % 2 ? "a" : "b", 3, i / 2 * 3);
    ADMIN(rig, error, rig->real->delete_topic(rig->engine, "b", false, &messages, &fault));
    assert_int_equal(error, MP_OK);
    assert_int_equal(frames(rig, 1) + frames(rig, 2), 300);
    crash(rig); /* its rows go when others come, a few at a time */
    assert_int_equal(frames(rig, 1) + frames(rig, 2), 300);
    for (uint64_t i = 0; i < 40; i++)
        publish(rig, producer, 301 + i, "a", 3, 450 + i * 3);
    assert_int_equal(frames(rig, 1) + frames(rig, 2), 190);
    assert_int_equal(rig_count(rig, "a"), 570);
}

/* ---- groups ---------------------------------------------------------------------------------------------------- */

static void a_group_in_use_is_deleted_by_force_only(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    enum mp_error error;
    publish(rig, producer, 1, "t", 10, 0);
    struct protocol_chunk held = lease(rig, consumer, 1, "t", "g", 0);
    assert_int_equal(held.count, 10);
    lease(rig, rig_hello(rig, 3), 1, "t", "other", 1); /* and settles nothing, so that all is there */
    ADMIN(rig, error, rig->real->delete_group(rig->engine, "t", "g", false, &fault));
    assert_int_equal(error, MP_ERR_BUSY);
    assert_int_equal(ack(rig, consumer, 1, &held, 1), 10);
    uint32_t waiting = rig_fetch(rig, 2, consumer, 2, "t", "g", 0, 5000);
    rig_turn(rig);
    assert_null(rig_reply(rig, waiting));
    ADMIN(rig, error, rig->real->delete_group(rig->engine, "t", "g", false, &fault));
    assert_int_equal(error, MP_ERR_BUSY);
    assert_non_null(strstr(fault_text(&fault), "waits"));
    ADMIN(rig, error, rig->real->delete_group(rig->engine, "t", "g", true, &fault));
    assert_int_equal(error, MP_OK);
    ADMIN(rig, error, rig->real->delete_group(rig->engine, "t", "g", true, &fault));
    assert_int_equal(error, MP_ERR_NOT_FOUND);
    let_pass(rig); /* who waited is answered */
    assert_non_null(rig_reply(rig, waiting));
    rig_forget_replies(rig);
    crash(rig);
    struct protocol_chunk again = lease(rig, consumer, 2, "t", "g", 0); /* a new group of the same name */
    assert_int_equal(again.count, 10);
    assert_true(again.group > held.group);
}

static void a_patterns_group_goes_with_all_that_it_has(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2), messages;
    enum mp_error error;
    publish(rig, producer, 1, "a.x", 2, 0);
    publish(rig, producer, 2, "a.y", 3, 0);
    uint32_t id = rig_fetch(rig, 2, consumer, 1, "a.*", "g", 0, 0);
    assert_int_equal(rig_status(rig, id), MP_OK);
    assert_int_equal(rig_messages(rig, id), 5);
    ADMIN(rig, error, rig->real->delete_topic(rig->engine, "a.x", true, &messages, &fault));
    assert_int_equal(error, MP_OK);
    ADMIN(rig, error, rig->real->delete_group(rig->engine, "a.*", "g", true, &fault));
    assert_int_equal(error, MP_OK);
    crash(rig);
    struct buffer out = {0};
    assert_int_equal(rig->real->describe_groups(rig->engine, &out), MP_OK);
    assert_int_equal(out.size, 2); /* [] */
    buffer_free(&out);
    assert_int_equal(lease(rig, consumer, 2, "a.*", "g", 0).count, 3);
}

static void a_group_is_moved_back_and_forth(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    enum mp_error error;
    publish(rig, producer, 1, "t", 10, 0);
    publish(rig, producer, 2, "t", 10, 10);
    struct protocol_chunk held = lease(rig, consumer, 1, "t", "g", 8);
    lease(rig, rig_hello(rig, 3), 1, "t", "other", 1); /* and settles nothing, so that all is there */
    ADMIN(rig, error, rig->real->seek_group(rig->engine, "t", "g", ENGINE_FROM_OFFSET, 5, false, &fault));
    assert_int_equal(error, MP_ERR_BUSY);
    ADMIN(rig, error, rig->real->seek_group(rig->engine, "t", "g", ENGINE_FROM_OFFSET, 15, true, &fault));
    assert_int_equal(error, MP_OK);
    crash(rig);
    assert_int_equal(ack(rig, consumer, 1, &held, 1), 0);
    struct protocol_chunk next = lease(rig, consumer, 2, "t", "g", 0);
    assert_true(next.first == 15 && next.count == 5 && next.attempt == 1);
    assert_int_equal(ack(rig, consumer, 2, &next, 2), 5);
    ADMIN(rig, error, rig->real->seek_group(rig->engine, "t", "g", ENGINE_FROM_START, 0, false, &fault));
    assert_int_equal(error, MP_OK);
    next = lease(rig, consumer, 3, "t", "g", 10);
    assert_true(next.first == 0 && next.count == 10);
    crash(rig);
    next = lease(rig, consumer, 4, "t", "g", 0);
    assert_true(next.first == 10 && next.count == 10);
    ADMIN(rig, error, rig->real->seek_group(rig->engine, "t", "h", ENGINE_FROM_START, 0, false, &fault));
    assert_int_equal(error, MP_ERR_NOT_FOUND);
}

static void set_expire(struct rig *rig, const char *topic, bool pattern, const char *value)
{
    struct group_settings settings;
    struct fault fault = {0};
    enum mp_error error;
    settings_group_default(&settings);
    assert_int_equal(settings_group_set(&settings, "expire", value, &fault), MP_OK);
    ADMIN(rig, error,
          rig->real->configure_group(rig->engine, topic, strlen(topic), pattern, "g", 1, &settings, &fault));
    assert_int_equal(error, MP_OK);
}

static size_t groups(struct rig *rig)
{
    size_t count = 0;
    struct buffer out = {0};
    assert_int_equal(rig->real->describe_groups(rig->engine, &out), MP_OK);
    for (size_t i = 0; i + 8 < out.size; i++)
        count += memcmp(out.data + i, "\"group\":", 8) == 0;
    buffer_free(&out);
    return count;
}

/* Waits as long as the relay says that it may, and no longer than DURATION. */
static void sleep_for(struct rig *rig, int64_t duration)
{
    int64_t end = rig->now.monotonic + duration;
    for (unsigned turns = 0; core_due(rig->core) <= end; turns++) {
        assert_true(turns < 10000);
        if (core_due(rig->core) > rig->now.monotonic)
            rig_pass(rig, core_due(rig->core) - rig->now.monotonic);
        rig_turn(rig);
    }
    rig_pass(rig, end - rig->now.monotonic);
}

static void a_group_that_nobody_uses_expires(void **state)
{
    struct rig *rig = *state;
    uint64_t producer = rig_hello(rig, 1), consumer = rig_hello(rig, 2);
    publish(rig, producer, 1, "t", 10, 0);
    publish(rig, producer, 2, "a.x", 10, 0);
    publish(rig, producer, 3, "a.y", 10, 0);
    set_expire(rig, "t", false, "1d");
    set_expire(rig, "a.*", true, "2d");
    assert_int_equal(groups(rig), 3);
    sleep_for(rig, 20 * 3600 * SECOND);
    consumer = rig_hello(rig, 2);
    struct protocol_chunk held = lease(rig, consumer, 1, "t", "g", 5);
    assert_int_equal(ack(rig, consumer, 1, &held, 1), 5);
    sleep_for(rig, 23 * 3600 * SECOND);
    assert_int_equal(groups(rig), 3);
    sleep_for(rig, 2 * 3600 * SECOND);
    assert_int_equal(groups(rig), 2);
    sleep_for(rig, 2 * 3600 * SECOND);
    crash(rig); /* a day and 23 hours since the other was used: it stays for the time of coming back */
    sleep_for(rig, 3500 * SECOND);
    assert_int_equal(groups(rig), 2);
    sleep_for(rig, 2 * 3600 * SECOND);
    assert_int_equal(groups(rig), 0);
    crash(rig);
    assert_int_equal(groups(rig), 0);
    /* All of the topic is for the next group that comes, but what the first had settled. */
    consumer = rig_hello(rig, 2);
    assert_int_equal(lease(rig, consumer, 1, "t", "g", 0).count, 5);
}

static void a_group_that_somebody_waits_on_does_not_expire(void **state)
{
    struct rig *rig = *state;
    uint64_t consumer = rig_hello(rig, 2);
    set_expire(rig, "t", false, "10s");
    uint32_t waiting = rig_fetch(rig, 2, consumer, 1, "t", "g", 0, 60000);
    sleep_for(rig, 50 * SECOND);
    assert_int_equal(groups(rig), 1);
    assert_null(rig_reply(rig, waiting));
    sleep_for(rig, 60 * SECOND);
    assert_int_equal(groups(rig), 0);
    assert_non_null(rig_reply(rig, waiting));
    rig_forget_replies(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_purge_takes_what_nobody_holds, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_purge_without_groups_is_for_readers_too, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_deleted_topic_leaves_its_name_and_not_its_number, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(what_a_deleted_topic_had_is_swept_also_after_a_kill, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_group_in_use_is_deleted_by_force_only, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_patterns_group_goes_with_all_that_it_has, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_group_that_nobody_uses_expires, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_group_that_somebody_waits_on_does_not_expire, set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_group_is_moved_back_and_forth, set_up, rig_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
