/*
 * hangup.h: SIGHUP, by which two things are said: load the configuration again, or the terminal has gone (its window was
 * closed, its connection lost). Whoever serves in the foreground of a terminal ends with it; who serves without one is
 * told to reload.
 *
 * The terminal has gone when there was one as the watch began, there is none now, and the signal is of the kernel or of
 * a process of the same session, as a shell is that passes it on. One from elsewhere still says reload: a service that
 * was left behind by a shell that has ended is not ended by who manages it.
 */
#ifndef BASE_HANGUP_H
#define BASE_HANGUP_H

#include "base/fault.h"

struct event_base;
struct hangup;

struct hangup_settings {
    void *context;
    void (*reload)(void *context);
    /* Called once; nothing is called after it. */
    void (*gone)(void *context);
};

/*
 * Watches SIGHUP in the loop BASE; does nothing where it was ignored, as by nohup(1). One at a time in a process.
 * MP_ERR_MEMORY.
 */
enum mp_error hangup_watch(struct event_base *base, const struct hangup_settings *settings, struct hangup **hangup,
                           struct fault *fault);
/* NULL is allowed. */
void hangup_free(struct hangup *hangup);

#endif
