/* mtrace export, of a store that its relay reads: batches and how far they go come as lines, in turn. */
#include "cli/trace_export.h"
#include "cli/trace_remote.h"
#include "cli/trace_mark.h"

#include <string.h>

enum { AHEAD = 4 * 1024 * 1024 }; /* bytes behind the batch that is being delivered */

struct far {
    struct trace_remote_settings settings;
    struct trace_remote *remote;
    struct buffer body;
    bool has_body;
    struct trace_position position, next; /* what was delivered; what is, when BODY is */
    uint64_t spans, more;
    bool over;
    int code;
};

static enum mp_error open_remote(void *context, struct loop *loop, const struct trace_position *position,
                                 struct fault *fault)
{
    struct far *far = context;
    far->position = *position;
    far->settings.loop = loop;
    enum mp_error error = trace_remote_open(&far->settings, &far->remote, fault);
    if (!error && (position->event > 0 || position->known))
        trace_remote_taken(far->remote, position, 0);
    return error;
}

static void close_remote(void *context)
{
    struct far *far = context;
    trace_remote_close(far->remote);
    buffer_free(&far->body);
}

static void delivered(void *context)
{
    struct far *far = context;
    far->has_body = false;
    far->position = far->next;
    far->spans += far->more;
    far->more = 0;
    trace_remote_taken(far->remote, &far->position, 0);
}

/* Takes lines off the output up to a mark, or until there is none yet. */
static enum mp_error take_lines(struct far *far)
{
    struct buffer *output = trace_remote_output(far->remote);
    const char *begin = (const char *)output->data, *end = begin + output->size, *line = begin, *stop;
    const char *body = NULL;
    size_t size = 0;
    enum mp_error error = MP_OK;
    while (!far->has_body && line < end && (stop = memchr(line, '\n', (size_t)(end - line)))) {
        bool is_mark =
            *line == TRACE_MARK && trace_mark_read(line + 1, (size_t)(stop - line - 1), &far->next, &far->more);
        if (!is_mark) {
            body = line;
            size = (size_t)(stop - line);
        } else if (body) {
            far->body.size = 0;
            error = buffer_append(&far->body, body, size);
            far->has_body = !error;
            begin = stop + 1;
        } else {
            delivered(far); /* of events without spans */
            begin = stop + 1;
        }
        if (error)
            return error;
        line = stop + 1;
    }
    buffer_consume(output, (size_t)(begin - (const char *)output->data));
    return MP_OK;
}

static enum mp_error next(void *context, int64_t now, int64_t *due, const struct buffer **body, int *code,
                          struct fault *fault)
{
    struct far *far = context;
    bool hold = far->has_body && trace_remote_output(far->remote)->size > AHEAD;
    if (!far->over)
        far->over = !trace_remote_step(far->remote, hold, now, due, &far->code);
    if (!far->has_body && take_lines(far))
        return fault_memory(fault);
    *body = &far->body;
    if (far->has_body)
        return MP_OK;
    *code = far->code;
    return far->over ? MP_ERR_CLOSED : MP_ERR_AGAIN;
}

static const struct trace_position *position_of(void *context)
{
    const struct far *far = context;
    return &far->position;
}

static uint64_t spans_of(void *context)
{
    const struct far *far = context;
    return far->spans;
}

int trace_export_remote(const struct trace_settings *settings, const struct options *options)
{
    struct far far = {
        .settings = {
            .settings = settings, .options = options, .verb = "export", .marks = true, .lasting = settings->follow}};
    const struct trace_source source = {.context = &far,
                                        .open = open_remote,
                                        .next = next,
                                        .delivered = delivered,
                                        .position = position_of,
                                        .spans = spans_of,
                                        .close = close_remote};
    return trace_export_run(settings, &source);
}
