#include "queue/local.h"

#include "message/lineage.h"

/*
 * What is written for traces alone: who published what, and what it was made of. Nothing of it is needed to go on after a
 * start. All else that a trace shows are the events by which the states of groups change.
 */

enum mp_error local_trace_save(struct local *local, struct fault *fault)
{
    int64_t said = 0, says = 1;
    enum mp_error error = store_get_number(local->store, STORE_UNTRACED, &said, fault);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    if (!local->settings.untraced)
        says = said == 1 ? -(int64_t)local->last_event : said;
    return said == says ? MP_OK : store_put_number(local->store, STORE_UNTRACED, says, fault);
}

enum mp_error local_trace_session(struct local *local, const struct engine_origin *origin, struct fault *fault)
{
    if (!origin->name || *origin->named || local->settings.untraced)
        return MP_OK;
    struct store_event event = {.kind = EVENT_SESSION,
                                .session = origin->session,
                                .code = -1,
                                .note = (const uint8_t *)origin->name,
                                .note_size = strlen(origin->name)};
    enum mp_error error = local_events_add(local, &event, fault);
    if (!error)
        *origin->named = true;
    return error;
}

enum mp_error local_trace_published(struct local *local, const struct store_frame *row, const struct frame *frame,
                                    uint32_t duplicates, struct fault *fault)
{
    if (local->settings.untraced)
        return MP_OK;
    local->lineage.size = 0;
    if (lineage_encode(frame, row->session, &local->lineage))
        return fault_memory(fault);
    struct store_event event = {.kind = EVENT_PUBLISHED,
                                .topic = row->topic,
                                .group = row->target,
                                .session = row->session,
                                .request = row->session ? row->request : 0,
                                .first = row->first,
                                .count = row->count,
                                .due = row->session == 0 && row->request > 0 ? row->time - (int64_t)row->request : 0,
                                .lease = row->size,
                                .code = (int32_t)duplicates,
                                .note = local->lineage.data,
                                .note_size = local->lineage.size};
    return local_events_add(local, &event, fault);
}
