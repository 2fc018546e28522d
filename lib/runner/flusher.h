/*
 * flusher.h: flushes a file to its disk in a thread of its own. A disk that is busy takes as long as it likes for that,
 * and whoever waits for it in a loop stops everything that the loop does.
 */
#ifndef RUNNER_FLUSHER_H
#define RUNNER_FLUSHER_H

#include "base/fault.h"

struct event_base;
struct flusher;

/* DONE is called from the loop: 0, or an errno number. MP_ERR_MEMORY, MP_ERR_BUSY: no thread or descriptor is left. */
enum mp_error flusher_open(struct event_base *base, void (*done)(void *context, int number), void *context,
                           struct flusher **flusher, struct fault *fault);
/* Waits until a flush that is under way has ended, which is not told. NULL is allowed. */
void flusher_close(struct flusher *flusher);

/* Flushes DESCRIPTOR, which must stay open, and neither be written to, until DONE is called. One at a time. */
void flusher_start(struct flusher *flusher, int descriptor);

/* The flush itself, for who can wait: 0, or an errno number. */
int flusher_flush(int descriptor);

#endif
