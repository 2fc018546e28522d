#include "message/format_private.h"

#include "base/memory.h"
#include "base/units.h"

enum value_kind {
    VALUE_ID,
    VALUE_TOPIC,
    VALUE_OFFSET,
    VALUE_ATTEMPT,
    VALUE_TIME,
    VALUE_BODY,
    VALUE_SIZE,
    VALUE_POINTER,
    VALUE_KNOWN,
    VALUE_OTHER
};

struct format_value {
    enum value_kind kind;
    enum attribute_code code;       /* KNOWN */
    struct format_pointer *pointer; /* POINTER */
    size_t size;                    /* OTHER */
    char name[ATTRIBUTE_NAME_MAX];
};

void format_value_free(struct format_value *value)
{
    if (value == NULL)
        return;
    format_pointer_free(value->pointer);
    memory_release(value);
}

static enum value_kind kind_of(const char *name, size_t size, enum attribute_code *code)
{
    static const struct {
        const char *name;
        enum value_kind kind;
    } own[] = {
        {"id", VALUE_ID},     {"topic", VALUE_TOPIC}, {"offset", VALUE_OFFSET}, {"attempt", VALUE_ATTEMPT},
        {"time", VALUE_TIME}, {"body", VALUE_BODY},   {"size", VALUE_SIZE},
    };
    *code = format_same(name, size, "key") ? ATTRIBUTE_PARTITIONKEY : attribute_code_of(name, size);
    for (size_t index = 0; index < sizeof(own) / sizeof(own[0]); index++)
        if (format_same(name, size, own[index].name))
            return own[index].kind;
    return size > 0 && name[0] == '/' ? VALUE_POINTER : *code == ATTRIBUTE_STRING ? VALUE_OTHER : VALUE_KNOWN;
}

static enum mp_error check_name(const char *name, size_t size, struct fault *fault)
{
    char shown[FAULT_QUOTE];
    bool good = size > 0 && size <= ATTRIBUTE_NAME_MAX;
    for (size_t at = 0; good && at < size; at++)
        good = format_is_name_letter(name[at]);
    if (good)
        return MP_OK;
    return fault_set(fault, MP_ERR_INVALID,
                     size == 0
                         ? "'%s' names nothing: write body, id, topic, the name of an attribute, or a JSON "
                           "pointer such as /order/id"
                         : "'%s' is no name: an attribute's has letters, digits, '_' and '-', 64 of them at most; "
                           "a JSON pointer begins with '/'",
                     fault_quote(shown, name, size));
}

enum mp_error format_value_parse(const char *name, size_t size, struct format_value **value, struct fault *fault)
{
    enum attribute_code code;
    const enum value_kind kind = kind_of(name, size, &code);
    *value = NULL;
    enum mp_error error = kind == VALUE_POINTER ? MP_OK : check_name(name, size, fault);
    if (error != MP_OK)
        return error;
    struct format_value *made = memory_allocate(sizeof(*made));
    if (made == NULL)
        return fault_memory(fault);
    made->kind = kind;
    made->code = code;
    if (kind == VALUE_POINTER) {
        error = format_pointer_parse(name, size, &made->pointer, fault);
    } else {
        made->size = size;
        memcpy(made->name, name, size);
    }
    if (error != MP_OK) {
        format_value_free(made);
        return error;
    }
    *value = made;
    return MP_OK;
}

/* SIZE bytes at TEXT, put behind what is in SCRATCH. */
static enum mp_error keep(struct buffer *scratch, const char *text, size_t size, struct format_text *out)
{
    const size_t before = scratch->size;
    enum mp_error error = buffer_append(scratch, text, size);
    if (error == MP_OK)
        *out = (struct format_text){scratch->data + before, size};
    return error;
}

static enum mp_error put_number(struct buffer *scratch, uint64_t number, struct format_text *out)
{
    char text[24];
    size_t at = sizeof(text);
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return keep(scratch, text + at, sizeof(text) - at, out);
}

static enum mp_error put_origin(struct buffer *scratch, const struct record *record, struct format_text *out)
{
    char text[FRAME_ID_TEXT];
    frame_origin_text(record->producer, record->sequence, text);
    return keep(scratch, text, FRAME_ID_TEXT - 1, out);
}

static enum mp_error put_time(struct buffer *scratch, int64_t time, struct format_text *out)
{
    char text[UNITS_TIME_TEXT];
    units_time_text(time, text);
    return keep(scratch, text, strlen(text), out);
}

static enum mp_error put_pointed(struct format_value *value, const struct record *record, struct buffer *scratch,
                                 struct format_text *out)
{
    struct json_extent found;
    enum mp_error error = format_pointer_find(value->pointer, record->body, record->size, scratch, &found);
    if (error == MP_OK)
        *out = (struct format_text){found.text, found.size};
    return error == MP_ERR_MEMORY ? error : MP_OK;
}

/* The attribute, in OUT; false: there is none. */
static bool take_attribute(const struct record *record, enum attribute_code code, struct format_text *out)
{
    struct attribute attribute;
    if (record->attributes_size == 0 || !attribute_known(record->attributes, record->attributes_size, code, &attribute))
        return false;
    *out = (struct format_text){(const uint8_t *)attribute.value, attribute.value_size};
    return true;
}

static void take_other(const struct record *record, const struct format_value *value, struct format_text *out)
{
    struct attribute attribute;
    size_t at = 0;
    while (attribute_next(record->attributes, record->attributes_size, &at, &attribute)) {
        if (attribute.code >= ATTRIBUTE_STRING && attribute.name_size == value->size &&
            memcmp(attribute.name, value->name, value->size) == 0) {
            *out = (struct format_text){(const uint8_t *)attribute.value, attribute.value_size};
            return;
        }
    }
}

enum mp_error format_value_read(struct format_value *value, const struct format_item *item, struct buffer *scratch,
                                struct format_text *text)
{
    const struct record *record = &item->record;
    *text = (struct format_text){NULL, 0};
    switch (value->kind) {
    case VALUE_ID:
        if (take_attribute(record, ATTRIBUTE_ID, text) || record->producer == 0)
            return MP_OK;
        return put_origin(scratch, record, text);
    case VALUE_TIME:
        if (take_attribute(record, ATTRIBUTE_TIME, text))
            return MP_OK;
        return put_time(scratch, item->time, text);
    case VALUE_TOPIC:
        if (item->topic != NULL && item->topic[0] != '\0')
            *text = (struct format_text){(const uint8_t *)item->topic, strlen(item->topic)};
        return MP_OK;
    case VALUE_OFFSET:
        return put_number(scratch, item->offset, text);
    case VALUE_ATTEMPT:
        return put_number(scratch, item->attempt, text);
    case VALUE_SIZE:
        return put_number(scratch, record->size, text);
    case VALUE_BODY:
        *text = (struct format_text){record->size > 0 ? record->body : (const uint8_t *)"", record->size};
        return MP_OK;
    case VALUE_POINTER:
        return put_pointed(value, record, scratch, text);
    case VALUE_KNOWN:
        (void)take_attribute(record, value->code, text);
        return MP_OK;
    case VALUE_OTHER:
        take_other(record, value, text);
        return MP_OK;
    }
    return MP_ERR_INTERNAL;
}
