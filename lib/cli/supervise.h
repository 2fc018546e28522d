/*
 * supervise.h: `mrelay run` and `once`: a relay and a runner as children of a small process, which starts again what
 * dies, passes on what it is asked (reload, drain), and ends them in order: the runner, then the relay.
 */
#ifndef CLI_SUPERVISE_H
#define CLI_SUPERVISE_H

#include "cli/options.h"

struct supervise_settings {
    const char *relay; /* its name; NULL: the pipeline's */
    const char *file;  /* the pipeline's */
    bool once;         /* ends when its sources have ended and nothing waits */
    int64_t span;      /* `once`: so long at most, then it drains; microseconds; 0: no limit */
    const char *store; /* NULL: as the pipeline says, or by the name */
    bool background;
    bool insecure;
    int log_format;
    int log_level;
};

/* Runs until a signal, `mrelay drain`, or the end of the work; the exit code. ARGV starts it again. */
int supervise(const struct supervise_settings *settings, const struct options *options, char **argv);

#endif
