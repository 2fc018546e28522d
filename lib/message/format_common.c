#include "message/format_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

static const char *const names[] = {
    [FORMAT_LINES] = "lines", [FORMAT_NULL] = "null", [FORMAT_LENGTH] = "length",
    [FORMAT_WHOLE] = "whole", [FORMAT_JSON] = "json",
};

enum mp_error format_parse(const char *name, enum format *format, struct fault *fault)
{
    for (size_t index = 0; index < sizeof(names) / sizeof(names[0]); index++) {
        if (strcmp(name, names[index]) == 0) {
            *format = (enum format)index;
            return MP_OK;
        }
    }
    char shown[FAULT_QUOTE];
    return fault_set(fault, MP_ERR_INVALID, "'%s' is not a format: lines, null, length, whole and json are",
                     fault_quote(shown, name, strlen(name)));
}

const char *format_name(enum format format)
{
    return names[format];
}

void format_number_text(uint64_t number, char text[FORMAT_NUMBER_TEXT])
{
    char digits[FORMAT_NUMBER_TEXT];
    const int count = snprintf(digits, sizeof(digits), "%" PRIu64, number);
    size_t to = 0;
    for (int at = 0; at < count; at++) {
        if (at > 0 && (count - at) % 3 == 0)
            text[to++] = ',';
        text[to++] = digits[at];
    }
    text[to] = '\0';
}

void format_limit_text(uint64_t bytes, char text[FORMAT_LIMIT_TEXT])
{
    static const struct {
        unsigned shift;
        const char *unit;
    } units[] = {{30, "GiB"}, {20, "MiB"}, {10, "KiB"}};
    char number[FORMAT_NUMBER_TEXT];
    format_number_text(bytes, number);
    for (size_t index = 0; index < sizeof(units) / sizeof(units[0]); index++) {
        const uint64_t unit = UINT64_C(1) << units[index].shift;
        if (bytes >= unit && bytes % unit == 0) {
            snprintf(text, FORMAT_LIMIT_TEXT, "%" PRIu64 " %s (%s bytes)", bytes / unit, units[index].unit, number);
            return;
        }
    }
    snprintf(text, FORMAT_LIMIT_TEXT, "%s byte%s", number, bytes == 1 ? "" : "s");
}

bool format_is_json_type(const char *type, size_t size)
{
    const char *parameters = memchr(type, ';', size);
    if (parameters != NULL)
        size = (size_t)(parameters - type);
    while (size > 0 && type[size - 1] == ' ')
        size--;
    return size >= 5 && strncasecmp(type + size - 4, "json", 4) == 0 &&
           (type[size - 5] == '/' || type[size - 5] == '+') && memchr(type, '/', size) != NULL;
}

bool format_is_relay_name(const char *name, size_t size)
{
    /* All begin alike; nearly no attribute of a message does. */
    return size >= 12 && memcmp(name, "msgpipe", 7) == 0 &&
           (format_same(name, size, FORMAT_TOPIC) || format_same(name, size, FORMAT_OFFSET) ||
            format_same(name, size, FORMAT_ATTEMPT));
}

bool format_is_integer(const char *text, size_t size)
{
    const bool negative = size > 0 && text[0] == '-';
    size_t at = negative ? 1 : 0;
    const size_t digits = size - at;
    if (digits == 0 || digits > 10 || (text[at] == '0' && size > 1))
        return false;
    int64_t value = 0;
    for (; at < size; at++) {
        if (text[at] < '0' || text[at] > '9')
            return false;
        value = value * 10 + (text[at] - '0');
    }
    return value <= (negative ? -(int64_t)INT32_MIN : INT32_MAX);
}
