/* where, set, rename, remove, rate_limit, log: one message in, at most one out. */
#include "steps_rig.h"

#include "base/clock.h"
#include "base/memory.h"
#include "client/protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define PAIRS(...)                                                                                                     \
    .pairs = (struct stage_pair[]){__VA_ARGS__},                                                                       \
    .pairs_count = sizeof((struct stage_pair[]){__VA_ARGS__}) / sizeof(struct stage_pair)
#define NAMES(...)                                                                                                     \
    .names = (const char *const[]){__VA_ARGS__},                                                                       \
    .names_count = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)
#define WHERE_TYPE(value)                                                                                              \
    .kind = STAGE_STEP_WHERE,                                                                                          \
    .where = {.conditions =                                                                                            \
                  (struct stage_condition[]){{.name = "type", .values = (const char *const[]){value}, .count = 1}},    \
              .count = 1}

static void no_steps_let_everything_pass(void **state)
{
    (void)state;
    struct steps_rig rig;
    steps_rig_open(&rig, NULL, 0);
    steps_give(&rig, "type=a", "1", STAGE_DONE);
    steps_give(&rig, NULL, "2", STAGE_DONE);
    steps_expect(&rig, "type=a|1\n|2\n");
    assert_true(stage_steps_due(rig.steps) == CLOCK_NEVER);
    steps_rig_free(&rig);
}

static void where_skips_passes_or_kills(void **state)
{
    (void)state;
    static const char *const outs[] = {"type=a x=1|1\n", "type=a x=1|1\ntype=b|2\n", "type=a x=1|1\n"};
    for (enum stage_otherwise otherwise = STAGE_ELSE_SKIP; otherwise <= STAGE_ELSE_DEAD; otherwise++) {
        const struct stage_step all[] = {
            {WHERE_TYPE("a"), .otherwise = otherwise},
            {.kind = STAGE_STEP_SET, PAIRS({"x", "1"})},
        };
        struct steps_rig rig;
        steps_rig_open(&rig, all, 2);
        steps_give(&rig, "type=a", "1", STAGE_DONE);
        steps_give(&rig, "type=b", "2", otherwise == STAGE_ELSE_DEAD ? STAGE_DEAD : STAGE_DONE);
        steps_expect(&rig, outs[otherwise]);
        assert_int_equal(stage_steps_counts(rig.steps)->skipped, otherwise == STAGE_ELSE_SKIP);
        if (otherwise == STAGE_ELSE_DEAD) {
            assert_int_equal(rig.result.reason, PROTOCOL_REASON_REJECTED);
            assert_string_equal(rig.result.note, "where: the message does not match");
        }
        steps_rig_free(&rig);
    }
}

static void set_fills_templates_in(void **state)
{
    (void)state;
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_SET,
         PAIRS({"subject", "%{/name}"}, {"key", "%{region}-%{/id}"}, {"first", "%{second}"}, {"second", "%{first}"},
               {"gone", "%{nothing}"}, {"dataschema", "v2"})},
        {.kind = STAGE_STEP_SET, PAIRS({"again", "%{key}"})},
    };
    struct steps_rig rig;
    steps_rig_open(&rig, all, 2);
    /* All templates of a step see the message as it came to it. */
    steps_give(&rig, "region=eu first=1 second=2 gone=x", "{\"id\":7,\"name\":\"Ada\"}", STAGE_DONE);
    steps_expect(&rig, "subject=Ada dataschema=v2 partitionkey=eu-7 again=eu-7 first=2 region=eu second=1|"
                       "{\"id\":7,\"name\":\"Ada\"}\n");
    /* What is empty is not there. */
    steps_give(&rig, "subject=old", "no JSON", STAGE_DONE);
    steps_expect(&rig, "dataschema=v2 partitionkey=- again=-|no JSON\n");
    steps_rig_free(&rig);
}

static void a_value_that_no_attribute_can_have_kills(void **state)
{
    (void)state;
    const struct stage_step all[] = {{.kind = STAGE_STEP_SET, PAIRS({"x", "%{body}"})}};
    const struct stage_step time[] = {{.kind = STAGE_STEP_SET, PAIRS({"time", "%{body}"})}};
    struct steps_rig rig;
    steps_rig_open(&rig, all, 1);
    steps_give(&rig, "x=1", "a\nb", STAGE_DEAD);
    assert_int_equal(rig.result.reason, PROTOCOL_REASON_FORMAT);
    assert_string_equal(rig.result.note,
                        "set: attribute 'x': byte 2 of the value is a control character: attributes hold none");
    steps_give(&rig, "x=1", "ab", STAGE_DONE);
    steps_expect(&rig, "x=ab|ab\n");
    steps_rig_free(&rig);
    steps_rig_open(&rig, time, 1);
    steps_give(&rig, NULL, "today", STAGE_DEAD);
    steps_give(&rig, NULL, "2026-11-20T17:00:00Z", STAGE_DONE);
    steps_expect(&rig, "time=2026-11-20T17:00:00Z|2026-11-20T17:00:00Z\n");
    steps_rig_free(&rig);
}

static void rename_and_remove_keep_the_rest(void **state)
{
    (void)state;
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_RENAME, PAIRS({"customer", "key"}, {"a", "b"}, {"b", "a"}, {"missing", "type"})},
        {.kind = STAGE_STEP_REMOVE, NAMES("subject", "c", "nothing")},
    };
    struct steps_rig rig;
    steps_rig_open(&rig, all, 2);
    steps_give(&rig, "customer=ada a=1 b=2 c=3 type=t subject=s", "x", STAGE_DONE);
    steps_expect(&rig, "type=t partitionkey=ada a=2 b=1|x\n");
    steps_give(&rig, "customer=ada partitionkey=old", "x", STAGE_DONE);
    steps_expect(&rig, "partitionkey=ada|x\n");
    steps_give(&rig, NULL, "x", STAGE_DONE);
    steps_give(&rig, "c=1", "x", STAGE_DONE);
    steps_expect(&rig, "|x\n|x\n");
    steps_rig_free(&rig);
}

/* What a message was before it was routed is its origin still. */
static void the_origin_stays(void **state)
{
    (void)state;
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_SET, PAIRS({"x", "%{id}"})},
        {.kind = STAGE_STEP_RENAME, PAIRS({"x", "y"})},
        {.kind = STAGE_STEP_REMOVE, NAMES("z")},
    };
    struct steps_rig rig;
    struct steps_message message;
    steps_rig_open(&rig, all, 3);
    steps_message(&message, "z=1", "b");
    assert_int_equal(attributes_set_origin(&message.block, 0x10, 0x20), MP_OK);
    message.item.record.attributes = message.block.data;
    message.item.record.attributes_size = message.block.size;
    assert_int_equal(stage_steps_apply(rig.steps, &message.item, 1, 0, 0, &rig.verdict, &rig.result), MP_OK);
    steps_expect(&rig, "y=00000000000000100000000000000020|b\n");
    steps_message_free(&message);
    steps_rig_free(&rig);
}

static void rate_limit_lets_so_many_pass(void **state)
{
    (void)state;
    const struct stage_step all[] = {{.kind = STAGE_STEP_RATE_LIMIT, .rate = 100}};
    struct steps_rig rig;
    unsigned passed = 0;
    steps_rig_open(&rig, all, 1);
    for (const int64_t end = rig.now + 10 * 1000000; rig.now < end;) {
        struct steps_message message;
        steps_message(&message, NULL, "x");
        assert_int_equal(stage_steps_apply(rig.steps, &message.item, 1, rig.now, rig.wall, &rig.verdict, &rig.result),
                         MP_OK);
        passed += rig.verdict == STAGE_DONE;
        if (rig.verdict == STAGE_WAIT) {
            assert_true(rig.result.due > rig.now && rig.result.due < rig.now + 1000000);
            rig.now = rig.result.due;
        }
    }
    assert_in_range(passed, 1000, 1011);
    steps_rig_free(&rig);
}

/* A message that is refused behind the limit has not used it up. */
static void what_does_not_pass_takes_no_rate(void **state)
{
    (void)state;
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_RATE_LIMIT, .rate = 1},
        {WHERE_TYPE("a"), .otherwise = STAGE_ELSE_DEAD},
    };
    struct steps_rig rig;
    steps_rig_open(&rig, all, 2);
    steps_give(&rig, "type=b", "1", STAGE_DEAD);
    rig.refuse = MP_ERR_MEMORY;
    steps_give(&rig, "type=a", "2", STAGE_DONE);
    rig.refuse = MP_OK;
    steps_give(&rig, "type=a", "2", STAGE_DONE);
    steps_give(&rig, "type=a", "3", STAGE_WAIT);
    steps_expect(&rig, "type=a|2\n");
    steps_rig_free(&rig);
}

static void log_tells_of_messages(void **state)
{
    (void)state;
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_LOG},
        {.kind = STAGE_STEP_LOG, NAMES("/a", "size", "attempt", "subject", "id", "time"), .sample = 3},
    };
    struct steps_rig rig;
    steps_rig_open(&rig, all, 2);
    for (int i = 0; i < 4; i++)
        steps_give(&rig, "id=7 partitionkey=k", "{\"a\":\"\\u0062\"}", STAGE_DONE);
    assert_int_equal(buffer_append(&rig.log, "", 1), MP_OK);
#define USUAL "topic=orders.new id=7 key=k\n"
#define CHOSEN "/a=b size=14 attempt=2 id=7 time=2026-11-20T17:00:00.000000Z\n"
    assert_string_equal((const char *)rig.log.data, USUAL CHOSEN USUAL USUAL USUAL CHOSEN);
    steps_rig_free(&rig);
}

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    steps_refused(&(struct stage_step){.kind = STAGE_STEP_SET, PAIRS({"a b", "x"})}, 1,
                  "set: attribute 'a b': character 2 is not allowed in a name: use letters, digits, '_' and '-'");
    steps_refused(&(struct stage_step){.kind = STAGE_STEP_SET, PAIRS({"x", "%{"})}, 1,
                  "set: x: character 1 of the template: \"%{\" without its \"}\"");
    steps_refused(&(struct stage_step){.kind = STAGE_STEP_SET, PAIRS({"time", "soon"})}, 1,
                  "set: attribute 'time' is not a time: write it as 2026-11-20T17:00:00Z");
    steps_refused(&(struct stage_step){.kind = STAGE_STEP_RENAME, PAIRS({"x", "data"})}, 1,
                  "rename: attribute 'data': CloudEvents keeps this name for itself: take another");
    steps_refused(&(struct stage_step){.kind = STAGE_STEP_REMOVE, NAMES("ok", "")}, 1,
                  "remove: an attribute without a name");
    steps_refused(&(struct stage_step){.kind = STAGE_STEP_RATE_LIMIT}, 1,
                  "rate_limit: a rate is more than 0: write 500/s or 30/m");
    steps_refused(&(struct stage_step){.kind = STAGE_STEP_LOG, NAMES("?")}, 1,
                  "log: '?' is no name: an attribute's has letters, digits, '_' and '-', 64 of them at most; a JSON "
                  "pointer begins with '/'");
    /* What was opened before it is closed. */
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_SET, PAIRS({"x", "y"})},
        {.kind = STAGE_STEP_REMOVE, NAMES("")},
    };
    steps_refused(all, 2, "remove: an attribute without a name");
}

static void want_of_memory_leaves_the_message(void **state)
{
    (void)state;
    const struct stage_step all[] = {
        {WHERE_TYPE("a")},
        {.kind = STAGE_STEP_SET, PAIRS({"x", "%{/a}%{body}"})},
        {.kind = STAGE_STEP_RENAME, PAIRS({"x", "y"})},
        {.kind = STAGE_STEP_LOG},
        {.kind = STAGE_STEP_RATE_LIMIT, .rate = 1},
    };
    const struct stage_steps_settings settings = {.steps = all, .count = 5};
    for (unsigned long nth = 1;; nth++) {
        struct stage_steps *steps;
        memory_fail(nth);
        enum mp_error error = stage_steps_open(&settings, &steps, NULL);
        const bool failed = memory_failed() != 0;
        memory_fail(0);
        assert_int_equal(error, failed ? MP_ERR_MEMORY : MP_OK);
        stage_steps_free(steps);
        if (!failed) {
            assert_true(nth > 12);
            break;
        }
    }
    for (unsigned long nth = 1;; nth++) {
        struct steps_rig rig;
        struct steps_message message;
        steps_rig_open(&rig, all, 5);
        steps_message(&message, "type=a", "{\"a\":\"\\u0062\"}");
        assert_int_equal(buffer_reserve(&rig.out, 4096), MP_OK);
        assert_int_equal(buffer_reserve(&rig.log, 4096), MP_OK);
        memory_fail(nth);
        enum mp_error error =
            stage_steps_apply(rig.steps, &message.item, 1, rig.now, rig.wall, &rig.verdict, &rig.result);
        const bool failed = memory_failed() != 0;
        memory_fail(0);
        if (failed) {
            assert_int_equal(error, MP_ERR_MEMORY);
            rig.out.size = 0;
            steps_give_again(&rig, 1, "type=a", "{\"a\":\"\\u0062\"}", STAGE_DONE);
        }
        steps_expect(&rig, "type=a y=b{\"a\":\"\\u0062\"}|{\"a\":\"\\u0062\"}\n");
        steps_message_free(&message);
        steps_rig_free(&rig);
        if (!failed) {
            assert_true(nth > 3);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_steps_let_everything_pass),
        cmocka_unit_test(where_skips_passes_or_kills),
        cmocka_unit_test(set_fills_templates_in),
        cmocka_unit_test(a_value_that_no_attribute_can_have_kills),
        cmocka_unit_test(rename_and_remove_keep_the_rest),
        cmocka_unit_test(the_origin_stays),
        cmocka_unit_test(rate_limit_lets_so_many_pass),
        cmocka_unit_test(what_does_not_pass_takes_no_rate),
        cmocka_unit_test(log_tells_of_messages),
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(want_of_memory_leaves_the_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
