/*
 * JSON from the body's side. The first byte chooses a datacontenttype, the second other attributes; the rest is a body,
 * which must come back to the byte, in a line that another parser (Jansson) reads as well. Whether a text is JSON is
 * asked of both parsers.
 */
#include "fuzz.h"

#include "message/attributes.h"
#include "message/formats.h"
#include "message/json_scan.h"

#include <jansson.h>

static void set(struct buffer *block, enum attribute_code code, const char *name, const char *value)
{
    MUST(attributes_set(block, code, name, strlen(name), value, strlen(value), NULL) == MP_OK);
}

static void choose_attributes(uint8_t type, uint8_t others, struct buffer *block)
{
    static const char *const types[] = {NULL, "application/json", "text/plain", "application/x+JSON; charset=utf-8"};
    const char *chosen = types[type % (sizeof types / sizeof *types)];

    if (chosen != NULL)
        set(block, ATTRIBUTE_STRING, "datacontenttype", chosen);
    if (others & 1)
        set(block, ATTRIBUTE_STRING, "id", "an \"id\"");
    if (others & 2)
        set(block, ATTRIBUTE_STRING, "time", "2026-11-20T17:00:00Z");
    if (others & 4)
        set(block, ATTRIBUTE_INTEGER, "count", "-17");
    if (others & 8)
        set(block, ATTRIBUTE_BOOLEAN, "urgent", "true");
    if (others & 16)
        set(block, ATTRIBUTE_STRING, "X-Name_", "\\ \xc3\xa9");
    if (others & 32)
        MUST(attributes_set_origin(block, 3, 4) == MP_OK);
}

/* Whether a text holds what Jansson refuses although RFC 8259 allows it: \u escapes of what is no character. */
static bool has_escape(const uint8_t *text, size_t size)
{
    for (size_t at = 0; at + 1 < size; at++)
        if (text[at] == '\\' && text[at + 1] == 'u')
            return true;
    return false;
}

/* Our scanner takes no text that Jansson refuses, and refuses none that it takes, but for the limits of either. */
static void compare_parsers(const uint8_t *text, size_t size)
{
    json_error_t error;
    struct json_scanner scanner = json_scanner(text, size);
    struct json_extent value;

    json_scan_space(&scanner);
    bool ours = json_scan_value(&scanner, &value);
    json_scan_space(&scanner);
    ours = ours && scanner.at == scanner.end;
    bool deep = !ours && scanner.problem != NULL && strstr(scanner.problem, "levels") != NULL;
    json_t *theirs = json_loadb((const char *)text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    /* Jansson passes over a NUL byte behind a number. */
    if (theirs != NULL)
        MUST(ours || deep || memchr(text, '\0', size) != NULL);
    else if (ours)
        MUST(json_error_code(&error) == json_error_numeric_overflow || has_escape(text, size));
    json_decref(theirs);
}

/* The event that OUT holds, as Jansson sees it. */
static void check_line(const struct buffer *out, const struct buffer *block)
{
    json_error_t error;
    struct attribute attribute;
    size_t at = 0;
    json_t *event = json_loadb((const char *)out->data, out->size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);

    /* Where it is refused, it is for the sake of a verbatim body: its own duplicates, numbers or escapes. */
    if (event == NULL)
        return;
    MUST(strcmp(json_string_value(json_object_get(event, "specversion")), "1.0") == 0);
    MUST(json_is_string(json_object_get(event, "id")) && json_is_string(json_object_get(event, "source")));
    MUST(json_is_string(json_object_get(event, "type")) && json_is_string(json_object_get(event, "time")));
    while (attribute_next(block->data, block->size, &at, &attribute)) {
        char name[ATTRIBUTE_NAME_MAX + 1] = "";
        if (attribute.code == ATTRIBUTE_ORIGIN)
            continue;
        memcpy(name, attribute.name, attribute.name_size);
        const json_t *value = json_object_get(event, name);
        MUST(value != NULL);
        if (attribute.code == ATTRIBUTE_INTEGER)
            MUST(json_integer_value(value) == -17);
        else if (attribute.code == ATTRIBUTE_BOOLEAN)
            MUST(json_is_true(value));
        else
            MUST(json_string_length(value) == attribute.value_size &&
                 memcmp(json_string_value(value), attribute.value, attribute.value_size) == 0);
    }
    json_decref(event);
}

static void check_read(const struct buffer *out, const struct buffer *block, const uint8_t *body, size_t size)
{
    struct format_reader reader = {.format = FORMAT_JSON};
    struct format_message message;
    struct attribute sent, got;
    size_t used, at = 0;

    MUST(format_read(&reader, out->data, out->size, false, &used, &message, NULL) == MP_OK);
    MUST(used == out->size);
    MUST(message.size == size && (size == 0 || memcmp(message.body, body, size) == 0));
    MUST(attributes_check(message.attributes, message.attributes_size, NULL) == MP_OK);
    while (attribute_next(block->data, block->size, &at, &sent)) {
        if (sent.code == ATTRIBUTE_ORIGIN)
            continue;
        MUST(attribute_find(message.attributes, message.attributes_size, sent.name, sent.name_size, &got));
        MUST(got.code == sent.code && got.value_size == sent.value_size);
        MUST(memcmp(got.value, sent.value, sent.value_size) == 0);
    }
    format_reader_free(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer block = {0}, out = {0};

    if (size < 2)
        return 0;
    choose_attributes(data[0], data[1], &block);
    const uint8_t *body = data + 2;
    size -= 2;
    struct format_item item = {.record = {.body = body,
                                          .size = size,
                                          .attributes = block.data,
                                          .attributes_size = block.size,
                                          .producer = 1,
                                          .sequence = 2},
                               .topic = data[1] & 64 ? "fuzz.json" : NULL,
                               .attempt = data[1] & 128 ? 1 : 0,
                               .time = 1763658000000000};
    MUST(format_write(FORMAT_JSON, &item, &out, NULL) == MP_OK);
    MUST(memchr(out.data, '\n', out.size) == out.data + out.size - 1);
    check_line(&out, &block);
    check_read(&out, &block, body, size);
    compare_parsers(body, size);
    buffer_free(&block);
    buffer_free(&out);
    return 0;
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    static const char *const bodies[] = {
        "{ \"order\" : [1, -2.50e+3, 0.1E-7, true, false, null, {}], \"order\":\"\\u00e9\\ud83d\\ude00\\n\" }",
        "\"a quoted \\\"string\\\"\"",
        "plain text, tab\t, newline\n, \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
        "\xff\xfe bytes \x80",
        "[[[[[{\"a\":[{\"b\":{}}]}]]]]]",
        "12345678901234567890.0000",
        "\"\\ud800\"",
        "",
    };
    enum { COUNT = sizeof bodies / sizeof *bodies };
    if (index >= 2 * COUNT)
        return false;
    /* Each body with two of the four content types: one that says JSON and one that does not, or none. */
    MUST(buffer_put_u8(out, (uint8_t)(index % COUNT + index / COUNT)) == MP_OK);
    MUST(buffer_put_u8(out, (uint8_t)(index * 37)) == MP_OK);
    MUST(buffer_append_string(out, bodies[index % COUNT]) == MP_OK);
    return true;
}
