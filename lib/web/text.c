#include "web/text.h"

enum { NUMBER = 24, SECONDS = 32 }; /* bytes that numbers take at most */

void text_free(struct text *text)
{
    buffer_free(&text->out);
    buffer_free(&text->labels);
}

static void put(struct text *text, struct buffer *buffer, const char *bytes, size_t size)
{
    if (!text->error)
        text->error = buffer_append(buffer, bytes, size);
}

static void put_string(struct text *text, struct buffer *buffer, const char *string)
{
    put(text, buffer, string, strlen(string));
}

/* Help: a backslash and an end of line are written as two; in a label's value a quote as well. */
static void put_escaped(struct text *text, struct buffer *buffer, const char *string, bool quoted)
{
    const char *special = quoted ? "\\\n\"" : "\\\n";
    for (size_t size; *string; string += size) {
        if ((size = strcspn(string, special)) > 0) {
            put(text, buffer, string, size);
            continue;
        }
        const char two[2] = {'\\', *string == '\n' ? 'n' : *string};
        put(text, buffer, two, sizeof two);
        size = 1;
    }
}

void text_family(struct text *text, const char *name, const char *type, const char *help)
{
    put_string(text, &text->out, "# HELP ");
    put_string(text, &text->out, name);
    put_string(text, &text->out, " ");
    put_escaped(text, &text->out, help, false);
    put_string(text, &text->out, "\n# TYPE ");
    put_string(text, &text->out, name);
    put_string(text, &text->out, " ");
    put_string(text, &text->out, type);
    put_string(text, &text->out, "\n");
}

void text_no_labels(struct text *text)
{
    text->labels.size = 0;
}

void text_label(struct text *text, const char *name, const char *value)
{
    if (text->labels.size > 0)
        put_string(text, &text->labels, ",");
    put_string(text, &text->labels, name);
    put_string(text, &text->labels, "=\"");
    put_escaped(text, &text->labels, value, true);
    put_string(text, &text->labels, "\"");
}

/* VALUE in decimal, WIDTH digits at least, at the end of DIGITS; where it begins. A scrape writes some 100,000 of them. */
static const char *decimal(char digits[NUMBER], uint64_t value, unsigned width)
{
    char *at = digits + NUMBER;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0 || at > digits + NUMBER - width);
    return at;
}

static size_t format_seconds(char out[SECONDS], int64_t microseconds)
{
    uint64_t size = microseconds < 0 ? 0 - (uint64_t)microseconds : (uint64_t)microseconds;
    char digits[NUMBER];
    size_t used = 0;
    if (microseconds < 0)
        out[used++] = '-';
    const char *whole = decimal(digits, size / 1000000, 1);
    size_t length = (size_t)(digits + NUMBER - whole);
    memcpy(out + used, whole, length);
    used += length;
    if (size % 1000000 == 0)
        return used;
    out[used++] = '.';
    memcpy(out + used, decimal(digits, size % 1000000, 6), 6);
    used += 6;
    while (out[used - 1] == '0')
        used--;
    return used;
}

static void sample(struct text *text, const char *name, const char *suffix, const char *value, size_t size)
{
    struct buffer *out = &text->out;
    put_string(text, out, name);
    put_string(text, out, suffix);
    if (text->labels.size > 0) {
        put_string(text, out, "{");
        put(text, out, (const char *)text->labels.data, text->labels.size);
        put_string(text, out, "}");
    }
    put_string(text, out, " ");
    put(text, out, value, size);
    put_string(text, out, "\n");
}

static void number(struct text *text, const char *name, const char *suffix, uint64_t value)
{
    char digits[NUMBER];
    const char *at = decimal(digits, value, 1);
    sample(text, name, suffix, at, (size_t)(digits + NUMBER - at));
}

void text_number(struct text *text, const char *name, uint64_t value)
{
    number(text, name, "", value);
}

void text_seconds(struct text *text, const char *name, int64_t microseconds)
{
    char out[SECONDS];
    sample(text, name, "", out, format_seconds(out, microseconds));
}

void text_buckets(struct text *text, const char *name, const struct buckets *buckets, const int64_t bounds[BUCKETS])
{
    char out[SECONDS + 1];
    uint64_t below = 0;
    size_t mark = text_mark(text);
    for (unsigned i = 0; i <= BUCKETS; i++) {
        below += buckets->cells[i];
        if (i < BUCKETS)
            out[format_seconds(out, bounds[i])] = '\0';
        text_label(text, "le", i < BUCKETS ? out : "+Inf");
        number(text, name, "_bucket", below);
        text_return(text, mark);
    }
    sample(text, name, "_sum", out, format_seconds(out, (int64_t)buckets->sum));
    number(text, name, "_count", below);
}
