#include "cli/trace_view.h"

#include "cli/admin_ask.h"
#include "cli/exit.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

json_t *trace_view_ask(const struct trace_view *view, const char *verb)
{
    return trace_home_ask(view->settings->home, view->settings, verb);
}

int trace_view_unreadable(const struct trace_view *view, const struct fault *fault)
{
    return trace_home_unreadable(view->settings->home, fault);
}

int trace_view_find(struct trace_view *view, const struct trace_settings *settings)
{
    *view = (struct trace_view){.settings = settings,
                                .terminal = output_is_terminal(STDOUT_FILENO),
                                .colour = output_colour(STDOUT_FILENO),
                                .columns = output_columns(STDOUT_FILENO),
                                .now = clock_wall(),
                                .out = stdout};
    int code = trace_home_find(settings->home, settings);
    view->path = settings->home->path;
    view->status = settings->home->status;
    return code;
}

int trace_view_open(struct trace_view *view, const struct trace_settings *settings)
{
    struct fault fault = {0};
    struct moment now = clock_moment();
    int code = trace_view_find(view, settings);
    if (code)
        return code;
    return trace_log_open(view->path, now, &view->log, &fault) ? trace_view_unreadable(view, &fault) : EXIT_DONE;
}

void trace_view_close(struct trace_view *view)
{
    trace_log_close(view->log);
    view->log = NULL;
}

int trace_view_select(const struct trace_view *view, struct trace_select *select)
{
    const struct trace_settings *settings = view->settings;
    const struct trace_select_settings wanted = {.topics = settings->topics.values,
                                                 .topics_count = settings->topics.count,
                                                 .groups = settings->groups.values,
                                                 .groups_count = settings->groups.count,
                                                 .kinds = settings->kinds.values,
                                                 .kinds_count = settings->kinds.count,
                                                 .attributes = settings->attributes.values,
                                                 .attributes_count = settings->attributes.count,
                                                 .key = settings->key,
                                                 .trace = settings->trace,
                                                 .since = settings->since,
                                                 .until = settings->until};
    struct fault fault = {0};
    return trace_select_open(select, &wanted, view->log, &fault) ? tell_fault(&fault) : EXIT_DONE;
}

const char *trace_colour(const struct trace_view *view, enum trace_colour colour)
{
    static const char *const sequences[TRACE_COLOURS] = {
        [TRACE_PLAIN] = "\033[0m", [TRACE_BOLD] = "\033[1m",  [TRACE_DIM] = "\033[2m",   [TRACE_GOOD] = "\033[32m",
        [TRACE_BAD] = "\033[31m",  [TRACE_SLOW] = "\033[33m", [TRACE_BUSY] = "\033[36m", [TRACE_NAME] = "\033[34m",
    };
    return view->colour ? sequences[colour] : "";
}

void trace_time_text(const struct trace_view *view, int64_t wall, char text[TRACE_TIME_TEXT])
{
    time_t second = (time_t)(wall / 1000000), today = (time_t)(view->now / 1000000);
    struct tm then, now;
    if (!localtime_r(&second, &then) || !localtime_r(&today, &now)) {
        snprintf(text, TRACE_TIME_TEXT, "%" PRId64, wall);
        return;
    }
    bool same = then.tm_year == now.tm_year && then.tm_yday == now.tm_yday;
    size_t size = strftime(text, TRACE_TIME_TEXT, same ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &then);
    snprintf(text + size, TRACE_TIME_TEXT - size, ".%06d", (int)(wall % 1000000));
}

void trace_print_json(json_t *object)
{
    admin_print_json(object);
    json_decref(object);
}
