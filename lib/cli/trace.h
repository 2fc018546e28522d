/*
 * trace.h: the verbs of mtrace: what became of messages, from the log of a relay's store.
 *
 * A verb is a file trace_VERB.c with a function here and a line in bin/mtrace.c. It opens the log with trace_view_open()
 * (cli/trace_view.h), prints what was asked for, and returns the exit code.
 */
#ifndef CLI_TRACE_H
#define CLI_TRACE_H

#include "cli/options.h"

struct trace_list_settings {
    struct option_list states;
    bool failed, retried;
    int64_t slower; /* microseconds; 0: no matter */
    int sort;       /* enum trace_sort */
};

struct trace_home;

struct trace_settings {
    struct trace_home *home; /* cli/trace_home.h */
    bool reading;            /* for somebody else: the store is given, and the relay to be asked beside it */
    bool asking;             /* what the relay says of itself makes a difference */
    const char *relay;       /* a name or a URL; NULL: the default one */
    const char *store;       /* its file; NULL: as the relay or its name says */
    int64_t wait;            /* for the relay: microseconds; -1: a second */
    bool json;
    struct option_list topics; /* which messages and events: trace/select.h */
    struct option_list groups;
    struct option_list kinds;
    struct option_list attributes;
    const char *key, *trace, *since, *until;
    bool otlp, zipkin;    /* export: in which form, */
    const char *to;       /* to a URL or a file; NULL: stdout, */
    bool follow;          /* what is to come as well, */
    const char *position; /* a file that says how far it has come; NULL: none, */
    uint64_t from_event;  /* 0: not given, */
    const char *after;    /* behind this mark; NULL: not given, */
    bool marks;           /* and tells how far it is, */
    int64_t timeout;      /* of a collector: microseconds; 0: not given */
    bool watch;           /* again each second */
    bool histogram;
    int format;      /* enum draw_format (cli/draw.h) */
    const char *svg; /* draw into this file */
    bool body;       /* bodies too */
    uint64_t count;  /* so many lines, and no more; 0: no end, or as many as is usual */
    struct trace_list_settings list;
};

/* The life of messages, and of all that came of them: their ids, topic@offset, or --key. */
int trace_show(const struct trace_settings *settings, const struct options *options);

/* Messages that are meant, each as it went through a group: the newest, the slowest, what failed. */
int trace_list(const struct trace_settings *settings, const struct options *options);

/* How much, and how long it took. */
int trace_stats(const struct trace_settings *settings, const struct options *options);

/* What flowed where. */
int trace_graph(const struct trace_settings *settings, const struct options *options);

/* What happens, as it happens. */
int trace_tail(const struct trace_settings *settings, const struct options *options);

/* Whether everything in the store is accounted for; 1 when it is not. */
int trace_audit(const struct trace_settings *settings, const struct options *options);

/* What happened, as spans of a distributed trace. */
int trace_export(const struct trace_settings *settings, const struct options *options);

#endif
