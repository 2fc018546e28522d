/* `tests:`. */
#include "pipeline/keys.h"

#include "message/attributes.h"

/* ---- messages --------------------------------------------------------------------------------------------------- */

/* An attribute of a message; `key` is short for partitionkey. */
static bool read_attribute(struct load *load, const struct yaml_pair *pair, struct pipeline_attribute *attribute)
{
    struct buffer block = {0};
    struct fault fault;
    const char *name = strcmp(pair->key.text, "key") == 0 ? "partitionkey" : pair->key.text;
    const char *value = read_text(load, pair->key.text, "an attribute is a text: a value", &pair->value);
    if (value == NULL)
        return false;
    bool good = attributes_set(&block, ATTRIBUTE_STRING, name, strlen(name), value, strlen(value), &fault) == MP_OK;
    if (!good)
        diagnose_error(load->diagnostics, &pair->value.place, "%s", fault.text);
    *attribute = (struct pipeline_attribute){.name = name, .value = value};
    buffer_free(&block);
    return good;
}

static void read_message(struct load *load, const struct yaml *value, struct pipeline_message *message)
{
    struct pipeline_reference topic;
    const struct yaml_pair *body = yaml_get(value, "body"), *data = yaml_get(value, "data");
    message->place = value->place;
    if (value->kind != YAML_MAPPING) {
        diagnose_error(load->diagnostics, &value->place,
                       "a message is a mapping, as {type: order.new, data: {id: 1}}, here is %s", yaml_words(value));
        return;
    }
    if (body != NULL && data != NULL)
        diagnose_error(load->diagnostics, &data->key.place,
                       "'data' does not go with 'body': a text, or a value as JSON");
    message->attributes = load_allocate(load, value->count, sizeof *message->attributes);
    for (size_t i = 0; message->attributes != NULL && i < value->count; i++) {
        const struct yaml_pair *pair = &value->pairs[i];
        if (pair == body || pair == data) {
            keys_body(load, pair, &message->body, &message->body_size);
            message->json = pair == data;
        } else if (strcmp(pair->key.text, "topic") == 0) {
            if (read_reference(load, "topic", &pair->value, NULL, &topic)) {
                message->topic = topic.topic;
                message->place = topic.place;
            }
        } else if (read_attribute(load, pair, &message->attributes[message->attributes_count])) {
            message->attributes_count++;
        }
    }
}

#define MESSAGES_SCHEMA "{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/message\"}}"

static void read_messages(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct messages {
        struct pipeline_message *all;
        size_t count;
    } *messages = into;
    const struct yaml *value = &pair->value;
    if (value->kind != YAML_SEQUENCE) {
        diagnose_error(load->diagnostics, &value->place, "%s: a list of messages is needed, here is %s", key->name,
                       yaml_words(value));
        return;
    }
    messages->all = load_allocate(load, value->count, sizeof *messages->all);
    for (size_t i = 0; messages->all != NULL && i < value->count; i++)
        read_message(load, &value->items[i], &messages->all[messages->count++]);
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

#define AT(member) .at = offsetof(struct pipeline_test, member)

static void read_stage_name(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_test *test = into;
    test->stage = read_text(load, key->name, key->type, &pair->value);
    test->stage_place = pair->value.place;
}

static void begin_test(struct load *load, const struct yaml_pair *pair, void *into)
{
    struct pipeline_test *test = into;
    test->place = pair->value.place;
    test->file = load->file;
    test->timeout = INT64_C(10000000);
}

static void end_test(struct load *load, const struct yaml_pair *pair, void *into)
{
    struct pipeline_test *test = into;
    (void)load;
    (void)pair;
    if (test->name == NULL)
        test->name = test->stage != NULL ? test->stage : "the whole pipeline";
}

static const struct key test_keys[] = {
    {.name = "name",
     .kind = KEY_TEXT,
     AT(name),
     .fallback = "that of the stage",
     .help = "what is tested, in words",
     .example = "an order gets its price"},
    {.name = "stage",
     .kind = KEY_READ,
     .read = read_stage_name,
     .type = "a stage's name",
     .schema = "{\"type\":\"string\"}",
     .fallback = "the whole pipeline, without its sources",
     .help = "what gets the input",
     .example = "price"},
    {.name = "input",
     .kind = KEY_READ,
     .read = read_messages,
     AT(input),
     .required = true,
     .type = "a list of messages",
     .schema = MESSAGES_SCHEMA,
     .help = "what is sent",
     .example = "[{type: order.new, data: {\"id\": 1, \"qty\": 2}}]"},
    {.name = "expect",
     .kind = KEY_READ,
     .read = read_messages,
     AT(expect),
     .required = true,
     .type = "a list of messages",
     .schema = MESSAGES_SCHEMA,
     .help = "what must come of it: in each topic that is named exactly these, in this order; attributes that are not "
             "named may have any value",
     .example = "[{topic: orders.priced, data: {\"id\": 1, \"qty\": 2, \"total\": 20}}]"},
    {.name = "unordered",
     .kind = KEY_FLAG,
     AT(unordered),
     .fallback = "false",
     .help = "the order does not matter",
     .example = "true"},
    {.name = "timeout",
     .kind = KEY_DURATION,
     .low = 1000,
     AT(timeout),
     .fallback = "10s",
     .help = "how long it may take",
     .example = "1m"},
    {0},
};
_Static_assert(offsetof(struct pipeline_test, input_count) - offsetof(struct pipeline_test, input) == sizeof(void *) &&
                   offsetof(struct pipeline_test, expect_count) - offsetof(struct pipeline_test, expect) ==
                       sizeof(void *),
               "the count stands behind the messages");

const struct mapping test_mapping = {
    .name = "test",
    .what = "a test",
    .keys = test_keys,
    .begin = begin_test,
    .end = end_test,
    .help = "Messages of tests have the keys\n.Cm topic , body\nor\n.Cm data ,\nand attributes, among them\n.Cm key .",
};

void keys_read_tests(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline *pipeline = load->pipeline;
    const struct yaml *value = &pair->value;
    (void)into;
    if (read_is_nothing(value))
        return;
    if (value->kind != YAML_SEQUENCE) {
        diagnose_error(load->diagnostics, &value->place, "%s: a list is needed, each test after a '- ', here is %s",
                       key->name, yaml_words(value));
        return;
    }
    size_t before = pipeline->tests_count;
    struct pipeline_test *all = load_allocate(load, before + value->count, sizeof *all);
    if (all == NULL)
        return;
    if (before > 0)
        memcpy(all, pipeline->tests, before * sizeof *all);
    pipeline->tests = all;
    for (size_t i = 0; i < value->count && !load->no_memory; i++)
        read_mapping(load, &test_mapping, &(struct yaml_pair){.key.text = "", .value = value->items[i]},
                     &all[pipeline->tests_count++]);
}
