/* Messages to stdout. */
#include "cli/receive_output.h"

#include "base/memory.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/receive_sink.h"

#include <errno.h>
#include <unistd.h>

enum {
    BUFFER = 256 * 1024, /* bytes that are gathered before they are written */
    LARGE = 64 * 1024,   /* bodies from here on are written from where they are */
    LOOK_FIRST = 1000,   /* microseconds until a pipe is looked at again, */
    LOOK_LAST = 32000,   /* doubled up to this */
    WINDOW_LAST = 8192   /* messages; a reader that has taken so many at once gets whatever the pipe holds */
};

struct receive_output {
    struct receive_output_settings settings;
    struct receive_sink sink;
    bool stopped;
    bool warned; /* of a body with the separator */

    struct buffer buffer; /* to be written, from `at` on; then `large` */
    size_t at;
    const uint8_t *large;
    size_t large_size;
    bool trailer; /* the separator of the large body comes next */
    struct buffer scratch;
    struct buffer block;

    struct stage_queue queue;     /* what is not wholly handed over */
    struct stage_parcel *filling; /* the first of them that is not wholly taken */
    uint32_t window;              /* messages that may be in the pipe at once; 0: any number */
    uint32_t begun;               /* how many were put there since it was empty */
    uint64_t made;                /* bytes put into `buffer` and `large` since the start */
    uint64_t freed;               /* where the last message of the parcels ends that are done with */
    int64_t look_at;              /* when to look at the pipe again */
    int64_t pause;
};

/* ---- opening -------------------------------------------------------------------------------------------------- */

enum mp_error receive_output_open(const struct receive_output_settings *settings, struct receive_output **result,
                                  struct fault *fault)
{
    enum mp_error error = receive_sink_check(fault);
    if (error)
        return error;
    struct receive_output *output = memory_allocate(sizeof(*output));
    if (!output)
        return fault_memory(fault);
    output->settings = *settings;
    output->look_at = CLOCK_NEVER;
    error = receive_sink_open(&output->sink, settings->loop, fault);
    output->window = settings->slow_start && output->sink.counted ? 1 : 0;
    if (!error && buffer_reserve(&output->buffer, BUFFER))
        error = fault_memory(fault);
    if (error) {
        receive_output_free(output);
        return error;
    }
    *result = output;
    return MP_OK;
}

void receive_output_free(struct receive_output *output)
{
    if (!output)
        return;
    receive_sink_close(&output->sink);
    buffer_free(&output->buffer);
    buffer_free(&output->scratch);
    buffer_free(&output->block);
    stage_queue_free(&output->queue);
    memory_release(output);
}

enum mp_error receive_output_add(struct receive_output *output, struct stage_parcel *parcel, struct fault *fault)
{
    parcel->ends = memory_allocate_array(parcel->count, sizeof(*parcel->ends));
    if (!parcel->ends)
        return fault_memory(fault);
    stage_queue_add(&output->queue, parcel);
    if (!output->filling)
        output->filling = parcel;
    return MP_OK;
}

/* ---- building ------------------------------------------------------------------------------------------------- */

static int separator(const struct receive_output *output)
{
    return output->settings.format == FORMAT_LINES ? '\n' : '\0';
}

/* Whether a body is written as it stands, with no more than a length before it or a separator behind it. */
static bool is_plain(const struct receive_output *output)
{
    return !output->settings.template && output->settings.format != FORMAT_JSON && output->sink.kind != SINK_TERMINAL;
}

static void warn(struct receive_output *output)
{
    output->warned = true;
    if (output->settings.format == FORMAT_LINES)
        tell("a message holds a newline, so that its end cannot be told from a line's: use -F null, length or json");
    else
        tell("a message holds a NUL byte, so that its end cannot be told from that of a message: use -F length or "
             "json");
}

/* Puts RECORD into the buffer as it is. False: no room now. */
static bool put_plain(struct receive_output *output, const struct record *record)
{
    struct buffer *buffer = &output->buffer;
    enum format format = output->settings.format;
    size_t head = format == FORMAT_LENGTH ? 4 : 0;
    size_t tail = format == FORMAT_LINES || format == FORMAT_NULL ? 1 : 0;
    bool large = record->size >= LARGE;
    size_t need = head + (large ? 0 : record->size + tail);
    if (need > BUFFER - buffer->size)
        return false;
    uint8_t *at = buffer->data + buffer->size;
    if (head) {
        at[0] = (uint8_t)(record->size >> 24);
        at[1] = (uint8_t)(record->size >> 16);
        at[2] = (uint8_t)(record->size >> 8);
        at[3] = (uint8_t)record->size;
    }
    if (large) {
        output->large = record->body;
        output->large_size = record->size;
        output->trailer = tail != 0;
    } else {
        if (record->size)
            memcpy(at + head, record->body, record->size);
        if (tail)
            at[head + record->size] = (uint8_t)separator(output);
    }
    buffer->size += need;
    output->made += head + record->size + tail;
    if (tail && !output->warned && record->size && memchr(record->body, separator(output), record->size))
        warn(output);
    return true;
}

/* Appends ITEM as it is to be shown. */
static enum mp_error put_item(struct receive_output *output, const struct format_item *item, struct fault *fault)
{
    const struct receive_output_settings *settings = &output->settings;
    bool terminal = output->sink.kind == SINK_TERMINAL;
    struct buffer *out = terminal ? &output->scratch : &output->buffer;
    size_t before = output->buffer.size;
    enum mp_error error;
    output->scratch.size = 0;
    if (settings->template) {
        error = format_template_write(settings->template, item, out);
    } else {
        error = format_write(settings->format, item, out, fault);
        if (error == MP_ERR_FORMAT && settings->format != FORMAT_JSON) {
            /* On a terminal the separator inside is shown escaped. */
            char end = (char)separator(output);
            error = buffer_append(out, item->record.body, item->record.size);
            if (!error)
                error = buffer_append(out, &end, 1);
        }
    }
    if (!error && terminal)
        error = format_escape(output->scratch.data, output->scratch.size, &output->buffer);
    if (error == MP_ERR_MEMORY)
        fault_memory(fault);
    output->made += output->buffer.size - before;
    return error;
}

static bool window_is_full(const struct receive_output *output)
{
    return output->window && output->begun >= output->window;
}

/* Fills the buffer from the parcels, as far as the window allows. */
static enum mp_error fill(struct receive_output *output, struct fault *fault)
{
    bool plain = is_plain(output);
    while (output->filling && !output->large && !window_is_full(output)) {
        struct stage_parcel *parcel = output->filling;
        struct frame_cursor cursor = parcel->cursor;
        struct record record;
        if (!plain && output->buffer.size >= BUFFER / 2)
            return MP_OK;
        uint32_t index = parcel->taken;
        if (!stage_parcel_take(parcel, &record)) {
            output->filling = parcel->next;
            continue;
        }
        if (!plain) {
            struct format_item item = stage_parcel_item(parcel, &record, index);
            enum mp_error error = put_item(output, &item, fault);
            if (error)
                return error;
        } else if (!put_plain(output, &record)) {
            parcel->cursor = cursor;
            parcel->taken--;
            return MP_OK;
        }
        parcel->ends[index] = output->made;
        output->begun++;
        output->queue.messages--;
    }
    return MP_OK;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

/* Writes buffer and large body. MP_OK: all of it. */
static enum mp_error flush(struct receive_output *output, struct fault *fault)
{
    size_t done = 0;
    while (output->at < output->buffer.size) {
        enum mp_error error = receive_sink_write(&output->sink, output->buffer.data + output->at,
                                                 output->buffer.size - output->at, &done, fault);
        if (error)
            return error;
        output->at += done;
    }
    output->at = 0;
    output->buffer.size = 0;
    while (output->large) {
        enum mp_error error = receive_sink_write(&output->sink, output->large, output->large_size, &done, fault);
        if (error)
            return error;
        output->large += done;
        output->large_size -= done;
        if (output->large_size == 0)
            output->large = NULL;
    }
    if (output->trailer) {
        uint8_t end = (uint8_t)separator(output);
        output->trailer = false;
        return buffer_append(&output->buffer, &end, 1) ? fault_memory(fault) : MP_OK;
    }
    return MP_OK;
}

static enum mp_error write_all(struct receive_output *output, struct fault *fault)
{
    enum mp_error error = MP_OK;
    while (!error) {
        if (!output->stopped)
            error = fill(output, fault);
        if (!error && output->buffer.size == 0 && !output->large)
            return MP_OK;
        if (!error)
            error = flush(output, fault);
    }
    return error == MP_ERR_AGAIN ? MP_OK : error;
}

/* ---- handing over --------------------------------------------------------------------------------------------- */

/* Tells what the first BYTES bytes make whole. */
static void hand_over(struct receive_output *output, uint64_t bytes)
{
    while (output->queue.first) {
        struct stage_parcel *parcel = output->queue.first;
        uint32_t before = parcel->passed;
        uint32_t passed = before;
        while (passed < parcel->taken && parcel->ends[passed] <= bytes)
            passed++;
        parcel->passed = passed;
        if (passed > before)
            output->settings.handed(output->settings.context, parcel, before, passed - before);
        if (passed + parcel->settled < parcel->count)
            return;
        if (output->filling == parcel)
            output->filling = parcel->next;
        output->freed = passed > 0 ? parcel->ends[passed - 1] : output->freed;
        stage_parcel_free(stage_queue_shift(&output->queue));
    }
}

/* Sees to it that the pipe is looked at again while bytes wait in it: soon, and less often when nothing happens. */
static void look_later(struct receive_output *output, uint64_t bytes, bool progress, int64_t now, int64_t *due)
{
    if (bytes >= output->sink.written) {
        output->look_at = CLOCK_NEVER;
        return;
    }
    if (progress || output->look_at == CLOCK_NEVER)
        output->pause = LOOK_FIRST;
    else if (now >= output->look_at)
        output->pause = output->pause * 2 < LOOK_LAST ? output->pause * 2 : LOOK_LAST;
    if (progress || output->look_at == CLOCK_NEVER || now >= output->look_at)
        output->look_at = now + output->pause;
    *due = output->look_at < *due ? output->look_at : *due;
}

/* The reader has taken BYTES: when that is all there was, it may have twice as many messages next time. */
static void widen(struct receive_output *output, uint64_t bytes, int64_t now, int64_t *due)
{
    if (!window_is_full(output) || output->at < output->buffer.size || output->large || bytes < output->sink.written)
        return;
    output->window = output->window < WINDOW_LAST ? output->window * 2 : 0;
    output->begun = 0;
    if (output->filling)
        *due = now;
}

/* ---- what is not begun ---------------------------------------------------------------------------------------- */

/* Takes back what is made and not written: the message at which `written` stands is the last one. */
static void take_back(struct receive_output *output)
{
    uint64_t written = output->sink.written;
    uint64_t before = output->freed;
    bool cut = false;
    output->filling = NULL;
    for (struct stage_parcel *parcel = output->queue.first; parcel; parcel = parcel->next) {
        uint32_t index = cut ? 0 : parcel->passed;
        while (!cut && index < parcel->taken && parcel->ends[index] <= written)
            index++;
        if (!cut && index == parcel->taken) {
            before = index > 0 ? parcel->ends[index - 1] : before;
            continue;
        }
        if (!cut) {
            uint64_t start = index > 0 ? parcel->ends[index - 1] : before;
            bool begun = start != written;
            uint64_t end = begun ? parcel->ends[index] : start;
            uint64_t keep = end - written;
            if (keep <= output->buffer.size - output->at) {
                output->buffer.size = output->at + (size_t)keep;
                output->large = NULL;
                output->trailer = false;
            }
            output->made = end;
            index += begun;
            cut = true;
        }
        output->begun -= parcel->taken - index < output->begun ? parcel->taken - index : output->begun;
        parcel->taken = index;
    }
}

void receive_output_check(struct receive_output *output, int64_t now)
{
    const struct receive_output_settings *settings = &output->settings;
    if (!output->queue.last || settings->holds(settings->context, output->queue.last, now))
        return;
    take_back(output);
    for (struct stage_parcel *parcel = output->queue.first; parcel; parcel = parcel->next) {
        uint32_t rest = parcel->count - parcel->taken - parcel->settled;
        if (rest > 0)
            settings->returned(settings->context, parcel, parcel->taken, rest);
        parcel->settled += rest;
    }
}

void receive_output_stop(struct receive_output *output)
{
    if (!output->stopped)
        take_back(output);
    output->stopped = true;
}

enum mp_error receive_output_pump(struct receive_output *output, int64_t now, int64_t *due, struct fault *fault)
{
    receive_output_check(output, now);
    enum mp_error error = output->sink.gone ? output_error(STDOUT_FILENO, EPIPE, fault) : write_all(output, fault);
    if (!output->queue.first)
        return error;
    uint64_t bytes = 0;
    struct fault other = {0};
    enum mp_error count_error =
        receive_sink_handed(&output->sink, output->settings.sync, &bytes, error ? &other : fault);
    if (!count_error) {
        struct stage_parcel *first = output->queue.first;
        uint32_t passed = first->passed;
        hand_over(output, bytes);
        look_later(output, bytes, output->queue.first != first || first->passed != passed, now, due);
        widen(output, bytes, now, due);
    }
    return error ? error : count_error;
}

size_t receive_output_bytes(const struct receive_output *output)
{
    return output->queue.bytes;
}

bool receive_output_idle(const struct receive_output *output)
{
    if (!output->stopped)
        return output->queue.first == NULL;
    return output->at == output->buffer.size && !output->large && output->look_at == CLOCK_NEVER;
}

uint64_t receive_output_written(const struct receive_output *output)
{
    return output->sink.written;
}
