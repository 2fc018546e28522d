/*
 * stats.h: how much went through topics and groups in a time, and how long it took: waiting (from its publication, or
 * from when a delay was over, to a consumer) and working (from there to its end) apart.
 */
#ifndef TRACE_STATS_H
#define TRACE_STATS_H

#include "base/histogram.h"
#include "base/map.h"
#include "trace/log.h"
#include "trace/select.h"

/* How long something took: a histogram, whose quantiles are within an eighth, and the longest exactly. Microseconds. */
struct trace_times {
    struct histogram histogram;
    int64_t longest;
};

struct trace_topic_stats {
    uint32_t topic;
    uint64_t published, bytes, frames, duplicates, expired, dropped;
};

struct trace_group_stats {
    uint32_t topic;
    uint32_t group;
    uint64_t attempts; /* that came to an end */
    uint64_t acked, retried, released, lapsed, dead, expired, dropped, duplicate;
    struct trace_times waiting; /* first attempts: from publication on */
    struct trace_times working; /* each attempt */
    struct trace_times whole;   /* from publication to the acknowledgement */
};

struct trace_stats {
    int64_t since; /* relay time: of what was counted */
    int64_t until;
    struct trace_topic_stats *topics; /* by their numbers */
    size_t topics_count;
    struct trace_group_stats **groups; /* by topic and group */
    size_t groups_count;
    size_t groups_capacity;
    size_t topics_capacity;
    struct map groups_by_id;
};

/*
 * Counts what LOG has of what SELECT means: its topics, groups and times; a time is by when something ended. Keys, traces
 * and attributes are not looked at. STATS must be zeroed, and is freed with trace_stats_free() in either case.
 */
enum mp_error trace_stats_count(struct trace_stats *stats, struct trace_log *log, const struct trace_select *select,
                                struct fault *fault);
void trace_stats_free(struct trace_stats *stats);

#endif
