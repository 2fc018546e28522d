/*
 * follow.h: an export that goes through the log batch by batch, and knows how far it has come.
 *
 *     trace_follow_open(&settings, &position, &follow, &fault);
 *     while (trace_follow_next(follow, &body, &fault) == MP_OK) {
 *         … deliver body …
 *         trace_follow_delivered(follow);
 *         trace_position_write(path, trace_follow_position(follow), &fault);
 *     }
 *
 * A batch that was not delivered is given again by the next call. A position is moved by what was delivered only, so that
 * each span is delivered once at least; a repeated one is the same, to the byte, for its ids follow from what it tells of
 * and the offset of the clocks is part of the position.
 */
#ifndef TRACE_FOLLOW_H
#define TRACE_FOLLOW_H

#include "trace/otlp.h"

struct trace_position {
    uint64_t event; /* the last one of which all was delivered */
    uint64_t from;  /* where reading begins again, so that what was under way then is known; 0: behind it */
    int64_t offset; /* from relay time to time of day, microseconds */
    bool known;     /* the offset is one */
};

/*
 * Reads and writes a position as a line of JSON, by a new file that is renamed. MP_ERR_NOT_FOUND: there is no such file.
 * MP_ERR_INVALID: it is something else. MP_ERR_IO, MP_ERR_DENIED.
 */
enum mp_error trace_position_read(const char *path, struct trace_position *position, struct fault *fault);
enum mp_error trace_position_write(const char *path, const struct trace_position *position, struct fault *fault);

/*
 * The same as a text, without a newline; of a text only the event has to be there: MP_ERR_INVALID. Also where a tail goes
 * on, of which the event is all.
 */
enum { TRACE_POSITION_TEXT = 120 };
void trace_position_text(const struct trace_position *position, char text[TRACE_POSITION_TEXT]);
enum mp_error trace_position_of(const char *text, struct trace_position *position, struct fault *fault);

struct trace_follow_settings {
    struct trace_log *log;
    const struct trace_select *select; /* NULL: all */
    enum trace_format format;
    const char *space; /* as in struct trace_batch */
};

struct trace_follow;

enum mp_error trace_follow_open(const struct trace_follow_settings *settings, const struct trace_position *position,
                                struct trace_follow **follow, struct fault *fault);
void trace_follow_close(struct trace_follow *follow); /* NULL is allowed */

/*
 * The next batch as JSON, good until the next call. MP_ERR_AGAIN: there is none now. Reading takes one moment of the store
 * and then lets it go, so that the relay's log does not grow while a batch is being delivered.
 */
enum mp_error trace_follow_next(struct trace_follow *follow, const struct buffer **body, struct fault *fault);
/* The batch was delivered. */
void trace_follow_delivered(struct trace_follow *follow);
const struct trace_position *trace_follow_position(const struct trace_follow *follow);

uint64_t trace_follow_spans(const struct trace_follow *follow); /* delivered since it was opened */
/* Events that were gone before they were read, since the last call. */
uint64_t trace_follow_gap(struct trace_follow *follow);

#endif
