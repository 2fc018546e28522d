/*
 * sink.h: the end of a pipeline: files and sockets that messages go to. (A sink that is a command is work, stage/work.h.)
 *
 * A sink takes tasks as work does, and gives each one back by finished(): only then are its messages to be settled. Give
 * it tasks of one message, many of them: what is added in one turn of the loop goes out together. All callbacks come
 * from the loop, never out of a function here. Tasks are begun in the order in which they were added.
 *
 * What "done" means, that is STAGE_SUCCEEDED:
 *   file           the message is in the file, and flushed to the disk (fdatasync). A runner that is killed between that
 *                  and the settlement writes it again: at least once
 *   push, pair     its last byte was taken by the kernel for a connected peer. What that one's memory loses is lost;
 *                  what was not wholly written when a connection ends goes to the next one
 *   req            a reply came; what it says is dropped
 *   surveyor       the survey is over, and somebody answered; nobody: STAGE_FAILED
 *   pub, bus       it was written to every peer that is connected, or was dropped for those that are too slow (counted);
 *                  with nobody connected it goes to nobody
 */
#ifndef RUNNER_SINK_H
#define RUNNER_SINK_H

#include "base/fault.h"
#include "pipeline/model.h"
#include "stage/work.h"

struct event_base;
struct sink;

struct sink_settings {
    struct event_base *base;
    const struct pipeline_stage *stage; /* `end` is PIPELINE_TO_FILE or PIPELINE_TO_SOCKET; stays as long as the sink */
    void *context;
    /* As of work: the outcome has no output. */
    void (*finished)(void *context, struct stage_task *task, const struct stage_outcome *outcome);
    /*
     * It cannot go on now, and why (the disk is full, the file cannot be opened, nobody is connected): tasks stay with
     * it and wait, unless sink_end() takes them away; NULL: it goes on. May be NULL.
     */
    void (*paused)(void *context, const char *why);
};

/*
 * MP_ERR_INVALID, MP_ERR_BUSY (somebody listens at the address), MP_ERR_IO, MP_ERR_MEMORY. A file that cannot be opened
 * is no error: the sink is paused, and tries again.
 */
enum mp_error sink_open(const struct sink_settings *settings, struct sink **sink, struct fault *fault);
/* At once; tasks are not given back. NULL is allowed. */
void sink_free(struct sink *sink);

/* How many more tasks it takes now. */
uint32_t sink_room(const struct sink *sink);
/* Takes TASK; there must be room. */
void sink_add(struct sink *sink, struct stage_task *task);

/* Nothing is added any more: what it has goes out. */
void sink_stop(struct sink *sink);
/* What has not gone out comes back as STAGE_NOT_BEGUN; what may have been half done as STAGE_FAILED with ended_early. */
void sink_end(struct sink *sink);
/* Whether it has no task. After sink_stop(): and is no longer needed (the other ends have read what was written). */
bool sink_idle(const struct sink *sink);

#endif
