/*
 * channel_rig.h: a channel (transport/channel.h) with the server of server_rig.h at its other end, in one thread.
 */
#ifndef CHANNEL_RIG_H
#define CHANNEL_RIG_H

#include "server_rig.h"
#include "transport/channel.h"

/* A channel to URL; to be closed. */
struct channel *channel_rig_open(const char *url);

void channel_rig_send(struct channel *channel, enum channel_lane lane, const char *text);

/* Lets both ends go on, waiting for neither. A reply that comes meanwhile is kept for channel_rig_await(). */
void channel_rig_turn(struct rig *rig, struct channel *channel);

/* The same while CONDITION is false; the rig's watchdog ends it. */
#define channel_rig_until(rig, channel, condition)                                                                     \
    do {                                                                                                               \
        while (!(condition))                                                                                           \
            channel_rig_turn(rig, channel);                                                                            \
    } while (0)

/* The next reply, which is the caller's to free. */
struct channel_reply *channel_rig_await(struct rig *rig, struct channel *channel);

/* Awaits a reply, which has to be TEXT on LANE. */
void channel_rig_expect(struct rig *rig, struct channel *channel, enum channel_lane lane, const char *text);

/* Answers the oldest request that the server keeps with TEXT. */
void channel_rig_answer(struct rig *rig, const char *text);

/* Whether the oldest request that the server keeps is TEXT. */
bool channel_rig_kept_is(const struct rig *rig, const char *text);

/* A second server at the address of RIG, which has none now. */
void channel_rig_serve_again(struct rig *rig);

#endif
