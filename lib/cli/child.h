/*
 * child.h: this program again, as a child that is tied to this process: the relay and the runner under `mrelay run`, the
 * relay of a sandbox.
 *
 * The child has one end of a socket pair (base/control.h), whose end it takes for this process's: it stops then, also
 * when this process was killed. It runs in a process group of its own, so that what a terminal sends (Ctrl-C) comes to
 * this process alone, which tells it in its own time. Nothing waits: what happens is called back from the loop.
 */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include "base/control.h"

#include <stdbool.h>
#include <sys/types.h>

struct event_base;
struct child;

struct child_settings {
    struct event_base *base;
    char *const *argv;              /* ends with NULL; argv[0] is replaced by this program */
    const char *const *environment; /* "NAME=value" in the place of this program's; ends with NULL; NULL: none */
    bool tells_ready;               /* it answers on relay_ready_descriptor() (relay.h) */
    void *context;
    /* With `tells_ready`: it serves (MP_OK), or why it does not. */
    void (*ready)(void *context, const struct fault *fault);
    void (*line)(void *context, const char *line);
    /* It has ended: STATUS as waitpid(2) gives it. Comes after all of its lines. */
    void (*ended)(void *context, int status);
};

/* MP_ERR_IO, MP_ERR_MEMORY. The settings are copied, but for what they point to, which is needed for the start only. */
enum mp_error child_start(const struct child_settings *settings, struct child **child, struct fault *fault);

/* Kills it if it runs, and waits for its end. Not out of `ready` and `line`. NULL is allowed. */
void child_free(struct child *child);

pid_t child_pid(const struct child *child); /* 0: it has ended */
struct control *child_control(struct child *child);
void child_signal(struct child *child, int number);

#endif
