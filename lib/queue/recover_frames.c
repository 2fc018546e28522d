/* The frames of a recovery: which of them belong into a topic, and what stands where there is none. */
#include "queue/recover_private.h"

#include "base/memory.h"
#include "queue/local.h"
#include "queue/lost.h"

#include <stdlib.h>
#include <string.h>

/* ---- finding ---------------------------------------------------------------------------------------------------- */

static enum mp_error find_frame(void *context, const struct salvage_row *row)
{
    struct recovery *recovery = context;
    const struct store_frame *frame = &row->of.frame;
    enum mp_error error = MP_OK;
    struct recovered_topic *topic = recover_topic(recovery, frame->topic, &error);
    if (!topic || frame->count == 0 || frame->count > FRAME_COUNT_MAX)
        return error;
    if (topic->frames_count == topic->frames_capacity) {
        struct recovered_frame *frames = memory_grow(topic->frames, &topic->frames_capacity, sizeof *frames, 64);
        if (!frames)
            return MP_ERR_MEMORY;
        topic->frames = frames;
    }
    topic->frames[topic->frames_count++] = (struct recovered_frame){
        .first = frame->first, .size = frame->size, .handle = row->handle, .count = frame->count, .rank = row->rank};
    if (row->rank >= SALVAGE_EARLIER && frame->time > recovery->latest)
        recovery->latest = frame->time;
    return MP_OK;
}

static uint64_t end_of(const struct recovered_frame *frame)
{
    return frame->first + frame->count;
}

/* The end of what is taken of TOPIC's frames before number AT; 0: nothing. */
static uint64_t taken_before(const struct recovered_topic *topic, size_t at)
{
    while (at-- > 0)
        if (topic->frames[at].taken)
            return end_of(&topic->frames[at]);
    return 0;
}

/* The next one that is taken, from number AT on; frames_count: none. */
static size_t taken_from(const struct recovered_topic *topic, size_t at)
{
    while (at < topic->frames_count && !topic->frames[at].taken)
        at++;
    return at;
}

/* Where frame number AT begins; UINT64_MAX: there is none. */
static uint64_t first_of(const struct recovered_topic *topic, size_t at)
{
    return at < topic->frames_count ? topic->frames[at].first : UINT64_MAX;
}

/* Takes those of RANK that overlap none that is taken, and are messages that there were. */
static void take_rank(struct recovered_topic *topic, enum salvage_rank rank)
{
    uint64_t before = 0;
    size_t ahead = 0; /* the next one that is taken */
    for (size_t i = 0; i < topic->frames_count; i++) {
        struct recovered_frame *frame = &topic->frames[i];
        if (ahead <= i)
            ahead = taken_from(topic, i + 1);
        if (frame->taken)
            before = end_of(frame);
        if (frame->taken || frame->rank != rank || frame->first < before)
            continue;
        uint64_t next = first_of(topic, ahead), end = end_of(frame);
        bool fits = end <= next;
        if (rank < SALVAGE_LIVE) /* what was deleted may lie about, too */
            fits &= end > topic->first;
        if (rank == SALVAGE_FREE || rank == SALVAGE_HURT)
            fits &= end <= topic->end || next != UINT64_MAX;
        if (rank == SALVAGE_HURT) /* its place may be another one: it has to join on to something */
            fits &= frame->first == before || end == next || end == topic->end || frame->first == topic->first;
        if (rank == SALVAGE_STALE)
            fits &= next != UINT64_MAX || frame->first <= (before > topic->end ? before : topic->end);
        if (!fits)
            continue;
        frame->taken = true;
        before = end;
    }
}

static void choose_frames(struct recovered_topic *topic)
{
    static const enum salvage_rank ranks[] = {SALVAGE_LIVE,  SALVAGE_LOOSE, SALVAGE_EARLIER,
                                              SALVAGE_STALE, SALVAGE_FREE,  SALVAGE_HURT};
    if (topic->first == UINT64_MAX) { /* the row of the topic is lost */
        topic->first = topic->needed;
        for (size_t i = 0; i < topic->frames_count; i++)
            if (topic->frames[i].rank >= SALVAGE_EARLIER && topic->frames[i].first < topic->first)
                topic->first = topic->frames[i].first;
        if (topic->first == UINT64_MAX)
            topic->first = topic->end;
        topic->saved_end = topic->first;
    }
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        take_rank(topic, ranks[i]);
        uint64_t end = taken_before(topic, topic->frames_count);
        if (end > topic->end)
            topic->end = end;
    }
}

/* The first frame of TOPIC that begins with FIRST or behind it. */
static size_t frame_from(const struct recovered_topic *topic, uint64_t first)
{
    size_t low = 0, high = topic->frames_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (topic->frames[middle].first < first)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Of a frame whose row is damaged the event of its publication says who sent it and when. */
static enum mp_error find_origin(struct recovered_topic *topic, const struct store_event *event)
{
    size_t low = frame_from(topic, event->first);
    struct recovered_frame *frame = &topic->frames[low];
    if (low == topic->frames_count || frame->first != event->first || frame->rank != SALVAGE_HURT || frame->origin ||
        frame->count != event->count || frame->size != event->lease)
        return MP_OK;
    if (!(frame->origin = malloc(sizeof *frame->origin)))
        return MP_ERR_MEMORY;
    *frame->origin = (struct recovered_origin){event->session, event->request, event->time, event->group};
    return MP_OK;
}

/* What events speak of was there. */
static enum mp_error find_end(void *context, const struct salvage_row *row)
{
    struct recovery *recovery = context;
    const struct store_event *event = &row->of.event;
    struct recovered_topic *topic = map_get(&recovery->topics, &event->topic, sizeof event->topic);
    if (event->time > recovery->latest)
        recovery->latest = event->time;
    if (topic && event->kind != EVENT_SESSION && event->first + event->span > topic->end)
        topic->end = event->first + event->span;
    return topic && event->kind == EVENT_PUBLISHED ? find_origin(topic, event) : MP_OK;
}

enum mp_error recover_find_frames(struct recovery *recovery)
{
    enum mp_error error =
        salvage_each(recovery->salvage, SALVAGE_FRAMES, SALVAGE_HURT, find_frame, recovery, recovery->fault);
    if (!error)
        error = salvage_each(recovery->salvage, SALVAGE_EVENTS, SALVAGE_EARLIER, find_end, recovery, recovery->fault);
    size_t at = 0;
    struct recovered_topic *topic;
    while (!error && (topic = map_next(&recovery->topics, &at)))
        choose_frames(topic);
    return error;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* What is being written of a topic. */
struct writing {
    struct recovery *recovery;
    struct recovered_topic *topic;
    int64_t time;  /* of the frame before: times never fall */
    uint64_t kept; /* bytes of the frames below the end that the topic's row says */
};

static enum mp_error add_frame(struct writing *writing, struct store_frame *frame)
{
    struct recovery *recovery = writing->recovery;
    if (frame->time < writing->time)
        frame->time = writing->time;
    writing->time = frame->time;
    if (frame->first < writing->topic->saved_end)
        writing->kept += frame->size;
    enum mp_error error = store_add_frame(recovery->store, frame, recovery->fault);
    return error ? error : recover_wrote(recovery, frame->size);
}

/* Whether nobody waits for what lies below END: every group has settled it, or it may have been deleted. */
static bool is_settled(const struct recovered_topic *topic, uint64_t end)
{
    return end <= topic->first || (topic->needed != UINT64_MAX && end <= topic->needed);
}

bool recover_is_lost(const struct recovered_topic *topic, uint64_t first, uint32_t count)
{
    for (size_t at = frame_from(topic, first + 1); at-- > 0;)
        if (topic->frames[at].taken)
            return first >= end_of(&topic->frames[at]) && !is_settled(topic, first + count);
    return !is_settled(topic, first + count);
}

/* Empty messages for nobody from FIRST on to END. */
static enum mp_error fill(struct writing *writing, uint64_t first, uint64_t end)
{
    struct frame_builder builder = {0};
    enum mp_error error = MP_OK;
    while (!error && first < end) {
        struct store_frame frame;
        uint32_t count = end - first < FRAME_COUNT_MAX ? (uint32_t)(end - first) : FRAME_COUNT_MAX;
        if (!(error = lost_frame(&builder, writing->topic->id, first, count, writing->time, &frame)))
            error = add_frame(writing, &frame);
        first += count;
    }
    frame_builder_free(&builder);
    return error;
}

static enum mp_error lose(struct writing *writing, uint64_t first, uint64_t end)
{
    const struct recovered_topic *topic = writing->topic;
    bool settled = is_settled(topic, end);
    const struct recover_loss loss = {.topic = topic->name,
                                      .group = "",
                                      .first = first,
                                      .count = end - first,
                                      .settled = settled,
                                      .words = settled ? "these messages are lost; nobody waits for them"
                                                       : "these messages are lost"};
    recover_tell(writing->recovery, &loss);
    writing->recovery->report->lost += end - first;
    writing->recovery->stretches++;
    return fill(writing, first, end);
}

static enum mp_error write_frame(struct writing *writing, struct recovered_frame *found)
{
    struct recovery *recovery = writing->recovery;
    struct salvage_row row;
    if (!salvage_whole(recovery->salvage, found->handle, &row)) {
        found->taken = false;
        return lose(writing, found->first, end_of(found));
    }
    struct store_frame *frame = &row.of.frame;
    if (found->rank == SALVAGE_HURT) { /* the row's columns are not to be believed */
        struct frame opened;
        frame_trust(&opened, frame->data, frame->size);
        if (opened.count != found->count) {
            found->taken = false;
            return lose(writing, found->first, end_of(found));
        }
        const struct recovered_origin none = {.time = writing->time, .target = frame->target};
        const struct recovered_origin *origin = found->origin ? found->origin : &none;
        frame->session = origin->session;
        frame->request = origin->request;
        frame->time = origin->time;
        frame->marks = NULL;
        frame->marks_size = 0;
        frame->target = map_get(&recovery->groups, &origin->target, sizeof origin->target) ? origin->target : 0;
    }
    if (frame->target != STORE_LOST) {
        recovery->report->frames++;
        recovery->report->messages += frame->count;
        recovery->report->bytes += frame->size;
    }
    enum mp_error error = MP_OK;
    if (frame->request >> 62 == 0)
        error = recover_applied(recovery, frame->session, frame->request, frame->first, frame->count);
    return error ? error : add_frame(writing, frame);
}

static enum mp_error write_frames(struct writing *writing)
{
    struct recovered_topic *topic = writing->topic;
    /* What is not deleted yet lies below, without gaps. */
    uint64_t low = first_of(topic, taken_from(topic, 0)), next = low < topic->first ? low : topic->first;
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < topic->frames_count; i++) {
        struct recovered_frame *frame = &topic->frames[i];
        if (!frame->taken)
            continue;
        if (frame->first > next)
            error = lose(writing, next, frame->first);
        if (!error)
            error = write_frame(writing, frame);
        if (end_of(frame) > next)
            next = end_of(frame);
    }
    return error || next >= topic->end ? error : lose(writing, next, topic->end);
}

enum mp_error recover_write_topic(struct recovery *recovery, struct recovered_topic *topic,
                                  const struct store_topic *known)
{
    struct writing writing = {.recovery = recovery, .topic = topic};
    struct store_topic row = {.id = topic->id, .created = recovery->latest};
    uint8_t counters[64];
    if (known)
        row = *known;
    size_t counters_size = row.counters_size <= sizeof counters ? row.counters_size : 0;
    if (counters_size > 0)
        memcpy(counters, row.counters, counters_size);
    /* The row and its texts are gone with the next one that is read. */
    char *settings = row.settings ? strdup(row.settings) : NULL;
    if (row.settings && !settings)
        return MP_ERR_MEMORY;
    enum mp_error error = write_frames(&writing);
    if (counters_size >= COUNTERS_LEAST)
        store_u64(counters + (size_t)COUNTERS_KEPT * 8, writing.kept);
    row.name = topic->name;
    row.first = topic->first;
    row.end = topic->saved_end;
    row.settings = settings;
    row.counters = counters_size > 0 ? counters : NULL;
    row.counters_size = counters_size;
    recovery->report->topics++;
    if (!error)
        error = store_put_topic(recovery->store, &row, recovery->fault);
    free(settings);
    return error;
}
