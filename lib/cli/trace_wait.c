/* What messages wait for, in words. */
#include "cli/trace_show.h"

#include "base/units.h"
#include "cli/admin_ask.h"
#include "message/formats.h"
#include "message/letter.h"
#include "queue/engine.h"

#include <inttypes.h>
#include <string.h>

static const json_t *find_group(const struct trace_picture *picture, const char *topic, const char *group)
{
    size_t index;
    const json_t *item;
    json_array_foreach(json_object_get(picture->view->status, "groups"), index, item)
    {
        if (!strcmp(admin_string(item, "topic"), topic) && !strcmp(admin_string(item, "group"), group))
            return item;
    }
    return NULL;
}

/* What a runner said of the stage or sink of that name, when it is not running as it should: NULL. */
static const json_t *find_stage(const struct trace_picture *picture, const char *name)
{
    size_t at, index;
    const json_t *runner, *stage, *found = NULL;
    json_array_foreach(json_object_get(picture->stages, "runners"), at, runner)
    {
        json_array_foreach(json_object_get(runner, "stages"), index, stage)
        {
            if (strcmp(admin_string(stage, "name"), name) != 0)
                continue;
            if (!strcmp(admin_string(stage, "state"), "running"))
                return NULL;
            found = stage;
        }
    }
    return found;
}

static enum mp_error put_stage(const json_t *stage, struct buffer *out)
{
    const char *state = admin_string(stage, "state"), *why = admin_string(stage, "why");
    const char *words = !strcmp(state, "open")     ? "for its stage, whose breaker is open"
                        : !strcmp(state, "full")   ? "for its stage, of which an output is full"
                        : !strcmp(state, "paused") ? "for its stage, which pauses"
                        : !strcmp(state, "failed") ? "for its stage, which has failed"
                                                   : "for its stage, which does not run";
    enum mp_error error = buffer_append_string(out, words);
    if (!error && *why)
        error = buffer_append_string(out, ": ");
    return error ? error : format_escape((const uint8_t *)why, strlen(why), out);
}

/* No other message keeps it from being given: somebody has to ask for it. */
static enum mp_error put_turn(const struct trace_picture *picture, const char *topic, const char *group,
                              uint64_t offset, struct buffer *out)
{
    const json_t *row = find_group(picture, topic, group), *stage = find_stage(picture, group);
    uint64_t most =
        row ? (uint64_t)json_integer_value(json_object_get(json_object_get(row, "settings"), "max_in_flight")) : 0;
    const struct trace_topic *letters = trace_log_find_topic(picture->view->log, topic);
    enum mp_error error;
    if (letters && letters->letters && !strcmp(group, "mretry"))
        return buffer_append_string(out, "for somebody to replay or discard it: mretry");
    if (!picture->view->status)
        error = buffer_append_string(out, picture->view->settings->store ? "for a consumer"
                                                                         : "for the relay, which does not run");
    else if (stage)
        error = put_stage(stage, out);
    else if (row && !json_is_true(json_object_get(row, "in_use")))
        error = buffer_append_string(out, "for a consumer: none takes messages of this group");
    else if (most > 0 && admin_number(row, "leased") >= most)
        error =
            buffer_append_format(out, "for the others: the group has %" PRIu64 " in flight, as many as it may", most);
    else
        error = buffer_append_string(out, "for its turn");
    uint64_t given = row ? admin_number(row, "given_to") : offset;
    if (!error && given < offset)
        error = buffer_append_format(out, "; %" PRIu64 " before it", offset - given);
    return error;
}

enum mp_error trace_wait_words(struct trace_picture *picture, const struct trace_node *node,
                               const struct trace_passage *passage, struct buffer *out, struct fault *fault)
{
    struct trace_view *view = picture->view;
    struct trace_wait wait;
    char text[32], topic[TRACE_NAME_TEXT], group[TRACE_NAME_TEXT];
    const char *topic_name = trace_log_topic_name(view->log, node->match.topic, topic);
    enum mp_error error = trace_history_wait(view->log, &node->history, passage, &wait, fault);
    if (error)
        return error;
    switch (wait.obstacle) {
    case TRACE_FREE:
        return MP_OK;
    case TRACE_DUE:
        units_duration_text(wait.until - trace_log_now(view->log), text, sizeof text);
        return buffer_append_format(out, "for its delay: tried again in %s", text);
    case TRACE_KEY:
        return buffer_append_format(out, "for the message of its key before it, %s@%" PRIu64, topic_name, wait.offset);
    case TRACE_HELD:
        return buffer_append_format(out, "for %s@%" PRIu64 ", dead, which holds its key: mretry replays it", topic_name,
                                    wait.offset);
    case TRACE_TURN:
        return put_turn(picture, topic_name, trace_log_group_name(view->log, passage->group, group), node->match.offset,
                        out);
    }
    return MP_OK;
}

const char *trace_state_name(const struct trace_passage *passage)
{
    static const char *const names[STATE_COUNT] = {
        [STATE_WAITING] = "waiting", [STATE_DELAYED] = "delayed",     [STATE_LEASED] = "working",
        [STATE_ACKED] = "acked",     [STATE_DEAD] = "dead",           [STATE_EXPIRED] = "expired",
        [STATE_DROPPED] = "dropped", [STATE_DUPLICATE] = "duplicate", [STATE_FOREIGN] = "not for it",
    };
    if (passage->skipped)
        return "not for it";
    return names[passage->state];
}

const char *trace_reason_name(unsigned reason)
{
    return reason > 0 && reason < ENGINE_REASONS ? letter_reasons[reason - 1] : "";
}
