/*
 * From libfyaml's events to the tree. Its own tree is not used: it resolves aliases without a bound, and finds keys that
 * stand twice by comparing each with each.
 */
#include "pipeline/yaml.h"

#include "base/map.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <libfyaml.h>

/* A sequence or mapping that is not finished: its values so far lie on the builder's stack. */
struct open_value {
    struct yaml value;
    size_t first; /* its first one there */
    const char *anchor;
};

struct anchor {
    const char *name;
    struct yaml value;
    bool open; /* it is not finished: an alias of it would hold itself */
};

struct builder {
    struct arena *arena;
    const struct source *source;
    struct diagnostics *diagnostics;
    struct fy_parser *parser;
    struct open_value frames[YAML_DEPTH_MAX];
    size_t depth;
    struct buffer stack; /* struct yaml */
    struct map anchors;  /* of struct anchor */
    struct yaml root;
    unsigned documents;
    size_t values;
    size_t at; /* the end of the last token: where what has no token stands */
    enum mp_error error;
    bool hopeless; /* what follows means nothing */
};

static void give_up(struct builder *builder, const struct pipeline_place *place, const char *what)
{
    if (!builder->hopeless)
        diagnose_error(builder->diagnostics, place, "%s", what);
    builder->hopeless = true;
}

static void no_memory(struct builder *builder)
{
    builder->error = MP_ERR_MEMORY;
    builder->hopeless = true;
}

/* ---- the stack of values --------------------------------------------------------------------------------------- */

static size_t stacked(const struct builder *builder)
{
    return builder->stack.size / sizeof(struct yaml);
}

static struct yaml *at(const struct builder *builder, size_t index)
{
    struct yaml *values = (struct yaml *)(void *)builder->stack.data;
    return index > 0 ? values + index : values; /* NULL + 0 is not allowed */
}

/* A value is finished. */
static void push(struct builder *builder, const struct yaml *value)
{
    if (builder->depth == 0)
        builder->root = *value;
    else if (buffer_append(&builder->stack, value, sizeof *value))
        no_memory(builder);
}

/* ---- mappings -------------------------------------------------------------------------------------------------- */

static bool is_merge(const struct yaml *key)
{
    return !key->quoted && key->size == 2 && memcmp(key->text, "<<", 2) == 0;
}

/* Mappings while they are put together: pairs that count, and where each key is. */
struct merge {
    struct yaml_pair *pairs;
    size_t count;
    struct map keys; /* of struct yaml_pair */
};

static const struct yaml_pair *merge_find(const struct merge *merge, const struct yaml *key)
{
    return map_get(&merge->keys, key->text, key->size);
}

static void merge_add(struct builder *builder, struct merge *merge, const struct yaml_pair *pair)
{
    struct yaml_pair *added = &merge->pairs[merge->count++];
    *added = *pair;
    if (map_put(&merge->keys, pair->key.text, pair->key.size, added))
        no_memory(builder);
}

static void merge_mapping(struct builder *builder, struct merge *merge, const struct yaml *value)
{
    if (value->kind != YAML_MAPPING) {
        diagnose_error(builder->diagnostics, &value->place,
                       "'<<' takes the alias of a mapping, as <<: *common, or a list of them: here is %s",
                       yaml_words(value));
        return;
    }
    for (size_t i = 0; i < value->count; i++)
        if (merge_find(merge, &value->pairs[i].key) == NULL)
            merge_add(builder, merge, &value->pairs[i]);
}

/* How many pairs a mapping has at most once its `<<` are applied. */
static size_t pairs_at_most(const struct yaml *values, size_t count)
{
    size_t most = count;
    for (size_t i = 0; i < count; i++) {
        const struct yaml *value = &values[2 * i + 1];
        if (!is_merge(&values[2 * i]))
            continue;
        if (value->kind == YAML_MAPPING)
            most += value->count;
        for (size_t j = 0; value->kind == YAML_SEQUENCE && j < value->count; j++)
            most += value->items[j].kind == YAML_MAPPING ? value->items[j].count : 0;
    }
    return most;
}

static void own_pair(struct builder *builder, struct merge *merge, const struct yaml *key)
{
    char shown[FAULT_QUOTE];
    const struct yaml_pair *other = merge_find(merge, key);
    if (other != NULL)
        diagnose_error(builder->diagnostics, &key->place,
                       "'%s' stands twice: the first is in line %u: remove one of them",
                       fault_quote(shown, key->text, key->size), other->key.place.line);
    else
        merge_add(builder, merge, &(struct yaml_pair){.key = key[0], .value = key[1]});
}

/* COUNT keys and values become a mapping: its own pairs in their order, then what `<<` brings. */
static void make_mapping(struct builder *builder, struct yaml *mapping, const struct yaml *values, size_t count)
{
    struct merge merge = {
        .pairs = arena_allocate_array(builder->arena, pairs_at_most(values, count), sizeof(struct yaml_pair)),
    };
    if (merge.pairs == NULL) {
        no_memory(builder);
        return;
    }
    for (size_t i = 0; i < count && !builder->hopeless; i++)
        if (!is_merge(&values[2 * i]))
            own_pair(builder, &merge, &values[2 * i]);
    for (size_t i = 0; i < count && !builder->hopeless; i++) {
        const struct yaml *value = &values[2 * i + 1];
        if (!is_merge(&values[2 * i]))
            continue;
        if (value->kind != YAML_SEQUENCE)
            merge_mapping(builder, &merge, value);
        for (size_t j = 0; value->kind == YAML_SEQUENCE && j < value->count; j++)
            merge_mapping(builder, &merge, &value->items[j]);
    }
    mapping->pairs = merge.pairs;
    mapping->count = merge.count;
    map_free(&merge.keys);
}

/* ---- events ---------------------------------------------------------------------------------------------------- */

static struct pipeline_place place_of(struct builder *builder, struct fy_token *token, bool quoted)
{
    const struct fy_mark *start = token != NULL ? fy_token_start_mark(token) : NULL;
    const struct fy_mark *end = token != NULL ? fy_token_end_mark(token) : NULL;
    if (start == NULL || end == NULL || end->input_pos < start->input_pos)
        return source_place(builder->source, builder->at, 0);
    builder->at = end->input_pos;
    /* A quoted scalar's token is what stands between the quotes. */
    size_t from = start->input_pos - (quoted && start->input_pos > 0), to = end->input_pos + quoted;
    return source_place(builder->source, from, to - from);
}

static const char *copy_token(struct builder *builder, struct fy_token *token, size_t *size)
{
    *size = 0;
    const char *text = token != NULL ? fy_token_get_text(token, size) : "";
    const char *copy = text != NULL ? arena_copy(builder->arena, text, *size) : NULL;
    if (copy == NULL)
        no_memory(builder);
    return copy;
}

/* Whether a value is in its place: where a key is expected only a word is. */
static bool count_value(struct builder *builder, const struct pipeline_place *place, bool scalar)
{
    const struct open_value *top = builder->depth > 0 ? &builder->frames[builder->depth - 1] : NULL;
    bool key = top != NULL && top->value.kind == YAML_MAPPING && (stacked(builder) - top->first) % 2 == 0;
    if (key && !scalar) {
        give_up(builder, place, "a key is a word: write NAME: VALUE");
        return false;
    }
    if (++builder->values > YAML_VALUES_MAX) {
        give_up(builder, place, "too many values: 500000 is the limit of a file");
        return false;
    }
    return true;
}

/* `!!str` makes a string of what else would be a number; other tags of YAML's own say what is there anyway. */
static bool is_string_tag(struct builder *builder, struct fy_token *tag)
{
    static const char core[] = "tag:yaml.org,2002:";
    static const char *const known[] = {"str", "int", "float", "bool", "null", "map", "seq", "merge", NULL};
    char shown[FAULT_QUOTE];
    size_t size = 0;
    const char *text = tag != NULL ? fy_token_get_text(tag, &size) : NULL;
    if (text == NULL)
        return false;
    if (size == 1 && *text == '!')
        return true;
    size_t prefix = sizeof core - 1;
    for (size_t i = 0; size > prefix && memcmp(text, core, prefix) == 0 && known[i] != NULL; i++)
        if (strlen(known[i]) == size - prefix && memcmp(text + prefix, known[i], size - prefix) == 0)
            return i == 0;
    struct pipeline_place place = place_of(builder, tag, false);
    diagnose_error(builder->diagnostics, &place, "the tag '%s' has no meaning here: remove it",
                   fault_quote(shown, text, size));
    return false;
}

static struct anchor *set_anchor(struct builder *builder, const char *name, size_t size, const struct yaml *value)
{
    struct anchor *anchor = arena_allocate(builder->arena, sizeof *anchor);
    if (anchor == NULL) {
        no_memory(builder);
        return NULL;
    }
    *anchor = (struct anchor){.name = name};
    if (value != NULL)
        anchor->value = *value;
    anchor->open = value == NULL;
    map_remove(&builder->anchors, name, size);
    if (map_put(&builder->anchors, name, size, anchor))
        no_memory(builder);
    return anchor;
}

static void on_scalar(struct builder *builder, struct fy_event *event)
{
    struct fy_token *token = event->scalar.value;
    enum fy_scalar_style style = token != NULL ? fy_token_scalar_style(token) : FYSS_PLAIN;
    bool string_tag = is_string_tag(builder, event->scalar.tag);
    bool marks = style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
    struct yaml value = {.kind = YAML_SCALAR, .quoted = style != FYSS_PLAIN || string_tag, .expanded = 1};
    value.place = place_of(builder, token, marks);
    if (!count_value(builder, &value.place, true))
        return;
    value.text = copy_token(builder, token, &value.size);
    if (event->scalar.anchor != NULL && !builder->hopeless) {
        size_t size;
        const char *name = copy_token(builder, event->scalar.anchor, &size);
        if (name != NULL)
            set_anchor(builder, name, size, &value);
    }
    if (!builder->hopeless)
        push(builder, &value);
}

static void on_alias(struct builder *builder, struct fy_event *event)
{
    size_t size;
    char shown[FAULT_QUOTE];
    struct pipeline_place place = place_of(builder, event->alias.anchor, false);
    const char *name = copy_token(builder, event->alias.anchor, &size);
    const struct anchor *anchor = name != NULL ? map_get(&builder->anchors, name, size) : NULL;
    if (builder->hopeless)
        return;
    if (place.column > 1) { /* the `*` before the name */
        place.column--;
        place.length++;
    }
    if (anchor == NULL || anchor->open) {
        diagnose_error(builder->diagnostics, &place,
                       anchor == NULL ? "nothing is called '&%s': anchor a value before its alias"
                                      : "'*%s' stands inside of what it names: that would never end",
                       fault_quote(shown, name, size));
        builder->hopeless = true;
        return;
    }
    struct yaml value = anchor->value;
    value.place = place;
    if (count_value(builder, &place, value.kind == YAML_SCALAR))
        push(builder, &value);
}

static void on_start(struct builder *builder, enum yaml_kind kind, struct fy_event *event)
{
    bool mapping = kind == YAML_MAPPING;
    struct fy_token *token = mapping ? event->mapping_start.mapping_start : event->sequence_start.sequence_start;
    struct fy_token *anchor = mapping ? event->mapping_start.anchor : event->sequence_start.anchor;
    struct pipeline_place place = place_of(builder, token, false);
    (void)is_string_tag(builder, mapping ? event->mapping_start.tag : event->sequence_start.tag);
    if (!count_value(builder, &place, false))
        return;
    if (builder->depth == YAML_DEPTH_MAX) {
        give_up(builder, &place, "too deep: 50 levels is the limit");
        return;
    }
    struct open_value *frame = &builder->frames[builder->depth++];
    *frame = (struct open_value){.value = {.kind = kind, .place = place}, .first = stacked(builder)};
    if (anchor != NULL) {
        size_t size;
        frame->anchor = copy_token(builder, anchor, &size);
        if (frame->anchor != NULL)
            set_anchor(builder, frame->anchor, size, NULL);
    }
}

static void on_end(struct builder *builder)
{
    struct open_value *frame = &builder->frames[builder->depth - 1];
    size_t count = stacked(builder) - frame->first;
    struct yaml *values = at(builder, frame->first), *made = &frame->value;
    made->expanded = 1;
    for (size_t i = 0; i < count; i++)
        made->expanded += values[i].expanded;
    if (made->expanded > YAML_EXPANDED_MAX) {
        give_up(builder, &made->place, "the aliases in it make more than 1000000 values of it");
        return;
    }
    if (made->kind == YAML_MAPPING) {
        make_mapping(builder, made, values, count / 2);
    } else {
        made->items = arena_allocate_array(builder->arena, count, sizeof *made->items);
        made->count = count;
        if (made->items == NULL)
            no_memory(builder);
        else if (count > 0)
            memcpy(made->items, values, count * sizeof *values);
    }
    builder->stack.size = frame->first * sizeof(struct yaml);
    builder->depth--;
    struct anchor *anchor =
        frame->anchor != NULL ? map_get(&builder->anchors, frame->anchor, strlen(frame->anchor)) : NULL;
    if (anchor != NULL && anchor->open) {
        anchor->value = *made;
        anchor->open = false;
    }
    if (!builder->hopeless)
        push(builder, made);
}

static void on_document(struct builder *builder, struct fy_event *event)
{
    if (++builder->documents == 1)
        return;
    struct pipeline_place place = place_of(builder, event->document_start.document_start, false);
    give_up(builder, &place, "a second document begins here: a file holds one pipeline");
}

static void on_event(struct builder *builder, struct fy_event *event)
{
    switch (event->type) {
    case FYET_DOCUMENT_START:
        on_document(builder, event);
        break;
    case FYET_MAPPING_START:
        on_start(builder, YAML_MAPPING, event);
        break;
    case FYET_SEQUENCE_START:
        on_start(builder, YAML_SEQUENCE, event);
        break;
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        on_end(builder);
        break;
    case FYET_SCALAR:
        on_scalar(builder, event);
        break;
    case FYET_ALIAS:
        on_alias(builder, event);
        break;
    default:
        break;
    }
}

/* ---- what libfyaml says ---------------------------------------------------------------------------------------- */

/* Its more frequent complaints in words for those who do not know YAML's grammar, and what to do. */
static const char *in_words(const char *what)
{
    static const struct {
        const char *part, *words;
    } known[] = {
        {"flow sequence without a closing", "the file ends inside of a list: write the ']' of one that begins above"},
        {"flow mapping without a closing", "the file ends inside of a mapping: write the '}' of one that begins above"},
        {"wrongly indented flow", "a '{' or '[' above is not closed, or this line is not indented: close it"},
        {"mismatched flow mapping end", "this '}' comes before the ']' of a list inside: close that first"},
        {"mismatched flow sequence end", "this ']' comes before the '}' of a mapping inside: close that first"},
        {"invalid indentation", "this line begins in no column that one above began in: indent neighbours alike"},
        {"nested block mapping on the same line", "': ' inside of a value: quote the value"},
        {"invalid multiline plain key", "this line has no ': ': a line of a mapping is NAME: VALUE"},
        {"could not find", "a line of a mapping is NAME: VALUE"},
        {"missing comma in flow",
         "a ',' is missing, or a value that holds '{', '}', '[', ']' or a quote is not quoted, as \"${NAME}\""},
        {"wrongly indented double-quoted",
         "the quote that begins here is not closed, or the next line is not indented"},
        {"wrongly indented single-quoted",
         "the quote that begins here is not closed, or the next line is not indented"},
        {"quoted scalar without closing quote", "the quote that begins here is not closed"},
        {"extra closing", "nothing is open that this would close: remove it, or quote the value"},
        {"tab", "a tab cannot indent: use spaces"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strstr(what, known[i].part) != NULL)
            return known[i].words;
    return what;
}

/* What to do where its own words say what is wrong. */
static const char *advice(const char *what)
{
    if (strstr(what, "plain scalar cannot start") != NULL)
        return ": quote it";
    if (strstr(what, "invalid escape") != NULL)
        return ": write \\\\ for a backslash, or use single quotes";
    return strstr(what, "depth") != NULL ? ": 50 levels is the limit" : "";
}

static void diagnose_syntax(struct builder *builder, struct fy_diag *diag)
{
    void *walk = NULL;
    struct fy_diag_error *found = fy_diag_errors_iterate(diag, &walk);
    struct pipeline_place place = source_place(builder->source, builder->at, 1);
    builder->hopeless = true;
    if (found == NULL) {
        diagnose_error(builder->diagnostics, &place, "this is not YAML");
        return;
    }
    const struct fy_mark *mark = found->fyt != NULL ? fy_token_start_mark(found->fyt) : NULL;
    if (mark != NULL)
        place = source_place(builder->source, mark->input_pos, 1);
    diagnose_error(builder->diagnostics, &place, "%s%s", in_words(found->msg), advice(found->msg));
}

/* libfyaml takes a byte that is no UTF-8 for the end of the input. */
static bool is_text(struct builder *builder)
{
    const struct source *source = builder->source;
    const uint8_t *text = (const uint8_t *)source->text;
    for (size_t i = 0; i < source->size;) {
        uint32_t code;
        size_t size = text[i] >= 0x20 && text[i] < 0x7f ? 1 : utf8_next(text + i, source->size - i, &code);
        bool fine = size > 1 ? !utf8_is_control(code) || code == 0x85
                             : size == 1 &&
                                   (text[i] >= 0x20 || text[i] == '\n' || text[i] == '\t' ||
                                    (text[i] == '\r' && i + 1 < source->size && text[i + 1] == '\n')) &&
                                   text[i] != 0x7f;
        if (!fine) {
            struct pipeline_place place = source_place(source, i, 1);
            char shown[FAULT_QUOTE];
            fault_quote(shown, source->text + i, size > 0 ? size : 1);
            if (size == 0)
                diagnose_error(builder->diagnostics, &place, "the byte %s is not UTF-8: save the file as UTF-8", shown);
            else
                diagnose_error(builder->diagnostics, &place, "a control character, %s: in double quotes write it so",
                               shown);
            builder->hopeless = true;
            return false;
        }
        i += size;
    }
    return true;
}

/*
 * What a '[' or '{' begins may turn out to be a key up to the end of its line, and libfyaml goes through all that is in
 * it for each value there. What separates values is counted in each line, and the squares of the numbers bounded: a
 * second's work.
 */
static bool is_work_bounded(struct builder *builder)
{
    enum { WORK_MAX = 100 * 1000 * 1000 };
    const struct source *source = builder->source;
    uint64_t work = 0;
    for (size_t line = 0; line < source->lines_count; line++) {
        uint64_t count = 0;
        for (size_t i = source->lines[line]; i < source->lines[line + 1]; i++)
            switch (source->text[i]) {
            case ',':
            case ':':
            case '?':
            case '[':
            case '{':
                count++;
            }
        work += count * count;
        if (work > WORK_MAX) {
            struct pipeline_place place = source_place(source, source->lines[line], 1);
            give_up(builder, &place, "too much in one line: break lists and mappings into lines");
            return false;
        }
    }
    return true;
}

static void run(struct builder *builder, struct fy_diag *diag)
{
    while (!builder->hopeless) {
        struct fy_event *event = fy_parser_parse(builder->parser);
        if (event == NULL)
            break;
        on_event(builder, event);
        fy_parser_event_free(builder->parser, event);
    }
    if (!builder->hopeless && fy_parser_get_stream_error(builder->parser))
        diagnose_syntax(builder, diag);
}

/* libfyaml prints what it complains of unless somebody else does. */
static void print_nothing(struct fy_diag *diag, void *user, const char *text, size_t size)
{
    (void)diag;
    (void)user;
    (void)text;
    (void)size;
}

static void parse(struct builder *builder)
{
    struct fy_diag_cfg settings;
    fy_diag_cfg_default(&settings);
    settings.fp = NULL;
    settings.output_fn = print_nothing;
    settings.colorize = false;
    struct fy_diag *diag = fy_diag_create(&settings);
    if (diag == NULL) {
        no_memory(builder);
        return;
    }
    fy_diag_set_collect_errors(diag, true);
    builder->parser = fy_parser_create(&(struct fy_parse_cfg){.flags = FYPCF_JSON_NONE, .diag = diag});
    if (builder->parser == NULL || fy_parser_set_string(builder->parser, builder->source->text, builder->source->size))
        no_memory(builder);
    else
        run(builder, diag);
    fy_diag_reset_error(diag); /* what it gathered holds parts of the parser */
    if (builder->parser != NULL)
        fy_parser_destroy(builder->parser);
    fy_diag_destroy(diag);
}

enum mp_error yaml_read(struct arena *arena, const struct source *source, struct diagnostics *diagnostics,
                        struct yaml **root)
{
    struct builder *builder = memory_allocate(sizeof *builder);
    *root = NULL;
    if (builder == NULL)
        return MP_ERR_MEMORY;
    *builder = (struct builder){.arena = arena, .source = source, .diagnostics = diagnostics};
    if (source->size > 0 && is_text(builder) && is_work_bounded(builder))
        parse(builder);
    enum mp_error error = builder->error;
    if (error == MP_OK && !builder->hopeless && builder->root.expanded > 0) {
        *root = arena_allocate(arena, sizeof **root);
        if (*root != NULL)
            **root = builder->root;
        else
            error = MP_ERR_MEMORY;
    }
    buffer_free(&builder->stack);
    map_free(&builder->anchors);
    memory_release(builder);
    return error;
}
