#include "message/format_private.h"

#include "base/memory.h"
#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>

enum part_kind {
    PART_TEXT,
    PART_ID,
    PART_TOPIC,
    PART_OFFSET,
    PART_ATTEMPT,
    PART_TIME,
    PART_KEY,
    PART_BODY,
    PART_SIZE,
    PART_ATTRIBUTE
};

struct part {
    enum part_kind kind;
    size_t begin; /* of a text or an attribute's name, in `text` */
    size_t size;
};

struct format_template {
    struct part *parts;
    size_t count;
    char *text; /* what the parts hold, one behind the other */
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
    memory_release(template->parts);
    memory_release(template->text);
    memory_release(template);
}

static enum part_kind part_of(const char *name, size_t size)
{
    static const struct {
        const char *name;
        enum part_kind kind;
    } known[] = {
        {"id", PART_ID},     {"topic", PART_TOPIC}, {"offset", PART_OFFSET}, {"attempt", PART_ATTEMPT},
        {"time", PART_TIME}, {"key", PART_KEY},     {"body", PART_BODY},     {"size", PART_SIZE},
    };
    for (size_t index = 0; index < sizeof(known) / sizeof(known[0]); index++)
        if (format_same(name, size, known[index].name))
            return known[index].kind;
    return PART_ATTRIBUTE;
}

static size_t place(const struct parser *parser)
{
    size_t count = 0;
    for (const char *at = parser->begin; at < parser->at; at++)
        count += ((uint8_t)*at & 0xc0) != 0x80;
    return count + 1;
}

/* There is room: a part takes a character of the template at least, and so does each byte of text. */
static struct part *add_part(struct parser *parser, enum part_kind kind)
{
    struct format_template *template = parser->template;
    struct part *part = &template->parts[template->count++];
    *part = (struct part){.kind = kind, .begin = parser->used};
    return part;
}

static void add_byte(struct parser *parser, char byte)
{
    struct format_template *template = parser->template;
    struct part *last = template->count > 0 ? &template->parts[template->count - 1] : NULL;
    if (last == NULL || last->kind != PART_TEXT)
        last = add_part(parser, PART_TEXT);
    template->text[parser->used++] = byte;
    last->size++;
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

static bool is_name_letter(char letter)
{
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') ||
           letter == '_' || letter == '-';
}

/* At "%{". */
static enum mp_error parse_name(struct parser *parser)
{
    const char *name = parser->at + 2;
    size_t size = 0;
    while (is_name_letter(name[size]))
        size++;
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
    if (size == 0 || size > ATTRIBUTE_NAME_MAX) {
        return fault_set(parser->fault, MP_ERR_INVALID,
                         size == 0 ? "character %zu of the template: %%{} names nothing; "
                                     "%%{body}, %%{id}, %%{topic}, …"
                                   : "character %zu of the template: a name has 64 characters at "
                                     "most",
                         place(parser));
    }
    struct part *part = add_part(parser, part_of(name, size));
    if (part->kind == PART_ATTRIBUTE) {
        memcpy(parser->template->text + parser->used, name, size);
        part->size = size;
        parser->used += size;
    }
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

static enum mp_error append(struct buffer *out, const void *bytes, size_t size)
{
    return size == 0 ? MP_OK : buffer_append(out, bytes, size);
}

static enum mp_error append_number(struct buffer *out, uint64_t number)
{
    char text[24];
    const int size = snprintf(text, sizeof(text), "%" PRIu64, number);
    return buffer_append(out, text, (size_t)size);
}

/* Appends the value of attribute NAME; *FOUND says whether there is one. */
static enum mp_error append_attribute(const struct record *record, const char *name, size_t size, struct buffer *out,
                                      bool *found)
{
    struct attribute attribute;
    *found = record->attributes_size > 0 &&
             attribute_find(record->attributes, record->attributes_size, name, size, &attribute);
    return *found ? append(out, attribute.value, attribute.value_size) : MP_OK;
}

static enum mp_error write_id(const struct format_item *item, struct buffer *out)
{
    bool found;
    enum mp_error error = append_attribute(&item->record, "id", 2, out, &found);
    if (found)
        return error;
    char text[FRAME_ID_TEXT];
    frame_origin_text(item->record.producer, item->record.sequence, text);
    return buffer_append_string(out, text);
}

static enum mp_error write_time(const struct format_item *item, struct buffer *out)
{
    bool found;
    enum mp_error error = append_attribute(&item->record, "time", 4, out, &found);
    if (found)
        return error;
    char text[UNITS_TIME_TEXT];
    units_time_text(item->time, text);
    return buffer_append_string(out, text);
}

static enum mp_error write_part(const struct format_template *template, const struct part *part,
                                const struct format_item *item, struct buffer *out)
{
    bool found;
    switch (part->kind) {
    case PART_TEXT:
        return append(out, template->text + part->begin, part->size);
    case PART_ID:
        return write_id(item, out);
    case PART_TOPIC:
        return item->topic == NULL ? MP_OK : buffer_append_string(out, item->topic);
    case PART_OFFSET:
        return append_number(out, item->offset);
    case PART_ATTEMPT:
        return append_number(out, item->attempt);
    case PART_TIME:
        return write_time(item, out);
    case PART_KEY:
        return append_attribute(&item->record, "partitionkey", strlen("partitionkey"), out, &found);
    case PART_BODY:
        return append(out, item->record.body, item->record.size);
    case PART_SIZE:
        return append_number(out, item->record.size);
    case PART_ATTRIBUTE:
        return append_attribute(&item->record, template->text + part->begin, part->size, out, &found);
    }
    return MP_ERR_INTERNAL;
}

enum mp_error format_template_write(const struct format_template *template, const struct format_item *item,
                                    struct buffer *out)
{
    const size_t before = out->size;
    for (size_t index = 0; index < template->count; index++) {
        enum mp_error error = write_part(template, &template->parts[index], item, out);
        if (error != MP_OK) {
            out->size = before;
            return error;
        }
    }
    return MP_OK;
}
