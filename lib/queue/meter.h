/*
 * meter.h: what is counted of topics and groups for those who watch a relay (lib/web): from its start on, and never
 * backwards.
 *
 * An engine notes what it does as it does it, a range of messages or a frame at a time: each note costs the same however
 * many messages it means. Notes count when the turn is committed; those of a turn that is undone are dropped. So what is
 * counted here is what happened, as what is on the disk is. A note for which there is no memory is lost.
 *
 * A topic or group is known by its number, which is never given out again: meters outlive what an undone turn loads again.
 */
#ifndef QUEUE_METER_H
#define QUEUE_METER_H

#include "base/buckets.h"
#include "queue/engine.h"

/* What becomes of a group's messages; METER_DEAD is the first of the ENGINE_REASONS. */
enum meter_count {
    METER_LEASED,
    METER_ACKED,
    METER_RETRIED,
    METER_RELEASED,
    METER_LAPSED,
    METER_EXPIRED,
    METER_DUPLICATE,
    METER_FOREIGN,
    METER_OVERFLOW,
    METER_PURGED,
    METER_DAMAGED,
    METER_DEAD,
    METER_COUNTS = METER_DEAD + ENGINE_REASONS
};

struct meter_topic {
    uint32_t id;
    uint64_t messages, frames, bytes; /* published */
};

struct meter_group {
    uint32_t id;
    uint64_t counts[METER_COUNTS];
    struct buckets waiting; /* from publication to the grant of a first attempt, by buckets_wait */
    struct buckets working; /* from a grant to ack, retry or death, by buckets_wait */
};

/* Of all topics. */
struct meter_all {
    uint64_t deleted_frames, deleted_bytes; /* by retention, or with their topic */
};

struct meter;

struct meter *meter_new(void); /* NULL: no memory */
void meter_free(struct meter *meter);

/* Notes. METER may be NULL: nobody counts. */
void meter_published(struct meter *meter, uint32_t topic, uint32_t messages, uint64_t bytes);
void meter_count(struct meter *meter, uint32_t group, enum meter_count what, uint64_t messages);
void meter_waited(struct meter *meter, uint32_t group, int64_t microseconds, uint64_t messages);
void meter_worked(struct meter *meter, uint32_t group, int64_t microseconds, uint64_t messages);
void meter_deleted(struct meter *meter, uint32_t frames, uint64_t bytes);
/* A topic or a group is no more. */
void meter_topic_gone(struct meter *meter, uint32_t topic);
void meter_group_gone(struct meter *meter, uint32_t group);

/* The end of a turn. */
void meter_commit(struct meter *meter);
void meter_undo(struct meter *meter);

/* What was counted; NULL: nothing yet. Good until the next commit. */
const struct meter_topic *meter_topic(const struct meter *meter, uint32_t topic);
const struct meter_group *meter_group(const struct meter *meter, uint32_t group);
const struct meter_all *meter_all(const struct meter *meter);

#endif
