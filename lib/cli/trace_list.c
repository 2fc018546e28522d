/* mtrace list: messages that are meant, each as it went through a group. */
#include "cli/trace_list.h"

#include "base/units.h"
#include "cli/exit.h"
#include "cli/output.h"
#include "cli/trace_show.h"
#include "message/formats.h"
#include "message/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *const trace_states[] = {"waiting", "delayed", "working",   "acked", "dead",
                                    "expired", "dropped", "duplicate", NULL};
const char *const trace_sorts[] = {"time", "took", "waited", "worked", "attempts", NULL};

enum { LIST_USUAL = 20 };

/* The states' names stand in the order of their numbers. */
static int read_states(const struct option_list *names, unsigned *states)
{
    *states = 0;
    for (size_t i = 0; i < names->count; i++) {
        size_t state = 0;
        while (trace_states[state] && strcmp(trace_states[state], names->values[i]) != 0)
            state++;
        if (!trace_states[state]) {
            char quoted[FAULT_QUOTE];
            const char *nearest = name_nearest(names->values[i], trace_states, state);
            tell("--state: '%s' is none: %s%s%s", fault_quote(quoted, names->values[i], strlen(names->values[i])),
                 nearest ? "did you mean " : "waiting, delayed, working, acked, dead, expired, dropped or duplicate",
                 nearest ? nearest : "", nearest ? "?" : "");
            return EXIT_USAGE;
        }
        *states |= 1u << state;
    }
    return EXIT_DONE;
}

/* ---- for people ------------------------------------------------------------------------------------------------ */

static const struct trace_attempt *last_failure(const struct trace_passage *passage)
{
    for (size_t i = passage->attempts_count; i-- > 0;)
        if (passage->attempts[i].code > 0 || *passage->attempts[i].note)
            return &passage->attempts[i];
    return NULL;
}

/* The last thing that was said of a failure, on one line. */
static enum mp_error put_failure(const struct trace_passage *passage, struct buffer *out)
{
    const struct trace_attempt *attempt = last_failure(passage);
    enum mp_error error = MP_OK;
    if (!attempt)
        return MP_OK;
    size_t size = strlen(attempt->note);
    while (size > 0 && attempt->note[size - 1] == '\n')
        size--;
    if (attempt->code > 0)
        error = buffer_append_format(out, "exit %" PRId32 "%s", attempt->code, size ? ": " : "");
    return error ? error : format_escape((const uint8_t *)attempt->note, size, out);
}

static const char *state_of(const struct trace_row *row)
{
    return row->passage.group ? trace_state_name(&row->passage) : "stored";
}

static enum trace_colour colour_of(const struct trace_row *row)
{
    switch (row->passage.group ? row->passage.state : STATE_ACKED) {
    case STATE_ACKED:
        return TRACE_GOOD;
    case STATE_LEASED:
        return TRACE_BUSY;
    case STATE_WAITING:
    case STATE_DELAYED:
        return TRACE_SLOW;
    default:
        return TRACE_BAD;
    }
}

/* What a row says beside its id: for columns on a terminal, with tabs between them in a pipe. */
struct cells {
    char time[TRACE_TIME_TEXT], place[NAME_MAX_BYTES + 32], group[NAME_MAX_BYTES + 1], tries[16], took[32];
};

static void fill(struct trace_view *view, const struct trace_row *row, struct cells *cells)
{
    char number[TRACE_NAME_TEXT];
    bool has_group = row->passage.group != 0;
    trace_time_text(view, trace_log_wall(view->log, row->match.time), cells->time);
    if (view->terminal) /* milliseconds will do */
        cells->time[strlen(cells->time) - 3] = '\0';
    snprintf(cells->place, sizeof cells->place, "%s@%" PRIu64,
             trace_log_topic_name(view->log, row->match.topic, number), row->match.offset);
    snprintf(cells->group, sizeof cells->group, "%s",
             has_group ? trace_log_group_name(view->log, row->passage.group, number) : "-");
    snprintf(cells->tries, sizeof cells->tries, "%zu", row->passage.attempts_count);
    snprintf(cells->took, sizeof cells->took, "-");
    if (has_group)
        units_duration_text(row->took, cells->took, sizeof cells->took);
}

/* How wide the columns of places and groups have to be. */
static void measure(struct trace_view *view, const struct trace_list *list, size_t *place, size_t *group)
{
    *place = strlen("MESSAGE");
    *group = strlen("GROUP");
    for (size_t i = 0; i < list->count; i++) {
        struct cells cells;
        fill(view, &list->rows[i], &cells);
        size_t place_size = strlen(cells.place), group_size = strlen(cells.group);
        *place = place_size > *place ? place_size : *place;
        *group = group_size > *group ? group_size : *group;
    }
}

/* Ends the line that began at START, of which UNSHOWN bytes are colours; cut to the terminal's width. */
static enum mp_error end_line(const struct trace_view *view, struct buffer *out, size_t start, size_t unshown)
{
    size_t at = start, shown = 0, most = view->columns + unshown;
    while (view->terminal && at < out->size && shown <= most)
        shown += (out->data[at++] & 0xc0) != 0x80;
    if (shown > most)
        out->size = at - 1;
    return buffer_append(out, "\n", 1);
}

static enum mp_error put_row(struct trace_picture *picture, const struct trace_row *row, size_t place, size_t group)
{
    struct trace_view *view = picture->view;
    struct buffer *out = &picture->out;
    struct cells cells;
    const char *colour = trace_colour(view, colour_of(row)), *plain = trace_colour(view, TRACE_PLAIN);
    size_t start = out->size;
    fill(view, row, &cells);
    enum mp_error error =
        view->terminal
            ? buffer_append_format(out, "%s  %-*s  %-*s  %s%-9s%s  %5s  %8s  ", cells.time, (int)place, cells.place,
                                   (int)group, cells.group, colour, state_of(row), plain, cells.tries, cells.took)
            : buffer_append_format(out, "%s\t%s\t%s\t%s\t%s\t%s\t", cells.time, cells.place, cells.group, state_of(row),
                                   cells.tries, cells.took);
    if (!error && !view->terminal && !(error = trace_picture_id(picture, &row->match)))
        error = buffer_append_format(out, "%s\t", (const char *)picture->text.data);
    if (!error)
        error = put_failure(&row->passage, out);
    return error ? error : end_line(view, out, start, strlen(colour) + strlen(plain));
}

static enum mp_error put_heading(struct trace_picture *picture, size_t place, size_t group, size_t time)
{
    struct trace_view *view = picture->view;
    const char *bold = trace_colour(view, TRACE_BOLD), *plain = trace_colour(view, TRACE_PLAIN);
    size_t start = picture->out.size;
    enum mp_error error =
        buffer_append_format(&picture->out, "%s%-*s  %-*s  %-*s  %-9s  %5s  %8s  %s%s", bold, (int)time, "STORED",
                             (int)place, "MESSAGE", (int)group, "GROUP", "STATE", "TRIES", "TOOK", "FAILURE", plain);
    return error ? error : end_line(view, &picture->out, start, strlen(bold) + strlen(plain));
}

static enum mp_error put_text(struct trace_picture *picture, const struct trace_list *list)
{
    size_t place, group;
    enum mp_error error = MP_OK;
    measure(picture->view, list, &place, &group);
    if (picture->view->terminal && list->count > 0) {
        char time[TRACE_TIME_TEXT];
        trace_time_text(picture->view, trace_log_wall(picture->view->log, list->rows[0].match.time), time);
        error = put_heading(picture, place, group, strlen(time) - 3);
    }
    for (size_t i = 0; !error && i < list->count; i++)
        error = put_row(picture, &list->rows[i], place, group);
    return error;
}

/* ---- the verb -------------------------------------------------------------------------------------------------- */

static enum mp_error put_json(struct trace_picture *picture, const struct trace_list *list, struct fault *fault)
{
    enum mp_error error = MP_OK;
    for (size_t i = 0; !error && i < list->count; i++) {
        const struct trace_row *row = &list->rows[i];
        struct trace_node node = {.match = row->match,
                                  .history = {.match = row->match,
                                              .passages = (struct trace_passage *)(uintptr_t)&row->passage,
                                              .count = row->passage.group ? 1 : 0},
                                  .parent = SIZE_MAX};
        const struct trace_tree tree = {.nodes = &node, .count = 1};
        picture->tree = &tree;
        error = trace_show_json(picture, fault);
        picture->tree = NULL;
    }
    return error;
}

static void tell_rest(const struct trace_list *list)
{
    char looked[24];
    if (list->cut) {
        units_count_text(list->looked, looked, sizeof looked);
        tell("only the newest %s messages were looked at: narrow it down by --since and --until", looked);
    } else if (list->count == 0) {
        tell("no such messages");
    } else if (list->more && output_is_terminal(STDERR_FILENO)) {
        tell("there are more: -n N shows more of them");
    }
}

static int list(struct trace_view *view, const struct trace_list_settings *asked)
{
    struct trace_select select = {0};
    struct trace_list found = {0};
    struct fault fault = {0};
    struct trace_list_wanted wanted = {.select = &select,
                                       .failed = asked->failed,
                                       .retried = asked->retried,
                                       .slower = asked->slower,
                                       .sort = (enum trace_sort)asked->sort,
                                       .most = view->settings->count ? (size_t)view->settings->count : LIST_USUAL};
    int code = read_states(&asked->states, &wanted.states);
    if (code)
        return code;
    struct trace_picture picture = {.view = view};
    if (trace_log_hold(view->log, &fault))
        return tell_fault(&fault);
    code = trace_view_select(view, &select);
    if (!code && view->settings->json)
        picture.stages = trace_view_ask(view, "stages");
    enum mp_error error = code ? MP_OK : trace_list_open(&found, view->log, &wanted, &fault);
    if (!code && !error)
        error = view->settings->json ? put_json(&picture, &found, &fault) : put_text(&picture, &found);
    trace_log_let_go(view->log);
    if (!code && !error && !(error = output_write(STDOUT_FILENO, picture.out.data, picture.out.size, &fault)) &&
        !(error = output_close(&fault)))
        tell_rest(&found);
    json_decref(picture.stages);
    trace_list_free(&found);
    trace_select_free(&select);
    buffer_free(&picture.out);
    buffer_free(&picture.text);
    if (error)
        return error == MP_ERR_CLOSED ? exit_by_pipe() : tell_fault(&fault);
    return code;
}

int trace_list(const struct trace_settings *settings, const struct options *options)
{
    struct trace_view view;
    (void)options;
    int code = trace_view_open(&view, settings);
    if (!code)
        code = list(&view, &settings->list);
    trace_view_close(&view);
    return code;
}
