#include "queue/local.h"

/*
 * The schedule: publications that wait for their time lie in a table of their own, in the order of their times, and get
 * their offsets when they are due. Memory holds the time of the next one only, and how many messages there are.
 */

enum {
    TURN_ROWS = 512,              /* moved in a turn */
    TURN_LOOKS = 4096,            /* looked at: some find no room and are passed over */
    TURN_BYTES = 4 * 1024 * 1024, /* exceeded by one frame at most */
    FULL_TOPICS = 16,             /* remembered while passing over */
    ROOM_PERIOD = 100 * 1000,     /* microseconds until those that found no room are tried again */
    DAMAGE_PERIOD = 10 * 1000 * 1000
};

static const char count_name[] = "scheduled";

struct moving {
    struct local *local;
    uint64_t after;             /* the row that was looked at last */
    int64_t next;               /* when there is something to do again */
    uint32_t full[FULL_TOPICS]; /* topics without room, the last of them */
    unsigned full_count;
    unsigned rows, looks;
    size_t bytes;
    struct fault *fault;
};

enum mp_error local_schedule_add(struct local *local, const struct topic *topic,
                                 const struct local_frame_origin *origin, const struct engine_publication *publication,
                                 struct fault *fault)
{
    const struct frame *frame = publication->frame;
    struct store_scheduled row = {
        .due = publication->due < STORE_DUE_MAX ? publication->due : STORE_DUE_MAX,
        .topic = topic->id,
        .session = origin->session,
        .request = origin->request,
        .count = frame->count,
        .target = origin->target,
        .time = local->time,
        .data = frame->data,
        .size = frame->size,
    };
    enum mp_error error = local_write(local, fault);
    if (error || (error = store_add_scheduled(local->store, &row, fault)))
        return error;
    local->scheduled += row.count;
    if (row.due < local->schedule_due)
        local->schedule_due = row.due;
    return MP_OK;
}

enum mp_error local_schedule_load(struct local *local, struct fault *fault)
{
    struct store_scheduled row;
    int64_t count = 0;
    local->schedule_due = CLOCK_NEVER;
    local->schedule_after = 0;
    enum mp_error error = store_get_number(local->store, count_name, &count, fault);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    local->scheduled = local->scheduled_saved = (uint64_t)count;
    error = store_find_scheduled(local->store, 0, &row, fault);
    if (!error)
        local->schedule_due = row.due;
    return error == MP_ERR_NOT_FOUND ? MP_OK : error;
}

enum mp_error local_schedule_save(struct local *local, struct fault *fault)
{
    if (local->scheduled == local->scheduled_saved)
        return MP_OK;
    enum mp_error error = store_put_number(local->store, count_name, (int64_t)local->scheduled, fault);
    if (!error)
        local->scheduled_saved = local->scheduled;
    return error;
}

int64_t local_schedule_due(const struct local *local)
{
    return local->schedule_due == CLOCK_NEVER ? 0 : local_time_to_wall(local, local->schedule_due);
}

/* ---- what is due ---------------------------------------------------------------------------------------------- */

static void look_again(struct moving *moving, int64_t time)
{
    if (time < moving->next)
        moving->next = time;
}

static bool is_known_full(const struct moving *moving, uint32_t topic)
{
    unsigned count = moving->full_count < FULL_TOPICS ? moving->full_count : FULL_TOPICS;
    for (unsigned i = 0; i < count; i++)
        if (moving->full[i] == topic)
            return true;
    return false;
}

static bool has_room(struct moving *moving, const struct topic *topic, const struct store_scheduled *row)
{
    struct engine *engine = &moving->local->engine;
    if (!is_known_full(moving, topic->id)) {
        if (engine->operations->room(engine, topic->name, strlen(topic->name), row->count, row->size, 0, NULL) == MP_OK)
            return true;
        moving->full[moving->full_count++ % FULL_TOPICS] = topic->id;
    }
    look_again(moving, moving->local->time + ROOM_PERIOD);
    return false;
}

static enum mp_error take_out(struct moving *moving, const struct store_scheduled *row)
{
    struct local *local = moving->local;
    local->scheduled -= row->count < local->scheduled ? row->count : local->scheduled;
    moving->rows++;
    moving->bytes += row->size;
    enum mp_error error = local_write(local, moving->fault);
    return error ? error : store_delete_scheduled(local->store, row->id, moving->fault);
}

/* Puts the row that was found into TOPIC. One that is damaged stays where it is, and in the way of nothing. */
static enum mp_error move_row(struct moving *moving, struct topic *topic, uint64_t id)
{
    struct local *local = moving->local;
    struct store_scheduled row;
    struct blob *blob;
    struct frame frame;
    struct fault detail = {0};
    enum mp_error error = store_next_scheduled(local->store, id - 1, &row, &blob, &detail);
    if (!error && (frame_open(&frame, row.data, row.size, true, NULL) || frame.count != row.count)) {
        blob_drop(blob);
        error = MP_ERR_DAMAGED;
    }
    if (error == MP_ERR_DAMAGED) {
        look_again(moving, local->time + DAMAGE_PERIOD);
        return MP_OK;
    }
    if (error) {
        if (moving->fault)
            *moving->fault = detail;
        return error;
    }
    struct local_frame_origin origin = {.target = row.target, .dedupe = true};
    if (local->time > row.time)
        origin.request = (uint64_t)(local->time - row.time);
    uint64_t first;
    uint32_t duplicates;
    if (!(error = take_out(moving, &row)))
        error = local_add_frame(local, topic, &origin, &frame, blob, &first, &duplicates, moving->fault);
    blob_drop(blob);
    return error;
}

static enum mp_error move_due(struct moving *moving)
{
    struct local *local = moving->local;
    while (moving->rows < TURN_ROWS && moving->looks < TURN_LOOKS && moving->bytes < TURN_BYTES) {
        struct store_scheduled row;
        enum mp_error error = store_find_scheduled(local->store, moving->after, &row, moving->fault);
        if (error && error != MP_ERR_NOT_FOUND)
            return error;
        if (error || row.due > local->time) {
            if (!error)
                look_again(moving, row.due);
            moving->after = 0; /* those that were passed over come next */
            return MP_OK;
        }
        moving->after = row.id;
        moving->looks++;
        struct topic *topic = map_get(&local->topics_by_id, &row.topic, sizeof row.topic);
        error = MP_OK;
        if (!topic) /* it was deleted, and what was for it with it */
            error = take_out(moving, &row);
        else if (has_room(moving, topic, &row))
            error = move_row(moving, topic, row.id);
        if (error)
            return error;
    }
    moving->next = local->time; /* the rest is for the next turn */
    return MP_OK;
}

enum mp_error local_schedule_tick(struct local *local, struct fault *fault)
{
    struct moving moving = {.local = local, .after = local->schedule_after, .next = CLOCK_NEVER, .fault = fault};
    if (local->schedule_due > local->time)
        return MP_OK;
    enum mp_error error = move_due(&moving);
    if (error)
        return error; /* the turn is undone, and all of this found again by the load */
    local->schedule_after = moving.after;
    local->schedule_due = moving.next;
    return MP_OK;
}
