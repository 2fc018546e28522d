/* What happened to a message follows from the events: each kind, with masks, leases and moves; and lists of them. */
#include "base/bits.h"
#include "message/lineage.h"
#include "time_rig.h"
#include "trace/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START (WALL + 100 * SECOND)
enum { TOPIC = 1, GROUP = 1, CONSUMER = 77 };

struct rig {
    struct store *store;
    struct trace_log *log;
    struct trace_history history;
    struct trace_list list;
    uint64_t event;
    uint64_t offset;
    int64_t time;
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct fault fault = {0};
    assert_non_null(rig);
    rig->time = START;
    assert_int_equal(store_open(":memory:", &rig->store, &fault), MP_OK);
    assert_int_equal(store_begin(rig->store, &fault), MP_OK);
    const struct store_topic topic = {.id = TOPIC, .name = "t", .created = START};
    const struct store_group group = {.id = GROUP, .topic = TOPIC, .name = "g", .created = START};
    assert_int_equal(store_put_topic(rig->store, &topic, &fault), MP_OK);
    assert_int_equal(store_put_group(rig->store, &group, &fault), MP_OK);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    trace_history_free(&rig->history);
    trace_list_free(&rig->list);
    trace_log_close(rig->log);
    store_close(rig->store);
    free(rig);
    return 0;
}

static void add(struct rig *rig, struct store_event event)
{
    struct fault fault = {0};
    event.id = ++rig->event;
    event.topic = TOPIC;
    event.time = rig->time;
    if (event.span == 0)
        event.span = event.count;
    if (event.kind != EVENT_PUBLISHED && event.group == 0)
        event.group = GROUP;
    if (store_add_event(rig->store, &event, &fault))
        fail_msg("%s", fault_text(&fault));
    rig->time += 1000;
}

static void publish(struct rig *rig, uint32_t count)
{
    struct frame_builder builder = {0};
    struct buffer lineage = {0};
    struct frame frame;
    assert_int_equal(frame_begin(&builder, 9, rig->offset), MP_OK);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(frame_add(&builder, "x", 1, NULL, 0), MP_OK);
    frame_finish(&builder, START);
    assert_int_equal(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, NULL), MP_OK);
    assert_int_equal(lineage_encode(&frame, frame.producer, &lineage), MP_OK);
    add(rig, (struct store_event){.kind = EVENT_PUBLISHED,
                                  .first = rig->offset,
                                  .count = count,
                                  .note = lineage.data,
                                  .note_size = lineage.size});
    rig->offset += count;
    buffer_free(&lineage);
    frame_builder_free(&builder);
}

static void lease(struct rig *rig, uint64_t first, uint32_t count, uint64_t number, uint32_t attempt)
{
    add(rig, (struct store_event){.kind = EVENT_LEASED,
                                  .first = first,
                                  .count = count,
                                  .session = CONSUMER,
                                  .lease = number,
                                  .attempt = attempt,
                                  .code = -1});
}

/* What ends the lease NUMBER of COUNT messages of SPAN from FIRST on. */
static void end(struct rig *rig, enum store_event_kind kind, uint64_t first, uint32_t count, uint32_t span,
                uint64_t number, int64_t delay)
{
    add(rig, (struct store_event){.kind = kind,
                                  .first = first,
                                  .count = count,
                                  .span = span,
                                  .session = CONSUMER,
                                  .request = number,
                                  .lease = number,
                                  .due = delay ? rig->time + delay : 0,
                                  .code = kind == EVENT_RETRIED ? 75 : -1,
                                  .note = (const uint8_t *)"busy\0!",
                                  .note_size = kind == EVENT_RETRIED ? 6 : 0});
}

static void look(struct rig *rig)
{
    const struct moment now = {.monotonic = 1, .wall = rig->time, .boot = 1};
    struct fault fault = {0};
    trace_log_close(rig->log);
    if (trace_log_of_store(rig->store, now, &rig->log, &fault))
        fail_msg("%s", fault_text(&fault));
}

/* The passage of the message at OFFSET through group GROUP. */
static const struct trace_passage *passage(struct rig *rig, uint64_t offset)
{
    struct trace_match match;
    struct fault fault = {0};
    look(rig);
    trace_history_free(&rig->history);
    if (trace_find_place(rig->log, TOPIC, offset, &match, &fault) ||
        trace_history_open(&rig->history, rig->log, &match, &fault))
        fail_msg("%s", fault_text(&fault));
    assert_true(rig->history.count >= 1);
    return &rig->history.passages[0];
}

static void attempts_one_after_the_other(void **state)
{
    struct rig *rig = *state;
    publish(rig, 3);
    assert_int_equal(passage(rig, 1)->state, STATE_WAITING);
    lease(rig, 0, 3, 1, 1);
    assert_int_equal(passage(rig, 1)->state, STATE_LEASED);
    end(rig, EVENT_RETRIED, 1, 1, 1, 1, 10 * SECOND);
    assert_int_equal(passage(rig, 1)->state, STATE_DELAYED);
    assert_int_equal(passage(rig, 0)->state, STATE_LEASED);
    rig->time += 11 * SECOND;
    assert_int_equal(passage(rig, 1)->state, STATE_WAITING); /* of which there is no event */
    lease(rig, 1, 1, 2, 2);
    end(rig, EVENT_ACKED, 1, 1, 1, 2, 0);
    end(rig, EVENT_ACKED, 0, 2, 3, 1, 0); /* what the lease still holds of three */
    const struct trace_passage *found = passage(rig, 1);
    assert_int_equal(found->state, STATE_ACKED);
    assert_int_equal(found->attempts_count, 2);
    assert_int_equal(found->attempts[0].outcome, EVENT_RETRIED);
    assert_int_equal(found->attempts[0].code, 75);
    assert_string_equal(found->attempts[0].note, "busy !");
    assert_int_equal(found->attempts[0].leased - found->attempts[0].from, 1000);
    assert_int_equal(found->attempts[0].ended - found->attempts[0].leased, 1000);
    assert_int_equal(found->attempts[1].number, 2);
    assert_int_equal(found->attempts[1].from, found->attempts[0].ended);
    assert_int_equal(passage(rig, 0)->state, STATE_ACKED);
    assert_int_equal(passage(rig, 2)->state, STATE_ACKED);
}

static void an_end_of_another_lease_is_none(void **state)
{
    struct rig *rig = *state;
    publish(rig, 2);
    lease(rig, 0, 2, 1, 1);
    end(rig, EVENT_LAPSED, 0, 2, 2, 1, 0);
    lease(rig, 0, 1, 2, 2);
    end(rig, EVENT_ACKED, 0, 1, 2, 2, 0); /* of the span only what lease 2 has */
    assert_int_equal(passage(rig, 0)->state, STATE_ACKED);
    assert_int_equal(passage(rig, 1)->state, STATE_WAITING);
    assert_int_equal(passage(rig, 1)->attempts_count, 1);
    assert_int_equal(passage(rig, 1)->attempts[0].outcome, EVENT_LAPSED);
}

static void masks(void **state)
{
    struct rig *rig = *state;
    uint8_t odd[2] = {0};
    for (unsigned i = 1; i < 10; i += 2)
        bits_set(odd, i);
    publish(rig, 10);
    add(rig, (struct store_event){
                 .kind = EVENT_DUPLICATE, .first = 0, .count = 5, .span = 10, .mask = odd, .mask_size = sizeof odd});
    for (uint64_t offset = 0; offset < 10; offset++)
        assert_int_equal(passage(rig, offset)->state, offset % 2 ? STATE_DUPLICATE : STATE_WAITING);
}

static void what_is_dropped_was_open(void **state)
{
    struct rig *rig = *state;
    publish(rig, 3);
    lease(rig, 0, 1, 1, 1);
    lease(rig, 1, 1, 2, 1);
    end(rig, EVENT_DEAD, 1, 1, 1, 2, 0);
    add(rig, (struct store_event){.kind = EVENT_DROPPED, .first = 0, .count = 1, .span = 3});
    assert_int_equal(passage(rig, 0)->state, STATE_LEASED);
    assert_int_equal(passage(rig, 1)->state, STATE_DEAD);
    assert_int_equal(passage(rig, 2)->state, STATE_DROPPED);
}

static void a_group_that_is_moved_begins_anew(void **state)
{
    struct rig *rig = *state;
    publish(rig, 4);
    lease(rig, 1, 3, 1, 1);
    end(rig, EVENT_ACKED, 1, 3, 3, 1, 0);
    add(rig, (struct store_event){.kind = EVENT_GRANTED, .first = 2});
    assert_true(passage(rig, 0)->skipped);
    assert_false(passage(rig, 1)->skipped);
    assert_int_equal(passage(rig, 1)->state, STATE_ACKED);
    assert_int_equal(passage(rig, 2)->state, STATE_WAITING);
    assert_int_equal(passage(rig, 3)->attempts_count, 1);
}

/* ---- lists ----------------------------------------------------------------------------------------------------- */

static size_t list(struct rig *rig, const struct trace_list_wanted *wanted, const char *expected)
{
    struct fault fault = {0};
    struct trace_select select;
    struct trace_list_wanted asked = *wanted;
    char text[200] = "";
    look(rig);
    trace_list_free(&rig->list);
    assert_int_equal(trace_select_open(&select, &(struct trace_select_settings){0}, rig->log, &fault), MP_OK);
    asked.select = &select;
    if (asked.most == 0)
        asked.most = 100;
    if (trace_list_open(&rig->list, rig->log, &asked, &fault))
        fail_msg("%s", fault_text(&fault));
    for (size_t i = 0; i < rig->list.count && i < 20; i++) {
        size_t size = strlen(text);
        snprintf(text + size, sizeof text - size, "%u ", (unsigned)rig->list.rows[i].match.offset);
    }
    if (expected)
        assert_string_equal(text, expected);
    trace_select_free(&select);
    return rig->list.count;
}

static void lists_of_them(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 3; i++)
        publish(rig, 3);
    lease(rig, 0, 6, 1, 1);
    end(rig, EVENT_RETRIED, 4, 1, 1, 1, 0);
    end(rig, EVENT_DEAD, 2, 1, 1, 1, 0);
    end(rig, EVENT_ACKED, 0, 4, 6, 1, 0);
    rig->time += SECOND;
    lease(rig, 4, 1, 2, 2);
    end(rig, EVENT_ACKED, 4, 1, 1, 2, 0);
    lease(rig, 6, 1, 3, 1);
    list(rig, &(struct trace_list_wanted){0}, "8 7 6 5 4 3 2 1 0 ");
    list(rig, &(struct trace_list_wanted){.most = 2}, "8 7 ");
    assert_true(rig->list.more);
    list(rig, &(struct trace_list_wanted){.failed = true}, "4 2 ");
    list(rig, &(struct trace_list_wanted){.retried = true}, "4 ");
    list(rig, &(struct trace_list_wanted){.states = 1u << STATE_DEAD}, "2 ");
    list(rig, &(struct trace_list_wanted){.states = 1u << STATE_LEASED}, "6 ");
    list(rig, &(struct trace_list_wanted){.states = 1u << STATE_WAITING}, "8 7 ");
    list(rig, &(struct trace_list_wanted){.states = 1u << STATE_ACKED, .slower = SECOND}, "4 ");
    list(rig, &(struct trace_list_wanted){.sort = TRACE_BY_ATTEMPTS, .most = 1}, "4 ");
    list(rig, &(struct trace_list_wanted){.sort = TRACE_BY_TOOK, .states = 1u << STATE_ACKED, .most = 2}, "4 1 ");
}

/* More than are looked at together: the newest are right, and all are there. */
static void a_long_list(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 30; i++)
        publish(rig, 100);
    lease(rig, 0, 3000, 1, 1);
    end(rig, EVENT_ACKED, 0, 3000, 3000, 1, 0);
    assert_int_equal(list(rig, &(struct trace_list_wanted){.most = 5}, "2999 2998 2997 2996 2995 "), 5);
    assert_int_equal(list(rig, &(struct trace_list_wanted){.states = 1u << STATE_ACKED, .most = 10000}, NULL), 3000);
    for (size_t i = 0; i < 3000; i++)
        assert_int_equal(rig->list.rows[i].match.offset, 2999 - i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(attempts_one_after_the_other, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_of_another_lease_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(masks, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_dropped_was_open, setup, teardown),
        cmocka_unit_test_setup_teardown(a_group_that_is_moved_begins_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_of_them, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_list, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
