/*
 * spool.h: a directory that keeps messages until a relay has them: msend's outbox.
 *
 * Each process that takes messages writes a segment of its own, DIR/NUMBER.db, an ordinary store (store/store.h) whose
 * frames wait in the order in which they were taken; a segment is there exactly as long as something in it waits.
 * Segments are delivered in ascending numbers: whoever finds one whose process has ended takes it over, and whose
 * segment is not the first waits. DIR/lock is held while a segment is made, taken over or removed, so that nobody
 * removes what another has just made.
 *
 * A frame keeps the producer and the sequences that it was taken with: its messages have the same ids whenever and how
 * often they are sent. Which frames a relay has, its session tells: a segment's frames are numbered by ones in one
 * session, which is written down before the first of them is sent, and the relay says which number it applied last.
 */
#ifndef CLI_SPOOL_H
#define CLI_SPOOL_H

#include "base/blob.h"
#include "message/frame.h"

struct spool;

/* A frame that waits. What it points to is good until the next call of a function with this spool. */
struct spool_entry {
    const char *topic;
    int64_t at;      /* when the relay is to let it out, wall microseconds; 0: at once */
    uint64_t number; /* in the segment's session; 0 when it has none yet: it will be 1 */
    uint32_t count;  /* messages */
    const uint8_t *data;
    size_t size;
};

/*
 * Opens DIRECTORY, which is made with mode 0700 if it is not there. MP_ERR_DENIED: others may write to it, or it is on a
 * network file system. MP_ERR_IO, MP_ERR_MEMORY.
 */
enum mp_error spool_open(const char *directory, struct spool **spool, struct fault *fault);

/* Removes the segments that have been delivered, and leaves the others. NULL is allowed. */
void spool_close(struct spool *spool);

/* The producer and the first sequence that the next frame to be appended must have. Makes this process's segment. */
enum mp_error spool_origin(struct spool *spool, uint64_t *producer, uint64_t *sequence, struct fault *fault);

/*
 * Takes FRAME, which is finished and of that origin, for TOPIC. MP_OK: it is on the disk. MP_ERR_FULL, MP_ERR_IO:
 * nothing was taken. The bytes stay the caller's.
 */
enum mp_error spool_append(struct spool *spool, const char *topic, int64_t at, const struct frame_builder *frame,
                           struct fault *fault);

/*
 * The frame that is to be delivered first, the same until spool_delivered() or spool_session() moves on. MP_ERR_NOT_FOUND:
 * nothing waits. MP_ERR_BUSY: what another process takes comes first. MP_ERR_DAMAGED.
 */
enum mp_error spool_next(struct spool *spool, struct spool_entry *entry, struct fault *fault);

/* What tells the segment that spool_next()'s frame is in from all others, also earlier ones: each has a session of its own. */
uint64_t spool_segment_of_next(const struct spool *spool);

/* The session in which the segment of spool_next()'s frame was being delivered; 0: none that matters. */
uint64_t spool_session_of_next(const struct spool *spool);

/*
 * That segment goes on in SESSION, of which the relay has applied the numbers up to APPLIED: those frames are
 * delivered, and what is left is numbered from there. For a new session APPLIED is 0. On the disk when it returns MP_OK.
 */
enum mp_error spool_session(struct spool *spool, uint64_t session, uint64_t applied, uint64_t *delivered,
                            struct fault *fault);

/* The relay has spool_next()'s frame. */
enum mp_error spool_delivered(struct spool *spool, struct fault *fault);

/* The relay refuses spool_next()'s frame for good, which used up no number, and the caller has kept it elsewhere. */
enum mp_error spool_refused(struct spool *spool, struct fault *fault);

/* The segment's session is over with nothing of it in doubt, or the doubt was told: the next one begins with new numbers. */
enum mp_error spool_forget_session(struct spool *spool, struct fault *fault);

struct spool_status {
    uint64_t messages;
    uint64_t frames;
    uint64_t bytes;
    int64_t oldest;    /* when the first of them was taken, wall microseconds; 0: nothing waits */
    unsigned segments; /* with something in them */
    unsigned busy;     /* segments that a running process has */
    long process;      /* one of those; 0: none */
};

/* What waits in DIRECTORY, whoever has it. Changes nothing. MP_ERR_NOT_FOUND: no such directory. */
enum mp_error spool_look(const char *directory, struct spool_status *status, struct fault *fault);

#endif
