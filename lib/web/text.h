/*
 * text.h: writes Prometheus' text format 0.0.4: families with HELP and TYPE, then their samples, a line each.
 *
 *     # HELP msgpipe_topic_messages_published_total Messages that were published.
 *     # TYPE msgpipe_topic_messages_published_total counter
 *     msgpipe_topic_messages_published_total{topic="orders.new"} 42
 *
 * Names, types and help are the program's own; label values may be anything that is UTF-8. The first failing append is
 * kept in `error`, and nothing is written after it.
 */
#ifndef WEB_TEXT_H
#define WEB_TEXT_H

#include "base/buckets.h"
#include "base/buffer.h"

struct text {
    struct buffer out;    /* what was written, the owner's to take from */
    struct buffer labels; /* of the samples that follow, as they are written, without braces */
    enum mp_error error;
};

void text_free(struct text *text);

/* Begins a family. TYPE: counter, gauge, histogram. */
void text_family(struct text *text, const char *name, const char *type, const char *help);

/* Samples have no labels from now on, but those that text_label() adds. */
void text_no_labels(struct text *text);
void text_label(struct text *text, const char *name, const char *value);

/* Labels as they are now, to come back to. */
static inline size_t text_mark(const struct text *text)
{
    return text->labels.size;
}
static inline void text_return(struct text *text, size_t mark)
{
    text->labels.size = mark;
}

/* A sample with the labels. */
void text_number(struct text *text, const char *name, uint64_t value);
/* The same of MICROSECONDS, which may be negative, in seconds. */
void text_seconds(struct text *text, const char *name, int64_t microseconds);

/* All samples of a histogram: its buckets, each with those below it, then sum and count. */
void text_buckets(struct text *text, const char *name, const struct buckets *buckets, const int64_t bounds[BUCKETS]);

#endif
