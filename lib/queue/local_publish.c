#include "queue/local.h"

/* The group that a publication is for; *TARGET 0: everyone. */
static enum mp_error find_target(const struct topic *topic, const struct engine_publication *publication,
                                 uint32_t *target, struct fault *fault)
{
    *target = 0;
    if (publication->target_size == 0)
        return MP_OK;
    for (size_t i = 0; topic && i < topic->groups.count; i++) {
        const struct group *group = topic->groups.items[i];
        if (strlen(group->name) == publication->target_size &&
            memcmp(group->name, publication->target, publication->target_size) == 0) {
            *target = group->id;
            return MP_OK;
        }
    }
    return fault_set(fault, MP_ERR_NOT_FOUND, "topic %.*s has no group %.*s", (int)publication->topic_size,
                     publication->topic, (int)publication->target_size, publication->target);
}

enum mp_error local_check_target(struct engine *engine, const struct engine_publication *publication,
                                 struct fault *fault)
{
    uint32_t target;
    const struct topic *topic = local_topic(local_of(engine), publication->topic, publication->topic_size);
    return find_target(topic, publication, &target, fault);
}

enum mp_error local_add_frame(struct local *local, struct topic *topic, const struct local_frame_origin *origin,
                              const struct frame *frame, struct blob *blob, uint64_t *first, uint32_t *duplicates,
                              struct fault *fault)
{
    *duplicates = 0;
    if (topic->end + frame->count > OFFSET_MAX)
        return fault_set(fault, MP_ERR_FULL, "topic %s has used up its numbers", topic->name);
    struct store_frame row = {
        .topic = topic->id,
        .first = topic->end,
        .count = frame->count,
        .session = origin->session,
        .request = origin->request,
        .time = local->time > topic->last_time ? local->time : topic->last_time,
        .data = frame->data,
        .size = frame->size,
        .target = origin->target,
    };
    enum mp_error error = local_write(local, fault);
    if (!error && origin->dedupe && origin->target == 0 && topic->settings.dedupe_by != DEDUPE_NONE) {
        error = local_dedupe_frame(local, topic, frame, row.time, &row.marks, duplicates, fault);
        row.marks_size = row.marks ? bits_size(frame->count) : 0;
    }
    if (error || (error = store_add_frame(local->store, &row, fault)))
        return error;
    if ((error = local_trace_published(local, &row, frame, *duplicates, fault)))
        return error;
    *first = topic->end;
    topic->end += frame->count;
    topic->last_time = row.time;
    topic->bytes += frame->size;
    meter_published(local->meter, topic->id, frame->count, frame->size);
    local_retain_published(local, topic, frame->size);
    topic->dirty = true;
    struct cached_frame cached = {.topic = topic->id,
                                  .first = row.first,
                                  .count = frame->count,
                                  .blob = blob,
                                  .data = frame->data,
                                  .size = frame->size,
                                  .marks = row.marks,
                                  .target = row.target,
                                  .time = row.time,
                                  .waited = row.session == 0 ? (int64_t)row.request : 0};
    cached.expires = topic->letters ? CLOCK_NEVER : local_frame_expires(frame, cached.time, cached.waited);
    local_cache_add(local, &cached);
    local_expire_added(local, topic, &cached);
    local_mark_topic(local, topic);
    return local_flow_added(local, topic, &row, fault);
}

enum mp_error local_publish(struct engine *engine, const struct engine_publication *publication,
                            const struct engine_origin *origin, uint64_t *first, uint32_t *duplicates,
                            struct fault *fault)
{
    struct local *local = local_of(engine);
    struct topic *topic = local_topic(local, publication->topic, publication->topic_size);
    struct local_frame_origin from = {
        .session = origin->session, .request = (uint64_t)origin->lane << 62 | origin->number, .dedupe = true};
    enum mp_error error = find_target(topic, publication, &from.target, fault);
    if (!error)
        error = local_trace_session(local, origin, fault);
    if (!error && !topic)
        error = local_topic_make(local, publication->topic, publication->topic_size, false, &topic, fault);
    if (error)
        return error;
    if (publication->due > local->time) {
        *first = ENGINE_SCHEDULED;
        *duplicates = 0;
        return local_schedule_add(local, topic, &from, publication, fault);
    }
    return local_add_frame(local, topic, &from, publication->frame, publication->blob, first, duplicates, fault);
}
