/*
 * loop.h: what every tool does between its callbacks: libevent, on a back end that takes regular files, and signals.
 *
 * A tool works in steps: loop_run() calls its step, waits for an event, and calls it again, until the step says that
 * it has finished. Events (the relay's link, timers, the tool's own) do their work in callbacks; the step then sees
 * what is to be done next. SIGINT, SIGTERM and SIGHUP are noted in `interrupted`; the second one kills at once
 * (SIGHUP after SIGHUP is no second one).
 */
#ifndef CLI_LOOP_H
#define CLI_LOOP_H

#include "base/clock.h"
#include "base/fault.h"

#include <event2/event.h>
#include <spawn.h>
#include <stdbool.h>

enum { LOOP_SIGNALS = 3 };

struct loop {
    struct event_base *base;
    struct event *signals[LOOP_SIGNALS];
    struct event *alarm;
    int64_t alarm_at;
    int64_t (*due)(void *context, int64_t now); /* the relay's link asks for its turn; may be NULL */
    void *due_context;
    int interrupted;                   /* the signal that asked to stop, or 0 */
    bool lacking;                      /* there was no memory lately: */
    int64_t lacking_since, refused_at; /* the first and the last time */
    unsigned long refusals;            /* memory_refusals() when it was looked last */
};

/* MP_ERR_MEMORY. Free it with loop_close(). */
enum mp_error loop_open(struct loop *loop, struct fault *fault);
void loop_close(struct loop *loop);

/*
 * Calls STEP, at first and after each event, until it returns false. NOW: monotonic microseconds. What the step says in
 * *DUE (CLOCK_NEVER when it is called) is when it wants to be called again if nothing happens before. MP_ERR_MEMORY: there
 * was none for two seconds.
 */
enum mp_error loop_run(struct loop *loop, bool (*step)(void *context, int64_t now, int64_t *due), void *context,
                       struct fault *fault);

/* Makes ATTRIBUTES start a child with the signals that the tool itself was started with. 0, or an errno number. */
int loop_child_signals(posix_spawnattr_t *attributes);

#endif
