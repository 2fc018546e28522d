#include "runner/outputs.h"

#include "base/memory.h"
#include "message/attributes.h"

enum {
    FRAMES_MAX = UINT16_MAX,
    TIME_APART = 100000, /* microseconds between the times of messages that share a frame */
    BYTES_KEPT = 2 * FRAME_TARGET
};

void outputs_free(struct outputs *outputs)
{
    for (uint32_t i = 0; i < outputs->capacity; i++)
        frame_builder_free(&outputs->all[i].frame);
    memory_release(outputs->all);
    memory_release(outputs->filling);
    buffer_free(&outputs->block);
    buffer_free(&outputs->mender.block);
    *outputs = (struct outputs){0};
}

/* Makes room for destination NUMBER. */
static enum mp_error reserve_destination(struct outputs *outputs, uint32_t number)
{
    if (number < outputs->destinations)
        return MP_OK;
    uint32_t *filling = memory_reallocate(outputs->filling, ((size_t)number + 1) * sizeof *filling);
    if (!filling)
        return MP_ERR_MEMORY;
    for (uint32_t i = outputs->destinations; i <= number; i++)
        filling[i] = 0;
    outputs->filling = filling;
    outputs->destinations = number + 1;
    return MP_OK;
}

static enum mp_error reserve_output(struct outputs *outputs)
{
    if (outputs->count < outputs->capacity)
        return MP_OK;
    if (outputs->count >= FRAMES_MAX)
        return MP_ERR_TOO_LARGE;
    uint32_t capacity = outputs->capacity ? outputs->capacity * 2 : 1;
    capacity = capacity < FRAMES_MAX ? capacity : FRAMES_MAX;
    struct output *all = memory_reallocate(outputs->all, capacity * sizeof *all);
    if (!all)
        return MP_ERR_MEMORY;
    memset(all + outputs->capacity, 0, (capacity - outputs->capacity) * sizeof *all);
    outputs->all = all;
    outputs->capacity = capacity;
    return MP_OK;
}

/* Whether ITEM belongs into OUTPUT, which has messages already. */
static bool joins(const struct output *output, const struct format_item *item, bool kept)
{
    int64_t apart = item->time > output->time ? item->time - output->time : output->time - item->time;
    return output->kept == kept && (!kept || apart <= TIME_APART) &&
           frame_has_room(&output->frame, item->record.size, item->record.attributes_size + ATTRIBUTE_ORIGIN_SIZE);
}

/* The frame that ITEM goes into; a new one if it has to be. It is in use when a message was added only. */
static enum mp_error choose(struct outputs *outputs, uint32_t number, const char *topic, const struct format_item *item,
                            bool kept, struct output **chosen)
{
    const struct record *record = &item->record;
    enum mp_error error = reserve_destination(outputs, number);
    if (error)
        return error;
    uint32_t filling = outputs->filling[number];
    if (filling && joins(&outputs->all[filling - 1], item, kept)) {
        *chosen = &outputs->all[filling - 1];
        return MP_OK;
    }
    if ((error = reserve_output(outputs)))
        return error;
    struct output *output = &outputs->all[outputs->count];
    output->topic = topic;
    output->kept = kept;
    output->time = item->time;
    /* The numbers of what is new are given when it is sent. */
    error = MP_ERR_INVALID;
    if (kept)
        error = frame_begin(&output->frame, record->producer, record->sequence);
    if (error == MP_ERR_INVALID) {
        output->kept = false;
        error = frame_begin(&output->frame, 1, 1);
    }
    *chosen = output;
    return error;
}

/* Whether RECORD, as the next message of OUTPUT's frame, has its origin by its place. */
static bool has_place(const struct output *output, const struct record *record)
{
    return output->kept && record->producer == output->frame.producer &&
           record->sequence == output->frame.sequence + output->frame.count;
}

static enum mp_error add_kept(struct outputs *outputs, struct output *output, const struct record *record)
{
    struct buffer *block = &outputs->block;
    uint64_t producer, sequence;
    bool marked = record->attributes_size > 0 &&
                  attributes_origin(record->attributes, record->attributes_size, &producer, &sequence);
    if (marked || has_place(output, record))
        return frame_add(&output->frame, record->body, record->size, record->attributes, record->attributes_size);
    block->size = 0;
    enum mp_error error = buffer_append(block, record->attributes, record->attributes_size);
    if (!error)
        error = attributes_set_origin(block, record->producer, record->sequence);
    if (!error)
        error = frame_add(&output->frame, record->body, record->size, block->data, block->size);
    return error;
}

enum mp_error outputs_add(struct outputs *outputs, uint32_t number, const char *topic, const struct format_item *item,
                          bool kept)
{
    struct record sound = item->record;
    const struct record *record = &sound;
    struct output *output;
    enum mp_error error = choose(outputs, number, topic, item, kept, &output);
    if (!error)
        error = trace_mender_apply(&outputs->mender, &sound.attributes, &sound.attributes_size);
    if (error)
        return error;
    size_t before = output->frame.count ? output->frame.bytes.size : 0;
    if (kept)
        error = add_kept(outputs, output, record);
    else
        error = frame_add(&output->frame, record->body, record->size, record->attributes, record->attributes_size);
    if (error)
        return error;
    if (output == &outputs->all[outputs->count])
        outputs->filling[number] = ++outputs->count;
    outputs->bytes += output->frame.bytes.size - before;
    outputs->messages++;
    return MP_OK;
}

void outputs_finish(struct outputs *outputs, struct client_output *list)
{
    for (uint32_t i = 0; i < outputs->count; i++) {
        struct output *output = &outputs->all[i];
        frame_finish(&output->frame, output->time);
        list[i] = (struct client_output){
            .publication = {.topic = output->topic, .fixed = output->kept},
            .frame = &output->frame,
        };
    }
}

void outputs_clear(struct outputs *outputs, bool trim)
{
    outputs->mender.count = 0;
    if (trim) {
        outputs_free(outputs);
        return;
    }
    size_t kept = 0;
    for (uint32_t i = 0; i < outputs->count; i++) {
        struct frame_builder *frame = &outputs->all[i].frame;
        kept += frame->bytes.capacity;
        if (kept > BYTES_KEPT) {
            kept -= frame->bytes.capacity;
            frame_builder_free(frame);
        }
        frame->count = 0;
    }
    for (uint32_t i = 0; i < outputs->destinations; i++)
        outputs->filling[i] = 0;
    outputs->count = 0;
    outputs->bytes = 0;
    outputs->messages = 0;
}
