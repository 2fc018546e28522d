#include "base/log.h"

#include "base/clock.h"
#include "base/units.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Kept free at the end of a line while it is built: a quote, a brace and a newline. */
enum { LINE_END = 3, VALUE_MAX = 1536 };

static struct {
    enum log_level level;
    bool json;
} setup = {.level = LOG_INFO};

void log_setup(enum log_level level, bool json)
{
    setup.level = level;
    setup.json = json;
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_DEBUG:
        return "debug";
    case LOG_INFO:
        return "info";
    case LOG_WARNING:
        return "warning";
    case LOG_ERROR:
        return "error";
    }
    return "unknown";
}

/* Appends bytes if all of them fit, with KEEP bytes to spare. */
static bool put(struct log_line *line, const char *bytes, size_t size, size_t keep)
{
    if (line->size + size + keep > sizeof line->text - LINE_END)
        return false;
    memcpy(line->text + line->size, bytes, size);
    line->size += size;
    return true;
}

/*
 * The form of one character of a quoted value, JSON's and logfmt's alike; its length. What would disturb a terminal or
 * a reader of lines is escaped: controls, and Unicode's line and paragraph separators.
 */
static size_t escape(const uint8_t *at, size_t length, uint32_t code, char out[8])
{
    const char *letters = "\"\\\n\r\t", *forms = "\"\\nrt";

    if (length == 0)
        return (size_t)snprintf(out, 8, "\\ufffd");
    const char *letter = code < 0x80 && code != 0 ? strchr(letters, (int)code) : NULL;
    if (letter != NULL) {
        out[0] = '\\';
        out[1] = forms[letter - letters];
        return 2;
    }
    if (utf8_is_control(code) || code == 0x2028 || code == 0x2029)
        return (size_t)snprintf(out, 8, "\\u%04x", (unsigned)code);
    memcpy(out, at, length);
    return length;
}

/* A quoted value, cut when it does not fit. */
static void put_quoted(struct log_line *line, const char *value, size_t size)
{
    const uint8_t *from = (const uint8_t *)value;
    const size_t dots = 3;

    put(line, "\"", 1, 0);
    for (size_t at = 0; at < size;) {
        char form[8];
        uint32_t code = 0;
        size_t length = utf8_next(from + at, size - at, &code);
        size_t written = escape(from + at, length, code, form);
        at += length > 0 ? length : 1;
        if (!put(line, form, written, at < size ? dots : 0)) {
            put(line, "...", dots, 0);
            break;
        }
    }
    line->text[line->size++] = '"'; /* in the bytes that LINE_END keeps, if need be */
}

/* Whether a logfmt value can stand without quotes. */
static bool is_bare(const char *value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (value[i] <= ' ' || value[i] > '~' || strchr("=\"\\", value[i]) != NULL)
            return false;
    return size > 0;
}

/* Whether FORMAT is one conversion of a number, and what came of it one that JSON knows (not "nan", not "007"). */
static bool is_number(const char *format, const char *value, size_t size)
{
    if (format[0] != '%')
        return false;
    size_t conversion = 1 + strcspn(format + 1, "diouxXeEfFgGaAcspn%");
    if (format[conversion] == '\0' || strchr("diufg", format[conversion]) == NULL || format[conversion + 1] != '\0')
        return false;
    size_t digits = size > 0 && value[0] == '-' ? 1 : 0;
    if (digits == size || (value[digits] == '0' && digits + 1 < size && value[digits + 1] != '.'))
        return false;
    for (size_t i = digits; i < size; i++)
        if (strchr("0123456789.e+-", value[i]) == NULL)
            return false;
    return value[digits] >= '0' && value[digits] <= '9' && value[size - 1] != '.';
}

static void put_field(struct log_line *line, const char *name, const char *value, size_t size, bool number)
{
    size_t name_size = strlen(name);
    size_t start = line->size;

    /* Two quotes, the separators, and a value of some use, or nothing. */
    if (start + name_size + 7 + (size < 16 ? size : 16) > sizeof line->text - LINE_END)
        return;
    if (setup.json) {
        put(line, start > 0 ? ",\"" : "{\"", 2, 0);
        put(line, name, name_size, 0);
        put(line, "\":", 2, 0);
    } else {
        if (start > 0)
            put(line, " ", 1, 0);
        put(line, name, name_size, 0);
        put(line, "=", 1, 0);
    }
    bool plain = setup.json ? number : is_bare(value, size);
    if (!plain || !put(line, value, size, 0))
        put_quoted(line, value, size);
}

void log_begin(struct log_line *line, enum log_level level, const char *event)
{
    line->size = 0;
    line->wanted = level >= setup.level;
    if (!line->wanted)
        return;
    char time[UNITS_TIME_TEXT];
    units_time_text(clock_wall(), time);
    put_field(line, "time", time, strlen(time), false);
    put_field(line, "level", level_name(level), strlen(level_name(level)), false);
    put_field(line, "event", event, strlen(event), false);
}

void log_field(struct log_line *line, const char *name, const char *format, ...)
{
    if (!line->wanted)
        return;
    char value[VALUE_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    size_t size = (size_t)length;
    if (size >= sizeof value) {
        size = sizeof value - 1;
        memcpy(value + size - 3, "...", 3);
    }
    put_field(line, name, value, size, is_number(format, value, size));
}

void log_end(struct log_line *line)
{
    if (!line->wanted)
        return;
    int before = errno;
    if (setup.json)
        line->text[line->size++] = '}';
    line->text[line->size++] = '\n';
    for (size_t at = 0; at < line->size;) {
        ssize_t written = write(STDERR_FILENO, line->text + at, line->size - at);
        if (written > 0)
            at += (size_t)written;
        else if (written == 0 || errno != EINTR)
            break; /* a log that cannot be written must not stop the relay */
    }
    line->wanted = false;
    errno = before;
}

bool log_limited(struct log_limit *limit, long long now)
{
    if (now < limit->next) {
        limit->counting++;
        return true;
    }
    limit->next = now + 1000000;
    limit->suppressed = limit->counting;
    limit->counting = 0;
    return false;
}

void log_field_suppressed(struct log_line *line, const struct log_limit *limit)
{
    if (limit->suppressed > 0)
        log_field(line, "suppressed", "%lu", limit->suppressed);
}
