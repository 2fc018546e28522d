#include "trace/otlp.h"

#include "message/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *kind_of(const struct span *span)
{
    switch (span->kind) {
    case SPAN_CLIENT:
        return "CLIENT";
    case SPAN_PRODUCER:
        return "PRODUCER";
    case SPAN_CONSUMER:
        return "CONSUMER";
    case SPAN_INTERNAL:
        break;
    }
    return NULL;
}

/* A span that is linked to the publication of its (first) message is its child. */
static uint64_t parent_of(const struct span *span)
{
    const struct span_link *link = &span->links[0];
    bool linked = span->kind != SPAN_PRODUCER && span->links_count > 0 &&
                  memcmp(link->trace, span->trace, sizeof link->trace) == 0;
    return span->parent ? span->parent : linked ? link->span : 0;
}

static json_t *tags_of(const struct span *span, const char *space)
{
    json_t *tags = json_object(), *note = trace_note_json(span);
    struct trace_tag tag;
    unsigned at = 0;
    while (trace_tag_next(span, &at, &tag)) {
        char text[24];
        snprintf(text, sizeof text, "%" PRId64, tag.number);
        json_object_set_new(tags, tag.name, tag.text ? json_stringn(tag.text, tag.size) : json_string_nocheck(text));
    }
    if (space)
        json_object_set_new(tags, "service.namespace", json_string(space));
    if (span->error)
        json_object_set_new(tags, "error", note ? json_incref(note) : json_string(span->error));
    json_decref(note);
    return tags;
}

json_t *zipkin_span(const struct span *span, const char *space)
{
    char trace[TRACE_ID_TEXT], id[TRACE_SPAN_TEXT], name[TRACE_SPAN_NAME];
    int64_t duration = span->end - span->start;
    const char *kind = kind_of(span);
    uint64_t parent = parent_of(span);
    trace_id_write(span->trace, trace);
    trace_span_write(span->id, id);
    trace_span_name(span, name);
    json_t *one =
        json_pack("{s:s,s:s,s:s,s:I,s:I,s:{s:s},s:o}", "traceId", trace, "id", id, "name", name, "timestamp",
                  (json_int_t)span->start, "duration", (json_int_t)(duration > 0 ? duration : 1), "localEndpoint",
                  "serviceName", span->service ? span->service : "msgpipe", "tags", tags_of(span, space));
    if (one && kind)
        json_object_set_new(one, "kind", json_string_nocheck(kind));
    if (one && parent) {
        trace_span_write(parent, id);
        json_object_set_new(one, "parentId", json_string_nocheck(id));
    }
    return one;
}
