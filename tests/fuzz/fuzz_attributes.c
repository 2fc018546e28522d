/*
 * Attribute blocks under change. The input is a run of orders (set, remove, set the origin), which are carried out on a
 * block and on a plain list; after each, the block must be canonical and hold what the list holds. A block that is
 * taken apart and set again entry by entry must have the same bytes, whatever the order.
 */
#include "fuzz.h"

#include "message/attributes.h"

enum { NAMES = 24 };

/* What a name has, beside the block. */
struct expected {
    bool set;
    enum attribute_code code;
    char value[64];
    size_t size;
};

/* Known names, and others at every place in their order. */
static const char *const names[NAMES] = {
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "traceparent",
    "tracestate",
    "partitionkey",
    "correlationid",
    "causationid",
    "expirytime",
    "a",
    "aa",
    "b",
    "A",
    "Z",
    "_",
    "-",
    "0",
    "zz",
    "count",
    "X-Long_Name-1",
};

static void check(const struct buffer *block, const struct expected *expected)
{
    struct attribute attribute;
    size_t count = 0, at = 0;

    MUST(attributes_check(block->data, block->size, NULL) == MP_OK);
    for (size_t index = 0; index < NAMES; index++) {
        const bool found = attribute_find(block->data, block->size, names[index], strlen(names[index]), &attribute);
        MUST(found == expected[index].set);
        if (!found)
            continue;
        count++;
        MUST(attribute.value_size == expected[index].size);
        MUST(memcmp(attribute.value, expected[index].value, attribute.value_size) == 0);
        MUST(attribute.code == expected[index].code);
    }
    while (attribute_next(block->data, block->size, &at, &attribute))
        count -= attribute.code != ATTRIBUTE_ORIGIN;
    MUST(count == 0 && at == block->size);
}

/* Sets all that is expected again, the last name first. */
static void rebuild(const struct buffer *block, const struct expected *expected)
{
    struct buffer again = {0};
    uint64_t producer, sequence;

    for (size_t index = NAMES; index-- > 0;)
        if (expected[index].set)
            MUST(attributes_set(
                     &again, expected[index].code < ATTRIBUTE_STRING ? ATTRIBUTE_STRING : expected[index].code,
                     names[index], strlen(names[index]), expected[index].value, expected[index].size, NULL) == MP_OK);
    if (attributes_origin(block->data, block->size, &producer, &sequence))
        MUST(attributes_set_origin(&again, producer, sequence) == MP_OK);
    MUST(again.size == block->size && (again.size == 0 || memcmp(again.data, block->data, again.size) == 0));
    buffer_free(&again);
}

static void order_set(struct buffer *block, struct expected *expected, size_t index, uint8_t type, const uint8_t *value,
                      size_t size)
{
    static const enum attribute_code types[] = {ATTRIBUTE_STRING, ATTRIBUTE_INTEGER, ATTRIBUTE_BOOLEAN};
    const enum attribute_code code = types[type % 3];
    const enum attribute_code known = attribute_code_of(names[index], strlen(names[index]));
    struct buffer before = {0};

    MUST(buffer_append(&before, block->data, block->size) == MP_OK);
    const enum mp_error error =
        attributes_set(block, code, names[index], strlen(names[index]), (const char *)value, size, NULL);
    if (error == MP_OK) {
        expected[index] = (struct expected){.set = true, .code = known < ATTRIBUTE_STRING ? known : code, .size = size};
        memcpy(expected[index].value, value, size);
    } else {
        MUST(error == MP_ERR_INVALID || error == MP_ERR_TOO_LARGE);
        MUST(block->size == before.size && (before.size == 0 || memcmp(block->data, before.data, before.size) == 0));
    }
    buffer_free(&before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer block = {0};
    struct expected expected[NAMES] = {{.set = false}};
    struct reader reader = reader_of(data, size);

    while (reader.left > 0) {
        const uint8_t order = reader_u8(&reader);
        const size_t index = reader_u8(&reader) % NAMES;
        if (order % 8 == 0) {
            attributes_remove(&block, names[index], strlen(names[index]));
            expected[index].set = false;
        } else if (order % 8 == 1) {
            const uint8_t producer = reader_u8(&reader);
            MUST(attributes_set_origin(&block, producer, index) == (producer == 0 ? MP_ERR_INVALID : MP_OK));
        } else {
            const size_t length = reader_u8(&reader) % sizeof expected->value;
            const uint8_t *value = reader_bytes(&reader, length);
            if (value == NULL)
                break;
            order_set(&block, expected, index, order / 8, value, length);
        }
        check(&block, expected);
    }
    rebuild(&block, expected);
    buffer_free(&block);
    return 0;
}

static void seed_set(struct buffer *out, uint8_t type, uint8_t index, const char *value)
{
    MUST(buffer_put_u8(out, (uint8_t)(type * 8 + 2)) == MP_OK && buffer_put_u8(out, index) == MP_OK);
    MUST(buffer_put_u8(out, (uint8_t)strlen(value)) == MP_OK && buffer_append_string(out, value) == MP_OK);
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    if (index >= 3)
        return false;
    if (index == 0) {
        for (uint8_t name = NAMES; name-- > 0;)
            seed_set(out, 0, name, name == 4 || name == 12 ? "2026-11-20T17:00:00Z" : "value");
        return true;
    }
    seed_set(out, 1, 22, "-2147483648");
    seed_set(out, 2, 14, "true");
    MUST(buffer_append(out, "\1\5\7", 3) == MP_OK); /* an origin */
    seed_set(out, 0, 22, "17");
    seed_set(out, 0, 0, "\xc3\xa9");
    if (index == 2)
        for (uint8_t name = 0; name < NAMES; name++) {
            MUST(buffer_append(out, "\0", 1) == MP_OK && buffer_put_u8(out, name) == MP_OK); /* remove */
            seed_set(out, name % 3, (uint8_t)(NAMES - 1 - name), "1");
        }
    return true;
}
