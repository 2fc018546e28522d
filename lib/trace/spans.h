/*
 * spans.h: what happened, as spans of a distributed trace, by OpenTelemetry's semantic conventions for messaging
 * (https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/).
 *
 *     publish T   producer   a message went into topic T: from when its sender took it until it was stored
 *     receive T   client     it was leased to a group's consumer
 *     process T   consumer   one attempt: from its lease to its settlement
 *     ack T       client     its settlement; also retry, release, dead
 *     expire T    internal   it was passed by: also drop
 *
 * A message's spans are in its trace: that of its traceparent, or of its origin. Consumers' spans are linked to the span
 * that published the message, and a publication's parent is what its message was made by: the attempt of a stage, or what
 * its traceparent names. Ids follow from what the messages are (message/trace.h), so who exports twice exports the same.
 *
 * A message has spans of its own; of more than SPAN_ALONE messages that went together there is one span, in the trace of
 * the first, with links to as many.
 */
#ifndef TRACE_SPANS_H
#define TRACE_SPANS_H

#include "trace/pair.h"
#include "trace/select.h"

enum { SPAN_ALONE = 64, SPAN_LINKS = 64 };

/* The numbers are OTLP's. */
enum span_kind { SPAN_INTERNAL = 1, SPAN_CLIENT = 3, SPAN_PRODUCER = 4, SPAN_CONSUMER = 5 };

struct span_link {
    uint64_t trace[2];
    uint64_t span;
};

struct span {
    uint64_t trace[2];
    uint64_t id;
    uint64_t parent; /* 0: none */
    enum span_kind kind;
    const char *operation; /* "publish" */
    const char *type;      /* as the conventions name its type; NULL: they have none */
    const char *topic;
    const char *group;   /* NULL: none */
    const char *service; /* whose doing it was: a group's name, or what a client calls itself; NULL: not known */
    uint64_t session;    /* 0: the relay's own doing */
    int64_t start;       /* microseconds since the epoch */
    int64_t end;         /* not before the start */
    uint64_t offset;     /* of the first message */
    uint32_t count;
    const char *message; /* the id of the message, when it is one; NULL: not known, or there are more */
    size_t message_size;
    const char *conversation; /* its correlationid; NULL */
    size_t conversation_size;
    uint32_t attempt;  /* 0: it is no delivery */
    const char *error; /* a word for how it failed; NULL: it did not */
    const char *note;  /* what was written to stderr then: any bytes */
    size_t note_size;
    int32_t code; /* a command's exit code; -1: none */
    struct span_link links[SPAN_LINKS];
    uint32_t links_count;
};

struct trace_spans;

struct trace_spans_settings {
    struct trace_log *log;
    const struct trace_select *select; /* which topics, groups and messages; NULL: all */
    uint64_t after;                    /* only what ended by a later event is given; the ones before are looked at */
    int64_t offset;                    /* what is added to relay time for a time of day: trace_spans_offset() */
    void *context;
    /* SPAN is good during the call. Other than MP_OK ends trace_spans_event() with it. */
    enum mp_error (*span)(void *context, const struct span *span);
};

/* The difference of the clocks as it is now, to a millisecond: whoever exports twice keeps to one. */
int64_t trace_spans_offset(const struct trace_log *log);

enum mp_error trace_spans_open(const struct trace_spans_settings *settings, struct trace_spans **spans,
                               struct fault *fault);
void trace_spans_close(struct trace_spans *spans); /* NULL is allowed */

/* Events in the order of their ids. MP_ERR_DAMAGED, MP_ERR_MEMORY, errors of the store, and what the call returned. */
enum mp_error trace_spans_event(struct trace_spans *spans, const struct store_event *event, struct fault *fault);

/* From which event on the log is to be read again, to go on as if nothing had happened; 0: from the next one. */
uint64_t trace_spans_oldest(const struct trace_spans *spans);

#endif
