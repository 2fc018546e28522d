/* Messages found by what is known of them, and what came of them, in stores that the engine made. */
#include "trace_rig.h"
#include "trace/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rig {
    struct time_rig engine;
    struct trace_log *log;
    struct trace_matches found;
    struct trace_tree tree;
    struct buffer text;
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    trace_rig_begin(&rig->engine);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    trace_tree_free(&rig->tree);
    trace_matches_free(&rig->found);
    buffer_free(&rig->text);
    trace_log_close(rig->log);
    time_rig_end(&rig->engine);
    free(rig);
    return 0;
}

static void look(struct rig *rig)
{
    trace_rig_look(&rig->engine, &rig->log);
}

static size_t find(struct rig *rig, const char *text)
{
    struct fault fault = {0};
    trace_matches_free(&rig->found);
    enum mp_error error = trace_find(rig->log, text, 64, &rig->found, &fault);
    if (error && error != MP_ERR_NOT_FOUND)
        fail_msg("%s", fault_text(&fault));
    assert_true(error || rig->found.count > 0);
    return rig->found.count;
}

static uint64_t find_one(struct rig *rig, const char *text)
{
    assert_int_equal(find(rig, text), 1);
    return rig->found.items[0].offset;
}

static const char *id_of(struct rig *rig, size_t at)
{
    assert_int_equal(trace_id_text(rig->log, &rig->found.items[at], &rig->text), MP_OK);
    return (const char *)rig->text.data;
}

static void ids_that_are_derived(void **state)
{
    struct rig *rig = *state;
    char text[40];
    for (unsigned i = 0; i < 5; i++)
        time_rig_send(&rig->engine, "t", 0, "x", 10);
    look(rig);
    for (uint64_t offset = 0; offset < 50; offset += 7) {
        snprintf(text, sizeof text, "t@%u", (unsigned)offset);
        assert_int_equal(find_one(rig, text), offset);
        char id[FRAME_ID_TEXT];
        snprintf(id, sizeof id, "%s", id_of(rig, 0));
        assert_int_equal(strlen(id), 32);
        assert_int_equal(find_one(rig, id), offset);
        id[31] = '\0'; /* sixteen ids begin like that, of which not all are there */
        assert_true(find(rig, id) > 1);
        assert_false(trace_is_one(&rig->found));
    }
    assert_int_equal(find(rig, "t@50"), 0);
    assert_int_equal(find(rig, "u@0"), 0);
    assert_int_equal(find(rig, "ffffffffffffffffffffffffffffffff"), 0);
}

static void ids_that_were_given(void **state)
{
    struct rig *rig = *state;
    const struct rig_message messages[] = {
        {"one", {"id", "order-1", NULL}},
        {"two", {"id", "order-2", "partitionkey", "k", NULL}},
        {"three", {"id", "00000000000000000000000000abcdef", "partitionkey", "k", NULL}},
    };
    time_rig_send(&rig->engine, "t", 0, "x", 3);
    time_rig_publish(&rig->engine, "t", "", 0, messages, 3, NULL);
    look(rig);
    assert_int_equal(find_one(rig, "order-2"), 4);
    assert_string_equal(id_of(rig, 0), "order-2");
    assert_int_equal(find(rig, "order"), 2); /* found by looking at the messages themselves */
    assert_int_equal(find_one(rig, "00000000000000000000000000abcdef"), 5);
    assert_int_equal(find_one(rig, "00000000000000000000000000abc"), 5);
    trace_matches_free(&rig->found);
    assert_int_equal(trace_find_key(rig->log, "k", 10, &rig->found, NULL), MP_OK);
    assert_int_equal(rig->found.count, 2);
    trace_matches_free(&rig->found);
    assert_int_equal(trace_find_key(rig->log, "k", 1, &rig->found, NULL), MP_OK);
    assert_int_equal(rig->found.count, 1);
    assert_int_equal(rig->found.items[0].offset, 5);
    assert_true(rig->found.more);
    trace_matches_free(&rig->found);
    assert_int_equal(trace_find_key(rig->log, "kk", 1, &rig->found, NULL), MP_ERR_NOT_FOUND);
}

/* Sessions take turns, with more and fewer messages, in several topics, and much else comes between. */
static void ids_of_many_sessions(void **state)
{
    enum { SESSIONS = 8, TURNS = 60 };
    struct rig *rig = *state;
    struct time_rig *engine = &rig->engine;
    uint64_t sequences[SESSIONS] = {0};
    char text[64];
    time_rig_join(engine, "t0", "g");
    for (unsigned turn = 0; turn < TURNS; turn++) {
        unsigned session = turn % 7 ? turn * 5 % SESSIONS : SESSIONS - 1;
        trace_rig_session(engine, session);
        engine->sequence = sequences[session];
        engine->numbers[ENGINE_LANE_PUBLISH] = turn;
        time_rig_send(engine, turn % 3 ? "t0" : "t1", 0, "x", 1 + turn % 4);
        sequences[session] = engine->sequence;
        text[0] = '\0';
        time_rig_consume(engine, "t0", "g", 2, text, sizeof text);
    }
    look(rig);
    for (unsigned session = 0; session < SESSIONS; session++)
        for (uint64_t sequence = 0; sequence <= sequences[session]; sequence++) {
            trace_rig_session(engine, session);
            frame_origin_text(engine->session, sequence, text);
            size_t count = find(rig, text);
            assert_int_equal(count, sequence < sequences[session]);
            if (count == 0)
                continue;
            assert_int_equal(rig->found.items[0].origin.high, engine->session);
            assert_int_equal(rig->found.items[0].origin.low, sequence);
        }
}

/* A publication that waited for room is behind later ones of its session, or far behind them. */
static void ids_out_of_order(void **state)
{
    struct rig *rig = *state;
    char text[FRAME_ID_TEXT];
    for (unsigned i = 1; i <= 200; i++) {
        rig->engine.sequence = i % 10 == 4 ? i + 2 : i % 10 == 6 ? i - 2 : i == 1 ? 200 : i == 200 ? 1 : i;
        time_rig_send(&rig->engine, "t", 0, "x", 1);
    }
    look(rig);
    for (unsigned i = 1; i <= 200; i++) {
        frame_origin_text(rig->engine.session, i, text);
        assert_int_equal(find(rig, text), 1);
        assert_int_equal(rig->found.items[0].origin.low, i);
    }
}

static void what_is_scheduled(void **state)
{
    struct rig *rig = *state;
    const struct rig_message message = {"later", {"id", "early", NULL}};
    time_rig_send(&rig->engine, "t", 0, "x", 1);
    time_rig_publish(&rig->engine, "t", "", 5 * SECOND, &message, 1, NULL);
    look(rig);
    assert_int_equal(find(rig, "early"), 1);
    assert_true(rig->found.items[0].scheduled != 0);
    assert_string_equal(id_of(rig, 0), "early");
    assert_int_equal(find(rig, "ear"), 1);
    time_rig_pass(&rig->engine, 6 * SECOND);
    time_rig_settle_down(&rig->engine);
    look(rig);
    assert_int_equal(find_one(rig, "early"), 1);
    assert_int_equal(rig->found.items[0].scheduled, 0);
    assert_int_equal(rig->found.items[0].time - rig->found.items[0].due, 6 * SECOND);
}

/* Frames go when all have settled them, and events after some time: each is found by what is left. */
static void what_is_left_of_them(void **state)
{
    struct rig *rig = *state;
    struct fault fault = {0};
    struct store_deleted deleted;
    const struct rig_message messages[] = {{"a", {"id", "gone", NULL}}}, other[] = {{"b", {"id", "kept", NULL}}};
    time_rig_publish(&rig->engine, "t", "", 0, messages, 1, NULL);
    time_rig_publish(&rig->engine, "u", "", 0, other, 1, NULL);
    struct store *store = rig->engine.store;
    struct store_deleted gone;
    uint64_t last;
    look(rig);
    uint32_t topic = trace_log_find_topic(rig->log, "t")->id;
    assert_int_equal(store_begin(store, &fault), MP_OK);
    assert_int_equal(store_delete_frames(store, topic, 1, 10, 1000, &gone, &fault), MP_OK);
    assert_int_equal(gone.rows, 1);
    assert_int_equal(store_commit(store, &fault), MP_OK);
    look(rig);
    assert_int_equal(find_one(rig, "gone"), 0); /* by its event, which has its hash alone */
    assert_string_equal(id_of(rig, 0), "");
    assert_int_equal(find_one(rig, "t@0"), 0);
    assert_int_equal(store_last_event(store, &last, &fault), MP_OK);
    assert_int_equal(store_begin(store, &fault), MP_OK);
    assert_int_equal(store_delete_events(store, last + 1, 100, &deleted, &fault), MP_OK);
    assert_int_equal(store_commit(store, &fault), MP_OK);
    look(rig);
    assert_int_equal(find(rig, "gone"), 0);
    assert_int_equal(find_one(rig, "kept"), 0); /* by itself */
    assert_int_equal(rig->found.items[0].event, 0);
    assert_int_equal(find_one(rig, "u@0"), 0);
}

/* ---- trees ----------------------------------------------------------------------------------------------------- */

static size_t grow(struct rig *rig, const char *text, bool whole)
{
    struct fault fault = {0};
    find(rig, text);
    trace_tree_free(&rig->tree);
    if (trace_tree_open(&rig->tree, rig->log, &rig->found, whole, 100, &fault))
        fail_msg("%s", fault_text(&fault));
    return rig->tree.count;
}

static void causes_and_effects(void **state)
{
    struct rig *rig = *state;
    static const char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const struct rig_message root[] = {{"a", {"id", "root", "traceparent", trace, NULL}}};
    const struct rig_message middle[] = {{"b", {"id", "m1", "traceparent", trace, "causationid", "root", NULL}},
                                         {"c", {"id", "m2", "traceparent", trace, "causationid", "root", NULL}}};
    const struct rig_message leaf[] = {{"d", {"id", "leaf", "traceparent", trace, "causationid", "m2", NULL}}};
    const struct rig_message stranger[] = {{"e", {"id", "stranger", "traceparent", trace, NULL}}};
    const struct rig_message without[] = {{"f", {"id", "without", "causationid", "leaf", NULL}}};
    time_rig_publish(&rig->engine, "a", "", 0, root, 1, NULL);
    time_rig_publish(&rig->engine, "b", "", 0, middle, 2, NULL);
    time_rig_publish(&rig->engine, "c", "", 0, leaf, 1, NULL);
    time_rig_publish(&rig->engine, "a", "", 0, stranger, 1, NULL);
    time_rig_publish(&rig->engine, "d", "", 0, without, 1, NULL);
    look(rig);
    static const char *const from[] = {"root", "m1", "leaf", "a@0", "c@0"};
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        size_t count = grow(rig, from[i], false);
        assert_in_range(count, 4, 5); /* what is in another trace is found from its cause */
        const struct trace_node *nodes = rig->tree.nodes;
        assert_int_equal(nodes[0].parent, SIZE_MAX);
        assert_int_equal(nodes[1].parent, 0);
        assert_int_equal(nodes[1].match.offset, 0);
        assert_int_equal(nodes[2].parent, 0);
        assert_int_equal(nodes[2].match.offset, 1);
        assert_int_equal(nodes[3].parent, 2);
        assert_int_equal(nodes[3].depth, 2);
        assert_true(nodes[2].last);
        assert_false(nodes[1].last);
    }
    assert_int_equal(grow(rig, "leaf", false), 5);
    assert_int_equal(rig->tree.nodes[4].parent, 3);
    assert_int_equal(rig->tree.nodes[4].relation, TRACE_EFFECT);
    assert_int_equal(grow(rig, "stranger", false), 1);
    assert_int_equal(grow(rig, "0af7651916cd43dd8448eb211c80319c", true), 6);
}

/* What a stage hands on as it is has another session's origin, and nothing else that would tell of it. */
static void what_was_handed_on(void **state)
{
    struct rig *rig = *state;
    char id[FRAME_ID_TEXT];
    time_rig_send(&rig->engine, "a", 0, "x", 10);
    uint64_t producer = rig->engine.producer;
    trace_rig_session(&rig->engine, 8);
    rig->engine.producer = producer;
    rig->engine.sequence = 3;
    time_rig_send(&rig->engine, "b", 0, "x", 4);
    rig->engine.producer = rig->engine.session;
    for (unsigned i = 0; i < 100; i++)
        time_rig_send(&rig->engine, "c", 0, "x", 1);
    look(rig);
    frame_origin_text(producer, 5, id);
    static const char *const from[] = {"a@4", "b@1"};
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        assert_int_equal(grow(rig, from[i], false), 2);
        assert_int_equal(rig->tree.nodes[1].parent, 0);
        assert_int_equal(rig->tree.nodes[1].match.offset, 1);
    }
    assert_int_equal(grow(rig, id, false), 2);
    assert_int_equal(grow(rig, "a@1", false), 1);
}

/* By the index or not, the same is found: where most lineages are long it is not used. */
static void traces_among_many(void **state)
{
    struct rig *rig = *state;
    static const char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const struct rig_message with[] = {{"x", {"id", "some", "traceparent", trace, NULL}}};
    const struct rig_message other[] = {{"x", {"partitionkey", "k", NULL}}};
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 150; i++)
            if (i % 50 == 49)
                time_rig_publish(&rig->engine, "t", "", 0, with, 1, NULL);
            else if (round == 0)
                time_rig_send(&rig->engine, "t", 0, "x", 1);
            else
                time_rig_publish(&rig->engine, "t", "", 0, other, 1, NULL);
        look(rig);
        assert_int_equal(grow(rig, "0af7651916cd43dd8448eb211c80319c", true), 3 * (round + 1));
        assert_int_equal(find(rig, "0af76519"), 3 * (round + 1));
    }
}

static void requests_and_replies(void **state)
{
    struct rig *rig = *state;
    const struct rig_message request[] = {{"a", {"id", "ask", "correlationid", "c-1", NULL}}};
    const struct rig_message reply[] = {{"b", {"id", "answer", "correlationid", "ask", NULL}}};
    time_rig_publish(&rig->engine, "a", "", 0, request, 1, NULL);
    time_rig_publish(&rig->engine, "b", "", 0, reply, 1, NULL);
    look(rig);
    assert_int_equal(grow(rig, "ask", false), 2);
    assert_int_equal(rig->tree.nodes[1].relation, TRACE_REPLY);
    assert_int_equal(rig->tree.nodes[1].parent, 0);
    assert_int_equal(grow(rig, "answer", false), 2);
    assert_int_equal(rig->tree.nodes[1].relation, TRACE_REPLY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ids_that_are_derived, setup, teardown),
        cmocka_unit_test_setup_teardown(ids_that_were_given, setup, teardown),
        cmocka_unit_test_setup_teardown(ids_of_many_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(ids_out_of_order, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_scheduled, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_left_of_them, setup, teardown),
        cmocka_unit_test_setup_teardown(causes_and_effects, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_handed_on, setup, teardown),
        cmocka_unit_test_setup_teardown(traces_among_many, setup, teardown),
        cmocka_unit_test_setup_teardown(requests_and_replies, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
