#include "queue/local.h"

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

static bool is_inside(const struct blob *blob, const uint8_t *at)
{
    return !at || (at >= blob->data && at < blob->data + blob->size);
}

/* Gives FRAME a blob of its own, with its marks behind its bytes. False: no memory. */
static bool copy_bytes(struct cached_frame *frame)
{
    size_t marks = frame->marks ? ((size_t)frame->count + 7) / 8 : 0;
    uint8_t *bytes;
    if (!(frame->blob = blob_make(frame->size + marks, &bytes)))
        return false;
    frame->data = memcpy(bytes, frame->data, frame->size);
    if (marks > 0)
        frame->marks = memcpy(bytes + frame->size, frame->marks, marks);
    return true;
}

/*
 * First in, first out: what was published last is what consumers that keep up ask for. Bytes that came in a request are
 * copied (16 GB/s): the request may be far longer than the frame, and what it occupies counts against what the server
 * may receive, which would stop for good when the cache, or consumers that stopped to read, hold on to all of it.
 */
void local_cache_add(struct local *local, const struct cached_frame *original)
{
    if (original->size > local->settings.cache / 4)
        return;
    struct cached_frame own = *original, *frame = &own;
    if (!original->blob->release && is_inside(original->blob, original->marks))
        blob_hold(own.blob);
    else if (!copy_bytes(&own))
        return; /* it can be read from the store */
    struct cached_frame *slot = &local->cache[local->cache_next % CACHE_SLOTS];
    cache_evict(local, slot);
    for (unsigned i = 1; i < CACHE_SLOTS && local->cache_bytes + frame->size > local->settings.cache; i++)
        cache_evict(local, &local->cache[(local->cache_next + i) % CACHE_SLOTS]);
    *slot = *frame;
    local->cache_bytes += frame->size;
    local->cache_next++;
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
                                   .marks = row.marks,
                                   .target = row.target,
                                   .time = row.time,
                                   .waited = row.session == 0 ? (int64_t)row.request : 0};
    frame->expires = topic->letters ? CLOCK_NEVER : local_frame_expires(&opened, frame->time, frame->waited);
    local_cache_add(local, frame);
    return MP_OK;
}
