/* What comes out of a stage, to its topics. */
#include "base/memory.h"
#include "message/letter.h"
#include "pipeline/pipeline.h"
#include "runner/stage_private.h"

#include <stdio.h>

enum { DEATH_NOTE = 512 }; /* bytes of a note that the log shows */

enum mp_error stage_open_routes(struct runner_stage *stage, struct fault *fault)
{
    const struct pipeline_stage *model = stage->model;
    bool falls_back = model->breaker.fallback == PIPELINE_FALLBACK_TOPIC;
    size_t routes = model->routes_count ? model->routes_count : model->to.count;
    stage->destinations = memory_allocate_array(routes + 1, sizeof *stage->destinations);
    if (!stage->destinations)
        return fault_memory(fault);
    stage->routes = (uint32_t)routes;
    stage->routed = model->routes_count > 0;
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < routes; i++) {
        struct destination *destination = &stage->destinations[i];
        destination->topic = stage->routed ? model->routes[i].to.topic : model->to.all[i].topic;
        stage->destinations_count++;
        if (stage->routed && model->routes[i].where.count > 0)
            error = stage_matcher_open(&model->routes[i].where, &destination->matcher, fault);
    }
    if (falls_back)
        stage->destinations[stage->destinations_count++].topic = model->breaker.to.topic;
    for (uint32_t i = 0; i < stage->destinations_count; i++) {
        struct destination *destination = &stage->destinations[i];
        const struct pipeline_topic *topic = pipeline_topic(stage->settings.pipeline, destination->topic);
        uint64_t most = topic ? topic->settings.max_messages / 4 + 1 : 0;
        bool limited = topic && topic->settings.max_messages > 0;
        if (limited && (stage->most_at_once == 0 || most < stage->most_at_once))
            stage->most_at_once = most;
        destination->first = true;
        for (uint32_t before = 0; before < i; before++)
            if (strcmp(stage->destinations[before].topic, destination->topic) == 0)
                destination->first = false;
    }
    return error;
}

void stage_free_routes(struct runner_stage *stage)
{
    for (uint32_t i = 0; i < stage->destinations_count; i++)
        stage_matcher_free(stage->destinations[i].matcher);
    memory_release(stage->destinations);
}

void stage_count_dead(struct runner_stage *stage, const struct part *part, enum protocol_reason reason,
                      const char *words, size_t size)
{
    struct log_line line;
    stage->counters.dead += part->count;
    if (stage->deaths_told == STAGE_DEATHS_TOLD)
        return;
    stage->deaths_told++;
    stage_log_begin(stage, &line, LOG_WARNING, part->count == 1 ? "message died" : "messages died");
    log_field(&line, "topic", "%s", part->parcel->topic);
    log_field(&line, "offset", "%llu", (unsigned long long)stage_parcel_offset(part->parcel, part->index));
    if (part->count > 1)
        log_field(&line, "messages", "%u", part->count);
    log_field(&line, "reason", "%s", letter_reasons[reason ? reason - 1 : 0]);
    if (words && size)
        log_field(&line, "note", "%.*s", (int)(size < DEATH_NOTE ? size : DEATH_NOTE), words);
    if (stage->deaths_told == STAGE_DEATHS_TOLD)
        log_field(&line, "more", "%s", "are not told here: mretry list shows them");
    log_end(&line);
}

void stage_bury(struct runner_stage *stage, struct feed *feed, const struct part *parts, uint32_t count,
                enum protocol_reason reason, const char *words)
{
    const struct protocol_settlement how = {
        .action = PROTOCOL_DEAD,
        .reason = reason,
        .exit_code = -1,
        .note = words,
        .note_size = (uint16_t)strnlen(words, PROTOCOL_NOTE_MAX),
    };
    for (uint32_t i = 0; i < count; i++) {
        if (!feed_has_lost(feed, parts[i].parcel))
            stage_count_dead(stage, &parts[i], reason, how.note, how.note_size);
        feed_settle(feed, &parts[i], &how);
    }
    stage_changed(stage);
}

/* The messages come again, as if they had never been here. */
static void give_back(struct feed *feed, const struct part *parts, uint32_t count)
{
    static const struct protocol_settlement how = {.action = PROTOCOL_RELEASE, .exit_code = -1};
    for (uint32_t i = 0; i < count; i++)
        feed_settle(feed, &parts[i], &how);
}

enum { NOWHERE = UINT32_MAX };

/* The destination of ITEM, or NOWHERE. */
static enum mp_error route(const struct runner_stage *stage, const struct format_item *item, uint32_t *number)
{
    for (*number = 0; *number < stage->routes; ++*number) {
        struct stage_matcher *matcher = stage->destinations[*number].matcher;
        bool matches = true;
        if (matcher) {
            enum mp_error error = stage_matches(matcher, item, &matches);
            if (error)
                return error;
        }
        if (matches)
            return MP_OK;
    }
    *number = NOWHERE;
    return MP_OK;
}

static const char *words_unrouted(const struct format_item *item, char *words, size_t size)
{
    char id[FRAME_ID_TEXT];
    char quoted[FAULT_QUOTE];
    size_t length;
    const char *text = frame_record_id(&item->record, id, &length);
    if (item->record.producer == 0 && text == id)
        snprintf(words, size, "no route matches what came of it");
    else
        snprintf(words, size, "no route matches message %s", fault_quote(quoted, text, length));
    return words;
}

/* Looks for a way for everything that is staged; else PARTS are dead or given back. */
static bool find_ways(struct runner_stage *stage, struct feed *feed, const struct part *parts, uint32_t count)
{
    struct staging *staging = stage->settings.staging;
    size_t longest = client_welcome(client_link_client(feed->link))->max_message;
    char words[FAULT_TEXT];
    for (size_t i = 0; i < staging->count; i++) {
        struct staged *staged = &staging->all[i];
        if (route(stage, &staged->item, &staged->number)) {
            give_back(feed, parts, count);
            return false;
        }
        if (staged->number == NOWHERE && stage->routed) {
            stage_bury(stage, feed, parts, count, PROTOCOL_REASON_UNROUTED,
                       words_unrouted(&staged->item, words, sizeof words));
            return false;
        }
        if (staged->item.record.size > longest && staged->number != NOWHERE) {
            snprintf(words, sizeof words, "a message of %zu bytes came of it: the relay takes %zu at most",
                     staged->item.record.size, longest);
            stage_bury(stage, feed, parts, count, PROTOCOL_REASON_OVERFLOW, words);
            return false;
        }
    }
    return true;
}

/* What is in the next commit, and cannot all be put there, comes again. */
static void give_up_commit(struct feed *feed, const struct part *parts, uint32_t count)
{
    static const struct protocol_settlement how = {.action = PROTOCOL_RELEASE, .exit_code = -1};
    give_back(feed, parts, count);
    feed_give_up(feed, &how);
}

/* MORE of what goes out had a traceparent that is none: it is of its input's trace now, or of its own. */
static void count_retraced(struct runner_stage *stage, uint64_t more)
{
    struct log_line line;
    bool told = stage->counters.retraced > 0;
    stage->counters.retraced += more;
    if (told || more == 0)
        return;
    stage_log_begin(stage, &line, LOG_WARNING, "traceparent replaced");
    log_field(&line, "why", "%s", "messages have a traceparent or tracestate that is none by W3C Trace Context");
    log_field(&line, "more", "%s", "are counted only: mrelay status --json");
    log_end(&line);
}

static void commit(struct runner_stage *stage, struct feed *feed, const struct part *parts, uint32_t count)
{
    struct staging *staging = stage->settings.staging;
    if (commit_reserve(&feed->open, count)) {
        give_back(feed, parts, count);
        return;
    }
    enum mp_error error = MP_OK;
    uint64_t before = feed->open.outputs.mender.count;
    for (size_t i = 0; !error && i < staging->count; i++) {
        struct staged *staged = &staging->all[i];
        if (staged->number != NOWHERE)
            error = outputs_add(&feed->open.outputs, staged->number, stage->destinations[staged->number].topic,
                                &staged->item, staged->kept);
    }
    count_retraced(stage, feed->open.outputs.mender.count - before + staging->retraced);
    if (error)
        give_up_commit(feed, parts, count);
    else
        feed_commit(feed, parts, count);
}

void stage_emit(struct runner_stage *stage, struct feed *feed, const struct part *parts, uint32_t count)
{
    if (find_ways(stage, feed, parts, count))
        commit(stage, feed, parts, count);
}

void stage_emit_to(struct runner_stage *stage, struct feed *feed, const struct part *parts, uint32_t count,
                   uint32_t number)
{
    for (size_t i = 0; i < stage->settings.staging->count; i++)
        stage->settings.staging->all[i].number = number;
    commit(stage, feed, parts, count);
}
