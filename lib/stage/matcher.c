/* Conditions on messages. What can be made ready is made ready; a match takes no memory but what regexec(3) takes. */
#include "stage/steps.h"

#include "base/map.h"
#include "base/memory.h"
#include "stage/glob.h"

#include <regex.h>
#include <stdlib.h>

enum {
    FEW = 8,         /* values that are compared one by one */
    NUMBER_TEXT = 64 /* characters of a number and a NUL */
};

struct text {
    const char *text;
    size_t size;
};

struct condition {
    struct format_value *value;
    enum stage_match match;
    bool negate;
    size_t count;
    struct text *texts; /* EQUAL, GLOB */
    struct map map;     /* EQUAL, of more than FEW */
    regex_t *regexes;   /* REGEX; `count` of them are compiled */
    double limit;       /* ABOVE, BELOW */
};

struct stage_matcher {
    struct condition *all;
    size_t count;
    struct buffer scratch;
    struct buffer subject; /* of a regular expression */
};

/* The decimal number that SIZE bytes at TEXT are, and nothing else: no space, no hexadecimal, no infinity. */
static bool read_number(const uint8_t *text, size_t size, double *number)
{
    char copy[NUMBER_TEXT];
    char *end;
    if (size == 0 || size >= sizeof(copy))
        return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (strspn(copy, "0123456789+-.eE") != size)
        return false;
    *number = strtod(copy, &end);
    return end == copy + size && *number - *number == 0;
}

/* ---- making ready --------------------------------------------------------------------------- */

static void condition_free(struct condition *condition)
{
    format_value_free(condition->value);
    for (size_t i = 0; condition->regexes != NULL && i < condition->count; i++)
        regfree(&condition->regexes[i]);
    memory_release(condition->regexes);
    memory_release(condition->texts);
    map_free(&condition->map);
}

void stage_matcher_free(struct stage_matcher *matcher)
{
    if (matcher == NULL)
        return;
    for (size_t i = 0; i < matcher->count; i++)
        condition_free(&matcher->all[i]);
    memory_release(matcher->all);
    buffer_free(&matcher->scratch);
    buffer_free(&matcher->subject);
    memory_release(matcher);
}

static enum mp_error open_texts(struct condition *condition, const struct stage_condition *declared,
                                struct fault *fault)
{
    condition->texts = memory_allocate_array(declared->count, sizeof(*condition->texts));
    if (condition->texts == NULL)
        return fault_memory(fault);
    condition->count = declared->count;
    for (size_t i = 0; i < declared->count; i++) {
        struct text *text = &condition->texts[i];
        *text = (struct text){declared->values[i], strlen(declared->values[i])};
        if (condition->match == STAGE_GLOB) {
            enum mp_error error = glob_check(text->text, text->size, fault);
            if (error != MP_OK)
                return error;
        } else if (declared->count > FEW && map_put(&condition->map, text->text, text->size, text) != MP_OK) {
            return fault_memory(fault);
        }
    }
    return MP_OK;
}

static enum mp_error open_regexes(struct condition *condition, const struct stage_condition *declared,
                                  struct fault *fault)
{
    condition->regexes = memory_allocate_array(declared->count, sizeof(*condition->regexes));
    if (condition->regexes == NULL)
        return fault_memory(fault);
    for (size_t i = 0; i < declared->count; i++) {
        char why[128], shown[FAULT_QUOTE];
        const int code = regcomp(&condition->regexes[i], declared->values[i], REG_EXTENDED | REG_NOSUB);
        if (code == REG_ESPACE)
            return fault_memory(fault);
        if (code != 0) {
            (void)regerror(code, &condition->regexes[i], why, sizeof(why));
            return fault_set(fault, MP_ERR_INVALID, "'%s' is no extended regular expression: %s",
                             fault_quote(shown, declared->values[i], strlen(declared->values[i])), why);
        }
        condition->count++;
    }
    return MP_OK;
}

static enum mp_error open_limit(struct condition *condition, const struct stage_condition *declared,
                                struct fault *fault)
{
    char shown[FAULT_QUOTE];
    const char *value = declared->count == 1 ? declared->values[0] : "";
    if (declared->count == 1 && read_number((const uint8_t *)value, strlen(value), &condition->limit))
        return MP_OK;
    return fault_set(fault, MP_ERR_INVALID, "'%s' is not a number: write one, such as 10 or 2.5",
                     fault_quote(shown, value, strlen(value)));
}

static enum mp_error condition_open(struct condition *condition, const struct stage_condition *declared,
                                    struct fault *fault)
{
    condition->match = declared->match;
    condition->negate = declared->negate;
    enum mp_error error = format_value_parse(declared->name, strlen(declared->name), &condition->value, fault);
    if (error != MP_OK)
        return error;
    switch (declared->match) {
    case STAGE_EQUAL:
    case STAGE_GLOB:
        return open_texts(condition, declared, fault);
    case STAGE_REGEX:
        return open_regexes(condition, declared, fault);
    case STAGE_ABOVE:
    case STAGE_BELOW:
        return open_limit(condition, declared, fault);
    case STAGE_EXISTS:
        return MP_OK;
    }
    return fault_set(fault, MP_ERR_INTERNAL, "no such match");
}

enum mp_error stage_matcher_open(const struct stage_where *where, struct stage_matcher **matcher, struct fault *fault)
{
    struct stage_matcher *made = memory_allocate(sizeof(*made));
    enum mp_error error = MP_OK;
    *matcher = NULL;
    if (made == NULL)
        return fault_memory(fault);
    made->all = memory_allocate_array(where->count, sizeof(*made->all));
    if (made->all == NULL)
        error = fault_memory(fault);
    while (error == MP_OK && made->count < where->count) {
        const struct stage_condition *declared = &where->conditions[made->count];
        struct fault why = {0};
        error = condition_open(&made->all[made->count++], declared, &why);
        if (error != MP_OK)
            fault_set(fault, error, "%s: %s", declared->name, fault_text(&why));
    }
    if (error != MP_OK) {
        stage_matcher_free(made);
        return error;
    }
    *matcher = made;
    return MP_OK;
}

/* ---- matching ------------------------------------------------------------------------------- */

static bool is_one_of(const struct condition *condition, const struct format_text *value)
{
    if (condition->count > FEW)
        return map_get(&condition->map, value->text, value->size) != NULL;
    for (size_t i = 0; i < condition->count; i++)
        if (condition->texts[i].size == value->size &&
            (value->size == 0 || memcmp(condition->texts[i].text, value->text, value->size) == 0))
            return true;
    return false;
}

static bool matches_glob(const struct condition *condition, const struct format_text *value)
{
    for (size_t i = 0; i < condition->count; i++)
        if (glob_matches(condition->texts[i].text, condition->texts[i].size, value->text, value->size))
            return true;
    return false;
}

/*
 * With a NUL behind it, which not only regexec(3) wants but also what is put in its place to look for faults. Bytes behind
 * a NUL in a value are looked at where regexec() can be told the end, as on Linux, macOS and BSD.
 */
static enum mp_error matches_regex(const struct condition *condition, const struct format_text *value,
                                   struct buffer *subject, bool *matches)
{
    regmatch_t extent = {.rm_so = 0, .rm_eo = (regoff_t)value->size};
    int code = REG_NOMATCH;
#ifdef REG_STARTEND
    const int flags = REG_STARTEND;
#else
    const int flags = 0;
#endif
    subject->size = 0;
    if (buffer_append(subject, value->text, value->size) != MP_OK || buffer_append(subject, "", 1) != MP_OK)
        return MP_ERR_MEMORY;
    for (size_t i = 0; i < condition->count && code == REG_NOMATCH; i++)
        code = regexec(&condition->regexes[i], (const char *)subject->data, 1, &extent, flags);
    *matches = code == 0;
    return code == 0 || code == REG_NOMATCH ? MP_OK : MP_ERR_MEMORY;
}

static bool is_beyond(const struct condition *condition, const struct format_text *value)
{
    double number;
    if (!read_number(value->text, value->size, &number))
        return false;
    return condition->match == STAGE_ABOVE ? number > condition->limit : number < condition->limit;
}

/* What is not there matches nothing. */
static enum mp_error holds(struct stage_matcher *matcher, struct condition *condition, const struct format_item *item,
                           bool *matches)
{
    struct format_text value;
    matcher->scratch.size = 0;
    enum mp_error error = format_value_read(condition->value, item, &matcher->scratch, &value);
    if (error != MP_OK)
        return error;
    *matches = value.text != NULL;
    if (*matches) {
        switch (condition->match) {
        case STAGE_EQUAL:
            *matches = is_one_of(condition, &value);
            break;
        case STAGE_GLOB:
            *matches = matches_glob(condition, &value);
            break;
        case STAGE_REGEX:
            error = matches_regex(condition, &value, &matcher->subject, matches);
            break;
        case STAGE_ABOVE:
        case STAGE_BELOW:
            *matches = is_beyond(condition, &value);
            break;
        case STAGE_EXISTS:
            break;
        }
    }
    *matches = *matches != condition->negate;
    return error;
}

enum mp_error stage_matches(struct stage_matcher *matcher, const struct format_item *item, bool *matches)
{
    enum mp_error error = MP_OK;
    *matches = true;
    for (size_t i = 0; error == MP_OK && *matches && i < matcher->count; i++)
        error = holds(matcher, &matcher->all[i], item, matches);
    return error;
}
