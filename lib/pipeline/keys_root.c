/* The file itself, `relay:` and `topics:`. */
#include "pipeline/keys.h"

#include "base/units.h"
#include "transport/address.h"

#include <stdio.h>

enum { THINGS_MAX = 10000 }; /* topics, stages, … each */

/* ---- mappings of names ------------------------------------------------------------------------------------------ */

size_t keys_named_count(struct load *load, const struct yaml_pair *pair)
{
    if (read_is_nothing(&pair->value))
        return 0;
    if (pair->value.kind != YAML_MAPPING) {
        load->loose = true;
        diagnose_error(load->diagnostics, &pair->value.place, "%s is a mapping of names, here is %s", pair->key.text,
                       yaml_words(&pair->value));
        return 0;
    }
    if (pair->value.count > THINGS_MAX) {
        diagnose_error(load->diagnostics, &pair->key.place, "%s: more than %d: that is the limit of a pipeline",
                       pair->key.text, THINGS_MAX);
        return 0;
    }
    return pair->value.count;
}

/* A variable in a name is a mistake that deserves its own words. */
static bool no_variable(struct load *load, const struct yaml *name)
{
    if (memchr(name->text, '$', name->size) == NULL)
        return true;
    char shown[FAULT_QUOTE];
    diagnose_error(load->diagnostics, &name->place, "'%s': variables stand in values, not in names",
                   fault_quote(shown, name->text, name->size));
    return false;
}

bool keys_name(struct load *load, const char *what, const struct yaml *name)
{
    struct fault fault;
    bool before = load->loose;
    load->loose = true; /* unless it is a name */
    if (!no_variable(load, name))
        return false;
    if (name_check_group(name->text, name->size, &fault) == MP_OK) {
        load->loose = before;
        return true;
    }
    const char *text = strncmp(fault.text, "group ", 6) == 0 ? fault.text + 6 : fault.text;
    diagnose_error(load->diagnostics, &name->place, "%s: %s", what, text);
    return false;
}

/* ---- topics ----------------------------------------------------------------------------------------------------- */

static void begin_topic(struct load *load, const struct yaml_pair *pair, void *into)
{
    (void)load;
    (void)pair;
    settings_topic_default(&((struct pipeline_topic *)into)->settings);
}

static void end_topic(struct load *load, const struct yaml_pair *pair, void *into)
{
    struct fault fault;
    if (settings_topic_check(&((struct pipeline_topic *)into)->settings, &fault))
        diagnose_error(load->diagnostics, &pair->key.place, "topic %s: %s", pair->key.text, fault.text);
}

static void read_topics(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline *pipeline = load->pipeline;
    size_t count = keys_named_count(load, pair);
    (void)key;
    (void)into;
    pipeline->topics = load_allocate(load, count, sizeof *pipeline->topics);
    for (size_t i = 0; i < count && !load->no_memory; i++) {
        const struct yaml *name = &pair->value.pairs[i].key;
        struct pipeline_topic *topic = &pipeline->topics[pipeline->topics_count];
        struct fault fault;
        if (!no_variable(load, name))
            continue;
        if (name_check_topic(name->text, name->size, &fault)) {
            diagnose_error(load->diagnostics, &name->place, "%s", fault.text);
            continue;
        }
        topic->name = name->text;
        topic->place = name->place;
        pipeline->topics_count++;
        read_mapping(load, &topic_mapping, &pair->value.pairs[i], topic);
        if (map_put(&load->topics, topic->name, strlen(topic->name), topic))
            load->no_memory = true;
    }
}

#define SETTING(path, of_kind) .kind = (of_kind), .setting = (path)

static const char *const dedupe_words[] = {"none", "id", "key", NULL};
static const struct key dedupe_keys[] = {
    {.name = "by",
     SETTING("dedupe.by", KEY_CHOICE),
     .words = dedupe_words,
     .required = true,
     .help = "what makes two messages the same: their id, or their key",
     .example = "id"},
    {.name = "window",
     SETTING("dedupe.window", KEY_DURATION),
     .fallback = "10m",
     .help = "how long a message is remembered",
     .example = "1h"},
    {0},
};
static const struct mapping dedupe_mapping = {.name = "dedupe_topic",
                                              .what = "a topic's dedupe",
                                              .keys = dedupe_keys,
                                              .help = "Of a message that comes again only the first is kept."};

static const struct key retain_keys[] = {
    {.name = "age",
     SETTING("retain.age", KEY_DURATION),
     .fallback = "0s",
     .help = "messages that every group has settled stay as long as that",
     .example = "7d"},
    {.name = "bytes",
     SETTING("retain.bytes", KEY_SIZE),
     .fallback = "0",
     .help = "messages that every group has settled stay up to so many bytes",
     .example = "1GiB"},
    {0},
};
static const struct mapping retain_mapping = {.name = "retain",
                                              .what = "a topic's retain",
                                              .keys = retain_keys,
                                              .help = "What is settled stays for a time, for readers and new groups."};

static const char *const overflow_words[] = {"block", "reject", "drop_oldest", NULL};
#define AT(member) .at = offsetof(struct pipeline_topic, member)
static const struct key topic_keys[] = {
    {.name = "max_messages",
     SETTING("max_messages", KEY_COUNT),
     AT(settings),
     .fallback = "0",
     .help = "so many unsettled messages at most; 0: no limit",
     .example = "100000"},
    {.name = "max_bytes",
     SETTING("max_bytes", KEY_SIZE),
     AT(settings),
     .fallback = "0",
     .help = "so many bytes of unsettled messages at most; 0: no limit",
     .example = "1GiB"},
    {.name = "overflow",
     SETTING("overflow", KEY_CHOICE),
     AT(settings),
     .words = overflow_words,
     .fallback = "block",
     .help = "what a sender gets for which there is no room: it waits, it is refused, or the oldest message goes",
     .example = "reject"},
    {.name = "ttl",
     SETTING("ttl", KEY_DURATION),
     AT(settings),
     .fallback = "0s",
     .help = "a message that is not taken for so long expires; 0: never",
     .example = "1d"},
    {.name = "dedupe",
     .kind = KEY_MAPPING,
     .of = &dedupe_mapping,
     AT(settings),
     .help = "what is sent twice is kept once",
     .example = "{by: id, window: 1h}"},
    {.name = "retain",
     .kind = KEY_MAPPING,
     .of = &retain_mapping,
     AT(settings),
     .help = "how long settled messages stay",
     .example = "{age: 7d}"},
    {.name = "rate",
     SETTING("rate", KEY_RATE),
     AT(settings),
     .fallback = "0",
     .help = "so many messages are taken from senders; 0: no limit",
     .example = "500/s"},
    {.name = "external",
     .kind = KEY_FLAG,
     AT(external),
     .fallback = "false",
     .help = "others than this pipeline send to it or take from it: it is no mistake that nothing here does",
     .example = "true"},
    {0},
};
#undef AT

const struct mapping topic_mapping = {
    .name = "topic",
    .what = "a topic",
    .named = true,
    .keys = topic_keys,
    .begin = begin_topic,
    .end = end_topic,
    .help = "A topic's name is dot-separated words of letters, digits, \n.Sq _\nand\n.Sq \\- ."};

/* ---- relay ------------------------------------------------------------------------------------------------------ */

#define AT(member) .at = offsetof(struct pipeline, relay.member)

static void read_listen(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline *pipeline = load->pipeline;
    size_t count = read_count(&pair->value);
    (void)into;
    pipeline->relay.listen = load_allocate(load, count, sizeof *pipeline->relay.listen);
    pipeline->relay.listen_places = load_allocate(load, count, sizeof *pipeline->relay.listen_places);
    for (size_t i = 0; i < count && !load->no_memory; i++) {
        const struct yaml *item = read_item(&pair->value, i);
        struct key address = {.name = key->name, .kind = KEY_ADDRESS};
        if (!read_value(load, &address, item, &pipeline->relay.listen[pipeline->relay.listen_count]))
            continue;
        pipeline->relay.listen_places[pipeline->relay.listen_count++] = item->place;
    }
}

static void read_http(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    const char *text = read_text(load, key->name, key->type, &pair->value);
    struct address address;
    struct fault fault;
    if (text == NULL)
        return;
    if (address_parse_http(text, &address, &fault) == MP_OK)
        *(const char **)into = load_copy(load, address.text, strlen(address.text));
    else
        diagnose_error(load->diagnostics, &pair->value.place, "http: %s", fault_text(&fault));
    load->pipeline->relay.http_place = pair->value.place;
}

static void read_engine(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    static const char *const words[] = {"local", NULL};
    const char *text = read_text(load, key->name, key->type, &pair->value);
    (void)into;
    if (text != NULL && strcmp(text, words[0]) != 0)
        diagnose_error(load->diagnostics, &pair->value.place,
                       "engine: this version has only the local store: leave the key out, or write local");
}

static const struct key relay_keys[] = {
    {.name = "listen",
     .kind = KEY_READ,
     .read = read_listen,
     .type = "an address, or a list of them",
     .schema = "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"type\":\"string\"}}]}",
     .help = "addresses to listen at, besides the Unix socket that follows from the name",
     .example = "[tcp://127.0.0.1:7000]"},
    {.name = "store",
     .kind = KEY_PATH,
     AT(store),
     .help = "the file that keeps the messages; without it the name says which",
     .example = "orders.db"},
    {.name = "max_message",
     .kind = KEY_SIZE,
     AT(max_message),
     .fallback = "16MiB",
     .help = "larger bodies are refused",
     .example = "1MiB"},
    {.name = "lease",
     .kind = KEY_DURATION,
     .low = 1000000,
     .high = UINT64_C(86400) * 1000000,
     AT(lease),
     .fallback = "30s",
     .help = "how long a message stays with a consumer of which nothing is heard",
     .example = "1m"},
    {.name = "client_rate",
     .kind = KEY_RATE,
     AT(client_rate),
     .help = "so many messages are taken from one client",
     .example = "500/s"},
    {.name = "insecure",
     .kind = KEY_FLAG,
     AT(insecure),
     .fallback = "false",
     .help = "allow addresses that other machines reach: anybody there can read and write",
     .example = "true"},
    {.name = "http",
     .kind = KEY_READ,
     .read = read_http,
     .type = "HOST:PORT, or unix:PATH",
     .schema = "{\"type\":[\"string\",\"integer\"]}",
     AT(http),
     .help = "serve metrics for Prometheus, and whether the relay is well, there by HTTP",
     .example = "127.0.0.1:9090"},
    {.name = "engine",
     .kind = KEY_READ,
     .read = read_engine,
     .type = "local",
     .schema = "{\"enum\":[\"local\"]}",
     .fallback = "local",
     .help = "what keeps the messages; this version has the local store only",
     .example = "local"},
    {0},
};
#undef AT

const struct mapping relay_mapping = {
    .name = "relay", .what = "the relay", .keys = relay_keys, .help = "The relay that\n.Nm mrelay Cm run\nstarts."};

/* ---- traces ----------------------------------------------------------------------------------------------------- */

#define AT(member) .at = offsetof(struct pipeline, trace.member)

static void read_sample(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct fault fault;
    double share;
    const char *text = read_text(load, key->name, key->type, &pair->value);
    if (text == NULL)
        return;
    if (units_share(text, &share, &fault) != MP_OK)
        diagnose_error(load->diagnostics, &pair->value.place, "sample: %s", fault.text);
    else
        *(double *)into = 1 - share;
}

static const struct key trace_retain_keys[] = {
    {.name = "age",
     .kind = KEY_DURATION,
     .low = 1000000,
     AT(age),
     .fallback = "24h",
     .help = "what happened is kept as long as that",
     .example = "7d"},
    {.name = "bytes",
     .kind = KEY_SIZE,
     .low = 65536,
     AT(bytes),
     .fallback = "1GiB",
     .help = "and up to about so many bytes",
     .example = "100MiB"},
    {0},
};
static const struct mapping trace_retain_mapping = {.name = "trace_retain",
                                                    .what = "the traces' retain",
                                                    .keys = trace_retain_keys,
                                                    .help = "How long it can be seen what happened to a message."};

static const struct key trace_keys[] = {
    {.name = "retain",
     .kind = KEY_MAPPING,
     .of = &trace_retain_mapping,
     .help = "how long they are kept",
     .example = "{age: 7d, bytes: 10GiB}"},
    {.name = "sample",
     .kind = KEY_READ,
     .read = read_sample,
     .type = "a share from 0 to 1",
     .schema = "{\"anyOf\":[{\"type\":\"number\",\"minimum\":0,\"maximum\":1},{\"$ref\":\"#/$defs/variable\"}]}",
     AT(drop),
     .fallback = "1, all of them",
     .help = "the share of messages of which everything is kept; failures always are",
     .example = "0.1"},
    {0},
};
#undef AT

static const struct mapping trace_mapping = {.name = "trace",
                                             .what = "trace",
                                             .keys = trace_keys,
                                             .help = "What\n.Xr mtrace 1\ncan show of messages that are gone."};

/* ---- the file --------------------------------------------------------------------------------------------------- */

#define AT(member) .at = offsetof(struct pipeline, member)
#define NAMED(words) .type = "a mapping of names to " words

static void read_pipeline_name(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct key name = {.name = key->name, .kind = KEY_NAME};
    if (read_value(load, &name, &pair->value, into))
        load->pipeline->name_place = pair->value.place;
}

static const struct key pipeline_keys[] = {
    {.name = "name",
     .kind = KEY_READ,
     .read = read_pipeline_name,
     .type = "a name",
     .schema = "{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9_.-]+$\"}",
     AT(name),
     .fallback = "default",
     .help = "names the relay, its socket and its store",
     .example = "orders"},
    {.name = "strict",
     .kind = KEY_FLAG,
     AT(strict),
     .fallback = "true",
     .help = "topics must be declared; false: a topic that is named anywhere is one",
     .example = "false"},
    {.name = "relay",
     .kind = KEY_MAPPING,
     .of = &relay_mapping,
     .help = "where the relay listens, and its limits",
     .example = "{listen: [tcp://127.0.0.1:7000]}"},
    {.name = "trace",
     .kind = KEY_MAPPING,
     .of = &trace_mapping,
     .help = "how much of what happens is kept for mtrace",
     .example = "{retain: {age: 7d}, sample: 0.1}"},
    {.name = "topics",
     .kind = KEY_READ,
     .read = read_topics,
     .of = &topic_mapping,
     NAMED("topics"),
     .schema = "{\"type\":[\"object\",\"null\"],\"additionalProperties\":%}",
     .help = "the topics, and what each keeps",
     .example = "{orders.new: {max_messages: 100000}}"},
    {.name = "sources",
     .kind = KEY_READ,
     .read = keys_read_sources,
     .of = &source_mapping,
     NAMED("sources"),
     .schema = "{\"type\":[\"object\",\"null\"],\"additionalProperties\":%}",
     .help = "what feeds topics from outside",
     .example = "{incoming: {command: [tail, -F, orders.ndjson], to: orders.new}}"},
    {.name = "stages",
     .kind = KEY_READ,
     .read = keys_read_stages,
     .of = &stage_mapping,
     NAMED("stages"),
     .schema = "{\"type\":[\"object\",\"null\"],\"additionalProperties\":%}",
     .help = "commands and steps between topics",
     .example = "{price: {from: orders.new, command: [./price.sh], to: orders.priced}}"},
    {.name = "sinks",
     .kind = KEY_READ,
     .read = keys_read_sinks,
     .of = &sink_mapping,
     NAMED("sinks"),
     .schema = "{\"type\":[\"object\",\"null\"],\"additionalProperties\":%}",
     .help = "what topics feed",
     .example = "{archive: {from: orders.priced, file: archive.ndjson}}"},
    {.name = "tests",
     .kind = KEY_READ,
     .read = keys_read_tests,
     .of = &test_mapping,
     .type = "a list of tests",
     .schema = "{\"type\":[\"array\",\"null\"],\"items\":%}",
     .help = "what\n.Nm mrelay Cm test\ntries",
     .example = "[{stage: price, input: [{body: a}], expect: [{body: b}]}]"},
    {0},
};

const struct mapping pipeline_mapping = {.name = "pipeline", .what = "a pipeline", .keys = pipeline_keys};

static const struct key test_file_keys[] = {
    {.name = "tests", .kind = KEY_READ, .read = keys_read_tests, .of = &test_mapping, .required = true},
    {0},
};
const struct mapping test_file_mapping = {.name = "test_file", .what = "a file of tests", .keys = test_file_keys};
