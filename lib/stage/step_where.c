/* where: messages that do not match are done, pass the other steps by, or die. */
#include "stage/steps_private.h"

static enum mp_error where_open(struct step *step, struct fault *fault)
{
    struct stage_matcher *matcher;
    enum mp_error error = stage_matcher_open(&step->declared->where, &matcher, fault);
    step->state = matcher;
    return error;
}

static void where_close(struct step *step)
{
    stage_matcher_free(step->state);
}

static enum mp_error where_apply(struct step *step, struct passage *passage, enum step_next *next)
{
    bool matches;
    enum mp_error error = stage_matches(step->state, &passage->item, &matches);
    if (error != MP_OK || matches)
        return error;
    switch (step->declared->otherwise) {
    case STAGE_ELSE_SKIP:
        *next = STEP_SKIP;
        step->steps->counts.skipped += !passage->forget;
        break;
    case STAGE_ELSE_PASS:
        *next = STEP_PASS;
        break;
    case STAGE_ELSE_DEAD:
        *next = passage_dies(passage, PROTOCOL_REASON_REJECTED, "where", "the message does not match");
        break;
    }
    return MP_OK;
}

const struct step_type step_where = {.open = where_open, .close = where_close, .apply = where_apply};
