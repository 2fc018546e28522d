#include "message/format_private.h"

#include "base/units.h"
#include "message/json_scan.h"
#include "message/text.h"

#include <inttypes.h>
#include <stdio.h>

/* The attributes that stand in places of their own. */
struct named {
    struct attribute id;
    struct attribute source;
    struct attribute type;
    struct attribute time;
    struct attribute content;
    bool others; /* there are more */
};

static void find_named(const struct record *record, struct named *named)
{
    struct attribute attribute;
    size_t at = 0;
    *named = (struct named){.others = false};
    while (attribute_next(record->attributes, record->attributes_size, &at, &attribute)) {
        switch (attribute.code) {
        case ATTRIBUTE_ID:
            named->id = attribute;
            break;
        case ATTRIBUTE_SOURCE:
            named->source = attribute;
            break;
        case ATTRIBUTE_TYPE:
            named->type = attribute;
            break;
        case ATTRIBUTE_TIME:
            named->time = attribute;
            break;
        case ATTRIBUTE_DATACONTENTTYPE:
            named->content = attribute;
            named->others = true;
            break;
        case ATTRIBUTE_ORIGIN:
            break;
        default:
            named->others = true;
            break;
        }
    }
}

/* Appends `,"NAME":` and VALUE as a string, both known to need no escapes but VALUE. */
static enum mp_error put_string(struct buffer *out, const char *name, const void *value, size_t size)
{
    const size_t length = strlen(name);
    enum mp_error error = buffer_reserve(out, length + size + 8);
    if (error == MP_OK)
        error = buffer_append(out, ",\"", 2);
    if (error == MP_OK)
        error = buffer_append(out, name, length);
    if (error == MP_OK)
        error = buffer_append(out, "\":", 2);
    return error == MP_OK ? json_scan_quote(out, value, size) : error;
}

static enum mp_error put_text(struct buffer *out, const char *name, const char *value)
{
    return put_string(out, name, value, strlen(value));
}

static enum mp_error put_id(const struct format_item *item, const struct attribute *id, struct buffer *out)
{
    if (id->name != NULL)
        return put_string(out, "id", id->value, id->value_size);
    char text[FRAME_ID_TEXT];
    frame_origin_text(item->record.producer, item->record.sequence, text);
    return put_text(out, "id", text);
}

static enum mp_error put_source(const struct format_item *item, const struct attribute *source, struct buffer *out)
{
    if (source->name != NULL)
        return put_string(out, "source", source->value, source->value_size);
    /* A topic's name needs no escapes, in JSON or in a URI. */
    enum mp_error error = buffer_append_string(out, ",\"source\":\"/");
    if (error == MP_OK && item->topic != NULL)
        error = buffer_append_string(out, item->topic);
    return error == MP_OK ? buffer_append(out, "\"", 1) : error;
}

static enum mp_error put_time(const struct format_item *item, const struct attribute *time, struct buffer *out)
{
    if (time->name != NULL)
        return put_string(out, "time", time->value, time->value_size);
    char text[UNITS_TIME_TEXT];
    units_time_text(item->time, text);
    return put_text(out, "time", text);
}

/* Integers and booleans stand without quotes when they are what they say: a block may come from a stranger. */
static bool is_bare(const struct attribute *attribute)
{
    if (attribute->code == ATTRIBUTE_INTEGER)
        return format_is_integer(attribute->value, attribute->value_size);
    return attribute->code == ATTRIBUTE_BOOLEAN && (format_same(attribute->value, attribute->value_size, "true") ||
                                                    format_same(attribute->value, attribute->value_size, "false"));
}

static bool is_reserved(const struct attribute *attribute)
{
    return format_same(attribute->name, attribute->name_size, "data") ||
           format_same(attribute->name, attribute->name_size, "data_base64") ||
           format_same(attribute->name, attribute->name_size, "specversion");
}

static enum mp_error put_attribute(const struct attribute *attribute, struct buffer *out)
{
    enum mp_error error = buffer_append(out, ",", 1);
    if (error == MP_OK)
        error = json_scan_quote(out, attribute->name, attribute->name_size);
    if (error == MP_OK)
        error = buffer_append(out, ":", 1);
    if (error != MP_OK)
        return error;
    return is_bare(attribute) ? buffer_append(out, attribute->value, attribute->value_size)
                              : json_scan_quote(out, attribute->value, attribute->value_size);
}

/* What has no place of its own. */
static enum mp_error put_others(const struct record *record, struct buffer *out, struct fault *fault)
{
    struct attribute attribute;
    size_t at = 0;
    while (attribute_next(record->attributes, record->attributes_size, &at, &attribute)) {
        switch (attribute.code) {
        case ATTRIBUTE_ORIGIN:
        case ATTRIBUTE_ID:
        case ATTRIBUTE_SOURCE:
        case ATTRIBUTE_TYPE:
        case ATTRIBUTE_TIME:
            continue;
        default:
            break;
        }
        if (format_is_relay_name(attribute.name, attribute.name_size))
            continue; /* this message's own follow */
        if (attribute.code >= ATTRIBUTE_STRING && is_reserved(&attribute)) {
            return fault_set(fault, MP_ERR_FORMAT,
                             "a message has an attribute '%.*s', which CloudEvents has another "
                             "use for: take another format than json",
                             (int)attribute.name_size, attribute.name);
        }
        if (put_attribute(&attribute, out) != MP_OK)
            return fault_memory(fault);
    }
    return MP_OK;
}

static enum mp_error put_relayed(const struct format_item *item, struct buffer *out)
{
    if (item->topic == NULL || item->topic[0] == '\0')
        return MP_OK;
    char numbers[128];
    int length = snprintf(numbers, sizeof(numbers), ",\"" FORMAT_OFFSET "\":\"%" PRIu64 "\"", item->offset);
    if (item->attempt > 0) {
        length +=
            snprintf(numbers + length, sizeof(numbers) - (size_t)length, ",\"" FORMAT_ATTEMPT "\":%u", item->attempt);
    }
    enum mp_error error = put_text(out, FORMAT_TOPIC, item->topic);
    return error == MP_OK ? buffer_append(out, numbers, (size_t)length) : error;
}

/* Whether the body may stand in `data` as it is: a JSON value on one line. */
static bool is_verbatim(const struct record *record, bool json_type)
{
    const uint8_t first = record->body[0];
    if (first == '"' && !json_type)
        return false;
    /* What begins no value needs no scan for its newlines. */
    const struct json_scanner scanner = json_scanner(record->body, record->size);
    return json_scan_kind(&scanner) != SCAN_NONE && memchr(record->body, '\n', record->size) == NULL &&
           json_scan_is_value(record->body, record->size);
}

static enum mp_error put_data(const struct record *record, const struct attribute *content, struct buffer *out)
{
    if (record->size == 0)
        return MP_OK;
    const bool typed = content->name != NULL;
    const bool json_type = typed && format_is_json_type(content->value, content->value_size);
    if ((json_type || !typed) && is_verbatim(record, json_type)) {
        enum mp_error error = buffer_append_string(out, ",\"data\":");
        return error == MP_OK ? buffer_append(out, record->body, record->size) : error;
    }
    if (!json_type && text_is_utf8(record->body, record->size))
        return put_string(out, "data", record->body, record->size);
    enum mp_error error = buffer_append_string(out, ",\"data_base64\":\"");
    if (error == MP_OK)
        error = base64_encode(record->body, record->size, out);
    return error == MP_OK ? buffer_append(out, "\"", 1) : error;
}

enum mp_error format_json_value(const struct record *record, struct buffer *out)
{
    struct attribute content;
    const bool json_type =
        record->attributes_size > 0 &&
        attribute_known(record->attributes, record->attributes_size, ATTRIBUTE_DATACONTENTTYPE, &content) &&
        format_is_json_type(content.value, content.value_size);
    struct json_scanner scanner = json_scanner(record->body, record->size);
    struct json_extent value;
    if (record->size > 0) {
        json_scan_space(&scanner);
        const bool string = json_scan_kind(&scanner) == SCAN_STRING;
        if ((!string || json_type) && json_scan_value(&scanner, &value)) {
            json_scan_space(&scanner);
            if (scanner.at == scanner.end)
                return buffer_append(out, value.text, value.size);
        }
    }
    return text_is_utf8(record->body, record->size) ? json_scan_quote(out, record->body, record->size) : MP_ERR_FORMAT;
}

enum mp_error format_json_write(const struct format_item *item, struct buffer *out, struct fault *fault)
{
    struct named named;
    find_named(&item->record, &named);
    enum mp_error error = buffer_reserve(out, item->record.size + item->record.attributes_size + 256);
    if (error == MP_OK)
        error = buffer_append_string(out, "{\"specversion\":\"1.0\"");
    if (error == MP_OK)
        error = put_id(item, &named.id, out);
    if (error == MP_OK)
        error = put_source(item, &named.source, out);
    if (error == MP_OK) {
        error = named.type.name == NULL ? put_text(out, "type", "message")
                                        : put_string(out, "type", named.type.value, named.type.value_size);
    }
    if (error == MP_OK && named.others) {
        error = put_others(&item->record, out, fault);
        if (error == MP_ERR_FORMAT)
            return error;
    }
    if (error == MP_OK)
        error = put_time(item, &named.time, out);
    if (error == MP_OK)
        error = put_relayed(item, out);
    if (error == MP_OK)
        error = put_data(&item->record, &named.content, out);
    if (error == MP_OK)
        error = buffer_append(out, "}", 1);
    return error == MP_OK ? MP_OK : fault_memory(fault);
}
