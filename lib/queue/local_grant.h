/*
 * local_grant.h: what the kinds of grants share: by offset (local_grant.c), and by key (local_order.c).
 */
#ifndef QUEUE_LOCAL_GRANT_H
#define QUEUE_LOCAL_GRANT_H

#include "queue/local_give.h"

struct granting {
    struct giving giving;
    struct group *group;
    const struct engine_origin *origin;
    uint32_t lease;     /* milliseconds */
    uint64_t low, high; /* only offsets from LOW on below HIGH */
    bool claim;         /* somebody wants just these, and takes suspects together with others */
    uint32_t suspect;   /* of what is granted now: how many of it may be granted together; 0: any number */
    size_t touched;     /* bytes of the frames that messages were taken from, in order */
    uint64_t reached;   /* in order: what was given of the group lies below */
    unsigned passes;    /* frames without anything for the group that may still be looked at in this turn */
};

/*
 * Writes what happened to those of the SPAN offsets from FIRST on whose bit is set in MASK (NULL: all): EVENT_LEASED, or
 * that they were passed over. Nothing for none.
 */
enum mp_error grant_event(struct granting *granting, enum store_event_kind kind, uint64_t first, uint32_t span,
                          const uint8_t *mask);

/*
 * Grants those of the SPAN messages of CACHED from INDEX on whose bit is set in MASK, which is changed: all are open, and
 * of one attempt. What is not for the group is passed over for good. *WENT_ON is false when there was no room.
 */
enum mp_error grant_set(struct granting *granting, const struct cached_frame *cached, uint32_t index, uint32_t span,
                        uint8_t *mask, bool *went_on);

/* local_order.c: grants what the order of keys allows. */
enum mp_error grant_in_order(struct granting *granting);

#endif
