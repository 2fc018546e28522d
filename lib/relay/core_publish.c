#include "relay/private.h"

static struct engine_publication engine_publication(const struct core *core, const struct protocol_publication *to)
{
    int64_t now = core->engine->operations->time(core->engine);
    struct engine_publication publication = {
        .topic = to->topic, .topic_size = to->topic_size, .target = to->target, .target_size = to->target_size};
    int64_t delay = to->when == PROTOCOL_WHEN_AT ? to->value - core->now.wall : to->value;
    if (to->when != PROTOCOL_WHEN_NOW && delay > 0)
        publication.due = delay > INT64_MAX - now ? INT64_MAX : now + delay;
    return publication;
}

/* Whether the relay takes so much from SESSION now, and TOPIC so much from anybody. */
static enum mp_error has_room(struct core *core, uint64_t session, const char *topic, size_t topic_size,
                              uint64_t messages, uint64_t bytes, struct fault *fault)
{
    double limit = core->settings.client_rate;
    const struct session *client = limit > 0 ? core_session_find(core, session) : NULL;
    if (client && rate_left(&client->rate, limit, core->now.monotonic) == 0)
        return fault_set(fault, MP_ERR_FULL, "the relay takes %g messages a second from one client", limit);
    return core->engine->operations->room(core->engine, topic, topic_size, messages, bytes, session, fault);
}

/* How many of MESSAGES are taken from a SESSION that can divide them; WAITING: and has to wait anyway. */
static uint64_t fits(struct core *core, uint64_t session, const char *topic, size_t topic_size, uint64_t messages,
                     uint64_t bytes, bool waiting)
{
    double limit = core->settings.client_rate;
    const struct session *client = limit > 0 ? core_session_find(core, session) : NULL;
    uint64_t left = client ? rate_left(&client->rate, limit, core->now.monotonic) : UINT64_MAX;
    if (waiting && client && left < messages &&
        rate_due(&client->rate, limit, core->now.monotonic) > core->now.monotonic)
        return 0;
    uint64_t most = core->engine->operations->fits(core->engine, topic, topic_size, messages, bytes, waiting);
    return left < most ? left : most;
}

enum mp_error core_check_publication(struct core *core, uint64_t session, const struct protocol_publication *to,
                                     struct frame *frame, struct fault *fault)
{
    const struct engine_operations *engine = core->engine->operations;
    struct engine_publication publication = engine_publication(core, to);
    size_t size = to->frame_size;
    enum mp_error error = name_check_topic(to->topic, to->topic_size, fault);
    if (!error && to->target_size > 0)
        error = name_check_group(to->target, to->target_size, fault);
    if (!error && size > ENGINE_FRAME_MAX)
        error = fault_set(fault, MP_ERR_TOO_LARGE, "a frame of %zu bytes: the store takes %zu at most", size,
                          ENGINE_FRAME_MAX);
    if (!error)
        error = frame_open(frame, to->frame, size, true, fault);
    if (!error && frame->longest > core->settings.max_message)
        error = fault_set(fault, MP_ERR_TOO_LARGE, "a message of %u bytes: the relay takes %u at most", frame->longest,
                          core->settings.max_message);
    if (!error)
        error = engine->check_target(core->engine, &publication, fault);
    if (!error && (error = has_room(core, session, to->topic, to->topic_size, frame->count, frame->size, fault)))
        core->counters.refused_full++;
    return error;
}

enum mp_error core_store(struct core *core, const struct request *request, const struct protocol_publication *to,
                         const struct frame *frame, uint64_t *first, uint32_t *duplicates, struct fault *fault)
{
    struct engine_origin origin = core_origin(core, request, request->head.lane);
    struct engine_publication publication = engine_publication(core, to);
    publication.frame = frame;
    publication.blob = request->blob;
    enum mp_error error =
        core->engine->operations->publish(core->engine, &publication, &origin, first, duplicates, fault);
    rate_take(&request->session->rate, core->settings.client_rate, frame->count, core->now.monotonic);
    core->counters.published += frame->count;
    core->counters.published_frames++;
    core->counters.published_bytes += frame->size;
    return error;
}

static void reply_published(struct core *core, const struct request *request)
{
    const struct session *session = request->session;
    struct reply *reply = core_reply(core, request, MP_OK);
    if (reply)
        protocol_put_published(&reply->head, session->results[PROTOCOL_LANE_PUBLISH],
                               session->counts[PROTOCOL_LANE_PUBLISH], session->duplicates);
}

/* A request of another lane than its type's is a client's mistake that would mix up the numbers. */
static bool has_lane(struct core *core, const struct request *request, unsigned lane)
{
    if (request->head.lane == lane)
        return true;
    core_reply_text(core, request, MP_ERR_INVALID, "the request came on a lane that is not its own");
    return false;
}

/* What becomes of a publication that can be divided, after core_check_publication() said ERROR. */
static enum mp_error check_fit(struct core *core, uint64_t session, const struct protocol_publication *to,
                               const struct frame *frame, enum mp_error error, struct fault *detail)
{
    if (error && error != MP_ERR_FULL && error != MP_ERR_OVERFLOW)
        return error;
    uint64_t most = fits(core, session, to->topic, to->topic_size, frame->count, frame->size, false);
    if (most == frame->count || (error && most == 0))
        return error;
    if (!error)
        core->counters.refused_full++;
    return fault_set(detail, MP_ERR_FULL, "topic %.*s is full, or takes less at a time", (int)to->topic_size,
                     to->topic);
}

bool core_publish(struct core *core, struct request *request, struct fault *fault)
{
    struct session *session = request->session;
    if (!has_lane(core, request, PROTOCOL_LANE_PUBLISH))
        return true;
    enum core_turn turn = core_number(core, request);
    if (turn == TURN_REPEAT)
        reply_published(core, request);
    if (turn != TURN_NOW)
        return true;

    struct fault detail = {0};
    struct protocol_publication to;
    struct frame frame;
    enum mp_error error = protocol_read_publish(&request->head, &to);
    if (error)
        fault_set(&detail, error, "a publication that is not well formed");
    else if (core->draining)
        error = fault_set(&detail, MP_ERR_AGAIN, "the relay is about to end");
    else
        error = core_check_publication(core, session->id, &to, &frame, &detail);
    if (request->head.flags & PROTOCOL_DIVISIBLE)
        error = check_fit(core, session->id, &to, &frame, error, &detail);
    if (error) {
        core_refused(request);
        core_reply_text(core, request, error, fault_text(&detail));
        return true;
    }
    uint64_t first = 0;
    uint32_t duplicates = 0;
    error = core_store(core, request, &to, &frame, &first, &duplicates, fault);
    if (!error) {
        core_applied(core, request, first, frame.count);
        session->duplicates = duplicates;
        if (first == ENGINE_SCHEDULED) /* no frame's row has its number yet */
            error = core_session_keep(core, session, fault);
    }
    if (error)
        core_reply_text(core, request, MP_ERR_AGAIN, fault_text(fault));
    else
        reply_published(core, request);
    return true;
}

/* Whether the publication that waits for room has none to wait for: a late copy of it was stored. */
static bool was_applied(const struct core *core, const struct protocol_request *head)
{
    const struct session *session = core_session_find(core, head->session);
    return head->lane == PROTOCOL_LANE_PUBLISH && head->number > 0 && session &&
           session->numbers[PROTOCOL_LANE_PUBLISH] == head->number;
}

enum mp_error core_has_room(struct core *core, const struct request *request, uint32_t *messages, struct fault *detail)
{
    struct protocol_room room = {0};
    uint64_t session = request->head.session;
    protocol_read_room(&request->head, &room);
    *messages = room.messages;
    if (was_applied(core, &request->head))
        return MP_OK;
    enum mp_error error = has_room(core, session, room.topic, room.topic_size, room.messages, room.bytes, detail);
    if (!(request->head.flags & PROTOCOL_DIVISIBLE) || (error && error != MP_ERR_FULL && error != MP_ERR_OVERFLOW))
        return error;
    *messages = (uint32_t)fits(core, session, room.topic, room.topic_size, room.messages, room.bytes, request->list);
    if (*messages > 0)
        return MP_OK;
    return error ? error : fault_set(detail, MP_ERR_FULL, "the topic takes no more at the moment");
}

bool core_room(struct core *core, struct request *request)
{
    struct protocol_room room = {0};
    struct fault detail = {0};
    uint32_t messages = 0;
    enum mp_error error = protocol_read_room(&request->head, &room);
    error = error ? fault_set(&detail, error, "a request for room that is not well formed")
                  : name_check_topic(room.topic, room.topic_size, &detail);
    if (!error)
        error = core_has_room(core, request, &messages, &detail);
    if (error == MP_ERR_FULL && room.wait > 0 && !request->list && core_may_wait(core, request)) {
        request->session = NULL; /* it may be gone before the wait is over */
        core_wait(core, request, &core->rooms, core->now.monotonic + (int64_t)room.wait * 1000);
        return false;
    }
    if (error) {
        core_reply_text(core, request, error, fault_text(&detail));
        return true;
    }
    struct reply *reply = core_reply(core, request, MP_OK);
    if (reply)
        protocol_put_u32(&reply->head, messages);
    return true;
}
