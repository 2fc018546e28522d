/*
 * environment.h: what a command is told of its message: MSG_ID, MSG_TOPIC, MSG_OFFSET, MSG_KEY, MSG_ATTEMPT,
 * MSG_<ATTRIBUTE> for each attribute (in upper case, other characters than letters and digits as `_`), TRACEPARENT and
 * TRACESTATE (W3C Trace Context: the message's trace, and the span of this delivery), so that what the command sends
 * belongs to the message's trace. Variables of these
 * names that the program itself has are not passed on, so that a command never sees those of another message.
 */
#ifndef STAGE_ENVIRONMENT_H
#define STAGE_ENVIRONMENT_H

#include "base/buffer.h"
#include "base/fault.h"
#include "message/formats.h"

struct stage_environment {
    char **entries; /* what posix_spawn() takes; ends with NULL */
    size_t count;
    size_t capacity;
    size_t own;         /* the program's, at the front of `entries` */
    struct buffer text; /* of the others */
};

/*
 * Takes the program's environment, OWN, and what is ADDED to it in place of variables of the same names (NULL: nothing);
 * both end with NULL, and their strings stay there. MP_ERR_MEMORY.
 */
enum mp_error stage_environment_open(struct stage_environment *environment, char *const *own, char *const *added,
                                     struct fault *fault);
void stage_environment_free(struct stage_environment *environment);

/*
 * Sets the variables for ITEM, in place of those of the item before; `entries` is good until the next call. COUNT: 0,
 * or how many messages of one topic the command gets, of which ITEM is the first: that becomes MSG_COUNT, and with more
 * than one only MSG_TOPIC and MSG_ATTEMPT are set beside it, which hold for all. MP_ERR_MEMORY.
 */
enum mp_error stage_environment_set(struct stage_environment *environment, const struct format_item *item,
                                    uint32_t count, struct fault *fault);

#endif
