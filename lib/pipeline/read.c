/* Reading by the declaration of keys. */
#include "pipeline/load.h"

#include "base/units.h"
#include "transport/address.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

/* ---- memory ---------------------------------------------------------------------------------------------------- */

void *load_allocate(struct load *load, size_t count, size_t size)
{
    void *memory = arena_allocate_array(load->arena, count, size);
    load->no_memory |= memory == NULL;
    return memory;
}

char *load_copy(struct load *load, const void *text, size_t size)
{
    char *copy = arena_copy(load->arena, text, size);
    load->no_memory |= copy == NULL;
    return copy;
}

/* ---- words ----------------------------------------------------------------------------------------------------- */

const char *load_hint(char text[LOAD_HINT], const char *word, const char *const *words, size_t count)
{
    enum { FEW = 12 };
    const char *nearest = name_nearest(word, words, count);
    size_t used = 0;
    text[0] = '\0';
    if (nearest != NULL) {
        snprintf(text, LOAD_HINT, "did you mean '%s'?", nearest);
        return text;
    }
    for (size_t i = 0; count <= FEW && i < count && used < LOAD_HINT; i++)
        used += (size_t)snprintf(text + used, LOAD_HINT - used, "%s%s",
                                 i == 0           ? (count > 1 ? "one of " : "")
                                 : i + 1 == count ? " or "
                                                  : ", ",
                                 words[i]);
    return text;
}

/* What a kind takes, in words with an example. */
const char *key_type(const struct key *key)
{
    switch (key->kind) {
    case KEY_TEXT:
        return "a text";
    case KEY_PATH:
        return "a path";
    case KEY_NAME:
        return "a name";
    case KEY_ADDRESS:
        return "an address such as tcp://127.0.0.1:7000";
    case KEY_FLAG:
        return "true or false";
    case KEY_COUNT:
    case KEY_COUNT32:
        return "a number";
    case KEY_RETRIES:
        return "a number, or unlimited";
    case KEY_SHARE:
        return "a share from 0 to 1";
    case KEY_SIZE:
        return "a size such as 64MiB";
    case KEY_DURATION:
        return "a duration such as 5s";
    case KEY_RATE:
        return "a rate such as 500/s";
    case KEY_CHOICE:
        return "a word";
    case KEY_TOPIC:
        return "a topic's name";
    case KEY_MAPPING:
        return "a mapping";
    case KEY_READ:
        return key->type;
    }
    return "";
}

void mappings_collect(struct mappings *mappings, const struct mapping *root)
{
    for (size_t i = 0; i < mappings->count; i++)
        if (mappings->all[i] == root)
            return;
    if (mappings->count == MAPPINGS_MAX)
        return;
    mappings->all[mappings->count++] = root;
    for (const struct key *key = root->keys; key->name != NULL; key++)
        if (key->of != NULL)
            mappings_collect(mappings, key->of);
}

/* ---- scalars --------------------------------------------------------------------------------------------------- */

bool read_is_nothing(const struct yaml *value)
{
    return value->kind == YAML_SCALAR && yaml_type(value->text, value->size, value->quoted) == YAML_NULL;
}

static bool is_scalar(struct load *load, const char *key, const char *type, const struct yaml *value)
{
    if (value->kind == YAML_SCALAR && !read_is_nothing(value))
        return true;
    diagnose_error(load->diagnostics, &value->place, "%s: %s is needed, here is %s", key, type, yaml_words(value));
    return false;
}

const char *read_bytes(struct load *load, const char *key, const char *type, const struct yaml *value, size_t *size)
{
    struct buffer text = {0};
    const char *copy = NULL;
    if (!is_scalar(load, key, type, value))
        return NULL;
    if (memchr(value->text, '$', value->size) == NULL) {
        *size = value->size;
        return value->text;
    }
    if (variables_put(load, value, &text)) {
        *size = text.size;
        copy = load_copy(load, text.data, text.size);
    }
    buffer_free(&text);
    return copy;
}

const char *read_text(struct load *load, const char *key, const char *type, const struct yaml *value)
{
    size_t size;
    const char *text = read_bytes(load, key, type, value, &size);
    if (text == NULL || strlen(text) == size)
        return text;
    diagnose_error(load->diagnostics, &value->place, "%s: it holds a NUL byte", key);
    return NULL;
}

const char *read_raw(struct load *load, const char *key, const char *type, const struct yaml *value)
{
    if (!is_scalar(load, key, type, value))
        return NULL;
    if (strlen(value->text) == value->size)
        return value->text;
    diagnose_error(load->diagnostics, &value->place, "%s: it holds a NUL byte", key);
    return NULL;
}

size_t read_count(const struct yaml *value)
{
    return value->kind == YAML_SEQUENCE ? value->count : 1;
}

const struct yaml *read_item(const struct yaml *value, size_t index)
{
    return value->kind == YAML_SEQUENCE ? &value->items[index] : value;
}

const char *read_path_text(struct load *load, const char *key, const struct yaml *value)
{
    const char *text = read_text(load, key, "a path", value);
    if (text == NULL || text[0] != '\0')
        return text;
    diagnose_error(load->diagnostics, &value->place, "%s: a path is needed, here is an empty text", key);
    return NULL;
}

const char *read_path(struct load *load, const char *folder, const char *path)
{
    while (path[0] == '.' && path[1] == '/' && path[2] != '\0')
        path += 2;
    size_t before = strlen(folder), size = strlen(path);
    if (path[0] == '/')
        return load_copy(load, path, size);
    char *joined = load_allocate(load, before + 1 + size + 1, 1);
    if (joined != NULL)
        snprintf(joined, before + 1 + size + 1, "%s%s%s", folder, strcmp(folder, "/") == 0 ? "" : "/", path);
    return joined;
}

/* ---- kinds ----------------------------------------------------------------------------------------------------- */

static bool read_choice(struct load *load, const struct key *key, const struct yaml *value, const char *text, int *into)
{
    char hint[LOAD_HINT], shown[FAULT_QUOTE];
    size_t count = 0;
    for (; key->words[count] != NULL; count++)
        if (strcmp(text, key->words[count]) == 0) {
            *into = (int)count;
            return true;
        }
    load_hint(hint, text, key->words, count);
    diagnose_error(load->diagnostics, &value->place, "%s: '%s' is not known: %s", key->name,
                   fault_quote(shown, text, strlen(text)), hint);
    return false;
}

static bool read_flag(struct load *load, const struct key *key, const struct yaml *value, const char *text, bool *into)
{
    char shown[FAULT_QUOTE];
    if (yaml_type(text, strlen(text), false) == YAML_BOOLEAN) {
        *into = (text[0] | 0x20) == 't';
        return true;
    }
    bool yes = strcasecmp(text, "yes") == 0 || strcasecmp(text, "on") == 0 || strcmp(text, "1") == 0;
    bool no = strcasecmp(text, "no") == 0 || strcasecmp(text, "off") == 0 || strcmp(text, "0") == 0;
    diagnose_error(load->diagnostics, &value->place, "%s: '%s' is neither true nor false%s", key->name,
                   fault_quote(shown, text, strlen(text)),
                   yes  ? ": write true"
                   : no ? ": write false"
                        : "");
    return false;
}

static bool read_number(struct load *load, const struct key *key, const struct yaml *value, const char *text,
                        uint64_t *into)
{
    struct fault fault;
    uint64_t high = key->high > 0 ? key->high : key->kind == KEY_COUNT ? INT64_MAX : UINT32_MAX;
    if (units_number(key->name, text, key->low, high, into, &fault) == MP_OK)
        return true;
    diagnose_error(load->diagnostics, &value->place, "%s", fault.text);
    return false;
}

static bool said(struct load *load, const struct key *key, const struct yaml *value, enum mp_error error,
                 const struct fault *fault)
{
    if (error != MP_OK)
        diagnose_error(load->diagnostics, &value->place, "%s: %s", key->name, fault->text);
    return error == MP_OK;
}

static bool read_duration(struct load *load, const struct key *key, const struct yaml *value, const char *text,
                          int64_t *into)
{
    struct fault fault;
    if (!said(load, key, value, units_duration(text, into, &fault), &fault))
        return false;
    bool is_short = *into < (int64_t)key->low;
    if (!is_short && (key->high == 0 || *into <= (int64_t)key->high))
        return true;
    char limit[24];
    units_duration_write((int64_t)(is_short ? key->low : key->high), limit, sizeof limit);
    diagnose_error(load->diagnostics, &value->place, "%s: '%s' is too %s: at %s %s is %s", key->name, text,
                   is_short ? "short" : "long", is_short ? "least" : "most", limit, is_short ? "needed" : "possible");
    return false;
}

static bool read_size(struct load *load, const struct key *key, const struct yaml *value, const char *text,
                      uint64_t *into)
{
    struct fault fault;
    if (!said(load, key, value, units_size(text, into, &fault), &fault))
        return false;
    if (*into < key->low)
        diagnose_error(load->diagnostics, &value->place, "%s: '%s' is too small: at least %" PRIu64 " bytes are needed",
                       key->name, text, key->low);
    return *into >= key->low;
}

static bool read_setting(struct load *load, const struct key *key, const struct yaml *value, const char *text,
                         void *into)
{
    struct fault fault;
    enum mp_error error;
    if (text[0] == '\0') { /* which would stand for the default there */
        diagnose_error(load->diagnostics, &value->place, "%s: %s is needed, here is nothing", key->name, key_type(key));
        return false;
    }
    if (key->group)
        error = settings_group_set(into, key->setting, text, &fault);
    else
        error = settings_topic_set(into, key->setting, text, &fault);
    if (error != MP_OK)
        diagnose_error(load->diagnostics, &value->place, "%s", fault.text);
    return error == MP_OK;
}

static bool read_address(struct load *load, const struct key *key, const struct yaml *value, const char *text,
                         const char **into)
{
    struct fault fault;
    struct address address;
    if (!said(load, key, value, address_parse(text, &address, &fault), &fault))
        return false;
    *into = load_copy(load, address.text, strlen(address.text));
    return *into != NULL;
}

static bool read_name(struct load *load, const struct key *key, const struct yaml *value, const char *text,
                      const char **into)
{
    struct fault fault;
    *into = text;
    return said(load, key, value, name_check_relay(text, strlen(text), &fault), &fault);
}

bool read_reference(struct load *load, const char *key, const struct yaml *value, bool *pattern,
                    struct pipeline_reference *reference)
{
    struct fault fault;
    bool before = load->loose;
    load->loose = true; /* unless it is read */
    const char *text = read_text(load, key, pattern != NULL ? "a topic or a pattern" : "a topic's name", value);
    if (text == NULL)
        return false;
    enum mp_error error = pattern != NULL ? name_check_pattern(text, strlen(text), pattern, &fault)
                                          : name_check_topic(text, strlen(text), &fault);
    if (error != MP_OK) {
        diagnose_error(load->diagnostics, &value->place, "%s: %s", key, fault.text);
        return false;
    }
    *reference = (struct pipeline_reference){.topic = text, .place = value->place};
    load->loose = before;
    return true;
}

static bool read_scalar(struct load *load, const struct key *key, const struct yaml *value, const char *text,
                        void *into)
{
    struct fault fault;
    uint64_t number;
    switch (key->kind) {
    case KEY_TEXT:
        *(const char **)into = text;
        return true;
    case KEY_PATH:
        *(const char **)into = read_path(load, load->folder, text);
        return *(const char **)into != NULL;
    case KEY_NAME:
        return read_name(load, key, value, text, into);
    case KEY_ADDRESS:
        return read_address(load, key, value, text, into);
    case KEY_FLAG:
        return read_flag(load, key, value, text, into);
    case KEY_COUNT:
        return read_number(load, key, value, text, into);
    case KEY_COUNT32:
        if (!read_number(load, key, value, text, &number))
            return false;
        *(uint32_t *)into = (uint32_t)number;
        return true;
    case KEY_SIZE:
        return read_size(load, key, value, text, into);
    case KEY_DURATION:
        return read_duration(load, key, value, text, into);
    case KEY_RATE:
        return said(load, key, value, units_rate(text, into, &fault), &fault);
    case KEY_CHOICE:
        return read_choice(load, key, value, text, into);
    case KEY_RETRIES:
    case KEY_SHARE:
    case KEY_TOPIC:
    case KEY_MAPPING:
    case KEY_READ:
        break;
    }
    return false;
}

/* Whether one of the words of a choice is written so that YAML takes it for nothing: `format: null`. */
static bool is_word(const struct key *key, const struct yaml *value)
{
    if (key->kind != KEY_CHOICE || !read_is_nothing(value))
        return false;
    for (size_t i = 0; key->words[i] != NULL; i++)
        if (strcmp(key->words[i], value->text) == 0)
            return true;
    return false;
}

bool read_value(struct load *load, const struct key *key, const struct yaml *value, void *into)
{
    if (key->kind == KEY_TOPIC && key->setting == NULL)
        return read_reference(load, key->name, value, NULL, into);
    const char *text = is_word(key, value)     ? value->text
                       : key->kind == KEY_PATH ? read_path_text(load, key->name, value)
                                               : read_text(load, key->name, key_type(key), value);
    if (text == NULL)
        return false;
    if (key->setting != NULL)
        return read_setting(load, key, value, text, into);
    return read_scalar(load, key, value, text, into);
}

/* ---- mappings -------------------------------------------------------------------------------------------------- */

enum { KEYS_MAX = 64 };

static size_t key_names(const struct mapping *mapping, const char *names[KEYS_MAX])
{
    size_t count = 0;
    for (const struct key *key = mapping->keys; key->name != NULL && count < KEYS_MAX; key++)
        names[count++] = key->name;
    return count;
}

static bool has_key(const struct mapping *mapping, const struct yaml *name)
{
    for (const struct key *key = mapping->keys; key->name != NULL; key++)
        if (strlen(key->name) == name->size && memcmp(key->name, name->text, name->size) == 0)
            return true;
    return false;
}

/* A key that is right in another place: inside of one of the mapping's own, or in something else. */
static bool elsewhere(char hint[LOAD_HINT], const struct mapping *mapping, const struct yaml *name)
{
    static const struct mapping *const others[] = {&stage_mapping, &sink_mapping,  &source_mapping,
                                                   &topic_mapping, &relay_mapping, &pipeline_mapping};
    for (const struct key *key = mapping->keys; key->name != NULL; key++)
        if (key->of != NULL && !key->of->named && has_key(key->of, name)) {
            snprintf(hint, LOAD_HINT, "it stands in '%s', as %s: {%s: ...}", key->name, key->name, name->text);
            return true;
        }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (has_key(others[i], name)) {
            snprintf(hint, LOAD_HINT, "it is a key of %s", others[i]->what);
            return true;
        }
    return false;
}

bool read_is_meant(const struct load *load, const char *key)
{
    return load->meant != NULL && strcmp(load->meant, key) == 0;
}

static const struct key *find_key(struct load *load, const struct mapping *mapping, const struct yaml *name)
{
    const char *names[KEYS_MAX];
    char hint[LOAD_HINT], shown[FAULT_QUOTE];
    for (const struct key *key = mapping->keys; key->name != NULL; key++)
        if (strlen(key->name) == name->size && memcmp(key->name, name->text, name->size) == 0)
            return key;
    load->loose = true;
    if (!elsewhere(hint, mapping, name)) {
        size_t count = key_names(mapping, names);
        const char *near = name_nearest(name->text, names, count);
        load->meant = near != NULL ? near : load->meant;
        load_hint(hint, name->text, names, count);
    }
    diagnose_error(load->diagnostics, &name->place, "unknown key '%s' in %s%s%s",
                   fault_quote(shown, name->text, name->size), mapping->what, hint[0] != '\0' ? ": " : "", hint);
    return NULL;
}

static void read_pair(struct load *load, const struct mapping *mapping, const struct yaml_pair *pair, void *into)
{
    if (pair->key.size > 2 && memcmp(pair->key.text, "x-", 2) == 0)
        return;
    const struct key *key = find_key(load, mapping, &pair->key);
    if (key == NULL)
        return;
    void *member = (char *)into + key->at;
    if (key->kind == KEY_READ)
        key->read(load, key, pair, member);
    else if (key->kind == KEY_MAPPING && pair->value.kind != YAML_MAPPING)
        diagnose_error(load->diagnostics, &pair->value.place, "%s: keys are needed, as %s, here is %s", key->name,
                       key->example, yaml_words(&pair->value));
    else if (key->kind == KEY_MAPPING)
        read_mapping(load, key->of, pair, member);
    else
        (void)read_value(load, key, &pair->value, member);
}

static void check_required(struct load *load, const struct mapping *mapping, const struct yaml_pair *pair)
{
    for (const struct key *key = mapping->keys; key->name != NULL; key++) {
        if (!key->required || yaml_get(&pair->value, key->name) != NULL || read_is_meant(load, key->name))
            continue;
        load->loose = true;
        bool named = mapping->named && pair->key.size > 0;
        diagnose_error(load->diagnostics, pair->key.size > 0 ? &pair->key.place : &pair->value.place,
                       "%s%s%s needs the key '%s'%s%s%s%s", named ? mapping->name : mapping->what, named ? " " : "",
                       named ? pair->key.text : "", key->name, key->example != NULL ? ", as " : "",
                       key->example != NULL ? key->name : "", key->example != NULL ? ": " : "",
                       key->example != NULL ? key->example : "");
    }
}

static const char *listed(char text[LOAD_HINT], const char *const *words)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; words[i] != NULL && used < LOAD_HINT; i++)
        used += (size_t)snprintf(text + used, LOAD_HINT - used, "%s'%s'",
                                 i == 0                 ? ""
                                 : words[i + 1] == NULL ? " or "
                                                        : ", ",
                                 words[i]);
    return text;
}

static void check_rule(struct load *load, const struct key_rule *rule, const struct yaml_pair *pair)
{
    char words[LOAD_HINT];
    const struct yaml_pair *one = yaml_get(&pair->value, rule->one), *other = NULL;
    if (one == NULL)
        return;
    bool meant = false;
    for (size_t i = 0; rule->others[i] != NULL && other == NULL; i++) {
        other = yaml_get(&pair->value, rule->others[i]);
        meant = meant || read_is_meant(load, rule->others[i]);
    }
    if (rule->needs && other == NULL && !meant)
        diagnose_error(load->diagnostics, &one->key.place, "'%s' needs %s: %s", rule->one, listed(words, rule->others),
                       rule->why);
    if (!rule->needs && other != NULL)
        diagnose_error(load->diagnostics, &one->key.place, "'%s' does not go with '%s': %s", rule->one, other->key.text,
                       rule->why);
}

void read_mapping(struct load *load, const struct mapping *mapping, const struct yaml_pair *pair, void *into)
{
    const struct yaml *value = &pair->value;
    if (mapping->begin != NULL)
        mapping->begin(load, pair, into);
    if (value->kind != YAML_MAPPING && !read_is_nothing(value)) {
        load->loose = true;
        diagnose_error(load->diagnostics, &value->place, "%s%s%s is a mapping of keys to values, here is %s",
                       pair->key.size > 0 ? pair->key.text : "", pair->key.size > 0 ? ": " : "", mapping->what,
                       yaml_words(value));
        return;
    }
    const char *outside = load->meant;
    load->meant = NULL;
    for (size_t i = 0; value->kind == YAML_MAPPING && i < value->count && !load->no_memory; i++)
        read_pair(load, mapping, &value->pairs[i], into);
    check_required(load, mapping, pair);
    for (const struct key_rule *rule = mapping->rules; rule != NULL && rule->one != NULL; rule++)
        check_rule(load, rule, pair);
    if (mapping->end != NULL && !load->no_memory)
        mapping->end(load, pair, into);
    load->meant = outside;
}
