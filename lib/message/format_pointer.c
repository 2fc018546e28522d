#include "message/format_private.h"

#include "message/json_scan.h"
#include "message/text.h"

/* A search in a JSON text. */
struct search {
    const uint8_t *text;
    size_t size;
    const char *pointer;
    struct buffer token; /* the reference token that is looked for, decoded */
    struct buffer name;  /* a member's name, decoded */
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
    return fault_set(search->fault, MP_ERR_NOT_FOUND, "JSON pointer '%s': %s",
                     fault_quote(shown, search->pointer, strlen(search->pointer)), why);
}

static enum mp_error check_pointer(const char *pointer, struct fault *fault)
{
    char shown[FAULT_QUOTE];
    fault_quote(shown, pointer, strlen(pointer));
    if (pointer[0] != '\0' && pointer[0] != '/')
        return fault_set(fault, MP_ERR_INVALID, "'%s' is no JSON pointer, which begins with '/': write '/%s'", shown,
                         shown);
    for (const char *at = pointer; *at != '\0'; at++)
        if (*at == '~' && at[1] != '0' && at[1] != '1')
            return fault_set(fault, MP_ERR_INVALID,
                             "'%s' is no JSON pointer: behind '~' stands 0 (for '~') or 1 (for '/')", shown);
    return MP_OK;
}

/* Decodes the token behind the slash at *AT into search->token and moves *AT to the next slash or the end. */
static enum mp_error next_token(struct search *search, const char **at)
{
    search->token.size = 0;
    const char *from = *at + 1;
    const size_t size = strcspn(from, "/");
    if (buffer_reserve(&search->token, size + 1) != MP_OK)
        return fault_memory(search->fault);
    uint8_t *to = search->token.data;
    for (size_t index = 0; index < size; index++) {
        if (from[index] == '~') {
            index++;
            *to++ = from[index] == '0' ? '~' : '/';
        } else {
            *to++ = (uint8_t)from[index];
        }
    }
    search->token.size = (size_t)(to - search->token.data);
    *at = from + size;
    return MP_OK;
}

/* Whether the name INSIDE is the token; one that cannot be decoded is not. */
static enum mp_error is_token(struct search *search, const struct json_extent *inside, bool *same)
{
    const uint8_t *name = inside->text;
    size_t size = inside->size;
    *same = false;
    if (inside->escaped) {
        const uint8_t *half;
        search->name.size = 0;
        enum mp_error error = json_scan_decode(inside, &search->name, &half);
        if (error == MP_ERR_FORMAT)
            return MP_OK;
        if (error != MP_OK)
            return fault_memory(search->fault);
        name = search->name.data;
        size = search->name.size;
    }
    *same = size == search->token.size && (size == 0 || memcmp(name, search->token.data, size) == 0);
    return MP_OK;
}

/*
 * VALUE is an object of a text that was found to be JSON: puts the value of the member that the token names into its
 * place.
 */
static enum mp_error find_member(struct search *search, struct json_extent *value)
{
    struct json_scanner scanner = json_scanner(value->text, value->size);
    bool found = false;
    scanner.at++;
    json_scan_space(&scanner);
    while (*scanner.at != '}') {
        struct json_extent name;
        struct json_extent member;
        bool same;
        json_scan_string(&scanner, &name);
        json_scan_space(&scanner);
        json_scan_expect(&scanner, ':');
        json_scan_space(&scanner);
        json_scan_value(&scanner, &member);
        json_scan_space(&scanner);
        enum mp_error error = is_token(search, &name, &same);
        if (error != MP_OK)
            return error;
        if (same) {
            *value = member;
            found = true;
        }
        if (*scanner.at == ',') {
            scanner.at++;
            json_scan_space(&scanner);
        }
    }
    return found ? MP_OK : not_found(search, "no such member");
}

/* The token as an array's index: digits without leading zeros. */
static bool token_index(const struct search *search, size_t *index)
{
    const uint8_t *digits = search->token.data;
    const size_t size = search->token.size;
    if (size == 0 || size > 10 || (size > 1 && digits[0] == '0'))
        return false;
    uint64_t number = 0;
    for (size_t at = 0; at < size; at++) {
        if (digits[at] < '0' || digits[at] > '9')
            return false;
        number = number * 10 + (uint64_t)(digits[at] - '0');
    }
    *index = (size_t)number;
    return number <= SIZE_MAX;
}

/* The same for an array. */
static enum mp_error find_element(struct search *search, struct json_extent *value)
{
    size_t index;
    if (!token_index(search, &index))
        return not_found(search, "an array is there, whose elements have numbers from 0");
    struct json_scanner scanner = json_scanner(value->text, value->size);
    scanner.at++;
    json_scan_space(&scanner);
    while (*scanner.at != ']') {
        struct json_extent element;
        json_scan_value(&scanner, &element);
        if (index-- == 0) {
            *value = element;
            return MP_OK;
        }
        json_scan_space(&scanner);
        if (*scanner.at == ',') {
            scanner.at++;
            json_scan_space(&scanner);
        }
    }
    return not_found(search, "the array has fewer elements");
}

static enum mp_error find(struct search *search, struct json_extent *value)
{
    const char *at = search->pointer;
    while (*at != '\0') {
        enum mp_error error = next_token(search, &at);
        if (error == MP_OK) {
            error = value->text[0] == '{'   ? find_member(search, value)
                    : value->text[0] == '[' ? find_element(search, value)
                                            : not_found(search, "nothing is below a plain value");
        }
        if (error != MP_OK)
            return error;
    }
    return MP_OK;
}

/* Appends what VALUE stands for. */
static enum mp_error put_value(const struct search *search, const struct json_extent *value, struct buffer *out)
{
    struct json_scanner scanner = json_scanner(value->text, value->size);
    char shown[FAULT_QUOTE];
    switch (json_scan_kind(&scanner)) {
    case SCAN_OBJECT:
    case SCAN_ARRAY:
        return fault_set(search->fault, MP_ERR_INVALID, "JSON pointer '%s': an %s is there, not a plain value",
                         fault_quote(shown, search->pointer, strlen(search->pointer)),
                         value->text[0] == '{' ? "object" : "array");
    case SCAN_NULL:
        return not_found(search, "null is there");
    case SCAN_STRING:
        break;
    default:
        return buffer_append(out, value->text, value->size) == MP_OK ? MP_OK : fault_memory(search->fault);
    }
    struct json_extent inside;
    const uint8_t *half = NULL;
    json_scan_string(&scanner, &inside);
    enum mp_error error = json_scan_decode(&inside, out, &half);
    if (error == MP_ERR_FORMAT) {
        scanner.at = half;
        scanner.problem = "half of a surrogate pair, which stands for no character";
        return wrong_json(search, &scanner);
    }
    return error == MP_OK ? MP_OK : fault_memory(search->fault);
}

enum mp_error format_json_pointer(const uint8_t *text, size_t size, const char *pointer, struct buffer *out,
                                  struct fault *fault)
{
    struct search search = {.text = text, .size = size, .pointer = pointer, .fault = fault};
    enum mp_error error = check_pointer(pointer, fault);
    if (error != MP_OK)
        return error;
    /* The whole text is checked first, so that the search need not. */
    struct json_scanner scanner = json_scanner(size == 0 ? (const uint8_t *)"" : text, size);
    struct json_extent value;
    json_scan_space(&scanner);
    bool good = json_scan_value(&scanner, &value);
    json_scan_space(&scanner);
    if (good && scanner.at != scanner.end) {
        scanner.problem = "there is more behind the value";
        good = false;
    }
    if (!good) {
        search.text = size == 0 ? scanner.at : text;
        return wrong_json(&search, &scanner);
    }
    error = find(&search, &value);
    if (error == MP_OK)
        error = put_value(&search, &value, out);
    buffer_free(&search.token);
    buffer_free(&search.name);
    return error;
}
