#include "message/attributes.h"

#include "base/units.h"
#include "base/utf8.h"

enum { ENTRY_HEADER = 3, KNOWN_MAX = ATTRIBUTE_EXPIRYTIME };

struct known {
    const char *name;
    size_t size;
};

#define KNOWN(name)                                                                                                    \
    {                                                                                                                  \
        name, sizeof name - 1                                                                                          \
    }

static const struct known known[KNOWN_MAX + 1] = {
    [ATTRIBUTE_ID] = KNOWN("id"),
    [ATTRIBUTE_SOURCE] = KNOWN("source"),
    [ATTRIBUTE_TYPE] = KNOWN("type"),
    [ATTRIBUTE_SUBJECT] = KNOWN("subject"),
    [ATTRIBUTE_TIME] = KNOWN("time"),
    [ATTRIBUTE_DATACONTENTTYPE] = KNOWN("datacontenttype"),
    [ATTRIBUTE_DATASCHEMA] = KNOWN("dataschema"),
    [ATTRIBUTE_TRACEPARENT] = KNOWN("traceparent"),
    [ATTRIBUTE_TRACESTATE] = KNOWN("tracestate"),
    [ATTRIBUTE_PARTITIONKEY] = KNOWN("partitionkey"),
    [ATTRIBUTE_CORRELATIONID] = KNOWN("correlationid"),
    [ATTRIBUTE_CAUSATIONID] = KNOWN("causationid"),
    [ATTRIBUTE_EXPIRYTIME] = KNOWN("expirytime"),
};

/* CloudEvents' members beside the attributes: as names they would collide in JSON. */
static const struct known reserved[] = {KNOWN("specversion"), KNOWN("data"), KNOWN("data_base64")};

static bool same(const struct known *word, const char *name, size_t size)
{
    return word->size == size && word->name[0] == name[0] && memcmp(word->name, name, size) == 0;
}

static bool is_custom(unsigned code)
{
    return code >= ATTRIBUTE_STRING && code <= ATTRIBUTE_BOOLEAN;
}

const char *attribute_name(enum attribute_code code)
{
    return code >= ATTRIBUTE_ID && (unsigned)code <= KNOWN_MAX ? known[code].name : NULL;
}

enum attribute_code attribute_code_of(const char *name, size_t size)
{
    for (unsigned code = ATTRIBUTE_ID; code <= KNOWN_MAX; code++)
        if (same(&known[code], name, size))
            return (enum attribute_code)code;
    return ATTRIBUTE_STRING;
}

/* What a dead letter says of its death, see letter.h: the names behind "dead", which differ in their first letters. */
enum attribute_of_letter attribute_of_letter(const struct attribute *attribute)
{
    static const struct known names[] = {
        [LETTER_TOPIC] = KNOWN("topic"),       [LETTER_GROUP] = KNOWN("group"), [LETTER_OFFSET] = KNOWN("offset"),
        [LETTER_REASON] = KNOWN("reason"),     [LETTER_FIRST] = KNOWN("first"), [LETTER_LAST] = KNOWN("last"),
        [LETTER_ATTEMPTS] = KNOWN("attempts"), [LETTER_CODE] = KNOWN("code"),   [LETTER_ERROR] = KNOWN("error"),
    };
    if (attribute->name_size < 8 || memcmp(attribute->name, "dead", 4) != 0 || !is_custom(attribute->code))
        return LETTER_NONE;
    for (unsigned i = LETTER_TOPIC; i < sizeof names / sizeof *names; i++)
        if (names[i].name[0] == attribute->name[4])
            return same(&names[i], attribute->name + 4, attribute->name_size - 4) ? (enum attribute_of_letter)i
                                                                                  : LETTER_NONE;
    return LETTER_NONE;
}

bool attribute_next(const uint8_t *block, size_t size, size_t *at, struct attribute *attribute)
{
    if (*at >= size || size - *at < ENTRY_HEADER)
        return false;
    const uint8_t *entry = block + *at;
    unsigned code = entry[0];
    size_t length = load_u16(entry + 1);
    if (length > size - *at - ENTRY_HEADER)
        return false;
    const char *text = (const char *)entry + ENTRY_HEADER;
    if (is_custom(code)) {
        if (length < 1 || entry[ENTRY_HEADER] > length - 1)
            return false;
        size_t name_size = entry[ENTRY_HEADER];
        attribute->name = text + 1;
        attribute->name_size = name_size;
        attribute->value = text + 1 + name_size;
        attribute->value_size = length - 1 - name_size;
    } else if (code >= ATTRIBUTE_ORIGIN && code <= KNOWN_MAX) {
        attribute->name = code == ATTRIBUTE_ORIGIN ? "" : known[code].name;
        attribute->name_size = known[code].size;
        attribute->value = text;
        attribute->value_size = length;
    } else {
        return false;
    }
    attribute->code = (enum attribute_code)code;
    *at += ENTRY_HEADER + length;
    return true;
}

/* Whether it counts against ATTRIBUTE_COUNT_MAX. */
static bool counts(const struct attribute *attribute)
{
    return attribute->code != ATTRIBUTE_ORIGIN && attribute_of_letter(attribute) == LETTER_NONE;
}

/* ---- what is allowed ------------------------------------------------------------------------ */

/* Letters, digits, '_' and '-': a bit each, for the characters 0 to 63 and 64 to 127. */
static bool is_name_character(char character)
{
    static const uint64_t allowed[2] = {0x03ff200000000000, 0x07fffffe87fffffe};
    uint8_t code = (uint8_t)character;

    return code < 128 && (allowed[code >> 6] >> (code & 63) & 1) != 0;
}

static enum mp_error check_name(const char *name, size_t size, struct fault *fault)
{
    char shown[FAULT_QUOTE];

    if (size == 0)
        return fault_set(fault, MP_ERR_INVALID, "an attribute without a name");
    if (size > ATTRIBUTE_NAME_MAX)
        return fault_set(fault, MP_ERR_TOO_LARGE, "attribute '%s': a name of %zu characters: the limit is %d",
                         fault_quote(shown, name, size), size, (int)ATTRIBUTE_NAME_MAX);
    for (size_t i = 0; i < size; i++)
        if (!is_name_character(name[i]))
            return fault_set(fault, MP_ERR_INVALID,
                             "attribute '%s': character %zu is not allowed in a name: use letters, "
                             "digits, '_' and '-'",
                             fault_quote(shown, name, size), i + 1);
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (same(&reserved[i], name, size))
            return fault_set(fault, MP_ERR_INVALID,
                             "attribute '%s': CloudEvents keeps this name for itself: take another", reserved[i].name);
    return MP_OK;
}

/* Canonical decimal, within 32 bits. */
static bool is_integer(const char *value, size_t size)
{
    size_t digits = size > 0 && value[0] == '-' ? 1 : 0;
    uint64_t number = 0;

    if (size == digits || size - digits > 10)
        return false;
    if (value[digits] == '0')
        return size == 1;
    for (size_t i = digits; i < size; i++) {
        if (value[i] < '0' || value[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(value[i] - '0');
    }
    return number <= (uint64_t)INT32_MAX + digits;
}

static bool is_boolean(const char *value, size_t size)
{
    return (size == 4 && memcmp(value, "true", 4) == 0) || (size == 5 && memcmp(value, "false", 5) == 0);
}

static bool is_time(const char *value, size_t size)
{
    char text[64];
    int64_t time;

    if (size >= sizeof text || value[0] == '@')
        return false;
    memcpy(text, value, size);
    text[size] = '\0';
    return units_time(text, &time, NULL) == MP_OK;
}

/* Checks the value of an attribute whose name is right. */
static enum mp_error check_value(const struct attribute *attribute, struct fault *fault)
{
    const char *value = attribute->value;
    size_t size = attribute->value_size;
    int name_size = (int)attribute->name_size;
    const char *name = attribute->name;

    if (size > ATTRIBUTE_VALUE_MAX)
        return fault_set(fault, MP_ERR_TOO_LARGE, "attribute '%.*s' has a value of %zu bytes: the limit is 8192",
                         name_size, name, size);
    size_t plain = size > 0 ? utf8_plain((const uint8_t *)value, size) : 0;
    if (plain < size) {
        bool control = utf8_next((const uint8_t *)value + plain, size - plain, NULL) > 0;
        return fault_set(
            fault, MP_ERR_INVALID, "attribute '%.*s': byte %zu of the value %s", name_size, name, plain + 1,
            control ? "is a control character: attributes hold none" : "is not valid UTF-8: attributes hold text only");
    }
    if (!is_custom(attribute->code) && size == 0)
        return fault_set(fault, MP_ERR_INVALID, "attribute '%.*s' is empty: give it a value or leave it out", name_size,
                         name);
    if ((attribute->code == ATTRIBUTE_TIME || attribute->code == ATTRIBUTE_EXPIRYTIME) && !is_time(value, size))
        return fault_set(fault, MP_ERR_INVALID, "attribute '%.*s' is not a time: write it as 2026-11-20T17:00:00Z",
                         name_size, name);
    if (attribute->code == ATTRIBUTE_INTEGER && !is_integer(value, size))
        return fault_set(fault, MP_ERR_INVALID, "attribute '%.*s' is not an integer from -2147483648 to 2147483647",
                         name_size, name);
    if (attribute->code == ATTRIBUTE_BOOLEAN && !is_boolean(value, size))
        return fault_set(fault, MP_ERR_INVALID, "attribute '%.*s' is neither true nor false", name_size, name);
    return MP_OK;
}

/* Whether ONE stands before OTHER in a canonical block (less than 0), behind it (more), or in its place (0). */
static int compare(const struct attribute *one, const struct attribute *other)
{
    if (!is_custom(one->code) || !is_custom(other->code)) {
        unsigned left = is_custom(one->code) ? ATTRIBUTE_STRING : one->code;
        unsigned right = is_custom(other->code) ? ATTRIBUTE_STRING : other->code;
        return left < right ? -1 : left > right;
    }
    size_t shorter = one->name_size < other->name_size ? one->name_size : other->name_size;
    int order = memcmp(one->name, other->name, shorter);
    if (order != 0)
        return order;
    return one->name_size < other->name_size ? -1 : one->name_size > other->name_size;
}

/* Whether a block of SIZE bytes, with COUNT entries that count, is within the limits. */
static enum mp_error check_limits(size_t count, size_t size, bool origin, struct fault *fault)
{
    if (count > ATTRIBUTE_COUNT_MAX)
        return fault_set(fault, MP_ERR_TOO_LARGE, "a message with more than %d attributes: that is the limit",
                         (int)ATTRIBUTE_COUNT_MAX);
    if (size > ATTRIBUTE_BLOCK_MAX - (origin ? 0 : ATTRIBUTE_ORIGIN_SIZE))
        return fault_set(fault, MP_ERR_TOO_LARGE,
                         "the attributes of a message have %zu bytes: the limit is %d for all of "
                         "them",
                         size, ATTRIBUTE_BLOCK_MAX - ATTRIBUTE_ORIGIN_SIZE);
    return MP_OK;
}

static enum mp_error check_origin(const struct attribute *attribute, struct fault *fault)
{
    if (attribute->value_size != 16 || load_u64((const uint8_t *)attribute->value) == 0)
        return fault_set(fault, MP_ERR_FORMAT, "attributes: an origin that is none");
    return MP_OK;
}

/* Checks one entry of a stranger's block. */
static enum mp_error check_entry(const struct attribute *attribute, struct fault *fault)
{
    if (attribute->code == ATTRIBUTE_ORIGIN)
        return check_origin(attribute, fault);
    enum mp_error error = MP_OK;
    if (is_custom(attribute->code)) {
        error = check_name(attribute->name, attribute->name_size, fault);
        if (error == MP_OK && attribute_code_of(attribute->name, attribute->name_size) != ATTRIBUTE_STRING)
            error = fault_set(fault, MP_ERR_FORMAT, "attributes: '%.*s' has a code of its own",
                              (int)attribute->name_size, attribute->name);
    }
    if (error == MP_OK)
        error = check_value(attribute, fault);
    if (error == MP_ERR_INVALID) { /* not an argument here, but what somebody sent */
        error = MP_ERR_FORMAT;
        if (fault != NULL)
            fault->code = error;
    }
    return error;
}

enum mp_error attributes_check(const uint8_t *block, size_t size, struct fault *fault)
{
    struct attribute last = {0}, attribute;
    size_t at = 0, count = 0;
    bool origin = false;

    while (attribute_next(block, size, &at, &attribute)) {
        if (last.code && compare(&last, &attribute) >= 0)
            return fault_set(fault, MP_ERR_FORMAT, "attributes: not in order, or one twice");
        enum mp_error error = check_entry(&attribute, fault);
        if (error != MP_OK)
            return error;
        origin |= attribute.code == ATTRIBUTE_ORIGIN;
        last = attribute;
        count += counts(&attribute);
    }
    if (at != size)
        return fault_set(fault, MP_ERR_FORMAT, "attributes: no entry at byte %zu of %zu", at, size);
    return check_limits(count, size, origin, fault);
}

/* ---- reading and changing ------------------------------------------------------------------- */

/*
 * Where an entry like WANTED is in a canonical block, or belongs: *AT, with *LENGTH bytes (0 when it is not there).
 * FOUND gets what is there. Returns how many of the block's entries count.
 */
static size_t locate(const uint8_t *block, size_t size, const struct attribute *wanted, size_t *at, size_t *length,
                     struct attribute *found)
{
    struct attribute attribute;
    size_t next = 0, start = 0, count = 0;

    *at = size;
    *length = 0;
    for (; attribute_next(block, size, &next, &attribute); start = next) {
        count += counts(&attribute);
        int order = *at < size ? 1 : compare(&attribute, wanted);
        if (order < 0 || *at < size)
            continue;
        *at = start;
        if (order == 0) {
            *length = next - start;
            *found = attribute;
        }
    }
    return count;
}

bool attribute_known(const uint8_t *block, size_t size, enum attribute_code code, struct attribute *attribute)
{
    size_t at = 0;

    while (at < size && block[at] <= code && attribute_next(block, size, &at, attribute))
        if (attribute->code == code)
            return true;
    return false;
}

bool attribute_find(const uint8_t *block, size_t size, const char *name, size_t name_size, struct attribute *attribute)
{
    enum attribute_code code = attribute_code_of(name, name_size);
    size_t at = 0;

    while (attribute_next(block, size, &at, attribute)) {
        if (code != ATTRIBUTE_STRING && attribute->code == code)
            return true;
        if (code == ATTRIBUTE_STRING && is_custom(attribute->code) && attribute->name_size == name_size &&
            memcmp(attribute->name, name, name_size) == 0)
            return true;
    }
    return false;
}

enum mp_error attributes_set(struct buffer *block, enum attribute_code code, const char *name, size_t name_size,
                             const char *value, size_t value_size, struct fault *fault)
{
    struct attribute attribute = {
        .code = attribute_code_of(name, name_size),
        .name = name,
        .name_size = name_size,
        .value = value,
        .value_size = value_size,
    };
    if (attribute.code == ATTRIBUTE_STRING) {
        if (!is_custom(code))
            return fault_set(fault, MP_ERR_INVALID, "attribute code %d is not a type", (int)code);
        attribute.code = code;
    }
    enum mp_error error = check_name(name, name_size, fault);
    if (error == MP_OK)
        error = check_value(&attribute, fault);
    if (error != MP_OK)
        return error;

    uint8_t entry[ENTRY_HEADER + 1 + ATTRIBUTE_NAME_MAX + ATTRIBUTE_VALUE_MAX];
    size_t length = ENTRY_HEADER;
    if (is_custom(attribute.code)) {
        entry[length++] = (uint8_t)name_size;
        memcpy(entry + length, name, name_size);
        length += name_size;
    }
    if (value_size > 0)
        memcpy(entry + length, value, value_size);
    length += value_size;
    entry[0] = (uint8_t)attribute.code;
    store_u16(entry + 1, (uint16_t)(length - ENTRY_HEADER));

    size_t at, old;
    struct attribute found;
    uint64_t producer, sequence;
    size_t count = locate(block->data, block->size, &attribute, &at, &old, &found);
    error = check_limits(count + (old == 0 && counts(&attribute)), block->size - old + length,
                         attributes_origin(block->data, block->size, &producer, &sequence), fault);
    if (error == MP_OK && buffer_replace(block, at, old, entry, length) != MP_OK)
        error = fault_memory(fault);
    return error;
}

void attributes_remove(struct buffer *block, const char *name, size_t name_size)
{
    struct attribute wanted = {
        .code = attribute_code_of(name, name_size),
        .name = name,
        .name_size = name_size,
    };
    struct attribute found;
    size_t at, old;

    locate(block->data, block->size, &wanted, &at, &old, &found);
    if (old > 0)
        buffer_replace(block, at, old, NULL, 0); /* shrinking needs no memory */
}

enum mp_error attributes_set_origin(struct buffer *block, uint64_t producer, uint64_t sequence)
{
    uint8_t entry[ATTRIBUTE_ORIGIN_SIZE] = {ATTRIBUTE_ORIGIN, 16, 0};
    uint64_t old_producer, old_sequence;

    if (producer == 0)
        return MP_ERR_INVALID;
    store_u64(entry + ENTRY_HEADER, producer);
    store_u64(entry + ENTRY_HEADER + 8, sequence);
    bool there = attributes_origin(block->data, block->size, &old_producer, &old_sequence);
    if (!there && block->size > ATTRIBUTE_BLOCK_MAX - ATTRIBUTE_ORIGIN_SIZE)
        return MP_ERR_TOO_LARGE; /* not a canonical block */
    return buffer_replace(block, 0, there ? sizeof entry : 0, entry, sizeof entry);
}

bool attributes_origin(const uint8_t *block, size_t size, uint64_t *producer, uint64_t *sequence)
{
    /* Its code is the smallest, so it is the first entry. */
    if (size < ATTRIBUTE_ORIGIN_SIZE || block[0] != ATTRIBUTE_ORIGIN || load_u16(block + 1) != 16)
        return false;
    *producer = load_u64(block + ENTRY_HEADER);
    *sequence = load_u64(block + ENTRY_HEADER + 8);
    return true;
}
