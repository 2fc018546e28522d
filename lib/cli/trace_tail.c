/* mtrace tail: what happens, as it happens. */
#include "cli/admin_ask.h"
#include "cli/exit.h"
#include "cli/loop.h"
#include "cli/output.h"
#include "cli/trace_event.h"
#include "cli/trace_mark.h"
#include "runner/source_watch.h"
#include "trace/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PERIOD = 50000,        /* microseconds between two looks where nothing tells of changes */
    SELDOM = 1000000,      /* and where something does: it may not be relied upon */
    TOGETHER = 20000,      /* what is told again and again is looked at so often */
    GATHERED = 1024 * 1024 /* bytes of one look that are printed before the next */
};

struct tailing {
    struct trace_view view;
    struct trace_select select;
    struct trace_tail tail;
    struct loop loop;
    struct source_watch watch; /* of the store's log */
    struct event *changed;
    int log;    /* the descriptor of that */
    char *text; /* what a look has gathered: nothing is written while it holds a moment of the store */
    size_t size;
    bool cut;       /* the look was ended, as enough was gathered */
    bool told;      /* something has changed */
    int64_t looked; /* monotonic */
    uint64_t told_lost;
    uint64_t marked;   /* the event of the last mark, */
    int64_t marked_at; /* monotonic */
    bool told_since;   /* something was printed since then, */
    uint64_t shown;    /* and so many steps */
    uint64_t left;     /* of --count; UINT64_MAX: no end */
    int64_t started;   /* what is stored later is followed up to --until */
    struct fault fault;
    enum mp_error error;
};

/* MP_ERR_STALE: enough. */
static enum mp_error show(struct tailing *tailing, const struct store_event *event, uint64_t offset)
{
    const struct trace_view *view = &tailing->view;
    tailing->told_since = true;
    tailing->shown++;
    enum mp_error error =
        view->settings->json ? trace_event_print_json(view, event, offset) : trace_event_print(view, event, offset);
    /* Once is enough, unless it was asked for other steps. */
    bool body = view->settings->body && (event->kind == EVENT_PUBLISHED || view->settings->kinds.count > 0);
    if (!error && body && !view->settings->json)
        error = trace_event_print_bodies(view, event, offset, &tailing->fault);
    if (error)
        return error;
    tailing->cut = ftello(view->out) >= GATHERED;
    return tailing->left != UINT64_MAX && --tailing->left == 0 ? MP_ERR_STALE : MP_OK;
}

/* Those of its messages that are meant, one by one. */
static enum mp_error show_some(struct tailing *tailing, const struct store_event *event)
{
    struct lineage lineage;
    bool known = event->kind == EVENT_PUBLISHED && !lineage_open(&lineage, event->note, event->note_size, event->count);
    enum mp_error error = MP_OK;
    for (uint32_t i = 0; !error && i < event->span; i++) {
        uint64_t offset = event->first + i;
        if (trace_event_concerns(event, offset) &&
            trace_select_message(&tailing->select, known ? &lineage : NULL, i, event->topic, offset))
            error = show(tailing, event, offset);
    }
    return error;
}

/* Where events are missing, before what comes behind them. */
static void tell_gap(struct tailing *tailing)
{
    uint64_t gap = tailing->tail.lost - tailing->told_lost;
    if (gap == 0)
        return;
    tailing->told_lost = tailing->tail.lost;
    tailing->told_since = true;
    if (tailing->view.settings->json)
        fprintf(tailing->view.out, "{\"lost\":%" PRIu64 "}\n", gap);
    else
        fprintf(tailing->view.out, "... %" PRIu64 " events were lost: they came faster than they were read\n", gap);
}

static enum mp_error on_event(void *context, const struct store_event *event)
{
    struct tailing *tailing = context;
    tell_gap(tailing);
    bool chosen = tailing->view.settings->kinds.count > 0;
    if (event->kind == EVENT_SESSION && !chosen)
        return MP_OK; /* its name stands beside what it does */
    if (tailing->select.until != INT64_MAX && event->time >= tailing->select.until)
        return MP_ERR_STALE;
    bool some = event->kind != EVENT_SESSION && event->kind != EVENT_GRANTED;
    enum mp_error error = some && trace_select_by_message(&tailing->select) ? show_some(tailing, event)
                                                                            : show(tailing, event, UINT64_MAX);
    return error ? error : tailing->cut ? MP_ERR_AGAIN : MP_OK;
}

static void mark(struct tailing *tailing, int64_t now)
{
    const struct trace_position position = {.event = tailing->tail.seen};
    char text[TRACE_MARK_TEXT];
    bool moved = position.event != tailing->marked && now >= tailing->marked_at + TRACE_MARK_EVERY;
    if (!tailing->view.settings->marks || (!tailing->told_since && !moved))
        return;
    trace_mark_text(&position, tailing->shown, text);
    fputs(text, tailing->view.out);
    tailing->marked = position.event;
    tailing->marked_at = now;
    tailing->told_since = false;
    tailing->shown = 0;
}

/* Takes one look, then prints what it has gathered. */
static void look(struct tailing *tailing, int64_t now)
{
    struct trace_view *view = &tailing->view;
    enum mp_error error = MP_OK;
    view->out = open_memstream(&tailing->text, &tailing->size);
    if (!view->out) {
        tailing->error = fault_memory(&tailing->fault);
        return;
    }
    tailing->cut = false;
    tailing->error = trace_tail_look(&tailing->tail, clock_moment(), on_event, tailing, &tailing->fault);
    if (tailing->cut && tailing->error == MP_ERR_AGAIN) {
        tailing->error = MP_OK;
        tailing->tail.more = true;
    }
    tell_gap(tailing);
    if (!tailing->error)
        mark(tailing, now);
    if (fclose(view->out) != 0)
        error = fault_memory(&tailing->fault);
    else
        error = output_write(STDOUT_FILENO, tailing->text, tailing->size, &tailing->fault);
    view->out = stdout;
    free(tailing->text);
    tailing->text = NULL;
    tailing->error = error ? error : tailing->error;
}

static bool step(void *context, int64_t now, int64_t *due)
{
    struct tailing *tailing = context;
    if (tailing->loop.interrupted)
        return false;
    if (output_has_gone(STDOUT_FILENO)) {
        tailing->error = MP_ERR_CLOSED;
        return false;
    }
    bool stands = source_watch_stands(&tailing->watch);
    int64_t next = tailing->looked + (tailing->told ? TOGETHER : stands ? SELDOM : PERIOD);
    if (tailing->looked > 0 && now < next && !tailing->tail.more) {
        *due = next;
        return true;
    }
    tailing->told = false;
    tailing->looked = now;
    look(tailing, now);
    bool over = tailing->select.until != INT64_MAX && trace_log_now(tailing->view.log) >= tailing->select.until;
    if (tailing->error || (over && !tailing->tail.more))
        return false;
    *due = tailing->tail.more ? now : now + (stands ? SELDOM : PERIOD);
    return true;
}

static void on_changed(evutil_socket_t descriptor, short what, void *context)
{
    struct tailing *tailing = context;
    (void)descriptor;
    (void)what;
    source_watch_taken(&tailing->watch);
    tailing->told = true;
}

/* The relay's commits are writes to the store's log. */
static enum mp_error watch(struct tailing *tailing)
{
    char path[TRACE_PATH_BYTES + 8];
    snprintf(path, sizeof path, "%s-wal", tailing->view.path);
    source_watch_open(&tailing->watch);
    if (tailing->watch.descriptor < 0)
        return MP_OK;
    source_watch_directory(&tailing->watch, path);
    tailing->log = open(path, O_RDONLY | O_CLOEXEC);
    source_watch_file(&tailing->watch, tailing->log);
    tailing->changed =
        event_new(tailing->loop.base, tailing->watch.descriptor, EV_READ | EV_PERSIST, on_changed, tailing);
    if (!tailing->changed || event_add(tailing->changed, NULL))
        return fault_memory(&tailing->fault);
    return MP_OK;
}

static enum mp_error follow(struct tailing *tailing)
{
    const struct trace_settings *settings = tailing->view.settings;
    uint64_t after = trace_log_last(tailing->view.log);
    struct trace_position position;
    if (settings->after && trace_position_of(settings->after, &position, &tailing->fault))
        return tailing->fault.code;
    if (settings->after)
        after = position.event < after ? position.event : after;
    else if (settings->since)
        after = tailing->select.first_id > 0 ? tailing->select.first_id - 1 : 0;
    trace_tail_open(&tailing->tail, tailing->view.log, &tailing->select, after);
    enum mp_error error = loop_open(&tailing->loop, &tailing->fault);
    if (error || (error = watch(tailing)) || (error = loop_run(&tailing->loop, step, tailing, &tailing->fault)))
        return error;
    return tailing->error == MP_ERR_STALE ? MP_OK : tailing->error;
}

int trace_tail(const struct trace_settings *settings, const struct options *options)
{
    struct tailing tailing = {.log = -1,
                              .watch = {.descriptor = -1},
                              .marked = UINT64_MAX,
                              .left = settings->count ? settings->count : UINT64_MAX};
    (void)options;
    int code = trace_view_open(&tailing.view, settings);
    if (!code)
        code = trace_view_select(&tailing.view, &tailing.select);
    enum mp_error error = code ? MP_OK : follow(&tailing);
    int interrupted = tailing.loop.interrupted;
    if (tailing.changed)
        event_free(tailing.changed);
    source_watch_close(&tailing.watch);
    if (tailing.log >= 0)
        close(tailing.log);
    loop_close(&tailing.loop);
    trace_select_free(&tailing.select);
    trace_view_close(&tailing.view);
    if (error == MP_ERR_CLOSED)
        return exit_by_pipe();
    if (error)
        return tell_fault(&tailing.fault);
    if (code)
        return code;
    code = admin_finish();
    if (interrupted)
        exit_by_signal(interrupted);
    return code;
}
