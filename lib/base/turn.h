/*
 * turn.h: a piece of work that has its turn in a libevent loop: soon, when something has happened, or by some time.
 *
 * Any number of calls before the turn comes make one turn. It belongs to its owner, who must not move it.
 */
#ifndef BASE_TURN_H
#define BASE_TURN_H

#include "base/clock.h"
#include "base/fault.h"

#include <stdbool.h>

struct event;
struct event_base;

struct turn {
    struct event *event;
    int64_t due; /* what its timer is set to; CLOCK_NEVER */
    bool soon;
    void (*take)(void *context);
    void *context;
};

/* MP_ERR_MEMORY leaves it closed. TAKE may call all that is here, turn_close() too. */
enum mp_error turn_open(struct turn *turn, struct event_base *base, void (*take)(void *context), void *context);
/* A zeroed one is closed. */
void turn_close(struct turn *turn);

/* Its turn comes as soon as the loop goes on. Costs next to nothing when called again. */
void turn_soon(struct turn *turn);
/*
 * Its turn comes at DUE, in monotonic microseconds, at the latest; CLOCK_NEVER: whenever. A timer that stands for an
 * earlier time stays: a turn too early must do no harm.
 */
void turn_by(struct turn *turn, int64_t due);

#endif
