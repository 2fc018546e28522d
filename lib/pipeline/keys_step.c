/* `steps:`: each a mapping of one key, its kind; and conditions. */
#include "pipeline/keys.h"

#define AT(member) .at = offsetof(struct stage_step, member)

/* ---- pairs and names --------------------------------------------------------------------------------------------- */

static const struct yaml *mapping_of(struct load *load, const struct key *key, const struct yaml_pair *pair)
{
    if (pair->value.kind == YAML_MAPPING && pair->value.count > 0)
        return &pair->value;
    diagnose_error(load->diagnostics, &pair->value.place, "%s: %s is needed, as %s, here is %s", key->name, key->type,
                   key->example, pair->value.kind == YAML_MAPPING ? "an empty mapping" : yaml_words(&pair->value));
    return NULL;
}

static void read_set(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct stage_step *step = into;
    const struct yaml *mapping = mapping_of(load, key, pair);
    step->kind = STAGE_STEP_SET;
    step->pairs = mapping != NULL ? load_allocate(load, mapping->count, sizeof *step->pairs) : NULL;
    for (size_t i = 0; step->pairs != NULL && i < mapping->count; i++) {
        const struct yaml *name = &mapping->pairs[i].key, *value = &mapping->pairs[i].value;
        struct format_template *template;
        struct fault fault;
        const char *text =
            value->kind == YAML_SCALAR && value->quoted && value->size == 0
                ? ""
                : read_text(load, name->text, "a text, in which %{NAME} stands for an attribute,", value);
        if (!keys_attribute(load, key->name, name) || text == NULL)
            continue;
        if (format_template_parse(text, &template, &fault))
            diagnose_error(load->diagnostics, &value->place, "%s: %s", name->text, fault.text);
        else
            format_template_free(template);
        step->pairs[step->pairs_count++] = (struct stage_pair){.name = name->text, .value = text};
    }
}

/* What gets the name that TEXT says, too; NULL: nothing. `key` is another word for partitionkey. */
static const struct stage_pair *renamed_to(const struct stage_step *step, const char *text)
{
    static const char key[] = "key", attribute[] = "partitionkey";
    const char *name = strcmp(text, key) == 0 ? attribute : text;
    for (size_t i = 0; i < step->pairs_count; i++) {
        const char *other = strcmp(step->pairs[i].value, key) == 0 ? attribute : step->pairs[i].value;
        if (strcmp(other, name) == 0)
            return &step->pairs[i];
    }
    return NULL;
}

static void read_rename(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct stage_step *step = into;
    const struct yaml *mapping = mapping_of(load, key, pair);
    step->kind = STAGE_STEP_RENAME;
    step->pairs = mapping != NULL ? load_allocate(load, mapping->count, sizeof *step->pairs) : NULL;
    for (size_t i = 0; step->pairs != NULL && i < mapping->count; i++) {
        const struct yaml *name = &mapping->pairs[i].key, *value = &mapping->pairs[i].value;
        const char *text = read_text(load, name->text, "the new name", value);
        if (text == NULL)
            continue;
        struct yaml renamed = {.text = text, .size = strlen(text), .place = value->place};
        if (!keys_attribute(load, key->name, name) || !keys_attribute(load, key->name, &renamed))
            continue;
        const struct stage_pair *other = renamed_to(step, text);
        if (other != NULL)
            diagnose_error(load->diagnostics, &value->place,
                           "rename: '%s' and '%s' both become '%s': one would be lost: give them two names",
                           other->name, name->text, text);
        else
            step->pairs[step->pairs_count++] = (struct stage_pair){.name = name->text, .value = text};
    }
}

/* A name, or a list of them. CHECK: they must be those of attributes. */
static void read_names(struct load *load, const char *key, const struct yaml *value, bool check,
                       struct stage_step *step)
{
    size_t count = read_count(value);
    const char **names = load_allocate(load, count, sizeof *names);
    if (count == 0)
        diagnose_error(load->diagnostics, &value->place, "%s: the list is empty: name an attribute", key);
    for (size_t i = 0; names != NULL && i < count; i++) {
        const struct yaml *item = read_item(value, i);
        const char *text = read_text(load, key, "an attribute's name", item);
        if (text == NULL)
            continue;
        struct yaml name = {.text = text, .size = strlen(text), .place = item->place};
        if (!check || keys_attribute(load, key, &name))
            names[step->names_count++] = text;
    }
    step->names = names;
}

static void read_remove(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct stage_step *step = into;
    step->kind = STAGE_STEP_REMOVE;
    read_names(load, key->name, &pair->value, true, step);
}

/* ---- steps with keys of their own --------------------------------------------------------------------------------- */

static void read_rate_limit(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct stage_step *step = into;
    const struct key rate = {.name = key->name, .kind = KEY_RATE};
    step->kind = STAGE_STEP_RATE_LIMIT;
    (void)read_value(load, &rate, &pair->value, &step->rate);
}

static void read_log_names(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    read_names(load, key->name, &pair->value, false, into);
}

static const struct key log_keys[] = {
    {.name = "attributes",
     .kind = KEY_READ,
     .read = read_log_names,
     .type = "a name, or a list of them",
     .schema = "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"type\":\"string\"}}]}",
     .fallback = "[id, topic, key, size]",
     .help = "what of a message is logged: attributes, and\n.Cm topic , key , body , size , attempt",
     .example = "[id, type, size]"},
    {.name = "sample",
     .kind = KEY_COUNT,
     .low = 1,
     AT(sample),
     .fallback = "1",
     .help = "one message of so many is logged",
     .example = "100"},
    {0},
};
static const struct mapping log_mapping = {
    .name = "log", .what = "log", .keys = log_keys, .help = "A line of the log for a message."};

static void default_names(struct stage_step *step)
{
    static const char *const names[] = {"id", "topic", "key", "size"};
    if (step->names_count == 0) {
        step->names = names;
        step->names_count = sizeof names / sizeof *names;
    }
}

static void read_log(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct stage_step *step = into;
    step->kind = STAGE_STEP_LOG;
    step->sample = 1;
    if (pair->value.kind == YAML_MAPPING)
        read_mapping(load, &log_mapping, pair, step);
    else if (!read_is_nothing(&pair->value))
        read_names(load, key->name, &pair->value, false, step);
    default_names(step);
}

static const struct key dedupe_keys[] = {
    {.name = "by",
     .kind = KEY_TEXT,
     AT(by),
     .fallback = "id",
     .help = "what makes two messages the same:\n.Cm id , key\nor an attribute",
     .example = "key"},
    {.name = "window",
     .kind = KEY_DURATION,
     .low = 1000,
     AT(window),
     .fallback = "10m",
     .help = "how long a message is remembered",
     .example = "1h"},
    {0},
};
static const struct mapping dedupe_mapping = {
    .name = "dedupe",
    .what = "dedupe",
    .keys = dedupe_keys,
    .help = "What is remembered is lost when the runner ends; `dedupe` of a topic is not.",
};

static void read_dedupe(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct stage_step *step = into;
    const struct key by = {.name = key->name, .kind = KEY_TEXT};
    step->kind = STAGE_STEP_DEDUPE;
    step->by = "id";
    step->window = INT64_C(600000000);
    if (pair->value.kind == YAML_MAPPING)
        read_mapping(load, &dedupe_mapping, pair, step);
    else
        (void)read_value(load, &by, &pair->value, &step->by);
}

/* A format, or `array`, which is not one of enum format. */
static void read_format(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct stage_step *step = into;
    const struct key choice = {.name = key->name, .kind = KEY_CHOICE, .words = keys_formats_array};
    int number;
    if (!read_value(load, &choice, &pair->value, &number))
        return;
    step->array = number > FORMAT_JSON;
    step->format = step->array ? FORMAT_JSON : (enum format)number;
    if (step->kind == STAGE_STEP_SPLIT && !step->array && step->format == FORMAT_WHOLE)
        diagnose_error(load->diagnostics, &pair->value.place,
                       "split: whole takes nothing apart: lines, null, length, "
                       "json or array does");
}

#define FORMAT_SCHEMA(others) "{\"enum\":[\"lines\",\"null\",\"length\",\"json\",\"array\"" others "]}"

static const struct key split_keys[] = {
    {.name = "format",
     .kind = KEY_READ,
     .read = read_format,
     .type = "lines, null, length, json or array",
     .schema = FORMAT_SCHEMA(""),
     .fallback = "lines",
     .help = "how a body is taken apart;\n.Cm array :\nit is a JSON array, each element becomes a message",
     .example = "array"},
    {0},
};
static const struct mapping split_mapping = {
    .name = "split", .what = "split", .keys = split_keys, .help = "One message becomes several."};

static void read_split(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct stage_step *step = into;
    step->kind = STAGE_STEP_SPLIT;
    if (pair->value.kind == YAML_MAPPING)
        read_mapping(load, &split_mapping, pair, step);
    else
        read_format(load, key, pair, step);
}

static const struct key aggregate_keys[] = {
    {.name = "count",
     .kind = KEY_COUNT,
     .low = 1,
     .high = 1000000,
     AT(count),
     .help = "a window ends with so many messages",
     .example = "100"},
    {.name = "size",
     .kind = KEY_SIZE,
     AT(size),
     .help = "a window ends with so many bytes of bodies",
     .example = "1MiB"},
    {.name = "window",
     .kind = KEY_DURATION,
     .low = 1000,
     AT(window),
     .help = "a window ends so long after its first message",
     .example = "1m"},
    {.name = "by",
     .kind = KEY_TEXT,
     AT(by),
     .help = "each value of it has windows of its own:\n.Cm key\nor an attribute",
     .example = "key"},
    {.name = "format",
     .kind = KEY_READ,
     .read = read_format,
     .type = "lines, null, length, whole, json or array",
     .schema = FORMAT_SCHEMA(",\"whole\""),
     .fallback = "lines",
     .help = "how bodies are put together;\n.Cm array :\na JSON array",
     .example = "array"},
    {0},
};

static void end_aggregate(struct load *load, const struct yaml_pair *pair, void *into)
{
    (void)into;
    if (yaml_get(&pair->value, "count") == NULL && yaml_get(&pair->value, "size") == NULL &&
        yaml_get(&pair->value, "window") == NULL)
        diagnose_error(load->diagnostics, &pair->key.place,
                       "aggregate needs to know when a window ends: count, size or window");
}

static const struct mapping aggregate_mapping = {
    .name = "aggregate",
    .what = "aggregate",
    .keys = aggregate_keys,
    .end = end_aggregate,
    .help = "Several messages become one.\nThey are settled when that is stored, so nothing is lost with a runner.",
};

static void read_aggregate(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct stage_step *step = into;
    (void)key;
    step->kind = STAGE_STEP_AGGREGATE;
    read_mapping(load, &aggregate_mapping, pair, step);
}

/* ---- the table ---------------------------------------------------------------------------------------------------- */

static void read_where_step(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct stage_step *step = into;
    step->kind = STAGE_STEP_WHERE;
    keys_read_where(load, key, pair, &step->where);
}

static const char *const else_words[] = {"skip", "pass", "dead", NULL};
_Static_assert(STAGE_ELSE_SKIP == 0 && STAGE_ELSE_PASS == 1 && STAGE_ELSE_DEAD == 2,
               "the words are in the order of enum stage_otherwise");

#define STEP(words, of_type, of_schema) .kind = KEY_READ, .read = read_##words, .type = (of_type), .schema = (of_schema)
#define TEXTS                                                                                                          \
    "{\"type\":\"object\",\"minProperties\":1,\"additionalProperties\":{\"type\":[\"string\",\"number\",\"boolean\"]}" \
    "}"
#define NAMES "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"string\"}}]}"
#define OR_TEXT "{\"anyOf\":[{\"type\":\"string\"},%]}"

static const struct key step_keys[] = {
    {.name = "where",
     STEP(where_step, "conditions", KEYS_WHERE_SCHEMA),
     .help = "only messages for which the conditions hold go on; see\n.Sx Conditions",
     .example = "{type: order.*}"},
    {.name = "else",
     .kind = KEY_CHOICE,
     .words = else_words,
     AT(otherwise),
     .fallback = "skip",
     .help = "beside\n.Cm where :\nwhat becomes of the others: they are done, they pass all other steps, or they are "
             "dead letters",
     .example = "dead"},
    {.name = "set",
     STEP(set, "a mapping of attributes to texts", TEXTS),
     .help =
         "sets attributes; in a text\n.Ql %{NAME}\nstands for an attribute,\n.Ql %{/a/b}\nfor a value in a JSON body",
     .example = "{dataschema: v2, partitionkey: \"%{subject}\"}"},
    {.name = "rename",
     STEP(rename, "a mapping of names to names", TEXTS),
     .help = "gives attributes other names",
     .example = "{region: area}"},
    {.name = "remove",
     STEP(remove, "a name, or a list of them", NAMES),
     .help = "removes attributes",
     .example = "[region, area]"},
    {.name = "rate_limit",
     STEP(rate_limit, "a rate", "{\"type\":\"string\"}"),
     .help = "so many messages go on; the others wait",
     .example = "500/s"},
    {.name = "log",
     STEP(log, "names, or a mapping",
          "{\"anyOf\":[{\"type\":[\"string\",\"null\"]},{\"type\":\"array\",\"items\":{\"type\":\"string\"}},%]}"),
     .of = &log_mapping,
     .help = "logs messages",
     .example = "{attributes: [id, type], sample: 100}"},
    {.name = "dedupe",
     STEP(dedupe, "what makes two the same, or a mapping", OR_TEXT),
     .of = &dedupe_mapping,
     .help = "a message that came before is done",
     .example = "{by: id, window: 1h}"},
    {.name = "split",
     STEP(split, "a format, or a mapping", "{\"anyOf\":[" FORMAT_SCHEMA("") ",%]}"),
     .of = &split_mapping,
     .help = "takes a body apart: a message for each piece",
     .example = "array"},
    {.name = "aggregate",
     STEP(aggregate, "a mapping", "%"),
     .of = &aggregate_mapping,
     .help = "puts the bodies of several messages together: one message for a window; the last step of a stage that "
             "takes one topic and has no command",
     .example = "{window: 1m, by: key, format: lines}"},
    {0},
};

static void end_step(struct load *load, const struct yaml_pair *pair, void *into)
{
    const struct yaml *value = &pair->value;
    const struct yaml_pair *first = NULL;
    (void)into;
    for (size_t i = 0; value->kind == YAML_MAPPING && i < value->count; i++) {
        const struct yaml_pair *one = &value->pairs[i];
        if (strcmp(one->key.text, "else") == 0 || strncmp(one->key.text, "x-", 2) == 0)
            continue;
        if (first != NULL)
            diagnose_error(load->diagnostics, &one->key.place, "'%s' and '%s' in one step: begin another with '- %s:'",
                           first->key.text, one->key.text, one->key.text);
        first = one;
    }
    if (first == NULL)
        diagnose_error(load->diagnostics, &value->place, "a step is a mapping, as where: {type: order.*}");
}

static const struct key_rule step_rules[] = {
    {"else", true, {"where", NULL}, "it says what becomes of messages for which that does not hold"},
    {0},
};

const struct mapping step_mapping = {
    .name = "step",
    .what = "a step",
    .keys = step_keys,
    .rules = step_rules,
    .end = end_step,
    .help = "A step is a mapping of one key, which says what it does.",
};

static const char *const step_names[] = {"where", "set",    "rename", "remove",   "rate_limit",
                                         "log",   "dedupe", "split",  "aggregate"};

void keys_read_steps(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct steps {
        struct stage_step *all;
        size_t count;
    } *steps = into;
    const struct yaml *value = &pair->value;
    const struct yaml *aggregate = NULL, *split = NULL;
    if (value->kind != YAML_SEQUENCE) {
        diagnose_error(load->diagnostics, &value->place, "%s: a list is needed, each step after a '- ', here is %s",
                       key->name, yaml_words(value));
        return;
    }
    steps->all = load_allocate(load, value->count, sizeof *steps->all);
    for (size_t i = 0; steps->all != NULL && i < value->count; i++) {
        const struct yaml *item = &value->items[i];
        struct stage_step *step = &steps->all[i];
        read_mapping(load, &step_mapping, &(struct yaml_pair){.key.text = "", .value = *item}, step);
        if (aggregate != NULL && step->kind == STAGE_STEP_AGGREGATE)
            diagnose_error(load->diagnostics, &item->place, "aggregate stands twice: put one into the next stage");
        else if (aggregate != NULL && (step->kind == STAGE_STEP_RATE_LIMIT || step->kind >= STAGE_STEP_DEDUPE))
            diagnose_error(load->diagnostics, &item->place, "behind aggregate no '%s': put it into the next stage",
                           step_names[step->kind]);
        else if (step->kind == STAGE_STEP_AGGREGATE && split != NULL)
            diagnose_error(load->diagnostics, &item->place, "aggregate behind split: put it into the next stage");
        aggregate = step->kind == STAGE_STEP_AGGREGATE ? item : aggregate;
        split = step->kind == STAGE_STEP_SPLIT ? item : split;
        steps->count++;
    }
}
