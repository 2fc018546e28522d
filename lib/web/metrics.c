#include "web/metrics_private.h"

#include "base/memory.h"
#include "transport/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- what is asked once --------------------------------------------------------------------------------------- */

/* Bytes of memory that the process has; 0 where the system does not tell. */
static uint64_t resident(void)
{
    unsigned long size = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%lu %lu", &size, &pages) != 2)
        pages = 0;
    fclose(file);
    long page = sysconf(_SC_PAGESIZE);
    return page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

static int64_t microseconds(const struct timeval *time)
{
    return (int64_t)time->tv_sec * 1000000 + time->tv_usec;
}

static void ask_relay(struct metrics *metrics, const struct metrics_owner *owner)
{
    struct server_counters server = server_counters(metrics->view.server);
    struct of_relay *relay = &metrics->relay;
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    core_figures(metrics->view.core, &relay->core);
    relay->name = relay->core.name;
    relay->version = relay->core.version;
    relay->sessions = relay->core.sessions;
    relay->connections = server.connections;
    relay->accepted = server.accepted;
    relay->refused = server.refused;
    relay->faulty = server.closed_by_fault;
    relay->received_bytes = server.received_bytes;
    relay->sent_bytes = server.sent_bytes;
    relay->held_bytes = server.held;
    relay->http_connections = owner->connections;
    relay->http_requests = owner->requests;
    relay->resident_bytes = resident();
    relay->started = owner->started;
    relay->processor = microseconds(&usage.ru_utime) + microseconds(&usage.ru_stime);
}

static bool ask_engine(struct metrics *metrics)
{
    struct of_engine *of_engine = &metrics->of_engine;
    struct engine *engine = core_engine(metrics->view.core);
    if (!engine)
        return true; /* the store cannot be read: the relay's own figures are all there is */
    engine->operations->figures(engine, &of_engine->engine);
    of_engine->cache_bytes = of_engine->engine.cache_bytes;
    of_engine->dedupe_bytes = of_engine->engine.dedupe_bytes;
    return engine->operations->list(engine, false, &metrics->topics, &metrics->topics_count) == MP_OK &&
           engine->operations->list(engine, true, &metrics->groups, &metrics->groups_count) == MP_OK;
}

struct metrics *metrics_new(const struct relay_view *view, const struct metrics_owner *owner)
{
    struct metrics *metrics = memory_allocate(sizeof *metrics);
    if (!metrics)
        return NULL;
    metrics->view = *view;
    metrics->family = metrics_families;
    ask_relay(metrics, owner);
    metrics->stages_count = core_stages(view->core, clock_moment());
    if (ask_engine(metrics))
        return metrics;
    metrics_free(metrics);
    return NULL;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    text_free(&metrics->text);
    free(metrics->topics);
    free(metrics->groups);
    memory_release(metrics);
}

/* ---- one item after the other --------------------------------------------------------------------------------- */

/* How many items the families of SCOPE have. */
static size_t items_of(const struct metrics *metrics, enum scope scope)
{
    switch (scope) {
    case SCOPE_RELAY:
        return 1;
    case SCOPE_ENGINE:
        return metrics->engine ? 1 : 0;
    case SCOPE_TOPIC:
        return metrics->engine ? metrics->topics_count : 0;
    case SCOPE_GROUP:
        return metrics->engine ? metrics->groups_count : 0;
    case SCOPE_STAGE:
        return metrics->stages_count;
    }
    return 0;
}

static bool take_topic(struct metrics *metrics, uint32_t id)
{
    struct of_topic *topic = &metrics->topic;
    if (!metrics->engine->operations->topic_figures(metrics->engine, id, &topic->topic))
        return false;
    topic->counted = topic->topic.counted ? *topic->topic.counted : (struct meter_topic){0};
    topic->kept = topic->topic.end - topic->topic.first;
    text_label(&metrics->text, "topic", topic->topic.name);
    return true;
}

static bool take_group(struct metrics *metrics, uint32_t id)
{
    static const struct meter_group nothing;
    struct of_group *group = &metrics->group;
    if (!metrics->engine->operations->group_figures(metrics->engine, id, &group->group))
        return false;
    group->counted = group->group.counted ? group->group.counted : &nothing;
    group->id = id;
    text_label(&metrics->text, "topic", group->group.topic);
    text_label(&metrics->text, "group", group->group.name);
    if (group->group.pattern[0])
        text_label(&metrics->text, "pattern", group->group.pattern);
    return true;
}

static bool take_stage(struct metrics *metrics, size_t index)
{
    metrics->stage = core_stage_at(metrics->view.core, index);
    text_label(&metrics->text, "pipeline", metrics->stage->pipeline);
    text_label(&metrics->text, "stage", metrics->stage->name);
    text_label(&metrics->text, "kind", metrics->stage->kind);
    return true;
}

/* Makes item ITEM of SCOPE the one that is written of; false: it is no more. */
static bool take_item(struct metrics *metrics, enum scope scope, size_t item)
{
    text_no_labels(&metrics->text);
    switch (scope) {
    case SCOPE_RELAY:
    case SCOPE_ENGINE:
        return true;
    case SCOPE_TOPIC:
        return take_topic(metrics, metrics->topics[item]);
    case SCOPE_GROUP:
        return take_group(metrics, metrics->groups[item]);
    case SCOPE_STAGE:
        return take_stage(metrics, item);
    }
    return false;
}

enum mp_error metrics_next(struct metrics *metrics, struct buffer **out)
{
    struct text *text = &metrics->text;
    int64_t end = clock_monotonic() + METRICS_TIME;
    text->out.size = 0;
    *out = &text->out;
    metrics->engine = core_engine(metrics->view.core);
    while (metrics->family->name && text->out.size < METRICS_SLICE && !text->error) {
        const struct family *family = metrics->family;
        size_t items = items_of(metrics, family->scope);
        if (metrics->item >= items) {
            metrics->family++;
            metrics->item = 0;
            metrics->begun = false;
            continue;
        }
        if (!metrics->begun)
            text_family(text, family->name, family->type, family->help);
        metrics->begun = true;
        if (take_item(metrics, family->scope, metrics->item++))
            family->put(metrics, family);
        if (metrics->item % 16 == 0 && clock_monotonic() >= end)
            break;
    }
    return text->error;
}
