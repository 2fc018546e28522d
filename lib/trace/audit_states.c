#include "trace/audit_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Topics and groups as the examination has them, held against the frames that are there. */

/* Frames are deleted from the oldest on, and only where no group needs them, nor a start. */
static enum mp_error check_edges(struct audit *audit, const struct examined_topic *topic)
{
    const struct audit_topic_row *row = audit_topic_row(audit, topic->id);
    struct store_frame oldest, newest;
    uint64_t first = topic->saved_end, end = topic->saved_end; /* of what is there */
    enum mp_error error = store_find_frame(audit->store, topic->id, 0, &oldest, audit->fault);
    if (!error)
        error = store_last_frame(audit->store, topic->id, &newest, audit->fault);
    if (!error) {
        first = oldest.first;
        end = newest.first + newest.count;
    } else if (error != MP_ERR_NOT_FOUND) {
        return error;
    }
    const struct audit_place *place = PLACE_FRAME(topic->id, topic->needed < first ? topic->needed : end);
    if (first > topic->needed && topic->needed < topic->end)
        audit_found(audit, AUDIT_MISSING, place,
                    "offsets %" PRIu64 " to %" PRIu64 " are missing, and a group has not settled them", topic->needed,
                    first - 1);
    else if (row && first > row->first && row->first < topic->end)
        audit_found(audit, AUDIT_MISSING, PLACE_FRAME(topic->id, row->first),
                    "offsets %" PRIu64 " to %" PRIu64 " are missing", row->first, first - 1);
    if (end < topic->end)
        audit_found(audit, AUDIT_MISSING, PLACE_FRAME(topic->id, end), "offsets %" PRIu64 " to %" PRIu64 " are missing",
                    end, topic->end - 1);
    return MP_OK;
}

static enum mp_error check_bytes(struct audit *audit, const struct examined_topic *topic)
{
    uint64_t all, since;
    enum mp_error error = store_sum_frames(audit->store, topic->id, 0, &all, audit->fault);
    if (!error)
        error = store_sum_frames(audit->store, topic->id, topic->saved_end, &since, audit->fault);
    if (error)
        return error;
    if (all - since != topic->kept_bytes)
        audit_found(audit, all - since < topic->kept_bytes ? AUDIT_MISSING : AUDIT_PHANTOM,
                    &(struct audit_place){.table = "frames", .topic = topic->id},
                    "the frames before offset %" PRIu64 " have %" PRIu64 " bytes where %" PRIu64 " were counted",
                    topic->saved_end, all - since, topic->kept_bytes);
    return MP_OK;
}

static enum mp_error each_topic(void *context, const struct examined_topic *topic)
{
    struct audit *audit = context;
    struct audit_report *report = audit->report;
    if (!audit_wants(audit, topic->id))
        return MP_OK;
    struct audit_topic *grown = realloc(report->topics, (report->topics_count + 1) * sizeof *grown);
    if (!grown)
        return fault_memory(audit->fault);
    report->topics = grown;
    grown[report->topics_count++] =
        (struct audit_topic){.name = topic->name, .letters = topic->letters, .first = topic->first, .end = topic->end};
    enum mp_error error = audit_failed(audit, check_edges(audit, topic));
    return error ? error : audit_failed(audit, check_bytes(audit, topic));
}

/* Each offset from where the group begins to the topic's end is in one state, so the states add up to that. */
static void check_group(struct audit *audit, const struct examined_group *group, const struct audit_group *counted)
{
    const struct states *states = group->states;
    const struct audit_place place = {.table = "groups",
                                      .key = group->id,
                                      .topic = group->topic,
                                      .group = group->id,
                                      .has_offset = true,
                                      .offset = states->floor};
    uint64_t sum = 0, span = counted->end - counted->first;
    for (unsigned state = 0; state < STATE_COUNT; state++)
        sum += counted->counts[state];
    if (sum < span)
        audit_found(audit, AUDIT_MISSING, &place, "%" PRIu64 " of %" PRIu64 " messages are in no state", span - sum,
                    span);
    else if (sum > span)
        audit_found(audit, AUDIT_DOUBLE, &place, "%" PRIu64 " messages are in more states than one", sum - span);
    if (counted->counts[STATE_DEAD] > group->dead)
        audit_found(audit, AUDIT_MISMATCH, &place, "%" PRIu64 " messages are dead where %" PRIu64 " died",
                    counted->counts[STATE_DEAD], group->dead);
}

static enum mp_error each_group(void *context, const struct examined_group *group)
{
    struct audit *audit = context;
    struct audit_report *report = audit->report;
    const struct states *states = group->states;
    if (!audit_wants_group(audit, group->id))
        return MP_OK;
    struct audit_group *grown = realloc(report->groups, (report->groups_count + 1) * sizeof *grown);
    if (!grown)
        return fault_memory(audit->fault);
    report->groups = grown;
    struct audit_group *counted = &grown[report->groups_count++];
    *counted = (struct audit_group){.topic = group->topic_name,
                                    .group = group->name,
                                    .pattern = group->matches ? group->matches : "",
                                    .first = group->start,
                                    .end = group->topic_end};
    for (unsigned state = 0; state < STATE_COUNT; state++)
        counted->counts[state] = states->counts[state] + states->totals[state];
    if (group->topic_end > states->frontier)
        counted->counts[STATE_WAITING] += group->topic_end - states->frontier;
    check_group(audit, group, counted);
    return MP_OK;
}

/* A pattern's group is there in each topic that it matches, but for those that came to hold dead letters. */
struct matching {
    struct audit *audit;
    const struct store_pattern *row;
};

static enum mp_error each_matching(void *context, const struct examined_topic *topic)
{
    const struct matching *matching = context;
    const struct store_pattern *row = matching->row;
    struct examined_group group;
    if (topic->letters || !name_matches(row->pattern, topic->name))
        return MP_OK;
    if (!examine_find_group_of(matching->audit->examination, topic->id, row->group, row->id, &group))
        audit_found(matching->audit, AUDIT_MISSING, &(struct audit_place){.table = "groups", .topic = topic->id},
                    "group %s of pattern %s is missing in topic %s", row->group, row->pattern, topic->name);
    return MP_OK;
}

static enum mp_error each_pattern(void *context, const struct store_pattern *row)
{
    struct matching matching = {context, row};
    return examine_each_topic(matching.audit->examination, each_matching, &matching);
}

enum mp_error audit_states(struct audit *audit)
{
    enum mp_error error = examine_each_topic(audit->examination, each_topic, audit);
    if (!error)
        error = examine_each_group(audit->examination, each_group, audit);
    if (!error)
        error = audit_failed(audit, store_each_pattern(audit->store, each_pattern, audit, audit->fault));
    return error;
}
