/*
 * otlp.h, for both ways in which spans are written as JSON.
 *
 * OTLP (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): a batch is an ExportTraceServiceRequest: ids
 * are lower-case hex, 64-bit integers are strings, enums are integers. Zipkin v2 (https://zipkin.io/zipkin-api/): a batch
 * is an array of spans; times are whole microseconds, a duration one at least, tags are strings; Zipkin knows no links,
 * so the span that published a message is the parent of its consumers' spans.
 */
#ifndef TRACE_OTLP_H
#define TRACE_OTLP_H

#include "base/buffer.h"
#include "trace/spans.h"

#include <jansson.h>

enum trace_format { TRACE_OTLP, TRACE_ZIPKIN };

struct trace_batch {
    enum trace_format format;
    const char *space; /* the relay's name, which becomes service.namespace; NULL: none */
    json_t *list;      /* of spans, or of OTLP's resources with theirs; NULL: there are none yet */
    size_t count;      /* of spans */
};

/* Adds a span. MP_ERR_MEMORY: it was not added. */
enum mp_error trace_batch_add(struct trace_batch *batch, const struct span *span);

/* Appends the batch to OUT as JSON without a newline in it, and empties it. MP_ERR_MEMORY: it stays. */
enum mp_error trace_batch_write(struct trace_batch *batch, struct buffer *out);
void trace_batch_clear(struct trace_batch *batch);

/* otlp.c: adds a span to LIST, in the resource that it belongs to. */
enum mp_error otlp_add(json_t *list, const struct span *span, const char *space);
/* zipkin.c: a span; NULL: no memory. */
json_t *zipkin_span(const struct span *span, const char *space);

/* What both say of a span, one after the other: *AT is 0 at first. False: that was all. */
struct trace_tag {
    const char *name;
    const char *text; /* NULL: it is NUMBER */
    size_t size;
    int64_t number;
    char buffer[24];
};
bool trace_tag_next(const struct span *span, unsigned *at, struct trace_tag *tag);
/* "publish orders.new". */
enum { TRACE_SPAN_NAME = 256 };
void trace_span_name(const struct span *span, char text[TRACE_SPAN_NAME]);
/* What was written to stderr, as text; NULL: nothing, or no memory. To be given back with json_decref(). */
json_t *trace_note_json(const struct span *span);

#endif
