/* rate_limit: so many a second. All pieces of a message that was split pass when there is room for one. */
#include "stage/steps_private.h"

#include "base/memory.h"
#include "policy/rate.h"

struct state {
    struct rate rate;
    uint64_t passing; /* of the message that is on its way */
};

static enum mp_error rate_open(struct step *step, struct fault *fault)
{
    if (!(step->declared->rate > 0))
        return fault_set(fault, MP_ERR_INVALID, "a rate is more than 0: write 500/s or 30/m");
    step->state = memory_allocate(sizeof(struct state));
    return step->state != NULL ? MP_OK : fault_memory(fault);
}

static void rate_close(struct step *step)
{
    memory_release(step->state);
}

static enum mp_error rate_apply(struct step *step, struct passage *passage, enum step_next *next)
{
    struct state *state = step->state;
    if (passage->forget)
        return MP_OK;
    if (state->passing == 0 && rate_left(&state->rate, step->declared->rate, passage->now) == 0) {
        passage->result->due = rate_due(&state->rate, step->declared->rate, passage->now);
        *next = STEP_WAIT;
        return MP_OK;
    }
    state->passing++;
    return MP_OK;
}

static void rate_settle(struct step *step, bool kept, int64_t now)
{
    struct state *state = step->state;
    if (kept && state->passing > 0)
        rate_take(&state->rate, step->declared->rate, state->passing, now);
    state->passing = 0;
}

const struct step_type step_rate_limit = {
    .open = rate_open, .close = rate_close, .apply = rate_apply, .settle = rate_settle};
