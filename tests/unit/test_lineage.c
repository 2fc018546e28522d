/* What is kept of a frame's messages: encoding, opening, looking for one, bytes that are none. */
#include "message/lineage.h"

#include "message/attributes.h"
#include "message/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct rig {
    struct frame_builder builder;
    struct frame frame;
    uint64_t session; /* that publishes it */
    struct buffer bytes;
    struct lineage lineage;
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    assert_int_equal(frame_begin(&rig->builder, 7, 100), MP_OK);
    rig->session = 7;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    frame_builder_free(&rig->builder);
    buffer_free(&rig->bytes);
    free(rig);
    return 0;
}

/* A message with NAME=VALUE attributes, up to a NULL name. */
static void add(struct rig *rig, const char *const *attributes, uint64_t producer, uint64_t sequence)
{
    struct buffer block = {0};
    struct fault fault;
    for (; attributes && attributes[0]; attributes += 2)
        assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, attributes[0], strlen(attributes[0]), attributes[1],
                                        strlen(attributes[1]), &fault),
                         MP_OK);
    if (producer)
        assert_int_equal(attributes_set_origin(&block, producer, sequence), MP_OK);
    assert_int_equal(frame_add(&rig->builder, "x", 1, block.data, block.size), MP_OK);
    buffer_free(&block);
}

static void finish(struct rig *rig)
{
    struct fault fault;
    frame_finish(&rig->builder, 5000);
    assert_int_equal(frame_open(&rig->frame, rig->builder.bytes.data, rig->builder.bytes.size, true, &fault), MP_OK);
    assert_int_equal(lineage_encode(&rig->frame, rig->session, &rig->bytes), MP_OK);
    assert_int_equal(lineage_open(&rig->lineage, rig->bytes.data, rig->bytes.size, rig->frame.count), MP_OK);
}

static void assert_exact(struct lineage_value value, uint64_t high, uint64_t low)
{
    assert_int_equal(value.kind, LINEAGE_EXACT);
    assert_int_equal(value.high, high);
    assert_int_equal(value.low, low);
}

static bool find_text(const struct rig *rig, enum lineage_column column, const char *text, uint32_t *index)
{
    struct lineage_value value = lineage_value_of(column, text, strlen(text));
    return lineage_find(&rig->lineage, column, &value, &value, index);
}

static void plain_messages_cost_nothing(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 10000; i++)
        add(rig, NULL, 0, 0);
    finish(rig);
    assert_int_equal(rig->bytes.size, 24);
    assert_int_equal(rig->lineage.time, 5000);
    assert_exact(lineage_id(&rig->lineage, 9999), 7, 10099);
    assert_exact(lineage_trace(&rig->lineage, 3), 7, 103);
    uint32_t index = 0;
    assert_true(find_text(rig, LINEAGE_ID, "0000000000000007000000000000006e", &index));
    assert_int_equal(index, 10);
    assert_false((index++, find_text(rig, LINEAGE_ID, "0000000000000007000000000000006e", &index)));
    index = 0;
    assert_false(find_text(rig, LINEAGE_ID, "00000000000000070000000000000063", &index));
    assert_false(find_text(rig, LINEAGE_ID, "00000000000000080000000000000070", &index));
}

/* Who looks for what is not told by its session looks at longer lineages only. */
static void what_another_producer_sent_is_told(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 10000; i++)
        add(rig, NULL, 0, 0);
    rig->session = 8;
    finish(rig);
    assert_true(rig->bytes.size > LINEAGE_BARE && rig->bytes.size <= LINEAGE_BARE + 24);
    assert_exact(lineage_origin(&rig->lineage, 9999), 7, 10099);
    assert_exact(lineage_id(&rig->lineage, 9999), 7, 10099);
    assert_exact(lineage_trace(&rig->lineage, 3), 7, 103);
    uint32_t index = 0;
    assert_true(find_text(rig, LINEAGE_ID, "0000000000000007000000000000006e", &index));
    assert_int_equal(index, 10);
    assert_false((index++, find_text(rig, LINEAGE_ID, "0000000000000007000000000000006e", &index)));
}

static void one_of_another_producer_with_a_key(void **state)
{
    struct rig *rig = *state;
    const char *attributes[] = {"partitionkey", "k", NULL};
    add(rig, NULL, 0, 0);
    add(rig, attributes, 0, 0);
    add(rig, NULL, 9, 1);
    rig->session = 0;
    finish(rig);
    assert_exact(lineage_id(&rig->lineage, 0), 7, 100);
    assert_exact(lineage_id(&rig->lineage, 1), 7, 101);
    assert_exact(lineage_id(&rig->lineage, 2), 9, 1);
    assert_int_equal(lineage_value(&rig->lineage, LINEAGE_KEY, 1).kind, LINEAGE_HASH);
}

static void ids_and_keys_cost_eight_bytes(void **state)
{
    struct rig *rig = *state;
    char id[32], key[32];
    const char *attributes[] = {"id", id, "partitionkey", key, NULL};
    for (int i = 0; i < 1000; i++) {
        snprintf(id, sizeof id, "order-%d", i);
        snprintf(key, sizeof key, "customer-%d", i % 10);
        add(rig, attributes, 0, 0);
    }
    finish(rig);
    assert_true(rig->bytes.size <= 24 + 16 * 1000 + 16);
    uint32_t index = 0;
    assert_true(find_text(rig, LINEAGE_ID, "order-517", &index));
    assert_int_equal(index, 517);
    index = 0;
    assert_false(find_text(rig, LINEAGE_ID, "order-1000", &index));
    /* It has an id: the one that would follow from its origin is not its own. */
    assert_false(find_text(rig, LINEAGE_ID, "0000000000000007000000000000006e", &index));
    index = 0;
    unsigned found = 0;
    for (; find_text(rig, LINEAGE_KEY, "customer-7", &index); index++, found++)
        assert_int_equal(index % 10, 7);
    assert_int_equal(found, 100);
    /* Their traces follow from their origins all the same. */
    assert_exact(lineage_trace(&rig->lineage, 517), 7, 617);
}

static void what_a_stage_makes_in_order_costs_a_run(void **state)
{
    struct rig *rig = *state;
    char cause[FRAME_ID_TEXT], parent[TRACE_PARENT_TEXT];
    const char *attributes[] = {"causationid", cause, "traceparent", parent, NULL};
    for (uint64_t i = 0; i < 1000; i++) {
        const struct trace_place delivery = {.topic = "t", .offset = 70 + i, .group = "g", .attempt = 1};
        struct trace_parent trace = {{42, 1000 + i}, trace_span(42, 1000 + i, &delivery), 1};
        frame_origin_text(42, 1000 + i, cause);
        trace_parent_write(&trace, parent);
        add(rig, attributes, 0, 0);
    }
    finish(rig);
    assert_true(rig->bytes.size < 24 + 84);
    assert_exact(lineage_value(&rig->lineage, LINEAGE_CAUSE, 500), 42, 1500);
    assert_exact(lineage_trace(&rig->lineage, 999), 42, 1999);
    assert_exact(lineage_id(&rig->lineage, 999), 7, 1099);
    uint32_t index = 0;
    assert_true(find_text(rig, LINEAGE_CAUSE, "000000000000002a00000000000003e9", &index));
    assert_int_equal(index, 1);
    const struct trace_place delivery = {.topic = "t", .offset = 70 + 999, .group = "g", .attempt = 1};
    assert_int_equal(lineage_parent(&rig->lineage, 999), trace_span(42, 1999, &delivery));
}

static void a_trace_that_all_share(void **state)
{
    struct rig *rig = *state;
    const char *attributes[] = {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", NULL};
    for (int i = 0; i < 1000; i++)
        add(rig, attributes, 0, 0);
    finish(rig);
    assert_true(rig->bytes.size < 24 + 64);
    assert_exact(lineage_trace(&rig->lineage, 7), 0x0af7651916cd43dd, 0x8448eb211c80319c);
    struct lineage_value parent = lineage_value(&rig->lineage, LINEAGE_PARENT, 999);
    assert_int_equal(parent.kind, LINEAGE_HASH);
    assert_int_equal(parent.low, 0xb7ad6b7169203331);
    assert_int_equal(lineage_parent(&rig->lineage, 3), 0xb7ad6b7169203331);
    uint32_t index = 5;
    assert_true(find_text(rig, LINEAGE_TRACE, "0af7651916cd43dd8448eb211c80319c", &index));
    assert_int_equal(index, 5);
}

static void messages_of_others_keep_their_origins(void **state)
{
    struct rig *rig = *state;
    const char *named[] = {"id", "n", NULL};
    add(rig, NULL, 5, 50);
    add(rig, NULL, 5, 51);
    add(rig, NULL, 0, 0);
    add(rig, named, 5, 90);
    add(rig, NULL, 3, 8);
    finish(rig);
    assert_exact(lineage_origin(&rig->lineage, 1), 5, 51);
    assert_exact(lineage_origin(&rig->lineage, 2), 7, 102);
    assert_exact(lineage_id(&rig->lineage, 4), 3, 8);
    uint32_t index = 0;
    assert_true(find_text(rig, LINEAGE_ID, "00000000000000050000000000000033", &index));
    assert_int_equal(index, 1);
    index = 0;
    assert_false(find_text(rig, LINEAGE_ID, "0000000000000005000000000000005a", &index));
    assert_true(find_text(rig, LINEAGE_ORIGIN, "0000000000000005000000000000005a", &index));
    assert_int_equal(index, 3);
    index = 0;
    /* Not its own number in the frame: it has another origin. */
    assert_false(find_text(rig, LINEAGE_ID, "00000000000000070000000000000064", &index));
}

/* What a column says of each message is what it was given, whatever their order. */
static void any_mixture_comes_back(void **state)
{
    struct rig *rig = *state;
    uint64_t seed = 1;
    const char *const ids[] = {"a", "b", "00000000000000090000000000000001", "00000000000000090000000000000002"};
    unsigned chosen[3000];
    for (int i = 0; i < 3000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        chosen[i] = (unsigned)(seed >> 60) % 6;
        const char *attributes[] = {"id", chosen[i] < 4 ? ids[chosen[i]] : NULL, NULL};
        if (chosen[i] < 4)
            add(rig, attributes, 0, 0);
        else
            add(rig, NULL, chosen[i] == 5 ? 11 : 0, (uint64_t)i);
    }
    finish(rig);
    struct lineage_cursor cursor = lineage_cursor(&rig->lineage, LINEAGE_ID);
    for (uint32_t i = 0; i < 3000; i++) {
        struct lineage_value value = lineage_next(&cursor), same = lineage_value(&rig->lineage, LINEAGE_ID, i);
        assert_int_equal(value.kind, same.kind);
        assert_int_equal(value.low, same.low);
        if (chosen[i] >= 4) {
            assert_int_equal(value.kind, LINEAGE_NONE);
            continue;
        }
        struct lineage_value wanted = lineage_value_of(LINEAGE_ID, ids[chosen[i]], strlen(ids[chosen[i]]));
        assert_int_equal(value.kind, wanted.kind);
        assert_int_equal(value.low, wanted.low);
    }
    for (unsigned id = 0; id < 4; id++) {
        uint32_t found = 0, expected = 0;
        for (uint32_t index = 0; find_text(rig, LINEAGE_ID, ids[id], &index); index++, found++)
            assert_int_equal(chosen[index], id);
        for (int i = 0; i < 3000; i++)
            expected += chosen[i] == id;
        assert_int_equal(found, expected);
    }
}

static void what_is_no_lineage(void **state)
{
    struct rig *rig = *state;
    const char *attributes[] = {"id", "a", "partitionkey", "k", NULL};
    add(rig, attributes, 0, 0);
    add(rig, attributes, 9, 9);
    finish(rig);
    struct lineage lineage;
    size_t whole = rig->bytes.size;
    for (size_t size = 0; size < whole; size++) { /* cut anywhere: refused, or what is there of it */
        uint8_t *copy = malloc(size ? size : 1);
        assert_non_null(copy);
        memcpy(copy, rig->bytes.data, size);
        if (lineage_open(&lineage, copy, size, 2) == MP_OK)
            for (uint32_t i = 0; i < 3; i++)
                lineage_id(&lineage, i);
        free(copy);
    }
    assert_int_equal(lineage_open(&lineage, rig->bytes.data, whole, 1), MP_ERR_DAMAGED);
    assert_int_equal(lineage_open(&lineage, rig->bytes.data, whole - 1, 2), MP_ERR_DAMAGED);
    assert_int_equal(lineage_open(&lineage, rig->bytes.data, 10, 2), MP_ERR_DAMAGED);
}

static void traceparents(void **state)
{
    (void)state;
    struct trace_parent parent;
    char text[TRACE_PARENT_TEXT];
    static const char good[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_true(trace_parent_read(good, strlen(good), &parent));
    trace_parent_write(&parent, text);
    assert_string_equal(text, good);
    static const char *const others[] = {
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", /* a later version */
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-then",
        "00-00000000000000008448eb211c80319c-b7ad6b7169203331-00",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_true(trace_parent_read(others[i], strlen(others[i]), &parent));
    static const char *const bad[] = {
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.x",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c+b7ad6b7169203331-01",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(trace_parent_read(bad[i], strlen(bad[i]), &parent));
}

static void tracestates(void **state)
{
    (void)state;
    static const char *const good[] = {"a=b", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "a=1, ,b=2", "t1@v=x y"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(trace_state_check(good[i], strlen(good[i])));
    static const char *const bad[] = {"", " ", "a", "=b", "a=", "A=b", "a=b=c", "a b=c", "a=\xc3\xa4"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(trace_state_check(bad[i], strlen(bad[i])));
    char many[33 * 4 + 1] = "";
    for (int i = 0; i < 33; i++)
        strcat(many, "a=b,");
    assert_true(trace_state_check(many, 32 * 4));
    assert_false(trace_state_check(many, 33 * 4));
}

static size_t mended(const char *parent, const char *tracestate, struct trace_mender *mender)
{
    struct buffer block = {0};
    struct fault fault;
    if (parent)
        assert_int_equal(attributes_set(&block, ATTRIBUTE_STRING, "traceparent", 11, parent, strlen(parent), &fault),
                         0);
    if (tracestate)
        assert_int_equal(
            attributes_set(&block, ATTRIBUTE_STRING, "tracestate", 10, tracestate, strlen(tracestate), &fault), 0);
    const uint8_t *bytes = block.data;
    size_t size = block.size, left = 0, at = 0;
    struct attribute attribute;
    assert_int_equal(trace_mender_apply(mender, &bytes, &size), MP_OK);
    while (attribute_next(bytes, size, &at, &attribute))
        left++;
    buffer_free(&block);
    return left;
}

static void what_is_no_traceparent_is_taken_out_and_counted(void **state)
{
    (void)state;
    static const char good[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    struct trace_mender mender = {0};
    assert_int_equal(mended(good, "a=b", &mender), 2);
    assert_int_equal(mended(good, NULL, &mender), 1);
    assert_int_equal(mended(NULL, NULL, &mender), 0);
    assert_int_equal(mender.count, 0);
    assert_int_equal(mended("00-1-2-3", "a=b", &mender), 0);
    assert_int_equal(mended(good, "A=b", &mender), 1);
    assert_int_equal(mended(NULL, "a=b", &mender), 0);
    assert_int_equal(mender.count, 3);
    buffer_free(&mender.block);
}

static void spans_of_neighbours_are_a_step_apart(void **state)
{
    (void)state;
    const struct trace_place place = {"t", 5, "g", 1, 0}, next = {"t", 6, "g", 1, 0},
                             others[] = {{"u", 5, "g", 1, 0},
                                         {"t", 6, "g", 1, 0},
                                         {"t", 5, "h", 1, 0},
                                         {"t", 5, NULL, 1, 0},
                                         {"t", 5, "g", 2, 0},
                                         {"g", 5, "t", 1, 0},
                                         {"t", 5, "g", 1, trace_delivery(9, 1)}};
    uint64_t span = trace_span(7, 8, &place);
    assert_int_equal(trace_span(7, 9, &next), span + TRACE_SPAN_STEP);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_not_equal(trace_span(7, 8, &others[i]), span);
    assert_int_not_equal(trace_delivery(9, 1), trace_delivery(9, 2));
    assert_int_not_equal(trace_delivery(9, 1), trace_delivery(1, 9));
    assert_int_equal(trace_delivery(0, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(plain_messages_cost_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_another_producer_sent_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(one_of_another_producer_with_a_key, setup, teardown),
        cmocka_unit_test_setup_teardown(ids_and_keys_cost_eight_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_stage_makes_in_order_costs_a_run, setup, teardown),
        cmocka_unit_test_setup_teardown(a_trace_that_all_share, setup, teardown),
        cmocka_unit_test_setup_teardown(messages_of_others_keep_their_origins, setup, teardown),
        cmocka_unit_test_setup_teardown(any_mixture_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_lineage, setup, teardown),
        cmocka_unit_test(traceparents),
        cmocka_unit_test(tracestates),
        cmocka_unit_test(what_is_no_traceparent_is_taken_out_and_counted),
        cmocka_unit_test(spans_of_neighbours_are_a_step_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
