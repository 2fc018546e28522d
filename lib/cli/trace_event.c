/* An event of the log, shown. */
#include "cli/trace_event.h"

#include "base/bits.h"
#include "base/units.h"
#include "cli/admin_ask.h"
#include "message/formats.h"
#include "message/letter.h"
#include "message/text.h"
#include "queue/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool trace_event_concerns(const struct store_event *event, uint64_t offset)
{
    if (offset < event->first || offset - event->first >= event->span)
        return false;
    return !event->mask || bits_get(event->mask, offset - event->first);
}

static bool is_failure(enum store_event_kind kind)
{
    return kind == EVENT_RETRIED || kind == EVENT_LAPSED || kind == EVENT_DEAD;
}

static enum trace_colour colour_of(enum store_event_kind kind)
{
    switch (kind) {
    case EVENT_ACKED:
        return TRACE_GOOD;
    case EVENT_LEASED:
        return TRACE_BUSY;
    case EVENT_RETRIED:
    case EVENT_LAPSED:
    case EVENT_RELEASED:
        return TRACE_SLOW;
    case EVENT_DEAD:
    case EVENT_DROPPED:
    case EVENT_EXPIRED:
        return TRACE_BAD;
    default:
        return TRACE_PLAIN;
    }
}

static const char *reason_of(const struct store_event *event)
{
    bool known = event->kind == EVENT_DEAD && event->due > ENGINE_REASON_NONE && event->due < ENGINE_REASONS;
    if (event->kind == EVENT_DROPPED && event->code == DROP_DAMAGED)
        return "damaged";
    return known ? letter_reasons[event->due - 1] : NULL;
}

/* orders.new@5, orders.new@5..9, or with a mask: orders.new@5..9 (3). */
static void print_place(const struct trace_view *view, const struct store_event *event, uint64_t offset)
{
    char name[TRACE_NAME_TEXT];
    fprintf(view->out, "%s%s%s", trace_colour(view, TRACE_NAME), trace_log_topic_name(view->log, event->topic, name),
            trace_colour(view, TRACE_PLAIN));
    if (event->kind == EVENT_GRANTED)
        fprintf(view->out, " from %" PRIu64, event->first);
    else if (offset != UINT64_MAX || event->span == 1)
        fprintf(view->out, "@%" PRIu64, offset != UINT64_MAX ? offset : event->first);
    else
        fprintf(view->out, "@%" PRIu64 "..%" PRIu64, event->first, event->first + event->span - 1);
    if (offset == UINT64_MAX && event->span > 1)
        fprintf(view->out, event->count == event->span ? " (%" PRIu32 ")" : " (%" PRIu32 " of them)", event->count);
}

static void print_session(const struct trace_view *view, const struct store_event *event)
{
    const char *client = event->session ? trace_log_session(view->log, event->session) : "";
    if (*client)
        fprintf(view->out, event->kind == EVENT_PUBLISHED ? " by %s" : " with %s", client);
}

/* What stands behind the place: attempt, exit code, delay, reason. */
static void print_details(const struct trace_view *view, const struct store_event *event)
{
    char text[32];
    const char *reason = reason_of(event);
    if (event->kind == EVENT_LEASED && event->attempt > 1)
        fprintf(view->out, ", attempt %" PRIu32, event->attempt);
    if (is_failure(event->kind) && event->attempt > 0)
        fprintf(view->out, ", attempt %" PRIu32, event->attempt);
    if (reason)
        fprintf(view->out, ", %s", reason);
    if (is_failure(event->kind) && event->code >= 0 && event->kind != EVENT_LAPSED)
        fprintf(view->out, ", exit %" PRId32, event->code);
    if (event->kind == EVENT_RETRIED && event->due > event->time) {
        units_duration_text(event->due - event->time, text, sizeof text);
        fprintf(view->out, ", again in %s", text);
    }
    if (event->kind == EVENT_PUBLISHED && event->code > 0)
        fprintf(view->out, ", %" PRId32 " known already", event->code);
    if (event->kind == EVENT_PUBLISHED && event->due > 0) {
        units_duration_text(event->time - event->due, text, sizeof text);
        fprintf(view->out, ", delayed for %s", text);
    }
}

static enum mp_error print_note(const struct trace_view *view, const struct store_event *event)
{
    struct buffer text = {0};
    if (!is_failure(event->kind) || event->note_size == 0)
        return MP_OK;
    enum mp_error error = letter_note(event->note, event->note_size, &text);
    if (!error)
        fprintf(view->out, ": %s%.*s%s", trace_colour(view, TRACE_BAD), (int)text.size, (const char *)text.data,
                trace_colour(view, TRACE_PLAIN));
    buffer_free(&text);
    return error;
}

enum mp_error trace_event_print(const struct trace_view *view, const struct store_event *event, uint64_t offset)
{
    char time[TRACE_TIME_TEXT], name[TRACE_NAME_TEXT];
    trace_time_text(view, trace_log_wall(view->log, event->time), time);
    fprintf(view->out, "%s%s%s %s%-9s%s ", trace_colour(view, TRACE_DIM), time, trace_colour(view, TRACE_PLAIN),
            trace_colour(view, colour_of(event->kind)), trace_kind_name(event->kind), trace_colour(view, TRACE_PLAIN));
    if (event->kind == EVENT_SESSION) {
        fprintf(view->out, "%s\n", trace_log_session(view->log, event->session));
        return MP_OK;
    }
    print_place(view, event, offset);
    if (event->group)
        fprintf(view->out, " %s %s", event->kind == EVENT_PUBLISHED ? "for" : "→",
                trace_log_group_name(view->log, event->group, name));
    print_details(view, event);
    print_session(view, event);
    enum mp_error error = print_note(view, event);
    putc('\n', view->out);
    return error;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

static void set_text(json_t *object, const char *name, const char *value)
{
    if (value && *value)
        json_object_set_new(object, name, json_string(value));
}

static enum mp_error set_note(json_t *object, const struct store_event *event)
{
    struct buffer text = {0};
    if (!is_failure(event->kind) || event->note_size == 0)
        return MP_OK;
    enum mp_error error = letter_note(event->note, event->note_size, &text);
    if (!error)
        json_object_set_new(object, "error", json_stringn((const char *)text.data, text.size));
    buffer_free(&text);
    return error;
}

static void set_range(json_t *object, const struct store_event *event, uint64_t offset)
{
    bool one = offset != UINT64_MAX;
    json_object_set_new(object, "offset", json_integer((json_int_t)(one ? offset : event->first)));
    if (event->kind == EVENT_GRANTED)
        return;
    json_object_set_new(object, "count", json_integer(one ? 1 : event->count));
    if (!one && event->span != event->count)
        json_object_set_new(object, "span", json_integer(event->span));
}

enum mp_error trace_event_print_json(const struct trace_view *view, const struct store_event *event, uint64_t offset)
{
    char name[TRACE_NAME_TEXT], time[UNITS_TIME_TEXT];
    json_t *object = json_object();
    if (!object)
        return MP_ERR_MEMORY;
    units_time_text(trace_log_wall(view->log, event->time), time);
    json_object_set_new(object, "event", json_integer((json_int_t)event->id));
    json_object_set_new(object, "time", json_string(time));
    json_object_set_new(object, "kind", json_string(trace_kind_name(event->kind)));
    if (event->kind != EVENT_SESSION) {
        set_text(object, "topic", trace_log_topic_name(view->log, event->topic, name));
        set_range(object, event, offset);
    }
    if (event->group)
        set_text(object, "group", trace_log_group_name(view->log, event->group, name));
    if (event->attempt > 0)
        json_object_set_new(object, "attempt", json_integer(event->attempt));
    set_text(object, "reason", reason_of(event));
    if (is_failure(event->kind) && event->code >= 0 && event->kind != EVENT_LAPSED)
        json_object_set_new(object, "exit", json_integer(event->code));
    if (event->kind == EVENT_RETRIED || (event->kind == EVENT_PUBLISHED && event->due > 0)) {
        units_time_text(trace_log_wall(view->log, event->due), time);
        json_object_set_new(object, event->kind == EVENT_RETRIED ? "due" : "scheduled", json_string(time));
    }
    if (event->session)
        set_text(object, "client", trace_log_session(view->log, event->session));
    enum mp_error error = set_note(object, event);
    admin_write_json(object, view->out);
    json_decref(object);
    return error;
}

/* ---- bodies ------------------------------------------------------------------------------------------------------ */

static enum mp_error print_body(const struct trace_view *view, uint64_t offset, const struct record *record)
{
    struct buffer text = {0};
    size_t most = view->terminal ? view->columns : SIZE_MAX, taken = record->size < most ? record->size : most;
    enum mp_error error = format_escape(record->body, taken, &text);
    if (!error) {
        fprintf(view->out, "  %s%" PRIu64 "%s ", trace_colour(view, TRACE_DIM), offset,
                trace_colour(view, TRACE_PLAIN));
        fwrite(text.data, 1, text.size, view->out);
        fputs(taken < record->size ? " ...\n" : "\n", view->out);
    }
    buffer_free(&text);
    return error;
}

enum mp_error trace_event_print_bodies(const struct trace_view *view, const struct store_event *event, uint64_t offset,
                                       struct fault *fault)
{
    uint64_t first = offset == UINT64_MAX ? event->first : offset;
    uint64_t end = offset == UINT64_MAX ? event->first + event->span : offset + 1;
    enum mp_error error = MP_OK;
    if (event->kind == EVENT_SESSION || event->kind == EVENT_GRANTED)
        return MP_OK;
    for (uint64_t at = first; !error && at < end; at++) {
        struct trace_message message;
        if (!trace_event_concerns(event, at))
            continue;
        error = trace_log_message(view->log, event->topic, at, &message, fault);
        if (error == MP_ERR_NOT_FOUND) {
            fprintf(view->out, "  %s%" PRIu64 " (its body is gone)%s\n", trace_colour(view, TRACE_DIM), at,
                    trace_colour(view, TRACE_PLAIN));
            error = MP_OK;
            continue;
        }
        if (!error && print_body(view, at, &message.record))
            error = fault_memory(fault);
    }
    return error;
}
