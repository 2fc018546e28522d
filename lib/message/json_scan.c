#include "message/json_scan.h"

#include "base/utf8.h"
#include "message/text.h"

static bool problem(struct json_scanner *scanner, const char *words)
{
    scanner->problem = words;
    return false;
}

void json_scan_space(struct json_scanner *scanner)
{
    while (scanner->at < scanner->end &&
           (*scanner->at == ' ' || *scanner->at == '\t' || *scanner->at == '\n' || *scanner->at == '\r'))
        scanner->at++;
}

enum scan_kind json_scan_kind(const struct json_scanner *scanner)
{
    if (scanner->at == scanner->end)
        return SCAN_NONE;
    switch (*scanner->at) {
    case '{':
        return SCAN_OBJECT;
    case '[':
        return SCAN_ARRAY;
    case '"':
        return SCAN_STRING;
    case 't':
        return SCAN_TRUE;
    case 'f':
        return SCAN_FALSE;
    case 'n':
        return SCAN_NULL;
    case '-':
        return SCAN_NUMBER;
    default:
        return *scanner->at >= '0' && *scanner->at <= '9' ? SCAN_NUMBER : SCAN_NONE;
    }
}

bool json_scan_expect(struct json_scanner *scanner, char character)
{
    if (scanner->at < scanner->end && *scanner->at == (uint8_t)character) {
        scanner->at++;
        return true;
    }
    const bool ended = scanner->at == scanner->end;
    switch (character) {
    case ':':
        return problem(scanner, ended ? "breaks off before a ':'" : "expected ':' after a name");
    case '"':
        return problem(scanner, ended ? "breaks off before a name" : "expected a name in quotes");
    case '{':
        return problem(scanner, ended ? "nothing there" : "expected an object, '{'");
    default:
        return problem(scanner, ended ? "breaks off" : "unexpected character");
    }
}

static int hex_digit(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* At a backslash. */
static bool pass_escape(struct json_scanner *scanner)
{
    const size_t left = (size_t)(scanner->end - scanner->at);
    if (left < 2)
        return problem(scanner, "a string breaks off");
    if (scanner->at[1] == 'u') {
        for (size_t at = 2; at < 6; at++)
            if (at >= left || hex_digit(scanner->at[at]) < 0)
                return problem(scanner, "\\u needs four hex digits");
        scanner->at += 6;
        return true;
    }
    if (scanner->at[1] == '\0' || strchr("\"\\/bfnrt", scanner->at[1]) == NULL)
        return problem(scanner, "an escape that JSON does not have");
    scanner->at += 2;
    return true;
}

bool json_scan_string(struct json_scanner *scanner, struct json_extent *inside)
{
    if (!json_scan_expect(scanner, '"'))
        return false;
    *inside = (struct json_extent){.text = scanner->at};
    for (;;) {
        scanner->at += text_plain(scanner->at, (size_t)(scanner->end - scanner->at));
        if (scanner->at == scanner->end)
            return problem(scanner, "a string breaks off");
        const uint8_t next = *scanner->at;
        if (next == '"') {
            inside->size = (size_t)(scanner->at - inside->text);
            scanner->at++;
            return true;
        }
        if (next == '\\') {
            inside->escaped = true;
            if (!pass_escape(scanner))
                return false;
        } else if (next < 0x20) {
            return problem(scanner, "a control character in a string, which must be escaped");
        } else {
            const size_t length = utf8_next(scanner->at, (size_t)(scanner->end - scanner->at), NULL);
            if (length == 0)
                return problem(scanner, "a byte that is not UTF-8");
            scanner->at += length;
        }
    }
}

/* Passes over decimal digits; false when there is none. */
static bool pass_digits(struct json_scanner *scanner)
{
    const uint8_t *begin = scanner->at;
    while (scanner->at < scanner->end && *scanner->at >= '0' && *scanner->at <= '9')
        scanner->at++;
    return scanner->at > begin || problem(scanner, "expected a digit");
}

static bool pass_number(struct json_scanner *scanner)
{
    if (*scanner->at == '-')
        scanner->at++;
    const uint8_t *whole = scanner->at;
    if (!pass_digits(scanner))
        return false;
    if (*whole == '0' && scanner->at - whole > 1) {
        scanner->at = whole;
        return problem(scanner, "a number with a leading zero");
    }
    if (scanner->at < scanner->end && *scanner->at == '.') {
        scanner->at++;
        if (!pass_digits(scanner))
            return false;
    }
    if (scanner->at < scanner->end && (*scanner->at == 'e' || *scanner->at == 'E')) {
        scanner->at++;
        if (scanner->at < scanner->end && (*scanner->at == '+' || *scanner->at == '-'))
            scanner->at++;
        return pass_digits(scanner);
    }
    return true;
}

static bool pass_word(struct json_scanner *scanner, const char *word)
{
    const size_t size = strlen(word);
    if ((size_t)(scanner->end - scanner->at) < size || memcmp(scanner->at, word, size) != 0)
        return problem(scanner, "expected a value");
    scanner->at += size;
    return true;
}

/* Passes over a value that holds no others. */
static bool pass_scalar(struct json_scanner *scanner)
{
    struct json_extent ignored;
    switch (json_scan_kind(scanner)) {
    case SCAN_STRING:
        return json_scan_string(scanner, &ignored);
    case SCAN_NUMBER:
        return pass_number(scanner);
    case SCAN_TRUE:
        return pass_word(scanner, "true");
    case SCAN_FALSE:
        return pass_word(scanner, "false");
    case SCAN_NULL:
        return pass_word(scanner, "null");
    default:
        return problem(scanner, scanner->at == scanner->end ? "breaks off before a value" : "expected a value");
    }
}

/* Which of the open levels are objects; the others are arrays. */
struct levels {
    uint64_t objects[SCAN_DEPTH_MAX / 64];
    unsigned depth;
};

static bool in_object(const struct levels *levels)
{
    const unsigned level = levels->depth - 1;
    return (levels->objects[level / 64] >> level % 64 & 1) != 0;
}

static bool push(struct json_scanner *scanner, struct levels *levels, bool object)
{
    if (levels->depth == SCAN_DEPTH_MAX)
        return problem(scanner, "more than 512 levels");
    const unsigned level = levels->depth++;
    const uint64_t bit = UINT64_C(1) << level % 64;
    if (level % 64 == 0)
        levels->objects[level / 64] = 0;
    if (object)
        levels->objects[level / 64] |= bit;
    else
        levels->objects[level / 64] &= ~bit;
    return true;
}

/* Passes over a member's name and its colon. */
static bool pass_name(struct json_scanner *scanner)
{
    struct json_extent ignored;
    if (!json_scan_string(scanner, &ignored))
        return false;
    json_scan_space(scanner);
    if (!json_scan_expect(scanner, ':'))
        return false;
    json_scan_space(scanner);
    return true;
}

/* At '{' or '['. *DONE: it was empty, and is passed; else a value stands next. */
static bool open_level(struct json_scanner *scanner, struct levels *levels, bool *done)
{
    const bool object = *scanner->at == '{';
    if (!push(scanner, levels, object))
        return false;
    scanner->at++;
    json_scan_space(scanner);
    *done = scanner->at < scanner->end && *scanner->at == (object ? '}' : ']');
    if (*done) {
        scanner->at++;
        levels->depth--;
        return true;
    }
    return object ? pass_name(scanner) : true;
}

/* Behind a value. *DONE: the outermost level was closed; else a value stands next. */
static bool after_value(struct json_scanner *scanner, struct levels *levels, bool *done)
{
    while (levels->depth > 0) {
        const bool object = in_object(levels);
        json_scan_space(scanner);
        if (scanner->at == scanner->end)
            return problem(scanner, object ? "an object breaks off" : "an array breaks off");
        if (*scanner->at == ',') {
            scanner->at++;
            json_scan_space(scanner);
            *done = false;
            return object ? pass_name(scanner) : true;
        }
        if (*scanner->at != (object ? '}' : ']'))
            return problem(scanner, object ? "expected ',' or '}'" : "expected ',' or ']'");
        scanner->at++;
        levels->depth--;
    }
    *done = true;
    return true;
}

bool json_scan_value(struct json_scanner *scanner, struct json_extent *value)
{
    *value = (struct json_extent){.text = scanner->at};
    struct levels levels;
    levels.depth = 0;
    bool done = false;
    while (!done) {
        const enum scan_kind kind = json_scan_kind(scanner);
        if (kind == SCAN_OBJECT || kind == SCAN_ARRAY) {
            bool closed;
            if (!open_level(scanner, &levels, &closed))
                return false;
            if (!closed)
                continue;
        } else if (!pass_scalar(scanner)) {
            return false;
        }
        if (!after_value(scanner, &levels, &done))
            return false;
    }
    value->size = (size_t)(scanner->at - value->text);
    return true;
}

bool json_scan_is_value(const uint8_t *text, size_t size)
{
    struct json_scanner scanner = json_scanner(text, size);
    struct json_extent value;
    return json_scan_value(&scanner, &value) && scanner.at == scanner.end;
}

/* The code unit of \uNNNN at AT, which json_scan_string() has passed. */
static uint32_t code_unit(const uint8_t *at)
{
    uint32_t unit = 0;
    for (size_t digit = 2; digit < 6; digit++)
        unit = unit << 4 | (uint32_t)hex_digit(at[digit]);
    return unit;
}

/* Decodes the escape at *AT, moves *AT behind it, and returns the length of what it stands for in BYTES; 0 for one
 * half of a surrogate pair. */
static size_t decode_escape(const uint8_t **at, const uint8_t *end, uint8_t bytes[4])
{
    static const char letters[] = "bfnrt";
    static const char meanings[] = "\b\f\n\r\t";
    const uint8_t *escape = *at;
    if (escape[1] != 'u') {
        const char *letter = strchr(letters, escape[1]);
        bytes[0] = letter == NULL ? escape[1] : (uint8_t)meanings[letter - letters];
        *at += 2;
        return 1;
    }
    uint32_t point = code_unit(escape);
    *at += 6;
    if (point >= 0xd800 && point <= 0xdfff) {
        if (point > 0xdbff || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
            return 0;
        const uint32_t low = code_unit(*at);
        if (low < 0xdc00 || low > 0xdfff)
            return 0;
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        *at += 6;
    }
    return text_encode(point, bytes);
}

enum mp_error json_scan_decode(const struct json_extent *inside, struct buffer *out, const uint8_t **wrong)
{
    if (inside->size == 0)
        return MP_OK;
    /* No escape is shorter than what it stands for. */
    enum mp_error error = buffer_reserve(out, inside->size);
    if (error != MP_OK)
        return error;
    uint8_t *to = out->data + out->size;
    const uint8_t *at = inside->text;
    const uint8_t *end = at + inside->size;
    while (at < end) {
        const uint8_t *escape = memchr(at, '\\', (size_t)(end - at));
        const size_t run = (size_t)((escape == NULL ? end : escape) - at);
        memcpy(to, at, run);
        to += run;
        at += run;
        if (escape == NULL)
            break;
        uint8_t bytes[4];
        const size_t length = decode_escape(&at, end, bytes);
        if (length == 0) {
            *wrong = escape;
            return MP_ERR_FORMAT;
        }
        memcpy(to, bytes, length);
        to += length;
    }
    out->size = (size_t)(to - out->data);
    return MP_OK;
}

/* Writes the escape of BYTE at TO and returns its length, 6 at most. */
static size_t write_escape(uint8_t byte, uint8_t *to)
{
    static const char hex[] = "0123456789abcdef";
    static const char meanings[] = "\b\f\n\r\t";
    static const char letters[] = "bfnrt";
    to[0] = '\\';
    const char *meaning = byte == '\0' ? NULL : strchr(meanings, byte);
    if (meaning != NULL) {
        to[1] = (uint8_t)letters[meaning - meanings];
        return 2;
    }
    if (byte >= 0x20) {
        to[1] = byte;
        return 2;
    }
    memcpy(to + 1, "u00", 3);
    to[4] = (uint8_t)hex[byte >> 4];
    to[5] = (uint8_t)hex[byte & 15];
    return 6;
}

enum mp_error json_scan_quote(struct buffer *out, const void *text, size_t size)
{
    const uint8_t *at = text;
    size_t left = size;
    const size_t before = out->size;
    enum mp_error error = buffer_append(out, "\"", 1);
    while (error == MP_OK && left > 0) {
        size_t run = text_plain(at, left);
        while (run < left && at[run] >= 0x80)
            run++;
        const size_t escape = run < left ? 6 : 0;
        error = buffer_reserve(out, run + escape);
        if (error != MP_OK)
            break;
        memcpy(out->data + out->size, at, run);
        out->size += run;
        at += run;
        left -= run;
        /* Behind a run of ASCII or of other characters, the next may be plain again. */
        if (left > 0 && (*at < 0x20 || *at == '"' || *at == '\\')) {
            out->size += write_escape(*at, out->data + out->size);
            at++;
            left--;
        }
    }
    if (error == MP_OK)
        error = buffer_append(out, "\"", 1);
    if (error != MP_OK)
        out->size = before;
    return error;
}
