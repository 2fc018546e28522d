/*
 * control.h: lines of text between a supervisor and its children, over a socket pair. One end is in an event loop; the
 * other program has the other end. When a program ends, for whatever reason, the other one is told.
 */
#ifndef BASE_CONTROL_H
#define BASE_CONTROL_H

#include "base/fault.h"

#include <stdbool.h>

struct event_base;
struct control;

enum { CONTROL_LINE_MAX = 64 * 1024 }; /* bytes of a line; a longer one ends the connection */

struct control_settings {
    void *context;
    /* A line came, without its newline. May call control_free(). */
    void (*line)(void *context, const char *line);
    /* The other end has gone: nothing comes any more. May call control_free(). */
    void (*ended)(void *context);
};

/* Takes DESCRIPTOR, also when it fails. MP_ERR_MEMORY, MP_ERR_IO. */
enum mp_error control_open(struct event_base *base, int descriptor, const struct control_settings *settings,
                           struct control **control, struct fault *fault);
/* Tries to send what was not sent yet, and closes. NULL is allowed. */
void control_free(struct control *control);

/* Sends a line; the newline is added, those inside become spaces. False: no memory, or the other end has gone. */
bool control_send(struct control *control, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Two ends, close-on-exec. MP_ERR_IO. */
enum mp_error control_pair(int ends[2], struct fault *fault);

/*
 * The descriptor that a supervisor gave to this process, by its number in the environment variable NAME, which is
 * removed; close-on-exec from now on. -1: none.
 */
int control_inherited(const char *name);

#endif
