#include "pipeline/yaml.h"

#include "base/map.h"

/* A mapping of more pairs than this is searched by way of a map. */
enum { FEW = 16 };

const struct yaml_pair *yaml_get(const struct yaml *mapping, const char *key)
{
    size_t size = strlen(key);
    for (size_t i = 0; mapping->kind == YAML_MAPPING && i < mapping->count; i++) {
        const struct yaml *name = &mapping->pairs[i].key;
        if (name->size == size && memcmp(name->text, key, size) == 0)
            return &mapping->pairs[i];
    }
    return NULL;
}

const char *yaml_words(const struct yaml *value)
{
    switch (value->kind) {
    case YAML_SEQUENCE:
        return "a list";
    case YAML_MAPPING:
        return "a mapping";
    case YAML_SCALAR:
        break;
    }
    return yaml_type(value->text, value->size, value->quoted) == YAML_NULL ? "nothing" : "a value";
}

/* ---- the core schema (YAML 1.2.2, 10.3.2) ---------------------------------------------------------------------- */

static bool is_one_of(const char *text, size_t size, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strlen(*words) == size && memcmp(text, *words, size) == 0)
            return true;
    return false;
}

static size_t span(const char *text, size_t size, const char *characters)
{
    size_t count = 0;
    while (count < size && text[count] != '\0' && strchr(characters, text[count]) != NULL)
        count++;
    return count;
}

#define DIGITS "0123456789"

static bool is_based(const char *text, size_t size)
{
    if (size < 3 || text[0] != '0')
        return false;
    if (text[1] == 'o')
        return span(text + 2, size - 2, "01234567") == size - 2;
    return text[1] == 'x' && span(text + 2, size - 2, DIGITS "abcdefABCDEF") == size - 2;
}

/* A decimal number; an integer or one with a fraction or an exponent. */
static enum yaml_type decimal(const char *text, size_t size)
{
    size_t at = size > 0 && (*text == '-' || *text == '+');
    size_t whole = span(text + at, size - at, DIGITS), fraction = 0;
    at += whole;
    if (at == size)
        return whole > 0 ? YAML_INTEGER : YAML_STRING;
    if (text[at] == '.') {
        fraction = span(text + at + 1, size - at - 1, DIGITS);
        at += 1 + fraction;
    }
    if (whole + fraction == 0)
        return YAML_STRING;
    if (at == size)
        return YAML_FLOAT;
    if (text[at] != 'e' && text[at] != 'E')
        return YAML_STRING;
    at++;
    at += at < size && (text[at] == '-' || text[at] == '+');
    size_t exponent = span(text + at, size - at, DIGITS);
    return exponent > 0 && at + exponent == size ? YAML_FLOAT : YAML_STRING;
}

enum yaml_type yaml_type(const char *text, size_t size, bool quoted)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const booleans[] = {"true", "True", "TRUE", "false", "False", "FALSE", NULL};
    static const char *const floats[] = {".inf",  ".Inf",  ".INF", "+.inf", "+.Inf", "+.INF", "-.inf",
                                         "-.Inf", "-.INF", ".nan", ".NaN",  ".NAN",  NULL};
    if (quoted)
        return YAML_STRING;
    if (is_one_of(text, size, nulls))
        return YAML_NULL;
    if (is_one_of(text, size, booleans))
        return YAML_BOOLEAN;
    if (is_one_of(text, size, floats))
        return YAML_FLOAT;
    return is_based(text, size) ? YAML_INTEGER : decimal(text, size);
}
