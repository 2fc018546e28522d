#include "trace/otlp.h"

#include "message/letter.h"
#include "message/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what both formats say ------------------------------------------------------------------------------------- */

static bool put_text(struct trace_tag *tag, const char *name, const char *text, size_t size)
{
    tag->name = name;
    tag->text = text;
    tag->size = size;
    return text != NULL;
}

static bool put_word(struct trace_tag *tag, const char *name, const char *text)
{
    return put_text(tag, name, text, text ? strlen(text) : 0);
}

static bool put_number(struct trace_tag *tag, const char *name, int64_t number, bool wanted)
{
    tag->name = name;
    tag->text = NULL;
    tag->number = number;
    return wanted;
}

static bool put_session(struct trace_tag *tag, const char *name, uint64_t session)
{
    trace_span_write(session, tag->buffer);
    return put_word(tag, name, session ? tag->buffer : NULL);
}

/* Whether the span has the tag of this NUMBER. */
static bool tag_of(const struct span *span, unsigned number, struct trace_tag *tag)
{
    bool one = span->count == 1;
    switch (number) {
    case 0:
        return put_word(tag, "messaging.system", "msgpipe");
    case 1:
        return put_word(tag, "messaging.operation.name", span->operation);
    case 2:
        return put_word(tag, "messaging.operation.type", span->type);
    case 3:
        return put_word(tag, "messaging.destination.name", span->topic);
    case 4:
        return put_text(tag, "messaging.message.id", span->message, span->message_size);
    case 5:
        return put_text(tag, "messaging.message.conversation_id", span->conversation, span->conversation_size);
    case 6:
        return put_word(tag, "messaging.consumer.group.name", span->group);
    case 7:
        return put_number(tag, "messaging.batch.message_count", span->count, !one);
    case 8:
        return put_session(tag, "messaging.client.id", span->session);
    case 9:
        return put_number(tag, "messaging.msgpipe.message.offset", (int64_t)span->offset, true);
    case 10:
        return put_number(tag, "messaging.msgpipe.delivery_attempt", span->attempt, span->attempt > 0);
    case 11:
        return put_word(tag, "error.type", span->error);
    default:
        return put_number(tag, "process.exit.code", span->code, span->code >= 0);
    }
}

bool trace_tag_next(const struct span *span, unsigned *at, struct trace_tag *tag)
{
    while (*at < 13)
        if (tag_of(span, (*at)++, tag))
            return true;
    return false;
}

void trace_span_name(const struct span *span, char text[TRACE_SPAN_NAME])
{
    snprintf(text, TRACE_SPAN_NAME, "%s %s", span->operation, span->topic);
}

json_t *trace_note_json(const struct span *span)
{
    struct buffer text = {0};
    json_t *note = NULL;
    if (span->note_size > 0 && letter_note(span->note, span->note_size, &text) == MP_OK && text.size > 0)
        note = json_stringn((const char *)text.data, text.size);
    buffer_free(&text);
    return note;
}

/* ---- OTLP ------------------------------------------------------------------------------------------------------ */

/* A 64-bit integer is a string. */
static json_t *number_text(int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, number);
    return json_string_nocheck(text);
}

static json_t *attribute(const char *name, json_t *value, const char *type)
{
    return json_pack("{s:s,s:{s:o}}", "key", name, "value", type, value);
}

static json_t *attributes_of(const struct span *span)
{
    json_t *list = json_array();
    struct trace_tag tag;
    unsigned at = 0;
    while (trace_tag_next(span, &at, &tag))
        json_array_append_new(list, tag.text ? attribute(tag.name, json_stringn(tag.text, tag.size), "stringValue")
                                             : attribute(tag.name, number_text(tag.number), "intValue"));
    return list;
}

static json_t *links_of(const struct span *span)
{
    json_t *list = json_array();
    char trace[TRACE_ID_TEXT], id[TRACE_SPAN_TEXT];
    for (uint32_t i = 0; i < span->links_count; i++) {
        trace_id_write(span->links[i].trace, trace);
        trace_span_write(span->links[i].span, id);
        json_array_append_new(list, json_pack("{s:s,s:s}", "traceId", trace, "spanId", id));
    }
    return list;
}

static json_t *status_of(const struct span *span)
{
    enum { STATUS_ERROR = 2 };
    if (!span->error)
        return json_object();
    json_t *status = json_pack("{s:i}", "code", STATUS_ERROR), *note = trace_note_json(span);
    if (note)
        json_object_set_new(status, "message", note);
    return status;
}

static json_t *span_json(const struct span *span)
{
    char trace[TRACE_ID_TEXT], id[TRACE_SPAN_TEXT], name[TRACE_SPAN_NAME];
    trace_id_write(span->trace, trace);
    trace_span_write(span->id, id);
    trace_span_name(span, name);
    json_t *one =
        json_pack("{s:s,s:s,s:s,s:i,s:o,s:o,s:o,s:o}", "traceId", trace, "spanId", id, "name", name, "kind",
                  (int)span->kind, "startTimeUnixNano", number_text(span->start * 1000), "endTimeUnixNano",
                  number_text(span->end * 1000), "attributes", attributes_of(span), "status", status_of(span));
    if (one && span->parent) {
        trace_span_write(span->parent, id);
        json_object_set_new(one, "parentSpanId", json_string_nocheck(id));
    }
    if (one && span->links_count > 0) {
        json_object_set_new(one, "links", links_of(span));
        if (span->count > span->links_count + 1)
            json_object_set_new(one, "droppedLinksCount", json_integer(span->count - span->links_count));
    }
    return one;
}

static json_t *resource_of(const char *service, const char *space)
{
    json_t *attributes = json_array();
    json_array_append_new(attributes, attribute("service.name", json_string(service), "stringValue"));
    if (space)
        json_array_append_new(attributes, attribute("service.namespace", json_string(space), "stringValue"));
    return json_pack("{s:{s:o},s:[{s:{s:s,s:s},s:[]}]}", "resource", "attributes", attributes, "scopeSpans", "scope",
                     "name", "msgpipe", "version", mp_version(), "spans");
}

static const char *service_in(const json_t *resource)
{
    const json_t *attributes = json_object_get(json_object_get(resource, "resource"), "attributes");
    return json_string_value(json_object_get(json_object_get(json_array_get(attributes, 0), "value"), "stringValue"));
}

enum mp_error otlp_add(json_t *list, const struct span *span, const char *space)
{
    const char *service = span->service ? span->service : "msgpipe";
    json_t *resource = NULL;
    size_t i;
    json_array_foreach(list, i, resource)
    {
        const char *of = service_in(resource);
        if (of && strcmp(of, service) == 0)
            break;
    }
    if (i == json_array_size(list)) {
        resource = resource_of(service, space);
        if (!resource || json_array_append_new(list, resource))
            return MP_ERR_MEMORY;
    }
    json_t *scope = json_array_get(json_object_get(resource, "scopeSpans"), 0);
    return json_array_append_new(json_object_get(scope, "spans"), span_json(span)) ? MP_ERR_MEMORY : MP_OK;
}

/* ---- batches --------------------------------------------------------------------------------------------------- */

enum mp_error trace_batch_add(struct trace_batch *batch, const struct span *span)
{
    if (!batch->list && !(batch->list = json_array()))
        return MP_ERR_MEMORY;
    enum mp_error error = MP_OK;
    if (batch->format == TRACE_OTLP)
        error = otlp_add(batch->list, span, batch->space);
    else if (json_array_append_new(batch->list, zipkin_span(span, batch->space)))
        error = MP_ERR_MEMORY;
    batch->count += error == MP_OK;
    return error;
}

static int append(const char *text, size_t size, void *context)
{
    return buffer_append(context, text, size) ? -1 : 0;
}

enum mp_error trace_batch_write(struct trace_batch *batch, struct buffer *out)
{
    size_t before = out->size;
    bool otlp = batch->format == TRACE_OTLP;
    enum mp_error error = otlp ? buffer_append_string(out, "{\"resourceSpans\":") : MP_OK;
    if (!error && json_dump_callback(batch->list, append, out, JSON_COMPACT))
        error = MP_ERR_MEMORY;
    if (!error && otlp)
        error = buffer_append_string(out, "}");
    if (error)
        out->size = before;
    else
        trace_batch_clear(batch);
    return error;
}

void trace_batch_clear(struct trace_batch *batch)
{
    json_decref(batch->list);
    batch->list = NULL;
    batch->count = 0;
}
