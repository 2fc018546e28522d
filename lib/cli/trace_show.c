/* mtrace show: the life of messages. */
#include "cli/trace_view.h"

#include "cli/admin_ask.h"
#include "base/units.h"
#include "cli/exit.h"
#include "message/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum mp_error show_event(void *context, const struct store_event *event)
{
    const struct trace_view *view = context;
    char time[TRACE_TIME_TEXT], name[TRACE_NAME_TEXT];
    trace_time_text(view, trace_log_wall(view->log, event->time), time);
    printf("%s  %-10s %s\n", time, trace_kind_name(event->kind),
           event->group ? trace_log_group_name(view->log, event->group, name) : "");
    return MP_OK;
}

static int show_place(struct trace_view *view, const char *place)
{
    char name[NAME_MAX_BYTES + 1];
    struct fault fault = {0};
    uint64_t offset;
    const char *at = strrchr(place, '@');
    if (!at || (size_t)(at - place) >= sizeof name ||
        units_number("the offset", at + 1, 0, UINT64_MAX, &offset, &fault)) {
        tell("'%s' is no place of a message: write TOPIC@OFFSET", place);
        return EXIT_USAGE;
    }
    snprintf(name, sizeof name, "%.*s", (int)(at - place), place);
    const struct trace_topic *topic = trace_log_find_topic(view->log, name);
    if (!topic) {
        tell("there is no topic %s in %s", name, view->path);
        return EXIT_NO_INPUT;
    }
    struct store_event_filter filter = {.topics = &topic->id, .topics_count = 1, .covers = true, .offset = offset};
    return trace_log_each(view->log, &filter, show_event, view, &fault) ? tell_fault(&fault) : EXIT_DONE;
}

int trace_show(const struct trace_settings *settings, const struct options *options)
{
    struct trace_view view;
    if (options->operands_count == 0)
        return options_wrong(options, "which message? mtrace show ID, or TOPIC@OFFSET");
    int code = trace_view_open(&view, settings);
    for (size_t i = 0; !code && i < options->operands_count; i++)
        code = show_place(&view, options->operands[i]);
    trace_view_close(&view);
    return code ? code : admin_finish();
}
