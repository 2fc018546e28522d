/*
 * trace_view.h: what the verbs of mtrace share: the log that is looked at, and how it is shown.
 */
#ifndef CLI_TRACE_VIEW_H
#define CLI_TRACE_VIEW_H

#include "cli/trace_home.h"
#include "trace/log.h"
#include "trace/select.h"

#include <stdio.h>

struct trace_view {
    const struct trace_settings *settings;
    struct trace_log *log;
    const char *path;     /* of the store */
    const json_t *status; /* of the place */
    bool terminal;        /* stdout is one: what messages contain is escaped in any case */
    bool colour;
    unsigned columns; /* of the terminal; 80 when it is not known */
    int64_t now;      /* wall time */
    FILE *out;        /* where events are printed: stdout, unless the verb gathers them first */
};

/*
 * Opens the log of the store that is meant (settings->home). Returns 0, or the exit code when that cannot be, and has told
 * why, or TRACE_ELSEWHERE: a verb returns any of these. Close it in either case.
 */
int trace_view_open(struct trace_view *view, const struct trace_settings *settings);
void trace_view_close(struct trace_view *view);

/* Finds the store alone, for those who open it by themselves; and what follows when it cannot be opened. */
int trace_view_find(struct trace_view *view, const struct trace_settings *settings);
int trace_view_unreadable(const struct trace_view *view, const struct fault *fault);

/* The settings' filters. Returns 0, or the exit code, told. SELECT is to be freed with trace_select_free(). */
int trace_view_select(const struct trace_view *view, struct trace_select *select);

/* The running relay's answer to VERB, to be given back with json_decref(); NULL when none runs. Tells nothing. */
json_t *trace_view_ask(const struct trace_view *view, const char *verb);

/* ---- colours: the escape sequence, or "" where there is no colour ---------------------------------------------- */

enum trace_colour {
    TRACE_PLAIN, /* ends what was begun */
    TRACE_BOLD,
    TRACE_DIM,
    TRACE_GOOD, /* done */
    TRACE_BAD,  /* failed, dead */
    TRACE_SLOW, /* waiting, delayed */
    TRACE_BUSY, /* with a consumer */
    TRACE_NAME, /* topics and groups */
    TRACE_COLOURS
};
const char *trace_colour(const struct trace_view *view, enum trace_colour colour);

/* A time of day for people: "17:04:05.123456" of today, else with its date before it. Local time. */
enum { TRACE_TIME_TEXT = 40 };
void trace_time_text(const struct trace_view *view, int64_t wall, char text[TRACE_TIME_TEXT]);

/* Prints OBJECT as one line of JSON, and gives it back. */
void trace_print_json(json_t *object);

#endif
