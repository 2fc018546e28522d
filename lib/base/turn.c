#include "base/turn.h"

#include <event2/event.h>

static void on_turn(evutil_socket_t descriptor, short what, void *context)
{
    (void)descriptor;
    (void)what;
    struct turn *turn = context;
    turn->soon = false;
    turn->due = CLOCK_NEVER; /* an event that is made active loses its timer */
    turn->take(turn->context);
}

enum mp_error turn_open(struct turn *turn, struct event_base *base, void (*take)(void *context), void *context)
{
    *turn = (struct turn){.due = CLOCK_NEVER, .take = take, .context = context};
    turn->event = event_new(base, -1, 0, on_turn, turn);
    return turn->event != NULL ? MP_OK : MP_ERR_MEMORY;
}

void turn_close(struct turn *turn)
{
    if (turn->event != NULL) {
        event_free(turn->event);
        turn->event = NULL;
    }
}

void turn_soon(struct turn *turn)
{
    if (!turn->soon && turn->event != NULL) {
        event_active(turn->event, EV_TIMEOUT, 0);
        turn->soon = true;
    }
}

void turn_by(struct turn *turn, int64_t due)
{
    if (turn->soon || due >= turn->due || turn->event == NULL) {
        return;
    }
    int64_t now = clock_monotonic();
    int64_t left = due > now ? due - now : 0;
    struct timeval wait = {.tv_sec = (time_t)(left / 1000000), .tv_usec = (suseconds_t)(left % 1000000)};
    if (event_add(turn->event, &wait) == 0) {
        turn->due = due;
    }
}
