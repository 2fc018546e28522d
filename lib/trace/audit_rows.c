#include "trace/audit_private.h"

#include <stdlib.h>
#include <string.h>

/* The tables of which each row is looked at while the store is held; what was read is kept for the others. */

static enum mp_error each_digest(void *context, const struct store_digest *digest)
{
    struct audit *audit = context;
    struct audit_place place = {.table = digest->table};
    for (unsigned i = 0; i < AUDIT_TABLES; i++)
        if (strcmp(audit->report->tables[i].name, digest->table) == 0)
            audit->report->tables[i].rows = digest->rows;
    if (!digest->known)
        audit_found(audit, AUDIT_MISSING, &(struct audit_place){.table = "numbers"},
                    "row rows_%s of numbers is missing: it tells what all rows of %s add up to", digest->table,
                    digest->table);
    else if (!digest->fits && digest->rows < digest->rows_written)
        audit_found(audit, AUDIT_MISSING, &place, "table %s has %u rows where %u were written", digest->table,
                    digest->rows, digest->rows_written);
    else if (!digest->fits && digest->rows > digest->rows_written)
        audit_found(audit, AUDIT_DOUBLE, &place, "table %s has %u rows where only %u were written", digest->table,
                    digest->rows, digest->rows_written);
    else if (!digest->fits)
        audit_found(audit, AUDIT_MISMATCH, &place, "a row of %s is not the one that was written last", digest->table);
    return MP_OK;
}

static enum mp_error each_number(void *context, const char *name, int64_t value)
{
    struct audit *audit = context;
    if (strcmp(name, STORE_EVENTS_FIRST) == 0)
        audit->events_first = (uint64_t)value;
    else if (strcmp(name, "snapshot_event") == 0)
        audit->snapshot_event = (uint64_t)value;
    else if (strcmp(name, "scheduled") == 0)
        audit->scheduled = (uint64_t)value;
    else if (strcmp(name, "sampled_event") == 0)
        audit->sampled = (uint64_t)value;
    else if (strcmp(name, "event_bytes") == 0)
        audit->event_bytes = (uint64_t)value;
    else if (strcmp(name, STORE_UNTRACED) == 0)
        audit->untraced = value > 0 ? UINT64_MAX : (uint64_t)-value;
    else if (strcmp(name, EXAMINE_SECRET) == 0) {
        audit->secret = (uint64_t)value;
        audit->has_secret = true;
    }
    return MP_OK;
}

static enum mp_error each_session(void *context, const struct store_session *row)
{
    struct audit *audit = context;
    if (!audit_room((void **)&audit->sessions, audit->sessions_count, &audit->sessions_room, sizeof *audit->sessions))
        return fault_memory(audit->fault);
    struct audit_session *session = &audit->sessions[audit->sessions_count++];
    session->id = row->id;
    memcpy(session->numbers, row->numbers, sizeof session->numbers);
    return MP_OK;
}

static int compare_sessions(const void *one, const void *two)
{
    uint64_t a = ((const struct audit_session *)one)->id, b = ((const struct audit_session *)two)->id;
    return a < b ? -1 : a > b;
}

static enum mp_error each_topic(void *context, const struct store_topic *row)
{
    struct audit *audit = context;
    if (!audit_room((void **)&audit->topics, audit->topics_count, &audit->topics_room, sizeof *audit->topics))
        return fault_memory(audit->fault);
    audit->topics[audit->topics_count++] = (struct audit_topic_row){.id = row->id, .first = row->first};
    return MP_OK;
}

static enum mp_error each_group(void *context, const struct store_group *row)
{
    struct audit *audit = context;
    if (!audit_room((void **)&audit->groups, audit->groups_count, &audit->groups_room, sizeof *audit->groups))
        return fault_memory(audit->fault);
    audit->groups[audit->groups_count++] = (struct audit_group_row){.id = row->id, .event = row->event};
    return MP_OK;
}

static enum mp_error each_pattern(void *context, const struct store_pattern *row)
{
    (void)context;
    (void)row; /* the examination has them */
    return MP_OK;
}

/* Blocks whose group is not there. */
static enum mp_error orphans(struct audit *audit)
{
    uint32_t group = 0;
    enum mp_error error;
    while (!(error = store_blocks_group(audit->store, group, &group, audit->fault))) {
        if (!audit_group_row(audit, group))
            audit_found(audit, AUDIT_PHANTOM, &(struct audit_place){.table = "blocks", .key = (int64_t)group << 32},
                        "there are states of group %u, and no such group", group);
        group++;
    }
    return error == MP_ERR_NOT_FOUND ? MP_OK : error;
}

static enum mp_error count_schedule(struct audit *audit)
{
    uint64_t rows, messages;
    enum mp_error error = store_count_scheduled(audit->store, &rows, &messages, audit->fault);
    if (error)
        return error;
    audit->report->scheduled = messages;
    if (messages != audit->scheduled)
        audit_found(audit, messages < audit->scheduled ? AUDIT_MISSING : AUDIT_PHANTOM,
                    &(struct audit_place){.table = "schedule"},
                    "the schedule has %llu messages where %llu were counted", (unsigned long long)messages,
                    (unsigned long long)audit->scheduled);
    return MP_OK;
}

/* Where a sample is kept, ids do not tell whether one is missing; how many bytes there are does. */
static enum mp_error sum_events(struct audit *audit)
{
    uint64_t bytes;
    if (audit->sampled == 0)
        return MP_OK;
    enum mp_error error = store_sum_events(audit->store, audit->snapshot_event, &bytes, audit->fault);
    if (!error && bytes < audit->event_bytes)
        audit_found(audit, AUDIT_MISSING, &(struct audit_place){.table = "events"},
                    "the events before the snapshot have %llu bytes where %llu were counted", (unsigned long long)bytes,
                    (unsigned long long)audit->event_bytes);
    return error;
}

enum mp_error audit_rows(struct audit *audit)
{
    struct store *store = audit->store;
    struct fault *fault = audit->fault;
    enum mp_error error;
    if ((error = audit_failed(audit, store_each_digest(store, each_digest, audit, fault))) ||
        (error = audit_failed(audit, store_each_number(store, each_number, audit, fault))) ||
        (error = audit_failed(audit, store_each_session(store, each_session, audit, fault))) ||
        (error = audit_failed(audit, store_each_topic(store, each_topic, audit, fault))) ||
        (error = audit_failed(audit, store_each_pattern(store, each_pattern, audit, fault))) ||
        (error = audit_failed(audit, store_each_group(store, each_group, audit, fault))) ||
        (error = audit_failed(audit, orphans(audit))))
        return error;
    if (audit->sessions_count > 0)
        qsort(audit->sessions, audit->sessions_count, sizeof *audit->sessions, compare_sessions);
    if ((error = audit_failed(audit, count_schedule(audit))))
        return error;
    return audit_failed(audit, sum_events(audit));
}
