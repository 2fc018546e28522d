#include "relay/private.h"

enum mp_error core_check_publication(const struct core *core, const char *topic, size_t topic_size, const uint8_t *data,
                                     size_t size, struct frame *frame, struct fault *fault)
{
    enum mp_error error = name_check_topic(topic, topic_size, fault);
    if (!error && size > ENGINE_FRAME_MAX)
        error = fault_set(fault, MP_ERR_TOO_LARGE, "a frame of %zu bytes: the store takes %zu at most", size,
                          ENGINE_FRAME_MAX);
    if (!error)
        error = frame_open(frame, data, size, true, fault);
    if (!error && frame->longest > core->settings.max_message)
        error = fault_set(fault, MP_ERR_TOO_LARGE, "a message of %u bytes: the relay takes %u at most", frame->longest,
                          core->settings.max_message);
    return error;
}

static void reply_published(struct core *core, const struct request *request, uint64_t first, uint32_t count)
{
    struct reply *reply = core_reply(core, request, MP_OK);
    if (reply && !buffer_put_u64(&reply->head, first))
        buffer_put_u32(&reply->head, count);
}

/* A request of another lane than its type's is a client's mistake that would mix up the numbers. */
static bool has_lane(struct core *core, const struct request *request, unsigned lane)
{
    if (request->head.lane == lane)
        return true;
    core_reply_text(core, request, MP_ERR_INVALID, "the request came on a lane that is not its own");
    return false;
}

bool core_publish(struct core *core, struct request *request, struct fault *fault)
{
    struct session *session = request->session;
    if (!has_lane(core, request, PROTOCOL_LANE_PUBLISH))
        return true;
    enum core_turn turn = core_number(core, request);
    if (turn == TURN_REPEAT)
        reply_published(core, request, session->results[PROTOCOL_LANE_PUBLISH], session->counts[PROTOCOL_LANE_PUBLISH]);
    if (turn != TURN_NOW)
        return true;

    struct fault detail = {0};
    struct reader body = reader_of(request->head.body, request->head.body_size);
    size_t topic_size = 0;
    const char *topic = reader_string(&body, &topic_size);
    struct frame frame;
    enum mp_error error = MP_OK;
    if (body.failed)
        error = fault_set(&detail, MP_ERR_FORMAT, "a publication that breaks off");
    if (!error)
        error = core_check_publication(core, topic, topic_size, body.data, body.left, &frame, &detail);
    if (!error && core->draining)
        error = fault_set(&detail, MP_ERR_AGAIN, "the relay is about to end");
    if (!error && (error = core->engine->operations->room(core->engine, topic, topic_size, frame.count, frame.size,
                                                          session->id, &detail)))
        core->counters.refused_full++;
    if (error) {
        core_reply_text(core, request, error, fault_text(&detail));
        return true;
    }
    struct engine_origin origin = {session->id, request->head.number, PROTOCOL_LANE_PUBLISH};
    struct engine_publication publication = {
        .topic = topic, .topic_size = topic_size, .frame = &frame, .blob = request->blob};
    uint64_t first = 0;
    uint32_t duplicates;
    error = core->engine->operations->publish(core->engine, &publication, &origin, &first, &duplicates, fault);
    if (error) {
        core_reply_text(core, request, MP_ERR_AGAIN, fault_text(fault));
        return true;
    }
    core_applied(core, request, first, frame.count);
    core->counters.published += frame.count;
    core->counters.published_frames++;
    core->counters.published_bytes += frame.size;
    reply_published(core, request, first, frame.count);
    return true;
}

bool core_room(struct core *core, struct request *request)
{
    struct reader body = reader_of(request->head.body, request->head.body_size);
    size_t size = 0;
    const char *topic = reader_string(&body, &size);
    uint32_t wait = reader_u32(&body);
    struct fault detail = {0};
    enum mp_error error = body.failed ? fault_set(&detail, MP_ERR_FORMAT, "a request for room that breaks off")
                                      : name_check_topic(topic, size, &detail);
    if (!error)
        error = core->engine->operations->room(core->engine, topic, size, 1, 1,
                                               request->session ? request->session->id : 0, &detail);
    if (error == MP_ERR_FULL && wait > 0 && !request->list && core_may_wait(core, request)) {
        request->session = NULL; /* it may be gone before the wait is over */
        core_wait(core, request, &core->rooms, core->now.monotonic + (int64_t)wait * 1000);
        return false;
    }
    core_reply_text(core, request, error, error ? fault_text(&detail) : "");
    return true;
}
