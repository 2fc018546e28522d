/*
 * ${NAME} and ${NAME:-default} in values. `$$` is a dollar sign, and so is `$` before anything else, so that prices and
 * regular expressions need no care.
 */
#include "pipeline/load.h"

/* What variables may make of a file, in bytes: each of 500,000 values could name a long one. */
enum { EXPANDED_MAX = 64 * 1024 * 1024 };

static const char *look_up(const struct load *load, const char *name, size_t size)
{
    char *const *environment = load->settings->environment;
    for (; environment != NULL && *environment != NULL; environment++)
        if (strncmp(*environment, name, size) == 0 && (*environment)[size] == '=')
            return *environment + size + 1;
    return NULL;
}

static size_t name_size(const char *at, const char *end)
{
    const char *start = at;
    while (at < end && ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || *at == '_' ||
                        (at > start && *at >= '0' && *at <= '9')))
        at++;
    return (size_t)(at - start);
}

static bool wrong(struct load *load, const struct yaml *value, const char *from, const char *to, const char *what)
{
    char shown[FAULT_QUOTE];
    diagnose_error(load->diagnostics, &value->place, "'%s': %s", fault_quote(shown, from, (size_t)(to - from)), what);
    return false;
}

static bool append(struct load *load, const struct yaml *value, struct buffer *out, const char *bytes, size_t size)
{
    load->expanded += size;
    if (load->expanded > EXPANDED_MAX) {
        diagnose_error(load->diagnostics, &value->place, "variables make more than 64 MiB of this file");
        return false;
    }
    if (buffer_append(out, bytes, size) == MP_OK)
        return true;
    load->no_memory = true;
    return false;
}

static const char *find(const char *at, const char *end, char character)
{
    while (at < end && *at != character)
        at++;
    return at < end ? at : NULL;
}

/* The variable that begins at *AT, "${"; *AT is behind it then. */
static bool put_one(struct load *load, const struct yaml *value, const char **at, const char *end, struct buffer *out)
{
    const char *from = *at, *name = from + 2;
    size_t size = name_size(name, end);
    const char *next = name + size, *close = find(next, end, '}');
    if (close == NULL)
        return wrong(load, value, from, end, "no '}' closes it: write ${NAME}, or $$ for a dollar sign");
    *at = close + 1;
    if (size == 0 || (next != close && !(next[0] == ':' && next[1] == '-')))
        return wrong(load, value, from, *at, "write ${NAME} or ${NAME:-default}, or $$ for a dollar sign");
    const char *fallback = next == close ? NULL : next + 2;
    if (fallback != NULL && find(fallback, close, '$') != NULL)
        return wrong(load, value, from, *at, "a default cannot hold another variable");
    const char *set = look_up(load, name, size);
    if (set != NULL && (*set != '\0' || fallback == NULL))
        return append(load, value, out, set, strlen(set));
    if (fallback != NULL)
        return append(load, value, out, fallback, (size_t)(close - fallback));
    char shown[FAULT_QUOTE];
    fault_quote(shown, name, size);
    diagnose_error(load->diagnostics, &value->place, "the variable %s is not set: set it, or write ${%s:-default}",
                   shown, shown);
    return false;
}

bool variables_put(struct load *load, const struct yaml *value, struct buffer *out)
{
    const char *at = value->text, *end = at + value->size;
    bool good = true;
    while (at < end) {
        const char *dollar = memchr(at, '$', (size_t)(end - at));
        if (dollar == NULL)
            dollar = end;
        if (!append(load, value, out, at, (size_t)(dollar - at)))
            return false;
        at = dollar;
        if (at == end)
            break;
        if (end - at > 1 && at[1] == '{') {
            good = put_one(load, value, &at, end, out) && good;
            if (!good && at == dollar)
                return false;
        } else {
            at += end - at > 1 && at[1] == '$' ? 2 : 1;
            if (!append(load, value, out, "$", 1))
                return false;
        }
    }
    return good;
}
