/*
 * keys_stage.h: what the declarations of stages and of sinks share: the keys of what they take, of the command that works
 * on it, and of their group.
 */
#ifndef PIPELINE_KEYS_STAGE_H
#define PIPELINE_KEYS_STAGE_H

#include "pipeline/keys.h"

#define AT(member) .at = offsetof(struct pipeline_stage, member)
#define GROUP(path, of_kind) .kind = (of_kind), .setting = (path), .group = true

extern const struct mapping retry_mapping, breaker_mapping;
extern const char *const keys_orders[], *const keys_on_dead[], *const keys_modes[];
key_read keys_read_dead_letter;

/* The defaults, and what is checked at last. */
void keys_begin_stage(struct load *load, const struct yaml_pair *pair, void *into);
void keys_end_work(struct load *load, const struct yaml_pair *pair, struct pipeline_stage *stage);

#define KEYS_OF_INPUT                                                                                                  \
    {.name = "from",                                                                                                   \
     .kind = KEY_READ,                                                                                                 \
     .read = keys_read_topics,                                                                                         \
     AT(from),                                                                                                         \
     .required = true,                                                                                                 \
     .type = "a topic, a pattern, or a list of them",                                                                  \
     .schema =                                                                                                         \
         "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"string\"}}]}",    \
     .help = "what it takes; in patterns\n.Cm *\nis one word,\n.Cm >\nthe rest",                                       \
     .example = "orders.new"},                                                                                         \
    {                                                                                                                  \
        .name = "steps", .kind = KEY_READ, .read = keys_read_steps, .of = &step_mapping, AT(steps),                    \
        .type = "a list of steps", .schema = "{\"type\":\"array\",\"items\":%}",                                       \
        .help = "what is done to each message first, in this order, without a process",                                \
        .example = "[{where: {type: order.*}}]"                                                                        \
    }

#define KEYS_OF_WORK                                                                                                   \
    {.name = "mode",                                                                                                   \
     .kind = KEY_CHOICE,                                                                                               \
     .words = keys_modes,                                                                                              \
     AT(mode),                                                                                                         \
     .fallback = "each",                                                                                               \
     .help = "how the command meets messages: a process a message; one process, a line in and a line out; a process "  \
             "a batch",                                                                                                \
     .example = "stream"},                                                                                             \
        {.name = "workers",                                                                                            \
         .kind = KEY_COUNT32,                                                                                          \
         .low = 1,                                                                                                     \
         .high = 1024,                                                                                                 \
         AT(workers),                                                                                                  \
         .fallback = "1",                                                                                              \
         .help = "processes at once",                                                                                  \
         .example = "4"},                                                                                              \
    {                                                                                                                  \
        .name = "batch", .kind = KEY_COUNT32, .low = 1, .high = 1000000, AT(batch), .fallback = "1000",                \
        .help = "messages for one process at most, in mode\n.Cm batch", .example = "500"                               \
    }

#define KEY_OF_TIMEOUT(words)                                                                                          \
    {                                                                                                                  \
        .name = "timeout", .kind = KEY_DURATION, AT(timeout), .fallback = "0s", .help = words, .example = "5s"         \
    }

#define KEYS_OF_GROUP                                                                                                  \
    {.name = "order",                                                                                                  \
     GROUP("order", KEY_CHOICE),                                                                                       \
     .words = keys_orders,                                                                                             \
     AT(group),                                                                                                        \
     .fallback = "none",                                                                                               \
     .help = "\n.Cm key :\nof one key one message at a time, in their order",                                          \
     .example = "key"},                                                                                                \
        {.name = "retry",                                                                                              \
         .kind = KEY_MAPPING,                                                                                          \
         .of = &retry_mapping,                                                                                         \
         AT(group),                                                                                                    \
         .help = "when and how often a message is tried again",                                                        \
         .example = "{max_retries: 5, initial_interval: 100ms}"},                                                      \
        {.name = "dead_letter",                                                                                        \
         .kind = KEY_READ,                                                                                             \
         .read = keys_read_dead_letter,                                                                                \
         .type = "a topic's name",                                                                                     \
         .schema = "{\"type\":\"string\"}",                                                                            \
         .fallback = "that of the message with .dead behind it",                                                       \
         .help = "the topic for messages that were given up",                                                          \
         .example = "orders.dead"},                                                                                    \
        {.name = "on_dead",                                                                                            \
         GROUP("on_dead", KEY_CHOICE),                                                                                 \
         .words = keys_on_dead,                                                                                        \
         AT(group),                                                                                                    \
         .fallback = "continue",                                                                                       \
         .help = "\n.Cm hold :\na dead message holds back those of its key",                                           \
         .example = "hold"},                                                                                           \
        {.name = "max_in_flight",                                                                                      \
         GROUP("max_in_flight", KEY_COUNT32),                                                                          \
         AT(group),                                                                                                    \
         .fallback = "0",                                                                                              \
         .help = "so many messages are taken at a time; 0: no limit",                                                  \
         .example = "100"},                                                                                            \
        {.name = "rate",                                                                                               \
         GROUP("rate", KEY_RATE),                                                                                      \
         AT(group),                                                                                                    \
         .fallback = "0",                                                                                              \
         .help = "so many messages are taken, by all who share the work; 0: no limit",                                 \
         .example = "500/s"},                                                                                          \
    {                                                                                                                  \
        .name = "expire", GROUP("expire", KEY_DURATION), AT(group), .fallback = "0s",                                  \
        .help = "the group goes when nobody used it for so long; 0: never", .example = "30d"                           \
    }

#define KEY_OF_BREAKER                                                                                                 \
    {                                                                                                                  \
        .name = "circuit_breaker", .kind = KEY_MAPPING, .of = &breaker_mapping, AT(breaker),                           \
        .help = "what happens when the command fails again and again", .example = "{failures: 5, open: 30s}"           \
    }

#define RULES_OF_WORK                                                                                                  \
    {"command", false, {"shell", NULL}, "a list of words, or a line for the shell"}, RULES_OF_COMMAND,                 \
        {"mode", true, {"command", "shell", NULL}, "it is for a command"},                                             \
        {"workers", true, {"command", "shell", NULL}, "they are processes of a command"},                              \
    {                                                                                                                  \
        "batch", true, {"command", "shell", NULL}, "it is for a command"                                               \
    }

#endif
