/* What a stream's process prints: answers, and which message each belongs to. */
#include "stage/work_stream.h"

#include <string.h>

/* ---- looking -------------------------------------------------------------------------------------------------- */

static void at_fault(struct work_stream *stream, const char *why)
{
    fault_set(&stream->why, MP_ERR_FORMAT, "%s", why);
    work_stream_break(stream);
}

/*
 * Finds the answers to what is under way in OUTPUT. *USED: their bytes. Returns how many; those that a fault was found
 * in are none.
 */
static uint32_t find(struct work_stream *stream, const struct buffer *output, size_t *used)
{
    uint32_t under_way = work_stream_under_way(stream);
    uint32_t count = 0;
    *used = 0;
    while (count < under_way) {
        struct format_message message;
        size_t size = 0;
        enum mp_error error = format_read(&stream->reader, output->data + *used, output->size - *used, false, &size,
                                          &message, &stream->why);
        if (error == MP_ERR_AGAIN)
            break;
        if (error) {
            at_fault(stream, "printed an answer that is larger than is allowed");
            return 0;
        }
        stream->spans[count++] = (struct work_span){.text = message.body, .size = message.size};
        *used += size;
    }
    if (count == under_way && output->size > *used) {
        at_fault(stream, under_way || stream->answered ? "printed more than one answer to a message"
                                                       : "printed something before it had a message");
        return 0;
    }
    if (count && work_stream_slot(stream, stream->first + count - 1)->end > stream->passed) {
        at_fault(stream, "answered a message before it had it");
        return 0;
    }
    return count;
}

/* Whether ANSWER, a JSON text, is to the message in SLOT: by its id, if it has one. */
static bool belongs(struct work_stream *stream, const struct work_span *answer, const struct work_slot *slot)
{
    if (answer->size == 0)
        return true;
    char own[FRAME_ID_TEXT];
    char quote[FAULT_QUOTE];
    char due[FAULT_QUOTE];
    size_t size;
    const char *id = frame_record_id(&slot->task->items->record, own, &size);
    struct buffer found = {0};
    struct fault fault = {0};
    enum mp_error error = format_pointer_read(stream->worker->work->id, answer->text, answer->size, &found, &fault);
    bool same = error == MP_OK && found.size == size && (size == 0 || memcmp(found.data, id, size) == 0);
    if (error == MP_ERR_FORMAT) {
        fault_set(&stream->why, MP_ERR_FORMAT, "printed what is not JSON: %s", fault_text(&fault));
        stream->malformed = true;
    } else if (error != MP_ERR_NOT_FOUND && !same) {
        fault_set(&stream->why, MP_ERR_FORMAT, "answered with the id %s where %s was due",
                  fault_quote(quote, error ? "?" : (const char *)found.data, error ? 1 : found.size),
                  fault_quote(due, id, size));
    }
    buffer_free(&found);
    return same || error == MP_ERR_NOT_FOUND;
}

static bool all_belong(struct work_stream *stream, uint32_t count)
{
    if (stream->worker->work->settings.format != FORMAT_JSON)
        return true;
    for (uint32_t i = 0; i < count; i++)
        if (!belongs(stream, &stream->spans[i], work_stream_slot(stream, stream->first + i))) {
            work_stream_break(stream);
            return false;
        }
    return true;
}

/* ---- taking --------------------------------------------------------------------------------------------------- */

/* The window follows what the process answers in WORK_QUICK: DURATION is how long the last one took. */
static void adapt(struct work_stream *stream, uint32_t count, int64_t duration)
{
    uint32_t most = stream->worker->work->settings.window;
    stream->round -= count;
    if (stream->round > 0)
        return;
    if (duration > 2 * WORK_QUICK)
        stream->window = stream->window / 2 > 2 ? stream->window / 2 : 2;
    else if (duration <= WORK_QUICK && stream->limited)
        stream->window = stream->window < most / 2 ? stream->window * 2 : most;
    stream->window = stream->window < most ? stream->window : most;
    stream->round = stream->window;
    stream->limited = false;
}

static void deliver(struct work_stream *stream, uint32_t count, int64_t now)
{
    struct stage_work *work = stream->worker->work;
    struct stage_outcome outcome = {.end = STAGE_SUCCEEDED, .result = {.code = -1}};
    for (uint32_t i = 0; i < count; i++) {
        struct work_slot *slot = work_stream_slot(stream, stream->first);
        outcome.output = stream->spans[i].text;
        outcome.output_size = stream->spans[i].size;
        outcome.result.duration = now - slot->given;
        stream->done = slot->end;
        stream->first++;
        work_finish(work, slot->task, &outcome);
    }
    stream->answered += count;
    stream->since = now;
    if (stream->first == stream->next) {
        stream->empty_since = now;
        stream->careful = stream->suspects.first;
    }
    adapt(stream, count, outcome.result.duration);
    if (stream->deaths || work->failures) {
        stream->deaths = 0;
        work_started(work);
    }
}

void work_stream_answers(struct work_stream *stream, int64_t now)
{
    struct stage_command *command = stream->worker->command;
    const struct buffer *output = stage_command_output(command);
    size_t used = 0;
    if (output->size == 0)
        return;
    uint32_t count = stream->broken ? 0 : find(stream, output, &used);
    if (!all_belong(stream, count))
        count = 0;
    if (stream->broken)
        stage_command_taken(command, output->size);
    if (count == 0)
        return;
    if (!stream->believed) {
        if (stream->listen_until == 0) {
            stream->listen_until = now + WORK_LISTEN;
            work_stream_schedule(stream, now);
        }
        return;
    }
    deliver(stream, count, now);
    stage_command_taken(command, used);
    work_wake(stream->worker->work);
}
