#include "trace/follow.h"

#include "base/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BATCH = 512,         /* spans of a body */
    SPANS_MOST = 4096,   /* after which a go comes to its end */
    EVENTS_MOST = 50000, /* that are read in one go */
    LOOKBACK = 100000    /* events before the first one that is wanted, for what was under way then */
};

/* ---- positions ------------------------------------------------------------------------------------------------- */

static enum mp_error system_error(const char *path, const char *doing, struct fault *fault)
{
    int number = errno;
    enum mp_error error = number == ENOENT                      ? MP_ERR_NOT_FOUND
                          : number == EACCES || number == EPERM ? MP_ERR_DENIED
                                                                : MP_ERR_IO;
    return fault_system(fault, error, number, "%s %s", doing, path);
}

static bool take_position(json_t *said, struct trace_position *position)
{
    json_int_t event = -1, from = 0, offset = 0;
    bool known = json_object_get(said, "offset");
    bool sound = said && json_unpack(said, "{s:I,s?I,s?I}", "event", &event, "from", &from, "offset", &offset) == 0 &&
                 event >= 0 && from >= 0;
    if (sound)
        *position =
            (struct trace_position){.event = (uint64_t)event, .from = (uint64_t)from, .offset = offset, .known = known};
    return sound;
}

enum mp_error trace_position_read(const char *path, struct trace_position *position, struct fault *fault)
{
    json_error_t why;
    *position = (struct trace_position){0};
    if (access(path, R_OK) != 0)
        return system_error(path, "cannot read", fault);
    json_t *said = json_load_file(path, 0, &why);
    bool sound = take_position(said, position) && position->known;
    json_decref(said);
    if (!sound)
        return fault_set(fault, MP_ERR_INVALID, "%s: no position of an export: name another file, or remove it", path);
    return MP_OK;
}

enum mp_error trace_position_of(const char *text, struct trace_position *position, struct fault *fault)
{
    json_t *said = json_loads(text, 0, NULL);
    bool sound = take_position(said, position);
    json_decref(said);
    return sound ? MP_OK : fault_set(fault, MP_ERR_INVALID, "no mark: it begins with {\"event\":");
}

void trace_position_text(const struct trace_position *position, char text[TRACE_POSITION_TEXT])
{
    int used = snprintf(text, TRACE_POSITION_TEXT, "{\"event\":%llu", (unsigned long long)position->event);
    if (position->known)
        snprintf(text + used, TRACE_POSITION_TEXT - (size_t)used, ",\"from\":%llu,\"offset\":%lld}",
                 (unsigned long long)position->from, (long long)position->offset);
    else
        snprintf(text + used, TRACE_POSITION_TEXT - (size_t)used, "}");
}

enum mp_error trace_position_write(const char *path, const struct trace_position *position, struct fault *fault)
{
    size_t size = strlen(path);
    char *made = memory_allocate(size + sizeof ".new");
    if (!made)
        return fault_memory(fault);
    memcpy(made, path, size);
    memcpy(made + size, ".new", sizeof ".new");
    FILE *file = fopen(made, "w");
    enum mp_error error = MP_OK;
    char text[TRACE_POSITION_TEXT];
    trace_position_text(position, text);
    bool written = file && fprintf(file, "%s\n", text) > 0;
    if (file && fclose(file) != 0)
        written = false;
    if (!written || rename(made, path) != 0)
        error = system_error(path, "cannot write", fault);
    memory_release(made);
    return error;
}

/* ---- batches --------------------------------------------------------------------------------------------------- */

struct body {
    struct body *next;
    struct buffer text;
    size_t spans;
};

struct trace_follow {
    struct trace_follow_settings settings;
    struct trace_position position;
    struct trace_spans *spans;
    struct trace_batch batch;
    struct body *first, *last; /* read and not delivered */
    uint64_t read;             /* the last event that was read */
    uint64_t oldest;           /* as of then: where reading would begin again */
    uint64_t told;             /* events up to here are gone, or were read: for the gap */
    uint64_t gap;
    uint64_t delivered;
    size_t gathered, looked_at; /* in this go */
    struct fault *fault;
};

/* What is in the batch becomes a body. */
static enum mp_error close_batch(struct trace_follow *follow)
{
    if (follow->batch.count == 0)
        return MP_OK;
    struct body *body = memory_allocate(sizeof *body);
    if (!body)
        return fault_memory(follow->fault);
    body->spans = follow->batch.count;
    if (trace_batch_write(&follow->batch, &body->text)) {
        buffer_free(&body->text);
        memory_release(body);
        return fault_memory(follow->fault);
    }
    if (follow->last)
        follow->last->next = body;
    else
        follow->first = body;
    follow->last = body;
    return MP_OK;
}

static enum mp_error on_span(void *context, const struct span *span)
{
    struct trace_follow *follow = context;
    if (trace_batch_add(&follow->batch, span))
        return fault_memory(follow->fault);
    follow->gathered++;
    return follow->batch.count < BATCH ? MP_OK : close_batch(follow);
}

/* Where it begins: behind the position, or at the first event that is asked for; and how far before that it looks. */
static void set_beginning(struct trace_follow *follow)
{
    const struct trace_follow_settings *settings = &follow->settings;
    struct trace_position *position = &follow->position;
    uint64_t first = trace_log_first(settings->log);
    if (position->event > trace_log_last(settings->log)) { /* of another store */
        position->event = position->from = 0;
    }
    if (position->event == 0 && settings->select && settings->select->first_id > 1)
        position->event = settings->select->first_id - 1;
    else if (position->event == 0 && first > 0)
        position->event = first - 1; /* what was before nobody asked for */
    follow->told = position->event;
    follow->read = position->event;
    if (position->from > 0 && position->from <= position->event)
        follow->read = position->from - 1;
    else if (position->from == 0 && !position->known)
        follow->read = position->event > LOOKBACK ? position->event - LOOKBACK : 0;
}

enum mp_error trace_follow_open(const struct trace_follow_settings *settings, const struct trace_position *position,
                                struct trace_follow **result, struct fault *fault)
{
    struct trace_follow *follow = memory_allocate(sizeof *follow);
    if (!follow)
        return fault_memory(fault);
    follow->settings = *settings;
    follow->position = *position;
    follow->batch = (struct trace_batch){.format = settings->format, .space = settings->space};
    set_beginning(follow);
    const int64_t second = 1000000, now = trace_spans_offset(settings->log);
    int64_t apart = now - follow->position.offset;
    if (!follow->position.known || apart > second || apart < -second) /* the clock was set */
        follow->position.offset = now;
    follow->position.known = true;
    const struct trace_spans_settings spans = {.log = settings->log,
                                               .select = settings->select,
                                               .after = follow->position.event,
                                               .offset = follow->position.offset,
                                               .context = follow,
                                               .span = on_span};
    enum mp_error error = trace_spans_open(&spans, &follow->spans, fault);
    if (error) {
        memory_release(follow);
        return error;
    }
    *result = follow;
    return MP_OK;
}

static void drop_body(struct trace_follow *follow)
{
    struct body *body = follow->first;
    follow->first = body->next;
    if (!follow->first)
        follow->last = NULL;
    buffer_free(&body->text);
    memory_release(body);
}

void trace_follow_close(struct trace_follow *follow)
{
    if (!follow)
        return;
    while (follow->first)
        drop_body(follow);
    trace_batch_clear(&follow->batch);
    trace_spans_close(follow->spans);
    memory_release(follow);
}

static enum mp_error on_event(void *context, const struct store_event *event)
{
    struct trace_follow *follow = context;
    if (follow->looked_at == EVENTS_MOST || follow->gathered >= SPANS_MOST)
        return MP_ERR_AGAIN; /* the rest by and by */
    enum mp_error error = trace_spans_event(follow->spans, event, follow->fault);
    follow->read = event->id;
    follow->looked_at++;
    return error;
}

/* Events that went before they were read. */
static void note_gap(struct trace_follow *follow)
{
    uint64_t first = trace_log_first(follow->settings.log);
    if (first <= follow->told + 1)
        return;
    follow->gap += first - follow->told - 1;
    follow->told = first - 1;
}

static enum mp_error read_some(struct trace_follow *follow, struct fault *fault)
{
    struct trace_log *log = follow->settings.log;
    uint64_t last;
    follow->fault = fault;
    enum mp_error error = store_last_event(trace_log_store(log), &last, fault);
    if (error || last <= follow->read)
        return error ? error : MP_ERR_AGAIN;
    if ((error = trace_log_hold(log, fault)))
        return error;
    note_gap(follow);
    const struct store_event_filter filter = {.after = follow->read};
    follow->gathered = follow->looked_at = 0;
    error = trace_log_each(log, &filter, on_event, follow, fault);
    trace_log_let_go(log);
    bool more = error == MP_ERR_AGAIN;
    if (more)
        error = MP_OK;
    else if (!error && follow->read < last)
        follow->read = last;
    if (!error)
        error = close_batch(follow);
    if (follow->told < follow->read)
        follow->told = follow->read;
    follow->oldest = trace_spans_oldest(follow->spans);
    return error;
}

/* All that was read is delivered. */
static void move(struct trace_follow *follow)
{
    if (follow->read > follow->position.event)
        follow->position.event = follow->read;
    follow->position.from = follow->oldest;
}

enum mp_error trace_follow_next(struct trace_follow *follow, const struct buffer **body, struct fault *fault)
{
    while (!follow->first) {
        enum mp_error error = read_some(follow, fault);
        if (error)
            return error;
        if (!follow->first)
            move(follow);
    }
    *body = &follow->first->text;
    return MP_OK;
}

void trace_follow_delivered(struct trace_follow *follow)
{
    follow->delivered += follow->first->spans;
    drop_body(follow);
    if (!follow->first)
        move(follow);
}

const struct trace_position *trace_follow_position(const struct trace_follow *follow)
{
    return &follow->position;
}

uint64_t trace_follow_spans(const struct trace_follow *follow)
{
    return follow->delivered;
}

uint64_t trace_follow_gap(struct trace_follow *follow)
{
    uint64_t gap = follow->gap;
    follow->gap = 0;
    return gap;
}
