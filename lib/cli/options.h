/*
 * options.h: options, declared once.
 *
 * A tool describes itself in a struct option_program. From that one table come parsing, `-h`, `--help`, `--version`,
 * the completion of three shells (`--completion bash|zsh|fish`), the option list of the man page (`--mdoc-options`),
 * and what is said about wrong options. The common ones (-h, --help, --version) are added by themselves.
 *
 *     struct settings {
 *         const char *relay, *topic;
 *         struct option_list data;
 *         int format;
 *         int64_t wait;
 *     };
 *     static const struct option_spec specs[] = {
 *         {.name = "topic", .letter = 't', .kind = OPTION_TEXT, .at = offsetof(struct settings, topic),
 *          .argument = "TOPIC", .completion = OPTION_COMPLETE_TOPIC, .section = "Where to",
 *          .help = "send to TOPIC", .man = "More, in mdoc, with its own\n.Ql macros ."},
 *         OPTION_RELAY(struct settings, relay),
 *         OPTION_WAIT(struct settings, wait, "how long to wait for the relay"),
 *         {0},
 *     };
 *     static const struct option_rule rules[] = {
 *         {OPTION_EXCLUDES, "topic", {"dial", "listen"}, "send by way of a relay, or directly to a peer"},
 *         {OPTION_NEEDS, "framed", {"dial", "listen"}, "relayed messages always travel in frames"},
 *         {0},
 *     };
 *     static const struct option_program program = {.name = "msend", .summary = "send messages", .options = specs,
 *                                                   .rules = rules, .takes_command = true, ...};
 *     ...
 *     struct settings settings = {.wait = -1};           // the defaults
 *     struct options options;
 *     int code = options_parse(&program, argc, argv, &settings, &options);
 *     if (code >= 0)
 *         return code;                                   // help was printed, or an error told
 *
 * Long options may be cut to a unique prefix, `--name=value` and `--name value` are the same, letters can be bundled,
 * options and operands may stand in any order. What follows `--` is the command of a program that takes one, else
 * operands. The flag goes before the environment, and that before the default that the settings had.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_kind {
    OPTION_FLAG = 1, /* bool: true */
    OPTION_SET,      /* int: `low`; options that set the same member exclude each other */
    OPTION_TEXT,     /* const char *: it points into argv or the environment */
    OPTION_LIST,     /* struct option_list: each use adds a value */
    OPTION_NUMBER,   /* uint64_t: from `low` to `high` */
    OPTION_SIZE,     /* uint64_t: bytes, from `low` to `high` (0: no limit) */
    OPTION_DURATION, /* int64_t: microseconds */
    OPTION_RATE,     /* double: events a second */
    OPTION_CHOICE    /* int: the index among `choices` */
};

enum option_completion {
    OPTION_COMPLETE_NOTHING,
    OPTION_COMPLETE_FILE,
    OPTION_COMPLETE_DIRECTORY,
    OPTION_COMPLETE_TOPIC,
    OPTION_COMPLETE_GROUP,
    OPTION_COMPLETE_RELAY,
    OPTION_COMPLETE_COMMAND
};

struct option_list {
    const char **values;
    size_t count;
};

struct option_spec {
    const char *name; /* the long name, without dashes; NULL ends a list */
    char letter;      /* the short one, or 0; options with a letter are in the short help */
    enum option_kind kind;
    size_t at;                  /* offsetof() the member of the tool's settings */
    const char *argument;       /* the value's name, "TOPIC"; NULL for OPTION_FLAG and OPTION_SET */
    const char *section;        /* the heading that it stands under; neighbours share it */
    const char *help;           /* one line, no full stop */
    const char *man;            /* mdoc for the man page; NULL: `help` */
    const char *environment;    /* a variable that is looked at when the option was not given */
    const char *const *choices; /* OPTION_CHOICE: ends with NULL. Others: offered by completion, not enforced */
    enum option_completion completion;
    uint64_t low, high; /* of numbers and sizes; of durations the least, microseconds; 0: no limit */
    unsigned verbs;     /* of a program with verbs: OPTION_VERB(i) of each that takes it; 0: all and none */
};

/* A verb's bit. OPTION_NO_VERB is the program without a verb. */
#define OPTION_VERB(index) (2U << (index))
#define OPTION_NO_VERB 1U

struct option_verb {
    const char *name; /* NULL ends a list */
    const char *operands;
    const char *help;
    const char *man;
    size_t operands_most; /* how many operands it takes */
    bool takes_command;   /* and `-- COMMAND ARG...` */
};

enum option_rule_kind {
    OPTION_EXCLUDES = 1, /* `one` goes with none of `others` */
    OPTION_NEEDS         /* `one` needs one of `others` */
};

/* In rules these stand for what are not options. */
#define OPTION_OPERANDS "operands"
#define OPTION_COMMAND "-- COMMAND"

struct option_rule {
    enum option_rule_kind kind; /* 0 ends a list */
    const char *one;            /* long names */
    const char *others[12];
    const char *why; /* what to do instead: it stands at the end of the message */
};

struct option_example {
    const char *command; /* NULL ends a list */
    const char *comment;
};

struct option_program {
    const char *name;
    const char *summary;                   /* "send messages", as in the man page's NAME */
    const char *const *synopsis;           /* without the program's name; ends with NULL */
    const char *description;               /* a paragraph for --help; may be NULL */
    const struct option_spec *options;     /* ends with an empty one */
    const struct option_rule *rules;       /* may be NULL */
    const struct option_verb *verbs;       /* may be NULL */
    const struct option_example *examples; /* three: -h prints them all */
    const char *operands;                  /* how rules and errors call them, "FILE"; NULL: takes none */
    enum option_completion operands_complete;
    bool takes_command; /* `-- COMMAND ARG...` */
};

struct options {
    const struct option_program *program;
    int verb;         /* an index into program->verbs, or -1 */
    char **arguments; /* its own */
    char **operands;  /* `operands_count` of them and a NULL; without the verb */
    size_t operands_count;
    char **command; /* argv of what follows `--`, ends with NULL; NULL when there is none */
    uint64_t given[2];
    struct option_list **lists;
    size_t lists_count;
};

enum { OPTIONS_GO = -1 };

/*
 * Parses argv into SETTINGS, which holds the defaults. OPTIONS_GO, or the code to exit with: what there was to say has
 * been said. OPTIONS is to be freed with options_free(), which also frees the lists in SETTINGS.
 */
int options_parse(const struct option_program *program, int argc, char **argv, void *settings, struct options *options);
void options_free(struct options *options);

/* Whether option NAME stood on the command line (not: in the environment). Also OPTION_OPERANDS, OPTION_COMMAND. */
bool options_given(const struct options *options, const char *name);

/* Tells what is wrong with the command line, "TOOL: ...", and returns 64. */
int options_wrong(const struct options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes what the table says, to OUT. */
void options_print_short_help(const struct option_program *program, FILE *out);
void options_print_help(const struct option_program *program, FILE *out);
void options_print_verb_help(const struct option_program *program, int verb, FILE *out); /* an index */
void options_print_mdoc(const struct option_program *program, FILE *out);
bool options_print_completion(const struct option_program *program, const char *shell, FILE *out);

/* -r, --relay, and --wait, which mean the same in every tool. */
#define OPTION_RELAY(type, member) OPTION_RELAY_OF(type, member, 0)
#define OPTION_RELAY_OF(type, member, verbs_)                                                                          \
    {                                                                                                                  \
        .name = "relay", .letter = 'r', .kind = OPTION_TEXT, .at = offsetof(type, member), .argument = "RELAY",        \
        .section = "Which relay", .environment = "MSGPIPE_RELAY", .verbs = verbs_,                                     \
        .completion = OPTION_COMPLETE_RELAY, .help = "the relay: a name or a URL (default: default)",                  \
        .man = "The relay: a name, or the address of one\n"                                                            \
               ".Pq Pa ipc:///path , tcp://host:port .\n"                                                              \
               "The default is the relay named\n"                                                                      \
               ".Ql default ."                                                                                         \
    }

#define OPTION_WAIT(type, member, what)                                                                                \
    {                                                                                                                  \
        .name = "wait", .kind = OPTION_DURATION, .at = offsetof(type, member), .argument = "TIME",                     \
        .section = "Which relay", .help = what                                                                         \
    }

/*
 * What the tools that take messages apart, or run commands for them, have in common. VERBS: as in struct option_spec.
 */
extern const char *const option_formats[]; /* in the order of enum format */
extern const char *const option_modes[];   /* each, batch */

/* -F of what is read. WHOLE: what one message of the format `whole` is; MORE: the end of the man text, or "". */
#define OPTION_INPUT_FORMAT(type, member, whole, more, verbs_)                                                         \
    {                                                                                                                  \
        .name = "format", .letter = 'F', .kind = OPTION_CHOICE, .at = offsetof(type, member), .argument = "FORMAT",    \
        .section = "Input", .choices = option_formats, .verbs = verbs_,                                                \
        .help = "lines (default), null, length, whole, json",                                                          \
        .man = "How the input is taken apart:\n.Cm lines\n(the default; one message a line),\n.Cm null\n"              \
               "(one up to each NUL),\n.Cm length\n(a 32-bit big-endian length before each),\n.Cm whole\n"             \
               "(" whole " is one message) or\n.Cm json\n(one CloudEvents JSON object a line, as\n.Xr mrecv 1\n"       \
               "prints it)." more                                                                                      \
    }

#define OPTION_KEY_SEPARATOR(type, member, section_, verbs_)                                                           \
    {                                                                                                                  \
        .name = "key-separator", .letter = 'K', .kind = OPTION_TEXT, .at = offsetof(type, member), .argument = "SEP",  \
        .section = section_, .verbs = verbs_, .help = "the key stands before SEP in each message",                     \
        .man = "The key stands in each message before the first\n.Ar SEP ;\nboth are taken off.\nA message without\n"  \
               ".Ar SEP\nhas no key."                                                                                  \
    }

#define OPTION_KEY_JSON(type, member, section_, verbs_)                                                                \
    {                                                                                                                  \
        .name = "key-json", .kind = OPTION_TEXT, .at = offsetof(type, member), .argument = "POINTER",                  \
        .section = section_, .verbs = verbs_, .help = "the key is the value at a JSON Pointer, /user/id",              \
        .man = "The key is the value at\n.Ar POINTER\n(a JSON Pointer, RFC 6901) in each message."                     \
    }

#define OPTION_ID_JSON(type, member, section_, verbs_)                                                                 \
    {                                                                                                                  \
        .name = "id-json", .kind = OPTION_TEXT, .at = offsetof(type, member), .argument = "POINTER",                   \
        .section = section_, .verbs = verbs_, .help = "each id is the value at a JSON Pointer"                         \
    }

/* WHO ends early and says how to go on: mdoc. */
#define OPTION_SKIP(type, member, who, verbs_)                                                                         \
    {                                                                                                                  \
        .name = "skip", .kind = OPTION_NUMBER, .at = offsetof(type, member), .argument = "N", .section = "Input",      \
        .verbs = verbs_, .help = "leave out the first N messages of the input",                                        \
        .man = "Leave out the first\n.Ar N\nmessages of the input.\nWhat" who "prints uses it to go on."               \
    }

#define OPTION_MAX_MESSAGE(type, member, section_, what, verbs_)                                                       \
    {                                                                                                                  \
        .name = "max-message", .kind = OPTION_SIZE, .at = offsetof(type, member), .argument = "SIZE",                  \
        .section = section_, .low = 1, .verbs = verbs_, .help = what                                                   \
    }

#define OPTION_SHELL(type, member, verbs_)                                                                             \
    {                                                                                                                  \
        .name = "shell", .kind = OPTION_TEXT, .at = offsetof(type, member), .argument = "STRING",                      \
        .section = "Commands", .verbs = verbs_, .help = "run STRING in a shell, as -- runs a COMMAND"                  \
    }

#define OPTION_WORKERS(type, member, verbs_)                                                                           \
    {                                                                                                                  \
        .name = "workers", .kind = OPTION_NUMBER, .at = offsetof(type, member), .argument = "N", .low = 1,             \
        .high = 1024, .section = "Commands", .verbs = verbs_, .help = "run up to N commands at once (default 1)"       \
    }

/* MORE: what becomes of a batch's messages, behind "its exit code is for all of them". */
#define OPTION_MODE(type, member, more, verbs_)                                                                        \
    {                                                                                                                  \
        .name = "mode", .kind = OPTION_CHOICE, .at = offsetof(type, member), .argument = "MODE",                       \
        .section = "Commands", .choices = option_modes, .verbs = verbs_,                                               \
        .help = "each (default): a command a message; batch: one for many",                                            \
        .man = "How messages meet commands:\n.Cm each\n(the default) runs a command for each message,\n.Cm batch\n"    \
               "one for as many as there are, up to\n.Fl \\-batch ;\nits exit code is for all of them" more "."        \
    }

#define OPTION_BATCH(type, member, most, verbs_)                                                                       \
    {                                                                                                                  \
        .name = "batch", .kind = OPTION_NUMBER, .at = offsetof(type, member), .argument = "N", .low = 1, .high = most, \
        .section = "Commands", .verbs = verbs_, .help = "give a command at most N messages (default 100)"              \
    }

/* WHAT: one line; THEN: what becomes of its messages. */
#define OPTION_TIMEOUT(type, member, section_, what, then, verbs_)                                                     \
    {                                                                                                                  \
        .name = "timeout", .kind = OPTION_DURATION, .at = offsetof(type, member), .argument = "TIME",                  \
        .section = section_, .verbs = verbs_, .help = what,                                                            \
        .man = "End a command that runs for longer, with all that it has started: SIGTERM,\nand 5 seconds later "      \
               "SIGKILL.\n" then                                                                                       \
    }

#endif
