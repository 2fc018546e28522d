/* dedupe and split. */
#include "steps_rig.h"

#include "base/memory.h"
#include "client/protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { SECOND = 1000000 };

#define TRACE "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
#define ORIGIN "00000000000000100000000000000020"
/* What a piece inherits of the rig's messages that have no trace. */
#define DERIVED "traceparent=derived" /* steps_rig.c knows how */

/* ---- dedupe --------------------------------------------------------------------------------- */

static const struct stage_step by_id[] = {{.kind = STAGE_STEP_DEDUPE, .by = "id", .window = 60 * SECOND}};

static void the_second_of_an_id_is_left_out(void **state)
{
    (void)state;
    struct steps_rig rig;
    steps_rig_open(&rig, by_id, 1);
    steps_give(&rig, "id=a", "1", STAGE_DONE);
    steps_give(&rig, "id=b", "2", STAGE_DONE);
    rig.now += 59 * SECOND;
    steps_give(&rig, "id=a", "3", STAGE_DONE);
    steps_expect(&rig, "id=a|1\nid=b|2\n");
    assert_int_equal(stage_steps_counts(rig.steps)->duplicates, 1);
    /* The window goes from the first one. */
    rig.now += SECOND;
    steps_give(&rig, "id=a", "4", STAGE_DONE);
    steps_expect(&rig, "id=a|4\n");
    steps_rig_free(&rig);
}

static void a_message_is_no_duplicate_of_itself(void **state)
{
    (void)state;
    struct steps_rig rig;
    steps_rig_open(&rig, by_id, 1);
    steps_give_again(&rig, 7, "id=a", "1", STAGE_DONE);
    steps_give_again(&rig, 8, "id=a", "2", STAGE_DONE);
    steps_give_again(&rig, 7, "id=a", "1", STAGE_DONE);
    steps_expect(&rig, "id=a|1\nid=a|1\n");
    steps_rig_free(&rig);
}

/* As those of sources: nothing tells them apart but what they go by. */
static void messages_of_no_topic_are_each_another(void **state)
{
    (void)state;
    struct steps_rig rig;
    steps_rig_open(&rig, by_id, 1);
    for (int i = 0; i < 3; i++) {
        struct steps_message message;
        steps_message(&message, "id=a", "1");
        message.item.topic = NULL;
        assert_int_equal(stage_steps_apply(rig.steps, &message.item, 0, rig.now, rig.wall, &rig.verdict, &rig.result),
                         MP_OK);
        steps_message_free(&message);
    }
    steps_expect(&rig, "id=a|1\n");
    assert_int_equal(stage_steps_counts(rig.steps)->duplicates, 2);
    steps_rig_free(&rig);
}

static void what_is_forgotten_can_come_again(void **state)
{
    (void)state;
    struct steps_rig rig;
    /* Also behind a step that makes what it goes by. */
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_RATE_LIMIT, .rate = 1000000},
        {.kind = STAGE_STEP_LOG},
        {.kind = STAGE_STEP_SET, .pairs = (struct stage_pair[]){{"key", "k-%{/a}"}}, .pairs_count = 1},
        {.kind = STAGE_STEP_DEDUPE, .by = "key", .window = 60 * SECOND},
    };
    steps_rig_open(&rig, all, 4);
    steps_give_again(&rig, 7, NULL, "{\"a\":1}", STAGE_DONE);
    steps_forget(&rig, 8, NULL, "{\"a\":1}"); /* another's */
    steps_give_again(&rig, 9, NULL, "{\"a\":1}", STAGE_DONE);
    steps_forget(&rig, 7, NULL, "{\"a\":1}");
    steps_give_again(&rig, 10, NULL, "{\"a\":1}", STAGE_DONE);
    steps_give_again(&rig, 7, NULL, "{\"a\":1}", STAGE_DONE);
    steps_expect(&rig, "partitionkey=k-1|{\"a\":1}\npartitionkey=k-1|{\"a\":1}\n");
    assert_int_equal(stage_steps_counts(rig.steps)->duplicates, 2);
    steps_rig_free(&rig);
}

/* Pieces have no id before they are sent, and so none in common. */
static void pieces_are_no_duplicates_of_one_another(void **state)
{
    (void)state;
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_SPLIT, .format = FORMAT_LINES},
        {.kind = STAGE_STEP_DEDUPE, .by = "id", .window = 60 * SECOND},
        {.kind = STAGE_STEP_SET, .pairs = (struct stage_pair[]){{"x", "<%{id}>"}}, .pairs_count = 1},
        {.kind = STAGE_STEP_REMOVE, .names = (const char *const[]){"traceparent"}, .names_count = 1},
    };
    struct steps_rig rig;
    steps_rig_open(&rig, all, 4);
    steps_give(&rig, "id=m", "1\n2\n", STAGE_DONE);
    steps_expect(&rig, "new causationid=m x=<>|1\nnew causationid=m x=<>|2\n");
    steps_rig_free(&rig);
}

static void what_has_no_such_attribute_is_no_duplicate(void **state)
{
    (void)state;
    const struct stage_step all[] = {{.kind = STAGE_STEP_DEDUPE, .by = "key", .window = SECOND}};
    struct steps_rig rig;
    steps_rig_open(&rig, all, 1);
    steps_give(&rig, NULL, "1", STAGE_DONE);
    steps_give(&rig, NULL, "2", STAGE_DONE);
    steps_expect(&rig, "|1\n|2\n");
    steps_rig_free(&rig);
}

/* A message that must wait, or dies, has not been there. */
static void only_what_passes_is_remembered(void **state)
{
    (void)state;
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_DEDUPE, .by = "id", .window = 60 * SECOND},
        {.kind = STAGE_STEP_RATE_LIMIT, .rate = 1},
        {.kind = STAGE_STEP_SET, .pairs = (struct stage_pair[]){{"x", "%{body}"}}, .pairs_count = 1},
    };
    struct steps_rig rig;
    steps_rig_open(&rig, all, 3);
    steps_give(&rig, "id=a", "\n", STAGE_DEAD);
    steps_give(&rig, "id=a", "1", STAGE_DONE);
    steps_give(&rig, "id=b", "2", STAGE_WAIT);
    rig.now = rig.result.due;
    steps_give(&rig, "id=b", "3", STAGE_DONE);
    rig.now += 10 * SECOND;
    rig.refuse = MP_ERR_IO;
    steps_give(&rig, "id=c", "4", STAGE_DONE);
    rig.refuse = MP_OK;
    steps_give(&rig, "id=c", "5", STAGE_DONE);
    steps_expect(&rig, "id=a x=1|1\nid=b x=3|3\nid=c x=5|5\n");
    steps_rig_free(&rig);
}

/* ---- split ---------------------------------------------------------------------------------- */

static const struct stage_step lines[] = {{.kind = STAGE_STEP_SPLIT, .format = FORMAT_LINES}};
static const struct stage_step array[] = {{.kind = STAGE_STEP_SPLIT, .array = true}};

static void pieces_inherit(void **state)
{
    (void)state;
    struct steps_rig rig;
    steps_rig_open(&rig, lines, 1);
    steps_give(&rig, "id=m type=t partitionkey=k correlationid=c traceparent=" TRACE " tracestate=s=1 x=y",
               "one\n\ntwo", STAGE_DONE);
#define INHERITED "new traceparent=" TRACE " tracestate=s=1 partitionkey=k correlationid=c causationid=m|"
    steps_expect(&rig, INHERITED "one\n" INHERITED "\n" INHERITED "two\n");
    steps_give(&rig, NULL, "one\n", STAGE_DONE);
    steps_expect(&rig, "new " DERIVED " causationid=" ORIGIN "|one\n");
    steps_give(&rig, NULL, "", STAGE_DONE);
    steps_expect(&rig, "");
    steps_rig_free(&rig);
}

static void pieces_of_json_keep_what_they_say(void **state)
{
    (void)state;
    const struct stage_step all[] = {{.kind = STAGE_STEP_SPLIT, .format = FORMAT_JSON}};
    struct steps_rig rig;
    steps_rig_open(&rig, all, 1);
    steps_give(
        &rig, "partitionkey=k correlationid=c traceparent=" TRACE,
        "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"partitionkey\":\"own\",\"data\":"
        "\"a\\n\"}\n\n{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/s\",\"type\":\"t\",\"data\":{\"n\":2}}\n",
        STAGE_DONE);
    steps_expect(&rig,
                 "new id=1 source=/s type=t traceparent=" TRACE " partitionkey=own correlationid=c causationid=" ORIGIN
                 "|a\n\nnew id=2 source=/s type=t traceparent=" TRACE
                 " partitionkey=k correlationid=c causationid=" ORIGIN "|{\"n\":2}\n");
    steps_rig_free(&rig);
}

static void an_array_is_taken_apart(void **state)
{
    (void)state;
#define PIECE "new " DERIVED " causationid=m|"
    struct steps_rig rig;
    steps_rig_open(&rig, array, 1);
    steps_give(&rig, "id=m", " [ {\"a\" : [1, 2]} , \"two\\u0021\\n\", 3.50,true ,null,\"\",[]] ", STAGE_DONE);
    steps_expect(&rig, PIECE "{\"a\" : [1, 2]}\n" PIECE "two!\n\n" PIECE "3.50\n" PIECE "true\n" PIECE "null\n" PIECE
                             "\n" PIECE "[]\n");
    steps_give(&rig, "id=m", "[]", STAGE_DONE);
    steps_give(&rig, "id=m", "[ ]\n", STAGE_DONE);
    steps_expect(&rig, "");
    steps_rig_free(&rig);
}

static void dies(const struct stage_step *all, size_t count, const char *body, int reason, const char *note)
{
    struct steps_rig rig;
    steps_rig_open(&rig, all, count);
    steps_give(&rig, "id=m", body, STAGE_DEAD);
    assert_int_equal(rig.result.reason, reason);
    assert_string_equal(rig.result.note, note);
    steps_expect(&rig, "");
    steps_rig_free(&rig);
}

static void what_cannot_be_split_dies_and_leaves_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *body, *note;
    } cases[] = {
        {"", "split: the body is no JSON array"},
        {"{}", "split: the body is no JSON array"},
        {"[", "split: no JSON array: byte 2: breaks off before a value"},
        {"[1", "split: no JSON array: byte 3: breaks off"},
        {"[1,]", "split: no JSON array: byte 4: expected a value"},
        {"[,]", "split: no JSON array: byte 2: expected a value"},
        {"[1 2]", "split: no JSON array: byte 4: unexpected character"},
        {"[1] 2", "split: no JSON array: byte 5: there is more behind it"},
        {"[1]]", "split: no JSON array: byte 4: there is more behind it"},
        {"[1,\"\\ud800\"]", "split: an element is half of a surrogate pair, which stands for no character"},
    };
    const struct stage_step json[] = {{.kind = STAGE_STEP_SPLIT, .format = FORMAT_JSON}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        dies(array, 1, cases[i].body, PROTOCOL_REASON_FORMAT, cases[i].note);
    dies(json, 1, "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/\",\"type\":\"t\"}\n{\n", PROTOCOL_REASON_FORMAT,
         "split: line 2, column 2: breaks off before a name: an event is one line (`jq -c .` makes one of several)");
    /* One piece that dies takes all with it. */
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_SPLIT, .format = FORMAT_LINES},
        {.kind = STAGE_STEP_WHERE,
         .where = {.conditions =
                       (struct stage_condition[]){
                           {.name = "body", .values = (const char *const[]){"bad"}, .count = 1, .negate = true}},
                   .count = 1},
         .otherwise = STAGE_ELSE_DEAD},
    };
    dies(all, 2, "good\nbad\ngood", PROTOCOL_REASON_REJECTED, "where: the message does not match");
}

static void pieces_go_through_the_steps_behind(void **state)
{
    (void)state;
    struct stage_condition small = {
        .name = "/n", .match = STAGE_BELOW, .values = (const char *const[]){"3"}, .count = 1};
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_SPLIT, .format = FORMAT_LINES},
        {.kind = STAGE_STEP_SPLIT, .array = true},
        {.kind = STAGE_STEP_WHERE, .where = {.conditions = &small, .count = 1}},
        {.kind = STAGE_STEP_SET, .pairs = (struct stage_pair[]){{"n", "%{/n}"}, {"s", "%{/s}"}}, .pairs_count = 2},
        {.kind = STAGE_STEP_REMOVE, .names = (const char *const[]){"traceparent"}, .names_count = 1},
        {.kind = STAGE_STEP_DEDUPE, .by = "n", .window = SECOND},
    };
    struct steps_rig rig;
    steps_rig_open(&rig, all, 6);
    steps_give(&rig, "id=m", "[{\"n\":1,\"s\":\"\\u0061\"},{\"n\":2}]\n[{\"n\":3},{\"n\":1}]\n[{\"n\":0}]", STAGE_DONE);
    steps_expect(&rig, "new causationid=m n=1 s=a|{\"n\":1,\"s\":\"\\u0061\"}\nnew causationid=m n=2|{\"n\":2}\n"
                       "new causationid=m n=0|{\"n\":0}\n");
    assert_int_equal(stage_steps_counts(rig.steps)->skipped, 1);
    assert_int_equal(stage_steps_counts(rig.steps)->duplicates, 1);
    /* Each piece is itself when the message is given again. */
    steps_give_again(&rig, 1, "id=m", "[{\"n\":1,\"s\":\"\\u0061\"},{\"n\":2}]", STAGE_DONE);
    steps_expect(&rig, "new causationid=m n=1 s=a|{\"n\":1,\"s\":\"\\u0061\"}\nnew causationid=m n=2|{\"n\":2}\n");
    steps_rig_free(&rig);
}

/* All pieces wait with the first, or none does. */
static void pieces_pass_a_limit_together(void **state)
{
    (void)state;
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_SPLIT, .format = FORMAT_LINES},
        {.kind = STAGE_STEP_RATE_LIMIT, .rate = 10},
        {.kind = STAGE_STEP_REMOVE, .names = (const char *const[]){"traceparent"}, .names_count = 1},
    };
    struct steps_rig rig;
    steps_rig_open(&rig, all, 3);
    steps_give(&rig, "id=m", "a\nb\nc\nd\ne", STAGE_DONE);
    steps_give(&rig, "id=n", "f", STAGE_WAIT);
    assert_in_range(rig.result.due, rig.now + SECOND / 2 - 10, rig.now + SECOND / 2 + 10);
    rig.now = rig.result.due;
    steps_give(&rig, "id=n", "f", STAGE_DONE);
    steps_expect(&rig, "new causationid=m|a\nnew causationid=m|b\nnew causationid=m|c\nnew causationid=m|d\n"
                       "new causationid=m|e\nnew causationid=n|f\n");
    steps_rig_free(&rig);
}

static void there_is_a_limit_to_pieces(void **state)
{
    (void)state;
    enum { MANY = FRAME_COUNT_MAX };
    static char body[MANY + 2];
    memset(body, '\n', sizeof(body) - 1);
    dies(lines, 1, body, PROTOCOL_REASON_OVERFLOW, "split: more than 65,536 messages are in it");
    body[MANY] = '\0';
    struct steps_rig rig;
    steps_rig_open(&rig, lines, 1);
    steps_give(&rig, "id=m", body, STAGE_DONE);
    assert_int_equal(rig.out.size, MANY * strlen(PIECE "\n"));
    steps_rig_free(&rig);
}

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    steps_refused(&(struct stage_step){.kind = STAGE_STEP_DEDUPE, .by = "id"}, 1,
                  "dedupe: its window is more than 0: write 10m or 1h");
    steps_refused(&(struct stage_step){.kind = STAGE_STEP_SPLIT, .format = FORMAT_WHOLE}, 1,
                  "split: whole takes nothing apart: write lines, null, length, json, or that it is an array");
}

static void want_of_memory_leaves_the_message(void **state)
{
    (void)state;
    const struct stage_step all[] = {
        {.kind = STAGE_STEP_DEDUPE, .by = "id", .window = SECOND},
        {.kind = STAGE_STEP_SPLIT, .array = true},
        {.kind = STAGE_STEP_SET, .pairs = (struct stage_pair[]){{"n", "%{/n}"}}, .pairs_count = 1},
        {.kind = STAGE_STEP_DEDUPE, .by = "n", .window = SECOND},
    };
    for (unsigned long nth = 1;; nth++) {
        struct steps_rig rig;
        struct steps_message message;
        steps_rig_open(&rig, all, 4);
        steps_message(&message, "id=m", "[{\"n\":\"\\u0061\"},{\"n\":2},\"\\u0061\",{\"n\":2}]");
        assert_int_equal(buffer_reserve(&rig.out, 4096), MP_OK);
        memory_fail(nth);
        enum mp_error error =
            stage_steps_apply(rig.steps, &message.item, 1, rig.now, rig.wall, &rig.verdict, &rig.result);
        const bool failed = memory_failed() != 0;
        memory_fail(0);
        if (failed) {
            assert_int_equal(error, MP_ERR_MEMORY);
            steps_expect(&rig, "");
            /* With another place: a trace that was left would make a duplicate of it. */
            steps_give_again(&rig, 99, "id=m", "[{\"n\":\"\\u0061\"},{\"n\":2},\"\\u0061\",{\"n\":2}]", STAGE_DONE);
        }
        steps_expect(&rig, "new " DERIVED " causationid=m n=a|{\"n\":\"\\u0061\"}\nnew " DERIVED
                           " causationid=m n=2|{\"n\":2}\nnew " DERIVED " causationid=m|a\n");
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
        cmocka_unit_test(the_second_of_an_id_is_left_out),
        cmocka_unit_test(a_message_is_no_duplicate_of_itself),
        cmocka_unit_test(messages_of_no_topic_are_each_another),
        cmocka_unit_test(what_is_forgotten_can_come_again),
        cmocka_unit_test(pieces_are_no_duplicates_of_one_another),
        cmocka_unit_test(what_has_no_such_attribute_is_no_duplicate),
        cmocka_unit_test(only_what_passes_is_remembered),
        cmocka_unit_test(pieces_inherit),
        cmocka_unit_test(pieces_of_json_keep_what_they_say),
        cmocka_unit_test(an_array_is_taken_apart),
        cmocka_unit_test(what_cannot_be_split_dies_and_leaves_nothing),
        cmocka_unit_test(pieces_go_through_the_steps_behind),
        cmocka_unit_test(pieces_pass_a_limit_together),
        cmocka_unit_test(there_is_a_limit_to_pieces),
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(want_of_memory_leaves_the_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
