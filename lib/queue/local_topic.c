#include "queue/local.h"

#include <stdlib.h>

enum mp_error members_add(struct member_list *list, void *item)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 4;
        void **items = realloc(list->items, capacity * sizeof(void *));
        if (!items)
            return MP_ERR_MEMORY;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
    return MP_OK;
}

void members_remove(struct member_list *list, const void *item)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i] == item) {
            list->items[i] = list->items[--list->count];
            return;
        }
}

struct topic *local_topic(struct local *local, const char *name, size_t size)
{
    return map_get(&local->topics, name, size);
}

void local_topic_free(struct topic *topic)
{
    free(topic->groups.items);
    free(topic->readers.items);
    free(topic);
}

enum mp_error local_topic_add(struct local *local, const struct store_topic *row, struct topic **result)
{
    size_t size = strlen(row->name);
    if (size > NAME_MAX_BYTES)
        return MP_ERR_DAMAGED;
    struct topic *topic = calloc(1, sizeof *topic);
    if (!topic)
        return MP_ERR_MEMORY;
    memcpy(topic->name, row->name, size);
    topic->id = row->id;
    topic->first = row->first;
    topic->end = topic->saved_end = row->end;
    topic->created = row->created;
    topic->hint.frame = UINT64_MAX;
    enum mp_error error = map_put(&local->topics, topic->name, size, topic);
    if (error) {
        local_topic_free(topic);
        return error;
    }
    if (row->id >= local->next_topic)
        local->next_topic = row->id + 1;
    *result = topic;
    return MP_OK;
}

enum mp_error local_topic_make(struct local *local, const char *name, size_t size, struct topic **result,
                               struct fault *fault)
{
    char text[NAME_MAX_BYTES + 1];
    if (local->next_topic >= TOPICS_MAX)
        return fault_set(fault, MP_ERR_FULL, "the relay has %u topics, and can have no more", TOPICS_MAX - 1);
    memcpy(text, name, size);
    text[size] = '\0';
    struct store_topic row = {.id = local->next_topic, .name = text, .created = local->time};
    enum mp_error error = local_write(local, fault);
    if (!error)
        error = store_put_topic(local->store, &row, fault);
    if (!error && (error = local_topic_add(local, &row, result)) == MP_ERR_MEMORY)
        return fault_memory(fault);
    return error ? error : local_topic_join(local, *result, true, fault);
}

/* Asks the file system at most ten times a second. */
enum mp_error local_room(struct engine *engine, const char *name, size_t size, uint64_t messages, uint64_t bytes,
                         uint64_t session, struct fault *fault)
{
    struct local *local = local_of(engine);
    (void)messages, (void)bytes, (void)session; /* the disk is what all of them share */
    if (local->next_topic >= TOPICS_MAX && !local_topic(local, name, size))
        return fault_set(fault, MP_ERR_FULL, "the relay has %u topics, and can have no more", TOPICS_MAX - 1);
    if (local->now.monotonic >= local->space_checked) {
        local->space = store_free_space(local->store);
        local->space_checked = local->now.monotonic + 100000;
    }
    if (local->space < STORE_RESERVE)
        return fault_set(fault, MP_ERR_FULL, "the disk of the relay's store is nearly full: less than 64 MiB are free");
    return MP_OK;
}

static void cache_evict(struct local *local, struct cached_frame *slot)
{
    if (!slot->blob)
        return;
    local->cache_bytes -= slot->size;
    blob_drop(slot->blob);
    *slot = (struct cached_frame){0};
}

void local_cache_clear(struct local *local)
{
    for (unsigned i = 0; i < CACHE_SLOTS; i++)
        cache_evict(local, &local->cache[i]);
}

/*
 * First in, first out: what was published last is what consumers that keep up ask for. Bytes that came in a request are
 * copied (16 GB/s): the request may be far longer than the frame, and what it occupies counts against what the server
 * may receive, which would stop for good when the cache, or consumers that stopped to read, hold on to all of it.
 */
static void cache_add(struct local *local, const struct cached_frame *original)
{
    if (original->size > local->settings.cache / 4)
        return;
    struct cached_frame own = *original, *frame = &own;
    uint8_t *bytes;
    if (!original->blob->release)
        blob_hold(own.blob);
    else if ((own.blob = blob_make(own.size, &bytes)))
        own.data = memcpy(bytes, original->data, own.size);
    else
        return; /* it can be read from the store */
    struct cached_frame *slot = &local->cache[local->cache_next % CACHE_SLOTS];
    cache_evict(local, slot);
    for (unsigned i = 1; i < CACHE_SLOTS && local->cache_bytes + frame->size > local->settings.cache; i++)
        cache_evict(local, &local->cache[(local->cache_next + i) % CACHE_SLOTS]);
    *slot = *frame;
    local->cache_bytes += frame->size;
    local->cache_next++;
}

enum mp_error local_publish(struct engine *engine, const struct engine_publication *publication,
                            const struct engine_origin *origin, uint64_t *first, uint32_t *duplicates,
                            struct fault *fault)
{
    struct local *local = local_of(engine);
    const char *name = publication->topic;
    size_t size = publication->topic_size;
    const struct frame *frame = publication->frame;
    struct topic *topic = local_topic(local, name, size);
    enum mp_error error = topic ? MP_OK : local_topic_make(local, name, size, &topic, fault);
    *duplicates = 0;
    if (error || (error = local_write(local, fault)))
        return error;
    if (topic->end + frame->count > OFFSET_MAX)
        return fault_set(fault, MP_ERR_FULL, "topic %s has used up its numbers", topic->name);
    struct store_frame row = {
        .topic = topic->id,
        .first = topic->end,
        .count = frame->count,
        .session = origin->session,
        .request = (uint64_t)origin->lane << 62 | origin->number,
        .time = local->time > topic->last_time ? local->time : topic->last_time,
        .data = frame->data,
        .size = frame->size,
    };
    if ((error = store_add_frame(local->store, &row, fault)))
        return error;
    *first = topic->end;
    topic->end += frame->count;
    topic->last_time = row.time;
    topic->bytes += frame->size;
    topic->dirty = true;
    struct cached_frame cached = {.topic = topic->id,
                                  .first = row.first,
                                  .count = frame->count,
                                  .blob = publication->blob,
                                  .data = frame->data,
                                  .size = frame->size,
                                  .checked = true};
    cache_add(local, &cached);
    local_mark_topic(local, topic);
    return MP_OK;
}

enum mp_error local_frame(struct local *local, const struct topic *topic, uint64_t offset, struct cached_frame *frame,
                          struct fault *fault)
{
    for (unsigned i = 0; i < CACHE_SLOTS; i++) {
        const struct cached_frame *slot = &local->cache[i];
        if (slot->blob && slot->topic == topic->id && offset - slot->first < slot->count) {
            *frame = *slot;
            blob_hold(frame->blob);
            return MP_OK;
        }
    }
    struct store_frame row;
    struct blob *blob;
    enum mp_error error = store_read_frame(local->store, topic->id, offset, &row, &blob, fault);
    if (error)
        return error;
    struct frame opened;
    struct fault detail = {0};
    error = frame_open(&opened, row.data, row.size, true, &detail);
    if (error || opened.count != row.count) {
        blob_drop(blob);
        return fault_set(fault, MP_ERR_DAMAGED, "%s: the frame of offset %llu in topic %s is damaged: %s",
                         store_path(local->store), (unsigned long long)row.first, topic->name, fault_text(&detail));
    }
    *frame = (struct cached_frame){.topic = topic->id,
                                   .first = row.first,
                                   .count = row.count,
                                   .blob = blob,
                                   .data = row.data,
                                   .size = row.size,
                                   .checked = true};
    cache_add(local, frame);
    return MP_OK;
}

enum mp_error local_offset_at(struct local *local, const struct topic *topic, int64_t time, uint64_t *offset,
                              struct fault *fault)
{
    /* Times never fall within a topic, so halving finds the first frame that is late enough. */
    uint64_t low = topic->first, high = topic->end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct store_frame frame;
        enum mp_error error = store_find_frame(local->store, topic->id, middle, &frame, fault);
        if (error == MP_ERR_NOT_FOUND || (!error && frame.first >= high)) {
            high = middle;
            continue;
        }
        if (error)
            return error;
        if (frame.time >= time)
            high = frame.first <= low ? low : (frame.first < middle ? frame.first : middle);
        else
            low = frame.first + frame.count;
    }
    *offset = low < topic->end ? low : topic->end;
    return MP_OK;
}

const char *local_nearest_topic(struct engine *engine, const char *name)
{
    struct local *local = local_of(engine);
    const char *words[1024];
    size_t count = 0, at = 0;
    const struct topic *topic;
    while (count < 1024 && (topic = map_next(&local->topics, &at)))
        words[count++] = topic->name;
    return name_nearest(name, words, count);
}
