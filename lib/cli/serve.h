/*
 * serve.h: mrelay alone: being the relay, here or in the background.
 */
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

#include "cli/options.h"

struct relay_web;

struct serve_settings {
    const char *name;  /* the relay's; NULL: the default one */
    const char *store; /* a file; NULL: by the name */
    struct option_list listen;
    const char *http;                      /* where HTTP is served; NULL: nowhere */
    const struct relay_web *web;           /* what serves it */
    uint64_t max_message, max_connections; /* 0: the relay's own limits */
    int64_t lease;                         /* microseconds */
    double client_rate;                    /* messages a second that a client may send; 0: no limit */
    int64_t trace_age;                     /* microseconds; 0: the relay's own limits */
    uint64_t trace_bytes;
    const char *trace_sample; /* a share; NULL: all */
    bool no_trace;
    bool background, insecure;
    int log_format; /* 1: JSON */
    int log_level;  /* enum log_level */
};

/* Serves until a signal, or returns when the relay in the background does; the exit code. ARGV starts it again. */
int serve(const struct serve_settings *settings, const struct options *options, char **argv);

/* Starts this program with ARGV again in the background, its log beside the store (NULL: by NAME); the exit code. */
int serve_in_background(const char *name, const char *store, char **argv);

#endif
