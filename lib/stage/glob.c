#include "stage/glob.h"

#include "base/utf8.h"

/* The character at *AT, which is moved behind it; a byte that begins none is told from all characters. */
static uint32_t take(const uint8_t **at, const uint8_t *end)
{
    uint32_t code;
    size_t length = utf8_next(*at, (size_t)(end - *at), &code);
    if (length == 0) {
        code = 0x110000 + (uint32_t) * *at;
        length = 1;
    }
    *at += length;
    return code;
}

/* The same in a bracket, where a backslash makes the next character plain. */
static uint32_t take_listed(const uint8_t **at, const uint8_t *end)
{
    if (**at == '\\' && *at + 1 < end)
        (*at)++;
    return take(at, end);
}

/*
 * Passes over the bracket at *AT, "[" and what follows, and tells whether CODE is in it. False in *CLOSED: it has no
 * end. A "]" that stands first is one of the characters.
 */
static bool in_bracket(const uint8_t **at, const uint8_t *end, uint32_t code, bool *closed)
{
    bool found = false;
    (*at)++;
    const bool other = *at < end && **at == '!';
    *at += other;
    const uint8_t *first = *at;
    *closed = false;
    while (*at < end && (**at != ']' || *at == first)) {
        const uint32_t low = take_listed(at, end);
        uint32_t high = low;
        if (end - *at >= 2 && (*at)[0] == '-' && (*at)[1] != ']') {
            (*at)++;
            high = take_listed(at, end);
        }
        found |= code >= low && code <= high;
    }
    if (*at < end) {
        (*at)++;
        *closed = true;
    }
    return found != other;
}

enum mp_error glob_check(const char *pattern, size_t size, struct fault *fault)
{
    const uint8_t *at = (const uint8_t *)pattern;
    const uint8_t *end = at + size;
    char shown[FAULT_QUOTE];
    while (at < end) {
        bool closed = true;
        if (*at == '[') {
            (void)in_bracket(&at, end, 0, &closed);
        } else if (*at == '\\' && at + 1 == end) {
            return fault_set(fault, MP_ERR_INVALID, "'%s' ends with a backslash: write \\\\ for one",
                             fault_quote(shown, pattern, size));
        } else {
            at += *at == '\\' ? 2 : 1;
        }
        if (!closed)
            return fault_set(fault, MP_ERR_INVALID, "'%s' has a '[' without its ']': write \\[ for one",
                             fault_quote(shown, pattern, size));
    }
    return MP_OK;
}

/* Whether the part of the pattern at *AT, no star, matches the character at *TEXT; both are moved on then. */
static bool match_one(const uint8_t **at, const uint8_t *end, const uint8_t **text, const uint8_t *text_end)
{
    const uint8_t *part = *at;
    const uint8_t *rest = *text;
    bool matches = true, closed;
    if (*part == '?') {
        part++;
        (void)take(&rest, text_end);
    } else if (*part == '[') {
        matches = in_bracket(&part, end, take(&rest, text_end), &closed);
    } else {
        part += *part == '\\' && part + 1 < end;
        matches = *part++ == *rest++;
    }
    if (matches) {
        *at = part;
        *text = rest;
    }
    return matches;
}

bool glob_matches(const char *pattern, size_t pattern_size, const uint8_t *text, size_t size)
{
    const uint8_t *at = (const uint8_t *)pattern;
    const uint8_t *end = at + pattern_size;
    const uint8_t *text_end = text + size;
    const uint8_t *star = NULL; /* behind the last star, which is tried with one byte more each time */
    const uint8_t *from = NULL;
    while (text < text_end || at < end) {
        if (at < end && *at == '*') {
            star = ++at;
            from = text;
            if (at == end)
                return true;
        } else if (at == end || text == text_end || !match_one(&at, end, &text, text_end)) {
            if (star == NULL || from == text_end)
                return false;
            at = star;
            text = ++from;
        }
    }
    return true;
}
