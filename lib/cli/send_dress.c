/* The attributes of msend's messages. */
#include "cli/send_dress.h"

#include "base/clock.h"
#include "base/units.h"
#include "cli/exit.h"
#include "message/attributes.h"
#include "message/formats.h"
#include "message/frame.h"
#include "message/trace.h"

#include <stdlib.h>
#include <string.h>

/* Sets NAME in BLOCK; the fault says which OPTION is to blame. */
static enum mp_error set(struct buffer *block, const char *option, const char *name, const char *value,
                         size_t value_size, struct fault *fault)
{
    struct fault why = {0};
    enum mp_error error = attributes_set(block, ATTRIBUTE_STRING, name, strlen(name), value, value_size, &why);
    if (error)
        return fault_set(fault, error, "%s: %s", option, fault_text(&why));
    return MP_OK;
}

static enum mp_error set_text(struct buffer *block, const char *option, const char *name, const char *value,
                              struct fault *fault)
{
    return value ? set(block, option, name, value, strlen(value), fault) : MP_OK;
}

static bool is_traceparent(const char *text)
{
    struct trace_parent parent;
    return trace_parent_read(text, strlen(text), &parent);
}

/* "name: value", as in mail and HTTP. */
static enum mp_error set_header(struct buffer *block, const char *header, struct fault *fault)
{
    const char *colon = strchr(header, ':');
    if (!colon || colon == header)
        return fault_set(fault, MP_ERR_INVALID, "-H: '%s' has no name: write -H 'name: value'", header);
    size_t size = (size_t)(colon - header);
    while (size > 0 && header[size - 1] == ' ')
        size--;
    const char *value = colon + 1;
    while (*value == ' ')
        value++;
    char name[ATTRIBUTE_NAME_MAX + 1];
    if (size > ATTRIBUTE_NAME_MAX)
        return fault_set(fault, MP_ERR_INVALID, "-H: '%.20s...': a name has %d characters at most", header,
                         ATTRIBUTE_NAME_MAX);
    memcpy(name, header, size);
    name[size] = '\0';
    if (!strcmp(name, "key"))
        return fault_set(fault, MP_ERR_INVALID, "-H: a key is set with -k (its attribute is called partitionkey)");
    if (!strcmp(name, "traceparent") && !is_traceparent(value))
        return fault_set(
            fault, MP_ERR_INVALID,
            "-H: '%.60s' is no traceparent: write 00-TRACE-PARENT-01, with 32 and 16 lower-case hex digits "
            "that are not all zero",
            value);
    return set(block, "-H", name, value, strlen(value), fault);
}

/* The trace that we are run in, and the message that we are run for, if a tool of ours says so. */
static enum mp_error set_ambient(struct send_dress *dress, struct fault *fault)
{
    const char *parent = getenv("TRACEPARENT"), *state = getenv("TRACESTATE"), *cause = getenv("MSG_ID"),
               *correlation = getenv("MSG_CORRELATIONID");
    if (!parent || !*parent)
        return MP_OK;
    dress->untraced = !is_traceparent(parent);
    if (dress->untraced)
        return MP_OK;
    struct buffer *ambient = &dress->ambient;
    enum mp_error error = set_text(ambient, "$TRACEPARENT", "traceparent", parent, fault);
    if (!error && state && trace_state_check(state, strlen(state)))
        error = set_text(ambient, "$TRACESTATE", "tracestate", state, fault);
    if (!error && cause && *cause)
        error = set_text(ambient, "$MSG_ID", "causationid", cause, fault);
    if (!error && cause && *cause && correlation && *correlation)
        error = set_text(ambient, "$MSG_CORRELATIONID", "correlationid", correlation, fault);
    return error;
}

/* Sets in BLOCK what it has not of what the environment says. A traceparent comes with its tracestate or without one. */
static enum mp_error add_ambient(const struct buffer *ambient, struct buffer *block, struct fault *fault)
{
    struct attribute attribute, own;
    size_t at = 0;
    bool traced = attribute_known(block->data, block->size, ATTRIBUTE_TRACEPARENT, &own);
    enum mp_error error = MP_OK;
    while (!error && attribute_next(ambient->data, ambient->size, &at, &attribute)) {
        bool of_trace = attribute.code == ATTRIBUTE_TRACEPARENT || attribute.code == ATTRIBUTE_TRACESTATE;
        bool has = of_trace ? traced : attribute_known(block->data, block->size, attribute.code, &own);
        if (!has)
            error = attributes_set(block, attribute.code, attribute.name, attribute.name_size, attribute.value,
                                   attribute.value_size, fault);
    }
    return error;
}

/* What a message without attributes gets. */
static enum mp_error make_base(struct send_dress *dress, struct fault *fault)
{
    dress->base.size = 0;
    enum mp_error error = buffer_append(&dress->base, dress->options.data, dress->options.size);
    return error ? fault_memory(fault) : add_ambient(&dress->ambient, &dress->base, fault);
}

static enum mp_error open_pointer(struct format_pointer **pointer, const char *option, const char *text,
                                  struct fault *fault)
{
    struct fault why = {0};
    enum mp_error error = text ? format_pointer_parse(text, strlen(text), pointer, &why) : MP_OK;
    return error ? fault_set(fault, error, "%s: %s", option, fault_text(&why)) : MP_OK;
}

enum mp_error send_dress_open(struct send_dress *dress, const struct send_settings *settings, struct fault *fault)
{
    *dress = (struct send_dress){.settings = settings};
    struct buffer *base = &dress->options;
    enum mp_error error = set_ambient(dress, fault);
    for (size_t i = 0; !error && i < settings->headers.count; i++)
        error = set_header(base, settings->headers.values[i], fault);
    if (!error)
        error = set_text(base, "-k", "partitionkey", settings->key, fault);
    if (!error)
        error = set_text(base, "--id", "id", settings->id, fault);
    if (!error)
        error = set_text(base, "--type", "type", settings->type, fault);
    if (!error)
        error = set_text(base, "--source", "source", settings->source, fault);
    if (!error)
        error = set_text(base, "--subject", "subject", settings->subject, fault);
    if (!error)
        error = open_pointer(&dress->key, "--key-json", settings->key_json, fault);
    if (!error)
        error = open_pointer(&dress->id, "--id-json", settings->id_json, fault);
    if (!error && settings->key_separator && !*settings->key_separator)
        error = fault_set(fault, MP_ERR_INVALID, "-K: the separator is empty: write -K : or the like");
    if (!error)
        error = make_base(dress, fault);
    if (error) {
        send_dress_free(dress);
        return error;
    }
    dress->each = settings->key_separator || settings->key_json || settings->id_json;
    return MP_OK;
}

void send_dress_summary(const struct send_dress *dress)
{
    unsigned long long mended = dress->mender.count, alone = dress->alone;
    if (mended > 0)
        tell("%llu %s", mended,
             mended == 1 ? "message came with a traceparent or tracestate that is none: it was sent without it"
                         : "messages came with a traceparent or tracestate that is none: they were sent without it");
    if (alone > 0)
        tell("$TRACEPARENT is no traceparent (00-TRACE-PARENT-01, in lower-case hex digits): %llu %s", alone,
             alone == 1 ? "message is of a trace of its own" : "messages are of traces of their own");
}

void send_dress_free(struct send_dress *dress)
{
    buffer_free(&dress->options);
    buffer_free(&dress->ambient);
    buffer_free(&dress->mender.block);
    buffer_free(&dress->base);
    buffer_free(&dress->block);
    buffer_free(&dress->text);
    format_pointer_free(dress->key);
    format_pointer_free(dress->id);
}

enum mp_error send_dress_add(struct send_dress *dress, const char *name, bool integer, const char *value,
                             struct fault *fault)
{
    enum mp_error error = attributes_set(&dress->options, integer ? ATTRIBUTE_INTEGER : ATTRIBUTE_STRING, name,
                                         strlen(name), value, strlen(value), fault);
    return error ? error : make_base(dress, fault);
}

/* The attributes that the message came with, over them those of the options, and what the environment has beside. */
static enum mp_error merge(struct send_dress *dress, const struct send_item *item, struct fault *fault)
{
    struct buffer *block = &dress->block;
    block->size = 0;
    const struct buffer *base = &dress->base, *options = &dress->options;
    bool own = item->attributes_size > 0;
    enum mp_error error = own ? buffer_append(block, item->attributes, item->attributes_size)
                              : buffer_append(block, base->data, base->size);
    if (error)
        return fault_memory(fault);
    if (!own)
        return MP_OK;
    size_t at = 0;
    struct attribute attribute;
    while (!error && attribute_next(options->data, options->size, &at, &attribute))
        error = attributes_set(block, attribute.code, attribute.name, attribute.name_size, attribute.value,
                               attribute.value_size, fault);
    return error ? error : add_ambient(&dress->ambient, block, fault);
}

/* The key before the separator, which is taken off the body. A body without one has no key. */
static enum mp_error take_key(struct send_dress *dress, struct send_item *item, struct fault *fault)
{
    const char *separator = dress->settings->key_separator;
    size_t size = strlen(separator);
    const uint8_t *found = memmem(item->body, item->size, separator, size);
    if (!found)
        return MP_OK;
    size_t key_size = (size_t)(found - item->body);
    enum mp_error error = set(&dress->block, "-K", "partitionkey", (const char *)item->body, key_size, fault);
    item->body += key_size + size;
    item->size -= key_size + size;
    return error;
}

static enum mp_error take_value(struct send_dress *dress, const struct send_item *item, const char *option,
                                struct format_pointer *pointer, const char *words, const char *name,
                                struct fault *fault)
{
    struct fault why = {0};
    dress->text.size = 0;
    enum mp_error error = format_pointer_read(pointer, item->body, item->size, &dress->text, &why);
    if (error)
        return fault_set(fault, error == MP_ERR_NOT_FOUND ? MP_ERR_FORMAT : error, "%s %s: %s", option, words,
                         fault_text(&why));
    return set(&dress->block, option, name, (const char *)dress->text.data, dress->text.size, fault);
}

/* --ttl: when the messages that come now expire, by this clock, to a millisecond. */
static enum mp_error set_expiry(struct send_dress *dress, struct fault *fault)
{
    enum { EXACTNESS = 1000 };
    char text[UNITS_TIME_TEXT];
    int64_t ttl = dress->settings->ttl;
    if (ttl <= 0)
        return MP_OK;
    int64_t now = clock_wall(); /* no sooner: without --ttl a message is not to cost the reading of a clock */
    int64_t expiry = now > FRAME_TIME_MAX - ttl ? FRAME_TIME_MAX : now + ttl;
    if (dress->expiry && expiry >= dress->expiry && expiry - dress->expiry < EXACTNESS)
        return MP_OK;
    dress->expiry = expiry;
    units_time_text(expiry, text);
    enum mp_error error = set_text(&dress->options, "--ttl", "expirytime", text, fault);
    return error ? error : make_base(dress, fault);
}

enum mp_error send_dress_item(struct send_dress *dress, struct send_item *item, struct fault *fault)
{
    const struct send_settings *settings = dress->settings;
    enum mp_error error = set_expiry(dress, fault);
    if (!error && item->attributes_size > 0)
        error = trace_mender_apply(&dress->mender, &item->attributes, &item->attributes_size);
    if (error)
        return error;
    dress->alone += dress->untraced;
    if (!dress->each && item->attributes_size == 0) {
        item->attributes = dress->base.size ? dress->base.data : NULL;
        item->attributes_size = dress->base.size;
        return MP_OK;
    }
    if (!dress->each && dress->base.size == 0)
        return MP_OK;
    error = merge(dress, item, fault);
    if (!error && settings->key_separator)
        error = take_key(dress, item, fault);
    if (!error && dress->key)
        error = take_value(dress, item, "--key-json", dress->key, settings->key_json, "partitionkey", fault);
    if (!error && dress->id)
        error = take_value(dress, item, "--id-json", dress->id, settings->id_json, "id", fault);
    item->attributes = dress->block.size ? dress->block.data : NULL;
    item->attributes_size = dress->block.size;
    return error;
}
