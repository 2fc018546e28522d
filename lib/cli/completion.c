/*
 * Completion for bash, zsh and fish, from the table of options. What can only be known from a relay (topics, groups,
 * relays) is asked of `mrelay` when the key is pressed, with a short limit of time and without a word on stderr.
 */
#include "cli/options.h"

#include <string.h>

/* The shell command that lists the values; NULL when files do, or nothing does. */
static const char *lister(enum option_completion completion)
{
    switch (completion) {
    case OPTION_COMPLETE_TOPIC:
        return "mrelay topics --names --wait 200ms 2>/dev/null";
    case OPTION_COMPLETE_GROUP:
        return "mrelay groups --names --wait 200ms 2>/dev/null";
    case OPTION_COMPLETE_RELAY:
        return "mrelay relays 2>/dev/null";
    case OPTION_COMPLETE_NOTHING:
    case OPTION_COMPLETE_FILE:
    case OPTION_COMPLETE_DIRECTORY:
    case OPTION_COMPLETE_COMMAND:
        return NULL;
    }
    return NULL;
}

static void print_choices(const struct option_spec *spec, FILE *out)
{
    for (size_t i = 0; spec->choices[i]; i++)
        fprintf(out, "%s%s", i ? " " : "", spec->choices[i]);
}

static void print_words(const struct option_program *program, FILE *out)
{
    for (const struct option_spec *spec = program->options; spec->name; spec++) {
        if (spec->letter)
            fprintf(out, "-%c ", spec->letter);
        fprintf(out, "--%s%s ", spec->name, spec->argument ? "=" : "");
    }
    fputs("-h --help --version", out);
}

/* ---- bash ---- */

static void print_bash_value(const struct option_spec *spec, FILE *out)
{
    fputs("    ", out);
    if (spec->letter)
        fprintf(out, "-%c|", spec->letter);
    fprintf(out, "--%s)\n        ", spec->name);
    const char *list = lister(spec->completion);
    if (spec->choices) {
        fputs("mapfile -t COMPREPLY < <(compgen -W '", out);
        print_choices(spec, out);
        fputs("' -- \"$current\")", out);
    } else if (list) {
        fprintf(out, "mapfile -t COMPREPLY < <(compgen -W \"$(%s)\" -- \"$current\")", list);
    } else if (spec->completion == OPTION_COMPLETE_FILE) {
        fputs("mapfile -t COMPREPLY < <(compgen -f -- \"$current\")", out);
    } else if (spec->completion == OPTION_COMPLETE_DIRECTORY) {
        fputs("mapfile -t COMPREPLY < <(compgen -d -- \"$current\")", out);
    } else if (spec->completion == OPTION_COMPLETE_COMMAND) {
        fputs("mapfile -t COMPREPLY < <(compgen -c -- \"$current\")", out);
    } else {
        fputs(":", out);
    }
    fputs("\n        return\n        ;;\n", out);
}

static void print_bash(const struct option_program *program, FILE *out)
{
    const char *name = program->name;
    fprintf(out, "# bash completion for %s(1)\n\n_%s()\n{\n", name, name);
    fputs("    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} i\n"
          "    COMPREPLY=()\n"
          "    if [[ $current == = ]]; then\n"
          "        current=\n"
          "    elif [[ $previous == = ]]; then\n"
          "        previous=${COMP_WORDS[COMP_CWORD-2]}\n"
          "    fi\n",
          out);
    if (program->takes_command)
        fputs("    for ((i = 1; i < COMP_CWORD; i++)); do\n"
              "        if [[ ${COMP_WORDS[i]} == -- ]]; then\n"
              "            mapfile -t COMPREPLY < <(compgen -c -f -- \"$current\")\n"
              "            return\n"
              "        fi\n"
              "    done\n",
              out);
    fputs("    case $previous in\n", out);
    for (const struct option_spec *spec = program->options; spec->name; spec++)
        if (spec->argument)
            print_bash_value(spec, out);
    fputs("    esac\n    if [[ $current == -* ]]; then\n        mapfile -t COMPREPLY < <(compgen -W '", out);
    print_words(program, out);
    fputs("' -- \"$current\")\n        [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace\n        return\n    fi\n",
          out);
    if (program->verbs) {
        fputs("    mapfile -t COMPREPLY < <(compgen -W '", out);
        for (const struct option_verb *verb = program->verbs; verb->name; verb++)
            fprintf(out, "%s%s", verb == program->verbs ? "" : " ", verb->name);
        fputs("' -- \"$current\")\n", out);
    } else if (program->operands) {
        fputs("    mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n", out);
    }
    fprintf(out, "}\n\ncomplete -o filenames -F _%s %s\n", name, name);
}

/* ---- zsh ---- */

/* TEXT inside a '…' of a zsh _arguments specification. */
static void print_zsh_text(const char *text, FILE *out)
{
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
}

static void print_zsh_action(const struct option_spec *spec, FILE *out)
{
    const char *list = lister(spec->completion);
    fputc(':', out);
    print_zsh_text(spec->argument, out);
    fputc(':', out);
    if (spec->choices) {
        fputc('(', out);
        print_choices(spec, out);
        fputc(')', out);
    } else if (list) {
        fprintf(out, "{compadd -- ${(f)\"$(%s)\"}}", list);
    } else if (spec->completion == OPTION_COMPLETE_FILE) {
        fputs("_files", out);
    } else if (spec->completion == OPTION_COMPLETE_DIRECTORY) {
        fputs("_files -/", out);
    } else if (spec->completion == OPTION_COMPLETE_COMMAND) {
        fputs("_command_names -e", out);
    } else {
        fputs(" ", out);
    }
}

static void print_zsh_option(const struct option_spec *spec, FILE *out)
{
    const char *repeat = spec->kind == OPTION_LIST ? "*" : "";
    for (int form = spec->letter ? 0 : 1; form < 2; form++) {
        fprintf(out, "    '%s", repeat);
        if (spec->letter && !*repeat)
            fprintf(out, "(-%c --%s)", spec->letter, spec->name);
        if (form == 0)
            fprintf(out, "-%c%s", spec->letter, spec->argument ? "+" : "");
        else
            fprintf(out, "--%s%s", spec->name, spec->argument ? "=" : "");
        fputc('[', out);
        print_zsh_text(spec->help, out);
        fputc(']', out);
        if (spec->argument)
            print_zsh_action(spec, out);
        fputs("' \\\n", out);
    }
}

static void print_zsh(const struct option_program *program, FILE *out)
{
    fprintf(out, "#compdef %s\n# zsh completion for %s(1)\n\n_arguments -s \\\n", program->name, program->name);
    for (const struct option_spec *spec = program->options; spec->name; spec++)
        print_zsh_option(spec, out);
    fputs("    '(-)-h[a short help]' \\\n    '(-)--help[the whole help]' \\\n    '(-)--version[the version]'", out);
    if (program->verbs) {
        fputs(" \\\n    '1:command:((", out);
        for (const struct option_verb *verb = program->verbs; verb->name; verb++) {
            fprintf(out, "%s%s\\:\"", verb == program->verbs ? "" : " ", verb->name);
            print_zsh_text(verb->help, out);
            fputc('"', out);
        }
        fputs("))'", out);
    } else if (program->takes_command) {
        fprintf(out, " \\\n    '*::command or file:{ if (( words[(I)--] )); then _normal; else %s; fi }'",
                program->operands ? "_files" : "_normal");
    } else if (program->operands) {
        fputs(" \\\n    '*:file:_files'", out);
    }
    fputc('\n', out);
}

/* ---- fish ---- */

static void print_fish_text(const char *text, FILE *out)
{
    for (; *text; text++)
        if (*text == '\'' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
}

static void print_fish_option(const struct option_program *program, const struct option_spec *spec, FILE *out)
{
    fprintf(out, "complete -c %s", program->name);
    if (spec->letter)
        fprintf(out, " -s %c", spec->letter);
    fprintf(out, " -l %s", spec->name);
    const char *list = lister(spec->completion);
    if (spec->choices) {
        fputs(" -x -a '", out);
        print_choices(spec, out);
        fputc('\'', out);
    } else if (list) {
        fprintf(out, " -x -a '(%s)'", list);
    } else if (spec->completion == OPTION_COMPLETE_DIRECTORY) {
        fputs(" -x -a '(__fish_complete_directories)'", out);
    } else if (spec->completion == OPTION_COMPLETE_COMMAND) {
        fputs(" -x -a '(__fish_complete_command)'", out);
    } else if (spec->completion == OPTION_COMPLETE_FILE) {
        fputs(" -r -F", out);
    } else if (spec->argument) {
        fputs(" -x", out);
    }
    fputs(" -d '", out);
    print_fish_text(spec->help, out);
    fputs("'\n", out);
}

static void print_fish(const struct option_program *program, FILE *out)
{
    fprintf(out, "# fish completion for %s(1)\n", program->name);
    if (!program->operands && !program->takes_command)
        fprintf(out, "complete -c %s -f\n", program->name);
    for (const struct option_spec *spec = program->options; spec->name; spec++)
        print_fish_option(program, spec, out);
    fprintf(out, "complete -c %s -s h -d 'a short help'\n", program->name);
    fprintf(out, "complete -c %s -l help -d 'the whole help'\n", program->name);
    fprintf(out, "complete -c %s -l version -d 'the version'\n", program->name);
    for (const struct option_verb *verb = program->verbs; verb && verb->name; verb++) {
        fprintf(out, "complete -c %s -n __fish_use_subcommand -a %s -d '", program->name, verb->name);
        print_fish_text(verb->help, out);
        fputs("'\n", out);
    }
}

bool options_print_completion(const struct option_program *program, const char *shell, FILE *out)
{
    if (!strcmp(shell, "bash"))
        print_bash(program, out);
    else if (!strcmp(shell, "zsh"))
        print_zsh(program, out);
    else if (!strcmp(shell, "fish"))
        print_fish(program, out);
    else
        return false;
    return true;
}
