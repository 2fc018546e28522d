/* What happened as spans: their ids, their links, and that an export can be broken off anywhere. */
#include "trace/follow.h"

#include "message/trace.h"
#include "trace_rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPANS_MOST = 2000, LINE = 160 };

struct lines {
    char all[SPANS_MOST][LINE];
    size_t count;
};

struct rig {
    struct time_rig engine;
    struct trace_log *log;
    struct lines lines;
    struct span last; /* of the kind that is looked for */
    const char *wanted;
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
    trace_log_close(rig->log);
    time_rig_end(&rig->engine);
    free(rig);
    return 0;
}

static enum mp_error note(void *context, const struct span *span)
{
    struct rig *rig = context;
    struct lines *lines = &rig->lines;
    assert_true(lines->count < SPANS_MOST);
    snprintf(lines->all[lines->count++], LINE,
             "%s %s %s %016" PRIx64 " in %016" PRIx64 "%016" PRIx64 " %u@%" PRIu64 " %" PRId64 "-%" PRId64 " links %u",
             span->operation, span->topic, span->group ? span->group : "-", span->id, span->trace[0], span->trace[1],
             span->count, span->offset, span->start, span->end, span->links_count);
    assert_true(span->start <= span->end);
    if (rig->wanted && strcmp(span->operation, rig->wanted) == 0)
        rig->last = *span;
    return MP_OK;
}

struct walk {
    struct trace_spans *spans;
    uint64_t until;
    struct fault fault;
};

static enum mp_error step(void *context, const struct store_event *event)
{
    struct walk *walk = context;
    return event->id > walk->until ? MP_ERR_CLOSED : trace_spans_event(walk->spans, event, &walk->fault);
}

/* Reads the events from FROM to UNTIL, and gives what ended after AFTER. Where reading would begin again. */
static uint64_t read_events(struct rig *rig, uint64_t from, uint64_t after, uint64_t until)
{
    struct walk walk = {.until = until};
    const struct trace_spans_settings settings = {.log = rig->log, .after = after, .context = rig, .span = note};
    assert_int_equal(trace_spans_open(&settings, &walk.spans, &walk.fault), MP_OK);
    const struct store_event_filter filter = {.after = from - 1};
    enum mp_error error = trace_log_each(rig->log, &filter, step, &walk, &walk.fault);
    if (error && error != MP_ERR_CLOSED)
        fail_msg("%s", fault_text(&walk.fault));
    uint64_t oldest = trace_spans_oldest(walk.spans);
    trace_spans_close(walk.spans);
    return oldest ? oldest : until + 1;
}

static void look(struct rig *rig)
{
    trace_rig_look(&rig->engine, &rig->log);
}

/* Two topics, one with two groups, frames and fetches that do not meet. */
static void some_traffic(struct rig *rig)
{
    static const struct rig_message named[] = {{"a", {"id", "first", NULL}}, {"b", {"partitionkey", "k", NULL}}};
    struct time_rig *engine = &rig->engine;
    char text[4096];
    time_rig_join(engine, "t", "g");
    time_rig_join(engine, "t", "h");
    time_rig_join(engine, "u", "g");
    for (int i = 0; i < 6; i++) {
        time_rig_send(engine, "t", 0, "x", 3);
        time_rig_pass(engine, SECOND);
        time_rig_publish(engine, "u", "", i % 2 ? SECOND / 2 : 0, named, 2, NULL);
        time_rig_consume(engine, "t", "g", 2, text, sizeof text);
        time_rig_pass(engine, SECOND);
        time_rig_settle_down(engine);
        time_rig_consume(engine, "u", "g", 5, text, sizeof text);
    }
    time_rig_consume(engine, "t", "h", 18, text, sizeof text);
    time_rig_consume(engine, "t", "g", 4, text, sizeof text);
    look(rig);
}

static void an_export_that_is_broken_off_anywhere_goes_on_as_if_it_were_not(void **state)
{
    struct rig *rig = *state;
    some_traffic(rig);
    uint64_t last = trace_log_last(rig->log);
    read_events(rig, 1, 0, last);
    struct lines whole = rig->lines;
    /* Each message once published, and so many deliveries of three spans. */
    assert_int_equal(whole.count, 6 * (3 + 2) + 3 * (16 + 18 + 12));
    for (uint64_t at = 0; at <= last; at++) {
        rig->lines.count = 0;
        uint64_t from = read_events(rig, 1, 0, at);
        assert_true(from > 0 && from <= at + 1);
        read_events(rig, from, at, last);
        assert_int_equal(rig->lines.count, whole.count);
        for (size_t i = 0; i < whole.count; i++)
            assert_string_equal(rig->lines.all[i], whole.all[i]);
    }
    for (size_t i = 0; i < whole.count; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(whole.all[i], whole.all[j]);
}

static void ids_are_those_that_messages_are_told(void **state)
{
    struct rig *rig = *state;
    char text[64];
    time_rig_join(&rig->engine, "t", "g");
    time_rig_send(&rig->engine, "t", 0, "x", 1);
    time_rig_consume(&rig->engine, "t", "g", 1, text, sizeof text);
    look(rig);
    rig->wanted = "process";
    read_events(rig, 1, 0, trace_log_last(rig->log));
    const struct span *span = &rig->last;
    const struct trace_place published = {.topic = "t"},
                             delivered = {.topic = "t",
                                          .group = "g",
                                          .attempt = 1,
                                          .delivery = trace_delivery(rig->engine.session, rig->engine.fetches)};
    uint64_t producer = span->trace[0], sequence = span->trace[1];
    assert_int_equal(producer, rig->engine.producer);
    assert_int_equal(span->id, trace_span(producer, sequence, &delivered));
    assert_int_equal(span->links_count, 1);
    assert_int_equal(span->links[0].span, trace_span(producer, sequence, &published));
    assert_memory_equal(span->links[0].trace, span->trace, sizeof span->trace);
    assert_int_equal(span->kind, SPAN_CONSUMER);
    assert_string_equal(span->type, "process");
    assert_int_equal(span->parent, 0);
}

static void many_that_went_together_are_one_span(void **state)
{
    struct rig *rig = *state;
    char text[4096];
    time_rig_join(&rig->engine, "t", "g");
    time_rig_send(&rig->engine, "t", 0, "x", 1000);
    time_rig_consume(&rig->engine, "t", "g", 64, text, sizeof text);
    time_rig_consume(&rig->engine, "t", "g", 65, text, sizeof text);
    look(rig);
    rig->wanted = "process";
    read_events(rig, 1, 0, trace_log_last(rig->log));
    assert_int_equal(rig->lines.count, 1 + 64 * 3 + 3);
    assert_int_equal(rig->last.count, 65);
    assert_int_equal(rig->last.offset, 64);
    assert_int_equal(rig->last.links_count, SPAN_LINKS);
    assert_int_equal(rig->last.links[63].trace[1], rig->last.trace[1] + 63);
}

/* What was delivered moves the position, and nothing else does. */
static void a_position_moves_by_what_was_delivered(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    struct trace_follow *follow;
    struct trace_position position = {0};
    const struct buffer *body, *again;
    some_traffic(rig);
    const struct trace_follow_settings settings = {.log = rig->log, .format = TRACE_OTLP, .space = "r"};
    assert_int_equal(trace_follow_open(&settings, &position, &follow, &fault), MP_OK);
    assert_int_equal(trace_follow_next(follow, &body, &fault), MP_OK);
    assert_int_equal(trace_follow_position(follow)->event, 0);
    assert_int_equal(trace_follow_next(follow, &again, &fault), MP_OK);
    assert_ptr_equal(again, body);
    json_t *json = json_loadb((const char *)body->data, body->size, 0, NULL);
    assert_non_null(json);
    assert_true(json_array_size(json_object_get(json, "resourceSpans")) > 0);
    json_decref(json);
    trace_follow_delivered(follow);
    assert_int_equal(trace_follow_next(follow, &body, &fault), MP_ERR_AGAIN);
    assert_int_equal(trace_follow_position(follow)->event, trace_log_last(rig->log));
    position = *trace_follow_position(follow);
    trace_follow_close(follow);

    /* Gone on with, there is nothing; the events that were read are not read as new ones. */
    assert_int_equal(trace_follow_open(&settings, &position, &follow, &fault), MP_OK);
    assert_int_equal(trace_follow_next(follow, &body, &fault), MP_ERR_AGAIN);
    assert_int_equal(trace_follow_gap(follow), 0);
    trace_follow_close(follow);
}

static void what_was_deleted_before_it_was_read_is_counted(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    struct trace_follow *follow;
    struct trace_position position = {.event = 3, .known = true};
    const struct buffer *body;
    struct store_deleted deleted;
    some_traffic(rig);
    assert_int_equal(store_begin(rig->engine.store, &fault), MP_OK);
    assert_int_equal(store_delete_events(rig->engine.store, 11, 100, &deleted, &fault), MP_OK);
    assert_int_equal(store_commit(rig->engine.store, &fault), MP_OK);
    look(rig);
    const struct trace_follow_settings settings = {.log = rig->log, .format = TRACE_ZIPKIN};
    assert_int_equal(trace_follow_open(&settings, &position, &follow, &fault), MP_OK);
    assert_int_equal(trace_follow_next(follow, &body, &fault), MP_OK);
    assert_int_equal(trace_follow_gap(follow), 7);
    assert_int_equal(trace_follow_gap(follow), 0);
    trace_follow_close(follow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_export_that_is_broken_off_anywhere_goes_on_as_if_it_were_not, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(ids_are_those_that_messages_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(many_that_went_together_are_one_span, setup, teardown),
        cmocka_unit_test_setup_teardown(a_position_moves_by_what_was_delivered, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_deleted_before_it_was_read_is_counted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
