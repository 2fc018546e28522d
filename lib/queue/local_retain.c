#include "queue/local.h"

#include "base/memory.h"

#include <stdlib.h>

/*
 * Retention. What every group has settled is gone: a topic's `first` moves behind it, unless the topic's settings hold
 * it for a while. Without a group all stays that nothing else takes. Events go when they are old or too many.
 *
 * The frames below `first` are deleted when their space is needed, a few a turn, so that SQLite's list of free pages
 * stays short: taking a page from it walks over thousands of entries (measured: 18 % of the relay's time with a list
 * of 4,000 pages), and a file does not shrink anyhow. While messages come and go at one pace, it does not grow either.
 *
 * What a start needs must stay. It finds a topic's end, and what sessions have published, by the frames from the end as
 * of the last snapshot on: so only frames below that are deleted. `first` it finds again by the floors of the groups, or
 * where the first frame is. Numbers of deleted topics are not given out again, so what is in the store under a number
 * that no topic has is left over from a deletion. A kill between any two steps leaves nothing to be mended.
 */

enum {
    FREE_BYTES = 1024 * 1024,             /* kept free for what comes, beside as much as came since the last look */
    TIGHT_BYTES = 96 * 1024 * 1024,       /* on a disk that is nearly full */
    RECLAIM_MOST = 16 * 1024 * 1024,      /* bytes deleted in a turn, exceeded by one frame at most, */
    RECLAIM_ROWS = 256,                   /* and frames */
    RECLAIM_BYTES = 1024 * 1024,          /* published until it is looked again whether there is enough, */
    RECLAIM_TURNS = 16,                   /* or turns */
    LOOKS = 4096,                         /* at topics in a turn */
    WALK_ROWS = 256,                      /* of frames that are held, in a turn */
    EVENTS_PERIOD = 30 * 60 * 1000 * 1000 /* between two looks at their age */
};

/* ---- lists ---------------------------------------------------------------------------------------------------- */

void local_retain_look(struct local *local, struct topic *topic)
{
    if (topic->looking)
        return;
    topic->looking = true;
    topic->look_next = local->look;
    local->look = topic;
}

void local_retain_delete(struct local *local, struct topic *topic)
{
    if (topic->dead)
        return;
    topic->dead = true;
    topic->dead_next = local->dead;
    local->dead = topic;
}

void local_retain_from(struct local *local, struct topic *topic, uint64_t first)
{
    if (first <= topic->first)
        return;
    topic->first = first;
    topic->kept_known = false;
    topic->dirty = true;
    local_retain_delete(local, topic);
}

void local_retain_published(struct local *local, struct topic *topic, size_t size)
{
    topic->kept += topic->kept_known ? size : 0;
    if (topic->settings.retain_bytes > 0)
        local_retain_look(local, topic); /* what is settled makes way for it */
    local->unsaved += size;
    local->reclaim_bytes += size;
}

static enum mp_error gone_add(struct local *local, uint32_t topic)
{
    if (local->gone_count == local->gone_capacity) {
        uint32_t *gone = memory_grow(local->gone, &local->gone_capacity, sizeof *gone, 16);
        if (!gone)
            return MP_ERR_MEMORY;
        local->gone = gone;
    }
    local->gone[local->gone_count++] = topic;
    return MP_OK;
}

enum mp_error local_retain_forget(struct local *local, struct topic *topic)
{
    struct topic **at = &local->look;
    while (topic->looking && *at != topic)
        at = &(*at)->look_next;
    if (topic->looking)
        *at = topic->look_next;
    at = &local->dead;
    while (topic->dead && *at != topic)
        at = &(*at)->dead_next;
    if (topic->dead)
        *at = topic->dead_next;
    return gone_add(local, topic->id);
}

/* ---- where a topic begins ------------------------------------------------------------------------------------- */

/* No group has any use for what lies below. */
static uint64_t useless_below(const struct topic *topic)
{
    uint64_t below = topic->groups.count > 0 ? topic->end : topic->first;
    for (size_t i = 0; i < topic->groups.count; i++) {
        const struct group *group = topic->groups.items[i];
        if (group->states.floor < below)
            below = group->states.floor;
    }
    return below > topic->first ? below : topic->first;
}

/* A walk over settled frames, from the oldest on, for what need not be held any longer. */
struct walk {
    struct topic *topic;
    uint64_t useless; /* what lies below is settled */
    int64_t cut;      /* of what was stored before */
    unsigned rows;
    int64_t oldest; /* when the frame was stored that the walk ended at; 0: there is none */
};

static enum mp_error walk_frame(void *context, const struct store_frame *row)
{
    struct walk *walk = context;
    struct topic *topic = walk->topic;
    const struct topic_settings *settings = &topic->settings;
    uint64_t end = row->first + row->count;
    bool old = settings->retain_age > 0 && row->time < walk->cut;
    bool excess = settings->retain_bytes > 0 && topic->kept > settings->retain_bytes;
    if (end > walk->useless)
        return MP_ERR_STALE; /* ends the walk, and no more */
    walk->oldest = row->time;
    if ((!old && !excess) || ++walk->rows > WALK_ROWS)
        return MP_ERR_STALE;
    walk->oldest = 0;
    topic->kept -= row->size < topic->kept ? row->size : topic->kept;
    topic->first = end;
    topic->dirty = true;
    return MP_OK;
}

/* Lets go what the settings hold no longer: what is too old, or too much. */
static enum mp_error look_held(struct local *local, struct topic *topic, uint64_t useless, struct fault *fault)
{
    int64_t age = topic->settings.retain_age;
    struct walk walk = {.topic = topic, .useless = useless, .cut = local->time - age};
    enum mp_error error = MP_OK;
    if (topic->settings.retain_bytes > 0 && !topic->kept_known) {
        if ((error = store_sum_frames(local->store, topic->id, topic->first, &topic->kept, fault)))
            return error;
        topic->kept_known = true;
    }
    if (age == 0 && topic->kept <= topic->settings.retain_bytes)
        return MP_OK;
    error = store_list_frames(local->store, topic->id, topic->first, useless, walk_frame, &walk, fault);
    if (error && error != MP_ERR_STALE)
        return error;
    int64_t due = local->now.monotonic; /* more of them in the next turn */
    if (walk.rows <= WALK_ROWS)
        due = walk.oldest > 0 && age > 0 ? local_time_to_monotonic(local, walk.oldest) + age + 1 : CLOCK_NEVER;
    if (due < local->age_due)
        local->age_due = due;
    return MP_OK;
}

static enum mp_error look_at(struct local *local, struct topic *topic, struct fault *fault)
{
    uint64_t first = topic->first, useless = useless_below(topic);
    if (useless == first)
        return MP_OK;
    if (topic->settings.retain_age == 0 && topic->settings.retain_bytes == 0) {
        local_retain_from(local, topic, useless);
        return MP_OK;
    }
    enum mp_error error = look_held(local, topic, useless, fault);
    if (topic->first > first)
        local_retain_delete(local, topic);
    return error;
}

static enum mp_error look_at_topics(struct local *local, struct fault *fault)
{
    enum mp_error error = MP_OK;
    for (unsigned i = 0; !error && i < LOOKS && local->look; i++) {
        struct topic *topic = local->look;
        local->look = topic->look_next;
        topic->looking = false;
        error = look_at(local, topic, fault);
    }
    return error;
}

/* What is held for its age has got old. */
static void look_at_ages(struct local *local)
{
    size_t at = 0;
    struct topic *topic;
    local->age_due = CLOCK_NEVER;
    while ((topic = map_next(&local->topics, &at)))
        if (topic->settings.retain_age > 0 || topic->settings.retain_bytes > 0)
            local_retain_look(local, topic);
}

/* ---- deletion ------------------------------------------------------------------------------------------------- */

/* What a turn may still delete. */
struct share {
    uint32_t rows;
    uint64_t bytes;
};

static void take_share(struct share *share, const struct store_deleted *deleted)
{
    share->rows -= deleted->rows;
    share->bytes -= deleted->bytes < share->bytes ? deleted->bytes : share->bytes;
}

static bool is_used_up(const struct share *share)
{
    return share->rows == 0 || share->bytes == 0;
}

/* Deletes frames of TOPIC that nobody needs, also not a start. */
static enum mp_error delete_frames(struct local *local, struct topic *topic, struct share *share, struct fault *fault)
{
    uint64_t limit = topic->first < topic->saved_end ? topic->first : topic->saved_end;
    struct store_deleted deleted;
    if (topic->oldest_end > limit)
        return MP_OK;
    enum mp_error error = local_write(local, fault);
    if (!error)
        error = store_delete_frames(local->store, topic->id, limit, share->rows, share->bytes, &deleted, fault);
    if (!error && deleted.rows > 0) {
        local_flow_deleted(topic, &deleted);
        meter_deleted(local->meter, deleted.rows, deleted.bytes);
        error = local_topic_save(local, topic, fault); /* what is counted in it is what is there */
    }
    if (error)
        return error;
    take_share(share, &deleted);
    topic->oldest_end = 0;
    if (is_used_up(share))
        return MP_OK;
    struct store_frame oldest;
    error = store_find_frame(local->store, topic->id, 0, &oldest, fault);
    if (!error)
        topic->oldest_end = oldest.first + oldest.count;
    return error == MP_ERR_NOT_FOUND ? MP_OK : error;
}

static enum mp_error delete_dead(struct local *local, struct share *share, struct fault *fault)
{
    enum mp_error error = MP_OK;
    while (!error && local->dead && !is_used_up(share)) {
        struct topic *topic = local->dead;
        error = delete_frames(local, topic, share, fault);
        if (is_used_up(share))
            break;
        local->dead = topic->dead_next;
        topic->dead = false;
    }
    return error;
}

/* Deleted topics. Hashes go first: a start finds the topic by either. */
static enum mp_error delete_gone(struct local *local, struct share *share, struct fault *fault)
{
    enum mp_error error = MP_OK;
    while (!error && local->gone_count > 0 && !is_used_up(share)) {
        uint32_t topic = local->gone[local->gone_count - 1], hashes;
        struct store_deleted deleted = {0};
        if ((error = local_write(local, fault)) ||
            (error = store_delete_hashes(local->store, topic, INT64_MAX, share->rows, &hashes, fault)))
            break;
        share->rows -= hashes;
        if (share->rows == 0)
            break;
        error = store_delete_frames(local->store, topic, OFFSET_MAX, share->rows, share->bytes, &deleted, fault);
        take_share(share, &deleted);
        meter_deleted(local->meter, deleted.rows, deleted.bytes);
        if (!error && !is_used_up(share))
            local->gone_count--;
    }
    return error;
}

/* Sees to it that so many BYTES are free to be used again, if something can be deleted. */
static enum mp_error reclaim(struct local *local, uint64_t bytes, struct fault *fault)
{
    uint64_t free_bytes;
    local->reclaim_turns = 0;
    local->reclaim_bytes = 0;
    local->reclaim_due = CLOCK_NEVER;
    enum mp_error error = store_reusable(local->store, &free_bytes, fault);
    if (error || free_bytes >= bytes)
        return error;
    struct share share = {.rows = RECLAIM_ROWS, .bytes = bytes - free_bytes};
    if (share.bytes > RECLAIM_MOST)
        share.bytes = RECLAIM_MOST;
    error = delete_dead(local, &share, fault);
    return error ? error : delete_gone(local, &share, fault);
}

/* What is published next finds free pages, if it is no more than what came last. */
static enum mp_error reclaim_sometimes(struct local *local, struct fault *fault)
{
    if (!local->dead && local->gone_count == 0)
        return MP_OK;
    if (++local->reclaim_turns < RECLAIM_TURNS && local->reclaim_bytes < RECLAIM_BYTES)
        return MP_OK;
    return reclaim(local, FREE_BYTES + local->reclaim_bytes, fault);
}

/* Somebody waits for room on the disk. A snapshot lets everything be deleted that nobody needs. */
static enum mp_error reclaim_now(struct local *local, struct fault *fault)
{
    enum mp_error error = local_write(local, fault);
    local->snapshot_wanted = true;
    return error ? error : reclaim(local, TIGHT_BYTES, fault);
}

/* Asks the file system at most ten times a second. What the file has free counts, if the log can still grow. */
bool local_retain_has_space(struct local *local)
{
    if (local->now.monotonic >= local->space_checked) {
        uint64_t space = store_free_space(local->store), reusable = 0;
        local->space_checked = local->now.monotonic + 100000;
        local->has_space = space >= STORE_RESERVE;
        if (!local->has_space && space >= STORE_RESERVE / 4 && store_reusable(local->store, &reusable, NULL) == MP_OK)
            local->has_space = reusable >= STORE_RESERVE;
        if (!local->has_space && (local->dead || local->look || local->gone_count > 0))
            local->reclaim_due = local->now.monotonic;
    }
    return local->has_space;
}

/* ---- turns ---------------------------------------------------------------------------------------------------- */

enum mp_error local_retain_tick(struct local *local, struct fault *fault)
{
    if (local->age_due <= local->now.monotonic)
        look_at_ages(local);
    enum mp_error error = look_at_topics(local, fault);
    if (!error && local->reclaim_due <= local->now.monotonic)
        error = reclaim_now(local, fault);
    if (error || !local->writing) /* nothing needs space now */
        return error;
    if ((error = reclaim_sometimes(local, fault)))
        return error;
    return local_events_tick(local, fault);
}

int64_t local_retain_due(const struct local *local)
{
    /* Where a topic begins is looked at in the next turn, for whose requests it matters. */
    return local->age_due < local->reclaim_due ? local->age_due : local->reclaim_due;
}

/* Where the first frame is that is left; a purge may have taken more. */
static enum mp_error load_first(struct local *local, struct topic *topic, struct fault *fault)
{
    struct store_frame frame;
    enum mp_error error = store_find_frame(local->store, topic->id, 0, &frame, fault);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    topic->flow.low = error ? topic->end : frame.first;
    local_retain_from(local, topic, topic->flow.low);
    topic->oldest_end = error ? 0 : frame.first + frame.count;
    return look_at(local, topic, fault);
}

enum mp_error local_retain_load(struct local *local, struct fault *fault)
{
    enum mp_error error = MP_OK;
    size_t at = 0;
    struct topic *topic;
    while (!error && (topic = map_next(&local->topics, &at))) {
        bool dirty = topic->dirty;
        local_retain_delete(local, topic);
        error = load_first(local, topic, fault);
        topic->dirty = dirty; /* the next start finds it as well */
    }
    uint32_t number = 0;
    while (!error && !(error = store_messages_topic(local->store, number, &number, fault))) {
        if (!map_get(&local->topics_by_id, &number, sizeof number) && gone_add(local, number))
            return fault_memory(fault);
        number++;
    }
    return error == MP_ERR_NOT_FOUND ? MP_OK : error;
}
