#include "queue/local.h"

/* Offsets that one event drops: as many as blocks are made for them at once. */
enum { DROP_SPAN = 4194304 };

static bool may_drop(enum state state)
{
    return state == STATE_WAITING || state == STATE_DELAYED;
}

/* How many messages a drop from FIRST on to END takes. */
static uint32_t droppable(const struct group *group, uint64_t first, uint64_t end)
{
    const struct states *states = &group->states;
    uint64_t count = 0, offset = first;
    struct state_run run;
    while (offset < end && states_get(states, offset, &run)) {
        uint64_t stop = run.first + run.count < end ? run.first + run.count : end;
        if (may_drop(run.value.state))
            count += stop - offset;
        offset = stop;
    }
    return (uint32_t)(count + (end - offset)); /* what lies behind the frontier was never granted */
}

enum mp_error local_drop(struct local *local, struct group *group, uint64_t first, uint64_t end,
                         enum drop_reason reason, uint64_t *dropped, struct fault *fault)
{
    enum mp_error error = MP_OK;
    *dropped = 0;
    while (!error) {
        if (first < group->states.floor)
            first = group->states.floor;
        if (first >= end)
            break;
        uint64_t stop = end - first > DROP_SPAN ? first + DROP_SPAN : end;
        struct store_event event = {
            .kind = EVENT_DROPPED, .first = first, .span = (uint32_t)(stop - first), .code = (int32_t)reason};
        event.count = droppable(group, first, stop);
        if (event.count > 0)
            error = local_event(local, group, &event, fault);
        *dropped += event.count;
        first = stop;
    }
    return error;
}
