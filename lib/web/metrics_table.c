/*
 * metrics_table.c: every family of metrics. Names by Prometheus' conventions: what is counted, with its unit, seconds and
 * bytes; counters end in _total. They are what dashboards and alerts are made of: do not rename.
 */
#include "web/metrics_private.h"

#include "message/letter.h"

/* ---- samples -------------------------------------------------------------------------------------------------- */

/* The struct of FAMILY's scope that is written of. */
static const void *from(const struct metrics *metrics, const struct family *family)
{
    const void *from[] = {[SCOPE_RELAY] = &metrics->relay,
                          [SCOPE_ENGINE] = &metrics->of_engine,
                          [SCOPE_TOPIC] = &metrics->topic,
                          [SCOPE_GROUP] = &metrics->group,
                          [SCOPE_STAGE] = metrics->stage};
    return (const char *)from[family->scope] + family->at;
}

static void put_number(struct metrics *metrics, const struct family *family)
{
    text_number(&metrics->text, family->name, *(const uint64_t *)from(metrics, family));
}

/* What is not known, or without an end, has no sample. */
static void put_known(struct metrics *metrics, const struct family *family)
{
    uint64_t value = *(const uint64_t *)from(metrics, family);
    if (value > 0 && value < UINT64_MAX)
        text_number(&metrics->text, family->name, value);
}

static void put_seconds(struct metrics *metrics, const struct family *family)
{
    text_seconds(&metrics->text, family->name, *(const int64_t *)from(metrics, family));
}

/* A time that may never have come. */
static void put_time(struct metrics *metrics, const struct family *family)
{
    int64_t time = *(const int64_t *)from(metrics, family);
    if (time > 0)
        text_seconds(&metrics->text, family->name, time);
}

/* A sample that has LABEL in addition. */
static void put_labelled(struct metrics *metrics, const struct family *family, const char *label, const char *value,
                         uint64_t number)
{
    size_t mark = text_mark(&metrics->text);
    text_label(&metrics->text, label, value);
    text_number(&metrics->text, family->name, number);
    text_return(&metrics->text, mark);
}

static void put_info(struct metrics *metrics, const struct family *family)
{
    text_label(&metrics->text, "relay", metrics->relay.name);
    text_label(&metrics->text, "version", metrics->relay.version);
    text_number(&metrics->text, family->name, 1);
}

static void put_requests(struct metrics *metrics, const struct family *family)
{
    static const char *const types[CORE_REQUEST_TYPES] = {
        [PROTOCOL_HELLO] = "hello",   [PROTOCOL_PUBLISH] = "publish", [PROTOCOL_FETCH] = "fetch",
        [PROTOCOL_SETTLE] = "settle", [PROTOCOL_EXTEND] = "extend",   [PROTOCOL_ROOM] = "room",
        [PROTOCOL_ADMIN] = "admin",   [PROTOCOL_LEAVE] = "leave"};
    for (unsigned i = 0; i < CORE_REQUEST_TYPES; i++)
        if (types[i])
            put_labelled(metrics, family, "type", types[i], metrics->relay.core.requests[i]);
}

static void put_refused(struct metrics *metrics, const struct family *family)
{
    const struct core_figures *core = &metrics->relay.core;
    put_labelled(metrics, family, "reason", "full", core->refused_full);
    put_labelled(metrics, family, "reason", "gap", core->gaps);
    put_labelled(metrics, family, "reason", "invalid", core->invalid);
}

static void put_turns(struct metrics *metrics, const struct family *family)
{
    text_buckets(&metrics->text, family->name, *(const struct buckets *const *)from(metrics, family), buckets_turn);
}

static void put_dropped(struct metrics *metrics, const struct family *family)
{
    static const char *const reasons[FIGURES_DROPS] = {[FIGURES_OVERFLOW] = "overflow",
                                                       [FIGURES_PURGED] = "purged",
                                                       [FIGURES_EXPIRED] = "expired",
                                                       [FIGURES_DUPLICATE] = "duplicate",
                                                       [FIGURES_DAMAGED] = "damaged"};
    for (unsigned i = 0; i < FIGURES_DROPS; i++)
        put_labelled(metrics, family, "reason", reasons[i], metrics->topic.topic.dropped[i]);
}

static void put_oldest(struct metrics *metrics, const struct family *family)
{
    struct engine *engine = metrics->engine;
    int64_t oldest = engine->operations->group_oldest(engine, metrics->group.id);
    int64_t age = oldest > 0 ? clock_wall() - oldest : 0;
    text_seconds(&metrics->text, family->name, age > 0 ? age : 0);
}

/* One of meter_count. */
static void put_count(struct metrics *metrics, const struct family *family)
{
    text_number(&metrics->text, family->name, metrics->group.counted->counts[family->at]);
}

static void put_dead(struct metrics *metrics, const struct family *family)
{
    const uint64_t *dead = metrics->group.counted->counts + METER_DEAD;
    for (unsigned i = ENGINE_REASON_REJECTED; i < ENGINE_REASONS; i++)
        put_labelled(metrics, family, "reason", letter_reasons[i - 1], dead[i] + (i == 1 ? dead[0] : 0));
}

static void put_passed(struct metrics *metrics, const struct family *family)
{
    static const struct {
        enum meter_count what;
        const char *reason;
    } all[] = {{METER_OVERFLOW, "overflow"}, {METER_PURGED, "purged"},       {METER_DAMAGED, "damaged"},
               {METER_EXPIRED, "expired"},   {METER_DUPLICATE, "duplicate"}, {METER_FOREIGN, "other_group"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        put_labelled(metrics, family, "reason", all[i].reason, metrics->group.counted->counts[all[i].what]);
}

/* Groups to which nothing was given yet have no histograms: there can be thousands. */
static void put_group_times(struct metrics *metrics, const struct family *family)
{
    const struct meter_group *counted = metrics->group.counted;
    const struct buckets *buckets = (const void *)((const char *)counted + family->at);
    if (counted->counts[METER_LEASED] > 0)
        text_buckets(&metrics->text, family->name, buckets, buckets_wait);
}

static void put_stage_times(struct metrics *metrics, const struct family *family)
{
    const struct buckets *buckets = from(metrics, family);
    if (buckets_count(buckets) > 0)
        text_buckets(&metrics->text, family->name, buckets, buckets_wait);
}

static void put_runners(struct metrics *metrics, const struct family *family)
{
    for (unsigned i = 0; i < CORE_STAGE_STATES; i++) {
        int64_t runners = metrics->stage->states[i];
        if (runners > 0 || strcmp(core_stage_states[i], "running") == 0)
            put_labelled(metrics, family, "state", core_stage_states[i], (uint64_t)(runners > 0 ? runners : 0));
    }
}

static void put_breakers(struct metrics *metrics, const struct family *family)
{
    if (metrics->stage->breakers > 0)
        text_number(&metrics->text, family->name, (uint64_t)metrics->stage->open);
}

/* ---- the families --------------------------------------------------------------------------------------------- */

#define RELAY(member) SCOPE_RELAY, offsetof(struct of_relay, member)
#define ENGINE(member) SCOPE_ENGINE, offsetof(struct of_engine, member)
#define TOPIC(member) SCOPE_TOPIC, offsetof(struct of_topic, member)
#define GROUP(member) SCOPE_GROUP, offsetof(struct of_group, member)
#define COUNTED(what) SCOPE_GROUP, what
#define STAGE(member) SCOPE_STAGE, offsetof(struct core_stage, member)

const struct family metrics_families[] = {
    {"msgpipe_relay_info", "gauge", "The relay and its version; always 1.", SCOPE_RELAY, 0, put_info},
    {"process_start_time_seconds", "gauge", "When the process began, since 1970.", RELAY(started), put_seconds},
    {"process_cpu_seconds_total", "counter", "Processor time of the process.", RELAY(processor), put_seconds},
    {"process_resident_memory_bytes", "gauge", "Memory of the process.", RELAY(resident_bytes), put_known},
    {"msgpipe_connections", "gauge", "Connections that are open.", RELAY(connections), put_number},
    {"msgpipe_connections_accepted_total", "counter", "Connections that were accepted.", RELAY(accepted), put_number},
    {"msgpipe_connections_refused_total", "counter", "Connections that were refused: too many, or no descriptors.",
     RELAY(refused), put_number},
    {"msgpipe_connections_faulty_total", "counter", "Connections that were closed for what they sent.", RELAY(faulty),
     put_number},
    {"msgpipe_received_bytes_total", "counter", "Bytes of requests that were received.", RELAY(received_bytes),
     put_number},
    {"msgpipe_sent_bytes_total", "counter", "Bytes of replies that were sent.", RELAY(sent_bytes), put_number},
    {"msgpipe_held_bytes", "gauge", "Bytes of requests that are held in memory.", RELAY(held_bytes), put_number},
    {"msgpipe_sessions", "gauge", "Sessions that the relay knows, those of clients that have gone too.",
     RELAY(sessions), put_number},
    {"msgpipe_sessions_greeted_total", "counter", "Clients that said hello.", RELAY(core.greeted), put_number},
    {"msgpipe_sessions_evicted_total", "counter", "Sessions that were forgotten.", RELAY(core.evicted), put_number},
    {"msgpipe_requests_total", "counter", "Requests that came, by their type.", SCOPE_RELAY, 0, put_requests},
    {"msgpipe_requests_refused_total", "counter",
     "Requests that were refused: full (no room), gap (out of turn), invalid (not understood).", SCOPE_RELAY, 0,
     put_refused},
    {"msgpipe_requests_repeated_total", "counter", "Requests that came again, and got the recorded answer.",
     RELAY(core.repeats), put_number},
    {"msgpipe_messages_stale_total", "counter", "Messages whose settlement came too late.", RELAY(core.stale),
     put_number},
    {"msgpipe_turns_undone_total", "counter", "Turns that failed and were undone; clients send again.",
     RELAY(core.undone), put_number},
    {"msgpipe_turn_seconds", "histogram", "How long turns took: all requests that were there, and their commit.",
     RELAY(core.turns), put_turns},
    {"msgpipe_commit_seconds", "histogram", "How long commits took, with their flush.", RELAY(core.commits), put_turns},
    {"msgpipe_http_connections", "gauge", "HTTP connections that are open.", RELAY(http_connections), put_number},
    {"msgpipe_http_requests_total", "counter", "HTTP requests that came.", RELAY(http_requests), put_number},

    {"msgpipe_store_bytes", "gauge", "Size of the store, with its log.", ENGINE(engine.store_bytes), put_number},
    {"msgpipe_store_reusable_bytes", "gauge", "Bytes of the store that are free to be used again.",
     ENGINE(engine.reusable_bytes), put_number},
    {"msgpipe_store_free_disk_bytes", "gauge",
     "Bytes that are free on the disk of the store; below 64 MiB publications are refused.", ENGINE(engine.free_bytes),
     put_known},
    {"msgpipe_store_commits_total", "counter", "Commits to the store.", ENGINE(engine.commits), put_number},
    {"msgpipe_store_snapshots_total", "counter", "Snapshots in the store.", ENGINE(engine.snapshots), put_number},
    {"msgpipe_store_deleted_frames_total", "counter", "Frames that were deleted, since nobody needs them any more.",
     ENGINE(engine.counted.deleted_frames), put_number},
    {"msgpipe_store_deleted_bytes_total", "counter", "Bytes of these.", ENGINE(engine.counted.deleted_bytes),
     put_number},
    {"msgpipe_cache_bytes", "gauge", "Memory for frames that came last.", ENGINE(cache_bytes), put_number},
    {"msgpipe_dedupe_bytes", "gauge", "Memory for the ids and keys that topics look for duplicates by.",
     ENGINE(dedupe_bytes), put_number},
    {"msgpipe_scheduled_messages", "gauge", "Messages that wait for the time at which they are to be published.",
     ENGINE(engine.scheduled), put_number},
    {"msgpipe_events_written_total", "counter", "Events that were written, since the store was made.",
     ENGINE(engine.events_written), put_number},
    {"msgpipe_events_bytes", "gauge", "Bytes of the events that are kept, about.", ENGINE(engine.event_bytes),
     put_number},
    {"msgpipe_events_oldest_timestamp_seconds", "gauge", "When the oldest event that is kept was written, since 1970.",
     ENGINE(engine.oldest_event), put_time},

    {"msgpipe_topic_messages_published_total", "counter", "Messages that were published to the topic.",
     TOPIC(counted.messages), put_number},
    {"msgpipe_topic_frames_published_total", "counter", "Frames that they came in.", TOPIC(counted.frames), put_number},
    {"msgpipe_topic_bytes_published_total", "counter", "Bytes of these frames.", TOPIC(counted.bytes), put_number},
    {"msgpipe_topic_messages_dropped_total", "counter",
     "Messages that were dropped, for each group (duplicates once), since the topic was made.", SCOPE_TOPIC, 0,
     put_dropped},
    {"msgpipe_topic_messages", "gauge", "Messages that the topic keeps.", TOPIC(kept), put_number},
    {"msgpipe_topic_bytes", "gauge", "Bytes of its frames in the store.", TOPIC(topic.bytes), put_number},
    {"msgpipe_topic_first_offset", "gauge", "Offset of the oldest message that is kept.", TOPIC(topic.first),
     put_number},
    {"msgpipe_topic_end_offset", "gauge", "Offset of the next message: so many were ever published.", TOPIC(topic.end),
     put_number},
    {"msgpipe_topic_last_published_timestamp_seconds", "gauge", "When something was published last, since 1970.",
     TOPIC(topic.last_time), put_time},

    {"msgpipe_group_waiting_messages", "gauge", "Messages that wait for a consumer of the group.", GROUP(group.waiting),
     put_number},
    {"msgpipe_group_leased_messages", "gauge", "Messages that are with a consumer.", GROUP(group.leased), put_number},
    {"msgpipe_group_delayed_messages", "gauge", "Messages that wait for their next attempt.", GROUP(group.delayed),
     put_number},
    {"msgpipe_group_oldest_age_seconds", "gauge",
     "Age of the oldest message that the group has not settled; 0 when there is none.", SCOPE_GROUP, 0, put_oldest},
    {"msgpipe_group_messages_leased_total", "counter", "Messages that were handed to consumers.", COUNTED(METER_LEASED),
     put_count},
    {"msgpipe_group_messages_acked_total", "counter", "Messages that were acknowledged.", COUNTED(METER_ACKED),
     put_count},
    {"msgpipe_group_messages_retried_total", "counter", "Messages that failed, to be tried again.",
     COUNTED(METER_RETRIED), put_count},
    {"msgpipe_group_messages_released_total", "counter", "Messages that were given back unbegun.",
     COUNTED(METER_RELEASED), put_count},
    {"msgpipe_group_messages_lapsed_total", "counter", "Messages whose consumer died or was silent for too long.",
     COUNTED(METER_LAPSED), put_count},
    {"msgpipe_group_messages_dead_total", "counter", "Messages that went to the dead-letter topic.", SCOPE_GROUP, 0,
     put_dead},
    {"msgpipe_group_messages_dropped_total", "counter",
     "Messages that the group will never get; other_group: a replay that is for another one.", SCOPE_GROUP, 0,
     put_passed},
    {"msgpipe_group_waiting_seconds", "histogram",
     "From a message's publication to when it was handed out for its first attempt.", SCOPE_GROUP,
     offsetof(struct meter_group, waiting), put_group_times},
    {"msgpipe_group_working_seconds", "histogram",
     "From when a message was handed out to when it was acknowledged, failed or died.", SCOPE_GROUP,
     offsetof(struct meter_group, working), put_group_times},

    {"msgpipe_stage_messages_in_total", "counter", "Messages that the stage took.", STAGE(counts[CORE_STAGE_IN]),
     put_number},
    {"msgpipe_stage_messages_done_total", "counter", "Messages that it has done.", STAGE(counts[CORE_STAGE_DONE]),
     put_number},
    {"msgpipe_stage_messages_out_total", "counter", "Messages that it has sent on.", STAGE(counts[CORE_STAGE_OUT]),
     put_number},
    {"msgpipe_stage_messages_failed_total", "counter",
     "Attempts that failed and are to be repeated; of a source: what was no message, or was refused.",
     STAGE(counts[CORE_STAGE_FAILED]), put_number},
    {"msgpipe_stage_messages_dead_total", "counter", "Messages that died in it.", STAGE(counts[CORE_STAGE_DEAD]),
     put_number},
    {"msgpipe_stage_messages_skipped_total", "counter", "What a source's steps dropped, and ticks that it missed.",
     STAGE(counts[CORE_STAGE_SKIPPED]), put_number},
    {"msgpipe_stage_messages_retraced_total", "counter",
     "Messages whose traceparent or tracestate was none, and was left out.", STAGE(counts[CORE_STAGE_RETRACED]),
     put_number},
    {"msgpipe_stage_command_seconds", "histogram", "How long runs of its command took: of a message, or of a batch.",
     STAGE(working), put_stage_times},
    {"msgpipe_stage_commands_running", "gauge", "Runs of its command that are under way.", STAGE(running), put_number},
    {"msgpipe_stage_runners", "gauge", "Runners that have the stage, by what it does there.", SCOPE_STAGE, 0,
     put_runners},
    {"msgpipe_stage_breakers_open", "gauge", "Runners in which its circuit breaker is open.", SCOPE_STAGE, 0,
     put_breakers},
    {0},
};
