/*
 * local_give.h: what grants and reads hand out of the frames of a topic.
 *
 * Most frames go out as they are, or a part of them that is cut. What has only some messages for the taker is gathered:
 * messages that others have, that are duplicates, expired, or another group's.
 */
#ifndef QUEUE_LOCAL_GIVE_H
#define QUEUE_LOCAL_GIVE_H

#include "queue/local.h"

/* What a grant or a read is doing. */
struct giving {
    struct local *local;
    struct topic *topic;
    uint32_t group;   /* that deliveries tell; 0: none, as to readers */
    uint32_t target;  /* the group that looks: frames for another one alone are not for it; 0: readers */
    uint32_t attempt; /* that deliveries tell */
    bool leases;      /* it is a grant: what is given was not with anybody */
    uint64_t most;    /* messages that may still be given of this topic */
    struct cut_hint *hint;
    const struct engine_limits *limits;
    struct engine_deliveries *deliveries;
    struct fault *fault;
};

/* Whether nothing more may be given. */
bool give_is_full(const struct giving *giving);

/* The frame with OFFSET; the caller drops its blob. MP_ERR_DAMAGED when it is missing. */
enum mp_error give_open(const struct giving *giving, uint64_t offset, struct cached_frame *cached);

/* Whether all of CACHED is for everyone, as far as it is known without looking at its messages. */
bool give_is_plain(const struct giving *giving, const struct cached_frame *cached);

/*
 * Gives up to COUNT messages from FIRST on, from plain frames; stops at one that is not. *GIVEN is how many: 0 when the
 * first frame is not plain (*PLAIN is false then), or there is no room. Those that stand before a damaged frame are
 * given; the damage is told when it comes first.
 */
enum mp_error give_range(struct giving *giving, uint64_t first, uint64_t count, uint32_t *given, bool *plain);

/*
 * Gives those of the SPAN messages of CACHED from INDEX on whose bit is set in MASK, as many as there is room for. *TAKEN
 * is how many of the span were dealt with: all, or up to the last that was given. 0: no room.
 */
enum mp_error give_set(struct giving *giving, const struct cached_frame *cached, uint32_t index, uint32_t span,
                       const uint8_t *mask, uint32_t *taken, uint32_t *given);

/* Sets of the messages of a frame. */
enum { GIVE_MASK = FRAME_COUNT_MAX / 8 };

/* What a taker passes over for good. */
struct give_passed {
    bool foreign; /* all of it */
    bool duplicates, expired;
    uint8_t duplicate_mask[GIVE_MASK]; /* set when the flag is */
    uint8_t expired_mask[GIVE_MASK];
};

/* Takes out of MASK (SPAN messages of CACHED from INDEX on) what is not for the taker, and says why. */
void give_choose(const struct giving *giving, const struct cached_frame *cached, uint32_t index, uint32_t span,
                 uint8_t *mask, struct give_passed *passed);

/* One topic's damage keeps no other's messages back: it is told when there is nothing else to give. */
static inline bool give_pass_damage(enum mp_error error, bool *damaged)
{
    *damaged |= error == MP_ERR_DAMAGED;
    return error == MP_ERR_DAMAGED;
}

#endif
