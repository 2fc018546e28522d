#include "queue/local_give.h"

bool give_is_full(const struct giving *giving)
{
    const struct engine_deliveries *given = giving->deliveries;
    const struct engine_limits *limits = giving->limits;
    return given->count >= limits->chunks || giving->most == 0 ||
           (given->messages > 0 &&
            ((limits->messages > 0 && given->messages >= limits->messages) || given->bytes >= limits->bytes));
}

/* Messages that may be given beside those that are. */
static uint64_t messages_left(const struct giving *giving)
{
    const struct engine_limits *limits = giving->limits;
    uint64_t left = limits->messages > 0 ? limits->messages - giving->deliveries->messages : UINT64_MAX;
    return left < giving->most ? left : giving->most;
}

static size_t bytes_left(const struct giving *giving)
{
    size_t given = giving->deliveries->bytes, limit = giving->limits->bytes;
    return limit > given ? limit - given : 0;
}

enum mp_error give_open(const struct giving *giving, uint64_t offset, struct cached_frame *cached)
{
    enum mp_error error = local_frame(giving->local, giving->topic, offset, cached, giving->fault);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    if (!error && cached->first <= offset)
        return MP_OK;
    if (!error)
        blob_drop(cached->blob);
    return fault_set(giving->fault, MP_ERR_DAMAGED, "%s: offset %llu of topic %s is missing",
                     store_path(giving->local->store), (unsigned long long)offset, giving->topic->name);
}

/* Adds COUNT messages of SPAN of CACHED from offset FIRST on; takes the reference to BLOB. */
static enum mp_error add(struct giving *giving, const struct cached_frame *cached, uint64_t first, uint32_t count,
                         uint32_t span, const uint8_t *mask, struct blob *blob, const uint8_t *data, size_t size)
{
    struct local *local = giving->local;
    struct engine_delivery delivery = {.topic = giving->topic->id,
                                       .group = giving->group,
                                       .first = first,
                                       .count = count,
                                       .span = span,
                                       .mask = mask,
                                       .attempt = giving->attempt,
                                       .name = giving->topic->name,
                                       .blob = blob,
                                       .data = data,
                                       .size = size};
    giving->most -= count < giving->most ? count : giving->most;
    if (giving->leases && giving->attempt == 1)
        meter_waited(local->meter, giving->group, local->time - cached->time, count);
    return engine_deliveries_add(giving->deliveries, &delivery) ? fault_memory(giving->fault) : MP_OK;
}

/* Puts CURSOR on message INDEX of the frame that begins at offset FIRST, from where the hint was, if that helps. */
static void seek(struct frame_cursor *cursor, uint64_t first, uint32_t index, const struct cut_hint *hint)
{
    if (hint && hint->frame == first && hint->index <= index) {
        cursor->at = hint->at;
        cursor->index = hint->index;
    }
    frame_skip(cursor, index - cursor->index);
}

/* Whether the message at the cursor has room; only the first of all may be over the limit. */
static bool has_room(const struct giving *giving, const struct frame_cursor *cursor, size_t room)
{
    struct frame_cursor look = *cursor;
    struct record record;
    return giving->deliveries->messages == 0 || !frame_next(&look, &record) || look.at - cursor->at <= room;
}

/* Opens CACHED at message INDEX. False: there is no room for it. */
static bool open_at(const struct giving *giving, const struct cached_frame *cached, uint32_t index, struct frame *frame,
                    struct frame_cursor *cursor)
{
    frame_trust(frame, cached->data, cached->size);
    *cursor = frame_cursor(frame);
    seek(cursor, cached->first, index, giving->hint);
    return has_room(giving, cursor, bytes_left(giving));
}

/* The BYTES that were cut of CACHED up to CURSOR, unless ERROR; NULL: no memory. The bytes are taken, or freed. */
static struct blob *take_cut(struct giving *giving, const struct cached_frame *cached,
                             const struct frame_cursor *cursor, enum mp_error error, struct buffer *bytes)
{
    struct blob *blob = error ? NULL : blob_of_buffer(bytes);
    if (!blob)
        buffer_free(bytes);
    else if (giving->hint)
        *giving->hint = (struct cut_hint){cached->first, cursor->index, cursor->at};
    return blob;
}

/* Gives up to COUNT messages of one frame from INDEX on, as a new frame. *GIVEN 0: no room. */
static enum mp_error give_part(struct giving *giving, const struct cached_frame *cached, uint32_t index, uint32_t count,
                               uint32_t *given)
{
    struct frame frame;
    struct frame_cursor cursor;
    struct buffer bytes = {0};
    *given = 0;
    if (!open_at(giving, cached, index, &frame, &cursor))
        return MP_OK;
    enum mp_error error = frame_cut(&cursor, count, bytes_left(giving), &bytes);
    struct blob *blob = take_cut(giving, cached, &cursor, error, &bytes);
    if (!blob)
        return fault_memory(giving->fault);
    *given = cursor.index - index;
    return add(giving, cached, cached->first + index, *given, *given, NULL, blob, blob->data, blob->size);
}

/* Gives COUNT messages in one piece. *GIVEN 0: no room. */
static enum mp_error give_piece(struct giving *giving, const struct cached_frame *cached, uint32_t index,
                                uint32_t count, uint32_t *given)
{
    uint64_t left = messages_left(giving);
    size_t room = bytes_left(giving);
    uint32_t take = count < left ? count : (uint32_t)left;
    bool first = giving->deliveries->messages == 0, whole = index == 0 && take == cached->count;
    *given = 0;
    if (whole && (cached->size <= room || (first && cached->count == 1))) {
        *given = take;
        return add(giving, cached, cached->first, take, take, NULL, blob_hold(cached->blob), cached->data,
                   cached->size);
    }
    /* A small rest of room is no reason to cut a frame in two. */
    if (first || room > (size_t)64 * 1024 || !whole)
        return give_part(giving, cached, index, take, given);
    return MP_OK;
}

static bool may_have_expired(const struct giving *giving, const struct cached_frame *cached)
{
    int64_t ttl = giving->topic->settings.ttl, now = giving->local->time;
    return now >= cached->expires || (ttl > 0 && now - cached->time >= ttl);
}

bool give_is_plain(const struct giving *giving, const struct cached_frame *cached)
{
    return !cached->marks && !may_have_expired(giving, cached) &&
           (cached->target == 0 || cached->target == giving->target);
}

enum mp_error give_range(struct giving *giving, uint64_t first, uint64_t count, uint32_t *given, bool *plain)
{
    enum mp_error error = MP_OK;
    *given = 0;
    *plain = true;
    while (*given < count && !give_is_full(giving)) {
        struct cached_frame cached;
        uint32_t part = 0;
        uint64_t offset = first + *given, left = count - *given;
        if ((error = give_open(giving, offset, &cached)))
            break;
        *plain = give_is_plain(giving, &cached);
        uint32_t index = (uint32_t)(offset - cached.first), there = cached.count - index;
        if (*plain)
            error = give_piece(giving, &cached, index, there < left ? there : (uint32_t)left, &part);
        blob_drop(cached.blob);
        if (error || part == 0)
            break;
        *given += part;
    }
    return error == MP_ERR_DAMAGED && *given > 0 ? MP_OK : error;
}

/* Gathers what MASK says of SPAN messages from INDEX on. *GIVEN 0: no room. *TAKEN: up to the last that was given. */
static enum mp_error give_gathered(struct giving *giving, const struct cached_frame *cached, uint32_t index,
                                   uint32_t span, const uint8_t *mask, uint32_t *taken, uint32_t *given)
{
    struct frame frame;
    struct frame_cursor cursor;
    struct buffer bytes = {0};
    *taken = *given = 0;
    if (!open_at(giving, cached, index, &frame, &cursor))
        return MP_OK;
    enum mp_error error = frame_gather(&cursor, span, mask, bytes_left(giving), &bytes, given);
    size_t size = bytes.size;
    *taken = cursor.index - index;
    /* The mask lies behind the frame's bytes, and ends with the last message. */
    if (!error && !(error = buffer_reserve(&bytes, bits_size(*taken)))) {
        bits_copy(bytes.data + size, mask, 0, *taken);
        bytes.size += bits_size(*taken);
    }
    struct blob *blob = take_cut(giving, cached, &cursor, error, &bytes);
    if (!blob)
        return fault_memory(giving->fault);
    return add(giving, cached, cached->first + index, *given, *taken, *given < *taken ? blob->data + size : NULL, blob,
               blob->data, size);
}

/* The span up to message number COUNT of MASK; *COUNT becomes how many there are. */
static uint32_t span_of(const uint8_t *mask, uint32_t span, uint64_t most, uint32_t *count)
{
    uint32_t at = 0, end = 0;
    *count = 0;
    while (at < span && *count < most) {
        uint32_t length = (uint32_t)bits_run(mask, at, span);
        if (bits_get(mask, at)) {
            if (length > most - *count)
                length = (uint32_t)(most - *count);
            *count += length;
            end = at + length;
        }
        at += length;
    }
    return end;
}

enum mp_error give_set(struct giving *giving, const struct cached_frame *cached, uint32_t index, uint32_t span,
                       const uint8_t *mask, uint32_t *taken, uint32_t *given)
{
    uint8_t shifted[GIVE_MASK];
    uint32_t begin = span > 0 && !bits_get(mask, 0) ? (uint32_t)bits_run(mask, 0, span) : 0, count;
    uint32_t all = (uint32_t)bits_count(mask, begin, span - begin);
    enum mp_error error;
    *taken = span;
    *given = 0;
    if (all == 0)
        return MP_OK;
    if (begin % 8 != 0)
        bits_copy(shifted, mask, begin, span - begin);
    const uint8_t *from = begin % 8 != 0 ? shifted : mask + begin / 8;
    if (!giving->limits->sets)
        span = begin + (uint32_t)bits_run(from, 0, span - begin);
    uint32_t width = span_of(from, span - begin, messages_left(giving), &count), used;
    if (count == width) {
        error = give_piece(giving, cached, index + begin, count, given);
        used = *given;
    } else {
        error = give_gathered(giving, cached, index + begin, width, from, &used, given);
    }
    if (*given < all)
        *taken = used > 0 ? begin + used : 0;
    return error;
}

static bool any(const uint8_t *mask, uint32_t span)
{
    return bits_get(mask, 0) || bits_run(mask, 0, span) < span;
}

/* Moves what is in both from MASK to OTHER. True: there was something. */
static bool take_out(uint8_t *mask, uint8_t *other, uint32_t span)
{
    for (size_t i = 0; i < bits_size(span); i++) {
        other[i] &= mask[i];
        mask[i] &= (uint8_t)~other[i];
    }
    return any(other, span);
}

void give_choose(const struct giving *giving, const struct cached_frame *cached, uint32_t index, uint32_t span,
                 uint8_t *mask, struct give_passed *passed)
{
    passed->foreign = cached->target != 0 && cached->target != giving->target;
    passed->duplicates = passed->expired = false;
    if (passed->foreign)
        return;
    if (cached->marks) {
        bits_copy(passed->duplicate_mask, cached->marks, index, span);
        passed->duplicates = take_out(mask, passed->duplicate_mask, span);
    }
    if (may_have_expired(giving, cached)) {
        memset(passed->expired_mask, 0, bits_size(span));
        passed->expired = local_expired_mask(giving->local, giving->topic, cached, index, span, passed->expired_mask) &&
                          take_out(mask, passed->expired_mask, span);
    }
}
