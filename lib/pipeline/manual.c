/* The keys of the language as they stand in mpipeline(5), from their declaration. */
#include "pipeline/load.h"

static enum mp_error put_text(struct buffer *out, const char *text)
{
    enum mp_error error = buffer_append_string(out, text);
    return error == MP_OK && out->size > 0 && out->data[out->size - 1] != '\n' ? buffer_append(out, "\n", 1) : error;
}

/* A help text is a clause: it gets a capital letter, and a full stop where its last line takes it. */
static enum mp_error put_help(struct buffer *out, const char *help)
{
    const char *last = strrchr(help, '\n');
    size_t start;
    bool macro = last != NULL && last[1] == '.';
    while (*help == '\n')
        help++;
    start = out->size;
    enum mp_error error = buffer_append_string(out, help);
    if (error == MP_OK && out->data[start] >= 'a' && out->data[start] <= 'z')
        out->data[start] = (uint8_t)(out->data[start] - 'a' + 'A');
    return error != MP_OK ? error : buffer_append_string(out, macro ? " .\n" : ".\n");
}

static enum mp_error put_words(struct buffer *out, const struct key *key)
{
    enum mp_error error = MP_OK;
    for (size_t i = 0; error == MP_OK && key->words[i] != NULL; i++)
        error =
            buffer_append_format(out, "%s%s", i > 0 ? (key->words[i + 1] != NULL ? ", " : " or ") : "", key->words[i]);
    return error;
}

static enum mp_error put_key(struct buffer *out, const struct key *key)
{
    enum mp_error error = buffer_append_format(out, ".It Cm %s : No ", key->name);
    if (error == MP_OK)
        error = key->kind == KEY_CHOICE ? put_words(out, key) : buffer_append_string(out, key_type(key));
    if (error == MP_OK)
        error = buffer_append_string(out, key->required ? ", required\n" : "\n");
    if (error == MP_OK)
        error = put_help(out, key->help);
    if (error == MP_OK && key->fallback != NULL)
        error = buffer_append_format(out, "The default is\n.Cm %s .\n", key->fallback);
    if (error == MP_OK && key->example != NULL)
        error =
            buffer_append_format(out, ".Bd -literal -offset indent -compact\n%s: %s\n.Ed\n", key->name, key->example);
    return error;
}

static enum mp_error put_mapping(struct buffer *out, const struct mapping *mapping)
{
    enum mp_error error = buffer_append_format(out, ".Ss Keys of %s\n", mapping->what);
    if (error == MP_OK && mapping->help != NULL)
        error = put_text(out, mapping->help);
    if (error == MP_OK)
        error = buffer_append_string(out, ".Bl -tag -width Ds\n");
    for (const struct key *key = mapping->keys; key->name != NULL && error == MP_OK; key++)
        error = put_key(out, key);
    return error != MP_OK ? error : buffer_append_string(out, ".El\n");
}

enum mp_error pipeline_manual(struct buffer *out)
{
    struct mappings mappings = {0};
    enum mp_error error = MP_OK;
    mappings_collect(&mappings, &pipeline_mapping);
    for (size_t i = 0; i < mappings.count && error == MP_OK; i++)
        error = put_mapping(out, mappings.all[i]);
    return error;
}
