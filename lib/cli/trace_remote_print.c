/* What was read at the relay, printed as if it had been read here. */
#include "cli/trace_remote.h"
#include "cli/trace_mark.h"

#include "cli/admin_ask.h"
#include "cli/draw.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/receive_sink.h"
#include "cli/trace_export.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

struct printing {
    struct trace_remote *remote;
    struct loop loop;
    struct receive_sink sink;
    bool marked;         /* lines with marks come between the others, and */
    bool shown;          /* are wanted */
    const char *svg;     /* it is drawn into this file; NULL: it is printed */
    struct buffer ready; /* to be printed */
    size_t printed;      /* of it */
    bool over;           /* nothing more comes */
    int code;
    struct fault fault;
    enum mp_error error; /* of printing */
};

/* The bytes up to the last mark are ready, without those lines. At the end all are. */
static enum mp_error take_marked(struct printing *printing)
{
    struct buffer *output = trace_remote_output(printing->remote);
    const char *begin = (const char *)output->data, *end = begin + output->size, *at = begin, *line = begin;
    struct trace_position position;
    uint64_t count;
    enum mp_error error = MP_OK;
    for (const char *stop; !error && line < end && (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1) {
        if (*line != TRACE_MARK || !trace_mark_read(line + 1, (size_t)(stop - line - 1), &position, &count))
            continue;
        error = buffer_append(&printing->ready, at, (size_t)((printing->shown ? stop + 1 : line) - at));
        trace_remote_taken(printing->remote, &position, count);
        at = stop + 1;
    }
    if (!error && printing->over) {
        error = buffer_append(&printing->ready, at, (size_t)(end - at));
        at = end;
    }
    buffer_consume(output, (size_t)(at - begin));
    return error;
}

static enum mp_error take(struct printing *printing)
{
    struct buffer *output = trace_remote_output(printing->remote);
    if (output->size == 0)
        return MP_OK;
    if (printing->marked)
        return take_marked(printing);
    enum mp_error error = buffer_append(&printing->ready, output->data, output->size);
    output->size = 0;
    return error;
}

/* Writes what it can. True: all is written. */
static bool print(struct printing *printing)
{
    struct buffer *ready = &printing->ready;
    while (!printing->error && printing->printed < ready->size) {
        size_t done;
        enum mp_error error = receive_sink_write(&printing->sink, ready->data + printing->printed,
                                                 ready->size - printing->printed, &done, &printing->fault);
        if (error == MP_ERR_AGAIN)
            return false;
        printing->printed += done;
        printing->error = error;
    }
    ready->size = printing->printed = 0;
    return true;
}

static bool step(void *context, int64_t now, int64_t *due)
{
    struct printing *printing = context;
    if (printing->loop.interrupted)
        return false;
    bool written = printing->svg || print(printing);
    if (!printing->over)
        printing->over = !trace_remote_step(printing->remote, !written, now, due, &printing->code);
    if (take(printing)) {
        fault_memory(&printing->fault);
        printing->error = MP_ERR_MEMORY;
    }
    if (!printing->svg)
        written = print(printing);
    if (printing->sink.gone && !printing->error)
        printing->error = output_error(STDOUT_FILENO, EPIPE, &printing->fault);
    return !printing->error && !(printing->over && written);
}

static enum mp_error open_all(struct printing *printing, const struct trace_remote_settings *wanted)
{
    struct trace_remote_settings settings = *wanted;
    enum mp_error error = loop_open(&printing->loop, &printing->fault);
    settings.loop = &printing->loop;
    if (!error && !printing->svg && !(error = receive_sink_check(&printing->fault)))
        error = receive_sink_open(&printing->sink, &printing->loop, &printing->fault);
    if (!error)
        error = trace_remote_open(&settings, &printing->remote, &printing->fault);
    return error ? error : loop_run(&printing->loop, step, printing, &printing->fault);
}

static int finish(struct printing *printing, enum mp_error error)
{
    if (error || printing->error)
        return printing->error == MP_ERR_CLOSED ? exit_by_pipe() : tell_fault(&printing->fault);
    if (printing->loop.interrupted)
        exit_by_signal(printing->loop.interrupted);
    if (printing->svg && !printing->code && printing->ready.size > 0)
        return draw_svg(printing->svg, &printing->ready);
    int code = admin_finish();
    return printing->code ? printing->code : code;
}

static int print_all(const struct trace_remote_settings *settings)
{
    const struct trace_settings *asked = settings->settings;
    struct printing printing = {
        .marked = settings->marks, .shown = asked->marks, .svg = asked->svg, .code = -1, .sink = {.descriptor = -1}};
    enum mp_error error = open_all(&printing, settings);
    int code = finish(&printing, error);
    trace_remote_close(printing.remote);
    receive_sink_close(&printing.sink);
    loop_close(&printing.loop);
    buffer_free(&printing.ready);
    return code;
}

int trace_remote(const struct trace_settings *settings, const struct options *options, const char *verb)
{
    bool tail = strcmp(verb, "tail") == 0;
    if (strcmp(verb, "export") == 0)
        return trace_export_remote(settings, options);
    const struct trace_remote_settings wanted = {.settings = settings,
                                                 .options = options,
                                                 .verb = verb,
                                                 .format = settings->svg ? "dot" : NULL,
                                                 .marks = tail,
                                                 .lasting = tail || settings->watch};
    return print_all(&wanted);
}
