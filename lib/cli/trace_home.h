/*
 * trace_home.h: where the store is that mtrace is to read, and whether it can be read from here.
 */
#ifndef CLI_TRACE_HOME_H
#define CLI_TRACE_HOME_H

#include "base/fault.h"
#include "cli/trace.h"

#include <jansson.h>

enum { TRACE_PATH_BYTES = 4096 };

/* An exit code that is none: its relay has to read it (cli/trace_remote.h). */
enum { TRACE_ELSEWHERE = -1 };

struct trace_home {
    bool found;
    bool given; /* by --store */
    int code;
    char path[TRACE_PATH_BYTES];
    json_t *status; /* what the relay says of itself, as `mrelay status --json`; NULL: none runs, or --store */
};

/*
 * Finds it, the first time: --store, or what the relay says that runs, or, with a line on stderr, what follows from its
 * name. 0; TRACE_ELSEWHERE; or the exit code, told.
 */
int trace_home_find(struct trace_home *home, const struct trace_settings *settings);
void trace_home_close(struct trace_home *home);

/* The store cannot be opened, as FAULT says: TRACE_ELSEWHERE where its relay may be able to; or the exit code, told. */
int trace_home_unreadable(struct trace_home *home, const struct fault *fault);

/* The running relay's answer to VERB, to be given back with json_decref(); NULL when none runs. */
json_t *trace_home_ask(const struct trace_home *home, const struct trace_settings *settings, const char *verb);

#endif
