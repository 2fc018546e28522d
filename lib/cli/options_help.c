/* What the table of options says to people: help, and the man page's option list. */
#include "cli/options.h"

#include "cli/output.h"

#include <string.h>
#include <unistd.h>

enum { HELP_INDENT = 2, HELP_COLUMN = 26 };

static const struct option_spec common[] = {
    {.name = "help", .letter = 'h', .kind = OPTION_FLAG, .help = "-h: a short help; --help: this one"},
    {.name = "version", .kind = OPTION_FLAG, .help = "print the version"},
    {0},
};

/* Writes TEXT in lines of at most WIDTH columns, from column INDENT on; an empty line stays one. */
static void print_wrapped(FILE *out, const char *text, size_t indent, size_t width)
{
    size_t at = indent;
    while (*text) {
        size_t word = strcspn(text, " \n");
        if (at > indent && at + 1 + word > width) {
            fprintf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', out);
            at++;
        }
        fwrite(text, 1, word, out);
        at += word;
        text += word;
        if (!strncmp(text, "\n\n", 2)) {
            fprintf(out, "\n\n%*s", (int)indent, "");
            at = indent;
        }
        text += strspn(text, " \n");
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const struct option_spec *spec, size_t width)
{
    char left[120];
    int used = spec->letter ? snprintf(left, sizeof(left), "-%c, --%s", spec->letter, spec->name)
                            : snprintf(left, sizeof(left), "    --%s", spec->name);
    if (spec->argument)
        used += snprintf(left + used, sizeof(left) - (size_t)used, " %s", spec->argument);
    fprintf(out, "%*s%s", HELP_INDENT, "", left);
    size_t at = HELP_INDENT + (size_t)used;
    if (at + 2 > HELP_COLUMN)
        fprintf(out, "\n%*s", HELP_COLUMN, "");
    else
        fprintf(out, "%*s", (int)(HELP_COLUMN - at), "");
    char help[600];
    snprintf(help, sizeof(help), "%s%s%s%s", spec->help, spec->environment ? " [$" : "",
             spec->environment ? spec->environment : "", spec->environment ? "]" : "");
    print_wrapped(out, help, HELP_COLUMN, width);
}

static void print_usage_line(FILE *out, const char *program, bool first, const char *words, size_t width)
{
    int used = fprintf(out, "%s %s ", first ? "usage:" : "      ", program);
    print_wrapped(out, words, (size_t)used, width);
}

static void print_usage(const struct option_program *program, FILE *out, size_t width)
{
    for (size_t i = 0; program->synopsis[i]; i++)
        print_usage_line(out, program->name, i == 0, program->synopsis[i], width);
}

static void print_verbs(const struct option_program *program, FILE *out, size_t width)
{
    if (!program->verbs)
        return;
    fputs("\nCommands:\n", out);
    for (const struct option_verb *verb = program->verbs; verb->name; verb++) {
        int used = fprintf(out, "%*s%s%s%s", HELP_INDENT, "", verb->name, verb->operands ? " " : "",
                           verb->operands ? verb->operands : "");
        if (used + 2 > HELP_COLUMN)
            fprintf(out, "\n%*s", HELP_COLUMN, "");
        else
            fprintf(out, "%*s", HELP_COLUMN - used, "");
        print_wrapped(out, verb->help, HELP_COLUMN, width);
    }
}

static void print_examples(const struct option_program *program, FILE *out, size_t width)
{
    size_t command = 0;
    size_t comment = 0;
    for (const struct option_example *example = program->examples; example->command; example++) {
        size_t size = strlen(example->command);
        command = size > command ? size : command;
        size = strlen(example->comment);
        comment = size > comment ? size : comment;
    }
    fputs("\nExamples:\n", out);
    for (const struct option_example *example = program->examples; example->command; example++)
        if (HELP_INDENT + command + 4 + comment > width)
            fprintf(out, "  # %s\n  %s\n", example->comment, example->command);
        else
            fprintf(out, "  %-*s  # %s\n", (int)command, example->command, example->comment);
}

/* Whether the verbs that BITS stand for take an option. */
static bool is_for(const struct option_spec *spec, unsigned bits)
{
    return !spec->verbs || spec->verbs & bits;
}

static size_t help_width(FILE *out)
{
    unsigned columns = output_columns(fileno(out));
    return columns > 100 ? 100 : columns < 50 ? 50 : columns;
}

void options_print_short_help(const struct option_program *program, FILE *out)
{
    size_t width = help_width(out);
    print_usage(program, out, width);
    fprintf(out, "%s: %s\n", program->name, program->summary);
    print_verbs(program, out, width);
    fputc('\n', out);
    for (const struct option_spec *spec = program->options; spec->name; spec++)
        if (spec->letter && is_for(spec, OPTION_NO_VERB))
            print_option(out, spec, width);
    print_examples(program, out, width);
    fputc('\n', out);
    if (program->verbs)
        fprintf(out, "A command's options: %s COMMAND --help. ", program->name);
    fprintf(out, "All options: %s --help.%sThe manual: man %s\n", program->name, program->verbs ? "\n" : " ",
            program->name);
}

/* The options of those that BIT stands for, under their headings. */
static void print_options(const struct option_program *program, unsigned bit, FILE *out, size_t width)
{
    const char *section = "";
    for (const struct option_spec *spec = program->options; spec->name; spec++) {
        if (!is_for(spec, bit))
            continue;
        if (strcmp(section, spec->section) != 0)
            fprintf(out, "\n%s:\n", spec->section);
        section = spec->section;
        print_option(out, spec, width);
    }
}

void options_print_verb_help(const struct option_program *program, int index, FILE *out)
{
    const struct option_verb *verb = &program->verbs[index];
    unsigned bit = OPTION_VERB((unsigned)index);
    size_t width = help_width(out);
    bool takes_options = false;
    char words[200];
    for (const struct option_spec *spec = program->options; spec->name; spec++)
        takes_options = takes_options || is_for(spec, bit);
    snprintf(words, sizeof(words), "%s %s%s%s", verb->name, takes_options ? "[OPTION]... " : "",
             verb->operands ? verb->operands : "", verb->takes_command ? " [ARG]..." : "");
    print_usage_line(out, program->name, true, words, width);
    snprintf(words, sizeof(words), "%s %s: %s", program->name, verb->name, verb->help);
    print_wrapped(out, words, 0, width);
    print_options(program, bit, out, width);
    fprintf(out, "\nAll commands: %s -h. The manual: man %s\n", program->name, program->name);
}

void options_print_help(const struct option_program *program, FILE *out)
{
    size_t width = help_width(out);
    print_usage(program, out, width);
    fputc('\n', out);
    if (program->description)
        print_wrapped(out, program->description, 0, width);
    print_verbs(program, out, width);
    print_options(program, ~0U, out, width);
    fputs("\nHelp:\n", out);
    for (const struct option_spec *spec = common; spec->name; spec++)
        print_option(out, spec, width);
    print_examples(program, out, width);
    fprintf(out, "\nThe manual: man %s, and man 7 msgpipe for what is guaranteed.\n", program->name);
}

/* A help text as a sentence of mdoc: a dot or quote in front and backslashes mean nothing there. */
static void print_mdoc_text(FILE *out, const char *text)
{
    for (bool first = true; *text; text++, first = false)
        if (first && *text >= 'a' && *text <= 'z')
            fputc(*text - 'a' + 'A', out);
        else if (first && (*text == '.' || *text == '\''))
            fprintf(out, "\\&%c", *text);
        else if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
}

static void print_mdoc_option(const struct option_spec *spec, FILE *out)
{
    fputs(".It", out);
    if (spec->letter) {
        fprintf(out, " Fl %c", spec->letter);
        if (spec->argument)
            fprintf(out, " Ar %s", spec->argument);
        fputs(" ,", out);
    }
    fprintf(out, " Fl \\-%s", spec->name);
    if (spec->argument)
        fprintf(out, " Ar %s", spec->argument);
    fputc('\n', out);
    if (spec->man) {
        fprintf(out, "%s\n", spec->man);
    } else {
        print_mdoc_text(out, spec->help);
        fputs(".\n", out);
    }
    if (spec->environment)
        fprintf(out, "When it is not given,\n.Ev %s\nis looked at.\n", spec->environment);
}

void options_print_mdoc(const struct option_program *program, FILE *out)
{
    if (program->verbs) {
        fputs(".Ss Commands\n.Bl -tag -width Ds\n", out);
        for (const struct option_verb *verb = program->verbs; verb->name; verb++) {
            fprintf(out, ".It Cm %s", verb->name);
            if (verb->operands)
                fprintf(out, " Ar %s", verb->operands);
            fputc('\n', out);
            if (verb->man) {
                fprintf(out, "%s\n", verb->man);
            } else {
                print_mdoc_text(out, verb->help);
                fputs(".\n", out);
            }
        }
        fputs(".El\n", out);
    }
    const char *section = NULL;
    for (const struct option_spec *spec = program->options; spec->name; spec++) {
        if (!section || strcmp(section, spec->section) != 0)
            fprintf(out, "%s.Ss %s\n.Bl -tag -width Ds\n", section ? ".El\n" : "", spec->section);
        section = spec->section;
        print_mdoc_option(spec, out);
    }
    fprintf(out, "%s.Ss Help\n.Bl -tag -width Ds\n", section ? ".El\n" : "");
    fputs(".It Fl h\nPrint a short help with examples.\n.It Fl \\-help\nPrint the whole help.\n"
          ".It Fl \\-version\nPrint the version.\n.El\n",
          out);
}
