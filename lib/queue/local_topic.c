#include "queue/local.h"

#include "base/memory.h"

#include <stdlib.h>

enum mp_error members_add(struct member_list *list, void *item)
{
    if (list->count == list->capacity) {
        void **items = memory_grow(list->items, &list->capacity, sizeof *items, 4);
        if (!items)
            return MP_ERR_MEMORY;
        list->items = items;
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
    topic->letters = row->letters;
    settings_topic_default(&topic->settings);
    topic->expire_due = topic->expire_look = CLOCK_NEVER;
    topic->hint.frame = UINT64_MAX;
    enum mp_error error = map_put(&local->topics_by_id, &topic->id, sizeof topic->id, topic);
    if (!error && (error = map_put(&local->topics, topic->name, size, topic)))
        map_remove(&local->topics_by_id, &topic->id, sizeof topic->id);
    if (error) {
        local_topic_free(topic);
        return error;
    }
    if (row->id >= local->next_topic)
        local->next_topic = row->id + 1;
    *result = topic;
    return MP_OK;
}

enum mp_error local_topic_make(struct local *local, const char *name, size_t size, bool letters, struct topic **result,
                               struct fault *fault)
{
    char text[NAME_MAX_BYTES + 1];
    if (local->next_topic >= TOPICS_MAX)
        return fault_set(fault, MP_ERR_FULL, "the relay has %u topics, and can have no more", TOPICS_MAX - 1);
    memcpy(text, name, size);
    text[size] = '\0';
    struct store_topic row = {.id = local->next_topic, .name = text, .created = local->time, .letters = letters};
    enum mp_error error = local_write(local, fault);
    if (!error)
        error = store_put_topic(local->store, &row, fault);
    if (!error && (error = local_topic_add(local, &row, result)) == MP_ERR_MEMORY)
        return fault_memory(fault);
    return error ? error : local_topic_join(local, *result, true, fault);
}

enum mp_error local_room(struct engine *engine, const char *name, size_t size, uint64_t messages, uint64_t bytes,
                         uint64_t session, struct fault *fault)
{
    struct local *local = local_of(engine);
    struct topic *topic = local_topic(local, name, size);
    (void)session;
    if (local->next_topic >= TOPICS_MAX && !topic)
        return fault_set(fault, MP_ERR_FULL, "the relay has %u topics, and can have no more", TOPICS_MAX - 1);
    enum mp_error error = local_accepts(engine, fault);
    if (error)
        return error;
    return topic ? local_flow_room(local, topic, messages, bytes, fault) : MP_OK;
}

uint64_t local_fits(struct engine *engine, const char *name, size_t size, uint64_t messages, uint64_t bytes,
                    bool waiting)
{
    struct local *local = local_of(engine);
    struct topic *topic = local_topic(local, name, size);
    if (!local_retain_has_space(local) || (local->next_topic >= TOPICS_MAX && !topic))
        return 0;
    return topic ? local_flow_fits(local, topic, messages, bytes, waiting) : messages;
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
