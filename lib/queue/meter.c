#include "queue/meter.h"

#include "base/map.h"
#include "base/memory.h"

enum { KEEP_NOTES = 1024 }; /* of which the room is kept for the next turn */

enum note_kind { NOTE_PUBLISHED, NOTE_COUNT, NOTE_WAITED, NOTE_WORKED, NOTE_DELETED, NOTE_TOPIC_GONE, NOTE_GROUP_GONE };

struct note {
    enum note_kind kind;
    uint32_t id;
    uint64_t messages; /* or frames */
    int64_t value;     /* bytes, microseconds, or what is counted */
};

struct meter {
    struct map topics, groups; /* by id */
    struct meter_all all;
    struct note *notes; /* of this turn */
    size_t count, capacity;
};

struct meter *meter_new(void)
{
    return memory_allocate(sizeof(struct meter));
}

static void free_all(struct map *map)
{
    size_t at = 0;
    void *value;
    while ((value = map_next(map, &at)))
        memory_release(value);
    map_free(map);
}

void meter_free(struct meter *meter)
{
    if (!meter)
        return;
    free_all(&meter->topics);
    free_all(&meter->groups);
    memory_release(meter->notes);
    memory_release(meter);
}

/* ---- notes ---------------------------------------------------------------------------------------------------- */

static void add(struct meter *meter, enum note_kind kind, uint32_t id, uint64_t messages, int64_t value)
{
    if (!meter)
        return;
    if (meter->count == meter->capacity) {
        struct note *notes = memory_grow(meter->notes, &meter->capacity, sizeof *notes, 64);
        if (!notes)
            return;
        meter->notes = notes;
    }
    meter->notes[meter->count++] = (struct note){kind, id, messages, value};
}

void meter_published(struct meter *meter, uint32_t topic, uint32_t messages, uint64_t bytes)
{
    add(meter, NOTE_PUBLISHED, topic, messages, (int64_t)bytes);
}

void meter_count(struct meter *meter, uint32_t group, enum meter_count what, uint64_t messages)
{
    add(meter, NOTE_COUNT, group, messages, what);
}

void meter_waited(struct meter *meter, uint32_t group, int64_t microseconds, uint64_t messages)
{
    add(meter, NOTE_WAITED, group, messages, microseconds);
}

void meter_worked(struct meter *meter, uint32_t group, int64_t microseconds, uint64_t messages)
{
    add(meter, NOTE_WORKED, group, messages, microseconds);
}

void meter_deleted(struct meter *meter, uint32_t frames, uint64_t bytes)
{
    add(meter, NOTE_DELETED, 0, frames, (int64_t)bytes);
}

void meter_topic_gone(struct meter *meter, uint32_t topic)
{
    add(meter, NOTE_TOPIC_GONE, topic, 0, 0);
}

void meter_group_gone(struct meter *meter, uint32_t group)
{
    add(meter, NOTE_GROUP_GONE, group, 0, 0);
}

/* ---- what they come to ---------------------------------------------------------------------------------------- */

static struct meter_topic *topic_of(struct meter *meter, uint32_t id)
{
    return map_make(&meter->topics, &id, sizeof id, sizeof(struct meter_topic));
}

static struct meter_group *group_of(struct meter *meter, uint32_t id)
{
    return map_make(&meter->groups, &id, sizeof id, sizeof(struct meter_group));
}

static void take_published(struct meter *meter, const struct note *note)
{
    struct meter_topic *topic = topic_of(meter, note->id);
    if (!topic)
        return;
    topic->messages += note->messages;
    topic->frames++;
    topic->bytes += (uint64_t)note->value;
}

static void take_of_group(struct meter *meter, const struct note *note)
{
    struct meter_group *group = group_of(meter, note->id);
    if (!group)
        return;
    if (note->kind == NOTE_COUNT)
        group->counts[note->value] += note->messages;
    else
        buckets_add(note->kind == NOTE_WAITED ? &group->waiting : &group->working, buckets_wait, note->value,
                    note->messages);
}

static void take(struct meter *meter, const struct note *note)
{
    switch (note->kind) {
    case NOTE_PUBLISHED:
        take_published(meter, note);
        break;
    case NOTE_COUNT:
    case NOTE_WAITED:
    case NOTE_WORKED:
        take_of_group(meter, note);
        break;
    case NOTE_DELETED:
        meter->all.deleted_frames += note->messages;
        meter->all.deleted_bytes += (uint64_t)note->value;
        break;
    case NOTE_TOPIC_GONE:
        memory_release(map_remove(&meter->topics, &note->id, sizeof note->id));
        break;
    case NOTE_GROUP_GONE:
        memory_release(map_remove(&meter->groups, &note->id, sizeof note->id));
        break;
    }
}

void meter_undo(struct meter *meter)
{
    if (!meter)
        return;
    meter->count = 0;
    if (meter->capacity > KEEP_NOTES) {
        memory_release(meter->notes);
        meter->notes = NULL;
        meter->capacity = 0;
    }
}

void meter_commit(struct meter *meter)
{
    if (!meter)
        return;
    for (size_t i = 0; i < meter->count; i++)
        take(meter, &meter->notes[i]);
    meter_undo(meter);
}

const struct meter_topic *meter_topic(const struct meter *meter, uint32_t topic)
{
    return meter ? map_get(&meter->topics, &topic, sizeof topic) : NULL;
}

const struct meter_group *meter_group(const struct meter *meter, uint32_t group)
{
    return meter ? map_get(&meter->groups, &group, sizeof group) : NULL;
}

const struct meter_all *meter_all(const struct meter *meter)
{
    static const struct meter_all none;
    return meter ? &meter->all : &none;
}
