/*
 * Command lines. Words are separated by zero bytes. What there is to say goes to a place where nobody hears it; the
 * outcome is one of three, and of words that were taken each stands where it belongs.
 */
#include "fuzz.h"

#include "cli/exit.h"
#include "cli/options.h"

#include <fcntl.h>
#include <unistd.h>

enum { WORDS = 40 };

struct settings {
    bool flag;
    int mode, set;
    const char *text;
    struct option_list list;
    uint64_t number, size;
    int64_t time;
    double rate;
};

#define AT(member) .at = offsetof(struct settings, member)

static const char *const modes[] = {"slow", "fast", NULL};
static const struct option_spec specs[] = {
    {.name = "flag", .letter = 'f', .kind = OPTION_FLAG, AT(flag), .section = "All", .help = "a flag"},
    {.name = "one", .kind = OPTION_SET, AT(set), .low = 1, .section = "All", .help = "one"},
    {.name = "two", .kind = OPTION_SET, AT(set), .low = 2, .section = "All", .help = "two"},
    {.name = "mode", .kind = OPTION_CHOICE, AT(mode), .argument = "M", .choices = modes, .section = "All", .help = "m"},
    {.name = "text", .letter = 't', .kind = OPTION_TEXT, AT(text), .argument = "T", .section = "All", .help = "t"},
    {.name = "list", .letter = 'l', .kind = OPTION_LIST, AT(list), .argument = "L", .section = "All", .help = "l"},
    {.name = "number",
     .letter = 'n',
     .kind = OPTION_NUMBER,
     AT(number),
     .argument = "N",
     .low = 1,
     .high = 1000,
     .section = "All",
     .help = "n"},
    {.name = "size", .kind = OPTION_SIZE, AT(size), .argument = "S", .low = 10, .section = "All", .help = "s"},
    {.name = "time", .kind = OPTION_DURATION, AT(time), .argument = "D", .low = 1000, .section = "All", .help = "d"},
    {.name = "rate", .kind = OPTION_RATE, AT(rate), .argument = "R", .section = "All", .help = "r"},
    {0},
};
static const char *const synopsis[] = {"[OPTION]...", NULL};
static const struct option_verb verbs[] = {
    {.name = "go", .operands = "WHERE", .help = "go", .operands_most = 2},
    {.name = "run", .operands = "", .help = "run", .operands_most = 0, .takes_command = true},
    {0},
};
static const struct option_rule rules[] = {
    {.kind = OPTION_EXCLUDES, .one = "flag", .others = {"text", OPTION_COMMAND}, .why = "choose"},
    {.kind = OPTION_NEEDS, .one = "number", .others = {"list", OPTION_OPERANDS}, .why = "say which"},
    {0},
};
static const struct option_example examples[] = {{"fuzz go", "go"}, {0}};
static const struct option_program program = {.name = "fuzz",
                                              .summary = "take words",
                                              .synopsis = synopsis,
                                              .options = specs,
                                              .verbs = verbs,
                                              .rules = rules,
                                              .examples = examples,
                                              .operands = "WHERE"};

static void check(const struct settings *settings, const struct options *options)
{
    MUST(settings->number == 0 || (settings->number >= 1 && settings->number <= 1000));
    MUST(settings->size == 0 || settings->size >= 10);
    MUST(settings->time == 0 || settings->time >= 1000);
    MUST(settings->mode == 0 || settings->mode == 1);
    for (size_t i = 0; i < settings->list.count; i++)
        MUST(strlen(settings->list.values[i]) < 100000);
    for (size_t i = 0; i < options->operands_count; i++)
        MUST(options->operands[i] != NULL);
    MUST(options->operands == NULL || options->operands[options->operands_count] == NULL);
    MUST(!(options_given(options, "flag") && options_given(options, "text")));
}

/* Turns stdout and stderr to /dev/null, and back. */
static void hush(bool on)
{
    static int null = -1, kept[3];
    fflush(stdout);
    fflush(stderr);
    if (null < 0) {
        MUST((null = open("/dev/null", O_WRONLY | O_CLOEXEC)) >= 0);
        MUST((kept[STDOUT_FILENO] = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)) >= 0);
        MUST((kept[STDERR_FILENO] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) >= 0);
    }
    for (int i = STDOUT_FILENO; i <= STDERR_FILENO; i++)
        MUST(dup2(on ? null : kept[i], i) == i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *words = fuzz_string(data, size);
    char name[] = "fuzz";
    char *argv[WORDS + 2] = {name};
    int argc = 1;
    struct settings settings = {0};
    struct options options = {0};
    for (size_t at = 0; at <= size && argc <= WORDS; at += strlen(words + at) + 1)
        argv[argc++] = words + at;
    hush(true);
    int code = options_parse(&program, argc, argv, &settings, &options);
    hush(false);
    MUST(code == OPTIONS_GO || code == EXIT_DONE || code == EXIT_USAGE);
    if (code == OPTIONS_GO)
        check(&settings, &options);
    options_free(&options);
    free(words);
    return 0;
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
#define SEED(text)                                                                                                     \
    {                                                                                                                  \
        text, sizeof(text) - 1                                                                                         \
    }
    static const struct {
        const char *text;
        size_t size;
    } seeds[] = {
        SEED("-f\0--mode=fast\0go\0here"),
        SEED("-tword\0-l\0a\0-lb\0--number\0007\0go\0a\0b"),
        SEED("run\0--size=1KiB\0--time\0"
             "5s\0--rate\0"
             "5/s\0--\0cmd\0-f"),
        SEED("--one\0--two"),
        SEED("--help"),
        SEED("--nu=5\0x"),
    };
    if (index >= sizeof seeds / sizeof *seeds)
        return false;
    MUST(buffer_append(out, seeds[index].text, seeds[index].size) == MP_OK);
    return true;
}
