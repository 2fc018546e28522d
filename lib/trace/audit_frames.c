#include "trace/audit_private.h"

#include <inttypes.h>

/*
 * Frames: each is read with its bytes, in a look of its own. They never change, and the relay deletes the oldest ones
 * first: so what is not there any more and has nothing before it may have gone meanwhile.
 */
enum { STEP = 256 };

struct walk {
    struct audit *audit;
    struct examined_topic topic;
    struct audit_topic *counted;
    uint64_t next; /* the offset that comes */
    int64_t time;
    uint64_t firsts[STEP];
    unsigned count;
};

static enum mp_error each_listed(void *context, const struct store_frame *row)
{
    struct walk *walk = context;
    if (walk->count == STEP)
        return MP_ERR_STALE;
    walk->firsts[walk->count++] = row->first;
    return MP_OK;
}

/* Whether frames before OFFSET have been deleted by now: there is none. */
static bool is_deleted(struct audit *audit, uint32_t topic, uint64_t offset)
{
    struct store_frame oldest;
    enum mp_error error = store_find_frame(audit->store, topic, 0, &oldest, NULL);
    return error == MP_ERR_NOT_FOUND || (!error && oldest.first >= offset);
}

static void check_place(struct walk *walk, uint64_t first)
{
    struct audit *audit = walk->audit;
    uint32_t topic = walk->topic.id;
    if (first < walk->next)
        audit_found(audit, AUDIT_DOUBLE, PLACE_FRAME(topic, first),
                    "offsets %" PRIu64 " to %" PRIu64 " are there twice", first, walk->next - 1);
    else if (first > walk->next && !is_deleted(audit, topic, first))
        audit_found(audit, AUDIT_MISSING, PLACE_FRAME(topic, walk->next),
                    "offsets %" PRIu64 " to %" PRIu64 " are missing", walk->next, first - 1);
}

static void check_row(struct walk *walk, const struct store_frame *row)
{
    struct audit *audit = walk->audit;
    const struct audit_place *place = PLACE_FRAME(row->topic, row->first);
    if (row->time < walk->time)
        audit_found(audit, AUDIT_MISMATCH, place, "its time is before that of the frame before it");
    walk->time = row->time;
    if (row->marks && row->marks_size < bits_size(row->count))
        audit_found(audit, AUDIT_MISMATCH, place, "it does not say of each message whether it is a duplicate");
    if (row->target != STORE_LOST && row->target > examine_groups_made(audit->examination))
        audit_found(audit, AUDIT_PHANTOM, place, "it is for group number %u, which was never made", row->target);
    if (row->first < walk->topic.saved_end)
        audit_request(audit, place, row->session, row->session ? row->request : 0);
}

static enum mp_error check_bytes(struct walk *walk, const struct store_frame *row)
{
    struct audit *audit = walk->audit;
    const struct audit_place *place = PLACE_FRAME(row->topic, row->first);
    struct fault detail = {0};
    struct frame frame;
    enum mp_error error = frame_open(&frame, row->data, row->size, true, &detail);
    if (error == MP_ERR_MEMORY)
        return fault_memory(audit->fault);
    if (error || frame.count != row->count) {
        audit->report->tables[AUDIT_FRAMES].damaged++;
        audit_found(audit, AUDIT_DAMAGED, place, "the frame of row %" PRId64 " of frames is damaged: %s", place->key,
                    error ? fault_text(&detail) : "it has another number of messages");
        return MP_OK;
    }
    const struct audit_frame whole = {.topic = &walk->topic, .row = row, .frame = &frame};
    audit_frame_states(audit, &whole);
    if (walk->topic.letters && row->session == 0)
        audit_letters(audit, &whole);
    return audit_hashes(audit, &whole);
}

static enum mp_error look_at(struct walk *walk, uint64_t first)
{
    struct audit *audit = walk->audit;
    struct store_frame row;
    struct blob *blob;
    struct fault detail = {0};
    enum mp_error error = store_read_frame(audit->store, walk->topic.id, first, &row, &blob, &detail);
    if (error == MP_ERR_NOT_FOUND || (!error && row.first != first)) {
        if (!error)
            blob_drop(blob);
        return MP_OK; /* it was deleted meanwhile */
    }
    audit->report->tables[AUDIT_FRAMES].rows++;
    if (error == MP_ERR_DAMAGED) {
        const struct audit_place *place = PLACE_FRAME(walk->topic.id, first);
        audit->report->tables[AUDIT_FRAMES].damaged++;
        audit_found(audit, AUDIT_DAMAGED, place, "row %" PRId64 " of frames is damaged: its checksum does not fit",
                    place->key);
        walk->next = 0; /* not known */
        return MP_OK;
    }
    if (error) {
        if (audit->fault)
            *audit->fault = detail;
        return error;
    }
    if (walk->next > 0 || walk->counted->frames == 0)
        check_place(walk, first);
    walk->next = row.first + row.count;
    walk->counted->frames++;
    walk->counted->bytes += row.size;
    check_row(walk, &row);
    error = check_bytes(walk, &row);
    blob_drop(blob);
    return error;
}

static enum mp_error look_at_all(struct walk *walk)
{
    struct audit *audit = walk->audit;
    uint64_t from = 0;
    enum mp_error error;
    do {
        walk->count = 0;
        error = store_list_frames(audit->store, walk->topic.id, from, walk->topic.end, each_listed, walk, audit->fault);
        if (error && error != MP_ERR_STALE)
            return error;
        error = MP_OK;
        for (unsigned i = 0; !error && i < walk->count && audit_goes_on(audit); i++)
            error = look_at(walk, walk->firsts[i]);
        from = walk->count > 0 ? walk->firsts[walk->count - 1] + 1 : walk->topic.end;
    } while (!error && walk->count == STEP && audit_goes_on(audit));
    return error;
}

static enum mp_error each_hashes(void *context, const struct store_hashes *row)
{
    (void)row;
    return audit_goes_on(context) ? MP_OK : MP_ERR_INTERRUPTED; /* its checksum was looked at */
}

/* Topics that have something, whether they have a row or not: those that were deleted go bit by bit. */
static enum mp_error left_over(struct audit *audit)
{
    uint32_t topic = 0;
    enum mp_error error;
    while (!(error = store_messages_topic(audit->store, topic, &topic, audit->fault)) && audit_goes_on(audit)) {
        struct examined_topic known;
        bool is_there = examine_topic(audit->examination, topic, &known);
        if (!is_there && !audit_topic_made(audit, topic))
            audit_found(audit, AUDIT_PHANTOM, PLACE_FRAME(topic, (uint64_t)0),
                        "there are messages of topic number %u, which was never made", topic);
        if (audit_wants(audit, topic))
            error = audit_failed(audit,
                                 store_each_hashes(audit->store, topic, INT64_MIN, each_hashes, audit, audit->fault));
        if (error)
            return error;
        topic++;
    }
    return error == MP_ERR_NOT_FOUND ? MP_OK : error;
}

static enum mp_error each_topic(void *context, const struct examined_topic *topic)
{
    struct audit *audit = context;
    struct audit_report *report = audit->report;
    struct walk walk = {.audit = audit, .topic = *topic};
    for (size_t i = 0; i < report->topics_count; i++)
        if (report->topics[i].name == topic->name)
            walk.counted = &report->topics[i];
    if (!walk.counted || !audit_goes_on(audit))
        return MP_OK;
    struct store_frame oldest; /* where the walk begins: what lies before it was looked at while the store was held */
    enum mp_error error = store_find_frame(audit->store, topic->id, 0, &oldest, audit->fault);
    if (error)
        return error == MP_ERR_NOT_FOUND ? MP_OK : audit_failed(audit, error);
    walk.next = oldest.first;
    return audit_failed(audit, look_at_all(&walk));
}

enum mp_error audit_frames(struct audit *audit)
{
    if (!audit->examination)
        return MP_OK;
    enum mp_error error = examine_each_topic(audit->examination, each_topic, audit);
    return error ? error : audit_failed(audit, left_over(audit));
}
