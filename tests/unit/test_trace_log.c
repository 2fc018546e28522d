/* The log of a store, read: names, places in time, what is meant, the messages themselves. */
#include "message/attributes.h"
#include "trace_rig.h"
#include "trace/select.h"

#include <stdlib.h>
#include <string.h>

struct rig {
    struct time_rig engine;
    struct trace_log *log;
    struct trace_select select;
    unsigned kinds[16];
    uint64_t ids[64];
    unsigned count;
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    time_rig_begin(&rig->engine);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    trace_select_free(&rig->select);
    trace_log_close(rig->log);
    time_rig_end(&rig->engine);
    free(rig);
    return 0;
}

static void look(struct rig *rig)
{
    trace_rig_look(&rig->engine, &rig->log);
}

static enum mp_error see(void *context, const struct store_event *event)
{
    struct rig *rig = context;
    rig->kinds[event->kind]++;
    rig->ids[rig->count++ % 64] = event->id;
    return MP_OK;
}

static unsigned walk(struct rig *rig, const struct store_event_filter *filter)
{
    struct fault fault = {0};
    memset(rig->kinds, 0, sizeof rig->kinds);
    rig->count = 0;
    if (trace_log_each(rig->log, filter, see, rig, &fault))
        fail_msg("%s", fault_text(&fault));
    return rig->count;
}

static unsigned select_and_walk(struct rig *rig, const struct trace_select_settings *settings)
{
    struct fault fault = {0};
    trace_select_free(&rig->select);
    if (trace_select_open(&rig->select, settings, rig->log, &fault))
        fail_msg("%s", fault_text(&fault));
    struct store_event_filter filter = trace_select_filter(&rig->select, 0);
    return walk(rig, &filter);
}

/* Two topics, a group each; one message at a second. */
static void some(struct rig *rig)
{
    char text[64];
    for (int i = 0; i < 3; i++) {
        time_rig_send(&rig->engine, "a", 0, "x", 2);
        time_rig_pass(&rig->engine, SECOND);
        time_rig_send(&rig->engine, "b.c", 0, "y", 1);
        time_rig_pass(&rig->engine, SECOND);
    }
    time_rig_join(&rig->engine, "a", "one");
    time_rig_join(&rig->engine, "b.c", "two");
    time_rig_consume(&rig->engine, "a", "one", 10, text, sizeof text);
    time_rig_consume(&rig->engine, "b.c", "two", 10, text, sizeof text);
    look(rig);
}

static void names_and_ends(void **state)
{
    struct rig *rig = *state;
    char text[TRACE_NAME_TEXT];
    uint64_t end;
    some(rig);
    const struct trace_topic *topic = trace_log_find_topic(rig->log, "b.c");
    assert_non_null(topic);
    assert_ptr_equal(trace_log_topic(rig->log, topic->id), topic);
    assert_int_equal(trace_log_end(rig->log, topic->id, &end, NULL), MP_OK);
    assert_int_equal(end, 3);
    assert_null(trace_log_find_topic(rig->log, "b"));
    assert_string_equal(trace_log_topic_name(rig->log, 77, text), "topic 77");
    assert_string_equal(trace_log_group_name(rig->log, 78, text), "group 78");
    assert_int_equal(trace_log_first(rig->log), 1);
    assert_true(trace_log_last(rig->log) >= 10);
}

static void a_place_in_time(void **state)
{
    struct rig *rig = *state;
    uint64_t id;
    some(rig);
    int64_t since = trace_log_since(rig->log);
    struct store_event event;
    for (int i = 0; i < 6; i++) { /* the publications are a second apart, each the first event of its second */
        assert_int_equal(trace_log_at(rig->log, since + i * SECOND, &id, NULL), MP_OK);
        assert_int_equal(store_find_event(rig->engine.store, id, &event, NULL), MP_OK);
        assert_int_equal(event.time, since + i * SECOND);
        assert_int_equal(event.kind, EVENT_PUBLISHED);
        assert_int_equal(trace_log_at(rig->log, since + i * SECOND + 1, &id, NULL), MP_OK);
        assert_true(id > event.id);
    }
    assert_int_equal(trace_log_at(rig->log, since - DAY, &id, NULL), MP_OK);
    assert_int_equal(id, trace_log_first(rig->log));
    assert_int_equal(trace_log_at(rig->log, since + DAY, &id, NULL), MP_OK);
    assert_int_equal(id, trace_log_last(rig->log) + 1);
}

static void what_is_meant(void **state)
{
    struct rig *rig = *state;
    some(rig);
    const char *const topic[] = {"b.*"}, *const group[] = {"one"}, *const kind[] = {"leased", "acked"};
    unsigned all = select_and_walk(rig, &(struct trace_select_settings){0});
    assert_int_equal(all, trace_log_last(rig->log));
    assert_int_equal(rig->kinds[EVENT_PUBLISHED], 6);

    select_and_walk(rig, &(struct trace_select_settings){.topics = topic, .topics_count = 1});
    assert_int_equal(rig->kinds[EVENT_PUBLISHED], 3);
    assert_int_equal(rig->kinds[EVENT_ACKED], 3); /* a frame each */

    select_and_walk(rig, &(struct trace_select_settings){.groups = group, .groups_count = 1});
    assert_int_equal(rig->kinds[EVENT_PUBLISHED], 6); /* of no group */
    assert_int_equal(rig->kinds[EVENT_ACKED], 3);

    unsigned some_kinds = select_and_walk(rig, &(struct trace_select_settings){.kinds = kind, .kinds_count = 2});
    assert_int_equal(some_kinds, rig->kinds[EVENT_LEASED] + rig->kinds[EVENT_ACKED]);
    assert_true(rig->kinds[EVENT_LEASED] >= 2);

    select_and_walk(rig, &(struct trace_select_settings){.since = "3s"});
    assert_int_equal(rig->kinds[EVENT_PUBLISHED], 3);
    select_and_walk(rig, &(struct trace_select_settings){.until = "3s"});
    assert_int_equal(rig->kinds[EVENT_PUBLISHED], 3);
    assert_int_equal(rig->kinds[EVENT_ACKED], 0);
}

static void what_makes_no_sense(void **state)
{
    struct rig *rig = *state;
    struct fault fault;
    const char *const wrong[] = {"b.d"}, *const kind[] = {"acke"}, *const attribute[] = {"type"};
    const struct {
        struct trace_select_settings settings;
        enum mp_error error;
        const char *said;
    } all[] = {
        {{.topics = wrong, .topics_count = 1}, MP_ERR_NOT_FOUND, "did you mean b.c"},
        {{.groups = wrong, .groups_count = 1}, MP_ERR_NOT_FOUND, "no group b.d"},
        {{.kinds = kind, .kinds_count = 1}, MP_ERR_INVALID, "did you mean acked"},
        {{.attributes = attribute, .attributes_count = 1}, MP_ERR_INVALID, "NAME=VALUE"},
        {{.since = "soon"}, MP_ERR_INVALID, "'soon' is no time"},
        {{.since = "1m", .until = "5m"}, MP_ERR_INVALID, "between 1m and 5m"},
        {{.trace = "12"}, MP_ERR_INVALID, "32 hex digits"},
    };
    some(rig);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        fault = (struct fault){0};
        assert_int_equal(trace_select_open(&rig->select, &all[i].settings, rig->log, &fault), all[i].error);
        assert_non_null(strstr(fault_text(&fault), all[i].said));
    }
}

/* What was passed over, and failures, stand in an index: found alone they are the same as among all others. */
static void what_is_rare_is_found(void **state)
{
    struct rig *rig = *state;
    time_rig_configure(&rig->engine, "t", "ttl", "1s");
    time_rig_join(&rig->engine, "t", "g");
    for (int i = 0; i < 3; i++) {
        time_rig_send(&rig->engine, "t", 0, "x", 2);
        time_rig_pass(&rig->engine, 2 * SECOND);
        time_rig_settle_down(&rig->engine);
    }
    some(rig);
    const struct store_event_filter every = {0}, rare = {.kinds = 1u << EVENT_EXPIRED};
    walk(rig, &every);
    unsigned expired = rig->kinds[EVENT_EXPIRED];
    assert_int_equal(expired, 3);
    assert_int_equal(walk(rig, &rare), expired);
    struct store_event_filter back = {.kinds = 1u << EVENT_EXPIRED, .newest_first = true};
    assert_int_equal(walk(rig, &back), expired);
    for (unsigned i = 1; i < expired; i++)
        assert_true(rig->ids[i] < rig->ids[i - 1]);
}

static void what_covers_an_offset(void **state)
{
    struct rig *rig = *state;
    some(rig);
    uint32_t topic = trace_log_find_topic(rig->log, "a")->id;
    const struct store_event_filter filter = {.topics = &topic, .topics_count = 1, .covers = true, .offset = 3};
    walk(rig, &filter);
    assert_int_equal(rig->kinds[EVENT_PUBLISHED], 1);
    assert_int_equal(rig->kinds[EVENT_LEASED], 1);
    assert_int_equal(rig->kinds[EVENT_ACKED], 1);
}

static void messages_and_their_attributes(void **state)
{
    struct rig *rig = *state;
    const struct rig_message messages[] = {
        {"one", {"id", "first", "partitionkey", "k", NULL}},
        {"two", {"type", "order.new", NULL}},
        {"three", {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", NULL}},
    };
    time_rig_publish(&rig->engine, "t", "", 0, messages, 3, NULL);
    look(rig);
    uint32_t topic = trace_log_find_topic(rig->log, "t")->id;
    struct trace_message message;
    for (uint64_t offset = 3; offset-- > 0;) { /* also backwards */
        assert_int_equal(trace_log_message(rig->log, topic, offset, &message, NULL), MP_OK);
        assert_int_equal(message.record.size, strlen(messages[offset].body));
        assert_memory_equal(message.record.body, messages[offset].body, message.record.size);
    }
    assert_int_equal(trace_log_message(rig->log, topic, 3, &message, NULL), MP_ERR_NOT_FOUND);
    const char *const type[] = {"type=order.*"}, *const id[] = {"id=fir?t", "key=k"};
    const struct trace_select_settings settings[] = {
        {.key = "k"},
        {.attributes = type, .attributes_count = 1},
        {.trace = "0af7651916cd43dd8448eb211c80319c"},
        {.attributes = id, .attributes_count = 2},
    };
    const uint64_t expected[] = {0, 1, 2, 0};
    for (size_t i = 0; i < 4; i++) {
        trace_select_free(&rig->select);
        assert_int_equal(trace_select_open(&rig->select, &settings[i], rig->log, NULL), MP_OK);
        assert_true(trace_select_by_message(&rig->select));
        for (uint64_t offset = 0; offset < 4; offset++)
            assert_int_equal(trace_select_message(&rig->select, NULL, 0, topic, offset), offset == expected[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_and_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(a_place_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_meant, setup, teardown),
        cmocka_unit_test_setup_teardown(what_makes_no_sense, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_rare_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(what_covers_an_offset, setup, teardown),
        cmocka_unit_test_setup_teardown(messages_and_their_attributes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
