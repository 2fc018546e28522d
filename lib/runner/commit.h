/*
 * commit.h: what a feed's next settlement with publications is made of: messages that are done, and what came of them.
 * It is the relay's transaction: all of it happens, or nothing.
 *
 * A zeroed one is empty. It names messages by parcels, which must stay until it is cleared; whose they are is the
 * owner's business.
 */
#ifndef RUNNER_COMMIT_H
#define RUNNER_COMMIT_H

#include "runner/outputs.h"
#include "stage/parcel.h"

/* COUNT messages of PARCEL from number INDEX on. */
struct part {
    struct stage_parcel *parcel;
    uint32_t index;
    uint32_t count;
};

struct commit {
    struct outputs outputs;
    struct part *parts;
    uint32_t count;
    uint32_t capacity;
    uint32_t tasks;    /* that they were done in: what succeeded together */
    uint64_t messages; /* in all parts */
    int32_t exit_code; /* that goes with them */
};

void commit_free(struct commit *commit);

/* Makes room for COUNT parts more, so that adding them cannot fail. MP_ERR_MEMORY. */
enum mp_error commit_reserve(struct commit *commit, uint32_t count);
/* Adds the messages of a task that is done; there must be room. Those that follow one another become one part. */
void commit_add(struct commit *commit, const struct part *parts, uint32_t count);

static inline bool commit_is_empty(const struct commit *commit)
{
    return commit->count == 0;
}

/*
 * Sends it: with outputs by client_settle_publish(), which needs client_can_commit() and ends in committed(); *ANSWERED
 * is true then. Without outputs it only acknowledges, as client_settle() does, at once. The errors of both.
 */
enum mp_error commit_send(struct commit *commit, struct client *client, bool *answered, struct fault *fault);

/* Settles its messages in another way: HOW, but for which messages. Errors are those of client_settle(). */
enum mp_error part_settle(const struct part *part, struct client *client, const struct protocol_settlement *how);

/* Empties it, see outputs_clear(). */
void commit_clear(struct commit *commit, bool trim);

#endif
