/* What a command is told of its message. */
#include "stage/environment.h"

#include "base/memory.h"
#include "message/attributes.h"
#include "stage/inherit.h"

#include <inttypes.h>
#include <stdio.h>

static bool is_ours(const char *entry)
{
    return strncmp(entry, "MSG_", 4) == 0 || strncmp(entry, "TRACEPARENT=", 12) == 0 ||
           strncmp(entry, "TRACESTATE=", 11) == 0;
}

/* Room for COUNT entries and the NULL. */
static enum mp_error reserve(struct stage_environment *environment, size_t count)
{
    if (count + 1 <= environment->capacity)
        return MP_OK;
    size_t capacity = (count + 1) * 2;
    char **entries = memory_reallocate(environment->entries, capacity * sizeof(*entries));
    if (!entries)
        return MP_ERR_MEMORY;
    environment->entries = entries;
    environment->capacity = capacity;
    return MP_OK;
}

/* Whether one of ENTRIES is of the same variable as ENTRY. */
static bool has_same(char *const *entries, const char *entry)
{
    size_t size = strcspn(entry, "=") + 1;
    for (; entries && *entries; entries++)
        if (strncmp(*entries, entry, size) == 0)
            return true;
    return false;
}

/* Takes those of ENTRIES that are no message's, and not among REPLACED. */
static enum mp_error take(struct stage_environment *environment, char *const *entries, char *const *replaced)
{
    for (; entries && *entries; entries++) {
        if (is_ours(*entries) || has_same(replaced, *entries))
            continue;
        enum mp_error error = reserve(environment, environment->own + 1);
        if (error)
            return error;
        environment->entries[environment->own++] = *entries;
    }
    return MP_OK;
}

enum mp_error stage_environment_open(struct stage_environment *environment, char *const *own, char *const *added,
                                     struct fault *fault)
{
    *environment = (struct stage_environment){0};
    enum mp_error error = take(environment, own, added);
    if (!error)
        error = take(environment, added, NULL);
    if (!error)
        error = reserve(environment, environment->own);
    if (error) {
        stage_environment_free(environment);
        return fault_memory(fault);
    }
    environment->entries[environment->own] = NULL;
    environment->count = environment->own;
    return MP_OK;
}

void stage_environment_free(struct stage_environment *environment)
{
    memory_release(environment->entries);
    buffer_free(&environment->text);
    *environment = (struct stage_environment){0};
}

/* ---- the text: entries, each terminated ----------------------------------------------------------------------- */

/* Begins "MSG_NAME=", unless that variable is there already. */
static bool begin(struct buffer *text, const char *name, size_t size, enum mp_error *error)
{
    size_t start = text->size;
    *error = buffer_append(text, "MSG_", 4);
    for (size_t i = 0; i < size && !*error; i++) {
        char letter = name[i];
        if (letter >= 'a' && letter <= 'z')
            letter = (char)(letter - 'a' + 'A');
        else if (!(letter >= 'A' && letter <= 'Z') && !(letter >= '0' && letter <= '9'))
            letter = '_';
        *error = buffer_append(text, &letter, 1);
    }
    if (!*error)
        *error = buffer_append(text, "=", 1);
    size_t length = text->size - start;
    for (size_t at = 0; !*error && at < start; at += strlen((const char *)text->data + at) + 1)
        if (start - at >= length && memcmp(text->data + at, text->data + start, length) == 0) {
            text->size = start;
            return false;
        }
    return *error == MP_OK;
}

static enum mp_error put(struct buffer *text, const char *name, size_t name_size, const char *value, size_t size)
{
    enum mp_error error;
    if (!begin(text, name, name_size, &error))
        return error;
    error = buffer_append(text, value, size);
    return error ? error : buffer_append(text, "", 1);
}

static enum mp_error put_number(struct buffer *text, const char *name, uint64_t value)
{
    char digits[24];
    int size = snprintf(digits, sizeof(digits), "%" PRIu64, value);
    return put(text, name, strlen(name), digits, (size_t)size);
}

/* A variable that is not a MSG_ one. */
static enum mp_error put_plain(struct buffer *text, const char *name, const char *value, size_t size)
{
    enum mp_error error = buffer_append_format(text, "%s=", name);
    if (!error)
        error = buffer_append(text, value, size);
    return error ? error : buffer_append(text, "", 1);
}

/* What the command sends is part of the message's trace, and this delivery's doing. */
static enum mp_error put_trace(struct buffer *text, const struct format_item *item)
{
    const struct record *record = &item->record;
    struct attribute attribute;
    struct trace_parent parent;
    char trace[TRACE_PARENT_TEXT];
    size_t size = record->attributes_size;
    bool own = size && attribute_known(record->attributes, size, ATTRIBUTE_TRACEPARENT, &attribute) &&
               trace_parent_read(attribute.value, attribute.value_size, &parent);
    if (own)
        trace_parent_write(&parent, trace);
    if (!stage_traceparent(item, trace) && !own)
        return MP_OK;
    enum mp_error error = put_plain(text, "TRACEPARENT", trace, strlen(trace));
    if (!error && own && attribute_known(record->attributes, size, ATTRIBUTE_TRACESTATE, &attribute))
        error = put_plain(text, "TRACESTATE", attribute.value, attribute.value_size);
    return error;
}

static enum mp_error put_message(struct buffer *text, const struct format_item *item)
{
    const struct record *record = &item->record;
    struct attribute attribute;
    enum mp_error error = MP_OK;
    char id[FRAME_ID_TEXT];
    size_t size;
    if (record->producer || record->attributes_size) {
        const char *value = frame_record_id(record, id, &size);
        error = put(text, "id", 2, value, size);
    }
    if (!error && item->topic && *item->topic)
        error = put_number(text, "offset", item->offset);
    if (!error && record->attributes_size &&
        attribute_find(record->attributes, record->attributes_size, "partitionkey", 12, &attribute))
        error = put(text, "key", 3, attribute.value, attribute.value_size);
    size_t at = 0;
    while (!error && record->attributes_size &&
           attribute_next(record->attributes, record->attributes_size, &at, &attribute))
        if (attribute.code != ATTRIBUTE_ORIGIN)
            error = put(text, attribute.name, attribute.name_size, attribute.value, attribute.value_size);
    return error ? error : put_trace(text, item);
}

enum mp_error stage_environment_set(struct stage_environment *environment, const struct format_item *item,
                                    uint32_t count, struct fault *fault)
{
    struct buffer *text = &environment->text;
    enum mp_error error = MP_OK;
    text->size = 0;
    if (item->topic && *item->topic)
        error = put(text, "topic", 5, item->topic, strlen(item->topic));
    if (!error && item->attempt)
        error = put_number(text, "attempt", item->attempt);
    if (!error && count > 0)
        error = put_number(text, "count", count);
    if (!error && count <= 1)
        error = put_message(text, item);
    size_t entries = environment->own;
    for (size_t at = 0; !error && at < text->size; at += strlen((char *)text->data + at) + 1) {
        error = reserve(environment, entries + 1);
        if (!error)
            environment->entries[entries++] = (char *)text->data + at;
    }
    if (!error)
        error = reserve(environment, entries);
    if (error)
        return fault_memory(fault);
    environment->entries[entries] = NULL;
    environment->count = entries;
    return MP_OK;
}
