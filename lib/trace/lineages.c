#include "trace/lineages.h"

void lineages_free(struct lineages *lineages)
{
    for (int i = 0; i < LINEAGES_SLOTS; i++)
        buffer_free(&lineages->slots[i].bytes);
    for (int i = 0; i < LINEAGES_LARGE; i++)
        buffer_free(&lineages->large[i].bytes);
    buffer_free(&lineages->spare.bytes);
}

static uint64_t hash(uint32_t topic, uint64_t first)
{
    return (first + topic) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
}

static struct lineages_slot *slot_of(struct lineages *lineages, uint32_t topic, uint64_t first, bool large)
{
    return large ? &lineages->large[hash(topic, first) % LINEAGES_LARGE]
                 : &lineages->slots[hash(topic, first) % LINEAGES_SLOTS];
}

static struct lineages_slot *find(struct lineages *lineages, uint32_t topic, uint64_t first)
{
    for (int large = 0; large < 2; large++) {
        struct lineages_slot *slot = slot_of(lineages, topic, first, large);
        if (slot->used && slot->topic == topic && slot->first == first)
            return slot;
    }
    struct lineages_slot *spare = &lineages->spare;
    return spare->used && spare->topic == topic && spare->first == first ? spare : NULL;
}

static struct lineages_slot *put(struct lineages *lineages, uint32_t topic, uint64_t first, uint32_t count,
                                 const uint8_t *bytes, size_t size)
{
    struct lineages_slot *slot = slot_of(lineages, topic, first, size > LINEAGES_SMALL);
    if (lineages->pinned == &slot->lineage)
        slot = &lineages->spare;
    slot->used = false;
    slot->bytes.size = 0;
    if (buffer_append(&slot->bytes, bytes, size) ||
        lineage_open(&slot->lineage, slot->bytes.data, slot->bytes.size, count))
        return NULL;
    slot->topic = topic;
    slot->first = first;
    slot->used = true;
    return slot;
}

void lineages_add(struct lineages *lineages, const struct store_event *event)
{
    if (event->note && event->note_size > 0)
        put(lineages, event->topic, event->first, event->count, event->note, event->note_size);
}

static enum mp_error add(void *context, const struct store_event *event)
{
    lineages_add(context, event);
    return MP_OK;
}

static void load_frame(struct lineages *lineages, const struct trace_publication *publication)
{
    struct store_frame row;
    struct blob *blob = NULL;
    struct fault ignored;
    struct frame frame;
    struct buffer bytes = {0};
    if (store_read_frame(trace_log_store(lineages->log), publication->topic, publication->first, &row, &blob, &ignored))
        return;
    if (row.first == publication->first && frame_open(&frame, row.data, row.size, true, &ignored) == MP_OK &&
        lineage_encode(&frame, frame.producer, &bytes) == MP_OK)
        put(lineages, publication->topic, row.first, row.count, bytes.data, bytes.size);
    buffer_free(&bytes);
    blob_drop(blob);
}

const struct lineage *lineages_get(struct lineages *lineages, const struct trace_publication *publication)
{
    struct fault ignored;
    struct lineages_slot *slot = find(lineages, publication->topic, publication->first);
    if (!slot && publication->event > 0) {
        const struct store_event_filter filter = {
            .after = publication->event - 1, .below = publication->event + 1, .kinds = 1u << EVENT_PUBLISHED};
        store_select_events(trace_log_store(lineages->log), &filter, add, lineages, &ignored);
        slot = find(lineages, publication->topic, publication->first);
    }
    if (!slot) {
        load_frame(lineages, publication);
        slot = find(lineages, publication->topic, publication->first);
    }
    return slot ? &slot->lineage : NULL;
}
