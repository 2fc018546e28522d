#include "relay/private.h"

/* The checks that come before the first write. */
struct settling {
    struct protocol_settle settle;
    bool atomic;
};

static struct engine_settlement engine_settlement(const struct protocol_settlement *item)
{
    return (struct engine_settlement){.group = item->group,
                                      .lease = item->lease,
                                      .first = item->first,
                                      .count = item->count,
                                      .span = item->span,
                                      .action = (enum engine_action)item->action,
                                      .reason = (enum engine_reason)item->reason,
                                      .delay = item->delay,
                                      .exit_code = item->exit_code,
                                      .note = item->note,
                                      .note_size = item->note_size};
}

static enum mp_error check_items(struct core *core, const struct request *request, const struct settling *settling,
                                 struct fault *detail)
{
    const struct protocol_settle *settle = &settling->settle;
    struct protocol_settlement before = {0}, item;
    for (uint32_t i = 0; i < settle->count; i++) {
        if (!protocol_settle_item(settle, i, &item))
            return fault_set(detail, MP_ERR_FORMAT, "settlement %u of the request is no valid one", i + 1);
        if (!settling->atomic)
            continue;
        /* In order and apart from one another, so that what is held can be counted beforehand. */
        if (i > 0 &&
            (item.group < before.group || (item.group == before.group && item.first < before.first + before.span)))
            return fault_set(detail, MP_ERR_FORMAT, "settlements that overlap, or not in order");
        before = item;
        struct engine_settlement settlement = engine_settlement(&item);
        if (core->engine->operations->held(core->engine, request->session->id, &settlement) != item.count)
            return fault_set(detail, MP_ERR_STALE, "a lease had ended: nothing was settled, nothing published");
    }
    return MP_OK;
}

static enum mp_error check_publishes(struct core *core, uint64_t session, struct protocol_settle settle,
                                     struct fault *detail)
{
    for (unsigned i = 0; i < settle.publishes; i++) {
        struct protocol_publication to;
        struct frame frame;
        if (!protocol_settle_publish(&settle, &to))
            return fault_set(detail, MP_ERR_FORMAT, "publication %u of the settlement breaks off", i + 1);
        enum mp_error error = core_check_publication(core, session, &to, &frame, detail);
        if (error)
            return error;
    }
    return MP_OK;
}

static enum mp_error apply_items(struct core *core, const struct request *request, const struct settling *settling,
                                 uint32_t *applied, uint32_t *stale, struct fault *fault)
{
    struct engine_origin origin = core_origin(core, request, PROTOCOL_LANE_SETTLE);
    struct reader words = settling->settle.words;
    enum mp_error error = MP_OK;
    for (uint32_t i = 0; !error && i < settling->settle.count; i++) {
        struct protocol_settlement item;
        protocol_settle_item(&settling->settle, i, &item);
        protocol_settle_note(&words, i, &item.note, &item.note_size);
        struct engine_settlement settlement = engine_settlement(&item);
        settlement.more = i + 1 < settling->settle.count;
        uint32_t some = 0;
        error = core->engine->operations->settle(core->engine, &origin, &settlement, &some, fault);
        *applied += some;
        *stale += item.count > some ? item.count - some : 0;
    }
    return error;
}

/* *STORED: publications that have a row in a topic now. */
static enum mp_error apply_publishes(struct core *core, const struct request *request, struct protocol_settle settle,
                                     unsigned *stored, struct fault *fault)
{
    enum mp_error error = MP_OK;
    for (unsigned i = 0; !error && i < settle.publishes; i++) {
        struct protocol_publication to = {0};
        struct frame frame;
        uint64_t first = 0;
        uint32_t duplicates;
        protocol_settle_publish(&settle, &to);
        frame_trust(&frame, to.frame, to.frame_size);
        error = core_store(core, request, &to, &frame, &first, &duplicates, fault);
        *stored += first != ENGINE_SCHEDULED;
    }
    return error;
}

static void reply_settled(struct core *core, const struct request *request, uint32_t applied, uint32_t stale)
{
    struct reply *reply = core_reply(core, request, MP_OK);
    if (reply)
        protocol_put_settled(&reply->head, applied, stale);
}

bool core_settle(struct core *core, struct request *request, struct fault *fault)
{
    struct session *session = request->session;
    struct settling settling = {.atomic = (request->head.flags & PROTOCOL_ATOMIC) != 0};
    struct fault detail = {0};
    enum mp_error error = protocol_read_settle(&request->head, &settling.settle);
    if (error)
        fault_set(&detail, error, "a settlement that is not well formed");
    if (!error && request->head.lane != PROTOCOL_LANE_SETTLE)
        error = fault_set(&detail, MP_ERR_INVALID, "the request came on a lane that is not its own");
    enum core_turn turn = error ? TURN_NOW : core_number(core, request);
    if (turn == TURN_REPEAT)
        reply_settled(core, request, (uint32_t)session->results[PROTOCOL_LANE_SETTLE],
                      session->counts[PROTOCOL_LANE_SETTLE]);
    if (turn != TURN_NOW)
        return true;
    if (!error && settling.settle.publishes > 0 && !settling.atomic)
        error = fault_set(&detail, MP_ERR_INVALID, "a settlement that publishes has to be atomic");
    if (!error)
        error = check_items(core, request, &settling, &detail);
    if (!error)
        error = check_publishes(core, session->id, settling.settle, &detail);
    if (error) {
        core_refused(request);
        core_reply_text(core, request, error, fault_text(&detail));
        return true;
    }
    uint32_t applied = 0, stale = 0;
    unsigned stored = 0;
    error = apply_items(core, request, &settling, &applied, &stale, fault);
    if (!error)
        error = apply_publishes(core, request, settling.settle, &stored, fault);
    if (!error) {
        core_applied(core, request, applied, stale);
        /* Stale messages leave no event that a restart could count them by. */
        if (stale > 0 || (applied == 0 && stored == 0))
            error = core_session_keep(core, session, fault);
    }
    if (error) {
        core_reply_text(core, request, MP_ERR_AGAIN, fault_text(fault));
        return true;
    }
    core->counters.settled += applied;
    core->counters.stale += stale;
    reply_settled(core, request, applied, stale);
    return true;
}

void core_extend(struct core *core, struct request *request)
{
    struct reader body = reader_of(request->head.body, request->head.body_size);
    uint32_t milliseconds = reader_u32(&body);
    if (body.failed) {
        core_reply_text(core, request, MP_ERR_FORMAT, "an extension that breaks off");
        return;
    }
    if (milliseconds == 0)
        milliseconds = core->settings.lease;
    uint32_t leases = core->engine->operations->extend(core->engine, request->session->id, milliseconds);
    struct reply *reply = core_reply(core, request, MP_OK);
    if (reply)
        buffer_put_u32(&reply->head, leases);
}
