/*
 * recover.h: the rows of a damaged store (store/salvage.h), put together to a new one that a relay opens.
 *
 * Messages first: every frame that is whole keeps its topic and its offsets. Where messages of a topic are missing stand
 * frames with nothing in them, for nobody (STORE_LOST), which groups drop as they come to them. A group whose state is damaged falls back to what
 * is known to be settled: to its last sound row and blocks, and the sound events behind them. So it is given messages
 * again rather than passing over one.
 */
#ifndef QUEUE_RECOVER_H
#define QUEUE_RECOVER_H

#include "store/salvage.h"

/* Something that is missing, or not as it was. */
struct recover_loss {
    const char *topic; /* "": it is not about one */
    const char *group; /* "": it is not about one */
    uint64_t first;    /* of messages: COUNT of them from here on; */
    uint64_t count;    /* 0: it is not about messages */
    bool settled;      /* nobody waits for them: every group had settled them */
    const char *words; /* what happened, and what follows */
};

struct recover_report {
    uint64_t topics, groups, patterns, sessions, events, scheduled, hashes;
    uint64_t frames, messages, bytes; /* of frames */
    uint64_t lost;                    /* messages, as far as it is known that there were some */
    uint64_t losses;                  /* that were told */
    void (*loss)(void *context, const struct recover_loss *loss); /* is told of each; may be NULL */
    void *context;
};

/*
 * Puts what SALVAGE has found into the empty STORE, in transactions of its own. What it writes is to be loaded once by an
 * engine with `mend` (engine.h), which brings the groups up to their last event and saves them. MP_ERR_FULL, MP_ERR_IO, MP_ERR_MEMORY.
 */
enum mp_error recover_rows(struct salvage *salvage, struct store *store, struct recover_report *report,
                           struct fault *fault);

#endif
