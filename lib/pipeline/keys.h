/*
 * keys.h: what the declarations of keys (keys_*.c) share.
 */
#ifndef PIPELINE_KEYS_H
#define PIPELINE_KEYS_H

#include "pipeline/load.h"

/* How many pairs a mapping of names to things has; 0, and something was said, when it is none. */
size_t keys_named_count(struct load *load, const struct yaml_pair *pair);

/* Whether NAME can be that of a source, stage or sink (WHAT, "stage"); says why not. */
bool keys_name(struct load *load, const char *what, const struct yaml *name);

key_read keys_read_sources, keys_read_stages, keys_read_sinks, keys_read_tests;

/* `command`, `shell`, `directory`, `env`: into a struct pipeline_command. */
key_read keys_read_argv, keys_read_shell, keys_read_directory, keys_read_environment;
#define KEYS_ARGV_SCHEMA "{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":[\"string\",\"number\",\"boolean\"]}}"
#define KEYS_OF_COMMAND(member, what)                                                                                  \
    {.name = "command",                                                                                                \
     .kind = KEY_READ,                                                                                                 \
     .read = keys_read_argv,                                                                                           \
     .at = (member),                                                                                                   \
     .type = "a list of words",                                                                                        \
     .schema = KEYS_ARGV_SCHEMA,                                                                                       \
     .help = what ": the program and its arguments; no shell reads them",                                              \
     .example = "[./price.sh, --currency, USD]"},                                                                      \
        {.name = "shell",                                                                                              \
         .kind = KEY_READ,                                                                                             \
         .read = keys_read_shell,                                                                                      \
         .at = (member),                                                                                               \
         .type = "a text",                                                                                             \
         .schema = "{\"type\":\"string\"}",                                                                            \
         .help = what ", as a line for\n.Xr sh 1 ;\nvariables in it are the shell's",                                  \
         .example = "\"jq -c .\""},                                                                                    \
        {.name = "directory",                                                                                          \
         .kind = KEY_READ,                                                                                             \
         .read = keys_read_directory,                                                                                  \
         .at = (member),                                                                                               \
         .type = "a path",                                                                                             \
         .schema = "{\"type\":\"string\"}",                                                                            \
         .fallback = "that of the file",                                                                               \
         .help = "where the command runs",                                                                             \
         .example = "scripts"},                                                                                        \
    {                                                                                                                  \
        .name = "env", .kind = KEY_READ, .read = keys_read_environment, .at = (member),                                \
        .type = "a mapping of names to texts",                                                                         \
        .schema = "{\"type\":\"object\",\"additionalProperties\":{\"type\":[\"string\",\"number\",\"boolean\"]}}",     \
        .help = "variables that the command gets besides its own", .example = "{CURRENCY: USD}"                        \
    }

/* What they need beside them. */
#define RULES_OF_COMMAND                                                                                               \
    {"directory", true, {"command", "shell", NULL}, "it says where a command runs"},                                   \
    {                                                                                                                  \
        "env", true, {"command", "shell", NULL}, "it is for a command"                                                 \
    }

/* `body` and `data`, of which one is read by READER. */
#define KEYS_OF_BODY(reader, words, text, value)                                                                       \
    {.name = "body",                                                                                                   \
     .kind = KEY_READ,                                                                                                 \
     .read = (reader),                                                                                                 \
     .type = "a text",                                                                                                 \
     .schema = "{\"type\":[\"string\",\"number\",\"boolean\",\"null\"]}",                                              \
     .help = words,                                                                                                    \
     .example = text},                                                                                                 \
    {                                                                                                                  \
        .name = "data", .kind = KEY_READ, .read = (reader), .type = "any value", .schema = "true",                     \
        .help = "the same as JSON", .example = value                                                                   \
    }

/* A command as a list alone, into a struct pipeline_command at INTO. */
bool keys_argv(struct load *load, const char *key, const struct yaml *value, struct pipeline_command *into);

/* `pull`, `push` and the like: into a struct pipeline_socket; the key's name is the pattern's. */
key_read keys_read_socket;
extern const struct mapping socket_mapping, sub_mapping;

/* `steps`: into a struct stage_step pointer and the count behind it. */
key_read keys_read_steps;
/* `where`: conditions into a struct stage_where. */
key_read keys_read_where;
#define KEYS_WHERE_SCHEMA "{\"$ref\":\"#/$defs/where\"}"

/* Whether a name can be that of an attribute. The second says why not; `key` stands for partitionkey there. */
bool keys_is_attribute(const char *name, size_t size, struct fault *fault);
bool keys_attribute(struct load *load, const char *key, const struct yaml *name);

/* `to` and the like, into a struct pipeline_references. */
key_read keys_read_topics;

/* A body: `body` as text, `data` as JSON; *BODY is NULL when something was said. */
void keys_body(struct load *load, const struct yaml_pair *pair, const void **body, size_t *size);

/* The words of enum format, in its order, and "array" behind them. */
extern const char *const keys_formats[], *const keys_formats_array[];

#endif
