/*
 * The JSON Schema of pipelines: what the language takes it takes, and what is a mistake by its form it refuses. The
 * validator here knows the words of JSON Schema that ours uses, and fails on any other.
 */
#include "pipeline_rig.h"

#include "pipeline/load.h"

#include <glob.h>
#include <jansson.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- a validator ------------------------------------------------------------------------------------------------- */

static json_t *root;

static bool valid(json_t *schema, json_t *value);

static bool is_type(const char *type, json_t *value)
{
    if (strcmp(type, "object") == 0)
        return json_is_object(value);
    if (strcmp(type, "array") == 0)
        return json_is_array(value);
    if (strcmp(type, "string") == 0)
        return json_is_string(value);
    if (strcmp(type, "integer") == 0)
        return json_is_integer(value);
    if (strcmp(type, "number") == 0)
        return json_is_number(value);
    if (strcmp(type, "boolean") == 0)
        return json_is_boolean(value);
    assert_string_equal(type, "null");
    return json_is_null(value);
}

static bool matches(const char *pattern, const char *text)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

static bool any(json_t *list, json_t *value, bool (*check)(json_t *one, json_t *value))
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) if (check(one, value)) return true;
    return false;
}

static bool same(json_t *one, json_t *value)
{
    return json_equal(one, value) != 0;
}

static bool has_type(json_t *one, json_t *value)
{
    return is_type(json_string_value(one), value);
}

/* `properties`, `patternProperties` and `additionalProperties` of SCHEMA on a member. */
static bool valid_member(json_t *schema, const char *name, json_t *member)
{
    json_t *own = json_object_get(json_object_get(schema, "properties"), name);
    json_t *more = json_object_get(schema, "additionalProperties"), *of;
    const char *pattern;
    if (own != NULL)
        return valid(own, member);
    json_object_foreach(json_object_get(schema, "patternProperties"), pattern,
                        of) if (matches(pattern, name)) return valid(of, member);
    return more == NULL || valid(more, member);
}

static bool valid_object(json_t *schema, json_t *value)
{
    const char *name;
    json_t *member;
    size_t i;
    if (json_object_size(value) < (size_t)json_integer_value(json_object_get(schema, "minProperties")))
        return false;
    json_array_foreach(json_object_get(schema, "required"), i,
                       member) if (json_object_get(value, json_string_value(member)) == NULL) return false;
    json_object_foreach(value, name, member) if (!valid_member(schema, name, member)) return false;
    return true;
}

static bool valid_array(json_t *schema, json_t *value)
{
    size_t i;
    json_t *item, *items = json_object_get(schema, "items");
    if (json_array_size(value) < (size_t)json_integer_value(json_object_get(schema, "minItems")))
        return false;
    json_array_foreach(value, i, item) if (items != NULL && !valid(items, item)) return false;
    return true;
}

static bool valid_number(json_t *schema, json_t *value)
{
    json_t *low = json_object_get(schema, "minimum"), *high = json_object_get(schema, "maximum");
    double number = json_number_value(value);
    return !(low != NULL && number < json_number_value(low)) && !(high != NULL && number > json_number_value(high));
}

static void check_words(json_t *schema)
{
    static const char known[] = " $ref anyOf enum const type pattern minimum maximum properties patternProperties "
                                "additionalProperties required items minItems minProperties description default "
                                "examples $schema title $defs ";
    const char *word;
    json_t *ignored;
    json_object_foreach(schema, word, ignored)
    {
        char padded[64];
        snprintf(padded, sizeof padded, " %s ", word);
        assert_non_null(strstr(known, padded));
    }
}

static bool valid(json_t *schema, json_t *value)
{
    if (json_is_boolean(schema))
        return json_is_true(schema);
    check_words(schema);
    json_t *ref = json_object_get(schema, "$ref"), *some = json_object_get(schema, "anyOf");
    json_t *type = json_object_get(schema, "type"), *pattern = json_object_get(schema, "pattern");
    if (ref != NULL) {
        assert_memory_equal(json_string_value(ref), "#/$defs/", 8);
        json_t *to = json_object_get(json_object_get(root, "$defs"), json_string_value(ref) + 8);
        assert_non_null(to);
        return valid(to, value);
    }
    if (some != NULL && !any(some, value, valid))
        return false;
    if (json_object_get(schema, "enum") != NULL && !any(json_object_get(schema, "enum"), value, same))
        return false;
    if (json_object_get(schema, "const") != NULL && !json_equal(json_object_get(schema, "const"), value))
        return false;
    if (json_is_array(type) ? !any(type, value, has_type) : type != NULL && !has_type(type, value))
        return false;
    if (json_is_string(value) && pattern != NULL && !matches(json_string_value(pattern), json_string_value(value)))
        return false;
    return json_is_object(value)   ? valid_object(schema, value)
           : json_is_array(value)  ? valid_array(schema, value)
           : json_is_number(value) ? valid_number(schema, value)
                                   : true;
}

/* ---- pipelines as JSON --------------------------------------------------------------------------------------------- */

static char *const no_variables[] = {NULL};

/* A text in which each dollar sign is one: editors see variables as they stand. */
static void keep_variables(const char *text, struct buffer *out)
{
    for (; *text != '\0'; text++)
        assert_int_equal(buffer_append(out, "$$", *text == '$' ? 2 : 0) | buffer_append(out, text, *text != '$'),
                         MP_OK);
    assert_int_equal(buffer_put_u8(out, 0), MP_OK);
}

/* A YAML text as an editor sees it. */
static json_t *as_json(const char *text)
{
    struct arena arena = {0};
    struct diagnostics found = {.arena = &arena};
    struct pipeline_load_settings settings = {.environment = no_variables};
    struct load load = {.arena = &arena, .diagnostics = &found, .settings = &settings};
    struct source source;
    struct yaml *value;
    struct buffer json = {0};
    struct buffer kept = {0};
    keep_variables(text, &kept);
    assert_int_equal(source_take(&arena, "x", kept.data, kept.size - 1, &source, NULL), MP_OK);
    buffer_free(&kept);
    found.sources[0] = &source;
    assert_int_equal(yaml_read(&arena, &source, &found, &value), MP_OK);
    assert_non_null(value);
    assert_int_equal(found.errors, 0);
    (void)value_json(&load, value, &json);
    json_t *made = json_loadb((char *)json.data, json.size, JSON_DECODE_ANY, NULL);
    assert_non_null(made);
    buffer_free(&json);
    arena_free(&arena);
    return made;
}

static bool takes(const char *text)
{
    json_t *value = as_json(text);
    bool good = valid(root, value);
    json_decref(value);
    return good;
}

static int open_schema(void **state)
{
    struct buffer schema = {0};
    (void)state;
    assert_int_equal(pipeline_schema(&schema), MP_OK);
    root = json_loadb((char *)schema.data, schema.size, JSON_REJECT_DUPLICATES, NULL);
    buffer_free(&schema);
    assert_non_null(root);
    return 0;
}

static int close_schema(void **state)
{
    (void)state;
    json_decref(root);
    return 0;
}

/* ---- tests --------------------------------------------------------------------------------------------------------- */

static char *read_file(const char *path)
{
    static char text[64 * 1024];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    text[size] = '\0';
    assert_int_equal(fclose(file), 0);
    return text;
}

static void every_example_is_taken(void **state)
{
    const char *source = getenv("MSGPIPE_SOURCE");
    char pattern[4096];
    glob_t found;
    (void)state;
    if (source == NULL)
        return; /* not started by make */
    snprintf(pattern, sizeof pattern, "%s/pipelines/*.yaml", source);
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (!takes(read_file(found.gl_pathv[i])))
            fail_msg("%s is not what the schema says", found.gl_pathv[i]);
    globfree(&found);
}

/* The examples that stand in the schema itself fit to the keys that they are of. */
static void check_examples(json_t *schema)
{
    const char *name;
    json_t *of, *example;
    size_t i;
    json_object_foreach(json_object_get(schema, "properties"), name, of)
    {
        assert_true(json_array_size(json_object_get(of, "examples")) > 0 || strcmp(name, "topic") == 0);
        json_array_foreach(json_object_get(of, "examples"), i, example) if (!valid(of, example))
            fail_msg("the example of %s", name);
        json_t *fallback = json_object_get(of, "default");
        if (fallback != NULL && !valid(of, fallback))
            fail_msg("the default of %s", name);
    }
}

static void every_key_has_an_example_that_fits(void **state)
{
    const char *name;
    json_t *of;
    (void)state;
    check_examples(root);
    json_object_foreach(json_object_get(root, "$defs"), name,
                        of) if (strcmp(name, "message") != 0 && strcmp(name, "condition") != 0) check_examples(of);
}

static void what_is_good_is_taken(void **state)
{
    (void)state;
    assert_true(takes("topics: {a: , b: {ttl: 5, retain: {age: 1h30m, bytes: 1.5GiB}, rate: 0.5/s}}\nx-free: [1]\n"));
    assert_true(
        takes("stages: {s: {from: [a, 'b.*'], shell: x, to: b, format: null, retry: {max_retries: unlimited}}}"));
    assert_true(takes("stages: {s: {from: a, workers: '${N:-5}', timeout: '${T:-5s}', command: [x, 5], to: b}}"));
    assert_true(takes("stages: {s: {from: a, to: b, steps: [{where: {/a/b: {above: 5, not: {regex: x}}}, else: dead}, "
                      "{log: }, {dedupe: id}, {split: array}, {aggregate: {count: 5, format: array}}]}}"));
    assert_true(takes("stages: {s: {from: a, shell: x, circuit_breaker: {fallback: {data: {x: [1]}}}}}"));
    assert_true(takes("sources: {s: {sub: {dial: 'tcp://a:1', subscribe: x}, to: a}, t: {every: 5s, body: 1, to: a}}"));
    assert_true(takes("tests: [{input: [{topic: a, anything: 5, key: k}], expect: []}]"));
}

static void what_is_wrong_is_refused(void **state)
{
    (void)state;
    assert_false(takes("topic: {}"));
    assert_false(takes("topics: {a: {max_messages: -1}}"));
    assert_false(takes("topics: {a: {ttl: 5 sec}}"));
    assert_false(takes("topics: {a: {overflow: drop}}"));
    assert_false(takes("stages: {s: {to: a}}"));
    assert_false(takes("stages: {s: {from: a, command: x}}"));
    assert_false(takes("stages: {s: {from: a, command: []}}"));
    assert_false(takes("stages: {s: {from: a, workers: 0}}"));
    assert_false(takes("stages: {s: {from: a, retry: {jitter: 2}}}"));
    assert_false(takes("stages: {s: {from: a, steps: {where: {a: b}}}}"));
    assert_false(takes("stages: {s: {from: a, steps: [{wher: {a: b}}]}}"));
    assert_false(takes("stages: {s: {from: a, steps: [{where: {a: {regx: b}}}]}}"));
    assert_false(takes("sinks: {s: {from: a, file: x, keep: many}}"));
    assert_false(takes("tests: [{input: []}]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_example_is_taken),
        cmocka_unit_test(every_key_has_an_example_that_fits),
        cmocka_unit_test(what_is_good_is_taken),
        cmocka_unit_test(what_is_wrong_is_refused),
    };
    return cmocka_run_group_tests(tests, open_schema, close_schema);
}
