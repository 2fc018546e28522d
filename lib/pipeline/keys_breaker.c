/* `circuit_breaker:` of stages and sinks. */
#include "pipeline/keys.h"

#define BREAKER(member) .at = offsetof(struct pipeline_breaker, member)

static void read_fallback_body(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_breaker *breaker = into;
    (void)key;
    keys_body(load, pair, &breaker->body, &breaker->body_size);
}

static void end_fallback(struct load *load, const struct yaml_pair *pair, void *into)
{
    static const struct {
        const char *key;
        enum pipeline_fallback kind;
    } kinds[] = {{"command", PIPELINE_FALLBACK_COMMAND},
                 {"shell", PIPELINE_FALLBACK_COMMAND},
                 {"body", PIPELINE_FALLBACK_BODY},
                 {"data", PIPELINE_FALLBACK_BODY},
                 {"to", PIPELINE_FALLBACK_TOPIC}};
    struct pipeline_breaker *breaker = into;
    unsigned found = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (yaml_get(&pair->value, kinds[i].key) != NULL) {
            breaker->fallback = kinds[i].kind;
            found++;
        }
    if (found != 1)
        diagnose_error(load->diagnostics, &pair->key.place,
                       "a fallback is one of command, shell, body, data and to: here %s",
                       found == 0 ? "is none of them" : "are several");
}

static const struct key fallback_keys[] = {
    KEYS_OF_COMMAND(offsetof(struct pipeline_breaker, command), "what is done in place of the stage's command"),
    KEYS_OF_BODY(read_fallback_body, "what is emitted for each message", "\"not known\"", "{\"price\": null}"),
    {.name = "to",
     .kind = KEY_TOPIC,
     BREAKER(to),
     .help = "the topic to which messages go as they are",
     .example = "orders.later"},
    {0},
};
static const struct key_rule fallback_rules[] = {
    RULES_OF_COMMAND,
    {0},
};
static const struct mapping fallback_mapping = {.name = "fallback",
                                                .what = "a fallback",
                                                .keys = fallback_keys,
                                                .rules = fallback_rules,
                                                .end = end_fallback,
                                                .help = "What becomes of messages while a circuit breaker is open."};

static void read_fallback(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_breaker *breaker = into;
    breaker->command.directory = load->folder;
    if (pair->value.kind == YAML_MAPPING)
        read_mapping(load, &fallback_mapping, pair, into);
    else if (keys_argv(load, key->name, &pair->value, &breaker->command))
        breaker->fallback = PIPELINE_FALLBACK_COMMAND;
}

static void begin_breaker(struct load *load, const struct yaml_pair *pair, void *into)
{
    (void)load;
    (void)pair;
    *(struct pipeline_breaker *)into = (struct pipeline_breaker){.set = true, .failures = 5, .open = 30000000};
}

static const struct key breaker_keys[] = {
    {.name = "failures",
     .kind = KEY_COUNT32,
     .low = 1,
     .high = 1000000,
     BREAKER(failures),
     .fallback = "5",
     .help = "so many failures open it: in a row, or within\n.Cm interval",
     .example = "3"},
    {.name = "interval",
     .kind = KEY_DURATION,
     BREAKER(interval),
     .fallback = "0s",
     .help = "the time within which failures count; 0: those in a row",
     .example = "10s"},
    {.name = "open",
     .kind = KEY_DURATION,
     .low = 1000,
     BREAKER(open),
     .fallback = "30s",
     .help = "how long it stays open before one message tries",
     .example = "1m"},
    {.name = "fallback",
     .kind = KEY_READ,
     .read = read_fallback,
     .of = &fallback_mapping,
     .type = "a list of words, or a mapping",
     .schema = "{\"anyOf\":[" KEYS_ARGV_SCHEMA ",%]}",
     .help = "what becomes of messages while it is open; without one they wait",
     .example = "[./price-cached.sh]"},
    {0},
};
const struct mapping breaker_mapping = {
    .name = "circuit_breaker",
    .what = "a circuit breaker",
    .keys = breaker_keys,
    .begin = begin_breaker,
    .help = "A command that fails again and again is left alone for a time.",
};
