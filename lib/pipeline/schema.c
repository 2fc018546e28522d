/* The JSON Schema of the language, for editors, from the declaration of keys. */
#include "pipeline/load.h"

#include "message/json_scan.h"

#include <stdio.h>

struct schema {
    struct buffer *out;
    enum mp_error error;
};

static void put(struct schema *schema, const char *text)
{
    if (schema->error == MP_OK)
        schema->error = buffer_append_string(schema->out, text);
}

static void put_quoted(struct schema *schema, const char *text)
{
    if (schema->error == MP_OK)
        schema->error = json_scan_quote(schema->out, text, strlen(text));
}

__attribute__((format(printf, 2, 3))) static void put_format(struct schema *schema, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    put(schema, text);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

/* What every file's schema needs: values as text, and what has no table of keys. */
static const char common[] =
    "    \"variable\": {\"type\": \"string\", \"pattern\": \"\\\\$\\\\{\"},\n"
    "    \"duration\": {\"anyOf\": [{\"type\": \"number\", \"minimum\": 0}, {\"type\": \"string\", \"pattern\": "
    "\"^([0-9.]+ *(us|ms|s|m|h|d) *)+$|^[0-9.]+$|\\\\$\\\\{\"}]},\n"
    "    \"size\": {\"anyOf\": [{\"type\": \"integer\", \"minimum\": 0}, {\"type\": \"string\", \"pattern\": "
    "\"^[0-9.]+ *(B|[KMGT](iB)?|[kMGT]B)?$|\\\\$\\\\{\"}]},\n"
    "    \"rate\": {\"anyOf\": [{\"type\": \"string\", \"pattern\": \"^[0-9.]+/[smhd]$|^none$|\\\\$\\\\{\"}, "
    "{\"const\": 0}]},\n"
    "    \"text\": {\"type\": [\"string\", \"number\", \"boolean\"]},\n"
    "    \"where\": {\"type\": \"object\", \"minProperties\": 1, \"additionalProperties\": "
    "{\"$ref\": \"#/$defs/condition\"}},\n"
    "    \"condition\": {\"anyOf\": [{\"$ref\": \"#/$defs/texts\"}, {\"type\": \"object\", \"minProperties\": 1, "
    "\"additionalProperties\": false, \"properties\": {\"equal\": {\"$ref\": \"#/$defs/texts\"}, "
    "\"glob\": {\"$ref\": \"#/$defs/texts\"}, \"regex\": {\"$ref\": \"#/$defs/texts\"}, "
    "\"exists\": {\"type\": \"boolean\"}, \"above\": {\"$ref\": \"#/$defs/text\"}, "
    "\"below\": {\"$ref\": \"#/$defs/text\"}, \"not\": {\"$ref\": \"#/$defs/condition\"}}}]},\n"
    "    \"texts\": {\"anyOf\": [{\"$ref\": \"#/$defs/text\"}, {\"type\": \"array\", \"minItems\": 1, "
    "\"items\": {\"$ref\": \"#/$defs/text\"}}]},\n"
    "    \"message\": {\"type\": \"object\", \"properties\": {\"topic\": {\"type\": \"string\"}, "
    "\"body\": {\"type\": [\"string\", \"number\", \"boolean\", \"null\"]}, \"data\": true, "
    "\"key\": {\"$ref\": \"#/$defs/text\"}}, \"additionalProperties\": {\"$ref\": \"#/$defs/text\"}}";

static void put_choice(struct schema *schema, const struct key *key)
{
    bool null = false;
    put(schema, "\"anyOf\": [{\"enum\": [");
    for (size_t i = 0; key->words[i] != NULL; i++) {
        put(schema, i > 0 ? ", " : "");
        put_quoted(schema, key->words[i]);
        null |= strcmp(key->words[i], "null") == 0;
    }
    put(schema, null ? ", null" : "");
    put(schema, "]}, {\"$ref\": \"#/$defs/variable\"}]");
}

static void put_number(struct schema *schema, const struct key *key)
{
    put(schema, "\"anyOf\": [{\"type\": \"integer\"");
    put_format(schema, ", \"minimum\": %llu", (unsigned long long)key->low);
    if (key->high > 0)
        put_format(schema, ", \"maximum\": %llu", (unsigned long long)key->high);
    put(schema, key->kind == KEY_RETRIES ? "}, {\"const\": \"unlimited\"}" : "}");
    put(schema, ", {\"$ref\": \"#/$defs/variable\"}]");
}

/* A schema of KEY's own in which "%" stands for that of `of`; without its outer braces. */
static void put_own(struct schema *schema, const struct key *key)
{
    const char *text = key->schema;
    if (strcmp(text, "true") == 0)
        return;
    if (strcmp(text, "%") == 0) {
        put_format(schema, "\"$ref\": \"#/$defs/%s\"", key->of->name);
        return;
    }
    for (size_t i = 1; text[i + 1] != '\0'; i++) {
        if (text[i] == '%')
            put_format(schema, "{\"$ref\": \"#/$defs/%s\"}", key->of->name);
        else
            put_format(schema, "%c", text[i]);
        if ((text[i] == ':' || text[i] == ',') && text[i + 1] != ' ')
            put(schema, " ");
    }
}

static void put_kind(struct schema *schema, const struct key *key)
{
    switch (key->kind) {
    case KEY_TEXT:
        put(schema, "\"$ref\": \"#/$defs/text\"");
        return;
    case KEY_PATH:
    case KEY_NAME:
    case KEY_ADDRESS:
    case KEY_TOPIC:
        put(schema, "\"type\": \"string\"");
        return;
    case KEY_FLAG:
        put(schema, "\"anyOf\": [{\"type\": \"boolean\"}, {\"$ref\": \"#/$defs/variable\"}]");
        return;
    case KEY_COUNT:
    case KEY_COUNT32:
    case KEY_RETRIES:
        put_number(schema, key);
        return;
    case KEY_SHARE:
        put(schema, "\"anyOf\": [{\"type\": \"number\", \"minimum\": 0, \"maximum\": 1}, "
                    "{\"$ref\": \"#/$defs/variable\"}]");
        return;
    case KEY_SIZE:
        put(schema, "\"$ref\": \"#/$defs/size\"");
        return;
    case KEY_DURATION:
        put(schema, "\"$ref\": \"#/$defs/duration\"");
        return;
    case KEY_RATE:
        put(schema, "\"$ref\": \"#/$defs/rate\"");
        return;
    case KEY_CHOICE:
        put_choice(schema, key);
        return;
    case KEY_MAPPING:
        put_format(schema, "\"$ref\": \"#/$defs/%s\"", key->of->name);
        return;
    case KEY_READ:
        put_own(schema, key);
        return;
    }
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

/* The words of a mdoc text: its macros' names go, and the spaces before punctuation. */
static void put_plain(struct schema *schema, const char *mdoc)
{
    struct buffer plain = {0};
    bool macro = *mdoc == '.';
    const char *at = mdoc;
    while (*at != '\0' && schema->error == MP_OK) {
        if (macro && *at == '.')
            at += 1 + strcspn(at + 1, " ") + 1;
        macro = false;
        bool before = (*at == ' ' || *at == '\n') && at[1] != '\0' && strchr(",.:;)", at[1]) != NULL && at[1] != '\0' &&
                      (at[2] == '\0' || at[2] == '\n' || at[2] == ' ');
        if (*at == '\n') {
            macro = at[1] == '.';
            if (plain.size > 0)
                schema->error = buffer_append(&plain, " ", 1);
        } else if (*at == '\\' && at[1] == '-') {
            schema->error = buffer_append(&plain, "-", 1);
            at++;
        } else if (strncmp(at, " Cm ", 4) == 0) {
            schema->error = buffer_append(&plain, " ", 1);
            at += 3;
        } else if (!before) {
            schema->error = buffer_append(&plain, at, 1);
        }
        at++;
    }
    if (schema->error == MP_OK)
        schema->error = json_scan_quote(schema->out, plain.size > 0 ? (char *)plain.data : "", plain.size);
    buffer_free(&plain);
}

static void put_default(struct schema *schema, const struct key *key)
{
    bool bare = key->kind == KEY_FLAG || key->kind == KEY_COUNT || key->kind == KEY_COUNT32 ||
                key->kind == KEY_RETRIES || key->kind == KEY_SHARE || strcmp(key->fallback, "0") == 0;
    if (key->kind == KEY_READ && strchr(key->fallback, ' ') != NULL)
        return; /* words for people */
    put(schema, ", \"default\": ");
    if (bare)
        put(schema, key->fallback);
    else
        put_quoted(schema, key->fallback);
}

/* The example, which is YAML, as JSON. */
static void put_example(struct schema *schema, const struct key *key)
{
    struct arena arena = {0};
    struct diagnostics ignored = {.arena = &arena};
    struct load load = {.arena = &arena, .diagnostics = &ignored, .settings = &(struct pipeline_load_settings){0}};
    size_t lines[2] = {0, strlen(key->example)};
    struct source source = {
        .name = "", .text = key->example, .size = strlen(key->example), .lines = lines, .lines_count = 1};
    struct yaml *value;
    struct buffer json = {0};
    ignored.sources[0] = &source;
    schema->error = yaml_read(&arena, &source, &ignored, &value);
    if (schema->error == MP_OK && value != NULL && value_json(&load, value, &json)) {
        put(schema, ", \"examples\": [");
        if (schema->error == MP_OK)
            schema->error = buffer_append(schema->out, json.data, json.size);
        put(schema, "]");
    }
    buffer_free(&json);
    arena_free(&arena);
}

static void put_key(struct schema *schema, const struct key *key, const char *indent)
{
    put(schema, indent);
    put_quoted(schema, key->name);
    put(schema, ": {");
    size_t before = schema->out->size;
    put_kind(schema, key);
    if (key->help != NULL) {
        put(schema, schema->out->size > before ? ", \"description\": " : "\"description\": ");
        put_plain(schema, key->help);
    }
    if (key->fallback != NULL)
        put_default(schema, key);
    if (key->example != NULL && schema->error == MP_OK)
        put_example(schema, key);
    put(schema, key[1].name != NULL ? "},\n" : "}\n");
}

static void put_required(struct schema *schema, const struct mapping *mapping, const char *indent)
{
    bool first = true;
    for (const struct key *key = mapping->keys; key->name != NULL; key++) {
        if (!key->required)
            continue;
        if (first)
            put_format(schema, "%s\"required\": [", indent);
        put(schema, first ? "" : ", ");
        put_quoted(schema, key->name);
        first = false;
    }
    put(schema, first ? "" : "],\n");
}

/* The members of an object's schema. NOTHING: nothing at all stands for an empty one. */
static void put_mapping(struct schema *schema, const struct mapping *mapping, bool nothing, const char *indent)
{
    char deeper[16];
    snprintf(deeper, sizeof deeper, "%s  ", indent);
    put_format(schema, "%s\"type\": %s,\n", indent, nothing ? "[\"object\", \"null\"]" : "\"object\"");
    put_format(schema, "%s\"patternProperties\": {\"^x-\": true},\n%s\"additionalProperties\": false,\n", indent,
               indent);
    put_required(schema, mapping, indent);
    put_format(schema, "%s\"properties\": {\n", indent);
    for (const struct key *key = mapping->keys; key->name != NULL; key++)
        put_key(schema, key, deeper);
    put_format(schema, "%s}", indent);
}

static bool has_required(const struct mapping *mapping)
{
    for (const struct key *key = mapping->keys; key->name != NULL; key++)
        if (key->required)
            return true;
    return false;
}

enum mp_error pipeline_schema(struct buffer *out)
{
    struct schema schema = {.out = out};
    struct mappings mappings = {0};
    mappings_collect(&mappings, &pipeline_mapping);
    put(&schema, "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
                 "  \"title\": \"A pipeline of msgpipe\",\n"
                 "  \"description\": \"Sources, topics, stages and sinks, as mrelay runs them; see mpipeline(5).\",\n");
    put_mapping(&schema, &pipeline_mapping, false, "  ");
    put(&schema, ",\n  \"$defs\": {\n");
    for (size_t i = 1; i < mappings.count; i++) {
        put_format(&schema, "    \"%s\": {\n", mappings.all[i]->name);
        put_mapping(&schema, mappings.all[i], !has_required(mappings.all[i]), "      ");
        put(&schema, "\n    },\n");
    }
    put(&schema, common);
    put(&schema, "\n  }\n}\n");
    return schema.error;
}
