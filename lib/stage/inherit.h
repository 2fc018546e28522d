/*
 * inherit.h: what a new message takes over from the one that it was made of.
 */
#ifndef STAGE_INHERIT_H
#define STAGE_INHERIT_H

#include "message/attributes.h"
#include "message/formats.h"
#include "message/trace.h"

/*
 * The W3C traceparent of ITEM where its attributes have none: the trace id is its origin's 32 digits, the span is this
 * delivery. False: it has no origin.
 */
enum { STAGE_TRACEPARENT_TEXT = TRACE_PARENT_TEXT };
bool stage_traceparent(const struct format_item *item, char text[STAGE_TRACEPARENT_TEXT]);

/*
 * Sets in BLOCK, the attributes of a new message, what it does not have itself and takes over from ITEM: partitionkey,
 * correlationid, traceparent and tracestate (or the traceparent above), and causationid, which is ITEM's id.
 * MP_ERR_TOO_LARGE, MP_ERR_MEMORY.
 */
enum mp_error stage_inherit(const struct format_item *item, struct buffer *block, struct fault *fault);

#endif
