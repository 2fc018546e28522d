#include "trace_rig.h"

void trace_rig_begin(struct time_rig *rig)
{
    time_rig_begin(rig);
    trace_rig_session(rig, 7);
}

void trace_rig_look(struct time_rig *rig, struct trace_log **log)
{
    struct fault fault = {0};
    trace_log_close(*log);
    *log = NULL;
    if (trace_log_of_store(rig->store, rig->now, log, &fault))
        fail_msg("%s", fault_text(&fault));
}

void trace_rig_session(struct time_rig *rig, uint32_t number)
{
    rig->session = rig->producer = (uint64_t)number << 32 | (uint32_t)(rig->now.wall / SECOND);
}
