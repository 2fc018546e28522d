#include "message/format_private.h"

#include "base/memory.h"

struct part {
    struct format_value *value; /* NULL: a text */
    size_t begin;               /* of a text, in `text` */
    size_t size;
};

struct format_template {
    struct part *parts;
    size_t count;
    char *text; /* what the parts hold, one behind the other */
    struct buffer scratch;
};

/* A template while it is parsed. */
struct parser {
    const char *begin;
    const char *at;
    struct format_template *template;
    size_t used; /* bytes of template->text */
    struct fault *fault;
};

void format_template_free(struct format_template *template)
{
    if (template == NULL)
        return;
    for (size_t index = 0; index < template->count; index++)
        format_value_free(template->parts[index].value);
    buffer_free(&template->scratch);
    memory_release(template->parts);
    memory_release(template->text);
    memory_release(template);
}

static size_t place(const struct parser *parser)
{
    size_t count = 0;
    for (const char *at = parser->begin; at < parser->at; at++)
        count += ((uint8_t)*at & 0xc0) != 0x80;
    return count + 1;
}

/* There is room: a part takes a character of the template at least, and so does each byte of text. */
static void add_byte(struct parser *parser, char byte)
{
    struct format_template *template = parser->template;
    if (template->count == 0 || template->parts[template->count - 1].value != NULL)
        template->parts[template->count++] = (struct part){.begin = parser->used};
    template->text[parser->used++] = byte;
    template->parts[template->count - 1].size++;
}

/* At a backslash. */
static enum mp_error parse_escape(struct parser *parser)
{
    static const char letters[] = "ntr0\\";
    static const char meanings[] = "\n\t\r\0\\";
    const char letter = parser->at[1];
    if (letter == '\0') {
        return fault_set(parser->fault, MP_ERR_INVALID,
                         "the template ends with a backslash, character %zu: write \\\\ for one", place(parser));
    }
    const char *found = strchr(letters, letter);
    if (found == NULL) {
        const bool shown = letter > 0x20 && letter < 0x7f;
        return fault_set(parser->fault, MP_ERR_INVALID,
                         "character %zu of the template: %s%.*s is no escape: \\n \\t \\r \\0 and "
                         "\\\\ are",
                         place(parser), shown ? "\\" : "this", shown ? 1 : 0, &letter);
    }
    add_byte(parser, meanings[found - letters]);
    parser->at += 2;
    return MP_OK;
}

/* How many characters of the name at NAME are right. */
static size_t name_length(const char *name)
{
    size_t size = 0;
    if (name[0] == '/')
        return strcspn(name, "}");
    while (format_is_name_letter(name[size]))
        size++;
    return size;
}

/* At "%{". */
static enum mp_error parse_name(struct parser *parser)
{
    const char *name = parser->at + 2;
    const size_t size = name_length(name);
    if (name[size] == '\0') {
        return fault_set(parser->fault, MP_ERR_INVALID, "character %zu of the template: \"%%{\" without its \"}\"",
                         place(parser));
    }
    if (name[size] != '}') {
        parser->at = name + size;
        return fault_set(parser->fault, MP_ERR_INVALID,
                         "character %zu of the template: a name has letters, digits, '_' and '-', "
                         "and ends with '}'",
                         place(parser));
    }
    if (size == 0 || (size > ATTRIBUTE_NAME_MAX && name[0] != '/')) {
        return fault_set(parser->fault, MP_ERR_INVALID,
                         size == 0 ? "character %zu of the template: %%{} names nothing; "
                                     "%%{body}, %%{id}, %%{topic}, …"
                                   : "character %zu of the template: a name has 64 characters at "
                                     "most",
                         place(parser));
    }
    struct fault why = {0};
    struct part part = {0};
    enum mp_error error = format_value_parse(name, size, &part.value, &why);
    if (error != MP_OK)
        return fault_set(parser->fault, error, "character %zu of the template: %s", place(parser), fault_text(&why));
    parser->template->parts[parser->template->count++] = part;
    parser->at = name + size + 1;
    return MP_OK;
}

static enum mp_error parse_next(struct parser *parser)
{
    if (*parser->at == '\\')
        return parse_escape(parser);
    if (*parser->at != '%') {
        add_byte(parser, *parser->at++);
        return MP_OK;
    }
    if (parser->at[1] == '%') {
        add_byte(parser, '%');
        parser->at += 2;
        return MP_OK;
    }
    if (parser->at[1] == '{')
        return parse_name(parser);
    return fault_set(parser->fault, MP_ERR_INVALID,
                     "character %zu of the template: a '%%' stands before {name}; write %%%% for a "
                     "percent sign",
                     place(parser));
}

enum mp_error format_template_parse(const char *text, struct format_template **template, struct fault *fault)
{
    const size_t size = strlen(text);
    struct format_template *made = memory_allocate(sizeof(*made));
    struct parser parser = {.begin = text, .at = text, .template = made, .fault = fault};
    enum mp_error error = MP_OK;
    *template = NULL;
    if (made == NULL)
        return fault_memory(fault);
    made->parts = memory_allocate_array(size + 1, sizeof(*made->parts));
    made->text = memory_allocate(size + 1);
    if (made->parts == NULL || made->text == NULL) {
        error = fault_memory(fault);
        goto fail;
    }
    while (*parser.at != '\0') {
        error = parse_next(&parser);
        if (error != MP_OK)
            goto fail;
    }
    *template = made;
    return MP_OK;
fail:
    format_template_free(made);
    return error;
}

bool format_template_is_constant(const struct format_template *template)
{
    for (size_t index = 0; index < template->count; index++)
        if (template->parts[index].value != NULL)
            return false;
    return true;
}

enum mp_error format_template_write(struct format_template *template, const struct format_item *item,
                                    struct buffer *out)
{
    const size_t before = out->size;
    enum mp_error error = MP_OK;
    for (size_t index = 0; error == MP_OK && index < template->count; index++) {
        const struct part *part = &template->parts[index];
        struct format_text text = {.text = (const uint8_t *)template->text + part->begin, .size = part->size};
        if (part->value != NULL) {
            template->scratch.size = 0;
            error = format_value_read(part->value, item, &template->scratch, &text);
        }
        if (error == MP_OK)
            error = buffer_append(out, text.text, text.size);
    }
    if (error != MP_OK)
        out->size = before;
    return error;
}
