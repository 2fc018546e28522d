/* The command line's parser, apart from any tool. */
#include "cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

enum verb { FIRST, SECOND };

struct settings {
    bool flag, other;
    int mode, set;
    const char *text;
    struct option_list list;
    uint64_t number, size;
    int64_t time;
    double rate;
};

#define AT(member) offsetof(struct settings, member)

static const char *const modes[] = {"slow", "fast", NULL};

static const struct option_spec specs[] = {
    {.name = "flag", .letter = 'f', .kind = OPTION_FLAG, .at = AT(flag), .section = "All", .help = "a flag"},
    {.name = "other", .letter = 'o', .kind = OPTION_FLAG, .at = AT(other), .section = "All", .help = "another"},
    {.name = "one", .kind = OPTION_SET, .at = AT(set), .low = 1, .section = "All", .help = "one"},
    {.name = "two", .kind = OPTION_SET, .at = AT(set), .low = 2, .section = "All", .help = "two"},
    {.name = "mode",
     .kind = OPTION_CHOICE,
     .at = AT(mode),
     .argument = "MODE",
     .choices = modes,
     .section = "All",
     .help = "slow, fast"},
    {.name = "text",
     .letter = 't',
     .kind = OPTION_TEXT,
     .at = AT(text),
     .argument = "TEXT",
     .section = "All",
     .environment = "TEST_OPTIONS_TEXT",
     .help = "a text"},
    {.name = "list",
     .letter = 'l',
     .kind = OPTION_LIST,
     .at = AT(list),
     .argument = "ITEM",
     .section = "All",
     .help = "a list"},
    {.name = "number",
     .letter = 'n',
     .kind = OPTION_NUMBER,
     .at = AT(number),
     .argument = "N",
     .low = 1,
     .high = 10,
     .section = "All",
     .help = "a number"},
    {.name = "size",
     .kind = OPTION_SIZE,
     .at = AT(size),
     .argument = "SIZE",
     .high = 1024,
     .section = "All",
     .help = "a size"},
    {.name = "time", .kind = OPTION_DURATION, .at = AT(time), .argument = "TIME", .section = "All", .help = "a time"},
    {.name = "rate", .kind = OPTION_RATE, .at = AT(rate), .argument = "RATE", .section = "All", .help = "a rate"},
    {0},
};

static const struct option_rule rules[] = {
    {OPTION_EXCLUDES, "flag", {"rate", OPTION_COMMAND}, "choose"},
    {OPTION_NEEDS, "size", {"time", "number"}, "it is of no use alone"},
    {0},
};

static const char *const synopsis[] = {"[OPTION]...", NULL};
static const struct option_example examples[] = {{"tool -f", "an example"}, {0}};

static const struct option_program tool = {.name = "tool",
                                           .summary = "a test",
                                           .synopsis = synopsis,
                                           .options = specs,
                                           .rules = rules,
                                           .examples = examples,
                                           .operands = "FILE",
                                           .takes_command = true};

/* The arguments of the test that runs, in memory of their own, so that a sanitizer sees reads past their end. */
static char *arguments[32];
static int count;

static int parse(const struct option_program *program, struct settings *settings, struct options *options, ...)
{
    va_list words;
    va_start(words, options);
    count = 0;
    arguments[count++] = strdup("tool");
    for (const char *word; (word = va_arg(words, const char *));)
        arguments[count++] = strdup(word);
    arguments[count] = NULL;
    va_end(words);
    *settings = (struct settings){.mode = -1, .time = -1};
    return options_parse(program, count, arguments, settings, options);
}

static int drop(void **state)
{
    (void)state;
    while (count > 0)
        free(arguments[--count]);
    return 0;
}

static void test_values(void **state)
{
    (void)state;
    struct settings settings;
    struct options options;
    assert_int_equal(parse(&tool, &settings, &options, "--text=a=b", "-n5", "--mode", "fast", "--size", "1K", "--time",
                           "1500ms", "--rate", "90/m", "-l", "-x", "-l-y", NULL),
                     OPTIONS_GO);
    assert_string_equal(settings.text, "a=b");
    assert_int_equal(settings.number, 5);
    assert_int_equal(settings.mode, 1);
    assert_int_equal(settings.size, 1024);
    assert_int_equal(settings.time, 1500000);
    assert_true(settings.rate > 1.49 && settings.rate < 1.51);
    assert_int_equal(settings.list.count, 2);
    assert_string_equal(settings.list.values[0], "-x");
    assert_string_equal(settings.list.values[1], "-y");
    options_free(&options);
    assert_int_equal(settings.list.count, 0);
}

static void test_bundles_and_prefixes(void **state)
{
    (void)state;
    struct settings settings;
    struct options options;
    assert_int_equal(parse(&tool, &settings, &options, "-fotvalue", "--numb", "7", NULL), OPTIONS_GO);
    assert_true(settings.flag && settings.other);
    assert_string_equal(settings.text, "value");
    assert_int_equal(settings.number, 7);
    options_free(&options);
    drop(NULL);
    assert_int_equal(parse(&tool, &settings, &options, "--t", "x", NULL), 64); /* text, two or time */
}

static void test_operands_and_command(void **state)
{
    (void)state;
    struct settings settings;
    struct options options;
    assert_int_equal(parse(&tool, &settings, &options, "a", "-o", "-", "b", NULL), OPTIONS_GO);
    assert_int_equal(options.operands_count, 3);
    assert_string_equal(options.operands[1], "-");
    assert_null(options.operands[3]);
    assert_null(options.command);
    assert_true(options_given(&options, OPTION_OPERANDS));
    assert_true(options_given(&options, "other"));
    assert_false(options_given(&options, "flag"));
    options_free(&options);

    drop(NULL);
    assert_int_equal(parse(&tool, &settings, &options, "a", "--", "cmd", "-f", "--", NULL), OPTIONS_GO);
    assert_int_equal(options.operands_count, 1);
    assert_string_equal(options.command[0], "cmd");
    assert_string_equal(options.command[2], "--");
    assert_null(options.command[3]);
    assert_false(settings.flag);
    options_free(&options);

    drop(NULL);
    struct option_program plain = tool;
    plain.takes_command = false;
    assert_int_equal(parse(&plain, &settings, &options, "--", "-f", NULL), OPTIONS_GO);
    assert_string_equal(options.operands[0], "-f");
    assert_false(settings.flag);
    options_free(&options);
}

static void test_environment(void **state)
{
    (void)state;
    struct settings settings;
    struct options options;
    setenv("TEST_OPTIONS_TEXT", "from there", 1);
    assert_int_equal(parse(&tool, &settings, &options, NULL), OPTIONS_GO);
    assert_string_equal(settings.text, "from there");
    assert_false(options_given(&options, "text"));
    options_free(&options);
    drop(NULL);
    assert_int_equal(parse(&tool, &settings, &options, "-t", "", NULL), OPTIONS_GO);
    assert_string_equal(settings.text, "");
    options_free(&options);
    setenv("TEST_OPTIONS_TEXT", "", 1);
    drop(NULL);
    assert_int_equal(parse(&tool, &settings, &options, NULL), OPTIONS_GO);
    assert_null(settings.text);
    options_free(&options);
    unsetenv("TEST_OPTIONS_TEXT");
}

static void test_wrong_ones(void **state)
{
    (void)state;
    static const char *const wrong[][3] = {
        {"-n", "0"},
        {"-n", "11"},
        {"-n", ""},
        {"--flag=x"},
        {"-t"},
        {"--", NULL},
        {"--mode", "fas"},
        {"--size", "2K"},
        {"--size", "1"},
        {"--time", "x"},
        {"--one", "--two"},
        {"-f", "--rate=1/s"},
        {"-z"},
        {"--=x"},
        {"--nothing-like-it"},
        {"-l"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct settings settings;
        struct options options;
        assert_int_equal(parse(&tool, &settings, &options, wrong[i][0], wrong[i][1], NULL), 64);
        drop(NULL);
    }
}

static void test_rules(void **state)
{
    (void)state;
    struct settings settings;
    struct options options;
    assert_int_equal(parse(&tool, &settings, &options, "-f", "--", "cmd", NULL), 64);
    drop(NULL);
    assert_int_equal(parse(&tool, &settings, &options, "--size=1", "--time=1s", NULL), OPTIONS_GO);
    options_free(&options);
    drop(NULL);
    assert_int_equal(parse(&tool, &settings, &options, "--one", "--one", NULL), OPTIONS_GO);
    assert_int_equal(settings.set, 1);
    options_free(&options);
}

static void test_verbs(void **state)
{
    (void)state;
    static const struct option_verb verbs[] = {
        [FIRST] = {.name = "first", .help = "the first", .operands_most = 1},
        [SECOND] = {.name = "second", .help = "the second"},
        {0},
    };
    static const struct option_spec few[] = {
        {.name = "flag", .letter = 'f', .kind = OPTION_FLAG, .at = AT(flag), .verbs = OPTION_VERB(SECOND)},
        {.name = "other", .letter = 'o', .kind = OPTION_FLAG, .at = AT(other), .verbs = OPTION_NO_VERB},
        {0},
    };
    struct option_program program = {.name = "tool", .synopsis = synopsis, .options = few, .verbs = verbs};
    struct settings settings;
    struct options options;
    assert_int_equal(parse(&program, &settings, &options, "-f", "second", NULL), OPTIONS_GO);
    assert_int_equal(options.verb, SECOND);
    assert_int_equal(options.operands_count, 0);
    options_free(&options);
    drop(NULL);
    assert_int_equal(parse(&program, &settings, &options, "-o", NULL), OPTIONS_GO);
    assert_int_equal(options.verb, -1);
    options_free(&options);
    drop(NULL);
    assert_int_equal(parse(&program, &settings, &options, "first", "operand", NULL), OPTIONS_GO);
    assert_string_equal(options.operands[0], "operand");
    options_free(&options);
    static const char *const wrong[][2] = {{"first", "-f"}, {"second", "-o"}, {"second", "x"}, {"-f"}, {"third"}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        drop(NULL);
        assert_int_equal(parse(&program, &settings, &options, wrong[i][0], wrong[i][1], NULL), 64);
    }
}

static void test_output(void **state)
{
    (void)state;
    FILE *out = tmpfile();
    assert_non_null(out);
    options_print_help(&tool, out);
    options_print_short_help(&tool, out);
    options_print_mdoc(&tool, out);
    assert_true(options_print_completion(&tool, "bash", out));
    assert_true(options_print_completion(&tool, "zsh", out));
    assert_true(options_print_completion(&tool, "fish", out));
    assert_false(options_print_completion(&tool, "csh", out));
    assert_true(ftell(out) > 1000);
    fclose(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_values, drop),
        cmocka_unit_test_teardown(test_bundles_and_prefixes, drop),
        cmocka_unit_test_teardown(test_operands_and_command, drop),
        cmocka_unit_test_teardown(test_environment, drop),
        cmocka_unit_test_teardown(test_wrong_ones, drop),
        cmocka_unit_test_teardown(test_rules, drop),
        cmocka_unit_test_teardown(test_verbs, drop),
        cmocka_unit_test_teardown(test_output, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
