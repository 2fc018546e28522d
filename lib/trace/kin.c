#include "trace/kin.h"

#include "base/bits.h"
#include "queue/engine.h"

enum { ROUNDS = 6, WANTED = 96 };

/* ---- by what they say ----------------------------------------------------------------------------------------- */

struct gathering {
    struct trace_log *log;
    struct trace_wanted wanted[WANTED];
    size_t wanted_count;
    size_t searched; /* of these, before this round */
};

static void want(struct gathering *gathering, enum lineage_column column, const struct lineage_value *value)
{
    if (value->kind == LINEAGE_NONE || gathering->wanted_count == WANTED)
        return;
    for (size_t i = 0; i < gathering->wanted_count; i++)
        if (gathering->wanted[i].column == column && trace_value_is(&gathering->wanted[i].from, value))
            return;
    gathering->wanted[gathering->wanted_count++] = trace_wanted_value(column, value);
}

static bool is_searched(const struct gathering *gathering, enum lineage_column column,
                        const struct lineage_value *value)
{
    for (size_t i = 0; i < gathering->searched; i++)
        if (gathering->wanted[i].column == column && trace_value_is(&gathering->wanted[i].from, value))
            return true;
    return false;
}

/* What belongs to MATCH: its trace; what names it as its cause or its request; its own cause and request. */
static void want_around(struct gathering *gathering, const struct trace_match *match, bool asked)
{
    bool is_new = !is_searched(gathering, LINEAGE_TRACE, &match->trace);
    want(gathering, LINEAGE_TRACE, &match->trace);
    if (is_new || asked) {
        want(gathering, LINEAGE_CAUSE, &match->id);
        want(gathering, LINEAGE_CORRELATION, &match->id);
        want(gathering, LINEAGE_ID, &match->cause);
        want(gathering, LINEAGE_ID, &match->correlation);
    }
}

/* Where what belongs to the message begins: with itself, when its own client began its trace with it. */
static uint64_t begins(const struct trace_match *match)
{
    bool is_first = trace_value_is(&match->trace, &match->origin) && match->cause.kind == LINEAGE_NONE &&
                    match->correlation.kind == LINEAGE_NONE && match->origin.high == match->session;
    return is_first && match->event > 0 ? match->event - 1 : 0;
}

enum mp_error trace_kin_search(struct trace_log *log, struct trace_matches *matches, size_t most, struct fault *fault)
{
    struct gathering gathering = {.log = log};
    size_t asked = matches->count, done = 0;
    uint64_t after = asked ? UINT64_MAX : 0;
    for (size_t i = 0; i < asked; i++)
        after = begins(&matches->items[i]) < after ? begins(&matches->items[i]) : after;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (; done < matches->count; done++)
            want_around(&gathering, &matches->items[done], done < asked);
        if (gathering.wanted_count == gathering.searched)
            return MP_OK;
        const struct trace_search search = {.wanted = gathering.wanted + gathering.searched,
                                            .wanted_count = gathering.wanted_count - gathering.searched,
                                            .after = round > 0 ? 0 : after,
                                            .log_only = round > 0,
                                            .most = most};
        enum mp_error error = trace_search(log, &search, matches, fault);
        if (error)
            return error;
        gathering.searched = gathering.wanted_count;
    }
    return MP_OK;
}

/* ---- by how they were settled ---------------------------------------------------------------------------------- */

bool trace_kin_is_nameless(const struct trace_match *match)
{
    return match->cause.kind == LINEAGE_NONE && trace_value_is(&match->trace, &match->origin);
}

bool trace_kin_is_settled_with(const struct trace_match *match, const struct trace_history *history)
{
    if (match->session == 0)
        return false;
    for (size_t i = 0; i < history->count; i++) {
        const struct trace_passage *passage = &history->passages[i];
        for (size_t at = 0; at < passage->attempts_count; at++) {
            const struct trace_attempt *attempt = &passage->attempts[at];
            if (attempt->ended && attempt->session == match->session && attempt->request == match->request)
                return true;
        }
    }
    return false;
}

/* A request's number has its lane above it. */
static bool is_of_settlement(uint64_t request)
{
    return request >> 62 == ENGINE_LANE_SETTLE;
}

/* A look at the events of one request: they have the same time. */
struct request {
    struct trace_log *log;
    struct trace_matches *matches;
    uint64_t number;
    unsigned added;
    struct fault *fault;
};

static enum mp_error each_of(struct request *request, enum store_event_kind kind, uint64_t session, int64_t time,
                             enum mp_error (*each)(void *, const struct store_event *))
{
    struct store_event_filter filter = {.kinds = 1u << kind, .session = session};
    enum mp_error error = trace_log_at(request->log, time, &filter.after, request->fault);
    if (!error)
        error = trace_log_at(request->log, time + 1, &filter.below, request->fault);
    if (error)
        return error;
    filter.after = filter.after > 0 ? filter.after - 1 : 0;
    return trace_log_each(request->log, &filter, each, request, request->fault);
}

static enum mp_error add(struct request *request, const struct trace_match *match)
{
    const struct trace_matches *matches = request->matches;
    for (size_t i = 0; i < matches->count; i++)
        if (matches->items[i].topic == match->topic && matches->items[i].offset == match->offset &&
            !matches->items[i].scheduled)
            return MP_OK;
    request->added++;
    return trace_matches_add(request->matches, match) ? fault_memory(request->fault) : MP_OK;
}

static enum mp_error take_output(void *context, const struct store_event *event)
{
    struct request *request = context;
    enum mp_error error = MP_OK;
    if (event->request != request->number)
        return MP_OK;
    for (uint32_t i = 0; !error && i < event->count && request->added < TRACE_KIN_MOST; i++) {
        struct trace_match match;
        if (trace_match_read(event, event->first + i, &match))
            return MP_OK;
        if (trace_kin_is_nameless(&match))
            error = add(request, &match);
    }
    return error;
}

enum mp_error trace_kin_add_outputs(struct trace_log *log, const struct trace_attempt *attempt,
                                    struct trace_matches *matches, struct fault *fault)
{
    struct request request = {.log = log, .matches = matches, .number = attempt->request, .fault = fault};
    if (attempt->outcome != EVENT_ACKED || !is_of_settlement(attempt->request))
        return MP_OK;
    return each_of(&request, EVENT_PUBLISHED, attempt->session, attempt->ended, take_output);
}

static enum mp_error take_inputs(void *context, const struct store_event *event)
{
    struct request *request = context;
    enum mp_error error = MP_OK;
    if (event->request != request->number)
        return MP_OK;
    for (uint32_t i = 0; !error && i < event->span && request->added < TRACE_KIN_MOST; i++) {
        struct trace_match match;
        if (event->mask && (i >= 8 * event->mask_size || !bits_get(event->mask, i)))
            continue;
        error = trace_find_place(request->log, event->topic, event->first + i, &match, request->fault);
        if (!error)
            error = add(request, &match);
        else if (error == MP_ERR_NOT_FOUND)
            error = MP_OK;
    }
    request->matches->more |= request->added == TRACE_KIN_MOST;
    return error;
}

enum mp_error trace_kin_add_inputs(struct trace_log *log, const struct trace_match *match,
                                   struct trace_matches *matches, struct fault *fault)
{
    struct request request = {.log = log, .matches = matches, .number = match->request, .fault = fault};
    if (match->session == 0 || !is_of_settlement(match->request) || match->scheduled || !trace_kin_is_nameless(match))
        return MP_OK;
    return each_of(&request, EVENT_ACKED, match->session, match->time, take_inputs);
}
