#include "relay/readers_arguments.h"

#include "base/memory.h"

#include <stdio.h>

enum { SHOW = 1, LIST = 2, TAIL = 4, STATS = 8, GRAPH = 16, AUDIT = 32, EXPORT = 64 };

static const struct {
    const char *name;
    unsigned bit;
} verbs[] = {{"show", SHOW},   {"list", LIST},   {"tail", TAIL},    {"stats", STATS},
             {"graph", GRAPH}, {"audit", AUDIT}, {"export", EXPORT}};

enum { THROUGH = LIST | TAIL | EXPORT, SUMS = STATS | GRAPH };

/* bin/mtrace.c has the options; a new one is refused until it stands here. Never what names a file or an address. */
static const struct {
    const char *name;
    unsigned verbs;
    bool flag;
} options[] = {
    {"key", SHOW | THROUGH, false},
    {"topic", THROUGH | SUMS | AUDIT, false},
    {"group", THROUGH | SUMS | AUDIT, false},
    {"kind", TAIL, false},
    {"attribute", THROUGH, false},
    {"trace", THROUGH, false},
    {"since", THROUGH | SUMS, false},
    {"until", THROUGH | SUMS, false},
    {"state", LIST, false},
    {"failed", LIST, true},
    {"retried", LIST, true},
    {"slower", LIST, false},
    {"sort", LIST, false},
    {"count", LIST | TAIL, false},
    {"watch", STATS, true},
    {"histogram", STATS, true},
    {"format", GRAPH, false},
    {"body", TAIL, true},
    {"json", SHOW | LIST | STATS | TAIL | AUDIT, true},
    {"otlp", EXPORT, true},
    {"zipkin", EXPORT, true},
    {"follow", EXPORT, true},
    {"after", TAIL | EXPORT, false},
    {"marks", TAIL | EXPORT, true},
};

enum { OPTIONS = sizeof options / sizeof *options, UNLISTED = OPTIONS };

struct making {
    struct readers_arguments *arguments;
    size_t count;         /* of arguments */
    size_t values, bytes; /* that the client gave */
    struct fault *fault;
};

static enum mp_error end_argument(struct making *making)
{
    making->count++;
    return buffer_append(&making->arguments->text, "", 1) ? fault_memory(making->fault) : MP_OK;
}

static enum mp_error add(struct making *making, const char *text)
{
    return buffer_append_string(&making->arguments->text, text) ? fault_memory(making->fault) : end_argument(making);
}

/* What the client may give is counted before it is kept. */
static enum mp_error add_value(struct making *making, const char *name, const char *value)
{
    struct buffer *text = &making->arguments->text;
    size_t size = strlen(value);
    if (++making->values > READERS_VALUES || size > READERS_BYTES - making->bytes)
        return fault_set(making->fault, MP_ERR_TOO_LARGE,
                         "that is too much to ask for: %d values of %d bytes in all are allowed", READERS_VALUES,
                         READERS_BYTES);
    making->bytes += size;
    if ((name && (buffer_append_string(text, "--") || buffer_append_string(text, name) || buffer_append(text, "=", 1))))
        return fault_memory(making->fault);
    return add(making, value);
}

static enum mp_error refuse(struct making *making, const char *what, const char *name)
{
    char shown[FAULT_QUOTE];
    return fault_set(making->fault, MP_ERR_INVALID,
                     "this relay does not know %s %s of mtrace, or lets nobody use it from afar", what,
                     fault_quote(shown, name, strlen(name)));
}

static enum mp_error add_option(struct making *making, unsigned verb, const char *name, const json_t *value)
{
    size_t i = 0, index;
    const json_t *item;
    while (i < OPTIONS && strcmp(options[i].name, name) != 0)
        i++;
    if (i == UNLISTED || !(options[i].verbs & verb))
        return refuse(making, "the option", name);
    if (options[i].flag) {
        if (!json_is_true(value))
            return fault_set(making->fault, MP_ERR_INVALID, "the option %s is true or not given", options[i].name);
        return buffer_append_string(&making->arguments->text, "--") ? fault_memory(making->fault)
                                                                    : add(making, options[i].name);
    }
    if (json_is_string(value))
        return add_value(making, options[i].name, json_string_value(value));
    if (!json_is_array(value))
        return fault_set(making->fault, MP_ERR_INVALID, "the option %s takes a string, or several", options[i].name);
    enum mp_error error = MP_OK;
    json_array_foreach(value, index, item)
    {
        if (!json_is_string(item))
            return fault_set(making->fault, MP_ERR_INVALID, "the option %s takes strings", options[i].name);
        if ((error = add_value(making, options[i].name, json_string_value(item))))
            return error;
    }
    return error;
}

static enum mp_error add_operands(struct making *making, unsigned verb, const json_t *operands)
{
    size_t index;
    const json_t *item;
    enum mp_error error = MP_OK;
    if (json_array_size(operands) == 0)
        return MP_OK;
    if (verb != SHOW || json_array_size(operands) > READERS_OPERANDS)
        return fault_set(making->fault, MP_ERR_INVALID, "only show takes names of messages, %d at most",
                         READERS_OPERANDS);
    error = add(making, "--");
    json_array_foreach(operands, index, item)
    {
        if (!error)
            error = json_is_string(item) ? add_value(making, NULL, json_string_value(item))
                                         : fault_set(making->fault, MP_ERR_INVALID, "names of messages are strings");
    }
    return error;
}

static enum mp_error add_all(struct making *making, const json_t *asked, const char *store)
{
    const char *command = json_string_value(json_object_get(asked, "command"));
    unsigned verb = 0;
    const char *name;
    json_t *value;
    for (size_t i = 0; command && i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verbs[i].name, command) == 0)
            verb = verbs[i].bit;
    if (verb == 0)
        return refuse(making, "the command", command ? command : "");
    enum mp_error error = add(making, "mtrace");
    if (!error)
        error = add(making, command);
    if (!error && buffer_append_string(&making->arguments->text, "--store="))
        error = fault_memory(making->fault);
    if (!error)
        error = add(making, store);
    json_object_foreach((json_t *)(uintptr_t)json_object_get(asked, "options"), name, value)
    {
        if (!error)
            error = add_option(making, verb, name, value);
    }
    return error ? error : add_operands(making, verb, json_object_get(asked, "operands"));
}

enum mp_error readers_arguments_make(const json_t *asked, const char *store, struct readers_arguments *arguments,
                                     struct fault *fault)
{
    struct making making = {.arguments = arguments, .fault = fault};
    *arguments = (struct readers_arguments){0};
    enum mp_error error = add_all(&making, asked, store);
    if (error)
        return error;
    arguments->argv = memory_allocate_array(making.count + 1, sizeof *arguments->argv);
    if (!arguments->argv)
        return fault_memory(fault);
    char *at = (char *)arguments->text.data;
    for (size_t i = 0; i < making.count; i++, at += strlen(at) + 1)
        arguments->argv[i] = at;
    arguments->argv[making.count] = NULL;
    return MP_OK;
}

void readers_arguments_free(struct readers_arguments *arguments)
{
    memory_release(arguments->argv);
    buffer_free(&arguments->text);
    *arguments = (struct readers_arguments){0};
}
