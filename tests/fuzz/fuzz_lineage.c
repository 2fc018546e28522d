/*
 * Lineages, as a store's events keep them. The first byte chooses: the rest is a lineage, of so many messages as its
 * next two bytes say; or it is a frame, and what is written of it must tell of each message what the message itself tells.
 */
#include "fit.h"
#include "fuzz.h"

#include "message/attributes.h"
#include "message/lineage.h"

enum { LOOKED = 300 };

static bool same(const struct lineage_value *one, const struct lineage_value *other)
{
    return one->kind == other->kind && one->high == other->high && one->low == other->low;
}

/* By walking, by going to the place, and by searching the same is found. */
static void check_column(const struct lineage *lineage, enum lineage_column column)
{
    struct lineage_cursor cursor = lineage_cursor(lineage, column);
    for (uint32_t i = 0; i < lineage->count && i < LOOKED; i++) {
        struct lineage_value next = lineage_next(&cursor), there = lineage_value(lineage, column, i);
        uint32_t index = 0;
        MUST(same(&next, &there));
        if (there.kind == LINEAGE_NONE)
            continue;
        MUST(lineage_find(lineage, column, &there, &there, &index) && index <= i);
        struct lineage_value found = lineage_value(lineage, column, index);
        MUST(same(&found, &there));
    }
}

static void read_bytes(const uint8_t *data, size_t size)
{
    struct lineage lineage;
    if (size < 2 || lineage_open(&lineage, data + 2, size - 2, (uint32_t)(data[0] | data[1] << 8)))
        return;
    for (int column = LINEAGE_ORIGIN; column < LINEAGE_COLUMNS; column++)
        check_column(&lineage, (enum lineage_column)column);
    for (uint32_t i = 0; i < lineage.count && i < LOOKED; i++) {
        (void)lineage_parent(&lineage, i);
        (void)lineage_id(&lineage, i);
        (void)lineage_trace(&lineage, i);
    }
}

static void check_record(const struct lineage *lineage, const struct record *record, uint32_t index)
{
    static const struct {
        enum lineage_column column;
        enum attribute_code code;
    } columns[] = {{LINEAGE_ID, ATTRIBUTE_ID},
                   {LINEAGE_KEY, ATTRIBUTE_PARTITIONKEY},
                   {LINEAGE_CAUSE, ATTRIBUTE_CAUSATIONID},
                   {LINEAGE_CORRELATION, ATTRIBUTE_CORRELATIONID}};
    struct lineage_value origin = lineage_origin(lineage, index);
    MUST(origin.kind == LINEAGE_EXACT && origin.high == record->producer && origin.low == record->sequence);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        struct attribute attribute;
        struct lineage_value value = lineage_value(lineage, columns[i].column, index);
        if (record->attributes_size == 0 ||
            !attribute_known(record->attributes, record->attributes_size, columns[i].code, &attribute)) {
            MUST(value.kind == LINEAGE_NONE);
            continue;
        }
        struct lineage_value wanted = lineage_value_of(columns[i].column, attribute.value, attribute.value_size);
        MUST(same(&value, &wanted));
    }
}

static void read_frame(uint8_t *data, size_t size)
{
    struct frame frame;
    fuzz_fit(data, size);
    if (frame_open(&frame, data, size, true, NULL))
        return;
    for (unsigned own = 0; own < 2; own++) {
        struct buffer bytes = {0};
        struct lineage lineage;
        struct frame_cursor cursor = frame_cursor(&frame);
        struct record record;
        MUST(lineage_encode(&frame, own ? frame.producer : frame.producer + 1, &bytes) == MP_OK);
        MUST(own || bytes.size > LINEAGE_BARE);
        uint8_t *exact = fuzz_copy(bytes.data, bytes.size);
        MUST(lineage_open(&lineage, exact, bytes.size, frame.count) == MP_OK);
        for (uint32_t i = 0; i < LOOKED && frame_next(&cursor, &record); i++)
            check_record(&lineage, &record, i);
        free(exact);
        buffer_free(&bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *exact = fuzz_copy(data + 1, size - 1); /* frames are looked at where they are aligned */
    if (data[0] % 2)
        read_frame(exact, size - 1);
    else
        read_bytes(exact, size - 1);
    free(exact);
    return 0;
}

static void add(struct frame_builder *builder, const char *name, const char *value, bool foreign)
{
    struct buffer block = {0};
    if (name)
        MUST(attributes_set(&block, ATTRIBUTE_STRING, name, strlen(name), value, strlen(value), NULL) == MP_OK);
    if (foreign)
        MUST(attributes_set_origin(&block, 99, 1000) == MP_OK);
    MUST(frame_add(builder, "body", 4, block.data, block.size) == MP_OK);
    buffer_free(&block);
}

static void some_frame(struct frame_builder *builder)
{
    static const char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    MUST(frame_begin(builder, UINT64_C(0x1122334466778899), 41) == MP_OK);
    add(builder, NULL, NULL, false);
    add(builder, "id", "order-1", false);
    add(builder, "partitionkey", "k", false);
    add(builder, "traceparent", trace, false);
    add(builder, "causationid", "0af7651916cd43dd8448eb211c80319c", true);
    add(builder, "causationid", "0af7651916cd43dd8448eb211c80319d", true);
    add(builder, "correlationid", "q", false);
    frame_finish(builder, 1700000000000000);
}

bool fuzz_seed(unsigned index, struct buffer *out)
{
    struct frame_builder builder = {0};
    struct frame frame;
    some_frame(&builder);
    MUST(buffer_put_u8(out, (uint8_t)index) == MP_OK);
    if (index == 1) {
        MUST(buffer_append(out, builder.bytes.data, builder.bytes.size) == MP_OK);
    } else if (index == 0) {
        MUST(frame_open(&frame, builder.bytes.data, builder.bytes.size, true, NULL) == MP_OK);
        MUST(buffer_put_u16(out, (uint16_t)frame.count) == MP_OK);
        MUST(lineage_encode(&frame, 0, out) == MP_OK);
    }
    frame_builder_free(&builder);
    return index < 2;
}
