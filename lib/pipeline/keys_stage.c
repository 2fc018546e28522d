/* `stages:`, and what sinks have in common with them. */
#include "pipeline/keys_stage.h"

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
const struct mapping retry_mapping = {.name = "retry",
                                      .what = "retry",
                                      .keys = retry_keys,
                                      .help = "A message whose command failed is tried again after a while."};

void keys_read_dead_letter(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_stage *stage = into;
    const struct key setting = {.name = key->name, .kind = KEY_TOPIC, .setting = "dead_letter", .group = true};
    if (read_value(load, &setting, &pair->value, &stage->group))
        stage->dead_letter = pair->value.place;
}

const char *const keys_orders[] = {"none", "key", NULL};
const char *const keys_on_dead[] = {"continue", "hold", NULL};
const char *const keys_modes[] = {"each", "stream", "batch", NULL};
_Static_assert(STAGE_EACH == 0 && STAGE_STREAM == 1 && STAGE_BATCH == 2,
               "the words are in the order of enum stage_mode");

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

void keys_begin_stage(struct load *load, const struct yaml_pair *pair, void *into)
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
        if (kind == STAGE_STEP_AGGREGATE && stage->from.count > 1)
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

void keys_end_work(struct load *load, const struct yaml_pair *pair, struct pipeline_stage *stage)
{
    if (yaml_get(&pair->value, "batch") != NULL && stage->mode != STAGE_BATCH && yaml_get(&pair->value, "mode") == NULL)
        diagnose_error(load->diagnostics, &value_of(pair, "batch")->place, "batch: it needs mode: batch");
    else if (yaml_get(&pair->value, "batch") != NULL && stage->mode != STAGE_BATCH)
        diagnose_error(load->diagnostics, &value_of(pair, "batch")->place, "batch: it needs mode: batch, not %s",
                       keys_modes[stage->mode]);
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
    static const char *const needed[] = {"command", "shell", "to", "route"};
    bool has_one = false;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        has_one = has_one || yaml_get(value, needed[i]) != NULL || read_is_meant(load, needed[i]);
    if (!has_one)
        diagnose_error(load->diagnostics, &pair->key.place,
                       "stage %s does nothing: it needs command, shell, to or route", pair->key.text);
    keys_end_work(load, pair, stage);
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
    KEY_OF_TIMEOUT("how long a run, or an answer of a stream, may take; 0: no limit"),
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
    KEY_OF_BREAKER,
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

static const struct key_rule stage_rules[] = {
    RULES_OF_WORK,
    {"timeout", true, {"command", "shell", NULL}, "it is for a command"},
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
    .begin = keys_begin_stage,
    .end = end_stage,
    .help = "A stage's name is that of its group on each topic that it takes from.",
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
