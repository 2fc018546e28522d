/* Tasks: to commands and back, and what an outcome means for the messages. */
#include "base/memory.h"
#include "runner/stage_private.h"

#include <stdio.h>

/* ---- settling ------------------------------------------------------------------------------------------------- */

/* Whether messages of PARCEL have failed so often that this was their last attempt. */
static bool is_last(const struct runner_stage *stage, const struct stage_parcel *parcel)
{
    return parcel->attempt > stage->model->group.max_retries;
}

static void count(struct runner_stage *stage, const struct protocol_settlement *how, const struct part *part)
{
    if (how->action == PROTOCOL_DEAD)
        stage_count_dead(stage, part, how->reason, how->note, how->note_size);
    else if (how->action == PROTOCOL_RETRY && is_last(stage, part->parcel))
        stage_count_dead(stage, part, PROTOCOL_REASON_RETRIES, how->note, how->note_size);
    else if (how->action == PROTOCOL_RETRY)
        stage->counters.failed += part->count;
    stage_changed(stage);
}

void stage_settle_bundle(struct runner_stage *stage, struct bundle *bundle, const struct protocol_settlement *how)
{
    for (uint32_t i = 0; i < bundle->parts_count; i++) {
        const struct part *part = &bundle->parts[i];
        if (!feed_has_lost(bundle->feed, part->parcel))
            count(stage, how, part);
        feed_settle(bundle->feed, part, how);
    }
    bundle_free(stage, bundle);
}

static void release(struct runner_stage *stage, struct bundle *bundle)
{
    static const struct protocol_settlement how = {.action = PROTOCOL_RELEASE, .exit_code = -1};
    stage_settle_bundle(stage, bundle, &how);
}

/* What the worst of its outcomes means for a bundle that did not succeed. */
static void settle_failed(struct runner_stage *stage, struct bundle *bundle)
{
    struct protocol_settlement how = {
        .action = PROTOCOL_RETRY,
        .delay = bundle->ended_early ? 0 : PROTOCOL_DELAY_POLICY,
        .exit_code = bundle->code,
        .note = bundle->note,
        .note_size = bundle->note_size,
    };
    switch (bundle->end) {
    case STAGE_REJECTED:
        how.action = PROTOCOL_DEAD;
        how.reason = PROTOCOL_REASON_REJECTED;
        break;
    case STAGE_MALFORMED:
        how.action = PROTOCOL_DEAD;
        how.reason = PROTOCOL_REASON_FORMAT;
        break;
    case STAGE_NOT_BEGUN:
        how.action = PROTOCOL_RELEASE;
        how.note_size = 0;
        break;
    case STAGE_FAILED:
    case STAGE_SUCCEEDED:
        break;
    }
    if (how.action != PROTOCOL_DEAD)
        how.reason = PROTOCOL_REASON_NONE;
    if (how.action != PROTOCOL_RETRY)
        how.delay = 0;
    stage_settle_bundle(stage, bundle, &how);
}

/* Whether all its messages are leased for sure. */
static bool holds(const struct bundle *bundle, int64_t now)
{
    for (uint32_t i = 0; i < bundle->parts_count; i++)
        if (!feed_holds(bundle->feed, bundle->parts[i].parcel, now))
            return false;
    return true;
}

static bool has_lost(const struct bundle *bundle)
{
    return bundle->parts_count > 0 && feed_has_lost(bundle->feed, bundle->parts[0].parcel);
}

/* ---- what came of it ------------------------------------------------------------------------------------------ */

/* Inputs that the command was not given, since their bodies hold the separator. False: no memory. */
static bool bury_malformed(struct runner_stage *stage, struct bundle *bundle, const struct stage_outcome *outcome)
{
    struct part *out;
    uint32_t out_count;
    if (bundle_take_out(bundle, outcome->malformed, outcome->malformed_count, &out, &out_count))
        return false;
    char words[100];
    snprintf(words, sizeof words, "the body holds the separator of the format %s", format_name(stage->model->format));
    stage_bury(stage, bundle->feed, out, out_count, PROTOCOL_REASON_FORMAT, words);
    for (uint32_t i = 0; i < out_count; i++)
        feed_unpin(out[i].parcel);
    memory_release(out);
    return true;
}

/* Stages what COUNT tasks printed. */
static enum mp_error stage_output(const struct runner_stage *stage, const struct bundle *bundle, const void *output,
                                  size_t size, struct fault *fault)
{
    const struct pipeline_stage *model = stage->model;
    const struct format_item *input = bundle->items_count == 1 || model->mode != STAGE_BATCH ? bundle->items : NULL;
    size_t limit = client_welcome(client_link_client(bundle->feed->link))->max_message;
    return staging_add_output(stage->settings.staging, output, size, model->format, model->mode == STAGE_STREAM, limit,
                              input, clock_wall(), fault);
}

/* All its tasks have succeeded: OUTPUT is that of the only one; of several they have it. */
static void emit_bundle(struct runner_stage *stage, struct bundle *bundle, const void *output, size_t size)
{
    struct fault fault = {0};
    enum mp_error error = MP_OK;
    struct staging *staging = stage->settings.staging;
    bool wanted = stage->routes > 0;
    if (wanted && bundle->tasks_count == 1)
        error = stage_output(stage, bundle, output, size, &fault);
    for (uint32_t i = 0; !error && wanted && bundle->tasks_count > 1 && i < bundle->tasks_count; i++)
        error = stage_output(stage, bundle, bundle->tasks[i].output.data, bundle->tasks[i].output.size, &fault);
    if (error == MP_ERR_MEMORY) {
        release(stage, bundle);
    } else if (error) {
        stage_bury(stage, bundle->feed, bundle->parts, bundle->parts_count,
                   error == MP_ERR_TOO_LARGE ? PROTOCOL_REASON_OVERFLOW : PROTOCOL_REASON_FORMAT, fault_text(&fault));
        bundle_free(stage, bundle);
    } else {
        stage_emit(stage, bundle->feed, bundle->parts, bundle->parts_count);
        bundle_free(stage, bundle);
    }
    staging_clear(staging);
}

/* Keeps the worst that was said of BUNDLE. */
static void note(struct bundle *bundle, const struct stage_outcome *outcome)
{
    /* From what harms least to what cannot be helped. */
    static const int severity[] = {
        [STAGE_SUCCEEDED] = 0, [STAGE_NOT_BEGUN] = 1, [STAGE_FAILED] = 2, [STAGE_REJECTED] = 3, [STAGE_MALFORMED] = 4};
    if (severity[outcome->end] <= severity[bundle->end])
        return;
    size_t size = outcome->note_size < PROTOCOL_NOTE_MAX ? outcome->note_size : PROTOCOL_NOTE_MAX;
    bundle->end = outcome->end;
    bundle->code = outcome->result.code;
    bundle->ended_early = outcome->result.ended_early;
    memory_release(bundle->note);
    bundle->note = size > 0 ? memory_copy_text(outcome->note, size) : NULL;
    bundle->note_size = bundle->note ? (uint16_t)size : 0;
}

static void log_failure(struct runner_stage *stage, const struct bundle *bundle, const struct stage_outcome *outcome)
{
    struct log_line line;
    char id[FRAME_ID_TEXT];
    char quoted[FAULT_QUOTE];
    size_t size;
    const char *words[] = {[STAGE_FAILED] = "failed, to be tried again",
                           [STAGE_REJECTED] = "rejected, dead",
                           [STAGE_MALFORMED] = "not in its format, dead"};
    if (log_limited(&stage->failures, clock_monotonic()))
        return;
    stage_log_begin(stage, &line, LOG_WARNING, bundle->inputs == 1 ? "message not done" : "messages not done");
    if (bundle->inputs == 1) {
        const struct format_item *item = &bundle->items[0];
        const char *text = frame_record_id(&item->record, id, &size);
        log_field(&line, "id", "%s", fault_quote(quoted, text, size));
        log_field(&line, "attempt", "%u", item->attempt);
    } else {
        log_field(&line, "messages", "%u", bundle->inputs);
    }
    bool last = outcome->end == STAGE_FAILED && is_last(stage, bundle->parts[0].parcel);
    log_field(&line, "outcome", "%s", last ? "failed at its last attempt, dead" : words[outcome->end]);
    if (outcome->result.code >= 0)
        log_field(&line, "exit", "%d", outcome->result.code);
    if (outcome->note_size > 0)
        log_field(&line, "note", "%.*s", (int)(outcome->note_size < 512 ? outcome->note_size : 512), outcome->note);
    log_field_suppressed(&line, &stage->failures);
    log_end(&line);
}

/* Takes the first off the list of those that wait. */
static struct bundle *take_ready(struct runner_stage *stage)
{
    struct bundle *bundle = stage->ready;
    stage->ready = bundle->next_ready;
    return bundle;
}

static bool may_begin(void *context, const struct stage_task *task, int64_t now)
{
    (void)context;
    return holds(((const struct runner_task *)task)->bundle, now); /* its first member */
}

static void finished(void *context, struct stage_task *done, const struct stage_outcome *outcome)
{
    struct runner_stage *stage = context;
    struct runner_task *task = (struct runner_task *)done; /* its first member */
    struct bundle *bundle = task->bundle;
    bundle->finished++;
    if (outcome->end != STAGE_NOT_BEGUN) {
        int64_t took = outcome->result.duration > 0 ? outcome->result.duration : clock_monotonic() - task->begun;
        histogram_add(&stage->times, took, 1);
        buckets_add(&stage->worked_for, buckets_wait, took, 1);
        stage->worked += done->count;
    }
    if (outcome->end == STAGE_NOT_BEGUN || outcome->result.ended_early)
        stage_not_tried(stage, bundle);
    else
        stage_judge(stage, bundle, outcome->end != STAGE_FAILED);
    if (outcome->end != STAGE_SUCCEEDED && outcome->end != STAGE_NOT_BEGUN && !outcome->result.ended_early)
        log_failure(stage, bundle, outcome);
    note(bundle, outcome);
    if (outcome->malformed_count > 0 && outcome->end != STAGE_MALFORMED && !has_lost(bundle) &&
        !bury_malformed(stage, bundle, outcome))
        bundle->end = STAGE_NOT_BEGUN;
    if (bundle->tasks_count > 1 && bundle->end == STAGE_SUCCEEDED &&
        buffer_append(&task->output, outcome->output, outcome->output_size))
        bundle->end = STAGE_NOT_BEGUN;
    turn_soon(&stage->turn);
    if (bundle->finished < bundle->added)
        return;
    if (bundle->added < bundle->tasks_count) {
        if (bundle->end == STAGE_SUCCEEDED)
            return;        /* the others wait for room */
        take_ready(stage); /* the others are not begun any more */
    }
    stage->at_work--;
    if (has_lost(bundle))
        bundle_drop(stage, bundle);
    else if (bundle->end == STAGE_SUCCEEDED)
        emit_bundle(stage, bundle, outcome->output, outcome->output_size);
    else
        settle_failed(stage, bundle);
}

/* ---- to commands ---------------------------------------------------------------------------------------------- */

bool stage_has_room(const struct runner_stage *stage)
{
    if (stage->ready || !stage->hands.operations)
        return !stage->ready;
    if (!stage_is_falling_back(stage))
        return hands_room(&stage->hands) > 0;
    return !stage->fallback.operations || hands_room(&stage->fallback) > 0;
}

/* Hands over what BUNDLE has left, as far as there is room; false when some is left. */
static bool hand_over(struct runner_stage *stage, struct bundle *bundle, int64_t now)
{
    const struct hands *hands = bundle->way == WAY_FALLBACK ? &stage->fallback : &stage->hands;
    while (bundle->added < bundle->tasks_count && hands_room(hands) > 0) {
        stage->at_work += bundle->added == 0;
        struct runner_task *task = &bundle->tasks[bundle->added++];
        task->begun = now;
        hands->operations->add(hands->object, &task->task);
    }
    return bundle->added == bundle->tasks_count;
}

/* Without a command: what the steps made of it goes out. */
static bool emit_items(struct runner_stage *stage, struct bundle *bundle)
{
    struct staging *staging = stage->settings.staging;
    enum mp_error error = MP_OK;
    if (feed_is_full(bundle->feed))
        return false;
    for (uint32_t i = 0; !error && i < bundle->items_count; i++)
        error = staging_add(staging, &bundle->items[i], bundle->items[i].record.producer != 0);
    if (error) {
        release(stage, bundle);
    } else {
        stage_emit(stage, bundle->feed, bundle->parts, bundle->parts_count);
        bundle_free(stage, bundle);
    }
    staging_clear(staging);
    return true;
}

/* Goes on with the first that waits; false when it has to wait on. */
static bool advance(struct runner_stage *stage, struct bundle *bundle, int64_t now)
{
    if (bundle->added == 0 && !holds(bundle, now)) {
        take_ready(stage);
        release(stage, bundle);
        return true;
    }
    if (!stage->hands.operations) {
        if (feed_is_full(bundle->feed))
            return false;
        take_ready(stage);
        return emit_items(stage, bundle);
    }
    if (bundle->added == 0) {
        bool probe = false;
        bundle->way = stage_way(stage, now, &probe);
        if (bundle->way == WAY_COMMAND && hands_room(&stage->hands) == 0)
            return false;
        bundle->probe = probe;
    }
    if (bundle->way == WAY_COMMAND || (bundle->way == WAY_FALLBACK && stage->fallback.operations)) {
        if (!hand_over(stage, bundle, now))
            return false;
        take_ready(stage);
        return true;
    }
    if (bundle->way == WAY_FALLBACK && feed_is_full(bundle->feed))
        return false;
    take_ready(stage);
    if (bundle->way == WAY_FALLBACK)
        stage_fall_back(stage, bundle);
    else
        release(stage, bundle);
    return true;
}

void stage_hand_over(struct runner_stage *stage)
{
    int64_t now = clock_monotonic();
    while (stage->ready && advance(stage, stage->ready, now))
        continue;
}

void stage_begin(struct runner_stage *stage, struct bundle *bundle)
{
    bool together = stage->model->mode == STAGE_BATCH && stage->model->end != PIPELINE_TO_FILE &&
                    stage->model->end != PIPELINE_TO_SOCKET;
    if (bundle_make_tasks(bundle, together)) {
        release(stage, bundle);
        return;
    }
    bundle->next_ready = NULL;
    if (stage->ready)
        stage->ready_last->next_ready = bundle;
    else
        stage->ready = bundle;
    stage->ready_last = bundle;
    stage_hand_over(stage);
}

void stage_give_back(struct runner_stage *stage)
{
    while (stage->ready && stage->ready->added == 0)
        release(stage, take_ready(stage));
    for (struct feed *feed = stage->feeds; feed; feed = feed->next)
        feed_return(feed);
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static void said(void *context, const char *line, size_t size)
{
    const struct runner_stage *stage = context;
    struct log_line log;
    stage_log_begin(stage, &log, LOG_INFO, "stderr");
    log_field(&log, "text", "%.*s", (int)(size < 1500 ? size : 1500), line);
    log_end(&log);
}

static void set_paused(struct runner_stage *stage, const char *words)
{
    struct log_line line;
    bool was = stage->paused[0] != '\0';
    if (words ? strcmp(words, stage->paused) == 0 : !was)
        return;
    snprintf(stage->paused, sizeof stage->paused, "%s", words ? words : "");
    stage_log_begin(stage, &line, words ? LOG_WARNING : LOG_INFO, words ? "stage paused" : "stage goes on");
    if (words)
        log_field(&line, "why", "%s", words);
    log_end(&line);
    stage_changed(stage);
    turn_soon(&stage->turn);
}

static void paused(void *context, int exit, const struct fault *fault)
{
    set_paused(context, exit != 0 ? fault_text(fault) : NULL);
}

static void sink_paused(void *context, const char *why)
{
    set_paused(context, why);
}

static void ready(void *context)
{
    struct runner_stage *stage = context;
    turn_soon(&stage->turn);
}

static void broke(void *context, const struct fault *fault)
{
    const struct runner_stage *stage = context;
    struct log_line line;
    stage_log_begin(stage, &line, LOG_WARNING, "command begun anew");
    log_field(&line, "why", "%s", fault_text(fault));
    log_end(&line);
}

static enum mp_error open_work(struct runner_stage *stage, const struct pipeline_command *command, struct hands *hands,
                               struct fault *fault)
{
    const struct pipeline_stage *model = stage->model;
    const struct stage_work_settings settings = {
        .base = stage->settings.base,
        .children = stage->settings.children,
        .argv = command->argv,
        .shell = command->shell,
        .directory = command->directory,
        .environment = command->environment,
        .signals = stage->settings.signals,
        .mode = model->mode,
        .format = model->format,
        .workers = model->workers,
        .timeout = model->timeout,
        .context = stage,
        .finished = finished,
        .said = said,
        .paused = paused,
        .may_begin = may_begin,
        .ready = ready,
        .broke = broke,
    };
    struct stage_work *work;
    enum mp_error error = stage_work_open(&settings, &work, fault);
    if (!error)
        *hands = hands_of_work(work);
    return error;
}

static enum mp_error open_sink(struct runner_stage *stage, struct fault *fault)
{
    const struct sink_settings settings = {
        .base = stage->settings.base,
        .stage = stage->model,
        .context = stage,
        .finished = finished,
        .paused = sink_paused,
    };
    struct sink *sink;
    enum mp_error error = sink_open(&settings, &sink, fault);
    if (!error)
        stage->hands = hands_of_sink(sink);
    return error;
}

static bool is_command(const struct pipeline_command *command)
{
    return command->argv || command->shell;
}

enum mp_error stage_open_hands(struct runner_stage *stage, struct fault *fault)
{
    const struct pipeline_stage *model = stage->model;
    enum mp_error error = MP_OK;
    if (model->end == PIPELINE_TO_FILE || model->end == PIPELINE_TO_SOCKET)
        return open_sink(stage, fault);
    if (is_command(&model->command))
        error = open_work(stage, &model->command, &stage->hands, fault);
    if (!error && model->breaker.set && model->breaker.fallback == PIPELINE_FALLBACK_COMMAND)
        error = open_work(stage, &model->breaker.command, &stage->fallback, fault);
    return error;
}
