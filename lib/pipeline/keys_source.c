/* `sources:`: what feeds topics from outside. */
#include "pipeline/keys.h"

#include "policy/cron.h"

#define AT(member) .at = offsetof(struct pipeline_source, member)

/* The keys of which one says what a source is, in the order of the manual. */
#define SOCKETS "pull", "sub", "rep", "pair", "pair1", "bus", "respondent"

static void begin_source(struct load *load, const struct yaml_pair *pair, void *into)
{
    struct pipeline_source *source = into;
    (void)pair;
    source->command.directory = load->folder;
    source->restart = PIPELINE_ON_FAILURE;
    source->follow = false;
}

static void read_source_body(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_source *source = into;
    (void)key;
    keys_body(load, pair, &source->body, &source->body_size);
}

static void read_cron(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    const char *text = read_text(load, key->name, key->type, &pair->value);
    struct cron cron;
    struct fault fault;
    if (text != NULL && cron_parse(text, &cron, &fault))
        diagnose_error(load->diagnostics, &pair->value.place, "cron: %s", fault.text);
    *(const char **)into = text;
}

static void one_kind(struct load *load, const struct yaml_pair *pair, struct pipeline_source *source)
{
    static const struct {
        const char *key;
        enum pipeline_source_kind kind;
    } kinds[] = {
        {"every", PIPELINE_EVERY},       {"cron", PIPELINE_CRON},       {"file", PIPELINE_FILE},
        {"pull", PIPELINE_SOCKET},       {"sub", PIPELINE_SOCKET},      {"rep", PIPELINE_SOCKET},
        {"pair", PIPELINE_SOCKET},       {"pair1", PIPELINE_SOCKET},    {"bus", PIPELINE_SOCKET},
        {"respondent", PIPELINE_SOCKET}, {"command", PIPELINE_COMMAND}, {"shell", PIPELINE_COMMAND},
    };
    const struct yaml_pair *first = NULL;
    bool meant = false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        meant = meant || read_is_meant(load, kinds[i].key);
        const struct yaml_pair *found = yaml_get(&pair->value, kinds[i].key);
        bool timed = first != NULL && (source->kind == PIPELINE_EVERY || source->kind == PIPELINE_CRON);
        if (found == NULL || (kinds[i].kind == PIPELINE_COMMAND && timed))
            continue;
        if (first == NULL) {
            first = found;
            source->kind = kinds[i].kind;
        } else if (!(kinds[i].kind == PIPELINE_COMMAND && source->kind == PIPELINE_COMMAND)) {
            diagnose_error(load->diagnostics, &found->key.place,
                           "'%s' and '%s': a source is one of them: make two sources", first->key.text,
                           found->key.text);
        }
    }
    if (first == NULL && !meant)
        diagnose_error(load->diagnostics, &pair->key.place,
                       "source %s needs one of command, shell, every, cron, file, pull, sub, rep, pair, bus or "
                       "respondent",
                       pair->key.text);
}

static void end_source(struct load *load, const struct yaml_pair *pair, void *into)
{
    struct pipeline_source *source = into;
    const struct yaml *value = &pair->value;
    one_kind(load, pair, source);
    bool timed = source->kind == PIPELINE_EVERY || source->kind == PIPELINE_CRON;
    bool content = yaml_get(value, "body") != NULL || yaml_get(value, "data") != NULL;
    bool command = yaml_get(value, "command") != NULL || yaml_get(value, "shell") != NULL;
    if (timed && !content && !command)
        diagnose_error(load->diagnostics, &pair->key.place,
                       "source %s needs something to send: body, data, command or shell", pair->key.text);
    if (timed && content && command)
        diagnose_error(load->diagnostics, &pair->key.place,
                       "source %s: a body does not go with a command, whose output is sent", pair->key.text);
    if (timed && yaml_get(value, "format") != NULL && !command)
        diagnose_error(load->diagnostics, &yaml_get(value, "format")->key.place,
                       "format: a body is one message as it is: 'format' is for the output of commands");
    if (timed && yaml_get(value, "restart") != NULL)
        diagnose_error(load->diagnostics, &yaml_get(value, "restart")->key.place,
                       "restart: the time begins this command, 'every' or 'cron' says when");
    for (size_t i = 0; i < source->steps_count; i++)
        if (source->steps[i].kind == STAGE_STEP_AGGREGATE)
            diagnose_error(load->diagnostics, &yaml_get(value, "steps")->key.place,
                           "aggregate: not in a source: put it into a stage behind it");
    source->text = value_text(load, value);
}

static const char *const restart_words[] = {"on-failure", "always", "never", NULL};

#define SOCKET(pattern, words, keys)                                                                                   \
    {                                                                                                                  \
        .name = (pattern), .kind = KEY_READ, .read = keys_read_socket, .of = (keys), AT(socket), .type = "a socket",   \
        .schema = "%", .help = words, .example = "{listen: \"tcp://127.0.0.1:7001\"}"                                  \
    }

static const struct key source_keys[] = {
    KEYS_OF_COMMAND(offsetof(struct pipeline_source, command), "each message is a piece of its output"),
    {.name = "every",
     .kind = KEY_DURATION,
     .low = 1000,
     AT(every),
     .help = "a message, or the output of a command, so often",
     .example = "10s"},
    {.name = "cron",
     .kind = KEY_READ,
     .read = read_cron,
     AT(cron),
     .type = "five fields",
     .schema = "{\"type\":\"string\"}",
     .help =
         "a message, or the output of a command, at these local times: minute, hour, day, month, day of the week, "
         "as in\n.Xr crontab 5 ,\nor\n.Ql @hourly , @daily , @weekly , @monthly , @yearly .\n"
         "What falls into an hour that the clock skips comes once behind it; what falls into one that it repeats comes "
         "in the first, unless it comes in every hour",
     .example = "\"*/5 * * * *\""},
    {.name = "file",
     .kind = KEY_PATH,
     AT(file),
     .help = "each message is a piece of this file",
     .example = "orders.ndjson"},
    SOCKET("pull", "what\n.Cm push\nsockets send", &socket_mapping),
    SOCKET("sub", "what\n.Cm pub\nsockets send", &sub_mapping),
    SOCKET("rep", "requests; the answer says that they are stored", &socket_mapping),
    SOCKET("pair", "what the other\n.Cm pair\nsocket sends", &socket_mapping),
    SOCKET("pair1", "what the other\n.Cm pair\nsocket sends, in version 1 of the protocol", &socket_mapping),
    SOCKET("bus", "what all others on the bus send", &socket_mapping),
    SOCKET("respondent", "surveys; the answer says that they are stored", &socket_mapping),
    {.name = "to",
     .kind = KEY_TOPIC,
     AT(to),
     .required = true,
     .help = "the topic that it feeds",
     .example = "orders.new"},
    {.name = "format",
     .kind = KEY_CHOICE,
     .words = keys_formats,
     AT(format),
     .fallback = "lines",
     .help = "how messages stand in the input, see\n.Xr msgpipe 7",
     .example = "json"},
    {.name = "restart",
     .kind = KEY_CHOICE,
     .words = restart_words,
     AT(restart),
     .fallback = "on-failure",
     .help = "whether a command that ended is started again, after a while that doubles up to 30 seconds",
     .example = "always"},
    {.name = "follow",
     .kind = KEY_FLAG,
     AT(follow),
     .fallback = "false",
     .help = "go on at the end of the file as it grows, and when another takes its place",
     .example = "true"},
    KEYS_OF_BODY(read_source_body, "what\n.Cm every\nand\n.Cm cron\nsend", "tick", "{\"kind\": \"tick\"}"),
    {.name = "steps",
     .kind = KEY_READ,
     .read = keys_read_steps,
     .of = &step_mapping,
     AT(steps),
     .type = "a list of steps",
     .schema = "{\"type\":\"array\",\"items\":%}",
     .help = "what is done to each message before it is sent: all steps but\n.Cm aggregate",
     .example = "[{set: {type: order.new}}]"},
    {0},
};

_Static_assert(offsetof(struct pipeline_source, steps_count) - offsetof(struct pipeline_source, steps) ==
                       offsetof(struct pipeline_stage, steps_count) - offsetof(struct pipeline_stage, steps) &&
                   offsetof(struct pipeline_source, steps_count) - offsetof(struct pipeline_source, steps) ==
                       sizeof(struct stage_step *),
               "the count stands behind the steps");

static const struct key_rule source_rules[] = {
    {"command", false, {"shell", NULL}, "a list of words, or a line for the shell"},
    RULES_OF_COMMAND,
    {"restart", true, {"command", "shell", NULL}, "it is for a command"},
    {"follow", true, {"file", NULL}, "it is for a file"},
    {"body", true, {"every", "cron", NULL}, "they say when it is sent"},
    {"data", true, {"every", "cron", NULL}, "they say when it is sent"},
    {"body", false, {"data", NULL}, "a text, or a value as JSON"},
    {"format", false, {SOCKETS, NULL}, "what a socket receives is a message each"},
    {0},
};

const struct mapping source_mapping = {
    .name = "source",
    .what = "a source",
    .named = true,
    .keys = source_keys,
    .rules = source_rules,
    .begin = begin_source,
    .end = end_source,
    .help = "One of\n.Cm command , shell , every , cron , file\nand the sockets says what it is.",
};

void keys_read_sources(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline *pipeline = load->pipeline;
    size_t count = keys_named_count(load, pair);
    (void)key;
    (void)into;
    pipeline->sources = load_allocate(load, count, sizeof *pipeline->sources);
    for (size_t i = 0; i < count && !load->no_memory; i++) {
        const struct yaml *name = &pair->value.pairs[i].key;
        struct pipeline_source *source = &pipeline->sources[pipeline->sources_count];
        if (!keys_name(load, "source", name))
            continue;
        source->name = name->text;
        source->place = name->place;
        pipeline->sources_count++;
        read_mapping(load, &source_mapping, &pair->value.pairs[i], source);
    }
}
