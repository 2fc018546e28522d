/* The life of messages, for people: a tree, and of each message a line a group with a bar. */
#include "cli/trace_show.h"

#include "base/units.h"
#include "cli/output.h"
#include "message/attributes.h"
#include "message/formats.h"

#include <inttypes.h>
#include <langinfo.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR_LEAST = 10, BAR_MOST = 60, NAME_COLUMNS = 12, TEXT_COLUMNS = 44, INDENT_MOST = 96, INPUTS_MOST = 8 };

/* ---- characters ----------------------------------------------------------------------------------------------- */

struct pen {
    struct trace_picture *picture;
    struct buffer *out;
    char indent[INDENT_MOST]; /* what stands before the lines of a message */
    size_t columns;           /* that this takes */
    size_t bar;               /* columns of a bar */
    bool ascii;
    enum mp_error error;
};

static void put(struct pen *pen, const char *text)
{
    if (!pen->error)
        pen->error = buffer_append_string(pen->out, text);
}

static void put_colour(struct pen *pen, enum trace_colour colour)
{
    put(pen, trace_colour(pen->picture->view, colour));
}

static void put_in(struct pen *pen, enum trace_colour colour, const char *text)
{
    put_colour(pen, colour);
    put(pen, text);
    put_colour(pen, TRACE_PLAIN);
}

static void put_escaped(struct pen *pen, const char *text, size_t size)
{
    if (!pen->error)
        pen->error = format_escape((const uint8_t *)text, size, pen->out);
}

static void put_duration(struct pen *pen, int64_t duration)
{
    char text[32];
    units_duration_text(duration > 0 ? duration : 0, text, sizeof text);
    put(pen, text);
}

/* Cuts what stands behind START to the terminal's width; colours take none of it. */
static void end_line(struct pen *pen, size_t start)
{
    struct buffer *out = pen->out;
    size_t shown = 0, at = start;
    bool coloured = false, escape = false;
    if (!pen->picture->view->terminal) {
        put(pen, "\n");
        return;
    }
    for (; at < out->size; at++) {
        uint8_t byte = out->data[at];
        if (byte == 033)
            escape = coloured = true;
        else if (escape)
            escape = byte != 'm';
        else if ((byte & 0xc0) != 0x80 && ++shown > pen->picture->view->columns)
            break;
    }
    if (at < out->size) {
        out->size = at;
        if (coloured)
            put_colour(pen, TRACE_PLAIN);
    }
    put(pen, "\n");
}

/* ---- bars ----------------------------------------------------------------------------------------------------- */

static size_t place_of(const struct pen *pen, int64_t time)
{
    const struct trace_picture *picture = pen->picture;
    int64_t span = picture->to - picture->from;
    if (span <= 0 || time <= picture->from)
        return 0;
    size_t place = (size_t)((double)(time - picture->from) / (double)span * (double)pen->bar);
    return place < pen->bar ? place : pen->bar - 1;
}

/* What was from FROM to TO: a column at least. */
static void paint(const struct pen *pen, char bar[BAR_MOST], int64_t from, int64_t to, char character)
{
    size_t end = place_of(pen, to);
    for (size_t at = place_of(pen, from); at <= end; at++)
        bar[at] = character;
}

static char mark_of(enum store_event_kind outcome)
{
    return outcome == EVENT_RETRIED || outcome == EVENT_DEAD || outcome == EVENT_LAPSED ? 'x' : '=';
}

static void draw(const struct pen *pen, const struct trace_passage *passage, char bar[BAR_MOST])
{
    int64_t now = trace_log_now(pen->picture->view->log), end = trace_is_settled(passage) ? passage->since : now;
    memset(bar, ' ', BAR_MOST);
    if (passage->attempts_count == 0)
        paint(pen, bar, pen->picture->from, pen->picture->from, ' ');
    for (size_t i = 0; i < passage->attempts_count; i++) /* waiting first, for work is shown if it is short */
        paint(pen, bar, passage->attempts[i].from, passage->attempts[i].leased, '.');
    if (!trace_is_settled(passage) && passage->state != STATE_LEASED)
        paint(pen, bar, passage->since, end, '.');
    else if (passage->attempts_count == 0 && passage->known)
        paint(pen, bar, passage->since, passage->since, '|');
    for (size_t i = 0; i < passage->attempts_count; i++) {
        const struct trace_attempt *attempt = &passage->attempts[i];
        paint(pen, bar, attempt->leased, attempt->ended ? attempt->ended : now, mark_of(attempt->outcome));
    }
}

static void put_bar(struct pen *pen, const struct trace_passage *passage)
{
    static const enum trace_colour colours[] = {
        ['.'] = TRACE_SLOW, ['='] = TRACE_GOOD, ['x'] = TRACE_BAD, ['|'] = TRACE_DIM};
    char bar[BAR_MOST], text[2] = "";
    enum trace_colour colour = TRACE_PLAIN;
    draw(pen, passage, bar);
    put(pen, "[");
    for (size_t i = 0; i < pen->bar; i++) {
        enum trace_colour wanted = bar[i] == ' ' ? TRACE_PLAIN : colours[(unsigned char)bar[i]];
        if (wanted != colour)
            put_colour(pen, colour = wanted);
        text[0] = bar[i];
        put(pen, text);
    }
    if (colour != TRACE_PLAIN)
        put_colour(pen, TRACE_PLAIN);
    put(pen, "] ");
}

/* ---- passages ------------------------------------------------------------------------------------------------- */

static enum trace_colour colour_of(const struct trace_passage *passage)
{
    switch (passage->skipped ? STATE_FOREIGN : passage->state) {
    case STATE_ACKED:
        return TRACE_GOOD;
    case STATE_LEASED:
        return TRACE_BUSY;
    case STATE_DEAD:
    case STATE_EXPIRED:
    case STATE_DROPPED:
        return TRACE_BAD;
    case STATE_WAITING:
    case STATE_DELAYED:
        return TRACE_SLOW;
    default:
        return TRACE_DIM;
    }
}

static void put_consumer(struct pen *pen, uint64_t session)
{
    const char *name = trace_log_session(pen->picture->view->log, session);
    if (*name) {
        put(pen, " by ");
        put_escaped(pen, name, strlen(name));
    }
}

/* "waited 12 ms, worked 40 ms" */
static void put_times(struct pen *pen, const struct trace_attempt *attempt)
{
    put(pen, "waited ");
    put_duration(pen, attempt->leased - attempt->from);
    put(pen, ", worked ");
    put_duration(pen, (attempt->ended ? attempt->ended : trace_log_now(pen->picture->view->log)) - attempt->leased);
}

/* ": exit 1: no such currency" */
static void put_failure(struct pen *pen, const struct trace_attempt *attempt)
{
    char text[32];
    if (attempt->code > 0) {
        snprintf(text, sizeof text, ": exit %" PRId32, attempt->code);
        put(pen, text);
    }
    size_t size = strlen(attempt->note);
    while (size > 0 && attempt->note[size - 1] == '\n')
        size--;
    if (size > 0) {
        put(pen, ": ");
        put_escaped(pen, attempt->note, size);
    }
}

static const char *outcome_words(const struct trace_attempt *attempt)
{
    switch (attempt->outcome) {
    case EVENT_ACKED:
        return "acked";
    case EVENT_RETRIED:
        return "failed";
    case EVENT_RELEASED:
        return "given back unbegun";
    case EVENT_LAPSED:
        return "its consumer died, or was silent";
    case EVENT_DEAD:
        return "dead";
    default:
        return "under way";
    }
}

static void put_attempt(struct pen *pen, const struct trace_attempt *attempt)
{
    char number[24];
    size_t start = pen->out->size;
    bool failed = mark_of(attempt->outcome) == 'x';
    put(pen, pen->indent);
    snprintf(number, sizeof number, "    %" PRIu32 ". ", attempt->number);
    put(pen, number);
    put_times(pen, attempt);
    put(pen, ": ");
    put_in(pen,
           failed                            ? TRACE_BAD
           : attempt->outcome == EVENT_ACKED ? TRACE_GOOD
                                             : TRACE_PLAIN,
           outcome_words(attempt));
    put_failure(pen, attempt);
    if (attempt->outcome == 0)
        put_consumer(pen, attempt->session);
    end_line(pen, start);
}

/* What stands behind the bar. */
static void put_end(struct pen *pen, const struct trace_node *node, const struct trace_passage *passage)
{
    const struct trace_attempt *last = passage->attempts_count ? &passage->attempts[passage->attempts_count - 1] : NULL;
    int64_t now = trace_log_now(pen->picture->view->log);
    put_in(pen, colour_of(passage), trace_state_name(passage));
    if (passage->state == STATE_DEAD && *trace_reason_name(passage->reason)) {
        put(pen, ", ");
        put(pen, trace_reason_name(passage->reason));
    }
    if (passage->damaged)
        put(pen, ", damaged");
    if (trace_is_settled(passage)) {
        if (!passage->known && passage->state == STATE_ACKED && !last)
            put(pen, ", or otherwise settled, long ago");
        else if (passage->attempts_count == 1 && passage->state == STATE_ACKED) {
            put(pen, ": ");
            put_times(pen, last);
        } else if (!passage->skipped && passage->state != STATE_FOREIGN) {
            put(pen, " after ");
            put_duration(pen, passage->since - node->match.time);
        }
        return;
    }
    put(pen, " ");
    put_duration(pen, now - passage->since);
    if (passage->state == STATE_LEASED)
        put_consumer(pen, last ? last->session : 0);
}

/* What it waits for, on a line of its own. */
static void put_wait(struct pen *pen, const struct trace_node *node, const struct trace_passage *passage,
                     struct fault *fault)
{
    struct buffer words = {0};
    size_t start = pen->out->size;
    if (!pen->error)
        pen->error = trace_wait_words(pen->picture, node, passage, &words, fault);
    if (!pen->error && words.size > 0) {
        put(pen, pen->indent);
        put(pen, "    waits ");
        if (!pen->error)
            pen->error = buffer_append(pen->out, words.data, words.size);
        end_line(pen, start);
    }
    buffer_free(&words);
}

static void put_passage(struct pen *pen, const struct trace_node *node, const struct trace_passage *passage,
                        struct fault *fault)
{
    char number[TRACE_NAME_TEXT];
    const char *name = trace_log_group_name(pen->picture->view->log, passage->group, number);
    size_t start = pen->out->size, size = strlen(name);
    put(pen, pen->indent);
    put(pen, "  ");
    put_in(pen, TRACE_NAME, name);
    for (; size < NAME_COLUMNS; size++)
        put(pen, " ");
    put(pen, " ");
    put_bar(pen, passage);
    put_end(pen, node, passage);
    end_line(pen, start);
    if (passage->attempts_count > 1 || (passage->attempts_count == 1 && mark_of(passage->attempts[0].outcome) == 'x'))
        for (size_t i = 0; i < passage->attempts_count; i++)
            put_attempt(pen, &passage->attempts[i]);
    put_wait(pen, node, passage, fault);
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

/* The tree's lines before NODE: those of the levels above go on where these have more children. */
static void draw_indent(struct pen *pen, const struct trace_node *node)
{
    const struct trace_tree *tree = pen->picture->tree;
    const char *pass = pen->ascii ? "|  " : "│  ";
    const struct trace_node *levels[16];
    unsigned depth = 0;
    pen->indent[0] = '\0';
    for (const struct trace_node *at = node; at->parent != SIZE_MAX && depth < 16; at = &tree->nodes[at->parent])
        levels[depth++] = at;
    pen->columns = 3 * (size_t)depth;
    for (unsigned i = depth; i-- > 0;)
        strcat(pen->indent, levels[i]->last ? "   " : pass);
}

static void put_branch(struct pen *pen, const struct trace_node *node)
{
    if (node->parent == SIZE_MAX)
        return;
    draw_indent(pen, &pen->picture->tree->nodes[node->parent]);
    put(pen, pen->indent);
    put(pen, pen->ascii ? (node->last ? "`- " : "|- ") : (node->last ? "└─ " : "├─ "));
}

static void put_title(struct pen *pen, const struct trace_node *node)
{
    struct trace_view *view = pen->picture->view;
    char number[TRACE_NAME_TEXT], offset[32];
    size_t start = pen->out->size;
    put_branch(pen, node);
    draw_indent(pen, node);
    if (!pen->error)
        pen->error = trace_picture_id(pen->picture, &node->match);
    put_colour(pen, node->asked ? TRACE_BOLD : TRACE_PLAIN);
    put(pen, (const char *)pen->picture->text.data);
    put_colour(pen, TRACE_PLAIN);
    put(pen, "  ");
    put_in(pen, TRACE_NAME, trace_log_topic_name(view->log, node->match.topic, number));
    snprintf(offset, sizeof offset, "@%" PRIu64, node->match.offset);
    if (!node->match.scheduled)
        put(pen, offset);
    if (node->relation > TRACE_EFFECT) {
        put(pen, "  ");
        put_in(pen, node->relation == TRACE_LETTER ? TRACE_BAD : TRACE_BUSY, trace_relation_name(node->relation));
    }
    end_line(pen, start);
}

/* When and by whom it was stored, and what is known of it while it is there. */
static void put_origin(struct pen *pen, const struct trace_node *node)
{
    static const enum attribute_code shown[] = {ATTRIBUTE_PARTITIONKEY, ATTRIBUTE_TYPE, ATTRIBUTE_SUBJECT};
    static const char *const names[] = {"key", "type", "subject"};
    struct trace_view *view = pen->picture->view;
    struct trace_message message;
    char text[TRACE_TIME_TEXT];
    size_t start = pen->out->size;
    int64_t time = node->match.scheduled ? node->match.due : node->match.time;
    put(pen, pen->indent);
    put_colour(pen, TRACE_DIM);
    trace_time_text(view, trace_log_wall(view->log, time), text);
    put(pen, node->match.scheduled ? "  taken " : "  stored ");
    put(pen, text);
    if (node->match.session)
        put_consumer(pen, node->match.session);
    else
        put(pen, " by the relay");
    if (trace_read_message(view->log, &node->match, &message)) {
        put(pen, ", no longer kept");
    } else {
        put(pen, ", ");
        units_size_text(message.record.size, text, sizeof text);
        put(pen, text);
        for (size_t i = 0; i < sizeof shown / sizeof *shown && message.record.attributes_size > 0; i++) {
            struct attribute attribute;
            if (!attribute_known(message.record.attributes, message.record.attributes_size, shown[i], &attribute))
                continue;
            put(pen, ", ");
            put(pen, names[i]);
            put(pen, " ");
            put_escaped(pen, attribute.value, attribute.value_size);
        }
        if (message.duplicate)
            put(pen, ", a duplicate: given to nobody");
    }
    put_colour(pen, TRACE_PLAIN);
    end_line(pen, start);
}

/* It waits for its time, or was delayed. */
static void put_delay(struct pen *pen, const struct trace_node *node)
{
    struct trace_view *view = pen->picture->view;
    char text[TRACE_TIME_TEXT];
    size_t start = pen->out->size;
    if (!node->match.due)
        return;
    put(pen, pen->indent);
    put(pen, "  ");
    if (node->match.scheduled) {
        trace_time_text(view, trace_log_wall(view->log, node->match.time), text);
        put_in(pen, TRACE_SLOW, "scheduled");
        put(pen, ": it goes into its topic at ");
        put(pen, text);
        put(pen, ", in ");
        put_duration(pen, node->match.time - trace_log_now(view->log));
    } else {
        put(pen, "delayed: it was taken ");
        put_duration(pen, node->match.time - node->match.due);
        put(pen, " before");
    }
    end_line(pen, start);
}

/* What it was made of, if that was several messages: they stand in trees of their own above. */
static void put_inputs(struct pen *pen, const struct trace_node *node)
{
    const struct trace_tree *tree = pen->picture->tree;
    size_t inputs[INPUTS_MOST], count = trace_tree_made_of(tree, (size_t)(node - tree->nodes), inputs, INPUTS_MOST);
    char text[64], number[TRACE_NAME_TEXT];
    size_t start = pen->out->size;
    if (count < 2)
        return;
    put(pen, pen->indent);
    snprintf(text, sizeof text, "  made of %zu messages:", count);
    put_in(pen, TRACE_DIM, text);
    for (size_t i = 0; i < count && i < INPUTS_MOST; i++) {
        const struct trace_match *match = &tree->nodes[inputs[i]].match;
        put(pen, i > 0 ? ", " : " ");
        put_in(pen, TRACE_NAME, trace_log_topic_name(pen->picture->view->log, match->topic, number));
        snprintf(text, sizeof text, "@%" PRIu64, match->offset);
        put(pen, text);
    }
    put(pen, count > INPUTS_MOST ? ", …" : "");
    end_line(pen, start);
}

static void put_node(struct pen *pen, const struct trace_node *node, struct fault *fault)
{
    const struct trace_history *history = &node->history;
    put_title(pen, node);
    put_origin(pen, node);
    put_delay(pen, node);
    put_inputs(pen, node);
    size_t shown = 0;
    for (size_t i = 0; i < history->count; i++)
        if (!history->passages[i].skipped && history->passages[i].state != STATE_FOREIGN) {
            put_passage(pen, node, &history->passages[i], fault);
            shown++;
        }
    if (shown == 0 && !node->match.scheduled) {
        size_t start = pen->out->size;
        put(pen, pen->indent);
        put(pen, "  ");
        put_in(pen, TRACE_DIM, "no group reads it");
        end_line(pen, start);
    }
}

enum mp_error trace_show_text(struct trace_picture *picture, struct fault *fault)
{
    struct trace_view *view = picture->view;
    const struct trace_tree *tree = picture->tree;
    struct pen pen = {.picture = picture,
                      .out = &picture->out,
                      .ascii = view->terminal && strcmp(nl_langinfo(CODESET), "UTF-8") != 0};
    size_t room = view->terminal && view->columns > 80 ? view->columns : 80;
    pen.bar = room - NAME_COLUMNS - TEXT_COLUMNS;
    pen.bar = pen.bar < BAR_LEAST ? BAR_LEAST : pen.bar > BAR_MOST ? BAR_MOST : pen.bar;
    for (size_t i = 0; i < tree->count && !pen.error; i++)
        put_node(&pen, &tree->nodes[i], fault);
    if (tree->count > 1) {
        put(&pen, trace_colour(view, TRACE_DIM));
        char text[64];
        snprintf(text, sizeof text, "%zu messages, ", tree->count);
        put(&pen, text);
        put_duration(&pen, picture->to - picture->from);
        put(&pen, tree->more ? "; there are more in the trace" : "");
        put_colour(&pen, TRACE_PLAIN);
        put(&pen, "\n");
    }
    return pen.error;
}
