/* Messages on their way through a consumer. */
#include "stage/parcel.h"

#include "base/bits.h"
#include "base/memory.h"

struct stage_parcel *stage_parcel_new(void)
{
    return memory_allocate(sizeof(struct stage_parcel));
}

void stage_parcel_frame(struct stage_parcel *parcel, const struct frame *frame)
{
    parcel->frame = *frame;
    parcel->cursor = frame_cursor(&parcel->frame);
    parcel->count = frame->count;
    parcel->bytes = frame->size;
    parcel->time = frame->time;
}

void stage_parcel_bare(struct stage_parcel *parcel, const uint8_t *body, size_t size, int64_t time)
{
    parcel->bare = true;
    parcel->body = (struct record){.body = body, .size = size};
    parcel->count = 1;
    parcel->bytes = size;
    parcel->time = time;
}

void stage_parcel_free(struct stage_parcel *parcel)
{
    if (parcel->release)
        parcel->release(parcel->owner);
    for (uint32_t i = 0; parcel->answers && i < parcel->count; i++)
        buffer_free(&parcel->answers[i]);
    memory_release(parcel->answers);
    memory_release(parcel->kept_mask);
    memory_release(parcel->ends);
    memory_release(parcel);
}

void stage_parcel_unload(struct stage_parcel *parcel)
{
    if (!parcel->release)
        return;
    if (parcel->mask) {
        size_t size = bits_size(parcel->span);
        parcel->kept_mask = memory_allocate(size);
        if (!parcel->kept_mask)
            return; /* the bytes stay */
        memcpy(parcel->kept_mask, parcel->mask, size);
        parcel->mask = parcel->kept_mask;
    }
    parcel->release(parcel->owner);
    parcel->release = NULL;
}

void stage_parcel_chunk(struct stage_parcel *parcel, const struct protocol_chunk *chunk, const char *name)
{
    size_t size = chunk->name_size < NAME_MAX_BYTES ? chunk->name_size : NAME_MAX_BYTES;
    memcpy(parcel->topic, chunk->name, size);
    parcel->first = chunk->first;
    parcel->span = chunk->span;
    parcel->mask = chunk->mask;
    parcel->group = chunk->group;
    parcel->group_name = name && *name ? name : NULL;
    parcel->attempt = chunk->attempt;
    parcel->at = UINT32_MAX;
}

uint64_t stage_parcel_offset(struct stage_parcel *parcel, uint32_t index)
{
    const struct protocol_chunk chunk = {
        .first = parcel->first, .count = parcel->count, .span = parcel->span, .mask = parcel->mask};
    if (!parcel->mask)
        return parcel->first + index;
    if (index >= parcel->count)
        return parcel->first + parcel->span;
    if (index < parcel->at || index - parcel->at > 64) {
        parcel->offset = protocol_chunk_offset(&chunk, index);
        parcel->at = index;
    }
    while (parcel->at < index) {
        parcel->offset = protocol_chunk_next(&chunk, parcel->offset + 1);
        parcel->at++;
    }
    return parcel->offset;
}

struct format_item stage_parcel_item(struct stage_parcel *parcel, const struct record *record, uint32_t index)
{
    return (struct format_item){
        .record = *record,
        .topic = parcel->topic,
        .offset = stage_parcel_offset(parcel, index),
        .attempt = parcel->attempt,
        .group = parcel->group_name,
        .delivery = parcel->delivery,
        .time = parcel->time,
    };
}

void stage_queue_add(struct stage_queue *queue, struct stage_parcel *parcel)
{
    parcel->next = NULL;
    if (queue->last)
        queue->last->next = parcel;
    else
        queue->first = parcel;
    queue->last = parcel;
    queue->bytes += parcel->bytes;
    queue->messages += parcel->count;
}

struct stage_parcel *stage_queue_shift(struct stage_queue *queue)
{
    struct stage_parcel *parcel = queue->first;
    queue->first = parcel->next;
    if (!queue->first)
        queue->last = NULL;
    queue->bytes -= parcel->bytes;
    parcel->next = NULL;
    return parcel;
}

void stage_queue_free(struct stage_queue *queue)
{
    while (queue->first)
        stage_parcel_free(stage_queue_shift(queue));
    *queue = (struct stage_queue){0};
}
