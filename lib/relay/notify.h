/*
 * notify.h: telling whoever started the relay that it serves: systemd, or the process of `mrelay --background`.
 */
#ifndef RELAY_NOTIFY_H
#define RELAY_NOTIFY_H

#include "transport/server.h"

/* Sends STATE ("READY=1") to $NOTIFY_SOCKET, as sd_notify(3) describes; nothing when there is none. */
void notify_state(const char *state);

/* Tells that the relay serves (ERROR MP_OK) or why it does not, to DESCRIPTOR (-1: none; closed then) and systemd. */
void notify_ready(int descriptor, enum mp_error error, const char *text);

/*
 * Reads LINE, what notify_ready() wrote to a descriptor, without its newline: *FAULT is MP_OK, or why it does not serve.
 * False: that was not said; it has ended before it could.
 */
bool notify_read(const char *line, struct fault *fault);

/* Takes the listening sockets that systemd passed (sd_listen_fds(3)); *COUNT is how many. */
enum mp_error notify_adopt(struct server *server, unsigned *count, struct fault *fault);

#endif
