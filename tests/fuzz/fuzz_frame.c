/*
 * Frames and attribute blocks. The checksum would keep nearly all damage out, so it is made to fit first; a stranger
 * can do that too.
 */
#include "fit.h"
#include "fuzz.h"

#include "message/attributes.h"

static void check_attributes(const uint8_t *block, size_t size)
{
    struct attribute attribute;
    size_t at = 0;

    while (attribute_next(block, size, &at, &attribute))
        MUST(at <= size && attribute.value_size <= size);
    if (attributes_check(block, size, NULL) != MP_OK)
        return;
    MUST(at == size);
    struct buffer copy = {0};
    MUST(buffer_append(&copy, block, size) == MP_OK);
    MUST(attributes_set(&copy, ATTRIBUTE_STRING, "fuzz", 4, "value", 5, NULL) != MP_OK ||
         attributes_check(copy.data, copy.size, NULL) == MP_OK);
    attributes_remove(&copy, "fuzz", 4);
    MUST(attributes_check(copy.data, copy.size, NULL) == MP_OK);
    buffer_free(&copy);
}

/* Whatever was opened is walked; what was opened deep must be as the header says. */
static void walk(const struct frame *frame, bool deep)
{
    struct frame_cursor cursor = frame_cursor(frame);
    struct record record;
    uint32_t count = 0;
    size_t longest = 0;

    while (frame_next(&cursor, &record)) {
        MUST(record.body >= frame->data && record.size <= (size_t)(frame->data + frame->size - record.body));
        if (record.attributes != NULL) {
            MUST(record.attributes >= frame->data);
            MUST(record.attributes_size <= (size_t)(frame->data + frame->size - record.attributes));
            MUST(!deep || attributes_check(record.attributes, record.attributes_size, NULL) == MP_OK);
            check_attributes(record.attributes, record.attributes_size);
        }
        longest = record.size > longest ? record.size : longest;
        count++;
    }
    if (deep)
        MUST(count == frame->count && longest == frame->longest && cursor.at == frame->size);
}

static void cut(const struct frame *frame)
{
    struct frame_cursor cursor = frame_cursor(frame);
    struct buffer out = {0};
    struct frame part;
    uint32_t left = frame->count;

    while (left > 0) {
        out.size = 0;
        MUST(frame_cut(&cursor, 1 + left / 2, 4096, &out) == MP_OK);
        MUST(frame_open(&part, out.data, out.size, true, NULL) == MP_OK);
        MUST(part.count > 0 && part.count <= left);
        left -= part.count;
    }
    MUST(frame_cut(&cursor, 1, 4096, &out) == MP_ERR_INVALID);
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame frame;
    uint8_t *copy = fuzz_copy(data, size);

    check_attributes(data, size);
    (void)frame_open(&frame, data, size, true, NULL);
    fuzz_fit(copy, size);
    if (frame_open(&frame, copy, size, false, NULL) == MP_OK)
        walk(&frame, false);
    if (frame_open(&frame, copy, size, true, NULL) == MP_OK) {
        MUST(frame_recognise(copy, size));
        walk(&frame, true);
        cut(&frame);
    }
    free(copy);
    return 0;
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    struct frame_builder builder = {0};
    struct buffer attributes = {0};
    bool more = index < 4;

    if (more) {
        MUST(frame_begin(&builder, 7, 100) == MP_OK);
        for (unsigned i = 0; i < (index == 3 ? 200 : 3); i++)
            MUST(frame_add(&builder, "a body of some bytes", i % 20, NULL, 0) == MP_OK);
        if (index > 0)
            MUST(attributes_set(&attributes, ATTRIBUTE_STRING, "subject", 7, "teapots", 7, NULL) == MP_OK);
        if (index > 1) {
            MUST(attributes_set(&attributes, ATTRIBUTE_INTEGER, "weight", 6, "1200", 4, NULL) == MP_OK);
            MUST(attributes_set_origin(&attributes, 9, 1) == MP_OK);
        }
        MUST(frame_add(&builder, "the last", 8, attributes.data, attributes.size) == MP_OK);
        frame_finish(&builder, 1763658000000000);
        MUST(buffer_append(out, builder.bytes.data, builder.bytes.size) == MP_OK);
    } else if (index == 4) { /* an attribute block alone */
        more = true;
        MUST(attributes_set(out, ATTRIBUTE_STRING, "partitionkey", 12, "k", 1, NULL) == MP_OK);
        MUST(attributes_set(out, ATTRIBUTE_STRING, "region", 6, "eu", 2, NULL) == MP_OK);
        MUST(attributes_set(out, ATTRIBUTE_BOOLEAN, "urgent", 6, "true", 4, NULL) == MP_OK);
    }
    buffer_free(&attributes);
    frame_builder_free(&builder);
    return more;
}
