#include "message/format_private.h"

#include "message/json_scan.h"
#include "message/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* A CloudEvent while its line is taken apart. */
struct event {
    struct format_reader *reader;
    const uint8_t *line;
    struct json_scanner scanner;
    struct fault *fault;
    bool version;              /* specversion was there */
    uint32_t known;            /* a bit for each known attribute that was there */
    enum scan_kind data_kind;  /* SCAN_NONE: no `data` */
    struct json_extent data;   /* of a string its inside */
    const uint8_t *data_at;    /* where `data` begins, with its quote */
    struct json_extent base64; /* text NULL: no `data_base64` */
};

/* A member of the event's object. */
struct member {
    const uint8_t *at; /* of its name, for errors */
    struct json_extent name;
    const uint8_t *value_at;
    enum scan_kind kind;
    struct json_extent value; /* of a string its inside */
};

/* Says what is wrong at AT with line and column. */
static enum mp_error wrong(const struct event *event, const uint8_t *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum mp_error wrong(const struct event *event, const uint8_t *at, const char *format, ...)
{
    char words[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    return fault_set(event->fault, MP_ERR_FORMAT, "line %" PRIu64 ", column %zu: %s", event->reader->number,
                     text_characters(event->line, (size_t)(at - event->line)) + 1, words);
}

static enum mp_error wrong_json(const struct event *event)
{
    const struct json_scanner *scanner = &event->scanner;
    if (scanner->at == scanner->end)
        return wrong(event, scanner->at, "%s: an event is one line (`jq -c .` makes one of several)", scanner->problem);
    return wrong(event, scanner->at, "%s", scanner->problem);
}

static enum mp_error no_event(const struct event *event)
{
    const uint8_t *at = event->scanner.at;
    if (json_scan_kind(&event->scanner) == SCAN_ARRAY) {
        return wrong(event, at,
                     "an array, where a CloudEvents object is expected (`jq -c '.[]'` gives a line "
                     "for each of its objects)");
    }
    return wrong(event, at,
                 "this is no CloudEvents object, which begins with '{': send any text with "
                 "--format lines");
}

/* Decodes a string that is no body behind what reader->decoded holds, which lasts as long as a member. */
static enum mp_error decode(struct event *event, const struct json_extent *inside)
{
    const uint8_t *half = NULL;
    enum mp_error error = json_scan_decode(inside, &event->reader->decoded, &half);
    if (error == MP_ERR_FORMAT)
        return wrong(event, half, "half of a surrogate pair, which stands for no character");
    return error == MP_OK ? MP_OK : fault_memory(event->fault);
}

/* Passes over a member. */
static enum mp_error read_member(struct event *event, struct member *member)
{
    struct json_scanner *scanner = &event->scanner;
    member->at = scanner->at;
    if (!json_scan_string(scanner, &member->name))
        return wrong_json(event);
    json_scan_space(scanner);
    if (!json_scan_expect(scanner, ':'))
        return wrong_json(event);
    json_scan_space(scanner);
    member->value_at = scanner->at;
    member->kind = json_scan_kind(scanner);
    const bool good = member->kind == SCAN_STRING ? json_scan_string(scanner, &member->value)
                                                  : json_scan_value(scanner, &member->value);
    return good ? MP_OK : wrong_json(event);
}

static enum mp_error take_version(struct event *event, const struct member *member)
{
    if (event->version)
        return wrong(event, member->at, "'specversion' stands here twice");
    if (member->kind == SCAN_NULL)
        return MP_OK;
    event->version = true;
    if (member->kind == SCAN_STRING && format_same(member->value.text, member->value.size, "1.0"))
        return MP_OK;
    char shown[FAULT_QUOTE];
    return wrong(event, member->value_at, "specversion is '%s': only \"1.0\" is understood",
                 fault_quote(shown, (const char *)member->value.text, member->value.size));
}

static enum mp_error take_data(struct event *event, const struct member *member)
{
    if (event->data_kind != SCAN_NONE)
        return wrong(event, member->at, "'data' stands here twice");
    event->data_kind = member->kind;
    event->data = member->value;
    event->data_at = member->value_at;
    return MP_OK;
}

static enum mp_error take_base64(struct event *event, const struct member *member)
{
    if (event->base64.text != NULL)
        return wrong(event, member->at, "'data_base64' stands here twice");
    if (member->kind == SCAN_NULL)
        return MP_OK;
    if (member->kind != SCAN_STRING)
        return wrong(event, member->value_at, "'data_base64' must be a string");
    event->base64 = member->value;
    return MP_OK;
}

static bool is_name(const char *name, size_t size)
{
    for (size_t at = 0; at < size; at++) {
        const char letter = name[at];
        if (!((letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') ||
              (letter >= 'A' && letter <= 'Z') || letter == '_' || letter == '-'))
            return false;
    }
    return size > 0 && size <= ATTRIBUTE_NAME_MAX;
}

/* The type of a CloudEvents attribute that VALUE gives to NAME, or an error in words. */
static enum mp_error attribute_type(const struct event *event, const struct member *member, enum attribute_code known,
                                    const char *name, int name_size, enum attribute_code *code)
{
    *code = known;
    if (member->kind == SCAN_STRING)
        return MP_OK;
    if (member->kind == SCAN_OBJECT || member->kind == SCAN_ARRAY) {
        return wrong(event, member->value_at,
                     "attribute '%.*s' is an %s: attributes are strings, integers or booleans "
                     "(the message itself belongs into 'data')",
                     name_size, name, member->kind == SCAN_OBJECT ? "object" : "array");
    }
    if (known < ATTRIBUTE_STRING)
        return wrong(event, member->value_at, "attribute '%.*s' must be a string", name_size, name);
    if (member->kind != SCAN_NUMBER) {
        *code = ATTRIBUTE_BOOLEAN;
        return MP_OK;
    }
    if (!format_is_integer((const char *)member->value.text, member->value.size)) {
        return wrong(event, member->value_at,
                     "attribute '%.*s' is a number that CloudEvents does not have, which knows "
                     "integers from -2147483648 to 2147483647: write it as a string",
                     name_size, name);
    }
    *code = ATTRIBUTE_INTEGER;
    return MP_OK;
}

/* Whether an attribute of that name was taken before. */
static bool is_repeated(struct event *event, enum attribute_code known, const char *name, size_t name_size)
{
    if (known < ATTRIBUTE_STRING) {
        const uint32_t bit = UINT32_C(1) << known;
        const bool repeated = (event->known & bit) != 0;
        event->known |= bit;
        return repeated;
    }
    const struct buffer *block = &event->reader->attributes;
    struct attribute ignored;
    return attribute_find(block->data, block->size, name, name_size, &ignored);
}

static enum mp_error take_attribute(struct event *event, const struct member *member, const char *name,
                                    size_t name_size)
{
    if (!is_name(name, name_size)) {
        return wrong(event, member->at, "the name of an attribute has 1 to %d letters, digits, '_' or '-'",
                     ATTRIBUTE_NAME_MAX);
    }
    if (member->kind == SCAN_NULL)
        return MP_OK;
    const enum attribute_code known = attribute_code_of(name, name_size);
    enum attribute_code code;
    enum mp_error error = attribute_type(event, member, known, name, (int)name_size, &code);
    if (error != MP_OK)
        return error;
    if (is_repeated(event, known, name, name_size))
        return wrong(event, member->at, "attribute '%.*s' stands here twice", (int)name_size, name);
    const char *value = (const char *)member->value.text;
    size_t value_size = member->value.size;
    char copy[ATTRIBUTE_NAME_MAX];
    if (member->kind == SCAN_STRING && member->value.escaped) {
        /* The name may stand in the buffer that grows now. */
        memcpy(copy, name, name_size);
        name = copy;
        event->reader->decoded.size = 0;
        error = decode(event, &member->value);
        if (error != MP_OK)
            return error;
        value = (const char *)event->reader->decoded.data;
        value_size = event->reader->decoded.size;
    }
    struct fault inner = {.code = MP_OK};
    error = attributes_set(&event->reader->attributes, code, name, name_size, value, value_size, &inner);
    if (error == MP_OK)
        return MP_OK;
    if (error == MP_ERR_MEMORY)
        return fault_memory(event->fault);
    return wrong(event, member->value_at, "%s", fault_text(&inner));
}

static enum mp_error take_member(struct event *event, const struct member *member)
{
    const char *name = (const char *)member->name.text;
    size_t name_size = member->name.size;
    if (member->name.escaped) {
        event->reader->decoded.size = 0;
        enum mp_error error = decode(event, &member->name);
        if (error != MP_OK)
            return error;
        name = (const char *)event->reader->decoded.data;
        name_size = event->reader->decoded.size;
    }
    if (format_same(name, name_size, "specversion"))
        return take_version(event, member);
    if (format_same(name, name_size, "data"))
        return take_data(event, member);
    if (format_same(name, name_size, "data_base64"))
        return take_base64(event, member);
    if (format_is_relay_name(name, name_size))
        return MP_OK;
    return take_attribute(event, member, name, name_size);
}

/* Passes over the object and the white space behind it, taking its members. */
static enum mp_error read_object(struct event *event)
{
    struct json_scanner *scanner = &event->scanner;
    json_scan_space(scanner);
    if (json_scan_kind(scanner) != SCAN_OBJECT)
        return no_event(event);
    scanner->at++;
    json_scan_space(scanner);
    bool closed = scanner->at < scanner->end && *scanner->at == '}';
    while (!closed) {
        struct member member;
        enum mp_error error = read_member(event, &member);
        if (error == MP_OK)
            error = take_member(event, &member);
        if (error != MP_OK)
            return error;
        json_scan_space(scanner);
        closed = scanner->at < scanner->end && *scanner->at == '}';
        if (!closed && (scanner->at == scanner->end || *scanner->at != ',')) {
            scanner->problem = scanner->at == scanner->end ? "an object breaks off" : "expected ',' or '}'";
            return wrong_json(event);
        }
        if (!closed) {
            scanner->at++;
            json_scan_space(scanner);
        }
    }
    scanner->at++;
    json_scan_space(scanner);
    if (scanner->at != scanner->end)
        return wrong(event, scanner->at, "there is more behind the event's object: one event a line");
    return MP_OK;
}

static enum mp_error take_body_base64(struct event *event, struct format_message *message)
{
    struct buffer *decoded = &event->reader->decoded;
    const uint8_t *text = event->base64.text;
    size_t size = event->base64.size;
    decoded->size = 0;
    if (event->base64.escaped) {
        /* Some writers escape the slashes of base64. The characters are decoded into the space that the bytes will
         * take: three for each four. */
        enum mp_error error = decode(event, &event->base64);
        if (error != MP_OK)
            return error;
        text = decoded->data;
        size = decoded->size;
        error = buffer_reserve(decoded, size + 4);
        if (error != MP_OK)
            return fault_memory(event->fault);
        text = decoded->data;
    }
    const size_t before = decoded->size;
    size_t place = 0;
    enum mp_error error = base64_decode(text, size, decoded, &place);
    if (error == MP_ERR_FORMAT) {
        return wrong(event, event->base64.escaped ? event->base64.text : event->base64.text + place,
                     "'data_base64' is not base64 (RFC 4648, section 4, with padding)");
    }
    if (error != MP_OK)
        return fault_memory(event->fault);
    message->body = decoded->data + before;
    message->size = decoded->size - before;
    return MP_OK;
}

static enum mp_error take_body(struct event *event, struct format_message *message)
{
    const struct buffer *block = &event->reader->attributes;
    message->body = event->line;
    message->size = 0;
    if (event->base64.text != NULL) {
        if (event->data_kind != SCAN_NONE)
            return wrong(event, event->data_at, "'data' and 'data_base64': only one of them");
        return take_body_base64(event, message);
    }
    if (event->data_kind == SCAN_NONE)
        return MP_OK;
    message->body = event->data.text;
    message->size = event->data.size;
    if (event->data_kind != SCAN_STRING)
        return MP_OK;
    struct attribute type;
    if ((event->known & UINT32_C(1) << ATTRIBUTE_DATACONTENTTYPE) != 0 &&
        attribute_find(block->data, block->size, "datacontenttype", strlen("datacontenttype"), &type) &&
        format_is_json_type(type.value, type.value_size)) {
        message->body = event->data_at;
        message->size = event->data.size + 2;
        return MP_OK;
    }
    if (event->data.escaped) {
        event->reader->decoded.size = 0;
        enum mp_error error = decode(event, &event->data);
        message->body = event->reader->decoded.data;
        message->size = event->reader->decoded.size;
        return error;
    }
    return MP_OK;
}

enum mp_error format_json_read(struct format_reader *reader, const uint8_t *line, size_t size,
                               struct format_message *message, struct fault *fault)
{
    struct event event = {
        .reader = reader,
        .line = line,
        .scanner = json_scanner(line, size),
        .fault = fault,
    };
    reader->attributes.size = 0;
    enum mp_error error = read_object(&event);
    if (error != MP_OK)
        return error;
    if (!event.version) {
        return wrong(&event, line,
                     "no 'specversion', so this is no CloudEvents 1.0 object: send any JSON with "
                     "--format lines");
    }
    error = take_body(&event, message);
    if (error != MP_OK)
        return error;
    if (message->size > format_reader_limit(reader))
        return MP_ERR_TOO_LARGE;
    message->attributes_size = reader->attributes.size;
    message->attributes = message->attributes_size > 0 ? reader->attributes.data : NULL;
    return MP_OK;
}
