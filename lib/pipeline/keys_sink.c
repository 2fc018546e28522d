/* `sinks:`. */
#include "pipeline/keys_stage.h"

static void begin_sink(struct load *load, const struct yaml_pair *pair, void *into)
{
    struct pipeline_stage *sink = into;
    keys_begin_stage(load, pair, into);
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
    bool meant = false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        meant = meant || read_is_meant(load, ends[i].key);
        const struct yaml_pair *found = yaml_get(&pair->value, ends[i].key);
        if (found != NULL && first != NULL && !(ends[i].end == PIPELINE_TO_COMMAND && sink->end == ends[i].end))
            diagnose_error(load->diagnostics, &found->key.place, "'%s' and '%s': a sink is one of them: make two sinks",
                           first->key.text, found->key.text);
        if (found == NULL || first != NULL)
            continue;
        first = found;
        sink->end = ends[i].end;
    }
    if (first == NULL && !meant)
        diagnose_error(load->diagnostics, &pair->key.place,
                       "sink %s needs one of file, command, shell, push, pub, req, pair, bus or surveyor",
                       pair->key.text);
    const struct yaml_pair *format = yaml_get(&pair->value, "format");
    if (format != NULL && sink->end == PIPELINE_TO_SOCKET && sink->format != FORMAT_JSON)
        diagnose_error(load->diagnostics, &format->value.place,
                       "a socket sends each message as it is: leave 'format' out, or take json");
    keys_end_work(load, pair, sink);
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
    KEY_OF_TIMEOUT("how long a run, or an answer of a stream, may take, 0: no limit; how long answers to a survey are "
                   "waited for, 0: 1s; when a request is sent again that was not answered, 0: 1m"),
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
     .help = "how messages stand in the file, or in what the command reads; of a socket\n.Cm json\nor the body as it "
             "is",
     .example = "json"},
    KEYS_OF_GROUP,
    KEY_OF_BREAKER,
    {0},
};

static const struct key_rule sink_rules[] = {
    RULES_OF_WORK,
    {"timeout", true, {"command", "shell", "req", "surveyor", NULL}, "it is for what answers"},
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
