/* `stages:` and `sinks:`. */
#include "pipeline/keys.h"

#define AT(member) .at = offsetof(struct pipeline_stage, member)
#define GROUP(path, of_kind) .kind = (of_kind), .setting = (path), .group = true

/* ---- what both have --------------------------------------------------------------------------------------------- */

static const char *const backoff_words[] = {"exponential", "linear", "none", NULL};
static const struct key retry_keys[] = {
    {.name = "max_retries",
     GROUP("retry.max_retries", KEY_RETRIES),
     .fallback = "20",
     .help = "attempts beyond the first, or\n.Cm unlimited",
     .example = "5"},
    {.name = "backoff",
     GROUP("retry.backoff", KEY_CHOICE),
     .words = backoff_words,
     .fallback = "exponential",
     .help = "how the time between attempts grows: it doubles, it grows by the first each time, or it stays",
     .example = "linear"},
    {.name = "initial_interval",
     GROUP("retry.initial_interval", KEY_DURATION),
     .fallback = "100ms",
     .help = "the time before the first retry",
     .example = "1s"},
    {.name = "max_interval",
     GROUP("retry.max_interval", KEY_DURATION),
     .fallback = "1m",
     .help = "the longest time between attempts",
     .example = "30s"},
    {.name = "jitter",
     GROUP("retry.jitter", KEY_SHARE),
     .fallback = "0.2",
     .help = "the share by which each time differs by chance",
     .example = "0.5"},
    {0},
};
static const struct mapping retry_mapping = {.name = "retry",
                                             .what = "retry",
                                             .keys = retry_keys,
                                             .help = "A message whose command failed is tried again after a while."};

static void read_dead_letter(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_stage *stage = into;
    const struct key setting = {.name = key->name, .kind = KEY_TOPIC, .setting = "dead_letter", .group = true};
    if (read_value(load, &setting, &pair->value, &stage->group))
        stage->dead_letter = pair->value.place;
}

static const char *const order_words[] = {"none", "key", NULL};
static const char *const dead_words[] = {"continue", "hold", NULL};
static const char *const mode_words[] = {"each", "stream", "batch", NULL};
_Static_assert(STAGE_EACH == 0 && STAGE_STREAM == 1 && STAGE_BATCH == 2,
               "the words are in the order of enum stage_mode");

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
     .words = mode_words,                                                                                              \
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
        {.name = "batch",                                                                                              \
         .kind = KEY_COUNT32,                                                                                          \
         .low = 1,                                                                                                     \
         .high = 1000000,                                                                                              \
         AT(batch),                                                                                                    \
         .fallback = "1000",                                                                                           \
         .help = "messages for one process at most, in mode\n.Cm batch",                                               \
         .example = "500"},                                                                                            \
    {                                                                                                                  \
        .name = "timeout", .kind = KEY_DURATION, AT(timeout), .fallback = "0s",                                        \
        .help = "how long a run, or an answer of a stream, may take; 0: no limit", .example = "5s"                     \
    }

#define KEYS_OF_GROUP                                                                                                  \
    {.name = "order",                                                                                                  \
     GROUP("order", KEY_CHOICE),                                                                                       \
     .words = order_words,                                                                                             \
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
         .read = read_dead_letter,                                                                                     \
         .type = "a topic's name",                                                                                     \
         .schema = "{\"type\":\"string\"}",                                                                            \
         .fallback = "that of the message with .dead behind it",                                                       \
         .help = "the topic for messages that were given up",                                                          \
         .example = "orders.dead"},                                                                                    \
        {.name = "on_dead",                                                                                            \
         GROUP("on_dead", KEY_CHOICE),                                                                                 \
         .words = dead_words,                                                                                          \
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

/* ---- the circuit breaker ---------------------------------------------------------------------------------------- */

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
    {.name = "body",
     .kind = KEY_READ,
     .read = read_fallback_body,
     .type = "a text",
     .schema = "{\"type\":[\"string\",\"number\",\"boolean\",\"null\"]}",
     .help = "what is emitted for each message",
     .example = "\"not known\""},
    {.name = "data",
     .kind = KEY_READ,
     .read = read_fallback_body,
     .type = "any value",
     .schema = "true",
     .help = "the same as JSON",
     .example = "{\"price\": null}"},
    {.name = "to",
     .kind = KEY_TOPIC,
     BREAKER(to),
     .help = "the topic to which messages go as they are",
     .example = "orders.later"},
    {0},
};
static const struct key_rule fallback_rules[] = {
    {"directory", true, {"command", "shell", NULL}, "it says where a command runs"},
    {"env", true, {"command", "shell", NULL}, "it is for a command"},
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
static const struct mapping breaker_mapping = {
    .name = "circuit_breaker",
    .what = "a circuit breaker",
    .keys = breaker_keys,
    .begin = begin_breaker,
    .help = "A command that fails again and again is left alone for a time.",
};

/* ---- routes ----------------------------------------------------------------------------------------------------- */

static const struct key route_keys[] = {
    {.name = "where",
     .kind = KEY_READ,
     .read = keys_read_where,
     .at = offsetof(struct pipeline_route, where),
     .type = "conditions",
     .schema = KEYS_WHERE_SCHEMA,
     .fallback = "every message",
     .help = "which messages go there; see\n.Sx Conditions",
     .example = "{type: order.vip, region: [eu, us]}"},
    {.name = "to",
     .kind = KEY_TOPIC,
     .at = offsetof(struct pipeline_route, to),
     .required = true,
     .help = "the topic",
     .example = "orders.vip"},
    {0},
};
static const struct mapping route_mapping = {.name = "route",
                                             .what = "a route",
                                             .keys = route_keys,
                                             .help =
                                                 "The first route whose conditions hold takes the message; one that "
                                                 "none takes is a dead letter, for the reason\n.Cm unrouted ."};

static void read_routes(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_stage *stage = into;
    const struct yaml *value = &pair->value;
    if (value->kind != YAML_SEQUENCE || value->count == 0) {
        diagnose_error(load->diagnostics, &value->place, "%s: a list is needed, as [{where: …, to: TOPIC}], here is %s",
                       key->name, value->kind == YAML_SEQUENCE ? "an empty one" : yaml_words(value));
        return;
    }
    stage->routes = load_allocate(load, value->count, sizeof *stage->routes);
    for (size_t i = 0; i < value->count && stage->routes != NULL; i++) {
        const struct yaml *item = &value->items[i];
        if (i > 0 && stage->routes[i - 1].where.count == 0 && stage->routes[i - 1].to.topic != NULL &&
            yaml_get(&value->items[i - 1], "where") == NULL)
            diagnose_warning(load->diagnostics, &item->place,
                             "route: no message comes here: the one before takes all, it has no conditions");
        read_mapping(load, &route_mapping, &(struct yaml_pair){.key.text = "", .value = *item},
                     &stage->routes[stage->routes_count++]);
    }
}

/* ---- stages ----------------------------------------------------------------------------------------------------- */

static void begin_stage(struct load *load, const struct yaml_pair *pair, void *into)
{
    struct pipeline_stage *stage = into;
    (void)pair;
    settings_group_default(&stage->group);
    stage->command.directory = load->folder;
    stage->workers = 1;
    stage->batch = 1000;
}

static const struct yaml *value_of(const struct yaml_pair *pair, const char *key)
{
    const struct yaml_pair *found = yaml_get(&pair->value, key);
    return found != NULL ? &found->key : &pair->key;
}

/* The steps that make several messages of one, or one of several. */
static void check_steps(struct load *load, const struct yaml_pair *pair, const struct pipeline_stage *stage)
{
    bool command = yaml_get(&pair->value, "command") != NULL || yaml_get(&pair->value, "shell") != NULL;
    for (size_t i = 0; i < stage->steps_count; i++) {
        enum stage_step_kind kind = stage->steps[i].kind;
        const struct yaml *place = value_of(pair, "steps");
        if (kind != STAGE_STEP_SPLIT && kind != STAGE_STEP_AGGREGATE)
            continue;
        const char *name = kind == STAGE_STEP_SPLIT ? "split" : "aggregate";
        if (stage->sink)
            diagnose_error(load->diagnostics, &place->place, "%s: not in a sink: put it into a stage before it", name);
        else if (command)
            diagnose_error(load->diagnostics, &place->place,
                           "%s does not go with a command: put the command into the next stage", name);
        if (kind == STAGE_STEP_AGGREGATE && (stage->from.count != 1 || strpbrk(stage->from.all[0].topic, "*>") != NULL))
            if (stage->from.count > 1)
                diagnose_error(load->diagnostics, &value_of(pair, "from")->place,
                               "aggregate takes one topic, or one pattern, not a list");
        if (kind == STAGE_STEP_AGGREGATE && stage->group.order_by_key)
            diagnose_error(load->diagnostics, &value_of(pair, "order")->place,
                           "order: key hands out one message of a key at a time: a window of aggregate never fills");
    }
}

static void check_group(struct load *load, const struct yaml_pair *pair, struct pipeline_stage *stage)
{
    struct fault fault;
    if (settings_group_check(&stage->group, &fault))
        diagnose_error(load->diagnostics, &pair->key.place, "%s: %s", pair->key.text, fault.text);
    for (size_t i = 0; i < stage->from.count; i++)
        if (stage->dead_letter.line > 0 && strcmp(stage->group.dead_letter, stage->from.all[i].topic) == 0)
            diagnose_error(load->diagnostics, &stage->dead_letter,
                           "dead_letter: '%s' is what it takes: its dead letters would come back for ever",
                           stage->group.dead_letter);
}

static void check_work(struct load *load, const struct yaml_pair *pair, struct pipeline_stage *stage)
{
    if (yaml_get(&pair->value, "batch") != NULL && stage->mode != STAGE_BATCH && yaml_get(&pair->value, "mode") == NULL)
        diagnose_error(load->diagnostics, &value_of(pair, "batch")->place, "batch: it needs mode: batch");
    else if (yaml_get(&pair->value, "batch") != NULL && stage->mode != STAGE_BATCH)
        diagnose_error(load->diagnostics, &value_of(pair, "batch")->place, "batch: it needs mode: batch, not %s",
                       mode_words[stage->mode]);
    if (stage->mode == STAGE_STREAM && stage->format == FORMAT_WHOLE)
        diagnose_error(load->diagnostics, &value_of(pair, "format")->place,
                       "format: whole has no separator, and mode: stream needs one: lines, null, length or json");
    check_group(load, pair, stage);
    check_steps(load, pair, stage);
    stage->text = value_text(load, &pair->value);
}

static void end_stage(struct load *load, const struct yaml_pair *pair, void *into)
{
    struct pipeline_stage *stage = into;
    const struct yaml *value = &pair->value;
    bool command = yaml_get(value, "command") != NULL || yaml_get(value, "shell") != NULL;
    if (!command && yaml_get(value, "to") == NULL && yaml_get(value, "route") == NULL)
        diagnose_error(load->diagnostics, &pair->key.place,
                       "stage %s does nothing: it needs command, shell, to or route", pair->key.text);
    check_work(load, pair, stage);
}

static void read_to(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_references *to = into;
    if (pair->value.kind == YAML_SEQUENCE && pair->value.count != 1) {
        diagnose_error(load->diagnostics, &pair->value.place,
                       "to: one topic: several groups can take from it, and `route` chooses among topics");
        return;
    }
    to->all = load_allocate(load, 1, sizeof *to->all);
    if (to->all != NULL && read_reference(load, key->name, read_item(&pair->value, 0), NULL, to->all))
        to->count = 1;
}

static void read_cycle(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    const char *text = read_text(load, key->name, "allowed", &pair->value);
    *(bool *)into = text != NULL && strcmp(text, "allowed") == 0;
    if (text != NULL && strcmp(text, "allowed") != 0)
        diagnose_error(load->diagnostics, &pair->value.place, "cycle: only 'allowed' can stand here");
}

static const struct key stage_keys[] = {
    KEYS_OF_INPUT,
    KEYS_OF_COMMAND(offsetof(struct pipeline_stage, command), "what works on messages"),
    KEYS_OF_WORK,
    {.name = "format",
     .kind = KEY_CHOICE,
     .words = keys_formats,
     AT(format),
     .fallback = "lines",
     .help = "how messages stand in what the command reads and prints, see\n.Xr msgpipe 7",
     .example = "json"},
    {.name = "to",
     .kind = KEY_READ,
     .read = read_to,
     AT(to),
     .type = "a topic's name",
     .schema = "{\"type\":\"string\"}",
     .help = "the topic for what comes out; without it what a command prints is dropped",
     .example = "orders.priced"},
    {.name = "route",
     .kind = KEY_READ,
     .read = read_routes,
     .of = &route_mapping,
     .type = "a list of routes",
     .schema = "{\"type\":\"array\",\"minItems\":1,\"items\":%}",
     .help = "in the place of\n.Cm to :\nthe first route that matches says where to",
     .example = "[{where: {type: order.vip}, to: orders.vip}, {to: orders.bulk}]"},
    KEYS_OF_GROUP,
    {.name = "circuit_breaker",
     .kind = KEY_MAPPING,
     .of = &breaker_mapping,
     AT(breaker),
     .help = "what happens when the command fails again and again",
     .example = "{failures: 5, open: 30s}"},
    {.name = "cycle",
     .kind = KEY_READ,
     .read = read_cycle,
     AT(cycle_allowed),
     .type = "allowed",
     .schema = "{\"enum\":[\"allowed\"]}",
     .help = "what it emits may come back to it by way of other stages; else that is an error",
     .example = "allowed"},
    {0},
};

#define RULES_OF_COMMAND                                                                                               \
    {"command", false, {"shell", NULL}, "a list of words, or a line for the shell"},                                   \
        {"directory", true, {"command", "shell", NULL}, "it says where a command runs"},                               \
        {"env", true, {"command", "shell", NULL}, "it is for a command"},                                              \
        {"mode", true, {"command", "shell", NULL}, "it is for a command"},                                             \
        {"workers", true, {"command", "shell", NULL}, "they are processes of a command"},                              \
        {"batch", true, {"command", "shell", NULL}, "it is for a command"},                                            \
    {                                                                                                                  \
        "timeout", true, {"command", "shell", NULL}, "it is for a command"                                             \
    }

static const struct key_rule stage_rules[] = {
    RULES_OF_COMMAND,
    {"format", true, {"command", "shell", NULL}, "it is that of a command's input and output"},
    {"route", false, {"to", NULL}, "a last route without `where` takes the rest"},
    {"circuit_breaker", true, {"command", "shell", NULL}, "it looks after a command"},
    {0},
};

const struct mapping stage_mapping = {
    .name = "stage",
    .what = "a stage",
    .named = true,
    .keys = stage_keys,
    .rules = stage_rules,
    .begin = begin_stage,
    .end = end_stage,
    .help = "A stage's name is that of its group on each topic that it takes from.",
};

/* ---- sinks ------------------------------------------------------------------------------------------------------ */

static void begin_sink(struct load *load, const struct yaml_pair *pair, void *into)
{
    struct pipeline_stage *sink = into;
    begin_stage(load, pair, into);
    sink->sink = true;
}

static void read_file(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_stage *sink = into;
    const struct key path = {.name = key->name, .kind = KEY_PATH};
    sink->file_place = pair->value.place;
    (void)read_value(load, &path, &pair->value, &sink->file);
}

static void end_sink(struct load *load, const struct yaml_pair *pair, void *into)
{
    static const struct {
        const char *key;
        enum pipeline_end end;
    } ends[] = {{"file", PIPELINE_TO_FILE},    {"push", PIPELINE_TO_SOCKET},     {"pub", PIPELINE_TO_SOCKET},
                {"req", PIPELINE_TO_SOCKET},   {"pair", PIPELINE_TO_SOCKET},     {"pair1", PIPELINE_TO_SOCKET},
                {"bus", PIPELINE_TO_SOCKET},   {"surveyor", PIPELINE_TO_SOCKET}, {"command", PIPELINE_TO_COMMAND},
                {"shell", PIPELINE_TO_COMMAND}};
    struct pipeline_stage *sink = into;
    const struct yaml_pair *first = NULL;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const struct yaml_pair *found = yaml_get(&pair->value, ends[i].key);
        if (found != NULL && first != NULL && !(ends[i].end == PIPELINE_TO_COMMAND && sink->end == ends[i].end))
            diagnose_error(load->diagnostics, &found->key.place, "'%s' and '%s': a sink is one of them: make two sinks",
                           first->key.text, found->key.text);
        if (found == NULL || first != NULL)
            continue;
        first = found;
        sink->end = ends[i].end;
    }
    if (first == NULL)
        diagnose_error(load->diagnostics, &pair->key.place,
                       "sink %s needs one of file, command, shell, push, pub, req, pair, bus or surveyor",
                       pair->key.text);
    check_work(load, pair, sink);
}

#define SOCKET(pattern, words)                                                                                         \
    {                                                                                                                  \
        .name = (pattern), .kind = KEY_READ, .read = keys_read_socket, .of = &socket_mapping, AT(socket),              \
        .type = "a socket", .schema = "%", .help = words, .example = "{dial: \"tcp://127.0.0.1:7001\"}"                \
    }

static const struct key sink_keys[] = {
    KEYS_OF_INPUT,
    {.name = "file",
     .kind = KEY_READ,
     .read = read_file,
     .type = "a path",
     .schema = "{\"type\":\"string\"}",
     .help = "messages are appended to this file, and flushed to disk before they are settled",
     .example = "archive.ndjson"},
    {.name = "rotate",
     .kind = KEY_SIZE,
     AT(rotate),
     .fallback = "0",
     .help = "begin a new file after so many bytes; 0: never",
     .example = "64MiB"},
    {.name = "keep",
     .kind = KEY_COUNT32,
     .high = 1000000,
     AT(keep),
     .fallback = "0",
     .help = "so many rotated files are kept; 0: all",
     .example = "7"},
    KEYS_OF_COMMAND(offsetof(struct pipeline_stage, command), "what takes messages"),
    KEYS_OF_WORK,
    SOCKET("push", "each message to one of the\n.Cm pull\nsockets that are connected"),
    SOCKET("pub", "each message to all\n.Cm sub\nsockets that are connected"),
    SOCKET("req", "each message as a request; its answer settles it"),
    SOCKET("pair", "each message to the other\n.Cm pair\nsocket"),
    SOCKET("pair1", "each message to the other\n.Cm pair\nsocket, in version 1 of the protocol"),
    SOCKET("bus", "each message to all others on the bus"),
    SOCKET("surveyor", "each message as a survey"),
    {.name = "format",
     .kind = KEY_CHOICE,
     .words = keys_formats,
     AT(format),
     .fallback = "lines",
     .help = "how messages stand in the file, or in what the command reads",
     .example = "json"},
    KEYS_OF_GROUP,
    {.name = "circuit_breaker",
     .kind = KEY_MAPPING,
     .of = &breaker_mapping,
     AT(breaker),
     .help = "what happens when the command fails again and again",
     .example = "{failures: 5, open: 30s}"},
    {0},
};

static const struct key_rule sink_rules[] = {
    RULES_OF_COMMAND,
    {"format",
     false,
     {"push", "pub", "req", "pair", "pair1", "bus", "surveyor", NULL},
     "a socket sends each message as it is"},
    {"rotate", true, {"file", NULL}, "it is for a file"},
    {"keep", true, {"rotate", NULL}, "it says how many rotated files stay"},
    {"circuit_breaker", true, {"command", "shell", NULL}, "it looks after a command"},
    {0},
};

const struct mapping sink_mapping = {
    .name = "sink",
    .what = "a sink",
    .named = true,
    .keys = sink_keys,
    .rules = sink_rules,
    .begin = begin_sink,
    .end = end_sink,
    .help = "One of\n.Cm file , command , shell\nand the sockets says where messages go.\nA sink reaches outside, so "
            "it gets a message at least once: again after a failure.",
};

/* ---- both in one array: stages, then sinks ---------------------------------------------------------------------- */

static void read_stages(struct load *load, const struct yaml_pair *pair, const struct mapping *mapping,
                        const char *what)
{
    struct pipeline *pipeline = load->pipeline;
    size_t count = keys_named_count(load, pair), before = pipeline->stages_count;
    struct pipeline_stage *all = load_allocate(load, before + count, sizeof *all);
    if (all == NULL)
        return;
    if (before > 0)
        memcpy(all, pipeline->stages, before * sizeof *all);
    pipeline->stages = all;
    for (size_t i = 0; i < count && !load->no_memory; i++) {
        const struct yaml *name = &pair->value.pairs[i].key;
        struct pipeline_stage *stage = &all[pipeline->stages_count];
        if (!keys_name(load, what, name))
            continue;
        stage->name = name->text;
        stage->place = name->place;
        pipeline->stages_count++;
        read_mapping(load, mapping, &pair->value.pairs[i], stage);
    }
}

void keys_read_stages(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    (void)key;
    (void)into;
    read_stages(load, pair, &stage_mapping, "stage");
}

void keys_read_sinks(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    (void)key;
    (void)into;
    read_stages(load, pair, &sink_mapping, "sink");
}
