#include "message/format_private.h"

#include "base/memory.h"
#include "message/text.h"

/* A reference token, decoded, in `tokens`. */
struct token {
    size_t begin;
    size_t size;
};

struct format_pointer {
    char *words; /* as it was written, for faults */
    struct token *all;
    size_t count;
    char *tokens;       /* one behind the other */
    struct buffer name; /* a member's name, decoded */
};

/* A search in a JSON text. */
struct search {
    struct format_pointer *pointer;
    const uint8_t *text;
    struct fault *fault;
};

static enum mp_error wrong_json(const struct search *search, const struct json_scanner *scanner)
{
    const uint8_t *line = search->text;
    size_t number = 1;
    for (const uint8_t *at = search->text; at < scanner->at; at++) {
        if (*at == '\n') {
            line = at + 1;
            number++;
        }
    }
    return fault_set(search->fault, MP_ERR_FORMAT, "no JSON: line %zu, column %zu: %s", number,
                     text_characters(line, (size_t)(scanner->at - line)) + 1, scanner->problem);
}

static enum mp_error not_found(const struct search *search, const char *why)
{
    char shown[FAULT_QUOTE];
    const char *words = search->pointer->words;
    if (search->fault == NULL) /* nobody asks; quoting is not free */
        return MP_ERR_NOT_FOUND;
    return fault_set(search->fault, MP_ERR_NOT_FOUND, "JSON pointer '%s': %s", fault_quote(shown, words, strlen(words)),
                     why);
}

/* ---- the pointer ---------------------------------------------------------------------------- */

void format_pointer_free(struct format_pointer *pointer)
{
    if (pointer == NULL)
        return;
    buffer_free(&pointer->name);
    memory_release(pointer->words);
    memory_release(pointer->all);
    memory_release(pointer->tokens);
    memory_release(pointer);
}

static enum mp_error check_pointer(const char *text, size_t size, struct fault *fault)
{
    char shown[FAULT_QUOTE];
    fault_quote(shown, text, size);
    if (size > 0 && text[0] != '/')
        return fault_set(fault, MP_ERR_INVALID, "'%s' is no JSON pointer, which begins with '/': write '/%s'", shown,
                         shown);
    for (size_t at = 0; at < size; at++)
        if (text[at] == '~' && (at + 1 == size || (text[at + 1] != '0' && text[at + 1] != '1')))
            return fault_set(fault, MP_ERR_INVALID,
                             "'%s' is no JSON pointer: behind '~' stands 0 (for '~') or 1 (for '/')", shown);
    return MP_OK;
}

/* There is room: a token takes a slash of the text, and no more bytes than stand behind it. */
static void take_tokens(struct format_pointer *pointer, const char *text, size_t size)
{
    struct token *token = NULL;
    size_t used = 0;
    for (size_t at = 0; at < size; at++) {
        if (text[at] == '/') {
            token = &pointer->all[pointer->count++];
            *token = (struct token){.begin = used};
            continue;
        }
        char letter = text[at];
        if (letter == '~')
            letter = text[++at] == '0' ? '~' : '/';
        pointer->tokens[used++] = letter;
        token->size++;
    }
}

enum mp_error format_pointer_parse(const char *text, size_t size, struct format_pointer **pointer, struct fault *fault)
{
    *pointer = NULL;
    enum mp_error error = check_pointer(text, size, fault);
    if (error != MP_OK)
        return error;
    struct format_pointer *made = memory_allocate(sizeof(*made));
    if (made == NULL)
        return fault_memory(fault);
    made->words = memory_copy_text(text, size);
    made->all = memory_allocate_array(size + 1, sizeof(*made->all));
    made->tokens = memory_allocate(size + 1);
    if (made->words == NULL || made->all == NULL || made->tokens == NULL) {
        format_pointer_free(made);
        return fault_memory(fault);
    }
    take_tokens(made, text, size);
    *pointer = made;
    return MP_OK;
}

/* ---- the search ----------------------------------------------------------------------------- */

/* Whether the name INSIDE is TOKEN; one that cannot be decoded is not. */
static enum mp_error is_token(struct format_pointer *pointer, const struct token *token,
                              const struct json_extent *inside, bool *same)
{
    const uint8_t *name = inside->text;
    size_t size = inside->size;
    *same = false;
    if (inside->escaped) {
        const uint8_t *half;
        pointer->name.size = 0;
        enum mp_error error = json_scan_decode(inside, &pointer->name, &half);
        if (error != MP_OK)
            return error == MP_ERR_FORMAT ? MP_OK : error;
        name = pointer->name.data;
        size = pointer->name.size;
    }
    *same = size == token->size && (size == 0 || memcmp(name, pointer->tokens + token->begin, size) == 0);
    return MP_OK;
}

/* Passes over CLOSING, or a comma: then *MORE. */
static bool pass_comma(struct json_scanner *scanner, char closing, bool *more)
{
    json_scan_space(scanner);
    *more = scanner->at < scanner->end && *scanner->at == ',';
    if (!*more)
        return json_scan_expect(scanner, closing);
    scanner->at++;
    json_scan_space(scanner);
    return true;
}

/* Whether an object or array that begins at the scanner, which is moved behind its bracket, holds anything. */
static bool open_value(struct json_scanner *scanner, char closing)
{
    scanner->at++;
    json_scan_space(scanner);
    if (scanner->at == scanner->end || *scanner->at != closing)
        return true;
    scanner->at++;
    return false;
}

/*
 * Passes over the object at SCANNER; FOUND gets the value of its last member that TOKEN names, if there is one.
 * MP_ERR_FORMAT: SCANNER has the problem.
 */
static enum mp_error pass_object(struct format_pointer *pointer, const struct token *token,
                                 struct json_scanner *scanner, struct json_extent *found)
{
    bool more = open_value(scanner, '}');
    while (more) {
        struct json_extent name, member;
        bool same;
        if (!json_scan_string(scanner, &name))
            return MP_ERR_FORMAT;
        json_scan_space(scanner);
        if (!json_scan_expect(scanner, ':'))
            return MP_ERR_FORMAT;
        json_scan_space(scanner);
        if (!json_scan_value(scanner, &member))
            return MP_ERR_FORMAT;
        enum mp_error error = is_token(pointer, token, &name, &same);
        if (error != MP_OK)
            return error;
        if (same)
            *found = member;
        if (!pass_comma(scanner, '}', &more))
            return MP_ERR_FORMAT;
    }
    return MP_OK;
}

/* TOKEN as an array's index: digits without leading zeros. *INDEX stays as it is when it is none. */
static bool token_index(const struct format_pointer *pointer, const struct token *token, uint64_t *index)
{
    const char *digits = pointer->tokens + token->begin;
    const size_t size = token->size;
    if (size == 0 || size > 10 || (size > 1 && digits[0] == '0'))
        return false;
    uint64_t number = 0;
    for (size_t at = 0; at < size; at++) {
        if (digits[at] < '0' || digits[at] > '9')
            return false;
        number = number * 10 + (uint64_t)(digits[at] - '0');
    }
    *index = number;
    return true;
}

/* The same for the array at SCANNER and its element INDEX. */
static enum mp_error pass_array(struct json_scanner *scanner, uint64_t index, struct json_extent *found)
{
    bool more = open_value(scanner, ']');
    for (uint64_t number = 0; more; number++) {
        struct json_extent element;
        if (!json_scan_value(scanner, &element))
            return MP_ERR_FORMAT;
        if (number == index)
            *found = element;
        if (!pass_comma(scanner, ']', &more))
            return MP_ERR_FORMAT;
    }
    return MP_OK;
}

/*
 * Passes over the value at SCANNER and finds what TOKEN names in it. MP_ERR_FORMAT: SCANNER has the problem.
 * MP_ERR_NOT_FOUND: *WHY.
 */
static enum mp_error pass_level(struct format_pointer *pointer, const struct token *token, struct json_scanner *scanner,
                                struct json_extent *found, const char **why)
{
    *found = (struct json_extent){.text = NULL};
    uint64_t index = UINT64_MAX;
    enum mp_error error;
    switch (json_scan_kind(scanner)) {
    case SCAN_OBJECT:
        *why = "no such member";
        error = pass_object(pointer, token, scanner, found);
        break;
    case SCAN_ARRAY:
        *why = token_index(pointer, token, &index) ? "the array has fewer elements"
                                                   : "an array is there, whose elements have numbers from 0";
        error = pass_array(scanner, index, found);
        break;
    default:
        *why = "nothing is below a plain value";
        error = json_scan_value(scanner, found) ? MP_OK : MP_ERR_FORMAT;
        found->text = NULL;
        break;
    }
    return error != MP_OK ? error : found->text != NULL ? MP_OK : MP_ERR_NOT_FOUND;
}

/*
 * The whole text is passed on its first level, and so checked; below that only what was found is looked at again, where
 * nothing can be wrong any more.
 */
static enum mp_error find(const struct search *search, size_t size, struct json_extent *value)
{
    struct format_pointer *pointer = search->pointer;
    struct json_scanner scanner = json_scanner(search->text, size);
    const char *why = NULL;
    enum mp_error error;
    json_scan_space(&scanner);
    if (pointer->count > 0)
        error = pass_level(pointer, &pointer->all[0], &scanner, value, &why);
    else
        error = json_scan_value(&scanner, value) ? MP_OK : MP_ERR_FORMAT;
    if (error == MP_OK || error == MP_ERR_NOT_FOUND) {
        json_scan_space(&scanner);
        if (scanner.at != scanner.end) {
            scanner.problem = "there is more behind the value";
            error = MP_ERR_FORMAT;
        }
    }
    if (error == MP_ERR_FORMAT)
        return wrong_json(search, &scanner);
    for (size_t level = 1; error == MP_OK && level < pointer->count; level++) {
        struct json_scanner inside = json_scanner(value->text, value->size);
        error = pass_level(pointer, &pointer->all[level], &inside, value, &why);
    }
    return error == MP_ERR_NOT_FOUND ? not_found(search, why)
           : error == MP_ERR_MEMORY  ? fault_memory(search->fault)
                                     : error;
}

/* What VALUE stands for: in the text itself, or decoded behind what is in SCRATCH (then OUT is `escaped`). */
static enum mp_error characters(const struct search *search, const struct json_extent *value, struct buffer *scratch,
                                struct json_extent *out)
{
    struct json_scanner scanner = json_scanner(value->text, value->size);
    *out = *value;
    if (json_scan_kind(&scanner) == SCAN_NULL)
        return not_found(search, "null is there");
    if (json_scan_kind(&scanner) != SCAN_STRING)
        return MP_OK;
    json_scan_string(&scanner, out);
    if (!out->escaped)
        return MP_OK;
    const uint8_t *half = NULL;
    const size_t before = scratch->size;
    enum mp_error error = json_scan_decode(out, scratch, &half);
    if (error == MP_ERR_FORMAT) {
        scanner.at = half;
        scanner.problem = "half of a surrogate pair, which stands for no character";
        return wrong_json(search, &scanner);
    }
    if (error != MP_OK)
        return fault_memory(search->fault);
    *out = (struct json_extent){.text = scratch->data + before, .size = scratch->size - before, .escaped = true};
    return MP_OK;
}

static struct search search_in(struct format_pointer *pointer, const uint8_t *text, size_t size, struct fault *fault)
{
    return (struct search){.pointer = pointer, .text = size == 0 ? (const uint8_t *)"" : text, .fault = fault};
}

enum mp_error format_pointer_find(struct format_pointer *pointer, const uint8_t *text, size_t size,
                                  struct buffer *scratch, struct json_extent *found)
{
    const struct search search = search_in(pointer, text, size, NULL);
    struct json_extent value;
    enum mp_error error = find(&search, size, &value);
    return error == MP_OK ? characters(&search, &value, scratch, found) : error;
}

enum mp_error format_pointer_read(struct format_pointer *pointer, const uint8_t *text, size_t size, struct buffer *out,
                                  struct fault *fault)
{
    const struct search search = search_in(pointer, text, size, fault);
    struct json_extent value, found;
    char shown[FAULT_QUOTE];
    enum mp_error error = find(&search, size, &value);
    if (error == MP_OK && (value.text[0] == '{' || value.text[0] == '['))
        return fault_set(fault, MP_ERR_INVALID, "JSON pointer '%s': an %s is there, not a plain value",
                         fault_quote(shown, pointer->words, strlen(pointer->words)),
                         value.text[0] == '{' ? "object" : "array");
    if (error == MP_OK)
        error = characters(&search, &value, out, &found);
    if (error == MP_OK && !found.escaped && buffer_append(out, found.text, found.size) != MP_OK)
        error = fault_memory(fault);
    return error;
}
