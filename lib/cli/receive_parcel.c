/* Messages on their way through mrecv. */
#include "cli/receive_parcel.h"

#include "base/memory.h"

struct receive_parcel *receive_parcel_new(void)
{
    return memory_allocate(sizeof(struct receive_parcel));
}

void receive_parcel_frame(struct receive_parcel *parcel, const struct frame *frame)
{
    parcel->frame = *frame;
    parcel->cursor = frame_cursor(&parcel->frame);
    parcel->count = frame->count;
    parcel->bytes = frame->size;
    parcel->time = frame->time;
}

void receive_parcel_bare(struct receive_parcel *parcel, const uint8_t *body, size_t size, int64_t time)
{
    parcel->bare = true;
    parcel->body = (struct record){.body = body, .size = size};
    parcel->count = 1;
    parcel->bytes = size;
    parcel->time = time;
}

void receive_parcel_free(struct receive_parcel *parcel)
{
    if (parcel->release)
        parcel->release(parcel->owner);
    for (uint32_t i = 0; parcel->answers && i < parcel->count; i++)
        buffer_free(&parcel->answers[i]);
    memory_release(parcel->answers);
    memory_release(parcel->ends);
    memory_release(parcel);
}

void receive_parcel_chunk(struct receive_parcel *parcel, const struct protocol_chunk *chunk)
{
    size_t size = chunk->name_size < NAME_MAX_BYTES ? chunk->name_size : NAME_MAX_BYTES;
    memcpy(parcel->topic, chunk->name, size);
    parcel->first = chunk->first;
    parcel->span = chunk->span;
    parcel->mask = chunk->mask;
    parcel->group = chunk->group;
    parcel->attempt = chunk->attempt;
    parcel->at = UINT32_MAX;
}

uint64_t receive_parcel_offset(struct receive_parcel *parcel, uint32_t index)
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

struct format_item receive_parcel_item(struct receive_parcel *parcel, const struct record *record, uint32_t index)
{
    return (struct format_item){
        .record = *record,
        .topic = parcel->topic,
        .offset = receive_parcel_offset(parcel, index),
        .attempt = parcel->attempt,
        .time = parcel->time,
    };
}

void receive_queue_add(struct receive_queue *queue, struct receive_parcel *parcel)
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

struct receive_parcel *receive_queue_shift(struct receive_queue *queue)
{
    struct receive_parcel *parcel = queue->first;
    queue->first = parcel->next;
    if (!queue->first)
        queue->last = NULL;
    queue->bytes -= parcel->bytes;
    parcel->next = NULL;
    return parcel;
}

void receive_queue_free(struct receive_queue *queue)
{
    while (queue->first)
        receive_parcel_free(receive_queue_shift(queue));
    *queue = (struct receive_queue){0};
}
