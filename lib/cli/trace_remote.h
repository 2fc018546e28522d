/*
 * trace_remote.h: reading a store through its relay: mtrace runs there (relay/readers.h), and what it prints comes here.
 *
 * Files, collectors and Graphviz are this side's: what is written by them is made of what comes. What has no end (tail,
 * --follow, --watch) outlives the relay: it is asked for again, behind what has come, when the relay is back.
 */
#ifndef CLI_TRACE_REMOTE_H
#define CLI_TRACE_REMOTE_H

#include "base/buffer.h"
#include "cli/loop.h"
#include "cli/trace_home.h"

/* Does VERB as if the store were here; the exit code. */
int trace_remote(const struct trace_settings *settings, const struct options *options, const char *verb);

/* ---- for what does something with the output by itself: export ------------------------------------------------- */

struct trace_position;
struct trace_remote;

struct trace_remote_settings {
    const struct trace_settings *settings;
    const struct options *options;
    const char *verb;
    struct loop *loop;
    const char *format; /* in place of --format; NULL: as it is given */
    bool marks;         /* where it goes on is known by them: they, whether they were asked for or not */
    bool lasting;       /* has no end of itself */
};

/* MP_ERR_INVALID, MP_ERR_MEMORY. */
enum mp_error trace_remote_open(const struct trace_remote_settings *settings, struct trace_remote **remote,
                                struct fault *fault);
/* The relay sees that nobody asks any more, and ends it. NULL is allowed. */
void trace_remote_close(struct trace_remote *remote);

/*
 * In each step of the loop: asks and waits. HOLD: no more output is wanted now. False when it has come to its end, and
 * *CODE is the exit code, told. What came is at the end of the output then.
 */
bool trace_remote_step(struct trace_remote *remote, bool hold, int64_t now, int64_t *due, int *code);

/* What came of stdout: the owner takes it off the front. */
struct buffer *trace_remote_output(struct trace_remote *remote);

/*
 * All up to POSITION has been taken, and COUNT of --count: if the relay goes, it is gone on with behind that, and what is
 * in the output then is forgotten.
 */
void trace_remote_taken(struct trace_remote *remote, const struct trace_position *position, uint64_t count);

#endif
