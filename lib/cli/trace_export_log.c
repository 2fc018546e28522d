/* mtrace export, of a store that can be read here. */
#include "cli/trace_export.h"

#include "cli/exit.h"
#include "cli/trace_view.h"

#include <inttypes.h>
#include <string.h>

enum { POLL = 100000 }; /* microseconds between looks at the log */

struct local {
    const struct trace_settings *settings;
    struct trace_view view;
    struct trace_select select;
    struct trace_follow *follow;
};

static const char *space_of(const struct local *local)
{
    const char *name = json_string_value(json_object_get(local->view.status, "relay"));
    if (name)
        return name;
    const char *relay = local->settings->relay;
    return local->settings->store || (relay && strstr(relay, "://")) ? NULL : relay && *relay ? relay : "default";
}

static enum mp_error open_log(void *context, struct loop *loop, const struct trace_position *position,
                              struct fault *fault)
{
    struct local *local = context;
    const struct trace_settings *settings = local->settings;
    const struct trace_follow_settings follow = {.log = local->view.log,
                                                 .select = &local->select,
                                                 .format = settings->zipkin ? TRACE_ZIPKIN : TRACE_OTLP,
                                                 .space = space_of(local)};
    (void)loop;
    if (position->event > trace_log_last(local->view.log) && !settings->from_event)
        tell("%s is of another store, or of a later state of this one: everything is exported from the beginning",
             settings->position ? settings->position : "that position");
    return trace_follow_open(&follow, position, &local->follow, fault);
}

static void tell_gap(const struct local *local)
{
    uint64_t gap = trace_follow_gap(local->follow);
    if (gap > 0)
        tell("%" PRIu64 " steps were gone before they were exported: they are kept as --trace-age and --trace-bytes of "
             "mrelay say",
             gap);
}

static enum mp_error next(void *context, int64_t now, int64_t *due, const struct buffer **body, int *code,
                          struct fault *fault)
{
    const struct local *local = context;
    enum mp_error error = trace_follow_next(local->follow, body, fault);
    tell_gap(local);
    if (error != MP_ERR_AGAIN)
        return error;
    *due = now + POLL;
    *code = EXIT_DONE;
    return local->settings->follow ? MP_ERR_AGAIN : MP_ERR_CLOSED;
}

static void delivered(void *context)
{
    const struct local *local = context;
    trace_follow_delivered(local->follow);
}

static const struct trace_position *position_of(void *context)
{
    const struct local *local = context;
    return trace_follow_position(local->follow);
}

static uint64_t spans_of(void *context)
{
    const struct local *local = context;
    return trace_follow_spans(local->follow);
}

static void close_log(void *context)
{
    struct local *local = context;
    trace_follow_close(local->follow);
    local->follow = NULL;
}

int trace_export(const struct trace_settings *settings, const struct options *options)
{
    struct local local = {.settings = settings};
    const struct trace_source source = {.context = &local,
                                        .open = open_log,
                                        .next = next,
                                        .delivered = delivered,
                                        .position = position_of,
                                        .spans = spans_of,
                                        .close = close_log};
    if (!settings->otlp && !settings->zipkin)
        return options_wrong(options, "in which form? --otlp or --zipkin");
    int code = trace_view_open(&local.view, settings);
    if (!code)
        code = trace_view_select(&local.view, &local.select);
    if (!code)
        code = trace_export_run(settings, &source);
    trace_select_free(&local.select);
    trace_view_close(&local.view);
    return code;
}
