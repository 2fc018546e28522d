#include "message/names.h"

#include <string.h>

static bool is_token_character(char character)
{
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           (character >= '0' && character <= '9') || character == '_' || character == '-';
}

/* ---- checking ------------------------------------------------------------------------------- */

/* What kind of name is checked, in a user's word: "topic", "pattern", "group". */
struct check {
    const char *kind;
    const char *name;
    size_t size;
    struct fault *fault;
};

static enum mp_error refuse(const struct check *check, const char *what)
{
    char shown[FAULT_QUOTE];

    return fault_set(check->fault, MP_ERR_INVALID, "%s '%s': %s", check->kind,
                     fault_quote(shown, check->name, check->size), what);
}

static enum mp_error refuse_at(const struct check *check, size_t at, const char *what)
{
    char shown[FAULT_QUOTE];

    return fault_set(check->fault, MP_ERR_INVALID, "%s '%s': %s at character %zu", check->kind,
                     fault_quote(shown, check->name, check->size), what, at + 1);
}

static enum mp_error refuse_character(const struct check *check, size_t at, const char *allowed)
{
    char shown[FAULT_QUOTE], one[FAULT_QUOTE];
    size_t length = 1; /* of a UTF-8 character, as far as one byte tells */

    while (at + length < check->size && length < 4 && (check->name[at] & 0xc0) == 0xc0 &&
           (check->name[at + length] & 0xc0) == 0x80)
        length++;
    return fault_set(check->fault, MP_ERR_INVALID, "%s '%s': '%s' at character %zu is not allowed: use %s", check->kind,
                     fault_quote(shown, check->name, check->size), fault_quote(one, check->name + at, length), at + 1,
                     allowed);
}

static enum mp_error check_size(const struct check *check)
{
    if (check->size == 0)
        return fault_set(check->fault, MP_ERR_INVALID, "the %s's name is empty", check->kind);
    if (check->size <= NAME_MAX_BYTES)
        return MP_OK;
    char shown[FAULT_QUOTE];
    return fault_set(check->fault, MP_ERR_INVALID, "%s '%s': a name of %zu bytes: the limit is %d", check->kind,
                     fault_quote(shown, check->name, check->size), check->size, (int)NAME_MAX_BYTES);
}

/* Checks the token from START to END of a topic (PATTERN is NULL) or a pattern. */
static enum mp_error check_token(const struct check *check, size_t start, size_t end, bool *pattern)
{
    const char *token = check->name + start;
    size_t size = end - start;

    if (size == 0 && end == check->size)
        return refuse(check,
                      pattern != NULL ? "ends in a dot: was `>` unquoted?" : "ends in a dot: a topic's name does not");
    if (size == 0)
        return refuse_at(check, start, "empty token");
    if (pattern != NULL && size == 1 && (*token == '*' || *token == '>')) {
        *pattern = true;
        return *token == '*' || end == check->size
                   ? MP_OK
                   : refuse_at(check, start, "`>` stands for the rest and must be last, but it is");
    }
    for (size_t i = 0; i < size; i++) {
        if (is_token_character(token[i]))
            continue;
        if (token[i] != '*' && token[i] != '>')
            return refuse_character(check, start + i, "letters, digits, '_' and '-', and dots between tokens");
        if (pattern == NULL)
            return refuse(check, "that is a pattern: here a topic's full name is needed");
        return refuse_at(check, start + i, "`*` and `>` stand alone between dots, but one is");
    }
    return MP_OK;
}

static enum mp_error check_tokens(const struct check *check, bool *pattern)
{
    enum mp_error error = check_size(check);

    for (size_t start = 0, end = 0; error == MP_OK; start = ++end) {
        while (end < check->size && check->name[end] != '.')
            end++;
        error = check_token(check, start, end, pattern);
        if (end == check->size)
            break;
    }
    return error;
}

enum mp_error name_check_topic(const char *name, size_t size, struct fault *fault)
{
    struct check check = {.kind = "topic", .name = name, .size = size, .fault = fault};

    return check_tokens(&check, NULL);
}

enum mp_error name_check_pattern(const char *name, size_t size, bool *pattern, struct fault *fault)
{
    bool wild = size > 0 && (memchr(name, '*', size) != NULL || memchr(name, '>', size) != NULL);
    struct check check = {
        .kind = wild ? "pattern" : "topic",
        .name = name,
        .size = size,
        .fault = fault,
    };

    *pattern = false;
    return check_tokens(&check, pattern);
}

static enum mp_error check_one_token(const struct check *check)
{
    enum mp_error error = check_size(check);

    for (size_t i = 0; i < check->size && error == MP_OK; i++)
        if (!is_token_character(check->name[i]) && check->name[i] != '.')
            error = refuse_character(check, i, "letters, digits, '_', '-' and '.'");
    return error;
}

enum mp_error name_check_group(const char *name, size_t size, struct fault *fault)
{
    return check_one_token(&(struct check){.kind = "group", .name = name, .size = size, .fault = fault});
}

enum mp_error name_check_relay(const char *name, size_t size, struct fault *fault)
{
    return check_one_token(&(struct check){.kind = "relay", .name = name, .size = size, .fault = fault});
}

/* ---- matching ------------------------------------------------------------------------------- */

bool name_matches(const char *pattern, const char *topic)
{
    for (;;) {
        if (*pattern == '>')
            return *topic != '\0';
        if (*pattern == '*') {
            size_t token = strcspn(topic, ".");
            if (token == 0)
                return false;
            pattern++;
            topic += token;
        } else {
            while (*pattern != '\0' && *pattern != '.' && *pattern == *topic) {
                pattern++;
                topic++;
            }
        }
        if (*pattern != *topic)
            return false;
        if (*pattern == '\0')
            return true;
        pattern++; /* both are at a dot */
        topic++;
    }
}

/* ---- the nearest word ----------------------------------------------------------------------- */

static unsigned least(unsigned one, unsigned other)
{
    return one < other ? one : other;
}

unsigned name_distance(const char *one, const char *other)
{
    size_t rows = strlen(one), columns = strlen(other);
    unsigned table[3][NAME_MAX_BYTES + 1];
    unsigned *before = table[0], *last = table[1], *row = table[2];

    if (rows > NAME_MAX_BYTES || columns > NAME_MAX_BYTES)
        return (unsigned)(rows > columns ? rows : columns);
    for (size_t j = 0; j <= columns; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= rows; i++) {
        unsigned *oldest = before;
        before = last;
        last = row;
        row = oldest;
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= columns; j++) {
            bool equal = one[i - 1] == other[j - 1];
            row[j] = least(last[j - 1] + !equal, least(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
    }
    return row[columns];
}

static void to_small(const char *word, char small[NAME_MAX_BYTES + 1])
{
    size_t i = 0;

    for (; word[i] != '\0' && i < NAME_MAX_BYTES; i++)
        small[i] = word[i] >= 'A' && word[i] <= 'Z' ? (char)(word[i] - 'A' + 'a') : word[i];
    small[i] = '\0';
}

const char *name_nearest(const char *word, const char *const *words, size_t count)
{
    char wanted[NAME_MAX_BYTES + 1], offered[NAME_MAX_BYTES + 1];
    const char *nearest = NULL;
    unsigned distance = 0;

    to_small(word, wanted);
    for (size_t i = 0; i < count; i++) {
        to_small(words[i], offered);
        size_t longer = strlen(wanted) > strlen(offered) ? strlen(wanted) : strlen(offered);
        unsigned near = longer < 9 ? (unsigned)(longer + 1) / 3 : 3;
        unsigned found = name_distance(wanted, offered);
        if (found <= near && (nearest == NULL || found < distance)) {
            nearest = words[i];
            distance = found;
        }
    }
    return nearest;
}
