/*
 * Repair: what is damaged in a topic is given up. A frame that cannot be read any more, or is missing, makes way for empty
 * messages for nobody (lost.h): readers pass them, and groups drop them, counted and traced.
 *
 * Each call reads some of the topic's frames, from the disk, and gives up one damaged stretch at most.
 */
#include "queue/local.h"
#include "queue/lost.h"

enum { REPAIR_BYTES = 16 * 1024 * 1024, REPAIR_FRAMES = 1024 };

/* A walk over frames as they are on the disk. */
struct repair {
    struct local *local;
    struct topic *topic;
    uint64_t next; /* what lies below has been looked at */
    int64_t time;  /* of the last sound frame below it */
    struct fault *fault;
};

/* Whether the frame with OFFSET is whole: *END is behind it then. MP_ERR_DAMAGED: it is not, or is missing. */
static enum mp_error look_at(struct repair *repair, uint64_t *end, size_t *size)
{
    struct store_frame row;
    struct blob *blob;
    struct frame frame;
    enum mp_error error =
        store_read_frame(repair->local->store, repair->topic->id, repair->next, &row, &blob, repair->fault);
    if (error)
        return error == MP_ERR_NOT_FOUND ? MP_ERR_DAMAGED : error;
    error = frame_open(&frame, row.data, row.size, true, repair->fault);
    if (error || frame.count != row.count || row.first > repair->next)
        error = MP_ERR_DAMAGED;
    *end = row.first + row.count;
    *size = row.size;
    if (!error)
        repair->time = row.time;
    blob_drop(blob);
    return error;
}

static enum mp_error take_first(void *context, const struct store_frame *row)
{
    struct store_frame *first = context;
    *first = *row;
    return MP_ERR_STALE; /* ends the walk, and no more */
}

/* The first row with an offset from FIRST on and below BELOW, as it says, be it damaged. MP_ERR_NOT_FOUND. */
static enum mp_error row_from(const struct repair *repair, uint64_t first, uint64_t below, struct store_frame *row)
{
    enum mp_error error =
        store_list_frames(repair->local->store, repair->topic->id, first, below, take_first, row, repair->fault);
    return error == MP_ERR_STALE ? MP_OK : error ? error : MP_ERR_NOT_FOUND;
}

static enum mp_error take_last(void *context, const struct store_frame *row)
{
    struct store_frame *last = context;
    *last = *row;
    return MP_OK;
}

/*
 * The row that has OFFSET, or would have it if it were not damaged: a topic can begin in the middle of a frame. One that is
 * missing begins with OFFSET, and has no bytes.
 */
static enum mp_error row_of(const struct repair *repair, uint64_t offset, struct store_frame *row)
{
    struct store *store = repair->local->store;
    uint64_t lowest = offset < FRAME_COUNT_MAX ? 0 : offset - FRAME_COUNT_MAX + 1;
    struct store_frame last = {.first = UINT64_MAX}, sound;
    enum mp_error error =
        store_list_frames(store, repair->topic->id, lowest, offset + 1, take_last, &last, repair->fault);
    if (error)
        return error;
    bool has = last.first <= offset;
    if (has && last.first < offset && last.first + last.count <= offset)
        has = store_find_frame(store, repair->topic->id, last.first, &sound, NULL) == MP_ERR_DAMAGED;
    *row = has ? last : (struct store_frame){.first = offset};
    return MP_OK;
}

/* The row that is damaged, and up to where it goes: to the next one. */
static enum mp_error find_damage(const struct repair *repair, struct store_frame *damaged, uint64_t *end)
{
    uint64_t first = repair->next, top = repair->topic->end;
    struct store_frame next;
    enum mp_error error = row_of(repair, first, damaged);
    if (error)
        return error;
    error = row_from(repair, first + 1, top, &next);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    *end = error ? top : next.first;
    return MP_OK;
}

/*
 * Puts empty messages in the place of DAMAGED, up to END. By what they were known again they are not any more: whoever sends
 * them again does so because they are lost.
 */
static enum mp_error replace(struct repair *repair, const struct store_frame *damaged, uint64_t end)
{
    struct local *local = repair->local;
    struct topic *topic = repair->topic;
    struct frame_builder builder = {0};
    uint64_t bytes = 0;
    enum mp_error error = local_write(local, repair->fault);
    if (!error)
        error = store_delete_frame(local->store, topic->id, damaged->first, repair->fault);
    if (!error)
        error = store_delete_hashes_of(local->store, topic->id, damaged->first, end, repair->fault);
    local_dedupe_forget(local);
    for (uint64_t first = damaged->first; !error && first < end;) {
        uint64_t left = end - first;
        struct store_frame row;
        uint32_t count = left < FRAME_COUNT_MAX ? (uint32_t)left : FRAME_COUNT_MAX;
        error = lost_frame(&builder, topic->id, first, count, repair->time, &row);
        if (!error)
            error = store_add_frame(local->store, &row, repair->fault);
        bytes += row.size;
        first += count;
    }
    frame_builder_free(&builder);
    if (error)
        return error;
    local_flow_replaced(topic, damaged->first, damaged->size, bytes);
    local_cache_clear(local);
    return local_topic_save(local, topic, repair->fault);
}

static enum mp_error give_up(struct repair *repair, struct engine_repair *result)
{
    struct topic *topic = repair->topic;
    struct store_frame damaged;
    uint64_t first = repair->next, end = first, dropped;
    enum mp_error error = find_damage(repair, &damaged, &end);
    if (!error)
        error = replace(repair, &damaged, end);
    for (size_t i = 0; !error && i < topic->groups.count; i++) {
        error = local_drop(repair->local, topic->groups.items[i], first, end, DROP_DAMAGED, &dropped, repair->fault);
        result->dropped += error ? 0 : dropped;
    }
    result->first = first;
    result->count = end - first;
    repair->next = end;
    return error;
}

enum mp_error local_repair_topic(struct engine *engine, const char *name, uint64_t from, struct engine_repair *result,
                                 struct fault *fault)
{
    struct local *local = local_of(engine);
    struct topic *topic = local_topic(local, name, strlen(name));
    *result = (struct engine_repair){0};
    if (!topic)
        return fault_set(fault, MP_ERR_NOT_FOUND, "no topic %s", name);
    struct repair repair = {local, topic, from > topic->first ? from : topic->first, topic->created, fault};
    struct store_frame before;
    if (repair.next > 0 && !store_find_frame(local->store, topic->id, repair.next - 1, &before, NULL) &&
        before.first < repair.next && before.time > repair.time)
        repair.time = before.time < local->time ? before.time : local->time;
    enum mp_error error = MP_OK;
    uint64_t bytes = 0;
    for (unsigned i = 0; !error && i < REPAIR_FRAMES && bytes < REPAIR_BYTES && repair.next < topic->end; i++) {
        uint64_t end;
        size_t size = 0;
        if ((error = look_at(&repair, &end, &size)))
            break;
        repair.next = end;
        bytes += size;
    }
    if (error == MP_ERR_DAMAGED)
        error = give_up(&repair, result);
    result->next = repair.next;
    result->end = topic->end;
    return error;
}
