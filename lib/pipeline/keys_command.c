/* Commands, sockets, lists of topics, bodies: what sources, stages and sinks have in common. */
#include "pipeline/keys.h"

#include "message/attributes.h"

#include <stdio.h>

const char *const keys_formats[] = {"lines", "null", "length", "whole", "json", NULL};
const char *const keys_formats_array[] = {"lines", "null", "length", "whole", "json", "array", NULL};
_Static_assert(FORMAT_LINES == 0 && FORMAT_NULL == 1 && FORMAT_LENGTH == 2 && FORMAT_WHOLE == 3 && FORMAT_JSON == 4,
               "the words are in the order of enum format");

/* ---- commands --------------------------------------------------------------------------------------------------- */

bool keys_argv(struct load *load, const char *key, const struct yaml *value, struct pipeline_command *into)
{
    if (value->kind != YAML_SEQUENCE || value->count == 0) {
        diagnose_error(load->diagnostics, &value->place, "%s: a list of words is needed, as [jq, -c, .], here is %s%s",
                       key, value->kind == YAML_SEQUENCE ? "an empty one" : yaml_words(value),
                       value->kind == YAML_SCALAR && !read_is_nothing(value) ? ": `shell` takes a line" : "");
        return false;
    }
    char **argv = load_allocate(load, value->count + 1, sizeof *argv);
    bool good = argv != NULL;
    for (size_t i = 0; i < value->count && argv != NULL; i++) {
        const struct yaml *word = &value->items[i];
        size_t size;
        const char *text = word->kind == YAML_SCALAR && word->size == 0 && word->quoted
                               ? ""
                               : read_text(load, key, "a word (an empty one in quotes)", word);
        good = text != NULL && good;
        if (text != NULL && i == 0 && *text == '\0') {
            diagnose_error(load->diagnostics, &word->place, "%s: the program's name is empty", key);
            good = false;
        } else if (text != NULL && i == 0 && strchr(text, '/') != NULL) {
            text = read_path(load, load->folder, text);
        }
        size = text != NULL ? strlen(text) : 0;
        argv[i] = load_copy(load, text != NULL ? text : "", size);
    }
    into->argv = good ? argv : NULL;
    into->place = value->items[0].place;
    return good;
}

void keys_read_argv(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    (void)keys_argv(load, key->name, &pair->value, into);
}

void keys_read_shell(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_command *command = into;
    const char *text = read_raw(load, key->name, "a line for the shell", &pair->value);
    if (text == NULL)
        return;
    if (text[strspn(text, " \t\n")] == '\0') {
        diagnose_error(load->diagnostics, &pair->value.place, "shell: the line is empty");
        return;
    }
    command->shell = text;
    command->place = pair->value.place;
}

void keys_read_directory(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_command *command = into;
    const char *text = read_path_text(load, key->name, &pair->value);
    if (text == NULL)
        return;
    command->directory = read_path(load, load->folder, text);
    command->directory_place = pair->value.place;
}

static bool is_variable_name(const struct yaml *name)
{
    for (size_t i = 0; i < name->size; i++) {
        char at = name->text[i];
        if (!((at >= 'a' && at <= 'z') || (at >= 'A' && at <= 'Z') || at == '_' || (i > 0 && at >= '0' && at <= '9')))
            return false;
    }
    return name->size > 0;
}

static const char *read_variable(struct load *load, const struct yaml_pair *pair)
{
    char shown[FAULT_QUOTE];
    const struct yaml *value = &pair->value;
    if (!is_variable_name(&pair->key)) {
        diagnose_error(load->diagnostics, &pair->key.place,
                       "env: '%s' is no name of a variable: use letters, digits and '_'",
                       fault_quote(shown, pair->key.text, pair->key.size));
        return NULL;
    }
    const char *text = value->kind == YAML_SCALAR && value->size == 0 ? "" : read_text(load, "env", "a text", value);
    size_t size = text != NULL ? pair->key.size + strlen(text) + 2 : 0;
    char *joined = text != NULL ? load_allocate(load, size, 1) : NULL;
    if (joined != NULL)
        snprintf(joined, size, "%s=%s", pair->key.text, text);
    return joined;
}

void keys_read_environment(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_command *command = into;
    const struct yaml *value = &pair->value;
    if (value->kind != YAML_MAPPING) {
        diagnose_error(load->diagnostics, &value->place, "%s: %s is needed, as {CURRENCY: USD}, here is %s", key->name,
                       key->type, yaml_words(value));
        return;
    }
    command->environment = load_allocate(load, value->count + 1, sizeof *command->environment);
    for (size_t i = 0, count = 0; i < value->count && command->environment != NULL; i++) {
        const char *variable = read_variable(load, &value->pairs[i]);
        if (variable != NULL)
            command->environment[count++] = (char *)(uintptr_t)variable;
    }
}

/* ---- sockets ---------------------------------------------------------------------------------------------------- */

struct socket {
    const char *listen, *dial;
    const char **subscriptions;
};

static void read_subscriptions(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    size_t count = read_count(&pair->value);
    const char **subscriptions = load_allocate(load, count + 1, sizeof *subscriptions);
    for (size_t i = 0, used = 0; i < count && subscriptions != NULL; i++) {
        const struct yaml *item = read_item(&pair->value, i);
        const char *text = item->kind == YAML_SCALAR && item->quoted && item->size == 0
                               ? ""
                               : read_text(load, key->name, "what messages begin with", item);
        if (text != NULL)
            subscriptions[used++] = text;
    }
    *(const char ***)into = subscriptions;
}

#define SOCKET_KEYS                                                                                                    \
    {.name = "listen",                                                                                                 \
     .kind = KEY_ADDRESS,                                                                                              \
     .at = offsetof(struct socket, listen),                                                                            \
     .help = "the address to listen at: others connect",                                                               \
     .example = "tcp://127.0.0.1:7001"},                                                                               \
    {                                                                                                                  \
        .name = "dial", .kind = KEY_ADDRESS, .at = offsetof(struct socket, dial),                                      \
        .help = "the address to connect to, again whenever the connection ends", .example = "ipc:///run/feed.sock"     \
    }

static const struct key socket_keys[] = {SOCKET_KEYS, {0}};
static const struct key sub_keys[] = {
    SOCKET_KEYS,
    {.name = "subscribe",
     .kind = KEY_READ,
     .read = read_subscriptions,
     .at = offsetof(struct socket, subscriptions),
     .type = "a text, or a list of them",
     .schema = "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{\"type\":\"string\"}}]}",
     .fallback = "everything",
     .help = "only messages that begin with one of these",
     .example = "[\"prices.\"]"},
    {0},
};

static void end_socket(struct load *load, const struct yaml_pair *pair, void *into)
{
    const struct socket *socket = into;
    (void)socket;
    bool listen = yaml_get(&pair->value, "listen") != NULL, dial = yaml_get(&pair->value, "dial") != NULL;
    if (listen == dial)
        diagnose_error(load->diagnostics, &pair->key.place,
                       "%s: it listens or it dials: write one of listen: ADDRESS and dial: ADDRESS", pair->key.text);
}

const struct mapping socket_mapping = {.name = "socket",
                                       .what = "a socket",
                                       .keys = socket_keys,
                                       .end = end_socket,
                                       .help = "An nng or nanomsg socket; one of both keys is needed."};
const struct mapping sub_mapping = {.name = "socket_sub",
                                    .what = "a sub socket",
                                    .keys = sub_keys,
                                    .end = end_socket,
                                    .help = "A socket that subscribes."};

void keys_read_socket(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_socket *made = into;
    struct socket socket = {0};
    int pattern = PEER_PUSH;
    while (pattern < PEER_RESPONDENT && strcmp(peer_pattern_name((enum peer_pattern)pattern), key->name) != 0)
        pattern++;
    if (pair->value.kind != YAML_MAPPING) {
        diagnose_error(load->diagnostics, &pair->value.place, "%s: write {listen: ADDRESS} or {dial: ADDRESS}",
                       key->name);
        return;
    }
    read_mapping(load, key->of, pair, &socket);
    *made = (struct pipeline_socket){
        .pattern = (enum peer_pattern)pattern,
        .role = socket.listen != NULL ? PEER_LISTEN : PEER_DIAL,
        .url = socket.listen != NULL ? socket.listen : socket.dial,
        .subscriptions = socket.subscriptions,
        .place = pair->value.place,
    };
    const struct yaml_pair *url = yaml_get(&pair->value, socket.listen != NULL ? "listen" : "dial");
    if (url != NULL)
        made->place = url->value.place;
}

/* ---- topics ----------------------------------------------------------------------------------------------------- */

void keys_read_topics(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct pipeline_references *references = into;
    size_t count = read_count(&pair->value);
    if (count == 0)
        diagnose_error(load->diagnostics, &pair->value.place, "%s: the list is empty: name a topic", key->name);
    references->all = load_allocate(load, count, sizeof *references->all);
    for (size_t i = 0; i < count && references->all != NULL; i++) {
        bool pattern;
        struct pipeline_reference *reference = &references->all[references->count];
        if (!read_reference(load, key->name, read_item(&pair->value, i), &pattern, reference))
            continue;
        for (size_t j = 0; j < references->count; j++)
            if (strcmp(references->all[j].topic, reference->topic) == 0)
                diagnose_error(load->diagnostics, &reference->place, "%s: '%s' stands twice", key->name,
                               reference->topic);
        references->count++;
    }
}

/* ---- attributes ------------------------------------------------------------------------------------------------- */

bool keys_is_attribute(const char *name, size_t size, struct fault *fault)
{
    struct buffer block = {0};
    if (size > 0 && attribute_code_of(name, size) != ATTRIBUTE_STRING)
        return true;
    bool good = attributes_set(&block, ATTRIBUTE_STRING, name, size, "x", 1, fault) == MP_OK;
    buffer_free(&block);
    return good;
}

bool keys_attribute(struct load *load, const char *key, const struct yaml *name)
{
    struct fault fault;
    if (keys_is_attribute(name->text, name->size, &fault))
        return true;
    diagnose_error(load->diagnostics, &name->place, "%s: %s", key, fault.text);
    return false;
}

/* ---- bodies ----------------------------------------------------------------------------------------------------- */

void keys_body(struct load *load, const struct yaml_pair *pair, const void **body, size_t *size)
{
    bool data = strcmp(pair->key.text, "data") == 0;
    const struct yaml *value = &pair->value;
    struct buffer json = {0};
    *body = NULL;
    if (data && value_json(load, value, &json)) {
        *size = json.size;
        *body = load_copy(load, json.data, json.size);
    } else if (!data && value->kind != YAML_SCALAR) {
        diagnose_error(load->diagnostics, &value->place, "body is a text, here is %s: `data` takes it, as JSON",
                       yaml_words(value));
    } else if (!data && value->size == 0) {
        *size = 0;
        *body = "";
    } else if (!data) {
        *body = read_bytes(load, "body", "a text", value, size);
    }
    buffer_free(&json);
}
