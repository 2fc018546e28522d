#include "message/letter.h"
#include "trace/audit_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What is in a frame, held against what is known of its messages elsewhere: states of groups, hashes, deaths. */

/* ---- states --------------------------------------------------------------------------------------------------- */

struct comparing {
    struct audit *audit;
    const struct audit_frame *frame;
};

/* Whether a message that is INDEX of the frame can be in STATE for GROUP. */
static bool can_be(const struct store_frame *row, uint32_t index, uint32_t group, enum state state)
{
    if (state == STATE_DUPLICATE)
        return row->marks && row->marks_size >= bits_size(row->count) && bits_get(row->marks, index);
    return state != STATE_FOREIGN || (row->target != 0 && row->target != group);
}

static enum mp_error compare_group(void *context, const struct examined_group *group)
{
    const struct comparing *comparing = context;
    const struct store_frame *row = comparing->frame->row;
    uint64_t offset = row->first, end = row->first + row->count;
    if (group->topic != row->topic || !audit_wants_group(comparing->audit, group->id))
        return MP_OK;
    if (offset < group->states->floor)
        offset = group->states->floor;
    struct state_run run;
    while (offset < end && states_get(group->states, offset, &run)) {
        uint64_t behind = offset + run.count < end ? offset + run.count : end;
        bool look = run.value.state == STATE_DUPLICATE || run.value.state == STATE_FOREIGN;
        for (; look && offset < behind; offset++) {
            if (can_be(row, (uint32_t)(offset - row->first), group->id, run.value.state))
                continue;
            struct audit_place place = *PLACE_FRAME(row->topic, offset);
            place.group = group->id;
            audit_found(comparing->audit, AUDIT_MISMATCH, &place,
                        run.value.state == STATE_DUPLICATE ? "it was passed over as a duplicate, and is none"
                                                           : "it was passed over as for another group, and is for all");
            break;
        }
        offset = behind;
    }
    return MP_OK;
}

void audit_frame_states(struct audit *audit, const struct audit_frame *frame)
{
    struct comparing comparing = {audit, frame};
    if (frame->topic->groups > 0)
        examine_each_group(audit->examination, compare_group, &comparing);
}

/* ---- letters -------------------------------------------------------------------------------------------------- */

/* Whether what a letter says can be: that the message at its offset died in its group. */
static bool has_died(const struct examined_group *group, uint64_t offset)
{
    struct state_run run;
    if (offset >= group->states->frontier)
        return false;
    return offset < group->states->floor || !states_get(group->states, offset, &run) || run.value.state == STATE_DEAD;
}

void audit_letters(struct audit *audit, const struct audit_frame *frame)
{
    struct frame_cursor cursor = frame_cursor(frame->frame);
    struct record record;
    const struct store_frame *row = frame->row;
    for (uint64_t offset = row->first; frame_next(&cursor, &record); offset++) {
        struct letter letter;
        struct examined_group group;
        if (!letter_read(record.attributes, record.attributes_size, &letter) || letter.topic_size == 0 ||
            !examine_find_group(audit->examination, letter.topic, letter.topic_size, letter.group, letter.group_size,
                                &group))
            continue; /* it came from elsewhere, or its group is gone */
        const struct audit_group_row *known = audit_group_row(audit, group.id);
        if (!known || audit->since == 0 || row->time < audit->since || row->time <= known->moved ||
            row->time < group.created)
            continue; /* the group may have been moved, or made again, since */
        if (!has_died(&group, letter.offset))
            audit_found(audit, AUDIT_PHANTOM, PLACE_FRAME(row->topic, offset),
                        "a dead letter of offset %" PRIu64 " of topic %s, which is not dead in group %s", letter.offset,
                        group.topic_name, group.name);
    }
}

/* ---- hashes --------------------------------------------------------------------------------------------------- */

/* Whether what is kept of the messages is what they would be known by; *INDEX: the first of which it is not. */
static bool compare_hashes(const struct store_hashes *row, const struct audit_frame *frame, const uint8_t *hashes,
                           uint32_t *index)
{
    static const uint8_t none[STORE_HASH];
    const uint8_t *marks = frame->row->marks;
    for (uint32_t i = 0; i < row->count; i++) {
        *index = (uint32_t)(row->first - frame->row->first) + i;
        const uint8_t *kept = row->hashes + (size_t)i * STORE_HASH;
        const uint8_t *made = hashes + (size_t)*index * STORE_HASH;
        bool duplicate = marks && bits_get(marks, *index);
        if (memcmp(kept, duplicate ? none : made, STORE_HASH) != 0)
            return false;
    }
    return true;
}

static enum mp_error check_hashes(struct audit *audit, const struct audit_frame *frame, const struct store_hashes *row)
{
    if (!audit->hashes && !(audit->hashes = malloc((size_t)FRAME_COUNT_MAX * STORE_HASH)))
        return fault_memory(audit->fault);
    const enum dedupe_by by[] = {frame->topic->settings->dedupe_by == DEDUPE_KEY ? DEDUPE_KEY : DEDUPE_ID,
                                 frame->topic->settings->dedupe_by == DEDUPE_KEY ? DEDUPE_ID : DEDUPE_KEY};
    uint32_t index = 0, first_wrong = 0;
    uint64_t end = frame->row->first + frame->row->count;
    if (row->first < frame->row->first || row->first + row->count > end) {
        audit_found(audit, AUDIT_MISMATCH, PLACE_FRAME(row->topic, row->first), "its hashes are not of one frame");
        return MP_OK;
    }
    for (unsigned i = 0; i < 2; i++) { /* the setting may be another since */
        examine_hashes(frame->frame, by[i], audit->secret, audit->hashes);
        if (compare_hashes(row, frame, audit->hashes, &index))
            return MP_OK;
        if (i == 0)
            first_wrong = index;
    }
    audit_found(audit, AUDIT_MISMATCH, PLACE_FRAME(row->topic, frame->row->first + first_wrong),
                "the hash by which it would be known again is that of another message");
    return MP_OK;
}

enum mp_error audit_hashes(struct audit *audit, const struct audit_frame *frame)
{
    const struct store_frame *row = frame->row;
    uint64_t end = row->first + row->count;
    enum mp_error error = MP_OK;
    if ((row->marks && row->marks_size < bits_size(row->count)) || row->target == STORE_LOST)
        return MP_OK;
    for (uint64_t offset = row->first; !error && offset < end;) {
        struct store_hashes hashes;
        struct blob *blob;
        error = store_read_hashes(audit->store, row->topic, offset, &hashes, &blob, audit->fault);
        if (error == MP_ERR_NOT_FOUND)
            return MP_OK; /* nobody looked for duplicates, or the window is over */
        if (error == MP_ERR_DAMAGED)
            return MP_OK; /* it is told of by its own walk */
        if (error)
            return error;
        if (!audit->has_secret)
            audit_found(audit, AUDIT_MISSING, &(struct audit_place){.table = "numbers"},
                        "there are hashes, and row " EXAMINE_SECRET " of numbers is missing");
        else
            error = check_hashes(audit, frame, &hashes);
        offset = hashes.first + hashes.count;
        blob_drop(blob);
    }
    return error;
}
