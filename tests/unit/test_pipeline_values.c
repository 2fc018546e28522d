/* Values: variables, data, paths, anchors; and what holds whatever a file says. */
#include "pipeline_rig.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct pipeline_rig rig;

#define AB "topics: {a: {external: true}, b: {external: true}}\n"

/* What VALUE of `data` becomes. */
static void data_is(const char *value, const char *json)
{
    char text[1024];
    snprintf(text, sizeof text, AB "sources: {s: {every: 5s, to: a, data: %s}}\n", value);
    const struct pipeline_source *source = &pipeline_rig_good(&rig, text)->sources[0];
    assert_int_equal(source->body_size, strlen(json));
    assert_memory_equal(source->body, json, strlen(json));
}

static void data_becomes_compact_json(void **state)
{
    (void)state;
    data_is("{\"id\": 1, name: x y, list: [a, 'b', ~]}", "{\"id\":1,\"name\":\"x y\",\"list\":[\"a\",\"b\",null]}");
    data_is("[true, False, null, '5', 007, +5, -0.50, .5, 5., 1e3, 0x1F, 0o17]",
            "[true,false,null,\"5\",7,5,-0.50,0.5,5.0,1e3,31,15]");
    data_is("[yes, 1_000, 1.2.3, 0x, 12345678901234567890123]",
            "[\"yes\",\"1_000\",\"1.2.3\",\"0x\",12345678901234567890123]");
    data_is("{}", "{}");
    data_is("\"\\u00e9\\n\\0\"", "\"\u00e9\\n\\u0000\"");
    pipeline_rig_says(&rig, AB "sources: {s: {every: 5s, to: a, data: [.inf]}}\n",
                      "p.yaml:2:40: error: JSON knows neither infinity nor NaN: quote it, or write null\n");
}

static void variables_stand_in_values(void **state)
{
    static char one[] = "NAME=orders", two[] = "EMPTY=", three[] = "N=4";
    static char *const environment[] = {one, two, three, NULL};
    (void)state;
    rig.environment = environment;
    const struct pipeline *pipeline =
        pipeline_rig_good(&rig, "name: ${NAME}-${NONE:-x}${EMPTY:-y}${EMPTY}\n" AB
                                "stages: {s: {from: a, workers: \"${N}\", command: [\"$$x$y${N}$\", \"${NONE:-}\"]}}\n"
                                "sinks: {t: {from: a, shell: \"echo ${HOME} $$\"}}\n");
    assert_string_equal(pipeline->name, "orders-xy");
    assert_int_equal(pipeline->stages[0].workers, 4);
    assert_string_equal(pipeline->stages[0].command.argv[0], "$x$y4$");
    assert_string_equal(pipeline->stages[0].command.argv[1], "");
    assert_string_equal(pipeline->stages[1].command.shell, "echo ${HOME} $$");
    data_is("[\"${N}\", \"${NONE:-5}\"]", "[\"4\",\"5\"]");
    pipeline_rig_says(&rig, "name: ${NONE}\n",
                      "p.yaml:1:7: error: the variable NONE is not set: set it, or write ${NONE:-default}\n");
    pipeline_rig_says(&rig, "name: ${NONE:?x}\n",
                      "p.yaml:1:7: error: '${NONE:?x}': write ${NAME} or ${NAME:-default}, or $$ for a dollar sign\n");
    pipeline_rig_says(&rig, "name: x${NAME\n",
                      "p.yaml:1:7: error: '${NAME': no '}' closes it: write ${NAME}, or $$ for a dollar sign\n");
}

static void anchors_and_merges(void **state)
{
    (void)state;
    const struct pipeline *pipeline = pipeline_rig_good(
        &rig,
        AB "x-common: &common {shell: cat, retry: {max_retries: 1}, workers: 3}\n"
           "stages:\n  s: {<<: *common, from: a, workers: 5}\n  t: {<<: [{workers: 7}, *common], from: a, x-y: 1}\n");
    assert_int_equal(pipeline->stages[0].workers, 5);
    assert_int_equal(pipeline->stages[0].group.max_retries, 1);
    assert_int_equal(pipeline->stages[1].workers, 7);
    assert_string_equal(pipeline->stages[1].command.shell, "cat");
}

static void the_same_is_known_as_the_same(void **state)
{
    char text[512];
    (void)state;
    snprintf(text, sizeof text, "%s",
             pipeline_rig_good(&rig, AB "stages:\n  s:\n    from: a\n    shell: cat # a comment\n")->stages[0].text);
    assert_string_equal(text, pipeline_rig_good(&rig, AB "stages: {s: {from: a,   shell: cat}}\n")->stages[0].text);
    assert_string_not_equal(text, pipeline_rig_good(&rig, AB "stages: {s: {from: a, shell: cap}}\n")->stages[0].text);
    assert_string_not_equal(text, pipeline_rig_good(&rig, AB "stages: {s: {from: b, shell: cat}}\n")->stages[0].text);
}

static void tests_stand_beside_the_file(void **state)
{
    (void)state;
    pipeline_rig_file("p_test.yaml", "tests: [{name: more, stage: s, input: [{body: x}], expect: [{body: y}]}]\n",
                      0644);
    const struct pipeline *pipeline = pipeline_rig_good(
        &rig, AB "stages: {s: {from: a, to: b}}\ntests: [{stage: s, input: [{key: k, body: x}], expect: []}]\n");
    assert_int_equal(pipeline->tests_count, 2);
    assert_string_equal(pipeline->tests[0].input[0].attributes[0].name, "partitionkey");
    assert_string_equal(pipeline->tests[1].file, "p_test.yaml");
    assert_string_equal(pipeline->tests[1].expect[0].topic, "b");
    pipeline_rig_file("p_test.yaml", "x-a: []\n", 0644);
    pipeline_rig_says(&rig, AB, "p_test.yaml:1:1: error: a file of tests needs the key 'tests'\n");
}

static void conditions_as_people_write_them(void **state)
{
    (void)state;
    const struct stage_where *where =
        &pipeline_rig_good(&rig,
                           AB "stages: {s: {from: a, to: b, steps: [{where: {a: x, b: [x, 'y*', 'z['], c: {equal: '*'},"
                              " d: {above: 1, below: 2.5}, e: {exists: false}, f: {not: [x]}, g: {not: {regex: x}},"
                              " /h: true}}]}}\n")
             ->stages[0]
             .steps[0]
             .where;
    assert_int_equal(where->count, 9);
    assert_int_equal(where->conditions[0].match, STAGE_EQUAL);
    assert_int_equal(where->conditions[1].match, STAGE_GLOB);
    assert_string_equal(where->conditions[1].values[2], "z\\[");
    assert_int_equal(where->conditions[2].match, STAGE_EQUAL);
    assert_int_equal(where->conditions[3].match, STAGE_ABOVE);
    assert_int_equal(where->conditions[4].match, STAGE_BELOW);
    assert_true(where->conditions[5].match == STAGE_EXISTS && where->conditions[5].negate);
    assert_true(where->conditions[6].match == STAGE_EQUAL && where->conditions[6].negate);
    assert_true(where->conditions[7].match == STAGE_REGEX && where->conditions[7].negate);
    assert_string_equal(where->conditions[8].values[0], "true");
}

static void hostile_files_are_refused_soon(void **state)
{
    static char text[700 * 1024];
    size_t used = 0;
    (void)state;
    used += (size_t)snprintf(text, sizeof text, "x-0: &a0 [1,1,1,1,1,1,1,1,1,1]\n");
    for (int i = 1; i < 30; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "x-%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1,
                                 i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    pipeline_rig_says(&rig, text, "p.yaml:6:10: error: the aliases in it make more than 1000000 values of it\n");
    memset(text, '[', 1000);
    text[1000] = '\0';
    assert_int_equal(pipeline_rig_load(&rig, text), MP_ERR_INVALID);
    memcpy(text, "x-a: [", 6);
    for (size_t i = 6; i < sizeof text - 1; i += 2)
        memcpy(text + i, "1,", 2);
    text[sizeof text - 1] = '\0';
    assert_int_equal(pipeline_rig_load(&rig, text), MP_ERR_INVALID);
    assert_non_null(strstr((char *)rig.said.data, "too much in one line: break lists and mappings into lines"));
}

static void without_memory_it_fails_and_leaves_nothing(void **state)
{
    static const char text[] =
        AB "stages: {s: {cycle: allowed, from: [a, '*'], steps: [{where: {a: [b, 'c*']}}, {set: {a: "
           "b}}], to: b}}\ntests: [{stage: s, input: [{topic: a, data: {a: \"${X:-1}\"}}], expect: []}]\n"
           "sources: {t: {every: 5s, data: [1], to: a}}\n";
    (void)state;
    for (unsigned long nth = 1;; nth++) {
        memory_fail(nth);
        enum mp_error error = pipeline_rig_load(&rig, text);
        bool failed = memory_failed() != 0;
        memory_fail(0);
        if (!failed) {
            assert_int_equal(error, MP_OK);
            break;
        }
        assert_true(error == MP_ERR_MEMORY || error == MP_ERR_INVALID);
    }
}

int main(void)
{
#define TEST(name)                                                                                                     \
    {                                                                                                                  \
#name, name, pipeline_rig_set_up, pipeline_rig_tear_down, &rig                                                 \
    }
    const struct CMUnitTest tests[] = {
        TEST(data_becomes_compact_json),
        TEST(variables_stand_in_values),
        TEST(anchors_and_merges),
        TEST(the_same_is_known_as_the_same),
        TEST(tests_stand_beside_the_file),
        TEST(conditions_as_people_write_them),
        TEST(hostile_files_are_refused_soon),
        TEST(without_memory_it_fails_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
