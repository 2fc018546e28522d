/* mtrace export: what happened, as spans: into a file, to stdout, or to a collector. */
#include "base/memory.h"
#include "cli/exit.h"
#include "cli/loop.h"
#include "cli/output.h"
#include "cli/trace_view.h"
#include "policy/backoff.h"
#include "trace/follow.h"
#include "web/post.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    POLL = 100000,        /* microseconds between looks at the log */
    FIRST_PAUSE = 250000, /* before a second try, doubled up to */
    MOST_PAUSE = 15000000,
    SAVE_EVERY = 1000000, /* a position that moves without spans is written so often */
    TIMEOUT = 10000000
};

struct exporting {
    const struct trace_settings *settings;
    struct trace_view view;
    struct trace_select select;
    struct loop loop;
    struct trace_follow *follow;
    struct web_post *post; /* NULL: bodies go to: */
    int descriptor;
    bool array; /* of Zipkin, and one body has been written into it */
    bool sending;
    bool failed; /* the last try */
    unsigned failures;
    int64_t again; /* when to try again: monotonic */
    int64_t saved_at;
    uint64_t saved;
    uint64_t gap, rejected;
    int code; /* -1: it goes on */
};

static bool is_zipkin(const struct exporting *exporting)
{
    return exporting->settings->zipkin;
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

static void delivered(struct exporting *exporting)
{
    struct fault fault = {0};
    trace_follow_delivered(exporting->follow);
    const char *path = exporting->settings->position;
    const struct trace_position *position = trace_follow_position(exporting->follow);
    if (!path || position->event == exporting->saved)
        return;
    if (trace_position_write(path, position, &fault))
        end(exporting, tell_fault(&fault));
    exporting->saved = position->event;
}

static void write_body(struct exporting *exporting, const struct buffer *body)
{
    struct fault fault = {0};
    struct buffer text = {0};
    bool one_array = is_zipkin(exporting) && !exporting->settings->follow;
    enum mp_error error;
    if (one_array) { /* the bodies become one array: without their brackets, a comma between */
        error = buffer_append_string(&text, exporting->array ? ",\n" : "[\n");
        if (!error)
            error = buffer_append(&text, body->data + 1, body->size - 2);
        exporting->array = true;
    } else {
        error = buffer_append(&text, body->data, body->size);
        if (!error)
            error = buffer_append_string(&text, "\n");
    }
    error = error ? fault_memory(&fault) : output_write(exporting->descriptor, text.data, text.size, &fault);
    buffer_free(&text);
    if (error == MP_ERR_CLOSED && exporting->descriptor == STDOUT_FILENO)
        end(exporting, exit_by_pipe());
    else if (error)
        end(exporting, tell_fault(&fault));
    else
        delivered(exporting);
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

static void tell_gap(struct exporting *exporting)
{
    uint64_t gap = trace_follow_gap(exporting->follow);
    if (gap == 0)
        return;
    tell("%" PRIu64 " steps were gone before they were exported: they are kept as --trace-age and --trace-bytes of "
         "mrelay say",
         gap);
    exporting->gap += gap;
}

/* A position that moves by events without spans is written now and then. */
static void save(struct exporting *exporting, int64_t now, bool last)
{
    const struct trace_position *position = trace_follow_position(exporting->follow);
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
    if (exporting->failures > 0 && now < exporting->again) {
        *due = exporting->again;
        return true;
    }
    enum mp_error error = trace_follow_next(exporting->follow, &body, &fault);
    tell_gap(exporting);
    if (error == MP_OK) {
        send_body(exporting, body);
        *due = exporting->sending ? CLOCK_NEVER : now;
    } else if (error != MP_ERR_AGAIN) {
        end(exporting, tell_fault(&fault));
    } else if (!exporting->settings->follow) {
        end(exporting, EXIT_DONE);
    } else {
        save(exporting, now, false);
        *due = now + POLL;
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
    if (!settings->position)
        return MP_OK;
    enum mp_error error = trace_position_read(settings->position, position, fault);
    if (error == MP_ERR_NOT_FOUND) {
        *position = (struct trace_position){.event = settings->from_event > 0 ? settings->from_event - 1 : 0};
        return MP_OK;
    }
    if (!error && position->event > trace_log_last(exporting->view.log))
        tell("%s is of another store, or of a later state of this one: everything is exported from the beginning",
             settings->position);
    return error;
}

static const char *space_of(const struct exporting *exporting)
{
    const char *name = json_string_value(json_object_get(exporting->view.status, "name"));
    if (name)
        return name;
    const char *relay = exporting->settings->relay;
    return exporting->settings->store || is_url(relay) ? NULL : relay && *relay ? relay : "default";
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
    const struct trace_follow_settings follow = {.log = exporting->view.log,
                                                 .select = &exporting->select,
                                                 .format = is_zipkin(exporting) ? TRACE_ZIPKIN : TRACE_OTLP,
                                                 .space = space_of(exporting)};
    const struct web_post_settings post = {.base = exporting->loop.base,
                                           .url = settings->to,
                                           .path = is_zipkin(exporting) ? "/api/v2/spans" : "/v1/traces",
                                           .content_type = "application/json",
                                           .timeout = settings->timeout > 0 ? settings->timeout : TIMEOUT,
                                           .context = exporting,
                                           .ended = on_ended};
    if ((error = trace_follow_open(&follow, &position, &exporting->follow, fault)))
        return error;
    exporting->saved = position.event;
    return is_url(settings->to) ? web_post_open(&post, &exporting->post, fault) : open_file(exporting, fault);
}

/* What remains to be written and said when it ends. */
static int finish(struct exporting *exporting)
{
    struct fault fault = {0};
    bool one_array = is_zipkin(exporting) && !exporting->settings->follow && !exporting->post;
    const char *rest = exporting->array ? "\n]\n" : "[]\n";
    save(exporting, clock_monotonic(), true);
    if (one_array && exporting->code <= 0 && output_write(exporting->descriptor, rest, strlen(rest), &fault))
        return tell_fault(&fault);
    if (exporting->descriptor > STDERR_FILENO && close(exporting->descriptor) != 0)
        return fault_system(&fault, MP_ERR_IO, errno, "cannot write %s", exporting->settings->to), tell_fault(&fault);
    if (exporting->rejected > 0)
        tell("%" PRIu64 " spans in all were rejected", exporting->rejected);
    if (exporting->settings->follow && !exporting->settings->position && exporting->loop.interrupted)
        tell("%" PRIu64 " spans were exported; to go on: --from-event %" PRIu64, trace_follow_spans(exporting->follow),
             trace_follow_position(exporting->follow)->event + 1);
    if (exporting->loop.interrupted && exporting->code < 0)
        exit_by_signal(exporting->loop.interrupted);
    return exporting->code > 0                                              ? exporting->code
           : exporting->rejected > 0                                        ? EXIT_REJECTED
           : exporting->descriptor == STDOUT_FILENO && output_close(&fault) ? tell_fault(&fault)
                                                                            : EXIT_DONE;
}

int trace_export(const struct trace_settings *settings, const struct options *options)
{
    struct exporting exporting = {.settings = settings, .code = -1, .descriptor = -1};
    struct fault fault = {0};
    if (!settings->otlp && !settings->zipkin)
        return options_wrong(options, "in which form? --otlp or --zipkin");
    int code = trace_view_open(&exporting.view, settings);
    if (!code)
        code = trace_view_select(&exporting.view, &exporting.select);
    if (!code && open_all(&exporting, &fault))
        code = tell_fault(&fault);
    if (!code && loop_run(&exporting.loop, step, &exporting, &fault))
        code = tell_fault(&fault);
    if (!code)
        code = finish(&exporting);
    web_post_close(exporting.post);
    trace_follow_close(exporting.follow);
    loop_close(&exporting.loop);
    trace_select_free(&exporting.select);
    trace_view_close(&exporting.view);
    return code;
}
