#include "stage/inherit.h"

#include "message/trace.h"

/* ITEM's own, if it has one that is one. */
static bool own_parent(const struct format_item *item, struct trace_parent *parent)
{
    struct attribute attribute;
    return attribute_known(item->record.attributes, item->record.attributes_size, ATTRIBUTE_TRACEPARENT, &attribute) &&
           trace_parent_read(attribute.value, attribute.value_size, parent);
}

bool stage_traceparent(const struct format_item *item, char text[TRACE_PARENT_TEXT])
{
    const struct record *record = &item->record;
    const struct trace_place place = {
        .topic = item->topic && *item->topic ? item->topic : NULL,
        .offset = item->offset,
        .group = item->group,
        .attempt = item->attempt,
        .delivery = item->delivery,
    };
    struct trace_parent parent = {.trace = {record->producer, record->sequence}, .flags = 1};
    if (record->producer == 0)
        return false;
    own_parent(item, &parent);
    parent.span = trace_span(record->producer, record->sequence, &place);
    trace_parent_write(&parent, text);
    return true;
}

static bool has(const struct buffer *block, enum attribute_code code)
{
    struct attribute attribute;
    return block->size > 0 && attribute_known(block->data, block->size, code, &attribute);
}

static bool has_id(const struct record *record)
{
    struct attribute attribute;
    return record->attributes_size > 0 &&
           attribute_known(record->attributes, record->attributes_size, ATTRIBUTE_ID, &attribute);
}

static enum mp_error set(struct buffer *block, enum attribute_code code, const char *value, size_t size,
                         struct fault *fault)
{
    const char *name = attribute_name(code);
    return attributes_set(block, code, name, strlen(name), value, size, fault);
}

/* The attribute CODE of ITEM, if it has one and BLOCK has not. */
static enum mp_error take(const struct record *record, enum attribute_code code, struct buffer *block, bool *taken,
                          struct fault *fault)
{
    struct attribute attribute;
    *taken = record->attributes_size > 0 && !has(block, code) &&
             attribute_known(record->attributes, record->attributes_size, code, &attribute);
    return *taken ? set(block, code, attribute.value, attribute.value_size, fault) : MP_OK;
}

/* A tracestate belongs to its traceparent. */
static enum mp_error take_trace(const struct format_item *item, struct buffer *block, struct fault *fault)
{
    struct trace_parent parent;
    char text[TRACE_PARENT_TEXT];
    bool taken;
    trace_mend(block);
    if (has(block, ATTRIBUTE_TRACEPARENT))
        return MP_OK;
    if (own_parent(item, &parent)) {
        enum mp_error error = take(&item->record, ATTRIBUTE_TRACEPARENT, block, &taken, fault);
        return error ? error : take(&item->record, ATTRIBUTE_TRACESTATE, block, &taken, fault);
    }
    return stage_traceparent(item, text) ? set(block, ATTRIBUTE_TRACEPARENT, text, strlen(text), fault) : MP_OK;
}

enum mp_error stage_inherit(const struct format_item *item, struct buffer *block, struct fault *fault)
{
    char text[FRAME_ID_TEXT];
    size_t size;
    bool taken;
    enum mp_error error = take_trace(item, block, fault);
    if (error == MP_OK)
        error = take(&item->record, ATTRIBUTE_PARTITIONKEY, block, &taken, fault);
    if (error == MP_OK)
        error = take(&item->record, ATTRIBUTE_CORRELATIONID, block, &taken, fault);
    /* A piece of a message has no id, and its cause was that of the message already. */
    const bool nameless = item->record.producer == 0 && !has_id(&item->record);
    if (error == MP_OK && nameless)
        return take(&item->record, ATTRIBUTE_CAUSATIONID, block, &taken, fault);
    if (error == MP_OK && !has(block, ATTRIBUTE_CAUSATIONID)) {
        const char *id = frame_record_id(&item->record, text, &size);
        error = set(block, ATTRIBUTE_CAUSATIONID, id, size, fault);
    }
    return error;
}
