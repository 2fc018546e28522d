#include "message/lineage.h"
#include "trace/audit_private.h"

#include <inttypes.h>

/*
 * Events. Those since the snapshot were applied by the examination, which tells what does not fit. Here each is held
 * against what it speaks of, as far as that is there; those before the snapshot, which never change, in steps.
 */
enum { STEP = 4096 };

/* What died in a turn has its letters in the same one: all events of a turn have the same time. */
struct turn {
    int64_t time;
    bool whole; /* its first events are there */
    uint64_t dead;
    uint64_t letters;
    struct audit_place place; /* of the first death */
};

struct walk {
    struct audit *audit;
    uint64_t next;    /* the id that comes */
    uint64_t sampled; /* up to here ids may be missing */
    uint64_t left;    /* rows of this step */
    uint64_t end;     /* ids below */
    bool done;
    int64_t time;
    struct turn turn;
};

static struct audit_place place_of(const struct store_event *event)
{
    bool known = event->topic != 0;
    return (struct audit_place){.table = "events",
                                .key = (int64_t)event->id,
                                .topic = event->topic,
                                .group = event->kind == EVENT_PUBLISHED ? 0 : event->group,
                                .has_offset = known,
                                .offset = event->first};
}

/* ---- a turn --------------------------------------------------------------------------------------------------- */

static void turn_end(struct audit *audit, const struct turn *turn)
{
    if (!turn->whole || turn->dead == turn->letters)
        return;
    struct audit_place place = turn->place;
    if (turn->dead > turn->letters)
        audit_found(audit, AUDIT_MISSING, &place,
                    "%" PRIu64 " messages died at once, and %" PRIu64 " dead letters were stored", turn->dead,
                    turn->letters);
    else
        audit_found(audit, AUDIT_PHANTOM, &place,
                    "%" PRIu64 " dead letters were stored at once, and %" PRIu64 " messages died", turn->letters,
                    turn->dead);
}

static void turn_step(struct walk *walk, const struct store_event *event)
{
    struct turn *turn = &walk->turn;
    if (event->time != turn->time) {
        turn_end(walk->audit, turn);
        *turn = (struct turn){.time = event->time, .whole = turn->time != 0 || event->id == 1};
    }
    if (event->id <= walk->sampled || event->id <= walk->audit->untraced)
        turn->whole = false;
    if (event->kind == EVENT_DEAD) {
        turn->dead += event->count;
        turn->place = place_of(event);
    } else if (event->kind == EVENT_PUBLISHED && event->session == 0 && event->due == 0) {
        turn->letters += event->count; /* nobody's request, and not out of the schedule */
        if (turn->dead == 0)
            turn->place = place_of(event);
    }
}

/* ---- an event ------------------------------------------------------------------------------------------------- */

static bool check_kind(struct audit *audit, const struct store_event *event)
{
    struct audit_place place = place_of(event);
    if (event->kind >= EVENT_LEASED && event->kind <= EVENT_SESSION)
        return true;
    audit_found(audit, AUDIT_MISMATCH, &place, "event %" PRIu64 " is of kind %d, which is none", event->id,
                (int)event->kind);
    return false;
}

static void check_range(struct audit *audit, const struct store_event *event, const struct examined_topic *topic)
{
    struct audit_place place = place_of(event);
    if (event->first > topic->end || event->span > topic->end - event->first)
        audit_found(audit, AUDIT_PHANTOM, &place,
                    "event %" PRIu64 " speaks of offsets up to %" PRIu64 ", and the topic ends at %" PRIu64, event->id,
                    event->first + event->span - 1, topic->end);
    bool fits = event->count <= event->span;
    if (fits && event->mask)
        fits = event->mask_size >= bits_size(event->span) && bits_count(event->mask, 0, event->span) == event->count;
    if (!fits)
        audit_found(audit, AUDIT_MISMATCH, &place, "event %" PRIu64 " counts %u messages, and names others", event->id,
                    event->count);
}

static void check_group(struct audit *audit, const struct store_event *event)
{
    struct audit_place place = place_of(event);
    struct audit_group_row *row = audit_group_row(audit, event->group);
    struct examined_group group;
    if (event->group > examine_groups_made(audit->examination))
        audit_found(audit, AUDIT_PHANTOM, &place, "event %" PRIu64 " speaks of group number %u, which was never made",
                    event->id, event->group);
    if (!row || !examine_group(audit->examination, event->group, &group) || event->kind == EVENT_PUBLISHED)
        return;
    if (group.topic != event->topic)
        audit_found(audit, AUDIT_MISMATCH, &place, "event %" PRIu64 " is of another topic than its group", event->id);
    if (event->id <= audit->snapshot_event && event->id > row->event)
        audit_found(audit, AUDIT_MISMATCH, &place,
                    "the row of the group does not contain event %" PRIu64 ", which is older than the snapshot",
                    event->id);
    if (event->kind == EVENT_GRANTED && event->time > row->moved)
        row->moved = event->time;
}

/* Whether it tells what the row of the frame says. */
static bool tells_the_same(const struct store_event *event, const struct store_frame *row)
{
    return event->count == row->count && event->lease == row->size && event->group == row->target &&
           event->session == row->session && (event->session == 0 || event->request == row->request) &&
           event->time <= row->time && (event->code > 0) == (row->marks_size > 0);
}

static enum mp_error check_published(struct audit *audit, const struct store_event *event,
                                     const struct examined_topic *topic)
{
    struct audit_place place = place_of(event);
    struct store_frame row, oldest;
    struct lineage lineage;
    if (lineage_open(&lineage, event->note, event->note_size, event->count))
        audit_found(audit, AUDIT_MISMATCH, &place, "event %" PRIu64 " does not tell of its messages as it should",
                    event->id);
    enum mp_error error = store_find_frame(audit->store, topic->id, event->first, &row, audit->fault);
    if (!error && row.target == STORE_LOST && row.first <= event->first)
        return MP_OK; /* what it says was there, and is lost: whoever sent it may send it again */
    if (event->id <= audit->snapshot_event)
        audit_request(audit, &place, event->session, event->request);
    if (!error && row.first == event->first) {
        if (!tells_the_same(event, &row))
            audit_found(audit, AUDIT_MISMATCH, &place,
                        "event %" PRIu64 " does not say the same of the messages from offset %" PRIu64
                        " on as the row of their frame",
                        event->id, event->first);
        return MP_OK;
    }
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    error = store_find_frame(audit->store, topic->id, 0, &oldest, audit->fault);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    uint64_t kept = error ? topic->saved_end : oldest.first; /* what lies below may have been deleted */
    if (event->first >= kept && (!error || event->id > audit->snapshot_event))
        audit_found(audit, AUDIT_PHANTOM, &place,
                    "event %" PRIu64 " says that %u messages were stored from offset %" PRIu64
                    " on, and there is no such frame",
                    event->id, event->count, event->first);
    return MP_OK;
}

static enum mp_error check_event(struct walk *walk, const struct store_event *event)
{
    struct audit *audit = walk->audit;
    struct audit_place place = place_of(event);
    struct examined_topic topic;
    audit->report->tables[AUDIT_EVENTS].rows++;
    if (audit->since == 0 || event->time < audit->since)
        audit->since = event->time;
    if (event->time < walk->time)
        audit_found(audit, AUDIT_MISMATCH, &place, "event %" PRIu64 " is older than the one before it", event->id);
    walk->time = event->time;
    if (!check_kind(audit, event))
        return MP_OK;
    turn_step(walk, event);
    if (event->id <= audit->snapshot_event && event->kind != EVENT_PUBLISHED)
        audit_request(audit, &place, event->session, event->request);
    if (event->kind == EVENT_SESSION)
        return MP_OK;
    check_group(audit, event);
    if (event->topic == 0 || event->topic > examine_topics_made(audit->examination))
        audit_found(audit, AUDIT_PHANTOM, &place, "event %" PRIu64 " speaks of topic number %u, which was never made",
                    event->id, event->topic);
    if (!examine_topic(audit->examination, event->topic, &topic))
        return MP_OK;
    check_range(audit, event, &topic);
    if (event->kind != EVENT_PUBLISHED)
        return MP_OK;
    struct audit_topic_row *row = audit_topic_row(audit, topic.id);
    if (row && event->id > audit->snapshot_event)
        row->published += event->count;
    return audit_wants(audit, topic.id) ? check_published(audit, event, &topic) : MP_OK;
}

/* ---- since the snapshot --------------------------------------------------------------------------------------- */

static enum mp_error each_new(void *context, const struct store_event *event)
{
    struct walk *walk = context;
    if (walk->next == 0)
        walk->next = event->id;
    return check_event(walk, event);
}

/* Each publication since the snapshot has its event. */
static enum mp_error each_topic(void *context, const struct examined_topic *topic)
{
    struct audit *audit = context;
    const struct audit_topic_row *row = audit_topic_row(audit, topic->id);
    uint64_t stored = topic->end - topic->saved_end;
    if (row && row->published < stored)
        audit_found(audit, AUDIT_MISSING, &(struct audit_place){.table = "events", .topic = topic->id},
                    "%" PRIu64 " messages were stored since the snapshot, and events tell of %" PRIu64, stored,
                    row->published);
    return MP_OK;
}

enum mp_error audit_new_events(struct audit *audit)
{
    struct walk walk = {.audit = audit, .sampled = audit->sampled};
    enum mp_error error =
        audit_failed(audit, store_each_event(audit->store, audit->snapshot_event, each_new, &walk, audit->fault));
    turn_end(audit, &walk.turn);
    audit->report->events_first = walk.next;
    audit->report->events_last = examine_last_event(audit->examination);
    if (!error && (audit->untraced == 0 || audit->untraced < audit->snapshot_event))
        error = examine_each_topic(audit->examination, each_topic, audit);
    return error;
}

/* ---- before it ------------------------------------------------------------------------------------------------ */

/* The ids from the one that comes up to BEHIND are not there: a relay may have deleted them meanwhile. */
static enum mp_error missing(struct walk *walk, uint64_t behind)
{
    struct audit *audit = walk->audit;
    int64_t first = 1;
    uint64_t from = walk->next > walk->sampled + 1 ? walk->next : walk->sampled + 1;
    enum mp_error error = store_get_number(audit->store, STORE_EVENTS_FIRST, &first, audit->fault);
    if (error && error != MP_ERR_NOT_FOUND)
        return error;
    if ((uint64_t)first > from)
        from = (uint64_t)first;
    if (from + 1 == behind)
        audit_found(audit, AUDIT_MISSING, &(struct audit_place){.table = "events", .key = (int64_t)from},
                    "event %" PRIu64 " is missing", from);
    else if (from < behind)
        audit_found(audit, AUDIT_MISSING, &(struct audit_place){.table = "events", .key = (int64_t)from},
                    "events %" PRIu64 " to %" PRIu64 " are missing", from, behind - 1);
    return MP_OK;
}

static enum mp_error each_old(void *context, const struct store_event *event)
{
    struct walk *walk = context;
    struct audit_report *report = walk->audit->report;
    enum mp_error error = MP_OK;
    walk->done = event->id >= walk->end;
    if (walk->done || walk->left == 0)
        return MP_ERR_STALE; /* ends the step, or all of them */
    walk->left--;
    if (walk->turn.time == 0)
        report->events_first = event->id;
    if (event->id > walk->next)
        error = missing(walk, event->id);
    walk->next = event->id + 1;
    return error ? error : check_event(walk, event);
}

enum mp_error audit_old_events(struct audit *audit)
{
    struct walk walk = {
        .audit = audit, .sampled = audit->sampled, .next = audit->events_first, .end = audit->snapshot_event + 1};
    enum mp_error error;
    if (!audit->examination)
        return MP_OK;
    do {
        walk.left = STEP;
        error = store_each_event(audit->store, walk.next - 1, each_old, &walk, audit->fault);
    } while (error == MP_ERR_STALE && !walk.done && audit_goes_on(audit));
    turn_end(audit, &walk.turn);
    if (error && error != MP_ERR_STALE)
        return audit_failed(audit, error);
    return walk.next < walk.end && audit_goes_on(audit) ? audit_failed(audit, missing(&walk, walk.end)) : MP_OK;
}
