/* From steps to passages: masks, gaps, retries, lapses, what is missing. */
#include "trace/pair.h"

#include "base/bits.h"
#include "time_rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rig {
    struct trace_pair *pair;
    uint64_t id;
    int64_t time;
    char out[4096];
};

static const char *const ends[16] = {
    [EVENT_ACKED] = "acked",     [EVENT_RETRIED] = "retried", [EVENT_RELEASED] = "released",
    [EVENT_LAPSED] = "lapsed",   [EVENT_DEAD] = "dead",       [EVENT_EXPIRED] = "expired",
    [EVENT_DROPPED] = "dropped", [EVENT_FOREIGN] = "foreign", [EVENT_DUPLICATE] = "duplicate"};

/* "acked 1/g 3-5 #1 p1 l2 e3": topic, group, offsets, attempt, and when. */
static enum mp_error record(void *context, const struct trace_passage *passage)
{
    struct rig *rig = context;
    size_t used = strlen(rig->out);
    char which[256] = "";
    if (passage->mask || passage->count == passage->span) {
        uint32_t counted = 0;
        for (uint32_t i = 0, run; i < passage->span; i += run) {
            run = passage->mask ? (uint32_t)bits_run(passage->mask, i, passage->span) : passage->span;
            if (passage->mask && !bits_get(passage->mask, i))
                continue;
            counted += run;
            char text[64];
            snprintf(text, sizeof text, run == 1 ? "%s%" PRIu64 : "%s%" PRIu64 "-%" PRIu64, *which ? "," : "",
                     passage->first + i, passage->first + i + run - 1);
            strncat(which, text, sizeof which - strlen(which) - 1);
        }
        assert_int_equal(counted, passage->count);
    } else {
        snprintf(which, sizeof which, "%u of %" PRIu64 "+%u", passage->count, passage->first, passage->span);
    }
    snprintf(rig->out + used, sizeof rig->out - used, "%s %u %s #%u p%" PRId64 " l%" PRId64 " e%" PRId64 "\n",
             ends[passage->end], passage->group, which, passage->attempt,
             passage->publication ? passage->publication->time : 0, passage->leased, passage->ended);
    return MP_OK;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct fault fault;
    assert_non_null(rig);
    const struct trace_pair_calls calls = {.context = rig, .passage = record};
    assert_int_equal(trace_pair_open(NULL, &calls, &rig->pair, &fault), MP_OK);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    trace_pair_close(rig->pair);
    free(rig);
    return 0;
}

/* Each event is a moment of its own. A MASK of "1011" has four offsets; NULL: all of COUNT. */
static void event_of(struct rig *rig, struct store_event event, const char *mask)
{
    struct fault fault = {0};
    uint8_t bits[64] = {0};
    event.id = ++rig->id;
    event.time = ++rig->time;
    event.topic = 1;
    if (mask) {
        event.span = (uint32_t)strlen(mask);
        event.count = 0;
        for (uint32_t i = 0; i < event.span; i++)
            if (mask[i] == '1') {
                bits_set(bits, i);
                event.count++;
            }
        event.mask = bits;
        event.mask_size = bits_size(event.span);
    }
    if (event.span == 0)
        event.span = event.count;
    if (trace_pair_event(rig->pair, &event, &fault))
        fail_msg("%s", fault_text(&fault));
}

static void published(struct rig *rig, uint64_t first, uint32_t count)
{
    event_of(rig, (struct store_event){.kind = EVENT_PUBLISHED, .first = first, .count = count}, NULL);
}

static void leased(struct rig *rig, uint64_t lease, uint64_t first, uint32_t count, const char *mask, uint32_t attempt)
{
    event_of(rig,
             (struct store_event){.kind = EVENT_LEASED,
                                  .group = 9,
                                  .session = 5,
                                  .lease = lease,
                                  .first = first,
                                  .count = count,
                                  .attempt = attempt},
             mask);
}

static void ended(struct rig *rig, enum store_event_kind kind, uint64_t lease, uint64_t first, uint32_t count,
                  const char *mask)
{
    event_of(rig,
             (struct store_event){.kind = kind,
                                  .group = 9,
                                  .session = 5,
                                  .lease = lease,
                                  .first = first,
                                  .count = count,
                                  .attempt = 1,
                                  .code = -1},
             mask);
}

static void expect(struct rig *rig, const char *out)
{
    assert_string_equal(rig->out, out);
    rig->out[0] = '\0';
}

static void a_lease_that_ends_is_a_passage_for_each_publication(void **state)
{
    struct rig *rig = *state;
    published(rig, 10, 5);
    published(rig, 15, 3);
    leased(rig, 1, 10, 8, NULL, 1);
    expect(rig, "");
    assert_int_equal(trace_pair_oldest(rig->pair), 3);
    ended(rig, EVENT_ACKED, 1, 10, 2, NULL);
    expect(rig, "acked 9 10-11 #1 p1 l3 e4\n");
    ended(rig, EVENT_ACKED, 1, 12, 6, NULL);
    expect(rig, "acked 9 12-14 #1 p1 l3 e5\nacked 9 15-17 #1 p2 l3 e5\n");
    assert_int_equal(trace_pair_oldest(rig->pair), 0);
}

static void what_is_settled_in_any_order_is_taken_out_of_the_middle(void **state)
{
    struct rig *rig = *state;
    published(rig, 0, 10);
    leased(rig, 1, 0, 10, NULL, 1);
    ended(rig, EVENT_ACKED, 1, 4, 2, NULL);
    ended(rig, EVENT_DEAD, 1, 0, 0, "0100000001");
    expect(rig, "acked 9 4-5 #1 p1 l2 e3\ndead 9 1,9 #1 p1 l2 e4\n");
    /* No mask, and fewer than the span: what the lease still holds of it. */
    event_of(rig,
             (struct store_event){
                 .kind = EVENT_ACKED, .group = 9, .session = 5, .lease = 1, .first = 0, .count = 6, .span = 10},
             NULL);
    expect(rig, "acked 9 0,2-3,6-8 #1 p1 l2 e5\n");
    assert_int_equal(trace_pair_oldest(rig->pair), 0);
}

static void a_mask_is_cut_where_publications_meet(void **state)
{
    struct rig *rig = *state;
    published(rig, 0, 3);
    published(rig, 3, 20);
    published(rig, 23, 1);
    leased(rig, 1, 1, 0, "11010000000000000000111", 2);
    ended(rig, EVENT_ACKED, 1, 1, 0, "11010000000000000000111");
    expect(rig, "acked 9 1-2 #2 p1 l4 e5\nacked 9 4,21-22 #2 p2 l4 e5\nacked 9 23 #2 p3 l4 e5\n");
}

static void attempts_are_passages_of_their_own(void **state)
{
    struct rig *rig = *state;
    published(rig, 0, 2);
    leased(rig, 1, 0, 2, NULL, 1);
    ended(rig, EVENT_RETRIED, 1, 0, 1, NULL);
    ended(rig, EVENT_ACKED, 1, 1, 1, NULL);
    leased(rig, 2, 0, 1, NULL, 2);
    ended(rig, EVENT_LAPSED, 2, 0, 1, NULL);
    leased(rig, 3, 0, 1, NULL, 3);
    ended(rig, EVENT_RELEASED, 3, 0, 1, NULL);
    expect(rig, "retried 9 0 #1 p1 l2 e3\nacked 9 1 #1 p1 l2 e4\nlapsed 9 0 #2 p1 l5 e6\nreleased 9 0 #3 p1 l7 e8\n");
}

static void leases_of_others_are_not_touched(void **state)
{
    struct rig *rig = *state;
    published(rig, 0, 4);
    leased(rig, 1, 0, 0, "1010", 1);
    leased(rig, 2, 1, 0, "101", 1);
    ended(rig, EVENT_ACKED, 2, 0, 0, "0101");
    expect(rig, "acked 9 1,3 #1 p1 l3 e4\n");
    assert_int_equal(trace_pair_oldest(rig->pair), 2);
    ended(rig, EVENT_ACKED, 1, 0, 0, "1010");
    expect(rig, "acked 9 0,2 #1 p1 l2 e5\n");
}

static void what_passes_by_has_no_lease(void **state)
{
    struct rig *rig = *state;
    published(rig, 0, 4);
    event_of(rig, (struct store_event){.kind = EVENT_EXPIRED, .group = 9, .first = 0, .count = 2, .code = -1}, NULL);
    event_of(rig, (struct store_event){.kind = EVENT_DUPLICATE, .group = 9, .first = 2}, "01");
    expect(rig, "expired 9 0-1 #0 p1 l0 e2\nduplicate 9 3 #0 p1 l0 e3\n");
}

static void a_beginning_that_is_gone_is_told_as_unknown(void **state)
{
    struct rig *rig = *state;
    ended(rig, EVENT_ACKED, 1, 7, 3, NULL);
    expect(rig, "acked 9 7-9 #1 p0 l0 e1\n");
    published(rig, 12, 2);
    leased(rig, 2, 10, 4, NULL, 1);
    ended(rig, EVENT_ACKED, 2, 10, 4, NULL);
    expect(rig, "acked 9 10-13 #1 p0 l3 e4\n");
    leased(rig, 3, 20, 1, NULL, 1);
    ended(rig, EVENT_ACKED, 3, 20, 0, "101");
    expect(rig, "acked 9 20 #1 p0 l5 e6\nacked 9 1 of 20+3 #1 p0 l0 e6\n");
}

static void a_group_that_is_moved_has_leased_nothing(void **state)
{
    struct rig *rig = *state;
    published(rig, 0, 4);
    leased(rig, 1, 0, 4, NULL, 1);
    event_of(rig, (struct store_event){.kind = EVENT_GRANTED, .group = 9}, NULL);
    assert_int_equal(trace_pair_oldest(rig->pair), 0);
}

static void a_long_backlog_is_kept_in_bounds(void **state)
{
    struct rig *rig = *state;
    for (uint64_t i = 0; i < 200000; i++)
        published(rig, i * 2, 2);
    assert_non_null(trace_pair_publication(rig->pair, 1, 399999));
    assert_null(trace_pair_publication(rig->pair, 1, 0)); /* there is no store to look it up in */
    const struct trace_publication *publication = trace_pair_publication(rig->pair, 1, 399999 - 40000 * 2);
    assert_non_null(publication);
    assert_int_equal(publication->event, 200000 - 40000);
}

/* A real store: publications from before the log was entered are found in it. */
static void publications_are_looked_up(void **state)
{
    (void)state;
    struct time_rig engine;
    struct rig rig = {0};
    struct trace_log *log;
    struct fault fault = {0};
    char text[64];
    time_rig_begin(&engine);
    time_rig_join(&engine, "t", "g");
    time_rig_send(&engine, "t", 0, "x", 3);
    time_rig_send(&engine, "t", 0, "y", 3);
    uint64_t after;
    assert_int_equal(store_last_event(engine.store, &after, &fault), MP_OK);
    time_rig_pass(&engine, SECOND);
    time_rig_consume(&engine, "t", "g", 6, text, sizeof text);
    assert_int_equal(trace_log_of_store(engine.store, engine.now, &log, &fault), MP_OK);
    const struct trace_pair_calls calls = {.context = &rig, .passage = record};
    assert_int_equal(trace_pair_open(log, &calls, &rig.pair, &fault), MP_OK);
    const struct trace_publication *found = trace_pair_publication(rig.pair, 1, 4);
    assert_non_null(found);
    assert_int_equal(found->first, 3);
    assert_int_equal(found->count, 3);
    assert_int_equal(trace_log_wall(log, found->time), WALL);
    assert_null(trace_pair_publication(rig.pair, 1, 6));
    trace_pair_close(rig.pair);
    trace_log_close(log);
    time_rig_end(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lease_that_ends_is_a_passage_for_each_publication, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_settled_in_any_order_is_taken_out_of_the_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mask_is_cut_where_publications_meet, setup, teardown),
        cmocka_unit_test_setup_teardown(attempts_are_passages_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(leases_of_others_are_not_touched, setup, teardown),
        cmocka_unit_test_setup_teardown(what_passes_by_has_no_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(a_beginning_that_is_gone_is_told_as_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(a_group_that_is_moved_has_leased_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_backlog_is_kept_in_bounds, setup, teardown),
        cmocka_unit_test(publications_are_looked_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
