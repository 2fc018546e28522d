/* Conditions: `where: {NAME: VALUE…}`. */
#include "pipeline/keys.h"

#include "stage/glob.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

/* What a name can be put to, besides a value: {regex: …}. */
static const char *const operator_words[] = {"equal", "glob", "regex", "exists", "above", "below", "not", NULL};
enum { OPERATOR_NOT = 6 };
_Static_assert(STAGE_EQUAL == 0 && STAGE_GLOB == 1 && STAGE_REGEX == 2 && STAGE_EXISTS == 3 && STAGE_ABOVE == 4 &&
                   STAGE_BELOW == 5,
               "the words are in the order of enum stage_match");

static bool is_number(const char *text)
{
    char *end;
    size_t size = strlen(text);
    enum yaml_type type = yaml_type(text, size, false);
    if (type != YAML_INTEGER && type != YAML_FLOAT)
        return false;
    (void)strtod(text, &end);
    return *end == '\0';
}

static bool check_value(struct load *load, enum stage_match match, const struct yaml *value, const char *text)
{
    regex_t regex;
    char words[128], shown[FAULT_QUOTE];
    struct fault fault;
    if (match == STAGE_GLOB && glob_check(text, strlen(text), &fault)) {
        diagnose_error(load->diagnostics, &value->place, "glob: %s", fault.text);
        return false;
    }
    if (match == STAGE_REGEX) {
        int error = regcomp(&regex, text, REG_EXTENDED | REG_NOSUB);
        if (error == 0) {
            regfree(&regex);
            return true;
        }
        regerror(error, &regex, words, sizeof words);
        diagnose_error(load->diagnostics, &value->place, "regex: '%s' is no extended regular expression: %s",
                       fault_quote(shown, text, strlen(text)), words);
        return false;
    }
    if ((match == STAGE_ABOVE || match == STAGE_BELOW) && !is_number(text)) {
        diagnose_error(load->diagnostics, &value->place, "%s: '%s' is no number", operator_words[match],
                       fault_quote(shown, text, strlen(text)));
        return false;
    }
    return true;
}

/* Text that is to be taken as it stands, in a list with globs. */
static const char *as_glob(struct load *load, const char *text)
{
    size_t size = strlen(text), used = 0;
    char *glob = load_allocate(load, 2 * size + 1, 1);
    for (size_t i = 0; glob != NULL && i < size; i++) {
        if (text[i] == '\\' || text[i] == '[')
            glob[used++] = '\\';
        glob[used++] = text[i];
    }
    return glob;
}

static void read_values(struct load *load, const char *name, const struct yaml *value, bool guess,
                        struct stage_condition *condition)
{
    size_t count = read_count(value);
    const char **values = load_allocate(load, count, sizeof *values);
    bool glob = false;
    if (count == 0)
        diagnose_error(load->diagnostics, &value->place, "%s: the list is empty: nothing would match", name);
    for (size_t i = 0; values != NULL && i < count; i++) {
        const struct yaml *item = read_item(value, i);
        const char *text = item->kind == YAML_SCALAR && item->quoted && item->size == 0
                               ? ""
                               : read_text(load, name, "a value, a list of them, or {exists: false}", item);
        if (text == NULL || !check_value(load, condition->match, item, text))
            continue;
        if (!item->quoted && yaml_type(text, strlen(text), false) == YAML_BOOLEAN)
            text = (text[0] | 0x20) == 't' ? "true" : "false";
        bool one = guess && strpbrk(text, "*?") != NULL;
        if (one && !check_value(load, STAGE_GLOB, item, text))
            continue;
        glob |= one;
        values[condition->count++] = text;
    }
    if (glob) {
        condition->match = STAGE_GLOB;
        for (size_t i = 0; i < condition->count; i++)
            if (strpbrk(values[i], "*?") == NULL)
                values[i] = as_glob(load, values[i]);
    }
    condition->values = values;
}

static void read_exists(struct load *load, const struct yaml *value, struct stage_condition *condition)
{
    const struct key key = {.name = "exists", .kind = KEY_FLAG};
    bool exists = true;
    (void)read_value(load, &key, value, &exists);
    condition->negate = !exists;
}

/* One operator of `NAME: {above: 5, below: 10}`. */
static void read_operator(struct load *load, const char *name, const struct yaml_pair *pair,
                          struct stage_condition *condition)
{
    char hint[LOAD_HINT], shown[FAULT_QUOTE];
    size_t number = 0, words = sizeof operator_words / sizeof *operator_words - 1;
    while (number < words && strcmp(operator_words[number], pair->key.text) != 0)
        number++;
    if (number == words) {
        load_hint(hint, pair->key.text, operator_words, words);
        diagnose_error(load->diagnostics, &pair->key.place, "%s: '%s' is no condition: %s", name,
                       fault_quote(shown, pair->key.text, pair->key.size), hint);
        return;
    }
    condition->name = name;
    condition->match = number == OPERATOR_NOT ? STAGE_EQUAL : (enum stage_match)number;
    condition->negate = number == OPERATOR_NOT;
    if (number == STAGE_EXISTS) {
        read_exists(load, &pair->value, condition);
    } else if ((number == STAGE_ABOVE || number == STAGE_BELOW) && pair->value.kind == YAML_SEQUENCE) {
        diagnose_error(load->diagnostics, &pair->value.place, "%s: one number is needed, here is a list",
                       pair->key.text);
    } else if (number == OPERATOR_NOT && pair->value.kind == YAML_MAPPING) {
        if (pair->value.count == 1 && strcmp(pair->value.pairs[0].key.text, "not") != 0)
            read_operator(load, name, &pair->value.pairs[0], condition);
        else
            diagnose_error(load->diagnostics, &pair->value.place, "not: one condition is needed, as {not: {regex: …}}");
        condition->negate = !condition->negate;
    } else {
        read_values(load, name, &pair->value, number == OPERATOR_NOT, condition);
    }
}

static bool check_name(struct load *load, const struct yaml *name)
{
    char shown[FAULT_QUOTE];
    if ((name->size > 0 && name->text[0] == '/') || keys_is_attribute(name->text, name->size, NULL))
        return true;
    diagnose_error(load->diagnostics, &name->place,
                   "where: '%s' is neither an attribute's name nor a JSON Pointer such as /order/total",
                   fault_quote(shown, name->text, name->size));
    return false;
}

void keys_read_where(struct load *load, const struct key *key, const struct yaml_pair *pair, void *into)
{
    struct stage_where *where = into;
    const struct yaml *value = &pair->value;
    size_t count = 0;
    if (value->kind != YAML_MAPPING || value->count == 0) {
        diagnose_error(load->diagnostics, &value->place,
                       "%s: a mapping of names to values is needed, as {type: order.*}, here is %s", key->name,
                       value->kind == YAML_MAPPING ? "an empty one" : yaml_words(value));
        return;
    }
    for (size_t i = 0; i < value->count; i++) {
        const struct yaml *one = &value->pairs[i].value;
        count += one->kind == YAML_MAPPING ? one->count : 1;
    }
    where->conditions = load_allocate(load, count, sizeof *where->conditions);
    for (size_t i = 0; where->conditions != NULL && i < value->count; i++) {
        const struct yaml *name = &value->pairs[i].key, *one = &value->pairs[i].value;
        if (!check_name(load, name))
            continue;
        if (one->kind == YAML_MAPPING && one->count == 0)
            diagnose_error(load->diagnostics, &one->place, "%s: an empty mapping: write a value, or {exists: true}",
                           name->text);
        for (size_t j = 0; one->kind == YAML_MAPPING && j < one->count; j++)
            read_operator(load, name->text, &one->pairs[j], &where->conditions[where->count++]);
        if (one->kind == YAML_MAPPING)
            continue;
        struct stage_condition *condition = &where->conditions[where->count++];
        condition->name = name->text;
        read_values(load, name->text, one, true, condition);
    }
}
