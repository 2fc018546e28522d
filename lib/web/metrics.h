/*
 * metrics.h: a relay's figures in Prometheus' text format, written slice by slice, so that a relay with thousands of
 * groups can do its work in between.
 *
 * All samples of a family stand together, and a family can have a sample for each group: so what is written of a group
 * is of several moments where there are turns between slices. Topics and groups that come meanwhile are not in it, those
 * that go have no samples from then on.
 */
#ifndef WEB_METRICS_H
#define WEB_METRICS_H

#include "base/buffer.h"
#include "relay/relay.h"

struct metrics;

/* What a relay cannot tell by itself. */
struct metrics_owner {
    int64_t started;      /* wall: when the process began */
    uint64_t requests;    /* HTTP requests that were answered */
    unsigned connections; /* HTTP connections */
};

/* NULL: no memory. */
struct metrics *metrics_new(const struct relay_view *view, const struct metrics_owner *owner);
void metrics_free(struct metrics *metrics);

enum { METRICS_SLICE = 64 * 1024 /* bytes */, METRICS_TIME = 1000 /* microseconds */ };

/*
 * Writes the next slice: about METRICS_SLICE bytes, or what takes METRICS_TIME. *OUT is good until the next call; it is
 * empty when nothing is left. MP_ERR_MEMORY.
 */
enum mp_error metrics_next(struct metrics *metrics, struct buffer **out);

#endif
