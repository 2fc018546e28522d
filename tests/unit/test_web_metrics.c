/* Metrics slice by slice: what is written in all is whole, whatever happens between two slices. */
#include "core_rig.h"

#include "transport/server.h"
#include "web/metrics.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOPICS = 800 };

static struct event_base *base;
static struct server *server;
static struct buffer text;

static int64_t stopwatch(void *context)
{
    (void)context;
    return 0;
}

static void received(void *context, struct server_message *message)
{
    (void)context;
    server_message_free(message);
}

static int set_up(void **state)
{
    const struct server_settings settings = {.protocol = SERVER_REP, .max_message = 1000, .received = received};
    int failed = rig_set_up(state);
    struct rig *rig = *state;
    rig->settings.stopwatch = stopwatch;
    rig->local.measure = true;
    rig_restart(rig);
    base = event_base_new();
    assert_non_null(base);
    assert_int_equal(server_new(base, &settings, &server, NULL), MP_OK);
    text = (struct buffer){0};
    return failed;
}

static int tear_down(void **state)
{
    server_free(server);
    event_base_free(base);
    buffer_free(&text);
    return rig_tear_down(state);
}

static void publish(struct rig *rig, unsigned first, unsigned end)
{
    char topic[32];
    for (unsigned i = first; i < end; i++) {
        uint64_t session = rig_hello(rig, 1);
        snprintf(topic, sizeof topic, "topic.number.%u", i);
        rig_publish(rig, 1, session, 1, topic, 2);
        rig_turn(rig);
        rig_forget_replies(rig);
    }
}

static struct metrics *begin(struct rig *rig)
{
    const struct relay_view view = {.base = base, .core = rig->core, .server = server};
    const struct metrics_owner owner = {.started = 1, .requests = 2, .connections = 3};
    struct metrics *metrics = metrics_new(&view, &owner);
    assert_non_null(metrics);
    return metrics;
}

/* Takes the next slice; false: there is none. */
static bool take(struct metrics *metrics)
{
    struct buffer *slice;
    assert_int_equal(metrics_next(metrics, &slice), MP_OK);
    assert_true(slice->size < METRICS_SLICE + 4096);
    assert_int_equal(buffer_append(&text, slice->data, slice->size), MP_OK);
    return slice->size > 0;
}

static unsigned take_all(struct metrics *metrics)
{
    unsigned slices = 0;
    while (take(metrics))
        slices++;
    assert_int_equal(buffer_append(&text, "", 1), MP_OK);
    metrics_free(metrics);
    return slices;
}

/* How many lines begin with BEGIN. */
static unsigned lines(const char *begin)
{
    unsigned count = 0;
    for (const char *at = (const char *)text.data; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        count += strncmp(at, begin, strlen(begin)) == 0;
    return count;
}

static void it_comes_in_slices_and_is_whole(void **state)
{
    struct rig *rig = *state;
    publish(rig, 0, TOPICS);
    assert_true(take_all(begin(rig)) > 5);
    assert_int_equal(lines("msgpipe_topic_messages_published_total{"), TOPICS);
    assert_int_equal(lines("# TYPE msgpipe_topic_messages_published_total counter"), 1);
    assert_int_equal(lines("msgpipe_topic_messages_published_total{topic=\"topic.number.7\"} 2\n"), 1);
    assert_int_equal(lines("msgpipe_http_requests_total 2\n"), 1);
    assert_int_equal(lines("msgpipe_relay_info{relay=\"test\",version=\"1\"} 1\n"), 1);
}

static void what_goes_meanwhile_is_left_out(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    uint64_t messages;
    publish(rig, 0, TOPICS);
    struct metrics *metrics = begin(rig);
    while (lines("msgpipe_topic_messages_published_total{") == 0) {
        assert_true(take(metrics));
        assert_int_equal(buffer_append(&text, "", 1), MP_OK);
        text.size--;
    }
    publish(rig, TOPICS, TOPICS + 1);
    const struct engine_operations *engine = rig->engine->operations;
    engine->begin(rig->engine, rig->now);
    for (unsigned i = 0; i < TOPICS; i += 2) {
        char topic[32];
        snprintf(topic, sizeof topic, "topic.number.%u", i);
        assert_int_equal(engine->delete_topic(rig->engine, topic, true, &messages, &fault), MP_OK);
    }
    rig_turn(rig);
    take_all(metrics);
    assert_int_equal(lines("msgpipe_topic_last_published_timestamp_seconds{"), TOPICS / 2);
    assert_int_equal(lines("msgpipe_topic_last_published_timestamp_seconds{topic=\"topic.number.7\"}"), 1);
    assert_int_equal(lines("msgpipe_topic_last_published_timestamp_seconds{topic=\"topic.number.800\"}"), 0);
}

static void without_a_topic_the_relay_tells_of_itself(void **state)
{
    struct rig *rig = *state;
    take_all(begin(rig));
    assert_int_equal(lines("msgpipe_topic_"), 0);
    assert_int_equal(lines("# TYPE msgpipe_topic_"), 0);
    assert_int_equal(lines("msgpipe_sessions 0\n"), 1);
    assert_int_equal(lines("msgpipe_turn_seconds_bucket{le=\"+Inf\"}"), 1);
}

static void who_stops_in_the_middle_leaves_nothing(void **state)
{
    struct rig *rig = *state;
    publish(rig, 0, TOPICS);
    struct metrics *metrics = begin(rig);
    assert_true(take(metrics));
    metrics_free(metrics);
    metrics_free(NULL);
}

int main(void)
{
#define RIGGED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RIGGED(it_comes_in_slices_and_is_whole),
        RIGGED(what_goes_meanwhile_is_left_out),
        RIGGED(without_a_topic_the_relay_tells_of_itself),
        RIGGED(who_stops_in_the_middle_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
