#include "runner/staging.h"

#include "base/memory.h"
#include "message/trace.h"
#include "stage/inherit.h"

enum { FIRST_BLOCK = 512, LAST_BLOCK = 64 * 1024, STAGED_KEPT = 4096 };

struct keep_block {
    struct keep_block *next;
    size_t size;
    size_t capacity;
    uint8_t bytes[];
};

const void *keep_copy(struct keep *keep, const void *bytes, size_t size)
{
    struct keep_block *block = keep->blocks;
    if (!block || size > block->capacity - block->size) {
        size_t capacity = !block ? FIRST_BLOCK : block->capacity < LAST_BLOCK ? block->capacity * 2 : block->capacity;
        capacity = capacity > size ? capacity : size;
        struct keep_block *added = memory_reallocate(NULL, sizeof *added + capacity);
        if (!added)
            return NULL;
        *added = (struct keep_block){.next = block, .capacity = capacity};
        keep->blocks = block = added;
    }
    uint8_t *at = block->bytes + block->size;
    memcpy(at, bytes, size);
    block->size += size;
    return at;
}

void keep_clear(struct keep *keep)
{
    while (keep->blocks) {
        struct keep_block *block = keep->blocks;
        keep->blocks = block->next;
        memory_release(block);
    }
}

void staging_free(struct staging *staging)
{
    keep_clear(&staging->keep);
    memory_release(staging->all);
    *staging = (struct staging){0};
}

void staging_clear(struct staging *staging)
{
    struct keep_block *block = staging->keep.blocks;
    if (block && !block->next)
        block->size = 0;
    else
        keep_clear(&staging->keep);
    staging->count = 0;
    staging->retraced = 0;
    if (staging->capacity > STAGED_KEPT)
        staging_free(staging);
}

enum mp_error staging_add(struct staging *staging, const struct format_item *item, bool kept)
{
    if (staging->count == staging->capacity) {
        struct staged *all = memory_grow(staging->all, &staging->capacity, sizeof *all, 16);
        if (!all)
            return MP_ERR_MEMORY;
        staging->all = all;
    }
    staging->all[staging->count++] = (struct staged){.item = *item, .kept = kept};
    return MP_OK;
}

static bool lies_in(const uint8_t *bytes, const uint8_t *area, size_t size)
{
    return area && (uintptr_t)bytes >= (uintptr_t)area && (uintptr_t)bytes < (uintptr_t)area + size;
}

enum mp_error staging_add_copy(struct staging *staging, const struct format_item *item, const uint8_t *stays,
                               size_t size)
{
    struct format_item copy = *item;
    struct record *record = &copy.record;
    if (record->size > 0 && !lies_in(record->body, stays, size) &&
        !(record->body = keep_copy(&staging->keep, record->body, record->size)))
        return MP_ERR_MEMORY;
    if (record->attributes_size > 0 && !lies_in(record->attributes, stays, size) &&
        !(record->attributes = keep_copy(&staging->keep, record->attributes, record->attributes_size)))
        return MP_ERR_MEMORY;
    return staging_add(staging, &copy, record->producer != 0);
}

/* ---- what commands print -------------------------------------------------------------------------------------- */

struct decoding {
    struct staging *staging;
    const struct format_item *input;
    struct format_reader reader;
    struct buffer block; /* scratch */
    struct record plain; /* the attributes that every message without own ones gets */
    bool inherited;      /* they are known */
    int64_t now;
};

/* Gives RECORD, which has the attributes of MESSAGE, those that it inherits. */
static enum mp_error inherit(struct decoding *decoding, const struct format_message *message, struct record *record,
                             struct fault *fault)
{
    struct buffer *block = &decoding->block;
    struct keep *keep = &decoding->staging->keep;
    bool own = message->attributes_size > 0;
    if (!own && decoding->inherited) {
        record->attributes = decoding->plain.attributes;
        record->attributes_size = decoding->plain.attributes_size;
        return MP_OK;
    }
    block->size = 0;
    enum mp_error error = buffer_append(block, message->attributes, message->attributes_size);
    if (!error && trace_mend(block))
        decoding->staging->retraced++;
    if (!error && decoding->input)
        error = stage_inherit(decoding->input, block, fault);
    if (error)
        return error;
    record->attributes_size = block->size;
    if (block->size > 0 && !(record->attributes = keep_copy(keep, block->data, block->size)))
        return MP_ERR_MEMORY;
    if (!own) {
        decoding->plain = *record;
        decoding->inherited = true;
    }
    return MP_OK;
}

static enum mp_error add(struct decoding *decoding, const struct format_message *message, struct fault *fault)
{
    struct format_item item = {.record = {.body = message->body, .size = message->size}, .time = decoding->now};
    const struct format_reader *reader = &decoding->reader;
    enum mp_error error = inherit(decoding, message, &item.record, fault);
    /* Of JSON the body may be the reader's, which the next message overwrites. */
    if (!error && message->size > 0 && lies_in(message->body, reader->decoded.data, reader->decoded.size) &&
        !(item.record.body = keep_copy(&decoding->staging->keep, message->body, message->size)))
        error = MP_ERR_MEMORY;
    return error ? error : staging_add(decoding->staging, &item, false);
}

enum mp_error staging_add_output(struct staging *staging, const void *output, size_t size, enum format format,
                                 bool stream, size_t limit, const struct format_item *input, int64_t now,
                                 struct fault *fault)
{
    struct decoding decoding = {
        .staging = staging, .input = input, .reader = {.format = format, .limit = limit}, .now = now};
    const uint8_t *data = output;
    enum mp_error error = MP_OK;
    if (size == 0)
        return MP_OK;
    if (stream && format != FORMAT_JSON) {
        struct format_message answer = {.body = data, .size = size};
        error =
            limit > 0 && size > limit
                ? fault_set(fault, MP_ERR_TOO_LARGE, "an answer of %zu bytes: the relay takes %zu at most", size, limit)
                : add(&decoding, &answer, fault);
    } else {
        while (!error) {
            struct format_message message;
            size_t used = 0;
            error = format_read(&decoding.reader, data, size, true, &used, &message, fault);
            if (!error)
                error = add(&decoding, &message, fault);
            data += used;
            size -= used;
        }
        error = error == MP_ERR_CLOSED ? MP_OK : error;
    }
    if (error == MP_ERR_MEMORY)
        fault_memory(fault);
    format_reader_free(&decoding.reader);
    buffer_free(&decoding.block);
    return error;
}
