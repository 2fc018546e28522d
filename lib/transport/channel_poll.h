/*
 * channel_poll.h: a few sockets and one timer behind a single descriptor, which another loop can wait for.
 *
 * epoll with a timerfd on Linux, kqueue on macOS and the BSDs.
 */
#ifndef TRANSPORT_CHANNEL_POLL_H
#define TRANSPORT_CHANNEL_POLL_H

#include <stdbool.h>
#include <stdint.h>

struct channel_poll {
    int descriptor; /* readable when channel_poll_next() has something */
    int timer;      /* Linux only */
    int64_t due;    /* what the timer is set to */
};

bool channel_poll_open(struct channel_poll *poll);
void channel_poll_close(struct channel_poll *poll);

/* Waits for DESCRIPTOR to be readable, or writable as well, in the name of OWNER. False: no memory. */
bool channel_poll_add(struct channel_poll *poll, int descriptor, bool writable, void *owner);
bool channel_poll_change(struct channel_poll *poll, int descriptor, bool writable, void *owner);

/* Closing a descriptor takes it out. */

/* Sets the timer to DUE, in microseconds of the monotonic clock; CLOCK_NEVER stops it. It wakes, and is no event. */
void channel_poll_timer(struct channel_poll *poll, int64_t due);

/* The owner of one descriptor that is ready, or NULL; waits for nothing. Each ready one has its turn. */
void *channel_poll_next(struct channel_poll *poll);

#endif
