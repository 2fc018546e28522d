/*
 * Values as JSON: what `data` becomes, and the one form in which two versions of a stage are compared.
 */
#include "pipeline/load.h"

#include "base/utf8.h"
#include "message/json_scan.h"

#include <inttypes.h>
#include <stdio.h>

enum { JSON_MAX = 16 * 1024 * 1024 }; /* bytes of one value */

/* Where a value is written to. */
struct writer {
    struct load *load;
    struct buffer *out;
    bool compare;
    bool good;
};

static void put(struct writer *writer, const char *bytes, size_t size)
{
    if (writer->good && buffer_append(writer->out, bytes, size)) {
        writer->load->no_memory = true;
        writer->good = false;
    }
}

static void refuse(struct writer *writer, const struct yaml *value, const char *what)
{
    diagnose_error(writer->load->diagnostics, &value->place, "%s", what);
    writer->good = false;
}

static void put_string(struct writer *writer, const struct yaml *value, const char *text, size_t size)
{
    for (size_t at = 0, step; at < size; at += step)
        if ((step = utf8_next((const uint8_t *)text + at, size - at, NULL)) == 0) {
            refuse(writer, value, "this is not UTF-8, and JSON is");
            return;
        }
    if (writer->good && json_scan_quote(writer->out, text, size)) {
        writer->load->no_memory = true;
        writer->good = false;
    }
}

/* A decimal number of YAML's as JSON writes it: no plus, no zeros in front, digits on both sides of a point. */
static void put_decimal(struct writer *writer, const char *text, size_t size)
{
    size_t at = *text == '-' || *text == '+';
    if (*text == '-')
        put(writer, "-", 1);
    while (at + 1 < size && text[at] == '0' && text[at + 1] >= '0' && text[at + 1] <= '9')
        at++;
    if (text[at] == '.')
        put(writer, "0", 1);
    for (; at < size; at++) {
        put(writer, text + at, 1);
        if (text[at] == '.' && (at + 1 == size || text[at + 1] < '0' || text[at + 1] > '9'))
            put(writer, "0", 1);
    }
}

static void put_integer(struct writer *writer, const struct yaml *value, const char *text, size_t size)
{
    if (size < 3 || (text[1] != 'x' && text[1] != 'o')) {
        put_decimal(writer, text, size);
        return;
    }
    uint64_t number = 0, base = text[1] == 'x' ? 16 : 8;
    for (size_t i = 2; i < size; i++) {
        unsigned digit = (unsigned)(text[i] <= '9' ? text[i] - '0' : (text[i] | 0x20) - 'a' + 10);
        if (number > (UINT64_MAX - digit) / base) {
            refuse(writer, value, "this number has more than 64 bits: quote it");
            return;
        }
        number = number * base + digit;
    }
    char decimal[24];
    put(writer, decimal, (size_t)snprintf(decimal, sizeof decimal, "%" PRIu64, number));
}

static void put_plain(struct writer *writer, const struct yaml *value, const char *text, size_t size)
{
    switch (yaml_type(text, size, value->quoted)) {
    case YAML_NULL:
        put(writer, "null", 4);
        return;
    case YAML_BOOLEAN:
        put(writer, (text[0] | 0x20) == 't' ? "true" : "false", (text[0] | 0x20) == 't' ? 4 : 5);
        return;
    case YAML_INTEGER:
        put_integer(writer, value, text, size);
        return;
    case YAML_FLOAT:
        if (size > 3 && (memcmp(text + size - 3, "inf", 3) == 0 || memcmp(text + size - 3, "Inf", 3) == 0 ||
                         memcmp(text + size - 3, "INF", 3) == 0 || (text[1] | 0x20) == 'n'))
            refuse(writer, value, "JSON knows neither infinity nor NaN: quote it, or write null");
        else
            put_decimal(writer, text, size);
        return;
    case YAML_STRING:
        put_string(writer, value, text, size);
        return;
    }
}

/* For comparing no value is refused: its length and its bytes, and whether it is a string in any case. */
static void put_compared(struct writer *writer, const struct yaml *value, const char *text, size_t size)
{
    char head[32];
    put(writer, head, (size_t)snprintf(head, sizeof head, "%c%zu:", value->quoted ? '"' : '=', size));
    put(writer, text, size);
}

static void put_scalar(struct writer *writer, const struct yaml *value, bool raw)
{
    struct buffer text = {0};
    if (raw ? buffer_append(&text, value->text, value->size) != MP_OK : !variables_put(writer->load, value, &text)) {
        writer->load->no_memory |= raw;
        writer->good = false;
    } else {
        const char *bytes = text.size > 0 ? (const char *)text.data : "";
        if (writer->compare)
            put_compared(writer, value, bytes, text.size);
        else
            put_plain(writer, value, bytes, text.size);
    }
    buffer_free(&text);
}

static void put_value(struct writer *writer, const struct yaml *value, bool raw);

static void put_pair(struct writer *writer, const struct yaml_pair *pair)
{
    if (writer->compare)
        put_compared(writer, &pair->key, pair->key.text, pair->key.size);
    else
        put_string(writer, &pair->key, pair->key.text, pair->key.size);
    put(writer, ":", 1);
    put_value(writer, &pair->value, writer->compare && strcmp(pair->key.text, "shell") == 0);
}

/* As deep as the tree is: YAML_DEPTH_MAX, and that of an alias below each level. */
static void put_value(struct writer *writer, const struct yaml *value, bool raw)
{
    if (writer->out->size > JSON_MAX && !writer->compare && writer->good)
        refuse(writer, value, "too large: 16 MiB is the limit of a message");
    if (!writer->good)
        return;
    if (value->kind == YAML_SCALAR) {
        put_scalar(writer, value, raw);
        return;
    }
    bool mapping = value->kind == YAML_MAPPING;
    put(writer, mapping ? "{" : "[", 1);
    for (size_t i = 0; i < value->count; i++) {
        if (i > 0)
            put(writer, ",", 1);
        if (mapping)
            put_pair(writer, &value->pairs[i]);
        else
            put_value(writer, &value->items[i], raw);
    }
    put(writer, mapping ? "}" : "]", 1);
}

bool value_json(struct load *load, const struct yaml *value, struct buffer *out)
{
    struct writer writer = {.load = load, .out = out, .good = true};
    put_value(&writer, value, false);
    return writer.good;
}

const char *value_text(struct load *load, const struct yaml *value)
{
    struct buffer out = {0};
    struct writer writer = {.load = load, .out = &out, .compare = true, .good = true};
    put_value(&writer, value, false);
    char *text = load_copy(load, out.data, out.size);
    buffer_free(&out);
    return text;
}
