#include "trace/audit_private.h"

#include <inttypes.h>

/* The schedule, row by row: a row may get its offset meanwhile, and is gone then. */

static void check_row(struct audit *audit, const struct store_scheduled *row)
{
    struct audit_place place = {.table = "schedule", .key = (int64_t)row->id, .topic = row->topic};
    struct fault detail = {0};
    struct frame frame;
    enum mp_error error = frame_open(&frame, row->data, row->size, true, &detail);
    if (error || frame.count != row->count) {
        audit->report->tables[AUDIT_SCHEDULE].damaged++;
        audit_found(audit, AUDIT_DAMAGED, &place, "the frame of row %" PRIu64 " of schedule is damaged: %s", row->id,
                    error ? fault_text(&detail) : "it has another number of messages");
    }
    if (row->topic == 0 || !audit_topic_made(audit, row->topic))
        audit_found(audit, AUDIT_PHANTOM, &place,
                    "row %" PRIu64 " of schedule is for topic number %u, which was never made", row->id, row->topic);
}

enum mp_error audit_schedule(struct audit *audit)
{
    struct store_scheduled row = {.id = 0};
    struct blob *blob;
    enum mp_error error = MP_OK;
    if (!audit->examination)
        return MP_OK;
    while (audit_goes_on(audit)) {
        error = store_next_scheduled(audit->store, row.id, &row, &blob, audit->fault);
        if (error == MP_ERR_DAMAGED)
            continue; /* whoever listens for damage was told */
        if (error)
            break;
        check_row(audit, &row);
        blob_drop(blob);
    }
    return error == MP_ERR_NOT_FOUND || !error ? MP_OK : audit_failed(audit, error);
}
