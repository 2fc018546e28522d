/*
 * receive.h: what mrecv does: messages come from a relay (receive_relay.c) or straight from peers (receive_direct.c),
 * and are written to stdout (receive_output.h) or given to commands (receive_runner.h). bin/mrecv.c names the options
 * that fill struct receive_settings.
 */
#ifndef CLI_RECEIVE_H
#define CLI_RECEIVE_H

#include "cli/options.h"

enum receive_mode { RECEIVE_EACH, RECEIVE_STREAM, RECEIVE_BATCH };

struct receive_settings {
    /* where from */
    const char *relay;
    const char *topic; /* or a pattern */
    const char *group; /* NULL: read only */
    const char *from;
    const char *dial;
    const char *listen;
    int pattern;                  /* enum peer_pattern */
    struct option_list subscribe; /* SUB: prefixes */
    uint64_t max_message;         /* bytes of a direct message; 0: the transport's limit */

    /* how long */
    int64_t wait;   /* microseconds; -1: not given */
    uint64_t count; /* messages; 0: no limit */
    bool exit_at_end;

    /* output */
    int format; /* enum format, or RECEIVE_FORMAT_UNSET */
    const char *template;
    bool sync;

    /* commands */
    const char *shell;
    int mode; /* enum receive_mode */
    uint64_t workers;
    uint64_t batch;         /* messages for one command at most; 0: not given */
    uint64_t max_in_flight; /* messages leased at once at most; 0: not given */
    int64_t timeout;        /* microseconds of one run; 0: no limit */
    bool only_success;      /* print only what successful commands print */
};

enum { RECEIVE_FORMAT_UNSET = -1 };

/* Receives what SETTINGS and the command in OPTIONS say. Returns the exit code. May die by a signal. */
int receive_run(const struct receive_settings *settings, const struct options *options);

#endif
