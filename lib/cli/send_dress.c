/* The attributes of msend's messages. */
#include "cli/send_dress.h"

#include "base/clock.h"
#include "base/units.h"
#include "message/attributes.h"
#include "message/formats.h"
#include "message/frame.h"
#include "message/trace.h"

#include <ctype.h>
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

/* Anything else in $TRACEPARENT is somebody else's. */
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

static enum mp_error set_trace(struct buffer *block, struct fault *fault)
{
    const char *parent = getenv("TRACEPARENT");
    if (!parent || !is_traceparent(parent))
        return MP_OK;
    enum mp_error error = set_text(block, "$TRACEPARENT", "traceparent", parent, fault);
    const char *state = getenv("TRACESTATE");
    if (!error && state && *state)
        error = set_text(block, "$TRACESTATE", "tracestate", state, fault);
    return error;
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
    struct buffer *base = &dress->base;
    enum mp_error error = set_trace(base, fault);
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
    if (error) {
        send_dress_free(dress);
        return error;
    }
    dress->each = settings->key_separator || settings->key_json || settings->id_json;
    return MP_OK;
}

void send_dress_free(struct send_dress *dress)
{
    buffer_free(&dress->base);
    buffer_free(&dress->block);
    buffer_free(&dress->text);
    format_pointer_free(dress->key);
    format_pointer_free(dress->id);
}

enum mp_error send_dress_add(struct send_dress *dress, const char *name, bool integer, const char *value,
                             struct fault *fault)
{
    return attributes_set(&dress->base, integer ? ATTRIBUTE_INTEGER : ATTRIBUTE_STRING, name, strlen(name), value,
                          strlen(value), fault);
}

/* The attributes that the message came with, and over them those of the options. */
static enum mp_error merge(struct send_dress *dress, const struct send_item *item, struct fault *fault)
{
    struct buffer *block = &dress->block;
    block->size = 0;
    const struct buffer *base = &dress->base;
    bool own = item->attributes_size > 0;
    enum mp_error error = own ? buffer_append(block, item->attributes, item->attributes_size)
                              : buffer_append(block, base->data, base->size);
    if (error)
        return fault_memory(fault);
    size_t at = 0;
    struct attribute attribute;
    while (own && !error && attribute_next(base->data, base->size, &at, &attribute))
        error = attributes_set(block, attribute.code, attribute.name, attribute.name_size, attribute.value,
                               attribute.value_size, fault);
    return error;
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
    return set_text(&dress->base, "--ttl", "expirytime", text, fault);
}

enum mp_error send_dress_item(struct send_dress *dress, struct send_item *item, struct fault *fault)
{
    const struct send_settings *settings = dress->settings;
    enum mp_error timed = set_expiry(dress, fault);
    if (timed)
        return timed;
    if (!dress->each && item->attributes_size == 0) {
        item->attributes = dress->base.size ? dress->base.data : NULL;
        item->attributes_size = dress->base.size;
        return MP_OK;
    }
    if (!dress->each && dress->base.size == 0)
        return MP_OK;
    enum mp_error error = merge(dress, item, fault);
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
