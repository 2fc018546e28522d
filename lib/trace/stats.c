#include "trace/stats.h"

#include "base/memory.h"
#include "trace/pair.h"

#include <stdlib.h>
#include <string.h>

struct counting {
    struct trace_stats *stats;
    const struct trace_select *select;
    struct trace_pair *pair;
    struct fault *fault;
};

void trace_stats_free(struct trace_stats *stats)
{
    for (size_t i = 0; i < stats->groups_count; i++)
        free(stats->groups[i]);
    free(stats->groups);
    free(stats->topics);
    map_free(&stats->groups_by_id);
    *stats = (struct trace_stats){0};
}

static struct trace_topic_stats *topic_of(struct trace_stats *stats, uint32_t topic)
{
    for (size_t i = 0; i < stats->topics_count; i++)
        if (stats->topics[i].topic == topic)
            return &stats->topics[i];
    if (stats->topics_count == stats->topics_capacity) {
        struct trace_topic_stats *topics = memory_grow(stats->topics, &stats->topics_capacity, sizeof *topics, 16);
        if (!topics)
            return NULL;
        stats->topics = topics;
    }
    struct trace_topic_stats *added = &stats->topics[stats->topics_count++];
    *added = (struct trace_topic_stats){.topic = topic};
    return added;
}

static struct trace_group_stats *group_of(struct trace_stats *stats, uint32_t topic, uint32_t group)
{
    struct trace_group_stats *found = map_get(&stats->groups_by_id, &group, sizeof group);
    if (found)
        return found;
    if (stats->groups_count == stats->groups_capacity) {
        struct trace_group_stats **groups = memory_grow(stats->groups, &stats->groups_capacity, sizeof *groups, 16);
        if (!groups)
            return NULL;
        stats->groups = groups;
    }
    if (!(found = calloc(1, sizeof *found)))
        return NULL;
    found->topic = topic;
    found->group = group;
    if (map_put(&stats->groups_by_id, &found->group, sizeof found->group, found)) {
        free(found);
        return NULL;
    }
    return stats->groups[stats->groups_count++] = found;
}

static void add_time(struct trace_times *times, int64_t time, uint32_t count)
{
    if (time < 0)
        time = 0;
    histogram_add(&times->histogram, time, count);
    if (time > times->longest)
        times->longest = time;
}

static void count_times(struct trace_group_stats *group, const struct trace_passage *passage)
{
    int64_t published = passage->publication ? passage->publication->time : 0;
    if (passage->leased > 0 && passage->attempt == 1 && published > 0)
        add_time(&group->waiting, passage->leased - published, passage->count);
    if (passage->leased > 0 && passage->end != EVENT_RELEASED)
        add_time(&group->working, passage->ended - passage->leased, passage->count);
    if (passage->end == EVENT_ACKED && published > 0)
        add_time(&group->whole, passage->ended - published, passage->count);
}

static uint64_t *counter_of(struct trace_group_stats *group, enum store_event_kind end)
{
    switch (end) {
    case EVENT_ACKED:
        return &group->acked;
    case EVENT_RETRIED:
        return &group->retried;
    case EVENT_RELEASED:
        return &group->released;
    case EVENT_LAPSED:
        return &group->lapsed;
    case EVENT_DEAD:
        return &group->dead;
    case EVENT_EXPIRED:
        return &group->expired;
    case EVENT_DROPPED:
        return &group->dropped;
    case EVENT_DUPLICATE:
        return &group->duplicate;
    default:
        return NULL;
    }
}

static enum mp_error on_passage(void *context, const struct trace_passage *passage)
{
    struct counting *counting = context;
    struct trace_stats *stats = counting->stats;
    if (passage->ended < counting->select->since)
        return MP_OK;
    if (passage->group == 0) { /* of a topic without groups */
        struct trace_topic_stats *topic = topic_of(stats, passage->topic);
        if (!topic)
            return fault_memory(counting->fault);
        *(passage->end == EVENT_EXPIRED ? &topic->expired : &topic->dropped) += passage->count;
        return MP_OK;
    }
    if (!trace_select_group(counting->select, passage->group))
        return MP_OK;
    struct trace_group_stats *group = group_of(stats, passage->topic, passage->group);
    if (!group)
        return fault_memory(counting->fault);
    uint64_t *counter = counter_of(group, passage->end);
    if (counter)
        *counter += passage->count;
    if (passage->leased > 0 || passage->attempt > 0)
        group->attempts += passage->count;
    count_times(group, passage);
    return MP_OK;
}

static enum mp_error on_event(void *context, const struct store_event *event)
{
    struct counting *counting = context;
    struct trace_stats *stats = counting->stats;
    if (stats->since == 0)
        stats->since = event->time;
    stats->until = event->time;
    if (event->kind == EVENT_PUBLISHED && event->time >= counting->select->since) {
        struct trace_topic_stats *topic = topic_of(stats, event->topic);
        if (!topic)
            return fault_memory(counting->fault);
        topic->published += event->count;
        topic->bytes += event->lease;
        topic->frames++;
        topic->duplicates += event->code > 0 ? (uint64_t)event->code : 0;
    }
    return trace_pair_event(counting->pair, event, counting->fault);
}

static int by_topic(const void *left, const void *right)
{
    const struct trace_topic_stats *a = left, *b = right;
    return a->topic < b->topic ? -1 : a->topic > b->topic;
}

static int by_group(const void *left, const void *right)
{
    const struct trace_group_stats *a = *(struct trace_group_stats *const *)left;
    const struct trace_group_stats *b = *(struct trace_group_stats *const *)right;
    if (a->topic != b->topic)
        return a->topic < b->topic ? -1 : 1;
    return a->group < b->group ? -1 : a->group > b->group;
}

enum mp_error trace_stats_count(struct trace_stats *stats, struct trace_log *log, const struct trace_select *select,
                                struct fault *fault)
{
    struct counting counting = {.stats = stats, .select = select, .fault = fault};
    const struct trace_pair_calls calls = {.context = &counting, .passage = on_passage};
    struct store_event_filter filter;
    enum mp_error error = trace_select_passages(select, &filter, fault);
    if (!error)
        error = trace_pair_open(log, &calls, &counting.pair, fault);
    if (!error)
        error = trace_log_each(log, &filter, on_event, &counting, fault);
    trace_pair_close(counting.pair);
    if (error)
        return error;
    if (select->since > 0)
        stats->since = select->since;
    if (select->until != INT64_MAX)
        stats->until = select->until;
    if (stats->topics_count > 1)
        qsort(stats->topics, stats->topics_count, sizeof *stats->topics, by_topic);
    if (stats->groups_count > 1)
        qsort(stats->groups, stats->groups_count, sizeof *stats->groups, by_group);
    return MP_OK;
}
