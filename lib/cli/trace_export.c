/* mtrace export: what happened, as spans: into a file, to stdout, or to a collector. */
#include "cli/trace_export.h"

#include "cli/exit.h"
#include "cli/loop.h"
#include "cli/output.h"
#include "cli/trace_mark.h"
#include "policy/backoff.h"
#include "web/post.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FIRST_PAUSE = 250000, /* microseconds before a second try, doubled up to */
    MOST_PAUSE = 15000000,
    SAVE_EVERY = 1000000, /* a position that moves without spans is written so often */
    TIMEOUT = 10000000
};

struct exporting {
    const struct trace_settings *settings;
    const struct trace_source *source;
    struct loop loop;
    struct web_post *post; /* NULL: bodies go to: */
    int descriptor;
    bool array; /* of Zipkin, and one body has been written into it */
    bool sending;
    bool failed; /* the last try */
    unsigned failures;
    int64_t again; /* when to try again: monotonic */
    int64_t saved_at;
    uint64_t saved;
    uint64_t rejected;
    uint64_t marked, told; /* the event of the last mark, and the spans up to it */
    int64_t marked_at;
    int code; /* -1: it goes on */
};

static bool is_zipkin(const struct exporting *exporting)
{
    return exporting->settings->zipkin;
}

/* The bodies become one array of spans. */
static bool is_array(const struct exporting *exporting)
{
    return is_zipkin(exporting) && !exporting->settings->follow && !exporting->settings->marks;
}

static void end(struct exporting *exporting, int code)
{
    if (exporting->code < 0)
        exporting->code = code;
}

/* ---- where it goes to ------------------------------------------------------------------------------------------ */

static bool is_url(const char *to)
{
    return to && strstr(to, "://");
}

/* A file that is gone on with: a line that a kill has torn is taken off. */
static enum mp_error mend_file(int descriptor, const char *path, struct fault *fault)
{
    off_t size = lseek(descriptor, 0, SEEK_END);
    for (off_t at = size; at > 0; at--) {
        char last;
        if (pread(descriptor, &last, 1, at - 1) != 1)
            return fault_system(fault, MP_ERR_IO, errno, "cannot read %s", path);
        if (last != '\n')
            continue;
        size = at < size ? at : -1;
        break;
    }
    char whole = '\n';
    if (size > 0 && pread(descriptor, &whole, 1, lseek(descriptor, 0, SEEK_END) - 1) == 1 && whole != '\n' &&
        ftruncate(descriptor, size) != 0)
        return fault_system(fault, MP_ERR_IO, errno, "cannot write %s", path);
    return MP_OK;
}

static enum mp_error open_file(struct exporting *exporting, struct fault *fault)
{
    const char *path = exporting->settings->to;
    bool follow = exporting->settings->follow;
    exporting->descriptor = STDOUT_FILENO;
    if (!path || strcmp(path, "-") == 0)
        return MP_OK;
    exporting->descriptor =
        open(path, follow ? O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC : O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (exporting->descriptor < 0)
        return fault_system(fault, errno == EACCES ? MP_ERR_DENIED : MP_ERR_IO, errno, "cannot write %s", path);
    return follow ? mend_file(exporting->descriptor, path, fault) : MP_OK;
}

static const struct trace_position *position_of(const struct exporting *exporting)
{
    return exporting->source->position(exporting->source->context);
}

static uint64_t spans_of(const struct exporting *exporting)
{
    return exporting->source->spans(exporting->source->context);
}

static void delivered(struct exporting *exporting)
{
    struct fault fault = {0};
    exporting->source->delivered(exporting->source->context);
    const char *path = exporting->settings->position;
    const struct trace_position *position = position_of(exporting);
    if (!path || position->event == exporting->saved)
        return;
    if (trace_position_write(path, position, &fault))
        end(exporting, tell_fault(&fault));
    exporting->saved = position->event;
}

static void write_text(struct exporting *exporting, const void *text, size_t size)
{
    struct fault fault = {0};
    enum mp_error error = output_write(exporting->descriptor, text, size, &fault);
    if (error == MP_ERR_CLOSED && exporting->descriptor == STDOUT_FILENO)
        end(exporting, exit_by_pipe());
    else if (error)
        end(exporting, tell_fault(&fault));
}

/* How far it is: behind each batch, and where there are none now and then. */
static void mark(struct exporting *exporting, int64_t now)
{
    const struct trace_position *position = position_of(exporting);
    uint64_t spans = spans_of(exporting);
    char text[TRACE_MARK_TEXT];
    bool moved = position->event != exporting->marked && now >= exporting->marked_at + TRACE_MARK_EVERY;
    if (!exporting->settings->marks || exporting->code >= 0 || (spans == exporting->told && !moved))
        return;
    trace_mark_text(position, spans - exporting->told, text);
    exporting->marked = position->event;
    exporting->marked_at = now;
    exporting->told = spans;
    write_text(exporting, text, strlen(text));
}

static void write_body(struct exporting *exporting, const struct buffer *body)
{
    struct fault fault = {0};
    struct buffer text = {0};
    enum mp_error error;
    if (is_array(exporting)) { /* the bodies become one array: without their brackets, a comma between */
        error = buffer_append_string(&text, exporting->array ? ",\n" : "[\n");
        if (!error)
            error = buffer_append(&text, body->data + 1, body->size - 2);
        exporting->array = true;
    } else {
        error = buffer_append(&text, body->data, body->size);
        if (!error)
            error = buffer_append_string(&text, "\n");
    }
    if (error)
        end(exporting, (fault_memory(&fault), tell_fault(&fault)));
    else
        write_text(exporting, text.data, text.size);
    buffer_free(&text);
    if (exporting->code < 0)
        delivered(exporting);
    mark(exporting, clock_monotonic());
}

/* ---- a collector ----------------------------------------------------------------------------------------------- */

/* OTLP: what was taken in part says so. Nothing comes of sending that again. */
static void note_rejected(struct exporting *exporting, const char *body, size_t size)
{
    json_t *said = size > 0 ? json_loadb(body, size, 0, NULL) : NULL;
    const json_t *partial = json_object_get(said, "partialSuccess");
    const json_t *spans = json_object_get(partial, "rejectedSpans");
    long long count = json_is_string(spans) ? strtoll(json_string_value(spans), NULL, 10) : json_integer_value(spans);
    if (count > 0) {
        if (exporting->rejected == 0)
            tell("%s rejects spans: %s", web_post_url(exporting->post),
                 json_is_string(json_object_get(partial, "errorMessage"))
                     ? json_string_value(json_object_get(partial, "errorMessage"))
                     : "it does not say why");
        exporting->rejected += (uint64_t)count;
    }
    json_decref(said);
}

static bool may_pass(int status)
{
    return status == 0 || status == 408 || status == 429 || status >= 500;
}

static void on_ended(void *context, int status, const char *words, const char *body, size_t size, int64_t again)
{
    struct exporting *exporting = context;
    const char *url = web_post_url(exporting->post);
    char number[16] = "";
    exporting->sending = false;
    if (status > 0)
        snprintf(number, sizeof number, "%d ", status);
    if (status >= 200 && status < 300) {
        if (exporting->failures > 0)
            tell("%s takes spans again", url);
        exporting->failures = 0;
        note_rejected(exporting, body, size);
        delivered(exporting);
        return;
    }
    if (!may_pass(status)) {
        tell("%s: %s%s: it will not take these spans: is it the address of a collector for %s?", url, number, words,
             is_zipkin(exporting) ? "Zipkin's spans" : "OTLP in JSON");
        end(exporting, EXIT_FAILED);
        return;
    }
    if (!exporting->settings->follow) {
        tell("%s: %s%s", url, number, words);
        end(exporting, EXIT_NO_RELAY);
        return;
    }
    if (exporting->failures++ == 0)
        tell("%s: %s%s: trying again; nothing is left out meanwhile", url, number, words);
    int64_t pause = backoff_delay(BACKOFF_EXPONENTIAL, FIRST_PAUSE, MOST_PAUSE, 0.2, exporting->failures,
                                  (uint64_t)clock_monotonic() * UINT64_C(0x9e3779b97f4a7c15));
    exporting->again = clock_monotonic() + (again > pause ? again : pause);
}

/* ---- going through the log ------------------------------------------------------------------------------------- */

static void send_body(struct exporting *exporting, const struct buffer *body)
{
    struct fault fault = {0};
    if (!exporting->post) {
        write_body(exporting, body);
        return;
    }
    exporting->sending = true;
    if (web_post_send(exporting->post, body, &fault)) {
        exporting->sending = false;
        end(exporting, tell_fault(&fault));
    }
}

/* A position that moves by events without spans is written now and then. */
static void save(struct exporting *exporting, int64_t now, bool last)
{
    const struct trace_position *position = position_of(exporting);
    struct fault fault = {0};
    if (!exporting->settings->position || position->event == exporting->saved ||
        (!last && now < exporting->saved_at + SAVE_EVERY))
        return;
    exporting->saved_at = now;
    exporting->saved = position->event;
    if (trace_position_write(exporting->settings->position, position, &fault))
        end(exporting, tell_fault(&fault));
}

static bool step(void *context, int64_t now, int64_t *due)
{
    struct exporting *exporting = context;
    struct fault fault = {0};
    const struct buffer *body;
    if (exporting->loop.interrupted || exporting->code >= 0)
        return false;
    if (exporting->sending)
        return true;
    if (exporting->descriptor == STDOUT_FILENO && output_has_gone(STDOUT_FILENO)) {
        end(exporting, exit_by_pipe());
        return false;
    }
    if (exporting->failures > 0 && now < exporting->again) {
        *due = exporting->again;
        return true;
    }
    int code = EXIT_DONE;
    enum mp_error error = exporting->source->next(exporting->source->context, now, due, &body, &code, &fault);
    if (error == MP_OK) {
        send_body(exporting, body);
        *due = exporting->sending ? CLOCK_NEVER : now;
    } else if (error == MP_ERR_CLOSED) {
        end(exporting, code);
    } else if (error != MP_ERR_AGAIN) {
        end(exporting, tell_fault(&fault));
    } else {
        save(exporting, now, false);
        mark(exporting, now);
    }
    return exporting->code < 0;
}

/* ---- beginning and ending -------------------------------------------------------------------------------------- */

static enum mp_error find_position(const struct exporting *exporting, struct trace_position *position,
                                   struct fault *fault)
{
    const struct trace_settings *settings = exporting->settings;
    *position = (struct trace_position){0};
    if (settings->from_event > 0)
        position->event = settings->from_event - 1;
    if (settings->after)
        return trace_position_of(settings->after, position, fault);
    if (!settings->position)
        return MP_OK;
    enum mp_error error = trace_position_read(settings->position, position, fault);
    return error == MP_ERR_NOT_FOUND ? MP_OK : error;
}

static enum mp_error open_all(struct exporting *exporting, struct fault *fault)
{
    const struct trace_settings *settings = exporting->settings;
    struct trace_position position;
    enum mp_error error = loop_open(&exporting->loop, fault);
    if (!error)
        error = find_position(exporting, &position, fault);
    if (error)
        return error;
    const struct web_post_settings post = {.base = exporting->loop.base,
                                           .url = settings->to,
                                           .path = is_zipkin(exporting) ? "/api/v2/spans" : "/v1/traces",
                                           .content_type = "application/json",
                                           .timeout = settings->timeout > 0 ? settings->timeout : TIMEOUT,
                                           .context = exporting,
                                           .ended = on_ended};
    if ((error = exporting->source->open(exporting->source->context, &exporting->loop, &position, fault)))
        return error;
    exporting->saved = exporting->marked = position.event;
    return is_url(settings->to) ? web_post_open(&post, &exporting->post, fault) : open_file(exporting, fault);
}

/* What remains to be written and said when it ends. */
static int finish(struct exporting *exporting)
{
    struct fault fault = {0};
    bool one_array = is_array(exporting) && !exporting->post;
    const char *rest = exporting->array ? "\n]\n" : "[]\n";
    save(exporting, clock_monotonic(), true);
    if (one_array && exporting->code <= 0 && output_write(exporting->descriptor, rest, strlen(rest), &fault))
        return tell_fault(&fault);
    if (exporting->descriptor > STDERR_FILENO && close(exporting->descriptor) != 0)
        return fault_system(&fault, MP_ERR_IO, errno, "cannot write %s", exporting->settings->to), tell_fault(&fault);
    if (exporting->rejected > 0)
        tell("%" PRIu64 " spans in all were rejected", exporting->rejected);
    if (exporting->settings->follow && !exporting->settings->position && exporting->loop.interrupted)
        tell("%" PRIu64 " spans were exported; to go on: --from-event %" PRIu64, spans_of(exporting),
             position_of(exporting)->event + 1);
    if (exporting->loop.interrupted && exporting->code < 0)
        exit_by_signal(exporting->loop.interrupted);
    return exporting->code > 0                                              ? exporting->code
           : exporting->rejected > 0                                        ? EXIT_REJECTED
           : exporting->descriptor == STDOUT_FILENO && output_close(&fault) ? tell_fault(&fault)
                                                                            : EXIT_DONE;
}

int trace_export_run(const struct trace_settings *settings, const struct trace_source *source)
{
    struct exporting exporting = {.settings = settings, .source = source, .code = -1, .descriptor = -1};
    struct fault fault = {0};
    int code = EXIT_DONE;
    if (open_all(&exporting, &fault) || loop_run(&exporting.loop, step, &exporting, &fault))
        code = tell_fault(&fault);
    if (!code)
        code = finish(&exporting);
    web_post_close(exporting.post);
    source->close(source->context);
    loop_close(&exporting.loop);
    return code;
}
