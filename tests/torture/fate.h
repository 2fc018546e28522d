/*
 * fate.h: what is to become of a message, as a letter in its body. Consumers obey it until they are told to be calm.
 */
#ifndef FATE_H
#define FATE_H

#include <stdbool.h>

enum fate {
    FATE_GOOD = '.',     /* done at the first attempt */
    FATE_ONCE = '1',     /* fails once, */
    FATE_TWICE = '2',    /* or twice */
    FATE_HOPELESS = 'x', /* fails each time: dies of its retries */
    FATE_REJECTED = 'r', /* rejected: dead at once */
    FATE_HELD = 'h',     /* rejected by groups that hold the key of what is dead, good for all others */
    FATE_KILLER = 'k'    /* kills its consumer each time */
};

enum fate_act { ACT_ACK, ACT_RETRY, ACT_REJECT, ACT_DIE };

/* What to do with a message of FATE at ATTEMPT (from 1) in GROUP. */
static inline enum fate_act fate_act(char fate, unsigned attempt, const char *group)
{
    switch (fate) {
    case FATE_ONCE:
        return attempt <= 1 ? ACT_RETRY : ACT_ACK;
    case FATE_TWICE:
        return attempt <= 2 ? ACT_RETRY : ACT_ACK;
    case FATE_HOPELESS:
        return ACT_RETRY;
    case FATE_REJECTED:
        return ACT_REJECT;
    case FATE_HELD:
        return group[0] == 'h' ? ACT_REJECT : ACT_ACK;
    case FATE_KILLER:
        return ACT_DIE;
    default:
        return ACT_ACK;
    }
}

#endif
