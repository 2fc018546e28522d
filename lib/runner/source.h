/*
 * source.h: what feeds a topic from outside: commands, the clock, files and sockets.
 *
 * A source takes messages in, applies its steps to them and publishes them to its topic, with a client of its own: one
 * frame is in flight while the next one fills, so a lone message goes at once and a flood goes in big frames. While
 * the topic is full, or the relay away, the next frame is the last that is filled: nothing more is read, so that the
 * command's pipe fills, the file waits, and peers are not read.
 *
 * At least once: what was taken in and not acknowledged by the relay when the runner dies is taken in again where that
 * is possible: from a file, and from REQ peers, which ask again.
 */
#ifndef RUNNER_SOURCE_H
#define RUNNER_SOURCE_H

#include "base/fault.h"
#include "pipeline/model.h"
#include "stage/command.h"

struct event_base;
struct source;

struct source_settings {
    struct event_base *base;
    struct stage_children *children;
    const char *relay;                    /* its address, as for the runner */
    const struct pipeline_source *source; /* stays as long as the source */
    const char *state;                    /* a directory for what it remembers; NULL: it begins anew each time */
    int (*signals)(posix_spawnattr_t *attributes); /* as in stage_command_settings */
    void *context;
    /* It has ended, or something of its report but the counters has changed. From the loop. May be NULL. */
    void (*changed)(void *context);
};

enum source_state {
    SOURCE_RUNNING,
    SOURCE_WAITING, /* `why` says for what: the topic is full, the relay is away, the file is missing, a restart is due */
    SOURCE_ENDED, /* at its end, or stopped: it does nothing any more; all that it took in is acknowledged, or given up */
    SOURCE_FAILED /* as SOURCE_ENDED, but it could not do what it should, and `why` says what happened */
};

struct source_report {
    enum source_state state;
    const char *why;   /* "" or words; belongs to the source */
    uint64_t in;       /* messages that were taken in */
    uint64_t out;      /* that the relay has stored */
    uint64_t skipped;  /* that a step dropped */
    uint64_t rejected; /* that were no message, too large, or that the relay refused for good: told in the log */
    uint64_t retraced; /* that had a traceparent or tracestate that is none, which was left out */
    uint64_t missed;   /* every, cron: ticks at which nothing was sent */
};

/*
 * Opens and starts a source. Its topic has to be there. MP_ERR_INVALID (steps that are not for sources, an address),
 * MP_ERR_BUSY (somebody listens at its address; another runner has its state), MP_ERR_IO, MP_ERR_MEMORY. What may come right
 * by itself is no error: a file that is missing, a command that cannot be started.
 */
enum mp_error source_open(const struct source_settings *settings, struct source **source, struct fault *fault);
/* At once; a command that runs is killed. NULL is allowed. */
void source_free(struct source *source);

/*
 * Takes nothing more in: its command is ended, what it has is published, then it is SOURCE_ENDED. At DEADLINE, monotonic
 * microseconds, it ends in any case, and tells the log what is not stored; CLOCK_NEVER: it waits until the relay is
 * there and has room. An earlier deadline replaces the one before.
 */
void source_stop(struct source *source, int64_t deadline);

bool source_has_ended(const struct source *source); /* SOURCE_ENDED or SOURCE_FAILED */
struct source_report source_report(const struct source *source);

#endif
