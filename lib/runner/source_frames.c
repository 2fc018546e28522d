/* The frames that a source fills. */
#include "runner/source_frames.h"

#include "base/memory.h"
#include "message/attributes.h"

enum { KEEP_BYTES = 2 * FRAME_TARGET }; /* of a frame's buffer that is used again */

static void frame_free(struct source_frame *frame)
{
    frame_builder_free(&frame->builder);
    buffer_free(&frame->ids);
    memory_release(frame->notes);
    memory_release(frame);
}

void source_frames_free(struct source_frames *frames)
{
    while (frames->first)
        frame_free(source_frames_shift(frames));
    if (frames->spare)
        frame_free(frames->spare);
    buffer_free(&frames->block);
    buffer_free(&frames->mender.block);
    *frames = (struct source_frames){0};
}

struct source_frame *source_frames_shift(struct source_frames *frames)
{
    struct source_frame *frame = frames->first;
    frames->first = frame->next;
    if (!frames->first)
        frames->last = NULL;
    frames->count--;
    frame->next = NULL;
    return frame;
}

void source_frames_unshift(struct source_frames *frames, struct source_frame *frame)
{
    frame->next = frames->first;
    frames->first = frame;
    if (!frames->last)
        frames->last = frame;
    frames->count++;
}

void source_frames_return(struct source_frames *frames, struct source_frame *frame)
{
    if (!frame)
        return;
    if (frames->spare || frame->builder.bytes.capacity > KEEP_BYTES) {
        frame_free(frame);
        return;
    }
    frame->builder.count = 0;
    frame->notes_count = 0;
    frame->ids.size = 0;
    frames->spare = frame;
}

/* A new frame at the end. */
static enum mp_error append(struct source_frames *frames, uint64_t producer, int64_t time)
{
    struct source_frame *frame = frames->spare;
    frames->spare = NULL;
    if (!frame)
        frame = memory_allocate(sizeof(*frame));
    if (!frame)
        return MP_ERR_MEMORY;
    enum mp_error error = frame_begin(&frame->builder, producer, 1);
    if (error) {
        frame_free(frame);
        return error;
    }
    frame->time = time;
    if (frames->last)
        frames->last->next = frame;
    else
        frames->first = frame;
    frames->last = frame;
    frames->count++;
    return MP_OK;
}

/* Room for a note and its id. */
static enum mp_error reserve_note(struct source_frame *frame, size_t id_size)
{
    if (frame->notes_count == frame->notes_capacity) {
        struct source_note *notes = memory_grow(frame->notes, &frame->notes_capacity, sizeof *notes, 64);
        if (!notes)
            return MP_ERR_MEMORY;
        frame->notes = notes;
    }
    return buffer_reserve(&frame->ids, id_size ? id_size : 1);
}

enum mp_error source_frames_add(struct source_frames *frames, const struct format_item *item, uint64_t mark, bool noted,
                                uint64_t producer, int64_t time)
{
    const struct record *record = &item->record;
    const uint8_t *attributes = record->attributes;
    size_t size = record->attributes_size;
    enum mp_error error = trace_mender_apply(&frames->mender, &attributes, &size);
    if (!error && record->producer) {
        frames->block.size = 0;
        if (size)
            error = buffer_append(&frames->block, attributes, size);
        if (!error)
            error = attributes_set_origin(&frames->block, record->producer, record->sequence);
        attributes = frames->block.data;
        size = frames->block.size;
    }
    if (!error && (!frames->last || !frame_has_room(&frames->last->builder, record->size, size)))
        error = append(frames, producer, time);
    struct source_frame *frame = frames->last;
    char text[FRAME_ID_TEXT];
    const char *id = NULL;
    size_t id_size = 0;
    struct attribute attribute;
    if (!error && noted) {
        if (record->producer || (size && attribute_known(attributes, size, ATTRIBUTE_ID, &attribute)))
            id = frame_record_id(record, text, &id_size);
        error = reserve_note(frame, id_size);
    }
    if (!error)
        error = frame_add(&frame->builder, record->body, record->size, attributes, size);
    if (error)
        return error;
    if (noted) {
        frame->notes[frame->notes_count++] = (struct source_note){mark, frame->builder.count - 1, (uint32_t)id_size};
        buffer_append(&frame->ids, id, id_size); /* there is room */
    }
    frame->mark = mark;
    return MP_OK;
}
