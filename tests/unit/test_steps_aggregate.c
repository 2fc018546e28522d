/* aggregate: windows of messages. */
#include "steps_rig.h"

#include "base/clock.h"
#include "base/memory.h"
#include "client/protocol.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { SECOND = 1000000 };

#define FROM "windowstart=2026-11-20T17:00:0"
#define TO ".000000Z"

/* Opens one that ends after what is given, in lines. */
static void open_by(struct steps_rig *rig, const char *by, uint64_t count, uint64_t size, int64_t window)
{
    static struct stage_step step;
    step = (struct stage_step){.kind = STAGE_STEP_AGGREGATE, .by = by, .count = count, .size = size, .window = window};
    steps_rig_open(rig, &step, 1);
}

static void pass(struct steps_rig *rig, int64_t time)
{
    rig->now += time;
    rig->wall += time;
}

static void a_window_ends_with_so_many(void **state)
{
    (void)state;
    struct steps_rig rig;
    open_by(&rig, NULL, 3, 0, 0);
    steps_give(&rig, "type=a", "1", STAGE_HELD);
    steps_give(&rig, "type=b", "2", STAGE_HELD);
    assert_true(stage_steps_due(rig.steps) == CLOCK_NEVER);
    pass(&rig, 2 * SECOND);
    steps_give(&rig, NULL, "3", STAGE_HELD);
    assert_true(stage_steps_due(rig.steps) <= rig.now);
    /* It takes no more, whoever is late with the tick. */
    steps_give(&rig, NULL, "4", STAGE_HELD);
    steps_expect(&rig, "");
    steps_tick(&rig);
    steps_expect(&rig, "window 1,2,3: new count=3 windowend=2026-11-20T17:00:02" TO " " FROM "0" TO "|1\n2\n3\n\n");
    steps_tick(&rig);
    steps_expect(&rig, "");
    assert_int_equal(stage_steps_tick(rig.steps, rig.now, rig.wall, true), MP_OK);
    steps_expect(&rig, "window 4: new count=1 windowend=2026-11-20T17:00:02" TO " " FROM "2" TO "|4\n\n");
    assert_int_equal(stage_steps_counts(rig.steps)->windows, 2);
    assert_int_equal(stage_steps_counts(rig.steps)->early, 0);
    steps_rig_free(&rig);
}

static void each_key_has_its_window(void **state)
{
    (void)state;
    struct steps_rig rig;
    open_by(&rig, "key", 2, 0, 0);
    steps_give(&rig, "partitionkey=a", "1", STAGE_HELD);
    steps_give(&rig, "partitionkey=b", "2", STAGE_HELD);
    steps_give(&rig, NULL, "3", STAGE_HELD);
    steps_give(&rig, "partitionkey=b", "4", STAGE_HELD);
    steps_give(&rig, "partitionkey=a", "5", STAGE_HELD);
    steps_give(&rig, NULL, "6", STAGE_HELD);
    steps_tick(&rig);
#define TIMES "windowend=2026-11-20T17:00:00" TO " " FROM "0" TO
    steps_expect(&rig, "window 2,4: new partitionkey=b count=2 " TIMES "|2\n4\n\n"
                       "window 1,5: new partitionkey=a count=2 " TIMES "|1\n5\n\n"
                       "window 3,6: new count=2 " TIMES "|3\n6\n\n");
    steps_rig_free(&rig);
}

static void topics_share_windows_unless_they_are_by_topic(void **state)
{
    (void)state;
    static const char *const by[] = {"key", "topic"};
    static const char *const outs[] = {"window 1,2: new partitionkey=k count=2 " TIMES
                                       "|x\nx\n\nwindow 3,4: new partitionkey=k count=2 " TIMES "|x\nx\n\n",
                                       "window 1,3: new partitionkey=odd count=2 " TIMES
                                       "|x\nx\n\nwindow 2,4: new partitionkey=even count=2 " TIMES "|x\nx\n\n"};
    for (int i = 0; i < 2; i++) {
        struct steps_rig rig;
        open_by(&rig, by[i], 2, 0, 0);
        for (uint64_t ticket = 1; ticket <= 4; ticket++) {
            struct steps_message message;
            steps_message(&message, "partitionkey=k", "x");
            message.item.topic = ticket % 2 == 0 ? "even" : "odd";
            assert_int_equal(
                stage_steps_apply(rig.steps, &message.item, ticket, rig.now, rig.wall, &rig.verdict, &rig.result),
                MP_OK);
            steps_message_free(&message);
        }
        steps_tick(&rig);
        steps_expect(&rig, outs[i]);
        steps_rig_free(&rig);
    }
}

static void a_window_ends_with_so_many_bytes(void **state)
{
    (void)state;
    struct steps_rig rig;
    open_by(&rig, NULL, 0, 10, 0);
    steps_give(&rig, NULL, "123", STAGE_HELD); /* and a newline */
    steps_give(&rig, NULL, "12345", STAGE_HELD);
    steps_tick(&rig);
    steps_expect(&rig, "window 1,2: new count=2 " TIMES "|123\n12345\n\n");
    steps_give(&rig, NULL, "123456", STAGE_HELD);
    steps_give(&rig, NULL, "123456", STAGE_HELD); /* does not fit */
    steps_tick(&rig);
    steps_expect(&rig, "window 3: new count=1 " TIMES "|123456\n\n");
    steps_give(&rig, NULL, "1234567890123", STAGE_HELD); /* alone it may be longer */
    steps_tick(&rig);
    steps_expect(&rig, "window 4: new count=1 " TIMES "|123456\n\nwindow 5: new count=1 " TIMES "|1234567890123\n\n");
    steps_rig_free(&rig);
}

static void a_window_ends_so_long_after_its_first(void **state)
{
    (void)state;
    struct steps_rig rig;
    open_by(&rig, "/k", 0, 0, 3 * SECOND);
    const int64_t begin = rig.now;
    steps_give(&rig, NULL, "{\"k\":1}", STAGE_HELD);
    pass(&rig, SECOND);
    steps_give(&rig, NULL, "{\"k\":2}", STAGE_HELD);
    assert_int_equal(stage_steps_due(rig.steps), begin + 3 * SECOND);
    pass(&rig, 2 * SECOND - 1);
    steps_tick(&rig);
    steps_expect(&rig, "");
    pass(&rig, 1);
    steps_tick(&rig);
    steps_expect(&rig, "window 1: new partitionkey=1 count=1 windowend=2026-11-20T17:00:03" TO " " FROM "0" TO
                       "|{\"k\":1}\n\n");
    assert_int_equal(stage_steps_due(rig.steps), begin + 4 * SECOND);
    pass(&rig, 100 * (int64_t)SECOND);
    steps_tick(&rig);
    rig.out.size = 0;
    assert_true(stage_steps_due(rig.steps) == CLOCK_NEVER);
    steps_rig_free(&rig);
}

static void bodies_become_a_json_array(void **state)
{
    (void)state;
    const struct stage_step all[] = {{.kind = STAGE_STEP_AGGREGATE, .array = true, .count = 6}};
    struct steps_rig rig;
    steps_rig_open(&rig, all, 1);
    steps_give(&rig, NULL, " {\"a\" :\n1}\n", STAGE_HELD);
    steps_give(&rig, NULL, "plain \"text\"", STAGE_HELD);
    steps_give(&rig, NULL, "17", STAGE_HELD);
    steps_give(&rig, NULL, "\xff", STAGE_DEAD);
    assert_int_equal(rig.result.reason, PROTOCOL_REASON_FORMAT);
    assert_string_equal(rig.result.note, "aggregate: the body is neither JSON nor text");
    steps_give(&rig, NULL, "", STAGE_HELD);
    steps_give(&rig, NULL, "\"q\"", STAGE_HELD);
    steps_give(&rig, "datacontenttype=application/json", "\"q\"", STAGE_HELD);
    steps_tick(&rig);
    steps_expect(&rig, "window 1,2,3,5,6,7: new datacontenttype=application/json count=6 " TIMES
                       "|[{\"a\" :\n1},\"plain \\\"text\\\"\",17,\"\",\"\\\"q\\\"\",\"q\"]\n");
    steps_rig_free(&rig);
}

static void what_cannot_be_joined_dies(void **state)
{
    (void)state;
    struct steps_rig rig;
    open_by(&rig, "subject", 2, 0, 0);
    steps_give(&rig, NULL, "one\ntwo", STAGE_DEAD);
    assert_int_equal(rig.result.reason, PROTOCOL_REASON_FORMAT);
    steps_give(&rig, NULL, "1", STAGE_HELD);
    steps_give(&rig, NULL, "one\ntwo", STAGE_DEAD);
    steps_give(&rig, NULL, "2", STAGE_HELD);
    steps_tick(&rig);
    steps_expect(&rig, "window 2,4: new count=2 " TIMES "|1\n2\n\n");
    steps_rig_free(&rig);
    open_by(&rig, "body", 2, 0, 0);
    steps_give(&rig, NULL, "no\tkey", STAGE_DEAD);
    assert_string_equal(rig.result.note, "aggregate: attribute 'partitionkey': byte 3 of the value is a control "
                                         "character: attributes hold none");
    assert_true(stage_steps_due(rig.steps) == CLOCK_NEVER);
    steps_rig_free(&rig);
}

static void what_comes_out_fits_into_a_message(void **state)
{
    (void)state;
    const struct stage_step all[] = {{.kind = STAGE_STEP_AGGREGATE, .array = true, .count = 100}};
    const struct stage_steps_settings bounds = {.body_max = 10};
    struct steps_rig rig;
    steps_rig_open_within(&rig, all, 1, &bounds);
    steps_give(&rig, NULL, "1234", STAGE_HELD);
    steps_give(&rig, NULL, "56", STAGE_HELD);
    steps_give(&rig, NULL, "7", STAGE_HELD);
    steps_tick(&rig);
    steps_expect(&rig, "window 1,2: new datacontenttype=application/json count=2 " TIMES "|[1234,56]\n");
    steps_give(&rig, NULL, "123456789", STAGE_DEAD);
    assert_int_equal(rig.result.reason, PROTOCOL_REASON_OVERFLOW);
    assert_string_equal(rig.result.note, "aggregate: the body is longer than a message may be");
    steps_tick(&rig); /* the 7 made room for it in vain */
    steps_expect(&rig, "window 3: new datacontenttype=application/json count=1 " TIMES "|[7]\n");
    steps_give(&rig, NULL, "12345678", STAGE_HELD);
    assert_int_equal(stage_steps_tick(rig.steps, rig.now, rig.wall, true), MP_OK);
    steps_expect(&rig, "window 5: new datacontenttype=application/json count=1 " TIMES "|[12345678]\n");
    /* Another relay may take less. */
    stage_steps_limit(rig.steps, 6);
    steps_give(&rig, NULL, "12", STAGE_HELD);
    steps_give(&rig, NULL, "34", STAGE_HELD);
    steps_tick(&rig);
    steps_expect(&rig, "window 6: new datacontenttype=application/json count=1 " TIMES "|[12]\n");
    steps_give(&rig, NULL, "12345", STAGE_DEAD);
    steps_rig_free(&rig);
}

static void past_its_bounds_the_largest_window_ends_early(void **state)
{
    (void)state;
    const struct stage_step all[] = {{.kind = STAGE_STEP_AGGREGATE, .by = "key", .count = 100}};
    const struct stage_steps_settings messages = {.held_messages = 7}, bytes = {.held_bytes = 3000};
    struct steps_rig rig;
    char long_body[1501];
    steps_rig_open_within(&rig, all, 1, &messages);
    steps_give(&rig, "partitionkey=a", "1", STAGE_HELD);
    for (int i = 0; i < 4; i++)
        steps_give(&rig, "partitionkey=b", "2", STAGE_HELD);
    steps_give(&rig, "partitionkey=c", "3", STAGE_HELD);
    assert_true(stage_steps_due(rig.steps) == CLOCK_NEVER);
    steps_give(&rig, "partitionkey=d", "4", STAGE_HELD);
    steps_tick(&rig);
    steps_expect(&rig, "window 2,3,4,5: new partitionkey=b count=4 " TIMES "|2\n2\n2\n2\n\n");
    assert_int_equal(stage_steps_counts(rig.steps)->early, 1);
    steps_rig_free(&rig);

    memset(long_body, 'x', sizeof(long_body) - 1);
    long_body[sizeof(long_body) - 1] = '\0';
    steps_rig_open_within(&rig, all, 1, &bytes);
    for (int i = 0; i < 10; i++)
        steps_give(&rig, "partitionkey=a", "1", STAGE_HELD);
    steps_give(&rig, "partitionkey=b", long_body, STAGE_HELD);
    steps_give(&rig, "partitionkey=b", long_body, STAGE_HELD);
    steps_tick(&rig);
    assert_true(rig.out.size > 3000);
    assert_memory_equal(rig.out.data, "window 11,12: ", 14);
    assert_int_equal(stage_steps_counts(rig.steps)->early, 1);
    steps_rig_free(&rig);
}

static void a_forgotten_message_leaves_its_window(void **state)
{
    (void)state;
    const struct stage_step all[] = {{.kind = STAGE_STEP_AGGREGATE, .array = true, .by = "key", .count = 4}};
    struct steps_rig rig;
    steps_rig_open(&rig, all, 1);
    for (int i = 0; i < 3; i++)
        steps_give(&rig, "partitionkey=a", i == 0 ? "\"one\"" : i == 1 ? "2" : "{\"three\":3}", STAGE_HELD);
    steps_give(&rig, "partitionkey=b", "4", STAGE_HELD);
    steps_forget(&rig, 1, "partitionkey=a", "\"one\"");
    steps_forget(&rig, 4, "partitionkey=b", "4");
    steps_forget(&rig, 99, "partitionkey=b", "4");
    steps_give(&rig, "partitionkey=a", "5", STAGE_HELD);
    steps_give_again(&rig, 1, "partitionkey=a", "\"one\"", STAGE_HELD);
    /* And one that is over already. */
    steps_forget(&rig, 3, "partitionkey=a", "{\"three\":3}");
    steps_tick(&rig);
    steps_expect(&rig, "window 2,5,1: new datacontenttype=application/json partitionkey=a count=3 " TIMES
                       "|[2,5,\"\\\"one\\\"\"]\n");
    assert_int_equal(stage_steps_tick(rig.steps, rig.now, rig.wall, true), MP_OK);
    steps_expect(&rig, "");
    assert_true(stage_steps_due(rig.steps) == CLOCK_NEVER);
    steps_rig_free(&rig);
}

static void a_window_that_is_refused_stays(void **state)
{
    (void)state;
    const struct stage_step all[] = {{.kind = STAGE_STEP_AGGREGATE, .array = true, .count = 2}};
    struct steps_rig rig;
    steps_rig_open(&rig, all, 1);
    steps_give(&rig, NULL, "1", STAGE_HELD);
    steps_give(&rig, NULL, "2", STAGE_HELD);
    for (int i = 0; i < 3; i++) {
        rig.refuse = MP_ERR_FULL;
        steps_tick(&rig);
        rig.refuse = MP_OK;
        assert_true(stage_steps_due(rig.steps) <= rig.now);
    }
    steps_tick(&rig);
    steps_expect(&rig, "window 1,2: new datacontenttype=application/json count=2 " TIMES "|[1,2]\n");
    steps_rig_free(&rig);
}

static void what_comes_out_goes_through_the_steps_behind(void **state)
{
    (void)state;
    struct stage_condition one = {.name = "count", .values = (const char *const[]){"1"}, .count = 1, .negate = true};
    struct stage_step all[] = {
        {.kind = STAGE_STEP_WHERE,
         .where = {.conditions =
                       (struct stage_condition[]){{.name = "type", .values = (const char *const[]){"a"}, .count = 1}},
                   .count = 1}},
        {.kind = STAGE_STEP_AGGREGATE, .by = "key", .window = SECOND},
        {.kind = STAGE_STEP_WHERE, .where = {.conditions = &one, .count = 1}},
        {.kind = STAGE_STEP_SET,
         .pairs = (struct stage_pair[]){{"type", "sum"}, {"many", "%{count} of %{key}"}},
         .pairs_count = 2},
        {.kind = STAGE_STEP_REMOVE, .names = (const char *const[]){"windowstart", "windowend"}, .names_count = 2},
    };
    for (enum stage_otherwise otherwise = STAGE_ELSE_SKIP; otherwise <= STAGE_ELSE_DEAD; otherwise += 2) {
        struct steps_rig rig;
        all[2].otherwise = otherwise;
        steps_rig_open(&rig, all, 5);
        steps_give(&rig, "type=a partitionkey=k", "1", STAGE_HELD);
        steps_give(&rig, "type=b partitionkey=k", "2", STAGE_DONE);
        steps_give(&rig, "type=a partitionkey=k", "3", STAGE_HELD);
        steps_give(&rig, "type=a partitionkey=l", "4", STAGE_HELD);
        pass(&rig, SECOND);
        steps_tick(&rig);
        steps_expect(&rig,
                     otherwise == STAGE_ELSE_SKIP
                         ? "window 1,3: new type=sum partitionkey=k count=2 many=2 of k|1\n3\n\nwindow 4: nothing\n"
                         : "window 1,3: new type=sum partitionkey=k count=2 many=2 of k|1\n3\n\n"
                           "window 4: where: the message does not match\n");
        steps_rig_free(&rig);
    }
}

static void what_cannot_work_is_told(void **state)
{
    (void)state;
    const struct stage_step aggregate = {.kind = STAGE_STEP_AGGREGATE, .count = 2};
    const struct stage_step split = {.kind = STAGE_STEP_SPLIT};
    const struct stage_step limit = {.kind = STAGE_STEP_RATE_LIMIT, .rate = 1};
    steps_refused(&(struct stage_step){.kind = STAGE_STEP_AGGREGATE}, 1,
                  "aggregate: its windows never end: write window: 1m, count: 100 or size: 1MiB");
    steps_refused((struct stage_step[]){split, aggregate}, 2,
                  "aggregate cannot follow split in a stage: put it into a stage of its own, behind this one");
    steps_refused((struct stage_step[]){aggregate, split}, 2,
                  "split cannot follow aggregate in a stage: put it into a stage of its own, behind this one");
    steps_refused((struct stage_step[]){aggregate, aggregate}, 2,
                  "aggregate cannot follow aggregate in a stage: put it into a stage of its own, behind this one");
    steps_refused((struct stage_step[]){limit, aggregate, limit}, 3,
                  "rate_limit cannot follow aggregate in a stage: put it into a stage of its own, behind this one");
}

/* Each message is in exactly one window, whatever is forgotten and refused on the way. */
static void each_message_is_in_one_window(void **state)
{
    (void)state;
    enum { MESSAGES = 3000 };
    const struct stage_step all[] = {{.kind = STAGE_STEP_AGGREGATE, .by = "key", .count = 7, .window = SECOND}};
    const struct stage_steps_settings bounds = {.held_messages = 50, .held_bytes = 400};
    struct steps_rig rig;
    static unsigned seen[MESSAGES];
    uint64_t random = 1;
    steps_rig_open_within(&rig, all, 1, &bounds);
    for (int i = 0; i < MESSAGES; i++) {
        char key[32], body[16];
        random = random * UINT64_C(6364136223846793005) + 1;
        snprintf(key, sizeof(key), "partitionkey=%d", (int)(random >> 40) % 20);
        snprintf(body, sizeof(body), "%d.", i);
        steps_give_again(&rig, (uint64_t)i, key, body, STAGE_HELD);
        if (random >> 33 & 1) {
            steps_forget(&rig, (uint64_t)i, key, body);
            steps_give_again(&rig, (uint64_t)i, key, body, STAGE_HELD);
        }
        pass(&rig, (int64_t)((random >> 48) % 30000));
        if (stage_steps_due(rig.steps) <= rig.now)
            steps_tick(&rig);
    }
    assert_int_equal(stage_steps_tick(rig.steps, rig.now, rig.wall, true), MP_OK);
    assert_int_equal(buffer_append(&rig.out, "", 1), MP_OK);
    unsigned windows = 0;
    for (const char *at = (const char *)rig.out.data; *at != '\0'; at += strcspn(at, "\n") + 1) {
        int number;
        windows += strncmp(at, "window ", 7) == 0;
        if (strncmp(at, "window ", 7) == 0)
            at = strchr(at, '|') + 1;
        if (sscanf(at, "%d.", &number) == 1)
            seen[number]++;
    }
    for (int i = 0; i < MESSAGES; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(windows, stage_steps_counts(rig.steps)->windows);
    assert_true(stage_steps_counts(rig.steps)->early > 0);
    steps_rig_free(&rig);
}

static void want_of_memory_leaves_the_window(void **state)
{
    (void)state;
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_AGGREGATE, .array = true, .by = "key", .count = 3},
        {.kind = STAGE_STEP_SET, .pairs = (struct stage_pair[]){{"x", "%{body}"}}, .pairs_count = 1},
    };
    for (unsigned long nth = 1;; nth++) {
        struct steps_rig rig;
        bool failed = false;
        steps_rig_open(&rig, all, 2);
        assert_int_equal(buffer_reserve(&rig.out, 4096), MP_OK);
        struct steps_message message;
        steps_message(&message, "partitionkey=k", "1");
        memory_fail(nth);
        for (uint64_t ticket = 1; ticket <= 3; ticket++) {
            enum mp_error error =
                stage_steps_apply(rig.steps, &message.item, ticket, rig.now, rig.wall, &rig.verdict, &rig.result);
            if (error == MP_OK)
                continue;
            assert_int_equal(error, MP_ERR_MEMORY);
            failed = true;
            assert_int_equal(
                stage_steps_apply(rig.steps, &message.item, ticket, rig.now, rig.wall, &rig.verdict, &rig.result),
                MP_OK);
        }
        if (stage_steps_tick(rig.steps, rig.now, rig.wall, false) != MP_OK) {
            failed = true;
            steps_expect(&rig, "");
            steps_tick(&rig);
        }
        assert_int_equal(memory_failed(), failed);
        memory_fail(0);
        steps_expect(&rig, "window 1,2,3: new datacontenttype=application/json partitionkey=k count=3 " TIMES
                           " x=[1,1,1]|[1,1,1]\n");
        steps_message_free(&message);
        steps_rig_free(&rig);
        if (!failed) {
            assert_true(nth > 8);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_ends_with_so_many),
        cmocka_unit_test(each_key_has_its_window),
        cmocka_unit_test(topics_share_windows_unless_they_are_by_topic),
        cmocka_unit_test(a_window_ends_with_so_many_bytes),
        cmocka_unit_test(a_window_ends_so_long_after_its_first),
        cmocka_unit_test(bodies_become_a_json_array),
        cmocka_unit_test(what_cannot_be_joined_dies),
        cmocka_unit_test(what_comes_out_fits_into_a_message),
        cmocka_unit_test(past_its_bounds_the_largest_window_ends_early),
        cmocka_unit_test(a_forgotten_message_leaves_its_window),
        cmocka_unit_test(a_window_that_is_refused_stays),
        cmocka_unit_test(what_comes_out_goes_through_the_steps_behind),
        cmocka_unit_test(what_cannot_work_is_told),
        cmocka_unit_test(each_message_is_in_one_window),
        cmocka_unit_test(want_of_memory_leaves_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
