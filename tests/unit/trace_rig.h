/* trace_rig.h: the log of a time_rig's store, for the tests of lib/trace. */
#ifndef UNIT_TRACE_RIG_H
#define UNIT_TRACE_RIG_H

#include "time_rig.h"
#include "trace/log.h"

/* time_rig_begin(), with a session that was made now, as a relay's are. */
void trace_rig_begin(struct time_rig *rig);
/* Opens *LOG on the rig's store, as it is now, in the place of what it was; NULL: nothing. */
void trace_rig_look(struct time_rig *rig, struct trace_log **log);
/* The session NUMBER of those that a relay makes now; its producer is itself. */
void trace_rig_session(struct time_rig *rig, uint32_t number);

#endif
