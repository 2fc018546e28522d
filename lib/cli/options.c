/* Parsing of the command line from the program's table. */
#include "cli/options.h"

#include "base/units.h"
#include "cli/exit.h"
#include "message/names.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MOST = 128, OPTIONS_TEXT = 400 };

const char *const option_formats[] = {"lines", "null", "length", "whole", "json", NULL};
const char *const option_modes[] = {"each", "batch", NULL};

/* What the parser itself answers. They are not shown, but for the common ones. */
static const char *const built_in[] = {"help", "version", "completion", "mdoc-options"};

/* What is known while the arguments are taken one by one. */
struct parse {
    struct options *options;
    void *settings;
    int argc;
    char **argv;
    int at; /* the argument being looked at */
};

int options_wrong(const struct options *options, const char *format, ...)
{
    char text[OPTIONS_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)options;
    tell("%s", text);
    return EXIT_USAGE;
}

/* An option as people call it: its letter if it has one. */
static const char *display(const struct option_spec *spec, char text[80])
{
    if (spec->letter)
        snprintf(text, 80, "-%c", spec->letter);
    else
        snprintf(text, 80, "--%s", spec->name);
    return text;
}

static size_t count_options(const struct option_program *program)
{
    size_t count = 0;
    while (count < OPTIONS_MOST && program->options[count].name)
        count++;
    return count;
}

static const struct option_spec *find_option(const struct option_program *program, const char *name)
{
    for (const struct option_spec *spec = program->options; spec->name; spec++)
        if (!strcmp(spec->name, name))
            return spec;
    return NULL;
}

static void mark(struct options *options, const struct option_spec *spec)
{
    size_t index = (size_t)(spec - options->program->options);
    options->given[index / 64] |= (uint64_t)1 << (index % 64);
}

static bool is_marked(const struct options *options, const struct option_spec *spec)
{
    size_t index = (size_t)(spec - options->program->options);
    return options->given[index / 64] >> (index % 64) & 1;
}

bool options_given(const struct options *options, const char *name)
{
    if (!strcmp(name, OPTION_OPERANDS))
        return options->operands_count > 0;
    if (!strcmp(name, OPTION_COMMAND))
        return options->command != NULL;
    const struct option_spec *spec = find_option(options->program, name);
    return spec && is_marked(options, spec);
}

static enum mp_error list_add(struct options *options, struct option_list *list, const char *value)
{
    const char **grown = realloc(list->values, (list->count + 1) * sizeof(*grown));
    if (!grown)
        return MP_ERR_MEMORY;
    list->values = grown;
    list->values[list->count++] = value;
    for (size_t i = 0; i < options->lists_count; i++)
        if (options->lists[i] == list)
            return MP_OK;
    struct option_list **lists = realloc(options->lists, (options->lists_count + 1) * sizeof(*lists));
    if (!lists)
        return MP_ERR_MEMORY;
    options->lists = lists;
    options->lists[options->lists_count++] = list;
    return MP_OK;
}

/* A value that is none of the choices: names them, and the nearest one. */
static enum mp_error wrong_choice(const struct option_spec *spec, const char *value, struct fault *fault)
{
    char all[200] = "";
    size_t count = 0;
    for (; spec->choices[count]; count++) {
        size_t used = strlen(all);
        snprintf(all + used, sizeof(all) - used, "%s%s", count ? ", " : "", spec->choices[count]);
    }
    const char *near = name_nearest(value, spec->choices, count);
    if (near)
        return fault_set(fault, MP_ERR_INVALID, "%s is not one of %s: did you mean %s?", value, all, near);
    return fault_set(fault, MP_ERR_INVALID, "%s is not one of %s", value, all);
}

static enum mp_error read_number(const struct option_spec *spec, const char *value, uint64_t *number,
                                 struct fault *fault)
{
    uint64_t high = spec->high ? spec->high : UINT64_MAX;
    char shown[FAULT_QUOTE];
    if (units_number("", value, spec->low, high, number, NULL) == MP_OK)
        return MP_OK;
    fault_quote(shown, value, strlen(value));
    if (high == UINT64_MAX)
        return fault_set(fault, MP_ERR_INVALID, "'%s' is not a whole number, %" PRIu64 " or more", shown, spec->low);
    return fault_set(fault, MP_ERR_INVALID, "'%s' is not a whole number from %" PRIu64 " to %" PRIu64, shown, spec->low,
                     high);
}

static enum mp_error read_size(const struct option_spec *spec, const char *value, uint64_t *bytes, struct fault *fault)
{
    uint64_t read, high = spec->high ? spec->high : UINT64_MAX;
    char limit[24];
    enum mp_error error = units_size(value, &read, fault);
    if (error)
        return error;
    units_size_text(read < spec->low ? spec->low : high, limit, sizeof limit);
    if (read < spec->low)
        return fault_set(fault, MP_ERR_INVALID, "%s is too little: at least %s", value, limit);
    if (read > high)
        return fault_set(fault, MP_ERR_INVALID, "%s is too much: at most %s", value, limit);
    *bytes = read;
    return MP_OK;
}

/* Of durations only `low` counts. */
static enum mp_error read_duration(const struct option_spec *spec, const char *value, int64_t *duration,
                                   struct fault *fault)
{
    int64_t read;
    char limit[32];
    enum mp_error error = units_duration(value, &read, fault);
    if (error)
        return error;
    units_duration_write((int64_t)spec->low, limit, sizeof limit);
    if ((uint64_t)read < spec->low)
        return fault_set(fault, MP_ERR_INVALID, "%s is too little: at least %s", value, limit);
    *duration = read;
    return MP_OK;
}

/* Keeps VALUE (NULL for flags) as SPEC says. The fault's text has no mention of the option. */
static enum mp_error store(struct options *options, void *settings, const struct option_spec *spec, const char *value,
                           struct fault *fault)
{
    void *member = (char *)settings + spec->at;
    switch (spec->kind) {
    case OPTION_FLAG:
        *(bool *)member = true;
        return MP_OK;
    case OPTION_SET:
        *(int *)member = (int)spec->low;
        return MP_OK;
    case OPTION_TEXT:
        if (!*value && (spec->completion == OPTION_COMPLETE_FILE || spec->completion == OPTION_COMPLETE_DIRECTORY))
            return fault_set(fault, MP_ERR_INVALID, "the name is empty");
        *(const char **)member = value;
        return MP_OK;
    case OPTION_LIST:
        return list_add(options, member, value) ? fault_memory(fault) : MP_OK;
    case OPTION_NUMBER:
        return read_number(spec, value, member, fault);
    case OPTION_SIZE:
        return read_size(spec, value, member, fault);
    case OPTION_DURATION:
        return read_duration(spec, value, member, fault);
    case OPTION_RATE:
        return units_rate(value, member, fault);
    case OPTION_CHOICE:
        for (int i = 0; spec->choices[i]; i++)
            if (!strcmp(value, spec->choices[i])) {
                *(int *)member = i;
                return MP_OK;
            }
        return wrong_choice(spec, value, fault);
    }
    return fault_set(fault, MP_ERR_INTERNAL, "an option of no kind");
}

/* Two options that set one member to different things. */
static int check_set(struct options *options, const struct option_spec *spec)
{
    if (spec->kind != OPTION_SET)
        return OPTIONS_GO;
    for (const struct option_spec *other = options->program->options; other->name; other++)
        if (other != spec && other->kind == OPTION_SET && other->at == spec->at && is_marked(options, other)) {
            char one[80];
            char two[80];
            return options_wrong(options, "%s and %s exclude each other: choose one", display(other, one),
                                 display(spec, two));
        }
    return OPTIONS_GO;
}

/* An option was found; VALUE is NULL when none was attached to it. TAKEN says whether it used up VALUE. */
static int take_option(struct parse *parse, const struct option_spec *spec, const char *value, bool attached)
{
    struct options *options = parse->options;
    char name[80];
    display(spec, name);
    if (!spec->argument && attached)
        return options_wrong(options, "--%s takes no value: leave out '=%s'", spec->name, value);
    if (spec->argument && !attached) {
        if (parse->at + 1 >= parse->argc)
            return options_wrong(options, "%s needs a value: %s %s", name, name, spec->argument);
        value = parse->argv[++parse->at];
    }
    struct fault fault = {0};
    int code = check_set(options, spec);
    if (code != OPTIONS_GO)
        return code;
    if (store(options, parse->settings, spec, value, &fault))
        return options_wrong(options, "%s: %s", name, fault_text(&fault));
    mark(options, spec);
    return OPTIONS_GO;
}

/* How many names of options begin with PREFIX; *FOUND is the last of them, or the one that is equal. */
static size_t match_prefix(const struct option_program *program, const char *prefix, size_t size,
                           const struct option_spec **found, const char **builtin)
{
    size_t count = 0;
    *found = NULL;
    *builtin = NULL;
    for (const struct option_spec *spec = program->options; spec->name; spec++) {
        if (strncmp(spec->name, prefix, size) != 0)
            continue;
        *found = spec;
        *builtin = NULL;
        if (spec->name[size] == '\0')
            return 1;
        count++;
    }
    for (size_t i = 0; i < sizeof(built_in) / sizeof(*built_in); i++) {
        if (strncmp(built_in[i], prefix, size) != 0)
            continue;
        if (built_in[i][size] != '\0' && i >= 2) /* hidden ones are not guessed */
            continue;
        *builtin = built_in[i];
        *found = NULL;
        if (built_in[i][size] == '\0')
            return 1;
        count++;
    }
    return count;
}

static int unknown_option(const struct options *options, const char *name, size_t size)
{
    const struct option_program *program = options->program;
    char word[OPTIONS_TEXT / 2];
    snprintf(word, sizeof(word), "%.*s", (int)(size < 100 ? size : 100), name);
    const char *words[OPTIONS_MOST + 2];
    size_t count = 0;
    for (const struct option_spec *spec = program->options; spec->name && count < OPTIONS_MOST; spec++)
        words[count++] = spec->name;
    words[count++] = "help";
    words[count++] = "version";
    const char *near = name_nearest(word, words, count);
    if (near)
        return options_wrong(options, "unknown option --%s: did you mean --%s?", word, near);
    return options_wrong(options, "unknown option --%s: see %s --help", word, program->name);
}

static int ambiguous_option(const struct options *options, const char *name, size_t size)
{
    char all[OPTIONS_TEXT / 2] = "";
    for (const struct option_spec *spec = options->program->options; spec->name; spec++)
        if (!strncmp(spec->name, name, size)) {
            size_t used = strlen(all);
            snprintf(all + used, sizeof(all) - used, " --%s", spec->name);
        }
    return options_wrong(options, "--%.*s could be any of%s: write more of it", (int)size, name, all);
}

/* The index of the verb NAME, or -1. */
static int verb_of(const struct option_program *program, const char *name)
{
    for (int i = 0; program->verbs && program->verbs[i].name; i++)
        if (!strcmp(program->verbs[i].name, name))
            return i;
    return -1;
}

/* Output that was asked for: 0, or 74 when it could not be written. */
static int printed(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_DONE;
    tell("cannot write to stdout: is the disk full, or the reader gone?");
    return EXIT_IO;
}

/* The help of the verb that was said, if one was; else the program's. */
static void print_help(const struct options *options, void (*print)(const struct option_program *program, FILE *out))
{
    const struct option_program *program = options->program;
    int verb = options->operands_count ? verb_of(program, options->operands[0]) : -1;
    if (verb >= 0)
        options_print_verb_help(program, verb, stdout);
    else
        print(program, stdout);
}

static int run_builtin(struct parse *parse, const char *name, const char *value)
{
    const struct option_program *program = parse->options->program;
    if (!strcmp(name, "help")) {
        print_help(parse->options, options_print_help);
    } else if (!strcmp(name, "version")) {
        printf("%s (msgpipe) %s\n", program->name, mp_version());
    } else if (!strcmp(name, "mdoc-options")) {
        options_print_mdoc(program, stdout);
    } else {
        if (!value && parse->at + 1 < parse->argc)
            value = parse->argv[++parse->at];
        if (!value || !options_print_completion(program, value, stdout))
            return options_wrong(parse->options, "--completion needs the name of a shell: bash, zsh or fish");
    }
    return printed();
}

static int take_long(struct parse *parse, const char *argument)
{
    const char *equals = strchr(argument, '=');
    size_t size = equals ? (size_t)(equals - argument) : strlen(argument);
    const struct option_spec *spec;
    const char *builtin;
    size_t matches = match_prefix(parse->options->program, argument, size, &spec, &builtin);
    if (matches == 0 || size == 0)
        return unknown_option(parse->options, argument, size);
    if (matches > 1)
        return ambiguous_option(parse->options, argument, size);
    if (builtin)
        return run_builtin(parse, builtin, equals ? equals + 1 : NULL);
    return take_option(parse, spec, equals ? equals + 1 : NULL, equals != NULL);
}

static int take_letters(struct parse *parse, const char *letters)
{
    const struct option_program *program = parse->options->program;
    for (; *letters; letters++) {
        if (*letters == 'h') {
            print_help(parse->options, options_print_short_help);
            return printed();
        }
        const struct option_spec *spec = program->options;
        while (spec->name && spec->letter != *letters)
            spec++;
        if (!spec->name)
            return options_wrong(parse->options, "unknown option -%c: see %s -h", *letters, program->name);
        bool attached = spec->argument && letters[1];
        int code = take_option(parse, spec, attached ? letters + 1 : NULL, attached);
        if (code != OPTIONS_GO || attached)
            return code;
    }
    return OPTIONS_GO;
}

static int take_environment(struct options *options, void *settings)
{
    for (const struct option_spec *spec = options->program->options; spec->name; spec++) {
        const char *value = spec->environment ? getenv(spec->environment) : NULL;
        if (!value || !*value || is_marked(options, spec))
            continue;
        struct fault fault = {0};
        if (store(options, settings, spec, value, &fault))
            return options_wrong(options, "$%s: %s", spec->environment, fault_text(&fault));
    }
    return OPTIONS_GO;
}

static int find_verb(struct options *options)
{
    const struct option_program *program = options->program;
    if (!program->verbs || options->operands_count == 0)
        return OPTIONS_GO;
    const char *word = options->operands[0];
    options->verb = verb_of(program, word);
    if (options->verb >= 0) {
        options->operands++;
        options->operands_count--;
        return OPTIONS_GO;
    }
    const char *words[32];
    size_t count = 0;
    for (; program->verbs[count].name && count < 32; count++)
        words[count] = program->verbs[count].name;
    const char *near = name_nearest(word, words, count);
    if (near)
        return options_wrong(options, "there is no command '%s': did you mean %s %s?", word, program->name, near);
    if (program->takes_command)
        return options_wrong(options, "there is no command '%s': see %s -h (a program to be run stands behind --)",
                             word, program->name);
    return options_wrong(options, "there is no command '%s': see %s -h", word, program->name);
}

static int check_operands(const struct options *options)
{
    const struct option_program *program = options->program;
    if (program->verbs) {
        size_t most = options->verb >= 0 ? program->verbs[options->verb].operands_most : 0;
        if (options->operands_count > most)
            return options_wrong(options, "'%s' is too much for %s %s: see %s -h", options->operands[most],
                                 program->name, program->verbs[options->verb].name, program->name);
        unsigned bit = options->verb >= 0 ? OPTION_VERB((unsigned)options->verb) : OPTION_NO_VERB;
        for (const struct option_spec *spec = program->options; spec->name; spec++)
            if (spec->verbs && !(spec->verbs & bit) && is_marked(options, spec)) {
                const char *verb = options->verb >= 0 ? program->verbs[options->verb].name : "";
                const char *between = options->verb >= 0 ? " " : "";
                char name[80];
                return options_wrong(options, "%s does not go with %s%s%s: see %s%s%s --help", display(spec, name),
                                     program->name, options->verb >= 0 ? " " : " alone", verb, program->name, between,
                                     verb);
            }
    } else if (!program->operands && options->operands_count) {
        return options_wrong(options, "'%s' is neither an option nor a value of one: see %s -h", options->operands[0],
                             program->name);
    }
    return OPTIONS_GO;
}

/* What rules and errors call option NAME. */
static const char *rule_name(const struct option_program *program, const char *name, char text[80])
{
    const struct option_spec *spec = find_option(program, name);
    if (spec)
        return display(spec, text);
    return !strcmp(name, OPTION_OPERANDS) && program->operands ? program->operands : name;
}

static int check_rules(const struct options *options)
{
    const struct option_program *program = options->program;
    for (const struct option_rule *rule = program->rules; rule && rule->kind; rule++) {
        if (!options_given(options, rule->one))
            continue;
        char one[80];
        char other[80];
        char all[OPTIONS_TEXT / 2] = "";
        bool met = false;
        for (size_t i = 0; i < sizeof(rule->others) / sizeof(*rule->others) && rule->others[i]; i++) {
            bool given = options_given(options, rule->others[i]);
            if (given && rule->kind == OPTION_EXCLUDES)
                return options_wrong(options, "%s and %s exclude each other: %s", rule_name(program, rule->one, one),
                                     rule_name(program, rule->others[i], other), rule->why);
            met = met || given;
            size_t used = strlen(all);
            snprintf(all + used, sizeof(all) - used, "%s%s", i ? " or " : "",
                     rule_name(program, rule->others[i], other));
        }
        if (rule->kind == OPTION_NEEDS && !met)
            return options_wrong(options, "%s goes only with %s: %s", rule_name(program, rule->one, one), all,
                                 rule->why);
    }
    return OPTIONS_GO;
}

/* Whether what stands behind `--` is a command: of the program, or of the verb that stands before it. */
static bool takes_command(const struct options *options)
{
    const struct option_program *program = options->program;
    int verb = options->operands_count ? verb_of(program, options->operands[0]) : -1;
    return program->takes_command || (verb >= 0 && program->verbs[verb].takes_command);
}

static int take_arguments(struct parse *parse)
{
    struct options *options = parse->options;
    for (parse->at = 1; parse->at < parse->argc; parse->at++) {
        char *argument = parse->argv[parse->at];
        if (!strcmp(argument, "--")) {
            char **rest = parse->argv + parse->at + 1;
            if (takes_command(options)) {
                if (!*rest)
                    return options_wrong(options, "no command stands behind --");
                options->command = rest;
                return OPTIONS_GO;
            }
            while (*rest)
                options->operands[options->operands_count++] = *rest++;
            return OPTIONS_GO;
        }
        int code = OPTIONS_GO;
        if (argument[0] == '-' && argument[1] == '-')
            code = take_long(parse, argument + 2);
        else if (argument[0] == '-' && argument[1])
            code = take_letters(parse, argument + 1);
        else
            options->operands[options->operands_count++] = argument;
        if (code != OPTIONS_GO)
            return code;
    }
    return OPTIONS_GO;
}

int options_parse(const struct option_program *program, int argc, char **argv, void *settings, struct options *options)
{
    exit_setup(program->name);
    *options = (struct options){.program = program, .verb = -1};
    struct parse parse = {.options = options, .settings = settings, .argc = argc, .argv = argv};
    if (count_options(program) == OPTIONS_MOST) {
        tell("%s", mp_error_text(MP_ERR_INTERNAL));
        return EXIT_FAILED;
    }
    options->arguments = calloc((size_t)argc + 1, sizeof(*options->arguments));
    if (!options->arguments) {
        tell("%s", mp_error_text(MP_ERR_MEMORY));
        return EXIT_FAILED;
    }
    options->operands = options->arguments;

    int code = take_arguments(&parse);
    if (code == OPTIONS_GO)
        code = find_verb(options);
    if (code == OPTIONS_GO)
        code = check_operands(options);
    if (code == OPTIONS_GO)
        code = check_rules(options);
    if (code == OPTIONS_GO)
        code = take_environment(options, settings);
    if (code != OPTIONS_GO)
        options_free(options);
    return code;
}

void options_free(struct options *options)
{
    for (size_t i = 0; i < options->lists_count; i++) {
        free(options->lists[i]->values);
        *options->lists[i] = (struct option_list){0};
    }
    free(options->lists);
    free(options->arguments);
    options->lists = NULL;
    options->lists_count = 0;
    options->arguments = NULL;
    options->operands = NULL;
    options->operands_count = 0;
}
