#include "client/library.h"

#include "base/memory.h"
#include "message/attributes.h"

/* ---- links -------------------------------------------------------------------------------- */

struct library_link *library_link_new(const struct mp_client *owner)
{
    struct library_link *link = memory_allocate(sizeof *link);
    if (link != NULL) {
        link->owner = owner;
        atomic_init(&link->references, 1);
        atomic_init(&link->abandoned, 0);
    }
    return link;
}

struct library_link *library_link_hold(struct library_link *link)
{
    atomic_fetch_add(&link->references, 1);
    return link;
}

void library_link_drop(struct library_link *link)
{
    if (link != NULL && atomic_fetch_sub(&link->references, 1) == 1) {
        memory_release(link);
    }
}

/* ---- attributes --------------------------------------------------------------------------- */

/* Writes the terminated values anew. On failure they are as before. */
static enum mp_error write_values(struct mp_message *message)
{
    struct buffer values = {0};
    struct attribute attribute;
    size_t at = 0;
    while (attribute_next(message->attributes.data, message->attributes.size, &at, &attribute)) {
        if (attribute.code == ATTRIBUTE_ORIGIN) {
            continue;
        }
        if (buffer_reserve(&values, attribute.value_size + 1) != MP_OK) {
            buffer_free(&values);
            return MP_ERR_MEMORY;
        }
        buffer_append(&values, attribute.value, attribute.value_size);
        buffer_put_u8(&values, 0);
    }
    buffer_free(&message->values);
    message->values = values;
    return MP_OK;
}

enum mp_error mp_message_set(struct mp_message *message, const char *name, const char *value)
{
    struct buffer before = {0};
    size_t size = strlen(name);
    if (buffer_append(&before, message->attributes.data, message->attributes.size) != MP_OK) {
        return MP_ERR_MEMORY;
    }
    enum mp_error error = MP_OK;
    if (value == NULL) {
        attributes_remove(&message->attributes, name, size);
    } else {
        error =
            attributes_set(&message->attributes, attribute_code_of(name, size), name, size, value, strlen(value), NULL);
    }
    if (error == MP_OK && write_values(message) != MP_OK) {
        buffer_free(&message->attributes);
        message->attributes = before;
        return MP_ERR_MEMORY;
    }
    buffer_free(&before);
    return error;
}

const char *mp_message_get(const struct mp_message *message, const char *name)
{
    size_t size = strlen(name);
    size_t at = 0;
    const char *value = (const char *)message->values.data;
    struct attribute attribute;
    while (attribute_next(message->attributes.data, message->attributes.size, &at, &attribute)) {
        if (attribute.code == ATTRIBUTE_ORIGIN) {
            continue;
        }
        if (attribute.name_size == size && memcmp(attribute.name, name, size) == 0) {
            return value;
        }
        value += attribute.value_size + 1;
    }
    return message->received && strcmp(name, "id") == 0 ? message->id : NULL;
}

/* ---- messages ----------------------------------------------------------------------------- */

struct mp_message *mp_message_new(const void *body, size_t size)
{
    struct mp_message *message = memory_allocate(sizeof *message);
    if (message == NULL || (size > 0 && buffer_append(&message->body, body, size) != MP_OK)) {
        memory_release(message);
        return NULL;
    }
    return message;
}

/* Takes over the attributes of RECORD but the origin, which the message has in fields of its own. */
static enum mp_error copy_attributes(struct mp_message *message, const struct record *record)
{
    struct attribute first;
    size_t skip = 0;
    if (!attribute_next(record->attributes, record->attributes_size, &skip, &first)) {
        return MP_OK;
    }
    if (first.code != ATTRIBUTE_ORIGIN) {
        skip = 0;
    }
    enum mp_error error =
        buffer_append(&message->attributes, record->attributes + skip, record->attributes_size - skip);
    return error != MP_OK ? error : write_values(message);
}

struct mp_message *library_message(const struct protocol_chunk *chunk, const struct record *record, uint64_t offset,
                                   uint64_t lease, struct library_link *link)
{
    struct mp_message *message = mp_message_new(record->body, record->size);
    if (message == NULL) {
        return NULL;
    }
    if (copy_attributes(message, record) != MP_OK) {
        mp_message_free(message);
        return NULL;
    }
    message->received = true;
    message->producer = record->producer;
    message->sequence = record->sequence;
    frame_origin_text(record->producer, record->sequence, message->id);
    memcpy(message->topic, chunk->name, chunk->name_size);
    message->offset = offset;
    message->attempt = chunk->attempt;
    message->group = chunk->group;
    message->lease = lease;
    if (link != NULL) {
        message->link = library_link_hold(link);
    }
    return message;
}

void library_message_unlink(struct mp_message *message)
{
    library_link_drop(message->link);
    message->link = NULL;
}

void mp_message_free(struct mp_message *message)
{
    if (message == NULL) {
        return;
    }
    if (message->link != NULL) {
        atomic_fetch_add(&message->link->abandoned, 1);
        library_link_drop(message->link);
    }
    buffer_free(&message->body);
    buffer_free(&message->attributes);
    buffer_free(&message->values);
    memory_release(message);
}

const void *mp_message_body(const struct mp_message *message, size_t *size)
{
    *size = message->body.size;
    return message->body.data != NULL ? message->body.data : (const void *)"";
}

const char *mp_message_topic(const struct mp_message *message)
{
    return message->topic;
}

uint64_t mp_message_offset(const struct mp_message *message)
{
    return message->offset;
}

unsigned mp_message_attempt(const struct mp_message *message)
{
    return message->attempt;
}
