/*
 * find.h: where messages are, or were, by what is known of them.
 *
 * What a message was is told by the lineage of its publication (message/lineage.h) for as long as the log keeps that;
 * by the message itself while it is in its topic or in the schedule. A message can be in several places: a dead letter
 * and a replay have the origin of the message that they were.
 */
#ifndef TRACE_FIND_H
#define TRACE_FIND_H

#include "trace/search.h"

/* The message at OFFSET of TOPIC. MP_ERR_NOT_FOUND: it was never there, or is neither kept nor remembered. */
enum mp_error trace_find_place(struct trace_log *log, uint32_t topic, uint64_t offset, struct trace_match *match,
                               struct fault *fault);

/*
 * What TEXT means: TOPIC@OFFSET; an id, or the beginning of one; a trace id, or the beginning of one. Ids go before
 * traces. MP_ERR_NOT_FOUND says where it was looked for, and since when events are kept. Several messages with
 * different ids: TEXT does not tell which (trace_is_one() is false).
 */
enum mp_error trace_find(struct trace_log *log, const char *text, size_t most, struct trace_matches *matches,
                         struct fault *fault);

/* Those whose key is TEXT, the newest MOST of them. MP_ERR_NOT_FOUND. */
enum mp_error trace_find_key(struct trace_log *log, const char *text, size_t most, struct trace_matches *matches,
                             struct fault *fault);

/* Whether all matches are the same message, in one place or several; those of one trace are not. */
bool trace_is_one(const struct trace_matches *matches);

/*
 * The id of a match as text: itself while the message is there or its id is 32 hex digits, else "" (of other ids only a
 * hash is kept). OUT gets it in the place of what it had, terminated.
 */
enum mp_error trace_id_text(struct trace_log *log, const struct trace_match *match, struct buffer *out);

#endif
