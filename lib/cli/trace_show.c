/* mtrace show: the life of messages. */
#include "cli/trace_show.h"

#include "base/units.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "message/formats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MATCHES_MOST = 64, CANDIDATES = 20, TREE_MOST = 4096, KEY_MOST = 20 };

enum mp_error trace_picture_id(struct trace_picture *picture, const struct trace_match *match)
{
    struct buffer id = {0};
    enum mp_error error = trace_id_text(picture->view->log, match, &id);
    picture->text.size = 0;
    if (!error && id.size > 0)
        error = format_escape(id.data, id.size, &picture->text);
    else if (!error)
        error = buffer_append_format(&picture->text, "~%016" PRIx64, match->id.low);
    buffer_free(&id);
    return error ? error : buffer_append(&picture->text, "", 1);
}

/* ---- what is meant -------------------------------------------------------------------------------------------- */

/* The ids that begin so; the exit code. */
static int tell_candidates(struct trace_view *view, const char *text, const struct trace_matches *matches)
{
    struct trace_picture picture = {.view = view};
    char quoted[FAULT_QUOTE];
    size_t told = 0;
    tell("%s is the beginning of several ids: write more of it", fault_quote(quoted, text, strlen(text)));
    for (size_t i = 0; i < matches->count && told < CANDIDATES; i++) {
        const struct trace_match *match = &matches->items[i];
        bool is_new = true;
        char name[TRACE_NAME_TEXT], time[TRACE_TIME_TEXT];
        for (size_t before = 0; before < i; before++)
            is_new = is_new && !trace_value_is(&matches->items[before].id, &match->id);
        if (!is_new || trace_picture_id(&picture, match))
            continue;
        trace_time_text(view, trace_log_wall(view->log, match->time), time);
        fprintf(stderr, "    %s  %s", (const char *)picture.text.data,
                trace_log_topic_name(view->log, match->topic, name));
        if (match->scheduled)
            fprintf(stderr, ", scheduled for %s\n", time);
        else
            fprintf(stderr, "@%" PRIu64 ", stored %s\n", match->offset, time);
        told++;
    }
    if (matches->more || told == CANDIDATES)
        fprintf(stderr, "    ...\n");
    buffer_free(&picture.text);
    return EXIT_USAGE;
}

/* Whether TEXT, which found MATCHES, was the id of a trace, not of a message. */
static bool is_trace(const struct trace_matches *matches)
{
    for (size_t i = 1; i < matches->count; i++)
        if (!trace_value_is(&matches->items[i].trace, &matches->items[0].trace))
            return false;
    return matches->count > 0;
}

/* ---- showing -------------------------------------------------------------------------------------------------- */

static enum mp_error draw(struct trace_picture *picture, const struct trace_matches *matches, bool whole,
                          struct fault *fault)
{
    struct trace_tree tree;
    struct trace_view *view = picture->view;
    enum mp_error error = trace_tree_open(&tree, view->log, matches, whole, TREE_MOST, fault);
    if (error)
        return error;
    picture->tree = &tree;
    trace_tree_span(&tree, view->log, &picture->from, &picture->to);
    error = view->settings->json ? trace_show_json(picture, fault) : trace_show_text(picture, fault);
    trace_tree_free(&tree);
    picture->tree = NULL;
    return error;
}

/* Finds what TEXT means (NULL: the settings' key) and draws it; the exit code. */
static int show_one(struct trace_picture *picture, const char *text)
{
    struct trace_view *view = picture->view;
    struct trace_matches matches = {0};
    struct fault fault = {0};
    bool key = !text, whole = false;
    enum mp_error error = key ? trace_find_key(view->log, view->settings->key, KEY_MOST, &matches, &fault)
                              : trace_find(view->log, text, MATCHES_MOST, &matches, &fault);
    int code = EXIT_DONE;
    if (!error && !key && !trace_is_one(&matches) && !(whole = is_trace(&matches)))
        code = tell_candidates(view, text, &matches);
    else if (!error)
        error = draw(picture, &matches, whole, &fault);
    if (!error && key && matches.more)
        tell("the newest %d messages with that key; there are more: mtrace list --key", KEY_MOST);
    trace_matches_free(&matches);
    return error ? tell_fault(&fault) : code;
}

static int show(struct trace_view *view, const struct options *options)
{
    struct trace_picture picture = {.view = view, .stages = trace_view_ask(view, "stages")};
    struct fault fault = {0};
    int code = EXIT_DONE;
    if (trace_log_hold(view->log, &fault))
        return tell_fault(&fault);
    if (view->settings->key)
        code = show_one(&picture, NULL);
    for (size_t i = 0; code == EXIT_DONE && i < options->operands_count; i++) {
        if (picture.out.size > 0 && !view->settings->json)
            buffer_append_string(&picture.out, "\n");
        code = show_one(&picture, options->operands[i]);
    }
    trace_log_let_go(view->log);
    enum mp_error error = output_write(STDOUT_FILENO, picture.out.data, picture.out.size, &fault);
    json_decref(picture.stages);
    buffer_free(&picture.out);
    buffer_free(&picture.text);
    if (!error)
        error = output_close(&fault);
    if (error)
        return error == MP_ERR_CLOSED ? exit_by_pipe() : tell_fault(&fault);
    return code;
}

int trace_show(const struct trace_settings *settings, const struct options *options)
{
    struct trace_view view;
    if (options->operands_count == 0 && !settings->key)
        return options_wrong(options, "which message? mtrace show ID, or TOPIC@OFFSET, or --key KEY");
    int code = trace_view_open(&view, settings);
    if (!code)
        code = show(&view, options);
    trace_view_close(&view);
    return code;
}
