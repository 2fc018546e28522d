/*
 * inherit.h: what a new message takes over from the one that it was made of.
 */
#ifndef STAGE_INHERIT_H
#define STAGE_INHERIT_H

#include "message/attributes.h"
#include "message/formats.h"
#include "message/trace.h"

/*
 * The W3C traceparent by which what is made of ITEM is told to be part of its trace: the trace of ITEM's own
 * traceparent, or the one that its origin's 32 digits are, and the span of this delivery. False: it has no origin, and so
 * no span.
 */
bool stage_traceparent(const struct format_item *item, char text[TRACE_PARENT_TEXT]);

/*
 * Sets in BLOCK, the attributes of a new message, what it does not have itself and takes over from ITEM: partitionkey,
 * correlationid, traceparent and tracestate (as ITEM has them, or the traceparent above), and causationid, which is
 * ITEM's id. A traceparent that is none (message/trace.h) is as if it were not there.
 * MP_ERR_TOO_LARGE, MP_ERR_MEMORY.
 */
enum mp_error stage_inherit(const struct format_item *item, struct buffer *block, struct fault *fault);

#endif
