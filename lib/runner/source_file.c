/*
 * A file: read once, or followed. How far its messages are on the relay's disk is remembered after each acknowledgement,
 * so a runner that was killed sends again at most what was in flight: a frame, and those that had been acknowledged
 * since the last that it could note.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "runner/source_follow.h"
#include "runner/source_memory.h"
#include "runner/source_private.h"

#include <event2/event.h>
#include <inttypes.h>

enum { BLOCK = 256 * 1024 }; /* bytes that are read at once */

struct source_file {
    struct source *source;
    struct source_follow *follow;
    struct source_memory *memory; /* NULL: nothing is remembered */
    struct event *changed;        /* NULL: it is only looked now and then */
    struct format_reader reader;
    struct buffer input;
    size_t begin;  /* of what is not used yet in `input` */
    bool cut;      /* the file's end is the input's */
    bool anything; /* was read of this file */
    bool follows;
    bool stopped;
};

static void on_changed(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct source_file *file = context;
    source_wake(file->source);
}

static void free_file(void *state)
{
    struct source_file *file = state;
    if (file->changed)
        event_free(file->changed);
    source_follow_free(file->follow);
    source_memory_free(file->memory);
    format_reader_free(&file->reader);
    buffer_free(&file->input);
    memory_release(file);
}

/* Who starts a pipeline a second time may wonder why nothing comes. */
static void tell_place(const struct pipeline_source *what, uint64_t offset)
{
    struct log_line line;
    log_begin(&line, LOG_INFO, "reads on where it was");
    log_field(&line, "source", "%s", what->name);
    log_field(&line, "file", "%s", what->file);
    log_field(&line, "offset", "%" PRIu64, offset);
    log_end(&line);
}

static enum mp_error open_file(struct source *source, const struct source_settings *settings, void **state,
                               struct fault *fault)
{
    const struct pipeline_source *what = settings->source;
    struct source_file *file = memory_allocate(sizeof(*file));
    if (!file)
        return fault_memory(fault);
    *state = file;
    file->source = source;
    file->follows = what->follow;
    file->reader.format = what->format;
    enum mp_error error = MP_OK;
    if (settings->state)
        error = source_memory_open(settings->state, what->name, &file->memory, fault);
    if (error)
        return error;
    struct source_place place;
    bool goes_on = file->memory && source_place_parse(source_memory_text(file->memory), &place);
    const struct source_follow_settings follow = {
        .path = what->file, .follow = what->follow, .place = goes_on ? &place : NULL};
    struct fault gone = {0};
    error = source_follow_open(&follow, &file->follow, &gone);
    if (error)
        return fault_set(fault, error, "%s", fault_text(&gone));
    if (gone.code)
        source_warn(source, "file gone", fault_text(&gone));
    if (goes_on && place.offset > 0)
        tell_place(what, place.offset);
    /* A file that was read before is no message again because there is nothing more in it. */
    file->anything = !goes_on || place.offset == 0;
    int descriptor = source_follow_descriptor(file->follow);
    if (what->follow && descriptor >= 0) {
        file->changed = event_new(settings->base, descriptor, EV_READ, on_changed, file);
        if (!file->changed)
            return fault_memory(fault);
    }
    return MP_OK;
}

/* Nothing now: waits for a change. */
static enum mp_error await(struct source_file *file)
{
    if (file->changed)
        event_add(file->changed, NULL);
    return MP_ERR_AGAIN;
}

/* Reads on. MP_OK: there is more, or the file's end was found. */
static enum mp_error read_on(struct source_file *file, int64_t now, int64_t *due, struct fault *fault)
{
    if (file->begin) {
        buffer_consume(&file->input, file->begin);
        file->begin = 0;
    }
    /* As much again as there is of a long message, so that it is not moved too often. */
    size_t most = file->input.size > BLOCK ? file->input.size : BLOCK;
    switch (source_follow_read(file->follow, &file->input, most, now, due, fault)) {
    case SOURCE_FOLLOW_BYTES:
        source_wait(file->source, NULL);
        file->anything = true;
        return MP_OK;
    case SOURCE_FOLLOW_CUT:
        file->cut = true;
        return MP_OK;
    case SOURCE_FOLLOW_WAIT:
        source_wait(file->source, NULL);
        return await(file);
    case SOURCE_FOLLOW_FAILED:
        if (!file->follows)
            return fault_set(fault, fault->code == MP_ERR_NOT_FOUND ? MP_ERR_NOT_FOUND : MP_ERR_IO, "%s",
                             fault_text(fault));
        source_wait(file->source, "%s", fault_text(fault));
        return await(file);
    case SOURCE_FOLLOW_END:
        break;
    }
    return MP_ERR_CLOSED;
}

/* The file's last message was given: what comes now is another file, or the same from its beginning. */
static void begin_file(struct source_file *file)
{
    file->cut = false;
    file->anything = false;
    file->reader.number = 0;
    file->reader.scanned = 0;
    file->reader.skip = 0;
}

static enum mp_error next_of_file(void *state, struct format_item *item, uint64_t *mark, int64_t now, int64_t *due,
                                  struct fault *fault)
{
    struct source_file *file = state;
    for (;;) {
        struct format_message message;
        size_t used = 0;
        if (file->stopped)
            return MP_ERR_CLOSED;
        if (file->cut && !file->anything)
            begin_file(file);
        file->reader.limit = source_limit(file->source);
        enum mp_error error = format_read(&file->reader, file->input.data ? file->input.data + file->begin : NULL,
                                          file->input.size - file->begin, file->cut, &used, &message, fault);
        file->begin += used;
        *mark = source_follow_given(file->follow) - (file->input.size - file->begin);
        if (error == MP_OK) {
            *item = format_item_of(&message, clock_wall());
            return MP_OK;
        }
        if (error == MP_ERR_CLOSED)
            begin_file(file);
        else if (error != MP_ERR_AGAIN)
            return error;
        error = read_on(file, now, due, fault);
        if (error)
            return error;
    }
}

static void done_of_file(void *state, uint64_t mark)
{
    struct source_file *file = state;
    struct fault fault = {0};
    char text[SOURCE_FOLLOW_TEXT];
    struct source_place place = source_follow_place(file->follow, mark);
    source_place_text(&place, text);
    if (file->memory && source_memory_save(file->memory, text, &fault))
        source_warn(file->source, "position not kept", fault_text(&fault));
}

static void stop_file(void *state)
{
    struct source_file *file = state;
    file->stopped = true;
}

const struct source_kind source_kind_file = {
    .open = open_file,
    .next = next_of_file,
    .done = done_of_file,
    .stop = stop_file,
    .free = free_file,
};
