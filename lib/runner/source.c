/*
 * What all sources have in common: messages go through the steps into frames, and frames to the relay, one at a time.
 *
 * When none is in flight, what there is goes at once; while one is, the next one fills; when that is full, nothing is
 * taken in. A source that has lost its session with a frame in flight, or is refused for a reason that may pass, begins
 * anew: what its kind can take in again (a file, from the place that was acknowledged) is sent again.
 */
#include "runner/source.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/turn.h"
#include "client/link.h"
#include "policy/backoff.h"
#include "runner/source_frames.h"
#include "runner/source_private.h"
#include "stage/steps.h"
#include "transport/address.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum {
    FRAMES_MAX = 2,          /* frames that wait, past which nothing is taken in */
    AT_ONCE = 65536,         /* messages that are taken in one turn */
    LEAVE_PATIENCE = 500000, /* microseconds for the good-bye */
    NO_MEMORY_WAIT = 100000  /* microseconds */
};

struct source {
    struct source_settings settings;
    const struct source_kind *kind;
    void *state; /* the kind's; NULL: it is not open */
    char *url;
    struct client_link *link;
    struct stage_steps *steps;
    struct turn turn;

    struct format_item item; /* one that waits for a step */
    uint64_t item_mark;
    bool has_item;

    struct source_frames frames;
    struct source_frame *flying; /* its notes and mark; its bytes are the client's */
    uint32_t flying_count;
    uint32_t flying_stored;
    size_t flying_note; /* the next one to be told */
    size_t flying_id;   /* where its id is */
    uint64_t mark;      /* of the last message that was taken in, */
    uint64_t done;      /* and up to which the kind was told that all are done with */
    unsigned emitted;   /* of the message that is in the steps */

    bool stopping;
    bool at_end;  /* the kind has nothing more */
    bool leaving; /* the relay was told good-bye */
    bool broken;  /* the session is over: begin anew */
    bool ended;
    bool failed;
    unsigned failures; /* in a row */
    int64_t begin_at;  /* when it begins anew */
    int64_t leave_by;
    int64_t give_up;       /* when it ends with what is not stored; CLOCK_NEVER */
    bool full;             /* the topic has no room, */
    char room[FAULT_TEXT]; /* in the relay's words */
    bool waiting;          /* the kind waits */
    char why[FAULT_TEXT];
    struct source_report report;
    struct log_limit limit;
};

static void changed(struct source *source)
{
    if (source->settings.changed)
        source->settings.changed(source->settings.context);
}

/* ---- what kinds call ------------------------------------------------------------------------------------------ */

void source_wake(struct source *source)
{
    turn_soon(&source->turn);
}

size_t source_limit(const struct source *source)
{
    size_t limit = client_welcome(client_link_client(source->link))->max_message;
    return limit && limit < FRAME_BODY_MAX ? limit : FRAME_BODY_MAX;
}

static void tell(struct source *source, enum log_level level, const char *event, const char *why)
{
    struct log_line line;
    log_begin(&line, level, event);
    log_field(&line, "source", "%s", source->settings.source->name);
    log_field(&line, "why", "%s", why);
    log_field_suppressed(&line, &source->limit);
    log_end(&line);
}

void source_warn(struct source *source, const char *event, const char *why)
{
    if (!log_limited(&source->limit, clock_monotonic()))
        tell(source, LOG_WARNING, event, why);
}

void source_wait(struct source *source, const char *why, ...)
{
    char text[FAULT_TEXT] = "";
    bool waiting = why != NULL;
    if (why) {
        va_list arguments;
        va_start(arguments, why);
        vsnprintf(text, sizeof(text), why, arguments);
        va_end(arguments);
    }
    if (waiting == source->waiting && strcmp(text, source->why) == 0)
        return;
    if (waiting && !source->waiting)
        tell(source, LOG_INFO, "source waits", text);
    source->waiting = waiting;
    memcpy(source->why, text, sizeof(text));
    changed(source);
}

int64_t source_again(unsigned failures)
{
    static const int64_t first = 100000;
    static const int64_t most = 30000000;
    /* It need not be more random than that what failed together does not come back together. */
    uint64_t random = ((uint64_t)clock_wall() ^ (uint64_t)getpid() << 32) * UINT64_C(0x9e3779b97f4a7c15);
    return backoff_delay(BACKOFF_EXPONENTIAL, first, most, 0.2, failures, random);
}

void source_missed(struct source *source, uint64_t count, const char *why)
{
    source->report.missed += count;
    if (count)
        source_warn(source, "ticks missed", why);
}

/* ---- what the relay tells ------------------------------------------------------------------------------------- */

/* Tells the kind of COUNT messages in flight; ORIGIN: they are stored, the first of them under that. */
static void settle_notes(struct source *source, uint32_t count, bool stored, uint64_t producer, uint64_t sequence)
{
    struct source_frame *frame = source->flying;
    uint32_t from = source->flying_stored;
    for (; source->flying_note < frame->notes_count; source->flying_note++) {
        const struct source_note *note = &frame->notes[source->flying_note];
        char text[FRAME_ID_TEXT];
        const char *id = (const char *)frame->ids.data + source->flying_id;
        size_t size = note->id_size;
        if (note->index - from >= count)
            break;
        if (!size) {
            frame_origin_text(producer, sequence + (note->index - from), text);
            id = text;
            size = FRAME_ID_TEXT - 1;
        }
        source->kind->settled(source->state, note->mark, stored ? id : NULL, stored ? size : 0);
        source->flying_id += note->id_size;
    }
}

/* COUNT messages in flight are done with. */
static void landed(struct source *source, uint32_t count, bool stored)
{
    uint64_t producer = 0;
    uint64_t sequence = 0;
    if (!source->flying)
        return;
    if (stored)
        client_stored_origin(client_link_client(source->link), &producer, &sequence);
    if (source->kind->settled)
        settle_notes(source, count, stored, producer, sequence);
    source->flying_stored += count;
    if (source->flying_stored < source->flying_count)
        return;
    source->done = source->flying->mark;
    if (source->kind->done)
        source->kind->done(source->state, source->done);
    source_frames_return(&source->frames, source->flying);
    source->flying = NULL;
}

static void on_welcomed(void *context, const struct protocol_welcome *welcome)
{
    (void)welcome;
    struct source *source = context;
    source_wake(source);
    changed(source); /* the relay is not away any more */
}

static void on_published(void *context, uint64_t offset, uint32_t count, uint32_t duplicates)
{
    (void)offset;
    (void)duplicates;
    struct source *source = context;
    source->report.out += count;
    source->failures = 0;
    landed(source, count, true);
    source_wake(source);
}

/* Why it begins anew. */
static void break_off(struct source *source, const char *why)
{
    struct fault fault = {0};
    fault_set(&fault, MP_ERR_IO, "%s", why);
    source->broken = true;
    source_wait(source, "%s", fault_text(&fault));
    source_wake(source);
}

/* What the messages themselves are to blame for is dropped with them; anything else may come right. */
static void on_refused(void *context, enum mp_error error, const char *text)
{
    struct source *source = context;
    bool theirs = error == MP_ERR_TOO_LARGE || error == MP_ERR_OVERFLOW || error == MP_ERR_FORMAT ||
                  error == MP_ERR_INVALID || error == MP_ERR_DAMAGED;
    if (!theirs) {
        break_off(source, text);
        return;
    }
    uint32_t count = source->flying ? source->flying_count - source->flying_stored : 0;
    source->report.rejected += count;
    source_warn(source, "messages refused", text);
    landed(source, count, false);
    source_wake(source);
}

static void on_full(void *context, bool full, const char *text)
{
    struct source *source = context;
    source->full = full;
    snprintf(source->room, sizeof source->room, "%s", text ? text : "");
    changed(source);
}

static void on_failed(void *context, enum mp_error error, const char *text)
{
    (void)error;
    break_off(context, text);
}

/* ---- taking in ------------------------------------------------------------------------------------------------ */

static enum mp_error on_emit(void *context, const struct format_item *item)
{
    struct source *source = context;
    uint64_t producer;
    uint64_t sequence;
    client_origin(client_link_client(source->link), &producer, &sequence);
    bool noted = source->kind->settled && source->emitted == 0;
    uint64_t before = source->frames.mender.count;
    enum mp_error error = source_frames_add(&source->frames, item, source->item_mark, noted, producer, clock_wall());
    if (source->frames.mender.count > before) {
        source->report.retraced += source->frames.mender.count - before;
        source_warn(source, "traceparent replaced", "it is none by W3C Trace Context: the message is of its own trace");
    }
    source->emitted += error == MP_OK;
    return error;
}

static void on_log(void *context, const struct stage_field *fields, size_t count)
{
    struct source *source = context;
    struct log_line line;
    log_begin(&line, LOG_INFO, "message");
    log_field(&line, "source", "%s", source->settings.source->name);
    for (size_t i = 0; i < count; i++)
        log_field(&line, fields[i].name, "%.*s", fields[i].size < 2048 ? (int)fields[i].size : 2048, fields[i].value);
    log_end(&line);
}

/* What goes no further. */
static void drop(struct source *source, uint64_t *counter)
{
    (*counter)++;
    if (source->kind->settled)
        source->kind->settled(source->state, source->item_mark, NULL, 0);
}

/* Takes the message that was read through the steps. False: not now. */
static bool take(struct source *source, int64_t now, int64_t *due)
{
    enum stage_verdict verdict = STAGE_DONE;
    struct stage_result_of_steps result = {0};
    source->emitted = 0;
    enum mp_error error =
        stage_steps_apply(source->steps, &source->item, source->item_mark, now, clock_wall(), &verdict, &result);
    if (error == MP_OK && verdict == STAGE_WAIT) {
        *due = result.due < *due ? result.due : *due;
        return false;
    }
    if (error == MP_ERR_MEMORY && !source->emitted) {
        *due = now + NO_MEMORY_WAIT;
        return false;
    }
    source->has_item = false;
    source->mark = source->item_mark;
    if (error || verdict == STAGE_DEAD) {
        source_warn(source, "message rejected", error ? mp_error_text(error) : result.note);
        if (!source->emitted)
            drop(source, &source->report.rejected);
        else
            source->report.rejected++; /* some of what came of it */
    } else if (!source->emitted) {
        drop(source, &source->report.skipped);
    }
    return true;
}

static void fail(struct source *source, const struct fault *fault)
{
    source_wait(source, "%s", fault_text(fault));
    tell(source, LOG_ERROR, "source failed", fault_text(fault));
    source->failed = true;
    source->at_end = true;
}

/* Reads the next message. False: there is none now. */
static bool read_item(struct source *source, int64_t now, int64_t *due)
{
    struct fault fault = {0};
    enum mp_error error = source->kind->next(source->state, &source->item, &source->item_mark, now, due, &fault);
    switch (error) {
    case MP_OK:
        source->report.in++;
        source->has_item = true;
        return true;
    case MP_ERR_FORMAT:
    case MP_ERR_TOO_LARGE:
        source->report.in++;
        source->report.rejected++;
        source_warn(source, "not a message", fault_text(&fault));
        return true;
    case MP_ERR_AGAIN:
        return false;
    case MP_ERR_CLOSED:
        source->at_end = true;
        return false;
    default:
        fail(source, &fault);
        return false;
    }
}

/* Fills frames as far as there are messages and room. True: there may be more at once. */
static bool fill(struct source *source, int64_t now, int64_t *due)
{
    for (unsigned taken = 0; source->frames.count < FRAMES_MAX; taken++) {
        if (taken == AT_ONCE)
            return true;
        if (!source->has_item && (source->at_end || !read_item(source, now, due)))
            break;
        if (source->has_item && !take(source, now, due))
            break;
    }
    return false;
}

/* ---- publishing ----------------------------------------------------------------------------------------------- */

/* Sends the first frame, if there is one and none is in flight. */
static void publish(struct source *source)
{
    struct client *client = client_link_client(source->link);
    struct fault fault = {0};
    if (!source->frames.first || !source->frames.first->builder.count || source->flying || !client_can_publish(client))
        return;
    struct source_frame *frame = source_frames_shift(&source->frames);
    uint32_t count = frame->builder.count;
    const struct client_publication to = {.topic = source->settings.source->to.topic};
    frame_finish(&frame->builder, frame->time);
    enum mp_error error = client_publish(client_link_use(source->link), &to, &frame->builder, &fault);
    if (error) {
        source_frames_unshift(&source->frames, frame);
        break_off(source, fault_text(&fault));
        return;
    }
    frame->builder.count = 0;
    source->flying = frame;
    source->flying_count = count;
    source->flying_stored = 0;
    source->flying_note = 0;
    source->flying_id = 0;
}

/* ---- beginning and ending ------------------------------------------------------------------------------------- */

static void close_all(struct source *source)
{
    if (source->state)
        source->kind->free(source->state);
    source->state = NULL;
    client_link_close(source->link);
    source->link = NULL;
    source_frames_return(&source->frames, source->flying);
    source->flying = NULL;
    source_frames_free(&source->frames);
    stage_steps_free(source->steps);
    source->steps = NULL;
    source->has_item = false;
    source->full = false;
}

static enum mp_error open_link(struct source *source, struct fault *fault)
{
    char name[128];
    snprintf(name, sizeof(name), "source %.100s", source->settings.source->name);
    const struct client_settings client = {.name = name,
                                           .context = source,
                                           .welcomed = on_welcomed,
                                           .published = on_published,
                                           .refused = on_refused,
                                           .full = on_full,
                                           .failed = on_failed};
    return client_link_open(source->settings.base, source->url, &client, &source->link, fault);
}

static enum mp_error open_steps(struct source *source, struct fault *fault)
{
    const struct pipeline_source *what = source->settings.source;
    for (size_t i = 0; i < what->steps_count; i++)
        if (what->steps[i].kind == STAGE_STEP_AGGREGATE)
            return fault_set(
                fault, MP_ERR_INVALID,
                "source %s: a source cannot aggregate: let a stage do it, whose messages wait in their topic",
                what->name);
    const struct stage_steps_settings steps = {
        .steps = what->steps, .count = what->steps_count, .context = source, .emit = on_emit, .log = on_log};
    return stage_steps_open(&steps, &source->steps, fault);
}

static enum mp_error open_all(struct source *source, struct fault *fault)
{
    source->mark = source->done = 0;
    source->at_end = false;
    enum mp_error error = open_steps(source, fault);
    if (!error)
        error = open_link(source, fault);
    if (!error)
        error = source->kind->open(source, &source->settings, &source->state, fault);
    return error;
}

static void begin_anew(struct source *source, int64_t now)
{
    struct fault fault = {0};
    if (source->state || source->link) {
        uint32_t lost = source->flying ? source->flying_count - source->flying_stored : 0;
        if (lost)
            source_warn(source, "messages in flight", "whether the relay has stored them is not known");
        close_all(source);
        source->begin_at = now + source_again(++source->failures);
    }
    if (source->stopping) {
        source->ended = true;
        changed(source);
        return;
    }
    if (now < source->begin_at) {
        turn_by(&source->turn, source->begin_at);
        return;
    }
    enum mp_error error = open_all(source, &fault);
    source->broken = error != MP_OK;
    if (error) {
        source_wait(source, "%s", fault_text(&fault));
        source_wake(source);
    } else {
        source_wait(source, NULL);
    }
}

/* All was taken in and is stored: says good-bye, and ends. */
static void end(struct source *source, int64_t now)
{
    struct client *client = client_link_client(source->link);
    if (source->kind->idle && !source->kind->idle(source->state))
        return;
    if (!source->leaving) {
        source->leaving = true;
        source->leave_by = now + LEAVE_PATIENCE;
        client_leave(client_link_use(source->link));
    }
    if (!client_has_left(client) && now < source->leave_by) {
        turn_by(&source->turn, now + LEAVE_PATIENCE / 20);
        return;
    }
    source->ended = true;
    close_all(source);
    changed(source);
}

/* It was told to stop, and the relay does not take what it has: it ends without that. */
static void give_up(struct source *source)
{
    uint64_t left = source->flying ? source->flying_count - source->flying_stored : 0;
    for (const struct source_frame *frame = source->frames.first; frame; frame = frame->next)
        left += frame->builder.count;
    if (left) {
        char why[96];
        snprintf(why, sizeof(why), "the relay took none of %" PRIu64 " messages before the source had to end", left);
        tell(source, LOG_WARNING, "messages not stored", why);
    }
    source->ended = true;
    close_all(source);
    changed(source);
}

static void work(struct source *source, int64_t now)
{
    int64_t due = CLOCK_NEVER;
    if (source->broken) {
        begin_anew(source, now);
        return;
    }
    if (!client_is_welcome(client_link_client(source->link)) && !source->leaving) {
        if (source->stopping && !source->flying && !source->frames.first)
            end(source, now);
        return;
    }
    publish(source);
    bool more = fill(source, now, &due);
    publish(source);
    bool empty = !source->flying && (!source->frames.first || !source->frames.first->builder.count);
    if (empty && source->done != source->mark) {
        source->done = source->mark; /* the last ones were dropped */
        if (source->kind->done)
            source->kind->done(source->state, source->done);
    }
    if (empty && source->at_end && !source->has_item && !source->broken)
        end(source, now);
    if (more)
        turn_soon(&source->turn);
    turn_by(&source->turn, due);
}

static void on_turn(void *context)
{
    struct source *source = context;
    int64_t now = clock_monotonic();
    if (source->ended)
        return;
    if (now >= source->give_up)
        give_up(source);
    else
        work(source, now);
    if (!source->ended)
        turn_by(&source->turn, source->give_up);
}

/* ---- what the owner calls ------------------------------------------------------------------------------------- */

static const struct source_kind *kind_of(const struct pipeline_source *source)
{
    switch (source->kind) {
    case PIPELINE_COMMAND:
        return &source_kind_command;
    case PIPELINE_EVERY:
    case PIPELINE_CRON:
        return &source_kind_clock;
    case PIPELINE_FILE:
        return &source_kind_file;
    case PIPELINE_SOCKET:
        break;
    }
    return &source_kind_socket;
}

enum mp_error source_open(const struct source_settings *settings, struct source **result, struct fault *fault)
{
    struct address address;
    enum mp_error error = address_of_relay(settings->relay, &address, fault);
    if (error)
        return error;
    struct source *source = memory_allocate(sizeof(*source));
    if (!source)
        return fault_memory(fault);
    source->settings = *settings;
    source->kind = kind_of(settings->source);
    source->give_up = CLOCK_NEVER;
    source->url = memory_copy_text(address.text, strlen(address.text));
    error = source->url ? turn_open(&source->turn, settings->base, on_turn, source) : MP_ERR_MEMORY;
    if (error)
        fault_memory(fault);
    else
        error = open_all(source, fault);
    if (error) {
        source_free(source);
        return error;
    }
    turn_soon(&source->turn);
    *result = source;
    return MP_OK;
}

void source_free(struct source *source)
{
    if (!source)
        return;
    turn_close(&source->turn);
    close_all(source);
    memory_release(source->url);
    memory_release(source);
}

void source_stop(struct source *source, int64_t deadline)
{
    if (source->ended)
        return;
    if (deadline < source->give_up)
        source->give_up = deadline;
    source_wake(source);
    if (source->stopping)
        return;
    source->stopping = true;
    if (source->state)
        source->kind->stop(source->state);
}

bool source_has_ended(const struct source *source)
{
    return source->ended;
}

struct source_report source_report(const struct source *source)
{
    struct source_report report = source->report;
    report.state = SOURCE_RUNNING;
    report.why = "";
    if (source->ended) {
        report.state = source->failed ? SOURCE_FAILED : SOURCE_ENDED;
        report.why = source->failed ? source->why : "";
    } else if (source->waiting) {
        report.state = SOURCE_WAITING;
        report.why = source->why;
    } else if (source->full) {
        report.state = SOURCE_WAITING;
        report.why = source->room[0] ? source->room : "the topic is full";
    } else if (!source->link || !client_link_connected(source->link)) {
        report.state = SOURCE_WAITING;
        report.why = "the relay is away";
    }
    return report;
}
