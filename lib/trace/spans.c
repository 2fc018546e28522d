#include "trace/spans.h"

#include "base/bits.h"
#include "base/memory.h"
#include "message/attributes.h"
#include "message/letter.h"
#include "message/trace.h"
#include "trace/lineages.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { TIES_MOST = 4096 };

/* A passage of the relay's turn that is being read: what is published in it may have been made of that. */
struct tie {
    struct trace_publication publication;
    uint32_t group;
    uint64_t first;
    uint32_t span;
    uint32_t attempt;
    uint64_t session, request; /* of the settlement */
    uint64_t lease;
    bool died; /* the relay itself has published the letter */
    uint64_t leased_event;
};

/* What is known of a message. */
struct known {
    uint64_t offset;
    struct lineage_value origin;
    uint64_t trace[2];
};

struct trace_spans {
    struct trace_spans_settings settings;
    struct trace_pair *pair;
    struct lineages lineages;
    struct tie *ties;
    size_t ties_count, ties_capacity;
    size_t tie_hint;  /* the one that was found last */
    int64_t turn;     /* its time */
    struct span span; /* what is being made */
    struct fault *fault;
    char id[FRAME_ID_TEXT], conversation[FRAME_ID_TEXT];
    char topic_name[TRACE_NAME_TEXT], group_name[TRACE_NAME_TEXT], service[128];
};

static enum mp_error on_passage(void *context, const struct trace_passage *passage);

int64_t trace_spans_offset(const struct trace_log *log)
{
    int64_t time = trace_log_now(log), offset = trace_log_wall(log, time) - time;
    return (offset >= 0 ? offset + 500 : offset - 500) / 1000 * 1000;
}

enum mp_error trace_spans_open(const struct trace_spans_settings *settings, struct trace_spans **result,
                               struct fault *fault)
{
    struct trace_spans *spans = memory_allocate(sizeof *spans);
    if (!spans)
        return fault_memory(fault);
    spans->settings = *settings;
    spans->lineages.log = settings->log;
    const struct trace_pair_calls calls = {.context = spans, .passage = on_passage};
    enum mp_error error = trace_pair_open(settings->log, &calls, &spans->pair, fault);
    if (error) {
        memory_release(spans);
        return error;
    }
    *result = spans;
    return MP_OK;
}

void trace_spans_close(struct trace_spans *spans)
{
    if (!spans)
        return;
    trace_pair_close(spans->pair);
    lineages_free(&spans->lineages);
    memory_release(spans->ties);
    memory_release(spans);
}

uint64_t trace_spans_oldest(const struct trace_spans *spans)
{
    uint64_t oldest = trace_pair_oldest(spans->pair);
    for (size_t i = 0; i < spans->ties_count; i++)
        if (spans->ties[i].leased_event > 0 && (oldest == 0 || spans->ties[i].leased_event < oldest))
            oldest = spans->ties[i].leased_event;
    return oldest;
}

/* ---- who a message is ------------------------------------------------------------------------------------------ */

static int64_t wall(const struct trace_spans *spans, int64_t time)
{
    return time == 0 ? 0 : time + spans->settings.offset;
}

/* Without a lineage it is known by its place alone. */
static struct known know(const struct trace_spans *spans, const struct lineage *lineage, uint64_t first,
                         uint64_t offset)
{
    struct known known = {.offset = offset};
    uint32_t index = (uint32_t)(offset - first);
    struct lineage_value trace;
    if (lineage && index < lineage->count) {
        known.origin = lineage_origin(lineage, index);
        trace = lineage_trace(lineage, index);
    } else {
        XXH128_hash_t hash = XXH3_128bits_withSeed(spans->span.topic, strlen(spans->span.topic), offset);
        trace = known.origin = (struct lineage_value){LINEAGE_EXACT, hash.high64, hash.low64 | 1};
    }
    known.trace[0] = trace.high;
    known.trace[1] = trace.low;
    return known;
}

/* The span of its publication. */
static uint64_t span_of_publication(const struct known *known, const char *topic)
{
    const struct trace_place place = {.topic = topic, .offset = known->offset};
    return trace_span(known->origin.high, known->origin.low, &place);
}

/* The span of its delivery to GROUP by that lease. */
static uint64_t span_of_delivery(const struct known *known, const char *topic, const char *group, uint32_t attempt,
                                 uint64_t delivery)
{
    const struct trace_place place = {
        .topic = topic, .offset = known->offset, .group = group, .attempt = attempt, .delivery = delivery};
    return trace_span(known->origin.high, known->origin.low, &place);
}

static const char *copy(char text[FRAME_ID_TEXT], const struct lineage_value *value)
{
    frame_origin_text(value->high, value->low, text);
    return text;
}

/* Its id and its correlation: what is not among the exact ones is asked of the message, while that is there. */
static void name_message(struct trace_spans *spans, const struct lineage *lineage, uint32_t topic, uint64_t first,
                         uint64_t offset)
{
    struct span *span = &spans->span;
    uint32_t index = (uint32_t)(offset - first);
    span->message = span->conversation = NULL;
    if (!lineage || index >= lineage->count)
        return;
    struct lineage_value id = lineage_id(lineage, index),
                         correlation = lineage_value(lineage, LINEAGE_CORRELATION, index);
    if (id.kind == LINEAGE_EXACT) {
        span->message = copy(spans->id, &id);
        span->message_size = FRAME_ID_TEXT - 1;
    }
    if (correlation.kind == LINEAGE_EXACT) {
        span->conversation = copy(spans->conversation, &correlation);
        span->conversation_size = FRAME_ID_TEXT - 1;
    }
    struct trace_message message;
    struct fault ignored;
    if ((id.kind != LINEAGE_HASH && correlation.kind != LINEAGE_HASH) ||
        trace_log_message(spans->settings.log, topic, offset, &message, &ignored))
        return;
    struct attribute attribute;
    if (id.kind == LINEAGE_HASH)
        span->message = frame_record_id(&message.record, spans->id, &span->message_size);
    if (correlation.kind == LINEAGE_HASH && message.record.attributes_size > 0 &&
        attribute_known(message.record.attributes, message.record.attributes_size, ATTRIBUTE_CORRELATIONID,
                        &attribute)) {
        span->conversation = attribute.value;
        span->conversation_size = attribute.value_size;
    }
}

/* What the client of SESSION calls itself, without its process's number. */
static const char *service_of(struct trace_spans *spans, uint64_t session)
{
    const char *name = session ? trace_log_session(spans->settings.log, session) : "mrelay";
    int size = snprintf(spans->service, sizeof spans->service, "%s", name ? name : "");
    while (size > 0 && size < (int)sizeof spans->service && spans->service[size - 1] >= '0' &&
           spans->service[size - 1] <= '9')
        size--;
    if (size > 1 && size < (int)sizeof spans->service && spans->service[size - 1] == ' ' && name[size] != '\0')
        spans->service[size - 1] = '\0';
    return spans->service[0] ? spans->service : NULL;
}

static const char *group_name(struct trace_spans *spans, uint32_t group)
{
    return trace_log_group_name(spans->settings.log, group, spans->group_name);
}

/* ---- which messages -------------------------------------------------------------------------------------------- */

/* A set of messages of one publication that are to be told. */
struct many {
    const struct trace_publication *publication; /* NULL: not known */
    const struct lineage *lineage;
    uint32_t topic;
    uint64_t begin; /* the publication's first offset */
    uint64_t first;
    uint32_t span;
    uint32_t count;
    const uint8_t *mask;
};

/* The next message of MANY from *INDEX on. */
static bool next(const struct many *many, uint32_t *index)
{
    while (many->mask && *index < many->span && !bits_get(many->mask, *index))
        ++*index;
    return *index < many->span;
}

static bool is_meant(const struct trace_spans *spans, const struct many *many, uint64_t offset)
{
    const struct trace_select *select = spans->settings.select;
    return !select || !trace_select_by_message(select) ||
           trace_select_message(select, many->lineage, (uint32_t)(offset - many->begin), many->topic, offset);
}

static bool is_wanted(const struct trace_spans *spans, uint64_t event, int64_t time, uint32_t topic, uint32_t group)
{
    const struct trace_select *select = spans->settings.select;
    if (event <= spans->settings.after)
        return false;
    return !select || (time >= select->since && time < select->until && trace_select_topic(select, topic) &&
                       trace_select_group(select, group));
}

static enum mp_error give(struct trace_spans *spans)
{
    if (spans->span.end < spans->span.start)
        spans->span.start = spans->span.end;
    return spans->settings.span(spans->settings.context, &spans->span);
}

/* Adds a link for each message of MANY but the first SKIPPED, as far as there is room. */
static void link_all(struct trace_spans *spans, const struct many *many, uint32_t skipped)
{
    struct span *span = &spans->span;
    span->links_count = 0;
    for (uint32_t i = skipped; span->links_count < SPAN_LINKS && next(many, &i); i++) {
        struct known known = know(spans, many->lineage, many->begin, many->first + i);
        span->links[span->links_count++] = (struct span_link){.trace = {known.trace[0], known.trace[1]},
                                                              .span = span_of_publication(&known, span->topic)};
    }
}

/* ---- publications ---------------------------------------------------------------------------------------------- */

static void begin_turn(struct trace_spans *spans, int64_t time)
{
    if (spans->turn == time)
        return;
    spans->turn = time;
    spans->ties_count = 0;
    spans->tie_hint = 0;
}

static enum mp_error add_tie(struct trace_spans *spans, const struct trace_passage *passage)
{
    begin_turn(spans, passage->ended);
    if (!passage->publication || spans->ties_count == TIES_MOST)
        return MP_OK;
    if (spans->ties_count == spans->ties_capacity) {
        struct tie *ties = memory_grow(spans->ties, &spans->ties_capacity, sizeof *ties, 16);
        if (!ties)
            return fault_memory(spans->fault);
        spans->ties = ties;
    }
    spans->ties[spans->ties_count++] = (struct tie){.publication = *passage->publication,
                                                    .group = passage->group,
                                                    .first = passage->first,
                                                    .span = passage->span,
                                                    .session = passage->session,
                                                    .request = passage->request,
                                                    .lease = passage->lease,
                                                    .died = passage->end == EVENT_DEAD,
                                                    .attempt = passage->attempt,
                                                    .leased_event = passage->leased_event};
    return MP_OK;
}

/* Looks in TIE for the message whose COLUMN is VALUE. */
static bool find_in_tie(struct trace_spans *spans, const struct tie *tie, enum lineage_column column,
                        const struct lineage_value *value, struct known *known)
{
    const struct lineage *lineage = lineages_get(&spans->lineages, &tie->publication);
    uint32_t index = (uint32_t)(tie->first - tie->publication.first);
    if (!lineage || !lineage_find(lineage, column, value, value, &index) ||
        index >= tie->first - tie->publication.first + tie->span)
        return false;
    *known = know(spans, lineage, tie->publication.first, tie->publication.first + index);
    return true;
}

/*
 * The attempt in which a message was made: it names its cause, or it passed through steps and is the same message in
 * another topic. 0: it was published by itself.
 */
static uint64_t find_maker(struct trace_spans *spans, const struct store_event *event,
                           const struct lineage_value *cause, const struct lineage_value *origin, uint32_t *group)
{
    for (size_t i = 0; i < spans->ties_count; i++) {
        size_t at = (spans->tie_hint + i) % spans->ties_count;
        const struct tie *tie = &spans->ties[at];
        struct known known;
        bool may = event->session ? tie->session == event->session && tie->request == event->request : tie->died;
        if (!may)
            continue;
        bool found = cause->kind != LINEAGE_NONE && find_in_tie(spans, tie, LINEAGE_ID, cause, &known);
        if (!found && !find_in_tie(spans, tie, LINEAGE_ORIGIN, origin, &known))
            continue;
        char topic[TRACE_NAME_TEXT];
        spans->tie_hint = at;
        *group = tie->group;
        return span_of_delivery(&known, trace_log_topic_name(spans->settings.log, tie->publication.topic, topic),
                                group_name(spans, tie->group), tie->attempt, trace_delivery(tie->session, tie->lease));
    }
    return 0;
}

/* Tells who published the message INDEX, and in what. */
static void set_maker(struct trace_spans *spans, const struct many *many, const struct store_event *event,
                      uint32_t index)
{
    struct span *span = &spans->span;
    span->parent = 0;
    if (!many->lineage || index >= many->lineage->count)
        return;
    struct lineage_value cause = lineage_value(many->lineage, LINEAGE_CAUSE, index),
                         origin = lineage_origin(many->lineage, index);
    uint32_t group = 0;
    span->parent = find_maker(spans, event, &cause, &origin, &group);
    if (group)
        span->service = group_name(spans, group);
    else
        span->parent = lineage_parent(many->lineage, index);
}

/* When a sender took it: of a message that was made before, or by a clock that is far from ours, that says nothing. */
static int64_t start_of(const struct lineage *lineage, uint64_t session, int64_t end)
{
    const int64_t most = INT64_C(3600) * 1000000;
    bool own = lineage && (lineage->producer == session || session == 0);
    return own && lineage->time <= end && end - lineage->time <= most ? lineage->time : end;
}

static enum mp_error give_published(struct trace_spans *spans, const struct many *many, const struct store_event *event)
{
    struct span *span = &spans->span;
    struct known known = know(spans, many->lineage, many->begin, many->first);
    memcpy(span->trace, known.trace, sizeof span->trace);
    span->id = span_of_publication(&known, span->topic);
    span->offset = many->first;
    span->count = many->count;
    span->service = service_of(spans, span->session);
    set_maker(spans, many, event, (uint32_t)(many->first - many->begin));
    span->links_count = 0;
    if (many->count == 1)
        name_message(spans, many->lineage, many->topic, many->begin, many->first);
    else
        link_all(spans, many, 1); /* it is the first one's own */
    return give(spans);
}

/* Each message of MANY by itself, or all of them. */
static enum mp_error each(struct trace_spans *spans, const struct many *many,
                          enum mp_error (*tell)(struct trace_spans *, const struct many *, const void *),
                          const void *context)
{
    const struct trace_select *select = spans->settings.select;
    bool alone = many->count <= SPAN_ALONE || (select && trace_select_by_message(select));
    bool exact = many->mask || many->count == many->span;
    enum mp_error error = MP_OK;
    lineages_pin(&spans->lineages, many->lineage);
    if (!alone || !exact)
        return tell(spans, many, context);
    for (uint32_t i = 0; !error && next(many, &i); i++) {
        struct many one = *many;
        one.first = many->first + i;
        one.span = one.count = 1;
        one.mask = NULL;
        if (is_meant(spans, many, one.first))
            error = tell(spans, &one, context);
    }
    return error;
}

static enum mp_error tell_published(struct trace_spans *spans, const struct many *many, const void *context)
{
    return give_published(spans, many, context);
}

static void begin_span(struct trace_spans *spans, uint32_t topic)
{
    spans->span = (struct span){.code = -1};
    spans->span.topic = trace_log_topic_name(spans->settings.log, topic, spans->topic_name);
}

static enum mp_error on_published(struct trace_spans *spans, const struct store_event *event)
{
    lineages_add(&spans->lineages, event);
    begin_turn(spans, event->time);
    if (!is_wanted(spans, event->id, event->time, event->topic, event->group) || event->count == 0)
        return MP_OK;
    const struct trace_publication *publication = trace_pair_publication(spans->pair, event->topic, event->first);
    if (!publication)
        return MP_OK;
    struct many many = {.publication = publication,
                        .lineage = lineages_get(&spans->lineages, publication),
                        .topic = event->topic,
                        .begin = event->first,
                        .first = event->first,
                        .span = event->count,
                        .count = event->count};
    begin_span(spans, event->topic);
    struct span *span = &spans->span;
    span->operation = "publish";
    span->type = "send";
    span->kind = SPAN_PRODUCER;
    span->session = event->session;
    if (event->due && many.lineage) /* delayed: its sender has long gone, but its frame has the sender's number */
        span->session = many.lineage->producer;
    span->end = wall(spans, event->due ? event->due : event->time);
    span->start = start_of(many.lineage, event->session, span->end);
    return each(spans, &many, tell_published, event);
}

/* ---- passages -------------------------------------------------------------------------------------------------- */

static const char *const settlements[] = {
    [EVENT_ACKED] = "ack", [EVENT_RETRIED] = "retry",  [EVENT_RELEASED] = "release",
    [EVENT_DEAD] = "dead", [EVENT_EXPIRED] = "expire", [EVENT_DROPPED] = "drop"};

/* A word for how it ended, if that is no success. */
static const char *error_of(const struct trace_passage *passage)
{
    size_t reasons = 0;
    switch (passage->end) {
    case EVENT_RETRIED:
        return passage->code >= 0 ? "exit" : "retry";
    case EVENT_LAPSED:
        return "lapsed";
    case EVENT_EXPIRED:
        return "expired";
    case EVENT_DROPPED:
        return "dropped";
    case EVENT_DEAD:
        while (letter_reasons[reasons])
            reasons++;
        return passage->due > 0 && (uint64_t)passage->due <= reasons ? letter_reasons[passage->due - 1] : "dead";
    default:
        return NULL;
    }
}

/* The ids of what belongs to a delivery differ from its own by what they are, and by the lease. */
static uint64_t id_beside(uint64_t id, const char *operation, const struct trace_passage *passage)
{
    uint64_t parts[3] = {id, passage->session, passage->lease};
    uint64_t hash = XXH3_64bits_withSeed(parts, sizeof parts, (uint64_t)operation[0] << 8 | (uint64_t)operation[1]);
    return hash ? hash : 1;
}

/* An attempt that counts is known by its number; one that does not is followed by another one of the same number. */
static bool is_counted(const struct trace_passage *passage)
{
    return passage->end != EVENT_LAPSED || passage->code < 0;
}

static enum mp_error give_step(struct trace_spans *spans, uint64_t id, const char *operation, const char *type,
                               enum span_kind kind, int64_t start, int64_t end)
{
    struct span *span = &spans->span;
    span->id = id;
    span->operation = operation;
    span->type = type;
    span->kind = kind;
    span->start = wall(spans, start);
    span->end = wall(spans, end);
    return give(spans);
}

/* Leased, worked on, settled. */
static enum mp_error give_delivery(struct trace_spans *spans, uint64_t id, const struct trace_passage *passage)
{
    struct span *span = &spans->span;
    int64_t begun = passage->leased ? passage->leased : passage->ended;
    enum mp_error error = MP_OK;
    if (passage->leased)
        error = give_step(spans, id_beside(id, "receive", passage), "receive", "receive", SPAN_CLIENT, begun, begun);
    span->error = error_of(passage);
    span->note = (const char *)passage->note;
    span->note_size = passage->note_size;
    span->code = passage->code;
    if (passage->end == EVENT_LAPSED)
        span->code = -1;
    if (!error && passage->end != EVENT_RELEASED)
        error = give_step(spans, is_counted(passage) ? id : id_beside(id, "process", passage), "process", "process",
                          SPAN_CONSUMER, begun, passage->ended);
    span->error = span->note = NULL;
    span->note_size = 0;
    span->code = -1;
    if (!error && passage->end != EVENT_LAPSED)
        error = give_step(spans, id_beside(id, "settle", passage), settlements[passage->end], "settle", SPAN_CLIENT,
                          passage->ended, passage->ended);
    return error;
}

static bool is_leased(enum store_event_kind end)
{
    return end == EVENT_ACKED || end == EVENT_RETRIED || end == EVENT_RELEASED || end == EVENT_LAPSED ||
           end == EVENT_DEAD;
}

static enum mp_error tell_passage(struct trace_spans *spans, const struct many *many, const void *context)
{
    const struct trace_passage *passage = context;
    struct span *span = &spans->span;
    struct known known = know(spans, many->lineage, many->begin, many->first);
    uint64_t id = span_of_delivery(&known, span->topic, span->group ? span->group : "", passage->attempt,
                                   trace_delivery(passage->session, passage->lease));
    memcpy(span->trace, known.trace, sizeof span->trace);
    span->offset = many->first;
    span->count = many->count;
    span->message = span->conversation = NULL;
    if (many->count == 1)
        name_message(spans, many->lineage, many->topic, many->begin, many->first);
    link_all(spans, many, 0);
    if (is_leased(passage->end))
        return give_delivery(spans, id, passage);
    int64_t since = many->publication ? many->publication->time : passage->ended;
    span->error = error_of(passage);
    return give_step(spans, id_beside(id, settlements[passage->end], passage), settlements[passage->end], NULL,
                     SPAN_INTERNAL, since, passage->ended);
}

static enum mp_error on_passage(void *context, const struct trace_passage *passage)
{
    struct trace_spans *spans = context;
    enum mp_error error = is_leased(passage->end) ? add_tie(spans, passage) : MP_OK;
    if (error || passage->end == EVENT_DUPLICATE || passage->end == EVENT_FOREIGN ||
        !is_wanted(spans, passage->event, passage->ended, passage->topic, passage->group))
        return error;
    struct trace_publication publication = passage->publication ? *passage->publication : (struct trace_publication){0};
    begin_span(spans, passage->topic);
    struct many many = {
        .publication = passage->publication ? &publication : NULL,
        .lineage = passage->publication ? lineages_get(&spans->lineages, passage->publication) : NULL,
        .topic = passage->topic,
        .begin = passage->publication ? publication.first : passage->first,
        .first = passage->first,
        .span = passage->span,
        .count = passage->count,
        .mask = passage->mask,
    };
    struct span *span = &spans->span;
    span->group = passage->group ? group_name(spans, passage->group) : NULL;
    span->service = span->group;
    span->session = passage->session;
    span->attempt = passage->attempt;
    return each(spans, &many, tell_passage, passage);
}

enum mp_error trace_spans_event(struct trace_spans *spans, const struct store_event *event, struct fault *fault)
{
    spans->fault = fault;
    enum mp_error error = trace_pair_event(spans->pair, event, fault);
    if (!error && event->kind == EVENT_PUBLISHED)
        error = on_published(spans, event);
    return error;
}
